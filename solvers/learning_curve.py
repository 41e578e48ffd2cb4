"""Learning curves of kernel ridge regression from a spectrum: all sample sizes at once, any number of modes.

With the effective ridge kappa(n) and learnabilities L_k = lambda_k / (lambda_k + kappa),

    n = sum L_k + ridge/kappa,    test(n) = n [sum (1 - L_k)^2 v_k + noise] / (n - sum L_k^2),

in mean squared error without the factor 1/2, noise included; train = (ridge / (n kappa))^2 test. The root is found in
log kappa: a 28-point table of log n(kappa) serves every sample size, a cubic starts and Newton finishes. Any number of
modes is first replaced by 15 levels per factor e in lambda, which carry the same sums to rounding.

References: Bordelon, Canatar, Pehlevan 2020 (arXiv:2002.02561); Simon et al. 2021 (arXiv:2110.03922).
"""

from dataclasses import dataclass
from typing import Any

import numpy as np

from ..theory.errors import BadData, DidNotConverge
from ..theory.regression.spectrum import PowerLawTail, Spectrum

TABLE = 28
NODES = 15  # levels that stand for all modes within a factor e
COMPRESS = 1000  # from this number of modes on
BLOCK = 4096  # modes handled at once: a block stays in cache


@dataclass(frozen=True, eq=False)
class LearningCurve:
    """Expected errors of kernel ridge regression at every sample size; all arrays are (T,).

    `test`, `train`  mean squared errors, noise included
    `kappa`          effective ridge
    `learned`        number of modes learned, sum L_k
    `explained`      share of the target's power learned on average, sum L_k v_k / sum v_k
    `inflation`      test error over what a fit free of variance would leave, n / (n - sum L_k^2)
    """

    sizes: np.ndarray
    test: np.ndarray
    train: np.ndarray
    kappa: np.ndarray
    learned: np.ndarray
    explained: np.ndarray
    inflation: np.ndarray
    ridge: float
    noise: float
    modes: float

    @property
    def slope(self) -> float:
        """Least-squares slope of log test error against log n over the sizes."""
        return float(np.polyfit(np.log(self.sizes), np.log(self.test), 1)[0])

    def to_dict(self) -> dict:
        arrays = ("sizes", "test", "train", "kappa", "learned", "explained", "inflation")
        return {name: getattr(self, name).tolist() for name in arrays} | {
            "ridge": self.ridge,
            "noise": self.noise,
            "modes": self.modes,
            "convention": "mean squared error without 1/2, noise included",
        }

    def __str__(self) -> str:
        lines = [
            f"Learning curve: {self.modes:.6g} modes, ridge {self.ridge:g}, noise {self.noise:g}",
            f"{'n':>12} {'test':>11} {'train':>11} {'kappa':>11} {'learned':>9} {'explained':>9}",
        ]
        shown = np.unique(np.linspace(0, len(self.sizes) - 1, min(8, len(self.sizes))).astype(int))
        lines += [
            f"{self.sizes[i]:>12.6g} {self.test[i]:>11.4e} {self.train[i]:>11.4e} {self.kappa[i]:>11.4e} "
            f"{self.learned[i]:>9.4g} {self.explained[i]:>9.2%}"
            for i in shown
        ]
        return "\n".join(lines)

    __repr__ = __str__


