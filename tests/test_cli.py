"""The command line: pure JSON on request, one line and status 2 for every explained failure, nothing overwritten."""

import json
import shlex
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from command_line import answer, refused

from learning_mechanics.bibliography import bibtex
from learning_mechanics.cli import EXAMPLES, main, parser
from learning_mechanics.theory.model import find

ROOT = Path(__file__).resolve().parents[1]
pytestmark = pytest.mark.short


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        ("lst", "unknown command 'lst'; did you mean 'list'?"),
        ("derive", "the following arguments are required: model"),
        ("derive deep-liner", "unknown model 'deep-liner'; did you mean 'deep-linear'?"),
        ("derive deep-linear --dept 3", "unknown hyperparameter 'dept'; did you mean 'depth'?"),
        ("derive deep-linear --depth three", "depth: 'three' is no whole number; the default is 2"),
        ("derive deep-linear --depth", "--depth has no value"),
        ("derive deep-linear --format latx", "unknown format 'latx'; did you mean 'latex'?"),
        ("validate deep-linear balance_drfit", "unknown claim 'balance_drfit'; did you mean 'balance_drift'?"),
        ("validate deep-linear --seed one", "argument --seed: 'one' is no whole number"),
        ("check deep-linear no", "deep-linear: unknown claim 'no'"),
        ("check deep-linear balance_drift --set learning_rte=1", "did you mean 'learning_rate'?"),
        ("check deep-linear balance_drift --set learning_rate", "'learning_rate' is no NAME=VALUE"),
        ("check deep-linear balance_drift --set learning_rate=fast", "'fast' is no number"),
        ("check deep-linear flow_order --set learning_rate=1", "it cannot be moved: drop learning_rate"),
        ("check deep-linear balance_drift --log nowhere.csv", "nowhere.csv: no such file"),
        ("cite kernel-regresion", "did you mean 'kernel-regression'?"),
        ("report --models deep-liner", "did you mean 'deep-linear'?"),
        ("diagnose digits --jsn", "unknown option of diagnose 'jsn'; did you mean 'json'?"),
        ("diagnose digits more", "unexpected 'more'"),
        ("diagnose digts", "no such file"),
        ("predict digits --kernel ntk-rleu", "relu"),
        ("predict digits --sizes 50,ten", "'50,ten' is no list of whole numbers"),
        ("predict digits --sizes 100,50", "does not increase"),
        ("predict digits --depth 0", "depth 0"),
    ],
)
def test_mistakes_are_one_line_with_the_nearest_name(capsys, arguments, expected):
    assert expected in refused(capsys, *arguments.split())


COMMANDS = tuple(parser()._subparsers._group_actions[0].choices)


@pytest.mark.parametrize("command", [*COMMANDS, ""])
def test_help_of_every_command_explains_every_option_and_shows_examples(capsys, command):
    assert main([*command.split(), "--help"]) == 0
    text = capsys.readouterr().out
    assert "usage: learning-mechanics" in text and "examples:\n  learning-mechanics" in text
    if command:
        actions = parser()._subparsers._group_actions[0].choices[command]._actions
        assert [action.dest for action in actions if not action.help] == []


@pytest.mark.parametrize("line", [line for lines in EXAMPLES.values() for line in lines])
def test_examples_in_the_help_can_be_typed(line):
    arguments, extra = parser().parse_known_args(shlex.split(line))
    assert arguments.command in COMMANDS and (not extra or arguments.command in ("derive", "reduce"))


class Fault:
    """A command that goes wrong in a way nobody explained."""

    def __init__(self, error):
        self.error = error

    def __call__(self, arguments):
        raise self.error


