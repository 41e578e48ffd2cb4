"""A robust fit of any law of the loss, one table at a time: for rivals with another number of unknowns.

The one equation: the step of `robust_fit` with derivatives by complex steps,

    (J^T diag(h) J + mu diag) step = J^T psi(r),      J = d log L/d theta = Im log L(theta + i eps e_k)/eps.

The laws are compared by an information criterion on what the objective takes the noise to be: normal if it cuts hardly
any run off, Laplace's if most; with Q the minimum, n log Q or 2 n log Q, and log n for every unknown.

References: Schwarz 1978; Squire, Trapp 1998 (complex steps).
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from .robust_fit import objective

EPSILON = 1e-30


@dataclass(frozen=True, eq=False)
class LawFit:
    """The best of many starts: `theta` (k,), the minimum of the objective, and residuals of log loss (runs,)."""

    theta: np.ndarray
    objective: float
    residuals: np.ndarray

    def criterion(self, inside: float, independent: int | None = None) -> float:
        """Bayes' information criterion, up to a constant; lower is better. `inside`: share of runs not cut off."""
        runs = independent or len(self.residuals)
        power = 1.0 if inside > 0.5 else 2.0
        return power * runs * float(np.log(max(self.objective, 1e-300))) + len(self.theta) * float(np.log(runs))


def fit_law(
    law: Callable[[np.ndarray], np.ndarray],
    log_loss: np.ndarray,
    starts: np.ndarray,
    delta: float,
    steps: int = 300,
    tolerance: float = 1e-12,
) -> LawFit:
    """Minimise the sum of Huber's function of log_loss - law(theta); `law` takes complex theta (k,), gives (runs,).

    >>> x = np.linspace(0, 1, 20)
    >>> made = fit_law(lambda theta: theta[0] + theta[1] * x, 1 + 2 * x, np.zeros((1, 2)), delta=1e-3)
    >>> made.theta.round(6).tolist()
    [1.0, 2.0]
    """
    best: LawFit | None = None
    for start in np.asarray(starts, float):
        made = _descend(law, log_loss, start, delta, steps, tolerance)
        if best is None or made.objective < best.objective:
            best = made
    assert best is not None
    return best


def _descend(law, log_loss, theta, delta, steps, tolerance) -> LawFit:
    residual = log_loss - law(theta).real
    value, damping, still = _value(residual, delta), 1.0, 0
    for _ in range(steps):
        kappa, ridge = min(damping, 1.0), max(damping - 1.0, 0.0) * 1e-2
        j = np.stack([law(theta + 1j * EPSILON * unit).imag / EPSILON for unit in np.eye(len(theta))], 1)
        size = np.abs(residual)
        weight = np.where(size <= delta, 1.0, kappa * delta / np.maximum(size, 1e-300))
        matrix = (j * weight[:, None]).T @ j
        scale = np.diag(matrix)
        matrix = matrix + np.diag(scale * (ridge + 1e-12) + 1e-13 * scale.max() + 1e-300)
        slope = j.T @ np.clip(residual, -delta, delta)
        with np.errstate(all="ignore"):
            step = np.linalg.lstsq(matrix, slope, rcond=None)[0] if np.isfinite(matrix).all() else np.zeros(len(theta))
            step *= min(1.0, 2.0 / max(np.abs(step).max(), 1e-300))
            trial = theta + step
            left = log_loss - law(trial).real
        new = _value(left, delta) if np.isfinite(left).all() else np.inf
        if new <= value:
            still = still + 1 if value - new <= tolerance * value and damping < 0.3 else 0
            theta, residual, value, damping = trial, left, new, max(damping * 0.25, 1e-6)
        else:
            damping *= 6.0
        if still > 1 or damping > 1e9:
            break
    return LawFit(theta, value, residual)


def _value(residual: np.ndarray, delta: float) -> float:
    return float(objective(residual[None], np.ones((1, len(residual))), delta)[0])