def learning_curve(
    eigenvalues: Any,
    power: Any = None,
    sizes: Any = (),
    ridge: float = 0.0,
    noise: float = 0.0,
    multiplicities: Any = None,
    tail: PowerLawTail | None = None,
) -> LearningCurve:
    """The learning curve of a spectrum; see the module for the equations.

    `eigenvalues`     (modes,) of the kernel operator, or a `Spectrum`, which brings everything but the sizes
    `sizes`           (T,) sample sizes
    `power`           (modes,) target power v_k; of a level, summed over its modes
    `multiplicities`  (modes,) modes per level, 1 if not given
    `tail`            further modes as a power law

    Errors: `BadData` for shapes, signs, and sizes that reach the number of modes at zero ridge.

    >>> curve = learning_curve(np.ones(4), np.array([1.0, 0, 0, 0]), sizes=[2.0])
    >>> curve.kappa.round(12), curve.test.round(12)
    (array([1.]), array([0.5]))
    """
    if isinstance(eigenvalues, Spectrum):
        spectrum, noise = eigenvalues, noise + eigenvalues.noise
        eigenvalues, power, multiplicities = spectrum.eigenvalues, spectrum.power, spectrum.multiplicities
    lam, power, count, sizes, lost = _checked(eigenvalues, power, multiplicities, sizes, ridge, noise)
    modes, total = float(count.sum()), float(power.sum()) + lost
    if len(lam) > COMPRESS:
        lam, power, count = _compressed(lam, power, count)
    if tail is not None:
        more = tail.levels()
        lam, count, power = (np.concatenate(pair) for pair in zip((lam, count, power), more, strict=True))
        modes, total = modes + float(more[1].sum()), total + float(more[2].sum())
    if ridge == 0 and sizes.max() >= modes * (1 - 1e-9):
        raise BadData(
            f"n = {sizes.max():g} reaches the {modes:g} modes at zero ridge",
            where="learning curve",
            remedy="give a ridge, a tail, more modes or smaller sizes",
        )
    kappa = _effective_ridge(lam, count, sizes, ridge, modes)
    learned, variance, unlearned, explained = _totals(lam, count, power, kappa)
    inflation = sizes / (variance + ridge / kappa)  # n - sum L^2 = sum L (1 - L) + ridge/kappa without cancellation
    test = inflation * (unlearned + lost + noise)
    return LearningCurve(
        sizes=sizes,
        test=test,
        train=(ridge / (sizes * kappa)) ** 2 * test,
        kappa=kappa,
        learned=learned,
        explained=explained / total if total else np.ones_like(sizes),
        inflation=inflation,
        ridge=float(ridge),
        noise=float(noise),
        modes=modes,
    )


def _checked(eigenvalues, power, multiplicities, sizes, ridge, noise):
    lam = np.asarray(eigenvalues, float).ravel()
    power = np.zeros_like(lam) if power is None else np.asarray(power, float).ravel()
    count = np.ones_like(lam) if multiplicities is None else np.asarray(multiplicities, float).ravel()
    sizes = np.atleast_1d(np.asarray(sizes, float))
    where = "learning curve"
    if not len(lam) == len(power) == len(count):
        raise BadData(
            f"{len(lam)} eigenvalues, {len(power)} powers, {len(count)} multiplicities",
            where=where,
            remedy="give one of each per level",
        )
    for name, array in (("eigenvalues", lam), ("power", power), ("multiplicities", count)):
        if not np.isfinite(array).all() or (array < 0).any():
            bad = int(np.argmax(~(np.isfinite(array) & (array >= 0))))
            raise BadData(f"{name} holds {array[bad]} at mode {bad}", where=where, remedy="give values >= 0")
    if not sizes.size or not (sizes > 0).all() or not np.isfinite(sizes).all():
        raise BadData(f"sizes {sizes}", where=where, remedy="give sample sizes > 0")
    if not (ridge >= 0 and noise >= 0):
        raise BadData(f"ridge {ridge}, noise {noise}", where=where, remedy="both must be >= 0")
    used = lam > 0
    if not used.any():
        raise BadData("no eigenvalue is positive", where=where, remedy="check the spectrum")
    lost = float(power[~used].sum())  # power in the kernel's null space is never learned
    if not used.all():
        lam, power, count = lam[used], power[used], count[used]
    return lam, power, count, sizes, lost


def _effective_ridge(lam, count, sizes, ridge, modes):
    low, high = _bounds(lam, count, sizes, ridge, modes)
    grid = np.linspace(low, high, TABLE)
    freedom, slope = _freedom(lam, count, grid, ridge)
    # log n falls with log kappa: interpolate the inverse by cubic Hermite pieces, within bracketing cells
    target, knots = np.log(sizes), np.log(freedom)[::-1]
    cell = np.clip(np.searchsorted(knots, target), 1, TABLE - 1)
    left, right = TABLE - cell, TABLE - 1 - cell  # positions in the falling table: right has the smaller kappa
    span = knots[cell] - knots[cell - 1]
    with np.errstate(divide="ignore", invalid="ignore"):
        s = (target - knots[cell - 1]) / span
        a, b = span / slope[left], span / slope[right]
        h = s * s * (3 - 2 * s)
        x = grid[left] + (grid[right] - grid[left]) * h + s * (1 - s) * ((1 - s) * a - s * b)
    lowest, highest = grid[right].copy(), grid[left].copy()
    x = np.where((x >= lowest) & (x <= highest), x, (lowest + highest) / 2)
    for _ in range(100):
        freedom, slope = _freedom(lam, count, x, ridge)
        gap = np.log(freedom) - target
        lowest, highest = np.where(gap > 0, x, lowest), np.where(gap > 0, highest, x)
        with np.errstate(divide="ignore", invalid="ignore"):
            newton = x - gap / slope
        inside = (newton > lowest - 1e-9) & (newton < highest + 1e-9)
        following = np.where(inside, newton, (lowest + highest) / 2)
        moved = np.abs(following - x)
        x = following
        if moved.max() < 3e-8:  # Newton is quadratic in these variables: the error is now below 1e-15
            return np.exp(x)
    raise DidNotConverge(f"effective ridge still moves by {moved.max():.1e}", where="learning curve")


