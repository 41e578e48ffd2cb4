"""Equations as small vector pictures that need no network, no fonts and no script.

SymPy writes LaTeX, matplotlib's mathtext sets it in Computer Modern, and its letters become outlines in SVG. What
mathtext cannot set is shown as code, never dropped.
"""

import html
import re
from functools import lru_cache
from typing import Any

import sympy as sp

from ...theory.document.notation import latex, word
from ...theory.system import System
from ...theory.trail import Equations
from .outlines import drawn
from .typesetting import LETTERS, name_latex, prose, spoken, text_latex

WIDEST = 48.0  # em; a longer equation is broken at its plus and minus signs, which the page can wrap
LONGEST = 1500  # characters of LaTeX that nobody reads as a formula
LEGIBLE = 3 * WIDEST  # em; the page shrinks what is wider than it
LONG = 400  # characters of LaTeX that are surely wider than that in most cases: broken first, set whole only if not


def rows(system: System) -> list[tuple[str, str]]:
    """(LaTeX, plain text) of every equation and observable of a system, one per row.

    >>> from learning_mechanics.theory.system import Flow
    >>> u, s = sp.symbols("u s", positive=True)
    >>> rows(Flow((u,), (u * (s - u**2),), observables={"a": u**2}))[1]
    ('\\\\mathrm{a} = u^{2}', 'a = u**2')
    """
    return [
        *equation_rows(system.statement()),
        *((f"{_named(n)} = {latex(e)}", f"{n} = {e}") for n, e in system.observables.items()),
    ]


def _named(name: str) -> str:
    """An observable: a Greek letter where it is called after one, else words."""
    return name_latex(name) if name in LETTERS else word(name)


@lru_cache(maxsize=1024)  # what one step gives, the next one starts from
def equation_rows(equations: Equations) -> list[tuple[str, str]]:
    """(LaTeX, plain text) of every row."""
    plain = str(equations).split("; ")
    return [(" = ".join(line), text) for line, text in zip(equations.lines(), plain, strict=True)]


def formula(text: str, plain: str = "") -> str:
    """LaTeX as an inline SVG element; as escaped code when it cannot be set.

    >>> formula("x^{2}").startswith("<svg") and "<path" in formula("x^{2}")
    True
    >>> formula(r"\\begin{cases} x \\end{cases}", plain="a < b")
    '<code>a &lt; b</code>'
    """
    pieces = _pieces(text)
    if not pieces:
        return _code(plain or text)
    label = html.escape(plain or text, quote=True)
    return " ".join(piece.replace("@LABEL@", label if not index else "") for index, piece in enumerate(pieces))


def readable(text: str, plain: str) -> str:
    """An equation as a picture; one that would be shrunk beyond reading, or has many lines, folded away as code.

    >>> readable("x^{2}", "x**2") == formula("x^{2}", "x**2")
    True
    >>> readable("x = " + " + ".join(["x^{2}"] * 400), "x = 400*x**2")[:40]
    '<details><summary>x = … (12 characters)<'
    """
    if len(text) <= LONGEST:
        made = formula(text, plain)
        if max(map(_width, made.split("<svg")), default=0.0) <= LEGIBLE:
            return made
    left = prose(plain.partition(" = ")[0].replace("_", " "))
    return f"<details><summary>{left} = … ({len(plain)} characters)</summary>{_code(plain)}</details>"


def _pieces(text: str) -> list[str]:
    """The pictures that make up an equation: one, or its terms where it is too wide; none if it cannot be set."""
    terms = _broken(text)
    if len(terms) > 1 and len(text) > LONG:  # setting it whole would cost as much again
        made = [drawn(term) for term in terms]
        if all(made) and sum(map(_width, made)) > WIDEST:
            return made
    whole = drawn(text)
    if not whole or _width(whole) <= WIDEST:
        return [whole] * bool(whole)
    made = [drawn(term) for term in terms]
    return made if all(made) else [whole]


def _width(made: str) -> float:
    found = re.search(r"width:([\d.]+)em", made)
    return float(found[1]) if found else 0.0


def _broken(text: str) -> list[str]:
    """An equation in pieces that each begin with a sign: broken before + and - outside all brackets."""
    pieces, depth, start = [], 0, 0
    for found in re.finditer(r"\\left|\\right|[{}]| [+-] ", text):
        token = found[0]
        depth += (token in ("{", r"\left")) - (token in ("}", r"\right"))
        if token.strip() in "+-" and not depth:
            pieces.append(text[start : found.start()])
            start = found.start() + 1
    return [*pieces, text[start:]]


def result(value: Any) -> str:
    """What a derivation step gave: an expression, a system or an equation in text as a formula, else words.

    Text of several lines is a table, as of the layers of a network, and keeps its columns.
    """
    if isinstance(value, System | Equations):
        found = rows(value) if isinstance(value, System) else equation_rows(value)
        return "<br>".join(readable(*row) for row in found)
    if isinstance(value, sp.Basic):
        return formula(latex(value), str(value))
    if "\n" in str(value):
        return f"<pre>{chr(10).join(map(spoken, str(value).splitlines()))}</pre>"
    read = text_latex(str(value))
    set_as = [formula(text, str(value)) for text in read or ()]
    return "<br>".join(set_as) if set_as and all(text.startswith("<svg") for text in set_as) else spoken(str(value))


def _code(text: str) -> str:
    return f"<code>{html.escape(text)}</code>"
