r"""Kernels of infinitely wide networks, and a few classical ones, as functions of arrays and as formulas.

A wide layer maps covariances by the dual V of its activation (`theory.duals.dual_activation`), with weights of
variance s / fan_in:

    K_1 = x.x',   K_{l+1} = s V(K_l),   Theta_1 = K_1,   Theta_{l+1} = K_{l+1} + s Theta_l dV/dC.

K is the covariance of the outputs at initialisation (`nngp`) and Theta the tangent kernel (`ntk`). `depth` counts
weight matrices: 2 is one hidden layer. These are the plain stacks of `infinite_width`, which takes any network and
does the work here too; its input kernel is x.x' / d.

>>> kernel = ntk(depth=2)
>>> kernel(np.eye(2)).round(6)
array([[2.     , 0.31831],
       [0.31831, 2.     ]])
>>> print(sp.simplify(kernel.symbolic().subs(sp.Symbol("t", real=True), 1)))
2
"""

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import lru_cache

import numpy as np
import sympy as sp

from ..architecture.activations import formula
from ..architecture.constructors import activation as activation_layer
from ..architecture.constructors import dense, serial
from ..duals.dual_activation import A, B, C, dual
from ..errors import BadData, UnknownName
from ..infinite_width.directions import few
from ..infinite_width.network_kernel import InfiniteWidth, infinite_width
from ..infinite_width.tiles import fill, plan, processors

_NEAR = 1e-4  # below this relative squared distance inputs are subtracted, not multiplied


@dataclass(frozen=True)
class Kernel:
    """A kernel: call it on inputs (n1, d) and (n2, d) for the float64 matrix (n1, n2); on one for the symmetric matrix.

    `kind`   "ntk", "nngp", "rbf", "laplace" or "linear"
    `depth`  number of weight matrices (networks), `weight_variance` = s above
    `width`  length scale (rbf, laplace)

    Reference: Jacot, Gabriel & Hongler 2018 (arXiv:1806.07572); Lee et al. 2018 (arXiv:1711.00165).

    >>> laplace(2.0)(np.zeros((1, 3)), np.array([[0.0, 0.0, 2.0]])).round(4)
    array([[0.3679]])
    """

    kind: str
    depth: int = 1
    activation: str = ""
    width: float = 1.0
    weight_variance: float = 2.0

    def __post_init__(self):
        if self.kind not in KINDS:
            raise UnknownName.among(self.kind, KINDS, kind="kernel")
        if self.depth != int(self.depth) or self.depth < 1:
            raise BadData(f"depth {self.depth}", where=self.name, remedy="give a whole number of weight matrices >= 1")
        if not self.width > 0 or not self.weight_variance > 0:
            raise BadData(
                f"width {self.width:g}, weight variance {self.weight_variance:g}",
                where=self.name,
                remedy="both must be > 0",
            )
        if self.kind in ("ntk", "nngp"):
            formula(self.activation)

    @property
    def name(self) -> str:
        return f"{self.kind}-{self.activation}" if self.activation else self.kind

    def __call__(self, x1: np.ndarray, x2: np.ndarray | None = None) -> np.ndarray:
        x1 = np.asarray(x1, float)
        other = x1 if x2 is None else np.asarray(x2, float)
        if x1.ndim != 2 or other.ndim != 2 or x1.shape[1] != other.shape[1]:
            raise BadData(
                f"inputs of shapes {x1.shape} and {other.shape}", where=self.name, remedy="give (n, d) arrays"
            )
        if self.kind in ("ntk", "nngp"):
            return getattr(_engine(self)(x1, x2, self.kind), self.kind)
        block = _BLOCKS[self.kind]
        arranged = plan(len(x1), None if x2 is None else len(other), threads=processors())
        arranged.check()
        matrix = np.empty((len(x1), len(other)))
        fill(arranged, lambda rows, columns: [block(self, x1[rows], other[columns])], [matrix])
        if x2 is None:
            np.fill_diagonal(matrix, self.diagonal(x1))
        return matrix

    def diagonal(self, x: np.ndarray) -> np.ndarray:
        """K(x, x) for every row, (n,), by the recursion of the variances: for the ReLU tangent kernel depth x |x|^2."""
        if self.kind in ("ntk", "nngp"):
            return getattr(_engine(self).diagonal(x, self.kind), self.kind)
        return np.ones(len(x)) if self.kind in ("rbf", "laplace") else np.einsum("ij,ij->i", x, x)

    def symbolic(self) -> sp.Expr:
        """The kernel of unit vectors as an expression of t = x.x'.

        >>> linear().symbolic()
        t
        """
        t = sp.Symbol("t", real=True)
        if self.kind == "linear":
            return t
        if self.kind == "rbf":
            return sp.exp(-(1 - t) / sp.nsimplify(self.width) ** 2)
        if self.kind == "laplace":
            return sp.exp(-sp.sqrt(2 * (1 - t)) / sp.nsimplify(self.width))
        law, s = dual(self.activation), sp.nsimplify(self.weight_variance)
        variance, covariance, tangent = sp.S.One, t, t
        for _ in range(self.depth - 1):
            here = {A: variance, B: variance, C: covariance}
            slope = law.slope.subs(here)
            covariance = s * law.value.subs(here)
            variance = sp.simplify(s * law.value.subs({A: variance, B: variance, C: variance}))
            tangent = covariance + s * tangent * slope
        return tangent if self.kind == "ntk" else covariance

    def _latex(self, printer=None, **_) -> str:
        if self.depth <= 2:
            return f"K(t) = {sp.latex(sp.expand(self.symbolic()))}"
        # nesting repeats each layer in the next: show the recursion instead (V at unit variances, as He weights keep)
        law, unit, s = dual(self.activation), {A: 1, B: 1}, sp.nsimplify(self.weight_variance)
        value, slope = (sp.latex(sp.expand(s * e.subs(unit).subs(C, sp.Symbol("c_l")))) for e in (law.value, law.slope))
        rows = [rf"c_1 &= \Theta_1 = t, \quad l = 1, \dots, {self.depth - 1}", rf"c_{{l+1}} &= {value}"]
        if self.kind == "ntk":
            rows.append(rf"\Theta_{{l+1}} &= c_{{l+1}} + \Theta_l \left({slope}\right)")
        return r"\begin{aligned}" + r" \\ ".join(rows) + r"\end{aligned}"

    def _repr_latex_(self) -> str:
        return f"$\\displaystyle {self._latex()}$"

    def __str__(self) -> str:
        if self.kind in ("ntk", "nngp"):
            return f"{self.name}, depth {self.depth}"
        return self.name if self.kind == "linear" else f"{self.name}, width {self.width:g}"


