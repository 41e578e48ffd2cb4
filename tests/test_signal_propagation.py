"""Signals through wide networks: maps, fixed points, phases and edges, against mpmath and brute force."""

import mpmath as mp
import numpy as np
import pytest
import sympy as sp

from learning_mechanics.theory.architecture.constructors import (
    activation,
    average_pool,
    dense,
    layer_norm,
    product,
    residual,
    serial,
    sum_of,
)
from learning_mechanics.theory.errors import BadData, NoClosedForm, OutsideDomain
from learning_mechanics.theory.signals.edge_of_chaos import edge_of_chaos
from learning_mechanics.theory.signals.phases import fixed_variances, leading_term, phase
from learning_mechanics.theory.signals.signal_map import CORRELATION, Q, expansion, scales_of, signal_map
from learning_mechanics.theory.signals.signal_propagation import SignalPropagation

pytestmark = pytest.mark.instant
TANH = 1.5**0.5, 0.05**0.5


def block(name, w_std, b_std=0.0):
    return serial(activation(name), dense(w_std, b_std))


def gaussian_mean(function, variance):
    """E f(sqrt(variance) z) by mpmath, 30 digits."""
    with mp.workdps(30):
        root = mp.sqrt(variance)
        density = lambda z: mp.exp(-z * z / 2) / mp.sqrt(2 * mp.pi)  # noqa: E731
        return mp.quad(lambda z: function(root * z) * density(z), [-12, -4, -1, 0, 1, 4, 12])


def pair_mean(function, variance, correlation):
    """E f(u) f(v) at equal variances by the trapezoidal rule in the plane, exact to rounding for analytic functions."""
    z = np.arange(-9, 9.01, 0.05)
    weight = np.exp(-(z**2) / 2) * 0.05 / np.sqrt(2 * np.pi)
    u = np.sqrt(variance) * z
    v = correlation * u[:, None] + np.sqrt(1 - correlation**2) * u
    return weight @ (function(u)[:, None] * function(v)) @ weight


def test_tanh_fixed_point_and_chi_by_high_precision_quadrature():
    w2, b2 = mp.mpf("1.5"), mp.mpf("0.05")
    with mp.workdps(30):
        q = mp.findroot(lambda q: w2 * gaussian_mean(lambda x: mp.tanh(x) ** 2, q) + b2 - q, mp.mpf("0.4"))
        chi = w2 * gaussian_mean(lambda x: mp.sech(x) ** 4, q)
    found = phase(block("tanh", *TANH))
    assert found.name == "ordered"
    assert abs(found.variance / float(q) - 1) < 1e-12
    assert abs(found.chi / float(chi) - 1) < 1e-12
    assert round(found.variance, 5) == 0.41804 and round(found.chi, 5) == 0.93864  # Schoenholz et al. 2017
    assert abs(found.correlation.scale + 1 / np.log(float(chi))) < 1e-9


def test_correlation_map_by_quadrature_in_the_plane():
    q, c = 0.7, 0.35
    value = 1.5 * pair_mean(np.tanh, q, c) + 0.05
    size = 1.5 * gaussian_mean(lambda x: mp.tanh(x) ** 2, mp.mpf(q)) + 0.05
    assert abs(SignalPropagation(block("tanh", *TANH)).correlation(c, q) / float(value / size) - 1) < 1e-12


def test_the_gap_decays_by_chi_per_layer():
    signal = SignalPropagation(block("tanh", *TANH))
    q = phase(signal.block).variance
    gap = 1e-8
    ratios = []
    for _ in range(5):
        after = float(signal.gap(gap, q))
        ratios.append(after / gap)
        gap = after
    assert max(abs(np.array(ratios) / float(signal.gradient(q)) - 1)) < 1e-7


def test_edge_of_chaos_meets_both_equations():
    (point,) = edge_of_chaos(block("tanh", 1.0), b_std=0.3)
    with mp.workdps(30):
        q, w2 = mp.mpf(point.variance), mp.mpf(point.w_std) ** 2
        kept = w2 * gaussian_mean(lambda x: mp.tanh(x) ** 2, q) + mp.mpf(point.b_std) ** 2
        chi = w2 * gaussian_mean(lambda x: mp.sech(x) ** 4, q)
    assert abs(kept / q - 1) < 1e-11 and abs(chi - 1) < 1e-11
    (back,) = edge_of_chaos(block("tanh", 1.0), w_std=point.w_std)
    assert abs(back.b_std / 0.3 - 1) < 1e-9


