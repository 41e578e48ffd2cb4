"""How fast the test error will fall with the number of samples, read from the data before any training.

Two estimates of the spectrum, one cross-fitted and one from all rows left out in turn, are fed through the learning
curve; the forecast is the mean of their slopes over the window of sample sizes:

    test(n) ~ n^-value,    error = sqrt((gap/2)^2 + 0.04^2 + (1.645 sqrt(2) scatter)^2)    (nominal 90 %).

`gap` is the difference of the two slopes, 0.04 an allowance for features that are not Gaussian, and `scatter` the
jackknife error of the slope over independent rows or groups; sqrt(2) because what is forecast is another draw like this
one. The rule was fixed on other splits than the 36 cells it was then tried on once (`tests/test_exponents.py`): 29 lay
inside, the median miss was 0.03. Slopes are claimed, levels are not.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from ...theory.errors import BadData, Underpowered
from ...theory.measured_spectra.cross_fitting import cross_fit, in_sample
from ...theory.measured_spectra.estimate import Estimate
from ...theory.measured_spectra.spectrum import LOCAL_DECADES, Spectrum
from ...theory.model import Bound
from ..learning_curve import LearningCurve, learning_curve

SPREAD = 0.04  # of measured slopes around the theory on real data, beyond the draw of rows
NINETY_PERCENT = 1.645
NAIVE_RUNS = 3


@dataclass(frozen=True, eq=False)
class Exponent:
    """A forecast: test(n) ~ n^-`value` for n in `window`, with `error` a nominal 90 % half-width.

    `cross_fitted`, `in_sample`  the two estimates it is the mean of
    `asymptotic`    exponent for n -> infinity, or None and the reason in `refused`
    `curve`, `partner`  the two forecast learning curves; their levels are not claimed
    `assumptions`   name, distance, radius and whether it holds, on these data
    `naive`         what extrapolating the three smallest runs would have said, once runs exist: see `compared`
    `measured`      the slope of those runs, likewise
    """

    value: float
    error: float
    window: tuple[float, float]
    cross_fitted: float
    in_sample: float
    capacity: Estimate | None
    target_exponent: Estimate | None
    asymptotic: Estimate | None
    refused: str
    curve: LearningCurve
    partner: LearningCurve
    spectrum: Spectrum
    assumptions: tuple[Mapping[str, Any], ...] = ()
    naive: float | None = None
    measured: float | None = None
    facts: Mapping[str, Any] = field(default_factory=dict)

    @property
    def slope(self) -> float:
        """Slope of log test error against log n: minus the value."""
        return -self.value

    def compared(self, sizes: Sequence[float], errors: Sequence[float]) -> "Exponent":
        """The same forecast beside measured test errors (T,), and the extrapolation of the three smallest runs."""
        x, y = np.log(np.asarray(sizes, float)), np.log(np.asarray(errors, float))
        if len(x) < NAIVE_RUNS + 1 or len(x) != len(y) or not np.isfinite(y).all():
            found = f"{len(x)} sizes, {len(y)} errors"
            raise BadData(found, where="exponent", remedy="give at least four positive runs")
        order = np.argsort(x)
        few = order[:NAIVE_RUNS]
        return replace(self, naive=-float(np.polyfit(x[few], y[few], 1)[0]), measured=-float(np.polyfit(x, y, 1)[0]))

    def to_dict(self) -> dict:
        return {
            "value": self.value,
            "error": self.error,
            "window": list(self.window),
            "cross_fitted": self.cross_fitted,
            "in_sample": self.in_sample,
            "capacity": self.capacity and self.capacity.to_dict(),
            "target_exponent": self.target_exponent and self.target_exponent.to_dict(),
            "asymptotic": self.asymptotic and self.asymptotic.to_dict(),
            "refused": self.refused,
            "naive": self.naive,
            "measured": self.measured,
            "assumptions": [dict(assumption) for assumption in self.assumptions],
            "curve": self.curve.to_dict(),
            "partner": self.partner.to_dict(),
            "spectrum": self.spectrum.to_dict(),
            "facts": dict(self.facts),
        }

    def __str__(self) -> str:
        low, high = self.window
        lines = [
            f"Exponent in the number of samples: test error ~ n^-{self.value:.3f} +- {self.error:.3f} (90 %)",
            f"  window            n = {low:.0f} .. {high:.0f}",
            f"  two estimates     cross-fitted {self.cross_fitted:.3f}, in sample {self.in_sample:.3f}",
            f"  capacity          {self.capacity or 'not resolved'}",
            f"  target exponent   {self.target_exponent or 'not resolved'}",
            f"  for n -> infinity {self.asymptotic or 'refused: ' + self.refused}",
        ]
        for assumption in self.assumptions:
            verdict = "holds" if assumption["holds"] else "FAILS"
            lines.append(
                f"  {assumption['name']:<17} {assumption['distance']:.3g} (radius {assumption['radius']:g}) {verdict}"
            )
        if self.naive is not None:
            lines.append(f"  three smallest runs extrapolated: {self.naive:.3f}; measured {self.measured:.3f}")
        return "\n".join(lines)

    __repr__ = __str__


def forecast(
    kernel: Callable,
    x: np.ndarray,
    y: np.ndarray,
    sizes: Sequence[float] | None = None,
    ridge: float = 0.0,
    groups: np.ndarray | None = None,
    seed: int = 0,
    splits: int = 5,
) -> Exponent:
    """Forecast the exponent of kernel regression on data like these rows; nothing is trained.

    `kernel`  callable (n1, d), (n2, d) -> (n1, n2);  `x` (P, d), `y` (P,) or (P, o);  `groups` (P,) independent blocks
    `sizes`   sample sizes of the window, by default 8 from 50 (or P/20) to P/2

    Errors: `Underpowered` with less than a decade of resolved spectrum (500 rows) or a target dominated by noise;
    `BadData` for a constant target. References: see `theory.measured_spectra.spectrum`.

    >>> rng = np.random.default_rng(0)
    >>> x = rng.standard_normal((600, 60)) * np.arange(1, 61) ** -0.75
    >>> found = forecast(lambda a, b=None: a @ (a if b is None else b).T, x, x @ np.ones(60), sizes=[10, 15, 20, 30])
    >>> 0.5 < found.value < 2.5 and found.error >= 0.04
    True
    """
    x = np.asarray(x, float)
    cross = cross_fit(kernel, x, y, seed=seed, groups=groups, splits=splits)
    if cross.decades < LOCAL_DECADES:
        raise Underpowered(
            f"{len(x)} samples resolve {cross.decades:.2f} decades of the spectrum, {LOCAL_DECADES:g} is needed",
            where="exponent",
            remedy="give at least 500 samples",
        )
    every = in_sample(kernel, x, y, seed=seed, groups=groups)
    if sizes is None:
        first = min(50.0, len(x) / 20)
        sizes = tuple(np.unique(np.round(np.geomspace(first, min(len(x) / 2, cross.resolved), 8))))
    window = np.sort(np.asarray(sizes, float))
    if len(window) < 2 or window[0] <= 0 or window[-1] < 1.5 * window[0]:
        raise BadData(f"sizes {window}", where="exponent", remedy="give at least two sizes, a factor 1.5 apart")
    curve, partner = (learning_curve(spectrum, sizes=window, ridge=ridge) for spectrum in (cross, every))
    value = -(curve.slope + partner.slope) / 2
    scatter = every.slope_scatter(window)
    error = half_width(curve.slope - partner.slope, scatter)
    try:
        asymptotic, refused = cross.data_exponent(), ""
    except Underpowered as reason:
        asymptotic, refused = None, f"{reason.found}; {reason.remedy}"
    return Exponent(
        value=value,
        error=error,
        window=(float(window[0]), float(window[-1])),
        cross_fitted=-curve.slope,
        in_sample=-partner.slope,
        capacity=cross.capacity,
        target_exponent=cross.target_exponent,
        asymptotic=asymptotic,
        refused=refused,
        curve=curve,
        partner=partner,
        spectrum=cross,
        assumptions=tuple(_assumptions(cross, curve, partner, window)),
        facts={
            "scatter": scatter,
            "rows": len(x),
            "ridge": ridge,
            "seed": seed,
            "grouped": groups is not None,
            **cross.facts,
        },
    )


def half_width(gap: float, scatter: float) -> float:
    """Nominal 90 % half-width of a forecast slope: sqrt((gap/2)^2 + 0.04^2 + (1.645 sqrt(2) scatter)^2).

    >>> half_width(0.0, 0.0)
    0.04
    """
    return float(np.linalg.norm([gap / 2, SPREAD, NINETY_PERCENT * np.sqrt(2) * scatter]))


def exponents(bound: Bound, sizes: Sequence[float] | None = None, **options: Any) -> Exponent:
    """The forecast for a kernel model bound to the user's data: `exponents(KernelRegression(kernel).on(x, y))`.

    `options` are those of `forecast`. Errors: `BadData` if the model has no kernel.
    """
    if not isinstance(bound, Bound):
        raise BadData(f"{bound} is bound to no data", where="exponents", remedy="bind them with .on(x, y)")
    theory, data = bound.theory, bound.data
    kernel = getattr(theory, "kernel", None)
    if not callable(kernel):
        raise BadData(
            f"{type(theory).__name__} has no kernel",
            where="exponents",
            remedy="bind a kernel model: KernelRegression(kernel=...).on(x, y)",
        )
    ridge = options.pop("ridge", getattr(theory, "ridge", 0.0))
    return forecast(kernel, data.x, data.y, sizes, ridge=ridge, groups=data.groups, **options)


def _assumptions(cross, curve, partner, sizes):
    """What the forecast rests on, each with its distance on these data."""
    level = float(np.abs(np.log(curve.test / partner.test)).max())
    reach = float(sizes[-1] / cross.resolved)
    for name, kind, distance, radius, meaning in (
        ("level agreement", "closure", level, 0.4, "largest |log ratio| of the two forecast curves"),
        ("resolved range", "limit", reach, 1.0, "largest size over the largest the spectrum speaks for"),
        ("unexplained power", "closure", 1 - cross.explained, 0.9, "share no ridge explains on held-out rows"),
    ):
        yield {
            "name": name,
            "kind": kind,
            "distance": distance,
            "radius": radius,
            "holds": bool(distance <= radius),
            "meaning": meaning,
        }
