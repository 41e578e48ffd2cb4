"""Where a linear recursion stops contracting, derived from its characteristic polynomial.

A linear map x+ = A(S) x is stable while all roots of p(z) = det(z - A) lie inside the unit circle. Coming from small S,
the first root to touch the circle does so at z = 1, at z = -1, or as a conjugate pair, and the three boundaries are
polynomials in the entries of A (C2 is the second compound matrix, whose eigenvalues are the products z_i z_j):

    p(1) = 0,   p(-1) = 0,   det(C2(A) - 1) = 0;   the threshold is their smallest positive root.

>>> from .update_rules import CURVATURE, heavy_ball
>>> marginal = marginal_stability(heavy_ball(), CURVATURE)
>>> critical_value(marginal)
(2*beta + 2)/eta
>>> print(marginal.trail.steps[-1])
first crossing: z = -1: S = (2*beta + 2)/eta  (Jury 1964; Cohen et al. 2021, arXiv:2103.00065)
"""

from collections.abc import Mapping
from itertools import combinations
from typing import Any

import sympy as sp

from ..errors import AssumptionViolated, NoClosedForm, OutsideDomain
from ..symbols import positive
from ..system import FixedPoint, Map
from ..trail import Equations

_z = sp.Dummy("z")
_REFERENCE = "Jury 1964; Cohen et al. 2021, arXiv:2103.00065"


class UnitInterval(sp.Symbol):
    """A symbol for a number in (0, 1), such as a momentum: signs of expressions can be decided with it.

    >>> UnitInterval("beta").is_positive
    True
    """

    def __new__(cls, name):
        return super().__new__(cls, name, positive=True)

    def __getnewargs_ex__(self):
        return (self.name,), {}

    @classmethod
    def class_key(cls):
        return sp.Symbol.class_key()  # sorts, and so prints, among ordinary symbols


def linearise(map_: Map, at: Mapping[Any, Any] | None = None, assumption: str = "") -> Map:
    """The map's Jacobian at a fixed point, as a linear map of the deviations (same symbols).

    `at` gives the fixed point (zero for unknowns it does not name). Errors: `AssumptionViolated` with the residual when
    the map moves that point.

    >>> x, r = sp.symbols("x r", real=True)
    >>> print(linearise(Map((x,), (r * x * (1 - x),)), at={x: 1 - 1 / r}))
    Map
      x+ = x*(2 - r)
    """
    point = {unknown: sp.sympify((at or {}).get(unknown, 0)) for unknown in map_.unknowns}
    for unknown, equation in zip(map_.unknowns, map_.equations, strict=True):
        residual = sp.simplify(equation.subs(point) - point[unknown])
        if residual != 0:
            raise AssumptionViolated(
                f"{unknown}+ - {unknown} = {residual} at {point}", where="linearise", remedy="give a fixed point"
            )
    matrix = _jacobian(map_).subs(point).applyfunc(sp.simplify)
    equations = tuple(matrix @ sp.Matrix(map_.unknowns))
    shown = ", ".join(f"{unknown} = {value}" for unknown, value in point.items())
    trail = map_.trail.then(
        f"linearise at {shown}",
        Equations(tuple(zip(map_.unknowns, equations, strict=True)), "map"),
        assumption=assumption,
        check="fixed point, residual 0",
        residual=0.0,
        given=Equations(tuple(point.items())),
    )
    return Map(map_.unknowns, equations, trail=trail)


def marginal_stability(map_: Map, parameter: sp.Symbol) -> FixedPoint:
    """The value of `parameter` at which a linear map, stable for small values of it, first loses stability.

    The answer is a self-consistent equation 0 = F(S) whose positive unknown S is that value, with observable
    "threshold". Where the first boundary cannot be told by signs alone it is the smallest positive one, as an
    expression in Min and Piecewise.
    Errors: `AssumptionViolated` when the map is not linear; `OutsideDomain` when it is never or always stable;
    `NoClosedForm` when a boundary has no explicit root.
    Reference: Jury 1964, Theory and Application of the z-Transform Method; Cohen et al. 2021, arXiv:2103.00065.

    >>> from .update_rules import SHARPNESS, adam
    >>> critical_value(marginal_stability(adam(momentum=sp.Rational(9, 10)), SHARPNESS))
    38/eta
    """
    polynomial, factors = _factors(map_, parameter)
    candidates = [
        (name, root)
        for factor in factors
        if factor.has(parameter)
        for name, boundary in _boundaries(factor)
        for root in _roots(boundary, parameter)
        if _sign(root) in (1, None)
    ]
    if not candidates:
        raise OutsideDomain(
            f"no boundary is met at positive {parameter}",
            where="marginal_stability",
            remedy="the map keeps its stability for all values of it",
        )
    conditions = [note for factor in factors if not factor.has(parameter) for note in _fixed_roots(factor)]
    _check_start(factors, parameter, [root for _, root in candidates])
    trail = map_.trail.then("characteristic polynomial", _shown(polynomial)).then(
        "boundaries met at positive S",
        "; ".join([f"{name}: S = {root}" for name, root in candidates] + conditions),
        assumption="stable for small S",
    )
    first = _first(candidates)
    if first is not None:
        return _fixed_point(parameter, first[1], trail, f"first crossing: {first[0]}")
    choices = [root if _sign(root) == 1 else sp.Piecewise((root, root > 0), (sp.oo, True)) for _, root in candidates]
    return _fixed_point(parameter, sp.Min(*choices), trail, "first crossing: the smallest positive boundary")


