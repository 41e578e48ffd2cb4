"""The report on a fitted loss surface as one self-contained page: constants, verdict, sensitivity, frontier, next runs.

Pure text assembly: `page(parts)` takes the records by name and returns HTML in the look of every other report.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from ....bibliography import described
from ....theory.loss_surface.frontier import frontier
from ....theory.loss_surface.law import NAMES, L, loss
from ....theory.trail import Equations
from ..equations import result
from ..figures.style import data_uri
from ..outlines import shared
from ..report_page import STYLE_SHEET, Markup, escape, picture, table
from . import figures

HOLDS = Markup('<span class="badge holds">holds</span>')
FAILS = Markup('<span class="badge refuted">fails</span>')
LETTERS = {"E": "E", "A": "A", "B": "B", "alpha": "α", "beta": "β"}
REFERENCES = (
    "Hoffmann et al. 2022 (arXiv:2203.15556)",
    "Besiroglu et al. 2024 (arXiv:2404.10102)",
    "Kaplan et al. 2020 (arXiv:2001.08361)",
    "Caballero et al. 2022 (arXiv:2210.14891)",
    "Efron 1987",
)


def page(parts: Mapping[str, Any], title: str, columns: Mapping[str, str], cautions: Sequence[str] = ()) -> str:
    """The whole page. `parts`: fit, sensitivity, rollout (list), rivals; isoflop, next_runs or why not (text)."""
    fit = parts["fit"]
    verdict = fit.verdict
    badge = ("holds", "identifiable") if fit.identifiable else ("refuted", "not identifiable")
    notes = "".join(f'<p class="note">{escape(text)}</p>' for text in (*verdict.reasons, *verdict.cautions, *cautions))
    return shared(f"""<!DOCTYPE html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">
<title>{escape(title)}</title><style>{STYLE_SHEET.read_text(encoding="utf-8")}</style></head><body>
<h1>{escape(title)} <span class="badge {badge[0]}">{badge[1]}</span></h1>
<p class="lead">{escape(_lead(fit, columns))}</p>
{notes}
<div class="equations"><div>{result(Equations(((L, loss()),)))}</div></div>
<h2>Constants</h2>
{_constants(fit)}
<p class="soft">{escape(_how(fit))}</p>
{
        picture(
            data_uri(figures.residual_figure(fit)),
            "Left: every run, and the best loss for its compute by the law with "
            "its 90 % interval. Right: how far each run lies above the law.",
        )
    }
<h2>The floor</h2>
{
        picture(
            data_uri(figures.profile_figure(fit)),
            "Left: the fit with E held at other values. Right: the exponents fitted "
            "with them. What E gains the exponents gain.",
        )
    }
<h2>What single runs decide</h2>
{_drops(parts["sensitivity"])}
{
        picture(
            data_uri(figures.drop_figure(fit, parts["sensitivity"])),
            "Exponents after dropping runs of highest loss, "
            "against the interval of the bootstrap, which does not know of that choice.",
        )
    }
