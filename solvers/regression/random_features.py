"""Errors of regression on random features, for every number of samples n and of features k at once.

With m = min(n, k), L = lambda/(lambda + gamma), z = sum L, q = sum L^2 the two coupled fixed points are one equation,

    z(gamma) + r(gamma) = m,    r (r + |n - k|) = k ridge/gamma,
    test = n [(k - z) sum (1-L)^2 v + (z - q) sum (1-L) v + (k - q) noise] / [(n - z)(k - z) + (n + k - 2z)(z - q)],

where m - z = r is never formed by subtraction. z is tabulated once; every pair (n, k) starts from the table and ends
with Newton steps in log gamma over all levels (`levels`: any number of modes).

References: Simon, Karkada, Ghosh & Belkin 2023 (arXiv:2311.14646); Atanasov et al. 2024 (arXiv:2405.00592).
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from ...theory.arguments import number
from ...theory.errors import BadData, DidNotConverge
from ...theory.measured_spectra.power_law_tail import PowerLawTail
from ...theory.measured_spectra.spectrum import Spectrum
from .levels import Levels, levels, lowest, sizes

TABLE = 256  # points of log gamma at which z is tabulated
ENTRIES = 1 << 21  # (pairs, levels) handled at once
WHERE = "random features"


@dataclass(frozen=True, eq=False)
class RandomFeatureErrors:
    """Expected errors of regression on k random features from n samples; arrays are (samples, features).

    `samples` (A,), `features` (B,)  numbers, infinity for the limits
    `test`, `train`   mean squared errors, noise included; infinite at n = k without ridge
    `gamma`, `kappa`  effective ridges: of the target in all modes, and within the features
    `learned`         modes learned, sum L
    `out_of_span`     noise and the part of the target that k features can express at no n: sum (1 - L) v
    `ridge`           of K + ridge I, (A, B) or a number
    """

    samples: np.ndarray
    features: np.ndarray
    test: np.ndarray
    train: np.ndarray
    gamma: np.ndarray
    kappa: np.ndarray
    learned: np.ndarray
    out_of_span: np.ndarray
    ridge: Any
    noise: float
    modes: float

    def to_dict(self) -> dict:
        arrays = ("samples", "features", "test", "train", "gamma", "kappa", "learned", "out_of_span")
        return {name: getattr(self, name).tolist() for name in arrays} | {
            "ridge": np.asarray(self.ridge).tolist(),
            "noise": self.noise,
            "modes": self.modes,
            "convention": "mean squared error without 1/2, noise included",
        }

    def __str__(self) -> str:
        stated = f"{self.ridge:g}" if np.ndim(self.ridge) == 0 else "optimal"
        rows, columns = (np.unique(np.linspace(0, c - 1, min(7, c)).astype(int)) for c in self.test.shape)
        lines = [f"Random features: {self.modes:.6g} modes, ridge {stated}, noise {self.noise:g}; test errors"]
        lines.append(f"{'n':>12} " + "".join(f"{f'k = {self.features[j]:g}':>13}" for j in columns))
        lines += [f"{self.samples[i]:>12.6g} " + "".join(f"{self.test[i, j]:>13.4e}" for j in columns) for i in rows]
        return "\n".join(lines)

    __repr__ = __str__


def random_features(
    eigenvalues: Any,
    power: Any = None,
    samples: Any = (),
    features: Any = (),
    ridge: float = 0.0,
    noise: float = 0.0,
    multiplicities: Any = None,
    tail: PowerLawTail | None = None,
) -> RandomFeatureErrors:
    """Errors for all numbers of samples (A,) and features (B,): the kernel is the mean over the features.

    Other arguments as in `learning_curve`; either number may be infinite. Errors: `BadData` for shapes, signs, both
    numbers infinite, or min(n, k) that reaches the number of modes without a ridge.

    >>> found = random_features(np.ones(4), [1.0, 0, 0, 0], samples=[2.0], features=[2.0, np.inf])
    >>> found.test  # no ridge: a peak at n = k, and kernel regression with infinitely many features
    array([[inf, 0.5]])
    """
    modes, noise = _prepared(eigenvalues, power, noise, multiplicities, tail)
    n, k = _numbers(samples, features)
    ridge = number(ridge, "ridge", WHERE)
    gamma, rest = _effective_ridge(modes, n, k, np.full_like(n, ridge))
    return _errors(modes, n, k, gamma, rest, samples, features, ridge, noise)


def optimal_ridge(
    eigenvalues: Any,
    power: Any = None,
    samples: Any = (),
    features: Any = np.inf,
    noise: float = 0.0,
    multiplicities: Any = None,
    tail: PowerLawTail | None = None,
) -> RandomFeatureErrors:
    """The same errors at the ridge of K + ridge I that minimises the test error, pair by pair: `.ridge` (A, B).

    At this ridge the error falls with n and with k (Simon et al. 2023, theorem 1). Kernel regression is k = infinity;
    n must be finite. Where min(n, k) is below the number of modes, ridge 0 says that none is best.

    >>> best = optimal_ridge(np.ones(4), np.ones(4), samples=[8.0], noise=2.0)  # white: noise / power of a mode
    >>> best.ridge.round(6)
    array([[2.]])
    """
    modes, noise = _prepared(eigenvalues, power, noise, multiplicities, tail)
    n, k = _numbers(samples, features)
    if np.isinf(n).any():
        raise BadData("infinitely many samples", where=WHERE, remedy="no ridge is then best: use random_features")
    few = np.minimum(n, k)
    bounded = few < modes.modes * (1 - 1e-9)
    start = np.full_like(n, np.log(modes.eigenvalues.min()) - 30.0)  # beyond the modes no ridge is gamma = 0
    if bounded.any():
        none, _ = _effective_ridge(modes, n[bounded], k[bounded], np.zeros(int(bounded.sum())))
        start[bounded] = np.log(none)
    far = np.log(modes.trace) + 12.0

    def error(step):
        """Test errors at log gamma = start + step; step -> 0 is no ridge."""
        gamma = np.exp(start + step)
        return _test(modes, n, k, gamma, _rest(modes, few, gamma), noise)[0]

    grid = np.geomspace(1e-9, 1.0, 90)
    table = np.stack([error(share * (far - start)) for share in grid])
    best = np.clip(table.argmin(0), 1, len(grid) - 2)
    low, high = np.log(grid[best - 1]), np.log(grid[best + 1])
    golden = (np.sqrt(5) - 1) / 2
    inner = [high - golden * (high - low), low + golden * (high - low)]
    values = [error(np.exp(x) * (far - start)) for x in inner]
    for _ in range(48):
        left = values[0] < values[1]
        low, high = np.where(left, low, inner[0]), np.where(left, inner[1], high)
        fresh = np.where(left, high - golden * (high - low), low + golden * (high - low))
        value = error(np.exp(fresh) * (far - start))
        inner = [np.where(left, fresh, inner[1]), np.where(left, inner[0], fresh)]
        values = [np.where(left, value, values[1]), np.where(left, values[0], value)]
    gamma = np.exp(start + np.exp((low + high) / 2) * (far - start))
    rest = _rest(modes, few, gamma)
    with np.errstate(invalid="ignore"):
        share = np.where(np.isinf(k), 1.0, (rest + np.abs(n - k)) / k)
    ridge = np.where(table.argmin(0) == 0, 0.0, gamma * rest * share)
    none = table.argmin(0) == 0
    gamma, rest = np.where(none, np.exp(start), gamma), np.where(none & bounded, 0.0, rest)
    return _errors(modes, n, k, gamma, rest, samples, features, ridge, noise)


def fixed_point(system: Any, values: Mapping[str, Any], abscissa: np.ndarray) -> dict[str, np.ndarray]:
    """{"gamma": (T, 1)} of `theory.regression.random_features` over sample sizes, for laws that name this solver.

    >>> found = fixed_point(None, {"lambda": np.ones(4), "multiplicity": np.ones(4), "n": np.array([[2.0]]),
    ...                            "k": 3.0, "ridge": 0.5}, np.arange(1))
    >>> gamma = found["gamma"][0, 0]; z = 4 / (1 + gamma)
    >>> print(round((2 - z) * (3 - z) * gamma, 12))
    1.5
    """
    modes = levels(values["lambda"], None, values["multiplicity"], where=WHERE)
    n, k, ridge = np.broadcast_arrays(*(np.ravel(np.asarray(values[name], float)) for name in ("n", "k", "ridge")))
    return {"gamma": _effective_ridge(modes, n, k, ridge)[0][:, None]}


def _prepared(eigenvalues, power, noise, multiplicities, tail):
    noise = number(noise, "noise", WHERE)
    if isinstance(eigenvalues, Spectrum):
        spectrum, noise = eigenvalues, noise + eigenvalues.noise
        eigenvalues, power, multiplicities = spectrum.eigenvalues, spectrum.power, spectrum.multiplicities
    return levels(eigenvalues, power, multiplicities, tail, WHERE), noise


def _numbers(samples, features):
    """All pairs, flat."""
    n, k = np.meshgrid(sizes(samples, WHERE, "samples"), sizes(features, WHERE, "features"), indexing="ij")
    if (np.isinf(n) & np.isinf(k)).any():
        raise BadData("samples and features are both infinite", where=WHERE, remedy="make one of them finite")
    return n.ravel(), k.ravel()


def _rest(modes: Levels, few, gamma):
    """min(n, k) - z, at least 0."""
    return np.maximum(few - _sums(modes, gamma)[0], 0.0)


def _effective_ridge(modes: Levels, n, k, ridge):
    """gamma and r = min(n, k) - z for all pairs: bracket, table, Newton in log gamma."""
    few, gap = np.minimum(n, k), np.abs(n - k)
    with np.errstate(invalid="ignore"):
        scaled = np.where(np.isinf(k), ridge, np.where(np.isinf(n), 0.0, k * ridge))  # r (r + gap) = scaled/gamma
    gap = np.where(np.isinf(gap), np.where(np.isinf(k), 1.0, np.inf), gap)
    plain = np.isinf(k)  # then r = ridge/gamma
    reached = (scaled == 0) & (few >= modes.modes * (1 - 1e-9))
    if reached.any():
        raise BadData(
            f"min(n, k) = {few[reached].max():g} reaches the {modes.modes:g} modes at zero ridge",
            where=WHERE,
            remedy="give a ridge, a tail, more modes or smaller numbers",
        )

    def remainder(x):
        """r at log gamma and its derivative by log gamma."""
        c = scaled * np.exp(-x)
        with np.errstate(divide="ignore", invalid="ignore"):
            root = np.sqrt(gap * gap + 4 * c)
            r = np.where(plain, c, np.where(np.isinf(gap), 0.0, 2 * c / (root + gap)))
            slope = np.where(plain, -c, np.where(c > 0, -c / root, 0.0))
        return np.where(scaled > 0, r, 0.0), np.where(scaled > 0, slope, 0.0)

    with np.errstate(divide="ignore", invalid="ignore"):
        high = np.log(2 * modes.trace / few)
        bound = np.where(plain, 2 * scaled / few, 4 * scaled / (few * (few + 2 * gap)))
        high = np.fmax(high, np.log(bound)) + 1e-6
        low = np.log(np.where(plain, scaled / few, scaled / (few * (few + gap))))
    below = few < modes.modes * (1 - 1e-9)
    for m in np.unique(few[below]):
        here = below & (few == m)
        low[here] = np.maximum(low[here], lowest(modes.eigenvalues, modes.multiplicities, modes.modes, m))
    low = low - 1e-6
    x = _started(modes, few, low, high, remainder)
    for _ in range(100):
        z, variance = _sums(modes, np.exp(x))[:2]
        r, slope = remainder(x)
        value = np.log((z + r) / few)
        low, high = np.where(value > 0, x, low), np.where(value > 0, high, x)
        newton = x + value * (z + r) / (variance - slope)
        inside = (newton > low - 1e-9) & (newton < high + 1e-9)
        following = np.where(inside, newton, (low + high) / 2)
        moved = np.abs(following - x)
        x = following
        if moved.max() < 3e-8:  # quadratic: the error is now below 1e-15
            return np.exp(x), remainder(x)[0]
    raise DidNotConverge(f"effective ridge still moves by {moved.max():.1e}", where=WHERE)


def _started(modes: Levels, few, low, high, remainder):
    """Roots with z interpolated from a table: cubic Hermite pieces of log z, guarded Newton, no sum over levels."""
    grid = np.linspace(low.min(), high.max(), TABLE)
    z, variance = _sums(modes, np.exp(grid))[:2]
    height, slope, step = np.log(z), -variance / z, grid[1] - grid[0]
    low, high = low.copy(), high.copy()
    x = (low + high) / 2
    for _ in range(60):
        cell = np.clip(((x - grid[0]) / step).astype(int), 0, TABLE - 2)
        s = (x - grid[cell]) / step
        a, b, c, d = height[cell], height[cell + 1], step * slope[cell], step * slope[cell + 1]
        value = a + s * (c + s * (3 * (b - a) - 2 * c - d + s * (2 * (a - b) + c + d)))
        change = (c + s * (2 * (3 * (b - a) - 2 * c - d) + 3 * s * (2 * (a - b) + c + d))) / step
        z, (r, fall) = np.exp(value), remainder(x)
        error = np.log((z + r) / few)
        low, high = np.where(error > 0, x, low), np.where(error > 0, high, x)
        with np.errstate(divide="ignore", invalid="ignore"):
            newton = x - error * (z + r) / (z * change + fall)
        following = np.where((newton > low) & (newton < high), newton, (low + high) / 2)
        moved, x = np.abs(following - x).max(), following
        if moved < 1e-6:
            break
    return x


def _sums(modes: Levels, gamma):
    """z, z - q, sum (1 - L)^2 v and sum (1 - L) v at every gamma (pairs,), a block of pairs at a time."""
    lam, count, power = modes.eigenvalues, modes.multiplicities, modes.power
    step = max(1, ENTRIES // len(lam))
    found = np.empty((4, len(gamma)))
    for first in range(0, len(gamma), step):
        block = slice(first, first + step)
        missing = gamma[block, None] / (lam + gamma[block, None])
        learned = lam / (lam + gamma[block, None])
        found[0, block] = learned @ count
        learned *= missing
        found[1, block] = learned @ count
        found[3, block] = missing @ power
        missing *= missing
        found[2, block] = missing @ power
    return found


def _test(modes: Levels, n, k, gamma, rest, noise):
    """Test error, and z, n - z, k - z, sum (1 - L) v; differences by `rest` = min(n, k) - z, not by subtraction."""
    z, variance, unlearned, outside = _sums(modes, gamma)
    unlearned, outside = unlearned + modes.lost, outside + modes.lost
    with np.errstate(invalid="ignore", divide="ignore"):
        above = np.where(n <= k, rest, rest + (n - k))  # n - z
        over_ = np.where(k <= n, rest, rest + (k - n))  # k - z
        finite = (over_ * unlearned + variance * outside + (over_ + variance) * noise) / (
            above * over_ + (above + over_) * variance
        )
        many_features = (unlearned + noise) / (above + variance)  # both, divided by k - z
        # infinitely many samples saturate the features: only what lies outside their span is left
        test = np.where(np.isinf(k), n * many_features, np.where(np.isinf(n), outside + noise, n * finite))
    return test, z, above, over_, outside + noise


def _errors(modes, n, k, gamma, rest, samples, features, ridge, noise):
    test, z, above, over_, outside = _test(modes, n, k, gamma, rest, noise)
    with np.errstate(invalid="ignore"):
        kappa = np.where(np.isinf(k), gamma, gamma * over_ / k)
        train = np.where(above == 0, 0.0, np.where(np.isinf(n), 1.0, above / n) ** 2 * test)
    shape = (np.size(samples), np.size(features))
    return RandomFeatureErrors(
        samples=np.atleast_1d(np.asarray(samples, float)),
        features=np.atleast_1d(np.asarray(features, float)),
        test=test.reshape(shape),
        train=train.reshape(shape),
        gamma=gamma.reshape(shape),
        kappa=kappa.reshape(shape),
        learned=z.reshape(shape),
        out_of_span=outside.reshape(shape),
        ridge=ridge if np.ndim(ridge) == 0 else ridge.reshape(shape),
        noise=noise,
        modes=modes.modes,
    )
