r"""Inverse Laplace transforms on an optimised Talbot contour: one and two frequencies, many times at once.

    f(t) = 1/(2 pi i) int e^(tau t) F(tau) dtau  ~  Re sum_i w_i F(tau_i),    tau_i = z_i / t,

with all singularities of F on the negative real axis. The midpoint rule on the contour below gains a factor 3.89 with
every node and its conjugate counted; the largest weight stays near 100, so that no digits are lost. Gradient descent
with a finite step replaces e^(tau t) by (1 + eta tau)^k: the same nodes through 1 + eta tau = e^(eta s), with a second
set around 1 + eta tau < 0 for modes that change sign at every step, and a circle for few steps.

References: Weideman 2006 (doi:10.1137/050625837); Trefethen, Weideman & Schmelzer 2006 (doi:10.1007/s10543-006-0077-9).
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

NODES = 13  # in the upper half plane: 3.89^-26 is rounding
FEWER = 10  # for the error estimate
FEW_STEPS = 16  # below, descent is a polynomial of low degree: a circle
CIRCLE = 40  # its nodes in the upper half plane


@dataclass(frozen=True, eq=False)
class Contour:
    """Nodes tau (T, n) in the upper half plane with weights: f(t) = Re sum_i w_i F(tau_i) for real f."""

    nodes: np.ndarray
    weights: np.ndarray

    def once(self, transform: np.ndarray) -> np.ndarray:
        """f (T,) from F at the nodes, (T, n)."""
        return (self.weights * transform).sum(-1).real

    def twice(self, transform: np.ndarray, conjugate: np.ndarray) -> np.ndarray:
        """f(t, t) (T,) from F(tau_i, tau_j) and F(tau_i, conj tau_j), both (T, n, n)."""
        left, right = self.weights[:, :, None], self.weights[:, None, :]
        return (left * (right * transform + right.conj() * conjugate)).sum((-1, -2)).real / 2

    def products(self) -> tuple[np.ndarray, np.ndarray]:
        """tau_i tau_j and tau_i conj tau_j, (T, n, n)."""
        left, right = self.nodes[:, :, None], self.nodes[:, None, :]
        return left * right, left * right.conj()


def talbot(times: np.ndarray, count: int = NODES) -> Contour:
    """The contour for e^(tau t) at positive times (T,), with `count` nodes in the upper half plane.

    >>> contour = talbot(np.array([1.0, 3.0]))
    >>> contour.once(1 / (contour.nodes + 1)) - np.exp([-1.0, -3.0]) < 1e-13
    array([ True,  True])
    """
    z, dz = _shape(count)
    times = np.asarray(times, float)[:, None]
    return Contour(z / times, np.exp(z) * dz / times)


def descent(steps: np.ndarray, learning_rate: float, alternating: bool = False, count: int = NODES) -> Contour:
    """The contour for (1 + eta tau)^k at positive numbers of steps (T,): X^k = f(X) for 1 + eta X in (0, 1].

    With `alternating` modes it also surrounds 1 + eta X in [-1, 0). All times have the same number of nodes.

    >>> contour = descent(np.array([1, 30]), 0.5)
    >>> np.abs(contour.once(1 / (contour.nodes + 1)) - 0.5 ** np.array([1, 30])) < 1e-12
    array([ True,  True])
    """
    steps = np.asarray(steps, float)
    z, dz = _shape(count)
    power, slope = z / steps[:, None], dz / steps[:, None]  # eta s and its derivative: t = eta k
    move = np.expm1(power)  # eta tau
    weights = np.exp(z) * (1 + move) * slope
    if alternating:
        # the mirrored lobe 1 + eta tau -> -conj: in the upper half plane, and counter-clockwise as well
        sign = np.where(steps % 2 == 0, 1.0, -1.0)[:, None]
        move = np.concatenate([move, -move.conj() - 2], axis=1)
        weights = np.concatenate([weights, sign * (-weights.conj())], axis=1)
    few = steps < FEW_STEPS
    if few.any():
        # rounding grows as radius^(2k), the error of the rule falls as radius^-2n: both at 1e-16 x radius^(2k)
        radius = np.exp(18 / (CIRCLE + steps[few, None]))
        circle = radius * np.exp(1j * np.pi * (np.arange(CIRCLE) + 0.5) / CIRCLE)
        idle = ((0, 0), (0, max(CIRCLE - move.shape[1], 0)))  # every time has as many nodes: some have no weight
        move, weights = np.pad(move, idle, constant_values=1j), np.pad(weights, idle)
        move[few], weights[few] = 1j, 0.0
        move[few, :CIRCLE] = circle - 1
        weights[few, :CIRCLE] = circle ** (steps[few, None] + 1) / CIRCLE
    return Contour(move / learning_rate, weights / learning_rate)


def decay(speed: np.ndarray, times: np.ndarray, learning_rate: float = 0.0) -> np.ndarray:
    """What is left of a mode after times (T, 1): exp(-speed t), or (1 - eta speed)^k at a learning rate.

    >>> decay(np.array([1.0, 3.0]), np.array([[1.0]]), 0.5)
    array([[0.25, 0.25]])
    """
    if not learning_rate:
        return np.exp(-speed * times)
    steps = np.rint(times / learning_rate)
    with np.errstate(divide="ignore", invalid="ignore"):
        size = np.where(steps > 0, np.exp(steps * np.log(np.abs(1 - learning_rate * speed))), 1.0)
    return np.where((learning_rate * speed > 1) & (steps % 2 == 1), -size, size)


def inverse(transform: Callable[[np.ndarray], np.ndarray], times: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """f at positive times (T,) with an error estimate, from F on arrays of complex frequencies.

    >>> value, error = inverse(lambda tau: 1 / np.sqrt(tau), np.array([0.25]))
    >>> print(abs(value[0] - 1 / np.sqrt(np.pi / 4)) < 1e-13, error[0] < 1e-9)
    True True
    """
    found = [contour.once(transform(contour.nodes)) for contour in (talbot(times), talbot(times, FEWER))]
    return found[0], np.abs(found[0] - found[1])


def _shape(count: int) -> tuple[np.ndarray, np.ndarray]:
    """z and the weight of F apart from e^z, twice dz/(2 pi i): nodes in the upper half plane stand for both halves."""
    whole = 2 * count
    theta = np.pi * (2 * np.arange(count) + 1) / whole
    bend = 0.6407 * theta
    z = whole * (0.5017 * theta / np.tan(bend) - 0.6122 + 0.2645j * theta)
    slope = whole * (0.5017 / np.tan(bend) - 0.5017 * bend / np.sin(bend) ** 2 + 0.2645j)
    return z, 2 * slope / (1j * whole)
