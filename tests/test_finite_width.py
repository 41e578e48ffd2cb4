"""Finite width: derived corrections against sampled networks, fits against planted coefficients and larger widths."""

from dataclasses import replace

import numpy as np
import pytest
import sympy as sp
from scipy.integrate import solve_ivp

from learning_mechanics.solvers.recursion import iterate
from learning_mechanics.solvers.regression.finite_width_fit import deviations, fit_widths
from learning_mechanics.theory.errors import BadData
from learning_mechanics.theory.lazy_limit.finite_width import (
    TARGET,
    TIME,
    first_correction,
    mean_flow,
    mean_map,
    one_network_map,
    own_numbers,
)
from learning_mechanics.theory.lazy_limit.finite_width_kernels import kernel_corrections
from learning_mechanics.theory.models.wide_networks.finite_width import FiniteWidth
from learning_mechanics.validate.judging.check import run_claim

ZERO = dict.fromkeys(map(str, mean_map().unknowns), 0.0)


def sampled(width, networks, rate, steps, target, seed):
    """Centred outputs (steps + 1, networks) of descent on every layer of one-input networks, written out."""
    rng = np.random.default_rng(seed)
    a, w = rng.standard_normal((2, networks, width))
    start = (a * w).sum(1) / np.sqrt(width)
    path = [np.zeros(networks)]
    for _ in range(steps):
        error = rate * (target - path[-1])[:, None] / np.sqrt(width)
        a, w = a + error * w, w + error * a
        path.append((a * w).sum(1) / np.sqrt(width) - start)
    return np.array(path)


@pytest.mark.instant
def test_one_network_is_two_numbers():
    rng = np.random.default_rng(4)
    weights = {"W1": rng.standard_normal((5, 1)), "W2": rng.standard_normal((1, 5))}
    a, w, rate = weights["W2"][0].copy(), weights["W1"][:, 0].copy(), 0.13
    values = {**own_numbers(weights), "s": 1.7, "eta": rate, "f": 0.0}
    path = iterate(one_network_map(), values, range(12))
    start = a @ w / np.sqrt(5)
    for k in range(12):
        assert path["f"][k] == pytest.approx(a @ w / np.sqrt(5) - start, abs=1e-13)
        assert path["kappa"][k] == pytest.approx((a @ a + w @ w) / 5, abs=1e-13)
        error = rate * (1.7 - a @ w / np.sqrt(5) + start) / np.sqrt(5)
        a, w = a + error * w, w + error * a


@pytest.mark.instant
def test_small_steps_give_the_closed_form():
    times = np.linspace(0, 3, 7)
    names, (u, v, c) = ("u", "v", "c"), mean_flow().unknowns
    rates = sp.lambdify((u, v, c), [e.subs(TARGET, 1.4) for e in mean_flow().equations])
    path = solve_ivp(lambda _, y: rates(*y), (0, 3), [0, 0, 0], "DOP853", t_eval=times, rtol=1e-12, atol=1e-13).y
    closed = sp.lambdify(TIME, first_correction().subs(TARGET, 1.4), "numpy")(times)
    assert np.abs(path[names.index("c")] - closed).max() < 1e-10
    steps = np.round(times / 1e-3).astype(int)
    discrete = iterate(mean_map(), {**ZERO, "s": 1.4, "eta": 1e-3}, steps)["c"]
    assert np.abs(discrete - closed).max() < 2e-3


@pytest.mark.short
@pytest.mark.parametrize(("width", "target"), [(16, 1.0), (160, 4.0)])
def test_mean_and_scatter_against_sampled_networks(width, target):
    """|z| < 4 at four times: a false alarm in 5000. What is left out is smaller by (1 + s^2) / N.

    Small targets are learned late by chance, large ones early by the movement of the kernel; near 2.5 both cancel.
    """
    networks, rate = 20_000, 0.05
    steps = np.array([10, 20, 30, 40])
    path = sampled(width, networks, rate, 40, target, seed=width)[steps]
    theory = iterate(mean_map(), {**ZERO, "s": target, "eta": rate}, steps)
    infinite, mean = theory["u"], theory["u"] + theory["c"] / width
    error = path.std(1) / np.sqrt(networks)
    beyond = (1 + target**2) / width * np.abs(mean - infinite).max()
    assert (np.abs(path.mean(1) - mean) < 4 * error + beyond).all()
    assert (np.abs(path.mean(1) - infinite) > 4 * error + beyond).any()
    late = np.sign(mean - infinite)[np.argmax(np.abs(mean - infinite))]
    assert late == (-1 if target < 2 else 1)
    assert path.std(1)[:2] == pytest.approx(2 * theory["v"][:2] / np.sqrt(width), rel=6 / width + 0.03)


