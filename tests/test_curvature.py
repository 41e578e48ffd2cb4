"""Curvature of linear networks against dense Hessians by automatic differentiation, brute force and hand algebra."""

from dataclasses import replace
from functools import cache
from math import comb

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import sympy as sp

from learning_mechanics.solvers.curvature.spectra import hessian_spectrum, kernel_spectrum, sharpness
from learning_mechanics.theory.architecture.network import chain
from learning_mechanics.theory.dataset import Dataset
from learning_mechanics.theory.dynamics.curvature.blocks import (
    balanced_pair,
    chain_sharpness,
    kernel_eigenvalue,
    kernel_of_any_depth,
    layer_map,
    one_mode_curvature,
    two_layer_pair,
)
from learning_mechanics.theory.dynamics.curvature.initial_jacobian import largest_squared_value, moments
from learning_mechanics.theory.dynamics.curvature.perturbations import (
    _residual,
    hessian,
    pair_perturbation,
    strength_perturbation,
)
from learning_mechanics.theory.dynamics.linear_networks import sharpness_at_minimum, stack
from learning_mechanics.theory.errors import BadData
from learning_mechanics.theory.models.linear_networks.linear_curvature import LinearCurvature, _layers
from learning_mechanics.theory.setup import Setup
from learning_mechanics.theory.symbols import modes, positive
from learning_mechanics.validate.experiments.train import train
from learning_mechanics.validate.judging.check import check, run_claim

SHAPES = [(3, 3, 3), (4, 6, 3), (5, 2, 4), (3, 4, 5, 3), (5, 3, 6, 2), (2, 5, 3, 4, 6)]


def aligned(widths, balanced, seed=0):
    """Aligned weights in random bases with their target, and the values that a law would bind."""
    rng = np.random.default_rng([seed, *widths])
    depth, rank, modes = len(widths) - 1, min(widths), min(widths[0], widths[-1])
    s = np.sort(rng.uniform(0.5, 2, modes))[::-1]
    u = np.zeros((depth, modes))
    u[:, :rank] = rng.uniform(0.2, 1.2, (1 if balanced else depth, rank))
    bases = [np.linalg.qr(rng.standard_normal((n, n)))[0] for n in widths]

    def between(layer, strengths, low, high):
        middle = np.zeros((high.shape[0], low.shape[0]))
        middle[range(len(strengths)), range(len(strengths))] = strengths
        return high @ middle @ low.T

    weights = [between(k, u[k, :rank], bases[k], bases[k + 1]) for k in range(depth)]
    target = between(0, s, bases[0], bases[-1])
    values = {"s": s, "eta": 0.1, "widths": widths, "parameters": sum(w.size for w in weights)}
    return weights, target, {**values, **{f"u{k + 1}": u[k] for k in range(depth)}}


def dense(weights, target):
    """All eigenvalues of the Hessian of 1/2 |target - W_L .. W_1|^2 by `jax.hessian`."""
    with jax.enable_x64(True):
        flat = jnp.concatenate([jnp.asarray(weight).ravel() for weight in weights])
        return np.linalg.eigvalsh(np.asarray(_dense(tuple(weight.shape for weight in weights))(flat, target)))


@cache
def _dense(shapes):
    edges = np.cumsum([0, *(rows * columns for rows, columns in shapes)])

    def loss(flat, target):
        product = jnp.eye(shapes[0][1])
        for low, high, shape in zip(edges[:-1], edges[1:], shapes, strict=True):
            product = flat[low:high].reshape(shape) @ product
        return 0.5 * ((target - product) ** 2).sum()

    return jax.jit(jax.hessian(loss))


