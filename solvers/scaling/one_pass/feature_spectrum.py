r"""The spectrum that random features make of their inputs: eigenvalues, target power along each, and what is left over.

With K = sqrt(D) W W' sqrt(D), D = diag(lambda), W_ij ~ N(0, 1/d), and its eigenpairs (x_k, v_k),

    power_k = (v_k . sqrt(D) w)^2,      unresolved = |sqrt(D) w|^2 - sum_k power_k.

The first is what weights on the features can express, eigenvalue by eigenvalue; the second is beyond all of them. It is
found as the norm of what is left, not as a difference, and keeps its digits where it is 1e-20 of the target.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np

from ....theory.arguments import numbers, whole
from ....theory.errors import BadData

WHERE = "random features"
WEIGHABLE = 1e60  # beyond, products of such numbers leave the range of floats
STEEP = 1e-9  # of the largest eigenvalue: below, singular values of the features keep more digits than a Gram matrix


@dataclass(frozen=True, eq=False)
class FeatureSpectrum:
    """What random features make of a spectrum: all that one-pass SGD on them depends on.

    `eigenvalues` (n,)   of the features' covariance; `multiplicities` (n,) how many there are (1 of a draw)
    `power` (n,)         mean square of the target along each; `unresolved` the part outside the features' span
    `width`, `modes`     features d and modes of the input v; `trace` of the input covariance
    """

    eigenvalues: np.ndarray
    multiplicities: np.ndarray
    power: np.ndarray
    unresolved: float
    width: int
    modes: float
    trace: float

    def to_dict(self) -> dict:
        arrays = ("eigenvalues", "multiplicities", "power")
        return {name: getattr(self, name).tolist() for name in arrays} | {
            "unresolved": self.unresolved,
            "width": self.width,
            "modes": self.modes,
            "trace": self.trace,
            "convention": "mean squares without the factor 1/2",
        }


def drawn_spectrum(eigenvalues: Any, power: Any, width: int, seed: int = 0) -> FeatureSpectrum:
    """The spectrum of one draw of features, W_ij ~ N(0, 1/d) from `seed`.

    >>> drawn = drawn_spectrum(np.ones(40), np.ones(40), width=10)
    >>> print(len(drawn.eigenvalues), round(drawn.power.sum() + drawn.unresolved, 9))
    10 40.0
    """
    lam, power = checked_inputs(eigenvalues, power)
    width = whole(width, "width", WHERE, least=1)
    features = np.random.default_rng(whole(seed, "seed", WHERE)).standard_normal((len(lam), width)) / np.sqrt(width)
    return spectrum_of_features(lam, np.sqrt(power), features)


def spectrum_of_features(eigenvalues: Any, target: Any, features: Any) -> FeatureSpectrum:
    """The spectrum of given features W (v, d): inputs with `eigenvalues` (v,), `target` sqrt(lambda_j) w_j (v,).

    >>> found = spectrum_of_features([2.0, 1.0], [1.0, 3.0], [[1.0], [0.0]])  # the feature is the first mode
    >>> print(found.eigenvalues, found.power, found.unresolved)
    [2.] [1.] 9.0
    """
    target = numbers(target, "target", WHERE).ravel()
    lam, _ = checked_inputs(eigenvalues, target**2)
    given = numbers(features, "features", WHERE)
    if given.ndim != 2 or len(given) != len(lam) or not (given.size and np.isfinite(given).all()):
        raise BadData(f"features of shape {given.shape}", where=WHERE, remedy=f"give finite ({len(lam)}, width)")
    count, trace, varies = len(lam), float(lam.sum()), lam > 0
    constant = float((target[~varies] ** 2).sum())  # modes that do not vary are beyond any features
    lam, target, given = lam[varies], target[varies], given[varies]
    seen = np.sqrt(lam)[:, None] * given  # sqrt(D) W
    rows, columns = seen.shape
    rank = min(rows, columns)
    ordered = np.sort(lam)[::-1]
    if ordered[rank - 1] > STEEP * ordered[0] and columns <= rows:
        values, basis = np.linalg.eigh(seen.T @ seen)
        inner = basis.T @ (seen.T @ target)
        residual = target - seen @ (basis @ (inner / values))
        power = inner**2 / values
    else:
        left, singular, _ = np.linalg.svd(seen, full_matrices=False)
        inner = left.T @ target
        residual, values, power = target - left @ inner, singular**2, inner**2
    unresolved = float((residual**2).sum()) if columns < rows else 0.0
    return FeatureSpectrum(values, np.ones(rank), power, unresolved + constant, columns, float(count), trace)


def checked_inputs(eigenvalues: Any, power: Any) -> tuple[np.ndarray, np.ndarray]:
    """Eigenvalues and target power (v,) as float64. Errors: `BadData` for shapes, signs and an empty spectrum.

    >>> checked_inputs([1], [2])
    (array([1.]), array([2.]))
    """
    lam, power = numbers(eigenvalues, "eigenvalues", WHERE).ravel(), numbers(power, "power", WHERE).ravel()
    if lam.shape != power.shape or not lam.size:
        raise BadData(f"{lam.size} eigenvalues, {power.size} powers", where=WHERE, remedy="give one of each a mode")
    for name, array in (("eigenvalues", lam), ("power", power)):
        if not (np.isfinite(array).all() and array.min() >= 0):
            raise BadData(f"{name} from {array.min():g}", where=WHERE, remedy="give finite values from 0")
    if not lam.max() > 0:
        raise BadData("no eigenvalue is positive", where=WHERE, remedy="check the spectrum")
    for name, largest in (("eigenvalue", lam.max()), ("power", power.max())):
        if largest and not 1 / WEIGHABLE < largest < WEIGHABLE:
            raise BadData(f"the largest {name} is {largest:g}", where=WHERE, remedy="take it in units nearer to 1")
    return lam, power
