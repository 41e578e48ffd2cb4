"""Axes that read well: which scale, which ticks, which words, and where lines stop.

A logarithmic axis of less than two decades gets plain round numbers (50, 100, 200), a longer one powers of ten.
"""

import numpy as np

from ...theory.claims import Scales

MOST_SERIES, MOST_DOTS = 6, 26
Y_LABELS = {
    "mode_strength": "mode strength (target per input)",
    "subspace_strength": "subspace strength (target per input)",
    "loss": "loss (half squared error)",
    "balancedness": "change of the balance (weight squared)",
    "sharpness": "sharpness (1 / learning rate)",
    "preconditioned_sharpness": "preconditioned sharpness (1 / learning rate)",
    "excess_risk": "excess risk (squared target)",
    "growth_factor": "growth per step (factor)",
    "test_error": "test error (squared target)",
    "pool_error": "error on the whole pool (squared target)",
    "risk": "risk (squared target)",
    "outputs": "output for one sample (target)",
}
X_LABELS = {"step": "training step", "n": "training samples n"}
CHANGES = ("balancedness",)  # shown from where they start: what moves is small against what stays
_STEPS = ((1, 3), (1, 2, 5), (1, 2, 3, 5, 7), (1, 1.5, 2, 2.5, 3, 4, 5, 6, 7, 8))


def x_label(name: str) -> str:
    """What is drawn along the horizontal axis, with its unit."""
    return X_LABELS.get(name, name.replace("_", " "))


def y_label(observable: str) -> str:
    """The observable with its unit, in two lines where one would be longer than the axis.

    >>> y_label("excess_risk"), y_label("preconditioned_sharpness")
    ('excess risk (squared target)', 'preconditioned sharpness\\n(1 / learning rate)')
    """
    label = Y_LABELS.get(observable, observable.replace("_", " "))
    return label if len(label) <= 38 else label.replace(" (", "\n(")


def series(values: np.ndarray, record) -> list[tuple[int, int, str]]:
    """At most six (setting, component, name): settings first, then components spread evenly over all there are."""
    settings, components = values.shape[1], values.shape[3]
    if settings > 1:
        chosen = np.unique(np.linspace(0, settings - 1, min(settings, MOST_SERIES)).round().astype(int))
        return [(int(a), 0, setting(record, a)) for a in chosen]
    size = np.nanmax(np.abs(values[0, 0]), axis=0)
    order = np.arange(components) if components <= 30 else np.sort(np.argsort(-size)[:MOST_SERIES])
    chosen = order[np.unique(np.linspace(0, len(order) - 1, min(len(order), MOST_SERIES)).round().astype(int))]
    return [(0, int(c), f"{component(record)} {c + 1}") for c in chosen]


def component(record) -> str:
    """What one component of the observable is called."""
    observable = getattr(record, "observable", "")
    return "mode" if "mode" in observable else "entry" if observable in CHANGES else "component"


def setting(record, index: int) -> str:
    """The value along the claim's axis, as text."""
    values = getattr(record, "values", ()) if not isinstance(getattr(record, "values", ()), np.ndarray) else ()
    values = values or getattr(record, "axis_values", ())
    return f"{values[index]:g}" if index < len(values) else str(index)


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
    """Round numbers on logarithmic axes of less than two decades; call it when the limits are final."""
    for axis, (low, high) in ((axes.xaxis, axes.get_xlim()), (axes.yaxis, axes.get_ylim())):
        if axis.get_scale() == "log" and high < 200 * low:
            chosen = ticks(low, high)
            axis.set_ticks(chosen, [f"{tick:g}" for tick in chosen])
            axis.set_ticks([], minor=True)


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
