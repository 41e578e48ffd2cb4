"""Cells: a task, a kernel and a window. The exponent is forecast from one half of the rows and measured on the other.

The rule and its constants were fixed on splits with seeds below 50; cells that are judged have seeds from 100 on. Every
kernel has splits of its own, so that fewer cells share a draw.
"""

from dataclasses import dataclass
from functools import cache

import numpy as np

from learning_mechanics.solvers.scaling.scaling_law import WIDEST, ScalingLaw
from learning_mechanics.theory.errors import Underpowered
from learning_mechanics.theory.measured_spectra.log_slope import log_slope
from learning_mechanics.theory.regression.kernels import laplace, nngp, ntk
from learning_mechanics.validate.tasks.regressions import measure_samples
from learning_mechanics.validate.tasks.tasks import NAMES, halves, record, task

KERNELS = {"ntk-4": (ntk(4), 1e-8), "laplace": (laplace(1.0), 1e-8), "nngp-3 ridge": (nngp(3), 0.1)}
WINDOWS = ((30, 200), (100, 450))
SIZES, TRIALS, MOST_ROWS = 8, 12, 900
SYMBOLS = ("unseen_words",)  # inputs that are symbols: no kernel's spectrum, Zipf's law
TASKS = tuple(name for name in NAMES if not record(name).refused and name not in SYMBOLS)


@dataclass(frozen=True)
class Result:
    """`value` +- `error` forecast, `theory` without the check on parts of the rows, `measured` with its `noise`.

    `rest` and `rest_measured` are those of the window from the third run on; `naive` the slope of the first three runs.
    """

    task: str
    kernel: str
    window: tuple[int, int]
    value: float
    error: float
    theory: float
    measured: float
    noise: float
    rest: float
    rest_measured: float
    naive: float

    @property
    def problem(self) -> str:
        return record(self.task).problem

    @property
    def miss(self) -> float:
        return self.value - self.measured

    def __str__(self) -> str:
        low, high = self.window
        return (
            f"{self.task:<18} {self.kernel:<12} {low:>3}..{high:<4} {self.value:7.3f} +- {self.error:.3f}   measured "
            f"{self.measured:6.3f} +- {self.noise:.3f}   miss {self.miss:+.3f}{' *' * (abs(self.miss) > self.error)}"
        )


def half(data, mask, seed):
    """At most 900 rows of one half."""
    rows = np.flatnonzero(mask)
    rows = np.sort(np.random.default_rng([seed, 1]).permutation(rows)[:MOST_ROWS])
    return data.x[rows], data.y[rows], None if data.groups is None else data.groups[rows]


@cache
def results(name: str, kernel_name: str, seed: int) -> tuple[Result, ...]:
    """The cells of one task and one kernel on one split, a window each."""
    data, (kernel, ridge) = task(name), KERNELS[kernel_name]
    probe = halves(data, seed)
    x, y, groups = half(data, probe, seed)
    try:
        law = ScalingLaw.from_data(
            kernel, x, y, ridge=ridge, groups=groups, seed=seed, axes=["samples"], mechanisms=False
        )
    except Underpowered as reason:
        print(f"{name} {kernel_name} refused: {reason}")
        return ()
    x, y, groups = half(data, ~probe, seed)
    sizes = [np.unique(np.round(np.geomspace(*window, SIZES)).astype(int)) for window in WINDOWS]
    run = measure_samples(kernel, x, y, np.unique(np.concatenate(sizes)), ridge, TRIALS, seed, groups)
    found = []
    for window, at in zip(WINDOWS, sizes, strict=True):
        chosen = np.isin(run.abscissa, at)
        errors = run.values[:, chosen]
        mean = errors.mean(0)
        try:
            whole = law.over(samples=at).samples
        except Underpowered as reason:
            print(f"{name} {kernel_name} {window} refused: {reason}")
            continue
        if whole.error > WIDEST:
            print(f"{name} {kernel_name} {window}: {whole.value:.3f} +- {whole.error:.3f} is too wide to be a forecast")
            continue
        try:
            rest = law.over(samples=at[2:]).samples.value
        except Underpowered:
            rest = np.nan
        left_out = [log_slope(at, (errors.sum(0) - one) / (TRIALS - 1)) for one in errors]
        found.append(
            Result(
                name,
                kernel_name,
                window,
                whole.value,
                whole.error,
                whole.facts["theory"],
                -log_slope(at, mean),
                float(np.sqrt((TRIALS - 1) * np.var(left_out))),
                rest,
                -log_slope(at[2:], mean[2:]),
                -log_slope(at[:3], mean[:3]),
            )
        )
    return tuple(found)


def by_problem(cells, values) -> dict[str, np.ndarray]:
    """Values of the cells of every problem."""
    problems = np.array([cell.problem for cell in cells])
    return {name: np.asarray(values)[problems == name] for name in sorted(set(problems))}


def report(cells) -> dict[str, float]:
    """Print the table of cells and give what is judged."""
    for cell in cells:
        print(cell)
    miss, error, measured = (np.array([getattr(c, k) for c in cells]) for k in ("miss", "error", "measured"))
    inside, tasks = np.abs(miss) <= error, np.array([cell.task for cell in cells])
    for name, group in by_problem(cells, np.abs(miss)).items():
        covered = by_problem(cells, inside)[name].mean()
        print(f"{name:<16} {len(group):>3} cells, median miss {np.median(group):.3f}, covered {covered:.0%}")
    best = min(np.linspace(0, 1.5, 301), key=lambda constant: np.median(np.abs(measured - constant)))
    asked = [cell for cell in cells if np.isfinite(cell.rest)]
    rest = np.array([cell.rest - cell.rest_measured for cell in asked])
    naive = np.array([cell.naive - cell.rest_measured for cell in asked])
    theory = np.array([cell.theory - cell.measured for cell in cells])
    found = {
        "cells": len(cells),
        "problems": len(by_problem(cells, miss)),
        "median": np.median(np.abs(miss)),
        "median of problems": np.median([np.median(group) for group in by_problem(cells, np.abs(miss)).values()]),
        "largest of tasks": max(np.abs(miss[tasks == name]).mean() for name in set(tasks)),
        "largest": np.abs(miss).max(),
        "covered": inside.mean(),
        "problems covered": np.mean([group.mean() for group in by_problem(cells, inside).values()]),
        "half-width": np.median(error),
        "constant": np.median(np.abs(measured - best)),
        "rest": np.median(np.abs(rest)),
        "rest rms": np.sqrt((rest**2).mean()),
        "naive": np.median(np.abs(naive)),
        "naive rms": np.sqrt((naive**2).mean()),
        "theory alone": np.median(np.abs(theory)),
        "theory alone, largest": np.abs(theory).max(),
    }
    print(", ".join(f"{name} {value:.3g}" for name, value in found.items()))
    return found
