"""Exponents from source and capacity against sums over many modes, and the letters of papers."""

import numpy as np
import pytest
import sympy as sp

from learning_mechanics.theory.errors import BadData, OutsideDomain, UnknownName
from learning_mechanics.theory.measured_spectra.estimate import Estimate
from learning_mechanics.theory.scaling.conventions import CONVENTIONS, letters, source_capacity
from learning_mechanics.theory.scaling.power_law_phases import power_law_phase
from learning_mechanics.theory.scaling.power_law_sums import partial_sum, resolvent_gap, resolvent_sum
from learning_mechanics.theory.scaling.source_capacity import (
    AXES,
    CAPACITY,
    TARGET,
    asymptotic,
    compute_optimal,
    derivation,
    limited_by,
)

R = sp.Rational
MODES = np.arange(1.0, 100_001.0)


def kappa_of(capacity, size, ridge=0.0, K=MODES):
    """sum lambda/(lambda + kappa) + ridge/kappa = size, by bisection in log space; the tail of modes as an integral."""
    eigenvalues = K**-capacity
    low, high = np.log(1e-14), np.log(1e3)
    for _ in range(50):
        kappa = np.exp((low + high) / 2)
        learned = (eigenvalues / (eigenvalues + kappa)).sum() + K[-1] ** (1 - capacity) / (capacity - 1) / kappa
        low, high = (np.log(kappa), high) if learned + ridge / kappa > size else (low, np.log(kappa))
    return np.exp(low)


def test_error(capacity, target, n, noise=0.0, ridge=0.0, K=MODES):
    """Squared error of kernel regression by the effective ridge (Bordelon et al. 2020, Simon et al. 2021)."""
    eigenvalues, power = K**-capacity, K**-target
    kappa = kappa_of(capacity, n, ridge, K)
    learned = eigenvalues / (eigenvalues + kappa)
    tail = K[-1] ** (1 - target) / (target - 1)
    factor = 1 / (1 - (learned**2).sum() / n)
    return factor * ((power * (1 - learned) ** 2).sum() + tail + noise) - noise


test_error.__test__ = False


@pytest.mark.short
@pytest.mark.parametrize(("capacity", "target"), [(1.5, 2.0), (1.2, 2.2), (1.2, 5.0), (2.0, 8.0)])
def test_samples_without_noise(capacity, target):
    """Local slopes of the ridgeless error between 1000 and 2000 samples; the last two are saturated at 2 capacity."""
    slope = -np.log2(test_error(capacity, target, 2000) / test_error(capacity, target, 1000))
    limit = float(asymptotic("samples", capacity, target))
    # the other of bulk and head is smaller by n^-1.4 or more: that moves slopes by less than 1.4 x 1000^-1.4 = 1e-4
    assert abs(slope - limit) < 0.03
    assert limit == pytest.approx(min(target - 1, 2 * capacity), abs=1e-12)


@pytest.mark.short
def test_samples_with_noise_and_the_best_ridge():
    """m/(1 + m) with a ridge found by search at every n, and no decay at all without one."""
    capacity, target = 2.0, 2.0

    few = MODES[:20_000]

    def best(n):  # kappa ~ n^-(capacity/(1 + m)) = 1/n: the ridge n kappa that is best is of order one
        return min(test_error(capacity, target, n, 1.0, ridge, few) for ridge in np.geomspace(0.1, 30, 31))

    slope = -np.log2(best(8000) / best(4000))
    assert abs(slope - float(asymptotic("samples", 2, 2, noise=True))) < 0.02
    ridgeless = [test_error(capacity, target, n, noise=1.0) for n in (1000, 4000)]
    assert asymptotic("samples", noise=True, ridge="none") == 0
    assert abs(ridgeless[1] / ridgeless[0] - 1) < 0.02 and abs(ridgeless[1] - (capacity - 1)) < 0.02


