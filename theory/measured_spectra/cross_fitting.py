"""The spectrum of a kernel on the user's data, and the target's power in it, cross-fitted.

Eigenvectors of a Gram matrix are poor estimates of eigenfunctions, but nothing needs them one by one. The ridge path
(`ridge_path`) gives degrees of freedom and unlearned power of the target as functions of the effective ridge;
a spectrum of levels is fitted that has them:

    n(kappa) = sum m_k lambda_k / (lambda_k + kappa),    D(kappa) = sum v_k (kappa / (lambda_k + kappa))^2.

References: Bordelon, Canatar, Pehlevan 2020 (arXiv:2002.02561); Simon et al. 2021 (arXiv:2110.03922); El Karoui 2008
(arXiv:math/0609418) for spectra fitted through such integrals.
"""

from collections.abc import Callable
from dataclasses import replace

import numpy as np

from ..errors import BadData, Underpowered
from .estimate import Estimate
from .fitted_levels import fitted_levels
from .ridge_path import RidgePath, path_sizes, trace_path
from .spectrum import FIRST_RANK, LAST_SHARE, Spectrum, columns, gram_matrix

LEAST_EXPLAINED = 0.1  # share of the held-out power that some ridge must explain
MOST_ROWS = 2000


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
    y = columns(x, y)
    x, y, groups, left_out = _at_most(kernel, x, y, groups, seed)
    gram = gram_matrix(kernel, x)
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
    y = columns(x, y)
    x, y, groups, left_out = _at_most(kernel, x, y, groups, seed)
    if not y.std(0).any():
        raise BadData("the target is constant", where="cross-fitted spectrum", remedy="give a target that varies")
    gram = gram_matrix(kernel, x)
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


def _at_most(kernel, x, y, groups, seed):
    """At most MOST_ROWS rows, drawn at random: an eigendecomposition costs the cube of their number."""
    x = np.asarray(x)
    if len(x) <= MOST_ROWS or not callable(kernel):
        return x, y, groups, 0
    rows = np.sort(np.random.default_rng(seed).permutation(len(x))[:MOST_ROWS])
    return x[rows], y[rows], None if groups is None else np.asarray(groups)[rows], len(x) - MOST_ROWS
