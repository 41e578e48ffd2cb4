"""Modes that move by their sign: Muon on deep linear networks, sign descent on products of weights.

Under Muon a mode of an aligned balanced network takes steps of one size, however small its gradient: no plateau at the
saddle, and all modes grow alike until each overshoots its own target and alternates about it,

    u+ = u + eta sign(s - u^L)   ->   u_k = u_0 + eta k   up to   K = ceil((s^(1/L) - u_0) / eta).

>>> print(orthogonal_mode_map(3).equations[0])
u + eta*sign(s - u**3)
"""

from dataclasses import replace
from functools import cache

import numpy as np
import sympy as sp

from ..derivation.network_flow import network_flow
from ..derivation.standard_assumptions import Aligned, Balanced, Whitened
from ..dynamics.linear_networks import stack
from ..errors import LearningMechanicsError
from ..symbols import LEARNING_RATE, STEP, modes
from ..system import Map
from ..trail import Equations
from .optimizer_maps import with_optimizer

START = modes("start")


@cache
def orthogonal_map(depth: int) -> Map:
    """Muon without momentum on the matrices of a deep linear network: every layer moves along a polar factor."""
    return with_optimizer(network_flow(stack(depth)), "muon")


@cache
def orthogonal_mode_map(depth: int) -> Map:
    """Strength u of one layer in one mode, white inputs, aligned and balanced: u+ = u + eta sign(s - u^depth)."""
    return orthogonal_map(depth).assume(Whitened(), Aligned(), Balanced())


@cache
def linear_growth(depth: int) -> Map:
    """`orthogonal_mode_map` with its solution: the strength after k steps from a `start` u_0 below the target.

    Growth by eta a step until the first value at or above s^(1/depth), after K steps; from there on u alternates
    between that value and the one before. Compared with the recursion in exact fractions; a target that is met exactly
    is left out, there u stays. Observables: "end_to_end" = u^depth, "solution" = u_k^depth, "learning_steps" = K.

    >>> linear_growth(2).observables["learning_steps"]
    ceiling((sqrt(s) - start)/eta)
    """
    map_ = orthogonal_mode_map(depth)
    s = next(symbol for symbol in map_.parameters if str(symbol) == "s")
    steps = sp.ceiling((s ** sp.Rational(1, depth) - START) / LEARNING_RATE)
    beyond = sp.Max(STEP - steps, 0)
    strength = START + LEARNING_RATE * (sp.Min(STEP, steps) - beyond + 2 * sp.floor(beyond / 2))
    _compare(map_, strength, depth)
    solution = Equations(((sp.Symbol("u_k"), strength),))
    trail = map_.trail.then("solve the recursion", solution, check="iterated in exact fractions", residual=0.0)
    return replace(map_.observe(solution=strength**depth, learning_steps=steps), trail=trail)


def _compare(map_: Map, strength, depth: int) -> None:
    """Forty steps in fractions, from random starts; the target is a power of a fraction, so its root is one too."""
    rng = np.random.default_rng(6)
    (u,), (following,) = map_.unknowns, map_.equations
    s = next(symbol for symbol in map_.parameters if str(symbol) == "s")
    for _ in range(3):
        start, root, rate = (sp.Rational(int(rng.integers(1, 99)), 997) * factor for factor in (1, 10, 1))
        value, constants = start, {s: (start + root) ** depth, LEARNING_RATE: rate}
        for step in range(41):
            stated = strength.subs({**constants, START: start, STEP: step})
            if stated != value:
                raise LearningMechanicsError(f"after {step} steps {stated} instead of {value}", where="linear growth")
            value = following.subs({**constants, u: value})
