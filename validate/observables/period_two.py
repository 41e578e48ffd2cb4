"""What gradient descent does over two and four steps: orbits of period two, and how fast they are approached.

Further steps are taken from the recorded parameters with the plain rule theta <- theta - eta grad L, on the side.
"""

from .measure import _modes, mode_strength, observable


@observable("two_step_strength", _modes)
def two_step_strength(context, parameters):
    """Mode strengths now and one step later: the lower ones of all modes, then the higher ones."""
    import jax.numpy as jnp

    both = jnp.stack(_strengths(context, parameters, 1))
    return jnp.concatenate([both.min(0), both.max(0)])


@observable("strongest_two_step_strength", _modes)
def strongest_two_step_strength(context, parameters):
    """The strongest mode's strength now and one step later, the lower first."""
    import jax.numpy as jnp

    return jnp.sort(jnp.stack(_strengths(context, parameters, 1))[:, 0])


@observable("two_step_contraction", _modes)
def two_step_contraction(context, parameters):
    """The factor, with its sign, by which two steps scale a change of the strongest mode: (a_4 - a_2) / (a_2 - a_0)."""
    strengths = [strength[0] for strength in _strengths(context, parameters, 4)]
    return ((strengths[4] - strengths[2]) / (strengths[2] - strengths[0]))[None]


def _strengths(context, parameters, steps):
    """Mode strengths at the parameters and after each of `steps` further steps."""
    import jax

    found = [mode_strength(context, parameters)]
    for _ in range(steps):
        slope = jax.grad(context.loss)(parameters)
        parameters = jax.tree.map(lambda weight, change: weight - context.learning_rate * change, parameters, slope)
        found.append(mode_strength(context, parameters))
    return found
