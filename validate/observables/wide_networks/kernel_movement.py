"""How far the tangent kernel of a network in training is from where it started: |Theta_t - Theta_0| / |Theta_0|.

The kernel is that of the network as it stands, on the first training inputs, by differentiation.
"""

from ....theory.lazy_limit.tangent_hierarchy import MOVEMENT_ROWS
from ..measure import stateful


def tangent_kernel(context, parameters):
    """Theta (P o, P o) on the first training inputs: sum over weights of df df'."""
    import jax

    slopes = jax.tree.leaves(jax.jacobian(context.forward)(parameters, context.arrays["x"][:MOVEMENT_ROWS]))
    flat = [slope.reshape(slope.shape[0] * slope.shape[1], -1) for slope in slopes]
    return sum(slope @ slope.T for slope in flat)


def _movement(context, start, parameters, optimizer_state, step):
    """Relative change of the kernel in the Frobenius norm."""
    import jax.numpy as jnp

    change = jnp.linalg.norm(tangent_kernel(context, parameters) - start)
    return start, (change / jnp.linalg.norm(start))[None]


stateful("kernel_movement", tangent_kernel, _movement)
