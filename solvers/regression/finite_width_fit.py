r"""Corrections to infinite width fitted to measured deviations: d(N) = c_1/N + c_2/N^2, with honest intervals.

Weighted least squares over widths; `exponents` (1, 2) for means over networks, (1/2,) for the scatter of one network. A
forecast at another width carries two errors: the statistical one, scaled up where the fit is worse than its error bars
allow, and the change of the forecast when the smallest width is left out, which is what the powers beyond the last one
would do. The numbers are calibrated, not derived: they say nothing that the fitted widths did not.

>>> widths = np.array([8.0, 16.0, 32.0, 64.0])
>>> fit = fit_widths(widths, 3 / widths - 5 / widths**2, np.full(4, 1e-3))
>>> np.round(fit.coefficients, 9)
array([ 3., -5.])
>>> fit.at(128.0)[0].round(6)
np.float64(0.023132)
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from scipy.special import gammaincc

from ...theory.errors import BadData

NORMAL_95 = 1.96


@dataclass(frozen=True, eq=False)
class WidthFit:
    """Coefficients of N^-exponent with their covariance, the chi-square per degree of freedom and its p-value."""

    exponents: tuple[float, ...]
    coefficients: np.ndarray
    covariance: np.ndarray
    chi_square: float
    p_value: float
    widths: tuple[float, ...]
    coarse: "WidthFit | None" = None
    calibrated: bool = True

    @property
    def intervals(self) -> np.ndarray:
        """Half-widths of the 95 % intervals of the coefficients, statistics alone."""
        return NORMAL_95 * np.sqrt(np.diag(self.covariance))

    def at(self, widths) -> tuple[np.ndarray, np.ndarray]:
        """Forecast deviations at other widths, and half-widths of their 95 % intervals."""
        powers = _powers(widths, self.exponents)
        value = powers @ self.coefficients
        half = NORMAL_95 * np.sqrt(np.einsum("...i,ij,...j->...", powers, self.covariance, powers))
        if self.coarse is not None:
            half = half + np.abs(value - powers @ self.coarse.coefficients)
        return value, half

    def __str__(self) -> str:
        terms = " + ".join(
            f"({c:.4g} +- {e:.2g}) N^-{p:g}"
            for c, e, p in zip(self.coefficients, self.intervals, self.exponents, strict=True)
        )
        widths = ", ".join(f"{width:g}" for width in self.widths)
        return f"d(N) = {terms}\ncalibrated on N = {widths}; chi-square {self.chi_square:.2g} (p = {self.p_value:.2g})"


def fit_widths(widths, deviations, errors, exponents: Sequence[float] = (1.0, 2.0)) -> WidthFit:
    """Fit deviations (W,) from infinite width, with standard errors (W,), by powers N^-exponent.

    Errors: `BadData` for fewer widths than one more than coefficients, and for errors that are not positive.
    """
    widths, deviations, errors = (np.asarray(values, float) for values in (widths, deviations, errors))
    if len(set(widths)) < len(exponents) + 1:
        raise BadData(
            f"{len(set(widths))} widths for {len(exponents)} coefficients",
            where="fit_widths",
            remedy=f"measure at {len(exponents) + 1} widths or more",
        )
    if not (widths.shape == deviations.shape == errors.shape and (errors > 0).all() and (widths > 0).all()):
        raise BadData("shapes or signs do not fit", where="fit_widths", remedy="give a positive error for every width")
    if not (np.isfinite(deviations).all() and np.isfinite(errors).all()):
        raise BadData("a deviation is not finite", where="fit_widths", remedy="leave out runs that diverged")
    kept = widths > widths.min()
    coarse = None
    if len(set(widths[kept])) > len(exponents):
        coarse = _least_squares(widths[kept], deviations[kept], errors[kept], exponents, None)
    return _least_squares(widths, deviations, errors, exponents, coarse)


def deviations(samples: Mapping[int, np.ndarray], limit: float) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Widths, mean deviations from the limit and their standard errors, from samples (seeds,) at every width.

    >>> deviations({4: np.array([1.0, 3.0]), 8: np.array([1.5, 2.5])}, limit=1.0)[1]
    array([1., 1.])
    """
    for width, values in samples.items():
        if len(values) < 2:
            raise BadData(f"{len(values)} network of width {width}", where="deviations", remedy="give two or more")
    widths = np.array(sorted(samples), float)
    means = np.array([np.mean(samples[int(width)]) - limit for width in widths])
    errors = np.array([np.std(samples[int(width)], ddof=1) / np.sqrt(len(samples[int(width)])) for width in widths])
    return widths, means, errors


def _powers(widths, exponents) -> np.ndarray:
    return np.asarray(widths, float)[..., None] ** -np.asarray(exponents, float)


def _least_squares(widths, values, errors, exponents, coarse) -> WidthFit:
    design = _powers(widths, exponents) / errors[:, None]
    scale = np.linalg.norm(design, axis=0)  # powers differ by orders of magnitude
    left, singular, right = np.linalg.svd(design / scale, full_matrices=False)
    coefficients = (right.T / singular) @ (left.T @ (values / errors)) / scale
    covariance = (right.T / singular**2) @ right / np.outer(scale, scale)
    free = len(widths) - len(exponents)
    total = float((((values - _powers(widths, exponents) @ coefficients) / errors) ** 2).sum())
    reduced = total / free
    return WidthFit(
        tuple(float(power) for power in exponents),
        coefficients,
        covariance * max(1.0, reduced),  # worse than its error bars: they are too small
        reduced,
        float(gammaincc(free / 2, total / 2)),
        tuple(float(width) for width in widths),
        coarse,
    )
