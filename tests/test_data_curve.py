"""Learning curves from raw data: closed-form cross-validation against refits, and a study of eight real tasks.

The tasks and kernels of the study were fixed before any of them was tried, and every one is reported. Half of a task's
rows (whole groups, at most 1200) are the probe; direct regressions on the other half measure the errors. The rule of
the intervals was fixed on other tasks (all ten digits at once, digits from 5, patches of 5 x 5 pixels), kernels and
splits. How a finite population is forecast was changed once after a first run over these tasks, for a reason that the
other tasks showed too: see the test.
"""

import json

import numpy as np
import pytest

from learning_mechanics.solvers.learning_curve import learning_curve
from learning_mechanics.solvers.regression.cross_validation import cross_validation
from learning_mechanics.solvers.regression.data_curve import data_curve
from learning_mechanics.theory.errors import BadData, Underpowered
from learning_mechanics.theory.measured_spectra.spectrum import finite_population
from learning_mechanics.theory.regression.kernels import laplace, linear, ntk, rbf
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
        f"levels: median {np.median(levels):.1%}, largest {levels.max():.1%}; "
        f"coverage {inside.mean():.0%} of {inside.size}"
    )
    return misses, levels, inside


@pytest.mark.long
def test_study_of_eight_real_tasks_on_fresh_rows():
    """64 forecasts of slopes and levels, tried once, after the rule was fixed on other tasks.

    Intervals are nominal 90 %, and what they hold is known to be less: 84 % of 433 points when first run, because the
    two halves of 93 regions of photographs differ by more than resampled regions do (split 100: no point inside).
    """
    cells = [
        ((name, str(kernel), ridge, seed), cell(name, kernel, seed, ridge))
        for name in TASKS
        for kernel in KERNELS
        for ridge in (1e-8, 0.1)
        for seed in SEEDS
    ]
    misses, levels, inside = report(cells)
    assert len(misses) == 64
    assert np.abs(misses).max() <= 0.12 and np.median(np.abs(misses)) <= 0.04
    assert np.median(levels) <= 0.1
    assert inside.mean() >= 0.75


@pytest.mark.short
def test_one_cell_of_the_study():
    misses, levels, inside = report([("cells", cell("cells", laplace(1.0), 100, 0.1))])
    assert np.abs(misses).max() <= 0.12 and levels.max() <= 0.3 and inside.mean() >= 0.75


@pytest.mark.long
def test_study_of_eight_real_tasks_as_finite_populations():
    """Errors on all rows within 10 %, 3 standard errors allowed, for ridges 0.1 and 1 and up to a quarter of the rows.

    The exact spectrum of the rows alone is up to 20 % low there (terrain, ridge 0.1): it takes the training rows, which
    are fitted, and all others for the same.
    """
    for name in TASKS:
        for kernel in KERNELS:
            for ridge in (0.1, 1.0):
                off, exact, error = population(name, kernel, ridge)
                print(f"{name}, {kernel}, ridge {ridge:g}: {off.round(3)}, spectrum of the rows {exact.round(3)}")
                assert (np.abs(off) <= 0.1 + 3 * error).all(), (name, str(kernel), ridge)


@pytest.mark.short
def test_a_finite_population_of_cells():
    off, exact, error = population("cells", laplace(1.0), 0.1, draws=40)
    assert (np.abs(off) <= 0.1 + 3 * error).all()


# ---- cross-validation -----------------------------------------------------------------------------------------------


@pytest.mark.instant
def test_cross_validation_by_hand_and_by_refits():
    """Left-out errors against solving without the row; generalised ones against their definition with residuals."""
    rng = np.random.default_rng(2)
    x, y = rng.standard_normal((20, 30)), rng.standard_normal((20, 2))
    gram, ridges = x @ x.T, np.array([0.0, 0.3, 5.0])
    found = cross_validation(gram, y, ridges)
    for i, ridge in enumerate(ridges):
        inverse = np.linalg.inv(gram + ridge * np.eye(20))
        errors = []
        for row in range(20):
            others = np.delete(np.arange(20), row)
            alpha = np.linalg.solve(gram[np.ix_(others, others)] + ridge * np.eye(19), y[others])
            errors.append(((y[row] - gram[row, others] @ alpha) ** 2).sum())
        assert found.left_out[i] == pytest.approx(np.mean(errors), rel=1e-9)
        assert found.kappa[i] == pytest.approx(1 / np.trace(inverse), rel=1e-9)
        residual = y - gram @ inverse @ y
        assert found.train[i] == pytest.approx((residual**2).sum() / 20, rel=1e-9, abs=1e-18)
        if ridge:
            expected = found.train[i] / (ridge * np.trace(inverse) / 20) ** 2
            assert found.test[i] == pytest.approx(expected, rel=1e-9)
        assert found.learned[i] == pytest.approx(np.trace(gram @ inverse), rel=1e-9)
    assert found.best in ridges and "left out" in str(found)
    json.dumps(found.to_dict())


