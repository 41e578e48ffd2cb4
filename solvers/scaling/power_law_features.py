r"""Power-law random features trained by one-pass SGD: finite-size curves, exact draws, the compute-optimal frontier.

Inputs have v modes with eigenvalues j^-(2 alpha), the target has weights j^-beta, so that its power in mode j is
j^-(2 alpha + 2 beta); d random features are trained. v = `ratio` x d: below 2 alpha = 1 the trace grows with v, and v/d
is part of the problem (4 here); above, it only moves prefactors, and v/d = 4 is kept so that all phases are treated
alike. The learning rate counts in inverse traces of the input covariance: as d^(2 alpha - 1) below 2 alpha = 1.

    three back ends:   .exact(d, seeds)  every draw exactly   .curve(d)  the mean over draws, without a draw, O(1/d)
                       .phase            exponents as d and the compute go to infinity

Reference: Paquette, Paquette, Xiao, Pennington 2024, arXiv:2405.15074.
"""

from collections.abc import Iterable
from dataclasses import asdict, dataclass, fields
from functools import cached_property
from typing import Any

import numpy as np

from ...theory.arguments import number, numbers, whole
from ...theory.errors import BadData, LearningMechanicsError, UnknownName
from ...theory.scaling.power_law_features import power_law
from .frontier import Frontier, frontier
from .one_pass.deterministic_equivalent import equivalent_descent
from .one_pass.random_feature_descent import FeatureDescent, listed_seeds, random_feature_descent

WHERE = "power-law features"
_APART = 1_000_003  # between the seeds of copies
TOLERANCE = 0.02  # of a loss exponent: closer to the limit than this, and than 5 % of it, it counts as reached


