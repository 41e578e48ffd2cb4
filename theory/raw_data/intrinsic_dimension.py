"""How many dimensions the inputs have, as a bracket: every estimator, on every scale, says something else.

With distances r_k to the k-th neighbour in a space of dimension d and even density,

    (r_k / r_2k)^d ~ Beta(k, k),      so      d = (psi(2k) - psi(k)) / mean log(r_2k / r_k)          (ratios),
    pairs closer than r:  (distance / r)^d ~ uniform,  d = -1 / mean log(distance / r)               (pairs).

Small scales see noise around a manifold, large ones its curvature and edges; ratios weigh all rows alike, pairs the
dense regions. The bracket runs over all of them, with their errors; where estimates fall with the distance, as edges
make them, up to their straight line's value at distance zero. More than 2 log10(rows) dimensions cannot be measured by
counting neighbours: the upper end is then open.

References: Facco, d'Errico, Rodriguez, Laio 2017 (doi:10.1038/s41598-017-11873-y) for k = 1; Denti, Doimo, Laio, Mira
2022 (arXiv:2104.13832) for k > 1; Takens 1985 (doi:10.1007/BFb0075637) for pairs; Levina, Bickel 2004 (NIPS 17) for
likelihoods of this kind; Eckmann, Ruelle 1992 (doi:10.1016/0167-2789(92)90023-G) for the limit.
"""

from dataclasses import dataclass

import numpy as np
from scipy.special import digamma

from ..arguments import numbers, whole
from ..errors import BadData
from ..measured_spectra.estimate import Estimate

FEWEST_ROWS = 100
MOST_ROWS = 3000
LARGEST_SCALE = 64  # neighbours
SHARE = 20  # the outer neighbour is among the nearest rows / SHARE * 2
PARTS = 10  # subsets of the rows whose estimates give the error
TIES = 0.05  # share of equal distances from which on a scale is not used: points on a lattice
SAME = 1e-14  # squared distance over squared size below which rows are duplicates
WHERE = "intrinsic dimension"


@dataclass(frozen=True)
class IntrinsicDimension:
    """Lowest and highest dimension over estimators and scales, errors included.

    `scales`      (neighbours k, typical distance, Estimate from ratios, Estimate from pairs) from small to large
    `open_above`  the rows are too few to bound the dimension from above
    `rows`, `duplicates`   distinct rows used, and rows left out because another one equals them
    `ambient`     dimension of the space they span (at most the number of features)
    """

    low: float
    high: float
    scales: tuple[tuple[int, float, Estimate, Estimate], ...]
    open_above: bool
    rows: int
    duplicates: int
    ambient: int

    @property
    def centre(self) -> float:
        """Median over scales and estimators."""
        return float(np.median([estimate.value for *_, ratios, pairs in self.scales for estimate in (ratios, pairs)]))

    def to_dict(self) -> dict:
        return {
            "low": self.low,
            "high": self.high,
            "centre": self.centre,
            "open_above": self.open_above,
            "rows": self.rows,
            "duplicates": self.duplicates,
            "ambient": self.ambient,
            "scales": [[k, r, ratios.to_dict(), pairs.to_dict()] for k, r, ratios, pairs in self.scales],
        }

    def __str__(self) -> str:
        upper = f"{self.high:.1f}" + (" or more" if self.open_above else "")
        lines = [
            f"Intrinsic dimension {self.low:.1f} to {upper} ({self.rows} rows in {self.ambient} dimensions"
            + (f", {self.duplicates} duplicates left out)" if self.duplicates else ")"),
            f"  {'neighbours':>10} {'distance':>10} {'from ratios':>18} {'from pairs':>18}",
        ]
        lines += [f"  {k:>10} {r:>10.3g} {ratios!s:>18} {pairs!s:>18}" for k, r, ratios, pairs in self.scales]
        return "\n".join(lines)

    __repr__ = __str__


