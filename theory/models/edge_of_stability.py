"""Edge of stability: full-batch training drives the sharpness up to where the optimizer's update becomes unstable.

The update, on one curvature mode, is a linear recursion; the sharpness S stops where its first root meets the unit
circle (heavy ball):

    p(-1) = 0:   S = (2 + 2 beta) / eta.

Adaptive methods live in preconditioned curvature P^-1/2 H P^-1/2, with P linearised at the settled second moment.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache, partial

from ..architecture.network import chain
from ..claims import Claim, Equals, Law
from ..dynamics.stability import marginal_stability, oscillation_onset
from ..dynamics.update_rules import CURVATURE, SHARPNESS, adam, gradient_descent, heavy_ball, nesterov, rmsprop
from ..errors import UnknownName
from ..model import Theory, parameter
from ..setup import Initialisation, Instance, Optimizer, Setup
from ..system import FixedPoint, System

_COHEN = "Cohen et al. 2021, arXiv:2103.00065"
_COHEN_ADAPTIVE = "Cohen et al. 2022, arXiv:2207.14484"
_RULES = {
    "gradient_descent": (gradient_descent, CURVATURE),
    "heavy_ball": (heavy_ball, CURVATURE),
    "nesterov": (nesterov, CURVATURE),
    "rmsprop": (rmsprop, SHARPNESS),
    "adam": (adam, SHARPNESS),
}


@dataclass(frozen=True)
class EdgeOfStability(Theory):
    """Edge of stability: the sharpness at which full-batch training hovers, for each optimizer."""

    optimizer: str = parameter("heavy_ball", "whose threshold `derive` gives: " + ", ".join(_RULES))

    def derive(self) -> FixedPoint:
        return threshold(self.optimizer)

    def derivations(self) -> Mapping[str, System]:
        return {
            "update on one curvature mode": _rule(self.optimizer)[0](),
            "edge of stability": threshold(self.optimizer),
            "onset of oscillation": onset(self.optimizer),
        }

    def claims(self) -> tuple[Claim, ...]:
        ignores_momentum = "without momentum: it is exact for gradient descent"
        return (
            _hovers(
                Optimizer("gradient_descent", learning_rate=0.2),
                "Gradient descent hovers at sharpness 2 / eta.",
                rival=_ONSET,
                rival_home="a quadratic loss: beyond it the steps overshoot and the iterates alternate in sign",
            ),
            _hovers(
                Optimizer("heavy_ball", learning_rate=0.3, momentum=0.5),
                "Heavy ball hovers at sharpness (2 + 2 beta) / eta.",
                rival=_law("gradient_descent"),
                rival_home=ignores_momentum,
            ),
            _hovers(
                Optimizer("nesterov", learning_rate=0.15, momentum=0.5),
                "Nesterov's method hovers at sharpness (2 + 2 beta) / (eta (1 + 2 beta)).",
                rival=_law("gradient_descent"),
                rival_home=ignores_momentum,
            ),
            _hovers(
                Optimizer("adam", learning_rate=1e-3, momentum=0.9, second_moment=0.999),
                "Adam hovers at preconditioned sharpness (2 + 2 beta) / (eta (1 - beta)): 38 / eta.",
                rival=_law("rmsprop"),
                rival_home="without momentum: it is exact for RMSProp",
                budget={"drift of the second moment, declared": 0.1},
            ),
            _hovers(
                Optimizer("gradient_descent", learning_rate=0.1),
                "A step too small for the edge to be reached is no test of it.",
                rival=_ONSET,
                rival_home="a quadratic loss: beyond it the steps overshoot and the iterates alternate in sign",
                name="control",
                expected="outside_domain",
                seeds=1,
            ),
        )


@cache
def threshold(optimizer: str) -> FixedPoint:
    """The sharpness (preconditioned, for adaptive methods) at which the named optimizer loses stability.

    >>> threshold("gradient_descent").equations
    (-S*eta + 2,)
    """
    rule, curvature = _rule(optimizer)
    return marginal_stability(rule(), curvature)


@cache
def onset(optimizer: str) -> FixedPoint:
    """The sharpness beyond which the named optimizer oscillates on a quadratic loss."""
    rule, curvature = _rule(optimizer)
    return oscillation_onset(rule(), curvature)


def _rule(optimizer):
    if optimizer not in _RULES:
        raise UnknownName.among(optimizer, _RULES, kind="optimizer")
    return _RULES[optimizer]


# one callable per optimizer, so that solvers derive each threshold once
_THRESHOLDS = {name: partial(threshold, name) for name in _RULES}
_ONSETS = {name: partial(onset, name) for name in _RULES}


def _memory(instance: Instance) -> dict[str, float]:
    return {"beta": instance.setup.optimizer.momentum}


def _law(optimizer: str) -> Law:
    return Law(
        name=f"marginal stability of {optimizer.replace('_', ' ')}",
        system=_THRESHOLDS[optimizer],
        bind=_memory,
        readout="threshold",
        reference=_COHEN_ADAPTIVE if optimizer in ("adam", "rmsprop") else _COHEN,
    )


_ONSET = Law(
    name="onset of oscillation",
    system=_ONSETS["gradient_descent"],
    bind=_memory,
    readout="threshold",
    reference="LeCun et al. 1998, Efficient BackProp",
)


def _hovers(
    optimizer: Optimizer,
    statement: str,
    *,
    rival: Law,
    rival_home: str,
    name: str = "",
    budget: dict[str, float] | None = None,
    expected: str = "holds",
    seeds: int = 2,
) -> Equals:
    adaptive = optimizer.name in ("adam", "rmsprop")
    return Equals(
        name=name or optimizer.name,
        statement=statement,
        observable="preconditioned_sharpness" if adaptive else "sharpness",
        setup=_setup(optimizer),
        law=_law(optimizer.name),
        rival=rival,
        rival_home=rival_home,
        seeds=seeds,
        relative="point",
        budget=budget or {"oscillation about the edge, declared": 0.02},
        seconds=6.0 * seeds,
        reference=_COHEN_ADAPTIVE if adaptive else _COHEN,
        expected=expected,
        # the mean over the last third is judged; a run that never came near the edge says nothing about it
        options={"summary": "last_third_mean", "domain": "reaches_prediction"},
    )


def _setup(optimizer: Optimizer) -> Setup:
    """Digits to one-hot labels, tanh, quarter gain: it starts below the edge, so that the sharpness rises to it.

    Float32 is enough: the threshold is a property of the map, and a mean over many records is what is judged.
    """
    return Setup(
        network=chain("input", 100, "output", activation="tanh", bias=True),
        data="digits",
        prepare=("drop_constant", "centre", "unit_scale", "one_hot"),
        sample="subset",
        axes={"n": 500},
        optimizer=optimizer,
        initialisation=Initialisation("normal", 0.25),
        steps=2500,
        records=126,
        options={"dtype": "float32"},
    )
