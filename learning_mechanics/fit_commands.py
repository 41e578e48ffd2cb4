"""The command `fit`: finished training runs in, the law of their loss and what can be trusted of it out."""

import argparse
from argparse import Namespace
from pathlib import Path
from typing import Any

from .console import as_json, bar, keep, show, warn, write, write_text
from .data_commands import require_figure
from .theory.errors import BadData, LearningMechanicsError

EXAMPLES = (
    "fit runs.csv",
    "fit runs.csv --drop 5 --json",
    "fit runs.csv --parameters params --compute flops --loss val_loss --output report.html",
    "fit runs.csv --budget 1e23 --shrink beta --plot fit.png",
)
MOVED = 2.0  # standard errors between drops of runs: what an interval of 90 % no longer covers
COVERED = 0.65  # of the held-out runs: fewer within 90 % intervals are not chance from five runs on (below 5 %)
SHRINK = ("parameters_exponent", "alpha", "beta", "E", "loss_exponent", "loss", "all")


def add_options(command: argparse.ArgumentParser) -> None:
    """The options of `fit`; `--json` is every command's own."""
    command.add_argument("file", type=Path, help="finished runs, one a row: .csv or .parquet")
    for name, text in (
        ("parameters", "column of model sizes N (default: guessed from its name)"),
        ("tokens", "column of training tokens D (default: guessed, else C/(6 N))"),
        ("loss", "column of final losses in nats (default: guessed)"),
        ("compute", "column of training flops C = 6 N D, in place of tokens or parameters"),
    ):
        command.add_argument(f"--{name}", metavar="COL", help=text)
    command.add_argument("--group", metavar="COL", help="rows with one value here are points of one run, not new ones")
    command.add_argument("--drop", type=_count, default=0, metavar="K", help="leave out the K runs of highest loss")
    command.add_argument("--bootstrap", type=_count, default=4000, metavar="R", help="samples (default: 4000)")
    command.add_argument(
        "--delta", type=_positive, default=1e-3, metavar="X", help="cut of residuals (default: 0.001; inf: squares)"
    )
    command.add_argument(
        "--vocabulary", type=_positive, metavar="V", help="tokens to choose from; inf: the loss is no cross-entropy"
    )
    command.add_argument("--budget", type=_positive, metavar="FLOPS", help="say which runs to make next with it")
    command.add_argument(
        "--shrink", choices=SHRINK, default="parameters_exponent", metavar="WHAT", help=f"of {', '.join(SHRINK)}"
    )
    command.add_argument("--at", type=_positive, metavar="FLOPS", help="say the best split of this compute, too")
    command.add_argument("--output", type=Path, metavar="FILE", help="write a report into this .html or .json")
    command.add_argument("--plot", type=Path, metavar="FILE", help="draw runs and residuals into this .png or .svg")
    command.add_argument("--seed", type=_count, default=42, metavar="N", help="of the bootstrap (default: 42)")
    command.add_argument("--force", action="store_true", help="overwrite files that exist")


def fit(arguments: Namespace) -> int:
    """The card of a fit, or its record as JSON; a report and a figure where they are asked for."""
    for path in (arguments.output, arguments.plot):
        keep(path, arguments.force)
    require_figure(arguments.plot)
    if arguments.output and arguments.output.suffix.lower() not in (".html", ".json"):
        raise BadData(
            f"{arguments.output.suffix or 'a name without an ending'} is no kind of report",
            where=str(arguments.output),
            remedy="use .html or .json",
        )
    from .solvers.loss_surface.surface_fit import fit_loss_surface
    from .validate.inputs.run_table import read_runs

    named = {name: getattr(arguments, name) for name in ("parameters", "tokens", "loss", "compute")}
    table, columns = read_runs(arguments.file, named, arguments.group)
    with bar("bootstrap") as progress:
        found = fit_loss_surface(
            table.parameters,
            table.tokens,
            table.loss,
            drop=arguments.drop,
            delta=arguments.delta,
            bootstrap=arguments.bootstrap,
            seed=arguments.seed,
            groups=table.groups,
            vocabulary=arguments.vocabulary,
            progress=progress,
        )
    parts = examined(found, arguments.budget, arguments.shrink)
    warned = cautions(parts)
    content = {"file": arguments.file.name, "columns": columns} | record(parts) | {"cautions": warned}
    split = found.optimum(arguments.at) if arguments.at else None
    if split:
        content["at"] = split.to_dict()
    if arguments.output:
        _report(arguments.output, parts, columns, content)
    if arguments.plot:
        _draw(found, arguments.plot)
    if arguments.json:
        content.pop("runs")
        return as_json(content)
    for reason in (text for name, text in parts.items() if isinstance(text, str) and name == "next_runs"):
        warn(reason)
    guessed = [f"{quantity} from column {name!r}" for quantity, name in columns.items() if not named.get(quantity)]
    if guessed:
        print(f"{arguments.file.name}: {', '.join(guessed)}")
    if "tokens" not in columns or "parameters" not in columns:
        print("tokens = compute/(6 parameters)" if "tokens" not in columns else "parameters = compute/(6 tokens)")
    print(found)
    if split:
        print(split)
    for text in warned:
        print(f"caution: {text}")
    return show("\n" + described(parts))


