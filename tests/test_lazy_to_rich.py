"""The road from lazy to rich: claims as announced, planted errors seen, what is measured against NumPy, refusals."""

from dataclasses import replace

import numpy as np
import pytest

from learning_mechanics.solvers.predict import solve
from learning_mechanics.theory.architecture.network import chain
from learning_mechanics.theory.dataset import Dataset
from learning_mechanics.theory.errors import BadData
from learning_mechanics.theory.lazy_limit.output_scale import ALPHA
from learning_mechanics.theory.lazy_limit.tangent_hierarchy import MOVEMENT_ROWS, second_order_descent
from learning_mechanics.theory.models.wide_networks.lazy_to_rich import LazyToRich
from learning_mechanics.theory.regression.linearised import tangent_kernel
from learning_mechanics.theory.setup import Initialisation, Optimizer, Setup
from learning_mechanics.validate.experiments.train import train
from learning_mechanics.validate.judging.check import draw, run_claim

MODEL = LazyToRich()
RNG = np.random.default_rng(77)
DATA = Dataset(RNG.standard_normal((20, 4)), RNG.standard_normal((20, 1)))


@pytest.mark.short
@pytest.mark.parametrize("claim", [claim.name for claim in MODEL.claims()])
def test_claims_turn_out_as_announced(claim):
    assert run_claim(MODEL, claim).verdict.as_expected


@pytest.mark.short
def test_a_constant_that_is_wrong_by_a_tenth_is_refuted():
    """The exponent alone would be right: it is the constant that makes the error fall as the square."""
    for name, factor in (("kernel_movement", 1.1), ("linearisation_error", 1.1)):
        claim = MODEL.claim(name)
        law = claim.law
        readout = second_order_descent().observables[law.readout].subs(ALPHA, ALPHA / factor)
        planted = replace(claim, law=replace(law, name="planted", readout=readout))
        assert run_claim(MODEL, planted).verdict.outcome == "refuted"


@pytest.mark.short
def test_lazy_theory_holds_at_a_large_scale_where_it_is_refuted_at_a_small_one():
    claim = MODEL.claim("lazy_theory_when_rich")
    lazy = run_claim(MODEL, replace(claim, setup=claim.setup.at(output_scale=100.0))).verdict
    assert lazy.outcome == "underpowered" and abs(lazy.bias) < 1e-3  # both hold: the exact law is never wrong
    assert lazy.rival_outcome == "holds"


@pytest.mark.short
@pytest.mark.parametrize("imbalance", [0.4, 2.5])
def test_modes_at_other_imbalances(imbalance):
    model = LazyToRich(imbalance=imbalance)
    assert run_claim(model, "kernel_of_modes").verdict.outcome == "holds"


@pytest.mark.instant
def test_an_imbalance_that_is_not_positive_is_refused():
    for wrong in (0.0, -1.0):
        with pytest.raises(BadData, match="imbalance"):
            LazyToRich(imbalance=wrong)


@pytest.mark.short
def test_modes_that_turn_into_each_other_are_out_of_the_domain():
    """From a general start and on inputs that are not white, the law of single modes does not apply, and says so."""
    claim = MODEL.claim("whole_range")
    mixed = replace(claim.setup, initialisation=Initialisation("normal", 0.5), time=1.0)
    verdict = run_claim(MODEL, replace(claim, setup=mixed, values=(1.0,))).verdict
    assert verdict.outcome == "outside_domain" and any("rotation" in note for note in verdict.notes)
    raw = replace(claim.setup, prepare=("drop_constant", "centre", "one_hot"), optimizer=Optimizer(learning_rate=2e-4))
    verdict = run_claim(MODEL, replace(claim, setup=replace(raw, time=0.02), values=(1.0,))).verdict
    assert verdict.outcome == "outside_domain" and any("whitened" in note for note in verdict.notes)


@pytest.mark.short
@pytest.mark.parametrize("scale", [1.0, 30.0])
def test_kernel_movement_is_that_of_kernels_in_numpy(scale):
    """Descent written out for two erf layers, tangent kernels by reverse mode in NumPy."""
    from scipy.special import erf

    setup = Setup(
        network=chain("input", "width", "output", activation="erf", parameterization="ntk"),
        axes={"width": 9},
        optimizer=Optimizer(learning_rate=0.4),
        initialisation=Initialisation("standard_normal"),
        output_scale=scale,
        options={"centred": True},
        steps=12,
        records=3,
    )
    instance = setup.draw(0, DATA)
    found = train(instance, ["kernel_movement"])["kernel_movement"][:, 0]
    x, y, w, a = DATA.x, DATA.y, instance["W1"].copy(), instance["W2"].copy()
    rows = x[:MOVEMENT_ROWS]
    outputs = lambda w, a: erf(x @ w.T / 2) @ a.T / 3  # noqa: E731
    kernel = lambda w, a: tangent_kernel(setup.network, {"W1": w, "W2": a}, rows)  # noqa: E731
    start, first, expected = outputs(w, a), kernel(w, a), []
    for step in range(13):
        if step in setup.recorded_steps():
            expected.append(np.linalg.norm(kernel(w, a) - first) / np.linalg.norm(first))
        error = 0.4 / scale * (y - scale * (outputs(w, a) - start)) / len(x)
        slope = 2 / np.sqrt(np.pi) * np.exp(-((x @ w.T / 2) ** 2))
        w, a = w + (error * a / 3 * slope).T @ x / 2, a + error.T @ erf(x @ w.T / 2) / 3
    assert expected[-1] > 1e-4 / scale
    assert found == pytest.approx(expected, rel=1e-9, abs=1e-15)


@pytest.mark.short
def test_movement_of_modes_is_that_of_the_matrices():
    """The law's kernel movement against tangent kernels of the weights themselves, integrated by small steps."""
    claim = MODEL.claim("kernel_of_modes")
    instance = draw(replace(claim, values=(0.2,)), _digits(), 0)[0][0]
    law = solve(claim.law, instance)
    x, alpha = instance["x"], instance.setup.output_scale
    W1, W2 = instance["W1"].copy(), instance["W2"].copy()
    Sigma_xx, Sigma_yx = instance.dataset.covariances()
    rows, both = x[:MOVEMENT_ROWS], np.eye(len(W2))
    kernel = lambda: np.kron(rows @ W1.T @ W1 @ rows.T, both) + np.kron(rows @ rows.T, W2 @ W2.T)  # noqa: E731
    start, rate = kernel(), instance.learning_rate
    for _ in range(instance.steps[8]):
        missing = alpha * (Sigma_yx - alpha * W2 @ W1 @ Sigma_xx)
        W1, W2 = W1 + rate * W2.T @ missing, W2 + rate * missing @ W1.T
    moved = np.linalg.norm(kernel() - start) / np.linalg.norm(start)
    assert law.values[8, 0] == pytest.approx(moved, rel=0.01) and moved > 0.1


def _digits():
    from learning_mechanics.validate.inputs.data import load

    return load("digits")
