"""Least squares with nonnegative unknowns: min |A x - b| subject to x >= 0, by the active-set method.

Reference: Lawson, Hanson 1974, Solving Least Squares Problems, chapter 23.
"""

import numpy as np


def nonnegative_least_squares(matrix: np.ndarray, target: np.ndarray, rounds: int = 0) -> np.ndarray:
    """The x >= 0 (columns,) closest to matrix (rows, columns) @ x = target (rows,).

    >>> nonnegative_least_squares(np.eye(2), np.array([1.0, -1.0]))
    array([1., 0.])
    """
    columns = matrix.shape[1]
    scale = np.linalg.norm(matrix, axis=0)
    scale[scale == 0] = 1.0
    matrix = matrix / scale
    x, active = np.zeros(columns), np.zeros(columns, bool)
    tolerance = 1e-12 * np.linalg.norm(target)
    for _ in range(rounds or 3 * columns):
        gradient = matrix.T @ (target - matrix @ x)
        gradient[active] = -np.inf
        entering = int(np.argmax(gradient))
        if gradient[entering] <= tolerance:
            break
        active[entering] = True
        while True:
            trial = np.zeros(columns)
            trial[active] = np.linalg.lstsq(matrix[:, active], target, rcond=1e-13)[0]
            negative = active & (trial <= 0)
            if not negative.any():
                break
            step = np.min(x[negative] / (x[negative] - trial[negative]))
            x = x + step * (trial - x)
            active &= x > 1e-300
            x[~active] = 0.0
        x = trial
        if not active[entering]:  # rounding: the best candidate cannot improve the fit
            break
    return x / scale
