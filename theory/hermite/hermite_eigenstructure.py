r"""The spectrum of any kernel on real data from two things: its level coefficients and the covariance of the data.

On Gaussian data with covariance eigenvalues gamma_i (and on data that are Gaussian enough) the eigenfunctions of a
rotation-invariant kernel are products of Hermite polynomials of the whitened principal components z_i, and

    lambda_alpha = k_l gamma^alpha / h_l(gamma),     l = |alpha|,     gamma^alpha = prod_i gamma_i^alpha_i,

with K = sum_l k_l t^l on the sphere |x|^2 = q = sum gamma_i and h_l the sum of all gamma^alpha of the level. In high
effective dimension h_l = q^l / l!, which is the ansatz c_l gamma^alpha with c_l = l! k_l / q^l (`levels="bare"`); with
h_l every level keeps its trace k_l, which does not diverge at large gamma_1 and is nearer to exact spectra there.

Trust depends on the data and is measured: see `Validity`. Exact spectra of Gaussian measures are the ground truth.

>>> from ..regression.kernels import rbf
>>> x = np.random.default_rng(0).standard_normal((400, 50))
>>> found = hermite_spectrum(rbf(10.0), x, modes=100)
>>> found.facts["trusted"], found.eigenvalues.round(3)[:2]
(True, array([0.61 , 0.011]))

Reference: Karkada, Turnbull, Liu & Simon 2025 (arXiv:2510.14878).
"""

from dataclasses import dataclass
from typing import Any

import numpy as np

from ..arguments import numbers, whole
from ..errors import BadData, OutsideDomain, Underpowered, UnknownName
from ..infinite_width.network_kernel import NetworkKernel
from ..measured_spectra.estimate import Estimate
from ..measured_spectra.spectrum import FIRST_RANK, LAST_SHARE, Spectrum
from .hermite_modes import Modes, complete_symmetric, mode_features, rest_in_bins, top_modes
from .level_coefficients import ORDER, LevelCoefficients, level_coefficients

KARKADA = "Karkada, Turnbull, Liu & Simon 2025, arXiv:2510.14878"
OCCUPIED = 0.01  # a level with this share of K(x, x) counts
LABELS = 50
SQUARABLE = 1e-75  # of the total variance: squares and fourth powers of it stay between 1e-300 and 1e300
SMALLEST = 1e-12  # covariance eigenvalues below this share of the largest are dropped
ROWS_PER_FEATURE = 4
MOST_FEATURES = 1500
LEVELS = ("trace", "bare")


@dataclass(frozen=True)
class Validity:
    """What the ansatz rests on, measured on covariance and rows; it `holds` where every distance is within its radius.

    `mixing`      largest sqrt(c_{l+2} / c_l) gamma_1 of levels in use: how far modes two levels apart mix. On exact
                  Gaussian spectra the logarithms of the top ten eigenvalues are off by 1.2 to 2.1 times this number
    `centre`      |mean|^2 / q
    `norms`       standard deviation of |x|^2 over q: the kernel is expanded on one sphere
    `kurtosis`    mean |excess kurtosis| of the ten leading whitened components (0 for Gaussian ones)
    `effective_dimension`  q^2 / sum gamma^2, `largest_share` gamma_1 / q: for information
    """

    mixing: float
    centre: float
    norms: float
    kurtosis: float
    effective_dimension: float
    largest_share: float

    RADII = {"mixing": 0.2, "centre": 0.05, "norms": 0.5, "kurtosis": 2.0}  # noqa: RUF012

    @property
    def holds(self) -> bool:
        return all(getattr(self, name) <= radius for name, radius in self.RADII.items())

    @property
    def distance(self) -> float:
        """The largest distance in units of its radius: above 1 the spectrum is not to be trusted."""
        return max(getattr(self, name) / radius for name, radius in self.RADII.items())

    def to_dict(self) -> dict:
        return {**vars(self), "holds": self.holds, "distance": self.distance}

    def __str__(self) -> str:
        lines = [f"Hermite eigenstructure: {'within' if self.holds else 'OUTSIDE'} its domain"]
        for name, radius in self.RADII.items():
            value = getattr(self, name)
            lines.append(f"  {name:<10} {value:.3g} (radius {radius:g}) {'holds' if value <= radius else 'FAILS'}")
        lines.append(f"  effective dimension {self.effective_dimension:.1f}, largest share {self.largest_share:.3f}")
        return "\n".join(lines)


@dataclass(frozen=True, eq=False)
class Covariance:
    """Principal components of rows x (P, d): eigenvalues gamma (r,) descending, axes (d, r), and the mean.

    `norms` is the standard deviation of |x - mean|^2, `kurtosis` the mean |excess kurtosis| of ten leading components.
    """

    gamma: np.ndarray
    axes: np.ndarray
    mean: np.ndarray
    norms: float
    kurtosis: float

    def whitened(self, x: np.ndarray) -> np.ndarray:
        return (np.asarray(x, float) - self.mean) @ self.axes / np.sqrt(self.gamma)


