"""How far a fit can be trusted: intervals from bootstrap draws, errors from the Jacobian, and their units.

The one equation (bias-corrected percentiles): with z_0 = Phi^-1(share of draws below the estimate),

    interval = quantiles of the draws at  Phi(2 z_0 -+ q),     q = Phi^-1((1 + level)/2)  if runs are cut off (Huber),

and q = sqrt(n/(n - 5)) times Student's quantile with n - 5 degrees if none is: residuals of least squares are too small
by that factor. Between the two q follows the share of runs inside the cut. Plain percentiles are centred at the mean of
the draws, which varies less than the estimate when the objective is nearly that of a median, and so cover too often
(93 to 96 % of 90); an estimate with normal quantiles has the same fault. Intervals of log A are those of A, and so on.

References: Efron 1987 (better bootstrap intervals); Hesterberg 2015 (arXiv:1411.5279); Huber 1964.
"""

from statistics import NormalDist

import numpy as np
from scipy.special import stdtrit

from .robust_fit import SIZE, Centred

_NORMAL = NormalDist()


def quantile_of(level: float, runs: int, inside: float) -> float:
    """q of an interval, from the number of runs and the share of them inside the cut of the objective.

    >>> round(quantile_of(0.9, 30, 0.0), 3), round(quantile_of(0.9, 30, 1.0), 3)
    (1.645, 1.871)
    """
    plain = _NORMAL.inv_cdf((1 + level) / 2)
    free = max(runs - SIZE, 1)
    wide = float(stdtrit(free, (1 + level) / 2)) * (runs / free) ** 0.5
    return plain + inside * (wide - plain)


def interval(draws: np.ndarray, estimate: float, q: float) -> tuple[float, float]:
    """Bias-corrected percentiles of draws (repeats,).

    >>> low, high = interval(np.linspace(-1, 1, 2001), 0.0, 1.645)
    >>> round(low, 2), round(high, 2)
    (-0.9, 0.9)
    """
    repeats = len(draws)
    below = (np.sum(draws < estimate) + 0.5 * np.sum(draws == estimate)) / repeats
    shift = 2 * _NORMAL.inv_cdf(float(np.clip(below, 0.5 / repeats, 1 - 0.5 / repeats)))
    levels = [_NORMAL.cdf(shift + side * q) for side in (-1, 1)]
    low, high = np.quantile(draws, levels, method="linear")
    return float(low), float(high)


def jacobian(theta: np.ndarray, design: Centred) -> np.ndarray:
    """Derivatives of log L (runs, 5) by (log E, log A, log B, alpha, beta), at centred logarithms of N and D."""
    e, a, b, alpha, beta = theta
    of_n, of_d = np.exp(a - alpha * design.x), np.exp(b - beta * design.y)
    total = np.exp(e) + of_n + of_d
    p, q = of_n / total, of_d / total
    return np.stack([1 - p - q, p, q, -p * design.x, -q * design.y], 1)


def uncentred(covariance: np.ndarray, floor: float, centre: tuple[float, float]) -> np.ndarray:
    """Covariance of (E, log A, log B, alpha, beta) from that of (log E, log terms at the centre, alpha, beta)."""
    change = np.eye(SIZE)
    change[0, 0] = floor
    change[1, 3], change[2, 4] = centre
    return change @ covariance @ change.T


def spread(residual: np.ndarray) -> float:
    """Standard deviation of the noise in log loss, from the median of |r|, for five fitted unknowns.

    >>> round(spread(np.random.default_rng(0).normal(0, 0.01, 4000)), 3)
    0.01
    """
    runs = len(residual)
    return float(1.4826 * np.median(np.abs(residual)) * np.sqrt(runs / max(runs - SIZE, 1)))


def density(residual: np.ndarray, delta: float) -> np.ndarray:
    """psi' of every run, smoothed over a band as wide as the noise where delta is narrower: (runs,)."""
    band = max(delta, spread(residual), 1e-300)
    inside = np.abs(residual) <= band
    if not inside.any():
        inside = np.ones(len(residual), bool)
    return inside * (delta / band if delta < band else 1.0)


def slopes(residual: np.ndarray, delta: float) -> tuple[float, float]:
    """Mean of psi^2 and of psi' over the runs, the latter by `density`."""
    return float((np.clip(residual, -delta, delta) ** 2).mean()), float(density(residual, delta).mean())


def sandwich(theta: np.ndarray, design: Centred, residual: np.ndarray, delta: float) -> np.ndarray:
    """Covariance (5, 5) of (log E, log A', log B', alpha, beta) without any bootstrap, for noise that need not be even.

    (J^T psi' J)^-1 (J^T psi^2 J) (J^T psi' J)^-1. Reference: Powell 1991 (kernel estimate for medians).
    """
    j = jacobian(theta, design)
    bread = np.linalg.pinv((j * density(residual, delta)[:, None]).T @ j, rcond=1e-14)
    meat = (j * np.clip(residual, -delta, delta)[:, None] ** 2).T @ j
    runs = len(residual)
    return bread @ meat @ bread * runs / max(runs - SIZE, 1)
