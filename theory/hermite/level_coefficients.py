r"""The kernel of any architecture as a power series in x.x', at the radius of the data.

On inputs with |x|^2 = q a rotation-invariant kernel is a function of the cosine t = x.x' / q,

    K(x, x') = sum_l k_l t^l = sum_l c_l / l! (x.x')^l,      c_l = l! k_l / q^l.

For a network the series is carried through the layers: an activation with Hermite coefficients a_k maps the covariance
series g with g(1) = v to sum_k a_k^2 (g / v)^k, truncated at the wanted order; a bias only moves the point around which
is expanded, for which more Hermite coefficients are taken. The tangent kernel follows by the product rule.

>>> from ..regression.kernels import rbf
>>> level_coefficients(rbf(1.0), q=1.0, order=3).log_coefficients.round(12)  # exp(-q) each: exp(-(q - x.x'))
array([-1., -1., -1., -1.])

Reference: Karkada, Turnbull, Liu & Simon 2025 (arXiv:2510.14878) for the use of c_l.
"""

import warnings
from collections.abc import Callable
from dataclasses import dataclass, replace
from math import lgamma
from typing import Any

import numpy as np
import sympy as sp

from ..architecture.constructors import activation, dense, serial
from ..architecture.layer_walk import passed
from ..architecture.network import Network
from ..duals.activation_moments import moments
from ..errors import BadData, NoClosedForm, UnknownName
from ..infinite_width.network_kernel import InfiniteWidth
from ..regression.kernels import Kernel
from ..signals.signal_propagation import Numbers, Pair

ORDER = 24
MOST_TERMS = 2000
CIRCLE, RADIUS = 512, 0.9
NOISE = 1e-28  # squares of Hermite coefficients that vanish but for rounding
REAL_ORDER = 6  # of a function that takes no complex numbers
PROBES = np.array([-0.3, 0.2, 0.4])


@dataclass(frozen=True, eq=False)
class LevelCoefficients:
    """A kernel on the sphere |x|^2 = q.

    `series`          k_l, l = 0..order: K = sum k_l t^l
    `at_coincidence`  K(x, x);  `beyond`: what levels above the order hold of it
    `error`           largest relative difference from the kernel itself at three cosines
    """

    series: np.ndarray
    q: float
    at_coincidence: float
    error: float

    @property
    def beyond(self) -> float:
        return max(self.at_coincidence - float(self.series.sum()), 0.0)

    @property
    def log_coefficients(self) -> np.ndarray:
        """log c_l with c_l = l! k_l / q^l; -inf for levels that the kernel does not have."""
        levels = np.arange(len(self.series))
        factorials = np.array([lgamma(level + 1) for level in levels])
        with np.errstate(divide="ignore"):
            return np.log(self.series) + factorials - levels * np.log(self.q)

    def __call__(self, t: Any) -> np.ndarray:
        """The truncated series at cosines t."""
        return np.polynomial.polynomial.polyval(np.asarray(t, float), self.series)


def level_coefficients(
    kernel: Any, q: float, dimension: int | None = None, order: int = ORDER, which: str = "ntk"
) -> LevelCoefficients:
    """The power series of a kernel in the cosine, at squared radius q = |x|^2 = Tr Sigma.

    `kernel`     a `Network` or `InfiniteWidth` (K = x.x' / d at the input, so `dimension` d is needed; `which` is "ntk"
                 or "nngp"), a `Kernel` (x.x' at the input), an expression of t, or a function kappa(t) of the cosine
    Errors: `BadData` for q or d that are not positive and for kernels with a negative coefficient, which are no kernels
    in every dimension; `NoClosedForm`, naming the layer, for networks that signals cannot be followed through.

    >>> t = sp.Symbol("t", real=True)
    >>> level_coefficients(sp.exp(2 * t), q=1.0, order=3).series.round(6)
    array([1.      , 2.      , 2.      , 1.333333])
    """
    if not (np.isfinite(q) and q > 0):
        raise BadData(f"squared radius {q}", where="level coefficients", remedy="give inputs that are not all zero")
    if order != int(order) or order < 1:
        raise BadData(f"order {order}", where="level coefficients", remedy="give a whole number from 1")
    if which not in ("ntk", "nngp"):
        raise UnknownName.among(which, ("ntk", "nngp"), kind="kernel of a network")
    if isinstance(kernel, InfiniteWidth):
        dimension = int(kernel.divisor) if kernel.divisor else dimension
        kernel = kernel.network
    if isinstance(kernel, Network):
        if not dimension or dimension < 1:
            raise BadData("no input dimension", where="level coefficients", remedy="give dimension = columns of x")
        return _of_network(kernel, q, q / dimension, order, which == "ntk")
    if isinstance(kernel, Kernel):
        if kernel.kind in ("ntk", "nngp"):
            hidden = (activation(kernel.activation), dense(kernel.weight_variance**0.5)) * (kernel.depth - 1)
            return _of_network(serial(dense(), *hidden), q, q, order, kernel.kind == "ntk")
        return _classical(kernel, q, order)
    if isinstance(kernel, sp.Expr):
        return _of_expression(kernel, q, order)
    if callable(kernel):
        return _of_function(kernel, q, order)
    raise BadData(f"a {type(kernel).__name__}", where="level coefficients", remedy="give a network or a kernel")


