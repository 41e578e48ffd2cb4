"""Alternating gradient flow against routes of its own: the homotopy, singular values, blow-up, training by hand."""

import jax.numpy as jnp
import numpy as np
import pytest
import sympy as sp

from learning_mechanics.solvers.alternating_flow import Units, alternating_flow, passages
from learning_mechanics.solvers.implicit_bias import homotopy
from learning_mechanics.theory.dynamics.products.alternating_flow import (
    degree_of,
    jump_times,
    linear_units,
    norm_flow,
    power_units,
)
from learning_mechanics.theory.errors import BadData
from learning_mechanics.theory.models.products.alternating_gradient_flow import AlternatingGradientFlow
from learning_mechanics.validate.judging.check import check

RNG = np.random.default_rng(3)


def entries(x):
    """Units of a diagonal network: w^2 times a signed column."""
    columns = np.concatenate([x.T, -x.T])[:, :, None]
    return lambda w: w[:, None, :] ** 2 * columns


def neurons(x):
    """Units of two linear layers, (w, a)."""
    d = x.shape[1]
    return lambda theta: (x @ theta[:, :d].T).T[:, :, None] * theta[:, None, d:]


@pytest.mark.short
def test_diagonal_networks_follow_the_homotopy():
    """Also through a coordinate that goes back to sleep and returns with the other sign."""
    x, y = np.array([[0.7, 1.0, 0.0], [0.7, 0.0, 1.0], [0.5, 0.0, 0.0]]), np.array([1.0, 0.8, -0.2])
    times, saddles, losses = homotopy(x / np.sqrt(3), y / np.sqrt(3))
    path = alternating_flow(Units(entries(x), y[:, None], degree=2), np.ones((6, 1)))
    # the price of a unit is log(1/epsilon)/2 in int U, that of a coordinate the same in int X'r: one clock
    assert np.allclose(path.times, times, rtol=1e-6)
    assert np.allclose(path.losses, losses, atol=1e-9)
    assert path.woken == (0, 1, 2, 3)
    assert np.allclose((path.parameters[..., 0] ** 2) @ np.vstack([np.eye(3), -np.eye(3)]), saddles, atol=1e-5)


@pytest.mark.short
def test_white_linear_layers_learn_singular_modes():
    strengths = np.array([3.0, 2.0, 1.0])
    left, right = (np.linalg.qr(RNG.standard_normal((size, 3)))[0] for size in (4, 5))
    x = np.linalg.qr(RNG.standard_normal((30, 5)))[0] * np.sqrt(30)
    y = x @ right @ np.diag(strengths) @ left.T
    path = alternating_flow(Units(neurons(x), y, degree=2, exchangeable=True), RNG.standard_normal((3, 9)))
    assert np.allclose(path.times, 2 / strengths, rtol=1e-7)  # log(1/epsilon)/2 is paid at the rate s/2
    assert np.allclose(path.losses, [7.0, 2.5, 0.5, 0.0], atol=1e-8)
    assert np.allclose(path.passages((0.9, 0.3, 0.01)), 2 / strengths, rtol=1e-7)


@pytest.mark.short
def test_linear_layers_on_correlated_inputs_against_training():
    """Three modes learned by gradient descent in NumPy, at two starts: the error over log(1/epsilon) halves."""
    rng = np.random.default_rng(5)
    x = (
        rng.standard_normal((40, 6))
        * np.array([1.4, 1.2, 1.0, 1.0, 0.8, 0.7])
        @ np.linalg.qr(rng.standard_normal((6, 6)))[0]
    )
    y = x @ np.linalg.qr(rng.standard_normal((6, 3)))[0] @ np.diag([2.0, 1.0, 0.4])
    path = alternating_flow(Units(neurons(x), y, degree=2, exchangeable=True), rng.standard_normal((3, 9)))
    Sxx, Syx = x.T @ x / 40, y.T @ x / 40
    halfway = (path.losses[1:] + path.losses[:-1]) / 2
    gaps, rate = [], 0.004
    first, second = rng.standard_normal((4, 6)), rng.standard_normal((3, 4))
    for folds in (10.0, 20.0):
        W1, W2, seen, step = np.exp(-folds) * first, np.exp(-folds) * second, [], 0
        while len(seen) < 3:
            error = Syx - W2 @ W1 @ Sxx
            W1, W2 = W1 + rate * W2.T @ error, W2 + rate * error @ W1.T
            step += 1
            loss = ((y - x @ (W2 @ W1).T) ** 2).sum() / 80
            while len(seen) < 3 and loss < halfway[len(seen)]:
                seen.append(rate * step)
        gaps.append(np.array(seen) / (folds / 2) - path.times)
    assert (np.abs(gaps[1]) < 0.62 * np.abs(gaps[0])).all()
    assert (np.abs(gaps[1]) < 0.25 * path.times).all()
    white = 2 / np.linalg.svd(Syx, compute_uv=False)[:3]
    assert abs(white[2] / path.times[2] - 1) > 0.02  # the third utility is not the one it starts with


