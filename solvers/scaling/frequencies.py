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

TURNS = (5, 25, 125, 625)  # steps from the real axis to the angle of a frequency, tried in order
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

    def first_order(self, noise: float) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
        """d C/d q and d C/d p of test errors at p = q = 0, where kappa = tau: each at (tau_i, tau_j) and conj tau_j.

        `theory.scaling.dynamical.first_corrections`: tau tau' E D + dV and Q (V + noise) + dV with V = sum v M M'.
        """
        lam, count, power = self.modes.eigenvalues, self.modes.multiplicities, self.modes.power
        rest, found = noise + self.modes.lost, []
        tau = self.tau
        near = 1 / (lam + tau[:, :, None])
        learned = _weighted(lam * near, count)
        for other in (np.asarray, np.conj):
            right, product = np.swapaxes(other(near), 1, 2), tau[:, :, None] * other(tau)[:, None, :]
            missed = product * ((near * power) @ right)
            here = (near**2 * (power * lam)) @ right
            there = (near * (power * lam)) @ right**2
            moved = product * (learned[:, :, None] * here + other(learned)[:, None, :] * there)
            features = product * ((near * (count * lam)) @ right) * ((near * (power * lam)) @ right)
            samples = ((near * (count * lam**2)) @ right) * (missed + rest)
            found.append((features + moved, samples + moved))
        (features, samples), (features_mixed, samples_mixed) = found
        return features, features_mixed, samples, samples_mixed


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
    left = left_over(tau / kappa, p_all, q_all)
    return Frequencies(
        modes,
        tau.reshape(shape),
        p,
        q,
        kappa.reshape(shape),
        left[0].reshape(shape),
        left[1].reshape(shape),
    )


