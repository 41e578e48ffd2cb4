"""The proof of a closed form: put it back into its equation at random points in high precision.

    |u'(t) - f(u(t))|,  |u(0) - u0|,  |F'(u) f(u) - 1|,  |F(u0) - F(u0)|,  |f(root)|      each below 1e-25 at 20 points

The points are exact rationals drawn from the stated domain, so that 40 digits mean 40 digits.
"""

from typing import Any

import numpy as np
import sympy as sp

from .matchers import Match, initial_symbol
from .symbols import STEP, TIME
from .system import FixedPoint, Flow, System

POINTS, DIGITS, TOLERANCE = 20, 40, 1e-25


def residual(match: Match, system: System, points: int = POINTS) -> float:
    """Largest relative residual of a match over random points of its domain; infinite if it fails to evaluate.

    >>> from .matchers import linear
    >>> u = sp.Symbol("u")
    >>> residual(linear(1 - u, u), Flow((u,), (1 - u,))) < 1e-35
    True
    """
    (unknown,), (equation,) = system.unknowns, system.equations
    initial, checks = initial_symbol(unknown), []
    running = match.expression if match.kind != "implicit" else None
    if isinstance(system, FixedPoint):
        checks.append((equation.xreplace({unknown: running}), sum(map(abs, sp.Add.make_args(equation)))))
        checks[0] = (checks[0][0], checks[0][1].xreplace({unknown: running}))
    elif isinstance(system, Flow):
        if running is not None:
            right = equation.xreplace({unknown: running})
            checks += [(running.diff(TIME) - right, right), (running.xreplace({TIME: sp.S.Zero}) - initial, initial)]
        if match.time_law is not None:
            slope = match.time_law.diff(unknown)
            checks += [(slope * equation - 1, sp.S.One), (match.time_law.xreplace({unknown: initial}), sp.S.One)]
        if running is not None and match.time_law is not None:
            checks.append((match.time_law.xreplace({unknown: running}) - TIME, TIME))
    else:
        following = running.xreplace({STEP: STEP + 1})
        right = equation.xreplace({unknown: running})
        checks += [(following - right, right), (running.xreplace({STEP: sp.S.Zero}) - initial, initial)]
    symbols = sorted(set().union(*(check.free_symbols for pair in checks for check in pair)), key=str)
    rng = np.random.default_rng(20)
    worst = 0.0
    for _ in range(points):
        point = _draw(symbols, match.domain, rng)
        if point is None:
            return float("inf")
        for check, scale in checks:
            value = sp.N(check.xreplace(point), DIGITS)
            size = sp.N(scale.xreplace(point), 15)
            if not value.is_number or not size.is_number or not value.is_finite:
                return float("inf")
            worst = max(worst, float(abs(value)) / (1.0 + float(abs(size))))
    return worst


def _draw(symbols: list, domain: tuple, rng: np.random.Generator, tries: int = 2000) -> dict[Any, Any] | None:
    """A random rational point of the domain: positive symbols in (0, 3), others in (-2, 2), times in (0, 2)."""
    numbers = sorted(set().union(*(condition.free_symbols for condition in domain)) | set(symbols), key=str)
    for _ in range(tries):
        point = {symbol: _number(symbol, rng) for symbol in numbers}
        try:
            if all(bool(sp.N(condition.lhs - condition.rhs).is_real) for condition in (c.xreplace(point) for c in domain) if condition.args) and all(
                bool(condition.xreplace(point)) for condition in domain
            ):
                return point
        except TypeError:  # a comparison of complex numbers: outside the domain
            continue
    return None


def _number(symbol: Any, rng: np.random.Generator) -> sp.Rational:
    if symbol.is_integer:
        return sp.Integer(int(rng.integers(1, 7)))
    low, high = (0.05, 3.0) if symbol.is_nonnegative else (-2.0, 2.0)
    return sp.Rational(int(1009 * rng.uniform(low, high)), 1009)
