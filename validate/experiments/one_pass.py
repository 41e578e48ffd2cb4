"""One-pass SGD as an experiment: fresh samples at every step, `jax.grad` of the sample loss, an optax optimizer.

    l = 1/2 mean over B samples of |y - f(x; theta)|^2,      theta <- optimizer(theta, grad l)

Samples are Gaussian features with the instance's eigenvalues, or rows of its data drawn with replacement. All seeds run
side by side in one compiled loop; a seed's numbers do not depend on which others run. No derived equation enters.
"""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np

from ...solvers.precision import double_precision
from ...theory.errors import BadData, UnknownName
from ...theory.setup import Instance
from .forward import forward
from .optimizers import build

OBSERVABLES = ("excess_risk",)
_CHUNKS = 4  # groups of seeds, so that progress can be shown


class Source(NamedTuple):
    """Where samples come from: `draw(key, batch)` -> x (B, d), y (B, o); the best linear map (o, d) and covariance."""

    draw: Callable[[Any, int], tuple[Any, Any]]
    best: np.ndarray
    covariance: np.ndarray


def one_pass(
    instance: Instance,
    seeds: int | Sequence[int],
    name: str = "excess_risk",
    progress: Callable[[float], None] | None = None,
    device=None,
) -> np.ndarray:
    """Excess risk at recorded steps, one run per seed: (R, T, 1), float64 holding numbers of the run's dtype.

    Excess risk is the population loss above its minimum, 1/2 E |(W - W*) x|^2, with W the linear map of the network.
    Options of the setup: "batch" (samples per step, 1) and "dtype" ("float64").
    Errors: `BadData` for a network that is not linear or a run that diverged; `UnknownName` for another observable.

    >>> from ...theory.dataset import PowerLaw
    >>> from ...theory.architecture.network import chain
    >>> from ...theory.setup import Optimizer, Setup
    >>> setup = Setup(network=chain("input", "output"), data=PowerLaw(dim=5), optimizer=Optimizer(learning_rate=0.2),
    ...               procedure="one_pass", steps=20, records=3)
    >>> one_pass(setup.draw(0), seeds=4).shape
    (4, 3, 1)
    """
    if name not in OBSERVABLES:
        raise UnknownName.among(name, OBSERVABLES, kind="observable", where="one_pass")
    network = instance.setup.network
    if network is None or not network.is_linear:
        raise BadData(
            "excess risk is measured from the network's linear map, and this network is not linear",
            where="one_pass",
            remedy="use a linear network without biases",
        )
    import jax

    chosen = np.asarray(range(seeds) if isinstance(seeds, int) else list(seeds))
    with double_precision(), jax.default_device(device):
        values = _run(instance, forward(network), chosen, progress)
    diverged = ~np.isfinite(values).all(axis=(1, 2))
    if diverged.any():
        raise BadData(
            f"{diverged.sum()} of {len(chosen)} runs diverged, first seed {chosen[np.argmax(diverged)]}",
            where="one_pass",
            remedy=f"lower the learning rate {instance.learning_rate:g}",
        )
    return values


def _run(instance: Instance, run: Callable, seeds: np.ndarray, progress) -> np.ndarray:
    import jax
    import jax.numpy as jnp

    setup = instance.setup
    dtype = np.dtype(setup.options.get("dtype", "float64"))
    batch = int(setup.options.get("batch", 1))
    source = _rows(instance, dtype) if "x" in instance else _gaussian(instance, dtype)
    optimizer = build(setup.optimizer, instance.learning_rate)
    best, covariance = jnp.asarray(source.best, dtype), jnp.asarray(source.covariance, dtype)
    weights = {name: jnp.asarray(array, dtype) for name, array in instance.weights.items()}
    root = jax.random.key(instance.seed)

    def loss(parameters, x, y):
        return ((y - run(parameters, x)) ** 2).sum() / (2 * batch)

    def excess_risk(parameters):
        error = run(parameters, jnp.eye(best.shape[1], dtype=dtype)) - best.T
        weighted = covariance[:, None] * error if covariance.ndim == 1 else covariance @ error
        return (error * weighted).sum() / 2

    def single(seed):
        key = jax.random.fold_in(root, seed)

        def step(index, state):
            parameters, memory = state
            x, y = source.draw(jax.random.fold_in(key, index), batch)
            updates, memory = optimizer.update(jax.grad(loss)(parameters, x, y), memory, parameters)
            return jax.tree.map(jnp.add, parameters, updates), memory

        def record(state, window):
            state = jax.lax.fori_loop(window[0], window[1], step, state)
            return state, excess_risk(state[0])

        return jax.lax.scan(record, (weights, optimizer.init(weights)), windows)[1]

    windows = jnp.stack([jnp.asarray(np.append(0, instance.steps[:-1])), jnp.asarray(instance.steps)], axis=1)
    many = jax.jit(jax.vmap(single))
    size = -(-len(seeds) // _CHUNKS)
    parts = []
    for start in range(0, len(seeds), size):
        group = np.resize(seeds[start : start + size], size)  # one shape, one compilation; the padding is dropped
        parts.append(np.asarray(many(jnp.asarray(group)), float)[: len(seeds) - start])
        if progress is not None:
            progress(min(1.0, (start + size) / len(seeds)))
    return np.concatenate(parts)[:, :, None]


def _gaussian(instance: Instance, dtype) -> Source:
    """x_j = sqrt(lambda_j) g_j, y = x . w* + sqrt(noise) g: fresh at every step."""
    import jax
    import jax.numpy as jnp

    eigenvalues, target = np.asarray(instance["eigenvalues"]), np.asarray(instance["target"])
    spread, map_ = jnp.asarray(np.sqrt(eigenvalues), dtype), jnp.asarray(target, dtype)
    noise = float(instance.facts.get("noise", 0.0))

    def draw(key, batch):
        features, labels = jax.random.split(key)
        x = spread * jax.random.normal(features, (batch, len(eigenvalues)), dtype)
        y = x @ map_
        if noise:
            y = y + np.asarray(np.sqrt(noise), dtype) * jax.random.normal(labels, (batch,), dtype)
        return x, y[:, None]

    return Source(draw, target[None], eigenvalues)


def _rows(instance: Instance, dtype) -> Source:
    """Rows of the data drawn uniformly with replacement; the minimum is that of least squares."""
    import jax
    import jax.numpy as jnp

    x, y = np.asarray(instance["x"], float), np.asarray(instance["y"], float)
    inputs, targets = jnp.asarray(x, dtype), jnp.asarray(y, dtype)

    def draw(key, batch):
        chosen = jax.random.randint(key, (batch,), 0, len(x), dtype=np.int32)
        return inputs[chosen], targets[chosen]

    return Source(draw, np.linalg.lstsq(x, y, rcond=None)[0].T, x.T @ x / len(x))
