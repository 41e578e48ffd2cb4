"""Alternating gradient flow in numbers: sleeping units climb, one wakes, those awake minimise the loss, and again.

    due_i = price_i - int U_i dt;     unit i wakes when nothing is due

Times come in units of the price, the integrated utility that growing from norm epsilon to one costs; so one path holds
for every small epsilon. Nothing is assumed of the units but homogeneity: they are a JAX function.
Reference: Kunin, Marchetti et al. 2025, arXiv:2506.06489.
"""

import hashlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any

import numpy as np

from ..theory.errors import BadData, DidNotConverge
from ..theory.system import FixedPoint
from .compile import compile
from .implicit_bias import price_and_pace
from .precision import double_precision

SETTLED = 1e-10  # change of a direction in one step of its climb; utilities are good to its square
MOST_STEPS = 100_000
ASLEEP = 1e-5  # share of the largest norm below which a unit that was awake has gone back to sleep
NO_UTILITY = 1e-7  # share of the first utility that drives nothing any more


@dataclass(frozen=True, eq=False)
class Units:
    """`outputs(parameters (N, p)) -> (N, P, o)`, row i from parameters[i] alone, homogeneous of a `degree` >= 2.

    The network is the sum over units, the loss 1/2 mean over P samples of |target - sum|^2. Where a rotation of the
    hidden units changes nothing (`exchangeable`: linear layers), sleeping units turn to directions orthogonal to each
    other: they are one subspace, and its k-th direction grows at the k-th critical utility.
    """

    outputs: Callable
    target: np.ndarray
    degree: int
    exchangeable: bool = False


@dataclass(frozen=True, eq=False)
class Path:
    """Jumps: `times` (J,) in units of the price, `woken` (J,) unit indices, `utilities` (J,) that drove them; and
    `losses` (J + 1,) and `parameters` (J + 1, N, p) before, between and after (a row of zeros is asleep)."""

    times: np.ndarray
    woken: tuple[int, ...]
    utilities: np.ndarray
    losses: np.ndarray
    parameters: np.ndarray

    def passages(self, levels: Any, floor: float | None = None) -> np.ndarray:
        """Times at which the loss passes floor + level x (first - floor); the floor is the last loss if not given.

        Raises `BadData` for a level that it never passes.
        """
        floor = self.losses[-1] if floor is None else floor
        stops = floor + np.asarray(levels) * (self.losses[0] - floor)
        if self.losses[-1] > min(stops):
            raise BadData(
                f"the loss ends at {self.losses[-1]:.4g}, above the level {min(stops):.4g}",
                where="alternating flow",
                remedy="ask for higher levels, or give more units",
            )
        return np.array([self.times[np.argmax(self.losses[1:] <= stop)] for stop in stops])