<h2>Would it have foreseen the largest runs?</h2>
{_rollouts(parts["rollout"])}
<h2>Compute-optimal runs</h2>
{_optimal(fit, parts["isoflop"])}
<h2>Other laws</h2>
{_rivals(parts["rivals"])}
{_next(parts.get("next_runs"))}
<h2>Checks</h2>
{_checks(verdict)}
<h2>Derivation of the frontier</h2>
<ol class="trail">{"".join(_step(step) for step in frontier().trail.steps)}</ol>
<h2>References</h2>
<ol class="references">{"".join(f"<li>{escape(text)}</li>" for text in described(REFERENCES))}</ol>
</body></html>
""")


def rows(head: Sequence[str], body: Sequence[Sequence[Any]]) -> str:
    """A table with a head; all columns but the first are numbers. `Markup` is not escaped."""

    def cell(value: Any, first: bool) -> str:
        text = value if isinstance(value, Markup) else escape(value)
        return f"<td>{text}</td>" if first else f"<td class=n>{text}</td>"

    top = "".join(f"<th{'' if i == 0 else ' class=n'}>{escape(text)}</th>" for i, text in enumerate(head))
    lines = "".join("<tr>" + "".join(cell(v, i == 0) for i, v in enumerate(row)) + "</tr>" for row in body)
    return f'<div class="table"><table><tr>{top}</tr>{lines}</table></div>'


def _lead(fit, columns: Mapping[str, str]) -> str:
    read = ", ".join(f"{quantity} from {name!r}" for quantity, name in columns.items())
    dropped = f", {fit.dropped} of highest loss dropped" if fit.dropped else ""
    return f"{len(fit.runs)} runs{dropped}" + (f"; {read}" if read else "")


def _how(fit) -> str:
    objective = "least squares" if np.isinf(fit.delta) else f"Huber's function cut off at {fit.delta:g}"
    unit = "groups of runs" if fit.runs.groups is not None else "runs"
    return (
        f"Minimum of {objective} on log losses, reached from {fit.agreeing} of {fit.tried} starts; errors and "
        f"bias-corrected intervals from {len(fit.draws)} bootstrap samples of {unit}. Noise about the law: "
        f"{fit.noise:.2%} of the loss. corr(E, α) = {fit.correlation[0, 3]:+.2f}, corr(E, β) = "
        f"{fit.correlation[0, 4]:+.2f}."
    )


def _constants(fit) -> str:
    ends, wide = fit.intervals(0.9), fit.intervals(0.5)
    body = [
        (
            LETTERS[name],
            f"{fit.estimates[name]:.5g}",
            f"{fit.standard_errors[name]:.4g}",
            f"{ends[name][0]:.4g} to {ends[name][1]:.4g}",
            f"{wide[name][0]:.4g} to {wide[name][1]:.4g}",
        )
        for name in NAMES
    ]
    symbols = {"parameters": "N* ~ C^a", "tokens": "D* ~ C^b", "loss": "L* − E ~ C^−c"}
    for name, (value, low, high) in (fit.exponents() if fit.has_frontier else {}).items():
        middle = fit.exponents(0.5)[name]
        body.append(
            (symbols[name], f"{value:.4g}", "", f"{low:.4g} to {high:.4g}", f"{middle[1]:.4g} to {middle[2]:.4g}")
        )
    return rows(("", "estimate", "s.e.", "90 % interval", "50 % interval"), body)


def _drops(sensitivity) -> str:
    body = [
        (str(k), *(f"{value:.5g}" for value in row))
        for k, row in zip(sensitivity.drops, sensitivity.constants, strict=True)
    ]
    moved = sensitivity.range
    told = f"Over these drops α moves by {moved[3]:.1f} and β by {moved[4]:.1f} of their standard errors."
    return rows(("dropped", *LETTERS.values()), body) + f"<p>{escape(told)}</p>"


def _rollouts(found: Sequence[Any]) -> str:
    if not found:
        return "<p>Too few runs to hold the largest out and fit the others.</p>"
    body = [
        (f"compute within {run.factor:g}x of the largest", str(run.held), f"{run.error:.2%}", f"{run.bias:+.2%}",
         f"{run.coverage:.0%}", f"{run.constants[3]:.3f}", f"{run.constants[4]:.3f}")
        for run in found
    ]  # fmt: skip
    head = ("held out", "runs", "error", "mean", "within 90 % intervals", "α of the others", "β of the others")
    return rows(head, body)


def _optimal(fit, found: Any) -> str:
    if not fit.has_frontier:
        return '<p class="note">An exponent is not above zero, so no split of compute is best.</p>'
    caption = "Best parameters and tokens for a compute budget, and tokens a parameter; dashed beyond the largest run."
    return picture(data_uri(figures.frontier_figure(fit)), caption) + _optima(fit) + _isoflop(fit, found)


def _optima(fit) -> str:
    largest = fit.runs.compute.max()
    body = []
    for factor in (1, 10, 100):
        best = fit.optimum(factor * largest)
        ends = best.intervals
        told = [
            f"{getattr(best, name):.4g} ({ends[name][0]:.4g} to {ends[name][1]:.4g})"
            for name in ("parameters", "tokens", "ratio", "loss")
        ]
        body.append((f"{best.compute:.3g}" + (f" ({factor}x the largest)" if factor > 1 else ""), *told))
    return rows(("compute", "N*", "D*", "D*/N*", "L*"), body)


def _isoflop(fit, found: Any) -> str:
    if isinstance(found, str):
        return f'<p class="note">No parabolas: {escape(found)}</p>'
    caption = (
        "Left: runs of about equal compute, their parabolas and minima. Right: minima against compute, with the law."
    )
    return picture(data_uri(figures.isoflop_figure(fit, found)), caption) + f"<p>{escape(found)}</p>"


def _rivals(found: Any) -> str:
    body = [
        (name, f"{value:+.1f}", ", ".join(f"{LETTERS.get(k, k)} = {v:.4g}" for k, v in found.constants[name].items()))
        for name, value in sorted(found.criteria.items(), key=lambda entry: entry[1])
    ]
    lines = str(found).split("\n")
    return rows(("law", "criterion above the best", "constants"), body) + f"<p>{escape(lines[-1])}</p>"


def _next(found: Any) -> str:
    if found is None:
        return ""
    if isinstance(found, str):
        return f'<h2>Next runs</h2><p class="note">{escape(found)}</p>'
    body = [
        (f"{n:.3g}", f"{d:.3g}", f"{6 * n * d:.2g}", str(r))
        for n, d, r in zip(found.parameters, found.tokens, found.repeats, strict=True)
    ]
    last = str(found).rsplit("\n", 1)[-1]
    head = f"Runs that shrink the error of {found.quantity.replace('_', ' ')} the most, for {found.budget:.3g} flops."
    return f"<h2>Next runs</h2><p>{escape(head)}</p>{rows(('N', 'D', 'flops each', 'runs'), body)}<p>{escape(last)}</p>"


def _checks(verdict) -> str:
    body = [
        (
            check.name,
            f"{check.distance:.3g}",
            f"{check.radius:.3g}",
            Markup(
                '<span class="badge holds">holds</span>' if check.holds else '<span class="badge refuted">fails</span>'
            ),
        )
        for check in verdict.checks
    ]
    values = ", ".join(f"{value:.3g}" for value in verdict.singular_values)
    return rows(("check", "measured", "radius", ""), body) + table({"singular values": values})


def _step(step) -> str:
    notes = "; ".join(filter(None, (step.assumption and f"assuming {step.assumption}", step.check, step.reference)))
    what = f'<div class="what">{result(step.result)}</div><span class="soft">{escape(notes)}</span>'
    return f"<li>{escape(step.rule)}{what}</li>"
