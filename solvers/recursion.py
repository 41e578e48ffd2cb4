"""Maps iterated: u <- F(u), recorded at given steps; linear maps of modes are raised to any power at once.

For a linear map u <- A u + b whose matrix is similar to a symmetric one by a diagonal scaling (as diagonal plus rank
one is), one eigendecomposition of 1 - A gives every step:

    u_k = V [(1 - nu)^k (V^-1 u_0) + (1 - (1 - nu)^k) / nu (V^-1 b)].
"""

from collections.abc import Mapping
from functools import lru_cache
from typing import Any

import numpy as np
import sympy as sp

from ..theory.errors import BadData, DidNotConverge, UnknownName
from ..theory.system import Map
from .compile import compile
from .precision import double_precision, x64

LARGEST = 2000  # unknowns beyond which no matrix is built


def iterate(map_: Map, values: Mapping[str, Any], steps: Any) -> dict[str, np.ndarray]:
    """Unknowns of the map after the given numbers of steps: {name: (T, *shape)}, float64.

    `values` holds initial unknowns and parameters by name; unknowns are scalars, mode arrays or matrices. `steps` is
    strictly increasing and starts at 0 or later. Linear maps of modes use `linear_map_power` when that is cheaper.
    Errors: `UnknownName` for a value that is missing, `DidNotConverge` (with the step) when values overflow.

    >>> from ..theory.symbols import scalars
    >>> u, a = scalars("u a")
    >>> iterate(Map((u,), (u + a * u,)), {"u": 1.0, "a": 1.0}, [0, 1, 10])["u"].tolist()
    [1.0, 2.0, 1024.0]
    """
    steps = _checked(steps)
    function, start, constants = _prepared(map_, values)
    size = sum(array.size for array in start)
    # one step costs microseconds, an eigendecomposition about 10 size^3 operations
    if steps[-1] > max(10_000, size**2) and size <= LARGEST and is_linear(map_):
        powered = _power(function, start, constants, steps)
        if powered is not None:
            return _named(map_, powered, steps)
    return _named(map_, _loop(function, start, constants, steps), steps)


def through_layers(map_: Map, values: Mapping[str, Any], steps: Any) -> dict[str, np.ndarray]:
    """A map from layer to layer, where the abscissa is training steps: {name: (T, layers x modes)}, the same at each.

    `values` also holds "layers", how many there are; the first carries the initial values.

    >>> from ..theory.symbols import scalars
    >>> q, w = scalars("q w")
    >>> through_layers(Map((q,), (w * q,)), {"q": 1.0, "w": 2.0, "layers": 4}, [0])["q"]
    array([[1., 2., 4., 8.]])
    """
    found = iterate(map_, values, np.arange(int(values["layers"])))
    return {name: np.repeat(array.reshape(1, -1), len(steps), axis=0) for name, array in found.items()}


def linear_map_power(map_: Map, values: Mapping[str, Any], steps: Any) -> dict[str, np.ndarray]:
    """As `iterate`, for a linear map of scalar and mode unknowns, at a cost that does not depend on the steps.

    Errors: `BadData` when the map is not linear, has more than 2000 unknowns, or has no symmetric form.
    """
    steps = _checked(steps)
    function, start, constants = _prepared(map_, values)
    powered = None
    if is_linear(map_) and sum(array.size for array in start) <= LARGEST:
        powered = _power(function, start, constants, steps)
    if powered is None:
        raise BadData(
            f"the map is not linear and symmetrisable in at most {LARGEST} unknowns",
            where="linear_map_power",
            remedy="use iterate",
        )
    return _named(map_, powered, steps)


