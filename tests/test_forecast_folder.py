"""Forecasts on record: nothing can be edited, taken out or answered twice; halves never meet; scores add up."""

import json
import os

import numpy as np
import pytest

from learning_mechanics.theory.dataset import Dataset
from learning_mechanics.theory.errors import BadData, Underpowered, WouldOverwrite
from learning_mechanics.validate.forecasts.folder import ForecastFolder
from learning_mechanics.validate.forecasts.question import ask, fingerprint
from learning_mechanics.validate.forecasts.registered import Registered
from learning_mechanics.validate.forecasts.score import Score, Summary, score
from learning_mechanics.validate.forecasts.settle import hash_seed, settle
from learning_mechanics.validate.tasks.measured import Measured
from learning_mechanics.validate.tasks.tasks import halves

SIZES = [20.0, 40.0, 80.0, 160.0]


def linear(a, b=None):
    return a @ (a if b is None else b).T


def power_law(rows=1200, seed=0):
    rng = np.random.default_rng(seed)
    x = rng.standard_normal((rows, 600)) * np.arange(1.0, 601) ** -0.7
    return Dataset(x, x @ rng.choice([-1.0, 1.0], 600), "planted")


@pytest.fixture(scope="module")
def asked():
    return ask(power_law(), linear, SIZES)


def question(name="planted"):
    return {"data": name, "axis": "samples", "sizes": SIZES}


def answer(value=0.5):
    curves = [[n**-value for n in SIZES]] * 2
    return {"value": value, "error": 0.1, "curves": curves}


@pytest.mark.instant
def test_forecasts_are_chained_and_read_only(tmp_path):
    folder = ForecastFolder(tmp_path)
    made = [folder.register(question(f"data {i}"), answer()) for i in range(3)]
    assert [one.previous for one in made] == ["", made[0].hash, made[1].hash]
    assert folder.verify() == 3 and [one.hash for one in folder.forecasts()] == [one.hash for one in made]
    for path in (tmp_path / "forecasts").iterdir():
        assert not path.stat().st_mode & 0o222
    assert folder.register(question("data 1"), answer()) == made[1] and folder.verify() == 3
    with pytest.raises(WouldOverwrite, match="answered on .* is not edited"):
        folder.register(question("data 1"), answer(0.51))


@pytest.mark.instant
@pytest.mark.parametrize("what", ["edited", "rehashed", "taken out", "cut short"])
def test_whatever_is_done_to_a_forecast_is_noticed(tmp_path, what):
    folder = ForecastFolder(tmp_path)
    for i in range(3):
        folder.register(question(f"data {i}"), answer())
    first = sorted((tmp_path / "forecasts").iterdir())[0]
    content = json.loads(first.read_text())
    first.chmod(0o644)
    if what == "edited":
        content["answer"]["error"] = 0.3
        first.write_text(json.dumps(content))
    elif what == "rehashed":  # a new forecast in the place of the first: those after it still name the old one
        other = Registered.seal(content["question"], {**content["answer"], "error": 0.3})
        first.unlink()
        first.with_name(f"0001-{other.hash[:12]}.json").write_text(json.dumps(other.to_dict()))
    elif what == "taken out":
        first.unlink()
    else:
        first.write_text(first.read_text()[:100])
    with pytest.raises(BadData) as refusal:
        folder.verify()
    assert "\n" not in str(refusal.value)


@pytest.mark.instant
def test_a_file_is_never_replaced(tmp_path, monkeypatch):
    """Two commands at once: the second to write finds the file there and stops."""
    folder = ForecastFolder(tmp_path)
    folder.register(question("a"), answer())
    late = ForecastFolder(tmp_path)
    monkeypatch.setattr(late, "forecasts", lambda: [])
    real = Registered.seal(question("a"), answer())
    monkeypatch.setattr(Registered, "seal", classmethod(lambda cls, *a, **k: folder.forecasts()[0]))
    before = sorted(os.listdir(tmp_path / "forecasts"))
    with pytest.raises(WouldOverwrite, match="someone else"):
        late.register(question("a"), answer())
    assert sorted(os.listdir(tmp_path / "forecasts")) == before and len(real.hash) == 64


@pytest.mark.short
def test_the_answer_comes_from_the_probe_alone_and_the_runs_from_the_rest(asked, tmp_path):
    """Garbage in the other half changes neither: bitwise."""
    data = power_law()
    probe = halves(data, 0)
    for rows, other in ((~probe, "answer"), (probe, "runs")):
        spoiled_x, spoiled_y = data.x.copy(), data.y.copy()
        spoiled_x[rows] = 1e3 * np.random.default_rng(1).standard_normal((int(rows.sum()), 600))
        spoiled_y[rows] = -7.0
        spoiled = Dataset(spoiled_x, spoiled_y, "planted")
        if other == "answer":
            assert ask(spoiled, linear, SIZES)[1] == asked[1]
            continue
        found = []
        for used in (data, spoiled):
            told = {**asked[0], "sha256": fingerprint(used)}
            forecast = Registered(told, asked[1], "", "", "", asked_hash(asked))
            found.append(settle(forecast, used, linear, budget=1e-3 * 1e4, most=3))
        assert found[0].values == found[1].values


def asked_hash(asked):
    return Registered.seal(*asked).hash


