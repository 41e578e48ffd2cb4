"""Flows integrated: du/dt = F(u), by an adaptive explicit method, and an implicit one where the problem is stiff.

Integration is explicit (diffrax, Tsit5); where that stops early the problem is stiff and SciPy's implicit Radau takes
over. The local error is 1e-11, relative, unless asked otherwise.
"""

from collections.abc import Mapping
from typing import Any

import numpy as np

from ..theory.errors import DidNotConverge
from ..theory.system import Flow
from .compile import compile
from .precision import x64


def integrate(
    flow: Flow, values: Mapping[str, Any], times: np.ndarray, tolerance: float = 1e-11
) -> dict[str, np.ndarray]:
    """Unknowns of the flow at the given times: {name: (T, *shape)}.

    `values` holds initial unknowns and parameters by name; scalars broadcast against mode arrays.
    Errors: `DidNotConverge` when neither solver reaches the last time.

    >>> from ..theory.symbols import scalars
    >>> a, s = scalars("a s")
    >>> flow = Flow((a,), (s - a,))
    >>> final = integrate(flow, {"a": 0.0, "s": np.array([1.0, 2.0])}, np.array([0.0, 1.0]))["a"][-1]
    >>> float(abs(final - (1 - np.exp(-1)) * np.array([1.0, 2.0])).max()) < 1e-9
    True
    """
    times = np.asarray(times, float)
    parameters = [parameter for parameter in flow.parameters if str(parameter) in values]
    rates = compile(flow.equations, (*flow.unknowns, *parameters))
    constants = tuple(np.asarray(values[str(p)], float) for p in parameters)
    start = tuple(np.asarray(values[str(u)], float) for u in flow.unknowns)
    if not any(hasattr(unknown, "shape") for unknown in flow.unknowns):
        shape = np.broadcast_shapes(*(array.shape for array in (*start, *constants)))
        start = tuple(np.broadcast_to(array, shape).copy() for array in start)
    solution, finished = _explicit(rates, start, constants, times, tolerance)
    if not finished:
        solution = _implicit(flow, parameters, start, constants, times, tolerance)
    return {str(unknown): array for unknown, array in zip(flow.unknowns, solution, strict=True)}


@x64
def _explicit(rates, start, constants, times, tolerance):
    import diffrax
    import jax.numpy as jnp

    def field(_, state, fixed):
        return tuple(jnp.broadcast_to(r, u.shape) for r, u in zip(rates(*state, *fixed), state, strict=True))

    solution = diffrax.diffeqsolve(
        diffrax.ODETerm(field),
        diffrax.Tsit5(),
        t0=times[0],
        t1=max(times[-1], times[0] + 1e-300),
        dt0=None,
        y0=tuple(map(jnp.asarray, start)),
        args=tuple(map(jnp.asarray, constants)),
        saveat=diffrax.SaveAt(ts=jnp.asarray(times)),
        # steps end on the recorded times: interpolation between steps is of lower order than the steps
        stepsize_controller=diffrax.ClipStepSizeController(
            diffrax.PIDController(rtol=tolerance, atol=tolerance * 1e-3), step_ts=jnp.asarray(times)
        ),
        max_steps=200_000,
        throw=False,
    )
    finished = bool(solution.result == diffrax.RESULTS.successful)
    return solution.ys, finished and all(bool(jnp.isfinite(y).all()) for y in solution.ys)


def _implicit(flow, parameters, start, constants, times, tolerance):
    from scipy.integrate import solve_ivp

    rates = compile(flow.equations, (*flow.unknowns, *parameters), backend="numpy")
    shapes = [array.shape for array in start]
    edges = np.cumsum([0, *(array.size for array in start)])

    def split(flat):
        return [flat[a:b].reshape(shape) for a, b, shape in zip(edges[:-1], edges[1:], shapes, strict=True)]

    def field(_, flat):
        values = rates(*split(flat), *constants)
        return np.concatenate([np.broadcast_to(v, shape).ravel() for v, shape in zip(values, shapes, strict=True)])

    with np.errstate(all="ignore"):
        solution = solve_ivp(
            field,
            (times[0], times[-1]),
            np.concatenate([array.ravel() for array in start]),
            method="Radau",
            t_eval=times,
            rtol=max(tolerance, 1e-12),
            atol=tolerance * 1e-3,
        )
    if not solution.success or not np.isfinite(solution.y).all():
        raise DidNotConverge(
            f"the flow could not be integrated to t = {times[-1]:g}: {solution.message}",
            remedy="shorten the time or use a closed form",
        )
    columns = [split(column) for column in solution.y.T]
    return [np.stack(series) for series in zip(*columns, strict=True)]
