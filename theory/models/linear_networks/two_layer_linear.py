"""Two-layer linear networks on white inputs from any lambda-balanced start: solved exactly, modes mixed or not.

    S' = F S + S F - S S,      S = Q Q',   Q = [W1'; W2],   F = [[-lambda/2, Sigma_yx'], [Sigma_yx, lambda/2]]

No alignment is assumed: how modes rotate into each other while they grow is part of the solution. The imbalance lambda
= W2'W2 - W1W1' turns the network from rich (0: sigmoidal, one mode after the other) to lazy (large: all at once).
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cache, partial

import numpy as np
import sympy as sp
from sympy.matrices.expressions.diagonal import DiagonalOf

from ...claims import Claim, Converges, Equals, Law
from ...derivation.lambda_balanced import IMBALANCE, LambdaBalanced
from ...derivation.standard_assumptions import Whitened
from ...dynamics.linear_networks import mode_flow, stack
from ...dynamics.two_layer import (
    balanced_flow,
    effective_rank,
    gram_flow,
    linearised_flow,
    matrix_flow,
    modified_gram_flow,
    riccati_flow,
    riccati_matrices,
    stacked_flow,
)
from ...model import Theory, parameter
from ...setup import Initialisation, Instance, Optimizer, Setup
from ...singular_modes import KERNEL_ROWS, crossed, singular_modes
from ...symbols import dimensions
from ...system import Flow, Map, System
from .starting_values import below_critical_rate, effective_start

_EXACT = "Braun, Domine, Fitzgerald & Saxe 2022; Domine et al. 2024, arXiv:2409.14623"
_SAXE = "Saxe, McClelland & Ganguli 2013, arXiv:1312.6120"
_LAZY = "Chizat, Oyallon & Bach 2019, arXiv:1812.07956"


@dataclass(frozen=True)
class TwoLayerLinear(Theory):
    """Two-layer linear networks: exact matrix dynamics from unaligned, lambda-balanced weights."""

    imbalance: float = parameter(-0.3, "lambda in W2'W2 - W1W1' = lambda I, of the claims that start so")

    def derive(self) -> Flow:
        return riccati_flow()

    def derivations(self) -> Mapping[str, System]:
        return {
            "the two weight matrices": matrix_flow(),
            "Gram matrices, for any data": gram_flow(),
            "Gram matrices at a finite learning rate": modified_gram_flow(),
            "lambda-balanced weights on white inputs": balanced_flow(),
            "both layers as one matrix": stacked_flow(),
            "matrix Riccati equation": riccati_flow(),
            "its solution": linearised_flow(),
        }

    def claims(self) -> tuple[Claim, ...]:
        return (
            _riccati_order(self.imbalance),
            _tangent_kernel(self.imbalance),
            _small_random_start(),
            _half_rise(),
            _effective_rank(),
            _not_white(self.imbalance),
        )


# --- from an instance to the numbers of a law ------------------------------------------------------------------------


def _bound(imbalance: float, instance: Instance) -> dict:
    """Blocks of the Riccati equation at the sampled weights, and the singular bases of Sigma_yx."""
    left, _, right = singular_modes(instance["x"], instance["y"])
    Sigma_yx = instance.dataset.covariances()[1]
    found = riccati_matrices({"W1": instance["W1"], "W2": instance["W2"], "Sigma_yx": Sigma_yx}, imbalance)
    return {**found, "Sigma_yx": Sigma_yx, str(IMBALANCE): imbalance, "U": left, "V": right.T}


def _times_of_half_rise(instance: Instance, strengths: np.ndarray) -> np.ndarray:
    """Mode strengths (T, K) to the time at which each first reached half its target, known at every record."""
    level = singular_modes(instance["x"], instance["y"])[1] / 2
    times, found = instance.learning_rate * instance.steps, np.zeros_like(strengths)
    for k in range(1, len(times)):
        found[k] = crossed(found[k - 1], strengths[k - 1], strengths[k], times[k - 1], times[k], level)
    return found


def _kernel(instance: Instance, values: np.ndarray) -> np.ndarray:
    """S (T, n n) to the tangent kernel 1 x'W1'W1 x + W2W2' x'x on the first inputs (T, P o P o)."""
    x = instance["x"][:KERNEL_ROWS]
    n, d = sum(instance["W1"].shape[1:] + instance["W2"].shape[:1]), x.shape[1]
    S = values.reshape(-1, n, n)
    first, second = np.einsum("pi,tij,qj->tpq", x, S[:, :d, :d], x), S[:, d:, d:]
    kernel = np.einsum("tpq,ab->tpaqb", first, np.eye(n - d)) + np.einsum("pq,tab->tpaqb", x @ x.T, second)
    return kernel.reshape(len(S), -1)


def _rank_of_map(instance: Instance, values: np.ndarray) -> np.ndarray:
    """End-to-end maps (T, o d) to their effective rank (T, 1)."""
    maps = values.reshape(len(values), len(instance["W2"]), -1)
    return effective_rank(np.linalg.svd(maps, compute_uv=False))[:, None]


def _rank_of_modes(instance: Instance, values: np.ndarray) -> np.ndarray:
    """Mode strengths (T, K) to the effective rank (T, 1) of modes that do not mix."""
    return effective_rank(np.abs(values))[:, None]


@cache
def frozen() -> Map:
    """The lazy limit: the Gram matrices, and with them the tangent kernel, stay where they start.

    >>> frozen().equations
    (S,)
    """
    flow = riccati_flow()
    trail = flow.trail.then("freeze", "S stays at its initial value", assumption="lazy", reference=_LAZY)
    return Map(flow.unknowns, flow.unknowns, trail=trail)


# --- claims ----------------------------------------------------------------------------------------------------------

_WHITE = ("drop_constant", "centre", "whiten", "one_hot", "centre_targets", "second_moments")
_HALVES = ("drop_constant", "centre", "whiten", "centre_targets", "second_moments")
_RAW = ("drop_constant", "centre", "one_hot")
_U = sp.MatrixSymbol("U", dimensions("output"), dimensions("rank"))
_V = sp.MatrixSymbol("V", dimensions("input"), dimensions("rank"))


def _exact(name: str, imbalance: float, readout, **changes) -> Law:
    law = Law(
        name,
        riccati_flow,
        partial(_bound, imbalance),
        readout,
        assumptions=(Whitened(), LambdaBalanced()),
        reference=_EXACT,
        solver="riccati:flow",
    )
    return replace(law, **changes)


def _strengths():
    return DiagonalOf(_U.T * riccati_flow().observables["end_to_end"] * _V)


def _unaligned(imbalance: float) -> Setup:
    return Setup(
        network=stack(2),
        data="digits_halves",
        prepare=_HALVES,
        axes={"width": 8},
        optimizer=Optimizer(learning_rate=0.1, unit="1/sharpness"),
        initialisation=Initialisation("lambda_balanced", 0.05, imbalance),
        time=30.0,
        records=31,
    )


def _small(**changes) -> Setup:
    setup = Setup(
        network=stack(2),
        data="digits",
        prepare=_WHITE,
        axes={"width": 100},
        optimizer=Optimizer(learning_rate=0.006, unit="1/sharpness"),
        initialisation=Initialisation(scale=1e-2),
        time=27.0,
        records=181,
    )
    return replace(setup, **changes)


def _riccati_order(imbalance: float) -> Claim:
    return Converges(
        "riccati_order",
        "From unaligned lambda-balanced weights, every entry of the end-to-end map follows the exact solution, from "
        "which gradient descent departs at first order in the learning rate.",
        "linear_map",
        _unaligned(imbalance),
        law=_exact("Riccati solution", imbalance, "end_to_end"),
        rival=_exact("balanced Riccati solution", 0.0, "end_to_end", assumptions=()),
        rival_home="balanced weights, lambda = 0",
        axis="learning_rate",
        values=(0.2, 0.1, 0.05),
        seeds=2,
        relative="scale",
        order=1.0,
        tolerance=0.05,
        options=below_critical_rate(2),
        seconds=3,
    )


def _tangent_kernel(imbalance: float) -> Claim:
    return Equals(
        "tangent_kernel",
        "The neural tangent kernel evolves as the blocks W1'W1 and W2W2' of the exact solution.",
        "tangent_kernel",
        _unaligned(imbalance).at(learning_rate=0.01, records=11),
        law=_exact("Riccati solution", imbalance, "S", collect=_kernel),
        rival=Law("frozen kernel", frozen, partial(_bound, imbalance), "S", collect=_kernel, reference=_LAZY),
        rival_home="the lazy limit of a large imbalance",
        relative="scale",
        # descent departs from the flow by less than eta x sharpness / 2, sharpness (4 s^2 + lambda^2)^(1/2) = 1.1
        budget={"step size": 0.006},
        options=below_critical_rate(2),
        seconds=2,
    )


def _small_random_start() -> Claim:
    return Equals(
        "small_random_start",
        "At width 100 and from small random weights every mode follows the exact solution from the sampled weights "
        "within 1 %: nearly equal modes mix as they grow, and the solution knows how.",
        "mode_strength",
        _small(),
        law=_exact("Riccati solution", 0.0, _strengths(), assumptions=(Whitened(), LambdaBalanced(radius=1e-2))),
        rival=Law("closed form of each mode", partial(mode_flow, 2), effective_start, "a", reference=_SAXE),
        rival_home="aligned starts and, on average, infinite width",
        seeds=2,
        # a clock that is slow by eta s / 2 shifts a rise of slope s^2 / 2 at t = 15 by 0.4 % of s; imbalance, 0.1 %
        budget={"step size and imbalance": 1e-2},
        options=below_critical_rate(2),
        seconds=3,
    )


def _half_rise() -> Claim:
    return Equals(
        "half_rise",
        "At width 100 and from small random weights the time at which each mode is half learned is that of the exact "
        "solution within 0.5 %.",
        "half_rise",
        _small(),
        law=_exact(
            "Riccati solution",
            0.0,
            _strengths(),
            assumptions=(Whitened(), LambdaBalanced(radius=1e-2)),
            collect=_times_of_half_rise,
        ),
        rival=Law(
            "closed form of each mode",
            partial(mode_flow, 2),
            effective_start,
            "a",
            reference=_SAXE,
            collect=_times_of_half_rise,
        ),
        rival_home="aligned starts and, on average, infinite width",
        seeds=2,
        relative="point",
        budget={"step size and imbalance": 5e-3},  # time runs slow by log(1 + eta s) / (eta s): 0.15 %
        options={"summary": "last", **below_critical_rate(2)},
        seconds=2,
    )


def _effective_rank() -> Claim:
    return Equals(
        "effective_rank",
        "From small random weights the effective rank of the end-to-end map first collapses, as the strongest mode "
        "takes over, and then climbs mode by mode, as the exact solution says.",
        "entropy_rank",
        _small(data="digits_halves", prepare=_HALVES, time=60.0, records=61).at(
            learning_rate=0.02, scale=1e-3, width=32
        ),
        law=_exact(
            "Riccati solution",
            0.0,
            "end_to_end",
            assumptions=(Whitened(), LambdaBalanced(radius=1e-2)),
            collect=_rank_of_map,
        ),
        rival=Law(
            "closed form of each mode",
            partial(mode_flow, 2),
            effective_start,
            "a",
            reference=_SAXE,
            collect=_rank_of_modes,
        ),
        rival_home="weights that are aligned already",
        relative="point",
        budget={"step size": 0.025},  # a clock that is slow by eta s / 2 = 0.5 %, a rank that falls at most as t^-5
        options=below_critical_rate(2),
        seconds=2,
    )


def _not_white(imbalance: float) -> Claim:
    return Equals(
        "raw_inputs",
        "The Riccati equation is refused on inputs that are not white: only the Gram equation holds there.",
        "mode_strength",
        Setup(
            network=stack(2),
            data="digits",
            prepare=_RAW,
            axes={"width": 8},
            optimizer=Optimizer(learning_rate=0.5, unit="1/trace"),
            initialisation=Initialisation("lambda_balanced", 0.05, imbalance),
            steps=300,
            records=21,
        ),
        law=_exact("Riccati solution", imbalance, _strengths()),
        rival=Law("closed form of each mode", partial(mode_flow, 2), effective_start, "a", reference=_SAXE),
        rival_home="white inputs and aligned weights",
        relative="scale",
        budget={"step size": 0.05},
        expected="outside_domain",
        seconds=1,
    )
