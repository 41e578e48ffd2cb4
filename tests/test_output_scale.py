"""Output scale: training against hand-written descent, symmetries, second derivatives against jax, and exact laws."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import sympy as sp
from jax.flatten_util import ravel_pytree
from scipy.integrate import solve_ivp

from learning_mechanics.solvers.precision import x64
from learning_mechanics.solvers.recursion import iterate
from learning_mechanics.theory.architecture.constructors import activation, dense, residual, serial
from learning_mechanics.theory.architecture.network import chain
from learning_mechanics.theory.closed_forms.closed_form import closed_form
from learning_mechanics.theory.dataset import Dataset
from learning_mechanics.theory.errors import BadData
from learning_mechanics.theory.lazy_limit.output_scale import (
    ALPHA,
    IMBALANCE,
    critical_scale,
    effective_start,
    final_movement,
    groups,
    leading_movement,
    linearisation_error,
    output_scale,
    rich_flow,
    richness,
    whole_range_flow,
)
from learning_mechanics.theory.lazy_limit.output_scale import TIME as TAU
from learning_mechanics.theory.lazy_limit.tangent_hierarchy import (
    bound,
    curvatures,
    lazy_from,
    second_order_descent,
)
from learning_mechanics.theory.setup import Initialisation, Optimizer, Setup
from learning_mechanics.theory.symbols import positive
from learning_mechanics.validate.experiments.forward import forward
from learning_mechanics.validate.experiments.train import train, train_all

RNG = np.random.default_rng(2024)
DATA = Dataset(RNG.standard_normal((6, 3)), RNG.standard_normal((6, 1)))
S = positive("s")


def setting(scale=1.0, **changes):
    return Setup(
        **{
            "network": chain("input", "width", "output", activation="tanh", parameterization="ntk"),
            "axes": {"width": 10},
            "optimizer": Optimizer(learning_rate=0.2),
            "initialisation": Initialisation("standard_normal"),
            "steps": 20,
            "records": 3,
            "options": {"centred": True},
            "output_scale": scale,
            **changes,
        }
    )


def by_hand(instance, scale, rate, steps, targets):
    """Descent on 1/2 mean |targets - scale h|^2 at the given rate, gradients written out for two tanh layers."""
    w, a, x = instance["W1"].copy(), instance["W2"].copy(), instance["x"]
    d, n = x.shape[1], w.shape[0]
    for _ in range(steps):
        phi = np.tanh(x @ w.T / np.sqrt(d))
        error = scale * (targets - scale * phi @ a.T / np.sqrt(n)) / len(x)
        through = error * (1 - phi**2) * a / np.sqrt(n)
        w, a = w + rate * through.T @ x / np.sqrt(d), a + rate * error.T @ phi / np.sqrt(n)
    return np.tanh(x @ w.T / np.sqrt(d)) @ a.T / np.sqrt(n)


@pytest.mark.short
@pytest.mark.parametrize("scale", [0.3, 1.0, 7.0])
def test_training_behind_an_output_scale_is_that_of_rescaled_targets(scale):
    instance = setting(scale).draw(3, DATA)
    assert instance.learning_rate == pytest.approx(0.2 / scale**2)
    outputs = train(instance, ["outputs"])["outputs"]
    start = by_hand(instance, 1.0, 0.0, 1, DATA.y)
    scaled = by_hand(instance, scale, 0.2 / scale**2, 20, DATA.y + scale * start)
    plain = by_hand(instance, 1.0, 0.2, 20, DATA.y / scale + start)
    assert np.abs(outputs[0]).max() < 1e-15 * scale  # the same sums, compiled twice
    assert np.abs(outputs[-1] - scale * (scaled - start).ravel()).max() < 1e-13 * scale
    assert np.abs(scaled - plain).max() < 1e-13


@pytest.mark.instant
def test_an_output_scale_of_one_changes_nothing_and_others_are_seen():
    plain, scaled = setting(1.0, options={}).draw(0, DATA), setting(2.0, options={}).draw(0, DATA)
    assert "output_scale" not in plain and float(scaled["output_scale"]) == 2.0
    assert plain.fingerprint != scaled.fingerprint
    assert setting().at(output_scale=2.0) == setting(2.0)
    for wrong in (0.0, -1.0, np.inf, np.nan):
        with pytest.raises(BadData, match="output_scale"):
            setting(wrong)
    for wrong in ({"network": None}, {"procedure": "one_pass"}):
        with pytest.raises(BadData, match="train a network"):
            setting(2.0, **wrong)


@pytest.mark.short
def test_settings_that_share_the_groups_train_alike():
    """alpha sigma^L / s and sigma^(2 L - 2) T, on three linear layers: 8 x alpha, sigma / 2, and a time of 16 T."""
    laziness, clock = groups()
    symbols = {str(symbol): symbol for symbol in laziness.free_symbols | clock.free_symbols}
    values = lambda alpha, sigma, T: {  # noqa: E731
        symbols["alpha"]: alpha,
        symbols["sigma"]: sigma,
        symbols["T"]: T,
        symbols["s"]: 1,
        symbols["L"]: 3,
    }
    for group in (laziness, clock):
        assert group.subs(values(0.5, 1.0, 1.0)) == pytest.approx(group.subs(values(4.0, 0.5, 16.0)))
    net = {"network": chain("input", 4, 5, "output"), "initialisation": Initialisation("normal", 1.0), "options": {}}
    one = setting(0.5, **net).draw(1, DATA)
    small = setting(4.0, **{**net, "initialisation": Initialisation("normal", 0.5)}).at(learning_rate=3.2).draw(1, DATA)
    first, second = (train(instance, ["outputs"])["outputs"] for instance in (one, small))
    assert np.abs(first[-1] - first[0]).max() > 0.1
    assert np.abs(first - second).max() < 1e-12
    wrong = setting(4.0, **{**net, "initialisation": Initialisation("normal", 0.5)}).at(learning_rate=1.6).draw(1, DATA)
    assert np.abs(first - train(wrong, ["outputs"])["outputs"]).max() > 1e-2


@pytest.mark.instant
def test_richness_and_output_scale_are_inverses():
    gamma, N = positive("gamma N")
    assert sp.simplify(richness(output_scale(gamma, N), N) - gamma) == 0


NETS = {
    "deep": serial(dense(1.3, 0.2, width=7), activation("tanh"), dense(width=6), activation("erf"), dense(width=1)),
    "residual": serial(
        dense(b_std=0.3, width=5), residual(dense(1.2, width=5), activation("gelu"), scale=0.7), dense(width=1)
    ),
    "standard": serial(dense(width=5, parameterization="standard"), activation("sin"), dense(width=1)),
}


@x64
def _by_jax(network, weights, x):
    flat, restore = ravel_pytree({name: jnp.asarray(weight) for name, weight in weights.items()})
    run = forward(network)
    outputs = lambda v: run(restore(v), x)[:, 0]  # noqa: E731

    @jax.jit
    def contracted(v):
        slopes, bends = jax.jacrev(outputs)(v), jax.hessian(outputs)(v)
        return jnp.einsum("np,mpq,lq->mnl", slopes, bends, slopes), slopes @ slopes.T

    return contracted(flat)


@pytest.mark.short
@pytest.mark.parametrize("name", NETS)
def test_curvatures_against_the_dense_hessian(name):
    rng = np.random.default_rng(5)
    weights = {key: rng.standard_normal(shape) for key, shape in NETS[name].shapes({"input": 3}).items()}
    x = rng.standard_normal((4, 3))
    A, kernel = curvatures(NETS[name], weights, x)
    expected, gram = _by_jax(NETS[name], weights, x)
    assert np.abs(A - expected).max() < 1e-13 * np.abs(expected).max()
    assert np.abs(kernel - gram).max() < 1e-13 * np.abs(gram).max()
    assert np.abs(A - np.swapaxes(expected, 0, 1)).max() > 1e-3  # a transposed tensor would be seen


@pytest.mark.instant
def test_curvatures_refuse_by_name():
    x = np.ones((2, 3))
    draw = lambda net: {k: np.ones(s) for k, s in net.shapes({"input": 3, "output": 1}).items()}  # noqa: E731
    for net, message in (
        (serial(dense(width=4), activation("relu"), dense()), "relu has no second derivative"),
        (serial(dense(width=4), activation("tanh"), dense(width=2)), "2 outputs"),
    ):
        with pytest.raises(BadData, match=message):
            curvatures(net, draw(net), x)


@pytest.mark.short
def test_first_order_in_the_scale_is_the_derivative_of_training():
    """(f(alpha) - f_0) alpha and |Theta - Theta_0| alpha at alpha = 1e4 against the map, for a deep network."""
    network = NETS["deep"]
    setup = setting(1e4, network=network, initialisation=Initialisation("as_stated"), steps=30, records=4)
    instance = setup.draw(2, DATA)
    found = train(instance, ["outputs", "kernel_movement"])
    values = bound(network, instance.weights, instance["x"], instance["y"]) | {"eta": 0.2, "alpha": 1e4}
    path = iterate(second_order_descent(), values, setup.recorded_steps())
    D, c, g = (path[name] for name in "Dcg")
    pairs = np.einsum("tn,tl->tnl", c[..., 0], c[..., 0]).reshape(len(c), -1)
    correction = g[..., 0] + pairs @ values["A"].T / 2
    measured = (found["outputs"] - (instance["y"] - D)[..., 0]) * 1e4
    scale = np.abs(correction).max()
    assert scale > 0.05 and np.abs(measured - correction).max() < 2e-3 * scale
    movement = np.linalg.norm(c[..., 0] @ values["O"].T, axis=1) / values["kernel_norm"]
    assert np.abs(found["kernel_movement"][:, 0] * 1e4 - movement).max() < 2e-3 * movement.max()


@pytest.mark.short
def test_kernels_of_two_layers_move_as_one_over_width_at_a_fixed_scale():
    """Mean over 6 networks of the constant of 1/alpha; a slope of -1/2, for signs that add up, would be seen."""
    widths, moved = (32, 128, 512), []
    for width in widths:
        found = []
        for seed in range(6):
            instance = setting(axes={"width": width}).draw(seed, DATA)
            values = bound(instance.setup.network, instance.weights, instance["x"], instance["y"])
            final = np.linalg.solve(values["K"] * len(DATA), instance["y"])[:, 0]
            found.append(np.linalg.norm(values["O"] @ final) / values["kernel_norm"])
        moved.append(np.mean(found))
    assert np.polyfit(np.log(widths), np.log(moved), 1)[0] == pytest.approx(-1.0, abs=0.2)


@pytest.mark.short
@pytest.mark.parametrize("share", [0.02, 0.002])
def test_the_kernel_of_a_network_moves_by_the_stated_share_at_its_critical_scale(share):
    """Trained to the end; the relative error of the leading order is of the order of the share itself."""
    setup = setting(axes={"width": 40}, steps=4000, records=2).at(learning_rate=2.0)
    instance = setup.draw(6, DATA)
    alpha = lazy_from(setup.network, instance.weights, instance["x"], instance["y"], share)
    found = train(setup.at(output_scale=alpha).draw(6, DATA), ["kernel_movement", "loss"])
    assert found["loss"][-1, 0] < 1e-4 * found["loss"][0, 0]
    assert found["kernel_movement"][-1, 0] == pytest.approx(share, rel=max(10 * share, 0.02))


@pytest.mark.instant
def test_a_wide_gaussian_start_is_an_imbalance_of_two():
    """Width 20000 at a fixed richness, both layers integrated by descent: kernel x sqrt(1 + (gamma_0 s)^2)."""
    gamma, s, width = 1.5, 0.9, 20_000
    a, w = np.random.default_rng(8).standard_normal((2, width))
    alpha = float(output_scale(gamma, width))
    start, before = a @ w / np.sqrt(width), (a @ a + w @ w) / width
    for _ in range(2000):
        error = 0.005 / alpha * (s - alpha * (a @ w / np.sqrt(width) - start)) / np.sqrt(width)
        a, w = a + error * w, w + error * a
    predicted = float(final_movement().subs({ALPHA: 1 / gamma, IMBALANCE: 2, S: s}))
    assert predicted == pytest.approx(np.sqrt(1 + (gamma * s) ** 2) - 1)
    assert (a @ a + w @ w) / width / before - 1 == pytest.approx(predicted, rel=6 / np.sqrt(width))


def integrated(alpha, delta, s, times):
    """Both layers of one mode by DOP853: u1' = alpha u2 (s - alpha u1 u2)."""
    field = lambda _, u: alpha * (s - alpha * u[0] * u[1]) * u[::-1]  # noqa: E731
    path = solve_ivp(field, (0, times[-1]), [0.0, np.sqrt(delta)], "DOP853", t_eval=times, rtol=1e-12, atol=1e-14).y
    return alpha * path[0] * path[1], path[0] ** 2 + path[1] ** 2


