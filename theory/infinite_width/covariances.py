r"""Covariances on their way through a wide network: one state a node, one rule an operation.

For features g of a sample and h of another, with variances A, B and covariance C, a `State` holds

    gap = 1 - C / sqrt(A B),        C = sqrt(A B) (1 - gap),

instead of C: inputs that are nearly the same keep all their digits, and equal ones have gap 0 exactly. The gap of a
sum of independent parts with shares alpha_j^2 = A_j / sum A and beta_j^2 = B_j / sum B involves no cancellation:

    gap  =  1/2 sum_j (alpha_j - beta_j)^2  +  sum_j alpha_j beta_j gap_j.

A network is walked twice: with every sample beside itself (`paired`), which gives the variances and means of all nodes
by recursions in one index, exactly; and with blocks of samples beside others, where only gap and tangent are new. The
rules below hold at every position of a grid; those that mix positions are in `grid_covariances`.

How to write a rule `rule(node, states, walk) -> State`: take `states` (of the node's inputs), make `own =
walk.sides(node, lambda: Side(variance, mean))`, whose function is only called in the paired walk and returns what one
sample knows of itself (positions kept, samples first); then the gap and the tangent in the layout of the inputs, with
`state.spread(p, q)` bringing arrays of the first and second samples to that layout:

    blocks   (n1, n2, positions...)      with pairs of positions (n1, n2, positions..., positions...)
    paired   (n, positions...), gap None with pairs of positions (n, positions..., positions...)

`walk.pairs(node)` says whether pairs of positions are needed after the node. A tangent of None is zero. Arrays of a
state are shared between branches: a rule never writes into them.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from ..architecture.independence import Facts
from ..architecture.network import Network, Node
from ..duals.activation_moments import moments
from ..errors import BadData
from .directions import NEAR as NEAR  # grids use it too
from .directions import cosine_gap, opposites, reflected, unit_rows


@dataclass(frozen=True)
class Side:
    """What one set of samples knows of itself at a node: arrays (samples, positions...).

    `mean` over channels, None for zero; `extra` is what a rule wants to find again, with samples first.
    """

    variance: np.ndarray
    mean: np.ndarray | None = None
    extra: np.ndarray | None = None

    def rows(self, which: Any) -> "Side":
        """The same for some of the samples: a slice does not copy."""
        mean = None if self.mean is None else self.mean[which]
        return Side(self.variance[which], mean, None if self.extra is None else self.extra[which])

    @staticmethod
    def joined(parts: "list[Side]") -> "Side":
        """The samples of several sides after one another."""
        if len(parts) == 1:
            return parts[0]
        names = [name for name, array in vars(parts[0]).items() if array is not None]
        return replace(parts[0], **{name: np.concatenate([getattr(part, name) for part in parts]) for name in names})


@dataclass(frozen=True)
class State:
    """Gap and tangent kernel between `left` and `right`, in one of the four layouts above.

    `opposite`  where inputs are nearly opposite, 2 - gap has digits that gap has not: (rows, columns, 2 - gap)
    """

    left: Side
    right: Side
    gap: np.ndarray | None
    tangent: np.ndarray | None = None
    paired: bool = False
    pairs: bool = False
    opposite: tuple[np.ndarray, np.ndarray, np.ndarray] | None = None

    def spread(self, p: np.ndarray, q: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Views of p (left samples, positions...) and q (right samples, positions...) that broadcast together."""
        positions = p.ndim - 1
        new = (None,) * positions if self.pairs else ()
        lead = (slice(None),) if self.paired else (slice(None), None)
        back = (slice(None),) if self.paired else (None, slice(None))
        return p[(*lead, *(slice(None),) * positions, *new)], q[(*back, *new, *(slice(None),) * positions)]

    def product(self, p: np.ndarray, q: np.ndarray) -> np.ndarray:
        """p q of arrays as in `spread`, as a new array."""
        p, q = self.spread(p, q)
        return p * q

    def root(self) -> np.ndarray:
        """sqrt(A B), in the layout of the gap; no overflow where A B has one."""
        return self.product(np.sqrt(self.left.variance), np.sqrt(self.right.variance))

    def covariance(self) -> np.ndarray:
        """C = sqrt(A B) (1 - gap)."""
        if self.gap is None:
            return self.left.variance
        made = 1 - self.gap
        made *= self.root()
        return made