@pytest.mark.short
@pytest.mark.parametrize(("capacity", "target"), [(1.5, 2.0), (1.5, 4.0)])
def test_parameters_saturate_at_the_capacity_not_at_twice(capacity, target):
    """What N random features cannot express, linear in kappa; planted: 2 capacity would be off by a lot."""
    eigenvalues, power = MODES**-capacity, MODES**-target

    def floor(size):
        kappa = kappa_of(capacity, size)
        return (power * kappa / (eigenvalues + kappa)).sum() + MODES[-1] ** (1 - target) / (target - 1)

    slope = -np.log2(floor(2000) / floor(1000))
    assert abs(slope - float(asymptotic("parameters", capacity, target))) < 0.02
    if target - 1 > capacity:
        assert abs(slope - min(target - 1, 2 * capacity)) > 1.0


@pytest.mark.instant
def test_steps_and_sampled_steps():
    assert asymptotic("steps", 2, 2) == R(1, 2) and asymptotic("steps", 2, 2, sampled=True) == R(1, 2)
    assert asymptotic("steps", R(1, 2), 2) == 2 and "leave nothing" in limited_by("steps", 0.5, 2.0)
    assert asymptotic("steps", 2, 6) == R(5, 2) and asymptotic("steps", 2, 6, sampled=True) == R(3, 2)


@pytest.mark.instant
@pytest.mark.parametrize(("alpha", "beta"), [(1, "1/4"), ("3/4", "2/5"), (1, "3/4"), ("3/2", 1), (1, 2), ("3/5", 3)])
def test_compute_is_that_of_the_phases(alpha, beta):
    """Two routes: the balance of the four terms of SGD in alpha, beta and the one formula in source and capacity."""
    capacity, target = source_capacity("paquette", alpha=alpha, beta=beta)
    phase = power_law_phase(alpha, beta)
    assert asymptotic("compute", capacity, target, sampled=True) == phase.loss_exponent
    best = compute_optimal(capacity, target, sampled=True)
    assert best.exponent == phase.loss_exponent and best.split["parameters"] == phase.width_exponent
    without = compute_optimal(capacity, target)
    assert without.exponent == asymptotic("compute", capacity, target)
    assert (without.exponent == best.exponent) == (phase.name != "III")


@pytest.mark.short
@pytest.mark.parametrize(("capacity", "target", "widths"), [(2, 2, (10, 400)), (R(3, 2), 3, (100, 3000))])
def test_compute_of_the_dynamical_model(capacity, target, widths):
    """Error of N random features at time C/N by inverse Laplace transform, minimised over N at two budgets C."""
    from learning_mechanics.solvers.scaling.dynamics import dynamics

    k = np.arange(1.0, 10_001.0)
    budgets = np.array([1e5, 1e6])
    grid = np.geomspace(*widths, 21)
    found = [dynamics(k ** -float(capacity), k ** -float(target), times=budgets / n, features=n).test for n in grid]
    ends = []
    for losses in np.log(found).T:
        i = losses.argmin()
        assert 0 < i < len(grid) - 1, "no interior minimum"
        a, b, c = np.polyfit(np.log(grid[i - 1 : i + 2]), losses[i - 1 : i + 2], 2)
        ends.append((c - b**2 / (4 * a), -b / (2 * a)))
    loss, width = (np.array(ends[1]) - np.array(ends[0])) / np.log(10)
    best = compute_optimal(capacity, target)
    # measured at 1e5..1e6 on a fine grid beforehand: 0.3325 against 1/3, 0.664 against 2/3, still approaching
    assert abs(-loss - float(best.exponent)) < 0.015
    assert abs(width - float(best.split["parameters"])) < 0.03


@pytest.mark.instant
def test_formulas_agree_with_numbers_on_both_sides():
    for axis in AXES:
        for options in ({}, {"noise": True}, {"sampled": True}):
            formula = asymptotic(axis, **options)
            for at in ((2, R(3, 2)), (R(3, 2), 4), (2, 7)):
                assert formula.subs({CAPACITY: at[0], TARGET: at[1]}) == asymptotic(axis, *at, **options)
        trail = derivation(axis)
        assert trail.references and str(trail.steps[-1].result)
        assert all(step.residual is None or step.residual < 1e-4 for step in trail.steps)


