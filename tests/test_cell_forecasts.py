"""The ledger of real tasks in a report: registered first, then run, resumed, refused with a reason, and drawn."""

import json

import pytest

from learning_mechanics.theory.errors import BadData
from learning_mechanics.validate.forecasts import cell_forecasts
from learning_mechanics.validate.forecasts.cell_forecasts import ask_cell, settle_cell, settle_cells
from learning_mechanics.validate.forecasts.folder import ForecastFolder
from learning_mechanics.validate.forecasts.registered import Registered
from learning_mechanics.validate.reporting import report as reporting
from learning_mechanics.validate.reporting.forecast_section import forecast_section
from learning_mechanics.validate.reporting.report_page import EXPONENTS
from learning_mechanics.validate.tasks import cells as all_cells
from learning_mechanics.validate.tasks.cells import Cell

pytestmark = pytest.mark.short

CELLS = [
    Cell("digits_parity", "relu-2", "samples", (30.0, 200.0), 520),
    Cell("digits_parity", "relu-2", "steps", (10.0, 300.0), 520),
    Cell("noise", "relu-2", "samples", (30.0, 200.0), 520),
]


@pytest.fixture(scope="module")
def settled(tmp_path_factory):
    folder = tmp_path_factory.mktemp("ledger")
    told = []
    return folder, settle_cells(ForecastFolder(folder), CELLS, seed=7, progress=lambda *a: told.append(a)), told


def test_all_forecasts_stand_before_the_first_run(settled):
    folder, found, told = settled
    words = [what.split()[0] for what, _ in told]
    assert words == ["forecast"] * 3 + ["run"] * 2 and all(0 <= share < 1 for _, share in told)
    assert [score.forecast for score in found.scores] == [one.hash for one in found.forecasts]
    assert list(found.refused) == ["noise, relu-2, samples"] and "noise" in found.refused["noise, relu-2, samples"]
    assert ForecastFolder(folder).verify() == 2


def test_a_second_call_runs_nothing_again(settled, monkeypatch):
    folder, found, _ = settled
    monkeypatch.setattr(cell_forecasts, "measure", lambda *a, **k: pytest.fail("it was measured before"))
    assert settle_cells(ForecastFolder(folder), CELLS, seed=7).scores == found.scores


def test_a_task_that_changed_is_not_settled(monkeypatch):
    asked, answer = ask_cell(CELLS[0], 7)
    with pytest.raises(BadData, match="changed since"):
        settle_cell(Registered.seal({**asked, "sha256": "0" * 64}, answer))


def test_the_section_shows_every_forecast_and_what_was_refused(settled):
    _, found, _ = settled
    page, told = forecast_section(found.forecasts, found.scores, found.refused)
    assert page.count("<tr>") == 1 + len(found.scores) and told.endswith("inside their 90 % interval")
    for score in found.scores:
        assert f"{score.predicted:.3f} ± {score.error:.3f}" in page and score.forecast[:10] in page
    assert "noise, relu-2, samples:" in page and page.count("<img") == 1
    assert forecast_section((), (), {}) == ("", "")


def test_a_report_of_everything_has_it_and_a_forced_one_puts_the_old_aside(tmp_path, monkeypatch):
    monkeypatch.setattr(reporting, "all_names", lambda: [])
    monkeypatch.setattr(all_cells, "report_cells", lambda: CELLS[:1])
    for force in (False, True):
        made = reporting.report(tmp_path / "all", progress=False, force=force)
        content = json.loads(made.json.read_text())["exponents"]
        assert content["summary"]["forecasts"] == 1 and f'id="{EXPONENTS[0]}"' in made.html.read_text()
    assert sorted(path.name for path in (tmp_path / "all").glob("exponents*")) == ["exponents", "exponents.1"]
    assert ForecastFolder(tmp_path / "all" / "exponents.1").verify() == 1
