r"""Exponents of regressions, measured directly: growing training sets, numbers of random features, and times.

    f_n(x) = K(x, X_n) (K_nn + ridge)^-1 y = sum_{i <= n} V_i(x) z_i,    L L' = K + ridge, z = L^-1 y, V = L^-1 K(X, x).

The training sets of one run are nested, X_n being the first n of its rows, so that one Cholesky factor serves every
size. A run is judged on rows that none of its training sets holds, and where rows come in groups on whole groups.
"""

import time
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np

from ...theory.architecture.activations import formula
from ...theory.arguments import number, numbers, whole
from ...theory.errors import BadData
from ...theory.infinite_width.gradient_flow import kernel_training
from ...theory.regression.kernels import Kernel
from .measured import Measured

LEAST_TEST = 0.2  # share of the rows that is always left for judging


def measure_samples(
    kernel: Callable,
    x: np.ndarray,
    y: np.ndarray,
    sizes: Sequence[float] | np.ndarray,
    ridge: float = 1e-8,
    trials: int = 12,
    seed: int = 0,
    groups: np.ndarray | None = None,
) -> Measured:
    """Test errors of kernel regression from n = `sizes` of the rows x (P, d), y (P,) or (P, o).

    `kernel` is a function (n1, d), (n2, d) -> (n1, n2); `groups` (P,) names blocks of rows that are not independent.
    Errors: `BadData` for shapes, for sizes that leave fewer than a fifth of the rows to judge on, and for a kernel
    matrix that is singular at this ridge.

    >>> x = np.random.default_rng(0).standard_normal((200, 50)) / np.arange(1, 51)
    >>> found = measure_samples(lambda a, b=None: a @ (a if b is None else b).T, x, x @ np.ones(50), [10, 20, 40])
    >>> found.values.shape, bool(found.exponent > 1)
    ((12, 3), True)
    """
    start, where = time.perf_counter(), "measure_samples"
    x, y = _rows(x, y, where)
    counts = _counts(sizes, where)
    values = np.empty((whole(trials, "trials", where, least=1), len(counts)))
    gram = np.asarray(kernel(x), float)
    for trial, (fit, test) in enumerate(_draws(len(x), groups, counts[-1], trials, seed, where)):
        factor = _cholesky(gram[np.ix_(fit, fit)], ridge, where)
        learned, coefficients = _solved(factor, gram[np.ix_(fit, test)]), _solved(factor, y[fit])
        predicted, last = np.zeros((len(test), y.shape[1])), 0
        for column, n in enumerate(counts):
            predicted += learned[last:n].T @ coefficients[last:n]
            values[trial, column] = ((predicted - y[test]) ** 2).sum(1).mean()
            last = n
    words = f"kernel regression with {_name(kernel)}, ridge {ridge:g}, on nested random training sets"
    return Measured("samples", counts.astype(float), values, words, time.perf_counter() - start, {"ridge": ridge})


def measure_features(
    kernel: Kernel,
    x: np.ndarray,
    y: np.ndarray,
    counts: Sequence[float] | np.ndarray,
    samples: int,
    ridge: float = 1e-8,
    trials: int = 12,
    seed: int = 0,
    groups: np.ndarray | None = None,
) -> Measured:
    """Test errors of regression on k = `counts` random neurons from `samples` rows: the axis "parameters".

        phi_j(x) = sqrt(s/k) activation(w_j.x),   w_j ~ N(0, I),   whose kernel for k -> infinity is `kernel`

    `kernel` is nngp(depth=2, activation). Neurons of one run are nested as well. Without ridge the error peaks at
    k = samples: stay well below. Errors: `BadData` as for `measure_samples`, and for another kernel.

    >>> from ...theory.regression.kernels import nngp
    >>> x = np.random.default_rng(0).standard_normal((300, 5))
    >>> measure_features(nngp(depth=2, activation="relu"), x, x[:, 0], [4, 16], samples=150, trials=2).values.shape
    (2, 2)
    """
    start, where = time.perf_counter(), "measure_features"
    x, y = _rows(x, y, where)
    numbers_of, samples = _counts(counts, where), whole(samples, "samples", where, least=1)
    neurons, most = _neurons(kernel), int(numbers_of[-1])
    values = np.empty((whole(trials, "trials", where, least=1), len(numbers_of)))
    for trial, (fit, test) in enumerate(_draws(len(x), groups, samples, trials, seed, where)):
        weights = np.random.default_rng([seed, trial, most]).standard_normal((x.shape[1], most))
        features, judged = neurons(x[fit] @ weights), neurons(x[test] @ weights)
        for column, k in enumerate(numbers_of):
            learned = _regressed(features[:, :k], y[fit], ridge * k)
            values[trial, column] = ((judged[:, :k] @ learned - y[test]) ** 2).sum(1).mean()
    words = f"regression on random {kernel.activation} neurons, ridge {ridge:g}, from {samples} samples"
    facts = {"ridge": ridge, "samples": samples}
    return Measured("parameters", numbers_of.astype(float), values, words, time.perf_counter() - start, facts)


