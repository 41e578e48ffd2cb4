"""Derived systems of deep linear networks, from matrices to single modes: every one starts at the network's graph.

    W_l' = (W_L .. W_{l+1})' (Sigma_yx - W Sigma_xx) (W_{l-1} .. W_1)'   ->   a' = L a^(2 - 2/L) (s - a)

Each function returns a system with its trail; results are kept for the process.

>>> print(mode_map(3).equations[0])
u**2*eta*(s - u**3) + u
>>> print(sharpness_at_minimum(3).equations[0])
-3*s**(4/3) + S
"""

from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import cache, partial

import sympy as sp

from ..architecture.network import Network, chain
from ..closed_forms.asymptotics import rate
from ..derivation.conserved import conserved, discrete_drift
from ..derivation.derive import gradient_flow, network_flow, network_map
from ..derivation.reduce import change_variables, project
from ..derivation.standard_assumptions import Aligned, Balanced, LargeDepth, Whitened
from ..symbols import LEARNING_RATE, dimensions, positive
from ..system import FixedPoint, Flow, Map, System
from ..trail import Equations, Trail
from .modified import modified_flow

_SAXE = "Saxe, McClelland & Ganguli 2013, arXiv:1312.6120"
_FLATTEST = "Mulayoff & Michaeli 2020"
_GRAM = "Fukumizu 1998; Tarmoun et al. 2021"
_LAYERWISE = "Martens & Grosse 2015, arXiv:1503.05671"


def stack(depth: int) -> Network:
    """The network: `depth` weight matrices, hidden layers of one width.

    >>> [weight.name for weight in stack(3).weights()]
    ['W1', 'W2', 'W3']
    """
    return chain("input", *["width"] * (depth - 1), "output")


@cache
def layer_flow(depth: int) -> Flow:
    """Strength u = a^(1/L) of one layer in one mode: u' = u^(L-1) (s - u^L), from the matrices."""
    return network_flow(stack(depth)).assume(Whitened(), Aligned(), Balanced())


@cache
def mode_flow(depth: int) -> Flow:
    """Mode strength a = u^L: a' = L a^(2 - 2/L) (s - a).

    >>> print(mode_flow(4).equations[0])
    4*a**(3/2)*(-a + s)
    """
    system = layer_flow(depth)
    return change_variables(system, {"a": system.observables["end_to_end"]})


@cache
def mode_map(depth: int) -> Map:
    """One step of gradient descent on an aligned balanced mode, exactly: u <- u + eta u^(L-1) (s - u^L)."""
    return network_map(stack(depth)).assume(Whitened(), Aligned(), Balanced())


@cache
def modified_mode_flow(depth: int) -> Flow:
    """The flow that gradient descent follows to second order in the learning rate."""
    return modified_flow(mode_map(depth), LEARNING_RATE)


@cache
def infinite_depth_flow() -> Flow:
    """The limit of many layers in the time tau = L t: a' = a^2 (s - a), solved by the Wright omega function.

    >>> print(infinite_depth_flow().equations[0])
    a**2*(-a + s)
    """
    strength, target, depth = positive("u s L")
    deep = gradient_flow((target - strength**depth) ** 2 / 2, on=strength, copies=depth)
    return change_variables(deep, {"a": strength**depth}, reference=_SAXE).assume(LargeDepth(depth))


@cache
def corrected_mode_flow(depth: int) -> Flow:
    """The flow that gradient descent follows to second order, for the mode strength a, in the form that integrates.

    >>> print(corrected_mode_flow(2).equations[0])
    2*a*(-a + s)/(eta*(-3*a + s)/2 + 1)
    """
    flow = modified_flow(mode_map(depth), LEARNING_RATE, form="rational")
    return change_variables(flow, {"a": flow.observables["end_to_end"]})


@cache
def gram_map() -> Map:
    """Exact gradient descent of any two-layer network on any data, on the Gram blocks of its weights.

    P = W1' W1, R = W2 W1, T = W2 W2': closed whatever the width.
    """
    network = stack(2)
    W1, W2 = network.weights()
    d, o = dimensions("input"), dimensions("output")
    P, R, T = sp.MatrixSymbol("P", d, d), sp.MatrixSymbol("R", o, d), sp.MatrixSymbol("T", o, o)
    return project(network_map(network), {P: W1.T * W1, R: W2 * W1, T: W2 * W2.T}, reference=_GRAM)


