"""One walk through the graph of a wide network, for anything that every layer maps to the same kind of thing.

Pairs of variances with the correlation between them, formulas of a covariance, power series of a kernel: each is a set
of `Rules`, one method per kind of layer, and a walk applies them in the order of the graph. What makes a rule valid is
checked here once: an activation sees Gaussian features, branches that are joined share no weights.

>>> from ..architecture.constructors import activation, dense, residual, serial
>>> walk(serial(dense(2.0, 0.5), activation("relu"), dense()), Named("x"), Spoken())
Named(text='dense(relu(dense(x)))', centred=True)
"""

from dataclasses import dataclass
from typing import Any, Protocol

from ..architecture.activations import activation_name
from ..architecture.network import Network
from ..errors import BadData, NoClosedForm


class Rules(Protocol):
    """What one layer of each kind does; a state says by `centred` whether its features are known to have zero mean."""

    def dense(self, state: Any, node: Any) -> Any: ...

    def activation(self, state: Any, node: Any) -> Any: ...

    def sum(self, states: list[Any], coefficients: tuple[float, ...], node: Any) -> Any: ...

    def product(self, states: list[Any], node: Any) -> Any: ...

    def layer_norm(self, state: Any, node: Any) -> Any: ...


@dataclass(frozen=True)
class Passed:
    """The state at the end of a walk, and whether the features there are Gaussian."""

    state: Any
    gaussian: bool


def walk(network: Network, start: Any, rules: Rules, *, gaussian: bool = False) -> Any:
    """The state at the output of a network with one input and one output, which starts from `start`.

    `gaussian` says whether the input features are, as they are where the network is a block between dense layers.
    Errors: `NoClosedForm`, naming the layer, for operations on grids and joined branches that share weights.
    """
    return passed(network, start, rules, gaussian=gaussian).state


def passed(network: Network, start: Any, rules: Rules, *, gaussian: bool = False) -> Passed:
    """As `walk`, with what is known of the features at the output."""
    if len(network.inputs) != 1 or len(network.outputs) != 1:
        found = f"{len(network.inputs)} inputs and {len(network.outputs)} outputs"
        raise BadData(f"a network with {found}", where="signal propagation", remedy="give one of each")
    states: dict[str, Any] = {}
    normal: dict[str, bool] = {}
    roots: dict[str, frozenset[str]] = {}  # the weights by which the entries of features differ from one another
    for node in network.nodes:
        before = [states[name] for name in node.inputs]
        root: frozenset[str] = frozenset().union(*(roots[name] for name in node.inputs))
        bell = all(normal[name] for name in node.inputs)
        if node.op == "input":
            made, root, bell = start, frozenset({node.name}), gaussian
        elif node.op == "dense":
            if node.transposed:
                raise _refused(node, "the transpose of a matrix that is used before", "give it weights of its own")
            made, root, bell = rules.dense(before[0], node), frozenset({node.weight}), True
        elif node.op == "activation":
            if not bell:
                raise _refused(
                    node,
                    f"{activation_name(node.activation)} acts on features that are not Gaussian",
                    "put a dense layer before it",
                )
            made, bell = rules.activation(before[0], node), activation_name(node.activation) == "identity"
        elif node.op in ("sum", "product"):
            _require_apart(node, [roots[name] for name in node.inputs])
            if node.op == "sum":
                made = rules.sum(before, tuple(node.coefficients or (1.0,) * len(before)), node)
            else:
                made, bell = rules.product(before, node), bell and len(before) == 1
        elif node.op == "layer_norm":
            made = rules.layer_norm(before[0], node)
        else:
            raise _refused(node, f"{node.op} is no plain layer", "use dense, activation, sum, product and layer_norm")
        states[node.name], normal[node.name], roots[node.name] = made, bell, root
    (end,) = network.outputs
    return Passed(states[end], normal[end])


def _require_apart(node, roots: list[frozenset[str]]) -> None:
    seen: set[str] = set()
    for root in roots:
        if seen & root:
            shared = ", ".join(sorted(seen & root))
            raise _refused(node, f"joined branches that share {shared}", "end all but one branch with a dense layer")
        seen |= root


def _refused(node, found: str, remedy: str) -> NoClosedForm:
    return NoClosedForm(found, where=node.name, remedy=remedy)


@dataclass(frozen=True)
class Named:
    """A state in words."""

    text: str
    centred: bool = True


class Spoken:
    """Rules that write down what they do: the example of the protocol."""

    def dense(self, state, node):
        return Named(f"dense({state.text})")

    def activation(self, state, node):
        return Named(f"{activation_name(node.activation)}({state.text})", centred=False)

    def sum(self, states, coefficients, node):
        return Named(" + ".join(state.text for state in states))

    def product(self, states, node):
        return Named(" x ".join(state.text for state in states))

    def layer_norm(self, state, node):
        return Named(f"layer_norm({state.text})")
