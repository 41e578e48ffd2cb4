"""Orbits beyond the edge of stability against plain iterations in NumPy, hand algebra and trained networks."""

from dataclasses import replace
from functools import cache

import numpy as np
import pytest
import sympy as sp

from learning_mechanics.solvers.curvature.orbits import doublings, orbit
from learning_mechanics.theory.derivation.derive import discretised, gradient_flow
from learning_mechanics.theory.dynamics.curvature.infinite_depth import infinite_depth_orbit
from learning_mechanics.theory.dynamics.curvature.infinite_depth import loss_of_stability as loss_at_infinite_depth
from learning_mechanics.theory.dynamics.curvature.period_two import (
    flip_coefficient,
    loss_of_stability,
    orbit_in_ratio,
    rotation_growth,
    rotation_threshold,
    steps_to_settle,
    two_layer_orbit,
    two_step_orbit,
)
from learning_mechanics.theory.dynamics.linear_networks import mode_map
from learning_mechanics.theory.errors import BadData, OutsideDomain
from learning_mechanics.theory.models.linear_networks.beyond_the_edge import BeyondTheEdge
from learning_mechanics.theory.symbols import LEARNING_RATE, modes, positive
from learning_mechanics.validate.judging.check import check, run_claim


def step(u, eta, depth, s=1.0):
    return u + eta * u ** (depth - 1) * (s - u**depth)


def solved(depth, multiple, s=1.0):
    """Learning rate at this multiple of the edge, the two strengths of a layer by theory, and all observables."""
    eta = 2 * multiple / (depth * s ** (2 - 2 / depth))
    values = {"s": np.array([s, s]), "eta": eta, "branch": np.array([1.0, -1.0])}
    system = two_step_orbit(depth)
    r = orbit(system, values)["r"]
    named = {name: _number(depth, name)(r, s) for name in system.observables}
    return eta, named["strength"] ** (1 / depth), named


@cache
def _number(depth, name):
    return sp.lambdify([modes("r"), modes("s")], two_step_orbit(depth).observables[name], "numpy")


@pytest.mark.short
@pytest.mark.parametrize("beyond", [1.001, 1.01, 1.1, 1.2])
def test_two_layers_settle_on_the_orbit(beyond):
    """1.001 <= eta s <= 1.2, for as many steps as the multiplier asks for, from a start 5 % off: 1e-10 and better."""
    eta, points, named = solved(2, beyond, s=1.7)
    u = 1.05 * 1.7**0.5
    # twice the linear estimate: the way to the neighbourhood of the orbit is as slow
    for _ in range(2 * steps_to_settle(float(named["multiplier"][0]), 1e-13)):
        u = step(u, eta, 2, 1.7)
    found = np.sort([u**2, step(u, eta, 2, 1.7) ** 2])
    assert np.abs(found - points**2).max() < 1e-10
    root = np.roots([1.0, -(1 + beyond), 1.0]).real  # x + 1/x = 1 + eta s
    assert np.abs(np.sort(root) / eta - points**2).max() < 1e-12


@pytest.mark.short
@pytest.mark.parametrize("depth", [2, 3, 4])
@pytest.mark.parametrize("multiple", [1.0001, 1.05, 1.2, 1.6])
def test_orbits_return_at_every_depth(depth, multiple):
    """Both points map onto each other, also where the orbit repels, and the multiplier is the product of slopes."""
    eta, (low, high), named = solved(depth, multiple, s=0.6)
    assert low < 0.6 ** (1 / depth) < high
    assert abs(step(low, eta, depth, 0.6) - high) < 1e-13 and abs(step(high, eta, depth, 0.6) - low) < 1e-13
    assert np.allclose(named["next_strength"], named["strength"][::-1], rtol=1e-13)
    assert np.allclose(named["eta_sharpness"], 2 * multiple, rtol=1e-12)
    h = 1e-20  # complex steps
    slopes = [step(u + 1j * h, eta, depth, 0.6).imag / h for u in (low, high)]
    assert np.allclose(named["multiplier"], np.prod(slopes), atol=1e-11)


@pytest.mark.short
def test_below_the_edge_there_is_the_minimum_alone():
    for multiple in (0.1, 0.99, 1.0):
        _, points, named = solved(3, multiple)
        assert np.allclose(points, 1.0, rtol=1e-15) and np.allclose(named["imbalance_factor"], 1.0)