@cache
def drift_map(depth: int = 2) -> Map:
    """Gradient descent together with the balance D = W2' W2 - W1 W1' that its exact drift law accumulates."""
    system = network_map(stack(depth))
    (balance,) = conserved(network_flow(stack(depth)))
    D = sp.MatrixSymbol("D", *balance.shape)
    drift = discrete_drift(system, balance)
    return replace(
        system,
        unknowns=(*system.unknowns, D),
        equations=(*system.equations, D + drift),
        trail=system.trail.then(
            "drift of the balance", Equations(((D, D + drift),), "map"), check="expanded and compared, word by word"
        ),
    )


@cache
def conserved_balance(depth: int = 2) -> Map:
    """What gradient flow says: the balance stays where it is.

    >>> conserved_balance().equations
    (D,)
    """
    system = network_flow(stack(depth))
    (balance,) = conserved(system)
    D = sp.MatrixSymbol("D", *balance.shape)
    return Map(
        (D,),
        (D,),
        trail=system.trail.then("conservation", Equations(((D, balance),)), check="its rate of change vanishes"),
    )


@cache
def sharpness_at_minimum(depth: int) -> FixedPoint:
    """Largest Hessian eigenvalue at the balanced minimum: the rate at which the strongest mode relaxes."""
    flow = mode_flow(depth)
    S = positive("S")
    eigenvalue = rate(flow)
    return FixedPoint(
        (S,),
        (S - eigenvalue,),
        trail=flow.trail.then(
            "linearise at a = s",
            Equations(((S, eigenvalue),)),
            reference=_FLATTEST,
            given=Equations(((flow.unknowns[0], positive("s")),)),
        ),
    )


@cache
def layerwise_sharpness(depth: int) -> FixedPoint:
    """Curvature when one layer moves at a time: the block-diagonal approximation of the Hessian.

    >>> print(layerwise_sharpness(2).equations[0])
    S - s
    """
    s = positive("s")
    weights = sp.symbols(f"w1:{depth + 1}", positive=True)
    loss = (s - sp.prod(weights)) ** 2 / 2
    block = sp.diff(loss, weights[0], 2).subs({weight: s ** sp.Rational(1, depth) for weight in weights})
    S = positive("S")
    trail = Trail().then("loss", loss)
    trail = trail.then("second derivative in one layer", Equations(((S, block),)), reference=_LAYERWISE)
    return FixedPoint((S,), (S - sp.simplify(block),), trail=trail)


@cache
def growth_at_minimum(sharpness: Callable[[], FixedPoint]) -> FixedPoint:
    """Factor per step by which gradient descent multiplies a small displacement: |1 - eta S|.

    >>> from functools import partial
    >>> growth_at_minimum(partial(sharpness_at_minimum, 2)).unknowns
    (g,)
    """
    system = sharpness()
    g = positive("g")
    value = sp.solve(system.equations[0], system.unknowns[0])[0]
    growth = sp.Abs(1 - LEARNING_RATE * value)
    return FixedPoint((g,), (g - growth,), trail=system.trail.then("one step of descent", Equations(((g, growth),))))


@cache
def critical_rate(sharpness: Callable[[], FixedPoint]) -> FixedPoint:
    """The learning rate at which the growth factor reaches one: eta_c = 2 / S.

    >>> from functools import partial
    >>> print(critical_rate(partial(sharpness_at_minimum, 2)).equations[0])
    eta_c - 1/s
    """
    system = sharpness()
    critical = positive("eta_c")
    value = sp.solve(system.equations[0], system.unknowns[0])[0]
    return FixedPoint(
        (critical,),
        (critical - 2 / value,),
        trail=system.trail.then("marginal step", Equations(((critical, 2 / value),))),
    )


def everything(depth: float) -> Mapping[str, System]:
    """What follows from the graph of a deep linear network, in reading order; of infinite depth only the limit.

    >>> list(everything(2))[:3]
    ['matrix flow', 'aligned modes', 'mode law']
    """
    if depth == sp.oo:
        return {"mode law of infinitely many layers": infinite_depth_flow()}
    layers = int(depth)
    matrix_flow, sharpness = network_flow(stack(layers)), partial(sharpness_at_minimum, layers)
    found: dict[str, System] = {
        "matrix flow": matrix_flow,
        "aligned modes": matrix_flow.assume(Whitened(), Aligned()),
        "mode law": mode_flow(layers),
        "gradient descent on a mode": mode_map(layers),
        "flow that gradient descent follows": modified_mode_flow(layers),
        "sharpness at convergence": sharpness(),
        "critical learning rate": critical_rate(sharpness),
    }
    if layers == 2:
        found |= {"gradient descent on Gram blocks": gram_map(), "drift of the balance": drift_map()}
    return found
