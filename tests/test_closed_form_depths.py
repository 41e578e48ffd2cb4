"""Closed forms at every depth: accuracy over many orders of magnitude, elementary forms, finite steps."""

import time

import mpmath
import numpy as np
import pytest
import sympy as sp
from scipy.integrate import solve_ivp

from learning_mechanics.theory.closed_forms.closed_form import closed_form
from learning_mechanics.theory.closed_forms.elementary import elementary
from learning_mechanics.theory.closed_forms.implicit import invert_power_time, power_time
from learning_mechanics.theory.dynamics.linear_networks import corrected_mode_flow, infinite_depth_flow, mode_flow
from learning_mechanics.theory.dynamics.modified import modified_flow
from learning_mechanics.theory.errors import NoClosedForm, OutsideDomain, UnknownName
from learning_mechanics.theory.symbols import LEARNING_RATE, modes, over, positive, scalars
from learning_mechanics.theory.system import FixedPoint, Flow, Map

pytestmark = pytest.mark.short
DEPTHS = [1, 2, 3, 4, 5, 6, 7, 8, None]
x = positive("x")


@pytest.fixture(autouse=True)
def own_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("LEARNING_MECHANICS_CACHE", str(tmp_path))


def law(depth):
    return infinite_depth_flow() if depth is None else mode_flow(depth)


def integrated(depth, times, start, target):
    """DOP853 in log a, where tiny strengths are as easy as large ones: (log a)' = L a^(1 - 2/L) (s - a)."""
    power, speed = (1.0, 1.0) if depth is None else (1 - 2 / depth, depth)
    found = solve_ivp(
        lambda t, y: speed * np.exp(power * y) * (target - np.exp(y)),
        (0, times[-1]),
        [np.log(start)],
        method="DOP853",
        t_eval=times,
        rtol=1e-13,
        atol=1e-13,
    )
    return np.exp(found.y[0])


@pytest.mark.parametrize("depth", DEPTHS)
def test_random_parameters_over_many_orders(depth):
    """Targets over four and starts over six powers of ten, on either side: 1e-9 of the target at all times."""
    rng, form = np.random.default_rng(depth or 99), closed_form(law(depth))
    for _ in range(8):
        target = 10 ** rng.uniform(-2, 2)
        start = target * 10 ** rng.uniform(-6, 0.5)
        power = 2.0 if depth is None else 2 - 2 / depth
        share = start / target
        wait = share ** (1 - power) / abs(power - 1) if power > 1 else np.log(1 / min(share, 0.5)) + 3
        clock = np.concatenate([np.linspace(0, wait, 10), wait + np.linspace(0.5, 15, 20)])
        times = clock / ((depth or 1) * target**power)
        got = form.evaluate(times, a=start, s=target)
        assert np.abs(got - integrated(depth, times, start, target)).max() < 1e-9 * max(start, target)


@pytest.mark.parametrize("power", [0.0, 0.3, 1.01, 4 / 3, 1.75, 2.0, 3.0, -1 / 3, -1.0])
def test_inverse_of_the_time_law(power):
    """G(w(tau)) = G(w0) + tau to the rounding of the right side, for w from -200 to 60."""
    rng = np.random.default_rng(3)
    w0 = rng.uniform(-100, 5, 7) / max(1.0, abs(power - 1))
    w = np.sort(rng.uniform(w0, 60, (500, 7)), axis=0)
    tau = power_time(w, power) - power_time(w0, power)
    got = invert_power_time(tau, w0, power)
    speed = np.exp((1 - power) * np.logaddexp(0, -w))
    rounding = 2.2e-16 * (np.abs(power_time(w0, power)) + np.abs(tau) + np.abs(power_time(w, power))) * speed
    told = rounding < 1e-3  # elsewhere the time itself, as a float64, does not know the position
    assert told.mean() > 0.1
    assert (np.abs(got - w) <= 10 * rounding + 4e-16 * (2 + np.abs(w)))[told].all()


@pytest.mark.parametrize("depth", [*range(3, 13), sp.Rational(7, 2)])
def test_elementary_forms(depth):
    """Logarithms and arctangents equal mpmath's own 2F1 to 30 digits."""
    b = sp.Rational(2) / depth - 1
    form = elementary(sp.hyper((1, b), (b + 1,), x))
    assert not form.has(sp.hyper)
    for value in ("0.001", "0.4", "0.999"):
        with mpmath.workdps(40):
            want = mpmath.hyp2f1(1, mpmath.mpf(b.p) / b.q, mpmath.mpf(b.p) / b.q + 1, mpmath.mpf(value))
            got = mpmath.mpmathify(sp.N(form.xreplace({x: sp.Rational(value)}), 40))
            assert abs(got - want) < 1e-30 * abs(want)


