"""Diagonal linear networks under discrete steps: what a finite learning rate, or a sign, changes.

    w_+- <- w_+- (1 +- 2 eta g):      log w_+ w_- falls by 4 eta^2 g^2 a step,      w_+ grows at log(1 + 2 eta g)/eta

Gradient descent ends where the flow of a smaller start would have ended; sign descent keeps w_+ + w_- instead of the
product, and so forgets that there are factors.

Reference: Even, Pesme, Gunasekar & Flammarion 2023, arXiv:2302.08982.
"""

from dataclasses import replace
from functools import cache

import sympy as sp

from ...closed_forms.closed_form import closed_form
from ...derivation.derive import discretised
from ...derivation.reduce import project
from ...errors import LearningMechanicsError
from ...symbols import LEARNING_RATE, STEP, matrices, modes, positive
from ...system import FixedPoint, Map
from ...trail import Equations
from .diagonal_networks import PESME, WOODWORTH, alpha, beta, coordinate_flow, interpolator

EVEN = "Even, Pesme, Gunasekar & Flammarion 2023, arXiv:2302.08982"
_p, _m, _START = positive("w_p w_m alpha")
_g = sp.Symbol("g", real=True)


@cache
def effective_interpolator() -> FixedPoint:
    """Depth two under gradient descent: the product w_+ w_- shrinks, so training ends as from a smaller start.

    >>> print(effective_interpolator().observables["effective_start"])
    alpha*exp(-2*E*eta)
    """
    plain, flow = interpolator(2), discretised(coordinate_flow(2))
    product = sp.log(sp.expand(sp.prod(e / u for u, e in zip(flow.unknowns, flow.equations, strict=True))))
    step = sp.series(product, LEARNING_RATE, 0, 3).removeO()  # of log w_+ w_-, in one step
    shrunk = alpha * sp.exp(sp.integrate(step / (2 * LEARNING_RATE * _g**2), (sp.Dummy(), 0, modes("E"))))
    trail = plain.trail.then(
        "one step of descent shrinks the product: E is the time integral of g^2",
        Equations(((sp.Function("alpha")(LEARNING_RATE), shrunk),)),
        reference=EVEN,
        check="second order in the learning rate is left out",
    )
    return replace(plain, observables={**plain.observables, "effective_start": shrunk}, trail=trail)


@cache
def sign_descent() -> Map:
    """Sign descent at depth two: w_+ + w_- is kept exactly, so coefficients move at one pace whatever their size.

    The weights must stay positive, |beta_i| < 4 alpha^2: beyond, the sign of a gradient turns with that of its weight.

    >>> sign_descent().equations[0].args[0]
    (4*alpha*eta)*Lambda(g, sign(g)).(X.T*(-X*b + y))
    """
    sign, total = sp.symbols("sigma n", real=True)
    moved = Map((_p, _m), (_p + LEARNING_RATE * sign, _m - LEARNING_RATE * sign), trail=coordinate_flow(2).trail)
    moved = project(moved, {beta: _p**2 - _m**2, total: _p + _m})
    if moved.equations[1] != total:
        raise LearningMechanicsError("the sum of the weights moves", where="sign descent")
    pace = sp.diff(moved.equations[0], sign).subs(total, 2 * _START)
    X, y, b = matrices(X=("P", "input"), y=("P", 1), b=("input", 1))
    signs = (X.T * (y - X * b)).applyfunc(sp.Lambda(_g, sp.sign(_g)))
    equation = sp.MatAdd(sp.MatMul(pace, signs), b)
    trail = moved.trail.then("all coordinates, from w_+ = w_- = alpha", Equations(((b, equation),), "map"))
    return Map((b,), (equation,), trail=trail)


@cache
def lazy_descent() -> Map:
    """Gradient descent at depth two while no weight has moved far: b+ = b + 8 alpha^2 eta X'r, as if linear."""
    flow = coordinate_flow(2)
    slopes = sp.diff(flow.observables["beta"], _p) ** 2 + sp.diff(flow.observables["beta"], _m) ** 2
    pace = LEARNING_RATE * slopes.subs({_p: _START, _m: _START})
    X, y, b = matrices(X=("P", "input"), y=("P", 1), b=("input", 1))
    equation = sp.MatAdd(sp.MatMul(pace, X.T * (y - X * b)), b)
    trail = flow.trail.then("slopes of the start", Equations(((b, equation),), "map"), reference=WOODWORTH)
    return Map((b,), (equation,), trail=trail)


@cache
def successive_jumps_of_descent() -> FixedPoint:
    """Times t of the jumps of a vanishing start at depth two, exact in the learning rate: steps multiply a weight.

    >>> print(successive_jumps_of_descent().equations[0])
    t*log(2*eta*Abs(g) + 1) + eta*log(alpha)
    """
    flow, time = coordinate_flow(2), modes("t")
    steps = discretised(flow)
    solution = closed_form(Map((_p,), steps.equations[:1], trail=steps.trail))
    factor = sp.expand_log(sp.log(solution.expression / solution.initial), force=True).coeff(STEP)
    growth = sp.log(sp.expand(sp.exp(factor)).subs(_g, sp.Abs(_g)))
    equation = time * growth + LEARNING_RATE * sp.log(alpha)
    trail = solution.trail.then(
        "grow from alpha to order one, t = eta k", Equations(((time, equation),), "fixed point"), reference=PESME
    )
    return FixedPoint((time,), (equation,), trail=trail)