def test_closed_form_edge_of_erf_without_bias():
    (point,) = edge_of_chaos(block("erf", 1.0), b_std=0.0)
    assert abs(point.w_std - np.sqrt(np.pi) / 2) < 1e-9 and point.variance == 0  # erf'(0) = 2 / sqrt(pi)


def test_edge_behind_a_layer_norm_by_hand():
    """q' = w^2 V(1) + b^2 and chi = w^2 S(1) / q: on the edge w^2 = b^2 / (S - V), with S = E phi'^2, V = E phi^2."""
    (point,) = edge_of_chaos(serial(layer_norm(), activation("tanh"), dense()), b_std=0.3)
    v = gaussian_mean(lambda x: mp.tanh(x) ** 2, mp.mpf(1))
    s = gaussian_mean(lambda x: mp.sech(x) ** 4, mp.mpf(1))
    assert abs(point.w_std / float(mp.mpf("0.3") / mp.sqrt(s - v)) - 1) < 1e-10
    # before or after the activation, it is the same stack
    (later,) = edge_of_chaos(serial(dense(), activation("erf")), b_std=0.3)
    (sooner,) = edge_of_chaos(block("erf", 1.0), b_std=0.3)
    assert abs(later.w_std / sooner.w_std - 1) < 1e-9
    with pytest.raises(OutsideDomain, match="no variance is kept"):
        edge_of_chaos(residual(activation("tanh"), dense()), b_std=0.1)


def test_relu_has_its_edge_at_two_and_none_with_a_bias():
    (point,) = edge_of_chaos(block("relu", 1.0), b_std=0.0)
    assert abs(point.w_std**2 - 2) < 1e-12 and np.isnan(point.variance)
    with pytest.raises(OutsideDomain, match="never at 1"):
        edge_of_chaos(block("relu", 1.0), b_std=0.1)
    with pytest.raises(BadData, match="both or neither"):
        edge_of_chaos(block("relu", 1.0))


def test_critical_relu_decays_as_nine_pi_squared_over_two_l_squared():
    found = phase(block("relu", 2**0.5))
    assert found.name == "critical" and found.neutral
    assert abs(found.correlation.amplitude / (9 * np.pi**2 / 2) - 1) < 1e-5 and found.correlation.power == 2
    gap = SignalPropagation(block("relu", 2**0.5)).through(3000, 1.0, 0.5).gap[-1]
    cosine = 0.5
    for _ in range(3000):
        angle = np.arccos(cosine)
        cosine = (np.sin(angle) + (np.pi - angle) * cosine) / np.pi
    assert abs(gap / (1 - cosine) - 1) < 1e-6  # the plain recursion has lost as many digits
    assert 0.97 < gap * 3000**2 / found.correlation.amplitude < 1


def test_critical_tanh_with_a_variance_decays_as_the_curvature_says():
    """q* = 1/2: 1 - c -> 2 / (f''(1) l) with f''(1) = w^2 q* E phi''^2, here by mpmath."""
    with mp.workdps(30):
        q = mp.mpf("0.5")
        w2 = 1 / gaussian_mean(lambda x: mp.sech(x) ** 4, q)
        b2 = q - w2 * gaussian_mean(lambda x: mp.tanh(x) ** 2, q)
        second = w2 * q * gaussian_mean(lambda x: (2 * mp.tanh(x) * mp.sech(x) ** 2) ** 2, q)
    found = phase(block("tanh", float(mp.sqrt(w2)), float(mp.sqrt(b2))))
    assert found.name == "critical" and found.correlation.power == 1
    assert abs(found.correlation.amplitude / float(2 / second) - 1) < 1e-5
    assert round(float(2 / second), 2) == 7.31


def test_critical_tanh_without_bias_freezes():
    found = phase(block("tanh", 1.0))
    assert found.variance_decay.power == 1 and abs(found.variance_decay.amplitude - 0.5) < 1e-6
    assert found.correlation.kind == "frozen" and np.isnan(found.fixed_correlation)
    profile = SignalPropagation(block("tanh", 1.0)).through(600, 1.0, 0.5)
    assert abs(profile.variance[-1] * 600 - 0.5) < 0.01
    drift = profile.gap[300] - profile.gap[600]
    c = 1 - profile.gap[600]
    # 1 - c shrinks by (2/3) q^2 c (1 - c^2) per layer with q = 1/(2 l): the sum over l = 300 .. 600
    expected = sum(-2 / 3 * (1 / (2 * layer)) ** 2 * c * (1 - c**2) for layer in range(300, 600))
    assert abs(drift / expected - 1) < 0.05