def covariance(x: np.ndarray) -> Covariance:
    """The centred covariance of rows and its eigenvectors; directions of no variance are dropped.

    Errors: `BadData` for rows that do not vary or are not finite.
    """
    x = np.asarray(x, float)
    if x.ndim != 2 or len(x) < 2 or not np.isfinite(x).all():
        raise BadData(
            f"inputs of shape {x.shape}", where="Hermite eigenstructure", remedy="give finite rows (P, d), P > 1"
        )
    mean = x.mean(0)
    if len(x) > x.shape[1]:
        gamma, axes = np.linalg.eigh((x - mean).T @ (x - mean) / len(x))
        gamma, axes = np.maximum(gamma[::-1], 0), axes[:, ::-1].T
    else:
        _, singular, axes = np.linalg.svd(x - mean, full_matrices=False)
        gamma = singular**2 / len(x)
    keep = gamma > SMALLEST * gamma[0]
    if not gamma[0] > 0:
        raise BadData("all rows are the same", where="Hermite eigenstructure", remedy="give inputs that vary")
    centred, kept = x - mean, axes[keep].T
    z = centred @ kept[:, :10] / np.sqrt(gamma[keep][:10])
    norms, kurtosis = np.square(centred).sum(1).std(), np.abs((z**4).mean(0) - 3).mean()
    return Covariance(gamma[keep], kept, mean, float(norms), float(kurtosis))


def level_logarithms(levels: LevelCoefficients, gamma: np.ndarray, kind: str = "trace") -> np.ndarray:
    """log of lambda_alpha / gamma^alpha for every level: k_l / h_l(gamma), or c_l for "bare"."""
    if kind not in LEVELS:
        raise UnknownName.among(kind, LEVELS, kind="normalisation of levels")
    if kind == "bare":
        return levels.log_coefficients
    order = len(levels.series) - 1
    scale = float(gamma.sum())
    with np.errstate(divide="ignore"):
        return (
            np.log(levels.series)
            - np.log(complete_symmetric(gamma / scale, order))
            - np.arange(order + 1) * np.log(scale)
        )


def validity(levels: LevelCoefficients, gamma: np.ndarray, x: np.ndarray | Covariance | None = None) -> Validity:
    """The measured validity of the ansatz, from the covariance alone or with rows (or with their `covariance`).

    >>> from ..regression.kernels import rbf
    >>> validity(level_coefficients(rbf(1.0), q=1.0), np.full(5, 0.2)).holds
    True
    >>> validity(level_coefficients(rbf(1.0), q=1.0), np.ones(1)).holds
    False
    """
    gamma = np.asarray(gamma, float)
    total = float(gamma.sum())
    logs = level_logarithms(levels, gamma)
    share = levels.series / levels.at_coincidence
    mixing = 0.0
    for low in range(len(share) - 2):
        if share[low] >= OCCUPIED and share[low + 2] >= OCCUPIED:
            mixing = max(mixing, float(np.exp((logs[low + 2] - logs[low]) / 2) * gamma[0]))
    centre = norms = kurtosis = 0.0
    if x is not None:
        found = x if isinstance(x, Covariance) else covariance(x)
        centre, norms = float((found.mean**2).sum() / total), found.norms / total
        kurtosis = found.kurtosis
    return Validity(mixing, centre, norms, kurtosis, float(total**2 / (gamma**2).sum()), float(gamma[0] / total))


