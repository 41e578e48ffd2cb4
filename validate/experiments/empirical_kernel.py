r"""Kernels of one network of finite width: what infinite width idealises, measured through JAX for any operation.

    Theta(x, x') = 1/o sum_c df_c(x)/dtheta . df_c(x')/dtheta,    K(x, x') = 1/o sum_c f_c(x) f_c(x')

over the o outputs. K fluctuates by o^(-1/2) whatever the width: give the last layer many, or average over draws.

>>> from ...theory.architecture.network import chain
>>> found = empirical_kernel(chain(2, 1), {"W1": np.array([[2.0, 0.0]])}, np.eye(2))
>>> found.ntk.tolist(), found.nngp.tolist()
([[1.0, 0.0], [0.0, 1.0]], [[4.0, 0.0], [0.0, 0.0]])
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np

from ...solvers.precision import x64
from ...theory.architecture.network import Network, require_network
from ...theory.arguments import numbers, values_of, whole
from ...theory.errors import BadData, UnknownName
from .forward import forward

KERNELS = ("nngp", "ntk")
MEMORY = 1 << 30  # bytes that the Jacobians of two blocks of rows may take together


@dataclass(frozen=True)
class EmpiricalKernel:
    """Both kernels of one network, (n1, n2) each in float64; None for one that was not asked for."""

    nngp: np.ndarray | None
    ntk: np.ndarray | None


def empirical_kernel(
    network: Network,
    weights: Mapping[str, np.ndarray],
    x1: np.ndarray,
    x2: np.ndarray | None = None,
    *,
    get: Sequence[str] | str = KERNELS,
    memory: int = MEMORY,
) -> EmpiricalKernel:
    """Tangent kernel and output products of a network with these weights, means over its outputs, in float64.

    Rows are taken in blocks whose Jacobians fit into `memory` bytes. Gates are not supported.
    Errors: `UnknownName` for another kernel; `BadData` for gates, for inputs of different width, and for a network of
    which the Jacobian of a single row does not fit, with the bytes it would take.
    """
    where = "empirical_kernel"
    require_network(network, where)
    get, memory = (get,) if isinstance(get, str) else tuple(get), whole(memory, "memory", where, least=1)
    for name in get:
        if name not in KERNELS:
            raise UnknownName.among(name, KERNELS, kind="kernel", where=where)
    if network.gates:
        raise BadData(f"gates {', '.join(network.gates)}", where="empirical_kernel", remedy="use a network without")
    first = numbers(x1, "x1", where)
    second = first if x2 is None else numbers(x2, "x2", where)
    if first.ndim < 2 or first.shape[1:] != second.shape[1:]:
        raise BadData(
            f"inputs of shapes {first.shape} and {second.shape}", where="empirical_kernel", remedy="give (n, d) arrays"
        )
    if not isinstance(weights, Mapping):
        raise BadData(f"weights that are a {type(weights).__name__}", where=where, remedy="give arrays by name")
    for name in sorted({name for node in network.nodes for name in (node.weight, node.bias) if name} - set(weights)):
        raise BadData(f"no weights {name}", where=where, remedy="give an array for every name in network.shapes(...)")
    parameters = {name: numbers(value, name, where) for name, value in weights.items()}
    if not all(np.isfinite(array).all() for array in (first, second, *parameters.values())):
        raise BadData("an entry that is not finite", where=where, remedy="drop rows with NaN; check the weights")
    outputs, jacobian = _functions(network)
    nngp = ntk = None
    fitting = "give the shapes that network.shapes(...) says, and as many columns"
    f1 = values_of(lambda x: outputs(parameters, x), first, where, fitting)
    if "nngp" in get:
        f2 = f1 if x2 is None else outputs(parameters, second)
        nngp = f1 @ f2.T / f1.shape[1]
    if "ntk" in get:
        row = 8 * f1.shape[1] * sum(array.size for array in parameters.values())
        rows = memory // (2 * row)
        if rows < 1:
            raise BadData(
                f"the Jacobians of two rows take {2 * row:,} bytes, {memory:,} allowed",
                where="empirical_kernel",
                remedy="raise memory, or use fewer outputs or a smaller width",
            )
        ntk = _in_blocks(lambda x: jacobian(parameters, x), first, None if x2 is None else second, rows)
        ntk /= f1.shape[1]
    return EmpiricalKernel(nngp, ntk)


def _in_blocks(jacobian: Any, first: np.ndarray, second: np.ndarray | None, rows: int) -> np.ndarray:
    """J J' from blocks of rows; the symmetric case computes each pair of blocks once."""
    other = first if second is None else second
    matrix = np.zeros((len(first), len(other)))
    for i in range(0, len(first), rows):
        left = jacobian(first[i : i + rows])
        for j in range(i if second is None else 0, len(other), rows):
            right = left if second is None and i == j else jacobian(other[j : j + rows])
            for name, block in left.items():
                matrix[i : i + rows, j : j + rows] += (
                    block.reshape(len(block), -1) @ right[name].reshape(len(right[name]), -1).T
                )
            if second is None and j > i:
                matrix[j : j + rows, i : i + rows] = matrix[i : i + rows, j : j + rows].T
    return matrix


@lru_cache(maxsize=32)
def _functions(network: Network) -> tuple[Any, Any]:
    """Compiled (weights, rows) -> outputs (n, o), and -> {weight: its Jacobian (n, o, *shape)}."""
    import jax

    f = forward(network)

    def of_row(parameters, row):
        return f(parameters, row[None])[0]

    jacobian = jax.vmap(jax.jacrev(of_row), in_axes=(None, 0))
    return x64(jax.jit(f)), x64(jax.jit(jacobian))
