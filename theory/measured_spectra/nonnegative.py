"""Least squares with nonnegative unknowns: min |A x - b| subject to x >= 0, by the active-set method.

Reference: Lawson, Hanson 1974, Solving Least Squares Problems, chapter 23.
"""

import numpy as np


def nonnegative_least_squares(
    matrix: np.ndarray, target: np.ndarray, rounds: int = 0, start: np.ndarray | None = None
) -> np.ndarray:
    """The x >= 0 (columns,) closest to matrix (rows, columns) @ x = target (rows,); `start` >= 0 is a guess.

    >>> nonnegative_least_squares(np.eye(2), np.array([1.0, -1.0]))
    array([1., 0.])
    """
    columns = matrix.shape[1]
    scale = np.linalg.norm(matrix, axis=0)
    scale[scale == 0] = 1.0
    matrix = matrix / scale
    x = np.zeros(columns) if start is None else start * scale
    active = x > 0
    if active.any():
        x = _settled(matrix, target, x, active)
    tolerance = 1e-12 * np.linalg.norm(target)
    for _ in range(rounds or 3 * columns):
        gradient = matrix.T @ (target - matrix @ x)
        gradient[active] = -np.inf
        entering = int(np.argmax(gradient))
        if gradient[entering] <= tolerance:
            break
        active[entering] = True
        x = _settled(matrix, target, x, active)
        if not active[entering]:  # rounding: the best candidate cannot improve the fit
            break
    return x / scale


def _settled(matrix, target, x, active):
    """Least squares on the active columns, giving up columns (in `active`) that would turn negative on the way."""
    while True:
        trial = np.zeros(len(x))
        trial[active] = np.linalg.lstsq(matrix[:, active], target, rcond=1e-13)[0]
        negative = active & (trial <= 0)
        if not negative.any():
            return trial
        step = np.min(x[negative] / (x[negative] - trial[negative]))
        x = x + step * (trial - x)
        active &= x > 1e-300
        x[~active] = 0.0
