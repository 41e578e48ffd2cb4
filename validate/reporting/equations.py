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

from ...theory.document.notation import latex, word
from ...theory.system import System
from ...theory.trail import Equations
from .typesetting import spoken, text_latex

SIZE = 12.0  # points of the setting; the page scales it in units of its own font size
WIDEST = 48.0  # em; a longer equation is broken at its plus and minus signs, which the page can wrap


def rows(system: System) -> list[tuple[str, str]]:
    """(LaTeX, plain text) of every equation and observable of a system, one per row.

    >>> from learning_mechanics.theory.system import Flow
    >>> u, s = sp.symbols("u s", positive=True)
    >>> rows(Flow((u,), (u * (s - u**2),), observables={"a": u**2}))[1]
    ('\\\\mathrm{a} = u^{2}', 'a = u**2')
    """
    return [
        *equation_rows(system.statement()),
        *((f"{word(n)} = {latex(e)}", f"{n} = {e}") for n, e in system.observables.items()),
    ]


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
    if isinstance(value, System | Equations):
        found = rows(value) if isinstance(value, System) else equation_rows(value)
        return "<br>".join(formula(*row) for row in found)
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


def _code(text: str) -> str:
    return f"<code>{html.escape(text)}</code>"