@dataclass
class Walk:
    """One pass through a network: the states of its nodes, and what the rules may ask for.

    `left`, `right`  sides of every node from earlier paired walks; empty in a paired walk
    `x1`, `x2`       the raw samples of this walk
    `fan_in`         number of inputs of every layer in the standard parameterization
    `states`, `made` states of nodes that are still needed, and all sides that a paired walk has made
    """

    network: Network
    facts: Mapping[str, Facts]
    x1: np.ndarray
    x2: np.ndarray
    fan_in: Mapping[str, int]
    tangents: bool
    means: bool = True
    divisor: float = 0.0  # of <x, x'>; the number of columns if 0
    start: State | None = None  # of the input node, where it does not come from samples
    left: Mapping[str, Side] = field(default_factory=dict)
    right: Mapping[str, Side] = field(default_factory=dict)
    states: dict[str, State] = field(default_factory=dict)
    made: dict[str, Side] = field(default_factory=dict)

    @property
    def paired(self) -> bool:
        return not self.left

    def sides(self, node: Node, make: Callable[[], Side]) -> tuple[Side, Side]:
        """Left and right side of a node: made in a paired walk, found otherwise."""
        if self.paired:
            side = make()
            if not np.isfinite(side.variance).all():
                found = f"the variance of sample {np.argwhere(~np.isfinite(side.variance))[0][0]} overflows"
                raise BadData(found, where=node.name, remedy="lower w_std or the depth, or scale the data")
            self.made[node.name] = side
            return side, side
        return self.left[node.name], self.right[node.name]

    def pairs(self, node: Node) -> bool:
        return self.facts[node.name].pairs


def direct_sum(state: State, parts: list[tuple[np.ndarray, np.ndarray, Any]]) -> np.ndarray:
    """The gap of a sum of independent parts (A_j, B_j, gap_j), in the layout of `state`; A_j, B_j as in a `Side`.

    A gap_j of None is zero, as between equal biases.
    """
    shares = []
    for column in (0, 1):
        total = sum(part[column] for part in parts)
        total = np.where(total > 0, total, 1.0)
        shares.append([np.sqrt(part[column] / total) for part in parts])
    gap: Any = None
    for alpha, beta, (_, _, own) in zip(*shares, parts, strict=True):
        p, q = state.spread(alpha, beta)
        made = p - q
        made *= made
        made *= 0.5
        if own is not None:
            product = state.product(alpha, beta)
            product *= own
            made += product
        gap = made if gap is None else np.add(gap, made, out=gap)
    return gap


def constant_added(state: State, A: np.ndarray, B: np.ndarray, constant: float) -> np.ndarray:
    """The gap after features of variances A and B are shifted by independent Gaussians of variance `constant` > 0.

    As `direct_sum` of two parts, faster: with phi the angle of the shares (sqrt(A), sqrt(constant)) and t = tan(phi/2),
    1/2 sum (alpha_j - beta_j)^2 = 2 (t - t')^2 / ((1 + t^2) (1 + t'^2)).
    """
    tangents, scales, shares = [], [], []
    for variance in (A, B):
        root, whole = np.sqrt(variance), np.sqrt(variance + constant)
        tangents.append(np.sqrt(constant) / (root + whole))
        scales.append(np.sqrt(2.0) / (1 + np.square(tangents[-1])))
        shares.append(root / whole)
    gap = np.subtract(*state.spread(*tangents))
    gap *= gap
    gap *= state.product(*scales)
    kept = state.product(*shares)
    kept *= state.gap
    gap += kept
    return gap


