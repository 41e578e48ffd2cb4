"""From a law to numbers: closed form if there is one, otherwise the solver that fits the kind of system.

    Flow: closed form, else an ODE at t = eta k        Map: recursion, recorded at step k
    FixedPoint: closed form, else a root in log space  (vectorised over sample sizes)
    a law that names its own solver: that one

Every prediction says which route it took, what it assumed and by how much each assumption fails on the instance.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from importlib import import_module
from typing import Any

import numpy as np
import sympy as sp

from ..theory.claims import Claim, Law, Scales
from ..theory.closed_forms.closed_form import closed_form
from ..theory.errors import BadData, LearningMechanicsError, NoClosedForm
from ..theory.setup import Instance
from ..theory.system import FixedPoint, Flow, Map, System, require_system
from .compile import compile
from .precision import host
from .prediction import Prediction
from .scaling.local_slope import half_width


@dataclass(frozen=True, eq=False)
class Solution:
    """Values (T, C) of a law's readout over its abscissa (T,), the route that gave them, and the arrays bound."""

    values: np.ndarray
    abscissa: np.ndarray
    method: str
    bound: Mapping[str, Any]


def solve(what: Law | System, on: Instance | Mapping[str, Any], at: Any = None, solver: str = "") -> Any:
    """Numbers of a system at values by name, or of a claim's law on an instance (then a `Solution`).

    A system gives {name: array} of its unknowns and observables. `on` holds parameters, and the start of a Flow's or
    Map's unknowns; `at` are times t (Flow) or steps k (Map), whose axis comes first; `solver` names a special one, as a
    `Law` does: "curvature.orbits:orbit", "implicit_bias:minimiser". Computed on the CPU.
    Errors: `BadData` for a value that is missing, and whatever the solver explains (`DidNotConverge`, `CannotCompile`).

    >>> from ..theory.dynamics.linear_networks import mode_map
    >>> found = solve(mode_map(2), {"u": 1.1, "s": 1.0, "eta": 1.1}, at=[0, 999, 1000])
    >>> found["end_to_end"].round(6)
    array([1.21    , 0.663494, 1.245597])
    """
    with host():
        if isinstance(what, Law) and isinstance(on, Instance):
            return _solved(what, on)
        if isinstance(what, Law) or isinstance(on, Instance):
            raise BadData(
                f"a {type(what).__name__} on a {type(on).__name__}",
                where="solve",
                remedy="give a law and an instance, or a system and values by name",
            )
        try:
            return _numbers(what, on, at, solver)
        except ValueError as error:  # NumPy on arrays whose shapes do not fit
            given = ", ".join(f"{name} {np.shape(value)}" for name, value in on.items())
            raise BadData(
                f"the values do not fit each other ({error})", where="solve", remedy=f"check their shapes: {given}"
            ) from error


def _numbers(system: System, values: Mapping[str, Any], at: Any, solver: str) -> dict[str, Any]:
    """Unknowns and observables of a system; points of a Flow or Map along the first axis."""
    require_system(system, "solve")
    runs = not isinstance(system, FixedPoint)
    bare = type(system)(system.unknowns, system.equations)  # observables may need more, and are then left out
    needed = [str(symbol) for symbol in (*bare.parameters, *(system.unknowns if runs else ()))]
    missing = [name for name in needed if name not in values]
    if missing and not solver:
        raise BadData(f"no value of {', '.join(missing)}", where="solve", remedy=f"give {', '.join(needed)} by name")
    if runs and at is None:
        raise BadData("nothing says when", where="solve", remedy="give times of a Flow or steps of a Map: at=[0, 10]")
    points = np.atleast_1d(np.asarray(at)) if runs else np.zeros(1)
    unknowns: Mapping[str, Any]
    if solver:
        unknowns = _named(solver)(system, values, points)
    elif isinstance(system, FixedPoint):
        unknowns, _ = _fixed_point(system, values)
        if all(np.ndim(value) == 0 for value in values.values()):
            unknowns = {name: np.squeeze(array) for name, array in unknowns.items()}
    elif isinstance(system, Flow):
        unknowns, _ = _flow(system, values, points.astype(float))
    elif isinstance(system, Map):
        from .recursion import iterate

        unknowns = iterate(system, values, points)
    found = {name: np.asarray(array) for name, array in unknowns.items()}
    for name, observable in system.observables.items():
        expression = sp.sympify(observable).subs(dict(system.eliminated))
        arguments = sorted(expression.free_symbols, key=str)
        if not all(str(argument) in found or str(argument) in values for argument in arguments):
            continue  # it needs a value that the system itself does not: the power of the targets, say
        evaluate = compile([expression], arguments, backend="numpy")
        rows = [
            evaluate(
                *(found[n][k] if runs and n in found else found.get(n, values.get(n)) for n in map(str, arguments))
            )
            for k in range(len(points))
        ]
        read = np.stack([np.asarray(row[0], float) for row in rows])
        found[name] = read if runs else read[0]
    return {name: float(array) if np.ndim(array) == 0 else array for name, array in found.items()}