@pytest.mark.short
def test_two_layers_in_closed_form():
    """x + 1/x = 1 + p; multiplier 9 - 2 (1 + p)^2; stable for 1 < p < sqrt(5) - 1."""
    found, p, x = two_layer_orbit(), positive("p"), positive("x")
    assert sp.simplify(found["orbit"] / x - (x + 1 / x - 1 - p)) == 0
    assert sp.expand(found["multiplier"] - 9 + 2 * (1 + p) ** 2) == 0
    assert found["onset"] == 1 and found["loss"] == sp.sqrt(5) - 1 and loss_of_stability(2) == 2 * (sp.sqrt(5) - 1)


@pytest.mark.short
@pytest.mark.parametrize("depth", [2, 3, 4])
def test_the_orbit_loses_stability_where_it_says(depth):
    """Just below, iterates of the map settle to period two; just above they do not."""
    distance = []
    for share in (0.999, 1.001):
        eta, (low, _), _ = solved(depth, share * float(loss_of_stability(depth)) / 2)
        u = low + 1e-4
        for _ in range(20_000):
            u = step(u, eta, depth)
        distance.append(min(abs(u - low), abs(step(u, eta, depth) - low)))
    assert distance[0] < 1e-10 and distance[1] > 1e-3


@pytest.mark.short
def test_any_depth_in_one_formula():
    """A symbolic depth gives what every whole depth gives."""
    u, s, L = positive("u s L")
    general = orbit_in_ratio(discretised(gradient_flow((s - u**L) ** 2 / 2, on=u, copies=L)))
    for depth in (2, 3, 4):
        (mode,), (target,) = mode_map(depth).unknowns, [p for p in mode_map(depth).parameters if str(p) == "s"]
        for name, value in orbit_in_ratio(mode_map(depth)).items():
            numbers = {positive("r"): 1.3, u: 0.7, mode: 0.7, target: 0.9, s: 0.9}
            assert np.isclose(float(general[name].subs(L, depth).subs(numbers)), float(value.subs(numbers)), rtol=1e-11)


@pytest.mark.short
def test_infinitely_many_layers():
    """The limit of finite depths at rate 1/L, a fixed cycle of its own map, and where that cycle stops attracting."""
    system, rho = infinite_depth_orbit(), 1.7
    numbers = {positive("rho"): rho, positive("nu"): 0}
    nu = 2 + float(system.equations[0].subs(numbers))
    share, multiplier = (float(system.observables[name].subs(numbers)) for name in ("share", "multiplier"))

    def deep(x, nu):
        return x + nu * np.exp(x) * (1 - np.exp(x))

    low = np.log(share)
    assert np.isclose(deep(low, nu), low + np.log(rho), rtol=1e-12) and np.isclose(
        deep(deep(low, nu), nu), low, rtol=1e-12
    )
    h = 1e-20
    assert np.isclose(deep(deep(low + 1j * h, nu), nu).imag / h, multiplier, rtol=1e-10)
    gaps = []
    for depth in (100, 200):
        r = rho ** (1 / depth)  # the orbit of this depth with the same ratio of strengths
        G = (1 + r ** (2 * depth - 1)) / (1 + r ** (depth - 1))
        gaps.append(
            depth * (r - 1) / (r ** (depth - 1) * (rho - 1)) * (1 + r ** (depth - 1)) * G ** (2 - 2 / depth) - nu
        )
    assert np.isclose(gaps[1] / gaps[0], 0.5, atol=0.01)
    distance = []
    for multiple in (0.999, 1.001):
        x, nu = 0.1, multiple * float(loss_at_infinite_depth())
        for _ in range(20_000):
            x = deep(x, nu)
        distance.append(abs(deep(deep(x, nu), nu) - x))
    assert distance[0] < 1e-9 and distance[1] > 1e-3


@pytest.mark.short
@pytest.mark.parametrize("depth", [2, 3, 4])
def test_the_orbit_is_born_stable(depth):
    """f''^2/2 + f'''/3 by hand, and the amplitude that it predicts for the orbit just beyond the edge."""
    wanted = 8 * (depth - 1) * (5 * depth - 4) / 3
    (L,) = flip_coefficient().free_symbols
    assert np.isclose(float(flip_coefficient().subs(L, depth)), wanted)
    small = 1e-6
    _, (low, high), _ = solved(depth, 1 + small)
    # of x+ = -(1 + 2 small) x + ..., the square of the amplitude is 2 x 2 small / coefficient, to leading order
    assert np.isclose(((high - low) / 2) ** 2, 4 * small / wanted, rtol=1e-2)


