"""The JAX interpreter of a network graph: `forward(network)(parameters, x)` maps rows (P, d) to rows (P, o)."""

from collections.abc import Callable

from ...theory.network import Network


def forward(network: Network) -> Callable:
    """A function (parameters by name, inputs (P, d)) -> outputs (P, o), composable with jit, vmap and grad.

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

    def run(parameters, x):
        value = {}
        for node in network.nodes:
            if node.op == "input":
                value[node.name] = x
            elif node.op == "dense":
                weight = parameters[node.weight]
                result = value[node.inputs[0]] @ weight.T
                if node.multiplier == "1/sqrt(fan_in)":
                    result = result / jnp.sqrt(jnp.asarray(weight.shape[1], result.dtype))
                value[node.name] = result + parameters[node.bias] if node.bias else result
            elif node.op == "activation":
                value[node.name] = activations[node.activation](value[node.inputs[0]])
            elif node.op == "sum":
                value[node.name] = sum(value[name] for name in node.inputs)
        return value[network.nodes[-1].name]

    return run