def _solved(law: Law, instance: Instance) -> Solution:
    system = derived(law)
    values = {"eta": instance.learning_rate, **law.bind(instance)}
    if isinstance(system, FixedPoint):
        abscissa = np.asarray(instance.setup.sizes or instance.steps)
        if law.solver:
            unknowns, method = _named(law.solver)(system, values, abscissa), law.solver.partition(":")[0]
        else:
            unknowns, method = _fixed_point(system, values)
        return Solution(
            _collected(law, instance, _read(law, system, unknowns, values, len(abscissa))), abscissa, method, values
        )
    steps = instance.steps
    if law.solver:
        abscissa = instance.learning_rate * steps if isinstance(system, Flow) else steps
        unknowns, method = _named(law.solver)(system, values, abscissa), law.solver.partition(":")[0]
    elif isinstance(system, Map):
        from .recursion import iterate

        unknowns, method = iterate(system, values, steps), "recursion"
    else:
        unknowns, method = _flow(system, values, instance.learning_rate * steps)
    read = _read(law, system, unknowns, values, len(steps))
    return Solution(_collected(law, instance, read), steps, method, values)


def _collected(law: Law, instance: Instance, values: np.ndarray) -> np.ndarray:
    return values if law.collect is None else law.collect(instance, values)


def _named(solver: str):
    """The function "module:function" of this layer."""
    module, _, function = solver.partition(":")
    try:
        return getattr(import_module(f".{module}", __package__), function)
    except (ImportError, AttributeError, TypeError):
        raise BadData(f"no solver {solver!r}", where="solve", remedy='name one as "module:function"') from None


@lru_cache(maxsize=256)
def _derived(build) -> Flow | Map | FixedPoint:
    return build()


def derived(law: Law) -> Flow | Map | FixedPoint:
    """The law's system, derived once per process."""
    return _derived(law.system)


@lru_cache(maxsize=64)
def _closed_form(system: System) -> Any:
    """The system's closed form, or None: asked once, not for every instance."""
    try:
        return closed_form(system)
    except NoClosedForm:
        return None


def _flow(system: Flow, values: Mapping[str, Any], times: np.ndarray):
    solution = _closed_form(system)
    if solution is None:
        from .ode import integrate

        return integrate(system, values, times), "ode"
    return solution.unknowns_at(times, **values), f"closed form ({solution.method})"


def _fixed_point(system: FixedPoint, values: Mapping[str, Any]):
    solution = _closed_form(system)
    if solution is None:
        from .fixed_point import root

        return root(system, values), "root in log space"
    return {str(solution.unknown): solution.evaluate(**values)}, f"closed form ({solution.method})"


def _read(law, system, unknowns, values, points) -> np.ndarray:
    """Readout as (T, C): matrices are flattened, per-mode arrays keep their modes as components."""
    named = {**{str(unknown): unknown for unknown in system.unknowns}, **system.observables}
    expression = named.get(law.readout, law.readout) if isinstance(law.readout, str) else law.readout
    expression = sp.sympify(expression).subs(dict(system.eliminated))
    arguments = sorted(
        (s for s in expression.free_symbols if str(s) in unknowns or str(s) in values), key=lambda s: str(s)
    )
    matrices = any(isinstance(symbol, sp.MatrixSymbol) for symbol in arguments)
    evaluate = compile([expression], arguments, backend="numpy")
    if matrices:
        rows = []
        for point in range(points):
            given = [unknowns[str(s)][point] if str(s) in unknowns else values[str(s)] for s in arguments]
            rows.append(np.ravel(evaluate(*given)[0]))
        return np.array(rows, float)
    given = []
    for symbol in map(str, arguments):
        array = np.asarray(unknowns.get(symbol, values.get(symbol)))
        # a scalar along the run is a column, so that it never meets mode arrays (C,) that happen to be as long
        runs = symbol in unknowns and not isinstance(system, FixedPoint) and array.ndim == 1
        given.append(array[:, None] if runs else array)
    read = np.atleast_2d(np.asarray(evaluate(*given)[0], float))
    return np.broadcast_to(read, (points, read.shape[1])).copy()


