r"""How signals pass through a wide network: variances, correlations and gradients, layer after layer.

For two inputs with variances a, b and covariance C at some layer, the next one, phi then dense, has

    a' = w^2 E phi(sqrt(a) z)^2 + b_std^2,    C' = w^2 V(a, b, C) + b_std^2,    chi = dC'/dC = w^2 E phi'(u) phi'(v).

chi at coincident inputs is the growth of squared gradients per layer, going backwards. What is carried is the gap
1 - c = 1 - C / sqrt(a b), not the correlation c: differences of inputs keep all their digits at any depth. A block is
any plain `Network` that can be repeated: residual sums, layer norms and products included.

>>> from ..architecture.constructors import activation, dense, serial
>>> relu = SignalPropagation(serial(activation("relu"), dense(2**0.5)))
>>> relu.variance(1.5).round(12), relu.gradient(1.5).round(12), relu.correlation(0.0).round(6)
(np.float64(1.5), np.float64(1.0), np.float64(0.31831))

References: Poole et al. 2016 (arXiv:1606.05340); Schoenholz et al. 2017 (arXiv:1611.01232); Yang & Schoenholz 2017
(arXiv:1712.08969) for residual networks.
"""

from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from ..architecture.layer_walk import passed
from ..architecture.network import Network
from ..duals.activation_moments import moments
from ..errors import BadData, NoClosedForm

UNKNOWN = "unknown"  # the mean of features that enter a block


@dataclass(frozen=True, eq=False)
class Pair:
    """Second moments of the features of two inputs: variances, the gap 1 - C / sqrt(a b), and dC / dC at the input.

    `mean` is None for zero, two arrays, or `UNKNOWN`; `slope` is None where it is not asked for.
    """

    first: np.ndarray
    second: np.ndarray
    gap: np.ndarray
    slope: np.ndarray | None
    mean: Any = None

    @property
    def covariance(self) -> np.ndarray:
        return np.sqrt(self.first) * np.sqrt(self.second) * (1 - self.gap)

    @property
    def correlation(self) -> np.ndarray:
        return 1 - self.gap


@dataclass(frozen=True)
class Numbers:
    """The rules of a walk on pairs of inputs; `w_std` and `b_std` replace those of every dense layer.

    With `tangent` a slope that starts at 0 becomes the tangent kernel: every layer adds what its own weights do.
    """

    w_std: Any = None
    b_std: Any = None
    tangent: bool = False

    def dense(self, state: Pair, node) -> Pair:
        w, b = (given if given is not None else stated for given, stated in self._scales(node))
        weight = np.square(np.asarray(w, float))
        noise = np.square(np.asarray(b, float)) + 0.0 * weight
        slope = None if state.slope is None else weight * state.slope
        scaled = Pair(weight * state.first, weight * state.second, state.gap, slope)
        made = added([scaled, Pair(noise, noise, np.zeros_like(noise), None)], slope) if np.any(noise) else scaled
        return replace(made, slope=slope + made.covariance) if self.tangent else made

    def _scales(self, node):
        return (self.w_std, node.w_std), (self.b_std, node.b_std if node.bias else 0.0)

    def activation(self, state: Pair, node) -> Pair:
        law = moments(node.activation)
        if state.slope is not None and not law.tangent:
            raise NoClosedForm(
                f"{node.activation} has no derivative that gradients pass through",
                where=node.name,
                remedy="only variances and correlations propagate",
            )
        if not np.any(state.gap) and np.array_equal(state.first, state.second):
            # coincident inputs: one index is enough
            variance, mean = law.second(state.first), law.mean(state.first)
            slope = None if state.slope is None else law.slope(state.first) * state.slope
            return Pair(variance, variance, np.zeros_like(variance), slope, (mean, mean))
        first, second = law.second(state.first), law.second(state.second)
        dead = (state.first <= 0) | (state.second <= 0)
        a, b = np.where(state.first > 0, state.first, 1.0), np.where(state.second > 0, state.second, 1.0)
        gap, slope = law.pair(a, b, state.gap, want_slope=state.slope is not None)
        if np.any(dead):
            # a blank input: its features are phi(0) everywhere, so covariances are products of means
            at, to = law.mean(state.first), law.mean(state.second)
            size = np.sqrt(first) * np.sqrt(second)
            with np.errstate(divide="ignore", invalid="ignore"):
                blank = np.where(size > 0, 1 - at * to / np.where(size > 0, size, 1), 0.0)
            gap = np.where(dead, blank, gap)
            if state.slope is not None:
                steep = law.pair(np.where(dead, 1e-300, a), np.where(dead, 1e-300, b), state.gap)[1]
                slope = np.where(dead, steep, slope)
        return Pair(
            first,
            second,
            gap,
            None if state.slope is None else slope * state.slope,
            (law.mean(state.first), law.mean(state.second)),
        )

    def sum(self, states: list[Pair], coefficients, node) -> Pair:
        parts = [
            Pair(c**2 * s.first, c**2 * s.second, s.gap, None if s.slope is None else c**2 * s.slope, _times(s.mean, c))
            for c, s in zip(coefficients, states, strict=True)
        ]
        slopes = [part.slope for part in parts if part.slope is not None]
        slope = np.sum(np.broadcast_arrays(*slopes), axis=0) if slopes else None
        moved = [part for part in parts if part.mean is not None]
        if len(moved) <= 1:
            return replace(added(parts, slope), mean=moved[0].mean if moved else None)
        _require_means(moved, node)
        at, to = (sum(part.mean[i] for part in moved) for i in (0, 1))
        return replace(added([*map(centred, parts), _constant(at, to)], slope), mean=(at, to))

    def product(self, states: list[Pair], node) -> Pair:
        _require_means([state for state in states if state.mean is not None], node)
        first, second = (
            np.prod(np.broadcast_arrays(*found), axis=0) for found in zip(*_variances(states), strict=True)
        )
        # 1 - (1 - g)(1 - h) = g + h - g h
        gap = np.zeros(())
        for state in states:
            gap = gap + state.gap - gap * state.gap
        slope: Any = None
        for k, state in enumerate(states):
            if state.slope is not None:
                others = [other.covariance for j, other in enumerate(states) if j != k]
                term = np.prod(np.broadcast_arrays(state.slope, *others), axis=0)
                slope = term if slope is None else slope + term
        if any(state.mean is None for state in states):
            return Pair(first, second, gap, slope)
        at, to = (np.prod(np.broadcast_arrays(*(s.mean[i] for s in states)), axis=0) for i in (0, 1))
        return Pair(first, second, gap, slope, (at, to))

    def layer_norm(self, state: Pair, node) -> Pair:
        if state.mean is not None:
            _require_means([state], node)
            state = centred(state)
        sizes = state.first + node.epsilon, state.second + node.epsilon
        if not all(np.all(size > 0) for size in sizes):
            raise BadData("features of variance zero", where=node.name, remedy="give layer_norm an eps above 0")
        slope = None if state.slope is None else state.slope / (np.sqrt(sizes[0]) * np.sqrt(sizes[1]))
        return Pair(state.first / sizes[0], state.second / sizes[1], state.gap, slope)


