"""The command `fit`: a table of runs in, a card, JSON, a page and a figure out; every mistake is one line."""

import argparse
import json
import re

import numpy as np
import pytest

from learning_mechanics import fit_commands
from learning_mechanics.theory.errors import BadData, LearningMechanicsError, UnknownName, WouldOverwrite
from learning_mechanics.validate.inputs.run_table import guess, read_runs


def law(n, d, E=1.8, A=480.0, B=2000.0, alpha=0.35, beta=0.37):
    return E + A * n**-alpha + B * d**-beta


@pytest.fixture
def columns():
    compute = np.repeat(np.geomspace(6e18, 3e21, 6), 9)
    n = np.sqrt(compute / 120) * 10 ** np.tile(np.linspace(-0.7, 0.7, 9), 6)
    d = compute / 6 / n
    loss = law(n, d) * np.exp(0.004 * np.random.default_rng(0).standard_normal(54))
    return {"Model Size": n, "Training FLOP": compute, "loss": loss}


def written(path, columns):
    rows = [",".join(columns), *(",".join(map(repr, map(float, row))) for row in zip(*columns.values(), strict=True))]
    path.write_text("\n".join(rows) + "\n")
    return path


def run(*arguments):
    command = argparse.ArgumentParser()
    command.add_argument("--json", action="store_true")
    fit_commands.add_options(command)
    return fit_commands.fit(command.parse_args([str(argument) for argument in arguments]))


def told(capsys, *arguments):
    assert run(*arguments) == 0
    out, err = capsys.readouterr()
    assert err == "", err
    return out


@pytest.mark.short
def test_json_holds_constants_errors_and_everything_asked(tmp_path, columns, capsys):
    path = written(tmp_path / "runs.csv", columns)
    out = tmp_path / "record.json"
    found = json.loads(
        told(capsys, path, "--json", "--bootstrap", 200, "--budget", 1e22, "--at", 1e24, "--output", out)
    )
    assert found["columns"] == {"parameters": "Model Size", "compute": "Training FLOP", "loss": "loss"}
    for name, truth in (("E", 1.8), ("alpha", 0.35), ("beta", 0.37)):
        assert abs(found["estimates"][name] - truth) < 4 * found["standard_errors"][name]
        assert found["intervals"][name][0] < found["estimates"][name] < found["intervals"][name][1]
    assert found["identifiable"] is True and found["verdict"]["verdict"] == "identifiable"
    assert found["at"]["compute"] == 1e24 and found["next_runs"]["compute"] <= 1e22
    assert found["isoflop"]["parameters_exponent"] == pytest.approx(0.514, abs=0.1)
    assert {"sensitivity", "rollout", "rivals", "cautions", "correlation"} <= found.keys() and "runs" not in found
    stored = json.loads(out.read_text())
    assert len(stored["runs"]["loss"]) == 54 and stored["estimates"] == found["estimates"]


@pytest.mark.short
def test_card_page_and_figure(tmp_path, columns, capsys):
    path = written(tmp_path / "runs.csv", columns)
    page, figure = tmp_path / "report.html", tmp_path / "fit.png"
    out = told(capsys, path, "--bootstrap", 200, "--drop", 2, "--output", page, "--plot", figure, "--budget", 1e22)
    assert "from column 'Model Size'" in out and "(2 of highest loss dropped)" in out and "corr(E, alpha)" in out
    assert "tokens = compute/(6 parameters)" in out and "next runs for" in out and "dropped" in out
    assert figure.read_bytes().startswith(b"\x89PNG")
    text = page.read_text(encoding="utf-8")
    assert text.count("<figure>") == 5 and "identifiable" in text and "<svg" in text
    assert not re.search(r"(src|href)=[\"']?https?:", text), "the page must fetch nothing"
    assert "nan" not in re.sub(r"data:image[^\"]*|<svg.*?</svg>", "", text, flags=re.DOTALL).lower()


def flat_table(tmp_path):
    """One decade of each size, and a loss that rises with parameters."""
    n, d = (x.ravel() for x in np.meshgrid(np.logspace(8, 9, 6), np.logspace(9, 12, 6)))
    loss = 1 - law(n, d) / 12
    return written(tmp_path / "runs.csv", {"params": n, "tokens": d, "accuracy": loss})


@pytest.mark.short
def test_a_table_that_is_not_identifiable_says_why(tmp_path, capsys):
    found = json.loads(told(capsys, flat_table(tmp_path), "--loss", "accuracy", "--json", "--bootstrap", 100))
    assert found["identifiable"] is False
    assert any("rises with parameters" in reason for reason in found["verdict"]["reasons"])
    assert any("1.00 decades" in reason for reason in found["verdict"]["reasons"])


