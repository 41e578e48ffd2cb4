"""Forecast exponents against runs: planted spectra with Gaussian features, and real tasks on splits never seen before.

The rule of the intervals was fixed on splits with seeds below 50; all that is judged here has seeds from 100 on.
"""

import numpy as np
import pytest
from forecast_cells import KERNELS, TASKS, report, results

from learning_mechanics.solvers.scaling.scaling_law import ScalingLaw
from learning_mechanics.theory.regression.kernels import nngp, ntk
from learning_mechanics.validate.tasks.regressions import measure_features, measure_steps
from learning_mechanics.validate.tasks.tasks import halves, task

# ---- Gaussian features of a planted power law ------------------------------------------------------------------------

MODES = 1500
CAPACITIES, TARGETS, NOISES, SPANS = (1.2, 1.5, 2.0), (1.5, 2.0, 3.0), (0.0, 0.1), ((20, 100), (60, 300))


def gaussian_errors(n, capacities, runs, rng):
    """Errors above the noise, exact on the population, (runs, capacities, targets, noises), of regressions on n rows.

    One matrix of standard normal numbers serves all cells; with noise the ridge is 1.
    """
    k = np.arange(1.0, MODES + 1)
    found = np.empty((runs, len(capacities), len(TARGETS), len(NOISES)))
    for run in range(runs):
        z, signs, labels = rng.standard_normal((n, MODES)), rng.choice([-1.0, 1.0], MODES), rng.standard_normal(n)
        for i, capacity in enumerate(capacities):
            x = z * k ** (-capacity / 2)
            weights = np.stack([signs * k ** ((capacity - target) / 2) for target in TARGETS], axis=1)
            gram, clean = x @ x.T, x @ weights
            for j, noise in enumerate(NOISES):
                y = clean + np.sqrt(noise) * labels[:, None]
                left = weights - x.T @ np.linalg.solve(gram + (1.0 if noise else 0.0) * np.eye(n), y)
                found[run, i, :, j] = (k[:, None] ** -capacity * left**2).sum(0)
    return found


