"""Measured exponents of regressions: every number against a plain solve, an integration or a count done here."""

import json

import numpy as np
import pytest

from learning_mechanics.theory.errors import BadData, UnknownName
from learning_mechanics.theory.regression.kernels import laplace, nngp, ntk
from learning_mechanics.validate.tasks.measured import Measured
from learning_mechanics.validate.tasks.regressions import _draws, measure_features, measure_samples, measure_steps
from learning_mechanics.validate.tasks.tasks import task

pytestmark = pytest.mark.instant


def rows(count=160, dimension=4, outputs=2):
    rng = np.random.default_rng(3)
    x = rng.standard_normal((count, dimension))
    return x, np.column_stack([np.sin(x[:, k]) for k in range(outputs)]), np.arange(count) // 4


@pytest.mark.parametrize("grouped", [False, True])
def test_one_factor_gives_the_errors_of_every_size(grouped):
    x, y, groups = rows()
    groups, kernel = groups if grouped else None, laplace(2.0)
    found = measure_samples(kernel, x, y, [5, 17, 60], ridge=1e-3, trials=3, seed=8, groups=groups)
    for trial, (fit, test) in enumerate(_draws(len(x), groups, 60, 3, 8, "")):
        for column, n in enumerate((5, 17, 60)):
            weights = np.linalg.solve(kernel(x[fit[:n]]) + 1e-3 * np.eye(n), y[fit[:n]])
            error = ((kernel(x[test], x[fit[:n]]) @ weights - y[test]) ** 2).sum(1).mean()
            assert found.values[trial, column] == pytest.approx(error, rel=1e-9)


@pytest.mark.parametrize("largest", [20, 100, 120])
def test_no_group_is_trained_on_and_judged(largest):
    _, _, groups = rows()
    for fit, test in _draws(160, groups, largest, 5, 0, ""):
        assert len(fit) == largest == len(set(fit.tolist()))
        assert not set(groups[fit]) & set(groups[test]) and len(test) >= 4


def test_copies_of_rows_help_only_if_groups_are_ignored():
    """Planted: every row comes four times. Judged on copies of rows it has seen, a regression looks too good."""
    x, y, groups = rows()
    x, y = x[::4].repeat(4, axis=0), y[::4].repeat(4, axis=0)
    honest, fooled = (
        measure_samples(laplace(2.0), x, y, [20, 60], ridge=1e-3, groups=given) for given in (groups, None)
    )
    assert fooled.mean[1] < 0.6 * honest.mean[1]


def test_memorised_words_are_those_seen():
    """One-hot words with signs for targets: the squared error is the share of words that were not seen, counted."""
    words = task("unseen_words")
    x, y = words.x[:900], words.y[:900]

    def linear(a, b=None):
        return a @ (a if b is None else b).T

    found = measure_samples(linear, x, y, [40, 160, 600], trials=2, seed=5)
    number = x.argmax(1)
    for trial, (fit, test) in enumerate(_draws(900, None, 600, 2, 5, "")):
        for column, n in enumerate((40, 160, 600)):
            unseen = ~np.isin(number[test], number[fit[:n]])
            assert found.values[trial, column] == pytest.approx(unseen.mean(), rel=1e-6)


def test_random_neurons_are_regressed_on_as_they_are():
    x, y, _ = rows()
    kernel = nngp(depth=2, activation="relu")
    found = measure_features(kernel, x, y, [6, 90], samples=50, ridge=1e-2, trials=2, seed=4)
    for trial, (fit, test) in enumerate(_draws(160, None, 50, 2, 4, "")):
        weights = np.random.default_rng([4, trial, 90]).standard_normal((4, 90))
        for column, k in enumerate((6, 90)):
            neurons = np.sqrt(2.0 / k) * np.maximum(x @ weights[:, :k], 0)
            learned = np.linalg.solve(neurons[fit].T @ neurons[fit] + 1e-2 * np.eye(k), neurons[fit].T @ y[fit])
            error = ((neurons[test] @ learned - y[test]) ** 2).sum(1).mean()
            assert found.values[trial, column] == pytest.approx(error, rel=1e-8)


def test_many_neurons_are_the_kernel():
    """Both regressions on the same rows; 4000 neurons leave a relative error of about 1/sqrt(4000) = 1.6 %."""
    x, y, _ = rows()
    kernel = nngp(depth=2, activation="erf")
    many = measure_features(kernel, x, y, [2000, 4000], samples=60, ridge=0.1, trials=2)
    limit = measure_samples(kernel, x, y, [30, 60], ridge=0.1, trials=2)
    assert np.allclose(many.values[:, 1], limit.values[:, 1], rtol=0.05)
    assert not np.allclose(many.values[:, 1], limit.values[:, 0], rtol=0.05)


