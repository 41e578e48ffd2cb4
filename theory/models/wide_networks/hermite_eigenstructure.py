"""Hermite eigenstructure: the spectrum and the learning curve of a kernel from the covariance of the data alone.

K = sum_l k_l t^l in the cosine t of two inputs. On Gaussian data with covariance eigenvalues gamma_i the modes are
products of Hermite polynomials of principal components, with eigenvalues k_l gamma^alpha / h_l(gamma), where h_l is the
sum of gamma^alpha over the level: see `theory.hermite.hermite_eigenstructure`. How far real data follow is measured,
and at a low effective dimension the model says that it does not apply.

>>> print(HermiteEigenstructure().derive().equations[0])
k*monomial/level_sum - lambda
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Any

import numpy as np
import sympy as sp

from ...architecture.network import chain
from ...claims import Claim, Equals, Law
from ...dataset import Dataset
from ...derivation.assumptions import Closure
from ...hermite.hermite_eigenstructure import KARKADA, covariance, hermite_spectrum, validity
from ...hermite.hermite_modes import complete_symmetric, top_modes
from ...hermite.level_coefficients import level_coefficients
from ...model import Theory, parameter
from ...regression.effective_ridge import effective_ridge
from ...regression.kernels import Kernel, rbf
from ...setup import Instance, Setup
from ...symbols import modes
from ...system import FixedPoint, System
from ...trail import Equations, Trail

EIGENVALUE, LEVEL, MONOMIAL, LEVEL_SUM = modes("lambda k monomial level_sum")
RIDGE = 1e-2
CURVE_MIXING = 0.07
SPREAD = 2.1  # the largest error of a logarithm over `mixing` on exact spectra of Gaussian measures
ORDER = 12


@dataclass(frozen=True)
class HermiteEigenstructure(Theory):
    """Kernel spectra from the covariance of the data"""

    eigenvalues: int = parameter(10, "largest eigenvalues that are compared", least=1)
    ridge: float = parameter(RIDGE, "ridge in K + ridge I")

    def derive(self) -> FixedPoint:
        """The eigenvalue of one mode."""
        return mode_eigenvalue()

    def derivations(self) -> Mapping[str, System]:
        return {"eigenvalues": mode_eigenvalue(), "learning curve": effective_ridge()}

    def claims(self) -> tuple[Claim, ...]:
        few = self._eigenvalues("two_dimensions", "Gaussian rows of two dimensions", _gaussian_rows(2, 0.5), 0.1)
        return (
            self._eigenvalues("gaussian", "Gaussian rows with a power-law covariance", _gaussian_rows(100, 0.5), 0.1),
            self._eigenvalues("digits", "the digits", "digits", 0.16, ("centre", "unit_scale"), width=8.0),
            replace(few, expected="outside_domain"),
            self._learning_curve(),
        )

    def _eigenvalues(
        self, name: str, words: str, data: Any, mixing: float, prepare: tuple[str, ...] = (), width: float = 1.0
    ) -> Claim:
        setup = Setup(
            network=chain("input", "output"),
            data=data,
            prepare=prepare,
            steps=0,
            records=1,
            options={"kernel": rbf(width), "eigenvalues": self.eigenvalues},
        )
        closure = hermite_closure(mixing)
        return Equals(
            name=f"eigenvalues_{name}",
            statement=f"Largest eigenvalues of a Gaussian kernel on {words}, from their covariance alone",
            observable="gram_eigenvalues",
            setup=setup,
            law=Law("Hermite eigenstructure", mode_eigenvalue, _of_rows, "lambda", (closure,), reference=KARKADA),
            rival=Law("isotropic covariance", mode_eigenvalue, _of_isotropic_rows, "lambda", reference=KARKADA),
            rival_home="white data",
            relative="point",
            seconds=1.5,
            reference=KARKADA,
            # sampled eigenvalues scatter by sqrt(2 / n), here at four deviations of 1500 rows
            budget={"mixing of levels": SPREAD * mixing, "draw of rows": 0.15},
        )

    def _learning_curve(self) -> Claim:
        setup = Setup(
            data="digits",
            prepare=("centre", "unit_scale", "one_hot"),
            procedure="kernel_solve",
            sizes=(30, 60, 120, 250),
            options={"ridge": self.ridge, "kernel": rbf(12.0)},
        )
        closure = (hermite_closure(CURVE_MIXING),)
        return Equals(
            name="learning_curve_digits",
            statement="Test error of kernel regression on the digits, from covariance and Hermite coefficients",
            observable="test_error",
            setup=setup,
            law=Law("Hermite eigenstructure", effective_ridge, _curve, "test_error", closure, reference=KARKADA),
            rival=Law("isotropic covariance", effective_ridge, _isotropic_curve, "test_error", reference=KARKADA),
            rival_home="white data",
            seeds=60,
            stochastic=True,
            relative="point",
            seconds=3,
            reference=KARKADA,
            budget={"mixing of levels": SPREAD * CURVE_MIXING, "declared: components that are not Gaussian": 0.1},
            options={"scatter": 0.15},
        )


@lru_cache(maxsize=1)
def mode_eigenvalue() -> FixedPoint:
    """lambda_alpha = k_l gamma^alpha / h_l(gamma), with its derivation; solved for lambda.

    Reference: Karkada, Turnbull, Liu & Simon 2025 (arXiv:2510.14878).
    """
    level, q = sp.Symbol("l", integer=True, nonnegative=True), sp.Symbol("q", positive=True)
    k, g, h, c, t = sp.symbols("k_l gamma_alpha h_l c_l t", positive=True)
    trail = Trail().then(
        "kernel on the sphere of the data", Equations(((sp.Symbol("K_l"), k * t**level),)), reference=KARKADA
    )
    trail = trail.then("in terms of x.x'", Equations(((c, sp.factorial(level) * k / q**level),)))
    trail = trail.then(
        "multinomial theorem, Gaussian components",
        Equations(((EIGENVALUE, c * g),)),
        assumption="Hermite eigenstructure",
        reference=KARKADA,
        check="high effective dimension: x^alpha / sqrt(alpha!) is nearly a Hermite product",
    )
    trail = trail.then(
        "every level keeps its trace k_l",
        Equations(((EIGENVALUE, k * g / h),)),
        check="h_l = q^l / l! + O(sum gamma^2 / q^2): the same in high effective dimension",
    )
    return FixedPoint((EIGENVALUE,), (LEVEL * MONOMIAL / LEVEL_SUM - EIGENVALUE,), trail=trail)


def hermite_closure(mixing: float) -> Closure:
    """Data are near enough to Gaussian ones of high effective dimension; the distance is that of `Validity`.

    The largest of its distances in units of their radii, that of mixing being `mixing`. Needs
    "validity", as the laws here bind it.
    """

    def measure(arrays: Any) -> float:
        if "validity" not in arrays:
            return 0.0
        found = arrays["validity"]
        rest = max(getattr(found, name) / radius for name, radius in found.RADII.items() if name != "mixing")
        return max(found.mixing / mixing, rest)

    return Closure(
        "Hermite eigenstructure",
        "modes are Hermite products of the whitened principal components",
        reference=KARKADA,
        radius=1.0,
        measure=measure,
    )


def _of_rows(instance: Instance) -> dict[str, Any]:
    return _eigenvalues(instance.setup.options["kernel"], instance, False)


def _of_isotropic_rows(instance: Instance) -> dict[str, Any]:
    return _eigenvalues(instance.setup.options["kernel"], instance, True)


def _eigenvalues(kernel: Kernel, instance: Instance, isotropic: bool) -> dict[str, Any]:
    gamma = covariance(instance["x"]).gamma
    if isotropic:
        gamma = np.full(len(gamma), gamma.mean())
    series = level_coefficients(kernel, float(gamma.sum()), order=ORDER)
    sums = complete_symmetric(gamma, ORDER)
    with np.errstate(divide="ignore"):
        logs = np.log(series.series) - np.log(sums)
    top = top_modes(np.log(gamma), logs, int(instance.setup.options["eigenvalues"]))
    return {
        "k": series.series[top.degrees],
        "monomial": np.exp(top.log_eigenvalues - logs[top.degrees]),
        "level_sum": sums[top.degrees],
        "validity": validity(series, gamma, instance["x"]),
    }


def _curve(instance: Instance) -> dict[str, Any]:
    return _spectrum(instance, None)


def _isotropic_curve(instance: Instance) -> dict[str, Any]:
    gamma = covariance(instance["x"]).gamma
    return _spectrum(instance, np.full(len(gamma), gamma.mean()))


def _spectrum(instance: Instance, gamma: np.ndarray | None) -> dict[str, Any]:
    kernel, x = instance.setup.options["kernel"], instance["x"]
    found = hermite_spectrum(kernel, x, instance["y"], modes=5000, order=ORDER, gamma=gamma)
    own = covariance(x).gamma
    return {
        "lambda": found.eigenvalues,
        "power": found.power,
        "multiplicity": found.multiplicities,
        "noise": found.noise,
        "ridge": instance.setup.options["ridge"],
        "n": np.array(instance.setup.sizes, float)[:, None],
        "validity": validity(level_coefficients(kernel, float(own.sum()), order=ORDER), own, x),
    }


@lru_cache(maxsize=4)
def _gaussian_rows(dimension: int, capacity: float, rows: int = 1500) -> Dataset:
    """Rows of a Gaussian distribution with covariance eigenvalues i^-capacity of sum 1; the targets are not used."""
    gamma = np.arange(1.0, dimension + 1) ** -capacity
    x = np.random.default_rng(dimension).standard_normal((rows, dimension)) * np.sqrt(gamma / gamma.sum())
    return Dataset(x, x[:, 0], f"gaussian_{dimension}")
