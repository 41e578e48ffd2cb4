"""Conserved quantities: found where they exist, refused where they do not, and their drift in actual training steps."""

import time
from dataclasses import replace

import numpy as np
import pytest
import sympy as sp
from test_derive import SKIP, TIED, deep, instance, jax_gradient, numbers

import learning_mechanics as lm
from learning_mechanics.theory.architecture.network import Network, Node
from learning_mechanics.theory.derivation.conserved import (
    conserved,
    conserved_for_any_loss,
    discrete_drift,
    rate_of_change,
    verify,
)
from learning_mechanics.theory.derivation.derive import discretised, network_flow, network_map
from learning_mechanics.theory.derivation.noncommutative import symmetric, words
from learning_mechanics.theory.errors import AssumptionViolated, NoClosedForm
from learning_mechanics.theory.system import FixedPoint, Flow, Map


@pytest.mark.short
@pytest.mark.parametrize("depth", (1, 2, 3, 4, 7))
def test_balancedness_is_found_at_every_depth(depth):
    flow = network_flow(deep(depth))
    found = lm.conserved(flow)
    W = flow.unknowns
    expected = tuple(W[k + 1].T * W[k + 1] - W[k] * W[k].T for k in range(depth - 1))
    assert found == expected


@pytest.mark.short
@pytest.mark.parametrize("depth", (2, 3, 4))
def test_drift_equals_an_actual_training_step(depth):
    network, eta = deep(depth), 0.05
    weights, x, y, moments = instance(network, seed=depth)
    _, gradient = jax_gradient(network, weights, x, y)
    after = {name: w - eta * gradient[name] for name, w in weights.items()}
    flow = network_flow(network)
    for invariant in conserved(flow):
        before, now = numbers(invariant, weights), numbers(invariant, after)
        scale = np.abs(now).max()
        for system in (flow, network_map(network)):
            drift = numbers(discrete_drift(system, invariant), {**weights, **moments, "eta": eta})
            assert np.abs(drift - (now - before)).max() <= 1e-12 * scale
        assert np.abs(now - before).max() > 1e-6 * scale  # the drift is there to be seen


@pytest.mark.instant
def test_depth_one_conserves_nothing():
    assert conserved(network_flow(deep(1))) == ()


@pytest.mark.instant
def test_skip_and_tied_networks():
    flow = network_flow(SKIP)
    W1, W2, _ = flow.unknowns
    assert conserved(flow) == (W2.T * W2 - W1 * W1.T,)
    tied = Network(
        (
            Node("x", "input", width="d"),
            Node("h", "dense", ("x",), weight="W", width="d"),
            Node("g", "dense", ("h",), weight="W", width="d"),
            Node("y", "dense", ("g",), weight="V", width="o"),
        )
    )
    flow = network_flow(tied)
    W, V = flow.unknowns
    # homogeneity: W enters twice, so |V|^2 - |W|^2 / 2 is conserved, and no matrix is
    assert conserved(flow) == (2 * sp.Trace(V.T * V) - sp.Trace(W.T * W),)
    rng = np.random.default_rng(0)
    arrays = {"W": rng.standard_normal((4, 4)), "V": rng.standard_normal((3, 4)), "eta": 0.1}
    arrays |= {"Sigma_xx": np.cov(rng.standard_normal((4, 9))), "Sigma_yx": rng.standard_normal((3, 4))}
    after = {str(u): arrays[str(u)] + 0.1 * numbers(e, arrays) for u, e in zip((W, V), flow.equations, strict=True)}
    drift = numbers(discrete_drift(flow, conserved(flow)[0]), arrays)
    change = [2 * (m["V"] ** 2).sum() - (m["W"] ** 2).sum() for m in (arrays, after)]
    assert drift == pytest.approx(change[1] - change[0], rel=1e-11)


GATED = Network(
    (
        Node("x", "input", width="d"),
        Node("h", "dense", ("x",), weight="W1", width="h"),
        Node("g", "gate", ("h",), gate="context"),
        Node("y", "dense", ("g",), weight="W2", width="o"),
    )
)


@pytest.mark.short
def test_laws_for_every_loss_of_the_map():
    """The derivative of the loss stays a free matrix: balancedness needs no squared error."""
    for depth in (2, 3, 5):
        W = deep(depth).weights()
        found = conserved_for_any_loss(deep(depth))
        assert found == tuple(W[k + 1].T * W[k + 1] - W[k] * W[k].T for k in range(depth - 1))
    W1, W2 = (GATED.weights()[k] for k in (0, 1))
    assert conserved_for_any_loss(GATED) == (W2.T * W2 - W1 * W1.T,)
    W1, W2 = (SKIP.weights()[k] for k in (0, 1))
    assert conserved_for_any_loss(SKIP) == (W2.T * W2 - W1 * W1.T,)
    # a residual stream with a tied block y = V (W + W W) U x: the block contributes its commutator W'W - W W'
    U, W, V = TIED.weights()
    (law,) = conserved_for_any_loss(TIED)
    assert words(law - (V.T * V - U * U.T + W.T * W - W * W.T)).is_zero
    with pytest.raises(AssumptionViolated, match="not conserved"):
        verify(network_flow(TIED, loss="any"), V.T * V - U * U.T)


