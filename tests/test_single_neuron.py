"""The single neuron: derived flows and the explicit solution against integrated weights, on any data and rates."""

import numpy as np
import pytest
from scipy.integrate import solve_ivp

from learning_mechanics.solvers.compile import compile
from learning_mechanics.solvers.ode import integrate
from learning_mechanics.theory.dynamics.products import single_neuron as neuron
from learning_mechanics.theory.symbols import positive

TIMES = np.linspace(0, 6, 25)


def weights_over_time(a, w, covariance, target, rates, times=TIMES):
    """Integrated weights (T, 1 + d), written down from the loss 1/2 (a w - b)' S (a w - b) by hand."""
    eta_a, eta_w = rates

    def field(_, q):
        error = covariance @ (target - q[0] * q[1:])
        return np.concatenate([[eta_a * q[1:] @ error], eta_w * q[0] * error])

    solved = solve_ivp(field, (0, times[-1]), [a, *w], "DOP853", times, rtol=1e-12, atol=1e-14)
    return solved.y.T


def explicit(a, w, target, rates, times=TIMES):
    """Norm and cosine from the explicit solution, evaluated from the weights at the start."""
    eta_a, eta_w = rates
    B, size = np.linalg.norm(target), np.linalg.norm(w)
    cosine = w @ target / (B * size)
    values = {
        "tau": times,
        "x_1": size * cosine / np.sqrt(eta_w),
        "x_2": size * np.sqrt(1 - cosine**2) / np.sqrt(eta_w),
        "y": a / np.sqrt(eta_a),
        "B": B,
        "c": np.sqrt(eta_a * eta_w),
        "delta": (eta_w * a**2 - eta_a * size**2) or 1e-300,
    }
    system = neuron.explicit_neuron()
    symbols = sorted(set().union(*(e.free_symbols for e in system.observables.values())), key=str)
    read = compile([system.observables["mu"], system.observables["phi"]], symbols, backend="numpy")
    return read(*(values[str(symbol)] for symbol in symbols))


CASES = [(0.2, 0.5, (1.0, 1.0)), (2.0, 0.3, (1.0, 1.0)), (0.7, 0.7, (1.0, 1.0)), (0.4, 0.9, (0.25, 3.0))]


@pytest.mark.short
@pytest.mark.parametrize("a, size, rates", CASES)
def test_the_explicit_solution_is_the_integrated_one(a, size, rates):
    rng = np.random.default_rng(0)
    w, target = rng.standard_normal(4), rng.standard_normal(4)
    w *= size / np.linalg.norm(w)
    found = weights_over_time(a, w, np.eye(4), target, rates)
    beta = found[:, :1] * found[:, 1:]
    norm = np.linalg.norm(beta, axis=1)
    mu, phi = explicit(a, w, target, rates)
    assert np.abs(mu - norm).max() < 1e-9
    assert np.abs(phi - beta @ target / norm / np.linalg.norm(target)).max() < 1e-9


@pytest.mark.short
@pytest.mark.parametrize("a, size, rates", CASES)
def test_late_times_are_finite_and_learned(a, size, rates):
    target = np.array([1.5, 0.0])
    mu, phi = explicit(a, size * np.array([0.6, 0.8]), target, rates, np.array([0.0, 1e2, 1e4, 1e6]))
    assert np.allclose(mu[2:], 1.5, atol=1e-12) and np.allclose(phi[2:], 1, atol=1e-12)


@pytest.mark.short
@pytest.mark.parametrize("a, size, rates", CASES)
def test_the_function_has_its_own_flow_on_any_data(a, size, rates):
    rng = np.random.default_rng(1)
    eigenvalues, w, target = rng.uniform(0.2, 2, 4), rng.standard_normal(4), rng.standard_normal(4)
    w *= size / np.linalg.norm(w)
    found = weights_over_time(a, w, np.diag(eigenvalues), target, rates)
    eta_a, eta_w = rates
    values = {"lambda": eigenvalues, "b": target, "beta": a * w, "eta_a": eta_a, "eta_w": eta_w}
    values["delta"] = eta_w * a**2 - eta_a * size**2
    beta = integrate(neuron.function_flow(), values, TIMES, tolerance=1e-11)["beta"]
    assert np.abs(beta - found[:, :1] * found[:, 1:]).max() < 1e-8


@pytest.mark.instant
def test_macroscopic_equations_are_those_of_the_paper():
    import sympy as sp

    mu, B, eta_a, eta_w = positive("mu B eta_a eta_w")
    phi, delta = sp.symbols("phi delta", real=True)
    kappa = sp.sqrt(delta**2 + 4 * eta_a * eta_w * mu**2)
    expected = (kappa * (phi * B - mu), (delta + kappa) / (2 * mu) * B * (1 - phi**2))
    for found, paper in zip(neuron.macroscopic_flow().equations, expected, strict=True):
        assert sp.simplify(found - paper) == 0


@pytest.mark.instant
def test_the_turn_of_the_kernel_from_the_kernels_themselves():
    rng, d, delta = np.random.default_rng(2), 5, 0.7
    start, target = 0.3 * rng.standard_normal(d), rng.standard_normal(d)

    def kernel(beta):
        a2 = (delta + np.sqrt(delta**2 + 4 * beta @ beta)) / 2
        return a2 * np.eye(d) + np.outer(beta, beta) / a2

    first, last = kernel(start), kernel(target)
    expected = 1 - (first * last).sum() / np.linalg.norm(first) / np.linalg.norm(last)
    system = neuron.kernel_distance()
    mu, B = np.linalg.norm(start), np.linalg.norm(target)
    values = {"mu": mu, "B": B, "phi": start @ target / mu / B, "delta": delta, "d": d, "eta_a": 1, "eta_w": 1, "S": 0}
    residual = system.equations[0].subs({s: values[str(s)] for s in system.equations[0].free_symbols})
    assert abs(-float(residual) - expected) < 1e-12


@pytest.mark.instant
def test_a_drift_of_the_imbalance_moves_the_forecast_by_less_than_the_budget_allows():
    """d(distance)/d(imbalance at the end), by kernels written out as matrices' traces: 1.5 at most."""
    rng, h = np.random.default_rng(4), 1e-5

    def parts(imbalance, norm):
        total = np.sqrt(imbalance**2 + 4 * norm**2)
        return (total + imbalance) / 2, (total - imbalance) / 2

    def product(first, second, cosine, d):
        return d * first[0] * second[0] + first[0] * second[1] + first[1] * second[0] + first[1] * second[1] * cosine**2

    target, cosine = rng.uniform(0.1, 1, 20_000), rng.uniform(-1, 1, 20_000)
    steepest = []
    for d in (2, 20, 61, 300):
        for imbalance in (-1.0, -0.2, 0.2, 1.0, 4.0):
            start = parts(imbalance, 0.1)

            def turned(end, start=start, d=d):
                lengths = np.sqrt(product(start, start, 1, d) * product(end, end, 1, d))
                return 1 - product(start, end, cosine, d) / lengths

            slope = (turned(parts(imbalance + h, target)) - turned(parts(imbalance - h, target))) / (2 * h)
            steepest.append(np.abs(slope).max())
    assert 1 < max(steepest) < 1.5


def test_labels_of_one_parity_are_refused_in_a_line():
    import learning_mechanics as lm

    x = np.random.default_rng(0).standard_normal((100, 5))
    with pytest.raises(lm.errors.BadData, match="labels of which some are odd"):
        lm.check(lm.SingleNeuron().on(x, 1.0 - 2.0 * (x[:, 0] > 0)), "norm")  # signs are both odd
