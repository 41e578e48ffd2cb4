"""From a loss to its equations of motion: gradient flow and gradient descent, of scalars, matrices and networks.

The equation to remember is u' = -dL/du. Of a loss in traces of products of matrices, every place where W stands gives

    tr(left W right)  ->  (right left)'.

Every derivative is compared with a numerical one at random points before it is returned; the residual is in the trail.

>>> from ..symbols import matrices
>>> W, M = matrices(W=("n", "r"), M=("n", "n"))
>>> print(gradient_flow(sp.Trace((W * W.T - M).T * (W * W.T - M)) / 4, on=W).equations[0])
((1/2)*M - W*W.T + (1/2)*M.T)*W
"""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import sympy as sp

from ..architecture.network import Network
from ..errors import LearningMechanicsError, UnknownName
from ..symbols import LEARNING_RATE
from ..system import Flow, Map
from ..trail import Equations, Trail
from .network_flow import linear_map as linear_map
from .network_flow import network_flow as network_flow
from .noncommutative import Words, occurrences, transpose_word, words
from .probe import gradient_residual

_TOLERANCE = 1e-9  # complex steps are exact to rounding; kinked losses use central differences, good to about 1e-9
COPIES = sp.Symbol("copies")  # how many equal parameters one unknown stands for


def gradient_flow(loss: Any, on: Sequence[Any] | Any, copies: Any = 1) -> Flow:
    """Gradient flow du/dt = -d loss/du of a scalar expression, on scalar symbols or on matrix symbols.

    A matrix loss holds traces of matrix products. `copies` is for permutation symmetry: when each unknown stands for
    that many equal parameters of a symmetric loss, every one of them moves at 1/copies of the total derivative.

    >>> a, b, s = sp.symbols("a b s", real=True)
    >>> print(gradient_flow((s - a * b) ** 2 / 2, on=(a, b)))
    Flow
      a' = b*(-a*b + s)
      b' = a*(-a*b + s)
      loss = (-a*b + s)**2/2
    """
    loss = sp.sympify(loss)
    unknowns = _unknowns(loss, on)
    gradients, residual = _gradients(loss, unknowns)
    equations = tuple(_negative(gradient, copies) for gradient in gradients)
    trail = Trail().then("loss", loss)
    flow = Flow(unknowns, equations, observables={"loss": loss}, trail=trail)
    notes: dict[str, Any] = {"check": f"numerical derivative: {residual:.1e}", "residual": residual}
    if copies != 1:
        notes |= {"assumption": f"{copies} equal parameters each", "given": Equations(((COPIES, copies),))}
    return _recorded(flow, "gradient flow", **notes)


def gradient_descent(loss: Any, on: Sequence[Any] | Any, learning_rate: Any = LEARNING_RATE, copies: Any = 1) -> Map:
    """Gradient descent u+ = u - eta d loss/du, exactly, for the losses of `gradient_flow`.

    >>> w, s = sp.symbols("w s", real=True)
    >>> print(gradient_descent((s - w) ** 2 / 2, on=w))
    Map
      w+ = eta*(s - w) + w
      loss = (s - w)**2/2
    """
    return discretised(gradient_flow(loss, on, copies), learning_rate)


def discretised(flow: Flow, learning_rate: Any = LEARNING_RATE) -> Map:
    """The explicit Euler map u+ = u + eta F(u) of a flow: gradient descent, if the flow is a gradient flow."""
    steps = tuple(_step(u, learning_rate, f) for u, f in zip(flow.unknowns, flow.equations, strict=True))
    made = Map(flow.unknowns, steps, flow.observables, flow.eliminated, flow.trail)
    given = Equations(((sp.Symbol("step_size"), sp.sympify(learning_rate)),))
    return _recorded(made, "one step of size " + str(learning_rate), given=given)


def network_map(network: Network, loss: str = "squared", learning_rate: Any = LEARNING_RATE) -> Map:
    """Full-batch gradient descent on a linear network, exactly: W+ = W + eta x (the right side of `network_flow`).

    >>> from ..architecture.network import chain
    >>> print(network_map(chain("input", "output")).equations[0])
    eta*(Sigma_yx - W1*Sigma_xx) + W1
    """
    return discretised(network_flow(network, loss), learning_rate)


