"""What in-context regression asks of a linear function: moments of a context, and the loss of beta' M x.

    E Lambda_hat^2 = Lambda^2 + (Lambda + tr(Lambda) I) Lambda / N,      -dL/dM = Lambda^2 - E[Lambda_hat^2] M Lambda,

with Lambda_hat = 1/N sum_n x_n x_n' of N Gaussian examples, and beta = 1/N sum_n y_n x_n.

>>> print(function_flow().equations[0])
(-B*M + Lambda)*Lambda

Reference: Zhang, Singh, Latham & Saxe 2025, arXiv:2501.16265 (loss without the factor 1/2, and half its gradient).
"""

from dataclasses import replace
from functools import cache

import numpy as np
import sympy as sp
from numpy.typing import ArrayLike

from ...dataset import Dataset
from ...derivation.derive import gradient_flow
from ...derivation.noncommutative import symmetric
from ...errors import LearningMechanicsError
from ...in_context import InContextRegression
from ...symbols import dimensions, modes, over, positive
from ...system import FixedPoint, Flow
from ...trail import Equations, Trail

ZHANG = "Zhang, Singh, Latham & Saxe 2025, arXiv:2501.16265"
_ISSERLIS = "Isserlis 1918"
_N = positive("N")
_lam, _b = modes("lambda b")


def gaussian_moment(variances, indices) -> sp.Expr:
    """E[x_i x_j ...] of independent centred Gaussians: the sum over pairings of the product of their covariances.

    >>> p, q = sp.symbols("p q")
    >>> gaussian_moment((p, q), (0, 0, 1, 1)), gaussian_moment((p, q), (0, 0, 0, 0)), gaussian_moment((p, q), (0, 1))
    (p*q, 3*p**2, 0)
    """
    if not indices:
        return sp.S.One
    first, *rest = indices
    return sp.Add(
        *(
            variances[first] * gaussian_moment(variances, rest[:place] + rest[place + 1 :])
            for place, other in enumerate(rest)
            if other == first
        )
    )


@cache
def context_moment() -> FixedPoint:
    """b = E[Lambda_hat^2] in the eigenbasis of Lambda, Lambda_hat = 1/N sum_n x_n x_n'.

    Pairs of different samples give Lambda^2, a sample with itself E[x x'x x'] = 2 Lambda^2 + tr(Lambda) Lambda by
    pairing its four factors; the pairings are compared with a count in two to four explicit dimensions.

    >>> print(context_moment().equations[0])
    b - lambda*(lambda*N + lambda + over(lambda))/N
    """
    different, same = _lam**2, 2 * _lam**2 + _lam * over(_lam)
    for dim in (2, 3, 4):
        variances = sp.symbols(f"lambda1:{dim + 1}", positive=True)
        counted = sum(gaussian_moment(variances, (0, c, c, 0)) for c in range(dim))
        stated = same.xreplace({over(_lam): sp.Add(*variances)}).xreplace({_lam: variances[0]})
        if sp.expand(counted - stated) != 0:
            raise LearningMechanicsError(f"{stated} is not {counted}", where="context_moment")
    value = sp.factor((1 - 1 / _N) * different + same / _N)
    trail = Trail().then(
        "pair the factors of x x'x x'", same, reference=_ISSERLIS, check="counted in 2, 3, 4 dimensions", residual=0.0
    )
    trail = trail.then("N samples, N^2 pairs of samples", Equations(((_b, value),)), reference=ZHANG)
    return FixedPoint((_b,), (_b - value,), trail=trail)


def second_moment(eigenvalues: ArrayLike, context: float) -> np.ndarray:
    """Diagonal of E[Lambda_hat^2], by the derived formula; an infinite context leaves Lambda^2.

    >>> second_moment(np.ones(4), 31.0)[0] == 1 + 5 / 31, second_moment(np.array([2.0]), np.inf)
    (np.True_, array([4.]))
    """
    if np.isinf(context):
        return np.asarray(eigenvalues, float) ** 2
    value = sp.solve(context_moment().equations[0], _b)[0]
    trace = sp.Symbol("trace")
    evaluate = sp.lambdify((_lam, _N, trace), value.xreplace({over(_lam): trace}), "numpy")
    return np.asarray(evaluate(np.asarray(eigenvalues), context, np.sum(eigenvalues)), float)


