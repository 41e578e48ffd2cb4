r"""Dual activations: how a wide layer turns input covariances into output covariances, in closed form.

For (u, v) Gaussian with variances A, B and covariance C, the dual of an activation f is V(A, B, C) = E f(u) f(v). Its
derivative is the tangent kernel's factor (Price's theorem):

    dV / dC  =  E f'(u) f'(v).

Both sides are derived separately (`gaussian_integrals`), and every dual is checked by differentiating it.

>>> relu = dual("relu")
>>> relu.value.subs({A: 1, B: 1, C: 1})
1/2
>>> relu.slope.subs({A: 1, B: 1, C: 0})
1/4
"""

from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import sympy as sp

from ..architecture.activations import activation_name, formula
from ..errors import NoClosedForm
from .gaussian_integrals import A, B, C, derivative, mean, paired, terms

_PLACES = ((sp.Rational(3, 2), sp.Rational(2, 3), sp.Rational(1, 3)), (sp.Rational(1, 5), sp.S(2), -sp.Rational(2, 5)))


@dataclass(frozen=True)
class Dual:
    """E f(u) f(v) (`value`) and E f'(u) f'(v) (`slope`) as expressions of A, B, C.

    `homogeneous`  the value is sqrt(A B) times a function of the correlation, as for f(c u) = c f(u), c > 0
    `degree`       the value is sqrt(A B)^degree times a function of the correlation; None where it is not
    `mean`         E f(u) as an expression of A
    `bends`        E f''(u) f''(v), infinite at coincident inputs for kinks; None where f jumps
    Reference: Price 1958; Cho & Saul 2009; Daniely, Frostig & Singer 2016 (arXiv:1602.05897).
    """

    activation: Any
    value: sp.Expr
    slope: sp.Expr
    homogeneous: bool
    degree: int | None
    mean: sp.Expr
    bends: sp.Expr | None


@lru_cache(maxsize=128)
def dual(activation: Any) -> Dual:
    """The dual of an activation: a name, or a formula that is a sum of powers, exponentials of them up to squares,
    sines and cosines, signs (so kinks at zero) and error functions, times each other within limits.

    Errors: `UnknownName`; `NoClosedForm` where a part of the formula is none of these or an integral is not elementary.

    >>> print(dual(sp.Lambda(C, sp.sin(C))).slope)
    exp(-A/2 - B/2 - C)/2 + exp(-A/2 - B/2 + C)/2
    """
    law = formula(activation)
    name = activation_name(activation)
    if law is None:
        raise NoClosedForm(f"{name} has no formula", where="dual activation", remedy="use numbers: lm.kernels")
    try:
        f = terms(law.expr, *law.signature)
        g = derivative(f)
        value, slope = sp.powsimp(paired(f, f)), sp.powsimp(paired(g, g))
        jumps = any(term.kind == "delta" for term in g)
        bends = None if jumps else sp.powsimp(paired(derivative(g), derivative(g)))
        average = mean(f)
    except NoClosedForm as error:
        raise NoClosedForm(
            f"{name}: {error.found}", where="dual activation", remedy="use numbers: lm.kernels"
        ) from None
    _differentiates_back(value, slope, name)
    degree = _degree(value)
    return Dual(activation, value, slope, degree == 1, degree, average, bends)


def _differentiates_back(value: sp.Expr, slope: sp.Expr, name: str) -> None:
    """Price's theorem, at two places and to 25 digits."""
    gap = value.diff(C) - slope
    for place in _PLACES:
        here = dict(zip((A, B, C), place, strict=True))
        if abs(sp.N(gap.subs(here), 30, maxn=200)) > 1e-25 * (1 + abs(sp.N(slope.subs(here), 30))):
            raise NoClosedForm(f"the dual of {name} does not differentiate back", where="dual activation")


def _degree(value: sp.Expr) -> int | None:
    """d where V(s A, t B, sqrt(s t) C) = sqrt(s t)^d V, with s = 4, t = 16."""
    ratios = []
    for a, b, c in _PLACES:
        here, there = ({A: a, B: b, C: c}, {A: 4 * a, B: 16 * b, C: 8 * c})
        before, after = (sp.N(value.subs(place), 30) for place in (here, there))
        if before == 0 or after / before <= 0:
            return None
        ratios.append(sp.log(after / before, 8).evalf(30))
    whole = round(float(ratios[0]))
    return whole if all(abs(ratio - whole) < 1e-20 for ratio in ratios) else None


