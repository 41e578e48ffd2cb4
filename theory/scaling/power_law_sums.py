"""Sums over power-law modes at small scale, term by term: the pole of zeta gives the bulk, Taylor's series the heads.

    sum_k k^-p g(kappa k^b) = kappa^((p-1)/b) G((1-p)/b) / b + sum_i g_i zeta(p - b i) kappa^i,    g = sum_i g_i x^i,

with the Mellin transform G(s) = int x^(s-1) g(x) dx. The first term comes from modes near k = kappa^(-1/b) (the bulk),
the others from the first few modes (heads). The smaller exponent says which modes dominate, equal exponents make a
logarithm, and powers of kappa that are no integers are what survives an inverse Laplace transform.
"""

from dataclasses import dataclass
from functools import cache, lru_cache
from typing import Any

import numpy as np
import sympy as sp

BULK, HEAD = "bulk", "head"


@dataclass(frozen=True)
class PowerTerm:
    """One term coefficient x kappa^exponent of a sum; `origin` says which modes it comes from: "bulk" or "head".

    >>> print(PowerTerm(sp.Rational(1, 2), sp.pi, BULK))
    pi*kappa^(1/2) from the bulk
    """

    exponent: Any
    coefficient: Any
    origin: str

    def __str__(self) -> str:
        return f"{self.coefficient}*kappa^({self.exponent}) from the {self.origin}"


@lru_cache(maxsize=1024)
def resolvent_sum(
    power: Any, capacity: Any, unlearned: int = 0, order: int = 1, heads: int = 2
) -> tuple[PowerTerm, ...]:
    """Terms of sum_k k^-power x^unlearned / (1 + x)^order with x = kappa k^capacity, as kappa -> 0.

    With lambda_k = k^-capacity, 1/(1+x) = lambda/(lambda + kappa) is what is learned of a mode and x/(1+x) what is not.
    The bulk needs power + capacity (order - unlearned) > 1: otherwise the last modes dominate, not these.

    >>> [print(term) for term in resolvent_sum(0, 2, heads=1)]
    pi/2*kappa^(-1/2) from the bulk
    -1/2*kappa^(0) from the head
    [None, None]
    """
    power, capacity = sp.sympify(power), sp.sympify(capacity)
    at = (1 - power) / capacity
    first, second = unlearned + at, order - unlearned - at  # int x^(s-1) x^l / (1+x)^m = B(s + l, m - l - s)
    mellin = sp.gammasimp(sp.gamma(first) * sp.gamma(second) / sp.gamma(first + second))
    terms = [PowerTerm(sp.simplify(-at), mellin / capacity, BULK)]
    for i in range(heads):
        at_zero = sp.binomial(-order, i) * sp.zeta(power - capacity * (unlearned + i))
        terms.append(PowerTerm(sp.Integer(unlearned + i), at_zero, HEAD))
    return tuple(terms)


def leading_exponent(terms: tuple[PowerTerm, ...]) -> Any:
    """The smallest exponent of kappa among the terms: the largest term as kappa -> 0.

    >>> p, b = sp.symbols("p b", positive=True)
    >>> leading_exponent(resolvent_sum(p, b, unlearned=2, order=2, heads=1))
    Min(2, (p - 1)/b)
    """
    return sp.Min(*(term.exponent for term in terms))


@cache
def resolvent_gap(power: float, capacity: float, unlearned: int = 0, order: int = 1, kappa: float = 1e-3) -> float:
    """Relative difference of three terms of the expansion and the sum itself at one kappa; a check, not a proof.

    >>> resolvent_gap(0, 1.5) < 1e-3
    True
    """
    terms = resolvent_sum(sp.nsimplify(power), sp.nsimplify(capacity), unlearned, order)
    k = np.arange(1.0, 200_001.0)
    x = kappa * k**capacity
    summand = k**-power * x**unlearned / (1 + x) ** order
    decay = power + capacity * (order - unlearned)  # beyond the last mode: an integral, with half of the last mode
    total = summand.sum() + summand[-1] * (k[-1] / (decay - 1) - 0.5)
    return float(abs(sum(float(term.coefficient) * kappa ** float(term.exponent) for term in terms) / total - 1))


def partial_sum(power: Any) -> tuple[PowerTerm, ...]:
    """Terms of sum_{k <= v} k^-power in 1/v, as v -> oo: v^(1 - power)/(1 - power) + zeta(power).

    >>> [str(term.exponent) for term in partial_sum(sp.Symbol("p"))]
    ['p - 1', '0']
    """
    power = sp.sympify(power)
    return (PowerTerm(power - 1, 1 / (1 - power), BULK), PowerTerm(sp.S.Zero, sp.zeta(power), HEAD))
