"""Beyond the edge of stability: gradient descent on a linear network settles on an orbit of period two.

    u -> r u -> u,      eta s^(2 - 2/L) = (r - 1) (1 + r^(2L-1))^(2 - 2/L) / (r^(L-1) (r^L - 1) (1 + r^(L-1))^(1 - 2/L))

No minimum is stable beyond eta x sharpness = 2, and yet training neither converges nor diverges: the strongest mode
alternates between two strengths around its target, all weaker modes sit at theirs. Layers drift to balance on the way.
With two layers the orbit lasts until eta s = sqrt(5) - 1, or until it meets a second mode at eta (s_1 + s_2) = 2.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import partial

import numpy as np

from ...claims import Claim, Equals, Law, Threshold
from ...derivation.assumptions import Invariant
from ...derivation.standard_assumptions import Whitened
from ...dynamics.curvature.infinite_depth import infinite_depth_orbit
from ...dynamics.curvature.period_two import loss_of_stability, rotation_growth, rotation_threshold, two_step_orbit
from ...dynamics.linear_networks import growth_at_minimum, mode_flow, mode_map, sharpness_at_minimum, stack
from ...errors import BadData
from ...model import Theory, parameter
from ...setup import Initialisation, Instance, Optimizer, Setup
from ...singular_modes import singular_modes
from ...symbols import positive
from ...system import FixedPoint, System
from .starting_values import literal_start

_COHEN = "Cohen et al. 2021, arXiv:2103.00065"
_SAXE = "Saxe, McClelland & Ganguli 2013, arXiv:1312.6120"
_PREPARE = ("drop_constant", "centre", "whiten", "centre_targets", "second_moments")


@dataclass(frozen=True)
class BeyondTheEdge(Theory):
    """Beyond the edge of stability: the orbit of period two of linear networks."""

    depth: int = parameter(2, "number of weight matrices in `derive`, from 2", least=2)

    def derive(self) -> FixedPoint:
        return two_step_orbit(self.depth)

    def derivations(self) -> Mapping[str, System]:
        return {
            "gradient descent on a mode": mode_map(self.depth),
            "orbit of period two": two_step_orbit(self.depth),
            "two modes of two layers": rotation_threshold(),
            "orbit of infinitely many layers": infinite_depth_orbit(),
        }

    def claims(self) -> tuple[Claim, ...]:
        return (
            _orbit("orbit", 2, 2.16),
            _orbit("deeper_orbit", 3, 2.1),
            _contraction(),
            _random_start(),
            _rotation(),
        )


def _targets(instance: Instance) -> np.ndarray:
    return singular_modes(instance["x"], instance["y"])[1]


def _two_strongest(instance: Instance) -> dict:
    s = _targets(instance)
    if len(s) < 2:
        raise BadData("the input-output correlation has one mode", remedy="give targets of two dimensions or more")
    return {"s_i": s[0], "s_j": s[1]}


def _both_points(instance: Instance) -> dict:
    """Every target twice: on the lower and on the higher branch of its orbit."""
    s, eta = _targets(instance), instance.learning_rate
    return {"s": np.concatenate([s, s]), "branch": np.repeat([1.0, -1.0], len(s)), "eta": eta, "targets": s}


def _first_points(instance: Instance) -> dict:
    values, modes = _both_points(instance), len(_targets(instance))
    return {**values, "s": values["s"][[0, modes]], "branch": values["branch"][[0, modes]]}


def _one(instance: Instance) -> dict:
    s = _targets(instance)
    return {"s": s[:1], "eta": instance.learning_rate, "targets": s}


def _per_step(instance: Instance, multiplier):
    return np.sqrt(np.abs(multiplier))


def _attracting(depth: int) -> Invariant:
    """The orbit attracts: before the next period doubling, and before a second mode turns into the first.

    Distance: the larger of eta x sharpness over its value at the next doubling, and of eta Theta_12 over 2, with the
    Hessian eigenvalue Theta_12 of the two strongest modes at the minimum. For two layers both are exact; for more, the
    second is met up to 4 % before the orbit is lost.
    """

    def measure(values):
        targets = np.asarray(values["targets"], float)
        eta, share = float(values["eta"]), 2.0 / depth
        doubling = eta * depth * targets[0] ** (2 - share) / float(loss_of_stability(depth))
        if len(targets) == 1:
            return doubling
        first, second = targets[:2] ** share
        pair = sum(first ** (depth - layer) * second ** (layer - 1) for layer in range(1, depth + 1))
        return float(max(doubling, eta * pair / 2))

    return Invariant(
        "attracting orbit",
        "the learning rate lies below the next period doubling and below the edge of the two strongest modes together",
        reference=_COHEN,
        radius=1.0,
        measure=measure,
    )


def _end_to_end(instance: Instance) -> dict:
    """Targets twice, and the strengths u_k' W v_k at the start, for laws that know one point only."""
    start = literal_start(instance)
    return {name: np.concatenate([start[name], start[name]]) for name in ("s", "a")}


