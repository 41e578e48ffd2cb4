"""What two-layer claims look at: times of half rise and the tangent kernel.

The kernel is that of the network as it stands, by differentiation: K(x, x') = sum over weights of df(x) df(x')'.
"""

from ...theory.singular_modes import KERNEL_ROWS, crossed
from .measure import mode_strength, observable, prepare_modes, stateful


@observable("tangent_kernel")
def tangent_kernel(context, parameters):
    """Entries of the neural tangent kernel (P, o, P, o) on the first training inputs, flattened."""
    import jax

    x = context.arrays["x"][:KERNEL_ROWS]
    slopes = jax.tree.leaves(jax.jacobian(context.forward)(parameters, x))
    flat = [slope.reshape(slope.shape[0] * slope.shape[1], -1) for slope in slopes]
    return sum(slope @ slope.T for slope in flat).reshape(-1)


def _start(context, parameters):
    import jax.numpy as jnp

    strengths = mode_strength(context, parameters)
    return jnp.zeros_like(strengths), strengths, jnp.zeros_like(strengths[0])


def _half_rise(context, carry, parameters, optimizer_state, step):
    """Time (learning rate x step) at which each mode first reached half of its target; 0 as long as it has not."""
    import jax.numpy as jnp

    risen, before, last = carry
    strengths, time = mode_strength(context, parameters), context.learning_rate * step
    risen = crossed(risen, before, strengths, last, time, context.arrays["mode_target"] / 2, jnp)
    return (risen, strengths, time), risen


stateful("half_rise", _start, _half_rise, prepare_modes)
