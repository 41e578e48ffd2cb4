"""Closed forms: an ordered list of matchers that may decline, and a proof by substitution before anything is trusted.

    u' = f(u)   ->   u(t) explicit,   or   t = F(u) - F(u0) implicit,   or   0 = f(u)  ->  u = root

Every answer is put back into its equation at 20 random points in 40-digit arithmetic: |u' - f(u)| and |F'(u) f(u) - 1|
must stay below 1e-25, or the answer is thrown away and the next matcher is asked.

>>> from ..system import Flow
>>> a, s = sp.symbols("a s", positive=True)
>>> curve = closed_form(Flow((a,), (2 * a * (s - a),)))
>>> print(curve.expression)
s/((-1 + s/a_0)*exp(-2*s*t) + 1)
>>> curve.evaluate([0.0, 1e6], a=1e-6, s=np.array([1.0, 2.0])).round(6).tolist()
[[1e-06, 1e-06], [1.0, 2.0]]
"""

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from types import MappingProxyType
from typing import Any

import numpy as np
import sympy as sp

from ..errors import NoClosedForm
from ..symbols import LEARNING_RATE, STEP, TIME
from ..system import FixedPoint, Flow, Map, System, require_system
from ..trail import Equations, Trail
from . import matchers
from .coupled import solve_coupled
from .derivation_cache import cached, fingerprint, read_expression
from .dsolve import by_dsolve
from .evaluate_closed_form import evaluate, evaluate_mpmath
from .matchers import Match, initial_symbol
from .quadrature import quadrature
from .substitute_back import TOLERANCE, residual

MATCHERS: dict[type, tuple[Callable[[Any, Any], Match | None], ...]] = {
    Flow: (
        matchers.linear,
        matchers.riccati,
        matchers.single_power,
        matchers.power_mode,
        matchers.stepped_power_mode,
        matchers.two_layer,
        quadrature,
        by_dsolve,
    ),
    Map: (matchers.affine_recursion,),
    FixedPoint: (matchers.polynomial_root, matchers.outright),
}
_VERBS: dict[type, str] = {Flow: "integrate", Map: "iterate", FixedPoint: "solve"}


@dataclass(frozen=True)
class ClosedForm:
    """A solved equation of one unknown.

    `kind`       "explicit": `expression` is the unknown at time t (or step k); "implicit": it is the time to go from
                 `initial` to the unknown; "root": it is the unknown
    `time_law`   the time as a function of the unknown, where known (also for explicit forms)
    `final`      the stationary point it approaches, where known
    `domain`     conditions on the initial value and parameters
    `residual`   largest residual of the substitution back, in 40-digit arithmetic
    """

    system: System
    method: str
    kind: str
    unknown: Any
    initial: Any
    expression: Any
    time_law: Any = None
    final: Any = None
    domain: tuple[Any, ...] = ()
    residual: float = float("nan")
    trail: Trail = field(default_factory=Trail, compare=False)
    parts: Any = field(default_factory=dict, repr=False, compare=False)

    def evaluate(self, times: Any = None, **values: Any) -> np.ndarray:
        """The unknown in float64: times (T,) and values (C,) give (T, C); scalars drop their dimension.

        `values` by symbol name; the initial value under the unknown's own name or the initial symbol's. Finite for all
        times where the solution is. Raises `OutsideDomain` for values the form does not cover.
        """
        return evaluate(self, times, values)

    __call__ = evaluate

    def unknowns_at(self, times: Any = None, **values: Any) -> dict[str, np.ndarray]:
        """{name of the unknown: its values}, as `CoupledForm` gives them for two."""
        return {str(self.unknown): self.evaluate(times, **values)}

    def evaluate_mpmath(self, time: Any = None, digits: int = 40, **values: Any):
        """The unknown as one mpmath number of that many digits, at one time and one set of values."""
        return evaluate_mpmath(self, time, values, digits)

    def to_dict(self) -> dict:
        return {
            "kind": self.kind,
            "method": self.method,
            "unknown": str(self.unknown),
            "initial": str(self.initial),
            "expression": str(self.expression),
            "time_law": None if self.time_law is None else str(self.time_law),
            "final": None if self.final is None else str(self.final),
            "domain": [str(condition) for condition in self.domain],
            "residual": self.residual,
            "latex": self._latex(),
            "trail": self.trail.to_dict(),
        }

    def _latex(self, printer=None, **_) -> str:
        name = sp.latex(self.unknown)
        running = {Flow: f"{name}(t)", Map: f"{name}_{{k}}", FixedPoint: name}[type(self.system)]
        return f"{'t' if self.kind == 'implicit' else running} = {sp.latex(self.expression)}"

    def _repr_latex_(self) -> str:
        return f"$\\displaystyle {self._latex()}$"

    def __str__(self) -> str:
        running = {Flow: f"{self.unknown}(t)", Map: f"{self.unknown}(k)", FixedPoint: str(self.unknown)}
        left = "t" if self.kind == "implicit" else running[type(self.system)]
        rows = [
            ("closed form", f"{left} = {self.expression}"),
            ("kind", f"{self.kind}, by {self.method}"),
            ("domain", ", ".join(str(condition) for condition in self.domain) or "all values"),
            ("final value", "none" if self.final is None else str(self.final)),
            ("residual", f"{self.residual:.0e} at 20 random points, 40 digits"),
        ]
        *before, last = self.trail.steps
        rows += [("trail" if number == 0 else "", str(step)) for number, step in enumerate(before)]
        rows.append(("" if before else "trail", str(replace(last, result="the closed form above"))))
        return "\n".join(f"{name:<12} {text}" for name, text in rows)

    __repr__ = __str__