def oscillation_onset(map_: Map, parameter: sp.Symbol) -> FixedPoint:
    """The value of `parameter` beyond which the iterates of a linear map stop decaying monotonically.

    A single root changes sign (z = 0); a pair meets and turns complex (the discriminant of p vanishes).

    >>> from .update_rules import CURVATURE, gradient_descent
    >>> critical_value(oscillation_onset(gradient_descent(), CURVATURE))
    1/eta
    """
    polynomial, factors = _factors(map_, parameter)
    candidates = []
    for factor in factors:
        if factor.has(parameter):
            single = sp.degree(factor, _z) == 1
            boundary = factor.subs(_z, 0) if single else sp.discriminant(factor, _z)
            name = "z = 0" if single else "double root"
            candidates += [(name, root) for root in _roots(boundary, parameter) if (_sign(root) or 0) > 0]
    first = _first(candidates)
    if first is None:
        raise NoClosedForm(
            f"{len(candidates)} boundaries cannot be ordered by their signs",
            where="oscillation_onset",
            remedy="give numbers for the parameters",
        )
    trail = map_.trail.then("characteristic polynomial", _shown(polynomial))
    return _fixed_point(parameter, first[1], trail, f"oscillation starts: {first[0]}")


def critical_value(marginal: FixedPoint) -> sp.Expr:
    """The threshold as an expression, when its equation is linear in the unknown.

    >>> from .update_rules import CURVATURE, nesterov
    >>> critical_value(marginal_stability(nesterov(), CURVATURE))
    (2*beta + 2)/(eta*(2*beta + 1))
    """
    (unknown,), (residual,) = marginal.unknowns, marginal.equations
    slope = sp.diff(residual, unknown)
    if slope.has(unknown):
        raise NoClosedForm(f"{residual} is not linear in {unknown}", remedy="solve it numerically with lm.solve")
    return _tidy(-residual.subs(unknown, 0) / slope)


def growth_factor(map_: Map) -> sp.Expr:
    """The factor by which a perturbation of a linear map grows per step in the long run: max |z|.

    Explicit for maps of one or two unknowns.

    >>> from .update_rules import gradient_descent
    >>> growth_factor(gradient_descent())
    Abs(eta*h - 1)
    """
    polynomial = sp.Poly(_characteristic(map_), _z)
    if polynomial.degree() > 2:
        raise NoClosedForm(f"degree {polynomial.degree()} polynomial", remedy="take the spectral radius of numbers")
    roots = sp.roots(polynomial, multiple=True)
    return sp.Max(*(sp.Abs(sp.simplify(root)) for root in roots))


def _jacobian(map_):
    return sp.Matrix(map_.equations).jacobian(sp.Matrix(map_.unknowns))


def _characteristic(map_):
    matrix = _jacobian(map_)
    if matrix.has(*map_.unknowns):
        raise AssumptionViolated(
            f"the Jacobian depends on {', '.join(map(str, map_.unknowns))}",
            where="marginal_stability",
            remedy="linearise the map at a fixed point first",
        )
    polynomial = matrix.charpoly()
    return polynomial.as_expr().subs(polynomial.gen, _z)


def _factors(map_, parameter):
    polynomial = _characteristic(map_)
    if not polynomial.has(parameter):
        raise OutsideDomain(
            f"the characteristic polynomial does not depend on {parameter}",
            where="marginal_stability",
            remedy="name the symbol of the curvature",
        )
    # Over the rationals factors come out exactly; with floats they could split off a spurious parameter dependence.
    exact = polynomial.xreplace({number: sp.Rational(number) for number in polynomial.atoms(sp.Float)})
    numerator = sp.fraction(sp.together(exact))[0]
    return polynomial, [factor for factor, _ in sp.factor_list(numerator)[1] if factor.has(_z)]


