"""Continuous symmetries of a loss that need not be polynomial, and the conservation laws that some of them bring.

A loss that does not change along the field A theta + b has a gradient orthogonal to it, everywhere. Gradient flow moves
along the gradient; so if A is symmetric, the field is itself the gradient of a conserved quantity,

    <grad L, A theta + b> = 0   and   A = A'    give    theta' A theta / 2 + b' theta = constant.

The generators solve linear equations, one for each random point. They are found in floating point, read as fractions,
and verified: symbolically, or to 50 digits at fresh random points.

>>> z = sp.symbols("z1:4")
>>> print(symmetries(sp.log(sum(map(sp.exp, z))) - z[0], on=z))
symmetries  1 of 3 parameters, 1 with a conservation law
  translation  z1 + z2 + z3
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from fractions import Fraction
from functools import cached_property
from math import lcm
from typing import Any

import mpmath
import numpy as np
import sympy as sp

from ..errors import AssumptionViolated, DidNotConverge, NoClosedForm
from ..errors import shortened as listed
from ..trail import Trail
from .feature_maps import entries_of
from .modular import Echelon, null_vectors, shortened

_REFERENCE = "Kunin et al. 2020, arXiv:2012.04728"
_STEP = 1e-30
_DIGITS = 50


@dataclass(frozen=True)
class Symmetry:
    """An infinitesimal transformation theta -> theta + epsilon (A theta + b) that no value of the loss notices.

    `matrix` is A (parameters, parameters), `shift` is b (parameters, 1), both rational.

    >>> a, b = sp.symbols("a b")
    >>> found = Symmetry((a, b), sp.diag(1, -1), sp.zeros(2, 1))
    >>> found.kind, found.law
    ('rescale', a**2 - b**2)
    """

    parameters: tuple[Any, ...]
    matrix: Any
    shift: Any

    @property
    def kind(self) -> str:
        """translation, scale, rescale, rotation, mixing (a symmetric A), affine, or linear (any other A)."""
        A = self.matrix
        if A.is_zero_matrix:
            return "translation"
        if not self.shift.is_zero_matrix:
            return "affine"
        if A.is_diagonal():
            return "scale" if len({sp.sign(entry) for entry in A.diagonal() if entry}) == 1 else "rescale"
        return "mixing" if A == A.T else "rotation" if A == -A.T else "linear"

    @property
    def law(self) -> Any:
        """The conserved polynomial, scaled to integers; None where A is not symmetric (then gradient flow has none)."""
        if self.matrix != self.matrix.T:
            return None
        theta = sp.Matrix(self.parameters)
        return sp.expand((theta.T * self.matrix * theta)[0] / 2 + (self.shift.T * theta)[0]).primitive()[1]

    @property
    def direction(self) -> tuple[Any, ...]:
        """A theta + b, as expressions of the parameters."""
        return tuple(self.matrix * sp.Matrix(self.parameters) + self.shift)

    def __str__(self) -> str:
        if self.law is not None:
            return f"{self.kind:<11}  {self.law}"
        moved = [f"d{p} = {v}" for p, v in zip(self.parameters, self.direction, strict=True) if v != 0]
        return f"{self.kind:<11}  {listed(moved, most=3)}"


@dataclass(frozen=True)
class Symmetries:
    """All linear and affine symmetries found. `residual` is |<grad L, A theta + b>| relative to its terms, verified."""

    parameters: tuple[Any, ...]
    found: tuple[Symmetry, ...]
    residual: float
    trail: Trail = field(default_factory=Trail, compare=False, repr=False)

    @cached_property
    def laws(self) -> tuple[Any, ...]:
        """What gradient flow conserves because of them."""
        return tuple(symmetry.law for symmetry in self.found if symmetry.law is not None)

    def to_dict(self) -> dict:
        return {
            "parameters": [str(parameter) for parameter in self.parameters],
            "symmetries": [
                {"kind": s.kind, "direction": [str(v) for v in s.direction], "law": s.law and str(s.law)}
                for s in self.found
            ],
            "laws": [str(law) for law in self.laws],
            "residual": self.residual,
            "trail": self.trail.to_dict(),
        }

    def __str__(self) -> str:
        head = f"symmetries  {len(self.found)} of {len(self.parameters)} parameters"
        lines = [f"{head}, {len(self.laws)} with a conservation law", *(f"  {symmetry}" for symmetry in self.found)]
        return "\n".join(lines)

    __repr__ = __str__


def symmetries(loss: Any, on: Any, conserving: bool = False, seed: int = 0) -> Symmetries:
    """Every generator A theta + b along which a loss, or each of several features, does not change.

    `loss` is an expression (every symbol not in `on` is data, and the symmetry must hold for all data), a sequence of
    them, or a function of an array (parameters,) that lets complex numbers through and gives one number or an array of
    them. `on` names the parameters: symbols, or matrix symbols of numeric shape, row by row. `conserving` looks only
    for symmetric A, with half the unknowns. A translation times a function is no further generator. Cost: the singular
    values of a square matrix of parameters^2 columns. Raises `NoClosedForm` if a generator has entries that are no
    small fractions, `AssumptionViolated` if one fails at fresh points. Kunin et al. 2020, arXiv:2012.04728.

    >>> a, w, x = sp.symbols("a w x", real=True)
    >>> symmetries(a * sp.Max(w * x, 0), on=(a, w)).laws
    (a**2 - w**2,)
    >>> symmetries(a * sp.tanh(w * x), on=(a, w)).found
    ()
    >>> symmetries(lambda t: t[0] / np.sqrt(t[0] ** 2 + t[1] ** 2), on=(a, w)).laws
    (a**2 + w**2,)
    """
    parameters = tuple(entry for symbol in on for entry in entries_of(symbol))
    probe = _function(loss, parameters) if callable(loss) else _expressions(loss, parameters)
    size = len(parameters)
    pairs = [(i, j) for i in range(size) for j in range(i if conserving else 0, size)]
    vectors = _generators(probe, size, pairs, conserving, np.random.default_rng(seed))
    generators = [_generator(vector, pairs, size, conserving) for vector in _ordered(vectors, pairs, size)]
    made = tuple(Symmetry(parameters, A, b) for A, b in generators)
    residual = max((probe.residual(symmetry, seed + 1) for symmetry in made), default=0.0)
    if not residual < probe.tolerance:
        raise AssumptionViolated(f"a generator fails by {residual:.1e} at fresh points", where="symmetries")
    trail = Trail().then("symmetry", ", ".join(s.kind for s in made), reference=_REFERENCE, residual=residual,
                         check=f"fresh points, {probe.digits} digits: {residual:.1e}")  # fmt: skip
    found = Symmetries(parameters, made, residual, trail)
    trail = trail.then("symmetric generators", sp.Tuple(*found.laws), reference=_REFERENCE)
    return replace(found, trail=trail)


def _generators(probe, size, pairs, conserving, rng) -> list[dict[int, int]]:
    """Integer null vectors of the equations <grad L, A theta + b> = 0 at random points."""
    unknowns = len(pairs) + size
    first, second = np.array(pairs, dtype=int).T
    rows = np.zeros((unknowns + 20, unknowns))  # each generic point removes one more unknown, until none can
    for row in rows:
        theta, slopes = probe.sample(rng)
        g = rng.standard_normal(len(slopes)) @ slopes  # a random loss of the features
        row[: len(pairs)] = g[first] * theta[second]
        if conserving:
            row[: len(pairs)] += np.where(first == second, 0, g[second] * theta[first])
        row[len(pairs) :] = g
        row /= np.linalg.norm(row) or 1.0
    _, values, basis = np.linalg.svd(rows, full_matrices=False)
    threshold = 1e-9 * max(values[0], 1e-300)
    unclear = values[(values > threshold) & (values < 100 * threshold)]
    if len(unclear):
        raise DidNotConverge(
            f"a singular value of {unclear[0]:.1e} is neither zero nor not",
            where="symmetries",
            remedy="choose another seed, or rescale the parameters",
        )
    return [_fractions(row) for row in _reduced(basis[values <= threshold])]


def _reduced(basis: np.ndarray) -> np.ndarray:
    """Row-reduced echelon form, in which a space with rational vectors has rational entries."""
    basis, row = basis.copy(), 0
    for column in range(basis.shape[1]):
        if row == len(basis):
            break
        pivot = row + int(np.argmax(np.abs(basis[row:, column])))
        if abs(basis[pivot, column]) < 1e-6:
            continue
        basis[[row, pivot]] = basis[[pivot, row]]
        basis[row] /= basis[row, column]
        others = np.arange(len(basis)) != row
        basis[others] -= np.outer(basis[others, column], basis[row])
        row += 1
    return basis


def _fractions(row: np.ndarray) -> dict[int, int]:
    values = {k: Fraction(float(v)).limit_denominator(360) for k, v in enumerate(row)}
    far = max(abs(float(value) - row[k]) for k, value in values.items())
    if far > 1e-6:
        raise NoClosedForm("a generator has entries that are no small fractions", where="symmetries")
    common = lcm(*(value.denominator for value in values.values()))
    return {k: int(value * common) for k, value in values.items() if value}


def _ordered(vectors: list[dict[int, int]], pairs, size) -> list[dict[int, int]]:
    """The same span: translations first, then symmetric generators, rotations, and what is left."""
    place = {pair: k for k, pair in enumerate(pairs)}

    def within(conditions) -> list[dict[int, int]]:
        rows = [{k: sum(sign * v.get(c, 0) for c, sign in condition) for k, v in enumerate(vectors)}
                for condition in conditions]  # fmt: skip
        combinations = null_vectors([{k: v for k, v in row.items() if v} for row in rows], len(vectors))
        sums = ({c: sum(f * vectors[k].get(c, 0) for k, f in combination.items())
                 for c in range(len(pairs) + size)} for combination in combinations)  # fmt: skip
        return shortened([{c: v for c, v in total.items() if v} for total in sums])

    turned = [(place[i, j], place[j, i]) for i, j in pairs if i <= j and (j, i) in place]
    groups = [
        within([[(k, 1)] for k in range(len(pairs))]),
        within([[(one, 1), (other, -1)] for one, other in turned if one != other]),
        within([[(one, 1), (other, 1)] for one, other in turned]) if turned and len(pairs) == size**2 else [],
        shortened([dict(vector) for vector in vectors]),
    ]
    span, found = Echelon(), []
    for group in groups:
        found += [vector for vector in sorted(group, key=lambda v: (len(v), sorted(v))) if span.grow(vector)]
        if group is groups[0]:  # a multiple theta_k b of a translation b is nothing new
            for multiple in _multiples(found, pairs, size):
                span.grow(multiple)
    return found


def _multiples(translations, pairs, size) -> list[dict[int, int]]:
    shifts = [np.array([vector.get(len(pairs) + i, 0) for i in range(size)]) for vector in translations]
    full = len(pairs) == size**2
    tables = [np.outer(b, unit) for b in shifts for unit in (np.eye(size, dtype=int) if full else shifts)]
    if not full:  # of a symmetric A only the entries on one side of the diagonal are unknowns
        tables = [table + table.T for table in tables]
    return [{k: int(table[i, j]) for k, (i, j) in enumerate(pairs) if table[i, j]} for table in tables]


def _generator(vector, pairs, size, conserving) -> tuple[Any, Any]:
    A, b = sp.zeros(size), sp.zeros(size, 1)
    for column, value in vector.items():
        if column >= len(pairs):
            b[column - len(pairs)] = value
            continue
        i, j = pairs[column]
        A[i, j] = value
        if conserving:
            A[j, i] = value
    return sp.ImmutableMatrix(A), sp.ImmutableMatrix(b)


@dataclass(frozen=True)
class _Probe:
    """Gradients of every feature at random points, in double precision and, for expressions, in many digits."""

    sample: Callable[[np.random.Generator], tuple[np.ndarray, np.ndarray]]
    residual: Callable[[Symmetry, int], float]
    tolerance: float
    digits: int


def _function(loss, parameters) -> _Probe:
    size = len(parameters)

    def sample(rng):
        theta = rng.standard_normal(size)
        moved = theta + 1j * _STEP * np.eye(size)
        return theta, np.imag([np.ravel(loss(point)) for point in moved]).T / _STEP

    def residual(symmetry, seed):
        A, b = (np.array(part, dtype=float) for part in (symmetry.matrix, symmetry.shift))
        rng, worst = np.random.default_rng([seed, 1]), 0.0
        for _ in range(5):
            theta, slopes = sample(rng)
            terms = slopes * (A @ theta + b[:, 0])
            worst = max(worst, float(np.max(np.abs(terms.sum(1)) / (np.abs(terms).sum(1) + 1e-300))))
        return worst

    return _Probe(sample, residual, 1e-10, 16)


def _expressions(loss, parameters) -> _Probe:
    given = [sp.sympify(feature) for feature in (loss if isinstance(loss, Sequence | sp.Tuple) else [loss])]
    features = [e for f in given for e in (f.as_explicit() if isinstance(f, sp.MatrixExpr) else [f])]
    entries = set(parameters) | set().union(*(f.atoms(sp.matrices.expressions.matexpr.MatrixElement) for f in features))
    real = {s: sp.Dummy(str(s), real=True, positive=s.is_positive) for s in sorted(entries, key=str)}
    features = [feature.xreplace(real) for feature in features]
    data = sorted(set().union(*(f.free_symbols for f in features)) - set(real.values()), key=str)
    real |= {s: sp.Dummy(str(s), real=True, positive=s.is_positive) for s in data}
    features = [feature.xreplace(real) for feature in features]
    moved = [real[s] for s in parameters]
    inputs = moved + [real[s] for s in real if s not in set(parameters)]
    slopes = [[sp.diff(feature, symbol) for symbol in moved] for feature in features]
    step = {"Heaviside": lambda x, *_: (x > 0) * 1}
    fast = sp.lambdify(inputs, slopes, [step, "numpy"])
    precise = sp.lambdify(inputs, slopes, [step, "mpmath"])

    def point(rng):
        draw = rng.standard_normal(len(inputs))
        return np.where([bool(symbol.is_positive) for symbol in inputs], np.abs(draw), draw)

    def sample(rng):
        values = point(rng)
        return values[: len(moved)], np.array(fast(*values), dtype=float)

    def residual(symmetry, seed):
        rng, worst = np.random.default_rng([seed, 1]), 0.0
        A, b = symmetry.matrix.tolist(), list(symmetry.shift)
        with mpmath.workdps(_DIGITS):
            for _ in range(3):
                values = [mpmath.mpf(float(value)) for value in point(rng)]
                theta = values[: len(moved)]
                velocity = [sum(mpmath.mpf(int(v)) * t for v, t in zip(row, theta, strict=True) if v) + int(shift)
                            for row, shift in zip(A, b, strict=True)]  # fmt: skip
                for slope in precise(*values):
                    terms = [mpmath.mpf(g) * v for g, v in zip(slope, velocity, strict=True)]
                    worst = max(worst, abs(sum(terms)) / (sum(map(abs, terms)) + mpmath.mpf(10) ** -300))
        return float(worst)

    return _Probe(sample, residual, 10.0 ** (10 - _DIGITS), _DIGITS)
