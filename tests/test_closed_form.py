"""Closed forms against direct integration, known values, edge cases, and wrong answers that must be rejected."""

import time

import mpmath
import numpy as np
import pytest
import sympy as sp
from scipy.integrate import solve_ivp

from learning_mechanics.theory.closed_forms import closed_form as module
from learning_mechanics.theory.closed_forms import matchers
from learning_mechanics.theory.closed_forms.asymptotics import escape_time, half_rise_time, rate
from learning_mechanics.theory.closed_forms.closed_form import closed_form
from learning_mechanics.theory.closed_forms.implicit import power_time
from learning_mechanics.theory.closed_forms.quadrature import quadrature
from learning_mechanics.theory.closed_forms.substitute_back import residual
from learning_mechanics.theory.errors import BadData, NoClosedForm, OutsideDomain
from learning_mechanics.theory.symbols import TIME, modes, over, positive, scalars
from learning_mechanics.theory.system import FixedPoint, Flow, Map

pytestmark = pytest.mark.short
a, s = modes("a s")
u, mu, delta = positive("u mu delta")
x, y, z = scalars("x y z")
DEPTHS = [1, 2, 3, 4, 5, 7, 8, sp.Rational(5, 2)]


@pytest.fixture(autouse=True)
def own_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("LEARNING_MECHANICS_CACHE", str(tmp_path))


def mode(depth):
    """The end-to-end mode equation of a balanced chain; None is infinite depth in rescaled time."""
    return Flow((a,), (a**2 * (s - a) if depth is None else depth * a ** (2 - sp.Rational(2) / depth) * (s - a),))


def layer(depth):
    """The same chain written for one layer's strength u = a^(1/L)."""
    return Flow((u,), (sp.expand(u ** (depth - 1) * (s - u**depth)),))


def integrate(system, times, start, **values):
    """The independent route: DOP853 at relative tolerance 1e-12, one component at a time."""
    (unknown,), (equation,) = system.unknowns, system.equations
    symbols = sorted(equation.free_symbols - {unknown, TIME}, key=str)
    right = sp.lambdify([TIME, unknown, *symbols], equation, "numpy")
    columns = []
    for c in range(len(start)):
        parameters = [np.broadcast_to(values[symbol.name], len(start))[c] for symbol in symbols]
        found = solve_ivp(
            lambda t, v, p=parameters: right(t, v, *p) + 0 * v,
            (0, times[-1]),
            [start[c]],
            method="DOP853",
            t_eval=times,
            rtol=1e-12,
            atol=1e-14,
        )
        columns.append(found.y[0])
    return np.stack(columns, axis=1)


@pytest.mark.parametrize("depth", [*DEPTHS, None])
def test_modes_equal_integration(depth):
    rng = np.random.default_rng(0)
    targets, start = rng.uniform(0.4, 2.5, 4), rng.uniform(0.02, 0.3, 4)
    times = np.linspace(0, 12, 40)
    got = closed_form(mode(depth)).evaluate(times, a=start, s=targets)
    want = integrate(mode(depth), times, start, s=targets)
    assert np.abs((got - want) / targets).max() < 1e-9


@pytest.mark.parametrize("depth", [2, 3, 4, 7])
def test_layers_and_chains_agree(depth):
    """Writing the law for one layer's strength instead of the end-to-end strength changes nothing."""
    times, start, targets = np.linspace(0, 30, 50), np.array([1e-3, 0.02, 0.4]), np.array([2.0, 1.0, 0.5])
    whole = closed_form(mode(depth)).evaluate(times, a=start, s=targets)
    per_layer = closed_form(layer(depth)).evaluate(times, u=start ** (1 / depth), s=targets)
    assert np.allclose(per_layer**depth, whole, rtol=1e-10, atol=0)


@pytest.mark.parametrize("depth", [2, 3, None])
def test_decay_from_above(depth):
    """A strength that starts above its target comes down to it."""
    times, start, targets = np.linspace(0, 3, 20), np.array([2.0, 5.0]), np.array([1.0, 0.7])
    got = closed_form(mode(depth)).evaluate(times, a=start, s=targets)
    assert np.allclose(got, integrate(mode(depth), times, start, s=targets), rtol=1e-9)


