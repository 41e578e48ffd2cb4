"""Seeds as one batch, the way an accelerator runs them, give the numbers of seeds one after the other.

The batched program is forced on the CPU here; `test_gpu.py` compares devices. Batching reorders sums, so agreement is
to rounding: 1e-10 of the largest value in float64. Perturbing one seed by a millionth is seen.
"""

from dataclasses import replace

import numpy as np
import pytest

from learning_mechanics.theory.architecture.network import chain
from learning_mechanics.theory.dataset import Dataset
from learning_mechanics.theory.setup import Initialisation, Optimizer, Setup
from learning_mechanics.validate.experiments.train import train_all

pytestmark = pytest.mark.short
RNG = np.random.default_rng(17)
X = RNG.standard_normal((24, 5))
DATA = Dataset(X, np.tanh(X @ RNG.standard_normal((5, 3))) + 0.1 * RNG.standard_normal((24, 3)))
LINEAR = Setup(
    network=chain("input", 6, "output"),
    optimizer=Optimizer(learning_rate=0.05),
    initialisation=Initialisation(scale=0.6),
    steps=60,
    records=12,
)
CURVED = replace(LINEAR, network=chain("input", 8, "output", activation="tanh", bias=True))


def both(setup, names, seeds=3, **changes):
    instances = [setup.draw(seed, DATA) for seed in range(seeds)]
    return (train_all([replace(i, **changes) for i in instances], names, batched=batched) for batched in (False, True))


def apart(one, other):
    """Largest difference in units of the largest value."""
    return np.abs(one - other).max() / np.abs(one).max()


def test_plain_observables():
    names = ["loss", "outputs", "mode_strength", "subspace_strength", "balancedness"]
    alone, together = both(LINEAR, names)
    for name in names:
        assert alone[name].shape == together[name].shape == (3, 12, alone[name].shape[2])
        assert apart(alone[name], together[name]) < 1e-12, name
        assert not np.array_equal(alone[name][0], alone[name][1])


@pytest.mark.parametrize(
    "optimizer, observable",
    [
        (Optimizer("nesterov", 0.05, 0.9), "sharpness"),
        (Optimizer("adam", 0.01, 0.9, 0.99), "preconditioned_sharpness"),
    ],
    ids=lambda value: getattr(value, "name", value),
)
def test_observables_that_carry_a_vector(optimizer, observable):
    alone, together = both(replace(CURVED, optimizer=optimizer), [observable], seeds=2)
    assert apart(alone[observable], together[observable]) < 1e-10
    assert alone[observable].std() > 1e-3  # the runs move: this is no comparison of constants


def test_observables_with_a_reference_point():
    setup = replace(LINEAR, initialisation=Initialisation("aligned_balanced", 0.3))
    alone, together = both(setup, ["growth_factor"])
    assert apart(alone["growth_factor"], together["growth_factor"]) < 1e-12


def test_held_out_data_that_differ_between_seeds():
    setup = replace(CURVED, sample="train_test", axes={"n": 16})
    alone, together = both(setup, ["test_error", "test_outputs"])
    for name in alone:
        assert apart(alone[name], together[name]) < 1e-12
    assert not np.allclose(alone["test_error"][0], alone["test_error"][1])


def test_learning_rates_that_differ_between_seeds():
    instances = [LINEAR.draw(seed, DATA) for seed in range(2)]
    instances[1] = replace(instances[1], learning_rate=0.02)
    alone, together = (train_all(instances, ["loss"], batched=batched)["loss"] for batched in (False, True))
    assert apart(alone, together) < 1e-12


def test_a_difference_of_a_millionth_is_seen():
    instances = [LINEAR.draw(seed, DATA) for seed in range(2)]
    alone = train_all(instances, ["loss"], batched=False)["loss"]
    moved = replace(instances[1], learning_rate=instances[1].learning_rate * (1 + 1e-6))
    assert apart(alone, train_all([instances[0], moved], ["loss"], batched=True)["loss"]) > 1e-9
