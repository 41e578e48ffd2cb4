r"""Power-law random features: a frozen random layer, a last layer trained by one-pass SGD, and what no weights resolve.

In the eigenbasis of the features' covariance (eigenvalues lambda, c = E of the squared weight errors)

    c <- [1 - 2 eta lambda + eta^2 lambda^2 (1 + 1/B)] c + eta^2 lambda / B (sum lambda c + sigma2 + unresolved),

exactly, for the features at hand: the part of the target outside their span is noise of the gradients and floor of the
loss. See `theory.scaling.power_law_features`; numbers for any width and step: `solvers.scaling.power_law_features`.

>>> print(PowerLawRandomFeatures().derive().observables["excess_risk"])
unresolved/2 + over(c*lambda)/2
"""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np

from ...architecture.constructors import dense, serial
from ...architecture.network import Network
from ...claims import Claim, Equals, Law
from ...dataset import Dataset, PowerLaw
from ...errors import BadData
from ...model import Theory, parameter
from ...scaling.momentum_moments import momentum_moments
from ...scaling.power_law_features import PAQUETTE, feature_moments, features_resolvent, small_steps
from ...setup import Initialisation, Instance, Optimizer, Setup
from ...system import Map, System
from ..sgd_least_squares import BOUNDED, FULL_BATCH


@dataclass(frozen=True)
class PowerLawRandomFeatures(Theory):
    """Random features of power-law data, trained by one-pass SGD"""

    alpha: float = parameter(0.8, "eigenvalues of the inputs fall as j^-(2 alpha)")
    beta: float = parameter(0.5, "weights of the target fall as j^-beta")
    width: int = parameter(16, "random features", least=2)
    modes: int = parameter(64, "modes of the inputs", least=2)
    batch: int = parameter(4, "samples a step", least=1)

    def derive(self) -> Map:
        """The recursion of second moments for given features, with the Volterra equation of the loss in its trail."""
        return feature_moments()

    def derivations(self) -> Mapping[str, System]:
        return {
            "given features": feature_moments(),
            "small steps: time is the sum of the learning rates": small_steps(),
            "heavy ball": momentum_moments(),
            "mean over features": features_resolvent(),
            "without sampling noise": noiseless_moments(),
        }

    @property
    def network(self) -> Network:
        """Features W'x with W_ij ~ N(0, 1/width), and a last layer that starts at zero."""
        spread = (self.modes / self.width) ** 0.5  # layers state their variance over the fan-in
        return serial(
            dense(spread, width="features", parameterization="standard"), dense(0.0, parameterization="standard")
        )

    def claims(self) -> tuple[Claim, ...]:
        return (self._sampled(), self._population())

    def _sampled(self) -> Claim:
        law = PowerLaw(self.modes, 2 * self.alpha, 2 * self.alpha + 2 * self.beta)
        return Equals(
            name="sampled_loss",
            statement="The mean loss of one-pass SGD on a frozen random layer obeys the recursion of that very layer",
            observable="excess_risk",
            setup=self._setup(law, procedure="one_pass", rate=0.15 * self.batch, steps=300),
            law=Law(
                "second moments of the features", feature_moments, _of_samples, "excess_risk", (BOUNDED,), PAQUETTE
            ),
            rival=Law("unresolved target without noise", silent_moments, _of_samples, "excess_risk", (), PAQUETTE),
            rival_home="features that resolve the target, or steps so small that noise does not matter",
            seeds=1200,
            stochastic=True,
            relative="point",
            seconds=3,
            reference=PAQUETTE,
            budget={"declared": 0.04},
            options={"window": (60, np.inf), "scatter": 0.12},
        )

    def _population(self) -> Claim:
        return Equals(
            name="population_loss",
            statement="Without sampling noise the loss of every draw of the features follows from their spectrum alone",
            observable="loss",
            setup=self._setup(_population(self), procedure="full_batch", rate=1.0, steps=1000),
            law=Law("moments without sampling noise", noiseless_moments, _of_rows, "excess_risk", (), PAQUETTE),
            rival=Law("infinitely many features", noiseless_moments, _of_inputs, "excess_risk", (), PAQUETTE),
            rival_home="layers much wider than the number of modes learned so far",
            seeds=4,
            relative="point",
            seconds=1.2,
            reference=PAQUETTE,
            budget={"rounding": 1e-9},
        )

    def _setup(self, data: Any, *, procedure: str, rate: float, steps: int) -> Setup:
        sampled = procedure == "one_pass"
        return Setup(
            network=self.network,
            data=data,
            axes={"features": self.width},
            optimizer=Optimizer("gradient_descent", learning_rate=rate, unit="1/trace", rates=(("W1", 0.0),)),
            initialisation=Initialisation("as_stated"),
            procedure=procedure,
            steps=steps,
            records=16,
            spacing="log",
            options={"batch": self.batch, "dtype": "float32"} if sampled else {},
        )


