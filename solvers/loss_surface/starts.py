"""Where to start a fit: two exponents are searched on a grid, the three amplitudes are then linear and solved exactly.

The one equation (variable projection): for fixed (alpha, beta)

    min over E, A, B >= 0 of sum_i c_i (1 - (E + A N_i^-alpha + B D_i^-beta)/L_i)^2

is least squares with three nonnegative unknowns, so the best of its seven faces; relative errors stand for logarithms.

Reference: Golub, Pereyra 1973 (variable projection).
"""

from itertools import combinations

import numpy as np

from .robust_fit import Centred, solve_positive

EXPONENTS = np.geomspace(0.02, 4.0, 24)
FACES = tuple(face for size in (1, 2, 3) for face in combinations(range(3), size))
SMALL = 1e-3  # of the smallest loss: what a term is given that the search leaves out, so that it may come back


def starts(design: Centred, loss: np.ndarray, counts: np.ndarray | None = None, most: int = 16) -> np.ndarray:
    """Starting points (starts, 5) in centred logarithms, best first: local minima of the search, then its best cells.

    >>> from .robust_fit import centred
    >>> n, d = (axis.ravel() for axis in np.meshgrid(np.geomspace(1e7, 1e10, 6), np.geomspace(1e9, 1e12, 6)))
    >>> found = starts(centred(n, d), 2 + 400 * n**-0.35 + 900 * d**-0.35)
    >>> found.shape, bool(abs(found[0, 3:] - 0.35).max() < 0.1)
    ((16, 5), True)
    """
    amplitudes, error = search(design, loss, counts)
    size = len(EXPONENTS)
    wide = np.pad(error, 1, constant_values=np.inf)
    around = [wide[1 + i : 1 + i + size, 1 + j : 1 + j + size] for i in (-1, 0, 1) for j in (-1, 0, 1) if i or j]
    minimum = (error <= np.min(around, 0)).ravel()
    order = np.lexsort((error.ravel(), ~minimum))[:most]
    i, j = np.unravel_index(order, error.shape)
    least = SMALL * loss.min()
    logs = np.log(np.maximum(amplitudes[i, j], least))
    return np.column_stack([logs, EXPONENTS[i], EXPONENTS[j]])


def search(design: Centred, loss: np.ndarray, counts: np.ndarray | None = None) -> tuple[np.ndarray, np.ndarray]:
    """Amplitudes (grid, grid, 3) and relative squared errors (grid, grid) at every pair of exponents."""
    weight = (np.ones(len(loss)) if counts is None else counts) / loss**2
    of_n, of_d = np.exp(-np.outer(EXPONENTS, design.x)), np.exp(-np.outer(EXPONENTS, design.y))
    size = len(EXPONENTS)
    matrix = np.zeros((size, size, 3, 3))
    right = np.zeros((size, size, 3))
    matrix[..., 0, 0] = weight.sum()
    matrix[..., 1, 0] = (of_n @ weight)[:, None]
    matrix[..., 2, 0] = (of_d @ weight)[None]
    matrix[..., 1, 1] = (of_n**2 @ weight)[:, None]
    matrix[..., 2, 1] = (of_n * weight) @ of_d.T
    matrix[..., 2, 2] = (of_d**2 @ weight)[None]
    right[..., 0] = (weight * loss).sum()
    right[..., 1] = (of_n @ (weight * loss))[:, None]
    right[..., 2] = (of_d @ (weight * loss))[None]
    return _nonnegative(matrix.reshape(-1, 3, 3), right.reshape(-1, 3), float((weight * loss**2).sum()), size)


def _nonnegative(matrix: np.ndarray, right: np.ndarray, total: float, size: int) -> tuple[np.ndarray, np.ndarray]:
    best, error = np.zeros(right.shape), np.full(len(right), total)
    for face in FACES:
        on = list(face)
        found = solve_positive(matrix[:, on][:, :, on], right[:, on], np.zeros(len(right)))
        left = total - np.einsum("rk,rk->r", found, right[:, on])
        better = (found >= 0).all(1) & (left < error)
        best[better] = 0.0
        best[np.ix_(better, on)] = found[better]
        error[better] = left[better]
    return best.reshape(size, size, 3), error.reshape(size, size)
