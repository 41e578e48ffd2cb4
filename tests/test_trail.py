"""Trails: mathematics that prints as before, has LaTeX, and comes back exactly from its text."""

import json

import pytest
import sympy as sp

from learning_mechanics.theory.document.exact_text import read_expression, read_trail
from learning_mechanics.theory.dynamics.linear_networks import drift_map, gram_map, mode_flow, mode_map
from learning_mechanics.theory.dynamics.row_moments import row_second_moments
from learning_mechanics.theory.models.edge_of_stability import onset, threshold
from learning_mechanics.theory.regression.effective_ridge import effective_ridge
from learning_mechanics.theory.trail import Equations, Trail

pytestmark = pytest.mark.short
a, u, s = sp.symbols("a u s", positive=True)
SYSTEMS = {
    "mode flow": lambda: mode_flow(3),
    "mode map": lambda: mode_map(2),
    "Gram blocks": gram_map,
    "drift": drift_map,
    "rows of data": row_second_moments,
    "effective ridge": effective_ridge,
    "threshold of Adam": lambda: threshold("adam"),
    "onset of heavy ball": lambda: onset("heavy_ball"),
}


@pytest.mark.parametrize("name", SYSTEMS)
def test_a_trail_survives_its_text(name):
    trail = SYSTEMS[name]().trail
    plain = json.loads(json.dumps(trail.to_dict()))
    restored = read_trail(plain)
    assert str(restored) == str(trail) and restored.to_dict() == trail.to_dict()
    assert [step.residual for step in restored.steps] == [step.residual for step in trail.steps]


@pytest.mark.parametrize("name", SYSTEMS)
def test_every_step_with_mathematics_has_latex_with_balanced_braces(name):
    for step in SYSTEMS[name]().trail.steps:
        text = step.latex()
        assert text or isinstance(step.result, str)
        assert text.count("{") == text.count("}")


def test_old_callers_may_still_give_words():
    trail = Trail().then("said", "in words", check="by eye")
    assert str(trail) == "1. said: in words  (by eye)" and trail.steps[0].latex() == ""
    assert read_trail(trail.to_dict()) == trail


@pytest.mark.parametrize(
    ("kind", "expected", "latex"),
    [
        ("flow", "a' = s", r"\dot{a} = s"),
        ("map", "a+ = s", "a^{+} = s"),
        ("fixed point", "0 = s", "0 = s"),
        ("", "a = s", "a = s"),
    ],
)
def test_the_kind_is_the_left_side(kind, expected, latex):
    law = Equations(((a, s),), kind)
    assert str(law) == expected and law.latex() == latex


def test_numbers_of_checks_are_numbers():
    steps = {step.rule: step for step in mode_flow(3).trail.steps}
    assert 0 <= steps["gradient flow"].residual < 1e-12 and 0 <= steps["diagonalise"].residual < 1e-10
    assert steps["restrict"].residual == 0.0 and dict(steps["restrict"].given.rows)
    assert str(dict(steps["change to a = u**3"].given.rows)) == "{u: a**(1/3)}"


@pytest.mark.parametrize(
    "text",
    [
        "Function('p')(__import__('os'))",
        "Function('p+q')(Symbol('z'))",
        "Symbol('a').func",
        "Integer('2')",
        "open('x')",
    ],
)
def test_only_mathematics_is_read(text):
    with pytest.raises(ValueError, match="not an expression"):
        read_expression(text)


def test_names_of_functions_without_definition_come_back():
    polynomial = sp.Function("p")(sp.Symbol("z"))
    assert read_expression(sp.srepr(polynomial)) == polynomial
