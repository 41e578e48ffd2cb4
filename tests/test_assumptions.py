"""Assumptions: what they derive, what they refuse, and the distance they report on real arrays."""

import numpy as np
import pytest
import sympy as sp
from test_derive import SKIP, TIED, deep, numbers

import learning_mechanics as lm
from learning_mechanics.theory.architecture.network import chain
from learning_mechanics.theory.derivation.assumptions import Closure, Invariant, Limit
from learning_mechanics.theory.derivation.derive import network_flow, network_map
from learning_mechanics.theory.derivation.reduce import change_variables
from learning_mechanics.theory.derivation.standard_assumptions import Aligned, Balanced, LargeDepth, Whitened
from learning_mechanics.theory.errors import AssumptionViolated, NoClosedForm, UnknownName
from learning_mechanics.theory.symbols import ModeSymbol
from learning_mechanics.theory.system import Flow, Map


def aligned_instance(depth, rng, strengths, rank=2, covariance=None):
    """W_l = R_l diag(u_l) R_{l-1}' in random bases, with Sigma_yx = R_L diag(s) R_0' and Sigma_xx diagonal in R_0."""
    widths = [5, *rng.integers(3, 6, depth - 1), 4]
    full = np.linalg.qr(rng.standard_normal((5, 5)))[0]
    bases = [full[:, :rank], *(np.linalg.qr(rng.standard_normal((n, rank)))[0] for n in widths[1:])]
    s = np.array([1.7, 0.6])
    arrays = {f"W{k + 1}": bases[k + 1] * strengths[k] @ bases[k].T for k in range(depth)}
    arrays["Sigma_yx"] = bases[-1] * s @ bases[0].T
    spectrum = np.ones(5) if covariance is None else covariance
    arrays["Sigma_xx"] = full * spectrum @ full.T
    return arrays, bases, s


@pytest.mark.short
@pytest.mark.parametrize("depth", (1, 2, 3, 4, 7))
def test_from_matrices_to_one_mode(depth):
    reduced = network_flow(deep(depth)).assume(Whitened(), Aligned(), Balanced())
    (u,), (rate,) = reduced.unknowns, reduced.equations
    assert isinstance(u, ModeSymbol)
    s = next(p for p in reduced.parameters if str(p) == "s")
    assert sp.simplify(rate - u ** (depth - 1) * (s - u**depth)) == 0
    assert reduced.observables["end_to_end"] == u**depth
    assert reduced.trail.assumptions == ("whitened", "aligned", "balanced")

    strength = change_variables(reduced, {"a": u**depth})
    (a,) = strength.unknowns
    assert sp.simplify(strength.equations[0] - depth * a ** sp.Rational(2 * depth - 2, depth) * (s - a)) == 0
    assert strength.eliminated[u] == a ** sp.Rational(1, depth)
    first = network_flow(deep(depth)).unknowns[0]
    assert first in strength.eliminated  # the matrices stay reachable


@pytest.mark.short
@pytest.mark.parametrize("depth", (1, 2, 3, 4))
def test_unbalanced_modes_of_data_that_are_not_white(depth):
    rng = np.random.default_rng(depth)
    strengths = rng.uniform(0.2, 1.5, (depth, 2))
    covariance = np.array([2.0, 0.4, 1.3, 0.7, 0.2])
    arrays, bases, s = aligned_instance(depth, rng, strengths, covariance=covariance)
    flow = network_flow(deep(depth))
    modes = flow.assume(Aligned())
    values = {"s": s, "lambda": covariance[:2], **{f"u{k + 1}": strengths[k] for k in range(depth)}}
    for k, (full, mode) in enumerate(zip(flow.equations, modes.equations, strict=True)):
        inside = bases[k + 1].T @ numbers(full, arrays) @ bases[k]
        names = sorted(mode.free_symbols, key=str)
        rate = sp.lambdify(names, mode, "numpy")(*(values[str(name)] for name in names))
        assert np.abs(inside - np.diag(rate)).max() < 1e-13
        outside = numbers(full, arrays) - bases[k + 1] @ inside @ bases[k].T
        assert np.abs(outside).max() < 1e-13


