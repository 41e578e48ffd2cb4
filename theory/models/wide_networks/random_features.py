"""Random features: the first layer of a network stays as it was drawn, and only the last is trained, to the end.

n samples and k neurons limit what is learned in the same way: (n - z)(k - z) gamma = k ridge, with z the number of
modes learned. See `theory.regression.random_features` for the derivation. More neurons help only up to k ~ n unless
the ridge grows with the noise, and without one the error peaks at n = k.

>>> print(RandomFeatures().derive().equations[0])
-k - n + sqrt((-k + n)**2 + 4*k*ridge/gamma) + 2*over(lambda*multiplicity/(lambda + gamma))
"""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np

from ...claims import Claim, Equals, Law
from ...dataset import PowerLaw
from ...derivation.assumptions import Closure
from ...measured_spectra.spectrum import finite_population
from ...model import Theory, parameter
from ...regression.effective_ridge import SIMON, effective_ridge
from ...regression.kernels import Kernel, nngp
from ...regression.random_features import MORE, gaussian_features, random_features
from ...setup import Instance, Setup
from ...system import FixedPoint, System

SUBSET = 200  # samples on which the Gaussian equivalence of a pool is measured


@dataclass(frozen=True)
class RandomFeatures(Theory):
    """Random features: regression on a layer of neurons that is not trained"""

    activation: str = parameter("relu", "activation of the random neurons")
    ridge: float = parameter(0.1, "ridge in K + ridge I, with K the mean over neurons")

    def derive(self) -> FixedPoint:
        """The effective ridge of n samples and k features, with all errors as observables."""
        return random_features()

    def derivations(self) -> Mapping[str, System]:
        return {"random features": random_features(), "infinitely many features": effective_ridge()}

    @property
    def kernel(self) -> Kernel:
        """The mean over neurons: covariance of the outputs of an infinitely wide layer."""
        return nngp(depth=2, activation=self.activation)

    def claims(self) -> tuple[Claim, ...]:
        return (self._gaussian(), self._neurons())

    def _gaussian(self) -> Claim:
        setup = Setup(
            data=PowerLaw(dim=200, capacity=1.2, target_exponent=1.6, noise=0.2),
            procedure="kernel_solve",
            sizes=(60, 120),
            options={"ridge": 0.02},
        )
        return Equals(
            name="gaussian_features",
            statement="Mean test error of regression on k random mixtures of Gaussian features, through the peak n = k",
            observable="test_error",
            setup=setup,
            law=_law("two coupled effective ridges", _of_features),
            rival=_rival(_of_features),
            rival_home="many more features than samples: k does not matter any more",
            axis="features",
            values=(40, 120, 240),
            seeds=600,
            stochastic=True,
            relative="point",
            seconds=4,
            reference=MORE,
            budget={"declared: 2/min(n, k)": 2 / 40},
            options={"scatter": 0.2},
        )

    def _neurons(self) -> Claim:
        setup = Setup(
            data="digits",
            prepare=("unit_norm", "parity"),
            procedure="kernel_solve",
            sizes=(100, 200, 400),
            options={"ridge": self.ridge, "kernel": self.kernel},
        )
        return Equals(
            name="random_neurons",
            statement="Error on all digits of a trained last layer on k random neurons, from the kernel's spectrum",
            observable="pool_error",
            setup=setup,
            law=_law("two coupled effective ridges", self._of_pool, UNSEEN),
            rival=_rival(self._of_pool),
            rival_home="many more neurons than samples: k does not matter any more",
            axis="features",
            values=(150, 300, 600),
            seeds=80,
            stochastic=True,
            relative="point",
            seconds=4,
            reference=MORE,
            budget={"declared: non-Gaussian features": 0.1},
            options={"scatter": 0.1},
        )

    def _of_pool(self, instance: Instance) -> dict[str, Any]:
        share = max(instance.setup.sizes) / len(instance["x"])
        return {**_of_population(self.kernel, instance), **_stated(instance), "share": share}


UNSEEN = Closure(
    "rows not trained on",
    "all rows together are the population: training sets are at most a quarter of them",
    reference=SIMON,
    radius=0.25,
    measure=lambda arrays: arrays["share"],
)


def _law(name: str, bind: Any, *more: Closure) -> Law:
    return Law(
        name,
        random_features,
        bind,
        "test_error",
        assumptions=(gaussian_features(), *more),
        reference=MORE,
        solver="regression.random_features:fixed_point",
    )


def _rival(bind: Any) -> Law:
    return Law("infinitely many features", effective_ridge, bind, "test_error", reference=SIMON)


def _of_features(instance: Instance) -> dict[str, Any]:
    eigenvalues = instance["eigenvalues"]
    return {
        "lambda": eigenvalues,
        "power": eigenvalues * instance["target"] ** 2,
        "multiplicity": np.ones(len(eigenvalues)),
        "noise": instance.facts["noise"],
        **_stated(instance),
    }


def _stated(instance: Instance) -> dict[str, Any]:
    return {
        "ridge": instance.setup.options["ridge"],
        "k": float(instance.setup.axes["features"]),
        "n": np.array(instance.setup.sizes, float)[:, None],
    }


def _of_population(kernel: Kernel, instance: Instance) -> dict[str, Any]:
    """All data as the population, and a subset's Gram matrix for the diagnostic; the numbers of neurons share it."""
    return _spectrum_of(kernel, _Rows(instance))


class _Rows:
    """The rows of an instance, equal where their bytes are: one spectrum serves every number of neurons."""

    def __init__(self, instance: Instance):
        self.x, self.y, self.seed = instance["x"], instance["y"], instance.seed
        self.key = (self.x.tobytes(), self.y.tobytes(), self.seed)

    def __hash__(self):
        return hash(self.key)

    def __eq__(self, other):
        return isinstance(other, _Rows) and self.key == other.key


@lru_cache(maxsize=1)
def _spectrum_of(kernel: Kernel, rows: _Rows) -> dict[str, Any]:
    gram = kernel(rows.x)
    chosen = np.random.default_rng(rows.seed).permutation(len(gram))[:SUBSET]
    spectrum = finite_population(gram, rows.x, rows.y)
    return {
        "lambda": spectrum.eigenvalues,
        "power": spectrum.power,
        "multiplicity": spectrum.multiplicities,
        "noise": spectrum.noise,
        "subset_gram": gram[np.ix_(chosen, chosen)],
    }
