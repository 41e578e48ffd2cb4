"""Signs and normal forms of exact numbers: rationals at once, other algebraic numbers by digits and then by proof.

A sign is certain if the number differs from zero beyond the error of its digits; zero itself is proved, never guessed:
x = 0 if the minimal polynomial of x is the identity.
"""

import re
from decimal import Decimal
from typing import Any

import sympy as sp

from ..errors import BadData

DIGITS = 50
_WRITTEN = re.compile(r"(?:[\d.+\-/()\s]|\*(?!\*)|sqrt|(?<=\d)e(?=[\d+-]))*")


def exact(value: Any, where: str = "exact number", rounded: bool = True) -> Any:
    """An exact real number or expression; a float is read as the decimal it prints as, or not `rounded` refused.

    Errors: `BadData`.

    >>> exact(0.7), exact("3/10"), exact(1 - 1 / sp.sqrt(2))
    (7/10, 3/10, 1 - sqrt(2)/2)
    """
    if not rounded and is_rounded(value):
        raise BadData("an exponent is a float", where=where, remedy="use exact numbers, such as Rational(1, 3)")
    if isinstance(value, bool):
        raise BadData(f"{value} is no number", where=where, remedy="give a number")
    if hasattr(value, "dtype") and not isinstance(value, sp.Basic):
        if getattr(value, "shape", ()) != ():
            raise BadData(f"an array of shape {value.shape}", where=where, remedy="give one number at a time")
        value = float(str(value)) if value.dtype.kind == "f" else value.item()  # float32 prints fewer digits
    try:
        if isinstance(value, str) and not _WRITTEN.fullmatch(value):
            raise ValueError  # text is evaluated: nothing but numbers
        if isinstance(value, float | Decimal):
            found = sp.Rational(str(value))
        else:
            found = sp.sympify(value, rational=True)
            if isinstance(found, sp.Expr) and found.has(sp.Float):
                found = found.xreplace({digits: sp.Rational(str(digits)) for digits in found.atoms(sp.Float)})
    except (sp.SympifyError, TypeError, ValueError, SyntaxError, AttributeError, ZeroDivisionError):
        found = None
    if not isinstance(found, sp.Expr) or found.has(sp.nan, sp.zoo, sp.oo, -sp.oo) or found.is_real is False:
        raise BadData(f"{value!r} is no finite real number", where=where, remedy="give a number, a fraction or sqrt(2)")
    return found if found.is_Rational or found.free_symbols else sp.sqrtdenest(found)


def is_rounded(value: Any) -> bool:
    """Whether a number was given in floating point, so that a nearby one may be meant.

    >>> is_rounded(0.7), is_rounded(sp.Float("0.7")), is_rounded("7/10"), is_rounded(1)
    (True, True, False, False)
    """
    if isinstance(value, sp.Basic):
        return value.has(sp.Float)
    return isinstance(value, float) or getattr(getattr(value, "dtype", None), "kind", "") == "f"


def exact_sign(value: Any) -> int:
    """-1, 0 or 1: the sign of an exact real number.

    >>> exact_sign(sp.sqrt(2) - sp.Rational(141421356, 10**8)), exact_sign((1 + sp.sqrt(2)) ** 2 - 3 - sp.sqrt(8))
    (1, 0)
    """
    value = sp.sympify(value)
    if value.is_Rational:
        return int(sp.sign(value))
    digits = sp.N(value, DIGITS)
    if digits.is_comparable and abs(digits) > sp.Float(10) ** (-DIGITS // 2):
        return int(sp.sign(digits))
    if sp.expand(value).equals(0) or sp.minimal_polynomial(value, sp.Symbol("x")) == sp.Symbol("x"):
        return 0
    return int(sp.sign(sp.N(value, 20 * DIGITS)))


def tidy(value: Any) -> Any:
    """One normal form: factored fractions of symbols, numbers without roots in denominators."""
    value = sp.sympify(value)
    if value.is_Rational:
        return value
    return sp.factor(sp.cancel(value)) if value.free_symbols else sp.radsimp(sp.expand(sp.radsimp(value)))
