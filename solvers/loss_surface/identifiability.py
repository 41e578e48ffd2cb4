"""Whether finished runs determine the five constants at all, and if not, which measured number says so.

The one equation: the profile of the floor, with every other constant fitted anew,

    2 [Q(E) - Q(E^)] <psi'>/<psi^2>  ~  chi^2 with one degree of freedom,

gives the floors that the runs allow. Every other check is a distance and the radius within which a law may be read off.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np

from .accuracy import jacobian, sandwich, slopes, spread
from .robust_fit import Centred, fit
from .runs import Runs

DECADES = 1.2  # of N and of D: over less, a power and a straight line are the same
SIDEWAYS = 0.08  # decades: spread of (log N, log D) across the line along which they move together
CONDITION = 1e6  # of the Jacobian in logarithms of all five constants
RELATIVE = 0.5  # half-width of the 90 % interval of an exponent over the exponent
EXPONENTS = (0.01, 3.0)  # no table of trained models and no theory has others
VOCABULARY = 262_144  # tokens of the largest vocabularies in use
SMALLEST_FLOOR = 0.02  # of the smallest loss
SMALLEST_LOSS = 0.02  # nats a token: natural data are nowhere so certain
CHI_SQUARE = 2.7055  # 90 %, one degree of freedom
PLAIN = 1e4  # parameters or tokens: no largest run has fewer, so smaller numbers are in other units
PROFILE = 31


@dataclass(frozen=True, eq=False)
class Profile:
    """The objective with the floor held at `floors` (T,): `rise` (T,) in units of a chi-square, `exponents` (T, 2)."""

    floors: np.ndarray
    rise: np.ndarray
    exponents: np.ndarray

    @property
    def interval(self) -> tuple[float, float]:
        """Floors that rise by less than the 90 % point of chi-square with one degree of freedom."""
        root, best = np.sqrt(self.rise), int(np.argmin(self.rise))
        ends = []
        for side in (slice(best, None, -1), slice(best, None)):
            height, floors = root[side], self.floors[side]
            out = np.flatnonzero(height > np.sqrt(CHI_SQUARE))
            if not len(out):  # never: the profile is open on this side
                ends.append(float(floors[-1]))
                continue
            pair = slice(out[0] - 1, out[0] + 1)
            ends.append(float(np.interp(np.sqrt(CHI_SQUARE), height[pair], floors[pair])))
        return ends[0], ends[1]

    def to_dict(self) -> dict[str, Any]:
        return {
            "floors": self.floors.tolist(),
            "rise": self.rise.tolist(),
            "alpha": self.exponents[:, 0].tolist(),
            "beta": self.exponents[:, 1].tolist(),
            "interval": list(self.interval),
        }


@dataclass(frozen=True)
class Check:
    """One distance against its radius; `hard` ones decide, others are cautions. `reason` reads without the number."""

    name: str
    distance: float
    radius: float
    holds: bool
    reason: str
    hard: bool = True

    def to_dict(self) -> dict[str, Any]:
        return {name: getattr(self, name) for name in ("name", "distance", "radius", "holds", "reason", "hard")}


def _check(name: str, distance, radius, holds, reason: str, hard: bool = True) -> Check:
    return Check(name, float(distance), float(radius), bool(holds), reason, hard)


@dataclass(frozen=True, eq=False)
class Verdict:
    """Whether a table determines the law: every check, the profile of E, and singular values of the Jacobian."""

    checks: tuple[Check, ...]
    profile: Profile
    singular_values: np.ndarray
    vocabulary: float | None

    @property
    def identifiable(self) -> bool:
        """Whether every check that decides holds."""
        return not self.reasons

    @property
    def reasons(self) -> tuple[str, ...]:
        """Why the law is not identifiable; empty if it is."""
        return tuple(check.reason for check in self.checks if check.hard and not check.holds)

    @property
    def cautions(self) -> tuple[str, ...]:
        """What does not forbid reading the constants but should be known."""
        return tuple(check.reason for check in self.checks if not check.hard and not check.holds)

    def __str__(self) -> str:
        told = f"not identifiable: {'; '.join(self.reasons)}" if self.reasons else "identifiable"
        return told + (f"\ncaution: {'; '.join(self.cautions)}" if self.cautions else "")

    def to_dict(self) -> dict[str, Any]:
        return {
            "verdict": "identifiable" if self.identifiable else "not identifiable",
            "reasons": list(self.reasons),
            "cautions": list(self.cautions),
            "checks": [check.to_dict() for check in self.checks],
            "singular_values": self.singular_values.tolist(),
            "profile": self.profile.to_dict(),
        }


def verdict(
    table: Runs,
    design: Centred,
    theta: np.ndarray,
    residual: np.ndarray,
    delta: float,
    draws: np.ndarray,
    vocabulary: float | None = None,
) -> Verdict:
    """All checks of a fit `theta` (5,) with its residuals (runs,) and bootstrap draws (repeats, 5)."""
    found = profile(table, design, theta, residual, delta)
    singular = singular_values(theta, design)
    checks = (
        *_of_sizes(design),
        *_of_loss(table, design, residual, vocabulary),
        *_of_exponents(theta, draws),
        _of_condition(singular),
        *_of_floor(table, theta, found, vocabulary),
        *_of_terms(design, theta, residual),
    )
    return Verdict(checks, found, singular, vocabulary)


def profile(
    table: Runs, design: Centred, theta: np.ndarray, residual: np.ndarray, delta: float, points: int = PROFILE
) -> Profile:
    """Fit the other four constants with E held at values from nearly 0 up to the smallest loss."""
    log_loss, weight = np.log(table.loss), np.ones(len(table))
    smallest = float(table.loss.min())
    floor = float(np.exp(theta[0]))
    variance = float(sandwich(theta, design, residual, delta)[0, 0])
    error = floor * np.sqrt(variance)
    near = floor + np.linspace(-4, 4, points) * min(error, smallest)
    free = np.concatenate([np.linspace(1e-4, 1.0, points) * smallest, near, [floor]])
    free = np.unique(free[(free >= min(1e-4 * smallest, floor)) & (free <= max(smallest, floor))])
    start = np.repeat(theta[None], len(free), 0)
    start[:, 0] = np.log(free)
    room = np.log(np.maximum(floor + np.exp(theta[1:3]).sum() - free, 0.02 * smallest))
    split = theta[1:3] - np.log(np.exp(theta[1:3]).sum())
    start[:, 1:3] = room[:, None] + split
    made, value = _held(design, log_loss, weight, start, delta)
    for shift in (1, -1, 1, -1):  # from a neighbour's fit, in case the jump from the minimum was too far
        near = np.roll(made, shift, axis=0)
        near[:, 0] = np.log(free)
        again, other = _held(design, log_loss, weight, near, delta)
        better = other < value
        made[better], value[better] = again[better], other[better]
    square, slope = slopes(residual, delta)
    # in units of the variance that E has where noise is not even
    j = jacobian(theta, design)
    even = np.linalg.pinv(j.T @ j, rcond=1e-14)[0, 0] * square / slope**2
    rise = 2 * (value - value.min()) * slope / max(square, 1e-300) * min(even / max(variance, 1e-300), 1.0)
    return Profile(free, np.maximum(rise, 0.0), made[:, 3:])


def _held(design, log_loss, weight, start, delta):
    made, value, _ = fit(design, log_loss, weight, start, delta=delta, steps=100, tolerance=1e-10, frozen=(0,))
    return made, value


def singular_values(theta: np.ndarray, design: Centred) -> np.ndarray:
    """Of the derivatives of log L by the logarithms of E, A, B, alpha, beta (not centred), largest first."""
    j = jacobian(theta, design)
    alpha, beta = theta[3:]
    plain = j.copy()
    plain[:, 3] = (j[:, 3] - j[:, 1] * design.centre[0]) * alpha
    plain[:, 4] = (j[:, 4] - j[:, 2] * design.centre[1]) * beta
    return np.linalg.svd(plain, compute_uv=False)


def _of_sizes(design: Centred) -> list[Check]:
    made = []
    for name, letter, logs in (("parameters", "N", design.x), ("tokens", "D", design.y)):
        wide = float(np.ptp(logs) / np.log(10))
        text = f"{name} span {wide:.2f} decades, less than {DECADES:g}: run smaller or larger {letter}"
        made.append(_check(f"decades of {letter}", wide, DECADES, wide > DECADES, text))
    across = float(np.linalg.svd(np.stack([design.x, design.y]), compute_uv=False)[-1] / np.sqrt(len(design.x)))
    across /= np.log(10)
    text = (
        f"parameters and tokens move together (spread {across:.2f} decades across their line): vary one at fixed other"
    )
    made.append(_check("N apart from D", across, SIDEWAYS, across > SIDEWAYS, text))
    count = len(design.x)
    made.append(_check("runs", count, 20, count >= 20, f"only {count} runs: intervals are rough", hard=False))
    return made


def _of_loss(table: Runs, design: Centred, residual: np.ndarray, vocabulary: float | None) -> list[Check]:
    bound = float(np.log(vocabulary or VOCABULARY))
    highest = float(table.loss.max())
    of = f"{vocabulary:g} tokens" if vocabulary else "any vocabulary in use"
    text = f"a loss of {highest:.4g} is above {bound:.3g}, what knowing nothing of {of} costs: no cross-entropy in nats"
    made = [_check("loss below log vocabulary", highest, bound, highest <= bound, text)]
    lowest, least = float(table.loss.min()), 0.0 if vocabulary == np.inf else SMALLEST_LOSS
    text = f"a loss of {lowest:.2g} is below {least:g} nats: no cross-entropy of natural data (vocabulary=inf takes it)"
    made.append(_check("loss of a cross-entropy", lowest, least, lowest > least, text))
    logs = np.log(table.loss)
    columns = np.stack([np.ones(len(logs)), design.x, design.y], 1)
    found, *_ = np.linalg.lstsq(columns, logs, rcond=None)
    left = logs - columns @ found
    errors = np.sqrt(np.diag(np.linalg.pinv(columns.T @ columns)) * (left @ left) / max(len(logs) - 3, 1))
    for name, column in (("parameters", table.parameters), ("tokens", table.tokens)):
        largest = float(column.max())
        text = f"{name} are {largest:.3g} at most: compute 6 N D needs plain numbers, not millions or billions"
        made.append(_check(f"{name} in plain numbers", largest, PLAIN, largest > PLAIN, text, hard=False))
    for letter, name, slope, error in zip("ND", ("parameters", "tokens"), found[1:], errors[1:], strict=True):
        rises = slope > 2 * error
        text = f"the loss rises with {name} (slope {slope:+.2g}), as no cross-entropy of trained models does"
        made.append(_check(f"loss falls with {letter}", float(slope), 0.0, not rises, text))
    noise = spread(residual) / max(float(logs.std()), 1e-300)
    text = f"noise is {noise:.0%} of the spread of log losses: there is hardly a trend"
    made.append(_check("trend above noise", noise, 0.5, noise <= 0.5, text))
    return made


def _of_exponents(theta: np.ndarray, draws: np.ndarray) -> list[Check]:
    made = []
    for place, name in ((3, "alpha"), (4, "beta")):
        value = float(theta[place])
        low, high = EXPONENTS
        text = f"{name} = {value:.3g} is outside {low:g} to {high:g}: no power law, or no cross-entropy"
        made.append(_check(f"{name} in range", value, high, low <= value <= high, text))
        ends = np.quantile(draws[:, place], (0.05, 0.95))
        half = float(np.diff(ends)[0] / 2 / max(abs(value), 1e-300))
        text = f"{name} = {value:.3g} is known to +- {half:.0%} only"
        made.append(_check(f"{name} resolved", half, RELATIVE, half <= RELATIVE, text))
    return made


def _of_condition(singular: np.ndarray) -> Check:
    condition = float(singular[0] / max(singular[-1], 1e-300))
    text = f"the Jacobian has condition {condition:.1g}, above {CONDITION:.0g}: constants trade against one another"
    return _check("condition", condition, CONDITION, condition <= CONDITION, text)


def _of_floor(table: Runs, theta: np.ndarray, found: Profile, vocabulary: float | None) -> list[Check]:
    floor, smallest = float(np.exp(theta[0])), float(table.loss.min())
    low, high = found.interval
    share = floor / smallest
    least = found.floors[0]
    wide = (high - low) / smallest
    return [
        _check(
            "floor above zero",
            share,
            SMALLEST_FLOOR,
            share > SMALLEST_FLOOR or vocabulary == np.inf,
            f"E = {floor:.2g} is next to 0, but a cross-entropy has a floor: runs do not reach it, or it is none",
        ),
        _check(
            "floor below the losses",
            share,
            1.0,
            share < 1.0,
            f"E = {floor:.4g} is not below the smallest loss {smallest:.4g}",
        ),
        _check(
            "profile of E curved", wide, 0.9, wide < 0.9, f"the profile of E is flat: {low:.3g} to {high:.3g} all fit"
        ),
        _check(
            "floor resolved",
            low,
            least,
            low > least,
            f"floors down to 0 fit as well (up to {high:.3g}), and the exponents move with them",
            hard=False,
        ),
    ]


def _of_terms(design: Centred, theta: np.ndarray, residual: np.ndarray) -> list[Check]:
    """Each term must vary over the runs by more than the noise of a mean."""
    j = jacobian(theta, design)
    noise = spread(residual) / np.sqrt(len(residual))
    made = []
    for place, letter in ((1, "A N^-alpha"), (2, "B D^-beta")):
        moves = float(np.ptp(j[:, place]))
        text = f"the term {letter} changes the loss by {moves:.1g} over all runs, within the noise"
        made.append(_check(f"{letter} seen", moves, 3 * noise, moves > 3 * noise, text))
    return made
