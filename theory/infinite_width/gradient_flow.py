r"""Predictions of infinitely wide networks at any training time, and of Gaussian processes, from Gram matrices.

Gradient flow on 1/(2P) |f - y|^2 with tangent kernel Theta moves the outputs linearly, and so does descent by steps:

    f_t(x) = f_0(x) + Theta_x A_t (y - f_0),   A_t = Theta^-1 (I - e^(-Theta t/P))   or   (I - (I - eta Theta/P)^k)

f_0 is a Gaussian process with the covariance K of the outputs at initialisation (`nngp`), so that f_t is one as well.
One eigendecomposition serves every time. A ridge (on the distance that weights moved, or the noise of a Gaussian
process) adds to the eigenvalues. Directions that Theta does not see, as those between duplicates, never move.

>>> training = kernel_training(np.diag([2.0, 1.0]), np.array([1.0, 1.0]))
>>> training.mean(t=np.array([0.0, 2.0, np.inf]))[:, :, 0].round(4)
array([[0.    , 0.    ],
       [0.8647, 0.6321],
       [1.    , 1.    ]])
"""

import inspect
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from ..architecture.network import Network
from ..arguments import number, numbers
from ..errors import BadData, OutsideDomain
from .network_kernel import InfiniteWidth, infinite_width, one_kernel

ROUNDING = 16 * np.finfo(float).eps  # times the number of samples: relative eigenvalues below this are rounding


