r"""Wide networks train like their linearisation: gradient descent on f = J theta is a linear map of the residuals,

    R+ = (I - eta K) R,    S+ = S - eta K_test R,    K = J J'/P,  K_test = J_test J'/P,

exactly, at every step. R are residuals on P training inputs, S on test inputs, and J J' is the tangent kernel: that of
the network at its own initial weights (`tangent_kernel`), or of the infinitely wide one (`theory.regression.kernels`).

How fast does a real network of width m approach it? From a start that is exactly zero, built of pairs of units with
opposite output weights, every change of the own kernel that is odd in the output weight cancels, and for a smooth
activation what remains is of second order in weight changes of size m^-1/2:

    |f - f_lin| ~ 1/m,    while the own kernel differs from the infinite one by m^-1/2.

ReLU lies between the two. A fraction m^-1/2 of the units meets its kink: their random signs give m^-3/4; but a unit
just active at x feels the gradient of x itself and one just inactive does not, and this leaves m^-1/2, diluted by the
number of samples, as the last term.

>>> print(linearised_descent().equations[0])
(-eta)*K*R + R
"""

from collections.abc import Mapping
from functools import lru_cache
from typing import Any

import numpy as np
import sympy as sp

from ..architecture.activations import formula
from ..architecture.network import Network
from ..derivation.derive import gradient_descent
from ..errors import BadData, LearningMechanicsError
from ..symbols import dimensions, positive
from ..system import Map
from ..trail import Equations

LEE = "Lee et al. 2019, arXiv:1902.06720"


@lru_cache(maxsize=1)
def linearised_descent() -> Map:
    """Full-batch gradient descent on 1/2 mean |y - J theta|^2, reduced to residuals.

    Unknowns R (P, o) on the training inputs and S (Q, o) on the test inputs; parameters K (P, P), K_test (Q, P), eta,
    Q. Observables "test_error" = |S|^2 / Q and "training_error" = |R|^2 / P, without the factor 1/2.

    Reference: Lee et al. 2019 (arXiv:1902.06720).
    """
    P, Q, o, p = dimensions("P Q o p")
    samples = positive("samples")  # P as a number: dimensions of matrices carry no value
    tests = positive("tests")
    theta, J, J_test = sp.MatrixSymbol("theta", p, o), sp.MatrixSymbol("J", P, p), sp.MatrixSymbol("J_test", Q, p)
    y, y_test = sp.MatrixSymbol("y", P, o), sp.MatrixSymbol("y_test", Q, o)
    R, S = sp.MatrixSymbol("R", P, o), sp.MatrixSymbol("S", Q, o)
    K, K_test = sp.MatrixSymbol("K", P, P), sp.MatrixSymbol("K_test", Q, P)
    residual = y - J * theta
    descent = gradient_descent(sp.Trace(residual.T * residual) / (2 * samples), on=theta)
    moved = descent.equations[0]
    equations = []
    for labels, features, gram, unknown in ((y, J, K, R), (y_test, J_test, K_test, S)):
        after = (labels - features * moved).subs({y: R + J * theta, y_test: S + J_test * theta})
        after = after.expand().doit().subs(features * J.T * R, samples * gram * R).doit()
        if after.free_symbols & {theta, y, y_test, J, J_test}:
            raise LearningMechanicsError(f"{unknown} does not close: {after}", where="linearised descent")
        equations.append(after)
    trail = descent.trail.then(
        "linearise the outputs in the parameters", "f = J theta", assumption="wide network", reference=LEE
    ).then(
        "residuals R = y - J theta, kernel K = J J'/P",
        Equations(((R, equations[0]), (S, equations[1])), "map"),
        check="closed: no theta left",
    )
    return Map(
        (R, S),
        tuple(equations),
        observables={"test_error": sp.Trace(S.T * S) / tests, "training_error": sp.Trace(R.T * R) / samples},
        trail=trail,
    )


@lru_cache(maxsize=1)
def training_residuals() -> Map:
    """`linearised_descent` without test inputs: they do not act back on the residuals R.

    >>> training_residuals().unknowns
    (R,)
    """
    whole = linearised_descent()
    observables = {"training_error": whole.observables["training_error"]}
    return Map(whole.unknowns[:1], whole.equations[:1], observables=observables, trail=whole.trail)


