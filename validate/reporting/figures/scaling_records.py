"""Figures of records about scaling: phases, finite-size curves and frontiers, dynamics, what mechanisms say, raw data.

What a theory says is a line, a limit dashed, an interval a band or a bar; nothing here is measured.
"""

from functools import lru_cache
from typing import Any

import numpy as np
from matplotlib.colors import ListedColormap
from matplotlib.figure import Figure

from .axes import limits, plain_ticks, scale
from .style import BUDGET, COLOURS, DASHED, DOTS, GREY, INK, LINE, end_labels, panels, style

BAND: dict[str, Any] = {"alpha": 0.18, "lw": 0}
RESOURCES = ("steps", "samples", "parameters")
WIDTHS = (100, 200, 400, 800, 1600)  # of curves over compute
CELLS = 400  # of a map of phases along each side
PALE = ("#d6e6f2", "#f6dccb", "#d3ebe3", "#f2e0ea", "#f8ecd0", "#dceefa", "#e6e6e6", "#cfd8e6", "#eadfd0")


def phase_figure(x) -> Figure:
    """The plane of (alpha, beta) with its phases, and the point that was asked for; white: no power law."""
    at = float(x.alpha), float(x.beta)
    alpha, beta, chart, names = _phases(max(1.5, 1.25 * at[0]), max(1.5, 1.25 * at[1]))
    with style():
        made, (axes,) = panels(1, width=4.8, height=3.9)
        look = {"cmap": ListedColormap(PALE[: len(names)]), "vmin": -0.5, "vmax": len(names) - 0.5}
        axes.pcolormesh(alpha, beta, chart, zorder=0, rasterized=True, **look)
        for index, name in enumerate(names):
            cells = np.argwhere(chart == index)
            if len(cells) > 0.004 * CELLS**2:
                row, column = cells[np.argmin(((cells - cells.mean(0)) ** 2).sum(1))]
                axes.text(alpha[column], beta[row], name, ha="center", va="center", fontsize=9, weight="bold")
        axes.plot(*at, marker="o", ms=6, color=COLOURS[1], ls="none", label=f"here: phase {x.name}")
        axes.set_xlabel(r"alpha (eigenvalues $j^{-2\alpha}$)")
        axes.set_ylabel(r"beta (target weights $j^{-\beta}$)")
        axes.legend(loc="lower left", bbox_to_anchor=(0, 1), borderaxespad=0.2)
        return made


@lru_cache(maxsize=8)
def _phases(right: float, top: float) -> tuple[np.ndarray, np.ndarray, np.ndarray, list[str]]:
    """alpha (N,), beta (N,), number of the phase (N, N) or nan, and the names.

    No boundary crosses a piece of the plane on which no boundary line changes sign: one exact answer a piece is enough.
    """
    import sympy as sp

    from ....theory.errors import LearningMechanicsError
    from ....theory.scaling.power_law_phases import boundary_lines, power_law_phase
    from ....theory.scaling.power_law_terms import ALPHA, BETA

    # the shares differ, so that no cell lies on a boundary
    alpha, beta = ((np.arange(CELLS) + share) / CELLS * end for share, end in ((0.517, right), (0.431, top)))
    lines = (*boundary_lines(), ALPHA + BETA - sp.Rational(1, 2))
    signs = [
        np.broadcast_to(sp.lambdify((ALPHA, BETA), line)(alpha, beta[:, None]) > 0, (CELLS, CELLS)) for line in lines
    ]
    _, first, piece = np.unique(np.reshape(signs, (len(lines), -1)), axis=1, return_index=True, return_inverse=True)
    found = []
    for row, column in zip(*np.unravel_index(first, (CELLS, CELLS)), strict=True):
        try:
            found.append(power_law_phase(float(alpha[column]), float(beta[row])).name)
        except LearningMechanicsError:
            found.append("")
    names = sorted({name for name in found if name and "/" not in name})
    numbers = np.array([names.index(name) if name in names else np.nan for name in found])
    return alpha, beta, numbers[piece.ravel()].reshape(CELLS, CELLS), names


def dynamics_figure(x) -> Figure:
    """Errors in time, and which resource holds back: the share of each in what the effective ridge responds to."""
    keep = np.asarray(x.times) > 0
    times = np.asarray(x.times)[keep]
    with style():
        made, (left, right) = panels(2, ratios=(1.2, 1))
        scale(left, (True, True))
        shown = []
        for name, colour, look in (("test", COLOURS[0], LINE), ("train", COLOURS[1], LINE), ("bias", GREY, DASHED)):
            values = getattr(x, name)[keep]
            seen = values > 1e-12 * np.nanmax(x.test)
            left.plot(
                times[seen], values[seen], color=colour, label="mean predictor" if name == "bias" else name, **look
            )
            shown.append(values[seen])
        limits(left, np.concatenate(shown), True)
        plain_ticks(left)
        left.set_ylabel("mean squared error")
        left.legend(loc="best")
        for share, name, colour in zip(x.shares[keep].T, RESOURCES, COLOURS[2:], strict=False):
            right.plot(times, share, color=colour, label=name, **LINE)
        right.set_xscale("log")
        right.set_ylim(-0.02, 1.02)
        right.set_ylabel("what holds back (share)")
        right.legend(loc="best")
        for axes in (left, right):
            axes.set_xlabel("time (learning rate × steps)")
        return made