def ntk(depth: int, activation: str = "relu", weight_variance: float = 2.0) -> Kernel:
    """Tangent kernel of a bias-free network with `depth` weight matrices of variance `weight_variance` / fan_in.

    >>> ntk(depth=10)(np.array([[0.6, 0.8]]))
    array([[10.]])
    """
    return Kernel("ntk", depth, activation, weight_variance=weight_variance)


def nngp(depth: int, activation: str = "relu", weight_variance: float = 2.0) -> Kernel:
    """Covariance of the outputs of the same network at initialisation.

    >>> nngp(depth=3).diagonal(np.array([[3.0, 4.0]]))
    array([25.])
    """
    return Kernel("nngp", depth, activation, weight_variance=weight_variance)


def rbf(width: float = 1.0) -> Kernel:
    """exp(-|x - x'|^2 / (2 width^2)).

    >>> rbf(2.0)(np.array([[0.0]]), np.array([[2.0]])).round(6)
    array([[0.606531]])
    """
    return Kernel("rbf", width=float(width))


def laplace(width: float = 1.0) -> Kernel:
    """exp(-|x - x'| / width).

    >>> laplace(0.5)(np.array([[0.0]]), np.array([[1.0]])).round(6)
    array([[0.135335]])
    """
    return Kernel("laplace", width=float(width))


def linear() -> Kernel:
    """x.x'.

    >>> linear()(np.array([[1.0, 2.0]]), np.array([[3.0, 1.0]]))
    array([[5.]])
    """
    return Kernel("linear")


NAMES = ("ntk-relu", "nngp-relu", "ntk-erf", "nngp-erf", "rbf", "laplace", "linear")


def parse(name: str, depth: int = 2, width: float = 1.0) -> Kernel:
    """The kernel of a name on the command line.

    >>> parse("ntk-relu", depth=4) == ntk(depth=4)
    True
    >>> parse("ntk-rleu")
    Traceback (most recent call last):
    ...
    learning_mechanics.theory.errors.UnknownName: unknown kernel 'ntk-rleu'; did you mean 'ntk-relu'?
    """
    if name not in NAMES:
        raise UnknownName.among(name, NAMES, kind="kernel")
    kind, _, activation = name.partition("-")
    return Kernel(kind, depth if activation else 1, activation, float(width))


@lru_cache(maxsize=128)
def _engine(kernel: Kernel) -> InfiniteWidth:
    """The plain stack as a network, with x.x' at the input."""
    layer = dense(math.sqrt(kernel.weight_variance))
    hidden = [part for _ in range(kernel.depth - 1) for part in (activation_layer(kernel.activation), layer)]
    return replace(infinite_width(serial(dense(), *hidden)), divisor=1.0)


# ---- classical kernels ----------------------------------------------------------------------------------------------


def _squared_distances(x1: np.ndarray, x2: np.ndarray) -> np.ndarray:
    size = np.einsum("ij,ij->i", x1, x1)[:, None] + np.einsum("ij,ij->i", x2, x2)[None, :]
    square = np.maximum(size - 2 * x1 @ x2.T, 0)
    for i, j in few(square < _NEAR * size):
        square[i, j] = ((x1[i] - x2[j]) ** 2).sum(1)
    return square


_BLOCKS: dict[str, Callable] = {
    "rbf": lambda kernel, x1, x2: np.exp(-_squared_distances(x1, x2) / (2 * kernel.width**2)),
    "laplace": lambda kernel, x1, x2: np.exp(-np.sqrt(_squared_distances(x1, x2)) / kernel.width),
    "linear": lambda kernel, x1, x2: x1 @ x2.T,
}
KINDS = ("ntk", "nngp", *_BLOCKS)
