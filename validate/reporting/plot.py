"""Figures of what was predicted and what was measured.

One convention: prediction a line, measurement dots with error bars, the rival dashed. Left the curves, right what the
judge looked at: the error against its budget, the error against the axis for an order, local slopes for an exponent.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.figure import Figure

from ...theory.claims import Converges, Scales, Threshold
from ...theory.errors import BadData
from ..judging.residuals import summarised
from .figures import judged
from .figures.axes import (
    CHANGES,
    MOST_SERIES,
    abscissa,
    alike,
    component_ticks,
    drawn,
    in_time,
    limits,
    parts,
    plain_ticks,
    rows,
    scale,
    scales_of,
    series,
    thin,
    value_ticks,
    view,
)
from .figures.names import TIMES, axis_label, component_name, x_label, y_label
from .figures.style import BUDGET, COLOURS, DASHED, DOTS, INK, LINE, end_labels, panels, style
from .record_figures import drawing
from .typesetting import label

__all__ = ["MOST_SERIES", "curve_figure", "figure", "forecast_figure", "plot", "portrait"]
MARKERS = ("o", "s", "^")


def plot(x: Any) -> Figure:
    """A figure of anything that can be drawn: a run, a prediction, exponents, curves, spectra, training in theory.

    A run has `claim`, `prediction`, `rival`, `measurement`; a curve has `sizes` and `test` or `errors`. Learning curves
    of data, spectra, random features and mean-field descents have figures of their own (`record_figures`).
    Errors: `BadData` for anything else.
    """
    if all(hasattr(x, name) for name in ("claim", "prediction", "rival", "measurement")):
        return figure(x.claim, x.prediction, x.rival, x.measurement, getattr(x, "verdict", None))
    if hasattr(x, "values") and hasattr(x, "abscissa"):
        return forecast_figure(x)
    own = drawing(x)
    if own is not None:
        return own(x)
    if hasattr(x, "curve") or hasattr(x, "sizes") and (hasattr(x, "errors") or hasattr(x, "test")):
        return curve_figure(x)
    raise BadData(f"a {type(x).__name__} has no figure", where="plot", remedy="give a run, a prediction or a curve")


def figure(claim, prediction, rival, measurement, verdict=None) -> Figure:
    """The figure of one judged claim; `rival` may be None."""
    with style():
        if isinstance(claim, Threshold):
            made, (left, right) = panels(2, ratios=(1.25, 1))
            judged.growth(left, claim, prediction, rival, measurement)
            left.set_ylabel(y_label(claim.observable))
            judged.errors(right, claim, prediction, rival, measurement)
        else:
            single = not claim.axis and "summary" in claim.options
            made, (left, right) = panels(2, ratios=(2.2 if single else 1.55, 1))
            if view(claim, measurement) == "records":
                seeds = len(measurement.values) if seeds_apart(claim, prediction) else 1
                _curves(left, claim, prediction, rival, measurement, seeds=min(seeds, len(MARKERS)))
            else:
                _numbers(left, claim, prediction, rival, measurement)
            draw = {Converges: judged.order, Scales: judged.slopes}.get(type(claim), judged.errors)
            draw(right, claim, prediction, rival, measurement, verdict)
        several = seeds_apart(claim, prediction) and view(claim, measurement) == "records"
        _legend(made, claim, prediction, rival, measurement, several)
        return made


def seeds_apart(claim, prediction) -> bool:
    """Whether several seeds share a prediction that each must obey, so that the dots of each are shown."""
    return alike(prediction) and not claim.stochastic and not isinstance(claim, Threshold)


def portrait(run: Any, shown: Sequence[int] = ()) -> Figure:
    """The curves of one run alone, large; up to three seeds, each with its own line and its own kind of dot.

    What is judged at the end alone is drawn against the claim's axis, as in its figure, unless components are named.
    `shown` are the components to draw, counted from 1 as in their names; by default at most six are chosen.
    Errors: `BadData` for a component that does not exist.
    """
    claim, prediction, rival, measurement = run.claim, run.prediction, run.rival, run.measurement
    count = prediction.values.shape[3]
    for number in shown:
        if not 1 <= number <= count:
            raise BadData(f"there is no component {number}", where=claim.name, remedy=f"name some of 1 to {count}")
    with style():
        made, (axes,) = panels(1, width=8.0, height=4.3)
        chosen = [(0, number - 1, component_name(claim, number - 1, count)) for number in shown]
        several = _own(claim, prediction)
        if not chosen and view(claim, measurement) != "records":
            several = False
            _numbers(axes, claim, prediction, rival, measurement)
        else:
            seeds = min(len(measurement.values), len(MARKERS)) if several else 1
            _curves(axes, claim, prediction, rival, measurement, chosen, seeds)
        for text in (axes.xaxis.label, axes.yaxis.label):
            text.set_size(10.5)
        made.set_layout_engine("constrained", w_pad=0.1, h_pad=0.08)
        _legend(made, claim, prediction, rival, measurement, several)
        return made


def save_portrait(run: Any, path: Path, shown: Sequence[int] = ()) -> None:
    """Draw the curves of a run into a file, in the format its name says; 1600 pixels wide where it has pixels."""
    with style():
        drawing = portrait(run, shown)
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            drawing.savefig(path, dpi=200)
        except ValueError as error:
            reason = str(error).split("(")[0].strip()
            raise BadData(reason, where=str(path), remedy="write .png, .svg or .pdf") from None


def forecast_figure(prediction) -> Figure:
    """A prediction alone: lines, with a band where it states its uncertainty."""
    with style():
        made, (axes,) = panels(1, width=5.2)
        scales = (True, True) if prediction.abscissa_name == "n" else (False, False)
        ends = []
        for colour, (at, part, name) in zip(COLOURS, series(prediction.values, prediction), strict=False):
            x, y = drawn(prediction.abscissa[at], prediction.values[0, at, :, part], scales)
            axes.plot(x, y, color=colour, **LINE)
            if prediction.uncertainty is not None:
                half = drawn(prediction.abscissa[at], prediction.uncertainty[0, at, :, part], scales)[1]
                axes.fill_between(x, y - half, y + half, color=colour, alpha=0.18, lw=0)
            ends.append((x[-1], y[-1], name, colour))
        scale(axes, scales)
        plain_ticks(axes)
        axes.set_xlabel(x_label(prediction.abscissa_name))
        axes.set_ylabel(y_label(prediction.observable))
        axes.set_title(f"{prediction.theory}: {prediction.law}")
        end_labels(axes, ends if len(ends) > 1 else [])
        return made


def curve_figure(x) -> Figure:
    """Exponents or a learning curve: test error against samples, log-log, with the forecast slope over its window.

    An exponent's two estimates are drawn as lines with the band between them; the dashed line has the slope it states.
    """
    curve = getattr(x, "curve", x)
    sizes = np.asarray(curve.sizes, float)
    rows = np.atleast_2d(np.asarray(curve.errors if hasattr(curve, "errors") else curve.test, float))
    names = ["forecast"]
    if hasattr(x, "partner"):
        rows = np.stack([rows[0], x.partner.test])
        names = ["cross-fitted", "in sample"]
    with style():
        made, (axes,) = panels(1, width=5.2)
        scale(axes, (True, True))
        for colour, row in zip(COLOURS, rows, strict=False):
            axes.plot(sizes, row, color=colour, **LINE)
        if len(rows) > 1:
            axes.fill_between(sizes, rows.min(0), rows.max(0), color=BUDGET, alpha=0.3, lw=0)
        slope, error = getattr(x, "slope", None), getattr(x, "slope_error", getattr(x, "error", None))
        if slope is not None:
            low, high = getattr(x, "window", (sizes[0], sizes[-1]))
            window = np.array([max(low, sizes[0]), min(high, sizes[-1])])
            middle = np.exp(np.log(rows).mean(0))
            anchor = np.exp(np.interp(np.log(window).mean(), np.log(sizes), np.log(middle)))
            axes.plot(window, anchor * (window / np.sqrt(window.prod())) ** float(slope), color=INK, **DASHED)
            axes.set_title(f"slope {float(slope):.3f}" + (f" ± {float(error):.3f}" if error is not None else ""))
        axes.set_xlabel(x_label("n"))
        axes.set_ylabel(y_label("test_error"))
        plain_ticks(axes)
        if len(names) == len(rows) > 1:
            end_labels(axes, [(sizes[-1], row[-1], n, c) for row, n, c in zip(rows, names, COLOURS, strict=False)])
        return made


def _curves(axes, claim, prediction, rival, measurement, chosen=(), seeds: int = 1) -> None:
    """Curves against the abscissa; `seeds` of them where each has its own prediction, else their mean."""
    scales = scales_of(claim, prediction, measurement)
    laws, runs = _shifted(claim, prediction), _shifted(claim, measurement)
    rivals = _shifted(claim, rival) if rival is not None else None
    ends, shown = [], []
    own = _own(claim, prediction)
    for colour, (at, part, name) in zip(COLOURS, chosen or series(laws, claim), strict=False):
        points = abscissa(claim, measurement, at)
        if rivals is not None:
            curve = rivals[0, min(at, rivals.shape[1] - 1), :]
            other = drawn(points, curve[:, min(part, curve.shape[1] - 1)], scales)
            axes.plot(*other, color=colour, **DASHED)
        keep = thin(points, scales)
        for seed in range(seeds if own else 1):
            x, law = drawn(points, laws[seed, at, :, part], scales)
            axes.plot(x, law, color=colour, **(LINE if seeds == 1 else {**LINE, "lw": 1.3, "alpha": 0.9}))
            if len(x) and not seed:
                ends.append((x[-1], law[-1], name, colour))
            here = runs[seed : seed + 1, at, :, part] if own else runs[:, at, :, part]
            mean = here.mean(0)[keep[seed :: seeds if own else 1]]
            bars = 2 * here.std(0, ddof=1)[keep] / np.sqrt(len(here)) if len(here) > 1 else None
            look = {**DOTS, "fmt": MARKERS[seed % len(MARKERS)]}
            axes.errorbar(points[keep[seed :: seeds if own else 1]], mean, yerr=bars, color=colour, **look)
            shown += [law, mean]
            if rivals is not None:
                shown.append(np.clip(other[1], None, 2.5 * np.nanmax(np.abs(law)) if len(law) else None))
    scale(axes, scales)
    limits(axes, np.concatenate([np.ravel(s) for s in shown]), scales[1])
    if isinstance(claim, Scales):
        low, high = claim.window
        axes.axvspan(max(low, axes.get_xlim()[0]), min(high, axes.get_xlim()[1]), color=BUDGET, alpha=0.25, lw=0)
    plain_ticks(axes)
    timed = in_time(claim, measurement)
    axes.set_xlabel("time (learning rate × steps)" if timed else x_label(measurement.abscissa_name))
    axes.set_ylabel(y_label(claim.observable))
    if len(ends) > 1 and laws.shape[1] > 1:
        _settings_key(axes, claim, ends)
    elif len(ends) > 1:
        end_labels(axes, [(max(x for x, *_ in ends), *rest) for _, *rest in ends])


def _numbers(axes, claim, prediction, rival, measurement) -> None:
    """One number for each setting and component, after the summary: against the claim's axis, else the components."""
    laws, runs = (_summary(claim, record) for record in (prediction, measurement))
    rivals = _summary(claim, rival) if rival is not None else None
    own, count = _own(claim, prediction), laws.shape[-1]
    along = view(claim, measurement) == "axis"
    lines = _lines(claim, laws) if along else rows(claim, count)
    ends, shown, told = [], [], []
    for colour, (part, name) in zip(COLOURS, _spread(lines), strict=False):
        place = (0, slice(None), part) if along else (0, 0, part)
        every = (slice(None), *place[1:])
        law, here = laws[place], runs[every]
        x = np.asarray(claim.values, float) if along else np.arange(1.0, len(law) + 1)
        order = np.argsort(x)
        here = here[:1] if own else here
        bars = 2 * here.std(0, ddof=1)[order] / np.sqrt(len(here)) if len(here) > 1 else None
        axes.plot(x[order], law[order], color=colour, **LINE)
        axes.errorbar(x[order], here.mean(0)[order], yerr=bars, color=colour, **DOTS)
        told += [law, here.mean(0)]
        if rivals is not None:
            other = np.broadcast_to(rivals[:1], laws[:1].shape)[place]
            axes.plot(x[order], other[order], color=colour, **DASHED)
            shown.append(np.clip(other, None, 2.5 * np.nanmax(np.abs(law))))
        ends.append((x[order][-1], np.nan_to_num(law[order][-1]), name, colour))
    values = np.concatenate([s[np.isfinite(s)] for s in told])
    counted = along and all(float(value).is_integer() and value < 10 for value in claim.values)
    far_apart = along and not counted and min(claim.values) > 0 and max(claim.values) >= 4 * min(claim.values)
    falling = along or bool((np.diff(told[0]) <= 0).all())  # a spectrum, not strengths from both of its ends
    # a power law is straight in logarithms
    steep = isinstance(claim, Scales) or (falling and values.max() > 30 * values.min())
    scales = far_apart, bool(steep and (values > 0).all())
    scale(axes, scales)
    span = max(np.ptp(values), 0.6 * np.abs(values).max())
    everything = np.concatenate([values, *np.clip(shown, values.min() - 1.5 * span, values.max() + 1.5 * span)])
    limits(axes, np.clip(everything, values.min() / 10, None) if scales[1] else everything, scales[1])
    plain_ticks(axes)
    if along:
        value_ticks(axes.xaxis, claim.values)
        axes.set_xlabel(axis_label(claim))
    else:
        component_ticks(axes, claim, len(told[0]))
    axes.set_ylabel(y_label(claim.observable))
    end_labels(axes, ends if len(ends) > 1 else [])


