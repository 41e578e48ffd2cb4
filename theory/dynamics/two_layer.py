"""Two linear layers solved exactly, from the network's graph to a matrix Riccati equation and its solution.

    S' = F S + S F - S S,      S = Q Q',   Q = [W1'; W2],   F = [[-lambda/2, Sigma_yx'], [Sigma_yx, lambda/2]]
    S(t) = X M^-1 X',   X = e^(F t) Q_0,   M = I + Q_0' (integral of e^(2 F tau) from 0 to t) Q_0

The first line needs white inputs and lambda-balanced weights, no alignment. For any data and weights the blocks of S
still close among themselves (`gram_flow`), but that equation has no known solution. `solvers.riccati` evaluates the
second line.

>>> print(riccati_flow().equations[0])
F*S + S*F - S*S
>>> print(linearised_flow())
Flow
  X' = F*X
  M' = X.T*X
  S = X*M**(-1)*X.T
"""

from collections.abc import Mapping
from functools import cache
from itertools import product
from typing import Any

import numpy as np
import sympy as sp

from ..derivation.lambda_balanced import IMBALANCE, LambdaBalanced
from ..derivation.network_flow import network_flow
from ..derivation.noncommutative import Words, symmetric, words
from ..derivation.probe import evaluate
from ..derivation.reduce import project
from ..derivation.standard_assumptions import Whitened
from ..derivation.words_closure import stack_matrices
from ..errors import LearningMechanicsError
from ..symbols import LEARNING_RATE, dimensions, positive
from ..system import Flow
from ..trail import Equations
from .linear_networks import gram_map, stack
from .modified import BARRETT_DHERIN

_GRAM = "Fukumizu 1998; Tarmoun et al. 2021"
_RICCATI = "Fukumizu 1998; Braun, Domine, Fitzgerald & Saxe 2022; Domine et al. 2024, arXiv:2409.14623"
_RADON = "Reid 1972"
_HALF = sp.Rational(1, 2)


@cache
def matrix_flow() -> Flow:
    """Gradient flow of the two weight matrices, for any data."""
    return network_flow(stack(2))


@cache
def gram_flow() -> Flow:
    """The same on P = W1'W1, R = W2 W1, T = W2 W2': closed for any data, any weights and any width.

    A width below the rank of the target keeps the rank of the blocks low. The equation knows nothing of the width, so
    rounding grows out of that saddle, as e^(2 s t) with s the strongest mode left out.

    >>> print(gram_flow().equations[1])
    (-R*Sigma_xx + Sigma_yx)*P + T*(-R*Sigma_xx + Sigma_yx)
    """
    flow = matrix_flow()
    W1, W2 = flow.unknowns
    return project(flow, {"P": W1.T * W1, "R": W2 * W1, "T": W2 * W2.T}, reference=_GRAM)


@cache
def modified_gram_flow() -> Flow:
    """The flow that gradient descent follows on the Gram blocks to second order in the learning rate, for any data.

    A step S + eta V_1(S) + eta^2 V_2(S) is the time-eta map of S' = V_1 + eta (V_2 - V_1'[V_1] / 2), and descent on the
    blocks is such a step exactly (`gram_map`).

    >>> [str(unknown) for unknown in modified_gram_flow().unknowns]
    ['P', 'R', 'T']
    """
    step = gram_map()
    polynomials = {u: words(e).expanded() for u, e in zip(step.unknowns, step.equations, strict=True)}
    first, second = ({u: _coefficient(p, power) for u, p in polynomials.items()} for power in (1, 2))
    rates = {u: first[u] + (second[u] - first[u].velocity(first).scaled(_HALF)).scaled(LEARNING_RATE) for u in first}
    taylor = {u: f.scaled(LEARNING_RATE) + f.velocity(rates).scaled(LEARNING_RATE**2 / 2) for u, f in rates.items()}
    for unknown, power in product(step.unknowns, (1, 2)):
        residual = _coefficient(taylor[unknown], power) - _coefficient(polynomials[unknown], power)
        if not residual.is_zero:
            raise LearningMechanicsError(f"the modified flow misses a step of {unknown} by {residual.matrix()}")
    equations = tuple(rate.matrix() for rate in rates.values())
    trail = step.trail.then(
        "modified flow",
        Equations(tuple(zip(step.unknowns, equations, strict=True)), "flow"),
        assumption="learning rate to order 1",
        reference=BARRETT_DHERIN,
        check="its Taylor series is the step to second order, word by word: residual 0",
        residual=0.0,
        given=Equations(((sp.Symbol("order"), sp.Integer(1)),)),
    )
    return Flow(step.unknowns, equations, step.observables, trail=trail)


def _coefficient(polynomial: Words, power: int) -> Words:
    """What a polynomial in the learning rate holds of one power of it."""
    terms = {word: sp.expand(value).coeff(LEARNING_RATE, power) for word, value in polynomial.terms.items()}
    return Words({word: value for word, value in terms.items() if value != 0}, polynomial.shape)


@cache
def balanced_flow() -> Flow:
    """White inputs and lambda-balanced weights: either layer decays by half of the sum of both inner products.

    >>> print(balanced_flow().equations[0])
    (-lambda/2)*W1 - (1/2)*(W1*W1.T + W2.T*W2)*W1 + W2.T*Sigma_yx
    """
    return matrix_flow().assume(Whitened(), LambdaBalanced())


