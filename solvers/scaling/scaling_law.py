"""Exponents of the loss before any training: in samples, parameters, steps and compute, with how sure they are.

    loss ~ samples^-min(target_exponent - 1, 2 capacity),   parameters^-min(target_exponent - 1, capacity),
    steps^-(target_exponent - 1)/capacity,                  compute: the best split of parameters x steps,

in the limit; and the slope over the window that is asked about, which is what will be measured there (`local_slope`).
Each axis says which to believe (`axis_law`); what "before" means: `local_slope`. The rule of the intervals was fixed on
other splits than those it was then tried on (`tests/test_scaling_forecasts.py`). Slopes are claimed, levels are not.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from importlib import import_module
from typing import Any

import numpy as np

from ...theory.arguments import number
from ...theory.errors import BadData, Underpowered, UnknownName
from ...theory.measured_spectra.cross_fitting import cross_fit, partner
from ...theory.measured_spectra.estimate import NINETY_PERCENT, Estimate
from ...theory.measured_spectra.power_law_tail import PowerLawTail
from ...theory.measured_spectra.spectrum import FIRST_RANK, LAST_SHARE, LOCAL_DECADES, Spectrum
from ...theory.mechanisms.forecast import AXES, MechanismForecast
from ..learning_curve import learning_curve
from ..regression.part_regressions import Rows, checked_rows
from .axis_law import AxisLaw, axis_law, row
from .known_spectrum import known_spectrum
from .local_slope import WHERE, Conditions

LEAST_LEARNED = 0.5  # of the target's variance, by half the rows: below it, no exponent may be noise alone
WIDEST = 0.2  # a wider 90 % half-width is no forecast
GAUSSIAN_ACCURACY = 0.04  # 90 % of slopes of Gaussian features lie as near, for sizes from 20 on


@dataclass(frozen=True, eq=False)
class ScalingLaw:
    """The exponents of a spectrum along every axis that was asked for, None for the others.

    `samples`, `parameters`, `steps`, `compute`   an `AxisLaw` each
    `capacity`, `target_exponent`   lambda_k ~ k^-capacity, power of mode k ~ k^-target_exponent; None if not resolved
    `spectrum`      the one they were read from: cross-fitted, where it is measured
    `assumptions`   name, distance, radius and whether it holds, on these data
    `mechanisms`    what other mechanisms forecast for the same data, side by side
    `estimates`, `rows`   all spectra, and the rows they were estimated from, for other windows: see `over`
    """

    spectrum: Spectrum
    capacity: Estimate | None
    target_exponent: Estimate | None
    samples: AxisLaw | None = None
    parameters: AxisLaw | None = None
    steps: AxisLaw | None = None
    compute: AxisLaw | None = None
    assumptions: tuple[Mapping[str, Any], ...] = ()
    mechanisms: tuple[MechanismForecast, ...] = ()
    facts: Mapping[str, Any] = field(default_factory=dict)
    estimates: tuple[Spectrum, ...] = field(default=(), repr=False)
    rows: Rows | None = field(default=None, repr=False)

    @property
    def axes(self) -> tuple[AxisLaw, ...]:
        """The axes that were asked for."""
        return tuple(law for law in (getattr(self, axis) for axis in AXES) if law is not None)

    @classmethod
    def from_spectrum(
        cls,
        spectrum: Any,
        power: Any = None,
        multiplicities: Any = None,
        *,
        samples: Any = None,
        parameters: Any = None,
        steps: Any = None,
        compute: Any = None,
        noise: float = 0.0,
        ridge: float | str = 0.0,
        training: float = np.inf,
        tail: PowerLawTail | None = None,
        axes: Sequence[str] = AXES,
    ) -> "ScalingLaw":
        """The law of a known spectrum: eigenvalues (modes,) and target power (modes,), or a `Spectrum`.

        `samples`, `parameters`, `steps`, `compute`  windows: two ends, or all sizes; by default from a hundredth to a
                    tenth of the modes, and the times and budgets that learn as many
        `noise`     variance of the labels' noise: all losses are above it
        `ridge`     of K + ridge I, or "optimal" for the best one at every n
        `training`  samples on which features and steps are trained; infinite for the population

        Errors: `BadData` for shapes, signs and windows; `UnknownName` for an axis.

        >>> k = np.arange(1.0, 10001.0)
        >>> law = ScalingLaw.from_spectrum(k**-1.5, k**-1.8, samples=(100, 1000))
        >>> law.samples.expression, law.samples.asymptotic.value.__round__(3), round(law.samples.value, 2)
        (Min(2*capacity, target_exponent - 1), 0.8, 0.85)
        """
        conditions = _conditions(noise, ridge, training)
        if not isinstance(spectrum, Spectrum):
            spectrum = known_spectrum(spectrum, power, multiplicities, tail)
        exact = spectrum.path is None
        capacity, target = spectrum.capacity, spectrum.target_exponent
        refused = "" if exact else _no_limit(spectrum)
        windows = {"samples": samples, "parameters": parameters, "steps": steps, "compute": compute}
        most = float(np.sum(spectrum.multiplicities))
        last = (most / 10 if most >= 100 else most / 2) if exact else spectrum.samples / 2
        usual = last / 10, last
        laws = _laws((spectrum,), windows, usual, axes, capacity, target, refused, conditions, GAUSSIAN_ACCURACY)
        facts = {"method": spectrum.method or "given", **_stated(conditions)}
        return cls(spectrum, capacity, target, facts=facts, estimates=(spectrum,), **laws)

    @classmethod
    def from_data(
        cls,
        kernel: Callable,
        x: Any,
        y: Any,
        *,
        samples: Any = None,
        parameters: Any = None,
        steps: Any = None,
        compute: Any = None,
        ridge: float = 0.0,
        training: float = np.inf,
        groups: Any = None,
        seed: int = 0,
        splits: int = 5,
        axes: Sequence[str] = AXES,
        check: bool = True,
        mechanisms: bool = True,
    ) -> "ScalingLaw":
        """The law of data like these rows for a kernel, or a network, which stands for its tangent kernel.

        `x` (P, d), `y` (P,) or (P, o), `groups` (P,) names of blocks of rows that are not independent
        `samples`, ...  windows, by default from 50 (or P/20) to P/2, and the times and budgets that learn as many modes
        `check`         hold the forecast against regressions on parts of the rows, and move it if they refute it
        `mechanisms`    ask the other mechanisms too

        Errors: `Underpowered` with less than a decade of resolved spectrum (500 rows) or a target dominated by noise;
        `BadData` for shapes, a constant target and windows. References: see `theory.measured_spectra.spectrum`.

        >>> rng = np.random.default_rng(0)
        >>> x = rng.standard_normal((600, 60)) * np.arange(1, 61) ** -0.75
        >>> linear = lambda a, b=None: a @ (a if b is None else b).T
        >>> law = ScalingLaw.from_data(linear, x, x @ np.ones(60), samples=[10, 15, 20, 30], axes=["samples"])
        >>> 0.5 < law.samples.value < 2.5 and law.samples.error >= 0.03
        True
        """
        conditions = _conditions(0.0, ridge, training)
        x, rows = checked_rows(kernel, x, y, groups, seed)
        gram, y, groups = rows.gram, rows.y, rows.groups
        cross = cross_fit(gram, x, y, seed=seed, groups=groups, splits=splits)
        decades = float(np.log10(max(len(x) / (FIRST_RANK * LAST_SHARE), 1.0)))  # whatever the rank of the kernel
        if decades < LOCAL_DECADES:
            little = f"{len(x)} samples resolve {decades:.2f} decades of the spectrum, {LOCAL_DECADES:g} is needed"
            raise Underpowered(little, where=WHERE, remedy="give at least 500 samples")
        learned = _learned(cross, y)
        every = partner(cross)
        windows = {"samples": samples, "parameters": parameters, "steps": steps, "compute": compute}
        kept = rows if check else None
        last = min(len(x) / 2, cross.resolved)
        usual = min(50.0, len(x) / 20, last / 4), last
        capacity, target = cross.capacity, _target(cross)
        laws = _laws((cross, every), windows, usual, axes, capacity, target, _no_limit(cross), conditions, 0.0, kept)
        repeats = 1 - len(np.unique(x, axis=0)) / len(x)
        facts = {"method": "rows", "rows": len(x), "seed": seed, "grouped": groups is not None, "learned": learned}
        facts |= {"repeats": repeats, **_stated(conditions)}
        _require_signal(laws.get("samples"), learned)
        found = cls(cross, capacity, target, facts=facts, estimates=(cross, every), rows=kept, **laws)
        window = found.samples.window if found.samples is not None else usual
        found = _assumed(found)
        others = import_module(".exponents", __package__).other_mechanisms if mechanisms else None
        return replace(found, mechanisms=others(x, y, window)) if others else found

    def over(self, **windows: Any) -> "ScalingLaw":
        """The same law over other windows: `over(samples=(50, 200))`; axes that are not named are left out.

        Errors: `BadData` for a law without its rows; `UnknownName` for an axis; `Underpowered` where noise dominates.

        >>> k = np.arange(1.0, 10001.0)
        >>> law = ScalingLaw.from_spectrum(k**-1.5, k**-1.8, axes=["samples"])
        >>> law.over(samples=(10, 20)).samples.window
        (10.0, 20.0)
        """
        measured = "rows" in self.facts
        if len(self.estimates) < 1 + measured:
            raise BadData("the rows of this law are gone", where=WHERE, remedy="estimate it from data again")
        for axis in windows:
            if axis not in AXES:
                raise UnknownName.among(axis, AXES, kind="axis", where=WHERE)
        conditions = Conditions(self.facts["noise"], self.facts["ridge"], self.facts["training"] or np.inf)
        refused = "" if self.spectrum.path is None else _no_limit(self.spectrum)
        accuracy = 0.0 if measured else GAUSSIAN_ACCURACY
        known = self.capacity, self.target_exponent, refused, conditions, accuracy, self.rows
        laws = _laws(self.estimates, dict.fromkeys(AXES) | windows, (0, 0), (), *known)
        _require_signal(laws.get("samples"), self.facts.get("learned", 1.0))
        found = replace(self, **(dict.fromkeys(AXES) | laws))
        return _assumed(found) if measured else found

    def plot(self):
        """A figure: one panel an axis, with the forecast curve, the local slope and its interval, and the limit."""
        return import_module(__name__.split(".")[0]).plot(self)

    def card(self) -> str:
        """The whole law as a table; an asterisk marks which of the two exponents to believe."""
        facts = self.facts
        rows = f"{facts['rows']} rows" if "rows" in facts else f"{np.sum(self.spectrum.multiplicities):.6g} modes"
        ridge = facts.get("ridge", 0.0)
        stated = f"ridge {ridge}" if isinstance(ridge, str) else f"ridge {ridge:g}"
        lines = [f"Scaling law of {rows}, {stated}: loss ~ axis^-exponent +- 90 % half-width; * is to be believed"]
        short = [
            e and f"{e.value:.3f} +- {NINETY_PERCENT * e.error:.3f}" for e in (self.capacity, self.target_exponent)
        ]
        lines.append("  capacity {}; target exponent {}".format(*(text or "not resolved" for text in short)))
        lines.append(f"  {'axis':<10} {'window':^22} {'in the window':>15}  {'in the limit':>15}  exactly")
        lines += [row(law) for law in self.axes]
        reasons: dict[str, list[str]] = {}
        for law in self.axes:
            reasons.setdefault(law.because, []).append(law.axis)
        lines += [f"  {', '.join(names)}: {reason}" for reason, names in reasons.items()]
        bracket = self.spectrum.bracket
        if bracket is not None:
            steepest = "not bounded" if bracket.all_noise is None else f"{bracket.all_noise.value:.3f}"
            flattest = f"{bracket.all_tail.value:.3f}"
            lines.append(f"  unresolved power: target exponent {flattest} if tail, {steepest} if noise")
        for assumption in self.assumptions:
            verdict = "holds" if assumption["holds"] else "FAILS"
            lines.append(
                f"  {assumption['name']:<17} {assumption['distance']:.3g} (radius {assumption['radius']:g}) {verdict}"
            )
        for law in self.axes:
            if law.naive is not None:
                lines.append(f"  {law.axis}: three smallest runs {law.naive:.3f}, all runs {law.measured:.3f}")
        lines += [f"  {forecast}" for forecast in self.mechanisms]
        return "\n".join(lines)

    def to_dict(self) -> dict:
        """Everything as JSON: arrays as lists, expressions as text."""
        return {
            **{axis: law and law.to_dict() for axis, law in ((axis, getattr(self, axis)) for axis in AXES)},
            "capacity": self.capacity and self.capacity.to_dict(),
            "target_exponent": self.target_exponent and self.target_exponent.to_dict(),
            "spectrum": self.spectrum.to_dict(),
            "assumptions": [dict(assumption) for assumption in self.assumptions],
            "mechanisms": [forecast.to_dict() for forecast in self.mechanisms],
            "facts": dict(self.facts),
            "convention": "mean squared error without 1/2, above the stated noise",
        }

    @classmethod
    def from_dict(cls, content: Mapping[str, Any]) -> "ScalingLaw":
        """The law that `to_dict` wrote, without the rows its spectrum was estimated from.

        >>> k = np.arange(1.0, 1001.0)
        >>> law = ScalingLaw.from_spectrum(k**-1.5, k**-1.8, axes=["samples", "steps"])
        >>> ScalingLaw.from_dict(law.to_dict()).to_dict() == law.to_dict()
        True
        """
        if not isinstance(content, Mapping) or not {"spectrum", "facts", *AXES} <= content.keys():
            raise BadData("no record of a scaling law", where=WHERE, remedy="give what to_dict made")
        spectrum = {k: v for k, v in content["spectrum"].items() if k in Spectrum.__dataclass_fields__}
        for name in ("eigenvalues", "multiplicities", "power"):
            spectrum[name] = np.array(spectrum[name])
        for name in ("capacity", "target_exponent"):
            spectrum[name] = _number(spectrum[name])
        laws: dict[str, Any] = {axis: content[axis] and AxisLaw.from_dict(content[axis]) for axis in AXES}
        return cls(
            spectrum=Spectrum(**spectrum),
            capacity=_number(content["capacity"]),
            target_exponent=_number(content["target_exponent"]),
            assumptions=tuple(content["assumptions"]),
            mechanisms=tuple(_mechanism(entry) for entry in content["mechanisms"]),
            facts=content["facts"],
            **laws,
        )

    def __str__(self) -> str:
        return self.card()

    __repr__ = __str__


def _laws(spectra, windows, usual, axes, capacity, target, refused, conditions, accuracy, rows=None):
    """{axis: AxisLaw} for the axes asked for: all, those of `axes`, or those with a window."""
    axes = axes if isinstance(axes, Sequence) and not isinstance(axes, str) else (axes,)
    for axis in axes:
        if axis not in AXES:
            raise UnknownName.among(str(axis), AXES, kind="axis", where=WHERE)
    found: dict[str, Any] = {}
    for axis in AXES:
        if axis not in axes and windows[axis] is None:
            continue
        window = windows[axis] if windows[axis] is not None else _usual(axis, spectra[0], usual)
        found[axis] = axis_law(
            axis, spectra, window, capacity, target, refused, conditions, accuracy, rows if axis == "samples" else None
        )
    return found


def _usual(axis, spectrum, ends):
    """The window of an axis in which as many modes are learned as from these numbers of samples."""
    low, high = ends
    if axis == "samples":
        return np.unique(np.round(np.geomspace(low, high, 8))) if low >= 5 else (low, high)
    if axis == "parameters":
        return low, high
    kappa = learning_curve(spectrum, sizes=[low, high], ridge=0.0).kappa
    times = 1 / kappa
    return tuple(times) if axis == "steps" else (low * times[0], high * times[1])


def _conditions(noise, ridge, training) -> Conditions:
    if isinstance(ridge, str) and ridge != "optimal":
        raise UnknownName.among(ridge, ("optimal",), kind="ridge", where=WHERE)
    held = ridge if isinstance(ridge, str) else number(ridge, "ridge", WHERE)
    training = number(training, "training", WHERE, above=True, infinite=True)
    return Conditions(number(noise, "noise", WHERE), held, training)


def _stated(held):
    return {"noise": held.noise, "ridge": held.ridge, "training": held.training if np.isfinite(held.training) else None}


def _no_limit(spectrum: Spectrum) -> str:
    """Why a measured spectrum has no asymptotic exponents, or ""."""
    try:
        spectrum.data_exponent()
    except Underpowered as reason:
        return f"{reason.found}; {reason.remedy}"
    test = spectrum.power_law
    if test is not None and not test.holds and not test.verdict.startswith("cannot tell"):
        return f"the eigenvalues fall as no power law ({test.verdict}); use the local slope"
    return ""


def _target(spectrum: Spectrum) -> Estimate | None:
    """The target exponent, its error with half of what it would rise were all unresolved power noise."""
    found, bracket = spectrum.target_exponent, spectrum.bracket
    if found is None or bracket is None or bracket.all_noise is None:
        return found
    rise = max(bracket.all_noise.value - bracket.all_tail.value, 0.0) / 2
    return Estimate(found.value, float(np.hypot(found.error, rise)))


def _learned(spectrum: Spectrum, y: np.ndarray) -> float:
    """Share of the target's variance that half the rows teach, on held-out rows."""
    path = spectrum.path
    assert path is not None
    left = np.interp(np.log(spectrum.samples / 2), np.log(path.sizes), path.unlearned)
    return 1 - float(left) / float(y.var(0).sum())


