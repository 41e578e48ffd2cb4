"""The spectrum of a kernel on the user's data, and the target's power in it, cross-fitted.

Eigenvectors of a Gram matrix are poor estimates of eigenfunctions, but nothing needs them one by one. The ridge path
(`ridge_path`) gives degrees of freedom and unlearned power of the target as functions of the effective ridge;
a spectrum of levels is fitted that has them:

    n(kappa) = sum m_k lambda_k / (lambda_k + kappa),    D(kappa) = sum v_k (kappa / (lambda_k + kappa))^2.

References: Bordelon, Canatar, Pehlevan 2020 (arXiv:2002.02561); Simon et al. 2021 (arXiv:2110.03922); El Karoui 2008
(arXiv:math/0609418) for spectra fitted through such integrals.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from ..errors import BadData, Underpowered
from .fitted_levels import fitted_levels
from .ridge_path import RidgePath, path_sizes, trace_path

FIRST_RANK = 10  # ranks below are not asymptotic
LAST_SHARE = 5  # ranks above samples / LAST_SHARE are not resolved
ASYMPTOTIC_DECADES = 1.3
LOCAL_DECADES = 1.0
LEAST_EXPLAINED = 0.1  # share of the held-out power that some ridge must explain
MOST_ROWS = 2000
EXACT = 256  # modes of a tail that are kept one by one before it becomes an integral


@dataclass(frozen=True)
class Estimate:
    """A number and its error.

    >>> print(Estimate(1.5, 0.04))
    1.500 +- 0.040
    """

    value: float
    error: float

    def __str__(self) -> str:
        return f"{self.value:.3f} +- {self.error:.3f}"

    def to_dict(self) -> dict:
        return {"value": self.value, "error": self.error}


@dataclass(frozen=True)
class PowerLawTail:
    """Modes k > `start` continuing as eigenvalue (k/start)^-capacity, with total target power `power`.

    The power falls as k^-target_exponent. `levels()` turns the infinite tail into a short quadrature: nodes with
    multiplicities, exact to about 1e-5 of the tail's own sums.

    >>> tail = PowerLawTail(start=100, eigenvalue=1e-3, capacity=2.0, power=0.3, target_exponent=1.5)
    >>> lam, count, power = tail.levels()
    >>> float((lam * count).sum()).__round__(6), float(power.sum()).__round__(12)
    (0.099502, 0.3)
    """

    start: int
    eigenvalue: float
    capacity: float
    power: float = 0.0
    target_exponent: float = 2.0

    def __post_init__(self):
        if not (self.capacity > 1 and self.target_exponent > 1 and self.start >= 1):
            raise BadData(
                f"capacity {self.capacity:g}, target exponent {self.target_exponent:g}, start {self.start}",
                where="power-law tail",
                remedy="both exponents must exceed 1 for finite sums, and start must be at least 1",
            )

    def levels(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Eigenvalues, multiplicities and power (levels,) of the quadrature."""
        near = np.arange(self.start + 1.0, self.start + EXACT + 1)
        first = np.log(self.start + EXACT + 0.5)  # a sum over k > K is the integral from K + 1/2, to second order
        decades = min(16 / min(self.capacity - 1, self.target_exponent - 1), 120.0)
        edges = np.linspace(first, first + decades * np.log(10), int(4 * decades) + 2)
        nodes, weights = np.polynomial.legendre.leggauss(6)
        half = np.diff(edges)[:, None] / 2
        far = (edges[:-1, None] + half * (nodes + 1)).ravel()
        log_k = np.concatenate([np.log(near), far])
        count = np.concatenate([np.ones(EXACT), (half * weights).ravel() * np.exp(far)])
        power = count * np.exp(-self.target_exponent * (log_k - log_k[0]))
        eigenvalues = self.eigenvalue * np.exp(-self.capacity * (log_k - np.log(self.start)))
        return eigenvalues, count, self.power * power / power.sum()


