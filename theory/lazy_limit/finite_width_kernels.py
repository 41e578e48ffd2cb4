r"""Kernels of deep networks at finite width: their mean and covariance to order 1/N, for any smooth activation.

The kernel of a layer at two inputs, S = (A, B, C), is an average over N units that are Gaussian given S of the layer
before. So

    bias'  = w^2 (J bias + 1/2 H : Q),     Q' = w^4 (J Q J' + Cov(phi phi' | S))

with g(S) = E (phi(u)^2, phi(v)^2, phi(u) phi(v)), its first and second derivatives J and H, and E S = S_inf + bias / N,
Cov S = Q / N. The first layer is exact. Derivatives by S are means against Hermite polynomials (integration by parts):
the activation itself is never differentiated.

>>> linear = kernel_corrections("identity", np.array([2.0, 2.0, 1.0]), depth=4)
>>> linear.bias.round(9) + 0.0, linear.covariance[0, 0].round(9)  # 2 A^2 more with every hidden layer
(array([0., 0., 0.]), np.float64(24.0))
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from itertools import product
from typing import Any

import numpy as np
import sympy as sp

from ..architecture.activations import activation_name, formula
from ..errors import BadData

_ENTRIES = ((0, 0), (1, 1), (0, 1))  # A, B, C
_NODES = 100


@dataclass(frozen=True, eq=False)
class KernelCorrections:
    """At width N the kernel (A, B, C) has mean `limit` + `bias` / N and covariance `covariance` / N, + O(1/N^2)."""

    limit: np.ndarray
    bias: np.ndarray
    covariance: np.ndarray

    def at(self, width: float) -> tuple[np.ndarray, np.ndarray]:
        """Mean and standard deviation of A, B, C in networks of that width."""
        return self.limit + self.bias / width, np.sqrt(np.diag(self.covariance) / width)


def kernel_corrections(
    activation: Any, inputs: np.ndarray, depth: int, w_std: float = 1.0, b_std: float = 0.0
) -> KernelCorrections:
    """Kernel of the pre-activations of weight matrix number `depth` at two inputs, all hidden layers N wide.

    `inputs` are (A, B, C) of the first pre-activations, w_std^2 <x, x'>/d + b_std^2; the two inputs must differ.
    Errors: `BadData` for activations with a kink, and for inputs whose covariance has no inverse.
    Reference: Yaida 2019 (arXiv:1910.00019).
    """
    function = _smooth(activation)
    limit, bias, covariance = np.asarray(inputs, float), np.zeros(3), np.zeros((3, 3))
    for _ in range(depth - 1):
        mean, slope, bend, spread = _layer(function, limit)
        bias = w_std**2 * (slope @ bias + np.einsum("gab,ab->g", bend, covariance) / 2)
        covariance = w_std**4 * (slope @ covariance @ slope.T + spread)
        limit = w_std**2 * mean + b_std**2
    return KernelCorrections(limit, bias, covariance)


def _layer(function: Callable, entries: np.ndarray) -> tuple[np.ndarray, ...]:
    """g (3,), J (3, 3), H (3, 3, 3) and Cov(phi phi' | S) (3, 3) of one layer at S = entries."""
    A, B, C = entries
    if not A * B - C**2 > 1e-9 * A * B:
        raise BadData(f"the covariance {A:g}, {B:g}, {C:g}", where="kernel_corrections", remedy="give two inputs")
    factor = np.linalg.cholesky(np.array([[A, C], [C, B]]))
    nodes, weights = np.polynomial.hermite_e.hermegauss(_NODES)
    weights = np.outer(weights, weights).ravel() / weights.sum() ** 2
    standard = np.stack([grid.ravel() for grid in np.meshgrid(nodes, nodes, indexing="ij")])
    u, v = function(factor @ standard)
    products = np.stack([u * u, v * v, u * v])
    inverse = np.linalg.inv(factor)
    y, P = inverse.T @ standard, inverse.T @ inverse
    share = (0.5, 0.5, 1.0)  # C stands twice in the covariance
    second = np.stack([s * (y[a] * y[b] - P[a, b]) for s, (a, b) in zip(share, _ENTRIES, strict=True)])
    fourth = np.empty((3, 3, y.shape[1]))
    for (i, (a, b)), (j, (c, d)) in product(enumerate(_ENTRIES), repeat=2):
        pairs = ((a, b, c, d), (a, c, b, d), (a, d, b, c), (c, d, a, b), (b, d, a, c), (b, c, a, d))
        minus = sum(P[e, f] * y[g] * y[h] for e, f, g, h in pairs)
        plus = sum(P[e, f] * P[g, h] for e, f, g, h in pairs[:3])
        fourth[i, j] = share[i] * share[j] * (y[a] * y[b] * y[c] * y[d] - minus + plus)
    mean = products @ weights
    slope = np.einsum("gz,az,z->ga", products, second, weights)
    bend = np.einsum("gz,abz,z->gab", products, fourth, weights)
    spread = (products * weights) @ products.T - np.outer(mean, mean)
    return mean, slope, bend, spread


@lru_cache(maxsize=32)
def _smooth(activation: Any) -> Callable:
    z = sp.Symbol("z", real=True)
    law = formula(activation)
    if law is None:
        raise BadData(
            f"{activation_name(activation)} has no formula", where="kernel_corrections", remedy="give an expression"
        )
    if law(z).has(sp.Max, sp.Abs, sp.sign, sp.Heaviside):
        raise BadData(
            f"{activation_name(activation)} has a kink",
            where="kernel_corrections",
            remedy="use a smooth activation, or fit: solvers.regression.finite_width_fit",
        )
    return sp.lambdify(z, law(z), ["scipy", "numpy"])
