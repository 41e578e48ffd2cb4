"""Diagonal linear networks against routes of their own: the flow in the weights, quadrature, descent by hand."""

from functools import partial

import mpmath
import numpy as np
import pytest
import sympy as sp
from scipy.integrate import solve_ivp

from learning_mechanics.solvers.implicit_bias import (
    descent_minimiser,
    homotopy,
    least_one_norm,
    minimiser,
    passages,
)
from learning_mechanics.solvers.recursion import iterate
from learning_mechanics.theory.dataset import Dataset
from learning_mechanics.theory.dynamics.products import diagonal_descent as descent
from learning_mechanics.theory.dynamics.products import diagonal_networks as theory
from learning_mechanics.theory.errors import BadData, DidNotConverge
from learning_mechanics.theory.models.products.diagonal_linear import DiagonalLinear
from learning_mechanics.theory.setup import Initialisation, Optimizer, Setup
from learning_mechanics.validate.experiments.train import train
from learning_mechanics.validate.judging.check import check

RNG = np.random.default_rng(7)
X, Y = RNG.standard_normal((6, 12)), RNG.standard_normal(6)


def flow_in_the_weights(alpha, depth, X=X, y=Y):
    """The end of dw_+- = -+ grad, integrated as the shift of each weight from alpha, so that no digits cancel.

    The local error is 1e-12 of each shift and about 1e3 to 1e4 steps are taken: 1e-8 of the coefficients is in reach.
    """
    d = X.shape[1]
    clock = 1 / (depth**2 * max(alpha, 1.0) ** (2 * depth - 2))  # the rate of the flow at large alpha

    def coefficients(shift):
        p, m = alpha + shift[:d], alpha + shift[d:]
        return (shift[:d] - shift[d:]) * sum(p**k * m ** (depth - 1 - k) for k in range(depth)), p, m

    def field(_, shift):
        beta, p, m = coefficients(shift)
        pull = depth * clock * X.T @ (y - X @ beta)
        return np.concatenate([p ** (depth - 1) * pull, -(m ** (depth - 1)) * pull])

    def settled(_, shift):
        return np.linalg.norm(y - X @ coefficients(shift)[0]) - 1e-10 * np.linalg.norm(y)

    settled.terminal = True
    size = 1e-14 * min(alpha, alpha ** (1 - depth))
    flow = solve_ivp(field, (0, 1e12), np.zeros(2 * d), method="LSODA", rtol=1e-12, atol=size, events=settled)
    assert flow.status == 1
    return coefficients(flow.y[:, -1])


@pytest.mark.short
@pytest.mark.parametrize("alpha", [1e-3, 1e-2, 0.1, 1.0, 10.0, 1e3])
def test_the_flow_ends_at_the_minimiser_of_the_potential(alpha):
    predicted = minimiser(theory.interpolator(2), {"X": X, "y": Y, "alpha": alpha})["beta"]
    reached, plus, minus = flow_in_the_weights(alpha, 2)
    scale = np.abs(reached).max()
    assert np.abs(predicted - reached).max() < 1e-8 * scale
    assert np.allclose(plus * minus, alpha**2, rtol=1e-8)
    wrong = minimiser(theory.interpolator(2), {"X": X, "y": Y, "alpha": 1.5 * alpha})["beta"]
    if alpha <= 1:  # at alpha = 10 the potential is l2 to 1e-4 already
        assert np.abs(wrong - reached).max() > 1e-5 * scale


@pytest.mark.short
@pytest.mark.parametrize("depth, alpha", [(3, 0.1), (3, 1.0), (4, 0.3), (5, 0.5)])
def test_deeper_networks_have_potentials_of_their_own(depth, alpha):
    predicted = minimiser(theory.interpolator(depth), {"X": X, "y": Y, "alpha": alpha})["beta"]
    reached, plus, minus = flow_in_the_weights(alpha, depth)
    scale = np.abs(reached).max()
    assert np.abs(predicted - reached).max() < 1e-8 * scale
    kept = plus ** (2 - depth) + minus ** (2 - depth)
    assert np.allclose(kept, 2 * alpha ** (2 - depth), rtol=1e-8)
    shallow = minimiser(theory.interpolator(2), {"X": X, "y": Y, "alpha": alpha ** (depth / 2)})["beta"]
    assert np.abs(shallow - reached).max() > 1e-3 * scale