@pytest.mark.short
@pytest.mark.parametrize("widths", SHAPES, ids=str)
@pytest.mark.parametrize("balanced", [True, False], ids=["balanced", "unbalanced"])
def test_all_hessian_eigenvalues(widths, balanced):
    """Square, rectangular, wide, narrow; two to four layers; balanced or not: every eigenvalue, with multiplicity."""
    weights, target, values = aligned(widths, balanced)
    wanted = dense(weights, target)
    system = layer_map(len(weights))
    assert np.abs(hessian_spectrum(system, values, [0])["spectrum"][0] - wanted).max() < 1e-12
    assert abs(sharpness(system, values, [0])["sharpness"][0] - wanted[-1]) < 1e-12


@pytest.mark.short
@pytest.mark.parametrize("widths", SHAPES[1:5], ids=str)
def test_all_kernel_eigenvalues(widths):
    """sum_l A_l A_l' (x) B_l' B_l by Kronecker products, A_l and B_l the layers above and below."""
    weights, _, values = aligned(widths, False)
    operator = 0
    for layer in range(len(weights)):
        above, below = np.eye(widths[-1]), np.eye(widths[0])
        for weight in reversed(weights[layer + 1 :]):
            above = above @ weight
        for weight in weights[:layer]:
            below = weight @ below
        operator = operator + np.kron(above @ above.T, below.T @ below)
    wanted = np.linalg.eigvalsh(operator)
    got = kernel_spectrum(layer_map(len(weights)), {**values, "parameters": len(wanted)}, [0])["spectrum"][0]
    assert np.abs(got - wanted).max() < 1e-12


@pytest.mark.short
def test_the_sharpness_of_one_mode_is_not_the_sharpness():
    """Three layers, a = (1, .3, .01), s = (2, 1.2, .7): one mode at a time has 1.0, all pairs together 3.164."""
    a, s = np.array([1.0, 0.3, 0.01]), np.array([2.0, 1.2, 0.7])
    values = {"s": s, "eta": 0.1, "widths": [3] * 4, **{f"u{layer}": a ** (1 / 3) for layer in (1, 2, 3)}}
    assert abs(sharpness(layer_map(3), values, [0])["sharpness"][0] - 3.164) < 5e-4
    eigenvalues = one_mode_curvature(3).observables.values()
    alone = [
        [float(e.subs({positive("a"): x, positive("s"): y})) for e in eigenvalues] for x, y in zip(a, s, strict=True)
    ]
    assert abs(np.max(alone) - 1.0) < 1e-12


@pytest.mark.short
@pytest.mark.parametrize("depth", [2, 3, 4])
def test_one_mode_eigenvalues(depth):
    """L a^(2-2/L) - (L-1)(s-a) a^(1-2/L) once and (s-a) a^(1-2/L) L - 1 times, against the scalar chain's Hessian."""
    a, s = 0.6, 1.4
    weights = np.full((depth, 1, 1), a ** (1 / depth))
    wanted = dense(list(weights), np.array([[s]]))
    values = {positive("a"): a, positive("s"): s}
    found = {name: float(value.subs(values)) for name, value in one_mode_curvature(depth).observables.items()}
    assert np.allclose(np.sort([found["along"], *[found["across"]] * (depth - 1)]), wanted, atol=1e-13)
    assert np.isclose(found["along"], depth * a ** (2 - 2 / depth) - (depth - 1) * (s - a) * a ** (1 - 2 / depth))


@pytest.mark.short
def test_a_learned_mode_and_one_that_waits():
    """Two layers, a_j = 0: the pair has a_i +- s_j and +-(s_i - a_i), so the rise is never flatter than a_i + s_j."""
    numbers = {positive(name): value for name, value in {"a_i": 0.7, "s_i": 2.0, "a_j": 0.0, "s_j": 1.1}.items()}
    got = sorted(float(value.subs(numbers)) for value in two_layer_pair())
    assert np.allclose(got, [-1.3, -0.4, 1.3, 1.8], atol=1e-14)


