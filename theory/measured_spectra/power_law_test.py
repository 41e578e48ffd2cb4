"""Is a spectrum a power law at all? Rank curves in competition, with correlated errors.

The effective ridge kappa(n), n = sum lambda_k / (lambda_k + kappa), is free of the noise of single eigenvalues. Curves
for the eigenvalues (`rank_curves`), each turned into its kappa(n),

    power law   lambda_k ~ k^-b                          exponential            lambda_k ~ exp(-c k)
    broken      k^-b up to rank k0, k^-b2 beyond         stretched exponential  lambda_k ~ exp(-c k^g)
    log-normal  log lambda_k = -b log k - c log^2 k

are fitted to it every half octave over ranks [10, samples/5] by generalised least squares, and compared by chi^2 + 2 x
parameters. Errors: the covariance of log kappa from the jackknife over rows or groups (for bare eigenvalues: that of
Gaussian features in closed form), and half the shift that halves of the sample show. Before a power law is given up, a
rival must win by 6 (odds of 20 to 1) and the local slope must drift by more than `tolerance` from one half of the
window to the other.

Measured on 1000 and 1400 rows: none of 176 planted power laws (capacity 1.2 to 3; Gaussian, heavy-tailed, elliptic and
grouped features) was called anything else, and every one of 112 planted rivals was named, up to the likeness of the two
smooth ones.

References: Burnham, Anderson 2002, Model Selection and Multimodel Inference; Hartlap, Simon, Schneider 2007
(arXiv:astro-ph/0608064) for inverse covariances from few draws; Bai, Silverstein 2004 (arXiv:math/0408313) for the
covariance of Gaussian features.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from ..arguments import number, numbers, whole
from ..errors import BadData
from .estimate import Estimate
from .path_exponents import log_kappa
from .rank_curves import fit_curves
from .ridge_path import FULL, effective_ridges
from .spectrum import ASYMPTOTIC_DECADES, FIRST_RANK, LARGEST, LAST_SHARE, SMALLEST, Spectrum

STEP = np.log(2) / 2  # between points: half an octave
DECISIVE = 6.0
ROUGHNESS = 0.003  # of log kappa, independent at every point: below it no law is exact
SMOOTH = ("log-normal", "stretched exponential")
HARDLY_STRETCHED = 0.15  # exp(-c k^g) with |g - 1| below is called exponential
FEWEST_DRAWS = 20  # rows or groups a covariance can be taken from
WHERE = "power-law test"


@dataclass(frozen=True, eq=False)
class PowerLawTest:
    """The verdict on a spectrum, with its numbers.

    `verdict`     "power law", "broken", "log-normal", "exponential", "stretched exponential", "log-normal or stretched
                  exponential" (they differ little over two decades), or "cannot tell (why)"
    `window`      of ranks;  `decades` it spans
    `slopes`      local exponent in every octave, as (first rank, last rank, Estimate)
    `drift`       exponent in the upper half of the window minus that in the lower half
    `exponent`    that of the power law over the window; `break_at`: (rank, exponent before, exponent after) if broken
    `criteria`    chi^2 + 2 x parameters of every curve, relative to the best;  `chi2` per degree of freedom
    """

    verdict: str
    window: tuple[float, float]
    decades: float
    exponent: Estimate
    drift: Estimate
    slopes: tuple[tuple[float, float, Estimate], ...]
    criteria: Mapping[str, float]
    chi2: Mapping[str, float]
    break_at: tuple[float, float, float] | None
    errors_from: str

    @property
    def holds(self) -> bool:
        return self.verdict == "power law"

    def to_dict(self) -> dict:
        return {
            "verdict": self.verdict,
            "window": list(self.window),
            "decades": self.decades,
            "exponent": self.exponent.to_dict(),
            "drift": self.drift.to_dict(),
            "slopes": [[low, high, slope.to_dict()] for low, high, slope in self.slopes],
            "criteria": dict(self.criteria),
            "chi2": dict(self.chi2),
            "break_at": self.break_at and list(self.break_at),
            "errors_from": self.errors_from,
        }

    def __str__(self) -> str:
        low, high = self.window
        ranked = sorted(self.criteria, key=self.criteria.__getitem__)
        lines = [
            f"Power-law test: {self.verdict}",
            f"  ranks {low:.0f} .. {high:.0f} ({self.decades:.2f} decades), errors from {self.errors_from}",
            f"  exponent {self.exponent}; drift {self.drift} from the lower to the upper half",
            "  local exponents  " + ", ".join(f"{a:.0f}-{b:.0f}: {slope}" for a, b, slope in self.slopes),
            "  behind the best  " + ", ".join(f"{name} {self.criteria[name]:.1f}" for name in ranked),
        ]
        if self.break_at is not None:
            rank, before, after = self.break_at
            lines.append(f"  best break       at rank {rank:.0f}, exponent {before:.3f} before and {after:.3f} after")
        return "\n".join(lines)

    __repr__ = __str__


def power_law_test(
    spectrum: Spectrum | np.ndarray, samples: int | None = None, *, of: str = "eigenvalues", tolerance: float = 0.1
) -> PowerLawTest:
    """Whether eigenvalues, or with `of="target"` the target's unlearned power, fall as a power of the rank.

    `spectrum`   a `Spectrum` estimated from rows, or all eigenvalues (m,) of a kernel matrix of m = `samples` rows
    `of`         with "target" the exponents are those of the unlearned power, target_exponent - 1; the curves are
                 fitted to it as they are, so a sharp break may look log-normal; noise makes it level off
    `tolerance`  drift of the local exponent that is still called a power law

    Errors: `BadData` for a spectrum without rows, more eigenvalues than samples, fewer than half a decade of ranks.

    >>> ranks, rng = np.arange(1, 1001.0), np.random.default_rng(0)
    >>> x = rng.standard_normal((1000, 1000)) * ranks**-1
    >>> power_law_test(np.linalg.eigvalsh(x @ x.T), 1000).verdict
    'power law'
    >>> power_law_test(np.linalg.eigvalsh(x @ (np.exp(-ranks / 40) * x).T), 1000).holds
    False
    """
    if of not in ("eigenvalues", "target"):
        raise BadData(f"of={of!r}", where=WHERE, remedy='give "eigenvalues" or "target"')
    tolerance = number(tolerance, "tolerance", WHERE)
    sizes, heights, covariance, last, draws, source = _curve(spectrum, samples, of)
    if len(sizes) < 4 or sizes[-1] < 3 * sizes[0]:
        raise BadData(
            f"ranks are resolved up to {last:.0f} only",
            where=WHERE,
            remedy=f"give at least {3 * FIRST_RANK * LAST_SHARE} samples and a kernel of rank {3 * FIRST_RANK}",
        )
    covariance = covariance + ROUGHNESS**2 * np.eye(len(sizes))
    decades = float(np.log10(last / FIRST_RANK))
    x = np.log(sizes + 0.5)
    # the inverse of a covariance from few draws is too large
    trust = min(1.0, max((draws - len(x) - 2) / (draws - 1), 1 / draws))
    fits = fit_curves(sizes, heights, covariance / trust, through_ridge=of == "eigenvalues")
    least = min(fit.criterion for fit in fits.values())
    criteria = {name: fit.criterion - least for name, fit in fits.items()}
    drift = _slope(x, heights, covariance, x > x.mean(), minus=x <= x.mean())
    before, after, rank = fits["broken"].parameters
    return PowerLawTest(
        verdict=_verdict(criteria, drift, decades, draws, tolerance, fits["stretched exponential"].parameters[1]),
        window=(float(sizes[0]), float(sizes[-1])),
        decades=decades,
        exponent=_slope(x, heights, covariance, np.ones(len(x), bool)),
        drift=drift,
        slopes=tuple(_octaves(sizes, x, heights, covariance)),
        criteria=criteria,
        chi2={name: fit.chi2 / max(len(x) - fit.unknowns, 1) for name, fit in fits.items()},
        break_at=(rank, before, after) if criteria["broken"] < criteria["power law"] else None,
        errors_from=source,
    )


def _verdict(criteria, drift, decades, draws, tolerance, stretch=0.5):
    if decades < ASYMPTOTIC_DECADES - 0.005:
        return f"cannot tell (fewer than {ASYMPTOTIC_DECADES:g} decades: {decades:.2f})"
    if draws < FEWEST_DRAWS:
        return f"cannot tell (only {draws} independent groups)"
    best = min(criteria, key=criteria.__getitem__)
    if criteria["power law"] >= DECISIVE and abs(drift.value) > tolerance:
        if best == "stretched exponential" and abs(stretch - 1) < HARDLY_STRETCHED:
            return "exponential"
        gap = abs(criteria[SMOOTH[0]] - criteria[SMOOTH[1]])
        return " or ".join(SMOOTH) if best in SMOOTH and gap < DECISIVE else best
    if criteria["exponential"] - criteria["power law"] < DECISIVE:
        return "cannot tell (an exponential fits as well)"
    return "power law"


def _curve(spectrum, samples, of):
    """Sizes half an octave apart, log kappa there, its covariance, the last resolved rank, draws, and their kind."""
    if not isinstance(spectrum, Spectrum):
        return _from_eigenvalues(np.atleast_1d(numbers(spectrum, "eigenvalues", WHERE)), samples, of)
    path = spectrum.left_out
    if path is None:
        if spectrum.method == "finite population":
            return _from_eigenvalues(spectrum.eigenvalues, spectrum.samples, of)
        raise BadData(
            f"a spectrum without the path of its rows ({spectrum.method or 'given'})",
            where=WHERE,
            remedy="give one of cross_fit or in_sample, or the eigenvalues of a kernel matrix",
        )
    last = float(min(spectrum.samples / LAST_SHARE, path.sizes[-1]))
    sizes = _half_octaves(last)
    between = np.array([np.interp(np.log(sizes), np.log(path.sizes), one) for one in np.eye(len(path.sizes))])
    influence = (path.pulls if of == "eigenvalues" else path.shares) @ between
    influence = influence - influence.mean(0)
    heights = log_kappa(path) if of == "eigenvalues" else np.log(path.unlearned)
    shift = (heights - np.log(path.kappa)) @ between / 2 if of == "eigenvalues" else np.zeros(len(sizes))
    covariance = influence.T @ influence * len(influence) / (len(influence) - 1) + np.outer(shift, shift)
    unit = "groups" if spectrum.facts.get("grouped") else "rows"
    return sizes, heights @ between, covariance, last, len(influence), f"{len(influence)} {unit}"


def _from_eigenvalues(values, samples, of="eigenvalues"):
    """The same from eigenvalues (any scale) of a kernel matrix, with the covariance of Gaussian features."""
    if of != "eigenvalues":
        raise BadData("eigenvalues alone", where=WHERE, remedy="the target's power needs a Spectrum from cross_fit")
    samples = len(values) if samples is None else whole(samples, "samples", WHERE, least=1)
    if values.ndim != 1 or len(values) > samples or not SMALLEST < values.max(initial=0) < LARGEST:
        raise BadData(
            f"eigenvalues of shape {values.shape} for {samples} samples",
            where=WHERE,
            remedy="give all eigenvalues of the kernel matrix, at most one a sample, of 1e-100 to 1e100",
        )
    values = np.concatenate([np.maximum(values, 0), np.zeros(samples - len(values))]) / samples
    last = min(samples / LAST_SHARE, FULL * (values > 1e3 * samples * np.finfo(float).eps * values.max()).sum())
    sizes = _half_octaves(last)
    kappa = effective_ridges(values, sizes)
    z = kappa * (samples - sizes)  # values + z: the regularised matrix
    powers = [1 / (values + z[:, None])]
    for _ in range(3):
        powers.append(powers[-1] * powers[0])
    m = [power.mean(1) for power in powers]  # m^(j) = j! m[j]
    between, apart = m[0][:, None] - m[0], z - z[:, None]
    np.fill_diagonal(between, 1.0)
    np.fill_diagonal(apart, 1.0)
    covariance = 2 * (np.outer(m[1], m[1]) / between**2 - 1 / apart**2)
    np.fill_diagonal(covariance, 2 * (m[3] / m[1] - (m[2] / m[1]) ** 2))
    scale = samples * (m[0] - z * m[1])  # how log kappa follows the trace at fixed degrees of freedom
    covariance = covariance / np.outer(scale, scale)
    return sizes, np.log(kappa), covariance, last, samples, "Gaussian features"


def _half_octaves(last):
    """Sizes from FIRST_RANK to `last`, about half an octave apart."""
    steps = max(round(np.log(max(last / FIRST_RANK, 1)) / STEP), 0)
    return np.geomspace(FIRST_RANK, max(last, FIRST_RANK), steps + 1)


def _slope(x, y, covariance, inside, minus=None):
    """Least-squares exponent on the points `inside`, less that on `minus`."""
    weights = np.zeros(len(x))
    for part, sign in ((inside, -1.0), (minus, 1.0)):
        if part is not None:
            centred = x[part] - x[part].mean()
            weights[part] += sign * centred / (centred**2).sum()
    return Estimate(float(weights @ y), float(np.sqrt(weights @ covariance @ weights)))


def _octaves(sizes, x, y, covariance):
    for start in range(0, len(x) - 2, 2):
        inside = np.zeros(len(x), bool)
        inside[start : start + 3] = True
        yield float(sizes[start]), float(sizes[inside][-1]), _slope(x, y, covariance, inside)
