"""Flows integrated: du/dt = F(u), by an adaptive explicit method, and an implicit one where the problem is stiff.

Integration is explicit of order 8 (SciPy's DOP853); where that would take too many steps the problem is stiff and the
implicit Radau takes over. The local error is 1e-11, relative, unless asked otherwise. Compiling an integrator for an
accelerator takes longer than these few thousand evaluations in NumPy do.
"""

from collections.abc import Mapping
from typing import Any

import numpy as np

from ..theory.errors import DidNotConverge
from ..theory.system import Flow
from .compile import compile

_MOST_STEPS = 20_000  # of the explicit method, over all records


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
    rates = compile(flow.equations, (*flow.unknowns, *parameters), backend="numpy")
    constants = tuple(np.asarray(values[str(p)], float) for p in parameters)
    start = [np.asarray(values[str(u)], float) for u in flow.unknowns]
    if not any(hasattr(unknown, "shape") for unknown in flow.unknowns):
        shape = np.broadcast_shapes(*(array.shape for array in (*start, *constants)))
        start = [np.broadcast_to(array, shape) for array in start]
    edges = np.cumsum([0, *(array.size for array in start)])

    def split(flat):
        return [flat[a:b].reshape(u.shape) for a, b, u in zip(edges[:-1], edges[1:], start, strict=True)]

    def field(_, flat):
        found = rates(*split(flat), *constants)
        return np.concatenate([np.broadcast_to(v, u.shape).ravel() for v, u in zip(found, start, strict=True)])

    first = np.concatenate([array.ravel() for array in start])
    with np.errstate(all="ignore"):  # a trial step may overflow; it is then made shorter
        rows = _explicit(field, first, times, tolerance)
        if rows is None:
            rows = _implicit(field, first, times, tolerance)
    columns = [split(row) for row in rows]
    return {str(u): np.stack(series) for u, series in zip(flow.unknowns, zip(*columns, strict=True), strict=True)}


def _explicit(field, state, times, tolerance):
    """States (T, n) by DOP853, or None where it would need too many steps.

    Every recorded time ends a step: interpolation between steps is of lower order than the steps.
    """
    from scipy.integrate import DOP853

    rows, step, taken = [state], None, 0
    for begin, end in zip(times[:-1], times[1:], strict=True):
        length = end - begin
        solver = DOP853(
            field, begin, state, end, rtol=tolerance, atol=tolerance * 1e-3, first_step=step and min(step, length)
        )
        while solver.status == "running":
            solver.step()
            taken += 1
            if taken > _MOST_STEPS:
                return None
        if solver.status == "failed" or not np.isfinite(solver.y).all():
            return None
        state, step = solver.y, solver.h_abs
        rows.append(state)
    return np.array(rows)


def _implicit(field, state, times, tolerance):
    """States (T, n) by Radau."""
    from scipy.integrate import solve_ivp

    solution = solve_ivp(
        field,
        (times[0], times[-1]),
        state,
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
    return solution.y.T
