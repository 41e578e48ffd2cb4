"""Aligned matrix dynamics are scalar: every matrix diagonal in shared bases, one equation per mode.

The ansatz W = R_row diag(u) R_column' reduces every product of matrices whose touching bases agree, since R'R = 1:

    R_2 diag(u_2) R_1'  R_1 diag(u_1) R_0'  =  R_2 diag(u_2 u_1) R_0'.

Which bases must agree is read off the words: where two letters touch, and where a word meets the matrix it moves.
"""

from dataclasses import replace
from typing import Any

import numpy as np
import sympy as sp

from ..errors import AssumptionViolated
from ..symbols import ModeSymbol, modes, over, spread, velocity
from ..trail import Equations
from .derive import tidy
from .noncommutative import Polar, SymmetricMatrix, Words, words
from .probe import evaluate


def diagonalise(system, names=None, reference: str = ""):
    """The scalar mode system of a matrix system; data matrices become positive mode symbols, unknowns real ones.

    >>> from .derive import network_flow
    >>> from ..architecture.network import chain
    >>> print(diagonalise(network_flow(chain("input", "width", "output"))).equations[0])
    u2*(-lambda*u1*u2 + s)
    """
    rates = {u: words(e).expanded() for u, e in zip(system.unknowns, system.equations, strict=True)}
    ends = _Ends()
    for unknown, polynomial in rates.items():
        ends.read(polynomial, (unknown, 0), (unknown, 1))
    matrices = sorted(set().union(*map(_plain, rates.values())) | set(system.unknowns), key=str)
    mode = {m: _mode(m, m in rates, names or {}) for m in matrices}
    mode |= {velocity(u): velocity(mode[u]) for u in system.unknowns if velocity(u) in rates}
    equations = tuple(tidy(_scalar(polynomial, mode)) for polynomial in rates.values())
    unknowns = tuple(mode[u] for u in system.unknowns)
    residual = _tangency(system, matrices, ends, dict(zip(unknowns, equations, strict=True)), mode)
    if not residual < 1e-10:
        raise AssumptionViolated(
            f"random aligned weights leave alignment at the relative rate {residual:.1e}", where="aligned"
        )
    bases = ends.named(system.unknowns)
    made = type(system)(
        unknowns,
        equations,
        {name: _observable(expression, mode) for name, expression in system.observables.items()},
        {**system.eliminated, **{u: _written(u, mode[u], bases, ends) for u in system.unknowns}},
    )
    trail = system.trail.then(
        "diagonalise",
        made.statement(),
        assumption="aligned",
        reference=reference,
        check=f"tangent in random bases: {residual:.1e}",
        residual=residual,
        given=Equations(tuple((m, _written(m, mode[m], bases, ends)) for m in matrices)),
    )
    return replace(made, trail=trail)


class _Ends:
    """Classes of matrix ends (matrix, 0 for rows or 1 for columns) that share one basis."""

    def __init__(self) -> None:
        self.parent: dict = {}

    def find(self, end):
        if end[0] not in {key[0] for key in self.parent} and isinstance(end[0], SymmetricMatrix):
            self.parent[(end[0], 0)], self.parent[(end[0], 1)] = (end[0], 0), (end[0], 0)
        self.parent.setdefault(end, end)
        while self.parent[end] != end:
            end = self.parent[end]
        return end

    def join(self, one, other):
        self.parent[self.find(one)] = self.find(other)

    def read(self, polynomial: Words, left, right):
        for word, value in polynomial.terms.items():
            for inner in _traced(value):
                for closed in inner.terms:  # a trace closes every word on itself
                    self.read(Words({closed: sp.S.One}, inner.shape), (closed, 0), (closed, 0))
            at = left
            for matrix, transposed in word:
                if isinstance(matrix, Polar):
                    self.read(words(matrix.arg).expanded(), (matrix, 0), (matrix, 1))
                elif not isinstance(matrix, sp.MatrixSymbol):
                    raise AssumptionViolated(f"{matrix} is no product of matrices", where="aligned")
                self.join(at, (matrix, 1 if transposed else 0))
                at = (matrix, 0 if transposed else 1)
            self.join(at, right)

    def named(self, unknowns) -> dict:
        """R0, R1, ... in the order in which the unknowns' columns and rows use them."""
        bases: dict = {}
        for unknown in unknowns:
            for end in (1, 0):
                bases.setdefault(self.find((unknown, end)), f"R{len(bases)}")
        return bases


