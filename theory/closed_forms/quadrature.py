"""Any autonomous polynomial equation u' = f(u) by partial fractions: t = R(u) + sum_r c_r log(u - r), minus the start.

Hermite reduction splits 1/f exactly into the derivative of a rational R and h/g with simple roots; then
c_r = h(r) / g'(r) over all complex roots of g. No general integrator is called: those of SymPy 1.14 return silently
wrong antiderivatives of such integrands when symbols are declared positive. Fractional powers of u become
polynomials in v = u^(1/n).
"""

from typing import Any

import numpy as np
import sympy as sp
from sympy.integrals.rationaltools import ratint_ratpart

from ..errors import OutsideDomain
from ..symbols import LEARNING_RATE
from .implicit import invert
from .matchers import Match, initial_symbol, terms


def quadrature(equation: Any, u: Any) -> Match | None:
    """The implicit law of u' = polynomial in u, or in a root of u, with symbolic coefficients.

    >>> u = sp.Symbol("u", positive=True)
    >>> print(quadrature(u**2 * (2 - u) * (u + 1), u).method)
    partial fractions
    """
    found = terms(equation, u)
    if not found or equation.has(LEARNING_RATE):
        return None  # a truncated series in the learning rate has spurious far roots, whose logarithms cancel badly
    n = sp.ilcm(1, *(exponent.q for exponent in found))
    v, r = sp.Dummy("v"), sp.Symbol("r")
    plain = {symbol: sp.Dummy(symbol.name) for c in found.values() for symbol in c.free_symbols}
    if any(coefficient.has(sp.Function) for coefficient in found.values()):
        return None
    back = {dummy: symbol for symbol, dummy in plain.items()}
    lowest = min(min(found), 0) * n
    velocity = sum(c.xreplace(plain) * v ** (k * n - lowest) for k, c in found.items())
    try:
        top, bottom = sp.fraction(sp.cancel(n * v ** (n - 1 - lowest) / velocity))
        top, bottom = sp.Poly(top, v), sp.Poly(bottom, v)
        whole, top = top.div(bottom)
        rational, rest = ratint_ratpart(top, bottom, v)
        h, g = (sp.Poly(part, v) for part in sp.fraction(sp.cancel(sp.together(rest))))
        factors = sp.factor_list(g.as_expr(), v)[1]
    except (sp.PolynomialError, sp.CoercionFailed, NotImplementedError):
        return None
    rational = rational + whole.integrate().as_expr()
    root = u if n == 1 else u ** sp.Rational(1, n)
    start = root.xreplace({u: initial_symbol(u)})
    slope = g.diff(v)
    logs, tables = sp.S.Zero, []
    for factor, _ in factors:
        factor = sp.Poly(factor, v)
        if factor.degree() == 0:
            continue
        weight = (h.as_expr() / slope.as_expr()).xreplace({v: r})
        summand = weight * sp.log((root - r) / (start - r))
        if factor.degree() == 1:
            place = sp.cancel(-factor.nth(0) / factor.LC())
            logs += sp.factor(sp.cancel(weight.subs(r, place))) * sp.log((root - place) / (start - place))
        else:
            logs += sp.RootSum(factor.as_expr().xreplace({v: r}), sp.Lambda(r, summand), r, auto=False)
        tables.append(_monic(factor, back))
    law = (rational.subs(v, root) - rational.subs(v, start) + logs).xreplace(back)
    walls = [sp.Poly(factor, v) for factor, _ in sp.factor_list(bottom.as_expr(), v)[1]]
    V = sp.Symbol("v")
    parts = {
        "n": sp.Integer(n),
        "factors": sp.Tuple(*tables),
        "walls": sp.Tuple(*(_monic(wall, back) for wall in walls if wall.degree() > 0)),
        "top": sp.Tuple(*h.all_coeffs()).xreplace(back),
        "slope": sp.Tuple(*slope.all_coeffs()).xreplace(back),
        "rational": sp.sympify(rational).xreplace(back).xreplace({v: V}),
        "velocity": (velocity * v ** (lowest - n + 1) / n).xreplace(back).xreplace({v: V}),
    }
    domain = (sp.Gt(initial_symbol(u), 0),) if n > 1 or lowest < 0 else ()
    return Match("partial fractions", "implicit", law, law, None, domain, parts)


def _monic(factor, back):
    """Coefficients over the leading one: equal factors get equal text, and so bitwise equal roots."""
    return sp.Tuple(*(sp.cancel(c / factor.LC()) for c in factor.all_coeffs())).xreplace(back)


