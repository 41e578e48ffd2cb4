"""Losses of skills that are known or not, summed exactly, and how sharply a measured skill is learned.

    parameters N   sum_{k > N} p_k                             the N most frequent are known
    samples D      sum_k p_k P(Binomial(D, p_k) < tau)         a skill needs tau examples
    time t         1/2 sum_k p_k (1 - R(2 p_k t))^2            R logistic, from R(0) = start

A logistic skill that starts below 1 % passes from 90 % to 10 % of its squared error within 1.8 octaves of time; an
exponential one takes 4.4 octaves.

>>> p = np.array([0.5, 0.3, 0.2])
>>> left_out(p, [0, 1, 3]).round(12) + 0.0
array([1. , 0.5, 0. ])
>>> bool(np.allclose(unseen(p, [4]), (p * (1 - p) ** 4).sum()))
True
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy.special import betaincc, expit

from ..errors import BadData

QUANTILE = 1.645  # of a nominal interval of 90 %
POINTS = 16  # of a window, at equal distances in its logarithm
_FEW = 20  # terms that are added up one by one


def checked(frequencies: Any) -> np.ndarray:
    """Frequencies (K,) in falling order, with sum one. Raises `BadData` for other than two or more positive numbers."""
    share = np.asarray(frequencies, float).ravel()
    if len(share) < 2 or not np.isfinite(share).all() or not (share > 0).all():
        raise BadData(
            f"{len(share)} frequencies, the least {share.min() if len(share) else np.nan:g}",
            where="skills",
            remedy="give two or more, all above 0",
        )
    return -np.sort(-share) / share.sum()


def left_out(frequencies: np.ndarray, kept: Any) -> np.ndarray:
    """Share of the tasks that ask for none of the N most frequent skills, at every N of an array."""
    share = np.asarray(frequencies, float)
    beyond = np.append(np.cumsum(share[::-1])[::-1], 0.0)  # summed from the rare end: no cancellation
    return beyond[np.minimum(np.atleast_1d(kept).astype(int), len(share))]


def unlearned(frequencies: np.ndarray, samples: Any, threshold: int = 1) -> np.ndarray:
    """P(Binomial(D, p_k) < tau) for every D and skill, (D, K); D may be any number from tau on, and is 1 below it.

    Few terms are added up, C(D, j) p^j (1-p)^(D-j); of many the incomplete beta function is the sum.
    """
    draws = np.atleast_1d(np.asarray(samples, float))[:, None]
    enough, share = np.maximum(draws, threshold), np.minimum(frequencies, 1 - 1e-16)
    if threshold > _FEW:
        return np.where(draws < threshold, 1.0, betaincc(threshold, enough - threshold + 1, share))
    term = np.exp(enough * np.log1p(-share))
    found = term.copy()
    for j in range(threshold - 1):
        term *= (enough - j) / (j + 1) * (share / (1 - share))
        found += term
    return np.where(draws < threshold, 1.0, np.minimum(found, 1.0))


def unseen(frequencies: np.ndarray, samples: Any, threshold: int = 1) -> np.ndarray:
    """Share of the tasks whose skill had fewer than `threshold` examples among D, mean over draws, at every D."""
    return unlearned(frequencies, samples, threshold) @ frequencies


def not_yet(frequencies: np.ndarray, times: Any, start: float) -> np.ndarray:
    """Loss 1/2 sum_k p_k (1 - R_k)^2 of logistic skills, R_k = 1/(1 + (1/start - 1) exp(-2 p_k t)), at every t."""
    phase = 2 * np.atleast_1d(np.asarray(times, float))[:, None] * frequencies
    return expit(np.log(1 / start - 1) - phase) ** 2 @ frequencies / 2


def scatter_of_slope(frequencies: np.ndarray, grid: np.ndarray, threshold: int) -> float:
    """Standard deviation of the slope of log L over a grid of D, from one growing training set to the next.

    Counts of different skills are taken as independent. A skill that is unlearned after more samples was so before,
    hence the covariance of two points is sum p^2 q(larger) (1 - q(smaller)).
    """
    share, left = frequencies, unlearned(frequencies, grid, threshold)
    loss = left @ share
    covariance = (share**2 * left) @ (1 - left).T  # row: the larger D
    covariance = np.tril(covariance) + np.tril(covariance, -1).T
    x = np.log(grid) - np.log(grid).mean()
    weight = x / (x @ x) / loss
    return float(np.sqrt(weight @ covariance @ weight))


@dataclass(frozen=True)
class SkillCurves:
    """What per-skill losses show.

    `width`     octaves of the axis from 90 % to 10 % of a skill's unknown loss, median over skills
    `between`   share of the records, while skills are being learned, at which a skill is between those levels
    `exponent`  g in (place of 50 %) ~ p^-g, one for independent skills, with the `scatter` of log places around it
    `order`     rank correlation between rarity and place of 50 %
    `learned`   skills that pass all three levels, out of `skills`
    """

    width: float
    between: float
    exponent: float
    scatter: float
    order: float
    learned: int
    skills: int


def skill_curves(frequencies: Any, losses: Any, at: Any = None, unknown: float | None = None) -> SkillCurves:
    """Sharpness and order of measured skills: losses (K, T) at T places of an axis (1 ... T unless said).

    Skills stand in the order of the frequencies given. `unknown` is the loss of a skill of which nothing is known: the
    first loss, from before it moves, unless said (1/2 for targets -1 and 1 and a network that starts elsewhere).
    50 % is passed where it is first; 90 % last before that, and 10 % first after it, so that noise does not count.
    Raises `BadData` for other shapes, losses that do not start above zero, or fewer than three learned skills.

    >>> p, t = np.array([0.4, 0.2, 0.1, 0.05]), np.geomspace(1, 300, 200)
    >>> logistic = (1 / (1 + np.exp(2 * p[:, None] * t) / 999)) ** 2
    >>> found = skill_curves(p, logistic, t)
    >>> round(found.width, 2), round(found.exponent, 2), found.order
    (0.94, 1.0, 1.0)
    """
    checked(frequencies)
    share, losses = np.asarray(frequencies, float).ravel(), np.asarray(losses, float)
    places = np.arange(1.0, losses.shape[-1] + 1) if at is None and losses.ndim else np.asarray(at, float).ravel()
    right = losses.ndim == 2 and losses.shape == (len(share), len(places)) and len(places) >= 3
    if not right or not np.isfinite(losses).all() or not (places > 0).all() or not (np.diff(places) > 0).all():
        raise BadData(
            f"losses {losses.shape} of {len(share)} skills at {len(places)} places",
            where="skill losses",
            remedy="give finite (K, T) losses, and T growing places above 0",
        )
    full = losses[:, :1] if unknown is None else np.full((len(share), 1), float(unknown))
    if not (full > 0).all():
        raise BadData("the loss of an unknown skill is not above zero", where="skill losses", remedy="give `unknown`")
    rest = losses / full
    high, half, low = np.transpose([_passages(curve, np.log(places)) for curve in rest])
    learned = np.isfinite(high) & np.isfinite(half) & np.isfinite(low)
    if learned.sum() < 3:
        raise BadData(
            f"{learned.sum()} of {len(share)} skills are learned", where="skill losses", remedy="train for longer"
        )
    rarity, place = -np.log(share[learned]), half[learned]
    if np.ptp(rarity) == 0:
        raise BadData("all skills are equally frequent", where="skill losses", remedy="give different frequencies")
    fit = np.polyfit(rarity, place, 1)
    inside = (rest[learned] < 0.9) & (rest[learned] > 0.1)
    active = (rest[learned] < 0.9).any(0) & (rest[learned] > 0.1).any(0)
    return SkillCurves(
        width=float(np.median(low[learned] - high[learned]) / np.log(2)),
        between=float(inside[:, active].mean()) if active.any() else 0.0,
        exponent=float(fit[0]),
        scatter=float(np.std(place - np.polyval(fit, rarity))),
        order=_rank_correlation(rarity, place),
        learned=int(learned.sum()),
        skills=len(share),
    )


def _passages(rest: np.ndarray, places: np.ndarray) -> tuple[float, float, float]:
    """Places of 90, 50 and 10 % of one curve, on straight lines between records; infinite where it has none."""
    if not (rest <= 0.5).any():
        return np.inf, np.inf, np.inf
    middle = int((rest <= 0.5).argmax())
    above = np.flatnonzero(rest[:middle] > 0.9)
    below = np.flatnonzero(rest[middle:] <= 0.1)
    high = _between(rest, places, above[-1] + 1, 0.9) if len(above) else np.inf
    half = _between(rest, places, middle, 0.5) if middle else np.inf
    low = _between(rest, places, middle + below[0], 0.1) if len(below) and middle + below[0] else np.inf
    return high, half, low


def _between(rest: np.ndarray, places: np.ndarray, after: int, level: float) -> float:
    """Where a straight line from the record before to the record `after` is at the level."""
    share = (rest[after - 1] - level) / (rest[after - 1] - rest[after])
    return float(places[after - 1] + share * (places[after] - places[after - 1]))


def _rank_correlation(a: np.ndarray, b: np.ndarray) -> float:
    """Spearman's, ties sharing their mean rank."""
    first, second = ((np.searchsorted(np.sort(v), v) + np.searchsorted(np.sort(v), v, "right")) / 2 for v in (a, b))
    if min(np.ptp(first), np.ptp(second)) == 0:
        return 0.0
    return float(np.corrcoef(first, second)[0, 1].round(12))
