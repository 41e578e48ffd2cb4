"""Optimizers as recursions, against optax on arrays; label noise against single derivatives and enumerated noise."""

import itertools

import numpy as np
import pytest
import sympy as sp
from test_network_flow import AUTOENCODER, GATED, SIZES, automatic, draw, random_network, run_code

import learning_mechanics as lm
from learning_mechanics.solvers.recursion import iterate
from learning_mechanics.theory.architecture.network import chain
from learning_mechanics.theory.derivation.network_flow import moments, network_flow
from learning_mechanics.theory.derivation.noncommutative import words
from learning_mechanics.theory.derivation.standard_assumptions import Aligned, Balanced, Whitened
from learning_mechanics.theory.errors import AssumptionViolated, BadData, NoClosedForm, UnknownName
from learning_mechanics.theory.optimizers import label_noise
from learning_mechanics.theory.optimizers.optimizer_maps import OPTIMIZERS, with_optimizer
from learning_mechanics.theory.symbols import velocity

RATE, MOMENTUM, DECAY = 0.03, 0.7, 0.2
RULES = list(OPTIMIZERS)
SIZED = {**SIZES, "d": 4, "k": 2}


def optax_rule(name, momentum, decay):
    """The rule written with optax alone; the polar factor by NumPy."""
    import jax
    import optax

    def polar(updates, state, parameters=None):
        def factor(g):
            left, _, right = np.linalg.svd(np.asarray(g), full_matrices=False)
            return left @ right

        return jax.tree.map(factor, updates), state

    rules = {
        "gradient_descent": optax.sgd(RATE),
        "heavy_ball": optax.sgd(RATE, momentum=momentum),
        "nesterov": optax.sgd(RATE, momentum=momentum, nesterov=True),
        "sign_descent": optax.sign_sgd(RATE),
        "muon": optax.chain(
            optax.trace(momentum) if momentum else optax.identity(),
            optax.GradientTransformation(lambda parameters: optax.EmptyState(), polar),
            optax.scale(-RATE),
        ),
    }
    return optax.chain(optax.add_decayed_weights(decay), rules[name]) if decay else rules[name]


@pytest.mark.short
@pytest.mark.parametrize("decay", [0, DECAY])
@pytest.mark.parametrize("name", [*RULES, "muon with momentum"])
def test_three_steps_equal_optax(name, decay):
    import jax
    import optax

    # at full column rank of every gradient, so that polar factors are defined
    network = chain("r", "q", "q", "r")
    name, remembers = name.split(" ")[0], "momentum" in name or name in ("heavy_ball", "nesterov")
    start, x, y, gates = draw(network)
    momentum = MOMENTUM if remembers else None
    map_ = with_optimizer(
        network_flow(network), name, momentum=momentum, weight_decay=sp.Rational(1, 5) if decay else 0
    )
    values = {**start, **moments(network, x, y), "eta": RATE}
    values |= {f"v_{weight}": np.zeros(array.shape) for weight, array in start.items()}
    path = iterate(map_, values, [0, 1, 3])
    with jax.enable_x64(True):
        rule = optax_rule(name, momentum, decay)
        weights = dict(start)
        state = rule.init(weights)
        trained = []
        for _ in range(3):
            _, gradient = automatic(network, weights, x, y, gates)
            updates, state = rule.update(gradient, state, weights)
            weights = {key: np.asarray(value) for key, value in optax.apply_updates(weights, updates).items()}
            trained.append(weights)
    for key in start:
        for found, truth in ((path[key][1], trained[0][key]), (path[key][2], trained[2][key])):
            assert np.abs(found - truth).max() <= 1e-12 * np.abs(truth).max()


