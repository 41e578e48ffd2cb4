"""Forecasts and runs of cells (task, learner, axis, window), written down in a folder: the ledger of real tasks.

All forecasts are registered before the first run. A second call finds what is there and goes on with what is missing.
"""

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from ...theory.errors import BadData, LearningMechanicsError
from ..tasks.cells import Cell, forecast, measure
from ..tasks.tasks import halves, task
from .folder import ForecastFolder
from .question import fingerprint
from .registered import Registered
from .score import Score, score

FEWEST, MOST = 2, 24  # runs within a budget


@dataclass(frozen=True)
class Settled:
    """What stands in a folder after all cells were forecast and run: forecasts and scores in order, and refusals."""

    forecasts: tuple[Registered, ...]
    scores: tuple[Score, ...]
    refused: dict[str, str]


def settle_cells(
    folder: ForecastFolder,
    cells: Sequence[Cell],
    seed: int = 0,
    runs: int | None = None,
    progress: Callable[[str, float], None] | None = None,
) -> Settled:
    """Register a forecast of every cell from one half of its rows, then run all of them on the other halves.

    `progress(what, share done)` is told before each. Cells that allow no forecast are listed with the reason.
    """
    made, refused = [], {}
    for index, cell in enumerate(cells):
        if progress:
            progress(f"forecast {cell}", index / (2 * len(cells)))
        try:
            made.append(folder.register(*ask_cell(cell, seed)))
        except LearningMechanicsError as error:
            refused[f"{cell.task}, {cell.learner}, {cell.axis}"] = str(error)
    scores = []
    for index, one in enumerate(made):
        if progress:
            progress(f"run {one.name}", 0.5 + index / (2 * max(len(made), 1)))
        kept = folder.scores(one)
        if not kept:
            kept = [settle_cell(one, runs)]
            folder.record(one, kept[0])
        scores.append(kept[0])
    return Settled(tuple(made), tuple(scores), refused)


def ask_cell(cell: Cell, seed: int) -> tuple[dict[str, Any], dict[str, Any]]:
    """Question and answer of one cell; errors are those of its forecast."""
    data = task(cell.task)
    found = forecast(cell, seed)
    question = {
        "data": cell.task,
        "sha256": fingerprint(data),
        "rows": len(data),
        "probe_rows": int(halves(data, seed).sum()),
        "seed": seed,
        "learner": cell.learner,
        "kernel": cell.learner,
        "axis": cell.axis,
        "sizes": cell.abscissa.tolist(),
        "source": {"cell": asdict(cell)},
    }
    answer = {"value": found.value, "error": found.error, "level": 0.9, "curves": [found.test.tolist()]}
    return question, answer


def settle_cell(
    forecast: Registered, runs: int | None = None, budget: float | None = None, seed: int | None = None
) -> Score:
    """Run the cell of a registered forecast on the other half of its rows.

    `runs` of them, or as many as fit into `budget` seconds, by the time the fewest take; `seed` draws other training
    sets and weights than those of the question. Errors: `BadData` where the task has changed since.
    """
    stated = forecast.question["source"]["cell"]
    cell = Cell(**{**stated, "window": tuple(stated["window"])})
    if fingerprint(task(cell.task)) != forecast.question["sha256"]:
        raise BadData("its rows have changed since", where=forecast.name, remedy="register a forecast for these")
    split = forecast.question["seed"]
    found = measure(cell, split, FEWEST if budget else runs, seed)
    if budget:
        most = int(budget / max(found.seconds / FEWEST, 1e-3))
        if most >= 2 * FEWEST:  # the first runs are drawn again: the same ones, and more
            found = measure(cell, split, min(most - FEWEST, MOST), seed)
    return score(forecast, found, seed=split if seed is None else seed)
