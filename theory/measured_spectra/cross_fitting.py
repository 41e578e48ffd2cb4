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

from ..arguments import number, numbers, whole
from ..errors import BadData, Underpowered
from .fitted_levels import fitted_levels
from .path_exponents import capacity, halved_kappa, target_exponent
from .ridge_path import RidgePath, path_sizes, trace_path
from .spectrum import WHERE, Spectrum, columns, gram_matrix

LEAST_EXPLAINED = 0.1  # share of the held-out power that some ridge must explain
MOST_ROWS = 2000


def in_sample(
    kernel: Callable | np.ndarray, x: np.ndarray, y: np.ndarray, seed: int = 0, groups: np.ndarray | None = None
) -> Spectrum:
    """The spectrum from all rows: each row (or group of rows) is judged by the fit to all others, in closed form.

    With G = (K + delta)^-1 the held-out residuals of group g are (G_gg)^-1 (G y)_g: no fit is repeated. Errs towards
    steep curves where rows have near copies; the partner of `cross_fit` in a forecast (`partner` has it at no cost).
    Errors: `BadData` for shapes, numbers that are not finite, a target that is zero, and a kernel of rank below 2.

    >>> x = np.random.default_rng(0).standard_normal((60, 20))
    >>> in_sample(x @ x.T, x, x[:, 0]).explained > 0.9
    True
    """
    x, y, groups, left_out = _at_most(kernel, x, y, groups, seed)
    gram = gram_matrix(kernel, x)
    path = _left_out(gram, y, groups, seed)
    return _spectrum(path, "in sample", gram, path, groups, {"rows_left_out": left_out})


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
    `BadData` as for `in_sample`, for a constant target, a fraction beyond 0 to 1 or too few rows; `Underpowered` if no
    ridge explains the held-out target.

    >>> x = np.random.default_rng(0).standard_normal((60, 20))
    >>> cross_fit(x @ x.T, x, x[:, 0]).facts["splits"]
    5
    """
    splits, fraction = whole(splits, "splits", WHERE, least=1), number(fraction, "fraction", WHERE, above=True)
    x, y, groups, left_out = _at_most(kernel, x, y, groups, seed)
    if not fraction < 1:
        raise BadData(f"fraction {fraction:g}", where=WHERE, remedy="give one between 0 and 1, say 0.8")
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
        paths.append(trace_path(block, y[fit], sizes, gram[np.ix_(~fit, fit)], y[~fit]))
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
    facts = {"splits": splits, "fraction": fraction, "rows_left_out": left_out}
    return _spectrum(mean, "cross-fitted", gram, _left_out(gram, y, groups, seed), groups, facts)


def partner(spectrum: Spectrum) -> Spectrum:
    """The in-sample spectrum of the rows of a cross-fitted one; no matrix is decomposed again.

    Errors: `BadData` for spectra that were not estimated from rows.

    >>> x = np.random.default_rng(0).standard_normal((60, 20))
    >>> same, whole = partner(cross_fit(x @ x.T, x, x[:, 0])), in_sample(x @ x.T, x, x[:, 0])
    >>> same.method, bool(np.array_equal(same.power, whole.power)), same.capacity == whole.capacity
    ('in sample', True, True)
    """
    path = spectrum.left_out
    if path is None:
        raise BadData("no path of all rows", where="in-sample spectrum", remedy="give a cross_fit spectrum")
    eigenvalues, multiplicities, power, misfit = fitted_levels(path)
    kept = {name: value for name, value in spectrum.facts.items() if name not in ("splits", "fraction")}
    return replace(
        spectrum,
        eigenvalues=eigenvalues,
        multiplicities=multiplicities,
        power=power,
        method="in sample",
        resolved=float(path.sizes[-1]),
        explained=path.explained,
        path=path,
        facts={**kept, "misfit": misfit},
    )


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
    often = numbers(weights, "weights", WHERE)
    if not (often >= 0).all() or not 0 < often.sum() < np.inf:
        raise BadData(
            "weights of the groups", where="resampled spectrum", remedy="give how often each is drawn, from 0"
        )
    drawn = replace(path, unlearned=path.unlearned * (often @ path.shares), shares=None)
    near = (spectrum.eigenvalues, spectrum.multiplicities, spectrum.power)
    eigenvalues, multiplicities, power, _ = fitted_levels(drawn, near)
    return replace(spectrum, eigenvalues=eigenvalues, multiplicities=multiplicities, power=power, path=drawn)


def _left_out(gram, y, groups, seed):
    """The path of all rows, each row or group judged by the fit to all others."""
    if groups is not None and len(np.unique(groups)) < 2:
        raise BadData("all rows are in one group", where="spectrum", remedy="give at least two independent groups")
    if not y.any():
        raise BadData("the target is zero", where="spectrum", remedy="give a target that varies")
    sizes = path_sizes(len(gram), gram)
    path = trace_path(gram, y, sizes, groups=np.arange(len(gram)) if groups is None else groups)
    return replace(path, halved=halved_kappa(gram, sizes, groups, seed))


def _spectrum(path, method, gram, left_out, groups, facts):
    eigenvalues, multiplicities, power, misfit = fitted_levels(path)
    return Spectrum(
        eigenvalues,
        power,
        multiplicities,
        method=method,
        samples=len(gram),
        resolved=float(path.sizes[-1]),
        capacity=capacity(left_out, len(gram)),
        target_exponent=target_exponent(left_out, len(gram)),
        explained=path.explained,
        path=path,
        left_out=left_out,
        facts={**facts, "grouped": groups is not None, "misfit": misfit},
    )


def _partition(rows, fraction, groups, rng):
    """Mask of rows to fit on; whole groups when there are any."""
    fit = np.zeros(rows, bool)
    if groups is None:
        chosen = int(fraction * rows)
        if not 0 < chosen < rows:
            raise BadData(f"{rows} rows, {chosen} to fit on", where="cross-fitted spectrum", remedy="give more rows")
        fit[rng.permutation(rows)[:chosen]] = True
        return fit
    names, counts = np.unique(groups, return_counts=True)
    order = rng.permutation(len(names))
    chosen = order[np.cumsum(counts[order]) <= fraction * rows]
    if len(chosen) == 0 or len(chosen) == len(names):
        raise BadData(f"{len(names)} groups", where="cross-fitted spectrum", remedy="give at least five groups")
    return np.isin(groups, names[chosen])


def _at_most(kernel, x, y, groups, seed):
    """Checked columns, at most MOST_ROWS rows drawn at random: an eigendecomposition costs the cube of their number."""
    x, y = np.asarray(x), columns(x, y)
    groups = None if groups is None else np.asarray(groups)
    if groups is not None and groups.shape != (len(x),):
        raise BadData(f"groups {groups.shape} of {len(x)} rows", where=WHERE, remedy="name the group of every row")
    rng = np.random.default_rng(whole(seed, "seed", WHERE))
    if len(x) <= MOST_ROWS or not callable(kernel):
        return x, y, groups, 0
    rows = np.sort(rng.permutation(len(x))[:MOST_ROWS])
    return x[rows], y[rows], None if groups is None else groups[rows], len(x) - MOST_ROWS
