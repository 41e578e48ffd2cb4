"""Backward error analysis against the discrete optimizers themselves, iterated in plain NumPy."""

import numpy as np
import pytest
import sympy as sp
from scipy.integrate import solve_ivp

from learning_mechanics.theory.dynamics.modified import modified_flow, modified_loss, start_up_delay
from learning_mechanics.theory.errors import AssumptionViolated, NoClosedForm
from learning_mechanics.theory.symbols import LEARNING_RATE as eta
from learning_mechanics.theory.symbols import matrices, positive, scalars
from learning_mechanics.theory.system import FixedPoint, Flow, Map

pytestmark = pytest.mark.short
x, y, beta = scalars("x y beta")
lam = positive("lambda")


def iterate(field, start, rate, steps, momentum=0.0, before=None):
    """x+ = x + rate f(x) + momentum (x - x_previous)."""
    now = np.array(start, float)
    before = now if before is None else before
    for _ in range(steps):
        now, before = now + rate * field(now) + momentum * (now - before), now
    return now


def compiled(flow, **values):
    bound = {symbol: values[symbol.name] for symbol in flow.parameters if symbol.name in values}
    function = sp.lambdify(flow.unknowns, [sp.sympify(e).subs(bound) for e in flow.equations], "numpy")
    return lambda point: np.array(function(*point), float)


def follow(field, start, time):
    return solve_ivp(lambda t, v: field(v), (0, time), start, method="DOP853", rtol=1e-12, atol=1e-14).y[:, -1]


def two_layers():
    """Gradient flow of (1 - x y)^2 / 2, whose steps do not conserve x^2 - y^2."""
    return Flow((x, y), (y * (1 - x * y), x * (1 - x * y)))


@pytest.mark.parametrize("order", [0, 1, 2, 3])
def test_error_falls_with_the_next_power(order):
    """|gradient descent - modified flow| ~ eta^(order+1) at fixed time: 1.00, 2.0, 3.0, 4.0."""
    flow, start, time = two_layers(), [0.4, 0.9], 1.6
    rates, errors = np.array([0.08, 0.04, 0.02, 0.01]), []
    for rate in rates:
        got = iterate(compiled(flow), start, rate, round(time / rate))
        want = follow(compiled(modified_flow(flow, order=order), eta=rate), start, time)
        errors.append(np.abs(got - want).max())
    slopes = np.diff(np.log(errors)) / np.diff(np.log(rates))
    assert abs(slopes[-1] - (order + 1)) < (0.05 if order == 0 else 0.1)


def test_quadratic_is_the_series_of_the_exact_rate():
    """Gradient descent multiplies by 1 - eta lambda: its flow has rate -log(1 - eta lambda) / eta."""
    got = -modified_flow(Flow((x,), (-lam * x,)), order=5).equations[0] / x
    want = sp.series(-sp.log(1 - eta * lam) / eta, eta, 0, 6).removeO()
    assert sp.expand(got - want) == 0


def test_maps_with_higher_powers_of_the_rate():
    """A midpoint step is x' = f up to second order: its modified flow has no term linear in eta."""
    f = x**2 - x
    midpoint = Map((x,), (x + eta * f.subs(x, x + eta * f / 2),))
    modified = sp.expand(modified_flow(midpoint, order=2).equations[0])
    assert sp.expand(modified.coeff(eta, 0) - f) == 0 and modified.coeff(eta, 1) == 0 and modified.coeff(eta, 2) != 0
    plain = Map((x,), (x + eta * f,))
    assert sp.expand(modified_flow(plain).equations[0] - modified_flow(Flow((x,), (f,))).equations[0]) == 0


def test_momentum_against_its_characteristic_root():
    """Heavy ball on a quadratic: x_k ~ r^k with r^2 - (1 + beta - eta lambda) r + beta = 0, exactly, to eta^4."""
    got = -modified_flow(Flow((x,), (-lam * x,)), order=3, momentum=beta).equations[0] / x
    b = 1 + beta - eta * lam
    root = (b + sp.sqrt(b**2 - 4 * beta)) / 2
    for value in (sp.Rational(1, 2), sp.Rational(9, 10)):
        want = sp.series(-sp.log(root.subs(beta, value)) / eta, eta, 0, 4).removeO()
        assert sp.simplify(sp.expand(got.subs(beta, value) - want)) == 0


