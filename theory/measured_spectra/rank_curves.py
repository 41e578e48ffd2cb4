"""Rank curves of eigenvalues, fitted through the effective ridge they imply.

For eigenvalues lambda(k), k > 1/2, up to a factor that only shifts log kappa,

    n = int dk / (1 + kappa(n) / lambda(k)),

and log kappa(n) of every curve is fitted to a measured one by generalised least squares, the factor eliminated. A power
law has kappa ~ (n + 1/2)^-b; a sharp break in lambda is a bend over a decade in kappa.

Reference: Simon et al. 2021 (arXiv:2110.03922) for the effective ridge.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

import numpy as np
from scipy.optimize import least_squares

NODES = 240  # of the integral over ranks
BEYOND = 1e4  # ranks to this many times the largest size
FLATTEST, STEEPEST = 1.01, 40.0  # local exponents: kappa cannot fall more slowly than 1/n


@dataclass(frozen=True)
class CurveFit:
    """chi^2 of a curve, its number of unknowns with the factor, and its parameters."""

    chi2: float
    unknowns: int
    parameters: tuple[float, ...]

    @property
    def criterion(self) -> float:
        return self.chi2 + 2 * self.unknowns


def effective_ridge(log_eigenvalue: Callable[[np.ndarray], np.ndarray], sizes: np.ndarray) -> np.ndarray:
    """log kappa (T,) at `sizes` of eigenvalues exp(log_eigenvalue(k)), falling at least as 1/k beyond the sizes.

    >>> sizes = np.array([10.0, 100.0])
    >>> log_kappa = effective_ridge(lambda k: -2 * np.log(k), sizes)
    >>> np.round(np.diff(log_kappa) / np.diff(np.log(sizes + 0.5)), 3)
    array([-2.])
    """
    log_k = np.linspace(np.log(0.5), np.log(BEYOND * sizes[-1]), NODES)
    height = log_eigenvalue(np.exp(log_k))
    weight = np.exp(log_k) * (log_k[1] - log_k[0])
    weight[[0, -1]] /= 2
    found = np.interp(np.log(sizes), log_k, height)
    low, high = height[-1] - 50.0, height[0] + 20.0
    for _ in range(40):
        learned = 1 / (1 + np.exp(np.clip(found[:, None] - height, -700, 700)))
        # log n is between 0 and 1 as steep as -log kappa: Newton, never further than a factor e^3
        n, slope = learned @ weight, (learned * (1 - learned)) @ weight
        step = np.clip((n - sizes) / np.maximum(slope, 1e-3 * n), -3, 3)
        found = np.clip(found + step, low, high)
        if np.abs(step).max() < 1e-9:
            break
    return found


def fit_curves(
    sizes: np.ndarray, log_kappa: np.ndarray, covariance: np.ndarray, through_ridge: bool = True
) -> Mapping[str, CurveFit]:
    """The best of every curve for log kappa (T,) at `sizes` (T,) with covariance (T, T), by name.

    Without `through_ridge` the curves are fitted as they are, at rank n + 1/2: for power that is left, not for kappa.

    Parameters: "power law" (b,), "exponential" (c,), "stretched exponential" (c, g), "log-normal" (b, c) around the
    middle of the window, "broken" (b, b2, rank).

    >>> sizes = np.geomspace(10, 200, 9)
    >>> fits = fit_curves(sizes, -1.5 * np.log(sizes + 0.5), 1e-4 * np.eye(9))
    >>> min(fits, key=lambda name: fits[name].criterion), round(fits["power law"].parameters[0], 6)
    ('power law', 1.5)
    """
    whitener = np.linalg.inv(np.linalg.cholesky(covariance))
    one = whitener @ np.ones(len(sizes))
    one = one / np.linalg.norm(one)
    middle = float(np.sqrt(sizes[0] * sizes[-1]))
    x = np.log(sizes + 0.5)
    flattest = FLATTEST if through_ridge else 0.0
    slope = float(np.clip(-np.polyfit(x, log_kappa, 1)[0], flattest, STEEPEST))

    def fit(curve, starts, low, high):
        def residuals(parameters):
            found = whitener @ (log_kappa - curve(parameters))
            return found - one * (one @ found)

        fits = [
            least_squares(
                residuals, np.clip(start, low, high), bounds=(low, high), x_scale=np.maximum(np.abs(start), 0.1)
            )
            for start in starts
        ]
        best = min(fits, key=lambda result: result.cost)
        return CurveFit(2 * float(best.cost), 1 + len(best.x), tuple(float(v) for v in best.x))

    def spectrum(log_eigenvalue):
        if not through_ridge:
            return lambda parameters: log_eigenvalue(sizes + 0.5, *parameters)
        return lambda parameters: effective_ridge(lambda k: log_eigenvalue(k, *parameters), sizes)

    slopes = np.diff(log_kappa) / np.diff(x)
    first, last = (float(np.clip(-part.mean(), flattest + 0.01, STEEPEST - 1)) for part in np.array_split(slopes, 2))
    bend = (last - first) / (x[-1] - x[0])
    ends = np.log(sizes[0] / 2), np.log(sizes[-1] * 2)
    breaks = np.exp(np.linspace(np.log(sizes[0]), np.log(sizes[-1]), 5)[1:-1])
    kinks = [(first, last, np.log(rank)) for rank in breaks]
    stretches = [(slope / 0.5, 0.5), (slope, 1.0)]
    bent = spectrum(lambda k, b, c: _log_normal(k, b, c, middle, flattest))
    broken = fit(spectrum(_broken), kinks, (flattest, flattest, ends[0]), (STEEPEST, STEEPEST, ends[1]))
    return {
        "power law": fit(lambda b: -b[0] * x, [(slope,)], (max(flattest - 0.02, 0.0),), (STEEPEST,)),
        "log-normal": fit(bent, [(slope, bend)], (flattest, -3.0), (STEEPEST, 12.0)),
        "exponential": fit(spectrum(lambda k, c: -c * k), [(slope / middle,)], (1e-3 / sizes[-1],), (2.0,)),
        "stretched exponential": fit(
            spectrum(lambda k, c, g: -c * (k / middle) ** g),
            stretches,
            (1e-3, 0.02),
            (1e3, 2.0),
        ),
        "broken": replace(broken, parameters=(*broken.parameters[:2], float(np.exp(broken.parameters[2])))),
    }


def _log_normal(k, b, c, middle, flattest):
    """-b u - c u^2 in u = log(k / middle); beyond a local exponent of `flattest` it goes on with that one."""
    u = np.log(k / middle)
    if c == 0:
        return -b * u
    edge = (flattest - b) / (2 * c)  # where the local exponent b + 2 c u is the flattest
    inside = np.maximum(u, edge) if c > 0 else np.minimum(u, edge)
    return -b * inside - c * inside**2 - flattest * (u - inside)


def _broken(k, b, b2, log_rank):
    u = np.log(k) - log_rank
    return np.where(u < 0, -b * u, -b2 * u)
