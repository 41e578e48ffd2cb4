r"""Covariances of features on grids: the rules of operations that mix positions.

A convolution sums independent windows, pooling and attention mix positions linearly, by Z on one sample and Z' on the
other. With w^2 / |window| the variance of one weight of a window, and p + s running over the window around p,

    convolution   K_pp' <- w^2 / |window| sum_s K_{p+s, p'+s} + b^2,
    pooling       K <- M K M',              flatten   K <- mean over p of K_pp,
    attention     K <- Z K Z'^T,  Theta <- Z Theta Z'^T,    Z = softmax over q of w^2 K_pq(x, x).

Only pooling and attention look at pairs of different positions, so only what comes before them carries these. In the
attention with logits q.k / width and tied queries and keys, logits become deterministic; what their weights (and all
weights below, through them) add to the tangent kernel is of order 1/width. Windows and flattening keep all digits of
the gap (see `covariances`); pooling and attention keep it to 1e-15, absolutely.

Reference: Novak et al. 2019 (arXiv:1810.05148); Arora et al. 2019 (arXiv:1904.11955); Hron et al. 2020
(arXiv:2006.10540).
"""

import itertools
import math
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

import numpy as np

from ..architecture.independence import Facts
from ..architecture.network import Network, Node
from ..errors import BadData
from .covariances import Side, State, Walk, affine, product_rule, sum_rule, variances
from .directions import cosine_gap, unit_rows

SNAP = 8 * np.finfo(float).eps  # gaps below this, computed as a difference, are those of equal features


def numbers_per_pair(network: Network, facts: Mapping[str, Facts], shapes: Mapping[str, tuple[int, ...]]) -> int:
    """The largest number of entries that one array holds for one pair of samples: positions, or pairs of them.

    `shapes` are the feature shapes of one sample, as `feature_shapes` gives them.
    """
    most = 1
    for node in network.nodes:
        positions = math.prod(shapes[node.name][:-1])
        most = max(most, positions**2 if facts[node.name].pairs else positions)
    return most


def reshape_rule(node: Node, states: list[State], walk: Walk) -> State:
    """K_pp' = <x_p, x'_p'> / channels of the inputs laid out as a grid."""
    if next(other for other in walk.network.nodes if other.name == node.inputs[0]).op != "input":
        raise BadData(
            "hidden features laid out as a grid", where=node.name, remedy="reshape the inputs, before any layer"
        )
    positions, columns = node.window[:-1], math.prod(node.window)
    first, second = (x.reshape(len(x), -1, node.window[-1]) for x in (walk.x1, walk.x2))
    # `divisor` replaces the number of columns; a position has its share of them
    divisor = (walk.divisor or columns) * node.window[-1] / columns

    def side() -> Side:
        square = np.einsum("npi,npi->np", first, first) / divisor
        mean = first.mean(axis=-1).reshape(-1, *positions) if walk.means else None
        return Side(square.reshape(-1, *positions), mean, unit_rows(first))

    (left, right), pairs = walk.sides(node, side), walk.pairs(node)
    if walk.paired and not pairs:
        return State(left, right, None, paired=True)
    u, v = left.extra, right.extra
    assert u is not None and v is not None
    count, size = u.shape[1], len(v)
    if walk.paired:
        gap = np.empty((size, count, count))
        for row in range(size):
            gap[row] = _gap(u[row], v[row], first[row], second[row])
    elif pairs:
        every = (array.reshape(-1, array.shape[-1]) for array in (u, v, first, second))
        gap = np.ascontiguousarray(_gap(*every).reshape(len(u), count, size, count).swapaxes(1, 2))
    else:
        gap = np.empty((len(u), size, count))
        for place in range(count):
            gap[:, :, place] = _gap(*(array[:, place] for array in (u, v, first, second)))
    lead = (size,) if walk.paired else (len(u), size)
    gap = gap.reshape(*lead, *positions * (2 if pairs else 1))
    return State(left, right, gap, paired=walk.paired, pairs=pairs)