@dataclass(frozen=True, eq=False)
class KernelTraining:
    """A kernel on P training inputs with their targets, diagonalised: predictions at any time follow by products.

    `eigenvalues` (P,) ascending, not negative, and 0 where they were rounding; `vectors` (P, P); `residual` (P, o), the
    targets minus the initial outputs; `smallest`, the smallest eigenvalue as computed, ridge not included.

    Reference: Lee et al. 2019 (arXiv:1902.06720).
    """

    eigenvalues: np.ndarray
    vectors: np.ndarray
    residual: np.ndarray
    ridge: float
    smallest: float

    @property
    def condition(self) -> float:
        """Largest over smallest eigenvalue, ridge included; infinite for a singular kernel."""
        low = self.eigenvalues[0] + self.ridge
        return float((self.eigenvalues[-1] + self.ridge) / low) if low > 0 else np.inf

    @property
    def critical_learning_rate(self) -> float:
        """Gradient descent on 1/(2P) |f - y|^2 converges below it: 2 P / (largest eigenvalue + ridge)."""
        top = self.eigenvalues[-1] + self.ridge
        return float(2 * len(self.eigenvalues) / top) if top > 0 else np.inf

    def mean(self, cross: np.ndarray | None = None, *, t: Any = np.inf, learning_rate: float = 0.0) -> np.ndarray:
        """Mean outputs at times t: (Q, o), or (T, Q, o) for an array of T times. From zero (or the initial) outputs.

        `cross` (Q, P) is the kernel between test and training inputs; without it, outputs on the training inputs.
        t = eta k; with a `learning_rate` eta, gradient descent in k steps, without it the flow.
        Of a start with `initial` outputs this is the change on test inputs: add their initial outputs.
        Errors: `OutsideDomain` for a learning rate at which descent diverges; `BadData` for negative times, times that
        are no whole number of steps and a `cross` of another shape.

        >>> kernel_training(np.eye(1), np.ones(1)).mean(np.array([[0.5]]))
        array([[0.5]])
        """
        filters = self._filters(t, learning_rate)
        left = self.eigenvalues * self.vectors if cross is None else self._crossed(cross)
        return np.einsum("qp,...p,po->...qo", left, filters, self._projected, optimize=True)

    def covariance(
        self,
        nngp: np.ndarray,
        cross_nngp: np.ndarray,
        test_nngp: np.ndarray,
        cross: np.ndarray,
        *,
        t: Any = np.inf,
        learning_rate: float = 0.0,
    ) -> np.ndarray:
        """Covariance of every output between Q test inputs over initial weights: (Q, Q), or (T, Q, Q).

            K_** + Theta_* A K A Theta_*' - Theta_* A K_*' - K_* A Theta_*',    A = A_t

        `nngp` (P, P), `cross_nngp` (Q, P), `test_nngp` (Q, Q): covariances K of the outputs at initialisation;
        `cross` (Q, P): the tangent kernel.

        >>> one = np.eye(1)
        >>> kernel_training(one, one).covariance(one, one, one, one, t=np.log(2.0)).round(12)
        array([[0.25]])
        """
        filters = self._filters(t, learning_rate)
        change = (self._crossed(cross) * filters[..., None, :]) @ self.vectors.T  # Theta_* A_t, (..., Q, P)
        mixed = change @ np.asarray(cross_nngp, float).T
        back = np.swapaxes(mixed, -1, -2)
        found = (
            np.asarray(test_nngp, float) + change @ np.asarray(nngp, float) @ np.swapaxes(change, -1, -2) - mixed - back
        )
        return (found + np.swapaxes(found, -1, -2)) / 2

    def posterior(self, cross: np.ndarray, test: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Mean (Q, o) and covariance (Q, Q) of a Gaussian process with this kernel, the ridge being the noise.

        K_* (K + ridge I)^-1 y,    K_** - K_* (K + ridge I)^-1 K_*'
        """
        left = self._crossed(cross)
        seen = left * np.sqrt(self._filters(np.inf, 0.0))
        return self.mean(cross), np.asarray(test, float) - seen @ seen.T

    def log_likelihood(self) -> np.ndarray:
        """log p(y) under the Gaussian process, (o,): -1/2 [y'(K + ridge I)^-1 y + log det(K + ridge I) + P log 2 pi].

        Errors: `BadData` for a singular kernel without ridge.
        """
        total = self.eigenvalues + self.ridge
        if not total[0] > 0:
            raise BadData("the kernel is singular", where="log_likelihood", remedy="give a ridge above 0")
        fit = (self._projected**2 / total[:, None]).sum(0)
        return -(fit + np.log(total).sum() + len(total) * np.log(2 * np.pi)) / 2

    @cached_property
    def _projected(self) -> np.ndarray:
        return self.vectors.T @ self.residual

    def _crossed(self, cross: np.ndarray) -> np.ndarray:
        cross = np.asarray(cross, float)
        if cross.ndim != 2 or cross.shape[1] != len(self.vectors):
            raise BadData(
                f"a kernel of shape {cross.shape} for {len(self.vectors)} training inputs",
                where="cross",
                remedy="give rows for test and columns for training inputs",
            )
        return cross @ self.vectors

    def _filters(self, t: Any, learning_rate: float) -> np.ndarray:
        """(1 - e^(-rate t)) / (eigenvalue + ridge) in every direction, (..., P); by steps with a learning rate."""
        t, total = numbers(t, "t", "kernel_training")[..., None], self.eigenvalues + self.ridge
        if not (t >= 0).all():
            raise BadData("a time that is not >= 0", where="kernel_training", remedy="give t = eta k from 0")
        if numbers(learning_rate, "learning_rate", "kernel_training").ndim:
            raise BadData("several learning rates", where="kernel_training", remedy="give one")
        moving = total > 0
        safe, samples = np.where(moving, total, 1.0), len(total)
        if learning_rate:
            done = self._done_by_steps(t, learning_rate, safe / samples)
        else:
            done = -np.expm1(-safe * t / samples)
        # a direction that the kernel does not see has no share in any output: it counts as not moving
        return np.where(moving, done / safe, 0.0)

    def _done_by_steps(self, t: np.ndarray, rate: float, slopes: np.ndarray) -> np.ndarray:
        """1 - (1 - rate x slope)^k, without cancellation for small products."""
        if not 0 < rate < self.critical_learning_rate:
            raise OutsideDomain(
                f"learning rate {rate:g}",
                where="kernel_training",
                remedy=f"descent converges between 0 and {self.critical_learning_rate:g}",
            )
        finite = np.isfinite(t)
        asked, steps = t[finite] / rate, np.round(t / rate)
        if not (np.abs(steps[finite] - asked) <= 1e-6 * np.maximum(asked, 1)).all():
            raise BadData("times between steps", where="kernel_training", remedy="give multiples of the learning rate")
        product = rate * slopes
        with np.errstate(divide="ignore", invalid="ignore"):
            small = -np.expm1(steps * np.log1p(-np.minimum(product, 1.0)))
        counted = np.where(finite, steps, 0.0)
        large = np.where(finite, 1 - (1 - product) ** counted, 1.0)
        return np.where(steps == 0, 0.0, np.where(product < 0.5, small, large))


def kernel_training(
    gram: np.ndarray, y: np.ndarray, *, ridge: float = 0.0, initial: np.ndarray | None = None
) -> KernelTraining:
    """Diagonalise a kernel on the training inputs, (P, P), for targets (P,) or (P, o): see `KernelTraining`.

    Errors: `BadData` for shapes that do not fit, numbers that are not finite, a matrix that is not symmetric, and one
    that is not positive semi-definite, with its extreme eigenvalues. A ridge at least twice as large as the negative
    eigenvalue is a remedy.

    >>> kernel_training(np.ones((2, 2)), np.array([1.0, 3.0])).mean(np.ones((1, 2)))
    array([[2.]])
    """
    where = "kernel_training"
    gram, y = numbers(gram, "the kernel", where), np.atleast_1d(numbers(y, "y", where))
    start = np.zeros(y.shape) if initial is None else numbers(initial, "initial", where)
    if not y.size or y.ndim > 2 or start.shape != y.shape:
        raise BadData(
            f"targets {y.shape}, initial outputs {start.shape}", where=where, remedy="give (P,) or (P, o), both alike"
        )
    residual = (y - start).reshape(len(y), -1)
    if gram.shape != (len(y), len(y)):
        raise BadData(
            f"a kernel of shape {gram.shape} for {len(y)} targets", where="kernel_training", remedy="give (P, P)"
        )
    if not (np.isfinite(gram).all() and np.isfinite(residual).all()):
        raise BadData(
            "numbers that are not finite", where="kernel_training", remedy="scale inputs or weights down; drop NaN"
        )
    ridge = number(ridge, "ridge", where)
    size = np.abs(gram).max()
    asymmetry = np.abs(gram - gram.T).max()
    if asymmetry > 1e-8 * size:
        raise BadData(
            f"entries that differ by {asymmetry:.2g} from their mirror image",
            where="kernel_training",
            remedy="compute the kernel on one set of inputs",
        )
    eigenvalues, vectors = np.linalg.eigh((gram + gram.T) / 2)
    low, high = float(eigenvalues[0]), float(eigenvalues[-1])
    rounding = ROUNDING * len(y) * max(high, -low)
    if low < -rounding and ridge < -2 * low:
        raise BadData(
            f"not positive semi-definite: eigenvalues from {low:.3g} to {high:.3g}",
            where="kernel_training",
            remedy=f"compute the kernel in float64, or give a ridge of at least {-2 * low:.2g}",
        )
    eigenvalues = np.where(eigenvalues > max(rounding, 0.0), eigenvalues, 0.0)
    return KernelTraining(eigenvalues, vectors, residual, ridge, low)


@dataclass(frozen=True, eq=False)
class Prediction:
    """Mean (Q, o) and covariance (Q, Q) on test inputs, with a leading axis for an array of times; the training."""

    mean: np.ndarray
    covariance: np.ndarray
    training: KernelTraining


def trained_ensemble(
    kernel: Callable,
    x: np.ndarray,
    y: np.ndarray,
    x_test: np.ndarray,
    *,
    t: Any = np.inf,
    learning_rate: float = 0.0,
    ridge: float = 0.0,
) -> Prediction:
    """Mean and covariance, over initial weights, of infinitely wide networks after training for a time t.

        f_t(x) = f_0(x) + Theta_x A_t (y - f_0),   A_t = Theta^-1 (I - e^(-Theta t/P)),   f_0 ~ N(0, K)

    `kernel`  a network, or `infinite_width(network)`: what gives K and Theta, (n1, n2), with `get` as an argument
    `x` (P, d), `y` (P,) or (P, o), `x_test` (Q, d); `t` = eta k, a number or an array of T times from 0
    `learning_rate`  of descent by steps of size eta, t a multiple of it; 0 is gradient flow
    `ridge`  of Theta + ridge I, a penalty on the distance that weights moved
    Errors: `BadData` for arrays that do not fit or are not finite, `OutsideDomain` for a learning rate that diverges.

    Reference: Lee et al. 2019 (arXiv:1902.06720).

    >>> from ..architecture.constructors import activation, dense, serial
    >>> net = serial(dense(), activation("relu"), dense())
    >>> trained_ensemble(net, np.eye(2), np.array([1.0, -1.0]), np.eye(2)).mean.round(6)
    array([[ 1.],
           [-1.]])
    """
    if isinstance(kernel, Network):
        kernel = infinite_width(kernel)
    if not isinstance(kernel, InfiniteWidth):
        _takes_get(kernel)
    train, cross, test = kernel(x), kernel(x_test, x), kernel(x_test, get=("nngp",))
    training = kernel_training(train.ntk, y, ridge=ridge)
    times = {"t": t, "learning_rate": learning_rate}
    covariance = training.covariance(train.nngp, cross.nngp, test.nngp, cross.ntk, **times)
    return Prediction(training.mean(cross.ntk, **times), covariance, training)


def _takes_get(kernel: Any) -> None:
    """Raises `BadData` for a kernel that cannot be asked for both matrices."""
    try:
        known = dict(inspect.signature(kernel).parameters)
    except (TypeError, ValueError):
        known = {}
    if "get" not in known and not any(p.kind is p.VAR_KEYWORD for p in known.values()):
        name = getattr(kernel, "__name__", type(kernel).__name__)
        remedy = "give a network, or infinite_width(network): the covariance at the start is needed too"
        raise BadData(f"{name} has no nngp and ntk", where="trained_ensemble", remedy=remedy)


def gaussian_process(
    kernel: Callable[..., np.ndarray], x: np.ndarray, y: np.ndarray, x_test: np.ndarray, *, noise: float = 0.0
) -> Prediction:
    """Posterior of a Gaussian process with a kernel (x1, x2=None) -> (n1, n2) and targets of variance `noise`.

        mean = K_* (K + noise I)^-1 y,    covariance = K_** - K_* (K + noise I)^-1 K_*'

    `kernel`  a function of samples; a network, or `infinite_width(network)`, stands for its `nngp` kernel
    `x` (P, d), `y` (P,) or (P, o), `x_test` (Q, d). Errors: `BadData`, as for `kernel_training`.

    Reference: Lee et al. 2018 (arXiv:1711.00165).

    >>> found = gaussian_process(lambda a, b=None: a @ (a if b is None else b).T, np.eye(1), np.ones(1), 2 * np.eye(1))
    >>> found.mean, found.covariance
    (array([[2.]]), array([[0.]]))
    """
    kernel = one_kernel(kernel, "nngp", "gaussian_process")
    training = kernel_training(kernel(x), y, ridge=number(noise, "noise", "gaussian_process"))
    mean, covariance = training.posterior(kernel(x_test, x), kernel(x_test))
    return Prediction(mean, covariance, training)
