"""Equations as small vector pictures that need no network, no fonts and no script.

SymPy writes LaTeX, matplotlib's mathtext sets it in Computer Modern, and the glyph outlines become one SVG path. What
mathtext cannot set is shown as code, never dropped.
"""

import html
import re
from functools import lru_cache
from typing import Any

import sympy as sp
from matplotlib.font_manager import FontProperties
from matplotlib.path import Path
from matplotlib.textpath import TextPath, text_to_path
from sympy.printing.latex import LatexPrinter

from ...theory.system import FixedPoint, Map, System
from .typesetting import GREEK, dotted, spoken, text_latex

_WORDS = re.compile(r"[A-Za-z]{3,}(_[A-Za-z]{2,})*")
SIZE = 12.0  # points of the setting; the page scales it in units of its own font size
WIDEST = 48.0  # em; a longer equation is broken at its plus and minus signs, which the page can wrap


def rows(system: System) -> list[tuple[str, str]]:
    """(LaTeX, plain text) of every equation and observable of a system, one per row.

    >>> from learning_mechanics.theory.system import Flow
    >>> u, s = sp.symbols("u s", positive=True)
    >>> rows(Flow((u,), (u * (s - u**2),), observables={"a": u**2}))[1]
    ('\\\\mathrm{a} = u^{2}', 'a = u**2')
    """
    made = []
    for unknown, equation in zip(system.unknowns, system.equations, strict=True):
        name = latex(unknown)
        if isinstance(system, FixedPoint):
            left, plain = "0", "0"
        elif isinstance(system, Map):
            left, plain = rf"{name}^{{+}}", f"{unknown}+"
        else:
            left, plain = dotted(name), f"{unknown}'"
        made.append((f"{left} = {latex(equation)}", f"{plain} = {equation}"))
    for name, expression in system.observables.items():
        made.append((rf"{_word(name)} = {latex(expression)}", f"{name} = {expression}"))
    return made


class _Printer(LatexPrinter):
    """As SymPy's, but what is subtracted comes last: s - a, not -a + s."""

    def _as_ordered_terms(self, expr, order=None):
        terms = super()._as_ordered_terms(expr, order=order)
        return sorted(terms, key=lambda term: bool(term.could_extract_minus_sign()))


def latex(expression: Any) -> str:
    """LaTeX of an expression, with names of several letters upright and what is subtracted last.

    >>> latex(sp.Symbol("ridge") - sp.Symbol("a"))
    '\\\\mathrm{ridge} - a'
    """
    expression = sp.sympify(expression)
    symbols = [symbol for symbol in expression.free_symbols if isinstance(symbol, sp.Symbol)]
    words = (symbol for symbol in symbols if _WORDS.fullmatch(symbol.name))
    names = {symbol: _word(symbol.name) for symbol in words if symbol.name.split("_")[0] not in GREEK}
    names |= {symbol: r"\sigma^{2}" for symbol in symbols if symbol.name == "sigma2"}
    names |= {symbol: symbol.name[:-1] + "^{+}" for symbol in symbols if symbol.name.endswith("+")}
    printer = _Printer({"symbol_names": names, "mul_symbol": r"\,"})
    return printer.doprint(expression).replace(r"\frac", r"\dfrac")


def formula(text: str, plain: str = "") -> str:
    """LaTeX as an inline SVG element; as escaped code when it cannot be set.

    >>> formula("x^{2}").startswith("<svg") and "<path" in formula("x^{2}")
    True
    >>> formula(r"\\begin{cases} x \\end{cases}", plain="a < b")
    '<code>a &lt; b</code>'
    """
    made = _set(text)
    if not made:
        return _code(plain or text)
    label = html.escape(plain or text, quote=True)
    width = re.search(r"width:([\d.]+)em", made)
    pieces = [_set(piece) for piece in _broken(text)] if width and float(width[1]) > WIDEST else [made]
    if not all(pieces):
        pieces = [made]
    return " ".join(piece.replace("@LABEL@", label if not index else "") for index, piece in enumerate(pieces))


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
    """What a derivation step gave: an expression, a system or an equation in text as a formula, else words."""
    if isinstance(value, System):
        return "<br>".join(formula(*row) for row in rows(value))
    if isinstance(value, sp.Basic):
        return formula(latex(value), str(value))
    read = text_latex(str(value))
    set_as = [formula(text, str(value)) for text in read or ()]
    return "<br>".join(set_as) if set_as and all(text.startswith("<svg") for text in set_as) else spoken(str(value))


@lru_cache(maxsize=1024)
def _set(text: str) -> str:
    prop = FontProperties(size=SIZE, math_fontfamily="cm")
    # brackets that grow also shrink: around small contents they are set plainly
    text = re.sub(r"\\left\(((?:(?!\\left|\\right|\\dfrac|\\sum|\^).)*)\\right\)", r"(\1)", text)
    source = "$" + text.replace("\\limits", "") + "$"
    try:
        width, height, descent = text_to_path.get_text_width_height_descent(source, prop, ismath=True)
        outline = TextPath((0, 0), source, prop=prop)
    except (ValueError, RuntimeError):
        return ""
    # the page's text flows around it: sizes in em, the baseline where the letters stand
    pad = 1.0
    style = (
        f"width:{(width + 2 * pad) / SIZE:.3f}em;height:{(height + 2 * pad) / SIZE:.3f}em;"
        f"vertical-align:{-(descent + pad) / SIZE:.3f}em"
    )
    box = f"{-pad:g} {-(height - descent) - pad:.2f} {width + 2 * pad:.2f} {height + 2 * pad:.2f}"
    return (
        f'<svg class="formula" role="img" aria-label="@LABEL@" viewBox="{box}" style="{style}">'
        f'<path fill="currentColor" d="{_commands(outline)}"/></svg>'
    )


def _commands(path: Path) -> str:
    letters = {Path.MOVETO: "M", Path.LINETO: "L", Path.CURVE3: "Q", Path.CURVE4: "C"}
    parts = []
    for points, code in path.iter_segments(simplify=False, curves=True):
        if code == Path.CLOSEPOLY:
            parts.append("Z")
        elif code in letters:
            flipped = points.reshape(-1, 2) * (1, -1)
            parts.append(letters[code] + " ".join(f"{value:.2f}" for value in flipped.ravel()))
    return "".join(parts)


def _word(name: str) -> str:
    return r"\mathrm{" + name.replace("_", r"\ ") + "}"


def _code(text: str) -> str:
    return f"<code>{html.escape(text)}</code>"
