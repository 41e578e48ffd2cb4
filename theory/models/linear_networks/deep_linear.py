"""Deep linear networks: matrices, modes, closed forms, stability.

    W_l' = (W_L .. W_{l+1})' (Sigma_yx - W Sigma_xx) (W_{l-1} .. W_1)',      a' = L a^(2 - 2/L) (s - a)

The matrix equations hold for any data and any start. Two layers close exactly on their Gram blocks; white inputs,
alignment and balance reduce any depth to one scalar equation per singular mode of the input-output correlation.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import partial

import numpy as np
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
from ...errors import BadData
from ...model import Theory, parameter
from ...setup import Initialisation, Instance, Optimizer, Setup
from ...singular_modes import GROUPS, nearly_equal, singular_modes, subspace_means
from ...symbols import dimensions, positive
from ...system import Flow, System

_SAXE = "Saxe, McClelland & Ganguli 2013, arXiv:1312.6120"
_GRAM = "Fukumizu 1998; Tarmoun et al. 2021"
_FLATTEST = "Mulayoff & Michaeli 2020"
_u = positive("u")


@dataclass(frozen=True)
class DeepLinear(Theory):
    """Deep linear networks: saddle-to-saddle mode dynamics, balance, and the sharpness they end at."""

    depth: int = parameter(2, "number of weight matrices: in `derive`, and from 3 on in the aligned claims")

    def __post_init__(self):
        if self.depth != math.inf and (self.depth != int(self.depth) or self.depth < 1):
            raise BadData(f"depth {self.depth}", where="deep-linear", remedy="give a whole number from 1, or inf")

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


# --- from an instance to the numbers of a law ------------------------------------------------------------------------


def _modes(instance: Instance):
    return singular_modes(instance["x"], instance["y"])


def _gram_values(instance: Instance) -> dict:
    W1, W2 = instance["W1"], instance["W2"]
    left, _, right = _modes(instance)
    Sigma_xx, Sigma_yx = instance.dataset.covariances()
    return {
        "Sigma_xx": Sigma_xx,
        "Sigma_yx": Sigma_yx,
        "P": W1.T @ W1,
        "R": W2 @ W1,
        "T": W2 @ W2.T,
        "U": left,
        "V": right.T,
    }


def _effective_start(instance: Instance) -> dict:
    """Strength |W1 v_k + W2' u_k|^2 / 4 of the growing half of each mode's weights: what a small start amounts to."""
    left, singular, right = _modes(instance)
    growing = (instance["W1"] @ right.T + instance["W2"].T @ left) / 2
    return _started(singular, (growing**2).sum(0), 2)


def _leading_start(instance: Instance) -> dict:
    """`_effective_start` for the eight leading groups of modes, with the step size h."""
    values = _effective_start(instance)
    groups = nearly_equal(values["s"])
    if len(groups) < GROUPS:
        raise BadData(
            f"the input-output correlation has {len(groups)} groups of separate modes, {GROUPS} are needed",
            remedy="use targets of more dimensions",
        )
    count = groups[GROUPS - 1][-1] + 1
    return {**{name: value[:count] for name, value in values.items()}, "h": instance.learning_rate}


def _literal_start(instance: Instance) -> dict:
    """The end-to-end strength u_k' W v_k at t = 0, as an aligned network would have it."""
    depth = len(instance.weights)
    left, singular, right = _modes(instance)
    product = instance["W1"]
    for layer in range(2, depth + 1):
        product = instance[f"W{layer}"] @ product
    return _started(singular, np.abs(np.einsum("ok,od,kd->k", left, product, right)), depth)


def _started(singular, start, depth) -> dict:
    return {"s": singular, "a": start, "u": start ** (1 / depth)}


def _matrix_start(instance: Instance) -> dict:
    Sigma_xx, Sigma_yx = instance.dataset.covariances()
    W1, W2 = instance["W1"], instance["W2"]
    return {"Sigma_xx": Sigma_xx, "Sigma_yx": Sigma_yx, "W1": W1, "W2": W2, "D": W2.T @ W2 - W1 @ W1.T}


def _strongest(instance: Instance) -> dict:
    return {"s": _modes(instance)[1][0]}


def _grouped(instance: Instance, values):
    return subspace_means(values, _modes(instance)[1][: values.shape[1]], GROUPS)