def alternating_flow(
    units: Units,
    directions: np.ndarray,
    most: int = 100,
    until: float = 0.0,
    prices: Any = 1.0,
    pace: Callable = lambda utility: utility,
) -> Path:
    """The path of units that start asleep in the given directions (N, p), up to `most` jumps or a loss of `until`.

    `prices` (N,) are those of single units, in units of the common one: (rho_i / epsilon)^(2 - kappa) for a unit that
    starts at the norm rho_i, of order epsilon; at degree two all tend to 1. Units of one price whose utilities have the
    same maximum wake together: one after the other at the same time. `pace(utility)` is what is paid per time, if a
    finite learning rate makes it differ from the utility. Raises `DidNotConverge` for tied directions.

    >>> import jax.numpy as jnp
    >>> x = jnp.eye(2)[:, :, None]                                       # unit i sees input i alone
    >>> units = Units(lambda w: w[:, None, :] ** 2 * x, np.array([[3.0], [1.0]]), degree=2)
    >>> path = alternating_flow(units, np.ones((2, 1)))
    >>> path.woken, path.times.round(6), path.losses.round(6)            # utilities y_i / 2, losses 1/4 sum y^2
    ((0, 1), array([0.666667, 2.      ]), array([2.5 , 0.25, 0.  ]))
    """
    with double_precision():
        climb, minimise, utility, loss = _compiled(units)
        theta = np.zeros(np.shape(directions))
        facing = directions / np.linalg.norm(directions, axis=1, keepdims=True)
        due, now, scale = np.ones(len(theta)) * prices, 0.0, 0.0
        losses, states = [float(loss(theta))], [theta]
        times: list[float] = []
        woken: list[int] = []
        driven: list[float] = []
        while len(times) < most and losses[-1] > until:
            asleep = ~theta.any(axis=1)
            if not asleep.any():
                break
            facing = climb(facing, asleep, theta)
            utilities = np.where(asleep, utility(facing, theta), 0.0)
            scale = scale or utilities.max()
            moving = utilities > NO_UTILITY * scale
            if not moving.any():
                break
            wait = np.full(len(theta), np.inf)
            paces = np.array([pace(height) for height in utilities])
            wait[moving] = due[moving] / paces[moving]
            unit = int(np.argmin(wait))
            now, due = now + float(wait[unit]), np.maximum(due - wait[unit] * paces, 0.0)
            due[unit] = 0.0
            theta = minimise(theta, facing, unit, utilities[unit])
            facing = np.where(theta.any(axis=1, keepdims=True), theta, facing)
            facing = facing / np.linalg.norm(facing, axis=1, keepdims=True)
            times.append(now)
            woken.append(unit)
            driven.append(utilities[unit])
            losses.append(float(loss(theta)))
            states.append(theta)
    return Path(np.array(times), tuple(woken), np.array(driven), np.array(losses), np.array(states))


def passages(system: FixedPoint, values: Mapping[str, Any], abscissa: Any = None) -> dict[str, np.ndarray]:
    """Times (levels,) of passage for a system of `theory.dynamics.products.alternating_flow` that carries a "unit".

    `values` hold y (P, o), epsilon, the `shapes` (rows, columns) of a unit's parameters by name, how many `units` there
    are, arrays by name that all units share, arrays (N, ...) of single units in `own`, and whether the units are
    `exchangeable`. `levels` are shares of the loss above its floor, the loss of the best linear map of `rows`.
    """
    price, _ = price_and_pace(system, values)
    digest = hashlib.sha256(repr(system.observables["unit"]).encode())
    for name, array in sorted((*values.items(), *values.get("own", {}).items()), key=lambda item: item[0]):
        if name not in ("epsilon", "own"):
            content = array.tobytes() if isinstance(array, np.ndarray) else repr(array).encode()
            digest.update(f"{name}{getattr(array, 'shape', '')}".encode() + content)
    path, floor = _path(_Problem(digest.hexdigest(), system, values))
    return {str(system.unknowns[0]): price * path.passages(values["levels"], floor)}


@dataclass(frozen=True)
class _Problem:
    """A path to be computed; it does not depend on epsilon, so one answer serves a whole axis of starts."""

    digest: str
    system: FixedPoint = field(compare=False)
    values: Mapping[str, Any] = field(compare=False)


@lru_cache(maxsize=16)
def _path(problem: _Problem) -> tuple[Path, float]:
    values, unit = problem.values, problem.system.observables["unit"]
    shapes, own = values["shapes"], dict(values.get("own", {}))
    known = {*shapes, *own, *values}
    symbols = [s for s in sorted(unit.free_symbols, key=str) if str(s) in known]
    evaluate = compile([unit], symbols)
    edges = np.cumsum([0, *(rows * columns for rows, columns in shapes.values())])

    def one(row, mine):
        import jax.numpy as jnp

        shared = {str(s): jnp.asarray(values[str(s)]) for s in symbols if str(s) in values}
        parts = {
            name: row[first:last].reshape(shape)
            for (name, shape), first, last in zip(shapes.items(), edges[:-1], edges[1:], strict=True)
        }
        given = {**shared, **mine, **parts}
        return evaluate(*(given[str(s)] for s in symbols))[0]

    def outputs(parameters):
        import jax

        return jax.vmap(one)(parameters, own)

    target, rows = np.asarray(values["y"], float), values["rows"]
    missed = target - rows @ np.linalg.lstsq(rows, target, rcond=None)[0]
    floor, first = (0.5 * (error**2).sum() / len(target) for error in (missed, target))
    units = Units(outputs, target, int(values["degree"]), bool(values.get("exchangeable", False)))
    start = np.random.default_rng(0).standard_normal((int(values["units"]), edges[-1]))
    start = np.ones_like(start) if edges[-1] == 1 else start
    lowest = floor + min(values["levels"]) * (first - floor)
    pace = price_and_pace(problem.system, values)[1]
    return alternating_flow(units, start, until=lowest, pace=pace), float(floor)


