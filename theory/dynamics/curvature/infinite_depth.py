"""Beyond the edge with infinitely many layers: one map, x+ = x + nu e^x (1 - e^x), and its orbit of period two.

With u = s^(1/L) e^(x/L), so that a = s e^x, and nu = eta x sharpness of the minimum, a step of gradient descent on one
balanced mode has a limit at L -> oo that no longer depends on s. Two steps that return, a -> rho a -> a, give

    nu = log(rho) (1 + rho^2)^2 / (rho (rho^2 - 1)),      a = s (1 + rho) / (1 + rho^2).
"""

from functools import cache

import sympy as sp

from ...derivation.derive import discretised, gradient_flow, tidy
from ...errors import LearningMechanicsError
from ...symbols import LEARNING_RATE, positive, scalars
from ...system import FixedPoint, Map
from ...trail import Equations

_nu, _rho, _z = positive("nu rho z")
_x = scalars("x")
_SAXE = "Saxe, McClelland & Ganguli 2013, arXiv:1312.6120"


@cache
def infinite_depth_map() -> Map:
    """Gradient descent on the logarithm x = log(a / s) of a mode's strength, at fixed nu = eta x sharpness.

    >>> print(infinite_depth_map().equations[0])
    nu*(1 - exp(x))*exp(x) + x
    """
    u, s, L = positive("u s L")
    system = discretised(gradient_flow((s - u**L) ** 2 / 2, on=u, copies=L))
    growth = sp.powsimp(sp.expand(system.equations[0] / u))
    images = {LEARNING_RATE: _nu / (L * s ** (2 - 2 / L)), u: s ** (1 / L) * sp.exp(_x / L)}
    inside = sp.expand_power_base(sp.expand(growth.subs(images)), force=True)
    inside = sp.simplify(sp.powsimp(sp.powdenest(inside, force=True)))
    # x+ - x = L log(growth), and growth = 1 + O(1/L)
    change = sp.factor(sp.limit(L * (inside - 1), L, sp.oo))
    if change.has(s):
        raise LearningMechanicsError(f"the limit {change} depends on s", where="infinite_depth_map")
    equation = _x + tidy(change)
    made = Equations(((_x, equation),), "map")
    trail = system.trail.then(
        "u = s^(1/L) e^(x/L), eta = nu / (L s^(2 - 2/L)), L -> oo", made, assumption="large depth", reference=_SAXE
    )
    return Map((_x,), (equation,), {"share": sp.exp(_x)}, trail=trail)


@cache
def infinite_depth_orbit() -> FixedPoint:
    """The ratio rho of the next to the present strength on the orbit of period two, 1 below the edge nu = 2.

    Observables: the "share" a / s now and the "multiplier" of two steps.

    >>> print(infinite_depth_orbit().observables["share"])
    (rho + 1)/(rho**2 + 1)
    """
    system = infinite_depth_map()
    change = (system.equations[0] - _x).subs(_x, sp.log(_z))
    forth, back = sp.simplify(change / _nu), sp.simplify(change.subs(_z, _rho * _z) / _nu)
    # log rho = nu forth = -nu back
    (share,) = [root for root in sp.solve(sp.expand(forth + back), _z) if root != 0]
    rate = sp.factor(sp.log(_rho) / forth.subs(_z, share))
    slope = sp.expand(sp.diff(system.equations[0], _x)).subs(_x, sp.log(_z))
    slopes = [sp.factor(slope.subs(_z, point * share).subs(_nu, rate)) for point in (1, _rho)]
    multiplier = sp.Mul(*slopes)
    if sp.limit(rate, _rho, 1) != 2 or sp.limit(multiplier, _rho, 1) != 1:
        raise LearningMechanicsError("the orbit does not start at the edge", where="infinite_depth_orbit")
    trail = system.trail.then(
        "two steps that return, a -> rho a -> a",
        Equations(((_nu, rate), (positive("share"), share))),
        check="at rho -> 1 the rate is 2 and the multiplier 1: equal",
    )
    observables = {"share": share, "multiplier": multiplier}
    return FixedPoint((_rho,), (rate - sp.Max(2, _nu),), observables, trail=trail)


@cache
def loss_of_stability() -> sp.Expr:
    """eta x sharpness at which that orbit loses stability: the limit of finite depths.

    >>> round(float(loss_of_stability()), 6)
    2.503291
    """
    system = infinite_depth_orbit()
    root = sp.nsolve(system.observables["multiplier"] + 1, _rho, 2.0, prec=30)
    return (system.equations[0].subs(_nu, 2) + 2).subs(_rho, root).evalf(30)