def product_moments(eigenvalues: ArrayLike, context: float) -> dict[str, np.ndarray]:
    """Moments of z = vec(beta x'), beta first: Sigma_xx = E[Lambda_hat^2] (x) Lambda, Sigma_yx = vec(Lambda^2)'.

    >>> product_moments(np.array([2.0]), np.inf)
    {'Sigma_xx': array([[8.]]), 'Sigma_yx': array([[4.]])}
    """
    values = np.asarray(eigenvalues, float)
    outer = np.kron(np.diag(second_moment(values, context)), np.diag(values))
    return {"Sigma_xx": outer, "Sigma_yx": np.diag(values**2).reshape(1, -1)}


def moment_rows(tasks: InContextRegression) -> Dataset:
    """D^2 + 1 rows with exactly the second moments of the tasks: full-batch descent on them has no sampling noise.

    Row (a, b) has beta along axis a and the query along b; the last row carries what is left of the target's power.

    >>> rows = moment_rows(InContextRegression((2.0, 1.0), 5))
    >>> bool(np.allclose(rows.covariances()[0], product_moments([2.0, 1.0], 5)["Sigma_xx"]))
    True
    """
    values, count = np.array(tasks.eigenvalues), tasks.dim**2 + 1
    second = second_moment(values, tasks.context)
    first, other = np.divmod(np.arange(tasks.dim**2), tasks.dim)
    beta, query = np.zeros((2, count, tasks.dim))
    rows = np.arange(count - 1)
    beta[rows, first], query[rows, other] = np.sqrt(count * second[first]), np.sqrt(values[other])
    target = np.zeros(count)
    same = first == other
    target[rows[same]] = np.sqrt(count) * (values**2 / np.sqrt(second * values))
    target[-1] = np.sqrt(count * values.sum() - (target**2).sum())
    return Dataset(tasks.seen(beta, query), target, f"{tasks.name}_moments")


@cache
def function_flow() -> Flow:
    """The loss as a function of the matrix M of beta' M x, and its pull on M.

    The means of y^2, y beta'Mx and (beta'Mx)^2 are compared with means taken term by term in two explicit dimensions.
    """
    D = dimensions("D")
    loss = population(sp.Trace, symmetric("Lambda", D), symmetric("B", D), sp.MatrixSymbol("M", D, D))
    variances = sp.symbols("lambda1:3", positive=True)
    value = sp.solve(context_moment().equations[0], _b)[0]
    second = [value.xreplace({over(_lam): sum(variances), _N: 2}).xreplace({_lam: v}) for v in variances]
    M = sp.Matrix(2, 2, sp.symbols("m:2:2"))
    explicit = population(sp.trace, sp.diag(*variances), sp.diag(*second), M)
    if sp.expand(_mean_loss(variances, M, context=2) - explicit) != 0:
        raise LearningMechanicsError(f"{loss} is not the mean taken term by term", where="function_flow")
    flow = gradient_flow(loss, on=(sp.MatrixSymbol("M", D, D),))
    mean = Trail().then(
        "mean over tasks",
        loss,
        check="for D = N = 2 every term averaged by itself: the same polynomial",
        residual=0.0,
        reference=ZHANG,
    )
    return replace(flow, trail=Trail((*mean.steps, *flow.trail.steps[1:])))  # in the place of the bare loss


def population(trace, Lambda, B, M):
    """1/2 E (y - beta'Mx)^2, from E y^2 = tr Lambda, E y beta x' = Lambda^2 and E beta beta' = B."""
    return trace(Lambda) / 2 - trace(M.T * Lambda * Lambda) + trace(M.T * B * M * Lambda) / 2


def _mean_loss(variances, M, context: int) -> sp.Expr:
    """1/2 E (y - beta'Mx)^2, the polynomial in all Gaussian numbers written out and averaged term by term."""
    dim = len(variances)
    w, x = sp.symbols(f"w:{dim}"), sp.symbols(f"x:{dim}")
    shown = [sp.symbols(f"x{n}_:{dim}") for n in range(context)]
    answers = [sum(a * b for a, b in zip(w, row, strict=True)) for row in shown]
    beta = [sum(y * row[a] for y, row in zip(answers, shown, strict=True)) / context for a in range(dim)]
    error = sum(w[a] * x[a] for a in range(dim)) - sum(beta[a] * M[a, b] * x[b] for a in range(dim) for b in range(dim))
    variance = dict(
        zip((*w, *x, *(s for row in shown for s in row)), (1,) * dim + variances * (context + 1), strict=True)
    )
    mean = sp.Integer(0)
    for powers, coefficient in sp.Poly(sp.expand(error**2), *variance).terms():
        moments = (gaussian_moment((v,), (0,) * k) for v, k in zip(variance.values(), powers, strict=True))
        mean += coefficient * sp.prod(list(moments))
    return mean / 2