@pytest.mark.short
@pytest.mark.parametrize("depth", [2, 3])
def test_imbalance_decays_on_the_orbit(depth):
    """Layers slightly apart: two steps multiply their difference by (2 - r) (2 - 1/r); for two layers 3 - 2 eta s."""
    eta, (low, _), named = solved(depth, 1.1)
    w = np.full(depth, low)
    w[:2] += [1e-7, -1e-7]
    for _ in range(2):
        products = np.array([np.prod(np.delete(w, layer)) for layer in range(depth)])
        w = w + eta * products * (1 - np.prod(w))
    factor = float(named["imbalance_factor"][0])
    assert np.isclose((w[0] - w[1]) / 2e-7, factor, rtol=1e-5) and abs(factor) < 1
    if depth == 2:
        assert np.isclose(factor, 3 - 2 * 1.1, rtol=1e-12)


@pytest.mark.short
def test_two_modes_rotate_beyond_their_common_edge():
    """2 x 2 matrices: off-diagonal entries decay at 0.99 and grow at 1.01 of 2 / (s_i + s_j), at the derived rate."""
    s = np.array([1.0, 0.8])
    targets = {positive("s_i"): s[0], positive("s_j"): s[1]}
    threshold = -float(rotation_threshold().equations[0].subs({**targets, positive("eta_c"): 0}))
    assert np.isclose(threshold, 2 / s.sum())
    for share, grows in ((0.99, False), (1.01, True)):
        eta, steps = share * threshold, 1200
        _, (low, _), _ = solved(2, eta)
        rng = np.random.default_rng(0)
        W1 = np.diag([low, 0.8**0.5]) + 1e-13 * rng.standard_normal((2, 2))
        W2 = np.diag([low, 0.8**0.5]) + 1e-13 * rng.standard_normal((2, 2))
        sizes = []
        for _ in range(steps):
            error = np.diag(s) - W2 @ W1
            W1, W2 = W1 + eta * W2.T @ error, W2 + eta * error @ W1.T
            sizes.append(np.linalg.norm((W2 @ W1)[[0, 1], [1, 0]]))
        # the envelope of the rotating pair, over windows long against its period
        first, last = max(sizes[100:200]), max(sizes[-100:])
        rate = (last / first) ** (1 / (steps - 200))
        wanted = -float(rotation_growth().equations[0].subs({**targets, LEARNING_RATE: eta, positive("g"): 0}))
        assert (rate > 1) == grows == (wanted > 1)
        assert abs(rate - wanted) < 2e-4


@pytest.mark.short
def test_period_doublings_follow_feigenbaum():
    for depth in (2, 3):
        found = doublings(depth, 5)
        assert found[0] == 2.0 and np.isclose(found[1], float(loss_of_stability(depth)), rtol=1e-12)
        assert abs((found[3] - found[2]) / (found[4] - found[3]) - 4.6692) < 0.02
    with pytest.raises(BadData, match="depth"):
        doublings(1)


@pytest.mark.short
@pytest.mark.parametrize("name", ["orbit", "contraction", "random_start"])
def test_trained_networks_sit_on_the_orbit(name):
    verdict = check(BeyondTheEdge(), name, seed=3)
    assert verdict.outcome == "holds" and verdict.rival_outcome == "refuted", str(verdict)


@pytest.mark.short
def test_faster_than_the_second_mode_allows_is_outside_the_domain():
    """eta (s_1 + s_2) > 2: the orbit of one mode exists and is stable by itself, yet the prediction does not apply."""
    theory = BeyondTheEdge()
    claim = theory.claim("orbit")

    fast = replace(claim, setup=claim.setup.at(learning_rate=2.25, steps=40, records=3))
    verdict = run_claim(theory, fast, seed=1).verdict
    assert verdict.outcome == "outside_domain" and "attracting orbit" in " ".join(verdict.notes)


@pytest.mark.short
def test_a_rate_that_diverges_says_that_the_theory_knew():
    theory = BeyondTheEdge()
    claim = theory.claim("orbit")
    with pytest.raises(OutsideDomain, match=r"not finite .*\(attracting orbit: 1.\d+, at most 1\).*2.9 in the unit"):
        run_claim(theory, replace(claim, setup=claim.setup.at(learning_rate=2.9, steps=400, records=3)))


@pytest.mark.short
@pytest.mark.parametrize("scale", [1e-2, 1e3])
def test_the_orbit_is_found_on_targets_of_any_scale(scale):
    rng = np.random.default_rng(0)
    x = rng.standard_normal((200, 6))
    y = scale * x @ np.diag([2.0, 1.0, 0.5, 0.3, 0.2, 0.1])
    verdict = check(BeyondTheEdge().on(x, y), "orbit")
    assert verdict.outcome == "holds" and verdict.rival_outcome == "refuted", str(verdict)


@pytest.mark.instant
def test_depths_that_make_no_sense():
    with pytest.raises(BadData, match="whole number from 2"):
        BeyondTheEdge(depth=1)
