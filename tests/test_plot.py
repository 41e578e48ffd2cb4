"""Figures show what they say: lines, dots, dashes, readable labels, for every kind of claim."""

from functools import cache
from types import SimpleNamespace

import matplotlib
import numpy as np
import pytest
from matplotlib.figure import Figure

from learning_mechanics.theory.claims import Converges, Equals, Scales, Threshold
from learning_mechanics.theory.errors import BadData
from learning_mechanics.validate.reporting.figures.style import style, svg
from learning_mechanics.validate.reporting.plot import (
    MOST_SERIES,
    figure,
    forecast_figure,
    plot,
    portrait,
    save_portrait,
)

pytestmark = pytest.mark.short
RNG = np.random.default_rng(0)
LINEAR, LOG = SimpleNamespace(spacing="linear"), SimpleNamespace(spacing="log")


def claim(kind=Equals, **fields):
    rival = SimpleNamespace(name="rival law")
    defaults = {"name": "c", "statement": "s", "observable": "risk", "setup": LINEAR, "law": None, "rival": rival}
    return kind(**{**defaults, **({"budget": {"b": 0.01}} if kind is not Converges else {}), **fields})


def record(values, abscissa, name="step", law="a law"):
    values = np.asarray(values, float)
    fields = {"values": values, "abscissa": np.broadcast_to(abscissa, values.shape[1:3]), "abscissa_name": name}
    fields |= {"law": law, "uncertainty": None, "observable": "mode_strength", "theory": "t"}
    return SimpleNamespace(**fields, slope=None, slope_error=None)


def sigmoids():
    steps, s = np.arange(0, 81), np.linspace(1, 0.3, 9)
    curves = (s / (1 + 1e3 * np.exp(-0.3 * s * steps[:, None])))[None, None]
    claimed = claim(observable="mode_strength", relative="scale")
    seeds = np.concatenate([curves, 1.01 * curves, 0.99 * curves])
    return claimed, record(seeds, steps), record(0.5 * curves, steps), record(seeds + 1e-4, steps)


def risk():
    steps = np.concatenate([[0], np.unique(np.geomspace(1, 3000, 40).astype(int))])
    law = ((1.0 + steps) ** -0.8)[None, None, :, None]
    runs = law * (1 + 0.05 * RNG.standard_normal((50, 1, len(steps), 1)))
    return (
        claim(setup=LOG, stochastic=True, relative="point"),
        record(law, steps),
        record(law**1.2, steps),
        record(runs, steps),
    )


def exponent():
    sizes = np.array([10, 20, 40, 80, 160, 320])
    law = (sizes**-1.2)[None, None, :, None]
    runs = law * (1 + 0.05 * RNG.standard_normal((12, 1, 6, 1)))
    claimed = claim(Scales, stochastic=True, window=(20.0, 320.0))
    return claimed, record(law, sizes, "n"), record(law**0.7, sizes, "n"), record(runs, sizes, "n")


def order():
    rates, steps = (0.2, 0.1, 0.05, 0.025), np.arange(30)
    law = np.broadcast_to(np.tanh(0.1 * steps)[:, None], (1, 4, 30, 1))
    measured = law * (1 + 0.3 * np.array(rates).reshape(1, 4, 1, 1))
    claimed = claim(Converges, axis="learning_rate", values=rates)
    return claimed, record(law, steps), record(0.7 * law, steps), record(measured, steps)


def threshold():
    growth = np.array([0.98, 1.02]).reshape(1, 2, 1, 1)
    claimed = claim(Threshold, axis="learning_rate", values=(0.99, 1.01), relative="point", critical=None)
    return claimed, record(growth, [9]), record(growth - 0.03, [9]), record(growth + 1e-4, [9])


def edge():
    steps = np.arange(0, 4000, 50)
    rise = np.minimum(10, 3 + 0.01 * steps)[None, None, :, None]
    claimed = claim(observable="sharpness", relative="point", options={"summary": "last_third_mean"})
    flat = np.full_like(rise, 10.0)
    return claimed, record(flat, steps), record(1.9 * flat, steps), record(rise, steps)


CASES = [sigmoids, risk, exponent, order, threshold, edge]


@cache
def drawn(case):
    """Inputs and figure of a case; drawing costs a few tenths of a second, so once is enough."""
    inputs = case()
    return inputs, figure(*inputs)