@dataclass(frozen=True, eq=False)
class Spectrum:
    """Levels of a kernel operator, eigenvalues lambda_k of E[k(x, x') f(x')], with multiplicities and target power.

    `eigenvalues`, `multiplicities`, `power` (levels,): power is summed over the modes of a level and over outputs
    `noise`           target power that no mode holds
    `samples`         rows it was estimated from; `resolved`: the largest sample size it speaks for
    `capacity`        lambda_k ~ k^-capacity;  `target_exponent`: power of mode k ~ k^-target_exponent (None: refused)
    `decades`         of ranks the exponents are read from: [10, samples / 5]
    `facts`           systematic and statistical parts, splits, misfit of the levels, rows left out
    """

    eigenvalues: np.ndarray
    power: np.ndarray
    multiplicities: np.ndarray
    noise: float = 0.0
    method: str = ""
    samples: int = 0
    resolved: float = 0.0
    capacity: Estimate | None = None
    target_exponent: Estimate | None = None
    explained: float = 1.0
    path: RidgePath | None = None
    facts: Mapping[str, Any] = field(default_factory=dict)

    @property
    def decades(self) -> float:
        return float(np.log10(max(self.samples / (FIRST_RANK * LAST_SHARE), 1.0)))

    def data_exponent(self) -> Estimate:
        """Asymptotic exponent of the test error in n, min(target_exponent - 1, 2 capacity), noise-free and ridgeless.

        Errors: `Underpowered` with fewer than 1.3 decades of resolved ranks, or when most power is unresolved.
        """
        if self.decades < ASYMPTOTIC_DECADES:
            raise Underpowered(
                f"{self.samples} samples resolve {self.decades:.2f} decades of the spectrum, 1.3 are needed",
                where="asymptotic exponent",
                remedy=f"give {round(50 * 10**ASYMPTOTIC_DECADES)} samples, or use the local slope",
            )
        if self.explained < 0.5 or self.capacity is None or self.target_exponent is None:
            raise Underpowered(
                f"only {self.explained:.0%} of the target's power is explained on held-out rows",
                where="asymptotic exponent",
                remedy="the rest may be noise or a slow tail; use the local slope, or give more samples",
            )
        source = Estimate(self.target_exponent.value - 1, self.target_exponent.error)
        saturated = Estimate(2 * self.capacity.value, 2 * self.capacity.error)
        return min(source, saturated, key=lambda estimate: estimate.value)

    def slope_scatter(self, sizes: Sequence[float] | np.ndarray) -> float:
        """Jackknife error of the curve's slope over `sizes`, or over what of them is resolved (a factor 3 at least).

        From one draw of rows, or groups of rows, to the next. Errors: `BadData` where no row was left out in turn.
        """
        if self.path is None:
            return 0.0
        last = min(sizes[-1], self.resolved)
        return self.path.slope_scatter((min(sizes[0], last / 3), last))

    def to_dict(self) -> dict:
        return {
            "method": self.method,
            "samples": self.samples,
            "resolved": self.resolved,
            "decades": self.decades,
            "explained": self.explained,
            "noise": self.noise,
            "capacity": self.capacity and self.capacity.to_dict(),
            "target_exponent": self.target_exponent and self.target_exponent.to_dict(),
            "eigenvalues": self.eigenvalues.tolist(),
            "multiplicities": self.multiplicities.tolist(),
            "power": self.power.tolist(),
            "facts": dict(self.facts),
        }

    def __str__(self) -> str:
        lines = [
            f"Spectrum ({self.method}, {self.samples} samples, {self.decades:.2f} decades of ranks)",
            f"  capacity         {self.capacity or 'not estimated'}",
            f"  target exponent  {self.target_exponent or 'not estimated'}",
            f"  explained power  {self.explained:.1%}",
            f"  speaks for n <=  {self.resolved:.0f}",
        ]
        return "\n".join(lines)


def finite_population(kernel: Callable | np.ndarray, x: np.ndarray, y: np.ndarray) -> Spectrum:
    """The exact spectrum when the given rows are the whole population: eigenvalues of K/N, power (u.y)^2/N.

    `kernel` is a callable or the Gram matrix (N, N). Predicts regression on n << N rows tested on all N; trust it for
    n <= N/4 and a ridge of at least 0.1, because test rows are then still mostly unseen.

    >>> spectrum = finite_population(np.diag([4.0, 2.0]), np.eye(2), np.array([1.0, 3.0]))
    >>> spectrum.eigenvalues, spectrum.power
    (array([2., 1.]), array([0.5, 4.5]))
    """
    y = _columns(x, y)
    gram = _gram(kernel, x)
    values, vectors = np.linalg.eigh(gram / len(gram))
    power = ((vectors.T @ y) ** 2).sum(1) / len(gram)
    keep = values > len(gram) * np.finfo(float).eps * values[-1]
    order = np.flatnonzero(keep)[::-1]
    return Spectrum(
        values[order],
        power[order],
        np.ones(len(order)),
        noise=float(power[~keep].sum()),
        method="finite population",
        samples=len(gram),
        resolved=len(gram) / 4,
        facts={"rank": len(order)},
    )


