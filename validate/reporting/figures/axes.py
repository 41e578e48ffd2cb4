"""Axes that read well: which scale, which ticks, which words, and where lines stop.

A logarithmic axis of less than two decades gets plain round numbers (50, 100, 200), a longer one powers of ten.
"""

import math

import numpy as np
from matplotlib.ticker import LogLocator, NullFormatter, ScalarFormatter

from ....theory.claims import Scales, Threshold
from .names import PAIRED, TIMES, component, component_name, component_number, plain_number, raised

MOST_SERIES, MOST_DOTS = 6, 26
CHANGES = ("balancedness",)  # shown from where they start: what moves is small against what stays
_STEPS = ((1, 3), (1, 2, 5), (1, 2, 3, 5, 7), (1, 1.5, 2, 2.5, 3, 4, 5, 6, 7, 8))
_FEW = 3  # records of a run that make no curve


def view(claim, measurement) -> str:
    """What the left panel is drawn against: the records, the claim's axis, or the components.

    What is judged at the last record alone, or has one record only, is a number for each setting and component. It is
    drawn against the axis; without one, against the components where there are several and the way there is no curve.
    """
    single = np.shape(measurement.values)[2] == 1
    if isinstance(claim, Threshold) or not (single or "summary" in claim.options):
        return "records"
    if claim.axis and len(claim.values) > 1:
        return "axis"
    few = np.shape(measurement.values)[2] <= _FEW or claim.observable in TIMES
    return "components" if few and np.shape(measurement.values)[3] > (1 if single else 2) else "records"


def rows(claim, count: int) -> list[tuple[slice, str]]:
    """The components that make one line when drawn against them, and its name: all of them, with no name.

    Correlations of pairs of inputs in the layers of a network make a line for each pair.
    """
    nodes = getattr(getattr(claim.setup, "network", None), "nodes", ())
    layers = sum(node.op == "dense" for node in nodes) - 1
    if claim.observable != "layer_correlations" or layers < 1 or count % layers:
        return [(slice(None), "")]
    pairs = count // layers
    inputs = (1 + math.isqrt(8 * pairs + 1)) // 2
    first, second = np.triu_indices(inputs, 1)
    return [(slice(p, None, pairs), f"inputs {first[p] + 1}, {second[p] + 1}") for p in range(pairs)]


def component_ticks(axes, claim, count: int, most: int = 8) -> None:
    """Some components by their numbers along the horizontal axis, and what they are called."""
    marks = np.unique(np.linspace(0, count - 1, min(count, most)).round().astype(int)).tolist()
    axes.set_xticks([mark + 1 for mark in marks], [component_number(claim, mark, count) for mark in marks])
    axes.set_xlabel(component(claim))


def series(values: np.ndarray, record) -> list[tuple[int, int, str]]:
    """At most six (setting, component, name): settings of the strongest component, else components of all sizes."""
    settings, count = values.shape[1], values.shape[3]
    size = np.nan_to_num(np.nanmax(np.abs(np.where(np.isfinite(values), values, 0.0)), axis=(0, 1, 2)))
    if settings > 1:
        chosen = np.unique(np.linspace(0, settings - 1, min(settings, MOST_SERIES)).round().astype(int))
        return [(int(a), int(np.argmax(size)), setting(record, a)) for a in chosen]
    return [(0, part, component_name(record, part, count)) for part in parts(values, record)]