@pytest.mark.parametrize("case", CASES)
def test_lines_dots_and_dashes(case):
    (_, prediction, _, measurement), made = drawn(case)
    left, right = made.axes
    series = 1 if case is threshold else min(MOST_SERIES, max(prediction.values.shape[1], prediction.values.shape[3]))
    dots = [line for line in left.lines if line.get_marker() == "o"]
    assert len(dots) == sum(line.is_dashed() for line in left.lines) == series
    # the line is the law and the dots are the measurement, point by point
    law, measured = (
        r.values[:, :, -1, 0] if case is threshold else r.values[:, 0, :, 0] for r in (prediction, measurement)
    )
    lines = [np.asarray(line.get_ydata(), float) for line in left.lines if line not in dots and not line.is_dashed()]
    assert any(len(y) > 1 and np.isin(y, law[0]).all() for y in lines)
    mean = measured[0] if len(prediction.values) > 1 else measured.mean(0)
    assert len(dots[0].get_ydata()) <= 26 and np.isin(dots[0].get_ydata(), mean).all()
    assert all(axes.get_xlabel() and axes.get_ylabel() for axes in (left, right))


def test_scales_follow_the_claim():
    scales = {case: [a.get_xscale() + "-" + a.get_yscale() for a in drawn(case)[1].axes] for case in CASES}
    assert scales[sigmoids] == ["linear-linear", "linear-log"]
    assert scales[risk] == ["log-log", "log-log"]
    assert scales[exponent] == ["log-log", "log-linear"]
    assert scales[order][1] == "log-log"
    assert scales[edge][0] == "linear-linear"


def test_error_bars_only_where_seeds_scatter():
    def bars(made):
        return sum(len(c.lines[2]) for c in made.axes[0].containers)

    assert bars(drawn(risk)[1]) == 1
    assert bars(drawn(sigmoids)[1]) == 0


def test_a_rival_that_explodes_does_not_squash_the_rest():
    claimed, prediction, rival, measurement = sigmoids()
    rival.values = rival.values * 1e6
    low, high = figure(claimed, prediction, rival, measurement).axes[0].get_ylim()
    assert high < 5
    rival.values[..., -1, :] = np.nan
    figure(claimed, prediction, rival, measurement)


def test_labels_do_not_overlap():
    _, made = drawn(sigmoids)
    made.draw_without_rendering()
    boxes = [text.get_window_extent() for text in made.axes[0].texts]
    boxes.sort(key=lambda box: box.y0)
    assert len(boxes) == MOST_SERIES
    assert all(above.y0 >= below.y0 + 5 for below, above in zip(boxes, boxes[1:], strict=False))


def test_the_same_figure_gives_the_same_bytes():
    assert (first := svg(figure(*threshold()))) == svg(figure(*threshold()))
    assert "<svg" in first


def test_nothing_global_changes():
    before = dict(matplotlib.rcParams)
    figure(*edge())
    assert dict(matplotlib.rcParams) == before
    with style():
        assert matplotlib.rcParams["axes.spines.top"] is False


def test_plot_draws_what_it_knows_and_refuses_the_rest():
    claimed, prediction, rival, measurement = exponent()
    run = SimpleNamespace(claim=claimed, prediction=prediction, rival=rival, measurement=measurement)
    assert isinstance(plot(run), Figure) and isinstance(plot(prediction), Figure)
    prediction.uncertainty = 0.1 * prediction.values
    assert len(forecast_figure(prediction).axes[0].collections) == 1
    with pytest.raises(BadData, match="a int has no figure"):
        plot(3)


def test_exponents_and_learning_curves():
    sizes = np.geomspace(10, 1000, 7)
    curve, partner = (SimpleNamespace(sizes=sizes, test=sizes**-slope) for slope in (1.0, 1.2))
    exponent = SimpleNamespace(curve=curve, partner=partner, slope=-1.1, error=0.05, window=(20.0, 500.0))
    (axes,) = plot(exponent).axes
    (stated,) = [line for line in axes.lines if line.is_dashed()]
    x, y = (np.log(np.asarray(values)) for values in stated.get_data())
    assert np.diff(y)[0] / np.diff(x)[0] == pytest.approx(-1.1)
    assert np.exp(x) == pytest.approx([20, 500]) and axes.get_title(loc="left") == "slope -1.100 ± 0.050"
    assert len(axes.texts) == 2 and axes.get_xscale() == axes.get_yscale() == "log"
    assert len(plot(curve).axes[0].lines) == 1
    assert len(plot(SimpleNamespace(sizes=sizes, errors=[curve.test, partner.test])).axes[0].lines) == 2


