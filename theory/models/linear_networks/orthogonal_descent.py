"""Deep linear networks under Muon: every weight matrix moves along the polar factor of its gradient.

    W+ = W - eta polar(grad)      ->      u+ = u + eta sign(s - u^L),      a = u^L = (u_0 + eta k)^L  until  a = s

All modes grow at the same rate from the first step on: the mode of strength s is learned after (s^(1/L) - u_0) / eta
steps. Gradient descent waits at saddles for times that grow as the start becomes small, the longer the weaker the mode.

The alternation about a target may repel: the polar factor divides by the residual, so that what leads from a mode to
inputs without a target grows, over two steps that miss the target by y eta and (1 - y) eta, by the factor

    |(1 - 1/(L y)) (1 - 1/(L (1 - y)))|.

Rounding that has grown to the budget is where the domain of the claim ends.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial

import numpy as np

from ...claims import Claim, Equals, Law
from ...derivation.assumptions import Invariant
from ...derivation.standard_assumptions import Aligned, Whitened
from ...dynamics.linear_networks import mode_map, stack
from ...model import Theory, parameter
from ...optimizers.sign_modes import linear_growth, orthogonal_map
from ...setup import Initialisation, Instance, Optimizer, Setup
from ...symbols import positive
from ...system import System
from .starting_values import literal_start

_MUON = "Bernstein & Newhouse 2024, arXiv:2409.20325"
_WHITE = ("drop_constant", "centre", "whiten", "one_hot", "centre_targets", "second_moments")
_u = positive("u")
_BUDGET = 1e-10


@dataclass(frozen=True)
class OrthogonalDescent(Theory):
    """Muon on deep linear networks: all modes grow at one rate, without plateaus."""

    depth: int = parameter(3, "number of weight matrices", least=2)

    def derive(self) -> System:
        return linear_growth(int(self.depth))

    def derivations(self) -> Mapping[str, System]:
        depth = int(self.depth)
        return {
            "Muon on the matrices": orthogonal_map(depth),
            "one mode and its solution": linear_growth(depth),
        }

    def claims(self) -> tuple[Claim, ...]:
        return (_linear_growth(int(self.depth)),)


def _start(instance: Instance) -> dict:
    """Strengths per layer at t = 0, of an aligned balanced network, and the recorded steps."""
    start = literal_start(instance)
    return {**start, "start": start["u"], "k": instance.steps[:, None], "eta": instance.learning_rate}


def repulsion(depth: int, share):
    """Factor over two steps by which a mode's alternation magnifies what leads from it to inputs without a target.

    At a residual of r = s - u^L = L u^(L-1) y eta the first layer's gradient is u^(L-1) r; a weight e beside it adds
    -u^(2L-2) e, of which the polar factor makes -e/(L y eta). `share` is y, the part of a step that is missing.

    >>> float(repulsion(2, 0.5)), round(float(repulsion(2, 0.05)), 3)
    (0.0, 4.263)
    """
    with np.errstate(divide="ignore"):
        return np.abs((1 - 1 / (depth * share)) * (1 - 1 / (depth * (1 - share))))


def _aligned_alternation(depth: int) -> Invariant:
    """Distance: rounding times what the alternations of the run magnify it by, at the mode that repels most."""

    def measure(values):
        needed = (values["s"] ** (1 / depth) - values["start"]) / values["eta"]
        pairs = np.maximum(np.max(values["k"]) - needed, 0.0) / 2
        growth = np.maximum(pairs * np.log(np.maximum(repulsion(depth, needed % 1.0), 1.0)), 0.0)
        return float(np.finfo(float).eps * np.exp(min(float(np.max(growth)), 700.0)))

    return Invariant(
        "aligned alternation",
        "alternations about a target have not yet magnified rounding to the size of the budget",
        reference=_MUON,
        radius=_BUDGET,
        measure=measure,
    )


def _linear_growth(depth: int) -> Claim:
    return Equals(
        "linear_growth",
        f"Under Muon all modes of {depth} aligned layers grow as (u_0 + eta k)^{depth}, pass targets after exactly "
        "the predicted number of steps, and alternate about them until rounding has grown.",
        "mode_strength",
        Setup(
            network=stack(depth),
            data="digits",
            prepare=_WHITE,
            axes={"width": 32},
            optimizer=Optimizer("muon", learning_rate=0.01),
            initialisation=Initialisation("aligned_balanced", 1e-4),
            steps=65,
            records=66,
        ),
        law=Law(
            "growth at one rate",
            partial(linear_growth, depth),
            _start,
            "solution",
            assumptions=(Whitened(), Aligned(), _aligned_alternation(depth)),
            reference=_MUON,
        ),
        rival=Law("gradient descent", partial(mode_map, depth), _start, _u**depth),
        rival_home="gradient descent, where a mode moves in proportion to its gradient",
        seeds=2,
        relative="final",
        budget={"rounding": _BUDGET},
        seconds=2,
    )
