"""One-pass SGD on random features against full matrices of moments, sampled runs, and the derived recursions."""

import json

import mpmath
import numpy as np
import pytest
import sympy as sp

from learning_mechanics.solvers.recursion import iterate
from learning_mechanics.solvers.scaling.one_pass.feature_spectrum import drawn_spectrum, spectrum_of_features
from learning_mechanics.solvers.scaling.one_pass.heavy_ball import gain_of
from learning_mechanics.solvers.scaling.one_pass.random_feature_descent import (
    averaged,
    descend,
    random_feature_descent,
)
from learning_mechanics.theory.errors import BadData
from learning_mechanics.theory.scaling.momentum_moments import momentum_gain, momentum_moments
from learning_mechanics.theory.scaling.power_law_features import feature_moments, small_steps, volterra_equation

K = np.arange(1.0, 25)
LAM, POWER = K**-1.4, K**-2.2
RNG = np.random.default_rng(7)
FEATURES = RNG.standard_normal((24, 6)) / np.sqrt(6)
TARGET = np.sqrt(POWER) * RNG.choice([-1.0, 1.0], 24)
SPECTRUM = spectrum_of_features(LAM, TARGET, FEATURES)
STEPS = [0, 1, 5, 40, 160]


def full_matrices(eta, batch, noise, beta=0.0):
    """Losses from matrices of moments of (e, D) in the features' coordinates: E x x'C x x' = 2 S C S + tr(C S) S."""
    S = FEATURES.T @ np.diag(LAM) @ FEATURES
    weights = TARGET / np.sqrt(LAM)
    best = np.linalg.solve(S, FEATURES.T @ (LAM * weights))
    left = weights - FEATURES @ best
    unresolved = left @ (LAM * left)
    C, X, U = np.outer(best, best), np.zeros_like(S), np.zeros_like(S)  # e = -best at the start
    losses = []
    for k in range(STEPS[-1] + 1):
        if k in STEPS:
            losses.append((np.trace(S @ C) + unresolved + noise) / 2)
        alone = 2 * S @ C @ S + (np.trace(C @ S) + unresolved + noise) * S
        G = alone / batch + (1 - 1 / batch) * S @ C @ S
        U = beta**2 * U - eta * beta * (X.T @ S + S @ X) + eta**2 * G  # X = E e D'
        X_ = beta * X - eta * C @ S + U
        C = C + (X_ - U) + (X_ - U).T + U
        X = X_
    return np.array(losses)


@pytest.mark.instant
@pytest.mark.parametrize("batch", [1, 4])
@pytest.mark.parametrize("noise", [0.0, 0.3])
@pytest.mark.parametrize("momentum", [0.0, 0.6])
def test_losses_equal_those_of_full_moment_matrices(batch, noise, momentum):
    expected = full_matrices(0.1, batch, noise, momentum)
    found = descend(SPECTRUM, STEPS, 0.1, batch, noise, momentum)
    assert np.abs(found.loss / expected - 1).max() < 1e-11
    planted = descend(SPECTRUM, STEPS, 0.11, batch, noise, momentum)
    assert np.abs(planted.loss / expected - 1).max() > 1e-3


@pytest.mark.short
@pytest.mark.parametrize("momentum", [0.0, 0.7])
def test_losses_are_the_mean_of_sampled_runs(momentum):
    """2000 NumPy runs of true SGD with a batch of 2; |z| < 4.5 at 4 steps: false alarms below 1 in 1e4 (seed 11)."""
    rng, runs, eta, noise = np.random.default_rng(11), 2000, 0.06, 0.1
    weights, theta, move = TARGET / np.sqrt(LAM), np.zeros((runs, 6)), np.zeros((runs, 6))
    covariance = np.diag(LAM)
    found = descend(SPECTRUM, STEPS, eta, 2, noise, momentum).loss
    for k in range(STEPS[-1] + 1):
        if k in STEPS:
            error = theta @ FEATURES.T - weights
            losses = ((error @ covariance) * error).sum(1) / 2 + noise / 2
            z = (losses.mean() - found[STEPS.index(k)]) / (losses.std() / np.sqrt(runs) + 1e-12)
            assert abs(z) < 4.5
        x = rng.standard_normal((runs, 2, 24)) * np.sqrt(LAM)
        seen = x @ FEATURES
        residual = np.einsum("rbd,rd->rb", seen, theta) - x @ weights - np.sqrt(noise) * rng.standard_normal((runs, 2))
        move = momentum * move - eta * np.einsum("rb,rbd->rd", residual, seen) / 2
        theta = theta + move


@pytest.mark.instant
def test_the_derived_recursions_give_the_same_losses():
    start = SPECTRUM.power / SPECTRUM.eigenvalues
    values = {"lambda": SPECTRUM.eigenvalues, "c": start, "eta": 0.1, "B": 3.0, "sigma2": 0.2}
    values["unresolved"] = SPECTRUM.unresolved
    c = iterate(feature_moments(), values, STEPS)["c"]
    expected = (c @ SPECTRUM.eigenvalues + SPECTRUM.unresolved + 0.2) / 2
    assert np.abs(descend(SPECTRUM, STEPS, 0.1, 3, 0.2).loss / expected - 1).max() < 1e-12
    values |= {"x": np.zeros(6), "u": np.zeros(6), "beta": 0.8}
    c = iterate(momentum_moments(), values, STEPS)["c"]
    expected = (c @ SPECTRUM.eigenvalues + SPECTRUM.unresolved + 0.2) / 2
    assert np.abs(descend(SPECTRUM, STEPS, 0.1, 3, 0.2, 0.8).loss / expected - 1).max() < 1e-11


