"""Steps that see fresh rows or noisy labels, losses by name, and the optimizers added to the gradient loop."""

import numpy as np
import pytest

from learning_mechanics.theory.architecture.network import Network, Node, chain
from learning_mechanics.theory.dataset import Dataset, PowerLaw
from learning_mechanics.theory.errors import BadData, UnknownName
from learning_mechanics.theory.setup import Initialisation, Optimizer, Setup
from learning_mechanics.validate.experiments import losses
from learning_mechanics.validate.experiments.optimizers import polar
from learning_mechanics.validate.experiments.train import train

RNG = np.random.default_rng(0)
X, Y = RNG.standard_normal((12, 3)), RNG.standard_normal((12, 2))


def trained(**changes):
    """All weights of a linear layer after every step, from `train`."""
    setup = Setup(network=chain("input", "output"), steps=4, records=5, **changes)
    instance = setup.draw(3, Dataset(X, Y) if "data" not in changes else None)
    return instance, train(instance, ["outputs"])["outputs"]


@pytest.mark.short
def test_weight_decay_is_the_gradient_of_its_penalty():
    instance, outputs = trained(optimizer=Optimizer(learning_rate=0.1, weight_decay=0.3))
    W = instance["W1"]
    for seen in outputs:
        assert np.allclose(seen.reshape(12, 2), X @ W.T, rtol=0, atol=1e-13)
        W = W - 0.1 * ((W @ X.T - Y.T) @ X / 12 + 0.3 * W)


@pytest.mark.short
def test_rates_multiply_the_learning_rate_of_single_arrays():
    plain = trained(optimizer=Optimizer(learning_rate=0.2))[1]
    scaled = trained(optimizer=Optimizer(learning_rate=0.1, rates=(("W1", 2.0),)))[1]
    assert np.allclose(plain, scaled, rtol=0, atol=1e-13)
    with pytest.raises(UnknownName, match="W2"):
        trained(optimizer=Optimizer(rates=(("W2", 2.0),)))


@pytest.mark.short
def test_muon_moves_along_the_polar_factor_and_sign_descent_along_signs():
    for name in ("muon", "sign_descent"):
        instance, outputs = trained(optimizer=Optimizer(name, learning_rate=0.05))
        W = instance["W1"]
        for seen in outputs:
            assert np.allclose(seen.reshape(12, 2), X @ W.T, rtol=0, atol=1e-13)
            gradient = (W @ X.T - Y.T) @ X / 12
            left, _, right = np.linalg.svd(gradient, full_matrices=False)
            W = W - 0.05 * (left @ right if name == "muon" else np.sign(gradient))


@pytest.mark.instant
def test_the_polar_factor_leaves_out_what_is_numerically_zero():
    thin = np.outer([1.0, 2.0], [3.0, 4.0, 0.0]).astype(np.float32)
    assert np.allclose(polar(thin), thin / np.linalg.norm(thin), atol=1e-6)


@pytest.mark.short
def test_online_rows_have_the_stated_moments_and_differ_between_steps():
    """4 x 20000 numbers: a relative deviation of 5 % of a variance is 5 standard errors, false alarms below 1e-6."""
    import jax

    from learning_mechanics.validate.experiments.batches import fresh

    law = PowerLaw(dim=4, noise=0.25)
    setup = Setup(network=chain("input", "output"), data=law, procedure="online", options={"batch": 20000}, steps=2)
    draw = fresh(setup)
    first, second = (draw(jax.random.key(seed), {"x": np.zeros((1, 4), np.float32)}) for seed in (0, 1))
    eigenvalues, target = law.spectrum()
    assert np.allclose(np.asarray(first["x"]).var(0), eigenvalues, rtol=0.05)
    assert np.isclose(np.var(np.asarray(first["y"])[:, 0] - np.asarray(first["x"]) @ target), 0.25, rtol=0.05)
    assert not np.allclose(first["x"], second["x"])
    with pytest.raises(BadData, match="distribution"):
        fresh(Setup(procedure="online", steps=1))


@pytest.mark.short
def test_online_training_measures_on_a_fixed_sample_and_learns():
    setup = Setup(
        network=chain("input", "output"),
        data=PowerLaw(dim=4, capacity=0.0),
        procedure="online",
        optimizer=Optimizer(learning_rate=0.5),
        options={"batch": 64, "test": 500},
        steps=200,
        records=3,
    )
    losses_seen = train(setup.draw(0), ["loss"])["loss"][:, 0]
    assert losses_seen[-1] < 1e-3 * losses_seen[0]


@pytest.mark.short
def test_label_noise_and_batches_leave_the_data_that_are_measured_alone():
    quiet = trained(optimizer=Optimizer(learning_rate=0.1))[1]
    noisy = trained(optimizer=Optimizer(learning_rate=0.1), options={"label_noise": 0.1})[1]
    picked = trained(optimizer=Optimizer(learning_rate=0.1), options={"batch": 5})[1]
    assert np.array_equal(quiet[0], noisy[0]) and np.array_equal(quiet[0], picked[0])
    assert 0 < np.abs(noisy[1] - quiet[1]).max() < 0.5 and np.abs(picked[1] - quiet[1]).max() > 0
    again = trained(optimizer=Optimizer(learning_rate=0.1), options={"label_noise": 0.1})[1]
    assert np.array_equal(noisy, again)


@pytest.mark.short
def test_a_subset_of_a_distribution_is_a_training_set():
    setup = Setup(network=chain("input", "output"), data=PowerLaw(dim=3), sample="subset", axes={"n": 7}, steps=1)
    instance = setup.draw(0)
    assert instance["x"].shape == (7, 3)
    assert np.allclose(instance["y"][:, 0], instance["x"] @ instance["target"])


@pytest.mark.short
def test_gates_come_with_the_data():
    network = Network((Node("x", "input", width="input"), Node("h", "dense", ("x",), weight="W1", width="output"),
                       Node("g", "gate", ("h",), gate="open")))  # fmt: skip
    gate = np.arange(12) % 2.0
    setup = Setup(network=network, steps=1, records=2, initialisation=Initialisation(scale=1.0))
    instance = setup.draw(0, Dataset(X, Y, arrays={"open": gate}))
    outputs = train(instance, ["outputs"])["outputs"].reshape(2, 12, 2)
    assert np.allclose(outputs[0], gate[:, None] * (X @ instance["W1"].T)) and not outputs[1][::2].any()


@pytest.mark.instant
def test_losses_by_name():
    f, data = np.array([[0.3, -0.2]]), {"y": np.array([[1.0, 0.0]]), "weight": np.array([[2.0, 3.0]])}
    data |= {"positive": np.array([[1.0, 2.0]]), "negative": np.array([[0.5, 0.0]])}
    sigmoid = 1 / (1 + np.exp(-f))
    expected = {
        "summed_squared": 0.5 * (0.49 + 0.04),
        "weighted_squared": 0.5 * (2 * 0.49 + 3 * 0.04),
        "cross_entropy": -np.log(np.exp(0.3) / (np.exp(0.3) + np.exp(-0.2))),
        "skip_gram": -(np.array([[1.0, 2.0]]) * np.log(sigmoid) + np.array([[0.5, 0.0]]) * np.log(1 - sigmoid)).sum(),
    }
    for name, value in expected.items():
        assert np.isclose(losses.find(name)(f, data), value, rtol=1e-6), name