@pytest.mark.parametrize(
    ("error", "status", "expected"),
    [
        (ZeroDivisionError("division by zero"), 70, "a fault of this program, not of your input (ZeroDivisionError"),
        (PermissionError(13, "Permission denied", "/data/x"), 2, "/data/x: Permission denied"),
        (OSError(28, "No space left on device", "out.json"), 2, "out.json: No space left on device"),
        (MemoryError("8 TiB"), 2, "not enough memory (8 TiB)"),
        (RecursionError("too deep\nsecond line"), 70, "RecursionError"),
    ],
)
def test_no_traceback_reaches_a_user(capsys, monkeypatch, error, status, expected):
    import learning_mechanics.commands as commands

    monkeypatch.delenv("LEARNING_MECHANICS_TRACEBACK", raising=False)
    monkeypatch.setitem(commands.COMMANDS, "list", Fault(error))
    assert main(["list"]) == status
    out, err = capsys.readouterr()
    assert out == "" and err.count("\n") == 1 and err.startswith("learning-mechanics: ") and expected in err
    if status == 70:
        monkeypatch.setenv("LEARNING_MECHANICS_TRACEBACK", "1")
        with pytest.raises(type(error)):
            main(["list"])


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        ("predict digits --plot curve.xyz", ".xyz is no kind of figure; use .png"),
        ("predict digits --output {file}/forecast.json", "this is a file, not a folder"),
        ("predict digits --output {closed}/forecast.json", "no permission to write here"),
        ("predict digits --plot {closed}/deeper/curve.png", "no permission to write here"),
        ("validate deep-linear --output {closed}/v.json", "no permission to write here"),
        ("report --output {file}", "this is a file, not a folder"),
        ("report --output {closed}/report", "no permission to write here"),
    ],
)
def test_places_that_cannot_be_written_are_refused_before_the_work(capsys, tmp_path, monkeypatch, arguments, expected):
    import os

    file, closed = tmp_path / "file", tmp_path / "closed"
    file.write_text("mine")
    closed.mkdir()
    access = os.access  # the superuser may write anywhere, so the answer is planted
    monkeypatch.setattr(os, "access", lambda path, mode: Path(path) != closed and access(path, mode))
    assert expected in refused(capsys, *arguments.format(file=file, closed=closed).split())
    assert file.read_text() == "mine" and not list(closed.iterdir())
    assert sorted(path.name for path in tmp_path.iterdir()) == ["closed", "file"]


@pytest.mark.parametrize(
    ("move", "expected"),
    [
        ("learning_rate=0", "learning_rate = 0; give a number above 0"),
        ("learning_rate=nan", "learning_rate = nan"),
        ("width=-3", "width = -3"),
        ("width=inf", "width = inf; give a number above 0 that is finite"),
        ("steps=0", "steps = 0"),
        ("records=1", "records = 1; give a number at least 2"),
        ("momentum=1", "at least 0 and below 1"),
        ("spacing=lgo", "unknown spacing 'lgo'; did you mean 'log'?"),
    ],
)
def test_a_setting_moves_only_where_an_experiment_can_run(capsys, move, expected):
    assert expected in refused(capsys, "check", "deep-linear", "balance_drift", "--set", move)


def test_a_time_horizon_replaces_the_steps():
    from learning_mechanics.claim_commands import _moved

    claim = _moved(find("deep-linear")().claim("balance_drift"), ["time=6"])
    assert claim.setup.total_steps() == 20  # 6 / 0.3


@pytest.mark.parametrize("claim", ["aligned_recursion", "sharpness_at_convergence"])
def test_a_learning_rate_beyond_the_threshold_names_it_before_training(capsys, monkeypatch, claim):
    """2 / sharpness of three layers, 2 / (3 s^(4/3)), with s from the digits by NumPy alone."""
    import learning_mechanics.validate.judging.check as check
    from learning_mechanics.validate.inputs.data import load

    for step in ("predict", "run"):
        monkeypatch.setattr(check, step, lambda *a, **k: pytest.fail("something was computed first"))
    x = load("digits").x
    x = (x - x.mean(0))[:, x.std(0) > 0]
    y = (load("digits").y == np.arange(10)).astype(float)
    white = np.linalg.svd(x, full_matrices=False)[0][:, : np.linalg.matrix_rank(x)] * np.sqrt(len(x))
    s = np.linalg.svd((y - y.mean(0)).T @ white / len(x), compute_uv=False)[0]
    threshold = 2 / (3 * s ** (4 / 3))
    line = refused(capsys, "check", "deep-linear", claim, "--set", f"learning_rate={1.01 * threshold:.6f}")
    assert f"beyond the threshold {threshold:.4g}" in line and "lower it" in line
    with pytest.raises(pytest.fail.Exception, match="something was computed first"):
        main(["check", "deep-linear", claim, "--set", f"learning_rate={0.99 * threshold:.6f}"])


