"""Generalisation from finite samples: the spectrum, the risk in time and the best time, by independent routes."""

from math import comb

import numpy as np
import pytest
import sympy as sp

from learning_mechanics.theory.dynamics.finite_sample import best_time, density, edges, eigenvalue_modes, sample_risk
from learning_mechanics.theory.errors import BadData


@pytest.mark.instant
@pytest.mark.parametrize("ratio", [0.1, 0.5, 1.0, 2.0, 5.0])
def test_moments_of_the_density_are_narayana_sums(ratio):
    """int rho l^k = sum_r gamma^r N(k, r + 1), N(k, r) = binom(k, r) binom(k, r - 1)/k: counted, not integrated."""
    found = eigenvalue_modes(ratio)
    assert abs(found["rho"].sum() - 1) < 1e-9 if ratio != 1 else abs(found["rho"].sum() - 1) < 1e-3
    for k in (1, 2, 3, 4):
        exact = sum(ratio**r * comb(k, r + 1) * comb(k, r) / k for r in range(k))
        assert abs((found["rho"] * found["l"] ** k).sum() - exact) < 1e-9 * exact


@pytest.mark.instant
def test_the_derived_density_integrates_to_one_between_its_edges():
    value = {"gamma": 0.4}
    low, high = (float(edge.subs({s: 0.4 for s in edge.free_symbols})) for edge in edges())
    expression = density()
    (name,) = [s for s in expression.free_symbols if str(s) == "l"]
    function = sp.lambdify(name, expression.subs({s: value[str(s)] for s in expression.free_symbols - {name}}))
    nodes, weights = np.polynomial.legendre.leggauss(400)
    angle = (nodes + 1) * np.pi / 2
    points = (low + high) / 2 + (high - low) / 2 * np.cos(angle)
    total = (weights * np.pi / 2 * function(points) * (high - low) / 2 * np.sin(angle)).sum()
    assert abs(total - 1) < 1e-10


@pytest.mark.instant
@pytest.mark.parametrize("ratio, features", [(0.5, 20), (1.0, 20), (2.0, 20), (0.5, 6)])
def test_moments_of_finite_samples_are_those_of_wishart_matrices(ratio, features):
    """E tr S^k / D for n = D/gamma real Gaussian samples: sums over pairings, exact at any D (Wick's theorem)."""
    found, D = eigenvalue_modes(ratio, features=features), features
    n = D / ratio
    exact = {1: 1.0, 2: (n + D + 1) / n, 3: (n**2 + 3 * n * D + D**2 + 3 * n + 3 * D + 4) / n**2}
    missing = {1: 0.0, 2: 0.0, 3: 4 / n**2}  # of second order in 1/D
    for k, moment in exact.items():
        assert abs((found["rho"] * found["l"] ** k).sum() - moment + missing[k]) < 1e-9 * moment


@pytest.mark.short
@pytest.mark.parametrize("samples", [120, 240, 600])
def test_risk_against_direct_simulation(samples):
    """40 draws at D = 240: a standard error of 1 to 2 %, corrections of 2 %; 8 % is beyond 3 of them."""
    D, noise, rate, steps = 240, 0.3, 0.2, np.array([1, 5, 20, 100])
    rng, seen = np.random.default_rng(3), []
    for _ in range(40):
        X, w = rng.standard_normal((samples, D)), rng.standard_normal(D)
        w /= np.linalg.norm(w)
        y = X @ w + np.sqrt(noise) * rng.standard_normal(samples)
        found, risks = np.zeros(D), []
        for step in range(1, steps[-1] + 1):
            found = found - rate * X.T @ (X @ found - y) / samples
            if step in steps:
                risks.append(((found - w) ** 2).sum() / 2)
        seen.append(risks)
    modes = eigenvalue_modes(D / samples)
    p = (1 - rate * modes["l"]) ** steps[:, None]
    gained = noise * D / samples * (modes["rho"] * (1 - p) ** 2 / modes["l"]).sum(1)
    by_hand = ((modes["rho"] * p**2).sum(1) + gained) / 2
    assert np.abs(np.mean(seen, 0) / by_hand - 1).max() < 0.08
    risk = sample_risk().observables["excess_risk"]
    assert {str(s) for s in risk.free_symbols} == {"S", "gamma", "l", "p", "rho", "sigma2"}


@pytest.mark.short
def test_the_best_time_is_where_the_risk_turns():
    from learning_mechanics.solvers.fixed_point import root

    modes = eigenvalue_modes(0.8)
    values = {**modes, "gamma": 0.8, "S": 1.0, "sigma2": 0.5}
    found = float(np.ravel(root(best_time(), values)["t"])[0])
    times = np.linspace(0.01, 20, 20000)[:, None]
    p = np.exp(-modes["l"] * times)
    risk = (modes["rho"] * p**2).sum(1) + 0.5 * 0.8 * (modes["rho"] * (1 - p) ** 2 / modes["l"]).sum(1)
    assert abs(found - times[np.argmin(risk), 0]) < 2e-3


@pytest.mark.instant
def test_a_ratio_of_nothing_is_refused():
    with pytest.raises(BadData, match="ratio above 0"):
        eigenvalue_modes(0.0)