@pytest.mark.parametrize(
    "given, name",
    [
        (block("relu", 3**0.5), "exploding"),
        (block("relu", 1.0), "vanishing"),
        (block("relu", 1.0, 0.5), "ordered"),
        (block("tanh", 2.0, 0.3), "chaotic"),
        (block("tanh", 0.9), "vanishing"),
        (block("tanh", 0.0), "vanishing"),
        (block("relu", 0.0, 0.3), "ordered"),
        (block("erf", 1e3, 1e3), "chaotic"),
        (residual(activation("relu"), dense(1.0), scale=0.5), "exploding"),
        (serial(layer_norm(), activation("relu"), dense(2**0.5)), "critical"),
        (block("sign", 1.0, 0.3), "chaotic"),
    ],
)
def test_phases_have_their_names(given, name):
    found = phase(given)
    assert found.name == name, found
    assert found.name in str(found) and found.to_dict()["name"] == name


def test_chaotic_correlation_is_where_iteration_ends():
    found = phase(block("tanh", 2.0, 0.3))
    ends = SignalPropagation(block("tanh", 2.0, 0.3)).through(200, found.variance, np.array([0.999, -0.5]))
    assert np.abs(ends.correlation[-1] - found.fixed_correlation).max() < 1e-10
    assert found.gradient.kind == "growth"


def test_residual_relu_decays_at_the_amplitude_of_its_own_map():
    given = residual(activation("relu"), dense(2**0.5), scale=0.5)
    found = phase(given)
    signal, gap, roots = SignalPropagation(given), 0.1, []
    for layer in range(6001):
        if layer % 3000 == 0:
            roots.append(float(gap) ** -0.5)
        gap = signal.gap(gap)  # at variance 1: the map of a homogeneous block does not depend on it
    # gap = amplitude / (l + const)^2: its root of the inverse grows by amplitude^(-1/2) per layer
    assert found.correlation.power == 2
    assert abs((roots[2] - roots[1]) / 3000 * found.correlation.amplitude**0.5 - 1) < 0.01


def test_residual_erf_grows_linearly_with_stretched_gradients():
    """q ~ (w^2 + b^2) l; chi - 1 = w^2 E phi'^2 with E erf'(sqrt(q) z)^2 = (4/pi) / sqrt(1 + 4 q)."""
    found = phase(residual(activation("erf"), dense(1.0, 0.1)))
    assert found.name == "exploding" and abs(found.variance_decay.amplitude / 1.01 - 1) < 1e-3
    assert found.gradient.kind == "stretched" and found.gradient.power == 0.5
    assert abs(found.gradient.amplitude / (4 / np.pi / np.sqrt(1.01)) - 1) < 1e-3


def test_formulas_agree_with_numbers_and_carry_their_derivation():
    for given in (
        block("erf", 1.3, 0.2),
        residual(activation("relu"), dense(1.2, 0.4), scale=0.5),
        serial(dense(1.1), layer_norm(), activation("relu"), layer_norm(0.1)),
        serial(dense(), product(dense(1.2), serial(dense(), activation("relu"))), dense(1.0, 0.3)),
    ):
        system = signal_map(given)
        assert system.trail.steps[-1].residual < 1e-12 and system.trail.references
        here = {sp.Symbol(name, positive=True): value for name, value in scales_of(given).items()}
        q, c = (e.subs(here).subs({Q: 1.7, CORRELATION: -0.2}) for e in system.equations)
        after = SignalPropagation(given).pair(1.7, 1.7, 1.2)
        assert abs(float(q) - after.first) < 1e-12 and abs(float(c) - (1 - after.gap)) < 1e-12
    with pytest.raises(NoClosedForm):
        signal_map(block("tanh", 1.0))


def test_expansion_of_the_relu_map():
    theta = sp.Symbol("theta", positive=True)
    assert sp.simplify(expansion(block("relu", 2**0.5), 3) - (theta**2 / 2 - theta**3 / (3 * sp.pi))) == 0


def test_means_matter_to_a_layer_norm_behind_an_activation():
    """relu at variance q has mean sqrt(q / 2 pi): the normalised correlation is (V - m m') / (1/2 - 1/(2 pi))."""
    given = serial(dense(), activation("relu"), layer_norm(), dense())
    c = 0.3
    angle = np.arccos(c)
    v = (np.sin(angle) + (np.pi - angle) * c) / (2 * np.pi)
    assert abs(SignalPropagation(given).correlation(c) - (v - 1 / (2 * np.pi)) / (0.5 - 1 / (2 * np.pi))) < 1e-14


