"""Closing matrix dynamics in words: eliminating matrices, and rewriting words in macroscopic ones.

A macroscopic variable is a word such as R = W2 W1 or P = W1' W1. Its rate is given by the product rule; the result is
then read as a string and covered by the defining words and their transposes:

    W2 W2' E W1' W1  =  T E P      with  T = W2 W2',  P = W1' W1.

Blocks that obey one law are one matrix: `stack_matrices` reads Q' = F Q + c Q Q'Q off the rates of the rows of Q.
"""

from collections.abc import Sequence
from dataclasses import replace
from functools import cache
from typing import Any

import numpy as np
import sympy as sp

from ..errors import AssumptionViolated, NoClosedForm
from ..symbols import dimensions
from ..system import Flow
from ..trail import Equations
from .noncommutative import SymmetricMatrix, Words, trace_terms, transpose_word, words
from .probe import evaluate, random_values


def restrict_matrices(system, ansatz, assumption) -> tuple[tuple, tuple, str]:
    """Unknowns, equations and check after replacing matrices (unknowns or parameters) by expressions of the others."""
    image = {u: e.subs(ansatz).doit() for u, e in zip(system.unknowns, system.equations, strict=True)}
    kept = [u for u in system.unknowns if u not in ansatz]
    field = {u: words(image[u]).expanded() for u in kept}
    moved = [u for u in system.unknowns if u in ansatz]
    for unknown in moved:
        expected = words(ansatz[unknown]).expanded()
        change = expected.velocity(field) if isinstance(system, Flow) else expected.substituted(field)
        residual = words(image[unknown]).expanded() - change
        if not residual.is_zero:
            raise AssumptionViolated(
                f"{system._left(unknown)} leaves {unknown} = {ansatz[unknown]} at the rate {residual.matrix()}",
                where=assumption,
                remedy="the dynamics does not preserve the ansatz, so integrate the full system",
            )
    check = "tangent: residual 0" if moved else "parameters do not move"
    return tuple(kept), tuple(image[u] for u in kept), check


def project_matrices(system, onto) -> tuple[tuple, tuple, dict, dict, float]:
    """Unknowns, equations, observables, definitions of the closed system, and its residual at a random point."""
    definitions = {_symbol(key, expression): expression for key, expression in onto.items()}
    cover = _Cover(definitions, set(system.unknowns))
    field = {u: words(e) for u, e in zip(system.unknowns, system.equations, strict=True)}
    equations = []
    for symbol, expression in definitions.items():
        defining = words(expression).expanded()
        moved = defining.velocity(field) if isinstance(system, Flow) else defining.substituted(field)
        equations.append(cover.rewrite(moved, system._left(symbol)))
    observables = {}
    for name, expression in system.observables.items():
        try:
            observables[name] = cover.observable(expression, name)
        except NoClosedForm:
            continue  # an observable that needs the old matrices is dropped; the old system still has it
    residual = _projection_residual(system, definitions, equations)
    if not residual < 1e-10:
        raise AssumptionViolated(f"closed equations miss the full ones by {residual:.1e}", where="project")
    return tuple(definitions), tuple(equations), observables, definitions, residual


def stack_matrices(system: Flow, blocks: Sequence[Any], into: str = "Q", linear: str = "F", **notes: Any):
    """The flow of matrices on top of each other, Q' = F Q + c Q Q'Q, and the block matrices that Q and F stand for.

    `blocks` are the unknowns or their transposes, all of one width. F is read off the linear terms of their rates, c
    off the cubes; both are multiplied out again and compared. Raises `NoClosedForm` naming a term that is neither.

    >>> from ..symbols import matrices
    >>> A, B, M = matrices(A=("d", "h"), B=("o", "h"), M=("o", "d"))
    >>> flow = Flow((A, B), (M.T * B - A * A.T * A - A * B.T * B, M * A - B * A.T * A - B * B.T * B))
    >>> stacked, definitions = stack_matrices(flow, (A, B))
    >>> print(stacked.equations[0], "with F =", definitions[stacked.parameters[0]])
    -Q*Q.T*Q + F*Q with F = Matrix([
    [0, M.T],
    [M,   0]])
    """
    rows = [words(block) for block in blocks]
    field = {u: words(e).expanded() for u, e in zip(system.unknowns, system.equations, strict=True)}
    rates = [row.velocity(field).expanded() for row in rows]
    cubes = [[row * other.transposed() * other for other in rows] for row in rows]
    found = {
        rate.terms.get(next(iter(c.terms)), sp.S.Zero) for rate, line in zip(rates, cubes, strict=True) for c in line
    }
    cube = found.pop()
    if found:
        raise NoClosedForm(f"the cubes come {cube} and {found.pop()} times", where="stack_matrices")
    parts = [
        [_left_factor(rate - _sum(line).scaled(cube), other, system.unknowns) for other in rows]
        for rate, line in zip(rates, cubes, strict=True)
    ]
    for rate, line, part in zip(rates, cubes, parts, strict=True):
        rebuilt = _sum([f * row for f, row in zip(part, rows, strict=True)]) + _sum(line).scaled(cube)
        if not (rate - rebuilt).is_zero:
            raise NoClosedForm(
                f"{(rate - rebuilt).matrix()} is neither linear nor a cube of the stack", where="stack_matrices"
            )
    size = sum(row.shape[0] for row in rows)
    size = size if size.is_Integer else dimensions("_and_".join(str(row.shape[0]) for row in rows))
    mirrored = all(parts[i][j] == parts[j][i].transposed() for i in range(len(rows)) for j in range(i + 1))
    F = (SymmetricMatrix if mirrored else sp.MatrixSymbol)(linear, size, size)
    Q = sp.MatrixSymbol(into, size, rows[0].shape[1])
    definitions = {
        Q: sp.BlockMatrix([[block] for block in blocks]),
        F: sp.BlockMatrix([[part.matrix() for part in line] for line in parts]),
    }
    made = Flow((Q,), (sp.MatAdd(F * Q, sp.MatMul(cube, Q, Q.T, Q)),), eliminated=system.eliminated)
    trail = system.trail.then(
        f"stack {', '.join(map(str, blocks))}",
        made.statement(),
        check="multiplied out, word by word: residual 0",
        residual=0.0,
        given=Equations(tuple(definitions.items())),
        **notes,
    )
    return replace(made, trail=trail), definitions


