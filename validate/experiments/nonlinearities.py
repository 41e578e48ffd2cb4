"""Activations as functions of JAX arrays: hand-chosen where JAX has one, else compiled from the formula."""

from functools import lru_cache
from typing import Any

from ...solvers.compile import compile
from ...theory.architecture.activations import activation_name, formula
from ...theory.errors import BadData


@lru_cache(maxsize=256)
def array_function(activation: Any):
    """The activation on JAX arrays; a function given by the user is traced as it is.

    Errors: `BadData` where JAX cannot trace the user's function.

    >>> float(array_function("leaky_relu(0.5)")(-2.0))
    -1.0
    """
    import jax
    import jax.numpy as jnp

    # gradients at kinks and far tails are settled there: relu'(0) = 0, no overflow in sigmoid or softplus
    known = {
        "identity": lambda z: z,
        "relu": jax.nn.relu,
        "tanh": jnp.tanh,
        "erf": jax.scipy.special.erf,
        "square": jnp.square,
        "abs": jnp.abs,
        "sigmoid": jax.nn.sigmoid,
        "silu": jax.nn.silu,
        "softplus": jax.nn.softplus,
        "gelu": lambda z: jax.nn.gelu(z, approximate=False),
    }
    if isinstance(activation, str) and activation in known:
        return known[activation]
    law = formula(activation)
    if law is not None:
        (z,) = law.signature
        function = compile([law.expr], [z], backend="jax")

        def compiled(value):
            value = jnp.asarray(value)
            return jnp.broadcast_to(jnp.asarray(function(value)[0], value.dtype), value.shape)

        return compiled

    def traced(value):
        try:
            return activation(value)
        except jax.errors.JAXTypeError as error:
            raise BadData(
                f"JAX cannot trace it ({type(error).__name__})",
                where=f"activation {activation_name(activation)}",
                remedy="use jax.numpy, or give a SymPy expression",
            ) from None

    return traced
