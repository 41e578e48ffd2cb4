"""How weights start, by name. Weights of fan-in n are drawn with variance scale^2 / n; biases start at zero."""

import numpy as np

from .errors import BadData
from .singular_modes import singular_modes


def normal(rng, shapes, scale, arrays) -> dict[str, np.ndarray]:
    """W ~ N(0, scale^2 / fan_in)."""
    return {
        name: scale * rng.standard_normal(shape) / np.sqrt(shape[1]) if len(shape) == 2 else np.zeros(shape)
        for name, shape in shapes.items()
    }


def standard_normal(rng, shapes, scale, arrays) -> dict[str, np.ndarray]:
    """W ~ N(0, scale^2): the fan-in factor sits in the network (NTK parameterisation)."""
    return {
        name: scale * rng.standard_normal(shape) if len(shape) == 2 else np.zeros(shape)
        for name, shape in shapes.items()
    }


def antisymmetric(rng, shapes, scale, arrays) -> dict[str, np.ndarray]:
    """As `standard_normal`, in pairs of units whose outputs cancel: the network is exactly zero at the start.

    Two layers; the width must be even.
    """
    (first, (width, fan_in)), (last, (outputs, _)) = ((n, s) for n, s in shapes.items() if len(s) == 2)
    if width % 2:
        raise BadData(f"width {width} is odd", where="antisymmetric initialisation", remedy="use an even width")
    half = rng.standard_normal((width // 2, fan_in))
    readout = rng.standard_normal((outputs, width // 2))
    return {first: scale * np.concatenate([half, half]), last: scale * np.concatenate([readout, -readout], axis=1)}


def aligned_balanced(rng, shapes, scale, arrays) -> dict[str, np.ndarray]:
    """Every layer carries the singular modes of Sigma_yx with strength scale^(1/L): W_l = R_l diag R_{l-1}'.

    The end-to-end map starts at scale x U V', balanced and aligned; inner bases R_l are random.
    """
    matrices = [(name, shape) for name, shape in shapes.items() if len(shape) == 2]
    left, singular, right = singular_modes(arrays["x"], arrays["y"])
    rank = min(len(singular), *(min(shape) for _, shape in matrices))
    return _layers(rng, matrices, np.full(rank, scale ** (1 / len(matrices))), left[:, :rank], right[:rank])


def balanced_minimum(rng, shapes, scale, arrays) -> dict[str, np.ndarray]:
    """The balanced global minimum for white inputs, its strongest mode displaced by the relative amount `scale`."""
    matrices = [(name, shape) for name, shape in shapes.items() if len(shape) == 2]
    left, singular, right = singular_modes(arrays["x"], arrays["y"])
    rank = min(len(singular), *(min(shape) for _, shape in matrices))
    strength = singular[:rank] ** (1 / len(matrices))
    strength[0] *= 1 + scale
    return _layers(rng, matrices, strength, left[:, :rank], right[:rank])


def _layers(rng, matrices, strength, left, right):
    """Aligned balanced weights: end to end left diag(strength^L) right, through random orthonormal inner bases."""
    basis, weights = right.T, {}
    for name, shape in matrices[:-1]:
        following = np.linalg.qr(rng.standard_normal((shape[0], len(strength))))[0]
        weights[name] = following * strength @ basis.T
        basis = following
    weights[matrices[-1][0]] = left * strength @ basis.T
    return weights


INITIALISATIONS = {
    "normal": normal,
    "standard_normal": standard_normal,
    "antisymmetric": antisymmetric,
    "aligned_balanced": aligned_balanced,
    "balanced_minimum": balanced_minimum,
}