@pytest.mark.short
def test_cross_validation_estimates_the_learning_curve_on_gaussian_features():
    """Means over 200 draws of n = 80 rows: kappa, generalised and left-out errors within 3 % of the curve.

    Standard errors are below 1 %: a false alarm needs three of them beyond the bias of order 1/n (chance below 1e-2).
    """
    rng = np.random.default_rng(12)
    k = np.arange(1.0, 151.0)
    lam, v = k**-1.4, k**-0.9
    found = []
    for _ in range(200):
        functions = rng.standard_normal((80, 150))
        y = functions @ v + 0.3 * rng.standard_normal(80)
        check = cross_validation((functions * lam) @ functions.T, y, 0.05)
        found.append([check.test[0], check.left_out[0], check.kappa[0]])
    curve = learning_curve(lam, v**2, [80.0], ridge=0.05, noise=0.09)
    expected = [curve.test[0], curve.test[0], curve.kappa[0]]
    np.testing.assert_allclose(np.mean(found, 0), expected, rtol=0.03)


@pytest.mark.instant
@pytest.mark.parametrize(
    "gram, y, ridge, message",
    [
        (np.ones((3, 2)), np.ones(3), 0.1, "matrix"),
        (np.eye(3), np.ones(2), 0.1, "targets"),
        (np.eye(3), np.ones(3), -1.0, "ridge"),
        (-np.eye(3), np.ones(3), 0.1, "eigenvalues"),
        (np.ones((3, 3)), np.ones(3), 0.0, "singular"),
    ],
)
def test_what_cannot_be_cross_validated_is_explained(gram, y, ridge, message):
    with pytest.raises(BadData, match=message):
        cross_validation(gram, y, ridge)


# ---- the forecast on planted data -----------------------------------------------------------------------------------


def planted(rows, seed, noise=0.0, dim=600, capacity=1.5, target=1.8):
    rng, k = np.random.default_rng(seed), np.arange(1.0, dim + 1)
    x = rng.standard_normal((rows, dim)) * k ** (-capacity / 2)
    y = x @ (np.random.default_rng(0).choice([-1.0, 1.0], dim) * k ** ((capacity - target) / 2))
    return x, y + np.sqrt(noise) * rng.standard_normal(rows), k**-capacity, k**-target


@pytest.mark.short
@pytest.mark.parametrize("noise, ridge", [(0.0, 0.0), (0.1, 0.05)])
def test_intervals_cover_the_truth_on_planted_spectra(noise, ridge):
    """10 draws of 250 rows at 3 sizes: at least 80 % of intervals hold the exact curve, and there is no bias of 6 %.

    Intervals are for another draw; for the curve itself they are nominal 97 %. Points of one draw move together: false
    alarms below 2 %.
    """
    sizes, inside, off = np.array([20.0, 50.0, 100.0]), [], []
    for seed in range(10):
        x, y, lam, power = planted(250, 200 + seed, noise)
        found = data_curve(linear(), x, y, sizes, ridge=ridge, resamples=25)
        true = learning_curve(lam, power, sizes, ridge=ridge, noise=noise).test
        inside.append((true >= found.low) & (true <= found.high))
        off.append(np.log(found.test / true))
    assert np.mean(inside) >= 0.8
    assert np.abs(np.mean(off, 0)).max() < 0.06


@pytest.mark.short
def test_trust_ends_where_the_spectrum_does_and_says_so():
    x, y, _, _ = planted(300, 3)
    found = data_curve(linear(), x, y, [30, 100, 2000], resamples=20)
    assert 150 < found.trusted < 300 and "power law continued" in found.reason
    assert found.half_width[2] > found.half_width[1] > 0.05
    card = str(found)
    assert "trust it up to" in card and "not to be trusted" in card and "left out at n = 300" in card
    assert len(card.splitlines()) <= 20
    json.dumps(found.to_dict())
    np.testing.assert_allclose(found.half_width, np.hypot(found.statistical, found.systematic), rtol=1e-12)
    with_ridge = data_curve(linear(), x, y, [30], ridge=1.0, resamples=20)
    assert with_ridge.trusted > found.trusted  # a ridge limits the degrees of freedom that n samples reach


