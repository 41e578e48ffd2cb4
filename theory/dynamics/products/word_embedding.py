"""Word embeddings as matrix factorisation: which directions of word statistics are learned, and when.

A skip-gram loss weighs every pair of words by how often it stands together (P_ij) and by how often it would by chance
(P_i P_j). To second order in the product z = w_i.w_j it is quadratic, and where all pairs weigh the same G, the tied
matrix W of all words factorises M with one equation per positive eigenvalue mu:

    G/8 (z - M)^2,   M = (P_ij - P_i P_j) / (1/2 (P_ij + P_i P_j)),      a' = G a (mu - a),   a = v'W'W v.

>>> print(pair_target().equations[0])
M - 2*(-n + p)/(n + p)
>>> print(strength_flow().equations[0])
a*G*(-a + mu)

Reference: Karkada, Simon, Bahri & DeWeese 2025, arXiv:2502.09863.
"""

from dataclasses import replace
from functools import cache

import numpy as np
import sympy as sp

from ...architecture.network import Network, Node, chain
from ...derivation.assumptions import Closure, Invariant
from ...derivation.derive import discretised, gradient_flow, tidy
from ...derivation.network_flow import network_flow
from ...derivation.noncommutative import symmetric
from ...derivation.reduce import change_variables, restrict
from ...derivation.standard_assumptions import Aligned, Balanced, Whitened
from ...errors import LearningMechanicsError
from ...symbols import dimensions, modes, positive, scalars
from ...system import FixedPoint, Flow, Map
from ...trail import Equations, Trail

KARKADA = "Karkada, Simon, Bahri & DeWeese 2025, arXiv:2502.09863"
_LEVY = "Levy & Goldberg 2014"
_p, _n, _G = positive("p n G")
_z, _M = scalars("z M")

EQUAL_WEIGHTS = Closure(
    "equal weights",
    "every pair of words weighs the same, positive + negative = G",
    reference=KARKADA,
    radius=1e-6,
    measure=lambda arrays: float(np.ptp(arrays["positive"] + arrays["negative"]) / np.mean(arrays["positive"])),
)


def _not_words(arrays) -> float:
    x, y = np.asarray(arrays["x"], float), np.asarray(arrays["y"], float)
    if not x.shape == y.shape == (len(x), len(x)):
        return float("inf")
    return float(np.abs(x - np.eye(len(x))).max() + np.abs(y - y.T).max() / np.abs(y).max())


ONE_HOT = Invariant(
    "one-hot words",
    "every word is one row and one column of its own, and targets are symmetric",
    reference=KARKADA,
    measure=_not_words,
)


def tied() -> Network:
    """Words in, words out through one matrix: W'W on one-hot words.

    >>> print(tied().symbolic())
    W.T*W*X
    """
    return Network(
        (
            Node("word", "input", width="input"),
            Node("embedding", "dense", ("word",), weight="W", width="dimension"),
            Node("context", "dense", ("embedding",), weight="W", width="input", transposed=True),
        )
    )


@cache
def pair_target() -> FixedPoint:
    """What the loss of one pair asks of z, to second order: -p log sigma(z) - n log sigma(-z) = G/8 (z - M)^2 + ...

    p weighs the pair as seen together, n as drawn by chance, G = p + n. There is no cubic term: the next is z^4.
    """
    loss = _p * sp.log(1 + sp.exp(-_z)) + _n * sp.log(1 + sp.exp(_z))
    orders = [sp.simplify(loss.diff(_z, order).subs(_z, 0) / sp.factorial(order)) for order in range(5)]
    minimum = sp.factor(sp.solve(orders[1] + 2 * orders[2] * _M, _M)[0])
    square = (_p + _n) / 8 * (_z - minimum) ** 2
    quadratic = sum(coefficient * _z**order for order, coefficient in enumerate(orders[:3]))
    if sp.simplify(sp.diff(quadratic - square, _z)) != 0 or orders[3] != 0:
        raise LearningMechanicsError(f"{quadratic} is not {square} plus a constant", where="pair_target")
    trail = (
        Trail()
        .then("loss of a pair", loss, reference=_LEVY)
        .then(
            "to second order in z",
            square,
            assumption="small products",
            reference=KARKADA,
            check=f"completed square expanded: 0 is left; next term {sp.factor(orders[4])}*z**4",
            residual=0.0,
        )
        .then("its minimum", Equations(((_M, minimum),)), reference=KARKADA)
    )
    return FixedPoint((_M,), (_M - minimum,), trail=trail)


def target(positive: np.ndarray, negative: np.ndarray) -> np.ndarray:
    """The matrix M (V, V) that pairs weighted `positive` and `negative` ask for: `pair_target`, entry by entry.

    >>> target(np.array([[3.0]]), np.array([[1.0]]))
    array([[1.]])
    """
    minimum = sp.solve(pair_target().equations[0], _M)[0]
    return np.asarray(sp.lambdify((_p, _n), minimum, "numpy")(positive, negative), float)


