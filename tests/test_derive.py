"""Equations of motion against `jax.grad` of the loss itself, on networks and losses that are on no list."""

import functools
import itertools

import numpy as np
import pytest
import sympy as sp

import learning_mechanics as lm
from learning_mechanics.theory.architecture.network import Network, Node, chain
from learning_mechanics.theory.derivation import derive, network_flow, probe
from learning_mechanics.theory.errors import LearningMechanicsError, NoClosedForm, UnknownName

SKIP = Network(
    (
        Node("x", "input", width="d"),
        Node("h", "dense", ("x",), weight="W1", width="h"),
        Node("long", "dense", ("h",), weight="W2", width="o"),
        Node("short", "dense", ("x",), weight="A", width="o"),
        Node("y", "sum", ("long", "short")),
    )
)
# a residual stream with a tied block, then a readout: y = V (W + W W) U x
TIED = Network(
    (
        Node("x", "input", width="d"),
        Node("h0", "dense", ("x",), weight="U", width="h"),
        Node("h1", "dense", ("h0",), weight="W", width="h"),
        Node("h2", "dense", ("h1",), weight="W", width="h"),
        Node("s", "sum", ("h1", "h2")),
        Node("y", "dense", ("s",), weight="V", width="o"),
    )
)
SIZES = {"d": 5, "h": 4, "o": 3, "input": 6, "output": 3, "h1": 5, "h2": 2, "h3": 4, "h4": 3, "h5": 5, "h6": 3}


def deep(depth: int) -> Network:
    return chain("input", *(f"h{layer}" for layer in range(1, depth)), "output")


NETWORKS = {
    **{f"depth {depth}": deep(depth) for depth in (1, 2, 3, 4, 7)},
    "skip": SKIP,
    "tied": TIED,
    "scaled": chain(6, 5, 3, parameterization="ntk"),
}


def instance(network: Network, seed: int = 0):
    """Random weights, non-white inputs and targets, as float64 arrays; rows are samples."""
    rng = np.random.default_rng(seed)
    shapes = network.shapes(SIZES)
    widths = {name: SIZES[w] if isinstance(w, str) else w for name, w in network.widths().items()}
    x = rng.standard_normal((11, widths["x"])) @ rng.standard_normal((widths["x"], widths["x"])) + 0.3
    y = rng.standard_normal((11, widths[network.nodes[-1].name]))
    weights = {name: rng.standard_normal(shape) for name, shape in shapes.items()}
    moments = {"Sigma_xx": x.T @ x / 11, "Sigma_yx": y.T @ x / 11, "target_power": (y**2).sum() / 11}
    return weights, x, y, moments


def numbers(expression, arrays):
    """Evaluate through SymPy's own NumPy printer, not the package's evaluator."""
    traces = {trace: float(np.trace(numbers(trace.arg, arrays))) for trace in expression.atoms(sp.Trace)}
    expression = expression.xreplace(traces)
    names, function = compiled(expression)
    return function(*(arrays[name] for name in names))


@functools.cache
def compiled(expression):
    symbols = sorted(expression.atoms(sp.MatrixSymbol) | {s for s in expression.free_symbols if s.is_Symbol}, key=str)
    sizes = {size for m in expression.atoms(sp.MatrixSymbol) for size in m.shape}
    symbols = [s for s in symbols if s not in sizes]
    return [str(s) for s in symbols], sp.lambdify(symbols, expression, "numpy")


def jax_gradient(network, weights, x, y):
    import jax
    import jax.numpy as jnp

    from learning_mechanics.validate.experiments.forward import forward

    run = forward(network)

    def loss(parameters):
        return 0.5 * jnp.mean(jnp.sum((y - run(parameters, x)) ** 2, axis=1))

    with jax.enable_x64(True):
        value, gradient = jax.jit(jax.value_and_grad(loss))({name: jnp.asarray(w) for name, w in weights.items()})
        return float(value), {name: np.asarray(g) for name, g in gradient.items()}


@pytest.mark.short
@pytest.mark.parametrize("name", NETWORKS)
def test_network_flow_equals_automatic_differentiation(name):
    network = NETWORKS[name]
    weights, x, y, moments = instance(network)
    value, gradient = jax_gradient(network, weights, x, y)
    flow = derive.network_flow(network)
    step = derive.network_map(network)
    arrays = {**weights, **moments, "eta": 0.037}
    assert set(map(str, flow.unknowns)) == set(weights)
    for unknown, rate, after in zip(flow.unknowns, flow.equations, step.equations, strict=True):
        truth = -gradient[str(unknown)]
        assert np.abs(numbers(rate, arrays) - truth).max() <= 1e-12 * np.abs(truth).max()
        moved = weights[str(unknown)] + 0.037 * truth
        assert np.abs(numbers(after, arrays) - moved).max() <= 1e-12 * np.abs(moved).max()
    assert numbers(flow.observables["loss"], arrays) == pytest.approx(value, rel=1e-12)


@pytest.mark.instant
def test_the_error_is_one_factor():
    flow = derive.network_flow(deep(3))
    assert str(flow.equations[1]) == "W3.T*(Sigma_yx - W3*W2*W1*Sigma_xx)*W1.T"
    assert str(flow.observables["end_to_end"]) == "W3*W2*W1"
    assert "complex step" in flow.trail.steps[-1].check
    assert str(derive.network_map(deep(1)).equations[0]) == "eta*(Sigma_yx - W1*Sigma_xx) + W1"
    assert (
        derive.network_flow(SKIP).equations[2].has(sp.MatrixSymbol("A", *derive.network_flow(SKIP).unknowns[2].shape))
    )


