"""Example values for everything a document names: what a module needs to try its own equations.

Sizes are distinct small numbers, so that a wrong product of matrices cannot go unnoticed; modes are arrays of three.

>>> W, S = sp.MatrixSymbol("W", sp.Symbol("h"), sp.Symbol("d")), sp.Symbol("s", positive=True)
>>> sorted(kinds([W * W.T, S]).items())
[('W', ('matrix', ('h', 'd'))), ('s', ('number', ()))]
"""

from typing import Any

import sympy as sp

from ..derivation.noncommutative import SymmetricMatrix
from ..symbols import LEARNING_RATE, STEP, TIME, ModeSymbol
from ..trail import Equations
from .array_printer import identifier
from .document import Document

MODES = 3
_RANGES = {"number": (0.5, 1.5), "mode": (0.5, 1.5), "fraction": (0.3, 0.7), "rate": (0.04, 0.05)}


def kinds(expressions: list) -> dict[str, tuple[str, tuple]]:
    """(kind, shape) of every symbol by identifier.

    Kinds: number, mode, fraction (in (0, 1)), rate (small), whole, matrix, symmetric, basis (orthonormal columns).
    """
    found: dict[str, tuple[str, tuple]] = {}
    sizes: set = set()
    for expression in map(sp.sympify, expressions):
        columns = {
            m for d in expression.atoms(sp.DiagMatrix) for m in d.atoms(sp.MatrixSymbol) if str(m.shape[0]) == "rank"
        }
        for matrix in expression.atoms(sp.MatrixSymbol):
            sizes |= {size for size in matrix.shape if isinstance(size, sp.Symbol)}
            kind = "symmetric" if isinstance(matrix, SymmetricMatrix) else "matrix"
            kind = "basis" if columns and str(matrix.shape[1]) == "rank" else kind
            shape = () if matrix in columns else tuple(map(_plain, matrix.shape))
            found.setdefault(identifier(matrix), ("mode" if matrix in columns else kind, shape))
    for expression in map(sp.sympify, expressions):
        for symbol in expression.free_symbols - sizes - {TIME, STEP}:
            if isinstance(symbol, sp.Symbol):
                kind = _kind(symbol)
                if found.get(identifier(symbol), ("number",))[0] == "number":
                    found[identifier(symbol)] = (kind, ())
    return found


def declared(content: Document) -> str:
    """Source of `example()`, which draws one random value for every name in the document."""
    expressions = [e for step in content.steps for e in _mathematics(step.result) + _mathematics(step.given)]
    for section in content.sections:
        system = section.system
        expressions += [*system.unknowns, *system.equations, *system.observables.values(), *section.conserved]
        if section.solution:
            expressions.append(section.solution.expression)
    found = kinds([e for e in expressions if not sp.sympify(e).has(sp.oo)])
    sizes = _sizes(expressions)
    lines = ['    """One random value for every name; sizes of matrices differ, modes come in threes."""']
    lines += ["    rng = numpy.random.default_rng(11)", f"    values = {_sized(found, sizes)}"]
    for name, (kind, shape) in sorted(found.items()):
        rows = ", ".join(str(sizes.get(size, size)) for size in shape)
        lines.append(f'    values["{name}"] = {_drawn(kind, rows)}')
    lines += _positive_definite(found)
    return "def example():\n" + "\n".join(lines) + "\n    return values"


def _sizes(expressions: list) -> dict[str, int]:
    """A number for every symbolic size; sizes of one matrix that goes by two names in two places are one."""
    same: dict[str, str] = {}

    def root(size):
        while same.setdefault(size, size) != size:
            size = same[size]
        return size

    first: dict[str, tuple] = {}
    for expression in map(sp.sympify, expressions):
        for matrix in sorted(expression.atoms(sp.MatrixSymbol), key=str):
            shape = [_plain(size) for size in matrix.shape]
            for one, other in zip(shape, first.setdefault(matrix.name, tuple(shape)), strict=True):
                if isinstance(one, str) and isinstance(other, str):
                    same[root(one)] = root(other)
    named = sorted({root(size) for size in same} - {root("rank")})
    numbers = {root("rank"): MODES, **{size: MODES + 1 + place for place, size in enumerate(named)}}
    return {size: numbers[root(size)] for size in list(same)}


def _sized(found, sizes) -> str:
    used = {size for _, shape in found.values() for size in shape if isinstance(size, str)}
    return "{" + ", ".join(f'"{size}": {sizes[size]}' for size in sorted(used)) + "}"


def _drawn(kind: str, shape: str) -> str:
    if kind == "whole":
        return "numpy.array(3.0)"
    if kind in _RANGES:
        low, high = _RANGES[kind]
        return f"rng.uniform({low}, {high}{f', {MODES}' if kind == 'mode' else ''})"
    if kind == "basis":
        return f"numpy.linalg.qr(rng.standard_normal(({shape})))[0]"
    return f"0.5 * rng.standard_normal(({shape}))"


def _positive_definite(found) -> list[str]:
    names = tuple(name for name, (kind, _) in sorted(found.items()) if kind == "symmetric")
    if not names:
        return []
    draw = "values[name] = values[name] @ values[name].T + 0.5 * numpy.eye(len(values[name]))"
    return [f"    for name in {names}:", f"        {draw}"]


def _kind(symbol: Any) -> str:
    if isinstance(symbol, ModeSymbol):
        return "mode"
    if type(symbol).__name__ == "UnitInterval":
        return "fraction"
    if symbol == LEARNING_RATE or symbol.name in ("eta", "h_step"):
        return "rate"
    return "whole" if symbol.is_integer else "number"


def _plain(size: Any) -> Any:
    return identifier(size) if isinstance(size, sp.Symbol) else int(size)


def _mathematics(result: Any) -> list:
    if isinstance(result, Equations):
        return [e for row in result.rows for e in row]
    return [result] if isinstance(result, sp.Basic) else []
