"""Kernels of a network as it stands, on the training inputs: entries (i, j), i <= j, row by row.

"tangent_kernel_entries" are means over outputs of sum_theta df(x)/dtheta df(x')/dtheta; "output_covariance" is that of
the outputs over the weights of the last layer alone, w^2 h.h' / n + b^2 for the features h that it sees.
"""

from ..measure import observable


def _entries(matrix):
    import jax.numpy as jnp

    return matrix[jnp.triu_indices(len(matrix))]


@observable("tangent_kernel_entries")
def tangent_kernel(context, parameters):
    """Theta(x_i, x_j), by differentiation with respect to every weight."""
    import jax

    slopes = jax.tree.leaves(jax.jacobian(context.forward)(parameters, context.arrays["x"]))
    samples, outputs = slopes[0].shape[:2]
    total = sum(_gram(slope.reshape(samples, -1)) for slope in slopes)
    return _entries(total) / outputs


@observable("output_covariance")
def output_covariance(context, parameters):
    """K(x_i, x_j) given all layers but the last, which is dense."""
    from ....theory.architecture.network import Network
    from ....theory.errors import BadData
    from ...experiments.forward import forward

    last = context.network.nodes[-1]
    if last.op != "dense" or context.network.inputs[0] == last.inputs[0]:
        raise BadData(f"the last layer is {last.op}", where="output_covariance", remedy="end with a dense layer")
    features = forward(Network(context.network.nodes[:-1], last.inputs))(parameters, context.arrays["x"])
    bias = last.b_std**2 if last.bias else 0.0
    return _entries(last.w_std**2 * _gram(features) / features.shape[1] + bias)


def _gram(rows):
    return rows @ rows.T
