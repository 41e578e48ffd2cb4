"""The one gradient loop: `jax.grad` of the network's loss, an optax optimizer, `lax.scan` over time.

    L(theta) = 1/2 mean_i |y_i - f(x_i; theta)|^2,    theta <- optimizer(theta, grad L)

Other losses are in `losses`; steps that see fresh rows or noisy labels are in `batches`. Observables are evaluated at
recorded steps inside the compiled loop, on the unchanged data. The loop runs in chunks of records so that
progress can be shown and a run interrupted; chunking does not change the numbers.
"""

from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import lru_cache, partial
from typing import Any

import numpy as np

from ...solvers.precision import double_precision
from ...theory.errors import BadData
from ...theory.setup import Instance, Setup
from ..observables.measure import Context, find
from . import losses
from .batches import fresh
from .forward import forward
from .optimizers import build

_CHUNKS = 10  # progress updates per run


def train(instance: Instance, names: Sequence[str], **options) -> dict[str, np.ndarray]:
    """Train one instance and record observables: {name: (T, components)}. Options as for `train_all`.

    >>> from ...theory.dataset import Dataset
    >>> from ...theory.architecture.network import chain
    >>> from ...theory.setup import Optimizer, Setup
    >>> setup = Setup(network=chain(1, 1), optimizer=Optimizer(learning_rate=0.5), steps=2, records=3)
    >>> instance = setup.draw(0, Dataset(np.ones((1, 1)), np.zeros(1)))
    >>> losses = train(instance, ["loss"])["loss"][:, 0]
    >>> bool(np.allclose(losses[1:] / losses[:-1], 0.25))
    True
    """
    return {name: values[0] for name, values in train_all([instance], names, **options).items()}


def train_all(
    instances: Sequence[Instance],
    names: Sequence[str],
    progress: Callable[[float], None] | None = None,
    device: Any = None,
    dtype: str = "float64",
    batched: bool | None = None,
) -> dict[str, np.ndarray]:
    """Train instances of one setting (seeds) and record observables: {name: (R, T, components)}.

    The program is compiled once. On a CPU one network fills the core, so seeds run one after the other; on an
    accelerator they run as one batch, unless `batched` says otherwise.
    Errors: `BadData` when training diverged before the last record, with the step.
    """
    import jax

    with double_precision(), jax.default_device(device):
        if batched is None:
            batched = (device or jax.devices()[0]).platform != "cpu"
        recorded = _train(instances, tuple(names), progress, np.dtype(dtype), batched)
    for name, values in recorded.items():
        bad = ~np.isfinite(values).all(axis=(0, 2))
        if bad.any() and not instances[0].setup.options.get("may_diverge"):
            optimizer = instances[0].setup.optimizer
            unit = "" if optimizer.unit == "1" else f" in the unit {optimizer.unit}"
            raise BadData(
                f"{name} is not finite from step {instances[0].steps[int(np.argmax(bad))]} on",
                where="training",
                remedy=f"lower the learning rate {optimizer.learning_rate:g}{unit}",
            )
    return recorded


