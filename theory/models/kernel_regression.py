"""Kernel regression: learning curves from a spectrum, exponents from raw data, wide networks in the lazy regime.

f(x) = K(x, X) (K(X, X) + ridge I)^-1 y. On average over training sets it is governed by one number, the effective ridge
kappa with n = sum lambda/(lambda + kappa) + ridge/kappa: see `theory.regression.effective_ridge` for the derivation and
`theory.regression.linearised` for networks trained by gradient descent.

>>> print(KernelRegression().derive().equations[0])
-n + over(lambda*multiplicity/(lambda + kappa)) + ridge/kappa
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Any

import numpy as np

from ..architecture.network import chain
from ..claims import Claim, Converges, Equals, Law, Scales
from ..dataset import PowerLaw
from ..measured_spectra.cross_fitting import cross_fit, in_sample
from ..measured_spectra.spectrum import Spectrum, finite_population
from ..model import Theory, parameter
from ..regression.effective_ridge import SIMON, effective_ridge, gaussian_equivalence
from ..regression.kernels import Kernel, ntk
from ..regression.linearised import LEE, converged, linearised_descent, tangent_kernel, training_residuals
from ..setup import Initialisation, Instance, Optimizer, Setup
from ..system import FixedPoint, System

RIDGELESS = 1e-8
SUBSET = 200  # samples on which the Gaussian equivalence of a pool is measured


@dataclass(frozen=True)
class KernelRegression(Theory):
    """Kernel regression and networks in the lazy regime"""

    kernel: Kernel = parameter(ntk(depth=3), "kernel; of an infinitely wide network by default")
    ridge: float = parameter(0.1, "ridge in K + ridge I where the data are the whole population")

    def derive(self) -> FixedPoint:
        """The effective ridge, with test error, training error and learnabilities as observables."""
        return effective_ridge()

    def derivations(self) -> Mapping[str, System]:
        return {"effective ridge": effective_ridge(), "gradient descent of a wide network": linearised_descent()}

    def claims(self) -> tuple[Claim, ...]:
        return (
            self._gaussian_features(),
            self._finite_population(),
            self._exponent("digits", ("unit_norm", "parity"), (50, 68, 94, 128, 175, 240, 328, 449), 0.05),
            self._exponent("patches", (), (50, 73, 106, 154, 224, 326, 475, 691), 0.05),
            self._lazy_training(),
            self._linearisation(),
        )

    def _gaussian_features(self) -> Claim:
        setup = Setup(
            data=PowerLaw(dim=400, capacity=1.2, target_exponent=2.0, noise=0.25),
            procedure="kernel_solve",
            sizes=(30, 60, 120, 200),
            options={"ridge": 0.1},
        )
        return Equals(
            name="gaussian_features",
            statement="Mean test error of ridge regression on Gaussian features, at every sample size",
            observable="test_error",
            setup=setup,
            law=self._law("effective ridge", "test_error", _of_features),
            rival=self._law("effective ridge without variance", "bias", _of_features),
            rival_home="large ridge: the predictor no longer depends on which samples were drawn",
            seeds=1000,
            stochastic=True,
            relative="point",
            seconds=10,
            reference=SIMON,
            budget={"order 1/n": 0.025},
            options={"scatter": 0.1},
        )

    def _finite_population(self) -> Claim:
        setup = Setup(
            data="digits",
            prepare=("unit_norm", "parity"),
            procedure="kernel_solve",
            sizes=(50, 100, 200, 400),
            options={"ridge": self.ridge, "kernel": self.kernel},
        )
        return Equals(
            name="finite_population",
            statement="Error on all digits after training on n of them, from the spectrum of all digits",
            observable="pool_error",
            setup=setup,
            law=self._law("effective ridge", "test_error", self._of_pool),
            rival=self._law("effective ridge without variance", "bias", self._of_pool),
            rival_home="large ridge: the predictor no longer depends on which samples were drawn",
            seeds=200,
            stochastic=True,
            relative="point",
            seconds=8,
            reference=SIMON,
            budget={"non-Gaussian features": 0.1},
            options={"scatter": 0.1},
        )

    def _exponent(self, data: str, prepare: tuple[str, ...], sizes: tuple[int, ...], between_halves: float) -> Claim:
        setup = Setup(
            data=data,
            prepare=prepare,
            sample="halves",
            procedure="kernel_solve",
            sizes=sizes,
            options={"ridge": RIDGELESS, "kernel": self.kernel},
        )
        law = self._law("forecast from the other half", "test_error", self._of_probe_cross_fitted)
        return Scales(
            name=f"exponent_{data}",
            statement=f"Exponent of the test error in n on one half of the {data}, forecast from the other half",
            observable="test_error",
            setup=setup,
            law=replace(law, assumptions=()),
            rival=self._law("the probe taken for the population", "test_error", self._of_probe_as_population),
            rival_home="sample sizes far below that of the probe",
            seeds=60,
            stochastic=True,
            seconds=8,
            reference=SIMON,
            window=(sizes[0], sizes[-1]),
            budget={"draw of the halves": between_halves},
            options={
                "partner": replace(
                    self._law("the same in sample", "test_error", self._of_probe_in_sample), assumptions=()
                ),
                "scatter": 0.1,
            },
        )

    def _lazy_training(self) -> Claim:
        return Equals(
            name="lazy_training",
            statement="Test error of a wide network is that of kernel gradient descent at the same step",
            observable="test_error",
            setup=_wide_training(
                "relu", ("unit_norm", "unit_scale"), width=4096, steps=500, records=11, dtype="float32"
            ),
            law=Law("kernel gradient descent", linearised_descent, _infinite_width, "test_error", reference=LEE),
            rival=Law("kernel regression at infinite time", converged, _infinite_time, "test_error", reference=LEE),
            rival_home="training far beyond 1/(learning rate x smallest eigenvalue)",
            axis="n",
            values=(50, 100, 200, 400),
            seeds=2,
            relative="point",
            seconds=20,
            reference=LEE,
            budget={"finite width": 0.06},
            options={"window": (100, 500)},
        )

    def _linearisation(self) -> Claim:
        standardised = ("drop_constant", "centre", "unit_scale")
        return Converges(
            name="linearisation",
            statement="Outputs approach the linearisation at the network's own initial weights as 1/width",
            observable="outputs",
            setup=_wide_training("erf", standardised, sample="subset", steps=50, records=2, dtype="float32"),
            law=Law("own tangent kernel", training_residuals, _own_kernel, _outputs(), reference=LEE),
            rival=Law("infinite-width kernel", training_residuals, _infinite_kernel, _outputs(), reference=LEE),
            rival_home="the same limit, but only as width^(-1/2): the kernel at initialisation fluctuates",
            axis="width",
            values=(512, 2048, 8192),
            seeds=48,
            stochastic=True,
            relative="none",
            seconds=8,
            reference=LEE,
            order=-1.0,
            tolerance=0.08,
        )

    def _law(self, name: str, readout: str, bind: Any) -> Law:
        return Law(name, effective_ridge, bind, readout, assumptions=(gaussian_equivalence(),), reference=SIMON)

    def _of_pool(self, instance: Instance) -> dict[str, Any]:
        return _of_population(self.kernel, instance)

    def _of_probe_cross_fitted(self, instance: Instance) -> dict[str, Any]:
        groups = instance["groups_probe"] if "groups_probe" in instance else None
        x, y = instance["x_probe"], instance["y_probe"]
        return _bound(cross_fit(self.kernel, x, y, instance.seed, groups=groups), instance)

    def _of_probe_in_sample(self, instance: Instance) -> dict[str, Any]:
        groups = instance["groups_probe"] if "groups_probe" in instance else None
        spectrum = in_sample(self.kernel, instance["x_probe"], instance["y_probe"], instance.seed, groups=groups)
        return {**_bound(spectrum, instance), "slope_scatter": spectrum.slope_scatter(instance.setup.sizes)}

    def _of_probe_as_population(self, instance: Instance) -> dict[str, Any]:
        return _bound(finite_population(self.kernel, instance["x_probe"], instance["y_probe"]), instance)


@lru_cache(maxsize=2)
def _of_population(kernel: Kernel, instance: Instance) -> dict[str, Any]:
    """All data as the population, and a subset's Gram matrix for the diagnostic; law, rival and diagnostic share it."""
    gram = kernel(instance["x"])
    chosen = np.random.default_rng(instance.seed).permutation(len(gram))[:SUBSET]
    spectrum = finite_population(gram, instance["x"], instance["y"])
    return {**_bound(spectrum, instance), "subset_gram": gram[np.ix_(chosen, chosen)]}


