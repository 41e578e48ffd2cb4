"""Learning curves from raw data: closed-form cross-validation against refits, and a study of eight real tasks.

The tasks and kernels of the study were fixed before any of them was tried, and every one is reported. Half of a task's
rows (whole groups, at most 1200) are the probe; direct regressions on the other half measure the errors.
"""

import json

import numpy as np
import pytest

from learning_mechanics.solvers.learning_curve import learning_curve
from learning_mechanics.solvers.regression.cross_validation import cross_validation
from learning_mechanics.solvers.regression.data_curve import data_curve
from learning_mechanics.theory.errors import BadData, Underpowered
from learning_mechanics.theory.regression.kernels import laplace, linear, ntk
from learning_mechanics.theory.regression.spectrum import finite_population, in_sample, resampled
from learning_mechanics.validate.inputs.data import load

TASKS = ("parity", "three", "halves", "patches", "prose_or_code", "terrain", "membrane", "cells")
KERNELS = (ntk(depth=3), laplace(1.0))
SEEDS = (100, 101)
MOST, TRIALS = 1200, 12
DRAWS = 60  # from a finite population


def task(name):
    """Inputs of unit norm, centred targets and groups."""
    data = load({"parity": "digits", "three": "digits", "halves": "digits_halves"}.get(name, name))
    x, y = data.x, data.y
    if name == "parity":
        y = 1.0 - 2.0 * (y % 2)
    elif name == "three":
        y = np.where(y == 3, 1.0, -1.0)
    return x / np.linalg.norm(x, axis=1, keepdims=True), y - y.mean(0), data.groups


def probe_and_rest(name, seed):
    x, y, groups = task(name)
    rng = np.random.default_rng(seed)
    if groups is None:
        groups, given = np.arange(len(x)), False
    else:
        given = True
    names = np.unique(groups)
    mine = np.isin(groups, rng.permutation(names)[: len(names) // 2])
    parts = []
    for part in (mine, ~mine):
        rows = rng.permutation(np.flatnonzero(part))[:MOST]
        parts.append((x[rows], y[rows], groups[rows] if given else None))
    return parts


def measured(kernel, x, y, sizes, ridge, seed, trials=TRIALS, whole=False):
    """Errors (trials, T) of direct regressions, on the rows left out or on all rows."""
    rng, gram, errors = np.random.default_rng(seed + 10**6), kernel(x), np.zeros((trials, len(sizes)))
    for trial in range(trials):
        for i, n in enumerate(sizes):
            order = rng.permutation(len(x))
            fit, rest = order[:n], order[n:]
            alpha = np.linalg.solve(gram[np.ix_(fit, fit)] + ridge * np.eye(n), y[fit])
            squares = ((gram[:, fit] @ alpha - y) ** 2).sum(1)
            errors[trial, i] = squares.mean() if whole else squares[rest].mean()
    return errors


def slope(sizes, errors):
    return float(np.polyfit(np.log(sizes), np.log(errors), 1)[0])


def cell(name, kernel, seed, ridge):
    """Forecast from the probe beside the measurement on the rest: miss of the slope, levels, coverage."""
    (x, y, groups), (other_x, other_y, _) = probe_and_rest(name, seed)
    sizes = np.unique(np.round(np.geomspace(30, len(other_x) / 2, 7)).astype(int))
    try:
        found = data_curve(kernel, x, y, sizes, ridge=ridge, groups=groups, seed=seed)
    except Underpowered as reason:
        return {"name": name, "refused": reason.found}
    errors = measured(kernel, other_x, other_y, sizes, ridge, seed).mean(0)
    kept = sizes <= found.trusted
    inside = (errors >= found.low) & (errors <= found.high)
    return {
        "name": name,
        "miss": found.slope - slope(sizes, errors),
        "slope": slope(sizes, errors),
        "level": np.log(found.test / errors)[kept],
        "width": found.half_width[kept],
        "inside": inside[kept],
        "trusted": found.trusted,
        "reason": found.reason,
    }


def population(name, kernel, ridge, draws=DRAWS):
    """Relative differences (T,) of the mean error on all rows from the forecast and from the spectrum of the rows.

    And the standard error. At most 1800 rows; sizes from 25 to a quarter of them.
    """
    x, y, _ = task(name)
    rows = np.random.default_rng(100).permutation(len(x))[:1800]
    x, y = x[rows], y[rows]
    sizes = np.unique(np.round(np.geomspace(25, len(x) / 4, 4)).astype(int))
    found = data_curve(kernel, x, y, sizes, ridge=ridge, population=True)
    errors = measured(kernel, x, y, sizes, ridge, 100, draws, whole=True)
    exact = learning_curve(finite_population(kernel, x, y), sizes=sizes, ridge=ridge).test
    return errors.mean(0) / found.test - 1, errors.mean(0) / exact - 1, errors.std(0) / np.sqrt(draws) / found.test


def report(cells):
    """Prints every cell and the summary; the misses, levels and coverage of those that were not refused."""
    for which, found in cells:
        if "refused" in found:
            print(f"{which}: refused, {found['refused']}")
            continue
        print(
            f"{which}: slope {found['slope']:+.3f}, miss {found['miss']:+.3f}; level off by "
            f"{np.expm1(found['level']).min() if len(found['level']) else np.nan:+.0%} .. "
            f"{np.expm1(found['level']).max() if len(found['level']) else np.nan:+.0%}, "
            f"half-width {found['width'].mean() if len(found['width']) else np.nan:.0%}, "
            f"inside {found['inside'].sum()} of {len(found['inside'])}; trusted to {found['trusted']:.0f}: "
            f"{found['reason']}"
        )
    kept = [found for _, found in cells if "refused" not in found]
    misses = np.array([found["miss"] for found in kept])
    inside = np.concatenate([found["inside"] for found in kept])
    levels = np.concatenate([np.abs(found["level"]) for found in kept])
    print(
        f"slope: median miss {np.median(np.abs(misses)):.3f}, largest {np.abs(misses).max():.3f}; "
        f"levels: median {np.median(levels):.1%}, largest {levels.max():.1%}; coverage {inside.mean():.0%} of {inside.size}"
    )
    return misses, levels, inside
