"""Forecasts are written before training and never edited; what was finished survives."""

import json

import numpy as np
import pytest

from learning_mechanics.solvers.prediction import Prediction
from learning_mechanics.theory.errors import BadData, WouldOverwrite
from learning_mechanics.validate.experiments.experiment import Measurement
from learning_mechanics.validate.judging.ledger import Ledger, write
from learning_mechanics.validate.judging.verdict import Verdict

pytestmark = pytest.mark.instant
STEPS = np.array([[0, 1]])


def forecast(value=1.0, law="law", claim="c"):
    values = np.full((1, 1, 2, 1), value)
    return Prediction(theory="t", claim=claim, law=law, observable="loss", values=values, abscissa=STEPS)


def measurement(value=1.0):
    values = np.full((2, 1, 2, 1), value)
    return Measurement(values, STEPS, "step", "loss", (0, 1), "cpu", "float64", 0.1, versions=(("jax", "0.10"),))


def verdict(prediction, rival):
    return Verdict("t", "c", outcome="holds", bias=0.1, forecast_hash=prediction.hash, rival_hash=rival.hash)


def test_a_forecast_is_never_edited(tmp_path):
    ledger = Ledger(tmp_path, settings={"seed": 0})
    ledger.register(forecast(), forecast(2.0, "rival"))
    before = {path: path.read_bytes() for path in tmp_path.rglob("*.json")}
    ledger.register(forecast(), forecast(2.0, "rival"))  # the same again: an interrupted run goes on
    with pytest.raises(WouldOverwrite, match="choose another directory"):
        ledger.register(forecast(1.0 + 1e-15), forecast(2.0, "rival"))
    with pytest.raises(WouldOverwrite):
        ledger.register(forecast(), forecast(3.0, "rival"))
    assert before == {path: path.read_bytes() for path in tmp_path.rglob("*.json")}
    assert ledger.forecast("t", "c", rival=True).law == "rival"
    Ledger(tmp_path, settings={"seed": 0}, force=True).register(forecast(5.0))


def test_verdicts_survive_and_match_their_forecast(tmp_path):
    ledger, law, rival = Ledger(tmp_path, settings={"seed": 0}), forecast(), forecast(2.0, "rival")
    with pytest.raises(BadData, match="on disk is none"):
        ledger.record(verdict(law, rival), measurement())
    ledger.register(law, rival)
    assert ledger.finished("t", "c") is None
    ledger.record(verdict(law, rival), measurement(1 / 3))
    again, measured = Ledger(tmp_path, settings={"seed": 0}).finished("t", "c")
    assert again.to_dict() == verdict(law, rival).to_dict()
    assert np.array_equal(measured.values, measurement(1 / 3).values)  # bitwise
    assert measured.seeds == (0, 1) and dict(measured.versions) == {"jax": "0.10"} and measured.precision == "highest"
    assert ledger.verify() == 1


def test_an_edited_forecast_is_found_out(tmp_path):
    ledger, law, rival = Ledger(tmp_path), forecast(), forecast(2.0, "rival")
    ledger.register(law, rival)
    ledger.record(verdict(law, rival), measurement())
    path = tmp_path / "forecasts" / "t.c.json"
    content = json.loads(path.read_text())
    content["values"][0][0][0][0] = 7.0
    path.write_text(json.dumps(content))
    with pytest.raises(BadData, match="edited"):
        ledger.verify()
    other = forecast(7.0)
    path.write_text(json.dumps(other.to_dict()))  # consistently replaced after the fact
    with pytest.raises(BadData, match="the verdict judged forecast"):
        ledger.verify()


def test_a_folder_belongs_to_one_run(tmp_path):
    Ledger(tmp_path, settings={"seed": 0}).register(forecast())
    with pytest.raises(WouldOverwrite, match="a run with seed 0, not 1"):
        Ledger(tmp_path, settings={"seed": 1})
    Ledger(tmp_path, settings={"seed": 1}, force=True)
    assert not list(tmp_path.glob("forecasts/*"))


def test_writing_is_all_or_nothing(tmp_path, monkeypatch):
    path = tmp_path / "file.json"
    write(path, "old")
    monkeypatch.setattr("os.replace", lambda *_: (_ for _ in ()).throw(KeyboardInterrupt))
    with pytest.raises(KeyboardInterrupt):
        write(path, "new")
    assert path.read_text() == "old"
    (tmp_path / "verdicts").mkdir()
    (tmp_path / "verdicts" / "t.c.json").write_text("{")
    with pytest.raises(BadData, match="not readable"):
        Ledger(tmp_path).verdicts()