def centred(state: State) -> tuple[np.ndarray, np.ndarray, np.ndarray | None]:
    """Variances and gap of features less their mean: C - m m' of A - m^2 and B - m'^2.

    The difference sqrt(A B) - m m' - sqrt((A - m^2)(B - m'^2)) is (sqrt(A) m' - sqrt(B) m)^2 over the sum of the
    terms, so equal samples keep gap 0.
    """
    left, right = state.left, state.right
    if left.mean is None or right.mean is None:
        return left.variance, right.variance, state.gap
    means = (left.mean, right.mean)
    less = [np.maximum(side.variance - mean**2, 0) for side, mean in zip((left, right), means, strict=True)]
    if state.gap is None:
        return less[0], less[1], None
    # everything relative to sqrt(A B): r = m / sqrt(A)
    relative = []
    for side, mean in zip((left, right), means, strict=True):
        root = np.sqrt(side.variance)
        relative.append(mean / np.where(root > 0, root, 1.0))
    r, s = state.spread(*relative)
    rest = [np.sqrt(np.maximum(1 - ratio**2, 0)) for ratio in relative]
    p, q = state.spread(*rest)
    product = p * q
    correction = (r - s) ** 2
    correction /= np.maximum(1 - r * s + product, np.finfo(float).tiny)
    gap = (state.gap - correction) / np.where(product > 0, product, 1.0)
    return less[0], less[1], np.clip(gap, 0, 2, out=gap)


# ---- rules ----------------------------------------------------------------------------------------------------------


def input_rule(node: Node, states: list[State], walk: Walk) -> State:
    """K = <x, x'> / d on rows of features; the unit rows are kept beside the variance."""
    if walk.start is not None:
        return walk.start
    divisor = walk.divisor or walk.x1.shape[-1]

    def side() -> Side:
        mean = walk.x1.mean(axis=-1) if walk.means else None
        return Side(np.einsum("...i,...i->...", walk.x1, walk.x1) / divisor, mean, unit_rows(walk.x1))

    left, right = walk.sides(node, side)
    if walk.paired:
        return State(left, right, None, paired=True)
    u, v = np.asarray(left.extra), np.asarray(right.extra)
    gap = cosine_gap(u, v, walk.x1, walk.x2)
    return State(left, right, gap, opposite=opposites(u, v, gap))


def variances(node: Node) -> tuple[float, float]:
    """w_std^2 and b_std^2 of a layer; a std that is the root of a short number gives exactly that number."""
    stated = ((std, round(std * std, 10)) for std in (node.w_std, node.b_std))
    weight, bias = (short if short > 0 and np.sqrt(short) == std else std * std for std, short in stated)
    return weight, bias if node.bias else 0.0


def affine(node: Node, state: State, walk: Walk) -> State:
    """Weights, then biases: the covariance `state` (of windows, for a convolution) becomes w^2 K + b^2.

    Theta <- w^2 Theta + w^2 K + b^2, and in the standard parameterization w^2 Theta + fan_in K + 1.
    """
    weight, bias = variances(node)
    before = (state.left.variance, state.right.variance)
    own = walk.sides(node, lambda: Side(weight * before[0] + bias))
    gap = state.gap
    if bias and gap is not None:
        gap = constant_added(state, weight * before[0], weight * before[1], bias)
    opposite = None if bias else state.opposite
    after, tangent = State(*own, gap, None, state.paired, state.pairs, opposite), None
    if walk.tangents and node.parameterization == "standard":
        tangent = state.covariance() * walk.fan_in[node.name]
        tangent += float(bool(node.bias))
    elif walk.tangents:
        tangent = after.covariance()
    if tangent is not None and state.tangent is not None:
        tangent = tangent + (state.tangent if weight == 1 else weight * state.tangent)
    return State(*own, gap, tangent, state.paired, state.pairs, opposite)


def dense_rule(node: Node, states: list[State], walk: Walk) -> State:
    """K <- w^2 K + b^2."""
    return affine(node, states[0], walk)


def activation_rule(node: Node, states: list[State], walk: Walk) -> State:
    """K <- V(K), Theta <- Theta dV/dC."""
    (before,) = states
    if node.activation == "identity":
        return before
    law = moments(node.activation)
    A, B = before.left.variance, before.right.variance
    own = walk.sides(node, lambda: Side(law.second(A), law.mean(A) if walk.means else None))
    tangent = before.tangent
    if before.gap is None:
        if tangent is not None:
            tangent = tangent * law.slope(A)
        return replace(before, left=own[0], right=own[1], tangent=tangent)
    p, q = before.spread(A, B)
    gap, slope = law.pair(p, q, before.gap, want_slope=tangent is not None)
    opposite = before.opposite
    if opposite is not None:
        gap, slope, opposite = reflected(law, opposite, A, B, gap, slope)
    tangent = None if tangent is None else slope * tangent
    return State(*own, gap, tangent, before.paired, before.pairs, opposite)