@pytest.mark.short
@pytest.mark.parametrize("network", (deep(3), SKIP, TIED), ids=("chain", "skip", "tied"))
def test_laws_for_every_loss_hold_along_a_flow_of_another_loss(network):
    """log cosh instead of the square, automatic differentiation, an integrator of order eight."""
    import jax
    import jax.numpy as jnp
    from scipy.integrate import solve_ivp

    from learning_mechanics.validate.experiments.forward import forward

    run = forward(network)
    weights, x, y, _ = instance(network, seed=4)
    shapes = {name: w.shape for name, w in weights.items()}
    cuts = np.cumsum([w.size for w in weights.values()])[:-1]

    def unpacked(theta, split=np.split):
        return {n: p.reshape(s) for p, (n, s) in zip(split(theta, cuts), shapes.items(), strict=True)}

    with jax.enable_x64(True):
        loss = jax.jit(jax.grad(lambda t: jnp.mean(jnp.log(jnp.cosh(run(unpacked(t, jnp.split), x) - y)))))
        start = 0.5 * np.concatenate([w.ravel() for w in weights.values()])
        path = solve_ivp(lambda _, t: -np.asarray(loss(t)), (0, 2), start, "DOP853", rtol=1e-12, atol=1e-12)
    before, after = unpacked(path.y[:, 0]), unpacked(path.y[:, -1])
    for law in conserved_for_any_loss(network):
        assert np.abs(numbers(law, after) - numbers(law, before)).max() < 1e-10
    first = next(iter(shapes))
    assert np.abs(after[first] - before[first]).max() > 1e-2  # something was learned


@pytest.mark.instant
def test_scalar_generators_are_minimal():
    a, b, c, s = lm.scalars("a b c s")
    assert lm.conserved(lm.gradient_flow((s - a * b) ** 2 / 2, on=(a, b))) == (a**2 - b**2,)
    flow = lm.gradient_flow((s - a * b) ** 2 / 2, on=(a, b))
    assert conserved(flow, degree=4) == (a**2 - b**2,)  # its square is not listed again
    assert conserved(lm.gradient_flow((s - a * b * c) ** 2 / 2, on=(a, b, c))) == (a**2 - b**2, a**2 - c**2)
    assert conserved(lm.gradient_flow((s - a - 2 * b) ** 2 / 2, on=(a, b))) == (2 * a - b,)


@pytest.mark.short
@pytest.mark.parametrize("seed", range(3))
def test_a_planted_polynomial_invariant_is_found(seed):
    """u' = B grad H with B antisymmetric conserves H, whatever the random cubic H."""
    rng = np.random.default_rng(seed)
    u = lm.scalars("x y z")
    monomials = [m for m in sp.itermonomials(u, 3) if m != 1]
    H = sum(int(c) * m for c, m in zip(rng.integers(-3, 4, len(monomials)), monomials, strict=True))
    upper = np.triu(rng.integers(1, 4, (3, 3)), 1)
    B = sp.Matrix(upper - upper.T)
    flow = Flow(u, tuple(B * sp.Matrix([H.diff(v) for v in u])))
    found = conserved(flow, degree=3)
    # B of odd size has a null vector n, so n.u is conserved as well
    assert any(sp.Poly(f, *u).total_degree() == 1 for f in found)
    for invariant in found:
        assert sp.expand(sum(invariant.diff(v) * f for v, f in zip(u, flow.equations, strict=True))) == 0
    linear = [f for f in found if sp.Poly(f, *u).total_degree() == 1]
    cubic = [f for f in found if sp.Poly(f, *u).total_degree() == 3]
    assert len(linear) == 1 and len(cubic) == 1
    # H itself lies in the algebra generated: H minus a multiple of the cubic is a polynomial in the linear one
    reduced = sp.groebner([linear[0], cubic[0]], *u, order="grevlex").reduce(sp.expand(H))[1]
    assert reduced == 0


@pytest.mark.instant
def test_parameters_stay_symbols():
    x, y, k = *lm.scalars("x y"), lm.positive("k")
    assert conserved(Flow((x, y), (y, -(k**2) * x))) == (k**2 * x**2 + y**2,)


@pytest.mark.instant
def test_map_invariants():
    x, y = lm.scalars("x y")
    assert conserved(Map((x, y), (y, x))) == (x + y, x * y)
    a, b, s = lm.scalars("a b s")
    flow = lm.gradient_flow((s - a * b) ** 2 / 2, on=(a, b))
    assert conserved(discretised(flow)) == ()  # gradient descent breaks it ...
    eta = sp.Symbol("eta", positive=True)  # ... by exactly this much
    assert sp.expand(discrete_drift(flow, a**2 - b**2) - eta**2 * (s - a * b) ** 2 * (b**2 - a**2)) == 0


