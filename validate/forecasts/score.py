"""What became of a forecast: the measured exponent beside it.

    z = (measured - forecast) / sqrt((error / 1.645)^2 + standard error^2),    covered: |measured - forecast| <= error.

Beside it stand what extrapolating the three smallest runs would have said of all of them, and nothing is left out: a
table of scores is summarised by its median miss, its largest, the share covered, and the same grouped by task.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from scipy.stats import binom

from ...theory.errors import BadData
from ...theory.measured_spectra.estimate import NINETY_PERCENT
from ...theory.measured_spectra.log_slope import log_slope
from ..tasks.measured import Measured
from .registered import Registered


@dataclass(frozen=True)
class Score:
    """A measured exponent beside the forecast one.

    `forecast`   hash of the forecast;  `name`, `task`: what it was about
    `predicted`, `error`          its value and nominal 90 % half-width
    `measured`, `standard_error`  of the runs over the same sizes
    `naive`      exponent through the three smallest runs alone
    `abscissa`, `values`, `spread`  runs: sizes (T,), mean losses (T,), their standard errors (T,)
    """

    forecast: str
    name: str
    task: str
    predicted: float
    error: float
    measured: float
    standard_error: float
    naive: float
    abscissa: tuple[float, ...]
    values: tuple[float, ...]
    spread: tuple[float, ...]
    seconds: float = 0.0
    facts: Mapping[str, Any] = field(default_factory=dict)

    @property
    def miss(self) -> float:
        return self.measured - self.predicted

    @property
    def covered(self) -> bool:
        return bool(abs(self.miss) <= self.error)

    @property
    def z(self) -> float:
        return float(self.miss / np.hypot(self.error / NINETY_PERCENT, self.standard_error))

    def to_dict(self) -> dict[str, Any]:
        stored = {name: getattr(self, name) for name in self.__dataclass_fields__}
        return stored | {"miss": self.miss, "covered": self.covered, "z": self.z}

    @classmethod
    def from_dict(cls, content: Mapping[str, Any]) -> "Score":
        """The score as it was written; raises `BadData` if it is none."""
        missing = [name for name in cls.__dataclass_fields__ if not isinstance(content, Mapping) or name not in content]
        if missing:
            raise BadData(f"no {missing[0]!r}", where="score", remedy="give what to_dict made")
        kept = {name: content[name] for name in cls.__dataclass_fields__}
        for name in ("abscissa", "values", "spread"):
            kept[name] = tuple(kept[name])
        return cls(**kept)

    def __str__(self) -> str:
        inside = "inside" if self.covered else "OUTSIDE"
        return "\n".join(
            [
                f"{self.name}: forecast {self.predicted:.3f} +- {self.error:.3f}, measured {self.measured:.3f} +- "
                f"{self.standard_error:.3f}",
                f"  {inside} the interval, miss {self.miss:+.3f}, z = {self.z:+.2f}; "
                f"three smallest runs: {self.naive:.3f}",
            ]
        )


def score(forecast: Registered, measured: Measured, **facts: Any) -> Score:
    """Score a forecast by what was measured.

    Where fewer sizes were run than were asked about, the forecast is the slope of its registered curves over these.
    Errors: `BadData` for another axis, or sizes the forecast did not speak of.

    >>> n = np.array([10.0, 20.0, 40.0, 80.0])
    >>> asked = {"data": "d", "axis": "samples", "sizes": list(n)}
    >>> one = Registered.seal(asked, {"value": 0.9, "error": 0.2, "curves": [list(n**-0.8), list(n**-1.0)]})
    >>> found = score(one, Measured("samples", n, np.stack([1 / n, 1.02 / n, 0.98 / n]), "example"))
    >>> round(found.measured, 6), found.covered, round(found.naive, 6)
    (1.0, True, 1.0)
    """
    asked = np.asarray(forecast.question["sizes"], float)
    if measured.axis != forecast.question["axis"] or not np.isin(measured.abscissa, asked).all():
        raise BadData(
            f"runs along {measured.axis} at {measured.abscissa}",
            where="score",
            remedy=f"measure along {forecast.question['axis']} at {asked}",
        )
    return Score(
        forecast=forecast.hash,
        name=forecast.name,
        task=str(forecast.question.get("data", "data")),
        predicted=_predicted(forecast, asked, measured.abscissa),
        error=float(forecast.answer["error"]),
        measured=measured.exponent,
        standard_error=measured.exponent_error,
        naive=measured.naive,
        abscissa=tuple(measured.abscissa.tolist()),
        values=tuple(measured.mean.tolist()),
        spread=tuple(measured.error.tolist()),
        seconds=float(measured.seconds),
        facts={"runs": len(measured.values), "procedure": measured.procedure, **facts},
    )


def _predicted(forecast: Registered, asked: np.ndarray, run: np.ndarray) -> float:
    """The registered value, or over fewer sizes the mean slope of the curves registered with it."""
    if len(run) == len(asked):
        return float(forecast.answer["value"])
    curves = np.asarray(forecast.answer["curves"], float)[:, np.isin(asked, run)]
    return float(-np.mean([log_slope(run, curve) for curve in curves]))


@dataclass(frozen=True)
class Summary:
    """Scores of many forecasts at once.

    `constant`  median miss of the best single exponent for all of them: chosen with hindsight, so hard to beat
    """

    scores: tuple[Score, ...]

    @property
    def misses(self) -> np.ndarray:
        return np.array([abs(score.miss) for score in self.scores])

    @property
    def coverage(self) -> float:
        return float(np.mean([score.covered for score in self.scores]))

    @property
    def believable(self) -> bool:
        """Whether so many misses happen in at least 1 % of the cases where intervals do cover 90 %."""
        outside = len(self.scores) - sum(score.covered for score in self.scores)
        return bool(binom.sf(outside - 1, len(self.scores), 0.1) >= 0.01 * (1 - 1e-9)) if outside else True

    @property
    def constant(self) -> float:
        measured = np.array([score.measured for score in self.scores])
        return float(np.median(np.abs(measured - np.median(measured))))

    @property
    def naive(self) -> float:
        return float(np.median([abs(score.naive - score.measured) for score in self.scores]))

    def by_task(self) -> dict[str, float]:
        """Median miss of every task."""
        tasks = sorted({score.task for score in self.scores})
        return {task: float(np.median([abs(s.miss) for s in self.scores if s.task == task])) for task in tasks}

    def to_dict(self) -> dict[str, Any]:
        return {
            "forecasts": len(self.scores),
            "median_miss": float(np.median(self.misses)),
            "largest_miss": float(self.misses.max()),
            "median_half_width": float(np.median([score.error for score in self.scores])),
            "coverage": self.coverage,
            "median_miss_of_a_constant": self.constant,
            "median_miss_of_three_smallest_runs": self.naive,
            "median_miss_by_task": self.by_task(),
        }

    def __str__(self) -> str:
        if not self.scores:
            return "no forecast was scored"
        found = self.to_dict()
        inside, count = sum(score.covered for score in self.scores), len(self.scores)
        return "\n".join(
            [
                f"{count} forecast{'s' * (count != 1)}: {inside} inside their 90 % interval ({found['coverage']:.0%})",
                f"  |miss|      median {found['median_miss']:.3f}, largest {found['largest_miss']:.3f}; "
                f"median half-width {found['median_half_width']:.3f}",
                f"  beside it   one constant exponent, chosen afterwards: median {self.constant:.3f}; "
                f"the three smallest runs: {self.naive:.3f}",
            ]
        )
