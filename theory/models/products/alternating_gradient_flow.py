"""Alternating gradient flow: small networks of homogeneous units learn in jumps, and when and in what order follows.

    kappa U t = log(1/epsilon)  (kappa = 2),      kappa (kappa - 2) U t = epsilon^(2 - kappa)  (kappa > 2)

A sleeping unit climbs its utility U, the mean product of its output with the residual; between jumps U is constant, and
what is awake minimises the loss. The same algorithm serves linear layers, products of weights, and any unit that is a
homogeneous function of its parameters.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial

import numpy as np

from ...claims import Claim, Converges, Law
from ...dynamics.linear_networks import stack
from ...dynamics.products.alternating_flow import KUNIN, jump_times, linear_units, norm_flow, power_units
from ...dynamics.products.diagonal_descent import successive_jumps_of_descent
from ...dynamics.products.diagonal_networks import network
from ...model import Theory, parameter
from ...setup import Initialisation, Instance, Optimizer, Setup
from ...singular_modes import singular_modes
from ...system import FixedPoint, System

_SOLVER, _HOMOTOPY = "alternating_flow:passages", "implicit_bias:passages"
_JUMPS = 2  # of the linear layers: as many units as are needed to pass the levels


@dataclass(frozen=True)
class AlternatingGradientFlow(Theory):
    """Alternating gradient flow: from small starts, units wake one after another, at predicted times."""

    degree: int = parameter(2, "degree kappa of a unit in its own parameters: in `derive`", least=2)

    def derive(self) -> FixedPoint:
        return jump_times(self.degree)

    def derivations(self) -> Mapping[str, System]:
        return {
            "growth of a sleeping unit": norm_flow(self.degree),
            "time of waking": jump_times(self.degree),
            "two linear layers": linear_units(),
            "products of equal factors": power_units(self.degree),
        }

    def claims(self) -> tuple[Claim, ...]:
        return (_linear_layers(), _three_factors())


# --- from an instance to the numbers of a law ------------------------------------------------------------------------


def _layers(instance: Instance) -> dict:
    X, y = instance["x"], instance["y"]
    return {
        "X": X,
        "y": y,
        "rows": X,
        "shapes": {"w": (X.shape[1], 1), "a": (y.shape[1], 1)},
        "units": _JUMPS,
        "degree": 2,
        "exchangeable": True,
        "epsilon": np.exp(-instance.setup.initialisation.scale),
        "levels": instance.setup.options["levels"],
    }


def _separate_modes(instance: Instance) -> dict:
    """The same units on white inputs with the same singular modes of the input-output correlation."""
    _, singular, _ = singular_modes(instance["x"], instance["y"])
    count = len(singular)
    white = np.sqrt(count) * np.eye(count)
    return {
        **_layers(instance),
        "X": white,
        "rows": white,
        "y": white * singular,
        "shapes": {"w": (count, 1), "a": (count, 1)},
    }


def _entries(instance: Instance) -> dict:
    """Every entry of w_+ and w_- is a unit that sees one column of the inputs, or its negative."""
    columns = instance["x"].T[:, :, None]
    return {
        "own": {"x": np.concatenate([columns, -columns])},
        "y": instance["y"],
        "rows": instance["x"],
        "shapes": {"w": (1, 1)},
        "units": 2 * len(columns),
        "degree": 3,
        "epsilon": float(instance["w_p"][0]),
        "levels": instance.setup.options["levels"],
    }


# --- claims ----------------------------------------------------------------------------------------------------------


def _linear_layers() -> Claim:
    return Converges(
        "linear_layers",
        "Two linear layers on inputs that are not white: times of the loss drops, over log(1/epsilon), approach the "
        "predicted ones, with an error that is a constant time.",
        "passage_times",
        Setup(
            network=stack(2),
            data="digits_halves",
            # a weak direction of inputs is still relaxing when the next unit wakes, at any epsilon that floats can hold
            prepare=("drop_constant", "centre", "centre_targets", "leading_directions", "second_moments"),
            axes={"width": 2},
            optimizer=Optimizer(learning_rate=0.05),
            initialisation=Initialisation("vanishing", 24.0),
            time=520.0,
            records=4000,
            options={"levels": (0.85, 0.6)},
        ),
        law=Law("alternating flow", linear_units, _layers, "t", reference=KUNIN, solver=_SOLVER),
        rival=Law("separate modes", linear_units, _separate_modes, "t", solver=_SOLVER),
        rival_home="white inputs, where every mode keeps the utility it starts with",
        axis="scale",
        values=(24.0, 48.0, 96.0),
        relative="point",
        order=-1.0,
        tolerance=0.05,
        options={"summary": "last"},
        seconds=4,
    )


def _three_factors() -> Claim:
    return Converges(
        "three_factors",
        "Three equal factors wake at times of order 1/epsilon, with an error that is a constant time.",
        "passage_times",
        Setup(
            network=network(3),
            data="patches_small",
            prepare=("second_moments",),
            optimizer=Optimizer(learning_rate=1.0),
            initialisation=Initialisation("constant", 0.01),
            time=18000.0,
            records=4000,
            options={"levels": (0.85, 0.5, 0.3, 0.15)},
        ),
        law=Law("units of degree three", partial(power_units, 3), _entries, "t", reference=KUNIN, solver=_SOLVER),
        rival=Law("units of degree two", successive_jumps_of_descent, _squares, "t", solver=_HOMOTOPY),
        rival_home="two equal factors",
        axis="scale",
        values=(0.01, 0.005, 0.0025),
        relative="point",
        order=1.0,
        tolerance=0.05,
        options={"summary": "last"},
        seconds=2,
    )


def _squares(instance: Instance) -> dict:
    """The same inputs as rows over root P, and the start of every entry."""
    root, values = np.sqrt(len(instance["x"])), _entries(instance)
    return {
        "X": instance["x"] / root,
        "y": instance["y"] / root,
        "alpha": values["epsilon"],
        "levels": values["levels"],
    }