@pytest.mark.short
@pytest.mark.parametrize("network", [GATED, random_network(11)], ids=["gated", "random"])
def test_one_nesterov_step_from_any_memory_on_graphs(network):
    import jax
    import optax

    start, x, y, gates = draw(network)
    rng = np.random.default_rng(0)
    memory = {name: rng.standard_normal(value.shape) for name, value in start.items()}
    with jax.enable_x64(True):
        rule = optax_rule("nesterov", MOMENTUM, DECAY)
        _, gradient = automatic(network, start, x, y, gates)
        state = optax.tree_utils.tree_set(rule.init(start), trace=memory)
        updates, _ = rule.update(gradient, state, start)
    map_ = with_optimizer(network_flow(network), "nesterov", weight_decay=sp.Symbol("mu", positive=True))
    values = {**start, **{f"v_{name}": value for name, value in memory.items()}}
    values = {name: value.reshape(len(value), -1) for name, value in values.items()}  # scales are columns
    values |= {**moments(network, x, y, gates), "eta": RATE, "beta": MOMENTUM, "mu": DECAY}
    path = iterate(map_, values, [1])
    for name, weight in start.items():
        truth = weight + np.asarray(updates[name])
        assert np.abs(path[name][0].reshape(truth.shape) - truth).max() <= 1e-12 * np.abs(truth).max()


@pytest.mark.instant
def test_heavy_ball_is_the_two_step_recursion():
    W = sp.Symbol("w", real=True)
    force = sp.Function("F", real=True)(W)
    map_ = with_optimizer(lm.Flow((W,), (force,)), "heavy_ball")
    eta, beta = (next(p for p in map_.parameters if str(p) == name) for name in ("eta", "beta"))
    before = sp.Symbol("w_before", real=True)
    after = map_.equations[0].subs(velocity(W), (before - W) / eta)
    assert sp.expand(after - (W + eta * force + beta * (W - before))) == 0


@pytest.mark.short
@pytest.mark.parametrize("name", [rule for rule in RULES if rule != "sign_descent"])
@pytest.mark.parametrize("depth", [2, 3])
def test_modes_follow_the_matrices(name, depth):
    """Aligned balanced weights trained as matrices keep to the recursion derived for one mode."""
    rng = np.random.default_rng(4)
    rotation = [np.linalg.qr(rng.standard_normal((3, 3)))[0] for _ in range(depth + 1)]
    strength, target = np.array([0.3, 0.5, 0.2]), np.array([1.0, 0.6, 1.7])
    map_ = with_optimizer(network_flow(chain("input", *["width"] * (depth - 1), "output")), name)
    modes = map_.assume(Whitened(), Aligned(), Balanced())
    values = {"Sigma_xx": np.eye(3), "Sigma_yx": rotation[-1] * target @ rotation[0].T, "eta": 0.05, "beta": 0.6}
    for layer in range(depth):
        values[f"W{layer + 1}"] = rotation[layer + 1] * strength @ rotation[layer].T
        values[f"v_W{layer + 1}"] = np.zeros((3, 3))
    full = iterate(map_, values, [0, 3, 9])
    mode = iterate(modes, {"u": strength, "v_u": np.zeros(3), "s": target, "eta": 0.05, "beta": 0.6}, [0, 3, 9])
    assert len(modes.unknowns) == (2 if name in ("heavy_ball", "nesterov") else 1)
    for layer in range(depth):
        seen = np.einsum("ji,tjk,ki->ti", rotation[layer + 1], full[f"W{layer + 1}"], rotation[layer])
        assert np.abs(seen - mode["u"]).max() < 1e-12


@pytest.mark.instant
def test_sign_descent_of_a_scalar_chain():
    w, s = lm.positive("w s")
    map_ = with_optimizer(lm.gradient_flow((s - w**3) ** 2 / 2, on=w, copies=3), "sign_descent")
    eta = map_.parameters[0]
    assert map_.equations[0] == w + eta * sp.sign(s - w**3)


