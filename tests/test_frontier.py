"""The compute-optimal frontier of tables whose frontier is known, and of power-law features in seven phases."""

import json
import re

import numpy as np
import pytest
from phase_points import PHASES

from learning_mechanics.solvers.scaling.frontier import frontier
from learning_mechanics.solvers.scaling.power_law_features import PowerLawFeatures, power_law_features
from learning_mechanics.theory.errors import BadData, Underpowered

WIDTHS = np.round(50 * 2 ** (np.arange(10) / 2)).astype(int)  # to 1131


def table(widths, compute, a, b, floor=0.0):
    """L = d^-a + (f/d)^-b: at the best width d^(a+b) = (a/b) f^b, so that eta = a b/(a + b), xi = b/(a + b)."""
    d, f = np.asarray(widths, float)[:, None], np.asarray(compute, float)
    return floor + d**-a + (f / d) ** -b


@pytest.mark.instant
@pytest.mark.parametrize(("a", "b"), [(1.0, 0.5), (0.4, 0.4), (0.7, 1.2)])
def test_exponents_of_a_known_frontier(a, b):
    compute = np.geomspace(1e4, 1e6, 25)
    best = (a / b * compute**b) ** (1 / (a + b))
    widths = np.geomspace(best[0] / 3, best[-1] * 3, 24)
    found = frontier(widths, compute, table(widths, compute, a, b))
    assert found.loss_exponent == pytest.approx(a * b / (a + b), abs=2e-3)
    assert found.width_exponent == pytest.approx(b / (a + b), abs=2e-3)
    assert np.abs(found.width / best - 1).max() < 0.02
    assert found.drift == pytest.approx(0, abs=3e-3)
    # the raw minimum over the same grid is a staircase: its widths are off by up to half a step
    raw = widths[np.argmin(table(widths, compute, a, b), axis=0)]
    assert np.abs(raw / best - 1).max() > 3 * np.abs(found.width / best - 1).max()


@pytest.mark.instant
def test_only_interior_minima_count_and_the_rest_is_explained():
    widths, compute = np.geomspace(30, 300, 8), np.geomspace(1e2, 1e7, 41)
    losses = table(widths, compute, 1.0, 0.5)
    best = (2 * compute**0.5) ** (1 / 1.5)
    found = frontier(widths, compute, losses)
    assert (found.width > 30).all() and (found.width < 300).all()
    assert sum(found.refused.values()) == 41 - len(found.compute)
    assert set(found.refused) == {"the smallest width is best", "the largest width is best"}
    assert found.loss_exponent == pytest.approx(1 / 3, abs=0.01)
    with_ends = np.polyfit(np.log(compute), -np.log(losses.min(0)), 1)[0]
    assert abs(with_ends - 1 / 3) > 5 * abs(found.loss_exponent - 1 / 3) and best[0] < 30
    with pytest.raises(Underpowered, match="largest width is best"):
        frontier(widths[:3], compute, losses[:3])


@pytest.mark.instant
def test_what_was_not_run_is_left_out():
    widths, compute = np.geomspace(30, 300, 8), np.geomspace(1e4, 1e5, 9)
    losses = table(widths, compute, 1.0, 0.5)
    holes = losses.copy()
    holes[-1] = np.nan
    whole, part = frontier(widths, compute, losses), frontier(widths, compute, holes)
    assert np.allclose(part.width[:4], whole.width[:4])
    holes[2:] = np.nan
    with pytest.raises(Underpowered, match="fewer than three widths"):
        frontier(widths, compute, holes)


@pytest.mark.instant
def test_an_irreducible_loss_is_subtracted_and_bends_slopes_if_it_is_not():
    widths, compute = np.geomspace(20, 3000, 20), np.geomspace(1e4, 1e6, 21)
    losses = table(widths, compute, 1.0, 0.5, floor=0.05)
    right, wrong = (frontier(widths, compute, losses, irreducible=value) for value in (0.05, 0.0))
    assert right.loss_exponent == pytest.approx(1 / 3, abs=2e-3) and wrong.loss_exponent < 0.2
    with pytest.raises(BadData, match="irreducible 0.2"):
        frontier(widths, compute, losses, irreducible=0.2)


