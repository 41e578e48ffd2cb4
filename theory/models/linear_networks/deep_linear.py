"""Deep linear networks: matrices, modes, closed forms, stability.

    W_l' = (W_L .. W_{l+1})' (Sigma_yx - W Sigma_xx) (W_{l-1} .. W_1)',      a' = L a^(2 - 2/L) (s - a)

The matrix equations hold for any data and any start. Two layers close exactly on their Gram blocks; white inputs,
alignment and balance reduce any depth to one scalar equation per singular mode of the input-output correlation.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import partial

import sympy as sp
from sympy.matrices.expressions.diagonal import DiagonalOf

from ...claims import Claim, Converges, Equals, Law, Threshold
from ...derivation.standard_assumptions import Aligned, Whitened
from ...dynamics.linear_networks import (
    conserved_balance,
    corrected_mode_flow,
    critical_rate,
    drift_map,
    everything,
    gram_map,
    growth_at_minimum,
    infinite_depth_flow,
    layerwise_sharpness,
    mode_flow,
    mode_map,
    modified_mode_flow,
    sharpness_at_minimum,
    stack,
)
from ...model import Theory, parameter
from ...setup import Initialisation, Instance, Optimizer, Setup
from ...symbols import dimensions, positive
from ...system import Flow, System
from .starting_values import (
    below_critical_rate,
    effective_start,
    gram_values,
    grouped,
    leading_start,
    literal_start,
    matrix_start,
    strongest,
)

_SAXE = "Saxe, McClelland & Ganguli 2013, arXiv:1312.6120"
_GRAM = "Fukumizu 1998; Tarmoun et al. 2021"
_FLATTEST = "Mulayoff & Michaeli 2020"
_u = positive("u")


@dataclass(frozen=True)
class DeepLinear(Theory):
    """Deep linear networks: saddle-to-saddle mode dynamics, balance, and the sharpness they end at."""

    depth: int = parameter(
        2, "number of weight matrices: in `derive`, and from 3 on in the aligned claims", least=1, infinite=True
    )

    def derive(self) -> Flow:
        return infinite_depth_flow() if self.depth == math.inf else mode_flow(self.depth)

    def derivations(self) -> Mapping[str, System]:
        return everything(self.depth)

    def claims(self) -> tuple[Claim, ...]:
        # two layers are their rivals, so the aligned claims are about three or more; no experiment is infinitely deep
        depth = int(self.depth) if 3 <= self.depth < math.inf else 3
        return (
            _gram_recursion(),
            _closed_form(),
            _aligned_recursion(depth),
            _flow_order(depth),
            _modified_order(depth),
            _drift(),
            _sharpness(depth),
            _threshold(depth),
            _small_random_start(depth),
        )


# --- claims ----------------------------------------------------------------------------------------------------------

_RAW = ("drop_constant", "centre", "one_hot")
_WHITE = ("drop_constant", "centre", "whiten", "one_hot", "centre_targets", "second_moments")
_HALVES = ("drop_constant", "centre", "whiten", "centre_targets", "second_moments")
_U = sp.MatrixSymbol("U", dimensions("output"), dimensions("rank"))
_V = sp.MatrixSymbol("V", dimensions("input"), dimensions("rank"))
_D = sp.MatrixSymbol("D", dimensions("width"), dimensions("width"))
_R = sp.MatrixSymbol("R", dimensions("output"), dimensions("input"))


def _gram_recursion() -> Claim:
    return Equals(
        "gram_recursion",
        "Mode strengths of a two-layer network on raw, non-white digits follow the exact Gram recursion.",
        "mode_strength",
        Setup(
            network=stack(2),
            data="digits",
            prepare=_RAW,
            axes={"width": 64},
            optimizer=Optimizer(learning_rate=0.5),
            initialisation=Initialisation(scale=1e-4),
            steps=800,
            records=81,
        ),
        law=Law("Gram recursion", gram_map, gram_values, DiagonalOf(_U.T * _R * _V), reference=_GRAM),
        rival=Law("whitened mode law", partial(mode_flow, 2), effective_start, "a", reference=_SAXE),
        rival_home="white inputs, where Sigma_xx is the identity",
        seeds=3,
        relative="scale",
        budget={"rounding": 1e-10},
        seconds=3,
    )


def _closed_form() -> Claim:
    return Converges(
        "closed_form",
        "From small random weights on white inputs, modes follow the closed form started at the sampled strength, "
        "with an error that falls as 1/width (modes' starts overlap at order width^-1/2, even under sign flips).",
        "subspace_strength",
        Setup(
            network=stack(2),
            data="digits_halves",
            prepare=_HALVES,
            axes={"width": 64},
            optimizer=Optimizer(learning_rate=0.2),
            initialisation=Initialisation(scale=1e-3),
            time=90.0,
            records=46,
            options={"dtype": "float32"},  # the same order to four digits, in half the time
        ),
        law=Law(
            "closed form",
            partial(corrected_mode_flow, 2),
            leading_start,
            "a",
            assumptions=(Whitened(),),
            reference=_SAXE,
            collect=grouped,
        ),
        rival=Law("closed form from the literal start", partial(mode_flow, 2), literal_start, "a", collect=grouped),
        rival_home="aligned starts, where u' W v at t = 0 is the strength that grows",
        axis="width",
        values=(64, 512),
        seeds=120,
        stochastic=True,
        order=-1.0,
        tolerance=0.05,
        options=below_critical_rate(2),
        seconds=25,
    )


def _layers(depth: int) -> str:
    return {3: "Three", 4: "Four", 5: "Five"}.get(depth, str(depth)) + " layers"


def _aligned_setup(depth: int, **changes) -> Setup:
    return replace(
        Setup(
            network=stack(depth),
            data="digits",
            prepare=_WHITE,
            axes={"width": 32},
            optimizer=Optimizer(learning_rate=0.1),
            initialisation=Initialisation("aligned_balanced", 1e-2),
            time=60.0,
            records=61,
        ),
        **changes,
    )


def _aligned_recursion(depth: int) -> Claim:
    return Equals(
        "aligned_recursion",
        f"{_layers(depth)} from an aligned balanced start follow the exact scalar recursion of each mode.",
        "mode_strength",
        _aligned_setup(depth),
        law=Law("mode recursion", partial(mode_map, depth), literal_start, _u**depth, assumptions=(Whitened(),)),
        rival=Law("two-layer recursion", partial(mode_map, 2), _two_layer_start, _u**2),
        rival_home="two layers",
        seeds=2,
        relative="final",
        budget={"rounding": 1e-10},
        options=below_critical_rate(depth),
        seconds=1,
    )


def _two_layer_start(instance: Instance) -> dict:
    values = literal_start(instance)
    return {**values, "u": values["a"] ** 0.5}


def _flow_order(depth: int) -> Claim:
    return Converges(
        "flow_order",
        "Gradient descent departs from the gradient-flow closed form at first order in the learning rate.",
        "mode_strength",
        _aligned_setup(depth),
        law=Law("mode flow", partial(mode_flow, depth), literal_start, "a", assumptions=(Whitened(),), reference=_SAXE),
        rival=Law("two-layer flow", partial(mode_flow, 2), literal_start, "a"),
        rival_home="two layers",
        axis="learning_rate",
        values=(0.2, 0.1, 0.05, 0.025),
        order=1.0,
        tolerance=0.05,
        options=below_critical_rate(depth),
        seconds=1,
    )


def _modified_order(depth: int) -> Claim:
    return Converges(
        "modified_flow_order",
        "The modified flow, with its first correction in the learning rate, is accurate to second order.",
        "mode_strength",
        _aligned_setup(depth),
        law=Law(
            "modified flow",
            partial(modified_mode_flow, depth),
            literal_start,
            _u**depth,
            assumptions=(Whitened(),),
            reference="Barrett & Dherin 2020, arXiv:2009.11162",
        ),
        rival=Law("mode flow", partial(mode_flow, depth), literal_start, "a"),
        rival_home="the limit of small learning rates",
        axis="learning_rate",
        values=(0.2, 0.1, 0.05, 0.025),
        order=2.0,
        tolerance=0.1,
        options=below_critical_rate(depth),
        seconds=1,
    )


def _drift() -> Claim:
    return Equals(
        "balance_drift",
        "Under gradient descent the balance W2'W2 - W1W1' moves by exactly eta^2 (g2'g2 - g1g1') per step.",
        "balancedness",
        Setup(
            network=stack(2),
            data="digits",
            prepare=_RAW,
            axes={"width": 12},
            optimizer=Optimizer(learning_rate=0.3),
            initialisation=Initialisation(scale=0.5),
            steps=200,
            records=21,
        ),
        law=Law("exact drift", drift_map, matrix_start, _D),
        rival=Law("conservation", conserved_balance, matrix_start, _D),
        rival_home="gradient flow, the limit of small learning rates",
        seeds=2,
        relative="scale",
        budget={"rounding": 1e-12},
        seconds=3,
    )


def _sharpness(depth: int) -> Claim:
    return Equals(
        "sharpness_at_convergence",
        "Training from a balanced start ends at the flattest minimum, whose sharpness is L s^(2 - 2/L).",
        "sharpness",
        _aligned_setup(depth, time=400.0, records=61, initialisation=Initialisation("aligned_balanced", 0.05)),
        law=Law(
            "sharpness of the balanced minimum",
            partial(sharpness_at_minimum, depth),
            strongest,
            positive("S"),
            assumptions=(Whitened(),),
            reference=_FLATTEST,
        ),
        rival=Law("layerwise sharpness", partial(layerwise_sharpness, depth), strongest, positive("S")),
        rival_home="one layer",
        relative="point",
        budget={"convergence": 1e-4},
        options={"summary": "last", **below_critical_rate(depth)},
        seconds=5,
    )


def _threshold(depth: int) -> Claim:
    true, layered = partial(sharpness_at_minimum, depth), partial(layerwise_sharpness, depth)
    return Threshold(
        "stability_threshold",
        "A displacement of 1e-6 from the balanced minimum decays at 0.99 and grows at 1.01 of eta = 2/sharpness.",
        "growth_factor",
        _aligned_setup(depth, initialisation=Initialisation("balanced_minimum", 1e-6), time=0.0, steps=60, records=2),
        law=Law("growth |1 - eta S|", partial(growth_at_minimum, true), strongest, positive("g")),
        rival=Law("layerwise growth", partial(growth_at_minimum, layered), strongest, positive("g")),
        rival_home="one layer",
        axis="learning_rate",
        values=(0.99, 1.01),
        relative="point",
        critical=Law("2 / sharpness", partial(critical_rate, true), strongest, positive("eta_c")),
        budget={"curvature beyond second order": 1e-3},
        options={"summary": "last"},
        seconds=3,
    )


def _small_random_start(depth: int) -> Claim:
    return Equals(
        "small_random_start",
        f"{_layers(depth)} from a small random start are outside the aligned theory on these data: "
        "nearly equal modes mix.",
        "mode_strength",
        _aligned_setup(depth, initialisation=Initialisation("normal", 0.1), time=200.0),
        law=Law("mode flow", partial(mode_flow, depth), literal_start, "a", assumptions=(Whitened(), Aligned())),
        rival=Law("two-layer flow", partial(mode_flow, 2), literal_start, "a"),
        rival_home="two layers",
        relative="scale",
        budget={"step size": 0.05},
        options=below_critical_rate(depth),
        expected="outside_domain",
        seconds=1,
    )
