"""Sampled mean-field theory of nonlinear networks: exact in law at any width, and right as the width grows."""

import numpy as np
import pytest

from learning_mechanics.solvers.mean_field import deep_linear
from learning_mechanics.solvers.mean_field.neurons import neuron
from learning_mechanics.solvers.mean_field.sampled import GaussianMatrix, sample
from learning_mechanics.theory.architecture.network import chain
from learning_mechanics.theory.dataset import Dataset
from learning_mechanics.theory.errors import BadData, DidNotConverge
from learning_mechanics.theory.setup import Initialisation, Optimizer, Setup
from learning_mechanics.validate.experiments.train import train_all


def task(samples=5, inputs=8, seed=1):
    rng = np.random.default_rng(seed)
    return rng.standard_normal((samples, inputs)), np.sign(rng.standard_normal((samples, 1)))


def networks(x, y, activation, depth, richness, rate, steps, width, seeds, centred=False):
    """Outputs (seeds, steps + 1, samples) of networks trained by differentiation."""
    setup = Setup(
        network=chain("input", *["width"] * (depth - 1), "output", activation=activation, parameterization="ntk"),
        axes={"width": width, "richness": richness},
        optimizer=Optimizer(learning_rate=rate),
        initialisation=Initialisation("standard_normal"),
        steps=steps,
        records=steps + 1,
        options={"centred": centred},
    )
    return train_all([setup.draw(seed, Dataset(x, y)) for seed in seeds], ["outputs"])["outputs"]


@pytest.mark.instant
def test_a_matrix_drawn_by_directions_is_one_gaussian_matrix():
    """Asked for everything it is a whole matrix W, the same forwards and backwards, with entries N(0, 1/columns).

    Sum of 6000 squared entries: |z| < 4.5; false alarm below 1e-5.
    """
    rng = np.random.default_rng(0)
    W = GaussianMatrix(60, 100, np.random.default_rng(1))
    images = []
    for _ in range(25):  # forwards and backwards by turns
        q, p = rng.standard_normal((100, 5)), rng.standard_normal((60, 3))
        images.append((q, W.times(q), p, W.transposed_times(p)))
    whole = W.times(np.eye(100))
    assert np.abs(whole - W.transposed_times(np.eye(60)).T).max() < 1e-10
    for q, Wq, p, Wp in images:
        assert np.abs(whole @ q - Wq).max() < 1e-10 and np.abs(whole.T @ p - Wp).max() < 1e-10
    z = ((whole**2).sum() * 100 - whole.size) / np.sqrt(2 * whole.size)
    assert abs(z) < 4.5
    assert abs(whole.sum()) < 4.5 * np.sqrt(60)


@pytest.mark.instant
def test_what_is_learned_is_kept():
    rng = np.random.default_rng(0)
    W = GaussianMatrix(30, 20, np.random.default_rng(1))
    p, q, other = rng.standard_normal((30, 2)), rng.standard_normal((20, 2)), rng.standard_normal((20, 1))
    before, back = W.times(q), W.transposed_times(p)
    W.add(p, q)
    assert np.abs(W.times(q) - before - p @ (q.T @ q)).max() < 1e-12
    assert np.abs(W.transposed_times(p) - back - q @ (p.T @ p)).max() < 1e-12
    assert np.abs(p.T @ W.times(other) - back.T @ other - (p.T @ p) @ (q.T @ other)).max() < 1e-11


@pytest.mark.short
@pytest.mark.parametrize("activation, depth", [("tanh", 3), ("relu", 4)])
def test_at_any_width_the_law_is_that_of_networks(activation, depth):
    """Mean outputs of 300 samples and of 300 networks of width 12, 8 steps: |z| < 5 at 45 points; false alarm 3e-5."""
    x, y = task()
    arguments = {"richness": 2.0, "learning_rate": 0.3}
    found = sample(
        x, y, activation=activation, depth=depth, steps=8, samples=12, batches=300, centred=False, seed=3, **arguments
    )
    runs = networks(x, y, activation, depth, 2.0, 0.3, 8, 12, range(300))
    error = np.hypot(found.outputs_error[:, :, 0], runs.std(0, ddof=1) / 300**0.5)
    assert (np.abs(found.outputs[:, :, 0] - runs.mean(0)) < 5 * error).all()
    spread = found.outputs_error[:, :, 0] * 300**0.5 / runs.std(0, ddof=1)
    assert 0.7 < spread.min() and spread.max() < 1.4  # they scatter alike, too


