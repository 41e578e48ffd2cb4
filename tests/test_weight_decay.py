"""Weight decay: thresholds derived against brute force, and the trained network against a planted wrong threshold."""

from dataclasses import replace

import numpy as np
import pytest
import sympy as sp
from scipy.integrate import solve_ivp
from scipy.optimize import brentq, minimize_scalar

from learning_mechanics.solvers.fixed_point import largest_root
from learning_mechanics.theory.closed_forms.closed_form import closed_form
from learning_mechanics.theory.dynamics.weight_decay import (
    DECAY,
    DEPTH,
    TARGET,
    basin_of_zero,
    critical_decay,
    critical_strength,
    critical_target,
    decayed_mode_flow,
    decayed_rest,
    equal_decay,
    equal_strength,
    resting_law,
    strength_at_rest,
)
from learning_mechanics.theory.errors import BadData, NoClosedForm
from learning_mechanics.theory.models.linear_networks.weight_decay import WeightDecay
from learning_mechanics.theory.symbols import positive
from learning_mechanics.theory.system import FixedPoint
from learning_mechanics.validate.judging.check import run_claim

pytestmark = pytest.mark.short
DEPTHS = [3, 4, 6]


def value(system, depth, target=1.0):
    """The number that a threshold equation gives for its unknown."""
    (root,) = sp.solve(system.equations[0], system.unknowns[0])
    return float(root.subs({DEPTH: depth, TARGET: target}))


def settled(depth, target, decay, start):
    """Where u' = u^(L-1) (s - u^L) - mu u ends, by integration."""
    right = lambda t, u: u ** (depth - 1) * (target - u**depth) - decay * u  # noqa: E731
    return solve_ivp(right, (0, 3000), [start], "LSODA", rtol=1e-10, atol=1e-14).y[0, -1]


@pytest.mark.parametrize("depth", DEPTHS)
@pytest.mark.parametrize("target", [0.5, 1.7])
def test_thresholds_against_brute_force(depth, target):
    """The largest decay a mode survives is the maximum of a^(1-2/L) (s-a); equal energy by root finding."""
    load = lambda a: a ** (1 - 2 / depth) * (target - a)  # noqa: E731
    top = minimize_scalar(lambda a: -load(a), bounds=(0, target), method="bounded", options={"xatol": 1e-12})
    for system in (critical_decay(), critical_decay(depth)):
        assert abs(value(system, depth, target) / load(top.x) - 1) < 1e-12
    assert abs(float(critical_strength().subs({DEPTH: depth, TARGET: target})) - top.x) < 1e-6

    def gain(decay):
        best = brentq(lambda a: load(a) - decay, top.x, target, xtol=1e-15)
        return (target - best) ** 2 / 2 + depth * decay * best ** (2 / depth) / 2 - target**2 / 2

    equal = brentq(gain, 1e-6, load(top.x) * (1 - 1e-9), xtol=1e-15)
    for system in (equal_decay(), equal_decay(depth)):
        assert abs(value(system, depth, target) / equal - 1) < 1e-9
    assert abs(float(load(float(equal_strength(depth).subs(TARGET, target)))) / equal - 1) < 1e-9
    weakest = float(critical_target(depth).subs(DECAY, sp.Float(load(top.x), 20)))
    assert abs(weakest / target - 1) < 1e-12


def test_known_ratios():
    """mu_g / mu_c at depths 3, 4, 6: 0.840, 0.707, 0.529 (independent arithmetic)."""
    for depth, ratio in ((3, 0.840), (4, 0.707), (6, 0.529)):
        assert abs(value(equal_decay(), depth) / value(critical_decay(), depth) - ratio) < 5e-4


@pytest.mark.parametrize("depth", DEPTHS)
def test_flow_survives_below_and_dies_above(depth):
    critical = value(critical_decay(), depth)
    assert settled(depth, 1.0, 0.99 * critical, 1.0) > 0.5 * float(critical_strength(depth).subs(TARGET, 1)) ** (
        1 / depth
    )
    assert settled(depth, 1.0, 1.01 * critical, 1.0) < 1e-6


@pytest.mark.parametrize("depth", DEPTHS)
def test_basin_of_zero(depth):
    """Starts 1 % around the leading-order edge of the basin of zero, at a decay small enough for it to be sharp."""
    decay = {3: 1e-3, 4: 1e-3, 6: 1e-4}[depth]
    edge = float(basin_of_zero(depth).subs({TARGET: 1, DECAY: decay}))
    right = lambda u: u ** (depth - 1) * (1 - u**depth) - decay * u  # noqa: E731
    assert right(0.97 * edge) < 0 < right(1.03 * edge)


def test_two_layers_are_a_soft_threshold():
    assert strength_at_rest(2) == sp.Max(0, TARGET - DECAY) and critical_target(2) == DECAY
    assert sp.simplify(strength_at_rest(1) - TARGET / (1 + DECAY)) == 0
    with pytest.raises(BadData, match="largest root"):
        strength_at_rest(3)
    form = closed_form(decayed_mode_flow(2))
    ends = form.evaluate(1e5, a=0.1, s=np.array([1.0, 0.6, 0.4]), mu=0.5)
    assert np.allclose(ends, [0.5, 0.1, 0.0])
    times = np.linspace(0, 8, 20)
    for target in (0.2, 1.4):
        right = lambda t, a, s=target: 2 * a * (s - a) - 2 * 0.5 * a  # noqa: E731
        want = solve_ivp(right, (0, 8), [0.05], "DOP853", times, rtol=1e-12, atol=1e-15).y[0]
        assert np.abs(form.evaluate(times, a=0.05, s=target, mu=0.5) - want).max() < 1e-11


def test_largest_root():
    targets = np.array([2.0, 1.0, 0.3])
    got = largest_root(decayed_rest(3), {"s": targets, "mu": 0.2}, np.arange(2))["u"]
    assert got.shape == (2, 3)
    for target, root in zip(targets, got[0], strict=True):
        assert abs(root - max(settled(3, target, 0.2, 2.0), 0)) < 1e-6
    strength = got[0, 0] ** 3
    law = resting_law(3).equations[0].subs({positive("a"): strength, TARGET: 2.0, DECAY: 0.2})
    assert abs(float(law)) < 1e-12
    a, x = positive("a x")
    with pytest.raises(NoClosedForm, match="polynomial"):
        largest_root(FixedPoint((a,), (sp.exp(a) - x,)), {"x": 1.0}, np.arange(1))
    with pytest.raises(BadData, match="no root"):
        largest_root(FixedPoint((a,), (a + x,)), {"x": 1.0}, np.arange(1))


def test_a_wrong_threshold_is_refuted():
    """The claim can fail: with the resting law of four layers for three, it is refuted."""
    model = WeightDecay()
    claim = model.claim("resting_strengths")
    claim = replace(claim, values=claim.values[:1])
    assert run_claim(model, claim).verdict.outcome == "holds"
    wrong = replace(claim, law=replace(claim.law, name="four layers", system=lambda: decayed_rest(4)))
    assert run_claim(model, wrong).verdict.outcome == "refuted"
    with pytest.raises(BadData, match="from 3"):
        WeightDecay(depth=2)
