"""Verdicts of `validate` as they come: an interrupted run leaves the finished ones on disk and can be gone on with.

Beside the file to be written lies `<name>.unfinished` until every claim is judged; it says which run it belongs to.
"""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from .console import write


class Record:
    """Finished claims by name, on disk if `path` is given. `terms` say which run this is; another one starts afresh.

    >>> record = Record(None, {"seed": 0})
    >>> record.add("drift", {"verdict": {"theory": "deep-linear", "claim": "drift", "outcome": "holds"}})
    >>> record.verdict("drift").outcome
    'holds'
    """

    def __init__(self, path: Path | None, terms: Mapping[str, Any]):
        self.path, self.terms = path, dict(terms)
        self.partial = path.with_name(path.name + ".unfinished") if path else None
        self.finished: dict[str, Mapping[str, Any]] = self._found()

    def add(self, claim: str, content: Mapping[str, Any]) -> None:
        """Keep what was found about a claim."""
        self.finished[claim] = content
        if self.partial:
            write(self.partial, {"terms": self.terms, "finished": self.finished})

    def verdict(self, claim: str):
        """The verdict on a finished claim."""
        from .validate.judging.verdict import Verdict

        return Verdict.from_dict(self.finished[claim]["verdict"])

    def close(self, claims: Sequence[str]) -> None:
        """Write the file itself, in the order asked for, and drop what was kept for an interruption."""
        if self.path and self.partial:
            write(self.path, [self.finished[claim] for claim in claims])
            self.partial.unlink(missing_ok=True)

    def _found(self) -> dict[str, Mapping[str, Any]]:
        try:
            content = json.loads(self.partial.read_text(encoding="utf-8")) if self.partial else {}
            return dict(content["finished"]) if content and content["terms"] == self.terms else {}
        except (OSError, ValueError, KeyError, TypeError):  # none, or not ours: the claims are judged anew
            return {}
