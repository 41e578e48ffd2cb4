"""Documents: complete, compilable, lossless; the Python module verifies itself alone and finds planted errors."""

import json
import re
import shutil
import subprocess
import sys
from dataclasses import replace
from functools import cache

import numpy as np
import pytest
import sympy as sp

import learning_mechanics as lm
from learning_mechanics.derive_commands import written
from learning_mechanics.theory.document.array_printer import helpers, source
from learning_mechanics.theory.document.document import document
from learning_mechanics.theory.document.exact_text import read_trail
from learning_mechanics.theory.document.python_module import python_module
from learning_mechanics.theory.errors import CannotCompile
from learning_mechanics.theory.model import find, names
from learning_mechanics.theory.symbols import modes, over
from learning_mechanics.theory.system import Flow
from learning_mechanics.theory.trail import Equations

pytestmark = pytest.mark.short
X = sp.Symbol("x")
# a fresh interpreter without the user's paths, in which neither this package nor SymPy can be imported
BLOCKED = """
import runpy, sys
class Blocker:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in ("learning_mechanics", "sympy", "jax", "scipy"):
            raise ImportError(name)
sys.meta_path.insert(0, Blocker())
runpy.run_path(sys.argv[1], run_name="__main__")
"""


@cache
def content(name):
    return document(find(name)())


def ran(path):
    """Exit status and lines of a module run on its own."""
    command = [sys.executable, "-I", "-c", BLOCKED, str(path)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120)
    return done.returncode, done.stdout.splitlines(), done.stderr


@pytest.mark.parametrize("name", names())
def test_the_python_module_of_every_model_verifies_itself_alone(name, tmp_path):
    path = tmp_path / "derived.py"
    path.write_text(python_module(content(name)))
    status, lines, errors = ran(path)
    assert status == 0 and lines[-1].startswith("PASS"), (lines, errors)
    assert not [line for line in lines if line.startswith("FAIL")]


CORE = ("deep-linear", "edge-of-stability", "kernel-regression", "sgd-least-squares")
KINDS = [pytest.param(name, kind) for name in names() for kind in ("text", "latex")]
KINDS += [pytest.param(name, kind) for name in CORE for kind in ("html", "json")]
KINDS += [
    pytest.param(name, kind, marks=pytest.mark.long)
    for name in names()
    for kind in ("html", "json")
    if name not in CORE
]


@pytest.mark.parametrize(("name", "kind"), KINDS)
def test_every_model_is_written_whole(name, kind):
    made = content(name)
    text = written(made, kind)
    assert made.sections and all(section.trail.steps for section in made.sections)
    if kind == "json":
        assert str(read_trail(json.loads(text)["steps"])) == str(read_trail(made.to_dict()["steps"]))
        return
    assert len(made.references) == len({entry["key"] for entry in made.references})
    if kind == "latex":
        assert text.count("{") == text.count("}") and text.count(r"\begin") == text.count(r"\end")
        for command in set(re.findall(r"\\cite\{([^}]*)\}", text)):
            assert all(rf"\bibitem{{{key}}}" in text for key in command.split(","))
    if kind == "html":
        assert text.count("<svg") >= len(made.sections) and not re.search(r"(src|href)=\"(http|//)", text)
        for target in set(re.findall(r'href="#([^"]+)"', text)):
            assert f'id="{target}"' in text, target
    if kind == "text":
        for number in range(1, len(made.steps) + 1):
            assert f"\n  {number}. " in text


@pytest.mark.long
@pytest.mark.skipif(not shutil.which("pdflatex"), reason="no LaTeX here")
@pytest.mark.parametrize("name", names())
def test_latex_compiles(name, tmp_path):
    (tmp_path / "derived.tex").write_text(written(content(name), "latex"))
    command = ["pdflatex", "-interaction=nonstopmode", "-halt-on-error", "derived.tex"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, errors="replace", timeout=120)
    assert done.returncode == 0, done.stdout[-1500:]
    assert "Overfull \\hbox" not in done.stdout


def planted(made, number, wrong):
    """The document with the mathematics of one step replaced."""
    steps = list(made.steps)
    steps[number - 1] = replace(steps[number - 1], result=wrong(steps[number - 1].result))
    return replace(made, steps=tuple(steps))


