"""Figures of a fitted loss surface: runs and residuals, profile of the floor, what single runs decide, the frontier.

The look of all figures here: the law a line with its 90 % interval as a band, runs dots, the rival way dashed.
"""

from typing import Any

import numpy as np
from matplotlib.figure import Figure

from ....theory.loss_surface.frontier import frontier
from ..figures.axes import limits, plain_ticks
from ..figures.style import COLOURS, DASHED, GREY, INK, LINE, end_labels, panels, style

BAND: dict[str, Any] = {"alpha": 0.18, "lw": 0}
RUNS: dict[str, Any] = {"ls": "none", "marker": "o", "ms": 3.4, "mew": 0.0, "alpha": 0.75}
BEYOND = 30.0  # times the largest compute: how far the frontier is drawn
MOST_GROUPS = 6


def residual_figure(fit) -> Figure:
    """Loss of the runs against compute with the best loss for it, and their residuals from the law."""
    with style():
        made, (left, right) = panels(2, ratios=(1.25, 1))
        compute = fit.runs.compute
        order = _by_size(fit.runs.parameters)
        shown = left.scatter(
            compute[order], fit.runs.loss[order], c=np.log10(fit.runs.parameters[order]), cmap="viridis", s=13, lw=0
        )
        if fit.has_frontier:
            grid = np.geomspace(compute.min(), compute.max() * BEYOND, 60)
            value, low, high = _along(fit, grid, "loss")
            left.fill_between(grid, low, high, color=COLOURS[1], **BAND)
            left.plot(grid, value, color=COLOURS[1], **LINE, label="best split (law)")
            left.legend(loc="upper right")
        left.axhline(fit.estimates["E"], color=GREY, lw=0.9, ls=":")
        left.annotate("E", (1, fit.estimates["E"]), (-3, 3), xycoords=("axes fraction", "data"),
                      textcoords="offset points", ha="right", fontsize=8, color=GREY)  # fmt: skip
        left.set_xscale("log")
        left.set_yscale("log")
        left.set_xlabel("compute 6 N D (flops)")
        left.set_ylabel("loss (nats)")
        bar = made.colorbar(shown, ax=left, pad=0.02, aspect=30)
        bar.set_label("log₁₀ parameters", fontsize=8)
        bar.outline.set_visible(False)
        percent = 100 * np.expm1(fit.residuals)
        right.axhspan(-100 * fit.noise, 100 * fit.noise, color=COLOURS[0], **BAND, label="noise (1 s.d.)")
        right.axhline(0, color=INK, lw=0.8)
        right.plot(compute, percent, color=COLOURS[0], **RUNS)
        right.set_xscale("log")
        right.set_xlabel("compute 6 N D (flops)")
        right.set_ylabel("measured above the law (%)")
        right.legend(loc="best")
        plain_ticks(left)
        return made


def profile_figure(fit) -> Figure:
    """How much worse the fit gets with the floor held elsewhere, and where the exponents go meanwhile."""
    profile = fit.verdict.profile
    low, high = profile.interval
    wide = max(high - low, 1e-9)
    near = (profile.floors >= low - 1.2 * wide) & (profile.floors <= high + 1.2 * wide)
    with style():
        made, (left, right) = panels(2)
        left.axvspan(low, high, color=COLOURS[0], **BAND, label="90 % by the profile")
        left.plot(profile.floors[near], profile.rise[near], color=COLOURS[0], **LINE)
        left.axhline(2.7055, color=INK, **DASHED)
        left.axvline(fit.estimates["E"], color=GREY, lw=0.9, ls=":")
        ends = fit.intervals()["E"]
        left.plot(ends, [0, 0], color=COLOURS[1], lw=4, solid_capstyle="butt", label="90 % by the bootstrap")
        left.set_ylim(-0.3, min(12.0, max(4.0, float(profile.rise[near].max()))))
        left.set_xlabel("floor E (nats)")
        left.set_ylabel("rise of the objective (chi-square)")
        left.legend(loc="upper center")
        marks = []
        for place, (name, colour) in enumerate((("α", COLOURS[0]), ("β", COLOURS[1]))):
            right.plot(profile.floors[near], profile.exponents[near, place], color=colour, **LINE)
            marks.append((float(profile.floors[near][-1]), float(profile.exponents[near, place][-1]), name, colour))
        right.axvspan(low, high, color=COLOURS[0], **BAND)
        right.set_xlabel("floor E (nats)")
        right.set_ylabel("exponent fitted with it")
        for axes in (left, right):
            plain_ticks(axes)
        end_labels(right, marks)
        return made


