r"""Kernels of infinitely wide networks, exact and fast: the covariance of the outputs and the tangent kernel together.

    K_1 = w^2 <x, x'>/d + b^2,  K_{l+1} = w^2 V(K_l) + b^2,  Theta_1 = K_1,  Theta_{l+1} = K_{l+1} + w^2 Theta_l dV/dC,

with V = E phi(u) phi(v), for any graph of dense layers, activations, sums, products, layer norms and operations on
grids. Numbers are float64; coincident and nearly coincident samples lose no digits (`covariances`). In the standard
parameterization Theta of a layer is fan_in x K + 1 in place of w^2 K + b^2, so its widths must be given.

>>> from ..architecture.constructors import activation, dense, serial
>>> kernel = infinite_width(serial(dense(), activation("relu"), dense(w_std=2**0.5)))
>>> both = kernel(np.eye(2))
>>> both.nngp.round(4).tolist(), both.ntk.round(4).tolist()
([[0.5, 0.1592], [0.1592, 0.5]], [[1.0, 0.1592], [0.1592, 1.0]])
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, ClassVar

import numpy as np
import sympy as sp

from ..architecture.activations import activation_name
from ..architecture.network import Network, require_network
from ..arguments import number, numbers, whole
from ..duals.activation_moments import moments
from ..errors import BadData, UnknownName, shortened
from .tiles import Plan, fill, plan, processors
from .walks import Recursion

KERNELS = ("nngp", "ntk")


@dataclass(frozen=True, eq=False)
class NetworkKernels:
    """Covariance of the outputs at the start (`nngp`) and tangent kernel (`ntk`), float64; None if not asked for.

    `error`  largest relative error that the quadrature of an activation states; 0 where all have closed forms
    """

    nngp: Any = None
    ntk: Any = None
    error: float = 0.0


def infinite_width(
    network: Network,
    widths: Mapping[str, int] | None = None,
    *,
    memory: int | None = None,
    threads: int | None = None,
) -> "InfiniteWidth":
    """The kernels of a network whose hidden layers are infinitely wide.

    `widths`   widths by name: only the standard parameterization needs them, for the tangent kernel
    `memory`   bytes that a kernel matrix may take, half of the physical memory by default
    Errors: `BadData`, naming the layer and the reason, for networks without such a limit.

    Reference: Neal 1996; Lee et al. 2018 (arXiv:1711.00165); Jacot, Gabriel & Hongler 2018 (arXiv:1806.07572).

    >>> from ..architecture.constructors import activation, dense, serial
    >>> infinite_width(serial(activation("relu"), dense()))
    Traceback (most recent call last):
    ...
    learning_mechanics.theory.errors.BadData: activation1: an activation on features that are not Gaussian (...
    """
    require_network(network, "infinite_width")
    for name, value in (("memory", memory), ("threads", threads)):
        if value is not None:
            whole(value, name, "infinite_width", least=1)
    made = InfiniteWidth(network, _widths(network, widths), memory, threads)
    _ = made._recursion.facts  # refusals before any data
    return made


@dataclass(frozen=True)
class InfiniteWidth:
    """Call it on samples (n1, d), and on others (n2, d) if wanted, for kernels (n1, n2); symmetric on one set.

    `print` shows the recursion of every layer. See `infinite_width`.
    """

    network: Network
    widths: tuple[tuple[str, int], ...] = ()
    memory: int | None = None
    threads: int | None = None
    divisor: float = 0.0  # <x, x'> is divided by it; by the number of columns if 0

    @cached_property
    def _recursion(self) -> Recursion:
        return Recursion(self.network, self.widths, self.divisor)

    # ---- on samples -------------------------------------------------------------------------------------------------

    def __call__(
        self, x1: Any, x2: Any = None, get: Sequence[str] | str = KERNELS, out: Mapping[str, np.ndarray] | None = None
    ) -> NetworkKernels:
        """Kernels between all rows of x1 and x2, or of x1 with itself; `out` gives arrays to write into, by name.

        Errors: `BadData` for data that cannot be used, and before any work where memory does not suffice.
        """
        names = self._names(get)
        self._check(names)
        first = self._samples(x1, "x1")
        second = first if x2 is None else self._samples(x2, "x2", first)
        others = None if x2 is None else len(second)
        arranged = self._arranged(len(first), others, first.shape[1], names, out is not None)
        arranged.check()
        results, error = _results(names, (len(first), len(second)), out), 0.0
        if len(first) and len(second):
            left, own = self._recursion.sides(first, names)
            right = left if x2 is None else self._recursion.sides(second, names)[0]
            fill(arranged, self._recursion.blocks(first, second, left, right, names), results)
            if x2 is None:
                for result, diagonal in zip(results, own, strict=True):
                    np.fill_diagonal(result, diagonal)
            error = self._recursion.error(left, right)
        return _named(names, results, error)

    def diagonal(self, x: Any, get: Sequence[str] | str = KERNELS) -> NetworkKernels:
        """K(x, x) and Theta(x, x) of every row, (n,), by recursions in one index.

        >>> from ..architecture.constructors import activation, dense, serial
        >>> deep = serial(*[dense(2**0.5), activation("relu")] * 9, dense(2**0.5))
        >>> infinite_width(deep).diagonal(np.ones((1, 4))).ntk
        array([20.])
        """
        names = self._names(get)
        self._check(names)
        samples = self._samples(x, "x")
        values = self._recursion.sides(samples, names)[1] if len(samples) else [np.empty(0) for _ in names]
        return _named(names, values)

    def plan(self, n1: int, n2: int | None = None, d: int | None = None, get: Sequence[str] | str = KERNELS) -> Plan:
        """How a matrix would be computed, and the bytes it takes; networks on grids may need `d`, the columns."""
        return self._arranged(n1, n2, d or 1, self._names(get))

    def bytes(self, n1: int, n2: int | None = None, d: int | None = None, get: Sequence[str] | str = KERNELS) -> int:
        """Bytes of results and work for a matrix (n1, n2), or a symmetric one."""
        return self.plan(n1, n2, d, get).bytes

    # ---- as a function of the angle ---------------------------------------------------------------------------------

    def on_angles(self, theta: Any, q: float = 1.0, get: Sequence[str] | str = KERNELS) -> NetworkKernels:
        """Kernels of two inputs with <x, x>/d = q at the angles theta (m,), in [0, pi].

        Errors: `BadData` where the kernel is not a function of lengths and angles, as on grids.

        >>> from ..architecture.constructors import activation, dense, serial
        >>> net = serial(dense(), activation("relu"), dense(w_std=2**0.5))
        >>> infinite_width(net).on_angles([0.0, np.pi / 2]).ntk.round(6)
        array([2.     , 0.31831])
        """
        theta = np.atleast_1d(numbers(theta, "theta", "on_angles"))
        if theta.ndim != 1 or not ((theta >= 0) & (theta <= np.pi)).all():
            raise BadData(f"angles of shape {theta.shape}", where="on_angles", remedy="give (m,) numbers in [0, pi]")
        return self._of_gap(2 * np.sin(theta / 2) ** 2, 2 * np.cos(theta / 2) ** 2, q, get)

    def on_sphere(self, t: Any, q: float = 1.0, get: Sequence[str] | str = KERNELS) -> NetworkKernels:
        """Kernels of two inputs with <x, x>/d = q at the cosines t (m,), in [-1, 1]: see `on_angles`."""
        t = np.atleast_1d(numbers(t, "t", "on_sphere"))
        if t.ndim != 1 or not (np.abs(t) <= 1).all():
            raise BadData(f"cosines of shape {t.shape}", where="on_sphere", remedy="give (m,) numbers in [-1, 1]")
        return self._of_gap(1 - t, 1 + t, q, get)

    def symbolic(self, q: Any = 1) -> NetworkKernels:
        """Kernels of two inputs with <x, x>/d = q as SymPy expressions of t, their cosine.

        Errors: `NoClosedForm` for activations without a closed form and for operations on grids.
        """
        from .symbolic_kernel import symbolic_kernels

        return NetworkKernels(*symbolic_kernels(self.network, dict(self.widths), sp.sympify(q)))

    def as_kernel(self, kernel: str = "ntk") -> "NetworkKernel":
        """One of the two as a callable that gives arrays, for kernel regression.

        >>> from ..architecture.constructors import dense, serial
        >>> infinite_width(serial(dense())).as_kernel("nngp")(np.array([[1.0, 3.0]]))
        array([[5.]])
        """
        return NetworkKernel(self, self._names(kernel)[0])

    def __str__(self) -> str:
        from .symbolic_kernel import layer_by_layer

        return layer_by_layer(self.network, dict(self.widths))

    def _of_gap(self, gap: np.ndarray, rest: np.ndarray, q: float, get: Sequence[str] | str) -> NetworkKernels:
        names = self._names(get)
        if not self._recursion.of_angles:
            raise BadData(
                "a kernel that is not a function of lengths and angles",
                where="infinite_width",
                remedy="give samples: operations on grids, and means of the inputs, see single columns",
            )
        q = number(q, "q =", "infinite_width")
        self._check(names)
        d = dict(self.widths).get("input", 0)
        return _named(names, self._recursion.at(gap, rest, q, names, d))

    # ---- what is asked for ------------------------------------------------------------------------------------------

    def _names(self, get: Sequence[str] | str) -> tuple[str, ...]:
        names = (get,) if isinstance(get, str) or not np.iterable(get) else tuple(get)
        if not names:
            raise BadData("no kernel asked for", where="infinite_width", remedy='give get="nngp", get="ntk" or both')
        for name in names:
            if name not in KERNELS:
                raise UnknownName.among(name, KERNELS, kind="kernel", where="infinite_width")
        return tuple(name for name in KERNELS if name in names)

    def _check(self, names: Sequence[str]) -> None:
        if "ntk" not in names:
            return
        for node in self.network.nodes:
            if node.op == "activation" and not moments(node.activation).tangent:
                raise BadData(
                    f"the tangent kernel of {activation_name(node.activation)} is infinite where inputs coincide",
                    where=node.name,
                    remedy='ask for get="nngp", or smooth the activation',
                )

    def _samples(self, x: Any, name: str, like: np.ndarray | None = None) -> np.ndarray:
        samples = numbers(x, "", name, "give a float array (n, d)")
        if samples.ndim != 2 or samples.shape[1] == 0:
            raise BadData(f"shape {samples.shape}", where=name, remedy="give rows (n, d); reshape(...) lays out grids")
        if like is not None and samples.shape[1] != like.shape[1]:
            raise BadData(
                f"{samples.shape[1]} columns, and {like.shape[1]} in x1", where=name, remedy="give the same columns"
            )
        if not np.isfinite(samples).all():
            row, column = np.argwhere(~np.isfinite(samples))[0]
            raise BadData(f"{samples[row, column]} in row {row}, column {column}", where=name, remedy="drop the row")
        return samples

    def _arranged(self, n1: int, n2: int | None, d: int, names: Sequence[str], given: bool = False) -> Plan:
        threads = self.threads or processors()
        options: dict[str, Any] = {
            "entry": self._recursion.entry(d),
            "alive": self._recursion.alive,
            "threads": threads,
        }
        return plan(n1, n2, outputs=len(names), limit=self.memory, given=given, **options)


def _widths(network: Network, given: Any) -> tuple[tuple[str, int], ...]:
    """Widths by name, checked: names of this network, whole numbers from 1."""
    if given is not None and not isinstance(given, Mapping):
        raise BadData(f"widths = {given!r}", where="infinite_width", remedy="give them by name, as {'width': 512}")
    known = {width for width in network.widths().values() if isinstance(width, str)} | {"width", "input", "output"}
    for name in given or {}:
        if name not in known:
            raise UnknownName.among(name, known, kind="width", where="infinite_width")
    return tuple(sorted((name, whole(value, name, "widths", least=1)) for name, value in (given or {}).items()))


def one_kernel(kernel: Any, which: str = "ntk", where: str = "kernel") -> Callable[..., Any]:
    """A kernel as a function of samples: a network, or what `infinite_width` gives, stands for its `which` kernel.

    Errors: `BadData` for what is none of these and no function `k(x1, x2=None)` either.

    >>> from ..architecture.constructors import dense, serial
    >>> one_kernel(serial(dense()), "nngp")(np.array([[1.0, 3.0]]))
    array([[5.]])
    """
    if isinstance(kernel, Network):
        kernel = infinite_width(kernel)
    if isinstance(kernel, InfiniteWidth):
        return kernel.as_kernel(which)
    if not callable(kernel):
        remedy = "give a network, infinite_width(network), or a function k(x1, x2=None) of samples"
        raise BadData(f"a {type(kernel).__name__} is no kernel", where=where, remedy=remedy)
    return kernel


def _named(names: Sequence[str], values: Sequence[np.ndarray], error: float = 0.0) -> NetworkKernels:
    found = dict(zip(names, values, strict=True))
    return NetworkKernels(found.get("nngp"), found.get("ntk"), error)


def _results(names: Sequence[str], shape: tuple[int, int], out: Mapping[str, np.ndarray] | None) -> list[np.ndarray]:
    if out is None:
        return [np.empty(shape) for _ in names]
    for name in names:
        array = out.get(name)
        if not isinstance(array, np.ndarray) or array.shape != shape or array.dtype != np.float64:
            found = f"a {type(array).__name__}" if not isinstance(array, np.ndarray) else f"{array.dtype} {array.shape}"
            raise BadData(f"{found} for {name}", where="out", remedy=f"give float64 arrays of shape {shape} by name")
    return [out[name] for name in names]


@dataclass(frozen=True)
class NetworkKernel:
    """One kernel of an infinitely wide network as a callable on samples, for kernel regression; hashable.

    `which` is "ntk" or "nngp". See `InfiniteWidth.as_kernel`.
    """

    engine: InfiniteWidth
    which: str = "ntk"
    divides_by_dimension: ClassVar[bool] = True  # K = <x, x'> / d at the input: no need to scale samples

    @property
    def name(self) -> str:
        """What it is called in messages: the kernel and the layers."""
        layers = [
            activation_name(node.activation) if node.op == "activation" else node.op
            for node in self.engine.network.nodes
            if node.op != "input"
        ]
        return f"{self.which} of {shortened(layers, most=9)}"

    def __call__(self, x1: Any, x2: Any = None) -> np.ndarray:
        """The matrix (n1, n2), or the symmetric one."""
        return getattr(self.engine(x1, x2, self.which), self.which)

    def diagonal(self, x: Any) -> np.ndarray:
        """K(x, x) of every row, (n,)."""
        return getattr(self.engine.diagonal(x, self.which), self.which)

    def symbolic(self) -> sp.Expr:
        """The kernel of inputs with <x, x>/d = 1 as an expression of t, their cosine."""
        return getattr(self.engine.symbolic(), self.which)

    def __str__(self) -> str:
        return self.name
