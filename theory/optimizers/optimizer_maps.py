"""Any gradient flow under another optimizer: what one step does to scalars, modes or whole matrices, exactly.

A flow u' = F(u) with F = -dL/du says all an optimizer needs. With f = F - mu u (mu: coupled weight decay), rate eta and
momentum beta, in the conventions of optax (v+ = beta v - f, so v sums past gradients):

    gradient descent  u+ = u + eta f             heavy ball  u+ = u - eta v+
    sign descent      u+ = u + eta sign(f)       Nesterov    u+ = u + eta (f - beta v+)
    Muon              u+ = u - eta polar(v+), with the polar factor U V' of a matrix U S V'

>>> from ..derivation.network_flow import network_flow
>>> from ..derivation.standard_assumptions import Aligned, Balanced, Whitened
>>> from ..architecture.network import chain
>>> flow = network_flow(chain("input", "width", "output"))
>>> print(with_optimizer(flow, "heavy_ball").equations[0])
eta*((-beta)*v_W1 + W2.T*(Sigma_yx - W2*W1*Sigma_xx)) + W1
>>> muon = with_optimizer(flow, "muon")
>>> print(muon.equations[0])
eta*Polar(W2.T*(Sigma_yx - W2*W1*Sigma_xx)) + W1
>>> print(muon.assume(Whitened(), Aligned(), Balanced()).equations[0])
u + eta*sign(s - u**2)
"""

from dataclasses import replace
from typing import Any

import sympy as sp

from ..derivation.derive import discretised
from ..derivation.noncommutative import Polar
from ..dynamics.update_rules import MOMENTUM
from ..errors import BadData, NoClosedForm, UnknownName
from ..symbols import LEARNING_RATE, positive, velocity
from ..system import Flow, Map

DECAY = positive("mu")
_SIGN = sp.Lambda(sp.Symbol("z", real=True), sp.sign(sp.Symbol("z", real=True)))
_REFERENCES = {
    "heavy_ball": "Polyak 1964",
    "nesterov": "Nesterov 1983",
    "sign_descent": "Bernstein, Wang, Azizzadenesheli & Anandkumar 2018, arXiv:1802.04434",
    "muon": "Bernstein & Newhouse 2024, arXiv:2409.20325",
}
OPTIMIZERS = ("gradient_descent", *_REFERENCES)
_KUNIN = "Kunin, Bloom, Goeva & Seed 2019, arXiv:1901.08168"
_REMEMBERING = ("heavy_ball", "nesterov", "muon")


def decayed(flow: Flow, decay: Any = DECAY) -> Flow:
    """Gradient flow of the loss plus decay/2 times the sum of squares of all unknowns: every equation gains - decay u.

    >>> from ..derivation.network_flow import network_flow
    >>> from ..architecture.network import chain
    >>> print(decayed(network_flow(chain("input", "output"))).equations[0])
    (-mu)*W1 + Sigma_yx - W1*Sigma_xx
    """
    equations = tuple(_sum((1, f), (-decay, u)) for u, f in zip(flow.unknowns, flow.equations, strict=True))
    made = replace(flow, equations=equations)
    return replace(made, trail=flow.trail.then("weight decay", made.statement(), reference=_KUNIN))