def _lines(claim, laws) -> list[tuple[int, str]]:
    """Components drawn against the axis; of those that are never reached there is nothing to draw."""
    reached = np.isfinite(laws).any((0, 1))
    chosen = [part for part in parts(laws[:, :1, None], claim) if reached[part]]
    return [(part, component_name(claim, part, laws.shape[-1])) for part in chosen]


def _spread(lines: list) -> list:
    """At most as many as there are colours, evenly spread."""
    return [
        lines[i] for i in np.unique(np.linspace(0, len(lines) - 1, min(len(lines), MOST_SERIES)).round().astype(int))
    ]


def _summary(claim, record) -> np.ndarray:
    """(seed, setting, component) after the summary; a time that has not come is none."""
    values = summarised(claim, record.values)[:, :, 0]
    return np.where(values > 0, values, np.nan) if claim.observable in TIMES else values


def _own(claim, prediction) -> bool:
    """Whether each seed is drawn against a prediction of its own; a mean over runs otherwise."""
    return len(prediction.values) > 1 and not (claim.stochastic and alike(prediction))


def _shifted(claim, record) -> np.ndarray:
    """The values; for an observable that is shown as a change, less those of the first record."""
    values = np.asarray(record.values, float)
    return values - values[:, :, :1] if claim.observable in CHANGES else values


