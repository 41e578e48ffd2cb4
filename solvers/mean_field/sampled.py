"""Mean-field theory of nonlinear networks by sampling neurons: any activation, any depth, no matrix of weights.

A hidden Gaussian matrix W is seen by training only through a few products W q and W'p. Conditioned on what it has
answered so far it stays Gaussian, so that it can be drawn one direction at a time (q, p normalised, orthogonal to all
earlier ones; xi fresh normal numbers):

    W q = sum over earlier p of p (W'p . q) + (1 - P P') xi,      and W'p likewise.

The fresh part is the Gaussian process u of mean-field theory, the first one its response A g, with the response kernel
estimated from the samples themselves by Stein's identity <h r> = A <r r>. What training adds to W has the rank of the
directions, and is kept in their coordinates. With M neurons the law is exactly that of a network of width M, at a cost
of M x directions per product instead of M^2; M -> oo is the mean field. Independent batches give the statistical error.

Reference: Bordelon & Pehlevan 2022 (arXiv:2205.09653); conditioning as in Bolthausen 2014 (arXiv:1201.2891).
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from ...theory.arguments import whole
from ...theory.mean_field.starts import normal_start
from .arguments import accepted, directions_of, requested
from .neurons import trained

_WHERE = "sampled mean field"
_KEPT = 1e-7  # directions that add less than this share of the largest vector so far are left out


@dataclass(frozen=True, eq=False)
class SampledDescent:
    """Gradient descent of an infinitely wide network, from `batches` independent samples of `samples` neurons a layer.

    `outputs`, `outputs_error`    (R, P, o) at the recorded `steps` (R,): mean over batches and its standard error
    `test_outputs` and its error  (R, Q, o), on the other inputs that were given
    `loss`, `loss_error`          (R,) 1/2 mean |y - f|^2
    `features`, `features_error`  (L, R, P, P): <phi(h) phi(h)'> of the hidden layers from the first
    `directions`                  how many directions of hidden matrices were drawn: the largest over layers and batches

    Beside the statistical error there is a bias of order 1/samples, that of a network of this width.
    """

    steps: np.ndarray
    outputs: np.ndarray
    outputs_error: np.ndarray
    test_outputs: np.ndarray
    test_outputs_error: np.ndarray
    loss: np.ndarray
    loss_error: np.ndarray
    features: np.ndarray
    features_error: np.ndarray
    samples: int
    batches: int
    directions: int

    def __str__(self) -> str:
        typical = np.sqrt((self.outputs_error**2).mean())
        change = self.features[:, -1] - self.features[:, 0]
        moved = np.linalg.norm(change, axis=(1, 2)) / np.linalg.norm(self.features[:, 0], axis=(1, 2))
        return "\n".join(
            (
                f"mean field of {len(moved)} hidden layers from {self.batches} x {self.samples} neurons",
                f"loss              {self.loss[0]:.4g} to {self.loss[-1]:.4g} +- {self.loss_error[-1]:.1g}",
                f"outputs           +- {typical:.1g}, and a bias of order 1/{self.samples}",
                f"kernels moved by  {', '.join(f'{value:.3g}' for value in moved)}",
            )
        )

    __repr__ = __str__


class GaussianMatrix:
    """A matrix with entries of variance 1/columns, drawn one direction at a time, and a learned part of low rank.

    >>> W = GaussianMatrix(500, 400, np.random.default_rng(0))
    >>> q = np.random.default_rng(1).standard_normal((400, 1))
    >>> first = W.times(q)
    >>> bool(np.allclose(W.times(2 * q), 2 * first)), bool(abs((first**2).sum() / (q**2).sum() * 400 / 500 - 1) < 0.2)
    (True, True)
    >>> p = np.ones((500, 1))
    >>> bool(np.allclose(W.transposed_times(p).T @ q, p.T @ first))
    True
    """

    def __init__(self, rows: int, columns: int, rng: np.random.Generator):
        self.rng, self.scale = rng, columns**-0.5
        self.right, self.left = _Basis(columns), _Basis(rows)
        self.images = np.zeros((rows, 0))  # W times every right direction
        self.preimages = np.zeros((columns, 0))  # W' times every left direction
        self.learned = np.zeros((0, 0))  # left coordinates x right coordinates

    def times(self, q: np.ndarray) -> np.ndarray:
        """W q, for vectors q (columns, n)."""
        new, inside = self.right.admit(q)
        if new.shape[1]:
            fresh = self.scale * self.rng.standard_normal((len(self.images), new.shape[1]))
            known = self.left.vectors
            self.images = np.hstack([self.images, fresh + known @ (self.preimages.T @ new - known.T @ fresh)])
            self._widen()
        return self.images @ inside + self.left.vectors @ (self.learned @ inside)

    def transposed_times(self, p: np.ndarray) -> np.ndarray:
        """W'p, for vectors p (rows, n)."""
        new, inside = self.left.admit(p)
        if new.shape[1]:
            fresh = self.scale * self.rng.standard_normal((len(self.preimages), new.shape[1]))
            known = self.right.vectors
            self.preimages = np.hstack([self.preimages, fresh + known @ (self.images.T @ new - known.T @ fresh)])
            self._widen()
        return self.preimages @ inside + self.right.vectors @ (self.learned.T @ inside)

    def add(self, p: np.ndarray, q: np.ndarray) -> None:
        """W + p q', for vectors p (rows, n) and q (columns, n) that W and W' have been applied to."""
        self.learned += (self.left.vectors.T @ p) @ (self.right.vectors.T @ q).T

    def _widen(self) -> None:
        rows, columns = self.left.vectors.shape[1], self.right.vectors.shape[1]
        grown = np.zeros((rows, columns))
        grown[: self.learned.shape[0], : self.learned.shape[1]] = self.learned
        self.learned = grown


