"""Linear attention that learns to regress in context: moments, equations of motion, saddles and their losses.

The output is beta' M x, quadratic loss in M, so that everything is driven by one matrix, the pull of the data:

    -dL/dM = Lambda^2 - E[Lambda_hat^2] M Lambda,      E[Lambda_hat^2] = Lambda^2 + (Lambda + tr(Lambda) I) Lambda / N.

Merged key and query: a two-layer linear network on z = vec(beta x'). Separate ones, M = K' diag(v) Q, three layers per
head: heads wait at saddles and drop to one eigenvector after the other.

>>> print(sigma_flow().equations[0])
2*sigma*sqrt(D)*(-sigma*(D + N + 1)/N + 1)
>>> print(head_flow().equations[0])
lambda*u**2*(-b*u**3 + lambda)

Reference: Zhang, Singh, Latham & Saxe 2025, arXiv:2501.16265 (loss without the factor 1/2, and half its gradient).
"""

from dataclasses import replace
from functools import cache
from typing import Any

import numpy as np
import sympy as sp
from numpy.typing import ArrayLike

from ...dataset import Dataset
from ...derivation.derive import discretised, gradient_flow
from ...derivation.network_flow import network_flow
from ...derivation.noncommutative import symmetric
from ...derivation.probe import directional, evaluate, gradient_residual, random_values
from ...derivation.reduce import change_variables
from ...derivation.standard_assumptions import Aligned, Balanced
from ...errors import LearningMechanicsError
from ...in_context import InContextRegression
from ...network import Network, Node, chain
from ...symbols import dimensions, modes, over, positive
from ...system import FixedPoint, Flow, Map
from ...trail import Equations, Trail

ZHANG = "Zhang, Singh, Latham & Saxe 2025, arXiv:2501.16265"
_ISSERLIS = "Isserlis 1918"
_N, _D, _s, _c = positive("N D s c")
_lam = modes("lambda")
_b = modes("b")


# --- moments ---------------------------------------------------------------------------------------------------------


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


# --- merged key and query --------------------------------------------------------------------------------------------


def merged() -> Network:
    """Heads with one matrix for key and query each: a row of W1 is vec(U_i), W2 holds the values."""
    return chain("input", "heads", "output")


@cache
def merged_flow() -> Flow:
    """The layers' equations on z = vec(beta x'), any covariance: those of a two-layer linear network."""
    return network_flow(merged())


@cache
def sigma_flow() -> Flow:
    """White tasks from a balanced start: the output is sigma beta'x, with the strength u^2 = sqrt(D) sigma of its mode.

    >>> from ...closed_forms.closed_form import closed_form
    >>> closed_form(sigma_flow()).method
    'logistic'
    """
    mode = merged_flow().assume(Aligned(Sigma_xx="c"), Balanced())
    moment = sp.solve(context_moment().equations[0], _b)[0].xreplace({over(_lam): _D, _lam: sp.S.One})
    images = {"s": sp.sqrt(_D), "c": sp.factor(moment), "target_power": _D}
    given = {symbol: images[symbol.name] for symbol in mode.parameters}
    white = Flow(
        mode.unknowns,
        tuple(equation.subs(given) for equation in mode.equations),
        {"strength": mode.observables["end_to_end"]},
        trail=mode.trail,
    )
    trail = white.trail.then(
        "moments of white tasks, |vec(I)| = sqrt(D)",
        white.statement(),
        assumption="white tasks",
        reference=ZHANG,
        given=Equations(tuple(given.items())),
    )
    white = replace(white, trail=trail)
    return change_variables(white, {"sigma": white.observables["strength"] / sp.sqrt(_D)}, reference=ZHANG)


# --- separate key and query ------------------------------------------------------------------------------------------


