"""The judge: is the claim refuted, does it hold, or could these data not tell?

The one rule, for every kind of claim, with z set so that a whole report raises a false alarm in at most 1 % of cases:

    holds    iff  |bias| + z se <= budget everywhere, and the rival is refuted on the same data
    refuted  iff  |bias| - z se >  budget anywhere
    underpowered otherwise; outside_domain if an assumption of the prediction does not hold.

Scattering claims are judged by their mean over seeds, deterministic ones by their worst seed (se = 0).
"""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from ...theory.claims import Claim, Converges, Scales, Threshold
from ...theory.errors import BadData
from .residuals import Comparison, compare, log_slopes, prepare, scale_of, summarised
from .statistics import critical_value, jackknife, local_slopes, log_slope
from .verdict import Verdict

CLAIMS_IN_A_REPORT = 40
SHARE_OF_EDGE = 0.97  # a run whose maximum stays below this share of the prediction never reached it
NEEDED_ERRORS = 6.0  # the gap to the rival, in standard errors: a limit near 4.5 plus 95 % power


@dataclass(frozen=True)
class Finding:
    """What comparing one law with the measurement gave, before the rival is looked at."""

    comparison: Comparison
    outcome: str
    notes: tuple[str, ...]
    numbers: Mapping[str, Any]
    slope: float | None = None
    order: float | None = None


def judge(claim: Claim, prediction, rival, measurement, *, comparisons: int | None = None, theory: str = "") -> Verdict:
    """Judge `measurement.values` (R, A, T, C) against `prediction.values` (I, A, T, C), I = 1 or R.

    `comparisons` counts the judged points of the whole report; by default this claim's points times 40 claims.

    >>> from types import SimpleNamespace as Record
    >>> from learning_mechanics.theory.claims import Equals
    >>> claim = Equals("loss", "", "loss", None, None, None, relative="point", budget={"solver": 1e-6})
    >>> curve = np.exp(-np.arange(4.0)).reshape(1, 1, 4, 1)
    >>> record = lambda values: Record(values=values, abscissa=np.arange(4.0)[None])
    >>> judge(claim, record(curve), record(2 * curve), record(curve * (1 + 1e-9))).outcome
    'holds'
    >>> judge(claim, record(curve), record(2 * curve), record(1.01 * curve)).outcome
    'refuted'
    >>> judge(claim, record(curve), record(curve), record(curve)).outcome
    'underpowered'
    """
    assess = _KINDS.get(type(claim), _equals)
    law = assess(claim, prediction, prediction, measurement, comparisons)
    other = assess(claim, rival, prediction, measurement, comparisons) if rival is not None else None
    outcome, notes = law.outcome, list(law.notes)
    rival_name = (getattr(claim.rival, "name", "") or "rival") if other else ""
    if outcome == "holds" and (other is None or other.outcome != "refuted"):
        outcome = "underpowered"
        notes.append(
            f"the law fits, but so may its rival ({rival_name})"
            if other
            else "no rival was given, so nothing was told apart"
        )
    outside = outside_domain(claim, prediction, measurement)
    if outside:
        outcome = "outside_domain"
        notes.extend(outside)
    comparison, numbers = law.comparison, dict(law.numbers)
    if other is not None and claim.stochastic and comparison.seeds > 1:
        numbers["seeds_needed"] = _seeds(other.comparison, law.comparison)
        if outcome == "underpowered":
            notes.extend(_more_seeds(law.comparison, other, numbers["seeds_needed"]))
    worst = comparison.worst
    return Verdict(
        theory=theory,
        claim=claim.name,
        statement=claim.statement,
        outcome=outcome,
        expected=claim.expected,
        bias=float(comparison.bias[worst]),
        standard_error=float(comparison.error[worst]),
        z=comparison.z,
        critical_z=comparison.critical if claim.stochastic else 0.0,
        comparisons=comparisons or comparison.bias.size * CLAIMS_IN_A_REPORT,
        budget=_budget(claim, float(comparison.allowed[worst])),
        resolution=comparison.resolution,
        unit=_unit(claim),
        slope=law.slope,
        order=law.order,
        rival=rival_name,
        rival_outcome=other.outcome if other else "",
        rival_bias=float(other.comparison.bias[other.comparison.furthest]) if other else math.nan,
        rival_home=claim.rival_home,
        forecast_hash=getattr(prediction, "hash", ""),
        rival_hash=getattr(rival, "hash", ""),
        device=str(getattr(measurement, "device", "")),
        dtype=str(getattr(measurement, "dtype", "")),
        precision=str(getattr(measurement, "precision", "")),
        seeds=tuple(int(seed) for seed in getattr(measurement, "seeds", ())),
        seconds=float(getattr(measurement, "seconds", 0.0)),
        notes=tuple(notes),
        numbers={
            **numbers,
            "points": comparison.bias.size,
            "median": float(np.median(np.abs(comparison.bias))),
            "largest": float(np.max(np.abs(comparison.bias))),
            "worst_at": comparison.where,
            "rival": dict(other.numbers) if other else {},
        },
    )


