"""What users get wrong in scaling laws is said in one line, and hard inputs give right numbers: constant modes, runs
that diverge, chains of equal rates, numbers of any kind."""

from decimal import Decimal

import numpy as np
import pytest
import sympy as sp

from learning_mechanics.solvers.scaling.dynamics import dynamics
from learning_mechanics.solvers.scaling.frontier import frontier
from learning_mechanics.solvers.scaling.one_pass.deterministic_equivalent import (
    effective_ridge_of_features,
    equivalent_descent,
)
from learning_mechanics.solvers.scaling.one_pass.feature_spectrum import FeatureSpectrum, spectrum_of_features
from learning_mechanics.solvers.scaling.one_pass.random_feature_descent import descend, random_feature_descent
from learning_mechanics.solvers.scaling.one_pass.volterra import volterra
from learning_mechanics.solvers.scaling.power_law_features import power_law_features
from learning_mechanics.theory.errors import BadData, LearningMechanicsError, OutsideDomain, UnknownName
from learning_mechanics.theory.measured_spectra.estimate import Estimate
from learning_mechanics.theory.mechanisms import random_hierarchy, resolution, token_correlations, zipf
from learning_mechanics.theory.mechanisms.grammar import RandomHierarchy
from learning_mechanics.theory.mechanisms.token_frequencies import frequencies
from learning_mechanics.theory.scaling.balance import Term, balancing_terms, best_split, loss_exponent
from learning_mechanics.theory.scaling.conventions import source_capacity
from learning_mechanics.theory.scaling.dynamical import correction_exponent, crossover_time, regimes
from learning_mechanics.theory.scaling.exact_signs import exact
from learning_mechanics.theory.scaling.feature_learning import feature_learning, rich_compute
from learning_mechanics.theory.scaling.power_law_phases import power_law_phase
from learning_mechanics.theory.scaling.source_capacity import compute_optimal, limited_by

pytestmark = pytest.mark.instant
LAM, POWER = np.arange(1.0, 41) ** -1.5, np.arange(1.0, 41) ** -2.0
TEXT = np.random.default_rng(0).zipf(2.0, 2000)
C, R = sp.Symbol("c"), sp.Rational


def run(**changed):
    settings = {"width": 10, "steps": [0, 1], "learning_rate": 0.1, "seeds": 1, **changed}
    return random_feature_descent(LAM, POWER, **settings)


def fails(schedule=1 / 3):
    raise ValueError("two\nlines")


