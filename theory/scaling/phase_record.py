"""The record of one phase of compute-optimal scaling: exponents, what balances, how far the next phase is.

    P* ~ f^-loss_exponent   at   d* ~ f^width_exponent,   f = width x steps.

`power_law_phases` makes it.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import sympy as sp

from ..trail import Trail
from .exact_signs import tidy


@dataclass(frozen=True)
class PowerLawPhase:
    """The phase of (alpha, beta): P* ~ f^-`loss_exponent` at d* ~ f^`width_exponent`, f = width x steps.

    `name`           "Ia" ... "IVb"; on a boundary all phases that meet there: "IVa/IVb"
    `tradeoff`       the terms that balance; on a boundary those of all its phases
    `width_range`    lowest and highest width exponent with this loss exponent; `width_exponent` is the lowest
    `terms`          exponent in f of every term at the optimum; `weights` of the mean that proves it
    `learning_rate`  g of gamma ~ d^-g
    `distance`       to the nearest boundary in the (alpha, beta) plane, exact; `nearest` says what lies beyond
    `logarithms`     factors log(width) that the powers leave out
    `corrections`    sums over modes reach their powers with relative corrections as slow as width^-corrections
    """

    alpha: Any
    beta: Any
    name: str
    loss_exponent: Any
    width_exponent: Any
    tradeoff: str
    width_range: tuple[Any, Any]
    terms: Mapping[str, Any]
    weights: Mapping[str, Any]
    learning_rate: Any
    distance: Any
    nearest: str
    logarithms: tuple[str, ...]
    corrections: Any
    notes: tuple[str, ...] = ()
    trail: Trail = field(default=Trail(), repr=False)

    @property
    def names(self) -> tuple[str, ...]:
        """The phase, or those that meet at a boundary."""
        return tuple(self.name.split("/"))

    @property
    def on_boundary(self) -> bool:
        return len(self.names) > 1

    @property
    def steps_exponent(self) -> Any:
        """steps* ~ f^(1 - width_exponent)."""
        return tidy(1 - self.width_exponent)

    def to_dict(self) -> dict:
        return {
            "alpha": str(self.alpha),
            "beta": str(self.beta),
            "name": self.name,
            "loss_exponent": str(self.loss_exponent),
            "loss_exponent_value": float(self.loss_exponent),
            "width_exponent": str(self.width_exponent),
            "width_exponent_value": float(self.width_exponent),
            "width_range": [str(end) for end in self.width_range],
            "tradeoff": self.tradeoff,
            "terms": {name: str(value) for name, value in self.terms.items()},
            "weights": {name: str(value) for name, value in self.weights.items()},
            "learning_rate": str(self.learning_rate),
            "distance": float(self.distance),
            "nearest": self.nearest,
            "logarithms": list(self.logarithms),
            "corrections": float(self.corrections),
            "notes": list(self.notes),
            "trail": self.trail.to_dict(),
        }

    def card(self) -> str:
        """All of it on a few aligned lines."""
        low, high = self.width_range
        width = _both(low) if low == high else f"anything from {_both(low)} to {_both(high)}: equally good powers"
        shown = ", ".join(f"{n} {_both(e)}" for n, e in self.terms.items())
        rate = f"width^-({_both(self.learning_rate)})" if self.learning_rate else "constant"
        lines = [
            f"Power-law phase {self.name} (alpha {_both(self.alpha)}, beta {_both(self.beta)})",
            f"  loss           f^-eta, eta = {_both(self.loss_exponent)}",
            f"  best width     f^xi, xi = {width}",
            f"  balance        {self.tradeoff}",
            f"  terms (f^-e)   {shown}",
            f"  learning rate  {rate}",
            f"  corrections    relative, as slow as width^-({_both(self.corrections)})",
            f"  boundary       {self.nearest}, distance {float(self.distance):.3g}",
            *(f"  logarithm      {text}" for text in self.logarithms),
            *(f"  note           {text}" for text in self.notes),
        ]
        return "\n".join(lines)

    __str__ = card

    __repr__ = card

    def _repr_latex_(self) -> str:
        loss, width = sp.latex(self.loss_exponent), sp.latex(self.width_exponent)
        return rf"$\text{{phase {self.name}}}:\quad P^* \sim f^{{-{loss}}},\quad d^* \sim f^{{{width}}}$"


def _both(number: Any) -> str:
    number = sp.sympify(number)
    if number.is_Integer:
        return str(number)
    text = str(number)
    return f"{text} = {float(number):.4f}" if len(text) < 40 else f"{float(number):.6g}"
