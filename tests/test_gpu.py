"""On an accelerator: the CPU's numbers, the same numbers twice, true float32 products, and the report.

Run with `pytest -m gpu` where JAX sees a GPU; skipped elsewhere. Float64 runs of deterministic claims must equal the
CPU's to 1e-10 of the largest value. Float32 products in TF32 keep 10 bits (relative error near 1e-3), true ones 23.
"""

import json
from dataclasses import dataclass, replace

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import learning_mechanics as lm
from learning_mechanics.theory.architecture.network import chain
from learning_mechanics.theory.dataset import Dataset, PowerLaw
from learning_mechanics.theory.model import models
from learning_mechanics.theory.models.linear_networks.deep_linear import DeepLinear
from learning_mechanics.theory.setup import Initialisation, Optimizer, Setup
from learning_mechanics.validate.experiments.experiment import HOST, run
from learning_mechanics.validate.judging.check import draw, run_claim
from learning_mechanics.validate.reporting.report import report

pytestmark = pytest.mark.gpu
ACCELERATOR = "gpu"
CLAIMS = [claim for model in models() for claim in model().claims()]
EXACT = [
    claim
    for claim in CLAIMS
    if claim.setup.procedure == "full_batch" and not claim.stochastic and claim.setup.options.get("dtype") is None
]
ROUNDED = [claim for claim in CLAIMS if claim.setup.options.get("dtype") == "float32" and claim not in EXACT]


def measured(claim, device, seeds=None):
    claim = claim if seeds is None else replace(claim, seeds=min(seeds, claim.seeds))
    return run(claim.observable, draw(claim, None, 0), range(claim.seeds), device=device)


def apart(one, other):
    """Largest difference in units of the largest value."""
    return np.abs(one - other).max() / np.abs(one).max()


def on(device):
    return jax.devices(device)[0]


@pytest.mark.parametrize("claim", EXACT, ids=lambda claim: claim.name)
def test_training_agrees_with_the_cpu(claim):
    here, there = measured(claim, "cpu"), measured(claim, ACCELERATOR)
    assert here.device.startswith("cpu") and there.device.startswith(ACCELERATOR)
    assert apart(here.values, there.values) < 1e-10


@pytest.mark.parametrize("claim", EXACT[:2] + ROUNDED, ids=lambda claim: claim.name)
def test_the_same_seed_gives_the_same_numbers_twice(claim):
    first, second = (measured(claim, ACCELERATOR, seeds=2).values for _ in range(2))
    assert apart(first, second) < 1e-10


@pytest.mark.parametrize("claim", [c for c in CLAIMS if c.stochastic], ids=lambda claim: claim.name)
def test_means_over_seeds_agree_with_the_cpu(claim):
    """Seeds draw the same numbers on both, so that the means differ by far less than four standard errors."""
    here, there = (measured(claim, device, seeds=20).values for device in ("cpu", ACCELERATOR))
    error = np.hypot(here.std(0, ddof=1), there.std(0, ddof=1)) / np.sqrt(len(here))
    assert np.all(np.abs(here.mean(0) - there.mean(0)) <= 4 * error + 1e-6 * np.abs(here).max())


def test_what_runs_on_the_host_says_so():
    claim = next(claim for claim in CLAIMS if claim.setup.procedure == "kernel_solve")
    here, there = (measured(claim, device, seeds=2) for device in ("cpu", ACCELERATOR))
    assert here.device == there.device == HOST and np.array_equal(here.values, there.values)


def test_float32_products_keep_all_their_bits():
    """A wide hidden layer in float32 against float64; the same layer at default precision shows what TF32 would do."""
    rng = np.random.default_rng(0)
    data = Dataset(rng.standard_normal((256, 300)), rng.standard_normal((256, 4)))
    setup = Setup(
        network=chain("input", 2048, "output", parameterization="ntk"),
        optimizer=Optimizer(learning_rate=1e-3),
        initialisation=Initialisation(scale=1.0),
        steps=1,
        records=2,
    )
    stated = (replace(setup, options={"dtype": dtype}).draw(0, data) for dtype in ("float64", "float32"))
    exact, single = (run("outputs", [[instance]], range(1), device=ACCELERATOR).values for instance in stated)
    assert apart(exact, single) < 2e-6
    with jax.default_device(on(ACCELERATOR)), jax.default_matmul_precision("default"):
        a, b = (rng.standard_normal((2048, 2048)).astype(np.float32) for _ in range(2))
        loose = np.asarray(jnp.asarray(a) @ jnp.asarray(b), float)
    if float(getattr(on(ACCELERATOR), "compute_capability", 0) or 0) >= 8.0:  # hardware that has TF32
        assert apart(a.astype(float) @ b.astype(float), loose) > 2e-5


def test_one_pass_in_float64_agrees_with_the_cpu():
    setup = Setup(
        network=chain("input", "output"),
        data=PowerLaw(dim=30, noise=0.1),
        optimizer=Optimizer(learning_rate=0.2, unit="1/trace"),
        initialisation=Initialisation("normal", 0.0),
        procedure="one_pass",
        steps=200,
        records=12,
        spacing="log",
    )
    here, there = (run("excess_risk", [[setup.draw(0)]], range(16), device=d) for d in ("cpu", ACCELERATOR))
    assert apart(here.values, there.values) < 1e-10


def test_sharpness_is_that_of_the_dense_hessian():
    rng = np.random.default_rng(1)
    square = rng.standard_normal((60, 60))
    hessian = (square + square.T) / 2
    with jax.default_device(on(ACCELERATOR)):
        value, vector, error = lm.sharpness(lambda w: w @ jnp.asarray(hessian) @ w / 2, np.zeros(60))
    assert abs(value - np.linalg.eigvalsh(hessian)[-1]) <= max(error, 1e-10) and vector.shape == (60,)


def test_forecasts_do_not_depend_on_the_device():
    claim = next(claim for claim in EXACT if claim.name == "aligned_recursion")
    here, there = (run_claim(DeepLinear(), claim, device=device) for device in ("cpu", ACCELERATOR))
    assert here.prediction.hash == there.prediction.hash and here.verdict.outcome == there.verdict.outcome


@dataclass(frozen=True)
class TwoClaims(DeepLinear):
    """The aligned recursion and the exact drift of deep linear networks."""

    def claims(self):
        return tuple(claim for claim in super().claims() if claim.name in ("aligned_recursion", "balance_drift"))


def test_the_report_runs_there(tmp_path):
    made = report(tmp_path, models=[TwoClaims()], device=ACCELERATOR, progress=False)
    assert made.status == 0 and len(made.verdicts) == 2
    assert all(verdict.device.startswith(ACCELERATOR) for verdict in made.verdicts)
    content = json.loads(made.json.read_text())
    assert content["environment"]["device"].startswith(ACCELERATOR)