def hermite_spectrum(
    kernel: Any,
    x: np.ndarray,
    y: np.ndarray | None = None,
    *,
    modes: int = 10_000,
    order: int = ORDER,
    which: str = "ntk",
    levels: str = "trace",
    gamma: np.ndarray | None = None,
    strict: bool = False,
    seed: int = 0,
) -> Spectrum:
    """Eigenvalues of a kernel on data like the rows x, from their covariance, and the power of a target in them.

    `kernel`  anything `level_coefficients` takes: a network, a `Kernel`, an expression or a function of the cosine
    `x` (P, d) should be centred: the ansatz is about a mean of zero; `y` (P,) or (P, o) targets, power by cross-fitting
    `modes`   enumerated one by one, up to 2e7; those below are kept in bins, so that the trace is that of the kernel
    `strict`  refuse (`OutsideDomain`) where the measured validity is poor; otherwise facts["trusted"] says so

    `gamma`   covariance eigenvalues (r,) in place of those of the rows, if they are known

    Returns a `Spectrum` for `learning_curve`; facts hold "validity", "trusted", "labels" (multisets of principal
    components of the first modes), "levels", "order" and "series_error". Errors: `BadData` for rows that do not vary.

    Reference: Karkada, Turnbull, Liu & Simon 2025 (arXiv:2510.14878).
    """
    if isinstance(kernel, NetworkKernel):
        kernel, which = kernel.engine, kernel.which
    x, where = numbers(x, "x", "Hermite eigenstructure"), "Hermite eigenstructure"
    modes, seed = whole(modes, "modes", where, least=1), whole(seed, "seed", where)
    order = whole(order, "order", where, least=1)
    found = covariance(x)
    own = found.gamma if gamma is None else np.sort(np.atleast_1d(numbers(gamma, "gamma", where)))[::-1]
    if len(own) != len(found.gamma) or not (own > 0).all():
        raise BadData(
            f"{len(own)} covariance eigenvalues for rows of rank {len(found.gamma)}",
            where="Hermite eigenstructure",
            remedy="give one positive number per principal component",
        )
    q = float(own.sum())
    if not SQUARABLE < q < 1 / SQUARABLE:
        raise BadData(f"rows of total variance {q:.3g}", where=where, remedy="scale them")
    series = level_coefficients(kernel, q, dimension=x.shape[1], order=order, which=which)
    measured = validity(series, own, found)
    if strict and not measured.holds:
        raise OutsideDomain(
            f"distance {measured.distance:.2g} of the allowed ({', '.join(_failing(measured))})",
            where="Hermite eigenstructure",
            remedy="centre the rows, or use cross_fit: the spectrum from the kernel matrix itself",
        )
    top, eigenvalues, multiplicities = _of_covariance(series, own, modes, levels)
    power, noise, explained, target = np.zeros(len(eigenvalues)), 0.0, 1.0, None
    resolved = float(len(x)) / 2
    if y is not None:
        power, noise, explained, target, resolved = _target(top, eigenvalues, multiplicities, found, x, y, seed)
    facts = {
        "validity": measured.to_dict(),
        "trusted": measured.holds,
        "labels": top.labels(LABELS),
        "modes": len(top),
        "levels": levels,
        "order": order,
        "series_error": series.error,
    }
    trust = "" if measured.holds else ", NOT TRUSTED"
    return Spectrum(
        eigenvalues,
        power,
        multiplicities,
        noise=noise,
        method=f"Hermite eigenstructure{trust}",
        samples=len(x),
        resolved=resolved,
        capacity=_capacity(top, len(x)),
        target_exponent=target,
        explained=explained,
        facts=facts,
    )


def covariance_spectrum(
    kernel: Any, gamma: np.ndarray, *, modes: int = 10_000, order: int = ORDER, levels: str = "trace", **options: Any
) -> tuple[np.ndarray, np.ndarray]:
    """Eigenvalues and multiplicities from covariance eigenvalues alone; `options` as for `level_coefficients`.

    >>> from ..regression.kernels import linear
    >>> values, counts = covariance_spectrum(linear(), np.array([0.5, 0.25]))
    >>> values.round(12), counts
    (array([0.5 , 0.25]), array([1., 1.]))
    """
    gamma = np.sort(np.asarray(gamma, float))[::-1]
    gamma = gamma[gamma > SMALLEST * gamma[0]] if len(gamma) and gamma[0] > 0 else gamma[:0]
    if not len(gamma):
        raise BadData("no positive eigenvalue", where="Hermite eigenstructure", remedy="give covariance eigenvalues")
    series = level_coefficients(kernel, float(gamma.sum()), order=order, **options)
    return _of_covariance(series, gamma, modes, levels)[1:]


def _of_covariance(series: LevelCoefficients, gamma, modes, kind) -> tuple[Modes, np.ndarray, np.ndarray]:
    logs = level_logarithms(series, gamma, kind)
    log_gamma = np.log(gamma)
    top = top_modes(log_gamma, logs, modes)
    rest, counts, missing = rest_in_bins(log_gamma, logs, top)
    eigenvalues = np.concatenate([np.exp(top.log_eigenvalues), rest])
    multiplicities = np.concatenate([np.ones(len(top)), counts])
    beyond = missing + series.beyond
    if beyond > 1e-13 * series.at_coincidence:
        # levels above the order: so many modes so small that they act as a ridge
        tiny = float(eigenvalues.min()) * 1e-3
        eigenvalues = np.append(eigenvalues, tiny)
        multiplicities = np.append(multiplicities, beyond / tiny)
    return top, eigenvalues, multiplicities


# ---- the target -----------------------------------------------------------------------------------------------------