def _boundaries(factor):
    """The three ways a root of the factor can touch the unit circle, as functions that vanish there."""
    degree = sp.degree(factor, _z)
    found = [("z = 1", factor.subs(_z, 1)), ("z = -1", factor.subs(_z, -1))]
    if degree > 1:
        monic = sp.Poly(factor, _z).monic()
        companion = sp.zeros(degree, degree)
        for row in range(degree - 1):
            companion[row, row + 1] = 1
        for column, coefficient in enumerate(reversed(monic.all_coeffs()[1:])):
            companion[degree - 1, column] = -coefficient
        pairs = list(combinations(range(degree), 2))
        compound = sp.Matrix(len(pairs), len(pairs), lambda i, j: companion.extract(pairs[i], pairs[j]).det())
        found.append(("conjugate pair", (compound - sp.eye(len(pairs))).det(method="berkowitz")))
    return found


def _roots(boundary, parameter):
    numerator = sp.fraction(sp.together(sp.expand(boundary)))[0]
    polynomial = sp.Poly(numerator, parameter)
    if polynomial.degree() < 1:
        return []
    roots = sp.roots(polynomial)
    if sum(roots.values()) < polynomial.degree():
        if numerator.free_symbols == {parameter}:
            return polynomial.real_roots()
        raise NoClosedForm(
            f"{numerator} has no explicit root in {parameter}",
            where="marginal_stability",
            remedy="give numbers for the other parameters",
        )
    return [_tidy(root) for root in roots if root.is_real is not False]


def _sign(expression):
    """+1, 0, -1, or None when the sign cannot be told; fractions b count as 1 / (1 + r)^2 with r > 0: roots too."""
    expression = sp.sympify(expression)
    fractions = expression.atoms(UnitInterval)
    rewritten = sp.factor(
        sp.together(expression.subs({b: (1 + sp.Dummy("r", positive=True)) ** -2 for b in fractions}))
    )
    if rewritten.is_zero:
        return 0
    return 1 if rewritten.is_positive else -1 if rewritten.is_negative else None


def _first(candidates):
    """The candidate that is provably not above any other (or the only one), or None."""
    for name, root in candidates:
        if all(_sign(other - root) in (0, 1) for _, other in candidates):
            return name, root
    return None


def _shown(polynomial):
    z = sp.Symbol("z")
    return Equations(((sp.Function("p")(z), sp.factor(polynomial.subs(_z, z))),))


def _fixed_point(parameter, root, trail, rule):
    """The system 0 = F(S) for a known first boundary; free of denominators where the root is rational."""
    unknown = positive("S" if str(parameter) == "h" else str(parameter))
    rational = not root.has(sp.Min, sp.Piecewise)
    residual = sp.expand(sp.fraction(sp.together(root - unknown))[0]) if rational else root - unknown
    given = Equations(((parameter, root),))
    trail = trail.then(rule, Equations(((unknown, root),)), reference=_REFERENCE, given=given)
    return FixedPoint((unknown,), (residual,), observables={"threshold": unknown}, trail=trail)


def _tidy(expression):
    """Factored, with every factor of known sign written so that it is positive: 2 (1 + b) / (1 - b)."""
    numerator, denominator = sp.fraction(sp.factor(expression))
    parts, sign = [], 1
    for part in (numerator, denominator):
        factors = sp.Mul.make_args(part)
        flipped = [-factor if _sign(factor) == -1 else factor for factor in factors]
        sign *= (-1) ** sum(_sign(factor) == -1 for factor in factors)
        parts.append(sp.Mul(*flipped))
    return sign * parts[0] / parts[1]


def _fixed_roots(factor):
    """Roots that the parameter does not move must lie inside the circle; returns conditions that stay open."""
    open_conditions = []
    for root in sp.roots(sp.Poly(factor, _z), multiple=True):
        inside = _sign(1 - root**2) if root.is_real else None
        if inside is not None and inside <= 0:
            raise OutsideDomain(
                f"the root z = {root} is never inside the unit circle",
                where="marginal_stability",
                remedy="change the optimizer's memory factors",
            )
        if inside is None:
            open_conditions.append(f"needs |{root}| < 1")
    return open_conditions


def _check_start(factors, parameter, candidates):
    """With numbers for everything, the map must contract well before the first boundary."""
    numbers = [root for root in candidates if root.is_number]
    if len(numbers) < len(candidates):
        return
    small = min(numbers) / 10**6
    for factor in factors:
        start = factor.subs(parameter, small)
        if start.free_symbols != {_z}:
            return
        radius = max(abs(root) for root in sp.Poly(start, _z).nroots(n=30, maxsteps=200))
        if radius >= 1:
            raise OutsideDomain(
                f"the spectral radius is {float(radius):.9f} at {parameter} = {float(small):.2g}",
                where="marginal_stability",
                remedy="a method must contract for small curvature to have a threshold",
            )
