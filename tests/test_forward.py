"""The JAX forward pass against plain loops over samples, positions and channels, written from the definitions."""

import itertools
import math

import numpy as np
import pytest
import sympy as sp
from scipy.special import erf

from learning_mechanics.solvers.precision import double_precision, x64
from learning_mechanics.theory.architecture.constructors import (
    activation,
    attention,
    average_pool,
    convolution,
    dense,
    flatten,
    global_average_pool,
    layer_norm,
    product,
    reshape,
    residual,
    serial,
    sum_of,
)
from learning_mechanics.theory.architecture.network import Network, Node
from learning_mechanics.theory.architecture.shapes import initial_spreads
from learning_mechanics.theory.errors import BadData
from learning_mechanics.theory.initialisation import as_stated
from learning_mechanics.validate.experiments.forward import forward

pytestmark = pytest.mark.short

SCALAR = {
    "relu": lambda v: max(v, 0.0),
    "erf": lambda v: float(erf(v)),
    "tanh": math.tanh,
    "gelu": lambda v: v * (1 + float(erf(v / math.sqrt(2)))) / 2,
    "identity": lambda v: v,
}


def windows(positions, window, strides, padding):
    """For every output position, a list of (offset in the window, source position or None for a padded zero)."""
    per_axis = []
    for size, w, s in zip(positions, window, strides, strict=True):
        count = (size - w) // s + 1 if padding == "valid" else -(-size // s)
        before = 0 if padding == "valid" else max((count - 1) * s + w - size, 0) // 2
        axis = []
        for out in range(count):
            places = []
            for offset in range(w):
                at = out * s + offset - before
                if padding == "circular":
                    at %= size
                places.append((offset, at if 0 <= at < size else None))
            axis.append(places)
        per_axis.append(axis)
    for corner in itertools.product(*(range(len(axis)) for axis in per_axis)):
        cells = []
        for cell in itertools.product(*(axis[c] for axis, c in zip(per_axis, corner, strict=True))):
            inside = all(at is not None for _, at in cell)
            cells.append((tuple(o for o, _ in cell), tuple(at for _, at in cell) if inside else None))
        yield corner, cells


def looped(network, weights, sample):
    """One sample through the network, entry by entry."""
    value = {}
    for node in network.nodes:
        h = value[node.inputs[0]] if node.inputs else sample
        if node.op == "input":
            made = sample
        elif node.op in ("dense", "convolution"):
            W = weights[node.weight].T if node.transposed else weights[node.weight]
            fan_in = math.prod(W.shape[1:])
            a, c = (node.w_std / math.sqrt(fan_in), node.b_std) if node.parameterization == "ntk" else (1.0, 1.0)
            b = c * weights[node.bias] if node.bias else np.zeros(len(W))
            if node.op == "dense":
                made = np.zeros((*h.shape[:-1], len(W)))
                for at in np.ndindex(*h.shape[:-1]):
                    for o in range(len(W)):
                        made[at][o] = a * sum(W[o, i] * h[at][i] for i in range(W.shape[1])) + b[o]
            else:
                strides = node.strides or (1,) * len(node.window)
                cells = dict(windows(h.shape[:-1], node.window, strides, node.padding))
                made = np.zeros((*(1 + max(c[k] for c in cells) for k in range(len(node.window))), len(W)))
                for corner, places in cells.items():
                    for o in range(len(W)):
                        total = 0.0
                        for offset, at in places:
                            if at is not None:
                                total += sum(W[(o, i, *offset)] * h[at][i] for i in range(W.shape[1]))
                        made[corner][o] = a * total + b[o]
        elif node.op == "activation":
            made = np.vectorize(SCALAR[node.activation], otypes=[float])(h)
        elif node.op == "sum":
            made = sum(
                c * value[n] for c, n in zip(node.coefficients or (1,) * len(node.inputs), node.inputs, strict=True)
            )
        elif node.op == "product":
            made = math.prod(value[n] for n in node.inputs)
        elif node.op == "scale":
            made = h * weights[node.weight]
        elif node.op == "total":
            made = np.array([h.sum()])
        elif node.op == "layer_norm":
            made = np.zeros_like(h)
            for at in np.ndindex(*h.shape[:-1]):
                mean = sum(h[at]) / len(h[at])
                variance = sum((v - mean) ** 2 for v in h[at]) / len(h[at])
                made[at] = [(v - mean) / math.sqrt(variance + node.epsilon) for v in h[at]]
        elif node.op == "reshape":
            made = np.array(list(h.ravel())).reshape(node.window)
        elif node.op == "average_pool":
            if not node.window:
                cells = [h[at] for at in np.ndindex(*h.shape[:-1])]
                made = sum(cells) / len(cells)
            else:
                cells = dict(windows(h.shape[:-1], node.window, node.strides or node.window, node.padding))
                made = np.zeros((*(1 + max(c[k] for c in cells) for k in range(len(node.window))), h.shape[-1]))
                for corner, places in cells.items():
                    made[corner] = sum(h[at] for _, at in places if at is not None) / len(places)
        elif node.op == "flatten":
            made = np.array([v for at in np.ndindex(*h.shape[:-1]) for v in h[at]])
        elif node.op == "attention":
            W, spots = weights[node.weight], list(np.ndindex(*h.shape[:-1]))
            a = node.w_std / math.sqrt(W.shape[1]) if node.parameterization == "ntk" else 1.0
            made = np.zeros_like(h)
            for p in spots:
                logits = [(a * W @ h[p]) @ (a * W @ h[q]) / len(W) for q in spots]
                powers = [math.exp(logit) for logit in logits]
                made[p] = sum(power * h[q] for power, q in zip(powers, spots, strict=True)) / sum(powers)
        value[node.name] = made
    return np.concatenate([value[name].ravel() for name in network.outputs])


