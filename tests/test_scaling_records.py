"""Records about scaling have figures that show their numbers, and print as cards."""

import json

import numpy as np
import pytest

import learning_mechanics as lm

pytestmark = pytest.mark.short


def test_the_map_of_phases_is_what_the_classifier_says():
    """Thirty random cells of the map against the exact classifier at their own alpha and beta."""
    from learning_mechanics.validate.reporting.figures.scaling_records import _phases

    (axes,) = lm.plot(lm.power_law_phase(1, "3/4")).axes
    assert {text.get_text() for text in axes.texts} == {"Ia", "Ib", "Ic", "II", "III", "IVa", "IVb"}
    assert axes.lines[0].get_xydata().tolist() == [[1.0, 0.75]]
    alpha, beta, chart, names = _phases(1.5, 1.5)
    for row, column in np.random.default_rng(0).integers(0, len(alpha), (30, 2)):
        try:
            expected = lm.power_law_phase(float(alpha[column]), float(beta[row])).name
        except lm.errors.OutsideDomain:  # no power law
            expected = ""
        number = chart[row, column]
        assert (names[int(number)] if np.isfinite(number) else "") == expected


def test_finite_size_curves_and_their_frontier():
    problem = lm.power_law_features(0.9, 0.6)
    steps = [0, 1, 10, 100, 1000]
    drawn = problem.exact(100, steps, seeds=2)
    (axes,) = lm.plot(drawn).axes
    assert axes.lines[0].get_ydata() == pytest.approx(drawn.loss[1:])  # step 0 has no place on a logarithmic axis
    found = problem.frontier([100, 140, 200, 280])
    losses, widths = lm.plot(found).axes
    assert losses.lines[0].get_ydata() == pytest.approx(found.loss)
    assert widths.lines[0].get_ydata() == pytest.approx(found.width)
    limit = np.log(losses.lines[1].get_ydata())
    slope = (limit[-1] - limit[0]) / np.log(found.compute[-1] / found.compute[0])
    assert slope == pytest.approx(-2 / 3)  # phase II: (2 alpha + 2 beta - 1) / (2 (alpha + beta))
    (axes,) = lm.plot(problem).axes
    assert {text.get_text() for text in axes.texts} == {f"d = {d}" for d in (100, 200, 400, 800, 1600)}
    assert not lm.plot(lm.power_law_features(0.2, 0.1)).axes[0].get_legend()  # no power law: no line of one


def test_dynamics_show_what_holds_back():
    k = np.arange(1.0, 501)
    found = lm.dynamics(k**-1.5, k**-1.8, times=np.geomspace(1, 1e3, 9), samples=300, features=500)
    errors, shares = lm.plot(found).axes
    assert errors.lines[0].get_ydata() == pytest.approx(found.test)
    assert sum(line.get_ydata() for line in shares.lines) == pytest.approx(np.ones(9))
    assert lm.plot(lm.dynamics(k**-1.5, k**-1.8, times=[0.0, 1.0, 10.0])).axes


def test_raw_data_and_other_records():
    rng = np.random.default_rng(0)
    k = np.arange(1.0, 2001)
    symbols = lm.one_hot(np.eye(200)[np.minimum(rng.zipf(1.5, 2000), 200) - 1])
    test = lm.power_law_test(k**-1.5)
    dimension = lm.intrinsic_dimension(rng.standard_normal((300, 4)))
    rich = lm.feature_learning(1.5, 1.8)
    assert lm.plot(symbols).axes[0].lines[0].get_ydata() == pytest.approx(symbols.counts / 2000)
    assert len(lm.plot(test).axes[0].containers[0][0].get_xdata()) == len(test.slopes)
    assert lm.plot(dimension).axes[0].get_ylabel() == "intrinsic dimension"
    assert [line.get_label() for line in lm.plot(rich).axes[0].lines] == ["lazy", "rich", "here 0.53"]
    lazy, faster, _ = lm.plot(rich).axes[0].lines
    hard = lazy.get_xdata() < 1
    assert (faster.get_ydata() >= lazy.get_ydata() - 1e-12).all()
    assert faster.get_ydata()[hard] == pytest.approx((2 * lazy.get_xdata() / (1 + lazy.get_xdata()))[hard])
    for record in (symbols, test, dimension, rich, lm.power_law_phase(1, "3/4")):
        assert repr(record) == str(record)
        json.dumps(record.to_dict(), allow_nan=False)


def test_mechanisms_side_by_side_are_one_figure():
    rng = np.random.default_rng(0)
    rows = lm.mechanisms.zipf(rng.zipf(2.0, 4000), (30, 1000))
    made = lm.plot(rows)
    assert [axes.get_title(loc="left") for axes in made.axes] == [row.axis for row in rows if row.exponent]
    for axes, row in zip(made.axes, rows, strict=True):
        assert axes.containers[0][0].get_xdata() == pytest.approx([row.exponent.value])
    assert repr(rows[0]) == str(rows[0])
    assert len(lm.plot(rows[0]).axes) == 1


def test_a_fitted_surface_is_a_card_and_a_figure():
    n, d = map(np.ravel, np.meshgrid(np.geomspace(1e7, 1e9, 5), np.geomspace(1e8, 1e10, 5)))
    loss = (1.7 + 400 / n**0.34 + 410 / d**0.28) * np.exp(0.003 * np.random.default_rng(0).standard_normal(25))
    fit = lm.fit_loss_surface(n, d, loss, bootstrap=100)
    assert repr(fit) == str(fit) and repr(fit.optimum(1e20)) == str(fit.optimum(1e20))
    assert lm.plot(fit).axes[1].lines[1].get_ydata() == pytest.approx(100 * np.expm1(fit.residuals))
