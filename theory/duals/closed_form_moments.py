r"""Closed-form duals compiled to arrays that keep their digits at coincident inputs.

Far from coincidence the formula is evaluated as it stands, in the angle. Where the new gap comes out small it is
integrated instead: V(a, b, 0) - V(a, b, gap) is an integral of the slope over the angle, free of cancellation,

    gap'  =  1 - V(a, b, 0) / sqrt(V(a) V(b))  +  sqrt(a b / (V(a) V(b)))  int_0^theta slope(t) sin(t) dt.

>>> from .dual_activation import dual
>>> from .quadrature_duals import Series
>>> relu = ClosedForm(dual("relu"), Series(lambda z: np.maximum(z, 0)))
>>> float(relu.pair(1.0, 1.0, 1e-10)[0])
9.99...e-11
"""

from collections.abc import Callable
from functools import lru_cache

import numpy as np
import sympy as sp
from sympy.codegen.rewriting import create_expand_pow_optimization

from ..architecture.activations import activation_name
from ..errors import BadData
from .dual_activation import COSINE, SINE, THETA, Dual, angular
from .gaussian_integrals import A, B
from .quadrature_duals import Series

_CHUNK = 1 << 14  # entries worked on at a time, so that temporaries stay in cache
_NEAR = 1e-3  # gaps below this are integrated: the plain formula has lost three digits of them
_AGREE = 1e-13  # how far the plain formula is off at most; with exponentials, times 1 + a + b
_CLOSE = 4e-4  # variances that differ by less than this, relatively, are compared through a derivative
_SMALLEST = 1e-100  # stands for a variance of zero: formulas may divide by it
_NODES = [(entry / 2 + 0.5, weight / 2) for entry, weight in zip(*np.polynomial.legendre.leggauss(8), strict=True)]


def _damped_sinh(x, y, cosine):
    size = np.abs(cosine)
    return -0.5 * np.sign(cosine) * np.exp(x - y * (1 - size)) * np.expm1(-2 * y * size)


def _damped_cosh(x, y, cosine):
    size = np.abs(cosine)
    return 0.5 * np.exp(x - y * (1 - size)) * (1 + np.exp(-2 * y * size))


class _square_root(sp.Function):
    """A square root that keeps its identity, so that its odd powers are products and not slow calls of pow."""

    nargs = 1


_multiplied = create_expand_pow_optimization(12)


def _in_products(forms: list[sp.Expr]):
    """Common subexpressions, with half-integer and whole powers as products."""
    forms = [
        form.replace(
            lambda x: x.is_Pow and x.exp.is_Rational and x.exp.q == 2, lambda x: _square_root(x.base) ** x.exp.p
        )
        for form in forms
    ]
    steps, results = sp.cse(forms)
    return [(symbol, _multiplied(step)) for symbol, step in steps], [_multiplied(result) for result in results]


def _angle(gap):
    """The angle of a gap, from 2 - gap near opposite inputs: there it is what a float of the gap still holds."""
    theta = np.asarray(2 * np.arcsin(np.sqrt(gap * 0.5)))
    far = np.asarray(gap) > 1.9
    if far.any():
        theta[far] = np.pi - 2 * np.arcsin(np.sqrt((2 - np.asarray(gap)[far]) * 0.5))
    return theta


@lru_cache(maxsize=512)
def _compiled(*expressions: sp.Expr) -> Callable:
    """Expressions of A, B, C as one function of arrays (a, b, gap), or of (a, b, cosine, sine, theta) if given."""
    known = {"damped_sinh": _damped_sinh, "damped_cosh": _damped_cosh, "_square_root": np.sqrt}
    forms = [angular(expression) for expression in expressions]
    used = {SINE, THETA} & set().union(*(form.free_symbols for form in forms))
    function = sp.lambdify((A, B, COSINE, SINE, THETA), forms, [known, "scipy", "numpy"], cse=_in_products)

    def of_gap(a, b, gap, *circle):
        if circle:
            return function(a, b, gap, *circle)
        sine = np.sqrt(gap * (2 - gap)) if SINE in used else None
        theta = _angle(gap) if THETA in used else None
        return function(a, b, 1 - gap, sine, theta)

    return of_gap


