"""Beyond the edge of stability: the orbit of period two of gradient descent on a linear network, of any depth.

One balanced mode moves by u+ = u + eta u^(L-1) (s - u^L). Two steps that return, u -> r u -> u, are two equations,
linear in eta and eta s, so the ratio r of successive strengths parametrises the whole orbit:

    eta s^(2 - 2/L) = (r - 1) (1 + r^(2L-1))^(2 - 2/L) / (r^(L-1) (r^L - 1) (1 + r^(L-1))^(1 - 2/L)),
    u^L = s (1 + r^(L-1)) / (1 + r^(2L-1)).

r = 1 is the minimum at the edge, eta x sharpness = 2. Two layers: r + 1/r = 1 + eta s, multiplier 9 - 2 (1 + eta s)^2,
stable until eta s = sqrt(5) - 1. An imbalance between layers is multiplied by 2 - u+/u in every step, so by
(2 - r) (2 - 1/r) < 1 around the orbit: it decays.
"""

import math
from functools import cache
from typing import Any

import sympy as sp

from ...derivation.derive import discretised, gradient_flow
from ...errors import LearningMechanicsError
from ...symbols import LEARNING_RATE, modes, positive
from ...system import FixedPoint, Map
from ...trail import Equations
from ..linear_networks import mode_map
from .blocks import balanced_pair, one_mode_curvature

_COHEN = "Cohen et al. 2021, arXiv:2103.00065"
_FLIP = "Guckenheimer & Holmes 1983"


def orbit_in_ratio(system: Map) -> dict[str, Any]:
    """What an orbit of period two u -> r u -> u of a map u+ = u + eta s g(u) - eta h(u) has in terms of r and u.

    "eta" and "s" as functions of r and u; "multiplier", the product of both slopes. For powers g and h, and symbolic
    exponents, everything but u itself depends on r alone.

    >>> orbit = orbit_in_ratio(mode_map(2))
    >>> print(orbit["s"], "|", orbit["eta"], "|", orbit["multiplier"])
    u**2*(r**2 - r + 1) | 1/(u**2*r) | -(r**2 - 2)*(2*r**2 - 1)/r**2
    """
    (u,), (step,) = system.unknowns, system.equations
    r, eta, s, product = positive("r"), LEARNING_RATE, _target(system), sp.Dummy("eta s", positive=True)

    def at(expression, value):
        return sp.expand(sp.expand_power_base(expression.subs(u, value)))

    returns = [at(step, u) - r * u, at(step, r * u) - u]
    returns = [sp.expand(condition).subs(eta * s, product) for condition in returns]
    ((rate, scaled),) = sp.linsolve(returns, [eta, product])
    found = {"eta": sp.factor(_powers(rate)), "s": sp.factor(_powers(scaled / rate))}
    slopes = [at(sp.diff(step, u), value).subs(eta * s, product) for value in (u, r * u)]
    multiplier = sp.Mul(*slopes).subs({eta: rate, product: scaled})
    return {**found, "multiplier": sp.factor(_powers(sp.expand(multiplier)))}


@cache
def two_step_orbit(depth: int) -> FixedPoint:
    """The ratio r of the next to the present strength of a layer, on the orbit of period two; 1 below the edge.

    The equation has the roots r and 1/r, the two points of the orbit. Observables: the end-to-end "strength" a now and
    "next_strength"; "eta_sharpness", the learning rate times the sharpness of the minimum; the "multiplier" by which
    two steps scale a deviation, and the "imbalance_factor" by which they scale a difference between layers.

    >>> orbit = two_step_orbit(2)
    >>> print(orbit.observables["strength"], "|", orbit.observables["imbalance_factor"])
    s/(r**2 - r + 1) | (2 - 1/r)*(2 - r)
    """
    system = mode_map(depth)
    (u,), r, s, eta = system.unknowns, modes("r"), _target(system), LEARNING_RATE
    orbit = {name: value.subs(positive("r"), r) for name, value in orbit_in_ratio(system).items()}
    share = sp.cancel(u**depth / orbit["s"])
    exponent = 2 - sp.Rational(2, depth)
    rate = sp.cancel(orbit["eta"] * u ** (2 * depth - 2)) * share ** (-exponent)
    multiplier = sp.cancel(orbit["multiplier"])
    # layers apart: one step scales their difference by 1 - eta H, H the Hessian eigenvalue across the mode
    across = one_mode_curvature(depth).observables["across"].subs({positive("a"): u**depth, positive("s"): s})
    step = system.equations[0]
    residuals = [
        sp.simplify(rate.subs(r, 1) - sp.Rational(2, depth)),
        sp.expand(sp.powsimp(1 - eta * across - (2 - sp.expand(step / u)))),
        *(value for value in (share, rate, multiplier) if value.has(u)),
    ]
    if any(residual != 0 for residual in residuals):
        raise LearningMechanicsError(f"{residuals} are left over", where="two_step_orbit")
    observables = {
        "strength": s * share,
        "next_strength": s * share * r**depth,
        "eta_sharpness": depth * rate,
        "multiplier": multiplier,
        "imbalance_factor": (2 - r) * (2 - 1 / r),
    }
    edge = sp.Max(sp.Rational(2, depth), eta * s**exponent)
    trail = (
        system.trail.then(
            "two steps that return, u -> r u -> u, solved for eta and s",
            Equations(((eta, orbit["eta"]), (s, orbit["s"]))),
            check="linear in eta and eta s",
        )
        .then("free of u", Equations(((eta * s**exponent, rate),)), check="2/L at r = 1: the edge")
        .then("product of both slopes", Equations(((positive("mu"), multiplier),)), reference=_FLIP)
        .then(
            "layers apart: each step scales their difference by 1 - eta H = 2 - u+/u",
            Equations(((positive("delta"), observables["imbalance_factor"]),)),
            check="with the Hessian eigenvalue across the mode, expanded: equal",
            reference=_COHEN,
        )
    )
    return FixedPoint((r,), (rate - edge,), observables, trail=trail)