def parts(values: np.ndarray, record) -> list[int]:
    """At most six components: evenly spread over all, the largest of very many; of curves that are equal only one."""
    count = values.shape[3]
    if getattr(record, "observable", "") == PAIRED:  # both strengths of each of the leading modes
        return [low + half for low in range(min(MOST_SERIES // 2, count // 2)) for half in (0, count // 2)]
    if count <= 30:
        return np.unique(np.linspace(0, count - 1, min(count, MOST_SERIES)).round().astype(int)).tolist()
    first = values[0, 0]
    size = np.nanmax(np.abs(np.where(np.isfinite(first), first, 0.0)), axis=0)
    chosen: list[int] = []
    for part in np.argsort(-size, kind="stable")[: 20 * MOST_SERIES]:
        if not any(np.allclose(first[:, part], first[:, other], rtol=1e-6) for other in chosen):
            chosen.append(int(part))
        if len(chosen) == MOST_SERIES:
            break
    return sorted(chosen)


def setting(record, index: int) -> str:
    """The value along the claim's axis, as text."""
    values = getattr(record, "values", ()) if not isinstance(getattr(record, "values", ()), np.ndarray) else ()
    values = values or getattr(record, "axis_values", ())
    return plain_number(values[index]) if index < len(values) else str(index)


def abscissa(claim, measurement, index: int) -> np.ndarray:
    """Recorded steps or sizes of one setting; time, where settings differ in the learning rate."""
    points = np.asarray(measurement.abscissa[index], float)
    return points * claim.values[index] if in_time(claim, measurement) else points


def alike(prediction) -> bool:
    """Whether several seeds have one and the same prediction."""
    values = np.asarray(prediction.values)
    return len(values) > 1 and np.array_equal(values, np.broadcast_to(values[:1], values.shape), equal_nan=True)


def in_time(claim, measurement) -> bool:
    """Whether curves are compared at the same learning rate x steps."""
    return claim.axis == "learning_rate" and measurement.abscissa_name == "step"


def scales_of(claim, prediction, measurement) -> tuple[bool, bool]:
    """Whether x and y are logarithmic: exponents and log-spaced records, and only where all is positive."""
    spread = getattr(claim.setup, "spacing", "") == "log" or measurement.abscissa_name == "n"
    log_x = isinstance(claim, Scales) or spread
    inside = np.asarray(measurement.abscissa, float) > 0
    positive = (prediction.values[:, inside] > 0).all() and (measurement.values.mean(0)[inside] > 0).all()
    return log_x, bool(log_x and positive)


def drawn(x, y, scales) -> tuple[np.ndarray, np.ndarray]:
    """What can be drawn: finite, and positive on logarithmic axes."""
    x, y = np.asarray(x, float), np.asarray(y, float)
    keep = np.isfinite(y) & ((x > 0) | (not scales[0])) & ((y > 0) | (not scales[1]))
    return x[keep], y[keep]


def thin(points: np.ndarray, scales) -> np.ndarray:
    """Indices of at most 26 dots, evenly spread along the axis as drawn."""
    usable = np.flatnonzero((points > 0) | (not scales[0]))
    place = np.log(points[usable]) if scales[0] else points[usable]
    targets = np.linspace(place[0], place[-1], min(MOST_DOTS, len(usable)))
    return usable[np.unique(np.abs(place[None] - targets[:, None]).argmin(1))]


def scale(axes, scales) -> None:
    """Make the axes logarithmic where asked."""
    axes.set_xscale("log" if scales[0] else "linear")
    axes.set_yscale("log" if scales[1] else "linear")


def limits(axes, shown: np.ndarray, logarithmic: bool) -> None:
    """Vertical limits around everything shown, with a little air."""
    shown = shown[np.isfinite(shown)]
    low, high = shown.min(), shown.max()
    if logarithmic:
        axes.set_ylim(low / 1.3, high * 1.3)
    elif high > low:
        axes.set_ylim(low - 0.05 * (high - low), high + 0.05 * (high - low))


def plain_ticks(axes) -> None:
    """Ticks that need no typesetting; call it when the limits are final.

    Logarithmic axes get round numbers (50, 100, 200) below two decades, else powers of ten, at most seven of them.
    """
    for axis, (low, high) in ((axes.xaxis, axes.get_xlim()), (axes.yaxis, axes.get_ylim())):
        if axis.get_scale() != "log":
            if isinstance(axis.get_major_formatter(), ScalarFormatter):
                axis.set_major_formatter(_Numbers())
        elif high < 200 * low:
            chosen = ticks(low, high)
            axis.set_ticks(chosen, [plain_number(tick) for tick in chosen])
            axis.set_ticks([], minor=True)
        else:
            powers = np.arange(np.ceil(np.log10(low) - 1e-9), np.floor(np.log10(high) + 1e-9) + 1).astype(int)
            powers = powers[:: -(-len(powers) // 7)]
            axis.set_ticks(10.0**powers, [_power(power) for power in powers.tolist()])
            if len(powers) > 1 and powers[1] - powers[0] == 1:
                axis.set_minor_locator(LogLocator(subs=range(2, 10), numticks=99))
                axis.set_minor_formatter(NullFormatter())
            else:
                axis.set_ticks([], minor=True)


def value_ticks(axis, values) -> None:
    """Ticks at the settings themselves."""
    values = np.sort(np.asarray(values, float))
    axis.set_ticks(values, [plain_number(value) for value in values])
    axis.set_ticks([], minor=True)


def _power(power: int) -> str:
    return {0: "1", 1: "10"}.get(power, "10" + raised(power))


class _Numbers(ScalarFormatter):
    """Plain numbers, and above the axis the power of ten that they share."""

    def get_offset(self) -> str:
        power = super().get_offset().partition("e")[2].replace("−", "-")
        return f"×10{raised(int(power))}" if power else ""


def ticks(low: float, high: float) -> list[float]:
    """Round numbers within a range: as few to a decade as give at least three.

    >>> ticks(2, 150), ticks(25, 220)
    ([3.0, 10.0, 30.0, 100.0], [50.0, 100.0, 200.0])
    """
    decades = range(int(np.floor(np.log10(low))), int(np.ceil(np.log10(high))) + 1)
    made: list[float] = []
    for steps in _STEPS:
        made = [float(f"{m}e{k}") for k in decades for m in steps if low <= float(f"{m}e{k}") <= high]
        if len(made) >= 3:
            break
    return made