class ClosedForm:
    """Moments from one `Dual`; see `activation_moments.Moments` for the methods."""

    def __init__(self, law: Dual, series: Series):
        self.law, self.series, self.name = law, series, activation_name(law.activation)
        self.at_zero = series.at_zero
        self._line = _bent_line(law) if law.homogeneous else None
        self._sizes: dict[tuple, np.ndarray] = {}
        self._speeds: dict[tuple, np.ndarray] = {}
        self._grows = law.value.has(sp.exp)
        self._mean = sp.lambdify(A, law.mean, ["scipy", "numpy"])

        self.reliable_from = 0.0 if self._line else self._reliable_from()

    def _reliable_from(self) -> float:
        """The variance below which terms of the formula cancel, as in sin(z) - z, and the series is used instead."""
        octaves = 2.0 ** np.arange(-40, 7)
        with np.errstate(all="ignore"):
            formula = self._coincident(self.law.value, octaves)
        ends = 0.0
        for q, found in zip(octaves, formula, strict=True):
            try:
                size = float(self.series.second(q))
            except BadData:
                break
            if np.isfinite(found) and abs(found - size) > _AGREE * 10 * size:
                ends = 2 * q
        return float(ends)

    # ---- one variance ------------------------------------------------------------------------------------------------

    def _coincident(self, expression: sp.Expr, q) -> np.ndarray:
        q = np.asarray(q, float)
        safe = np.maximum(q, _SMALLEST)
        with np.errstate(all="ignore"):
            (found,) = _compiled(expression)(safe, safe, np.zeros(()))
        return np.broadcast_to(np.asarray(found, float), q.shape) + 0.0

    def _finite(self, found: np.ndarray, q) -> np.ndarray:
        if not np.isfinite(found).all():
            worst = float(np.max(np.where(np.isfinite(found), -np.inf, q)))
            raise BadData(
                f"its moments overflow at variance {worst:.3g}",
                where=f"activation {self.name}",
                remedy="make weights or inputs smaller, or normalise the layer before it",
            )
        return found

    def second(self, q):
        if self._line is not None:
            return self._line[1] * np.asarray(q, float)
        found = self._finite(self._coincident(self.law.value, q), q)
        found = np.where(np.asarray(q) == 0, self.at_zero**2, found)
        return self._by_series(q, found, self.series.second)

    def mean(self, q):
        q = np.asarray(q, float)
        with np.errstate(all="ignore"):
            found = np.broadcast_to(np.asarray(self._mean(np.maximum(q, _SMALLEST)), float), q.shape)
        return np.where(q == 0, self.at_zero, self._finite(found, q))

    def slope(self, q):
        if self.law.bends is None:
            return np.full(np.shape(q), np.inf)
        return self._by_series(q, self._finite(self._coincident(self.law.slope, q), q), self.series.slope)

    def curvature(self, q):
        if self.law.bends is None:
            return np.full(np.shape(q), np.inf)
        found = self._coincident(self.law.bends, q)
        return np.where(np.isnan(found), np.inf, found)

    def _by_series(self, q, found: np.ndarray, series: Callable) -> np.ndarray:
        few = (np.asarray(q) < self.reliable_from) & (np.asarray(q) > 0)
        return np.where(few, series(np.where(few, q, 1.0)), found) if few.any() else found

    def error_at(self, q):
        return self.series.error_at(q) if q < self.reliable_from else 0.0

    def _size(self, q: np.ndarray) -> np.ndarray:
        return self._kept(self._sizes, q, lambda x: np.sqrt(self.second(x)))

    def _kept(self, known: dict, q: np.ndarray, function: Callable) -> np.ndarray:
        """A function of variances: blocks of a matrix ask for the same ones again and again, so the last are kept."""
        key = q.shape, q.tobytes()
        found = known.get(key)
        if found is None:
            found = function(q)
            if q.size <= _CHUNK:
                if len(known) >= 256:
                    known.clear()
                known[key] = found
        return found

    # ---- two variances and a gap -------------------------------------------------------------------------------------

    def pair(self, a, b, gap, want_slope=True):
        a, b, gap = (np.asarray(entry, float) for entry in (a, b, gap))
        shape = np.broadcast_shapes(a.shape, b.shape, gap.shape)
        if self._line is not None:
            return _line_pair(*self._line, np.broadcast_to(gap, shape), want_slope)
        if not shape:
            found, slope = self.pair(a[None], b[None], gap[None], want_slope)
            return found[0], None if slope is None else slope[0]
        if min(a.min(initial=np.inf), b.min(initial=np.inf)) < self.reliable_from:
            return self.series.pair(a, b, gap, want_slope)
        root_a, root_b = self._size(a), self._size(b)
        a, b = np.maximum(a, _SMALLEST), np.maximum(b, _SMALLEST)
        found, slope = np.empty(shape), np.empty(shape) if want_slope else None
        rows = max(1, _CHUNK // max(1, int(np.prod(shape[1:]))))
        for start in range(0, shape[0], rows):
            part = slice(start, start + rows)
            left, right, here, size_a, size_b = (_rows(entry, shape, part) for entry in (a, b, gap, root_a, root_b))
            self._fill(left, right, here, size_a * size_b, found[part], None if slope is None else slope[part])
        if slope is not None and self.law.bends is not None:
            self._finite(slope, np.maximum(a, b))
        return found, slope

    def _fill(self, a, b, gap, scale, found, slope) -> None:
        """One block of `pair`, into its part of the outputs."""
        gap = np.clip(gap, 0, 2)
        with np.errstate(all="ignore"):
            if slope is None:
                (value,) = _compiled(self.law.value)(a, b, gap)
            else:
                value, slope[...] = _compiled(self.law.value, self.law.slope)(a, b, gap)
            np.divide(value, scale, out=found)
            np.subtract(1, found, out=found)
        near = found < _NEAR
        if near.any():
            near &= gap < 1
            gathered = [np.broadcast_to(entry, found.shape)[near] for entry in (a, b, gap, scale)]
            better, plain = self._integrated(*gathered), found[near]
            if self.law.degree is None and (gathered[0] != gathered[1]).any():
                speed = [np.broadcast_to(self._speed(entry), found.shape)[near] for entry in (a, b)]
                better += self._drift(gathered[0], gathered[1], gathered[3], speed[0] + speed[1])
            a, b = gathered[:2]
            # of a function that is nearly constant the slope may vary faster than the nodes see
            allowed = _AGREE * (1 + a + b) if self._grows else _AGREE
            found[near] = np.where(np.abs(better - plain) < allowed, better, plain)
        if not scale.all():
            np.copyto(found, gap, where=scale == 0)

    def _integrated(self, a, b, gap, scale) -> np.ndarray:
        theta = 2 * np.arcsin(np.sqrt(gap / 2))
        total = np.zeros_like(theta)
        slope = _compiled(self.law.slope)
        with np.errstate(all="ignore"):
            for place, weight in _NODES:
                angle = place * theta
                sine = np.sin(angle)
                total += weight * sine * slope(a, b, np.cos(angle), sine, angle)[0]
            return np.where(theta > 0, total * theta * np.sqrt(a) * np.sqrt(b) / scale, 0.0)

    def _speed(self, q: np.ndarray) -> np.ndarray:
        return self._kept(self._speeds, q, lambda x: self.series.turning(x.ravel()).reshape(x.shape))

    def _drift(self, a, b, scale, speeds) -> np.ndarray:
        """1 - V(a, b, 0) / sqrt(V(a) V(b)): coincident directions; of close variances half a squared distance."""
        with np.errstate(all="ignore"):
            apart = np.log1p((a - b) / b)
            found = 1 - _compiled(self.law.value)(a, b, np.zeros_like(a))[0] / scale
        close = np.abs(apart) < _CLOSE
        found[close] = apart[close] ** 2 * speeds[close] / 4
        return np.maximum(found, 0)


def _rows(entry: np.ndarray, shape: tuple, part) -> np.ndarray:
    """The rows `part` of an array that broadcasts to `shape`, still in its own shape."""
    return entry[part] if entry.ndim == len(shape) and entry.shape and entry.shape[0] > 1 else entry


# ---- two half lines that meet at zero --------------------------------------------------------------------------------


def _bent_line(law: Dual) -> tuple[float, float]:
    """(p, q) of dV/dC = q - p theta, so that V = sqrt(a b) (p sin + (q - p theta) cos): activations of degree one."""
    slope = angular(law.slope)
    p = sp.simplify(-slope.diff(THETA))
    q = sp.simplify(slope + p * THETA)
    if p.free_symbols or q.free_symbols:
        raise BadData(f"the slope {slope} is not linear in the angle", where=f"activation {law.activation}")
    return float(p), float(q)


def _line_pair(p: float, q: float, gap: np.ndarray, want_slope: bool):
    """gap' = gap - (p/q) (sin - theta cos), in place, block by block: two square roots and one arcsine an entry."""
    shape = gap.shape
    flat = np.ascontiguousarray(gap).reshape(-1)
    found = np.empty(flat.shape)
    slope = np.empty(flat.shape) if want_slope else None
    theta, work = np.empty(min(_CHUNK, flat.size)), np.empty(min(_CHUNK, flat.size))
    for start in range(0, flat.size, _CHUNK):
        here, out = flat[start : start + _CHUNK], found[start : start + _CHUNK]
        t, w = theta[: here.size], work[: here.size]
        np.clip(here, 0.0, 2.0, out=out)
        if p:
            np.multiply(out, 0.5, out=t)
            np.sqrt(t, out=t)
            np.arcsin(t, out=t)
            np.add(t, t, out=t)  # theta
            if slope is not None:
                np.multiply(t, -p, out=slope[start : start + _CHUNK])
                slope[start : start + _CHUNK] += q
            np.subtract(2.0, out, out=w)
            w *= out
            np.sqrt(w, out=w)  # sine
            small = out < _NEAR
            few = np.flatnonzero(small) if small.any() else None
            lost = None if few is None else _sine_less(t[few])
            w -= t
            t *= out
            w += t  # sin - theta cos
            if few is not None:
                w[few] = lost
            w *= p / q
            out -= w
        elif slope is not None:
            slope[start : start + _CHUNK] = q
    return found.reshape(shape)[()], None if slope is None else slope.reshape(shape)[()]


def _sine_less(theta: np.ndarray) -> np.ndarray:
    """sin(theta) - theta cos(theta) of small angles: theta^3/3 - theta^5/30 + theta^7/840 - ..."""
    square = theta * theta
    return theta * square * (1 / 3 - square * (1 / 30 - square * (1 / 840 - square / 45360)))
