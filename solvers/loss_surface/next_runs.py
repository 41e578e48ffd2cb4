"""Which runs to make next: those that shrink one interval, or all of them, the most for a compute budget.

The one equation: a run of derivatives j adds j j^T to the information M, so the variance of c . theta falls by

    (c^T M^-1 j)^2 / (1 + j^T M^-1 j),

and the next run is the one with the largest fall (c-optimal), or with the largest j^T M^-1 j (D-optimal).

References: Fedorov 1972 (theory of optimal experiments); the forecast is then tried on simulated runs.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np

from ...theory.arguments import number, whole
from ...theory.errors import BadData, OutsideDomain, UnknownName
from ...theory.loss_surface.frontier import frontier
from .accuracy import jacobian
from .robust_fit import Centred, centred, fit, predicted
from .runs import WHERE, checked_seed
from .surface_fit import LossSurface

QUANTITIES = ("alpha", "beta", "E", "parameters_exponent", "loss_exponent", "loss", "all")
CANDIDATES = 25  # sizes along each axis
BEYOND = 10.0  # times the range of the runs there are, on every side
LARGEST_SHARE = 0.5  # of the budget that one run may take


@dataclass(frozen=True, eq=False)
class NextRuns:
    """Runs to make: sizes and repeats, and the standard error of `quantity` before and after (as forecast).

    `parameters`, `tokens`, `repeats`  (designs,);  `compute` what they take in all
    `before`  standard error over the bootstrap; `after` the same times the fall that the derivatives promise
    `simulated`  (before, after) over fits of simulated runs, with noise that is the same everywhere; None: not tried
    """

    quantity: str
    parameters: np.ndarray
    tokens: np.ndarray
    repeats: np.ndarray
    compute: float
    budget: float
    before: float
    after: float
    simulated: tuple[float, float] | None

    def __str__(self) -> str:
        rows = [
            f"  {r} x N = {n:.3g}, D = {d:.3g} ({6 * n * d:.2g} flops each)"
            for n, d, r in zip(self.parameters, self.tokens, self.repeats, strict=True)
        ]
        of = "all five constants (geometric mean)" if self.quantity == "all" else self.quantity
        first, last = self.simulated or (0.0, 0.0)
        fall = 1 - self.after / max(self.before, 1e-300)
        told = f"s.e. of {of}: {self.before:.3g} to {self.after:.3g} ({fall:.0%} less)"
        tried = f"; in simulated runs {1 - last / first:.0%} less" if np.isfinite(last) and first > 0 else ""
        head = f"next runs for {self.compute:.3g} of {self.budget:.3g} flops, 6 N D each"
        return "\n".join([head, *rows, told + tried])

    def to_dict(self) -> dict[str, Any]:
        return {
            "quantity": self.quantity,
            "runs": [
                {"parameters": float(n), "tokens": float(d), "repeats": int(r)}
                for n, d, r in zip(self.parameters, self.tokens, self.repeats, strict=True)
            ],
            "compute": self.compute,
            "budget": self.budget,
            "standard_error_before": self.before,
            "standard_error_after": self.after,
            "simulated_before_and_after": self.simulated and list(self.simulated),
        }


def next_runs(
    found: LossSurface,
    budget: float,
    quantity: str = "parameters_exponent",
    most: int = 12,
    compute: float | None = None,
    simulations: int = 400,
    seed: int = 0,
) -> NextRuns:
    """At most `most` runs of together `budget` flops that lower the error of `quantity` the most.

    `quantity`  "alpha", "beta", "E", "parameters_exponent" (of N*), "loss_exponent" (of L* - E), "loss" (at the best
    split of `compute`, by default ten times the largest run), or "all" (the volume of the confidence region).
    Raises `BadData`, `UnknownName`.

    >>> from .surface_fit import fit_loss_surface
    >>> n, d = (axis.ravel() for axis in np.meshgrid(np.geomspace(1e7, 1e10, 6), np.geomspace(1e9, 1e12, 6)))
    >>> noise = np.exp(0.005 * np.random.default_rng(0).standard_normal(36))
    >>> found = fit_loss_surface(n, d, (1.8 + 480 * n**-0.35 + 2000 * d**-0.37) * noise, bootstrap=100)
    >>> made = next_runs(found, 1e21, "alpha", simulations=0)
    >>> made.compute <= 1e21, made.after < 0.9 * made.before
    (True, True)
    """
    flops = number(budget, "budget", WHERE, above=True)
    if quantity not in QUANTITIES:
        raise UnknownName.among(str(quantity), QUANTITIES, kind="quantity", where=WHERE)
    count, draws, start = (
        whole(most, "most", WHERE, least=1),
        whole(simulations, "simulations", WHERE),
        checked_seed(seed),
    )
    if draws == 1:
        raise BadData("simulations 1", where=WHERE, remedy="give 0 for none, or at least 2")
    table, design = found.runs, found.design
    n, d = _candidates(table.parameters, table.tokens, flops)
    if not len(n):
        least = table.compute.min()
        raise BadData(
            f"budget {flops:.3g} flops is below any run like these", where=WHERE, remedy=f"give at least {least:.2g}"
        )
    old = jacobian(found.theta, design)
    new = jacobian(found.theta, centred(n, d, design.centre))
    at = 10 * table.compute.max() if compute is None else compute
    target = gradient(found, quantity, number(at, "compute", WHERE, above=True))
    orders = [_greedy(old, new, 6 * n * d, flops, target, count, power) for power in (0.0, 0.5, 1.0)]
    chosen = min(orders, key=lambda item: item[1])[0]
    before = _bootstrap_error(found, target)
    after = before * _error(np.concatenate([old, new[chosen]]), target) / _error(old, target)
    places, repeats = np.unique(chosen, return_counts=True)
    tried = _simulated(found, n[chosen], d[chosen], target, draws, start) if draws else None
    return NextRuns(
        quantity, n[places], d[places], repeats, float((6 * n * d)[chosen].sum()), flops, before, after, tried
    )


def gradient(found: LossSurface, quantity: str, compute: float) -> np.ndarray | None:
    """Derivatives (5,) of a quantity by (log E, log terms at the centre, alpha, beta); None stands for all of them."""
    alpha, beta = found.estimates["alpha"], found.estimates["beta"]
    total = alpha + beta
    plain = {"alpha": [0, 0, 0, 1, 0], "beta": [0, 0, 0, 0, 1], "E": [found.estimates["E"], 0, 0, 0, 0]}
    if quantity in plain:
        return np.array(plain[quantity], float)
    if quantity == "all":
        return None
    if not found.has_frontier:
        raise OutsideDomain(
            f"an exponent is not above zero, so there is no {quantity.replace('_', ' ')} of a best split",
            where=WHERE,
            remedy="ask for alpha, beta, E or all",
        )
    if quantity == "parameters_exponent":
        return np.array([0, 0, 0, -beta, alpha]) / total**2
    if quantity == "loss_exponent":
        return np.array([0, 0, 0, beta**2, alpha**2]) / total**2
    best = frontier().values(compute, found.estimates)
    at = jacobian(found.theta, centred(best["parameters"][None], best["tokens"][None], found.design.centre))[0]
    return at * float(best["loss"])  # at the best split the loss does not change with the split


def _candidates(parameters: np.ndarray, tokens: np.ndarray, budget: float) -> tuple[np.ndarray, np.ndarray]:
    axes = [np.geomspace(axis.min() / BEYOND, axis.max() * BEYOND, CANDIDATES) for axis in (parameters, tokens)]
    n, d = (axis.ravel() for axis in np.meshgrid(*axes))
    ratio = tokens / parameters
    usual = (d / n >= ratio.min() / BEYOND) & (d / n <= ratio.max() * BEYOND) & (d >= tokens.min())
    keep = usual & (n >= parameters.min()) & (6 * n * d <= LARGEST_SHARE * budget)
    return n[keep], d[keep]


def _greedy(old, new, cost, budget, target, most, power):
    """Places of the runs chosen one by one (repeats allowed), by fall of the variance over cost^power; the error."""
    information = old.T @ old
    chosen: list[int] = []
    left = budget
    while len(chosen) < most:
        inverse = np.linalg.pinv(information, rcond=1e-14)
        reach = new @ inverse
        leverage = np.einsum("rk,rk->r", reach, new)
        gain = np.log1p(leverage) if target is None else (reach @ target) ** 2 / (1 + leverage)
        gain = np.where(cost <= left, gain / cost**power, -1.0)
        best = int(np.argmax(gain))
        if gain[best] <= 0:
            break
        chosen.append(best)
        left -= cost[best]
        information = information + np.outer(new[best], new[best])
    return np.array(chosen, int), _error(np.concatenate([old, new[chosen]]), target)


def _error(rows: np.ndarray, target: np.ndarray | None) -> float:
    """Standard error of a quantity in units of the noise of one run; for all constants the fifth root of the volume."""
    information = rows.T @ rows
    if target is None:
        return float(np.exp(-0.5 * np.linalg.slogdet(information)[1] / len(information)))
    return float(np.sqrt(target @ np.linalg.pinv(information, rcond=1e-14) @ target))


def _bootstrap_error(found: LossSurface, target: np.ndarray | None) -> float:
    """Standard error of the quantity over the bootstrap of the fit."""
    centre = found.design.centre
    floor, log_a, log_b, alpha, beta = found.draws.T
    rows = np.stack([np.log(floor), log_a - alpha * centre[0], log_b - beta * centre[1], alpha, beta], 1)
    return _spread(rows, target)


def _spread(rows: np.ndarray, target: np.ndarray | None) -> float:
    """Half of the central 68 % of a quantity over draws (repeats, 5), or the root of the volume for all of them."""
    if target is None:
        return float(np.exp(np.linalg.slogdet(np.cov(rows, rowvar=False))[1] / 2 / rows.shape[1]))
    low, high = np.quantile(rows @ target, (0.1587, 0.8413))
    return float(high - low) / 2


def _simulated(found: LossSurface, n: np.ndarray, d: np.ndarray, target, count: int, seed: int) -> tuple[float, float]:
    """Spread of the quantity over fits to simulated runs, without and with the new ones (log-normal noise)."""
    generator = np.random.default_rng(seed)
    table = found.runs
    both = centred(np.append(table.parameters, n), np.append(table.tokens, d), found.design.centre)
    mean = np.log(predicted(found.theta[None], both)[0])
    noise = found.noise * generator.standard_normal((count, len(mean)))
    ends = []
    for size in (len(table), len(mean)):
        part = Centred(
            both.x[:size],
            both.y[:size],
            both.centre,
            both.products[:size],
            both.squares_x[:size],
            both.squares_y[:size],
        )
        start = np.repeat(found.theta[None], count, 0)
        made, _, _ = fit(part, (mean + noise)[:, :size], np.ones(size), start, delta=found.delta, tolerance=1e-9)
        ends.append(_spread(made, target))
    return ends[0], ends[1]