@pytest.mark.long
def test_a_table_that_is_not_identifiable_still_gives_a_page(tmp_path, capsys):
    page = tmp_path / "report.html"
    told(capsys, flat_table(tmp_path), "--loss", "accuracy", "--bootstrap", 100, "--output", page)
    assert "not identifiable" in page.read_text(encoding="utf-8")


@pytest.mark.instant
def test_columns_are_guessed_from_what_people_call_them():
    for name in ("N", "params", "n_params", "Model Size", "num_parameters", "non-embedding params", "params (B)"):
        assert guess("parameters", ["step", name]) == name
    for name in ("D", "Tokens", "training_tokens", "tokens_seen"):
        assert guess("tokens", ["step", name]) == name
    for name in ("C", "FLOPs", "Training FLOP", "compute", "train_flops"):
        assert guess("compute", ["step", name]) == name
    for name in ("loss", "val_loss", "Validation Loss", "final_loss"):
        assert guess("loss", ["step", name]) == name
    assert guess("tokens", ["day", "model"]) is None


@pytest.mark.instant
def test_tokens_and_parameters_come_from_compute(tmp_path, columns):
    n, compute = columns["Model Size"], columns["Training FLOP"]
    table, chosen = read_runs(written(tmp_path / "a.csv", columns))
    np.testing.assert_allclose(table.tokens, compute / 6 / n)
    other = {"tokens": compute / 6 / n, "flops": compute, "loss": columns["loss"], "seed": np.arange(54) // 2}
    table, chosen = read_runs(written(tmp_path / "b.csv", other), group="seed")
    np.testing.assert_allclose(table.parameters, n)
    assert chosen["group"] == "seed" and len(np.unique(table.groups)) == 27
    both = columns | {"tokens": 2 * compute / 6 / n}  # tokens that were counted are believed, not 6 N D
    table, chosen = read_runs(written(tmp_path / "c.csv", both))
    assert "compute" not in chosen and table.tokens[0] == both["tokens"][0]


@pytest.mark.instant
def test_parquet_is_read_alike(tmp_path, columns):
    pyarrow = pytest.importorskip("pyarrow")
    parquet = pytest.importorskip("pyarrow.parquet")
    parquet.write_table(pyarrow.table(columns), tmp_path / "runs.parquet")
    table, _ = read_runs(tmp_path / "runs.parquet")
    np.testing.assert_allclose(table.loss, columns["loss"])


@pytest.mark.instant
@pytest.mark.parametrize(
    "content, options, kind, words",
    [
        (
            "params,tokens,los\n1,2,3\n",
            (),
            BadData,
            "no column of loss is known among params, tokens, los; name it",
        ),
        ("params,loss\n1,3\n", (), BadData, "no column of tokens is known"),
        ("params,tokens,loss\n1,2,x\n", (), BadData, "column 'loss' holds 'x' at row 0"),
        ("params,tokens,loss\n1,2,\n", (), BadData, "loss holds nan at row 0"),
        ("params,tokens,loss\n", (), BadData, "no runs"),
        ("", (), BadData, "the file is empty"),
        ("params,flops,loss\n0,2,3\n", (), BadData, "column 'params' holds 0 at row 0"),
        ("params,tokens,loss\n1,2,3\n", ("--loss", "lost"), UnknownName, "did you mean 'loss'"),
        ("params,tokens,loss\n1,2,3\n", ("--group", "sed"), UnknownName, "unknown column 'sed'"),
        ("params,tokens,loss\n1,2,3\n", (), BadData, "1 runs for 5 unknowns, so the law is not identifiable"),
        ("params,tokens,loss\n1,2,3\n", ("--output", "x.pdf"), BadData, ".pdf is no kind of report"),
        ("params,tokens,loss\n1,2,3\n", ("--plot", "x.docx"), BadData, ".docx is no kind of figure"),
        ("params,tokens,loss\n1,2,-3\n", (), BadData, "not above zero, so it is no cross-entropy"),
    ],
)
def test_mistakes_are_one_line(tmp_path, content, options, kind, words):
    path = tmp_path / "runs.csv"
    path.write_text(content)
    with pytest.raises(kind, match=re.escape(words)) as caught:
        run(path, *options)
    assert "\n" not in str(caught.value) and caught.value.remedy


@pytest.mark.instant
def test_files_are_not_overwritten_and_missing_ones_are_named(tmp_path, columns):
    path = written(tmp_path / "runs.csv", columns)
    with pytest.raises(WouldOverwrite):
        run(path, "--output", written(tmp_path / "report.html", columns))
    with pytest.raises(BadData, match="did you mean 'runs.csv'"):
        run(tmp_path / "run.csv")
    with pytest.raises(LearningMechanicsError, match="is no table of runs"):
        run(written(tmp_path / "runs.txt", columns))
    with pytest.raises(BadData, match="dropping 50 of 54 runs leaves 4"):
        run(path, "--drop", 50)
