"""The shape of the package: imports point one way, files stay short, nothing global is flipped, names are frozen."""

import ast
import json
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.instant
ROOT = Path(__file__).resolve().parents[1]
LAYERS = ("theory", "solvers", "validate")
FILES = sorted(path for layer in LAYERS for path in (ROOT / layer).rglob("*.py"))
FRONT = sorted((ROOT / "learning_mechanics").glob("*.py"))
# what each layer may reach: itself and those before it; third-party packages that are kept out
ALLOWED = {"theory": {"theory"}, "solvers": {"theory", "solvers"}, "validate": set(LAYERS)}
FORBIDDEN = {
    "theory": {"jax", "jaxlib", "optax", "diffrax", "equinox", "sklearn", "matplotlib"},
    "solvers": {"sklearn", "matplotlib", "optax"},
    "validate": set(),
}


def imports(path):
    """Absolute dotted names of everything imported anywhere in a file, also inside functions, and those by name."""
    package = path.relative_to(ROOT).with_suffix("").parts
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield alias.name
        elif isinstance(node, ast.ImportFrom):
            base = package[: len(package) - node.level] if node.level else ()
            module = ".".join((*base, *((node.module,) if node.module else ())))
            yield from [f"{module}.{alias.name}" for alias in node.names] if not node.module else [module]
        elif isinstance(node, ast.Call) and getattr(node.func, "id", getattr(node.func, "attr", "")) in (
            "import_module",
            "__import__",
        ):
            for argument in node.args[:1]:
                if isinstance(argument, ast.Constant):
                    yield argument.value


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(ROOT)))
def test_imports_point_one_way(path):
    layer = path.relative_to(ROOT).parts[0]
    for name in imports(path):
        first = name.split(".")[0]
        assert first != "learning_mechanics", f"{path}: use a relative import instead of {name}"
        if first in LAYERS:
            assert first in ALLOWED[layer], f"{path} imports {name}"
        assert first not in FORBIDDEN[layer], f"{path} imports {name}"


def test_the_import_rule_would_notice(tmp_path):
    """The check above sees lazy, aliased and by-name imports."""
    planted = ROOT / "theory" / "planted.py"
    source = "def f():\n    import jax.numpy as np\n    from ..validate import judge\n    import_module('optax')\n"
    tree = ast.parse(source)
    assert len(list(ast.walk(tree))) > 3
    original = Path.read_text
    try:
        Path.read_text = lambda self, *a, **k: source if self == planted else original(self, *a, **k)
        assert {"jax.numpy", "validate", "optax"} <= set(imports(planted))
    finally:
        Path.read_text = original


@pytest.mark.parametrize("path", [*FILES, *FRONT], ids=lambda path: str(path.relative_to(ROOT)))
def test_files_are_short_and_say_their_idea(path):
    text = path.read_text()
    assert text.count("\n") <= 400
    assert ast.get_docstring(ast.parse(text)), f"{path} has no docstring"


@pytest.mark.parametrize("path", [*FILES, *FRONT], ids=lambda path: str(path.relative_to(ROOT)))
def test_public_functions_and_classes_are_documented(path):
    for node in ast.parse(path.read_text()).body:
        if isinstance(node, ast.FunctionDef | ast.ClassDef) and not node.name.startswith("_"):
            assert ast.get_docstring(node), f"{path}: {node.name} has no docstring"


FOLDERS = sorted({path.parent for path in FILES})


@pytest.mark.parametrize("folder", FOLDERS, ids=lambda path: str(path.relative_to(ROOT)))
def test_a_folder_holds_at_most_twelve_modules(folder):
    modules = [path.stem for path in folder.glob("*.py") if path.stem != "__init__"]
    assert len(modules) <= 12, sorted(modules)


def test_there_is_no_drawer_for_everything():
    assert not [path for path in FILES if path.stem in ("utils", "helpers", "misc", "common")]


def _in_a_fresh_process(code):
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT)
    assert run.returncode == 0, run.stderr
    return run.stdout


@pytest.mark.short
def test_importing_everything_flips_no_flag_of_jax():
    code = """
import jax, pkgutil, importlib, json
before = dict(jax.config.values)
import learning_mechanics
from learning_mechanics import theory, solvers, validate
for layer in (theory, solvers, validate):
    for module in pkgutil.walk_packages(layer.__path__, layer.__name__ + "."):
        importlib.import_module(module.name)
after = dict(jax.config.values)
print(json.dumps([name for name in before if before[name] != after[name]]))
assert jax.config.jax_enable_x64 is False
"""
    assert json.loads(_in_a_fresh_process(code)) == []


def test_the_command_line_loads_nothing_heavy():
    code = "import sys, learning_mechanics.cli as c; c.parser(); print(*(m.split('.')[0] for m in sys.modules))"
    loaded = set(_in_a_fresh_process(code).split())
    assert not loaded & {"jax", "sympy", "numpy", "scipy", "matplotlib", "sklearn", "networkx", "rich"}


@pytest.mark.short
def test_theory_works_without_jax():
    code = """
import sys
sys.modules["jax"] = None
import pkgutil, importlib
from learning_mechanics import theory
for module in pkgutil.walk_packages(theory.__path__, theory.__name__ + "."):
    importlib.import_module(module.name)
"""
    _in_a_fresh_process(code)


PUBLIC = """
Aligned Balanced Closure Converges Dataset Equals FixedPoint Flow Initialisation Invariant LambdaBalanced LargeDepth
Law Limit Map Network Node Optimizer PowerLaw Scales ScalingLaw ScikitLearnKernel Setup SmallInitialisation Theory
Threshold Whitened architecture chain check closed_form conservation_laws conserved cross_validation data_curve
diagnose document dynamics edge_of_chaos empirical_kernel errors exponents feature_learning fit_loss_surface
gaussian_process gradient_descent gradient_flow hermite_spectrum intrinsic_dimension jax_code kernel_training kernels
learning_curve level_coefficients marginal_stability matrices mean_field mechanisms models modes modified_flow
network_flow on_device one_hot optimal_ridge over parameter phase plot positive power_law_features power_law_phase
power_law_test predict random_features reduce run_claim scalars sharpness side_by_side signal_map solve spectra
symmetries trained_ensemble two_layer with_optimizer
""".split()


def test_public_names_are_frozen():
    """Adding a name is a decision: it is made here."""
    import learning_mechanics as lm

    assert sorted(lm._PUBLIC) == PUBLIC


@pytest.mark.short
@pytest.mark.parametrize("name", PUBLIC)
def test_public_names_resolve_and_are_documented(name):
    import learning_mechanics as lm

    assert getattr(lm, name).__doc__


@pytest.mark.short
def test_models_are_found_by_class_name():
    import learning_mechanics as lm

    for model in lm.models():
        assert getattr(lm, model.__name__) is model
    with pytest.raises(AttributeError, match="NoSuchModel"):
        _ = lm.NoSuchModel
