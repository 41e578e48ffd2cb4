"""The user's own training log as a measurement: claims are judged on runs that this package did not make.

One row per recorded step, one column per observable. Components are `name[0]`, `name[1]`, ... (or a list in JSON);
columns "seed" and the claim's axis, if present, tell runs apart. Only steps that both log and forecast have are judged.

>>> import tempfile, pathlib
>>> path = pathlib.Path(tempfile.mkdtemp()) / "run.csv"
>>> _ = path.write_text("step,loss\\n0,1.0\\n10,0.5\\n20,0.25\\n")
>>> log = read_log(path)
>>> log.values("loss", steps=(0, 20)).tolist()
[[[[1.0], [0.25]]]]
>>> log.values("los", steps=(0,))
Traceback (most recent call last):
...
learning_mechanics.theory.errors.UnknownName: run.csv: unknown observable 'los'; did you mean 'loss'?
"""

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from ...solvers.prediction import Prediction
from ...theory.claims import Claim
from ...theory.errors import BadData, Underpowered, UnknownName, shortened
from ..experiments.experiment import Measurement, versions
from .tables import read_csv

FEWEST_POINTS = 5  # fewer common steps say nothing about a curve


@dataclass(frozen=True, eq=False)
class TrainingLog:
    """Columns of a log by name, one entry per recorded step of every run."""

    columns: Mapping[str, np.ndarray]
    name: str

    @property
    def observables(self) -> tuple[str, ...]:
        """Names of the recorded observables, components gathered."""
        return tuple(dict.fromkeys(_base(name) for name in self.columns if name not in ("step", "n", "seed")))

    @property
    def abscissa_name(self) -> str:
        return "step" if "step" in self.columns else "n"

    @property
    def seeds(self) -> tuple[int, ...]:
        """Seeds of the runs; a log without that column is one run."""
        return tuple(int(seed) for seed in np.unique(self.columns["seed"])) if "seed" in self.columns else (0,)

    @property
    def steps(self) -> tuple[float, ...]:
        """Steps recorded anywhere in the log."""
        return tuple(np.unique(self.columns[self.abscissa_name]).tolist())

    def values(self, observable: str, steps: Sequence[float], axis: str = "", points: Sequence[float] = ()):
        """The observable as (seed, axis value, step, component). Raises `BadData` if any run lacks a step."""
        components = sorted((name for name in self.columns if _base(name) == observable), key=_index)
        if not components:
            raise UnknownName.among(observable, self.observables, kind="observable", where=self.name)
        if axis and axis not in self.columns:
            raise BadData(
                f"no column {axis!r}", where=self.name, remedy=f"the claim compares runs at several {axis}: add it"
            )
        kept = [
            [self._run(components, steps, seed, axis, point) for point in (points if axis else (None,))]
            for seed in self.seeds
        ]
        return np.array(kept, float)

    def _run(self, components, steps, seed, axis, point) -> list[list[float]]:
        mine = np.ones(len(self.columns[self.abscissa_name]), bool)
        if "seed" in self.columns:
            mine &= self.columns["seed"] == seed
        if axis:
            mine &= np.isclose(self.columns[axis], point)
        recorded = self.columns[self.abscissa_name][mine].tolist()
        if len(set(recorded)) < len(recorded):
            twice = next(step for step in recorded if recorded.count(step) > 1)
            raise BadData(
                f"{self.abscissa_name} {twice:g} occurs twice in one run",
                where=self.name,
                remedy="tell runs apart with a column 'seed'",
            )
        missing = [step for step in steps if step not in recorded]
        if missing:
            at = f" at {axis} {point:g}" if axis else ""
            raise BadData(
                f"no {self.abscissa_name} {missing[0]:g} in run {seed}{at}",
                where=self.name,
                remedy="record every run at the same steps",
            )
        rows = np.flatnonzero(mine)[[recorded.index(step) for step in steps]]
        return [[float(self.columns[name][row]) for name in components] for row in rows]


def read_log(path: str | Path) -> TrainingLog:
    """Read `.csv`, `.json` (a list of records, or lists by name) or `.jsonl` (a record per line). Raises `BadData`."""
    path = Path(path)
    if not path.is_file():
        raise BadData("no such file", where=str(path), remedy="check the path")
    if path.suffix.lower() not in (".csv", ".json", ".jsonl"):
        raise UnknownName.among(path.suffix, (".csv", ".json", ".jsonl"), kind="log kind", where=path.name)
    columns = read_csv(path) if path.suffix.lower() == ".csv" else _from_json(path)
    if "step" not in columns and "n" not in columns:
        raise BadData(
            f"no column 'step' among {shortened(columns) or 'none'}", where=path.name, remedy="add the step number"
        )
    for name, column in columns.items():
        if column.dtype.kind not in "iufb":
            raise BadData(f"column {name!r} holds text", where=path.name, remedy="leave only numbers in the log")
        bad = np.flatnonzero(~np.isfinite(column))
        if len(bad):
            raise BadData(
                f"{column[bad[0]]} at row {int(bad[0])}, column {name!r}",
                where=path.name,
                remedy="cut the log before the run diverged or fill the entry",
            )
    return TrainingLog(columns, path.name)


