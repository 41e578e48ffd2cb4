"""Figures of what was predicted and what was measured.

One convention: prediction a line, measurement dots with error bars, the rival dashed. Left the curves, right what the
judge looked at: the error against its budget, the error against the axis for an order, local slopes for an exponent.
"""

from typing import Any

import numpy as np
from matplotlib.figure import Figure

from ...theory.claims import Converges, Scales, Threshold
from ...theory.errors import BadData
from ..judging.residuals import prepare
from ..judging.statistics import local_slopes
from .style import BUDGET, COLOURS, DASHED, DOTS, GREY, INK, LINE, end_labels, panels, style

MOST_SERIES, MOST_DOTS = 6, 26
Y_LABELS = {
    "mode_strength": "mode strength (target per input)",
    "subspace_strength": "strength of a subspace (target per input)",
    "loss": "loss (half squared error)",
    "balancedness": "balance, entry by entry (weight squared)",
    "sharpness": "sharpness (1 / learning rate)",
    "preconditioned_sharpness": "preconditioned sharpness (1 / learning rate)",
    "excess_risk": "excess risk (squared target)",
    "growth_factor": "growth per step (factor)",
    "test_error": "test error (squared target)",
    "risk": "risk (squared target)",
}
X_LABELS = {"step": "training step", "n": "training samples n"}


def plot(x: Any) -> Figure:
    """A figure of anything that can be drawn: a run, a prediction, a learning curve or exponents.

    A run has `claim`, `prediction`, `rival`, `measurement`; a curve has `sizes` and `test` or `errors`.
    Errors: `BadData` for anything else.
    """
    if all(hasattr(x, name) for name in ("claim", "prediction", "rival", "measurement")):
        return figure(x.claim, x.prediction, x.rival, x.measurement, getattr(x, "verdict", None))
    if hasattr(x, "values") and hasattr(x, "abscissa"):
        return forecast_figure(x)
    if hasattr(x, "curve") or hasattr(x, "sizes") and (hasattr(x, "errors") or hasattr(x, "test")):
        return curve_figure(x)
    raise BadData(f"a {type(x).__name__} has no figure", where="plot", remedy="give a run, a prediction or a curve")


def figure(claim, prediction, rival, measurement, verdict=None) -> Figure:
    """The figure of one judged claim; `rival` may be None."""
    with style():
        if isinstance(claim, Threshold):
            made, (left, right) = panels(2, ratios=(1, 1))
            _growth(left, claim, prediction, rival, measurement)
            _errors(right, claim, prediction, rival, measurement)
        else:
            made, (left, right) = panels(2, ratios=(1.55, 1))
            _curves(left, claim, prediction, rival, measurement)
            draw = {Converges: _order, Scales: _local_slopes}.get(type(claim), _errors)
            draw(right, claim, prediction, rival, measurement)
        _legend(made, prediction, rival, measurement, claim)
        return made


def forecast_figure(prediction) -> Figure:
    """A prediction alone: lines, with a band where it states its uncertainty."""
    with style():
        made, (axes,) = panels(1, width=5.2)
        scales = (True, True) if prediction.abscissa_name == "n" else (False, False)
        ends = []
        for colour, (setting, component, name) in zip(COLOURS, _series(prediction.values, prediction), strict=False):
            x, y = _drawn(prediction.abscissa[setting], prediction.values[0, setting, :, component], scales)
            axes.plot(x, y, color=colour, **LINE)
            if prediction.uncertainty is not None:
                half = _drawn(prediction.abscissa[setting], prediction.uncertainty[0, setting, :, component], scales)[1]
                axes.fill_between(x, y - half, y + half, color=colour, alpha=0.18, lw=0)
            ends.append((x[-1], y[-1], name, colour))
        _scale(axes, scales)
        axes.set_xlabel(X_LABELS.get(prediction.abscissa_name, prediction.abscissa_name))
        axes.set_ylabel(_y_label(prediction.observable))
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
        _scale(axes, (True, True))
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
        axes.set_xlabel(X_LABELS["n"])
        axes.set_ylabel(Y_LABELS["test_error"])
        if len(names) == len(rows) > 1:
            end_labels(axes, [(sizes[-1], row[-1], n, c) for row, n, c in zip(rows, names, COLOURS, strict=False)])
        return made