def doubled(result):
    rows = tuple((left, right * 2 if place == 0 else right) for place, (left, right) in enumerate(result.rows))
    return Equations(rows, result.kind)


def gaps(made):
    """Name and gap of every verification of a module, run in this process, one after the other."""
    module = {"__name__": "derived"}
    exec(python_module(made), module)
    yield from module["checks"]()


@pytest.mark.parametrize("name", CORE)
def test_a_planted_error_in_any_verified_step_is_found(name):
    """Every step that the module verifies is spoiled in turn: doubled right-hand side of its first equation."""
    made = content(name)
    steps = [int(number) for number in re.findall(r'yield "(\d+)\. ', python_module(made))]
    assert steps
    for number in steps:
        if made.steps[number - 1].rule.split(":")[0] in ("first crossing", "oscillation starts"):
            continue  # what these verify is what was put in: see below
        assert any(gap > 1e-3 for _, gap in gaps(planted(made, number, doubled))), number


def test_a_planted_error_makes_the_program_fail(tmp_path):
    path = tmp_path / "wrong.py"
    path.write_text(python_module(planted(content("deep-linear"), 3, doubled)))
    status, lines, _ = ran(path)
    assert status == 1 and lines[-1].startswith("FAIL") and any(line.startswith("FAIL  3. gradient") for line in lines)


@pytest.mark.parametrize("rule", ["first crossing: z = -1", "oscillation starts: double root"])
def test_a_wrong_threshold_is_found(rule):
    made = content("edge-of-stability")
    (number,) = (n for n, step in enumerate(made.steps, 1) if step.rule == rule)
    steps = list(made.steps)
    steps[number - 1] = replace(steps[number - 1], given=doubled(steps[number - 1].given))
    assert dict(gaps(replace(made, steps=tuple(steps))))[f"{number}. {rule}"] > 1e-3


def test_a_wrong_closed_form_is_found():
    made = content("deep-linear")
    sections = list(made.sections)
    place = next(n for n, section in enumerate(sections) if section.title == "mode law")
    solution = replace(sections[place].solution, expression=sections[place].solution.expression * 1.001)
    sections[place] = replace(sections[place], solution=solution)
    assert dict(gaps(replace(made, sections=tuple(sections))))["mode law: closed form"] > 1e-4


def test_the_functions_of_a_module_are_the_derived_equations():
    """Against the gradient of the loss, written out here by hand for two layers."""
    module = {"__name__": "derived"}
    exec(python_module(content("deep-linear")), module)
    rng = np.random.default_rng(3)
    W1, W2, S, C = (rng.standard_normal(shape) for shape in ((4, 3), (2, 4), (3, 3), (2, 3)))
    state, parameters = {"W1": W1, "W2": W2}, {"Sigma_xx": S @ S.T, "Sigma_yx": C}
    error = C - W2 @ W1 @ S @ S.T
    rates = module["MatrixFlow"].flow(0.0, state, parameters)
    assert np.allclose(rates["W1"], W2.T @ error, rtol=1e-13) and np.allclose(rates["W2"], error @ W1.T, rtol=1e-13)
    start = {"a": np.array([0.01, 0.5])}
    late = module["ModeLaw"].closed_form(50.0, start, {"s": np.array([2.0, 1.0])})["a"]
    assert np.allclose(late, [2.0, 1.0], rtol=1e-12)


def test_a_module_speaks_jax_when_told():
    import jax
    import jax.numpy as jnp

    module = {"__name__": "derived"}
    exec(python_module(content("deep-linear")), module)
    module["numpy"] = jnp
    flow = jax.jit(lambda a: module["ModeLaw"].flow(0.0, {"a": a}, {"s": 2.0})["a"])
    assert float(flow(0.5)) == pytest.approx(2 * 0.5 * 1.5, rel=1e-6)
    assert float(jax.grad(flow)(0.5)) == pytest.approx(2 * 2.0 - 4 * 0.5, rel=1e-6)


