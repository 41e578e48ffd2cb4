r"""Power-law random features under one-pass SGD: the equations, derived, for any spectrum, label noise and batch size.

Inputs x have Gaussian modes of variance lambda_j, targets are y = x.w* + z, and W'x with W_ij ~ N(0, 1/d) are the d
features. What no weights on the features can express, r = y - z - (W'x).theta*, is uncorrelated with them, hence (all
is Gaussian) independent of them: it acts as label noise of variance `unresolved`. So in the eigenbasis of the features'
covariance the second moments of `theory.dynamics.moments` close,

    c <- [1 - 2 eta lambda + eta^2 lambda^2 (1 + 1/B)] c + eta^2 lambda / B (sum lambda c + sigma2 + unresolved),

with lambda now the eigenvalues of the features. On average over W they follow from one effective ridge,
kappa (1 - S/d) = y, S = sum lambda/(lambda + kappa).
Reference: Paquette, Paquette, Xiao, Pennington 2024, arXiv:2405.15074.
"""

from functools import cache
from typing import Any

import numpy as np
import sympy as sp

from ..arguments import number, numbers, whole
from ..derivation.assumptions import Closure
from ..dynamics.moments import BATCH, EIGENVALUE, MOMENT, NOISE, affine_parts, gaussian_second_moments, noise_gain
from ..errors import BadData, LearningMechanicsError
from ..regression.effective_ridge import merged
from ..symbols import LEARNING_RATE, STEP, modes, over, positive
from ..system import FixedPoint, Flow, Map
from ..trail import Equations, Trail

PAQUETTE = "Paquette, Paquette, Xiao, Pennington 2024, arXiv:2405.15074"
SILVERSTEIN = "Silverstein & Bai 1995"
UNRESOLVED = sp.Symbol("unresolved", nonnegative=True)
KAPPA, WIDTH, RIDGE = positive("kappa d y")
POWER, COUNT = modes("power multiplicity")
MOST_MODES = 10**8  # an array of them takes 0.8 GB


def power_law(alpha: float, beta: float, count: int) -> tuple[np.ndarray, np.ndarray]:
    """Eigenvalues j^-(2 alpha) and target power j^-(2 alpha + 2 beta), each (count,).

    In terms of other conventions: capacity 2 alpha, target exponent 2 alpha + 2 beta.

    >>> power_law(0.5, 0.5, 2)
    (array([1. , 0.5]), array([1.  , 0.25]))
    """
    where = "power law"
    alpha, count = number(alpha, "alpha", where), whole(count, "count", where, least=1)
    if not np.isfinite(numbers(beta, "beta", where)):
        raise BadData(f"beta {beta}", where=where, remedy="give a finite number")
    if count > MOST_MODES:
        raise BadData(f"{count:.3g} modes", where=where, remedy=f"take {MOST_MODES:.0e} at most")
    j = np.arange(1.0, count + 1)
    return j ** (-2 * alpha), j ** (-2 * alpha - 2 * float(beta))


@cache
def feature_moments() -> Map:
    """Second moments of one-pass SGD on random features, for given features: exact for every width and batch.

    Unknown: c_k = E (theta - theta*)_k^2 in the eigenbasis of the features' covariance. Parameters: its eigenvalues
    lambda, eta, B, sigma2 and `unresolved`. Observable "excess_risk": the loss above the label noise,
    1/2 (sum lambda c + unresolved).

    >>> print(feature_moments().observables["excess_risk"])
    unresolved/2 + over(c*lambda)/2
    """
    plain = gaussian_second_moments()
    residual, variance_gap = _uncorrelated()
    trail = (
        Trail()
        .then(
            "best weights on the features",
            "Sigma theta* = W' D w*,  Sigma = W' D W,  D = diag(lambda)",
            reference=PAQUETTE,
        )
        .then(
            "what they leave is uncorrelated with the features",
            "E W'x (x.w* - (W'x).theta*) = W' D w* - Sigma theta* = 0",
            check="zero, exactly, for 2 features of 3 modes",
            residual=residual,
        )
        .then(
            "uncorrelated Gaussians are independent: it is label noise",
            "unresolved = w*' D w* - w*' D W Sigma^-1 W' D w*",
            assumption="Gaussian features",
            check="the variance of what is left, exactly, for the same case",
            residual=variance_gap,
        )
    )
    noisy = plain.equations[0].subs(NOISE, NOISE + UNRESOLVED)
    loss = plain.observables["excess_risk"] + UNRESOLVED / 2
    found = Map((MOMENT,), (noisy,), observables={"excess_risk": loss}, trail=plain.trail.after(trail, on=(2,)))
    trail = found.trail.then("label noise and what is unresolved", found.statement(), reference=PAQUETTE)
    forcing, kernel, gap = _volterra(found)
    last = len(trail.steps) - 1
    trail = trail.then(
        "forcing of the Volterra equation: loss without noise, above the floor", forcing, parents=(last,)
    )
    trail = trail.then(
        "kernel: noise made by one unit of loss, k steps later",
        kernel,
        parents=(last,),
        reference=PAQUETTE,
        check=f"P(k) = floor + F(k) + sum K(k-1-s) P(s) equals the recursion: {gap:.0e}",
        residual=gap,
    )
    trail = trail.then("sum of the kernel over all steps: stable below 1", noise_gain(plain))
    return Map(found.unknowns, found.equations, observables=found.observables, trail=trail)


