"""The three kinds of assumption: named, cited maps from a system to a smaller one, each with a distance on real arrays.

`Invariant`  an ansatz that the dynamics preserves; accepted only if tangency is verified
`Limit`      the leading term as a parameter goes to an extreme, with the remainder derived
`Closure`    an approximation that cannot be proved here; only its diagnostic can be measured

The distance of an instance says how far it is from the assumption; beyond `radius` the prediction does not apply.

>>> from .derive import network_flow, network_map
>>> from ..network import chain
>>> from .reduce import change_variables
>>> flow = network_flow(chain("input", "width", "output")).assume(Whitened(), Aligned())
>>> print(flow.equations)
(u2*(s - u1*u2), u1*(s - u1*u2))
>>> mode = flow.assume(Balanced("u1", "u2", into="u"))
>>> print(mode)
Flow
  u' = u*(s - u**2)
  end_to_end = u**2
  loss = target_power/2 + over(u**4)/2 - over(s*u**2)
>>> print(change_variables(mode, {"a": mode.observables["end_to_end"]}).equations[0])
2*a*(-a + s)
>>> three = chain("input", "width", "hidden", "output")
>>> print(network_map(three).assume(Whitened(), Aligned(), Balanced()).equations[0])
u**2*eta*(s - u**3) + u
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any, ClassVar

import numpy as np
import sympy as sp

from ..errors import AssumptionViolated, NoClosedForm, UnknownName
from ..symbols import TIME, ModeSymbol
from ..system import Flow
from .derive import statement, tidy
from .diagonal import diagonalise
from .reduce import restrict

Arrays = Mapping[str, Any]
_SAXE = "Saxe, McClelland & Ganguli 2013, arXiv:1312.6120"
_ARORA = "Arora, Cohen & Hazan 2018, arXiv:1802.06509"


@dataclass(frozen=True)
class Invariant:
    """An ansatz old = f(new) that the dynamics must preserve.

    `ansatz`   {old symbol or its name: expression of new symbols}, or a function system -> reduced system
    `measure`  arrays by name -> distance to the set (0 on it); `radius` is how far a prediction may be used

    >>> from .derive import gradient_flow
    >>> a, b, s, u = sp.symbols("a b s u", real=True)
    >>> flow = gradient_flow((s - a * b) ** 2 / 2, on=(a, b))
    >>> print(flow.assume(Invariant("opposite", "b = -a", {a: u, b: -u})).equations[0])
    -u*(s + u**2)
    """

    name: str
    statement: str
    ansatz: Any = None
    reference: str = ""
    radius: float = 1e-6
    measure: Callable[[Arrays], float] | None = None
    kind: ClassVar[str] = "invariant"

    def __hash__(self):
        return hash((self.kind, self.name, self.statement))

    def apply(self, system):
        """The reduced system; raises `AssumptionViolated` with the residual where the dynamics leaves the set."""
        if callable(self.ansatz):
            return self.ansatz(system)
        ansatz = {_symbol(system, old): sp.sympify(new) for old, new in self.ansatz.items()}
        return restrict(system, ansatz, assumption=self.name, reference=self.reference)

    def distance(self, values: Arrays) -> float:
        """How far arrays are from the set; without a `measure`, 0 means exactly satisfied is all that is known."""
        return _measured(self, values)


@dataclass(frozen=True)
class Limit:
    """The leading term of every equation as `variable` goes to `point`, in time rescaled by `clock`.

    With t_new = clock x t_old the equations of a flow are divided by `clock` first. `remainder(system)` gives the next
    term of the expansion in 1/variable (in the variable itself for point 0), for each equation.

    >>> from ..system import Flow
    >>> a, s, L = sp.symbols("a s L", positive=True)
    >>> deep = Limit("deep", "L -> oo at fixed L t", variable=L, clock=L)
    >>> flow = Flow((a,), (L * a ** (2 - 2 / L) * (s - a),))
    >>> print(flow.assume(deep).equations, deep.remainder(flow))
    (a**2*(-a + s),) (2*a**2*(a - s)*log(a)/L,)
    """

    name: str
    statement: str
    variable: Any
    point: Any = sp.oo
    clock: Any = sp.S.One
    reference: str = ""
    radius: float = 0.1
    measure: Callable[[Arrays], float] | None = None
    kind: ClassVar[str] = "limit"

    def __hash__(self):
        return hash((self.kind, self.name, self.statement))

    def apply(self, system):
        """The limiting system; the remainder is written into the trail. Only a flow has a clock to rescale."""
        if self.clock != 1 and not isinstance(system, Flow):
            raise NoClosedForm(f"time cannot be rescaled by {self.clock} in a map", where=self.name)
        leading = tuple(tidy(self._expand(equation)[0]) for equation in self._scaled(system))
        observables = {name: self._limit(expression) for name, expression in system.observables.items()}
        made = replace(system, equations=leading, observables=observables)
        note = f"remainder {', '.join(str(r) for r in self.remainder(system))}"
        trail = system.trail.then(
            f"limit {self.variable} -> {self.point}, {TIME} -> {self.clock}*{TIME}",
            statement(made),
            assumption=self.name,
            reference=self.reference,
            check=note,
        )
        return replace(made, trail=trail)

    def remainder(self, system) -> tuple[Any, ...]:
        """The next term of every equation beyond the limit."""
        return tuple(tidy(self._expand(equation)[1]) for equation in self._scaled(system))

    def distance(self, values: Arrays) -> float:
        """The size of the small parameter: 1/variable (variable for point 0) by name, or the `measure` given."""
        if self.measure is not None:
            return float(self.measure(values))
        value = float(np.max(np.abs(values[str(self.variable)])))
        return 1 / value if self.point == sp.oo else abs(value - float(self.point))

    def _scaled(self, system):
        return [sp.expand_power_exp(equation) / self.clock for equation in system.equations]

    def _limit(self, expression):
        return self._expand(expression)[0] if expression.has(self.variable) else expression

    def _expand(self, expression):
        # every equation as a Taylor series in the small parameter h, so that limit and remainder agree by construction
        h = sp.Dummy("h", positive=True)
        inside = sp.powsimp(
            sp.simplify(expression.subs(self.variable, 1 / h if self.point == sp.oo else self.point + h))
        )
        leading = sp.limit(inside, h, 0, "+")
        if leading.is_finite is False or leading.has(sp.oo, sp.zoo, sp.nan):
            raise AssumptionViolated(
                f"{expression} has no finite limit as {self.variable} -> {self.point}",
                where=self.name,
                remedy="rescale time with `clock`",
            )
        slope = sp.limit(sp.simplify((inside - leading) / h), h, 0, "+")
        small = 1 / self.variable if self.point == sp.oo else self.variable - self.point
        return leading, slope * small


@dataclass(frozen=True)
class Closure:
    """An approximation that is not provable here (Gaussian equivalence, independence); its diagnostic is measured.

    `replace_by` maps expressions of the system to what the closure puts in their place.

    >>> from ..system import Flow
    >>> m, q = sp.symbols("m q", real=True)
    >>> gaussian = Closure("gaussian", "the fourth moment is 3 times the variance squared", {m: 3 * q**2})
    >>> print(Flow((q,), (-m,)).assume(gaussian).equations)
    (-3*q**2,)
    """

    name: str
    statement: str
    replace_by: Mapping[Any, Any] | None = None
    reference: str = ""
    radius: float = float("inf")
    measure: Callable[[Arrays], float] | None = None
    kind: ClassVar[str] = "closure"

    def __hash__(self):
        return hash((self.kind, self.name, self.statement))

    def apply(self, system):
        """The closed system; nothing is verified, and the trail says so."""
        images = dict(self.replace_by or {})
        made = replace(
            system,
            equations=tuple(equation.subs(images) for equation in system.equations),
            observables={name: expression.subs(images) for name, expression in system.observables.items()},
        )
        trail = system.trail.then(
            "closure", statement(made), assumption=self.name, reference=self.reference, check="not provable: measured"
        )
        return replace(made, trail=trail)

    def distance(self, values: Arrays) -> float:
        """The diagnostic on the user's arrays."""
        return _measured(self, values)