def _converging(depth: int) -> dict:
    """Options of a claim that assumes convergence: the learning rate has to stay below 2 / sharpness."""
    build = partial(critical_rate, partial(sharpness_at_minimum, depth))
    return {"critical": Law("2 / sharpness", build, _strongest, positive("eta_c"))}


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
        law=Law("Gram recursion", gram_map, _gram_values, DiagonalOf(_U.T * _R * _V), reference=_GRAM),
        rival=Law("whitened mode law", partial(mode_flow, 2), _effective_start, "a", reference=_SAXE),
        rival_home="white inputs, where Sigma_xx is the identity",
        seeds=3,
        relative="scale",
        budget={"rounding": 1e-10},
        seconds=8,
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
            optimizer=Optimizer(learning_rate=0.1),
            initialisation=Initialisation(scale=1e-3),
            time=90.0,
            records=46,
        ),
        law=Law(
            "closed form",
            partial(corrected_mode_flow, 2),
            _leading_start,
            "a",
            assumptions=(Whitened(),),
            reference=_SAXE,
            collect=_grouped,
        ),
        rival=Law("closed form from the literal start", partial(mode_flow, 2), _literal_start, "a", collect=_grouped),
        rival_home="aligned starts, where u' W v at t = 0 is the strength that grows",
        axis="width",
        values=(64, 512),
        seeds=120,
        stochastic=True,
        order=-1.0,
        tolerance=0.05,
        options=_converging(2),
        seconds=35,
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
        law=Law("mode recursion", partial(mode_map, depth), _literal_start, _u**depth, assumptions=(Whitened(),)),
        rival=Law("two-layer recursion", partial(mode_map, 2), _two_layer_start, _u**2),
        rival_home="two layers",
        seeds=2,
        relative="final",
        budget={"rounding": 1e-10},
        options=_converging(depth),
        seconds=4,
    )


def _two_layer_start(instance: Instance) -> dict:
    values = _literal_start(instance)
    return {**values, "u": values["a"] ** 0.5}


def _flow_order(depth: int) -> Claim:
    return Converges(
        "flow_order",
        "Gradient descent departs from the gradient-flow closed form at first order in the learning rate.",
        "mode_strength",
        _aligned_setup(depth),
        law=Law(
            "mode flow", partial(mode_flow, depth), _literal_start, "a", assumptions=(Whitened(),), reference=_SAXE
        ),
        rival=Law("two-layer flow", partial(mode_flow, 2), _literal_start, "a"),
        rival_home="two layers",
        axis="learning_rate",
        values=(0.2, 0.1, 0.05, 0.025),
        order=1.0,
        tolerance=0.05,
        options=_converging(depth),
        seconds=6,
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
            _literal_start,
            _u**depth,
            assumptions=(Whitened(),),
            reference="Barrett & Dherin 2020, arXiv:2009.11162",
        ),
        rival=Law("mode flow", partial(mode_flow, depth), _literal_start, "a"),
        rival_home="the limit of small learning rates",
        axis="learning_rate",
        values=(0.2, 0.1, 0.05, 0.025),
        order=2.0,
        tolerance=0.1,
        options=_converging(depth),
        seconds=6,
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
        law=Law("exact drift", drift_map, _matrix_start, _D),
        rival=Law("conservation", conserved_balance, _matrix_start, _D),
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
            _strongest,
            positive("S"),
            assumptions=(Whitened(),),
            reference=_FLATTEST,
        ),
        rival=Law("layerwise sharpness", partial(layerwise_sharpness, depth), _strongest, positive("S")),
        rival_home="one layer",
        relative="point",
        budget={"convergence": 1e-4},
        options={"summary": "last", **_converging(depth)},
        seconds=5,
    )


def _threshold(depth: int) -> Claim:
    true, layered = partial(sharpness_at_minimum, depth), partial(layerwise_sharpness, depth)
    return Threshold(
        "stability_threshold",
        "A displacement of 1e-6 from the balanced minimum decays at 0.99 and grows at 1.01 of eta = 2/sharpness.",
        "growth_factor",
        _aligned_setup(depth, initialisation=Initialisation("balanced_minimum", 1e-6), time=0.0, steps=60, records=2),
        law=Law("growth |1 - eta S|", partial(growth_at_minimum, true), _strongest, positive("g")),
        rival=Law("layerwise growth", partial(growth_at_minimum, layered), _strongest, positive("g")),
        rival_home="one layer",
        axis="learning_rate",
        values=(0.99, 1.01),
        relative="point",
        critical=Law("2 / sharpness", partial(critical_rate, true), _strongest, positive("eta_c")),
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
        law=Law("mode flow", partial(mode_flow, depth), _literal_start, "a", assumptions=(Whitened(), Aligned())),
        rival=Law("two-layer flow", partial(mode_flow, 2), _literal_start, "a"),
        rival_home="two layers",
        relative="scale",
        budget={"step size": 0.05},
        options=_converging(depth),
        expected="outside_domain",
        seconds=5,
    )