@pytest.mark.parametrize("momentum", [0.5, 0.9])
def test_momentum_on_a_nonlinear_loss(momentum):
    """Heavy ball leaves its modified flow with the square of the learning rate, the plain flow with the first power."""
    flow, start, errors, plain = Flow((x,), (x - x**3,)), np.array([0.2]), [], []
    rates, field = np.array([0.02, 0.01, 0.005]) * (1 - momentum) ** 2, compiled(flow)
    for rate in rates:
        effective = rate / (1 - momentum)
        steps = round(0.8 / effective)
        before = follow(lambda point: -field(point), start, effective)  # no start-up transient to leading order
        end = iterate(field, start, rate, steps, momentum, before)
        for order, record in ((1, errors), (0, plain)):
            slow = compiled(modified_flow(flow, order=order, momentum=sp.nsimplify(momentum)), eta=rate)
            record.append(np.abs(follow(slow, start, rate * steps) - end).max())
    assert abs(np.diff(np.log(plain))[-1] / np.diff(np.log(rates))[-1] - 1) < 0.05
    assert abs(np.diff(np.log(errors))[-1] / np.diff(np.log(rates))[-1] - 2) < 0.1
    assert errors[-1] < 0.1 * plain[-1]


@pytest.mark.parametrize("value", [sp.Rational(1, 2), sp.Rational(9, 10)])
def test_nesterov_against_its_characteristic_root(value):
    """On a quadratic x_k ~ r^k with r^2 - (1 + beta) (1 - eta lambda) r + beta (1 - eta lambda) = 0, to eta^4."""
    got = -modified_flow(Flow((x,), (-lam * x,)), order=3, momentum=value, nesterov=True).equations[0] / x
    b = (1 + value) * (1 - eta * lam)
    root = (b + sp.sqrt(b**2 - 4 * value * (1 - eta * lam))) / 2
    want = sp.series(-sp.log(root) / eta, eta, 0, 4).removeO()
    assert sp.simplify(sp.expand(got - want)) == 0


@pytest.mark.parametrize("nesterov", [False, True])
@pytest.mark.parametrize("momentum", [0.5, 0.9])
def test_momentum_from_rest_starts_late(nesterov, momentum):
    """optax's rule from zero memory, on two layers: second order with the start-up delay, first order without it."""
    flow, start = two_layers(), np.array([0.4, 0.9])
    rates, field = np.array([0.0025, 0.00125]) * (1 - momentum) ** 2, compiled(flow)
    errors = {True: [], False: []}
    for rate in rates:
        steps = round(0.8 * (1 - momentum) / rate)
        now, memory = start, np.zeros(2)
        for _ in range(steps):
            force = field(now)
            memory = momentum * memory + force
            now = now + rate * (force + momentum * memory if nesterov else memory)
        slow = compiled(modified_flow(flow, momentum=sp.nsimplify(momentum), nesterov=nesterov), eta=rate)
        for shifted in (True, False):
            delay = float(start_up_delay(rate, momentum, nesterov)) if shifted else 0.0
            errors[shifted].append(np.abs(follow(slow, start, rate * steps - delay) - now).max())
    orders = {shifted: np.diff(np.log(e))[-1] / np.diff(np.log(rates))[-1] for shifted, e in errors.items()}
    assert abs(orders[True] - 2) < 0.12 and abs(orders[False] - 1) < 0.05, orders


@pytest.mark.parametrize("momentum", [sp.S.Zero, sp.Rational(1, 2), beta])
def test_modified_loss_is_its_potential(momentum):
    """-grad of L + eta/4 (1+beta)/(1-beta) |grad L|^2 is the averaged-form modified flow, in its own time."""
    loss = (1 - x * y) ** 2 / 2 + x**4 / 5
    flow = Flow((x, y), (-loss.diff(x), -loss.diff(y)))
    shifted = modified_flow(flow, momentum=momentum)
    for unknown, entry in zip((x, y), shifted.equations, strict=True):
        averaged = (entry * (1 - momentum)).subs(eta, eta * (1 - momentum))  # rate eta (1-beta), time eta k
        want = -modified_loss(loss, on=(x, y), momentum=momentum).diff(unknown)
        assert sp.simplify(averaged - want) == 0


def test_refusals():
    v = scalars("v")
    with pytest.raises(AssumptionViolated, match="momentum="):
        modified_flow(Map((x, v), (x + beta * v - eta * x, beta * v - eta * x)))
    with pytest.raises(NoClosedForm, match="matrix"):
        W = matrices(W=("n", "n"))
        modified_flow(Flow((W,), (-W,)))
    with pytest.raises(NoClosedForm, match="no steps"):
        modified_flow(FixedPoint((x,), (x,)))
    with pytest.raises(NoClosedForm, match="symbol"):
        modified_flow(Map((x,), (x - eta * x,)), 0.1)
    assert "Barrett" in modified_flow(two_layers()).trail.references[0]