@pytest.mark.short
def test_rows_left_out_that_disagree_end_trust():
    """A kernel whose matrix is that of other rows on small subsets: the forecast from all rows cannot fit them."""
    x, y, _, _ = planted(300, 4)

    def shifting(a, b=None):
        gram = linear()(a, b)
        return gram if b is not None or len(a) == 300 else gram[::-1, ::-1].copy()

    found = data_curve(shifting, x, y, [30, 100], resamples=20)
    assert found.trusted < 40 and "leaving out each of 38 rows" in found.reason
    assert "not to be trusted" in str(found)


@pytest.mark.long
def test_resampling_rows_gives_the_scatter_between_draws():
    """Scatter of log test over 30 draws against the mean resampled one: within 45 % (three and a half deviations)."""
    levels, scatter = [], []
    for seed in range(30):
        x, y, _, _ = planted(150, 400 + seed, dim=300)
        found = data_curve(linear(), x, y, [40.0], resamples=25)
        levels.append(np.log(found.test[0]))
        scatter.append(found.statistical[0] / (1.645 * np.sqrt(2)))
    assert np.mean(scatter) == pytest.approx(np.std(levels), rel=0.45)


@pytest.mark.short
def test_groups_widen_the_interval():
    """Rows in triples that share their target's noise: 67 independent blocks say less than 200 rows."""
    x, y, _, _ = planted(201, 6)
    shared = 0.5 * np.repeat(np.random.default_rng(7).standard_normal(67), 3)
    alone = data_curve(linear(), x, y + shared, [20.0, 60.0], ridge=0.1, resamples=60)
    grouped = data_curve(
        linear(), x, y + shared, [20.0, 60.0], ridge=0.1, groups=np.repeat(np.arange(67), 3), resamples=60
    )
    assert (grouped.statistical > alone.statistical).all()
    assert max(check["size"] for check in grouped.checks) == 67


@pytest.mark.instant
def test_what_cannot_be_forecast_is_explained():
    x, y, _, _ = planted(60, 5)
    with pytest.raises(BadData, match="constant"):
        data_curve(linear(), x, np.ones(60))
    with pytest.raises(BadData, match="finite"):
        data_curve(linear(), x, np.where(np.arange(60) == 3, np.nan, y))
    with pytest.raises(BadData, match="0 rows"):
        data_curve(linear(), x[:0], y[:0])
    with pytest.raises(BadData, match="rank 1"):
        data_curve(linear(), x[:, :1], y)
    with pytest.raises(BadData, match="59 groups of 60"):
        data_curve(linear(), x, y, groups=np.arange(59))
    with pytest.raises(BadData, match="n = 80 of 60"):
        data_curve(linear(), x, y, [80], population=True)
    with pytest.raises(BadData, match="sizes"):
        data_curve(linear(), x, y, [0.0])
    x, noise = planted(600, 0, dim=1000, capacity=2.0)[0], np.random.default_rng(1).standard_normal(600)
    with pytest.raises(Underpowered, match="dominated by noise"):
        data_curve(linear(), x, noise)
    noise = data_curve(linear(), x, noise, [5, 10], ridge=1.0, population=True)
    assert np.isfinite(noise.test).all() and "whole population" in str(noise)


@pytest.mark.short
def test_hard_rows_give_a_finite_forecast_and_no_trust_where_it_is_undeserved():
    """Duplicates, a zero row, several outputs, a nearly constant kernel: no NaN, no warning."""
    rng = np.random.default_rng(0)
    x = rng.standard_normal((40, 3))
    y = np.sin(x[:, 0])
    twice = data_curve(laplace(1.0), np.repeat(x, 2, 0), np.repeat(y, 2), resamples=10)
    assert np.isfinite(twice.test).all() and twice.trusted == 0 and "leaving out" in twice.reason
    blank = data_curve(ntk(depth=2), np.vstack([0 * x[:1], x]), np.append(0.0, y), resamples=10)
    several = data_curve(laplace(1.0), x, np.stack([y, x[:, 1]], 1), ridge=0.1, resamples=10)
    flat = data_curve(rbf(50.0), x, y, ridge=1e-8, resamples=10)
    for found in (blank, several, flat):
        assert np.isfinite(found.test).all() and np.isfinite(found.high).all() and found.trusted < 40
