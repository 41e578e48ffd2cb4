"""Which interpolator the flow of a diagonal network picks, and through which saddles a vanishing start takes it.

    maximise over nu:  nu'y - sum_i B((X' nu)_i),      beta_i = B'((X' nu)_i)

The dual variable nu is the integrated residual, so its natural size is the time of training: ascent in nu stays well
conditioned from alpha = 1e-3 to 1e3, where the coefficients themselves span everything from l1 to l2.
"""

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import sympy as sp
from scipy.linalg import LinAlgError, solve_triangular

from ..theory.errors import BadData, DidNotConverge
from ..theory.measured_spectra.nonnegative import nonnegative_least_squares
from ..theory.system import FixedPoint
from .compile import compile

TOLERANCE = 1e-13  # of the residual y - X beta, relative to y
MOST_STEPS = 2000  # of Newton


@np.errstate(all="ignore")  # far outside, coefficients overflow and the step is halved
def minimiser(system: FixedPoint, values: Mapping[str, Any], abscissa: Any = None) -> dict[str, np.ndarray]:
    """The beta (d,) that minimises sum_i Q(beta_i) subject to X beta = y, by Newton's method in the dual.

    `system` has the one unknown "beta" and the equation 0 = beta - B'(G); `values` hold X (n, d) of full row rank, y
    (n,), and alpha, one number or one for each coordinate. Where the system knows the weights "w_p" and "w_m" as
    functions of G, their positive range is the domain.
    Errors: `BadData` for more samples than coordinates, `DidNotConverge` where X beta = y cannot be met.

    >>> from ..theory.dynamics.products.diagonal_networks import interpolator
    >>> X, y = np.array([[1.0, 2.0]]), np.array([1.0])
    >>> minimiser(interpolator(2), {"X": X, "y": y, "alpha": 1e3})["beta"].round(6)
    array([0.2, 0.4])
    >>> minimiser(interpolator(2), {"X": X, "y": y, "alpha": 1e-3})["beta"].round(2)
    array([0. , 0.5])
    """
    X, y = _interpolated(values)
    respond, length = _responses(system, values), np.linalg.norm(y)
    nu = np.zeros(len(y))
    (coefficient, slope), misfit, before = respond(X.T @ nu), y, float("inf")
    for _ in range(MOST_STEPS):
        size = float(np.linalg.norm(misfit))
        if size <= TOLERANCE * length or (before <= 1e-10 * length and size > before / 2):
            break
        before = size
        # normal equations X diag(slope) X' from a QR of their root, largest rows first: no digits are thrown away
        large = np.argsort(-slope)
        triangle = np.linalg.qr(np.sqrt(slope[large])[:, None] * X.T[large], mode="r")
        try:
            step = solve_triangular(triangle, solve_triangular(triangle, misfit, trans="T"))
        except (LinAlgError, ValueError):  # singular, or not finite
            break
        rise, share = step @ misfit, 1.0
        while share > 1e-300:
            coefficient, slope = respond(X.T @ (nu + share * step))
            misfit = y - X @ coefficient
            # the dual is concave: while it still rises along the step (or has hardly turned) nothing was jumped over
            if np.isfinite(slope).all() and step @ misfit >= -0.25 * rise:
                break
            share /= 2
        else:
            break
        nu = nu + share * step
    if not np.linalg.norm(misfit) <= 1e-9 * np.linalg.norm(y):
        raise DidNotConverge(
            f"X beta misses y by {np.linalg.norm(misfit) / np.linalg.norm(y):.1e} of its length",
            where="implicit bias",
            remedy="give independent rows",
        )
    return {"beta": coefficient}


def descent_minimiser(system: FixedPoint, values: Mapping[str, Any], abscissa: Any = None) -> dict[str, np.ndarray]:
    """`minimiser` for gradient descent with a finite learning rate "eta", correct to second order in it.

    Each coordinate starts as if from "effective_start" of the system, at E_i = int g_i^2 dt along the dual flow
    nu' = y - X beta, g = X' nu' (Even et al. 2023, arXiv:2302.08982).
    """
    X, y = _interpolated(values)
    respond = _responses(system, values)
    energy = _dual_energy(X, y, respond)
    expression = system.observables["effective_start"]
    arguments = sorted(expression.free_symbols, key=str)
    start = compile([expression], arguments, backend="numpy")
    given = {**values, "E": energy}
    return minimiser(system, {**values, "alpha": start(*(given[str(a)] for a in arguments))[0]})