def _curves(axes, claim, prediction, rival, measurement) -> None:
    scales = _scales_of(claim, prediction, measurement)
    ends, shown = [], []
    per_seed = len(prediction.values) > 1
    for colour, (setting, component, name) in zip(COLOURS, _series(prediction.values, claim), strict=False):
        points = _abscissa(claim, measurement, setting)
        x, law = _drawn(points, prediction.values[0, setting, :, component], scales)
        axes.plot(x, law, color=colour, **LINE)
        if rival is not None:
            curve = rival.values[0, min(setting, rival.values.shape[1] - 1), :]
            other = _drawn(points, curve[:, min(component, curve.shape[1] - 1)], scales)
            axes.plot(*other, color=colour, **DASHED)
            shown.append(np.clip(other[1], None, 2.5 * np.nanmax(np.abs(law)) if len(law) else None))
        runs = measurement.values[:1] if per_seed else measurement.values
        runs = runs[:, setting, :, component]
        keep = _thin(points, scales)
        mean = runs.mean(0)[keep]
        bars = 2 * runs.std(0, ddof=1)[keep] / np.sqrt(len(runs)) if len(runs) > 1 else None
        axes.errorbar(points[keep], mean, yerr=bars, color=colour, **DOTS)
        shown += [law, mean]
        if len(x):
            ends.append((x[-1], law[-1], name, colour))
    _scale(axes, scales)
    _limits(axes, np.concatenate([np.ravel(s) for s in shown]), scales[1])
    if isinstance(claim, Scales):
        low, high = claim.window
        axes.axvspan(max(low, axes.get_xlim()[0]), min(high, axes.get_xlim()[1]), color=BUDGET, alpha=0.25, lw=0)
    in_time = claim.axis == "learning_rate" and measurement.abscissa_name == "step"
    axes.set_xlabel("time (learning rate × steps)" if in_time else X_LABELS.get(measurement.abscissa_name, ""))
    axes.set_ylabel(_y_label(claim.observable))
    if len(ends) > 1:
        end_labels(axes, [(max(x for x, *_ in ends), *rest) for _, *rest in ends])


def _abscissa(claim, measurement, setting: int) -> np.ndarray:
    """Recorded steps or sizes of one setting; time, where settings differ in the learning rate."""
    points = np.asarray(measurement.abscissa[setting], float)
    along = claim.axis == "learning_rate" and measurement.abscissa_name == "step"
    return points * claim.values[setting] if along else points


def _errors(axes, claim, prediction, rival, measurement) -> None:
    """Largest error over components and seeds (or of the mean over seeds) against the budget, on a log scale."""
    laws = [(prediction, COLOURS[0], LINE, "law")] + ([(rival, COLOURS[1], DASHED, "rival")] if rival else [])
    axes.set_yscale("log")
    logarithmic = getattr(claim.setup, "spacing", "") == "log"
    budget, ends, along = float(sum(getattr(claim, "budget", {}).values())), [], False
    for law, colour, look, name in laws:
        residual = prepare(claim, law, prediction, measurement, flat=False).residual
        size = np.abs(residual.mean(0)) if claim.stochastic else np.abs(residual).max(0)
        size = np.clip(size.max(-1), 1e-17, 1e17)  # (setting, point)
        setting = int(np.argmax(size.max(1)))
        points = np.asarray(measurement.abscissa[setting], float)
        along = size.shape[1] > 1
        x = points if along else np.arange(len(size))
        y = size[setting] if along else size[:, 0]
        if along and logarithmic:
            x, y = x[points > 0], y[points > 0]
        axes.plot(x, y, color=colour, **(look if along else {"marker": "o", "ls": "none"}))
        ends.append((x[-1], y[-1], name, colour))
    if along:
        axes.set_xscale("log" if logarithmic else "linear")
        if "window" in claim.options:
            low, high = np.clip(claim.options["window"], *axes.get_xlim())
            axes.axvspan(low, high, color=BUDGET, alpha=0.25, lw=0)
        axes.set_xlabel(X_LABELS.get(measurement.abscissa_name, measurement.abscissa_name))
    else:
        summary = str(claim.options.get("summary", "last")).replace("_", " ")
        names = [_setting(claim, index) if claim.axis else summary for index in range(len(size))]
        axes.set_xticks(np.arange(len(size)), names)
        axes.set_xlim(-0.6, len(size) - 0.4)
        axes.set_xlabel(claim.axis.replace("_", " ") or f"over the {measurement.abscissa_name}s")
    if budget > 0:
        low, high = axes.get_ylim()
        axes.set_ylim(min(low, budget / 2), max(high, budget * 2))
        axes.axhline(budget, color=INK, lw=0.9)
        place = {"xycoords": ("axes fraction", "data"), "textcoords": "offset points"}
        axes.annotate("budget", (0.02, budget), (0, 2), fontsize=8, va="bottom", **place)
    of = {"point": "prediction", "final": "final value", "scale": "largest value"}.get(claim.relative)
    axes.set_ylabel("error" + (f" / {of}" if of else " (absolute)"))
    end_labels(axes, ends)