@pytest.mark.short
def test_what_a_network_owes_to_chance_averages_to_zero_and_leaves_less():
    """Scatter about the infinite width, own kernel taken out to either order: slopes -1/2 and -3/2 in width."""
    widths, rest = (32, 128, 512), []
    for width in widths:
        rng = np.random.default_rng(width)
        a, w = rng.standard_normal((2, 4000, width))
        kappa, h_0 = (a**2 + w**2).sum(1) / width, (a * w).sum(1) / np.sqrt(width)
        f, k = np.zeros(4000), kappa
        for _ in range(20):
            D = 1 - f
            f, k = (
                f + 0.05 * D * k + 0.05**2 * D**2 * (f + h_0) / width,
                k + (0.2 * D * (f + h_0) + 0.05**2 * D**2 * k) / width,
            )
        end = {name: value[-1] for name, value in iterate(mean_map(), {**ZERO, "s": 1.0, "eta": 0.05}, [0, 20]).items()}
        xi = (kappa - 2) * np.sqrt(width)
        chance = end["v"] * xi / np.sqrt(width) + (end["r"] * (xi**2 - 4) + end["b"] * h_0) / width
        rest.append([np.std(f), np.std(f - chance)])
        assert abs(chance.mean()) < 4 * chance.std() / np.sqrt(4000)
    slopes = np.polyfit(np.log(widths), np.log(rest), 1)[0]
    assert slopes == pytest.approx([-0.5, -1.5], abs=0.1)


def sampled_kernels(width, depth, networks, inputs, w_std, b_std, seed):
    """Kernels (A, B, C) of the last pre-activations of tanh networks, every weight and bias drawn: (networks, 3)."""
    rng = np.random.default_rng(seed)
    features = np.broadcast_to(np.linalg.cholesky(inputs).T, (networks, 2, 2))  # (unit, input): their Gram is `inputs`
    kernel = inputs
    for layer in range(depth - 1):
        fan_in = features.shape[1]
        weight = rng.standard_normal((networks, width, fan_in)) * (w_std / np.sqrt(fan_in) if layer else 1.0)
        bias = rng.standard_normal((networks, width, 1)) * (b_std if layer else 0.0)
        features = np.tanh(weight @ features + bias)
        kernel = w_std**2 * np.einsum("sna,snb->sab", features, features) / width + b_std**2
    return np.stack([kernel[:, 0, 0], kernel[:, 1, 1], kernel[:, 0, 1]], axis=1)


@pytest.mark.short
@pytest.mark.parametrize(("depth", "width", "networks"), [(2, 10, 20_000), (4, 20, 15_000)])
def test_kernels_of_deep_networks_against_sampled_weights(depth, width, networks):
    """|z| < 4 for three means: a false alarm in 5000. Covariances within a tenth and their own noise."""
    inputs = np.array([[1.5, 0.6], [0.6, 0.8]])
    law = kernel_corrections("tanh", np.array([1.5, 0.8, 0.6]), depth, 1.4, 0.2)
    found = sampled_kernels(width, depth, networks, inputs, 1.4, 0.2, seed=depth)
    error = found.std(0) / np.sqrt(networks)
    mean, scatter = law.at(width)
    beyond = 3 / width * np.abs(law.bias).max() / width
    assert (np.abs(found.mean(0) - mean) < 4 * error + beyond).all()
    if depth > 2:
        assert (np.abs(found.mean(0) - law.limit) > 4 * error + beyond).any()
    else:
        assert np.abs(law.bias).max() == 0
    assert found.std(0) == pytest.approx(scatter, rel=0.1 if depth == 2 else 0.2)