@cache
def noiseless_moments() -> Map:
    """The recursion on the population loss, B -> oo: c <- (1 - eta lambda)^2 c, above the unresolved part.

    >>> print(noiseless_moments().equations[0].factor())
    c*(lambda*eta - 1)**2
    """
    return feature_moments().assume(FULL_BATCH)


@cache
def silent_moments() -> Map:
    """The recursion in which the unresolved target is a floor of the loss, but makes no noise.

    >>> "unresolved" in map(str, silent_moments().equations[0].free_symbols)
    False
    """
    noisy = feature_moments()
    (unresolved,) = (symbol for symbol in noisy.parameters if str(symbol) == "unresolved")
    return Map(noisy.unknowns, (noisy.equations[0].subs(unresolved, 0),), observables=noisy.observables)


def _population(model: PowerLawRandomFeatures) -> Dataset:
    """Rows with exactly the second moments of the power law: one along each mode."""
    eigenvalues, target = PowerLaw(model.modes, 2 * model.alpha, 2 * model.alpha + 2 * model.beta).spectrum()
    rows = np.diag(np.sqrt(model.modes * eigenvalues))
    return Dataset(rows, rows @ target, name="power_law_population")


def _of_samples(instance: Instance) -> Mapping[str, Any]:
    if "eigenvalues" not in instance:
        raise BadData(
            "this claim is about Gaussian inputs with known eigenvalues, not about a data set",
            where="power-law-random-features",
            remedy="leave the data out",
        )
    noise = float(instance.facts.get("noise", 0.0))
    batch = float(instance.setup.options.get("batch", 1))
    found = _spectrum(instance, np.diag(instance["eigenvalues"]), instance["target"])
    return {**found, "sigma2": noise, "B": batch, "eta": instance.learning_rate}


def _of_rows(instance: Instance) -> Mapping[str, Any]:
    covariance, target = _moments(instance)
    return {**_spectrum(instance, covariance, target), "sigma2": 0.0, "eta": instance.learning_rate}


def _of_inputs(instance: Instance) -> Mapping[str, Any]:
    """The same rows without a random layer in between."""
    covariance, target = _moments(instance)
    eigenvalues, basis = np.linalg.eigh(covariance)
    return {"lambda": eigenvalues, "c": (basis.T @ target) ** 2, "unresolved": 0.0, "eta": instance.learning_rate}


def _moments(instance: Instance) -> tuple[np.ndarray, np.ndarray]:
    covariance, crossed = instance.dataset.covariances()
    return covariance, np.linalg.solve(covariance, crossed[0])


def _spectrum(instance: Instance, covariance: np.ndarray, target: np.ndarray) -> dict[str, Any]:
    """Eigenvalues of the features' covariance, squared weight errors at the start, and the unresolved part."""
    features = np.asarray(instance["W1"], float)  # (features, modes)
    eigenvalues, basis = np.linalg.eigh(features @ covariance @ features.T)
    best = basis.T @ (features @ covariance @ target) / eigenvalues
    left = target - features.T @ (basis @ best)
    start = basis.T @ np.asarray(instance["W2"], float)[0]
    return {"lambda": eigenvalues, "c": (start - best) ** 2, "unresolved": float(left @ covariance @ left)}
