"""`derive` on the command line: every format, files that are kept, endings that are understood."""

import json

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
