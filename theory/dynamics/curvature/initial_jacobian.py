"""Singular values of a random linear network before training: products of wide Gaussian matrices.

Squared singular values of W_L .. W_1, each n x n with entries N(0, 1/n), have at n -> oo the moments m_k of

    psi = w (1 + psi)^(L+1),      psi(w) = sum_k m_k w^k,      m_k = binomial(Lk + k, k) / (Lk + 1),

the Fuss-Catalan numbers. The largest grows with depth, (L+1)^(L+1) / L^L, while their mean stays 1: what gradients are
multiplied by spreads, and with it the rates at which modes begin to grow.

Reference: Penson & Zyczkowski 2011, arXiv:1103.3453; Pennington, Schoenholz & Ganguli 2017, arXiv:1711.04735.
"""

from functools import cache

import sympy as sp

from ...errors import LearningMechanicsError
from ...symbols import positive
from ...system import FixedPoint
from ...trail import Equations, Trail

_PENSON = "Penson & Zyczkowski 2011, arXiv:1103.3453"
_w, _psi = positive("w psi")


@cache
def moment_equation(depth: int) -> FixedPoint:
    """The equation of the moment series psi(w): one free factor psi / (1 + psi) per matrix.

    For free matrices the S-transforms S(psi) = (1 + psi) / psi x w(psi) multiply. One Gaussian matrix counts pairings,
    whose Catalan recursion is psi = w (1 + psi)^2: S = 1 / (1 + psi).

    >>> print(moment_equation(2).equations[0])
    psi - w*(psi + 1)**3
    """
    one = _psi / (1 + _psi) ** 2  # w as a function of psi for a single matrix
    factor = sp.cancel((1 + _psi) / _psi * one)
    product = sp.factor(_psi / (1 + _psi) * factor**depth)
    equation = sp.numer(sp.together(product - _w))
    trail = (
        Trail()
        .then("pairings of one Gaussian matrix", Equations(((_w, one),)), assumption="infinite width")
        .then("S-transform of one", Equations(((positive("S"), factor),)))
        .then("free product", Equations(((_w, product),)), assumption="independent layers", reference=_PENSON)
    )
    return FixedPoint((_psi,), (sp.factor_terms(equation),), trail=trail)


@cache
def moments(depth: int, count: int) -> tuple[sp.Integer, ...]:
    """m_1 .. m_count: means of powers of the squared singular values, by Lagrange inversion of the equation.

    >>> moments(1, 4), moments(3, 3)
    ((1, 2, 5, 14), (1, 4, 22))
    """
    (equation,) = moment_equation(depth).equations
    inverse = sp.cancel(_psi / sp.solve(equation, _w)[0])  # phi with psi = w phi(psi)
    found = [sp.Poly(sp.expand(inverse**k), _psi).coeff_monomial(_psi ** (k - 1)) / k for k in range(1, count + 1)]
    series = sum(m * _w**k for k, m in enumerate(found, 1))
    residual = sp.Poly(sp.expand(equation.subs(_psi, series)), _w)
    if any(power[0] <= count for power, value in residual.terms() if value != 0):
        raise LearningMechanicsError("the series does not solve its equation", where="moments")
    return tuple(found)


@cache
def largest_squared_value(depth: int) -> sp.Expr:
    """The edge of the spectrum: 1/w where w(psi) is stationary, beyond which no series exists.

    >>> largest_squared_value(1), largest_squared_value(3)
    (4, 256/27)
    """
    (equation,) = moment_equation(depth).equations
    w = sp.solve(equation, _w)[0]
    (stationary,) = [root for root in sp.solve(sp.numer(sp.together(w.diff(_psi))), _psi) if root.is_positive]
    return 1 / w.subs(_psi, stationary)
