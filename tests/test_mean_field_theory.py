"""Mean-field theory as stated: the equations of the theory layer against the solver, Monte Carlo and derivatives."""

import numpy as np
import pytest
import sympy as sp

from learning_mechanics.solvers.compile import compile
from learning_mechanics.solvers.mean_field import deep_linear as solver
from learning_mechanics.theory.derivation.probe import evaluate
from learning_mechanics.theory.errors import BadData, NoClosedForm
from learning_mechanics.theory.mean_field.deep_linear import (
    RICHNESS,
    infinitely_wide,
    lazy_limit,
    self_consistency,
    single_neuron,
)
from learning_mechanics.theory.mean_field.particles import particle_flow, potential
from learning_mechanics.theory.mean_field.starts import normal_start, sobol_start


def whole_horizon(depth, richness, outputs, steps, rate=0.4):
    """Every array that the self-consistency equations mention, rows being (step, direction), from the recursion."""
    rng = np.random.default_rng(7)
    x, y = rng.standard_normal((5, 3)), rng.standard_normal((5, outputs))
    z = solver.directions_of(x)
    strengths, last = (z**2).sum(0), steps + 1
    state = solver._State(depth, len(strengths), last, outputs, richness**2, rate)
    solver._run(state, z.T @ y / 5, strengths / 5)
    size, rows, rank = last * outputs, last * len(strengths), len(strengths)
    step_of_column, step_of_row = np.repeat(np.arange(last), outputs), np.repeat(np.arange(last), rank)
    D = np.zeros((last, outputs, last, rank))
    D[np.arange(last), :, np.arange(last), :] = np.swapaxes(state.left, 1, 2)
    D = D.reshape(size, rows)
    values = {
        "D": D,
        "K": np.kron(np.ones((last, last)), np.eye(rank)),
        "Y": np.kron(np.ones((last, last)), z.T @ y / 5),
        "share": np.kron(np.eye(last), np.diag(strengths / 5)),
        "now": (step_of_row[:, None] == step_of_column).astype(float),
        "past_n": (step_of_row[:, None] > step_of_column).astype(float),
        "past_m": (step_of_column[:, None] > step_of_column).astype(float),
        "same": np.kron(np.ones((last, last)), np.eye(outputs)),
        "eta": rate,
        "gamma": richness,
    }
    k = values["K"] @ D.T
    for layer in range(1, depth):
        c = state.c[layer].reshape(rows, size)
        gu = state.gu[layer]
        if layer == depth - 1:
            values["F"] = k @ gu.T + c @ state.G[layer]
        k = k @ state.Hu[layer].T + richness**2 * c @ state.s[layer]
        values |= {f"c_{layer}": c, f"e_{layer}": state.e[layer], f"R_{layer}": state.Gr[layer]}
        values |= {f"k_{layer}": k, f"G_{layer}": state.G[layer]}
    return values


@pytest.mark.short
@pytest.mark.parametrize("depth, richness, outputs", [(2, 1.0, 1), (3, 2.0, 2), (4, 1.5, 1)])
def test_the_recursion_solves_the_stated_equations(depth, richness, outputs):
    system = self_consistency(depth)
    values = whole_horizon(depth, richness, outputs, steps=6)
    arguments = (*system.unknowns, *system.parameters)
    equations = compile(system.equations, arguments, backend="numpy")
    misses = [np.abs(miss).max() for miss in equations(*(values[str(a)] for a in arguments))]
    assert max(misses) < 1e-12
    for planted in ("G_1", "c_1", "F"):  # every equation can fail
        wrong = {**values, planted: values[planted] * 1.01}
        assert max(np.abs(miss).max() for miss in equations(*(wrong[str(a)] for a in arguments))) > 1e-4


@pytest.mark.instant
def test_the_reported_residual_sees_planted_errors():
    x = np.random.default_rng(3).standard_normal((4, 3))
    z = solver.directions_of(x)
    state, targets, shares = solver._State(3, 3, 8, 1, 1.0, 0.4), z.T @ np.ones((4, 1)) / 4, (z**2).sum(0) / 4
    solver._run(state, targets, shares)
    assert solver._residual(state, targets, shares) < 1e-13
    for name in ("G", "e", "c", "f", "left"):
        kept = getattr(state, name).copy()
        getattr(state, name).flat[np.flatnonzero(kept)[-1]] += 1e-6
        assert solver._residual(state, targets, shares) > 1e-8
        setattr(state, name, kept)


