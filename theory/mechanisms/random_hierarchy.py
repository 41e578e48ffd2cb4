r"""The random hierarchy model: how many samples reveal which tuples of inputs are synonyms, and how many do not.

A tuple at the bottom tells the class only through L - 1 levels of random rules. Each level shrinks the variance of what
it tells by exactly

    g = (v - 1) v^(s-1) / (m (v^s - 1))  ~  1/m        (mean over all grammars, rules drawn without replacement),

while counting P samples adds a noise ~ 1/P. They are equal at P* ~ n_c m^L: the sample complexity of a learner that
goes through the levels, against n_c m^((d-1)/(s-1)), d = s^L, of one that takes the input as a whole.

>>> print(gain())
v**(s - 1)*(v - 1)/(m*(v**s - 1))
"""

from functools import cache
from typing import Any

import numpy as np
import sympy as sp

from ..arguments import interval, whole
from ..errors import BadData
from ..measured_spectra.estimate import Estimate
from ..symbols import positive
from ..system import FixedPoint
from ..trail import Equations, Trail
from .forecast import MechanismForecast
from .grammar import RandomHierarchy, tuples
from .token_frequencies import listed_tokens

CAGNETTA = "Cagnetta, Petrini, Tomasini, Favero & Wyart 2024, arXiv:2307.02129"
FEATURES, SYNONYMS, BRANCHING, LEVELS, CLASSES, SAMPLES = positive("v m s L q P")
DISTANCE, GAIN, REST = positive("D g h")
_NAME = "random hierarchy"
_BLOCKS = 20
_LARGEST = 1 << 27  # counts held at once: 1 GB


@cache
def gain() -> Any:
    """Factor by which one level of random rules shrinks the squared norm of zero-sum vectors, mean over grammars.

    A vector u over parents gives M u over features, M_ba = (number of synonyms of a with feature b)/m. Counts are
    hypergeometric, so E |M u|^2 = v (Var - Cov) |u|^2 for sum u = 0, and M u sums to zero again: levels multiply.
    """
    variance, covariance = _moments()
    return sp.factor(sp.simplify(FEATURES * (variance - covariance)))


@cache
def remainder() -> Any:
    """What one level of rules adds to the squared norm of a vector of sum one, mean over grammars: |M 1/v|^2 and more.

    >>> print(remainder())
    -(v - v**s)/(v*(v**s - 1))
    """
    return sp.factor(sp.simplify(FEATURES * _moments()[1] + 1 / FEATURES))


@cache
def _moments() -> tuple[Any, Any]:
    """Variance of M_ba and covariance of M_ba with M_ba' of another parent: m of v^s tuples, v^(s-1) have feature b."""
    v, m = FEATURES, SYNONYMS
    everything, share = v**BRANCHING, 1 / v
    variance = share * (1 - share) * (everything - m) / (everything - 1) / m
    covariance = -share * (1 - share) / (everything - 1)
    return variance, covariance


@cache
def tuple_distances() -> FixedPoint:
    """D = mean over pairs of classes of sum_tuples (p(tuple|a) - p(tuple|b))^2, counted in P balanced samples.

    Exact mean over grammars and samples. Observables: "distance", its "signal" and "noise", "share" = signal/distance,
    and the "threshold" P* at which they are equal. Reference: Cagnetta et al. 2024, arXiv:2307.02129.

    >>> print(sp.factor(sp.limit(deep_threshold(2), FEATURES, sp.oo)))
    q*(m - 1)*(m + 1)
    """
    m, steps = SYNONYMS, LEVELS - 1
    trail = Trail().then(
        "one level of rules on a zero-sum vector: E |M u|^2 = g |u|^2", Equations(((GAIN, gain()),)), reference=CAGNETTA
    )
    signal = 2 * GAIN**steps / m
    trail = trail.then("L - 1 levels from a class to the parent of a tuple, u = e_a - e_b, m tuples each", signal)
    trail = trail.then("vectors of sum one: E |M w|^2 = g |w|^2 + h", Equations(((REST, remainder()),)), parents=(0,))
    square = GAIN**steps + REST * (1 - GAIN**steps) / (1 - GAIN)
    trail = trail.then("probabilities: sum_tuples p(tuple|a)^2, from |e_a|^2 = 1", square / m)
    noise = 2 * CLASSES / SAMPLES * (1 - square / m)
    trail = trail.then(
        "counts in P/n_c samples a class add their variance", Equations(((DISTANCE, signal + noise),)), parents=(1, 3)
    )
    threshold = CLASSES * m * (1 - square / m) / GAIN**steps
    assert sp.simplify(threshold - SAMPLES * noise / signal) == 0
    trail = trail.then("signal = noise", threshold, reference=CAGNETTA, check="n_c (m^L - 1) for v -> oo, at L = 2")
    return FixedPoint(
        (DISTANCE,),
        (signal + noise - DISTANCE,),
        observables={
            "distance": DISTANCE,
            "signal": signal,
            "noise": noise,
            "share": signal / DISTANCE,
            "threshold": threshold,
        },
        trail=trail,
    )


