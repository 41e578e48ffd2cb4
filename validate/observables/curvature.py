"""Curvature without short cuts: whole spectra of small networks, and a sharpness that carries nothing along.

    H = d^2 L / d theta^2,       K = J J' / P,   J = d outputs / d theta    (all outputs on all samples)

Spectra come from automatic differentiation and are diagonalised whole, so a few hundred weights are the limit.
"""

from .measure import observable
from .sharpness import largest

_STEPS = 80  # Lanczos steps from a direction that knows nothing of the last record


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


@observable("converged_sharpness")
def converged_sharpness(context, parameters):
    """Largest Hessian eigenvalue, found afresh at every record: right also where the sharpest direction changes."""
    import jax
    import jax.numpy as jnp

    flat, restore = _flat(parameters)
    _, product = jax.linearize(jax.grad(lambda vector: context.loss(restore(vector))), flat)
    direction = jax.random.normal(jax.random.key(0), flat.shape, flat.dtype)
    return jnp.atleast_1d(largest(product, direction, min(_STEPS, flat.size))[0])


def _flat(parameters):
    from jax.flatten_util import ravel_pytree

    return ravel_pytree(parameters)