def seeds_needed(
    prediction, rival, scatter, *, budget: float = 0.0, relative: str = "point", share: float = 0.25
) -> int | None:
    """Seeds after which the predicted gap to the rival exceeds the budget by 6 standard errors; None if it never does.

    `scatter` is the standard deviation of one seed in the claim's units, known or estimated before training. The gap
    is seen at a `share` of the points where it is open; at 0 the clearest point decides, for a scatter that is known.

    >>> from types import SimpleNamespace as Record
    >>> law, rival = Record(values=np.ones((1, 1, 1, 1))), Record(values=np.full((1, 1, 1, 1), 1.5))
    >>> seeds_needed(law, rival, scatter=1.0, budget=0.25)
    576
    >>> seeds_needed(law, rival, scatter=1.0, budget=0.5) is None
    True
    """
    gap = np.abs(rival.values - prediction.values) / _positive(scale_of(prediction.values, relative))
    return _enough(gap.mean(0).ravel() - budget, np.asarray(scatter, float), share)


def outside_domain(claim: Claim, prediction, measurement) -> list[str]:
    """Reasons why the prediction does not apply here: assumptions beyond their radius, a regime never reached."""
    reasons = []
    for assumption in getattr(prediction, "assumptions", None) or ():
        holds = assumption.get("holds")
        if holds is not None and not holds:
            reasons.append(
                f"{assumption.get('name', 'assumption')}: distance {assumption.get('distance'):.2g} "
                f"exceeds {assumption.get('radius'):.2g}"
            )
    if claim.options.get("domain") == "reaches_prediction":
        reached = np.nanmax(measurement.values, axis=2) / prediction.values.max(axis=2)
        if np.min(reached) < SHARE_OF_EDGE:
            reasons.append(f"the regime was never reached: a run's maximum is {np.min(reached):.2f} of the prediction")
    return reasons


def _equals(claim, prediction, law, measurement, comparisons) -> Finding:
    points = prepare(claim, prediction, law, measurement)
    comparison = compare(claim, *points, critical=_critical(claim, points.residual.shape, comparisons))
    return Finding(comparison, comparison.outcome, comparison.notes, {})


def _threshold(claim, prediction, law, measurement, comparisons) -> Finding:
    """Growth factors per step: below one decays, above one grows, and both agree with the law within the budget."""
    finding = _equals(claim, prediction, law, measurement, comparisons)
    measured, predicted = (np.abs(summarised(claim, record.values)) for record in (measurement, prediction))
    wrong = (measured > 1) != (predicted > 1)
    if prediction is law:
        wrong = wrong | ((measured > 1) != (np.asarray(claim.values) > 1)[:, None, None])
    numbers = {"growth_factors": measured.mean(0).tolist(), "predicted_growth_factors": predicted.mean(0).tolist()}
    if not wrong.any():
        return Finding(finding.comparison, finding.outcome, finding.notes, numbers)
    place = np.argwhere(np.broadcast_to(wrong, np.broadcast_shapes(wrong.shape, measured.shape)))[0]
    note = f"at setting {place[1]} growth or decay came out on the wrong side"
    return Finding(finding.comparison, "refuted", (*finding.notes, note), numbers)


