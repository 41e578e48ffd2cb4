"""From lazy to rich: one factor in front of a network decides whether its kernel stands still or learns.

    f = alpha h(theta) at the learning rate / alpha^2:     f' = alpha sqrt((alpha delta)^2 + 4 f^2) (s - f)

for every mode of two linear layers, at every alpha: exponential (lazy) for alpha delta >> s, logistic (rich) for
alpha delta << s. In any network the kernel moves by an amount of order 1/alpha whose constant its second derivatives
at the start give (`theory.lazy_limit.tangent_hierarchy`); where that is of order one, lazy theory is refuted.

>>> print(LazyToRich().derive().equations[0])
alpha*(-f + s)*sqrt(4*f**2 + alpha**2*delta**2)
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cache, partial
from typing import Any

import numpy as np
import sympy as sp

from ...architecture.network import chain
from ...claims import Claim, Converges, Equals, Law
from ...derivation.assumptions import Invariant
from ...derivation.standard_assumptions import Whitened
from ...dynamics.linear_networks import gram_map, stack
from ...errors import BadData
from ...lazy_limit.output_scale import (
    ALPHA,
    CHIZAT,
    IMBALANCE,
    SAXE,
    effective_start,
    lazy_flow,
    rich_flow,
    unit_flow,
    whole_range_flow,
)
from ...lazy_limit.tangent_hierarchy import DYER, MOVEMENT_ROWS, bound, second_order_descent
from ...model import Theory, parameter
from ...regression.kernels import ntk
from ...regression.linearised import LEE, tangent_kernel, training_residuals
from ...setup import Initialisation, Instance, Optimizer, Setup
from ...singular_modes import singular_modes
from ...system import Flow, Map, System

_FUKUMIZU = "Fukumizu 1998"
_WHITE = ("drop_constant", "centre", "whiten", "one_hot", "centre_targets", "second_moments")
_MOST_OUTPUTS = 32
_STANDARD = ("drop_constant", "centre", "unit_scale", "parity")


@dataclass(frozen=True)
class LazyToRich(Theory):
    """Networks behind an output scale: lazy, rich, and exactly in between"""

    imbalance: float = parameter(1.0, "delta, the imbalance W2'W2 - W1W1' = delta I of the claims about modes")

    def __post_init__(self):
        super().__post_init__()
        if self.imbalance <= 0:
            raise BadData(f"imbalance {self.imbalance:g}", where="lazy-to-rich", remedy="give a number above 0")

    def derive(self) -> Flow:
        return whole_range_flow()

    def derivations(self) -> Mapping[str, System]:
        return {
            "a mode behind an output scale": whole_range_flow(),
            "its lazy end": lazy_flow(),
            "its rich end": rich_flow(),
            "units of a wide layer": unit_flow(),
            "first correction to the lazy limit of any network": second_order_descent(),
        }

    def claims(self) -> tuple[Claim, ...]:
        return (
            self._whole_range(),
            self._kernel_of_modes(),
            _movement(),
            _correction(),
            _lazy_training(),
            _lazy_theory_when_rich(),
        )

    def _whole_range(self) -> Claim:
        return Equals(
            "whole_range",
            "Over a hundredfold range of the output scale, from rich to lazy, every mode of two linear layers follows "
            "one closed form.",
            "mode_strength",
            self._modes(),
            law=self._law("closed form", whole_range_flow, 0),
            rival=self._law("lazy limit", lazy_flow, 0, reference=CHIZAT),
            rival_home="an output scale far above s / delta",
            axis="output_scale",
            values=(0.1, 1.0, 10.0),
            # half of rate x largest rate in f, sqrt(delta^2 + 4 s^2 / alpha^2) = 6 at the smallest scale
            budget={"step size": 6e-3},
            seconds=2,
        )

    def _kernel_of_modes(self) -> Claim:
        return Equals(
            "kernel_of_modes",
            "How far the tangent kernel of two linear layers moves, at every time and output scale, follows from the "
            "closed form of the modes.",
            "kernel_movement",
            self._modes(),
            law=self._law("closed form", whole_range_flow, 0, collect=_movement_of_modes),
            rival=self._law("rich limit", rich_flow, effective_start(), collect=_movement_of_modes, reference=SAXE),
            rival_home="an output scale far below s / delta",
            axis="output_scale",
            values=(0.05, 0.2, 0.8),
            relative="scale",
            # the same at a scale of 0.05, where the largest rate is 12
            budget={"step size": 1.2e-2},
            seconds=2,
        )

    def _modes(self) -> Setup:
        """As many hidden units as outputs: one layer starts as sqrt(delta) x a rotation, the other at zero."""
        return Setup(
            network=chain("input", "output", "output"),
            data="digits",
            prepare=_WHITE,
            optimizer=Optimizer(learning_rate=0.002),
            initialisation=Initialisation("lambda_balanced", 0.0, self.imbalance),
            time=6.0,
            records=41,
        )

    def _law(self, name: str, system: Any, start: Any, reference: str = SAXE, collect: Any = None) -> Law:
        bind = partial(_bound_modes, self.imbalance, start)
        return Law(name, system, bind, "f", (Whitened(), ROTATION), reference, collect)


# --- modes of linear networks ----------------------------------------------------------------------------------------


def _from_rotation(arrays: Mapping[str, Any]) -> float:
    """Distance of the start from W1 = 0, W2 W2' = delta I."""
    W1, W2, delta = arrays["W1"], arrays["W2"], arrays["delta"]
    return float((np.abs(W2 @ W2.T - delta * np.eye(len(W2))).max() + np.abs(W1).max()) / delta)


