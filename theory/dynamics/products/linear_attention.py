"""Linear attention that learns to regress in context: equations of motion, saddles and their losses.

The output is beta' M x, and what the data pull M with is in `in_context_moments`. Merged key and query make a two-layer
linear network on z = vec(beta x'); separate ones, M = K' diag(v) Q, have three layers a head, which wait at saddles and
drop to one eigenvector after the other:

    sigma' = 2 sqrt(D) sigma (1 - c sigma), c = 1 + (1 + D)/N;      u' = lambda^2 u^2 - b lambda u^5.

>>> print(sigma_flow().equations[0])
2*sigma*sqrt(D)*(-sigma*(D + N + 1)/N + 1)
>>> print(head_flow().equations[0])
lambda*u**2*(-b*u**3 + lambda)

Reference: Zhang, Singh, Latham & Saxe 2025, arXiv:2501.16265.
"""

from dataclasses import replace
from functools import cache
from typing import Any

import numpy as np
import sympy as sp

from ...architecture.network import Network, Node, chain
from ...derivation.derive import discretised, gradient_flow
from ...derivation.network_flow import network_flow
from ...derivation.probe import directional, evaluate, gradient_residual, random_values
from ...derivation.reduce import change_variables
from ...derivation.standard_assumptions import Aligned, Balanced
from ...errors import LearningMechanicsError
from ...symbols import dimensions, modes, over, positive
from ...system import FixedPoint, Flow, Map
from ...trail import Equations
from .in_context_moments import ZHANG, context_moment, function_flow, population

_N, _D = positive("N D")
_lam, _b = modes("lambda b")


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
    v, k, q = positive("v k q")
    return gradient_flow(_along(v * k * q, *positive("lambda b")), on=(v, k, q))


def _along(m, lam, b):
    """The loss along one eigenvector, where beta'Mx is m times beta's and x's parts along it."""
    return population(sp.trace, *(sp.Matrix([[entry]]) for entry in (lam, b, m)))


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
    v, k, q = positive("v k q")
    flow = gradient_flow(_along(v * k * q, *positive("lambda b")), on=(k, q)).assume(Balanced(into="u"))
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
    loss = _along(m, _lam, _b)
    drop = sp.factor(loss.subs(m, 0) - loss.subs(m, sp.solve(sp.diff(loss, m), m)[0]))
    moment = sp.solve(context_moment().equations[0], _b)[0]
    value = over(_lam / 2) - over(sp.factor(drop.subs(_b, moment)) * learned)
    trail = context_moment().trail.then("stationary along each eigenvector: m = 0 or lambda/b", drop, reference=ZHANG)
    return FixedPoint(
        (L,), (L - value,), trail=trail.then("sum over eigenvectors", Equations(((L, value),)), reference=ZHANG)
    )