def _order(axes, claim, prediction, rival, measurement) -> None:
    values = np.asarray(claim.values, float)
    ends = []
    for law, colour, name in ((prediction, COLOURS[0], "law"), (rival, COLOURS[1], "rival")):
        if law is None:
            continue
        error = np.abs(prepare(claim, law, prediction, measurement, flat=False).residual).max(axis=(2, 3))
        mean = error.mean(0)
        bars = 2 * error.std(0, ddof=1) / np.sqrt(len(error)) if len(error) > 1 else None
        axes.errorbar(values, mean, yerr=bars, color=colour, **DOTS)
        if name == "rival":
            axes.plot(values, mean, color=colour, **DASHED)
        else:
            last = int(np.argmin(values) if claim.order > 0 else np.argmax(values))
            axes.plot(values, mean[last] * (values / values[last]) ** claim.order, color=colour, **LINE)
            name = f"order {claim.order:g}"
        right = int(np.argmax(values))
        ends.append((values[right], mean[right], name, colour))
    axes.set_xscale("log")
    axes.set_yscale("log")
    axes.set_xticks(values, [f"{value:g}" for value in values])
    axes.minorticks_off()
    axes.set_xlabel(claim.axis.replace("_", " "))
    axes.set_ylabel("largest error")
    end_labels(axes, ends)


def _local_slopes(axes, claim, prediction, rival, measurement) -> None:
    points = np.asarray(measurement.abscissa[0], float)
    keep = points > 0
    middle = np.sqrt(points[keep][1:] * points[keep][:-1])
    runs = measurement.values[:, 0, keep, 0]
    for law, colour, look in ((prediction, COLOURS[0], LINE), (rival, COLOURS[0], DASHED)):
        if law is not None:
            axes.plot(middle, local_slopes(points[keep], law.values[0, 0, keep, 0]), color=colour, **look)
    slopes = local_slopes(points[keep], runs.mean(0))
    bars = None
    if len(runs) > 1:
        spread = local_slopes(points[keep], np.maximum(runs, np.finfo(float).tiny))
        bars = 2 * spread.std(0, ddof=1) / np.sqrt(len(runs))
    axes.errorbar(middle, slopes, yerr=bars, color=COLOURS[0], **DOTS)
    axes.axvspan(max(claim.window[0], middle[0]), min(claim.window[1], middle[-1]), color=BUDGET, alpha=0.25, lw=0)
    axes.set_xscale("log")
    ticks = _ticks(middle)
    axes.set_xticks(ticks, [f"{tick:g}" for tick in ticks])
    axes.minorticks_off()
    axes.set_xlabel(X_LABELS.get(measurement.abscissa_name, measurement.abscissa_name))
    axes.set_ylabel("local slope (exponent)")


def _growth(axes, claim, prediction, rival, measurement) -> None:
    x = np.asarray(claim.values, float)
    axes.axhline(1, color=GREY, lw=0.8)
    axes.axvline(1, color=GREY, lw=0.8)
    axes.plot(x, np.abs(prediction.values[0, :, -1, 0]), color=COLOURS[0], **LINE)
    if rival is not None:
        axes.plot(x, np.abs(rival.values[0, :, -1, 0]), color=COLOURS[0], **DASHED)
    runs = np.abs(measurement.values[:, :, -1, 0])
    bars = 2 * runs.std(0, ddof=1) / np.sqrt(len(runs)) if len(runs) > 1 else None
    axes.errorbar(x, runs.mean(0), yerr=bars, color=COLOURS[0], **DOTS)
    axes.set_xlabel(f"{(claim.axis or 'parameter').replace('_', ' ')} (multiples of the critical value)")
    axes.set_ylabel(_y_label(claim.observable))


