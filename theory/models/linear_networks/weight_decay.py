"""Deep linear networks with weight decay: soft thresholds at two layers, hard ones from three on.

    u' = u^(L-1) (s - u^L) - mu u,        rest: a^(1 - 2/L) (s - a) = mu,  a = u^L

Two layers shrink every mode by mu. Deeper networks shrink a strong mode little, and drop a mode altogether once mu
passes a critical value that grows as s^(2 - 2/L); no decay however small lets a mode be learned from too small a start.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import partial

import numpy as np
import sympy as sp

from ...claims import Claim, Converges, Equals, Law
from ...dataset import Dataset
from ...derivation.standard_assumptions import Whitened
from ...dynamics.linear_networks import mode_flow, mode_map, stack
from ...dynamics.weight_decay import (
    DECAY,
    critical_decay,
    critical_target,
    decayed_layer_flow,
    decayed_mode_flow,
    decayed_mode_map,
    decayed_rest,
    equal_decay,
    resting_law,
)
from ...model import Theory, parameter
from ...setup import Initialisation, Instance, Optimizer, Setup
from ...symbols import positive
from ...system import Flow, System
from .starting_values import below_critical_rate, literal_start

_WHITE = ("drop_constant", "centre", "whiten", "centre_targets", "second_moments")
_NEAR = (1.12, 1.01, 0.99, 0.9)  # targets around the weakest that survives, in units of it


@dataclass(frozen=True)
class WeightDecay(Theory):
    """Deep linear networks with weight decay: soft and hard thresholds of the singular modes."""

    depth: int = parameter(3, "number of weight matrices of the claims about hard thresholds, from 3 on", least=3)

    def derive(self) -> Flow:
        return decayed_layer_flow(self.depth)

    def derivations(self) -> Mapping[str, System]:
        return {
            "one layer's strength": decayed_layer_flow(self.depth),
            "two layers, end to end": decayed_mode_flow(2),
            "where training ends": decayed_rest(self.depth),
            "resting strength at any depth": resting_law(),
            "largest decay that a mode survives": critical_decay(),
            "decay beyond which zero is the better minimum": equal_decay(),
        }

    def claims(self) -> tuple[Claim, ...]:
        return (_rest(self.depth), _hard_threshold(self.depth), _recursion(self.depth), _two_layers())


def _modes(instance: Instance) -> dict:
    """Targets, decay, and the strengths of modes and layers at t = 0."""
    return {**literal_start(instance), "mu": instance.setup.optimizer.weight_decay}


def _setup(depth: int, **changes) -> Setup:
    return replace(
        Setup(
            network=stack(depth),
            data="digits_halves",
            prepare=_WHITE,
            axes={"width": 32},
            optimizer=Optimizer(learning_rate=0.5, unit="1/sharpness", weight_decay=0.05),
            initialisation=Initialisation("aligned_balanced", 0.6),
            time=1500.0,
            records=2,
        ),
        **changes,
    )


def _resting(name: str, depth: int, **options) -> Law:
    """The largest resting strength that modes of `depth` layers have, whatever network the instance is."""
    return Law(name, partial(decayed_rest, depth), _modes, "end_to_end", solver="fixed_point:largest_root", **options)


def _rest(depth: int) -> Claim:
    return Equals(
        "resting_strengths",
        f"{depth} layers with weight decay end at the largest root of a^(1 - 2/L) (s - a) = mu, or at zero.",
        "mode_strength",
        _setup(depth),
        law=_resting("largest root", depth, assumptions=(Whitened(),)),
        rival=_resting("soft threshold", 2),
        rival_home="two layers",
        axis="weight_decay",
        values=(0.02, 0.05, 0.1),
        relative="scale",
        budget={"convergence": 1e-6},
        options={"summary": "last", **below_critical_rate(depth)},
        seconds=2,
    )


def _around_the_threshold(depth: int, decay: float) -> Dataset:
    """White inputs and modes on both sides of the weakest target that survives the decay."""
    weakest = float(sp.N(critical_target(depth).subs(DECAY, sp.Float(decay, 20))))
    size = len(_NEAR)
    return Dataset(np.sqrt(size) * np.eye(size), np.sqrt(size) * weakest * np.diag(_NEAR), "around the threshold")


def _hard_threshold(depth: int) -> Claim:
    setup = _setup(depth)
    return Equals(
        "hard_threshold",
        "From a strong start, modes 1% above the weakest surviving target are learned and those 1% below die, "
        "though zero has been the better minimum for long.",
        "mode_strength",
        replace(
            setup,
            data=_around_the_threshold(depth, setup.optimizer.weight_decay),
            prepare=(),
            axes={"width": 8},
        ),
        law=_resting("largest root", depth, assumptions=(Whitened(),)),
        rival=_resting("better minimum", depth, collect=partial(_better, depth)),
        rival_home="starts and noise that let training find the global minimum",
        relative="scale",
        budget={"convergence": 1e-6},
        options={"summary": "last", **below_critical_rate(depth)},
        seconds=1,
    )


def _better(depth: int, instance: Instance, values):
    """Zero where the decay exceeds that of equal energy."""
    modes = _modes(instance)
    (limit,) = sp.solve(equal_decay(depth).equations[0], positive("mu_g"))
    return np.where(modes["mu"] < sp.lambdify(positive("s"), limit, "numpy")(modes["s"]), values, 0.0)


def _recursion(depth: int) -> Claim:
    return Equals(
        "decayed_recursion",
        "From a weak start only modes outside the basin of zero are ever learned, step by step as the scalar "
        "recursion with decay says.",
        "mode_strength",
        _setup(depth, initialisation=Initialisation("aligned_balanced", 0.11**depth), time=300.0, records=61),
        law=Law(
            "recursion with decay",
            partial(decayed_mode_map, depth),
            _modes,
            "end_to_end",
            assumptions=(Whitened(),),
        ),
        rival=Law("recursion without decay", partial(mode_map, depth), _modes, "end_to_end"),
        rival_home="no weight decay",
        relative="scale",
        budget={"rounding": 1e-10},
        options=below_critical_rate(depth),
        seconds=1,
    )


def _two_layers() -> Claim:
    return Converges(
        "soft_threshold_in_time",
        "Two layers with weight decay follow the logistic law of the reduced target s - mu, to first order in the "
        "learning rate.",
        "mode_strength",
        _setup(2, initialisation=Initialisation("aligned_balanced", 0.01), time=60.0, records=31),
        law=Law("logistic law of s - mu", partial(decayed_mode_flow, 2), _modes, "a", (Whitened(),)),
        rival=Law("logistic law of s", partial(mode_flow, 2), _modes, "a"),
        rival_home="no weight decay",
        axis="learning_rate",
        values=(0.4, 0.2, 0.1),
        relative="scale",
        order=1.0,
        tolerance=0.05,
        options=below_critical_rate(2),
        seconds=1,
    )
