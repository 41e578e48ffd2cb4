r"""Kernels of networks at the start of training: what infinite width says about networks that are finite.

The kernel of a network of width N is that of infinite width plus a random part of order N^(-1/2). The laws here are
formulas of the angle theta between two inputs, t = cos(theta), derived layer by layer, with a residual and a norm:

    K <- w^2 V(K) + b^2,    Theta <- w^2 (V(K) + Theta dV/dC) + b^2,    dV/dC = E phi' phi'.

>>> system = InfiniteWidthKernels(b_std=0.0).derive()
>>> sorted(map(str, system.parameters))
['q', 'theta']
"""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache, partial
from typing import Any

import numpy as np
import sympy as sp

from ...architecture.constructors import (
    activation,
    convolution,
    dense,
    flatten,
    global_average_pool,
    layer_norm,
    reshape,
    residual,
    serial,
)
from ...architecture.network import Network
from ...claims import Claim, Converges, Equals, Law
from ...dataset import Dataset
from ...infinite_width.network_kernel import infinite_width
from ...model import Theory, parameter
from ...setup import Initialisation, Instance, Setup
from ...symbols import positive
from ...system import FixedPoint, System
from ...trail import Equations, Trail

JACOT = "Jacot, Gabriel & Hongler 2018, arXiv:1806.07572"
NOVAK = "Novak et al. 2019, arXiv:1810.05148"
THETA, ENTRIES, Q, ANGLE = positive("Theta"), positive("K_ij"), positive("q"), positive("theta")
_ANGLES = np.array([0.0, 0.5, 1.6, 2.8])
_CIRCLE = Dataset(2**0.5 * np.stack([np.cos(_ANGLES), np.sin(_ANGLES)], axis=1), np.ones((4, 1)), "four directions")
KURTOSIS = 5.0  # Var relu(z)^2 / (E relu(z)^2)^2: the scatter of one channel's square


@dataclass(frozen=True)
class InfiniteWidthKernels(Theory):
    """Kernels of wide networks before training"""

    w_std: float = parameter(1.2, "standard deviation of weights times the root of the fan-in")
    b_std: float = parameter(0.5, "standard deviation of biases")

    def derive(self) -> FixedPoint:
        """The tangent kernel of a network with a residual branch and a layer norm, in theta and q = <x, x>/d."""
        return kernel_equation(self._network(), "ntk")

    def derivations(self) -> Mapping[str, System]:
        hidden = serial(dense(2**0.5), activation("relu"), dense())
        return {
            "tangent kernel of one hidden layer": kernel_equation(hidden, "ntk"),
            "tangent kernel": self.derive(),
            "covariance of the outputs": kernel_equation(self._network(), "nngp"),
        }

    def claims(self) -> tuple[Claim, ...]:
        return (self._tangent_kernel(), self._images(), self._width_16())

    def _network(self, centred: bool = True) -> Network:
        """Dense, residual, relu and a norm; one that subtracts no mean is sqrt(2) times one before the relu."""
        w, b, relu = self.w_std, self.b_std, activation("relu")
        start = (dense(w, b), residual(relu, dense(0.8 * w, 0.8 * b)))
        if centred:
            return serial(*start, relu, layer_norm(), dense(w, b, width=1))
        return serial(*start, layer_norm(), relu, dense(2**0.5 * w, b, width=1))

    def _images_network(self, pooled: bool = True) -> Network:
        end = global_average_pool() if pooled else flatten()
        first = convolution(3, self.w_std, self.b_std, strides=2, padding="same")
        return serial(reshape(8, 8, 1), first, activation("relu"), end, dense(self.w_std, self.b_std, width=1))

    def _tangent_kernel(self) -> Claim:
        return Converges(
            name="tangent_kernel",
            statement="Tangent kernels of networks at the start approach the one of infinite width as width^(-1/2)",
            observable="tangent_kernel_entries",
            setup=_at_the_start(self._network(), _CIRCLE),
            law=_law("infinite width", self._network(), "ntk"),
            rival=_law("a layer norm that subtracts no mean", self._network(centred=False), "ntk"),
            rival_home="features with zero mean: a norm before the activation",
            axis="width",
            values=(64, 192, 512),
            seeds=192,
            stochastic=True,
            relative="none",
            seconds=4,
            reference=JACOT,
            order=-0.5,
            tolerance=0.08,
        )

    def _images(self) -> Claim:
        width = 4096
        pooled, flat = self._images_network(), self._images_network(pooled=False)
        return Equals(
            name="pooled_images",
            statement="Covariances of the outputs of a wide convolutional network with pooling, on images of digits",
            observable="output_covariance",
            setup=_at_the_start(pooled, "digits", ("centre", "unit_norm", "unit_scale", "parity"), width=width),
            law=_law("infinite width", pooled, "nngp", partial(grid_equation, True)),
            rival=_law("every pixel for itself", flat, "nngp", partial(grid_equation, False)),
            rival_home="flattening in place of pooling: no weight sees two pixels",
            seeds=3,
            relative="scale",
            seconds=2,
            reference=NOVAK,
            budget={"five deviations of a mean over channels": 5 * (KURTOSIS / width) ** 0.5},
        )

    def _width_16(self) -> Claim:
        return Equals(
            name="width_16",
            statement="Tangent kernels at width 16 are that of infinite width, within a fifth: they are not",
            observable="tangent_kernel_entries",
            setup=_at_the_start(self._network(), _CIRCLE, width=16),
            law=_law("infinite width", self._network(), "ntk"),
            rival=_law("covariance of the outputs", self._network(), "nngp"),
            rival_home="training of the last layer alone",
            seeds=4,
            relative="scale",
            seconds=1,
            reference=JACOT,
            # networks of width 1024 stay within it
            budget={"declared": 0.2},
            expected="refuted",
        )


