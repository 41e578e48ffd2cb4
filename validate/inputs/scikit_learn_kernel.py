"""Our kernels as scikit-learn kernels: for `KernelRidge`, `GaussianProcessRegressor`, `GridSearchCV`, and in sums.

A kernel is taken as it is, or built from hyperparameters that scikit-learn tunes by name, here `w_std` and `b_std`:

    def network(w_std, b_std):
        return serial(dense(w_std, b_std), activation("relu"), dense(w_std, b_std))

    ScikitLearnKernel(network, w_std=1.5, b_std=0.1)

Hyperparameters vary between `limits` on a log scale; gradients in their logarithms are central differences.

>>> import numpy as np
>>> from sklearn.kernel_ridge import KernelRidge
>>> from ...theory.regression.kernels import laplace
>>> model = KernelRidge(kernel=ScikitLearnKernel(laplace, width=0.5), alpha=1e-9).fit(np.eye(2), np.array([1.0, 3.0]))
>>> model.predict(np.eye(2)).round(6)
array([1., 3.])
"""

import inspect
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from sklearn.gaussian_process.kernels import Hyperparameter, Kernel

from ...theory.arguments import number
from ...theory.errors import BadData, UnknownName
from ...theory.infinite_width.network_kernel import one_kernel

STEP = 1e-5  # of the logarithm of a hyperparameter: balances the cubic error with rounding, relative error 1e-10
KERNELS = ("ntk", "nngp")


class ScikitLearnKernel(Kernel):
    """A kernel that scikit-learn's estimators accept, clone and tune.

    `source`  a kernel `k(x1, x2=None) -> (n1, n2)`, an `InfiniteWidth`, a `Network`; or, with hyperparameters, a
              function of these that returns one
    `kernel`  of a network, "ntk" or "nngp"
    `limits`  (low, high) for every hyperparameter, "fixed", or a mapping from names to either
    Errors: `BadData` for a hyperparameter that is not above 0 and not fixed: it is tuned on a log scale.
    """

    def __init__(self, source: Any, kernel: str = "ntk", limits: Any = (1e-2, 1e2), **hyperparameters: float):
        self.source = source
        self.kernel = kernel
        self.limits = limits
        self._values = hyperparameters

    # ---- what scikit-learn asks of a kernel -------------------------------------------------------------------------

    def __call__(self, X: Any, Y: Any = None, eval_gradient: bool = False) -> Any:
        """The matrix (n_X, n_Y), or (n_X, n_X); with `eval_gradient` also its gradient, (n_X, n_X, n_dims)."""
        X = np.atleast_2d(np.asarray(X, float))
        if Y is not None and Y is not X:
            if eval_gradient:
                raise ValueError("Gradient can only be evaluated when Y is None.")
            return self._built()(X, np.atleast_2d(np.asarray(Y, float)))
        matrix = self._built()(X)
        if not eval_gradient:
            return matrix
        gradient = np.empty((len(X), len(X), self.n_dims))
        for k in range(self.n_dims):
            shift = STEP * np.eye(self.n_dims)[k]
            above, below = (self.clone_with_theta(self.theta + sign * shift)._built()(X) for sign in (1, -1))
            gradient[..., k] = (above - below) / (2 * STEP)
        return matrix, gradient

    def diag(self, X: Any) -> np.ndarray:
        """K(x, x) of every row, (n,)."""
        X, kernel = np.atleast_2d(np.asarray(X, float)), self._built()
        if hasattr(kernel, "diagonal"):
            return np.asarray(kernel.diagonal(X), float)
        return np.array([kernel(row[None])[0, 0] for row in X])

    def is_stationary(self) -> bool:
        """Whether it depends on x - x' only: kernels of networks do not."""
        return False

    @property
    def hyperparameters(self) -> list[Hyperparameter]:
        """What may be tuned, with bounds."""
        return [Hyperparameter(name, "numeric", self._limits_of(name)) for name in sorted(self._values)]

    def get_params(self, deep: bool = True) -> dict[str, Any]:
        """The arguments of the constructor, hyperparameters by name."""
        return {"source": self.source, "kernel": self.kernel, "limits": self.limits, **self._values}

    def set_params(self, **params: Any) -> "ScikitLearnKernel":
        """Change arguments by name. Raises `UnknownName` for one that does not exist."""
        known = self.get_params()
        for name, value in params.items():
            if name not in known:
                raise UnknownName.among(name, known, kind="parameter", where="ScikitLearnKernel")
            if name in self._values:
                self._values = {**self._values, name: value}
            else:
                setattr(self, name, value)
        return self

    def __repr__(self) -> str:
        name = getattr(self.source, "__name__", type(self.source).__name__)
        values = "".join(f", {key}={_shown(value)}" for key, value in sorted(self._values.items()))
        return f"ScikitLearnKernel({name}{values})"

    # ---- ours -------------------------------------------------------------------------------------------------------

    def _limits_of(self, name: str) -> Any:
        limits = self.limits.get(name, "fixed") if isinstance(self.limits, Mapping) else self.limits
        where = "ScikitLearnKernel"
        if isinstance(self.limits, Mapping):
            for given in self.limits:
                if given not in self._values:
                    raise UnknownName.among(given, self._values, kind="hyperparameter of limits", where=where)
        if isinstance(limits, str):
            if limits != "fixed":
                raise UnknownName.among(limits, ("fixed",), kind="limits", where=where)
        elif np.shape(limits) != (2,) or not 0 < number(limits[0], "a limit", where) < number(
            limits[1], "a limit", where
        ):
            raise BadData(f"limits {limits}", where=where, remedy="give (low, high) with 0 < low < high, or 'fixed'")
        if limits != "fixed" and number(self._values[name], name, where) == 0:
            raise BadData(
                f"{name} = {self._values[name]}",
                where="ScikitLearnKernel",
                remedy=f"start above 0, or fix it with limits={{{name!r}: 'fixed'}}",
            )
        return limits

    def _built(self) -> Callable[..., np.ndarray]:
        """The kernel at the current hyperparameters, as a function of arrays."""
        if self.kernel not in KERNELS:
            raise UnknownName.among(self.kernel, KERNELS, kind="kernel", where="ScikitLearnKernel")
        made = self.source
        if self._values:
            values = {name: number(value, name, "ScikitLearnKernel") for name, value in self._values.items()}
            try:
                inspect.signature(made).bind(**values)
            except (TypeError, ValueError) as error:
                name = getattr(made, "__name__", type(made).__name__)
                remedy = "give a function of the hyperparameters, each by its name"
                raise BadData(f"{name}: {error}", where="ScikitLearnKernel", remedy=remedy) from None
            made = made(**values)
        return one_kernel(made, self.kernel, "ScikitLearnKernel")


def _shown(value: Any) -> str:
    return f"{value:.3g}" if isinstance(value, int | float) else repr(value)
