"""Whole spectra of small networks: the dense Hessian of the loss, and the tangent kernel on the training inputs.

    H = d^2 L / d theta^2,       K = J J' / P,   J = d outputs / d theta    (all outputs on all samples)

Both are computed by automatic differentiation and diagonalised whole, so a few hundred weights are the limit.
"""

from .measure import observable


@observable("hessian_spectrum")
def hessian_spectrum(context, parameters):
    """All eigenvalues of the loss Hessian, ascending, one for each weight."""
    import jax
    import jax.numpy as jnp

    flat, restore = _flat(parameters)
    return jnp.linalg.eigvalsh(jax.hessian(lambda vector: context.loss(restore(vector)))(flat))


@observable("kernel_spectrum")
def kernel_spectrum(context, parameters):
    """Eigenvalues of the tangent kernel over the number of samples, ascending, as many as there are weights.

    Those of J' J / P: beyond zeros it has the eigenvalues of K.
    """
    import jax
    import jax.numpy as jnp

    flat, restore = _flat(parameters)
    inputs = context.arrays["x"]
    jacobian = jax.jacfwd(lambda vector: context.forward(restore(vector), inputs).reshape(-1))(flat)
    return jnp.linalg.eigvalsh(jacobian.T @ jacobian / len(inputs))


def _flat(parameters):
    from jax.flatten_util import ravel_pytree

    return ravel_pytree(parameters)