def _bound(spectrum: Spectrum, instance: Instance) -> dict[str, Any]:
    return {
        "lambda": spectrum.eigenvalues,
        "power": spectrum.power,
        "multiplicity": spectrum.multiplicities,
        "noise": spectrum.noise,
        **_stated(instance),
    }


def _stated(instance: Instance) -> dict[str, Any]:
    return {"ridge": instance.setup.options["ridge"], "n": np.array(instance.setup.sizes, float)[:, None]}


def _of_features(instance: Instance) -> dict[str, Any]:
    eigenvalues = instance["eigenvalues"]
    return {
        "lambda": eigenvalues,
        "power": eigenvalues * instance["target"] ** 2,
        "multiplicity": np.ones(len(eigenvalues)),
        "noise": instance.facts["noise"],
        **_stated(instance),
    }


def _wide_training(activation: str, prepare: tuple[str, ...], dtype: str = "float64", **moves: Any) -> Setup:
    """Two layers in NTK parameterisation, exactly zero at the start; standard normal weights, so variance 1."""
    return Setup(
        network=chain("input", "width", "output", activation=activation, parameterization="ntk"),
        data="digits",
        prepare=(*prepare, "parity"),
        sample="train_test",
        axes={"width": 2048, "n": 50},
        optimizer=Optimizer(learning_rate=1.0, unit="1/kernel"),
        initialisation=Initialisation("antisymmetric"),
        options={"kernel": ntk(depth=2, activation=activation, weight_variance=1.0), "dtype": dtype},
    ).at(**moves)


