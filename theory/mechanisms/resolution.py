r"""Two ways to be limited: by how finely n points resolve a d-dimensional space, or by the noise of a determined fit.

    resolution: error ~ r^(2k), r the distance to the next point      ->  n^(-2k/d)
    variance:   error - limit = 1/2 tr(H Cov) and Cov ~ 1/n           ->  n^(-1)

k is the order to which a predictor follows smooth targets: 1 copies the next point, 2 is linear between points. The
distance is known exactly: for points uniform on a torus E r^q = V_d^(-q/d) Gamma(1 + q/d) Gamma(n+1)/Gamma(n+1+q/d).

>>> asymptotic("samples", order=1), asymptotic("samples", order=2, dimension=4)
(2/d, 1)
"""

from functools import cache
from typing import Any

import numpy as np
import sympy as sp

from ..arguments import interval, number, numbers
from ..errors import BadData, UnknownName
from ..measured_spectra.estimate import Estimate
from ..scaling.exact_signs import exact, exact_sign
from ..symbols import positive
from ..system import FixedPoint
from ..trail import Equations, Trail
from .forecast import MechanismForecast

BAHRI = "Bahri, Dyer, Kaplan, Lee & Sharma 2021, arXiv:2102.06701"
SHARMA = "Sharma & Kaplan 2020, arXiv:2004.10802"
DIMENSION, SAMPLES, DISTANCE, ERROR = positive("d n r E")
TERMS = 5  # of the alternating series of a single wave
ORDERS = {"nearest neighbours": 1, "piecewise linear": 2}


def _above_zero(value: Any, name: str) -> Any:
    """An exact number above 0, or symbols. Errors: `BadData`."""
    found = exact(value, "resolution")
    if not found.free_symbols and exact_sign(found) <= 0:
        raise BadData(f"{name} {found}", where="resolution", remedy="give a number above 0")
    return found


def ball(dimension: Any = DIMENSION) -> Any:
    """Volume V_d of the unit ball.

    >>> ball(2), ball(3)
    (pi, 4*pi/3)
    """
    dimension = _above_zero(dimension, "dimension")
    return sp.pi ** (dimension / 2) / sp.gamma(dimension / 2 + 1)


def neighbour_distance(power: Any, dimension: Any = DIMENSION, samples: Any = SAMPLES) -> Any:
    """E r^power, r the distance from a point to the next of n uniform ones on the torus [0, 1)^d.

    P(r > R) = (1 - V_d R^d)^n as long as the ball does not meet itself (R < 1/2); what lies beyond is exponentially
    small in n. With u = V_d R^d the mean is a Beta function.

    >>> round(float(neighbour_distance(1, 1, 9)), 12)  # on a circle 1/(2 (n + 1))
    0.05
    """
    power, dimension = _above_zero(power, "power"), _above_zero(dimension, "dimension")
    share, samples = power / dimension, _above_zero(samples, "samples")
    return ball(dimension) ** -share * share * sp.beta(share, samples + 1)


@cache
def nearest_neighbours() -> FixedPoint:
    """Mean squared error of the target of the nearest point, f = sqrt(2/d) sum_j cos(2 pi x_j) on the torus.

    Averaged over x and over the direction of the neighbour, |f(x) - f(x + r)|^2 = 2 (1 - 0F1(; d/2; -(pi r)^2)); its
    series in r, moment by moment. Reference: Bahri et al. 2021, arXiv:2102.06701.

    >>> print(nearest_neighbours().observables["exponent"])
    2/d
    """
    trail = Trail().then(
        "distance to the next of n points", neighbour_distance(2), reference=BAHRI, check="n + 1 = 1/(2 E r) for d = 1"
    )
    leading = 4 * sp.pi**2 * DISTANCE**2 / DIMENSION
    trail = trail.then("Taylor: |grad f|^2 r^2/d, mean over directions", leading, parents=())
    series = _wave_series()
    trail = trail.then(
        "all orders, mean over directions: 2 (1 - 0F1(; d/2; -(pi r)^2))",
        series,
        parents=(1,),
        check="its first term is the Taylor term",
        residual=float(sp.simplify(series.coeff(DISTANCE, 2) * DISTANCE**2 - leading)),
    )
    powers = {term: series.coeff(DISTANCE, term) for term in range(2, 2 * TERMS + 1, 2)}
    error = sp.Add(*(coefficient * neighbour_distance(power) for power, coefficient in powers.items()))
    trail = trail.then("moments of the distance", Equations(((ERROR, error),)), parents=(0, 2))
    exponent = asymptotic("samples", 1)
    trail = trail.then("n -> oo: Gamma(n+1)/Gamma(n+1+2/d) ~ n^(-2/d)", exponent, reference=BAHRI)
    return FixedPoint((ERROR,), (error - ERROR,), observables={"error": ERROR, "exponent": exponent}, trail=trail)


