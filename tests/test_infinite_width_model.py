"""Kernels at the start of training as a model: its formulas, its observables, and that wrong kernels are refuted."""

from types import SimpleNamespace

import numpy as np
import pytest

from learning_mechanics.solvers.precision import double_precision
from learning_mechanics.theory.infinite_width.network_kernel import infinite_width
from learning_mechanics.theory.models.wide_networks.infinite_width import InfiniteWidthKernels, kernel_equation
from learning_mechanics.validate.experiments.empirical_kernel import empirical_kernel
from learning_mechanics.validate.experiments.forward import forward
from learning_mechanics.validate.judging.check import check
from learning_mechanics.validate.observables.measure import find

model = InfiniteWidthKernels()


def measured(name, instance):
    import jax

    run = forward(instance.setup.network)
    with double_precision():
        context = SimpleNamespace(
            forward=lambda parameters, x: run(parameters, x),
            arrays={"x": np.asarray(instance["x"])},
            network=instance.setup.network,
        )
        weights = {name: np.asarray(value) for name, value in instance.weights.items()}
        return np.asarray(jax.jit(lambda weights: find(name).measure(context, (), weights, None, 0)[1])(weights))


@pytest.fixture
def instance():
    claim = model.claim("tangent_kernel")
    return claim.setup.draw(3, claim.setup.data)


@pytest.mark.short
def test_tangent_kernel_entries(instance):
    exact = empirical_kernel(instance.setup.network, instance.weights, instance["x"]).ntk
    found = measured("tangent_kernel_entries", instance)
    np.testing.assert_allclose(found, exact[np.triu_indices(4)], rtol=1e-12)


@pytest.mark.short
def test_output_covariance_is_that_over_last_weights(instance):
    """Over 4000 draws of the last layer: |z| < 4 for 10 entries, a false alarm in 1600 runs."""
    found = measured("output_covariance", instance)
    rng, outputs = np.random.default_rng(0), []
    run, weights = forward(instance.setup.network), dict(instance.weights)
    last = instance.setup.network.nodes[-1]
    with double_precision():
        features = forward(type(instance.setup.network)(instance.setup.network.nodes[:-1]))(weights, instance["x"])
        one = np.asarray(run(weights, instance["x"]))[:, 0]
    features = np.asarray(features)
    direct = last.w_std * features @ weights[last.weight][0] / np.sqrt(features.shape[1])
    np.testing.assert_allclose(one, direct + last.b_std * weights[last.bias][0], rtol=1e-12)
    for _ in range(4000):
        w, b = rng.standard_normal(features.shape[1]), rng.standard_normal()
        outputs.append(last.w_std * features @ w / np.sqrt(features.shape[1]) + last.b_std * b)
    products = np.array([np.outer(f, f)[np.triu_indices(4)] for f in outputs])
    z = (products.mean(0) - found) / (products.std(0) / np.sqrt(len(products)))
    assert np.abs(z).max() < 4


@pytest.mark.short
def test_the_rival_forgets_only_the_mean():
    """Both norms agree where the mean is zero; after relu the rival is K / sqrt(A B) without centring."""
    x = np.random.default_rng(1).standard_normal((3, 5))
    inner = infinite_width(type(model._network())(model._network().nodes[:-2]))(x, get="nngp").nngp
    root = np.sqrt(np.diag(inner))
    found = infinite_width(model._network(centred=False))(x, get="nngp").nngp
    np.testing.assert_allclose(found, 1.2**2 * inner / np.outer(root, root) + 0.25, rtol=1e-12)
    right = infinite_width(model._network())(x, get="nngp").nngp
    assert np.abs(right - found).max() > 0.1


@pytest.mark.short
def test_formulas_say_how_far_they_were_checked():
    for network in (model._network(), model._network(centred=False)):
        step = kernel_equation(network, "ntk").trail.steps[-1]
        assert step.residual < 1e-12 and step.check


@pytest.mark.short
def test_images_hold_and_pixels_alone_are_refuted():
    verdict = check(model, "pooled_images")
    assert verdict.outcome == "holds" and verdict.rival_outcome == "refuted"


@pytest.mark.long
def test_the_other_claims():
    for name, outcome in (("tangent_kernel", "holds"), ("width_16", "refuted")):
        verdict = check(model, name)
        assert verdict.outcome == outcome and verdict.rival_outcome == "refuted"