def _mode(matrix, unknown: bool, names) -> ModeSymbol:
    if matrix.name in names:
        name = names[matrix.name]
    elif unknown:
        layer = matrix.name[1:] if matrix.name[:1] == "W" else ""
        name = f"u{layer}" if layer.isdigit() else f"u_{matrix.name}"
    else:
        start, rest = matrix.name[:8], matrix.name[8:]  # of gated networks the gates follow
        known = {"Sigma_yx": f"s{rest}", "Sigma_xx": f"lambda{rest}"}
        name = known.get(start, matrix.name.lower() + "_mode")
    return modes(name, positive=None, real=True) if unknown else modes(name)


def _plain(polynomial: Words) -> set:
    """Matrices that occur, also inside polar factors and in the traces of coefficients."""
    letters = polynomial.letters()
    polar = {letter for letter in letters if isinstance(letter, Polar)}
    inside = [words(letter.arg).expanded() for letter in polar]
    inside += [inner for value in polynomial.terms.values() for inner in _traced(value)]
    return (letters - polar).union(*map(_plain, inside))


def _traced(coefficient) -> list[Words]:
    return [words(trace.arg).expanded() for trace in sp.sympify(coefficient).atoms(sp.Trace)]


def _scalar(polynomial: Words, mode):
    terms = []
    for word, value in polynomial.terms.items():
        terms.append(_observable(value, mode) * sp.Mul(*(_letter(matrix, mode) for matrix, _ in word)))
    return sp.Add(*terms)


def _letter(matrix, mode):
    # R diag(a) R' has the polar factor R diag(sign a) R'
    return sp.sign(tidy(_scalar(words(matrix.arg).expanded(), mode))) if isinstance(matrix, Polar) else mode[matrix]


def _observable(expression, mode) -> Any:
    if isinstance(expression, sp.MatrixExpr):
        return tidy(_scalar(words(expression).expanded(), mode))
    expression = sp.sympify(expression)
    return expression.xreplace({trace: _mode_sum(trace, mode) for trace in expression.atoms(sp.Trace)})


def _mode_sum(trace, mode):
    summand = sp.expand(_scalar(words(trace.arg).expanded(), mode))
    if not summand.atoms(ModeSymbol):
        raise AssumptionViolated(f"{trace} has no modes", where="aligned")
    return spread(over(summand))


def _written(matrix, mode, bases, ends):
    """R_row diag(u) R_column' as a matrix expression; the rank is a symbol."""
    rank = sp.Symbol("rank", integer=True, positive=True)
    rows = sp.MatrixSymbol(bases[ends.find((matrix, 0))], matrix.shape[0], rank)
    columns = sp.MatrixSymbol(bases[ends.find((matrix, 1))], matrix.shape[1], rank)
    return sp.MatMul(rows, sp.DiagMatrix(sp.MatrixSymbol(mode.name, rank, 1)), columns.T)


def _tangency(system, matrices, ends, equations, mode) -> float:
    """Largest part of the matrix equations at random aligned weights that the mode equations do not give."""
    rng, rank = np.random.default_rng(5), 3
    values: dict = {}
    for matrix in matrices:
        for size in matrix.shape:
            for symbol in sp.sympify(size).free_symbols:
                values.setdefault(symbol, rank + 1 + len(values))
    for symbol in sorted(set().union(*(e.free_symbols for e in system.equations)), key=str):
        if not isinstance(symbol, sp.MatrixSymbol):
            values.setdefault(symbol, 0.5 + rng.random())
    bases: dict = {}
    for matrix in matrices:
        for end in (0, 1):
            size = sp.sympify(matrix.shape[end])
            rows = int(size.subs({s: values[s] for s in size.free_symbols}))
            width = min(rank, rows)
            draw = np.linalg.qr(rng.standard_normal((rows, width)))[0]
            bases.setdefault(ends.find((matrix, end)), np.pad(draw, ((0, 0), (0, rank - width))))
    strengths = {mode[m]: 0.5 + rng.random(rank) for m in matrices}
    for matrix in matrices:
        left, right = bases[ends.find((matrix, 0))], bases[ends.find((matrix, 1))]
        values[matrix] = left * strengths[mode[matrix]] @ right.T
        if np.linalg.matrix_rank(values[matrix]) < rank:  # a narrow layer carries fewer modes: no strength there
            strengths[mode[matrix]] = np.where(
                (np.abs(left).sum(0) > 0) & (np.abs(right).sum(0) > 0), strengths[mode[matrix]], 0
            )
    worst = 0.0
    for unknown, equation in zip(system.unknowns, system.equations, strict=True):
        full = evaluate(equation, values)
        rate = evaluate(equations[mode[unknown]], {**values, **strengths}) * np.ones(rank)
        left, right = bases[ends.find((unknown, 0))], bases[ends.find((unknown, 1))]
        worst = max(worst, float(np.abs(full - left * rate @ right.T).max() / np.abs(full).max()))
    return worst
