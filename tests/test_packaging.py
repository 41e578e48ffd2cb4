"""The wheel holds everything, the checkout runs uninstalled, and nothing can be imported under a second name."""

import os
import shutil
import subprocess
import sys
import time
import tomllib
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
LAYERS = ("theory", "solvers", "validate")
CLEAN = {key: value for key, value in os.environ.items() if key not in ("PYTHONPATH", "PYTHONWARNINGS")}


def run(*arguments, cwd=ROOT, **environment):
    return subprocess.run(
        [sys.executable, *arguments], capture_output=True, text=True, cwd=cwd, env={**CLEAN, **environment}
    )


@pytest.mark.instant
def test_every_package_is_listed():
    listed = set(tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["setuptools"]["packages"])
    found = {"learning_mechanics"} | {
        ".".join(("learning_mechanics", *path.parent.relative_to(ROOT).parts))
        for layer in LAYERS
        for path in (ROOT / layer).rglob("__init__.py")
    }
    assert listed == found


@pytest.mark.instant
def test_versions_agree():
    import learning_mechanics

    stated = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"]
    assert learning_mechanics.__version__ == stated


@pytest.mark.short
@pytest.mark.parametrize("layer", LAYERS)
def test_a_layer_refuses_to_be_imported_on_its_own(layer):
    done = run("-c", f"import {layer}")
    assert done.returncode == 1
    assert f"import learning_mechanics.{layer}, not {layer}" in done.stderr


@pytest.mark.short
def test_a_checkout_runs_uninstalled_from_elsewhere(tmp_path):
    done = run("-m", "learning_mechanics", "--help", cwd=tmp_path, PYTHONPATH=str(ROOT))
    assert done.returncode == 0 and "usage: learning-mechanics" in done.stdout


@pytest.mark.short
def test_a_checkout_without_links_runs(tmp_path):
    """Links become text files where the file system has none; only type checkers and editors miss them."""
    for folder in (*LAYERS, "learning_mechanics"):
        shutil.copytree(ROOT / folder, tmp_path / folder, symlinks=True, ignore=shutil.ignore_patterns("__pycache__"))
    for layer in LAYERS:
        link = tmp_path / "learning_mechanics" / layer
        link.unlink()
        link.write_text(f"../{layer}")
    done = run("-c", "from learning_mechanics.theory import setup; print(setup.__file__)", cwd=tmp_path)
    assert done.stdout.strip() == str(tmp_path / "theory" / "setup.py"), done.stderr


@pytest.mark.short
def test_help_answers_at_once():
    """0.4 s for --help; the best of five, because the machine may be busy."""
    seconds = []
    for _ in range(5):
        start = time.perf_counter()
        assert run("-m", "learning_mechanics", "--help").returncode == 0
        seconds.append(time.perf_counter() - start)
    assert min(seconds) < 0.4


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
    """Built from a copy, with the setuptools at hand if it is recent enough, else with the one pip fetches."""
    source, target = tmp_path_factory.mktemp("source"), tmp_path_factory.mktemp("wheel")
    for name in (*LAYERS, "learning_mechanics"):
        shutil.copytree(ROOT / name, source / name, symlinks=True, ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, source / name)
    recent = run("-c", "import setuptools as s; exit(int(s.__version__.split('.')[0]) < 77)").returncode == 0
    if recent:
        code = f"from setuptools.build_meta import build_wheel; build_wheel({str(target)!r})"
        done = run("-c", code, cwd=source)
    else:
        done = run("-m", "pip", "wheel", "--no-deps", "--wheel-dir", str(target), str(source))
    assert done.returncode == 0, done.stderr
    return next(target.glob("*.whl"))


@pytest.mark.short
def test_the_wheel_holds_every_module_and_data_file(wheel):
    held = set(zipfile.ZipFile(wheel).namelist())
    wanted = {f"learning_mechanics/{path.name}" for path in (ROOT / "learning_mechanics").glob("*.*")}
    for layer in LAYERS:
        for path in (ROOT / layer).rglob("*"):
            if path.is_file() and "__pycache__" not in path.parts:
                wanted.add(f"learning_mechanics/{path.relative_to(ROOT).as_posix()}")
    assert wanted <= held, sorted(wanted - held)
    outside = {name.split("/")[0] for name in held}
    assert outside == {"learning_mechanics", next(n for n in outside if n.endswith(".dist-info"))}


@pytest.mark.short
def test_the_unpacked_wheel_works_away_from_the_checkout(wheel, tmp_path):
    zipfile.ZipFile(wheel).extractall(tmp_path / "site")
    code = "import learning_mechanics as lm; a = lm.scalars('a'); print(lm.Dataset.__module__, lm.__file__)"
    done = run("-c", code, cwd=tmp_path, PYTHONPATH=str(tmp_path / "site"))
    assert done.stdout.startswith("learning_mechanics.theory.dataset " + str(tmp_path)), done.stderr
