r"""Random features without a draw: the spectrum of K = sqrt(D) W W' sqrt(D) for wide layers, as a few dozen nodes.

With the effective ridge kappa(y) > 0 of d features, y = kappa (1 - S/d), S = sum_j lambda_j / (lambda_j + kappa), and
kappa_0 = kappa(0), the resolvent of K at -y is kappa/(y (lambda_j + kappa)) in the eigenbasis of D, so that the
measures of one-pass SGD (`random_feature_descent`) have the transforms, with target power p_j in mode j,

    eigenvalues   int x T(dx)/(x + y) = S
    target        int F(dx)/(x + y) = (kappa - kappa_0)/y  sum_j p_j lambda_j / ((lambda_j + kappa)(lambda_j + kappa_0))
    unresolved    sum_j p_j kappa_0/(lambda_j + kappa_0)

Both are positive measures on the support of K, so a nonnegative combination of points on a logarithmic grid that has
their transforms at all y > 0 has their Laplace transforms too: 30 to 100 nodes reproduce the losses at every step to
2e-4 and mostly 1e-6 (`resolution`: points a factor e), where a draw needs d eigenvalues. The mean over draws differs
from it by O(1/d) of itself.
References: Paquette, Paquette, Xiao, Pennington 2024 (arXiv:2405.15074); Silverstein & Bai 1995.
"""

from typing import Any

import numpy as np

from ....theory.arguments import number, numbers, whole
from ....theory.errors import BadData, DidNotConverge
from ....theory.measured_spectra.spectrum import Spectrum
from ...regression.levels import Levels, levels
from .feature_spectrum import FeatureSpectrum, checked_inputs
from .random_feature_descent import FeatureDescent, descend

WHERE = "deterministic equivalent"
_RESOLUTION = 16  # nodes a factor e before the fit chooses among them, and sqrt(d)/4 more: top modes are that narrow
COARSEST, FINEST = 3, 200  # below, the measures are not met; above, nothing is gained
_BEYOND = 4.0  # transforms are matched up to this many factors e beyond the support, on both sides
_NEGLIGIBLE = 1e-13  # share of a node in the transform where it matters most
BLOCK = 1 << 22


def equivalent_descent(
    eigenvalues: Any,
    power: Any,
    width: int,
    steps: Any,
    learning_rate: float,
    batch: float = 1,
    noise: float = 0.0,
    momentum: float = 0.0,
    schedule: Any = None,
    resolution: float | None = None,
) -> FeatureDescent:
    """Mean loss of one-pass SGD on `width` random features, averaged over draws of them without drawing any.

    Arguments as in `random_feature_descent`; a measured `Spectrum` may stand for the eigenvalues, with power None: what
    no mode of it holds is label noise. Errors: `BadData` as there.

    >>> k = np.arange(1.0, 801)
    >>> found = equivalent_descent(k**-1.4, k**-2.0, 200, [0, 100, 1e9], 0.2)
    >>> print(found.stable, found.method)
    True deterministic equivalent
    """
    spectrum = equivalent_spectrum(eigenvalues, power, width, resolution)
    if isinstance(eigenvalues, Spectrum):
        noise = number(noise, "noise", WHERE) + eigenvalues.noise
    return descend(spectrum, steps, learning_rate, batch, noise, momentum, schedule)


