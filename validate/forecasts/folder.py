"""A folder of forecasts and of the scores they later got: append only.

`forecasts/NNNN-<hash>.json` are chained by their hashes and read-only; `scores/<hash>/NN.json` are measurements, every
one kept. Nothing here edits, replaces or deletes a file.
"""

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ...theory.arguments import number
from ...theory.errors import BadData, WouldOverwrite
from ..judging.verdict import plain
from .registered import Registered
from .score import Score


class ForecastFolder:
    """Registered forecasts on disk, in the order they were made, with their scores.

    >>> import tempfile
    >>> folder = ForecastFolder(tempfile.mkdtemp())
    >>> one = folder.register({"data": "digits_parity", "axis": "samples"}, {"value": 0.5, "error": 0.1})
    >>> two = folder.register({"data": "terrain", "axis": "samples"}, {"value": 0.2, "error": 0.1})
    >>> two.previous == one.hash, folder.verify()
    (True, 2)
    >>> folder.register({"data": "terrain", "axis": "samples"}, {"value": 0.3, "error": 0.1})
    Traceback (most recent call last):
    ...
    learning_mechanics.theory.errors.WouldOverwrite: this question was answered on ...: terrain, samples; a registered \
forecast is not edited: ask another question or start another folder
    """

    def __init__(self, directory: str | Path):
        self.directory = Path(directory)
        if self.directory.exists() and not self.directory.is_dir():
            raise BadData("this is a file", where=str(self.directory), remedy="name a folder of forecasts")

    def register(self, question: Mapping[str, Any], answer: Mapping[str, Any]) -> Registered:
        """Write a forecast down. The same question with the same answer is left as it stands.

        Raises `WouldOverwrite` if the question was answered differently before; `BadData` if the chain is broken, the
        question names no data and axis, or the answer holds no number with its error: records are for good.
        """
        question, answer = _complete(question, answer)
        standing = self.forecasts()
        for old in standing:
            if old.question == question:
                if _told(old.answer) == _told(answer):
                    return old
                raise WouldOverwrite(
                    f"this question was answered on {old.registered}: {old.name}",
                    remedy="a registered forecast is not edited: ask another question or start another folder",
                )
        made = Registered.seal(question, answer, standing[-1].hash if standing else "")
        path = self.directory / "forecasts" / f"{len(standing) + 1:04d}-{made.hash[:12]}.json"
        _append(path, made.to_dict())
        return made

    def forecasts(self) -> list[Registered]:
        """All forecasts in order; raises `BadData` at the first that was edited, renamed or taken out."""
        found: list[Registered] = []
        for path in sorted((self.directory / "forecasts").glob("*.json")):
            one = Registered.from_dict(_read(path), str(path))
            before = found[-1].hash if found else ""
            if one.previous != before or path.name != f"{len(found) + 1:04d}-{one.hash[:12]}.json":
                raise BadData(
                    f"it follows {one.previous[:12] or 'none'}, but the one before is {before[:12] or 'none'}",
                    where=str(path),
                    remedy="restore the forecast that was taken out, or start another folder",
                )
            found.append(one)
        return found

    def record(self, forecast: Registered, score: Score) -> Path:
        """Add a score to those the forecast already has."""
        if score.forecast != forecast.hash:
            raise BadData(
                f"a score of forecast {score.forecast[:12]}, not of {forecast.hash[:12]}",
                where="score",
                remedy="score the forecast that is on record",
            )
        folder = self.directory / "scores" / forecast.hash[:12]
        path = folder / f"{len(list(folder.glob('*.json'))) + 1:02d}.json"
        _append(path, score.to_dict())
        return path

    def scores(self, forecast: Registered) -> list[Score]:
        """Every score of one forecast, in order."""
        folder = self.directory / "scores" / forecast.hash[:12]
        return [Score.from_dict(_read(path)) for path in sorted(folder.glob("*.json"))]

    def verify(self) -> int:
        """How many forecasts stand as they were written, with all scores theirs; the first that does not raises."""
        standing = self.forecasts()
        for forecast in standing:
            for score in self.scores(forecast):
                if score.forecast != forecast.hash:
                    raise BadData("a score of another forecast", where=forecast.name, remedy="score it again")
        return len(standing)


def _complete(question: Mapping[str, Any], answer: Mapping[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
    """Both as plain JSON, if nothing is missing that scores and tables need."""
    for content, names in ((question, ("data", "axis")), (answer, ("value", "error"))):
        for name in names:
            if not isinstance(content, Mapping) or name not in content:
                raise BadData(f"no {name!r}", where="register", remedy="give a question and an answer as `ask` does")
    number(abs(answer["value"]) if isinstance(answer["value"], float | int) else answer["value"], "value", "register")
    number(answer["error"], "error", "register")
    return plain(dict(question)), plain(dict(answer))


def _told(answer: Mapping[str, Any]) -> tuple:
    """What an answer claims; its curve may differ in the last digit between machines."""
    return round(answer["value"], 6), round(answer["error"], 6)


def _append(path: Path, content: Mapping[str, Any]) -> None:
    """Write a new file that is there completely or not at all, and never again touched."""
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(path.name + ".part")
    partial.write_text(json.dumps(plain(dict(content)), indent=1, allow_nan=False), encoding="utf-8")
    partial.chmod(0o444)
    try:
        os.link(partial, path)  # fails if the file is there, whoever else is writing
    except FileExistsError:
        raise WouldOverwrite(f"{path} exists", remedy="someone else wrote it just now: run the command again") from None
    finally:
        partial.unlink()


def _read(path: Path) -> dict[str, Any]:
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        raise BadData(f"not readable as JSON ({error})", where=str(path), remedy="restore it from a copy") from None
