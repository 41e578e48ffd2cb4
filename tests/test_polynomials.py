"""Arithmetic of polynomials and of fields modulo a prime, against SymPy, on whatever hypothesis draws."""

import itertools

import numpy as np
import pytest
import sympy as sp

from learning_mechanics.theory.architecture.network import chain
from learning_mechanics.theory.conservation import modular, polynomials
from learning_mechanics.theory.conservation.lie_algebra import conservation_laws

hypothesis = pytest.importorskip("hypothesis")
st = pytest.importorskip("hypothesis.strategies")

FEW = hypothesis.settings(max_examples=40, deadline=None, derandomize=True)
MONOMIALS = st.lists(st.integers(0, 2), max_size=3).map(lambda places: tuple(sorted(places)))
POLYNOMIALS = st.dictionaries(MONOMIALS, st.integers(-5, 5).filter(bool), max_size=4)
FIELDS = st.dictionaries(st.integers(0, 2), POLYNOMIALS.filter(bool), max_size=3)
T = sp.symbols("t0:3")


def expression(polynomial):
    return sp.Add(*(value * sp.Mul(*(T[place] for place in m)) for m, value in polynomial.items()))


def column(field):
    return sp.Matrix([expression(field.get(place, {})) for place in range(3)])


@pytest.mark.short
@FEW
@hypothesis.given(POLYNOMIALS, POLYNOMIALS, FIELDS, FIELDS)
def test_arithmetic_is_that_of_sympy(one, other, X, Y):
    p, q = expression(one), expression(other)
    assert sp.expand(expression(polynomials.add(one, other)) - p - q) == 0
    assert sp.expand(expression(polynomials.multiply(one, other)) - p * q) == 0
    assert sp.expand(expression(polynomials.along(one, X)) - (sp.Matrix([p]).jacobian(T) * column(X))[0]) == 0
    expected = column(X).jacobian(T) * column(Y) - column(Y).jacobian(T) * column(X)
    assert sp.expand(column(polynomials.bracket(X, Y)) - expected) == sp.zeros(3, 1)


@pytest.mark.short
@FEW
@hypothesis.given(FIELDS, FIELDS, FIELDS)
def test_jacobi_identity(X, Y, Z):
    bracket = polynomials.bracket
    cyclic = [bracket(X, bracket(Y, Z)), bracket(Y, bracket(Z, X)), bracket(Z, bracket(X, Y))]
    assert not any(polynomials.add(*(field.get(place, {}) for field in cyclic)) for place in range(3))


@pytest.mark.short
@FEW
@hypothesis.given(st.integers(1, 4), st.integers(1, 5), st.data())
def test_linear_algebra_modulo_a_prime_is_that_of_fractions(rows, columns, data):
    table = [[data.draw(st.integers(-3, 3)) for _ in range(columns)] for _ in range(rows)]
    exact = sp.Matrix(table)
    sparse = [{place: value for place, value in enumerate(row) if value} for row in table]
    vectors = modular.null_vectors(sparse, columns)
    assert len(vectors) == columns - exact.rank()
    for vector in vectors:
        assert exact * sp.Matrix([vector.get(place, 0) for place in range(columns)]) == sp.zeros(rows, 1)
    span, echelon = modular.Span(columns), modular.Echelon()
    assert sum(span.grow(np.array(row, dtype=np.int64)) for row in table) == exact.rank()
    assert sum(echelon.grow(row) for row in sparse) == exact.rank()


@pytest.mark.short
@FEW
@hypothesis.given(st.lists(st.integers(1, 3), min_size=2, max_size=5))
def test_laws_of_any_chain_in_integers(widths):
    """A law h of degree two is one if h(theta + v) = h(theta - v) for v = left' G right', whatever the integers."""
    found = conservation_laws(chain(*widths))
    rng = np.random.default_rng(widths)
    layers = [rng.integers(-9, 10, (rows, columns)) for columns, rows in itertools.pairwise(widths)]
    G = rng.integers(-9, 10, (widths[-1], widths[0]))
    velocity = []
    for place in range(len(layers)):
        left, right = np.eye(widths[-1], dtype=int), np.eye(widths[0], dtype=int)
        for layer in layers[:place]:
            right = layer @ right
        for layer in reversed(layers[place + 1 :]):
            left = left @ layer
        velocity.append(left.T @ G @ right.T)
    theta, v = (np.concatenate([array.ravel() for array in arrays]) for arrays in (layers, velocity))
    values = sp.lambdify([found.parameters], found.laws)
    assert values([int(t) for t in theta + v]) == values([int(t) for t in theta - v])
    assert found.independent <= found.count
    assert conservation_laws(chain(*widths), seed=5).rank == found.rank
