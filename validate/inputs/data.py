"""Real data that ships with scikit-learn, Matplotlib and Python, by name: claims can be tested without a network.

Handwritten digits (Alpaydin and Kaynak 1998), words of Python's help topics (see `corpus`), its prose and its code (see
`writing`), cells of breast biopsies (Wolberg, Street and Mangasarian 1995), the voltage of a neuron's membrane, and
patches of two sample photographs and of a map of elevations. Images are cut into blocks and every patch lies inside
one block, so that halves split by `groups` share no pixel:

    input = (neighbours - m) / r,  target = (centre - m) / r,  m the neighbours' mean, r = |neighbours - m|.

>>> digits = load("digits")
>>> digits.x.shape, digits.y.shape, float(digits.x.max())
((1797, 64), (1797, 1), 1.0)
>>> load("digit")
Traceback (most recent call last):
...
learning_mechanics.theory.errors.UnknownName: unknown data set 'digit'; did you mean 'digits'?
"""

from functools import cache
from pathlib import Path

import numpy as np

from ...theory.dataset import Dataset
from ...theory.errors import BadData, UnknownName
from .corpus import help_topics, words_in_order
from .writing import prose_or_code

PHOTOGRAPHS = ("china.jpg", "flower.jpg")
BLOCK = 61  # side of a block in pixels: 7 x 10 blocks a photograph
PER_BLOCK = 48  # patches drawn per block, as far as it has that many that are not flat
PATCHES = 4000
FLAT = 0.02  # a patch with a smaller standard deviation (grey in [0, 1]) shows sensor noise only


def names() -> list[str]:
    """Names of the built-in data sets.

    >>> names()
    ['cells', 'digits', 'digits_halves', 'help_topics', 'help_topics_counts', 'help_words', 'membrane', 'patches', \
'patches_small', 'prose_or_code', 'terrain']
    """
    return sorted(_LOADERS)


@cache
def load(name: str) -> Dataset:
    """A built-in data set: inputs (P, d) and targets (P, o), always the same rows in the same order.

    "digits" 64 pixels to the label; "digits_halves" upper 32 pixels to lower 32; "patches" 80 neighbours to the centre
    of a 9 x 9 patch; "patches_small" 24 neighbours to the centre of a 5 x 5 patch; "help_topics" one word
    to how much more often than by chance every other stands near it, with weights of pairs, and "help_topics_counts"
    the same with raw counts for weights; "help_words" every word as a number to a random label; "prose_or_code" counts
    of letter pairs to 1 (prose) or -1 (code); "cells" 30 standardised properties of cell nuclei to 1 (benign) or -1;
    "membrane" 16 voltages to the next one; "terrain" 48
    elevations to the one in their middle. Arrays are shared between callers and read-only. Raises `UnknownName`, and
    `BadData` where a package was installed without its sample data.

    >>> load("digits_halves").y.shape
    (1797, 32)
    """
    if name not in _LOADERS:
        raise UnknownName.among(name, _LOADERS, kind="data set")
    data = _LOADERS[name]()
    for array in (data.x, data.y, data.groups, *data.arrays.values()):
        if array is not None:
            array.flags.writeable = False
    return data


def _digits() -> Dataset:
    from sklearn.datasets import load_digits

    pixels, labels = load_digits(return_X_y=True)
    return Dataset(pixels / 16, labels, "digits")


def _digits_halves() -> Dataset:
    pixels = load("digits").x
    return Dataset(pixels[:, :32].copy(), pixels[:, 32:].copy(), "digits_halves")


def _patches(side: int, name: str) -> Dataset:
    from sklearn.datasets import load_sample_image

    greys = [load_sample_image(photograph).mean(-1) / 255 for photograph in PHOTOGRAPHS]
    return _cut(greys, side, BLOCK, PER_BLOCK, PATCHES, name)


def _terrain() -> Dataset:
    elevation = np.load(_sample("jacksboro_fault_dem.npz"))["elevation"].astype(float)
    return _cut([elevation], 7, 43, 40, 2400, "terrain")


def _cut(images, side: int, block: int, per_block: int, number: int, name: str) -> Dataset:
    """Patches of side x side from blocks of images, standardised by their surround."""
    rng = np.random.default_rng(20240229)  # any fixed number: the patches are a constant of the package
    rows, blocks, count = [], [], 0
    for image in images:
        for top in range(0, image.shape[0] - block + 1, block):
            for left in range(0, image.shape[1] - block + 1, block):
                part = image[top : top + block, left : left + block]
                windows = np.lib.stride_tricks.sliding_window_view(part, (side, side)).reshape(-1, side * side)
                textured = windows[windows.std(1) >= FLAT]
                drawn = textured[rng.permutation(len(textured))[:per_block]]
                rows.append(drawn)
                blocks.append(np.full(len(drawn), count))
                count += 1
    patches, groups = np.concatenate(rows), np.concatenate(blocks)
    chosen = np.sort(rng.permutation(len(patches))[:number])
    patches, groups = patches[chosen], groups[chosen]
    middle = side * side // 2
    return _standardised(np.delete(patches, middle, axis=1), patches[:, [middle]], name, groups)


def _standardised(inputs: np.ndarray, target: np.ndarray, name: str, groups: np.ndarray) -> Dataset:
    """Inputs without their mean and of norm 1, the target on the same scale."""
    mean = inputs.mean(1, keepdims=True)
    inputs = inputs - mean
    norm = np.linalg.norm(inputs, axis=1, keepdims=True)
    return Dataset(inputs / norm, (target - mean) / norm, name, groups)


def _membrane() -> Dataset:
    """Stretches of 120 samples are the groups; windows begin at every sixth sample and stay inside one stretch."""
    voltage = np.fromfile(_sample("membrane.dat"), np.float32).astype(float)
    stretches = voltage[: len(voltage) // 120 * 120].reshape(-1, 120)
    windows = np.lib.stride_tricks.sliding_window_view(stretches, 17, axis=1)[:, ::6]
    groups = np.repeat(np.arange(len(stretches)), windows.shape[1])
    rows = windows.reshape(-1, 17)
    moving = rows[:, :16].std(1) > 0
    return _standardised(rows[moving, :16], rows[moving, 16:], "membrane", groups[moving])


def _cells() -> Dataset:
    from sklearn.datasets import load_breast_cancer

    x, benign = load_breast_cancer(return_X_y=True)
    return Dataset((x - x.mean(0)) / x.std(0), 2.0 * benign - 1.0, "cells")


def _sample(name: str) -> Path:
    """A file of Matplotlib's sample data."""
    import matplotlib

    path = Path(matplotlib.get_data_path()) / "sample_data" / name
    if not path.exists():
        raise BadData(f"no {path}", where="sample data", remedy="install Matplotlib from PyPI, with its sample data")
    return path


_LOADERS = {
    "cells": _cells,
    "digits": _digits,
    "digits_halves": _digits_halves,
    "help_topics": help_topics,
    "help_topics_counts": lambda: help_topics(pairs_alike=False),
    "help_words": words_in_order,
    "membrane": _membrane,
    "patches": lambda: _patches(9, "patches"),
    "patches_small": lambda: _patches(5, "patches_small"),
    "prose_or_code": prose_or_code,
    "terrain": _terrain,
}