def _target(top: Modes, eigenvalues, multiplicities, found: Covariance, x, y, seed):
    """Power of the target on modes, over all outputs: orthonormalised on one half of the rows, judged on the other."""
    y = np.atleast_1d(numbers(y, "y", "Hermite eigenstructure"))
    y = y[:, None] if y.ndim == 1 else y
    if len(y) != len(x) or y.ndim != 2:
        raise BadData(
            f"{len(x)} inputs but {len(y)} targets", where="Hermite eigenstructure", remedy="give one per row"
        )
    if not np.isfinite(y).all():
        raise BadData("a target is not finite", where="Hermite eigenstructure", remedy="drop its row")
    total = float((y**2).sum(1).mean())
    if not total > 0:
        raise BadData("the target is zero", where="Hermite eigenstructure", remedy="give a target that varies")
    count = int(min(len(top), len(x) // (2 * ROWS_PER_FEATURE), MOST_FEATURES))
    if count < 1:
        raise Underpowered(
            f"{len(x)} rows hold no mode of the target",
            where="Hermite eigenstructure",
            remedy=f"give at least {2 * ROWS_PER_FEATURE}, or leave the target out",
        )
    features = mode_features(top, count, found.whitened(x))
    halves = np.array_split(np.random.default_rng(seed).permutation(len(x)), 2)
    unlearned = [_unlearned(features, y, fit, judge) for fit, judge in (halves, halves[::-1])]
    edges = np.unique(np.round(np.geomspace(1, count, max(2, int(8 * np.log(max(count, 2)))))).astype(int))
    power = np.zeros(len(eigenvalues))
    exponents, parts = [], []
    for curve in (np.mean(unlearned, axis=0), *unlearned):
        # the gain of every group of modes; what noise makes negative is pooled with its neighbours
        gains = np.maximum(np.minimum.accumulate(np.append(total, curve[edges - 1])), 0)
        parts.append(-np.diff(gains))
        exponents.append(_fall(edges, parts[-1], total))
    sizes = np.diff(edges, prepend=0)
    power[:count] = np.repeat(parts[0] / sizes, sizes)
    left = max(total - float(power[:count].sum()), 0.0)
    explained = 1 - left / total
    target = None
    if exponents[0] is not None:
        others = [e for e in exponents[1:] if e is not None]
        target = Estimate(exponents[0], float(max([abs(e - exponents[0]) for e in others], default=np.inf)) + 0.05)
        if target.value > 1:
            # beyond the last measured mode the power goes on falling; what is left after that counts as noise
            rank = np.cumsum(multiplicities[count:]) + count
            density = multiplicities[count:] * rank**-target.value
            last = parts[0][-3:].sum() / sizes[-3:].sum() * np.exp(np.log(edges[-3:]).mean() * target.value)
            tail = last * density
            power[count:] = tail * min(1.0, left / tail.sum()) if tail.sum() > 0 else 0.0
            left = max(left - float(power[count:].sum()), 0.0)
    return power, left, explained, target, float(count)


def _unlearned(features, y, fit, judge) -> np.ndarray:
    """Held-out squared error of regression on the first 1, 2, ... modes, freed of the error of their coefficients."""
    basis, triangle = np.linalg.qr(features[fit])
    sound = np.abs(np.diag(triangle)) > 1e-8 * np.abs(np.diag(triangle)).max()
    held = (
        np.linalg.solve(triangle.T, features[judge].T).T if sound.all() else features[judge] @ np.linalg.pinv(triangle)
    )
    coefficients = basis.T @ y[fit]
    error = np.array(y[judge], float)
    found = np.empty(features.shape[1])
    for k in range(features.shape[1]):
        error = error - held[:, k : k + 1] * coefficients[k]
        found[k] = float((error**2).sum(1).mean())
    rows = len(fit)
    return found * (1 - np.arange(1, len(found) + 1) / rows)


def _fall(edges, gains, total) -> float | None:
    """Exponent of power per mode against rank, from the unlearned power beyond rank k ~ k^-(exponent - 1)."""
    beyond = total - np.cumsum(gains)
    inside = (edges >= FIRST_RANK) & (beyond > 0.02 * total)
    if inside.sum() < 4:
        return None
    return float(1 - np.polyfit(np.log(edges[inside]), np.log(beyond[inside]), 1)[0])


def _capacity(top: Modes, samples: int) -> Estimate | None:
    """Fall of eigenvalues with rank over the resolved ranks; error: how much windows of half the length differ."""
    ranks = np.arange(1, len(top) + 1)
    last = min(len(top), max(samples / LAST_SHARE, 2 * FIRST_RANK))
    windows = [(FIRST_RANK, last), (FIRST_RANK, last / 2), (2 * FIRST_RANK, last)]
    slopes = []
    for low, high in windows:
        inside = (ranks >= low) & (ranks <= high)
        if inside.sum() < 3:
            return None
        slopes.append(-float(np.polyfit(np.log(ranks[inside]), top.log_eigenvalues[inside], 1)[0]))
    return Estimate(slopes[0], max(abs(s - slopes[0]) for s in slopes))


def _failing(measured: Validity) -> list[str]:
    return [name for name, radius in measured.RADII.items() if getattr(measured, name) > radius]