def _converges(claim: Converges, prediction, law, measurement, comparisons) -> Finding:
    """Local slopes of the error towards the limit: the last may miss the order by as much as it still moves.

    Where seeds scatter, the slope over the whole axis is judged instead, of the mean error, with its jackknife error.
    """
    residual = prepare(claim, prediction, law, measurement, flat=False).residual
    error = np.abs(residual).max(axis=(2, 3))
    towards = np.argsort(np.asarray(claim.values, float) * (-1 if claim.order > 0 else 1))
    axis, error = np.asarray(claim.values, float)[towards], error[:, towards]
    curves = error.mean(0, keepdims=True) if claim.stochastic else error
    numbers = {"axis": axis.tolist(), "errors": curves.mean(0).tolist()}
    if len(axis) < 2 or not (np.isfinite(curves) & (curves > 0)).all():
        reached_zero = len(axis) >= 2 and np.isfinite(curves).all()
        outcome = "underpowered" if reached_zero or len(axis) < 2 else "refuted"
        note = "the error is exactly zero somewhere: no slope" if reached_zero else "no slope: an error is not finite"
        return Finding(Comparison.empty(claim), outcome, (note,), numbers, order=claim.order)
    slopes = local_slopes(axis, curves)
    last, previous = slopes[:, -1], slopes[:, -2] if len(axis) > 2 else slopes[:, -1]
    drift, spread, measured = np.abs(last - previous), 0.0, last
    if claim.stochastic:
        measured = log_slope(axis, curves)
        spread = float(jackknife(lambda e: log_slope(axis, e.mean(0)), error))
    miss = measured - claim.order
    # slopes that still move by more than a quarter of the order are no evidence for it
    allowed = np.maximum(claim.tolerance, np.minimum(drift, abs(claim.order) / 4))
    comparison = Comparison(
        bias=miss,
        error=np.full(miss.shape, spread),
        allowed=allowed,
        leverage=np.ones(miss.shape),
        critical=_critical(claim, (len(error), 1), comparisons),
        seeds=len(error),
        additive=True,
    ).decisive()
    # an error that has grown over the whole axis contradicts the order, whatever its slopes still do
    approaching = (np.abs(miss) < np.abs(previous - claim.order)) & (error[:, -1] < error[:, 0])
    outcome = "holds" if not comparison.refuted else "refuted"
    notes: tuple[str, ...] = ()
    if comparison.refuted and (approaching & (drift > abs(claim.order) / 4)).all():
        outcome, notes = "underpowered", ("the local slopes still move: go closer to the limit",)
    if outcome == "holds" and 2 * comparison.resolution >= abs(claim.order):
        outcome, notes = "underpowered", ("the order is not told from zero",)
    numbers |= {"slopes": slopes.mean(0).tolist()}
    return Finding(comparison, outcome, notes, numbers, slope=float(measured.mean()), order=claim.order)


def _scales(claim: Scales, prediction, law, measurement, comparisons) -> Finding:
    """Log-log slopes over the window: per seed where each seed has its own forecast, else of the mean over seeds."""
    measured, naive = log_slopes(claim, measurement.values, measurement)
    own, _ = log_slopes(claim, prediction.values, measurement)
    told = getattr(prediction, "slope", None)
    predicted = own if told is None else np.broadcast_to(_entries(told, own), own.shape)
    stated = [getattr(record, "slope_error", None) or 0.0 for record in (prediction, law)]
    half_width = np.maximum(*(_entries(error, own) for error in stated))  # a rival gets at least the room of the law
    allowed = np.broadcast_to(sum(claim.budget.values()) + half_width, predicted.shape)
    numbers = {"three_smallest": float(np.nanmean(naive)), "slope_of_one_seed": _spread(measured)}
    critical = _critical(claim, measured.shape, comparisons)
    slope = measured
    if claim.stochastic and len(predicted) == 1 and len(measured) > 1:
        # one forecast for all seeds: the slope of the mean curve (the mean of noisy logarithms would be biased)
        mean_slope = lambda values: log_slopes(claim, values.mean(0, keepdims=True), measurement)[0][0]  # noqa: E731
        slope = mean_slope(measurement.values)
        bias = slope - predicted[0]
        spread = jackknife(mean_slope, measurement.values)
        comparison = Comparison(
            bias.ravel(), spread.ravel(), allowed[0].ravel(), np.ones(bias.size), critical, len(measured), additive=True
        )
    else:
        residual = (measured - predicted).reshape(len(measured), -1)
        ones = np.ones_like(residual)
        allowance = np.broadcast_to(allowed.reshape(len(allowed), -1), ones.shape)
        comparison = replace(compare(claim, residual, ones, allowance, None, critical=critical), additive=True)
    inside = np.abs(measured - predicted) <= half_width
    numbers["coverage"] = float(inside.mean()) if np.any(half_width) else None
    return Finding(
        comparison,
        comparison.outcome,
        comparison.notes,
        numbers,
        slope=float(np.mean(slope)),
        order=float(np.mean(predicted)),
    )