def test_a_portrait_shows_every_seed_of_the_components_asked_for(tmp_path):
    claimed, prediction, rival, measurement = sigmoids()
    run = SimpleNamespace(claim=claimed, prediction=prediction, rival=rival, measurement=measurement)
    (axes,) = portrait(run, (1, 9)).axes
    dots = [line for line in axes.lines if line.get_linestyle() == "None"]
    assert {line.get_marker() for line in dots} == {"o", "s", "^"} and len(dots) == 2 * 3
    assert sorted(text.get_text() for text in axes.texts) == ["mode 1", "mode 9"]
    with pytest.raises(BadData, match="no component 10"):
        portrait(run, (1, 10))
    with pytest.raises(BadData, match="nosuch"):
        save_portrait(run, tmp_path / "figure.nosuch", (1,))
    save_portrait(run, tmp_path / "new" / "figure.svg", (1,))
    assert "<svg" in (tmp_path / "new" / "figure.svg").read_text()


def test_what_is_conserved_is_shown_by_how_it_moves():
    claimed, prediction, rival, measurement = sigmoids()
    claimed = claim(observable="balancedness", relative="scale")
    for each in (prediction, rival, measurement):
        each.values = each.values + 7.0
    low, high = figure(claimed, prediction, rival, measurement).axes[0].get_ylim()
    assert low < 0 < high < 2


def test_short_logarithmic_axes_have_plain_numbers():
    (_, right) = drawn(exponent)[1].axes
    left = drawn(exponent)[1].axes[0]
    labels = [text.get_text() for axis in (left.xaxis, right.xaxis) for text in axis.get_ticklabels()]
    assert len(labels) >= 6 and all(float(text) > 0 for text in labels)


def test_the_curves_of_settings_have_a_key():
    left = drawn(order)[1].axes[0]
    key = left.get_legend()
    assert key.get_title().get_text() == "learning rate"
    assert [text.get_text() for text in key.get_texts()] == ["0.2", "0.1", "0.05", "0.025"]


def test_a_long_legend_stays_inside():
    claimed, prediction, rival, measurement = exponent()
    prediction.law, rival.law = "a forecast with quite a long name", "a rival whose name is quite as long as that"
    made = figure(claimed, prediction, rival, measurement)
    made.draw_without_rendering()
    assert made.legends[0].get_window_extent().x1 <= made.bbox.x1


def settings(observable="kernel_distance", values=(-1.0, -0.2, 1.0, 4.0), components=1):
    """What is judged at the last record, for several settings: two records each, first and last."""
    last = np.linspace(0.9, 0.1, len(values) * components).reshape(1, len(values), 1, components)
    law = np.concatenate([np.zeros_like(last), last], axis=2)
    claimed = claim(axis="imbalance", values=values, observable=observable, options={"summary": "last"})
    return claimed, record(law, [0, 100]), record(law * 0.5, [0, 100]), record(law + 1e-3, [0, 100])


def test_numbers_at_the_end_are_drawn_against_the_axis_of_the_claim():
    left, right = figure(*settings()).axes
    (dots,) = (line for line in left.lines if line.get_marker() == "o")
    assert dots.get_xdata() == pytest.approx([-1, -0.2, 1, 4])
    assert dots.get_ydata() == pytest.approx(np.linspace(0.9, 0.1, 4) + 1e-3)
    assert left.get_xlabel() == right.get_xlabel() == "imbalance of the layers (weight squared)"
    assert [text.get_text() for text in right.get_xticklabels()] == ["−1", "−0.2", "1", "4"]


def test_the_portrait_of_numbers_is_drawn_against_the_axis_too():
    claimed, prediction, rival, measurement = settings(components=2)
    run = SimpleNamespace(claim=claimed, prediction=prediction, rival=rival, measurement=measurement)
    (axes,) = portrait(run).axes
    assert axes.get_xlabel() == "imbalance of the layers (weight squared)" and len(axes.texts) == 2
    assert portrait(run, (1,)).axes[0].get_xlabel() == "training step"


def test_settings_given_downwards_are_drawn_upwards():
    inputs = settings(observable="loss", values=(1e-3, 1e-4, 1e-6))
    left, right = figure(*inputs).axes
    assert [text.get_text() for text in right.get_xticklabels()] == ["10⁻⁶", "0.0001", "0.001"]
    line = next(line for line in left.lines if line.get_marker() != "o" and not line.is_dashed())
    assert line.get_xdata().tolist() == [1e-6, 1e-4, 1e-3] and line.get_ydata() == pytest.approx([0.1, 0.5, 0.9])
    assert left.get_xscale() == "log"


def test_times_that_never_come_are_not_drawn():
    claimed, prediction, rival, measurement = settings("half_rise", (1e-3, 1e-4), components=3)
    for each in (prediction, measurement):
        each.values[:, 1, :, 1] = 0.0  # mode 2 rises from the first start only
        each.values[..., 2] = 0.0  # mode 3 never
    left = figure(claimed, prediction, rival, measurement).axes[0]
    assert sorted(text.get_text() for text in left.texts) == ["mode 1", "mode 2"]
    assert left.get_ylim()[0] > -0.1