@pytest.mark.instant
def test_refusals_say_what_to_do():
    flow = network_flow(chain(3, 3))
    with pytest.raises(UnknownName, match="unknown optimizer 'mouon'; did you mean 'muon'"):
        with_optimizer(flow, "mouon")
    with pytest.raises(NoClosedForm, match="a Map has no gradient; start from the gradient flow"):
        with_optimizer(with_optimizer(flow, "heavy_ball"), "heavy_ball")
    with pytest.raises(BadData, match="gradient_descent has no momentum; use heavy_ball or nesterov"):
        with_optimizer(flow, "gradient_descent", momentum=0.5)
    with pytest.raises(AssumptionViolated, match="is no product of matrices"):
        with_optimizer(flow, "sign_descent").assume(Aligned())


@pytest.mark.short
@pytest.mark.parametrize("network", [chain("r", "q", "p"), AUTOENCODER], ids=["chain", "autoencoder"])
def test_label_noise_covariance_and_curvature(network):
    """Against the Jacobian of the interpreted graph, and the Hessian at a minimum that fits the data."""
    import jax
    import jax.numpy as jnp
    from jax.flatten_util import ravel_pytree

    from learning_mechanics.validate.experiments.forward import forward

    rng = np.random.default_rng(2)
    weights = {name: rng.standard_normal(shape) for name, shape in network.shapes(SIZED).items()}
    x = rng.standard_normal((7, 4))
    run = forward(network)
    with jax.enable_x64(True):
        weights = {name: jnp.asarray(value) for name, value in weights.items()}
        slopes = jax.jit(jax.jacobian(run))(weights, x)
        y = run(weights, x)
        flat, restore = ravel_pytree(weights)
        loss = lambda w: 0.5 * jnp.mean(jnp.sum((y - run(restore(w), x)) ** 2, axis=1))  # noqa: E731
        trace = float(jnp.trace(jax.jit(jax.hessian(loss))(flat)))
    values = {**moments(network, x, np.zeros_like(y)), **{name: np.asarray(value) for name, value in weights.items()}}
    rules = label_noise.gradient_noise(network)
    system = lm.FixedPoint(tuple(rules), tuple(rules.values()))
    for (name, slope), covariance in zip(slopes.items(), run_code(system, values), strict=True):
        truth = np.einsum("poij,pokj->ik", slope, slope) / len(x)
        assert np.abs(covariance - truth).max() < 1e-12 * np.abs(truth).max(), name
    curvature = lm.FixedPoint((sp.Symbol("h"),), (label_noise.curvature_trace(network),))
    assert run_code(curvature, {**values, "h": 0.0})[0] == pytest.approx(trace, rel=1e-12)


@pytest.mark.instant
def test_variance_under_label_noise_by_enumeration():
    """The recursion of the variance equals the mean over all 2^6 sequences of signs of the noise."""
    map_ = label_noise.mode_variance()
    rate, curvature, deviation, batch = 0.3, 1.7, 0.4, 2.0
    ends = []
    for signs in itertools.product((-1, 1), repeat=6):
        w = 0.0
        for sign in signs:
            w -= rate * (curvature * w - sign * deviation * np.sqrt(curvature / batch))
        ends.append(w**2)
    found = iterate(map_, {"c": 0.0, "eta": rate, "h": curvature, "sigma2": deviation**2, "B": batch}, [6])["c"]
    assert found[0] == pytest.approx(np.mean(ends), rel=1e-13)


