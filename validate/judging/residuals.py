"""Residuals of a law against a measurement, and their comparison with a budget: the arithmetic under the judge.

The one equation: residual = (measured - predicted) / scale, the scale being the law's own, also for its rival, so that
both are held to one yardstick. Arrays are (seed, axis value, abscissa point, component), flattened to (seed, point).
"""

import math
from dataclasses import dataclass, replace
from functools import cached_property
from typing import NamedTuple

import numpy as np
from scipy.special import fdtri, stdtrit

from ...theory.claims import Claim, Threshold
from ...theory.errors import BadData, UnknownName
from .statistics import kurtosis, log_slope, mean_and_error

FEWEST_SEEDS = 5
ROUNDING = 16  # units in the last place of float64 that equal runs may differ by
POWER = 0.95  # share of repeats that must refute a planted error of twice the resolution


class Points(NamedTuple):
    """Residuals, leverage |measured| / scale and allowed error, each (R, N); where (N, 3) the points are."""

    residual: np.ndarray
    leverage: np.ndarray
    allowed: np.ndarray
    where: np.ndarray | None


@dataclass(frozen=True)
class Comparison:
    """Bias, standard error, allowed error and leverage at every point (N,), and the critical z."""

    bias: np.ndarray
    error: np.ndarray
    allowed: np.ndarray
    leverage: np.ndarray
    critical: float
    seeds: int
    kurtosis: np.ndarray | float = 3.0
    places: np.ndarray | None = None
    additive: bool = False
    notes: tuple[str, ...] = ()

    @classmethod
    def empty(cls, claim: Claim) -> "Comparison":
        """A comparison that could not be made: infinitely uncertain."""
        nothing = np.zeros(1)
        return cls(nothing, nothing + np.inf, nothing, nothing, np.inf, 0)

    @cached_property
    def reach(self) -> np.ndarray:
        """z se, zero for deterministic claims."""
        return np.where(self.error > 0, self.critical * np.where(self.error > 0, self.error, 1.0), 0.0)

    @property
    def refuted(self) -> bool:
        return bool(np.any(np.abs(self.bias) - self._finite_reach > self.allowed))

    @property
    def outcome(self) -> str:
        """What the rule says of this law alone."""
        if self.refuted:
            return "refuted"
        return "holds" if np.all(np.abs(self.bias) + self.reach <= self.allowed) else "underpowered"

    @property
    def worst(self) -> int:
        """The decisive point: the smallest margin to the budget."""
        return int(np.argmax(np.nan_to_num(np.abs(self.bias) + self.reach - self.allowed, nan=0.0, posinf=1e300)))

    @property
    def furthest(self) -> int:
        """The point that speaks loudest against the law."""
        return int(np.argmax(np.abs(self.bias) - self._finite_reach - self.allowed))

    @property
    def z(self) -> float:
        scattered = (self.error > 0) & np.isfinite(self.error)
        return float(np.max(np.abs(self.bias[scattered]) / self.error[scattered])) if scattered.any() else 0.0

    @property
    def where(self) -> list[int]:
        return [] if self.places is None else self.places[self.worst].tolist()

    @property
    def resolution(self) -> float:
        """r such that planted errors of 2r are refuted in at least 95 % of repeats.

        A planted relative error e shifts the residual by e x leverage and stretches its noise by 1 + e. In a repeat
        the bias scatters again (its change has sqrt(2) se) and so does the standard error: the ratio of two sample
        variances follows Fisher's F, with fewer degrees of freedom for heavy tails (2 (R - 1) / (kurtosis - 1)). So

            e x leverage >= budget + |bias| + z se + hypot(z se (sqrt(F_95) - 1), sqrt(2) t_95 se).

        The best point decides, since one point suffices to refute. Infinite below five seeds: the luckiest of several
        scatters estimated from two or three runs says nothing about the next.
        """
        if 0 < self.error.max() and self.seeds < FEWEST_SEEDS:
            return math.inf
        freedom = 2 * max(self.seeds - 1, 1) / (np.maximum(self.kurtosis, 3.0) - 1)
        stretch = self.critical * (np.sqrt(fdtri(freedom, freedom, POWER)) - 1) if self.critical < np.inf else np.inf
        margin = np.hypot(stretch, np.sqrt(2) * stdtrit(max(self.seeds - 1, 1), POWER))
        with np.errstate(invalid="ignore", over="ignore"):
            noise = np.where(self.error > 0, (self.critical + margin) * np.where(self.error > 0, self.error, 1.0), 0.0)
            needed = self.allowed + np.abs(self.bias) + noise
            lever = self.leverage - (0.0 if self.additive else noise)
            shift = np.where(lever > 0, needed / np.where(lever > 0, lever, 1.0), np.inf)
        best = float(np.min(np.where(np.isnan(shift), np.inf, shift))) / 2
        return best * (1 + 1e-3)  # strictly beyond the line, also where nothing scatters

    @property
    def _finite_reach(self) -> np.ndarray:
        return np.where(np.isfinite(self.bias) | (self.critical == np.inf), self.reach, 0.0)

    def decisive(self) -> "Comparison":
        """Of several seeds that each must obey, the one nearest to refutation."""
        if len(self.bias) == 1:
            return self
        keep = slice(self.furthest, self.furthest + 1)
        cut = {name: getattr(self, name)[keep] for name in ("bias", "error", "allowed", "leverage")}
        return replace(self, **cut)


