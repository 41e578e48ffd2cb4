r"""Heavy ball with sampling noise on random features: three second moments a mode, raised to any whole power.

With D the last move of the weights, e+ = e + D+, D+ = beta D - eta g, and per mode y = x E e^2, c = x E e D,
u = x E D^2 (sums over equal eigenvalues), a = 1 - eta x:

    y+ = a^2 y + 2 a beta c + beta^2 u + n            n = (eta x)^2 y / B + kappa (sum y + floor),
    c+ = -a eta x y + beta (a - eta x) c + beta^2 u + n    kappa = (eta x)^2 / B,
    u+ = (eta x)^2 y - 2 eta x beta c + beta^2 u + n.

The recursion is derived in `theory.scaling.momentum_moments`. Powers of its matrix are formed by squaring: no basis of
eigenvectors is needed, so that critical damping, where there is none, is no special case. At small steps and late
times it is SGD at the rate eta/(1 - beta): momentum alone changes no exponent (Ferbach et al. 2025,
arXiv:2505.16098).
"""

from typing import TYPE_CHECKING

import numpy as np

from ....theory.errors import BadData

if TYPE_CHECKING:
    from .feature_spectrum import FeatureSpectrum

MOST_STEPS = 2**62
_LARGEST = 1e100  # losses of unstable runs stay finite
LARGEST = 400  # modes: three numbers each in a dense matrix


def losses(spectrum: "FeatureSpectrum", steps: np.ndarray, eta: float, batch: float, floor: float, beta: float):
    """Mean squares sum y + floor (T,), twice the loss, at whole `steps` (T,).

    Errors: `BadData` for steps that are not whole or beyond 2^62, and more than 400 modes. Runs that grow beyond
    1e100 are cut off there.

    >>> from .feature_spectrum import drawn_spectrum
    >>> two = drawn_spectrum([1.0, 0.5, 0.2], [1.0, 1.0, 1.0], width=2)
    >>> found = losses(two, np.array([0.0, 50.0]), 0.05, 4, two.unresolved, 0.5)
    >>> print(round(found[0], 12), found[1] < found[0])
    3.0 True
    """
    if (steps != np.round(steps)).any():
        raise BadData("steps are not whole numbers", where="heavy ball", remedy="round them")
    if steps.max() > MOST_STEPS:
        raise BadData(f"{steps.max():g} steps", where="heavy ball", remedy=f"give {MOST_STEPS:.3g} at most")
    n = len(spectrum.eigenvalues)
    if n > LARGEST:
        raise BadData(f"{n} modes", where="heavy ball", remedy=f"take at most {LARGEST}, or the equivalent of no draw")
    own, noise = _blocks(spectrum, eta, batch, beta)
    matrix = np.zeros((3 * n + 1, 3 * n + 1))  # (y, c, u, 1)
    for i in range(3):
        for j in range(3):
            matrix[i * n : (i + 1) * n, j * n : (j + 1) * n] = np.diag(own[:, i, j])
        matrix[i * n : (i + 1) * n, :n] += noise[:, None]
        matrix[i * n : (i + 1) * n, -1] = noise * floor
    matrix[-1, -1] = 1.0
    counts = steps.astype(np.int64)
    state = np.zeros((3 * n + 1, len(counts)))
    state[:n] = spectrum.power[:, None]
    state[-1] = 1.0
    with np.errstate(over="ignore", invalid="ignore"):
        for bit in range(int(counts.max(initial=0)).bit_length()):
            here = (counts >> bit) & 1 == 1
            if here.any():
                state[:, here] = matrix @ state[:, here]
            matrix = matrix @ matrix
    grown = state[:n].sum(0)  # infinite, or no number, where powers of an unstable matrix overflow
    return np.where(np.abs(grown) < _LARGEST, grown, _LARGEST) + floor


def gain_of(spectrum: "FeatureSpectrum", eta: float, batch: float, beta: float) -> float:
    """Noise that one unit of loss makes in all later steps; infinite where a mode does not decay by itself.

    >>> from .feature_spectrum import drawn_spectrum
    >>> two = drawn_spectrum([1.0, 0.5, 0.2], [1.0, 1.0, 1.0], width=2)
    >>> gain_of(two, 0.01, 1, 0.5) < 0.1, gain_of(two, 100.0, 1, 0.5)
    (True, inf)
    """
    seen = spectrum.eigenvalues > 0
    own, noise = (array[seen] for array in _blocks(spectrum, eta, batch, beta))
    if np.abs(np.linalg.eigvals(own)).max() >= 1:
        return float("inf")
    made = np.linalg.solve(np.eye(3) - own, np.ones((len(own), 3, 1)))[:, 0, 0]
    return float(noise @ made)


def _blocks(spectrum: "FeatureSpectrum", eta: float, batch: float, beta: float):
    """The recursion of (y, c, u) of every mode alone (n, 3, 3), and its kernel kappa (n,)."""
    rate = eta * spectrum.eigenvalues
    a, full = 1 - rate, np.full_like(rate, beta**2)
    own = np.array(
        [[a**2, 2 * a * beta, full], [-a * rate, beta * (a - rate), full], [rate**2, -2 * rate * beta, full]]
    ).transpose(2, 0, 1)
    own[:, :, 0] += (rate**2 / batch)[:, None]
    return own, spectrum.multiplicities * rate**2 / batch