@pytest.mark.instant
def test_kernels_of_one_neuron_by_monte_carlo():
    """4e5 neurons of a random causal recursion; |z| < 5 at 48 entries, false alarm below 1e-4."""
    rng, size, draws, gamma = np.random.default_rng(3), 4, 400_000, 0.8
    cbar, e = (np.tril(rng.standard_normal((size, size)), -1) for _ in range(2))
    below, above = (m @ m.T for m in rng.standard_normal((2, size, size)))
    ubar = np.linalg.cholesky(below) @ rng.standard_normal((size, draws))
    r = np.linalg.cholesky(above) @ rng.standard_normal((size, draws))
    hbar, g = np.zeros((size, draws)), np.zeros((size, draws))
    for step in range(size):  # what comes earlier is known
        hbar[step] = ubar[step] + gamma * cbar[step] @ g
        g[step] = r[step] + gamma * e[step] @ hbar
    found = single_neuron().observables
    symbols = {s.name: s for s in found["s"].atoms(sp.MatrixSymbol)}
    values = {symbols[n]: a for n, a in (("cbar", cbar), ("e", e), ("Phi_below", below), ("G_above", above))}
    values |= {RICHNESS: gamma, symbols["e"].shape[0]: size}
    for name, left, right in (("G", g, g), ("Phi", hbar, hbar), ("s", g / gamma, hbar)):
        products = left[:, None] * right[None]
        z = (products.mean(-1) - evaluate(found[name], values)) / (products.std(-1) / draws**0.5)
        assert np.abs(z).max() < 5


@pytest.mark.instant
def test_the_lazy_limit_is_gradient_descent_with_a_frozen_kernel():
    assert [str(equation) for equation in lazy_limit().equations] == ["(-eta)*K*R + R"]
    kept = dict((str(a), str(b)) for a, b in lazy_limit().trail.steps[8].result.rows)
    assert kept == {"G": "G_above", "Phi": "Phi_below"}


@pytest.mark.instant
def test_every_step_that_is_checked_passed():
    """Complex steps are exact to rounding; at the kink of ReLU they are finite differences."""
    checked = ((single_neuron(), 1e-12), (self_consistency(3), 1e-12), (particle_flow("tanh"), 1e-12))
    for system, bar in (*checked, (particle_flow("relu"), 1e-8)):
        residuals = [step.residual for step in system.trail.steps if step.residual is not None]
        assert residuals and max(residuals) < bar
    assert "infinite width" in self_consistency(3).trail.assumptions


@pytest.mark.instant
def test_the_distance_to_infinite_width_is_the_size_of_outputs_at_the_start():
    """Root mean square over 4000 networks of width 50: relative error 1 %, false alarm below 1e-4 at 4 %."""
    rng, gamma, width = np.random.default_rng(5), 0.5, 50
    x, y = rng.standard_normal((3, 4)), rng.standard_normal((3, 1))
    A, w = rng.standard_normal((4000, width, 4)), rng.standard_normal((4000, width))
    f = np.einsum("si,sij,pj->sp", w, A, x) / (gamma * width * 2)
    values = {"x": x, "y": y, "W1": A[0], "gamma": gamma}
    assert infinitely_wide().distance(values) == pytest.approx((f**2).mean() ** 0.5 / (y**2).mean() ** 0.5, rel=0.04)


@pytest.mark.short
def test_refusals():
    with pytest.raises(BadData, match="depth 1"):
        self_consistency(1)
    with pytest.raises(NoClosedForm, match="without a formula"):
        potential(np.cos)
    with pytest.raises(BadData, match="power of 2"):
        sobol_start(np.random.default_rng(0), 100, 2, 1)


@pytest.mark.instant
@pytest.mark.parametrize("start", [normal_start, sobol_start])
def test_starts_are_standard_normal(start):
    first, last = start(np.random.default_rng(1), 4096, 3, 2)
    both = np.hstack([first, last])
    assert np.abs(both.T @ both / 4096 - np.eye(5)).max() < 0.1
    assert np.abs((both**4).mean(0) - 3).max() < 0.7
