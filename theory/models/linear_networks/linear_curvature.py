"""Curvature of deep linear networks on the way from saddle to saddle: the whole Hessian, its top, and the kernel.

    H = one L x L block per mode + one 2L x 2L block per pair of modes,      sharpness = max over the blocks

From an aligned start the strengths of the layers follow exact scalar recursions, and the Hessian of all weights follows
from them: every eigenvalue, at every step, at a finite learning rate. What a mode contributes by itself is not enough:
while one mode is learned and others wait, pairs of them are the sharpest directions.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import partial

import numpy as np

from ...claims import Claim, Equals, Law
from ...derivation.standard_assumptions import Aligned, Whitened
from ...dynamics.curvature.blocks import (
    chain_sharpness,
    kernel_eigenvalue,
    kernel_of_any_depth,
    layer_map,
    one_mode_curvature,
    one_mode_map,
)
from ...dynamics.curvature.initial_jacobian import moment_equation
from ...dynamics.curvature.perturbations import pair_perturbation, strength_perturbation
from ...dynamics.linear_networks import layerwise_sharpness, sharpness_at_minimum, stack
from ...model import Theory, parameter
from ...setup import Initialisation, Instance, Optimizer, Setup
from ...singular_modes import singular_modes
from ...symbols import positive
from ...system import Map, System
from .starting_values import below_critical_rate, strongest

_FLATTEST = "Mulayoff & Michaeli 2020"
_PREPARE = ("drop_constant", "centre", "whiten", "centre_targets", "second_moments")
_S, _SPECTRUM = positive("sharpness"), positive("spectrum")


@dataclass(frozen=True)
class LinearCurvature(Theory):
    """Curvature of deep linear networks: the exact Hessian spectrum along the whole trajectory."""

    depth: int = parameter(3, "number of weight matrices, from 2", least=2)

    def derive(self) -> Map:
        return layer_map(self.depth)

    def derivations(self) -> Mapping[str, System]:
        return {
            "perturbation of one mode": strength_perturbation(self.depth),
            "perturbation of two modes": pair_perturbation(self.depth),
            "curvature of one mode": one_mode_curvature(self.depth),
            "tangent kernel": kernel_eigenvalue(self.depth),
            "tangent kernel of any depth": kernel_of_any_depth(),
            "sharpness of any minimum of a scalar chain": chain_sharpness(self.depth),
            "gradient descent with its curvature": layer_map(self.depth),
            "squared singular values before training": moment_equation(self.depth),
        }

    def claims(self) -> tuple[Claim, ...]:
        return _hessian(self.depth), _sharpness(self.depth), _kernel(self.depth), _random_start()


def _layers(instance: Instance) -> dict:
    """Strength of every layer in every mode: how much W_l stretches what the layers before made of v_k."""
    left, singular, right = singular_modes(instance["x"], instance["y"])
    weights = list(instance.weights.values())
    carried, strengths = right.T, {}
    for layer, weight in enumerate(weights, 1):
        carried = weight @ carried
        size = np.linalg.norm(carried, axis=0)
        size = np.where(size > 1e-12 * size.max(), size, 0.0)  # modes beyond a layer's width are rounding
        strengths[f"u{layer}"], carried = size, carried / np.where(size > 0, size, np.inf)
    inputs = np.linalg.matrix_rank(instance["x"], tol=1e-10 * np.linalg.norm(instance["x"], 2))
    return {
        "s": singular,
        "widths": np.array([inputs, *(len(weight) for weight in weights)]),
        "parameters": sum(weight.size for weight in weights),
        **strengths,
    }


def _balanced(instance: Instance) -> dict:
    values = _layers(instance)
    return {"s": values["s"], "u": values["u1"]}


def _start(instance: Instance) -> dict:
    return {**_layers(instance), "eta": 0.0}


def _largest(instance: Instance, values):
    return values.max(axis=1, keepdims=True)


def _setup(depth: int, **changes) -> Setup:
    return replace(
        Setup(
            network=stack(depth),
            data="digits_halves",
            prepare=_PREPARE,
            axes={"width": 4},
            optimizer=Optimizer(learning_rate=0.5, unit="1/sharpness"),
            initialisation=Initialisation("aligned_balanced", 1e-3),
            time=75.0,
            records=9,
        ),
        **changes,
    )


def _law(name: str, depth: int, solver: str, readout, bind=_layers) -> Law:
    return Law(
        name,
        partial(layer_map, depth),
        bind,
        readout,
        assumptions=(Whitened(), Aligned()),
        solver=f"curvature.spectra:{solver}",
    )


def _hessian(depth: int) -> Claim:
    return Equals(
        "hessian_spectrum",
        "Every eigenvalue of the Hessian of all weights, at every stage of training, is that of the derived blocks.",
        "hessian_spectrum",
        _setup(depth),
        law=_law("blocks of one and two modes", depth, "hessian_spectrum", _SPECTRUM),
        rival=_law("Gauss-Newton matrix", depth, "kernel_spectrum", _SPECTRUM),
        rival_home="a minimum, where the residual vanishes",
        relative="scale",
        budget={"rounding": 1e-10},
        options=below_critical_rate(depth),
        seconds=3,
    )


def _sharpness(depth: int) -> Claim:
    return Equals(
        "sharpness",
        "From saddle to saddle the sharpness is the largest eigenvalue over all pairs of modes.",
        "converged_sharpness",
        _setup(depth, axes={"width": 12}, records=21),
        law=_law("largest of all blocks", depth, "sharpness", _S),
        rival=Law("largest of one mode", partial(one_mode_map, depth), _balanced, "sharpness", collect=_largest),
        rival_home="a single mode",
        relative="scale",
        budget={"Lanczos, 80 steps": 1e-8},
        options=below_critical_rate(depth),
        seconds=3,
    )


def _kernel(depth: int) -> Claim:
    return Equals(
        "kernel_spectrum",
        "The tangent kernel on the training data has the eigenvalues sum_l s_i^(2(L-l)/L) s_j^(2(l-1)/L) throughout.",
        "kernel_spectrum",
        _setup(depth),
        law=_law("two-mode sums", depth, "kernel_spectrum", _SPECTRUM),
        rival=_law("kernel at the start", depth, "kernel_spectrum", _SPECTRUM, bind=_start),
        rival_home="lazy training, where the kernel does not move",
        relative="scale",
        budget={"rounding": 1e-10},
        options=below_critical_rate(depth),
        seconds=2,
    )


def _random_start() -> Claim:
    return Equals(
        "sharpness_from_a_random_start",
        "From small random weights two layers end within 1e-4 of the flattest minimum: the start's imbalance counts "
        "only at fourth order in its scale.",
        "sharpness",
        Setup(
            network=stack(2),
            data="digits_halves",
            prepare=_PREPARE,
            axes={"width": 100},
            optimizer=Optimizer(learning_rate=1.0, unit="1/sharpness"),
            initialisation=Initialisation(scale=0.03),
            steps=600,
            records=31,
        ),
        law=Law(
            "sharpness of the balanced minimum",
            partial(sharpness_at_minimum, 2),
            strongest,
            positive("S"),
            assumptions=(Whitened(),),
            reference=_FLATTEST,
        ),
        rival=Law("layerwise sharpness", partial(layerwise_sharpness, 2), strongest, positive("S")),
        rival_home="one layer",
        relative="point",
        budget={"imbalance and convergence": 1e-4},
        options={"summary": "last", **below_critical_rate(2)},
        seconds=3,
    )
