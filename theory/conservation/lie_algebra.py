"""How many conservation laws there are, and which: all of them, counted by a Lie algebra and found by linear algebra.

What every loss l(phi(theta)) conserves is orthogonal to the fields chi_i = grad phi_i, hence to their brackets
[X, Y] = DX Y - DY X, the brackets of those, and so on. By Frobenius's theorem nothing else restricts it:

    number of independent laws  =  parameters  -  dim Lie(chi)(theta).

The dimension is the rank of exact integer polynomials at a random integer point modulo a prime, which can only be too
small; the laws found have independent gradients, whose number can only be too small. Where the two meet, both are
proven and the list is complete.

>>> from ..architecture.network import chain
>>> print(conservation_laws(chain(2, 1, 2)))
conservation laws  1 of 4 parameters
  found            1 independent, so the list is complete
  Lie algebra      rank 3, closed, dimension 6
  W1[0, 0]**2 + W1[0, 1]**2 - W2[0, 0]**2 - W2[1, 0]**2
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import chain, combinations_with_replacement
from typing import Any

import numpy as np
import sympy as sp

from ..errors import AssumptionViolated
from ..trail import Trail
from .feature_maps import polynomials_of, vector_fields
from .modular import PRIME, Echelon, Span, null_vectors, product, shortened, value_at
from .polynomials import Field, Polynomial, along, bracket, gradient, multiply, products

_REFERENCE = "Marcotte, Gribonval & Peyre 2023, arXiv:2307.00144"


@dataclass(frozen=True)
class ConservationLaws:
    """What every loss of the features conserves.

    `laws`         polynomials whose values generate all polynomial laws up to the degree searched
    `independent`  how many of them have independent gradients at a generic point (proven: exact, at one point)
    `count`        how many independent laws there are: parameters - rank (at most, if neither closed nor complete)
    `rank`         dimension of the Lie algebra at a generic point (proven from below: exact, at one point)
    `generations`  how many generations of brackets added something to the fields themselves
    `closed`       no bracket of a basis leaves its span at two random points, so that the rank is that of the whole
                   algebra (wrong only if both points are roots of the same polynomial modulo 2^31 - 1)
    `dimension`    of the Lie algebra itself, over the real numbers; None where it is infinite or too large to list
    """

    parameters: tuple[Any, ...]
    laws: tuple[Any, ...]
    independent: int
    rank: int
    generations: int
    closed: bool
    dimension: int | None
    trail: Trail = field(default_factory=Trail, compare=False, repr=False)

    @property
    def count(self) -> int:
        return len(self.parameters) - self.rank

    @property
    def complete(self) -> bool:
        """Whether the laws found are proven to be all: independent <= true number <= parameters - rank, all equal."""
        return self.independent == self.count

    def generated_by(self, given: Sequence[Any], sizes: Mapping[str, int] | None = None) -> bool:
        """Whether the given laws, or all entries of matrix laws, say as much as these, and these are all there are.

        >>> from ..derivation.conserved import conserved_for_any_loss
        >>> from ..architecture.network import chain
        >>> network, sizes = chain("i", "h", "o"), {"i": 3, "h": 2, "o": 2}
        >>> conservation_laws(network, sizes=sizes).generated_by(conserved_for_any_loss(network), sizes)
        True
        """
        point = _point(len(self.parameters), 0)
        one, other = (polynomials_of(laws, self.parameters, sizes) for laws in (given, self.laws))
        return self.complete and _gradient_rank(one, point) == _gradient_rank([*one, *other], point) == self.count

    def to_dict(self) -> dict:
        return {
            "parameters": [str(parameter) for parameter in self.parameters],
            "laws": [str(law) for law in self.laws],
            "count": self.count,
            "independent": self.independent,
            "complete": self.complete,
            "rank": self.rank,
            "generations": self.generations,
            "closed": self.closed,
            "dimension": self.dimension,
            "trail": self.trail.to_dict(),
        }

    def __str__(self) -> str:
        missing = self.count - self.independent
        verdict = f"{missing} of higher degree, or no polynomials" if missing else "so the list is complete"
        closed = "closed" if self.closed else f"not closed after {self.generations} generations of brackets"
        size = "" if self.dimension is None else f", dimension {self.dimension}"
        sure = "" if self.closed or self.complete else "at most "
        lines = [
            f"conservation laws  {sure}{self.count} of {len(self.parameters)} parameters",
            f"  found            {self.independent} independent, {verdict}",
            f"  Lie algebra      rank {self.rank}, {closed}{size}",
        ]
        shown = [f"  {law}" for law in self.laws[:12]]
        more = [f"  and {len(self.laws) - 12} more"] if len(self.laws) > 12 else []
        return "\n".join(lines + shown + more)

    __repr__ = __str__


def conservation_laws(
    subject: Any,
    on: Sequence[Any] | None = None,
    sizes: Mapping[str, int] | None = None,
    degree: int = 2,
    generations: int = 8,
    seed: int = 0,
) -> ConservationLaws:
    """Every independent conservation law of gradient flow on any loss of these features: how many, and which.

    `subject`, `on` and `sizes` are those of `vector_fields`: features as expressions, a `Network`, or a `Flow` (whose
    laws then hold for all values of its parameters). Laws are polynomials of at most that `degree`; the search ends as
    soon as it is complete. Raises `NoClosedForm` where something is not polynomial. Marcotte, Gribonval & Peyre 2023,
    arXiv:2307.00144.

    >>> a, w, b, x = sp.symbols("a w b x")
    >>> conservation_laws(a * (w * x + b), on=(a, w, b)).laws
    (a**2 - b**2 - w**2,)
    >>> Q, K = sp.MatrixSymbol("Q", 2, 3), sp.MatrixSymbol("K", 2, 3)
    >>> conservation_laws(Q.T * K).count
    3
    """
    given = vector_fields(subject, on, sizes)
    size = len(given.parameters)
    frame, used, closed = involutive_frame(given.fields, size, generations, seed)
    found: list[Polynomial] = []
    point = _point(size, seed)
    for bound in range(1, degree + 1):
        if _gradient_rank(found, point) == size - len(frame):
            break
        found += _new_laws(given.fields, size, bound, found)
    for law in found:  # over the integers, not modulo anything
        if any(along(law, chi) for chi in given.fields):
            raise AssumptionViolated(f"{given.expression(law)} is not conserved", where="conservation_laws")
    independent = _gradient_rank(found, point)
    laws = tuple(given.expression(law) for law in found)
    trail = (
        Trail()
        .then("features", f"{len(given.fields)} fields on {size} parameters", reference=_REFERENCE)
        .then("brackets", f"rank {len(frame)}", check=f"{used} generations, closed: {closed}", reference=_REFERENCE)
        .then("laws", sp.Tuple(*laws), reference=_REFERENCE, check="rates of change expand to 0 over the integers")
    )
    dimension = algebra_dimension(given.fields)
    return ConservationLaws(given.parameters, laws, independent, len(frame), used, closed, dimension, trail)


def involutive_frame(
    fields: Sequence[Field], size: int, generations: int = 8, seed: int = 0
) -> tuple[list[Field], int, bool]:
    """Fields that span the Lie algebra of the given ones at a generic point, how many generations it took, and closure.

    Brackets of a frame suffice: [f X, g Y] = f g [X, Y] + (what X and Y span). If none leaves the span of the frame at
    generic points, then by Frobenius's theorem no bracket of any order does.

    >>> frame, generations, closed = involutive_frame([{0: {(): 1}}, {1: {(0,): 1}, 2: {(): 1}}], 3)
    >>> len(frame), generations, closed
    (3, 1, True)
    """
    span = Span(size)
    jets = _Jets(_point(size, seed))
    for chi in fields:
        if span.grow(jets.value(chi)):
            jets.append(chi)
    tested, used, grew = 0, 0, True
    while grew and len(jets.frame) < size and used < generations:
        before = len(jets.frame)
        for later in range(tested, before):
            for earlier, value in jets.brackets(later):
                if span.grow(value):
                    jets.append(bracket(jets.frame[earlier], jets.frame[later]))
        tested, grew = before, len(jets.frame) > before
        used += grew
    closed = len(jets.frame) == size or (not grew and not _escapes(jets.frame, fields, _point(size, seed + 1)))
    return jets.frame, used, closed


def algebra_dimension(fields: Sequence[Field], budget: int | None = None) -> int | None:
    """Dimension over the real numbers of the Lie algebra that the fields generate; None if it has not closed in time.

    The `budget` is the number of terms of all brackets tried. Linear fields (two layers) always close. Brackets of
    fields of higher degree have a higher degree still, so these close only where brackets vanish, which shows early.

    >>> algebra_dimension([{0: {(0,): 1}}, {0: {(0, 0): 1}}, {0: {(): 1}}])
    3
    >>> algebra_dimension([{0: {(0, 0): 1}}, {0: {(0, 0, 0): 1}}]) is None
    True
    """
    if budget is None:
        budget = 20000 if all(len(m) < 2 for chi in fields for part in chi.values() for m in part) else 500
    span, spent = Echelon(), 0
    generators = newest = [chi for chi in fields if span.grow(_coefficients(chi))]
    while newest:
        fresh = []
        for chi in generators:
            for other in newest:
                made = _coefficients(found := bracket(chi, other))
                spent += 1 + len(made)
                if spent > budget:
                    return None
                if span.grow(made):
                    fresh.append(found)
        newest = fresh
    return len(span.rows)


def _coefficients(chi: Field) -> dict:
    return {(place, monomial): value for place, part in chi.items() for monomial, value in part.items()}


def _new_laws(fields, size: int, bound: int, known: Sequence[Polynomial]) -> list[Polynomial]:
    """A basis of the conserved polynomials up to that degree, without products of those known, with few terms each."""
    monomials = [m for n in range(1, bound + 1) for m in combinations_with_replacement(range(size), n)]
    moving: dict[int, list] = {}
    for number, chi in enumerate(fields):
        for place, part in chi.items():
            moving.setdefault(place, []).append((number, part))
    rows: dict = {}  # one equation for every monomial of every rate; one unknown coefficient for every monomial
    for column, monomial in enumerate(monomials):
        for place, slope in gradient({monomial: 1}).items():
            for number, part in moving.get(place, ()):
                for m, value in multiply(slope, part).items():
                    row = rows.setdefault((number, m), {})
                    row[column] = row.get(column, 0) + value
    vectors = null_vectors(list(rows.values()), len(monomials))
    span = Echelon()
    for polynomial in products(known, bound):
        span.grow(polynomial)
    candidates = shortened([{monomials[c]: value for c, value in vector.items()} for vector in vectors])
    return [law for law in sorted(candidates, key=_order) if span.grow(law)]


def _order(law: Polynomial) -> tuple:
    return max(map(len, law)), len(law), sorted(law)


class _Jets:
    """Values and first derivatives of a growing frame of fields at one point."""

    def __init__(self, point: list[int]) -> None:
        self.point = point
        self.frame: list[Field] = []
        self.values: list[np.ndarray] = []
        self.slopes: list[np.ndarray] = []  # rows: only the places that the field moves
        self.read: list[set[int]] = []

    def append(self, chi: Field) -> None:
        """One more field."""
        slopes = [gradient(part) for part in chi.values()]
        table = np.zeros((len(chi), len(self.point)), dtype=np.int64)
        for row, parts in enumerate(slopes):
            for column, slope in parts.items():
                table[row, column] = value_at(slope, self.point)
        self.frame.append(chi)
        self.values.append(self.value(chi))
        self.slopes.append(table)
        self.read.append({place for parts in slopes for place in parts})

    def value(self, chi: Field) -> np.ndarray:
        """A field at the point."""
        made = np.zeros(len(self.point), dtype=np.int64)
        for place, part in chi.items():
            made[place] = value_at(part, self.point)
        return made

    def brackets(self, later: int) -> Iterator[tuple[int, np.ndarray]]:
        """Values of the brackets of earlier fields with this one, but for those that share no place."""
        for earlier in range(later):
            made = np.zeros(len(self.point), dtype=np.int64)
            for sign, one, other in ((1, earlier, later), (-1, later, earlier)):
                if not self.read[one].isdisjoint(self.frame[other]):
                    made[list(self.frame[one])] += sign * product(self.slopes[one], self.values[other])
            if made.any():
                yield earlier, made % PRIME


def _escapes(frame: list[Field], fields: Sequence[Field], point: list[int]) -> bool:
    """Whether one of the fields, or some bracket of the frame, leaves the span of the frame at another point."""
    span, jets = Span(len(point)), _Jets(point)
    for chi in frame:
        jets.append(chi)
        span.grow(jets.values[-1])
    brackets = (value for later in range(len(frame)) for _, value in jets.brackets(later))
    return any(map(span.grow, chain((jets.value(chi) for chi in fields), brackets)))


def _gradient_rank(laws: Sequence[Polynomial], point: list[int]) -> int:
    span, jets = Span(len(point)), _Jets(point)
    return sum(span.grow(jets.value(gradient(law))) for law in laws)


def _point(size: int, seed: int) -> list[int]:
    return np.random.default_rng([seed, size]).integers(1, PRIME, size).tolist()