def examined(found, budget: float | None = None, shrink: str = "parameters_exponent") -> dict[str, Any]:
    """Everything asked of a fit, by name; what cannot be answered is its reason, as text."""
    from .solvers.loss_surface.isoflop import isoflop
    from .solvers.loss_surface.next_runs import next_runs
    from .solvers.loss_surface.rivals import rivals
    from .solvers.loss_surface.sensitivity import rollout, sensitivity

    parts: dict[str, Any] = {"fit": found, "sensitivity": sensitivity(found), "rollout": rollout(found)}
    parts["isoflop"] = _or_reason(lambda: isoflop(found))
    parts["rivals"] = rivals(found)
    if budget:
        parts["next_runs"] = _or_reason(lambda: next_runs(found, budget, shrink))
    return parts


def cautions(parts: dict[str, Any]) -> list[str]:
    """What the other parts say against the fit: a choice of runs, another law, forecasts that missed."""
    told = []
    moved = dict(zip(("alpha", "beta"), parts["sensitivity"].range[3:], strict=True))
    for name, size in moved.items():
        if size > MOVED:
            told.append(f"{name} depends on which runs of high loss are dropped, by {size:.1f} standard errors")
    best = parts["rivals"].best
    if best != "additive":
        by = parts["rivals"].criteria["additive"]
        told.append(f"another law fits better ({best}): its information criterion is {by:.0f} lower")
    told += [
        f"fitted to smaller runs, the law has {run.coverage:.0%} of the {run.held} largest within its 90 % intervals"
        for run in parts["rollout"]
        if run.coverage < COVERED and run.held >= 5
    ]
    return told


def described(parts: dict[str, Any]) -> str:
    """The parts beside the fit as text."""
    told = [str(parts["sensitivity"]), "", *(str(run) for run in parts["rollout"])]
    told.append(f"no parabolas: {parts['isoflop']}" if isinstance(parts["isoflop"], str) else str(parts["isoflop"]))
    told.append(str(parts["rivals"]))
    if not isinstance(parts.get("next_runs", ""), str):
        told += ["", str(parts["next_runs"])]
    return "\n".join(told)


def record(parts: dict[str, Any]) -> dict[str, Any]:
    """The parts as one mapping, that of the fit at the top."""
    others = {name: part for name, part in parts.items() if name != "fit"}

    def plain(part: Any) -> Any:
        if isinstance(part, str):
            return {"refused": part}
        return [one.to_dict() for one in part] if isinstance(part, list) else part.to_dict()

    return parts["fit"].to_dict() | {name: plain(part) for name, part in others.items()}


def _or_reason(answer) -> Any:
    try:
        return answer()
    except LearningMechanicsError as refused:
        return str(refused)


def _report(path: Path, parts: dict[str, Any], columns: dict[str, str], content: dict[str, Any]) -> None:
    if path.suffix.lower() == ".json":
        write(path, content)
        return
    from .validate.reporting.loss_surface.page import page

    write_text(path, page(parts, f"Loss surface of {content['file']}", columns, content["cautions"]))


def _draw(found, path: Path) -> None:
    from .validate.reporting.loss_surface.figures import residual_figure

    path.parent.mkdir(parents=True, exist_ok=True)
    residual_figure(found).savefig(path, bbox_inches="tight", dpi=160)


def _count(text: str) -> int:
    """A whole number from 0 to 2**32 - 1."""
    if not text.isdecimal() or int(text) >= 2**32:
        raise argparse.ArgumentTypeError(f"{text!r} is no whole number from 0 to {2**32 - 1}")
    return int(text)


def _positive(text: str) -> float:
    """A number above zero, infinity included."""
    try:
        value = float(text)
    except ValueError:
        value = -1.0
    if not value > 0:
        raise argparse.ArgumentTypeError(f"{text!r} is no number above 0")
    return value