def test_elementary_leaves_the_rest_alone():
    other = sp.hyper((1, 2), (sp.Rational(7, 2),), x) + sp.erf(x)
    assert elementary(other) == other
    assert sp.simplify(elementary(sp.hyper((1, 1), (2,), x)) + sp.log(1 - x) / x) == 0


def test_gradient_of_a_closed_form():
    """du(t)/du0 = f(u(t)) / f(u0) for any autonomous flow: central differences of the closed form itself."""
    form, times = closed_form(mode_flow(3)), np.array([0.5, 4.0, 9.0])
    step, start = 1e-6, 0.02
    slope = (form.evaluate(times, a=start + step, s=1.0) - form.evaluate(times, a=start - step, s=1.0)) / (2 * step)
    end = form.evaluate(times, a=start, s=1.0)
    speed = lambda a: 3 * a ** (4 / 3) * (1 - a)  # noqa: E731
    assert np.allclose(slope, speed(end) / speed(start), rtol=1e-7)


@pytest.mark.parametrize("depth", DEPTHS)
def test_extreme_numbers(depth):
    """The smallest starts, the largest ratios and the longest times a float holds: finite, and right where obvious."""
    start, target = np.array([1e-300, 1e-12, 1.0, 1e8, 0.5]), np.array([1.0, 1e6, 1e-9, 2.0, 0.5])
    got = closed_form(law(depth)).evaluate([0.0, 1e-300, 1.0, 1e300], a=start, s=target)
    assert np.allclose(got[0], start, rtol=1e-12, atol=0) and np.isfinite(got).all()
    settled = np.array([depth is not None, True, True, True, True])  # infinite depth waits 1e300 / s for the first
    assert np.allclose(got[-1][settled], target[settled], rtol=1e-12)


@pytest.mark.parametrize("depth, points, modes", [(3, 1_000_000, 1), (5, 1000, 1000), (4, 1, 1_000_000)])
def test_a_million_points(depth, points, modes):
    """Half a second of CPU at most, however they are split into times and modes (measured: 0.03 s and 0.2 s)."""
    form, times = closed_form(mode_flow(depth)), np.linspace(0, 30, points)
    start, targets, seconds = np.geomspace(1e-4, 0.3, modes), np.linspace(0.5, 2, modes), []
    for _ in range(3):
        began = time.process_time()
        form.evaluate(times, a=start, s=targets)
        seconds.append(time.process_time() - began)
    assert min(seconds) < 0.5


# --- finite steps ---


@pytest.mark.parametrize("depth", [1, 2, 3, 4, 6])
def test_finite_steps_solve_their_equation(depth):
    """The law with its step correction equals its integrated equation, from below and from above the target."""
    flow, eta = corrected_mode_flow(depth), 0.05
    form = closed_form(flow)
    right = sp.lambdify([*flow.unknowns, LEARNING_RATE, law(depth).parameters[0]], flow.equations[0], "numpy")
    times = np.linspace(0, 30, 20)
    for start, target in ((0.02, 1.0), (0.2, 0.6), (1.3, 0.9)):
        found = solve_ivp(
            lambda t, y, s=target: right(y[0], eta, s), (0, 30), [start], "DOP853", times, rtol=1e-12, atol=1e-14
        )
        assert np.abs(form.evaluate(times, a=start, s=target, eta=eta) - found.y[0]).max() < 1e-9


@pytest.mark.parametrize("depth, momentum", [(2, 0.0), (3, 0.0), (3, 0.5), (5, 0.3)])
def test_finite_steps_follow_the_optimizer_to_second_order(depth, momentum):
    """Heavy ball u+ = u + eta f + beta (u - u_before), iterated: the error of the closed form falls as eta^2.

    The closed form starts where the memory of the start, beta^k, has died out.
    """
    u, s, beta = positive("u s beta")
    flow = Flow((u,), (sp.expand(u ** (depth - 1) * (s - u**depth)),))
    form, plain = closed_form(modified_flow(flow, momentum=beta, form="rational")), closed_form(flow)
    errors, uncorrected = [], []
    for rate in np.array([0.04, 0.02, 0.01]) * (1 - momentum) ** 2:
        now = before = 0.45
        curve = []
        for step in range(round(8 * (1 - momentum) / rate)):
            now, before = now + rate * now ** (depth - 1) * (1 - now**depth) + momentum * (now - before), now
            if momentum**step < 1e-12:
                curve.append(now)
        times = rate * np.arange(len(curve))
        got = form.evaluate(times, u=curve[0], s=1.0, eta=rate, beta=momentum)
        errors.append(np.abs(got - curve).max())
        uncorrected.append(np.abs(plain.evaluate(times / (1 - momentum), u=curve[0], s=1.0) - curve).max())
    assert abs(np.log2(errors[-2] / errors[-1]) - 2) < 0.15 and errors[-1] < 0.05 * uncorrected[-1]


