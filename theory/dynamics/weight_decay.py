"""Weight decay on deep linear networks: what a mode ends at, and when it dies.

    W_l' = - dL/dW_l - mu W_l     ->     u' = u^(L-1) (s - u^L) - mu u,      u = a^(1/L)

A mode rests where a^(1 - 2/L) (s - a) = mu. Two layers: the soft threshold a = max(s - mu, 0). From three layers on the
left side has a maximum: a learned mode shrinks to a finite strength and then jumps to zero (a hard threshold), long
after zero has become the better minimum; and zero attracts every start below the smaller root, whatever mu > 0.

>>> print(critical_decay().equations[0])
-L*s**(2*(L - 1)/L)*((L - 2)/(2*(L - 1)))**((L - 2)/L)/(2*(L - 1)) + mu_c
"""

from dataclasses import replace
from functools import cache
from typing import Any

import sympy as sp

from ..architecture.network import chain
from ..derivation.derive import discretised, gradient_flow, network_flow
from ..derivation.reduce import change_variables
from ..derivation.standard_assumptions import Aligned, Balanced, Whitened
from ..errors import BadData
from ..optimizers.optimizer_maps import DECAY
from ..optimizers.optimizer_maps import decayed as decayed
from ..symbols import positive
from ..system import FixedPoint, Flow, Map
from ..trail import Equations

DEPTH = positive("L")
STRENGTH, TARGET = positive("a s")
_KUNIN = "Kunin, Bloom, Goeva & Seed 2019, arXiv:1901.08168"


@cache
def decayed_layer_flow(depth: int) -> Flow:
    """One layer's strength in one mode, from the matrices of the network.

    >>> print(decayed_layer_flow(3).equations[0])
    u*(s*u - u**4 - mu)
    """
    network = chain("input", *["width"] * (depth - 1), "output")
    flow = network_flow(network).assume(Whitened(), Aligned())
    return _tidy(decayed(flow).assume(Balanced()))


@cache
def decayed_mode_flow(depth: int) -> Flow:
    """The end-to-end strength; two layers: a' = 2 a (s - mu - a), a logistic law for the reduced target.

    >>> print(decayed_mode_flow(2).equations[0])
    2*a*(-a + s - mu)
    """
    system = decayed_layer_flow(depth)
    return _tidy(change_variables(system, {"a": system.observables["end_to_end"]}))


@cache
def decayed_mode_map(depth: int) -> Map:
    """One step of gradient descent with weight decay, exactly."""
    return discretised(decayed_layer_flow(depth))


@cache
def decayed_rest(depth: int) -> FixedPoint:
    """Where training with weight decay ends: 0 = u' (zero is a root; a start above learns the largest one)."""
    flow = decayed_layer_flow(depth)
    trail = flow.trail.then("rest", Equations(tuple(zip(flow.unknowns, flow.equations, strict=True)), "fixed point"))
    return FixedPoint(flow.unknowns, flow.equations, flow.observables, trail=trail)


@cache
def resting_law(depth: Any = DEPTH) -> FixedPoint:
    """s - a = mu a^(2/L - 1), for any depth: a symbol or a number.

    >>> print(resting_law().equations[0])
    -a - a**(-1 + 2/L)*mu + s
    """
    layer = positive("u")
    energy = (TARGET - layer**depth) ** 2 / 2 + depth * DECAY * layer**2 / 2
    flow = gradient_flow(energy, on=layer, copies=depth)
    balance = sp.expand(sp.powsimp(sp.expand(flow.equations[0] / layer ** (depth - 1))))
    law = sp.powsimp(sp.powdenest(balance.subs(layer, STRENGTH ** (1 / sp.sympify(depth))), force=True))
    law = law.replace(lambda e: e.is_Pow, lambda e: e.base ** sp.expand(e.exp))
    trail = flow.trail.then(
        "rest of a mode that is not zero",
        Equations(((STRENGTH, law),), "fixed point"),
        assumption="balanced",
        reference=_KUNIN,
    )
    return FixedPoint((STRENGTH,), (law,), trail=trail)


def strength_at_rest(depth: Any, decay: Any = DECAY) -> Any:
    """The resting strength of two layers (soft threshold) or one (ridge), explicitly; `BadData` for more.

    >>> strength_at_rest(2), strength_at_rest(1)
    (Max(0, -mu + s), s/(mu + 1))
    """
    if depth not in (1, 2):
        raise BadData(f"depth {depth}", where="strength at rest", remedy="solve `decayed_rest` for its largest root")
    (root,) = sp.solve(resting_law(depth).equations[0], STRENGTH)
    root = root.subs(DECAY, decay)
    return sp.Max(0, root) if depth == 2 else root


