"""Networks as small directed graphs, stated once and interpreted many times.

A `Network` is a graph of nodes (input, dense, activation, sum). The symbolic forward pass below and the JAX forward
pass in `validate.experiments.forward` are two interpreters of the same graph; conformance compares them numerically.

>>> deep = chain("input", "width", "output")
>>> print(deep.symbolic())
W2*W1*X
>>> deep.shapes({"input": 5, "width": 3, "output": 2})
{'W1': (3, 5), 'W2': (2, 3)}
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import networkx as nx
import sympy as sp

from .errors import BadData, UnknownName
from .symbols import dimensions

_z = sp.Dummy("z", real=True)
ACTIVATIONS = {
    "identity": sp.Lambda(_z, _z),
    "relu": sp.Lambda(_z, sp.Max(_z, 0)),
    "tanh": sp.Lambda(_z, sp.tanh(_z)),
    "erf": sp.Lambda(_z, sp.erf(_z)),
    "square": sp.Lambda(_z, _z**2),
}


@dataclass(frozen=True)
class Node:
    """One operation: `op` is "input", "dense", "activation" or "sum".

    dense: `weight` names the matrix (out, in) - reuse a name to tie weights -, `bias` names a vector or is empty,
    `multiplier` is a factor on the matrix product: "1" or "1/sqrt(fan_in)".
    """

    name: str
    op: str
    inputs: tuple[str, ...] = ()
    weight: str = ""
    width: str | int = 0
    bias: str = ""
    multiplier: str = "1"
    activation: str = ""


@dataclass(frozen=True)
class Network:
    """An immutable graph of nodes in topological order; the last node is the output."""

    nodes: tuple[Node, ...]

    def __post_init__(self):
        seen: set[str] = set()
        for node in self.nodes:
            for name in node.inputs:
                if name not in seen:
                    raise UnknownName.among(name, seen, kind="node", where=f"inputs of {node.name}")
            if node.op == "activation" and node.activation not in ACTIVATIONS:
                raise UnknownName.among(node.activation, ACTIVATIONS, kind="activation", where=node.name)
            seen.add(node.name)

    @property
    def graph(self) -> nx.DiGraph:
        graph = nx.DiGraph()
        for node in self.nodes:
            graph.add_node(node.name, node=node)
            graph.add_edges_from((source, node.name) for source in node.inputs)
        return graph

    @property
    def depth(self) -> int:
        """Number of distinct weight matrices."""
        return len({node.weight for node in self.nodes if node.weight})

    @property
    def is_linear(self) -> bool:
        return all(node.activation in ("", "identity") and not node.bias for node in self.nodes)

    def widths(self) -> dict[str, str | int]:
        """Width of every node, as stated (a number, or the name of an axis)."""
        widths: dict[str, str | int] = {}
        for node in self.nodes:
            widths[node.name] = node.width if node.op in ("input", "dense") else widths[node.inputs[0]]
        return widths

    def shapes(self, sizes: Mapping[str, int]) -> dict[str, tuple[int, ...]]:
        """Shape of every parameter array, with named widths looked up in `sizes`."""
        stated = self.widths()
        for width in stated.values():
            if isinstance(width, str) and width not in sizes:
                raise UnknownName.among(width, sizes, kind="width", where="network")
        widths = {name: sizes[w] if isinstance(w, str) else w for name, w in stated.items()}
        shapes: dict[str, tuple[int, ...]] = {}
        for node in self.nodes:
            if node.op == "dense":
                shapes[node.weight] = (widths[node.name], widths[node.inputs[0]])
                if node.bias:
                    shapes[node.bias] = (widths[node.name],)
        return shapes

    def weights(self) -> tuple[sp.MatrixSymbol, ...]:
        """Weight matrices as matrix symbols with symbolic dimensions, in order of first use."""
        sizes = {w: dimensions(w) for w in self.widths().values() if isinstance(w, str)}
        shapes = self.shapes(sizes)
        return tuple(sp.MatrixSymbol(name, *shape) for name, shape in shapes.items() if len(shape) == 2)

    def symbolic(self, samples: str = "P") -> sp.MatrixExpr:
        """The output on inputs X (input, samples): columns are samples in the symbolic layer."""
        width = self.widths()[self.nodes[0].name]
        X = sp.MatrixSymbol("X", dimensions(width) if isinstance(width, str) else width, dimensions(samples))
        weights = {weight.name: weight for weight in self.weights()}
        value: dict[str, Any] = {}
        for node in self.nodes:
            first = value[node.inputs[0]] if node.inputs else X
            if node.op == "input":
                value[node.name] = X
            elif node.op == "dense":
                value[node.name] = weights[node.weight] * first
                if node.multiplier == "1/sqrt(fan_in)":
                    value[node.name] = value[node.name] / sp.sqrt(weights[node.weight].shape[1])
                if node.bias:
                    offset = sp.MatrixSymbol(node.bias, weights[node.weight].shape[0], 1)
                    value[node.name] = value[node.name] + offset * sp.OneMatrix(1, X.shape[1])
            elif node.op == "activation":
                value[node.name] = first.applyfunc(ACTIVATIONS[node.activation])
            elif node.op == "sum":
                value[node.name] = sp.MatAdd(*(value[name] for name in node.inputs)).doit()
        return value[self.nodes[-1].name]


def chain(*widths: str | int, activation: str = "identity", bias: bool = False, multiplier: str = "1") -> Network:
    """A plain stack: dense layers W1, W2, ... between the given widths, an activation between layers.

    >>> chain("input", 100, "output", activation="tanh", bias=True).depth
    2
    """
    if not widths:
        raise BadData("no width is given", where="chain", remedy='write, say, chain("input", "width", "output")')
    nodes = [Node("x", "input", width=widths[0])]
    for layer, width in enumerate(widths[1:], 1):
        nodes.append(
            Node(
                f"h{layer}",
                "dense",
                (nodes[-1].name,),
                weight=f"W{layer}",
                width=width,
                bias=f"b{layer}" if bias else "",
                multiplier=multiplier,
            )
        )
        if activation != "identity" and layer < len(widths) - 1:
            nodes.append(Node(f"a{layer}", "activation", (nodes[-1].name,), activation=activation))
    return Network(tuple(nodes))