@cache
def two_layer_orbit() -> dict[str, Any]:
    """Two layers, in p = eta s: the second iterate of v+ = v (1 + p - v^2), v = u sqrt(eta), factored over Q(p).

    "orbit" vanishes on the orbit of period two, x = v^2 = eta a; "multiplier"; "onset" and "loss" of its stability.

    >>> for name, value in two_layer_orbit().items():
    ...     print(name, "=", value)
    orbit = x**2 + x*(-p - 1) + 1
    multiplier = -2*p**2 - 4*p + 7
    onset = 1
    loss = -1 + sqrt(5)
    """
    system = mode_map(2)
    (u,), (step,) = system.unknowns, system.equations
    p, v, x = positive("p v x")
    scaled = {u: v / sp.sqrt(LEARNING_RATE), _target(system): p / LEARNING_RATE}
    once = sp.expand(sp.sqrt(LEARNING_RATE) * step.subs(scaled))
    factors = [factor for factor, _ in sp.factor_list(sp.expand(once.subs(v, once) - v), v)[1]]
    # of the other factors, v (v^2 - p) is the fixed points and v^2 - p - 2 the orbit v -> -v
    (quartic,) = [sp.Poly(factor, v) for factor in factors if sp.degree(factor, v) == 4]
    orbit = sp.Poly(quartic.monic().as_expr().subs(v, sp.sqrt(x)), x)
    _, sum_, product = (sign * value for sign, value in zip((1, -1, 1), orbit.all_coeffs(), strict=True))
    slope = sp.diff(once, v).subs(v, sp.sqrt(x))
    multiplier = sp.rem(sp.Poly(slope * slope.subs(x, sum_ - x), x), orbit).as_expr()
    if multiplier.has(x) or product != 1:
        raise LearningMechanicsError("the multiplier depends on the point", where="two_layer_orbit")
    (onset,), (loss,) = (sp.solve(multiplier - value, p) for value in (1, -1))
    return {"orbit": orbit.as_expr(), "multiplier": sp.expand(multiplier), "onset": onset, "loss": loss}


@cache
def flip_coefficient() -> sp.Expr:
    """Normal form f''^2 / 2 + f''' / 3 of the mode map where its slope reaches -1, for any depth L, at s = 1.

    Positive: the orbit that is born is stable (supercritical). It vanishes at L = 1, whose map is linear.

    >>> print(flip_coefficient())
    8*(L - 1)*(5*L - 4)/3
    """
    u, s, L = positive("u s L")
    step = discretised(gradient_flow((s - u**L) ** 2 / 2, on=u, copies=L)).equations[0]
    at_minimum = [sp.diff(step, u, order).subs(s, 1).subs(u, 1) for order in (1, 2, 3)]
    (edge,) = sp.solve(sp.simplify(at_minimum[0]) + 1, LEARNING_RATE)
    second, third = (sp.simplify(value.subs(LEARNING_RATE, edge)) for value in at_minimum[1:])
    return sp.factor(sp.simplify(second**2 / 2 + third / 3))


@cache
def loss_of_stability(depth: int) -> sp.Expr:
    """eta x sharpness of the minimum at which the orbit of period two itself loses stability: its multiplier is -1.

    Exact for two layers, else to 30 digits. Beyond it comes an orbit of period four.

    >>> loss_of_stability(2), round(float(loss_of_stability(3)), 6)
    (-2 + 2*sqrt(5), 2.489215)
    """
    if depth == 2:
        return sp.expand(2 * two_layer_orbit()["loss"])
    system = two_step_orbit(depth)
    (r,) = system.unknowns
    roots = sp.Poly(sp.numer(sp.together(system.observables["multiplier"] + 1)), r).nroots(n=30)
    real = [root for root in roots if root.is_real and root > 1]
    return system.observables["eta_sharpness"].subs(r, min(real)).evalf(30)


