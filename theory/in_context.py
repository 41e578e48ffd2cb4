"""In-context linear regression: every sample is a task w of its own, shown by a context of N pairs, and one query.

    x_n, x ~ N(0, diag(eigenvalues)),   w ~ N(0, I),   y_n = w.x_n,   y = w.x,   beta = 1/N sum_n y_n x_n

Linear attention sees the context through beta alone: its output is beta' M x, linear in the products z = vec(beta x').
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from .errors import BadData, UnknownName

VIEWS = ("products", "pair")


@dataclass(frozen=True)
class InContextRegression:
    """Distribution of in-context regression tasks; `eigenvalues` are those of the inputs' covariance.

    `view` says what a row of x holds: the "products" beta_a x_b (D^2 columns, a first), or the "pair" beta, x (2 D).
    """

    eigenvalues: tuple[float, ...] = (1.0, 1.0, 1.0, 1.0)
    context: int = 31
    view: str = "products"
    name: str = "in_context"

    def __post_init__(self):
        if not self.eigenvalues or not all(np.isfinite(v) and v > 0 for v in self.eigenvalues):
            raise BadData(f"eigenvalues {self.eigenvalues}", where=self.name, remedy="give numbers above 0")
        if self.context != int(self.context) or self.context < 1:
            raise BadData(f"context {self.context}", where=self.name, remedy="give a whole number from 1")
        if self.view not in VIEWS:
            raise UnknownName.among(self.view, VIEWS, kind="view", where=self.name)

    @property
    def dim(self) -> int:
        return len(self.eigenvalues)

    def sizes(self) -> dict[str, int]:
        """Widths of the input and of the output."""
        return {"input": self.dim**2 if self.view == "products" else 2 * self.dim, "output": 1}

    def statistics(self) -> dict[str, np.ndarray]:
        """What theory may know of the distribution: "eigenvalues" (D,) and the length of the "context"."""
        return {"eigenvalues": np.array(self.eigenvalues, float), "context": np.array(float(self.context))}

    def normals(self, n: int) -> dict[str, tuple[int, ...]]:
        """Shapes of the standard normal numbers that n rows are made of."""
        return {"context": (n, self.context, self.dim), "query": (n, self.dim), "task": (n, self.dim)}

    def rows(self, normals: Mapping[str, Any]) -> tuple[Any, Any]:
        """Inputs and targets (n, 1) from standard normal numbers, NumPy's or JAX's.

        >>> law = InContextRegression((1.0, 0.5), context=3, view="pair")
        >>> [rows.shape for rows in law.rows({name: np.ones(s) for name, s in law.normals(7).items()})]
        [(7, 4), (7, 1)]
        """
        spread = np.sqrt(np.array(self.eigenvalues))
        context, query, task = normals["context"] * spread, normals["query"] * spread, normals["task"]
        answers = (context * task[:, None, :]).sum(-1)
        beta = (context * answers[:, :, None]).mean(1)
        return self.seen(beta, query), (query * task).sum(-1)[:, None]

    def seen(self, beta: Any, query: Any) -> Any:
        """The columns of x for rows of beta and of the query, both (n, D)."""
        if self.view == "products":
            return (beta[:, :, None] * query[:, None, :]).reshape(len(query), self.dim**2)
        return query.__array_namespace__().concatenate([beta, query], axis=1)
