"""Real tasks by name: inputs, targets and independent groups on which forecasts are made and then scored.

A task is (x, y, groups) with x ready for a kernel or a network; one half of it is the probe from which everything is
forecast, and regressions or trained networks on the other half measure what was forecast. Everything ships with
scikit-learn, Matplotlib and Python; two tasks have no exponent, and a tool that gives them one is wrong.

>>> task("digits_parity").x.shape, record("digits_parity").kind, len(NAMES)
((1797, 64), 'images', 26)
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cache, partial
from typing import Any

import numpy as np

from ...theory.dataset import Dataset
from ...theory.errors import UnknownName
from ..inputs.data import load
from . import functions, images, texts

KINDS = ("images", "text", "signals", "tables", "functions")


@dataclass(frozen=True)
class Task:
    """A task and what is known of it beforehand.

    `problem`   tasks of one problem share their rows or their source: results are grouped by it
    `kind`      "images", "text", "signals", "tables" or "functions"
    `refused`   why no exponent may be forecast from half of it, or "" where one is expected
    """

    name: str
    problem: str
    kind: str
    description: str
    build: Callable[[], Dataset] = field(repr=False)
    refused: str = ""

    def __str__(self) -> str:
        return f"{self.name} ({self.kind}): {self.description}" + (f"; refused: {self.refused}" if self.refused else "")


@cache
def task(name: str) -> Dataset:
    """A task by name: x (P, d), y (P, o) and, where rows are not independent, groups (P,); arrays are read-only.

    Raises `UnknownName` with the nearest name.

    >>> task("digit_parity")
    Traceback (most recent call last):
    ...
    learning_mechanics.theory.errors.UnknownName: unknown task 'digit_parity'; did you mean 'digits_parity'?
    """
    data = record(name).build()
    for array in (data.x, data.y, data.groups):
        if array is not None:
            array.flags.writeable = False
    return data


def record(name: str) -> Task:
    """What is known of a task beforehand; raises `UnknownName` with the nearest name.

    >>> print(record("noise"))
    noise (functions): Gaussian inputs to numbers that have nothing to do with them; refused: dominated by noise
    """
    if name not in TASKS:
        raise UnknownName.among(name, TASKS, kind="task")
    return TASKS[name]


def halves(data: Dataset, seed: int) -> np.ndarray:
    """Mask (P,) of the probe: a random half of the rows, or of the groups where there are any.

    >>> int(halves(task("digits_parity"), 0).sum())
    898
    """
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


def _digits_halves() -> Dataset:
    halves = load("digits_halves")
    x = halves.x / np.linalg.norm(halves.x, axis=1, keepdims=True)
    return Dataset(x, halves.y - halves.y.mean(0), "digits_halves")


def _unit(name: str) -> Dataset:
    data = load(name)
    x = data.x - data.x.mean(0)
    return Dataset(x / np.linalg.norm(x, axis=1, keepdims=True), data.y.copy(), name, data.groups)


def _copied(name: str) -> Dataset:
    data = load(name)
    return Dataset(data.x.copy(), data.y.copy(), name, data.groups)


_Rows = tuple[tuple[Any, ...], ...]  # name, problem, description, build and, for some, why they are refused
_NOISE = "dominated by noise"
_FEW = "too few rows"
_IMAGES: _Rows = (
    ("digits_classes", "digits", "handwritten digits to ten classes", partial(_digits, "classes")),
    ("digits_parity", "digits", "handwritten digits to odd or even", partial(_digits, "parity")),
    ("digits_at_least_5", "digits", "handwritten digits to 5 or more", partial(_digits, "at_least_5")),
    ("digits_halves", "digits", "upper half of a digit to its lower half", _digits_halves),
    ("patches", "photographs", "80 neighbours to a pixel of a photograph", partial(_copied, "patches")),
    ("patches_small", "photographs", "24 neighbours to a pixel of a photograph", partial(_copied, "patches_small")),
    ("denoising", "denoising", "noisy patches of photographs to clean ones", images.denoising),
    ("demosaicing", "demosaicing", "a patch behind a colour filter to its missing colours", images.demosaicing),
    ("textures", "textures", "power spectrum of a patch to its picture, of five", images.textures),
    ("head", "head", "24 neighbours to a pixel of a scan of a head", images.head),
    ("letters", "letters", "printed capital letters in many fonts to classes", images.letters),
    ("terrain", "terrain", "48 elevations to the one in their middle", partial(_copied, "terrain")),
)
_TEXT: _Rows = (
    ("prose_or_code", "prose_or_code", "letter pairs of a text to prose or code", partial(_unit, "prose_or_code")),
    ("modules", "modules", "letter pairs of source to its module, of six", texts.modules),
    ("vowels", "vowels", "letters around a gap to vowel or not", texts.vowels),
    ("spelling", "spelling", "letter pairs of words to real or shuffled", texts.spelling),
    ("unseen_words", "unseen_words", "one-hot words to a random sign of each", texts.unseen_words),
    ("next_character", "next_character", "six letters to the next one", texts.next_character, _NOISE),
)
_SIGNALS: _Rows = (("membrane", "membrane", "16 voltages of a neuron to the next one", partial(_copied, "membrane")),)
_TABLES: _Rows = (("cells", "cells", "30 properties of a cell to benign or not", partial(_unit, "cells"), _FEW),)
_FUNCTIONS: _Rows = (
    ("teacher_relu", "teacher", "a random relu network on uneven inputs", partial(functions.teacher, "relu")),
    ("teacher_tanh", "teacher", "a random tanh network on uneven inputs", partial(functions.teacher, "tanh")),
    ("circle", "circle", "points of a circle to a rough signal", functions.circle),
    ("sphere", "sphere", "points of a sphere to their largest coordinate", functions.sphere),
    ("friedman", "friedman", "Friedman's smooth function of five inputs", functions.friedman),
    ("noise", "noise", "Gaussian inputs to numbers that have nothing to do with them", functions.noise, _NOISE),
)
TASKS = {
    name: Task(name, problem, kind, *rest)
    for kind, rows in zip(KINDS, (_IMAGES, _TEXT, _SIGNALS, _TABLES, _FUNCTIONS), strict=True)
    for name, problem, *rest in rows
}
NAMES = tuple(TASKS)
