"""The loss along one axis: its curve from a spectrum, the slope over a window, and how far reality may be from it.

    loss(axis) ~ axis^-value over a window,
    half-width^2 = (gap/2)^2 + spread^2 + (1.645 sqrt(2) scatter)^2 + (0.1 beyond)^2      (nominal 90 %).

`gap` is the difference of two estimates of the spectrum; `scatter` the larger of the jackknife error over independent
rows or groups and of 0.3 times the scatter of single regressions on parts of the rows, and sqrt(2) because what is
forecast is another draw like this one; `beyond` the share of the window that no row resolves. `spread` is what features
that are not Gaussian add: it grows with the overfitting of the forecast,

    spread^2 = 0.03^2 + (0.35 log(inflation)^2)^2,    inflation = n / (n - sum L^2),

with 0.06 in place of 0.03 along parameters, where random features of real data are few and far from Gaussian.

"Before training" means: no gradient step is made, and no row is touched that the runs will use. It does not mean that
no loss is looked at: kernel regressions on up to 0.6 of the forecaster's own rows (`part_regressions`) are solved and
judged on the others, and where they refute the slope along samples by more than 2.5 standard errors the forecast moves
towards them by up to three quarters (`axis_law.corrected`). `ScalingLaw.from_data(check=False)` leaves them out.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from ...theory.arguments import numbers
from ...theory.errors import BadData
from ...theory.measured_spectra.estimate import NINETY_PERCENT
from ...theory.measured_spectra.log_slope import log_slope
from ...theory.measured_spectra.spectrum import Spectrum
from ..learning_curve import learning_curve
from ..regression.random_features import optimal_ridge, random_features
from .dynamics import dynamics

SPREAD = 0.04  # of measured slopes around the theory, where overfitting is not known
LEAST_SPREAD = {"parameters": 0.06}  # without overfitting
USUAL_SPREAD = 0.03  # along the other axes
OVERFITTING = 0.35  # of log(inflation)^2
TAIL = 0.1  # uncertainty of the slope of a spectrum that goes on beyond what rows resolve
POINTS = 8
WIDTHS = 25  # numbers of parameters tried for one budget
LEAST_RATIO = 1.5  # of the ends of a window
WHERE = "scaling law"


@dataclass(frozen=True, eq=False)
class AxisCurve:
    """Loss `test` (T,) at `sizes` (T,) of an axis: mean squared error without 1/2, above the noise that was stated.

    >>> round(AxisCurve(np.array([1.0, 10.0]), np.array([1.0, 0.1])).slope, 12)
    -1.0
    """

    sizes: np.ndarray
    test: np.ndarray

    @property
    def slope(self) -> float:
        """Least-squares slope of log loss against log size."""
        return log_slope(self.sizes, self.test)

    @property
    def drift(self) -> float:
        """Slope of the second half less that of the first: zero for a power law."""
        if len(self.sizes) < 4:
            return 0.0
        middle = len(self.sizes) // 2
        first, second = slice(None, middle + 1), slice(middle, None)
        return log_slope(self.sizes[second], self.test[second]) - log_slope(self.sizes[first], self.test[first])

    def to_dict(self) -> dict:
        return {"sizes": self.sizes.tolist(), "test": self.test.tolist()}


@dataclass(frozen=True)
class Conditions:
    """What is held while one axis grows.

    `noise`     variance of the labels' noise; losses are above it
    `ridge`     of K + ridge I in kernel regression, or "optimal" for the best at every n
    `training`  samples on which features and steps are trained, infinite in the limit
    """

    noise: float = 0.0
    ridge: float | str = 0.0
    training: float = np.inf


def points(window: Any, axis: str) -> np.ndarray:
    """Points of a window, ascending: two ends give eight, logarithmically spaced; more are taken as they are.

    Errors: `BadData` unless they are positive and a factor 1.5 apart.

    >>> points((10, 20), "samples").round(2)
    array([10.  , 11.04, 12.19, 13.46, 14.86, 16.41, 18.11, 20.  ])
    """
    found = np.unique(numbers(window, axis, WHERE).ravel())
    if len(found) < 2 or not np.isfinite(found).all() or found[0] <= 0 or found[-1] < LEAST_RATIO * found[0]:
        remedy = f"give at least two sizes above 0, a factor {LEAST_RATIO} apart"
        raise BadData(f"{axis} {np.array2string(found, threshold=6)}", where=WHERE, remedy=remedy)
    return np.geomspace(found[0], found[-1], POINTS) if len(found) == 2 else found


def curve(axis: str, spectrum: Spectrum, at: np.ndarray, conditions: Conditions) -> AxisCurve:
    """The loss of `spectrum` along an axis, above the noise.

    "samples": kernel regression; "parameters": least squares on random features; "steps": gradient flow at unit rate
    on 1/2 the error, sum v exp(-2 lambda t) for infinite data; "compute": the smallest loss of any number N of random
    features trained for a time C/N.

    >>> spectrum = Spectrum(np.ones(1), np.ones(1), np.ones(1))
    >>> curve("steps", spectrum, np.array([0.5, 1.0]), Conditions()).test.round(4)
    array([0.3679, 0.1353])
    """
    noise, ridge, training = conditions.noise, conditions.ridge, conditions.training
    if axis == "samples" and ridge == "optimal":
        test = optimal_ridge(spectrum, samples=at, noise=noise).test[:, 0]
    elif axis == "samples":
        test = learning_curve(spectrum, sizes=at, ridge=float(ridge), noise=noise).test
    elif axis == "parameters":
        held = 0.0 if np.isinf(training) else float(ridge)
        test = random_features(spectrum, samples=[training], features=at, ridge=held, noise=noise).test[0]
    elif axis == "steps":
        test = dynamics(spectrum, times=at, samples=training, noise=noise).test
    else:
        return AxisCurve(at, np.array([loss for loss, _ in frontier(spectrum, at, conditions)]))
    loss = test - noise - spectrum.noise
    if not (loss > 0).all():
        raise BadData(
            f"no loss is left at {axis} {at[loss <= 0][0]:.3g}", where=WHERE, remedy="ask for a smaller window"
        )
    return AxisCurve(at, loss)


def frontier(spectrum: Spectrum, budgets: np.ndarray, conditions: Conditions) -> list[tuple[float, float]]:
    """(loss above the noise, number of parameters) of the best split of every budget C = parameters x time.

    A parabola in log N through the three best of many numbers of parameters. Errors: `BadData` where the best lies at
    the edge of what the spectrum's modes allow.

    >>> k = np.arange(1.0, 2001.0)
    >>> found = frontier(Spectrum(k**-1.5, k**-1.8, np.ones(2000)), np.array([1e3, 1e4]), Conditions())
    >>> print(round(np.log10(found[1][1] / found[0][1]), 1))  # parameters ~ C^(1/(1 + capacity))
    0.4
    """
    widths = np.geomspace(2.0, min(float(np.sum(spectrum.multiplicities)) / 2, 2e4), WIDTHS)
    times, features = budgets[:, None] / widths, np.broadcast_to(widths, (len(budgets), WIDTHS))
    noise, training = conditions.noise, conditions.training
    test = dynamics(spectrum, times=times.ravel(), features=features.ravel(), samples=training, noise=noise).test
    found = []
    for budget, row in zip(budgets, np.log(test - noise - spectrum.noise).reshape(features.shape), strict=True):
        best = int(np.argmin(row))
        if best in (0, WIDTHS - 1):
            remedy = "ask for budgets whose best width lies between 2 and half the number of modes"
            found_at = f"compute {budget:.3g} is best spent on {widths[best]:.3g} parameters"
            raise BadData(found_at, where=WHERE, remedy=remedy)
        three = slice(best - 1, best + 2)
        bend, tilt, level = np.polyfit(np.log(widths[three] / widths[best]), row[three], 2)
        found.append((float(np.exp(level - tilt**2 / (4 * bend))), float(widths[best] * np.exp(-tilt / (2 * bend)))))
    return found


def half_width(gap: float, scatter: float, spread: float = SPREAD, beyond: float = 0.0) -> float:
    """Nominal 90 % half-width of a forecast slope; see the module.

    >>> half_width(0.0, 0.0)
    0.04
    """
    return float(np.linalg.norm([gap / 2, spread, NINETY_PERCENT * np.sqrt(2) * scatter, TAIL * beyond]))


def spread(inflation: float, axis: str = "samples") -> float:
    """What features that are not Gaussian add to the error of a slope, from the overfitting n / (n - sum L^2).

    >>> spread(1.0), spread(1.0, "parameters")
    (0.03, 0.06)
    """
    return float(np.hypot(LEAST_SPREAD.get(axis, USUAL_SPREAD), OVERFITTING * np.log(inflation) ** 2))


def beyond(window: Sequence[float] | np.ndarray, resolved: float) -> float:
    """Share of a window, in its logarithm, that lies beyond the resolved ranks.

    >>> beyond((10, 1000), 100)
    0.5
    """
    low, high = float(window[0]), float(window[-1])
    return float(np.clip(np.log(high / max(resolved, 1e-300)) / np.log(high / low), 0.0, 1.0))


def learned_at(axis: str, spectrum: Spectrum, window: tuple[float, float]) -> tuple[float, float]:
    """Numbers of modes learned at the ends of a window of an axis: n, N, the modes above 1/t, the best split of C.

    >>> learned_at("steps", Spectrum(np.array([1.0, 0.1, 0.01]), np.ones(3), np.ones(3)), (2.0, 50.0))
    (1.0, 2.0)
    """
    if axis in ("samples", "parameters"):
        return window
    if axis == "steps":
        held = [float(spectrum.multiplicities[spectrum.eigenvalues > 1 / t].sum()) for t in window]
        return max(held[0], 1.0), max(held[1], 1.0)
    first, last = (width for _, width in frontier(spectrum, np.asarray(window, float), Conditions()))
    return first, last