def in_sample(
    kernel: Callable | np.ndarray, x: np.ndarray, y: np.ndarray, seed: int = 0, groups: np.ndarray | None = None
) -> Spectrum:
    """The spectrum from all rows: each row (or group of rows) is judged by the fit to all others, in closed form.

    With G = (K + delta)^-1 the held-out residuals of group g are (G_gg)^-1 (G y)_g: no fit is repeated. Errs towards
    steep curves where rows have near copies; the partner of `cross_fit` in a forecast.

    >>> x = np.random.default_rng(0).standard_normal((60, 20))
    >>> in_sample(x @ x.T, x, x[:, 0]).explained > 0.9
    True
    """
    y = _columns(x, y)
    x, y, groups, left_out = _at_most(kernel, x, y, groups, seed)
    gram = _gram(kernel, x)
    sizes = path_sizes(len(gram), gram)
    kappa, unlearned, shares = trace_path(gram, y, sizes, groups=np.arange(len(gram)) if groups is None else groups)
    path = RidgePath(sizes, kappa, unlearned, float((y**2).sum(1).mean()), shares)
    return _spectrum(path, "in sample", len(gram), [path], {"rows_left_out": left_out, "grouped": groups is not None})


def cross_fit(
    kernel: Callable | np.ndarray,
    x: np.ndarray,
    y: np.ndarray,
    seed: int = 0,
    fraction: float = 0.8,
    groups: np.ndarray | None = None,
    splits: int = 5,
) -> Spectrum:
    """The spectrum with the target's power cross-fitted: fitted on `fraction` of the rows, judged on the rest.

    Averages over `splits` random partitions; `groups` (P,) are never divided between the two parts. Errors:
    `BadData` for a constant target or too few rows, `Underpowered` if no ridge explains the held-out target.

    >>> x = np.random.default_rng(0).standard_normal((60, 20))
    >>> cross_fit(x @ x.T, x, x[:, 0]).facts["splits"]
    5
    """
    y = _columns(x, y)
    x, y, groups, left_out = _at_most(kernel, x, y, groups, seed)
    if not y.std(0).any():
        raise BadData("the target is constant", where="cross-fitted spectrum", remedy="give a target that varies")
    gram = _gram(kernel, x)
    parts = [_partition(len(gram), fraction, groups, np.random.default_rng([seed, i])) for i in range(splits)]
    fewest = min(int(fit.sum()) for fit in parts)
    fitted = [np.flatnonzero(fit) for fit in parts]
    rank_block = gram[np.ix_(fitted[0], fitted[0])]
    sizes = path_sizes(fewest, rank_block)
    paths = []
    for fit in parts:
        block = gram[np.ix_(fit, fit)]
        kappa, unlearned, _ = trace_path(block, y[fit], sizes, gram[np.ix_(~fit, fit)], y[~fit])
        paths.append(RidgePath(sizes, kappa, unlearned, float((y[~fit] ** 2).sum(1).mean())))
    mean = RidgePath(
        sizes,
        np.exp(np.mean([np.log(path.kappa) for path in paths], axis=0)),
        np.mean([path.unlearned for path in paths], axis=0),
        float(np.mean([path.total for path in paths])),
    )
    if mean.explained < LEAST_EXPLAINED:
        raise Underpowered(
            f"no ridge explains more than {max(mean.explained, 0):.0%} of the target's power on held-out rows",
            where="cross-fitted spectrum",
            remedy="the target is dominated by noise for this kernel: give more samples or another kernel",
        )
    facts = {"splits": splits, "fraction": fraction, "rows_left_out": left_out, "grouped": groups is not None}
    return _spectrum(mean, "cross-fitted", len(gram), paths, facts)