def _require_signal(samples: AxisLaw | None, learned: float) -> None:
    """Refuse a target of which little is learned at a pace that may be none at all."""
    if samples is None or samples.interval is None or samples.value is None:
        return
    if learned < LEAST_LEARNED and samples.interval[0] <= 0:
        found = (
            f"{max(learned, 0):.0%} of the target's variance is learned, at an exponent of {samples.value:.3f} +- "
            f"{samples.error:.3f}, which may be none"
        )
        remedy = "the target is dominated by noise: give more samples, another window or another kernel"
        raise Underpowered(found, where=WHERE, remedy=remedy)


def _assumed(law: ScalingLaw) -> ScalingLaw:
    """The same law with its assumptions, which the axis "samples" carries as well."""
    entries = tuple(_assumptions(law))
    return replace(law, assumptions=entries, samples=law.samples and replace(law.samples, assumptions=entries))


def _assumptions(law: ScalingLaw):
    """What the forecast rests on, each with its distance on these data."""
    entries = [
        ("unexplained power", 1 - law.spectrum.explained, 0.9, "share no ridge explains on held-out rows"),
        ("repeated inputs", law.facts["repeats"], 0.1, "share of rows seen before: symbols are no Gaussian features"),
    ]
    axis = law.samples
    if axis is not None and axis.curve is not None and axis.partner is not None:
        level = float(np.abs(np.log(axis.curve.test / axis.partner.test)).max())
        reach = float(axis.window[1] / min(spectrum.resolved for spectrum in law.estimates))
        entries.insert(0, ("resolved range", reach, 1.0, "largest size over the largest the spectrum speaks for"))
        entries.insert(0, ("level agreement", level, 0.4, "largest |log ratio| of the two forecast curves"))
        if axis.error is not None:
            entries.append(("sharpness", axis.error, WIDEST, "90 % half-width: what is wider is no forecast"))
        if "contradiction" in axis.facts:
            meaning = "distance of the theory's exponent from that of regressions on parts of the rows"
            entries.append(("parts of the rows", abs(axis.facts["contradiction"]), 0.1, meaning))
    for name, distance, radius, meaning in entries:
        held = {"kind": "limit" if name == "resolved range" else "closure", "holds": bool(distance <= radius)}
        yield {"name": name, "distance": float(distance), "radius": radius, "meaning": meaning, **held}


def _number(content) -> Estimate | None:
    return content and Estimate(**content)


def _mechanism(content: Mapping[str, Any]) -> MechanismForecast:
    window = content["window"] and tuple(content["window"])
    return MechanismForecast(**{**content, "exponent": _number(content["exponent"]), "window": window})
