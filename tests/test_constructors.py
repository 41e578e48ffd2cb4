"""Networks from readable parts: names, widths and shapes come out as written, and what cannot be joined is refused."""

import numpy as np
import pytest
import sympy as sp

from learning_mechanics.theory.architecture.activations import ACTIVATIONS, activation_name, formula, stated
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
from learning_mechanics.theory.architecture.network import Network, Node, chain
from learning_mechanics.theory.architecture.shapes import feature_shapes
from learning_mechanics.theory.dataset import Dataset
from learning_mechanics.theory.errors import BadData, NoClosedForm, UnknownName
from learning_mechanics.theory.setup import Initialisation, Setup

pytestmark = pytest.mark.instant
SIZES = {"input": 64, "width": 8, "output": 3}


def test_the_example_of_the_front_page():
    import learning_mechanics as lm

    la = lm.architecture
    net = la.serial(
        la.dense(w_std=1.5, b_std=0.1),
        la.activation("relu"),
        la.residual(la.dense(), la.activation("relu")),
        la.layer_norm(eps=0.0),
        la.dense(width=1),
    )
    assert [node.op for node in net.nodes] == [
        "input", "dense", "activation", "dense", "activation", "sum", "layer_norm", "dense",
    ]  # fmt: skip
    assert net.shapes({"input": 5, "width": 7}) == {"W1": (7, 5), "b1": (7,), "W2": (7, 7), "W3": (1, 7)}
    assert net.nodes[1].w_std == 1.5 and net.nodes[1].b_std == 0.1 and net.nodes[1].parameterization == "ntk"


def test_serial_is_associative_up_to_names():
    parts = (dense(2.0, 0.5), activation("erf"), dense(), layer_norm(), dense())
    flat, nested = serial(*parts), serial(serial(*parts[:2]), serial(parts[2], serial(*parts[3:])))
    assert flat == nested


def test_widths_resolve_to_the_last_layer():
    net = serial(dense(), residual(dense(), activation("relu"), dense()), sum_of(dense(), dense()))
    stated_widths = net.widths()
    assert [stated_widths[node.name] for node in net.nodes if node.op == "dense"] == ["width"] * 3 + ["output"] * 2


def test_ties_within_a_part_stay_and_between_parts_do_not():
    tied = Network(
        (
            Node("x", "input", width="input"),
            Node("h", "dense", ("x",), weight="A", width=4),
            Node("y", "dense", ("h",), weight="A", width="input", transposed=True),
        )
    )
    net = serial(tied, tied)
    assert [node.weight for node in net.nodes if node.weight] == ["W1", "W1", "W2", "W2"]
    assert net.shapes({"input": 6}) == {"W1": (4, 6), "W2": (4, 6)}


@pytest.mark.parametrize("padding", ["valid", "same", "circular"])
@pytest.mark.parametrize("stride", [1, 2, 3])
@pytest.mark.parametrize("window", [1, 2, 3])
def test_positions_left_by_a_window(padding, stride, window):
    net = serial(reshape(8, 8, 1), convolution(window, strides=stride, padding=padding))
    starts = range(0, 8 - window + 1, stride) if padding == "valid" else range(0, 8, stride)
    assert list(feature_shapes(net, SIZES).values())[-1] == (len(starts), len(starts), 3)


def test_shapes_of_an_image_network():
    net = serial(
        reshape(8, 8, 1),
        convolution(3, padding="same", width=6),
        activation("relu"),
        average_pool(2),
        attention(width=5),
        flatten(),
        dense(),
    )
    assert net.shapes(SIZES) == {"W1": (6, 1, 3, 3), "W2": (5, 6), "W3": (3, 96)}
    pooled = serial(reshape(8, 8, 1), convolution(3, padding="same"), global_average_pool(), dense())
    assert pooled.shapes(SIZES)["W2"] == (3, 8)


def test_branches_of_different_shapes_are_refused_by_name():
    net = serial(dense(width=4), residual(activation("relu"), dense(width=5)), dense())
    with pytest.raises(BadData, match=r"sum4: a sum of dense1, of shape \(4,\), and dense3, of shape \(5,\)"):
        feature_shapes(net, {"input": 3, "output": 2})
    named = serial(dense(), residual(activation("relu"), dense(width=5)), dense())
    assert feature_shapes(named, {"input": 3, "width": 5, "output": 2})["sum4"] == (5,)
    with pytest.raises(BadData, match="sum4"):
        feature_shapes(named, {"input": 3, "width": 6, "output": 2})


