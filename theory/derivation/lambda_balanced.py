"""Lambda-balance of two linear layers, W2'W2 - W1W1' = lambda I, which gradient flow preserves on any data.

On that set the two inner products differ by a number only, so that both are half of their sum N = W1W1' + W2'W2:

    W2'W2 = (N + lambda) / 2,      W1W1' = (N - lambda) / 2.

With white inputs the flow of W1' and of W2 is then one equation (lambda = 0 is the balanced case):

>>> from .derive import discretised
>>> from .network_flow import network_flow
>>> from .standard_assumptions import Whitened
>>> from ..architecture.network import chain
>>> two = chain("input", "width", "output")
>>> print(network_flow(two).assume(Whitened(), LambdaBalanced()).equations[1])
(lambda/2)*W2 + Sigma_yx*W1.T - (1/2)*W2*(W1*W1.T + W2.T*W2)
>>> discretised(network_flow(two)).assume(Whitened(), LambdaBalanced())
Traceback (most recent call last):
...
learning_mechanics.theory.errors.AssumptionViolated: lambda-balanced: one step moves W2'W2 - W1W1' by 8 products \
of the gradients; only the flow preserves it
"""

from dataclasses import replace
from typing import Any

import numpy as np
import sympy as sp

from ..errors import AssumptionViolated, BadData, NoClosedForm
from ..system import Flow
from .assumptions import Invariant
from .noncommutative import Words, words

IMBALANCE = sp.Symbol("lambda", real=True)
_REFERENCE = "Braun, Domine, Fitzgerald & Saxe 2022; Domine et al. 2024, arXiv:2409.14623"


def LambdaBalanced(imbalance: Any = IMBALANCE, radius: float = 1e-6) -> Invariant:
    """W2'W2 - W1W1' = imbalance x identity on the hidden units: a symbol, or a number (0: balanced).

    Distance: |W2'W2 - W1W1' - lambda I| over the fastest rate of the flow, (s_1^2 + lambda^2/4)^(1/2) with s_1 the
    largest singular value of Sigma_yx: how fast the theory errs against how fast the network learns. A symbol takes its
    value from the arrays by name, or else the mean imbalance. lambda > 0 needs a width of at most the number of
    outputs, lambda < 0 of the number of inputs (see `room`); otherwise the distance cannot vanish.
    Reference: Braun et al. 2022; Domine et al. 2024, arXiv:2409.14623.

    >>> W1, W2 = np.array([[3.0, 0.0]]), np.array([[5.0], [0.0]])
    >>> arrays = {"W1": W1, "W2": W2, "Sigma_yx": np.eye(2)}
    >>> LambdaBalanced(16).distance(arrays), round(LambdaBalanced(0).distance(arrays), 12)
    (0.0, 16.0)
    """
    imbalance = sp.sympify(imbalance)

    def measure(values):
        W1, W2 = np.asarray(values["W1"], float), np.asarray(values["W2"], float)
        balance = W2.T @ W2 - W1 @ W1.T
        mean = float(np.trace(balance)) / len(balance)
        number = float(imbalance) if imbalance.is_number else float(values.get(str(imbalance), mean))
        rate = np.hypot(np.linalg.norm(np.asarray(values["Sigma_yx"], float), 2), number / 2)
        return float(np.linalg.norm(balance - number * np.eye(len(balance)), 2) / rate)

    return Invariant(
        "lambda-balanced",
        f"W2'W2 - W1W1' is {imbalance} times the identity",
        lambda system: _reduced(system, imbalance),
        reference=_REFERENCE,
        radius=radius,
        measure=measure,
    )


def room(inputs: int, width: int, outputs: int, imbalance: float) -> None:
    """Raise `BadData` where no weights have that imbalance: W2'W2 = lambda I + W1W1' needs rank `width` for lambda > 0.

    >>> room(5, 4, 3, -1.0)
    >>> room(5, 4, 3, 1.0)
    Traceback (most recent call last):
    ...
    learning_mechanics.theory.errors.BadData: lambda-balanced: imbalance 1.0 needs a width of at most 3 outputs, found 4
    """
    most, side = (outputs, "outputs") if imbalance > 0 else (inputs, "inputs")
    if imbalance and width > most:
        raise BadData(
            f"imbalance {imbalance} needs a width of at most {most} {side}, found {width}", where="lambda-balanced"
        )


def _reduced(system, imbalance):
    W1, W2 = _layers(system)
    field = {unknown: words(e).expanded() for unknown, e in zip(system.unknowns, system.equations, strict=True)}
    balance = words(W2.T * W2) - words(W1 * W1.T)
    if isinstance(system, Flow):
        moved = balance.velocity(field).expanded()
    else:
        moved = (balance.substituted(field) - balance).expanded()
    if not moved.is_zero:
        step = "the flow moves" if isinstance(system, Flow) else "one step moves"
        raise AssumptionViolated(
            f"{step} W2'W2 - W1W1' by {len(moved.terms)} products of the gradients",
            where="lambda-balanced",
            remedy="only the flow preserves it",
        )
    total = sp.MatAdd(W1 * W1.T, W2.T * W2)
    products = {((W2, True), (W2, False)): imbalance, ((W1, False), (W1, True)): -imbalance}
    equations = tuple(_rewritten(field[unknown], products, total).matrix() for unknown in system.unknowns)
    made = replace(system, equations=equations)
    trail = system.trail.then(
        "half the sum for either inner product",
        made.statement(),
        assumption="lambda-balanced",
        reference=_REFERENCE,
        check="tangent, word by word: residual 0",
        residual=0.0,
    )
    return replace(made, trail=trail)


def _layers(system) -> tuple[Any, Any]:
    """The two weight matrices in the order in which they are applied."""
    unknowns = system.unknowns
    if len(unknowns) == 2 and all(isinstance(unknown, sp.MatrixSymbol) for unknown in unknowns):
        for first, second in (unknowns, unknowns[::-1]):
            if second.shape[1] == first.shape[0]:
                return first, second
    raise NoClosedForm(f"the unknowns {', '.join(map(str, unknowns))} are not two layers", where="lambda-balanced")


def _rewritten(polynomial: Words, products, total) -> Words:
    """Every inner product replaced by (total + its imbalance) / 2, from left to right."""
    result = Words({}, polynomial.shape)
    for word, value in polynomial.terms.items():
        place = next((i for i in range(len(word) - 1) if word[i : i + 2] in products), None)
        if place is None:
            result = result + Words({word: value}, polynomial.shape)
            continue
        before, product, after = word[:place], word[place : place + 2], word[place + 2 :]
        shared = Words({(*before, (total, False), *after): value / 2}, polynomial.shape)
        own = Words({(*before, *after): value / 2}, polynomial.shape).scaled(products[product])
        result = result + _rewritten(shared + own, products, total)
    return result
