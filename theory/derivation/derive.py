"""From a loss to its equations of motion: gradient flow and gradient descent, of scalars, matrices and networks.

The equation to remember: for a linear network with end-to-end map F and error E = Sigma_yx - F Sigma_xx, every place
where a weight stands in a word of F, `left W right`, pulls it by `left' E right'`:

    W' = sum over places of  left' E right'.

Every derivative is compared with a numerical one at random points before it is returned; the residual is in the trail.

>>> from ..network import chain
>>> print(network_flow(chain("input", "width", "output")))
Flow
  W1' = W2.T*(Sigma_yx - W2*W1*Sigma_xx)
  W2' = (Sigma_yx - W2*W1*Sigma_xx)*W1.T
  end_to_end = W2*W1
  loss = target_power/2 - Trace(W2*W1*Sigma_yx.T) + Trace(W2*W1*Sigma_xx*W1.T*W2.T)/2
"""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import sympy as sp

from ..errors import LearningMechanicsError, NoClosedForm, UnknownName
from ..network import Network
from ..symbols import LEARNING_RATE, positive
from ..system import Flow, Map
from ..trail import Equations, Trail
from .noncommutative import Words, occurrences, symmetric, trace_terms, transpose_word, words
from .probe import gradient_residual

_TOLERANCE = 1e-9  # complex steps are exact to rounding; kinked losses use central differences, good to about 1e-9
COPIES = sp.Symbol("copies")  # how many equal parameters one unknown stands for
_BALDI = "Baldi & Hornik 1989; Saxe, McClelland & Ganguli 2013, arXiv:1312.6120"


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
    return _recorded(made, "one step of size " + str(learning_rate))


def network_flow(network: Network, loss: str = "squared") -> Flow:
    """Matrix equations of motion of a linear network under gradient flow on the squared loss, any graph, any data.

    Weights W (out, in); data enter through Sigma_xx = mean x x' (input, input), Sigma_yx = mean y x' (output, input)
    and target_power = mean |y|^2. Sums, skips, tied weights and fan-in multipliers are followed through the graph.
    Observables: "end_to_end" (output, input) and "loss" = 1/2 mean |y - F x|^2. Raises `NoClosedForm` naming the node
    where the network is not linear.

    >>> from ..network import chain
    >>> flow = network_flow(chain("input", 4, 4, "output"))
    >>> print(flow.equations[1])
    W3.T*(Sigma_yx - W3*W2*W1*Sigma_xx)*W1.T
    """
    if loss != "squared":
        raise UnknownName.among(loss, ["squared"], kind="loss", where="network_flow")
    end_to_end = linear_map(network)
    rows, columns = end_to_end.shape
    Sigma_xx = symmetric("Sigma_xx", columns)
    Sigma_yx = sp.MatrixSymbol("Sigma_yx", rows, columns)
    F = end_to_end.matrix()
    population = sp.Trace(F * Sigma_xx * F.T) / 2 - sp.Trace(F * Sigma_yx.T) + positive("target_power") / 2
    error = Words({((sp.MatAdd(Sigma_yx, words(F * Sigma_xx).scaled(-1).matrix()), False),): sp.S.One}, (rows, columns))

    weights = network.weights()
    velocities = tuple(_pull(end_to_end, error, weight) for weight in weights)
    for weight, velocity in zip(weights, velocities, strict=True):
        # the chain rule through the graph against the product rule on the loss itself
        if not (velocity.expanded() + _trace_gradient(population, weight)).is_zero:
            raise LearningMechanicsError("two derivations of the gradient disagree", where=str(weight))
    equations = tuple(velocity.matrix() for velocity in velocities)
    residual = gradient_residual(population, weights, [-equation for equation in equations])
    _accept(residual, population)

    trail = Trail().then("network", F, reference=_BALDI).then("loss", population)
    flow = Flow(weights, equations, observables={"end_to_end": F, "loss": population}, trail=trail)
    return _recorded(flow, "gradient flow", check=f"complex step: {residual:.1e}", residual=residual)


def network_map(network: Network, loss: str = "squared", learning_rate: Any = LEARNING_RATE) -> Map:
    """Full-batch gradient descent on a linear network, exactly: W+ = W + eta x (the right side of `network_flow`).

    >>> from ..network import chain
    >>> print(network_map(chain("input", "output")).equations[0])
    eta*(Sigma_yx - W1*Sigma_xx) + W1
    """
    return discretised(network_flow(network, loss), learning_rate)


def linear_map(network: Network) -> Words:
    """The end-to-end map of a linear network as a sum of words in its weights.

    >>> from ..network import chain
    >>> print(linear_map(chain(5, 3, 2)).matrix())
    W2*W1
    """
    for node in network.nodes:
        reason = f"applies {node.activation}" if node.activation not in ("", "identity") else ""
        reason = reason or (f"adds the bias {node.bias}" if node.bias else "")
        if reason:
            raise NoClosedForm(
                f"node {node.name!r} {reason}, so the network is not linear in its input",
                where="network_flow",
                remedy="drop it, or train the network numerically",
            )
    applied = words(network.symbolic()).expanded()
    # every word ends with the inputs X (input, samples), which are dropped to leave the map itself
    (inputs,) = {word[-1][0] for word in applied.terms}
    return Words({word[:-1]: value for word, value in applied.terms.items()}, (applied.shape[0], inputs.shape[0]))


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


def statement(system) -> Equations:
    """The equations of a system, for its trail."""
    return system.statement()


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
    if _is_polynomial(loss, unknown):
        return _trace_gradient(loss, unknown).matrix()
    # beyond words (inverses, functions of entries) SymPy's rule is tried; the numerical comparison decides
    return sp.diff(loss, unknown)


def _is_polynomial(loss, unknown) -> bool:
    try:
        rest, traces = trace_terms(loss)
    except ValueError:
        return False
    odd = [m for _, p in traces for m in p.letters() if not isinstance(m, sp.MatrixSymbol) and m.has(unknown)]
    scalar = any(coefficient.has(unknown) for coefficient, _ in traces)
    return not (rest.has(unknown) or odd or scalar)


def _trace_gradient(loss, weight) -> Words:
    """Gradient of a sum of traces: tr(left W right) gives (right left)', tr(left W' right) gives right left."""
    total = Words({}, weight.shape)
    for coefficient, polynomial in trace_terms(loss)[1]:
        for word, value in polynomial.terms.items():
            for left, transposed, right in occurrences(word, weight):
                turned = right + left if transposed else transpose_word(right + left)
                total = total + Words({turned: coefficient * value}, weight.shape)
    return total


def _pull(end_to_end: Words, error: Words, weight) -> Words:
    total = Words({}, weight.shape)
    for word, value in end_to_end.terms.items():
        for left, transposed, right in occurrences(word, weight):
            assert not transposed, "a network applies its weights untransposed"
            before = Words({transpose_word(left): value}, (weight.shape[0], error.shape[0]))
            after = Words({transpose_word(right): sp.S.One}, (error.shape[1], weight.shape[1]))
            total = total + before * error * after
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
