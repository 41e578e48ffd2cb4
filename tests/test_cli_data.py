"""The command line on the user's own data, logs and tables."""

import json

import numpy as np
import pytest
from command_line import answer, refused

from learning_mechanics.cli import main

pytestmark = pytest.mark.short


@pytest.fixture(scope="module")
def own_data(tmp_path_factory):
    """A small regression with correlated inputs, as a file."""
    rng = np.random.default_rng(0)
    x = rng.standard_normal((120, 6)) @ rng.standard_normal((6, 6))
    y = x @ rng.standard_normal((6, 2)) + 0.1 * rng.standard_normal((120, 2))
    path = tmp_path_factory.mktemp("own") / "data.npz"
    np.savez(path, x=x / x.std(), y=y)
    return path


def gradient_descent(x, y, W1, W2, rate, steps):
    """NumPy, written out by hand: balance D = W2'W2 - W1W1' of two linear layers at every step."""
    for _ in range(steps + 1):
        yield W2.T @ W2 - W1 @ W1.T
        error = x @ W1.T @ W2.T - y
        g1, g2 = W2.T @ error.T @ x / len(x), error.T @ x @ W1.T / len(x)
        W1, W2 = W1 - rate * g1, W2 - rate * g2


@pytest.fixture(scope="module")
def own_run(own_data, tmp_path_factory):
    """The user's own training, logged, with its initial weights: prepared as the claim prepares its data."""
    folder = tmp_path_factory.mktemp("run")
    arrays = np.load(own_data)
    x, y = arrays["x"] - arrays["x"].mean(0), arrays["y"]
    rng = np.random.default_rng(1)
    W1, W2 = 0.3 * rng.standard_normal((12, 6)), 0.3 * rng.standard_normal((2, 12))
    np.savez(folder / "start.npz", W1=W1, W2=W2)
    curve = np.array([balance.ravel() for balance in gradient_descent(x, y, W1, W2, 0.05, 200)])
    header = ",".join(["step", *(f"balancedness[{i}]" for i in range(curve.shape[1]))])
    np.savetxt(
        folder / "log.csv",
        np.column_stack([np.arange(201), curve]),
        delimiter=",",
        header=header,
        comments="",
        fmt=["%d"] + ["%.17g"] * curve.shape[1],
    )
    return folder


def check_own(own_data, own_run, log="log.csv"):
    return (
        *("check", "deep-linear", "balance_drift", "--data", own_data, "--log", own_run / log),
        *("--start", own_run / "start.npz", "--set", "learning_rate=0.05", "--set", "width=12"),
    )


def test_a_users_own_log_is_judged(capsys, own_data, own_run):
    verdict = answer(capsys, *check_own(own_data, own_run))
    assert verdict["outcome"] == "holds" and verdict["device"] == "the user's log"


def test_a_users_log_with_another_rate_is_refuted(capsys, own_data, own_run):
    arguments = [
        str(argument).replace("learning_rate=0.05", "learning_rate=0.051") for argument in check_own(own_data, own_run)
    ]
    assert answer(capsys, *arguments, status=1)["outcome"] == "refuted"


def test_a_log_that_misses_the_steps_says_which_are_needed(capsys, own_data, own_run):
    rows = (own_run / "log.csv").read_text().splitlines()
    (own_run / "sparse.csv").write_text("\n".join([rows[0], *rows[2::7]]))
    line = refused(capsys, *check_own(own_data, own_run, "sparse.csv"))
    assert "record every step, or at least 0, 10, 20" in line


def test_a_claim_is_checked_on_the_users_own_data(capsys, own_data):
    verdict = answer(capsys, "check", "deep-linear", "balance_drift", "--data", own_data, "--set", "learning_rate=0.05")
    assert verdict["outcome"] == "holds"


def test_a_learning_rate_that_diverges_is_one_line(capsys, own_data):
    line = refused(capsys, "check", "deep-linear", "balance_drift", "--data", own_data, "--set", "learning_rate=50")
    assert "learning rate" in line


def test_diagnose_gives_json(capsys, own_data):
    card = answer(capsys, "diagnose", own_data)
    assert card["samples"] == 120 and card["rank"] == 6
    assert {entry["model"] for entry in card["models"]} >= {"deep-linear"}
    assert main(["diagnose", str(own_data)]) == 0
    assert "rank         6 of 6" in capsys.readouterr().out


def test_duplicates_warn_in_one_line(capsys, tmp_path):
    x = np.random.default_rng(0).standard_normal((40, 3))
    x[1] = x[0]
    np.savez(tmp_path / "d.npz", x=x, y=x[:, 0])
    assert main(["diagnose", str(tmp_path / "d.npz"), "--json"]) == 0
    out, err = capsys.readouterr()
    assert json.loads(out)["duplicates"] == 1
    assert err == "warning: d.npz: 1 rows repeat an earlier input, so halves of the data share samples\n"


@pytest.fixture(scope="module")
def linear_task(tmp_path_factory):
    """600 Gaussian rows with covariance k^-1.5 and a noiseless linear target."""
    rng = np.random.default_rng(0)
    x = rng.standard_normal((600, 60)) * np.arange(1, 61) ** -0.75
    path = tmp_path_factory.mktemp("linear") / "task.npz"
    np.savez(path, x=x, y=x @ np.ones(60))
    return path