@pytest.mark.parametrize("seed", range(4))
def test_random_polynomial_equations(seed):
    """Polynomial equations that are on no list, of degree 4 or 5, from random starts between random roots."""
    rng = np.random.default_rng(seed)
    roots = [sp.Rational(int(k), 7) for k in rng.choice(np.arange(-14, 15), 3, replace=False)]
    bend = sp.Rational(int(rng.integers(1, 9)), 5)
    factor = x if seed % 2 else sp.S.One
    right = -factor * sp.prod(x - root for root in roots) * (x**2 + bend)
    system = Flow((x,), (sp.expand(right),))
    form = closed_form(system)
    assert form.method == "partial fractions" and form.residual < 1e-25
    low, high = sorted(float(root) for root in roots)[:2]
    start, times = np.array([low + 0.2 * (high - low), high - 0.1 * (high - low)]), np.linspace(0, 2, 15)
    assert np.allclose(form.evaluate(times, x=start), integrate(system, times, start), rtol=1e-9, atol=1e-10)


def test_weight_decay_at_depth_three():
    """u' = u^2 (s - u^3) - mu u with symbolic target and decay: learns from above the unstable root, dies below it."""
    system = Flow((u,), (u**2 * (s - u**3) - mu * u,))
    form = closed_form(system)
    times, start, targets = np.linspace(0, 40, 30), np.array([0.05, 0.2, 0.9]), np.array([1.0, 1.5, 1.0])
    got = form.evaluate(times, u=start, s=targets, mu=0.1)
    assert np.allclose(got, integrate(system, times, start, s=targets, mu=0.1), rtol=1e-9, atol=1e-11)
    assert got[-1, 0] < 0.01 and got[-1, 1] > 1


def test_two_routes_to_depth_three():
    """The hypergeometric law and the partial fractions of the same equation give the same times."""
    system = layer(3)
    (equation,) = system.equations
    by_roots, by_series = quadrature(equation, u), matchers.power_mode(equation, u)
    point = {u: sp.Rational(4, 5), matchers.initial_symbol(u): sp.Rational(1, 9), s: sp.Rational(6, 5)}
    assert abs(sp.N((by_roots.time_law - by_series.time_law).xreplace(point), 30)) < 1e-25


def test_unbalanced_two_layers():
    system = Flow((z,), (sp.sqrt(delta**2 + 4 * z**2) * (s - z),))
    form = closed_form(system)
    assert form.kind == "explicit"
    times = np.linspace(0, 6, 30)
    start, targets, imbalance = (
        np.array([-0.4, 0.01, 2.0, 0.0]),
        np.array([1.0, 0.5, 1.2, 1.0]),
        np.array([1, 0.3, 4, 2.0]),
    )
    got = form.evaluate(times, z=start, s=targets, delta=imbalance)
    want = integrate(system, times, start, s=targets, delta=imbalance)
    assert np.abs(got - want).max() < 1e-9
    assert sp.simplify(rate(system) - sp.sqrt(delta**2 + 4 * s**2)) == 0
    balanced = form.evaluate(times, z=0.01, s=1.0, delta=0.0)  # the limit is the logistic law
    assert np.allclose(balanced, 1 / (1 + 99 * np.exp(-2 * times)), rtol=1e-12)


@pytest.mark.parametrize("depth", [*DEPTHS, None])
def test_finite_and_settled_at_long_times(depth):
    form = closed_form(mode(depth))
    with np.errstate(all="raise"):
        got = form.evaluate([0.0, 1e6], a=np.array([1e-3, 0.5, 3.0]), s=np.array([2.0, 1.0, 0.3]))
    assert np.allclose(got, [[1e-3, 0.5, 3.0], [2.0, 1.0, 0.3]], rtol=1e-12)


