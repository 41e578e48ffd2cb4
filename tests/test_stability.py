"""Thresholds derived from update rules, against bisection on the spectral radius and against the optimizer itself."""

import pickle

import numpy as np
import pytest
import sympy as sp

from learning_mechanics.theory.dynamics import update_rules as rules
from learning_mechanics.theory.dynamics.stability import (
    UnitInterval,
    critical_value,
    growth_factor,
    linearise,
    marginal_stability,
    oscillation_onset,
)
from learning_mechanics.theory.errors import AssumptionViolated, BadData, NoClosedForm, OutsideDomain
from learning_mechanics.theory.symbols import LEARNING_RATE, positive, scalars
from learning_mechanics.theory.system import Map

pytestmark = pytest.mark.instant
ETA, BETA, H, S = LEARNING_RATE, rules.MOMENTUM, rules.CURVATURE, rules.SHARPNESS


def first_instability(radius, start=1e-6):
    """Bisection on the spectral radius: march outwards until it exceeds one, then halve the interval."""
    low, high = start, start
    while radius(high) <= 1:
        low, high = high, 1.01 * high
    for _ in range(200):
        middle = (low + high) / 2
        low, high = (middle, high) if radius(middle) <= 1 else (low, middle)
    return low


def spectral_radius(matrix):
    return np.abs(np.linalg.eigvals(matrix)).max()


# Hand-written update matrices (w, m), independent of the symbolic layer.
def heavy_ball_matrix(eta, beta, h, decay=0.0):
    return np.array([[1 - eta * (h + decay), -eta * beta], [h, beta]])


def nesterov_matrix(eta, beta, h):
    return np.array([[1 - eta * h * (1 + beta), -eta * beta**2], [h, beta]])


def averaged_matrix(eta, beta, h):
    return np.array([[1 - eta * h * (1 - beta), -eta * beta], [h * (1 - beta), beta]])


@pytest.mark.parametrize("eta, beta", [(0.1, 0.9), (0.37, 0.5), (2.0, 0.99), (0.003, 0.1)])
@pytest.mark.parametrize(
    "rule, matrix",
    [
        (rules.heavy_ball, heavy_ball_matrix),
        (rules.nesterov, nesterov_matrix),
        (rules.averaged_momentum, averaged_matrix),
    ],
)
def test_thresholds_of_momentum_methods_against_bisection(rule, matrix, eta, beta):
    derived = float(critical_value(marginal_stability(rule(), H)).subs({ETA: eta, BETA: beta}))
    measured = first_instability(lambda h: spectral_radius(matrix(eta, beta, h)))
    assert derived == pytest.approx(measured, rel=1e-9)


@pytest.mark.parametrize(
    "rule, parameter, expected",
    [
        (rules.gradient_descent, H, 2 / ETA),
        (rules.heavy_ball, H, (2 + 2 * BETA) / ETA),
        (rules.nesterov, H, (2 + 2 * BETA) / (ETA * (1 + 2 * BETA))),
        (rules.averaged_momentum, H, 2 * (1 + BETA) / (ETA * (1 - BETA))),
        (rules.rmsprop, S, 2 / ETA),
        (rules.adam, S, 2 * (1 + BETA) / (ETA * (1 - BETA))),
    ],
)
def test_thresholds_agree_with_the_published_table(rule, parameter, expected):
    # Cohen et al. 2021 (arXiv:2103.00065) and 2022 (arXiv:2207.14484)
    marginal = marginal_stability(rule(), parameter)
    assert sp.simplify(critical_value(marginal) - expected) == 0
    assert "z = -1" in str(marginal.trail.steps[-1])
    assert marginal.trail.references


def test_adam_with_default_momentum_is_38_over_eta():
    assert critical_value(marginal_stability(rules.adam(momentum=sp.Rational(9, 10)), S)) == 38 / ETA


