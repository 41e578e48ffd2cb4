"""Inverting a time law t = F(u) - F(u0), vectorised, accurate at both ends of the trajectory.

The one idea: work in the logit coordinate w = log(x / (1 - x)), which resolves x near 0 and 1 - x near 0 alike
(1 - x = 1e-300 is w = 690). For the power mode ODE dx/dtau = x^P (1 - x) the time law is

    tau = G(w) - G(w0),      dG/dw = x^(1 - P),      x = 1 / (1 + e^-w).

G is one function of one variable for each P, whatever the number of modes, and so is its inverse: it is tabulated once
as local Taylor series, and no iteration is left.
"""

from collections.abc import Callable
from functools import cache

import numpy as np
from scipy.special import digamma

from ..errors import DidNotConverge

EDGE = 690.0  # |w| beyond which x or 1 - x leaves the normal floating-point range


def power_time(w: np.ndarray, power: float) -> np.ndarray:
    """G(w), the dimensionless time of dx/dtau = x^P (1 - x), up to a constant that depends on P alone.

    G = sum_j x^(1-P+j) / (1-P+j) + x^b sum_n x^n / (n+b), b in (0, 1]; beyond x = 1/2 the last sum is continued in
    1 - x, so that G = w + constant as x -> 1.

    >>> w = np.array([-1.0, 2.0])                       # P = 1 is the logistic equation: its time is the logit itself
    >>> bool(np.allclose(power_time(w, 1.0), w, rtol=1e-14))
    True
    """
    start, count, near_zero, near_one = _series(power)
    log_x, log_y = -np.logaddexp(0.0, -w), -np.logaddexp(0.0, w)
    total = np.zeros_like(log_x)
    for j in range(count):
        exponent = start + j
        total += log_x if exponent == 0 else np.exp(exponent * log_x) / exponent
    low = w <= 0
    x, y = np.exp(np.where(low, log_x, -np.inf)), np.exp(np.where(low, -np.inf, log_y))
    near = np.where(low, np.polyval(near_zero, x), np.polyval(near_one[0], y) - log_y * np.polyval(near_one[1], y))
    return total + np.exp((start + count) * log_x) * near


@cache
def _series(power: float):
    """First exponent 1 - P, number of leading powers taken off, and the two series (highest power first)."""
    start = 1.0 - power
    if abs(start - round(start)) < 1e-12:
        start = float(round(start))
    count = 0 if start > 0 else int(np.floor(-start)) + 1
    b = start + count
    n = np.arange(56 + int(8 * b))  # the terms grow as n^(b-1) / 2^n
    rising = np.concatenate([[1.0], np.cumprod((b + n[:-1]) / (n[:-1] + 1))])  # (b)_n / n!
    near_one = (rising * (digamma(n + 1) - digamma(b + n)))[::-1], rising[::-1]
    return start, count, (1 / (n + b))[::-1], near_one


def invert_power_time(tau: np.ndarray, w0: np.ndarray, power: float) -> np.ndarray:
    """The logit w(tau), shape (T, C), of the solution of dx/dtau = x^P (1 - x) that starts at the logits w0 (C,).

    >>> tau = np.array([[0.0], [0.5], [3.0]])            # P = 0: the share still to go decays as e^-tau
    >>> w = invert_power_time(tau, np.array([-2.0]), 0.0)
    >>> bool(np.allclose(1 / (1 + np.exp(w)), np.exp(-tau) / (1 + np.exp(-2.0)), rtol=1e-14))
    True
    """
    breaks, times, speeds, logits, series, reach = _inverse(power)
    target = power_time(w0, power) + tau
    found = np.empty(target.size)
    flat = target.reshape(-1)
    for first in range(0, flat.size, _BLOCK):  # blocks stay in the processor's cache
        part = flat[first : first + _BLOCK]
        node = np.searchsorted(breaks, part)
        step = (part - times[node]) * speeds[node]
        inside = np.clip(step, -reach, reach)
        value = series[-1][node]
        for coefficients in series[-2::-1]:
            value *= inside
            value += coefficients[node]
        value *= inside
        value += logits[node] + (step - inside)  # past the last node w grows exactly as the time does
        if step.min(initial=0.0) < -reach:
            value[step < -reach] = -np.inf
        found[first : first + _BLOCK] = value
    return found.reshape(target.shape)