def test_predict_forecasts_draws_and_never_overwrites(capsys, linear_task, tmp_path):
    """The forecast slope against kernel regression done here by hand, within its own 90 % half-width and spread."""
    figure, output = tmp_path / "curve.png", tmp_path / "forecast.json"
    arguments = ("predict", linear_task, "--kernel", "linear", "--sizes", "10,15,20,30")
    found = answer(capsys, *arguments, "--plot", figure, "--output", output)
    assert json.loads(output.read_text()) == found
    found = found["samples"]
    assert found["window"] == [10, 30]
    assert figure.read_bytes()[:4] == b"\x89PNG"
    data, rng, sizes = np.load(linear_task), np.random.default_rng(1), [10, 15, 20, 30]
    errors = np.empty((200, 4))
    for trial in range(200):
        order = rng.permutation(600)
        for column, n in enumerate(sizes):
            weights = np.linalg.lstsq(data["x"][order[:n]], data["y"][order[:n]], rcond=None)[0]
            errors[trial, column] = ((data["x"][order[n:]] @ weights - data["y"][order[n:]]) ** 2).mean()
    measured = -np.polyfit(np.log(sizes), np.log(errors.mean(0)), 1)[0]
    assert abs(found["value"] - measured) < found["error"]
    for flag, path in (("--plot", figure), ("--output", output)):
        before = path.read_bytes()
        assert "exists" in refused(capsys, *arguments, flag, path)
        assert path.read_bytes() == before
    assert main([*map(str, arguments), "--plot", str(figure), "--force"]) == 0
    assert "Scaling law" in capsys.readouterr().out


def test_predict_refuses_what_it_cannot_do(capsys, own_data, linear_task, tmp_path):
    assert "120 samples resolve" in refused(capsys, "predict", own_data, "--kernel", "linear")
    assert "600 samples but size 700" in refused(capsys, "predict", linear_task, "--sizes", "50,700")
    data = np.load(linear_task)
    x = data["x"].copy()
    x[7] = x[3]
    np.savez(tmp_path / "conflict.npz", x=x, y=data["y"])
    assert main(["predict", str(tmp_path / "conflict.npz")]) == 2
    err = capsys.readouterr().err.splitlines()
    assert len(err) == 2 and err[0].startswith("warning: conflict.npz: 1 rows repeat")
    assert "rows 3 and 7 have equal inputs but different targets (1 such rows)" in err[1]


def test_a_claim_that_needs_more_samples_says_so(capsys, own_data):
    line = refused(capsys, "check", "kernel-regression", "finite_population", "--data", own_data)
    assert "120 samples but the claim finite_population needs 400" in line


def test_a_claim_about_a_distribution_takes_no_data(capsys, own_data):
    line = refused(capsys, "check", "kernel-regression", "gaussian_features", "--data", own_data)
    assert "a claim about a stated distribution" in line


def test_tasks_are_data_like_any_other(capsys, tmp_path, monkeypatch):
    """By name wherever data are read; a name that is a data set as well is the task where a kernel is asked."""
    from argparse import Namespace
    from pathlib import Path

    from learning_mechanics.data_commands import read

    monkeypatch.chdir(tmp_path)
    found = answer(capsys, "predict", "cells", "--sizes", "30,60,120,240")
    assert found["data"] == "cells" and found["samples"]["window"] == [30, 240]
    assert len(read(Namespace(file=Path("digits_parity"), target=None, inputs=None, regression=None))) == 1797
    options = {"target": None, "inputs": None, "regression": None}
    task, plain = (read(Namespace(file=Path("cells"), **options), ready=ready) for ready in (True, False))
    assert np.linalg.norm(task.x, axis=1) == pytest.approx(1) and plain.x.std(0) == pytest.approx(1)
    assert "did you mean 'digits_parity'?" in refused(capsys, "predict", "digit_parity")
    assert "or name a task: digits_classes" in refused(capsys, "predict", "qqq")
    np.savez("digits_party.npz", x=np.eye(3), y=np.arange(3.0))
    assert "did you mean" in refused(capsys, "predict", "digits_prty.npz")


def test_arrays_under_other_names_are_asked_for(capsys, tmp_path):
    x = np.random.default_rng(0).standard_normal((40, 3))
    np.savez(tmp_path / "d.npz", features=x, labels=x[:, 0])
    line = refused(capsys, "diagnose", tmp_path / "d.npz")
    assert "say which is which: --inputs NAME --target NAME, of features, labels" in line
    found = answer(capsys, "diagnose", tmp_path / "d.npz", "--inputs", "features", "--target", "labels")
    assert found["samples"] == 40


def test_a_table_of_runs_that_lacks_a_column_says_what_to_add(capsys, tmp_path):
    path = tmp_path / "runs.csv"
    path.write_text("params,loss\n1e7,4\n1e8,3\n")
    assert "no column of tokens is known among params, loss; add a column" in refused(capsys, "fit", path)
    path.write_text("params,seen,loss\n1e7,1e9,4\n1e8,1e9,3\n")
    assert "name it, say --tokens 'seen'" in refused(capsys, "fit", path)
    line = refused(capsys, "fit", path, "--parameters", "params", "--tokens", "params")
    assert "'params' is named for parameters and for tokens" in line
