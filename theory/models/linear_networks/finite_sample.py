"""Learning a linear map from n samples of D features: overfitting, early stopping and double descent, in closed form.

    excess risk(k) = 1/2 [ S int rho(l) p^2 + sigma2 gamma int rho(l) (1 - p)^2 / l ],    p = (1 - eta l)^k

One forecast for all draws: it knows the sizes, the noise and the learning rate, and no sample.
"""

from dataclasses import dataclass

import numpy as np

from ...architecture.network import chain
from ...claims import Claim, Equals, Law
from ...dataset import PowerLaw
from ...derivation.assumptions import Closure, Limit
from ...dynamics.finite_sample import (
    ADVANI,
    PASTUR,
    best_time,
    eigenvalue_modes,
    population_risk,
    sample_risk,
    spectral_equation,
)
from ...errors import BadData
from ...model import Theory, parameter
from ...setup import Initialisation, Instance, Optimizer, Setup
from ...symbols import positive
from ...system import Map, System

_LARGE = Limit(
    "many features and samples",
    "D and n grow at a fixed ratio",
    variable=positive("n"),
    radius=0.02,
    reference=ADVANI,
    measure=lambda values: 1 / float(values["n"]),
)
_MANY = Limit(
    "many features",
    "corrections of order 1/D are left out",
    variable=positive("D"),
    radius=0.05,
    reference=ADVANI,
    measure=lambda values: 1 / values["x"].shape[1],
)
_GAUSSIAN = Closure(
    "Gaussian features",
    "white features are as if independent and Gaussian: the fourth moment is 3, relative",
    radius=0.1,
    reference=PASTUR,
    measure=lambda values: abs(float((values["x"] ** 4).mean() / (values["x"] ** 2).mean() ** 2) / 3 - 1),
)


@dataclass(frozen=True)
class FiniteSample(Theory):
    """Generalisation dynamics of linear learning at a finite ratio of samples to features."""

    dim: int = parameter(200, "number of isotropic Gaussian features D", least=10)
    noise: float = parameter(0.5, "variance of label noise, against a target of power 1")

    def derive(self) -> Map:
        return sample_risk()

    def derivations(self) -> dict[str, System]:
        return {
            "spectrum of the sample covariance": spectral_equation(),
            "risk during training": sample_risk(),
            "when to stop": best_time(),
        }

    def claims(self) -> tuple[Claim, ...]:
        features = PowerLaw(self.dim, capacity=0.0, target_exponent=0.0, noise=self.noise)
        law = Law("sampled spectrum", sample_risk, _sampled, "excess_risk", (_LARGE,), ADVANI)
        rival = Law("population spectrum", population_risk, _population, "excess_risk")
        setup = Setup(
            network=chain("input", "output"),
            data=features,
            sample="subset",
            axes={"n": 2 * self.dim},
            # in units of the inverse eigenvalue of the population: the trace is D of them
            optimizer=Optimizer(learning_rate=0.2 * self.dim, unit="1/trace"),
            initialisation=Initialisation("normal", 0.0),
            steps=150,
            records=20,
            spacing="log",
        )
        return (
            Equals(
                "risk_in_time",
                "Mean excess risk falls, turns at the best stopping time, and rises to the level of overfitting.",
                "excess_risk",
                setup,
                law,
                rival,
                rival_home="far more samples than features",
                seeds=250,
                stochastic=True,
                relative="point",
                budget={"corrections of order 1/D^2": 10 / self.dim**2, "declared resolution": 0.05},
                options={"scatter": 0.12, "window": (1, np.inf)},
                seconds=3,
                reference=ADVANI,
            ),
            Equals(
                "double_descent",
                "After long training the mean excess risk peaks where samples equal features, and falls on both sides.",
                "excess_risk",
                setup.at(steps=200, records=2),
                law,
                rival,
                rival_home="far more samples than features",
                axis="n",
                values=tuple(int(ratio * self.dim) for ratio in (0.5, 1.0, 2.0, 4.0)),
                seeds=120,
                stochastic=True,
                relative="point",
                budget={"corrections of order 1/D^2": 10 / self.dim**2, "declared resolution": 0.08},
                options={"scatter": 0.15, "summary": "last"},
                seconds=5,
                reference=ADVANI,
            ),
            _photographs(),
        )


def _photographs() -> Claim:
    """What heavy tails do: the theory of Gaussian features is not for photographs, and its closure says so."""
    law = Law(
        "sampled spectrum", sample_risk, _photograph_values, _test_error(sample_risk()), (_GAUSSIAN, _MANY), ADVANI
    )
    return Equals(
        "photographs",
        "White features of photographs have heavy tails: outside the theory of Gaussian features, as it says.",
        "test_error",
        Setup(
            network=chain("input", "output"),
            data="patches_small",
            prepare=("centre", "whiten", "centre_targets"),
            sample="train_test",
            axes={"n": 46},
            optimizer=Optimizer(learning_rate=0.1),
            initialisation=Initialisation("normal", 0.0),
            steps=100,
            records=10,
            spacing="log",
        ),
        law,
        Law(
            "population spectrum",
            population_risk,
            _photograph_population,
            _test_error(population_risk()),
            (_GAUSSIAN,),
        ),
        rival_home="far more samples than features",
        relative="point",
        budget={"declared": 0.08},
        expected="outside_domain",
        seconds=1,
        reference=ADVANI,
    )


def _test_error(system: Map):
    """Twice the excess risk and the noise: the mean squared error on other rows."""
    return 2 * system.observables["excess_risk"] + positive("sigma2")


def _photograph_values(instance: Instance) -> dict:
    """The data as if Gaussian: target power and noise from least squares on all rows."""
    x, y = (np.concatenate([instance[name], instance[f"{name}_test"]]) for name in ("x", "y"))
    best = np.linalg.lstsq(x, y, rcond=None)[0]
    ratio = x.shape[1] / len(instance["x"])
    found = eigenvalue_modes(ratio)
    return {
        **found,
        "gamma": ratio,
        "S": float((best**2).sum()),
        "sigma2": float(((y - x @ best) ** 2).sum() / len(x)),
        "p": np.ones(len(found["l"])),
    }


def _photograph_population(instance: Instance) -> dict:
    return {**_photograph_values(instance), "p": 1.0}


def _sizes(instance: Instance) -> dict:
    if "eigenvalues" not in instance:
        raise BadData(
            "this claim is about isotropic Gaussian features, not about a data set",
            where="finite-sample",
            remedy="use kernel-regression on data of your own",
        )
    eigenvalues, target, n = instance["eigenvalues"], instance["target"], instance.setup.axes["n"]
    start = instance["W1"][0] - target
    return {
        "gamma": len(eigenvalues) / n,
        "n": float(n),
        "S": float((eigenvalues * start**2).sum()),
        "sigma2": float(instance.facts["noise"]),
        "eta": instance.learning_rate * eigenvalues[0],  # per unit of the population's eigenvalue
    }


def _sampled(instance: Instance) -> dict:
    values = _sizes(instance)
    found = eigenvalue_modes(values["gamma"], features=len(instance["eigenvalues"]))
    return {**values, **found, "p": np.ones(len(found["l"]))}


def _population(instance: Instance) -> dict:
    return {**_sizes(instance), "p": 1.0}