def added(parts: list[Pair], slope: Any = None) -> Pair:
    """The sum of independent features: covariances add. Every gap is a sum of terms >= 0, so no digit is lost."""
    a, b = np.sqrt(parts[0].first), np.sqrt(parts[0].second)  # roots, so that no product overflows
    lost = a * b * parts[0].gap
    for part in parts[1:]:
        x, y = np.sqrt(part.first), np.sqrt(part.second)
        cross, whole = a * y - b * x, a * b + x * y
        a, b = np.hypot(a, x), np.hypot(b, y)
        whole = whole + a * b
        lost = lost + x * y * part.gap + cross * (cross / np.where(whole > 0, whole, 1))
    size = a * b
    first, second = (sum(getattr(part, side) for part in parts) for side in ("first", "second"))
    return Pair(first, second, np.where(size > 0, lost / np.where(size > 0, size, 1), 0.0), slope)


def centred(state: Pair) -> Pair:
    """The same features minus their means: a - m^2, C - m m'."""
    if state.mean is None:
        return state
    at, to = state.mean
    x, y = np.sqrt(state.first), np.sqrt(state.second)
    first, second = np.maximum(state.first - at**2, 0), np.maximum(state.second - to**2, 0)
    size = np.sqrt(first) * np.sqrt(second)
    cross, whole = np.abs(at) * y - np.abs(to) * x, x * y + np.abs(at * to) + size
    lost = x * y * state.gap - cross * (cross / np.where(whole > 0, whole, 1))
    lost = lost - np.where(at * to < 0, 2 * np.abs(at * to), 0.0)
    return Pair(first, second, np.where(size > 0, lost / np.where(size > 0, size, 1), 0.0), state.slope)


def _constant(at, to) -> Pair:
    return Pair(at**2, to**2, np.where(at * to < 0, 2.0, 0.0), None)


def _times(mean, factor):
    return mean if mean is None or isinstance(mean, str) else tuple(factor * m for m in mean)


def _variances(states):
    return [(state.first, state.second) for state in states]


def _require_means(states, node) -> None:
    if any(isinstance(state.mean, str) for state in states):
        raise NoClosedForm(
            "what enters the block has a mean that matters here",
            where=node.name,
            remedy="end the block with a dense layer",
        )


@dataclass(frozen=True)
class Profile:
    """Variance, correlation and backward growth of squared gradients by layer; arrays (layers + 1, ...).

    `gradient[l]` is E |dL/dh_l|^2 over E |dL/dh_L|^2, for the first input of the pair.
    """

    variance: np.ndarray
    gap: np.ndarray
    gradient: np.ndarray

    @property
    def correlation(self) -> np.ndarray:
        return 1 - self.gap