@pytest.mark.instant
@pytest.mark.parametrize(
    ("power", "capacity", "unlearned", "order"),
    [(0, 1.5, 0, 1), (0, 2.5, 0, 2), (2.2, 1.5, 1, 1), (3.3, 1.5, 1, 1), (2.5, 1.5, 2, 2), (7.3, 1.7, 2, 2)],
)
def test_expansions_equal_their_sums(power, capacity, unlearned, order):
    """Three terms leave the next head, kappa^2 of the first: 1e-3 squared, times zeta functions of order one."""
    assert resolvent_gap(power, capacity, unlearned, order) < 3e-5
    terms = resolvent_sum(R(str(power)), R(str(capacity)), unlearned, order)
    assert [term.origin for term in terms] == ["bulk", "head", "head"]


@pytest.mark.instant
def test_partial_sums():
    for power in (0.4, 1.7):
        bulk, head = partial_sum(R(str(power)))
        count = 100_000
        total = (np.arange(1.0, count + 1) ** -power).sum()
        expected = sum(float(t.coefficient) * count ** -float(t.exponent) for t in (bulk, head))
        assert abs(expected / total - 1) < 1e-4


@pytest.mark.instant
def test_what_limits_is_named_with_its_certainty():
    assert "tail" in limited_by("samples", 1.5, 2.0) and "first modes" in limited_by("samples", 1.2, 4.0)
    assert "within error of a tie" in limited_by("samples", Estimate(1.2, 0.1), Estimate(3.3, 0.2))
    assert "within error" not in limited_by("samples", Estimate(1.2, 0.01), Estimate(2.0, 0.02))
    assert "first modes" in limited_by("parameters", 1.5, 4.0) and "tail" in limited_by("samples", 1.5, 3.9)
    assert "equals" in limited_by("parameters", 1.5, 2.5)
    assert "leave nothing" in limited_by("steps", 1.5, 2.0) and "noise" in limited_by("steps", 1.5, 4.0, sampled=True)
    assert "mixing" in limited_by("compute", 1.5, 4.0) and "hard" in limited_by("compute", 1.5, 2.0)
    assert "label noise" in limited_by("samples", 1.5, 2.0, noise=True)


@pytest.mark.instant
@pytest.mark.parametrize(
    ("call", "error", "words"),
    [
        (lambda: asymptotic("width"), UnknownName, "unknown axis 'width'"),
        (lambda: asymptotic("samples", 0.9, 2), OutsideDomain, "power_law_phase"),
        (lambda: asymptotic("steps", 0.9, 2, sampled=True), OutsideDomain, "power_law_phase"),
        (lambda: asymptotic("steps", 0, 2), OutsideDomain, "do not fall"),
        (lambda: asymptotic("samples", 2, 1), OutsideDomain, "finite power"),
        (lambda: asymptotic("samples", 2, float("nan")), BadData, "finite real number"),
        (lambda: asymptotic("samples", noise=True, ridge="small"), UnknownName, "ridge"),
        (lambda: source_capacity("paquette", alpha=1), BadData, "give alpha and beta"),
        (lambda: source_capacity("paquete", alpha=1, beta=1), UnknownName, "did you mean 'paquette'"),
        (lambda: letters("bahri", 2, 3), BadData, "no letters give"),
    ],
)
def test_errors_are_one_line(call, error, words):
    with pytest.raises(error) as caught:
        call()
    assert words in str(caught.value) and "\n" not in str(caught.value)


@pytest.mark.instant
def test_conventions_there_and_back():
    """Every convention inverts itself, and means the same sums: exponents in time from the paper's own statement."""
    for name, convention in CONVENTIONS.items():
        given = {letter: R(7, 5) + i for i, letter in enumerate(convention.letters)}
        assert letters(name, *source_capacity(name, **given)) == given
    # feature_learning: power beyond k ~ lambda_k^beta, so that the loss in time falls as t^-beta
    assert asymptotic("steps", *source_capacity("feature_learning", alpha=2, beta=R(1, 3))) == R(1, 3)
    # cui: with noise and the best ridge, 2 alpha r/(1 + 2 alpha r) for r < 1, saturated at r = 1
    for r in (R(1, 3), R(1), R(3)):
        rate = 2 * 2 * min(r, 1)
        assert asymptotic("samples", *source_capacity("cui", alpha=2, r=r), noise=True) == R(rate, 1 + rate)
    # bahri: both exponents equal alpha_K
    pair = source_capacity("bahri", alpha_K=R(1, 2))
    assert asymptotic("samples", *pair) == asymptotic("parameters", *pair) == R(1, 2)
