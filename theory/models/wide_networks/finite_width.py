"""Networks of finite width: how far, and how fast, they are from the limit of infinite width.

    E f = u + c_1 / N + O(1/N^2),    f - E f = O(N^-1/2)

Two linear layers with one input are solved for every width (`theory.lazy_limit.finite_width`), so that c_1 is
derived. What the limit says about a network of width 16 is refused: its kernel is not the limit's.

>>> print(FiniteWidth().derive().equations[1])
eta*s - eta*u - 2*eta*v + v
"""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np
import sympy as sp

from ...architecture.network import chain
from ...claims import Claim, Equals, Law
from ...dataset import Dataset
from ...derivation.assumptions import Closure
from ...lazy_limit.finite_width import (
    DYER,
    HUANG,
    TARGET,
    first_correction,
    mean_flow,
    mean_map,
    one_network_map,
    own_numbers,
)
from ...model import Theory, parameter
from ...regression.kernels import ntk
from ...regression.linearised import LEE, tangent_kernel, training_residuals
from ...setup import Initialisation, Instance, Optimizer, Setup
from ...symbols import TIME
from ...system import Map, System

HORIZON = 2.0
_ONE = Dataset(np.ones((1, 1)), np.ones((1, 1)), "one input")


@dataclass(frozen=True)
class FiniteWidth(Theory):
    """Networks of finite width: corrections to the infinite one"""

    width: int = parameter(
        16, "hidden units of the two-layer linear networks; means are over networks of 256 times as many", least=4
    )

    def derive(self) -> Map:
        return mean_map()

    def derivations(self) -> Mapping[str, System]:
        return {
            "one network of any width": one_network_map(),
            "the mean over networks": mean_map(),
            "the mean at a small learning rate": mean_flow(),
        }

    def claims(self) -> tuple[Claim, ...]:
        return (self._one_network(), self._mean(), self._limit())

    def _one_network(self) -> Claim:
        return Equals(
            "one_network",
            "Every single network of small width follows, step by step, the law that its own kernel and output at the "
            "start select.",
            "outputs",
            self._linear(records=21),
            law=Law("output and kernel", one_network_map, _start, "f", reference=HUANG),
            rival=Law("mean over networks", mean_map, _start, "mean", reference=DYER),
            rival_home="averages over many networks",
            seeds=4,
            relative="none",
            budget={"rounding": 1e-12},
            seconds=1,
        )

    def _mean(self) -> Claim:
        # what a single network still scatters falls faster than the correction: wide networks tell it with few seeds
        width = 256 * self.width
        return Equals(
            "mean_correction",
            "On average networks are behind the limit of infinite width by c_1 / width. What one network owes to its "
            "own kernel and output at the start, zero on average, is taken out, so that few suffice.",
            "outputs",
            self._linear(records=5, width=width),
            law=Law("to order 1/width", mean_map, _start, "own_mean", reference=DYER),
            rival=Law("infinite width", mean_map, _start, "own_infinite", reference=LEE),
            rival_home="infinite width",
            seeds=40,
            stochastic=True,
            relative="none",
            budget={"declared: a tenth of c_1 / width": 0.1 * _largest_correction() / width},
            seconds=2,
            options={"scatter": 0.8 / width**1.5},
        )

    @staticmethod
    def _limit() -> Claim:
        return Equals(
            "infinite_width_theory",
            "The limit of infinite width is refused for a network of width 16: the kernel it starts with is another.",
            "outputs",
            Setup(
                network=chain("input", "width", "output", activation="erf", parameterization="ntk"),
                data="digits",
                prepare=("drop_constant", "centre", "unit_scale", "parity"),
                sample="subset",
                axes={"width": 16, "n": 20},
                optimizer=Optimizer(learning_rate=0.5, unit="1/kernel"),
                initialisation=Initialisation("standard_normal"),
                steps=50,
                records=6,
                options={"kernel": ntk(depth=2, activation="erf", weight_variance=1.0), "centred": True},
            ),
            law=Law("infinite-width kernel", training_residuals, _infinite_kernel, _trained(), (WIDE,), reference=LEE),
            rival=Law("own tangent kernel", training_residuals, _own_kernel, _trained(), reference=LEE),
            rival_home="a large output scale, at any width",
            relative="scale",
            budget={"declared": 0.05},
            expected="outside_domain",
            seconds=1,
        )

    def _linear(self, **moves: Any) -> Setup:
        return Setup(
            network=chain(1, "width", 1, parameterization="ntk"),
            data=_ONE,
            axes={"width": self.width},
            optimizer=Optimizer(learning_rate=0.02),
            initialisation=Initialisation("standard_normal"),
            time=HORIZON,
            options={"centred": True},
        ).at(**moves)


# --- one input, two linear layers -----------------------------------------------------------------------------------


@cache
def _largest_correction() -> float:
    """max |c_1| over the time of the claim, at the target 1."""
    return float(np.abs(sp.lambdify(TIME, first_correction().subs(TARGET, 1))(np.linspace(0, HORIZON, 400))).max())


def _start(instance: Instance) -> dict[str, Any]:
    zero = dict.fromkeys(("f", *map(str, mean_map().unknowns)), 0.0)
    return {**zero, **own_numbers(instance.weights), "s": float(instance["y"][0, 0])}


# --- a network on data ----------------------------------------------------------------------------------------------


def _kernels(instance: Instance) -> tuple[np.ndarray, np.ndarray]:
    """The tangent kernel of the network itself and that of the infinitely wide one."""
    x, network = instance["x"], instance.setup.network
    assert network is not None
    limit = instance.setup.options["kernel"](x / np.sqrt(x.shape[1]))
    return tangent_kernel(network, instance.weights, x), limit


def _residuals(instance: Instance, gram: np.ndarray) -> dict[str, Any]:
    own, limit = _kernels(instance)
    distance = float(np.linalg.norm(own - limit) / np.linalg.norm(limit))
    y = instance["y"]
    rate = instance.learning_rate * instance.setup.output_scale**2  # that of the outputs
    return {"K": gram / len(gram), "R": y, "y": y, "samples": len(gram), "eta": rate, "kernel_distance": distance}


def _own_kernel(instance: Instance) -> dict[str, Any]:
    return _residuals(instance, _kernels(instance)[0])


def _infinite_kernel(instance: Instance) -> dict[str, Any]:
    return _residuals(instance, _kernels(instance)[1])


def _trained() -> Any:
    (R,) = training_residuals().unknowns
    return sp.MatrixSymbol("y", *R.shape) - R


WIDE = Closure(
    "infinite width",
    "the tangent kernel at the start is that of the infinitely wide network, within a tenth of its norm",
    reference=LEE,
    radius=0.1,
    measure=lambda arrays: arrays["kernel_distance"],
)
