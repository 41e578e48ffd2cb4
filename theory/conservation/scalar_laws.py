"""Conserved polynomials of one flow or map of scalars, with coefficients that depend on its parameters.

Among all monomials of bounded degree, the combinations with zero rate of change form the null space of a matrix over
rational functions of the parameters. That matrix is never formed:

    which monomials take part       a null space modulo a prime, at random values of the parameters
    with which coefficients         exactly, from as many equations as there are monomials in one law, less one

No law is lost: where the columns are independent at one point they are so everywhere.

>>> a, b, s, eta = sp.symbols("a b s eta")
>>> scalar_laws(Flow((a, b), (eta * b * (s - a * b), a * (s - a * b))), degree=2)
(a**2 - b**2*eta,)
"""

from collections.abc import Mapping
from itertools import combinations_with_replacement
from typing import Any

import numpy as np
import sympy as sp
from sympy.polys.matrices import DomainMatrix

from ..errors import NoClosedForm
from ..system import Flow, System
from .modular import LARGE_PRIME, Echelon, null_vectors
from .polynomials import Polynomial, add, along, multiply, products


def scalar_laws(system: System, degree: int) -> tuple[Any, ...]:
    """Generators of the conserved polynomials of a flow or map, up to that degree in its unknowns.

    Products of laws that are listed are not listed again. The coefficients are polynomials in the parameters; whoever
    uses the laws verifies them. Raises `NoClosedForm` naming an equation that is not polynomial in the unknowns, or not
    rational in the parameters.

    >>> q, p = sp.symbols("q p")
    >>> scalar_laws(Flow((q, p), (p, -q)), degree=4)
    (p**2 + q**2,)
    """
    read = _Equations(system)
    found: list[Any] = []
    known: list[Polynomial] = []
    for bound in range(1, degree + 1):
        monomials = [m for n in range(1, bound + 1) for m in combinations_with_replacement(range(read.size), n)]
        columns = [read.change({m: 1}, read.numbers) for m in monomials]
        span = Echelon()
        for product in products(known, bound):
            span.grow(product)
        for vector in null_vectors(list(_by_key(columns).values()), len(monomials)):
            candidate = {monomials[column]: value for column, value in vector.items()}
            if span.grow(candidate):
                known.append(candidate)
                support = [monomials[column] for column in sorted(vector)]
                found.append(read.exact(support, [columns[column] for column in sorted(vector)]))
    return tuple(found)


class _Equations:
    """The right sides as polynomials: with exact coefficients, and with remainders at random parameters."""

    def __init__(self, system: System) -> None:
        self.unknowns, self.size = system.unknowns, len(system.unknowns)
        self.is_flow = isinstance(system, Flow)
        parameters = sorted(set().union(*(e.free_symbols for e in system.equations)) - set(self.unknowns), key=str)
        self.domain: Any = sp.QQ.frac_field(*parameters) if parameters else sp.QQ
        self.rates = {}
        for place, (unknown, equation) in enumerate(zip(system.unknowns, system.equations, strict=True)):
            row = f"{system.statement().left(unknown)} = {equation}"
            if not sp.sympify(equation).is_polynomial(*self.unknowns):
                raise NoClosedForm(f"{row} is not polynomial", where="conserved")
            try:
                polynomial = sp.Poly(equation, *self.unknowns, domain=self.domain)
            except (sp.PolynomialError, sp.CoercionFailed):
                raise NoClosedForm(
                    f"coefficients of {row} are not rational", where="conserved", remedy="name them first"
                ) from None
            self.rates[place] = {_places(powers): value for powers, value in polynomial.rep.to_dict().items()}
        point = np.random.default_rng(0).integers(1, 2**31, len(parameters)).tolist()
        self.numbers = {
            place: {m: _remainder(value, point) for m, value in rate.items()} for place, rate in self.rates.items()
        }

    def change(self, polynomial: Polynomial, rates: Mapping[int, Polynomial]) -> Polynomial:
        """The rate of change along the flow, or the change in one step of the map."""
        if self.is_flow:
            return along(polynomial, dict(rates))
        total: Polynomial = {monomial: -value for monomial, value in polynomial.items()}
        for monomial, value in polynomial.items():
            moved: Polynomial = {(): value}
            for place in monomial:
                moved = multiply(moved, rates[place])
            total = add(total, moved)
        return total

    def exact(self, support: list, columns: list[Polynomial]) -> Any:
        """The one combination of these monomials that is conserved, scaled to have no denominators."""
        echelon = Echelon()
        chosen = [key for key, row in _by_key(columns).items() if echelon.grow(row)]
        changes = [self.change({monomial: self.domain.one}, self.rates) for monomial in support]
        matrix = [[change.get(key, self.domain.zero) for change in changes] for key in chosen]
        shape = (len(chosen), len(support))
        space = DomainMatrix(matrix, shape, self.domain).to_field().nullspace() if chosen else None
        values = [self.domain.to_sympy(v) for v in space.to_list()[0]] if space is not None else [sp.S.One]
        values = [sp.cancel(value / values[0]) for value in values]
        common = sp.lcm_list([sp.fraction(value)[1] for value in values])
        terms = (
            sp.cancel(value * common) * sp.Mul(*(self.unknowns[place] for place in monomial))
            for value, monomial in zip(values, support, strict=True)
        )
        return sp.Add(*terms)


def _places(powers: tuple[int, ...]) -> tuple[int, ...]:
    return tuple(place for place, power in enumerate(powers) for _ in range(power))


def _by_key(columns: list[Polynomial]) -> dict[Any, dict[int, int]]:
    """The rows of a matrix that is given by its columns."""
    rows: dict[Any, dict[int, int]] = {}
    for number, column in enumerate(columns):
        for key, value in column.items():
            rows.setdefault(key, {})[number] = value
    return rows


def _remainder(value: Any, point: list[int]) -> int:
    """A coefficient at integer values of the parameters, modulo the large prime."""
    if not point:
        return _residue(value)
    numerator, denominator = (
        part.evaluate(list(zip(part.ring.gens, point, strict=True))) for part in (value.numer, value.denom)
    )
    return _residue(numerator) * pow(_residue(denominator), -1, LARGE_PRIME) % LARGE_PRIME


def _residue(number: Any) -> int:
    number = sp.QQ.convert(number)
    return int(number.numerator) * pow(int(number.denominator), -1, LARGE_PRIME) % LARGE_PRIME