@lru_cache(maxsize=16)
def kernel_equation(network: Network, which: str) -> FixedPoint:
    """Theta (or K, for "nngp") of two inputs with <x, x>/d = q and the angle theta between them, in closed form.

    >>> from ...architecture.constructors import dense, serial
    >>> print(kernel_equation(serial(dense(2.0, 1.0)), "nngp").equations[0])
    Theta - 4*q*cos(theta) - 1
    """
    kernel = infinite_width(network)
    found = kernel.symbolic(q=Q)
    formula = _of_the_angle(found.ntk if which == "ntk" else found.nngp)
    trail = Trail().then("Gaussian features of independent channels", str(kernel), assumption="infinite width")
    if which == "ntk":
        trail = trail.then("every weight moves: Price's theorem", "E phi' phi' = dV/dC", reference=JACOT)
    trail = trail.then(
        "both recursions in closed form",
        Equations(((THETA, formula),)),
        check="against the recursion in numbers",
        residual=_residual(kernel, formula, which),
    )
    return FixedPoint((THETA,), (THETA - formula,), trail=trail)


def _of_the_angle(formula: sp.Expr) -> sp.Expr:
    """t = cos(theta) and asin(t) = pi/2 - theta; short formulas are simplified, with 0 < theta < pi."""
    t = sp.Symbol("t", real=True)
    turned = formula.subs(sp.asin(t), sp.pi / 2 - ANGLE).subs(t, sp.cos(ANGLE))
    if sp.count_ops(turned) > 60:
        return turned
    return sp.simplify(turned).subs(sp.Abs(sp.sin(ANGLE)), sp.sin(ANGLE))


@lru_cache(maxsize=16)
def numbers_equation(network: Network, which: str) -> FixedPoint:
    """`kernel_equation` on samples: the same recursion in numbers, which also holds where inputs coincide."""
    trail = kernel_equation(network, which).trail.then(
        "on samples, with 1 - t in place of t", Equations(((THETA, ENTRIES),))
    )
    return FixedPoint((THETA,), (THETA - ENTRIES,), trail=trail)


@lru_cache(maxsize=2)
def grid_equation(pooled: bool) -> FixedPoint:
    """K of one convolutional layer on images, the mean over pairs of pixels or over pixels."""
    convolved = "K_pp' = w^2 mean over the window of <x_{p+s}, x'_{p'+s}> + b^2"
    mixed = "K = w^2 mean of V(K_pp') + b^2" if pooled else "K = w^2 mean of V(K_pp) + b^2"
    trail = (
        Trail()
        .then("one convolution", convolved, assumption="infinite width", reference=NOVAK)
        .then("mean over all pairs of pixels" if pooled else "mean over pixels", mixed, reference=NOVAK)
    )
    return FixedPoint((THETA,), (THETA - ENTRIES,), trail=trail)


def _law(name: str, network: Network, which: str, system: Any = None) -> Law:
    return Law(
        name,
        system or partial(numbers_equation, network, which),
        partial(_entries, network, which),
        "Theta",
        reference=JACOT,
    )


def _residual(kernel, formula: sp.Expr, which: str) -> float:
    """Largest relative difference between the formula and the recursion in numbers, at q = 1 and 9 cosines."""
    cosines = np.linspace(-0.95, 0.95, 9)
    angles = [sp.acos(sp.Float(c, 30)) for c in cosines]
    exact = np.array([complex(sp.N(formula.subs({Q: 1, ANGLE: angle}), 20)).real for angle in angles])
    return float(np.max(np.abs(getattr(kernel.on_sphere(cosines), which) / exact - 1)))


def _at_the_start(network: Network, data: Any, prepare: tuple[str, ...] = (), width: int = 64) -> Setup:
    """Four inputs, weights as the layers state them, no training."""
    return Setup(
        network=network,
        data=data,
        prepare=prepare,
        sample="subset",
        axes={"width": width, "n": 4},
        initialisation=Initialisation("as_stated"),
        steps=0,
        records=1,
    )


def _entries(network: Network, which: str, instance: Instance) -> dict[str, Any]:
    """Entries (i, j), i <= j, of a kernel on the inputs."""
    x = np.ascontiguousarray(instance["x"], float)
    return {"K_ij": _computed(network, which, x.shape, x.tobytes())}


@lru_cache(maxsize=64)
def _computed(network: Network, which: str, shape: tuple[int, ...], samples: bytes) -> np.ndarray:
    matrix = getattr(infinite_width(network)(np.frombuffer(samples).reshape(shape), get=which), which)
    return matrix[np.triu_indices(len(matrix))]
