"""Errors in time, samples and features at hard and at wrong inputs: finite numbers, or one line with a remedy."""

import numpy as np
import pytest

from learning_mechanics.solvers.scaling.dynamics import dynamics
from learning_mechanics.theory.errors import BadData, LearningMechanicsError, OutsideDomain
from learning_mechanics.theory.scaling import dynamical as theory

RANK = np.arange(1.0, 201)
LAM, POWER = RANK**-1.3, RANK**-2.2
TIMES = np.array([0.0, 0.3, 3.0, 30.0, 3e3])


HARD = {
    "one mode": ([2.0], [1.0], {"samples": 3, "features": 2}),
    "one mode, one sample, one feature": ([2.0], [1.0], {"samples": 1, "features": 1}),
    "equal": (np.ones(50), np.ones(50), {"samples": 30, "features": 20, "noise": 0.1}),
    "as many features as samples": (LAM, POWER, {"samples": 60, "features": 60, "noise": 0.1}),
    "more than modes": (LAM, POWER, {"samples": 300, "features": 400, "noise": 0.1}),
    "as many as modes": (LAM, POWER, {"samples": 200, "features": 200, "noise": 0.1}),
    "fewer than one": (LAM, POWER, {"samples": 1e-3, "features": 0.5}),
    "huge numbers": (LAM, POWER, {"samples": 1e300, "features": 1e300}),
    "no power": (LAM, None, {"samples": 30, "features": 20}),
    "noise only": (LAM, None, {"samples": 30, "features": 20, "noise": 1.0}),
    "thirty decades": (10.0 ** -np.arange(30.0), np.ones(30), {"samples": 10, "features": 20}),
    "a null space": ([1.0, 0.5, 0.0], [1.0, 1.0, 1.0], {"samples": 1, "features": 2}),
    "huge kernel": (1e200 * LAM, POWER, {"samples": 30, "features": 20}),
    "tiny kernel": (1e-200 * LAM, POWER, {"samples": 30}),
}


@pytest.mark.instant
@pytest.mark.parametrize("name", HARD)
def test_hard_inputs(name):
    lam, power, given = HARD[name]
    times = np.array([0.0, 1e-12, 1e-3, 1.0, 10.0, 1e3, 1e6, 1e12]) / np.max(lam)
    found = dynamics(lam, power, times, **given)
    start = (0.0 if power is None else np.sum(power)) + given.get("noise", 0.0)
    assert all(np.isfinite(values).all() for values in (found.test, found.train, found.error, found.kappa[1:]))
    assert found.test[0] == start and abs(found.test[1] - start) <= 1e-9 * start
    slack = found.error + 1e-9 * start
    assert (found.test >= found.bias - slack).all() and (np.diff(found.train) <= slack[1:]).all()
    assert "largest numerical error" in str(found) and len(found.to_dict()["bottleneck"]) == 8


@pytest.mark.instant
@pytest.mark.parametrize(
    ("given", "error", "said"),
    [
        ({"times": []}, BadData, "times"),
        ({"times": [-1.0]}, BadData, "times"),
        ({"times": [np.inf]}, BadData, "finite times"),
        ({"times": "late"}, BadData, "not numbers"),
        ({"samples": 0}, BadData, "samples 0"),
        ({"samples": [1.0, 2.0]}, BadData, "one for each time"),
        ({"features": np.nan}, BadData, "features"),
        ({"noise": -1}, BadData, "noise"),
        ({"weight_decay": "0.1"}, BadData, "weight_decay"),
        ({"times": [0.15], "learning_rate": 0.1}, BadData, "1.5 steps"),
        ({"times": [4.0], "learning_rate": 4.0}, OutsideDomain, "below 2"),
        ({"times": [1.5], "learning_rate": 1.5, "samples": 5}, OutsideDomain, "converges"),
    ],
)
def test_wrong_inputs_are_one_line(given, error, said):
    with pytest.raises(error, match=said) as caught:
        dynamics(LAM, POWER, **{"times": [1.0], **given})
    assert "\n" not in str(caught.value) and ";" in str(caught.value)
    with pytest.raises(BadData, match="window"):
        dynamics(LAM, POWER, [1.0, 2.0]).slope((5.0, 9.0))


@pytest.mark.instant
def test_wrong_derivations_are_refused():
    """A correlation whose sources of features are half of what they are fails every check of the trail."""
    right = theory.dynamical().observables
    wrong = right["correlation"].subs(theory.N, 2 * theory.N)
    with pytest.raises(LearningMechanicsError, match="correlations differ"):
        theory._residual_of_correlations(wrong, 0)
    with pytest.raises(LearningMechanicsError, match="resolvents differ"):
        theory._residual_of_resolvents(wrong, right["training_correlation"], 0)
    with pytest.raises(LearningMechanicsError, match="end of training"):
        theory._residual_at_rest(wrong)
