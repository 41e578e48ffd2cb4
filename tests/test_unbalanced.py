"""Two coupled unknowns solved through what they conserve, against integration; lazy and rich limits."""

import numpy as np
import pytest
import sympy as sp
from scipy.integrate import solve_ivp

from learning_mechanics.theory.architecture.network import chain
from learning_mechanics.theory.closed_forms.closed_form import closed_form
from learning_mechanics.theory.closed_forms.coupled import reduce_by_conserved
from learning_mechanics.theory.derivation.derive import gradient_flow, network_flow
from learning_mechanics.theory.derivation.standard_assumptions import Aligned, Whitened
from learning_mechanics.theory.dynamics.unbalanced import (
    layer_flow,
    lazy_limit,
    product_flow,
    rich_limit,
    settling_rate,
    with_rates,
)
from learning_mechanics.theory.errors import NoClosedForm, OutsideDomain
from learning_mechanics.theory.symbols import TIME, positive, scalars
from learning_mechanics.theory.system import Flow

pytestmark = pytest.mark.short
a, b, s = scalars("a b s")


def integrated(times, start, target, rates=(1.0, 1.0)):
    """u1' = r1 u2 (s - u1 u2), u2' = r2 u1 (s - u1 u2), by DOP853."""

    def right(t, y):
        error = target - y[0] * y[1]
        return [rates[0] * y[1] * error, rates[1] * y[0] * error]

    return solve_ivp(right, (0, times[-1]), start, "DOP853", times, rtol=1e-13, atol=1e-16).y


def test_both_layers_equal_integration():
    """Forty random starts of either sign over four powers of ten; also balanced, and equal and opposite ones."""
    rng, form = np.random.default_rng(1), closed_form(layer_flow())
    for case in range(40):
        start = rng.uniform(-3, 3, 2) * 10.0 ** rng.integers(-4, 1, 2)
        start = {0: start[[0, 0]], 1: start[0] * np.array([1, -1])}.get(case % 10, start)
        target = rng.uniform(0.2, 2)
        times = np.linspace(0, 6 / target, 25)
        got = form.unknowns_at(times, u1=start[0], u2=start[1], s=target)
        want = integrated(times, start, target)
        assert np.abs(got["u1"] - want[0]).max() < 1e-9 and np.abs(got["u2"] - want[1]).max() < 1e-9


def test_modes_at_once():
    """Arrays over modes give (T, C), each column as if alone; t = 1e6 is finite and settled."""
    form = closed_form(layer_flow())
    u1, u2, targets = np.array([1e-3, -0.2, 2.0]), np.array([2e-3, 0.5, 0.0]), np.array([1.0, 0.7, 0.3])
    got = form.unknowns_at([0.0, 2.0, 1e6], u1=u1, u2=u2, s=targets)
    for k in range(3):
        one = form.unknowns_at([0.0, 2.0, 1e6], u1=u1[k], u2=u2[k], s=targets[k])
        assert np.array_equal(got["u1"][:, k], one["u1"]) and np.array_equal(got["u2"][:, k], one["u2"])
    assert np.allclose(got["u1"][0], u1) and np.allclose(got["u2"][0], u2)
    assert np.allclose(got["u1"][-1] * got["u2"][-1], targets, rtol=1e-12)
    assert np.allclose(got["u1"] ** 2 - got["u2"] ** 2, u1**2 - u2**2, atol=1e-14)


def test_layers_at_their_own_rates():
    first, second = positive("r_1 r_2")
    form = closed_form(with_rates(layer_flow(), {"u1": first, "u2": second}))
    times, start, rates = np.linspace(0, 3, 15), [0.2, -1.0], (0.3, 2.0)
    got = form.unknowns_at(times, u1=start[0], u2=start[1], s=1.3, r_1=rates[0], r_2=rates[1])
    want = integrated(times, start, 1.3, rates)
    assert np.abs(got["u1"] - want[0]).max() < 1e-11 and np.abs(got["u2"] - want[1]).max() < 1e-11


def test_explicit_form_is_exact():
    """The printed expression, 40 digits, against the equation: not only through the numerical evaluation."""
    form = closed_form(product_flow())
    (z,), (equation,) = form.system.unknowns, form.system.equations
    symbols = sorted(form.expression.free_symbols, key=str)
    point = {symbol: sp.Rational(k, 7) for symbol, k in zip(symbols, (5, 3, 1, 9), strict=True)}
    miss = form.expression.diff(TIME) - equation.xreplace({z: form.expression})
    assert abs(sp.N(miss.xreplace(point), 40)) < 1e-38
    assert sp.simplify(form.expression.xreplace({TIME: sp.S.Zero}) - form.initial) == 0


def test_limits():
    delta, target = positive("delta"), next(p for p in product_flow().parameters if p.name == "s")
    (z,) = product_flow().unknowns
    assert sp.simplify(lazy_limit().equations[0] - (target - z)) == 0
    assert "1/delta" in lazy_limit().trail.steps[-1].check or "remainder" in lazy_limit().trail.steps[-1].check
    grown = rich_limit().equations[0].subs(z, sp.Rational(1, 3))
    assert sp.simplify(grown - 2 * sp.Rational(1, 3) * (target - sp.Rational(1, 3))) == 0
    assert sp.simplify(settling_rate() ** 2 - (4 * target**2 + sp.Symbol("d") ** 2).subs(sp.Symbol("d"), _delta())) == 0
    first, second = positive("r_1 r_2")
    wide = settling_rate(own_rates=True) ** 2 - 4 * first * second * target**2
    assert sp.simplify(wide.subs(next(q for q in wide.free_symbols if q.name == "delta"), delta) - delta**2) == 0


def _delta():
    return next(q for q in product_flow().parameters if q.name == "delta")


def test_measured_rate_of_approach():
    """log |s - z| falls at sqrt(delta^2 + 4 s^2) per unit of time, whatever the balance."""
    form = closed_form(product_flow())
    for imbalance in (0.0, 0.5, 4.0):
        rate = np.hypot(2.0, imbalance)
        left = 1.0 - form.evaluate(np.array([12.0, 14.0]) / rate, z=0.3, s=1.0, delta=imbalance)
        assert abs(np.log(left[0] / left[1]) / 2 - 1) < 1e-3


def test_what_cannot_be_reduced_says_so():
    with pytest.raises(NoClosedForm, match="no difference"):
        closed_form(Flow((a, b), (b, -a)))
    with pytest.raises(NoClosedForm, match="3 coupled unknowns"):
        closed_form(network_flow(chain("i", "h", "w", "o")).assume(Whitened(), Aligned()))
    with pytest.raises(NoClosedForm, match="not a function of"):
        reduce_by_conserved(Flow((a, b), (b * (1 - a), a * (1 - a))))
    with pytest.raises(NoClosedForm, match="polynomial"):
        closed_form(Flow((a, b), (sp.exp(b), sp.exp(a))))
    with pytest.raises(NoClosedForm, match="not rational"):
        closed_form(Flow((a, b), (sp.sin(s) * b * (1 - a * b), a * (1 - a * b))))
    form = closed_form(gradient_flow((s - a * b) ** 2 / 2, on=(a, b)))
    with pytest.raises(OutsideDomain, match="no start for b"):
        form.unknowns_at([1.0], a=0.1, s=1.0)
