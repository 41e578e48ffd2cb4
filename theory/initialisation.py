"""How weights start, by name. Weights of fan-in n are drawn with variance scale^2 / n; biases start at zero.

Arrays of one dimension are biases, those of two or more are weights (out, in, *window).
"""

import math

import numpy as np

from .errors import BadData
from .singular_modes import eigenmodes, singular_modes


def normal(rng, shapes, scale, arrays) -> dict[str, np.ndarray]:
    """W ~ N(0, scale^2 / fan_in); biases are zero.

    >>> weights = normal(np.random.default_rng(0), {"W1": (400, 100), "b1": (400,)}, 2.0, {})
    >>> round(float(weights["W1"].std()), 2), weights["b1"].any()
    (0.2, np.False_)
    """
    return {
        name: scale * rng.standard_normal(shape) / math.sqrt(math.prod(shape[1:]))
        if len(shape) > 1
        else np.zeros(shape)
        for name, shape in shapes.items()
    }


def standard_normal(rng, shapes, scale, arrays) -> dict[str, np.ndarray]:
    """W ~ N(0, scale^2): the fan-in factor sits in the network (NTK parameterisation).

    >>> round(float(standard_normal(np.random.default_rng(0), {"W1": (400, 100)}, 2.0, {})["W1"].std()), 2)
    2.0
    """
    return {
        name: scale * rng.standard_normal(shape) if len(shape) > 1 else np.zeros(shape)
        for name, shape in shapes.items()
    }


def as_stated(rng, shapes, scale, arrays, spreads=None) -> dict[str, np.ndarray]:
    """Every array normal with the standard deviation its layer states (w_std, b_std), times the scale.

    >>> drawn = as_stated(np.random.default_rng(0), {"W1": (400, 100), "b1": (400,)}, 1.0, {}, {"W1": 2.0, "b1": 0.0})
    >>> round(float(drawn["W1"].std()), 1), drawn["b1"].any()
    (2.0, np.False_)
    """
    return {name: scale * spreads[name] * rng.standard_normal(shape) for name, shape in shapes.items()}


def antisymmetric(rng, shapes, scale, arrays) -> dict[str, np.ndarray]:
    """As `standard_normal`, in pairs of units whose outputs cancel: the network is exactly zero at the start.

    Two layers; the width must be even.

    >>> weights = antisymmetric(np.random.default_rng(0), {"W1": (6, 3), "W2": (1, 6)}, 1.0, {})
    >>> bool(np.allclose(weights["W2"] @ np.tanh(weights["W1"] @ np.ones(3)), 0))
    True
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

    >>> data = {"x": np.sqrt(2) * np.eye(2), "y": np.sqrt(2) * np.diag([3.0, 1.0])}
    >>> weights = aligned_balanced(np.random.default_rng(0), {"W1": (4, 2), "W2": (2, 4)}, 0.1, data)
    >>> np.abs(weights["W2"] @ weights["W1"]).round(6)
    array([[0.1, 0. ],
           [0. , 0.1]])
    """
    matrices = [(name, shape) for name, shape in shapes.items() if len(shape) == 2]
    left, singular, right = singular_modes(arrays["x"], arrays["y"])
    rank = min(len(singular), *(min(shape) for _, shape in matrices))
    return _layers(rng, matrices, np.full(rank, scale ** (1 / len(matrices))), left[:, :rank], right[:rank])


def balanced_minimum(rng, shapes, scale, arrays) -> dict[str, np.ndarray]:
    """The balanced global minimum for white inputs, each layer's strongest mode displaced by the share `scale`.

    >>> data = {"x": np.sqrt(2) * np.eye(2), "y": np.sqrt(2) * np.diag([3.0, 1.0])}
    >>> weights = balanced_minimum(np.random.default_rng(0), {"W1": (4, 2), "W2": (2, 4)}, 0.0, data)
    >>> np.abs(weights["W2"] @ weights["W1"]).round(6)
    array([[3., 0.],
           [0., 1.]])
    """
    matrices = [(name, shape) for name, shape in shapes.items() if len(shape) == 2]
    left, singular, right = singular_modes(arrays["x"], arrays["y"])
    rank = min(len(singular), *(min(shape) for _, shape in matrices))
    strength = singular[:rank] ** (1 / len(matrices))
    strength[0] *= 1 + scale
    return _layers(rng, matrices, strength, left[:, :rank], right[:rank])