@dataclass(frozen=True)
class SignalPropagation:
    """The maps of one block of a wide network, which may be repeated; all take and give float64 arrays.

    >>> from ..architecture.constructors import activation, dense, residual, serial
    >>> block = SignalPropagation(residual(activation("relu"), dense(1.0), scale=0.5))
    >>> block.variance(2.0).round(12)  # q + q/8
    np.float64(2.25)
    """

    block: Network

    def __post_init__(self):
        self.pair(1.0, 1.0, 0.0, want_slope=False)

    def pair(self, first: Any, second: Any, gap: Any, want_slope: bool = True, rules: Any = None) -> Pair:
        """What the block makes of two inputs with these variances and gap 1 - correlation."""
        arrays = np.broadcast_arrays(*(np.asarray(array, float) for array in (first, second, gap)))
        if not all(np.isfinite(array).all() for array in arrays) or any((array < 0).any() for array in arrays):
            raise BadData("variances or gaps below 0 or not finite", where="signal propagation", remedy="check them")
        rules = rules or Numbers()
        one = np.ones_like(arrays[0]) if want_slope else None
        start = Pair(arrays[0], arrays[1], arrays[2], one)
        with np.errstate(over="ignore", invalid="ignore"):  # a variance that overflows is infinite
            # a block that ends with a dense layer is entered by Gaussian features of mean zero
            end = passed(self.block, start, rules, gaussian=True)
            if not end.gaussian or end.state.mean is not None:
                end = passed(self.block, replace(start, mean=UNKNOWN), rules)
        return end.state

    def variance(self, q: Any) -> np.ndarray:
        """Variance after the block, of features with variance q."""
        return self.pair(q, q, 0.0, want_slope=False).first

    def gap(self, gap: Any, q: Any = 1.0) -> np.ndarray:
        """1 - correlation after the block, of two inputs of variance q."""
        return self.pair(q, q, gap, want_slope=False).gap

    def correlation(self, c: Any, q: Any = 1.0) -> np.ndarray:
        """Correlation after the block, of two inputs of variance q and correlation c."""
        return 1 - self.gap(1 - np.asarray(c, float), q)

    def gradient(self, q: Any, gap: Any = 0.0) -> np.ndarray:
        """chi: growth of squared gradients through the block, backwards; at a gap, of their covariance."""
        return np.asarray(self.pair(q, q, gap).slope)

    def correlation_slope(self, q: Any, gap: Any = 0.0) -> np.ndarray:
        """dc'/dc at variance q: chi q / q'; below 1 at gap 0, nearby inputs come closer."""
        after = self.pair(q, q, gap)
        return np.asarray(after.slope) * q / after.first

    def variance_slope(self, q: Any) -> np.ndarray:
        """dq'/dq, by central differences in log q at two steps, extrapolated (error about 1e-11)."""
        q = np.asarray(q, float)
        h = 2e-3
        coarse, fine = (
            (self.variance(q * np.exp(step)) - self.variance(q * np.exp(-step))) / (2 * step) for step in (h, h / 2)
        )
        return (4 * fine - coarse) / (3 * q)

    def through(self, layers: int, q: Any = 1.0, c: Any = 1.0) -> Profile:
        """The signal through a stack of equal blocks; `q` a variance or a pair of them, `c` the correlation.

        >>> from ..architecture.constructors import activation, dense, serial
        >>> SignalPropagation(serial(activation("relu"), dense(2.0))).through(3).gradient
        array([8., 4., 2., 1.])
        """
        if layers != int(layers) or layers < 0:
            raise BadData(f"{layers} layers", where="signal propagation", remedy="give a whole number from 0")
        first, second = q if isinstance(q, tuple) else (q, q)
        gap = 1 - np.asarray(c, float)
        variances, gaps, slopes = [np.asarray(first, float)], [gap], []
        for layer in range(int(layers)):
            slopes.append(self.gradient(first))
            after = self.pair(first, second, gap, want_slope=False)
            if not all(np.isfinite(array).all() for array in (after.first, after.second, after.gap)):
                raise BadData(
                    f"the variance overflows in layer {layer + 1}",
                    where="signal propagation",
                    remedy="lower w_std or the number of layers; phase(block) says how it grows",
                )
            first, second, gap = after.first, after.second, after.gap
            variances.append(first)
            gaps.append(gap)
        growth = [np.ones_like(np.asarray(first, float))]
        with np.errstate(over="ignore"):  # inf is what a growth beyond 1e308 is
            for slope in reversed(slopes):
                growth.append(growth[-1] * slope)
        return Profile(*(np.stack(np.broadcast_arrays(*found)) for found in (variances, gaps, growth[::-1])))
