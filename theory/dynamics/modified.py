"""Backward error analysis: the flow that a discrete optimizer follows to any order in its learning rate.

A step x+ = x + eta d_1(x) + eta^2 d_2(x) + ... with heavy-ball momentum beta is the time-eta map of
x' = f_1 + eta f_2 + ...  Matching powers of eta, with D_f the derivative along f,

    (1 - beta) f_j = d_j - sum_{i=2..j} (1 + (-1)^i beta) / i!  [D^i x]_j ,

with Nesterov's momentum plus the change of the last gradient, -beta sum_{i=1..j-1} (-1)^i / i! [D^i d_1]_{j-1}, and
for gradient descent f_2 = -f' f / 2: the flow on the loss L + eta / 4 |grad L|^2. Of one unknown the same series
may be cut in the time per unit of x instead, dt/dx = 1/f + eta f'/(2 f) + ..., which integrates: every time law
t = F(x) becomes t = F(x) + eta/2 log f(x), and `closed_form` solves it.

Reference: Barrett, Dherin 2020 (arXiv:2009.11162); Ghosh, Lyu, Zhang, Wang 2023 (arXiv:2302.00849) for momentum.
"""

from typing import Any

import sympy as sp

from ..errors import AssumptionViolated, NoClosedForm, UnknownName
from ..symbols import LEARNING_RATE
from ..system import Flow, Map, System
from ..trail import Equations

BARRETT_DHERIN = "Barrett, Dherin 2020 (arXiv:2009.11162)"
GHOSH = "Ghosh, Lyu, Zhang, Wang 2023 (arXiv:2302.00849)"


def modified_flow(
    system: System,
    learning_rate: Any = LEARNING_RATE,
    order: int = 1,
    momentum: Any = 0,
    form: str = "series",
    nesterov: bool = False,
) -> Flow:
    """The flow whose time-eta map is one optimizer step, up to O(eta^(order+1)) per unit time.

    system         a `Flow` x' = f (a step is then x + eta f), or a `Map` x+ = x + O(eta)
    learning_rate  the symbol eta in the map, or for a flow any expression or number
    order          highest power of eta kept; 0 gives the plain flow
    momentum       beta of the heavy ball x+ = x + eta f + beta (x - x_previous), as in `optax.sgd(momentum=beta)`;
                   time stays t = eta k, so that the plain flow is sped up by 1 / (1 - beta)
    nesterov       with Nesterov's momentum, as in `optax.sgd(momentum=beta, nesterov=True)`
    form           "series": x' is cut after eta^order; "rational": dt/dx is, for one unknown, with the same accuracy

    Raises `AssumptionViolated` if the map is not near the identity, `NoClosedForm` for matrix unknowns.

    >>> x, lam = sp.symbols("x lambda", positive=True)
    >>> modified_flow(Flow((x,), (-lam * x,)), order=2).equations[0].expand()
    -eta**2*lambda**3*x/3 - eta*lambda**2*x/2 - lambda*x

    The series of -log(1 - eta lambda) / eta: gradient descent on a quadratic decays faster than its flow.

    >>> print(modified_flow(Flow((x,), (-lam * x,)), form="rational").equations[0])
    -lambda*x/(-eta*lambda/2 + 1)
    """
    if form not in ("series", "rational"):
        raise UnknownName.among(form, ("series", "rational"), kind="form", where="modified flow")
    if not all(isinstance(unknown, sp.Symbol) for unknown in system.unknowns):
        raise NoClosedForm(
            "matrix unknowns",
            where="modified flow",
            remedy="reduce to modes or entries first, or iterate the map itself",
        )
    unknowns = list(system.unknowns)
    steps = _step_series(system, learning_rate, order)
    flow: list[list[Any]] = []  # flow[j] is f_{j+1}, one entry per unknown
    for j in range(1, order + 2):
        total = list(steps[j - 1])
        for i in range(2, j + 1):
            for k, coefficient in enumerate(_nested(flow, flow, unknowns, i, j)):
                total[k] -= (1 + (-1) ** i * momentum) * coefficient / sp.factorial(i)
        if nesterov:  # x+ = x + eta (f + beta (f - f_previous)) + beta (x - x_previous)
            for i in range(1, j):
                for k, coefficient in enumerate(_nested(steps[:1], flow, unknowns, i + 1, j)):
                    total[k] -= momentum * (-1) ** i * coefficient / sp.factorial(i)
        flow.append([sp.factor_terms(sp.expand(entry / (1 - momentum))) for entry in total])
    if form == "rational":
        equations: tuple[Any, ...] = (_rational([entries[0] for entries in flow], unknowns, learning_rate),)
    else:
        equations = tuple(
            sum((flow[j][k] * learning_rate**j for j in range(order + 1)), sp.S.Zero) for k in range(len(unknowns))
        )
    trail = system.trail.then(
        "modified flow",
        Equations(tuple(zip(system.unknowns, equations, strict=True)), "flow"),
        assumption=f"learning rate to order {order}",
        reference=BARRETT_DHERIN if momentum == 0 else GHOSH,
        given=Equations(((sp.Symbol("order"), sp.Integer(order)),)) if momentum == 0 and form == "series" else None,
    )
    return Flow(system.unknowns, equations, system.observables, system.eliminated, trail)