@pytest.mark.instant
def test_kernels_of_linear_and_cubic_networks_by_hand():
    """One hidden layer: Cov of averages of u^2, v^2, u v by Wick; depth 4 linear: E A^2 = A^2 (1 + 2/N)^3."""
    A, B, C = 1.3, 0.7, -0.4
    one = kernel_corrections("identity", np.array([A, B, C]), 2)
    by_wick = [[2 * A**2, 2 * C**2, 2 * A * C], [2 * C**2, 2 * B**2, 2 * B * C], [2 * A * C, 2 * B * C, A * B + C**2]]
    assert np.abs(one.covariance - by_wick).max() < 1e-12
    deep = kernel_corrections("identity", np.array([A, B, C]), 4)
    assert np.abs(deep.bias).max() < 1e-12 and deep.covariance[0, 0] == pytest.approx(6 * A**2)
    square = kernel_corrections("power(2)", np.array([A, B, C]), 3)
    # E z^4 = 3 S^2, so that the mean of the second layer is 3 E S'^2 with E S' = 3 A^2 and Var S' = (105 - 9) A^4 / N
    assert square.limit[0] == pytest.approx(3 * (3 * A**2) ** 2)
    assert square.bias[0] == pytest.approx(3 * 96 * A**4)


@pytest.mark.instant
def test_kernel_corrections_refuse_by_name():
    for activation, inputs, message in (
        ("relu", [1.0, 1.0, 0.5], "relu has a kink"),
        ("tanh", [1.0, 1.0, 1.0], "covariance 1, 1, 1"),
        (np.tanh, [1.0, 1.0, 0.5], "no formula"),
    ):
        with pytest.raises(BadData, match=message):
            kernel_corrections(activation, np.array(inputs), 3)


WIDTHS = np.array([8.0, 16.0, 32.0, 64.0, 128.0])


@pytest.mark.instant
def test_fit_recovers_planted_coefficients_and_its_errors_are_right():
    """Of 400 fits 95 % of the intervals hold the truth (370 to 390 within 2.3 standard deviations)."""
    rng = np.random.default_rng(12)
    truth, noise = np.array([-1.3, 2.0]), 1e-3 * np.sqrt(8 / WIDTHS)
    clean = truth[0] / WIDTHS + truth[1] / WIDTHS**2
    held = np.zeros(2)
    chi_square = []
    for _ in range(400):
        fit = fit_widths(WIDTHS, clean + noise * rng.standard_normal(5), noise)
        # without the widening for bad fits, whose chance this test is not about
        interval = fit.intervals / np.sqrt(max(1.0, fit.chi_square))
        held += np.abs(fit.coefficients - truth) < interval
        chi_square.append(fit.chi_square)
    assert (held >= 370).all() and (held <= 390).all()
    assert np.mean(chi_square) == pytest.approx(1.0, abs=0.15)


@pytest.mark.instant
def test_a_wrong_order_is_seen_by_the_fit_and_widens_its_forecast():
    noise = np.full(5, 1e-5)
    wrong = fit_widths(WIDTHS, 0.4 / np.sqrt(WIDTHS), noise)
    right = fit_widths(WIDTHS, 0.4 / np.sqrt(WIDTHS), noise, exponents=(0.5,))
    assert wrong.p_value < 1e-6 < right.p_value and right.coefficients[0] == pytest.approx(0.4)
    value, half = wrong.at(512.0)
    assert abs(value - 0.4 / np.sqrt(512)) > half / 10 and half > 100 * noise[0]
    assert "calibrated" in str(right)


@pytest.mark.instant
def test_fit_refuses_by_name():
    with pytest.raises(BadData, match="2 widths for 2 coefficients"):
        fit_widths([8, 16], [0.1, 0.05], [0.01, 0.01])
    with pytest.raises(BadData, match="positive error"):
        fit_widths([8, 16, 32], [0.1, 0.05, 0.02], [0.01, 0.0, 0.01])
    with pytest.raises(BadData, match="not finite"):
        fit_widths([8, 16, 32], [0.1, np.nan, 0.02], [0.01, 0.01, 0.01])
    with pytest.raises(BadData, match="1 network of width 4"):
        deviations({4: np.array([1.0])}, 0.0)


