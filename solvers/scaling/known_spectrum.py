"""A spectrum that is stated, not estimated, with the exponents that its ranks follow.

lambda_k ~ k^-capacity,   v_k ~ k^-target_exponent   between rank 10 and half the modes, by means over bins.
"""

from typing import Any

import numpy as np

from ...theory.arguments import numbers
from ...theory.errors import BadData
from ...theory.measured_spectra.estimate import Estimate
from ...theory.measured_spectra.power_law_tail import PowerLawTail
from ...theory.measured_spectra.spectrum import ASYMPTOTIC_DECADES, Spectrum
from ..regression.levels import levels
from .local_slope import WHERE

BINS = 5  # for each factor e of ranks
FIRST, SHARE = 10, 2  # ranks from 10 to half the modes


def known_spectrum(
    eigenvalues: Any, power: Any, multiplicities: Any = None, tail: PowerLawTail | None = None
) -> Spectrum:
    """A stated spectrum, sorted, with the exponents of its ranks. Errors: `BadData` for shapes and signs.

    >>> k = np.arange(1.0, 2001.0)
    >>> known_spectrum(k**-1.5, 2 * k**-1.8).target_exponent.value.__round__(3)
    1.8
    """
    levels(eigenvalues, power, multiplicities, None, WHERE)  # shapes and signs
    lam = numbers(eigenvalues, "eigenvalues", WHERE).ravel()
    count = np.ones_like(lam) if multiplicities is None else numbers(multiplicities, "multiplicities", WHERE).ravel()
    if power is None:
        raise BadData("no target power", where=WHERE, remedy="give the power of every mode, or a Spectrum")
    target = numbers(power, "power", WHERE).ravel()
    if tail is not None and not isinstance(tail, PowerLawTail):
        raise BadData(f"tail {tail!r}", where=WHERE, remedy="give a PowerLawTail")
    if tail is not None:
        more, times, held = tail.levels()
        lam, count, target = (np.concatenate(pair) for pair in ((lam, more), (count, times), (target, held)))
    order = np.argsort(-lam, kind="stable")
    order = order[(lam[order] > 0) & (count[order] > 0)]
    if not target[order].sum() > 0:
        raise BadData("no mode that is learned holds power", where=WHERE, remedy="give the power of the target's modes")
    lost = float(target.sum() - target[order].sum())
    lam, count, target = lam[order], count[order], target[order]
    rank = np.cumsum(count) - (count - 1) / 2
    ends = FIRST, float(count.sum()) / SHARE
    capacity, fall = (read_exponent(rank, values, count, ends) for values in (lam, target / count))
    return Spectrum(lam, target, count, noise=lost, method="given", capacity=capacity, target_exponent=fall)


def read_exponent(
    rank: np.ndarray, values: np.ndarray, count: np.ndarray, ends: tuple[float, float]
) -> Estimate | None:
    """Exponent of values ~ rank^-exponent between two ranks, from means over bins of ranks; None below 1.3 decades.

    `count` modes share each value. Error: half the range over three windows, and the scatter of the bins.

    >>> k = np.arange(1.0, 2001.0)
    >>> read_exponent(k, k**-1.5, np.ones(2000), (10, 1000)).value.__round__(3)
    1.5
    """
    low, high = ends
    if high < low * 10**ASYMPTOTIC_DECADES:
        return None
    found = []
    for first, last in ((low, high), (2 * low, high), (low, high / 2)):
        inside = (rank >= first) & (rank <= last)
        if inside.sum() < 3:
            return None
        bins = np.floor(BINS * np.log(rank[inside] / first)).astype(int)
        weight = np.bincount(bins, count[inside])
        used = weight > 0
        middle = np.bincount(bins, count[inside] * np.log(rank[inside]))[used] / weight[used]
        height = np.bincount(bins, count[inside] * values[inside])[used] / weight[used]
        positive = height > 0
        if positive.sum() < 3:
            return None
        x, y = middle[positive], np.log(height[positive])
        x = x - x.mean()
        fall = -(x @ y) / (x @ x)
        rest = y - y.mean() + fall * x
        found.append((fall, np.sqrt((rest @ rest) / max(len(x) - 2, 1) / (x @ x))))
    systematic, statistical = np.ptp([slope for slope, _ in found]) / 2, found[0][1]
    return Estimate(float(found[0][0]), float(np.hypot(systematic, statistical)))
