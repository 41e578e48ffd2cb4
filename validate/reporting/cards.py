"""What the page says about each model and each claim: equations, trail, caption, and the facts behind a verdict.

`content(...)` turns runs into the plain mapping that `report_page.page` lays out.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import fields
from typing import Any

import numpy as np

from ...bibliography import described
from ...theory.claims import Converges, Scales, Threshold
from ...theory.model import Theory
from ..forecasts.cell_forecasts import Settled
from ..judging.check import Run
from ..judging.verdict import Verdict
from .equations import readable, result, rows
from .figures.axes import parts, series, view
from .figures.names import PAIRED, TIMES, axis_label, component, component_name, components, quantity_name
from .figures.pictures import pictures
from .figures.style import data_uri
from .forecast_section import forecast_section
from .plot import figure, seeds_apart
from .report_page import Markup, escape, quantity, said, signed
from .typesetting import label, proper, prose


def content(
    theories: Sequence[Theory],
    runs: Sequence[tuple[Theory, Run]],
    failures,
    environment: Mapping[str, Any],
    summary: str,
    derivations: Mapping[str, str],
    settled: Settled,
) -> dict[str, Any]:
    """Everything on the page, model by model; `derivations` are the pages that hold whole derivations."""
    sections, cited = [], []
    pictured: dict[Any, str] = {}
    for theory in theories:
        system = theory.derive()
        own = [run for t, run in runs if t is theory]
        cited += list(system.trail.references)
        for run in own:
            cited += [run.claim.reference, *run.prediction.references, *run.rival.references]
        sections.append(
            {
                "name": theory.model_name(),
                "title": theory.title(),
                "hyperparameters": _hyperparameters(theory),
                "equations": [readable(*row) for row in rows(system)],
                "trail": [_step(step) for step in system.trail.steps],
                "verdicts": [run.verdict for run in own],
                "claims": [_claim(run) for run in own],
                "pictures": pictures(own, theory.model_name(), pictured),
                "derivation": derivations.get(theory.model_name(), ""),
            }
        )
    return {
        "title": "Learning mechanics: predictions against training",
        "summary": summary,
        "models": sections,
        "exponents": forecast_section(settled.forecasts, settled.scores, settled.refused),
        "failures": failures,
        "references": described(part for reference in cited for part in reference.split(";")),
        "environment": {name.replace("_", " "): place(str(value)) for name, value in environment.items()},
    }


def _claim(run: Run) -> dict[str, Any]:
    image = data_uri(figure(run.claim, run.prediction, run.rival, run.measurement, run.verdict))
    return {"verdict": run.verdict, "caption": caption(run), "image": image, "facts": _facts(run)}


def caption(run: Run) -> str:
    """What is seen: which curves, which of them are drawn, and what the right-hand panel judges."""
    claim, verdict = run.claim, run.verdict
    seeds = len(run.measurement.values)
    left = _left(run)
    if seeds_apart(claim, run.prediction) and view(claim, run.measurement) == "records":
        left += f". All {seeds} seeds have the same prediction; the dots of {min(seeds, 3)} are shown in turn"
    elif len(run.prediction.values) > 1 and not seeds_apart(claim, run.prediction) and not claim.stochastic:
        left += f". Each of the {seeds} seeds has its own prediction; the first is drawn, all are judged"
    right = {Converges: _right_of_order, Scales: _right_of_slope}.get(type(claim), _right_of_error)(run)
    missed = abs(verdict.rival_bias)
    rival = f"The rival, {label(claim.rival.name)}, " + (
        f"misses by {missed:.2g}" if verdict.rival_outcome == "refuted" else f"is not refuted here: off by {missed:.2g}"
    )
    return f"Left: {left}. Right: {right}. {rival}{' ' + verdict.unit if verdict.unit else ''}."


def _left(run: Run) -> str:
    """Which quantity is drawn against what, and which of its components."""
    claim, values = run.claim, run.prediction.values
    if isinstance(claim, Threshold):
        return "growth of a small displacement per step, just below and just above the predicted threshold"
    seen, count = view(claim, run.measurement), values.shape[3]
    left, when = quantity_name(claim.observable), _when(run)
    if seen == "components":
        return f"{left}{when}, for every {component(claim)}"
    if seen == "axis":
        left += f"{when} against {_axis(claim)}"
        drawn = len(parts(values[:, :1, -1:], claim))
    else:
        left += " against sample size" if run.measurement.abscissa_name == "n" else " during training"
        if len(claim.values) > 1:
            left += f", for each {_axis(claim)}"
            part = series(values, claim)[0][1]
            return left + (f" ({component_name(claim, part, count)} of {count})" if count > 1 else "")
        drawn = len(parts(values, claim))
    if seen == "axis" and claim.observable in TIMES:  # what never happens is not drawn
        drawn = sum(bool((values[0, :, -1, part] > 0).any()) for part in parts(values[:, :1, -1:], claim))
    if claim.observable == PAIRED:
        drawn, count = drawn // 2, count // 2
    return left + (f", {drawn} of {count} {components(claim)}" if count > drawn else "")


def _when(run: Run) -> str:
    """When what has no curve was measured; a kernel on its data has no time."""
    if np.max(run.measurement.abscissa) > 0:
        return " at the end of training"
    return "" if "kernel" in run.claim.setup.options else " at the start"


def _axis(claim) -> str:
    return axis_label(claim).partition(" (")[0]


def _right_of_error(run: Run) -> str:
    claim = run.claim
    what = "error of the mean over runs" if claim.stochastic else "largest error over everything judged"
    if view(claim, run.measurement) == "components":
        what += f", {component(claim)} by {component(claim)},"
    elif not isinstance(claim, Threshold) and run.measurement.values.shape[2] > 1 and "summary" not in claim.options:
        what += ", point by point,"
    if claim.stochastic:
        what += " with two of its standard errors dotted,"
    shaded = "; the shaded window is what was judged" if "window" in claim.options else ""
    return f"{what} against the budget declared beforehand{shaded}"


def _right_of_order(run: Run) -> str:
    line = "the line has the predicted slope and passes through the smallest error"
    return f"largest error against {_axis(run.claim)}; {line}"


def _right_of_slope(run: Run) -> str:
    return "local slopes between neighbouring points; the slope over the shaded window is what was judged"


def _facts(run: Run) -> dict[str, Any]:
    verdict, claim = run.verdict, run.claim
    unit = f" {verdict.unit}" if verdict.unit else ""
    parts = ", ".join(f"{escape(name)} {quantity(part)}" for name, part in verdict.budget.items() if name != "total")
    error = signed(verdict.bias) + (f" ± {quantity(verdict.standard_error)}" if verdict.standard_error else "")
    rival = f"{escape(label(verdict.rival))}: {said(verdict.rival_outcome)}, off by {quantity(abs(verdict.rival_bias))}"
    first = verdict.seeds[0] if verdict.seeds else "-"
    seeds = f"seed {first}" if len(verdict.seeds) == 1 else f"{len(verdict.seeds)} seeds from {first}"
    assumptions = (
        f"{escape(a['name'])}: distance {quantity(a['distance'])}, holds up to {quantity(a['radius'])}"
        for a in run.prediction.assumptions
    )
    return {
        "law": f"{label(claim.law.name)}, by {_method(run.prediction.method)}",
        "error": Markup(f"{error}{unit}{_among(verdict)}"),
        "power": _power(verdict),
        "budget": Markup(f"{quantity(verdict.budget.get('total', 0.0))} ({parts})"),
        "resolution": Markup(f"{quantity(verdict.resolution)}{unit}"),
        "rival": Markup(rival + (f"; at home: {prose(verdict.rival_home)}" if verdict.rival_home else "")),
        "assumptions": Markup("<br>".join(assumptions)),
        "experiment": Markup(_experiment(claim)),
        "run": f"{seeds}, {place(verdict.device)}, "
        f"{verdict.dtype}, matmul precision {verdict.precision}, {verdict.seconds:.1f} s; "
        f"the forecast took {verdict.theory_seconds:.1f} s",
        "forecast": Markup(f"<code>{verdict.forecast_hash}</code>"),
    }


METHODS = {"ode": "numerical integration", "fixed_point": "root finding"}


def _method(name: str) -> str:
    """How a law was solved, in words; a solver of its own by its name.

    >>> _method("ode"), _method("implicit_bias"), _method("recursion")
    ('numerical integration', 'a solver of its own (implicit bias)', 'recursion')
    """
    known = METHODS.get(name, name)
    own = "." in known or "_" in known or known == "riccati"
    return f"a solver of its own ({known.rpartition('.')[2].replace('_', ' ')})" if own else known


PROCEDURES = {
    "full_batch": "full-batch training",
    "one_pass": "one pass of stochastic gradient steps",
    "kernel_solve": "direct kernel regression",
}


def _experiment(claim) -> str:
    """Procedure, data and what the optimizer was told; a direct solve has no optimizer."""
    setup = claim.setup
    data = escape(str(getattr(setup.data, "name", setup.data)).replace("_", " "))
    moved = (
        f", {claim.axis.replace('_', ' ')} {', '.join(f'{value:g}' for value in claim.values)}" if claim.axis else ""
    )
    if setup.procedure == "full_batch" and not setup.total_steps():  # nothing is trained
        return f"{'kernel matrix' if 'kernel' in setup.options else 'networks at the start'} on {data}{moved}"
    text = f"{PROCEDURES.get(setup.procedure, setup.procedure.replace('_', ' '))} on {data}"
    if setup.procedure == "kernel_solve":
        ridge = setup.options.get("ridge")
        sizes = ", ".join(map(str, setup.sizes))
        return text + f", n = {sizes}" + (f", ridge {quantity(ridge)}" if isinstance(ridge, int | float) else "")
    rates = claim.values if claim.axis == "learning_rate" and not isinstance(claim, Threshold) else ()
    rate = ", ".join(f"{rate:g}" for rate in rates or (setup.optimizer.learning_rate,))
    rate += f" in units of {setup.optimizer.unit}" if setup.optimizer.unit != "1" else ""
    if isinstance(claim, Threshold):
        rate = " and ".join(f"{value:g}" for value in claim.values) + " of the predicted threshold"
    named = "" if setup.procedure == "one_pass" else f" {proper(setup.optimizer.name.replace('_', ' '))},"
    text += f",{named} learning rate {rate}"
    return text + (moved if claim.axis != "learning_rate" else "")


def place(device: str) -> str:
    """A device, named once.

    >>> place("cpu: cpu"), place("gpu: NVIDIA H200")
    ('cpu', 'gpu: NVIDIA H200')
    """
    kind, _, name = device.partition(": ")
    return kind if name == kind else device


def _among(verdict: Verdict) -> str:
    points = verdict.numbers.get("points", 1)
    median = quantity(verdict.numbers.get("median", 0.0))
    return f", at the decisive one of {points} points; median {median}" if points > 1 else ""


def _power(verdict: Verdict) -> str:
    if verdict.slope is None or verdict.order is None:
        return ""
    text = f"{verdict.slope:.4f} measured, {verdict.order:.4f} predicted"
    if "three_smallest" in verdict.numbers:
        text += f"; the three smallest points alone say {verdict.numbers['three_smallest']:.4f}"
    if len(verdict.numbers.get("slopes", ())) > 1 and "axis" in verdict.numbers:
        text += "; local slopes " + ", ".join(f"{slope:.3f}" for slope in verdict.numbers["slopes"])
    return text.replace("-", "−")


def _hyperparameters(theory: Theory) -> str:
    named = ", ".join(f"{f.name.replace('_', ' ')} = {getattr(theory, f.name)}" for f in fields(theory))
    return f" with {named}" if named else ""


def _step(step) -> str:
    check = re.sub(r"\b0e\+00\b", "0", step.check or "")
    notes = [f"assuming {step.assumption}" if step.assumption else "", check, step.reference]
    told = "; ".join(prose(note) for note in notes if note)
    rule = prose(step.rule.replace("**", "^"))
    return f'{rule}<div class="what">{result(step.result)}</div><span class="soft">{told}</span>'
