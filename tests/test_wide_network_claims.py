"""Claims of wide networks where they end: announced failures hold at large width, narrow ones are flagged."""

from dataclasses import replace

import numpy as np
import pytest

from learning_mechanics.theory.dataset import Dataset
from learning_mechanics.theory.errors import BadData
from learning_mechanics.theory.models.wide_networks.deep_linear_mean_field import DeepLinearMeanField
from learning_mechanics.theory.models.wide_networks.finite_width import FiniteWidth
from learning_mechanics.theory.models.wide_networks.infinite_width import InfiniteWidthKernels
from learning_mechanics.theory.models.wide_networks.lazy_to_rich import LazyToRich
from learning_mechanics.theory.models.wide_networks.mean_field_particles import MeanFieldParticles
from learning_mechanics.theory.models.wide_networks.random_features import RandomFeatures
from learning_mechanics.theory.models.wide_networks.signal_propagation import SignalPropagation, scatter
from learning_mechanics.validate.judging.check import check, run_claim


@pytest.mark.short
def test_what_is_refuted_at_width_16_holds_at_width_1024():
    """The budget of a fifth is no straw: the same law, the same inputs, another width."""
    model = InfiniteWidthKernels()
    claim = model.claim("width_16")
    verdict = run_claim(model, replace(claim, setup=claim.setup.at(width=1024))).verdict
    assert verdict.outcome == "holds" and verdict.rival_outcome == "refuted"


@pytest.mark.short
def test_few_rows_are_no_population():
    """Training on most of the rows is outside the domain, on data that could be told apart or not."""
    rng = np.random.default_rng(4)
    verdict = check(RandomFeatures().on(rng.standard_normal((450, 6)), rng.standard_normal(450)), "random_neurons")
    assert verdict.outcome == "outside_domain" and any("rows not trained on" in note for note in verdict.notes)


@pytest.mark.short
def test_a_kernel_that_is_refused_at_width_16_is_followed_at_width_4096():
    """Then its rival, the network's own kernel, is the same; at a large output scale it is right at any width."""
    model = FiniteWidth()
    claim = model.claim("infinite_width_theory")
    wide = run_claim(model, replace(claim, setup=claim.setup.at(width=4096))).verdict
    assert abs(wide.bias) < wide.budget["total"] and wide.rival_outcome == "holds" and wide.outcome == "underpowered"
    lazy = run_claim(model, replace(claim, setup=claim.setup.at(output_scale=100.0))).verdict
    assert lazy.rival_outcome == "holds" and lazy.outcome == "outside_domain"


@pytest.mark.short
@pytest.mark.parametrize("richness", [1.0, 3.0, 8.0])
def test_narrow_networks_are_flagged_however_rich(richness):
    """Outputs at the start shrink with the richness; the scatter of kernels does not."""
    model = MeanFieldParticles()
    claim = model.claim("narrow")
    verdict = run_claim(model, replace(claim, setup=claim.setup.at(richness=richness))).verdict
    assert verdict.outcome == "outside_domain" and any("infinite width" in note for note in verdict.notes)


@pytest.mark.short
@pytest.mark.parametrize("model", [DeepLinearMeanField(), MeanFieldParticles()])
def test_targets_of_any_size(model):
    """Regression targets of size 300, inputs of size 50: the same verdicts as on labels."""
    rng = np.random.default_rng(2)
    data = Dataset(50 * rng.standard_normal((40, 6)), 300 * rng.standard_normal(40))
    for name in ("outputs", "narrow"):
        verdict = check(model.on(data.x, data.y), name)
        assert verdict.as_expected, str(verdict)


@pytest.mark.short
def test_modes_of_any_number_of_outputs():
    """One column of targets is one mode; hundreds of classes are refused before anything is trained."""
    rng = np.random.default_rng(3)
    x = rng.standard_normal((90, 5))
    verdict = check(
        LazyToRich().on(x, x @ rng.standard_normal(5) / 5 + 0.1 * rng.standard_normal(90)), "kernel_of_modes"
    )
    assert verdict.outcome == "holds"
    with pytest.raises(BadData, match="45 outputs"):
        check(LazyToRich().on(x, np.repeat(np.arange(45), 2)), "kernel_of_modes")


@pytest.mark.short
@pytest.mark.parametrize("scale", [0.6, 1.0, 1.8])
def test_growth_of_gradients_scatters_as_derived(scale):
    """Relative deviation over 80 networks of width 200 in NumPy: the derived one bounds it and is at most 1.6 times.

    The deviation of 80 draws is known within 8 %; a miss by 25 % has a probability below 1e-2 over the three cases.
    """
    from scipy.special import erf

    width, depth, w, b = 200, 6, 1.25 * scale, 0.3 * scale
    block = SignalPropagation(w_std=w, b_std=b)._block()
    rng, growth = np.random.default_rng(17), []
    for _ in range(80):
        layers, weights = [rng.standard_normal(width) * np.hypot(w, b)], []
        for _ in range(depth - 1):
            weights.append(rng.standard_normal((width, width)) * w / np.sqrt(width))
            layers.append(weights[-1] @ erf(layers[-1]) + b * rng.standard_normal(width))
        slope = lambda h: 2 / np.sqrt(np.pi) * np.exp(-(h**2))  # noqa: E731
        g = rng.standard_normal(width) * slope(layers[-1])
        last = (g**2).sum()
        for k in range(depth - 2, -1, -1):
            g = (weights[k].T @ g) * slope(layers[k])
        growth.append(((g**2).sum() / last) ** (1 / (depth - 1)))
    measured = np.std(growth, ddof=1) / np.mean(growth)
    derived = scatter(block, depth, width).gradient
    assert measured < 1.25 * derived and derived < 1.6 * measured
