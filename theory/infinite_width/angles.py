r"""Kernels that are one function of the angle: computed once on Chebyshev points, at any depth, and then evaluated.

    K(x, x') = (|x| |x'| / d)^degree f(theta),        f(theta) = sum_k c_k T_k(2 theta / pi - 1).

This holds where all layers are homogeneous and have no bias, or where all inputs have the same length. In theta, not in
its cosine, f is analytic also for activations with a kink, so few terms reach rounding error. The series is evaluated
as a polynomial of degree 7 in x times one in T_8(x), so that a matrix product does most of the work.

>>> law = profile(lambda theta: np.stack([np.cos(theta), theta**2]), 2)
>>> law(np.array([0.5, 1.0])).round(12)
array([[0.87758256, 0.54030231],
       [0.25      , 1.        ]])
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from ..architecture.independence import Facts
from ..architecture.network import Network
from ..duals.activation_moments import moments

TOLERANCE = (
    1e-14  # of the largest value: what coefficients may be left out, and what the check may differ by is 4 times it
)
_INNER = 8
_DEGREES = (24, 48, 96, 192)
ALIVE = 2 * _DEGREES[-1] // _INNER + _INNER + 8  # arrays that an evaluation holds at most
_ELEMENTWISE = ("input", "dense", "activation", "sum", "product", "layer_norm")


@dataclass(frozen=True, eq=False)
class Profile:
    """Functions of theta in [0, pi] as Chebyshev series; `degree`, and the largest `error` found at other points."""

    table: np.ndarray  # (functions x outer, inner)
    functions: int
    degree: int
    error: float

    def __call__(self, theta: np.ndarray) -> np.ndarray:
        """Values (functions, *theta.shape)."""
        double = theta.reshape(-1) * (4 / np.pi)
        double -= 2
        inner = np.empty((_INNER, double.size))
        inner[0] = 1
        np.multiply(double, 0.5, out=inner[1])
        for k in range(2, _INNER):
            np.multiply(double, inner[k - 1], out=inner[k])
            inner[k] -= inner[k - 2]
        outer = double * inner[-1]  # twice T_8 = 2 (2 x T_7 - T_6)
        outer -= inner[-2]
        outer *= 2
        parts = (self.table @ inner).reshape(self.functions, -1, double.size)
        last, before = parts[:, -1], None
        for j in range(parts.shape[1] - 2, -1, -1):
            now = outer * last
            if j == 0:
                now *= 0.5
            if before is not None:
                now -= before
            now += parts[:, j]
            last, before = now, last
        return last.reshape(self.functions, *theta.shape)


def profile(function: Callable[[np.ndarray], np.ndarray], functions: int) -> Profile | None:
    """The series of `function`, (m,) -> (functions, m), in theta; None where 192 terms do not reach the tolerance."""
    check = np.concatenate([np.geomspace(1e-8, 0.1, 12), np.linspace(0.11, np.pi, 37)])
    exact = function(np.concatenate([[0.0], check]))
    largest = np.abs(exact).max(axis=1)
    for degree in _DEGREES:
        # cos(k angle) with k angle reduced in whole numbers: k (2 j + 1) modulo 4 degree
        turns = np.outer(np.arange(degree), 2 * np.arange(degree) + 1) % (4 * degree)
        waves = np.cos(turns * (np.pi / (2 * degree)))
        values = function((waves[1] + 1) * (np.pi / 2))
        series = waves @ values.T * (2 / degree)
        series[0] /= 2
        kept = np.abs(series) > TOLERANCE / 8 * np.where(largest > 0, largest, 1)
        used = int(np.nonzero(kept.any(axis=1))[0].max(initial=0)) + 1
        if used > degree - 4:
            continue
        made = Profile(_arranged(series[:used]), functions, used - 1, 0.0)
        error = float((np.abs(made(check) - exact[:, 1:]).max(axis=1) / np.where(largest > 0, largest, 1)).max())
        if error <= 4 * TOLERANCE:
            return Profile(made.table, functions, used - 1, error)
    return None


def _arranged(series: np.ndarray) -> np.ndarray:
    """Coefficients (terms, functions) as those of T_i(x) T_j(T_8(x)): T_{8j+i} = 2 T_8j T_i - T_{8j-i}."""
    outer = -(-len(series) // _INNER)
    left = np.zeros((outer * _INNER, series.shape[1]))
    left[: len(series)] = series
    table = np.zeros((outer, _INNER, series.shape[1]))
    for k in range(len(left) - 1, -1, -1):
        j, i = divmod(k, _INNER)
        if j and i:
            table[j, i] += 2 * left[k]
            left[_INNER * j - i] -= left[k]
        else:
            table[j, i] += left[k]
    return table.transpose(2, 0, 1).reshape(-1, _INNER)


def of_angles(network: Network, facts: Mapping[str, Facts]) -> bool:
    """Whether the kernels are functions of the lengths of two inputs and the angle between them."""
    entry = network.inputs[0]
    for node in network.nodes:
        if node.op not in _ELEMENTWISE:
            return False
        if node.op == "layer_norm" and entry in facts[node.inputs[0]].sources:
            return False  # subtracts the mean of the inputs
        if node.op == "sum":
            means = [name for name, _ in facts[node.name].terms if not facts[name].centred]
            if len(means) > 1 and any(entry in facts[name].sources for name in means):
                return False
    return True


def angular_degree(network: Network, facts: Mapping[str, Facts]) -> float | None:
    """The degree in |x| of all features of the output, if the network is homogeneous; None otherwise."""
    if not of_angles(network, facts):
        return None
    degrees: dict[str, Any] = {}
    for node in network.nodes:
        before = [degrees[name] for name in node.inputs]
        made: float | None
        if node.op == "input":
            made = 1.0
        elif node.op == "dense":
            made = before[0] if not node.bias else 0.0 if before[0] == 0 else None
        elif node.op == "activation":
            plain = node.activation == "identity" or moments(node.activation).homogeneous
            made = before[0] if plain else 0.0 if before[0] == 0 else None
        elif node.op == "sum":
            made = before[0] if len(set(before)) == 1 else None
        elif node.op == "product":
            made = None if None in before else sum(before)
        else:
            made = 0.0 if node.epsilon == 0 or before[0] == 0 else None
        degrees[node.name] = made
    return degrees[network.outputs[0]]
