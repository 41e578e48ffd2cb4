"""Real data that ships with scikit-learn and Python, by name: claims can be tested on a machine without a network.

Handwritten digits (Alpaydin and Kaynak 1998), words of Python's help topics (see `corpus`), and patches of two sample
photographs. A photograph is cut into blocks and every patch lies inside one block, so that halves split by `groups`
share no pixel:

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

import numpy as np

from ...theory.dataset import Dataset
from ...theory.errors import UnknownName
from .corpus import help_topics

PHOTOGRAPHS = ("china.jpg", "flower.jpg")
BLOCK = 61  # side of a block in pixels: 7 x 10 blocks a photograph
PER_BLOCK = 48  # patches drawn per block, as far as it has that many that are not flat
PATCHES = 4000
FLAT = 0.02  # a patch with a smaller standard deviation (grey in [0, 1]) shows sensor noise only


def names() -> list[str]:
    """Names of the built-in data sets.

    >>> names()
    ['digits', 'digits_halves', 'help_topics', 'help_topics_counts', 'patches', 'patches_small']
    """
    return sorted(_LOADERS)


@cache
def load(name: str) -> Dataset:
    """A built-in data set: inputs (P, d) and targets (P, o), always the same rows in the same order.

    "digits" 64 pixels to the label; "digits_halves" upper 32 pixels to lower 32; "patches" 80 neighbours to the centre
    of a 9 x 9 patch; "patches_small" 24 neighbours to the centre of a 5 x 5 patch; "help_topics" one word
    to how much more often than by chance every other stands near it, with weights of pairs, and "help_topics_counts"
    the same with raw counts for weights. Arrays are shared between callers and read-only. Raises `UnknownName`.

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

    rng = np.random.default_rng(20240229)  # any fixed number: the patches are a constant of the package
    rows, blocks, number = [], [], 0
    for photograph in PHOTOGRAPHS:
        grey = load_sample_image(photograph).mean(-1) / 255
        for top in range(0, grey.shape[0] - BLOCK + 1, BLOCK):
            for left in range(0, grey.shape[1] - BLOCK + 1, BLOCK):
                block = grey[top : top + BLOCK, left : left + BLOCK]
                windows = np.lib.stride_tricks.sliding_window_view(block, (side, side)).reshape(-1, side * side)
                textured = windows[windows.std(1) >= FLAT]
                drawn = textured[rng.permutation(len(textured))[:PER_BLOCK]]
                rows.append(drawn)
                blocks.append(np.full(len(drawn), number))
                number += 1
    patches, groups = np.concatenate(rows), np.concatenate(blocks)
    chosen = np.sort(rng.permutation(len(patches))[:PATCHES])
    patches, groups = patches[chosen], groups[chosen]
    middle = side * side // 2
    neighbours = np.delete(patches, middle, axis=1)
    mean = neighbours.mean(1, keepdims=True)
    neighbours = neighbours - mean
    norm = np.linalg.norm(neighbours, axis=1, keepdims=True)
    return Dataset(neighbours / norm, (patches[:, [middle]] - mean) / norm, name, groups)


_LOADERS = {
    "digits": _digits,
    "digits_halves": _digits_halves,
    "help_topics": help_topics,
    "help_topics_counts": lambda: help_topics(pairs_alike=False),
    "patches": lambda: _patches(9, "patches"),
    "patches_small": lambda: _patches(5, "patches_small"),
}
