r"""Dual activations by Price's theorem: how a wide layer turns input covariances into output covariances.

For (u, v) Gaussian with variances A, B and covariance C, the dual of an activation f is V(A, B, C) = E f(u) f(v), and

    d^k V / dC^k  =  E f^(k)(u) f^(k)(v).

So differentiate f until the right-hand side is elementary (a delta function, a Gaussian or zero), and integrate back in
C; the constants are the independent values at C = 0. The same theorem with k = 1 gives the tangent kernel for free.

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

A, B = sp.symbols("A B", positive=True)
C = sp.Symbol("C", real=True)
_s = sp.Symbol("s", real=True)
_z = sp.Symbol("z", positive=True)
_HIGHEST = 6


@dataclass(frozen=True)
class Dual:
    """E f(u) f(v) (`value`) and E f'(u) f'(v) (`slope`) as expressions of A, B, C.

    `homogeneous`: the value scales as sqrt(A B) times a function of the correlation, as for f(c u) = c f(u), c > 0.
    Reference: Price 1958; Cho & Saul 2009; Daniely, Frostig & Singer 2016 (arXiv:1602.05897).
    """

    activation: str
    value: sp.Expr
    slope: sp.Expr
    homogeneous: bool


@lru_cache(maxsize=32)
def dual(activation: Any) -> Dual:
    """The dual of a named activation, derived and then checked by differentiating back.

    Errors: `UnknownName`; `NoClosedForm` when no derivative up to order 6 is a delta function, a Gaussian or zero.
    """
    u = sp.Symbol("u", real=True)
    law = formula(activation)
    if law is None:
        raise NoClosedForm(
            f"{activation_name(activation)} has no formula", where="dual activation", remedy="use numbers"
        )
    derivatives = [law(u)]
    while (end := _terminal(derivatives[-1], u)) is None:
        if len(derivatives) > _HIGHEST:
            raise NoClosedForm(
                f"no derivative of {activation} up to order {_HIGHEST} is a delta function, a Gaussian or zero",
                where="dual activation",
                remedy="use relu, erf or a polynomial",
            )
        derivatives.append(derivatives[-1].diff(u))
    value, scale = end
    levels = [value]
    for derivative in reversed(derivatives[:-1]):
        primitive = sp.integrate(levels[-1], _s)
        _differentiates_back(primitive, levels[-1])
        independent = _mean(derivative, u, A) * _mean(derivative, u, B)
        levels.append(independent + scale * (primitive - primitive.subs(_s, 0)))
    found = [sp.powdenest(level.subs(_s, C / scale), force=True) for level in levels]
    V = found[-1]
    slope = found[-2] if len(found) > 1 else V.diff(C)
    here = {A: sp.Rational(3, 2), B: sp.Rational(2, 3), C: sp.Rational(1, 3)}
    doubled = V.subs({symbol: 2 * value for symbol, value in here.items()})
    return Dual(activation, V, slope, bool(abs(sp.N(doubled - 2 * V.subs(here), 30)) < 1e-25))


def _terminal(derivative: sp.Expr, u: sp.Symbol) -> tuple[sp.Expr, sp.Expr] | None:
    """E f(u) f(v) as a function of s with C = scale x s, where f is a delta function, a Gaussian or zero; else None."""
    if derivative == 0:
        return sp.S.Zero, sp.S.One
    weight = derivative.coeff(sp.DiracDelta(u))
    if weight != 0 and sp.simplify(derivative - weight * sp.DiracDelta(u)) == 0 and not weight.has(u):
        # the joint density at the origin, 1 / (2 pi sqrt(A B - C^2))
        scale = sp.sqrt(A * B)
        return weight**2 / (2 * sp.pi * scale * sp.sqrt(1 - _s**2)), scale
    logarithmic = -derivative.diff(u) / (2 * u * derivative)
    here, there = (complex(sp.N(logarithmic.subs(u, sp.Rational(p, 10)))) for p in (3, 7))
    if not abs(here - there) < 1e-9:  # cheap refusal before simplifying
        return None
    rate = sp.simplify(logarithmic)
    if not rate.has(u) and rate.is_positive:
        # f = weight exp(-rate u^2): the expectation is weight^2 / sqrt(det(1 + 2 rate Sigma))
        determinant = sp.sqrt((1 + 2 * rate * A) * (1 + 2 * rate * B))
        return derivative.subs(u, 0) ** 2 / (determinant * sp.sqrt(1 - _s**2)), determinant / (2 * rate)
    return None


def _mean(f: sp.Expr, u: sp.Symbol, variance: sp.Symbol) -> sp.Expr:
    """E f(u) for u ~ N(0, variance); half lines first, so that Max and Heaviside resolve."""
    density = sp.exp(-(_z**2) / (2 * variance)) / sp.sqrt(2 * sp.pi * variance)
    folded = sp.simplify(f.subs(u, _z) + f.subs(u, -_z))
    return sp.integrate(folded * density, (_z, 0, sp.oo)) if folded != 0 else sp.S.Zero


def _differentiates_back(primitive: sp.Expr, integrand: sp.Expr) -> None:
    gap = (primitive.diff(_s) - integrand).subs({A: 1.25, B: 0.75})
    for point in (-0.7, 0.1, 0.6):
        if abs(sp.N(gap.subs(_s, point), 30)) > 1e-12:
            raise NoClosedForm(f"the antiderivative {primitive} does not differentiate back", where="dual activation")
