"""A training log along an axis: every setting is compared at its own steps."""

import json
from dataclasses import replace

import numpy as np
import pytest

from learning_mechanics.solvers.predict import predict
from learning_mechanics.theory.models.linear_networks.deep_linear import DeepLinear
from learning_mechanics.validate.experiments.experiment import run
from learning_mechanics.validate.inputs.training_log import measured, read_log
from learning_mechanics.validate.judging.check import draw


@pytest.mark.short
def test_settings_with_steps_of_their_own(tmp_path):
    """At half the learning rate a time takes twice the steps; logged as trained, the numbers come back bitwise."""
    claim = DeepLinear().claim("flow_order")
    claim = replace(claim, values=(0.2, 0.1), setup=replace(claim.setup, time=12.0, records=7))
    instances = draw(claim, None, 0)
    trained = run(claim.observable, instances, range(1))
    assert trained.abscissa[0].tolist() == (trained.abscissa[1] / 2).tolist()
    records = [
        {"step": int(step), "learning_rate": rate, claim.observable: trained.values[0, setting, point].tolist()}
        for setting, rate in enumerate(claim.values)
        for point, step in enumerate(trained.abscissa[setting])
    ]
    path = tmp_path / "log.json"
    path.write_text(json.dumps(records))
    found, (forecast,) = measured(read_log(path), claim, predict(claim, instances))
    assert np.array_equal(found.values, trained.values) and np.array_equal(found.abscissa, forecast.abscissa)