def equivalent_spectrum(eigenvalues: Any, power: Any, width: int, resolution: float | None = None) -> FeatureSpectrum:
    """The mean spectrum of `width` random features of inputs with `eigenvalues` and target `power` (v,).

    >>> found = equivalent_spectrum(np.ones(400), np.ones(400), 100)  # Marchenko and Pastur 1967: (1 -+ 1/2)^2 x 4
    >>> print(round(found.multiplicities.sum(), 4), round(found.multiplicities @ found.eigenvalues, 4))
    100.0 400.0
    >>> print(round(found.unresolved, 9), found.eigenvalues.min().round(1), found.eigenvalues.max().round(1))
    300.0 1.0 9.0
    """
    counts = None
    if isinstance(eigenvalues, Spectrum):
        if power is not None:
            raise BadData("a Spectrum and a power", where=WHERE, remedy="give None: the spectrum has its own")
        eigenvalues, power, counts = eigenvalues.eigenvalues, eigenvalues.power, eigenvalues.multiplicities
    lam, power = checked_inputs(eigenvalues, power)
    width = whole(width, "width", WHERE, least=1)
    usual = min(_RESOLUTION + np.sqrt(width) / 4, 2.5 * _RESOLUTION)  # finer, a narrow bulk is as good as a point
    resolution = usual if resolution is None else number(resolution, "resolution", WHERE)
    if not COARSEST <= resolution <= FINEST:
        raise BadData(f"resolution {resolution:g}", where=WHERE, remedy=f"give {COARSEST} to {FINEST} nodes a factor e")
    modes = levels(lam, power, counts, where=WHERE)
    counts = np.ones(len(lam)) if counts is None else np.asarray(counts, float)
    first = _first_ridge(modes, width)
    missed = first / (modes.eigenvalues + first)
    unresolved = float(modes.power @ missed) + modes.lost
    low, high = _edges(lam[lam > 0], counts[lam > 0], modes, width, first)
    count = max(2, int(np.ceil((np.log(high) - np.log(low)) * resolution)) + 1)
    nodes = np.geomspace(low, high, count)
    below = _BEYOND if width == round(modes.modes) else -_BEYOND  # a square layer's spectrum goes on to zero
    points = np.geomspace(low * np.exp(below), high * np.exp(_BEYOND), count // 2 + int(_BEYOND * resolution))
    seen, target = _transforms(modes, width, points, first)
    shares = _positive(nodes, points, seen)  # of x T
    parts = _positive(nodes, points, target)
    kept = (shares > 0) | (parts > 0)
    return FeatureSpectrum(
        eigenvalues=nodes[kept],
        multiplicities=shares[kept] / nodes[kept],
        power=parts[kept],
        unresolved=unresolved,
        width=width,
        modes=float(counts.sum()),
        trace=float(counts @ lam),
    )


def effective_ridge_of_features(eigenvalues: Any, width: int, ridge: Any = 0.0) -> np.ndarray:
    """kappa (T,) with kappa (1 - S/d) = y at ridges y (T,) from 0: the resolvent of the features at -y, to rounding.

    At y = 0 it is the root of S = d, zero where the features outnumber the modes.

    >>> print(effective_ridge_of_features(np.ones(4), 2, [0.0, 1.0]))  # 4/(1 + kappa) = 2; kappa^2 - 2 kappa = 1
    [1.         2.41421356]
    """
    lam, _ = checked_inputs(eigenvalues, np.zeros(np.size(eigenvalues)))
    modes = levels(lam, where=WHERE)
    given = np.atleast_1d(numbers(ridge, "ridge", WHERE))
    if given.ndim != 1 or not given.size or not (np.isfinite(given).all() and (given >= 0).all()):
        raise BadData(f"ridge {ridge}", where=WHERE, remedy="give a list of finite numbers from 0")
    first = _first_ridge(modes, whole(width, "width", WHERE, least=1))
    return np.where(given == 0, first, _ridges(modes, width, np.where(given == 0, 1.0, given), first))


def _first_ridge(modes: Levels, width: int) -> float:
    """kappa_0: S = d, by safeguarded Newton in its logarithm; 0 where there are not more modes than features."""
    lam, count = modes.eigenvalues, modes.multiplicities
    if width >= modes.modes * (1 - 1e-12):
        return 0.0
    low, high = np.log(lam.min()) - 60.0, np.log(modes.trace / width)
    x = (low + high) / 2
    for _ in range(200):
        share = lam / (lam + np.exp(x))
        learned, slope = float(share @ count), float((share * (1 - share)) @ count)
        low, high = (x, high) if learned > width else (low, x)
        following = x + np.log(learned / width) * learned / slope
        following = following if low < following < high else (low + high) / 2
        if abs(following - x) < 1e-15 * max(1.0, abs(x)) or high - low < 1e-15:
            return float(np.exp(following))
        x = following
    return float(np.exp(x))


def _ridges(modes: Levels, width: int, points: np.ndarray, first: float) -> np.ndarray:
    """kappa at y = `points` > 0: Newton in log kappa, from above, where log (kappa (1 - S/d)) is concave enough."""
    lam, count = modes.eigenvalues, modes.multiplicities
    low, high = np.log(np.maximum(points, first)), np.log(points + modes.trace / width)
    x = high.copy()
    step = max(1, BLOCK // len(lam))
    for _ in range(200):
        learned, spread = np.empty_like(x), np.empty_like(x)
        for start in range(0, len(x), step):
            block = slice(start, start + step)
            share = lam / (lam + np.exp(x[block])[:, None])
            learned[block], spread[block] = share @ count, (share * (1 - share)) @ count
        kappa = np.exp(x)
        value = kappa * (1 - learned / width) - points
        low, high = np.where(value > 0, low, x), np.where(value > 0, x, high)
        following = x - value / (kappa * (1 - learned / width + spread / width))
        following = np.where((following >= low) & (following <= high), following, (low + high) / 2)
        moved, x = np.abs(following - x), following
        if moved.max() < 1e-14 * max(1.0, np.abs(x).max()):
            return np.exp(x)
    raise DidNotConverge(f"effective ridge still moves by {moved.max():.1e}", where=WHERE)


def _transforms(modes: Levels, width: int, points: np.ndarray, first: float) -> tuple[np.ndarray, np.ndarray]:
    """int x T/(x + y) and int F/(x + y) at all points, no difference of nearly equal numbers: kappa - kappa_0 by S."""
    lam, count, power = modes.eigenvalues, modes.multiplicities, modes.power
    kappa = _ridges(modes, width, points, first)[:, None]
    both = 1 / ((lam + kappa) * (lam + first))
    seen = (lam / (lam + kappa)) @ count
    if first > 0:  # (kappa - kappa_0)/y = d / (kappa sum lambda q), from S(kappa_0) - S(kappa)
        climbed = width / (kappa[:, 0] * ((lam * both) @ count))
    else:
        climbed = kappa[:, 0] / points
    return seen, climbed * ((lam * both) @ power)


def _edges(lam: np.ndarray, counts: np.ndarray, modes: Levels, width: int, first: float) -> tuple[float, float]:
    """Ends of the support of K's spectrum: extrema of x(kappa) = kappa (S/d - 1), widened a little.

    The upper one is the minimum over kappa < -lambda_1, the lower one the maximum over 0 < kappa < kappa_0. With no
    more modes than features the lower edge may touch zero: then a share of the smallest eigenvalue stands for it.
    """
    top = lam.max()
    beyond = top * (1 + np.geomspace(1e-4, 1e3, 120) * np.sqrt(counts.sum() / width + 1))
    upper = min(float(s * (1 + counts @ (lam / (s - lam)) / width)) for s in beyond)
    if first > 0:
        inside = first * np.geomspace(1e-6, 1 - 1e-9, 400)
        share = (modes.eigenvalues / (modes.eigenvalues + inside[:, None])) @ modes.multiplicities
        lower = float((inside * (share / width - 1)).max())
    else:
        lower = float(lam.min()) * max(1e-6, 0.1 * (1 - np.sqrt(counts.sum() / width)) ** 2)
    return lower * 0.997, upper * 1.003


def _positive(nodes: np.ndarray, points: np.ndarray, wanted: np.ndarray) -> np.ndarray:
    """Weights from 0 of `nodes` with sum w/(x + y) = wanted at all points, in least squares of relative errors."""
    from scipy.optimize import nnls

    if not wanted.max() > 0:
        return np.zeros(len(nodes))
    matrix = 1 / ((nodes + points[:, None]) * wanted[:, None])
    scale = matrix.max(0)
    weights, rest = nnls(matrix / scale, np.ones(len(points)), maxiter=100 * len(nodes))
    if rest > 1e-3 * np.sqrt(len(points)):
        raise DidNotConverge(f"the spectrum is met to {rest:.1e} only", where=WHERE, remedy="raise the resolution")
    return np.where(weights > _NEGLIGIBLE, weights, 0.0) / scale
