"""What each command does. Layers are imported inside the functions, so that a command loads only what it uses."""

import json
from argparse import Namespace
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

from .console import as_json, bar, keep, show, write
from .data_commands import diagnose, predict, read
from .theory.errors import BadData, LearningMechanicsError, NoClosedForm, UnknownName


def list_models(arguments: Namespace) -> int:
    """Models, their claims, and what became of them in the last report."""
    from .theory.model import models

    last = _last_verdicts(Path("learning-mechanics-report"))
    found: list[dict[str, Any]] = []
    for model in models():
        claims = [
            {"claim": c.name, "statement": c.statement, "last_verdict": last.get((model.model_name(), c.name))}
            for c in model().claims()
        ]
        found.append({"model": model.model_name(), "title": model.title(), "claims": claims})
    if arguments.json:
        return as_json(found)
    for entry in found:
        print(f"{entry['model']}: {entry['title']}")
        for claim in entry["claims"]:
            verdict = f"  [{claim['last_verdict']}]" if claim["last_verdict"] else ""
            print(f"  {claim['claim']:<28} {claim['statement']}{verdict}")
    return 0


def derive(arguments: Namespace) -> int:
    """The derived system with its conserved quantities, closed form and trail."""
    import sympy as sp

    from .theory.closed_forms.closed_form import closed_form

    model = _model(arguments)
    system = model.derive()
    try:
        solution: Any = closed_form(system)
    except NoClosedForm as declined:
        solution = declined
    solved = not isinstance(solution, NoClosedForm)
    conserved = _conserved(system)
    if arguments.json or arguments.format == "json":
        return as_json(
            {
                "model": model.model_name(),
                "hyperparameters": {f.name: getattr(model, f.name) for f in fields(model)},
                "system": system.to_dict(),
                "conserved": [str(quantity) for quantity in conserved],
                "closed_form": solution.to_dict() if solved else None,
            }
        )
    if arguments.format == "latex":
        print(sp.latex(system))
        for quantity in conserved:
            print(sp.latex(quantity) + r" = \mathrm{const}")
        if solved:
            print(sp.latex(solution))
        return 0
    print(f"{model.title()}\n\n{system}")
    if conserved:
        print("\nconserved\n" + "\n".join(f"  {quantity}" for quantity in conserved))
    print("\n" + str(solution).split("\ntrail")[0] if solved else f"\nno closed form: {solution}")
    print(f"\ntrail\n{solution.trail if solved else system.trail}")
    return 0


def validate(arguments: Namespace) -> int:
    """Predict, train and judge the claims of a model; status 1 if one does not turn out as it announces."""
    model = _model(arguments)
    claims = [model.claim(name) for name in arguments.claims] or list(model.claims())
    if arguments.dry_run:
        return _dry_run(model, claims, arguments)
    keep(arguments.output, arguments.force)
    from .validate.judging.check import run_claim

    runs = []
    for claim in claims:
        with bar(claim.name) as progress:
            runs.append(run_claim(model, claim, seed=arguments.seed, device=arguments.device, progress=progress))
        if not arguments.json:
            print(runs[-1].verdict, end="\n\n", flush=True)
    if arguments.output:
        parts = ("verdict", "prediction", "rival", "measurement")
        content = [{part: getattr(run, part).to_dict() for part in parts} for run in runs]
        write(arguments.output, content)
    if arguments.json:
        as_json([run.verdict.to_dict() for run in runs])
    return 0 if all(run.verdict.as_expected for run in runs) else 1


def check(arguments: Namespace) -> int:
    """One claim on its own data, the user's data or the user's training log."""
    model = _model(arguments)
    claim = _moved(model.claim(arguments.claim), arguments.set)
    data = read(arguments) if arguments.file else None
    if data is not None:
        _carries(data, claim)
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


def cite(arguments: Namespace) -> int:
    """BibTeX of every reference in the derivation and the claims."""
    from .bibliography import bibtex

    model = _model(arguments)
    laws = [law for claim in model.claims() for law in (claim.law, claim.rival)]
    cited = [*model.derive().trail.references, *(claim.reference for claim in model.claims())]
    cited += [reference for law in laws for reference in (law.reference, *law.system().trail.references)]
    entries = bibtex(cited)
    return as_json(entries) if arguments.json else show("\n\n".join(entry["bibtex"] for entry in entries))


def report(arguments: Namespace) -> int:
    """The main job; an interrupted one resumes. Status 1 if a claim does not turn out as it announces."""
    for name in arguments.models or ():
        _class(name)
    from .validate.reporting.report import report as run

    made = run(
        arguments.output,
        arguments.models,
        device=arguments.device,
        seed=arguments.seed,
        progress=not arguments.json,
        force=arguments.force,
    )
    if arguments.json:
        as_json(made.to_dict())
    else:
        print(made)
    return made.status


