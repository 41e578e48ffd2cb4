"""The ledger: forecasts on disk before training, verdicts on disk as soon as they are reached.

The one rule: a forecast, once written, is never edited; a verdict carries the hash of the forecast it judged. An
interrupted run leaves everything that was finished, and the next one goes on from there.
"""

import json
import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from ...solvers.prediction import Prediction
from ...theory.errors import BadData, WouldOverwrite
from ..experiments.experiment import Measurement
from .verdict import Verdict, plain


class Ledger:
    """A folder with `forecasts/` and `verdicts/`, one JSON file a claim.

    `settings` say which run this is (seed, version, ...): a folder that belongs to another run is refused with
    `WouldOverwrite`, unless `force` starts it afresh.

    >>> import tempfile
    >>> ledger = Ledger(tempfile.mkdtemp(), settings={"seed": 0})
    >>> ledger.verdicts()
    []
    """

    def __init__(self, directory: str | Path, settings: Mapping[str, Any] | None = None, force: bool = False):
        self.directory = Path(directory)
        self.settings = plain(dict(settings or {}))
        known = self.directory / "settings.json"
        if force:
            self._clear()
        elif settings is not None and known.exists():
            found = _read(known)
            different = sorted(key for key in {*found, *self.settings} if found.get(key) != self.settings.get(key))
            if different:
                key = different[0]
                raise WouldOverwrite(
                    f"{self.directory} holds a run with {key} {found.get(key)!r}, not {self.settings.get(key)!r}",
                    remedy="choose another directory or pass --force",
                )
        if settings is not None and not known.exists():
            write(known, json.dumps(self.settings, indent=1))

    def register(self, prediction: Prediction, rival: Prediction | None = None) -> None:
        """Write both forecasts before training. An identical one is left alone; a different one is not replaced."""
        for forecast, path in ((prediction, self._forecast(prediction.theory, prediction.claim)),) + (
            ((rival, self._forecast(rival.theory, rival.claim, rival=True)),) if rival is not None else ()
        ):
            if path.exists():
                written = _read(path)["hash"]
                if written != forecast.hash:
                    raise WouldOverwrite(
                        f"{path} holds forecast {written[:12]}, and the new one is {forecast.hash[:12]}",
                        remedy="choose another directory or pass --force",
                    )
                continue
            write(path, json.dumps(forecast.to_dict()))

    def forecast(self, theory: str, claim: str, rival: bool = False) -> Prediction:
        """The forecast as written; one that was edited since raises `BadData`."""
        return Prediction.from_dict(_read(self._forecast(theory, claim, rival)))

    def record(self, verdict: Verdict, measurement: Measurement) -> Path:
        """Write a finished verdict with its measurement; its forecast must be the registered one."""
        self._match(verdict)
        path = self._verdict(verdict.theory, verdict.claim)
        write(path, json.dumps({"verdict": verdict.to_dict(), "measurement": plain(measurement.to_dict())}))
        return path

    def finished(self, theory: str, claim: str) -> tuple[Verdict, Measurement] | None:
        """The verdict reached earlier and what it judged, or None."""
        path = self._verdict(theory, claim)
        if not path.exists():
            return None
        record = _read(path)
        verdict = Verdict.from_dict(record["verdict"])
        self._match(verdict)
        return verdict, _measurement(record["measurement"])

    def verdicts(self) -> list[Verdict]:
        """All finished verdicts, by theory and claim."""
        return [Verdict.from_dict(_read(path)["verdict"]) for path in sorted(self.directory.glob("verdicts/*.json"))]

    def verify(self) -> int:
        """How many verdicts match the forecast on disk; the first that does not raises `BadData`."""
        verdicts = self.verdicts()
        for verdict in verdicts:
            self._match(verdict)
        return len(verdicts)

    def _match(self, verdict: Verdict) -> None:
        for rival, carried in ((False, verdict.forecast_hash), (True, verdict.rival_hash)):
            path = self._forecast(verdict.theory, verdict.claim, rival)
            if rival and not carried:
                continue
            found = self.forecast(verdict.theory, verdict.claim, rival).hash if path.exists() else "none"
            if found != carried:
                raise BadData(
                    f"the verdict judged forecast {carried[:12] or 'none'}, on disk is {found[:12]}",
                    where=f"{verdict.theory}/{verdict.claim}",
                    remedy="run the claim again in another directory",
                )

    def _forecast(self, theory: str, claim: str, rival: bool = False) -> Path:
        return self.directory / "forecasts" / f"{_file_name(theory, claim)}{'.rival' if rival else ''}.json"

    def _verdict(self, theory: str, claim: str) -> Path:
        return self.directory / "verdicts" / f"{_file_name(theory, claim)}.json"

    def _clear(self) -> None:
        for path in [*self.directory.glob("forecasts/*.json"), *self.directory.glob("verdicts/*.json")]:
            path.unlink()
        (self.directory / "settings.json").unlink(missing_ok=True)


def write(path: Path, text: str) -> None:
    """Write a file so that it is there completely or not at all."""
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(path.name + ".part")
    partial.write_text(text, encoding="utf-8")
    os.replace(partial, path)


def _read(path: Path) -> dict[str, Any]:
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        raise BadData(f"not readable as JSON ({error})", where=str(path), remedy="delete it and run again") from None


def _measurement(record: Mapping[str, Any]) -> Measurement:
    values = {key: value for key, value in record.items() if key != "matmul_precision"}
    values["values"], values["abscissa"] = (np.array(record[key], float) for key in ("values", "abscissa"))
    values["seeds"], values["versions"] = tuple(record["seeds"]), tuple(record["versions"].items())
    return Measurement(**values, precision=record["matmul_precision"])


def _file_name(theory: str, claim: str) -> str:
    return ".".join(re.sub(r"[^A-Za-z0-9_-]+", "-", name) for name in (theory, claim))