def losses(width, networks, seed, steps=12):
    """Losses after descent of centred two-layer tanh networks on four points, all networks at once."""
    rng = np.random.default_rng(seed)
    x = np.array([[1.0, 0.2], [-0.3, 0.8], [0.5, -1.0], [-1.1, -0.4]])
    y = np.array([0.7, -0.5, 0.3, 0.2])
    w, a = rng.standard_normal((networks, width, 2)), rng.standard_normal((networks, width))
    h = lambda w, a: np.einsum("sk,skp->sp", a, np.tanh(w @ x.T / np.sqrt(2))) / np.sqrt(width)  # noqa: E731
    start = h(w, a)
    for _ in range(steps):
        phi = np.tanh(w @ x.T / np.sqrt(2))
        error = 0.5 * (y + start - h(w, a)) / 4 / np.sqrt(width)
        through = error[:, None, :] * (1 - phi**2) * a[:, :, None]
        w, a = w + through @ x / np.sqrt(2), a + np.einsum("skp,sp->sk", phi, error)
    return ((y + start - h(w, a)) ** 2).mean(1) / 2


def limit_loss(steps=12):
    """The same at infinite width: the tangent kernel by Gauss-Hermite quadrature, descent on it written out."""
    x = np.array([[1.0, 0.2], [-0.3, 0.8], [0.5, -1.0], [-1.1, -0.4]])
    y = np.array([0.7, -0.5, 0.3, 0.2])
    nodes, weights = np.polynomial.hermite_e.hermegauss(80)
    weights = weights / weights.sum()
    first, second = np.meshgrid(nodes, nodes)
    u = (first[..., None] * x[:, 0] + second[..., None] * x[:, 1]) / np.sqrt(2)
    both = np.multiply.outer(weights, weights)
    phi, slope = np.tanh(u), 1 - np.tanh(u) ** 2
    mean = lambda f: np.einsum("ij,ijp,ijq->pq", both, f, f)  # noqa: E731
    kernel = mean(phi) + mean(slope) * (x @ x.T) / 2
    left = np.linalg.matrix_power(np.eye(4) - 0.5 * kernel / 4, steps) @ y
    return (left**2).mean() / 2


@pytest.mark.short
def test_corrections_fitted_on_small_widths_forecast_larger_ones():
    """Nonlinear networks: mean loss fitted at 8 to 48, tested at 128; scatter of one wide network, slope -1/2."""
    limit = limit_loss()
    fitted = {width: losses(width, 6000, width) for width in (8, 12, 16, 24, 32, 48)}
    fit = fit_widths(*deviations(fitted, limit))
    forecast, half = fit.at(128.0)
    wide = {128: losses(128, 3000, 1), 384: losses(384, 1000, 2)}
    _, measured, error = deviations({128: wide[128]}, limit)
    assert abs(forecast - measured[0]) < half + 4 * error[0]
    assert half < 0.35 * abs(forecast)  # an interval that says something
    assert abs(measured[0]) > 6 * error[0]  # and a deviation to be forecast
    scatter = [values.std() for values in (fitted[48], wide[128], wide[384])]
    assert np.polyfit(np.log([48, 128, 384]), np.log(scatter), 1)[0] == pytest.approx(-0.5, abs=0.1)


@pytest.mark.short
@pytest.mark.parametrize("claim", [claim.name for claim in FiniteWidth().claims()])
def test_claims_turn_out_as_announced(claim):
    """The stochastic one raises a false alarm in at most 1 % of seeds."""
    assert run_claim(FiniteWidth(), claim).verdict.as_expected


@pytest.mark.short
def test_a_planted_correction_is_refuted():
    """Twice the derived c_1 in the place of c_1."""
    claim = FiniteWidth().claim("mean_correction")
    doubled = mean_map().observables["own_mean"] + mean_map().observables["mean"] - mean_map().observables["infinite"]
    planted = replace(claim, seeds=60, law=replace(claim.law, name="planted", readout=doubled))
    assert run_claim(FiniteWidth(), planted).verdict.outcome == "refuted"
