"""Figures of what theory alone gives: learning curves with error bars, spectra, random features, mean-field descents.

The same look as the figures of claims: what is predicted is a line, what it is checked against dots, a law that it
approaches dashed, and what is not certain a band.
"""

import re
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from ...theory.spectra.decay import DIMENSION
from .figures import scaling_records as records
from .figures.axes import MOST_SERIES, limits, plain_ticks, scale
from .figures.names import plain_number, raised, x_label, y_label
from .figures.style import COLOURS, DASHED, DOTS, GREY, INK, LINE, end_labels, panels, style
from .loss_surface.figures import residual_figure
from .scaling_figures import axis_law_figure, scaling_law_figure

BAND: dict[str, Any] = {"alpha": 0.18, "lw": 0}
MOST_POINTS = 300  # of a line: more cannot be seen


def data_curve_figure(x) -> Figure:
    """Test error against samples with its interval as a band; beyond the trusted range the line is dashed.

    Dots are what cross-validation of the same rows says, with the error that it states.
    """
    with style():
        made, (axes,) = panels(1, width=5.6)
        scale(axes, (True, True))
        colour, trusted = COLOURS[0], x.sizes <= x.trusted
        axes.fill_between(x.sizes, x.low, x.high, color=colour, **BAND, label="90 % interval")
        edge = min(max(x.trusted, x.sizes[0]), x.sizes[-1])
        level = np.exp(np.interp(np.log(edge), np.log(x.sizes), np.log(x.test)))
        before = np.append(x.sizes[trusted], edge), np.append(x.test[trusted], level)
        beyond = np.append(edge, x.sizes[~trusted]), np.append(level, x.test[~trusted])
        axes.plot(*before, color=colour, **LINE, label="forecast")
        if (~trusted).any():
            axes.plot(*beyond, color=colour, **DASHED, label="not to be trusted")
            axes.axvline(edge, color=GREY, lw=0.8, ls=":")
            axes.annotate(
                f"trusted to n = {x.trusted:.0f}",
                (edge, 0.03),
                (-4, 0),
                xycoords=axes.get_xaxis_transform(),
                textcoords="offset points",
                ha="right",
                fontsize=8,
                color=GREY,
            )
        if x.checks:
            sizes, errors, spread = (np.array([check[k] for check in x.checks]) for k in ("size", "test", "error"))
            axes.errorbar(sizes, errors, yerr=2 * spread * errors, color=INK, **DOTS, label="rows left out in turn")
        axes.set_xlabel(x_label("n"))
        axes.set_ylabel(y_label("test_error"))
        limits(axes, np.concatenate([x.low, x.high, [check["test"] for check in x.checks]]), True)
        plain_ticks(axes)
        axes.legend(loc="best")
        return made


def level_spectrum_figure(x) -> Figure:
    """Eigenvalues by level, logarithmic, with the law by which they fall dashed; zeros are left out.

    Dashed is the leading term of the decay, with its constant, for even and odd levels apart where they differ. Levels
    of several frequencies have no order by one number: these eigenvalues are drawn by mode.
    """
    single = all(np.ndim(level) == 0 for level in x.levels)
    places = np.asarray(x.levels, float) if single else np.cumsum(x.multiplicities) - x.multiplicities + 1
    keep = (x.eigenvalues > 0) & (places > 0)
    k, values = places[keep], x.eigenvalues[keep]
    with style():
        made, (axes,) = panels(1, width=5.6)
        scale(axes, (True, True))
        axes.plot(k, values, color=COLOURS[0], ls="none", marker="o", ms=3.6, label="eigenvalue")
        for number, fall in enumerate(_falls(x, k) if single else []):
            axes.plot(*fall, color=INK, **DASHED, label=None if number else f"decay {_said(x.decay.at(x.dimension))}")
        limits(axes, values, True)
        axes.set_xlabel("level" if single else "mode")
        axes.set_ylabel("eigenvalue (kernel)")
        axes.set_title(re.sub(r"\^(\d+)", lambda power: raised(int(power[1])), f"{x.kernel} on {x.space}"))
        plain_ticks(axes)
        axes.legend(loc="best")
        return made


