"""Kernel regression solved directly, many times: f(x) = K(x, X) (K(X, X) + ridge I)^-1 y.

Replicates are training sets: subsets of a pool of real data drawn without replacement, or fresh Gaussian features. The
Gram matrix of a pool is computed once. Dense float64 Cholesky factorisation on the host: at these sizes (n up to a few
hundred, thousands of solves) compiling for every n would cost more than all the solves together.
"""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from ...theory.errors import BadData, UnknownName
from ...theory.setup import Instance

OBSERVABLES = ("test_error", "pool_error", "training_error")
_BATCH = 1 << 22  # feature entries drawn at a time


def kernel_solve(
    instance: Instance,
    seeds: Sequence[int],
    observable: str,
    progress: Callable[[float], None] | None = None,
    device: Any = None,
) -> np.ndarray:
    """Mean squared errors (seeds, sizes, 1) of kernel regression, one training set per seed and size.

    "test_error"      on samples not trained on: the rest of the pool, or the exact mean over fresh Gaussian samples
                      with their noise
    "pool_error"      on the whole pool, training samples included
    "training_error"  on the training set

    Squared errors are summed over outputs and carry no factor 1/2. `setup.options`: "ridge", and "kernel" for data.
    Errors: `UnknownName` for another observable; `BadData` when the pool is too small or the system is singular.

    >>> from ...theory.dataset import PowerLaw
    >>> from ...theory.setup import Setup
    >>> setup = Setup(data=PowerLaw(dim=3), procedure="kernel_solve", sizes=(2, 9), options={"ridge": 1e-9})
    >>> errors = kernel_solve(setup.draw(0, setup.data), [0, 1], "test_error")
    >>> errors.shape, bool(errors[:, 1].max() < 1e-6)  # nine samples determine three coefficients
    ((2, 2, 1), True)
    """
    if observable not in OBSERVABLES:
        raise UnknownName.among(observable, OBSERVABLES, kind="observable", where="kernel_solve")
    solve = _features if "eigenvalues" in instance else _pool
    errors = np.empty((len(seeds), len(instance.setup.sizes), 1))
    for done, (rows, column, values) in enumerate(solve(instance, tuple(seeds), observable)):
        errors[rows, column, 0] = values
        if progress is not None:
            progress(min(1.0, (done + 1) * np.size(values) / errors.size))
    return errors


def _features(instance, seeds, observable):
    """Gaussian features x_k ~ N(0, lambda_k) with targets w.x + noise: ridge regression on the features."""
    eigenvalues, target = instance["eigenvalues"], instance["target"]
    ridge, noise = float(instance.setup.options["ridge"]), float(instance.facts["noise"])
    if observable == "pool_error":
        raise BadData("Gaussian features have no pool", where="kernel_solve", remedy="measure test_error")
    for column, n in enumerate(instance.setup.sizes):
        batch = max(1, _BATCH // (n * len(eigenvalues)))
        for start in range(0, len(seeds), batch):
            rows = slice(start, min(start + batch, len(seeds)))
            features, labels = [], []
            for seed in seeds[rows]:
                rng = np.random.default_rng([seed, n])
                features.append(rng.standard_normal((n, len(eigenvalues))) * np.sqrt(eigenvalues))
                labels.append(features[-1] @ target + np.sqrt(noise) * rng.standard_normal(n))
            x, y = np.stack(features), np.stack(labels)[..., None]
            dual = np.linalg.solve(x @ x.swapaxes(1, 2) + ridge * np.eye(n), y)
            learned = (x.swapaxes(1, 2) @ dual)[..., 0]
            if observable == "training_error":
                yield rows, column, ((ridge * dual[..., 0]) ** 2).mean(1)  # y - K a = ridge a
            else:
                yield rows, column, (eigenvalues * (learned - target) ** 2).sum(1) + noise


def _pool(instance, seeds, observable):
    """Subsets of the pool, drawn without replacement."""
    from scipy.linalg import LinAlgError, cho_factor, cho_solve

    x, y = (instance["x_pool"], instance["y_pool"]) if "x_pool" in instance else (instance["x"], instance["y"])
    ridge, sizes = float(instance.setup.options["ridge"]), instance.setup.sizes
    if max(sizes) >= len(x):
        raise BadData(f"{len(x)} samples in the pool but n = {max(sizes)}", where="kernel_solve", remedy="lower n")
    gram = instance.setup.options["kernel"](x)
    for row, seed in enumerate(seeds):
        for column, n in enumerate(sizes):
            chosen = np.random.default_rng([seed, n]).permutation(len(x))[:n]
            among = gram[chosen]
            try:
                factor = cho_factor(among[:, chosen] + ridge * np.eye(n), lower=True, overwrite_a=True)
            except LinAlgError:
                raise BadData(
                    f"the kernel matrix of {n} samples is not positive definite at ridge {ridge:g}",
                    where="kernel_solve",
                    remedy="raise the ridge or drop duplicate inputs",
                ) from None
            squares = ((y - among.T @ cho_solve(factor, y[chosen])) ** 2).sum(1)
            if observable == "pool_error":
                yield row, column, squares.mean()
            elif observable == "training_error":
                yield row, column, squares[chosen].mean()
            else:
                yield row, column, np.delete(squares, chosen).mean()
