"""Second moments of one-pass SGD on squared loss, derived from the update rule.

The one idea: a fresh sample is independent of the weights, so the mean of the squared update closes on second moments
once the moments of the sample are known. For Gaussian features Isserlis' theorem supplies them,

    E[x1 x2 x3 x4] = E[x1 x2] E[x3 x4] + E[x1 x3] E[x2 x4] + E[x1 x4] E[x2 x3];

for rows drawn from a data set they are sums over its rows. A minibatch mean of B gradients has the second moment
(1/B) E[g g] + (1 - 1/B) E[g g'] with g, g' on independent samples.
"""

from collections.abc import Callable, Sequence
from functools import cache
from typing import Any

import sympy as sp

from ..errors import AssumptionViolated
from ..symbols import LEARNING_RATE, modes, over, positive
from ..system import Map
from ..trail import Equations, Trail

BATCH = positive("B")
NOISE = sp.Symbol("sigma2", nonnegative=True)
EIGENVALUE = modes("lambda")
MOMENT = modes("c", positive=None, nonnegative=True)


def isserlis(polynomial: Any, variables: Sequence[Any], covariance: Callable[[Any, Any], Any]) -> Any:
    """Mean of a polynomial in centred Gaussian variables: the sum over all pairings of products of covariances.

    Reference: Isserlis 1918.

    >>> x, s = sp.symbols("x s")
    >>> isserlis(x**4 + x, [x], lambda a, b: s)
    3*s**2
    """

    @cache
    def paired(letters: tuple) -> Any:
        if not letters:
            return sp.S.One
        first, rest = letters[0], letters[1:]
        return sum(
            (covariance(first, other) * paired(rest[:i] + rest[i + 1 :]) for i, other in enumerate(rest)), sp.S.Zero
        )

    mean = sp.S.Zero
    for powers, coefficient in sp.Poly(sp.expand(polynomial), *variables).terms():
        letters = tuple(v for v, power in zip(variables, powers, strict=True) for _ in range(power))
        mean += coefficient * paired(letters)
    return sp.expand(mean)


def gaussian_second_moments() -> Map:
    """The recursion of c_j = E (w_j - w*_j)^2 under one-pass SGD on Gaussian features with eigenvalues lambda_j.

    Unknown: mode symbol c. Parameters: lambda (modes), eta, batch size B, label noise variance sigma2. Observable
    "excess_risk" = E 1/2 (y - x.w)^2 - sigma2 / 2 = 1/2 sum_j lambda_j c_j. Exact for every batch size; the
    covariance of the features is diagonal in the mode basis.
    Reference: Paquette, Paquette, Xiao, Pennington 2024, arXiv:2405.15074 (in another form); Isserlis 1918.

    >>> gaussian_second_moments().unknowns
    (c,)
    """
    eta, batch = LEARNING_RATE, BATCH
    # The update of one mode is quadratic in the errors of at most two others: three modes show every kind of term.
    errors, spectrum = sp.symbols("e_j e_k e_l", real=True), positive("lambda_j lambda_k lambda_l")
    targets, weights = sp.symbols("v_j v_k v_l", real=True), sp.symbols("w_j w_k w_l", real=True)
    samples = [(sp.symbols(f"x_j{p} x_k{p} x_l{p}", real=True), sp.Symbol(f"z{p}", real=True)) for p in ("", "'")]
    variables = [variable for x, z in samples for variable in (*x, z)]
    variance = {v: s for x, z in samples for v, s in ((*zip(x, spectrum, strict=True), (z, NOISE)))}

    def mean(expression):
        return isserlis(expression, variables, lambda a, b: variance[a] if a == b else sp.S.Zero)

    def loss(x, z):
        residual = sum(xk * wk for xk, wk in zip(x, weights, strict=True))
        residual -= sum(xk * vk for xk, vk in zip(x, targets, strict=True)) + z
        return residual**2 / 2

    at_error = {w: v + e for w, v, e in zip(weights, targets, errors, strict=True)}
    same, other = (sp.expand(loss(x, z).diff(weights[0]).subs(at_error)) for x, z in samples)
    squared = mean(same * same) / batch + (1 - 1 / batch) * mean(same * other)
    update = sp.expand(errors[0] ** 2 - 2 * eta * errors[0] * mean(same) + eta**2 * squared)
    risk = mean(loss(*samples[0]).subs(at_error))
    trail = (
        Trail()
        .then("sample loss", "l = 1/2 (x.w - x.w* - z)^2,  x_j ~ N(0, lambda_j), z ~ N(0, sigma2)")
        .then("update", "w_j <- w_j - eta mean over B fresh samples of dl/dw_j,  e = w - w*")
        .then(
            "mean of the square",
            "E e_j^2 - 2 eta E e_j g_j + eta^2 (E g_j g_j / B + (1 - 1/B) E g_j g_j')",
            assumption="fresh independent samples",
        )
        .then(
            "Isserlis' theorem",
            update,
            assumption="Gaussian features",
            reference="Isserlis 1918",
            check="no product e_k e_l of different modes is left: residual 0",
            residual=0.0,
        )
    )
    equation = _lift(update, errors, spectrum)
    three = ((MOMENT, sp.Tuple(*(e**2 for e in errors))), (EIGENVALUE, sp.Tuple(*spectrum)))
    trail = trail.then(
        "any number of modes",
        Equations(((MOMENT, equation),), "map"),
        check="all other modes enter alike: residual 0",
        residual=0.0,
        given=Equations(three),
        reference="Paquette et al. 2024, arXiv:2405.15074",
    )
    excess = _lift(risk - NOISE / 2, errors, spectrum, single=False)
    return Map((MOMENT,), (equation,), observables={"excess_risk": excess}, trail=trail)


