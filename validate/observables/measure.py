"""Observables of a training run, by name: what the experiment can measure.

An observable sees the network, the data and the parameters (`Context`), never a derived equation. Most are plain
functions of the parameters; those that carry work from one record to the next (a Krylov vector, a reference point)
are stateful. Register one with a decorator and any claim can name it:

>>> @observable("first_weight")
... def first_weight(context, parameters):
...     return parameters["W1"].reshape(-1)[:1]
>>> "first_weight" in OBSERVABLES
True
>>> del OBSERVABLES["first_weight"]
"""

import pkgutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np

from ...theory.architecture.network import Network
from ...theory.errors import BadData, UnknownName
from ...theory.setup import Optimizer
from ...theory.singular_modes import GROUPS, singular_modes, subspace_means


@dataclass(frozen=True, eq=False)
class Context:
    """What an observable may look at: `forward(parameters, x)`, `loss(parameters)` on the full batch, the arrays."""

    forward: Callable
    loss: Callable
    arrays: Mapping[str, Any]
    optimizer: Optimizer
    learning_rate: float
    network: Network


def _nothing(instance) -> dict:
    return {}


@dataclass(frozen=True)
class Observable:
    """`start(context, parameters)` gives the carry; `measure(context, carry, parameters, optimizer_state, step)` gives
    the next carry and the value, a 1-D array of components. `prepare(instance)` may add arrays to `context.arrays`,
    computed once in NumPy from the instance."""

    name: str
    start: Callable
    measure: Callable
    prepare: Callable = _nothing


OBSERVABLES: dict[str, Observable] = {}


def observable(name: str, prepare: Callable = _nothing):
    """Register a function (context, parameters) -> 1-D array."""

    def register(function):
        def measure(context, carry, parameters, optimizer_state, step):
            return carry, function(context, parameters)

        _register(Observable(name, lambda context, parameters: (), measure, prepare))
        return function

    return register


def stateful(name: str, start: Callable, measure: Callable, prepare: Callable = _nothing) -> None:
    """Register an observable that carries something from record to record."""
    _register(Observable(name, start, measure, prepare))


def _register(made: Observable) -> None:
    if made.name in OBSERVABLES:
        raise BadData("the name is taken", where=f"observable {made.name!r}", remedy="choose another one")
    OBSERVABLES[made.name] = made


def find(name: str) -> Observable:
    """The observable of that name; an unknown one raises with the nearest name."""
    if name not in OBSERVABLES:  # the other modules of this folder register more
        for module in pkgutil.walk_packages([str(Path(__file__).parent)], f"{__package__}."):
            import_module(module.name)
    if name not in OBSERVABLES:
        raise UnknownName.among(name, OBSERVABLES, kind="observable")
    return OBSERVABLES[name]


@observable("loss")
def loss(context, parameters):
    """Full-batch training loss 1/2 mean |y - f|^2."""
    return context.loss(parameters)[None]


@observable("outputs")
def outputs(context, parameters):
    """All outputs on the training inputs, flattened."""
    return context.forward(parameters, context.arrays["x"]).reshape(-1)


def end_to_end_map(context, parameters):
    """The linear map W of a linear network, (o, d): its outputs on the identity."""
    import jax.numpy as jnp

    x = context.arrays["x"]
    return context.forward(parameters, jnp.eye(x.shape[1], dtype=x.dtype)).T


def prepare_modes(instance):
    """Singular modes of the input-output correlation of the training data, and the mean over nearly equal ones."""
    left, singular, right = singular_modes(instance["x"], instance["y"])
    means = subspace_means(np.eye(len(singular)), singular, GROUPS)
    return {"mode_left": left, "mode_target": singular, "mode_right": right, "mode_means": means}


@observable("mode_strength", prepare_modes)
def mode_strength(context, parameters):
    """u_k' W v_k for every singular mode (u_k, s_k, v_k) of Sigma_yx = y'x/P."""
    import jax.numpy as jnp

    left, right = context.arrays["mode_left"], context.arrays["mode_right"]
    return jnp.einsum("ok,od,kd->k", left, end_to_end_map(context, parameters), right)


@observable("subspace_strength", prepare_modes)
def subspace_strength(context, parameters):
    """Mean mode strength of each of the eight leading groups of nearly equal singular values."""
    return mode_strength(context, parameters) @ context.arrays["mode_means"]


@observable("balancedness")
def balancedness(context, parameters):
    """Entries of W_{l+1}' W_{l+1} - W_l W_l' for all successive layers W1, W2, ..., flattened."""
    import jax.numpy as jnp

    names = sorted((name for name in parameters if name.startswith("W")), key=lambda name: int(name[1:]))
    layers = [parameters[name] for name in names]
    return jnp.concatenate([(b.T @ b - a @ a.T).reshape(-1) for a, b in zip(layers[:-1], layers[1:], strict=True)])


def _displacement(context, parameters):
    return mode_strength(context, parameters)[0] - context.arrays["mode_target"][0]


def _growth_factor(context, start, parameters, optimizer_state, step):
    """Per-step factor by which the strongest mode's distance from its target has grown since the start."""
    import jax.numpy as jnp

    factor = jnp.abs(_displacement(context, parameters) / start) ** (1 / jnp.maximum(step, 1))
    return start, factor[None]


stateful("growth_factor", _displacement, _growth_factor, prepare_modes)