def test_every_command_without_a_file_or_with_a_wrong_device_is_one_line(capsys):
    assert "no command given: one of list, derive" in refused(capsys)
    assert "unknown device 'quantum'" in refused(capsys, "validate", "deep-linear", "--device", "quantum")
    assert "name it: --data FILE" in refused(capsys, "check", "deep-linear", "balance_drift", "--target", "y")
    assert "--log FILE" in refused(capsys, "check", "deep-linear", "balance_drift", "--start", "w.npz")


def test_a_device_that_is_not_there_is_one_line(capsys, tmp_path):
    import jax

    missing = next(name for name in ("tpu", "gpu") if name not in {d.platform for d in jax.devices()})
    for command in (["validate", "deep-linear"], ["report", "--output", tmp_path / "out"]):
        assert f"'{missing}'" in refused(capsys, *command, "--device", missing)
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("depth", ["0", "-1", "2.5", "nan"])
def test_depths_that_do_not_exist_are_refused(capsys, depth):
    assert "depth" in refused(capsys, "derive", "deep-linear", f"--depth={depth}")


def test_infinite_depth_has_its_own_equation(capsys):
    (section,) = answer(capsys, "derive", "deep-linear", "--depth", "inf")["sections"]
    assert section["system"]["equations"] == ["a**2*(-a + s)"]


def test_list_names_every_model_and_claim(capsys):
    from learning_mechanics.theory.model import models

    found = answer(capsys, "list")
    assert {entry["model"]: {c["claim"] for c in entry["claims"]} for entry in found} == {
        model.model_name(): {claim.name for claim in model().claims()} for model in models()
    }
    assert main(["list"]) == 0
    assert "deep-linear" in capsys.readouterr().out


def test_list_shows_the_last_verdicts(capsys, tmp_path, monkeypatch):
    from learning_mechanics.validate.judging.verdict import Verdict

    monkeypatch.chdir(tmp_path)
    folder = tmp_path / "learning-mechanics-report" / "verdicts"
    folder.mkdir(parents=True)
    record = Verdict("deep-linear", "balance_drift", outcome="refuted").to_dict()
    (folder / "drift.json").write_text(json.dumps({"verdict": record}))
    (folder / "broken.json").write_text("{")
    claims = next(entry["claims"] for entry in answer(capsys, "list") if entry["model"] == "deep-linear")
    assert {claim["claim"]: claim["last_verdict"] for claim in claims}["balance_drift"] == "refuted"
    assert [claim for claim in claims if claim["last_verdict"]] == [c for c in claims if c["claim"] == "balance_drift"]


@pytest.mark.parametrize("depth", [2, 3])
def test_derive_gives_the_mode_equation(capsys, depth):
    """a' = L a^(2 - 2/L) (s - a), evaluated at a point."""
    import sympy as sp

    found = answer(capsys, "derive", "deep-linear", "--depth", depth)
    a, s = sp.symbols("a s")
    law = next(section for section in found["sections"] if section["title"] == "mode law")
    equation = sp.sympify(law["system"]["equations"][0], locals={"a": a, "s": s})
    value = float(equation.subs({a: 0.3, s: 1.7}))
    assert found["hyperparameters"]["depth"] == depth
    assert value == pytest.approx(depth * 0.3 ** (2 - 2 / depth) * 1.4, rel=1e-12)
    assert found["steps"][0]["rule"] == "network" and law["closed_form"]["residual"] < 1e-25