@cache
def volterra_equation() -> tuple[Any, Any]:
    """Forcing F(k) and kernel K(k) of P(k) = floor + F(k) + sum_{s<k} K(k-1-s) P(s), P = loss, floor included.

    >>> forcing, kernel = volterra_equation()
    >>> print(kernel.subs(STEP, 0))
    eta**2*over(lambda**2)/B
    """
    forcing, kernel, _ = _volterra(feature_moments())
    return forcing, kernel


@cache
def small_steps() -> Flow:
    """Many modes, none of them fast: time tau = sum of the learning rates, noise in proportion to the present rate.

    The leading terms for eta lambda -> 0 at fixed eta sum lambda. With a schedule, eta is its value at tau: it changes
    the clock, and the noise made per unit of time (functional scaling law).
    Reference: Paquette et al. 2024 (arXiv:2405.15074); Li et al. 2025 (arXiv:2509.19189).

    >>> print(small_steps().equations[0])
    -2*c*lambda + lambda*eta*(sigma2 + unresolved + over(c*lambda))/B
    """
    exact = feature_moments()
    own, shared, weight, source = affine_parts(exact)
    eta = LEARNING_RATE
    drift = sp.expand((own - 1) / eta).subs(eta, 0)  # what is left is smaller by eta lambda in every mode
    noise = sp.factor(sp.expand(shared / eta)) * (over(weight * MOMENT) + sp.cancel(source / shared))
    equation = drift * MOMENT + noise
    trail = exact.trail.then(
        "steps become time tau = sum eta",
        Equations(((MOMENT, equation),), "flow"),
        assumption="small steps",
        reference="Li et al. 2025, arXiv:2509.19189",
        check="dropped: eta lambda^2 (1 + 1/B) c, against 2 lambda c",
    )
    return Flow((MOMENT,), (equation,), observables=exact.observables, trail=trail)


@cache
def features_resolvent() -> FixedPoint:
    """The effective ridge kappa of d random features at a ridge y: the mean resolvent at -y, in all modes at once.

    Parameters: mode arrays `lambda`, `multiplicity` and `power` of the inputs, width `d`, ridge `y` >= 0. Observables:
    "learned" S = int x T(dx)/(x + y), with T the eigenvalues of the features; "missed" the target power that regression
    on the features at ridge y leaves in first order, sum power kappa/(lambda + kappa): at y = 0, `unresolved`.

    >>> print(features_resolvent().equations[0])
    kappa*(1 - over(lambda*multiplicity/(lambda + kappa))/d) - y
    """
    # log det of a sample covariance of d samples is the stationary value of this potential over kappa
    potential = over(COUNT * sp.log(1 + EIGENVALUE / KAPPA)) + WIDTH * sp.log(KAPPA) + WIDTH * RIDGE / KAPPA
    learned = over(COUNT * EIGENVALUE / (EIGENVALUE + KAPPA))
    residual = KAPPA * (1 - learned / WIDTH) - RIDGE
    gap = sp.simplify(merged(sp.expand(KAPPA**2 * potential.diff(KAPPA) / WIDTH)) - merged(sp.expand(residual)))
    if gap != 0:
        raise LearningMechanicsError(f"{gap} is left of the stationarity", where="features_resolvent")
    m = sp.Symbol("m", positive=True)  # the published form: 1/m = 1 + (1/d) sum lambda/(lambda m + y), m = y/kappa
    published = 1 / m - 1 - over(COUNT * EIGENVALUE / (EIGENVALUE * m + RIDGE)) / WIDTH
    ratio = _same_root(residual, published, m)
    trail = (
        Trail()
        .then(
            "E log det(Sigma + y) is stationary in kappa",
            potential,
            assumption=gaussian_features().name,
            reference=SILVERSTEIN,
            check="not provable: measured",
        )
        .then(
            "stationarity: effective ridge",
            Equations(((KAPPA, residual),), "fixed point"),
            check=f"the published fixed point of m = y/kappa has the same root: {ratio:.0e}",
            residual=ratio,
            reference=PAQUETTE,
        )
    )
    return FixedPoint(
        (KAPPA,),
        (residual,),
        observables={"learned": learned, "missed": over(POWER * KAPPA / (EIGENVALUE + KAPPA)), "m": RIDGE / KAPPA},
        trail=trail,
    )


