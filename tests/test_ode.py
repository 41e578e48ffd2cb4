"""Integration: known solutions, convergence with tolerance, matrix flows, and a clear failure at a blow-up."""

import numpy as np
import pytest

from learning_mechanics.solvers.ode import integrate
from learning_mechanics.theory.errors import DidNotConverge
from learning_mechanics.theory.symbols import matrices, modes, over, scalars
from learning_mechanics.theory.system import Flow

u, v, s = scalars("u v s")


@pytest.mark.short
def test_logistic_and_oscillator():
    times = np.linspace(0, 10, 21)
    logistic = integrate(Flow((u,), (u * (1 - u),)), {"u": 0.01}, times)["u"]
    assert np.abs(logistic - 1 / (1 + 99 * np.exp(-times))).max() < 1e-9
    circle = integrate(Flow((u, v), (v, -u)), {"u": 1.0, "v": 0.0}, times)
    assert np.abs(circle["u"] - np.cos(times)).max() < 1e-9


@pytest.mark.short
def test_modes_couple_through_a_sum():
    c, lam = modes("c lambda")
    flow = Flow((c,), (-lam * c + over(lam * c),))
    rates, start, times = np.array([0.5, 1.0]), np.array([1.0, 2.0]), np.array([0.0, 1.5])
    matrix = np.ones((2, 1)) @ rates[None] - np.diag(rates)
    values, vectors = np.linalg.eig(matrix)
    exact = (vectors * np.exp(values * 1.5)) @ np.linalg.solve(vectors, start)
    assert np.abs(integrate(flow, {"c": start, "lambda": rates}, times)["c"][-1] - exact).max() < 1e-9


@pytest.mark.short
def test_matrix_flow():
    (A,) = (matrices(A=("n", "n")),)
    flow = Flow((A,), (A * A,))
    start = np.diag([0.1, -0.5])
    found = integrate(flow, {"A": start}, np.array([0.0, 2.0]))["A"][-1]
    assert np.abs(found - np.diag([0.1 / 0.8, -0.5 / 2.0])).max() < 1e-9


@pytest.mark.short
def test_a_blow_up_says_so():
    with pytest.raises(DidNotConverge, match="could not be integrated to t = 3"):
        integrate(Flow((u,), (u**2,)), {"u": 1.0}, np.array([0.0, 3.0]))
