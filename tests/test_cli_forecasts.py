"""Forecasts on record from the command line: registered, settled, gone on with, and never edited."""

import numpy as np
import pytest
from command_line import answer, refused

from learning_mechanics.cli import main

pytestmark = pytest.mark.short


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Two forecasts: of a task by name, and of the user's own table."""
    home = tmp_path_factory.mktemp("home")
    rng = np.random.default_rng(0)
    x = rng.standard_normal((1100, 300)) * np.arange(1.0, 301) ** -0.7
    np.savez(home / "own.npz", x=x, y=x @ rng.standard_normal(300) + 0.1 * rng.standard_normal(1100))
    made = home / "forecasts"
    assert main(["predict", "digits_parity", "--register", str(made), "--json"]) == 0
    own = ["predict", str(home / "own.npz"), "--kernel", "linear", "--ridge", "0.1", "--sizes", "25,50,100,200"]
    assert main([*own, "--register", str(made), "--json"]) == 0
    return made


def test_settling_scores_every_forecast_once(folder, capsys):
    command = ["validate", "--against", folder, "--budget", "6"]
    found = answer(capsys, *command)
    assert len(found["scores"]) == 2 and found["summary"]["forecasts"] == 2
    assert all(score["facts"]["runs"] >= 3 for score in found["scores"])
    assert main([str(part) for part in command]) == 0
    text = capsys.readouterr().out
    assert text.count("kept: scored before") == 2 and "2 forecasts:" in text
    assert len(list(folder.glob("scores/*/*.json"))) == 2


def test_the_same_question_is_left_alone_and_an_edit_is_noticed(folder, capsys, tmp_path):
    assert main(["predict", "digits_parity", "--register", str(folder)]) == 0
    assert "registered before" in capsys.readouterr().out
    copy = tmp_path / "forecasts"
    (copy / "forecasts").mkdir(parents=True)
    for path in (folder / "forecasts").iterdir():
        (copy / "forecasts" / path.name).write_text(path.read_text().replace('"level": 0.9', '"level": 0.5'))
    assert "edited after it was registered" in refused(capsys, "validate", "--against", copy)


def test_what_cannot_be_done_is_one_line(folder, capsys, tmp_path):
    assert "no model given" in refused(capsys, "validate")
    assert "no forecasts" in refused(capsys, "validate", "--against", tmp_path)
    assert "settles forecasts" in refused(capsys, "validate", "deep-linear", "--against", folder)
    assert "give seconds" in refused(capsys, "validate", "--against", folder, "--budget", "-1", "--seed", "5")
    assert main(["validate", "--against", str(folder), "--budget", "1e-6", "--seed", "5"]) == 2
    assert capsys.readouterr().err.count("raise --budget") == 2
    line = refused(capsys, "predict", "digits_parity", "--register", tmp_path / "f", "--plot", tmp_path / "a.png")
    assert "leave out --plot" in line
    assert "rows are kept" in refused(capsys, "predict", "terrain", "--register", tmp_path / "f", "--sizes", "100,1100")
    assert not (tmp_path / "f").exists()


def test_data_that_changed_are_refused(folder, capsys):
    own = folder.parent / "own.npz"
    content = dict(np.load(own))
    try:
        np.savez(own, **{**content, "y": content["y"] + 1})
        assert main(["validate", "--against", str(folder), "--seed", "7", "--budget", "4"]) == 2
        out, err = capsys.readouterr()
        assert "1 forecast:" in out and err.count("\n") == 1 and "the forecast was made for" in err
    finally:
        np.savez(own, **content)


def test_a_forecast_that_rests_on_what_fails_says_so_when_it_is_registered(capsys, tmp_path):
    assert main(["predict", "unseen_words", "--register", str(tmp_path / "f")]) == 0
    out, err = capsys.readouterr()
    assert "Registered forecast" in out and "warning: repeated inputs is" in err


def test_a_learner_on_a_task_is_registered_and_settled_within_the_budget(capsys, tmp_path):
    """Random neurons, as many draws as two seconds allow; another seed draws others and scores once more."""
    home = tmp_path / "learners"
    asked = ["predict", "digits_parity", "--learner", "neurons-relu", "--register", home]
    made = answer(capsys, *asked)
    assert made["question"]["axis"] == "parameters" and made["question"]["learner"] == "neurons-relu"
    settled = ["validate", "--against", home, "--budget", "2"]
    first, other = answer(capsys, *settled), answer(capsys, *settled, "--seed", "3")
    assert 2 <= first["scores"][0]["facts"]["runs"] <= 24
    assert first["scores"][0]["measured"] != other["scores"][0]["measured"]
    assert answer(capsys, *settled)["scores"] == first["scores"]
    for extra, said in (
        (["--axis", "steps"], "measured along parameters"),
        (["--ridge", "0.1"], "leave out --kernel"),
        (["--sizes", "8,20,80"], "two ends"),
    ):
        assert said in refused(capsys, *asked, *extra)
    assert "--register" in refused(capsys, "predict", "digits_parity", "--learner", "relu-2")
    assert "unknown learner" in refused(capsys, "predict", "terrain", "--learner", "relu2", "--register", home)