@lru_cache(maxsize=1)
def converged() -> Map:
    """Infinite training time: residuals no longer move. Bind S to its limit y_test - K_test K^-1 y.

    >>> converged().equations
    (S,)
    """
    (_, S), tests = linearised_descent().unknowns, positive("tests")
    trail = linearised_descent().trail.then("fixed point of the map", "R = 0, S = y_test - K_test K^-1 y")
    return Map((S,), (S,), observables={"test_error": sp.Trace(S.T * S) / tests}, trail=trail)


def tangent_kernel(
    network: Network, weights: Mapping[str, np.ndarray], x1: np.ndarray, x2: np.ndarray | None = None
) -> np.ndarray:
    """Tangent kernel sum over parameters of df(x)/dtheta df(x')/dtheta of one network, (n1, n2); one output.

    Reverse mode by hand: a dense layer with input h and error signal b contributes (b b') o (h h').
    Errors: `BadData` for several outputs or tied weights.

    >>> from ..architecture.network import chain
    >>> tangent_kernel(chain(2, 1), {"W1": np.ones((1, 2))}, np.eye(2))
    array([[1., 0.],
           [0., 1.]])
    """
    first = _layers(network, weights, np.asarray(x1, float))
    second = first if x2 is None else _layers(network, weights, np.asarray(x2, float))
    return sum((b1 @ b2.T) * (h1 @ h2.T + bias) for (b1, h1, bias), (b2, h2, _) in zip(first, second, strict=True))


def _layers(network, weights, x):
    """(error signal, input, 1 if it has a bias) of every dense node, all inputs at once, multipliers included."""
    values: dict[str, Any] = {}
    slopes: dict[str, np.ndarray] = {}
    factors: dict[str, float] = {}
    shifts: dict[str, float] = {}
    dense = [node for node in network.nodes if node.op == "dense"]
    if len({node.weight for node in dense}) < len(dense):
        raise BadData("weights are tied", where="tangent_kernel", remedy="use jax.jacobian")
    for node in network.nodes:
        inputs = [values[name] for name in node.inputs]
        if node.op == "input":
            values[node.name] = x
        elif node.op == "dense":
            factors[node.name], shift = node.factors(inputs[0].shape[1])
            values[node.name] = factors[node.name] * inputs[0] @ weights[node.weight].T
            if node.bias:
                values[node.name] = values[node.name] + shift * weights[node.bias]
                shifts[node.name] = shift
        elif node.op == "activation":
            value, slope = _activation(node.activation)
            values[node.name], slopes[node.name] = value(inputs[0]), slope(inputs[0]) * np.ones_like(inputs[0])
        elif node.op == "sum":
            factors_of = node.coefficients or (1.0,) * len(inputs)
            values[node.name] = sum(factor * term for factor, term in zip(factors_of, inputs, strict=True))
        else:
            raise BadData(f"the operation {node.op}", where=f"tangent_kernel, {node.name}", remedy="use jax.jacobian")
    last = network.nodes[-1].name
    if values[last].shape[1] != 1:
        raise BadData(f"{values[last].shape[1]} outputs", where="tangent_kernel", remedy="use a network with one")
    signals = {last: np.ones_like(values[last])}
    found = []
    for node in reversed(network.nodes):
        signal = signals.get(node.name)
        if signal is None or node.op == "input":
            continue
        if node.op == "dense":
            factor = factors[node.name]
            found.append((signal, factor * values[node.inputs[0]], shifts.get(node.name, 0.0) ** 2))
            signal = factor * signal @ weights[node.weight]
        elif node.op == "activation":
            signal = signal * slopes[node.name]
        for factor, name in zip(node.coefficients or (1.0,) * len(node.inputs), node.inputs, strict=True):
            signals[name] = signals.get(name, 0.0) + factor * signal
    return found


@lru_cache(maxsize=32)
def _activation(name: Any):
    z = sp.Symbol("z", real=True)
    law = formula(name)
    if law is None:
        raise BadData(f"the activation {name} has no formula", where="tangent_kernel", remedy="give a SymPy expression")
    value = law(z)
    modules = [{"Heaviside": lambda u, at=0.0: (u > 0).astype(float)}, "scipy", "numpy"]
    return tuple(sp.lambdify(z, expression, modules) for expression in (value, value.diff(z)))
