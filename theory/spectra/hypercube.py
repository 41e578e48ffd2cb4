r"""Spectrum of a kernel kappa(x.x'/n) on the corners of the hypercube {-1, 1}^n: Krawtchouk polynomials.

The eigenfunctions are the parities prod_{i in S} x_i, one eigenvalue for all C(n, k) sets S of k coordinates:

    lambda_k = 2^-n sum_j K_j(k) kappa(1 - 2 j/n),    sum_j K_j(k) z^j = (1 - z)^k (1 + z)^(n - k).

Terms of size C(n, j) cancel down to eigenvalues as small as n^-k, so the sum is made in whole numbers: exactly where
kappa is rational, else with as many digits as the smallest eigenvalue needs.

>>> from .zonal import T
>>> hypercube(T**2 + T / 2, dimension=4).exact
(1/4, 1/8, 1/8, 0, 0)
"""

from fractions import Fraction
from math import ceil, comb, log2
from typing import Any

import numpy as np
import sympy as sp

from ..errors import BadData
from ..trail import Trail
from .level_spectrum import LevelSpectrum
from .sphere import TOLERANCE
from .zonal import T, Zonal, as_number, parts, precise_values, zonal

_EPS = np.finfo(float).eps
_EXACT_PARTS = 25  # distinct parts of a formula up to which irrational sums are written out
_EXACT_SUM = 12  # dimensions up to which irrational sums are written out
YANG_SALMAN = "Yang & Salman 2019 (arXiv:1907.10599)"


def hypercube(
    kernel: Any, dimension: int, levels: int | None = None, digits: int = 0, which: str = "ntk"
) -> LevelSpectrum:
    """Eigenvalues of levels 0 ... `levels` (all n by default) for uniform corners of the hypercube in n = `dimension`.

    `kernel` and `which` as for the sphere, a function of the cosine x.x'/n or its angle. Eigenvalues below 1e-308 are 0
    as floats; `digits` gives them as `precise`. Raises `BadData`.

    >>> from ..regression.kernels import ntk
    >>> hypercube(ntk(depth=2), dimension=8, levels=3).eigenvalues.round(7)
    array([0.3825093, 0.125    , 0.0175465, 0.       ])
    """
    if dimension != int(dimension) or dimension < 1:
        raise BadData(f"dimension {dimension}", where="hypercube", remedy="give a whole number >= 1")
    n = int(dimension)
    top = n if levels is None else int(levels)
    if not 0 <= top <= n:
        raise BadData(f"levels {levels} in dimension {n}", where="hypercube", remedy=f"give 0 to {n}")
    law = zonal(kernel, which)
    krawtchouk = _krawtchouk(n, top)
    exact = precise = None
    rational = _rational_values(law, n)
    if rational is not None:
        exact = tuple(sp.Rational(f.numerator, f.denominator) for f in _summed(krawtchouk, rational, n))
        shown = [sp.N(value, max(digits, 17)) for value in exact]
        errors, method = _EPS * np.array([abs(float(v)) for v in shown]), "exact in rational numbers"
    elif law.formula is not None:
        shown, errors = _with_digits(law, krawtchouk, n, top, digits)
        method = "whole-number sums with certified digits"
        if n <= _EXACT_SUM and len(parts(law.formula)) <= _EXACT_PARTS:
            values = [law.formula.subs(_cosine(j, n)) for j in range(n + 1)]
            sums = [
                sp.Add(*(sp.Rational(krawtchouk[j][k], 2**n) * v for j, v in enumerate(values))) for k in range(top + 1)
            ]
            exact = tuple(sp.S.Zero if shown[k] == 0 else sp.expand(total) for k, total in enumerate(sums))
    else:
        angles = np.arccos(1 - 2 * np.arange(n + 1) / n)
        values = [Fraction(float(v)) for v in law.on_angles(angles)]
        shown = [sp.Float(float(value)) for value in _summed(krawtchouk, values, n)]
        size = sum(comb(n, j) * abs(v) for j, v in enumerate(values)) / 2**n
        errors, method = np.full(top + 1, 8 * _EPS * float(size)), "exact sums of values in double precision"
    if digits and law.formula is not None:
        precise = tuple(shown)
    trail = Trail().then("zonal kernel", law.formula if law.short else law.name)
    trail = trail.then("eigenvalues of parities", f"levels 0 to {top}", reference=YANG_SALMAN, check=method)
    return LevelSpectrum(
        space=f"the hypercube of {n} dimensions",
        kernel=law.name,
        levels=tuple(range(top + 1)),
        multiplicities=np.array([float(comb(n, k)) for k in range(top + 1)]),
        eigenvalues=np.array([float(value) for value in shown]),
        errors=errors,
        trace=float(law.at_coincidence),
        eigenfunctions="parities of k coordinates",
        method=method,
        exact=exact,
        precise=precise,
        dimension=n,
        trail=trail,
    )