@cache
def _stacked() -> tuple[Flow, Mapping[Any, Any]]:
    flow = balanced_flow()
    W1, W2 = flow.unknowns
    return stack_matrices(flow, (W1.T, W2), reference=_RICCATI)


def stacked_flow() -> Flow:
    """Both layers as one matrix Q = [W1'; W2]: Q' = F Q - Q Q'Q / 2.

    >>> print(stacked_flow().equations[0])
    -(1/2)*Q*Q.T*Q + F*Q
    """
    return _stacked()[0]


@cache
def riccati_flow() -> Flow:
    """S' = F S + S F - S S for S = Q Q', with the blocks of S as observables.

    J_x = [1 0] and J_y = [0 1] pick the rows of the inputs and of the outputs: W2 W1 = J_y S J_x'.
    """
    (Q,) = stacked_flow().unknowns
    flow = project(stacked_flow(), {"S": Q * Q.T}, reference=_RICCATI)
    (S,) = flow.unknowns
    (target,) = [matrix for matrix in matrix_flow().parameters if matrix.name == "Sigma_yx"]
    J_x, J_y = sp.MatrixSymbol("J_x", target.shape[1], S.shape[0]), sp.MatrixSymbol("J_y", target.shape[0], S.shape[0])
    R = J_y * S * J_x.T
    loss = positive("target_power") / 2 - sp.Trace(R * target.T) + sp.Trace(R * R.T) / 2
    return flow.observe(end_to_end=R, input_gram=J_x * S * J_x.T, output_gram=J_y * S * J_y.T, loss=loss)


@cache
def linearised_flow() -> Flow:
    """The Riccati equation as a linear one: X' = F X is a matrix exponential, M' = X'X its integral, S = X M^-1 X'.

    From X = Q_0 and M = 1. By the product rule, with (M^-1)' = -M^-1 X'X M^-1, S' is F S + S F - S S: verified word by
    word. Reference: Reid 1972, Riccati Differential Equations (Radon's lemma).
    """
    flow = riccati_flow()
    (S,), (rate,) = flow.unknowns, flow.equations
    (F,) = [matrix for matrix in rate.atoms(sp.MatrixSymbol) if matrix != S]
    (Q,) = stacked_flow().unknowns
    X = sp.MatrixSymbol("X", *Q.shape)
    M, inverse = symmetric("M", Q.shape[1]), symmetric("K", Q.shape[1])
    solution = words(X * inverse * X.T)
    changes = {X: words(F * X), inverse: words(inverse * X.T * X * inverse).scaled(-1)}
    residual = solution.velocity(changes) - words(rate).expanded().substituted({S: solution})
    if not residual.is_zero:
        raise LearningMechanicsError(f"the linear flow misses the Riccati equation by {residual.matrix()}")
    linear = Flow((X, M), (F * X, X.T * X), observables={"S": X * sp.Inverse(M) * X.T})
    trail = flow.trail.then(
        "write as a linear flow",
        linear.statement(),
        reference=_RADON,
        check="put into the Riccati equation, word by word: residual 0",
        residual=0.0,
        given=Equations(((S, linear.observables["S"]),)),
    )
    return Flow(linear.unknowns, linear.equations, linear.observables, trail=trail)


def riccati_matrices(arrays: Mapping[str, Any], imbalance: float = 0.0) -> dict[str, np.ndarray]:
    """What the Riccati equation needs, from W1 (h, d), W2 (o, h) and Sigma_yx (o, d): F, Q and S, J_x and J_y.

    The blocks are those that the derivation gave.

    >>> arrays = {"W1": np.array([[1.0]]), "W2": np.array([[2.0]]), "Sigma_yx": np.array([[5.0]])}
    >>> riccati_matrices(arrays, imbalance=3.0)["F"]
    array([[-1.5,  5. ],
           [ 5. ,  1.5]])
    """
    _, definitions = _stacked()
    values: dict[Any, Any] = {IMBALANCE: float(imbalance)}
    found = {}
    for symbol, blocks in definitions.items():
        for matrix in blocks.atoms(sp.MatrixSymbol):
            values[matrix] = np.asarray(arrays[matrix.name], float)
            values |= dict(zip(matrix.shape, values[matrix].shape, strict=True))
        rows, columns = blocks.blockshape
        found[symbol.name] = np.block(
            [[np.asarray(evaluate(blocks.blocks[i, j], values)) for j in range(columns)] for i in range(rows)]
        )
    inputs = values[dimensions("input")]
    both = np.eye(len(found["Q"]))
    return {**found, "S": found["Q"] @ found["Q"].T, "J_x": both[:inputs], "J_y": both[inputs:]}


def effective_rank(strengths: np.ndarray) -> np.ndarray:
    """Exponential of the entropy of strengths over their sum, (..., K) -> (...): how many singular values count.

    Reference: Roy & Vetterli 2007.

    >>> effective_rank(np.array([[2.0, 2.0, 0.0], [1.0, 0.0, 0.0]]))
    array([2., 1.])
    """
    share = strengths / strengths.sum(-1, keepdims=True)
    return np.exp(-(share * np.log(np.where(share > 0, share, 1.0))).sum(-1))
