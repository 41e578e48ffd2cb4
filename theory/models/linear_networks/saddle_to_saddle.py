"""From saddle to saddle: a small start learns one mode after another, in steps that depth makes sharper.

    t_half = a0^(2/L - 1) / (s (L - 2)) + O(1),    loss after m modes = 1/2 sum_{k > m} s_k^2

Between jumps the network rests near a saddle whose rank is the number of modes learned. Two layers wait for
log(1/a0)/(2 s), deeper ones for a power of 1/a0, while the jumps themselves last as long as before.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import partial

import numpy as np

from ...claims import Claim, Equals, Law
from ...derivation.standard_assumptions import Aligned, Whitened
from ...dynamics.linear_networks import mode_flow, mode_map, stack
from ...dynamics.saddles import ranked_mode_flow, ranked_mode_map, rise_time
from ...model import Theory, parameter
from ...setup import Initialisation, Instance, Optimizer, Setup
from ...symbols import positive
from ...system import Flow, System
from .starting_values import below_critical_rate, literal_start

_WHITE = ("drop_constant", "centre", "whiten", "centre_targets", "second_moments")
_SAXE = "Saxe, McClelland & Ganguli 2013, arXiv:1312.6120"
_JACOT = "Jacot, Ged, Simsek, Hongler & Gabriel 2021, arXiv:2106.15933"


@dataclass(frozen=True)
class SaddleToSaddle(Theory):
    """Deep linear networks from a small start: one mode after another, from saddle to saddle."""

    depth: int = parameter(3, "number of weight matrices, from 3 on (two layers are the rival)", least=3)

    def derive(self) -> Flow:
        return ranked_mode_flow(self.depth)

    def derivations(self) -> Mapping[str, System]:
        return {
            "modes and their effective rank": ranked_mode_flow(self.depth),
            "gradient descent on the modes": ranked_mode_map(self.depth),
            "half-rise time of two layers": rise_time(2),
            "half-rise time": rise_time(self.depth),
            "half-rise time under gradient descent": rise_time(self.depth, corrected=True),
        }

    def claims(self) -> tuple[Claim, ...]:
        return (_staircase(self.depth), _rise_times(self.depth), _rank(self.depth), _large_start(self.depth))


def _start(depth: int, instance: Instance, of: int = 0) -> dict:
    """Modes at t = 0 of a network of `depth` layers, as layer strengths of one of `of` layers (default: the same)."""
    start = literal_start(instance)
    return {
        **start,
        "x_0": start["a"] / start["s"],
        "u": start["a"] ** (1 / (of or depth)),
        "target_power": float((instance["y"] ** 2).sum(1).mean()),
    }


def _setup(depth: int, **changes) -> Setup:
    return replace(
        Setup(
            network=stack(depth),
            data="digits_halves",
            prepare=_WHITE,
            axes={"width": 32},
            optimizer=Optimizer(learning_rate=0.5, unit="1/sharpness"),
            initialisation=Initialisation("aligned_balanced", 1e-6),
            time=750.0,
            records=151,
        ),
        **changes,
    )


def _recursions(depth: int, readout: str) -> dict:
    """The exact recursion of the modes, and that of two layers from the same end-to-end start."""
    return {
        "law": Law(
            f"{depth}-layer recursion",
            partial(ranked_mode_map, depth),
            partial(_start, depth),
            readout,
            assumptions=(Whitened(),),
            reference=_JACOT,
        ),
        "rival": Law(
            "two-layer recursion", partial(ranked_mode_map, 2), partial(_start, depth, of=2), readout, reference=_SAXE
        ),
        "rival_home": "two layers",
    }


def _staircase(depth: int) -> Claim:
    return Equals(
        "staircase",
        "From a small start the loss falls in steps, each when the law of its mode says, to 1/2 the sum of the squared "
        "targets not learned yet.",
        "loss",
        _setup(depth),
        **_recursions(depth, "loss"),
        relative="scale",
        budget={"rounding": 1e-10},
        options=below_critical_rate(depth),
        seconds=1,
    )


def _rise_times(depth: int) -> Claim:
    return Equals(
        "half_rise_times",
        "Modes reach half of their targets when the time law says, for starts over three powers of ten.",
        "half_rise",
        _setup(depth, optimizer=Optimizer(learning_rate=0.25, unit="1/sharpness"), records=3001),
        law=Law(
            "half-rise time",
            partial(rise_time, depth, corrected=True),
            partial(_start, depth),
            positive("T"),
            assumptions=(Whitened(),),
            reference=_SAXE,
            collect=partial(_within_the_run, depth),
        ),
        rival=Law(
            "half-rise time of two layers",
            partial(rise_time, 2, corrected=True),
            partial(_start, depth),
            positive("T"),
            collect=partial(_within_the_run, depth),
        ),
        rival_home="two layers",
        axis="scale",
        values=(1e-3, 1e-4, 1e-5, 1e-6),
        relative="scale",
        budget={"second order in the learning rate": 1e-3},
        options={"summary": "last", **below_critical_rate(depth)},
        seconds=2,
    )


def _within_the_run(depth: int, instance: Instance, times):
    """As measured: 0 for modes that rise after the end of training, or that start beyond half of their target."""
    modes = _start(depth, instance)
    rises = (modes["a"] < modes["s"] / 2) & (times <= instance.learning_rate * instance.steps[-1])
    return np.where(rises, times, 0.0)


def _rank(depth: int) -> Claim:
    return Equals(
        "effective_rank",
        "The entropy of the singular values of the end-to-end map first falls from full rank to one, then climbs as "
        "modes are learned.",
        "entropy_rank",
        _setup(depth, records=61),
        **_recursions(depth, "entropy_rank"),
        relative="scale",
        budget={"rounding": 1e-10},
        options=below_critical_rate(depth),
        seconds=1,
    )


def _large_start(depth: int) -> Claim:
    return Equals(
        "large_random_start",
        "From large random weights modes are neither aligned nor learned one by one: outside the theory.",
        "loss",
        _setup(
            depth,
            optimizer=Optimizer(learning_rate=0.06, unit="1/sharpness"),  # large weights are sharp
            initialisation=Initialisation("normal", 1.0),
            time=24.0,
            records=11,
        ),
        law=Law(
            "aligned modes",
            partial(mode_map, depth),
            partial(_start, depth),
            "loss",
            assumptions=(Whitened(), Aligned()),
        ),
        rival=Law("mode flow", partial(mode_flow, depth), partial(_start, depth), "loss"),
        rival_home="small learning rates",
        relative="scale",
        budget={"rounding": 1e-10},
        options=below_critical_rate(depth),
        expected="outside_domain",
        seconds=1,
    )
