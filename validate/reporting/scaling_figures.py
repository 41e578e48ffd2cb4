"""Figures of scaling laws: one panel an axis, with the forecast curve, the slope over the window, and the limit.

The curve is a line, its slope over the window a band as wide as the 90 % interval allows, the limit dashed. All go
through the middle of the window: slopes are claimed, levels are not.
"""

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from .figures.axes import limits, plain_ticks, scale
from .figures.style import BUDGET, COLOURS, DASHED, GREY, INK, LINE, panels, style

NAMES = {
    "samples": "training samples",
    "parameters": "parameters (random features)",
    "steps": "time (learning rate × steps)",
    "compute": "compute (parameters × time)",
}
REACH = 1.25  # how far lines of a slope go beyond the window, as a share of its logarithm


def scaling_law_figure(x) -> Figure:
    """All axes of a law that were asked for, in two columns; a panel that was refused says why."""
    laws = x.axes
    with style():
        if len(laws) == 1:
            made, (axes,) = panels(1, width=5.2)
            _panel(axes, laws[0])
            return made
        lines = (len(laws) + 1) // 2
        made = Figure(figsize=(8.6, 3.1 * lines), layout="constrained")
        FigureCanvasAgg(made)
        grid = made.add_gridspec(lines, 2)
        for index, law in enumerate(laws):
            _panel(made.add_subplot(grid[index // 2, index % 2]), law)
        return made


def axis_law_figure(x) -> Figure:
    """One axis of a scaling law."""
    with style():
        made, (axes,) = panels(1, width=5.2)
        _panel(axes, x)
        return made


def _panel(axes, law) -> None:
    axes.set_xlabel(NAMES[law.axis])
    axes.set_ylabel("loss above noise")
    axes.set_title(_title(law))
    if law.curve is None:
        axes.text(0.5, 0.5, _folded(law.because), ha="center", va="center", transform=axes.transAxes, color=GREY)
        axes.set_xticks([])
        axes.set_yticks([])
        return
    scale(axes, (True, True))
    size, losses = law.curve.sizes, [law.curve.test] + ([law.partner.test] if law.partner is not None else [])
    for loss, name in zip(losses, ("cross-fitted", "in sample"), strict=False):
        colour = COLOURS[0] if loss is losses[0] else COLOURS[5]
        axes.plot(size, loss, color=colour, label="forecast" if len(losses) == 1 else name, **LINE)
    middle = np.exp(np.mean(np.log(losses), axis=0))
    low, high = np.log(size[[0, -1]])
    centre, half = (low + high) / 2, REACH * (high - low) / 2
    level = np.interp(centre, np.log(size), np.log(middle))
    reach = np.linspace(centre - half, centre + half, 41)

    def line(exponent):
        return np.exp(level - exponent * (reach - centre))

    edges = line(law.value - law.error), line(law.value + law.error)
    axes.fill_between(np.exp(reach), *edges, color=BUDGET, alpha=0.35, lw=0, label="90 % of slopes")
    shown = [*edges, *losses]
    if law.asymptotic is not None:
        limit = line(law.asymptotic.value)
        axes.plot(np.exp(reach), limit, color=COLOURS[1], **DASHED, label=f"limit {law.asymptotic.value:.2f}")
        shown.append(limit)
    if law.measured is not None:
        axes.plot(np.exp(reach), line(law.measured), color=INK, lw=1.0, ls=":", label=f"measured {law.measured:.2f}")
    axes.axvline(size[0], color=GREY, lw=0.7, ls=":")
    axes.axvline(size[-1], color=GREY, lw=0.7, ls=":")
    limits(axes, np.concatenate(shown), True)
    plain_ticks(axes)
    axes.legend(
        loc="lower left",
        title=f"believe the {'local slope' if law.believe == 'local' else 'limit'}",
        title_fontsize=8.5,
        alignment="left",
    )


def _title(law) -> str:
    if law.value is None:
        return law.axis
    return f"{law.axis}: exponent {law.value:.3f} ± {law.error:.3f}"


def _folded(text: str, width: int = 44) -> str:
    import textwrap

    return "\n".join(textwrap.wrap(text, width)[:6])
