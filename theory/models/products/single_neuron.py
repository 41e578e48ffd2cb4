"""One linear neuron f = a w.x, trained from lazy to rich by the imbalance delta = a^2 - |w|^2 of its layers.

    mu' = kappa (phi B - mu),    phi' = (delta + kappa)/(2 mu) B (1 - phi^2),    kappa = sqrt(delta^2 + 4 mu^2)

delta -> +oo (large readout) is lazy; delta = 0 turns the kernel by itself; delta -> -oo first fits, then turns.
"""

from dataclasses import dataclass, replace

import numpy as np

from ...architecture.network import chain
from ...claims import Claim, Converges, Equals, Law
from ...derivation.standard_assumptions import Whitened
from ...dynamics.products.single_neuron import (
    KUNIN,
    explicit_neuron,
    frozen_flow,
    function_flow,
    kernel_distance,
    macroscopic_flow,
    neuron_flow,
)
from ...errors import BadData
from ...model import Theory, parameter
from ...setup import Initialisation, Instance, Optimizer, Setup
from ...symbols import positive, scalars
from ...system import Flow, System

_PARITY = ("drop_constant", "centre", "parity", "centre_targets", "second_moments")
_WHITE_PARITY = ("drop_constant", "centre", "whiten", "parity", "centre_targets", "second_moments")


@dataclass(frozen=True)
class SingleNeuron(Theory):
    """A single linear neuron: rich and lazy learning from the imbalance of its two layers."""

    imbalance: float = parameter(0.5, "a^2 - |w|^2 at the start, in the trajectory claim")

    def derive(self) -> Flow:
        return macroscopic_flow()

    def derivations(self) -> dict[str, System]:
        return {
            "gradient flow of the neuron": neuron_flow(),
            "the function alone, on any data": function_flow(),
            "norm and cosine, on white data": macroscopic_flow(),
            "explicit solution": explicit_neuron(),
            "how far the kernel turns": kernel_distance(),
        }

    def claims(self) -> tuple[Claim, ...]:
        return (
            _function_space(),
            _trajectory("norm", "map_norm", "mu", self.imbalance),
            _trajectory("cosine", "map_cosine", "phi", self.imbalance),
            _kernel_turn(),
        )


def _rates(instance: Instance) -> dict:
    rates = dict(instance.setup.optimizer.rates)
    return {"eta_w": rates.get("W1", 1.0), "eta_a": rates.get("W2", 1.0)}


def _imbalance(instance: Instance) -> float:
    """delta = eta_w a^2 - eta_a |w|^2."""
    rates = _rates(instance)
    return float(rates["eta_w"] * (instance["W2"] ** 2).sum() - rates["eta_a"] * (instance["W1"] ** 2).sum())


def _modes(instance: Instance) -> dict:
    """Everything in the eigenbasis of Sigma_xx, on its numerical range."""
    covariance, correlation = instance.dataset.covariances()
    values, basis = np.linalg.eigh(covariance)
    kept = values > 1e-10 * values[-1]
    values, basis = values[kept], basis[:, kept]
    beta = (instance["W2"] @ instance["W1"] @ basis)[0]
    return {"lambda": values, "b": (correlation @ basis)[0] / values, "beta": beta, "basis": basis}


def _function_values(instance: Instance) -> dict:
    return {**_modes(instance), **_rates(instance), "delta": _imbalance(instance)}


def _frozen_values(instance: Instance) -> dict:
    """The kernel of the start, f I + g b0 b0', from the weights themselves."""
    values, rates = _modes(instance), _rates(instance)
    w2 = float((instance["W1"] ** 2).sum())
    lazy = {"f": rates["eta_w"] * float((instance["W2"] ** 2).sum()), "g": rates["eta_a"] * w2}
    return {**values, **lazy, "b_0": values["beta"] / np.sqrt((values["beta"] ** 2).sum())}


def _in_input_space(instance: Instance, values):
    """Coefficients in the eigenbasis (T, modes) as entries of the map (T, d)."""
    return values @ _modes(instance)["basis"].T


def _macroscopic_values(instance: Instance) -> dict:
    correlation = instance.dataset.covariances()[1]
    beta = instance["W2"] @ instance["W1"]
    target, norm = np.linalg.norm(correlation), np.linalg.norm(beta)
    if not target > 0:
        raise BadData(
            "as the claim prepares them the inputs say nothing about the target",
            where="single neuron",
            remedy="give labels of which some are odd and some even",
        )
    cosine = float((beta * correlation).sum() / (norm * target))
    return {"mu": norm, "phi": cosine, "B": target, "delta": _imbalance(instance), **_rates(instance)}