def _falls(x, k) -> list[tuple[np.ndarray, np.ndarray]]:
    """Levels and the leading term of their eigenvalues: one line for both parities if they share it, or one for each.

    A power law has a constant on a sphere alone; none is drawn elsewhere.
    """
    if getattr(x.decay, "kind", "") != "power law" or "sphere" not in x.space:
        return []
    lines: dict[tuple, list] = {}
    for odd in (False, True):
        found = x.decay.of_parity(odd)
        if found is not None:
            exponent = x.dimension - 1 + 2 * float(found[0])
            constant = float(x.decay.constant(odd).subs(DIMENSION, x.dimension))
            lines.setdefault((exponent, constant), []).append(odd)
    falls = []
    for (exponent, constant), parities in sorted(lines.items()):
        shown = k[np.isin(k % 2, parities) & (k >= k[-1] / 30)]
        falls.append((shown, constant * (shown + (x.dimension - 2) / 2) ** -exponent))
    return falls


def _said(words: str) -> str:
    """The decay as it is written by hand.

    >>> _said("k^-(d) = k^-10, mode by mode i^-10/9")
    'k⁻¹⁰'
    """
    power = words.split(",")[0].split("=")[-1].strip()
    base, _, exponent = power.partition("^")
    return base + raised(int(exponent)) if exponent.lstrip("-").isdigit() else power


def spectrum_figure(x) -> Figure:
    """Eigenvalues of modes and, in the right panel, the share of the target's power in all modes from each on."""
    order = np.argsort(-x.eigenvalues, kind="stable")
    counts = np.asarray(x.multiplicities if x.multiplicities is not None else np.ones(len(order)), float)[order]
    mode = np.cumsum(counts)
    keep = x.eigenvalues[order] > 0
    total = np.asarray(x.power, float)[order]
    left = np.clip(1 - np.cumsum(total) / total.sum(), 0, None) if total.sum() > 0 else np.zeros(len(total))
    with style():
        made, (one, two) = panels(2)
        for axes, values, name in (
            (one, x.eigenvalues[order], "eigenvalue (kernel)"),
            (two, left, "target power in later modes (share)"),
        ):
            seen = keep & (values > 1e-14 * values.max())
            at = _thinned(mode[seen])
            scale(axes, (True, True))
            axes.plot(mode[seen][at], values[seen][at], color=COLOURS[0], **LINE)
            axes.set_xlabel("mode")
            axes.set_ylabel(name)
            if seen.any():
                limits(axes, values[seen][at], True)
            plain_ticks(axes)
        return made


def _thinned(modes: np.ndarray) -> np.ndarray:
    if len(modes) <= MOST_POINTS:
        return np.arange(len(modes))
    targets = np.geomspace(modes[0], modes[-1], MOST_POINTS)
    return np.unique(np.clip(np.searchsorted(modes, targets), 0, len(modes) - 1))


def random_features_figure(x) -> Figure:
    """Test error against samples, a line for each number of features; against features where there are more of these.

    Infinitely many have no place on an axis: where features are the axis their limit is a dashed line.
    """
    by_samples = np.isfinite(x.samples).sum() >= np.isfinite(x.features).sum()
    along, others = (x.samples, x.features) if by_samples else (x.features, x.samples)
    table = x.test if by_samples else x.test.T
    along, others = np.asarray(along, float), np.asarray(others, float)
    finite = np.isfinite(along)
    order = np.flatnonzero(finite)[np.argsort(along[finite])]
    chosen = np.unique(np.linspace(0, len(others) - 1, min(len(others), MOST_SERIES)).round().astype(int))
    axis, other = ("n", "features") if by_samples else ("features", "n")
    ends = []
    with style():
        made, (axes,) = panels(1, width=5.6)
        scale(axes, (True, True))
        for colour, index in zip(COLOURS, chosen, strict=False):
            values = np.where(np.isfinite(table[:, index]), table[:, index], np.nan)  # a peak without ridge is a gap
            axes.plot(along[order], values[order], color=colour, **LINE)
            for limit in table[~finite, index][:1]:
                axes.axhline(limit, color=colour, **DASHED)
            said = "∞" if np.isinf(others[index]) else plain_number(others[index])
            ends.append((along[order[-1]], np.nan_to_num(values[order[-1]], nan=np.nanmax(values)), said, colour))
        axes.set_xlabel(x_label(axis))
        axes.set_ylabel(y_label("test_error"))
        plain_ticks(axes)
        end_labels(axes, [(x, y, f"{'k' if by_samples else 'n'} = {said}", c) for x, y, said, c in ends])
        axes.set_title(f"{x_label(axis)}, for each number of {'features' if by_samples else 'samples'}")
        return made


