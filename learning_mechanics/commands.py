"""What each command does. Layers are imported inside the functions, so that a command loads only what it uses."""

from argparse import Namespace
from dataclasses import fields
from pathlib import Path
from typing import Any

from .claim_commands import check, validate
from .console import as_json, show, writable
from .data_commands import diagnose, predict
from .hyperparameters import model as named_model
from .theory.errors import LearningMechanicsError, NoClosedForm


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

    model = named_model(arguments)
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


def cite(arguments: Namespace) -> int:
    """BibTeX of every reference in the derivation and the claims."""
    from .bibliography import bibtex

    model = named_model(arguments)
    laws = [law for claim in model.claims() for law in (claim.law, claim.rival)]
    cited = [*model.derive().trail.references, *(claim.reference for claim in model.claims())]
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
    table = markdown(reports)
    if not arguments.write:
        return show(table.rstrip())
    text = between_markers(arguments.write, table, arguments.force)
    arguments.write.write_text(text, encoding="utf-8")
    return 0


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