def test_derive_speaks_text_and_latex(capsys):
    assert main(["derive", "deep-linear", "--depth=2"]) == 0
    text = capsys.readouterr().out
    assert "Flow" in text and "closed form" in text and "trail" in text and "conserved" in text
    assert main(["derive", "deep-linear", "--format", "latex"]) == 0
    assert r"\dot{a}" in capsys.readouterr().out


def test_a_dry_run_says_seconds_and_bytes_and_runs_nothing(capsys, monkeypatch):
    import learning_mechanics.validate.judging.check as check

    monkeypatch.setattr(check, "run_claim", lambda *a, **k: pytest.fail("the dry run ran a claim"))
    plan = answer(capsys, "validate", "deep-linear", "balance_drift", "--dry-run")
    assert [line["claim"] for line in plan] == ["balance_drift"]
    assert plan[0]["seconds"] > 0 and plan[0]["bytes"] > 8 * 1797 * 60  # the digits alone
    assert main(["validate", "deep-linear", "balance_drift", "--dry-run"]) == 0
    assert "nothing was run" in capsys.readouterr().out


def test_validate_prints_verdicts_and_writes_everything(capsys, tmp_path):
    output = tmp_path / "drift.json"
    verdicts = answer(capsys, "validate", "deep-linear", "balance_drift", "--output", output)
    assert verdicts[0]["outcome"] == "holds" and verdicts[0]["rival_outcome"] == "refuted"
    written = json.loads(output.read_text())[0]
    assert written["prediction"]["hash"] == verdicts[0]["forecast_hash"]
    assert np.shape(written["measurement"]["values"])[:2] == (2, 1)
    before = output.read_bytes()
    assert "exists" in refused(capsys, "validate", "deep-linear", "balance_drift", "--output", output)
    assert output.read_bytes() == before


def test_an_interruption_says_how_to_go_on(capsys, monkeypatch):
    import learning_mechanics.commands as commands

    def interrupted(arguments):
        raise KeyboardInterrupt

    for command in ("report", "validate"):
        monkeypatch.setitem(commands.COMMANDS, command, interrupted)
    assert main(["report"]) == 130
    assert "the same command goes on where it stopped" in capsys.readouterr().err
    assert main(["validate", "deep-linear"]) == 130
    assert "with --output finished verdicts are kept" in capsys.readouterr().err


def test_an_interrupted_validation_goes_on(capsys, tmp_path, monkeypatch):
    """Finished verdicts lie on disk and are not judged twice; another seed starts afresh; nothing is left behind."""
    import learning_mechanics.validate.judging.check as check

    output = tmp_path / "verdicts.json"
    arguments = ["validate", "deep-linear", "balance_drift", "aligned_recursion", "--output", str(output)]
    judged, run_claim = [], check.run_claim

    def interrupted(model, claim, **options):
        if claim.name == "aligned_recursion" and "aligned_recursion" not in judged:
            judged.append(claim.name)
            raise KeyboardInterrupt
        judged.append(claim.name)
        return run_claim(model, claim, **options)

    monkeypatch.setattr(check, "run_claim", interrupted)
    assert main(arguments) == 130
    assert not output.exists() and (tmp_path / "verdicts.json.unfinished").exists()
    first = capsys.readouterr().out
    assert main(arguments) == 0
    again = capsys.readouterr().out
    assert judged == ["balance_drift", "aligned_recursion", "aligned_recursion"]
    assert first.splitlines()[0] in again and "kept        from an interrupted run" in again
    assert [entry["verdict"]["claim"] for entry in json.loads(output.read_text())] == arguments[2:4]
    assert [path.name for path in tmp_path.iterdir()] == ["verdicts.json"]


