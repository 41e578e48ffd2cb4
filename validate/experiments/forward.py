"""The JAX interpreter of a network graph: `forward(network)(parameters, x)` maps rows (P, d) to rows (P, o).

Several inputs are consecutive columns of x, several outputs consecutive columns of the result. An output that is a
grid is flattened, positions first; inputs may themselves be grids, (P, positions..., channels).
"""

import math
from collections.abc import Callable
from typing import Any

import numpy as np

from ...theory.architecture.network import Network
from ...theory.errors import BadData
from .grids import attend, average, convolve
from .nonlinearities import array_function


def forward(network: Network) -> Callable:
    """A function (parameters by name, inputs (P, d), gates by name) -> outputs (P, o), fit for jit, vmap and grad.

    `gates` maps the name of every gate of the network to its array (P,). Of several inputs all but the last need a
    width that is a number.

    >>> import numpy as np
    >>> from ...theory.architecture.network import chain
    >>> f = forward(chain(2, 3, 1, activation="relu"))
    >>> f({"W1": np.ones((3, 2)), "W2": np.ones((1, 3))}, np.array([[1.0, 2.0]])).tolist()
    [[9.0]]
    """
    import jax.numpy as jnp

    activations = {
        node.activation: array_function(node.activation) for node in network.nodes if node.op == "activation"
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
                value[node.name] = _affine(node, first @ weight.T, weight.shape[1], parameters)
            elif node.op == "activation":
                value[node.name] = activations[node.activation](first)
            elif node.op == "sum":
                terms = _equally_shaped(node, [value[name] for name in node.inputs])
                if node.coefficients:
                    terms = [factor * term for factor, term in zip(node.coefficients, terms, strict=True)]
                value[node.name] = sum(terms)
            elif node.op == "scale":
                value[node.name] = first * parameters[node.weight]
            elif node.op == "product":
                value[node.name] = math.prod(value[name] for name in node.inputs)
            elif node.op == "gate":
                value[node.name] = first * gates[node.gate].reshape(-1, *(1,) * (first.ndim - 1))
            elif node.op == "total":
                value[node.name] = first.reshape(len(first), -1).sum(axis=1, keepdims=True)
            elif node.op == "layer_norm":
                value[node.name] = _normalised(first, node.epsilon)
            elif node.op == "reshape":
                value[node.name] = first.reshape(len(first), *node.window)
            elif node.op == "convolution":
                weight = parameters[node.weight]
                value[node.name] = _affine(node, convolve(node, first, weight), math.prod(weight.shape[1:]), parameters)
            elif node.op == "average_pool":
                value[node.name] = average(node, first)
            elif node.op == "flatten":
                value[node.name] = first.reshape(len(first), -1)
            elif node.op == "attention":
                value[node.name] = attend(node, first, parameters[node.weight])
        found = [value[name].reshape(len(x), -1) for name in network.outputs]
        return found[0] if len(found) == 1 else jnp.concatenate(found, axis=1)

    return run


def _equally_shaped(node, terms):
    """The terms of a sum; other shapes would be broadcast without a word."""
    shapes = {term.shape[1:] for term in terms}
    if len(shapes) > 1:
        raise BadData(
            f"features of shapes {' and '.join(map(str, sorted(shapes)))} added",
            where=f"sum {node.name}",
            remedy="let every branch keep positions and width",
        )
    return terms


def _normalised(features, epsilon):
    """(h - mean) / sqrt(variance + epsilon) over channels; zero, with zero gradient, where nothing varies."""
    import jax.numpy as jnp

    centred = features - features.mean(axis=-1, keepdims=True)
    square = jnp.square(centred).mean(axis=-1, keepdims=True) + epsilon
    # constant features leave 0/0, and in the gradient inf x 0: one replaces the zero before the root
    return jnp.where(square > 0, centred, 0) / jnp.sqrt(jnp.where(square > 0, square, 1))


def _affine(node, product, fan_in, parameters):
    """Weights times features, multiplied and shifted as the layer's parameterization says."""
    factor, shift = node.factors(fan_in)
    result = product if factor == 1 else product * factor
    return result + (parameters[node.bias] if shift == 1 else shift * parameters[node.bias]) if node.bias else result