def deep_threshold(levels: int, branching: int = 2) -> Any:
    """P* in symbols at a number of levels: n_c (m^L - 1) in the limit of many features."""
    inside = tuple_distances().observables["threshold"].subs({GAIN: gain(), REST: remainder()})
    return sp.factor(inside.subs({LEVELS: levels, BRANCHING: branching}))


def shallow_threshold() -> Any:
    """Number of different inputs of all classes, n_c m^((s^L - 1)/(s - 1)): what has to be seen without levels.

    >>> print(shallow_threshold().subs({BRANCHING: 2, LEVELS: 3}))
    m**7*q
    """
    nodes = (BRANCHING**LEVELS - 1) / (BRANCHING - 1)
    return CLASSES * SYNONYMS**nodes


def thresholds(data: RandomHierarchy) -> dict[str, float]:
    """P* of a grammar's kind: "deep", "deep, leading order" n_c m^L, and "shallow".

    >>> {name: round(value) for name, value in thresholds(RandomHierarchy()).items()}
    {'deep': 132, 'deep, leading order': 128, 'shallow': 512}
    """
    numbers = {**_whole(data), SAMPLES: sp.S.One}
    named = {GAIN: gain().subs(numbers), REST: remainder().subs(numbers)}
    return {
        "deep": float(tuple_distances().observables["threshold"].subs({**numbers, **named})),
        "deep, leading order": float((CLASSES * SYNONYMS**LEVELS).subs(numbers)),
        "shallow": _different_inputs(data),
    }


def _different_inputs(data: RandomHierarchy) -> float:
    """`shallow_threshold` as a number, infinite beyond floats: its exact digits would fill the memory."""
    nodes = (data.branching**data.levels - 1) // (data.branching - 1)
    digits = nodes * np.log10(data.synonyms) + np.log10(data.classes)
    return float(data.classes * data.synonyms**nodes) if digits < 300 else float("inf")


def stated(data: RandomHierarchy) -> dict[str, float]:
    """Values of the parameters of `tuple_distances` for a distribution, but for P.

    >>> {name: round(value, 3) for name, value in stated(RandomHierarchy()).items()}
    {'m': 4.0, 'L': 2.0, 'q': 8.0, 'g': 0.222, 'h': 0.111}
    """
    numbers = _whole(data)
    return {
        "m": float(data.synonyms),
        "L": float(data.levels),
        "q": float(data.classes),
        "g": float(gain().subs(numbers)),
        "h": float(remainder().subs(numbers)),
    }


def _whole(data: RandomHierarchy) -> dict[Any, Any]:
    symbols = (FEATURES, SYNONYMS, BRANCHING, LEVELS, CLASSES)
    values = (data.features, data.synonyms, data.branching, data.levels, data.classes)
    return dict(zip(symbols, map(sp.Integer, values), strict=True))