def measured(log: TrainingLog, claim: Claim, *forecasts: Prediction) -> tuple[Measurement, tuple[Prediction, ...]]:
    """The log as a `Measurement` of the claim's observable, and the forecasts restricted to the steps it has."""
    abscissa = forecasts[0].abscissa
    common = np.flatnonzero(np.isin(abscissa, log.steps).all(0))
    needed = min(FEWEST_POINTS, abscissa.shape[1])
    if len(common) < needed:
        wanted = ", ".join(f"{step:g}" for step in abscissa[0][:6])
        raise Underpowered(
            f"{len(common)} recorded steps are also forecast and {needed} are needed",
            where=log.name,
            remedy=f"record every step, or at least {wanted}, ...",
        )
    # every value along the axis has its own steps: at twice the learning rate a time is reached in half of them
    settings = [
        log.values(claim.observable, steps[common].tolist(), claim.axis, (point,))
        for steps, point in zip(abscissa, claim.values if claim.axis else (0.0,), strict=True)
    ]
    values = np.concatenate(settings, axis=1)
    expected = forecasts[0].values.shape[3]
    if values.shape[3] != expected:
        raise BadData(
            f"{values.shape[3]} components of {claim.observable} and {expected} in the forecast",
            where=log.name,
            remedy=f"record {claim.observable}[0] to {claim.observable}[{expected - 1}]",
        )
    measurement = Measurement(
        values=values,
        abscissa=abscissa[:, common],
        abscissa_name=log.abscissa_name,
        observable=claim.observable,
        seeds=log.seeds,
        device="the user's log",
        dtype="as logged",
        seconds=0.0,
        precision="unknown",
        versions=versions(),
    )
    return measurement, tuple(_restricted(forecast, common) for forecast in forecasts)


def _restricted(forecast: Prediction, common: np.ndarray) -> Prediction:
    return replace(
        forecast,
        values=forecast.values[:, :, common],
        abscissa=forecast.abscissa[:, common],
        uncertainty=None if forecast.uncertainty is None else forecast.uncertainty[:, :, common],
    )


def _from_json(path: Path) -> dict[str, np.ndarray]:
    try:
        text = path.read_text(encoding="utf-8")
        lines = [line for line in text.splitlines() if line.strip()]
        content: Any = [json.loads(line) for line in lines] if path.suffix.lower() == ".jsonl" else json.loads(text)
    except (UnicodeDecodeError, json.JSONDecodeError) as error:
        raise BadData(f"not valid JSON ({error})", where=path.name, remedy="write it again") from None
    if isinstance(content, dict):
        lengths = {name: len(column) if isinstance(column, list) else -1 for name, column in content.items()}
        if -1 in lengths.values() or len(set(lengths.values())) > 1:
            raise BadData(f"columns have lengths {lengths}", where=path.name, remedy="give lists of equal length")
        content = [dict(zip(content, row, strict=True)) for row in zip(*content.values(), strict=True)]
    if not isinstance(content, list) or not content or not all(isinstance(record, dict) for record in content):
        raise BadData("no records", where=path.name, remedy='give a list like [{"step": 0, "loss": 1.0}, ...]')
    flat = [_spread(record) for record in content]
    for row, record in enumerate(flat):
        if record.keys() != flat[0].keys():
            name = sorted(record.keys() ^ flat[0].keys())[0]
            raise BadData(f"record {row} and record 0 differ in {name!r}", where=path.name, remedy="log the same names")
    return {name: np.array([record[name] for record in flat]) for name in flat[0]}


def _spread(record: Mapping[str, Any]) -> dict[str, Any]:
    spread: dict[str, Any] = {}
    for name, value in record.items():
        values = {f"{name}[{i}]": v for i, v in enumerate(value)} if isinstance(value, list) else {name: value}
        spread |= {key: np.nan if entry is None else entry for key, entry in values.items()}
    return spread


def _base(name: str) -> str:
    return re.sub(r"\[\d+\]$", "", name)


def _index(name: str) -> int:
    found = re.search(r"\[(\d+)\]$", name)
    return int(found[1]) if found else 0
