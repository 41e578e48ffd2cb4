"""Two-layer mean field by particles: orders of the error, and agreement of every route with every other."""

import numpy as np
import pytest
from test_sampled_mean_field import networks, task

from learning_mechanics.solvers.mean_field import deep_linear
from learning_mechanics.solvers.mean_field.arguments import directions_of
from learning_mechanics.solvers.mean_field.particles import descend
from learning_mechanics.solvers.mean_field.sampled import sample
from learning_mechanics.solvers.predict import solve
from learning_mechanics.theory.errors import BadData
from learning_mechanics.theory.mean_field.particles import particle_flow, particle_map
from learning_mechanics.theory.mean_field.starts import sobol_start


def bound(x, y, particles, richness, rate):
    z = directions_of(x)
    A, w = sobol_start(np.random.default_rng(0), particles, z.shape[1], y.shape[1])
    numbers = {"eta": rate, "gamma": richness, "samples": len(x), "particles": float(particles)}
    return {"A": A, "w": w, "z": z, "y": y, "z_test": z[:2], **numbers}


@pytest.mark.short
@pytest.mark.parametrize("activation", ["tanh", "relu"])
def test_the_derived_map_is_the_sampled_training(activation):
    """The map of the theory layer, iterated, against the neurons of the solver from the same start."""
    from learning_mechanics.solvers.mean_field.neurons import trained

    x, y = task()
    values = bound(x, y, 256, 1.5, 0.4)
    found = solve(particle_map(activation), values, at=range(11))
    path = trained(activation, values["A"], [], values["w"], 1.5, 0.4, values["z"], y, False, "test")
    ours = np.stack([next(path)[0] for _ in range(11)])
    assert np.abs(found["f"] - ours).max() < 1e-12
    assert np.abs(found["f_test"] - ours[:, :2]).max() < 1e-12


@pytest.mark.short
def test_descent_approaches_the_flow_of_particles():
    """Gap to the flow at t = 4 falls in proportion to the step: ratio 2 within 15 % from rate 0.1 to 0.05."""
    x, y = task()
    values = bound(x, y, 128, 1.5, 1.0)
    flow = solve(particle_flow("tanh"), values, at=[0.0, 4.0])["f"][1]
    gaps = [
        np.abs(solve(particle_map("tanh"), {**values, "eta": rate}, at=[0, round(4 / rate)])["f"][1] - flow).max()
        for rate in (0.1, 0.05)
    ]
    assert gaps[0] / gaps[1] == pytest.approx(2, rel=0.15)


@pytest.mark.short
def test_linear_particles_are_the_exact_theory():
    """In three directions 8 x 4096 Sobol points reach 1e-3; outputs within 6 errors plus the bias of order 1/N."""
    x, y = task(4, 3)
    arguments = {"richness": 2.0, "learning_rate": 0.4, "steps": range(0, 31, 5)}
    exact = deep_linear.descend(x, y, depth=2, **arguments)
    found = descend(x, y, activation="identity", particles=4096, **arguments)
    assert found.outputs_error.max() < 2e-3
    assert (np.abs(found.outputs - exact.outputs) < 6 * found.outputs_error + 5 / 4096).all()


@pytest.mark.short
def test_orders_of_the_error_in_the_number_of_particles():
    """Random particles: outputs N^-1/2 (slope within 0.1), mean loss 1/N (within 0.25); Sobol points do better.

    The excess of the loss is 0.06/N, its error over 1500 sets a quarter of that at N = 32.
    """
    x, y = task(4, 3)
    arguments = {"activation": "tanh", "richness": 1.0, "learning_rate": 0.5, "steps": [0, 6]}
    truth = descend(x, y, particles=2**14, seed=99, **arguments)
    counts, scatter, excess = (8, 16, 32), [], []
    for count in counts:
        found = descend(x, y, particles=count, batches=1500, start="normal", seed=1, **arguments)
        scatter.append(found.outputs_error[1].max() * 1500**0.5)
        excess.append(found.loss[1] - truth.loss[1])
        assert excess[-1] > 3 * found.loss_error[1]
    slope = lambda errors: np.polyfit(np.log(counts), np.log(errors), 1)[0]  # noqa: E731
    assert slope(scatter) == pytest.approx(-0.5, abs=0.1)
    assert slope(excess) == pytest.approx(-1.0, abs=0.25)
    even, random = (descend(x, y, particles=512, batches=32, start=s, **arguments) for s in ("sobol", "normal"))
    assert even.outputs_error[1].max() < 0.6 * random.outputs_error[1].max()


@pytest.mark.short
@pytest.mark.parametrize("activation", ["tanh", "relu"])
def test_particles_samples_and_networks_agree(activation):
    """Sobol points, random neurons, and the mean of 12 networks of width 2000: |z| < 5.5 (Student, 7 and 11)."""
    x, y = task()
    arguments = {"activation": activation, "richness": 2.0, "learning_rate": 0.4, "steps": 20}
    points = descend(x, y, particles=8192, **arguments)
    drawn = sample(x, y, depth=2, samples=4096, batches=12, seed=5, **arguments)
    runs = networks(x, y, activation, 2, 2.0, 0.4, 20, 2000, range(12), centred=True)
    measured, error = runs.mean(0), runs.std(0, ddof=1) / 12**0.5
    for value, own in ((measured[1:], error[1:]), (drawn.outputs[1:, :, 0], drawn.outputs_error[1:, :, 0])):
        assert (np.abs(value - points.outputs[1:, :, 0]) < 5.5 * np.hypot(own, points.outputs_error[1:, :, 0])).all()
    assert points.outputs_error.max() < 0.01


@pytest.mark.instant
def test_refusals():
    x, y = task()
    with pytest.raises(BadData, match="power of 2"):
        descend(x, y, particles=1000)
    with pytest.raises(BadData, match="start 'even'"):
        descend(x, y, start="even")
    with pytest.raises(BadData, match="particles 1"):
        descend(x, y, particles=1)