def _train(instances, names, progress, dtype, batched):
    import jax
    import jax.numpy as jnp

    stops = np.asarray(instances[0].steps)
    setup, rows = _what_is_compiled(instances[0].setup), tuple(instances[0].facts.get("rows", ("x", "y")))
    begin, advance = _compiled(setup, rows, tuple(find(name) for name in names), batched)
    inputs = [_inputs(instance, names, dtype) for instance in instances]
    if batched:
        inputs = [jax.tree.map(lambda *leaves: jnp.stack(leaves), *inputs)]
    chunk = max(1, -(-len(stops) // _CHUNKS))
    # every chunk has the same length, so that one compilation serves all: the last is filled up with standstill
    padded = np.concatenate([stops, np.full(-len(stops) % chunk, stops[-1])])
    counts = np.diff(padded, prepend=0)
    runs = []
    for index, (parameters, data) in enumerate(inputs):
        state, parts = begin(parameters, data), []
        for first in range(0, len(padded), chunk):
            window = jnp.asarray(padded[first : first + chunk]), jnp.asarray(counts[first : first + chunk])
            state, values = advance(state, window, data)
            parts.append([np.asarray(value, float) for value in values])
            if progress is not None:
                progress((index + min(1.0, (first + chunk) / len(stops))) / len(inputs))
        axis = 1 if batched else 0
        series = [np.concatenate(found, axis=axis) for found in zip(*parts, strict=True)]
        runs.append([np.take(found, np.arange(len(stops)), axis=axis) for found in series])
    return {
        name: runs[0][index] if batched else np.stack([run[index] for run in runs]) for index, name in enumerate(names)
    }


def _what_is_compiled(setup: Setup) -> Setup:
    """The part of a setting that the compiled loop depends on; numbers that are arguments of it are left out."""
    options = {name: setup.options[name] for name in ("batch", "label_noise") if name in setup.options}
    return Setup(
        network=setup.network,
        data=setup.data if setup.procedure == "online" else "",
        optimizer=replace(setup.optimizer, learning_rate=1.0),
        loss=setup.loss,
        procedure=setup.procedure,
        options=options,
    )


@lru_cache(maxsize=32)
def _compiled(setup, rows, observables, batched):
    import jax

    begin, advance = _program(setup, rows, observables)
    if batched:
        begin, advance = jax.vmap(begin), jax.vmap(advance, in_axes=(0, None, 0))
    return jax.jit(begin), jax.jit(advance)


def _inputs(instance, names, dtype):
    """Initial weights and everything else the loop reads, as arrays: what differs between seeds is an argument."""
    import jax.numpy as jnp

    weights = instance.weights
    arrays = {key: value for key, value in instance.arrays.items() if key not in weights}
    for name in names:
        arrays |= find(name).prepare(instance)
    cast: dict[str, Any] = {
        key: jnp.asarray(value, dtype) for key, value in arrays.items() if np.asarray(value).dtype.kind == "f"
    }
    cast["learning_rate"] = jnp.asarray(instance.learning_rate, dtype)
    cast["seed"] = jnp.asarray(instance.seed, jnp.uint32)
    parameters = {key: jnp.asarray(value, dtype) for key, value in weights.items()}
    if instance.setup.options.get("centred"):
        cast["weights_at_start"] = parameters
    return parameters, cast


def _program(setup, rows, observables):
    """The two compiled pieces: begin(parameters, data) -> state; advance(state, (stops, counts), data) -> records."""
    import jax
    import jax.numpy as jnp

    network = setup.network
    run, measured_loss = forward(network), losses.find(setup.loss)
    redraw = fresh(setup, rows)

    def applied(data):
        """The network as a function of parameters and inputs: gates and output scale as the data have them."""
        whole = partial(run, gates={name: data[name] for name in network.gates}) if network.gates else run
        if "weights_at_start" in data:  # outputs count from where they started
            moved = lambda parameters, x: whole(parameters, x) - whole(data["weights_at_start"], x)  # noqa: E731
        else:
            moved = whole
        if "output_scale" not in data:
            return moved
        return lambda parameters, x: data["output_scale"] * moved(parameters, x)

    def loss(parameters, data):
        return measured_loss(applied(data)(parameters, data["x"]), data)

    def context(data):
        whole = partial(loss, data=data)
        return Context(applied(data), whole, data, setup.optimizer, data["learning_rate"], network)

    def begin(parameters, data):
        optimizer = build(setup.optimizer, data["learning_rate"])
        carries = tuple(observable.start(context(data), parameters) for observable in observables)
        return (parameters, optimizer.init(parameters)), carries

    def advance(state, window, data):
        here = context(data)
        optimizer = build(setup.optimizer, data["learning_rate"])
        root = jax.random.key(data["seed"])

        def step(number, training):
            parameters, optimizer_state = training
            seen = redraw(jax.random.fold_in(root, number), data) if redraw else data
            updates, optimizer_state = optimizer.update(jax.grad(loss)(parameters, seen), optimizer_state, parameters)
            return jax.tree.map(jnp.add, parameters, updates), optimizer_state

        def record(state, stop_and_count):
            training, carries = state
            stop, count = stop_and_count
            training = jax.lax.fori_loop(stop - count, stop, step, training)
            measured = [
                observable.measure(here, carry, training[0], training[1], stop)
                for observable, carry in zip(observables, carries, strict=True)
            ]
            return (training, tuple(carry for carry, _ in measured)), tuple(value for _, value in measured)

        return jax.lax.scan(record, state, window)

    return begin, advance
