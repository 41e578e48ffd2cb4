"""Inverting a time law t = F(u) - F(u0), vectorised, accurate at both ends of the trajectory.

The one idea: work in the logit coordinate w = log(x / (1 - x)), which resolves x near 0 and 1 - x near 0 alike
(1 - x = 1e-300 is w = 690). For the power mode ODE dx/dtau = x^P (1 - x) the time law is

    tau = G(w) - G(w0),      dG/dw = x^(1 - P),      x = 1 / (1 + e^-w).

G is one function of one variable for each P, whatever the number of modes.
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
    b, n = start + count, np.arange(56)
    rising = np.concatenate([[1.0], np.cumprod((b + n[:-1]) / (n[:-1] + 1))])  # (b)_n / n!
    near_one = (rising * (digamma(n + 1) - digamma(b + n)))[::-1], rising[::-1]
    return start, count, (1 / (n + b))[::-1], near_one


def invert_power_time(tau: np.ndarray, w0: np.ndarray, power: float) -> np.ndarray:
    """The logit w(tau), shape (T, C), of the solution of dx/dtau = x^P (1 - x) that starts at the logits w0 (C,)."""
    return invert(
        lambda w: power_time(w, power),
        lambda w: np.exp((1 - power) * np.logaddexp(0.0, -w)),
        power_time(w0, power) + tau,
    )


def invert(
    time: Callable[[np.ndarray], np.ndarray], velocity: Callable[[np.ndarray], np.ndarray], target: np.ndarray
) -> np.ndarray:
    """Solve time(w) = target, shape (T, C), for a `time` increasing in w: Newton's method inside a bracket.

    `time` and `velocity` = dw/dtime map arrays (..., C). Beyond |w| = 690 the solution is -inf on the left and goes on
    at constant velocity on the right. Raises `DidNotConverge` if a hundred steps do not reach machine precision.
    """
    with np.errstate(over="ignore", under="ignore", divide="ignore", invalid="ignore"):
        lines = np.broadcast_to(_GRID[:, None], (len(_GRID), target.shape[1]))
        table = np.maximum.accumulate(time(lines), axis=0)
        above = np.stack([np.searchsorted(table[:, c], target[:, c]) for c in range(target.shape[1])], axis=1)
        left, right = above == 0, above == len(_GRID)
        above = np.clip(above, 1, len(_GRID) - 1)
        low, high = _GRID[above - 1], _GRID[above]
        w = (low + high) / 2
        for _ in range(100):
            error = target - time(w)
            low, high = np.where(error > 0, w, low), np.where(error < 0, w, high)
            step = error * velocity(w)
            following = np.where((w + step >= low) & (w + step <= high), w + step, (low + high) / 2)
            moved = np.abs(following - w)
            w = following
            rounding = 8 * np.finfo(float).eps * (np.abs(target) * np.abs(velocity(w)) + np.abs(w) + 1)
            done = (moved <= rounding) | left | right
            if done.all():
                break
        else:  # rounding inside `time` is the limit: what counts is whether it moves the position itself
            stuck = ~done & (moved * np.exp(-np.abs(w)) > 1e-11)
            if stuck.any():
                raise DidNotConverge(
                    f"{int(stuck.sum())} of {done.size} times not inverted; largest step left {moved[stuck].max():.1e}",
                    where="closed form",
                    remedy="integrate numerically with lm.solve",
                )
        beyond = EDGE + (target - table[-1]) * velocity(lines[-1:])
        return np.where(left, -np.inf, np.where(right, beyond, w))


_GRID = np.unique(np.concatenate([np.linspace(-EDGE, EDGE, 117), np.linspace(-40.0, 40.0, 161)]))