def drop_figure(fit, sensitivity) -> Figure:
    """Exponents after dropping the runs of highest loss, against the interval that the bootstrap states."""
    ends = fit.intervals()
    with style():
        made, panes = panels(2)
        drops = np.array(sensitivity.drops)
        for axes, place, name, letter, colour in (
            (panes[0], 3, "alpha", "α", COLOURS[0]),
            (panes[1], 4, "beta", "β", COLOURS[1]),
        ):
            axes.axhspan(*ends[name], color=colour, **BAND, label=f"90 % interval with {fit.dropped} dropped")
            axes.plot(drops, sensitivity.constants[:, place], color=colour, marker="o", ms=4.2, mfc="white", **LINE)
            axes.set_xlabel("runs of highest loss dropped")
            axes.set_ylabel(f"exponent {letter}")
            axes.set_xticks([k for k in drops if k not in (1, 2)] if len(drops) > 6 else drops)
            values = np.append(sensitivity.constants[:, place], ends[name])
            room = 0.18 * np.ptp(values) + 1e-9
            axes.set_ylim(values.min() - room, values.max() + 2 * room)
            axes.legend(loc="upper right")
        return made


def isoflop_figure(fit, isoflop) -> Figure:
    """Runs of equal compute with their parabolas, and the minima against compute with the law's own best sizes."""
    chosen = np.unique(np.linspace(0, len(isoflop.compute) - 1, min(len(isoflop.compute), MOST_GROUPS)).round()).astype(
        int
    )
    with style():
        made, (left, right) = panels(2, ratios=(1.3, 1))
        ends = []
        for colour, index in zip(COLOURS, chosen, strict=False):
            part = isoflop.members[index]
            sizes = fit.runs.parameters[part]
            left.plot(sizes, fit.runs.loss[part], color=colour, **RUNS)
            grid = np.geomspace(sizes.min(), sizes.max(), 50)
            x = np.log(grid) - isoflop.centres[index]
            c = isoflop.coefficients[index]
            curve = np.exp(c[0] + c[1] * x + c[2] * x * x)
            left.plot(grid, curve, color=colour, **LINE)
            left.plot(isoflop.parameters[index], isoflop.loss[index], marker="D", ms=5, color=colour, mec="white")
            ends.append((float(grid[-1]), float(curve[-1]), _flops(isoflop.compute[index]), colour))
        left.set_xscale("log")
        left.set_xlabel("parameters N")
        left.set_ylabel("loss (nats)")
        left.set_xlim(right=left.get_xlim()[1])
        end_labels(left, [(left.get_xlim()[1], *end[1:]) for end in ends])
        compute = isoflop.compute
        grid = np.geomspace(compute.min() / 2, compute.max() * 2, 40)
        value, low, high = _along(fit, grid, "parameters")
        right.fill_between(grid, low, high, color=COLOURS[0], **BAND)
        right.plot(grid, value, color=COLOURS[0], **LINE, label=f"law: C^{fit.exponents()['parameters'][0]:.3f}")
        middle = np.log(compute).mean()
        fitted = np.average(np.log(isoflop.parameters), weights=1 / np.maximum(isoflop.errors, 1e-9) ** 2)
        shift = np.average(np.log(compute), weights=1 / np.maximum(isoflop.errors, 1e-9) ** 2)
        line = np.exp(fitted + isoflop.exponent * (np.log(grid) - (shift if np.isfinite(shift) else middle)))
        right.plot(grid, line, color=INK, **DASHED, label=f"parabolas: C^{isoflop.exponent:.3f}")
        spread = isoflop.parameters * np.expm1(2 * isoflop.errors), isoflop.parameters * -np.expm1(-2 * isoflop.errors)
        right.errorbar(
            compute, isoflop.parameters, yerr=spread[::-1], fmt="o", ms=4.2, mfc="white", color=INK, elinewidth=0.9
        )
        right.set_xscale("log")
        right.set_yscale("log")
        right.set_xlabel("compute (flops)")
        right.set_ylabel("best parameters N*")
        right.legend(loc="upper left")
        plain_ticks(left)
        return made