def _lift(polynomial, errors, spectrum, single: bool = True) -> Any:
    """Many modes from three: coefficients of e_j^2 and e_k^2 become the own term and a sum over all modes.

    `single`: the polynomial belongs to the first mode, which is then told apart from the others. Errors:
    `AssumptionViolated` if a product of different modes survives or if the other modes do not enter alike.
    """
    lam, c = EIGENVALUE, MOMENT
    terms = sp.Poly(sp.expand(polynomial), *errors).as_dict()
    squares = [terms.pop(tuple(2 * (i == j) for j in range(len(errors))), sp.S.Zero) for i in range(len(errors))]
    constant = terms.pop((0,) * len(errors), sp.S.Zero)
    if terms:
        raise AssumptionViolated(
            f"the mean square also needs the mixed moments {sorted(terms)}",
            where="second moments of one-pass SGD",
            remedy="use the full matrix recursion",
        )
    others = range(1 if single else 0, len(errors))
    for i in others:
        if sp.expand(squares[i].subs(spectrum[i], spectrum[-1]) - squares[-1]) != 0:
            raise AssumptionViolated("the modes do not enter alike", where="second moments of one-pass SGD")
    outer = {spectrum[0]: lam} if single else {}
    shared = sp.Poly(squares[-1], spectrum[-1])
    total = sum((a.subs(outer) * over(lam**p * c) for (p,), a in shared.terms() if a != 0), sp.S.Zero)
    if not single:
        return total + constant
    # the sum runs over all modes: the first mode's share of it is taken back from its own term
    own = sp.expand((squares[0] - squares[-1].subs(spectrum[-1], spectrum[0])).subs(outer))
    noise = sp.expand(constant.subs(outer))
    return sp.collect(own, LEARNING_RATE) * c + sp.factor_terms(sp.expand(total + noise))


def noise_gain(map_: Map) -> Any:
    """The gain of a second-moment recursion: it is stable iff this is below 1 and no mode grows by itself.

    For c <- A c + r sum(s c) + b a unit eigenvalue needs sum(s r / (1 - A)) = 1; the stationary sum is
    sum(s b / (1 - A)) / (1 - gain). Reference: Paquette, Paquette, Xiao, Pennington 2024, arXiv:2405.15074.

    >>> noise_gain(gaussian_second_moments())
    -eta*over(lambda/(lambda*B*eta + lambda*eta - 2*B))
    """
    own, shared, weight, _ = affine_parts(map_)
    return over(sp.cancel(weight * shared / (1 - own)))


def stationary_excess_risk(map_: Map) -> Any:
    """The excess risk that label noise sustains: 1/2 sum(s b / (1 - A)) / (1 - gain), zero without label noise."""
    own, _, weight, source = affine_parts(map_)
    return over(sp.cancel(weight * source / (1 - own))) / (2 * (1 - noise_gain(map_)))


def affine_parts(map_: Map) -> tuple[Any, Any, Any, Any]:
    """A, r, s, b of c <- A c + r sum(s c) + b, for a map of one second moment per mode.

    >>> affine_parts(gaussian_second_moments())[1:3]
    (lambda*eta**2/B, lambda)
    """
    (c,), (equation,) = map_.unknowns, map_.equations
    expanded = sp.expand(equation)
    (total,) = expanded.atoms(over)
    shared, rest = expanded.coeff(total), expanded.subs(total, 0)
    return rest.coeff(c, 1), shared, total.args[0] / c, rest.coeff(c, 0)
