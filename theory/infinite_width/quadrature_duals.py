r"""Dual activations by quadrature, for any function of an array, with an error that is estimated and returned.

Hermite coefficients on a fixed grid of Gauss-Legendre panels, and Mehler's formula: with phi(sqrt(q) z) = sum_k a_k(q) h_k,

    E phi(u) phi(v)  =  sum_k a_k(A) a_k(B) rho^k,     h_k = He_k / sqrt(k!),

one polynomial in the correlation for a whole matrix, symmetric by construction. What the truncated series lacks is known:
E phi^2 - sum_k a_k^2 (Parseval), and quadrature is repeated with another rule. Smooth functions reach rounding error,
functions with kinks decay slowly and say so.

>>> law = Series(np.tanh)
>>> round(float(law.second(1.0)), 12)
0.394294283615
>>> law.error_at(1.0) < 1e-13 < Series(lambda z: np.maximum(z - 0.3, 0)).error_at(1.0)
True
"""

from collections.abc import Callable
from functools import lru_cache

import numpy as np

from ..errors import BadData

_REACH = 20.0  # integrals run over |z| <= this: exp(-z^2/4) is 4e-44 there
_ORDERS = (64, 128, 256, 512, 1024, 2048)
_FINEST = 20  # panels shrink to 2^-20 around zero, where activations at large variance have their features
_ENOUGH = 2e-16
_CHUNK = 1 << 14  # entries worked on at a time, so that temporaries stay in cache


