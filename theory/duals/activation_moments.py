r"""The numbers that kernels, signal propagation and spectra need from an activation, in one record.

For (u, v) Gaussian with variances a, b and covariance sqrt(a b) (1 - gap), a layer maps the pair by

    gap'  =  1 - V(a, b, gap) / sqrt(V(a, a, 0) V(b, b, 0)),     V = E phi(u) phi(v),     slope = E phi'(u) phi'(v).

The gap 1 - cos is carried, not the cosine: at coincident and nearly coincident inputs no digits are lost. Closed forms
(`dual_activation`) are compiled, everything else is a Hermite series (`quadrature_duals`).

>>> relu = moments("relu")
>>> float(relu.second(2.0)), [float(number) for number in relu.pair(1.0, 1.0, 0.0)]
(1.0, [0.0, 0.5])
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from ..architecture.activations import activation_name, array_formula
from ..errors import NoClosedForm
from .closed_form_moments import ClosedForm
from .dual_activation import dual
from .quadrature_duals import Series


@dataclass(frozen=True)
class Moments:
    """Gaussian moments of one activation; all functions are vectorised over float64 arrays.

    `error`        estimated relative error of the numbers at unit variance, slopes included (0.0: rounding only)
    `homogeneous`  V is sqrt(a b) times a function of the angle alone
    `tangent`      False where E phi' phi' is infinite at coincident inputs, as for a step
    `second(q)`    E phi(sqrt(q) z)^2;  `mean(q)` E phi(sqrt(q) z);  `slope(q)` E phi'(sqrt(q) z)^2
    `curvature(q)` E phi''(sqrt(q) z)^2, inf at kinks
    `pair(a, b, gap, want_slope=True)`   (gap', slope or None), inputs broadcast; where a variance of the outputs is
                   zero the correlation is undefined and gap' = gap
    `hermite(q, order)`  a_k, k = 0..order, with phi(sqrt(q) z) = sum_k a_k He_k(z) / sqrt(k!)
    `error_at(q)`  the estimate of `error` at another variance
    Errors: `BadData` naming the activation where numbers overflow at the given variance.
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
    error_at: Callable


@lru_cache(maxsize=128)
def moments(activation: Any) -> Moments:
    """The moments of an activation: a name, a formula or a function of arrays.

    >>> float(moments("square").second(2.0))
    12.0
    >>> moments("tanh").error < 1e-14
    True
    """
    series = Series(array_formula(activation), activation_name(activation))
    try:
        law = dual(activation)
    except NoClosedForm:
        tangent, homogeneous = series.has_slope, False
        found: Any = series
    else:
        found, homogeneous = ClosedForm(law, series), law.homogeneous
        tangent = law.bends is not None
    return Moments(
        activation,
        found.error_at(1.0),
        homogeneous,
        tangent,
        found.second,
        found.mean,
        found.slope,
        found.curvature,
        found.pair,
        series.hermite,
        found.error_at,
    )
