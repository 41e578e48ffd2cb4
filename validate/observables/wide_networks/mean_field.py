"""What mean-field claims look at: how far the features of every hidden layer have moved.

Phi = q q'/N are the kernels of features q (P, N): the inputs of all dense layers but the first.
"""

from dataclasses import replace

from ...experiments.forward import forward
from ..measure import stateful


def _kernels(context, parameters):
    """Feature kernels (layers, P, P) of the hidden layers."""
    import jax.numpy as jnp

    network, x = context.network, context.arrays["x"]
    dense = [node for node in network.nodes if node.op == "dense"]
    features = [forward(replace(network, outputs=node.inputs))(parameters, x) for node in dense[1:]]
    return jnp.stack([q @ q.T / q.shape[1] for q in features])


def _movement(context, start, parameters, optimizer_state, step):
    """|Phi(t) - Phi(0)| / |Phi(0)| of every hidden layer."""
    import jax.numpy as jnp

    change = _kernels(context, parameters) - start
    return start, jnp.linalg.norm(change, axis=(1, 2)) / jnp.linalg.norm(start, axis=(1, 2))


stateful("feature_movement", _kernels, _movement)