@pytest.mark.instant
def test_penalty_against_the_exact_decay_of_the_imbalance():
    """Two scalar layers: one step multiplies a^2 - b^2 by 1 - eta^2 g^2, whatever the noise; g is stationary there."""
    a, b, g, eta, sigma2, batch, h = sp.symbols("a b g eta sigma2 B h", positive=True)
    after = sp.expand((a - eta * g * b) ** 2 - (b - eta * g * a) ** 2)
    assert sp.factor(after / (a**2 - b**2)) == sp.factor(1 - eta**2 * g**2)
    # g = residual - noise; the residual r+ = (1 - eta h) r + eta h n is stationary, n has the variance sigma2 / B
    residual = sp.Symbol("r2", positive=True)
    (stationary,) = sp.solve((1 - eta * h) ** 2 * residual + (eta * h) ** 2 * sigma2 / batch - residual, residual)
    per_step = -(eta**2) * (stationary + sigma2 / batch)
    # the mean flow down the penalty P(h), h = a^2 + b^2: (a^2 - b^2)' = -4 P'(h) (a^2 - b^2), times eta a step
    names = {str(symbol): symbol for symbol in (eta, sigma2, batch, h)}
    potential = label_noise.penalty()
    potential = potential.subs({symbol: names[str(symbol)] for symbol in potential.free_symbols})
    assert sp.simplify(per_step - eta * (-4) * sp.diff(potential, h)) == 0


@pytest.mark.instant
def test_label_noise_on_two_layers_is_weight_decay():
    flow = label_noise.label_noise_flow(chain("input", "width", "output")).assume(Whitened())
    plain = network_flow(chain("input", "width", "output")).assume(Whitened())
    B, eta, sigma2 = (next(p for p in flow.parameters if str(p) == name) for name in ("B", "eta", "sigma2"))
    W1, W2 = flow.unknowns
    rates = {W1: W2.shape[0], W2: W1.shape[1]}
    for unknown, noisy, clean in zip(flow.unknowns, flow.equations, plain.equations, strict=True):
        difference = words(noisy - clean).expanded()
        ((word, value),) = difference.terms.items()
        assert word == ((unknown, False),) and sp.simplify(value + eta * sigma2 * rates[unknown] / (2 * B)) == 0
    square = label_noise.label_noise_flow(chain(5, "width", 5)).assume(Whitened(), Aligned(), Balanced())
    assert str(square.equations[0]) == "u*(s - u**2 - 5*eta*sigma2/(2*B))"


@pytest.mark.instant
def test_one_layer_has_no_implicit_penalty():
    flow = label_noise.label_noise_flow(chain("input", "output"))
    assert flow.equations == network_flow(chain("input", "output")).equations


@pytest.mark.instant
@pytest.mark.parametrize("name", OPTIMIZERS)
def test_trails_survive_being_written(name):
    from learning_mechanics.theory.document.exact_text import read_trail

    trail = with_optimizer(network_flow(AUTOENCODER), name).trail
    assert read_trail(trail.to_dict()) == trail
    assert read_trail(label_noise.label_noise_flow(AUTOENCODER).trail.to_dict()).steps[-1].residual < 1e-12


@pytest.mark.instant
def test_trained_under_label_noise_a_product_rests_below_its_target():
    """Balanced two layers rest at s - 2 P'(h), P beyond leading order in the rate: 4000 chains, seed 0.

    At rest the mean of log(1 + eta r) is zero exactly, so r - log(1 + eta r) / eta has the mean of the residual r and
    little noise. The false-alarm rate is below 1e-4 (four standard errors, half as wide again for correlated steps).
    """
    rate, variance, target = 0.1, 0.02, 1.0
    rng = np.random.default_rng(0)
    u, means = np.full(4000, target**0.5), []
    for step in range(1500):
        residual = target + np.sqrt(variance) * rng.standard_normal(4000) - u**2
        u = u * (1 + rate * residual)
        if step >= 300:
            means.append((residual - np.log1p(rate * residual) / rate).mean())
    potential = label_noise.penalty()
    h = next(symbol for symbol in potential.free_symbols if str(symbol) == "h")
    numbers = {"eta": rate, "sigma2": variance, "B": 1, "h": 2 * target}
    force = sp.diff(potential, h)
    shift = float(2 * force.subs({symbol: numbers[str(symbol)] for symbol in force.free_symbols}))
    error = 1.5 * np.std(means) / np.sqrt(len(means))
    assert abs(np.mean(means) - shift) < 4 * error
    assert abs(np.mean(means) - rate * variance / 2) > 50 * error  # the leading order alone is seen to be off
