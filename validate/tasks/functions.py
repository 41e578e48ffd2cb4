"""Tasks with a known function behind them: teacher networks, a rough signal on a circle, a benchmark, pure noise.

y = g(x),    x drawn at random and g fixed: what is not learned is finite n and nothing else.
"""

from collections.abc import Callable, Mapping

import numpy as np

from ...theory.dataset import Dataset

SEED = 20240229  # any fixed number: the tasks are constants of the package
ROWS = 2400
DIMENSION = 24
HIDDEN = 60
FREQUENCIES = 1000
ACTIVATIONS: Mapping[str, Callable[[np.ndarray], np.ndarray]] = {
    "relu": lambda z: np.maximum(z, 0),
    "tanh": lambda z: np.tanh(3 * z),
}


def teacher(activation: str) -> Dataset:
    """A random network of 60 hidden units on Gaussian inputs x (2400, 24) of covariance k^-1, y (2400,) of variance 1.

    `activation` is a name in `ACTIVATIONS`.

    >>> teacher("relu").x.shape, round(float(teacher("relu").y.var()), 6)
    ((2400, 24), 1.0)
    """
    rng = np.random.default_rng([SEED, 1])
    scales = np.arange(1, DIMENSION + 1) ** -0.5
    x = rng.standard_normal((ROWS, DIMENSION)) * scales
    hidden = x @ rng.standard_normal((DIMENSION, HIDDEN)) / np.sqrt((scales**2).sum())
    y = ACTIVATIONS[activation](hidden) @ rng.standard_normal(HIDDEN)
    return Dataset(x, (y - y.mean()) / y.std(), f"teacher_{activation}")


def circle(roughness: float = 1.8, name: str = "circle") -> Dataset:
    """Points (cos t, sin t, 1) / sqrt(2) of a circle x (2400, 3) to a signal of power k^-roughness at frequency k.

        y = sum_k k^(-roughness/2) cos(k t + phase_k)

    Tangent kernels of relu networks have eigenvalues k^-2 there: a signal of roughness below 3 is hard for them.

    >>> circle().x.shape, round(float(circle().y.var()), 6)
    ((2400, 3), 1.0)
    """
    rng = np.random.default_rng([SEED, 2])
    angle, phase = rng.uniform(0, 2 * np.pi, ROWS), rng.uniform(0, 2 * np.pi, FREQUENCIES)
    k = np.arange(1, FREQUENCIES + 1)
    y = np.cos(angle[:, None] * k + phase) @ k ** (-roughness / 2)
    # a kernel of angles without the constant is blind to odd frequencies from 3 on
    x = np.column_stack([np.cos(angle), np.sin(angle), np.ones(ROWS)]) / np.sqrt(2)
    return Dataset(x, y / y.std(), name)


def sphere() -> Dataset:
    """Points of a sphere in 6 dimensions, and a constant, to the largest coordinate, a function with kinks."""
    x = np.random.default_rng([SEED, 3]).standard_normal((ROWS, 6))
    x /= np.linalg.norm(x, axis=1, keepdims=True)
    y = x.max(1)
    x = np.column_stack([x, np.ones(ROWS)]) / np.sqrt(2)
    return Dataset(x, (y - y.mean()) / y.std(), "sphere")


def friedman() -> Dataset:
    """x uniform in 5 dimensions, centred, to 10 sin(pi x1 x2) + 20 (x3 - 1/2)^2 + 10 x4 + 5 x5 (Friedman 1991)."""
    x = np.random.default_rng([SEED, 4]).uniform(size=(ROWS, 5))
    y = 10 * np.sin(np.pi * x[:, 0] * x[:, 1]) + 20 * (x[:, 2] - 0.5) ** 2 + 10 * x[:, 3] + 5 * x[:, 4]
    with_one = np.column_stack([2 * x - 1, np.ones(ROWS)])  # a kernel of angles needs the constant to see lengths
    return Dataset(with_one, (y - y.mean()) / y.std(), "friedman")


def noise() -> Dataset:
    """Digits' worth of Gaussian inputs x (2400, 24) to a number that has nothing to do with them."""
    rng = np.random.default_rng([SEED, 5])
    return Dataset(rng.standard_normal((ROWS, DIMENSION)), rng.standard_normal(ROWS), "noise")
