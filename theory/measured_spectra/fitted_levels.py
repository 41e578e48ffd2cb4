"""A spectrum of levels that has the degrees of freedom and the unlearned power of a ridge path.

    n(kappa) = sum m_k lambda_k / (lambda_k + kappa),    D(kappa) = sum v_k (kappa / (lambda_k + kappa))^2

are linear in multiplicities m >= 0 and powers v >= 0 on a fixed grid of eigenvalues, three per factor e: two problems
of nonnegative least squares. Two decades beyond the path its own power laws go on.

Reference: El Karoui 2008 (arXiv:math/0609418) for spectra fitted through such integrals.
"""

import numpy as np

from .nonnegative import nonnegative_least_squares
from .ridge_path import RidgePath

Fit = tuple[np.ndarray, np.ndarray, np.ndarray]


def fitted_levels(path: RidgePath, near: Fit | None = None) -> tuple[np.ndarray, np.ndarray, np.ndarray, dict]:
    """Eigenvalues, multiplicities and powers (levels,) of a path, and the largest relative misfit of both sums on it.

    `near`: the first three of a path with the same kappa: multiplicities are taken from it, powers searched from there.

    >>> eigenvalues, kappa = np.arange(1.0, 2001.0) ** -2, np.geomspace(0.5, 1e-4, 30)
    >>> learned = eigenvalues / (eigenvalues + kappa[:, None])
    >>> path = RidgePath(learned.sum(1), kappa, (1 - learned) ** 2 @ eigenvalues**0.75, total=2.6)
    >>> print(max(fitted_levels(path)[3].values()) < 0.01)
    True
    """
    n, log_kappa = np.log(path.sizes), np.log(path.kappa)
    top = path.sizes > path.sizes[-1] / 5
    beyond = n[-1] + np.linspace(0.1, 2, 20) * np.log(10)
    fall = np.polyfit(n[top], log_kappa[top], 1)[0]
    line = np.polyfit(n[top], np.log(path.unlearned[top]), 1)
    decay = min(line[0], -1e-3)
    all_n = np.concatenate([n, beyond])
    kappa = np.exp(np.concatenate([log_kappa, log_kappa[-1] + fall * (beyond - n[-1])]))
    smooth_end = np.exp(np.polyval(line, n[-1]))
    unlearned = np.concatenate([path.unlearned, smooth_end * np.exp(decay * (beyond - n[-1]))])
    low, high = np.log(kappa.min()) - 3, np.log(kappa.max()) + 4
    levels = np.exp(np.linspace(high, low, int((high - low) * 3)))
    learned = levels / (levels + kappa[:, None])
    if near is None:
        counts = nonnegative_least_squares(learned / np.exp(all_n)[:, None], np.ones(len(all_n)))
        start = None
    else:
        known = np.searchsorted(-levels, -near[0])
        counts, start = np.zeros((2, len(levels)))
        counts[known], start[known] = near[1], near[2]
    power = nonnegative_least_squares((1 - learned) ** 2 / unlearned[:, None], np.ones(len(all_n)), start=start)
    inside = slice(0, len(n))
    misfit = {
        "degrees_of_freedom": float(np.abs((learned @ counts)[inside] / path.sizes - 1).max()),
        "unlearned": float(np.abs(((1 - learned) ** 2 @ power)[inside] / path.unlearned - 1).max()),
    }
    used = (counts > 0) | (power > 0)
    return levels[used], counts[used], power[used], misfit
