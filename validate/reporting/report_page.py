"""The report as one self-contained page: every figure, equation and number inside, nothing to fetch.

Pure text assembly: `page(content)` takes what `validate.reporting.report` collected and returns HTML.
"""

import html
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from ..judging.verdict import Verdict, number
from .outlines import shared
from .typesetting import label, proper, prose, title

EXPONENTS = ("exponents-before-training", "Exponents forecast before training")  # anchor and title of that part
STYLE_SHEET = Path(__file__).with_name("report.css")


def page(content: Mapping[str, Any]) -> str:
    """The whole page. `content`: title, summary, models (sections), environment, references, failures."""
    sections = "".join(_model(model) for model in content["models"])
    verdicts = [v for model in content["models"] for v in model["verdicts"]]
    exponents, told = content.get("exponents", ("", ""))
    return shared(f"""<!DOCTYPE html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">
<title>{escape(content["title"])}</title><style>{STYLE_SHEET.read_text(encoding="utf-8")}</style></head><body>
<h1>{escape(content["title"])}</h1>
<p class="lead">{escape(content["summary"])}</p>
{_reading()}
{contents(content["models"], content.get("failures", {}), told)}
<h3 id="verdicts">Verdicts</h3>
{verdict_table(verdicts, content.get("failures", {}))}
<p>{escape(times(verdicts))}</p>
{exponents}
{sections}
<h2 id="references">References</h2>
<ol class="references">{"".join(f"<li>{escape(r)}</li>" for r in content["references"])}</ol>
<h2 id="environment">Environment</h2>
{table(content["environment"])}
</body></html>
""")


def contents(models: Sequence[Mapping[str, Any]], failures: Mapping[tuple[str, str], str], exponents: str = "") -> str:
    """The models, each with how many of its claims turned out how, and forecast exponents, leading to their parts."""
    entries = []
    if exponents:
        entries.append(f'<li><a href="#{EXPONENTS[0]}">{EXPONENTS[1]}</a> <span class="soft">{exponents}</span></li>')
    for model in models:
        lost = sum(theory == model["name"] for theory, _ in failures)
        told = counted(model["verdicts"]) + ([f"{lost} not judged"] if lost else [])
        entries.append(
            f'<li><a href="#{anchor(model["name"])}">{escape(model["title"].partition(":")[0])}</a>'
            f' <span class="soft">{", ".join(told) or "no claims"}</span></li>'
        )
    return f"<nav><ol>{''.join(entries)}</ol></nav>"


def counted(verdicts: Sequence[Verdict]) -> list[str]:
    """How many verdicts there are of each kind.

    >>> counted([Verdict("m", "c", outcome="holds"), Verdict("m", "d", outcome="outside_domain")])
    ['1 holds', '1 outside domain']
    """
    outcomes = [verdict.outcome for verdict in verdicts]
    kinds = {kind: outcomes.count(kind) for kind in dict.fromkeys(outcomes)}
    return [f"{n} {'hold' if (kind, n > 1) == ('holds', True) else said(kind)}" for kind, n in kinds.items()]


def verdict_table(verdicts: Sequence[Verdict], failures: Mapping[tuple[str, str], str]) -> str:
    """All verdicts, one row each, under their models; a claim that could not be judged gives its reason."""
    head = (
        "<tr><th>claim</th><th>verdict</th><th class=n>error</th><th class=n>budget</th>"
        "<th class=n>resolution</th><th>rival</th><th class=n>it is off by</th><th class=n>theory, s</th>"
        "<th class=n>training, s</th></tr>"
    )
    rows = []
    for theory in dict.fromkeys([v.theory for v in verdicts] + [theory for theory, _ in failures]):
        rows.append(f'<tr class=first><th colspan=9><a href="#{anchor(theory)}">{escape(theory)}</a></th></tr>')
        rows += [_row(v) for v in verdicts if v.theory == theory]
        rows += [
            f"<tr><td>{escape(proper(claim.replace('_', ' ')))}</td>"
            f'<td><span class="badge failed">not judged</span></td><td colspan=7>{escape(reason)}</td></tr>'
            for (failed, claim), reason in failures.items()
            if failed == theory
        ]
    return f'<div class="table"><table class="verdicts">{head}{"".join(rows)}</table></div>'


def _row(v: Verdict) -> str:
    error = signed(v.bias) + (f"&nbsp;±&nbsp;{quantity(v.standard_error)}" if v.standard_error else "")
    spared = "" if v.rival_outcome == "refuted" else f" <em>({said(v.rival_outcome)})</em>"
    slower = "<b>{}</b>" if v.theory_seconds > v.seconds else "{}"
    return (
        f'<tr><td><a href="#{anchor(v.theory, v.claim)}">{escape(proper(v.claim.replace("_", " ")))}</a></td>'
        f"<td>{badge(v)}</td><td class=n>{error}</td><td class=n>{quantity(v.budget.get('total'))}</td>"
        f"<td class=n>{quantity(v.resolution)}</td><td>{escape(label(v.rival))}{spared}</td>"
        f"<td class=n>{quantity(abs(v.rival_bias))}</td><td class=n>{slower.format(f'{v.theory_seconds:.1f}')}</td>"
        f"<td class=n>{v.seconds:.1f}</td></tr>"
    )