def Balanced(*unknowns: Any, into: Any = "u", radius: float = 1e-6) -> Invariant:
    """Equal strengths: every named unknown equals one new positive unknown; without names, all unknowns do.

    Distance: the largest imbalance |W_{l+1}' W_{l+1} - W_l W_l'| over the largest |W_l|^2 if weights W1, W2, ... are
    given, else the spread of the named strengths over the largest.

    >>> from .derive import gradient_flow
    >>> a, b, s = sp.symbols("a b s", real=True)
    >>> flow = gradient_flow((s - a * b) ** 2 / 2, on=(a, b))
    >>> print(flow.assume(Balanced(a, b, into="u")).equations)
    (u*(s - u**2),)
    >>> round(Balanced(a, b).distance({"a": 1.0, "b": 0.9}), 12)
    0.1
    """

    def reduce(system):
        old = [_symbol(system, unknown) for unknown in unknowns] or list(system.unknowns)
        kind = ModeSymbol if any(isinstance(symbol, ModeSymbol) for symbol in old) else sp.Symbol
        new = kind(into, positive=True) if isinstance(into, str) else kind(into.name, **into._assumptions_orig)
        return restrict(system, dict.fromkeys(old, new), assumption="balanced", reference=f"{_SAXE}; {_ARORA}")

    def measure(values):
        weights = _weights(values)
        if weights:
            return _imbalance(weights)
        named = [np.asarray(values[str(unknown)], float) for unknown in unknowns]
        return float(np.max(np.ptp(np.stack(named), axis=0)) / max(np.max(np.abs(named)), 1e-300))

    return Invariant(
        "balanced",
        "all layers carry equal strength",
        reduce,
        reference=f"{_SAXE}; {_ARORA}",
        radius=radius,
        measure=measure,
    )