@cache
def strength_root_flow() -> Flow:
    """u = sqrt(a) of one eigenmode of M: u' = (G/2) u (mu - u^2), from the tied graph."""
    flow = network_flow(tied()).assume(Whitened(), Aligned(Sigma_yx="mu"))
    flow = restrict(flow, {flow.unknowns[0]: modes("u")}, assumption="u > 0, as -u is the same strength")
    return _weighted(flow, pair_target().trail)


@cache
def strength_flow() -> Flow:
    """Strength a = v'W'W v of one eigenmode of M: logistic growth, a' = G a (mu - a).

    >>> from ...closed_forms.closed_form import closed_form
    >>> closed_form(strength_flow()).unknown
    a
    """
    flow = strength_root_flow()
    return change_variables(flow, {"a": flow.observables["strength"]}, reference=KARKADA)


@cache
def strength_map() -> Map:
    """One step of gradient descent on an aligned eigenmode, exactly: u <- u + eta (G/2) u (mu - u^2).

    >>> print(strength_map().equations[0])
    u*G*eta*(mu - u**2)/2 + u
    """
    return discretised(strength_root_flow())


@cache
def untied_map() -> Map:
    """Separate matrices for words and contexts, balanced: u <- u + eta (G/4) u (mu - u^2), for singular values mu.

    Half the pace, and a negative eigenvalue is as good a singular value as a positive one.

    >>> print(untied_map().equations[0])
    u*G*eta*(mu - u**2)/4 + u
    """
    network = chain("input", "dimension", "input")
    flow = network_flow(network).assume(Whitened(), Aligned(Sigma_yx="mu"), Balanced())
    return discretised(_weighted(flow, pair_target().trail))


@cache
def early_map() -> Map:
    """The first steps from small weights, whatever the pairs weigh: u <- u + eta c u, c the eigenvalues of p - n.

    To first order in z the loss is -1/2 sum (p - n) z, so that W' = W (p - n) with matrices of weights p and n.

    >>> print(early_map().equations[0])
    c*u_W*eta + u_W
    """
    words = dimensions("words")
    W, C = sp.MatrixSymbol("W", dimensions("dimension"), words), symmetric("C", words)
    flow = gradient_flow(-sp.Trace(W * C * W.T) / 2, on=(W,)).assume(Aligned(C="c"))
    flow = replace(flow, observables={"strength": flow.unknowns[0] ** 2})
    before = pair_target().trail.steps[:1]
    slope = sp.simplify(before[0].result.diff(_z).subs(_z, 0))
    trail = Trail(before).then("first order in z", slope * _z, assumption="small products", reference=KARKADA)
    return discretised(replace(flow, trail=flow.trail.after(trail, on=(1,))))


@cache
def learned_strength() -> FixedPoint:
    """Where an eigenmode ends: a = mu if mu > 0; a negative mu leaves nothing but a = 0, which then is stable.

    >>> print(learned_strength().equations[0])
    a - Max(0, mu)
    """
    flow = strength_root_flow()
    (u,), (rate,) = flow.unknowns, flow.equations
    mu, a = sp.Symbol("mu", real=True), sp.Symbol("a", nonnegative=True)
    rate = rate.subs({symbol: mu for symbol in rate.free_symbols if symbol.name == "mu"})
    rest = [a - value for value in {sp.Integer(0), *(root**2 for root in sp.solve(rate, u))}]
    growth = sp.diff(rate, u).subs(u, 0)
    if {sp.simplify(e.subs(a, 0)) for e in rest} != {sp.S.Zero, -mu} or sp.simplify(growth - _G * mu / 2) != 0:
        raise LearningMechanicsError(f"{rest} are not 0 and mu", where="learned_strength")
    end = Equations(((a, sp.Max(mu, 0)),))
    trail = flow.trail.then("stationary and stable", end, check=f"a = 0 grows at the rate {growth}", reference=KARKADA)
    return FixedPoint((a,), (a - sp.Max(mu, 0),), trail=trail)


def _weighted(flow: Flow, before: Trail) -> Flow:
    """The flow of 1/2 sum (z - M)^2 as that of G/8 sum (z - M)^2, its trail after the one that led to that loss.

    With sums over words in place of means, one-hot words are white.
    """
    paced = Flow(
        flow.unknowns,
        tuple(tidy(_G / 4 * equation) for equation in flow.equations),
        {"strength": flow.observables["end_to_end"], "loss": _G / 4 * flow.observables["loss"]},
        flow.eliminated,
        flow.trail.after(before),
    )
    parents = (len(before.steps) - 2, len(paced.trail.steps) - 1)
    trail = paced.trail.then(
        "weigh every pair by G/4", paced.statement(), parents=parents, assumption="equal weights", reference=KARKADA
    )
    return replace(paced, trail=trail)
