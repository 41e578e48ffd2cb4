r"""A document as one LaTeX file that compiles as it stands: article class, amsmath, graphicx and nothing else.

Equations wider than the page are shrunk to its width, so that no derivation runs off the paper.

>>> from ..system import Flow
>>> x = sp.Symbol("x", positive=True)
>>> text = latex_document(document(Flow((x,), (-x,)), "Decay & rest"))
>>> text.splitlines()[0], r"\title{Decay \& rest}" in text, r"\dot{x} &= - x" in text
('\\documentclass[11pt]{article}', True, True)
>>> text.count("{") == text.count("}")
True
"""

import re

import sympy as sp

from ..trail import Equations, Step
from .document import Document, Section, spans
from .document import document as document
from .notation import latex, word

_PREAMBLE = r"""\documentclass[11pt]{article}
\usepackage[T1]{fontenc}
\usepackage[utf8]{inputenc}
\usepackage{amsmath,amssymb,graphicx}
\usepackage[margin=2.4cm]{geometry}
\setlength{\parindent}{0pt}\setlength{\parskip}{4pt plus 2pt}\emergencystretch=3em
\newsavebox{\equationbox}
% an equation at its natural size, or shrunk to the width of the line
\newcommand{\fitted}[1]{\sbox{\equationbox}{$\displaystyle #1$}%
  \[\ifdim\wd\equationbox>\linewidth\resizebox{\linewidth}{!}{\usebox{\equationbox}}\else\usebox{\equationbox}\fi\]}
\newcommand{\step}[2]{\par\medskip\textbf{#1}\quad #2\par\nopagebreak}
\newcommand{\note}[1]{{\small\itshape #1\par}}
"""
LONGEST = 1500  # characters of a right side; shrunk to one line it could not be read
_TOO_LONG = r"\cdots\quad\text{(too long to print: see the text or the Python form)}"
_ESCAPES = {"\\": r"\textbackslash{}", "~": r"\textasciitilde{}", "^": r"\textasciicircum{}", "<": r"\textless{}"}
_ESCAPES |= {">": r"\textgreater{}", "|": r"\textbar{}", **{letter: "\\" + letter for letter in "&%$#_{}"}}


def latex_document(content: Document) -> str:
    """The whole document as LaTeX source."""
    settings = ", ".join(f"{name.replace('_', ' ')} = {value}" for name, value in content.hyperparameters.items())
    parts = [
        _PREAMBLE,
        rf"\title{{{escaped(content.title)}}}\author{{{escaped(settings)}}}\date{{}}",
        r"\begin{document}\maketitle",
        *(_section(section, content) for section in content.sections),
        _assumptions(content),
        _bibliography(content),
        r"\end{document}",
    ]
    return "\n".join(part for part in parts if part) + "\n"


def escaped(text: str) -> str:
    r"""Words as LaTeX shows them.

    >>> escaped("a_b & 50%")
    'a\\_b \\& 50\\%'
    """
    return "".join(_ESCAPES.get(letter, letter) for letter in text)


def _section(section: Section, content: Document) -> str:
    title = section.title[:1].upper() + section.title[1:]
    observed = [(word(name), latex(expression)) for name, expression in section.system.observables.items()]
    parts = [rf"\section{{{escaped(title)}}}", _aligned(section.system.statement().lines())]
    parts += ["Observables:", _aligned(observed)] if observed else []
    if section.conserved:
        parts.append("Conserved:")
        parts += [rf"\fitted{{{latex(quantity)} = \mathrm{{const}}}}" for quantity in section.conserved]
    if section.solution:
        domain = r",\quad ".join(latex(condition) for condition in section.solution.domain)
        parts.append(f"Closed form ({escaped(section.solution.method)}):")
        parts.append(_aligned(section.solution.trail.steps[-1].result.lines()))
        parts += [rf"\fitted{{\text{{where }}\; {domain}}}"] if domain else []
        parts.append(rf"\note{{residual {number(section.solution.residual)} at 20 random points in 40 digits}}")
    earlier = [number for number in section.numbers if number not in section.fresh]
    parts.append(r"\subsection*{Derivation}" + (f"\nFrom {spans(earlier)}." if earlier else ""))
    parts += [_step(number, content.steps[number - 1], content) for number in section.fresh]
    return "\n".join(parts)


def _step(number: int, step: Step, content: Document) -> str:
    head = escaped(step.rule) + (rf" \emph{{({escaped(step.assumption)})}}" if step.assumption else "")
    if isinstance(step.result, Equations):
        shown = [_aligned(step.result.lines())]
    elif isinstance(step.result, sp.Basic):
        shown = [rf"\fitted{{{step.latex()}}}"]
    else:
        breakable = re.sub(r"([*/()])", r"\1\\allowbreak{}", escaped(str(step.result)))
        shown = [rf"\begin{{quote}}\sloppy {breakable}\end{{quote}}"]
    if step.given is not None:
        put_in = r",\; ".join(" = ".join(line) for line in step.given.lines())
        shown.insert(0, rf"\fitted{{\text{{with }}\; {put_in}}}")
    keys = ",".join(content.references[n - 1]["key"] for n in content.cited(step))
    notes = [escaped(step.check)] * bool(step.check) + [rf"\cite{{{keys}}}"] * bool(keys)
    tail = [rf"\note{{{'; '.join(notes)}}}"] if notes else []
    return "\n".join([rf"\step{{{number}}}{{{head}}}", *shown, *tail])


def _aligned(lines) -> str:
    rows = (f"{left} &= {right if len(right) <= LONGEST else _TOO_LONG}" for left, right in lines)
    return r"\fitted{\begin{aligned}" + r" \\ ".join(rows) + r"\end{aligned}}"


def _assumptions(content: Document) -> str:
    stated = {name: text for name, text in content.assumptions.items() if text}
    if not stated:
        return ""
    items = "\n".join(rf"\item[{escaped(name)}] {escaped(text)}" for name, text in stated.items())
    return r"\section*{Assumptions}" + "\n" + r"\begin{description}" + f"\n{items}\n" + r"\end{description}"


def _bibliography(content: Document) -> str:
    if not content.references:
        return ""
    items = "\n".join(rf"\bibitem{{{entry['key']}}} {escaped(entry['text'])}" for entry in content.references)
    return rf"\begin{{thebibliography}}{{{len(content.references)}}}" + f"\n{items}\n" + r"\end{thebibliography}"


def number(value: float) -> str:
    r"""A small number with a power of ten.

    >>> number(3e-54), number(0.0)
    ('$3\\cdot 10^{-54}$', '0')
    """
    found = re.fullmatch(r"([\d.]+)e([+-]\d+)", f"{value:.0e}")
    return "0" if value == 0 or not found else rf"${found[1]}\cdot 10^{{{int(found[2])}}}$"
