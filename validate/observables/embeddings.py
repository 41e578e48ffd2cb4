"""Observables of word embeddings: how strongly they carry each eigenmode of the targets, and when it was learned.

    strength_k = v_k' W'W v_k,      learned_k = first step at which strength_k reaches half its eigenvalue mu_k

for the `MODES` leading eigenmodes of the symmetric target matrix y (V, V); W is the matrix (dimension, V) of the words.
"""

import numpy as np

from ...theory.singular_modes import MODES, crossed, eigenmodes, rank_correlation
from .measure import observable, stateful


def _targets(instance) -> dict:
    values, vectors = eigenmodes(instance["y"])
    return {"eigenvalues": values, "eigenvectors": np.ascontiguousarray(vectors)}


def _strengths(context, parameters, modes):
    return ((parameters["W"] @ context.arrays["eigenvectors"][:, modes]) ** 2).sum(0)


@observable("embedding_strength", _targets)
def embedding_strength(context, parameters):
    """Strengths of the leading eigenmodes of the targets, and of as many at the other, negative end."""
    import jax.numpy as jnp

    ends = [_strengths(context, parameters, modes) for modes in (slice(0, MODES), slice(-MODES, None))]
    return jnp.concatenate(ends)


def _counts(instance) -> dict:
    return {
        "count_vectors": np.ascontiguousarray(eigenmodes(instance["positive"] - instance["negative"])[1][:, :MODES])
    }


@observable("count_strength", _counts)
def count_strength(context, parameters):
    """Strengths |W v|^2 of the leading eigenmodes of the pairs' weights, positive - negative."""
    return ((parameters["W"] @ context.arrays["count_vectors"]) ** 2).sum(0)


def _start(context, parameters):
    import jax.numpy as jnp

    strengths = _strengths(context, parameters, slice(0, MODES))
    return jnp.zeros((), strengths.dtype), strengths, jnp.zeros_like(strengths)


def _learned(context, carry, parameters, optimizer_state, step):
    import jax.numpy as jnp

    earlier, before, learned = carry
    strengths = _strengths(context, parameters, slice(0, MODES))
    levels = context.arrays["eigenvalues"][:MODES] / 2
    now = jnp.asarray(step, strengths.dtype)
    learned = crossed(learned, before, strengths, earlier, now, levels, jnp)
    return (now, strengths, learned), learned


def _order(context, carry, parameters, optimizer_state, step):
    import jax.numpy as jnp

    carry, learned = _learned(context, carry, parameters, optimizer_state, step)
    # what is not learned yet comes last
    correlation = rank_correlation(jnp.where(learned > 0, learned, jnp.inf), jnp)
    return carry, jnp.asarray(correlation, learned.dtype)[None]


stateful("learned_step", _start, _learned, _targets)
stateful("learned_order", _start, _order, _targets)