@lru_cache(maxsize=2)
def _grid(points: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Nodes z, weights, and the square root of the normal density there."""
    small = 2.0 ** np.arange(-_FINEST, 0)
    edges = np.concatenate([[0.0], small, np.arange(1.0, _REACH + 0.25, 0.5)])
    nodes, weights = np.polynomial.legendre.leggauss(points)
    width = np.diff(edges)[:, None]
    z = (edges[:-1, None] + width * (nodes + 1) / 2).ravel()
    w = (width * weights / 2).ravel()
    z, w = np.concatenate([-z[::-1], z]), np.concatenate([w[::-1], w])
    return z, w, np.exp(-(z**2) / 4) / (2 * np.pi) ** 0.25


@lru_cache(maxsize=8)
def _hermite_functions(order: int, points: int = 24) -> np.ndarray:
    """Weights times h_k(z) times the square root of the normal density, (order + 1, nodes)."""
    z, w, root = _grid(points)
    table = np.empty((order + 1, len(z)))
    table[0] = root
    table[1] = z * root
    for k in range(1, order):
        table[k + 1] = (z * table[k] - np.sqrt(k) * table[k - 1]) / np.sqrt(k + 1)
    return table * w


class Series:
    """Moments of one function of arrays by its Hermite coefficients; see `activation_moments.Moments` for the methods.

    Errors: `BadData` where the function gives no finite numbers on the grid.
    """

    def __init__(self, function: Callable, name: str = "the function"):
        self.function, self.name = function, name
        self._orders: dict[int, int] = {}
        self._recent: dict[bytes, tuple[np.ndarray, np.ndarray]] = {}

    # ---- coefficients ------------------------------------------------------------------------------------------------

    @property
    def at_zero(self) -> float:
        with np.errstate(all="ignore"):
            return float(np.asarray(self.function(np.zeros(1)), float).ravel()[0])

    @property
    def has_slope(self) -> bool:
        return True

    def turning(self, q: np.ndarray) -> np.ndarray:
        """E (d phi^ / d log q)^2 of phi^ = phi(sqrt(q) z) / sqrt(E phi^2), by differences of fourth order."""
        unique, back = np.unique(q, return_inverse=True)
        step, found = 1e-3, np.empty(len(unique))
        w = _grid(24)[1]
        for start in range(0, len(unique), 128):
            part = unique[start : start + 128]
            change = 0.0
            for shift, weight in ((-2, 1 / 12), (-1, -2 / 3), (1, 2 / 3), (2, -1 / 12)):
                values = self._values(part * np.exp(shift * step))
                change = change + weight * values / np.sqrt(np.square(values) @ w)[:, None]
            found[start : start + 128] = np.square(change / step) @ w
        return found[back]

    def _values(self, q: np.ndarray, points: int = 24) -> np.ndarray:
        """phi(sqrt(q) z) times the square root of the density, (len(q), nodes)."""
        z, _, root = _grid(points)
        with np.errstate(all="ignore"):
            values = np.asarray(self.function(np.sqrt(q)[:, None] * z), float) * root
        values = np.broadcast_to(values, (len(q), len(z)))
        if not np.isfinite(values).all():
            row = int(np.argmin(np.isfinite(values).all(axis=1)))
            raise BadData(
                f"no finite numbers at variance {q[row]:.3g}",
                where=f"activation {self.name}",
                remedy="make weights or inputs smaller, or give a function that is finite on the whole line",
            )
        return values

    def _order(self, q: float) -> int:
        """The smallest order whose last quarter is rounding, at the next power of two of the variance; else the largest."""
        octave = int(np.ceil(np.log2(max(q, 2.0**-20))))
        if octave not in self._orders:
            values = self._values(np.array([2.0**octave]))
            for order in _ORDERS:
                weighted = np.arange(order + 1) * (values @ _hermite_functions(order).T)[0] ** 2
                if weighted[-order // 4 :].sum() <= _ENOUGH * weighted.sum():
                    break
            self._orders[octave] = order
        return self._orders[octave]

    def coefficients(self, q: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """(a_k(q), E phi^2), of shapes (len(q), order + 1) and (len(q),)."""
        key = q.tobytes()
        if key not in self._recent:
            unique, back = np.unique(q, return_inverse=True)
            table = _hermite_functions(self._order(float(unique[-1])))
            _, w, _ = _grid(24)
            a, second = np.empty((len(unique), len(table))), np.empty(len(unique))
            for start in range(0, len(unique), 256):
                part = slice(start, start + 256)
                values = self._values(unique[part])
                a[part], second[part] = values @ table.T, np.square(values) @ w
            a[unique == 0, 1:] = 0.0
            size = np.abs(a).max(axis=0)
            size[size < 1e-17 * size.max()] = 0.0
            a = a[:, : max(1, int(np.flatnonzero(size)[-1]) + 1 if size.any() else 1)]
            while len(self._recent) >= 6:
                self._recent.pop(next(iter(self._recent)))
            self._recent[key] = (a[back], second[back])
        return self._recent[key]

    # ---- one variance ------------------------------------------------------------------------------------------------

    def _each(self, q, reduce: Callable) -> np.ndarray:
        q = np.asarray(q, float)
        return reduce(*self.coefficients(q.ravel()), q.ravel()).reshape(q.shape)

    def second(self, q):
        return self._each(q, lambda a, second, q: second)

    def mean(self, q):
        return self._each(q, lambda a, second, q: a[:, 0])

    def slope(self, q):
        return self._each(q, lambda a, second, q: np.square(a) @ np.arange(a.shape[1]) / q)

    def curvature(self, q):
        return self._each(q, lambda a, second, q: np.square(a) @ ((k := np.arange(a.shape[1])) * (k - 1)) / q**2)

    def hermite(self, q, order):
        a, _ = self.coefficients(np.array([float(q)]))
        return np.pad(a[0], (0, max(0, order + 1 - a.shape[1])))[: order + 1]

    # ---- two variances and a correlation -----------------------------------------------------------------------------

    def pair(self, a, b, gap, want_slope=True):
        a, b, gap = (np.asarray(entry, float) for entry in (a, b, gap))
        shape = np.broadcast_shapes(a.shape, b.shape, gap.shape)
        (left, size_a), (right, size_b) = self.coefficients(a.ravel()), self.coefficients(b.ravel())
        order = min(left.shape[1], right.shape[1])
        left = left[:, :order].T.reshape(order, *a.shape)
        right = right[:, :order].T.reshape(order, *b.shape)
        scale = np.sqrt(size_a.reshape(a.shape)) * np.sqrt(size_b.reshape(b.shape))
        rho = np.broadcast_to(1 - gap, shape)
        value, slope = np.zeros(shape), np.zeros(shape) if want_slope else None
        for k in range(order - 1, -1, -1):
            if want_slope:
                slope *= rho
                slope += value
            value *= rho
            value += left[k] * right[k]
        with np.errstate(divide="ignore", invalid="ignore"):
            found = 1 - value / scale
            if want_slope:
                slope /= np.sqrt(a * b)
        return np.where(scale > 0, found, gap), slope

    def error_at(self, q):
        a, second = self.coefficients(np.array([float(q)]))
        return float(abs(1 - np.square(a).sum() / second[0]))