@pytest.mark.short
def test_the_mode_map_is_exact_gradient_descent():
    """200 steps on three layers from an aligned balanced start, against the scalar recursion; brute force in NumPy."""
    eta, start = 0.1, 0.2
    rng = np.random.default_rng(0)
    arrays, bases, s = aligned_instance(3, rng, np.full((3, 2), start))
    W1, W2, W3 = (arrays[f"W{k}"] for k in (1, 2, 3))
    reduced = network_map(deep(3)).assume(Whitened(), Aligned(), Balanced(into="u"))
    step = sp.lambdify(sorted(reduced.equations[0].free_symbols, key=str), reduced.equations[0], "numpy")
    assert [str(x) for x in sorted(reduced.equations[0].free_symbols, key=str)] == ["eta", "s", "u"]
    u = np.full(2, start)
    for _ in range(200):
        E = arrays["Sigma_yx"] - W3 @ W2 @ W1
        W1, W2, W3 = W1 + eta * W2.T @ W3.T @ E, W2 + eta * W3.T @ E @ W1.T, W3 + eta * E @ W1.T @ W2.T
        u = step(eta, s, u)
    trained = np.diag(bases[-1].T @ W3 @ W2 @ W1 @ bases[0])
    assert np.abs(u**3 - trained).max() < 1e-12
    assert np.abs(trained - s)[0] < 1e-3  # it did learn


@pytest.mark.instant
def test_skip_and_tied_networks_decouple_too():
    modes = network_flow(SKIP).assume(Whitened(), Aligned())
    u1, u2, skip = modes.unknowns
    s = next(p for p in modes.parameters if str(p) == "s")
    assert sp.expand(modes.equations[2] - (s - skip - u1 * u2)) == 0
    tied = network_flow(TIED).assume(Whitened(), Aligned())
    by_name = {str(x): x for x in tied.unknowns}
    U, W, V = by_name["u_U"], by_name["u_W"], by_name["u_V"]
    loss = (s - V * (W + W**2) * U) ** 2 / 2  # each mode descends the scalar loss
    for unknown, rate in zip(tied.unknowns, tied.equations, strict=True):
        assert sp.expand(rate + loss.diff(unknown)) == 0


@pytest.mark.instant
def test_non_tangent_ansatz_is_refused_with_its_residual():
    a, b, s, u = lm.scalars("a b s u")
    uneven = lm.gradient_flow((s - a * b**2) ** 2 / 2, on=(a, b))
    with pytest.raises(AssumptionViolated, match="leaves b = u at the rate"):
        uneven.assume(Balanced(a, b))
    # its own balance is |b|^2 = 2 |a|^2, which is preserved
    (rate,) = uneven.assume(Invariant("uneven", "b = sqrt(2) a", {a: u, b: sp.sqrt(2) * u})).equations
    assert sp.expand(rate - 2 * u**2 * (s - 2 * u**3)) == 0
    flow = lm.gradient_flow((s - a * b) ** 2 / 2, on=(a, b))
    with pytest.raises(AssumptionViolated):
        flow.assume(Invariant("frozen", "b = 1", {b: 1}))
    with pytest.raises(UnknownName, match="unknown 'u1'"):
        flow.assume(Balanced("u1", "u2"))


@pytest.mark.instant
def test_whitened_needs_a_covariance():
    a, s = lm.scalars("a s")
    with pytest.raises(UnknownName, match="Sigma_xx"):
        lm.gradient_flow((s - a) ** 2, on=a).assume(Whitened())


@pytest.mark.instant
def test_aligned_declines_what_is_no_product():
    W = sp.MatrixSymbol("W", 3, 3)
    with pytest.raises(AssumptionViolated, match="no product"):
        Flow((W,), (W.inv(),)).assume(Aligned())


@pytest.mark.short
def test_distances_measure_planted_departures():
    rng = np.random.default_rng(3)
    arrays, bases, _ = aligned_instance(3, rng, np.full((3, 2), 0.5))
    assert Whitened().distance(arrays) < 1e-12
    assert Balanced().distance(arrays) < 1e-12
    assert Aligned().distance(arrays) < 1e-12
    stretched = {**arrays, "W2": 1.1 * arrays["W2"]}
    assert Balanced().distance(stretched) == pytest.approx((1.1**2 - 1) / 1.1**2)
    assert Aligned().distance(stretched) < 1e-12  # still aligned
    angle = 0.1
    turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    rotated = bases[0] @ turn
    twisted = {**arrays, "W1": bases[1] * [0.5, 0.2] @ rotated.T}
    assert 0.05 < Aligned().distance(twisted) < 0.5
    assert Whitened().distance({"Sigma_xx": 1.03 * arrays["Sigma_xx"]}) == pytest.approx(0.03)
    assert Balanced("a", "b").distance({"a": np.array([1.0, 2.0]), "b": np.array([1.0, 1.5])}) == pytest.approx(0.25)
    with pytest.raises(AssumptionViolated, match="no measure"):
        Invariant("bare", "nothing is known", {}).distance({})


