"""Sums over modes: what stands before them, their derivatives by one entry, and what SymPy may not do to them."""

import numpy as np
import pytest
import sympy as sp

from learning_mechanics.theory.derivation.reduce import change_variables
from learning_mechanics.theory.errors import NoClosedForm
from learning_mechanics.theory.symbols import entry_derivative, modes, over, positive, spread
from learning_mechanics.theory.system import Flow

pytestmark = pytest.mark.instant

X, Y = modes("x y")
V, W = modes("v w", positive=None, real=True)
A = positive("a")


def number(expression, arrays, a=0.7):
    """The value on arrays of modes, summed by NumPy."""
    plain = {symbol: sp.Dummy() for symbol in (X, Y, V, W, A)}
    neutral = sp.sympify(expression).replace(over, sp.Function("over")).xreplace(plain)
    function = sp.lambdify(list(plain.values()), neutral, [{"over": lambda terms: np.sum(terms, axis=-1)}, "numpy"])
    return function(*(arrays[str(symbol)] for symbol in (X, Y, V, W)), a)


def test_sums_over_modes_differentiate_entry_by_entry_and_spread():
    assert entry_derivative(over(X * Y) ** 2, X) == 2 * Y * over(X * Y)
    assert spread(over((X + Y) ** 2)) == over(X**2) + 2 * over(X * Y) + over(Y**2)
    assert over(X * over(Y)) == over(X) * over(Y)
    assert spread(over(X * over(X * (X + Y)))) == over(X) * over(X**2) + over(X) * over(X * Y)


@pytest.mark.parametrize(
    "expression",
    [
        over(A * X * W**2) ** 2 / over(W**2),
        over(sp.exp(W * over(W**2 / 9))),
        sp.log(over(X * sp.sin(W) + over(V * W) ** 2 * W**2)),
        A + over(V),
    ],
)
def test_derivatives_by_an_entry_are_those_of_differences(expression):
    """Sums beside, inside and under other functions, against central differences at each of four entries."""
    rng = np.random.default_rng(3)
    arrays = {name: rng.uniform(0.4, 1.1, 4) for name in "xyvw"}
    derived = number(entry_derivative(expression, W), arrays) * np.ones(4)
    for k in range(4):
        up, down = ({**arrays, "w": arrays["w"] + sign * 1e-5 * np.eye(4)[k]} for sign in (1, -1))
        assert (number(expression, up) - number(expression, down)) / 2e-5 == pytest.approx(derived[k], abs=1e-8)


def test_an_entry_outside_of_the_sums_is_refused():
    with pytest.raises(NoClosedForm, match="outside of the sums"):
        entry_derivative(W * over(W), W)


@pytest.mark.parametrize("stand_in", [sp.Dummy("v", positive=True), sp.Dummy()])
def test_a_stand_in_for_a_mode_stays_in_its_sum(stand_in):
    """SymPy replaces symbols of unknown sign by dummies for a while, and puts them back."""
    summed = over(A * V * X)
    assert summed == A * over(V * X)
    assert summed.xreplace({V: stand_in}).xreplace({stand_in: V}) == summed
    assert sp.powdenest(sp.sqrt(over(V * X) ** 2 * V**2), force=True) == V * over(V * X)


def test_a_change_of_variables_keeps_modes_of_either_sign_in_their_sums():
    """z = 2 v under v' = x v - v^2 sum x v (y - v): by hand z' = x z - z^2 / 4 sum x z (y - z/2)."""
    flow = Flow((V,), (X * V - V**2 * over(X * V * (Y - V)),))
    changed = change_variables(flow, {"z": 2 * V})
    (z,), (rate,) = changed.unknowns, changed.equations
    assert spread(rate - (X * z - z**2 / 4 * over(X * z * (Y - z / 2)))) == 0
