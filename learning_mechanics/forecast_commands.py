"""Forecasts on record: `predict --register` writes one down, `validate --against` settles what stands in a folder."""

from argparse import Namespace
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from .console import as_json, bar, show, warn, writable
from .data_commands import read, say
from .network_commands import kernel as named_kernel
from .theory.errors import BadData, LearningMechanicsError

READING = ("target", "inputs", "regression")


def register(arguments: Namespace) -> int:
    """Forecast the exponent from one half of the data and write it down, dated and hashed, before any run."""
    from .validate.forecasts.folder import ForecastFolder

    if arguments.plot or arguments.output:
        raise BadData("--register writes one file into its folder", remedy="leave out --plot and --output")
    writable(arguments.register)
    folder = ForecastFolder(arguments.register)
    before = len(folder.forecasts())
    question, answer = _of_task(arguments) if arguments.learner else _of_data(arguments)
    made = folder.register(question, answer)
    for assumption in answer.get("assumptions", ()):
        if not assumption["holds"]:
            say(assumption)
    if arguments.json:
        return as_json(made.to_dict())
    kept = "" if len(folder.forecasts()) > before else "\n  kept      it was registered before, with the same answer"
    return show(f"{made}{kept}\n  settle    learning-mechanics validate --against {arguments.register}")


def _of_data(arguments: Namespace) -> tuple[dict[str, Any], dict[str, Any]]:
    """Question and answer about regression with a kernel on the user's data."""
    from .validate.forecasts.question import ask

    if arguments.axis not in (None, "samples"):
        remedy = "name a learner that runs along it: --learner relu-2, on a task by name"
        raise BadData(f"axis {arguments.axis!r} of a data file", where="--axis", remedy=remedy)
    source = {"file": _place(arguments.file)} | {name: getattr(arguments, name) for name in READING}
    source |= {"kernel": arguments.kernel, "network": arguments.network, "depth": arguments.depth}
    data, kernel = read(arguments, ready=True), _kernel(source)
    return ask(data, kernel, arguments.sizes, arguments.ridge, arguments.seed, source)


def _of_task(arguments: Namespace) -> tuple[dict[str, Any], dict[str, Any]]:
    """Question and answer about a learner on a task, both by name: networks, random neurons and kernels."""
    from .validate.forecasts.cell_forecasts import ask_cell
    from .validate.tasks.cells import Cell, usual_window
    from .validate.tasks.learners import learner
    from .validate.tasks.tasks import record

    stated = (arguments.kernel, arguments.depth, arguments.network, arguments.ridge)
    if stated != ("ntk-relu", 2, None, 0.0):
        remedy = "leave out --kernel, --depth, --network and --ridge"
        raise BadData("a learner has a kernel and a ridge of its own", where="--learner", remedy=remedy)
    name, learned = record(str(arguments.file)).name, learner(arguments.learner)
    axis = arguments.axis or learned.axes[0]
    if arguments.sizes and len(arguments.sizes) != 2:
        raise BadData(f"{len(arguments.sizes)} sizes", where="--sizes", remedy="give the two ends of the window")
    window = tuple(map(float, arguments.sizes or usual_window(name, learned.name, axis)))
    return ask_cell(Cell(name, learned.name, axis, (window[0], window[-1])), arguments.seed)


def against(arguments: Namespace) -> int:
    """Run what the forecasts in a folder spoke of, and score them.

    Status 1 if more miss than chance explains, 2 if some could not be settled; the others still are.
    """
    from .validate.forecasts.folder import ForecastFolder
    from .validate.forecasts.score import Summary

    if arguments.model or arguments.claims or arguments.output or arguments.plot or arguments.dry_run:
        raise BadData("--against settles forecasts, not claims", remedy="leave out models, claims, --output and --plot")
    if not 0 < arguments.budget < float("inf"):
        raise BadData(f"budget {arguments.budget:g}", where="--budget", remedy="give seconds above 0")
    folder = ForecastFolder(arguments.against)
    standing = folder.forecasts()
    if not standing:
        raise BadData(
            "no forecasts", where=str(arguments.against), remedy="register one: predict DATA --register FOLDER"
        )
    scores, failures = [], {}
    waiting = [one for one in standing if not _kept(folder, one, arguments.seed)]
    for forecast in standing:
        kept = _kept(folder, forecast, arguments.seed)
        if not kept:
            try:
                with bar(forecast.name) as progress:
                    found = _settled(forecast, arguments.budget / len(waiting), arguments.seed, progress)
            except LearningMechanicsError as error:  # the others can still be settled
                failures[forecast.name] = str(error)
                warn(f"{forecast.name} not settled: {error}")
                continue
            folder.record(forecast, found)
        scores.append(kept or found)
        if not arguments.json:
            print(f"{scores[-1]}" + ("\n  kept: scored before with this seed" if kept else ""), flush=True)
    summary = Summary(tuple(scores))
    folder.verify()
    if arguments.json:
        told = {"summary": summary.to_dict()} if scores else {}
        as_json({"scores": [score.to_dict() for score in scores], "failures": failures, **told})
    elif scores:
        print(f"\n{summary}")
    return 2 if failures else 0 if summary.believable else 1


def _settled(forecast: Any, budget: float, seed: int, progress: Any) -> Any:
    """The score of one forecast: of a learner on a task, or of regression on the user's data."""
    from .validate.forecasts.cell_forecasts import settle_cell
    from .validate.forecasts.settle import settle

    if "cell" in forecast.question["source"]:
        return settle_cell(forecast, budget=budget, seed=seed)
    data, kernel = _asked(forecast.question["source"])
    return settle(forecast, data, kernel, budget, seed, progress)


def _kept(folder: Any, forecast: Any, seed: int) -> Any:
    """The last score with this seed, or None."""
    return next((score for score in reversed(folder.scores(forecast)) if score.facts.get("seed") == seed), None)


def _asked(source: Mapping[str, Any]) -> tuple[Any, Any]:
    """Data and kernel of a question, read again as they were then."""
    try:
        file = Path(source["file"])
        reading = Namespace(file=file, **{name: source[name] for name in READING})
        return read(reading, ready=True), _kernel(source)
    except KeyError as error:
        raise BadData(
            f"the question does not say {error}", where="forecast", remedy="it was not registered by this command"
        ) from None


def _kernel(source: Mapping[str, Any]) -> Any:
    return named_kernel(source["kernel"], source["network"], source["depth"])


def _place(file: Path) -> str:
    """A name as it is, a file by its full path."""
    return str(file.resolve()) if file.exists() else str(file)