@pytest.mark.short
@pytest.mark.parametrize("alpha", [0.05, 1.0, 20.0])
def test_whole_range_against_both_layers(alpha):
    delta, s = 0.8, 0.3
    times = np.linspace(0, 6 / (alpha * np.hypot(alpha * delta, 2 * s)), 30)
    f, kernel = integrated(alpha, delta, s, times)
    exact = closed_form(whole_range_flow()).unknowns_at(times, s=s, delta=delta, alpha=alpha, f=0.0)["f"]
    assert np.abs(np.ravel(exact) - f).max() < 1e-10
    late, settled = integrated(alpha, delta, s, np.array([0.0, 20 * times[-1]]))
    predicted = float(final_movement().subs({S: s, ALPHA: alpha, IMBALANCE: delta}))
    assert settled[1] / settled[0] - 1 == pytest.approx(predicted, rel=1e-9)
    assert np.abs(kernel - np.sqrt(delta**2 + 4 * (f / alpha) ** 2)).max() < 1e-10


@pytest.mark.instant
@pytest.mark.parametrize("share", [0.01, 0.5, 3.0])
def test_the_kernel_moves_by_the_stated_share_at_the_critical_scale(share):
    alpha = float(critical_scale(share).subs({S: 0.7, IMBALANCE: 1.3}))
    _, kernel = integrated(alpha, 1.3, 0.7, np.array([0.0, 40 / alpha**2 / 1.3]))
    assert kernel[1] / kernel[0] - 1 == pytest.approx(share, rel=1e-8)