def intrinsic_dimension(x: np.ndarray, seed: int = 0) -> IntrinsicDimension:
    """The bracket of inputs x (P, d), from at most 3000 rows.

    Errors: `BadData` for fewer than 100 distinct rows, numbers that are not finite, or points on a lattice.

    >>> angle = np.random.default_rng(0).uniform(0, 2 * np.pi, 500)
    >>> found = intrinsic_dimension(np.stack([np.cos(angle), np.sin(angle), 0 * angle], axis=1))
    >>> 0.85 < found.low < 1 < found.high < 1.15, found.ambient
    (True, 2)
    """
    x = numbers(x, "x", WHERE)
    if x.ndim != 2 or not x.size or not np.isfinite(x).all():
        raise BadData(
            f"inputs of shape {x.shape}", where=WHERE, remedy="give a matrix (rows, features) of finite numbers"
        )
    rng = np.random.default_rng(whole(seed, "seed", WHERE))
    if len(x) > MOST_ROWS:
        x = x[rng.permutation(len(x))[:MOST_ROWS]]
    x = x / (unit := _power_of_two(x))
    x = x - x.mean(0)
    squared = _squared_distances(x)
    first = _distinct(squared, SAME * 4 * (x**2).sum(1).max(initial=0.0))
    rows, duplicates = int(first.sum()), int((~first).sum())
    if rows < FEWEST_ROWS:
        found = f"{rows} distinct rows" + (f" among {len(x)}" if duplicates else "")
        raise BadData(found, where=WHERE, remedy=f"give at least {FEWEST_ROWS} rows that differ")
    squared = squared[np.ix_(first, first)]
    np.fill_diagonal(squared, np.inf)
    most = min(2 * LARGEST_SCALE, 2 * rows // SHARE)
    nearest = np.sort(np.partition(squared, most - 1, axis=1)[:, :most], axis=1)
    part = rng.permutation(rows) % PARTS
    scales = []
    k = 1
    while 2 * k <= most:
        inner, outer = nearest[:, k - 1], nearest[:, 2 * k - 1]
        if (outer <= inner * (1 + 1e-9)).mean() <= TIES:
            radius = float(np.median(inner))
            pairs = _pairs(squared, radius, part)
            if pairs is not None:
                scales.append((k, unit * float(np.sqrt(radius)), _ratios(inner, outer, k, part), pairs))
        k *= 2
    if not scales:
        raise BadData(
            "most distances to neighbours are equal", where=WHERE, remedy="points on a lattice have no such dimension"
        )
    values = np.array([[e.value - e.error, e.value + e.error] for *_, ratios, pairs in scales for e in (ratios, pairs)])
    singular = np.linalg.svd(x, compute_uv=False)
    ambient = int((singular > 1e-10 * singular[0]).sum())
    low = float(values[:, 0].min())
    high = max(float(values[:, 1].max()), min(_at_zero_distance(scales), float(ambient)))
    return IntrinsicDimension(
        low=max(low, 0.0),
        high=high,
        scales=tuple(scales),
        open_above=bool(high > 2 * np.log10(rows)),
        rows=rows,
        duplicates=duplicates,
        ambient=ambient,
    )


def _at_zero_distance(scales):
    """Upper end of a straight line through the estimates over distance, at zero; 0 unless they clearly fall."""
    points = np.array([(r, e.value, e.error) for _, r, *both in scales for e in both if np.isfinite(e.error)])
    if len(scales) < 3:
        return 0.0
    r, value, error = points.T
    r = r / r.max()
    weight = 1 / np.maximum(error, 0.01 * value) ** 2
    design = np.stack([np.ones(len(r)), r], axis=1)
    inverse = np.linalg.inv((design * weight[:, None]).T @ design)
    start, slope = inverse @ (design.T @ (weight * value))
    misfit = max(float(weight @ (value - start - slope * r) ** 2) / (len(r) - 2), 1.0)
    start_error, slope_error = np.sqrt(np.diag(inverse) * misfit)
    return float(start + start_error) if slope < -2 * slope_error else 0.0


def _ratios(inner, outer, k, part):
    log_ratio = np.log(outer / inner) / 2
    scale = float(digamma(2 * k) - digamma(k))
    apart = [scale / log_ratio[part == p].mean() for p in range(PARTS)]
    return Estimate(scale / float(log_ratio.mean()), float(np.std(apart, ddof=1) / np.sqrt(PARTS)))


def _pairs(squared, radius, part):
    one, other = np.nonzero(squared < radius)
    counts = np.bincount(one, minlength=len(squared))
    logs = np.bincount(one, np.log(squared[one, other] / radius) / 2, minlength=len(squared))
    if not counts.any():  # all distances that small are equal
        return None
    # a subset without pairs says nothing; with one and more the mean of 1/d is without bias
    apart = [-counts[part == p].sum() / logs[part == p].sum() for p in range(PARTS) if logs[part == p].sum() < 0]
    error = np.std(apart, ddof=1) / np.sqrt(len(apart)) if len(apart) > 1 else np.inf
    return Estimate(float(-counts.sum() / logs.sum()), float(error))


def _power_of_two(x):
    """A unit in which the largest entry is about 1 and no digit changes: squares of entries are taken."""
    largest = float(np.abs(x).max())
    return 2.0 ** np.floor(np.log2(largest)) if largest > 0 else 1.0


def _squared_distances(x):
    norms = (x**2).sum(1)
    return np.maximum(norms[:, None] + norms - 2 * x @ x.T, 0.0)


def _distinct(squared, least):
    """Mask of rows that equal no earlier one."""
    same = squared <= least
    np.fill_diagonal(same, True)
    return same.argmax(1) == np.arange(len(squared))