# ---- networks -------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, eq=False)
class Series:
    """Covariance (order + 1,) as a series in t, its value at t = 1, and the same of the tangent kernel."""

    covariance: np.ndarray
    variance: float
    tangent: np.ndarray
    coincident: float
    mean: float | None = None


class Expansions:
    """The rules of a walk on series."""

    def __init__(self, order: int, tangent: bool):
        self.order, self.tangent = order, tangent

    def _product(self, a, b):
        return np.convolve(a, b)[: self.order + 1]

    def dense(self, state: Series, node) -> Series:
        if self.tangent and node.parameterization == "standard":
            raise BadData(
                "the tangent kernel of the standard parameterization grows with the width",
                where=node.name,
                remedy='use parameterization="ntk", or which="nngp"',
            )
        w, b = node.w_std**2, node.b_std**2 if node.bias else 0.0
        covariance = w * state.covariance
        covariance[0] += b
        variance = w * state.variance + b
        return Series(covariance, variance, w * state.tangent + covariance, w * state.coincident + variance)

    def activation(self, state: Series, node) -> Series:
        law, v = moments(node.activation), state.variance
        if self.tangent and not law.tangent:
            raise NoClosedForm(
                f"{node.activation} has no derivative",
                where=node.name,
                remedy='its tangent kernel is infinite: use "nngp"',
            )
        inner = state.covariance / v
        terms = self.order
        if inner[0] > 1e-15:
            # terms k > l feed level l by binomial(k, l) inner[0]^(k - l), which peaks at k = l / (1 - inner[0])
            terms = min(MOST_TERMS, int((self.order + 60) / max(1 - inner[0], 1e-3)) + 60)
        squares = np.square(law.hermite(v, terms))
        value, slope = np.zeros(self.order + 1), np.zeros(self.order + 1)
        for k in range(terms, -1, -1):
            if self.tangent:
                slope = self._product(slope, inner) + value
            value = self._product(value, inner)
            value[0] += squares[k]
        tangent, coincident = state.tangent, state.coincident
        if self.tangent:
            tangent = self._product(tangent, slope / v)
            coincident = coincident * float(law.slope(v))
        mean = float(law.mean(v))
        return Series(value, float(law.second(v)), tangent, coincident, mean if mean else None)

    def sum(self, states, coefficients, node) -> Series:
        means = [c * s.mean for c, s in zip(coefficients, states, strict=True) if s.mean is not None]
        cross = sum(means) ** 2 - sum(m**2 for m in means)
        parts = [
            sum(c**2 * getattr(s, name) for c, s in zip(coefficients, states, strict=True))
            for name in ("covariance", "variance", "tangent", "coincident")
        ]
        parts[0][0] += cross
        return Series(parts[0], parts[1] + cross, parts[2], parts[3], sum(means) if means else None)

    def product(self, states, node) -> Series:
        made = states[0]
        for other in states[1:]:
            mean = None if made.mean is None or other.mean is None else made.mean * other.mean
            made = Series(
                self._product(made.covariance, other.covariance),
                made.variance * other.variance,
                self._product(made.tangent, other.covariance) + self._product(made.covariance, other.tangent),
                made.coincident * other.variance + made.variance * other.coincident,
                mean,
            )
        return made

    def layer_norm(self, state: Series, node) -> Series:
        centred = state.covariance.copy()
        lost = (state.mean or 0.0) ** 2
        centred[0] -= lost
        size = state.variance - lost + node.epsilon
        if not size > 0:
            raise BadData("features of variance zero", where=node.name, remedy="give layer_norm an eps above 0")
        return Series(centred / size, (state.variance - lost) / size, state.tangent / size, state.coincident / size)