def measure_steps(
    kernel: Callable,
    x: np.ndarray,
    y: np.ndarray,
    times: Sequence[float] | np.ndarray,
    samples: int,
    trials: int = 12,
    seed: int = 0,
    groups: np.ndarray | None = None,
) -> Measured:
    """Test errors of kernel gradient flow at `times` t, from `samples` rows: the axis "steps".

        df/dt = -1/n K(., X) (f(X) - y),    f = 0 at the start; t = eta k for descent by small steps

    Errors: `BadData` as for `measure_samples`.

    >>> x = np.random.default_rng(0).standard_normal((200, 50)) / np.arange(1, 51)
    >>> linear = lambda a, b=None: a @ (a if b is None else b).T
    >>> measure_steps(linear, x, x @ np.ones(50), [1.0, 10.0, 100.0], samples=100, trials=2).values.shape
    (2, 3)
    """
    start, where = time.perf_counter(), "measure_steps"
    x, y = _rows(x, y, where)
    at = np.sort(numbers(times, "times", where).ravel())
    samples = whole(samples, "samples", where, least=1)
    if len(at) < 2 or not at[0] > 0:
        raise BadData(f"times {at}", where=where, remedy="give at least two times above 0")
    values = np.empty((whole(trials, "trials", where, least=1), len(at)))
    gram = np.asarray(kernel(x), float)
    for trial, (fit, test) in enumerate(_draws(len(x), groups, samples, trials, seed, where)):
        training = kernel_training(gram[np.ix_(fit, fit)], y[fit])
        predicted = training.mean(gram[np.ix_(test, fit)], t=at)
        values[trial] = ((predicted - y[test]) ** 2).sum(2).mean(1)
    words = f"kernel gradient flow with {_name(kernel)} from {samples} samples"
    return Measured("steps", at, values, words, time.perf_counter() - start, {"samples": samples})


def _draws(
    rows: int, groups: Any, largest: int, trials: int, seed: int, where: str
) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """For every run the rows to train on, in random order, and the rows to judge on: no group holds both."""
    most = int((1 - LEAST_TEST) * rows)
    if largest > most:
        raise BadData(f"n = {largest} of {rows} rows", where=where, remedy=f"give at most {most}: the rest judges")
    if groups is not None:
        groups = np.asarray(groups)
        if groups.shape != (rows,):
            raise BadData(f"groups {groups.shape} of {rows} rows", where=where, remedy="name the group of every row")
        names, counts = np.unique(groups, return_counts=True)
    for trial in range(trials):
        rng = np.random.default_rng([seed, trial])
        if groups is None:
            order = rng.permutation(rows)
            yield order[:largest], order[largest:]
            continue
        mixed = rng.permutation(len(names))
        wanted = max(largest, 2 * rows // 3)  # a third of the rows judges, or less where training needs more
        training = mixed[: int(np.searchsorted(np.cumsum(counts[mixed]), wanted)) + 1]
        if len(training) == len(names):
            found = f"n = {largest} in {len(names)} groups of up to {counts.max()} rows"
            raise BadData(found, where=where, remedy="lower n, so that a whole group is left to judge on")
        inside = np.isin(groups, names[training])
        yield rng.permutation(np.flatnonzero(inside))[:largest], np.flatnonzero(~inside)


def _rows(x, y, where):
    x, y = numbers(x, "x", where), np.atleast_1d(numbers(y, "y", where))
    y = y[:, None] if y.ndim == 1 else y
    if x.ndim != 2 or y.ndim != 2 or len(x) != len(y) or not (np.isfinite(x).all() and np.isfinite(y).all()):
        raise BadData(f"x {x.shape}, y {y.shape}", where=where, remedy="give finite rows (P, d), one target each")
    return x, y


def _counts(counts, where):
    found = np.unique(np.round(numbers(counts, "sizes", where).ravel()).astype(int))
    if len(found) < 2 or found[0] < 1:
        raise BadData(f"sizes {counts}", where=where, remedy="give at least two different numbers from 1 on")
    return found


def _cholesky(matrix, ridge, where):
    from scipy.linalg import LinAlgError, cholesky

    number(ridge, "ridge", where)
    try:
        return cholesky(matrix + ridge * np.eye(len(matrix)), lower=True, overwrite_a=True, check_finite=False)
    except LinAlgError:
        found = f"the kernel matrix of {len(matrix)} samples is not positive definite at ridge {ridge:g}"
        raise BadData(found, where=where, remedy="raise the ridge or drop duplicate inputs") from None


def _solved(factor, right):
    from scipy.linalg import solve_triangular

    return solve_triangular(factor, right, lower=True, check_finite=False)


def _regressed(features, y, ridge):
    """(phi'phi + ridge)^-1 phi'y through the smaller Gram matrix."""
    from scipy.linalg import solve

    n, k = features.shape
    if k <= n:
        return solve(features.T @ features + ridge * np.eye(k), features.T @ y, assume_a="pos")
    return features.T @ solve(features @ features.T + ridge * np.eye(n), y, assume_a="pos")


def _neurons(kernel):
    """sqrt(s) activation as a function of arrays, for a kernel that random neurons have."""
    from ...solvers.compile import compile

    if getattr(kernel, "kind", "") != "nngp" or kernel.depth != 2:
        remedy = "give the kernel nngp(depth=2, activation)"
        raise BadData(f"random neurons of {_name(kernel)}", where="measure_features", remedy=remedy)
    law: Any = formula(kernel.activation)
    activation = compile([law.expr], law.signature, backend="numpy")
    return lambda z: np.sqrt(kernel.weight_variance) * activation(z)[0]


def _name(kernel) -> Any:
    return getattr(kernel, "name", None) or getattr(kernel, "__name__", type(kernel).__name__)