def feature_descent_figure(x) -> Figure:
    """Loss of one-pass SGD on random features against steps, with two standard errors over draws, and its floor."""
    keep = np.asarray(x.steps) > 0
    steps, loss = np.asarray(x.steps, float)[keep], x.loss[keep]
    with style():
        made, (axes,) = panels(1, width=5.6)
        scale(axes, (True, True))
        axes.plot(steps, loss, color=COLOURS[0], label=x.method.split(",")[0], **LINE)
        if x.error is not None:
            low = np.maximum(loss - 2 * x.error[keep], loss / 10)
            axes.fill_between(steps, low, loss + 2 * x.error[keep], color=COLOURS[0], **BAND)
        axes.axhline(x.floor, color=GREY, label=f"floor of {x.width} features", **DASHED)
        axes.set_xlabel("step")
        axes.set_ylabel("loss (half squared error)")
        limits(axes, np.append(loss, x.floor if x.floor > 0 else loss.min()), True)
        plain_ticks(axes)
        axes.legend(loc="best")
        return made


def power_law_features_figure(x) -> Figure:
    """Loss above the label noise against compute for five widths, and the asymptotic law through the best of them."""
    compute = np.geomspace(max(WIDTHS) * x.batch, 3e4 * max(WIDTHS) * x.batch, 60)
    with style():
        made, (axes,) = panels(1, width=5.6)
        scale(axes, (True, True))
        table = []
        for width, colour in zip(WIDTHS, COLOURS, strict=False):
            steps = np.unique(np.round(np.geomspace(1, compute[-1] / (width * x.batch), 80)))
            loss = x.curve(width, steps).loss - x.noise / 2
            axes.plot(width * x.batch * steps, loss, color=colour, **LINE)
            table.append(np.interp(np.log(compute), np.log(width * x.batch * steps), np.log(loss)))
        best = np.exp(np.min(table, axis=0))
        ends = [
            (compute[-1], np.exp(row[-1]), f"d = {d}", c) for row, d, c in zip(table, WIDTHS, COLOURS, strict=False)
        ]
        limit = _limit(x)
        if limit is not None:
            middle = len(compute) // 2
            line = best[middle] * (compute / compute[middle]) ** -limit
            axes.plot(compute, line, color=INK, label=f"limit, compute$^{{-{limit:.2f}}}$", **DASHED)
            axes.legend(loc="lower left")
        axes.set_xlabel("compute (width × samples seen)")
        axes.set_ylabel("loss above the label noise")
        plain_ticks(axes)
        end_labels(axes, ends)
        return made


def _limit(problem) -> float | None:
    from ....theory.errors import LearningMechanicsError

    try:
        return float(problem.phase.loss_exponent)
    except LearningMechanicsError:  # no power law out there
        return None


def frontier_figure(x) -> Figure:
    """Best loss and best width against compute, with the asymptotic loss dashed."""
    with style():
        made, panes = panels(2)
        for axes, values, sign, exponent, name in (
            (panes[0], x.loss, -1, x.loss_exponent, "best loss"),
            (panes[1], x.width, 1, x.width_exponent, "best width"),
        ):
            scale(axes, (True, True))
            axes.plot(x.compute, values, color=COLOURS[0], label=f"local exponent {exponent:.3f}", **LINE)
            if sign < 0 and x.limit is not None:
                line = values[-1] * (x.compute / x.compute[-1]) ** -x.limit
                axes.plot(x.compute, line, color=INK, label=f"limit {x.limit:.3f}", **DASHED)
            limits(axes, values, True)
            plain_ticks(axes)
            axes.set_xlabel("compute (width × samples seen)")
            axes.set_ylabel(name)
            axes.legend(loc="best")
        return made


def feature_learning_figure(x) -> Figure:
    """The exponent in time of lazy and of rich training against how hard the target is, and the one asked for."""
    from ....theory.scaling.feature_learning import time_exponent

    ease = np.linspace(0.05, 2, 60)
    rich = [float(time_exponent(1.5, 1 + 1.5 * s)) for s in ease]  # depends on the ratio alone
    here = float(x.hardness)
    with style():
        made, (axes,) = panels(1, width=4.8)
        axes.plot(ease, ease, color=COLOURS[0], label="lazy", **LINE)
        axes.plot(ease, rich, color=COLOURS[1], label="rich", **LINE)
        if here <= 2.2:
            axes.axvline(here, color=GREY, lw=0.8, ls=":", label=f"here {here:.2f}")
        axes.set_xlabel("(target exponent − 1) / capacity; hard tasks below 1")
        axes.set_ylabel("exponent in steps")
        axes.legend(loc="best")
        return made


