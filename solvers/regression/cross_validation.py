"""Cross-validation in closed form: the test error and the effective ridge from the training data alone.

With G = (K + ridge)^-1 on n rows, the same identities that give learning curves from a spectrum read

    kappa = 1 / tr G,    test = [|ridge G y|^2 / n] / (ridge tr G / n)^2 = n |G y|^2 / (tr G)^2,

mean squared error without the factor 1/2, noise included. This is generalised cross-validation: it takes every G_ii for
tr G / n, as Gaussian features have it. Leaving out every row in turn is exact, mean (G y)_i^2 / G_ii^2, the error of
n - 1 rows; the distance of the two says how far features are from Gaussian.

References: Golub, Heath & Wahba 1979 (Technometrics 21, 215); Simon et al. 2021 (arXiv:2110.03922).
"""

from dataclasses import dataclass
from typing import Any

import numpy as np

from ...theory.arguments import numbers
from ...theory.errors import BadData


@dataclass(frozen=True, eq=False)
class CrossValidation:
    """`test` (generalised), `left_out` (row by row) and `train` mean squared errors, and `kappa`, at every `ridge`.

    All are (R,); `learned` are degrees of freedom, n - ridge tr G.
    """

    ridge: np.ndarray
    test: np.ndarray
    left_out: np.ndarray
    train: np.ndarray
    kappa: np.ndarray
    learned: np.ndarray
    rows: int

    @property
    def best(self) -> float:
        """The ridge of the smallest estimated test error among those given."""
        return float(self.ridge[self.test.argmin()])

    def to_dict(self) -> dict:
        arrays = ("ridge", "test", "left_out", "train", "kappa", "learned")
        return {name: getattr(self, name).tolist() for name in arrays} | {"rows": self.rows}

    def __str__(self) -> str:
        lines = [f"Generalised cross-validation on {self.rows} rows"]
        lines.append(f"{'ridge':>12} {'test':>11} {'left out':>11} {'train':>11} {'kappa':>11} {'learned':>9}")
        columns = zip(self.ridge, self.test, self.left_out, self.train, self.kappa, self.learned, strict=True)
        lines += [f"{r:>12.4g} {e:>11.4e} {o:>11.4e} {t:>11.4e} {k:>11.4e} {f:>9.4g}" for r, e, o, t, k, f in columns]
        return "\n".join(lines[:18])

    __repr__ = __str__


def cross_validation(gram: Any, y: Any, ridge: Any = 0.0) -> CrossValidation:
    """Test error and effective ridge of kernel regression on these rows, at any number of ridges from one eigenproblem.

    `gram` (n, n) kernel matrix, `y` (n,) or (n, o), `ridge` of K + ridge I, a number or (R,). At ridge zero a singular
    matrix is refused. Errors: `BadData` for shapes, a negative ridge, or a matrix that is not positive.

    >>> found = cross_validation(np.diag([1.0, 3.0]), np.ones(2), ridge=[0.0, 1.0])
    >>> found.kappa.round(6), found.test.round(6)
    (array([0.75    , 1.333333]), array([1.25    , 1.111111]))
    """
    where = "cross-validation"
    gram, y = np.atleast_2d(numbers(gram, "the matrix", where)), np.atleast_1d(numbers(y, "y", where))
    y = y[:, None] if y.ndim == 1 else y
    ridges, rows = np.atleast_1d(numbers(ridge, "ridge", where)), len(gram)
    if gram.shape != (rows, rows) or len(y) != rows or y.ndim != 2 or not gram.size:
        raise BadData(f"matrix {gram.shape} and targets {y.shape}", where=where, remedy="give one target per row")
    if ridges.ndim != 1 or not ridges.size or not (ridges >= 0).all() or np.isinf(ridges).any():
        raise BadData(f"ridge {ridge}", where=where, remedy="give finite values >= 0")
    if not (np.isfinite(gram).all() and np.isfinite(y).all()):
        raise BadData("numbers that are not finite", where=where, remedy="drop NaN; scale inputs down")
    if np.abs(gram - gram.T).max() > 1e-8 * np.abs(gram).max():
        raise BadData("a matrix that is not symmetric", where=where, remedy="compute the kernel on one set of inputs")
    values, vectors = np.linalg.eigh(gram)
    least = rows * np.finfo(float).eps * max(values[-1], 0.0)
    if values[-1] <= 0 or values[0] < -1e3 * least:
        found = f"eigenvalues from {values[0]:.3g} to {values[-1]:.3g}"
        raise BadData(found, where=where, remedy="give a positive kernel matrix")
    if values[0] <= least and (ridges <= least).any():
        raise BadData(
            f"a singular matrix (smallest eigenvalue {values[0]:.1e}) at ridge {ridges.min():g}",
            where=where,
            remedy="give a ridge, or drop duplicate rows",
        )
    coefficients = vectors.T @ y
    inverse = 1 / (np.maximum(values, 0.0) + ridges[:, None])
    trace, squares = inverse.sum(1), inverse**2 @ (coefficients**2).sum(1)
    left_out = [
        ((vectors @ (g[:, None] * coefficients) / (vectors**2 @ g)[:, None]) ** 2).sum(1).mean() for g in inverse
    ]
    return CrossValidation(
        ridge=ridges,
        left_out=np.array(left_out),
        test=rows * squares / trace**2,
        train=ridges**2 * squares / rows,
        kappa=1 / trace,
        learned=rows - ridges * trace,
        rows=rows,
    )
