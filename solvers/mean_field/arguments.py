"""What all mean-field solvers are given: data, numbers of the training run, and which steps are recorded."""

from typing import Any

import numpy as np

from ...theory.arguments import number, numbers, whole
from ...theory.errors import BadData


def accepted(x: Any, y: Any, x_test: Any, where: str) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Inputs (P, d), targets (P, o) and other inputs (Q, d), Q = 0 without them. Raises `BadData`.

    >>> [array.shape for array in accepted(np.eye(2), np.ones(2), None, "here")]
    [(2, 2), (2, 1), (0, 2)]
    """
    x, y = numbers(x, "x", where), numbers(y, "y", where)
    x_test = np.zeros((0, *x.shape[1:])) if x_test is None else numbers(x_test, "x_test", where)
    y = y[:, None] if y.ndim == 1 else y
    fits = x.ndim == 2 and y.ndim == 2 and len(x) == len(y) and x_test.ndim == 2 and x_test.shape[1:] == x.shape[1:]
    if not fits or not x.size or not y.size:
        raise BadData(
            f"x {x.shape}, y {y.shape}, x_test {x_test.shape}",
            where=where,
            remedy="give one row per sample, as many columns in x_test as in x",
        )
    if not all(np.isfinite(array).all() for array in (x, y, x_test)):
        raise BadData("an entry is not finite", where=where, remedy="drop or fill it")
    return x, y, x_test


def requested(
    depth: int, richness: float, learning_rate: float, steps: Any, where: str, least: float = 0.0
) -> np.ndarray:
    """Recorded steps (R,): those given, or all up to a number. Raises `BadData` for numbers that make no sense.

    >>> requested(3, 1.0, 0.1, 2, "here"), requested(3, 1.0, 0.1, [10, 0], "here")
    (array([0, 1, 2]), array([ 0, 10]))
    """
    whole(depth, "depth", where, least=2)
    number(richness, "richness", where, above=least > 0)
    number(learning_rate, "learning rate", where, above=True)
    if np.ndim(steps) == 0:
        return np.arange(whole(steps, "steps", where) + 1)
    given = numbers(steps, "steps", where)
    if given.ndim != 1 or not given.size or not (np.isfinite(given) & (given >= 0) & (given == np.round(given))).all():
        raise BadData(f"steps {steps}", where=where, remedy="give whole numbers from 0")
    return np.unique(given.astype(int))


def directions_of(x: np.ndarray) -> np.ndarray:
    """Coordinates z (P, r) of the samples along their principal directions: z z' = x x'/d, z'z diagonal.

    >>> directions_of(np.array([[2.0, 0.0], [2.0, 0.0]])).shape
    (2, 1)
    """
    left, singular, _ = np.linalg.svd(x / np.sqrt(x.shape[1]), full_matrices=False)
    kept = singular > np.finfo(float).eps * max(x.shape) * singular[0]
    kept[0] = True  # inputs that vanish still have one direction, of strength 0
    return left[:, kept] * singular[kept]