@pytest.mark.parametrize(
    ("call", "error", "words"),
    [
        (lambda: best_split((1, 2)), BadData, "1 is no term"),
        (lambda: best_split(None), BadData, "None is no term"),
        (lambda: best_split((Term("a", {"n": sp.nan}),)), BadData, "nan is no finite"),
        (lambda: best_split((Term("a", {"n": None}),)), BadData, "None is no finite"),
        (lambda: best_split((Term("a", {"n": sp.oo}),)), BadData, "oo is no finite"),
        (lambda: best_split((Term("a", {"n": sp.I}),)), BadData, "I is no finite"),
        (lambda: best_split((Term("a", {"n": "two words"}),)), BadData, "no finite"),
        (lambda: best_split((Term("a", {"n": 1}),), {"n": None}), BadData, "no finite"),
        (lambda: balancing_terms([]), BadData, "no terms"),
        (lambda: loss_exponent([Term("a", {"n": 1})], {"t": 1}), BadData, "no split of ['n']"),
        (lambda: loss_exponent([], {"t": 1}), BadData, "0 terms"),
        (lambda: compute_optimal(C, 2), BadData, "hold symbols"),
        (lambda: rich_compute(C, 2), BadData, "hold symbols"),
        (lambda: feature_learning(C, 2), BadData, "hold symbols"),
        (lambda: limited_by("samples", C, 2), BadData, "hold symbols"),
        (lambda: source_capacity(["cui"]), UnknownName, "unknown convention"),
        (lambda: regimes(None, 2), BadData, "None is no finite"),
        (lambda: correction_exponent(2, 1), OutsideDomain, "target_exponent 1"),
        (lambda: crossover_time(10, 1), OutsideDomain, "capacity 1"),
        (lambda: crossover_time(-1, 2), BadData, "number -1"),
        (lambda: dynamics(LAM, POWER, [1.0], tail=3), BadData, "tail of type int"),
        (lambda: dynamics(LAM, POWER, [1e300], samples=9), BadData, "eigenvalue x time"),
        (lambda: dynamics([1.0], [1e300], [1.0], samples=9), BadData, "power 1e+300"),
        (lambda: run(learning_rate=1e300), BadData, "learning rate x eigenvalue"),
        (lambda: run(learning_rate=1e-300), BadData, "learning rate x eigenvalue"),
        (lambda: run(noise=1e200), BadData, "noise 1e+200"),
        (lambda: run(schedule=[(1, 2, 3)]), BadData, "pieces of shape (1, 3)"),
        (lambda: run(schedule=3), BadData, "pieces of shape ()"),
        (lambda: run(schedule=fails), BadData, "the function fails"),
        (lambda: run(schedule=lambda step: "a"), BadData, "not numbers"),
        (lambda: run(schedule=lambda step: [1.0, 2.0]), BadData, "shape (2,)"),
        (lambda: run(momentum=0.5, steps=[1e20]), BadData, "1e+20 steps"),
        (lambda: random_feature_descent(LAM * 1e300, POWER, 9, [1], 0.1), BadData, "largest eigenvalue"),
        (lambda: equivalent_descent(LAM, POWER, 10, [0], 0.1, resolution=0), BadData, "resolution 0"),
        (lambda: equivalent_descent(LAM, POWER, 10, [0], 0.1, resolution=1e-3), BadData, "resolution 0.001"),
        (lambda: equivalent_descent(LAM, POWER, 10, [0], 0.1, resolution=1e6), BadData, "resolution 1e+06"),
        (lambda: frontier([1, 2, 4], [1, 2, 4], np.ones((3, 3)), limit="x"), BadData, "limit 'x'"),
        (lambda: frontier([1, 2, 4], [1, 2, 4], np.ones((3, 3)), limit=np.nan), BadData, "limit nan"),
        (lambda: power_law_features(1.0, 0.6, widht=3), UnknownName, "unknown setting 'widht'"),
        (lambda: power_law_features(1.0, 0.6, ratio=1e9).spectrum(20), BadData, "2e+10 modes"),
        (lambda: effective_ridge_of_features(LAM, 10, "x"), BadData, "not numbers"),
        (lambda: effective_ridge_of_features(LAM, 10, []), BadData, "ridge []"),
        (lambda: spectrum_of_features(LAM, POWER, np.ones(40)), BadData, "features of shape (40,)"),
        (lambda: spectrum_of_features(LAM, POWER, np.full((40, 2), np.nan)), BadData, "features of shape"),
        (lambda: volterra([0.5], [np.nan], [0.1], 0.0, [1]), BadData, "forcings"),
        (lambda: volterra([0.5], [1.0], [1e300], 0.0, [1]), BadData, "kernel weights up to"),
        (lambda: zipf.asymptotic("samples", None), BadData, "None is no finite"),
        (lambda: zipf.asymptotic("samples", np.nan), BadData, "nan is no finite"),
        (lambda: zipf.gaussian("samples", 1), OutsideDomain, "cannot be summed"),
        (lambda: zipf.forgotten_mass(-1, 2), BadData, "memory of -1"),
        (lambda: zipf.forgotten_mass(10, 1), OutsideDomain, "cannot be summed"),
        (lambda: zipf.forecast(TEXT, None), BadData, "window None"),
        (lambda: zipf.forecast(TEXT, (30,)), BadData, "window (30,)"),
        (lambda: zipf.forecast(TEXT, ("a", "b")), BadData, "not numbers"),
        (lambda: zipf.forecast(TEXT, (30, 300), memory="x"), BadData, "memory has entries"),
        (lambda: zipf.forecast(TEXT, (30, 300), learning_rate=None), BadData, "learning rate None"),
        (lambda: frequencies(None), BadData, "missing, or not of one kind"),
        (lambda: frequencies(["a", None] * 99), BadData, "missing, or not of one kind"),
        (lambda: frequencies([np.nan] * 200), BadData, "missing, or not of one kind"),
        (lambda: frequencies([[1, 2], [3]]), BadData, "missing, or not of one kind"),
        (lambda: frequencies(TEXT).unseen(-1), BadData, "samples -1"),
        (lambda: frequencies(TEXT).unseen("x"), BadData, "not numbers"),
        (lambda: frequencies(TEXT).forgotten(np.nan), BadData, "sizes of a memory nan"),
        (lambda: frequencies("a" * 200).slope((1, 50)), OutsideDomain, "used up"),
        (lambda: resolution.asymptotic("samples", 1, 0), BadData, "dimension 0"),
        (lambda: resolution.neighbour_distance(2, 3, -5), BadData, "samples -5"),
        (lambda: resolution.ball(None), BadData, "None is no finite"),
        (lambda: resolution.kernel_exponents(-1), BadData, "smoothness -1"),
        (lambda: resolution.forecast(None, (10, 100)), BadData, "dimension nan"),
        (lambda: resolution.forecast((1, 2, 3), (10, 100)), BadData, "dimension nan"),
        (lambda: resolution.forecast(1e-300, (10, 100)), BadData, "dimension 1e-300"),
        (lambda: resolution.forecast(2, 5), BadData, "window 5"),
        (lambda: resolution.forecast(2, (10, 100), degrees_of_freedom="x"), BadData, "degrees of freedom 'x'"),
        (lambda: resolution.forecast(2, (10, 100), predictor=["a"]), UnknownName, "unknown predictor"),
        (lambda: random_hierarchy.forecast(None, (1, 2)), BadData, "data of type NoneType"),
        (lambda: random_hierarchy.forecast(RandomHierarchy(), None), BadData, "window None"),
        (lambda: random_hierarchy.measured_signal(np.ones((0, 4)), np.ones(0)), BadData, "0 classes"),
        (lambda: random_hierarchy.measured_signal(np.ones((9, 4)), np.ones(9), branching=0), BadData, "branching 0"),
        (
            lambda: random_hierarchy.measured_signal(np.arange(8000.0).reshape(2000, 4), np.arange(2000) % 2),
            BadData,
            "8000 symbols in tuples of 2",
        ),
        (lambda: RandomHierarchy(features=2.5), BadData, "features 2.5"),
        (lambda: token_correlations.asymptotic("samples", 0, 1), OutsideDomain, "beta = 0"),
        (lambda: token_correlations.combined(1, 2), BadData, "give two Estimate"),
        (lambda: token_correlations.combined(Estimate(0.5, 0.1), Estimate(-0.1, 0.1)), OutsideDomain, "gamma = -0.1"),
        (lambda: token_correlations.forecast("ab" * 2000, (0, 1)), BadData, "window 0 to 1"),
        (lambda: token_correlations.forecast("ab" * 2000, measured=3), BadData, "measured of type int"),
    ],
)
def test_what_is_wrong_is_one_line(call, error, words):
    with pytest.raises(LearningMechanicsError) as failure:
        call()
    assert type(failure.value) is error and words in str(failure.value) and "\n" not in str(failure.value)


