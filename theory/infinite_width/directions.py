r"""Gaps and angles between the rows of two arrays, with all digits where rows are nearly parallel or opposite.

    1 - cos  =  |x/|x| - y/|y||^2 / 2  =  (|x - y|^2 - (|x| - |y|)^2) / (2 |x| |y|).

Most pairs come from one matrix product; the few where it loses digits are subtracted before they are multiplied.

>>> x, y = np.array([[1.0, 1.0]]), np.array([[1.0, 1.0 + 2.0**-30]])
>>> float(cosine_gap(unit_rows(x), unit_rows(y), x, y)[0, 0] * 2.0**63)  # the angle is 2^-31
0.9999999990686774
"""

from collections.abc import Iterator
from functools import lru_cache
from typing import Any

import numpy as np
import sympy as sp

from ..architecture.activations import formula

NEAR = 1e-3  # where 1 - |cosine| is below this, rows are subtracted, not multiplied
MANY = 1 << 14  # of them at a time
_FEW = 1 << 10  # of them, where every one may have a series of its own


def cosine_gap(u: np.ndarray, v: np.ndarray, x: np.ndarray | None = None, y: np.ndarray | None = None) -> np.ndarray:
    """1 - u.v of unit rows u (n1, d), v (n2, d), to relative rounding error also where it is tiny; rows may be zero.

    x and y are the rows of which these are the directions: with them even very small gaps keep all digits.
    """
    gap = 1 - u @ v.T
    np.clip(gap, 0, 2, out=gap)
    for i, j in few(gap < NEAR):
        gap[i, j] = 0.5 * np.square(u[i] - v[j]).sum(1)
        if x is not None and y is not None:
            _between_raw_rows(gap, i, j, x, y)
    return gap


def _between_raw_rows(gap: np.ndarray, i: np.ndarray, j: np.ndarray, x: np.ndarray, y: np.ndarray) -> None:
    """2 |x| |y| gap = |x - y|^2 - (|x| - |y|)^2, where the difference is not mainly one of lengths."""
    p, q = x[i], y[j]
    largest = np.maximum(np.abs(p).max(axis=1), np.finfo(float).tiny)[:, None]
    p, q = p / 2.0 ** np.floor(np.log2(largest)), q / 2.0 ** np.floor(np.log2(largest))  # no rounding, no overflow
    apart = p - q
    square, lengths = np.square(apart).sum(1), [np.sqrt(np.square(rows).sum(1)) for rows in (p, q)]
    with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
        radial = (apart * (p + q)).sum(1) / (lengths[0] + lengths[1])
        found = (square - radial**2) / (2 * lengths[0] * lengths[1])
        better = square / (2 * lengths[0] * lengths[1]) < np.sqrt(found)  # its relative error is eps times this / gap
    gap[i[better], j[better]] = found[better]


def opposites(u: np.ndarray, v: np.ndarray, gap: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray] | None:
    """Rows, columns and 1 + u.v where that is small; None if it is nowhere."""
    rows, columns = np.nonzero(gap > 2 - NEAR)
    if not len(rows):
        return None
    rest = [0.5 * np.square(u[rows[k : k + MANY]] + v[columns[k : k + MANY]]).sum(1) for k in range(0, len(rows), MANY)]
    return rows, columns, np.concatenate(rest)


def few(mask: np.ndarray) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Indices where the mask holds, a bounded number at a time."""
    rows, columns = np.nonzero(mask)
    for start in range(0, len(rows), MANY):
        yield rows[start : start + MANY], columns[start : start + MANY]


def unit_rows(x: np.ndarray) -> np.ndarray:
    """Rows divided by their length; zero rows stay."""
    largest = np.abs(x).max(axis=-1, keepdims=True, initial=0.0)
    scaled = x / np.where(largest > 0, largest, 1.0)
    length = np.sqrt(np.square(scaled).sum(axis=-1, keepdims=True))
    return scaled / np.where(length > 0, length, 1.0)


def angle(u: np.ndarray, v: np.ndarray) -> np.ndarray:
    """Angles in [0, pi] between unit rows u (n1, d) and v (n2, d), exact also for nearly parallel or opposite rows."""
    cosine = u @ v.T
    theta = np.arccos(np.clip(cosine, -1, 1))
    for sign in (1, -1):
        for i, j in few(sign * cosine > 1 - NEAR):
            chord = np.sqrt(np.square(u[i] - sign * v[j]).sum(1))
            near = 2 * np.arcsin(np.minimum(chord / 2, 1))
            theta[i, j] = near if sign == 1 else np.pi - near
    return theta


def reflected(law: Any, opposite: tuple, A: np.ndarray, B: np.ndarray, gap: np.ndarray, slope: Any) -> tuple:
    """Gap, slope and what is opposite after an activation, where inputs of variances A (n1,) and B (n2,) nearly are.

    V(C) = V(-C) of even, -V(-C) of odd functions. Two half lines are alpha z + beta |z|, with parts that are.
    """
    rows, columns, rest = opposite
    sign = parity(law.activation)
    if not (sign or law.homogeneous):
        return gap, slope, None
    gap, slope = np.array(gap), None if slope is None else np.array(slope)
    for start in range(0, len(rows), _FEW):
        part = slice(start, start + _FEW)
        i, j = rows[part], columns[part]
        a, b = (A[i], B[j]) if sign else (1.0, 1.0)
        there, steepness = law.pair(a, b, rest[part], want_slope=slope is not None)
        odd = 0.0
        if not sign:
            second = float(law.second(1.0))
            odd = second - np.pi / 2 * float(law.mean(1.0)) ** 2  # alpha^2; the mean of |z| is sqrt(2 / pi)
            gap[i, j] = there + 2 * odd / second * (1 - rest[part])
        else:
            gap[i, j] = there if sign > 0 else 2 - there
        if slope is not None:
            slope[i, j] = steepness if sign < 0 else 2 * odd - steepness
        rest = rest if sign >= 0 else np.concatenate([rest[:start], there, rest[start + _FEW :]])
    return gap, slope, (rows, columns, rest) if sign < 0 else None


@lru_cache(maxsize=256)
def parity(activation: Any) -> int:
    """1 of an even formula, -1 of an odd one, 0 of any other and of functions without a formula.

    >>> parity("cos"), parity("erf"), parity("relu")
    (1, -1, 0)
    """
    law = formula(activation)
    if law is None:
        return 0
    (z,) = law.signature
    mirrored = law.expr.subs(z, -z)
    return next((sign for sign in (1, -1) if sp.expand(mirrored - sign * law.expr) == 0), 0)
