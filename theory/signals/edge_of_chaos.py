r"""The edge of chaos: the standard deviations at which squared gradients neither grow nor shrink with depth.

    Q(q) = q   and   chi(q) = 1,     for a single dense layer  w^2 = 1 / E phi'^2,  b_std^2 = q - w^2 E phi^2.

For every variance q of a grid the standard deviation that keeps it is found first, whatever the block is; chi along
that line changes sign at the edge, and each crossing is refined.

>>> from ..architecture.constructors import activation, dense, serial
>>> print(edge_of_chaos(serial(activation("erf"), dense()), b_std=0.0)[0])  # sqrt(pi) / 2
edge of chaos: w_std = 0.88622693, b_std = 0, q* = 0

References: Poole et al. 2016 (arXiv:1606.05340); Schoenholz et al. 2017 (arXiv:1611.01232).
"""

from dataclasses import dataclass, replace

import numpy as np

from ..architecture.network import Network, require_network
from ..arguments import number
from ..duals.activation_moments import moments
from ..errors import BadData, OutsideDomain
from .phases import EXACT, LARGEST, POINTS, SAME, SMALLEST, bracketed_root, quietly
from .signal_propagation import Numbers, SignalPropagation


@dataclass(frozen=True)
class EdgePoint:
    """A point of the edge of chaos: standard deviations at which chi = 1, at the fixed variance q (nan: any)."""

    w_std: float
    b_std: float
    variance: float
    stable: bool = True

    def __str__(self) -> str:
        kept = "any variance" if np.isnan(self.variance) else f"q* = {self.variance:.6g}"
        return f"edge of chaos: w_std = {self.w_std:.8g}, b_std = {self.b_std:.8g}, {kept}"


def edge_of_chaos(block: Network, b_std: float | None = None, w_std: float | None = None) -> tuple[EdgePoint, ...]:
    """Where chi = 1 at a fixed variance, for a block whose dense layers all have the given b_std (or w_std).

    Of the two, one is given and the other is found; points are sorted by variance. Errors: `OutsideDomain` where there
    is no edge, saying the range of chi; `BadData` unless exactly one is given.
    Reference: Poole et al. 2016 (arXiv:1606.05340).

    >>> from ..architecture.constructors import activation, dense, serial
    >>> print(edge_of_chaos(serial(activation("relu"), dense()), b_std=0.0)[0])
    edge of chaos: w_std = 1.4142136, b_std = 0, any variance
    """
    if (b_std is None) == (w_std is None):
        raise BadData("both or neither of b_std and w_std", where="edge of chaos", remedy="give one of them")
    require_network(block, "edge of chaos")
    number(b_std if b_std is not None else w_std, "a standard deviation", "edge of chaos")
    signal = SignalPropagation(_with_biases(block))
    grid = np.geomspace(SMALLEST, LARGEST, POINTS)
    scale, excess = _excess(signal, grid, b_std, w_std)
    usable = np.isfinite(excess)
    if usable.any() and np.all(np.abs(excess[usable]) < SAME):
        middle = int(np.argmin(np.abs(np.log(np.where(usable, grid, np.inf)))))
        return (_point(scale[middle], np.nan, b_std, w_std, True),)
    found = _at_vanishing_variance(signal, b_std, w_std)
    for i in range(len(grid) - 1):
        left, right = excess[i], excess[i + 1]
        if not (np.isfinite(left) and np.isfinite(right)) or left * right > 0 or min(abs(left), abs(right)) < SAME:
            continue
        if max(abs(left), abs(right)) < 3 * _uncertain(block, grid[i + 1]):
            continue  # chi differs from 1 by less than quadrature knows it
        log_q = bracketed_root(
            lambda x: _excess(signal, np.exp([x]), b_std, w_std)[1][0], np.log(grid[i]), np.log(grid[i + 1])
        )
        q = float(np.exp(log_q))
        other = float(_excess(signal, np.array([q]), b_std, w_std)[0][0])
        point = _point(other, q, b_std, w_std, True)
        found.append(replace(point, stable=abs(_slope_with(signal, point)) <= 1 + SAME))
    if not found and not usable.any():
        raise OutsideDomain(
            "no variance is kept at any standard deviation",
            where="edge of chaos",
            remedy="signals of such a block grow or die without limit: phase(block) says how",
        )
    if not found:
        reach = np.exp(excess[usable])
        raise OutsideDomain(
            f"chi at a fixed variance lies between {reach.min():.4g} and {reach.max():.4g}, never at 1",
            where="edge of chaos",
            remedy="there is no edge here: change the activation, the block or the standard deviation given",
        )
    return tuple(sorted(found, key=lambda point: point.variance))


