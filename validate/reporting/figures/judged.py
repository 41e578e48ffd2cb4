"""What the judge looked at: the error against its budget, against an axis for an order, local slopes for an exponent.

These are the right-hand panels. The law is blue, the rival orange and dashed, the budget a black line.
"""

import numpy as np

from ....theory.claims import Threshold
from ...judging.residuals import prepare
from ...judging.statistics import local_slopes
from .axes import component_ticks, plain_ticks, rows, setting, ticks, value_ticks, view
from .names import axis_label, plain_number, x_label
from .style import BUDGET, COLOURS, DASHED, DOTS, GREY, INK, LINE, end_labels

SUMMARIES = {"last": "at the last record", "last_third_mean": "mean of the last third of the steps"}
HUGE = 1e17


def errors(axes, claim, prediction, rival, measurement, verdict=None) -> None:
    """Largest error over components and seeds (or of the mean over seeds) against the budget, on a log scale.

    Where the left panel is drawn against the components, so is this one.
    """
    laws = [(prediction, COLOURS[0], LINE, "law")] + ([(rival, COLOURS[1], DASHED, "rival")] if rival else [])
    axes.set_yscale("log")
    logarithmic = getattr(claim.setup, "spacing", "") == "log" or measurement.abscissa_name == "n"
    budget = float(sum(getattr(claim, "budget", {}).values()))
    order = np.argsort(claim.values) if claim.axis else np.zeros(1, int)
    ends, along, shown = [], False, []
    apart = view(claim, measurement) == "components"
    for law, colour, look, name in laws:
        residual = prepare(claim, law, prediction, measurement, flat=False).residual
        size = np.abs(residual.mean(0)) if claim.stochastic else np.abs(residual).max(0)
        if apart:  # one line of points for each group of components, here their largest
            size = np.max([size[:, 0, part] for part, _ in rows(claim, size.shape[-1])], axis=0)[..., None]
        size = np.minimum(np.nan_to_num(size.max(-1), nan=HUGE, posinf=HUGE), HUGE)  # (setting, point)
        worst = int(np.argmax(size.max(1)))
        points = np.arange(1.0, size.shape[1] + 1) if apart else np.asarray(measurement.abscissa[worst], float)
        along = size.shape[1] > 1
        x, y = (points, size[worst]) if along else (np.arange(len(size)), size[order, 0])
        keep = (y > 0) & ((x > 0) | (not (along and logarithmic)))  # an error of exactly zero has no place here
        if not keep.any():
            continue
        x, y = x[keep], y[keep]
        axes.plot(x, y, color=colour, **(look if along else {"marker": "o", "ls": "none"}))
        ends.append((x[-1], y[-1], name, colour))
        shown.append(y if name == "law" else np.minimum(y, max(10.0, 10 * budget)))
        if name == "law" and claim.stochastic and along and not apart and len(residual) > 1:
            noise = 2 * residual[:, worst].std(0, ddof=1).max(-1)[keep] / np.sqrt(len(residual))
            axes.plot(x, noise, color=GREY, lw=1.0, ls=":")
            ends.append((x[-1], noise[-1], "2 s.e.", GREY))
            shown.append(np.maximum(noise, min(y.min(), noise.max()) / 10))
    if apart:
        component_ticks(axes, claim, size.shape[1], most=5)
    elif along:
        axes.set_xscale("log" if logarithmic else "linear")
        if "window" in claim.options:
            low, high = np.clip(claim.options["window"], *axes.get_xlim())
            axes.axvspan(low, high, color=BUDGET, alpha=0.25, lw=0)
        axes.set_xlabel(x_label(measurement.abscissa_name))
    elif claim.axis:
        axes.set_xticks(np.arange(len(claim.values)), [setting(claim, index) for index in order.tolist()])
        axes.set_xlim(-0.6, len(claim.values) - 0.4)
        axes.set_xlabel(axis_label(claim) if not isinstance(claim, Threshold) else multiples(claim))
    else:
        summary = str(claim.options.get("summary", "last"))
        axes.set_xticks([])
        axes.set_xlim(-0.6, 0.6)
        axes.set_xlabel(SUMMARIES.get(summary, summary.replace("_", " ")))
    # a first error of nothing but rounding is no reason to show fifteen empty decades
    typical = [np.maximum(y, np.quantile(y, 0.1) / 30) for y in shown]
    everything = np.concatenate([*typical, [budget] if budget > 0 else []])
    if len(everything):
        axes.set_ylim(max(everything.min(), 1e-17) / 2.5, everything.max() * 2.5)
    if budget > 0:
        axes.axhline(budget, color=INK, lw=0.9)
        ends.append((axes.get_xlim()[1], budget, "budget", INK))
    axes.set_ylabel("error" + relative(claim, " (absolute)"))
    plain_ticks(axes)
    right = max((x for x, *_ in ends), default=0.0)
    end_labels(axes, [(right, *rest) for _, *rest in ends] if along else ends)


