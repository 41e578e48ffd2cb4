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
    global_average_pool,
    layer_norm,
    product,
    reshape,
    residual,
    serial,
)
from learning_mechanics.theory.architecture.network import Network, Node, chain
from learning_mechanics.theory.architecture.shapes import initial_spreads
from learning_mechanics.theory.errors import BadData, UnknownName
from learning_mechanics.theory.infinite_width.network_kernel import infinite_width
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
    import jax

    f, rows = x64(jax.jit(forward(network))), []
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


# ---- finite networks approach the kernels of infinite width ---------------------------------------------------------

relu, erf = activation("relu"), activation("erf")
WIDE = {
    "relu": serial(dense(1.4, 0.3), relu, dense(1.2, 0.2), relu, dense(1.1, 0.1)),
    "erf": serial(dense(1.4, 0.3), erf, dense(1.2, 0.2), erf, dense(1.1, 0.1)),
    "gelu": serial(dense(1.4, 0.3), activation("gelu"), dense(1.2, 0.2), activation("gelu"), dense(1.1, 0.1)),
    "residual": serial(dense(1.2, 0.2), residual(relu, dense(1.3, 0.2), scale=0.7), relu, dense()),
    "layer norm": serial(dense(1.2, 0.2), layer_norm(), relu, dense(1.3, 0.1), layer_norm(0.1), erf, dense()),
    "layer norm after relu": serial(dense(1.2, 0.2), relu, layer_norm(), dense(1.1, 0.1), relu, layer_norm(), dense()),
    "product": serial(dense(1.2, 0.2), relu, product(dense(1.1, 0.3), dense(0.9, 0.2)), dense(0.8, 0.1)),
    "convolution, flat": serial(
        reshape(4, 2), convolution((2,), 1.3, 0.2, padding="circular"), relu, convolution((2,), 1.2), erf,
        flatten(), dense(),
    ),
    "convolution, global pooling": serial(
        reshape(2, 2, 2), convolution(2, 1.3, 0.2, padding="same"), relu, convolution((2, 1), 1.2, 0.1), relu,
        global_average_pool(), dense(1.2, 0.1),
    ),
    "attention": serial(
        reshape(4, 2), dense(1.5, 0.3), attention(1.2), dense(1.3), relu, global_average_pool(), dense(),
    ),
    "transformer block": serial(
        reshape(4, 2), dense(1.5, 0.3), residual(attention(1.2), dense(0.8, 0.1)), layer_norm(),
        residual(dense(1.1), relu, dense(0.7, 0.2), scale=0.5), flatten(), dense(),
    ),
}  # fmt: skip
INPUTS = np.random.default_rng(4).standard_normal((3, 8))
ENTRIES = np.triu_indices(3)


def measured(network, width, seeds):
    """Entries of the two kernels of networks drawn from these seeds, (seeds, 2, 6); NNGP from `width` outputs."""
    found = []
    for seed in seeds:
        both = []
        for name, outputs in (("nngp", width), ("ntk", 1)):
            weights = drawn(network, 8, width, outputs, seed)
            both.append(getattr(empirical_kernel(network, weights, INPUTS, get=(name,)), name)[ENTRIES])
        found.append(both)
    return np.array(found)


def expected(network):
    exact = infinite_width(network)(INPUTS)
    return np.array([exact.nngp[ENTRIES], exact.ntk[ENTRIES]])


@pytest.mark.parametrize("name", ["layer norm after relu", "transformer block"])
def test_the_mean_over_networks(name):
    """|z| < 4 for 12 entries: a false alarm in 1300 runs."""
    found, exact = measured(WIDE[name], 192, range(30)), expected(WIDE[name])
    z = (found.mean(0) - exact) / (found.std(0, ddof=1) / np.sqrt(len(found)))
    assert np.abs(z).max() < 4, z


def test_the_mean_would_notice_a_centring_that_is_forgotten():
    """A norm after relu that subtracts no mean is sqrt(2) times a norm before it: both kernels are then off."""
    norm, gain = layer_norm(), 2**0.5
    uncentred = serial(dense(1.2, 0.2), norm, relu, dense(1.1 * gain, 0.1), norm, relu, dense(gain))
    found, wrong = measured(WIDE["layer norm after relu"], 192, range(30)), expected(uncentred)
    z = (found.mean(0) - wrong) / (found.std(0, ddof=1) / np.sqrt(len(found)))
    assert np.abs(z).max(axis=-1).min() > 4


@pytest.mark.long
@pytest.mark.parametrize("name", WIDE)
def test_the_error_falls_as_the_root_of_the_width(name):
    """Slope -0.5 +- 0.1 with a standard error < 0.04; |z| < 4 for the means at the largest width."""
    counts, exact = {128: 512, 256: 320, 512: 192, 1024: 128}, expected(WIDE[name])  # width: networks
    scale = np.abs(exact).mean(-1)
    logarithms, variances = [], []
    for width, count in counts.items():
        found = measured(WIDE[name], width, range(count))
        square = np.square((found - exact) / scale[:, None]).mean(-1)  # of each seed, (seeds, 2)
        logarithms.append(np.log(square.mean(0)) / 2)
        variances.append((square.std(0, ddof=1) / square.mean(0) / 2) ** 2 / len(square))
    x = np.log(list(counts))
    x -= x.mean()
    slope = x @ np.array(logarithms) / (x @ x)
    error = np.sqrt(x**2 @ np.array(variances)) / (x @ x)
    z = (found.mean(0) - exact) / (found.std(0, ddof=1) / np.sqrt(len(found)))
    print(name, "slopes", slope.round(3), "+-", error.round(3), "largest |z|", np.abs(z).max().round(2))
    assert np.abs(z).max() < 4
    assert error.max() < 0.04 and np.abs(slope + 0.5).max() < 0.1
