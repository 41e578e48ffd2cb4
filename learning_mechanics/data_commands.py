"""Commands on the user's data: `diagnose` and `predict`."""

import warnings
from argparse import Namespace
from dataclasses import replace
from difflib import get_close_matches
from pathlib import Path

from .console import as_json, keep, show, warn, write
from .network_commands import kernel as named_kernel
from .theory.errors import BadData

FIGURES = (".png", ".svg", ".pdf", ".jpg")


def read(arguments: Namespace, ready: bool = False):
    """The user's file, or built-in data or a task by name; warnings become lines. Digits have labels one-hot, centred.

    Some names are both: `ready` takes the task, whose inputs are prepared for a kernel. Raises `BadData` and
    `UnknownName`.
    """
    from .validate.inputs import data, user_data
    from .validate.tasks.tasks import NAMES, task

    name = str(arguments.file)
    if not arguments.file.exists():
        if name in NAMES and (ready or name not in data.names()):
            return task(name)
        if name in data.names():
            labelled = name == "digits" and not arguments.regression
            built_in = data.load(name)
            if labelled:
                built_in = built_in.prepare("one_hot", "centre_targets").noting(targets="10 classes one-hot, centred")
            return built_in
        if not arguments.file.suffix:
            near = get_close_matches(name, [*NAMES, *data.names(), *(path.name for path in Path().iterdir())], n=1)
            remedy = (
                f"did you mean {near[0]!r}?" if near else f"check the path, or name a task: {', '.join(NAMES[:3])}, ..."
            )
            raise BadData("no such file, built-in data or task", where=name, remedy=remedy)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always", user_data.DuplicateRows)
        found = user_data.read(arguments.file, arguments.target, arguments.inputs, arguments.regression)
    for entry in caught:
        warn(str(entry.message))
    return found


def say(assumption) -> None:
    """Warn of an assumption of a forecast that does not hold."""
    meaning = assumption.get("meaning", "")
    warn(f"{assumption['name']} is {assumption['distance']:.3g}, beyond {assumption['radius']:g} ({meaning})")


def require_figure(path: Path | None) -> None:
    """Refuse a file name that says no kind of figure, before the work is done. Raises `BadData`."""
    if path and path.suffix.lower() not in FIGURES:
        raise BadData(
            f"{path.suffix or 'a name without an ending'} is no kind of figure",
            where=str(path),
            remedy=f"use {', '.join(FIGURES)}",
        )


def diagnose(arguments: Namespace) -> int:
    """The diagnosis card of the user's data."""
    from .validate.inputs.diagnose import diagnose as examine

    card = examine(read(arguments))
    return as_json(card.to_dict()) if arguments.json else show(card)


def predict(arguments: Namespace) -> int:
    """Scaling law and learning curve of a kernel on the user's data, beside other mechanisms; no network is trained."""
    from .solvers.learning_curve import learning_curve
    from .solvers.scaling.exponents import kernel_rows
    from .solvers.scaling.scaling_law import ScalingLaw
    from .validate.inputs.user_data import require_consistent

    for path in (arguments.plot, arguments.output):
        keep(path, arguments.force)
    require_figure(arguments.plot)
    kernel = named_kernel(arguments.kernel, arguments.network, arguments.depth)
    data = read(arguments, ready=True)
    require_consistent(data, arguments.ridge)
    if arguments.sizes and max(arguments.sizes) > len(data):
        raise BadData(
            f"{len(data)} samples but size {max(arguments.sizes)} asked for", where=data.name, remedy="lower --sizes"
        )
    found = ScalingLaw.from_data(
        kernel,
        data.x,
        data.y,
        samples=arguments.sizes,
        ridge=arguments.ridge,
        groups=data.groups,
        seed=arguments.seed,
    )
    for assumption in found.assumptions:
        if not assumption["holds"]:
            say(assumption)
    content = {"data": data.name, "targets": data.facts.get("targets", "as given"), "kernel": str(kernel)}
    content |= found.to_dict()
    if arguments.plot:
        _draw(found, f"{data.name}, {kernel}", arguments.plot)
    if arguments.output:
        write(arguments.output, content)
    if arguments.json:
        return as_json(content)
    print(f"{data.name}: {len(data)} samples, {data.x.shape[1]} inputs; targets {content['targets']}")
    table = "\n".join(f"  {forecast}" for forecast in (*kernel_rows(found), *found.mechanisms))
    print(f"{kernel}\n{replace(found, mechanisms=())}\n\nWhat every mechanism says (90 % half-widths):\n{table}")
    if found.samples is not None and found.samples.curve is not None:
        print(f"\n{learning_curve(found.spectrum, sizes=found.samples.curve.sizes, ridge=arguments.ridge)}")
    return 0


def _draw(found, title: str, path: Path) -> None:
    """Every axis of the law: forecast curve, slope with its interval, and limit."""
    from .validate.reporting.plot import plot

    figure = plot(found)
    figure.suptitle(title, fontsize="medium")
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, bbox_inches="tight")
