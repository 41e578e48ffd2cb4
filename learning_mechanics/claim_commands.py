"""Commands that judge claims: `validate` a model's own, `check` one on the user's data or training log."""

import math
from argparse import Namespace
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

from .console import as_json, bar, keep
from .data_commands import read, require_figure
from .hyperparameters import model as named_model
from .hyperparameters import parsed
from .record import Record
from .theory.errors import BadData, UnknownName

PARTS = ("verdict", "prediction", "rival", "measurement")


def validate(arguments: Namespace) -> int:
    """Predict, train and judge the claims of a model; status 1 if one does not turn out as it announces."""
    model = named_model(arguments)
    claims = [model.claim(name) for name in arguments.claims] or list(model.claims())
    if arguments.dry_run:
        return _dry_run(model, claims, arguments)
    keep(arguments.output, arguments.force)
    keep(arguments.plot, arguments.force)
    if arguments.plot and len(claims) != 1:
        raise BadData(f"{len(claims)} claims in one figure", where="--plot", remedy="name one claim")
    require_figure(arguments.plot)
    from .validate.judging.check import run_claim

    record = Record(arguments.output, _terms(model, arguments))
    for claim in claims:
        kept = claim.name in record.finished and not arguments.plot
        if not kept:
            with bar(claim.name) as progress:
                run = run_claim(model, claim, seed=arguments.seed, device=arguments.device, progress=progress)
            record.add(claim.name, {part: getattr(run, part).to_dict() for part in PARTS})
        if not arguments.json:
            print(
                record.verdict(claim.name),
                end="\n  kept        from an interrupted run\n\n" if kept else "\n\n",
                flush=True,
            )
    verdicts = [record.verdict(claim.name) for claim in claims]
    record.close([claim.name for claim in claims])
    if arguments.plot:
        from .validate.reporting.plot import save_portrait

        save_portrait(run, arguments.plot, arguments.shown or ())
    if arguments.json:
        as_json([verdict.to_dict() for verdict in verdicts])
    return 0 if all(verdict.as_expected for verdict in verdicts) else 1


def check(arguments: Namespace) -> int:
    """One claim on its own data, the user's data or the user's training log."""
    model = named_model(arguments)
    claim = _moved(model.claim(arguments.claim), arguments.set)
    if not arguments.file and (arguments.target or arguments.inputs or arguments.regression is not None):
        raise BadData("--target, --inputs, --regression and --labels describe --data", remedy="name it: --data FILE")
    if arguments.start and not arguments.log:
        raise BadData("--start gives the initial weights of a logged run", remedy="name the log too: --log FILE")
    data = read(arguments) if arguments.file else None
    if data is not None:
        from .validate.inputs.suitability import require_suitable

        require_suitable(data, claim)
    if arguments.log:
        verdict = _judged_log(model, claim, data, arguments)
    else:
        from .theory.model import Bound
        from .validate.judging.check import run_claim

        with bar(claim.name) as progress:
            verdict = run_claim(
                model if data is None else Bound(model, data),
                claim,
                seed=arguments.seed,
                device=arguments.device,
                progress=progress,
            ).verdict
    if arguments.json:
        as_json(verdict.to_dict())
    else:
        print(verdict)
    return 0 if verdict.as_expected else 1


def _dry_run(model, claims, arguments: Namespace) -> int:
    """Seconds as declared by each claim, bytes of the arrays it starts from."""
    from .validate.judging.check import draw

    plan = []
    for claim in claims:
        instances = draw(replace(claim, seeds=1), None, arguments.seed)[0]
        size = max(sum(getattr(array, "nbytes", 0) for array in one.arrays.values()) for one in instances)
        if claim.setup.procedure == "kernel_solve":
            rows = max(len(array) for name, array in instances[0].arrays.items() if name.startswith("x"))
            size += 8 * rows**2
        plan.append({"claim": claim.name, "seconds": claim.seconds, "seeds": claim.seeds, "bytes": int(size)})
    if arguments.json:
        return as_json(plan)
    room = max(len("total"), *(len(line["claim"]) for line in plan))
    for line in plan:
        seeds = f"{line['seeds']} seed" + "s" * (line["seeds"] != 1)
        print(f"{line['claim']:<{room}} {line['seconds']:6.1f} s {line['bytes'] / 2**20:9.1f} MiB   {seeds}")
    print(
        f"{'total':<{room}} {sum(line['seconds'] for line in plan):6.1f} s"
        f" {max((line['bytes'] for line in plan), default=0) / 2**20:9.1f} MiB at a time; nothing was run"
    )
    return 0