def travel(times, start, n, factors, walls, top, slope, rational, velocity):
    """u(t) of shape (T, C) from starts (C,): the law inverted between the two real roots that enclose each start.

    `factors` (simple roots of g), `walls` (all roots of f), `top` = h and `slope` = g' are coefficient arrays
    (degree + 1, C); `rational` and `velocity` are functions of v and the columns. A solution that leaves to infinity in
    finite time is infinite from then on. Raises `OutsideDomain` where roots coincide, or below zero under a root.
    """
    if n > 1 and (start < 0).any():
        raise OutsideDomain(f"start {start.min():.3g} < 0 under a root", where="closed form", remedy="start above 0")
    v0 = start ** (1 / n)
    with np.errstate(all="ignore"):
        here = velocity(v0, slice(None))
        resting = ~(np.isfinite(here) & (here != 0))
        v0 = np.where(resting, v0 + 1e-3, v0)  # a start on a root stays; solved for a neighbour, overwritten below
        forward = np.where(velocity(v0, slice(None)) < 0, -1.0, 1.0)
        simple = np.concatenate([_roots(factor) for factor in factors] or [np.zeros((0, len(v0)))])
        simple = np.take_along_axis(simple, np.argsort(simple.imag, axis=0), 0)  # conjugate partners in like places
        weights = _polynomial(top, simple) / _polynomial(slope, simple)
        if not np.isfinite(weights).all():
            raise OutsideDomain(
                "two roots of the equation coincide", where="closed form", remedy="integrate numerically with lm.solve"
            )
        road = _Road(v0, forward, np.concatenate([*map(_roots, walls), *([np.zeros((1, len(v0)))] if n > 1 else [])]))

        def law(w, c):
            v, ahead, behind = road.place(w, c)
            total = rational(v, c) + np.zeros_like(v)
            for place, weight in zip(simple[:, c], weights[:, c], strict=True):
                if (place.imag < 0).all():  # its partner adds the same
                    continue
                gap, height = v - place.real, place.imag
                size = np.where(place == road.ahead[c], ahead, np.where(place == road.behind[c], behind, np.abs(gap)))
                if not height.any():
                    total += weight.real * np.log(size)
                    continue
                modulus = np.where(height == 0, np.log(size), np.log(np.hypot(gap, height)))
                both = np.where(height > 0, 2, height == 0)
                total += both * (weight.real * modulus + weight.imag * np.arctan2(height, gap) * (height != 0))
            pace = np.abs(velocity(v, c)) / road.stretch(w, c, ahead, behind)
            return np.where(np.isnan(total), np.inf, total), pace

        every = np.arange(len(start))
        w = invert(law, law(road.start, every)[0] + times[:, None])
        return np.where(resting, start, road.place(w, every)[0] ** n)


class _Road:
    """The interval between two neighbouring real roots (or infinity), with w increasing along the motion."""

    def __init__(self, v0, forward, walls):
        real = np.where(walls.imag == 0, walls.real, np.nan)
        gaps = (real - v0) * forward
        self.v0, self.forward = v0, forward
        self.to_ahead, self.ahead = _nearest(np.where(gaps > 0, gaps, np.inf), real)
        self.to_behind, self.behind = _nearest(np.where(gaps < 0, -gaps, np.inf), real)
        self.closed_ahead, self.closed_behind = np.isfinite(self.to_ahead), np.isfinite(self.to_behind)
        self.closed = self.closed_ahead & self.closed_behind
        self.free = ~self.closed_ahead & ~self.closed_behind
        self.span = np.where(self.closed, self.to_ahead + self.to_behind, 1.0)
        half_open = np.where(self.closed_ahead, -np.log(self.to_ahead), np.log(self.to_behind))
        self.start = np.where(self.closed, np.log(self.to_behind / self.to_ahead), np.where(self.free, 0.0, half_open))

    def place(self, w, c):
        """Position on the roads c, and distances to the root ahead and behind, each to full relative precision."""
        closed, span, forward = self.closed[c], self.span[c], self.forward[c]
        rise, fall = np.exp(w), np.exp(-w)
        ahead, behind = np.where(closed, span / (1 + rise), fall), np.where(closed, span / (1 + fall), rise)
        from_ahead = self.closed_ahead[c] & (~self.closed_behind[c] | (ahead < behind))
        v = np.where(from_ahead, self.ahead[c] - forward * ahead, self.behind[c] + forward * behind)
        return np.where(self.free[c], self.v0[c] + forward * np.sinh(w), v), ahead, behind

    def stretch(self, w, c, ahead, behind):
        """|dv/dw|, from the distances that `place` gives."""
        half_open = np.where(self.closed_ahead[c], ahead, behind)
        return np.where(self.closed[c], ahead * behind / self.span[c], np.where(self.free[c], np.cosh(w), half_open))


def _nearest(gaps, real):
    """Smallest gap of each column, and the root it belongs to."""
    chosen = gaps.argmin(axis=0)[None]
    return np.take_along_axis(gaps, chosen, 0)[0], np.take_along_axis(real, chosen, 0)[0]


def _roots(coefficients):
    """Roots (degree, C) of polynomials given by coefficients (degree + 1, C), polished by two Newton steps."""
    if len(coefficients) == 2:
        return -coefficients[1:] / coefficients[:1] + 0j
    found = np.stack([np.roots(column) for column in coefficients.T], axis=1)
    slope = coefficients[:-1] * np.arange(len(coefficients) - 1, 0, -1)[:, None]
    for _ in range(2):
        found = found - _polynomial(coefficients, found) / _polynomial(slope, found)
    return found


def _polynomial(coefficients, at):
    value = np.zeros_like(at)
    for coefficient in coefficients:
        value = value * at + coefficient
    return value
