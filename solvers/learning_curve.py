"""Learning curves of kernel ridge regression from a spectrum: all sample sizes at once, any number of modes.

With the effective ridge kappa(n) and learnabilities L_k = lambda_k / (lambda_k + kappa),

    n = sum L_k + ridge/kappa,    test(n) = n [sum (1 - L_k)^2 v_k + noise] / (n - sum L_k^2),

in mean squared error without the factor 1/2, noise included; train = (ridge / (n kappa))^2 test. The root is found in
log kappa: a 28-point table of log n(kappa) serves every sample size, a cubic starts and Newton finishes. Any number of
modes is first replaced by 15 levels per factor e in lambda, which carry the same sums to rounding
(`regression.levels`).

References: Bordelon, Canatar, Pehlevan 2020 (arXiv:2002.02561); Simon et al. 2021 (arXiv:2110.03922).
"""

from dataclasses import dataclass
from typing import Any

import numpy as np

from ..theory.errors import BadData, DidNotConverge
from ..theory.measured_spectra.log_slope import log_slope
from ..theory.measured_spectra.power_law_tail import PowerLawTail
from ..theory.measured_spectra.spectrum import Spectrum
from .regression.levels import Levels, levels, lowest
from .regression.levels import sizes as checked_sizes

TABLE = 28
WHERE = "learning curve"


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
        return log_slope(self.sizes, self.test)

    def learnability(self, eigenvalues: Any) -> np.ndarray:
        """L_k = lambda_k / (lambda_k + kappa), (T, modes): the share of mode k learned at every size.

        The mean of its learned coefficient over training sets is L_k times the true one; sum L_k = n - ridge/kappa.
        Reference: Simon et al. 2021 (arXiv:2110.03922).

        >>> learning_curve(np.ones(4), sizes=[1.0, 2.0]).learnability([1.0, 0.5]).round(6)
        array([[0.25    , 0.142857],
               [0.5     , 0.333333]])
        """
        lam = np.asarray(eigenvalues, float)
        return lam / (lam + self.kappa[:, None])

    def coefficient_variance(self, eigenvalues: Any) -> np.ndarray:
        """Variance of the learned coefficient of mode k over training sets, test L_k^2 / n, (T, modes).

        >>> learning_curve(np.ones(4), [1.0, 0, 0, 0], sizes=[2.0]).coefficient_variance([1.0])
        array([[0.0625]])
        """
        return self.test[:, None] / self.sizes[:, None] * self.learnability(eigenvalues) ** 2

    def mode_errors(self, eigenvalues: Any, power: Any) -> np.ndarray:
        """Expected squared error of mode k, (1 - L_k)^2 v_k + test L_k^2 / n, (T, modes); with noise they sum to test.

        >>> curve = learning_curve(np.ones(4), [1.0, 0, 0, 0], sizes=[2.0])
        >>> print(curve.mode_errors(np.ones(4), [1.0, 0, 0, 0]).sum(), curve.test.round(12))
        0.5 [0.5]
        """
        missed = (1 - self.learnability(eigenvalues)) ** 2 * np.asarray(power, float)
        return missed + self.coefficient_variance(eigenvalues)

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
    modes = levels(eigenvalues, power, multiplicities, tail, WHERE)
    sizes = checked_sizes(sizes, WHERE)
    if not np.isfinite(sizes).all():
        raise BadData(f"sizes {sizes}", where=WHERE, remedy="give finite sample sizes")
    if not (ridge >= 0 and noise >= 0):
        raise BadData(f"ridge {ridge}, noise {noise}", where=WHERE, remedy="both must be >= 0")
    if ridge == 0 and sizes.max() >= modes.modes * (1 - 1e-9):
        raise BadData(
            f"n = {sizes.max():g} reaches the {modes.modes:g} modes at zero ridge",
            where=WHERE,
            remedy="give a ridge, a tail, more modes or smaller sizes",
        )
    lam, count, power = modes.eigenvalues, modes.multiplicities, modes.power
    kappa = _effective_ridge(modes, sizes, ridge)
    learned, variance, unlearned, explained = _totals(lam, count, power, kappa)
    inflation = sizes / (variance + ridge / kappa)  # n - sum L^2 = sum L (1 - L) + ridge/kappa without cancellation
    test = inflation * (unlearned + modes.lost + noise)
    return LearningCurve(
        sizes=sizes,
        test=test,
        train=(ridge / (sizes * kappa)) ** 2 * test,
        kappa=kappa,
        learned=learned,
        explained=explained / modes.total if modes.total else np.ones_like(sizes),
        inflation=inflation,
        ridge=float(ridge),
        noise=float(noise),
        modes=modes.modes,
    )


def _effective_ridge(modes: Levels, sizes, ridge):
    lam, count = modes.eigenvalues, modes.multiplicities
    low, high = _bounds(modes, sizes, ridge)
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


def _bounds(modes: Levels, sizes, ridge):
    """Bounds of log kappa over all sizes, from the trace, the ridge and the modes up to rank 2n."""
    most = sizes.max()
    bounds = [np.log(ridge / most)] if ridge > 0 else []
    if most < modes.modes:
        bounds.append(lowest(modes.eigenvalues, modes.multiplicities, modes.modes, most))
    return max(bounds) - 1e-6, np.log((modes.trace + ridge) / sizes.min()) + 1e-6


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
