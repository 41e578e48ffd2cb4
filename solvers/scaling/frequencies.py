r"""The effective ridge at complex frequencies, and the errors between two of them.

With S = sum L, L = lambda/(lambda + kappa), M = 1 - L, p = 1/P and q = 1/N for P samples and N features,

    kappa (1 - p S)(1 - q S) = tau,
    C(tau, tau') = [(1 - q Q)(sum v M M' + noise) + q a sum v M L'] / [r_P r_N' + q r_P a' + p r_N' a],

Q = sum L L', a = sum L M', a' = sum L' M, r_P = 1 - p S, r_N = 1 - q S: C/(tau tau') is the double Laplace transform of
the two-time correlation of test errors (derived in `theory.scaling.dynamical`). The root starts on the real axis and
is turned to its angle in a few steps; on the physical branch 0 <= arg kappa <= arg tau.

Reference: Bordelon, Atanasov & Pehlevan 2024 (arXiv:2402.01092).
"""

from dataclasses import dataclass

import numpy as np

from ...theory.errors import DidNotConverge
from ..regression.levels import Levels

TURNS = 5  # steps from the real axis to the angle of a frequency
ENTRIES = 1 << 20  # (frequencies, levels) handled at once: 16 MB
WHERE = "dynamics"


@dataclass(frozen=True, eq=False)
class Frequencies:
    """Effective ridges at frequencies tau, both (T, n), of P = 1/p samples and N = 1/q features, (T,).

    `left_samples`, `left_features`  1 - p S and 1 - q S, their small one without cancellation
    """

    modes: Levels
    tau: np.ndarray
    p: np.ndarray
    q: np.ndarray
    kappa: np.ndarray
    left_samples: np.ndarray
    left_features: np.ndarray

    def response(self, eigenvalues: np.ndarray) -> np.ndarray:
        """M_k = kappa/(lambda_k + kappa), (T, n, modes): the mean share of mode k not learned, times tau."""
        return self.kappa[..., None] / (eigenvalues + self.kappa[..., None])

    def single(self) -> np.ndarray:
        """sum v M and the power that is never learned, (T, n)."""
        lam, power = self.modes.eigenvalues, self.modes.power
        found = np.empty(self.kappa.size, complex)
        flat = self.kappa.ravel()
        for rows in _blocks(len(flat), len(lam)):
            found[rows] = _weighted(flat[rows, None] / (lam + flat[rows, None]), power)
        return found.reshape(self.kappa.shape) + self.modes.lost

    def double(self, noise: float) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
        """C at (tau_i, tau_j) and (tau_i, conj tau_j), of test and training errors with noise, each (T, n, n)."""
        shape = (*self.tau.shape, self.tau.shape[1])
        test, mixed = np.empty(shape, complex), np.empty(shape, complex)
        unlearned = self.single() - self.modes.lost
        lam, count, power = self.modes.eigenvalues, self.modes.multiplicities, self.modes.power
        rest = noise + self.modes.lost
        for rows in _blocks(len(self.tau), self.tau.shape[1] * len(lam)):
            near = 1 / (lam + self.kappa[rows, :, None])
            of_count, of_power = near * (count * lam), near * power
            kappa, r_p, r_n = self.kappa[rows], self.left_samples[rows], self.left_features[rows]
            p, q = self.p[rows, None, None], self.q[rows, None, None]
            for found, other in ((test, np.asarray), (mixed, np.conj)):
                right = np.swapaxes(other(near), 1, 2)
                first, second = kappa[:, :, None], other(kappa)[:, None, :]
                shared = of_count @ right  # E = sum lambda/((lambda + kappa)(lambda + kappa'))
                missed = first * second * (of_power @ right)  # sum v M M'
                a, b = second * shared, first * shared
                left_p, left_n = r_p[:, :, None], other(r_n)[:, None, :]
                cross = unlearned[rows, :, None] - missed  # sum v M L'
                above = (left_n + q * b) * (missed + rest) + q * a * cross
                found[rows] = above / (left_p * left_n + q * left_p * b + p * left_n * a)
        left = self.left_samples
        train = test * left[:, :, None] * left[:, None, :]
        return test, mixed, train, mixed * left[:, :, None] * left.conj()[:, None, :]