@pytest.mark.instant
def test_wrong_invariants_are_rejected():
    flow = network_flow(deep(2))
    W1, W2 = flow.unknowns
    with pytest.raises(AssumptionViolated, match="not conserved"):
        verify(flow, W2.T * W2 + W1 * W1.T)
    with pytest.raises(AssumptionViolated, match="first order"):
        discrete_drift(flow, W2.T * W2 - 2 * W1 * W1.T)
    with pytest.raises(AssumptionViolated, match="first order"):
        discrete_drift(flow, sp.Trace(W2.T * W2) - 2 * sp.Trace(W1 * W1.T))
    with pytest.raises(AssumptionViolated, match="first order"):
        a, b, s = lm.scalars("a b s")
        discrete_drift(lm.gradient_flow((s - a * b) ** 2, on=(a, b)), a**2 - 2 * b**2)
    assert rate_of_change(flow, sp.Trace(W2.T * W2) - sp.Trace(W1 * W1.T)) == 0


@pytest.mark.instant
def test_declines():
    u, s = lm.positive("u s")
    with pytest.raises(NoClosedForm, match="fixed point"):
        conserved(FixedPoint((u,), (u - s,)))
    scaled = Network(
        (Node("x", "input", width="d"), Node("h", "scale", ("x",), weight="u"), Node("y", "total", ("h",)))
    )
    with pytest.raises(NoClosedForm, match="entry by entry"):
        conserved_for_any_loss(scaled)
    with pytest.raises(NoClosedForm, match="not polynomial"):
        conserved(Flow((u,), (u ** sp.Rational(4, 3) * (s - u),)))


@pytest.mark.instant
def test_laws_depend_on_as_many_parameters_as_there_are():
    """Six weights in a product, each layer with a rate of its own and eight more parameters in the loss: by hand
    u_i' = r_i dL/du_i keeps r_j u_i^2 - r_i u_j^2, five of these. A term of its own for one weight breaks four."""
    weights, rates, more = sp.symbols("u1:7"), sp.symbols("r1:7"), sp.symbols("c1:9")
    product_ = sp.Mul(*weights)
    slope = sum(c * product_**n for n, c in enumerate(more[:3])) / (more[3] + more[4] * more[5])
    flow = Flow(weights, tuple(r * slope * product_ / u for u, r in zip(weights, rates, strict=True)))
    begun = time.perf_counter()
    found = conserved(flow)
    assert time.perf_counter() - begun < 5
    assert set(found) == {rates[j] * weights[0] ** 2 - rates[0] * weights[j] ** 2 for j in range(1, 6)}
    pulled = replace(flow, equations=(flow.equations[0] + more[6] * weights[0], *flow.equations[1:]))
    assert len(conserved(pulled)) == 4


@pytest.mark.instant
def test_a_map_with_parameters_keeps_its_quadratic_form():
    """A turn along an ellipse, x+ = c x - w s y and y+ = s x / w + c y with s^2 + c^2 = 1, keeps x^2 + w^2 y^2."""
    x, y, w, t = sp.symbols("x y w t")
    c, s = (1 - t**2) / (1 + t**2), 2 * t / (1 + t**2)
    assert conserved(Map((x, y), (c * x - w * s * y, s * x / w + c * y))) == (w**2 * y**2 + x**2,)


@pytest.mark.instant
def test_a_symmetric_unknown_is_no_law_for_equalling_its_transpose():
    P, Q, C = (symmetric(name, "n") for name in "PQC")
    assert conserved(Flow((P, Q), (P * C + C * P, Q * C - C * Q * 2))) == ()
    assert [str(law) for law in conserved(Flow((P, Q), (P * C + C * P, P * C + C * P)), degree=1)] == ["-P + Q"]


@pytest.mark.instant
def test_every_head_of_its_own_matrices_has_its_own_laws():
    """Two heads O C K' Q: each keeps K K' - Q Q' and |O|^2 - |Q|^2."""
    O1, O2, K1, K2, Q1, Q2, S = lm.matrices(
        **{f"O{h}": ("o", "D") for h in (1, 2)},
        **{f"{name}{h}": ("r", "D") for name in "KQ" for h in (1, 2)},
        S=("o", "D"),
    )
    C = symmetric("C", "D")
    error = S - O1 * C * K1.T * Q1 - O2 * C * K2.T * Q2
    found = conserved(lm.gradient_flow(sp.Trace(error.T * error) / 2, on=(O1, K1, Q1, O2, K2, Q2)))
    traces = {sp.Trace(Q.T * Q) - sp.Trace(out.T * out) for out, Q in ((O1, Q1), (O2, Q2))}
    assert set(found) == {Q1 * Q1.T - K1 * K1.T, Q2 * Q2.T - K2 * K2.T} | traces