def tidy(expression: Any) -> Any:
    """The shorter of the expression and its factored form."""
    candidates = [expression, sp.factor_terms(expression)]
    if expression.has(LEARNING_RATE):
        candidates.append(sp.collect(sp.expand(expression), LEARNING_RATE, func=sp.factor))
    if expression.is_polynomial(*expression.free_symbols) and len(sp.Add.make_args(expression.expand())) <= 24:
        candidates.append(sp.factor(expression))
    for product in [c for c in candidates if c.is_Mul and c.could_extract_minus_sign()]:
        # -(z - s) reads worse than (s - z)
        candidates += [sp.Mul(-product / factor, -factor) for factor in product.args if factor.is_Add]
    return min(candidates, key=sp.count_ops)


def _recorded(system, rule: str, **notes: Any):
    return replace(system, trail=system.trail.then(rule, system.statement(), **notes))


def _unknowns(loss, on) -> tuple[Any, ...]:
    unknowns = tuple(on) if isinstance(on, tuple | list | sp.Tuple) else (on,)
    for unknown in unknowns:
        if unknown not in loss.free_symbols:
            raise UnknownName.among(str(unknown), [str(s) for s in loss.free_symbols], kind="unknown", where="loss")
    return unknowns


def _gradients(loss, unknowns) -> tuple[list, float]:
    if any(isinstance(unknown, sp.MatrixSymbol) for unknown in unknowns):
        gradients = [_matrix_gradient(loss, unknown) for unknown in unknowns]
    else:
        gradients = [sp.diff(loss, unknown) for unknown in unknowns]
    residual = gradient_residual(loss, unknowns, gradients)
    _accept(residual, loss)
    return gradients, residual


def _accept(residual: float, loss) -> None:
    if not residual < _TOLERANCE:
        raise LearningMechanicsError(
            f"the symbolic gradient differs from the numerical one by {residual:.1e}",
            where=str(loss),
            remedy="rewrite the loss in traces of products, or train numerically",
        )


def _matrix_gradient(loss, unknown):
    if not isinstance(unknown, sp.MatrixSymbol):
        return sp.diff(loss, unknown)
    traces = {trace: sp.Dummy(f"trace{place}") for place, trace in enumerate(sorted(loss.atoms(sp.Trace), key=str))}
    outer = loss.xreplace(traces)
    polynomials = {trace: words(trace.arg).expanded() for trace in traces}
    plain = all(isinstance(m, sp.MatrixSymbol) or not m.has(unknown) for p in polynomials.values() for m in p.letters())
    if outer.has(unknown) or not plain:
        # beyond words (inverses, functions of entries) SymPy's rule is tried; the numerical comparison decides
        return sp.diff(loss, unknown)
    total = Words({}, unknown.shape)
    for trace, polynomial in polynomials.items():
        slope = sp.diff(outer, traces[trace]).xreplace({dummy: t for t, dummy in traces.items()})
        total = total + _trace_gradient(polynomial, unknown).scaled(slope)
    return total.matrix()


def _trace_gradient(polynomial: Words, weight) -> Words:
    """Gradient of a trace: tr(left W right) gives (right left)', tr(left W' right) gives right left."""
    total = Words({}, weight.shape)
    for word, value in polynomial.terms.items():
        for left, transposed, right in occurrences(word, weight):
            turned = right + left if transposed else transpose_word(right + left)
            total = total + Words({turned: value}, weight.shape)
    return total


def _negative(gradient, copies):
    if isinstance(gradient, sp.MatrixExpr):
        return words(gradient).expanded().scaled(-sp.S.One / copies).matrix()
    return tidy(sp.powsimp(-gradient / copies))


def _step(unknown, learning_rate, velocity):
    if isinstance(unknown, sp.MatrixSymbol):
        factors = velocity.args if isinstance(velocity, sp.MatMul) else (velocity,)
        return sp.MatAdd(unknown, sp.MatMul(learning_rate, *factors))
    return unknown + learning_rate * velocity