def frequencies(modes: Levels, tau: np.ndarray, p: np.ndarray, q: np.ndarray) -> Frequencies:
    """Solve for the effective ridge at frequencies (T, n) in the upper half plane. Errors: `DidNotConverge`.

    >>> from ..regression.levels import levels
    >>> found = frequencies(levels(np.ones(4)), np.array([[0.5 + 0.5j]]), np.array([0.5]), np.array([0.0]))
    >>> kappa = found.kappa[0, 0]; print(abs(kappa * (1 - 2 / (1 + kappa)) - (0.5 + 0.5j)) < 1e-14)
    True
    """
    shape = tau.shape
    tau = tau.ravel()
    p_all, q_all = (np.repeat(values, shape[1]) for values in (p, q))
    kappa = np.empty(len(tau), complex)
    for rows in _blocks(len(tau), len(modes.eigenvalues)):
        kappa[rows] = _solved(modes, tau[rows], p_all[rows], q_all[rows])
    few, many = np.maximum(p_all, q_all), np.minimum(p_all, q_all)
    with np.errstate(invalid="ignore", divide="ignore"):
        g = np.where(few > 0, many / few, 1.0)
    # both shares left, r and g r + 1 - g, have the product tau / kappa
    ratio = tau / kappa
    small = 2 * ratio / (1 - g + np.sqrt((1 - g) ** 2 + 4 * g * ratio))
    large = g * small + 1 - g
    few_samples = p_all >= q_all
    small, large = np.where(few > 0, small, 1.0), np.where(few > 0, large, 1.0)
    return Frequencies(
        modes,
        tau.reshape(shape),
        p,
        q,
        kappa.reshape(shape),
        np.where(few_samples, small, large).reshape(shape),
        np.where(few_samples, large, small).reshape(shape),
    )


def real_ridge(modes: Levels, tau: np.ndarray, p: np.ndarray, q: np.ndarray) -> np.ndarray:
    """kappa (T,) at real positive frequencies: guarded Newton steps in log kappa of a rising function."""
    low = np.log(tau)
    high = np.log(tau + modes.trace * (p + q)) + 1e-9
    x = high.copy()
    for _ in range(200):
        kappa = np.exp(x)
        learned = modes.eigenvalues / (modes.eigenvalues + kappa[:, None])
        total, variance = learned @ modes.multiplicities, (learned * (1 - learned)) @ modes.multiplicities
        left_p, left_n = 1 - p * total, 1 - q * total
        beyond = (left_p <= 0) | (left_n <= 0)  # more modes than samples or features: kappa is too small
        with np.errstate(invalid="ignore", divide="ignore"):
            value = np.where(beyond, -np.inf, x + np.log(left_p) + np.log(left_n) - np.log(tau))
            slope = 1 + variance * (p / left_p + q / left_n)
            low, high = np.where(value > 0, low, x), np.where(value > 0, x, high)
            newton = np.where(beyond, np.nan, x - value / slope)
        inside = (newton >= low - 1e-12) & (newton <= high + 1e-12)
        following = np.where(inside, newton, (low + high) / 2)
        moved, x = np.abs(following - x).max(), following
        if moved < 1e-10:
            return np.exp(x)
    raise DidNotConverge(f"effective ridge still moves by {moved:.1e}", where=WHERE)


def _solved(modes: Levels, tau: np.ndarray, p: np.ndarray, q: np.ndarray) -> np.ndarray:
    """kappa at complex frequencies (K,): from the real axis by turning, then Newton."""
    if not (p.any() or q.any()):
        return tau
    size, angle = np.abs(tau), np.angle(tau)
    x = np.log(real_ridge(modes, size, p, q)).astype(complex)
    goal = np.log(size).astype(complex)
    for turn in range(TURNS):
        value, slope = _residual(modes, x, p, q)
        following = np.log(size) + 1j * angle * (turn + 1) / TURNS
        x = x + (following - goal - (value - goal)) / slope  # predictor and corrector in one
        goal = following
    for _ in range(60):
        value, slope = _residual(modes, x, p, q)
        move = (value - goal) / slope
        size_of_move = np.abs(move)
        x = x - move / np.maximum(size_of_move, 1.0)
        if size_of_move.max() < 1e-9:  # quadratic: what is left is rounding
            break
    else:
        raise DidNotConverge(f"complex effective ridge still moves by {size_of_move.max():.1e}", where=WHERE)
    if (x.imag < -1e-9).any() or (x.imag > angle + 1e-9).any():
        raise DidNotConverge("an effective ridge left the physical branch", where=WHERE)
    return np.exp(x)


def _residual(modes: Levels, x: np.ndarray, p: np.ndarray, q: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """log [kappa (1 - p S)(1 - q S)] on the branch that is continuous from the real axis, and its derivative."""
    kappa = np.exp(x)
    learned = modes.eigenvalues / (modes.eigenvalues + kappa[:, None])
    total = _weighted(learned, modes.multiplicities)
    learned *= learned
    variance = total - _weighted(learned, modes.multiplicities)
    left_p, left_n = 1 - p * total, 1 - q * total
    return x + np.log(left_p) + np.log(left_n), 1 + variance * (p / left_p + q / left_n)


def _weighted(array: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Sum of complex rows with real weights, without making the weights complex."""
    return array.real @ weights + 1j * (array.imag @ weights)


def _blocks(rows: int, width: int):
    step = max(1, ENTRIES // max(width, 1))
    return (slice(first, min(first + step, rows)) for first in range(0, rows, step))