def test_numbers_without_an_axis_are_drawn_against_their_components():
    last = np.linspace(1, 0.1, 40)
    law = np.stack([0 * last, last])[None, None]
    claimed = claim(observable="embedding_strength", options={"summary": "last"})
    left = figure(claimed, record(law, [0, 9]), record(2 * law, [0, 9]), record(law, [0, 9])).axes[0]
    (dots,) = (line for line in left.lines if line.get_marker() == "o")
    assert dots.get_xdata().tolist() == list(range(1, 41)) and dots.get_ydata() == pytest.approx(last)
    labels = [text.get_text() for text in left.get_xticklabels()]
    assert left.get_xlabel() == "direction" and labels[0] == "1" and labels[-1] == "−1"


def test_a_mean_is_shown_with_its_error_where_seeds_share_a_law():
    claimed, prediction, rival, measurement = risk()
    prediction.values = np.repeat(prediction.values, len(measurement.values), axis=0)
    made = figure(claimed, prediction, rival, measurement)
    assert sum(len(c.lines[2]) for c in made.axes[0].containers) == 1
    assert "mean of 50, bars 2 standard errors" in [text.get_text() for text in made.legends[0].get_texts()][1]


def test_no_label_lies_across_the_axis_below():
    claimed, prediction, rival, measurement = sigmoids()
    prediction.values[..., 1:] *= 1e-6
    made = figure(claimed, prediction, rival, measurement)
    made.draw_without_rendering()
    left = made.axes[0]
    boxes = sorted((text.get_window_extent() for text in left.texts), key=lambda box: box.y0)
    assert boxes[0].y0 >= left.get_window_extent().y0 - 1
    assert all(above.y0 >= below.y0 + 5 for below, above in zip(boxes, boxes[1:], strict=False))


def test_every_observable_has_a_name_with_a_unit():
    from learning_mechanics.theory.model import models
    from learning_mechanics.validate.reporting.figures.names import Y_LABELS

    claimed = {one.observable for model in models() for one in model().claims()}
    assert claimed <= Y_LABELS.keys()
    assert all("(" in label or "cosine" in label for label in Y_LABELS.values())


def test_what_is_measured_once_is_drawn_against_its_components():
    law = np.geomspace(1, 1e-3, 12)[None, None, None]
    claimed = claim(observable="gram_eigenvalues", relative="point")
    made = figure(claimed, record(law, [0]), record(3 * law, [0]), record(1.01 * law, [0]))
    left, right = made.axes
    (dots,) = (line for line in left.lines if line.get_marker() == "o")
    assert dots.get_xdata().tolist() == list(range(1, 13)) and dots.get_ydata() == pytest.approx(1.01 * law.ravel())
    assert left.get_xlabel() == right.get_xlabel() == "eigenvalue" and left.get_yscale() == "log"
    error = right.lines[0].get_ydata()
    assert len(error) == 12 and error == pytest.approx(0.01)


def test_correlations_of_pairs_are_drawn_by_layer():
    from learning_mechanics.theory.architecture.constructors import activation, dense, serial

    law = np.linspace(0.9, 0.1, 4 * 3)[None, None, None]  # four hidden layers, three pairs of three inputs
    hidden = [part for _ in range(4) for part in (dense(1.0, width=5), activation("tanh"))]
    network = serial(*hidden, dense(1.0, width=1))
    setup = SimpleNamespace(spacing="linear", network=network)
    claimed = claim(observable="layer_correlations", setup=setup, relative="none")
    left, right = figure(claimed, record(law, [0]), record(law - 40, [0]), record(law + 0.01, [0])).axes
    assert {text.get_text() for text in left.texts} == {"inputs 1, 2", "inputs 1, 3", "inputs 2, 3"}
    dots = [line.get_ydata() for line in left.lines if line.get_marker() == "o"]
    assert np.array(dots).T == pytest.approx(law.reshape(4, 3) + 0.01)
    assert left.get_xlabel() == right.get_xlabel() == "layer" and left.get_ylim()[0] > -2  # the rival is far below
    assert right.lines[0].get_ydata() == pytest.approx(np.full(4, 0.01))


def test_entries_of_a_symmetric_matrix_are_called_by_row_and_column():
    from learning_mechanics.validate.reporting.figures.names import component_name

    entries = SimpleNamespace(observable="tangent_kernel_entries")
    found = [component_name(entries, i, 6) for i in range(6)]
    rows, columns = np.triu_indices(3)
    assert found == [f"entry {row + 1}, {column + 1}" for row, column in zip(rows, columns, strict=True)]