def gaussian_features() -> Closure:
    """Random features and inputs act like independent Gaussians, and the width is large: errors are O(1/d)."""
    return Closure(
        "wide Gaussian features",
        "the spectrum of the features is near its mean: relative error about 1/d",
        reference=PAQUETTE,
        radius=0.05,
        measure=lambda arrays: 1 / float(arrays["d"]) if "d" in arrays else 0.0,
    )


def _uncorrelated() -> tuple[float, float]:
    """The correlation of features and residual, and the gap of two forms of its variance, for 2 features of 3 modes."""
    spectrum, weights = sp.diag(3, 2, 1), sp.Matrix([1, -2, sp.Rational(1, 2)])
    mixing = sp.Matrix([[1, 2], [-1, sp.Rational(1, 3)], [2, 1]])
    covariance, towards = mixing.T * spectrum * mixing, mixing.T * spectrum * weights
    best = covariance.LUsolve(towards)
    left = weights - mixing * best
    correlation = mixing.T * spectrum * left
    direct = (left.T * spectrum * left)[0]
    formula = (weights.T * spectrum * weights)[0] - (towards.T * best)[0]
    if sp.simplify(direct - formula) != 0 or correlation != sp.zeros(2, 1):
        raise LearningMechanicsError("features and residual are correlated", where="feature_moments")
    return float(max(map(abs, correlation))), float(abs(direct - formula))


def _volterra(map_: Map) -> tuple[Any, Any, float]:
    """Forcing and kernel of the loss, and how far the equation is from the recursion over six steps of three modes."""
    own, shared, weight, source = affine_parts(map_)
    floor = sp.cancel(source / shared) / 2  # sources and sums of moments make noise alike
    forcing = over(weight * MOMENT * own**STEP) / 2
    kernel = over(weight * shared * own**STEP)  # 1/2 of the loss and 2 of the noise cancel
    rng = np.random.default_rng(0)
    values = {EIGENVALUE: rng.random(3), MOMENT: rng.random(3)}
    scalars = {LEARNING_RATE: 0.3, BATCH: 2.0, NOISE: 0.1, UNRESOLVED: 0.2}

    def number_(expression: Any, extra: dict, arrays: dict) -> float:
        def summed(summand):
            rows = [dict(zip(arrays, row, strict=True)) for row in zip(*arrays.values(), strict=True)]
            return sum(summand.subs(row) for row in rows)

        return float(sp.sympify(expression).subs({**scalars, **extra}).replace(over, summed))

    fixed = number_(floor, {}, values)
    c, worst = values[MOMENT], 0.0
    losses: list[float] = []
    for k in range(6):
        arrays = {EIGENVALUE: values[EIGENVALUE], MOMENT: c}
        direct = number_(map_.observables["excess_risk"] + NOISE / 2, {}, arrays)
        summed = fixed + number_(forcing, {STEP: k}, values)
        summed += sum(number_(kernel, {STEP: k - 1 - s}, values) * losses[s] for s in range(k))
        losses.append(summed)
        worst = max(worst, abs(summed / direct - 1))
        total = float((values[EIGENVALUE] * c).sum())
        rows = zip(values[EIGENVALUE], c, strict=True)
        affine = own * MOMENT + shared * sp.Symbol("total") + source
        c = np.array(
            [float(affine.subs({**scalars, EIGENVALUE: a, MOMENT: b, sp.Symbol("total"): total})) for a, b in rows]
        )
    if worst > 1e-12:
        raise LearningMechanicsError(f"recursion and equation differ by {worst:.1e}", where="volterra_equation")
    return forcing, kernel, worst


def _same_root(residual: Any, published: Any, m: Any) -> float:
    """|published| at m = y/kappa, for kappa chosen and y computed from the residual, with five random modes."""
    rng = np.random.default_rng(0)
    rows = [dict(zip((EIGENVALUE, COUNT), row, strict=True)) for row in zip(*rng.exponential(size=(2, 5)), strict=True)]

    def value(expression, numbers_):
        return float(expression.subs(numbers_).replace(over, lambda part: sum(part.subs(row) for row in rows)))

    given = {KAPPA: 0.7, WIDTH: 6.0}
    ridge = value(residual + RIDGE, given)
    gap = abs(value(published, {**given, RIDGE: ridge, m: ridge / 0.7}))
    if gap > 1e-12:
        raise LearningMechanicsError(f"the published equation is left with {gap:.1e}", where="features_resolvent")
    return gap