def _own_kernel(instance: Instance) -> dict[str, Any]:
    network = instance.setup.network
    assert network is not None
    return _residuals(instance, tangent_kernel(network, instance.weights, instance["x"]))


def _infinite_kernel(instance: Instance) -> dict[str, Any]:
    return _residuals(instance, instance.setup.options["kernel"](_scaled(instance["x"])))


def _infinite_width(instance: Instance) -> dict[str, Any]:
    cross = instance.setup.options["kernel"](_scaled(instance["x_test"]), _scaled(instance["x"]))
    return {
        **_infinite_kernel(instance),
        "K_test": cross / cross.shape[1],
        "S": instance["y_test"],
        "tests": len(cross),
    }


def _scaled(x: np.ndarray) -> np.ndarray:
    """Inputs over sqrt(fan-in), the factor of the first layer."""
    return x / np.sqrt(x.shape[1])


def _residuals(instance: Instance, gram: np.ndarray) -> dict[str, Any]:
    return {"K": gram / len(gram), "R": instance["y"], "y": instance["y"], "samples": len(gram)}


def _infinite_time(instance: Instance) -> dict[str, Any]:
    values = _infinite_width(instance)
    limit = values["S"] - values["K_test"] @ np.linalg.solve(values["K"], values["R"])
    return {"S": limit, "tests": values["tests"]}


def _outputs() -> Any:
    """Outputs on the training inputs, y - R."""
    import sympy as sp

    R = training_residuals().unknowns[0]
    return sp.MatrixSymbol("y", *R.shape) - R