def power_law_test_figure(x) -> Figure:
    """Local exponents over octaves of ranks with their 90 % intervals, and the one exponent of the whole window."""
    with style():
        made, (axes,) = panels(1, width=5.6)
        low, high, slopes = zip(*x.slopes, strict=True)
        value, error = (np.array([getattr(slope, name) for slope in slopes]) for name in ("value", "error"))
        bars = [np.sqrt(np.multiply(low, high)) - low, high - np.sqrt(np.multiply(low, high))]
        axes.errorbar(np.sqrt(np.multiply(low, high)), value, yerr=error, xerr=bars, color=COLOURS[0], **DOTS)
        one, its = x.exponent.value, x.exponent.error
        axes.axhspan(one - its, one + its, color=BUDGET, alpha=0.35, lw=0)
        axes.axhline(one, color=INK, label=f"one power law, exponent {one:.2f}", **DASHED)
        axes.set_xscale("log")
        axes.set_xlabel("rank")
        axes.set_ylabel("local exponent of the eigenvalues")
        axes.set_title(x.verdict)
        axes.legend(loc="best")
        return made


def intrinsic_dimension_figure(x) -> Figure:
    """The dimension that each estimator sees against the scale at which it looks, and the bracket over all."""
    with style():
        made, (axes,) = panels(1, width=5.6)
        neighbours, _, ratios, pairs = zip(*x.scales, strict=True)
        for shift, found, colour, name in ((0.97, ratios, COLOURS[0], "ratios"), (1.03, pairs, COLOURS[1], "pairs")):
            value, error = (np.array([getattr(one, field) for one in found]) for field in ("value", "error"))
            axes.errorbar(shift * np.array(neighbours), value, yerr=error, color=colour, label=f"from {name}", **DOTS)
        axes.axhspan(x.low, x.high, color=BUDGET, alpha=0.35, lw=0, label="bracket")
        scale(axes, (True, False))
        axes.set_ylim(bottom=0)
        axes.set_xlabel("neighbours")
        axes.set_ylabel("intrinsic dimension")
        plain_ticks(axes)
        axes.legend(loc="best")
        return made


def symbols_figure(x) -> Figure:
    """Share of every symbol against its rank, and Zipf's law through the middle of them where there is one."""
    rank, share = np.arange(1.0, len(x.counts) + 1), x.frequencies
    with style():
        made, (axes,) = panels(1, width=5.2)
        scale(axes, (True, True))
        axes.plot(rank, share, color=COLOURS[0], ls="none", marker="o", ms=3)
        if x.exponent is not None:
            often = x.counts >= 4
            level = np.exp(np.mean(np.log(share[often]) + x.exponent.value * np.log(rank[often])))
            name = f"rank$^{{-{x.exponent.value:.2f}}}$"
            axes.plot(rank, level * rank**-x.exponent.value, color=INK, label=name, **DASHED)
            axes.legend(loc="best")
        axes.set_xlabel("rank of the symbol")
        axes.set_ylabel("share of rows")
        limits(axes, share, True)
        plain_ticks(axes)
        return made


def mechanisms_figure(x) -> Figure:
    """Forecasts side by side, a panel an axis: a filled dot with its 90 % interval applies, a pale one does not."""
    rows = [row for row in x if row.exponent is not None]
    names = list(dict.fromkeys(row.mechanism for row in rows))
    shown = list(dict.fromkeys(row.axis for row in rows)) or ["samples"]
    with style():
        made, panes = panels(len(shown), width=max(4.8, 2.4 * len(shown) + 1.2), height=1.1 + 0.42 * max(len(names), 1))
        for axes, name in zip(panes, shown, strict=True):
            for row in rows:
                if row.axis == name:
                    colour = COLOURS[0] if row.applies else BUDGET
                    look = {**DOTS, "mfc": colour}
                    place = -names.index(row.mechanism)
                    axes.errorbar(row.exponent.value, place, xerr=row.exponent.error, color=colour, **look)
            axes.set_title(name)
            axes.set_xlabel("exponent")
            axes.set_xlim(left=min(0.0, *(row.exponent.value - row.exponent.error for row in rows if row.axis == name)))
            axes.set_ylim(-len(names) + 0.4, 0.6)
            axes.set_yticks([-i for i in range(len(names))], names if axes is panes[0] else [""] * len(names))
        return made
