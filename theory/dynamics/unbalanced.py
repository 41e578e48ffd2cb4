"""Unbalanced two-layer networks: from exponential to sigmoidal learning, by one conserved number per mode.

    u1' = r1 u2 (s - u1 u2),   u2' = r2 u1 (s - u1 u2)    ->    z' = sqrt(delta^2 + 4 r1 r2 z^2) (s - z),   z = u1 u2

delta = r2 u1^2 - r1 u2^2 is conserved. A large one makes the law linear (lazy, rate delta); without it the law is
logistic (rich); in between modes settle at the rate sqrt(delta^2 + 4 r1 r2 s^2), exactly.

>>> print(product_flow().equations[0])
sqrt(delta**2 + 4*z**2)*(s - z)
>>> print(settling_rate())
sqrt(delta**2 + 4*s**2)
"""

from collections.abc import Mapping
from dataclasses import replace
from functools import cache
from typing import Any

import sympy as sp

from ..architecture.network import chain
from ..closed_forms.asymptotics import rate
from ..closed_forms.coupled import reduce_by_conserved
from ..derivation.assumptions import Limit
from ..derivation.derive import network_flow
from ..derivation.standard_assumptions import Aligned, Whitened
from ..symbols import positive
from ..system import Flow

_KUNIN = "Kunin, Raventos, Domine, Chen, Klindt, Saxe & Ganguli 2024, arXiv:2406.06158"


def with_rates(flow: Flow, rates: Mapping[Any, Any]) -> Flow:
    """The flow with its own learning rate for each unknown (1 where none is given), relative to the clock.

    >>> flow = with_rates(layer_flow(), {"u1": positive("r_1")})
    >>> print(flow.equations[0])
    u2*r_1*(s - u1*u2)
    """
    by_name = {str(unknown): factor for unknown, factor in rates.items()}
    pairs = zip(flow.unknowns, flow.equations, strict=True)
    equations = tuple(sp.sympify(by_name.get(str(unknown), 1)) * equation for unknown, equation in pairs)
    made = replace(flow, equations=equations)
    return replace(made, trail=flow.trail.then("layers at their own rates", made.statement(), reference=_KUNIN))


@cache
def layer_flow() -> Flow:
    """Strengths u1, u2 of both layers in one mode, from the matrices: aligned, not balanced."""
    return network_flow(chain("input", "width", "output")).assume(Whitened(), Aligned())


@cache
def product_flow(own_rates: bool = False) -> Flow:
    """The end-to-end strength z of a mode, given its conserved imbalance delta.

    >>> print(product_flow(own_rates=True).equations[0])
    sqrt(delta**2 + 4*z**2*r_1*r_2)*(s - z)
    """
    first, second = positive("r_1 r_2")
    return reduce_by_conserved(with_rates(layer_flow(), {"u1": first, "u2": second}) if own_rates else layer_flow())


@cache
def settling_rate(own_rates: bool = False) -> Any:
    """Exponential rate at which z approaches s."""
    return rate(product_flow(own_rates))


@cache
def lazy_limit() -> Flow:
    """A large imbalance, in the time delta x t: z' = s - z, and what is left over falls as 1/delta^2.

    >>> print(lazy_limit().equations[0])
    s - z
    """
    return _positive_imbalance().assume(
        Limit(
            "large imbalance",
            "delta goes to infinity at fixed delta x time",
            variable=_imbalance(),
            clock=_imbalance(),
            reference=_KUNIN,
        )
    )


@cache
def rich_limit() -> Flow:
    """No imbalance: z' = 2 |z| (s - z), the logistic law of balanced layers.

    >>> print(rich_limit().equations[0])
    2*(s - z)*Abs(z)
    """
    return _positive_imbalance().assume(
        Limit("no imbalance", "delta goes to zero", variable=_imbalance(), point=sp.S.Zero, reference=_KUNIN)
    )


def _imbalance():
    return positive("delta")


def _positive_imbalance() -> Flow:
    """The law depends on delta^2 alone, so delta may be taken positive."""
    flow = product_flow()
    (delta,) = (symbol for symbol in flow.parameters if symbol.name == "delta")
    return replace(flow, equations=tuple(equation.xreplace({delta: _imbalance()}) for equation in flow.equations))
