"""Effective ranks of the end-to-end map of a linear network, from its singular values sigma.

participation_ratio = (sum sigma)^2 / sum sigma^2,     entropy_rank = exp(- sum p log p),  p = sigma / sum sigma
"""

from .measure import end_to_end_map, observable


def _singular_values(context, parameters):
    import jax.numpy as jnp

    return jnp.linalg.svd(end_to_end_map(context, parameters), compute_uv=False)


@observable("participation_ratio")
def participation_ratio(context, parameters):
    """(sum sigma)^2 / sum sigma^2 of the end-to-end map: K for K equal singular values."""
    sigma = _singular_values(context, parameters)
    return (sigma.sum() ** 2 / (sigma**2).sum())[None]


@observable("entropy_rank")
def entropy_rank(context, parameters):
    """Exponential of the entropy of the normalised singular values; Roy and Vetterli 2007."""
    import jax.numpy as jnp

    share = _singular_values(context, parameters)
    share = share / share.sum()
    return jnp.exp(-(share * jnp.log(jnp.where(share > 0, share, 1.0))).sum())[None]