def drawn(network, d, width=5, output=2, seed=0):
    sizes = {"input": d, "width": width, "output": output}
    shapes = network.shapes(sizes)
    return as_stated(np.random.default_rng(seed), shapes, 1.0, {}, initial_spreads(network, sizes))


def applied(network):
    import jax

    return x64(jax.jit(forward(network)))


def assert_agrees(network, d, **kwargs):
    weights = drawn(network, d, **kwargs)
    x = np.random.default_rng(1).standard_normal((3, d))
    found = applied(network)(weights, x)
    expected = np.array([looped(network, weights, row) for row in x])
    np.testing.assert_allclose(found, expected, rtol=1e-12, atol=1e-13)


PLAIN = {
    "ntk": serial(dense(1.5, 0.3), activation("relu"), dense(0.7, 0.2), activation("erf"), dense(2.0)),
    "standard": serial(dense(1.5, 0.3, parameterization="standard"), activation("gelu"), dense(1.1)),
    "residual": serial(dense(), residual(activation("tanh"), dense(0.5, 0.1), scale=0.3), dense()),
    "sum and product": serial(
        dense(),
        sum_of(activation("relu"), activation("erf"), coefficients=(2, -0.5)),
        product(dense(), dense()),
        dense(),
    ),
    "layer norm": serial(dense(), layer_norm(0.1), activation("relu"), layer_norm(), dense()),
}


@pytest.mark.parametrize("name", PLAIN)
def test_plain_layers(name):
    assert_agrees(PLAIN[name], 4)


@pytest.mark.parametrize("padding", ["valid", "same", "circular"])
@pytest.mark.parametrize("positions, window, strides", [((7,), (4,), (2,)), ((5, 6), (3, 2), (2, 1))])
def test_convolutions(positions, window, strides, padding):
    network = serial(
        reshape(*positions, 2),
        convolution(window, 1.3, 0.4, strides=strides, padding=padding),
        activation("erf"),
        convolution((2,) * len(window), padding=padding),
        flatten(),
        dense(0.8, 0.1),
    )
    assert_agrees(network, 2 * math.prod(positions))


def test_a_circular_window_may_be_wider_than_the_grid():
    assert_agrees(serial(reshape(3, 1), convolution((8,), padding="circular"), flatten(), dense()), 3)


@pytest.mark.parametrize("padding", ["valid", "same", "circular"])
@pytest.mark.parametrize("window, strides", [((2, 2), ()), ((3, 2), (1, 2))])
def test_average_pooling(window, strides, padding):
    pool = average_pool(window, strides, padding)
    assert_agrees(serial(reshape(4, 5, 1), convolution((2, 2)), activation("relu"), pool, flatten(), dense()), 20)


def test_global_pooling_dense_layers_at_positions_and_grids_as_outputs():
    assert_agrees(serial(reshape(3, 2, 2), dense(), activation("relu"), global_average_pool(), dense()), 12)
    assert_agrees(serial(reshape(3, 2), convolution((2,), 1.0, 0.5)), 6)


@pytest.mark.parametrize("parameterization", ["ntk", "standard"])
def test_attention(parameterization):
    heads = attention(1.4, width=3, parameterization=parameterization)
    assert_agrees(serial(reshape(2, 2, 3), dense(), heads, layer_norm(), attention(0.5), flatten(), dense()), 12)


def test_scale_and_total_on_a_grid():
    nodes = (
        Node("x", "input", width="input"),
        Node("g", "reshape", ("x",), window=(3, 2)),
        Node("s", "scale", ("g",), weight="w", w_std=1.0),
        Node("t", "total", ("s",)),
    )
    assert_agrees(Network(nodes), 6)


def test_a_gate_multiplies_whole_samples_on_grids_too():
    nodes = (
        Node("x", "input", width="input"),
        Node("r", "reshape", ("x",), window=(3, 2)),
        Node("g", "gate", ("r",), gate="c"),
    )
    x, c = np.arange(12.0).reshape(2, 6), np.array([2.0, -1.0])
    found = x64(forward(Network(nodes)))({}, x, {"c": c})
    np.testing.assert_array_equal(found, x * c[:, None])


