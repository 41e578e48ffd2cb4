"""What gradient descent does over several steps: orbits of period two, how fast they are approached, what they amplify.

Further steps are taken from the recorded parameters with the plain rule theta <- theta - eta grad L, on the side.
"""

from .measure import mode_strength, observable, prepare_modes, stateful


@observable("two_step_strength", prepare_modes)
def two_step_strength(context, parameters):
    """Mode strengths now and one step later: the lower ones of all modes, then the higher ones."""
    import jax.numpy as jnp

    both = jnp.stack(_strengths(context, parameters, 1))
    return jnp.concatenate([both.min(0), both.max(0)])


@observable("strongest_two_step_strength", prepare_modes)
def strongest_two_step_strength(context, parameters):
    """The strongest mode's strength now and one step later, the lower first."""
    import jax.numpy as jnp

    return jnp.sort(jnp.stack(_strengths(context, parameters, 1))[:, 0])


@observable("two_step_contraction", prepare_modes)
def two_step_contraction(context, parameters):
    """The factor, with its sign, by which two steps scale a change of the strongest mode: (a_4 - a_2) / (a_2 - a_0)."""
    strengths = [strength[0] for strength in _strengths(context, parameters, 4)]
    return ((strengths[4] - strengths[2]) / (strengths[2] - strengths[0]))[None]


def _start_rotation(context, parameters):
    """A direction in weight space, the same for every run, and the rotation it makes at first."""
    import jax

    leaves, structure = jax.tree.flatten(parameters)
    keys = jax.random.split(jax.random.key(0), len(leaves))
    directions = [jax.random.normal(key, leaf.shape, leaf.dtype) for key, leaf in zip(keys, leaves, strict=True)]
    tangent = jax.tree.unflatten(structure, directions)
    return tangent, _rotation(context, parameters, tangent)


def _rotation_growth(context, carry, parameters, optimizer_state, step):
    """Factor per step by which an infinitesimal rotation of the two strongest modes has grown; record every step."""
    import jax
    import jax.numpy as jnp

    tangent, start = carry
    factor = (_rotation(context, parameters, tangent) / start) ** (1 / jnp.maximum(step, 1))
    _, tangent = jax.jvp(lambda weights: _next(context, weights), (parameters,), (tangent,))
    return (tangent, start), factor[None]


def _rotation(context, parameters, tangent):
    """Size of the change of W in the planes u_1 v_2' and u_2 v_1', to first order along the tangent."""
    import jax
    import jax.numpy as jnp

    left, right = context.arrays["mode_left"][:, :2], context.arrays["mode_right"][:2]

    def planes(weights):
        identity = jnp.eye(right.shape[1], dtype=right.dtype)
        turned = left.T @ context.forward(weights, identity).T @ right.T
        return jnp.stack([turned[0, 1], turned[1, 0]])

    return jnp.linalg.norm(jax.jvp(planes, (parameters,), (tangent,))[1])


stateful("rotation_growth", _start_rotation, _rotation_growth, prepare_modes)


def _next(context, parameters):
    """Weights after one step of gradient descent."""
    import jax

    slope = jax.grad(context.loss)(parameters)
    return jax.tree.map(lambda weight, change: weight - context.learning_rate * change, parameters, slope)


def _strengths(context, parameters, steps):
    """Mode strengths at the parameters and after each of `steps` further steps."""
    found = [mode_strength(context, parameters)]
    for _ in range(steps):
        parameters = _next(context, parameters)
        found.append(mode_strength(context, parameters))
    return found
