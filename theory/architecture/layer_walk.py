"""One walk through the graph of a wide network, for anything that every layer maps to the same kind of thing.

Pairs of variances with the correlation between them, formulas of a covariance, power series of a kernel: each is a set
of `Rules`, one method per kind of layer, and a walk applies them in the order of the graph. Which sums, products and
activations are exact is known from `independence`, and everything else is refused there.

>>> from types import SimpleNamespace
>>> from .constructors import activation, dense, serial
>>> spoken = SimpleNamespace(dense=lambda x, node: f"W {x}", activation=lambda x, node: f"{node.activation}({x})")
>>> passed(serial(dense(2.0, 0.5), activation("relu"), dense()), "x", spoken).state
'W relu(W x)'
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol

from ..errors import NoClosedForm
from .independence import facts
from .network import Network


class Rules(Protocol):
    """What one layer of each kind makes of the state of its input, or of its independent inputs."""

    def dense(self, state: Any, node: Any) -> Any: ...

    def activation(self, state: Any, node: Any) -> Any: ...

    def sum(self, states: list[Any], coefficients: tuple[float, ...], node: Any) -> Any: ...

    def product(self, states: list[Any], node: Any) -> Any: ...

    def layer_norm(self, state: Any, node: Any) -> Any: ...


@dataclass(frozen=True)
class Passed:
    """The states of all nodes by name, in order, and whether the features of the last one are Gaussian."""

    states: Mapping[str, Any]
    state: Any
    gaussian: bool


def passed(network: Network, start: Any, rules: Any, *, gaussian: bool = False) -> Passed:
    """A walk through a network with one input and one output, which starts from the state `start`.

    `gaussian` says whether the input features are, as they are where the network is a block between dense layers.
    Errors: `NoClosedForm`, naming the layer, for operations on grids; `BadData` for branches that are not independent.
    """
    known = facts(network, gaussian)
    states: dict[str, Any] = {}
    for node in network.nodes:
        before = [states[name] for name in node.inputs]
        if node.op == "input":
            made = start
        elif node.op == "sum":
            names, factors = zip(*known[node.name].terms, strict=True)
            made = rules.sum([states[name] for name in names], factors, node)
        elif node.op == "product":
            made = rules.product(before, node)
        elif node.op == "activation" and node.activation == "identity":
            made = before[0]
        elif node.op in ("dense", "activation", "layer_norm"):
            made = getattr(rules, node.op)(before[0], node)
        else:
            raise NoClosedForm(
                f"{node.op} is no plain layer",
                where=node.name,
                remedy="use dense, activation, sum, product and layer_norm",
            )
        states[node.name] = made
    (end,) = network.outputs
    return Passed(states, states[end], known[end].gaussian)
