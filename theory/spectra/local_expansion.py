r"""Expansions in fractional powers at the ends of [-1, 1]: where a kernel of any depth stops being smooth.

With w = 1 - t at coincident points and w = 1 + t at opposite ones, a formula becomes, part by part,

    kappa = sum_p c_p w^p,   p rational;   whole powers are smooth functions of t, all others are singular.

Sums, products, powers and functions of expansions are expansions, so layers compose. A value is `analytic` when no
step could have made a fractional power: that is a proof, while missing fractional powers up to some order are not.

>>> from .zonal import T
>>> at_end(sp.acos(T), +1, 3, exact=True)
sqrt(2)*w**(1/2) + sqrt(2)/12*w**(3/2) + O(w**5/2)
"""

from dataclasses import dataclass
from fractions import Fraction
from functools import lru_cache
from typing import Any

import mpmath
import sympy as sp

from ..errors import NoClosedForm
from .zonal import as_number, evaluate

DIGITS = 60
_NUMBERS = mpmath.mp.clone()
_NUMBERS.dps = DIGITS
_ZERO = _NUMBERS.mpf(10) ** (-DIGITS // 2)
_y = sp.Symbol("y", real=True)
_CONSTANT = Fraction(0)


class NeedsMoreOrders(NoClosedForm):
    """So few orders are kept that nothing is left of an expansion."""


@dataclass(frozen=True)
class Expansion:
    """sum of terms[p] w^p for p < `order`; `analytic`: certainly a power series in w."""

    terms: dict[Fraction, Any]
    order: Fraction
    analytic: bool

    @property
    def lowest(self) -> Fraction:
        return min(self.terms, default=self.order)

    def singular(self) -> dict:
        """Terms of powers that are not whole, lowest first, powers as SymPy numbers."""
        fractional = sorted(power for power in self.terms if power.denominator > 1)
        return {sp.Rational(power.numerator, power.denominator): self.terms[power] for power in fractional}

    def __repr__(self) -> str:
        powers = {p: f"w**({p})" if p.denominator > 1 else f"w**{p}" for p in sorted(self.terms)}
        return " + ".join([*(f"{self.terms[p]}*{name}" for p, name in powers.items()), f"O(w**{self.order})"])


class Expansions:
    """Arithmetic of expansions, with exact coefficients or with 60 digits."""

    def __init__(self, order: int, exact: bool):
        self.order, self.exact = Fraction(order), exact

    def number(self, expression: sp.Expr) -> Expansion:
        return Expansion(self._kept({_CONSTANT: self._coefficient(expression)}), self.order, True)

    def add(self, parts: list) -> Expansion:
        terms: dict = {}
        for part in parts:
            for power, coefficient in part.terms.items():
                terms[power] = terms.get(power, 0) + coefficient
        order = min(part.order for part in parts)
        return Expansion(self._kept(terms, order), order, all(part.analytic for part in parts))

    def multiply(self, parts: list) -> Expansion:
        product = parts[0]
        for part in parts[1:]:
            order = min(product.order + part.lowest, part.order + product.lowest, self.order)
            terms: dict = {}
            for p, a in product.terms.items():
                for q, b in part.terms.items():
                    if p + q < order:
                        terms[p + q] = terms.get(p + q, 0) + a * b
            product = Expansion(self._kept(terms, order), order, product.analytic and part.analytic)
        return product

    def power(self, base: Expansion, exponent: sp.Expr) -> Expansion:
        if exponent.is_Integer and exponent >= 0:
            return self.multiply([self.number(sp.S.One), *[base] * int(exponent)])
        if not exponent.is_Rational:
            raise NoClosedForm(f"power {exponent}", where="local expansion", remedy="use rational powers")
        if not base.terms:
            raise NeedsMoreOrders("a power of what vanishes to the order kept", where="local expansion")
        lowest, ratio = base.lowest, Fraction(int(exponent.p), int(exponent.q))
        lead = base.terms[lowest]
        rest = Expansion(
            {p - lowest: c / lead for p, c in base.terms.items() if p != lowest}, base.order - lowest, base.analytic
        )
        factor = lead ** (exponent if self.exact else self._coefficient(exponent))
        if not self.exact and not isinstance(factor, _NUMBERS.mpf):
            raise NoClosedForm("a root of a negative number", where="local expansion")
        total = self._series(rest, lambda j: self._coefficient(sp.ff(exponent, j) / sp.factorial(j)))
        shift = lowest * ratio
        terms = {p + shift: c * factor for p, c in total.terms.items()}
        order = min(total.order + shift, self.order)
        whole = shift.denominator == 1 and shift >= 0
        return Expansion(self._kept(terms, order), order, bool(base.analytic and whole))

    def apply(self, name: str, value: Expansion) -> Expansion:
        if value.lowest < 0:
            raise NoClosedForm(f"{name} of something infinite", where="local expansion")
        centre = value.terms.get(_CONSTANT, 0)
        if name in ("acos", "asin"):
            for sign in (1, -1):
                if self._vanishes(centre - sign):
                    return self._at_branch_point(name, value, sign)
        rest = Expansion({p: c for p, c in value.terms.items() if p != 0}, value.order, value.analytic)
        if name == "log" and not centre:
            raise NoClosedForm("a logarithm at an end of [-1, 1]", where="local expansion", remedy="give numbers")
        if name == "Abs":
            raise NoClosedForm("an absolute value", where="local expansion", remedy="give numbers")
        return self._series(rest, lambda j: self._taylor(name, j, centre))

    def _at_branch_point(self, name: str, value: Expansion, sign: int) -> Expansion:
        """acos(1 - v) = 2 asin(sqrt(v/2)), acos(-1 + v) = pi - acos(1 - v), asin = pi/2 - acos."""
        gap = self.add([self.number(sp.S.One), self.multiply([self.number(sp.Integer(-sign)), value])])
        root = self.power(self.multiply([self.number(sp.S.Half), gap]), sp.S.Half)
        angle = self.multiply([self.number(sp.Integer(2 * sign)), self.apply("asin", root)])
        if sign < 0:
            angle = self.add([self.number(sp.pi), angle])
        if name == "acos":
            return angle
        return self.add([self.number(sp.pi / 2), self.multiply([self.number(sp.S.NegativeOne), angle])])

    def _series(self, small: Expansion, coefficient: Any) -> Expansion:
        """sum_j coefficient(j) small^j, for an expansion without a constant term."""
        if small.terms and small.lowest <= 0:
            raise NoClosedForm("a series in something that does not vanish", where="local expansion")
        power, j = self.number(sp.S.One), 0
        order = min(small.order, self.order)
        terms: dict = {}
        while True:
            weight = coefficient(j)
            for p, c in power.terms.items():
                terms[p] = terms.get(p, 0) + weight * c
            j += 1
            if not small.terms or j * small.lowest >= order:
                break
            power = self.multiply([power, small])
        return Expansion(self._kept(terms, order), order, small.analytic)

    def _taylor(self, name: str, j: int, centre: Any) -> Any:
        if self.exact:
            return sp.expand(_derivative(name, j).subs(_y, centre) / sp.factorial(j))
        return _numeric_taylor(name, _NUMBERS.mpf(centre), 8 * (j // 8 + 1))[j]

    def _coefficient(self, expression: sp.Expr) -> Any:
        return expression if self.exact else _number(sp.sympify(expression))

    def _vanishes(self, coefficient: Any) -> bool:
        if not self.exact:
            return abs(coefficient) < _ZERO
        coefficient = sp.sympify(coefficient)
        if coefficient == 0 or abs(sp.N(coefficient, 40)) > 1e-25:
            return coefficient == 0
        return sp.simplify(coefficient) == 0

    def _kept(self, terms: dict, order: Any = None) -> dict:
        order = self.order if order is None else order
        if self.exact:
            terms = {p: sp.expand(c) for p, c in terms.items()}
        return {p: c for p, c in terms.items() if p < order and not self._vanishes(c)}


@lru_cache(maxsize=1024)
def _number(expression: sp.Expr) -> Any:
    return as_number(expression, _NUMBERS)


@lru_cache(maxsize=256)
def _numeric_taylor(name: str, centre: Any, count: int) -> list:
    """Coefficients of (y - centre)^j, j < count, by mpmath's differences at raised precision."""
    if not hasattr(_NUMBERS, name):
        raise NoClosedForm(f"mpmath has no {name}", where="local expansion", remedy="give numbers")
    found = _NUMBERS.taylor(getattr(_NUMBERS, name), centre, count - 1)
    if not all(isinstance(value, _NUMBERS.mpf) for value in found):
        raise NoClosedForm(f"{name} is not real about {float(centre):g}", where="local expansion")
    return found


@lru_cache(maxsize=1024)
def _derivative(name: str, j: int) -> sp.Expr:
    return getattr(sp, name)(_y).diff(_y, j) if j else getattr(sp, name)(_y)


def at_end(formula: sp.Expr, end: int, order: int, exact: bool = False) -> Expansion:
    """The expansion of a formula of T in w = 1 - end * T, powers below `order`; roots use some of them up.

    `exact` keeps coefficients as expressions, for formulas that are not long; else they have 60 digits. Raises
    `NoClosedForm` for logarithms, absolute values and essential singularities at the end.

    >>> from .zonal import T
    >>> at_end(sp.exp(2 * T), -1, 2, exact=True).analytic
    True
    """
    algebra = Expansions(order, exact)
    one, sign = algebra.number(sp.S.One), algebra.number(sp.Integer(end))
    step = Expansion({Fraction(1): -one.terms[_CONSTANT]}, algebra.order, True)
    return evaluate(formula, algebra, algebra.multiply([sign, algebra.add([one, step])]))


def constant(formula: sp.Expr) -> Any:
    """kappa(1) to 60 digits, also where the formula is 0/0 there."""
    for order in (3, 6, 12, 24):
        try:
            return at_end(formula, +1, order).terms.get(_CONSTANT, _NUMBERS.zero)
        except NeedsMoreOrders:
            continue
    raise NoClosedForm("the value at coincident points is lost", where="local expansion")


def taylor(formula: sp.Expr, count: int, radius: Any = 1) -> list:
    """Coefficients c_m radius^m, m < `count`, of the power series in T about 0, to 1e-30 at least.

    >>> from .zonal import T
    >>> [round(float(c), 6) for c in taylor(sp.exp(T), 4)]
    [1.0, 1.0, 0.5, 0.166667]
    """
    found = evaluate(
        formula, Expansions(count, exact=False), Expansion({Fraction(1): _NUMBERS.mpf(radius)}, Fraction(count), True)
    )
    return [found.terms.get(Fraction(m), _NUMBERS.zero) for m in range(count)]