@pytest.mark.short
def test_infinite_depth_and_its_remainder():
    u, s, L = lm.positive("u s L")
    finite = change_variables(lm.gradient_flow((s - u**L) ** 2 / 2, on=u, copies=L), {"a": u**L})
    (a,) = finite.unknowns
    deepest = finite.assume(LargeDepth(L))
    assert sp.expand(deepest.equations[0] - a**2 * (s - a)) == 0
    (remainder,) = LargeDepth(L).remainder(finite)
    at = {a: 0.3, s: 1.1}
    errors = []
    for depth in (100, 200):
        exact = float(finite.equations[0].subs({**at, L: depth})) / depth
        error = exact - float(deepest.equations[0].subs(at))
        errors.append(error - float(remainder.subs({**at, L: depth})))
    assert errors[0] / errors[1] == pytest.approx(4, rel=0.05)  # what is left is second order
    assert "remainder" in deepest.trail.steps[-1].check
    assert LargeDepth(L).distance({"L": 50}) == pytest.approx(0.02)


@pytest.mark.short
def test_symbolic_depth_agrees_with_every_numeric_depth():
    u, s, L = lm.positive("u s L")
    (symbolic,) = lm.gradient_flow((s - u**L) ** 2 / 2, on=u, copies=L).equations
    for depth in (2, 3, 5):
        reduced = network_flow(deep(depth)).assume(Whitened(), Aligned(), Balanced(into=u))
        renamed = reduced.equations[0].xreplace(
            {p: {"u": u, "s": s}[str(p)] for p in reduced.equations[0].free_symbols}
        )
        assert sp.simplify(renamed - symbolic.subs(L, depth)) == 0


@pytest.mark.instant
def test_a_limit_that_does_not_exist_says_so():
    x, h = lm.positive("x h")
    with pytest.raises(AssumptionViolated, match="no finite limit"):
        Flow((x,), (x / h,)).assume(Limit("small", "h -> 0", variable=h, point=0))
    with pytest.raises(NoClosedForm, match="rescaled"):
        Map((x,), (x + 1 / h,)).assume(Limit("deep", "h -> oo", variable=h, clock=h))
    kept = Flow((x,), (x / (1 + h),)).assume(Limit("small", "h -> 0", variable=h, point=0))
    assert kept.equations == (x,)


@pytest.mark.instant
def test_closure_is_marked_as_unproved_and_measured():
    m, q = lm.scalars("m q")
    gaussian = Closure("gaussian", "E x^4 = 3 q^2", {m: 3 * q**2}, measure=lambda v: abs(np.mean(v["x"] ** 4) - 3))
    closed = Flow((q,), (-m,)).assume(gaussian)
    assert closed.equations == (-3 * q**2,)
    assert "not provable" in closed.trail.steps[-1].check
    assert gaussian.distance({"x": np.ones(4)}) == pytest.approx(2)
    assert (Invariant.kind, Limit.kind, Closure.kind) == ("invariant", "limit", "closure")
    assert hash(gaussian) == hash(gaussian)


@pytest.mark.instant
def test_chain_with_one_width_everywhere():
    reduced = network_flow(chain(3, 3, 3, 3)).assume(Whitened(), Aligned(), Balanced())
    (u,) = reduced.unknowns
    assert reduced.observables["end_to_end"] == u**3


@pytest.mark.instant
def test_a_planted_error_in_the_mode_equations_is_caught(monkeypatch):
    from learning_mechanics.theory.derivation import diagonal

    honest = diagonal._scalar
    monkeypatch.setattr(diagonal, "_scalar", lambda *a: honest(*a) * sp.Rational(10**6 + 1, 10**6))
    with pytest.raises(AssumptionViolated, match="leave alignment at the relative rate"):
        network_flow(deep(2)).assume(Whitened(), Aligned())


@pytest.mark.instant
@pytest.mark.parametrize("widths", [(3, 1, 2), (64, 32, 10), (1, 1)])
def test_narrow_and_concrete_widths_reduce_too(widths):
    reduced = network_flow(chain(*widths)).assume(Whitened(), Aligned(), Balanced())
    assert reduced.observables["end_to_end"] == reduced.unknowns[0] ** (len(widths) - 1)
