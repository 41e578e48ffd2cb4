"""SGD with label noise on linear networks: fresh noise of variance sigma2 on every target at every step, batches of B.

The noise reaches the gradient through the inputs alone, so its covariance is (sigma2 / B) H with H the Gauss-Newton
matrix: exact, anywhere. At a minimum that fits the data H is the Hessian; the weights jitter around it and drift down

    sigma2 / (2 B) sum_h -log(1 - eta h / 2)   =   eta sigma2 / (4 B) tr H   to leading order in eta h.

Exact: the covariance, the trace, the variance of a linear mode. Leading order: the flow along the minima, in eta and in
the noise. Moments of one mode close at depth one only: its update has the degree 2 depth - 1 in the weight. Left out:
the noise of drawing batches, which vanishes at a minimum that fits the targets without their noise.

>>> from ..architecture.network import chain
>>> noisy = label_noise_flow(chain("input", "width", "output"))
>>> print(noisy.observables["curvature"])
output*Trace(W1*Sigma_xx*W1.T) + Trace(W2.T*W2)*Trace(Sigma_xx)
"""

from dataclasses import replace
from functools import cache
from typing import Any

import numpy as np
import sympy as sp

from ..architecture.network import Network
from ..derivation.derive import gradient_flow
from ..derivation.network_flow import SAMPLES, linear_map, moment_definitions, network_flow
from ..derivation.noncommutative import Words, occurrences, symmetric, transpose_word
from ..derivation.probe import evaluate, random_values
from ..dynamics.moments import BATCH, NOISE
from ..errors import LearningMechanicsError
from ..symbols import LEARNING_RATE
from ..system import Flow, Map

_BLANC = "Blanc, Gupta, Valiant & Valiant 2020, arXiv:1904.09080"
_DAMIAN = "Damian, Ma & Lee 2021, arXiv:2106.06530"
_CURVATURE = sp.Symbol("h", positive=True)


def gradient_noise(network: Network) -> dict[Any, Any]:
    """Covariance E n n' (rows) of the label noise n in the gradient of every weight, exactly; in units of sigma2 / B.

    With N = mean of noise x' the gradient of W carries n = left' N right' for every place left W right; B is the batch.
    Errors: `NoClosedForm` for gates or several inputs or outputs.

    >>> from ..architecture.network import chain
    >>> {str(weight): str(noise) for weight, noise in gradient_noise(chain("input", "width", "output")).items()}
    {'W1': 'Trace(Sigma_xx)*W2.T*W2', 'W2': 'Trace(W1*Sigma_xx*W1.T)*I'}
    """
    return {weight: covariance.matrix() for weight, covariance in _noise(network)[0].items()}


def curvature_trace(network: Network) -> Any:
    """Trace of the Gauss-Newton matrix: mean over samples of the squared derivatives of all outputs by all weights."""
    return _trace(_noise(network)[0])


def label_noise_flow(network: Network) -> Flow:
    """Mean motion along the minima: gradient flow on the loss plus eta sigma2 / (4 B) times the trace of the Hessian.

    Parameters besides the moments: eta, sigma2, B. Observables: "loss", "end_to_end", "curvature" (the trace). Valid to
    leading order in eta and sigma2, at minima that fit the data. References: Blanc et al. 2020, arXiv:1904.09080;
    Damian et al. 2021, arXiv:2106.06530.
    """
    plain = network_flow(network)
    covariances, residual = _noise(network)
    curvature = _trace(covariances)
    coefficient = sp.series(penalty(), LEARNING_RATE, 0, 2).removeO() / _CURVATURE
    moved = [weight for weight in plain.unknowns if weight in curvature.free_symbols]
    drift = gradient_flow(coefficient * curvature, on=moved) if moved else Flow((), ())
    added = dict(zip(drift.unknowns, drift.equations, strict=True))
    made = replace(
        plain,
        equations=tuple(
            _added(equation, added.get(weight))
            for weight, equation in zip(plain.unknowns, plain.equations, strict=True)
        ),
    )
    residual_of_drift = drift.trail.steps[-1].residual if moved else 0.0
    trail = (
        plain.trail.then(
            "trace of the Gauss-Newton matrix", curvature, check=f"every derivative: {residual:.1e}", residual=residual
        )
        .then(
            "penalty of a mode of curvature h", penalty(), assumption="a minimum that fits the data", reference=_DAMIAN
        )
        .then(
            "label noise, to leading order in eta",
            made.statement(),
            assumption="small learning rate and noise",
            reference=_BLANC,
            check=f"numerical derivative: {residual_of_drift:.1e}",
            residual=residual_of_drift,
        )
    )
    return replace(made, observables={**plain.observables, "curvature": curvature}, trail=trail)