def test_numbers_of_more_kinds_are_exact():
    assert exact(np.float32(0.7)) == exact(Decimal("0.7")) == exact(sp.Float(0.7)) == sp.Rational(7, 10)
    assert exact(sp.Float("0.5") + sp.sqrt(2)) == sp.Rational(1, 2) + sp.sqrt(2)
    assert power_law_phase(Decimal("0.7"), sp.Float("0.7")).name == "II/III"
    near = power_law_phase(np.float64(1 - 1 / np.sqrt(2)), 1)
    assert near.name in ("IVa", "IVb") and "within rounding" in near.notes[-1]
    assert limited_by("samples", "3/2", "2").endswith("is below 2 capacity = 3.000")
    assert crossover_time(10, 1.5) == crossover_time(10, sp.Rational(3, 2))


def test_what_limits_compute_is_what_balances():
    """Beyond target_exponent = 2 capacity the noise of one-pass SGD takes the place of time, as in the balance."""
    for target, words in ((2, "hard target"), (R(7, 2), "against time"), (5, "against the noise of sampled")):
        assert words in limited_by("compute", 2, target, sampled=True)
        balance = compute_optimal(2, target, sampled=True).balance
        assert ("sampling noise" in balance) == (target == 5) and ("floor" in balance) == (target == 2)
    assert "against time" in limited_by("compute", 2, 5)