def closed_form(system: System) -> Any:
    """Solve a system of one unknown in closed form, u' = f(u), u+ = A + B u, or 0 = f(u): a `ClosedForm`.

    A flow of two unknowns is first reduced by its conserved quantity, and both are recovered: a `CoupledForm`.
    Verified by substitution and cached as text. Raises `NoClosedForm` with a remedy when every matcher declines.

    >>> S, eta, beta = sp.symbols("S eta beta", positive=True)
    >>> closed_form(FixedPoint((S,), (eta * S - 2 - 2 * beta,))).expression
    2*(beta + 1)/eta

    Reference: Saxe, McClelland, Ganguli 2013 (arXiv:1312.6120) for the modes of deep linear networks.
    """
    require_system(system, "closed form")
    remedy = _VERBS[type(system)] + " it with lm.solve"
    if len(system.unknowns) == 2 and isinstance(system, Flow):
        return solve_coupled(system, closed_form)
    if len(system.unknowns) != 1:
        raise NoClosedForm(
            f"{len(system.unknowns)} coupled unknowns", where="closed form", remedy=f"reduce it to one, or {remedy}"
        )
    unknown = system.unknowns[0]
    if not isinstance(unknown, sp.Symbol):
        raise NoClosedForm(f"{unknown} is a matrix", where="closed form", remedy=f"reduce it to modes, or {remedy}")
    if any(symbol.name == initial_symbol(unknown).name for symbol in system.equations[0].free_symbols):
        raise NoClosedForm(
            f"a parameter has the name {initial_symbol(unknown)}, kept for the initial value",
            where="closed form",
            remedy="rename the parameter",
        )
    key = f"closed form {type(system).__name__}: {sp.srepr(unknown)}: {sp.srepr(sp.sympify(system.equations[0]))}"
    found, residue, reason = cached(key, lambda: _solve(system), _encode, _decode, _code())
    if found is None:
        if isinstance(system, Flow) and system.equations[0].has(LEARNING_RATE):
            remedy = 'cut its series in the time, modified_flow(form="rational"), or ' + remedy
        raise NoClosedForm(f"{unknown}: {reason}", where="closed form", remedy=remedy)
    trail = system.trail.then(
        f"solve ({found.method})",
        _solution(system, found),
        reference=found.reference,
        check=f"substituted back, residual {residue:.0e}",
        residual=residue,
    )
    return ClosedForm(
        system=system,
        method=found.method,
        kind=found.kind,
        unknown=unknown,
        initial=initial_symbol(unknown),
        expression=found.expression,
        time_law=found.time_law,
        final=found.final,
        domain=found.domain,
        residual=residue,
        trail=trail,
        parts=MappingProxyType(dict(found.parts)),
    )


def _solution(system: System, found: Match) -> Equations:
    """u = root; or u(t) = .., u_k = .. of explicit forms, t = .. of implicit ones."""
    if found.kind == "root":
        left = system.unknowns[0]
    elif found.kind == "implicit":
        left = TIME
    else:
        left = sp.Function(str(system.unknowns[0]))(STEP if isinstance(system, Map) else TIME)
    return Equations(((left, found.expression),))


def _solve(system: System) -> tuple[Match | None, float, str]:
    """The first match that survives substitution, with its residual; else None and the reason."""
    unknown, equation = system.unknowns[0], sp.sympify(system.equations[0])
    failed = []
    for matcher in (by_dsolve,) if equation.has(TIME) else MATCHERS[type(system)]:
        found = matcher(equation, unknown)
        if found is None:
            continue
        conditions = tuple(condition for condition in found.domain if condition != sp.true)
        found = replace(found, domain=conditions)
        residue = residual(found, system)
        if residue < TOLERANCE:
            return found, residue, ""
        failed.append(f"{found.method} left a residual of {residue:.0e}")
    return None, float("inf"), "; ".join(failed) or "every matcher declined"


def _code() -> str:
    return fingerprint("closed_form", "matchers", "quadrature", "dsolve", "substitute_back")


def _encode(solved: tuple[Match | None, float, str]) -> dict:
    match, residue, reason = solved
    if match is None:  # kept as well: the last matcher may have taken half a minute to decline
        return {"reason": reason}
    return {
        "method": match.method,
        "kind": match.kind,
        "expression": sp.srepr(match.expression),
        "time_law": None if match.time_law is None else sp.srepr(match.time_law),
        "final": None if match.final is None else sp.srepr(match.final),
        "domain": [sp.srepr(condition) for condition in match.domain],
        "parts": {name: sp.srepr(part) for name, part in match.parts.items()},
        "reference": match.reference,
        "residual": residue,
    }


def _decode(plain: dict) -> tuple[Match | None, float, str]:
    if "reason" in plain:
        return None, float("inf"), plain["reason"]
    optional = {name: plain[name] and read_expression(plain[name]) for name in ("time_law", "final")}
    match = Match(
        method=plain["method"],
        kind=plain["kind"],
        expression=read_expression(plain["expression"]),
        domain=tuple(read_expression(condition) for condition in plain["domain"]),
        parts={name: read_expression(part) for name, part in plain["parts"].items()},
        reference=plain["reference"],
        **optional,
    )
    return match, float(plain["residual"]), ""
