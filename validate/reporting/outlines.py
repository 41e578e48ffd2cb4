"""Formulas as outlines of letters: what mathtext sets, as SVG that needs no fonts.

Each formula stands alone; on a whole page `shared` writes every letter once, which makes it ten times smaller.
"""

import re
from functools import lru_cache

import numpy as np
from matplotlib.font_manager import FontProperties
from matplotlib.path import Path
from matplotlib.textpath import text_to_path

SIZE = 12.0  # points of the setting; the page scales it in units of its own font size


@lru_cache(maxsize=16384)
def drawn(text: str) -> str:
    """LaTeX as one SVG element, its label left open as @LABEL@; nothing if mathtext cannot set it."""
    prop = FontProperties(size=SIZE, math_fontfamily="cm")
    # brackets that grow also shrink: around small contents they are set plainly
    text = re.sub(r"\\left\(((?:(?!\\left|\\right|\\dfrac|\\sum|\^).)*)\\right\)", r"(\1)", text)
    source = "$" + text.replace("\\limits", "") + "$"
    try:
        width, height, descent = text_to_path.get_text_width_height_descent(source, prop, ismath=True)
        placed, outlines, rules = text_to_path.get_glyphs_mathtext(prop, source)
    except (ValueError, RuntimeError):
        return ""
    # letters are outlined at a size of their own; SVG counts downwards
    scale = SIZE / text_to_path.FONT_SCALE
    letters = [
        f'<path d="{_outline(name, outlines)}" transform="translate({scale * x:.2f} {-scale * y:.2f}) '
        f'scale({scale * size:.4f})"/>'
        for name, x, y, size in placed
    ]
    lines = [_rule(scale * np.asarray(vertices)) for vertices, _ in rules]
    # the page's text flows around it: sizes in em, the baseline where the letters stand
    pad = 1.0
    style = (
        f"width:{(width + 2 * pad) / SIZE:.3f}em;height:{(height + 2 * pad) / SIZE:.3f}em;"
        f"vertical-align:{-(descent + pad) / SIZE:.3f}em"
    )
    box = f"{-pad:g} {-(height - descent) - pad:.2f} {width + 2 * pad:.2f} {height + 2 * pad:.2f}"
    return (
        f'<svg class="formula" role="img" aria-label="@LABEL@" viewBox="{box}" style="{style}">'
        f'<g fill="currentColor">{"".join(letters + lines)}</g></svg>'
    )


_known: dict[str, str] = {}  # a letter's name -> its outline: the same for every formula


def _outline(name: str, outlines) -> str:
    if name not in _known:
        _known[name] = _commands(Path(*outlines[name]))
    return _known[name]


def _rule(corners: np.ndarray) -> str:
    """The line of a fraction or a root."""
    corners = corners[:4]  # what follows only closes the path
    (left, low), (right, high) = corners.min(0), corners.max(0)
    return f'<path d="M{left:.2f} {-high:.2f}H{right:.2f}V{-low:.2f}H{left:.2f}Z"/>'


def _commands(path: Path) -> str:
    """An outline as SVG; for letters a hundredth of their size to a tenth."""
    letters = {Path.MOVETO: "M", Path.LINETO: "L", Path.CURVE3: "Q", Path.CURVE4: "C"}
    parts = []
    for points, code in path.iter_segments(simplify=False, curves=True):
        if code == Path.CLOSEPOLY:
            parts.append("Z")
        elif code in letters:
            flipped = points.reshape(-1, 2) * (1, -1)
            parts.append(letters[code] + " ".join(f"{value:.1f}".removesuffix(".0") for value in flipped.ravel()))
    return "".join(parts)


def shared(page: str) -> str:
    """A page on which every letter's outline is written once and used wherever the letter occurs.

    >>> made = shared("<body>" + drawn("x + x") + drawn("x") + "</body>")
    >>> made.count("<use"), drawn("x + x").count("<path")
    (4, 3)
    """
    outlines: dict[str, str] = {}

    def use(found: re.Match) -> str:
        return f'<use href="#{outlines.setdefault(found[1], f"letter-{len(outlines)}")}" {found[2]}/>'

    head, body, rest = page.partition("<body>")
    rest = re.sub(r'<path d="([^"]*)" (transform="[^"]*")/>', use, rest)
    defined = "".join(f'<path id="{name}" d="{outline}"/>' for outline, name in outlines.items())
    return f'{head}{body}<svg width="0" height="0" style="position:absolute"><defs>{defined}</defs></svg>{rest}'