@pytest.mark.instant
def test_errors_over_draws_are_those_of_repeated_experiments():
    """Lognormal scatter of whole curves: the jackknife's error against the spread of 60 repeats, within 25 %."""
    widths, compute = np.geomspace(20, 3000, 12), np.geomspace(1e4, 1e6, 21)
    clean, rng = table(widths, compute, 1.0, 0.5), np.random.default_rng(2)

    def repeat():
        scatter = np.exp(0.05 * rng.standard_normal((8, len(widths), 1)))
        return frontier(widths, compute, clean * scatter)

    found = [repeat() for _ in range(60)]
    spread = np.std([one.loss_exponent for one in found])
    assert np.mean([one.errors[0] for one in found]) == pytest.approx(spread, rel=0.25)
    assert abs(np.mean([one.loss_exponent for one in found]) - 1 / 3) < 0.01


@pytest.mark.instant
def test_the_statement_says_whether_asymptotics_are_reached():
    widths, compute = np.geomspace(20, 3000, 20), np.geomspace(1e4, 1e6, 21)
    losses = table(widths, compute, 1.0, 0.5)
    near = frontier(widths, compute, losses, limit=1 / 3)
    far = frontier(widths, compute, losses, limit=0.4)
    assert near.reached is True and near.statement.startswith("asymptotics reached: local slope 0.33")
    assert far.reached is False and far.statement.startswith("asymptotics not reached: local slope 0.33")
    assert far.statement.endswith("limit 0.400")
    assert frontier(widths, compute, losses).reached is None
    bent = losses + 0.02 * (1e5 / compute) ** 0.7  # crosses the limit on its way
    crossing = frontier(widths, compute, bent)
    again = frontier(widths, compute, bent, limit=crossing.second_half[0])
    assert abs(crossing.drift) > 0.01 and again.reached is False
    assert json.loads(json.dumps(far.to_dict()))["reached"] is False and "second half" in str(far)


@pytest.mark.instant
@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (([1, 2], [1, 2, 3], np.ones((2, 3))), "widths"),
        (([1, 3, 2], [1, 2, 3], np.ones((3, 3))), "widths"),
        (([1, 2, 3], [1, 2, -3], np.ones((3, 3))), "compute"),
        (([1, 2, 3], [1, 2, 3], np.ones((3, 4))), "give (widths, compute) = (3, 3)"),
        (([1, 2, 3], [1, 2, 3], -np.ones((3, 3))), "a loss of -1"),
    ],
)
def test_what_is_no_table_is_one_line(arguments, message):
    with pytest.raises(BadData, match=re.escape(message)):
        frontier(*arguments)


@pytest.mark.instant
def test_power_law_features_state_their_conventions():
    problem = power_law_features(0.4, 0.3, noise=0.1)
    lam, power = problem.spectrum(50)
    assert len(lam) == 200 and np.allclose(lam[9], 10**-0.8) and np.allclose(power[9], 10**-1.4)
    assert problem.rate(50) * lam.sum() == pytest.approx(0.5)
    # below 2 alpha = 1 the rate falls as d^(2 alpha - 1), up to zeta(2 alpha); above it settles
    ratio = np.log(problem.rate(400_000) / problem.rate(200_000)) / np.log(2)
    assert ratio == pytest.approx(-0.2, abs=0.015)
    settled = power_law_features(0.8, 0.3)
    assert settled.rate(4000) == pytest.approx(settled.rate(2000), rel=0.01)
    assert json.loads(json.dumps(problem.to_dict()))["alpha"] == 0.4
    found = problem.curve(50, [0, 1e12])
    assert found.loss[0] == pytest.approx((power.sum() + 0.1) / 2, rel=1e-6)
    assert found.floor > 0.05 and found.loss[1] == pytest.approx(found.final, rel=1e-9)
    exact = problem.exact(50, [0, 10], seeds=[5, 6])
    assert exact.draws.shape == (2, 2) and exact.noise == 0.1