# ---- for numbers -----------------------------------------------------------------------------------------------------

THETA = sp.Symbol("theta", nonnegative=True)
COSINE = sp.Symbol("cosine", real=True)
SINE = sp.Symbol("sine", positive=True)


def angular(expression: sp.Expr) -> sp.Expr:
    """An expression of A, B, C as one of A, B, the angle, its sine and its cosine, C = sqrt(A B) cos: no difference of
    nearly equal numbers is left under a root or in an arcsine at coincident inputs.

    >>> print(angular(dual("abs").slope), "and", angular(dual("gaussian").value))
    (pi - 2*theta)/pi and 1/(2*sqrt(A*B*sine**2 + A/2 + B/2 + 1/4))
    """
    covariance = sp.sqrt(A) * sp.sqrt(B) * COSINE

    def under_a_root(base: sp.Expr) -> sp.Expr:
        top, bottom = (sp.factor(part) for part in sp.fraction(sp.factor(base)))
        return _sine_square(top) / _sine_square(bottom)

    def arcsine(x: sp.Expr) -> sp.Expr:
        root = sp.sqrt(under_a_root(1 - x**2))
        x = covariance * sp.sqrt(under_a_root(x**2 / C**2))
        return sp.pi / 2 - THETA if (x, root) == (COSINE, SINE) else sp.atan2(x, root)

    expression = expression.replace(lambda x: isinstance(x, sp.asin) and x.has(C), lambda x: arcsine(x.args[0]))
    expression = expression.replace(
        lambda x: x.is_Pow and x.exp.is_Rational and x.exp.q == 2 and x.base.has(C),
        lambda x: under_a_root(x.base) ** x.exp,
    )
    return _even_and_odd(sp.powsimp(expression.subs(C, covariance)))


class damped_sinh(sp.Function):
    """exp(x - y) sinh(y cosine), which for y > 0 does not overflow where exp(x) does not."""

    nargs = 3


class damped_cosh(sp.Function):
    """exp(x - y) cosh(y cosine), which for y > 0 does not overflow where exp(x) does not."""

    nargs = 3


def _even_and_odd(expression: sp.Expr) -> sp.Expr:
    """Pairs c exp(x + y) -+ c exp(x - y), y odd in the cosine, as one function: no cancellation, no overflow."""
    if not expression.has(sp.exp):
        return expression
    rest: sp.Expr = sp.S.Zero
    pairs: dict[tuple, dict[int, sp.Expr]] = {}
    for part in sp.Add.make_args(sp.powsimp(sp.expand(expression))):
        weight, power = sp.S.One, None
        for factor in sp.Mul.make_args(part):
            if isinstance(factor, sp.exp) and power is None and factor.exp.has(COSINE):
                power = factor.exp
            else:
                weight *= factor
        if power is None or not power.is_polynomial(COSINE) or sp.degree(power, COSINE) != 1:
            rest += part
            continue
        level = power.subs(COSINE, 0)
        odd = sp.expand(power - level)
        sign = -1 if odd.could_extract_minus_sign() else 1
        both = pairs.setdefault((level, sign * odd), {1: sp.S.Zero, -1: sp.S.Zero})
        both[sign] += weight
    for (level, odd), both in pairs.items():
        even = both[1] == both[-1]
        if even or both[1] == -both[-1]:
            size = odd / COSINE
            half = size / (2 * sp.sqrt(A) * sp.sqrt(B))
            top = sp.expand(level + half * (A + B))  # -(sqrt A - sqrt B)^2 is what these give with y
            top = top - half * (sp.sqrt(A) - sp.sqrt(B)) ** 2
            rest += 2 * both[1] * (damped_cosh if even else damped_sinh)(top, size, COSINE)
        else:
            rest += both[1] * sp.exp(level + odd) + both[-1] * sp.exp(level - odd)
    return rest


def _sine_square(product: sp.Expr) -> sp.Expr:
    """Factors that are polynomials in C^2, with C^2 = A B (1 - sin^2)."""
    return sp.Mul(*(sp.expand(sp.expand(part).subs(C**2, A * B * (1 - SINE**2))) for part in sp.Mul.make_args(product)))