def _excess(signal, q, b_std, w_std) -> tuple[np.ndarray, np.ndarray]:
    """The standard deviation that makes every q a fixed variance, and log chi there (nan where there is none)."""
    if w_std is None:
        low, high = np.full(q.shape, -20.0), np.full(q.shape, 20.0)
    else:
        low, high = np.full(q.shape, -40.0), np.full(q.shape, 20.0)

    def rules(scale):
        return Numbers(scale, b_std) if w_std is None else Numbers(w_std, scale)

    def gain(x):
        after = quietly(lambda: signal.pair(q, q, 0.0, False, rules(np.exp(x))).first)
        return np.log(np.clip(np.where(np.isfinite(after), after, np.inf) / q, 1e-300, 1e300))

    at_low, at_high = gain(low), gain(high)
    opens = (at_low <= 0) & (at_high >= 0)
    for step in range(80):
        # regula falsi in logarithms, where maps are nearly straight; every third step halves the bracket
        with np.errstate(divide="ignore", invalid="ignore"):
            middle = low - at_low * (high - low) / (at_high - at_low)
        middle = np.where((step % 3 < 2) & (middle > low) & (middle < high), middle, (low + high) / 2)
        value = gain(middle)
        over = value > 0
        low, at_low = np.where(over, low, middle), np.where(over, at_low, value)
        high, at_high = np.where(over, middle, high), np.where(over, value, at_high)
        close = np.where(np.abs(at_low) < np.abs(at_high), low, high)
        if np.all((np.minimum(np.abs(at_low), np.abs(at_high)) < 1e-15) | (high - low < 1e-14) | ~opens):
            break
    scale = np.exp(close)
    chi = quietly(lambda: signal.pair(q, q, 0.0, True, rules(scale)).slope)
    with np.errstate(divide="ignore", invalid="ignore"):
        excess = np.where(opens & (chi > 0), np.log(chi), np.nan)
    return scale, excess


def _at_vanishing_variance(signal, b_std, w_std) -> list[EdgePoint]:
    """The edge at q* = 0, which needs no bias and an activation that vanishes at 0: chi is proportional to w^2."""
    tiny = SMALLEST
    if b_std not in (None, 0.0):
        return []
    dead = float(signal.pair(0.0, 0.0, 0.0, False, Numbers(1.0, 0.0)).first)
    if dead != 0:
        return []

    def log_chi(x):
        return float(np.log(signal.pair(tiny, tiny, 0.0, True, Numbers(np.exp(x), 0.0)).slope))

    if w_std is not None:
        return [EdgePoint(w_std, 0.0, 0.0)] if w_std > 0 and abs(log_chi(np.log(w_std))) < SAME else []
    gain = float(signal.pair(tiny, tiny, 0.0, False, Numbers(1.0, 0.0)).first) / tiny
    later = float(signal.pair(1.0, 1.0, 0.0, False, Numbers(1.0, 0.0)).first)
    if not np.isfinite(gain) or gain <= 0 or abs(gain / later - 1) < EXACT or log_chi(-20.0) * log_chi(20.0) > 0:
        return []
    w = float(np.exp(bracketed_root(log_chi, -20.0, 20.0)))
    return [EdgePoint(_short(w), 0.0, 0.0)]


def _uncertain(block: Network, q: float) -> float:
    """The largest relative error of the moments of a block's activations at this variance."""
    errors = [moments(node.activation).error_at(q) for node in block.nodes if node.op == "activation"]
    return max([error for error in errors if np.isfinite(error)], default=0.0)


def _short(number: float) -> float:
    """A number that differs from one with ten digits by the variance at which it was measured is that number."""
    near = round(number, 10)
    return near if abs(near / number - 1) < 1e-10 else number


def _slope_with(signal, point) -> float:
    rules, h = Numbers(point.w_std, point.b_std), 1e-4
    up, down = (float(signal.pair(*[point.variance * np.exp(s)] * 2, 0.0, False, rules).first) for s in (h, -h))
    return (up - down) / (2 * h * point.variance)


def _point(scale, q, b_std, w_std, stable) -> EdgePoint:
    if w_std is None:
        return EdgePoint(float(scale), b_std, q, stable)
    return EdgePoint(w_std, float(scale) if scale > 1e-12 else 0.0, q, stable)


def _with_biases(block: Network) -> Network:
    """The block with a bias in every dense layer, so that a b_std can be given to it."""
    nodes = tuple(
        replace(node, bias=node.bias or f"b_{node.weight}") if node.op == "dense" else node for node in block.nodes
    )
    return replace(block, nodes=nodes)
