"""Modes of the data: singular modes of the correlation, Sigma_yx = y'x/P = sum_k s_k u_k v_k', and eigenmodes.

They belong to the data, so theory and experiment may both look at them. Singular vectors of nearly equal s_k are not
stable; such modes are grouped, and only the mean strength of a group is compared.
"""

import numpy as np

from .errors import BadData

KERNEL_ROWS = 2  # training inputs among which claims follow the tangent kernel
GROUPS = 8  # leading groups of modes that subspace claims follow
MODES = 20  # leading eigenmodes that claims about word embeddings follow


def singular_modes(x: np.ndarray, y: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Left vectors (o, K), singular values (K,) and right vectors (K, d) of y'x/P, on the numerical range.

    >>> left, s, right = singular_modes(np.eye(2), np.diag([3.0, 1.0]))
    >>> s
    array([1.5, 0.5])
    """
    left, singular, right = np.linalg.svd(y.T @ x / len(x), full_matrices=False)
    rank = int((singular > 1e-10 * singular[0]).sum())
    return left[:, :rank], singular[:rank], right[:rank]


def nearly_equal(singular: np.ndarray, ratio: float = 1.1) -> list[np.ndarray]:
    """Runs of successive modes whose singular values differ by less than `ratio`.

    >>> [group.tolist() for group in nearly_equal(np.array([3.0, 2.0, 1.9, 1.0]))]
    [[0], [1, 2], [3]]
    """
    breaks = np.flatnonzero(singular[:-1] / singular[1:] >= ratio) + 1
    return np.split(np.arange(len(singular)), breaks)


def subspace_means(values, singular: np.ndarray, count: int):
    """Mean over each of the first `count` groups of nearly equal modes: (..., K) -> (..., count).

    >>> subspace_means(np.array([1.0, 2.0, 4.0]), np.array([3.0, 2.0, 1.9]), 2)
    array([1., 3.])
    """
    weights = np.zeros((len(singular), count))
    for column, group in enumerate(nearly_equal(singular)[:count]):
        weights[group, column] = 1 / len(group)
    return values @ weights


def eigenmodes(target: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Eigenvalues (V,) of a symmetric matrix, largest first, and their vectors as columns (V, V).

    Raises `BadData` for a matrix that is not symmetric.

    >>> eigenmodes(np.diag([-3.0, 1.0]))[0]
    array([ 1., -3.])
    """
    if target.shape[0] != target.shape[1] or not np.allclose(target, target.T, rtol=1e-9, atol=1e-12):
        raise BadData(
            f"targets of shape {target.shape} are not symmetric",
            where="eigenmodes",
            remedy="give one row and one column per word",
        )
    values, vectors = np.linalg.eigh(target)
    return values[::-1], vectors[:, ::-1]


def crossed(learned, before, after, first, last, levels, xp=np):
    """Step at which growing strengths reached their levels: 0 as long as they have not, interpolated as exponentials.

    Between the steps `first` and `last` strengths went from `before` to `after`; `learned` is what was known by then.
    `xp` is the array module.

    >>> crossed(np.zeros(2), np.array([1.0, 1.0]), np.array([4.0, 1.5]), 10, 20, np.array([2.0, 2.0]))
    array([15.,  0.])
    """
    hit = (learned == 0) & (before < levels) & (after >= levels)
    ratio = xp.log(xp.where(hit, levels / before, 1.0)) / xp.log(xp.where(hit, after / before, 2.0))
    return xp.where(hit, first + ratio * (last - first), learned)


def rank_correlation(values, xp=np):
    """Spearman's rank correlation of values (C,) with the order in which they stand: 1 if they increase, 0 if all tie.

    Equal values share their mean rank.

    >>> [float(rank_correlation(np.array(row))) for row in ([1.0, 2.0, 9.0], [3.0, 2.0, 1.0], [5.0, 5.0, 5.0])]
    [1.0, -1.0, 0.0]
    """
    less, same = values[None, :] < values[:, None], values[None, :] == values[:, None]
    ranks = less.sum(1) + (same.sum(1) - 1) / 2
    ranks, order = ranks - ranks.mean(), xp.arange(len(values)) - (len(values) - 1) / 2
    spread = xp.sqrt((ranks**2).sum() * (order**2).sum())
    return (ranks * order).sum() / xp.where(spread > 0, spread, 1.0)
