"""Predictions: the hash covers everything, files round-trip, edits are refused, nothing is overwritten."""

import json
from dataclasses import replace

import numpy as np
import pytest

from learning_mechanics.solvers.prediction import Prediction
from learning_mechanics.theory.errors import BadData, WouldOverwrite


def example() -> Prediction:
    return Prediction(
        "deep-linear", "modes", "law", "mode_strength", np.arange(4.0).reshape(1, 1, 4, 1), np.arange(4)[None],
        assumptions=({"name": "whitened", "kind": "Invariant", "distance": 0.0, "radius": 1e-6, "holds": True},),
        fingerprints=("abc",),
    )  # fmt: skip


@pytest.mark.instant
def test_round_trip(tmp_path):
    prediction = example()
    path = prediction.save(tmp_path / "forecast.json")
    again = Prediction.load(path)
    assert again.hash == prediction.hash and np.array_equal(again.values, prediction.values)
    assert "whitened: distance 0" in str(again)


@pytest.mark.instant
@pytest.mark.parametrize(
    "change", [{"values": np.zeros((1, 1, 4, 1))}, {"law": "other"}, {"fingerprints": ("abd",)}, {"slope": 1.0}]
)
def test_hash_covers(change):
    assert replace(example(), **change).hash != example().hash


@pytest.mark.instant
def test_an_edited_forecast_is_refused(tmp_path):
    path = example().save(tmp_path / "forecast.json")
    content = json.loads(path.read_text())
    content["values"][0][0][3][0] = 3.0000001
    path.write_text(json.dumps(content))
    with pytest.raises(BadData, match="does not match the content"):
        Prediction.load(path)


@pytest.mark.instant
def test_nothing_is_overwritten(tmp_path):
    path = example().save(tmp_path / "forecast.json")
    with pytest.raises(WouldOverwrite):
        example().save(path)
    example().save(path, force=True)
