"""Capacity and target exponent of a ridge path, each with a systematic and a statistical error.

Effective ridge and unlearned power are power laws in the degrees of freedom n where the spectrum and target are,

    kappa ~ (n + 1/2)^-capacity,    D ~ (n + 1/2)^-(target_exponent - 1),

the first exactly so in an infinite sample. Slopes of eigenvalues over ranks say the same much worse: at capacity
1.1 and 1000 rows they miss by 0.3, the ridge path by 0.002.

Centre: the window [10, samples/5]. Systematic: half the range over further windows. Statistical: the jackknife over
rows or groups, in closed form (resampling with replacement would plant zero eigenvalues). What rows of unequal norm, or
that are not independent, do to kappa falls as 1/samples at a fixed window: halves of the sample show it, it is taken
off, and half of it is added to the systematic error.

Over planted spectra that nothing was fixed on (300 to 1000 rows; Gaussian, binary, heavy-tailed, elliptic and grouped
features; `tests/test_spectrum.py`) value +- error held the truth in 81 % of the cases for the capacity and 75 % for the
target, the 90 % interval in 98 % and 92 %; worst were targets of grouped rows, 78 %. Median misses 0.004 and 0.023.

References: Efron, Stein 1981 (Ann. Stat. 9, 586) for jackknife errors; Quenouille 1956 (Biometrika 43, 353) for taking
off a bias seen in halves; Simon et al. 2021 (arXiv:2110.03922) for the ridge path.
"""

import numpy as np

from .estimate import Estimate
from .ridge_path import RidgePath, effective_ridges
from .spectrum import FIRST_RANK, LAST_SHARE

WINDOWS = ((1, 1), (1, 2), (2, 1), (3, 0.6))  # first and last rank: FIRST_RANK f, samples / LAST_SHARE / g
HALVINGS = 4
FEWEST_GROUPS = 4  # below, halves say nothing
LEAST_SPAN = 3.0


def capacity(path: RidgePath, samples: int) -> Estimate | None:
    """Exponent of lambda_k ~ k^-capacity from a path with `pulls` and `halved`; None where no window spans a factor 3.

    >>> sizes = np.geomspace(1, 200, 40)
    >>> kappa = (sizes + 0.5) ** -1.5
    >>> path = RidgePath(sizes, kappa, sizes, 1.0, pulls=np.zeros((9, 40)), halved=kappa)
    >>> print(capacity(path, 400))
    1.500 +- 0.000 (0.000 from the window, 0.000 from the draw of rows)
    """
    spans = _windows(path, samples)
    if not spans:
        return None
    weights = np.array([slope_weights(path, span) for span in spans])
    slopes = -weights @ np.log(path.kappa)
    corrected = -weights @ log_kappa(path)  # bias(samples / 2) - bias(samples) = bias(samples), to first order
    systematic = float(np.hypot(np.ptp(corrected), corrected[0] - slopes[0]) / 2)
    statistical = jackknife(path.pulls, weights[0])
    return Estimate(float(corrected[0]), float(np.hypot(systematic, statistical)), systematic, statistical)


def log_kappa(path: RidgePath) -> np.ndarray:
    """log kappa (P,) with what halves of the sample show of its bias taken off; beyond their reach, as at its end."""
    whole = np.log(path.kappa)
    halved = whole if path.halved is None else np.log(path.halved)
    known = np.isfinite(halved)
    if not known.any():
        return whole
    return whole + np.interp(np.arange(len(whole)), np.flatnonzero(known), (whole - halved)[known])


def target_exponent(path: RidgePath, samples: int) -> Estimate | None:
    """Exponent of the target's power v_k ~ k^-target_exponent from left-out errors; None as for `capacity`."""
    spans = _windows(path, samples)
    if not spans:
        return None
    slopes = -np.array([slope_weights(path, span) @ np.log(path.unlearned) for span in spans])
    systematic = float(np.ptp(slopes) / 2)
    statistical = jackknife(path.shares, slope_weights(path, spans[0]))
    return Estimate(float(1 + slopes[0]), float(np.hypot(systematic, statistical)), systematic, statistical)


def jackknife(influence: np.ndarray | None, weights: np.ndarray) -> float:
    """Standard error of sum_i weights_i log y_i from the influence (groups, P) of every group on log y.

    >>> print(jackknife(np.array([[0.1], [-0.1]]), np.array([1.0])))
    0.2
    """
    if influence is None:
        return float("inf")
    pulls = len(influence) * influence @ weights
    return float(pulls.std(ddof=1) / np.sqrt(len(pulls)))


def _windows(path, samples):
    """Masks of the windows that span at least a factor 3 of the sizes there are; none if the first does not."""
    masks = []
    for f, g in WINDOWS:
        low, high = FIRST_RANK * f, min(samples / LAST_SHARE / g, path.sizes[-1])
        inside = (path.sizes >= low) & (path.sizes <= high)
        if high / low >= LEAST_SPAN and inside.sum() >= 4:
            masks.append(inside)
        elif (f, g) == WINDOWS[0]:
            return []
    return masks


def slope_weights(path: RidgePath, inside: np.ndarray) -> np.ndarray:
    """The weights (P,) of a least-squares slope against log(n + 1/2) on the sizes `inside`."""
    x = np.where(inside, np.log(path.sizes + 0.5), 0.0)
    x = np.where(inside, x - x[inside].mean(), 0.0)
    return x / (x**2).sum()


def halved_kappa(gram: np.ndarray, sizes: np.ndarray, groups: np.ndarray | None = None, seed: int = 0) -> np.ndarray:
    """Geometric mean of kappa (P,) at `sizes` over random halves of the rows, or groups; NaN beyond their rank."""
    rng = np.random.default_rng([seed, 2])
    names = np.arange(len(gram)) if groups is None else np.unique(groups, return_inverse=True)[1]
    count = int(names.max()) + 1
    total = np.zeros(len(sizes))
    if count < FEWEST_GROUPS:
        return np.full(len(sizes), np.nan)
    for _ in range(HALVINGS):
        first = (rng.permutation(count) < count // 2)[names]
        for half in (first, ~first):
            values = np.linalg.eigvalsh(gram[np.ix_(half, half)])
            total += np.log(effective_ridges(values, sizes)) / (2 * HALVINGS)
    return np.exp(total)