def test_the_trail_says_what_was_checked():
    checked = [step for step in feature_moments().trail.steps if step.residual is not None]
    assert len(checked) >= 5 and max(step.residual for step in checked) < 1e-12
    forcing, kernel = volterra_equation()
    assert not forcing.has(sp.Symbol("unresolved", nonnegative=True)) and kernel.has(sp.Symbol("B", positive=True))


@pytest.mark.instant
def test_small_steps_are_the_limit_of_the_recursion():
    """At fixed times eta x steps the error is O(eta); with single samples 1 - x + x^2/2 makes it O(eta^2)."""
    flow = small_steps().equations[0]
    rates, errors, times = [0.02, 0.01, 0.005], [], (1, 2, 4, 8)
    lam, floor = SPECTRUM.eigenvalues, SPECTRUM.unresolved
    assert flow.has(sp.Symbol("unresolved", nonnegative=True))
    for eta in rates:
        # the flow by fourth-order Runge-Kutta: y' = -2 lambda y + eta lambda^2 (sum y + floor)/B, B = 4
        slope = lambda y, eta=eta: -2 * lam * y + eta / 4 * lam**2 * (y.sum() + floor)  # noqa: E731
        y, h, gaps = SPECTRUM.power.copy(), 0.01, []
        for k in range(1, round(times[-1] / h) + 1):
            a = slope(y)
            b = slope(y + h / 2 * a)
            c = slope(y + h / 2 * b)
            y = y + h / 6 * (a + 2 * b + 2 * c + slope(y + h * c))
            if k * h in times:
                gaps.append(descend(SPECTRUM, [k * h / eta], eta, batch=4).loss[0] / ((y.sum() + floor) / 2) - 1)
        errors.append(np.abs(gaps).max())
    slopes = np.diff(np.log(errors)) / np.diff(np.log(rates))
    assert np.abs(slopes - 1).max() < 0.1


@pytest.mark.instant
def test_a_schedule_is_a_change_of_time_where_noise_is_small():
    """Equal sums of rates give equal losses without sampling noise up to O(eta); with it, the late rate matters."""
    gaps = []
    for eta in (0.02, 0.01):
        steps = round(8 / eta)
        falling = lambda k, steps=steps: 2 * (1 - (k + 0.5) / steps)  # noqa: E731
        plain, slow = (
            descend(SPECTRUM, [steps], eta, batch=np.inf, schedule=schedule).loss[0] for schedule in (None, falling)
        )
        gaps.append(abs(slow / plain - 1))
    assert 0.8 < np.log2(gaps[0] / gaps[1]) < 1.2 and gaps[1] < 1e-3
    steps = [2000]
    plain = descend(SPECTRUM, steps, 0.1).loss[0]
    slow = descend(SPECTRUM, steps, 0.1, schedule=lambda k: 2 * (1 - (k + 0.5) / 2000)).loss[0]
    assert slow < 0.95 * plain and slow > SPECTRUM.unresolved / 2


@pytest.mark.instant
def test_momentum_is_a_larger_learning_rate_at_small_steps():
    """At fixed time, heavy ball at eta (1 - beta) against SGD at eta: the gap falls as eta."""
    gaps, rates = [], [0.02, 0.01, 0.005]
    for eta in rates:
        step = round(4 / eta)
        plain, heavy = descend(SPECTRUM, [step], eta), descend(SPECTRUM, [step], eta * 0.2, momentum=0.8)
        gaps.append(abs(heavy.loss[0] / plain.loss[0] - 1))
    assert 0.8 < (np.diff(np.log(gaps)) / np.diff(np.log(rates)))[-1] < 1.3 and gaps[-1] < 0.02


@pytest.mark.short
def test_gain_with_momentum_is_the_derived_one():
    gain = momentum_gain()
    arguments = sorted(gain.free_symbols, key=str)
    plain = gain.replace(lambda e: e.func.__name__ == "over", lambda e: sp.Function("total")(e.args[0]))
    evaluate = sp.lambdify(arguments, plain, modules=[{"total": np.sum}, "numpy"])
    values = {"B": 2.0, "beta": 0.7, "eta": 0.1, "lambda": SPECTRUM.eigenvalues}
    assert gain_of(SPECTRUM, 0.1, 2.0, 0.7) == pytest.approx(evaluate(*(values[str(a)] for a in arguments)), rel=1e-12)