def _bounds(lam, count, sizes, ridge, modes):
    """Bounds of log kappa over all sizes, from the trace, the ridge and the modes up to rank 2n."""
    trace, most = float(lam @ count), sizes.max()
    high = np.log((trace + ridge) / sizes.min())
    bounds = []
    if ridge > 0:
        bounds.append(np.log(ridge / most))
    if most < modes:
        with np.errstate(over="ignore"):
            bounds.append(np.log(modes - most) - np.log((count / lam).sum()))
        if 2 * most <= modes:
            order = np.argsort(-lam)
            rank = int(np.searchsorted(np.cumsum(count[order]), 2 * most))
            bounds.append(float(np.log(lam[order][min(rank, len(lam) - 1)])) - 1)
    return max(bound for bound in bounds if np.isfinite(bound)) - 1e-6, high + 1e-6


def _freedom(lam, count, x, ridge):
    """sum L + ridge/kappa (T,) and its logarithmic derivative by log kappa."""
    kappa = np.exp(x)
    learned = lam / (lam + kappa[:, None])
    first, second = learned @ count, (learned * learned) @ count
    return first + ridge / kappa, -(first - second + ridge / kappa) / (first + ridge / kappa)


def _totals(lam, count, power, kappa):
    """sum L, sum L (1 - L), sum (1 - L)^2 v and sum L v, each (T,)."""
    missing = kappa[:, None] / (lam + kappa[:, None])
    learned = lam / (lam + kappa[:, None])
    return learned @ count, (learned * missing) @ count, missing**2 @ power, learned @ power


def _compressed(lam, power, count):
    """The same sums from few levels: Chebyshev nodes in log lambda, cell by cell, with weights of either sign.

    Everything summed here is a smooth function of log lambda with its nearest pole a distance pi from the real axis.
    In a cell of width 1, interpolation at `NODES` points has error (2 pi + sqrt(4 pi^2 + 1))^-NODES, about 1e-15.
    """
    if (np.diff(lam) > 0).any():
        order = np.argsort(-lam, kind="stable")
        lam, power, count = lam[order], power[order], count[order]
    depth = np.log(lam[0]) - np.log(lam)
    starts = np.flatnonzero(np.diff(np.floor(depth), prepend=-1.0))
    roots = np.cos(np.pi * (np.arange(NODES) + 0.5) / NODES)
    basis = np.cos(np.outer(np.arange(NODES), np.arccos(roots)))  # Chebyshev polynomials at their nodes
    basis[1:] *= 2
    parts = []
    for first, last in zip(starts, np.append(starts[1:], len(lam)), strict=True):
        measures = np.stack([power[first:last], count[first:last]], axis=1)
        if last - first <= NODES:
            parts.append((lam[first:last], measures))
            continue
        cell = np.floor(depth[first])
        moments = np.zeros((NODES, 2))
        for start in range(first, last, BLOCK):
            z = 2 * (depth[start : min(start + BLOCK, last)] - cell) - 1
            polynomials = np.empty((NODES, len(z)))
            polynomials[0], polynomials[1] = 1.0, z
            for degree in range(2, NODES):
                polynomials[degree] = 2 * z * polynomials[degree - 1] - polynomials[degree - 2]
            moments += polynomials @ measures[start - first : start - first + len(z)]
        parts.append((lam[0] * np.exp(-(cell + (roots + 1) / 2)), basis.T @ moments / NODES))
    measures = np.concatenate([part[1] for part in parts])
    return np.concatenate([part[0] for part in parts]), measures[:, 0], measures[:, 1]
