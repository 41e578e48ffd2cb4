"""Signals inside a network, layer by layer: variances, correlations and gradients of the features before activations.

    variance_l = mean_i h_li^2,     correlation_l = h_l(x) . h_l(x') / (|h_l(x)| |h_l(x')|),     gradient_l = df / db_l

h_l are the outputs of the dense layers but the last; the gradient by the bias of a layer is that by its features.
"""

from dataclasses import replace

import numpy as np

from ...experiments.forward import forward
from ..measure import observable


def _features(context, parameters):
    """Features (rows, width) after every dense layer but the last."""
    import jax.numpy as jnp

    hidden = [node.name for node in context.network.nodes if node.op == "dense"][:-1]
    every = forward(replace(context.network, outputs=tuple(hidden)))(parameters, context.arrays["x"])
    return jnp.split(every, len(hidden), axis=1)


@observable("layer_variances")
def layer_variances(context, parameters):
    """Mean square of the features of every hidden layer, over neurons and rows: (layers,)."""
    import jax.numpy as jnp

    return jnp.stack([jnp.square(features).mean() for features in _features(context, parameters)])


@observable("layer_correlations")
def layer_correlations(context, parameters):
    """Cosine between the features of every pair of rows, in every hidden layer: (layers x pairs,)."""
    import jax.numpy as jnp

    rows, columns = np.triu_indices(context.arrays["x"].shape[0], 1)
    found = []
    for features in _features(context, parameters):
        unit = features / jnp.linalg.norm(features, axis=1, keepdims=True)
        found.append((unit @ unit.T)[rows, columns])
    return jnp.concatenate(found)


@observable("gradient_growth")
def gradient_growth(context, parameters):
    """Growth of squared gradients per layer on the way back, from the last hidden layer to the first, over all rows.

    Every dense layer needs a bias.
    """
    import jax
    import jax.numpy as jnp

    biases = [node.bias for node in context.network.nodes if node.op == "dense"][:-1]
    ends = {name: parameters[name] for name in (biases[0], biases[-1])}

    def output(biases, row):
        return context.forward({**parameters, **biases}, row[None]).sum()

    by_row = jax.vmap(jax.grad(output), in_axes=(None, 0))(ends, context.arrays["x"])
    first, last = (jnp.square(by_row[name]).sum() for name in (biases[0], biases[-1]))
    return ((first / last) ** (1 / (len(biases) - 1)))[None]


def _gram_eigenvalues(instance):
    kernel = instance.setup.options["kernel"]
    count = int(instance.setup.options["eigenvalues"])
    x = instance["x"]
    return {"gram_eigenvalues": np.linalg.eigvalsh(kernel(x) / len(x))[::-1][:count].copy()}


@observable("gram_eigenvalues", _gram_eigenvalues)
def gram_eigenvalues(context, parameters):
    """The largest eigenvalues of K/n, the matrix of options["kernel"] on the inputs: options["eigenvalues"] of them."""
    return context.arrays["gram_eigenvalues"]