def separate(dim: int, rank: int = 1) -> Network:
    """Heads with a key and a query matrix of that rank each: beta'K_r' diag(v) Q_r x, summed over r.

    >>> separate(4).depth, separate(4, rank=2).depth
    (3, 5)
    """
    nodes = [Node("context", "input", width=dim), Node("query", "input", width=dim)]
    parts = []
    for r in map(str, range(1, rank + 1)):
        r = r if rank > 1 else ""
        nodes += [
            Node(f"k{r}", "dense", ("context",), weight=f"K{r}", width="heads"),
            Node(f"q{r}", "dense", ("query",), weight=f"Q{r}", width="heads"),
            Node(f"attention{r}", "product", (f"k{r}", f"q{r}")),
        ]
        parts.append(f"attention{r}")
    if rank > 1:
        nodes.append(Node("attention", "sum", tuple(parts)))
    nodes.append(Node("answer", "dense", ("attention",), weight="V", width=1))
    return Network(tuple(nodes))


@cache
def function_flow() -> Flow:
    """The loss as a function of the matrix M of beta' M x, and its pull on M."""
    D = dimensions("D")
    Lambda, B, M = symmetric("Lambda", D), symmetric("B", D), sp.MatrixSymbol("M", D, D)
    loss = sp.Trace(Lambda) / 2 - sp.Trace(M.T * Lambda * Lambda) + sp.Trace(M.T * B * M * Lambda) / 2
    return gradient_flow(loss, on=(M,))


@cache
def separate_flow(rank: int = 1) -> Flow:
    """Heads of that rank, M = sum_r K_r' diag(v) Q_r: K' = diag(v) Q pull', Q' = diag(v) K pull, v' = diag(K pull Q').

    >>> print(separate_flow().equations[1])
    DiagMatrix(V)*Q*Lambda*(Lambda - Q.T*DiagMatrix(V)*K*B)
    """
    function = function_flow()
    (M,), (pull,) = function.unknowns, function.equations
    D, heads = M.shape[0], dimensions("heads")
    suffixes = [str(r) if rank > 1 else "" for r in range(1, rank + 1)]
    V = sp.MatrixSymbol("V", 1, heads)
    Ks, Qs = ([sp.MatrixSymbol(name + r, heads, D) for r in suffixes] for name in "KQ")
    values = sp.DiagMatrix(V.T)
    image = sp.MatAdd(*(K.T * values * Q for K, Q in zip(Ks, Qs, strict=True))).doit()
    pull, loss = pull.subs(M, image), function.observables["loss"].subs(M, image)
    moved = [sp.MatAdd(*(sp.DiagonalOf(K * pull * Q.T).T for K, Q in zip(Ks, Qs, strict=True))).doit()]
    for K, Q in zip(Ks, Qs, strict=True):
        moved += [values * Q * pull.T, values * K * pull]
    unknowns = (V, *(W for pair in zip(Ks, Qs, strict=True) for W in pair))
    residual = gradient_residual(loss, unknowns, [-equation for equation in moved])
    if not residual < 1e-9:
        raise LearningMechanicsError(f"the chain rule misses the gradient by {residual:.1e}", where="separate_flow")
    made = Flow(unknowns, tuple(moved), {"function": image, "loss": loss})
    trail = function.trail.then(
        "chain rule through the heads",
        made.statement(),
        reference=ZHANG,
        check=f"complex step: {residual:.1e}",
        residual=residual,
        given=Equations(((M, image),)),
    )
    for balance in (_balance(V, Ks), _balance(V, Qs)):
        drift = _drift(made, balance)
        if not drift < 1e-9:
            raise LearningMechanicsError(f"{balance} drifts at the rate {drift:.1e}", where="separate_flow")
        trail = trail.then(
            "every head keeps", balance, check=f"rate of change: {drift:.1e}", residual=drift, reference=ZHANG
        )
    return replace(made, trail=trail)


def _balance(V, matrices):
    """v_i^2 - sum_r |w_ir|^2 of every head, as a column; w_ir is row i of its key or query matrix of rank r."""
    return sp.MatAdd(sp.HadamardProduct(V.T, V.T), *(-sp.DiagonalOf(W * W.T) for W in matrices))


def _drift(flow: Flow, quantity: Any) -> float:
    """Largest relative rate of change of a quantity along a flow, at a random point, by a complex step."""
    values = random_values([*flow.equations, *flow.unknowns])
    velocity = {u: evaluate(e, values) for u, e in zip(flow.unknowns, flow.equations, strict=True)}
    scale = max(float(np.abs(rate).max()) for rate in velocity.values())
    return float(np.abs(directional(quantity, values, velocity)).max() / scale)