def test_the_loops_would_notice_shifted_windows():
    """A window that pads on the other side first gives other numbers: the comparison above can fail."""
    network = serial(reshape(4, 1), convolution((2,), padding="same"), flatten())
    weights, x = drawn(network, 4), np.random.default_rng(1).standard_normal((1, 4))
    flipped = {**weights, "W1": weights["W1"][..., ::-1]}
    assert np.abs(x64(forward(network))(flipped, x)[0] - looped(network, weights, x[0])).max() > 0.1


@pytest.mark.parametrize("x", [np.zeros((1, 3)), np.ones((1, 3)), np.full((1, 3), 1e-170)])
def test_layer_norm_of_constant_features_is_zero_and_so_is_its_gradient(x):
    import jax

    network = serial(layer_norm(), dense())
    weights = drawn(network, 3)
    with double_precision():
        value = forward(network)(weights, x)
        gradient = jax.jit(jax.grad(lambda x: forward(network)(weights, x).sum()))(x)
    assert np.all(np.asarray(value) == 0) and np.all(np.asarray(gradient) == 0)


@pytest.mark.parametrize(
    "network, d",
    [
        (serial(reshape(6, 1), convolution((3,), padding="circular"), average_pool((2,)), flatten(), dense()), 6),
        (serial(reshape(3, 2), dense(), attention(), layer_norm(), global_average_pool(), dense()), 6),
    ],
)
def test_gradients_against_finite_differences(network, d):
    import jax

    weights, x = drawn(network, d), np.random.default_rng(2).standard_normal((2, d))
    f = forward(network)
    with double_precision():
        f = jax.jit(f)
        found = jax.jit(jax.grad(lambda weights: f(weights, x).sum()))(weights)
        for name, array in weights.items():
            step = np.zeros_like(array)
            step.flat[1] = 1e-6
            ends = [float(f({**weights, name: array + sign * step}, x).sum()) for sign in (1, -1)]
            assert abs((ends[0] - ends[1]) / 2e-6 - float(np.asarray(found[name]).flat[1])) < 1e-7


def test_features_of_different_shapes_are_not_added_silently():
    network = serial(reshape(4, 1), dense(), residual(convolution((2,))), flatten(), dense())
    with pytest.raises(BadData, match="sum"):
        forward(network)(drawn(network, 4), np.ones((1, 4)))
    narrow = serial(dense(width=3), residual(dense(width=1)), dense())
    with pytest.raises(BadData, match="sum"):
        forward(narrow)(drawn(narrow, 4), np.ones((1, 4)))


def test_a_formula_and_a_function_are_traced_like_names():
    import jax.numpy as jnp

    z, x = sp.Symbol("z", real=True), np.random.default_rng(3).standard_normal((2, 4))
    by_name, by_formula, by_function = (
        serial(dense(), activation(a), dense()) for a in ("tanh", sp.tanh(z), lambda v: jnp.tanh(v))
    )
    weights = drawn(by_name, 4)
    expected = applied(by_name)(weights, x)
    np.testing.assert_allclose(applied(by_formula)(weights, x), expected, rtol=1e-14)
    np.testing.assert_allclose(applied(by_function)(weights, x), expected, rtol=1e-14)


FAMILIES = (
    "identity relu leaky_relu leaky_relu(0.2) abs square power(3) polynomial(1,-2,1/2) hermite(4) rectified_power(2) "
    "erf normal_cdf gelu sin cos exp gaussian tanh sigmoid silu softplus"
).split()


@pytest.mark.parametrize("name", FAMILIES)
def test_activations_and_their_slopes_against_sympy(name):
    import jax
    from mpmath import mp

    from learning_mechanics.theory.architecture.activations import formula
    from learning_mechanics.validate.experiments.nonlinearities import array_function

    law, z = formula(name), sp.Symbol("z", real=True)
    points = np.array([-3.0, -0.7, 0.4, 2.5])
    with double_precision(), mp.workdps(30):
        function = array_function(name)
        found = np.asarray(function(points)), np.asarray(jax.jit(jax.vmap(jax.grad(function)))(points))
        for value, expression in zip(found, (law(z), law(z).diff(z)), strict=True):
            exact = [float(expression.subs(z, sp.Rational(str(p))).evalf(30)) for p in points]
            np.testing.assert_allclose(value, exact, rtol=1e-13, atol=1e-15)


@pytest.mark.parametrize("name", ["tanh", "sigmoid", "silu", "softplus", "gelu", "erf", "normal_cdf", "gaussian"])
def test_far_tails_give_numbers(name):
    import jax

    from learning_mechanics.validate.experiments.nonlinearities import array_function

    with double_precision():
        function, points = array_function(name), np.array([-1e3, -50.0, 0.0, 50.0, 1e3])
        assert np.isfinite(np.asarray(function(points))).all()
        assert np.isfinite(np.asarray(jax.jit(jax.vmap(jax.grad(function)))(points))).all()