def _interpolated(values: Mapping[str, Any]) -> tuple[np.ndarray, np.ndarray]:
    """Inputs X (n, d) and targets y (n,) that some coefficients can interpolate. Errors: `BadData`."""
    X, y = np.asarray(values["X"], float), np.ravel(values["y"]).astype(float)
    if len(X) > X.shape[1]:
        raise BadData(
            f"{len(X)} samples for {X.shape[1]} coordinates", where="implicit bias", remedy="nothing interpolates them"
        )
    return X, y


def _dual_energy(X, y, respond) -> np.ndarray:
    """int_0^oo g_i^2 dt along the dual flow; its tail is the square of the residual, which is followed to 1e-9."""
    from scipy.integrate import solve_ivp

    n = len(y)

    def field(_, state):
        residual = y - X @ respond(X.T @ state[:n])[0]
        return np.concatenate([residual, (X.T @ residual) ** 2])

    def jacobian(_, state):
        coefficient, slope = respond(X.T @ state[:n])
        pull = X.T @ (y - X @ coefficient)
        inner = -(X * slope) @ X.T
        outer = 2 * pull[:, None] * (X.T @ inner)
        return np.block([[inner, np.zeros((n, len(pull)))], [outer, np.zeros((len(pull), len(pull)))]])

    def settled(_, state):
        return np.linalg.norm(y - X @ respond(X.T @ state[:n])[0]) / np.linalg.norm(y) - 1e-9

    settled.terminal = True  # type: ignore[attr-defined]
    scale = np.linalg.norm(y)
    flow = solve_ivp(
        field,
        (0.0, 1e12),
        np.zeros(n + X.shape[1]),
        method="BDF",
        jac=jacobian,
        events=settled,
        rtol=1e-9,
        atol=1e-9 * scale,
    )
    if flow.status != 1:
        raise DidNotConverge(f"the dual flow stopped early: {flow.message}", where="implicit bias")
    return flow.y[n:, -1]


def least_one_norm(system: FixedPoint, values: Mapping[str, Any], abscissa: Any = None) -> dict[str, np.ndarray]:
    """The beta (d,) of least sum |beta_i| with X beta = y, by linear programming.

    >>> least_one_norm(None, {"X": np.array([[1.0, 2.0]]), "y": np.array([1.0])})["beta"]
    array([0. , 0.5])
    """
    from scipy.optimize import linprog

    X, y = np.asarray(values["X"], float), np.ravel(values["y"]).astype(float)
    found = linprog(np.ones(2 * X.shape[1]), A_eq=np.hstack([X, -X]), b_eq=y, method="highs")
    if found.x is None:
        raise DidNotConverge(found.message, where="least l1 norm", remedy="give independent rows")
    plus, minus = np.split(found.x, 2)
    return {"beta": plus - minus}


