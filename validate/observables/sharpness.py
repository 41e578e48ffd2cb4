"""Sharpness: the largest eigenvalue of the loss Hessian, by Lanczos with full reorthogonalisation.

The largest, not the largest in magnitude. Only Hessian-vector products are needed, H v = d/de grad L(theta + e v); the
top eigenpair (lambda, v) of the small tridiagonal T = Q' H Q is that of H to within the residual |H v - lambda v|.
During training each measurement starts from the last eigenvector, and five products are enough (about 1e-4) as long as
that stays the sharpest direction. At single records it may be too low by a tenth or more: where another direction takes
over, as from saddle to saddle, or where many eigenvalues lie close together. "converged_sharpness" carries nothing
along and takes eighty products.

>>> import jax.numpy as jnp
>>> value, vector, error = sharpness(lambda w: (w[0]**2 - 4 * w[1]**2) / 2, jnp.ones(2))
>>> round(float(value), 9), bool(error < 1e-6)
(1.0, True)
"""

from collections.abc import Callable
from typing import Any

from ...solvers.precision import x64
from ...theory.errors import BadData, DidNotConverge
from ..experiments.optimizers import build, preconditioner
from .measure import stateful

_MOST_STEPS = 2000  # of a single eigenvalue
_COLD_STEPS = 30  # before the first measurement of a run
_WARM_STEPS = 5  # every measurement
_UNROLLED = 8  # products up to which the recursion is written out
_FRESH = 1e-3  # share of a random direction in a warm start, so that a new top eigenvector is found


@x64
def sharpness(
    loss: Callable[[Any], Any],
    parameters: Any,
    *,
    preconditioner: Any = None,
    steps: int = 30,
    tolerance: float = 1e-6,
    key: int = 0,
) -> tuple[Any, Any, float]:
    """Largest Hessian eigenvalue of `loss` at `parameters`, its eigenvector, and an estimate of the eigenvalue's error.

        max_v v'Hv / v'Pv,   P = 1, or the diagonal `preconditioner` (positive, shaped like the parameters).

    `parameters` is any pytree; all is computed in float64. The eigenvector has the parameters' structure and unit norm
    (that of P^-1/2 H P^-1/2 when preconditioned). From `steps` Lanczos steps, doubled until the error estimate
    min(r, r^2/gap), r the residual and gap the distance to the next Ritz value, is below `tolerance` (relative).
    Errors: `BadData` when the loss is not finite; `DidNotConverge` after 2000 steps.
    Reference: Lanczos 1950; Parlett 1980, The Symmetric Eigenvalue Problem, section 11.7.

    >>> import jax.numpy as jnp
    >>> loss = lambda p: p["a"] ** 2 + p["b"] ** 4
    >>> value, _, _ = sharpness(loss, {"a": 1.0, "b": 1.0}, preconditioner={"a": 1.0, "b": 6.0})
    >>> round(float(value), 9)
    2.0
    """
    import jax
    import jax.numpy as jnp

    parameters = jax.tree.map(lambda leaf: jnp.asarray(leaf, jnp.float64), parameters)
    value = loss(parameters)
    if not bool(jnp.isfinite(value)):
        raise BadData(f"the loss is {float(value)}", where="sharpness", remedy="start from finite parameters")
    flat, restore = _flatten(parameters)
    scale = jnp.ones_like(flat)
    if preconditioner is not None:
        scale = _flatten(preconditioner)[0].astype(flat.dtype) ** -0.5
    product = _hessian_product(loss, parameters, scale)
    start = jax.random.normal(jax.random.key(key), flat.shape, flat.dtype)
    steps = min(steps, flat.size)
    while True:
        top, vector, error = jax.jit(lambda v, m=steps: largest(product, v, m))(start)
        if error <= tolerance * abs(top) or steps == flat.size:
            return top, restore(vector), float(error)
        if steps >= _MOST_STEPS:
            raise DidNotConverge(
                f"error {float(error):.1e} of {float(top):.6g} after {steps} steps",
                where="sharpness",
                remedy="raise the tolerance",
            )
        steps = min(2 * steps, flat.size, _MOST_STEPS)