def times(verdicts: Sequence[Verdict]) -> str:
    """How long forecasts and experiments took, and how often the theory was the slower of the two.

    >>> print(times([Verdict("m", "c", seconds=3.0, theory_seconds=1.0)]))
    Forecasts, derivation included, took 1.0 s and experiments 3.0 s. No forecast was slower than its experiment.
    """
    theory, training = (sum(getattr(v, name) for v in verdicts) for name in ("theory_seconds", "seconds"))
    slower = sorted((v for v in verdicts if v.theory_seconds > v.seconds), key=lambda v: v.seconds - v.theory_seconds)
    told = "No forecast was slower than its experiment."
    if slower:
        most = [
            f"{v.theory} / {v.claim.replace('_', ' ')} ({v.theory_seconds:.1f} s against {v.seconds:.1f} s)"
            for v in slower[:3]
        ]
        among = ", most of all" if len(slower) > 3 else ":"
        told = f"The forecast was the slower of the two for {len(slower)} of {len(verdicts)} claims{among} "
        told += f"{', '.join(most)}; their times are bold in the table."
    return f"Forecasts, derivation included, took {theory:.1f} s and experiments {training:.1f} s. {told}"


def badge(verdict: Verdict) -> str:
    """The outcome as a coloured word; outlined when it is not the announced one."""
    odd = "" if verdict.as_expected else " unexpected"
    announced = f"announced: {said(verdict.expected)}"
    return f'<span class="badge {verdict.outcome}{odd}" title="{announced}">{said(verdict.outcome)}</span>'


def said(outcome: str) -> str:
    """An outcome in words."""
    return escape(outcome.replace("_", " "))


def picture(image: str, caption: str) -> str:
    """A figure with its caption; `image` is a data URI."""
    text = escape(caption)
    return f'<figure><img alt="{text}" src="{image}"><figcaption>{text}</figcaption></figure>'


def table(rows: Mapping[str, Any], kind: str = "card") -> str:
    """Two columns, name and value; empty values are left out. Values marked with `Markup` are not escaped."""
    body = "".join(
        f"<tr><td>{escape(name)}</td><td>{value if isinstance(value, Markup) else escape(str(value))}</td></tr>"
        for name, value in rows.items()
        if value not in ("", None)
    )
    return f'<div class="table"><table class="{kind}">{body}</table></div>'


class Markup(str):
    """Text that is HTML already."""


def anchor(theory: str, claim: str = "") -> str:
    """The page's name for a model, or for one of its claims."""
    return "-".join(filter(None, (theory, claim))).replace("_", "-").replace(" ", "-").lower()


def escape(text: Any) -> str:
    """Text as HTML that shows it, inside an attribute too."""
    return html.escape(str(text), quote=True)


def quantity(value: float | None) -> str:
    """Two digits with a real power of ten; a dash for what is not known.

    >>> quantity(1.2e-10), quantity(0.05), quantity(math.inf)
    ('1.2·10<sup>−10</sup>', '0.05', '–')
    >>> quantity(-1e-15)
    '−10<sup>−15</sup>'
    """
    if value is None or not math.isfinite(value):
        return "–"
    mantissa, _, exponent = number(value).partition("e")
    if not exponent:
        return mantissa.replace("-", "−")
    power = str(int(exponent)).replace("-", "−")
    if mantissa in ("1", "-1"):
        return f"{'−' * (mantissa == '-1')}10<sup>{power}</sup>"
    return f"{mantissa.replace('-', '−')}·10<sup>{power}</sup>"


def signed(value: float) -> str:
    """As `quantity`, with a plus sign where positive."""
    return ("+" if math.isfinite(value) and value > 0 else "") + quantity(value)


def _reading() -> str:
    return (
        '<p class="soft">How to read this. Every prediction was computed from the setting and the state at the start, '
        "written to disk and hashed before the first training step; training differentiates the network itself and "
        "never sees a derived equation. A claim <em>holds</em> if its error, plus its uncertainty, stays within a "
        "budget declared beforehand <em>and</em> its rival, the best theory without the claimed ingredient, is refuted "
        "by the same data. <em>Resolution</em> is what could be seen: an error of twice that size, planted in the "
        "measurement, is refuted in at least 95&nbsp;% of repeats. The whole report raises a false alarm in at most "
        "1&nbsp;% of runs. In figures the prediction is a line, the measurement dots with error bars, the rival "
        "dashed; nothing is fitted.</p>"
    )


def _model(model: Mapping[str, Any]) -> str:
    trail = "".join(f"<li>{step}</li>" for step in model["trail"])
    pictures = "".join(
        picture(**entry)
        if "image" in entry
        else f'<p class="soft">The modes of {escape(entry["data"])} are pictured under '
        f'<a href="#{anchor(entry["shown"])}">{escape(entry["shown"])}</a>.</p>'
        for entry in model.get("pictures", ())
    )
    steps = f"derivation of these equations, step by step ({len(model['trail'])})"
    page = model.get("derivation")
    whole = f'<p><a href="{escape(page)}">Everything this model derives</a>, with every step</p>' if page else ""
    return f"""
<h2 id="{anchor(model["name"])}">{escape(model["title"])}</h2>
<p class="soft"><code>{escape(model["name"])}</code>{escape(model["hyperparameters"])}</p>
<h4>Derived equations</h4>
<div class="equations">{"".join(f"<div>{row}</div>" for row in model["equations"])}</div>
<details><summary>{steps}</summary><ol class="trail">{trail}</ol></details>
{whole}
{pictures}
{"".join(_claim(claim) for claim in model["claims"])}
"""


def _claim(claim: Mapping[str, Any]) -> str:
    verdict: Verdict = claim["verdict"]
    notes = "".join(f'<p class="note">{prose(note)}</p>' for note in verdict.notes)
    return f"""
<h3 id="{anchor(verdict.theory, verdict.claim)}">{escape(title(verdict.claim))} {badge(verdict)}</h3>
<p>{prose(verdict.statement)}</p>
{picture(claim["image"], claim["caption"])}
{notes}{table(claim["facts"])}
"""
