"""Loss along one axis, L = E + A x^-s, with the floor free: only where it can be told from the slope.

The one equation: with the term of the second axis held at nothing, a curve is a surface with three unknowns,

    log E, log A, s  free;     B = 0.

Points along one trajectory are not independent: name them by `groups`, and whole groups are drawn.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from ...theory.arguments import number, whole
from ...theory.errors import BadData, OutsideDomain
from .accuracy import interval, quantile_of
from .robust_fit import centred, fit, predicted
from .runs import WHERE, checked_seed, runs
from .starts import EXPONENTS

DECADES = 2.0
FEWEST = 5
NAMES = ("E", "A", "exponent")


@dataclass(frozen=True, eq=False)
class LossCurve:
    """A fitted curve: `estimates` and `standard_errors` by name (E, A, exponent), `draws` (repeats, 3) with log A."""

    estimates: dict[str, float]
    standard_errors: dict[str, float]
    draws: np.ndarray
    objective: float
    inside: float
    points: int
    decades: float

    @property
    def correlation(self) -> float:
        """Of the floor and the exponent over the bootstrap: what one gains the other loses."""
        floor, exponent = self.draws[:, 0], self.draws[:, 2]
        if not (np.ptp(floor) > 0 and np.ptp(exponent) > 0):  # all samples give the same law
            return 0.0
        return float(np.corrcoef(floor, exponent)[0, 1])

    def intervals(self, level: float = 0.9) -> dict[str, tuple[float, float]]:
        """Bias-corrected bootstrap intervals."""
        if not 0 < number(level, "level", WHERE) < 1:
            raise BadData(f"level {level}", where=WHERE, remedy="give one between 0 and 1, say 0.9")
        q = quantile_of(level, self.points, self.inside)
        columns = (self.draws[:, 0], np.exp(self.draws[:, 1]), self.draws[:, 2])
        return {name: interval(draws, self.estimates[name], q) for name, draws in zip(NAMES, columns, strict=True)}

    def __str__(self) -> str:
        ends = self.intervals()
        told = [f"{name} = {self.estimates[name]:.4g} ({ends[name][0]:.4g} to {ends[name][1]:.4g})" for name in NAMES]
        return (
            f"L = E + A x^-s over {self.decades:.1f} decades: {', '.join(told)}; corr(E, s) = {self.correlation:+.2f}"
        )

    def to_dict(self) -> dict[str, Any]:
        return {
            "estimates": dict(self.estimates),
            "standard_errors": dict(self.standard_errors),
            "intervals": {name: list(ends) for name, ends in self.intervals().items()},
            "correlation_of_E_and_exponent": self.correlation,
            "decades": self.decades,
            "points": self.points,
        }


def fit_loss_curve(
    axis: Any,
    loss: Any,
    *,
    delta: float = 1e-3,
    bootstrap: int = 1000,
    seed: int = 0,
    groups: Sequence | np.ndarray | None = None,
    progress: Callable[[float], None] | None = None,
) -> LossCurve:
    """Fit L = E + A x^-s to losses (points,) along `axis` (points,): samples, parameters, steps or compute.

    Raises `OutsideDomain` over less than two decades, `BadData` for what cannot be fitted.

    >>> x = np.geomspace(1e3, 1e6, 13)
    >>> made = fit_loss_curve(x, 0.5 + 3 * x**-0.4, bootstrap=100)
    >>> round(made.estimates["E"], 6), round(made.estimates["exponent"], 6)
    (0.5, 0.4)
    >>> fit_loss_curve(x[:5], 0.5 + 3 * x[:5] ** -0.4)
    Traceback (most recent call last):
    ...
    learning_mechanics.theory.errors.OutsideDomain: loss curve: 1.00 decades of the axis cannot tell a floor from a \
slope; give at least 2
    """
    table = runs(axis, np.ones(np.size(axis)), loss, groups, where="loss curve")
    wide = float(np.ptp(np.log10(table.parameters))) if len(table) else 0.0
    different = len(np.unique(table.parameters))
    if different < FEWEST:
        raise BadData(f"{different} places on the axis", where="loss curve", remedy=f"give at least {FEWEST}")
    if wide < DECADES - 1e-9:
        raise OutsideDomain(
            f"{wide:.2f} decades of the axis cannot tell a floor from a slope",
            where="loss curve",
            remedy=f"give at least {DECADES:g}",
        )
    if not np.ptp(table.loss) > 0:
        raise BadData(f"every loss is {table.loss[0]:g}", where="loss curve", remedy="check that column")
    repeats = whole(bootstrap, "bootstrap", WHERE, least=100)
    cut = number(delta, "delta", WHERE, above=True, infinite=True)
    design, log_loss = centred(table.parameters, table.tokens), np.log(table.loss)
    smallest = table.loss.min()
    nothing = np.log(smallest) - 60.0
    start = np.array(
        [
            [
                np.log(share * smallest),
                np.log(table.loss.mean() - share * smallest),
                nothing,
                s,
                0.0,
            ]
            for share in (0.01, 0.5, 0.9)
            for s in EXPONENTS[::2]
        ]
    )
    held: dict[str, Any] = {"delta": cut, "frozen": (2, 4)}
    made, value, _ = fit(design, log_loss, np.ones(len(table)), start, steps=300, tolerance=1e-14, **held)
    theta = made[int(np.argmin(value))]
    counts = table.counts(repeats, checked_seed(seed, "loss curve"))
    drawn, _, _ = fit(design, log_loss, counts, np.repeat(theta[None], repeats, 0), tolerance=1e-9, **held)
    if progress is not None:
        progress(1.0)
    rows = np.stack([np.exp(drawn[:, 0]), drawn[:, 1] + drawn[:, 3] * design.centre[0], drawn[:, 3]], 1)
    best = (np.exp(theta[0]), np.exp(theta[1] + theta[3] * design.centre[0]), theta[3])
    errors = (rows[:, 0].std(ddof=1), np.exp(rows[:, 1]).std(ddof=1), rows[:, 2].std(ddof=1))
    residual = log_loss - np.log(predicted(theta[None], design)[0])
    return LossCurve(
        dict(zip(NAMES, map(float, best), strict=True)),
        dict(zip(NAMES, map(float, errors), strict=True)),
        rows,
        float(value.min()),
        float((np.abs(residual) <= cut).mean()),
        len(table),
        wide,
    )