@pytest.mark.parametrize("beta", [0.0, 0.5, 0.9])
def test_adam_threshold_against_iterating_the_full_update(beta):
    """Plain NumPy Adam on one curvature mode with a constant background gradient: it decays below and grows above.

    The second moment is 1 from the background in every step, so P = 1 + epsilon and h = S P. The run starts at step
    20001, when the second moment has settled; from step 1 the bias correction first multiplies w by up to 37 a step.
    """
    eta, memory, epsilon = 0.01, 0.999, 1e-3
    threshold = float(critical_value(marginal_stability(rules.adam(), S)).subs({ETA: eta, BETA: beta}))
    size = {}
    for factor in (0.999, 1.001):
        h = factor * threshold * (1 + epsilon)
        w, m, nu = 1e-9, 0.0, 1.0
        for step in range(20001, 50001):
            g = h * w
            m = beta * m + (1 - beta) * g
            nu = memory * nu + (1 - memory) * (g**2 + 1.0)
            w -= eta * (m / (1 - beta**step)) / (np.sqrt(nu / (1 - memory**step)) + epsilon)
            if abs(w) > 1e-6:  # well before g^2 adds to the second moment, which stops the growth
                break
        size[factor] = abs(w)
    assert size[0.999] < 1e-9 < 1e-6 < size[1.001]


def test_weight_decay_shifts_the_threshold_as_its_placement_demands():
    mu = positive("mu")
    eta, beta, decay = 0.2, 0.8, 0.7
    values = {ETA: eta, BETA: beta, mu: decay}
    l2 = critical_value(marginal_stability(rules.heavy_ball(l2=mu), H))
    assert sp.simplify(l2 - ((2 + 2 * BETA) / ETA - mu)) == 0
    decoupled = float(critical_value(marginal_stability(rules.heavy_ball(weight_decay=mu), H)).subs(values))
    measured = first_instability(lambda h: spectral_radius(heavy_ball_matrix(eta, beta, h, decay)))
    assert decoupled == pytest.approx(measured, rel=1e-9)
    assert abs(decoupled - float(l2.subs(values))) > 0.1


def companion(weights, gradients, eta, h):
    order = len(weights)
    matrix = np.eye(order, k=-1)
    matrix[0] = np.asarray(weights) - eta * h * np.asarray(gradients)
    return matrix


def random_optimizers(order, count, seed):
    """Random linear optimizers that contract at small curvature: weights sum to one, other roots inside the circle."""
    rng = np.random.default_rng(seed)
    while count:
        inner = rng.uniform(-0.95, 0.95, order - 1)
        if order == 3 and rng.random() < 0.5:
            size, angle = rng.uniform(0.1, 0.95), rng.uniform(0, np.pi)
            inner = size * np.exp([1j * angle, -1j * angle])
        weights = -np.real(np.poly([1.0, *inner]))[1:]
        gradients = rng.normal(size=order)
        if gradients.sum() > 0.05:
            count -= 1
            yield weights, gradients, rng.uniform(0.05, 2)


@pytest.mark.parametrize("order, count", [(2, 40), (3, 12)])
def test_random_linear_optimizers_against_bisection(order, count):
    crossings = set()
    for weights, gradients, eta in random_optimizers(order, count, seed=20261123):
        exact = [sp.Rational(float(a)) for a in weights[:-1]]
        # the exact weights must sum to one, which rounding of the last one would break
        map_ = rules.linear_optimizer([*exact, 1 - sum(exact)], [sp.Rational(float(b)) for b in gradients])
        map_ = Map(map_.unknowns, tuple(e.subs(ETA, sp.Rational(float(eta))) for e in map_.equations))
        marginal = marginal_stability(map_, H)
        crossings.add(marginal.trail.steps[-1].rule)
        derived = float(critical_value(marginal).evalf(30))
        measured = first_instability(
            lambda h, a=weights, b=gradients, eta=eta: spectral_radius(companion(a, b, eta, h)), start=derived * 1e-2
        )
        assert derived == pytest.approx(measured, rel=1e-10)
    assert {"first crossing: z = -1", "first crossing: conjugate pair"} <= crossings


