"""What became of a forecast: the measured exponent beside it.

    z = (measured - forecast) / sqrt((error / 1.645)^2 + standard error^2),    covered: |measured - forecast| <= error.

Beside it stand what extrapolating the three smallest runs would have said of all of them, and nothing is left out: a
table of scores is summarised by its median miss, its largest, the share covered, and the same grouped by task.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from ...theory.errors import BadData
from .registered import Registered

NINETY_PERCENT = 1.645
NAIVE_RUNS = 3


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


def score(forecast: Registered, abscissa: Sequence[float], runs: np.ndarray, seconds: float = 0.0, **facts) -> Score:
    """Score a forecast by runs (R, T): losses of R repetitions at T sizes.

    The slope is that of the mean over repetitions; its error comes from leaving out one repetition at a time.

    >>> one = Registered.seal({"data": "d", "axis": "samples", "sizes": [10, 80]}, {"value": 0.9, "error": 0.2})
    >>> n = np.array([10.0, 20.0, 40.0, 80.0])
    >>> found = score(one, n, np.stack([1 / n, 1.02 / n, 0.98 / n]))
    >>> round(found.measured, 6), found.covered, round(found.naive, 6)
    (1.0, True, 1.0)
    """
    runs, sizes = np.asarray(runs, float), np.asarray(abscissa, float)
    if runs.ndim != 2 or runs.shape[1] != len(sizes) or len(sizes) < 2 or len(runs) < 2:
        raise BadData(
            f"runs {runs.shape} at {len(sizes)} sizes", where="score", remedy="give two runs or more at two sizes"
        )
    if not (np.isfinite(runs).all() and (runs > 0).all()):
        raise BadData("a loss that is not positive", where="score", remedy="leave out runs that diverged")
    left_out = [_slope(sizes, np.delete(runs, r, axis=0).mean(0)) for r in range(len(runs))]
    count = len(runs)
    few = slice(0, min(NAIVE_RUNS, len(sizes)))
    return Score(
        forecast=forecast.hash,
        name=forecast.name,
        task=str(forecast.question.get("data", "data")),
        predicted=float(forecast.answer["value"]),
        error=float(forecast.answer["error"]),
        measured=_slope(sizes, runs.mean(0)),
        standard_error=float(np.sqrt((count - 1) * np.var(left_out))),
        naive=_slope(sizes[few], runs.mean(0)[few]),
        abscissa=tuple(sizes.tolist()),
        values=tuple(runs.mean(0).tolist()),
        spread=tuple((runs.std(0, ddof=1) / np.sqrt(count)).tolist()),
        seconds=float(seconds),
        facts={"runs": count, **facts},
    )


def _slope(sizes: np.ndarray, losses: np.ndarray) -> float:
    return float(-np.polyfit(np.log(sizes), np.log(losses), 1)[0])


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
        inside = sum(score.covered for score in self.scores)
        return "\n".join(
            [
                f"{len(self.scores)} forecasts: {inside} inside their 90 % interval ({found['coverage']:.0%})",
                f"  |miss|      median {found['median_miss']:.3f}, largest {found['largest_miss']:.3f}; "
                f"median half-width {found['median_half_width']:.3f}",
                f"  beside it   one constant exponent, chosen afterwards: median {self.constant:.3f}; "
                f"the three smallest runs: {self.naive:.3f}",
            ]
        )