def test_stated_weights_have_the_stated_variance():
    """Sample variances of 160000 and of 400 normal numbers: 5 standard deviations each, false alarm below 1e-5."""
    data = Dataset(np.zeros((2, 400)), np.zeros(2))
    for how, spread in (("ntk", 1.0), ("standard", 2.0 / 20)):
        net = serial(dense(2.0, 0.3, parameterization=how), activation("tanh"), dense(width=1, parameterization=how))
        setup = Setup(network=net, axes={"width": 400}, initialisation=Initialisation("as_stated"))
        weights = setup.draw(0, data).weights
        assert abs(weights["W1"].var() / spread**2 - 1) < 5 * np.sqrt(2 / 160000)
        assert abs(weights["b1"].var() / (1.0 if how == "ntk" else 0.09) - 1) < 5 * np.sqrt(2 / 400)


def test_both_parameterizations_are_one_function():
    """The same network at the start: W_standard = w_std / sqrt(fan_in) W_ntk, b_standard = b_std b_ntk."""
    import jax

    from learning_mechanics.validate.experiments.forward import forward

    rng = np.random.default_rng(0)
    x = rng.standard_normal((4, 5))
    layers = (((1.5, 0.2), 6), ((), 0), ((0.7,), 2))
    nets = [
        serial(*(dense(*std, width=w, parameterization=how) if std else activation("gelu") for std, w in layers))
        for how in ("ntk", "standard")
    ]  # fmt: skip
    drawn = {name: rng.standard_normal(shape) for name, shape in nets[0].shapes({"input": 5}).items()}
    scaled = {"W1": drawn["W1"] * 1.5 / np.sqrt(5), "b1": 0.2 * drawn["b1"], "W2": drawn["W2"] * 0.7 / np.sqrt(6)}
    with jax.enable_x64(True):
        one, other = np.asarray(forward(nets[0])(drawn, x)), np.asarray(forward(nets[1])(scaled, x))
    assert np.allclose(one, other, rtol=0, atol=1e-14)


def test_refusals_name_the_layer():
    with pytest.raises(BadData, match="serial: a str"):
        serial("relu")
    with pytest.raises(BadData, match="dense: w_std = -1"):
        dense(-1.0)
    with pytest.raises(UnknownName, match="unknown padding 'smae'; did you mean 'same'"):
        convolution(3, padding="smae")
    with pytest.raises(UnknownName, match="unknown parameterization"):
        dense(parameterization="mup")
    with pytest.raises(BadData, match="63 features laid out as 8 x 8 x 1"):
        feature_shapes(serial(reshape(8, 8, 1)), {"input": 63})
    with pytest.raises(BadData, match="convolution1: a window of 2 dimensions on features with 0; begin with reshape"):
        feature_shapes(serial(convolution(3)), SIZES)
    with pytest.raises(BadData, match="a window of 9 on 8 positions"):
        feature_shapes(serial(reshape(8, 8, 1), convolution(9)), SIZES)
    with pytest.raises(BadData, match="a part with 2 inputs"):
        serial(Network((Node("a", "input", width=1), Node("b", "input", width=1), Node("y", "sum", ("a", "b")))))
    with pytest.raises(BadData, match="no branches"):
        product()
    with pytest.raises(BadData, match="reshape: the shape"):
        reshape(8)
    with pytest.raises(NoClosedForm, match="layer_norm has no form as a matrix expression"):
        serial(dense(), layer_norm()).symbolic()


def test_activations_by_name_formula_and_function():
    x = sp.Symbol("x", real=True)
    for name in ACTIVATIONS:
        orders = {"rectified_power": "(2)", "power": "(3)", "polynomial": "(0,1,-1/2)", "hermite": "(4)"}
        assert formula(name + orders.get(name, "")).expr is not None
    assert formula("polynomial(1, 0, 1/2)")(x) == 1 + x**2 / 2
    assert formula("hermite(4)")(x) == x**4 - 6 * x**2 + 3
    assert stated(sp.tanh(2 * x))(1) == sp.tanh(2) and stated(sp.sin)(x) == sp.sin(x)
    assert formula(np.tanh) is None
    assert activation_name(np.tanh) == "tanh" and stated("leaky_relu( 0.2 )") == "leaky_relu(0.2)"
    assert chain(2, 3, 1, activation=sp.Lambda(x, x**3)).symbolic().shape[0] == 1
    for wrong, message in (
        ("rleu", "did you mean 'relu'"),
        ("relu(3)", "1 arguments; give none"),
        ("power", "0 arguments; give 1, as in power"),
        ("hermite(1/2)", "order 1/2; give a whole number"),
        ("leaky_relu(a)", "give numbers"),
        (3.0, "give a name, a formula or a function"),
        (x + sp.Symbol("y"), "use exactly one symbol"),
        (sp.Lambda((x, sp.Symbol("y")), x), "a formula of 2 variables"),
    ):
        with pytest.raises((BadData, UnknownName), match=message):
            stated(wrong)
