"""Deep linear networks against routes of their own: dense Hessians, hand-written orbits, training on raw data."""

from dataclasses import replace
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from learning_mechanics.solvers.predict import solve
from learning_mechanics.theory.claims import Law
from learning_mechanics.theory.dataset import Dataset
from learning_mechanics.theory.dynamics.linear_networks import gram_map, sharpness_at_minimum, stack
from learning_mechanics.theory.errors import BadData
from learning_mechanics.theory.models.linear_networks.deep_linear import DeepLinear
from learning_mechanics.theory.models.linear_networks.starting_values import gram_values
from learning_mechanics.theory.setup import Initialisation, Optimizer, Setup
from learning_mechanics.validate.experiments.train import train
from learning_mechanics.validate.judging.check import check, run_claim

RNG = np.random.default_rng(11)
# orthonormal columns: Sigma_xx is the identity for the 1/P convention
WHITE = Dataset(np.linalg.qr(RNG.standard_normal((12, 4)))[0] * np.sqrt(12), RNG.standard_normal((12, 3)))


@pytest.mark.short
@pytest.mark.parametrize("depth", [1, 2, 3, 4])
def test_sharpness_of_the_minimum_against_the_dense_hessian(depth):
    setup = Setup(network=stack(depth), axes={"width": 5}, initialisation=Initialisation("balanced_minimum", 0.0))
    instance = setup.draw(0, WHITE)
    names, shapes = zip(*((name, weight.shape) for name, weight in instance.weights.items()), strict=True)
    edges = np.cumsum([0, *(int(np.prod(shape)) for shape in shapes)])

    def loss(flat):
        product = jnp.eye(4)
        for a, b, shape in zip(edges[:-1], edges[1:], shapes, strict=True):
            product = flat[a:b].reshape(shape) @ product
        return 0.5 * ((WHITE.y - WHITE.x @ product.T) ** 2).sum() / len(WHITE)

    with jax.enable_x64(True):
        flat = jnp.concatenate([jnp.asarray(instance[name]).ravel() for name in names])
        dense = np.linalg.eigvalsh(np.asarray(jax.hessian(loss)(flat)))[-1]
    law = Law("sharpness", partial(sharpness_at_minimum, depth), _strongest, "S")
    assert abs(solve(law, instance).values[-1, 0] / dense - 1) < 1e-9


def _strongest(instance):
    return {"s": np.linalg.svd(instance["y"].T @ instance["x"] / len(instance["x"]), compute_uv=False)[0]}


@pytest.mark.short
@pytest.mark.parametrize("width", [2, 7])
@pytest.mark.parametrize("scale", [0.01, 1.0])
def test_gram_recursion_is_exact_for_any_width_data_and_start(width, scale):
    data = Dataset(RNG.standard_normal((9, 4)) * [3, 1, 0.3, 0.1] + 0.5, RNG.standard_normal((9, 3)))
    setup = Setup(
        network=stack(2),
        axes={"width": width},
        optimizer=Optimizer(learning_rate=0.05),
        initialisation=Initialisation(scale=scale),
        steps=300,
        records=16,
    )
    instance = setup.draw(5, data)
    law = Law("gram", gram_map, gram_values, "R")
    trained = _end_to_end(instance)
    predicted = solve(law, instance).values
    # the recursion amplifies rounding along directions that no width-2 network can take; the claim's budget is 1e-10
    assert np.abs(predicted - trained).max() < 1e-10 * max(1.0, np.abs(trained).max())


def _end_to_end(instance):
    W1, W2, x, y = (instance[name].copy() for name in ("W1", "W2", "x", "y"))
    kept = []
    for step in range(instance.setup.steps + 1):
        if step in instance.steps:
            kept.append((W2 @ W1).ravel())
        error = (y - x @ (W2 @ W1).T).T @ x / len(x)
        W1, W2 = W1 + instance.learning_rate * W2.T @ error, W2 + instance.learning_rate * error @ W1.T
    return np.array(kept)


@pytest.mark.short
@pytest.mark.parametrize("beyond", [1.01, 1.1, 1.2])
def test_period_two_orbit_beyond_the_edge(beyond):
    """Two layers, one mode: eta s = beyond > 1 settles on w^2 = x / eta, x + 1/x = 1 + eta s, both roots in turn."""
    target = 1.5
    data = Dataset(np.ones((1, 1)), np.full((1, 1), target))
    setup = Setup(
        network=stack(2),
        axes={"width": 1},
        optimizer=Optimizer(learning_rate=beyond / target),
        initialisation=Initialisation("balanced_minimum", 1e-3),
        steps=20_001,
        records=20_002,
    )
    instance = setup.draw(0, data)
    tail = train(instance, ["mode_strength"])["mode_strength"][-2:, 0]
    root = np.roots([1.0, -(1 + beyond), 1.0]).real
    assert np.abs(np.sort(tail) - np.sort(root) / instance.learning_rate).max() < 1e-10


@pytest.mark.short
def test_depth_one_diverges_beyond_the_edge():
    data = Dataset(np.ones((1, 1)), np.ones((1, 1)))
    setup = Setup(
        network=stack(1),
        optimizer=Optimizer(learning_rate=2.02),
        initialisation=Initialisation("balanced_minimum", 1e-6),
        steps=500,
        records=11,
    )
    strength = train(setup.draw(0, data), ["mode_strength"])["mode_strength"][:, 0]
    assert np.allclose(np.abs(strength - 1), 1e-6 * 1.02 ** setup.recorded_steps(), rtol=1e-6)


@pytest.mark.short
@pytest.mark.parametrize("name", ["balance_drift", "aligned_recursion", "stability_threshold", "small_random_start"])
def test_verdicts_on_real_data(name):
    verdict = check(DeepLinear(), name, seed=7)
    assert verdict.as_expected, str(verdict)
    assert verdict.rival_outcome == "refuted"
    if verdict.outcome == "holds":
        assert verdict.resolution <= 0.01


@pytest.mark.short
def test_a_planted_error_in_the_data_is_refuted():
    """Ten per cent on Sigma_yx in the law alone: the exact recursion must then fail."""
    theory = DeepLinear()
    claim = theory.claim("gram_recursion")
    claim = replace(claim, setup=claim.setup.at(steps=400, records=9), seeds=1)

    def planted(instance):
        values = gram_values(instance)
        return {**values, "Sigma_yx": 1.1 * values["Sigma_yx"]}

    assert run_claim(theory, claim, seed=2).verdict.outcome == "holds"
    wrong = replace(claim, law=replace(claim.law, bind=planted))
    assert run_claim(theory, wrong, seed=2).verdict.outcome == "refuted"


@pytest.mark.instant
@pytest.mark.parametrize("wrong", [DeepLinear, "deep-linear"])
def test_what_is_no_model_is_one_line(wrong):
    with pytest.raises(BadData, match="is no model; pass one, with its brackets"):
        check(wrong)


@pytest.mark.short
def test_the_aligned_claims_are_about_the_stated_depth():
    """Depth 4 moves the network and the law together: the exact recursion holds there, and says so."""
    claim = DeepLinear(depth=4).claim("aligned_recursion")
    assert claim.setup.network.depth == 4 and claim.statement.startswith("Four layers")
    assert check(DeepLinear(depth=4), "aligned_recursion", seed=3).outcome == "holds"
    assert DeepLinear().claims()[2].setup.network.depth == DeepLinear(depth=np.inf).claims()[2].setup.network.depth == 3