@pytest.mark.instant
def test_cubic_units_wake_at_the_inverse_of_their_start():
    """Orthogonal inputs: w' = 3 c w^2 blows up at 1/(3 c epsilon), to leading order."""
    x, y = np.sqrt(2) * np.eye(2), np.sqrt(2) * np.array([[0.5], [-0.2]])
    columns = x.T[:, :, None]
    values = {
        "own": {"x": np.concatenate([columns, -columns])},
        "y": y,
        "rows": x,
        "shapes": {"w": (1, 1)},
        "units": 4,
        "degree": 3,
        "epsilon": 1e-3,
        "levels": (0.5, 0.1),
    }
    found = passages(power_units(3), values)["t"]
    assert np.allclose(found, [1 / (3 * 0.5 * 1e-3), 1 / (3 * 0.2 * 1e-3)], rtol=1e-9)


@pytest.mark.short
def test_modular_addition_is_learned_by_frequency():
    """Quadratic neurons a (u x_a + v x_b)^2: the utility of frequency k is |x_k|^3, so the strongest wakes first."""
    p, angle = 5, 2 * np.pi * np.arange(5) / 5
    parts = {k: size * np.cos(k * angle + k) for k, size in {1: 1.0, 2: 1.5}.items()}
    shifts = {k: np.array([np.roll(part, a) for a in range(p)]) for k, part in parts.items()}
    a, b = (grid.ravel() for grid in np.meshgrid(np.arange(p), np.arange(p), indexing="ij"))
    code = shifts[1] + shifts[2]
    x = np.concatenate([code[a], code[b]], axis=1)

    def outputs(theta):
        return (x @ theta[:, : 2 * p].T).T[:, :, None] ** 2 * theta[:, None, 2 * p :]

    start, first = RNG.standard_normal((6, 3 * p)), {}
    for name, target in {"all": code, 1: shifts[1], 2: shifts[2]}.items():
        first[name] = alternating_flow(Units(outputs, target[(a + b) % p], degree=3), start, most=1)
    assert np.isclose(first[2].utilities[0] / first[1].utilities[0], 1.5**3, rtol=1e-6)
    assert np.isclose(first["all"].utilities[0], first[2].utilities[0], rtol=1e-6)
    woken = first["all"].parameters[1][first["all"].woken[0], 2 * p :]
    spectrum = np.abs(np.fft.rfft(woken))
    assert spectrum[2] > 100 * spectrum[1]


@pytest.mark.instant
def test_prices_of_single_units_decide_between_equals():
    units = Units(lambda w: jnp.stack([w**2, w**2]).sum(0)[:, None, :] / 2, np.array([[1.0]]), degree=2)
    path = alternating_flow(units, np.ones((3, 1)), prices=np.array([1.0, 0.5, 2.0]))
    assert path.woken == (1,) and np.isclose(path.times[0], 0.5) and path.losses[-1] < 1e-12


@pytest.mark.instant
def test_thresholds_are_derived_from_homogeneity():
    t, U, epsilon = (sp.Symbol(name, positive=True) for name in ("t", "U", "epsilon"))
    for degree, price in ((2, sp.log(1 / epsilon)), (3, 1 / epsilon), (5, epsilon**-3 / 3)):
        equation = jump_times(degree).equations[0]
        known = degree * U * t - price
        point = {"t": 0.7, "U": 1.3, "epsilon": 0.01}
        value = equation.subs({symbol: point[str(symbol)] for symbol in equation.free_symbols})
        assert abs(float(value - known.subs({t: 0.7, U: 1.3, epsilon: 0.01}))) < 1e-9
    assert linear_units().trail.references and power_units(4).trail.references
    w, v = sp.symbols("w v", real=True)
    with pytest.raises(BadData, match="not homogeneous"):
        degree_of(w * v + w, (w, v))
    with pytest.raises(BadData, match="whole number from 2"):
        norm_flow(1)


@pytest.mark.long
@pytest.mark.parametrize("name", [claim.name for claim in AlternatingGradientFlow().claims()])
def test_claims_hold(name):
    verdict = check(AlternatingGradientFlow(), name)
    assert (verdict.outcome, verdict.rival_outcome) == ("holds", "refuted")


@pytest.mark.instant
def test_a_level_that_is_never_passed_is_said():
    units = Units(entries(np.eye(2)), np.array([[1.0], [0.5]]), degree=2)
    path = alternating_flow(units, np.ones((4, 1)), most=1)
    assert path.passages((0.9,), floor=0.0).shape == (1,)
    with pytest.raises(BadData, match="more units"):
        path.passages((0.01,), floor=0.0)


@pytest.mark.instant
def test_descent_grows_units_by_factors():
    """Gradient descent multiplies a norm by 1 + 2 eta U each step; found here by multiplying."""
    equation, rate, utility, start = linear_units().equations[0], 0.3, 0.7, 1e-8
    norm, steps = start, 0
    while norm * (1 + 2 * rate * utility) < 1:
        norm, steps = norm * (1 + 2 * rate * utility), steps + 1
    values = {"eta": rate, "U": utility, "epsilon": start}
    (time,) = sp.solve(equation, linear_units().unknowns[0])
    predicted = float(time.subs({symbol: values[str(symbol)] for symbol in time.free_symbols}))
    assert steps <= predicted / rate < steps + 1
