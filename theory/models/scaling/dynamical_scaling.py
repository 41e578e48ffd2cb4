"""Errors in time with few samples and few random features: steps, samples and features are one bottleneck each.

A network whose first layer stays random learns, by descent on n samples, like kernel regression whose ridge is a
complex frequency (`theory.scaling.dynamical`): kappa (1 - S/n)(1 - S/N) = tau. Modes up to min(t^(1/capacity), n, N)
are learned; what is drawn at random inflates the error beyond that of the mean predictor.

>>> print(DynamicalScaling().derive().unknowns)
(kappa, kappa_2)
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import sympy as sp

from ...architecture.network import chain
from ...claims import Claim, Equals, Law
from ...dataset import PowerLaw
from ...model import Theory, parameter
from ...regression.effective_ridge import noise
from ...regression.random_features import random_features
from ...scaling.dynamical import DYNAMICAL, MEAN_ERROR, TEST_ERROR, dynamical, gaussian_draws
from ...setup import Initialisation, Instance, Optimizer, Setup
from ...system import FixedPoint, System

STEPS = 120


@dataclass(frozen=True)
class DynamicalScaling(Theory):
    """Dynamical scaling: training time, samples and random features as bottlenecks of one error"""

    dim: int = parameter(80, "number of Gaussian input directions")
    capacity: float = parameter(1.2, "eigenvalues fall as k^-capacity")
    target_exponent: float = parameter(1.5, "target power lambda_k w_k^2 falls as k^-target_exponent")
    samples: int = parameter(40, "training samples", least=1)
    noise: float = parameter(0.2, "variance of label noise")

    def derive(self) -> FixedPoint:
        """Effective ridges at two frequencies, with mean errors and correlations of errors as observables."""
        return dynamical()

    def derivations(self) -> Mapping[str, System]:
        return {"errors in time": dynamical(), "the end of training": random_features()}

    def claims(self) -> tuple[Claim, ...]:
        setup = Setup(
            network=chain("input", "width", "output"),
            data=PowerLaw(self.dim, self.capacity, self.target_exponent, self.noise),
            sample="subset",
            axes={"n": self.samples, "width": 2 * self.samples},
            optimizer=Optimizer("gradient_descent", learning_rate=1.0, rates=(("W1", 0.0),)),
            initialisation=Initialisation("normal", 1.0),
            steps=STEPS,
            records=9,
            spacing="log",
            options={"centred": True},
        )
        return (
            Equals(
                name="error_in_time",
                statement="Mean population error of descent on a layer of random features, from n samples, at any step",
                observable="excess_risk",
                setup=setup,
                law=_law("correlations of errors at two frequencies", TEST_ERROR),
                rival=_law("mean error, squared", MEAN_ERROR),
                rival_home="so many samples and features that single draws are like their mean",
                axis="width",
                values=(self.samples // 2, 2 * self.samples),
                seeds=240,
                stochastic=True,
                relative="point",
                seconds=4,
                reference=DYNAMICAL,
                budget={"declared: 2/min(n, width)": 4 / self.samples},
                options={"scatter": 0.25, "window": (2, np.inf)},
            ),
        )


def _law(name: str, error: str) -> Law:
    return Law(
        name,
        dynamical,
        _bind,
        (sp.Symbol(error) - noise) / 2,
        assumptions=(gaussian_draws(),),
        reference=DYNAMICAL,
        solver="scaling.dynamics:fixed_point",
    )


def _bind(instance: Instance) -> Mapping[str, Any]:
    """Modes, numbers, and the rate: weights of variance scale^2/d make features of mean scale^2 N/d x kernel."""
    setup, eigenvalues = instance.setup, instance["eigenvalues"]
    width = float(setup.axes["width"])
    gain = setup.initialisation.scale**2 * width / len(eigenvalues)
    return {
        "lambda": eigenvalues,
        "power": eigenvalues * instance["target"] ** 2,
        "multiplicity": np.ones(len(eigenvalues)),
        "noise": float(instance.facts["noise"]),
        "P": float(setup.axes["n"]),
        "N": width,
        "eta": instance.learning_rate * gain,
    }
