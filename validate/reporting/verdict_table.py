"""Verdicts of one or more reports as one Markdown table, and its place in a document.

A row is a claim, or in the short table a model; every report (one per device) adds a column with its outcome. Numbers
are those of the first report. A document says which table it wants: <!-- verdicts --> or <!-- verdicts by model -->.
"""

import json
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ...theory.errors import BadData, WouldOverwrite
from ...theory.model import models
from ..judging.verdict import Verdict
from .report_page import quantity
from .typesetting import proper, prose

LAST = Path("learning-mechanics-report")
MARKERS = re.compile(r"(<!-- verdicts\b[^>]*-->\n)(.*?)(<!-- end of verdicts -->)", re.DOTALL)
MARKS = {"holds": "✓ holds", "refuted": "✗ refuted", "underpowered": "underpowered", "outside_domain": "outside domain"}


def read_verdicts(path: Path) -> list[Verdict]:
    """Verdicts in a report's folder (finished or not), in its `report.json`, or in a file of verdicts, model by model.

    Errors: `BadData` for what holds no verdicts; in a folder, files that cannot be read are left out.
    """
    path = Path(path)
    if path.is_dir():
        whole = [file for file in (path / "verdicts.json", path / "report.json") if file.exists()]
        sources = sorted(path.glob("verdicts/*.json")) or whole[:1] or sorted(path.glob("*.json"))
    else:
        sources = [path]
    found: dict[tuple[str, str], Verdict] = {}
    for source in sources:
        try:
            content = json.loads(source.read_text(encoding="utf-8"))
            for verdict in map(Verdict.from_dict, _records(content)):
                found.setdefault((verdict.theory, verdict.claim), verdict)
        except (OSError, ValueError, TypeError):
            if source == path:
                raise BadData("no JSON with verdicts", where=str(path), remedy="name a report's folder") from None
    if not found:
        raise BadData("holds no verdicts", where=str(path), remedy="run learning-mechanics report, or name its folder")
    order = [(m.model_name(), claim.name) for m in models() for claim in m().claims()]
    place = {key: index for index, key in enumerate(order)}
    return sorted(found.values(), key=lambda v: place.get((v.theory, v.claim), len(place)))


def markdown(reports: Sequence[Sequence[Verdict]]) -> str:
    """The table in Markdown, ending in a line break.

    >>> made = Verdict("m", "c", "It falls.", "holds", bias=0.01, budget={"total": 0.02}, device="cpu: cpu")
    >>> print(markdown([[made]]).splitlines()[-1])
    | **c**: It falls | ✓ holds | 0.01 / 0.02 | – | – | 0.0 | 0.0 |
    """
    devices = [_device(verdicts) for verdicts in reports]
    seconds = [f"training, s ({device})" for device in devices] if len(devices) > 1 else ["training, s"]
    head = ["claim", *devices, "error / budget", "resolution", "rival misses by", "theory, s", *seconds]
    align = ["---"] * (1 + len(devices)) + ["---:"] * (len(head) - 1 - len(devices))
    rows, last = [head, align], ""
    others = [{(v.theory, v.claim): v for v in verdicts} for verdicts in reports]
    for first in reports[0]:
        same = [found.get((first.theory, first.claim)) for found in others]
        if first.theory != last:
            rows.append([f"`{first.theory}`"] + [""] * (len(head) - 1))
        last = first.theory
        spared = "" if first.rival_outcome in ("refuted", "") else " (not refuted)"
        rows.append(
            [
                f"**{proper(first.claim.replace('_', ' '))}**: {_statement(first.statement)}",
                *(_outcome(verdict) for verdict in same),
                f"{_error(first)} / {quantity(first.budget.get('total'))}",
                quantity(first.resolution),
                quantity(abs(first.rival_bias)) + spared,
                f"{first.theory_seconds:.1f}",
                *(f"{verdict.seconds:.1f}" if verdict else "–" for verdict in same),
            ]
        )
    return "".join("|" + "|".join(f" {cell} " if cell else " " for cell in row) + "|\n" for row in rows)


