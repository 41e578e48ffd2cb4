"""Orbits of gradient descent beyond the edge of stability, in numbers: the ratio of an orbit, and what follows it.

The ratio r = 1 + z of successive strengths solves an equation that rises from the edge at z = 0, so z is sought in log
space, one value per mode; a mode below its edge has r = 1.
"""

from collections.abc import Mapping
from typing import Any

import numpy as np

from ...theory.dynamics.linear_networks import mode_map
from ...theory.errors import BadData, DidNotConverge
from ...theory.symbols import LEARNING_RATE
from ...theory.system import FixedPoint
from ..compile import compile
from ..fixed_point import solve_log

_FEIGENBAUM = 4.669


def orbit(system: FixedPoint, values: Mapping[str, Any], abscissa: Any = None) -> dict[str, np.ndarray]:
    """The ratio r of `theory.dynamics.curvature.period_two.two_step_orbit`, one per target: {"r": (modes,)}.

    `values` holds "s" (modes,), "eta", and optionally "branch" (modes,): 1 for the weaker point of the orbit (default),
    -1 for the stronger, whose ratio is 1/r.

    >>> from ...theory.dynamics.curvature.period_two import two_step_orbit
    >>> r = orbit(two_step_orbit(2), {"s": [1.0, 0.5], "eta": 1.2})["r"]
    >>> (r + 1 / r).round(12).tolist()     # 1 + eta s beyond the edge, and 2 below it
    [2.2, 2.0]
    """
    (unknown,), (equation,) = system.unknowns, system.equations
    targets, eta = np.asarray(values["s"], float), float(np.asarray(values["eta"]))
    symbols = {str(symbol): symbol for symbol in equation.free_symbols}
    evaluate = compile([equation, equation.diff(unknown)], [unknown, symbols["eta"], symbols["s"]], backend="numpy")
    at_minimum, _ = evaluate(np.ones_like(targets), eta, targets)
    beyond = np.broadcast_to(at_minimum, targets.shape) < 0
    z = np.zeros_like(targets)
    if beyond.any():
        z[beyond] = solve_log(lambda z: evaluate(1 + z, eta, targets[beyond]), (int(beyond.sum()),), 0.1)
    return {str(unknown): (1 + z) ** np.asarray(values.get("branch", 1.0))}


def doublings(depth: int, count: int = 4) -> np.ndarray:
    """eta x sharpness of the minimum where it doubles its period, at 2, and where the orbits of period 2, 4 ... do.

    Newton's method on F^n(u) = u and (F^n)'(u) = -1 for n = 2, 4, ..., at s = 1. Distances between doublings shrink by
    Feigenbaum's 4.669. Errors: `BadData` for depth 1, whose map is linear; `DidNotConverge` with the period.
    Reference: Feigenbaum 1978.

    >>> doublings(2, 2).round(9).tolist()     # the second is 2 (sqrt(5) - 1)
    [2.0, 2.472135955]
    """
    if depth < 2 or count < 1:
        raise BadData(f"depth {depth}, count {count}", where="doublings", remedy="give depth >= 2 and count >= 1")
    (u,), (step,) = mode_map(depth).unknowns, mode_map(depth).equations
    step = step.subs({symbol: 1 for symbol in step.free_symbols if str(symbol) == "s"})
    slots = [step, *(step.diff(*by) for by in ((u,), (LEARNING_RATE,), (u, u), (u, LEARNING_RATE)))]
    evaluate = compile(slots, [u, LEARNING_RATE], backend="numpy")
    found = [2.0 / depth]
    for level in range(1, count):
        # the first gap is near a quarter of the edge, and each following one is a Feigenbaum constant smaller
        gap = (found[-1] - found[-2]) / _FEIGENBAUM if level > 1 else found[0] / 4
        start = _attractor(evaluate, found[-1] + 0.8 * gap)
        found.append(_doubling(evaluate, 2**level, start, found[-1] + gap))
    return depth * np.array(found)


def _attractor(evaluate, eta, steps=20_000):
    """A point of the orbit that attracts a start near the minimum at this learning rate."""
    point = 1.05
    for _ in range(steps):
        point = float(evaluate(point, eta)[0])
    return point


def _doubling(evaluate, period, point, eta):
    """The learning rate where an orbit of this period, continued from `point`, has slope -1."""
    for _ in range(60):
        value, slope, rate, bend, twist = point, 1.0, 0.0, 0.0, 0.0
        for _ in range(period):
            # chain rule: value u_n, its slope and rate (by u_0 and eta), and the derivatives of the slope
            f, f_u, f_eta, f_uu, f_ueta = (float(part) for part in evaluate(value, eta))
            twist = f_u * twist + (f_uu * rate + f_ueta) * slope
            bend = f_u * bend + f_uu * slope**2
            slope, rate = f_u * slope, f_u * rate + f_eta
            value = f
        residual = np.array([value - point, slope + 1])
        change = np.linalg.solve(np.array([[slope - 1, rate], [bend, twist]]), residual)
        point, eta = point - change[0], eta - change[1]
        if np.abs(change).max() < 1e-13:
            return eta
    raise DidNotConverge(f"the doubling of period {period} moves by {np.abs(change).max():.1e}", where="doublings")
