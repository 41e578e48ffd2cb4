"""What a loss sees of its parameters: polynomial features phi(theta), read from expressions, flows and networks.

A loss l(phi(theta)) moves the parameters along the gradients of its features and nowhere else,

    theta' = - sum_i dl/dphi_i grad phi_i,

so what every such loss conserves is decided by the vector fields grad phi_i alone. Whatever is no parameter is data,
and each coefficient of a monomial in the data is a feature: a (w x + b) has the features a w and a b.

>>> a, w, b, x = sp.symbols("a w b x")
>>> found = vector_fields(a * (w * x + b), on=(a, w, b))
>>> [[str(found.expression(field.get(place, {}))) for place in range(3)] for field in found.fields]
[['b', '0', 'a'], ['w', 'a', '0']]
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from functools import reduce
from math import isqrt, lcm
from typing import Any

import numpy as np
import sympy as sp

from ..architecture.network import Network
from ..errors import NoClosedForm
from ..system import Flow, System
from .polynomials import ONE, Field, Monomial, Polynomial, add, gradient, multiply


@dataclass(frozen=True)
class VectorFields:
    """Vector fields with integer coefficients, and the parameters they move, in the order of their places."""

    parameters: tuple[Any, ...]
    fields: tuple[Field, ...]

    def expression(self, polynomial: Polynomial) -> Any:
        """A polynomial in the places as an expression of the parameters."""
        terms = (value * sp.Mul(*(self.parameters[place] for place in m)) for m, value in polynomial.items())
        return sp.Add(*terms)


def vector_fields(
    subject: Any, on: Sequence[Any] | None = None, sizes: Mapping[str, int] | None = None
) -> VectorFields:
    """The directions in which a loss of these features can move the parameters.

    `subject` is a feature or several (scalar expressions, or matrix expressions with numbers as sizes, Kronecker and
    entrywise products allowed), a `Network` (linear, ReLU, square, gated), or a polynomial `Flow`. `on` names the
    parameters among the symbols (all of them if left out). `sizes` gives a number for every symbolic size. A ReLU is
    taken inside one region of activation per sample, with enough samples to tell the units apart. Raises
    `NoClosedForm` where something is not polynomial. Marcotte, Gribonval & Peyre 2023, arXiv:2307.00144.

    >>> from ..architecture.network import chain
    >>> found = vector_fields(chain("input", "width", "output"), sizes={"input": 2, "width": 3, "output": 2})
    >>> len(found.parameters), len(found.fields)
    (12, 4)
    """
    sizes = {str(name): size for name, size in (sizes or {}).items()}
    if isinstance(subject, Network):
        return _of_network(subject, sizes)
    if isinstance(subject, System) and not isinstance(subject, Flow):
        raise NoClosedForm("only a flow has a velocity", where="vector_fields", remedy="give a flow, or its features")
    many = isinstance(subject, Sequence | sp.Tuple)
    given = subject.equations if isinstance(subject, Flow) else tuple(subject) if many else (subject,)
    given = tuple(_numbered(sp.sympify(e), sizes) for e in given)
    named: Sequence[Any] | None = subject.unknowns if isinstance(subject, Flow) else on
    if named is None:
        named = sorted(set().union(*map(_symbols, given)), key=str)
    named = [_numbered(sp.sympify(symbol), sizes) for symbol in named]
    places = {symbol: place for place, symbol in enumerate(entry for n in named for entry in entries_of(n))}
    parameters = tuple(places)
    data = (entry for symbol in sorted(set().union(*map(_symbols, given)), key=str) for entry in entries_of(symbol))
    for entry in data:
        places.setdefault(entry, len(places))
    polynomials = [entry for expression in given for entry in np.ravel(_read(expression, places)).tolist()]
    if not isinstance(subject, Flow):
        features = [part for p in polynomials for part in _split(p, len(parameters)).values()]
        return VectorFields(parameters, _gradients(features))
    fields: dict[Monomial, Field] = {}
    for place, polynomial in enumerate(polynomials):
        for key, part in _split(polynomial, len(parameters)).items():
            fields.setdefault(key, {})[place] = part
    return VectorFields(parameters, tuple(map(_whole, fields.values())))


def polynomials_of(
    expressions: Sequence[Any], parameters: Sequence[Any], sizes: Mapping[str, int] | None = None
) -> list[Polynomial]:
    """Every entry of scalar or matrix expressions as a polynomial in the parameters, scaled to integers.

    >>> W = sp.MatrixSymbol("W", 1, 2)
    >>> polynomials_of([W * W.T / 2], [W[0, 0], W[0, 1]])
    [{(0, 0): 1, (1, 1): 1}]
    """
    places = {parameter: place for place, parameter in enumerate(parameters)}
    numbers = {str(name): size for name, size in (sizes or {}).items()}
    made = [_read(_numbered(sp.sympify(e), numbers), places) for e in expressions]
    return [_whole({0: entry})[0] for e in made for entry in np.ravel(e) if entry]


def _gradients(features) -> tuple[Field, ...]:
    fields = [gradient(feature) for feature in features]
    return tuple(_whole(field) for field in fields if field)


def _whole(field: Field) -> Field:
    """The field scaled to integer coefficients, which points the same way."""
    common = lcm(*(Fraction(value).denominator for part in field.values() for value in part.values()))
    return {place: {m: int(value * common) for m, value in part.items()} for place, part in field.items()}


def _split(polynomial: Polynomial, count: int) -> dict[Monomial, Polynomial]:
    """The coefficient, in the first `count` variables, of every monomial in the others."""
    parts: dict[Monomial, Polynomial] = {}
    for monomial, value in polynomial.items():
        inside = tuple(place for place in monomial if place < count)
        parts.setdefault(monomial[len(inside) :], {})[inside] = value
    return parts


def _symbols(expression) -> set:
    matrices = expression.atoms(sp.MatrixSymbol)
    return matrices | {s for s in expression.free_symbols if not isinstance(s, sp.MatrixSymbol)}


def entries_of(symbol: Any) -> list[Any]:
    """The entries of a matrix symbol, row by row (of a symmetric one each once); of a scalar symbol itself.

    >>> entries_of(sp.MatrixSymbol("W", 1, 2))
    [W[0, 0], W[0, 1]]
    """
    if not isinstance(symbol, sp.MatrixSymbol):
        return [symbol]
    rows, columns = symbol.shape
    entries = [[symbol[i, j] for j in range(columns)] for i in range(rows)]
    if symbol.T == symbol:  # a covariance has every entry once
        return [entries[i][j] for i in range(rows) for j in range(i, columns)]
    return sum(entries, [])


def _numbered(expression, sizes):
    """Every size replaced by a number."""
    images = {}
    for matrix in expression.atoms(sp.MatrixSymbol, sp.OneMatrix, sp.ZeroMatrix, sp.Identity):
        symbols = {s for n in matrix.shape for s in sp.sympify(n).free_symbols}
        shape = [sp.sympify(n).subs({s: sizes[str(s)] for s in symbols if str(s) in sizes}) for n in matrix.shape]
        if not all(n.is_Integer for n in shape):
            raise NoClosedForm(f"{matrix} has the shape {matrix.shape}", where="sizes", remedy="give each a number")
        named = (matrix.name, *shape) if isinstance(matrix, sp.MatrixSymbol) else shape[: len(matrix.args)]
        images[matrix] = type(matrix)(*named)
    return expression.xreplace(images) if images else expression


def _read(expression, places) -> Any:
    """A polynomial, or an array (rows, columns) of polynomials."""

    def read(part):
        return _read(part, places)

    if isinstance(expression, sp.MatrixSymbol):
        rows, columns = (range(int(n)) for n in expression.shape)
        turned = expression.T == expression
        return _array([[{(places[expression[min(i, j), max(i, j)] if turned else expression[i, j]],): 1}
                        for j in columns] for i in rows])  # fmt: skip
    if isinstance(expression, sp.Transpose):
        return read(expression.arg).T
    if isinstance(expression, sp.Trace):
        return add(*np.diag(read(expression.arg)))
    if isinstance(expression, sp.Identity | sp.ZeroMatrix | sp.OneMatrix):
        return _array([[ONE if expression[i, j] == 1 else {} for j in range(expression.shape[1])]
                       for i in range(expression.shape[0])])  # fmt: skip
    if isinstance(expression, sp.DiagMatrix):
        entries = read(expression.args[0]).ravel()
        return _array([[entry if i == j else {} for j in range(len(entries))] for i, entry in enumerate(entries)])
    if isinstance(expression, sp.DiagonalOf):
        return np.diag(read(expression.arg)).reshape(-1, 1)
    if isinstance(expression, sp.KroneckerProduct):
        return reduce(_kronecker, map(read, expression.args))
    if isinstance(expression, sp.HadamardProduct):
        return reduce(_times, map(read, expression.args))
    if isinstance(expression, sp.MatAdd):
        return reduce(_plus, map(read, expression.args))
    if isinstance(expression, sp.Add):
        return add(*map(read, expression.args))
    if isinstance(expression, sp.MatMul):
        return reduce(product, map(read, expression.args))
    if isinstance(expression, sp.Mul):
        return reduce(multiply, map(read, expression.args))
    if isinstance(expression, sp.Pow | sp.MatPow) and expression.exp.is_Integer and expression.exp > 0:
        return reduce(product, [read(expression.base)] * int(expression.exp))
    if expression.is_Rational:
        return {(): Fraction(int(expression.p), int(expression.q))} if expression else {}
    if expression in places:
        return {(places[expression],): 1}
    raise NoClosedForm(f"{expression} is no polynomial with rational coefficients", where="vector_fields")


def product(one: Any, other: Any) -> Any:
    """The product of two polynomials, of two matrices of polynomials, or of one and the other.

    >>> product({(0,): 1}, {(1,): 2})
    {(0, 1): 2}
    """
    if isinstance(one, dict) and isinstance(other, dict):
        return multiply(one, other)
    if isinstance(one, dict) or isinstance(other, dict):
        return _times(_array(one), _array(other))
    made = _array([[{}] * other.shape[1]] * one.shape[0])
    for i, j in np.ndindex(made.shape):
        made[i, j] = add(*(multiply(one[i, k], other[k, j]) for k in range(one.shape[1])))
    return made


def _array(rows) -> np.ndarray:
    if isinstance(rows, np.ndarray):
        return rows
    rows = [[rows]] if isinstance(rows, dict) else rows
    made = np.empty((len(rows), len(rows[0])), dtype=object)
    for i, j in np.ndindex(made.shape):
        made[i, j] = rows[i][j]
    return made


_times = np.frompyfunc(multiply, 2, 1)
_plus = np.frompyfunc(lambda one, other: add(one, other), 2, 1)


def _kronecker(one, other):
    (m, n), (p, q) = one.shape, other.shape
    return _times(one[:, None, :, None], other[None, :, None, :]).reshape(m * p, n * q)


def _of_network(network: Network, sizes: Mapping[str, int]) -> VectorFields:
    """Forward through the graph on one generic sample: inputs, gates and active units are data."""
    shapes = network.shapes(sizes)
    parameters: list = []
    arrays: dict[str, np.ndarray] = {}
    for name, shape in shapes.items():
        rows, columns = (*shape, 1)[:2]
        entries = sum(([sp.MatrixSymbol(name, rows, columns)[i, j] for j in range(columns)] for i in range(rows)), [])
        places = iter(range(len(parameters), len(parameters) + len(entries)))
        arrays[name] = _array([[{(next(places),): 1} for _ in range(columns)] for _ in range(rows)])
        parameters += entries
    data = _Data(len(parameters))
    widths = {name: sizes[width] if isinstance(width, str) else width for name, width in network.widths().items()}
    value: dict[str, np.ndarray] = {}
    for node in network.nodes:
        inputs = [value[name] for name in node.inputs]
        if node.op == "input":
            made = data.column(node.name, widths[node.name])
        elif node.op == "dense":
            matrix = arrays[node.weight].T if node.transposed else arrays[node.weight]
            made = product(matrix, inputs[0])
            shift = arrays[node.bias] if node.bias else None
            if node.parameterization == "ntk":
                made = product(data.root(matrix.shape[1]), product({(): _rational(node.w_std)}, made))
                shift = product({(): _rational(node.b_std)}, shift) if node.bias else None
            if node.bias:
                made = _plus(made, shift)
        elif node.op == "sum":
            factors = [_rational(factor) for factor in node.coefficients or (1,) * len(inputs)]
            made = reduce(_plus, (product({(): factor}, term) for factor, term in zip(factors, inputs, strict=True)))
        elif node.op == "scale":
            made = _times(arrays[node.weight], inputs[0])
        elif node.op == "gate":
            made = product(data.column(f"{node.gate} open", 1)[0, 0], inputs[0])
        elif node.op == "total":
            made = _array([[add(*inputs[0].ravel())]])
        elif node.op == "product" or node.activation == "square":
            made = reduce(_times, inputs if node.op == "product" else inputs * 2)
        elif node.activation == "relu":
            made = _times(data.column(f"{node.name} active", widths[node.name]), inputs[0])
        elif node.activation == "identity":
            made = inputs[0]
        else:
            raise NoClosedForm(
                f"node {node.name!r} applies {node.activation}, which is no polynomial",
                where="vector_fields",
                remedy="look for symmetries instead",
            )
        value[node.name] = made
    outputs = [entry for name in network.outputs for entry in value[name].ravel()]
    features = [part for entry in outputs for part in data.features(entry)]
    return VectorFields(tuple(parameters), _gradients(features))


class _Data:
    """Variables that are no parameters, after the parameters: inputs, gates, active units and irrational factors."""

    def __init__(self, parameters: int) -> None:
        self.parameters = parameters
        self.known: dict[tuple[str, int], int] = {}
        self.roots: dict[int, int] = {}
        self.switches: set[int] = set()

    def column(self, name: str, width: int) -> np.ndarray:
        """A column of data, the same one for the same name."""
        places = [self.known.setdefault((name, k), self.parameters + len(self.known)) for k in range(width)]
        if name.endswith(" active"):
            self.switches.update(places)
        return _array([[{(place,): 1}] for place in places])

    def root(self, fan_in: int) -> Polynomial:
        """1/sqrt(fan_in), as a variable if it is irrational."""
        if isqrt(fan_in) ** 2 == fan_in:
            return {(): Fraction(1, isqrt(fan_in))}
        place = self.known.setdefault(("root", fan_in), self.parameters + len(self.known))
        self.roots[place] = fan_in
        return {(place,): 1}

    def features(self, entry: Polynomial) -> list[Polynomial]:
        """The coefficient of every product of data; a unit that is active twice is active."""
        parts: dict[Monomial, dict[Monomial, Polynomial]] = {}
        for key, part in _split(entry, self.parameters).items():
            irrational = tuple(place for place in self.roots if key.count(place) % 2)
            factor = Fraction(1)
            for place, fan_in in self.roots.items():
                factor /= fan_in ** (key.count(place) // 2)
            seen = [p for k, p in enumerate(key) if p not in self.roots and not (p in self.switches and p in key[:k])]
            classes = parts.setdefault(tuple(seen), {})
            classes[irrational] = add(classes.get(irrational, {}), multiply({(): factor}, part))
        if any(len(classes) > 1 for classes in parts.values()):
            raise NoClosedForm(
                "paths of different irrational fan-in factors end in one feature",
                where="vector_fields",
                remedy="use square widths, or the standard parameterization",
            )
        return [polynomial for classes in parts.values() for polynomial in classes.values()]


def _rational(factor) -> Fraction:
    return Fraction(factor).limit_denominator(10**6)
