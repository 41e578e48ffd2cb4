"""The discrete Volterra equation at any step against its own sums, a loop over the recursion, and eigenvalues."""

import mpmath
import numpy as np
import pytest

from learning_mechanics.solvers.scaling.one_pass.volterra import (
    along_pieces,
    resolved,
    schedule_pieces,
    volterra,
)
from learning_mechanics.theory.errors import BadData

STEPS = [0, 1, 2, 3, 10, 47, 200]


def problem(count, seed=0, silent=()):
    """Rates, forcing and kernel of one-pass SGD on eigenvalues over six decades; `silent` modes make no noise."""
    rng = np.random.default_rng(seed)
    lam = 10 ** rng.uniform(-6, 0, count)
    eta = 0.4 / lam.sum()
    kernel = (eta * lam) ** 2
    kernel[list(silent)] = 0.0
    return 2 * eta * lam - 2 * (eta * lam) ** 2, rng.random(count), kernel


def summed(rates, forcing, kernel, floor, last):
    """The equation as it is written, step by step: every earlier loss is summed anew."""
    losses = []
    for k in range(last + 1):
        made = sum((kernel @ (1 - rates) ** (k - 1 - s)) * losses[s] for s in range(k))
        losses.append(floor + forcing @ (1 - rates) ** k + made)
    return np.array(losses)


@pytest.mark.instant
@pytest.mark.parametrize("count", [1, 2, 7, 60])
@pytest.mark.parametrize("floor", [0.0, 0.3])
def test_losses_solve_the_equation_as_it_is_written(count, floor):
    rates, forcing, kernel = problem(count, silent=range(0, count, 3))
    expected = summed(rates, forcing, kernel, floor, STEPS[-1])[STEPS]
    found = volterra(rates, forcing, kernel, floor, STEPS)
    assert np.abs(found / expected - 1).max() < 1e-12
    if count > 2:
        assert np.abs(volterra(rates, forcing, 1.1 * kernel, floor, STEPS) / expected - 1).max() > 1e-4


@pytest.mark.instant
def test_poles_lie_between_rates_and_are_eigenvalues_of_diagonal_plus_rank_one():
    rates, _, kernel = problem(80)
    found = resolved(rates, kernel)
    assert (found.nu[0] < found.rates[0]) and (found.nu[1:] > found.rates[:-1]).all()
    assert (found.nu < found.rates).all()
    root = np.sqrt(kernel[found.order])
    expected = np.linalg.eigvalsh(np.diag(found.rates) - np.outer(root, root))
    assert np.abs(found.nu - expected).max() < 1e-14


@pytest.mark.instant
def test_slow_poles_keep_their_digits():
    """Eigenvalues in double precision are wrong by 1e-16 of the largest, poles by that of themselves."""
    rates = np.array([1e-14, 3e-11, 1e-6, 0.3])
    kernel = rates / 5
    found = resolved(rates, kernel).nu
    with mpmath.workdps(40):
        for nu in found:
            terms = [(mpmath.mpf(float(k)), mpmath.mpf(float(r))) for k, r in zip(kernel, rates, strict=True)]
            low, high = (mpmath.mpf(float(nu)) * (1 + side * mpmath.mpf("1e-15")) for side in (-1, 1))
            assert sum(k / (r - low) for k, r in terms) < 1 < sum(k / (r - high) for k, r in terms)


@pytest.mark.instant
def test_equal_rates_and_modes_without_noise_are_no_special_case():
    rates, forcing, kernel = np.array([0.2, 0.2, 0.2, 0.5]), np.arange(1.0, 5), np.array([0.02, 0.0, 0.03, 0.0])
    expected = summed(rates, forcing, kernel, 0.1, 50)[[0, 5, 50]]
    assert np.abs(volterra(rates, forcing, kernel, 0.1, [0, 5, 50]) / expected - 1).max() < 1e-12
    silent = volterra(rates, forcing, 0 * kernel, 0.1, [7])
    assert silent[0] == pytest.approx(0.1 + forcing @ (1 - rates) ** 7, rel=1e-14)


