"""What a model says about an experiment, and what would falsify it.

A `Law` turns a derived system into numbers for one instance: `bind` supplies initial values and parameters, `readout`
names the observable of the system. A `Claim` compares a law with a measurement, together with its rival: the best law
without the claimed ingredient. No number from any run appears here; budgets are derived or declared beforehand.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from .setup import Instance, Setup
from .system import System


@dataclass(frozen=True)
class Law:
    """A derived system and how an instance fills it in.

    `system`      called once, without arguments, to derive it (results are cached by the solver)
    `bind`        instance -> {name of unknown or parameter: array}; arrays broadcast over modes. The learning rate is
                  supplied as "eta" when not bound
    `readout`     name of an observable of the system, or an expression of its symbols
    `assumptions` checked on the instance before solving: see `theory.derivation.assumptions`
    `collect`     optional: (instance, values (T, modes)) -> (T, components), when the experiment measures groups
    `solver`      optional: "module:function" of the solvers layer that solves this kind of system better than the
                  general dispatch does, as function(system, values, abscissa) -> {name of unknown: array (T, ...)}
    """

    name: str
    system: Callable[[], System]
    bind: Callable[[Instance], Mapping[str, Any]]
    readout: Any
    assumptions: tuple[Any, ...] = ()
    reference: str = ""
    collect: Callable[[Instance, Any], Any] | None = None
    solver: str = ""


@dataclass(frozen=True)
class Claim:
    """Fields shared by the four kinds; construct `Equals`, `Converges`, `Scales` or `Threshold`.

    `observable`   what is measured: a name registered in `validate.observables.measure`
    `setup`        the experiment; `axis` and `values` move it along a named axis (empty: a single setting)
    `law`, `rival` theory and its best competitor, which must lose on the same data
    `rival_home`   where the rival is right, in words (it is no straw man)
    `seeds`        replicates; `stochastic` says whether they scatter around the law (mean is judged) or each must
                   obey it (worst is judged)
    `relative`     "point" (divide by the prediction), "final" (divide by the component's last predicted value),
                   "scale" (divide by the largest predicted value) or "none"
    `seconds`      its share of the report's time budget, on 2 cores
    `options`      "window" (abscissa points that are judged), "summary" (over the abscissa), "domain", "partner" (a
                   second forecast, the gap being the error); "critical": a law for the learning rate beyond which
                   training does not converge, where the claim assumes that it does (a faster one is refused);
                   "scatter": the standard deviation of one seed as expected beforehand, in the units of the budget,
                   which plans the number of seeds and judges nothing
    """

    name: str
    statement: str
    observable: str
    setup: Setup
    law: Law
    rival: Law
    rival_home: str = ""
    axis: str = ""
    values: tuple[float, ...] = ()
    seeds: int = 1
    stochastic: bool = False
    relative: str = "final"
    seconds: float = 5.0
    reference: str = ""
    expected: str = "holds"
    options: Mapping[str, Any] = field(default_factory=dict)

    def settings(self) -> tuple[Setup, ...]:
        """The setup at every value along the axis."""
        return tuple(self.setup.at(**{self.axis: value}) for value in self.values) if self.axis else (self.setup,)


@dataclass(frozen=True)
class Equals(Claim):
    """The observable equals the law within `budget`: a sum of named, derived or declared parts.

    >>> Equals.__mro__[1] is Claim
    True
    """

    budget: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True)
class Converges(Claim):
    """The error |observable - law| falls as a power `order` of the axis (> 0: with it, < 0: against it)."""

    order: float = 1.0
    tolerance: float = 0.05


@dataclass(frozen=True)
class Scales(Claim):
    """The observable's log-log slope over `window` equals the law's slope within `budget` (absolute)."""

    window: tuple[float, float] = (0.0, float("inf"))
    budget: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True)
class Threshold(Claim):
    """Crossing a critical learning rate changes the outcome: what decays below it grows above it.

    `values` are the two multiples of the critical learning rate at which the experiment runs; `critical` predicts that
    rate. The observable is the growth factor per step of a small perturbation: below 1, above 1, and equal to the law.
    """

    critical: Law = field(kw_only=True)
    budget: Mapping[str, float] = field(default_factory=dict)