@pytest.mark.instant
def test_the_potential_is_the_hypentropy():
    z = sp.Symbol("z", real=True)
    q = 2 - sp.sqrt(4 + z**2) + z * sp.asinh(z / 2)
    for alpha, beta in ((0.3, 1.2), (2.0, -0.7)):
        ours = theory.potential().subs({theory.alpha: alpha, theory.beta: beta})
        known = alpha**2 / 4 * q.subs(z, beta / alpha**2)
        assert abs(float(ours - known)) < 1e-14
    assert theory.limits() == (theory.beta**2 / 16, theory.beta / 4)


@pytest.mark.instant
@pytest.mark.parametrize("depth", [3, 4, 5])
def test_the_dual_potential_is_the_integral_of_the_known_response(depth):
    """beta = alpha^D ((1 - z)^(-D/(D-2)) - (1 + z)^(-D/(D-2))), z = D (D - 2) alpha^(D-2) G, and its quadrature."""
    alpha, power = 0.7, mpmath.mpf(depth) / (depth - 2)
    scale = depth * (depth - 2) * alpha ** (depth - 2)

    def known(G):
        return alpha**depth * ((1 - scale * G) ** -power - (1 + scale * G) ** -power)

    top = 0.6 / scale
    values = {theory.alpha: alpha, theory.G: top}
    assert abs(float(theory.response(depth).subs(values)) - known(top)) < 1e-13
    assert abs(float(theory.dual_potential(depth).subs(values)) - mpmath.quad(known, [0, top])) < 1e-13


@pytest.mark.instant
def test_extreme_starts_find_least_norms():
    values = {"X": X, "y": Y}
    euclidean = np.linalg.pinv(X) @ Y
    assert np.allclose(minimiser(theory.euclidean_interpolator(), values)["beta"], euclidean, rtol=1e-10)
    assert np.allclose(minimiser(theory.interpolator(2), {**values, "alpha": 1e3})["beta"], euclidean, atol=1e-9)
    sparse = least_one_norm(theory.sparsest_interpolator(), values)["beta"]
    assert (np.abs(sparse) > 1e-9).sum() == len(Y)
    # the approach is as slow as 1 / log(1/alpha): starts of 1e-3 are not sparse yet, those of 1e-75 are
    found = [minimiser(theory.interpolator(2), {**values, "alpha": a})["beta"] for a in (1e-1, 1e-3, 1e-24, 1e-75)]
    excess = np.array([np.abs(beta).sum() for beta in found]) - np.abs(sparse).sum()
    assert (np.diff(excess) < 0).all() and 0 < excess[-1] < 2e-4
    assert np.abs(found[-1] - sparse).max() < 0.02


@pytest.mark.instant
def test_what_cannot_be_interpolated_is_said():
    with pytest.raises(BadData, match="12 samples for 6 coordinates"):
        minimiser(theory.interpolator(2), {"X": X.T, "y": np.ones(12), "alpha": 1.0})
    with pytest.raises(DidNotConverge, match="independent rows"):
        minimiser(theory.interpolator(2), {"X": np.ones((2, 3)), "y": np.array([1.0, 2.0]), "alpha": 1.0})
    with pytest.raises(BadData, match="whole number from 2"):
        theory.coordinate_flow(1)