@pytest.mark.instant
def test_leading_movement_is_the_limit_of_the_movement():
    z = positive("z_0")
    for start, power in ((0, 2), (z, 1)):
        numbers = {S: 0.4, IMBALANCE: 0.9, z: 0.3}
        whole, first = (e.subs(numbers) for e in (final_movement(start), leading_movement(start)))
        assert float((whole / first).subs(ALPHA, 1e5)) == pytest.approx(1.0, abs=1e-4)
        assert sp.simplify(first * ALPHA**power).is_number


@pytest.mark.short
def test_linearisation_error_is_the_leading_order():
    """Against both layers integrated, at two scales: the ratio misses one by (s / (alpha delta))^2."""
    delta, s = 0.8, 0.3
    tau = np.linspace(0.2, 6, 12)
    law = sp.lambdify((TAU, ALPHA, IMBALANCE, S), linearisation_error(), "numpy")
    misses = []
    for alpha in (8.0, 32.0):
        f, _ = integrated(alpha, delta, s, np.concatenate([[0], tau / (alpha**2 * delta)]))
        found = f[1:] - s * (1 - np.exp(-tau))
        predicted = law(tau, alpha, delta, s)
        misses.append(np.abs(found - predicted).max() / np.abs(predicted).max())
    assert misses[0] < 0.02 and misses[1] == pytest.approx(misses[0] / 16, rel=0.2)


@pytest.mark.instant
def test_the_rich_end_is_joined_from_the_effective_start():
    alpha, delta, s = 1e-3, 1.0, 0.4
    times = np.linspace(0, 14 / (2 * alpha * s), 60)
    f, _ = integrated(alpha, delta, s, times)
    first = float(effective_start().subs({ALPHA: alpha, IMBALANCE: delta}))
    logistic = closed_form(rich_flow()).unknowns_at(times, s=s, alpha=alpha, f=first)["f"]
    assert np.abs(np.ravel(logistic) - f).max() < 2 * first


@pytest.mark.short
def test_seeds_as_one_batch_give_the_same_numbers():
    instances = [setting(3.0, steps=4).draw(seed, DATA) for seed in range(3)]
    one, all_at_once = (train_all(instances, ["kernel_movement"], batched=batched) for batched in (False, True))
    assert np.abs(one["kernel_movement"] - all_at_once["kernel_movement"]).max() < 1e-14