@lru_cache(maxsize=64)
def is_linear(map_: Map) -> bool:
    """Whether every equation is affine in the unknowns (scalar and mode unknowns only; matrices count as not).

    >>> from ..theory.symbols import modes, over, scalars
    >>> c, s = modes("c"), scalars("s")
    >>> is_linear(Map((c,), (c + over(s * c) + 1,))), is_linear(Map((c,), (c * over(c),)))
    (True, False)
    """
    if any(hasattr(unknown, "shape") for unknown in map_.unknowns):
        return False
    scale = sp.Symbol("scale of all unknowns", positive=True)  # no Dummy: sums over modes keep those inside
    scaled = {unknown: scale * unknown for unknown in map_.unknowns}
    for equation in map_.equations:
        # sums over modes are linear, so a scale factor comes out of them
        expanded = sp.expand(sp.sympify(equation).xreplace(scaled))
        if not expanded.is_polynomial(scale) or sp.degree(expanded, scale) > 1:
            return False
    return True


def _checked(steps) -> np.ndarray:
    steps = np.atleast_1d(np.asarray(steps))
    if steps.dtype.kind not in "iu" or steps[0] < 0 or np.any(np.diff(steps) <= 0):
        raise BadData("steps are not increasing whole numbers from 0 on", where="recursion", remedy="sort them")
    return steps


def _prepared(map_: Map, values: Mapping[str, Any]):
    """The compiled step, and unknowns and parameters as float64 arrays with shapes that the step preserves."""
    for symbol in (*map_.unknowns, *_parameters(map_)):
        if str(symbol) not in values:
            raise UnknownName.among(str(symbol), values, kind="value", where="recursion")
    function = compile(map_.equations, (*map_.unknowns, *_parameters(map_)))
    constants = tuple(np.asarray(values[str(p)], float) for p in _parameters(map_))
    start = tuple(np.asarray(values[str(u)], float) for u in map_.unknowns)
    shapes = _settled_shapes(function, tuple(u.shape for u in start), tuple(c.shape for c in constants))
    settled = tuple(np.broadcast_to(u, shape).copy() for u, shape in zip(start, shapes, strict=True))
    return function, settled, constants


@lru_cache(maxsize=256)
def _parameters(map_: Map) -> tuple:
    """Parameters of the equations alone: those of observables are not needed to iterate."""
    return Map(map_.unknowns, map_.equations).parameters


@lru_cache(maxsize=256)
def _settled_shapes(function, shapes, constants) -> tuple[tuple[int, ...], ...]:
    """Shapes of the unknowns that the step keeps (a scalar that meets modes becomes modes); cached, because one trace
    takes longer than a short run."""
    import jax

    with double_precision():
        fixed = tuple(jax.ShapeDtypeStruct(shape, float) for shape in constants)
        for _ in range(len(shapes) + 2):
            start = tuple(jax.ShapeDtypeStruct(shape, float) for shape in shapes)
            after = jax.eval_shape(lambda u, parameters: function(*u, *parameters), start, fixed)
            wider = tuple(np.broadcast_shapes(a.shape, shape) for a, shape in zip(after, shapes, strict=True))
            if wider == shapes:
                return shapes
            shapes = wider
    raise BadData("the map changes the shapes of its unknowns", where="recursion", remedy="check the values bound")


@lru_cache(maxsize=64)
def _compiled_loop(function):
    import jax
    import jax.numpy as jnp

    def run(start, constants, counts):
        def one(_, state):
            after = function(*state, *constants)
            return tuple(jnp.broadcast_to(a, u.shape) for a, u in zip(after, state, strict=True))

        def record(state, count):
            state = jax.lax.fori_loop(0, count, one, state)
            return state, state

        return jax.lax.scan(record, start, counts)[1]

    return jax.jit(run)


@x64
def _loop(function, start, constants, steps):
    import jax.numpy as jnp

    counts = jnp.asarray(np.diff(steps, prepend=0))
    return _compiled_loop(function)(tuple(map(jnp.asarray, start)), tuple(map(jnp.asarray, constants)), counts)


