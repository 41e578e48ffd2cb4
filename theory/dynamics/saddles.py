"""From saddle to saddle: when each mode leaves its plateau, how long it rises, and what is seen in between.

    t_half = F(s/2) - F(a0),     F' = 1 / (L a^(2 - 2/L) (s - a))

Two layers wait log(1/a0) / (2 s); deeper ones wait a0^(2/L - 1) / (s (L - 2)), while the rise itself does not know a0.
So the loss is a staircase of steps 1/2 s_k^2, one rank at a time, the sharper the smaller the start.

>>> print(jump_width(2))
log(81)/(2*s)
>>> print(waiting_time(4))
1/(2*sqrt(a_0)*s)
"""

from collections.abc import Sequence
from dataclasses import replace
from functools import cache
from typing import Any

import numpy as np
import sympy as sp

from ..closed_forms.asymptotics import escape_time, half_rise_time
from ..closed_forms.closed_form import closed_form
from ..closed_forms.elementary import elementary
from ..symbols import over, positive
from ..system import FixedPoint, Flow, Map
from ..trail import Equations
from .linear_networks import corrected_mode_flow, mode_flow, mode_map

RISE, SHARE = positive("T x_0")
_TENTH = sp.Rational(1, 10)
_SAXE = "Saxe, McClelland & Ganguli 2013, arXiv:1312.6120"
_ROY = "Roy & Vetterli 2007"


@cache
def waiting_time(depth: int) -> Any:
    """Time on the plateau, to leading order in a small start: a logarithm for two layers, a power for more."""
    return escape_time(mode_flow(depth))


@cache
def rise_time(depth: int, corrected: bool = False) -> FixedPoint:
    """Time at which a mode that starts at a share x_0 of its target reaches half of it, exactly from its time law.

    `corrected` follows gradient descent to second order in the learning rate instead of the flow, and is written in
    elementary functions, which compile.

    >>> print(rise_time(2).equations[0])
    T - log((1 - x_0)/x_0)/(2*s)
    """
    flow = corrected_mode_flow(depth) if corrected else mode_flow(depth)
    form = closed_form(flow)
    time = half_rise_time(form).xreplace({form.initial: SHARE * form.final})
    time = time.replace(sp.log, lambda inside: sp.log(sp.cancel(inside)))
    time = sp.factor_terms(elementary(time)) if corrected else time
    trail = form.trail.then("half of the final strength", Equations(((RISE, time),)), reference=_SAXE)
    return FixedPoint((RISE,), (RISE - time,), trail=trail)


@cache
def jump_width(depth: int, low: Any = _TENTH, high: Any = 1 - _TENTH) -> Any:
    """Time from `low` to `high` of the target: a function of the target alone, whatever the start.

    >>> print(jump_width(2, sp.Rational(1, 4), sp.Rational(3, 4)))
    log(9)/(2*s)
    """
    form = closed_form(mode_flow(depth))
    width = form.time_law.xreplace({form.unknown: high * form.final, form.initial: low * form.final})
    return sp.factor_terms(width.replace(sp.log, lambda inside: sp.log(sp.cancel(inside))))


@cache
def rise_after_waiting(depth: int) -> Any:
    """t_half minus the waiting time, for a start that goes to zero: what of the rise does not know the start.

    >>> print(rise_after_waiting(2))
    log(s)/(2*s)
    """
    form = closed_form(mode_flow(depth))
    if depth == 2:
        return sp.limit(sp.expand_log(half_rise_time(form) - waiting_time(2), force=True), form.initial, 0)
    # the time law is F(a) - F(a0), and F(a0) is minus the waiting time times 1 + O(a0)
    half = sp.expand(half_rise_time(form))
    return sp.factor_terms(sum((term for term in sp.Add.make_args(half) if not term.has(form.initial)), sp.S.Zero))


@cache
def plateau_over_jump(depth: int) -> Any:
    """Waiting time over jump width: grows as log(1/a0) for two layers, as a0^(2/L - 1) for more.

    >>> print(plateau_over_jump(2))
    log(1/a_0)/log(81)
    """
    return sp.powsimp(waiting_time(depth) / jump_width(depth))


def plateau_losses(targets: Sequence[float]) -> np.ndarray:
    """Loss on the plateau after m modes, m = 0 .. K: one half of the squared targets not learned yet.

    What no linear map can fit comes on top. Reference: Jacot et al. 2021 for the ranks of the saddles.

    >>> plateau_losses([2.0, 1.0])
    array([2.5, 0.5, 0. ])
    """
    power = np.asarray(targets, float) ** 2 / 2
    return np.append(np.cumsum(power[::-1])[::-1], 0.0)


def with_ranks(system: Any, strength: Any) -> Any:
    """A flow or map with two effective ranks of its modes as observables, both 1 for one mode and K for K equal ones.

        participation_ratio = (sum a)^2 / sum a^2,       entropy_rank = exp(- sum p log p),  p = a / sum a

    Reference: Roy & Vetterli 2007 for the entropy.
    """
    total = over(strength)
    entropy = sp.log(total) - over(strength * sp.log(strength)) / total
    made = system.observe(participation_ratio=total**2 / over(strength**2), entropy_rank=sp.exp(entropy))
    ranks = Equations(
        tuple((positive(name), made.observables[name]) for name in ("participation_ratio", "entropy_rank"))
    )
    return replace(made, trail=system.trail.then("effective ranks", ranks, reference=_ROY))


@cache
def ranked_mode_flow(depth: int) -> Flow:
    """The mode law with its effective ranks.

    >>> print(ranked_mode_flow(3).observables["participation_ratio"])
    over(a)**2/over(a**2)
    """
    flow = mode_flow(depth)
    return with_ranks(flow, flow.observables["end_to_end"])


@cache
def ranked_mode_map(depth: int) -> Map:
    """Gradient descent on the modes, exactly, with their effective ranks."""
    system = mode_map(depth)
    return with_ranks(system, system.observables["end_to_end"])
