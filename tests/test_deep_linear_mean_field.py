"""Mean-field theory of deep linear networks against exact limits and against networks trained by `jax.grad`."""

import numpy as np
import pytest

from learning_mechanics.solvers.mean_field.deep_linear import descend, fixed_point
from learning_mechanics.theory.architecture.network import chain
from learning_mechanics.theory.dataset import Dataset
from learning_mechanics.theory.errors import BadData, DidNotConverge
from learning_mechanics.theory.mean_field.deep_linear import self_consistency
from learning_mechanics.theory.setup import Initialisation, Optimizer, Setup
from learning_mechanics.validate.experiments.train import train


def task(samples=10, inputs=20, outputs=1, seed=1):
    """Gaussian inputs and a linear teacher, targets of size one."""
    rng = np.random.default_rng(seed)
    x = rng.standard_normal((samples, inputs))
    return x, x @ rng.standard_normal((inputs, outputs)) / np.sqrt(inputs)


def trained(x, y, depth, richness, rate, steps, width, seed, names=("outputs",)):
    """A network of finite width, recorded at every step."""
    setup = Setup(
        network=chain("input", *["width"] * (depth - 1), "output", parameterization="ntk"),
        axes={"width": width, "richness": richness},
        optimizer=Optimizer(learning_rate=rate),
        initialisation=Initialisation("standard_normal"),
        steps=steps,
        records=steps + 1,
    )
    return train(setup.draw(seed, Dataset(x, y)), names)


@pytest.mark.instant
@pytest.mark.parametrize("depth, samples, inputs", [(2, 4, 7), (3, 7, 4), (5, 5, 5)])
def test_without_richness_outputs_follow_kernel_descent_exactly(depth, samples, inputs):
    x, y = task(samples, inputs, outputs=2)
    x_test = np.random.default_rng(4).standard_normal((3, inputs))
    found = descend(x, y, depth=depth, richness=0.0, learning_rate=0.5, steps=30, x_test=x_test)
    f, f_test = np.zeros_like(y), np.zeros((3, 2))
    for step in range(31):
        assert np.abs(found.outputs[step] - f).max() < 1e-12
        assert np.abs(found.test_outputs[step] - f_test).max() < 1e-12
        left = (y - f) / samples
        f, f_test = (values + 0.5 * depth * (a @ x.T / inputs) @ left for values, a in ((f, x), (f_test, x_test)))
    assert not found.movement().any()


def gram_closure(x, y, richness, rate, steps):
    """Two layers: every step is a congruence of the Gram matrix of first weights (along z) and last ones."""
    z, outputs = x / np.sqrt(x.shape[1]), y.shape[1]
    S, size = np.eye(x.shape[1] + outputs), x.shape[1]
    found = []
    for _ in range(steps + 1):
        f = z @ S[:size, size:] / richness
        found.append(f)
        left = (y - f) / len(y)
        coupling = np.zeros_like(S)
        coupling[size:, :size] = rate * richness * left.T @ z  # first weights move along the last ones
        coupling[:size, size:] = rate * richness * z.T @ left
        S = (np.eye(len(S)) + coupling).T @ S @ (np.eye(len(S)) + coupling)
    return np.array(found)


@pytest.mark.instant
@pytest.mark.parametrize("richness, outputs", [(0.3, 1), (1.0, 2), (4.0, 1)])
def test_two_layers_agree_with_the_closed_gram_recursion(richness, outputs):
    x, y = task(6, 9, outputs)
    found = descend(x, y, depth=2, richness=richness, learning_rate=0.4, steps=60)
    assert np.abs(found.outputs - gram_closure(x, y, richness, 0.4, 60)).max() < 1e-12


@pytest.mark.instant
def test_on_white_inputs_all_samples_are_one():
    """z z' = c I: only the direction of y moves, as one sample with kernel c/P and target |y|/sqrt(P)."""
    samples, size = 6, 8
    rng = np.random.default_rng(2)
    x = 1.5 * np.linalg.qr(rng.standard_normal((size, size)))[0][:samples] * np.sqrt(size)
    y = rng.standard_normal(samples)
    white = descend(x, y, depth=4, richness=1.5, learning_rate=0.1, steps=40)
    scale = np.linalg.norm(y) / np.sqrt(samples)
    single = descend([[1.5 / np.sqrt(samples)]], [scale], depth=4, richness=1.5, learning_rate=0.1, steps=40)
    share = single.outputs[:, 0, 0] / scale
    assert np.abs(white.outputs[:, :, 0] - share[:, None] * y).max() < 1e-12
    assert share[-1] > 0.3