@pytest.mark.instant
@pytest.mark.parametrize(("batch", "momentum"), [(1, 0.0), (8, 0.0), (1, 0.5), (np.inf, 0.0)])
def test_the_loss_explodes_just_above_the_critical_rate(batch, momentum):
    critical = descend(SPECTRUM, [0], 0.1, batch, momentum=momentum).critical_rate
    late = [0, 4_000, 40_000]
    below = descend(SPECTRUM, late, 0.99 * critical, batch, momentum=momentum)
    above = descend(SPECTRUM, late, 1.01 * critical, batch, momentum=momentum)
    assert below.stable and not above.stable and above.final == np.inf
    assert below.loss[2] <= below.loss[1] * (1 + 1e-9) or below.loss[2] == pytest.approx(below.final, rel=1e-6)
    assert above.diverges_at() is not None and below.diverges_at(1e3) is None


@pytest.mark.instant
@pytest.mark.parametrize("alpha", [0.7, 3.0])
def test_floor_and_eigenvalues_keep_their_digits_for_steep_spectra(alpha):
    """The part outside the span against 60-digit normal equations; at alpha = 3 it is 1e-9 of the target."""
    k = np.arange(1.0, 25)
    lam, target = k ** (-2 * alpha), k ** (-alpha - 1)
    W = np.random.default_rng(5).standard_normal((24, 8)) / np.sqrt(8)
    found = spectrum_of_features(lam, target, W)
    with mpmath.workdps(60):
        seen = mpmath.matrix((np.sqrt(lam)[:, None] * W).tolist())
        y = mpmath.matrix(target.tolist())
        gram = seen.T * seen
        left = y - seen * mpmath.lu_solve(gram, seen.T * y)
        unresolved = float((left.T * left)[0])
        expected = sorted(float(value) for value in mpmath.eigsy(gram, eigvals_only=True))
    assert found.unresolved == pytest.approx(unresolved, rel=1e-9)
    assert np.abs(np.sort(found.eigenvalues) / expected - 1).max() < 1e-6
    assert found.power.sum() + found.unresolved == pytest.approx((target**2).sum(), rel=1e-12)


@pytest.mark.instant
def test_more_features_than_modes_leave_nothing_unresolved():
    wide = drawn_spectrum(LAM, POWER, width=40)
    assert wide.unresolved == 0.0 and len(wide.eigenvalues) == 24
    assert descend(wide, [1e9], 0.1).loss[0] < 1e-12


@pytest.mark.instant
def test_draws_are_averaged_and_the_record_is_plain_data():
    found = random_feature_descent(LAM, POWER, 6, [0, 10, 1e8], 0.1, seeds=[3, 4, 5])
    again = averaged([descend(drawn_spectrum(LAM, POWER, 6, seed), [0, 10, 1e8], 0.1) for seed in (3, 4, 5)])
    assert (found.loss == again.loss).all() and found.draws.shape == (3, 3)
    assert np.allclose(found.error, found.draws.std(0, ddof=1) / np.sqrt(3))
    assert json.loads(json.dumps(found.to_dict()))["stable"] is True
    assert "3 draws" in str(found) and "std error" in str(found)
    assert found.final == pytest.approx(found.loss[-1], rel=1e-9)
    assert (found.compute == 6 * found.steps).all()


@pytest.mark.instant
def test_one_diverging_draw_is_named_and_numbers_stay_finite():
    k = np.arange(1.0, 121)
    found = random_feature_descent(k**-6.0, k**-7.0, 30, [0, 10, 1e4, 1e9], 0.48, seeds=30)
    assert 0 < found.diverging < 30 and not found.stable
    assert np.isfinite(found.loss).all() and np.isfinite(found.error).all()
    assert f"DIVERGES: {found.diverging} of 30 draws" in str(found) and found.to_dict()["diverging"] == found.diverging
    wild = descend(SPECTRUM, [1, 1e3, 1e7], 0.1, schedule=lambda k: 100.0)
    assert np.isfinite(wild.loss).all() and wild.loss[-1] > 1e50


@pytest.mark.instant
@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: random_feature_descent(LAM, POWER[:3], 4, [1], 0.1), "24 eigenvalues, 3 powers"),
        (lambda: random_feature_descent(-LAM, POWER, 4, [1], 0.1), "eigenvalues from -1"),
        (lambda: random_feature_descent(LAM, POWER, 0, [1], 0.1), "width 0"),
        (lambda: random_feature_descent(LAM, POWER, 4, [1], 0.0), "learning_rate 0.0"),
        (lambda: random_feature_descent(LAM, POWER, 4, [1], 0.1, seeds=0), "no draws"),
        (lambda: descend(SPECTRUM, [1], 0.1, batch=0.5), "batch 0.5"),
        (lambda: descend(SPECTRUM, [1], 0.1, momentum=1.0), "momentum 1"),
        (lambda: descend(SPECTRUM, [0.5], 0.1, momentum=0.5), "not whole"),
        (lambda: descend(SPECTRUM, [1], 0.1, momentum=0.5, schedule=[(1, 1.0)]), "use one of the two"),
        (lambda: descend(SPECTRUM, [], 0.1), "steps"),
    ],
)
def test_what_cannot_be_run_is_one_line(call, message):
    with pytest.raises(BadData, match=message) as failure:
        call()
    assert "\n" not in str(failure.value)
