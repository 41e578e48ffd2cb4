"""Networks as small directed graphs, stated once and interpreted many times.

A `Network` is a graph of nodes (input, dense, activation, sum, scale, product, gate, total). The symbolic forward pass
below and the JAX forward pass in `validate.experiments.forward` are two interpreters of the same graph; conformance
compares them numerically.

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


OPERATIONS = ("input", "dense", "activation", "sum", "scale", "product", "gate", "total")


@dataclass(frozen=True)
class Node:
    """One operation, on features as columns h (width,):

    input       columns of the data, `width` of them
    dense       W h, with `weight` naming the matrix W (out, in); reuse a name to tie weights, `transposed` applies W'.
                `bias` names a vector or is empty, `multiplier` is a factor: "1" or "1/sqrt(fan_in)"
    activation  `activation` of every entry
    sum         its inputs added, with `coefficients` (all 1 if empty)
    scale       every entry multiplied by its own weight: `weight` names the vector (width,)
    product     its inputs multiplied entry by entry
    gate        h multiplied by a number given with every sample: `gate` names the array (samples,)
    total       the sum of all entries, of width 1
    """

    name: str
    op: str
    inputs: tuple[str, ...] = ()
    weight: str = ""
    width: str | int = 0
    bias: str = ""
    multiplier: str = "1"
    activation: str = ""
    transposed: bool = False
    gate: str = ""
    coefficients: tuple[float, ...] = ()


@dataclass(frozen=True)
class Network:
    """An immutable graph of nodes in topological order; the last node is the output unless `outputs` names others.

    Several inputs stand side by side in the columns of the data, in the order of their nodes; so do several outputs.
    """

    nodes: tuple[Node, ...]
    outputs: tuple[str, ...] = ()

    def __post_init__(self):
        seen: set[str] = set()
        for node in self.nodes:
            if node.op not in OPERATIONS:
                raise UnknownName.among(node.op, OPERATIONS, kind="operation", where=node.name)
            for name in node.inputs:
                if name not in seen:
                    raise UnknownName.among(name, seen, kind="node", where=f"inputs of {node.name}")
            if node.op == "activation" and node.activation not in ACTIVATIONS:
                raise UnknownName.among(node.activation, ACTIVATIONS, kind="activation", where=node.name)
            if node.coefficients and len(node.coefficients) != len(node.inputs):
                raise BadData(
                    f"{len(node.coefficients)} coefficients for {len(node.inputs)} inputs",
                    where=node.name,
                    remedy="give one for each",
                )
            seen.add(node.name)
        for name in self.outputs:
            if name not in seen:
                raise UnknownName.among(name, seen, kind="node", where="outputs")
        object.__setattr__(self, "outputs", self.outputs or (self.nodes[-1].name,))

    @property
    def graph(self) -> nx.DiGraph:
        graph = nx.DiGraph()
        for node in self.nodes:
            graph.add_node(node.name, node=node)
            graph.add_edges_from((source, node.name) for source in node.inputs)
        return graph

    @property
    def depth(self) -> int:
        """Number of distinct weight arrays."""
        return len({node.weight for node in self.nodes if node.weight})

    @property
    def inputs(self) -> tuple[str, ...]:
        """Names of the input nodes."""
        return tuple(node.name for node in self.nodes if node.op == "input")

    @property
    def gates(self) -> tuple[str, ...]:
        """Names of the arrays (samples,) that gate paths, in order of first use."""
        return tuple(dict.fromkeys(node.gate for node in self.nodes if node.gate))

    @property
    def is_linear(self) -> bool:
        """Whether the output is one linear map of the input, the same for every sample."""
        bent = any(node.op in ("product", "gate") or node.activation not in ("", "identity") for node in self.nodes)
        return not (bent or any(node.bias for node in self.nodes))

    def widths(self) -> dict[str, str | int]:
        """Width of every node, as stated (a number, or the name of an axis)."""
        widths: dict[str, str | int] = {}
        for node in self.nodes:
            stated = node.width if node.op in ("input", "dense") else 1 if node.op == "total" else 0
            widths[node.name] = stated or widths[node.inputs[0]]
        return widths

    def shapes(self, sizes: Mapping[str, Any]) -> dict[str, tuple[Any, ...]]:
        """Shape of every parameter array, with named widths looked up in `sizes`."""
        stated = self.widths()
        for width in stated.values():
            if isinstance(width, str) and width not in sizes:
                raise UnknownName.among(width, sizes, kind="width", where="network")
        widths = {name: sizes[w] if isinstance(w, str) else w for name, w in stated.items()}
        shapes: dict[str, tuple[Any, ...]] = {}

        def add(weight, shape, node):
            if shapes.setdefault(weight, shape) != shape:
                raise BadData(
                    f"{weight} has shape {shapes[weight]} and is applied as {shape}",
                    where=f"node {node.name}",
                    remedy="tied weights need equal widths",
                )

        for node in self.nodes:
            if node.op == "dense":
                shape = (widths[node.name], widths[node.inputs[0]])
                add(node.weight, shape[::-1] if node.transposed else shape, node)
                if node.bias:
                    add(node.bias, (widths[node.name],), node)
            elif node.op == "scale":
                add(node.weight, (widths[node.name],), node)
        return shapes

    def weights(self) -> tuple[sp.MatrixSymbol, ...]:
        """Weight matrices as matrix symbols with symbolic dimensions, in order of first use."""
        shapes = self.shapes(self._symbolic_sizes())
        return tuple(sp.MatrixSymbol(name, *shape) for name, shape in shapes.items() if len(shape) == 2)

    def symbolic(self, samples: str = "P") -> sp.MatrixExpr:
        """The output on inputs X (input, samples): columns are samples in the symbolic layer.

        Several inputs are called X_name, gates are columns (samples, 1), and several outputs are stacked.
        """
        values = self.symbolic_values(samples)
        found = [values[name] for name in self.outputs]
        return found[0] if len(found) == 1 else sp.BlockMatrix([[value] for value in found])

    def symbolic_values(self, samples: str = "P") -> dict[str, Any]:
        """The value of every node on all samples, as a matrix expression (width, samples)."""
        sizes, stated, count = self._symbolic_sizes(), self.widths(), dimensions(samples)
        weights = {weight.name: weight for weight in self.weights()}
        value: dict[str, Any] = {}
        for node in self.nodes:
            first: Any = value[node.inputs[0]] if node.inputs else None
            if node.op == "input":
                width = stated[node.name]
                name = "X" if len(self.inputs) == 1 else f"X_{node.name}"
                made = sp.MatrixSymbol(name, sizes[width] if isinstance(width, str) else width, count)
            elif node.op == "dense":
                matrix = weights[node.weight].T if node.transposed else weights[node.weight]
                made = matrix * first
                if node.multiplier == "1/sqrt(fan_in)":
                    made = made / sp.sqrt(matrix.shape[1])
                if node.bias:
                    made = made + sp.MatrixSymbol(node.bias, matrix.shape[0], 1) * sp.OneMatrix(1, count)
            elif node.op == "activation":
                made = first.applyfunc(ACTIVATIONS[node.activation])
            elif node.op == "sum":
                factors = map(sp.nsimplify, node.coefficients or (1,) * len(node.inputs))
                terms = [factor * value[name] for factor, name in zip(factors, node.inputs, strict=True)]
                made = sp.MatAdd(*terms).doit()
            elif node.op == "scale":
                made = sp.DiagMatrix(sp.MatrixSymbol(node.weight, first.shape[0], 1)) * first
            elif node.op == "product":
                made = sp.HadamardProduct(*(value[name] for name in node.inputs))
            elif node.op == "gate":
                made = first * sp.DiagMatrix(sp.MatrixSymbol(node.gate, count, 1))
            else:
                made = sp.OneMatrix(1, first.shape[0]) * first
            value[node.name] = made
        return value

    def _symbolic_sizes(self) -> dict[str, Any]:
        return {width: dimensions(width) for width in self.widths().values() if isinstance(width, str)}


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
