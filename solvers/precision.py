"""Float64 without touching the user's flags: theory is computed in double precision inside a scope.

`x64` wraps a top-level entry point: JAX runs in float64 with the highest matrix-product precision (recent accelerators
otherwise round float32 products to 10 bits), and NumPy arrays come back, so that nothing leaks out of the scope.
"""

import functools
from collections.abc import Callable
from contextlib import contextmanager

import numpy as np


@contextmanager
def double_precision():
    """Scope in which JAX computes in float64 at highest matrix-product precision.

    >>> import jax.numpy as jnp
    >>> with double_precision():
    ...     print(jnp.ones(1).dtype)
    float64
    """
    import jax

    with jax.enable_x64(True), jax.default_matmul_precision("highest"):
        yield


def x64(function: Callable) -> Callable:
    """Run `function` in the scope of `double_precision` and hand back NumPy arrays in the same structure."""

    @functools.wraps(function)
    def run(*args, **kwargs):
        import jax

        with double_precision():
            result = function(*args, **kwargs)
            return jax.tree.map(lambda leaf: np.asarray(leaf) if isinstance(leaf, jax.Array) else leaf, result)

    return run