@pytest.mark.short
@pytest.mark.parametrize("seed", range(4))
def test_random_polynomial_losses(seed):
    import jax
    import jax.numpy as jnp

    rng = np.random.default_rng(seed)
    powers = list(itertools.product(range(4), repeat=3))
    chosen = [powers[k] for k in rng.choice(len(powers), 9, replace=False) if any(powers[k])]
    coefficients = rng.integers(-9, 10, len(chosen))
    symbols = lm.scalars("x y z")
    loss = sum(
        int(c) * sp.Mul(*(s**n for s, n in zip(symbols, p, strict=True)))
        for c, p in zip(coefficients, chosen, strict=True)
    )
    used = [s for s in symbols if s in loss.free_symbols]
    flow = lm.gradient_flow(loss, on=used)
    exponents, weights = np.array(chosen), coefficients.astype(float)
    point = rng.uniform(0.5, 1.5, 3)
    with jax.enable_x64(True):
        truth = -np.asarray(
            jax.jit(jax.grad(lambda q: jnp.sum(weights * jnp.prod(q**exponents, axis=1))))(jnp.asarray(point))
        )
    found = [float(e.subs(dict(zip(symbols, point, strict=True)))) for e in flow.equations]
    expected = [t for s, t in zip(symbols, truth, strict=True) if s in used]
    assert found == pytest.approx(expected, rel=1e-12, abs=1e-12 * np.abs(truth).max())


@pytest.mark.short
def test_matrix_loss_with_traces_against_automatic_differentiation():
    import jax
    import jax.numpy as jnp

    U, M, mu = *lm.matrices(U=("n", "r"), M=("n", "n")), lm.positive("mu")
    loss = sp.Trace((U * U.T - M).T * (U * U.T - M)) / 4 + mu * sp.Trace(U.T * U * U.T * U)
    flow = lm.gradient_flow(loss, on=(U,))
    rng = np.random.default_rng(2)
    u, m = rng.standard_normal((5, 2)), rng.standard_normal((5, 5))
    with jax.enable_x64(True):

        def value(w):
            return jnp.sum((w @ w.T - m) ** 2) / 4 + 0.7 * jnp.trace(w.T @ w @ w.T @ w)

        truth = -np.asarray(jax.jit(jax.grad(value))(jnp.asarray(u)))
    assert np.abs(numbers(flow.equations[0], {"U": u, "M": m, "mu": 0.7}) - truth).max() < 1e-12 * np.abs(truth).max()


@pytest.mark.instant
def test_front_door_example():
    a, b, s = lm.scalars("a b s")
    flow = lm.gradient_flow((s - a * b) ** 2 / 2, on=(a, b))
    assert flow.equations == (b * (s - a * b), a * (s - a * b))
    step = lm.gradient_descent((s - a * b) ** 2 / 2, on=(a, b))
    eta = sp.Symbol("eta", positive=True)
    assert sp.expand(step.equations[0] - a - eta * b * (s - a * b)) == 0


@pytest.mark.instant
def test_copies_divide_the_velocity():
    w, s, L = lm.positive("w s L")
    (rate,) = lm.gradient_flow((s - w**L) ** 2 / 2, on=w, copies=L).equations
    assert sp.simplify(rate - w ** (L - 1) * (s - w**L)) == 0


@pytest.mark.instant
def test_refusals_name_the_node():
    with pytest.raises(NoClosedForm, match="node 'a1' applies tanh"):
        derive.network_flow(chain(4, 3, 2, activation="tanh"))
    with pytest.raises(NoClosedForm, match="node 'h1' adds the bias b1"):
        derive.network_flow(chain(4, 3, 2, bias=True))
    with pytest.raises(UnknownName, match="logistic"):
        derive.network_flow(deep(2), loss="logistic")
    a, b, c = lm.scalars("a b c")
    with pytest.raises(UnknownName, match="unknown 'c'"):
        lm.gradient_flow((a - b) ** 2, on=(a, c))


@pytest.mark.instant
def test_a_wrong_matrix_derivative_is_not_let_through():
    # SymPy 1.14 differentiates log det W to zero without a word
    W = sp.MatrixSymbol("W", 3, 3)
    assert sp.diff(sp.log(sp.Determinant(W)), W) == sp.ZeroMatrix(3, 3)
    with pytest.raises(LearningMechanicsError, match="differs from the numerical one"):
        lm.gradient_flow(sp.log(sp.Determinant(W)), on=(W,))


@pytest.mark.instant
def test_a_planted_error_in_the_product_rule_is_caught(monkeypatch):
    honest = network_flow._velocity
    monkeypatch.setattr(network_flow, "_velocity", lambda *a: sp.Rational(1001, 1000) * honest(*a))
    with pytest.raises(LearningMechanicsError, match="differs from the numerical one by 1"):
        derive.network_flow(deep(2))


@pytest.mark.instant
def test_numerical_residual_sees_one_part_in_a_million():
    W1, W2 = lm.matrices(W1=("h", "d"), W2=("o", "h"))
    loss = sp.Trace(W2 * W1 * W1.T * W2.T) / 2
    right = W2.T * W2 * W1
    assert probe.gradient_residual(loss, (W1,), (right,)) < 1e-13
    assert probe.gradient_residual(loss, (W1,), ((1 + 1e-6) * right,)) > 1e-7


@pytest.mark.instant
def test_kinked_losses_use_differences():
    w, s = lm.scalars("w s")
    flow = lm.gradient_flow((s - sp.Max(w, 0)) ** 2 / 2, on=w)
    assert float(flow.equations[0].subs({w: 0.7, s: 1.0})) == pytest.approx(0.3)
