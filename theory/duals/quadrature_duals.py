r"""Dual activations by quadrature, for any function of an array, with an error that is estimated and returned.

Hermite coefficients by Gauss-Legendre panels, and Mehler's formula: with phi(sqrt(q) z) = sum_k a_k(q) h_k(z),

    E phi(u) phi(v)  =  sum_k a_k(A) a_k(B) rho^k,     h_k = He_k / sqrt(k!),

one polynomial in the correlation for a whole matrix, symmetric by construction. What the truncated series lacks is
known, E phi^2 - sum_k a_k^2 (Parseval), and quadrature is repeated with another rule. Smooth functions reach rounding
error; the coefficients of functions with kinks decay slowly, and the error says so.

>>> law = Series(np.tanh)
>>> round(float(law.second(1.0)), 12)
0.394294490398
>>> law.error_at(1.0) < 1e-13 < 1e-3 < Series(lambda z: np.maximum(z - 0.3, 0)).error_at(1.0)
True
"""

import sys
from collections.abc import Callable
from functools import lru_cache
from threading import Lock

import numpy as np

from ..arguments import values_of
from ..errors import BadData

_REACH = 20.0  # integrals run over |z| <= this: exp(-z^2/4) is 4e-44 there
_ORDERS = (64, 128, 256, 512, 1024, 2048, 4096)
_TABLES = (512, 4096)  # orders of the tables kept, which smaller orders read: 12 and 94 MB
_FINEST = 20  # panels shrink to 2^-20 around zero, where activations of large arguments have their features
_POINTS, _OTHER = 24, 17  # nodes a panel; of the rule that checks it
_ROUNDING = 2e-16  # coefficients below this, relatively, are noise
_ENOUGH = 1e-17  # tails below this, relatively, are rounding
_CHUNK = 1 << 14  # entries worked on at a time, so that temporaries stay in cache
_UNRESOLVED = 0.05  # errors above this are refused
_KEPT = 1 << 23  # coefficients kept, of all variances asked for lately: 64 MB
_NEAR = 1e-4  # new gaps below this are summed without cancellation