@cache
def _inverse(power: float):
    """The inverse of G as Taylor series about nodes w_i: w = w_i + sum_k c_k sigma^k, sigma = x_i^(P-1) (G - G_i).

    With r = dw/dsigma and y = 1 - x the equation is polynomial, r' = (P - 1) r^2 y, y' = -y (1 - y) r, so that the
    coefficients follow from a recursion in y_i alone. Raises `DidNotConverge` unless neighbouring series meet.
    """
    gap = 0.1 / max(1.0, abs(power - 1))  # a twentieth of the series' radius of convergence
    w = np.arange(-709.0, 40.0 + gap, gap)  # every start that is a normal number
    with np.errstate(over="ignore", under="ignore", divide="ignore", invalid="ignore"):
        times, speeds = power_time(w, power), np.exp((1 - power) * np.logaddexp(0.0, -w))
        kept = np.isfinite(times * speeds) & (speeds > 1e-305) & (np.abs(times) > 1e-305)
    w, times, speeds = w[kept], times[kept], speeds[kept]
    r, y = [np.ones_like(w)], [np.exp(-np.logaddexp(0.0, w))]
    for k in range(_DEGREE - 1):
        fast, square = [_product(r, r, j) for j in range(k + 1)], [_product(y, y, j) for j in range(k + 1)]
        r.append((power - 1) * _product(fast, y, k) / (k + 1))
        y.append(-_product([a - b for a, b in zip(y, square, strict=True)], r[: k + 1], k) / (k + 1))
    series = [coefficient / (k + 1) for k, coefficient in enumerate(r)]
    breaks = (times[1:] + times[:-1]) / 2
    meet = [
        sum(c[side] * ((breaks - times[side]) * speeds[side]) ** (k + 1) for k, c in enumerate(series)) + w[side]
        for side in (slice(None, -1), slice(1, None))
    ]
    if not np.abs(meet[0] - meet[1]).max() < 1e-12:
        raise DidNotConverge(f"the inverse of the time law at P = {power:g} is not resolved", where="closed form")
    return breaks, times, speeds, w, series, gap


def _product(a: list, b: list, k: int) -> np.ndarray:
    """Coefficient k of the product of two power series."""
    return sum(a[j] * b[k - j] for j in range(k + 1))


def invert(law: Callable[..., tuple[np.ndarray, np.ndarray]], target: np.ndarray) -> np.ndarray:
    """Solve time(w, c) = target, shape (T, C), for a `time` increasing in w: Newton's method inside a bracket.

    `law` takes positions w and the columns c they belong to, and gives their times and velocities dw/dtime. Beyond
    |w| = 690 the solution is -inf on the left and goes on at constant velocity on the right. Raises `DidNotConverge` if
    a hundred steps do not reach machine precision.
    """
    with np.errstate(over="ignore", under="ignore", divide="ignore", invalid="ignore"):
        grid, every = _GRID if len(target) < 20 * len(_GRID) else _FINE_GRID, np.arange(target.shape[1])
        table, paces = law(grid[:, None], every)
        table = np.maximum.accumulate(table, axis=0)
        above = np.stack([np.searchsorted(table[:, c], target[:, c]) for c in every], axis=1)
        left, right = above == 0, above == len(grid)
        result = np.where(left, -np.inf, EDGE + (target - table[-1]) * paces[-1]).reshape(-1)
        points = np.flatnonzero(~(left | right))
        above, goals = above.reshape(-1), target.reshape(-1)
        for block in np.split(points, range(_BLOCK, len(points), _BLOCK)):  # they stay in the processor's cache
            columns, node, goal = block % len(every), above[block], goals[block]
            low, high = grid[node - 1], grid[node]
            ends = [part[k, columns] for part in (table, paces) for k in (node - 1, node)]
            result[block] = _newton(law, goal, columns, low, high, _between(goal, low, high, *ends))
        return result.reshape(target.shape)


def _between(goal, low, high, low_time, high_time, low_pace, high_pace):
    """Where a cubic through both ends of the bracket, with their slopes, meets the goal; the middle if that fails."""
    width = high_time - low_time
    share = (goal - low_time) / width
    rest = 1 - share
    bend = share * rest * (rest * (low_pace * width - (high - low)) + share * ((high - low) - high_pace * width))
    cubic = low + share * (high - low) + bend
    return np.where((cubic > low) & (cubic < high), cubic, (low + high) / 2)


def _newton(law, goal, columns, low, high, w):
    """Positions of one block of points; every step is taken only by those that still move."""
    result, points, before = np.empty_like(w), np.arange(len(w)), np.full(len(w), np.inf)
    for _ in range(100):
        now, speed = law(w, columns)
        error = goal - now
        low, high = np.where(error > 0, w, low), np.where(error < 0, w, high)
        following = w + error * speed
        following = np.where((following >= low) & (following <= high), following, (low + high) / 2)
        moved, result[points] = np.abs(following - w), following
        going = moved > 8 * np.finfo(float).eps * (np.abs(goal * speed) + np.abs(w) + 1)
        going &= (moved > 1e-11) | (moved < before / 2)  # tiny steps that no longer shrink are rounding inside `law`
        if not going.any():
            return result
        points, columns, goal, low, high, w, before = (
            part[going] for part in (points, columns, goal, low, high, following, moved)
        )
    stuck = before * np.exp(-np.abs(w)) > 1e-11  # where rounding is the limit: does it move the position itself?
    if stuck.any():
        raise DidNotConverge(
            f"{int(stuck.sum())} of {len(result)} times not inverted; largest step left {before[stuck].max():.1e}",
            where="closed form",
            remedy="integrate numerically with lm.solve",
        )
    return result


_GRID = np.unique(np.concatenate([np.linspace(-EDGE, EDGE, 117), np.linspace(-40.0, 40.0, 161)]))
_FINE_GRID = np.unique(np.concatenate([np.linspace(-EDGE, EDGE, 1171), np.linspace(-40.0, 40.0, 1601)]))
_BLOCK, _DEGREE = 1 << 14, 10
