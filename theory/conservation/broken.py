"""What weight decay, finite steps and momentum make of a conservation law: it is broken, but exactly so.

Decay pulls along -mu theta. Euler's theorem on a homogeneous law h of degree n, <grad h, theta> = n h, makes

    h(t) = h(0) exp(-n mu t)

under gradient flow of any loss. For a quadratic law Q = theta' A theta, with <g, A theta> = 0, a step of finite size
leaves no term of first order:

    Q+ = (1 - eta mu)^2 Q + eta^2 g' A g.

>>> a, b, s = sp.symbols("a b s", real=True)
>>> from ..derivation.derive import gradient_flow
>>> print(decay(gradient_flow((s - a * b) ** 2 / 2, on=(a, b))))
decay  a**2 - b**2: exp(-2*mu*t)
>>> print(quadratic_law())
Map
  Q+ = Q*(-eta*mu + 1)**2 + eta**2*g_g
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import sympy as sp

from ..derivation.conserved import conserved, cyclic, rate_of_change
from ..derivation.noncommutative import trace_terms, words
from ..errors import AssumptionViolated, NoClosedForm
from ..optimizers.optimizer_maps import DECAY, decayed
from ..symbols import LEARNING_RATE, TIME, positive, scalars
from ..system import Flow, Map
from ..trail import Trail
from .lie_algebra import ConservationLaws
from .symmetries import Symmetries

QUANTITY, CROSS = scalars("Q C")
_KUNIN = "Kunin et al. 2020, arXiv:2012.04728"
_LI = "Li, Lyu & Arora 2020, arXiv:2010.02916"


@dataclass(frozen=True)
class Decay:
    """Conserved quantities under weight decay: each shrinks by its own factor, whatever the loss does.

    `flow`   the equations of motion with decay added (None where only laws were given)
    `rates`  law -> degree x weight decay
    """

    flow: Flow | None
    rates: Mapping[Any, Any]

    def at(self, law: Any, time: Any = TIME) -> Any:
        """The factor by which a law has shrunk at that time."""
        return sp.exp(-self.rates[law] * time)

    def to_dict(self) -> dict:
        return {
            "flow": self.flow.to_dict() if self.flow else None,
            "rates": {str(law): str(rate) for law, rate in self.rates.items()},
        }

    def __str__(self) -> str:
        lines = [f"{law}: {self.at(law)}" for law in self.rates]
        return "\n".join(f"{'decay' if place == 0 else '     '}  {line}" for place, line in enumerate(lines))

    __repr__ = __str__


def decay(subject: Any, weight_decay: Any = DECAY, degree: int = 2) -> Decay:
    """How every conserved quantity decays when weight_decay/2 |theta|^2 is added to the loss: exp(-n weight_decay t).

    `subject` is a flow (its laws up to that `degree` are found, and their rates are derived from the flow with decay
    and compared), or laws found by `conservation_laws` or `symmetries`. Raises `NoClosedForm` for a law whose terms
    differ in degree, which mixes factors. Kunin et al. 2020, arXiv:2012.04728.

    >>> from ..derivation.derive import network_flow
    >>> from ..architecture.network import chain
    >>> decay(network_flow(chain("input", "width", "output"))).rates
    {-W1*W1.T + W2.T*W2: 2*mu}
    """
    if isinstance(subject, Flow):
        flow, laws, unknowns = decayed(subject, weight_decay), conserved(subject, degree), subject.unknowns
    elif isinstance(subject, ConservationLaws | Symmetries):
        flow, laws, unknowns = None, subject.laws, subject.parameters
    else:
        raise NoClosedForm(f"{type(subject).__name__} has no laws", where="decay", remedy="give a flow, or found laws")
    rates = {law: homogeneity(law, unknowns) * weight_decay for law in laws}
    if flow is not None:
        for law, rate in rates.items():
            if not _vanishes(rate_of_change(flow, law), rate * law):
                raise AssumptionViolated(f"{law} does not decay at the rate {rate}", where="decay")
        check = "rates of change of the flow with decay, expanded"
        trail = flow.trail.then("decay of the laws", ", ".join(map(str, rates.values())), reference=_KUNIN, check=check)
        flow = replace(flow, trail=trail)
    return Decay(flow, rates)


def homogeneity(law: Any, unknowns) -> int:
    """The degree of a law in the unknowns; raises `NoClosedForm` if its terms differ.

    >>> a, b = sp.symbols("a b")
    >>> homogeneity(a**2 - b**2, (a, b))
    2
    """
    known = set(unknowns)
    if any(isinstance(unknown, sp.MatrixSymbol) for unknown in unknowns):
        polynomials = [words(law).expanded()] if isinstance(law, sp.MatrixExpr) else [p for _, p in trace_terms(law)[1]]
        degrees = {sum(letter in known for letter, _ in word) for p in polynomials for word in p.terms}
    else:
        marks = {unknown: sp.Dummy() for unknown in unknowns}
        polynomial = sp.Poly(law.xreplace(marks), *marks.values())
        degrees = {sum(powers) for powers in polynomial.monoms()}
    if len(degrees) != 1:
        raise NoClosedForm(
            f"{law} has terms of degrees {sorted(degrees)}",
            where="decay",
            remedy="its parts decay at different rates, and are not conserved each",
        )
    return degrees.pop()


def quadratic_law(momentum: Any = 0, weight_decay: Any = DECAY, nesterov: bool = False) -> Map:
    """The exact recursion of a quadratic law Q = theta' A theta under gradient descent, with momentum and decay.

        v+ = momentum v + g,   theta+ = (1 - eta weight_decay) theta - eta v+   (optax.sgd; Nesterov: g + momentum v+)

    holds for every symmetric A with <g, A theta> = 0: balancedness, norms before normalisation, rescaling. Sources are
    measured along the way: g_g = g' A g, the law at the gradient, and with momentum g_v = g' A v and v_v = v' A v;
    C = v' A theta is carried along. Decay is decoupled; without momentum that is the same as in the loss.

    >>> print(quadratic_law(momentum=sp.Symbol("beta"), weight_decay=0).equations[1])
    C*beta - beta**2*eta*v_v - 2*beta*eta*g_v - eta*g_g
    """
    shrink = 1 - LEARNING_RATE * weight_decay
    velocity = {"v": momentum, "g": sp.S.One}
    pull = {"v": momentum**2, "g": 1 + momentum} if nesterov else velocity
    theta = {"theta": shrink, **{name: -LEARNING_RATE * value for name, value in pull.items()}}
    unknowns, next_values = [QUANTITY], [_form(theta, theta)]
    if momentum != 0:
        unknowns, next_values = [QUANTITY, CROSS], [*next_values, _form(velocity, theta)]
    made = Map(tuple(unknowns), tuple(next_values))
    trail = Trail().then("symmetry", "<g, A theta> = 0", reference=_KUNIN)
    return replace(made, trail=trail.then("one step, expanded", made.statement()))


def linear_law(momentum: Any = 0, weight_decay: Any = DECAY, nesterov: bool = False) -> Map:
    """The exact recursion of a linear law Q = b' theta with <g, b> = 0: steps of any size leave no drift.

    With momentum C = b' v is carried along; it is zero if training starts at rest.

    >>> linear_law(weight_decay=0).equations
    (Q,)
    """
    shrunk = (1 - LEARNING_RATE * weight_decay) * QUANTITY
    seen = momentum**2 if nesterov else momentum  # how much of v reaches theta
    made = Map((QUANTITY,), (shrunk,))
    if momentum != 0:
        made = Map((QUANTITY, CROSS), (shrunk - LEARNING_RATE * seen * CROSS, momentum * CROSS))
    trail = Trail().then("symmetry", "<g, b> = 0", reference=_KUNIN)
    return replace(made, trail=trail.then("one step, expanded", made.statement()))


def scale_law(weight_decay: Any = DECAY) -> Map:
    """The squared norm Q of weights before a normalisation: decay against the outward steps of gradient descent.

    A loss of theta/|theta| has gradients of size |g|^2 = G/Q, with G the squared size on the unit sphere. Observables:
    "equilibrium", the norm at which both balance, and "angle", the tangent of the angle turned per step,

        Q_*^2 = eta G / (mu (2 - eta mu)),   at which   angle = sqrt(eta mu (2 - eta mu)) / (1 - eta mu) whatever G.

    Li, Lyu & Arora 2020, arXiv:2010.02916.

    >>> print(scale_law().observables["equilibrium"] ** 2)
    -G*eta/(mu*(eta*mu - 2))
    """
    G, Q = positive("G Q")
    weight_decay = sp.nsimplify(weight_decay)  # the balance is solved exactly
    step = quadratic_law(weight_decay=weight_decay)
    after = step.equations[0].subs({QUANTITY: Q, sp.Symbol("g_g", real=True): G / Q})
    (squared,) = sp.solve(sp.expand((after - Q) * Q).subs(Q, sp.sqrt(square := positive("square"))), square)
    shrink = 1 - LEARNING_RATE * weight_decay
    seen = {"equilibrium": sp.sqrt(squared), "angle": LEARNING_RATE * sp.sqrt(G) / (shrink * Q)}
    made = Map((Q,), (after,), observables=seen)
    residual = sp.simplify((after - Q).subs(Q, seen["equilibrium"]))
    if residual != 0:
        raise AssumptionViolated(f"the equilibrium moves by {residual}", where="scale_law")
    trail = step.trail.then("|g|^2 = G/Q", made.statement(), reference=_LI, check="put back into the recursion: 0")
    return replace(made, trail=trail)


def _form(one: Mapping[str, Any], other: Mapping[str, Any]) -> Any:
    """x' A y of two combinations of theta, v and g, with <g, A theta> = 0."""
    known = {
        ("theta", "theta"): QUANTITY,
        ("theta", "v"): CROSS,
        ("g", "theta"): sp.S.Zero,
        **{pair: sp.Symbol("_".join(pair), real=True) for pair in (("g", "g"), ("g", "v"), ("v", "v"))},
    }
    terms = (a * b * known[min(x, y), max(x, y)] for x, a in one.items() for y, b in other.items())
    return sp.Add(*terms)


def _vanishes(rate: Any, expected: Any) -> bool:
    """Whether rate + expected is zero, as matrices, traces or scalars."""
    if isinstance(rate, sp.MatrixExpr):
        return (words(rate) + words(expected)).expanded().is_zero
    if sp.sympify(expected).atoms(sp.Trace):
        return not cyclic(trace_terms(rate + expected)[1])
    return sp.expand(rate + expected) == 0