@cache
def mode_variance() -> Map:
    """Variance c of a linear mode of curvature h under label noise, exactly: w+ = w - eta (h w - n).

    The noise n has the variance sigma2 h / B.

    >>> print(mode_variance().equations[0])
    c*(-eta*h + 1)**2 + eta**2*h*sigma2/B
    """
    variance = sp.Symbol("c", nonnegative=True)
    noise = NOISE * _CURVATURE / BATCH
    return Map((variance,), ((1 - LEARNING_RATE * _CURVATURE) ** 2 * variance + LEARNING_RATE**2 * noise,))


@cache
def penalty() -> Any:
    """What one mode of curvature h adds to the loss of the mean: the integral of half its stationary variance.

    A mode of variance c feels the force -1/2 c grad h of the curvature it sits in. The result holds for all eta h < 2.

    >>> print(sp.series(penalty(), LEARNING_RATE, 0, 3))
    eta*h*sigma2/(4*B) + eta**2*h**2*sigma2/(16*B) + O(eta**3)
    """
    (variance,), (after,) = mode_variance().unknowns, mode_variance().equations
    stationary = sp.solve(after - variance, variance)[0]
    # below the edge eta h < 2; the integral starts at no curvature
    potential = sp.integrate(sp.apart(stationary / 2, _CURVATURE), _CURVATURE)
    bare = -NOISE / (2 * BATCH) * sp.log(1 - LEARNING_RATE * _CURVATURE / 2)
    if sp.simplify(sp.diff(bare - potential, _CURVATURE)) != 0:
        raise LearningMechanicsError("the penalty is not the integral of the force", where="label noise")
    return bare


def _added(force, drift):
    if drift is None:
        return force
    parts = [part for term in (force, drift) for part in (term.args if isinstance(term, sp.MatAdd) else (term,))]
    return sp.MatAdd(*parts)


@cache
def _noise(network: Network) -> tuple[dict[Any, Words], float]:
    """E n n' of every weight as words, and its largest relative difference from all single derivatives."""
    polynomial = linear_map(network)
    Sigma = symmetric("Sigma_xx", polynomial.shape[1])
    covariances = {}
    for weight in network.weights():
        places = [(value, *place) for word, value in polynomial.terms.items() for place in occurrences(word, weight)]
        pairs = [_pair(one, other, Sigma, weight) for one in places for other in places]
        covariances[weight] = Words.of(pairs, (weight.shape[0],) * 2)
    return covariances, _residual(network, covariances)


def _pair(one, other, Sigma, weight):
    """E n n' of two places: N has independent rows of covariance Sigma, and turned places hold right N' left."""
    (a, left, turned, right), (b, other_left, other_turned, other_right) = one, other
    covariance = ((Sigma, False),)
    rows = transpose_word(left) + other_left
    columns = right + covariance + transpose_word(other_right)
    if not turned and not other_turned:
        return rows, a * b * _closed(columns, weight.shape[1])
    if turned and other_turned:
        return columns, a * b * _closed(rows, weight.shape[1])
    if turned:
        return right + covariance + transpose_word(other_right) + transpose_word(left) + other_left, a * b
    return transpose_word(left) + other_left + right + covariance + transpose_word(other_right), a * b


def _closed(word, size):
    """The trace of a word, with what is symmetric read one way."""
    if not word:
        return size
    return sp.Trace(Words({word: sp.S.One}, (size, size)).matrix())


def _trace(covariances) -> Any:
    total = sp.S.Zero
    for covariance in covariances.values():
        for word, value in covariance.terms.items():
            total += value * _closed(word, covariance.shape[0])
    return total


def _residual(network: Network, covariances) -> float:
    definitions = moment_definitions(network)
    output = network.symbolic(str(SAMPLES))
    values = random_values([output, *definitions.values(), *(c.matrix() for c in covariances.values())], seed=4)
    values |= {symbol: evaluate(mean, values) for symbol, mean in definitions.items()}
    worst = 0.0
    for weight, covariance in covariances.items():
        shape = np.shape(values[weight])
        slopes = np.zeros((*shape, np.size(evaluate(output, values))))
        for place in np.ndindex(shape):
            moved = np.array(values[weight], complex)
            moved[place] += 1e-30j
            slopes[place] = np.imag(evaluate(output, {**values, weight: moved})).ravel() / 1e-30
        truth = np.einsum("ija,kja->ik", slopes, slopes) / values[SAMPLES]
        stated = evaluate(covariance.matrix(), values)
        worst = max(worst, float(np.abs(stated - truth).max() / np.abs(truth).max()))
    if not worst < 1e-9:
        raise LearningMechanicsError(f"the noise misses the single derivatives by {worst:.1e}", where="label noise")
    return worst