@pytest.mark.short
@pytest.mark.parametrize("depth, richness", [(2, 1.0), (3, 3.0), (4, 2.0)])
def test_linear_neurons_reproduce_the_exact_theory(depth, richness):
    """16 x 1024 linear neurons: outputs and kernels within 6 standard errors (Student, 15) and a bias of 1/1024.

    Below the edge of stability; the bias of order 1/samples is what is left where the errors have decayed.
    """
    x, y = task()
    arguments = {"depth": depth, "richness": richness, "learning_rate": 0.4 / depth, "steps": range(0, 31, 3)}
    test = np.random.default_rng(2).standard_normal((2, 8))
    exact = deep_linear.descend(x, y, x_test=test, **arguments)
    found = sample(x, y, activation="identity", samples=1024, batches=16, x_test=test, **arguments)
    for value, error, right in (
        (found.outputs, found.outputs_error, exact.outputs),
        (found.test_outputs, found.test_outputs_error, exact.test_outputs),
        (found.features, found.features_error, np.stack([exact.features(layer) for layer in range(1, depth)])),
    ):
        z = (value - right) / np.hypot(error, 1 / 1024)
        assert np.abs(z).max() < 6 and np.sqrt((z**2).mean()) < 3  # times are correlated: few numbers
    assert found.outputs_error.max() < 0.02 and exact.movement()[-1, -1] > 0.2
    lazy = deep_linear.descend(x, y, **{**arguments, "richness": 0.0})
    assert (np.abs(found.outputs - lazy.outputs) > 6 * np.hypot(found.outputs_error, 1 / 1024))[1:].any()


@pytest.mark.short
def test_without_responses_the_answer_is_wrong(monkeypatch):
    """W and W' drawn as if independent: what others answer to a neuron is lost, and it is seen."""
    x, y = task()
    arguments = {"depth": 3, "richness": 3.0, "learning_rate": 0.4 / 3, "steps": range(0, 31, 3)}
    exact = deep_linear.descend(x, y, **arguments)

    def independent(self, q):
        new, inside = self.right.admit(q)
        self.images = np.hstack([self.images, self.scale * self.rng.standard_normal((len(self.images), new.shape[1]))])
        self._widen()
        return self.images @ inside + self.left.vectors @ (self.learned @ inside)

    monkeypatch.setattr(GaussianMatrix, "times", independent)
    found = sample(x, y, activation="identity", samples=1024, batches=16, **arguments)
    assert (np.abs(found.outputs - exact.outputs) > 10 * np.hypot(found.outputs_error, 1 / 1024)).any()


@pytest.mark.short
@pytest.mark.parametrize("activation, depth", [("tanh", 3), ("erf", 3), ("relu", 2)])
def test_a_wide_network_follows(activation, depth):
    """One network of width 2000: within 5 of its own standard deviations, known from the batches."""
    x, y = task()
    found = sample(
        x, y, activation=activation, depth=depth, richness=2.0, learning_rate=0.4, steps=20, samples=1024, batches=12
    )
    run = networks(x, y, activation, depth, 2.0, 0.4, 20, 2000, [0], centred=True)[0]
    deviation = found.outputs_error[:, :, 0] * np.sqrt(12 * 1024 / 2000)
    miss = np.abs(run - found.outputs[:, :, 0])
    assert (miss <= 5 * np.hypot(deviation, found.outputs_error[:, :, 0]) + 1e-12).all()
    assert found.loss[-1] < 0.1 * found.loss[0] and deviation.max() < 0.1


@pytest.mark.long
@pytest.mark.parametrize("activation", ["tanh", "relu", "erf"])
def test_the_mean_of_wide_networks_follows(activation):
    """Eight networks of width 2000 of three weight matrices, against 16 x 4096 neurons: |z| < 5.5 (Student, 7)."""
    x, y = task()
    found = sample(x, y, activation=activation, richness=2.0, learning_rate=0.4, steps=30, samples=4096, batches=16)
    runs = networks(x, y, activation, 3, 2.0, 0.4, 30, 2000, range(8), centred=True)
    error = np.hypot(found.outputs_error[:, :, 0], runs.std(0, ddof=1) / 8**0.5)
    z = (runs.mean(0) - found.outputs[:, :, 0])[1:] / error[1:]
    assert np.abs(z).max() < 5.5 and error.max() < 0.03


@pytest.mark.instant
def test_activations_may_be_functions_of_arrays():
    import jax.numpy as jnp

    h = np.linspace(-2, 2, 7)[:, None]
    for given, named in ((jnp.tanh, "tanh"), (lambda z: z * z, "square")):
        for ours, theirs in zip(neuron(given), neuron(named), strict=True):
            assert np.abs(ours(h) - theirs(h)).max() < 1e-12


@pytest.mark.instant
def test_refusals_and_the_card():
    x, y = task()
    with pytest.raises(BadData, match="richness 0"):
        sample(x, y, richness=0.0)
    with pytest.raises(BadData, match="batches 1"):
        sample(x, y, batches=1)
    with pytest.raises(DidNotConverge, match="diverge at step"):
        sample(x, y, activation="relu", learning_rate=1e3, steps=300, samples=64, batches=2)
    found = sample(x, y, depth=3, steps=5, samples=64, batches=3)
    assert "bias of order 1/64" in str(found) and found.directions <= 5 * 6