@pytest.mark.short
@pytest.mark.parametrize("depth", [2, 3, 4])
def test_halves_of_a_balanced_pair_hold_its_eigenvalues(depth):
    numbers = {positive("u_i"): 1.1, positive("u_j"): 0.4, positive("s_i"): 2.0, positive("s_j"): 0.9}
    halves = [np.array(half.subs(numbers), float) for half in balanced_pair(depth)]
    block = hessian(pair_perturbation(depth))
    images = {symbol: numbers[positive(f"{str(symbol)[0]}_{str(symbol)[-1]}")] for symbol in block.free_symbols}
    got = np.sort(np.concatenate([np.linalg.eigvalsh(half) for half in halves]))
    assert np.allclose(got, np.linalg.eigvalsh(np.array(block.subs(images), float)), atol=1e-13)


@pytest.mark.short
@pytest.mark.parametrize("depth", [1, 2, 3, 4])
def test_kernel_eigenvalue_in_closed_form(depth):
    """The sum of the definition, the quotient, and the diagonal L sigma^(2 - 2/L)."""
    system, x, y = kernel_eigenvalue(depth), 1.7, 0.6
    numbers = {positive("sigma_i"): x, positive("sigma_j"): y, positive("Theta"): 0}
    wanted = sum(x ** (2 * (depth - k) / depth) * y ** (2 * (k - 1) / depth) for k in range(1, depth + 1))
    assert np.isclose(-float(system.equations[0].subs(numbers)), wanted, rtol=1e-13)
    assert np.isclose(float(system.observables["closed_form"].subs(numbers)), wanted, rtol=1e-12)
    assert np.isclose(float(system.observables["diagonal"].subs(numbers)), depth * x ** (2 - 2 / depth), rtol=1e-13)


@pytest.mark.short
def test_a_symbolic_depth_gives_every_depth():
    system, numbers = kernel_of_any_depth(), {positive("sigma_i"): 1.7, positive("sigma_j"): 0.6, positive("Theta"): 0}
    (L,) = [symbol for symbol in system.parameters if str(symbol) == "L"]
    for depth in (1, 2, 7):
        wanted = sum(1.7 ** (2 * (depth - k) / depth) * 0.6 ** (2 * (k - 1) / depth) for k in range(1, depth + 1))
        assert np.isclose(-float(system.equations[0].subs(L, depth).subs(numbers)), wanted, rtol=1e-12)


@pytest.mark.short
@pytest.mark.parametrize("weights", [(0.5, 3.0), (1.2, 0.7, 2.0), (1.0, 2.0, 0.5, 1.5)])
def test_any_minimum_of_a_scalar_chain(weights):
    """sum_l (s / w_l)^2, least at balance: the flattest minimum."""
    depth, s = len(weights), float(np.prod(weights))
    numbers = {positive(f"w{k}"): w for k, w in enumerate(weights, 1)} | {positive("s"): s, positive("S"): 0}
    got = -float(chain_sharpness(depth).equations[0].subs(numbers))
    assert np.isclose(got, dense([np.array([[w]]) for w in weights], np.array([[s]]))[-1], rtol=1e-13)
    flattest = -float(sharpness_at_minimum(depth).equations[0].subs({modes("s"): s, positive("S"): 0}))
    assert got > 1.01 * flattest


@pytest.mark.short
@pytest.mark.parametrize("planted", ["one mode", "pair"])
def test_the_check_of_the_derivation_can_fail(planted):
    alone, pair = hessian(strength_perturbation(3)), hessian(pair_perturbation(3))
    assert _residual(3, alone, pair) < 1e-13
    wrong = sp.Rational(101, 100)
    assert (
        _residual(3, alone * wrong if planted == "one mode" else alone, pair * wrong if planted == "pair" else pair)
        > 1e-4
    )