@pytest.mark.parametrize("seed", range(10))
def test_wright_omega_of_a_module_is_the_function(seed):
    from scipy.special import wrightomega

    z = np.random.default_rng(seed).uniform(-30, 300, 50)
    space = {"numpy": np}
    from learning_mechanics.theory.document.array_printer import HELPERS

    exec(HELPERS["wright_omega"], space)
    assert np.allclose(space["wright_omega"](z), wrightomega(z), rtol=1e-13)


def test_hypergeometric_series_is_the_function():
    from scipy.special import hyp2f1

    from learning_mechanics.theory.document.array_printer import HELPERS

    space = {"numpy": np}
    exec(HELPERS["hypergeometric"], space)
    z = np.concatenate([np.linspace(0, 1, 40)[:-1], 1 - np.logspace(-12, -1, 12)])
    for b in (-1 / 3, -1 / 2, -2 / 3, -5 / 7, 0.4):
        exact = hyp2f1(1, b, 1 + b, z)
        assert np.allclose(space["hypergeometric"](1, b, 1 + b, z), exact, rtol=1e-11)
        assert np.allclose(space["hypergeometric"](b, 1, 1 + b, z), exact, rtol=1e-11)
    with pytest.raises(ValueError, match="only 2F1"):
        space["hypergeometric"](1, 0.5, 2.5, z)


def test_modes_are_summed_over_the_last_axis():
    lam, c = modes("lambda c")
    value = eval(source(over(lam * c)), {"numpy": np, "lambda_": np.array([1.0, 2.0]), "c": np.array([3.0, 4.0])})
    assert value == 11.0


@pytest.mark.parametrize("depth", [1, 4, 7, float("inf")])
def test_modules_of_any_depth_verify_themselves(depth):
    found = dict(gaps(document(lm.DeepLinear(depth=depth))))
    assert found and max(found.values()) < 1e-6


def test_sections_share_the_numbers_of_steps():
    made = content("deep-linear")
    shown = [number for section in made.sections for number in section.fresh]
    assert shown == list(range(1, len(made.steps) + 1))
    first, second = made.sections[:2]
    assert set(first.numbers) <= set(second.numbers) and not set(first.fresh) & set(second.fresh)


def test_a_system_alone_is_a_document():
    x, k = sp.symbols("x k", positive=True)
    made = lm.document(Flow((x,), (-k * x,)), "Decay")
    assert "x_0*exp(-k*t)" in str(made) and made.title == "Decay" and made.references == ()


def test_both_kinds_of_source_share_their_special_functions():
    """Absolute values, Lambert's W and the error function as printed for NumPy and for JAX, against SciPy."""
    import jax
    from scipy.special import erf, lambertw

    u, s = sp.symbols("u s", positive=True)
    equation, exact = sp.Abs(u - s) + sp.LambertW(u * sp.exp(s)) + sp.erf(u), 0.6 + erf(0.7)
    exact += lambertw(0.7 * np.exp(1.3)).real
    space: dict = {"u": 0.7, "s": 1.3, "numpy": np}
    exec(helpers(source(equation)), space)
    assert eval(source(equation), space) == pytest.approx(exact, rel=1e-13)
    exec(lm.jax_code(Flow((u,), (equation,))), space)
    with jax.enable_x64(True):
        assert float(space["velocity"](0.7, 1.3)) == pytest.approx(exact, rel=1e-13)


@pytest.mark.parametrize(
    "expression, name", [(sp.zeta(X), "zeta"), (sp.RootSum(X**3 - X + 1, sp.Lambda(X, sp.log(X))), "RootSum")]
)
def test_what_has_no_counterpart_is_named(expression, name):
    with pytest.raises(CannotCompile, match=rf"^{name} has no numpy counterpart"):
        source(expression)


def test_functions_of_entries_keep_what_they_are_applied_to_together():
    A, B = sp.MatrixSymbol("A", 2, 2), sp.MatrixSymbol("B", 2, 2)
    z = sp.Symbol("z")
    arrays = {"A": np.arange(4.0).reshape(2, 2), "B": np.eye(2), "numpy": np}
    squared = eval(source((A + B).applyfunc(sp.Lambda(z, z**2 - sp.sin(z)))), dict(arrays))
    total = arrays["A"] + arrays["B"]
    assert np.allclose(squared, total**2 - np.sin(total), rtol=1e-15)
