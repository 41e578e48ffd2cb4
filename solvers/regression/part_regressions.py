"""Kernel regressions on parts of the rows: what a learning curve forecast from these rows can be held against.

    f_n(x) = K(x, X_n) (K_nn + ridge)^-1 y = sum_{i <= n} V_i(x) z_i,    L L' = K + ridge, z = L^-1 y, V = L^-1 K(X, x),

so that one Cholesky factor serves every n of one draw. The rows left, whole groups where there are any, are the judges.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from ...theory.arguments import number, numbers, whole
from ...theory.errors import BadData, Underpowered
from ...theory.infinite_width.network_kernel import one_kernel
from ...theory.measured_spectra.cross_fitting import MOST_ROWS
from ...theory.measured_spectra.spectrum import columns, gram_matrix

WHERE = "rows"
DRAWS = 6
LEAST_JUDGED = 1 / 3  # of the rows, or groups


@dataclass(frozen=True, eq=False)
class Rows:
    """Rows by their kernel matrix (P, P), with targets (P, o) and, where they are not independent, groups (P,)."""

    gram: np.ndarray
    y: np.ndarray
    groups: np.ndarray | None = None
    seed: int = 0


def checked_rows(kernel: Callable, x: Any, y: Any, groups: Any = None, seed: int = 0) -> tuple[np.ndarray, Rows]:
    """Inputs and `Rows`, at most 2000 of them drawn at random; a network stands for its tangent kernel.

    Errors: `BadData` for shapes and numbers that are not finite.

    >>> checked_rows(lambda a, b=None: a @ a.T, np.eye(3), np.ones(3))[1].y.shape
    (3, 1)
    """
    seed = whole(seed, "seed", WHERE)
    kernel = one_kernel(kernel, "ntk", WHERE)
    x, y = numbers(x, "x", WHERE), np.atleast_1d(numbers(y, "y", WHERE))
    if x.ndim != 2 or not np.isfinite(x).all() or not np.isfinite(y).all():
        raise BadData(f"x {x.shape}, y {y.shape}", where=WHERE, remedy="give finite rows (P, d), one target each")
    y = columns(x, y)
    groups = None if groups is None else np.asarray(groups)
    if groups is not None and groups.shape != (len(x),):
        raise BadData(f"groups {groups.shape} of {len(x)} rows", where=WHERE, remedy="name the group of every row")
    if len(x) > MOST_ROWS:
        kept = np.sort(np.random.default_rng(seed).permutation(len(x))[:MOST_ROWS])
        x, y, groups = x[kept], y[kept], None if groups is None else groups[kept]
    return x, Rows(gram_matrix(kernel, x), y, groups, seed)


def part_regressions(
    rows: Rows, sizes: Sequence[float] | np.ndarray, ridge: float = 0.0, draws: int = DRAWS
) -> np.ndarray:
    """Mean squared errors (draws, T) of regressions on n = `sizes` of the rows, judged on rows no draw of it trains on.

    `sizes` ascend. Errors: `Underpowered` where they leave too few rows to judge on, or the matrix is singular;
    `BadData` for sizes below 1 or not ascending.

    >>> x = np.random.default_rng(0).standard_normal((90, 5))
    >>> bool(part_regressions(Rows(x @ x.T, x[:, :1]), [2, 4, 8], ridge=1e-9).mean(0)[-1] < 1e-9)
    True
    """
    gram, y, groups, seed = rows.gram, rows.y, rows.groups, rows.seed
    given = np.atleast_1d(numbers(sizes, "sizes", WHERE))
    if given.ndim != 1 or not given.size or not (np.isfinite(given) & (given >= 1)).all() or (np.diff(given) < 0).any():
        raise BadData(f"sizes {np.array2string(given, threshold=6)}", where=WHERE, remedy="give ascending sizes from 1")
    sizes = np.round(given).astype(int)
    largest = int(sizes[-1])
    ridge = max(number(ridge, "ridge", WHERE), 1e-12 * float(np.trace(gram)))  # duplicates
    draws = whole(draws, "draws", WHERE, least=1)
    errors = np.empty((draws, len(sizes)))
    for draw in range(draws):
        fit, judged = _drawn(len(gram), groups, largest, np.random.default_rng([seed, 3, draw]))
        try:
            factor = np.linalg.cholesky(gram[np.ix_(fit, fit)] + ridge * np.eye(largest))
        except np.linalg.LinAlgError:
            found = f"the kernel matrix of {largest} rows is singular at ridge {ridge:.1e}"
            raise Underpowered(found, where="part regressions", remedy="raise the ridge") from None
        learned, solved = _solved(factor, gram[np.ix_(fit, judged)]), _solved(factor, y[fit])
        fitted, last = np.zeros((len(judged), y.shape[1])), 0
        for column, n in enumerate(sizes):
            fitted += learned[last:n].T @ solved[last:n]
            errors[draw, column] = ((fitted - y[judged]) ** 2).sum(1).mean()
            last = n
    return errors


def _solved(factor, right):
    from scipy.linalg import solve_triangular

    return solve_triangular(factor, right, lower=True, check_finite=False)


def _drawn(rows, groups, largest, rng):
    """Rows to train on, in random order, and those that judge: whole groups, a third of the rows where that is left."""
    names = np.arange(rows) if groups is None else np.unique(groups, return_inverse=True)[1]
    counts = np.bincount(names)
    order = rng.permutation(len(counts))
    wanted = max(largest, (1 - LEAST_JUDGED) * rows)
    training = order[: int(np.searchsorted(np.cumsum(counts[order]), wanted)) + 1]
    inside = np.isin(names, training)
    if largest > rows or inside.all():
        found = f"{largest} of {rows} rows leave too few to judge on"
        raise Underpowered(found, where="part regressions", remedy="ask for smaller parts")
    return rng.permutation(np.flatnonzero(inside))[:largest], np.flatnonzero(~inside)