def measured_signal(sequences: np.ndarray, classes: np.ndarray, branching: int = 2) -> tuple[Estimate, float]:
    """How much tuples of neighbouring symbols tell about the class, without the noise of counting, and P* from that.

    Symbols (n, d) and classes (n,) as whole numbers. Two halves of the rows are counted and multiplied, which has no
    bias; the error is that of leaving out blocks of rows. P* is infinite where nothing is told.
    """
    branching = whole(branching, "branching", _NAME, least=1)
    sequences, classes = listed_tokens(sequences, _NAME), listed_tokens(classes, _NAME).ravel()
    if sequences.ndim != 2 or len(sequences) != len(classes) or sequences.shape[1] % branching:
        raise BadData(
            f"symbols {sequences.shape} and classes {classes.shape} in tuples of {branching}",
            where=_NAME,
            remedy="give (n, d) symbols with d a multiple of the tuple, and one class a row",
        )
    symbols, numbered = np.unique(sequences, return_inverse=True)
    kinds, labels = np.unique(classes, return_inverse=True)
    places, size = sequences.shape[1] // branching, len(symbols) ** branching
    if _BLOCKS * places * len(kinds) * size > _LARGEST:
        raise BadData(
            f"{len(symbols)} symbols in tuples of {branching}: {size:.3g} to count",
            where=_NAME,
            remedy="give few different symbols, or shorter tuples",
        )
    rarest = int(np.bincount(labels).min()) if labels.size else 0
    if len(kinds) < 2 or rarest < 4 * _BLOCKS:
        raise BadData(
            f"{len(kinds)} classes, {rarest} rows of the rarest",
            where=_NAME,
            remedy=f"give two classes or more with {4 * _BLOCKS} rows each",
        )
    found = tuples(numbered.reshape(sequences.shape), branching, len(symbols))
    turn = np.empty(len(labels), int)  # rows of each class go round the blocks, so that all blocks hold all classes
    for kind in range(len(kinds)):
        turn[labels == kind] = np.arange((labels == kind).sum()) % _BLOCKS
    counts = np.zeros((_BLOCKS, places, len(kinds), size))
    np.add.at(counts, (turn[:, None], np.arange(places)[None], labels[:, None], found), 1)
    signal = _signal(counts)
    apart = np.array([_signal(np.delete(counts, [2 * k, 2 * k + 1], axis=0)) for k in range(_BLOCKS // 2)])
    pairs = len(apart)
    error = 1.645 * np.sqrt((pairs - 1) / pairs * ((apart - apart.mean()) ** 2).sum())
    chance = counts.sum(0) / counts.sum((0, 3))[..., None]
    noise = 2 * len(kinds) * float(1 - (chance**2).sum(-1).mean())
    return Estimate(signal, float(error)), noise / signal if signal > 0 else float("inf")


def _signal(counts: np.ndarray) -> float:
    """Mean over pairs of classes and places of the product of differences in even and in odd blocks."""
    halves = [part.sum(0) / part.sum((0, 3))[..., None] for part in (counts[::2], counts[1::2])]
    first, second = (half - half.mean(1, keepdims=True) for half in halves)
    kinds = counts.shape[2]
    return float(2 * (first * second).sum((1, 2)).mean() / (kinds - 1))


def forecast(
    data: RandomHierarchy | tuple[np.ndarray, np.ndarray], window: tuple[float, float], branching: int = 2
) -> tuple[MechanismForecast, ...]:
    """What a hierarchy says about the error in samples: no power law, but a fall at P*, stated or measured.

    `data` a `RandomHierarchy`, or (symbols (n, d), classes (n,)) in which the signal of tuples is measured.

    >>> print(forecast(RandomHierarchy(), (10, 1000))[0].because)
    one level after another is found from P* = 132 samples on (512 without levels): a fall, not a power law
    """
    facts: dict[str, Any] = {}
    window = low, high = interval(window, "window", _NAME, remedy="give 1 <= low < high")
    if isinstance(data, RandomHierarchy):
        facts.update(thresholds(data))
        applies, place = True, facts["deep"]
        because = (
            f"one level after another is found from P* = {place:.4g} samples on ({facts['shallow']:.4g} without "
            "levels): a fall, not a power law"
        )
    else:
        if not (isinstance(data, list | tuple) and len(data) == 2):
            raise BadData(
                f"data of type {type(data).__name__}",
                where=_NAME,
                remedy="give a RandomHierarchy, or (symbols (n, d), classes (n,))",
            )
        signal, place = measured_signal(*data, branching=branching)
        facts |= {"signal": signal.value, "error": signal.error, "deep": place}
        applies = signal.value > 2 * signal.error
        because = (
            f"tuples of {branching} tell the class, {signal.value:.3g} +- {signal.error:.2g}, visible from P* = "
            f"{place:.4g} samples on"
            if applies
            else f"tuples of {branching} tell nothing about the class, {signal.value:.2g} +- {signal.error:.2g}"
        )
    facts["place"] = "below" if high < place else "above" if low > place else "inside"
    return (
        MechanismForecast(
            mechanism=_NAME,
            axis="samples",
            exponent=None,
            applies=applies,
            because=because,
            formula=str(CLASSES * SYNONYMS**LEVELS),
            window=window,
            loss="classification error",
            reference=CAGNETTA,
            facts=facts,
        ),
    )
