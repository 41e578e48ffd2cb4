"""A learning curve with error bars from raw data, and the number of samples beyond which it is not to be trusted.

Two estimates of the spectrum, one cross-fitted and one from all rows left out in turn, give two curves; the forecast is
their geometric mean. Its nominal 90 % interval, in the logarithm of the test error, is

    half-width^2 = (gap/2)^2 + 0.05^2 + (0.1 log(learned/resolved))^2 + (1.645 sqrt(2) scatter)^2.

`gap` is the distance of the two curves, 0.05 an allowance for features that are not Gaussian, the third term, beyond
the resolved spectrum, one for a tail that goes on otherwise, and `scatter` that of curves whose power is resampled over
rows, or over groups of rows; sqrt(2), because what is forecast is another draw like this one. The allowances were fixed
on other tasks and splits than the 64 forecasts that they were then tried on once (`tests/test_data_curve.py`): 84 % of
433 points lay inside, the median level was off by 7 %, slopes by 0.03 and at most 0.12. Few regions that differ much,
as those of two photographs, are where intervals fail.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from ...theory.arguments import number, numbers, whole
from ...theory.errors import BadData, Underpowered
from ...theory.infinite_width.network_kernel import one_kernel
from ...theory.measured_spectra.cross_fitting import MOST_ROWS, cross_fit, in_sample, resampled
from ...theory.measured_spectra.estimate import NINETY_PERCENT
from ...theory.measured_spectra.log_slope import log_slope
from ...theory.measured_spectra.spectrum import Spectrum
from ..learning_curve import LearningCurve, learning_curve
from .cross_validation import cross_validation
from .levels import sizes as positive_sizes

ALLOWANCE = 0.05  # of log test error around the theory on real data, beyond the draw of rows
POPULATION_ALLOWANCE = 0.1  # the same for a finite population
WIDEST = float(np.log(1.5))  # a wider 90 % half-width is no forecast
TAIL = 0.1  # uncertainty of the slope of a tail that is not resolved
CHECK_DRAWS = 4
FEW_DRAWS = 3.18  # two-sided 95 % quantile of Student's t with three degrees of freedom
CHECK_SHARES = (1 / 8, 1 / 4, 1 / 2, 1.0)
LEAST_ROWS = 10
LEAST_GROUPS = 5  # rows are divided between fitting and judging by whole groups
LEAST_CHECKED = 20  # rows: with fewer, cross-validation itself is off
WHERE = "data curve"


@dataclass(frozen=True, eq=False)
class DataCurve:
    """A forecast learning curve; arrays are (T,), errors mean squared, summed over outputs, without the factor 1/2.

    `test`, `low`, `high`        forecast of the test error and its nominal 90 % interval
    `statistical`, `systematic`  parts of the half-width of log test: draw of rows; estimates, features and tail
    `trusted`, `reason`          the largest number of samples to trust, and what ends it there
    `curve`, `partner`           the two curves behind it, both of the error on fresh rows
    `checks`                     rows left out in turn and generalised cross-validation beside the forecast, by size
    `spectrum`                   the cross-fitted spectrum
    """

    sizes: np.ndarray
    test: np.ndarray
    low: np.ndarray
    high: np.ndarray
    statistical: np.ndarray
    systematic: np.ndarray
    trusted: float
    reason: str
    ridge: float
    curve: LearningCurve
    partner: LearningCurve
    spectrum: Spectrum
    checks: tuple[Mapping[str, Any], ...] = ()
    facts: Mapping[str, Any] = field(default_factory=dict)

    @property
    def slope(self) -> float:
        """Least-squares slope of log test error against log n over the sizes."""
        return log_slope(self.sizes, self.test)

    @property
    def half_width(self) -> np.ndarray:
        """Of log test error, (T,)."""
        return np.log(self.high / self.test)

    def to_dict(self) -> dict:
        arrays = ("sizes", "test", "low", "high", "statistical", "systematic")
        return {name: getattr(self, name).tolist() for name in arrays} | {
            "trusted": self.trusted,
            "reason": self.reason,
            "ridge": self.ridge,
            "curve": self.curve.to_dict(),
            "partner": self.partner.to_dict(),
            "spectrum": self.spectrum.to_dict(),
            "checks": [dict(check) for check in self.checks],
            "facts": dict(self.facts),
            "convention": "mean squared error without 1/2, summed over outputs, noise included",
        }

    def __str__(self) -> str:
        facts = self.facts
        kind = "the rows are the whole population" if facts["population"] else "fresh rows like these"
        lines = [
            f"Learning curve of {facts['rows']} rows, ridge {self.ridge:g}; test error on {kind}",
            f"{'n':>12} {'test':>11} {'90 % interval':>25} {'learned':>9}",
        ]
        shown = np.unique(np.linspace(0, len(self.sizes) - 1, min(7, len(self.sizes))).astype(int))
        for i in shown:
            mark = "" if self.sizes[i] <= self.trusted else "  not to be trusted"
            lines.append(
                f"{self.sizes[i]:>12.6g} {self.test[i]:>11.4e}   {self.low[i]:>10.4e} .. {self.high[i]:<8.3e}"
                f" {self.curve.learned[i]:>9.4g}{mark}"
            )
        lines.append(f"  trust it up to n = {self.trusted:.0f}: {self.reason}")
        for check in self.checks:
            lines.append(
                f"  left out at n = {check['size']}: {check['test']:.4e} (forecast {check['forecast']:.4e}, "
                f"generalised {check['generalised']:.4e}), kappa {check['kappa']:.2e} ({check['kappa_forecast']:.2e})"
            )
        return "\n".join(lines)

    __repr__ = __str__


def data_curve(
    kernel: Callable,
    x: Any,
    y: Any,
    sizes: Sequence[float] | None = None,
    ridge: float = 0.0,
    groups: Any = None,
    seed: int = 0,
    population: bool = False,
    resamples: int = 100,
) -> DataCurve:
    """The learning curve of kernel regression on data like these rows, with error bars; nothing is trained.

    `kernel`  function k(x1, x2=None) -> (n1, n2); a network stands for its tangent kernel
     `x` (P, d), `y` (P,) or (P, o);  `groups` (P,) independent blocks
    `sizes`   sample sizes, by default 12 from 10 to 4 P (to P/4 for a population)
    `ridge`   of K + ridge I
    `population`  the rows are all there is: samples are drawn from them, errors are those on all of them

    Errors: `BadData` for shapes, a constant target or sizes that are not positive; `Underpowered` for a target that is
    dominated by noise. References: see `theory.measured_spectra.spectrum` and `cross_validation`.

    >>> rng = np.random.default_rng(0)
    >>> x = rng.standard_normal((300, 40)) * np.arange(1, 41) ** -0.75
    >>> found = data_curve(lambda a, b=None: a @ (a if b is None else b).T, x, x @ np.ones(40), [20, 60], ridge=0.1)
    >>> print((found.low < found.test).all(), found.trusted > 20)
    True True
    """
    kernel = one_kernel(kernel, "ntk", WHERE)
    x, y, ridge = numbers(x, "x", WHERE), np.atleast_1d(numbers(y, "y", WHERE)), number(ridge, "ridge", WHERE)
    seed, resamples = whole(seed, "seed", WHERE), whole(resamples, "resamples", WHERE, least=2)
    y = y[:, None] if y.ndim == 1 else y
    if x.ndim != 2 or len(x) != len(y) or not (np.isfinite(x).all() and np.isfinite(y).all()):
        raise BadData(f"x {x.shape}, y {y.shape}", where=WHERE, remedy="give finite rows, one target each")
    if len(x) < LEAST_ROWS:
        raise BadData(f"{len(x)} rows", where=WHERE, remedy=f"give at least {LEAST_ROWS}")
    if groups is not None and len(groups) != len(x):
        raise BadData(f"{len(groups)} groups of {len(x)} rows", where=WHERE, remedy="name the group of every row")
    if groups is not None and len(np.unique(np.asarray(groups))) < LEAST_GROUPS:
        raise BadData("too few different groups", where=WHERE, remedy=f"give at least {LEAST_GROUPS}")
    usual = np.unique(np.round(np.geomspace(min(10, len(x) / 8), len(x) * (0.25 if population else 4.0), 12)))
    n = np.sort(positive_sizes(usual if sizes is None else sizes, WHERE))
    if not y.std(0).any():
        raise BadData("the target is constant", where=WHERE, remedy="give a target that varies")
    if population:
        return _of_population(kernel, x, y, n, float(ridge), seed)

    cross = cross_fit(kernel, x, y, seed=seed, groups=groups)
    every = in_sample(kernel, x, y, seed=seed, groups=groups)
    checks = [_checked(kernel, x, y, groups, int(m), ridge, seed) for m in _check_sizes(len(x), groups)]
    # sizes asked for, a grid on which trust is found, and the sizes of the checks: one curve for all
    grid = np.geomspace(1.0, 30.0 * len(x), 60)
    at = np.concatenate([n, grid, [check["size"] for check in checks]])
    curve, partner = (learning_curve(spectrum, sizes=at, ridge=ridge) for spectrum in (cross, every))
    test = np.sqrt(curve.test * partner.test)
    statistical = NINETY_PERCENT * np.sqrt(2) * _scatter(every, at, ridge, resamples, seed)
    gap = np.log(curve.test / partner.test) / 2
    # degrees of freedom stop growing where a ridge or a finite rank limits them: only what exceeds is extrapolated
    beyond = np.log(np.maximum(curve.learned / cross.resolved, 1.0))
    systematic = np.sqrt(gap**2 + ALLOWANCE**2 + (TAIL * beyond) ** 2)
    half = np.hypot(statistical, systematic)
    asked, searched, tried = slice(0, len(n)), slice(len(n), len(n) + len(grid)), slice(len(n) + len(grid), None)
    kappa = np.sqrt(curve.kappa * partner.kappa)
    compared = tuple(
        {
            **check,
            "forecast": float(e),
            "kappa_forecast": float(k),
            "half_width": float(np.hypot(h, FEW_DRAWS * check["error"])),
        }
        for check, e, k, h in zip(checks, test[tried], kappa[tried], half[tried], strict=True)
    )
    trusted, reason = _trusted(grid, curve.learned[searched], half[searched], cross.resolved, compared)
    forecast = test[asked]
    return DataCurve(
        n,
        forecast,
        forecast * np.exp(-half[asked]),
        forecast * np.exp(half[asked]),
        statistical[asked],
        systematic[asked],
        trusted,
        reason,
        float(ridge),
        learning_curve(cross, sizes=n, ridge=ridge),
        learning_curve(every, sizes=n, ridge=ridge),
        cross,
        compared,
        {"rows": len(x), "population": False, "grouped": groups is not None, "resamples": resamples, "seed": seed},
    )


def _scatter(every: Spectrum, n, ridge, resamples, seed):
    """Standard deviation of log test (T,) over resampled rows or groups: power refitted and carried to the curve."""
    path = every.path
    assert path is not None and path.shares is not None
    units = len(path.shares)
    rng, drawn = np.random.default_rng([seed, units]), []
    for _ in range(resamples):
        weights = rng.multinomial(units, np.full(units, 1 / units))
        drawn.append(np.log(learning_curve(resampled(every, weights), sizes=n, ridge=ridge).test))
    return np.std(drawn, axis=0, ddof=1)


def _check_sizes(rows, groups):
    """Shares of the rows, or of the number of groups: cross-validation takes its rows for independent."""
    units = min(rows if groups is None else len(np.unique(groups)), MOST_ROWS)
    return sorted({round(units * share) for share in CHECK_SHARES if units * share >= LEAST_CHECKED})


def _checked(kernel, x, y, groups, size, ridge, seed):
    """Cross-validation on a few draws of rows, no two of a group: means, and the error of log test."""
    found = []
    for draw in range(CHECK_DRAWS):
        rng = np.random.default_rng([seed, size, draw])
        order = rng.permutation(len(x))
        if groups is not None:
            order = order[np.unique(np.asarray(groups)[order], return_index=True)[1]]
            order = rng.permutation(order)
        chosen = order[:size]
        gram = kernel(x[chosen])
        least = 1e-12 * float(np.trace(gram))  # duplicates
        check = cross_validation(gram, y[chosen], max(ridge, least))
        found.append(np.log([check.left_out[0], check.test[0], check.kappa[0]]))
        if size == len(x):
            break  # every draw holds all rows
    mean = np.mean(found, axis=0)
    error = float(np.std(found, axis=0, ddof=1)[0] / np.sqrt(len(found))) if len(found) > 1 else 0.0
    left_out, generalised, kappa = map(float, np.exp(mean))
    return {"size": size, "test": left_out, "generalised": generalised, "kappa": kappa, "error": error}


def _trusted(grid, learned, half, resolved, checks):
    """Where trust ends, and why: the first of several reasons."""
    reasons = [(float(grid[-1]), f"no limit was met before n = {grid[-1]:.0f}")]
    beyond = learned > resolved
    if beyond.any():
        last = float(np.interp(resolved, learned, grid))
        reasons.append((last, f"beyond {resolved:.0f} degrees of freedom the spectrum is a power law continued"))
    wide = half > WIDEST
    if wide.any():
        start = int(np.argmax(wide))
        last = float(grid[start - 1]) if start else 0.0
        reasons.append((last, "beyond, the 90 % interval is wider than a factor 1.5 to either side"))
    agreed = 0.0
    for check in checks:
        gap = float(np.log(check["test"] / check["forecast"]))
        if abs(gap) > check["half_width"]:
            found = f"leaving out each of {check['size']} rows differs by {np.expm1(gap):+.0%}, outside the interval"
            reasons.append((agreed, found))
            break
        agreed = float(check["size"])
    return min(reasons, key=lambda reason: reason[0])


def _of_population(kernel, x, y, n, ridge, seed):
    """Samples drawn from the rows, errors on all of them: n/P of these are the training rows, the others are fresh.

    The exact spectrum of the rows takes them for independent draws of Gaussian features, which they are not where a
    mode sits on a few rows: at small ridges it forgets that training rows are fitted and others are not.
    """
    if n[-1] >= len(x):
        raise BadData(f"n = {n[-1]:g} of {len(x)} rows", where=WHERE, remedy="give sizes below the number of rows")
    every = in_sample(kernel, x, y, seed=seed)
    try:
        cross = cross_fit(kernel, x, y, seed=seed)
    except Underpowered:  # mostly noise: one estimate is left
        cross = every
    curve, partner = (learning_curve(spectrum, sizes=n, ridge=ridge) for spectrum in (cross, every))
    share = n / len(x)
    errors = [(1 - share) * one.test + share * one.train for one in (curve, partner)]
    test = np.sqrt(errors[0] * errors[1])
    half = np.hypot(np.log(errors[0] / errors[1]) / 2, POPULATION_ALLOWANCE)
    return DataCurve(
        n,
        test,
        test * np.exp(-half),
        test * np.exp(half),
        np.zeros(len(n)),
        half,
        len(x) / 4,
        "beyond a quarter of the population its rows are too few to be called fresh",
        ridge,
        curve,
        partner,
        cross,
        facts={"rows": len(x), "population": True, "grouped": False, "resamples": 0, "seed": seed},
    )