def _of_network(network: Network, q: float, variance: float, order: int, tangent: bool) -> LevelCoefficients:
    start = np.zeros(order + 1)
    start[1] = variance
    end = passed(network, Series(start, variance, np.zeros(order + 1), 0.0), Expansions(order, tangent)).state
    series, top = (end.tangent, end.coincident) if tangent else (end.covariance, end.variance)
    size = np.full(len(PROBES), variance)
    pair = Pair(size, size, 1 - PROBES, np.zeros(len(PROBES)) if tangent else None)
    numbers = passed(network, pair, Numbers(tangent=tangent)).state
    return _made(series, q, top, numbers.slope if tangent else numbers.covariance)


# ---- other kernels --------------------------------------------------------------------------------------------------


def _classical(kernel: Kernel, q: float, order: int) -> LevelCoefficients:
    series = np.zeros(order + 1)
    if kernel.kind == "linear":
        series[1] = q
        return _made(series, q, q, q * PROBES)
    if kernel.kind == "rbf":
        a = q / kernel.width**2
        levels = np.arange(order + 1)
        series = np.exp(-a + levels * np.log(a) - np.array([lgamma(level + 1) for level in levels]))
        return _made(series, q, 1.0, np.exp(-a * (1 - PROBES)))
    # exp(-a sqrt(1 - t)) solves (1 - t) h'' = h'/2 + a^2 h/4: all terms of the recursion are positive
    a = np.sqrt(2 * q) / kernel.width
    series[:2] = np.exp(-a), a / 2 * np.exp(-a)
    for n in range(order - 1):
        series[n + 2] = ((n + 1) * (n + 0.5) * series[n + 1] + a**2 / 4 * series[n]) / ((n + 2) * (n + 1))
    return _made(series, q, 1.0, np.exp(-a * np.sqrt(1 - PROBES)))


def _of_expression(kernel: sp.Expr, q: float, order: int) -> LevelCoefficients:
    import mpmath as mp

    symbols = sorted(kernel.free_symbols, key=str)
    if len(symbols) != 1:
        raise BadData(
            f"the expression {kernel}", where="level coefficients", remedy="use exactly one symbol, the cosine"
        )
    function = sp.lambdify(symbols[0], kernel, "mpmath")
    with mp.workdps(30 + 2 * order):
        series = np.array([float(mp.re(c)) for c in mp.taylor(function, 0, order)])
        top = float(mp.re(function(mp.mpf(1))))
        direct = np.array([float(mp.re(function(mp.mpf(float(t))))) for t in PROBES])
    return _made(series, q, top, direct)


def _of_function(kernel: Callable, q: float, order: int) -> LevelCoefficients:
    """Cauchy's integral on a circle where the function takes complex numbers, else Chebyshev points around 0."""
    top, direct = float(kernel(np.array([1.0]))[0]), np.asarray(kernel(PROBES), float)
    circle = RADIUS * np.exp(2j * np.pi * np.arange(CIRCLE) / CIRCLE)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error")  # a cast to real numbers is no value on the circle
            values = np.asarray(kernel(circle))
        analytic = np.iscomplexobj(values) and np.isfinite(values).all()
    except (TypeError, ValueError, Warning):
        analytic = False
    if analytic:
        series = (np.fft.fft(values) / CIRCLE).real[: CIRCLE // 2] / RADIUS ** np.arange(CIRCLE // 2)
        # on 0.4 the terms left out, and the growth of rounding errors on the circle, are far below the tolerance
        if np.abs(np.polynomial.polynomial.polyval(PROBES, series) - direct).max() < 1e-8 * np.abs(direct).max():
            return _made(series[: order + 1], q, top, direct)
    order = min(order, REAL_ORDER)
    half = 0.5
    nodes = np.cos(np.pi * (np.arange(29) + 0.5) / 29)
    fitted = np.polynomial.chebyshev.chebfit(nodes, np.asarray(kernel(half * nodes), float), 28)
    series = np.polynomial.chebyshev.cheb2poly(fitted)[: order + 1] / half ** np.arange(order + 1)
    return _made(series, q, top, direct, 1e-7)


def _made(series, q, top, direct, tolerance: float = 1e-10) -> LevelCoefficients:
    scale = float(np.abs(series).max())
    if not np.isfinite(series).all() or not scale > 0:
        raise BadData("no finite positive coefficient", where="level coefficients", remedy="check the kernel")
    worst = int(np.argmin(series))
    if series[worst] < -tolerance * scale:
        raise BadData(
            f"the coefficient of t^{worst} is {series[worst]:.3g}",
            where="level coefficients",
            remedy="such a function is no kernel in every dimension; check its sign and its argument, the cosine",
        )
    series = np.where(series < NOISE * scale, 0.0, series)
    found = LevelCoefficients(series, float(q), float(top), 0.0)
    error = float(np.max(np.abs(found(PROBES) - direct)) / np.abs(top))
    return replace(found, error=error)
