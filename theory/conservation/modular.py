"""Linear algebra modulo a prime: exact ranks and null vectors of integer matrices, without growing fractions.

A rank modulo a prime can only be too small, and is right unless the prime divides the determinants that matter. Null
vectors are lifted from remainders to the smallest fractions with these remainders; whoever uses them checks them.

>>> null_vectors([{0: 1, 1: 2}, {1: 3, 2: -1}], 3)
[{2: 3, 1: 1, 0: -2}]
"""

from collections.abc import Mapping
from itertools import permutations
from math import gcd, lcm
from typing import Any

import numpy as np

from .polynomials import Polynomial, add

PRIME = 2**31 - 1  # products of two remainders fit into 64 bits
LARGE_PRIME = 2**61 - 1


class Echelon:
    """Sparse vectors modulo a large prime, kept so that the leading entry of each is in no later one."""

    def __init__(self) -> None:
        self.rows: dict[Any, dict] = {}

    def reduced(self, vector: Mapping[Any, int]) -> dict:
        """What the rows leave of a vector."""
        left = {key: value % LARGE_PRIME for key, value in vector.items()}
        pending = [key for key in left if key in self.rows]
        while pending:
            key = pending.pop()
            factor = left.get(key, 0)
            if not factor:
                continue
            for place, value in self.rows[key].items():
                left[place] = (left.get(place, 0) - factor * value) % LARGE_PRIME
                if place != key and place in self.rows:
                    pending.append(place)
        return {key: value for key, value in left.items() if value}

    def grow(self, vector: Mapping[Any, int]) -> bool:
        """Add a vector; False if the rows span it already."""
        left = self.reduced(vector)
        if left:
            lead = min(left)
            inverse = pow(left[lead], -1, LARGE_PRIME)
            self.rows[lead] = {key: value * inverse % LARGE_PRIME for key, value in left.items()}
        return bool(left)


def null_vectors(rows: list[dict[int, int]], width: int) -> list[dict[int, int]]:
    """Integer vectors that span the solutions of the homogeneous equations (lifted from a prime; check them)."""
    echelon = Echelon()
    for row in sorted(rows, key=len):
        echelon.grow(row)
    solved: dict[int, dict[int, int]] = {}  # pivot -> combination of free columns, from the last pivot to the first
    for pivot in sorted(echelon.rows, reverse=True):
        total: dict[int, int] = {}
        for column, value in echelon.rows[pivot].items():
            for free, factor in ({} if column == pivot else solved.get(column, {column: 1})).items():
                total[free] = (total.get(free, 0) - value * factor) % LARGE_PRIME
        solved[pivot] = {free: value for free, value in total.items() if value}
    vectors: dict[int, dict[int, int]] = {free: {free: 1} for free in range(width) if free not in solved}
    for pivot, combination in solved.items():
        for free, value in combination.items():
            vectors[free][pivot] = value
    return [_integers(vector) for vector in vectors.values()]


def _integers(vector: dict[int, int]) -> dict[int, int]:
    """The smallest integer multiple of the rational vector with these remainders."""
    fractions = {column: _fraction(value) for column, value in vector.items()}
    common = lcm(*(denominator for _, denominator in fractions.values()))
    return {column: numerator * common // denominator for column, (numerator, denominator) in fractions.items()}


def _fraction(remainder: int) -> tuple[int, int]:
    """The fraction of smallest size with this remainder, by Euclid's algorithm."""
    above, below, high, low = LARGE_PRIME, remainder, 0, 1
    while below * below * 2 > LARGE_PRIME:
        quotient = above // below
        above, below, high, low = below, above - quotient * below, low, high - quotient * low
    return (below, low) if low > 0 else (-below, -low)


def shortened(vectors: list[dict[Any, int]]) -> list[dict[Any, int]]:
    """The same span with fewer terms, in smallest integers: multiples of one vector are added where that cancels.

    >>> shortened([{0: 1, 1: 1, 2: 1}, {1: 1, 2: 1}])
    [{0: 1}, {1: 1, 2: 1}]
    """
    vectors, improved = list(vectors), True
    while improved:
        improved = False
        for i, j in permutations(range(len(vectors)), 2):
            one, other = vectors[i], vectors[j]
            for factor in {-one[key] // other[key] for key in one.keys() & other.keys() if one[key] % other[key] == 0}:
                tried = add(vectors[i], {key: factor * value for key, value in other.items()})
                if len(tried) < len(vectors[i]):
                    vectors[i], improved = tried, True
    return [_primitive(vector) for vector in vectors]


def _primitive(vector: dict[Any, int]) -> dict[Any, int]:
    common = gcd(*vector.values()) * (1 if vector[min(vector)] > 0 else -1)
    return {key: value // common for key, value in sorted(vector.items())}


class Span:
    """Row space of dense vectors modulo the small prime, in reduced form: one product reduces a vector."""

    def __init__(self, size: int) -> None:
        self.rows = np.zeros((0, size), dtype=np.int64)
        self.leads: list[int] = []

    def grow(self, vector: np.ndarray) -> bool:
        """Add a vector; False if the rows span it already."""
        left = (vector - product(vector[self.leads], self.rows)) % PRIME if self.leads else vector % PRIME
        if not left.any():
            return False
        lead = int(np.flatnonzero(left)[0])
        left = left * pow(int(left[lead]), -1, PRIME) % PRIME
        self.rows = np.vstack([(self.rows - self.rows[:, [lead]] * left % PRIME) % PRIME, left])
        self.leads.append(lead)
        return True


def value_at(polynomial: Polynomial, point: list[int]) -> int:
    """A polynomial with integer coefficients at an integer point, modulo the small prime.

    >>> value_at({(0, 1): -1}, [2, 3]) == PRIME - 6
    True
    """
    total = 0
    for monomial, value in polynomial.items():
        for place in monomial:
            value = value * point[place] % PRIME
        total += value
    return total % PRIME


def product(one: np.ndarray, other: np.ndarray) -> np.ndarray:
    """The matrix product modulo the small prime, of remainders (n, m) and (m, k), m up to 65536.

    >>> int(product(np.array([PRIME - 1]), np.array([PRIME - 1])))
    1
    """
    # in two halves, so that sums of up to 2^16 products stay below 2^63
    return (((one >> 16) @ other % PRIME << 16) + (one & 0xFFFF) @ other) % PRIME