@pytest.mark.short
def test_descent_shrinks_the_start_as_predicted():
    """Gradient descent by hand: w_+ w_- itself, against the energy of the dual flow, at first order in the rate."""
    alpha, errors, shares = 0.4, [], []
    for rate in (4e-3, 2e-3):
        plus, minus = np.full(12, alpha), np.full(12, alpha)
        for _ in range(round(60 / rate)):
            pull = X.T @ (Y - X @ (plus**2 - minus**2))
            plus, minus = plus * (1 + 2 * rate * pull), minus * (1 - 2 * rate * pull)
        predicted = descent_minimiser(descent.effective_interpolator(), {"X": X, "y": Y, "alpha": alpha, "eta": rate})[
            "beta"
        ]
        plain = minimiser(theory.interpolator(2), {"X": X, "y": Y, "alpha": alpha})["beta"]
        reached = plus**2 - minus**2
        errors.append(np.abs(reached - predicted).max())
        shares.append(errors[-1] / np.abs(reached - plain).max())
        assert (plus * minus < alpha**2).all()
    assert 3.4 < errors[0] / errors[1] < 4.6  # second order
    assert shares[1] < 0.05


# the first input explains most and then too much: it appears, goes back to sleep, and comes back with the other sign
THREE = np.array([[0.7, 1.0, 0.0], [0.7, 0.0, 1.0], [0.5, 0.0, 0.0]])
TARGET = np.array([1.0, 0.8, -0.2])


@pytest.mark.short
def test_saddles_of_a_vanishing_start_against_the_flow():
    times, saddles, losses = homotopy(THREE, TARGET)
    signs = [tuple(np.sign(np.round(saddle, 12)).astype(int)) for saddle in saddles]
    assert signs == [(0, 0, 0), (1, 0, 0), (1, 1, 0), (0, 1, 1), (-1, 1, 1)]
    assert (np.diff(losses) < 0).all() and losses[-1] < 1e-25
    gaps = []
    gram = THREE.T @ THREE
    for folds in (100.0, 400.0):  # log 1/alpha; the logarithms of the weights are integrated

        def powers(logs, folds=folds):
            # trial steps of the implicit method may overshoot: no weight comes near e^5
            return np.exp(np.clip(2 * (logs - folds), -600, 10))

        def loss_and_pull(logs, powers=powers):
            residual = TARGET - THREE @ (powers(logs)[:3] - powers(logs)[3:])
            return (residual**2).sum() / 2, THREE.T @ residual

        def field(_, logs, loss_and_pull=loss_and_pull):
            pull = loss_and_pull(logs)[1]
            return np.concatenate([2 * pull, -2 * pull])

        def jacobian(_, logs, powers=powers):
            inner = gram * 2 * powers(logs)[:3], gram * 2 * powers(logs)[3:]
            return 2 * np.block([[-inner[0], inner[1]], [inner[0], -inner[1]]])

        price = folds / 2
        middles = price * np.append((times[1:] + times[:-1]) / 2, 1.2 * times[-1])
        flow = solve_ivp(
            field, (0, middles[-1]), np.zeros(6), method="Radau", jac=jacobian, rtol=1e-8, atol=1e-8, dense_output=True
        )
        for middle, saddle in zip(middles, saddles[1:], strict=True):
            reached = powers(flow.sol(middle))
            assert np.abs(reached[:3] - reached[3:] - saddle).max() < (2e-3 if folds == 400.0 else 0.1)
        grid = np.linspace(0, middles[-1], 10_001)
        curve = np.array([loss_and_pull(logs)[0] for logs in flow.sol(grid).T])
        seen = [grid[np.argmax(curve < level)] for level in (losses[1:] + losses[:-1]) / 2]
        gaps.append(np.abs(np.array(seen) / price - times).max())
    assert gaps[1] < gaps[0] / 3 < 0.05  # an error of order 1 / log(1/alpha)


@pytest.mark.instant
def test_times_of_passage_are_those_of_the_jumps():
    values = {"X": np.eye(2), "y": np.array([2.0, -1.0]), "alpha": 1e-10, "levels": (0.5, 0.1)}
    found = passages(theory.successive_jumps(2), values)["t"]
    # prices log(1/alpha)/2 at pulls 2 and 1; the loss falls from 2.5 to 0.5 to 0
    assert np.allclose(found, [np.log(1e10) / 4, np.log(1e10) / 2])
    cubic = passages(theory.successive_jumps(3), values)["t"]
    assert np.allclose(cubic, [1e10 / 6, 1e10 / 3])


