"""Models bound to data give scaling laws; other mechanisms stand beside them, each with the number that decides."""

import numpy as np
import pytest

import learning_mechanics as lm
from learning_mechanics.solvers.scaling.exponents import (
    exponents,
    forecast,
    kernel_rows,
    other_mechanisms,
    side_by_side,
)
from learning_mechanics.solvers.scaling.scaling_law import ScalingLaw
from learning_mechanics.theory.dataset import Dataset
from learning_mechanics.theory.errors import BadData
from learning_mechanics.theory.model import Bound
from learning_mechanics.theory.regression.kernels import ntk
from learning_mechanics.validate.tasks.regressions import measure_samples
from learning_mechanics.validate.tasks.tasks import halves, task


def linear(a, b=None):
    return a @ (a if b is None else b).T


def planted(rows=600, seed=0):
    rng, k = np.random.default_rng(seed), np.arange(1.0, 1001.0)
    x = rng.standard_normal((rows, 1000)) / k
    return x, x @ (rng.choice([-1.0, 1.0], 1000) * k**0.05)


@pytest.mark.short
def test_bound_models_give_their_law():
    class Model:
        kernel = staticmethod(linear)
        ridge = 0.0

    x, y = planted()
    bound, grouped = Bound(Model(), Dataset(x, y)), Dataset(x, y, groups=np.arange(600) // 6)
    law = exponents(bound, (30, 300), splits=1, axes=["samples"], mechanisms=False)
    assert isinstance(law, ScalingLaw) and law.parameters is None
    assert law.samples.value == forecast(linear, x, y, (30, 300), splits=1).value
    groups = exponents(Bound(Model(), grouped), splits=1, axes=["samples"], mechanisms=False, check=False)
    assert groups.facts["grouped"]
    with pytest.raises(BadData, match="has no kernel"):
        exponents(Bound(object(), Dataset(x, y)))
    with pytest.raises(BadData, match="is bound to no data"):
        exponents(lm.KernelRegression())


@pytest.mark.short
def test_runs_are_put_beside_a_forecast():
    x, y = planted(seed=3)
    found = forecast(linear, x, y, splits=2)
    sizes = np.array([10.0, 20.0, 40.0, 80.0, 160.0])
    errors = np.array([1.0, 0.5, 0.25, 0.2, 0.16])
    beside = found.compared(sizes[::-1], errors[::-1])
    assert beside.naive == pytest.approx(1.0)
    assert beside.measured == pytest.approx(-np.polyfit(np.log(sizes), np.log(errors), 1)[0])
    for wrong in ((sizes[:3], errors[:3]), (sizes, -errors), (sizes, errors[:4])):
        with pytest.raises(BadData, match="at least four"):
            found.compared(*wrong)


@pytest.mark.short
def test_symbols_are_left_to_the_law_of_zipf():
    """One row for each mechanism; what kernels say of symbols is marked, and Zipf's law meets the regressions."""
    data = task("unseen_words")
    probe = halves(data, 100)
    x, y = data.x[probe], data.y[probe]
    rows = side_by_side(ntk(2), x[:900], y[:900], samples=(50, 400), ridge=1e-6, axes=["samples"], splits=2)
    kernel = next(row for row in rows if row.mechanism == "kernel spectrum")
    zipf = next(row for row in rows if row.mechanism == "Zipf memorisation" and row.axis == "samples")
    assert not kernel.applies and "repeated inputs" in kernel.because
    assert zipf.applies and zipf.formula == "(a - 1)/a"
    sizes = np.unique(np.round(np.geomspace(50, 400, 8)))
    run = measure_samples(ntk(2), data.x[~probe], data.y[~probe], sizes, 1e-6, 12, 100)
    assert abs(zipf.exponent.value - run.exponent) <= 0.05


@pytest.mark.short
def test_what_is_refused_is_a_row_with_the_reason():
    x, _ = planted()
    row = side_by_side(linear, x, np.random.default_rng(0).standard_normal(600))[0]
    assert row.exponent is None and not row.applies and "dominated by noise" in row.because
    assert all(found.mechanism != "Zipf memorisation" for found in other_mechanisms(x, x[:, 0], (10, 100)))
    said = other_mechanisms(x, x[:, 0], (10, 100), corpus="the same few words and the same few words again " * 40)
    assert any("token" in found.mechanism for found in said)


@pytest.mark.short
def test_the_rows_of_a_law_are_what_it_believes():
    x, y = planted()
    law = lm.exponents(lm.KernelRegression(kernel=linear).on(x, y), axes=["samples", "steps"], mechanisms=False)
    rows = kernel_rows(law)
    assert [row.axis for row in rows] == ["samples", "steps"]
    assert rows[1].exponent.value == law.steps.value and rows[1].window == law.steps.window