def test_a_series_in_the_learning_rate_is_refused_with_a_remedy():
    u, s = positive("u s")
    flow = Flow((u,), (u**2 * (s - u**3),))
    with pytest.raises(NoClosedForm, match='form="rational"'):
        closed_form(modified_flow(flow))
    with pytest.raises(OutsideDomain, match="turns back"):
        closed_form(modified_flow(flow, form="rational")).evaluate([1.0], u=0.5, s=1.0, eta=0.7)
    with pytest.raises(UnknownName, match="rational"):
        modified_flow(flow, form="rationl")
    a, b = scalars("a b")
    with pytest.raises(NoClosedForm, match="no time law"):
        modified_flow(Flow((a, b), (b, -a)), form="rational")


def test_rational_and_series_agree_to_their_order():
    """Both cuts of the same series: their difference begins at the next power of the learning rate."""
    u, s = positive("u s")
    flow = Flow((u,), (u**2 * (s - u**3),))
    for order in (1, 2):
        (rational,), (series,) = (modified_flow(flow, order=order, form=f).equations for f in ("rational", "series"))
        gap = sp.series(rational - series, LEARNING_RATE, 0, order + 2).removeO()
        assert all(sp.simplify(gap.coeff(LEARNING_RATE, k)) == 0 for k in range(order + 1))
        assert sp.simplify(gap.coeff(LEARNING_RATE, order + 1)) != 0


def test_a_symbolic_number_of_layers_is_solved_at_once():
    """One law for every depth: its numbers are those of the laws for each depth, also for many depths in one call."""
    a, s, L = *positive("a s"), sp.Symbol("L", integer=True, positive=True)
    for unknown, equation, root in (
        (a, L * a ** (2 - 2 / L) * (s - a), 1),
        (a, a ** (L - 1) * (s - a**L), L),
    ):
        begun = time.perf_counter()
        form = closed_form(Flow((unknown,), (equation,)))
        assert time.perf_counter() - begun < 8
        assert form.kind == "implicit" and form.residual < 1e-25 and sp.Ne(2 - 2 / L, 1) in form.domain
        depths, times = np.array([3.0, 4.0, 4.0, 7.0]), np.linspace(0, 40, 9)
        start, target = np.array([0.1, 0.05, 0.3, 0.2]), np.array([1.0, 2.0, 0.2, 1.0])
        power = depths if root is L else np.ones(4)
        found = form.evaluate(times, a=start ** (1 / power), s=target, L=depths)
        for column, depth in enumerate(depths):
            own = closed_form(mode_flow(int(depth))).evaluate(times, a=start[column], s=target[column])
            assert found[:, column] ** power[column] == pytest.approx(own, rel=1e-12)
        assert form.evaluate(1.5, a=0.1 ** (1 / (2 if root is L else 1)), s=1.0, L=2) == pytest.approx(
            closed_form(mode_flow(2)).evaluate(1.5, a=0.1, s=1.0) ** (1 / (2 if root is L else 1)), rel=1e-12
        )


def test_symbolic_powers_that_nothing_solves_are_refused_at_once():
    u, s, mu, L = positive("u s mu L")
    begun = time.perf_counter()
    with pytest.raises(NoClosedForm, match="every matcher declined"):
        closed_form(Flow((u,), (u ** (L - 1) * (s - u**L) - mu * u,)))
    assert time.perf_counter() - begun < 5


def test_modes_that_a_sum_couples_are_refused_cleanly():
    c, lam = modes("c lambda")
    for kind in (Flow, Map):
        with pytest.raises(NoClosedForm, match="every matcher declined"):
            closed_form(kind((c,), (c / 2 + lam * over(lam * c),)))
    kappa, n = positive("kappa n")
    with pytest.raises(NoClosedForm, match="every matcher declined"):
        closed_form(FixedPoint((kappa,), (over(lam / (lam + kappa)) - n,)))
