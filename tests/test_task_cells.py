"""Cells: forecasts from one half of a task's rows against runs on the other, along every axis."""

import numpy as np
import pytest

from learning_mechanics.theory.errors import BadData, Underpowered, UnknownName
from learning_mechanics.validate.tasks import cells as module
from learning_mechanics.validate.tasks.cells import Cell, cells, forecast, measure, trained_cells
from learning_mechanics.validate.tasks.learners import LEARNERS, learner
from learning_mechanics.validate.tasks.tasks import halves, record, task


@pytest.mark.short
@pytest.mark.parametrize(
    ("name", "learned", "axis", "window"),
    [
        ("digits_classes", "relu-2", "samples", (40, 400)),
        ("digits_halves", "relu-2", "steps", (10, 500)),
        ("digits_parity", "neurons-relu", "parameters", (8, 80)),
    ],
)
def test_every_axis_is_forecast(name, learned, axis, window):
    """Seeds not looked at before; a miss of 0.15 is more than three half-widths of these forecasts."""
    cell = Cell(name, learned, axis, window)
    predicted, found = forecast(cell, seed=31), measure(cell, seed=31)
    assert abs(predicted.value - found.exponent) < min(0.15, 3 * predicted.error)
    assert found.axis == axis and np.array_equal(found.abscissa, cell.abscissa)
    assert predicted.test.shape == found.mean.shape == cell.abscissa.shape
    assert str(cell) in str(predicted) and 0.02 < predicted.error < 0.2


@pytest.mark.short
def test_words_are_forecast_by_how_often_they_repeat():
    """Gaussian theory of the kernel misses by more than its interval; counting the words of the probe does not."""
    cell = Cell("unseen_words", "relu-3", "samples", (40, 700))
    predicted, found = forecast(cell, seed=33), measure(cell, seed=33)
    assert predicted.facts["mechanism"] == "Zipf memorisation"
    assert abs(predicted.value - found.exponent) < 2 * predicted.error < 0.12
    assert np.abs(np.log(predicted.test / found.mean)).max() < 0.15


@pytest.mark.short
def test_forecasts_see_one_half_and_runs_the_other(monkeypatch):
    """Planted: with the other half's targets ruined, a forecast stays bitwise the same; with its own, it does not."""
    cell, data = Cell("digits_parity", "relu-2", "samples", (40, 300)), task("digits_parity")
    before = forecast(cell, seed=4).value
    probe = halves(data, 4)
    for ruined, same in ((~probe, True), (probe, False)):
        y = np.where(ruined[:, None], data.y[::-1], data.y)
        monkeypatch.setattr(module, "task", lambda _, y=y: type(data)(data.x, y, data.name))
        try:
            after = forecast(cell, seed=4).value
        except Underpowered:
            after = np.nan
        assert (after == before) == same


@pytest.mark.short
@pytest.mark.parametrize("name", ["noise", "next_character", "cells"])
def test_tasks_without_an_exponent_are_refused(name):
    assert record(name).refused
    with pytest.raises(Underpowered) as caught:
        forecast(Cell(name, "relu-3", "samples", (40, 280)), seed=1)
    assert "\n" not in str(caught.value)


@pytest.mark.instant
def test_budgets_choose_the_first_cells_of_one_list():
    few, many = cells(40.0), cells(400.0)
    assert few == many[: len(few)] and len(many) > len(few) > 5
    assert sum(cell.seconds for cell in few) <= 40.0
    assert not any(record(cell.task).refused for cell in many)
    assert len({record(cell.task).problem for cell in many}) >= 10
    assert {cell.axis for cell in cells(1e4)} == {"samples", "parameters", "steps"}
    assert {cell.axis for cell in cells(200.0, axes=("steps",))} == {"steps"}
    everything = cells(1e9)
    assert len(everything) == len(set(everything)) >= 30
    assert len([cell for cell in everything if cell.axis == "samples"]) >= 30
    assert cells(0.0) == [] == trained_cells(0.0)
    assert any(learner(cell.learner).trained.richness for cell in trained_cells(200.0))


@pytest.mark.instant
def test_what_is_no_cell_is_said_in_one_line():
    with pytest.raises(UnknownName, match="did you mean 'digits_parity'"):
        Cell("digit_parity", "relu-2", "samples", (40, 400))
    with pytest.raises(UnknownName, match="did you mean 'relu-2'"):
        Cell("digits_parity", "relu2", "samples", (40, 400))
    with pytest.raises(BadData, match="measured along samples and steps"):
        Cell("digits_parity", "relu-2", "parameters", (40, 400))
    with pytest.raises(BadData, match="a factor 1.5 apart"):
        Cell("digits_parity", "relu-2", "samples", (40, 50))
    with pytest.raises(BadData, match="the rest judges"):
        measure(Cell("digits_parity", "relu-2", "samples", (40, 890)), seed=0)
    for found in LEARNERS.values():
        assert found.kernel(np.eye(3)).shape == (3, 3) and found.description


@pytest.mark.long
@pytest.mark.parametrize("axis", ["steps", "parameters"])
def test_exponents_in_time_and_in_neurons(axis):
    """One cell of every task that has an exponent, on a split no constant was fixed on.

    Neurons are not Gaussian features: their spread of 0.06 was fixed on splits 32 and 40 to 42, and held 87 % of 46
    cells on splits 50 and 51; the largest miss was 0.16.
    """
    misses, inside = [], []
    for cell in cells(1e9, axes=(axis,)):
        predicted, found = forecast(cell, seed=50), measure(cell, seed=50)
        misses.append(abs(predicted.value - found.exponent))
        inside.append(misses[-1] <= predicted.error)
        print(predicted, found.exponent)
    print(f"median {np.median(misses):.3f}, largest {max(misses):.3f}, inside {np.mean(inside):.0%} of {len(misses)}")
    assert np.median(misses) <= 0.05 and max(misses) <= (0.15 if axis == "steps" else 0.2)
    assert np.mean(inside) >= 0.8
