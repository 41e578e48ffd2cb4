"""What is watched while products of weights learn: the linear map they make, and when their loss passes given levels.

A level is floor + share x (first - floor), the floor being the loss of the best linear map of the training inputs.
"""

import numpy as np

from ...theory.dynamics.products.alternating_flow import LEVELS
from .measure import observable, stateful


@observable("linear_coefficients")
def linear_coefficients(context, parameters):
    """The coefficients of a network that is linear in its inputs: its outputs on the unit vectors, flattened."""
    import jax.numpy as jnp

    x = context.arrays["x"]
    return context.forward(parameters, jnp.eye(x.shape[1], dtype=x.dtype)).reshape(-1)


def _floor(instance) -> dict:
    """Loss 1/2 mean |y - W x|^2 of the best linear map W."""
    x, y = instance["x"], instance["y"]
    missed = y - x @ np.linalg.lstsq(x, y, rcond=None)[0]
    return {"loss_floor": np.asarray((missed**2).sum() / 2 / len(x))}


def _start(context, parameters):
    """First loss, the loss and step of the last record, and the times of passage (-1: not yet)."""
    import jax.numpy as jnp

    first = context.loss(parameters)
    return first, first, jnp.zeros_like(first), jnp.full(len(LEVELS), -1.0, first.dtype)


def _passage(context, carry, parameters, optimizer_state, step):
    """Times (rate x step) at which the loss first passed each level, on a straight line between records.

    A level that has not been passed yet counts the time so far.
    """
    import jax.numpy as jnp

    first, previous, before, passed = carry
    now = context.loss(parameters)
    floor = context.arrays["loss_floor"]
    levels = floor + jnp.asarray(LEVELS, now.dtype) * (first - floor)
    share = (previous - levels) / jnp.where(previous > now, previous - now, 1.0)
    time = context.learning_rate * (before + share * (step - before))
    passed = jnp.where((passed < 0) & (now <= levels), time, passed)
    step = step * jnp.ones_like(before)
    return (first, now, step, passed), jnp.where(passed < 0, context.learning_rate * step, passed)


stateful("passage_times", _start, _passage, _floor)