def _cosine(j: int, n: int) -> dict:
    return {T: sp.Rational(n - 2 * j, n)}


def _krawtchouk(n: int, top: int) -> list[np.ndarray]:
    """K_j(k) for j = 0 ... n: arrays over k of whole numbers."""
    k = np.array(range(top + 1), dtype=object)
    last, here = 0 * k, 0 * k + 1
    rows = []
    for j in range(n + 1):
        rows.append(here)
        last, here = here, ((n - 2 * k) * here - (n - j + 1) * last) // (j + 1)
    return rows


def _summed(krawtchouk: list, values: list, n: int) -> list:
    return list(sum(row * value for row, value in zip(krawtchouk, values, strict=True)) / Fraction(2**n))


def _rational_values(law: Zonal, n: int) -> list[Fraction] | None:
    if not law.short:
        return None
    values = []
    for j in range(n + 1):
        value = law.formula.subs(_cosine(j, n))
        if not value.is_Rational:
            return None
        values.append(Fraction(int(value.p), int(value.q)))
    return values


def _with_digits(law: Zonal, krawtchouk: list, n: int, top: int, digits: int) -> tuple[list, np.ndarray]:
    """Eigenvalues as SymPy numbers, 12 digits each at least, and absolute error bounds."""
    import mpmath

    wanted = max(digits, round(-np.log10(TOLERANCE)) + 4)
    kept = np.ones(top + 1, bool)
    for parity, above in enumerate(law.vanishing()):
        if above is not None:
            gone = np.arange(parity, top + 1, 2)
            kept[gone[gone > above]] = False
    scale, most = wanted + 30, 12 * wanted + 8 * n + 200
    while True:
        bits = ceil(scale * log2(10))
        context = mpmath.mp.clone()
        context.dps = scale + 10
        inside = precise_values(law.formula, _angles(context, n), scale + 5)
        values = [int(context.nint(as_number(law.at_coincidence, context) * 2**bits))]
        values += [int(context.nint(value * 2**bits)) for value in inside]
        sums = list(sum(row * value for row, value in zip(krawtchouk, values, strict=True)))
        size = [max(abs(int(s)) >> n, 1).bit_length() for s, k in zip(sums, kept, strict=True) if k]
        needed = ceil((bits - min(size, default=bits)) * 0.30103) + wanted + 5
        if needed <= scale or scale >= most:
            break
        scale = min(max(needed + 5, 2 * scale), most)
    unit = sp.Float(2, wanted + 5) ** -(bits + n)
    shown = [sp.Float(int(s), wanted + 5) * unit if k else sp.S.Zero for s, k in zip(sums, kept, strict=True)]
    rounding = float(sp.Float(2) ** (4 - bits))
    errors = np.array([rounding + _EPS * abs(float(v)) if k else 0.0 for v, k in zip(shown, kept, strict=True)])
    return shown, errors


def _angles(context: Any, n: int) -> list:
    """Angles of 1 ... n differing coordinates."""
    return [context.acos(context.mpf(n - 2 * j) / n) for j in range(1, n + 1)]