@pytest.mark.short
def test_levels_are_passed_when_the_loss_says_so():
    """One linear coefficient under gradient descent: the loss is (1 - rate)^(2 k) exactly."""
    setup = Setup(
        network=theory.network(2),
        optimizer=Optimizer(learning_rate=1e-3),
        initialisation=Initialisation("constant", 30.0),  # lazy: dw is small, so L falls as exp(-2 x 8 alpha^2 t)
        steps=400,
        records=401,
        options={"levels": (0.5, 0.1)},
    ).at(learning_rate=1e-6)
    found = train(setup.draw(0, Dataset(np.ones((1, 1)), np.ones(1))), ["passage_times"])["passage_times"][-1]
    rate = -np.log1p(-8 * 30.0**2 * 1e-6) / 1e-6
    assert np.allclose(found, -np.log([0.5, 0.1]) / (2 * rate), rtol=2e-3)


@pytest.mark.long
@pytest.mark.parametrize("name", [claim.name for claim in DiagonalLinear().claims()])
def test_claims_hold(name):
    verdict = check(DiagonalLinear(), name)
    assert (verdict.outcome, verdict.rival_outcome) == ("holds", "refuted")


@pytest.mark.short
@pytest.mark.parametrize("depth", [2, 3, 4])
def test_everything_derived_has_a_trail_with_references(depth):
    for title, system in DiagonalLinear(depth=depth).derivations().items():
        assert system.trail.references, title
    assert partial(theory.conserved_quantity, depth)().free_symbols


@pytest.mark.instant
def test_descent_pays_the_price_in_factors():
    """One coordinate: w <- w (1 + 2 eta c) reaches order one after log(1/alpha) / log(1 + 2 eta c) steps."""
    rate, pull, start = 0.4, 0.9, 1e-12
    values = {"X": np.eye(1), "y": np.array([pull]), "alpha": start, "eta": rate, "levels": (0.5,)}
    found = passages(descent.successive_jumps_of_descent(), values)["t"]
    assert np.allclose(found, rate * np.log(1 / start) / np.log1p(2 * rate * pull))
    assert passages(theory.successive_jumps(2), values)["t"] < 0.8 * found


@pytest.mark.instant
def test_sign_descent_keeps_the_sum_of_the_weights():
    """By hand, against the derived recursion; a start of another size would be told apart."""
    plus, minus, b = np.full(12, 0.7), np.full(12, 0.7), np.zeros(12)
    equation = descent.sign_descent()
    for _ in range(50):
        sign = np.sign(X.T @ (Y - X @ (plus**2 - minus**2)))
        b = b + 4 * 0.7 * 2e-3 * np.sign(X.T @ (Y - X @ b))
        plus, minus = plus + 2e-3 * sign, minus - 2e-3 * sign
    assert np.allclose(plus + minus, 1.4, rtol=1e-13) and np.allclose(plus**2 - minus**2, b, atol=1e-12)
    inputs = {"X": X, "y": Y[:, None], "alpha": 0.7, "eta": 2e-3, "b": np.zeros((12, 1))}
    assert np.allclose(iterate(equation, inputs, np.array([0, 50]))["b"][-1, :, 0], b, atol=1e-12)


@pytest.mark.short
@pytest.mark.parametrize("claim", ["implicit_bias", "effective_start", "three_factors"])
def test_what_cannot_be_interpolated_is_refused_before_training(claim):
    import learning_mechanics as lm

    rng = np.random.default_rng(0)
    x = rng.standard_normal((40, 6))
    with pytest.raises(BadData, match="nothing interpolates them"):
        lm.check(lm.DiagonalLinear().on(x, x[:, :1]), claim)
