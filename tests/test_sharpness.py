"""Sharpness against dense eigensolvers, cold and warm, plain and preconditioned; optimizers against their equations."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.flatten_util import ravel_pytree

import learning_mechanics as lm
from learning_mechanics.solvers.precision import double_precision
from learning_mechanics.theory.architecture.network import chain
from learning_mechanics.theory.errors import BadData, DidNotConverge, UnknownName
from learning_mechanics.theory.setup import Optimizer
from learning_mechanics.validate.experiments.forward import forward
from learning_mechanics.validate.experiments.optimizers import build, preconditioner
from learning_mechanics.validate.observables.measure import Context, find
from learning_mechanics.validate.observables.sharpness import largest

pytestmark = pytest.mark.short


def network_loss(seed, widths=(4, 6, 3), rows=20):
    """A small tanh network far from a minimum: its Hessian has eigenvalues of both signs."""
    rng = np.random.default_rng(seed)
    network = chain(*widths, activation="tanh", bias=True)
    run = forward(network)
    x, y = rng.standard_normal((rows, widths[0])), 2 * rng.standard_normal((rows, widths[-1]))
    weights = {name: rng.standard_normal(shape) for name, shape in network.shapes({}).items()}
    return lambda p: 0.5 * ((y - run(p, x)) ** 2).sum() / rows, weights, network


def dense_hessian(loss, weights):
    with double_precision():
        flat, restore = ravel_pytree(jax.tree.map(lambda w: jnp.asarray(w, jnp.float64), weights))
        return np.asarray(jax.hessian(lambda vector: loss(restore(vector)))(flat))


def quadratic(eigenvalues, seed=0):
    rng = np.random.default_rng(seed)
    rotation = np.linalg.qr(rng.standard_normal((len(eigenvalues), len(eigenvalues))))[0]
    hessian = rotation * np.asarray(eigenvalues) @ rotation.T
    hessian = (hessian + hessian.T) / 2
    return (lambda w: 0.5 * w @ jnp.asarray(hessian) @ w), hessian


@pytest.mark.parametrize("seed", range(3))
def test_cold_start_equals_the_dense_eigensolver(seed):
    loss, weights, _ = network_loss(seed)
    hessian = dense_hessian(loss, weights)
    exact = np.linalg.eigvalsh(hessian)[-1]
    value, vector, error = lm.sharpness(loss, weights)
    assert abs(value - exact) <= 1e-6 * abs(exact)
    assert abs(value - exact) <= max(error, 1e-12)
    flat, _ = ravel_pytree(vector)
    assert np.linalg.norm(flat) == pytest.approx(1, rel=1e-12)
    assert np.linalg.norm(hessian @ flat - value * flat) < 1e-2 * abs(exact)
    assert {name: array.shape for name, array in vector.items()} == {name: np.shape(w) for name, w in weights.items()}


@pytest.mark.parametrize(
    "spectrum",
    [
        np.concatenate([[-10.0], np.linspace(-1, 1, 99)]),  # a more negative one, ten times larger
        -np.linspace(1, 50, 60),  # concave: the largest is the smallest in magnitude
        np.concatenate([np.linspace(-5, 0.9, 98), [0.901, 0.9011]]),  # clustered at the top
        [-3.0],
        [0.0, 0.0],
        [1.0, 1.0, 1.0],
        [2.0, -7.0],
    ],
)
def test_it_is_the_largest_not_the_largest_in_magnitude(spectrum):
    loss, hessian = quadratic(spectrum)
    value, _, error = lm.sharpness(loss, np.ones(len(spectrum)))
    assert abs(value - np.max(spectrum)) <= 1e-6 * max(abs(np.max(spectrum)), 1e-9)
    assert np.isfinite(error)


def test_a_network_with_a_more_negative_eigenvalue():
    loss, weights, _ = network_loss(0)
    flipped = lambda p: -loss(p)  # noqa: E731
    spectrum = np.linalg.eigvalsh(dense_hessian(flipped, weights))
    assert spectrum[0] < -2 * spectrum[-1] < 0
    value, _, _ = lm.sharpness(flipped, weights)
    assert value == pytest.approx(spectrum[-1], rel=1e-6)


def test_preconditioned_sharpness_equals_the_generalised_eigenvalue():
    loss, weights, _ = network_loss(1)
    rng = np.random.default_rng(5)
    divisor = jax.tree.map(lambda w: np.exp(rng.standard_normal(np.shape(w))), weights)
    scale = ravel_pytree(divisor)[0] ** -0.5
    exact = np.linalg.eigvalsh(scale[:, None] * dense_hessian(loss, weights) * scale)[-1]
    value, _, _ = lm.sharpness(loss, weights, preconditioner=divisor)
    assert value == pytest.approx(exact, rel=1e-6)


def test_the_error_estimate_bounds_the_error_of_unfinished_runs():
    loss, hessian = quadratic(np.concatenate([np.linspace(-1, 0.95, 200), [1.0]]))
    with double_precision():
        matrix = jnp.asarray(hessian)
        start = jax.random.normal(jax.random.key(3), (201,))
        for steps in (5, 20, 80):
            value, _, error = jax.jit(lambda v, m=steps: largest(lambda u: matrix @ u, v, m))(start)
            assert 0 <= 1.0 - float(value) + 1e-13
            if steps >= 20:  # before that the top pair is not the one that has begun to converge
                assert 1.0 - float(value) <= float(error) + 1e-13


def test_failures_explain_themselves(monkeypatch):
    with pytest.raises(BadData, match="the loss is nan"):
        lm.sharpness(lambda w: jnp.log(w[0]), -np.ones(1))
    monkeypatch.setattr("learning_mechanics.validate.observables.sharpness._MOST_STEPS", 8)
    with pytest.raises(DidNotConverge, match="after 8 steps; raise the tolerance"):
        lm.sharpness(lambda w: 0.5 * (np.linspace(0, 1, 100) * w**2).sum(), np.ones(100), steps=4)
    with pytest.raises(UnknownName, match="did you mean 'adam'"):
        build(Optimizer("adamm"), 0.1)


def tracked(observable, optimizer, steps, learning_rate):
    """Measured and exact values along a short training run, measured at every step."""
    loss, weights, network = network_loss(2)
    measured, exact = [], []
    with double_precision():
        context = Context(forward(network), loss, {}, optimizer, learning_rate, network)
        observer = find(observable)
        parameters = jax.tree.map(lambda w: jnp.asarray(w, jnp.float64), weights)
        rule = build(optimizer, learning_rate)
        state, carry = rule.init(parameters), observer.start(context, parameters)
        measure = jax.jit(lambda *a: observer.measure(context, *a))
        restore = ravel_pytree(parameters)[1]
        flat_loss = lambda vector: loss(restore(vector))  # noqa: E731
        slopes = jax.jit(lambda p: (jax.grad(loss)(p), jax.hessian(flat_loss)(ravel_pytree(p)[0])))
        for step in range(steps):
            carry, value = measure(carry, parameters, state, step)
            assert value.shape == (1,)
            measured.append(float(value[0]))
            gradient, hessian = slopes(parameters)
            scale = np.asarray(ravel_pytree(preconditioner(optimizer, state, gradient))[0]) ** -0.5
            exact.append(np.linalg.eigvalsh(scale[:, None] * np.asarray(hessian) * scale)[-1])
            updates, state = rule.update(gradient, state, parameters)
            parameters = jax.tree.map(jnp.add, parameters, updates)
    return np.array(measured), np.array(exact)


def test_warm_tracking_follows_the_dense_eigenvalue():
    measured, exact = tracked("sharpness", Optimizer("gradient_descent"), steps=40, learning_rate=0.1)
    assert np.ptp(exact) > 0.1 * exact.max()  # there is something to follow
    assert np.abs(measured / exact - 1).max() < 1e-4


def test_preconditioned_tracking_follows_the_dense_eigenvalue():
    optimizer = Optimizer("adam", momentum=0.9, second_moment=0.99)
    measured, exact = tracked("preconditioned_sharpness", optimizer, steps=40, learning_rate=1e-3)
    assert np.abs(measured / exact - 1).max() < 1e-3


def test_tracking_finds_a_new_top_eigenvector_in_a_decoupled_block():
    """Two blocks that never mix: the tracked one decays, the other grows past it. A warm start alone would miss it."""
    observer = find("sharpness")

    def context(step):
        curvatures = jnp.concatenate([jnp.stack([1.0, 0.3, 0.5 + 0.02 * step, 0.1]), -jnp.ones(4)])
        return Context(None, lambda w: 0.5 * (curvatures * w**2).sum(), {}, Optimizer(), 0.1, None)

    with double_precision():
        parameters, values = jnp.ones(8), []
        carry = observer.start(context(0), parameters)
        measure = jax.jit(lambda carry, step: observer.measure(context(step), carry, parameters, (), step))
        for step in range(60):
            carry, value = measure(carry, step)
            values.append(float(value[0]))
    exact = np.maximum(1.0, 0.5 + 0.02 * np.arange(60))
    error = np.abs(np.array(values) / exact - 1)
    assert error.max() < 1e-3


def test_the_limit_of_warm_tracking_is_known_and_the_converged_observable_has_none():
    """From saddle to saddle aligned weights hide the next sharpest direction; the end is right again."""
    from learning_mechanics.theory.models.linear_networks.linear_curvature import LinearCurvature
    from learning_mechanics.validate.experiments.train import train
    from learning_mechanics.validate.judging.check import draw

    instance = draw(LinearCurvature().claim("sharpness"), None, 7)[0][0]
    found = train(instance, ["sharpness", "converged_sharpness"])
    gap = found["sharpness"] / found["converged_sharpness"] - 1
    assert gap.max() < 1e-8  # a Ritz value is never above the eigenvalue
    assert gap.min() < -0.05 and np.median(np.abs(gap)) < 1e-6 and abs(gap[-1]) < 1e-8


# --- optimizers ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["gradient_descent", "heavy_ball", "nesterov", "rmsprop", "adam"])
def test_optax_does_what_the_symbolic_update_says(name):
    """Twenty steps on one quadratic mode: optax against the equations of `theory.dynamics.update_rules`."""
    import sympy as sp

    from learning_mechanics.theory.dynamics import update_rules as rules

    eta, beta, memory, h = 0.05, 0.8, 0.9, 1.7
    full = {
        "gradient_descent": rules.gradient_descent(),
        "heavy_ball": rules.heavy_ball(),
        "nesterov": rules.nesterov(),
        "rmsprop": rules.adam_update(momentum=0),
        "adam": rules.adam_update(),
    }[name]
    numbers = {"eta": eta, "beta": beta, "beta_2": memory, "h": h, "epsilon": 1e-3, "nu_0": 0.0}
    step = sp.lambdify(full.unknowns, [e.subs({s: numbers[str(s)] for s in full.parameters}) for e in full.equations])
    state = [{"w": 1.0, "p": 1.0, "q": 1.0}.get(str(unknown), 0.0) for unknown in full.unknowns]
    with double_precision():
        rule = build(Optimizer(name, momentum=beta, second_moment=memory, epsilon=1e-3), eta)
        weight = jnp.asarray(1.0)
        optimizer_state = rule.init(weight)
        for _ in range(20):
            updates, optimizer_state = rule.update(h * weight, optimizer_state, weight)
            weight = weight + updates
            state = step(*state)
            assert float(weight) == pytest.approx(float(state[0]), rel=1e-12)


@pytest.mark.parametrize("name", ["rmsprop", "adam"])
def test_the_preconditioner_is_the_one_that_divides_the_step(name):
    optimizer = Optimizer(name, momentum=0.0, second_moment=0.95, epsilon=1e-3)
    rng = np.random.default_rng(0)
    with double_precision():
        rule = build(optimizer, 0.1)
        parameters = {"a": jnp.ones(3), "b": jnp.ones((2, 2))}
        state = rule.init(parameters)
        for _ in range(5):
            gradient = jax.tree.map(lambda leaf: jnp.asarray(rng.standard_normal(leaf.shape)), parameters)
            divisor = preconditioner(optimizer, state, gradient)
            updates, state = rule.update(gradient, state, parameters)
            for update, slope, scale in zip(*map(jax.tree.leaves, (updates, gradient, divisor)), strict=True):
                assert np.allclose(update, -0.1 * slope / scale, rtol=1e-12)
        ones = preconditioner(Optimizer("heavy_ball"), (), gradient)
        assert all(bool((leaf == 1).all()) for leaf in jax.tree.leaves(ones))
