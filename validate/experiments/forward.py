"""The JAX interpreter of a network graph: `forward(network)(parameters, x)` maps rows (P, d) to rows (P, o).

Several inputs are consecutive columns of x, several outputs consecutive columns of the result.
"""

import math
from collections.abc import Callable
from typing import Any

import numpy as np

from ...theory.errors import BadData
from ...theory.network import Network


def forward(network: Network) -> Callable:
    """A function (parameters by name, inputs (P, d), gates by name) -> outputs (P, o), fit for jit, vmap and grad.

    `gates` maps the name of every gate of the network to its array (P,). Of several inputs all but the last need a
    width that is a number.

    >>> import numpy as np
    >>> from ...theory.network import chain
    >>> f = forward(chain(2, 3, 1, activation="relu"))
    >>> f({"W1": np.ones((3, 2)), "W2": np.ones((1, 3))}, np.array([[1.0, 2.0]])).tolist()
    [[9.0]]
    """
    import jax
    import jax.numpy as jnp
    from jax.scipy.special import erf

    activations = {
        "identity": lambda z: z,
        "relu": jax.nn.relu,
        "tanh": jnp.tanh,
        "erf": erf,
        "square": jnp.square,
    }

    sources = [node for node in network.nodes if node.op == "input"]
    for node in sources[:-1]:
        if isinstance(node.width, str):
            raise BadData(
                f"input {node.name!r} has the width {node.width!r}",
                where="forward",
                remedy="give a number, so that the columns of x can be told apart",
            )

    def columns(x):
        if len(sources) == 1:
            return {sources[0].name: x}
        ends = np.cumsum([node.width for node in sources[:-1]])
        return dict(zip((node.name for node in sources), jnp.split(x, ends, axis=1), strict=True))

    def run(parameters, x, gates=None):
        value = columns(x)
        for node in network.nodes:
            first: Any = value[node.inputs[0]] if node.inputs else None
            if node.op == "dense":
                weight = parameters[node.weight].T if node.transposed else parameters[node.weight]
                result = first @ weight.T
                if node.multiplier == "1/sqrt(fan_in)":
                    result = result / jnp.sqrt(jnp.asarray(weight.shape[1], result.dtype))
                value[node.name] = result + parameters[node.bias] if node.bias else result
            elif node.op == "activation":
                value[node.name] = activations[node.activation](first)
            elif node.op == "sum":
                terms = [value[name] for name in node.inputs]
                if node.coefficients:
                    terms = [factor * term for factor, term in zip(node.coefficients, terms, strict=True)]
                value[node.name] = sum(terms)
            elif node.op == "scale":
                value[node.name] = first * parameters[node.weight]
            elif node.op == "product":
                value[node.name] = math.prod(value[name] for name in node.inputs)
            elif node.op == "gate":
                value[node.name] = first * gates[node.gate][:, None]
            elif node.op == "total":
                value[node.name] = first.sum(axis=1, keepdims=True)
        found = [value[name] for name in network.outputs]
        return found[0] if len(found) == 1 else jnp.concatenate(found, axis=1)

    return run