def test_tiny_start():
    """From 1e-12 at depth 3 the wait is a0^(-1/3) / s = 1e4, resolved against 40-digit arithmetic."""
    form = closed_form(mode(3))
    for moment in (100.0, 9990.0, 10001.0, 10010.0):
        got = form.evaluate(moment, a=1e-12, s=1.0)
        want = form.evaluate_mpmath(moment, a=1e-12, s=1.0)
        assert abs(got / float(want) - 1) < 1e-10


def test_near_saturation():
    """The distance to the target is resolved to the last digit: 40-digit arithmetic as the independent route."""
    form = closed_form(mode(3))
    high = form.evaluate_mpmath(12.0, a="0.1", s="1.0")
    assert abs(form.evaluate(12.0, a=0.1, s=1.0) - float(high)) < 3e-16
    with mpmath.workdps(50):  # the rate of approach is L s^(2-2/L) = 3
        later = form.evaluate_mpmath(13.0, a="0.1", s="1.0")
        assert abs(mpmath.log((1 - high) / (1 - later)) - 3) < 1e-12


@pytest.mark.parametrize("start, target", [(0.0, 1.0), (0.3, 0.0), (0.7, 0.7)])
def test_degenerate_modes(start, target):
    """No start, no target, or already there."""
    times = np.array([0.0, 1.0, 5.0])
    for depth in (1, 2, 3, None):
        form = closed_form(mode(depth))
        got = form.evaluate(times, a=np.array([start]), s=np.array([target]))
        want = integrate(mode(depth), times, [start], s=[target])
        assert np.allclose(got, want, rtol=1e-9)
        assert np.isfinite(form.evaluate(1e6, a=start, s=target))


@pytest.mark.parametrize("power", [0.0, 0.5, 4 / 3, 1.75, 2.0, 2.5, 3.0])
def test_dimensionless_time_against_quadrature(power):
    """G(w1) - G(w0) is the integral of x^(1-P) over the logit, by 30-digit quadrature."""
    for w0, w1 in ((-30.0, -2.0), (-2.0, 1.0), (-1e-9, 1e-9), (1.0, 60.0)):
        with mpmath.workdps(30):
            want = mpmath.quad(lambda w: (1 + mpmath.exp(-w)) ** (power - 1), mpmath.linspace(w0, w1, 9))
        got = power_time(np.array([w0, w1]), power)
        assert abs(got[1] - got[0] - float(want)) <= 1e-14 * max(1, *np.abs(got))


def test_published_formulas():
    """L = 2: Saxe et al. 2013, equation for the sigmoidal trajectory; L = 4: the elementary law with artanh."""
    form, t0 = closed_form(mode(2)), matchers.initial_symbol(a)
    want = s * sp.exp(2 * s * TIME) / (sp.exp(2 * s * TIME) - 1 + s / t0)
    assert sp.simplify(form.expression - want) == 0

    def artanh_law(strength):
        return (-1 / sp.sqrt(strength) + sp.atanh(sp.sqrt(strength / s)) / sp.sqrt(s)) / (2 * s)

    law = closed_form(mode(4)).time_law - (artanh_law(a) - artanh_law(t0))
    assert abs(sp.N(law.xreplace({a: sp.Rational(3, 4), t0: sp.Rational(1, 50), s: sp.Rational(7, 5)}), 30)) < 1e-25


def test_times_and_rates():
    start = matchers.initial_symbol(a)
    assert sp.simplify(half_rise_time(closed_form(mode(2))) - sp.log(s / start - 1) / (2 * s)) == 0
    assert sp.simplify(escape_time(mode(2)) - sp.log(1 / start) / (2 * s)) == 0
    for depth in (3, 4, 6):
        want = start ** (sp.Rational(2, depth) - 1) / (s * (depth - 2))
        assert sp.simplify(escape_time(mode(depth)) - want) == 0
        assert sp.simplify(rate(mode(depth)) - depth * s ** (2 - sp.Rational(2, depth))) == 0
    half = half_rise_time(closed_form(mode(3)))
    seconds = float(half.xreplace({s: sp.Rational(17, 10), start: sp.Rational(1, 10**6)}))
    got = closed_form(mode(3)).evaluate(seconds, a=1e-6, s=1.7)
    assert abs(got - 0.85) < 1e-9
    assert abs(seconds - (58.824 - 0.419)) < 2e-3  # half-rise minus escape time at s = 1.7


