"""Alternating gradient flow: how a network of small units learns, one unit (or one group) after another.

    f(x) = sum_i f(x; theta_i),   f(x; s theta) = s^kappa f(x; theta),   U(theta) = mean r(x) . f(x; theta)

While a unit is small it cannot change the residual r, so it climbs its own utility U: its direction turns to a maximum
on the sphere and its norm grows, rho' = kappa U rho^(kappa - 1). When the norm has become of order one the unit is
awake; all that are awake minimise the loss, the residual changes, and the sleeping ones climb the next utility.

>>> print(jump_times(2).equations[0], "|", jump_times(3).equations[0])
2*t*U + log(epsilon) | 3*t*U - 1/epsilon

Reference: Kunin, Marchetti et al. 2025, arXiv:2506.06489.
"""

from dataclasses import replace
from functools import cache
from typing import Any

import sympy as sp

from ...closed_forms.closed_form import closed_form
from ...derivation.derive import discretised, gradient_flow
from ...errors import BadData, LearningMechanicsError
from ...symbols import LEARNING_RATE, STEP, dimensions, matrices, modes, positive
from ...system import FixedPoint, Flow
from ...trail import Equations, Trail

KUNIN = "Kunin, Marchetti et al. 2025, arXiv:2506.06489"

U, rho, epsilon = positive("U rho epsilon")


@cache
def norm_flow(degree: int) -> Flow:
    """The norm of a sleeping unit, in a direction of utility U: the radial part of its climb.

    >>> print(norm_flow(3).equations[0])
    3*U*rho**2
    """
    if not float(degree).is_integer() or degree < 2:
        raise BadData(f"degree {degree}", where="alternating flow", remedy="give a whole number from 2")
    residual, output, angle = sp.symbols("r f phi", real=True)
    loss = (residual - output) ** 2 / 2
    linear = sp.series(loss, output, 0, 2).removeO()
    trail = Trail().then("loss of one output beside the units awake", loss, reference=KUNIN)
    trail = trail.then("small units do not see each other", linear, check="next term f^2/2, of order epsilon^(2 kappa)")
    utility = sp.Function("U")(angle)
    climb = utility * rho**degree
    turn = sp.diff(climb, angle) / rho**2
    trail = trail.then(
        "the climb of a homogeneous utility, in polar coordinates",
        Equations(((rho, sp.diff(climb, rho)), (angle, turn)), "flow"),
        check="its direction moves at rho^(kappa - 2) x slope, its norm at kappa U rho^(kappa - 1)",
    )
    flow = gradient_flow(-U * rho**degree, on=rho)
    settled = trail.then("a direction that has turned to its maximum", flow.statement())
    return replace(flow, trail=settled)


@cache
def jump_times(degree: int, unit: Any = None) -> FixedPoint:
    """The time t at which a unit of norm epsilon and constant utility U wakes, to leading order in epsilon.

    kappa U t = log(1/epsilon) for degree two, epsilon^(2 - kappa)/(kappa - 2) above. `unit` is carried along as an
    observable for the solver, which adds up utilities that change from one jump to the next.
    """
    flow = norm_flow(degree)
    solution = closed_form(flow)
    law = solution.time_law.subs({solution.initial: epsilon, rho: 1})
    clock = sp.log(1 / epsilon) if degree == 2 else epsilon ** (2 - degree)
    leading = sp.limit(sp.expand_log(law) / clock, epsilon, 0, "+") * clock
    time = modes("t")
    equation = sp.expand(degree * U * (time - leading))
    trail = flow.trail.then(
        f"grow to norm one ({solution.method})",
        Equations(((time, law),)),
        check=f"substituted back, residual {solution.residual:.0e}",
        residual=solution.residual,
    )
    trail = trail.then(
        "small starts", Equations(((time, equation),), "fixed point"), check="limit epsilon -> 0", reference=KUNIN
    )
    observables = {} if unit is None else {"unit": unit}
    return FixedPoint((time,), (equation,), observables=observables, trail=trail)


@cache
def jump_times_of_descent(unit: Any = None) -> FixedPoint:
    """`jump_times` of degree two under gradient descent, exact in the learning rate: steps multiply the norm.

    >>> print(jump_times_of_descent().equations[0])
    t*log(2*U*eta + 1) + eta*log(epsilon)
    """
    steps = discretised(norm_flow(2))
    solution = closed_form(steps)
    factor = sp.expand_log(sp.log(solution.expression / solution.initial), force=True).coeff(STEP)
    factor = sp.log(sp.expand(sp.exp(factor)))
    time = modes("t")
    equation = time * factor + LEARNING_RATE * sp.log(epsilon)
    trail = solution.trail.then(
        "grow to norm one, t = eta k", Equations(((time, equation),), "fixed point"), reference=KUNIN
    )
    return FixedPoint((time,), (equation,), observables={} if unit is None else {"unit": unit}, trail=trail)


@cache
def linear_units() -> FixedPoint:
    """Two linear layers: a unit is a hidden neuron, w its incoming and a its outgoing weights, f = a w'x.

    >>> print(linear_units().observables["unit"])
    X*w*a.T
    """
    X, w, a = matrices(X=("P", "input"), w=("input", 1), a=("output", 1))
    unit = X * w * a.T
    if degree_of(unit, (w, a)) != 2:
        raise LearningMechanicsError("not of degree two", where="linear units")
    return _noted(jump_times_of_descent(unit), unit)


@cache
def power_units(depth: int) -> FixedPoint:
    """Diagonal networks: a unit is one entry of w_+ or w_-, f = w^D x with x its signed column of the inputs.

    >>> print(power_units(3).observables["unit"])
    w**3*x
    """
    x, w = sp.MatrixSymbol("x", dimensions("P"), 1), sp.Symbol("w", real=True)
    unit = w**depth * x
    return _noted(jump_times(degree_of(unit, (w,)), unit), unit)


def degree_of(unit: Any, parameters: tuple) -> int:
    """The kappa of f(x; s theta) = s^kappa f(x; theta). Raises `BadData` for a unit that is not homogeneous.

    >>> w, v = sp.symbols("w v", real=True)
    >>> degree_of(v * w**2, (v, w))
    3
    """
    s = sp.Dummy("s", positive=True)
    if isinstance(unit, sp.MatrixExpr):
        sizes = {size: 2 for m in unit.atoms(sp.MatrixSymbol) for size in m.shape if not size.is_number}
        entries = list(unit.subs(sizes).as_explicit())
    else:
        entries = [sp.sympify(unit)]
    names = {str(parameter) for parameter in parameters}

    def moves(symbol):
        return isinstance(symbol, sp.Symbol | sp.matrices.expressions.matexpr.MatrixElement) and (
            str(getattr(symbol, "parent", symbol)) in names
        )

    kappa = {sp.simplify(e.replace(moves, lambda p: s * p) / e) for e in entries}
    degrees = {ratio.as_base_exp()[1] for ratio in kappa if ratio.as_base_exp()[0] == s}
    if len(kappa) == 1 and len(degrees) == 1 and (degree := degrees.pop()).is_Integer:
        return int(degree)
    raise BadData(f"the unit {unit} is not homogeneous", where="alternating flow", remedy="leave biases out")


def _noted(system: FixedPoint, unit) -> FixedPoint:
    if system.observables["unit"] != unit:
        raise LearningMechanicsError("another unit", where="alternating flow")
    return replace(system, trail=system.trail.then("the unit", unit, check="homogeneous: degree found by scaling"))
