"""Shapes that follow from the graph: features of every node, and arrays of parameters.

Features of a sample have the shape (positions..., channels), without positions for plain layers. A window of size w
with stride s leaves floor((p - w) / s) + 1 of p positions with padding "valid", and ceil(p / s) otherwise.
"""

import math
from collections.abc import Mapping
from typing import Any

from ..errors import BadData, UnknownName


def feature_shapes(network, sizes: Mapping[str, Any]) -> dict[str, tuple[Any, ...]]:
    """Shape of one sample's features at every node; `sizes` names widths, and "input" may be (positions..., channels).

    Errors: `UnknownName` for a width without a size; `BadData`, naming the layer, where shapes do not fit.

    >>> from .constructors import average_pool, convolution, dense, flatten, reshape, serial
    >>> net = serial(reshape(8, 8, 1), convolution(3, padding="same"), average_pool(2), flatten(), dense())
    >>> feature_shapes(net, {"input": 64, "width": 16, "output": 10})["flatten4"]
    (256,)
    """
    found: dict[str, tuple[Any, ...]] = {}
    stated = network.widths()
    for node in network.nodes:
        width = stated[node.name]
        if isinstance(width, str):
            if width not in sizes:
                raise UnknownName.among(width, sizes, kind="width", where="network")
            width = sizes[width]
        before = found[node.inputs[0]] if node.inputs else ()
        if node.op == "input":
            made = tuple(width) if isinstance(width, tuple | list) else (width,)
        elif node.op == "dense":
            made = (*before[:-1], width)
        elif node.op == "reshape":
            made = node.window
            if all(isinstance(size, int) for size in before) and math.prod(made) != math.prod(before):
                raise BadData(
                    f"{math.prod(before)} features laid out as {' x '.join(map(str, made))}",
                    where=node.name,
                    remedy=f"give positions and channels whose product is {math.prod(before)}",
                )
        elif node.op in ("convolution", "average_pool"):
            made = (*_positions(node, before[:-1]), width if node.op == "convolution" else before[-1])
        elif node.op == "flatten":
            made = (math.prod(before),)
        elif node.op == "total":
            made = (1,)
        elif node.op in ("sum", "product"):
            made = _equal(node, [found[name] for name in node.inputs])
        else:
            made = before
        found[node.name] = made
    return found


def _equal(node, branches: list[tuple[Any, ...]]) -> tuple[Any, ...]:
    """The one shape of branches that are joined entry by entry; widths without a number fit any."""
    first = branches[0]
    for name, branch in zip(node.inputs, branches, strict=True):
        pairs = zip(first, branch, strict=False)
        if len(first) != len(branch) or any(isinstance(a, int) and isinstance(b, int) and a != b for a, b in pairs):
            raise BadData(
                f"a {node.op} of {node.inputs[0]}, of shape {first}, and {name}, of shape {branch}",
                where=node.name,
                remedy="end the branches with layers of one width, and with the same positions",
            )
    return first


def _positions(node, before: tuple[Any, ...]) -> tuple[Any, ...]:
    if node.op == "average_pool" and not node.window:
        return ()
    if len(before) != len(node.window):
        raise BadData(
            f"a window of {len(node.window)} dimensions on features with {len(before)}",
            where=f"{node.op} {node.name}",
            remedy="begin with reshape(positions..., channels)" if not before else "give one size per dimension",
        )
    strides = node.strides or ((1,) * len(before) if node.op == "convolution" else node.window)
    after = []
    for size, window, stride in zip(before, node.window, strides, strict=True):
        if node.padding == "valid" and size < window:
            raise BadData(
                f"a window of {window} on {size} positions",
                where=f"{node.op} {node.name}",
                remedy='use a smaller one, or padding="same"',
            )
        after.append((size - window) // stride + 1 if node.padding == "valid" else -(-size // stride))
    return tuple(after)


def parameter_shapes(network, sizes: Mapping[str, Any]) -> dict[str, tuple[Any, ...]]:
    """Shape of every parameter array of a network, in order of first use.

    Errors: `BadData` for tied weights that would need two shapes.

    >>> from .network import chain
    >>> parameter_shapes(chain(4, 3, 1, bias=True), {})
    {'W1': (3, 4), 'b1': (3,), 'W2': (1, 3), 'b2': (1,)}
    """
    features = feature_shapes(network, sizes)
    shapes: dict[str, tuple[Any, ...]] = {}

    def add(weight, shape, node):
        if shapes.setdefault(weight, shape) != shape:
            raise BadData(
                f"{weight} has shape {shapes[weight]} and is applied as {shape}",
                where=f"node {node.name}",
                remedy="tied weights need equal widths",
            )

    for node in network.nodes:
        if node.op in ("dense", "convolution"):
            before, after = features[node.inputs[0]][-1], features[node.name][-1]
            if node.op == "dense":
                add(node.weight, (before, after) if node.transposed else (after, before), node)
            else:
                add(node.weight, (after, before, *node.window), node)
            if node.bias:
                add(node.bias, (after,), node)
        elif node.op == "scale":
            add(node.weight, (features[node.name][-1],), node)
        elif node.op == "attention":
            width = sizes[node.width] if isinstance(node.width, str) else node.width
            add(node.weight, (width or features[node.inputs[0]][-1], features[node.inputs[0]][-1]), node)
    return shapes


def initial_spreads(network, sizes: Mapping[str, Any]) -> dict[str, float]:
    """Standard deviation with which every parameter array starts, as the nodes state it.

    >>> from .constructors import dense, serial
    >>> initial_spreads(serial(dense(2.0, 0.1, parameterization="standard")), {"input": 4, "output": 3})
    {'W1': 1.0, 'b1': 0.1}
    """
    shapes = parameter_shapes(network, sizes)
    spreads: dict[str, float] = {}
    for node in network.nodes:
        plain = node.parameterization == "standard"
        if node.op in ("dense", "convolution", "attention"):
            shape = shapes[node.weight]
            fan_in = shape[0] if node.transposed else math.prod(shape[1:])
            spreads[node.weight] = node.w_std / math.sqrt(fan_in) if plain else 1.0
            if node.bias:
                spreads[node.bias] = node.b_std if plain else 1.0
        elif node.op == "scale":
            spreads[node.weight] = node.w_std
    return spreads