class _Basis:
    """Orthonormal vectors that span all that were admitted, up to a share `_KEPT` of the largest."""

    def __init__(self, size: int):
        self.vectors, self.largest = np.zeros((size, 0)), 0.0

    def admit(self, vectors: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """New orthonormal directions, and the coordinates of the vectors in all."""
        self.largest = max(self.largest, float(np.linalg.norm(vectors, axis=0).max()))
        rest = vectors - self.vectors @ (self.vectors.T @ vectors)
        left, singular, _ = np.linalg.svd(rest, full_matrices=False)
        room = len(vectors) - self.vectors.shape[1]
        new = left[:, singular > _KEPT * self.largest][:, :room]
        new = new - self.vectors @ (self.vectors.T @ new)  # again: the rest of a vector that is nearly inside
        new = np.linalg.qr(new)[0]
        self.vectors = np.hstack([self.vectors, new])
        return new, self.vectors.T @ vectors


def sample(
    x: Any,
    y: Any,
    *,
    activation: Any = "tanh",
    depth: int = 3,
    richness: float = 1.0,
    learning_rate: float = 0.1,
    steps: int | Sequence[int] = 100,
    samples: int = 2048,
    batches: int = 8,
    x_test: Any = None,
    seed: int = 0,
    centred: bool = True,
) -> SampledDescent:
    """Train an infinitely wide network of `depth` >= 2 weight matrices by gradient descent, from samples of neurons.

        f = w phi(h_(L-1)) / (gamma M) with h_l = W_l phi(h_(l-1)) / sqrt(fan-in); step size learning_rate gamma^2 M

    Arguments as for `deep_linear.descend`. `centred` subtracts the outputs at the start, which are zero at infinite
    width: it leaves the limit and takes away the largest part of the noise.
    Errors: `DidNotConverge` when training diverges; `BadData` for arrays or numbers that cannot be used.

    >>> found = sample(np.eye(2), np.array([1.0, -1.0]), depth=2, learning_rate=0.5, steps=3, samples=256, batches=4)
    >>> found.outputs.shape, found.features.shape, found.directions
    ((4, 2, 1), (1, 4, 2, 2), 0)

    Reference: Bordelon & Pehlevan 2022 (arXiv:2205.09653).
    """
    x, y, x_test = accepted(x, y, x_test, _WHERE)
    records = requested(depth, richness, learning_rate, steps, _WHERE, least=1e-12)
    samples, batches = whole(samples, "samples", _WHERE, least=2), whole(batches, "batches", _WHERE, least=2)
    seed = whole(seed, "seed", _WHERE)
    z = directions_of(np.concatenate([x, x_test]))
    runs, most = [], 0
    for rng in np.random.default_rng(seed).spawn(int(batches)):
        first, last = normal_start(rng, int(samples), z.shape[1], y.shape[1])
        hidden = [GaussianMatrix(int(samples), int(samples), rng) for _ in range(int(depth) - 2)]
        path = trained(activation, first, hidden, last, richness, learning_rate, z, y, centred, _WHERE)
        runs.append(recorded(path, records, y))
        most = max([most, *(matrix.right.vectors.shape[1] for matrix in hidden)])
    return averaged(runs, records, int(samples), most)


def recorded(path, records: np.ndarray, y: np.ndarray) -> tuple[np.ndarray, ...]:
    """Outputs, test outputs, loss and features (layers first) of one run at the recorded steps."""
    wanted, outputs, features = set(records.tolist()), [], []
    for step, (f, kernels) in enumerate(path):
        if step in wanted:
            outputs.append(f)
            features.append(kernels)
        if step == records[-1]:
            break
    found = np.stack(outputs)
    fitted = found[:, : len(y)]
    loss = ((y - fitted) ** 2).sum((1, 2)) / (2 * len(y))
    return fitted, found[:, len(y) :], loss, np.stack(features, axis=1)


def averaged(runs: list[tuple[np.ndarray, ...]], records: np.ndarray, samples: int, most: int) -> SampledDescent:
    """Means over independent runs, as `recorded` gives them, and their standard errors."""
    values = [np.stack(parts) for parts in zip(*runs, strict=True)]
    outputs, test_outputs, loss, features = (found.mean(0) for found in values)
    errors = [found.std(0, ddof=1) / np.sqrt(len(runs)) for found in values]
    return SampledDescent(
        steps=records,
        outputs=outputs,
        outputs_error=errors[0],
        test_outputs=test_outputs,
        test_outputs_error=errors[1],
        loss=loss,
        loss_error=errors[2],
        features=features,
        features_error=errors[3],
        samples=samples,
        batches=len(runs),
        directions=most,
    )
