r"""Losses that feed their own noise: a discrete Volterra equation with decaying modes, at any step from one solution.

One-pass SGD on squared loss forgets mode j by a factor 1 - delta_j a step, and the loss itself is its noise:

    P(k) = floor + sum_j f_j (1 - delta_j)^k + sum_{s<k} sum_j kappa_j (1 - delta_j)^(k-1-s) P(s).

Its state is y <- (1 - delta) y + kappa (sum y + floor): diagonal plus rank one. The resolvent has poles at the roots of
sum_j kappa_j / (delta_j - nu) = 1, one between every two rates, and with X_ik = 1/(delta_i - nu_k)

    P(k) = floor + sum_i (1/N_i) [g_i (1 - nu_i)^k + floor (1 - (1 - nu_i)^k)/nu_i],  N = sum kappa X^2,  g = sum f X.

It is stable iff sum kappa/delta < 1 (the gain), and then ends at floor / (1 - gain).
References: Paquette, Paquette, Xiao, Pennington 2024 (arXiv:2405.15074); Golub 1973 (the secular equation).
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from ....theory.arguments import number, numbers, values_of
from ....theory.errors import BadData, DidNotConverge

WHERE = "volterra"
_LARGEST_EXPONENT = 300.0  # beyond, an unstable mode is written as e^300
_LARGEST = 1e100  # and an unstable state as this: losses of unstable runs stay finite, means over runs too
_SMALLEST_KERNEL = 1e-40  # of the largest: modes without noise of their own have their pole where they are
_WEIGHABLE = 1e60  # rates and kernels in any unit: squares and products of inverses must stay floats
_APART = 1e-60  # of the largest rate: distance at least of rates that are equal
PIECES = 200  # of a smooth schedule, and as many again towards its two ends


@dataclass(frozen=True, eq=False)
class Resolved:
    """The solved recursion: rates (n,) in rising order, its poles `nu` (n,), and X_ik = 1/(delta_i - nu_k)."""

    order: np.ndarray
    rates: np.ndarray
    kernel: np.ndarray
    nu: np.ndarray
    differences: np.ndarray

    @property
    def gain(self) -> float:
        """Noise that one unit of loss makes in all later steps together; infinite where a mode does not decay."""
        return float((self.kernel / self.rates).sum()) if self.rates[0] > 0 else float("inf")

    def total(self, state: np.ndarray, floor: float, steps: Any) -> np.ndarray:
        """Losses P (T,) after `steps` (T,) from 0 on, of modes that start at `state` (n,): P(0) = floor + sum state."""
        steps = np.asarray(steps, float)
        weight = 1 / ((self.differences**2).T @ self.kernel)
        alive, made = self._powers(steps)
        grown = alive @ (weight * (self.differences.T @ state[self.order])) + floor * (made @ weight)
        return floor + np.minimum(grown, _LARGEST)

    def state(self, state: np.ndarray, floor: float, step: float) -> np.ndarray:
        """All modes (n,) after `step` steps."""
        weight = 1 / ((self.differences**2).T @ self.kernel)
        alive, made = self._powers(np.array([float(step)]))
        parts = weight * (alive[0] * (self.differences.T @ state[self.order]) + floor * made[0])
        found = np.empty_like(state)
        found[self.order] = self.kernel * (self.differences @ parts)
        return np.minimum(found, _LARGEST)

    def _powers(self, steps):
        """(1 - nu)^k and (1 - (1 - nu)^k)/nu, (T, n); negative nu grow, up to a limit that floats can hold."""
        growth = np.minimum(np.multiply.outer(steps, np.log1p(-np.minimum(self.nu, 1 - 1e-15))), _LARGEST_EXPONENT)
        still = self.nu == 0
        made = -np.expm1(growth) / np.where(still, 1.0, self.nu)
        return np.exp(growth), np.where(still, steps[:, None], made)


def resolved(rates: Any, kernel: Any) -> Resolved:
    """Poles of the equation with rates delta (n,) below 1 and kernel weights kappa (n,) from 0; any order.

    Errors: `BadData` for shapes, rates above 1, negative kernels.

    >>> found = resolved([0.1, 0.3], [0.02, 0.02])
    >>> nu = found.nu
    >>> print((0.02 / (0.1 - nu) + 0.02 / (0.3 - nu)).round(12), round(found.gain, 4))
    [1. 1.] 0.2667
    """
    delta, kappa = numbers(rates, "rates", WHERE).ravel(), numbers(kernel, "kernel", WHERE).ravel()
    if delta.shape != kappa.shape or not delta.size:
        raise BadData(f"{delta.size} rates, {kappa.size} kernel weights", where=WHERE, remedy="give one of each a mode")
    if not (np.isfinite(delta).all() and delta.max() <= 1):
        raise BadData(f"rates up to {delta.max():g}", where=WHERE, remedy="rates are 1 - (decay a step): at most 1")
    if not (np.isfinite(kappa).all() and kappa.min() >= 0):
        raise BadData(f"kernel weights from {kappa.min():g}", where=WHERE, remedy="give finite weights from 0")
    size = float(np.abs(delta).max())
    if max(size, float(kappa.max())) > _WEIGHABLE or 0 < size < 1 / _WEIGHABLE:
        raise BadData(
            f"rates up to {size:g}, kernel weights up to {kappa.max():g}",
            where=WHERE,
            remedy=f"take learning rates and eigenvalues in units that keep them within {1 / _WEIGHABLE:g} to 1",
        )
    order = np.argsort(delta, kind="stable")
    delta, kappa = delta[order].copy(), kappa[order]
    for _ in range(len(delta)):  # equal rates would share a pole: they are set apart by rounding
        tied = np.flatnonzero(np.diff(delta) <= 0) + 1
        if not tied.size:
            break
        delta[tied] = np.maximum(np.nextafter(delta[tied - 1], np.inf), delta[tied - 1] + _APART * (size or 1.0))
    kappa = np.maximum(kappa, max(_SMALLEST_KERNEL * kappa.max(), 1e-60 * (size or 1.0)))
    nu, differences = _poles(delta, kappa)
    return Resolved(order, delta, kappa, nu, differences)


def volterra(rates: Any, forcing: Any, kernel: Any, floor: float, steps: Any) -> np.ndarray:
    """Solution P (T,) of the discrete Volterra equation of the module after `steps` (T,): any real numbers from 0.

    `rates`, `forcing`, `kernel` (n,): delta, f and kappa. Cost: n^2 for the poles, n T for the steps.
    Errors: `BadData` for shapes, signs and steps below 0.

    >>> volterra([0.5], [1.0], [0.25], 0.0, [0, 1, 2])  # one mode: 1 - 0.5 + 0.25 a step
    array([1.    , 0.75  , 0.5625])
    """
    found = resolved(rates, kernel)
    state = numbers(forcing, "forcing", WHERE).ravel()
    if state.shape != found.rates.shape:
        raise BadData(f"{state.size} forcings, {found.rates.size} rates", where=WHERE, remedy="give one a mode")
    if not (np.abs(state) < _LARGEST).all():
        raise BadData(f"forcings {_few(state)}", where=WHERE, remedy="give finite numbers")
    return found.total(state, number(floor, "floor", WHERE), checked_steps(steps))


def _few(array: np.ndarray) -> str:
    return np.array2string(array, threshold=6, precision=4)


def checked_steps(steps: Any, where: str = WHERE) -> np.ndarray:
    """Steps (T,) from 0 as floats. Errors: `BadData`.

    >>> checked_steps([0, 10])
    array([ 0., 10.])
    """
    found = np.atleast_1d(numbers(steps, "steps", where))
    if found.ndim != 1 or not found.size or not (np.isfinite(found).all() and (found >= 0).all()):
        raise BadData(f"steps {steps}", where=where, remedy="give finite numbers from 0 as a list")
    return found


def along_pieces(
    rules: Callable[[float], tuple[np.ndarray, np.ndarray]],
    pieces: list[tuple[float, float]],
    state: np.ndarray,
    floor: float,
    steps: np.ndarray,
) -> np.ndarray:
    """Losses (T,) where the learning rate is constant on pieces (steps, rate): `rules`(rate) gives rates and kernel.

    Every piece is solved exactly, and its modes are handed to the next; after the last one the rate stays.

    >>> rules = lambda rate: (np.array([rate]), np.array([0.0]))
    >>> along_pieces(rules, [(2, 0.5), (1, 0.0)], np.ones(1), 0.0, np.array([1.0, 2.0, 3.0]))
    array([0.5 , 0.25, 0.25])
    """
    losses = np.full(len(steps), np.nan)
    solved: dict[float, Resolved] = {}
    start = 0.0
    for number_, (length, rate) in enumerate(pieces):
        last = number_ == len(pieces) - 1
        inside = (steps >= start) & ((steps < start + length) | last)
        if rate == 0:
            losses[inside] = floor + state.sum()
        else:
            if rate not in solved:
                solved = {rate: resolved(*rules(rate))}  # only the last: schedules rarely come back
            if inside.any():
                losses[inside] = solved[rate].total(state, floor, steps[inside] - start)
            if not last:
                state = solved[rate].state(state, floor, length)
        start += length
    return losses


def schedule_pieces(schedule: Any, last: float) -> list[tuple[float, float]]:
    """A schedule as pieces (steps, factor of the learning rate): given as such pieces, or as a function of the step.

    A function is cut at steps that are dense towards both ends, in ratios and in differences, and every piece has the
    mean factor of its steps: the time sum of the rates is kept. Errors: `BadData` for factors that are not from 0.

    >>> schedule_pieces([(10, 1.0), (20, 0.1)], 30)
    [(10.0, 1.0), (20.0, 0.1)]
    >>> pieces = schedule_pieces(lambda k: 1 - k / 1000, 1000)
    >>> print(round(sum(steps * factor for steps, factor in pieces), 9))  # sum of 1 - k/1000 over k < 1000
    500.5
    """
    if not callable(schedule):
        remedy = "give (steps > 0, factor >= 0), ... or a function of the step"
        listed = numbers(np.nan if schedule is None else schedule, "schedule", WHERE, remedy)
        if listed.ndim != 2 or listed.shape[1] != 2:
            raise BadData(f"pieces of shape {listed.shape}", where="schedule", remedy=remedy)
        pieces = [(float(a), float(b)) for a, b in listed]
        wrong = [piece for piece in pieces if not (piece[0] > 0 and 0 <= piece[1] < np.inf)]
        if wrong or not pieces:
            raise BadData(f"pieces {wrong or pieces}", where="schedule", remedy="give (steps > 0, factor >= 0), ...")
        return pieces
    last = max(1.0, float(np.ceil(last)))
    ratios = np.geomspace(1, last, PIECES)
    edges = np.concatenate([[0.0, last], ratios, last - ratios, np.linspace(0, last, PIECES)])
    edges = np.unique(np.clip(np.round(edges), 0, last))
    lengths = np.diff(edges)
    # the mean over whole steps of a piece: all of them where they are few, else Gauss points of the sum's integral
    nodes, weights = np.polynomial.legendre.leggauss(8)
    few = lengths <= 64
    factors = np.empty(len(lengths))
    for i, (first, length) in enumerate(zip(edges, lengths, strict=False)):
        if few[i]:
            factors[i] = np.mean(_factors(schedule, first + np.arange(length)))
        else:  # midpoint rule backwards: sum_k s(k) = integral of s from first - 1/2 to last - 1/2
            points = first - 0.5 + length * (nodes + 1) / 2
            factors[i] = _factors(schedule, np.clip(points, 0, None)) @ weights / 2
    return list(zip(lengths.tolist(), factors.tolist(), strict=True))


def _factors(schedule, steps):
    remedy = "give a function of the step, a number"
    found = np.array([values_of(schedule, step, "schedule", remedy) for step in steps], float)
    if found.shape != steps.shape:
        raise BadData(f"the schedule gives shape {found.shape[1:]} at a step", where="schedule", remedy=remedy)
    if not (np.isfinite(found).all() and (found >= 0).all()):
        raise BadData(f"the schedule gives {found.min():g}", where="schedule", remedy="give finite factors from 0")
    return found


def _poles(delta: np.ndarray, kappa: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Roots of sum kappa/(delta - nu) = 1 and 1/(delta_i - nu_k): distances to the nearest rate, never differences.

    Root k lies below delta_k and above delta_(k-1). With o its distance to the nearer of the two (origin), and the
    other terms summed in `rest`, o (1 - rest) = +-kappa_origin, which Newton solves inside a bracket.
    """
    n = len(delta)
    index, upper = np.arange(n), np.ones(n, bool)
    if n > 1:  # at the middles, which need not be floats where two rates are neighbours
        upper[1:] = (1 / (delta - delta[1:, None] + np.diff(delta)[:, None] / 2)) @ kappa < 1
    origin = np.where(upper, index, index - 1)
    side = np.where(upper, 1.0, -1.0)  # nu = delta_origin - side o
    shift = delta - delta[origin][:, None]
    own = kappa[origin]
    low, high = np.zeros(n), np.full(n, kappa.sum())
    high[1:] = np.diff(delta) / 2 * (1 + 1e-12)
    distance = np.minimum(own, high / 2)
    for _ in range(200):
        inverse = shift + (side * distance)[:, None]
        inverse[index, origin] = np.inf
        np.divide(1.0, inverse, out=inverse)
        rest = inverse @ kappa
        slope = np.square(inverse, out=inverse) @ kappa
        value = side * distance * (1 - rest) - own
        low, high = np.where(value > 0, low, distance), np.where(value > 0, distance, high)
        with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
            following = distance - value / (side * (1 - rest) + distance * slope)
        outside = ~((following > low) & (following < high))
        halved = np.where(low > 0, np.sqrt(low) * np.sqrt(high), high * 1e-3)
        following = np.where(outside, halved, following)
        moved = np.abs(following - distance) / distance
        settled = (moved < 4e-15) | (high - low <= 4e-16 * high)
        distance = np.where(high - low <= 4e-16 * high, distance, following)
        if settled.all():
            break
    else:
        raise DidNotConverge(f"a pole still moves by {moved.max():.1e}", where=WHERE, remedy="check the rates")
    return delta[origin] - side * distance, 1 / (shift + (side * distance)[:, None]).T