@pytest.mark.instant
def test_late_losses_end_at_the_floor_over_one_minus_the_gain():
    rates, forcing, kernel = problem(30)
    gain = (kernel / rates).sum()
    assert resolved(rates, kernel).gain == pytest.approx(gain, rel=1e-14) and gain < 1
    late = volterra(rates, forcing, kernel, 0.7, [1e12])[0]
    assert late == pytest.approx(0.7 / (1 - gain), rel=1e-12)


@pytest.mark.instant
def test_beyond_a_gain_of_one_the_loss_grows_at_the_rate_of_the_first_pole():
    rates, forcing, kernel = problem(12)
    kernel = kernel * 1.5 / (kernel / rates).sum()
    found = resolved(rates, kernel)
    assert found.gain > 1 and found.nu[0] < 0
    expected = summed(rates, forcing, kernel, 0.1, 300)
    assert volterra(rates, forcing, kernel, 0.1, [300])[0] == pytest.approx(expected[300], rel=1e-11)
    assert np.isfinite(volterra(rates, forcing, kernel, 0.1, [1e15])).all()


SCHEDULES = {
    "hyperbolic": lambda k: 1 / (1 + k / 50),
    "linear": lambda k: max(0.0, 1 - k / 3000),
    "cosine": lambda k: np.cos(k / 2000) ** 2,
}


@pytest.mark.parametrize(
    "name",
    [
        pytest.param("hyperbolic", marks=pytest.mark.short),
        pytest.param("linear", marks=pytest.mark.long),
        pytest.param("cosine", marks=pytest.mark.long),
    ],
)
def test_pieces_and_smooth_schedules_equal_a_loop_over_steps(name):
    rng = np.random.default_rng(3)
    lam, state, floor = 10 ** rng.uniform(-4, 0, 20), rng.random(20), 0.2

    def rules(rate):
        return 2 * rate * lam - 2 * (rate * lam) ** 2, (rate * lam) ** 2

    def loop(rate_at, steps):
        y, found = state.copy(), []
        for k in range(max(steps) + 1):
            if k in steps:
                found.append(y.sum() + floor)
            rates, kernel = rules(rate_at(k))
            y = (1 - rates) * y + kernel * (y.sum() + floor)
        return np.array(found)

    steps = [0, 3, 10, 40, 41, 900, 3000]
    pieces = [(40.0, 0.1), (500.0, 0.02), (60.0, 0.0), (1.0, 0.05)]
    edges = np.cumsum([length for length, _ in pieces])
    exact = loop(lambda k: pieces[min(np.searchsorted(edges, k, side="right"), 3)][1], steps)
    found = along_pieces(rules, pieces, state, floor, np.array(steps, float))
    assert np.abs(found / exact - 1).max() < 1e-11
    schedule = SCHEDULES[name]
    pieces = [(length, 0.1 * factor) for length, factor in schedule_pieces(schedule, 3000)]
    found = along_pieces(rules, pieces, state, floor, np.array(steps, float))
    # steps inside of a piece see its mean rate: second order in its length
    assert np.abs(found / loop(lambda k: 0.1 * schedule(k), steps) - 1).max() < 2e-4


@pytest.mark.instant
@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: volterra([0.1, 0.2], [1.0], [0.0, 0.0], 0.0, [1]), "1 forcings, 2 rates"),
        (lambda: volterra([0.1], [1.0], [-0.1], 0.0, [1]), "kernel weights from -0.1"),
        (lambda: volterra([1.1], [1.0], [0.1], 0.0, [1]), "rates up to 1.1"),
        (lambda: volterra([0.1], [1.0], [0.1], 0.0, [-1]), "give finite numbers from 0"),
        (lambda: volterra([0.1], [1.0], [0.1], -1.0, [1]), "floor -1.0"),
        (lambda: schedule_pieces([(0, 1.0)], 10), "steps > 0"),
        (lambda: schedule_pieces(lambda k: 1 - k, 10), "the schedule gives"),
    ],
)
def test_what_cannot_be_solved_is_one_line(call, message):
    with pytest.raises(BadData, match=message) as failure:
        call()
    assert "\n" not in str(failure.value)
