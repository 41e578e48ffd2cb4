"""A document as one self-contained page in the look of the report: every equation drawn, nothing to fetch.

>>> import sympy as sp
>>> from learning_mechanics.theory.document.document import document
>>> from learning_mechanics.theory.system import Flow
>>> x = sp.Symbol("x", positive=True)
>>> page = derivation_page(document(Flow((x,), (-x,)), "Decay & rest"))
>>> page.count("<svg") >= 3, "Decay &amp; rest" in page, "http" in page
(True, True, False)
"""

import os
import re
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import sympy as sp

from ...theory.closed_forms.closed_form import ClosedForm
from ...theory.document.document import Document, Section, document, spans
from ...theory.document.notation import latex
from ...theory.model import Theory, find, names
from ...theory.trail import Equations, Step
from ..judging.ledger import write
from .equations import equation_rows, formula, readable, result, rows
from .outlines import shared
from .report_page import STYLE_SHEET, escape, quantity, table
from .typesetting import LETTERS, proper, prose, spoken, title

_STYLE = """
body { max-width: 58rem; counter-reset: section; }
nav { font-size: .92rem; margin: 1.2rem 0 0; } nav ol { margin: .3rem 0; padding-left: 1.4rem; columns: 2; }
h2 .n { color: var(--soft); font-weight: 400; margin-right: .6rem; }
ol.trail { padding-left: 2rem; font-size: .95rem; } ol.trail li { margin: 1.1rem 0; }
ol.trail li::marker { color: var(--soft); }
.given { color: var(--soft); font-size: .95rem; overflow-x: auto; line-height: 2; }
.verified { background: #d7eee5; color: #00563f; }
.kind { float: right; font: .85rem/2 system-ui, sans-serif; color: var(--soft); }
.equations div { margin: .4rem 0 .4rem 2em; line-height: 1.9; } .equations { padding: .2rem 0 .2rem 1.6rem; }
.result { border-left: 3px solid #0072B2; padding-left: 1rem; margin: .6rem 0; }
.cite { font-size: .85rem; color: var(--soft); text-decoration: none; }
"""
MANY = 6  # models from which on a process of its own is worth its start
_KINDS = {"Flow": "flow: rates of change", "Map": "map: values after one step", "FixedPoint": "fixed point"}


def derivation_page(content: Document) -> str:
    """The whole page as HTML."""
    settings = ", ".join(f"{name.replace('_', ' ')} = {value}" for name, value in content.hyperparameters.items())
    listed = "".join(
        f'<li><a href="#section-{n}">{_titled(s.title)}</a></li>' for n, s in enumerate(content.sections, 1)
    )
    stated = {proper(name): text for name, text in content.assumptions.items() if text}
    sources = "".join(f'<li id="reference-{n}">{escape(e["text"])}</li>' for n, e in enumerate(content.references, 1))
    return shared(f"""<!DOCTYPE html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">
<title>{escape(content.title)}</title><style>{STYLE_SHEET.read_text(encoding="utf-8")}{_STYLE}</style></head><body>
<h1>{escape(content.title)}</h1>
<p class="lead"><code>{escape(content.model)}</code> {escape(settings)}</p>
<nav><ol>{listed}</ol></nav>
{"".join(_section(number, section, content) for number, section in enumerate(content.sections, 1))}
{f"<h2>Assumptions</h2>{table(stated)}" if stated else ""}
{f'<h2>References</h2><ol class="references">{sources}</ol>' if sources else ""}
</body></html>
""")


class DerivationPages:
    """Everything each model derives, as pages in a folder, written by a process of its own meanwhile.

    Within the context the process works; `finish()` waits for it and writes what it left out: models with other than
    their usual hyperparameters, models of the user, or everything if the process could not be started.
    """

    def __init__(self, theories: Sequence[Theory], folder: Path):
        self.theories, self.folder = theories, folder
        known = set(names())
        self.usual = [t.model_name() for t in theories if t.model_name() in known and t == find(t.model_name())()]
        self.process: subprocess.Popen | None = None

    def __enter__(self) -> "DerivationPages":
        self.folder.mkdir(parents=True, exist_ok=True)
        for path in self.folder.glob("*.html"):
            path.unlink()  # of an earlier run, perhaps of another version
        if len(self.usual) >= MANY:
            package = sys.modules[__package__.partition(".")[0]]  # the child must find this very one
            source = str(Path(str(package.__file__)).parents[1])
            paths = [source, *filter(None, [os.environ.get("PYTHONPATH")])]
            command = [sys.executable, "-m", "learning_mechanics.validate.reporting.derivation_page", str(self.folder)]
            try:
                self.process = subprocess.Popen(
                    [*command, *self.usual],
                    env={**os.environ, "PYTHONPATH": os.pathsep.join(paths)},
                    stdout=subprocess.DEVNULL,
                    stderr=subprocess.DEVNULL,
                )
            except OSError:
                self.process = None
        return self

    def __exit__(self, *_) -> None:
        if self.process is not None and self.process.poll() is None:
            self.process.terminate()
            self.process.wait()

    def finish(self) -> dict[str, str]:
        """Model -> its page, relative to the folder above."""
        if self.process is not None:
            self.process.wait()
        for theory in self.theories:
            if not (self.folder / f"{theory.model_name()}.html").exists():
                _write(theory, self.folder)
        return {t.model_name(): f"{self.folder.name}/{t.model_name()}.html" for t in self.theories}