def prepare(claim: Claim, prediction, law, measurement, flat: bool = True) -> Points:
    """Residual, leverage and allowed error of `prediction` on the yardstick of `law`; the not finite is infinite."""
    measured, predicted, yardstick = (summarised(claim, r.values) for r in (measurement, prediction, law))
    if np.shape(measurement.abscissa) != np.shape(prediction.abscissa):
        raise BadData(
            f"(settings, points) {np.shape(measurement.abscissa)} measured, {np.shape(prediction.abscissa)} predicted",
            where=claim.name,
            remedy="record both at the same points",
        )
    shape = np.broadcast_shapes(measured.shape, predicted.shape)
    scale = scale_of(yardstick, claim.relative)
    with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
        difference = measured - predicted
        residual = np.where(difference == 0, 0.0, difference / scale)
        leverage = np.ones(shape) if claim.relative == "none" else np.abs(measured) / scale
        allowed = np.full(shape, float(sum(getattr(claim, "budget", {}).values())))
        # a rival is given at least the room that the law is given
        stated = [r.uncertainty for r in (prediction, law) if getattr(r, "uncertainty", None) is not None]
        if stated:
            allowed = allowed + np.maximum.reduce([summarised(claim, u) / scale for u in np.broadcast_arrays(*stated)])
    residual = np.where(np.isfinite(residual), residual, np.inf)
    leverage, allowed = (np.where(np.isfinite(a), a, 0.0) for a in (leverage, allowed))
    residual, leverage, allowed = (np.broadcast_to(a, shape) for a in (residual, leverage, allowed))
    if not flat:
        return Points(residual, leverage, allowed, None)
    keep = np.broadcast_to(_window(claim, measurement.abscissa, shape)[..., None], shape[1:]).ravel()
    if not keep.any():
        raise BadData("no recorded point lies in the window", where=claim.name, remedy="widen it or record more")
    residual, leverage, allowed = (a.reshape(shape[0], -1)[:, keep] for a in (residual, leverage, allowed))
    return Points(residual, leverage, allowed, np.stack(np.unravel_index(np.flatnonzero(keep), shape[1:]), axis=1))


