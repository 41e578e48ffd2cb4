"""Two coupled unknowns and one conserved quantity: their product obeys one equation, and both follow from it.

    a' = p b g(ab),  b' = r a g(ab)   ->   delta = r a^2 - p b^2,   z = a b,   z' = sqrt(delta^2 + 4 p r z^2) g(z)

The conserved quantity is found, not assumed; a and b are recovered from z without cancellation, with their signs.

>>> from ..derivation.derive import gradient_flow
>>> a, b, s = sp.symbols("a b s", real=True)
>>> print(reduce_by_conserved(gradient_flow((s - a * b) ** 2 / 2, on=(a, b))).equations[0])
sqrt(delta**2 + 4*z**2)*(s - z)
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import sympy as sp

from ..derivation.conserved import conserved
from ..derivation.derive import tidy
from ..errors import NoClosedForm, OutsideDomain
from ..symbols import ModeSymbol
from ..system import Flow, System
from ..trail import Equations, Trail

TARMOUN = "Tarmoun, Franca, Haeffele, Vidal 2021"


def reduce_by_conserved(flow: Flow, into: str = "z", constant: str = "delta") -> Flow:
    """The flow of the product of two unknowns, with their conserved quantity as a parameter.

    `eliminated` holds both unknowns as expressions of the product (for positive ones); observables are rewritten where
    they can be. Raises `NoClosedForm` unless there are two scalar unknowns, one quadratic conserved quantity without a
    mixed term, and a product whose rate is a function of itself.
    """
    return _reduction(flow, into, constant)[0]


def solve_coupled(flow: Flow, solve: Callable[[Flow], Any]) -> "CoupledForm":
    """The closed form of two unknowns by that of their product, which `solve` finds."""
    reduced, invariant, delta = _reduction(flow, "z", "delta")
    product = solve(reduced)
    return CoupledForm(flow, product, invariant, delta, product.trail)


def _reduction(flow, into, constant):
    where, remedy = "reduce by conserved", "integrate it with lm.solve"
    if not isinstance(flow, Flow) or len(flow.unknowns) != 2:
        raise NoClosedForm(f"{len(flow.unknowns)} coupled unknowns", where=where, remedy=f"reduce to two, or {remedy}")
    a, b = flow.unknowns
    if not all(isinstance(u, sp.Symbol) and sp.sympify(e).is_polynomial(a, b) for u, e in _pairs(flow)):
        raise NoClosedForm("the equations are not polynomial in two scalars", where=where, remedy=remedy)
    found = conserved(flow)
    squares_only = [q for q in found if set(sp.Poly(q, a, b).monoms()) == {(2, 0), (0, 2)}]
    invariant = squares_only[0] if squares_only else sp.S.Zero
    r, p = (sign * sp.Poly(invariant, a, b).coeff_monomial(u**2) for u, sign in ((a, 1), (b, -1)))
    if not squares_only or (r * p).is_negative:
        reason = f"2 coupled unknowns: no difference of {a}^2 and {b}^2 is conserved"
        raise NoClosedForm(reason, where=where, remedy=remedy)
    kind: Any = ModeSymbol if isinstance(a, ModeSymbol) else sp.Symbol
    z, delta, root = kind(into, real=True), kind(constant, real=True), sp.Dummy("root", positive=True)
    radicand = delta**2 + 4 * p * r * z**2
    squares = (root + delta) / (2 * r), (root - delta) / (2 * p)

    def in_product(expression):
        total = sp.S.Zero
        for (i, j), coefficient in sp.Poly(expression, a, b).terms():
            if (i - j) % 2:
                raise NoClosedForm(f"{expression} is not a function of {a}*{b}", where=where, remedy=remedy)
            common, square = min(i, j), squares[0] if i > j else squares[1]
            total += coefficient * z**common * square ** (abs(i - j) // 2)
        reduced = sp.rem(sp.expand(total), root**2 - radicand, root)
        return tidy(sp.factor(reduced).xreplace({root: sp.sqrt(radicand)}))

    field_ = dict(_pairs(flow))
    rate = in_product(sp.expand(field_[a] * b + a * field_[b]))
    miss = sp.expand((rate**2).xreplace({z: a * b, delta: invariant}) - (field_[a] * b + a * field_[b]) ** 2)
    if sp.simplify(miss) != 0:
        raise NoClosedForm(f"the rate of {a}*{b} misses by {miss}", where=where, remedy=remedy)
    observables = {}
    for name, expression in flow.observables.items():
        if sp.sympify(expression).is_polynomial(a, b):
            try:
                observables[name] = in_product(expression)
            except NoClosedForm:
                continue
    back = {u: sp.sqrt(square.xreplace({root: sp.sqrt(radicand)})) for u, square in zip((a, b), squares, strict=True)}
    trail = flow.trail.then("conserved quantity", Equations(((delta, invariant),)), check="its rate is 0")
    law, product = Equations(((z, rate),), "flow"), Equations(((z, a * b),))
    trail = trail.then("product of both", law, given=product, reference=TARMOUN, check="squared rate: residual 0")
    return Flow((z,), (rate,), observables, {**flow.eliminated, **back}, trail), invariant, delta


def _pairs(flow):
    return zip(flow.unknowns, flow.equations, strict=True)


@dataclass(frozen=True)
class CoupledForm:
    """A solved flow of two unknowns: the closed form of their product, and both recovered from it.

    `product` is the `ClosedForm` of z; `invariant` the conserved r a^2 - p b^2, whose symbol there is `constant`.
    """

    system: System
    product: Any
    invariant: Any
    constant: Any
    trail: Trail = field(default_factory=Trail, compare=False)

    @property
    def method(self) -> str:
        return self.product.method

    @property
    def residual(self) -> float:
        return self.product.residual

    def unknowns_at(self, times: Any, **values: Any) -> Mapping[str, np.ndarray]:
        """{name: (T, C)} of both unknowns, from starts under their own names and parameters by name.

        >>> from .closed_form import closed_form
        >>> from ..derivation.derive import gradient_flow
        >>> a, b, s = sp.symbols("a b s", real=True)
        >>> form = closed_form(gradient_flow((s - a * b) ** 2 / 2, on=(a, b)))
        >>> end = form.unknowns_at(50.0, a=-2.0, b=0.1, s=1.0)
        >>> round(float(end["a"]), 6), round(float(end["b"]), 6)
        (-2.055869, -0.486412)
        """
        a, b = self.system.unknowns
        missing = [str(u) for u in (a, b) if u.name not in values]
        if missing:
            raise OutsideDomain(f"no start for {', '.join(missing)}", where="closed form", remedy="pass it by name")
        bound = {name: np.asarray(value, float) for name, value in values.items()}
        a0, b0 = bound[a.name], bound[b.name]
        quadratic = sp.Poly(self.invariant, a, b)
        r, p = (_number(sign * quadratic.coeff_monomial(u**2), bound) for u, sign in ((a, 1), (b, -1)))
        delta = (np.sqrt(r) * a0 - np.sqrt(p) * b0) * (np.sqrt(r) * a0 + np.sqrt(p) * b0)
        names = {**bound, self.product.unknown.name: a0 * b0, self.constant.name: delta}
        z = self.product.evaluate(times, **names)
        larger = (np.hypot(delta, 2 * np.sqrt(p * r) * z) + np.abs(delta)) / 2  # r a^2 or p b^2, whichever is larger
        first = delta > 0
        sign = np.where(first, np.sign(a0), np.sign(b0))
        lead = sign * np.sqrt(larger / np.where(first, r, p))
        with np.errstate(divide="ignore", invalid="ignore"):
            other = np.where(lead == 0, 0.0, z / lead)
        return {a.name: np.where(first, lead, other), b.name: np.where(first, other, lead)}

    def __str__(self) -> str:
        return f"{self.product}\nconserved    {self.invariant}"

    __repr__ = __str__


def _number(expression, bound):
    symbols = sorted(expression.free_symbols, key=str)
    return np.asarray(sp.lambdify(symbols, expression, "numpy")(*(bound[symbol.name] for symbol in symbols)), float)