def predict(claim: Claim, instances: Sequence[Sequence[Instance]], *, rival: bool = False, theory: str = ""):
    """The claim's law (or its rival) on instances[seed][axis value], as a `Prediction`.

    A claim whose options hold a "partner" law is forecast by the pair: values and slope are their means, half their gap
    is the uncertainty, and its slope has the error of `solvers.scaling.local_slope` (the partner binds its
    "slope_scatter").
    """
    law = claim.rival if rival else claim.law
    partner = None if rival else claim.options.get("partner")
    solved = [[solve(law, instance) for instance in row] for row in instances]
    values = _stacked(solved)
    abscissa = np.stack([solution.abscissa for solution in solved[0]])
    uncertainty: np.ndarray | None = None
    slope, slope_error = (window_slope(claim, abscissa, values), 0.0) if isinstance(claim, Scales) else (None, None)
    if partner is not None:
        others = [[solve(partner, instance) for instance in row] for row in instances]
        other = _stacked(others)
        if isinstance(claim, Scales) and slope is not None:
            second = window_slope(claim, abscissa, other)
            scatter = max(float(s.bound.get("slope_scatter", 0.0)) for row in others for s in row)
            slope_error = half_width(slope - second, scatter)
            slope = (slope + second) / 2
        uncertainty, values = np.abs(values - other) / 2, (values + other) / 2
    system = derived(law)
    return Prediction(
        theory=theory,
        claim=claim.name,
        law=law.name,
        observable=claim.observable,
        values=values,
        uncertainty=uncertainty,
        abscissa=abscissa,
        abscissa_name="n" if claim.setup.sizes else "step",
        axis=claim.axis,
        axis_values=tuple(float(value) for value in claim.values),
        slope=slope,
        slope_error=slope_error,
        method=solved[0][0].method,
        equations=str(system),
        assumptions=tuple(_distances(law, system, [instance for row in instances for instance in row])),
        references=tuple(dict.fromkeys((*system.trail.references, *filter(None, (law.reference,))))),
        fingerprints=tuple(instance.fingerprint for row in instances for instance in row),
    )


def _stacked(solved) -> np.ndarray:
    return np.stack([np.stack([solution.values for solution in row]) for row in solved])


def window_slope(claim: Scales, abscissa: np.ndarray, values: np.ndarray) -> float:
    """Least-squares slope of log value against log abscissa inside the claim's window; the axis wins if it has one."""
    if claim.axis:
        x, y = np.asarray(claim.values, float), values.mean(axis=(0, 2, 3))
    else:
        x, y = abscissa[0].astype(float), values.mean(axis=(0, 1, 3))
    inside = (x >= claim.window[0]) & (x <= claim.window[1]) & (x > 0)
    if inside.sum() < 2:
        low, high = claim.window
        raise BadData(
            f"{inside.sum()} points lie in the window {low:g} to {high:g}",
            where=claim.name,
            remedy="widen it, or record more and longer",
        )
    return float(np.polyfit(np.log(x[inside]), np.log(y[inside]), 1)[0])


def _distances(law: Law, system: System, instances: Sequence[Instance]):
    """Worst distance of each of the law's assumptions over the instances."""
    for assumption in law.assumptions:
        found = []
        for instance in instances:
            try:
                arrays = {**instance.arrays, **instance.moments(), **law.bind(instance)}
                found.append(float(assumption.distance(arrays)))
            except LearningMechanicsError as error:
                raise type(error)(error.found, where=f"{law.name}, {assumption.name}", remedy=error.remedy) from error
        distance = max(found)
        yield {
            "name": assumption.name,
            "kind": type(assumption).__name__,
            "distance": distance,
            "radius": float(assumption.radius),
            "holds": bool(distance <= assumption.radius),
        }