def _load(depth: Any) -> Any:
    """mu as a function of the resting strength: a^(1 - 2/L) (s - a)."""
    (value,) = sp.solve(resting_law(depth).equations[0], DECAY)
    return sp.powsimp(sp.factor(value))


@cache
def critical_strength(depth: Any = DEPTH) -> Any:
    """The smallest strength at which a mode can rest: where a^(1 - 2/L) (s - a) is largest.

    >>> critical_strength()
    s*(L - 2)/(2*(L - 1))
    """
    slope = sp.simplify(sp.diff(sp.log(_load(depth)), STRENGTH))
    (root,) = sp.solve(sp.numer(sp.together(slope)), STRENGTH)
    return sp.factor(root)


@cache
def critical_decay(depth: Any = DEPTH) -> FixedPoint:
    """The largest decay at which a mode of target s can rest at all (spinodal); beyond it every start decays to zero.

    >>> print(critical_decay(3).equations[0])
    mu_c - 3*2**(1/3)*s**(4/3)/8
    """
    return _threshold(depth, "mu_c", critical_strength(depth), "maximum of the load a mode can carry")


@cache
def equal_decay(depth: Any = DEPTH) -> FixedPoint:
    """The decay at which resting and zero have equal energy (Maxwell): above it zero is the better minimum.

    >>> print(equal_strength())
    s*(L - 2)/(L - 1)
    """
    return _threshold(depth, "mu_g", equal_strength(depth), "equal energy of both minima")


@cache
def equal_strength(depth: Any = DEPTH) -> Any:
    """The strength of the resting mode whose energy (s - a)^2/2 + L mu a^(2/L)/2 equals s^2/2."""
    a = STRENGTH
    gain = (TARGET - a) ** 2 / 2 + depth * _load(depth) * a ** (sp.Integer(2) / depth) / 2 - TARGET**2 / 2
    gain = sp.factor(sp.powsimp(sp.expand(sp.powsimp(gain / a))))
    (root,) = [root for root in sp.solve(gain, a) if root != 0]
    return sp.factor(root)


@cache
def critical_target(depth: Any = DEPTH) -> Any:
    """The weakest target that survives a decay: the inverse of `critical_decay`.

    >>> critical_target(2)
    mu
    """
    if depth == 2:
        return DECAY
    share = positive("mu_c") - critical_decay(depth).equations[0].subs(TARGET, 1)  # mu_c = share x s^(2 - 2/L)
    return (DECAY / share) ** sp.factor(1 / (2 - 2 / sp.sympify(depth)))


def basin_of_zero(depth: Any = DEPTH) -> Any:
    """Layer strength below which a start never learns, to leading order in a small decay: (mu / s)^(1/(L-2)).

    >>> print(basin_of_zero())
    (mu/s)**(1/(L - 2))
    """
    u = positive("u")
    pull = u ** (depth - 2) * TARGET  # s - u^L is s near zero
    (root,) = sp.solve(sp.Eq(pull, DECAY), u)
    return root


def _threshold(depth, name, strength, rule) -> FixedPoint:
    share, exponent = positive("x"), sp.expand(2 - 2 / sp.sympify(depth))
    carried = sp.expand_power_base(_load(depth).subs(STRENGTH, TARGET * share))
    carried = sp.powsimp(sp.simplify(carried / TARGET**exponent))  # free of s: every target scales alike
    value = TARGET**exponent * carried.subs(share, sp.factor(strength / TARGET))
    value = value.replace(lambda e: e.is_Add and e.has(DEPTH), sp.factor)
    symbol = positive(name)
    point = {TARGET: sp.Rational(13, 10), DEPTH: sp.Rational(9, 2)}
    miss = float(abs(sp.N((value - _load(depth).subs(STRENGTH, strength)).subs(point), 30)))
    found = Equations(((STRENGTH, strength), (symbol, value)))
    trail = resting_law(depth).trail.then(rule, found, residual=miss, check="substituted back in numbers")
    return FixedPoint((symbol,), (symbol - value,), trail=trail)


def _tidy(flow: Flow) -> Flow:
    return replace(flow, equations=tuple(sp.factor(equation) for equation in flow.equations))
