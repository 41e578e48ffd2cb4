"""Polynomials and polynomial vector fields with exact coefficients, fast because they are dictionaries.

A polynomial maps a monomial, the sorted places of its factors, to a coefficient: 3 t0^2 t2 is {(0, 0, 2): 3}. A vector
field maps a place to the polynomial that moves it. The one operation to remember is the Lie bracket,

    [X, Y] = DX Y - DY X,

the direction in which one ends up by following X, Y, -X, -Y for a short while each.
"""

from collections.abc import Iterator, Sequence
from typing import Any

Monomial = tuple[int, ...]
Polynomial = dict[Monomial, Any]
Field = dict[int, Polynomial]
ONE: Polynomial = {(): 1}


def add(*polynomials: Polynomial) -> Polynomial:
    """The sum.

    >>> add({(0,): 1}, {(0,): -1, (1,): 2})
    {(1,): 2}
    """
    total: Polynomial = {}
    for polynomial in polynomials:
        for monomial, value in polynomial.items():
            total[monomial] = total.get(monomial, 0) + value
    return {monomial: value for monomial, value in total.items() if value}


def multiply(one: Polynomial, other: Polynomial) -> Polynomial:
    """The product.

    >>> multiply({(0,): 1, (1,): 1}, {(0,): 1, (1,): -1})
    {(0, 0): 1, (1, 1): -1}
    """
    total: Polynomial = {}
    for left, value in one.items():
        for right, factor in other.items():
            monomial = tuple(sorted(left + right))
            total[monomial] = total.get(monomial, 0) + value * factor
    return {monomial: value for monomial, value in total.items() if value}


def products(known: Sequence[Polynomial], bound: int) -> Iterator[Polynomial]:
    """Every product of the known polynomials up to a degree, themselves included.

    >>> list(products([{(0,): 1}], 2))
    [{(0,): 1}, {(0, 0): 1}]
    """
    reachable: list[tuple[Polynomial, int]] = [(ONE, 0)]
    while reachable:
        value, first = reachable.pop()
        for place in range(first, len(known)):
            made = multiply(value, known[place])
            if max(map(len, made)) <= bound:
                yield made
                reachable.append((made, place))


def gradient(polynomial: Polynomial) -> Field:
    """The vector field of all partial derivatives.

    >>> gradient({(0, 0, 1): 1})
    {0: {(0, 1): 2}, 1: {(0, 0): 1}}
    """
    field: Field = {}
    for monomial, value in polynomial.items():
        for place in dict.fromkeys(monomial):
            first = monomial.index(place)
            part = field.setdefault(place, {})
            rest = monomial[:first] + monomial[first + 1 :]
            part[rest] = part.get(rest, 0) + value * monomial.count(place)
    return field


def along(polynomial: Polynomial, field: Field) -> Polynomial:
    """The rate of change of a polynomial along a vector field.

    >>> along({(0, 0): 1, (1, 1): -1}, {0: {(1,): 1}, 1: {(0,): 1}})
    {}
    """
    slopes = gradient(polynomial)
    return add(*(multiply(slopes[place], field[place]) for place in slopes.keys() & field.keys()))


def bracket(one: Field, other: Field) -> Field:
    """The Lie bracket [X, Y] = DX Y - DY X, an exact polynomial field.

    >>> bracket({0: {(1,): 1}}, {1: {(0,): 1}})
    {0: {(0,): 1}, 1: {(1,): -1}}
    """
    made: Field = {}
    for place in sorted(one.keys() | other.keys()):
        back = along(other.get(place, {}), one)
        part = add(along(one.get(place, {}), other), {m: -value for m, value in back.items()})
        if part:
            made[place] = part
    return made