ROTATION = Invariant(
    "start from a rotation",
    "W1 = 0 and W2 W2' = delta I: every mode starts at zero with the same imbalance, and none turns into another",
    reference=SAXE,
    radius=1e-9,
    measure=_from_rotation,
)


def _bound_modes(imbalance: float, start: Any, instance: Instance) -> dict[str, Any]:
    outputs = instance["y"].shape[1]
    if outputs > _MOST_OUTPUTS:
        found, remedy = (
            f"{outputs} outputs, kernels over pairs of them",
            f"give at most {_MOST_OUTPUTS} classes or columns",
        )
        raise BadData(found, where="modes behind an output scale", remedy=remedy)
    strengths, alpha = singular_modes(instance["x"], instance["y"])[1], instance.setup.output_scale
    first = float(sp.sympify(start).subs({ALPHA: alpha, IMBALANCE: imbalance}))
    return {"s": strengths, "f": np.full(len(strengths), first), "alpha": alpha, "delta": imbalance}


def _movement_of_modes(instance: Instance, values: np.ndarray) -> np.ndarray:
    """Mode strengths (T, K) to the relative change (T, 1) of the kernel x'P x 1 + x'x T, P = W1'W1, T = W2 W2'.

    Both layers gain the same, (sqrt(delta^2 + 4 z^2) - delta) / 2 a mode, delta being their difference.
    """
    left, _, right = singular_modes(instance["x"], instance["y"])
    delta, x = instance.setup.initialisation.imbalance, instance["x"][:MOVEMENT_ROWS]
    gain = (np.hypot(delta, 2 * values / instance.setup.output_scale) - delta) / 2
    inner, below, outputs = x @ x.T, x @ right.T, len(left)
    first = np.einsum("pk,tk,qk->tpq", below, gain, below)
    # |A x 1 + B x T|^2, and the columns of `left` are orthonormal
    square = (
        outputs * (first**2).sum((1, 2))
        + 2 * np.einsum("tpq,pq->t", first, inner) * gain.sum(1)
        + (inner**2).sum() * (gain**2).sum(1)
    )
    return np.sqrt(square)[:, None] / (delta * np.linalg.norm(inner) * np.sqrt(outputs))


# --- any network -----------------------------------------------------------------------------------------------------


def _wide(**moves: Any) -> Setup:
    return Setup(
        network=chain("input", "width", "output", activation="erf", parameterization="ntk"),
        data="digits",
        prepare=_STANDARD,
        sample="subset",
        axes={"width": 128, "n": 20},
        optimizer=Optimizer(learning_rate=1.0, unit="1/kernel"),
        initialisation=Initialisation("standard_normal"),
        steps=50,
        records=6,
        options={"kernel": ntk(depth=2, activation="erf", weight_variance=1.0), "centred": True},
    ).at(**moves)


def _scaled_rate(instance: Instance) -> dict[str, Any]:
    """The output scale and the learning rate it divides: what moves outputs is the latter."""
    alpha = instance.setup.output_scale
    return {"alpha": alpha, "eta": instance.learning_rate * alpha**2}


def _second_order(instance: Instance) -> dict[str, Any]:
    network = instance.setup.network
    assert network is not None
    return {**bound(network, instance.weights, instance["x"], instance["y"]), **_scaled_rate(instance)}


def _own_kernel(instance: Instance) -> dict[str, Any]:
    network = instance.setup.network
    assert network is not None
    return _residuals(instance, tangent_kernel(network, instance.weights, instance["x"]))


def _infinite_kernel(instance: Instance) -> dict[str, Any]:
    return _residuals(instance, instance.setup.options["kernel"](instance["x"] / np.sqrt(instance["x"].shape[1])))


