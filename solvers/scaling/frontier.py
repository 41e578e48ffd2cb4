r"""The compute-optimal frontier of a table of losses: at every compute the best width, and the power laws it traces.

    L*(f) = min_d L(d, f) ~ f^-eta,      d*(f) = argmin_d L(d, f) ~ f^xi.

A raw minimum over a grid of widths is a staircase. Here log L is a parabola in log d through the best width and its two
neighbours; only minima inside the grid count, for at its ends nobody knows what lies beyond. Slopes are given over the
whole range and over its second half: where the two differ, the power law is still bending.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from ...theory.arguments import number, numbers
from ...theory.errors import BadData, Underpowered

WHERE = "frontier"
LEAST = 4  # interior minima for a slope


@dataclass(frozen=True, eq=False)
class Frontier:
    """Best losses and widths over compute; arrays (F,) hold interior minima only.

    `loss_exponent`, `width_exponent`   eta and xi over all of them: L* ~ f^-eta, d* ~ f^xi
    `second_half`                       the same two over the upper half of log compute
    `errors`                            their standard errors over draws (jackknife); None without draws
    `limit`                             the asymptotic loss exponent, where a theory gives one; `tolerance` within which
                                        the local slope counts as having reached it
    `refused`                           computes without an interior minimum, and why
    """

    compute: np.ndarray
    loss: np.ndarray
    width: np.ndarray
    loss_exponent: float
    width_exponent: float
    second_half: tuple[float, float]
    errors: tuple[float, float] | None = None
    limit: float | None = None
    tolerance: float = 0.02
    refused: Mapping[str, int] = field(default_factory=dict)

    @property
    def drift(self) -> float:
        """How much the loss exponent still changes: second half minus whole."""
        return self.second_half[0] - self.loss_exponent

    @property
    def reached(self) -> bool | None:
        """Whether the second half is within the tolerance of the limit and drifts by half of it; None without a limit.

        A slope that drifts may cross its limit on the way.
        """
        if self.limit is None:
            return None
        return bool(abs(self.second_half[0] - self.limit) <= self.tolerance and abs(self.drift) <= self.tolerance / 2)

    @property
    def statement(self) -> str:
        """What to believe: the limit, or the local slope."""
        local = f"{self.second_half[0]:.3f}"
        if self.limit is None:
            return f"local slope {local} at compute {self._range()}"
        if self.reached:
            return f"asymptotics reached: local slope {local}, limit {self.limit:.3f}"
        return f"asymptotics not reached: local slope {local}, limit {self.limit:.3f}"

    def to_dict(self) -> dict:
        return {
            **{name: getattr(self, name).tolist() for name in ("compute", "loss", "width")},
            "loss_exponent": self.loss_exponent,
            "width_exponent": self.width_exponent,
            "second_half": list(self.second_half),
            "errors": self.errors and list(self.errors),
            "limit": self.limit,
            "reached": self.reached,
            "statement": self.statement,
            "refused": dict(self.refused),
        }

    def __str__(self) -> str:
        spread = [f" +- {error:.3f}" for error in self.errors] if self.errors else ["", ""]
        lines = [
            f"Compute-optimal frontier: {len(self.compute)} interior minima, compute {self._range()}",
            f"loss   ~ compute^-({self.loss_exponent:.4f}{spread[0]}), second half {self.second_half[0]:.4f}",
            f"width  ~ compute^({self.width_exponent:.4f}{spread[1]}), second half {self.second_half[1]:.4f}",
            self.statement,
        ]
        lines += [f"left out: {count} computes, {why}" for why, count in self.refused.items()]
        lines.append(f"{'compute':>12} {'best width':>12} {'loss':>12}")
        for i in np.unique(np.linspace(0, len(self.compute) - 1, min(6, len(self.compute))).astype(int)):
            lines.append(f"{self.compute[i]:>12.4g} {self.width[i]:>12.5g} {self.loss[i]:>12.5e}")
        return "\n".join(lines)

    __repr__ = __str__

    def _range(self) -> str:
        return f"{self.compute[0]:.3g} to {self.compute[-1]:.3g}"


def frontier(
    widths: Any,
    compute: Any,
    losses: Any,
    irreducible: float = 0.0,
    limit: Any = None,
    tolerance: float = 0.02,
) -> Frontier:
    """The frontier of losses (widths, compute), or (draws, widths, compute), for whatever was trained or predicted.

    `widths` (D,)     sizes of the model, any unit;  `compute` (F,) budgets. NaN marks what was not run
    `irreducible`     subtracted from all losses: what no width and no training removes
    `limit`           asymptotic loss exponent to compare with, `tolerance` within which it counts as reached

    Errors: `BadData` for shapes, signs and losses at or below the irreducible; `Underpowered` for fewer than 4 interior
    minima.

    >>> d, f = np.geomspace(10, 1000, 9), np.geomspace(1e4, 1e6, 9)
    >>> found = frontier(d, f, 1 / d[:, None] + (d[:, None] / f) ** 0.5)  # at the best width d^3 = 4 f
    >>> print(round(found.loss_exponent, 3), round(found.width_exponent, 3))
    0.333 0.334
    """
    width, budget = numbers(widths, "widths", WHERE).ravel(), numbers(compute, "compute", WHERE).ravel()
    table = numbers(losses, "losses", WHERE)
    irreducible, tolerance = number(irreducible, "irreducible", WHERE), number(tolerance, "tolerance", WHERE)
    for name, array in (("widths", width), ("compute", budget)):
        if not (np.isfinite(array).all() and (array > 0).all() and (np.diff(array) > 0).all() and array.size > 2):
            raise BadData(f"{name} {_few(array)}", where=WHERE, remedy="give 3 or more, positive and rising")
    if table.ndim not in (2, 3) or table.shape[-2:] != (len(width), len(budget)):
        expected = f"({len(width)}, {len(budget)})"
        raise BadData(f"losses of shape {table.shape}", where=WHERE, remedy=f"give (widths, compute) = {expected}")
    if limit is not None:
        limit = number(limit, "limit", WHERE)
    low = np.nanmin(table) if np.isfinite(table).any() else np.nan
    if not low > irreducible:
        raise BadData(
            f"a loss of {low:g} against an irreducible {irreducible:g}", where=WHERE, remedy="check the two are alike"
        )
    draws = table - irreducible if table.ndim == 3 else None
    mean = (table.mean(0) if table.ndim == 3 else table) - irreducible
    best, loss, refused = _minima(np.log(width), np.log(np.where(mean > 0, mean, np.nan)))
    inside = np.isfinite(best)
    if inside.sum() < LEAST:
        why = ", ".join(f"{count} {reason}" for reason, count in refused.items())
        raise Underpowered(
            f"{inside.sum()} interior minima at {len(budget)} computes ({why})",
            where=WHERE,
            remedy="widen the range of widths, or the range of compute",
        )
    slopes = _slopes(np.log(budget), best, loss)
    return Frontier(
        compute=budget[inside],
        loss=np.exp(loss[inside]),
        width=np.exp(best[inside]),
        loss_exponent=slopes[0],
        width_exponent=slopes[1],
        second_half=(slopes[2], slopes[3]),
        errors=_jackknife(np.log(width), np.log(budget), draws),
        limit=limit,
        tolerance=tolerance,
        refused=refused,
    )


def _minima(x: np.ndarray, height: np.ndarray) -> tuple[np.ndarray, np.ndarray, dict[str, int]]:
    """Position and height (F,) of the lowest parabola through three neighbours in x; NaN where it is not inside."""
    best, low = np.full((2, height.shape[1]), np.nan)
    refused: dict[str, int] = {}

    def refuse(reason):
        refused[reason] = refused.get(reason, 0) + 1

    for column in range(height.shape[1]):
        known = np.flatnonzero(np.isfinite(height[:, column]))
        if len(known) < 3:
            refuse("fewer than three widths were run")
            continue
        y, place = height[known, column], x[known]
        i = int(np.argmin(y))
        if i in (0, len(known) - 1):
            refuse("the smallest width is best" if i == 0 else "the largest width is best")
            continue
        at = place[i - 1 : i + 2] - place[i]
        curvature, slope, value = np.polyfit(at, y[i - 1 : i + 2], 2)
        if curvature <= 0:  # three equal losses
            refuse("the loss does not depend on the width")
            continue
        best[column] = place[i] - slope / (2 * curvature)
        low[column] = value - slope**2 / (4 * curvature)
    return best, low, refused


def _slopes(log_compute, best, loss) -> tuple[float, float, float, float]:
    """eta and xi over all interior minima, and over the upper half of their range of log compute."""
    inside = np.isfinite(best)
    f, d, y = log_compute[inside], best[inside], loss[inside]
    upper = f >= (f[0] + f[-1]) / 2 - 1e-9
    upper = upper if upper.sum() >= 2 else np.ones_like(upper)
    found = []
    for part in (np.ones_like(upper), upper):
        found += [-float(np.polyfit(f[part], y[part], 1)[0]), float(np.polyfit(f[part], d[part], 1)[0])]
    return found[0], found[1], found[2], found[3]


def _jackknife(x, log_compute, draws) -> tuple[float, float] | None:
    """Standard errors of eta and xi: the mean loss over all draws but one, in turn."""
    if draws is None or len(draws) < 2:
        return None
    total, found = draws.sum(0), []
    for one in draws:
        mean = (total - one) / (len(draws) - 1)
        best, loss, _ = _minima(x, np.log(np.where(mean > 0, mean, np.nan)))
        if np.isfinite(best).sum() < 2:
            return None
        found.append(_slopes(log_compute, best, loss)[:2])
    spread = np.sqrt((len(found) - 1) * np.var(found, axis=0))
    return float(spread[0]), float(spread[1])


def _few(array: np.ndarray) -> str:
    return np.array2string(array, threshold=6, precision=4)