def lambda_balanced(rng, shapes, scale, arrays, imbalance=0.0) -> dict[str, np.ndarray]:
    """Two layers with W2' W2 - W1 W1' = imbalance x I exactly, in random directions: end to end scale x an isometry.

    A hidden unit that is wider than the output (input) has no second (first) weight, so an imbalance above (below) 0
    needs a width of at most that of the output (input). Domine et al. 2024, arXiv:2409.14623.

    >>> weights = lambda_balanced(np.random.default_rng(0), {"W1": (2, 5), "W2": (3, 2)}, 0.1, {}, imbalance=0.5)
    >>> (weights["W2"].T @ weights["W2"] - weights["W1"] @ weights["W1"].T).round(12) + 0.0
    array([[0.5, 0. ],
           [0. , 0.5]])
    """
    (first, (width, fan_in)), (last, (outputs, _)) = ((n, s) for n, s in shapes.items() if len(s) == 2)
    above, below = np.full(width, np.sqrt(max(imbalance, 0.0))), np.full(width, np.sqrt(max(-imbalance, 0.0)))
    shared = min(width, fan_in, outputs)
    larger = np.sqrt((abs(imbalance) + np.hypot(imbalance, 2 * scale)) / 2)
    pair = (larger, scale / larger if scale else 0.0)
    above[:shared], below[:shared] = pair if imbalance >= 0 else pair[::-1]
    for name, strengths, room in (("output", above, outputs), ("input", below, fan_in)):
        if strengths[room:].any():
            raise BadData(
                f"an imbalance of {imbalance:g} with width {width} and {name} {room}",
                where="lambda_balanced initialisation",
                remedy=f"use a width of at most {room}",
            )
    inner = np.linalg.qr(rng.standard_normal((width, width)))[0]
    right = np.linalg.qr(rng.standard_normal((fan_in, min(fan_in, width))))[0]
    left = np.linalg.qr(rng.standard_normal((outputs, min(outputs, width))))[0]
    return {
        first: (inner * below)[:, : right.shape[1]] @ right.T,
        last: left @ (inner * above)[:, : left.shape[1]].T,
    }


def tied_eigenmodes(rng, shapes, scale, arrays) -> dict[str, np.ndarray]:
    """One tied matrix W (dimension, V) that carries the leading eigenmodes of the targets y, each of strength `scale`.

    W'W = scale x (projection on those modes), in a random inner basis.

    >>> weights = tied_eigenmodes(np.random.default_rng(0), {"W": (1, 2)}, 0.1, {"y": np.diag([1.0, 3.0])})
    >>> (weights["W"].T @ weights["W"]).round(6)
    array([[0. , 0. ],
           [0. , 0.1]])
    """
    ((name, (dimension, words)),) = shapes.items()
    if dimension > words:
        raise BadData(
            f"{dimension} dimensions for {words} modes", where="tied_eigenmodes", remedy="use no more dimensions"
        )
    basis = np.linalg.qr(rng.standard_normal((dimension, dimension)))[0]
    return {name: scale**0.5 * basis @ eigenmodes(arrays["y"])[1][:, :dimension].T}


def constant(rng, shapes, scale, arrays) -> dict[str, np.ndarray]:
    """Every entry of every array equals the scale.

    >>> constant(None, {"w": (3,)}, 0.1, {})["w"]
    array([0.1, 0.1, 0.1])
    """
    return {name: np.full(shape, float(scale)) for name, shape in shapes.items()}


def vanishing(rng, shapes, scale, arrays) -> dict[str, np.ndarray]:
    """Weights of order e^-scale: matrices as `normal` ones, every entry of a vector the same.

    >>> weights = vanishing(np.random.default_rng(0), {"W": (2, 3), "w": (2,)}, 46.0, {})
    >>> weights["w"], bool(np.abs(weights["W"]).max() < 1e-19)
    (array([1.05306174e-20, 1.05306174e-20]), True)
    """
    small = float(np.exp(-scale))
    matrices = normal(rng, shapes, small, arrays)
    return {name: matrices[name] if len(shape) == 2 else np.full(shape, small) for name, shape in shapes.items()}


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
    "as_stated": as_stated,
    "antisymmetric": antisymmetric,
    "aligned_balanced": aligned_balanced,
    "balanced_minimum": balanced_minimum,
    "tied_eigenmodes": tied_eigenmodes,
    "constant": constant,
    "vanishing": vanishing,
    "lambda_balanced": lambda_balanced,
}
IMBALANCED = ("lambda_balanced",)  # those that take an imbalance