def _residuals(instance: Instance, gram: np.ndarray) -> dict[str, Any]:
    y = instance["y"]
    return {"K": gram / len(gram), "R": y, "y": y, "samples": len(gram), **_scaled_rate(instance)}


def _lazy_outputs() -> Any:
    (R,) = training_residuals().unknowns
    return sp.MatrixSymbol("y", *R.shape) - R


@cache
def standing_still() -> Map:
    """The lazy limit of the kernel: it does not move.

    >>> standing_still().observables["movement"]
    0
    """
    second = second_order_descent()
    trail = second.trail.then("lazy limit", "alpha goes to infinity", assumption="lazy", reference=CHIZAT)
    return replace(second, observables={"movement": sp.Integer(0) * ALPHA}, trail=trail)


def _movement() -> Claim:
    return Converges(
        "kernel_movement",
        "The tangent kernel of a network moves as 1 / output scale, with the constant that its second derivatives at "
        "the start give: what is missing falls as the square.",
        "kernel_movement",
        _wide(),
        law=Law("first order in 1/alpha", second_order_descent, _second_order, "movement", reference=DYER),
        rival=Law("frozen kernel", standing_still, _second_order, "movement", reference=CHIZAT),
        rival_home="an infinite output scale",
        axis="output_scale",
        values=(100.0, 300.0, 900.0),
        seeds=2,
        relative="none",
        order=-2.0,
        tolerance=0.1,
        seconds=2,
    )


def _correction() -> Claim:
    return Converges(
        "linearisation_error",
        "The outputs of a network leave its linearisation by the predicted amount of order 1 / output scale: what is "
        "missing falls as the square.",
        "outputs",
        _wide(),
        law=Law("first order in 1/alpha", second_order_descent, _second_order, "outputs", reference=DYER),
        rival=Law("linearised network", training_residuals, _own_kernel, _lazy_outputs(), reference=LEE),
        rival_home="the same limit, but only as 1/alpha",
        axis="output_scale",
        values=(10.0, 30.0, 90.0),
        seeds=2,
        relative="none",
        order=-2.0,
        tolerance=0.1,
        seconds=2,
    )


def _lazy_training() -> Claim:
    return Equals(
        "lazy_training",
        "At an output scale of 400 the outputs follow the linearised network within 0.1 % of the targets.",
        "outputs",
        _wide(output_scale=400.0),
        law=Law("linearised network", training_residuals, _own_kernel, _lazy_outputs(), reference=LEE),
        rival=Law("infinite-width kernel", training_residuals, _infinite_kernel, _lazy_outputs(), reference=LEE),
        rival_home="infinite width",
        seeds=2,
        relative="scale",
        budget={"declared: order 1/alpha": 1e-3},
        seconds=1,
    )


# --- lazy theory where it must fail ----------------------------------------------------------------------------------


def _gram(instance: Instance) -> dict[str, Any]:
    """Exact descent at any output scale: targets y / alpha + h_0 at the learning rate of the outputs."""
    W1, W2, alpha = instance["W1"], instance["W2"], instance.setup.output_scale
    Sigma_xx, Sigma_yx = instance.dataset.covariances()
    start = W2 @ W1
    return {
        "P": W1.T @ W1,
        "R": start,
        "T": W2 @ W2.T,
        "Sigma_xx": Sigma_xx,
        "Sigma_yx": Sigma_yx / alpha + start @ Sigma_xx,
        "X": instance["x"],
        "start": start,
        **_scaled_rate(instance),
    }


def _gram_outputs() -> Any:
    R = gram_map().unknowns[1]
    X = sp.MatrixSymbol("X", sp.Symbol("P", integer=True, positive=True), R.shape[1])
    return ALPHA * X * (R - sp.MatrixSymbol("start", *R.shape)).T


def _lazy_theory_when_rich() -> Claim:
    return Equals(
        "lazy_theory_when_rich",
        "At an output scale of 0.1 two linear layers of width 32, a richness gamma_0 of 1.8, train like their "
        "linearisation: refuted, while the exact law of the Gram matrices of their weights holds.",
        "outputs",
        replace(
            _wide(output_scale=0.1, width=32),
            network=stack(2),
            optimizer=Optimizer(learning_rate=0.1, unit="1/trace"),
            initialisation=Initialisation("normal"),
            options={"centred": True},
        ),
        law=Law("linearised network", training_residuals, _own_kernel, _lazy_outputs(), reference=LEE),
        rival=Law("Gram matrices of the weights", gram_map, _gram, _gram_outputs(), reference=_FUKUMIZU),
        rival_home="every output scale",
        seeds=2,
        relative="scale",
        budget={"declared: order 1/alpha": 0.05},
        expected="refuted",
        seconds=1,
    )
