"""Readable constructors of networks: every part is itself a network, and `serial` joins parts.

    net = serial(dense(w_std=1.5, b_std=0.1), activation("relu"), residual(...), layer_norm(eps=0.0), dense())

The result is a plain `Network`: its kernel at infinite width, its forward pass at finite width and its initial weights
all follow from it. Weights are called W1, W2, ... in order, biases b1, b2, ...; widths that are not given are "width",
and "output" for the last layer.

>>> net = serial(dense(w_std=1.5, b_std=0.1), activation("relu"), residual(dense(), activation("relu")), dense(width=1))
>>> net.shapes({"input": 3, "width": 8})
{'W1': (8, 3), 'b1': (8,), 'W2': (8, 8), 'W3': (1, 8)}
"""

from dataclasses import replace
from typing import Any

import numpy as np

from ..arguments import number, numbers
from ..errors import BadData
from .activations import stated
from .network import Network, Node


def serial(*parts: Network) -> Network:
    """Parts one after the other.

    >>> [node.op for node in serial(dense(), activation("erf"), dense()).nodes]
    ['input', 'dense', 'activation', 'dense']
    """
    nodes = [Node("x", "input", width="input")]
    _append(nodes, "x", parts, "serial")
    return Network(tuple(nodes))


def dense(w_std: float = 1.0, b_std: float = 0.0, *, width: str | int = 0, parameterization: str = "ntk") -> Network:
    """A dense layer with weights of variance w_std^2 / fan-in and biases of variance b_std^2.

    K <- w_std^2 K + b_std^2 with K = <x, x'> / d at the input. `parameterization` "ntk" or "standard": see `Node`.
    `width` is a number or a name; without one it is "width", or "output" in the last layer.
    """
    _positive("dense", w_std=w_std, b_std=b_std)
    return _layer("dense", w_std, b_std, width, parameterization)


def convolution(
    window: int | tuple[int, ...],
    w_std: float = 1.0,
    b_std: float = 0.0,
    *,
    strides: int | tuple[int, ...] = (),
    padding: str = "valid",
    width: str | int = 0,
    parameterization: str = "ntk",
    dimensions: int = 2,
) -> Network:
    """A convolution over one or two dimensions, given by a tuple `window`, or by one size and `dimensions`.

    Weights have variance w_std^2 / (channels x window). `padding` is "valid", "same" (zeros) or "circular".

    >>> serial(reshape(6, 1), convolution((3,))).shapes({"input": 6, "output": 4})
    {'W1': (4, 1, 3)}
    """
    _positive("convolution", w_std=w_std, b_std=b_std)
    window = _sizes(window, dimensions, "convolution")
    strides = _sizes(strides, len(window), "convolution") if strides != () else ()
    extra = {"window": window, "strides": strides, "padding": padding}
    return _layer("convolution", w_std, b_std, width, parameterization, **extra)


def activation(function: Any) -> Network:
    """An activation: a name as in `activations.ACTIVATIONS`, an expression of one symbol, or a function of arrays.

    >>> serial(dense(), activation("leaky_relu(0.2)")).nodes[-1].activation
    'leaky_relu(0.2)'
    """
    return _single("activation", activation=stated(function))


def residual(*parts: Network, scale: float = 1.0) -> Network:
    """x + scale x parts(x): the parts must keep the width."""
    return _joined("sum", (serial(), serial(*parts)), coefficients=(1.0, _factor(scale, "residual")))


def sum_of(*branches: Network, coefficients: tuple[float, ...] = ()) -> Network:
    """The sum of branches that all start from the same features.

    >>> [node.op for node in sum_of(dense(), dense()).nodes]
    ['input', 'dense', 'dense', 'sum']
    """
    if np.ndim(coefficients) != 1:
        raise BadData("coefficients that are no list", where="sum_of", remedy="give one for each branch")
    return _joined("sum", branches, coefficients=tuple(_factor(c, "sum_of") for c in coefficients))


def product(*branches: Network) -> Network:
    """The entry by entry product of branches that all start from the same features."""
    return _joined("product", branches)


def layer_norm(eps: float = 0.0) -> Network:
    """(h - mean) / sqrt(variance + eps) over the channels."""
    _positive("layer_norm", eps=eps)
    return _single("layer_norm", epsilon=float(eps))


def reshape(*shape: int) -> Network:
    """The features of a sample laid out on a grid: positions first, channels last, as (8, 8, 1) for an image."""
    if len(shape) < 2 or not all(isinstance(size, int) and size > 0 for size in shape):
        raise BadData(
            f"the shape {shape}", where="reshape", remedy="give positions and channels, as in reshape(8, 8, 1)"
        )
    return _single("reshape", window=shape)


