"""Data a setting is stated on: arrays the user has (`Dataset`) or a distribution to sample (`PowerLaw`).

Preparations are pure NumPy and leave the original untouched. Rows are samples everywhere: x is (P, d), y is (P, o).
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from .errors import BadData, UnknownName


@dataclass(frozen=True, eq=False)
class Dataset:
    """Inputs (P, d) and targets (P, o), with where they came from.

    `groups` (P,) names independent blocks (regions of an image, say) so that splits can keep them apart.
    `arrays` holds further arrays with one row per sample, by name: gates of a network, weights of a loss.
    `facts` collects what preparations found: rank, condition number, dropped columns.

    >>> data = Dataset(np.eye(3), np.arange(3.0))
    >>> data.y.shape
    (3, 1)
    """

    x: np.ndarray
    y: np.ndarray
    name: str = "data"
    groups: np.ndarray | None = None
    arrays: Mapping[str, np.ndarray] = field(default_factory=dict)
    facts: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self):
        try:
            x, y = np.asarray(self.x, float), np.asarray(self.y, float)
        except (TypeError, ValueError) as error:
            raise BadData(
                f"not numbers ({error})", where=self.name, remedy="number the labels, or read the file they are in"
            ) from None
        y = y[:, None] if y.ndim == 1 else y
        if x.ndim != 2 or y.ndim != 2 or len(x) != len(y):
            raise BadData(
                f"x has shape {np.shape(self.x)} and y has shape {np.shape(self.y)}",
                where=self.name,
                remedy="give one row per sample in both",
            )
        for label, array in self.arrays.items():
            if len(array) != len(x):
                raise BadData(
                    f"{label} has {len(array)} rows and x has {len(x)}", where=self.name, remedy="give one per sample"
                )
        for label, array in (("x", x), ("y", y)):
            bad = np.argwhere(~np.isfinite(array))
            if len(bad):
                row, column = bad[0]
                raise BadData(
                    f"{label} holds {array[row, column]} at row {row}, column {column}"
                    + (f" (and {len(bad) - 1} more)" if len(bad) > 1 else ""),
                    where=self.name,
                    remedy="drop or fill those entries",
                )
        object.__setattr__(self, "x", x)
        object.__setattr__(self, "y", y)

    def __len__(self) -> int:
        return len(self.x)

    def prepare(self, *steps: str) -> "Dataset":
        """Apply named preparations in order: see `PREPARATIONS`.

        >>> Dataset(np.array([[1.0, 5.0], [3.0, 5.0]]), np.zeros(2)).prepare("drop_constant", "centre").x
        array([[-1.],
               [ 1.]])
        """
        data = self
        for step in steps:
            if step not in PREPARATIONS:
                raise UnknownName.among(step, PREPARATIONS, kind="preparation")
            data = PREPARATIONS[step](data)
        return data

    def covariances(self) -> tuple[np.ndarray, np.ndarray]:
        """Second moments Sigma_xx = x'x/P (d, d) and Sigma_yx = y'x/P (o, d)."""
        return self.x.T @ self.x / len(self), self.y.T @ self.x / len(self)

    def noting(self, **facts: Any) -> "Dataset":
        return replace(self, facts={**self.facts, **facts})


@dataclass(frozen=True)
class PowerLaw:
    """Gaussian features with eigenvalues k^-capacity and target power lambda_k w_k^2 = k^-target_exponent.

    The spectrum is normalised to unit trace; `noise` is the variance of label noise.
    """

    dim: int = 200
    capacity: float = 1.5
    target_exponent: float = 2.0
    noise: float = 0.0
    name: str = "power_law"

    def __post_init__(self):
        whole = np.isfinite(self.dim) and self.dim == int(self.dim) and self.dim >= 1
        for name, right, remedy in (
            ("dim", whole, "give a whole number from 1"),
            ("capacity", np.isfinite(self.capacity), "give a number"),
            ("target_exponent", np.isfinite(self.target_exponent), "give a number"),
            ("noise", np.isfinite(self.noise) and self.noise >= 0, "a variance is 0 or more"),
        ):
            if not right:
                raise BadData(f"{name} {getattr(self, name)}", where=self.name, remedy=remedy)

    def spectrum(self) -> tuple[np.ndarray, np.ndarray]:
        """Eigenvalues lambda (dim,) with sum 1 and target coefficients w (dim,) with sum lambda w^2 = 1."""
        k = np.arange(1.0, self.dim + 1)
        eigenvalues = k**-self.capacity
        eigenvalues /= eigenvalues.sum()
        power = k**-self.target_exponent
        return eigenvalues, np.sqrt(power / power.sum() / eigenvalues)

    def sizes(self) -> dict[str, int]:
        """Widths of the input and of the output."""
        return {"input": self.dim, "output": 1}

    def statistics(self) -> dict[str, np.ndarray]:
        """What theory may know of the distribution: "eigenvalues" (dim,) and "target" (dim,)."""
        return dict(zip(("eigenvalues", "target"), self.spectrum(), strict=True))

    def normals(self, n: int) -> dict[str, tuple[int, ...]]:
        """Shapes of the standard normal numbers that n rows are made of."""
        return {"features": (n, self.dim), "noise": (n, 1)}

    def rows(self, normals: Mapping[str, Any]) -> tuple[Any, Any]:
        """Inputs (n, dim) and targets (n, 1) from standard normal numbers, NumPy's or JAX's.

        >>> law = PowerLaw(dim=3, noise=0.5)
        >>> [rows.shape for rows in law.rows({name: np.ones(s) for name, s in law.normals(4).items()})]
        [(4, 3), (4, 1)]
        """
        eigenvalues, target = self.spectrum()
        x = normals["features"] * np.sqrt(eigenvalues)
        return x, x @ target[:, None] + self.noise**0.5 * normals["noise"]


def _drop_constant(data: Dataset) -> Dataset:
    keep = data.x.std(0) > 0
    return replace(data, x=data.x[:, keep]).noting(dropped_columns=np.flatnonzero(~keep).tolist())


def _centre(data: Dataset) -> Dataset:
    return replace(data, x=data.x - data.x.mean(0))


def _centre_targets(data: Dataset) -> Dataset:
    return replace(data, y=data.y - data.y.mean(0))


def _unit_targets(data: Dataset) -> Dataset:
    """Targets of mean square one; those of two classes, -1 and 1, stay as they are."""
    size = float(np.sqrt((data.y**2).mean()))
    if not size > 0:
        raise BadData("all targets are zero", where=data.name, remedy="give targets that vary")
    return replace(data, y=data.y / size)


def _unit_scale(data: Dataset) -> Dataset:
    return replace(data, x=data.x / data.x.std())


def _unit_norm(data: Dataset) -> Dataset:
    norms = np.linalg.norm(data.x, axis=1)
    if not norms.all():
        raise BadData(
            f"row {int(np.argmin(norms))} of x has zero norm",
            where=data.name,
            remedy="drop blank samples before scaling to unit norm",
        )
    return replace(data, x=data.x / norms[:, None])


def _whiten(data: Dataset) -> Dataset:
    """Sigma_xx = identity on the numerical range of the inputs (relative tolerance 1e-10 on singular values)."""
    left, singular, _ = np.linalg.svd(data.x, full_matrices=False)
    rank = int((singular > 1e-10 * singular[0]).sum())
    condition = float((singular[0] / singular[rank - 1]) ** 2)
    return replace(data, x=left[:, :rank] * np.sqrt(len(data))).noting(rank=rank, condition=condition)


def _leading_directions(data: Dataset) -> Dataset:
    """Principal components of the inputs whose second moment is a tenth of the largest or more: not white, not weak."""
    left, singular, _ = np.linalg.svd(data.x, full_matrices=False)
    kept = int((singular**2 >= singular[0] ** 2 / 10).sum())
    return replace(data, x=left[:, :kept] * singular[:kept]).noting(rank=kept)


def _second_moments(data: Dataset) -> Dataset:
    """A few rows with the same second moments of (x, y): the squared loss of every linear map is the same on them."""
    triangle = np.linalg.qr(np.hstack([data.x, data.y]), mode="r")
    triangle *= np.sqrt(len(triangle) / len(data))
    split = data.x.shape[1]
    if data.arrays:
        names = ", ".join(data.arrays)
        raise BadData(f"{names} belong to single samples", where="second_moments", remedy="leave this preparation out")
    return replace(data, x=triangle[:, :split], y=triangle[:, split:], groups=None).noting(samples=len(data))


def _one_hot(data: Dataset) -> Dataset:
    if _coded(data):
        return data
    classes = np.unique(data.y)
    return replace(data, y=(data.y == classes).astype(float)).noting(classes=classes.tolist())


def _parity(data: Dataset) -> Dataset:
    if _coded(data):
        return data
    return replace(data, y=1.0 - 2.0 * (data.y % 2))


def _coded(data: Dataset) -> bool:
    """Whether targets are numbers already (said so, several columns, or not whole) rather than labels."""
    return "targets" in data.facts or data.y.shape[1] > 1 or bool((data.y % 1).any())


PREPARATIONS = {
    "drop_constant": _drop_constant,
    "centre": _centre,
    "centre_targets": _centre_targets,
    "unit_targets": _unit_targets,
    "unit_scale": _unit_scale,
    "unit_norm": _unit_norm,
    "whiten": _whiten,
    "leading_directions": _leading_directions,
    "second_moments": _second_moments,
    "one_hot": _one_hot,
    "parity": _parity,
}
