"""Observables of a linear network as one function: its map, its norm and cosine with the target, its kernel's turn.

The kernel of the end-to-end map W is K = sum over parameters of rate x (dW/dtheta)(dW/dtheta)', taken with `jax.grad`.
"""

from .measure import end_to_end_map, observable, stateful


@observable("linear_map")
def linear_map(context, parameters):
    """Entries of the end-to-end map of a linear network, flattened."""
    return end_to_end_map(context, parameters).reshape(-1)


def _target(instance):
    """The input-output correlation y'x/P of the training data: on white inputs, the best map."""
    return {"correlation": instance["y"].T @ instance["x"] / len(instance["x"])}


@observable("map_norm")
def map_norm(context, parameters):
    """Frobenius norm of the end-to-end map."""
    return (end_to_end_map(context, parameters) ** 2).sum()[None] ** 0.5


@observable("map_cosine", _target)
def map_cosine(context, parameters):
    """Cosine between the end-to-end map and the input-output correlation."""
    found, target = end_to_end_map(context, parameters), context.arrays["correlation"]
    return ((found * target).sum() / ((found**2).sum() * (target**2).sum()) ** 0.5)[None]


def _kernel(context, parameters):
    """K (o d, o d): how the end-to-end map moves in function space, layer rates included."""
    import jax
    import jax.numpy as jnp

    rates = dict(context.optimizer.rates)
    slopes = jax.jacobian(lambda weights: end_to_end_map(context, weights).reshape(-1))(parameters)
    flat = {name: slope.reshape(slope.shape[0], -1) for name, slope in slopes.items()}
    return jnp.asarray(sum(rates.get(name, 1.0) * slope @ slope.T for name, slope in flat.items()))


def _turned(context, start, parameters, optimizer_state, step):
    """1 - <K0, K>/(|K0| |K|): 0 while the kernel keeps its direction."""
    import jax.numpy as jnp

    now = _kernel(context, parameters)
    overlap = (start * now).sum() / jnp.sqrt((start**2).sum() * (now**2).sum())
    return start, (1 - overlap)[None]


stateful("kernel_distance", _kernel, _turned)
