r"""The numbers that kernels, signal propagation and spectra need from an activation, in one record.

For (u, v) Gaussian with variances a, b and covariance C = sqrt(a b) (1 - gap), a layer maps the pair by

    gap'  =  1 - V(a, b, C) / sqrt(V(a, a, a) V(b, b, b)),      V = E phi(u) phi(v),      slope = dV/dC = E phi'(u) phi'(v).

The gap 1 - cos is carried, not the cosine: at coincident and nearly coincident inputs no digits are lost.

>>> relu = moments("relu")
>>> relu.second(2.0), relu.pair(1.0, 1.0, 0.0)
(array(1.), (array(0.), array(0.5)))
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
import sympy as sp

from ..architecture.activations import activation_name, formula
from .dual_activation import A, B, C, dual
from .quadrature_duals import Series


@dataclass(frozen=True)
class Moments:
    """Gaussian moments of one activation; all functions are vectorised over float64 arrays.

    `error`        certified relative error of the numbers (0.0: rounding only)
    `homogeneous`  V is sqrt(a b) times a function of the angle alone
    `tangent`      False where E phi' phi' is infinite at coincident inputs, as for a step
    `second(q)`    E phi(sqrt(q) z)^2;  `mean(q)` E phi(sqrt(q) z);  `slope(q)` E phi'(sqrt(q) z)^2
    `curvature(q)` E phi''(sqrt(q) z)^2, inf at kinks
    `pair(a, b, gap, want_slope=True)`   (gap', slope), inputs broadcast
    `hermite(q, order)`  a_k, k = 0..order, with phi(sqrt(q) z) = sum_k a_k He_k(z) / sqrt(k!)
    """

    activation: Any
    error: float
    homogeneous: bool
    tangent: bool
    second: Callable
    mean: Callable
    slope: Callable
    curvature: Callable
    pair: Callable
    hermite: Callable


@lru_cache(maxsize=128)
def moments(activation: Any) -> Moments:
    """The moments of an activation: a name, a formula or a function of arrays.

    >>> float(moments("square").second(2.0))
    12.0
    """
    if activation == "relu":
        return _bent_line(activation)
    law = formula(activation)
    function = sp.lambdify(law.signature[0], law.expr, ["scipy", "numpy"]) if law is not None else activation
    series = Series(function, activation_name(activation))
    return Moments(
        activation,
        max(series.error_at(1.0), 0.0),
        False,
        True,
        series.second,
        series.mean,
        series.slope,
        series.curvature,
        series.pair,
        series.hermite,
    )


def _bent_line(activation: Any) -> Moments:
    """Two half lines that meet at zero: V = sqrt(a b) (p sin + (q - p theta) cos), dV/dC = q - p theta."""
    law = dual(activation)
    unit = law.slope.subs({A: 1, B: 1})
    q = float(unit.subs(C, 1))
    p = float((unit.subs(C, 1) - unit.subs(C, 0)) * 2 / sp.pi)
    average = float(p / np.sqrt(2 * np.pi) / p * 1.0) if p else 0.0

    def pair(a, b, gap, want_slope=True):
        gap = np.asarray(gap, float)
        half = np.sqrt(gap / 2)
        theta = 2 * np.arcsin(np.minimum(half, 1))
        sine = 2 * half * np.sqrt(1 - np.minimum(half, 1) ** 2)
        out = gap - p / q * (sine - theta * (1 - gap))
        shape = np.broadcast_shapes(np.shape(a), np.shape(b), gap.shape)
        slope = np.broadcast_to(q - p * theta, shape) if want_slope else None
        return np.broadcast_to(out, shape), slope

    series = Series(lambda z: np.maximum(z, 0), "relu")
    return Moments(
        activation,
        0.0,
        True,
        True,
        lambda x: q * np.asarray(x, float),
        lambda x: average * np.sqrt(x),
        lambda x: q + 0 * np.asarray(x, float),
        lambda x: np.inf + 0 * np.asarray(x, float),
        pair,
        series.hermite,
    )
