"""The best split of a budget between axes that each lower some terms of a loss, as an exact linear programme.

Terms are powers, budget = product of axes: with width ~ f^x and steps ~ f^(1 - x) every term is f^-(linear in x), so

    loss exponent = max over splits  min over terms  (exponent of the term),

and the optimum is where terms balance. The proof is a weighted mean: weights w_i >= 0 that sum to 1, with which
prod term_i^w_i = f^-exponent whatever the split. The largest term is no smaller than that mean: no split does better.

>>> fitted = Term("A N^-alpha", {"parameters": sp.Rational(1, 3)}), Term("B D^-beta", {"tokens": sp.Rational(1, 4)})
>>> print(best_split(fitted))
loss ~ budget^-(1/7), parameters ~ budget^(3/7), tokens ~ budget^(4/7): A N^-alpha = B D^-beta
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import combinations, product
from typing import Any

import numpy as np
import sympy as sp

from ..errors import BadData, OutsideDomain
from ..trail import Trail
from .exact_signs import exact, exact_sign, tidy

_CLOSE = 1e-7  # what floating point leaves to exact numbers


@dataclass(frozen=True)
class Term:
    """One term of a loss, falling as axis^-exponent along every axis (negative exponents: it grows).

    `only_if`  the term counts only where sum coefficient x log(axis) >= 0, for each mapping (an optimum on the
               edge of such a condition is a limit from outside)

    >>> print(Term("K_pp", {"width": sp.Rational(1, 4), "steps": sp.Rational(1, 2)}))
    K_pp ~ width^-(1/4) steps^-(1/2)
    """

    name: str
    exponents: Mapping[str, Any]
    only_if: tuple[Mapping[str, Any], ...] = ()

    def at(self, split: Mapping[str, Any]) -> Any:
        """Exponent of the term in the budget, for axes that grow as budget^split[axis]."""
        return tidy(sum(sp.sympify(e) * split[axis] for axis, e in self.exponents.items()))

    def __str__(self) -> str:
        shown = [f"{axis}^-({e})" for axis, e in self.exponents.items() if e != 0]
        return f"{self.name} ~ " + (" ".join(shown) or "1")


@dataclass(frozen=True)
class BestSplit:
    """The optimum: loss ~ budget^-`exponent` at axis ~ budget^`split[axis]`.

    `balance`    names of the terms that prove it: with `weights` their mean does not depend on the split
    `terms`      exponent of every term at the optimum; those equal to `exponent` are as large as the loss
    `ranges`     axis -> (lowest, highest) exponent that attains the same loss exponent; equal where it is unique
    `conditions` with symbols: expressions that must not be negative for the formulas to hold
    """

    exponent: Any
    split: Mapping[str, Any]
    balance: tuple[str, ...]
    weights: Mapping[str, Any]
    terms: Mapping[str, Any]
    ranges: Mapping[str, tuple[Any, Any]]
    conditions: tuple[Any, ...] = ()
    trail: Trail = field(default=Trail(), repr=False)

    @property
    def unique(self) -> bool:
        return all(low == high for low, high in self.ranges.values())

    @property
    def tradeoff(self) -> str:
        """The terms that balance, as text: "F_pp = F_ac"; a single term where the split does not matter to it."""
        return " = ".join(self.balance)

    def to_dict(self) -> dict:
        return {
            "exponent": str(self.exponent),
            "split": {axis: str(value) for axis, value in self.split.items()},
            "ranges": {axis: [str(low), str(high)] for axis, (low, high) in self.ranges.items()},
            "tradeoff": self.tradeoff,
            "weights": {name: str(value) for name, value in self.weights.items()},
            "terms": {name: str(value) for name, value in self.terms.items()},
            "conditions": [f"{condition} >= 0" for condition in self.conditions],
            "trail": self.trail.to_dict(),
        }

    def __str__(self) -> str:
        parts = [f"{axis} ~ budget^{_shown(self.ranges.get(axis), value)}" for axis, value in self.split.items()]
        return f"loss ~ budget^-{_power(self.exponent)}, " + ", ".join(parts) + f": {self.tradeoff}"


@dataclass(frozen=True)
class _Constraint:
    """row . (x, eta) >= 0; the loss itself must not fall faster than a term: exponent . x - eta >= 0."""

    name: str
    row: tuple[Any, ...]
    is_term: bool = False


def best_split(
    terms: Iterable[Term], cost: Mapping[str, Any] | None = None, at: Mapping[sp.Symbol, Any] | None = None
) -> BestSplit:
    """The split of a budget = prod axis^cost[axis] (cost 1 unless said, 0: free) that makes the largest term smallest.

    `at`   values of the symbols in the exponents: the optimum is found there and returned as formulas in the symbols,
           with the `conditions` under which they hold

    Errors: `BadData` for exponents that are no numbers, a term without axes or a negative cost; `OutsideDomain` where
    the loss falls without bound because a free axis costs nothing.

    >>> a, b = sp.symbols("a b", positive=True)
    >>> two = Term("time", {"steps": a / b}), Term("width", {"parameters": a})
    >>> print(best_split(two, at={a: 1, b: 2}))
    loss ~ budget^-(a/(b + 1)), steps ~ budget^(b/(b + 1)), parameters ~ budget^(1/(b + 1)): time = width
    """
    terms = _listed(terms)
    axes, prices, values, optima, best = _solved(terms, cost, at)
    eta, point, basis, multipliers, cell = best
    eta, *numbers = (_upright(number, values) for number in (eta, *point, *multipliers))
    point, multipliers = numbers[: len(axes)], numbers[len(axes) :]
    ties = [o for o in optima if exact_sign(_number(o[0] - eta, values)) == 0]
    split = dict(zip(axes, point, strict=True))
    weights = {c.name: w for c, w in zip(basis, multipliers, strict=True) if c.is_term and _positive(w, values)}
    at_optimum = {term.name: _upright(term.at(split), values) for term in terms}
    ranges = {} if values else _ranges(ties, axes, prices, eta)
    slack = [_upright(tidy(_dot(c.row, (*point, eta))), values) for c in cell if c not in basis]
    conditions = tuple(c for c in (*slack, *multipliers) if sp.sympify(c).free_symbols and not c.is_nonnegative)
    trail = _trail(terms, prices, at_optimum, eta, split, weights)
    order = tuple(term.name for term in terms if term.name in weights)
    return BestSplit(eta, split, order, weights, at_optimum, ranges, tuple(dict.fromkeys(conditions)), trail)


def balancing_terms(terms: Iterable[Term], cost: Mapping[str, Any] | None = None) -> tuple[str, ...]:
    """Names of the terms that balance at the best split: `best_split(terms).balance`, without the rest.

    >>> balancing_terms([Term("a", {"n": 1}), Term("b", {"t": 2}), Term("c", {"n": 3, "t": 3})])
    ('a', 'b')
    """
    terms = _listed(terms)
    *_, (_, _, basis, multipliers, _) = _solved(terms, cost, None)
    names = {c.name for c, w in zip(basis, multipliers, strict=True) if c.is_term and exact_sign(w) > 0}
    return tuple(term.name for term in terms if term.name in names)


def loss_exponent(terms: Iterable[Term], split: Mapping[str, Any]) -> Any:
    """Exponent of the loss at a given split, axis ~ budget^split[axis]: that of the largest term. Errors: `BadData`.

    >>> loss_exponent([Term("a", {"n": 1}), Term("b", {"t": 2})], {"n": sp.Rational(3, 4), "t": sp.Rational(1, 4)})
    1/2
    """
    terms, where, split = _listed(terms), "loss_exponent", {axis: exact(value) for axis, value in split.items()}
    missing = {axis for term in terms for powers in (term.exponents, *term.only_if) for axis in powers} - set(split)
    if missing or not terms:
        found = f"{len(terms)} terms, no split of {sorted(missing)}"
        raise BadData(found, where=where, remedy="give each axis a split")
    holds = (t for t in terms if all(exact_sign(sum(c * split[a] for a, c in g.items())) >= 0 for g in t.only_if))
    return _smallest([term.at(split) for term in holds])


# ---- the linear programme -------------------------------------------------------------------------------------------


def _solved(terms, cost, at):
    """(axes, prices, values, optima of all cells, the best of them)."""
    axes, prices = _axes(terms, cost)
    values = {symbol: exact(value, "best_split") for symbol, value in (at or {}).items()}
    _check_numbers(terms, prices, values)
    optima = [found for cell in _cells(terms, axes, values) if (found := _optimum(cell, prices, values))]
    if not optima:
        found = "no best split: a free axis lowers the loss for ever"
        raise OutsideDomain(found, where="best_split", remedy="give costs")
    best = optima[0]
    for other in optima[1:]:
        if exact_sign(_number(other[0] - best[0], values)) > 0:
            best = other
    return axes, prices, values, optima, best


def _optimum(cell, prices, values):
    """(eta, x, basis, multipliers, cell): the first basis that is feasible and whose multipliers are not negative.

    At a basis of k constraints met as equalities: sum x_i price_i = 1 and row . (x, eta) = 0. Multipliers y >= 0 with
    sum y row = (eta* price, -1) prove eta <= eta* for every x with sum x_i price_i = 1.
    """
    count = len(prices)
    budget = sp.Matrix([[*prices, 0]])
    floats = np.array([[_float(_value(e, values)) for e in c.row] for c in cell])
    spent = np.array([_float(_value(price, values)) for price in prices] + [0.0])
    for chosen in combinations(range(len(cell)), count):
        if _hopeless(floats, spent, chosen):
            continue
        basis = [cell[i] for i in chosen]
        matrix = sp.Matrix([list(c.row) for c in basis]).col_join(budget)
        determinant = tidy(matrix.det())
        if exact_sign(_value(determinant, values)) == 0:
            continue
        inverse = matrix.adjugate() / determinant
        solution = [tidy(value) for value in inverse[:, count]]
        slack = (_dot(c.row, solution) for c in cell if c not in basis)
        if any(exact_sign(_value(s, values)) < 0 for s in slack):
            continue
        multipliers = [tidy(-inverse[count, i]) for i in range(count)]
        if any(exact_sign(_value(y, values)) < 0 for y in multipliers):
            continue
        return solution[count], tuple(solution[:count]), basis, multipliers, cell
    return None


def _hopeless(rows: np.ndarray, spent: np.ndarray, chosen: tuple[int, ...]) -> bool:
    """Whether a basis fails by far in floating point: what is close is left to exact numbers."""
    matrix = np.vstack([rows[list(chosen)], spent])
    if np.abs(rows).max() > 1 / _CLOSE or _delicate(matrix):
        return False
    inverse = np.linalg.inv(matrix)
    scale = max(1.0, float(np.abs(inverse).max()))
    multipliers = -inverse[len(chosen), : len(chosen)]
    return bool(min((rows @ inverse[:, -1]).min(), multipliers.min()) < -_CLOSE * scale)


def _delicate(matrix: np.ndarray) -> bool:
    """Whether floating point says nothing: numbers that are huge, or a determinant near zero."""
    return bool(np.abs(matrix).max() > 1 / _CLOSE or abs(np.linalg.det(matrix)) < _CLOSE)


def _float(number: Any) -> float:
    """A number in floating point, infinite beyond its range."""
    try:
        return float(number)
    except OverflowError:
        return np.inf


def _ranges(optima, axes, prices, eta):
    """Lowest and highest x_i at which the loss exponent is the same: over the corners of the optimal face."""
    corners = []
    spent = np.array([_float(price) for price in prices] + [0.0])
    for _, _, _, _, cell in optima:
        floats = np.array([[_float(e) for e in c.row] for c in cell])
        for chosen in combinations(range(len(cell)), len(prices)):
            if _elsewhere(np.vstack([floats[list(chosen)], spent]), _float(eta)):
                continue
            matrix = sp.Matrix([list(cell[i].row) for i in chosen] + [[*prices, 0]])
            if exact_sign(determinant := tidy(matrix.det())) == 0:
                continue
            solution = [tidy(v / determinant) for v in matrix.adjugate()[:, len(prices)]]
            feasible = all(exact_sign(_dot(c.row, solution)) >= 0 for i, c in enumerate(cell) if i not in chosen)
            if feasible and exact_sign(solution[-1] - eta) == 0:
                corners.append(solution[:-1])
    return {
        axis: (_smallest([c[i] for c in corners]), -_smallest([-c[i] for c in corners])) for i, axis in enumerate(axes)
    }


def _elsewhere(matrix: np.ndarray, eta: float) -> bool:
    """Whether a corner has another loss exponent, by far, in floating point."""
    if _delicate(matrix):
        return False
    return bool(abs(np.linalg.inv(matrix)[-1, -1] - eta) > _CLOSE * max(1.0, np.linalg.cond(matrix)))


def _cells(terms, axes, values):
    """Constraints of every combination of conditional terms: counted inside its condition, or not counted outside."""
    bounds = [_Constraint(f"{axis} >= 1", tuple(sp.Integer(a == axis) for a in axes) + (0,)) for axis in axes]
    conditional = [term for term in terms if term.only_if]
    always = [term for term in terms if not term.only_if]
    for counted in product((True, False), repeat=len(conditional)):
        inside = [t for t, yes in zip(conditional, counted, strict=True) if yes]
        outside = [t for t, yes in zip(conditional, counted, strict=True) if not yes]
        held = [_Constraint(f"{t.name} counts", _row(g, axes, 0)) for t in inside for g in t.only_if]
        rows = [_Constraint(t.name, _row(t.exponents, axes, -1), True) for t in (*always, *inside)]
        for broken in product(*(t.only_if for t in outside)):  # outside: at least one of its conditions fails
            left = [
                _Constraint(f"{t.name} does not count", tuple(-c for c in _row(g, axes, 0)))
                for t, g in zip(outside, broken, strict=True)
            ]
            if rows:
                yield (*rows, *held, *left, *bounds)


def _row(coefficients, axes, last):
    return tuple(sp.sympify(coefficients.get(axis, 0)) for axis in axes) + (sp.Integer(last),)


# ---- small parts ----------------------------------------------------------------------------------------------------


def _axes(terms: Sequence[Term], cost):
    if not terms:
        raise BadData("no terms", where="best_split", remedy="give at least one Term(name, exponents)")
    axes = tuple(dict.fromkeys(axis for term in terms for axis in term.exponents))
    names = [term.name for term in terms]
    if not axes or len(set(names)) < len(names):
        found = "terms have no axes" if not axes else f"terms share a name: {sorted(names)}"
        raise BadData(found, where="best_split", remedy="name every term once, with an exponent for each of its axes")
    if cost is not None and (missing := set(axes) - set(cost)):
        raise BadData(f"no cost of {sorted(missing)}", where="best_split", remedy="give a cost for every axis")
    return axes, tuple(exact((cost or {}).get(axis, 1), "best_split", rounded=False) for axis in axes)


def _check_numbers(terms, prices, values):
    expressions = [*prices]
    for term in terms:
        powers = (e for g in (term.exponents, *term.only_if) for e in g.values())
        expressions += [exact(e, "best_split", rounded=False) for e in powers]
    if unknown := {s for e in expressions for s in e.free_symbols} - set(values):
        names = ", ".join(sorted(map(str, unknown)))
        raise BadData(f"no value of {names}", where="best_split", remedy="give one in at={symbol: value}")
    signs = [exact_sign(_number(price, values)) for price in prices]
    if min(signs) < 0 or max(signs) == 0:
        found = "a cost is negative, or all are zero"
        raise BadData(found, where="best_split", remedy="let some axis use up the budget")


def _listed(terms: Iterable[Term]) -> tuple[Term, ...]:
    found = tuple(terms) if isinstance(terms, Iterable) else (terms,)
    if wrong := [t for t in found if not (isinstance(t, Term) and isinstance(t.exponents, Mapping))]:
        raise BadData(f"{wrong[0]!r} is no term", where="best_split", remedy="give Term(name, {axis: exponent})")
    return found


def _value(expression, values):
    return sp.sympify(expression).subs(values) if values else sp.sympify(expression)


def _number(expression, values):
    return tidy(sp.sympify(expression).subs(values)) if values else tidy(expression)


def _upright(formula, values):
    """A formula with a denominator that is positive where it holds."""
    if not formula.free_symbols:
        return formula
    (front, above), (behind, below) = (_oriented(part, values) for part in sp.fraction(formula))
    number = front / behind
    return (number.p * above) / (number.q * below)


def _oriented(polynomial, values):
    """The number before a polynomial, and its factors, each written so that it is positive at the given values."""
    front, factors = sp.factor_list(polynomial)
    product_of = sp.S.One
    for factor, power in factors:
        sign = exact_sign(_value(factor, values)) or 1
        front *= sp.Integer(sign) ** power
        product_of *= sp.expand(sign * factor) ** power
    return front, product_of


def _positive(weight, values) -> bool:
    return exact_sign(_number(weight, values)) > 0


def _dot(row, point):
    return sum(a * b for a, b in zip(row, point, strict=True))


def _smallest(numbers):
    smallest = numbers[0]
    for number in numbers[1:]:
        if exact_sign(tidy(number - smallest)) < 0:
            smallest = number
    return smallest


def _shown(span, value):
    return _power(value) if span is None or span[0] == span[1] else f"[{span[0]}, {span[1]}]"


def _power(exponent):
    exponent = sp.sympify(exponent)
    return str(exponent) if exponent.is_Symbol or (exponent.is_Integer and exponent >= 0) else f"({exponent})"


def _trail(terms, prices, at_optimum, eta, split, weights):
    trail = Trail().then("terms", "; ".join(map(str, terms)))
    where = ", ".join(f"{axis} ~ budget^({value})" for axis, value in split.items())
    trail = trail.then(
        "terms at the optimum", "; ".join(f"{n} ~ budget^-({e})" for n, e in at_optimum.items()), check=where
    )
    mean = " ".join(f"({name})^({weight})" for name, weight in weights.items())
    kept = [sum(w * sp.sympify(_exponents(terms, n).get(a, 0)) for n, w in weights.items()) for a in split]
    gaps = [tidy(total - eta * price) for total, price in zip(kept, prices, strict=True)]
    word = "whatever the split" if all(g == 0 for g in gaps) else "or larger, whatever the split"
    return trail.then("no split does better", f"{mean} = budget^-({eta}) {word}", check="the weights sum to one")


def _exponents(terms, name):
    return next(term.exponents for term in terms if term.name == name)
