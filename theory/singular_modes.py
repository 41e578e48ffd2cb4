"""Singular modes of the input-output correlation: Sigma_yx = y'x/P = sum_k s_k u_k v_k'.

They belong to the data, so theory and experiment may both look at them. Singular vectors of nearly equal s_k are not
stable; such modes are grouped, and only the mean strength of a group is compared.
"""

import numpy as np

GROUPS = 8  # leading groups of modes that subspace claims follow


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