@pytest.mark.short
def test_observables_on_linear_regression():
    """One layer: the Hessian is Sigma_xx for every output, and the kernel has the same eigenvalues."""
    rng = np.random.default_rng(3)
    data = Dataset(rng.standard_normal((7, 3)), rng.standard_normal((7, 2)))
    instance = Setup(network=chain("input", "output"), steps=1, records=1).draw(0, data)
    wanted = np.sort(np.repeat(np.linalg.eigvalsh(data.x.T @ data.x / 7), 2))
    found = train(instance, ["hessian_spectrum", "kernel_spectrum", "converged_sharpness"])
    assert np.allclose(found["hessian_spectrum"][0], wanted, atol=1e-12)
    assert np.allclose(found["kernel_spectrum"][0], wanted, atol=1e-12)
    assert np.isclose(found["converged_sharpness"][0, 0], wanted[-1], rtol=1e-12)


@pytest.mark.short
def test_strengths_of_layers_are_read_off_the_weights():
    """Unbalanced layers, in random bases; inputs without variance do not count as width."""
    rng = np.random.default_rng(5)
    x = np.linalg.qr(rng.standard_normal((9, 3)))[0] * 3 @ np.linalg.qr(rng.standard_normal((5, 3)))[0].T
    y = x @ rng.standard_normal((5, 2))
    instance = Setup(network=stack(2), axes={"width": 4}).draw(0, Dataset(x, y))
    left, s, right = np.linalg.svd(y.T @ x / 9, full_matrices=False)
    inner = np.linalg.qr(rng.standard_normal((4, 2)))[0]
    arrays = {"W1": inner * [0.3, 0.2] @ right, "W2": left * [0.7, 0.9] @ inner.T}
    values = _layers(replace(instance, arrays={**instance.arrays, **arrays}))
    assert np.allclose(values["s"], s) and values["widths"].tolist() == [3, 4, 2]
    assert np.allclose(values["u1"], [0.3, 0.2]) and np.allclose(values["u2"], [0.7, 0.9])


@pytest.mark.short
@pytest.mark.parametrize("name", ["hessian_spectrum", "sharpness_from_a_random_start"])
def test_verdicts_on_real_data(name):
    verdict = check(LinearCurvature(), name, seed=5)
    assert verdict.outcome == "holds" and verdict.rival_outcome == "refuted", str(verdict)


@pytest.mark.short
def test_a_planted_error_of_a_millionth_is_refuted():
    theory = LinearCurvature()
    claim = theory.claim("kernel_spectrum")

    def planted(instance):
        values = _layers(instance)
        return {**values, "u2": values["u2"] * (1 + 1e-6)}

    assert run_claim(theory, claim, seed=2).verdict.outcome == "holds"
    wrong = replace(claim, law=replace(claim.law, bind=planted))
    assert run_claim(theory, wrong, seed=2).verdict.outcome == "refuted"


@pytest.mark.instant
@pytest.mark.parametrize("depth", [1, 2.5])
def test_depths_that_make_no_sense(depth):
    with pytest.raises(BadData, match="whole number from 2"):
        LinearCurvature(depth=depth)


@pytest.mark.short
@pytest.mark.parametrize("depth", [1, 2, 3, 5])
def test_moments_before_training_are_fuss_catalan(depth):
    """binomial(Lk + k, k) / (Lk + 1), the edge (L+1)^(L+1) / L^L, and one draw of width 600 (seed 0, chosen before)."""
    found = [int(m) for m in moments(depth, 5)]
    assert found == [comb(depth * k + k, k) // (depth * k + 1) for k in range(1, 6)]
    assert largest_squared_value(depth) == sp.Rational((depth + 1) ** (depth + 1), depth**depth)
    rng, n, product = np.random.default_rng(0), 600, np.eye(600)
    for _ in range(depth):
        product = rng.standard_normal((n, n)) @ product / np.sqrt(n)
    squares = np.linalg.svd(product, compute_uv=False) ** 2
    # corrections are of order 1/n, and moments are traces: they scatter by as much
    assert np.allclose([np.mean(squares**k) for k in (1, 2)], found[:2], rtol=30 / n)
    assert abs(squares[0] / float(largest_squared_value(depth)) - 1) < 0.06