def test_a_threshold_undecided_by_signs_is_the_smallest_positive_boundary():
    b0, b1 = scalars("b_0 b_1")
    symbolic = marginal_stability(rules.linear_optimizer([1 + BETA, -BETA], [b0, b1]), H)
    assert symbolic.equations[0].has(sp.Min)
    for case in ((1.0, -0.3), (0.2, 0.7), (1.3, 0.4)):
        value = critical_value(symbolic).subs({ETA: 0.3, BETA: 0.6, b0: case[0], b1: case[1]})
        measured = first_instability(lambda h, c=case: spectral_radius(companion([1.6, -0.6], c, 0.3, h)))
        assert float(value) == pytest.approx(measured, rel=1e-9)


def test_oscillation_onset_of_averaged_momentum_is_the_published_one():
    # overdamped boundary eta h = (1 - sqrt b) / (1 + sqrt b): 0.02633 at b = 0.9
    onset = critical_value(oscillation_onset(rules.averaged_momentum(sp.Rational(9, 10)), H))
    assert float(onset * ETA) == pytest.approx((1 - np.sqrt(0.9)) / (1 + np.sqrt(0.9)), rel=1e-12)


def test_growth_factor_is_the_spectral_radius():
    assert growth_factor(rules.gradient_descent()).subs({ETA: 0.5, H: 5}) == 1.5
    factor = growth_factor(rules.heavy_ball())
    for eta, beta, h in ((0.1, 0.9, 3.0), (0.1, 0.9, 39.0), (0.5, 0.2, 0.1)):
        expected = spectral_radius(heavy_ball_matrix(eta, beta, h))
        assert abs(complex(factor.subs({ETA: eta, BETA: beta, H: h}))) == pytest.approx(expected, rel=1e-12)
    with pytest.raises(NoClosedForm, match="degree 5"):
        growth_factor(rules.adam())


def test_linearise_refuses_a_point_that_moves():
    x, r = scalars("x r")
    logistic = Map((x,), (r * x * (1 - x),))
    with pytest.raises(AssumptionViolated, match="x"):
        linearise(logistic, at={x: sp.Rational(1, 3)})
    assert linearise(logistic).equations == (r * x,)


def test_failures_explain_themselves():
    x, r = scalars("x r")
    with pytest.raises(AssumptionViolated, match="linearise"):
        marginal_stability(Map((x,), (r * x * (1 - x),)), r)
    with pytest.raises(OutsideDomain, match="does not depend on S"):
        marginal_stability(rules.heavy_ball(), S)
    with pytest.raises(OutsideDomain, match="no boundary"):
        marginal_stability(Map((x,), (x / (1 + positive("a")),)), positive("a"))
    with pytest.raises(OutsideDomain, match="spectral radius"):
        marginal_stability(Map(*_numbers([3, -2], [1, 0])), H)
    with pytest.raises(OutsideDomain, match="never inside"):
        marginal_stability(rules.adam(second_moment=sp.Rational(11, 10)), S)
    with pytest.raises(BadData, match="2 weights but 1 gradients"):
        rules.linear_optimizer([1, 0], [1])


def _numbers(weights, gradients):
    map_ = rules.linear_optimizer(weights, gradients)
    return map_.unknowns, tuple(equation.subs(ETA, 1) for equation in map_.equations)


def test_unit_interval_symbols_survive_pickling():
    symbol = UnitInterval("beta")
    assert pickle.loads(pickle.dumps(symbol)) == symbol
    assert str(sp.expand(symbol * scalars("m"))) == "beta*m"


@pytest.mark.parametrize("beta", [0.1, 0.5, 0.9])
def test_oscillation_of_heavy_ball_starts_at_the_first_double_root(beta):
    """Roots of z^2 - (1 + beta - eta h) z + beta by NumPy: real and positive just below, complex just above."""
    onset = critical_value(oscillation_onset(rules.heavy_ball(), H))
    value = float(onset.subs({symbol: {"eta": 1.0, "beta": beta}[str(symbol)] for symbol in onset.free_symbols}))
    below, above = (np.roots([1, -(1 + beta - factor * value), beta]) for factor in (0.999, 1.001))
    assert (np.isreal(below) & (below.real > 0)).all() and not np.isreal(above).any()
    assert value == pytest.approx((1 - np.sqrt(beta)) ** 2, rel=1e-12)
