"""Registered forecasts beside what was measured: a row each, the interval a line, the runs a dot.

The rival, extrapolating the three smallest runs, is a dashed tick. Rows are in the order they were registered.
"""

from collections.abc import Sequence

import numpy as np

from ...forecasts.score import Score
from .style import COLOURS, DASHED, DOTS, GREY, panels, style

ROW = 0.26  # inches


def settled_figure(scores: Sequence[Score]):
    """A figure of settled forecasts: exponents on the axis, one row a forecast.

    >>> one = Score("0" * 64, "digits, samples", "digits", 0.5, 0.1, 0.52, 0.01, 0.4, (1.0,), (1.0,), (0.1,))
    >>> len(settled_figure([one]).axes)
    1
    """
    with style():
        figure, (axes,) = panels(1, height=1.1 + ROW * max(len(scores), 3))
        rows = np.arange(len(scores))[::-1]
        line, dashed = COLOURS[0], COLOURS[1]
        for row, score in zip(rows, scores, strict=True):
            low, high = score.predicted - score.error, score.predicted + score.error
            axes.plot([low, high], [row, row], color=line, lw=5, alpha=0.28, solid_capstyle="butt")
            axes.plot([score.predicted] * 2, [row - 0.3, row + 0.3], color=line, lw=1.7)
            axes.plot([score.naive] * 2, [row - 0.34, row + 0.34], color=dashed, **DASHED)
            axes.errorbar(score.measured, row, xerr=1.645 * score.standard_error, color="black", **DOTS)
        axes.set_yticks(rows, [score.name.replace("_", " ") for score in scores], fontsize=8)
        axes.tick_params(axis="y", length=0)
        axes.spines["left"].set_visible(False)
        axes.set_ylim(-0.7, len(scores) - 0.3)
        axes.set_xlabel("exponent of the error: error ~ axis$^{-\\mathrm{exponent}}$")
        axes.axvline(0, color=GREY, lw=0.8) if axes.get_xlim()[0] < 0 else None
        band = axes.plot([], [], color=line, lw=5, alpha=0.28)[0]
        dots = axes.errorbar([], [], xerr=[], color="black", **DOTS)
        rival = axes.plot([], [], color=dashed, **DASHED)[0]
        names = ["forecast before any run, 90 % interval", "measured, 90 %", "three smallest runs extrapolated"]
        figure.legend([band, dots, rival], names, loc="outside upper left", ncols=3)
        return figure