def test_modes_that_do_not_vary_are_never_learned():
    """One mode varies, 39 do not: their power stays, by hand 1/2 (sum p - p_1) plus the noise that it makes."""
    lam = np.zeros(40)
    lam[0] = 1.0
    found = random_feature_descent(lam, POWER, 10, [0, 1e12], 0.1, seeds=[3])
    x = (np.random.default_rng(3).standard_normal((40, 10))[0] ** 2).sum() / 10  # the only eigenvalue of the features
    gain = 0.1 * x / (2 - 0.2 * x)  # (eta x)^2 / (2 eta x - 2 (eta x)^2)
    assert found.floor == pytest.approx((POWER.sum() - 1) / 2, rel=1e-12) and found.gain == pytest.approx(gain)
    assert found.loss[1] == pytest.approx(found.final) and found.final == pytest.approx(found.floor / (1 - gain))


def test_heavy_ball_that_diverges_stays_finite():
    one = FeatureSpectrum(np.ones(1), np.ones(1), np.ones(1), 0.0, 1, 1.0, 1.0)
    found = descend(one, [0, 5, 10**9, 10**12], 3.0, momentum=0.9)
    assert not found.stable and np.isfinite(found.loss).all() and (np.diff(found.loss)[:2] > 0).all()


def test_volterra_with_modes_that_stand_still():
    """Rates of zero, all alike: without a kernel the state stays for any number of steps, floor and all."""
    assert volterra([0.0], [1.0], [0.0], 0.0, [0, 1e12]) == pytest.approx([1.0, 1.0], rel=1e-12)
    assert volterra([0.0, 0.0, 0.0], [1.0, 2.0, 3.0], np.zeros(3), 0.5, [1e6]) == pytest.approx([6.5], rel=1e-12)
    rates, kernel, y = np.array([0.0, 0.3, 0.0, 0.3]), np.array([1e-3, 0.1, 0.0, 0.0]), np.ones(4)
    for _ in range(50):
        y = (1 - rates) * y + kernel * (y.sum() + 0.2)
    assert volterra(rates, np.ones(4), kernel, 0.2, [50])[0] == pytest.approx(0.2 + y.sum(), rel=1e-11)


def test_extremes_of_mechanisms_are_numbers():
    """Sizes whose exact digits would fill the memory; memories beyond the vocabulary; columns of strings."""
    told = random_hierarchy.thresholds(RandomHierarchy(levels=40))
    assert told["shallow"] == np.inf and told["deep"] > 1e20
    assert frequencies(TEXT).forgotten([0, 1e300]) == pytest.approx([1.0, 0.0], abs=1e-12)
    rows = zipf.forecast(TEXT, (30, 300), memory=(10, 1e9))
    assert rows[1].exponent is None and "used up" in rows[1].because and rows[0].exponent is not None
    words = ["to", "be", "or", "not"] * 50
    assert frequencies(np.array(words, object)).vocabulary == 4
    assert frequencies(words, blocks=np.int64(5)).counts.shape == (5, 4)
    assert resolution.forecast(0.1, (10, 1e6))[0].facts["finer by"] == pytest.approx(1e50)