def Whitened(radius: float = 1e-6) -> Invariant:
    """White inputs: Sigma_xx = identity on its numerical range.

    Distance: the largest |eigenvalue - 1| of Sigma_xx among those above 1e-10 of the largest.

    >>> round(Whitened().distance({"Sigma_xx": np.diag([1.0, 1.2, 0.0])}), 12)
    0.2
    """

    def reduce(system):
        matrices = {m for equation in system.equations for m in equation.atoms(sp.MatrixSymbol)}
        found = [m for m in matrices if m.name == "Sigma_xx"]
        if not found:
            raise UnknownName.among("Sigma_xx", [m.name for m in matrices], kind="covariance", where="whitened")
        images = {m: sp.Identity(m.shape[0]) for m in found}
        return restrict(system, images, assumption="whitened", reference=_SAXE)

    def measure(values):
        eigenvalues = np.linalg.eigvalsh(np.asarray(values["Sigma_xx"], float))
        return float(np.abs(eigenvalues[eigenvalues > 1e-10 * eigenvalues[-1]] - 1).max())

    return Invariant(
        "whitened",
        "the input covariance is the identity on its range",
        reduce,
        reference=_SAXE,
        radius=radius,
        measure=measure,
    )


def Aligned(radius: float = 1e-6, **names: str) -> Invariant:
    """Every matrix is diagonal in shared singular bases, W_l = R_l diag(u_l) R_{l-1}': modes decouple.

    The outer bases are the singular vectors of Sigma_yx = R_L diag(s) R_0', and a covariance that is not white must be
    diagonal in R_0 (its modes are called lambda). Tangency is verified by words and numerically in random bases.
    `names` renames modes, as in `Aligned(Sigma_yx="c")`. Unknowns become u1, u2, ... (real), data modes are positive.

    Distance: the largest off-diagonal part, relative, of W_1' W_1, W_L W_L' and W_L ... W_1 in the singular bases of
    Sigma_yx, and of the commutators of W_l W_l' with W_{l+1}' W_{l+1}.
    """
    return Invariant(
        "aligned",
        "weights are diagonal in the singular bases of the input-output correlation",
        lambda system: diagonalise(system, names, reference=_SAXE),
        reference=_SAXE,
        radius=radius,
        measure=lambda values: _misalignment(_weights(values), np.asarray(values["Sigma_yx"], float)),
    )


def LargeDepth(depth: Any, radius: float = 0.1) -> Limit:
    """Infinite depth at fixed depth x time.

    >>> from ..system import Flow
    >>> a, s, L = sp.symbols("a s L", positive=True)
    >>> print(Flow((a,), (L * a ** (2 - 2 / L) * (s - a),)).assume(LargeDepth(L)).equations[0])
    a**2*(-a + s)
    """
    return Limit(
        "large depth",
        "depth goes to infinity at fixed depth x time",
        variable=depth,
        clock=depth,
        reference=_SAXE,
        radius=radius,
    )


def _symbol(system, name):
    """The unknown of that name, or the symbol itself."""
    if not isinstance(name, str):
        return name
    known = {str(unknown): unknown for unknown in system.unknowns}
    if name not in known:
        raise UnknownName.among(name, known, kind="unknown")
    return known[name]


def _measured(record, values) -> float:
    if record.measure is None:
        raise AssumptionViolated("no measure is given, so no distance is known", where=record.name)
    return float(record.measure(values))


def _weights(values) -> list[np.ndarray]:
    names = [name for name in values if name[:1] == "W" and name[1:].isdigit()]
    return [np.asarray(values[name], float) for name in sorted(names, key=lambda name: int(name[1:]))]


def _imbalance(weights) -> float:
    scale = max(float(np.linalg.norm(w, 2)) ** 2 for w in weights)
    gaps = [float(np.linalg.norm(b.T @ b - a @ a.T, 2)) for a, b in zip(weights, weights[1:], strict=False)]
    return max(gaps, default=0.0) / scale


def _misalignment(weights, correlation) -> float:
    left, singular, right = np.linalg.svd(correlation)
    rank = int((singular > 1e-10 * singular[0]).sum())
    end_to_end = weights[0]
    for weight in weights[1:]:
        end_to_end = weight @ end_to_end
    last, first = left.T @ weights[-1], weights[0] @ right.T
    grams = [
        (last @ last.T)[:rank, :rank],
        (first.T @ first)[:rank, :rank],
        (left.T @ end_to_end @ right.T)[:rank, :rank],
    ]
    parts = [_relative(g - np.diag(np.diag(g)), np.linalg.norm(g)) for g in grams]
    for a, b in zip(weights, weights[1:], strict=False):
        below, above = a @ a.T, b.T @ b
        scale = np.linalg.norm(below) * np.linalg.norm(above)
        parts.append(_relative(below @ above - above @ below, scale))
    return max(parts)


def _relative(part, scale) -> float:
    return float(np.linalg.norm(part)) / max(float(scale), 1e-300)
