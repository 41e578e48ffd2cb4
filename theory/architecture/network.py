"""Networks as small directed graphs, stated once and interpreted many times.

A `Network` is a graph of nodes (dense, activation, sum ...). The symbolic forward pass (`symbolic_forward`), the JAX
forward pass (`validate.experiments.forward`) and the kernels of infinite width (`theory.infinite_width`) are its
interpreters. `constructors` builds graphs from readable parts; `chain` below is the plain stack.

>>> deep = chain("input", "width", "output")
>>> print(deep.symbolic())
W2*W1*X
>>> deep.shapes({"input": 5, "width": 3, "output": 2})
{'W1': (3, 5), 'W2': (2, 3)}
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any

import networkx as nx
import sympy as sp

from ..errors import BadData, UnknownName
from ..symbols import dimensions
from .activations import stated
from .shapes import parameter_shapes
from .symbolic_forward import symbolic_values

OPERATIONS = (
    "input",
    "dense",
    "activation",
    "sum",
    "scale",
    "product",
    "gate",
    "total",
    "layer_norm",
    "reshape",
    "convolution",
    "average_pool",
    "flatten",
    "attention",
)
SPATIAL = ("reshape", "convolution", "average_pool", "flatten", "attention")
PARAMETERIZATIONS = ("standard", "ntk")
PADDINGS = ("valid", "same", "circular")


@dataclass(frozen=True)
class Node:
    """One operation, on features as columns h (width,), or at every position of a grid (positions..., channels):

    input         columns of the data, `width` of them
    dense         W h + b, with `weight` naming the matrix W (out, in); reuse a name to tie weights, `transposed`
                  applies W'. `bias` names a vector or is empty. With n = fan-in, the parameterization
                  "standard"  is W h + b, stated to start from W ~ N(0, w_std^2 / n), b ~ N(0, b_std^2),
                  "ntk"       is w_std / sqrt(n) W h + b_std b, stated to start from standard normal W and b.
                  A `width` of 0 is "width", or "output" where no other dense layer follows
    activation    `activation` of every entry: see `activations`
    sum           its inputs added, with `coefficients` (all 1 if empty)
    scale         every entry multiplied by its own weight: `weight` names the vector (width,)
    product       its inputs multiplied entry by entry
    gate          h multiplied by a number given with every sample: `gate` names the array (samples,)
    total         the sum of all entries, of width 1
    layer_norm    (h - mean) / sqrt(variance + epsilon), over channels, at every position
    reshape       the features of a sample laid out as `window` = (positions..., channels), channels last
    convolution   as dense, at every position, of the `window` around it: W (out, in, *window), fan-in in x window.
                  `strides` (all 1 if empty), `padding` "valid", "same" (zeros; both as in TensorFlow) or "circular"
    average_pool  the mean over a `window`, with `strides` (the window if empty) and `padding`; an empty window is
                  the mean over all positions. Padded zeros are counted
    flatten       positions and channels as features of one sample
    attention     softmax over positions of h W'W h' / (channels of W), times h: `weight` names W (width, in), tied for
                  queries and keys, which start as those of a dense layer
    """

    name: str
    op: str
    inputs: tuple[str, ...] = ()
    weight: str = ""
    width: str | int = 0
    bias: str = ""
    parameterization: str = "standard"
    w_std: float = 1.0
    b_std: float = 0.0
    activation: Any = ""
    transposed: bool = False
    gate: str = ""
    coefficients: tuple[float, ...] = ()
    epsilon: float = 0.0
    window: tuple[int, ...] = ()
    strides: tuple[int, ...] = ()
    padding: str = "valid"

    def __repr__(self) -> str:
        stated_fields = [repr(self.name), repr(self.op), *([repr(self.inputs)] if self.inputs else [])]
        for other in fields(self)[3:]:
            if (value := getattr(self, other.name)) != other.default:
                stated_fields.append(f"{other.name}={value!r}")
        return f"Node({', '.join(stated_fields)})"

    def factors(self, fan_in: Any) -> tuple[Any, Any]:
        """What multiplies the weights and the bias of this layer in the forward pass.

        >>> Node("h", "dense", parameterization="ntk", w_std=1.5, b_std=0.1).factors(9)
        (0.5, 0.1)
        """
        if self.parameterization == "standard":
            return 1, 1
        exact = isinstance(fan_in, sp.Basic)
        root = sp.sqrt(fan_in) if exact else math.sqrt(fan_in)
        return (sp.nsimplify(self.w_std) if exact else self.w_std) / root, self.b_std


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
            if node.op == "activation":
                stated(node.activation)
            for kind, value, known in (
                ("parameterization", node.parameterization, PARAMETERIZATIONS),
                ("padding", node.padding, PADDINGS),
            ):
                if value not in known:
                    raise UnknownName.among(value, known, kind=kind, where=node.name)
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

    def __str__(self) -> str:
        """One node a line: what it is called, what it does, what it starts from."""
        return "\n".join(f"{node.name:<14} {_described(node)}" for node in self.nodes)

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
        bends = ("product", "gate", "layer_norm", "attention")
        bent = any(node.op in bends or node.activation not in ("", "identity") for node in self.nodes)
        return not (bent or any(node.bias for node in self.nodes))

    def widths(self) -> dict[str, str | int]:
        """Width of every node, as stated (a number, or the name of an axis); of grids, the number of channels."""
        widths: dict[str, str | int] = {}
        inner = self._followed_by_a_layer()
        for node in self.nodes:
            if node.op in ("input", "dense", "convolution"):
                widths[node.name] = node.width or ("width" if node.name in inner else "output")
            elif node.op == "reshape":
                widths[node.name] = node.window[-1]
            else:
                widths[node.name] = 1 if node.op == "total" else widths[node.inputs[0]]
        return widths

    def _followed_by_a_layer(self) -> set[str]:
        """Nodes that a dense or convolutional layer comes after."""
        inner: set[str] = set()
        for node in reversed(self.nodes):
            if node.op in ("dense", "convolution", "attention") or node.name in inner:
                inner.update(node.inputs)
        return inner

    def shapes(self, sizes: Mapping[str, Any]) -> dict[str, tuple[Any, ...]]:
        """Shape of every parameter array, with named widths looked up in `sizes`."""
        return parameter_shapes(self, sizes)

    def weights(self) -> tuple[sp.MatrixSymbol, ...]:
        """Weight matrices as matrix symbols with symbolic dimensions, in order of first use."""
        shapes = self.shapes(self._symbolic_sizes())
        return tuple(sp.MatrixSymbol(name, *shape) for name, shape in shapes.items() if len(shape) == 2)

    def symbolic(self, samples: str = "P") -> sp.MatrixExpr:
        """The output on inputs X (input, samples): columns are samples in the symbolic layer.

        Several inputs are called X_name, gates are columns (samples, 1), and several outputs are stacked.
        """
        values = symbolic_values(self, samples)
        found = [values[name] for name in self.outputs]
        return found[0] if len(found) == 1 else sp.BlockMatrix([[value] for value in found])

    def symbolic_values(self, samples: str = "P") -> dict[str, Any]:
        """The value of every node on all samples, as a matrix expression (width, samples)."""
        return symbolic_values(self, samples)

    def _symbolic_sizes(self) -> dict[str, Any]:
        return {width: dimensions(width) for width in self.widths().values() if isinstance(width, str)}


def chain(
    *widths: str | int, activation: Any = "identity", bias: bool = False, parameterization: str = "standard"
) -> Network:
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
                parameterization=parameterization,
                b_std=1.0 if bias else 0.0,
            )
        )
        if activation != "identity" and layer < len(widths) - 1:
            nodes.append(Node(f"a{layer}", "activation", (nodes[-1].name,), activation=activation))
    return Network(tuple(nodes))


def _described(node: Node) -> str:
    """The operation with everything stated about it, on the nodes it starts from."""
    shown = [f"{f.name} = {getattr(node, f.name)}" for f in fields(node)[3:] if getattr(node, f.name) != f.default]
    return f"{node.op}({', '.join(node.inputs)})" + "".join(f", {text}" for text in shown)


def require_network(given: Any, where: str) -> None:
    """Raise `BadData` for anything but a network.

    >>> require_network("relu", "phase")
    Traceback (most recent call last):
    ...
    learning_mechanics.theory.errors.BadData: phase: a str; give a network, say serial(...)
    """
    if not isinstance(given, Network):
        raise BadData(f"a {type(given).__name__}", where=where, remedy="give a network, say serial(...)")