def test_flow_is_descent_by_small_steps_and_ends_at_the_regression():
    x, y, _ = rows()
    kernel = laplace(2.0)
    found = measure_steps(kernel, x, y, [0.5, 3.0, 1e9], samples=40, trials=1, seed=2)
    ((fit, test),) = _draws(160, None, 40, 1, 2, "")
    gram, cross = kernel(x[fit]), kernel(x[test], x[fit])
    weights, errors, rate = np.zeros((40, 2)), {}, 1e-3
    for step in range(1, 3001):
        weights += rate * (y[fit] - gram @ weights) / 40
        if step in (500, 3000):
            errors[step * rate] = ((cross @ weights - y[test]) ** 2).sum(1).mean()
    assert found.values[0, :2] == pytest.approx([errors[0.5], errors[3.0]], rel=1e-3)
    last = measure_samples(kernel, x, y, [20, 40], ridge=1e-10, trials=1, seed=2)
    assert found.values[0, 2] == pytest.approx(last.values[0, 1], rel=1e-6)


def test_exponents_and_their_errors_of_planted_power_laws():
    n = np.geomspace(10, 1000, 7)
    tilts = np.array([0.4, 0.5, 0.6])
    found = Measured("samples", n, np.array([2.0 * n**-tilt for tilt in tilts]), "planted")
    assert Measured("samples", n, 3.0 * n[None] ** -0.7, "planted").exponent == pytest.approx(0.7)
    leave_one_out = [
        -np.polyfit(np.log(n), np.log(np.delete(found.values, i, 0).mean(0)), 1)[0] for i in range(len(tilts))
    ]
    jackknife = np.sqrt(2 / 3 * ((leave_one_out - np.mean(leave_one_out)) ** 2).sum())
    assert found.exponent_error == pytest.approx(jackknife)
    assert 0.7 * 0.1 / np.sqrt(3) < found.exponent_error < 1.3 * 0.1 / np.sqrt(3)
    assert found.naive == pytest.approx(-np.polyfit(np.log(n[:3]), np.log(found.mean[:3]), 1)[0])
    assert found.within(15, 700).abscissa[[0, -1]].tolist() == n[[1, 5]].tolist()
    assert "samples^-(" in str(found) and "planted" in str(found)
    json.dumps(found.to_dict())
    one = Measured("steps", n, n[None] ** -0.5, "one run")
    assert one.exponent_error == np.inf and one.to_dict()["exponent_error"] is None


def test_what_cannot_be_measured_is_said_in_one_line():
    x, y, groups = rows()
    kernel = laplace(2.0)
    for say, arguments in {
        "at most 128": (kernel, x, y, [10, 130]),
        "two different": (kernel, x, y, [10]),
        "(160, 4), y (159, 2)": (kernel, x, y[1:], [10, 20]),
    }.items():
        with pytest.raises(BadData) as caught:
            measure_samples(*arguments)
        assert say in str(caught.value) and "\n" not in str(caught.value)
    with pytest.raises(BadData, match="name the group of every row"):
        measure_samples(kernel, x, y, [10, 20], groups=groups[1:])
    with pytest.raises(BadData, match="a whole group is left"):
        measure_samples(kernel, x, y, [10, 120], groups=np.zeros(160))
    with pytest.raises(BadData, match="raise the ridge"):
        measure_samples(kernel, x[[0] * 160], y, [10, 20], ridge=0.0)
    with pytest.raises(BadData, match="nngp"):
        measure_features(ntk(2), x, y, [4, 8], samples=40)
    with pytest.raises(BadData, match="two times above 0"):
        measure_steps(kernel, x, y, [0.0, 1.0], samples=40)
    with pytest.raises(UnknownName, match="steps"):
        Measured("step", np.ones(2), np.ones((1, 2)), "")
    with pytest.raises(BadData, match="not above 0"):
        _ = Measured("steps", np.arange(1.0, 3.0), np.zeros((1, 2)), "").exponent
    with pytest.raises(BadData, match="0 points between 5 and 6"):
        Measured("steps", np.arange(1.0, 3.0), np.ones((1, 2)), "").within(5, 6)
