r"""Heavy ball with sampling noise: three second moments a mode close, because a fresh gradient knows only the present.

With e = w - w*, the move D+ = beta D - eta g and e+ = e + D+, where g has mean lambda e and the second moment G that
`theory.dynamics.moments` derives, the means c = E e^2, x = E e D, u = E D^2 follow

    u+ = beta^2 u - 2 eta beta lambda x + eta^2 G,    x+ = beta x - eta lambda c + u+,    c+ = c + 2 (x+ - u+) + u+.

Reference: Ferbach, Everett, Gidel, Paquette & Paquette 2025, arXiv:2505.16098.
"""

from functools import cache
from typing import Any

import sympy as sp

from ..dynamics.moments import EIGENVALUE, MOMENT, NOISE, affine_parts, gaussian_second_moments
from ..dynamics.update_rules import MOMENTUM
from ..errors import LearningMechanicsError
from ..symbols import LEARNING_RATE, modes, over
from ..system import Map
from .power_law_features import UNRESOLVED, feature_moments

CROSS = modes("x", positive=None, real=True)
MOVE = modes("u", positive=None, nonnegative=True)
REFERENCE = "Ferbach et al. 2025, arXiv:2505.16098"


@cache
def momentum_moments() -> Map:
    """The recursion of (c, x, u) under heavy ball on random features; x = u = 0 at the start.

    Parameters as in `feature_moments`, and the momentum beta (`optax.sgd(momentum)`). Observable "excess_risk".

    >>> print(momentum_moments().unknowns)
    (c, x, u)
    """
    plain = feature_moments()
    eta, lam, beta = LEARNING_RATE, EIGENVALUE, MOMENTUM
    equation = sp.expand(plain.equations[0])
    second = sp.expand((equation - MOMENT + 2 * eta * lam * MOMENT) / eta**2)  # c+ = c - 2 eta lambda c + eta^2 G
    move = beta**2 * MOVE - 2 * eta * beta * lam * CROSS + eta**2 * second
    cross = beta * CROSS - eta * lam * MOMENT + move
    square = MOMENT + 2 * (beta * CROSS - eta * lam * MOMENT) + move
    equations = tuple(sp.expand(row) for row in (square, cross, move))
    left = sp.expand(equations[0].subs(beta, 0) - equation)
    if left != 0:
        raise LearningMechanicsError(f"{left} is left without momentum", where="momentum_moments")
    found = Map((MOMENT, CROSS, MOVE), equations, observables=plain.observables, trail=plain.trail)
    (recursion,) = (i for i, step in enumerate(plain.trail.steps) if step.result == plain.statement())
    trail = plain.trail.then("second moment of a gradient", second, parents=(recursion,))
    trail = trail.then(
        "heavy ball: D+ = beta D - eta g, e+ = e + D+",
        found.statement(),
        reference=REFERENCE,
        check="without momentum the recursion of SGD is left: residual 0",
        residual=0.0,
    )
    return Map(found.unknowns, equations, observables=found.observables, trail=trail)


@cache
def momentum_gain() -> Any:
    """Noise that one unit of loss makes in all later steps: stable below 1, if every mode decays by itself.

    At small steps it is that of SGD at the learning rate eta/(1 - beta).

    >>> gain, eta, beta = momentum_gain(), LEARNING_RATE, MOMENTUM
    >>> print(sp.limit(gain.args[-1].args[0] if gain.is_Mul else gain.args[0], EIGENVALUE, 0))
    0
    """
    map_ = momentum_moments()
    unknowns = map_.unknowns
    _, shared, weight, _ = affine_parts(gaussian_second_moments())
    alone = [row.replace(over, lambda _: sp.S.Zero).subs({NOISE: 0, UNRESOLVED: 0}) for row in map_.equations]
    matrix = sp.Matrix(3, 3, lambda i, j: sp.expand(alone[i]).coeff(unknowns[j], 1))
    made = (sp.eye(3) - matrix).LUsolve(sp.ones(3, 1))[0]  # noise enters all three alike
    return over(sp.factor(sp.simplify(weight * shared * made)))