def largest(product: Callable, start: Any, steps: int) -> tuple[Any, Any, Any]:
    """Largest eigenvalue of a symmetric `product`, its unit vector and an error estimate, after `steps` Lanczos steps.

    Every new direction is orthogonalised twice against all earlier ones, so no eigenvalue appears twice. If the Krylov
    space is exhausted early, the remaining steps are placed below it and change nothing. Traceable by JAX.
    """
    import jax
    import jax.numpy as jnp

    tiny = jnp.finfo(start.dtype).eps

    def advance(vector, size, orthogonal):
        """One product: Rayleigh quotient, coupling, next vector; -inf and zeros once the space is exhausted."""
        following = product(vector)
        rayleigh = vector @ following
        size = jnp.maximum(size, jnp.linalg.norm(following))
        following = orthogonal(orthogonal(following))
        length = jnp.linalg.norm(following)
        alive = jnp.linalg.norm(vector) > 0.5
        going = alive & (length > 10 * tiny * size)
        following = jnp.where(going, following / jnp.where(going, length, 1), 0)
        return jnp.where(alive, rayleigh, -jnp.inf), jnp.where(going, length, 0), following, size

    def step(index, state):
        basis, diagonal, coupling, vector, size = state
        basis = basis.at[index].set(vector)
        rayleigh, length, following, size = advance(vector, size, lambda v: v - (basis @ v) @ basis)
        return basis, diagonal.at[index].set(rayleigh), coupling.at[index].set(length), following, size

    zeros, first = jnp.zeros(steps, start.dtype), start / jnp.linalg.norm(start)
    if steps <= _UNROLLED:
        # written out, the few vectors need no buffer and the compiler shares the primal pass of the products
        vectors, entries, vector, size = [], [], first, zeros[0]
        for _ in range(steps):
            vectors.append(vector)
            *entry, vector, size = advance(vector, size, lambda v: v - sum((u @ v) * u for u in vectors))
            entries.append(entry)
        basis = jnp.stack(vectors)
        diagonal, coupling = (jnp.stack(column) for column in zip(*entries, strict=True))
    else:
        state = (jnp.zeros((steps, start.size), start.dtype), zeros, zeros, first, zeros[0])
        basis, diagonal, coupling, _, size = jax.lax.fori_loop(0, steps, step, state)
    diagonal = jnp.where(jnp.isfinite(diagonal), diagonal, -2 * size - 1)
    small = jnp.diag(diagonal) + jnp.diag(coupling[:-1], 1) + jnp.diag(coupling[:-1], -1)
    values, vectors = jnp.linalg.eigh(small)
    top, weights = values[-1], vectors[:, -1]
    residual = coupling[-1] * jnp.abs(weights[-1])
    gap = values[-1] - values[-2] if steps > 1 else zeros[0]
    refined = jnp.where(gap > residual, residual**2 / jnp.where(gap > residual, gap, 1), residual)
    error = jnp.minimum(residual, refined) + tiny * size
    vector = weights @ basis
    return top, vector / jnp.linalg.norm(vector), error


def _flatten(tree):
    from jax.flatten_util import ravel_pytree

    return ravel_pytree(tree)


def _hessian_product(loss, parameters, scale):
    """v -> scale H (scale v) on flat vectors; the gradient's primal pass is shared by all products."""
    import jax

    _, restore = _flatten(parameters)
    _, product = jax.linearize(jax.grad(loss), parameters)
    return lambda vector: scale * _flatten(product(restore(scale * vector)))[0]


def _direction(like):
    """A fixed random unit vector."""
    import jax
    import jax.numpy as jnp

    direction = jax.random.normal(jax.random.key(0), like.shape, like.dtype)
    return direction / jnp.linalg.norm(direction)


def _first(loss, parameters, scale):
    """Carry of a run: the top eigenvector at its start, and the random direction it was found from."""
    direction = _direction(_flatten(parameters)[0])
    product = _hessian_product(loss, parameters, scale)
    return largest(product, direction, min(_COLD_STEPS, direction.size))[1], direction


def _next(loss, carry, parameters, scale):
    """The eigenvalue from the last eigenvector, and the new one."""
    vector, direction = carry
    product = _hessian_product(loss, parameters, scale)
    top, vector, _ = largest(product, vector + _FRESH * direction, min(_WARM_STEPS, vector.size))
    return (vector, direction), top[None]


def _start_plain(context, parameters):
    return _first(context.loss, parameters, 1.0)


def _measure_plain(context, carry, parameters, optimizer_state, step):
    return _next(context.loss, carry, parameters, 1.0)


def _scale(context, parameters, optimizer_state):
    """P^-1/2, P the preconditioner that divides the coming step."""
    import jax

    gradient = jax.grad(context.loss)(parameters)
    return _flatten(preconditioner(context.optimizer, optimizer_state, gradient))[0] ** -0.5


def _start_preconditioned(context, parameters):
    fresh = build(context.optimizer, context.learning_rate).init(parameters)
    return _first(context.loss, parameters, _scale(context, parameters, fresh))


def _measure_preconditioned(context, carry, parameters, optimizer_state, step):
    return _next(context.loss, carry, parameters, _scale(context, parameters, optimizer_state))


stateful("sharpness", _start_plain, _measure_plain)
stateful("preconditioned_sharpness", _start_preconditioned, _measure_preconditioned)
