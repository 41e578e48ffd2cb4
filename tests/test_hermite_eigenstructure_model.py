"""The model of Hermite eigenstructure: its claims, what it announces, and errors it must see."""

from dataclasses import replace

import numpy as np
import pytest

from learning_mechanics.solvers.predict import predict
from learning_mechanics.theory.hermite.hermite_eigenstructure import Validity
from learning_mechanics.theory.models.wide_networks.hermite_eigenstructure import (
    HermiteEigenstructure,
    hermite_closure,
    mode_eigenvalue,
)
from learning_mechanics.theory.regression.kernels import rbf
from learning_mechanics.validate.experiments.experiment import run
from learning_mechanics.validate.judging.check import check, draw, run_claim

MODEL = HermiteEigenstructure()


@pytest.mark.short
@pytest.mark.parametrize("claim", MODEL.claims(), ids=lambda claim: claim.name)
def test_verdicts_are_as_announced(claim):
    verdict = check(MODEL, claim.name)
    assert verdict.outcome == claim.expected, str(verdict)
    if claim.expected == "holds":
        assert verdict.rival_outcome == "refuted"


@pytest.mark.short
def test_another_kernel_is_refuted():
    """The theory of a kernel of half the width, against the one that is measured."""
    claim = MODEL.claim("eigenvalues_gaussian")

    def narrow(instance):
        setup = replace(instance.setup, options={**instance.setup.options, "kernel": rbf(0.5)})
        return {**claim.law.bind(replace(instance, setup=setup)), "validity": claim.law.bind(instance)["validity"]}

    wrong = replace(claim, law=replace(claim.law, bind=narrow), name="narrow")
    assert run_claim(MODEL, wrong).verdict.outcome == "refuted"


@pytest.mark.instant
def test_predictions_and_measurements_are_made_apart():
    claim = MODEL.claim("eigenvalues_gaussian")
    instances = draw(claim, None, 0)
    measured = run(claim.observable, instances, [0]).values.ravel()
    x = instances[0][0]["x"]
    square = np.square(x).sum(1)
    gram = np.exp(-(square[:, None] + square - 2 * x @ x.T) / 2)
    assert np.allclose(measured, np.linalg.eigvalsh(gram / len(x))[::-1][:10], rtol=1e-9)
    predicted = predict(claim, instances).values.ravel()
    assert (np.diff(predicted) <= 0).all() and not np.allclose(predicted, measured, rtol=1e-3)


@pytest.mark.instant
def test_the_law_is_derived_and_cited():
    system = mode_eigenvalue()
    assert system.trail.references and len(system.trail.steps) == 4
    assert str(system.equations[0]) == "k*monomial/level_sum - lambda"


@pytest.mark.instant
def test_the_distance_counts_every_part():
    closure = hermite_closure(0.1)
    near = Validity(0.05, 0.01, 0.1, 0.5, 50.0, 0.05)
    assert closure.distance({"validity": near}) < 1
    for moved in ({"mixing": 0.2}, {"centre": 0.1}, {"norms": 0.9}, {"kurtosis": 4.0}):
        assert closure.distance({"validity": replace(near, **moved)}) > 1
