"""Deep linear networks under Muon: every weight matrix moves along the polar factor of its gradient.

    W+ = W - eta polar(grad)      ->      u+ = u + eta sign(s - u^L),      a = u^L = (u_0 + eta k)^L  until  a = s

All modes grow at the same rate from the first step on: the mode of strength s is learned after (s^(1/L) - u_0) / eta
steps. Gradient descent waits at saddles for times that grow as the start becomes small, the longer the weaker the mode.

The alternation about a target is no attractor: where a residual is small against a step, the polar factor magnifies
what is not aligned, rounding included. The claim covers growth and the first alternations.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial

import numpy as np

from ...claims import Claim, Equals, Law
from ...derivation.standard_assumptions import Aligned, Whitened
from ...dynamics.linear_networks import mode_map, stack
from ...errors import BadData
from ...model import Theory, parameter
from ...optimizers.sign_modes import linear_growth, orthogonal_map
from ...setup import Initialisation, Instance, Optimizer, Setup
from ...singular_modes import singular_modes
from ...symbols import positive
from ...system import System

_MUON = "Bernstein & Newhouse 2024, arXiv:2409.20325"
_WHITE = ("drop_constant", "centre", "whiten", "one_hot", "centre_targets", "second_moments")
_u = positive("u")


@dataclass(frozen=True)
class OrthogonalDescent(Theory):
    """Muon on deep linear networks: all modes grow at one rate, without plateaus."""

    depth: int = parameter(3, "number of weight matrices")

    def __post_init__(self):
        if not (math.isfinite(self.depth) and self.depth == int(self.depth) and self.depth >= 2):
            raise BadData(f"depth {self.depth}", where="orthogonal-descent", remedy="give a whole number from 2")

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
    depth = len(instance.weights)
    left, singular, right = singular_modes(instance["x"], instance["y"])
    product = instance["W1"]
    for layer in range(2, depth + 1):
        product = instance[f"W{layer}"] @ product
    strength = np.abs(np.einsum("ok,od,kd->k", left, product, right)) ** (1 / depth)
    return {
        "s": singular,
        "u": strength,
        "start": strength,
        "k": instance.steps[:, None],
    }


def _linear_growth(depth: int) -> Claim:
    return Equals(
        "linear_growth",
        f"Under Muon all modes of {depth} aligned layers grow as (u_0 + eta k)^{depth} and overshoot targets after "
        "exactly the predicted number of steps.",
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
            assumptions=(Whitened(), Aligned()),
            reference=_MUON,
        ),
        rival=Law("gradient descent", partial(mode_map, depth), _start, _u**depth),
        rival_home="gradient descent, where a mode moves in proportion to its gradient",
        seeds=2,
        relative="final",
        budget={"rounding": 1e-10},
        seconds=3,
    )