@pytest.mark.instant
def test_outputs_move_by_the_tangent_kernel_in_small_steps():
    """df = eta K (y - f)/P + O(eta^2), K at the present kernels: the error falls with the square of the step."""
    x, y = task(4, 6, outputs=2)
    misses = []
    for refined in (10, 20):
        found = descend(
            x, y, depth=3, richness=2.0, learning_rate=0.5 / refined, steps=[0, 3 * refined, 3 * refined + 1]
        )
        left = y - found.outputs[1]
        moved = 0.5 / refined * np.einsum("pqab,qb->pa", found.tangent_kernel(1), left) / len(y)
        misses.append(np.abs(found.outputs[2] - found.outputs[1] - moved).max())
    assert 3.3 < misses[0] / misses[1] < 4.8


@pytest.mark.instant
def test_records_test_points_and_rotations_change_nothing():
    x, y = task(5, 7)
    whole = descend(x, y, depth=3, richness=1.0, learning_rate=0.5, steps=20, x_test=x[:2])
    some = descend(x, y, depth=3, richness=1.0, learning_rate=0.5, steps=[0, 7, 20])
    rotation = np.linalg.qr(np.random.default_rng(0).standard_normal((7, 7)))[0]
    turned = descend(x @ rotation, y, depth=3, richness=1.0, learning_rate=0.5, steps=20)
    assert np.abs(whole.outputs[[0, 7, 20]] - some.outputs).max() < 1e-14
    assert np.abs(whole.kernels[:, [0, 7, 20]] - some.kernels).max() < 1e-13
    assert np.abs(whole.test_outputs - whole.outputs[:, :2]).max() < 1e-13
    assert np.abs(whole.outputs - turned.outputs).max() < 1e-13


@pytest.mark.instant
def test_what_is_seen_of_the_kernels():
    x, y = task(5, 7)
    found = descend(x, y, depth=3, richness=2.0, learning_rate=0.4, steps=40)
    inputs = x @ x.T / 7
    assert np.abs(found.features(0) - inputs).max() < 1e-12 and np.abs(found.features(2)[0] - inputs).max() < 1e-12
    assert found.alignment()[2, -1] > found.alignment()[2, 0] + 0.1  # the last layer turns to the targets
    assert found.persistence()[:, 0] == pytest.approx(1) and found.persistence()[2, -1] < 0.95
    start = inputs / np.linalg.norm(inputs)
    assert found.alignment()[1, 0] == pytest.approx(np.vdot(start, y @ y.T) / np.linalg.norm(y @ y.T))
    moved = np.linalg.norm(found.features(1)[-1] - inputs) / np.linalg.norm(inputs)
    assert found.movement()[1, -1] == pytest.approx(moved)
    assert "3 weight matrices" in str(found) and found.gradients.shape == (3, 41, 1, 1)


@pytest.mark.short
def test_the_equations_hold_to_rounding_on_long_horizons():
    x, y = task(8, 5)
    for depth, richness in ((2, 4.0), (3, 1.0), (4, 2.0)):
        found = descend(x, y, depth=depth, richness=richness, learning_rate=0.5 / depth, steps=200)
        assert found.residual < 1e-11 and found.loss[-1] < found.loss[0] / 4


@pytest.mark.short
@pytest.mark.parametrize(
    "depth, richness, rate", [(2, 1.0, 1.0), (3, 0.5, 1.0), (3, 1.0, 0.6), (3, 4.0, 0.1), (4, 2.0, 0.2)]
)
def test_a_network_follows_within_its_fluctuations(depth, richness, rate):
    """Width 512, one run: rms over outputs and steps x sqrt(width) < 1.2, and kernels within 6 / sqrt(width).

    All below the edge of stability: beyond it differences between networks of any width grow with every step.
    """
    x, y = task()
    found = descend(x, y, depth=depth, richness=richness, learning_rate=rate, steps=50)
    measured = trained(x, y, depth, richness, rate, 50, 512, 0, ("outputs", "feature_movement"))
    rms = np.sqrt(((measured["outputs"] - found.outputs[:, :, 0]) ** 2).mean())
    assert found.residual < 1e-8 and found.movement()[-1, -1] > 0.2
    assert rms * 512**0.5 < 1.2
    moved = found.movement()[1:].T
    assert np.abs(measured["feature_movement"] - moved).max() < 6 / 512**0.5 * moved.max()
    lazy = descend(x, y, depth=depth, richness=0.0, learning_rate=rate, steps=50)
    assert np.sqrt(((measured["outputs"] - lazy.outputs[:, :, 0]) ** 2).mean()) > rms


@pytest.mark.long
@pytest.mark.parametrize("depth, richness, rate", [(3, 0.5, 1.0), (3, 1.0, 0.6), (3, 4.0, 0.1), (4, 2.0, 0.2)])
def test_networks_of_width_2000(depth, richness, rate):
    """Two seeds each: rms x sqrt(N) < 1.2 in every single run."""
    x, y = task()
    found = descend(x, y, depth=depth, richness=richness, learning_rate=rate, steps=50)
    for seed in (0, 1):
        measured = trained(x, y, depth, richness, rate, 50, 2000, seed)["outputs"]
        assert np.sqrt(((measured - found.outputs[:, :, 0]) ** 2).mean()) * 2000**0.5 < 1.2


