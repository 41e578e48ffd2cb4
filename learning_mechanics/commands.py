"""What each command does. Layers are imported inside the functions, so that a command loads only what it uses."""

from argparse import Namespace
from pathlib import Path
from typing import Any

from .claim_commands import check
from .claim_commands import validate as judge
from .console import as_json, show, writable
from .data_commands import diagnose
from .data_commands import predict as foretell
from .derive_commands import derive, reduce
from .fit_commands import fit
from .forecast_commands import against, register
from .hyperparameters import model as named_model
from .network_commands import network
from .theory.errors import BadData


def list_models(arguments: Namespace) -> int:
    """Models, their claims, and what became of them in the last report."""
    from .theory.model import models

    if arguments.format != "text" or arguments.write:
        return _verdict_table(arguments)
    last = _last_verdicts(arguments.report)
    found: list[dict[str, Any]] = []
    for model in models():
        claims = [
            {"claim": c.name, "statement": c.statement, "last_verdict": last.get((model.model_name(), c.name))}
            for c in model().claims()
        ]
        found.append({"model": model.model_name(), "title": model.title(), "claims": claims})
    if arguments.json:
        return as_json(found)
    room = max(len(claim["claim"]) for entry in found for claim in entry["claims"])
    for entry in found:
        print(f"{entry['model']}: {entry['title']}")
        for claim in entry["claims"]:
            verdict = f"  [{claim['last_verdict']}]" if claim["last_verdict"] else ""
            print(f"  {claim['claim']:<{room}}  {claim['statement']}{verdict}")
    return 0


def cite(arguments: Namespace) -> int:
    """BibTeX of every reference in the derivations and the claims."""
    from .bibliography import bibtex

    model = named_model(arguments)
    laws = [law for claim in model.claims() for law in (claim.law, claim.rival)]
    derived = [model.derive(), *model.derivations().values()]
    cited = [reference for system in derived for reference in system.trail.references]
    cited += [claim.reference for claim in model.claims()]
    cited += [reference for law in laws for reference in (law.reference, *law.system().trail.references)]
    entries = bibtex(cited)
    return as_json(entries) if arguments.json else show("\n\n".join(entry["bibtex"] for entry in entries))


def report(arguments: Namespace) -> int:
    """The main job; an interrupted one resumes. Status 1 if a claim does not turn out as it announces."""
    from .theory.model import find

    for name in arguments.models or ():
        find(name)
    writable(arguments.output)
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


def _last_verdicts(reports: list[Path] | None) -> dict[tuple[str, str], str]:
    """Outcomes of the named reports, or of the last one here if there is one, by model and claim."""
    from .validate.reporting.verdict_table import LAST, read_verdicts

    if reports is None and not any(LAST.glob("verdicts/*.json")):
        return {}
    verdicts = [verdict for path in reports or [LAST] for verdict in read_verdicts(path)]
    return {(verdict.theory, verdict.claim): verdict.outcome for verdict in verdicts}


def _verdict_table(arguments: Namespace) -> int:
    """The table of verdicts, printed or put between the markers of a file."""
    from .validate.reporting.verdict_table import LAST, between_markers, lines, markdown, read_verdicts

    reports = [read_verdicts(path) for path in arguments.report or [LAST]]
    if arguments.json or arguments.format == "verdicts":
        return show(lines([verdict for verdicts in reports for verdict in verdicts]))
    if not arguments.write:
        return show(markdown(reports).rstrip())
    text = between_markers(arguments.write, reports, arguments.force)
    arguments.write.write_text(text, encoding="utf-8")
    return 0


def predict(arguments: Namespace) -> int:
    """A forecast from data: shown, or written down for good."""
    if (arguments.learner or arguments.axis) and not arguments.register:
        found = "--learner" if arguments.learner else "--axis"
        raise BadData(f"{found} says what is run later", where="predict", remedy="add --register FOLDER")
    return register(arguments) if arguments.register else foretell(arguments)


def validate(arguments: Namespace) -> int:
    """Claims of a model judged, or registered forecasts settled."""
    return against(arguments) if arguments.against else judge(arguments)


COMMANDS = {
    "list": list_models,
    "derive": derive,
    "reduce": reduce,
    "diagnose": diagnose,
    "predict": predict,
    "fit": fit,
    "network": network,
    "validate": validate,
    "check": check,
    "report": report,
    "cite": cite,
}