def sum_rule(node: Node, states: list[State], walk: Walk) -> State:
    """A linear combination of independent nodes; of several with a mean, the centred parts and the mean are summed."""
    terms = walk.facts[node.name].terms
    parts = [(walk.states[name], factor) for name, factor in terms]
    first = parts[0][0]
    tangent: Any = None
    for state, factor in parts:
        if state.tangent is not None:
            tangent = factor**2 * state.tangent if tangent is None else tangent + factor**2 * state.tangent
    several = sum(state.left.mean is not None for state, _ in parts) > 1

    def mean(which: str) -> Any:
        made = [factor * getattr(s, which).mean for s, factor in parts if getattr(s, which).mean is not None]
        return sum(made) if made else None

    pieces = []
    for state, factor in parts:
        A, B, gap = centred(state) if several else (state.left.variance, state.right.variance, state.gap)
        pieces.append((factor**2 * A, factor**2 * B, gap))
    if several:
        M, N = mean("left"), mean("right")
        opposite = None
        if first.gap is not None:
            p, q = first.spread(np.sign(M), np.sign(N))
            opposite = 1 - p * q
        pieces.append((M**2, N**2, opposite))
    own = walk.sides(node, lambda: Side(np.sum([piece[0] for piece in pieces], axis=0), mean("left")))
    if len(pieces) == 1:
        return replace(first, left=own[0], right=own[1], tangent=tangent)
    gap = None if first.gap is None else direct_sum(first, pieces)
    return replace(first, left=own[0], right=own[1], gap=gap, tangent=tangent, opposite=None)


def product_rule(node: Node, states: list[State], walk: Walk) -> State:
    """K <- K1 K2, Theta <- Theta1 K2 + K1 Theta2, for independent branches."""

    def side() -> Side:
        variance = np.prod([state.left.variance for state in states], axis=0)
        means = [state.left.mean for state in states if state.left.mean is not None]
        return Side(variance, np.prod(means, axis=0) if len(means) == len(states) else None)

    own = walk.sides(node, side)
    gap, tangent, covariances = states[0].gap, None, [state.covariance() for state in states]
    for state in states[1:]:
        if gap is not None and state.gap is not None:
            gap = gap + state.gap - gap * state.gap
    for i, state in enumerate(states):
        if state.tangent is not None:
            term = state.tangent * np.prod(covariances[:i] + covariances[i + 1 :], axis=0)
            tangent = term if tangent is None else tangent + term
    return replace(states[0], left=own[0], right=own[1], gap=gap, tangent=tangent, opposite=None)


def layer_norm_rule(node: Node, states: list[State], walk: Walk) -> State:
    """K <- (K - m m') / sqrt((A - m^2 + eps) (B - m'^2 + eps)), Theta over the same root; the gap of K - m m' stays."""
    (before,) = states
    if (
        node.inputs[0] == walk.network.inputs[0] and walk.start is None
    ):  # no digits of the inputs are lost to their mean
        x1, x2 = (x - x.mean(axis=-1, keepdims=True) for x in (walk.x1, walk.x2))
        before = input_rule(node, [], replace(walk, x1=x1, x2=x2, means=False))
    A, B, gap = centred(before)

    def side() -> Side:
        if not node.epsilon and not (A > 0).all():
            row = int(np.argwhere(A <= 0)[0][0])
            raise BadData(
                f"the features of sample {row} have no variance to divide by",
                where=node.name,
                remedy="give layer_norm(eps=...) a positive number, or drop such samples",
            )
        return Side(A / (A + node.epsilon), extra=before.left.extra)

    own = walk.sides(node, side)
    tangent = before.tangent
    if tangent is not None:
        p, q = before.spread(np.sqrt(A + node.epsilon), np.sqrt(B + node.epsilon))
        tangent = tangent / p
        tangent /= q
    opposite = before.opposite if before.left.mean is None else None
    return replace(before, left=own[0], right=own[1], gap=gap, tangent=tangent, opposite=opposite)


RULES: dict[str, Callable[[Node, list[State], Walk], State]] = {
    "input": input_rule,
    "dense": dense_rule,
    "activation": activation_rule,
    "sum": sum_rule,
    "product": product_rule,
    "layer_norm": layer_norm_rule,
}
