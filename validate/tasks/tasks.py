"""Real tasks by name: inputs, targets and independent groups on which forecasts are made and then scored.

A task is (x, y, groups) with x ready for a kernel or a network; one half of it is the probe from which everything is
forecast, and regressions or trained networks on the other half measure what was forecast.

>>> task("digits_parity").x.shape, sorted(NAMES)[:3]
((1797, 64), ['cells', 'digits_at_least_5', 'digits_classes'])
"""

from functools import cache

import numpy as np

from ...theory.dataset import Dataset
from ...theory.errors import UnknownName
from ..inputs.data import load


@cache
def task(name: str) -> Dataset:
    """A task by name: x (P, d), y (P, o) and, where rows are not independent, groups (P,).

    Raises `UnknownName` with the nearest name.
    """
    if name not in NAMES:
        raise UnknownName.among(name, NAMES, kind="task")
    return NAMES[name]()


def halves(data: Dataset, seed: int) -> np.ndarray:
    """Mask (P,) of the probe: a random half of the rows, or of the groups where there are any."""
    rng = np.random.default_rng(seed)
    if data.groups is not None:
        names = np.unique(data.groups)
        return np.isin(data.groups, rng.permutation(names)[: len(names) // 2])
    probe = np.zeros(len(data), bool)
    probe[rng.permutation(len(data))[: len(data) // 2]] = True
    return probe


def _digits(kind: str) -> Dataset:
    digits = load("digits")
    x = digits.x / np.linalg.norm(digits.x, axis=1, keepdims=True)
    labels = digits.y[:, 0].astype(int)
    one_hot = np.eye(10)[labels]
    y = {
        "parity": 1.0 - 2.0 * (labels % 2),
        "classes": one_hot - one_hot.mean(0),
        "at_least_5": np.where(labels >= 5, 1.0, -1.0),
    }[kind]
    return Dataset(x, y, f"digits_{kind}")


def _unit(name: str) -> Dataset:
    data = load(name)
    x = data.x - data.x.mean(0)
    return Dataset(x / np.linalg.norm(x, axis=1, keepdims=True), data.y, name, data.groups)


NAMES = {
    "digits_classes": lambda: _digits("classes"),
    "digits_parity": lambda: _digits("parity"),
    "digits_at_least_5": lambda: _digits("at_least_5"),
    "patches": lambda: load("patches"),
    "patches_small": lambda: load("patches_small"),
    "terrain": lambda: load("terrain"),
    "membrane": lambda: load("membrane"),
    "cells": lambda: _unit("cells"),
    "prose_or_code": lambda: _unit("prose_or_code"),
}