def _class(name: str):
    from .theory.model import find

    return find(name)


def _model(arguments: Namespace):
    """The model with the hyperparameters that were typed, each read as the kind of its default."""
    model = _class(arguments.model)
    given = {}
    known = {field.name: field for field in fields(model)}
    for name, text in arguments.hyperparameters.items():
        if name not in known:
            options = (option.replace("_", "-") for option in known)
            raise UnknownName.among(name.replace("_", "-"), options, kind="hyperparameter", where=model.model_name())
        given[name] = _parsed(text, known[name].default, name)
    return model(**given)


def _parsed(text: str, default: Any, name: str) -> Any:
    """Text as the kind of value that `default` is; whole numbers may also be "inf"."""
    if isinstance(default, bool):
        if text.lower() not in ("true", "false"):
            raise BadData(f"{text!r} is neither true nor false", where=name, remedy="write true or false")
        return text.lower() == "true"
    if isinstance(default, str):
        return text
    if type(default).__name__ == "Kernel":
        from .theory.regression.kernels import parse

        return parse(text, depth=default.depth)
    if isinstance(default, tuple):
        kind = default[0] if default else 1.0
        return tuple(_parsed(part, kind, name) for part in text.split(","))
    try:
        return int(text) if isinstance(default, int) and text not in ("inf", "infinity") else float(text)
    except ValueError:
        kind = "whole number" if isinstance(default, int) else "number"
        raise BadData(f"{text!r} is no {kind}", where=name, remedy=f"the default is {default}") from None


def _conserved(system) -> tuple:
    """Quantities a flow of several unknowns conserves; where the search does not apply there is nothing to show."""
    from .theory.derivation.conserved import conserved
    from .theory.system import Flow

    if not isinstance(system, Flow) or len(system.unknowns) < 2:
        return ()
    try:
        return tuple(conserved(system))
    except LearningMechanicsError:
        return ()


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
    for line in plan:
        print(
            f"{line['claim']:<28} {line['seconds']:6.1f} s {line['bytes'] / 2**20:9.1f} MiB   {line['seeds']} seed(s)"
        )
    print(
        f"{'total':<28} {sum(line['seconds'] for line in plan):6.1f} s"
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
        setup = setup.at(**{name: _parsed(text, known[name], name)})
    return replace(claim, setup=setup)


def _carries(data, claim) -> None:
    """Refuse data that this claim cannot be judged on, before anything is computed."""
    from .theory.dataset import PowerLaw
    from .validate.inputs.user_data import require_consistent, require_samples

    setup = claim.setup
    if isinstance(setup.data, PowerLaw):
        raise BadData(
            f"{claim.name} is a claim about a stated distribution",
            where=data.name,
            remedy="it takes no data; choose another claim from `learning-mechanics list`",
        )
    needed = max([*setup.sizes, int(setup.axes.get("n", 0))])
    require_samples(data, needed * (2 if setup.sample == "halves" else 1), f"the claim {claim.name}")
    if setup.procedure == "kernel_solve":
        require_consistent(data, float(setup.options.get("ridge", 0.0)))


def _judged_log(model, claim, data, arguments: Namespace):
    """The verdict on the user's own run: its data, its initial weights, its log; nothing is trained."""
    from .solvers.predict import predict as forecast
    from .validate.inputs.training_log import measured, read_log
    from .validate.judging.check import draw
    from .validate.judging.judge import judge

    log = read_log(arguments.log)
    seeds = len(log.seeds) if claim.setup.procedure == "full_batch" else 1
    instances = draw(replace(claim, seeds=seeds), data, arguments.seed)
    if arguments.start:
        instances = [[_started(instance, arguments.start) for instance in row] for row in instances]
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


def _last_verdicts(folder: Path) -> dict[tuple[str, str], str]:
    """Outcomes in the ledger of the last report, by model and claim; what cannot be read is as if not there."""
    found = {}
    for path in sorted(folder.glob("verdicts/*.json")):
        try:
            verdict = json.loads(path.read_text())["verdict"]
            found[verdict["theory"], verdict["claim"]] = verdict["outcome"]
        except (OSError, ValueError, KeyError, TypeError):
            continue
    return found


COMMANDS = {
    "list": list_models,
    "derive": derive,
    "diagnose": diagnose,
    "predict": predict,
    "validate": validate,
    "check": check,
    "report": report,
    "cite": cite,
}