@x64
def _linearised(function, start, constants):
    """Change F(u) - u of a linear map at zero, and its Jacobian: exact, without differences of large numbers."""
    import jax
    import jax.numpy as jnp
    from jax.flatten_util import ravel_pytree

    constants = tuple(map(jnp.asarray, constants))
    flat, restore = ravel_pytree(tuple(map(jnp.asarray, start)))

    def change(vector):
        state = restore(vector)
        after = function(*state, *constants)
        return ravel_pytree(tuple(jnp.broadcast_to(a, u.shape) for a, u in zip(after, state, strict=True)))[0] - vector

    return flat, change(jnp.zeros_like(flat)), jax.jacfwd(change)(jnp.zeros_like(flat))


def _power(function, start, constants, steps):
    """(T, *shape) per unknown, or None when no diagonal scaling makes the matrix symmetric."""
    flat, shift, jacobian = _linearised(function, start, constants)
    scale = _symmetrising(jacobian)
    if scale is None:
        return None
    symmetric = jacobian * scale[None, :] / scale[:, None]
    rates, basis = np.linalg.eigh(-(symmetric + symmetric.T) / 2)
    initial, source = basis.T @ (flat / scale), basis.T @ (shift / scale)
    path = np.stack([_to_power(rates, k) * initial + _geometric_sum(rates, k) * source for k in steps])
    path = path @ basis.T * scale
    ends = np.cumsum([0, *(array.size for array in start)])
    return tuple(
        path[:, low:high].reshape(len(steps), *array.shape)
        for low, high, array in zip(ends[:-1], ends[1:], start, strict=True)
    )


def _symmetrising(matrix: np.ndarray) -> np.ndarray | None:
    """Positive d with matrix_ij d_j / d_i symmetric, or None: (d_j / d_i)^2 = matrix_ji / matrix_ij."""
    size, scale = len(matrix), np.zeros(len(matrix))
    off = matrix - np.diag(np.diag(matrix))
    for root in range(size):
        if scale[root]:
            continue
        scale[root], queue = 1.0, [root]
        while queue:
            i = queue.pop()
            with np.errstate(divide="ignore", invalid="ignore"):
                ratio = off[:, i] / off[i]
            new = np.flatnonzero((ratio > 0) & np.isfinite(ratio) & (scale == 0))
            scale[new] = scale[i] * np.sqrt(ratio[new])
            queue.extend(new.tolist())
    symmetric = off * scale[None, :] / scale[:, None]
    largest = np.abs(matrix).max(initial=0.0)
    return scale if np.abs(symmetric - symmetric.T).max(initial=0.0) <= 1e-13 * largest else None


def _to_power(rates, step):
    """(1 - rate)^step, accurate for small rates."""
    with np.errstate(divide="ignore", over="ignore"):
        size = np.exp(step * np.where(rates < 1, np.log1p(-np.minimum(rates, 1)), np.log(np.abs(1 - rates))))
    return np.where((rates > 1) & (step % 2 == 1), -size, size) if step else np.ones_like(rates)


def _geometric_sum(rates, step):
    """sum_{i < step} (1 - rate)^i."""
    safe = np.where(rates == 0, 1.0, rates)
    with np.errstate(divide="ignore", over="ignore"):
        slow = -np.expm1(step * np.log1p(-np.minimum(safe, 0.5))) / safe
    return np.where(rates == 0, float(step), np.where(safe <= 0.5, slow, (1 - _to_power(safe, step)) / safe))


def _named(map_: Map, solution, steps) -> dict[str, np.ndarray]:
    for array in solution:
        bad = ~np.isfinite(array.reshape(len(steps), -1)).all(axis=1)
        if bad.any():
            raise DidNotConverge(
                f"the recursion is not finite at step {steps[int(np.argmax(bad))]}",
                remedy="lower the learning rate: the map is unstable",
            )
    return {str(unknown): np.asarray(array) for unknown, array in zip(map_.unknowns, solution, strict=True)}