def gaussian_misses(capacities, spans, runs, seed):
    """Local exponents of the law less those of simulated regressions, and the standard errors of these."""
    misses, errors, k = [], [], np.arange(1.0, MODES + 1)
    for span in spans:
        sizes = np.unique(np.round(np.geomspace(*span, 6)).astype(int))
        rng = np.random.default_rng([seed, span[0]])
        # small samples scatter more from draw to draw and cost less
        drawn = [gaussian_errors(n, capacities, runs * max(1, 200 // n), rng) for n in sizes]
        loss = np.stack([each.mean(0) for each in drawn])
        relative = np.stack([each.std(0, ddof=1) / each.mean(0) / np.sqrt(len(each)) for each in drawn])
        x = np.log(sizes) - np.log(sizes).mean()
        exponents = -np.tensordot(x, np.log(loss), 1) / (x @ x)
        errors.append(np.sqrt(np.tensordot(x**2, relative**2, 1)) / (x @ x))
        for (i, j, m), measured in np.ndenumerate(exponents):
            law = ScalingLaw.from_spectrum(
                k ** -capacities[i],
                k ** -TARGETS[j],
                samples=sizes,
                noise=NOISES[m],
                ridge=1.0 if NOISES[m] else 0.0,
                axes=["samples"],
            ).samples
            misses.append(abs(law.value - measured))
            cell = f"capacity {capacities[i]} target {TARGETS[j]} noise {NOISES[m]} n = {span[0]} .. {span[1]}"
            print(f"{cell}: {law.value:.3f}, measured {measured:.3f} +- {errors[-1][i, j, m]:.3f}")
    return np.array(misses), np.concatenate([error.ravel() for error in errors])


@pytest.mark.long
def test_slopes_of_gaussian_features():
    """36 planted spectra, with enough draws that the simulation's own errors stay below a third of the bar."""
    misses, errors = gaussian_misses(CAPACITIES, SPANS, runs=150, seed=100)
    print(f"median {np.median(misses):.4f}, largest {misses.max():.4f}, 90 % {np.quantile(misses, 0.9):.4f}")
    print(f"errors of the simulation: median {np.median(errors):.4f}, largest {errors.max():.4f}")
    assert np.median(misses) <= 0.02 and misses.max() <= 0.06


@pytest.mark.short
def test_slopes_of_six_gaussian_features():
    """The same draws serve all six cells; three standard errors of the simulation are allowed for."""
    misses, errors = gaussian_misses((1.5,), ((20, 60),), runs=20, seed=100)
    assert (misses <= 0.02 + 3 * errors).all() and errors.max() < 0.06


# ---- real tasks ------------------------------------------------------------------------------------------------------


def fresh_cells(first_seed):
    """Every kernel has a split of its own."""
    seeds = enumerate(KERNELS, start=first_seed)
    return [cell for seed, kernel in seeds for name in TASKS for cell in results(name, kernel, seed)]


@pytest.mark.long
@pytest.mark.parametrize("first_seed", [100, 200, 300])
def test_forecasts_on_fresh_cells(first_seed):
    """About 128 cells of 22 tasks and 17 problems on splits that no constant was fixed on.

    The cells of one split share its draw, the tasks of one problem some rows: as if about 40 were independent. At a
    true coverage of 90 % fewer than 80 % of 40 cells have chance 4 %. Errors are grouped by task; of single cells the
    largest were 0.14, 0.17 and 0.14 on these splits.
    """
    found = report(fresh_cells(first_seed))
    assert found["cells"] >= 30 and found["problems"] >= 10
    assert found["median"] <= 0.05 and found["median of problems"] <= 0.05
    assert found["largest of tasks"] <= 0.15 and found["largest"] <= 0.2
    assert 0.8 <= found["covered"] <= 0.98 and 0.8 <= found["problems covered"]
    assert found["half-width"] <= 0.12
    assert found["median"] < found["constant"] / 2
    assert found["rest"] < found["naive"] and found["rest rms"] < found["naive rms"]


@pytest.mark.short
def test_forecasts_on_two_fresh_cells():
    cells = results("digits_parity", "ntk-4", 100)
    assert report(cells)["largest"] <= 0.15 and max(cell.error for cell in cells) <= 0.12


OTHER_TASKS = ("digits_parity", "digits_classes", "terrain", "teacher_relu", "prose_or_code", "patches", "sphere")
OTHER_TASKS += ("letters", "membrane", "modules")


def other_axes(name, seed):
    """(axis, forecast law, measured exponent) of random neurons and of training time, from 360 rows."""
    data = task(name)
    probe, rng = halves(data, seed), np.random.default_rng([seed, 1])

    def half(mask):
        rows = np.sort(rng.permutation(np.flatnonzero(mask))[:900])
        return data.x[rows], data.y[rows], None if data.groups is None else data.groups[rows]

    (x, y, groups), (u, v, blocks) = half(probe), half(~probe)
    common = {"training": 360, "groups": groups, "seed": seed, "axes": [], "mechanisms": False}
    law = ScalingLaw.from_data(nngp(2), x, y, parameters=(8, 80), ridge=1e-3, **common)
    counts = np.unique(np.round(np.geomspace(8, 80, 8)))
    yield law.parameters, measure_features(nngp(2), u, v, counts, 360, 1e-3, 12, seed, blocks).exponent
    law = ScalingLaw.from_data(ntk(3), x, y, steps=(10, 500), **common)
    yield law.steps, measure_steps(ntk(3), u, v, np.geomspace(10, 500, 8), 360, 12, seed, blocks).exponent


@pytest.mark.long
def test_parameters_and_steps_on_fresh_splits():
    """20 cells of ten tasks; constants are those fixed for samples."""
    found = {"parameters": [], "steps": []}
    for name in OTHER_TASKS:
        for law, measured in other_axes(name, 100):
            miss = law.value - measured
            print(f"{name:<14} {law.axis:<10} {law.value:.3f} +- {law.error:.3f}, miss {miss:+.3f}")
            found[law.axis].append((abs(miss), abs(miss) <= law.error))
    for axis, entries in found.items():
        misses, inside = np.array(entries, float).T
        print(f"{axis}: median {np.median(misses):.3f}, largest {misses.max():.3f}, covered {inside.mean():.0%}")
        assert np.median(misses) <= 0.05 and inside.mean() >= 0.7  # at 90 % fewer than 7 of 10 have chance 1 %
