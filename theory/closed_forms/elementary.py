"""Hypergeometric time laws in elementary functions: logarithms and arctangents, at every whole number of layers.

    x^b/b 2F1(1, b; b+1; x) = int x^(b-1) / (1 - x) dx,    b = p/r,  v = x^(1/r):   - sum_k w_k^p log(1 - v / w_k)

over the r-th roots of unity w_k, taken in pairs so that everything is real, after the powers x^b .. x^(b+J-1) that
would not vanish at zero are split off.

>>> x = sp.Symbol("x", positive=True)
>>> print(elementary(sp.hyper((1, sp.Rational(1, 2)), (sp.Rational(3, 2),), x)))
(-log(1 - sqrt(x)) + log(sqrt(x) + 1))/(2*sqrt(x))
"""

from typing import Any

import sympy as sp


def elementary(expression: Any) -> Any:
    """The expression with every 2F1(1, b; b + 1; x), b rational, 0 < x < 1, in real elementary functions.

    Other functions are left as they are. Verified against `mpmath` in the tests for all depths up to twelve.
    """
    return sp.sympify(expression).replace(_is_partial_power, _rewritten)


def _is_partial_power(part: Any) -> bool:
    if not isinstance(part, sp.hyper) or len(part.ap) != 2 or len(part.bq) != 1 or 1 not in part.ap:
        return False
    b = sum(part.ap) - 1
    return b.is_Rational and not (b.is_Integer and b <= 0) and part.bq[0] == b + 1


def _rewritten(part: Any) -> Any:
    b, x = sum(part.ap) - 1, part.argument
    splits = max(0, int(sp.ceiling(-b)))
    leading = sum((x**j / (b + j) for j in range(splits)), sp.S.Zero)
    p, r = (b + splits).p, (b + splits).q
    whole = b / x**b * _integral(p, r, x ** sp.Rational(1, r))
    return b * leading + whole if leading != 0 else whole


def _integral(p: int, r: int, v: Any) -> Any:
    """r int_0^v v^(p-1) / (1 - v^r) dv for p > 0: the parts beyond p = r are powers, the rest logarithms."""
    powers = sum((sp.Rational(r, k) * v**k for k in range(p - r, 0, -r)), sp.S.Zero)
    total = -sp.log(1 - v) - ((-1) ** p * sp.log(1 + v) if r % 2 == 0 else 0)
    for k in range(1, (r + 1) // 2):
        angle = 2 * sp.pi * k / r
        size, phase = 1 - 2 * v * sp.cos(angle) + v**2, sp.atan(v * sp.sin(angle) / (1 - v * sp.cos(angle)))
        total -= sp.cos(p * angle) * sp.log(size) - 2 * sp.sin(p * angle) * phase
    return total - powers