@cache
def _wave_series() -> Any:
    terms = [
        (-1) ** (j + 1) * 2 * (sp.pi * DISTANCE) ** (2 * j) / (sp.factorial(j) * sp.rf(DIMENSION / 2, j))
        for j in range(1, TERMS + 1)
    ]
    return sp.Add(*terms)


@cache
def lines_between_points() -> FixedPoint:
    """Mean squared error of straight lines between n uniform points on a circle, f = sqrt(2) cos(2 pi x).

    On a gap h a wave e^(iwx) is missed by h (5/3 + cos(a)/3 - 4 (1 - cos a)/a^2), a = w h: f''^2 h^5/120 first, and
    gaps of uniform points have E h^p = p! (n-1)!/(n-1+p)!. The leading term is f''^2/((n+1)(n+2)(n+3)(n+4)): n^-4.

    >>> print(lines_between_points().observables["leading"])
    16*pi**4/((n + 1)*(n + 2)*(n + 3)*(n + 4))
    """
    a, s, h = positive("a s h")
    missed = 1 + (1 - s) ** 2 + s**2 + 2 * s * (1 - s) * sp.cos(a)
    missed += -2 * (1 - s) * sp.cos(a * s) - 2 * s * sp.cos(a * (1 - s))
    gap = sp.simplify(sp.integrate(sp.expand(missed), (s, 0, 1)))
    trail = Trail().then("a wave against its chord, mean over a gap", gap, check="integrated", reference=BAHRI)
    series = sp.series(gap, a, 0, 11).removeO().subs(a, 2 * sp.pi * h)
    trail = trail.then("small gaps: f''^2 h^4/120 first", sp.expand(series))
    error = sp.Add(*(series.expand().coeff(h, power) * _gaps(power + 1) for power in (4, 6, 8, 10)))
    trail = trail.then("n gaps: n E h^p", Equations(((ERROR, error),)))
    leading = sp.factor((2 * sp.pi) ** 4 * _gaps(5) / 120)
    trail = trail.then("leading term, exponent 4 = 4/d at d = 1", leading, reference=SHARMA)
    return FixedPoint((ERROR,), (error - ERROR,), observables={"error": ERROR, "leading": leading}, trail=trail)


def _gaps(power: int) -> Any:
    """n E h^p of n uniform points on a circle of length one."""
    return sp.factorial(power) / sp.Mul(*(SAMPLES + j for j in range(1, power)))


@cache
def determined_fit() -> FixedPoint:
    """Excess error of least squares with N Gaussian features and n > N + 1 samples, label variance sigma2: exactly

        E = sigma2 N/(n - N - 1)  ->  exponent n/(n - N - 1), one for n >> N.

    >>> print(determined_fit().observables["exponent"])
    n/(-N + n - 1)
    """
    noise, features = positive("sigma2 N")
    trace = features / (SAMPLES - features - 1)
    general = sp.Symbol("tr(H Cov)", positive=True) / 2
    trail = Trail().then("Taylor about the limit: mean of the first order is zero", general, reference=BAHRI)
    trail = trail.then("least squares: Cov = sigma2 (X'X)^-1, an inverse Wishart matrix of mean 1/(n - N - 1)", trace)
    error = noise * trace
    exponent = sp.simplify(-SAMPLES * error.diff(SAMPLES) / error)
    trail = trail.then("excess error", Equations(((ERROR, error),)))
    trail = trail.then("local exponent, 1 for n -> oo", exponent, reference=BAHRI)
    return FixedPoint((ERROR,), (error - ERROR,), observables={"error": ERROR, "exponent": exponent}, trail=trail)


def asymptotic(axis: str, order: Any = 1, dimension: Any = DIMENSION) -> Any:
    """Exponent 2k/d of the squared error in samples, or in the parameters of a predictor that has one cell a parameter.

    `order` 1/2 is a bound of the Lipschitz kind on the error itself, 1 nearest neighbours, 2 piecewise linear.

    >>> asymptotic("parameters", order=2)
    4/d
    """
    if axis not in ("samples", "parameters"):
        raise UnknownName.among(axis, ("samples", "parameters"), kind="axis", where="resolution-limited")
    return 2 * _above_zero(order, "order") / _above_zero(dimension, "dimension")


def kernel_exponents(smoothness: Any, dimension: Any = DIMENSION) -> dict[str, Any]:
    """Capacity of a Matern-like kernel and the exponents in samples it gives, which are sharper than a dimension.

    "typical" for targets that are as rough as the kernel's own functions: target exponent = capacity, so
    target_exponent - 1 = 2 nu/d, equal for samples and for features; "smooth" saturates at twice the capacity.

    >>> kernel_exponents(sp.Rational(1, 2), 1)
    {'capacity': 2, 'typical': 1, 'smooth': 4}
    """
    capacity = 1 + 2 * _above_zero(smoothness, "smoothness") / _above_zero(dimension, "dimension")
    return {"capacity": capacity, "typical": capacity - 1, "smooth": 2 * capacity}


