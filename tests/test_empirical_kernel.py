"""Kernels of finite networks: against reverse mode by hand, against finite differences, in blocks, with refusals."""

import numpy as np
import pytest

from learning_mechanics.solvers.precision import x64
from learning_mechanics.theory.architecture.constructors import (
    activation,
    attention,
    convolution,
    dense,
    flatten,
    layer_norm,
    reshape,
    serial,
)
from learning_mechanics.theory.architecture.network import Network, Node, chain
from learning_mechanics.theory.architecture.shapes import initial_spreads
from learning_mechanics.theory.errors import BadData, UnknownName
from learning_mechanics.theory.initialisation import as_stated
from learning_mechanics.theory.regression.linearised import tangent_kernel
from learning_mechanics.validate.experiments.empirical_kernel import empirical_kernel
from learning_mechanics.validate.experiments.forward import forward

pytestmark = pytest.mark.short


def drawn(network, d, width=6, output=1, seed=0):
    sizes = {"input": d, "width": width, "output": output}
    return as_stated(np.random.default_rng(seed), network.shapes(sizes), 1.0, {}, initial_spreads(network, sizes))


x = np.random.default_rng(1).standard_normal((5, 6))


def test_against_reverse_mode_by_hand():
    network = chain("input", "width", "width", "output", activation="erf", bias=True, parameterization="ntk")
    weights = drawn(network, 6)
    np.testing.assert_allclose(
        empirical_kernel(network, weights, x, x[:2]).ntk, tangent_kernel(network, weights, x, x[:2]), rtol=1e-12
    )


def test_any_operation_against_finite_differences():
    network = serial(
        reshape(3, 2), convolution((2,), 1.0, 0.5, padding="circular"), attention(), layer_norm(), flatten(), dense()
    )
    weights = drawn(network, 6, output=2)
    f, rows = x64(forward(network)), []
    for name, array in weights.items():
        for k in range(array.size):
            step = np.zeros_like(array)
            step.flat[k] = 1e-6
            rows.append((f({**weights, name: array + step}, x) - f({**weights, name: array - step}, x)) / 2e-6)
    jacobian = np.array(rows)  # (parameters, n, o)
    found = empirical_kernel(network, weights, x)
    np.testing.assert_allclose(found.ntk, np.einsum("pic,pjc->ij", jacobian, jacobian) / 2, rtol=1e-7)
    outputs = f(weights, x)
    np.testing.assert_allclose(found.nngp, outputs @ outputs.T / 2, rtol=1e-13)


def test_blocks_change_nothing_and_bytes_are_said():
    network = serial(dense(1.0, 0.3), activation("relu"), dense())
    weights = drawn(network, 6)
    row = 8 * sum(array.size for array in weights.values())
    whole = empirical_kernel(network, weights, x)
    tiles = empirical_kernel(network, weights, x, memory=4 * row)
    crossed = empirical_kernel(network, weights, x, x, memory=4 * row)
    np.testing.assert_allclose(tiles.ntk, whole.ntk, rtol=1e-13)
    np.testing.assert_allclose(crossed.ntk, whole.ntk, rtol=1e-13)
    np.testing.assert_array_equal(tiles.ntk, tiles.ntk.T)
    with pytest.raises(BadData, match=f"{2 * row:,} bytes"):
        empirical_kernel(network, weights, x, memory=row)


def test_one_of_both_is_enough():
    network = chain("input", "output")
    found = empirical_kernel(network, drawn(network, 6), x, get=("nngp",))
    assert found.ntk is None and found.nngp.shape == (5, 5)
    with pytest.raises(UnknownName, match="nngp"):
        empirical_kernel(network, drawn(network, 6), x, get=("ngp",))


def test_refusals():
    gated = Network((Node("x", "input", width="input"), Node("g", "gate", ("x",), gate="c")))
    with pytest.raises(BadData, match="gates c"):
        empirical_kernel(gated, {}, x)
    with pytest.raises(BadData, match="shapes"):
        empirical_kernel(chain("input", "output"), {"W1": np.ones((1, 6))}, x, x[:, :3])