@pytest.mark.short
def test_a_planted_power_law_is_asked_about_and_settled(asked, tmp_path):
    """The forecast covers what is measured; a forecast of something else does not (planted: 0.4 more)."""
    folder = ForecastFolder(tmp_path)
    forecast = folder.register(*asked)
    found = settle(forecast, power_law(), linear, budget=20, most=12)
    folder.record(forecast, found)
    assert found.covered and folder.scores(forecast) == [found]
    assert found.facts["runs"] == 12 and found.standard_error < 0.05
    wrong = Registered.seal(asked[0], {**asked[1], "value": asked[1]["value"] + 0.4})
    assert not settle(wrong, power_law(), linear, budget=20, most=12).covered
    with pytest.raises(BadData, match="not of"):
        folder.record(wrong, found)


@pytest.mark.short
def test_other_data_and_too_small_a_budget_are_refused(asked):
    forecast = Registered.seal(*asked)
    with pytest.raises(BadData, match="SHA-256"):
        settle(forecast, power_law(seed=1), linear)
    with pytest.raises(Underpowered, match="raise --budget"):
        settle(forecast, power_law(), linear, budget=1e-6)
    with pytest.raises(BadData, match="rows are kept"):
        ask(power_law(), linear, [100, 590])


@pytest.mark.instant
def test_fewer_sizes_are_scored_by_the_registered_curves():
    bend = np.array([1.0, 0.5, 0.4, 0.35])
    told = {"value": 0.5, "error": 0.1, "curves": [bend.tolist(), bend.tolist()]}
    forecast = Registered.seal(question(), told)
    runs = Measured("samples", np.array(SIZES[:3]), np.stack([bend[:3], 1.1 * bend[:3], 0.9 * bend[:3]]), "example")
    found = score(forecast, runs)
    assert found.predicted == pytest.approx(-np.polyfit(np.log(SIZES[:3]), np.log(bend[:3]), 1)[0])
    assert found.miss == pytest.approx(0) and Score.from_dict(json.loads(json.dumps(found.to_dict()))) == found
    with pytest.raises(BadData, match="measure along samples"):
        score(forecast, Measured("steps", np.array(SIZES), np.ones((2, 4)), "example"))


def scored(miss, error=0.1, task="a"):
    return Score("0" * 64, task, task, 0.5, error, 0.5 + miss, 0.01, 0.9, (1.0,), (1.0,), (0.1,))


@pytest.mark.instant
def test_the_summary_adds_up_by_hand():
    found = Summary((scored(0.02), scored(-0.04, task="b"), scored(0.2, task="b"), scored(0.0)))
    told = found.to_dict()
    assert told["coverage"] == 0.75 and told["median_miss"] == pytest.approx(0.03)
    assert told["largest_miss"] == pytest.approx(0.2)
    assert told["median_miss_by_task"] == pytest.approx({"a": 0.01, "b": 0.12})
    assert told["median_miss_of_a_constant"] == pytest.approx(np.median(np.abs(np.array([0.02, -0.04, 0.2, 0]) - 0.01)))
    assert "3 inside" in str(found)


@pytest.mark.instant
@pytest.mark.parametrize(("outside", "of", "believable"), [(0, 5, True), (1, 1, True), (2, 2, True), (3, 3, False)])
def test_more_misses_than_chance_explains_are_called_out(outside, of, believable):
    """P(2 of 2 outside) = 1 % at nominal 90 %: still chance; 3 of 3 have 0.1 %."""
    scores = tuple(scored(0.5 if i < outside else 0.0) for i in range(of))
    assert Summary(scores).believable is believable


@pytest.mark.instant
def test_every_forecast_and_run_has_training_sets_of_its_own():
    seeds = {
        hash_seed(f"{i:064x}", seed, run) for i in range(1 << 28, (1 << 28) + 5) for seed in (0, 1) for run in (0, 3)
    }
    assert len(seeds) == 4  # the first eight digits of these hashes agree: only seed and run tell them apart
    assert len({hash_seed(f"{i:08x}" + "0" * 56, 0, 0) for i in range(50)}) == 50


@pytest.mark.instant
def test_a_record_is_for_good_so_it_must_be_complete(tmp_path):
    folder, asked = ForecastFolder(tmp_path), {"data": "d", "axis": "samples"}
    for question, answer, words in (
        ({}, {"value": 0.5, "error": 0.1}, "no 'data'"),
        (None, {"value": 0.5, "error": 0.1}, "no 'data'"),
        (asked, {"value": 0.5}, "no 'error'"),
        (asked, {"value": np.nan, "error": 0.1}, "value nan"),
        (asked, {"value": "x", "error": 0.1}, "value 'x'"),
        (asked, {"value": 0.5, "error": -0.1}, "error -0.1"),
    ):
        with pytest.raises(BadData, match=words):
            folder.register(question, answer)
    assert folder.verify() == 0
    assert "samples^-(-0.200 +- 0.100)" in str(folder.register(asked, {"value": -0.2, "error": 0.1}))
    for wrong in ({}, [1], None):
        with pytest.raises(BadData, match="score: no 'forecast'"):
            Score.from_dict(wrong)
        with pytest.raises(BadData, match="no 'format'"):
            Registered.from_dict(wrong)
