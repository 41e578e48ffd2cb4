"""What is watched while products of weights learn: the linear map they make, and when their loss passes given levels.

A level is floor + share x (first - floor), the floor being the loss of the best linear map of the training inputs; a
setup names the shares in options["levels"].
"""

import numpy as np

from .measure import observable, stateful


@observable("linear_coefficients")
def linear_coefficients(context, parameters):
    """The coefficients of a network that is linear in its inputs: its outputs on the unit vectors, flattened."""
    import jax.numpy as jnp

    x = context.arrays["x"]
    return context.forward(parameters, jnp.eye(x.shape[1], dtype=x.dtype)).reshape(-1)


def _floor(instance) -> dict:
    """The shares, and the loss 1/2 mean |y - W x|^2 of the best linear map W."""
    x, y = instance["x"], instance["y"]
    missed = y - x @ np.linalg.lstsq(x, y, rcond=None)[0]
    shares = np.asarray(instance.setup.options.get("levels", (0.5,)))
    return {"loss_floor": np.asarray((missed**2).sum() / 2 / len(x)), "loss_shares": shares}


def _start(context, parameters):
    """First loss, the loss and step of the last record, and the times of passage (-1: not yet)."""
    import jax.numpy as jnp

    first = context.loss(parameters)
    return first, first, jnp.zeros_like(first), jnp.full_like(context.arrays["loss_shares"], -1.0)


def _passage(context, carry, parameters, optimizer_state, step):
    """Times (rate x step) at which the loss first passed each level, on a straight line between records.

    A level that has not been passed yet counts the time so far.
    """
    import jax.numpy as jnp

    first, previous, before, passed = carry
    now = context.loss(parameters)
    floor = context.arrays["loss_floor"]
    levels = floor + context.arrays["loss_shares"] * (first - floor)
    share = (previous - levels) / jnp.where(previous > now, previous - now, 1.0)
    time = context.learning_rate * (before + share * (step - before))
    passed = jnp.where((passed < 0) & (now <= levels), time, passed)
    step = step * jnp.ones_like(before)
    return (first, now, step, passed), jnp.where(passed < 0, context.learning_rate * step, passed)


stateful("passage_times", _start, _passage, _floor)