def steps_to_settle(multiplier: float, accuracy: float) -> int:
    """Steps after which a deviation from an orbit of period two has shrunk by `accuracy`: |multiplier|^(k/2).

    Close to the onset the multiplier is near 1 and this is long.

    >>> steps_to_settle(9 - 2 * 2.001**2, 1e-12)
    6879
    """
    return math.ceil(2 * math.log(accuracy) / math.log(abs(multiplier)))


@cache
def rotation_threshold() -> FixedPoint:
    """The learning rate beyond which two modes of two layers rotate into each other, one of them on the orbit.

    A complex pair of multipliers leaves the unit circle where the determinant of the odd half is 1 (`_pair_on_orbit`).

    >>> print(rotation_threshold().equations[0])
    eta_c - 2/(s_i + s_j)
    """
    (p, q), determinant, trail = _pair_on_orbit()
    at_onset = {p: two_layer_orbit()["onset"]}
    (crossing,) = [root for root in sp.solve(determinant - 1, q) if root.subs(at_onset) > 0]
    eta_c, s_i, s_j = positive("eta_c s_i s_j")
    (threshold,) = sp.solve((q - crossing).subs({p: eta_c * s_i, q: eta_c * s_j}), eta_c)
    trail = trail.then(
        "a complex pair of multipliers on the unit circle", Equations(((eta_c, threshold),)), reference=_FLIP
    )
    return FixedPoint((eta_c,), (eta_c - threshold,), trail=trail)


@cache
def rotation_growth() -> FixedPoint:
    """Factor g per step by which gradient descent scales such a rotation: the fourth root of that determinant.

    Two steps have a complex pair of multipliers, |mu|^2 = determinant, near the threshold.

    >>> print(rotation_growth().equations[0].subs({LEARNING_RATE: 1, positive("s_i"): 1, positive("s_j"): 1}))
    g - 1
    """
    (p, q), determinant, trail = _pair_on_orbit()
    g, s_i, s_j = positive("g s_i s_j")
    value = sp.factor(determinant).subs({p: LEARNING_RATE * s_i, q: LEARNING_RATE * s_j}) ** sp.Rational(1, 4)
    trail = trail.then("size of a complex pair of multipliers, per step", Equations(((g, value),)), reference=_FLIP)
    return FixedPoint((g,), (sp.expand(g - value),), trail=trail)


@cache
def _pair_on_orbit():
    """Two steps on the pair block of two layers, (1 - eta H_2) (1 - eta H_1), mode i on its orbit and j at its minimum.

    Returns the symbols p = eta s_i and q = eta s_j, the determinant of the odd half, and the trail. The even half keeps
    a multiplier 1, for turning the hidden layer changes no output; its other one is its determinant.
    """
    p, q, x, y = positive("p q x y")  # x and y: eta a_i at the two points of the orbit
    orbit = sp.Poly(two_layer_orbit()["orbit"], x)
    images = {"u_i": sp.sqrt(x), "u_j": sp.sqrt(q), "s_i": p, "s_j": q}
    traces: list[Any] = []
    determinants: list[Any] = []
    for half in balanced_pair(2):
        step = sp.eye(2) - half.subs({symbol: images[str(symbol)] for symbol in half.free_symbols})
        twice = step.subs(x, y) @ step
        for kept, value in ((traces, twice.trace()), (determinants, twice.det())):
            # symmetric in the points of the orbit, whose product is 1
            value = sp.expand(value).subs(sp.sqrt(x) * sp.sqrt(y), 1).subs(y, -orbit.all_coeffs()[1] - x)
            kept.append(sp.rem(sp.Poly(value, x), orbit).as_expr())
    neutral = sp.expand(1 - traces[0] + determinants[0])
    if neutral != 0 or any(value.has(x) for value in determinants):
        raise LearningMechanicsError(f"the even half has no multiplier 1: {neutral}", where="rotation_threshold")
    trail = two_step_orbit(2).trail.then(
        "determinant of two steps on the odd half of the pair block, p = eta s_i, q = eta s_j",
        determinants[1],
        check="the even half has the multiplier 1 of turning the hidden layer: equal",
    )
    return (p, q), determinants[1], trail


def _target(system: Map):
    (target,) = (symbol for symbol in system.parameters if str(symbol) == "s")
    return target


def _powers(expression):
    return sp.powsimp(sp.expand_power_exp(sp.factor(expression)))
