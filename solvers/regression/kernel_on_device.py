r"""Kernels of infinitely wide networks on an accelerator: the same recursion, compiled by JAX.

What single samples know of themselves (variances, means, expansion coefficients) is computed by NumPy as ever and sent
over; every entry of the matrix is then a chain of elementwise rules, which JAX joins into few passes. The gap
1 - cos is carried as there, so nearly equal inputs keep their digits, in float32 too. Activations are two half lines,

    gap' = (alpha^2 gap + beta^2 g(gap)) / (alpha^2 + beta^2),    phi(z) = alpha z + beta |z|,

or Hermite series, whose gap 1/2 sum (a_k - b_k)^2 + sum a_k b_k (1 - rho^k) has no cancellation either.

>>> from ...theory.architecture.constructors import activation, dense, serial
>>> from ...theory.infinite_width.network_kernel import infinite_width
>>> kernel = on_device(infinite_width(serial(dense(), activation("relu"), dense(w_std=2**0.5))))
>>> kernel(np.eye(2)).ntk.round(4)
array([[1.    , 0.1592],
       [0.1592, 1.    ]])
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache
from typing import Any

import numpy as np
import sympy as sp

from ...theory.architecture.activations import activation_name, formula
from ...theory.architecture.network import Network, Node
from ...theory.duals.activation_moments import moments
from ...theory.duals.quadrature_duals import Series
from ...theory.errors import BadData, UnknownName
from ...theory.infinite_width.covariances import Side, variances
from ...theory.infinite_width.directions import NEAR
from ...theory.infinite_width.network_kernel import KERNELS, InfiniteWidth, NetworkKernels, infinite_width
from ...theory.infinite_width.walks import Recursion
from ..precision import double_precision

DTYPES = ("float64", "float32")
WORK = 1 << 30  # bytes that the arrays of one block may take on the device
ALIVE = 12  # arrays of the size of a block at a time
_TERMS, _LACKS = 2048, 1e-13  # of a Hermite series: the most terms, and the share of E phi^2 it may leave out


def on_device(kernel: InfiniteWidth, device: Any = None, dtype: str = "float64") -> "OnDevice":
    """The same kernels, computed by JAX on `device` (a `jax.Device`; the default one if None) in float64 or float32.

    Errors: `BadData`, naming the layer, for operations on grids and activations whose series is too long.
    """
    if isinstance(kernel, Network):
        kernel = infinite_width(kernel)
    if not isinstance(kernel, InfiniteWidth):
        raise BadData(f"a {type(kernel).__name__}", where="on_device", remedy="give a network or infinite_width(net)")
    dtype = getattr(dtype, "__name__", str(dtype))  # np.float32 by its name
    if dtype not in DTYPES:
        raise UnknownName.among(dtype, DTYPES, kind="precision", where="on_device")
    device = _found(device)
    made = OnDevice(kernel, device, dtype)
    for node in kernel.network.nodes:
        if node.op not in _RULES:
            raise BadData(f"the operation {node.op}", where=node.name, remedy="use infinite_width(net) itself")
        if node.op == "activation" and node.activation != "identity" and not _half_lines(node.activation):
            _expanded(node, np.ones(1))
    return made


def _found(device: Any) -> Any:
    import jax

    try:
        return jax.devices(device)[0] if isinstance(device, str) else device
    except RuntimeError:
        raise UnknownName.among(device, {d.platform for d in jax.devices()}, kind="device", where="on_device") from None


@dataclass(frozen=True)
class OnDevice:
    """Call it on samples (n1, d), and on others if wanted, for NumPy arrays (n1, n2) of the stated precision."""

    kernel: InfiniteWidth
    device: Any = None
    dtype: str = "float64"

    def __call__(self, x1: Any, x2: Any = None, get: Sequence[str] | str = KERNELS) -> NetworkKernels:
        """Kernels between all rows of x1 and x2, or of x1 with itself; rows of results are computed block by block."""
        import jax

        asked = self.kernel._names(get)
        own = self.kernel.diagonal(x1, asked)  # refuses data and names that cannot be used
        names = tuple(name for name in KERNELS if name in asked)
        first = np.asarray(x1, float)
        second = first if x2 is None else self.kernel._samples(x2, "x2", first)
        if x2 is not None:
            self.kernel.diagonal(second[:1], asked)
        if first.shape[1] != second.shape[1]:
            raise BadData(f"{first.shape[1]} and {second.shape[1]} columns", where="on_device", remedy="give the same")
        results = [np.empty((len(first), len(second)), self.dtype) for _ in names]
        scope = double_precision() if self.dtype == "float64" else jax.default_matmul_precision("highest")
        if len(first) and len(second):
            with scope:
                right = jax.device_put(self._sent(second, names), self.device)
                rows = int(np.clip(WORK // (8 * ALIVE * len(second)), 1, len(first)))
                left = self._sent(first, names)
                for start in range(0, len(first), rows):
                    start = min(start, len(first) - rows)  # blocks of one shape: the last one overlaps
                    here = jax.device_put(jax.tree.map(lambda a: a[start : start + rows], left), self.device)  # noqa: B023
                    for result, block in zip(results, self._compiled[names](here, right), strict=True):
                        result[start : start + rows] = block
        if x2 is None:
            for name, result in zip(names, results, strict=True):
                np.fill_diagonal(result, getattr(own, name))
        if not all(np.isfinite(result).all() for result in results):
            remedy = 'use dtype="float64"' if self.dtype == "float32" else "lower w_std or the depth"
            raise BadData(f"an entry overflows in {self.dtype}", where="on_device", remedy=remedy)
        return NetworkKernels(**dict(zip(names, results, strict=True)))  # type: ignore[arg-type]

    def diagonal(self, x: Any, get: Sequence[str] | str = KERNELS) -> NetworkKernels:
        """K(x, x) and Theta(x, x) of every row, (n,): one recursion a sample, as on the processor."""
        return self.kernel.diagonal(x, get)

    @cached_property
    def _recursion(self) -> Recursion:
        return Recursion(self.kernel.network, self.kernel.widths, self.kernel.divisor)

    @cached_property
    def _compiled(self) -> dict[tuple[str, ...], Callable]:
        import jax

        return {
            names: jax.jit(lambda left, right, names=names: self._block(left, right, names))
            for names in (("nngp",), ("ntk",), KERNELS)
        }

    def _sent(self, x: np.ndarray, names: tuple[str, ...]) -> dict[str, dict[str, np.ndarray]]:
        """Arrays (samples, ...) of every node that its rule needs beside the gap, in the precision of the device."""
        sides, _ = self._recursion.sides(x, names)
        found: dict[str, dict[str, np.ndarray]] = {}
        for node in self.kernel.network.nodes:
            before = [sides[name] for name in node.inputs]
            needed = {"root": np.sqrt(sides[node.name].variance)} if node.name in sides else {}
            if node.op == "input":
                needed["unit"] = sides[node.name].extra
            elif node.op == "dense":
                needed |= _shares({"weight": variances(node)[0] * before[0].variance, "bias": variances(node)[1]})
            elif node.op == "activation" and node.activation != "identity" and not _half_lines(node.activation):
                needed |= _expanded(node, before[0].variance)
            elif node.op == "sum":
                needed |= _summed(self._recursion.facts[node.name].terms, sides)
            elif node.op == "layer_norm":
                needed |= _centred(before[0])
                mean = before[0].mean
                spread = before[0].variance - (0 if mean is None else mean**2)
                needed["norm"] = 1 / np.sqrt(spread + node.epsilon)
            found[node.name] = {name: np.ascontiguousarray(array, self.dtype) for name, array in needed.items()}
        return found

    def _block(self, left: dict, right: dict, names: tuple[str, ...]) -> list[Any]:
        """Kernels of one block, traced by JAX: the states are (gap, 2 - gap or None, tangent or None, roots)."""
        recursion = self._recursion
        states: dict[str, _State] = {}
        columns = left[self.kernel.network.inputs[0]]["unit"].shape[1]
        fan_in = recursion.fan_in(columns) if "ntk" in names else {}
        for node in self.kernel.network.nodes:
            here, there = left[node.name], right[node.name]
            inputs: list[Any] = [states[name] for name in node.inputs]
            if node.op == "sum":
                inputs = [(states[name], factor) for name, factor in recursion.facts[node.name].terms]
            states[node.name] = _RULES[node.op](node, inputs, here, there, fan_in, "ntk" in names)
        end = states[self.kernel.network.outputs[0]]
        return [end.covariance() if name == "nngp" else end.tangent for name in names]


def _expanded(node: Node, variance: np.ndarray) -> dict[str, np.ndarray]:
    """Hermite coefficients at every variance, normalised, and those of the derivative; too long a series is refused."""
    a, second = _series(node.activation).coefficients(variance)
    a = np.pad(a, ((0, 0), (0, max(0, 2 - a.shape[1]))))
    square = np.square(a).sum(axis=1)
    lacks = float(np.max(1 - square[second > 0] / second[second > 0], initial=0.0))
    if a.shape[1] > _TERMS or lacks > _LACKS:
        raise BadData(
            f"a Hermite series of {activation_name(node.activation)} of {a.shape[1]} terms that lacks {lacks:.1g}",
            where=node.name,
            remedy="use infinite_width(net) itself",
        )
    length, root = np.sqrt(square)[:, None], np.sqrt(variance)[:, None]
    return {
        "series": a / np.where(length > 0, length, 1.0),
        "steep": a[:, 1:] * np.sqrt(np.arange(1, a.shape[1])) / np.where(root > 0, root, 1.0),
    }


@lru_cache(maxsize=32)
def _series(activation: Any) -> Series:
    law = formula(activation)
    function = sp.lambdify(law.signature[0], law.expr, ["scipy", "numpy"]) if law is not None else activation
    return Series(function, activation_name(activation))


@dataclass(frozen=True)
class _State:
    gap: Any
    rest: Any  # 2 - gap, where it has digits that gap has not
    tangent: Any
    roots: tuple[Any, Any]

    def covariance(self):
        return (1 - self.gap) * _outer(*self.roots)


def _outer(p, q):
    return p[:, None] * q[None, :]


def _direct_sum(here, there, parts):
    """The gap of a sum of independent parts, named with their gaps: see `theory.infinite_width.covariances`."""
    gap = 0.0
    for name, own in parts:
        p, q = here[name][:, None], there[name][None, :]
        gap = gap + (p - q) ** 2 / 2 + (0 if own is None else p * q * own)
    return gap


def _shares(parts: dict[str, Any]) -> dict[str, np.ndarray]:
    total = sum(parts.values())
    total = np.where(total > 0, total, 1.0)
    return {name: np.sqrt(part / total) for name, part in parts.items()}


def _centred(side: Side, name: str = "") -> dict[str, np.ndarray]:
    """Mean and what is left after it, both relative to the root of the variance; nothing without a mean."""
    if side.mean is None:
        return {}
    root = np.sqrt(side.variance)
    ratio = side.mean / np.where(root > 0, root, 1.0)
    return {f"ratio{name}": ratio, f"left{name}": np.sqrt(np.maximum(1 - ratio**2, 0))}


def _centred_gap(gap, here, there, name=""):
    import jax.numpy as jnp

    if f"ratio{name}" not in here:
        return gap
    r, s = here[f"ratio{name}"][:, None], there[f"ratio{name}"][None, :]
    product = _outer(here[f"left{name}"], there[f"left{name}"])
    less = (r - s) ** 2 / jnp.maximum(1 - r * s + product, jnp.finfo(gap.dtype).tiny)
    return (gap - less) / jnp.where(product > 0, product, 1)


def _summed(terms, sides) -> dict[str, np.ndarray]:
    """Shares of the parts of a sum, their mean beside them where several parts have one."""
    several = sum(sides[name].mean is not None for name, _ in terms) > 1
    parts: dict[str, Any] = {}
    needed: dict[str, np.ndarray] = {}
    for k, (name, factor) in enumerate(terms):
        side = sides[name]
        mean = side.mean if several and side.mean is not None else 0.0
        parts[f"part{k}"] = factor**2 * np.maximum(side.variance - mean**2, 0)
        if several:
            needed |= _centred(side, str(k))
    if several:
        total = sum(factor * sides[name].mean for name, factor in terms if sides[name].mean is not None)
        parts["mean"], needed["sign"] = total**2, np.sign(total)
    return needed | _shares(parts)


# ---- rules: gap and tangent of a node from those of its inputs, and the arrays of single samples --------------------


def _input(node, inputs, here, there, fan_in, tangents):
    import jax
    import jax.numpy as jnp

    u, v = here["unit"], there["unit"]
    cosine = u @ v.T

    def near(sign):
        """1 - sign x cosine; from differences of rows in blocks where some rows are nearly equal."""
        plain = jnp.clip(1 - sign * cosine, 0, 2)
        exact = lambda: jnp.where(plain < NEAR, jnp.square(u[:, None] - sign * v[None]).sum(-1) / 2, plain)  # noqa: E731
        return jax.lax.cond((plain < NEAR).any(), exact, lambda: plain)

    return _State(near(1), near(-1), None, (here["root"], there["root"]))


def _dense(node, inputs, here, there, fan_in, tangents):
    (before,) = inputs
    weight, bias = variances(node)
    gap, rest = before.gap, before.rest
    if bias:
        gap, rest = _direct_sum(here, there, [("weight", gap), ("bias", None)]), None
    tangent = None
    if tangents:
        covariance = before.covariance()
        if node.parameterization == "standard":
            tangent = covariance * fan_in[node.name] + bool(node.bias)
        else:
            tangent = covariance * weight + bias
        if before.tangent is not None:
            tangent = tangent + weight * before.tangent
    return _State(gap, rest, tangent, (here["root"], there["root"]))


def _activation(node, inputs, here, there, fan_in, tangents):
    (before,) = inputs
    if node.activation == "identity":
        return before
    kind = _half_lines(node.activation)
    gap, slope = _bent(before, *kind) if kind else _expanded_pair(before.gap, here, there)
    tangent = None if before.tangent is None else slope * before.tangent
    return _State(gap, None, tangent, (here["root"], there["root"]))


def _bent(before, odd, even):
    """Of alpha z + beta |z|: gap, and slope alpha^2 + beta^2 (1 - 2 theta / pi), with odd = alpha^2, even = beta^2."""
    import jax.numpy as jnp

    gap = before.gap
    rest = 2 - gap if before.rest is None else before.rest
    theta = 2 * jnp.arctan2(jnp.sqrt(gap), jnp.sqrt(jnp.maximum(rest, 0)))
    sine = jnp.sqrt(gap * jnp.maximum(rest, 0))
    reflected = 2 * jnp.arctan2(jnp.sqrt(jnp.maximum(rest, 0)), jnp.sqrt(gap))  # pi - theta
    # |z| sees the smaller of the angles to x and to -x
    small, near = jnp.minimum(theta, reflected), jnp.minimum(gap, rest)
    bent = near - 2 / np.pi * (sine - small * (1 - near))
    steep = jnp.where(theta <= reflected, 1 - 2 * theta / np.pi, 2 * reflected / np.pi - 1)
    return (odd * gap + even * bent) / (odd + even), odd + even * steep


def _expanded_pair(gap, here, there):
    """Of a Hermite series: 1/2 sum (a_k - b_k)^2 + sum a_k b_k (1 - rho^k), and the slope sum k a_k b_k rho^(k-1)."""
    import jax
    import jax.numpy as jnp

    rows, columns = ((side["series"], side["steep"]) for side in (here, there))
    terms = max(rows[0].shape[1], columns[0].shape[1])
    a, b = (jnp.pad(side[0], ((0, 0), (0, terms - side[0].shape[1]))).T for side in (rows, columns))
    c, d = (jnp.pad(side[1], ((0, 0), (0, terms - 1 - side[1].shape[1]))).T for side in (rows, columns))
    rho = 1 - gap

    def step(k, carried):
        found, slope, power, lacking = carried  # rho^k and 1 - rho^k
        slope = slope + _outer(c[k], d[k]) * power
        lacking, power = lacking + power * gap, power * rho
        p, q = a[k + 1][:, None], b[k + 1][None, :]
        return found + (p - q) ** 2 / 2 + p * q * lacking, slope, power, lacking

    p, q = a[0][:, None], b[0][None, :]
    start = ((p - q) ** 2 / 2 + 0 * gap, jnp.zeros_like(gap), jnp.ones_like(gap), jnp.zeros_like(gap))
    found, slope, _, _ = jax.lax.fori_loop(0, terms - 1, step, start)
    return found, slope


def _sum(node, inputs, here, there, fan_in, tangents):
    parts, tangent = [], None
    for k, (state, factor) in enumerate(inputs):
        parts.append((f"part{k}", _centred_gap(state.gap, here, there, str(k))))
        if state.tangent is not None:
            tangent = factor**2 * state.tangent if tangent is None else tangent + factor**2 * state.tangent
    if "sign" in here:
        parts.append(("mean", 1 - _outer(here["sign"], there["sign"])))
    gap = parts[0][1] if len(parts) == 1 else _direct_sum(here, there, parts)
    return _State(gap, None, tangent, (here["root"], there["root"]))


def _product(node, inputs, here, there, fan_in, tangents):
    made = inputs[0]
    for other in inputs[1:]:
        gap = made.gap + other.gap - made.gap * other.gap
        tangent: Any = None
        for one, two in ((made, other), (other, made)):
            if one.tangent is not None:
                term = one.tangent * two.covariance()
                tangent = term if tangent is None else tangent + term
        made = _State(gap, None, tangent, tuple(p * q for p, q in zip(made.roots, other.roots, strict=True)))
    return made


def _layer_norm(node, inputs, here, there, fan_in, tangents):
    (before,) = inputs
    tangent = None if before.tangent is None else before.tangent * _outer(here["norm"], there["norm"])
    rest = None if "ratio" in here else before.rest
    return _State(_centred_gap(before.gap, here, there), rest, tangent, (here["root"], there["root"]))


def _half_lines(activation: Any) -> tuple[float, float] | None:
    """(alpha^2, beta^2) of an activation alpha z + beta |z|, which is one that doubles with its argument; else None."""
    law = moments(activation)
    if not law.homogeneous or abs(float(law.second(4.0)) - 4 * float(law.second(1.0))) > 1e-12 * float(law.second(1.0)):
        return None
    even = np.pi / 2 * float(law.mean(1.0)) ** 2
    return float(law.second(1.0)) - even, even


_RULES: dict[str, Callable] = {
    "input": _input,
    "dense": _dense,
    "activation": _activation,
    "sum": _sum,
    "product": _product,
    "layer_norm": _layer_norm,
}
