"""The gradient loop: against NumPy by hand, chunking, seeds in one program, float64 scoped, divergence explained."""

from dataclasses import replace

import jax
import numpy as np
import pytest

from learning_mechanics.theory.architecture.network import chain
from learning_mechanics.theory.dataset import Dataset
from learning_mechanics.theory.errors import BadData, UnknownName
from learning_mechanics.theory.setup import Initialisation, Optimizer, Setup
from learning_mechanics.validate.experiments.train import train, train_all

RNG = np.random.default_rng(3)
DATA = Dataset(RNG.standard_normal((20, 3)), RNG.standard_normal((20, 2)))
SETUP = Setup(
    network=chain("input", 4, "output"),
    optimizer=Optimizer(learning_rate=0.05),
    initialisation=Initialisation(scale=0.7),
    steps=40,
    records=9,
)


def by_hand(instance):
    """Two linear layers, gradients written out."""
    W1, W2, x, y = (instance[name].copy() for name in ("W1", "W2", "x", "y"))
    losses = []
    for _ in range(instance.setup.steps + 1):
        error = y - x @ W1.T @ W2.T
        losses.append(0.5 * (error**2).sum() / len(x))
        W1, W2 = (
            W1 + instance.learning_rate * W2.T @ error.T @ x / len(x),
            W2 + instance.learning_rate * error.T @ (x @ W1.T) / len(x),
        )
    return np.array(losses)


@pytest.mark.short
def test_against_gradients_by_hand():
    instance = SETUP.draw(0, DATA)
    found = train(instance, ["loss"])["loss"][:, 0]
    assert np.abs(found - by_hand(instance)[instance.steps]).max() < 1e-13
    assert jax.numpy.ones(1).dtype == np.float32, "the user's precision flag was left alone"


@pytest.mark.short
def test_seeds_share_a_program_and_repeat_bitwise():
    instances = [SETUP.draw(seed, DATA) for seed in range(3)]
    together = train_all(instances, ["loss", "mode_strength"])
    alone = train(instances[1], ["loss", "mode_strength"])
    for name, values in together.items():
        assert np.array_equal(values[1], alone[name])
        assert np.array_equal(values, train_all(instances, ["loss", "mode_strength"])[name])


@pytest.mark.short
def test_records_do_not_depend_on_how_many_there_are():
    coarse = train(SETUP.draw(0, DATA), ["loss"])["loss"]
    fine = train(replace(SETUP, records=41).draw(0, DATA), ["loss"])["loss"]
    assert np.array_equal(coarse, fine[::5])


@pytest.mark.short
def test_heavy_ball_is_the_optax_convention():
    setup = replace(SETUP, optimizer=Optimizer("heavy_ball", 0.05, 0.9))
    instance = setup.draw(0, DATA)
    W1, W2, x, y = (instance[name].copy() for name in ("W1", "W2", "x", "y"))
    v1, v2 = np.zeros_like(W1), np.zeros_like(W2)
    for _ in range(setup.steps):
        error = y - x @ W1.T @ W2.T
        v1 = 0.9 * v1 + W2.T @ error.T @ x / len(x)
        v2 = 0.9 * v2 + error.T @ (x @ W1.T) / len(x)
        W1, W2 = W1 + 0.05 * v1, W2 + 0.05 * v2
    loss = 0.5 * ((y - x @ W1.T @ W2.T) ** 2).sum() / len(x)
    assert abs(train(instance, ["loss"])["loss"][-1, 0] - loss) < 1e-12


@pytest.mark.short
def test_divergence_is_explained():
    with pytest.raises(BadData, match="is not finite from step"):
        train(SETUP.at(learning_rate=50.0).draw(0, DATA), ["loss"])


@pytest.mark.instant
def test_unknown_observable():
    with pytest.raises(UnknownName, match="did you mean 'loss'"):
        train(SETUP.draw(0, DATA), ["los"])