def _first_alone(instance: Instance) -> dict:
    values, modes = _end_to_end(instance), len(_targets(instance))
    return {name: array[[0, modes]] for name, array in values.items()}


def _beyond(rate: float) -> Optimizer:
    """Gradient descent at this rate over the sharpness of the flattest minimum: beyond the edge from 2, on any data."""
    return Optimizer(learning_rate=rate, unit="1/sharpness")


def _setup(depth: int, **changes) -> Setup:
    return replace(
        Setup(
            network=stack(depth),
            data="digits_halves",
            prepare=_PREPARE,
            axes={"width": 32},
            optimizer=_beyond(2.16),
            initialisation=Initialisation("balanced_minimum", 1e-3),
            steps=600,
            records=31,
        ),
        **changes,
    )


def _law(depth: int, bind, readout="strength") -> Law:
    return Law(
        "orbit of period two",
        partial(two_step_orbit, depth),
        bind,
        readout,
        assumptions=(Whitened(), _attracting(depth)),
        reference=_COHEN,
        solver="curvature.orbits:orbit",
    )


def _flow(depth: int, bind) -> Law:
    return Law("gradient flow", partial(mode_flow, depth), bind, "a", reference=_SAXE)


def _orbit(name: str, depth: int, rate: float) -> Claim:
    layers = {2: "two", 3: "three", 4: "four"}.get(depth, str(depth))
    return Equals(
        name,
        f"With a learning rate beyond the edge, {layers} layers alternate between the two derived strengths of the "
        "strongest mode, and all weaker modes sit at their targets.",
        "two_step_strength",
        _setup(depth, optimizer=_beyond(rate)),
        law=_law(depth, _both_points),
        rival=_flow(depth, _end_to_end),
        rival_home="learning rates below the edge",
        relative="scale",
        budget={"settling and rounding": 1e-10},
        options={"summary": "last"},
        seconds=2,
    )


def _contraction() -> Claim:
    return Equals(
        "contraction",
        "Every two steps shrink a deviation from the orbit by 9 - 2 (1 + eta s)^2.",
        "two_step_contraction",
        _setup(
            2,
            optimizer=_beyond(2.11),
            initialisation=Initialisation("balanced_minimum", 0.09),
            steps=50,
        ),
        law=_law(2, _one, "multiplier"),
        rival=Law(
            "two steps at the minimum",
            partial(growth_at_minimum, partial(sharpness_at_minimum, 2)),
            _one,
            positive("g") ** 2,
        ),
        rival_home="learning rates below the edge",
        relative="point",
        budget={"second order in the deviation, declared": 1e-4},
        options={"summary": "last"},
        seconds=1,
    )


def _random_start() -> Claim:
    return Equals(
        "random_start",
        "From random weights, neither aligned nor balanced, training ends on the same orbit.",
        "strongest_two_step_strength",
        _setup(
            2,
            data="digits",
            prepare=("drop_constant", "centre", "whiten", "one_hot", "centre_targets", "second_moments"),
            axes={"width": 64},
            optimizer=_beyond(2.02),
            initialisation=Initialisation(scale=0.1),
            steps=2000,
        ),
        law=_law(2, _first_points),
        rival=_flow(2, _first_alone),
        rival_home="learning rates below the edge",
        seeds=2,
        relative="scale",
        budget={"settling": 1e-9},
        options={"summary": "last"},
        seconds=2,
    )


def _rotation() -> Claim:
    return Threshold(
        "rotation_threshold",
        "On the orbit a rotation of the two strongest modes decays at 0.99 and grows at 1.01 of eta = 2 / (s_1 + s_2).",
        "rotation_growth",
        _setup(2, axes={"width": 8}, optimizer=Optimizer(), steps=1000, records=1001),
        law=Law("multipliers of the pair block", rotation_growth, _two_strongest, positive("g"), reference=_COHEN),
        rival=Law(
            "multiplier of one mode",
            partial(two_step_orbit, 2),
            _one,
            "multiplier",
            collect=_per_step,
            solver="curvature.orbits:orbit",
        ),
        rival_home="a single mode",
        axis="learning_rate",
        values=(0.99, 1.01),
        relative="point",
        critical=Law("2 / (s_1 + s_2)", rotation_threshold, _two_strongest, positive("eta_c")),
        budget={"phase of the rotation over 1000 steps, declared": 5e-3},
        seconds=3,
    )