def _settings_key(axes, claim, ends) -> None:
    """A small key of the settings: curves of different settings often lie on top of each other."""
    from matplotlib.lines import Line2D

    handles = [Line2D([], [], color=colour, **LINE, label=name) for _, _, name, colour in ends]
    axes.legend(handles=handles, title=axis_label(claim), title_fontsize=8.5, loc="best", handlelength=1.4)


def _legend(made: Figure, claim, prediction, rival, measurement, several: bool = False) -> None:
    from matplotlib.legend_handler import HandlerTuple
    from matplotlib.lines import Line2D

    seeds = len(measurement.values)
    several = several and len(prediction.values) > 1
    if _own(claim, prediction):
        dots = f"measured ({min(seeds, len(MARKERS))} seeds)" if several else f"measured (first of {seeds} seeds)"
    else:
        dots = f"measured (mean of {seeds}, bars 2 standard errors)" if seeds > 1 else "measured"
    kinds = MARKERS[: min(seeds, len(MARKERS))] if several else MARKERS[:1]
    dot = [Line2D([], [], color=INK, marker=kind, mfc="white", ms=4.2, ls="none") for kind in kinds]
    named = label(getattr(prediction, "law", "") or "law")
    entries: list[tuple[Any, str]] = [
        (Line2D([], [], color=INK, **LINE), f"predicted: {named}"),
        (tuple(dot) if len(dot) > 1 else dot[0], dots),
    ]
    if rival is not None:
        other = label(getattr(rival, "law", "") or "rival")
        entries.append((Line2D([], [], color=INK, **DASHED), f"rival: {other}"))
    handles, labels = zip(*entries, strict=True)
    columns = len(entries) if sum(map(len, labels)) <= 13.6 * made.get_figwidth() else 2
    look: dict[str, Any] = {"ncols": columns, "columnspacing": 1.6, "handlelength": 2.4}
    if len(dot) > 1:
        look["handler_map"] = {tuple: HandlerTuple(ndivide=None, pad=0.6)}
    made.legend(handles, labels, loc="outside upper left", **look)
