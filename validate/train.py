"""The one gradient loop: `jax.grad` of the network's loss, an optax optimizer, `lax.scan` over time.

    L(theta) = 1/2 mean_i |y_i - f(x_i; theta)|^2,    theta <- optimizer(theta, grad L)

Observables are evaluated at recorded steps inside the compiled loop. The loop runs in chunks of records so that
progress can be shown and a run interrupted; chunking does not change the numbers.
"""

from collections.abc import Callable, Sequence

import numpy as np

from ..solvers.precision import double_precision
from ..theory.errors import BadData
from ..theory.setup import Instance
from .forward import forward
from .measure import Context, find
from .optimizers import build

_CHUNKS = 10  # progress updates per run


def train(
    instance: Instance,
    names: Sequence[str],
    progress: Callable[[float], None] | None = None,
    device=None,
    dtype: str = "float64",
) -> dict[str, np.ndarray]:
    """Train from the instance's weights and record observables: {name: (T, components)}.

    `setup.options["loss"]` is "mean" (default, 1/2 mean over samples) or "sum" (1/2 sum over samples).
    Errors: `BadData` when training diverged before the last record, with the step.

    >>> from ..theory.dataset import Dataset
    >>> from ..theory.network import chain
    >>> from ..theory.setup import Optimizer, Setup
    >>> setup = Setup(network=chain(1, 1), optimizer=Optimizer(learning_rate=0.5), steps=2, records=3)
    >>> instance = setup.draw(0, Dataset(np.ones((1, 1)), np.zeros(1)))
    >>> losses = train(instance, ["loss"])["loss"][:, 0]
    >>> bool(np.allclose(losses[1:] / losses[:-1], 0.25))
    True
    """
    import jax

    with double_precision(), jax.default_device(device):
        recorded = _train(instance, tuple(names), progress, np.dtype(dtype))
    for name, values in recorded.items():
        bad = ~np.isfinite(values).all(axis=1)
        if bad.any() and not instance.setup.options.get("may_diverge"):
            raise BadData(
                f"{name} is not finite from step {instance.steps[int(np.argmax(bad))]} on",
                where="training",
                remedy=f"lower the learning rate {instance.learning_rate:g}",
            )
    return recorded


def _train(instance, names, progress, dtype):
    import jax
    import jax.numpy as jnp

    setup = instance.setup
    arrays = {
        name: jnp.asarray(array, dtype)
        for name, array in instance.arrays.items()
        if name not in instance.weights and np.asarray(array).dtype.kind == "f"
    }
    run = forward(setup.network)
    scale = 0.5 if setup.options.get("loss") == "sum" else 0.5 / len(arrays["x"])

    def loss(parameters):
        return scale * ((arrays["y"] - run(parameters, arrays["x"])) ** 2).sum()

    context = Context(run, loss, arrays, setup.optimizer, instance.learning_rate, setup.network)
    observables = [find(name) for name in names]
    optimizer = build(setup.optimizer, instance.learning_rate)
    gradient = jax.grad(loss)

    def step(_, state):
        parameters, optimizer_state = state
        updates, optimizer_state = optimizer.update(gradient(parameters), optimizer_state, parameters)
        return jax.tree.map(jnp.add, parameters, updates), optimizer_state

    def record(state, stop_and_count):
        training, carries, done = state
        stop, count = stop_and_count
        training = jax.lax.fori_loop(0, count, step, training)
        measured = [
            observable.measure(context, carry, training[0], training[1], stop)
            for observable, carry in zip(observables, carries, strict=True)
        ]
        return (training, tuple(carry for carry, _ in measured), stop), tuple(value for _, value in measured)

    parameters = {name: jnp.asarray(weight, dtype) for name, weight in instance.weights.items()}
    carries = tuple(observable.start(context, parameters) for observable in observables)
    state = ((parameters, optimizer.init(parameters)), carries, jnp.asarray(0))
    stops = np.asarray(instance.steps)
    counts = np.diff(stops, prepend=0)
    chunk = max(1, -(-len(stops) // _CHUNKS))
    advance = jax.jit(lambda state, window: jax.lax.scan(record, state, window))
    parts = []
    for start in range(0, len(stops), chunk):
        window = (jnp.asarray(stops[start : start + chunk]), jnp.asarray(counts[start : start + chunk]))
        state, values = advance(state, window)
        parts.append(jax.tree.map(np.asarray, values))
        if progress is not None:
            progress(min(1.0, (start + chunk) / len(stops)))
    return {
        name: np.concatenate([np.asarray(part[index], float) for part in parts]) for index, name in enumerate(names)
    }