def with_optimizer(
    flow: Flow,
    name: str = "gradient_descent",
    learning_rate: Any = LEARNING_RATE,
    momentum: Any = None,
    weight_decay: Any = 0,
) -> Map:
    """The recursion of a gradient flow's unknowns under an optimizer by name.

    `flow` is a gradient flow of scalars, modes or matrices: of a loss (`gradient_flow`) or a network (`network_flow`).
    Momentum methods have one more unknown v_u for each u, of its shape, which starts at zero; the momentum is the
    symbol beta unless given (Muon: none unless given). `weight_decay` mu adds mu u to the gradient, before any
    momentum. Sign descent acts on every entry; Muon on matrices, and on scalars and modes as 1 x 1 matrices: their
    sign. Errors: `UnknownName`, `NoClosedForm` for what is no flow, `BadData` for a momentum that nothing uses.

    >>> from ..derivation.derive import gradient_flow
    >>> w, s, mu = sp.symbols("w s mu", real=True)
    >>> print(with_optimizer(gradient_flow((s - w) ** 2 / 2, on=w), "nesterov", weight_decay=mu))
    Map
      w+ = eta*(-beta**2*v_w + (beta + 1)*(-mu*w + s - w)) + w
      v_w+ = beta*v_w + mu*w - s + w
      loss = (s - w)**2/2
    """
    if name not in OPTIMIZERS:
        raise UnknownName.among(name, OPTIMIZERS, kind="optimizer", where="with_optimizer")
    if not isinstance(flow, Flow):
        raise NoClosedForm(
            f"a {type(flow).__name__} has no gradient", where="with_optimizer", remedy="start from the gradient flow"
        )
    if momentum is not None and name not in _REMEMBERING:
        raise BadData(f"{name} has no momentum", where="with_optimizer", remedy="use heavy_ball or nesterov")
    if momentum is None:
        momentum = MOMENTUM if name in ("heavy_ball", "nesterov") else 0
    pulled = decayed(flow, weight_decay) if weight_decay != 0 else flow
    if name in ("gradient_descent", "heavy_ball", "nesterov") and momentum == 0:
        return discretised(pulled, learning_rate)
    forces = dict(zip(pulled.unknowns, pulled.equations, strict=True))
    memories = {u: _sum((momentum, velocity(u)), (-1, force)) for u, force in forces.items() if momentum != 0}
    steps = {u: _step(name, u, force, memories.get(u), learning_rate, momentum) for u, force in forces.items()}
    equations = steps | {velocity(u): memory for u, memory in memories.items()}
    made = Map(tuple(equations), tuple(equations.values()), flow.observables, flow.eliminated, pulled.trail)
    rule = f"{name.replace('_', ' ')}, one step of size {learning_rate}"
    return replace(made, trail=made.trail.then(rule, made.statement(), reference=_REFERENCES[name]))


def _step(name, unknown, force, memory, learning_rate, momentum):
    """The next value of one unknown."""
    if name == "sign_descent":
        direction = _sign(force)
    elif name == "muon":
        # the polar factor is odd
        direction = _polar(force) if memory is None else _sum((-1, _polar(memory)))
    elif name == "heavy_ball":
        direction = _sum((1, force), (-momentum, velocity(unknown)))
    else:
        direction = _sum((1 + momentum, force), (-(momentum**2), velocity(unknown)))
    return _sum((1, unknown), (learning_rate, direction))


def _sign(force):
    return force.applyfunc(_SIGN) if isinstance(force, sp.MatrixExpr) else sp.sign(force)


def _polar(force):
    return Polar(force) if isinstance(force, sp.MatrixExpr) else sp.sign(force)


def _sum(*terms):
    """The sum of (coefficient, expression) pairs; products of matrices are not multiplied out."""
    if not isinstance(terms[0][1], sp.MatrixExpr):
        return sp.Add(*(coefficient * expression for coefficient, expression in terms))
    scaled = [_scaled(coefficient, expression) for coefficient, expression in terms]
    flat = [part for term in scaled for part in (term.args if isinstance(term, sp.MatAdd) else (term,))]
    return flat[0] if len(flat) == 1 else sp.MatAdd(*flat)


def _scaled(coefficient, matrix):
    if coefficient == 1:
        return matrix
    if isinstance(matrix, sp.MatAdd) and coefficient == -1:
        return sp.MatAdd(*(_scaled(-1, term) for term in matrix.args))
    own, factors = matrix.as_coeff_matrices() if isinstance(matrix, sp.MatMul) else (sp.S.One, (matrix,))
    coefficient = coefficient * own
    return sp.MatMul(*factors) if coefficient == 1 else sp.MatMul(coefficient, *factors)