def left_over(ratio: np.ndarray, p: np.ndarray, q: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """1 - p S and 1 - q S from their product tau/kappa, without subtracting S: small ones keep their digits.

    >>> left_over(np.array([0.25 * 0.5]), np.array([3.0]), np.array([2.0]))
    (array([0.25]), array([0.5]))
    """
    small, large, _ = _smaller(ratio, p, q)
    few_samples = p >= q
    return np.where(few_samples, small, large), np.where(few_samples, large, small)


def _smaller(ratio, p, q):
    """r = 1 - max(p, q) S and g r + 1 - g, the other one, with g the ratio of p and q; and d r / d ratio."""
    few, many = np.maximum(p, q), np.minimum(p, q)
    g = np.divide(many, few, out=np.zeros_like(few), where=few > 0)
    root = np.sqrt((1 - g) ** 2 + 4 * g * ratio)
    small = 2 * ratio / (1 - g + root)
    return small, g * small + 1 - g, 1 / root


def real_ridge(modes: Levels, tau: np.ndarray, p: np.ndarray, q: np.ndarray) -> np.ndarray:
    """kappa (T,) at real positive frequencies: guarded Newton steps in log kappa of a falling function."""
    low, high = np.log(tau) - 1e-9, np.log(tau + modes.trace * (p + q)) + 1e-9
    x = high.copy()
    for _ in range(200):
        value, slope = _residual(modes, x, tau, p, q)
        low, high = np.where(value > 0, x, low), np.where(value > 0, high, x)
        with np.errstate(divide="ignore", invalid="ignore"):
            newton = x - value / slope
        inside = (newton >= low - 1e-12) & (newton <= high + 1e-12)
        following = np.where(inside, newton, (low + high) / 2)
        moved, x = np.abs(following - x).max(), following
        if moved < 1e-8:
            return np.exp(x)
    raise DidNotConverge(f"effective ridge still moves by {moved:.1e}", where=WHERE)


def fastest_rate(modes: Levels, p: float = 0.0, q: float = 0.0) -> float:
    """Upper edge of the rates of F G for 1/p samples and 1/q features: min over u > lambda_1 of u (1 + p s)(1 + q s).

    s = sum lambda/(u - lambda): the effective ridge -u beyond which the frequency turns back.

    >>> from ..regression.levels import levels
    >>> print(round(fastest_rate(levels(np.ones(100), nodes=0), 0.25 / 100), 6))  # (1 + sqrt(1/4))^2
    2.25
    """
    lam, count = modes.eigenvalues, modes.multiplicities
    top = float(lam.max())
    if not (p or q):
        return top

    def rate(x: float) -> float:
        u = top * np.exp(x)
        s = float((count * lam / (top * np.expm1(x) + (top - lam))).sum())
        return float(u * (1 + p * s) * (1 + q * s))

    low, high = np.log(1e-15), np.log(np.log1p(modes.trace * (p + q) / top + 1) + 60.0)  # of x = log(u / top)
    golden = (np.sqrt(5) - 1) / 2
    left, right = high - golden * (high - low), low + golden * (high - low)
    at_left, at_right = rate(np.exp(left)), rate(np.exp(right))
    for _ in range(80):
        if at_left < at_right:
            high, right, at_right = right, left, at_left
            left = high - golden * (high - low)
            at_left = rate(np.exp(left))
        else:
            low, left, at_left = left, right, at_right
            right = low + golden * (high - low)
            at_right = rate(np.exp(right))
    return min(at_left, at_right)


def bottlenecks(modes: Levels, times, p, q, weight_decay):
    """Effective ridge at tau = 1/t + weight decay, modes learned, and the shares of steps, samples and features."""
    with np.errstate(divide="ignore"):
        tau = 1 / times + weight_decay
    kappa, learned, shares = np.full_like(times, np.inf), np.zeros_like(times), np.zeros((len(times), 3))
    shares[:, 0] = 1.0
    moved = times > 0
    if moved.any():
        kappa[moved] = real_ridge(modes, tau[moved], p[moved], q[moved])
        learned[moved] = (modes.eigenvalues / (modes.eigenvalues + kappa[moved, None])) @ modes.multiplicities
        with np.errstate(divide="ignore", invalid="ignore"):
            left = left_over(tau / kappa, p, q)
            weights = np.stack([1 / (times * tau), p * learned / left[0], q * learned / left[1]], axis=1)
        weights[:, 1][p == 0], weights[:, 2][q == 0] = 0.0, 0.0
        shares[moved] = weights[moved] / weights[moved].sum(1, keepdims=True)
    return kappa, learned, shares


def _solved(modes: Levels, tau: np.ndarray, p: np.ndarray, q: np.ndarray) -> np.ndarray:
    """kappa at complex frequencies (K,): from the real axis by turning, then Newton; what fails turns more slowly."""
    if not (p.any() or q.any()):
        return tau
    size, angle = np.abs(tau), np.angle(tau)
    start = np.log(real_ridge(modes, size, p, q)).astype(complex)
    found, missing = np.empty_like(start), np.arange(len(tau))
    for turns in TURNS:
        rows = (size[missing], angle[missing], p[missing], q[missing])
        x, converged = _turned(modes, start[missing], *rows, turns)
        found[missing[converged]] = x[converged]
        missing = missing[~converged]
        if not len(missing):
            return np.exp(found)
    raise DidNotConverge(f"no complex effective ridge at {len(missing)} frequencies", where=WHERE)


def _turned(modes, x, size, angle, p, q, turns):
    """log kappa, and where it solves the equation on the physical branch."""
    with np.errstate(all="ignore"):  # what overflows has not converged
        for turn in range(1, turns + 1):
            value, slope = _residual(modes, x, size * np.exp(1j * angle * turn / turns), p, q)
            x = x - value / slope
        tau = size * np.exp(1j * angle)
        for _ in range(12):
            value, slope = _residual(modes, x, tau, p, q)
            move = value / slope
            x = x - move
            if np.abs(move).max() < 1e-9:  # quadratic: what is left is rounding
                break
        fine = np.isfinite(move) & (np.abs(move) < 1e-7) & (x.imag > -1e-9) & (x.imag < angle + 1e-9)
    return x, fine


def _residual(modes: Levels, x: np.ndarray, tau: np.ndarray, p: np.ndarray, q: np.ndarray):
    """max(p, q) S + r - 1 at log kappa, with r the share left by tau/kappa, and its derivative: both of order 1."""
    kappa = np.exp(x)
    few = np.maximum(p, q)
    learned = modes.eigenvalues / (modes.eigenvalues + kappa[:, None])
    total = _weighted(learned, modes.multiplicities)
    learned *= learned
    variance = total - _weighted(learned, modes.multiplicities)
    ratio = tau / kappa
    left, _, change = _smaller(ratio, p, q)
    return few * total + left - 1, -few * variance - change * ratio


def _weighted(array: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Sum of rows with real weights, without making the weights complex where rows are."""
    if not np.iscomplexobj(array):
        return array @ weights
    return array.real @ weights + 1j * (array.imag @ weights)


def _blocks(rows: int, width: int):
    step = max(1, ENTRIES // max(width, 1))
    return (slice(first, min(first + step, rows)) for first in range(0, rows, step))