def _left_factor(rate: Words, row: Words, unknowns) -> Words:
    """C of the terms C x row of a rate, C free of unknowns."""
    ((ending, _),) = row.terms.items()
    kept = {
        word[:-1]: value
        for word, value in rate.terms.items()
        if word[-1:] == ending and not {matrix for matrix, _ in word[:-1]} & set(unknowns)
    }
    return Words(kept, (rate.shape[0], row.shape[0]))


class _Cover:
    """Reads words of the old matrices as words of the new ones."""

    def __init__(self, definitions, old) -> None:
        self.old = old
        self.pieces: list[tuple] = []
        for symbol, expression in definitions.items():
            defining = words(expression).expanded()
            if len(defining.terms) != 1:
                raise NoClosedForm(f"{symbol} = {expression} is a sum", where="project", remedy="use single products")
            ((word, value),) = defining.terms.items()
            self.pieces.append((word, (symbol, False), 1 / value))
            if transpose_word(word) != word:
                self.pieces.append((transpose_word(word), (symbol, True), 1 / value))
        self.pieces.sort(key=lambda piece: -len(piece[0]))

    def rewrite(self, polynomial: Words, label: str) -> Any:
        """As an expression of the new matrices: with sums kept as factors if they close, else multiplied out."""
        try:
            return self._words(polynomial, label).matrix()
        except NoClosedForm:
            return self._words(polynomial.expanded(), label).matrix()

    def observable(self, expression, label):
        if isinstance(expression, sp.MatrixExpr):
            return self.rewrite(words(expression), label)
        rest, traces = trace_terms(expression)
        for coefficient, polynomial in traces:
            for word, value in polynomial.terms.items():
                rest += coefficient * value * sp.Trace(self._cyclic(word, polynomial.shape, label).matrix())
        return rest

    def _words(self, polynomial, label) -> Words:
        total = Words({}, polynomial.shape)
        for word, value in polynomial.terms.items():
            read = self._read(word)
            if read is None:
                left = Words({word: value}, polynomial.shape).matrix()
                raise NoClosedForm(
                    f"{label} holds {left}, which the new variables do not cover",
                    where="project",
                    remedy="add a variable for what is left over",
                )
            new, factor = read
            total = total + Words({new: value * factor}, polynomial.shape)
        return total

    def _cyclic(self, word, shape, label) -> Words:
        for turn in range(max(1, len(word))):
            turned = word[turn:] + word[:turn]
            if self._read(turned) is not None:
                first = turned[0][0].shape[1 if turned[0][1] else 0] if turned else shape[0]
                return self._words(Words({turned: sp.S.One}, (first, first)), label)
        return self._words(Words({word: sp.S.One}, shape), label)

    def _read(self, word) -> tuple | None:
        """The word in new letters, by trying longer pieces first and going back where that fails."""

        @cache
        def tail(start):
            if start == len(word):
                return (), sp.S.One
            for piece, letter, factor in self.pieces:
                if word[start : start + len(piece)] == piece:
                    rest = tail(start + len(piece))
                    if rest is not None:
                        return (letter, *rest[0]), factor * rest[1]
            matrix, transposed = word[start]
            if matrix in self.old:
                return None
            rest = tail(start + 1)
            if rest is None:
                return None
            if not matrix.has(*self.old):
                return ((matrix, transposed), *rest[0]), rest[1]
            inner = self._inner(matrix)
            return None if inner is None else (((inner, transposed), *rest[0]), rest[1])

        return tail(0)

    def _inner(self, total):
        """A sum standing as a factor, rewritten inside."""
        try:
            return self._words(words(total), "a factor").matrix()
        except NoClosedForm:
            return None


def _sum(polynomials: Sequence[Words]) -> Words:
    total = polynomials[0]
    for polynomial in polynomials[1:]:
        total = total + polynomial
    return total


def _symbol(key, expression):
    if not isinstance(key, str):
        return key
    defining = words(expression).expanded()
    kind = SymmetricMatrix if defining.transposed() == defining else sp.MatrixSymbol
    return kind(key, *expression.shape)


def _projection_residual(system, definitions, equations) -> float:
    """The rate (or next value) of every new matrix, from the closed equations and from the full ones."""
    values = random_values([*system.unknowns, *system.equations, *definitions.values()], seed=3)
    new = {symbol: evaluate(expression, values) for symbol, expression in definitions.items()}
    field = {u: evaluate(e, values) for u, e in zip(system.unknowns, system.equations, strict=True)}
    worst = 0.0
    for expression, equation in zip(definitions.values(), equations, strict=True):
        closed = evaluate(equation, {**values, **new})
        if isinstance(system, Flow):
            moved = {k: v + 1e-30j * field[k] if k in field else v for k, v in values.items()}
            full = np.imag(evaluate(expression, moved)) / 1e-30
        else:
            full = evaluate(expression, {**values, **field})
        worst = max(worst, float(np.abs(closed - full).max() / np.abs(full).max()))
    return worst