def _gap(u: np.ndarray, v: np.ndarray, x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """1 - u.v of unit rows; of single channels, which are +-1 or 0, without looking for small ones."""
    return 1 - u * v.T if u.shape[1] == 1 else cosine_gap(u, v, x, y)


def convolution_rule(node: Node, states: list[State], walk: Walk) -> State:
    """K_pp' <- w^2 times the mean over the window of K_{p+s, p'+s}, plus b^2; beyond the edge K is zero."""
    before = _as_needed(states[0], walk.pairs(node))
    after, shifts = _windows(node, before.left.variance.shape[1:], (1,) * len(node.window))
    share = 1 / len(shifts)
    parts = [[share * _shifted(_rows(side.variance), i) for i in shifts] for side in (before.left, before.right)]
    means = [np.sum(part, axis=0) for part in parts]
    roots = [np.sqrt(np.where(total > 0, total, 1.0)) for total in means]
    gap: Any = None
    tangent: Any = None
    for index, A, B in zip(shifts, *parts, strict=True):  # a sum of independent parts, as in `direct_sum`
        if before.gap is not None:
            p, q = before.spread(np.sqrt(A) / roots[0], np.sqrt(B) / roots[1])
            made = p - q
            made *= made
            made *= 0.5
            product = p * q
            product *= _shifted(_flat(before.gap, before), index, before.pairs)
            made += product
            gap = made if gap is None else np.add(gap, made, out=gap)
        if before.tangent is not None:
            made = _shifted(_flat(before.tangent, before), index, before.pairs)
            made *= share
            tangent = made if tangent is None else np.add(tangent, made, out=tangent)
    left, right = (Side(total.reshape(-1, *after)) for total in means)
    shape = after * (2 if before.pairs else 1)
    gap, tangent = (None if array is None else array.reshape(*_lead(before), *shape) for array in (gap, tangent))
    return affine(node, replace(before, left=left, right=right, gap=gap, tangent=tangent), walk)


def average_pool_rule(node: Node, states: list[State], walk: Walk) -> State:
    """K <- M K M' with the mean M over windows, or over all positions."""
    positions = states[0].left.variance.shape[1:]
    if not positions:
        return states[0]
    if node.window:
        after, shifts = _windows(node, positions, node.window)
        mixing = np.zeros((math.prod(after), math.prod(positions)))
        for index in shifts:
            inside = index >= 0
            np.add.at(mixing, (np.flatnonzero(inside), index[inside]), 1 / len(shifts))
    else:
        after, mixing = (), np.full((1, math.prod(positions)), 1 / math.prod(positions))

    def means(covariance: np.ndarray) -> np.ndarray:
        return np.broadcast_to(mixing, (len(covariance), *mixing.shape))

    return _mixed(node, states[0], walk, after, means)


def attention_rule(node: Node, states: list[State], walk: Walk) -> State:
    """K <- Z K Z'^T and Theta <- Z Theta Z'^T, with Z = softmax of the covariances w^2 K_pq between positions."""
    positions, weight = states[0].left.variance.shape[1:], variances(node)[0]
    if not positions:
        raise BadData(
            "attention without positions", where=node.name, remedy="begin with reshape(positions..., channels)"
        )

    def softmax(covariance: np.ndarray) -> np.ndarray:
        powers = np.exp(weight * (covariance - covariance.max(axis=-1, keepdims=True)))
        return powers / powers.sum(axis=-1, keepdims=True)

    return _mixed(node, states[0], walk, positions, softmax)


def flatten_rule(node: Node, states: list[State], walk: Walk) -> State:
    """K <- mean over positions of K_pp: independent weights see every position."""
    before = _as_needed(states[0], False)
    if before.left.variance.ndim == 1:
        return before
    _require_a_layer_next(node, walk.network)
    sides = [_rows(side.variance) for side in (before.left, before.right)]
    means = [side.mean(axis=1) for side in sides]
    mean = None if before.left.mean is None else _rows(before.left.mean).mean(axis=1)
    own = walk.sides(node, lambda: Side(means[0], mean))
    gap = None
    if before.gap is not None:
        totals = [side.sum(axis=1, keepdims=True) for side in sides]
        shares = [np.sqrt(side / np.where(total > 0, total, 1.0)) for side, total in zip(sides, totals, strict=True)]
        p, q = before.spread(*shares)
        gap = ((p - q) ** 2 / 2 + p * q * _flat(before.gap, before)).sum(axis=-1)
    tangent = None if before.tangent is None else _flat(before.tangent, before).mean(axis=-1)
    return State(*own, gap, tangent, before.paired, False)


def joined_rule(node: Node, states: list[State], walk: Walk) -> State:
    """Sums and products of branches of which some carry pairs of positions and others do not."""
    pairs, rule = walk.pairs(node), sum_rule if node.op == "sum" else product_rule
    if not any(state.pairs for state in states):
        return rule(node, states, walk)
    alike = {name: _as_needed(state, pairs) for name, state in walk.states.items()}
    return rule(node, [_as_needed(state, pairs) for state in states], replace(walk, states=alike))


def _require_a_layer_next(node: Node, network: Network) -> None:
    """Flattened features are not alike: what multiplies or adds two such would pair positions with each other."""
    reached = {node.name}
    for other in network.nodes:
        if not reached & set(other.inputs):
            continue
        if other.op in ("sum", "product"):
            raise BadData(
                f"a {other.op} of flattened features", where=other.name, remedy=f"form the {other.op} before flatten()"
            )
        if other.op in ("layer_norm", "flatten") or other.activation == "identity":
            reached.add(other.name)


# ---- positions ------------------------------------------------------------------------------------------------------


def _mixed(node: Node, before: State, walk: Walk, after: tuple[int, ...], mixing: Callable) -> State:
    """Positions mixed linearly: `mixing` turns covariances (n, P, P) of samples with themselves into Z (n, outputs, P).

    It is called in the paired walk and kept with the samples.
    """
    covariance = _flat(before.covariance(), before)

    def side() -> Side:
        Z = mixing(covariance)
        made = np.maximum(np.einsum("noq,noq->no", Z @ covariance, Z), 0.0)
        mean = before.left.mean
        if mean is not None:
            mean = np.einsum("noq,nq->no", Z, _rows(mean)).reshape(-1, *after)
        return Side(made.reshape(-1, *after), mean, Z)

    own, pairs = walk.sides(node, side), walk.pairs(node)
    Z, Y = (one.extra for one in own)
    assert Z is not None and Y is not None
    if not before.paired:
        Z, Y = Z[:, None], Y[None]
    shape = (*_lead(before), *after * (2 if pairs else 1))

    def mix(array: np.ndarray) -> np.ndarray:
        half = Z @ array
        if pairs:
            return (half @ Y.swapaxes(-1, -2)).reshape(shape)
        return np.einsum("...oq,...oq->...o", half, np.broadcast_to(Y, half.shape)).reshape(shape)

    tangent = None if before.tangent is None else mix(_flat(before.tangent, before))
    made = State(*own, None, tangent, before.paired, pairs)
    if before.paired and not pairs:
        return made
    root = made.root()
    gap = 1 - mix(covariance) / np.where(root > 0, root, 1.0)
    gap[np.abs(gap) < SNAP] = 0.0
    gap = np.clip(gap, 0, 2)
    if before.paired:
        diagonal = np.arange(math.prod(after))
        _flat(gap, made)[:, diagonal, diagonal] = 0.0
    return replace(made, gap=gap)


def _as_needed(state: State, pairs: bool) -> State:
    """The state at equal positions only, unless pairs of positions are needed."""
    if pairs or not state.pairs:
        return state
    positions = state.left.variance.shape[1:]

    def diagonal(array: np.ndarray | None) -> np.ndarray | None:
        return (
            None if array is None else np.einsum("...pp->...p", _flat(array, state)).reshape(*_lead(state), *positions)
        )

    gap = None if state.paired else diagonal(state.gap)
    return replace(state, gap=gap, tangent=diagonal(state.tangent), pairs=False)


def _lead(state: State) -> tuple[int, ...]:
    """The axes of samples in the layout of the state."""
    first, second = len(state.left.variance), len(state.right.variance)
    return (first,) if state.paired else (first, second)


def _rows(array: np.ndarray) -> np.ndarray:
    """What a side holds, (samples, positions...), as (samples, P)."""
    return array.reshape(len(array), -1)


def _flat(array: np.ndarray, state: State) -> np.ndarray:
    """An array in the layout of the state with the positions in one index, or in two for pairs; a view."""
    return array.reshape(*_lead(state), *(math.prod(state.left.variance.shape[1:]),) * (2 if state.pairs else 1))


def _shifted(array: np.ndarray, index: np.ndarray, pairs: bool = False) -> np.ndarray:
    """Entries at the positions `index`, zero where it is negative; at pairs of these, (..., outputs, outputs)."""
    inside = index >= 0
    made = array[..., index[:, None], index] if pairs else array[..., index]
    if not inside.all():
        made *= inside[:, None] & inside if pairs else inside
    return made


def _windows(node: Node, positions: tuple[int, ...], strides: tuple[int, ...]) -> tuple[tuple[int, ...], list]:
    """Positions after a window, and for every place in it the input position of each, flat; -1 for a padded zero."""
    places, after = [], []
    for size, window, stride in zip(positions, node.window, node.strides or strides, strict=True):
        count = (size - window) // stride + 1 if node.padding == "valid" else -(-size // stride)
        reach = 0 if node.padding == "valid" else max((count - 1) * stride + window - size, 0)
        at = np.arange(count) * stride + np.arange(window)[:, None] - reach // 2
        places.append(at % size if node.padding == "circular" else np.where((at >= 0) & (at < size), at, -1))
        after.append(count)
    shifts = []
    for row in itertools.product(*places):
        grids = np.meshgrid(*row, indexing="ij")
        flat = np.ravel_multi_index([np.maximum(grid, 0) for grid in grids], positions)
        shifts.append(np.where(np.min(grids, axis=0) >= 0, flat, -1).ravel())
    return tuple(after), shifts


RULES: dict[str, Callable[[Node, list[State], Walk], State]] = {
    "reshape": reshape_rule,
    "convolution": convolution_rule,
    "average_pool": average_pool_rule,
    "flatten": flatten_rule,
    "attention": attention_rule,
    "sum": joined_rule,
    "product": joined_rule,
}