def test_an_interrupted_validation_of_another_seed_is_not_gone_on_with(tmp_path):
    from learning_mechanics.record import Record

    path = tmp_path / "verdicts.json"
    Record(path, {"seed": 0}).add("drift", {"verdict": {}})
    assert set(Record(path, {"seed": 0}).finished) == {"drift"}
    assert Record(path, {"seed": 1}).finished == {}
    (tmp_path / "verdicts.json.unfinished").write_text("{")
    assert Record(path, {"seed": 0}).finished == {}


def test_a_report_is_written_once_and_resumes(capsys, tmp_path, monkeypatch):
    """Interrupted after the first claim, the same command keeps its verdict and judges the rest."""
    import learning_mechanics.theory.models.linear_networks.deep_linear as module
    import learning_mechanics.validate.reporting.report as report

    drift = module.DeepLinear().claim("balance_drift")
    chosen = [drift, replace(drift, name="balance_drift_again")]
    monkeypatch.setattr(module.DeepLinear, "claims", lambda self: tuple(chosen))
    judge_one = report.run_claim

    def run_claim(theory, claim, **options):
        if claim is chosen[1]:
            raise KeyboardInterrupt
        return judge_one(theory, claim, **options)

    arguments = ["report", "--models", "deep-linear", "--output", tmp_path / "out"]
    with monkeypatch.context() as patch:
        patch.setattr(report, "run_claim", run_claim)
        assert main([*map(str, arguments), "--json"]) == 130
    assert len(list((tmp_path / "out" / "verdicts").glob("*.json"))) == 1
    capsys.readouterr()
    made = answer(capsys, *arguments)
    assert [verdict["outcome"] for verdict in made["verdicts"]] == ["holds", "holds"]
    page = Path(made["html"]).read_bytes()
    assert "exists" in refused(capsys, *arguments)
    assert Path(made["html"]).read_bytes() == page


def test_cite_gives_bibtex_of_what_was_used(capsys):
    assert main(["cite", "deep-linear"]) == 0
    text = capsys.readouterr().out
    assert "@article{saxe2013exact," in text and "eprint = {1312.6120}" in text
    entries = answer(capsys, "cite", "deep-linear")
    assert len({entry["key"] for entry in entries}) == len(entries)


def test_cite_covers_everything_that_is_derived(capsys):
    cited = {entry["key"] for entry in answer(capsys, "cite", "word-embedding")}
    derived = find("word-embedding")().derivations()
    wanted = {entry["key"] for system in derived.values() for entry in bibtex(system.trail.references)}
    assert wanted <= cited and "levy2014neural" in wanted


def test_validate_sends_own_data_to_check_and_keeps_to_figures(capsys, tmp_path):
    line = refused(capsys, "validate", "deep-linear", "balance_drift", "--data", tmp_path / "x.npz")
    assert "on yours: learning-mechanics check MODEL CLAIM --data FILE" in line
    picture = tmp_path / "drift.gif"
    assert ".gif is no kind of figure" in refused(capsys, "validate", "deep-linear", "balance_drift", "--plot", picture)


def test_every_reference_of_every_model_is_a_known_work():
    """Titles are known for all that is cited; a new reference needs a line in bibliography.json."""
    from learning_mechanics.theory.model import models

    cited = [c.reference for model in models() for c in model().claims()]
    cited += [law.reference for model in models() for c in model().claims() for law in (c.law, c.rival)]
    assert [entry["cited"] for entry in bibtex(cited) if "title" not in entry["bibtex"]] == []


@pytest.mark.long
def test_every_reference_of_every_derivation_is_a_known_work():
    from learning_mechanics.theory.model import models

    derived = [system for model in models() for system in model().derivations().values()]
    cited = [reference for system in derived for reference in system.trail.references]
    assert [entry["cited"] for entry in bibtex(cited) if "title" not in entry["bibtex"]] == []


def test_a_closed_pipe_is_no_traceback():
    command = f"{sys.executable} -m learning_mechanics list | head -c 1"
    done = subprocess.run(command, shell=True, capture_output=True, text=True, cwd=ROOT)
    assert "Traceback" not in done.stderr