def descent_figure(x) -> Figure:
    """Training at infinite width: outputs on the training inputs and the loss, with two standard errors if sampled."""
    steps = np.asarray(x.steps, float)
    outputs = x.outputs.reshape(len(steps), -1)
    errors = getattr(x, "outputs_error", None)
    errors = None if errors is None else errors.reshape(outputs.shape)
    chosen = np.unique(np.linspace(0, outputs.shape[1] - 1, min(outputs.shape[1], MOST_SERIES)).round().astype(int))
    with style():
        made, (left, right) = panels(2, ratios=(1.55, 1))
        for colour, index in zip(COLOURS, chosen, strict=False):
            _with_band(left, steps, outputs[:, index], None if errors is None else errors[:, index], colour)
        ends = [(steps[-1], outputs[-1, i], f"output {i + 1}", c) for i, c in zip(chosen, COLOURS, strict=False)]
        _with_band(right, steps, x.loss, getattr(x, "loss_error", None), COLOURS[0])
        decades = x.loss.min() > 0 and x.loss.max() > 30 * x.loss.min()
        right.set_yscale("log" if decades else "linear")
        for axes, name in ((left, "outputs"), (right, "loss")):
            axes.set_xlabel(x_label("step"))
            axes.xaxis.set_major_locator(MaxNLocator(6, integer=True))
            axes.set_ylabel(y_label(name))
            plain_ticks(axes)
        end_labels(left, ends)
        return made


def _with_band(axes, x, y, error, colour) -> None:
    axes.plot(x, y, color=colour, **LINE)
    if error is not None:
        axes.fill_between(x, y - 2 * error, y + 2 * error, color=colour, **BAND)


def profile_figure(x) -> Figure:
    """A signal through the layers: variance, correlation of two inputs, and gradients on their way back."""
    names = (
        ("variance", "variance (feature squared)"),
        ("correlation", "correlation of two inputs (cosine)"),
        ("gradient", "squared gradient (share of the last)"),
    )
    with style():
        made, panes = panels(3, height=3.0)
        for axes, (field, name) in zip(panes, names, strict=True):
            values = np.asarray(getattr(x, field), float).reshape(len(x.variance), -1)
            for colour, row in zip(COLOURS, values.T, strict=False):
                axes.plot(np.arange(len(row)), row, color=colour, **LINE)
            if field == "gradient" and (values > 0).all() and values.max() > 30 * values.min():
                axes.set_yscale("log")
            axes.set_xlabel("layer")
            axes.xaxis.set_major_locator(MaxNLocator(4, integer=True))
            axes.set_ylabel(name)
            plain_ticks(axes)
        return made


# what a record must have to be drawn so; the first that fits
KINDS = (
    (("width_range", "nearest", "tradeoff"), records.phase_figure),
    (("alpha", "beta", "curve", "frontier"), records.power_law_features_figure),
    (("steps", "loss", "floor", "critical_rate"), records.feature_descent_figure),
    (("compute", "loss", "width", "second_half"), records.frontier_figure),
    (("times", "test", "train", "bias", "shares"), records.dynamics_figure),
    (("hardness", "lazy", "rich"), records.feature_learning_figure),
    (("runs", "estimates", "has_frontier"), residual_figure),
    (("slopes", "criteria", "drift"), records.power_law_test_figure),
    (("scales", "open_above"), records.intrinsic_dimension_figure),
    (("counts", "frequencies", "memorised"), records.symbols_figure),
    (("axes", "capacity", "target_exponent", "mechanisms"), scaling_law_figure),
    (("axis", "believe", "curve", "asymptotic"), axis_law_figure),
    (("sizes", "low", "high", "trusted", "checks"), data_curve_figure),
    (("levels", "multiplicities", "eigenvalues", "decay"), level_spectrum_figure),
    (("eigenvalues", "power", "multiplicities"), spectrum_figure),
    (("samples", "features", "test", "learned"), random_features_figure),
    (("steps", "outputs", "loss"), descent_figure),
    (("variance", "correlation", "gradient", "gap"), profile_figure),
)


def drawing(x: Any):
    """The function that draws such a record, or None; rows of what mechanisms say are drawn together."""
    if hasattr(x, "mechanism"):
        return lambda row: records.mechanisms_figure((row,))
    if isinstance(x, tuple | list) and x and all(hasattr(row, "mechanism") for row in x):
        return records.mechanisms_figure
    return next((draw for names, draw in KINDS if all(hasattr(x, name) for name in names)), None)