def _scaled_weights(instance: Instance) -> dict:
    """Initial weights along and across the target, each divided by the root of its own rate."""
    values = _macroscopic_values(instance)
    readout, size = np.abs(instance["W2"]).sum(), np.linalg.norm(instance["W1"])
    x = size / np.sqrt(values["eta_w"])
    return {
        "tau": 0.0,
        "x_1": x * values["phi"],
        "x_2": x * np.sqrt(1 - values["phi"] ** 2),
        "y": readout / np.sqrt(values["eta_a"]),
        "B": values["B"],
        "c": np.sqrt(values["eta_a"] * values["eta_w"]),
        "delta": values["delta"] or 1e-300,  # the limit delta -> 0 of the explicit solution
    }


def _turn_values(instance: Instance) -> dict:
    return {**_macroscopic_values(instance), "d": float(instance["x"].shape[1])}


def _balanced_values(instance: Instance) -> dict:
    return {**_macroscopic_values(instance), "delta": 0.0}


def _balanced_turn(instance: Instance) -> dict:
    return {**_turn_values(instance), "delta": 0.0}


def _setup(**changes) -> Setup:
    return replace(
        Setup(
            network=chain("input", 1, 1),
            data="digits",
            prepare=_WHITE_PARITY,
            optimizer=Optimizer(learning_rate=0.1),
            initialisation=Initialisation("lambda_balanced", 0.1, 0.5),
            time=20.0,
            records=41,
        ),
        **changes,
    )


def _function_space() -> Claim:
    return Converges(
        "function_space",
        "On raw, non-white digits and with unequal layer rates, the function follows its own flow, whose kernel turns.",
        "linear_map",
        _setup(
            prepare=_PARITY,
            optimizer=Optimizer(learning_rate=0.1, rates=(("W2", 0.25),)),
            initialisation=Initialisation("lambda_balanced", 0.05),
        ),
        law=Law(
            "flow of the function", function_flow, _function_values, "beta", reference=KUNIN, collect=_in_input_space
        ),
        rival=Law("frozen kernel", frozen_flow, _frozen_values, "beta", collect=_in_input_space),
        rival_home="a readout much larger than the weights, which trains lazily",
        axis="learning_rate",
        values=(0.2, 0.1, 0.05, 0.025),
        relative="scale",
        order=1.0,
        tolerance=0.05,
        seconds=3,
        reference=KUNIN,
    )


def _trajectory(name: str, observable: str, readout: str, imbalance: float) -> Claim:
    return Converges(
        name,
        f"On white inputs the {name} of the function obeys its explicit solution, to first order in the learning rate.",
        observable,
        _setup(initialisation=Initialisation("lambda_balanced", 0.1, imbalance)),
        law=Law("explicit solution", explicit_neuron, _scaled_weights, readout, (Whitened(),), KUNIN),
        rival=Law("flow of equal layers", macroscopic_flow, _balanced_values, positive("mu"), (Whitened(),), KUNIN)
        if readout == "mu"
        else Law("flow of equal layers", macroscopic_flow, _balanced_values, scalars("phi"), (Whitened(),), KUNIN),
        rival_home="layers of equal norm",
        axis="learning_rate",
        values=(0.2, 0.1, 0.05, 0.025),
        relative="scale",
        order=1.0,
        tolerance=0.05,
        seconds=2,
        reference=KUNIN,
    )


def _kernel_turn() -> Claim:
    return Equals(
        "kernel_turn",
        "How far training turns the kernel follows from the imbalance alone: lazy above zero, rich at and below it.",
        "kernel_distance",
        _setup(optimizer=Optimizer(learning_rate=0.002), time=60.0, records=2),
        law=Law("conserved imbalance", kernel_distance, _turn_values, positive("S"), (Whitened(),), KUNIN),
        rival=Law("equal layers", kernel_distance, _balanced_turn, positive("S"), (Whitened(),), KUNIN),
        rival_home="layers of equal norm",
        axis="imbalance",
        values=(-1.0, -0.2, 0.2, 1.0, 4.0),
        relative="none",
        # the imbalance drifts by at most eta x (loss lost), which moves the forecast by at most 1.5 times as much, for
        # any direction of the start and 0.1 <= B <= 1 in 2 to 300 dimensions
        budget={"drift of the imbalance in finite steps": 0.002 * 0.5 * 1.5},
        options={"summary": "last"},
        seconds=3,
        reference=KUNIN,
    )
