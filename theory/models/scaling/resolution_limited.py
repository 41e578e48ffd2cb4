"""Resolution: n points in d dimensions are n^(-1/d) apart, and that is what smooth targets are missed by.

    nearest neighbours ~ n^(-2/d),     straight lines ~ n^(-4/d)     (squared error)

d is the dimension of the data, not of the space they lie in. Distances and gaps of uniform points have exact moments,
so that errors are known at every n, prefactor included: see `mechanisms.resolution`.

>>> print(ResolutionLimited().derive().observables["exponent"])
2/d
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import sympy as sp

from ...architecture.network import chain
from ...claims import Claim, Equals, Law, Scales
from ...mechanisms.resolution import (
    BAHRI,
    SHARMA,
    determined_fit,
    lines_between_points,
    nearest_neighbours,
)
from ...model import Theory, parameter
from ...setup import Initialisation, Instance, Setup
from ...symbols import positive
from ...system import FixedPoint, System

FEW = (50, 100)  # points on a circle: so few that the limit of many is 24 and 11 % off
GAPS = 250_000  # measured in a seed
_LIMIT = 16 * sp.pi**4 / positive("n") ** 4


@dataclass(frozen=True)
class Torus:
    """Points uniform on the torus [0, 1)^d, and the smooth target sqrt(2/d) sum_j cos(2 pi x_j) of variance one."""

    dimension: int = 3
    name: str = "torus"

    def sizes(self) -> dict[str, int]:
        """Widths of the input and of the output."""
        return {"input": self.dimension, "output": 1}

    def statistics(self) -> dict[str, np.ndarray]:
        """Second moments of the coordinates; no linear target."""
        return {"eigenvalues": np.full(self.dimension, 1 / 12), "target": np.zeros(self.dimension)}

    def normals(self, n: int) -> dict[str, tuple[int, ...]]:
        """Shapes of the standard normal numbers that n rows are made of."""
        return {"place": (n, self.dimension)}

    def rows(self, normals: Mapping[str, Any]) -> tuple[Any, Any]:
        """Points (n, d) and targets (n, 1): the distribution function of normal numbers is uniform.

        >>> x, y = Torus(2).rows({"place": np.zeros((1, 2))})
        >>> x, y.round(12)
        (array([[0.5, 0.5]]), array([[-2.]]))
        """
        from scipy.special import ndtr

        x = np.minimum(ndtr(np.asarray(normals["place"])), 1 - 2.0**-53)
        return x, self.target(x)[:, None]

    def target(self, x: np.ndarray) -> np.ndarray:
        """Targets (...) at points (..., d)."""
        return np.sqrt(2 / self.dimension) * np.cos(2 * np.pi * x).sum(-1)


@dataclass(frozen=True)
class ResolutionLimited(Theory):
    """Regression limited by the resolution of points in d dimensions"""

    dimension: int = parameter(3, "dimension d of the data", least=1)

    def derive(self) -> FixedPoint:
        """Error of nearest neighbours from the exact moments of their distance."""
        return nearest_neighbours()

    def derivations(self) -> Mapping[str, System]:
        return {
            "nearest neighbours": nearest_neighbours(),
            "straight lines": lines_between_points(),
            "variance-limited least squares": determined_fit(),
        }

    def claims(self) -> tuple[Claim, ...]:
        return self._neighbours(), self._lines()

    def _neighbours(self) -> Claim:
        sizes = (1000, 3000, 10000, 30000)
        return Scales(
            name="neighbours",
            statement="Exponent of nearest neighbours, from the dimension of the data",
            observable="neighbour_error",
            setup=_points(self.dimension, sizes[0]),
            law=Law("distance in d dimensions", nearest_neighbours, _stated, "error", reference=BAHRI),
            rival=Law("dimension of the space", nearest_neighbours, _embedded, "error", reference=SHARMA),
            rival_home="data that fill the space: every angle of the torus takes two coordinates there",
            axis="n",
            values=sizes,
            seeds=3,
            seconds=1.5,
            reference=SHARMA,
            window=(sizes[0], sizes[-1]),
            # 4 standard deviations of a mean over 20000 points at both ends, in units of the logarithm of the window
            budget={"draw of points": 4 * 2 / 20000**0.5 / np.log(30) * 2**0.5},
        )

    def _lines(self) -> Claim:
        return Equals(
            name="lines",
            statement="Error of straight lines between points on a circle, prefactor and finite n included",
            observable="line_error",
            setup=_points(1, FEW[0]),
            law=Law("gaps of uniform points", lines_between_points, _count, "error", reference=BAHRI),
            rival=Law("limit of many points", lines_between_points, _count, _LIMIT, reference=BAHRI),
            rival_home="hundreds of points, of which a few more or less change nothing",
            axis="n",
            values=FEW,
            seeds=48,
            stochastic=True,
            relative="point",
            seconds=1.5,
            reference=SHARMA,
            budget={
                "terms of the wave left out": 1e-6,
                # in standard errors of the mean: 4.2 for the judge and 2.3 to spare
                "draw of gaps": 6.5 * _scatter() / 48**0.5,
            },
            options={"scatter": _scatter()},
        )


def _scatter() -> float:
    """At most the relative deviation of the error over GAPS gaps, one point tested in each, for the most points.

    The square h^10 of a gap's error has E h^10/(E h^5)^2 = 252 n..(n+4)/((n+5)..(n+9)), less than 252; the place in the
    gap makes it larger by B(5, 5)/B(3, 3)^2 = 10/7 and the curvature of a wave by 3/2. Gaps repel each other.
    """
    n = max(FEW)
    moments = 252 * np.prod([(n + j) / (n + 5 + j) for j in range(5)])
    return float((15 / 7 * moments / GAPS) ** 0.5)


def _points(dimension: int, n: int) -> Setup:
    return Setup(
        network=chain("input", "output"),
        data=Torus(dimension),
        sample="subset",
        axes={"n": n},
        initialisation=Initialisation("normal", 0.0),
        steps=0,
        records=1,
    )


def _count(instance: Instance) -> dict[str, Any]:
    return {"n": float(instance.setup.axes["n"])}


def _stated(instance: Instance) -> dict[str, Any]:
    return {**_count(instance), "d": float(instance.setup.data.dimension)}


def _embedded(instance: Instance) -> dict[str, Any]:
    return {**_count(instance), "d": 2.0 * instance.setup.data.dimension}