@dataclass(frozen=True)
class PowerLawFeatures:
    """Random features of power-law data under one-pass SGD. Losses have the factor 1/2 and include the label noise.

    `alpha`, `beta`    eigenvalues j^-(2 alpha), target weights j^-beta
    `noise`            variance of label noise; `batch` samples a step
    `learning_rate`    in inverse traces of the input covariance; small batches diverge at about 2 x batch
    `momentum`         heavy ball, as in optax.sgd(momentum)
    `ratio`            modes of the input per feature, v/d

    >>> problem = PowerLawFeatures(0.9, 0.6)
    >>> print(problem.curve(200, [0, 10, 1000]).loss.round(3))
    [0.601 0.075 0.001]
    """

    alpha: float
    beta: float
    noise: float = 0.0
    batch: int = 1
    learning_rate: float = 0.5
    momentum: float = 0.0
    ratio: float = 4.0

    def __post_init__(self):
        number(self.alpha, "alpha", WHERE, above=True)
        if not np.isfinite(numbers(self.beta, "beta", WHERE)):
            raise BadData(f"beta {self.beta}", where=WHERE, remedy="give a finite number")
        if not number(self.ratio, "ratio", WHERE) > 1:
            raise BadData(f"ratio {self.ratio}", where=WHERE, remedy="give more than one mode a feature")
        for name in ("noise", "momentum"):
            number(getattr(self, name), name, WHERE)
        number(self.learning_rate, "learning_rate", WHERE, above=True)
        whole(self.batch, "batch", WHERE, least=1)

    @cached_property
    def phase(self) -> Any:
        """The phase of (alpha, beta), with the asymptotic exponents: see `power_law_phase`."""
        from ...theory.scaling.power_law_phases import power_law_phase

        return power_law_phase(self.alpha, self.beta)

    def spectrum(self, width: int) -> tuple[np.ndarray, np.ndarray]:
        """Eigenvalues and target power (v,) of the inputs of a layer of `width` features."""
        return power_law(self.alpha, self.beta, round(self.ratio * whole(width, "width", WHERE, least=1)))

    def rate(self, width: int) -> float:
        """The learning rate in absolute units: `learning_rate` / trace."""
        return self.learning_rate / float(self.spectrum(width)[0].sum())

    def curve(self, width: int, steps: Any, schedule: Any = None) -> FeatureDescent:
        """The mean loss after `steps` (T,), over samples and draws of the features: the deterministic equivalent."""
        return equivalent_descent(*self.spectrum(width), width, steps, **self._training(width, schedule))

    def exact(self, width: int, steps: Any, seeds: int | Iterable[int] = 20, schedule: Any = None) -> FeatureDescent:
        """The mean loss over samples, exact for every one of the `seeds` draws of the features, and their mean."""
        return random_feature_descent(
            *self.spectrum(width), width, steps, seeds=seeds, **self._training(width, schedule)
        )

    def frontier(self, widths: Any, compute: Any = None, seeds: int | Iterable[int] | None = None) -> Frontier:
        """The compute-optimal frontier over `widths` at `compute` = width x batch x steps, and what to believe of it.

        Without `seeds` from the deterministic equivalent, with them from exact draws: as many copies of each seed as
        fit the largest width, for narrow layers scatter more. `compute` is by default a grid whose best widths lie
        among `widths`. The label noise is subtracted. The asymptotic exponent is that of `phase`.
        Errors: `BadData` for widths and for a learning rate that diverges, `Underpowered` for too few interior minima.
        """
        sizes = [whole(width, "width", WHERE, least=1) for width in np.ravel(numbers(widths, "widths", WHERE))]
        grid = self._grid(sizes) if compute is None else numbers(compute, "compute", WHERE).ravel()
        chosen = None if seeds is None else listed_seeds(seeds)
        table = np.full((1 if chosen is None else len(chosen), len(sizes), len(grid)), np.nan)
        for i, width in enumerate(sizes):
            steps = grid / (width * self.batch)
            steps = np.round(steps) if self.momentum else steps
            run = steps >= 1
            if run.any() and chosen is None:
                table[0, i, run] = self._steady(self.curve(width, steps[run])).loss
            elif run.any():
                copies = round(max(sizes) / width)
                draws = [seed + _APART * copy for seed in chosen or [] for copy in range(copies)]
                losses = self._steady(self.exact(width, steps[run], draws)).draws
                table[:, i, run] = losses.reshape(-1, copies, run.sum()).mean(1)
        try:
            limit = float(self.phase.loss_exponent)
        except LearningMechanicsError:  # no power law out there
            limit = None
        losses = table[0] if chosen is None else table
        tolerance = TOLERANCE if limit is None else min(TOLERANCE, 0.05 * limit)
        return frontier(sizes, grid, losses, irreducible=self.noise / 2, limit=limit, tolerance=tolerance)

    def to_dict(self) -> dict:
        return {**asdict(self), "convention": "eigenvalues j^-(2 alpha), target weights j^-beta, loss with 1/2"}

    def __str__(self) -> str:
        try:
            phase: Any = self.phase
            asymptotic = (
                f"phase {phase.name} ({phase.tradeoff}): loss ~ compute^-({phase.loss_exponent}), "
                f"best width ~ compute^({phase.width_exponent})"
            )
        except LearningMechanicsError as error:
            asymptotic = f"no asymptotic law: {error.found}"
        lines = [
            f"Power-law random features: eigenvalues j^-{2 * self.alpha:g}, target weights j^-{self.beta:g}, "
            f"{self.ratio:g} modes a feature",
            f"one-pass SGD: batch {self.batch}, learning rate {self.learning_rate:g} / trace, "
            f"momentum {self.momentum:g}, label noise {self.noise:g}",
            asymptotic,
        ]
        if 2 * self.alpha < 1:
            lines.append("below 2 alpha = 1 asymptotics are not reached at any usual width: trust .curve and .frontier")
        return "\n".join(lines)

    def _training(self, width: int, schedule: Any) -> dict[str, Any]:
        plain = {"batch": self.batch, "noise": self.noise, "momentum": self.momentum}
        return {"learning_rate": self.rate(width), "schedule": schedule, **plain}

    def _steady(self, found: FeatureDescent) -> FeatureDescent:
        """The same, or `BadData` where it diverges: there is no best width then."""
        if not found.stable:
            which = (
                f"{found.diverging} of {len(found.draws)} draws diverge" if len(found.draws) else "the loss diverges"
            )
            most = found.critical_rate / found.learning_rate * self.learning_rate
            remedy = f"give a learning rate below {most:.3g} / trace"
            raise BadData(f"{which} at width {found.width}", where=WHERE, remedy=remedy)
        return found

    def _grid(self, sizes: list[int]) -> np.ndarray:
        """Computes from where the second width beats the first for good to where the last beats the one before it."""
        if len(sizes) < 3 or np.any(np.diff(sizes) <= 0):
            raise BadData(f"widths {sizes}", where=WHERE, remedy="give 3 or more, rising")
        crossings = []
        for small, large in ((sizes[0], sizes[1]), (sizes[-2], sizes[-1])):
            grid = np.geomspace(10 * large * self.batch, 1e14 * large * self.batch, 400)
            losses = []
            for width in (small, large):
                steps = grid / (width * self.batch)
                losses.append(self._steady(self.curve(width, np.round(steps) if self.momentum else steps)).loss)
            worse = np.flatnonzero(losses[1] >= losses[0])  # early on, wider may be better for a while
            crossings.append(grid[min(worse[-1] + 1, len(grid) - 1)] if worse.size else grid[0])
        low, high = crossings
        return np.geomspace(low, max(high, 2 * low), 60)


def power_law_features(alpha: float, beta: float, **settings: Any) -> PowerLawFeatures:
    """Power-law random features at (alpha, beta); settings are the fields of `PowerLawFeatures`.

    Errors: `BadData` for their values, `UnknownName` for other settings.

    >>> print(str(power_law_features(1.0, 0.75).exact(50, [0, 100], seeds=2)).splitlines()[0])
    One-pass SGD on 50 random features of 200 modes: exact mean over samples, 2 draws of the features
    """
    known = [field.name for field in fields(PowerLawFeatures)][2:]
    for name in settings:
        if name not in known:
            raise UnknownName.among(name, known, kind="setting", where=WHERE)
    return PowerLawFeatures(alpha, beta, **settings)