@pytest.mark.parametrize("name", ["linear", "Riccati", "power law", "dsolve", "recursion"])
def test_other_shapes(name):
    system, values, times = {
        "linear": (Flow((x,), (y - 2 * x,)), {"y": 0.7}, np.linspace(0, 3, 9)),
        "Riccati": (Flow((x,), (1 - x / 2 - y * x**2,)), {"y": 0.7}, np.linspace(0, 3, 9)),
        "power law": (Flow((x,), (-y * x**3,)), {"y": 0.7}, np.linspace(0, 3, 9)),
        "dsolve": (Flow((x,), (-TIME * x * y,)), {"y": 0.7}, np.linspace(0, 3, 9)),
        "recursion": (Map((x,), (x * (1 - y / 4) + 1,)), {"y": 0.7}, np.arange(9.0)),
    }[name]
    form, start = closed_form(system), np.array([0.2, 0.9])
    got = form.evaluate(times, x=start, **values)
    if isinstance(system, Map):
        want = [start]
        for _ in times[1:]:
            want.append(want[-1] * (1 - 0.7 / 4) + 1)
    else:
        want = integrate(system, times, start, **values)
    assert np.allclose(got, want, rtol=1e-9)


def test_real_symbols_and_negative_targets():
    """Symbols declared real, as in `lm.scalars`; weight decay beyond the target drives the strength to zero."""
    v, target = scalars("v target")
    form = closed_form(Flow((v,), (v * (target - v**2),)))
    assert form.method == "logistic"
    times, start = np.linspace(0, 4, 9), np.array([0.3, -0.3, 0.5])
    got = form.evaluate(times, v=start, target=np.array([1.0, 1.0, -0.5]))
    want = integrate(form.system, times, start, target=np.array([1.0, 1.0, -0.5]))
    assert np.allclose(got, want, rtol=1e-9)
    assert form.evaluate(1e6, v=0.5, target=-0.5) == 0


def test_evaluation_is_fast():
    """Nine modes at a thousand times in well under 0.1 s (best of five)."""
    form, times = closed_form(mode(3)), np.linspace(0, 30, 1000)
    seconds = []
    for _ in range(5):
        began = time.perf_counter()
        form.evaluate(times, a=np.full(9, 1e-3), s=np.linspace(1, 2, 9))
        seconds.append(time.perf_counter() - began)
    assert min(seconds) < 0.1


def test_blow_up_is_infinite():
    assert np.isinf(closed_form(Flow((x,), (x**2 * (x**2 + 1),))).evaluate([0.0, 9.0], x=1.0)[1])
    assert closed_form(Flow((x,), (x**2,))).evaluate([0.5, 2.0], x=1.0).tolist() == [2.0, np.inf]


def test_fixed_points():
    S, eta, beta = positive("S eta beta")
    assert closed_form(FixedPoint((S,), (eta * S - 2 - 2 * beta,))).expression.equals((2 + 2 * beta) / eta)
    form = closed_form(FixedPoint((S,), (S**2 + beta * S - eta,)))
    assert np.allclose(form.evaluate(beta=np.array([1.0, 3.0]), eta=2.0), [1.0, (-3 + np.sqrt(17)) / 2])
    with pytest.raises(NoClosedForm, match="lm.solve"):
        closed_form(FixedPoint((S,), (S - 1 + over(a / (a + S)),)))