def _compiled(units: Units):
    """Climb of all directions, minimisation over those awake, utilities and loss, on NumPy arrays."""
    import jax
    import jax.numpy as jnp
    from scipy.optimize import minimize

    target = jnp.asarray(units.target)
    samples = len(units.target)
    first = float((target**2).sum()) / 2 / samples

    def residual(theta):
        return target - units.outputs(theta).sum(axis=0)

    @jax.jit
    def loss(theta):
        return 0.5 * (residual(theta) ** 2).sum() / samples

    @jax.jit
    def utility(facing, theta):
        return (units.outputs(facing) * residual(theta)).sum(axis=(1, 2)) / samples

    def normal(vectors, asleep):
        if units.exchangeable:
            # those asleep in the order of their number; those awake, who do not count here, behind them
            order = jnp.argsort(~asleep, stable=True)
            basis, triangle = jnp.linalg.qr(vectors[order].T)
            return jnp.zeros_like(vectors).at[order].set((basis * jnp.sign(jnp.diag(triangle))).T)
        return vectors / jnp.linalg.norm(vectors, axis=1, keepdims=True)

    @jax.jit
    def climb(facing, asleep, theta):
        error = jax.lax.stop_gradient(residual(theta))
        slope = jax.grad(lambda u: (units.outputs(u) * error).sum() / samples)

        def step(state):
            facing, shift, _, count = state
            pull = slope(facing)
            # the shifted power method rises monotonically once the shift exceeds the curvature
            shift = jnp.maximum(shift, units.degree * jnp.linalg.norm(pull * asleep[:, None], axis=1).max())
            turned = jnp.where(asleep[:, None], normal(pull + shift * facing, asleep), facing)
            return turned, shift, jnp.abs(turned - facing).max(), count + 1

        start = jnp.where(asleep[:, None], normal(facing, asleep), facing), jnp.asarray(1e-300), jnp.inf, 0
        found = jax.lax.while_loop(lambda s: (s[2] > SETTLED) & (s[3] < MOST_STEPS), step, start)
        return found[0], found[2]

    both = jax.jit(jax.value_and_grad(loss))

    def minimise(theta, facing, unit, height):
        shape = theta.shape
        alone = np.zeros(shape)
        alone[unit] = facing[unit]
        output = np.asarray(units.outputs(jnp.asarray(alone)))[unit]
        # the best length of the new unit alone: -rho^k U + rho^(2 k) mean f^2 / 2 is least at rho^k = U / mean f^2
        begun = theta + alone * (height / ((output**2).sum() / samples)) ** (1 / units.degree)

        def objective(flat):
            value, gradient = both(flat.reshape(shape))
            return float(value) / first, np.asarray(gradient, float).ravel() / first

        found = minimize(
            objective,
            begun.ravel(),
            jac=True,
            method="L-BFGS-B",
            options={"maxiter": 5000, "maxfun": 10_000, "ftol": 1e-13, "gtol": 1e-9, "maxcor": 30},
        )
        moved = found.x.reshape(shape)
        norms = np.linalg.norm(moved, axis=1)
        moved[norms < ASLEEP * norms.max()] = 0.0
        return moved

    def climbed(facing, asleep, theta):
        turned, change = climb(facing, asleep, theta)
        if not change <= 1e-6:
            raise DidNotConverge(
                f"directions still turn by {float(change):.1e}", where="alternating flow", remedy="utilities are tied"
            )
        return np.array(turned)

    return climbed, minimise, lambda facing, theta: np.array(utility(facing, theta)), loss