@pytest.mark.long
def test_orders_of_the_error_in_the_width():
    """rms of one run ~ N^-1/2, and of the mean over 400 runs ~ 1/N: slopes within 0.1 and 0.3."""
    x, y = task(5, 8)
    found = descend(x, y, depth=3, richness=1.0, learning_rate=0.5, steps=15).outputs[:, :, 0]
    widths, single, mean = (16, 32, 64), [], []
    for width in widths:
        runs = np.stack([trained(x, y, 3, 1.0, 0.5, 15, width, seed)["outputs"] for seed in range(400)])
        single.append(np.sqrt(((runs - found) ** 2).mean()))
        # two halves of the runs have independent noise: their product is the squared bias, without it
        halves = [runs[half::2].mean(0) - found for half in (0, 1)]
        mean.append(np.sqrt(max((halves[0] * halves[1]).mean(), 1e-12)))
    slope = lambda errors: np.polyfit(np.log(widths), np.log(errors), 1)[0]  # noqa: E731
    assert slope(single) == pytest.approx(-0.5, abs=0.1)
    assert slope(mean) == pytest.approx(-1.0, abs=0.3)


@pytest.mark.instant
def test_richness_states_the_scale_of_outputs_and_the_learning_rate():
    """alpha = 1/(gamma sqrt(N)) and eta gamma^2 N, at every width along an axis."""
    x, y = task(3, 4)
    network = chain("input", "width", "output", parameterization="ntk")
    setup = Setup(network=network, axes={"richness": 0.5, "width": 16}, optimizer=Optimizer(learning_rate=0.1), steps=1)
    for width, scale, rate in ((16, 0.5, 0.4), (64, 0.25, 1.6)):
        drawn = setup.at(width=width).draw(0, Dataset(x, y))
        assert float(drawn["output_scale"]) == scale and drawn.learning_rate == pytest.approx(rate)
    for wrong in ({"richness": 0.0}, {"width": 0}, {"output_scale": 2.0}):
        with pytest.raises(BadData, match="richness"):
            setup.at(**wrong).draw(0, Dataset(x, y))


@pytest.mark.instant
def test_refusals():
    x, y = task(4, 5)
    with pytest.raises(DidNotConverge, match="outputs diverge at step"):
        descend(x, y, depth=3, richness=2.0, learning_rate=30.0, steps=200)
    with pytest.raises(BadData, match="GB"):
        descend(x, y, depth=3, steps=200, largest=1e6)
    with pytest.raises(BadData, match="depth 1"):
        descend(x, y, depth=1)
    with pytest.raises(BadData, match="richness -1"):
        descend(x, y, richness=-1.0)
    with pytest.raises(BadData, match="learning rate 0"):
        descend(x, y, learning_rate=0.0)
    with pytest.raises(BadData, match="not finite"):
        descend(np.where(x == x[0, 0], np.nan, x), y)
    with pytest.raises(BadData, match="one row per sample"):
        descend(x[:2], y)
    with pytest.raises(BadData, match="steps"):
        descend(x, y, steps=[-1, 3])


@pytest.mark.instant
def test_hard_inputs():
    """Zero rows, duplicates, one sample, one column, inputs that all vanish."""
    x, y = task(4, 5)
    x[1], y[1] = 0.0, 1.0
    found = descend(x, y, depth=3, richness=1.0, learning_rate=0.3, steps=30)
    assert np.isfinite(found.outputs).all() and np.abs(found.outputs[:, 1]).max() < 1e-14
    twice = descend(np.concatenate([x, x]), np.concatenate([y, y]), depth=3, richness=1.0, learning_rate=0.3, steps=30)
    assert np.abs(twice.outputs[:, :4] - found.outputs).max() < 1e-12
    assert not descend(np.zeros((2, 3)), np.ones(2), steps=3).outputs.any()
    assert descend([[2.0]], [1.0], depth=2, learning_rate=0.1, steps=100).loss[-1] < 1e-6


@pytest.mark.short
def test_as_a_solver_of_the_stated_system():
    x, y = task(4, 5)
    steps = np.array([0, 5, 10])
    found = fixed_point(self_consistency(3), {"x": x, "y": y, "gamma": 1.0, "eta": 0.3}, steps)
    assert found["F"].shape == (3, 4, 1) and found["loss"].shape == (3, 1) and found["kernel_movement"].shape == (3, 2)
    direct = descend(x, y, depth=3, richness=1.0, learning_rate=0.3, steps=steps)
    assert (found["F"] == direct.outputs).all()
