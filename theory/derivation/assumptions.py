"""The three kinds of assumption: named, cited maps from a system to a smaller one, each with a distance on real arrays.

`Invariant`  an ansatz that the dynamics preserves; accepted only if tangency is verified
`Limit`      the leading term as a parameter goes to an extreme, with the remainder derived
`Closure`    an approximation that cannot be proved here; only its diagnostic can be measured

The distance of an instance says how far it is from the assumption; beyond `radius` the prediction does not apply.
Those that linear networks share (white, aligned, balanced, deep) are in `standard_assumptions`.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any, ClassVar

import numpy as np
import sympy as sp

from ..errors import AssumptionViolated, NoClosedForm, UnknownName
from ..symbols import TIME
from ..system import Flow
from ..trail import Equations
from .derive import tidy
from .reduce import restrict

CLOCK = sp.Symbol("clock")  # new time over old
Arrays = Mapping[str, Any]


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
        ansatz = {named_symbol(system, old): sp.sympify(new) for old, new in self.ansatz.items()}
        return restrict(system, ansatz, assumption=self.name, reference=self.reference)

    def distance(self, values: Arrays) -> float:
        """How far arrays are from the set; without a `measure`, 0 means exactly satisfied is all that is known."""
        return _measured(self, values)


@dataclass(frozen=True)
class Limit:
    """The leading term of every equation as `variable` goes to `point`, in time rescaled by `clock`.

    With t_new = clock x t_old the equations of a flow are divided by `clock` first. `remainder(system)` gives the next
    term of the expansion in 1/variable (in the variable itself for point 0), for each equation. `expand`, a function
    (equation, system) -> (leading term, next term), replaces the Taylor expansion where the limit is of another kind.

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
    expand: Callable[[Any, Any], tuple[Any, Any]] | None = None
    kind: ClassVar[str] = "limit"

    def __hash__(self):
        return hash((self.kind, self.name, self.statement))

    def apply(self, system):
        """The limiting system; the remainder is written into the trail. Only a flow has a clock to rescale."""
        if self.clock != 1 and not isinstance(system, Flow):
            raise NoClosedForm(f"time cannot be rescaled by {self.clock} in a map", where=self.name)
        leading = tuple(first for first, _ in self._expansions(system))
        observables = {name: self._limit(expression) for name, expression in system.observables.items()}
        made = replace(system, equations=leading, observables=observables)
        note = f"remainder {', '.join(str(r) for r in self.remainder(system))}"
        trail = system.trail.then(
            f"limit {self.variable} -> {self.point}" + (f", {TIME} -> {self.clock}*{TIME}" if self.clock != 1 else ""),
            made.statement(),
            assumption=self.name,
            reference=self.reference,
            check=note,
            given=None if self.expand else Equations(((self.variable, self.point), (CLOCK, sp.sympify(self.clock)))),
        )
        return replace(made, trail=trail)

    def remainder(self, system) -> tuple[Any, ...]:
        """The next term of every equation beyond the limit."""
        return tuple(rest for _, rest in self._expansions(system))

    def distance(self, values: Arrays) -> float:
        """The size of the small parameter: 1/variable (variable for point 0) by name, or the `measure` given."""
        if self.measure is not None:
            return float(self.measure(values))
        value = float(np.max(np.abs(values[str(self.variable)])))
        return 1 / value if self.point == sp.oo else abs(value - float(self.point))

    def _expansions(self, system):
        if self.expand is not None:
            return [self.expand(equation, system) for equation in system.equations]
        return [tuple(map(tidy, self._expand(equation))) for equation in self._scaled(system)]

    def _scaled(self, system):
        return [sp.expand_power_exp(equation) / self.clock for equation in system.equations]

    def _limit(self, expression):
        return self._expand(expression)[0] if expression.has(self.variable) and self.expand is None else expression

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
            "closure",
            made.statement(),
            assumption=self.name,
            reference=self.reference,
            check="not provable: measured",
            given=Equations(tuple(images.items())) if images else None,
        )
        return replace(made, trail=trail)

    def distance(self, values: Arrays) -> float:
        """The diagnostic on the user's arrays."""
        return _measured(self, values)


def named_symbol(system, name):
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