@pytest.mark.instant
@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: PowerLawFeatures(0.0, 0.5), "alpha 0.0"),
        (lambda: PowerLawFeatures(0.5, float("nan")), "beta nan"),
        (lambda: PowerLawFeatures(0.5, 0.5, ratio=1.0), "ratio 1.0"),
        (lambda: PowerLawFeatures(0.5, 0.5, batch=0), "batch 0"),
        (lambda: PowerLawFeatures(0.5, 0.5, learning_rate=0), "learning_rate 0"),
        (lambda: PowerLawFeatures(0.5, 0.5).curve(0, [1]), "width 0"),
        (lambda: PowerLawFeatures(0.5, 0.5).frontier([50, 40, 30]), "give 3 or more, rising"),
        (lambda: PowerLawFeatures(0.8, 0.5, learning_rate=3.0).frontier([25, 35, 50]), "diverges at width 25; give a"),
        (lambda: PowerLawFeatures(3.0, 0.5).frontier([10, 20, 30], [1e3, 1e4, 1e5], 40), "draws diverge at width"),
    ],
)
def test_what_is_no_problem_is_one_line(call, message):
    with pytest.raises(BadData, match=message):
        call()


@pytest.mark.short
def test_below_two_alpha_one_asymptotics_are_not_reached():
    problem = power_law_features(0.4, 0.3)
    found = problem.frontier([50, 71, 100, 141, 200, 283, 400])
    assert problem.phase.name == "Ib" and found.limit == pytest.approx(0.2)
    assert found.reached is False and "asymptotics not reached" in found.statement
    assert 0.1 < found.loss_exponent < 0.18 and found.drift > 0.004
    assert "asymptotics are not reached" in str(problem)


@pytest.mark.short
def test_predicted_and_exact_frontier_agree_at_small_widths():
    """Phase II to d = 200, 3 x (200/d) draws of every width; the difference is within 3 jackknife errors + 0.01."""
    problem = power_law_features(0.9, 0.6)
    widths = [35, 50, 71, 100, 141, 200]
    predicted = problem.frontier(widths)
    exact = problem.frontier(widths, predicted.compute, seeds=range(1000, 1003))
    assert abs(predicted.loss_exponent - exact.loss_exponent) < 3 * exact.errors[0] + 0.01
    assert predicted.limit == pytest.approx(2 / 3)


@pytest.mark.long
@pytest.mark.parametrize("name", ["Ia", "Ib", "II", "III"])
def test_wide_layers_approach_the_exponents_of_the_phase(name):
    """Widths from 1e4 to 8e4 without a draw: loss exponent within 0.01 of the limit, width exponent within 0.02.

    Numbers at finite width know nothing of the balance of terms that gives the limits.
    """
    problem = power_law_features(*PHASES[name])
    narrow, wide = (problem.frontier(np.round(first * 2 ** (np.arange(7) / 2)).astype(int)) for first in (1000, 10_000))
    print(name, narrow.loss_exponent, wide.loss_exponent, wide.limit, wide.width_exponent)
    assert abs(wide.loss_exponent - wide.limit) < min(0.01, abs(narrow.loss_exponent - wide.limit))
    assert wide.reached and abs(wide.width_exponent - float(problem.phase.width_exponent)) < 0.02


@pytest.mark.long
@pytest.mark.parametrize("name", PHASES)
def test_compute_exponents_at_widths_to_1131(name):
    """Predicted without a draw against exact draws, 4 x (1131/d) of every width: within 0.03 in all seven phases."""
    problem = power_law_features(*PHASES[name])
    predicted = problem.frontier(WIDTHS)
    exact = problem.frontier(WIDTHS, predicted.compute, seeds=range(1000, 1004))
    print(name, predicted.loss_exponent, exact.loss_exponent, exact.errors, predicted.statement)
    assert problem.phase.name == name
    assert abs(predicted.loss_exponent - exact.loss_exponent) < 0.03
    if 2 * problem.alpha < 1:
        assert predicted.reached is False