def homotopy(
    X: np.ndarray, y: np.ndarray, *, most: int = 1000, pace: Callable = lambda pull: pull
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Saddles of a vanishing start: (times (J,), saddles (J + 1, d), losses (J + 1,)), loss 1/2 |y - X beta|^2.

    Times count integrated pull in units of the activation price: s_i = int (X'r)_i dt lies in [-1, 1], and the state
    between jumps minimises the loss under beta_i s_i >= 0, with beta_i = 0 where |s_i| < 1. A coordinate appears when
    s_i reaches +-1; one that the minimisation sends to zero is asleep again. `pace(|pull|)` is what is paid per
    time, if it is not the pull itself.
    Reference: Berthier 2022, arXiv:2208.14673; Pesme & Flammarion 2023, arXiv:2304.00488.

    >>> times, saddles, losses = homotopy(np.eye(2), np.array([2.0, -1.0]))
    >>> times, saddles[-1], losses
    (array([0.5, 1. ]), array([ 2., -1.]), array([2.5, 0.5, 0. ]))
    """
    X, y = np.asarray(X, float), np.ravel(y).astype(float)
    paid, now, beta = np.zeros(X.shape[1]), 0.0, np.zeros(X.shape[1])
    scale = np.abs(X.T @ y).max()
    times, saddles, losses = [], [beta], [(y @ y) / 2]
    for _ in range(most):
        pull = X.T @ (y - X @ beta)
        pull[(beta != 0) | (np.abs(pull) < 1e-11 * scale)] = 0.0
        moving = pull != 0
        if not moving.any():
            break
        # a coordinate that lies on the boundary and is pulled outwards would be active already
        wait = np.full(len(pull), np.inf)
        paces = np.sign(pull) * np.array([pace(size) for size in np.abs(pull)])
        wait[moving] = (1 - np.sign(pull[moving]) * paid[moving]) / np.abs(paces[moving])
        pause = wait.min()
        now, paid = now + pause, np.clip(paid + pause * paces, -1, 1)
        paid[wait <= pause * (1 + 1e-12)] = np.sign(pull[wait <= pause * (1 + 1e-12)])
        awake = np.flatnonzero(np.abs(paid) == 1)
        beta = np.zeros(len(paid))
        beta[awake] = paid[awake] * nonnegative_least_squares(X[:, awake] * paid[awake], y)
        times.append(now)
        saddles.append(beta)
        losses.append(((y - X @ beta) ** 2).sum() / 2)
    else:
        raise DidNotConverge(f"{most} jumps and no end", where="successive jumps")
    return np.array(times), np.array(saddles), np.array(losses)


def passages(system: FixedPoint, values: Mapping[str, Any], abscissa: Any = None) -> dict[str, np.ndarray]:
    """Times (levels,) at which a vanishing start passes levels of its loss, floor + level x (first - floor).

    `system` has the unknown "t": the time of the first jump under a pull "g". `values` hold X, y, alpha and the levels.
    """
    price, pace = price_and_pace(system, values)
    times, _, losses = homotopy(values["X"], values["y"], pace=pace)
    levels = losses[-1] + np.asarray(values["levels"]) * (losses[0] - losses[-1])
    return {str(system.unknowns[0]): price * times[[np.argmax(losses[1:] <= level) for level in levels]]}


def price_and_pace(system: FixedPoint, values: Mapping[str, Any]) -> tuple[float, Callable]:
    """The time t that a constant drive of 1 takes, and t(1) / t(drive) as a function of the drive.

    The drive is the one symbol of the system's equation that has no value.

    >>> from ..theory.dynamics.products.alternating_flow import jump_times
    >>> price, pace = price_and_pace(jump_times(2), {"epsilon": 1e-4})
    >>> round(price, 6), pace(3.0)
    (4.60517, 3.0)
    """
    (time,) = sp.solve(system.equations[0], system.unknowns[0])
    given = {symbol: values[str(symbol)] for symbol in time.free_symbols if str(symbol) in values}
    (drive,) = time.free_symbols - set(given)
    price = time.subs(drive, 1)
    return float(price.subs(given)), sp.lambdify(drive, sp.simplify(price / time).subs(given))


def _responses(system: FixedPoint, values: Mapping[str, Any]):
    """G (d,) -> coefficients B'(G) and their slopes B''(G); outside the domain the slope is infinite."""
    (unknown,), (equation,) = system.unknowns, system.equations
    answer = unknown - equation
    pull = next(symbol for symbol in answer.free_symbols if str(symbol) == "G")
    others = sorted(answer.free_symbols - {pull}, key=str)
    weights = [system.observables[name] for name in ("w_p", "w_m") if name in system.observables]
    evaluate = compile([answer, sp.diff(answer, pull), *weights], (pull, *others), backend="numpy")
    constants = [np.asarray(values[str(symbol)], float) for symbol in others]

    def respond(G):
        with np.errstate(all="ignore"):
            coefficient, slope, *found = (np.broadcast_to(value, G.shape) for value in evaluate(G, *constants))
        inside = np.isfinite(slope) & np.isfinite(coefficient) & np.all([w > 0 for w in found], axis=0)
        return np.where(inside, coefficient, 0.0), np.where(inside, slope, np.inf)

    return respond
