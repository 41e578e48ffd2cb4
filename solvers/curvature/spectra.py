"""Hessian and tangent-kernel spectra of an aligned linear network at every recorded step, from its small blocks.

The network's Hessian falls into an L x L block per mode and a 2L x 2L block per pair of indices {p, q}; all blocks of
all steps are diagonalised as one batch. An index beyond a layer's width has no entry there. Indices beyond all modes
with the same entries share their block, which is then counted as often as there are such indices.

    sharpness = max over modes and pairs of  lambda_max(block).

These functions solve laws whose system is `theory.dynamics.curvature.blocks.layer_map`. Besides u1, u2, ... and s (one
value per mode) they read "widths" (L + 1,), the width of every layer from the inputs (their rank) to the outputs, and
"parameters", the number of weights.
"""

from collections.abc import Mapping
from typing import Any

import numpy as np
import sympy as sp

from ...theory.system import Map
from ..compile import compile
from ..recursion import iterate


def hessian_spectrum(system: Map, values: Mapping[str, Any], steps: Any) -> dict[str, np.ndarray]:
    """All eigenvalues of the Hessian, ascending: {"spectrum": (T, parameters)}, with the strengths of every layer.

    Weights that no block holds (of inputs beyond the rank) have eigenvalue zero.
    """
    strengths = iterate(system, values, steps)
    found = np.concatenate([_repeated(*block) for block in _blocks(system, strengths, values)], axis=1)
    return {**strengths, "spectrum": _counted(found, int(values["parameters"]))}


def sharpness(system: Map, values: Mapping[str, Any], steps: Any) -> dict[str, np.ndarray]:
    """The largest eigenvalue of the Hessian: {"sharpness": (T,)}, with the strengths of every layer.

    Two layers, one mode learned (a = s = 2) and one not (s = 1): the pair turns at a + s_j = 3, below 2 s = 4.

    >>> from ...theory.dynamics.curvature.blocks import layer_map
    >>> values = {"s": [2.0, 1.0], "u1": [2**0.5, 0.0], "u2": [2**0.5, 0.0], "eta": 0.1, "widths": [2, 2, 2]}
    >>> sharpness(layer_map(2), values, [0])["sharpness"].round(12)
    array([4.])
    """
    strengths = iterate(system, values, steps)
    tops = [eigenvalues.max(axis=(1, 2)) for eigenvalues, _ in _blocks(system, strengths, values)]
    return {**strengths, "sharpness": np.max(tops, axis=0)}


def kernel_spectrum(system: Map, values: Mapping[str, Any], steps: Any) -> dict[str, np.ndarray]:
    """Eigenvalues of the tangent kernel J J' over the samples, or of the Gauss-Newton matrix J' J: they share all
    that are not zero. Ascending, as many as there are weights: {"spectrum": (T, parameters)}.
    """
    strengths = iterate(system, values, steps)
    widths = np.asarray(values["widths"], int)
    padded = _padded(system, strengths, values, max(int(widths.max()), np.size(values["s"])))
    row, column = (np.ravel(index) for index in np.indices((widths[-1], widths[0])))
    taken = {f"{name}_{k}": array[:, at] for name, array in padded.items() for k, at in (("i", row), ("j", column))}
    theta = sp.ImmutableMatrix([[system.observables["pair_kernel"]]])
    found = _block(theta, taken)[..., 0, 0]
    return {**strengths, "spectrum": _counted(found, int(values["parameters"]))}


def _blocks(system, strengths, values):
    """Eigenvalues (T, blocks, size) and how often each block occurs: one mode each, then two indices each."""
    widths, modes = np.asarray(values["widths"], int), np.size(values["s"])
    size = max(int(widths.max()), modes)
    padded = _padded(system, strengths, values, size)
    present = np.arange(size)[:, None] < widths  # (index, layer boundary)
    inside, outside = present[:, :-1], present[:, 1:]  # has a column, has a row, in layers 1 .. L

    each = np.arange(modes)
    taken = {name: array[:, each] for name, array in padded.items()}
    yield _eigenvalues(system.observables["mode_hessian"], taken, (inside & outside)[each]), np.ones(modes, int)

    beyond, first, counts = np.unique(present[modes:], axis=0, return_index=True, return_counts=True)
    others = np.concatenate([each, modes + first])
    often = np.concatenate([np.ones(modes, int), counts])
    p, place = np.triu_indices(modes, 1, modes + len(beyond))
    q = others[place]
    taken = {f"{name}_{k}": array[:, index] for name, array in padded.items() for k, index in (("i", p), ("j", q))}
    entries = np.concatenate([outside[p] & inside[q], outside[q] & inside[p]], axis=1)
    yield _eigenvalues(system.observables["pair_hessian"], taken, entries), often[place]


def _padded(system, strengths, values, size):
    """Strengths and targets (T, size) by name, zero beyond the modes."""
    arrays = {str(unknown): strengths[str(unknown)] for unknown in system.unknowns}
    times = len(next(iter(arrays.values())))
    arrays["s"] = np.asarray(values["s"], float)
    return {
        name: np.pad(np.broadcast_to(array, (times, array.shape[-1])), ((0, 0), (0, size - array.shape[-1])))
        for name, array in arrays.items()
    }


def _block(block, taken):
    """An (n, n) symbolic block on arrays (T, blocks): numbers (T, blocks, n, n)."""
    symbols = sorted(block.free_symbols, key=str)
    entries = compile(tuple(block), symbols, backend="numpy")(*(taken[str(symbol)] for symbol in symbols))
    shape = next(iter(taken.values())).shape
    return np.stack([np.broadcast_to(entry, shape) for entry in entries], axis=-1).reshape(*shape, *block.shape)


def _eigenvalues(block, taken, exists):
    """Its eigenvalues (T, blocks, n), where only the entries `exists` (blocks, n) are weights."""
    return np.linalg.eigvalsh(_block(block, taken) * (exists[:, :, None] & exists[:, None, :]))


def _repeated(eigenvalues, often):
    return np.repeat(eigenvalues, often, axis=1).reshape(len(eigenvalues), -1)


def _counted(found, parameters):
    """As many eigenvalues as there are parameters: entries that do not exist have left zeros, others were left out."""
    found = np.pad(found, ((0, 0), (0, max(0, parameters - found.shape[1]))))
    kept = np.take_along_axis(found, np.argsort(-np.abs(found), axis=1)[:, :parameters], axis=1)
    return np.sort(kept, axis=1)