def test_wrong_answers_are_rejected(monkeypatch):
    """A planted antiderivative (a lost root, a wrong factor, a shifted start) never gets through."""
    system = layer(3)
    (equation,) = system.equations
    good = matchers.power_mode(equation, u)
    assert residual(good, system) < 1e-25
    start = matchers.initial_symbol(u)
    lost = -1 / (s * u) + sp.log(s - u**3) / s - (-1 / (s * start) + sp.log(s - start**3) / s)
    for wrong in (lost, good.time_law * (1 + sp.Rational(1, 10**20)), good.time_law + sp.Rational(1, 10**20)):
        planted = matchers.Match("planted", "implicit", wrong, wrong, good.final, good.domain)
        assert residual(planted, system) > 1e-25
        monkeypatch.setattr(module, "MATCHERS", {Flow: (lambda equation, unknown, m=planted: m,)})
        monkeypatch.setenv("LEARNING_MECHANICS_CACHE", "off")
        with pytest.raises(NoClosedForm, match="planted left a residual"):
            closed_form(system)


def test_general_integrator_would_be_wrong():
    """Why `sympy.integrate` is not called: what it returns for 1/(u^2 (s-u^3)) is checked, not trusted."""
    plain = sp.Symbol("s", positive=True)
    antiderivative = sp.integrate(1 / (u**2 * (plain - u**3)), u)
    point = {u: sp.Rational(1, 3), plain: sp.Rational(7, 5)}
    miss = sp.N((antiderivative.diff(u) * u**2 * (plain - u**3) - 1).xreplace(point), 20)
    found = quadrature(u**2 * (plain - u**3), u)
    assert residual(found, Flow((u,), (u**2 * (plain - u**3),))) < 1e-25
    if abs(miss) > 1e-10:  # a later SymPy may be right
        law = antiderivative - antiderivative.xreplace({u: matchers.initial_symbol(u)})
        planted = matchers.Match("sympy", "implicit", law, law)
        assert residual(planted, Flow((u,), (u**2 * (plain - u**3),))) > 1e-10


def test_explained_failures():
    b = sp.Symbol("b")
    with pytest.raises(NoClosedForm, match="2 coupled unknowns"):
        closed_form(Flow((x, b), (b, -x)))
    with pytest.raises(NoClosedForm, match="every matcher declined"):
        closed_form(Map((x,), (x * (1 - x),)))
    with pytest.raises(NoClosedForm, match="rename"):
        closed_form(Flow((x,), (scalars("x_0") - x,)))
    form = closed_form(mode(3))
    with pytest.raises(OutsideDomain, match="no value for s"):
        form.evaluate([1.0], a=0.1)
    with pytest.raises(OutsideDomain, match="negative"):
        form.evaluate([1.0], a=np.array([0.1, -0.1]), s=1.0)
    with pytest.raises(OutsideDomain, match="finite"):
        form.evaluate([np.nan], a=0.1, s=1.0)


def test_two_initial_values_are_refused():
    u, a = positive("u a")
    form = closed_form(Flow((u,), (-a * u,)))
    one = form.evaluate([0.0, 1.0], a=1.0, u=2.0)
    assert np.array_equal(form.evaluate([0.0, 1.0], a=1.0, u_0=2.0), one)
    assert np.array_equal(form.evaluate([0.0, 1.0], a=1.0, u=2.0, u_0=2.0), one)
    with pytest.raises(BadData, match="two initial values, u and u_0"):
        form.evaluate([0.0, 1.0], a=1.0, u=2.0, u_0=3.0)


def test_shapes_and_records():
    form = closed_form(mode(3))
    assert form.evaluate(np.zeros(5), a=0.1, s=np.ones(3)).shape == (5, 3)
    assert form(np.zeros(5), a=0.1, s=1.0).shape == (5,)
    assert form(0.0, a_0=0.1, s=np.ones(3)).shape == (3,)
    card, record = str(form), form.to_dict()
    assert "implicit, by hypergeometric" in card and len(card.splitlines()) < 12
    assert record["residual"] < 1e-25 and record["trail"][-1]["reference"].startswith("Saxe")
    assert form._repr_latex_().startswith("$") and "F_" in form._repr_latex_()
    assert hash(form) == hash(closed_form(mode(3)))