def modified_loss(loss: Any, on: Any, learning_rate: Any = LEARNING_RATE, momentum: Any = 0) -> Any:
    """The loss whose gradient flow gradient descent follows to second order: L + eta/4 (1+beta)/(1-beta) |grad L|^2.

    Momentum in its averaged form, m+ = beta m + (1 - beta) grad L, x+ = x - eta m; for `optax.sgd(rate, momentum)`
    this eta is rate / (1 - beta).

    >>> x = sp.Symbol("x")
    >>> modified_loss(x**2 / 2, on=(x,))
    eta*x**2/4 + x**2/2
    """
    gradient = [sp.diff(loss, unknown) for unknown in (on if isinstance(on, tuple | list) else (on,))]
    return loss + learning_rate / 4 * (1 + momentum) / (1 - momentum) * sum(part**2 for part in gradient)


def start_up_delay(learning_rate: Any, momentum: Any, nesterov: bool = False) -> Any:
    """Time that momentum loses while it builds up from zero: the flow of `modified_flow` should start that much later.

        eta beta / (1 - beta)  for the heavy ball,      eta beta^2 / (1 - beta)  for Nesterov's momentum

    From the memory at rest under a constant force f, x_k = f / (1 - beta) (eta k - delay) once beta^k is forgotten.
    Without the shift a run with momentum is at first order in eta however good its flow.

    >>> eta, beta = sp.symbols("eta beta", positive=True)
    >>> print(start_up_delay(eta, beta), start_up_delay(eta, beta, nesterov=True))
    beta*eta/(1 - beta) beta**2*eta/(1 - beta)
    """
    j, beta = sp.Symbol("j", integer=True, nonnegative=True), sp.Dummy("beta", positive=True)
    memory = (1 - beta ** (j + 1)) / (1 - beta)  # m+ = beta m + 1 after j + 1 steps from rest
    step = 1 + beta * memory if nesterov else memory
    # every step lacks share x beta^j of its final length 1 / (1 - beta); all steps together lack the share
    share = sp.simplify((1 - (1 - beta) * step) / beta**j)
    return learning_rate * share.subs(beta, momentum) / (1 - momentum)


def _rational(flow: list[Any], unknowns: list, learning_rate: Any) -> Any:
    """f_1 / (1 + eta r_1 + ...): the reciprocal of the series of 1 / (f_1 + eta f_2 + ...)."""
    if len(unknowns) != 1:
        raise NoClosedForm(
            f"{len(unknowns)} unknowns have no time law", where="modified flow", remedy='use form="series"'
        )
    shares = [sp.S.One]  # of dt/dx, in units of 1 / f_1
    for n in range(1, len(flow)):
        known = sum((flow[k] * shares[n - k] for k in range(1, n + 1)), sp.S.Zero)
        shares.append(sp.factor(sp.cancel(sp.together(-known / flow[0]))))
    return flow[0] / sum((share * learning_rate**n for n, share in enumerate(shares)), sp.S.Zero)


def _step_series(system: System, learning_rate: Any, order: int) -> list[list[Any]]:
    """d_1, d_2, ...: the Taylor coefficients of the step in the learning rate."""
    if isinstance(system, Flow):
        return [list(system.equations)] + [[sp.S.Zero] * len(system.unknowns)] * order
    if not isinstance(system, Map):
        raise NoClosedForm("a fixed point has no steps", where="modified flow", remedy="pass a flow or a map")
    if not isinstance(learning_rate, sp.Symbol):
        raise NoClosedForm(
            f"the learning rate of a map must be its symbol, not {learning_rate}",
            where="modified flow",
            remedy="substitute the number afterwards",
        )
    change = [sp.sympify(new) - old for new, old in zip(system.equations, system.unknowns, strict=True)]
    for unknown, entry in zip(system.unknowns, change, strict=True):
        rest = sp.simplify(entry.subs(learning_rate, 0))
        if rest != 0:
            raise AssumptionViolated(
                f"at zero learning rate {unknown} still moves by {rest}",
                where="modified flow",
                remedy="for heavy ball pass the flow and momentum=",
            )
    return [
        [(entry.diff(learning_rate, j) / sp.factorial(j)).subs(learning_rate, 0) for entry in change]
        for j in range(1, order + 2)
    ]


def _nested(fields: list[list[Any]], flow: list[list[Any]], unknowns: list, depth: int, order: int) -> list[Any]:
    """The sum over k_1 + ... + k_depth = order of D_{k_1} ... D_{k_{depth-1}} g_{k_depth}, D_k along f_k.

    For g = f it is [D^depth x]_order; `fields` holds g_1, g_2, ..., those beyond it are zero.
    """
    if depth == 1:
        return list(fields[order - 1]) if order <= len(fields) else [sp.S.Zero] * len(unknowns)
    total = [sp.S.Zero] * len(unknowns)
    for first in range(1, order - depth + 2):
        inner = _nested(fields, flow, unknowns, depth - 1, order - first)
        for k, entry in enumerate(inner):
            total[k] += sum(entry.diff(x) * velocity for x, velocity in zip(unknowns, flow[first - 1], strict=True))
    return [sp.expand(entry) for entry in total]
