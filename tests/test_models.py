"""Conformance: every check, for every model found in `theory/models/`."""

import pytest

from learning_mechanics.theory.model import models
from learning_mechanics.validate.judging.conformance import CHECKS

CASES = [
    pytest.param(check, model, id=f"{model.model_name()}-{check.__name__}") for model in models() for check in CHECKS
]


@pytest.mark.short
@pytest.mark.parametrize("check, model", CASES)
def test_conformance(check, model):
    check(model())


@pytest.mark.instant
def test_there_are_models_of_all_kinds():
    kinds = {type(model().derive()).__name__ for model in models()}
    assert {"Flow", "Map", "FixedPoint"} <= kinds