def resampled(spectrum: Spectrum, weights: np.ndarray) -> Spectrum:
    """The same spectrum had the independent rows or groups been drawn `weights` (groups,) times: power refitted.

    Only for `in_sample` spectra, which keep the share of every group in the error. Errors: `BadData` for others.

    >>> x = np.random.default_rng(0).standard_normal((60, 20))
    >>> spectrum = in_sample(x @ x.T, x, x[:, 0])
    >>> bool(np.allclose(resampled(spectrum, np.ones(60)).power.sum(), spectrum.power.sum()))
    True
    """
    path = spectrum.path
    if path is None or path.shares is None or len(path.shares) != len(weights):
        raise BadData("no share of each group", where="resampled spectrum", remedy="give an in_sample spectrum")
    drawn = replace(path, unlearned=path.unlearned * (np.asarray(weights, float) @ path.shares), shares=None)
    near = (spectrum.eigenvalues, spectrum.multiplicities, spectrum.power)
    eigenvalues, multiplicities, power, _ = fitted_levels(drawn, near)
    return replace(spectrum, eigenvalues=eigenvalues, multiplicities=multiplicities, power=power, path=drawn)


def _spectrum(path, method, samples, paths, facts):
    eigenvalues, multiplicities, power, misfit = fitted_levels(path)
    capacity, target = _exponents(path, paths, samples)
    return Spectrum(
        eigenvalues,
        power,
        multiplicities,
        method=method,
        samples=samples,
        resolved=float(path.sizes[-1]),
        capacity=capacity,
        target_exponent=target,
        explained=path.explained,
        path=path,
        facts={**facts, "misfit": misfit},
    )


def _exponents(path, paths, samples):
    """Capacity and target exponent over ranks [10, samples/5]; error: window systematic and split spread.

    kappa ~ (n + 1/2)^-capacity is exact to 1e-6 for a pure power law, and D ~ (n + 1/2)^-(target_exponent - 1).
    """
    windows = [(FIRST_RANK * f, samples / LAST_SHARE / g) for f, g in ((1, 1), (1, 2), (2, 1), (0.5, 2))]

    def slopes(which, window):
        inside = (which.sizes >= window[0]) & (which.sizes <= window[1])
        if inside.sum() < 3:
            return None
        x = np.log(which.sizes[inside] + 0.5)
        return [-np.polyfit(x, np.log(y[inside]), 1)[0] for y in (which.kappa, which.unlearned)]

    centre = slopes(path, windows[0])
    if centre is None:
        return None, None
    around = np.array([s for s in (slopes(path, window) for window in windows) if s is not None])
    systematic = np.ptp(around, axis=0) / 2
    # parts of 80 % scatter half as much as independent samples of the full size would: var * b / (n - b)
    statistical = 2 * np.std([slopes(p, windows[0]) for p in paths], axis=0) if len(paths) > 1 else np.zeros(2)
    error = np.hypot(systematic, statistical)
    return Estimate(float(centre[0]), float(error[0])), Estimate(float(1 + centre[1]), float(error[1]))


def _partition(rows, fraction, groups, rng):
    """Mask of rows to fit on; whole groups when there are any."""
    fit = np.zeros(rows, bool)
    if groups is None:
        fit[rng.permutation(rows)[: int(fraction * rows)]] = True
        return fit
    names, counts = np.unique(groups, return_counts=True)
    order = rng.permutation(len(names))
    chosen = order[np.cumsum(counts[order]) <= fraction * rows]
    if len(chosen) == 0 or len(chosen) == len(names):
        raise BadData(f"{len(names)} groups", where="cross-fitted spectrum", remedy="give at least five groups")
    return np.isin(groups, names[chosen])


def _columns(x, y):
    y = np.asarray(y, float)
    y = y[:, None] if y.ndim == 1 else y
    if len(x) != len(y):
        raise BadData(f"{len(x)} inputs but {len(y)} targets", where="spectrum", remedy="give one target per row")
    return y


def _gram(kernel, x):
    gram = np.asarray(kernel(x) if callable(kernel) else kernel, float)
    if gram.shape != (len(x), len(x)):
        raise BadData(f"kernel matrix of shape {gram.shape} for {len(x)} rows", remedy="give an (N, N) matrix")
    return gram


def _at_most(kernel, x, y, groups, seed):
    """At most MOST_ROWS rows, drawn at random: an eigendecomposition costs the cube of their number."""
    x = np.asarray(x)
    if len(x) <= MOST_ROWS or not callable(kernel):
        return x, y, groups, 0
    rows = np.sort(np.random.default_rng(seed).permutation(len(x))[:MOST_ROWS])
    return x[rows], y[rows], None if groups is None else np.asarray(groups)[rows], len(x) - MOST_ROWS
