"""Figures of curves, spectra and descents show what their records hold: intervals, decay, errors."""

from types import SimpleNamespace

import numpy as np
import pytest

from learning_mechanics.validate.reporting.plot import (
    plot,
)

pytestmark = pytest.mark.short
RNG = np.random.default_rng(0)


def test_a_learning_curve_of_data_has_its_interval_and_the_end_of_trust():
    sizes = np.geomspace(10, 1000, 9)
    checks = ({"size": 50, "test": 0.03, "error": 0.1}, {"size": 100, "test": 0.011, "error": 0.05})
    parts = {"sizes": sizes, "test": 1 / sizes, "low": 0.8 / sizes, "high": 1.25 / sizes}
    (axes,) = plot(SimpleNamespace(**parts, trusted=200.0, checks=checks)).axes
    (band,) = [c for c in axes.collections if c.get_label() == "90 % interval"]
    corners = band.get_paths()[0].vertices
    assert np.isclose(corners, [10, 0.08]).all(1).any() and np.isclose(corners, [1000, 1.25e-3]).all(1).any()
    solid = next(line for line in axes.lines if line.get_label() == "forecast")
    dashed = next(line for line in axes.lines if line.get_label() == "not to be trusted")
    assert solid.get_xdata()[-1] == dashed.get_xdata()[0] == 200 and dashed.is_dashed() and not solid.is_dashed()
    assert solid.get_ydata()[-1] == pytest.approx(1 / 200)
    dots = [line for line in axes.lines if line.get_marker() == "o"]
    assert dots[0].get_ydata().tolist() == [0.03, 0.011]
    assert [text.get_text() for text in axes.texts] == ["trusted to n = 200"]
    (trusting,) = plot(SimpleNamespace(**parts, trusted=1e5, checks=())).axes
    assert not trusting.texts and not any(line.is_dashed() for line in trusting.lines)


def test_a_spectrum_by_level_has_its_decay():
    import learning_mechanics as lm

    found = lm.spectra.sphere(lm.kernels.ntk(depth=2, activation="relu"), dimension=3, levels=40)
    (axes,) = plot(found).axes
    dots, *falls = axes.lines
    x, y = dots.get_data()
    assert (y == found.eigenvalues[(found.eigenvalues > 0) & (np.arange(len(found)) > 0)]).all() and x[0] == 1
    assert axes.get_xscale() == axes.get_yscale() == "log" and len(falls) == 1 and falls[0].is_dashed()
    level, value = falls[0].get_data()
    assert (level % 2 == 0).all()  # odd levels above the first vanish in two layers without bias
    assert value[-1] == pytest.approx(found.eigenvalues[int(level[-1])], rel=0.01)
    assert axes.get_title(loc="left") == "ntk-relu on the sphere S²"
    cube = plot(lm.spectra.hypercube(lm.kernels.ntk(depth=2, activation="relu"), 8)).axes[0]
    assert len(cube.lines) == 1  # no power law there


def test_errors_of_random_features_are_drawn_along_the_longer_axis():
    import learning_mechanics as lm

    modes, counts = np.arange(1, 101) ** -1.5, [5, 10, 20, 40]
    found = lm.random_features(modes, modes, samples=counts, features=[10, np.inf], ridge=1e-3)
    (axes,) = plot(found).axes
    assert [line.get_ydata().tolist() for line in axes.lines] == found.test.T.tolist()
    assert {text.get_text() for text in axes.texts} == {"k = 10", "k = ∞"}
    assert axes.get_xlabel() == "training samples n"
    turned = lm.random_features(modes, modes, samples=[10], features=[*counts, np.inf], ridge=0.0)
    (axes,) = plot(turned).axes
    line, limit = axes.lines
    assert np.isnan(line.get_ydata()[1]) and line.get_ydata()[2] == turned.test[0, 2]  # the peak at n = k is a gap
    assert limit.is_dashed() and limit.get_ydata()[0] == turned.test[0, -1]
    assert axes.get_xlabel() == "random features k" and axes.texts[0].get_text() == "n = 10"


def test_training_at_infinite_width_is_drawn_with_its_error():
    outputs = RNG.standard_normal((5, 3, 1))
    parts = {"steps": np.arange(5), "outputs": outputs, "loss": np.geomspace(1, 1e-3, 5)}
    left, right = plot(SimpleNamespace(**parts)).axes
    assert [line.get_ydata().tolist() for line in left.lines] == outputs[..., 0].T.tolist()
    assert right.get_yscale() == "log" and not left.collections
    errors = {"outputs_error": 0.1 + 0 * outputs, "loss_error": 1e-4 * np.ones(5)}
    left, right = plot(SimpleNamespace(**parts, **errors)).axes
    assert len(left.collections) == 3 and len(right.collections) == 1
    top = left.collections[0].get_paths()[0].vertices[:, 1].max()
    assert top == pytest.approx(outputs[:, 0].max() + 0.2)


def test_spectra_of_data_and_signals_through_layers_have_figures():
    import learning_mechanics as lm
    from learning_mechanics.theory.signals.signal_propagation import SignalPropagation

    rows = RNG.standard_normal((60, 5)) * np.arange(1, 6) ** -1.0
    found = lm.hermite_spectrum(lm.kernels.ntk(depth=2), rows, rows.sum(1), modes=400)
    one, two = plot(found).axes
    assert one.lines[0].get_ydata()[0] == found.eigenvalues.max()
    assert (np.diff(two.lines[0].get_ydata()) <= 0).all() and two.lines[0].get_ydata()[0] <= 1
    build = lm.architecture
    signal = SignalPropagation(build.serial(build.activation("tanh"), build.dense(1.5, 0.1)))
    profile = signal.through(6, 1.0, np.array([0.1, 0.9]))
    panes = plot(profile).axes
    assert np.array([line.get_ydata() for line in panes[1].lines]).T == pytest.approx(profile.correlation)
    assert [axes.get_xlabel() for axes in panes] == ["layer"] * 3
