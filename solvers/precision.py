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


@contextmanager
def host():
    """Scope in which JAX computes on the CPU, where forecasts are made whatever device trains.

    A forecast, and so its hash, then does not depend on the accelerator, and many small steps cost no kernel launches.

    >>> import jax.numpy as jnp
    >>> with host():
    ...     print({device.platform for device in jnp.ones(1).devices()})
    {'cpu'}
    """
    import jax

    try:
        processor = jax.local_devices(backend="cpu")[0]
    except RuntimeError:  # JAX was told to see accelerators only
        processor = None
    with jax.default_device(processor):
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
