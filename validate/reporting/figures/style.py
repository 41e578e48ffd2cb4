"""One look for every figure: prediction a line, measurement dots with error bars, the rival dashed.

Figures are made with matplotlib's object interface, so that nothing global changes; colours are those of Okabe & Ito
(2008), which stay apart for colour-blind readers, and series also differ by a label at their end.
"""

import io
import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from urllib.parse import quote

import matplotlib
import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.backends.backend_svg import FigureCanvasSVG
from matplotlib.figure import Figure

COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9")
INK, GREY, BUDGET = "#222222", "#8a8a8a", "#bdbdbd"
LINE: dict[str, Any] = {"lw": 1.7, "solid_capstyle": "round"}
DOTS: dict[str, Any] = {"fmt": "o", "ms": 4.2, "mew": 0.9, "mfc": "white", "elinewidth": 0.9, "capsize": 0, "zorder": 3}
DASHED: dict[str, Any] = {"lw": 1.2, "ls": (0, (4, 2.2)), "alpha": 0.85}

_SETTINGS: Any = {
    "font.size": 9.5,
    "font.family": "DejaVu Sans",
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.edgecolor": "#555555",
    "axes.linewidth": 0.8,
    "axes.labelcolor": INK,
    "axes.titlesize": 9.5,
    "axes.titleweight": "bold",
    "axes.titlelocation": "left",
    "text.color": INK,
    "xtick.color": "#555555",
    "ytick.color": "#555555",
    "xtick.labelsize": 8.5,
    "ytick.labelsize": 8.5,
    "legend.frameon": False,
    "legend.fontsize": 8.5,
    "mathtext.fontset": "dejavusans",
    "svg.fonttype": "path",
    "svg.hashsalt": "learning-mechanics",
    "axes.formatter.useoffset": False,
    "axes.formatter.limits": (-3, 5),
}


@contextmanager
def style() -> Iterator[None]:
    """Within it, figures and their axes are made and saved in this style; outside nothing has changed."""
    with matplotlib.rc_context(_SETTINGS):
        yield


def panels(columns: int, width: float = 8.6, height: float = 3.5, ratios=None) -> tuple[Figure, list]:
    """A figure with a row of axes; call within `style()`.

    >>> with style():
    ...     figure, axes = panels(2)
    >>> len(axes)
    2
    """
    figure = Figure(figsize=(width, height), layout="constrained")
    FigureCanvasAgg(figure)
    grid = figure.add_gridspec(1, columns, width_ratios=ratios)
    return figure, [figure.add_subplot(grid[0, column]) for column in range(columns)]


def svg(figure: Figure) -> str:
    """The figure as SVG text, to a hundredth of a point; the same figure always gives the same bytes."""
    buffer = io.StringIO()
    with style():  # straight to the canvas: `savefig` would lay everything out twice
        FigureCanvasSVG(figure).print_svg(buffer, metadata={"Date": None, "Creator": None})
    return re.sub(r'(?<=[ "(])-?\d+\.\d{3,}(?=[ "),])', _shorter, buffer.getvalue())


def _shorter(found: re.Match) -> str:
    value = float(found[0])
    return f"{value:.2f}".rstrip("0").rstrip(".") if abs(value) >= 1 else f"{value:.6g}"


def data_uri(figure: Figure) -> str:
    """The figure as a data URI for the `src` of an image: nothing to fetch, and no identifiers that could clash."""
    text = svg(figure)
    text = re.sub(r"<!--.*?-->|<metadata>.*?</metadata>", "", text[text.index("<svg") :], flags=re.DOTALL)
    text = text.replace('"', "'")
    return "data:image/svg+xml," + quote(re.sub(r"\s+", " ", text), safe=" '/:;=,()?!+@-_.~*$")


def end_labels(axes, ends: list[tuple[float, float, str, str]]) -> None:
    """Write (x, y, text, colour) just right of line ends, moved apart vertically where they would overlap.

    Call it when the limits of the axes are final. Heights are shares of the axes, so that nothing need be drawn first.
    """
    if not ends:
        return
    axes.get_xlim(), axes.get_ylim()  # limits that follow the data are settled when asked for
    within = axes.transScale + axes.transLimits
    wanted = np.array([within.transform((x, y))[1] for x, y, _, _ in ends])
    order = np.argsort(wanted, kind="stable")
    gap = min(11 / (_AXES_SHARE * 72 * axes.figure.get_figheight()), 1 / max(len(ends) - 1, 1))
    low, high = 0.55 * gap, 1.0  # not across the line of the axis below
    heights = np.clip(wanted[order], low, high)
    for _ in range(500):  # relax: each pair that is too close moves apart by half of what is missing
        missing = np.maximum(gap - np.diff(heights), 0) / 2
        if not (missing > 1e-4).any():
            break
        heights[:-1] -= missing
        heights[1:] += missing
        heights = np.clip(heights, low, high)
    for index, height in zip(order, heights, strict=True):
        x, _, text, colour = ends[index]
        axes.annotate(
            text,
            (x, height),
            (5, 0),
            xycoords=axes.get_xaxis_transform(),
            textcoords="offset points",
            va="center",
            fontsize=8,
            color=colour,
            annotation_clip=False,
        )


_AXES_SHARE = 0.68  # of a figure's height that its axes have, the rest being key and labels