def order(axes, claim, prediction, rival, measurement, verdict=None) -> None:
    """Largest error of each setting against the axis, with a line of the claimed order through the smallest."""
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
            name = f"slope {claim.order:g}".replace("-", "−")
        right = int(np.argmax(values))
        ends.append((values[right], mean[right], name, colour))
    axes.set_xscale("log")
    axes.set_yscale("log")
    plain_ticks(axes)
    value_ticks(axes.xaxis, values)
    axes.set_xlabel(axis_label(claim))
    axes.set_ylabel("largest error" + relative(claim))
    end_labels(axes, ends)
    _measured(axes, "slope", verdict, 3)


def slopes(axes, claim, prediction, rival, measurement, verdict=None) -> None:
    """Local log-log slopes between neighbouring points; the shaded window is what was judged.

    Along the abscissa, or along the claim's axis where every setting has one point only.
    """
    across = view(claim, measurement) == "axis"
    points = np.asarray(claim.values if across else measurement.abscissa[0], float)
    keep = np.flatnonzero(points > 0)
    keep = keep[np.argsort(points[keep])]
    middle = np.sqrt(points[keep][1:] * points[keep][:-1])

    def curves(record) -> np.ndarray:
        return record.values[:, keep, 0, 0] if across else record.values[:, 0, keep, 0]

    runs = curves(measurement)
    for law, colour, look in ((prediction, COLOURS[0], LINE), (rival, COLOURS[0], DASHED)):
        if law is not None:
            axes.plot(middle, local_slopes(points[keep], curves(law)[0]), color=colour, **look)
    measured = local_slopes(points[keep], runs.mean(0))
    bars = None
    if len(runs) > 1:
        spread = local_slopes(points[keep], np.maximum(runs, np.finfo(float).tiny))
        bars = 2 * spread.std(0, ddof=1) / np.sqrt(len(runs))
    axes.errorbar(middle, measured, yerr=bars, color=COLOURS[0], **DOTS)
    axes.axvspan(max(claim.window[0], middle[0]), min(claim.window[1], middle[-1]), color=BUDGET, alpha=0.25, lw=0)
    axes.set_xscale("log")
    chosen = ticks(middle[0], middle[-1])
    axes.set_xticks(chosen, [plain_number(tick) for tick in chosen])
    axes.minorticks_off()
    plain_ticks(axes)
    axes.set_xlabel(axis_label(claim) if across else x_label(measurement.abscissa_name))
    axes.set_ylabel("local slope (exponent)")
    _measured(axes, "slope", verdict, 3)


def growth(axes, claim, prediction, rival, measurement) -> None:
    """Growth per step below and above the threshold; the grey cross is where both are one."""
    x = np.asarray(claim.values, float)
    axes.axhline(1, color=GREY, lw=0.8)
    axes.axvline(1, color=GREY, lw=0.8)
    axes.plot(x, np.abs(prediction.values[0, :, -1, 0]), color=COLOURS[0], **LINE)
    if rival is not None:
        axes.plot(x, np.abs(rival.values[0, :, -1, 0]), color=COLOURS[0], **DASHED)
    runs = np.abs(measurement.values[:, :, -1, 0])
    bars = 2 * runs.std(0, ddof=1) / np.sqrt(len(runs)) if len(runs) > 1 else None
    axes.errorbar(x, runs.mean(0), yerr=bars, color=COLOURS[0], **DOTS)
    marks = sorted({*x.tolist(), 1.0})
    axes.set_xticks(marks, [plain_number(mark) for mark in marks])
    plain_ticks(axes)
    axes.set_xlabel(multiples(claim))


def multiples(claim) -> str:
    """What the settings of a threshold are."""
    return f"{x_label(claim.axis or 'parameter')} (multiples of the critical value)"


def relative(claim, otherwise: str = "") -> str:
    """What errors are divided by."""
    of = {"point": "prediction", "final": "final value", "scale": "largest value"}.get(claim.relative)
    return f" / {of}" if of else otherwise


def _measured(axes, name: str, verdict, digits: int) -> None:
    if verdict is None or verdict.slope is None or verdict.order is None:
        return
    said = f"{name} {verdict.slope:.{digits}f} measured, {verdict.order:.{digits}f} predicted".replace("-", "−")
    axes.set_title(said, fontsize=8.5, fontweight="normal")