def average_pool(
    window: int | tuple[int, ...], strides: int | tuple[int, ...] = (), padding: str = "valid", dimensions: int = 2
) -> Network:
    """The mean over windows of positions, side by side unless `strides` are given."""
    window = _sizes(window, dimensions, "average_pool")
    strides = _sizes(strides, len(window), "average_pool") if strides != () else ()
    return _single("average_pool", window=window, strides=strides, padding=padding)


def global_average_pool() -> Network:
    """The mean over all positions."""
    return _single("average_pool")


def flatten() -> Network:
    """All positions and channels as the features of one sample."""
    return _single("flatten")


def attention(w_std: float = 1.0, *, width: str | int = 0, parameterization: str = "ntk") -> Network:
    """Self-attention over positions with logits q.k / width, queries and keys tied; a dense layer of values may follow.

    Divided by the width, not by its root, the logits become deterministic as the width grows (Hron et al. 2020,
    arXiv:2006.10540).
    """
    _positive("attention", w_std=w_std)
    _width("attention", width)
    extra = {"width": width or "width", "parameterization": parameterization}
    return _single("attention", weight="W", w_std=float(w_std), **extra)


def _layer(op, w_std, b_std, width, parameterization, **extra) -> Network:
    _width(op, width)
    stated_layer = {"w_std": float(w_std), "b_std": float(b_std), "width": width, "parameterization": parameterization}
    return _single(op, weight="W", bias="b" if b_std else "", **stated_layer, **extra)


def _single(op: str, **fields: Any) -> Network:
    return Network((Node("x", "input", width="input"), Node(op, op, ("x",), **fields)))


def _joined(op: str, branches: tuple[Network, ...], **fields: Any) -> Network:
    if not branches:
        raise BadData("no branches", where=op, remedy="give at least one")
    nodes = [Node("x", "input", width="input")]
    ends = tuple(_append(nodes, "x", (branch,), op) for branch in branches)
    nodes.append(Node(f"{op}{len(nodes)}", op, ends, **fields))
    return Network(tuple(nodes))


def _append(nodes: list[Node], source: str, parts: tuple[Network, ...], where: str) -> str:
    """Add the nodes of parts after `source`, with names and weights of their own; the name of the last."""
    for part in parts:
        if not isinstance(part, Network):
            raise BadData(
                f"a {type(part).__name__}", where=where, remedy="give parts, say dense() or activation('relu')"
            )
        if len(part.inputs) != 1 or len(part.outputs) != 1:
            raise BadData(
                f"a part with {len(part.inputs)} inputs and {len(part.outputs)} outputs",
                where=where,
                remedy="give parts with one of each",
            )
        taken = {node.weight for node in nodes if node.weight}
        weights: dict[str, str] = {"": ""}
        names = {part.inputs[0]: source}
        for node in part.nodes:
            if node.op == "input":
                continue
            if node.weight not in weights:
                weights[node.weight] = f"W{len(taken) + len(weights)}"
            name = names[node.name] = f"{node.op}{len(nodes)}"
            number = weights[node.weight][1:]
            bias, inputs = f"b{number}" if node.bias else "", tuple(names[n] for n in node.inputs)
            nodes.append(replace(node, name=name, inputs=inputs, weight=weights[node.weight], bias=bias))
        source = names[part.outputs[0]]
    return source


def _sizes(given: int | tuple[int, ...], dimensions: int, where: str) -> tuple[int, ...]:
    sizes = (given,) * dimensions if isinstance(given, int) else tuple(given) if np.ndim(given) == 1 else ()
    if not 1 <= len(sizes) <= 2 or not all(isinstance(size, int) and size > 0 for size in sizes):
        raise BadData(
            f"{given!r} for {dimensions} dimensions", where=where, remedy="give one or two whole numbers from 1"
        )
    return sizes


def _positive(where: str, **numbers: float) -> None:
    for name, value in numbers.items():
        number(value, f"{name} =", where)


def _factor(value: Any, where: str) -> float:
    found = numbers(value, "a coefficient", where, "give finite numbers")
    if found.ndim or not np.isfinite(found):
        raise BadData(f"a coefficient {value}", where=where, remedy="give finite numbers")
    return float(found)


def _width(where: str, width: str | int) -> None:
    named = isinstance(width, str) and width.strip()
    counted = isinstance(width, int | np.integer) and not isinstance(width, bool) and width >= 0
    if not (named or counted):
        raise BadData(f"width = {width!r}", where=where, remedy="give a whole number from 1, or a name")
