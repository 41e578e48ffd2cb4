"""Compute-optimal sizes without any law: parabolas through runs of equal compute.

The one equation: within a group of runs of about the same C,

    log L = c_0 + c_1 log N + c_2 (log N)^2 + c_3 (log C - group's mean),     log N* = -c_1/(2 c_2),

kept only where c_2 > 0 and N* lies inside the group's sizes; then log N* against log C over groups is the exponent.

Reference: Hoffmann et al. 2022 (arXiv:2203.15556), approach 2.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np

from ...theory.errors import Underpowered
from .robust_fit import solve_positive
from .runs import WHERE, Runs
from .surface_fit import CHUNK, LossSurface

WIDTH = 0.25  # decades of compute in one group where no gaps separate them
GAP = 0.08  # decades of compute without a run between groups
FEWEST, FEWEST_GROUPS = 5, 3
SPAN = 0.4  # decades of N within a group


@dataclass(frozen=True, eq=False)
class IsoFlop:
    """Minima of parabolas over groups of equal compute, and the exponents of N* and D* that they give.

    `compute`, `parameters`, `loss`  (groups,) at the minima;  `errors` (groups,) standard errors of log N*
    `coefficients`  (groups, 4) of each parabola about `centres` (groups,) of log N;  `members` the runs of each group
    `exponent`      of N* in C, with `error` from the bootstrap;  that of D* is 1 minus it
    `excluded`      groups without a minimum inside
    `difference`    exponent minus that of the fitted law, and its bootstrap error on the same samples
    """

    compute: np.ndarray
    parameters: np.ndarray
    loss: np.ndarray
    errors: np.ndarray
    coefficients: np.ndarray
    centres: np.ndarray
    members: tuple[np.ndarray, ...]
    exponent: float
    error: float
    interval: tuple[float, float]
    difference: float
    difference_error: float
    excluded: int

    def __str__(self) -> str:
        low, high = self.interval
        z = self.difference / max(self.difference_error, 1e-300)
        return (
            f"{len(self.compute)} groups of equal compute ({self.excluded} without a minimum inside): N* ~ C^"
            f"{self.exponent:.3f} +- {self.error:.3f} (90 %: {low:.3f} to {high:.3f}), D* ~ C^{1 - self.exponent:.3f}; "
            f"differs from the law by {self.difference:+.3f} +- {self.difference_error:.3f} ({abs(z):.1f} s.e.)"
        )

    def to_dict(self) -> dict[str, Any]:
        return {
            "groups": [
                {"compute": float(c), "parameters": float(n), "loss": float(v), "error_log_parameters": float(e)}
                for c, n, v, e in zip(self.compute, self.parameters, self.loss, self.errors, strict=True)
            ],
            "parameters_exponent": self.exponent,
            "tokens_exponent": 1 - self.exponent,
            "error": self.error,
            "interval": list(self.interval),
            "excluded": self.excluded,
            "difference_from_law": self.difference,
            "difference_error": self.difference_error,
        }


def groups(table: Runs) -> list[np.ndarray]:
    """Runs of about equal compute: between gaps where the compute has some, else slices of a quarter decade.

    >>> c = np.repeat([1e18, 1e19], 3)
    >>> n = np.tile([1e7, 1e8, 1e9], 2)
    >>> [group.tolist() for group in groups(Runs(n, c / 6 / n, n))]
    [[0, 1, 2], [3, 4, 5]]
    """
    logs = np.log10(table.compute)
    order = np.argsort(logs, kind="stable")
    parts = np.split(order, np.flatnonzero(np.diff(logs[order]) > GAP) + 1)
    made = []
    for part in parts:
        wide = np.ptp(logs[part])
        if wide <= WIDTH:
            made.append(part)
            continue
        count = int(np.ceil(wide / WIDTH))
        edges = np.linspace(logs[part].min(), logs[part].max(), count + 1)
        place = np.clip(np.searchsorted(edges, logs[part], side="right") - 1, 0, count - 1)
        made += [part[place == k] for k in range(count)]
    return [part for part in made if len(part)]


def isoflop(found: LossSurface) -> IsoFlop:
    """Parabolas over groups of equal compute, with the counts of the fit's own bootstrap.

    Raises `Underpowered` if fewer than three groups have a minimum inside their sizes.
    """
    table = found.runs
    ones = np.ones((1, len(table)))
    candidates = [
        part for part in groups(table) if len(part) >= FEWEST and np.ptp(np.log10(table.parameters[part])) >= SPAN
    ]
    tried = [(part, *_minima(table, part, ones)) for part in candidates]
    usable_groups = [entry for entry in tried if np.isfinite(entry[1][0, 0])]
    kept = [part for part, *_ in usable_groups]
    if len(kept) < FEWEST_GROUPS:
        raise Underpowered(
            f"{len(kept)} groups of equal compute have a minimum inside their sizes, of {len(candidates)}",
            where=WHERE,
            remedy=f"run at least {FEWEST} sizes at each of {FEWEST_GROUPS} budgets, on both sides of the best size",
        )
    best = np.array([minimum[0] for _, minimum, _, _ in usable_groups])  # (groups, 2)
    samples = np.concatenate(
        [
            np.stack([_minima(table, part, counts)[0] for part in kept], 1)
            for counts in table.samples(len(found.draws), found.seed, max(CHUNK // len(table), 16))
        ]
    )  # (repeats, groups, 2)
    log_c = np.array([np.log(table.compute[part]).mean() for part in kept])
    errors = np.array([_spread(samples[:, k, 0]) for k in range(len(kept))])
    weight = 1.0 / np.maximum(errors, 1e-12) ** 2
    slope = _slope(log_c, best[None, :, 0], weight)[0]
    slopes = _slope(log_c, samples[..., 0], weight)
    usable = np.isfinite(slopes)
    law = found.draws[:, 4] / (found.draws[:, 3] + found.draws[:, 4])
    here = found.estimates["beta"] / (found.estimates["alpha"] + found.estimates["beta"])
    return IsoFlop(
        np.exp(log_c),
        np.exp(best[:, 0]),
        np.exp(best[:, 1]),
        errors,
        np.array([curve[0] for _, _, curve, _ in usable_groups]),
        np.array([centre for *_, centre in usable_groups]),
        tuple(kept),
        float(slope),
        _spread(slopes),
        found.interval(slopes[usable], float(slope)),
        float(slope - here),
        _spread((slopes - law)[usable]),
        len(candidates) - len(kept),
    )


def _minima(table: Runs, part: np.ndarray, counts: np.ndarray) -> tuple[np.ndarray, np.ndarray, float]:
    """log N*, log L* (repeats, 2), NaN where not inside; coefficients (repeats, 4) about the centre of log N; that."""
    log_n, log_c, log_l = (np.log(values[part]) for values in (table.parameters, table.compute, table.loss))
    centre = float(log_n.mean())
    x, z = log_n - centre, log_c - log_c.mean()
    columns = np.stack([np.ones(len(x)), x, x * x, z], 1)
    if np.ptp(z) < 1e-9:
        columns[:, 3] = 0.0
    base = log_l.mean()
    weight = counts[:, part]
    matrix = np.einsum("rn,ni,nj->rij", weight, columns, columns, optimize=True)
    right = weight * (log_l - base) @ columns
    curve = solve_positive(matrix, right, np.zeros(len(counts)))
    with np.errstate(all="ignore"):
        place = -curve[:, 1] / (2 * curve[:, 2])
        inside = (curve[:, 2] > 0) & (place > x.min()) & (place < x.max()) & ((weight > 0).sum(1) >= 4)
        height = curve[:, 0] + 0.5 * curve[:, 1] * place + base
    curve[:, 0] += base
    return np.where(inside[:, None], np.stack([place + centre, height], 1), np.nan), curve, centre


def _slope(x: np.ndarray, y: np.ndarray, weight: np.ndarray) -> np.ndarray:
    """Weighted slopes (repeats,) of y (repeats, groups) with gaps against x (groups,)."""
    seen = np.isfinite(y)
    w = np.where(seen, weight, 0.0)
    values = np.where(seen, y, 0.0)
    with np.errstate(all="ignore"):
        total = w.sum(1)
        mean_x, mean_y = (w @ x) / total, (w * values).sum(1) / total
        across = x - mean_x[:, None]
        slope = (w * across * (values - mean_y[:, None])).sum(1) / (w * across**2).sum(1)
    return np.where(seen.sum(1) >= 2, slope, np.nan)


def _spread(values: np.ndarray) -> float:
    """Half of the central 68 % of draws: single ones may lie anywhere."""
    low, high = np.nanquantile(values, (0.1587, 0.8413))
    return float(high - low) / 2
