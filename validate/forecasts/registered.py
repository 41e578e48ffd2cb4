"""A forecast on record: the question, the answer, the date, and a hash that makes every later change visible.

    hash = SHA-256 of (format, version, registered, question, answer, previous),   `previous` = hash of the one before.

The chain of hashes says in which order forecasts were made, and that none was taken out.
"""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from ...theory.errors import BadData
from ..judging.verdict import plain

FORMAT = "learning-mechanics forecast 1"
FIELDS = ("format", "version", "registered", "question", "answer", "previous")


@dataclass(frozen=True)
class Registered:
    """A forecast that can no longer be changed.

    `question`    what was asked: data (name, SHA-256), learner, axis, sizes, split
    `answer`      exponent: `value`, `error` (nominal 90 % half-width), and the curve behind it
    `registered`  date and time, UTC;  `previous`: hash of the forecast registered before, "" for the first
    `hash`        of all of the above

    >>> one = Registered.seal({"data": "digits_parity"}, {"value": 0.5, "error": 0.1})
    >>> Registered.from_dict(one.to_dict()) == one, len(one.hash)
    (True, 64)
    >>> Registered.from_dict({**one.to_dict(), "answer": {"value": 0.4, "error": 0.1}})
    Traceback (most recent call last):
    ...
    learning_mechanics.theory.errors.BadData: forecast: its hash is not that of its content: it was edited after it \
was registered; register a new one
    """

    question: Mapping[str, Any]
    answer: Mapping[str, Any]
    registered: str
    previous: str
    version: str
    hash: str = field(compare=True)

    @classmethod
    def seal(cls, question: Mapping[str, Any], answer: Mapping[str, Any], previous: str = "") -> "Registered":
        """Date and hash a forecast, now."""
        from ... import __version__

        now = datetime.now(UTC).isoformat(timespec="seconds")
        body = (FORMAT, __version__, now, plain(dict(question)), plain(dict(answer)), previous)
        content = dict(zip(FIELDS, body, strict=True))
        return cls(content["question"], content["answer"], now, previous, __version__, digest(content))

    @classmethod
    def from_dict(cls, content: Mapping[str, Any], where: str = "forecast") -> "Registered":
        """The forecast as it was written; raises `BadData` if it is none or was edited since."""
        missing = [name for name in (*FIELDS, "hash") if not isinstance(content, Mapping) or name not in content]
        if missing or content["format"] != FORMAT:
            found = f"no {missing[0]!r}" if missing else f"format {content['format']!r}"
            raise BadData(found, where=where, remedy="give a file that `predict --register` wrote")
        if digest({name: content[name] for name in FIELDS}) != content["hash"]:
            raise BadData(
                "its hash is not that of its content: it was edited after it was registered",
                where=where,
                remedy="register a new one",
            )
        names = ("question", "answer", "registered", "previous", "version", "hash")
        return cls(**{name: content[name] for name in names})

    @property
    def name(self) -> str:
        """Data, kernel and axis, for tables: "digits_parity, ntk-relu, depth 2, samples"."""
        parts = (self.question.get(part) for part in ("data", "kernel", "axis"))
        return ", ".join(str(part) for part in parts if part)

    def to_dict(self) -> dict[str, Any]:
        return {
            "format": FORMAT,
            "version": self.version,
            "registered": self.registered,
            "question": dict(self.question),
            "answer": dict(self.answer),
            "previous": self.previous,
            "hash": self.hash,
        }

    def __str__(self) -> str:
        value, error = self.answer["value"], self.answer["error"]
        asked, axis = self.question, self.question["axis"]
        rows = f" ({asked['probe_rows']} of {asked['rows']} rows)" if "probe_rows" in asked else ""
        lines = [f"Registered forecast {self.hash[:12]} of {self.registered}", f"  data      {asked['data']}{rows}"]
        if "learner" in asked:
            lines.append(f"  learner   {asked['learner']}")
        lines.append(f"  exponent  {axis}^-({value:.3f} +- {error:.3f}), nominal 90 %")
        if asked.get("sizes"):
            lines.append(f"  window    {axis} = {asked['sizes'][0]:g} .. {asked['sizes'][-1]:g}")
        return "\n".join(lines)


def digest(content: Mapping[str, Any]) -> str:
    """SHA-256 of the content as canonical JSON: keys in order, no spaces, numbers as Python writes them."""
    text = json.dumps(plain(dict(content)), sort_keys=True, separators=(",", ":"), allow_nan=False)
    return hashlib.sha256(text.encode()).hexdigest()