def forecast(
    dimension: float | tuple[float, float],
    window: tuple[float, float],
    predictor: str = "",
    degrees_of_freedom: float | None = None,
) -> tuple[MechanismForecast, ...]:
    """Which limit a window of n lies in and the exponents there, from a bracket of the intrinsic dimension.

    `predictor` "nearest neighbours" (2/d) or "piecewise linear" (4/d); without one the bracket spans both.
    `degrees_of_freedom` of the predictor, if it is small enough to be determined by the samples. A spectrum says more:
    where the target's power in the eigenfunctions of a kernel is known, its exponent is to be preferred.

    >>> rows = forecast((3.0, 4.0), (1000, 10000), "nearest neighbours")
    >>> print(rows[0].exponent, rows[0].applies, rows[2].applies)
    0.583 +- 0.083 True False
    """
    remedy = "give a number from 0.1, or (low, high)"
    given = numbers(np.nan if dimension is None else dimension, "dimension", "resolution", remedy)
    low, high = map(float, np.broadcast_to(given if given.shape in ((), (2,)) else np.nan, 2))
    if not 0.1 <= low <= high < float("inf"):
        raise BadData(f"dimension {low:g} to {high:g}", where="resolution", remedy=remedy)
    window = first, last = interval(window, "window", "resolution", remedy="give 1 <= low < high")
    if degrees_of_freedom is not None:
        degrees_of_freedom = number(degrees_of_freedom, "degrees of freedom", "resolution", above=True)
    if predictor and (not isinstance(predictor, str) or predictor not in ORDERS):
        raise UnknownName.among(predictor, ORDERS, kind="predictor", where="resolution")
    orders = [ORDERS[predictor]] if predictor else sorted(ORDERS.values())
    bounds = 2 * min(orders) / high, 2 * max(orders) / low
    bracket = Estimate(sum(bounds) / 2, (bounds[1] - bounds[0]) / 2)
    across = float(np.exp(min(np.log(first) / low, 700.0)))
    determined = degrees_of_freedom is not None and first >= 2 * degrees_of_freedom
    fine = across >= 2 and not determined
    times = first / float(degrees_of_freedom or 1)
    because = (
        f"n = {first:g} is {times:.1f} times the degrees of freedom: the fit is determined"
        if determined
        else f"n^(1/d) = {across:.1f} points a direction at n = {first:g}"
        + ("" if fine else ": too few, neighbours are as far as anything else")
    )
    formula = f"{2 * min(orders)}/d" if predictor else "2/d to 4/d"
    facts = {
        "dimension": [low, high],
        "finer by": float(np.exp(min(np.log(last / first) / high, 700.0))),
        "prefer": "target_exponent - 1 of a spectrum, where one is known",
    }
    rows = [
        MechanismForecast(
            mechanism="resolution-limited",
            axis=axis,
            exponent=bracket if fine else None,
            applies=fine,
            because=because,
            formula=formula,
            window=span,
            reference=SHARMA,
            facts=facts,
        )
        for axis, span in (("samples", window), ("parameters", None))
    ]
    return (*rows, *_variance_limited(window, degrees_of_freedom, determined))


def _variance_limited(window, degrees, determined) -> tuple[MechanismForecast, ...]:
    first, last = window
    exponent, facts = None, {"limit": 1.0}
    if degrees is None:
        because = "no degrees of freedom are stated"
    elif not determined:
        because = f"n = {first:g} is {first / degrees:.2g} times the degrees of freedom: the fit is not determined"
    else:
        because = f"n = {first:g} is {first / degrees:.1f} times the degrees of freedom"
        slopes = [n / (n - degrees - 1) for n in (first, last) if n > degrees + 1]
        exponent = Estimate(sum(slopes) / len(slopes), (max(slopes) - min(slopes)) / 2)
    return tuple(
        MechanismForecast(
            mechanism="variance-limited",
            axis=axis,
            exponent=found,
            applies=applies,
            because=reason,
            formula="1",
            window=span,
            loss="squared error above its limit",
            reference=BAHRI,
            facts=facts,
        )
        for axis, found, applies, reason, span in (
            ("samples", exponent, determined, because, window),
            ("parameters", *_width(degrees, window), None),
        )
    )


def _width(degrees, window) -> tuple[Estimate | None, bool, str]:
    """Wider networks approach their limit as 1/width once they have more parameters than samples."""
    if degrees is None or degrees < 2 * window[1]:
        many = "unknown" if degrees is None else f"{degrees / window[1]:.2g} times the samples"
        return None, False, f"degrees of freedom {many}: not in the limit of many"
    return Estimate(1.0, 0.0), True, f"{degrees / window[1]:.2g} degrees of freedom a sample: 1/width to the limit"
