"""The proof of a closed form: put it back into its equation at random points in high precision.

    |u'(t) - f(u(t))|,  |u(0) - u0|,  |F'(u) f(u) - 1|,  |F(u0) - F(u0)|,  |f(root)|      each below 1e-25 at 20 points

The points are exact rationals drawn from the stated domain, and the arithmetic carries 20 guard digits.
"""

from typing import Any

import mpmath
import numpy as np
import sympy as sp

from ..symbols import STEP, TIME
from ..system import FixedPoint, Flow, System
from .matchers import Match, initial_symbol

POINTS, DIGITS, TOLERANCE = 20, 40, 1e-25


def residual(match: Match, system: System, points: int = POINTS) -> float:
    """Largest relative residual of a match over random points of its domain; infinite if it fails to evaluate.

    >>> from .matchers import linear
    >>> u = sp.Symbol("u")
    >>> residual(linear(1 - u, u), Flow((u,), (1 - u,))) < 1e-35
    True
    """
    (unknown,), (equation,) = system.unknowns, system.equations
    initial = initial_symbol(unknown)
    checks: list[tuple[Any, Any]] = []
    running: Any = match.expression if match.kind != "implicit" else None
    if isinstance(system, FixedPoint):
        largest = sum(map(abs, sp.Add.make_args(equation)))
        checks.append((equation.xreplace({unknown: running}), largest.xreplace({unknown: running})))
    elif isinstance(system, Flow):
        if running is not None:
            right = equation.xreplace({unknown: running})
            checks += [(running.diff(TIME) - right, right), (running.xreplace({TIME: sp.S.Zero}) - initial, initial)]
        if match.time_law is not None:
            slope = _derivative(match.time_law, unknown)
            checks += [(slope * equation - 1, sp.S.One), (match.time_law.xreplace({unknown: initial}), sp.S.One)]
        if running is not None and match.time_law is not None:
            checks.append((match.time_law.xreplace({unknown: running}) - TIME, TIME))
    else:
        following = running.xreplace({STEP: STEP + 1})
        right = equation.xreplace({unknown: running})
        checks += [(following - right, right), (running.xreplace({STEP: sp.S.Zero}) - initial, initial)]
    symbols = sorted(set().union(*(part.free_symbols for pair in checks for part in pair)), key=str)
    compiled = [(_number_of(check, symbols), _number_of(scale, symbols)) for check, scale in checks]
    rng = np.random.default_rng(20)
    worst = 0.0
    for _ in range(points):
        point = _draw(symbols, match.domain, rng)
        if point is None:
            return float("inf")
        with mpmath.workdps(DIGITS + 20):
            for check, scale in compiled:
                try:
                    worst = max(worst, float(abs(check(point))) / (1.0 + float(abs(scale(point)))))
                except (TypeError, ValueError, ZeroDivisionError, OverflowError, NameError, mpmath.mp.NoConvergence):
                    return float("inf")
        if not np.isfinite(worst):
            return float("inf")
    return worst


def _derivative(expression: Any, unknown: Any) -> Any:
    """d/du, with sums over roots differentiated term by term (SymPy would expand each into one rational function)."""
    sums = {part: sp.Dummy() for part in expression.atoms(sp.RootSum)}
    plain = expression.xreplace(sums)
    total = plain.diff(unknown)
    for part, stand_in in sums.items():
        (place,), polynomial = part.fun.variables, part.poly.as_expr()
        summand = sp.Lambda(place, part.fun.expr.diff(unknown))
        total += plain.diff(stand_in) * sp.RootSum(polynomial, summand, part.poly.gen, auto=False)
    return total.xreplace({stand_in: part for part, stand_in in sums.items()})


def _number_of(expression: Any, symbols: list) -> Any:
    """Point -> number in the working precision of mpmath."""
    sums = {part: sp.Dummy() for part in expression.atoms(sp.RootSum)}
    whole = sp.lambdify([*symbols, *sums.values()], expression.xreplace(sums), "mpmath")
    summed = [_root_sum(part, symbols) for part in sums]

    def number(point):
        values = [mpmath.mpf(int(point[symbol].p)) / int(point[symbol].q) for symbol in symbols]
        return whole(*values, *(one(values) for one in summed))

    return number


def _root_sum(part: Any, symbols: list) -> Any:
    """A sum over the roots of a polynomial, which `lambdify` does not know, from its numerical roots."""
    (place,), polynomial = part.fun.variables, part.poly
    coefficients = sp.lambdify(symbols, polynomial.all_coeffs(), "mpmath")
    summand = sp.lambdify([*symbols, place], part.fun.expr, "mpmath")

    def total(values):
        roots = mpmath.polyroots([mpmath.mpf(c) for c in coefficients(*values)], maxsteps=200, extraprec=200)
        return mpmath.fsum(summand(*values, root) for root in roots)

    return total


def _draw(symbols: list, domain: tuple, rng: np.random.Generator, tries: int = 2000) -> dict[Any, Any] | None:
    """A random rational point of the domain: non-negative symbols in (0, 3), others in (-2, 2), integers 1 to 6."""
    drawn = sorted(set().union(*(condition.free_symbols for condition in domain)) | set(symbols), key=str)
    for _ in range(tries):
        point = {symbol: _coordinate(symbol, rng) for symbol in drawn}
        numbers = {symbol: sp.Float(value, 20) for symbol, value in point.items()}
        try:
            if all(condition.xreplace(numbers) == sp.true for condition in domain):
                return point
        except TypeError:  # a comparison of complex numbers: outside the domain
            continue
    return None


def _coordinate(symbol: Any, rng: np.random.Generator) -> sp.Rational:
    if symbol.is_integer:
        return sp.Integer(int(rng.integers(1, 7)))
    low, high = (0.05, 3.0) if symbol.is_nonnegative else (-2.0, 2.0)
    return sp.Rational(int(1009 * rng.uniform(low, high)), 1009)
