"""Kernel spectra on the sphere: exact eigenvalues, how often each occurs, and what they imply for learning.

For inputs uniform on the sphere of R^d every kernel of the angle has the spherical harmonics as eigenfunctions. Level k
holds N(d, k) of them with one eigenvalue, an overlap of the kernel with the Gegenbauer polynomial P_k:

    lambda_k = E kappa(t) P_k(t),   t the cosine between two random inputs.

Closed forms, decay at any depth and other input distributions are in `theory.spectra`.

>>> print(KernelSpectrum().derive().equations[0])
-lambda + overlap/weight
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
from ...model import Theory, parameter
from ...regression.effective_ridge import SIMON, effective_ridge
from ...regression.kernels import Kernel, ntk
from ...setup import Instance, Setup
from ...spectra.decay import BIETTI_BACH, decay
from ...spectra.funk_hecke import eigenvalue
from ...spectra.level_spectrum import LevelSpectrum
from ...spectra.sphere import FUNK_HECKE, multiplicity, sphere
from ...spectra.zonal import zonal
from ...symbols import modes
from ...system import FixedPoint, System
from ...trail import Equations, Trail

EIGENVALUE, OVERLAP, WEIGHT = modes("lambda overlap weight")
ROWS = 1500
LEVELS = 4  # of the eigenvalues that are compared: 0, 1, 2 and 4, level 3 is empty
POOL = 3000
POWER = {1: 0.4, 2: 0.4, 4: 0.2}  # of the target, level by level
RIDGE = 0.1
DIRECTIONS = 200  # of the harmonics that make a target


@dataclass(frozen=True)
class KernelSpectrum(Theory):
    """Exact kernel spectra on the sphere"""

    kernel: Kernel = parameter(ntk(depth=2), "kernel; the tangent kernel of a ReLU network by default")

    def derive(self) -> FixedPoint:
        """The eigenvalue of one level, with its closed form and decay in the trail."""
        return level_eigenvalue(self.kernel)

    def derivations(self) -> Mapping[str, System]:
        return {"eigenvalues": level_eigenvalue(self.kernel), "learning curve": effective_ridge()}

    def claims(self) -> tuple[Claim, ...]:
        return self._eigenvalues(), self._learning_curve()

    def _eigenvalues(self) -> Claim:
        spectrum = _spectrum(self.kernel, 3, LEVELS)
        counts = spectrum.multiplicities[spectrum.eigenvalues > 0]
        setup = Setup(
            network=chain("input", "output"),
            data=_uniform_rows(3, ROWS),
            steps=0,
            records=1,
            options={"kernel": self.kernel, "eigenvalues": int(counts.sum())},
        )
        widest = float(counts.max()) / ROWS
        return Equals(
            name="eigenvalues",
            statement="Eigenvalues of the kernel matrix of points on the sphere, level by level, no odd ones above 1",
            observable="gram_eigenvalues",
            setup=setup,
            law=Law("Funk-Hecke", self.derive, self._of_sphere, "lambda", reference=FUNK_HECKE),
            rival=Law(f"spectrum of the {self._other.name} kernel", self.derive, self._of_other, "lambda"),
            rival_home="networks of which only the last layer is trained"
            if self.kernel.kind == "ntk"
            else "networks of which every layer is trained",
            relative="point",
            seconds=1.5,
            reference=BIETTI_BACH,
            # N eigenvalues of n rows spread over (1 +- sqrt(N/n))^2; higher levels add their trace / n to each
            budget={"draw of rows": 2 * widest**0.5 + widest, "higher levels": 0.02},
        )

    def _learning_curve(self) -> Claim:
        setup = Setup(
            data=_harmonic_targets(5, POOL),
            procedure="kernel_solve",
            sizes=(20, 60, 150, 350),
            options={"ridge": RIDGE, "kernel": self.kernel},
        )
        return Equals(
            name="learning_curve",
            statement="Test error on a target of known harmonics, from exact eigenvalues and their multiplicities",
            observable="test_error",
            setup=setup,
            law=Law("exact spectrum", effective_ridge, self._curve, "test_error", reference=SIMON),
            rival=Law("one mode a level", effective_ridge, self._single_modes, "test_error", reference=SIMON),
            rival_home="one dimension: the interval, where every level has one mode",
            seeds=240,
            stochastic=True,
            relative="point",
            seconds=4,
            reference=SIMON,
            # the pool is one draw: 4 standard deviations of a mean of squares
            budget={"declared: harmonics are not Gaussian": 0.05, "draw of the pool": 4 * (2 / POOL) ** 0.5},
            options={"scatter": 0.2},
        )

    def _of_sphere(self, instance: Instance) -> dict[str, Any]:
        return _bound(self.kernel, instance)

    @property
    def _other(self) -> Kernel:
        """The covariance at the start in the place of the tangent kernel, and a tangent kernel in that of others."""
        if self.kernel.kind == "ntk":
            return replace(self.kernel, kind="nngp")
        return ntk(max(self.kernel.depth, 2))

    def _of_other(self, instance: Instance) -> dict[str, Any]:
        return _bound(self._other, instance)

    def _curve(self, instance: Instance) -> dict[str, Any]:
        return _regression(_spectrum(self.kernel, 5, 60).to_spectrum(POWER), instance)

    def _single_modes(self, instance: Instance) -> dict[str, Any]:
        bound = self._curve(instance)
        return {**bound, "multiplicity": np.minimum(bound["multiplicity"], 1.0)}


@lru_cache(maxsize=4)
def level_eigenvalue(kernel: Kernel) -> FixedPoint:
    """lambda_k = E kappa P_k over the weight of the cosine, with its derivation; solved for lambda.

    References: Bietti & Mairal 2019 (arXiv:1905.12173); Bietti & Bach 2021 (arXiv:2009.14397).
    """
    d, j = sp.Symbol("d", positive=True), sp.Symbol("j", integer=True, positive=True)
    trail = Trail().then(
        "overlap with a Gegenbauer polynomial", Equations(((EIGENVALUE, OVERLAP / WEIGHT),)), reference=FUNK_HECKE
    )
    law = zonal(kernel)
    if kernel.depth == 2 and kernel.activation == "relu":
        even = eigenvalue(law.formula, 2 * j, d)
        exact = sphere(kernel, 5, 8).exact or ()
        gap = max(abs(float(even.subs({d: 5, j: i}) - exact[2 * i])) for i in (1, 2, 3, 4))
        trail = trail.then(
            "even levels 2j",
            Equations(((EIGENVALUE, even),)),
            reference=BIETTI_BACH,
            check="levels 2 to 8 in five dimensions",
            residual=gap,
        )
        trail = trail.then("odd levels above 1", eigenvalue(law.formula, 2 * j + 1, d), parents=(0,))
    fall = decay(law)
    trail = fall.trail.after(trail, on=(0,))
    return FixedPoint((EIGENVALUE,), (-EIGENVALUE + OVERLAP / WEIGHT,), trail=trail)


@lru_cache(maxsize=8)
def _spectrum(kernel: Kernel, dimension: int, levels: int) -> LevelSpectrum:
    return sphere(kernel, dimension, levels)


def _bound(kernel: Kernel, instance: Instance) -> dict[str, Any]:
    """Every level as often as it occurs, largest first, as many as were measured."""
    spectrum = _spectrum(kernel, instance["x"].shape[1], LEVELS)
    modes_of = np.repeat(spectrum.eigenvalues, spectrum.multiplicities.astype(int))
    found = np.sort(modes_of)[::-1][: instance.setup.options["eigenvalues"]]
    return {"lambda": found, "overlap": found, "weight": np.ones_like(found)}


def _regression(spectrum: Any, instance: Instance) -> dict[str, Any]:
    return {
        "lambda": spectrum.eigenvalues,
        "power": spectrum.power,
        "multiplicity": spectrum.multiplicities,
        "noise": 0.0,
        "ridge": instance.setup.options["ridge"],
        "n": np.array(instance.setup.sizes, float)[:, None],
    }


def _uniform_rows(dimension: int, rows: int) -> Dataset:
    """Rows uniform on the unit sphere; the targets are not used."""
    x = _points(dimension, rows)
    return Dataset(x, x[:, 0], f"sphere_{dimension}")


def _harmonic_targets(dimension: int, rows: int) -> Dataset:
    """Rows uniform on the unit sphere and a random target with exactly `POWER` in its levels.

    Zonal harmonics about random directions: E P_k(u.x) P_k(v.x) = P_k(u.v) / N(d, k) gives the power of their sum.
    """
    from scipy.special import eval_gegenbauer

    x, half = _points(dimension, rows), dimension / 2 - 1
    directions = _points(dimension, DIRECTIONS)
    target = np.zeros(rows)
    for k, power in POWER.items():
        weights = np.random.default_rng([dimension, k]).standard_normal(DIRECTIONS)
        across, within = (
            eval_gegenbauer(k, half, points @ directions.T) / eval_gegenbauer(k, half, 1.0)
            for points in (x, directions)
        )
        found = weights @ within @ weights / multiplicity(dimension, k)
        target += np.sqrt(power / found) * (across @ weights)
    return Dataset(x, target, f"sphere_{dimension}_harmonics")


def _points(dimension: int, rows: int) -> np.ndarray:
    x = np.random.default_rng([dimension, rows]).standard_normal((rows, dimension))
    return x / np.linalg.norm(x, axis=1)[:, None]
