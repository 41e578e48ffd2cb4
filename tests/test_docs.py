"""Everything shown to a reader is run: docstrings, the README's Python, and the notebooks."""

import doctest
import importlib
import pkgutil
import re
import runpy
import sys
import warnings
from pathlib import Path

import pytest

from learning_mechanics import solvers, theory, validate

ROOT = Path(__file__).resolve().parents[1]
NAMES = [
    name
    for layer in (theory, solvers, validate)
    for name in (layer.__name__, *(m.name for m in pkgutil.walk_packages(layer.__path__, layer.__name__ + ".")))
]
NAMES += [
    "learning_mechanics",
    *(f"learning_mechanics.{p.stem}" for p in (ROOT / "learning_mechanics").glob("[a-z]*.py")),
]
SCRIPTS = sorted((ROOT / "notebooks").glob("*.py"))
README = ROOT / "README.md"


@pytest.mark.short
@pytest.mark.parametrize("name", NAMES)
def test_docstrings_run(name):
    failed, _ = doctest.testmod(importlib.import_module(name), optionflags=doctest.ELLIPSIS)
    assert failed == 0


@pytest.mark.short
def test_the_readme_runs(tmp_path, monkeypatch):
    """All Python blocks in order, in one namespace, from an empty folder."""
    blocks = re.findall(r"```python\n(.*?)```", README.read_text(), re.DOTALL)
    assert blocks
    monkeypatch.chdir(tmp_path)
    namespace = {"__name__": "readme"}
    for number, block in enumerate(blocks, 1):
        exec(compile(block, f"README block {number}", "exec"), namespace)


@pytest.mark.short
def test_whatever_a_call_gives_can_be_drawn_and_shows_a_card():
    """Scaling law, learning curve, run and prediction have a figure; every record is a card, no wall of numbers."""
    import numpy as np

    import learning_mechanics as lm
    from learning_mechanics.validate.judging.check import run_claim

    x = np.random.default_rng(0).standard_normal((600, 20)) * np.arange(1, 21) ** -0.75
    forecast = lm.exponents(lm.KernelRegression(kernel=lm.kernels.ntk(depth=2)).on(x, x @ np.ones(20)))
    run = run_claim(lm.DeepLinear(), "balance_drift")
    for drawable in (forecast, forecast.samples, forecast.samples.curve, run, run.prediction):
        assert lm.plot(drawable).axes[0].lines
    closed = lm.closed_form(lm.DeepLinear(depth=3).derive())
    for record in (forecast, forecast.samples, run.prediction, run.verdict, closed):
        assert repr(record) == str(record) and len(str(record).splitlines()) <= 20


@pytest.mark.instant
def test_the_readme_links_exist():
    for target in re.findall(r"\]\(([^)#:\s]+)\)|src=\"([^\":]+)\"", README.read_text()):
        path = next(filter(None, target))
        assert (ROOT / path).exists(), path


@pytest.mark.short
@pytest.mark.parametrize("script", SCRIPTS, ids=lambda path: path.stem)
def test_notebook_scripts_run(script, tmp_path, monkeypatch, capsys):
    import matplotlib

    matplotlib.use("agg")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setitem(sys.modules, "__main__", sys.modules["__main__"])
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message=".*non-interactive.*", category=UserWarning)  # plt.show() under agg
        runpy.run_path(str(script), run_name="notebook")
    import matplotlib.pyplot as plt

    plt.close("all")


@pytest.mark.instant
@pytest.mark.parametrize("script", SCRIPTS, ids=lambda path: path.stem)
def test_notebooks_hold_their_script_and_its_output(script):
    """The committed notebook is the script, executed without an error."""
    jupytext = pytest.importorskip("jupytext")
    notebook = jupytext.read(script.with_suffix(".ipynb"))
    source = jupytext.read(script)
    assert [cell.source for cell in notebook.cells] == [cell.source for cell in source.cells]
    code = [cell for cell in notebook.cells if cell.cell_type == "code"]
    assert any(cell.outputs for cell in code)
    assert not [out for cell in code for out in cell.outputs if out.output_type == "error"]


@pytest.mark.long
@pytest.mark.parametrize("script", SCRIPTS, ids=lambda path: path.stem)
def test_notebooks_execute_in_a_kernel(script, monkeypatch):
    nbclient = pytest.importorskip("nbclient")
    nbformat = pytest.importorskip("nbformat")
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    notebook = nbformat.read(script.with_suffix(".ipynb"), as_version=4)
    nbclient.NotebookClient(notebook, timeout=300, kernel_name="python3").execute()