def compare(claim: Claim, residual, leverage, allowed, where, *, critical: float) -> Comparison:
    """Mean over seeds with its error where seeds scatter; the worst seed where each must obey."""
    seeds = len(residual)
    if claim.stochastic:
        with np.errstate(invalid="ignore", over="ignore"):
            bias, error = mean_and_error(residual)
            shape = kurtosis(residual)
            # seeds that differ by rounding alone do not scatter: their standard error would measure nothing
            rounding = ROUNDING * np.finfo(float).eps * np.max(np.abs(residual) + leverage, axis=0)
            error = np.where(error * np.sqrt(seeds) <= rounding, 0.0, error)
        lost = ~np.isfinite(bias)  # a run that diverged is no scatter
        bias, error = np.where(lost, np.inf, bias), np.where(lost, 0.0, error)
        shape = np.where(lost, 3.0, shape)
        return Comparison(bias, error, allowed.mean(0), leverage.mean(0), critical, seeds, shape, where)
    worst = np.argmax(np.abs(residual) - allowed, axis=0)[None]
    bias, allowance = (np.take_along_axis(array, worst, 0)[0] for array in (residual, allowed))
    return Comparison(bias, np.zeros_like(bias), allowance, leverage.min(0), 0.0, seeds, 3.0, where)


def summarised(claim: Claim, values: np.ndarray) -> np.ndarray:
    """Values (., A, T, C) after the claim's summary over the abscissa: T becomes 1 if there is one.

    A threshold is judged at the last recorded point, where transients are gone.
    """
    summary = claim.options.get("summary", "last" if isinstance(claim, Threshold) else "")
    if summary not in SUMMARIES:
        raise UnknownName.among(summary, SUMMARIES, kind="summary", where=claim.name)
    return SUMMARIES[summary](np.asarray(values, float))


SUMMARIES = {
    "": lambda values: values,
    "last": lambda values: values[:, :, -1:],
    "mean": lambda values: values.mean(2, keepdims=True),
    "last_third_mean": lambda values: values[:, :, -max(1, values.shape[2] // 3) :].mean(2, keepdims=True),
}


def scale_of(values: np.ndarray, relative: str) -> np.ndarray:
    """The scale errors are quoted in: see `Claim.relative`.

    >>> curve = np.array([4.0, 2.0, 1.0]).reshape(1, 1, 3, 1)
    >>> [scale_of(curve, name).ravel().tolist() for name in ("point", "final", "scale", "none")]
    [[4.0, 2.0, 1.0], [1.0], [4.0], [1.0]]
    """
    size = np.abs(values)
    scales = {
        "point": size,
        "final": size[:, :, -1:],
        "scale": size.max(axis=(2, 3), keepdims=True),
        "none": np.ones((1, 1, 1, 1)),
    }
    if relative not in scales:
        raise UnknownName.among(relative, scales, kind="scale of errors")
    return scales[relative]


def log_slopes(claim, values: np.ndarray, measurement) -> tuple[np.ndarray, np.ndarray]:
    """Log-log slopes (., A, C) over the claim's window, and those of its three smallest points alone.

    Along the abscissa, or along the claim's axis where there is only one abscissa point.
    """
    if values.shape[2] == 1 and len(claim.values) > 2:
        values, abscissa = np.swapaxes(values, 1, 2), np.asarray(claim.values, float)[None]
    else:
        abscissa = np.asarray(measurement.abscissa, float)
    slopes, smallest = [], []
    for setting, points in enumerate(abscissa):
        inside = (points >= claim.window[0]) & (points <= claim.window[1]) & (points > 0)
        order = np.flatnonzero(inside)[np.argsort(points[inside])]
        if len(order) < 3:
            raise BadData(
                f"{len(order)} points lie in the window {claim.window}",
                where=claim.name,
                remedy="an exponent needs three or more",
            )
        curve = values[:, setting, order]
        with np.errstate(divide="ignore", invalid="ignore"):
            x = points[order][:, None]
            slopes.append(log_slope(x, curve, axis=1))
            smallest.append(log_slope(x[:3], curve[:, :3], axis=1))
    return np.stack(slopes, axis=1), np.stack(smallest, axis=1)


def _window(claim: Claim, abscissa, shape) -> np.ndarray:
    """Which (setting, point) are judged: all, or those within options["window"] of the abscissa."""
    low, high = claim.options.get("window", (-np.inf, np.inf))
    points = np.asarray(abscissa, float)
    if shape[2] != points.shape[-1]:  # summarised: one point a setting, already chosen
        return np.ones(shape[1:3], bool)
    return np.broadcast_to((points >= low) & (points <= high), shape[1:3])
