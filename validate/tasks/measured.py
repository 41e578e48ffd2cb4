"""What was measured on a task: test errors along one axis, run by run, with the exponent and its error.

    test ~ axis^-exponent    by least squares of log mean test error on log abscissa.

>>> found = Measured("samples", np.array([10.0, 20.0, 40.0]), np.array([[4.0, 2.0, 1.0], [4.4, 2.2, 1.1]]), "example")
>>> print(round(found.exponent, 6), round(found.exponent_error, 6))
1.0 0.0
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np

from ...solvers.scaling.axis_law import NAIVE_RUNS
from ...theory.errors import BadData, UnknownName
from ...theory.measured_spectra.log_slope import log_slope
from ...theory.mechanisms.forecast import AXES


@dataclass(frozen=True, eq=False)
class Measured:
    """Test errors of R runs at T points of an axis; errors are mean squared, summed over outputs, without 1/2.

    `axis`       "samples", "parameters", "steps" or "compute"
    `abscissa`   (T,) ascending: training samples, features or neurons, time eta k
    `values`     (R, T), one row a run: training set, features and initial weights drawn anew
    `procedure`  what was done, in words
    `seconds`    that it took
    """

    axis: str
    abscissa: np.ndarray
    values: np.ndarray
    procedure: str
    seconds: float = 0.0
    facts: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self):
        if self.axis not in AXES:
            raise UnknownName.among(self.axis, AXES, kind="axis", where="measured errors")
        if self.values.ndim != 2 or self.values.shape[1] != len(self.abscissa):
            raise BadData(
                f"values {self.values.shape} at {len(self.abscissa)} points",
                where="measured errors",
                remedy="give (runs, points)",
            )

    @property
    def mean(self) -> np.ndarray:
        """Mean over runs, (T,)."""
        return self.values.mean(0)

    @property
    def error(self) -> np.ndarray:
        """Standard error of the mean over runs, (T,); infinite for a single run."""
        runs = len(self.values)
        if runs < 2:
            return np.full(len(self.abscissa), np.inf)
        return self.values.std(0, ddof=1) / np.sqrt(runs)

    @property
    def slope(self) -> float:
        """Least-squares slope of log mean error on log abscissa."""
        return self._slope(self.mean)

    @property
    def exponent(self) -> float:
        """Minus the slope."""
        return -self.slope

    @cached_property
    def exponent_error(self) -> float:
        """Standard error of the slope over runs, by leaving each out in turn; infinite for a single run.

        Runs on one pool of rows share it: what another pool would give scatters more.
        """
        runs = len(self.values)
        if runs < 2:
            return np.inf
        total = self.values.sum(0)
        left_out = [self._slope((total - run) / (runs - 1)) for run in self.values]
        return float(np.sqrt((runs - 1) * np.var(left_out)))

    @property
    def naive(self) -> float:
        """Exponent of the three smallest points alone: what extrapolating small runs would say."""
        return -self._slope(self.mean, slice(NAIVE_RUNS))

    def within(self, low: float, high: float) -> "Measured":
        """The same between two abscissae, both included.

        Errors: `BadData` with fewer than two points.
        """
        inside = (self.abscissa >= low) & (self.abscissa <= high)
        if inside.sum() < 2:
            raise BadData(
                f"{inside.sum()} points between {low:g} and {high:g}",
                where="measured errors",
                remedy=f"ask within {self.abscissa[0]:g} .. {self.abscissa[-1]:g}",
            )
        return Measured(
            self.axis, self.abscissa[inside], self.values[:, inside], self.procedure, self.seconds, self.facts
        )

    def to_dict(self) -> dict:
        return {
            "axis": self.axis,
            "abscissa": self.abscissa.tolist(),
            "values": self.values.tolist(),
            "exponent": self.exponent,
            "exponent_error": self.exponent_error if np.isfinite(self.exponent_error) else None,
            "procedure": self.procedure,
            "seconds": self.seconds,
            "facts": dict(self.facts),
            "convention": "mean squared error without 1/2, summed over outputs",
        }

    def __str__(self) -> str:
        low, high = self.abscissa[0], self.abscissa[-1]
        return (
            f"{self.axis}^-({self.exponent:.3f} +- {self.exponent_error:.3f}) for {low:.4g} .. {high:.4g}, "
            f"{len(self.values)} runs: {self.procedure}"
        )

    __repr__ = __str__

    def _slope(self, errors: np.ndarray, points: slice = slice(None)) -> float:
        if not (errors > 0).all():
            raise BadData("test errors that are not above 0", where="measured errors", remedy="drop those points")
        return log_slope(self.abscissa[points], errors[points])