_KINDS: dict[type, Callable[..., Finding]] = {Converges: _converges, Scales: _scales, Threshold: _threshold}


def _critical(claim: Claim, shape: tuple[int, ...], comparisons: int | None) -> float:
    if not claim.stochastic:
        return 0.0
    seeds, points = shape[0], int(np.prod(shape[1:]))
    return critical_value(comparisons or points * CLAIMS_IN_A_REPORT, seeds)


def _budget(claim: Claim, allowed: float) -> dict[str, float]:
    parts = {name: float(part) for name, part in getattr(claim, "budget", {}).items()}
    rest = allowed - sum(parts.values())
    if isinstance(claim, Converges):
        parts["tolerance"] = claim.tolerance
        rest = allowed - claim.tolerance
    if rest > 1e-12 * abs(allowed):
        parts["drift of the slope" if isinstance(claim, Converges) else "prediction"] = rest
    return {**parts, "total": allowed}


def _spread(values: np.ndarray) -> dict[str, float]:
    """What a list with one number a seed comes down to."""
    return {
        "mean": float(np.mean(values)),
        "deviation": float(np.std(values, ddof=1)) if np.size(values) > 1 else 0.0,
        "smallest": float(np.min(values)),
        "largest": float(np.max(values)),
    }


def _unit(claim: Claim) -> str:
    if isinstance(claim, Converges):
        return "in the order"
    if isinstance(claim, Scales):
        return "in the exponent"
    return {"point": "of the prediction", "final": "of the final value", "scale": "of the largest value"}.get(
        claim.relative, ""
    )


def _more_seeds(law: Comparison, other: Finding, needed: int | None) -> list[str]:
    """What more seeds would do for a claim left open."""
    notes = []
    if other.outcome != "refuted":
        notes.append(
            f"{needed} seeds would tell the law from its rival"
            if needed
            else "law and rival differ by less than the budget: no number of seeds tells them apart"
        )
    room = law.allowed[law.worst] - abs(law.bias[law.worst])
    if np.isfinite(law.reach).all() and law.outcome == "underpowered" and room > 0:
        enough = math.ceil(law.seeds * (law.reach[law.worst] / room) ** 2)
        notes.append(f"the error bars reach beyond the budget: about {enough} seeds would decide")
    return notes


def _seeds(other: Comparison, law: Comparison) -> int | None:
    if other.bias.shape != law.bias.shape:
        return None
    with np.errstate(invalid="ignore"):
        gap = np.abs(other.bias - law.bias) - law.allowed
    return _enough(gap, law.error * math.sqrt(law.seeds))


def _enough(gap: np.ndarray, scatter: np.ndarray, share: float = 0.25) -> int | None:
    gap, scatter = np.broadcast_arrays(gap, scatter)
    open_points = gap > 0
    if not open_points.any():
        return None
    # errors fall as 1/sqrt(R). A quarter of the points, not the luckiest: scatter estimated from few seeds is noisy
    needed = np.quantile((NEEDED_ERRORS * scatter[open_points] / gap[open_points]) ** 2, share)
    return max(2, math.ceil(needed - 1e-9)) if np.isfinite(needed) else None


def _entries(value, like: np.ndarray) -> np.ndarray:
    array = np.asarray(value, float)
    try:
        np.broadcast_shapes(array.shape, like.shape)
    except ValueError:
        raise BadData(
            f"slopes of shape {array.shape} for curves {like.shape}", where="Scales", remedy="give one slope a curve"
        ) from None
    return array


def _positive(scale: np.ndarray) -> np.ndarray:
    return np.where(scale > 0, scale, 1.0)