@cache
def separate_map(rank: int = 1) -> Map:
    """One step of gradient descent on heads with separate key and query, exactly."""
    return discretised(separate_flow(rank))


@cache
def head_parts_flow() -> Flow:
    """One head along one eigenvector: value, key and query, a chain of three that carries m = v k q.

    >>> from ...derivation.conserved import conserved
    >>> conserved(head_parts_flow())
    (-k**2 + v**2, -q**2 + v**2)
    """
    v, k, q, lam, b = sp.symbols("v k q lambda b", positive=True)
    m = v * k * q
    return gradient_flow(lam / 2 - lam**2 * m + b * lam * m**2 / 2, on=(v, k, q))


@cache
def head_flow() -> Flow:
    """Within a drop, balanced: u' = lambda^2 u^2 - b lambda u^5, b = E[Lambda_hat^2] along the eigenvector."""
    return head_parts_flow().assume(Balanced(into="u"))


@cache
def plateau_duration() -> FixedPoint:
    """Time a head waits at a saddle: from u' = lambda^2 u^2, the leading order, T = 1 / (lambda^2 u).

    >>> print(plateau_duration().equations[0])
    T - 1/(lambda**2*u)
    """
    flow = head_flow()
    (u,), T, x = flow.unknowns, positive("T"), sp.Symbol("x", positive=True)
    leading = sp.expand(flow.equations[0]).coeff(u, 2)
    waited = sp.integrate(1 / (leading * x**2), (x, u, sp.oo))
    trail = flow.trail.then("leading order, from u to its divergence", Equations(((T, waited),)), reference=ZHANG)
    return FixedPoint((T,), (T - waited,), trail=trail)


@cache
def next_rank_duration() -> FixedPoint:
    """Time a head with a value v that it has learned already waits for the next rank of its key and query.

    They grow exponentially, u' = v lambda^2 u, up to v u^2 = lambda/b: a logarithm of the start in place of its
    inverse, so that heads of rank R wait visibly only where R divides the number of learned eigenvectors.

    >>> print(next_rank_duration().equations[0])
    T - log(sqrt(lambda)/(sqrt(b)*u*sqrt(v)))/(lambda**2*v)
    """
    v, k, q, lam, b = sp.symbols("v k q lambda b", positive=True)
    m = v * k * q
    flow = gradient_flow(lam / 2 - lam**2 * m + b * lam * m**2 / 2, on=(k, q)).assume(Balanced(into="u"))
    (u,), T, x = flow.unknowns, positive("T"), sp.Symbol("x", positive=True)
    growth = sp.expand(flow.equations[0]).coeff(u, 1)
    (end,) = (root for root in sp.solve(flow.equations[0], u) if root.is_positive)
    waited = sp.log(end / u) / growth
    if sp.simplify(sp.expand_log(sp.integrate(1 / (growth * x), (x, u, end)) - waited)) != 0:
        raise LearningMechanicsError(f"{waited} is not the time from {u} to {end}", where="next_rank_duration")
    trail = flow.trail.then("leading order, from u to its end", Equations(((T, waited),)), reference=ZHANG)
    return FixedPoint((T,), (T - waited,), trail=trail)


@cache
def plateau_loss() -> FixedPoint:
    """Loss at a saddle where the eigenvectors marked `learned` (1 or 0) have been learned.

    >>> print(plateau_loss().equations[0])
    L + N*over(lambda**2*learned/(lambda*N + lambda + over(lambda)))/2 - over(lambda)/2
    """
    L, m, learned = positive("L"), sp.Symbol("m"), modes("learned")
    loss = _lam / 2 - _lam**2 * m + _b * _lam * m**2 / 2
    drop = sp.factor(loss.subs(m, 0) - loss.subs(m, sp.solve(sp.diff(loss, m), m)[0]))
    moment = sp.solve(context_moment().equations[0], _b)[0]
    value = over(_lam / 2) - over(sp.factor(drop.subs(_b, moment)) * learned)
    trail = context_moment().trail.then("stationary along each eigenvector: m = 0 or lambda/b", drop, reference=ZHANG)
    return FixedPoint(
        (L,), (L - value,), trail=trail.then("sum over eigenvectors", Equations(((L, value),)), reference=ZHANG)
    )
