"""One axis of a scaling law: its exact exponent, the number with its error, the slope over a window, which to believe.

    loss(axis) ~ axis^-exponent;   limit error^2 = sum over capacity and target exponent of (change of the exponent)^2.

In a window the local slope is what will be measured. The limit is believed beyond what the data resolve, and for a
known spectrum where the two agree and the slope does not drift.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import sympy as sp

from ...theory.arguments import numbers
from ...theory.errors import BadData, LearningMechanicsError, OutsideDomain
from ...theory.measured_spectra.estimate import NINETY_PERCENT, Estimate
from ...theory.measured_spectra.log_slope import log_slope
from ...theory.measured_spectra.spectrum import Spectrum
from ...theory.scaling.source_capacity import CAPACITY, TARGET, asymptotic, limited_by
from ..learning_curve import learning_curve
from ..regression.part_regressions import Rows, part_regressions
from .local_slope import (
    AxisCurve,
    Conditions,
    beyond,
    curve,
    half_width,
    learned_at,
    points,
    spread,
)

NAIVE_RUNS = 3  # smallest runs whose extrapolation every forecast is held against
STEADY = 0.05  # a slope that drifts by more from one half of the window to the other has not reached its limit
RIDGE_SHARE = 0.1  # of the effective ridge, from which on a stated ridge decides the limit
REFUTED = 2.5  # standard errors by which regressions on parts of the rows must contradict the theory
MOST_MOVED = 0.75  # of a contradiction is taken off
CHECKED_SHARE = 0.6  # of the rows that parts may hold: the others judge
DRAWN = 0.3  # of the scatter of single regressions on parts is left in their mean from one half of the data to another
LEAST_ERROR = 0.01  # of the slope of regressions on parts
LOCAL, LIMIT = "local", "asymptotic"
HELD = Conditions()


@dataclass(frozen=True, eq=False)
class AxisLaw:
    """Loss ~ axis^-`value` for the axis in `window`, with `error` a nominal 90 % half-width; None where refused.

    `expression`   the exact exponent in the limit, in `capacity` and `target_exponent`; `limited_by` says what wins
    `asymptotic`   its number with a standard error, or None and the reason in `refused`
    `believe`      "local" or "asymptotic", and why in `because`
    `curve`, `partner`  the forecast curves, one for each estimate of the spectrum; their levels are not claimed
    `assumptions`  name, distance, radius and whether it holds, on the data
    `naive`, `measured`  slopes of the three smallest runs and of all, once runs exist: see `compared`
    """

    axis: str
    window: tuple[float, float]
    value: float | None
    error: float | None
    expression: Any
    limited_by: str
    asymptotic: Estimate | None
    refused: str
    believe: str
    because: str
    curve: AxisCurve | None = None
    partner: AxisCurve | None = None
    naive: float | None = None
    measured: float | None = None
    assumptions: tuple[Mapping[str, Any], ...] = ()
    facts: Mapping[str, Any] = field(default_factory=dict)

    @property
    def slope(self) -> float | None:
        """Slope of log loss against the log of the axis: minus the value."""
        return None if self.value is None else -self.value

    @property
    def interval(self) -> tuple[float, float] | None:
        """The nominal 90 % interval of the exponent in the window."""
        return None if self.value is None or self.error is None else (self.value - self.error, self.value + self.error)

    @property
    def exponent(self) -> Estimate | None:
        """What is believed, with a nominal 90 % half-width as its error; None where neither is known."""
        if self.believe == LOCAL:
            return None if self.value is None or self.error is None else Estimate(self.value, self.error)
        return self.asymptotic and Estimate(self.asymptotic.value, NINETY_PERCENT * self.asymptotic.error)

    def compared(self, sizes: Sequence[float], errors: Sequence[float]) -> "AxisLaw":
        """The same forecast beside measured losses (T,), and the extrapolation of the three smallest runs."""
        x, y = numbers(sizes, "sizes", self.axis), numbers(errors, "errors", self.axis)
        good = x.shape == y.shape and np.isfinite(x + y).all() and ((x > 0) & (y > 0)).all()
        if x.ndim != 1 or len(x) < NAIVE_RUNS + 1 or not good:
            found = f"{x.size} sizes, {y.size} errors"
            raise BadData(found, where=self.axis, remedy="give at least four positive runs")
        few = np.argsort(x, kind="stable")[:NAIVE_RUNS]
        if not np.ptp(x[few]) > 0:
            raise BadData(f"the smallest runs all have {x[few[0]]:g}", where=self.axis, remedy="give one loss a size")
        return replace(self, naive=-log_slope(x[few], y[few]), measured=-log_slope(x, y))

    def to_dict(self) -> dict:
        return {
            "axis": self.axis,
            "window": list(self.window),
            "value": self.value,
            "error": self.error,
            "expression": str(self.expression),
            "limited_by": self.limited_by,
            "asymptotic": self.asymptotic and self.asymptotic.to_dict(),
            "refused": self.refused,
            "believe": self.believe,
            "because": self.because,
            "curve": self.curve and self.curve.to_dict(),
            "partner": self.partner and self.partner.to_dict(),
            "naive": self.naive,
            "measured": self.measured,
            "assumptions": [dict(assumption) for assumption in self.assumptions],
            "facts": dict(self.facts),
        }

    @classmethod
    def from_dict(cls, content: Mapping[str, Any]) -> "AxisLaw":
        """The record that `to_dict` wrote.

        >>> law = axis_law("steps", [Spectrum(np.ones(1), np.ones(1), np.ones(1))], (0.1, 0.2), None, None)
        >>> AxisLaw.from_dict(law.to_dict()).to_dict() == law.to_dict()
        True
        """
        curves = {
            name: content[name] and AxisCurve(**{k: np.array(v) for k, v in content[name].items()})
            for name in ("curve", "partner")
        }
        expression = sp.sympify(content["expression"], locals={"capacity": CAPACITY, "target_exponent": TARGET})
        limit = content["asymptotic"] and Estimate(**content["asymptotic"])
        tuples = {"window": tuple(content["window"]), "assumptions": tuple(content["assumptions"])}
        return cls(**{**content, **curves, **tuples, "expression": expression, "asymptotic": limit})

    def __str__(self) -> str:
        return f"{row(self)}\n{'':<13}believe the {'limit' if self.believe == LIMIT else 'local slope'}: {self.because}"

    __repr__ = __str__


def row(law: AxisLaw) -> str:
    """One line of a table: axis, window, local exponent, limit and its expression; errors are 90 % half-widths."""
    local = "refused" if law.value is None else f"{law.value:.3f} +- {law.error:.3f}"
    limit = law.asymptotic
    far = "refused" if limit is None else f"{limit.value:.3f} +- {NINETY_PERCENT * limit.error:.3f}"
    low, high = law.window
    short = str(law.expression).replace("target_exponent", "target")
    marks = ("*", " ") if law.believe == LOCAL else (" ", "*")
    return f"  {law.axis:<10} {f'{low:.4g} .. {high:.4g}':^22} {local:>15}{marks[0]} {far:>15}{marks[1]} {short}"


def axis_law(
    axis: str,
    spectra: Sequence[Spectrum],
    window: Any,
    capacity: Estimate | None,
    target_exponent: Estimate | None,
    refused: str = "",
    conditions: Conditions = HELD,
    accuracy: float = 0.0,
    rows: Rows | None = None,
) -> AxisLaw:
    """The law along one axis. `spectra`: one, known, or two estimates, cross-fitted and in sample.

    `refused`   why there is no limit, where capacity and target exponent are not to be trusted
    `accuracy`  90 % half-width of the theory itself on a known spectrum
    `rows`      those the spectra were estimated from: regressions on parts of them check the axis "samples"
    """
    at = points(window, axis)
    curves, value, error, missing, facts = _local(axis, spectra, at, conditions, accuracy, rows)
    fixed = axis == "samples" and conditions.ridge != "optimal" and _ridge_decides(spectra[-1], at[-1], conditions)
    expression = _expression(axis, conditions.noise + spectra[0].noise > 0, conditions.ridge, fixed)
    limit, limited = None, ""
    if not refused and capacity is not None and target_exponent is not None:
        try:
            limit = propagated(expression, capacity, target_exponent)
            limited = limited_by(axis, capacity, target_exponent, noise=conditions.noise > 0)
        except OutsideDomain as reason:
            refused = f"{reason.found}; {reason.remedy}"
        if fixed:
            limited = "the ridge, which stays while the kernel matrix grows"
    elif not refused:
        refused = "capacity and target exponent are not resolved"
    drift = -float(np.mean([each.drift for each in curves])) if curves else 0.0
    believe, because = judged(value, error, limit, refused, drift, facts.get("beyond", 0.0), len(spectra) == 1)
    return AxisLaw(
        axis=axis,
        window=(float(at[0]), float(at[-1])),
        value=value,
        error=error,
        expression=expression,
        limited_by=limited,
        asymptotic=limit,
        refused=refused,
        believe=believe,
        because=f"no local slope: {missing}" if missing else because,
        curve=curves[0] if curves else None,
        partner=curves[1] if len(curves) > 1 else None,
        facts={"drift": drift, **facts},
    )


def propagated(expression: Any, capacity: Estimate, target_exponent: Estimate) -> Estimate:
    """An exponent as a number with a standard error, both inputs moved by their own; at a tie the larger change.

    Errors: `OutsideDomain` for capacity or target exponent <= 1.

    >>> propagated(asymptotic("steps"), Estimate(1.5, 0.0), Estimate(2.5, 0.3))
    Estimate(value=1.0, error=0.2, systematic=None, statistical=None)
    """
    asymptotic("samples", capacity.value, target_exponent.value)  # refuses what is outside the domain
    evaluate = sp.lambdify((CAPACITY, TARGET), expression, modules=[{"Min": min, "Max": max}, "math"])
    centre = float(evaluate(capacity.value, target_exponent.value))
    changes = []
    for db, da in ((capacity.error, 0.0), (0.0, target_exponent.error)):
        moved = [float(evaluate(capacity.value + s * db, target_exponent.value + s * da)) for s in (-1, 1)]
        changes.append(max(abs(value - centre) for value in moved))
    return Estimate(round(centre, 12), round(float(np.linalg.norm(changes)), 12))


def judged(
    value: float | None,
    error: float | None,
    limit: Estimate | None,
    refused: str,
    drift: float = 0.0,
    far: float = 0.0,
    known: bool = True,
) -> tuple[str, str]:
    """Whether to believe the local slope or the limit in the window, and why; `known`: the spectrum is no estimate.

    >>> judged(0.5, 0.05, Estimate(0.9, 0.05), "", drift=0.2)
    ('local', 'the limit 0.900 is not reached in the window, over which the exponent drifts by +0.200')
    """
    if limit is None:
        return LOCAL, refused
    if value is None or error is None:
        return LIMIT, "there is no local slope"
    if far > 0.5:
        return LIMIT, f"{far:.0%} of the window lies beyond what the data resolve"
    if abs(value - limit.value) > max(float(np.hypot(error, NINETY_PERCENT * limit.error)), 0.01):
        moves = f", over which the exponent drifts by {drift:+.3f}" if abs(drift) >= 0.01 else ""
        return LOCAL, f"the limit {limit.value:.3f} is not reached in the window{moves}"
    if abs(drift) > STEADY:
        return LOCAL, f"the exponent still drifts by {drift:+.3f} over the window"
    if not known:
        return LOCAL, "both agree; the interval of the local slope is the one that was tried on data"
    return LIMIT, "the local slope agrees with it and is steady: the limit is reached"


def _local(axis, spectra, at, conditions, accuracy, rows):
    """Curves, local exponent, its half-width, why there is none, and facts."""
    try:
        curves = [curve(axis, spectrum, at, conditions) for spectrum in spectra]
        value = -float(np.mean([each.slope for each in curves]))
        if len(spectra) == 1:
            return curves, value, accuracy, "", {}
        facts = _uncertainty(axis, spectra, curves, at, conditions)
    except LearningMechanicsError as reason:
        return [], None, None, str(reason), {}
    facts["theory"] = value
    checked = _checked(spectra, at, conditions, rows) if axis == "samples" and rows is not None else {}
    facts |= checked
    scatter = max(facts["scatter"], DRAWN * checked.get("draws", 0.0))
    error = half_width(facts["gap"], scatter, facts["spread"], facts["beyond"])
    if checked:
        value, error = corrected(value, error, checked["contradiction"], checked["contradiction_error"])
    return curves, value, error, "", facts


def corrected(value: float, error: float, contradiction: float, its_error: float) -> tuple[float, float]:
    """A forecast and its half-width after regressions on parts of the same rows contradicted it by so much.

    Within 2.5 standard errors nothing is moved. Beyond, features are not Gaussian or rows not independent: up to three
    quarters of the contradiction are taken off, and as much of it is added to the error as is uncertain.

    >>> corrected(0.5, 0.05, 0.04, 0.02)
    (0.5, 0.05)
    >>> value, error = corrected(0.5, 0.05, 0.2, 0.02)
    >>> round(value, 3), round(error, 3)
    (0.359, 0.081)
    """
    share = 0.0
    if abs(contradiction) > REFUTED * its_error:
        share = MOST_MOVED * (1 - (REFUTED * its_error / contradiction) ** 2)
    uncertain = min(share, 1 - share) * contradiction
    wider = np.linalg.norm([error, uncertain, NINETY_PERCENT * share * its_error])
    return value - share * contradiction, float(wider)


def _checked(spectra, at, conditions, rows):
    """Forecast exponent less that of regressions on parts of the rows, over what of the window they reach."""
    reach = at[at <= CHECKED_SHARE * len(rows.gram)]
    if conditions.ridge == "optimal" or len(reach) < 4 or reach[-1] < 2 * reach[0] or reach[0] < 2:
        return {}
    sizes = np.unique(np.round(reach))
    try:
        errors = part_regressions(rows, sizes, float(conditions.ridge))
    except LearningMechanicsError:
        return {}
    forecast = -float(np.mean([curve("samples", spectrum, sizes, conditions).slope for spectrum in spectra]))
    measured = -log_slope(sizes, errors.mean(0))
    total, draws = errors.sum(0), len(errors)
    left_out = [-log_slope(sizes, (total - one) / (draws - 1)) for one in errors]
    share = np.log(sizes[-1] / sizes[0]) / np.log(at[-1] / at[0])
    return {
        "parts": measured,
        "draws": float(np.sqrt((draws - 1) * draws * np.var(left_out))),
        "contradiction": float((forecast - measured) * share),
        "contradiction_error": float(max(np.sqrt((draws - 1) * np.var(left_out)), LEAST_ERROR) * share),
    }


def _uncertainty(axis, spectra, curves, at, conditions):
    """The parts of the half-width of the mean slope of two estimates."""
    every, gap = spectra[-1], curves[0].slope - curves[1].slope
    modes = learned_at(axis, every, (float(at[0]), float(at[-1])))
    modes = modes[0], max(modes[1], 1.5 * modes[0])
    # a slope per log n is read as one per log of the axis
    scatter = every.slope_scatter(modes) * np.log(modes[1] / modes[0]) / np.log(at[-1] / at[0])
    inflation = 1.0
    if axis == "samples" and conditions.ridge != "optimal":
        fits = [learning_curve(spectrum, sizes=at, ridge=float(conditions.ridge)).inflation for spectrum in spectra]
        inflation = float(np.exp(np.mean(np.log(fits))))
    far = beyond(modes, min(spectrum.resolved for spectrum in spectra))
    return {
        "gap": gap,
        "scatter": float(scatter),
        "inflation": inflation,
        "spread": spread(inflation, axis),
        "beyond": far,
    }


def _ridge_decides(spectrum: Spectrum, last: float, conditions: Conditions) -> bool:
    """Whether the ridge is no small part of the effective one at the end of the window."""
    ridge = float(conditions.ridge)
    if ridge <= 0:
        return False
    return ridge / last > RIDGE_SHARE * float(learning_curve(spectrum, sizes=[last], ridge=ridge).kappa[0])


def _expression(axis, noisy, ridge, fixed):
    if fixed:  # kappa = ridge/n: D ~ kappa^min((a-1)/b, 2), and a share sum L^2 / n ~ n^(1/b - 1) of noise is fitted
        rates = [(TARGET - 1) / CAPACITY, sp.Integer(2)] + ([1 - 1 / CAPACITY] if noisy else [])
        return sp.Min(*rates)
    if axis == "samples":
        return asymptotic(axis, noise=noisy, ridge="optimal" if ridge == "optimal" else "none")
    return asymptotic(axis)
