"""Networks as graphs: the symbolic and the numerical interpreter agree, and what cannot be is refused by name."""

import numpy as np
import pytest
import sympy as sp

from learning_mechanics.theory.architecture.activations import ACTIVATIONS
from learning_mechanics.theory.architecture.network import Network, Node, chain
from learning_mechanics.theory.derivation.probe import evaluate
from learning_mechanics.theory.errors import BadData, UnknownName

SAMPLES = 5
ORDERS = {"rectified_power": "(2)", "power": "(3)", "polynomial": "(1,0,1/2)", "hermite": "(3)"}
BENT = [name + ORDERS.get(name, "") for name in ACTIVATIONS]


def interpreted(network, parameters, x, gates):
    import jax

    from learning_mechanics.validate.experiments.forward import forward

    with jax.enable_x64(True):
        return np.asarray(forward(network)(parameters, x, gates))


def evaluated(network, parameters, x, gates):
    """The symbolic forward pass in NumPy; columns are samples."""
    values = network.symbolic_values("P")
    numbers = {sp.Symbol("P", integer=True, positive=True): SAMPLES}
    named = {name: np.reshape(array, (len(array), -1)) for name, array in {**parameters, **gates}.items()}
    columns = np.split(x, np.cumsum([network.widths()[name] for name in network.inputs])[:-1], axis=1)
    for name, part in zip(network.inputs, columns, strict=True):
        named["X" if len(network.inputs) == 1 else f"X_{name}"] = part.T
    for value in values.values():
        numbers |= {symbol: named[symbol.name] for symbol in value.atoms(sp.MatrixSymbol)}
    return np.concatenate([evaluate(values[name], numbers) for name in network.outputs]).T


EVERYTHING = Network(
    (
        Node("a", "input", width=2),
        Node("b", "input", width=3),
        Node("ha", "dense", ("a",), weight="A", width=4, bias="bias", parameterization="ntk"),
        Node("hb", "dense", ("b",), weight="B", width=4),
        Node("bent", "activation", ("ha",), activation="tanh"),
        Node("scaled", "scale", ("hb",), weight="v"),
        Node("mixed", "product", ("bent", "scaled")),
        Node("gated", "gate", ("mixed",), gate="g"),
        Node("s", "sum", ("gated", "hb"), coefficients=(1.5, -0.25)),
        Node("back", "dense", ("s",), weight="B", width=3, transposed=True),
        Node("y", "total", ("s",)),
    ),
    outputs=("back", "y"),
)


@pytest.mark.short
@pytest.mark.parametrize(
    "network",
    [EVERYTHING, *(chain(3, 4, 2, activation=name, bias=True) for name in BENT)],
    ids=["everything", *BENT],
)
def test_two_interpreters_of_one_graph(network):
    rng = np.random.default_rng(0)
    parameters = {name: rng.standard_normal(shape) for name, shape in network.shapes({}).items()}
    gates = {name: rng.random(SAMPLES) for name in network.gates}
    x = rng.standard_normal((SAMPLES, sum(network.widths()[name] for name in network.inputs)))
    one, other = interpreted(network, parameters, x, gates), evaluated(network, parameters, x, gates)
    assert one.shape == (SAMPLES, sum(network.widths()[name] for name in network.outputs))
    assert np.abs(one - other).max() < 1e-12 * np.abs(one).max()


@pytest.mark.instant
def test_a_graph_knows_itself():
    assert EVERYTHING.shapes({}) == {"A": (4, 2), "bias": (4,), "B": (4, 3), "v": (4,)}
    assert EVERYTHING.inputs == ("a", "b") and EVERYTHING.gates == ("g",)
    assert not EVERYTHING.is_linear and chain(3, 2, 1).is_linear
    assert set(EVERYTHING.graph.predecessors("s")) == {"gated", "hb"}
    assert chain("d", "h").symbolic().shape[0] == sp.Symbol("h", integer=True, positive=True)


@pytest.mark.instant
def test_refusals_say_what_is_wrong():
    source = Node("x", "input", width=3)
    with pytest.raises(UnknownName, match="unknown operation 'denze'; did you mean 'dense'"):
        Network((source, Node("y", "denze", ("x",))))
    with pytest.raises(UnknownName, match="unknown node 'h'"):
        Network((source, Node("y", "dense", ("h",), weight="W", width=1)))
    with pytest.raises(UnknownName, match="unknown node 'z'"):
        Network((source,), outputs=("z",))
    with pytest.raises(BadData, match="1 coefficients for 2 inputs; give one for each"):
        Network((source, Node("y", "sum", ("x", "x"), coefficients=(1.0,))))
    tied = Network(
        (source, Node("h", "dense", ("x",), weight="W", width=2), Node("y", "dense", ("h",), weight="W", width=2))
    )
    with pytest.raises(BadData, match="tied weights need equal widths"):
        tied.shapes({})
    with pytest.raises(UnknownName, match="unknown width 'h'"):
        chain(3, "h").shapes({})
