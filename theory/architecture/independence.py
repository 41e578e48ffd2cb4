r"""What the channels of every layer depend on, found before any data: which sums, products and activations are exact.

In a wide network the channels of a dense or convolutional layer are independent Gaussian processes, and every feature
is a function of some of these, its sources, at the same channel. Features with disjoint sources are independent:

    E (g + h)(g' + h') = E g g' + E h h' + E g E h' + E h E g',      E (g h)(g' h') = E g g'  E h h'.

Sums keep the linear combination over nodes they are made of, so that h + h is 2 h. What the three rules do not reach
is refused by the name of the layer.

>>> from .constructors import activation, dense, residual, serial
>>> found = facts(serial(dense(), residual(activation("relu"), dense())))
>>> found["sum4"].terms, found["sum4"].gaussian
((('dense1', 1.0), ('dense3', 1.0)), True)
"""

from collections import Counter
from dataclasses import dataclass

from ..errors import BadData
from .network import Network, Node

LAYERS = ("dense", "convolution")
KEEPS_GAUSSIAN = ("layer_norm", "average_pool", "attention")


@dataclass(frozen=True)
class Facts:
    """Of one node: the linear combination `terms` of nodes it is, its `sources`, and what kind of features it has.

    `gaussian`  channels are independent Gaussian processes
    `centred`   their mean is zero whatever the input
    `pairs`     covariances between different positions are needed, because averages over positions follow
    """

    terms: tuple[tuple[str, float], ...]
    sources: frozenset[str]
    gaussian: bool
    centred: bool
    pairs: bool


def facts(network: Network, gaussian_input: bool = False) -> dict[str, Facts]:
    """Facts of every node by name; `gaussian_input` where the network is a block between dense layers of others.

    Errors: `BadData`, naming the layer, for operations, dependences and activations that the recursion does not cover.
    """
    _shape_of_the_graph(network)
    pairs = _pairs_of_positions(network)
    found: dict[str, Facts] = {}
    for node in network.nodes:
        before = [found[name] for name in node.inputs]
        terms: tuple[tuple[str, float], ...] = ((node.name, 1.0),)
        if node.op in ("input", *LAYERS):
            layer = node.op in LAYERS
            made = (frozenset({node.name}), layer or gaussian_input, layer)
        elif node.op == "sum":
            terms, gaussian, centred = _sum(node, found)
            made = (frozenset().union(*(found[name].sources for name, _ in terms)), gaussian, centred)
        elif node.op == "product":
            _independent(node, node.inputs, found, "product", 'give one activation, as activation("square") for h * h')
            made = (frozenset().union(*(f.sources for f in before)), False, any(f.centred for f in before))
        else:
            (only,) = before
            if node.op == "activation" and node.activation != "identity" and not only.gaussian:
                raise BadData(
                    f"an activation on features that are not Gaussian ({_described(network, node.inputs[0])})",
                    where=node.name,
                    remedy="put a dense layer before it, or join both activations to one formula",
                )
            identity = node.op == "activation" and node.activation == "identity"
            terms = only.terms if identity else terms
            gaussian = only.gaussian and (node.op in KEEPS_GAUSSIAN or identity)
            centred = node.op == "layer_norm" or (only.centred and (node.op != "activation" or identity))
            made = (only.sources, gaussian, centred)
        found[node.name] = Facts(terms, *made, node.name in pairs)
    return found


def _shape_of_the_graph(network: Network) -> None:
    if len(network.inputs) != 1 or len(network.outputs) != 1:
        raise BadData(
            f"a network of {len(network.inputs)} inputs and {len(network.outputs)} outputs",
            where="infinite width",
            remedy="give one of each",
        )
    uses = Counter(node.weight for node in network.nodes if node.weight)
    biases = Counter(node.bias for node in network.nodes if node.bias)
    for node in network.nodes:
        if uses[node.weight] > 1 or biases[node.bias] > 1:
            name = node.weight if uses[node.weight] > 1 else node.bias
            raise BadData(
                f"the tied weights {name}, used {max(uses[node.weight], biases[node.bias])} times",
                where=node.name,
                remedy="give every layer weights of its own: tied layers are not independent",
            )
        if node.op in REFUSED:
            found, remedy = REFUSED[node.op]
            raise BadData(found, where=node.name, remedy=remedy)


REFUSED = {
    "gate": ("a gate that is given with every sample", "multiply by a branch with weights of its own: product(...)"),
    "scale": ("a weight for every channel, so channels are not exchangeable", "use a dense layer"),
    "total": ("a sum of all entries that grows with the width", "end with a dense layer"),
}


def _sum(node: Node, found: dict[str, Facts]) -> tuple[tuple[tuple[str, float], ...], bool, bool]:
    combined: dict[str, float] = {}
    for factor, name in zip(node.coefficients or (1.0,) * len(node.inputs), node.inputs, strict=True):
        for source, share in found[name].terms:
            combined[source] = combined.get(source, 0.0) + factor * share
    terms = tuple((source, share) for source, share in combined.items() if share != 0)
    if not terms:
        raise BadData("a sum that cancels", where=node.name, remedy="give other coefficients")
    _independent(
        node,
        [name for name, _ in terms],
        found,
        "sum",
        "put a dense layer between them, or join them to one activation",
    )
    parts = [found[name] for name, _ in terms]
    return terms, all(f.gaussian for f in parts), all(f.centred for f in parts)


def _independent(node: Node, names, found: dict[str, Facts], what: str, remedy: str) -> None:
    for i, first in enumerate(names):
        for second in names[:i]:
            if shared := found[first].sources & found[second].sources:
                raise BadData(
                    f"a {what} of {second} and {first}, which both depend on {sorted(shared)[0]}",
                    where=node.name,
                    remedy=remedy,
                )


def _pairs_of_positions(network: Network) -> set[str]:
    """Nodes whose covariances between different positions are needed later."""
    needed: set[str] = set()
    for node in reversed(network.nodes):
        if node.op in ("average_pool", "attention") or (node.name in needed and node.op not in ("flatten", "reshape")):
            needed.update(node.inputs)
    return needed


def _described(network: Network, name: str) -> str:
    node = next(node for node in network.nodes if node.name == name)
    return f"of {name}" if node.op != "input" else "the inputs themselves"