def _moved(claim, moves: list[str]):
    """The claim with its setting moved: optimizer fields, setup fields and axes, each by name."""
    from .theory.setup import Optimizer

    setup = claim.setup
    plain = ("steps", "time", "records", "spacing")
    known = {field.name: getattr(setup.optimizer, field.name) for field in fields(Optimizer)}
    known |= {name: getattr(setup, name) for name in plain} | dict(setup.axes)
    known.pop("name")
    for move in moves:
        name, equals, text = move.partition("=")
        if not equals:
            raise BadData(f"{move!r} is no NAME=VALUE", where="--set", remedy="write, say, learning_rate=0.1")
        if name not in known:
            raise UnknownName.among(name, known, kind="setting", where=claim.name)
        if name == claim.axis:
            values = ", ".join(f"{value:g}" for value in claim.values)
            raise BadData(
                f"{claim.name} compares {name} = {values}", where="--set", remedy=f"it cannot be moved: drop {name}"
            )
        value = _allowed(name, parsed(text, known[name], name))
        setup = setup.at(**{name: value}, **({"steps": 0} if name == "time" else {}))
    return replace(claim, setup=setup)


def _allowed(name: str, value: Any) -> Any:
    """The value of a moved setting, if an experiment can be run there."""
    from .theory.setup import SPACINGS, UNITS

    choices = {"spacing": SPACINGS, "unit": UNITS}.get(name, ())
    if isinstance(value, str):
        if value not in choices:
            raise UnknownName.among(value, choices, kind=name, where="--set")
        return value
    least = {"records": 2, "momentum": 0, "second_moment": 0, "epsilon": 0}.get(name)
    most = {"momentum": 1, "second_moment": 1}.get(name, math.inf)
    if not (value > 0 if least is None else value >= least) or not value < most:
        bounds = "above 0" if least is None else f"at least {least}"
        raise BadData(
            f"{name} = {value:g}",
            where="--set",
            remedy=f"give a number {bounds}" + (f" and below {most:g}" if most < math.inf else " that is finite"),
        )
    return value


def _judged_log(model, claim, data, arguments: Namespace):
    """The verdict on the user's own run: its data, its initial weights, its log; nothing is trained."""
    from .solvers.predict import predict as forecast
    from .validate.inputs.training_log import measured, read_log
    from .validate.judging.check import draw, require_convergence
    from .validate.judging.judge import judge

    log = read_log(arguments.log)
    seeds = len(log.seeds) if claim.setup.procedure == "full_batch" else 1
    instances = draw(replace(claim, seeds=seeds), data, arguments.seed)
    if arguments.start:
        instances = [[_started(instance, arguments.start) for instance in row] for row in instances]
    require_convergence(claim, instances)
    prediction = forecast(claim, instances, theory=model.model_name())
    rival = forecast(claim, instances, rival=True, theory=model.model_name())
    measurement, (prediction, rival) = measured(log, claim, prediction, rival)
    return judge(claim, prediction, rival, measurement, theory=model.model_name())


def _started(instance, path: Path):
    """The instance with the user's own initial weights."""
    import numpy as np

    from .validate.inputs.user_data import arrays

    given = arrays(path)
    for name, array in given.items():
        if name not in instance.weights:
            raise UnknownName.among(name, instance.weights, kind="weight", where=path.name)
        if array.shape != instance.weights[name].shape:
            raise BadData(
                f"{name} has shape {array.shape} and the setting {instance.weights[name].shape}",
                where=path.name,
                remedy="move the setting with --set width=...",
            )
    return replace(instance, arrays={**instance.arrays, **{k: np.asarray(v, float) for k, v in given.items()}})


def _terms(model, arguments: Namespace) -> dict[str, Any]:
    """What an interrupted run must have in common with this one to be gone on with."""
    from . import __version__

    settings = {field.name: str(getattr(model, field.name)) for field in fields(model)}
    run = {"version": __version__, "seed": arguments.seed, "device": arguments.device}
    return {"model": model.model_name(), **run, **settings}