def _write(theory: Theory, folder: Path) -> None:
    write(folder / f"{theory.model_name()}.html", derivation_page(document(theory)))


def _section(number: int, section: Section, content: Document) -> str:
    shown = rows(section.system)
    count = len(section.system.unknowns)
    parts = [
        f'<h2 id="section-{number}"><span class="n">{number}</span>{_titled(section.title)}'
        f'<span class="kind">{_KINDS[type(section.system).__name__]}</span></h2>',
        _block(shown[:count]),
    ]
    if shown[count:]:
        parts += ["<h4>Observables</h4>", _block(shown[count:])]
    if section.conserved:
        kept = [(latex(quantity_) + r" = \mathrm{const}", f"{quantity_} = const") for quantity_ in section.conserved]
        parts += ["<h4>Conserved</h4>", _block(kept)]
    if section.solution:
        parts += ["<h4>Closed form</h4>", _closed_form(section.solution)]
    earlier = [n for n in section.numbers if n not in section.fresh]
    parts.append("<h4>Derivation</h4>")
    if earlier:
        linked = re.sub(r"\d+", lambda found: f'<a href="#step-{found[0]}">{found[0]}</a>', spans(earlier))
        parts.append(f'<p class="soft">From {linked}.</p>')
    steps = "".join(_step(n, content.steps[n - 1], content) for n in section.fresh)
    return "\n".join(parts) + (f'<ol class="trail">{steps}</ol>' if steps else "")


def _closed_form(solution: ClosedForm) -> str:
    conditions = " ".join(formula(latex(condition), str(condition)) for condition in solution.domain)
    told = f"{escape(solution.kind)}, by {escape(solution.method)}; substituted back at 20 random points in 40 digits: "
    told += f'<span class="badge verified">residual {quantity(solution.residual)}</span>'
    where = f"<div>where {conditions}</div>" if conditions else ""
    shown = result(solution.trail.steps[-1].result)
    return f'<div class="result equations"><div>{shown}</div>{where}</div><p class="soft">{told}</p>'


def _step(number: int, step: Step, content: Document) -> str:
    assumed = f' <span class="soft">assuming {prose(step.assumption)}</span>' if step.assumption else ""
    cited = "".join(f' <a class="cite" href="#reference-{n}">[{n}]</a>' for n in content.cited(step))
    given = ""
    if isinstance(step.given, Equations) and not any(right.has(sp.oo) for _, right in step.given.rows):
        given = (
            '<div class="given">with ' + ", &ensp;".join(formula(*row) for row in equation_rows(step.given)) + "</div>"
        )
    check, exact = step.check, ""
    if step.residual is not None:  # the number as a badge instead of in words
        check = re.sub(r"[:,]? (residual )?[0-9.]+(e[-+][0-9]+)?$", "", check)
        exact = f' <span class="badge verified">{quantity(step.residual)}</span>'
    return (
        f'<li value="{number}" id="step-{number}"><b>{_rule(step.rule)}</b>{assumed}{cited}{given}'
        f'<div class="what">{result(step.result)}</div><span class="soft">{spoken(check)}{exact}</span></li>'
    )


def _rule(rule: str) -> str:
    """The rule with its formulas drawn, where it ends in one: change to a = u**2, project onto P = ..."""
    head, _, rest = rule.partition(" to " if rule.startswith("change to ") else " onto ")
    drawn = result(rest) if rest else ""
    if drawn.startswith("<svg"):
        return f"{escape(head.capitalize())} {'to' if head == 'change' else 'onto'} {drawn.replace('<br>', ', ')}"
    words = proper(re.sub(r"_(?![a-z]{1,2}\b)", " ", rule.replace(" oo", " ∞")))  # indices stay
    first = re.match(r"[A-Za-z]+", words)
    symbol = first and (first[0] in LETTERS or re.match(r"\w+ (?:[=<>]|->)", words))  # its case says which it is
    return prose(words if symbol else words[:1].upper() + words[1:])


def _block(shown) -> str:
    return '<div class="equations">' + "".join(f"<div>{readable(*row)}</div>" for row in shown) + "</div>"


def _titled(text: str) -> str:
    return escape(title(text))


if __name__ == "__main__":
    for model in sys.argv[2:]:
        _write(find(model)(), Path(sys.argv[1]))
