"""Weights of neurons at the start, as random or as evenly spread points of the normal distribution."""

import numpy as np

from ..errors import BadData


def normal_start(rng: np.random.Generator, count: int, inputs: int, outputs: int) -> tuple[np.ndarray, np.ndarray]:
    """Standard normal first (count, inputs) and last (count, outputs) weights of `count` neurons."""
    return rng.standard_normal((count, inputs)), rng.standard_normal((count, outputs))


def sobol_start(rng: np.random.Generator, count: int, inputs: int, outputs: int) -> tuple[np.ndarray, np.ndarray]:
    """The same at the points of a scrambled Sobol sequence, in pairs of opposite last weights: f = 0 exactly.

    >>> first, last = sobol_start(np.random.default_rng(0), 1024, 3, 1)
    >>> first.shape, bool(abs((first**2).mean() - 1) < 0.02), bool((last[:512] + last[512:] == 0).all())
    ((1024, 3), True, True)
    """
    from scipy.special import ndtri
    from scipy.stats import qmc

    if count < 2 or count & (count - 1):
        raise BadData(f"{count} particles", where="Sobol points", remedy="give a power of 2")
    points = qmc.Sobol(inputs + outputs, rng=rng).random(count // 2)
    drawn = ndtri(np.clip(points, 1e-16, 1 - 1e-16))
    first, last = drawn[:, :inputs], drawn[:, inputs:]
    return np.concatenate([first, first]), np.concatenate([last, -last])