def frontier_figure(fit) -> Figure:
    """Best parameters and tokens against compute, and tokens a parameter, with intervals; beyond the runs dashed."""
    compute = fit.runs.compute
    grid = np.geomspace(compute.min(), compute.max() * BEYOND, 60)
    inside = grid <= compute.max()
    with style():
        made, (left, right) = panels(2, ratios=(1.2, 1))
        ends = []
        for name, text, colour in (("parameters", "N*", COLOURS[0]), ("tokens", "D*", COLOURS[1])):
            value, low, high = _along(fit, grid, name)
            left.fill_between(grid, low, high, color=colour, **BAND)
            left.plot(grid[inside], value[inside], color=colour, **LINE)
            left.plot(grid[~inside], value[~inside], color=colour, **DASHED)
            ends.append((float(grid[-1]), float(value[-1]), text, colour))
        value, low, high = _along(fit, grid, "ratio")
        right.fill_between(grid, low, high, color=COLOURS[2], **BAND)
        right.plot(grid[inside], value[inside], color=COLOURS[2], **LINE, label="D*/N*, 90 % interval")
        right.plot(grid[~inside], value[~inside], color=COLOURS[2], **DASHED, label="beyond the runs")
        for axes, name in ((left, "parameters, tokens"), (right, "tokens a parameter")):
            axes.set_xscale("log")
            axes.set_yscale("log")
            axes.set_xlabel("compute 6 N D (flops)")
            axes.set_ylabel(name)
        shown = np.concatenate([value, low, high])
        limits(right, shown[np.isfinite(shown) & (shown > 0)], True)
        right.legend(loc="best")
        left.set_xlim(grid[0], grid[-1])
        end_labels(left, ends)
        plain_ticks(right)
        return made


def _along(fit, grid: np.ndarray, name: str) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """A quantity of the frontier over computes (T,), with both ends of its 90 % intervals."""
    derived = frontier()
    value = derived.values(grid, fit.estimates)[name]
    columns = fit.draws.T[:, : min(len(fit.draws), 1000), None]
    amplitudes = {"E": columns[0], "A": np.exp(columns[1]), "B": np.exp(columns[2])}
    with np.errstate(all="ignore"):
        drawn = derived.values(grid[None], amplitudes | {"alpha": columns[3], "beta": columns[4]})[name]
    ends = np.array([fit.interval(drawn[:, i], float(value[i])) for i in range(len(grid))])
    ends = np.where(np.isfinite(ends), ends, np.nan)
    return value, ends[:, 0], ends[:, 1]


def _by_size(parameters: np.ndarray) -> np.ndarray:
    return np.argsort(parameters, kind="stable")


def _flops(compute: float) -> str:
    """A compute budget as it is written on a figure.

    >>> _flops(6.1e18)
    '6.1·10¹⁸'
    """
    power = int(np.floor(np.log10(compute)))
    raised = str(power).translate(str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹"))
    return f"{compute / 10.0**power:.1f}·10{raised}"