def _legend(made: Figure, prediction, rival, measurement, claim) -> None:
    from matplotlib.lines import Line2D

    seeds = len(measurement.values)
    if len(prediction.values) > 1:
        dots = f"measured (first of {seeds} seeds)"
    else:
        dots = f"measured (mean of {seeds}, bars 2 standard errors)" if seeds > 1 else "measured"
    handles = [
        Line2D([], [], color=INK, **LINE, label=f"predicted: {getattr(prediction, 'law', '') or 'law'}"),
        Line2D([], [], color=INK, marker="o", mfc="white", ms=4.2, ls="none", label=dots),
    ]
    if rival is not None:
        handles.append(Line2D([], [], color=INK, **DASHED, label=f"rival: {getattr(rival, 'law', '') or 'rival'}"))
    made.legend(handles=handles, loc="outside upper left", ncols=len(handles), columnspacing=1.6, handlelength=2.4)


def _series(values: np.ndarray, record) -> list[tuple[int, int, str]]:
    """At most six (setting, component, name): settings first, then components spread evenly over all there are."""
    settings, components = values.shape[1], values.shape[3]
    if settings > 1:
        chosen = np.unique(np.linspace(0, settings - 1, min(settings, MOST_SERIES)).round().astype(int))
        return [(int(a), 0, _setting(record, a)) for a in chosen]
    size = np.nanmax(np.abs(values[0, 0]), axis=0)
    order = np.arange(components) if components <= 30 else np.sort(np.argsort(-size)[:MOST_SERIES])
    chosen = order[np.unique(np.linspace(0, len(order) - 1, min(len(order), MOST_SERIES)).round().astype(int))]
    word = "mode" if "mode" in getattr(record, "observable", "") else "#"
    return [(0, int(c), f"{word} {c + 1}".replace("# ", "#")) for c in chosen]


def _setting(record, index: int) -> str:
    values = getattr(record, "values", ()) if not isinstance(getattr(record, "values", ()), np.ndarray) else ()
    values = values or getattr(record, "axis_values", ())
    return f"{values[index]:g}" if index < len(values) else str(index)


def _scales_of(claim, prediction, measurement) -> tuple[bool, bool]:
    """Whether x and y are logarithmic: exponents and log-spaced records, and only where all is positive."""
    spread = getattr(claim.setup, "spacing", "") == "log" or measurement.abscissa_name == "n"
    log_x = isinstance(claim, Scales) or spread
    inside = np.asarray(measurement.abscissa, float) > 0
    positive = (prediction.values[:, inside] > 0).all() and (measurement.values.mean(0)[inside] > 0).all()
    return log_x, bool(log_x and positive)


def _drawn(x, y, scales) -> tuple[np.ndarray, np.ndarray]:
    """What can be drawn: finite, and positive on logarithmic axes."""
    x, y = np.asarray(x, float), np.asarray(y, float)
    keep = np.isfinite(y) & ((x > 0) | (not scales[0])) & ((y > 0) | (not scales[1]))
    return x[keep], y[keep]


def _thin(points: np.ndarray, scales) -> np.ndarray:
    """Indices of at most 26 dots, evenly spread along the axis as drawn."""
    usable = np.flatnonzero((points > 0) | (not scales[0]))
    place = np.log(points[usable]) if scales[0] else points[usable]
    targets = np.linspace(place[0], place[-1], min(MOST_DOTS, len(usable)))
    return usable[np.unique(np.abs(place[None] - targets[:, None]).argmin(1))]


def _ticks(x: np.ndarray) -> list[float]:
    """Round numbers 1, 3, 10, 30 ... within a range, or 1, 2, 5, 10 ... where it is short."""
    steps = (1, 3) if x[-1] > 20 * x[0] else (1, 2, 5)
    decades = range(int(np.floor(np.log10(x[0]))), int(np.ceil(np.log10(x[-1]))) + 1)
    return [m * 10.0**k for k in decades for m in steps if x[0] <= m * 10.0**k <= x[-1]]


def _scale(axes, scales) -> None:
    axes.set_xscale("log" if scales[0] else "linear")
    axes.set_yscale("log" if scales[1] else "linear")


def _limits(axes, shown: np.ndarray, logarithmic: bool) -> None:
    shown = shown[np.isfinite(shown)]
    low, high = shown.min(), shown.max()
    if logarithmic:
        axes.set_ylim(low / 1.3, high * 1.3)
    elif high > low:
        axes.set_ylim(low - 0.05 * (high - low), high + 0.05 * (high - low))


def _y_label(observable: str) -> str:
    return Y_LABELS.get(observable, observable.replace("_", " "))
