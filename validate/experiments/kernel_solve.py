"""Kernel regression solved directly, many times: f(x) = K(x, X) (K(X, X) + ridge I)^-1 y.

Replicates are training sets: subsets of a pool of real data drawn without replacement, or fresh Gaussian features. The
Gram matrix of a pool is computed once. Dense float64 Cholesky factorisation on the host: at these sizes (n up to a few
hundred, thousands of solves) compiling for every n would cost more than all the solves together.

With `axes["features"]` = k the kernel is replaced by k random features of it, drawn anew for every replicate: Gaussian
mixtures of Gaussian features, or neurons of a layer whose infinitely wide limit the kernel is,

    K = phi phi',    phi_j(x) = sqrt(s/k) activation(w_j.x),    w_j ~ N(0, I).
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
    Errors: `UnknownName` for another observable; `BadData` when the pool is too small, the system is singular, or the
    kernel is not that of one hidden layer while random features are asked for.

    >>> from ...theory.dataset import PowerLaw
    >>> from ...theory.setup import Setup
    >>> setup = Setup(data=PowerLaw(dim=3), procedure="kernel_solve", sizes=(2, 9), options={"ridge": 1e-9})
    >>> errors = kernel_solve(setup.draw(0, setup.data), [0, 1], "test_error")
    >>> errors.shape, bool(errors[:, 1].max() < 1e-6)  # nine samples determine three coefficients
    ((2, 2, 1), True)
    """
    if observable not in OBSERVABLES:
        raise UnknownName.among(observable, OBSERVABLES, kind="observable", where="kernel_solve")
    solve = _features if "eigenvalues" in instance else _pool_of_neurons if _count(instance) else _pool
    errors = np.empty((len(seeds), len(instance.setup.sizes), 1))
    for done, (rows, column, values) in enumerate(solve(instance, tuple(seeds), observable)):
        errors[rows, column, 0] = values
        if progress is not None:
            progress(min(1.0, (done + 1) * np.size(values) / errors.size))
    return errors


def _features(instance, seeds, observable):
    """Gaussian features x_k ~ N(0, lambda_k) with targets w.x + noise: ridge regression on the features."""
    eigenvalues, target = instance["eigenvalues"], instance["target"]
    ridge, noise, count = float(instance.setup.options["ridge"]), float(instance.facts["noise"]), _count(instance)
    if observable == "pool_error":
        raise BadData("Gaussian features have no pool", where="kernel_solve", remedy="measure test_error")
    for column, n in enumerate(instance.setup.sizes):
        batch = max(1, _BATCH // ((n + count) * len(eigenvalues)))
        for start in range(0, len(seeds), batch):
            rows = slice(start, min(start + batch, len(seeds)))
            features, labels, mixtures = [], [], []
            for seed in seeds[rows]:
                rng = np.random.default_rng([seed, n])
                features.append(rng.standard_normal((n, len(eigenvalues))) * np.sqrt(eigenvalues))
                labels.append(features[-1] @ target + np.sqrt(noise) * rng.standard_normal(n))
                if count:
                    mixtures.append(rng.standard_normal((len(eigenvalues), count)) / np.sqrt(count))
            x, y = np.stack(features), np.stack(labels)[..., None]
            if count:
                dual = _dual(x @ np.stack(mixtures), y, ridge)
                learned = np.stack([m @ (m.T @ w) for m, w in zip(mixtures, x.swapaxes(1, 2) @ dual, strict=True)])
                learned = learned[..., 0]
            else:
                dual = np.linalg.solve(x @ x.swapaxes(1, 2) + ridge * np.eye(n), y)
                learned = (x.swapaxes(1, 2) @ dual)[..., 0]
            if observable == "training_error":
                yield rows, column, ((ridge * dual[..., 0]) ** 2).mean(1)  # y - K a = ridge a
            else:
                yield rows, column, (eigenvalues * (learned - target) ** 2).sum(1) + noise


def _pool(instance, seeds, observable):
    """Subsets of the pool, drawn without replacement."""
    from scipy.linalg import LinAlgError, cho_factor, cho_solve

    x, y, ridge, sizes = _rows(instance)
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
            yield row, column, _averaged(squares, chosen, observable)


def _pool_of_neurons(instance, seeds, observable):
    """Subsets of the pool, and a fresh layer of random neurons for each."""
    from ...solvers.compile import compile
    from ...theory.architecture.activations import formula

    x, y, ridge, sizes = _rows(instance)
    kernel, count = instance.setup.options["kernel"], _count(instance)
    law = formula(kernel.activation) if getattr(kernel, "kind", "") == "nngp" and kernel.depth == 2 else None
    if law is None:
        raise BadData(
            f"random features of {kernel}", where="kernel_solve", remedy="give the kernel nngp(depth=2, activation)"
        )
    activation = compile([law.expr], law.signature, backend="numpy")
    for row, seed in enumerate(seeds):
        for column, n in enumerate(sizes):
            rng = np.random.default_rng([seed, n, count])
            chosen = rng.permutation(len(x))[:n]
            (neurons,) = activation(x @ rng.standard_normal((x.shape[1], count)))
            neurons = np.sqrt(kernel.weight_variance / count) * neurons
            weights = neurons[chosen].T @ _dual(neurons[chosen], y[chosen], ridge)
            yield row, column, _averaged(((y - neurons @ weights) ** 2).sum(1), chosen, observable)


def _dual(features, y, ridge):
    """(phi phi' + ridge)^-1 y for phi (..., n, k), through the smaller of the two Gram matrices."""
    n, k = features.shape[-2:]
    turned = features.swapaxes(-1, -2)
    if n <= k:
        return np.linalg.solve(features @ turned + ridge * np.eye(n), y)
    return (y - features @ np.linalg.solve(turned @ features + ridge * np.eye(k), turned @ y)) / ridge


def _count(instance) -> int:
    """Number of random features; 0 for the kernel itself."""
    return int(instance.setup.axes.get("features", 0))


def _rows(instance):
    x, y = (instance["x_pool"], instance["y_pool"]) if "x_pool" in instance else (instance["x"], instance["y"])
    ridge, sizes = float(instance.setup.options["ridge"]), instance.setup.sizes
    if max(sizes) >= len(x):
        raise BadData(f"{len(x)} samples in the pool but n = {max(sizes)}", where="kernel_solve", remedy="lower n")
    return x, y, ridge, sizes


def _averaged(squares, chosen, observable):
    """Mean of the squared errors of all rows over the rows that the observable names."""
    if observable == "pool_error":
        return squares.mean()
    return squares[chosen].mean() if observable == "training_error" else np.delete(squares, chosen).mean()