def by_model(reports: Sequence[Sequence[Verdict]]) -> str:
    """The short table: for every model what it is about, and how many of its claims turned out how.

    >>> made = Verdict("deep-linear", "c", "It falls.", "holds", device="cpu: cpu", seconds=2.0, theory_seconds=1.0)
    >>> print(by_model([[made]]).splitlines()[-1])
    | `deep-linear` | Deep linear networks | 1 ✓ holds | 1.0 | 2.0 |
    """
    devices = [_device(verdicts) for verdicts in reports]
    titles = {model.model_name(): model.title().partition(":")[0] for model in models()}
    head = ["model", "about", *devices, "theory, s", "training, s"]
    rows = [head, ["---"] * (2 + len(devices)) + ["---:"] * 2]
    for name in dict.fromkeys(verdict.theory for verdict in reports[0]):
        told = [_counted([verdict for verdict in verdicts if verdict.theory == name]) for verdicts in reports]
        own = [verdict for verdict in reports[0] if verdict.theory == name]
        seconds = [sum(v.theory_seconds for v in own), sum(v.seconds for v in own)]
        rows.append([f"`{name}`", titles.get(name, ""), *told, *(f"{part:.1f}" for part in seconds)])
    return "".join("| " + " | ".join(row) + " |\n" for row in rows)


def lines(verdicts: Sequence[Verdict]) -> str:
    """Verdicts as a JSON list with one to a line; of the numbers on the way only those that stand alone.

    >>> json.loads(lines([Verdict("m", "c", numbers={"points": 3, "slopes": [1, 2]})]))[0]["numbers"]
    {'points': 3}
    """
    records = [verdict.to_dict() for verdict in verdicts]
    for record in records:
        record["numbers"] = {k: v for k, v in record["numbers"].items() if not isinstance(v, list | dict)}
    return "[\n" + ",\n".join(json.dumps(record, allow_nan=False) for record in records) + "\n]"


def between_markers(path: Path, reports: Sequence[Sequence[Verdict]], force: bool = False) -> str:
    """The text of a document with the table that its markers ask for between them.

    Errors: `BadData` without markers; `WouldOverwrite` if another table stands there, unless `force`.
    """
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError):
        raise BadData("cannot be read as text", where=str(path), remedy="name a document with the markers") from None
    found = MARKERS.search(text)
    if not found:
        raise BadData(
            "has no place for the table",
            where=str(path),
            remedy="add the lines <!-- verdicts --> and <!-- end of verdicts -->",
        )
    table = by_model(reports) if "by model" in found[1] else markdown(reports)
    placed = f"\n{table}\n"
    if found[2].strip() and found[2] != placed and not force:
        raise WouldOverwrite(f"{path} has a table already", remedy="replace it with --force")
    return text[: found.start()] + found[1] + placed + found[3] + text[found.end() :]


def _records(content: Any) -> list[dict[str, Any]]:
    """Verdicts as they lie in a ledger's file, in a report or in a list."""
    if isinstance(content, list):
        return [record.get("verdict", record) for record in content]
    if "verdict" in content:
        return [content["verdict"]]
    if "models" in content:
        return [claim["verdict"] for model in content["models"] for claim in model["claims"]]
    return list(content.get("verdicts", ()))


def _counted(verdicts: Sequence[Verdict]) -> str:
    """How many verdicts there are of each kind; one that was not announced stands out."""
    outcomes = [_outcome(verdict) for verdict in verdicts]
    return ", ".join(f"{outcomes.count(outcome)} {outcome}" for outcome in dict.fromkeys(outcomes)) or "–"


def _device(verdicts: Sequence[Verdict]) -> str:
    kinds = list(dict.fromkeys(v.device.partition(":")[0].upper() for v in verdicts if v.device))
    return kinds[0] if kinds else "verdict"


def _outcome(verdict: Verdict | None) -> str:
    if verdict is None:
        return "–"
    said = MARKS.get(verdict.outcome, verdict.outcome)
    return said if verdict.as_expected else f"**{said}**, announced {verdict.expected.replace('_', ' ')}"


def _error(verdict: Verdict) -> str:
    size = quantity(abs(verdict.bias))
    return size + (f"&nbsp;±&nbsp;{quantity(verdict.standard_error)}" if verdict.standard_error else "")


def _statement(text: str) -> str:
    """A claim as HTML in one cell, without its full stop or a remark in brackets at its end."""
    return prose(re.sub(r"(?<=\w) \([^()]{40,}\)$", "", text.rstrip("."))).replace("|", "&#124;")