@lru_cache(maxsize=2)
def _grid(points: int = _POINTS) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Nodes z, weights, and the square root of the normal density there."""
    small = 2.0 ** np.arange(-_FINEST, 0)
    edges = np.concatenate([[0.0], small, np.arange(1.0, _REACH + 0.25, 0.5)])
    nodes, weights = np.polynomial.legendre.leggauss(points)
    width = np.diff(edges)[:, None]
    z = (edges[:-1, None] + width * (nodes + 1) / 2).ravel()
    w = (width * weights / 2).ravel()
    z, w = np.concatenate([-z[::-1], z]), np.concatenate([w[::-1], w])
    return z, w, np.exp(-(z**2) / 4) / (2 * np.pi) ** 0.25


def _hermite_functions(order: int, points: int = _POINTS) -> np.ndarray:
    """Weights times h_k(z) times the square root of the normal density, (order + 1, nodes)."""
    kept = next((top for top in _TABLES if order <= top), order)
    return _table(kept, points)[: order + 1]


@lru_cache(maxsize=3)
def _table(order: int, points: int) -> np.ndarray:
    z, w, root = _grid(points)
    table = np.empty((order + 1, len(z)))
    table[0] = root
    table[1] = z * root
    for k in range(1, order):
        table[k + 1] = (z * table[k] - np.sqrt(k) * table[k - 1]) / np.sqrt(k + 1)
    return table * w


class Series:
    """Moments of one function of arrays by its Hermite coefficients; see `activation_moments.Moments` for the methods.

    `has_slope` is False where E phi'^2 diverges: the coefficients of a function with a jump decay too slowly.
    Errors: `BadData` where the function gives no finite numbers on the grid.
    """

    def __init__(self, function: Callable, name: str = "the function"):
        self.function, self.name = function, name
        self._orders: dict[int, int] = {}
        self._errors: dict[int, float] = {}
        self._recent: dict[tuple[int, bytes], tuple[np.ndarray, np.ndarray]] = {}
        self._lock = Lock()

    # ---- coefficients ------------------------------------------------------------------------------------------------

    def _values(self, q: np.ndarray, points: int = _POINTS) -> np.ndarray:
        """phi(sqrt(q) z) times the square root of the density, (len(q), nodes)."""
        z, _, root = _grid(points)
        with np.errstate(all="ignore"):
            found = self._called(np.sqrt(q)[:, None] * z)
            self._rounding = float(np.finfo(found.dtype).eps) if found.dtype.kind == "f" else 2.0**-52
            values = np.broadcast_to(np.asarray(found, float) * root, (len(q), len(z)))
        finite = np.isfinite(values).all(axis=1)
        # what is left of the integrand at the ends of the grid
        if not finite.all() or (np.abs(values[:, [0, -1]]) > 1e-10 * np.abs(values).max(axis=1, keepdims=True)).any():
            row = int(np.argmin(finite)) if not finite.all() else int(np.argmax(np.abs(values[:, [0, -1]]).max(axis=1)))
            raise BadData(
                f"it has no finite moments, or none that quadrature finds, at variance {q[row]:.3g}",
                where=f"activation {self.name}",
                remedy="make weights or inputs smaller, or give a function that grows more slowly",
            )
        return values

    def _called(self, x: np.ndarray) -> np.ndarray:
        """The function on an array, by JAX in double precision where JAX computes it. Errors: `BadData`."""
        where, remedy = f"activation {self.name}", "give a function of an array: real numbers of the same shape"
        found = values_of(self.function, x, where, remedy)
        jax = sys.modules.get("jax")  # its functions round to 32 bits unless told otherwise
        if found.dtype.itemsize < 8 and jax is not None:
            with jax.enable_x64(True):
                found = values_of(self.function, x, where, remedy)
        if found.shape not in ((), x.shape):
            raise BadData(f"values of shape {found.shape} for an array {x.shape}", where=where, remedy=remedy)
        return found

    def _order(self, q: float) -> int:
        """The smallest order whose upper quarter is rounding at this variance and those just below; or the largest."""
        octave = int(np.ceil(np.log2(max(q, 2.0**-20))))
        if octave not in self._orders:
            values = self._values(np.array([2.0**octave]))
            for order in _ORDERS:
                weighted = np.arange(order + 1) ** 2 * (values @ _hermite_functions(order).T)[0] ** 2
                if weighted[-order // 4 :].sum() <= _ENOUGH * weighted.sum():
                    break
            self._orders[octave] = order
        return self._orders[octave]

    def coefficients(self, q: np.ndarray, least: int = 0) -> tuple[np.ndarray, np.ndarray]:
        """(a_k(q), E phi^2), of shapes (len(q), order + 1) and (len(q),); the last few answers are kept.

        `least` is an order that is reached at least, for products with the coefficients at another variance.
        """
        order = max(self._order(float(q.max())), least)
        key = order, q.tobytes()
        known = self._recent.get(key)
        if known is None:
            unique, back = np.unique(q, return_inverse=True)
            table = _hermite_functions(order)
            w = _grid()[1]
            a, second = np.empty((len(unique), len(table))), np.empty(len(unique))
            for start in range(0, len(unique), 256):
                part = slice(start, start + 256)
                values = self._values(unique[part])
                a[part], second[part] = values @ table.T, np.square(values) @ w
            a[unique == 0, 1:] = 0.0
            a[np.abs(a) < _ROUNDING * np.sqrt(second)[:, None]] = 0.0
            for other in (0, 1):  # even and odd functions exactly so
                if np.square(a[:, other::2]).sum() <= 1e-29 * second.sum():
                    a[:, other::2] = 0.0
            a = a[:, : _length(a)]
            found = np.ascontiguousarray(a[back]), second[back]
            with self._lock:
                while self._recent and sum(x.size for x, _ in self._recent.values()) + a.size > _KEPT:
                    self._recent.pop(next(iter(self._recent)))
                self._recent[key] = found
            return found
        return known

    # ---- one variance ------------------------------------------------------------------------------------------------

    def _each(self, q, reduce: Callable) -> np.ndarray:
        q = np.asarray(q, float)
        if not q.size:
            return np.zeros(q.shape)
        return np.asarray(reduce(*self.coefficients(q.ravel()), q.ravel()), float).reshape(q.shape)

    def second(self, q):
        return self._integral(q, lambda values: np.square(values) @ _grid()[1])

    def mean(self, q):
        return self._integral(q, lambda values: values @ (_grid()[1] * _grid()[2]))

    def _integral(self, q, integral: Callable) -> np.ndarray:
        q = np.asarray(q, float)
        unique, back = np.unique(q, return_inverse=True)
        parts = [integral(self._values(unique[k : k + 256])) for k in range(0, len(unique), 256)]
        return np.concatenate([np.empty(0), *parts])[back].reshape(q.shape)

    def slope(self, q):
        return self._each(q, lambda a, second, q: self._derivatives(a, second, q, 1))

    def curvature(self, q):
        return self._each(q, lambda a, second, q: self._derivatives(a, second, q, 2))

    def _derivatives(self, a: np.ndarray, second: np.ndarray, q: np.ndarray, order: int) -> np.ndarray:
        """E (phi^(order))^2 = sum_k k (k-1)... a_k^2 / q^order; at q = 0 in the limit; inf where the sum diverges."""
        found = np.empty(len(q))
        zero = q < _TINY
        if zero.any():
            found[zero] = self._derivatives(*self.coefficients(np.array([_TINY])), np.array([_TINY]), order)
        k = np.arange(a.shape[1], dtype=float)
        weight = k if order == 1 else k * (k - 1)
        for row in np.flatnonzero(~zero):
            energy = weight * np.square(a[row])
            found[row] = np.inf if np.isinf(self._tail(energy, second[row])) else energy.sum() / q[row] ** order
        return found

    def _tail(self, energy: np.ndarray, second: float) -> float:
        """What a sum of positive numbers lacks beyond the largest order, by its last octaves; inf where it diverges."""
        n = len(energy)
        upper, lower = energy[n // 2 :].sum(), energy[n // 4 : n // 2].sum()
        noise = 1e-13 * energy.sum() + 1e-31 * n**3 * second
        if n <= 3 * _ORDERS[-1] // 4 or upper <= noise:
            return 0.0
        return np.inf if upper > 0.97 * lower else float(upper * upper / (lower - upper))

    @property
    def at_zero(self) -> float:
        with np.errstate(all="ignore"):
            return float(self._called(np.zeros(1)).ravel()[0])

    @property
    def has_slope(self) -> bool:
        return bool(np.isfinite(self.slope(1.0)))

    def hermite(self, q, order):
        if order < _ORDERS[-1]:
            a = self.coefficients(np.array([float(q)]))[0][0]
            if len(a) > order:
                return a[: order + 1].copy()
        return (self._values(np.array([float(q)])) @ _hermite_functions(order).T)[0]

    def error_at(self, q):
        """Relative error of E phi phi or, if larger, of E phi' phi', at this variance and any correlation."""
        q = np.array([float(q)])
        a, second = self.coefficients(q)
        values, w = self._values(q, _OTHER), _grid(_OTHER)[1]
        check = (values @ _hermite_functions(32, _OTHER).T)[0]
        known = np.pad(a[0], (0, 33))[:33]
        size = np.sqrt(second[0])
        if size == 0:
            return 0.0
        slope = np.arange(a.shape[1]) * np.square(a[0])
        parts = [
            abs(1 - np.square(a[0]).sum() / second[0]),
            abs(1 - np.square(values) @ w / second[0]).item(),
            np.abs(check - known).max() / size,
            self._tail(slope, second[0]) / slope.sum() if self.has_slope and slope.any() else 0.0,
            self._rounding,
        ]
        return float(max(parts))

    def _refuse_unresolved(self, q: float) -> None:
        """Errors: `BadData` where the largest order leaves more than a twentieth of the numbers at this variance."""
        octave = int(np.ceil(np.log2(max(q, 1.0))))
        if octave not in self._errors:
            self._errors[octave] = self.error_at(2.0**octave)
        if self._errors[octave] > _UNRESOLVED:
            raise BadData(
                f"its series is off by {self._errors[octave]:.0%} at variance {2.0**octave:.3g}",
                where=f"activation {self.name}",
                remedy="make weights or inputs smaller, or take an activation with a closed form, such as erf or sign",
            )

    def turning(self, q: np.ndarray) -> np.ndarray:
        """E (d phi^ / d log q)^2 of phi^ = phi(sqrt(q) z) / sqrt(E phi^2), by differences of fourth order."""
        unique, back = np.unique(q, return_inverse=True)
        step, found, w = 1e-3, np.empty(len(unique)), _grid()[1]
        for start in range(0, len(unique), 128):
            part = unique[start : start + 128]
            change: np.ndarray | float = 0.0
            for shift, weight in ((-2, 1 / 12), (-1, -2 / 3), (1, 2 / 3), (2, -1 / 12)):
                values = self._values(part * np.exp(shift * step))
                change = change + weight * values / np.sqrt(np.square(values) @ w)[:, None]
            found[start : start + 128] = np.square(change / step) @ w
        return found[back]

    # ---- two variances and a gap -------------------------------------------------------------------------------------

    def pair(self, a, b, gap, want_slope=True):
        a, b, gap = (np.asarray(entry, float) for entry in (a, b, gap))
        shape = np.broadcast_shapes(a.shape, b.shape, gap.shape)
        if not shape or not np.prod(shape):
            empty = bool(shape)
            found, slope = (np.empty(shape), np.empty(shape)) if empty else self.pair(a[None], b[None], gap[None])
            return (found, slope if want_slope else None) if empty else (found[0], slope[0] if want_slope else None)
        a, b = (entry.ravel()[:1].reshape((1,) * len(shape)) if _constant(entry) else entry for entry in (a, b))
        found, slope = np.empty(shape), np.empty(shape) if want_slope else None
        rows = max(1, _CHUNK // max(1, int(np.prod(shape[1:]))))
        self._refuse_unresolved(float(max(a.max(), b.max())))
        least = self._order(float(max(a.max(), b.max())))
        left, right = self._normalised(a, least), self._normalised(b, least)
        order = min(len(left[0]), len(right[0]))
        for start in range(0, shape[0], rows):
            part = slice(start, start + rows)
            c, d = ([_rows(x, len(shape), part) for x in side] for side in (left, right))
            here = np.clip(_rows(gap, len(shape), part), 0, 2)
            self._fill(c, d, here, found[part], None if slope is None else slope[part], order)
        return found, slope

    def _normalised(self, q: np.ndarray, least: int) -> tuple[np.ndarray, ...]:
        """Unit vectors a_k / |a| as (order + 1, shape of q); then |a|, |a| / sqrt(E phi^2) and sqrt(q)."""
        a, second = self.coefficients(np.maximum(q, _TINY).ravel(), least)
        norm = np.sqrt(np.square(a).sum(axis=1))
        safe = np.where(norm > 0, norm, 1.0)
        unit = np.ascontiguousarray((a / safe[:, None]).T)
        whole = np.where(second > 0, norm / np.where(second > 0, np.sqrt(second), 1.0), 1.0)
        norm[(q.ravel() == 0) & (self.at_zero == 0)] = 0.0
        root = np.sqrt(np.maximum(q, _TINY))
        return unit.reshape(-1, *q.shape), norm.reshape(q.shape), whole.reshape(q.shape), root

    def _fill(self, left, right, gap, found, slope, order) -> None:
        """One block of `pair`, into its part of the outputs: Horner in rho, or rho^2 for even and odd functions."""
        (c, size_c, whole_c, root_c), (d, size_d, whole_d, root_d) = left, right
        rho = np.broadcast_to(1 - gap, found.shape)
        size = (np.abs(x[:order]).reshape(order, -1).max(axis=1) for x in (c, d))
        powers = np.maximum(np.arange(order) - 1, 0)  # of the slope, which keeps a term where rho is zero everywhere
        size = np.multiply(*size) * np.arange(1, order + 1) * max(rho.max(), -rho.min()) ** powers
        used = np.flatnonzero(np.cumsum(size[::-1])[::-1] > _ENOUGH * size.max()) if size.any() else np.arange(0)
        used = used[size[used] > 0]
        stride, first = (2, int(used[0]) % 2) if len(used) and (used % 2 == used[0] % 2).all() else (1, 0)
        x = rho * rho if stride == 2 else rho
        value, change, term = np.zeros(found.shape), np.zeros(found.shape), np.empty(found.shape)
        last = int(used[-1]) if len(used) else -1
        for k in range(last, first - 1, -stride):
            if slope is not None:
                change *= x
                change += value
            value *= x
            np.multiply(c[k], d[k], out=term)
            value += term
        if slope is not None:  # d/d rho of value(rho^stride) rho^first, times what normalised it
            slope[...] = change if stride == 1 else 2 * rho ** (first + 1) * change + first * value
            slope *= size_c / root_c * (size_d / root_d)
        if first:
            value *= rho
        near = value > 1 - _NEAR
        if min(whole_c.min(), whole_d.min()) < 1 - 1e-14:  # far from coincidence what the series lacks is uncorrelated
            value *= whole_c * whole_d
        np.subtract(1, value, out=found)
        if near.any():
            size = np.maximum(*(np.abs(x[:order]).reshape(order, -1).max(axis=1) for x in (c, d)))
            matter = np.flatnonzero(np.cumsum(np.square(size[::-1]))[::-1] > _ENOUGH)
            found[near] = _summed(c, d, gap, near, int(matter[-1]) + 1)
        scale = size_c * size_d
        if not scale.all():
            np.copyto(found, gap, where=scale == 0)


_TINY = 1e-12  # stands for a variance of zero


def _length(a: np.ndarray) -> int:
    """How many coefficients matter, for the slope too: beyond, k |a_k| sums to rounding."""
    size = np.abs(a) * np.arange(1, a.shape[1] + 1)
    beyond = np.cumsum(size[:, ::-1], axis=1)[:, ::-1]
    return max(1, int(np.count_nonzero((beyond > _ENOUGH * beyond[:, :1]).any(axis=0))))


def _constant(entry: np.ndarray) -> bool:
    return bool((entry == entry.ravel()[0]).all())


def _rows(entry: np.ndarray, dimensions: int, part) -> np.ndarray:
    """The rows `part` of an array that broadcasts to so many dimensions; coefficients have one more, in front."""
    if entry.ndim == dimensions:
        return entry[part] if entry.shape[0] > 1 else entry
    return entry[:, part] if entry.ndim == dimensions + 1 and entry.shape[1] > 1 else entry


def _summed(c, d, gap, near, order) -> np.ndarray:
    """1 - sum_k c_k d_k rho^k of unit vectors c, d: |c - d|^2 / 2 + gap sum_k c_k d_k (1 + rho + ... + rho^(k-1))."""
    dense = near.mean() > 0.2  # gathering costs more than the entries it spares
    places: tuple = (slice(None), slice(None))
    if dense:
        gap = np.broadcast_to(gap, near.shape)
    else:
        where = np.nonzero(near)
        places = tuple(tuple(i if n > 1 else 0 * i for i, n in zip(where, x.shape[1:], strict=True)) for x in (c, d))
        gap = np.broadcast_to(gap, near.shape)[near]
    rho, weight, apart, total = 1 - gap, np.zeros(gap.shape), np.zeros(gap.shape), np.zeros(gap.shape)
    work = np.empty(gap.shape)
    for k in range(order - 1, -1, -1):
        total *= rho
        total += weight
        if c[k].any() or d[k].any():
            s, t = c[k][places[0]], d[k][places[1]]
            weight += np.multiply(s, t, out=work)
            np.subtract(s, t, out=work)
            work *= work
            apart += work
    found = apart / 2 + gap * total
    return found[near] if dense else found
