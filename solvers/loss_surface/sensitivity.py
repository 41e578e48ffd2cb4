"""What a fit owes to single runs, and whether it would have foreseen the largest ones.

The one equation: every question is another vector of counts in the same sum,

    sum_i c_i Huber(r_i),     c_i = 0 for what is left out,

so that dropping k runs, dropping each run in turn and fitting the smaller runs only are one batch of fits.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from ...theory.arguments import number, numbers, whole
from ...theory.errors import BadData
from ...theory.loss_surface.law import NAMES
from .accuracy import interval, jacobian, quantile_of, spread
from .robust_fit import Centred, centred, fit, predicted
from .runs import FEWEST, WHERE, Runs
from .starts import starts
from .surface_fit import CHUNK, LossSurface, bootstrapped, constants, law, point

DROPS = (0, 1, 2, 3, 5, 8, 12, 20)
HELD_OUT = (3.0, 10.0, 30.0)  # runs within this factor of the largest compute are to be foreseen
FEWEST_HELD = 3
MOST = 500  # runs that are left out in turn


@dataclass(frozen=True, eq=False)
class Sensitivity:
    """Constants without the k runs of highest loss, and without each run in turn.

    Runs are counted as given, those that the fit dropped included; a dropped one has no influence.
    `drops` (K,) and `constants` (K, 5): E, A, B, alpha, beta.  `without` (runs, 5): the same without run i, for the
    500 runs that matter most.
    `influence` (runs, 2): change of alpha and beta in their standard errors.
    """

    drops: tuple[int, ...]
    constants: np.ndarray
    without: np.ndarray
    influence: np.ndarray
    errors: np.ndarray

    @property
    def order(self) -> np.ndarray:
        """Runs by influence on either exponent, the most influential first."""
        return np.argsort(-np.abs(self.influence).max(1), kind="stable")

    @property
    def range(self) -> np.ndarray:
        """Largest minus smallest of each constant over the drops, in standard errors (5,)."""
        return np.ptp(self.constants, axis=0) / self.errors

    def __str__(self) -> str:
        head = f"{'dropped':>8}" + "".join(f"{name:>11}" for name in NAMES)
        rows = [
            f"{k:8d}" + "".join(f"{v:11.5g}" for v in row) for k, row in zip(self.drops, self.constants, strict=True)
        ]
        most = ", ".join(
            f"run {i} (alpha {self.influence[i, 0]:+.2f}, beta {self.influence[i, 1]:+.2f} s.e.)"
            for i in self.order[:3]
        )
        moved = self.range[3:]
        told = f"over these drops alpha moves by {moved[0]:.1f} and beta by {moved[1]:.1f} of their standard errors"
        return "\n".join(["runs of highest loss", head, *rows, told, f"left out alone, most is moved by {most}"])

    def to_dict(self) -> dict[str, Any]:
        return {
            "drops": [
                {"dropped": k, **dict(zip(NAMES, map(float, row), strict=True))}
                for k, row in zip(self.drops, self.constants, strict=True)
            ],
            "moved_in_standard_errors": dict(zip(NAMES, map(float, self.range), strict=True)),
            "most_influential": [
                {"run": int(i), "alpha": float(self.influence[i, 0]), "beta": float(self.influence[i, 1])}
                for i in self.order[:10]
            ],
        }


def sensitivity(found: LossSurface, drops: Sequence[int] = DROPS) -> Sensitivity:
    """Constants after dropping more runs of highest loss, and each run in turn; drops that leave too few are skipped.

    Raises `BadData` for drops that are no whole numbers, or if none leaves enough.

    >>> from .surface_fit import fit_loss_surface
    >>> n, d = (axis.ravel() for axis in np.meshgrid(np.geomspace(1e7, 1e10, 6), np.geomspace(1e9, 1e12, 6)))
    >>> loss = 1.8 + 480 * n**-0.35 + 2000 * d**-0.37
    >>> loss[0] *= 1.2
    >>> int(sensitivity(fit_loss_surface(n, d, loss, bootstrap=100)).order[0])
    0
    """
    table = found.given
    design = centred(table.parameters, table.tokens, found.design.centre)
    kept = tuple(k for k in (whole(k, "drops", WHERE) for k in drops) if len(table) - k >= FEWEST)
    if not kept:
        raise BadData(f"no drop leaves {FEWEST} runs", where=WHERE, remedy="drop fewer, or give more runs")
    counts = np.ones((len(kept), len(table)))
    for row, k in enumerate(kept):
        counts[row, table.highest(k)] = 0.0
    made = np.stack([_again(found, design, row) for row in counts])
    single = _left_out(found, design)
    without = _amplitudes(constants(single, design))
    errors = np.array([max(found.standard_errors[name], 1e-300) for name in NAMES])
    point_ = np.array([found.estimates[name] for name in NAMES])
    influence = ((without - point_) / errors)[:, 3:]
    return Sensitivity(kept, _amplitudes(constants(made, design)), without, influence, errors)


def _left_out(found: LossSurface, design: Centred) -> np.ndarray:
    """Fits (runs, 5) without each run; only the runs that move the linearised fit the most where there are many."""
    table, log_loss = found.given, np.log(found.given.loss)
    fitted = np.ones(len(table))
    fitted[table.highest(found.dropped)] = 0.0
    residual = log_loss - np.log(predicted(found.theta[None], design)[0])
    j = jacobian(found.theta, design)
    pull = j @ np.linalg.pinv(j.T @ j, rcond=1e-14) * np.clip(residual, -found.delta, found.delta)[:, None]
    order = np.argsort(-np.abs(pull[:, 3:]).max(1) * fitted, kind="stable")[:MOST]
    made = np.repeat(found.theta[None], len(table), 0)
    for part in np.array_split(order, max(len(order) * len(table) // CHUNK, 1)):
        others = np.repeat(fitted[None], len(part), 0)
        others[np.arange(len(part)), part] = 0.0
        made[part], _, _ = fit(design, log_loss, others, made[part], delta=found.delta, steps=100, tolerance=1e-10)
    return made


def _again(found: LossSurface, design: Centred, counts: np.ndarray) -> np.ndarray:
    """The best of the fit from the old minimum and from new starts."""
    loss = found.given.loss
    trial = np.concatenate([found.theta[None], starts(design, loss, counts, most=6)])
    made, value, _ = fit(design, np.log(loss), counts, trial, delta=found.delta, steps=300, tolerance=1e-13)
    return made[int(np.argmin(value))]


def _amplitudes(rows: np.ndarray) -> np.ndarray:
    with np.errstate(over="ignore"):
        return np.column_stack([rows[:, 0], np.exp(rows[:, 1:3]), rows[:, 3:]])


@dataclass(frozen=True, eq=False)
class Rollout:
    """Larger runs as foreseen by the smaller ones.

    `factor`    runs with more than largest compute / factor were held out: `held` of them
    `z`         (held,) log of measured over foreseen loss, in standard deviations of law and noise together
    `coverage`  share of them within their 90 % intervals
    `error`     root mean square of log(measured / foreseen)
    """

    factor: float
    used: int
    held: int
    error: float
    bias: float
    coverage: float
    z: np.ndarray
    constants: np.ndarray

    def __str__(self) -> str:
        return (
            f"the {self.held} largest runs (compute within {self.factor:g}x of the largest) from the {self.used} "
            f"others: off by {100 * self.error:.2g} % (mean {100 * self.bias:+.2g} %), {self.coverage:.0%} within 90 % "
            f"intervals, "
            f"alpha {self.constants[3]:.3f}, beta {self.constants[4]:.3f}"
        )

    def to_dict(self) -> dict[str, Any]:
        return {
            "factor": self.factor,
            "used": self.used,
            "held": self.held,
            "error": self.error,
            "bias": self.bias,
            "coverage": self.coverage,
            "largest_z": float(np.abs(self.z).max()),
            "constants": dict(zip(NAMES, map(float, self.constants), strict=True)),
        }


def rollout(
    found: LossSurface, factors: Sequence[float] = HELD_OUT, repeats: int = 400, level: float = 0.9
) -> list[Rollout]:
    """Fit runs of smaller compute, foresee the larger ones, and score them; factors with too few runs are left out.

    Raises `BadData` for factors, repeats and levels that are none.

    >>> from .surface_fit import fit_loss_surface
    >>> n, d = (axis.ravel() for axis in np.meshgrid(np.geomspace(1e7, 1e10, 8), np.geomspace(1e9, 1e12, 8)))
    >>> noise = np.exp(0.005 * np.random.default_rng(0).standard_normal(64))
    >>> made = rollout(fit_loss_surface(n, d, (1.8 + 480 * n**-0.35 + 2000 * d**-0.37) * noise, bootstrap=100))
    >>> [run.held for run in made], bool(made[0].error < 0.02)
    ([3, 6, 10], True)
    """
    table = found.runs
    made: list[Rollout] = []
    repeats = whole(repeats, "repeats", WHERE, least=2)
    if not 0 < number(level, "level", WHERE) < 1:
        raise BadData(f"level {level:g}", where=WHERE, remedy="give one between 0 and 1, say 0.9")
    for factor in np.atleast_1d(numbers(factors, "factors", WHERE)):
        if not factor > 1:
            raise BadData(f"factor {factor:g}", where=WHERE, remedy="give factors above 1")
        held = table.compute > table.compute.max() / factor
        if held.sum() < FEWEST_HELD or (~held).sum() < 2 * FEWEST:
            continue
        if made and made[-1].held == held.sum():
            continue
        made.append(_foreseen(found, table.only(~held), table.only(held), factor, repeats, level))
    return made


def _foreseen(found: LossSurface, small: Runs, large: Runs, factor: float, repeats: int, level: float) -> Rollout:
    design = centred(small.parameters, small.tokens)
    theta, *_ = point(design, small.loss, found.delta)
    log_loss = np.log(small.loss)
    residual = log_loss - np.log(predicted(theta[None], design)[0])
    drawn, _ = bootstrapped(small, design, theta, found.delta, repeats, found.seed)
    rows = constants(drawn, design)
    best = constants(theta[None], design)
    foreseen = np.log(law(best, large.parameters, large.tokens)[0])
    uncertain = np.log(law(rows, large.parameters, large.tokens))
    noise = spread(residual)
    off = np.log(large.loss) - foreseen
    # a new run differs by the error of the law and by a residual like those seen
    generator = np.random.default_rng(found.seed)
    drawn_noise = generator.choice(residual, size=uncertain.shape) * np.sqrt(len(small) / max(len(small) - 5, 1))
    q = quantile_of(level, len(small), found.inside)
    ends = np.array([interval(uncertain[:, i] + drawn_noise[:, i], foreseen[i], q) for i in range(len(large))])
    inside = (ends[:, 0] <= np.log(large.loss)) & (np.log(large.loss) <= ends[:, 1])
    return Rollout(
        float(factor),
        len(small),
        len(large),
        float(np.sqrt((off**2).mean())),
        float(off.mean()),
        float(inside.mean()),
        off / np.sqrt(uncertain.var(0) + noise**2),
        _amplitudes(best)[0],
    )