def test_sums_of_two_branches_with_means():
    """relu(u) + relu(u') of independent layers: C = 2 V + 2 m^2, against the definition."""
    given = serial(
        dense(), sum_of(serial(dense(), activation("relu")), serial(dense(2**0.5), activation("relu"))), dense()
    )
    c = 0.3
    angle = np.arccos(c)
    v = (np.sin(angle) + (np.pi - angle) * c) / (2 * np.pi)
    m = [1 / np.sqrt(2 * np.pi), 1 / np.sqrt(np.pi)]
    variance, covariance = 1.5 + 2 * m[0] * m[1], 3 * v + 2 * m[0] * m[1]
    after = SignalPropagation(given).pair(1.0, 1.0, 1 - c)
    assert abs(after.first - variance) < 1e-12 and abs(after.covariance - covariance) < 1e-12


def test_unequal_variances_and_near_duplicates_keep_their_digits():
    with mp.workdps(40):
        a, b, gap, noise = mp.mpf("1.3"), mp.mpf("1.3") * (1 + mp.mpf("1e-9")), mp.mpf("1e-12"), mp.mpf("0.49")
        covariance = mp.sqrt(a * b) * (1 - gap) + noise
        exact = 1 - covariance / mp.sqrt((a + noise) * (b + noise))
    after = SignalPropagation(dense(1.0, 0.7)).pair(1.3, 1.3 * (1 + 1e-9), 1e-12)
    assert abs(after.gap / float(exact) - 1) < 1e-6  # 1 + 1e-9 itself has seven digits of its difference from 1
    assert SignalPropagation(block("erf", 1.0, 0.3)).gap(0.0, 0.8) == 0


def test_blank_inputs_pass_as_biases_do():
    after = SignalPropagation(block("relu", 1.4, 0.3)).pair(0.0, 1.0, 0.0)
    assert abs(after.first - 0.09) < 1e-15 and abs(after.covariance - 0.09) < 1e-15


def test_refusals_name_the_layer():
    with pytest.raises(BadData, match="dense layer"):
        SignalPropagation(serial(activation("relu"), activation("relu")))
    with pytest.raises(BadData, match="both depend on dense1"):
        SignalPropagation(serial(dense(), residual(activation("relu"))))
    with pytest.raises(NoClosedForm, match="average_pool"):
        SignalPropagation(average_pool(2))
    with pytest.raises(NoClosedForm, match="mean"):
        SignalPropagation(residual(dense(), activation("relu")))
    with pytest.raises(BadData, match="variance zero"):
        SignalPropagation(serial(layer_norm(), dense())).variance(0.0)
    with pytest.raises(BadData):
        phase(block("relu", 1.0), start=0.0)
    with pytest.raises(BadData):
        SignalPropagation(dense()).through(-1)
    with pytest.raises(BadData, match="overflows in layer 5"):
        SignalPropagation(block("relu", 1e3)).through(200)
    assert SignalPropagation(block("relu", 10.0)).through(30).variance[-1] == pytest.approx(50.0**30, rel=1e-12)


def test_a_planted_error_is_seen():
    """A slope that is wrong by one part in 1e6 moves the leading term beyond what the tests above allow."""
    right = leading_term(lambda x: 2 * x**1.5 + x**2, 1e-3)
    assert right[0] == 1.5 and abs(right[1] - 2) < 1e-8
    wrong = leading_term(lambda x: 2 * x**1.5 + x**2 + 1e-3 * x, 1e-3)
    assert wrong[0] != 1.5


def test_fixed_variances_are_kept_for_any_scales():
    hypothesis = pytest.importorskip("hypothesis")
    strategies = pytest.importorskip("hypothesis.strategies")

    @hypothesis.settings(max_examples=12, deadline=None, derandomize=True)
    @hypothesis.given(
        strategies.floats(0.1, 30.0), strategies.floats(0.0, 3.0), strategies.sampled_from(("erf", "relu"))
    )
    def check(w_std, b_std, name):
        given = block(name, w_std, b_std)
        signal = SignalPropagation(given)
        for point in fixed_variances(given):
            if point.value > 0:
                assert abs(signal.variance(point.value) / point.value - 1) < 1e-9
        found = phase(given)
        assert (found.chi > 1) == (found.name in ("chaotic", "exploding")) or found.name == "critical"

    check()
