"""`derive` and `reduce` on the command line: formats, files that are kept, hyperparameters and weights that fit."""

import json

import numpy as np
import pytest
from command_line import answer, refused

from learning_mechanics.cli import main

pytestmark = pytest.mark.short


@pytest.mark.parametrize(
    ("ending", "start"),
    [
        ("txt", "Edge of stability"),
        ("html", "<!DOCTYPE html>"),
        ("tex", r"\documentclass"),
        ("json", "{"),
        ("py", '"""Edge of stability'),
    ],
)
def test_the_name_of_the_file_says_the_format(capsys, tmp_path, ending, start):
    path = tmp_path / "deeper" / f"derived.{ending}"
    assert main(["derive", "edge-of-stability", "--output", str(path)]) == 0
    assert path.read_text(encoding="utf-8").startswith(start) and capsys.readouterr().out == ""


def test_a_file_is_kept_unless_told_otherwise(capsys, tmp_path):
    path = tmp_path / "derived.py"
    path.write_text("mine")
    assert "exists; choose another name or add --force" in refused(
        capsys, "derive", "edge-of-stability", "--output", path
    )
    assert path.read_text() == "mine"
    assert main(["derive", "edge-of-stability", "--output", str(path), "--force"]) == 0
    assert path.read_text().startswith('"""Edge')


def test_a_format_may_contradict_the_ending(tmp_path):
    path = tmp_path / "derived.txt"
    assert main(["derive", "edge-of-stability", "--format", "latex", "--output", str(path)]) == 0
    assert path.read_text().startswith(r"\documentclass")


def test_an_ending_that_means_nothing_is_refused_before_the_work(capsys, tmp_path):
    assert "unknown ending '.htm'; did you mean '.html'?" in refused(
        capsys, "derive", "edge-of-stability", "--output", tmp_path / "derived.htm"
    )
    assert not list(tmp_path.iterdir())


def test_json_says_what_was_written_or_everything(capsys, tmp_path):
    path = tmp_path / "derived.json"
    assert answer(capsys, "derive", "edge-of-stability", "--output", path) == {"written": str(path)}
    assert json.loads(path.read_text()) == answer(capsys, "derive", "edge-of-stability")


def test_python_is_printed_ready_to_run(capsys):
    assert main(["derive", "edge-of-stability", "--optimizer", "nesterov", "--format", "python"]) == 0
    namespace = {"__name__": "derived"}
    exec(capsys.readouterr().out, namespace)
    root = namespace["EdgeOfStability"].root({"eta": 0.1, "beta": 0.5})
    assert root["S"] == pytest.approx((2 + 2 * 0.5) / (0.1 * (1 + 2 * 0.5)), rel=1e-12)


@pytest.mark.parametrize(
    ("model", "parameter"),
    [
        *((name, "depth") for name in ("beyond-the-edge", "diagonal-linear", "linear-curvature", "orthogonal-descent")),
        *((name, "depth") for name in ("saddle-to-saddle", "weight-decay")),
        *(("finite-sample", "dim"), ("word-embedding", "dimension"), ("alternating-gradient-flow", "degree")),
    ],
)
def test_infinite_sizes_are_refused_where_they_mean_nothing(capsys, model, parameter):
    assert "give a whole number from" in refused(capsys, "derive", model, f"--{parameter}", "inf")


def test_initial_weights_given_to_reduce_must_fit(capsys, tmp_path):
    data, weights = tmp_path / "data.npz", tmp_path / "start.npz"
    rng = np.random.default_rng(0)
    np.savez(data, x=rng.standard_normal((30, 4)), y=rng.standard_normal((30, 2)))
    W1, W2 = rng.standard_normal((3, 4)), rng.standard_normal((2, 3))
    for given, said in (
        ({"W1": W1}, "no array W2; give all of W1, W2, or none"),
        ({"W1": W1, "V": W2}, "unknown array 'V'"),
        ({"W1": W1.T, "W2": W2}, "W1 has 4 rows and W2 3 columns"),
        ({"W1": W1[0], "W2": W2}, "W1 has shape (4,); give a matrix (out, in)"),
        ({"W1": W1[:, :3], "W2": W2}, "W1 has 3 where the data have 4 inputs"),
        ({"W1": W1, "W2": W2, "x": W1}, "x is data; give initial weights W1, W2, ..."),
    ):
        np.savez(weights, **given)
        assert said in refused(capsys, "reduce", "deep-linear", data, "--start", weights)
    np.savez(weights, W1=W1, W2=W2)
    assert main(["reduce", "deep-linear", str(data), "--start", str(weights)]) == 0
    assert "of P = W1.T*W1, R = W2*W1, T = W2*W2.T" in capsys.readouterr().out
