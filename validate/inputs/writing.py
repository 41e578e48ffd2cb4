"""Prose or code: a real task on text that every machine has, Python's help topics and the sources of its library.

A window is 120 letters of one text, case, digits and punctuation left out (they give code away): "a-z", and one space
between words. It is described by how often each pair of neighbouring symbols occurs in it,

    x_ab = count of "ab",    y = 1 for prose, -1 for code,

with 27 x 27 pairs. The texts differ a little between versions of Python, so their numbers do.
"""

import re
import sysconfig
from pathlib import Path

import numpy as np

from ...theory.dataset import Dataset
from ...theory.errors import BadData
from .corpus import topics

SYMBOLS = " abcdefghijklmnopqrstuvwxyz"
WINDOW = 120
PER_KIND = 1200
MODULES = ("argparse", "ast", "configparser", "csv", "datetime", "difflib", "doctest", "ftplib", "inspect", "locale")


def prose_or_code() -> Dataset:
    """Counts of letter pairs x (2400, 729) and y = 1 (prose) or -1 (code), rows in random but fixed order.

    Raises `BadData` where Python was installed without its help topics or without sources.

    >>> data = prose_or_code()
    >>> print(data.x.shape, np.unique(data.y), data.x.sum(1).min())
    (2400, 729) [-1.  1.] 119.0
    """
    rng = np.random.default_rng(20240229)  # any fixed number: the windows are a constant of the package
    rows = []
    for texts in (prose(), code()):
        found = np.concatenate([windows(text) for text in texts])
        if len(found) < PER_KIND:
            raise BadData(f"{len(found)} windows of text", where="prose or code", remedy="install Python in full")
        rows.append(pairs(found[rng.permutation(len(found))[:PER_KIND]]))
    order = rng.permutation(2 * PER_KIND)
    x, y = np.concatenate(rows), np.repeat([1.0, -1.0], PER_KIND)
    return Dataset(x[order], y[order], "prose_or_code")


def prose() -> list[str]:
    """Python's help topics."""
    return [text for _, text in sorted(topics().items())]


def code() -> list[str]:
    """Sources of some long modules of the library; raises `BadData` where they were left out."""
    folder = Path(sysconfig.get_paths()["stdlib"])
    try:
        return [(folder / f"{name}.py").read_text(encoding="utf-8") for name in MODULES]
    except OSError as error:
        raise BadData(f"no source {error.filename}", where="prose or code", remedy="install Python in full") from None


def windows(text: str) -> np.ndarray:
    """Symbols (windows, 120) of a text as numbers, 0 for the space; what is left over at the end is dropped.

    >>> windows("ab" * 100).shape, windows("A_b 1")
    ((1, 120), array([], shape=(0, 120), dtype=int64))
    """
    letters = re.sub("[^a-z]+", " ", text.lower()).strip()
    numbers = np.array([SYMBOLS.index(letter) for letter in letters], dtype=np.int64)
    whole = len(numbers) // WINDOW * WINDOW
    return numbers[:whole].reshape(-1, WINDOW)


def pairs(numbers: np.ndarray) -> np.ndarray:
    """Counts (rows, 729) of neighbouring symbols in rows of numbers.

    >>> pairs(np.array([[1, 2, 1, 2]]))[0, [29, 55]]
    array([2., 1.])
    """
    size = len(SYMBOLS)
    places = numbers[:, :-1] * size + numbers[:, 1:]
    counts = np.zeros((len(numbers), size * size))
    np.add.at(counts, (np.arange(len(numbers))[:, None], places), 1.0)
    return counts
