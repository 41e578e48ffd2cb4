r"""Kernels of differences on abelian groups, whose characters are their eigenfunctions: hypercube, torus, lattice.

Corners of the hypercube, K = kappa(x.x'/n): parities prod_{i in S} x_i of the C(n, k) sets S of k coordinates have

    lambda_k = 2^-n sum_j K_j(k) kappa(1 - 2 j/n),    sum_j K_j(k) z^j = (1 - z)^k (1 + z)^(n - k)   (Krawtchouk).

Terms of size C(n, j) cancel down to eigenvalues as small as n^-k, so the sum is made in whole numbers: exactly where
kappa is rational, else with as many digits as the smallest eigenvalue needs.

The circle, K = kappa(delta), delta the distance in [0, pi]; the torus, products of one such kernel per coordinate:

    lambda_m = (1/pi) int_0^pi kappa(delta) cos(m delta) ddelta,     lambda_(m1..md) = prod_i lambda_{m_i},

with 2 modes, cos and sin, per frequency other than 0. On a lattice the eigenvalues are a discrete Fourier transform.

>>> from .zonal import T
>>> hypercube(T**2 + T / 2, dimension=4).exact
(1/4, 1/8, 1/8, 0, 0)
>>> spectrum = torus(sp.exp(2 * T - 2), levels=3)
>>> spectrum.exact[1], spectrum.multiplicities
(exp(-2)*besseli(1, 2), array([1., 2., 2.]))
"""

from collections.abc import Sequence
from fractions import Fraction
from math import ceil, comb, factorial, log2, prod
from typing import Any

import numpy as np
import sympy as sp

from ..arguments import numbers, whole
from ..errors import BadData, NoClosedForm
from ..trail import Trail
from .level_spectrum import LevelSpectrum, largest_products
from .sphere import TOLERANCE, sphere
from .zonal import T, Zonal, as_number, parts, precise_values, zonal

DISTANCE = sp.Symbol("delta", nonnegative=True)
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
    formula = law.formula
    if formula is None or not law.short:
        return None
    values = []
    for j in range(n + 1):
        value = formula.subs(_cosine(j, n))
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


# ---- torus and lattice -----------------------------------------------------------------------------------------------


def torus(kernel: Any, dimension: int = 1, levels: int = 100, frequencies: int = 60) -> LevelSpectrum:
    """The `levels` largest levels of a product kernel on the torus [0, 2 pi)^dimension with uniform points.

    `kernel`  of one coordinate, or a list with one per coordinate: a SymPy expression of `DISTANCE` or of the cosine
              `T`, or a function of the distance in [0, pi]. Frequencies up to `frequencies` are considered.

    Levels are labelled by their frequencies; for equal kernels by their sorted frequencies, in any order on the
    coordinates. Raises `BadData` for kernels with negative eigenvalues.

    >>> torus(sp.exp(-DISTANCE), levels=2).exact[1]
    (1 + exp(pi))*exp(-pi)/(2*pi)
    """
    same = isinstance(kernel, str) or not isinstance(kernel, Sequence)
    factors = [kernel] * whole(dimension, "dimension", "torus", least=1) if same else list(kernel)
    levels, frequencies = whole(levels, "levels", "torus", least=1), whole(frequencies, "frequencies", "torus")
    if not same and (not factors or dimension not in (1, len(factors))):
        found = f"{len(factors)} kernels in dimension {dimension}"
        raise BadData(found, where="torus", remedy="give one kernel, or one per coordinate")
    one = {id(factor): _circle(factor, frequencies) for factor in factors}
    circles = [one[id(factor)] for factor in factors]
    negative = min(float((c.eigenvalues + c.errors).min()) for c in circles)
    if negative < 0:
        raise BadData(f"an eigenvalue {negative:.3g}", where="torus", remedy="give a positive definite kernel")
    orders = [np.argsort(-c.eigenvalues, kind="stable") for c in circles]
    logs = [np.log(c.eigenvalues[o][c.eigenvalues[o] > 0]) for c, o in zip(circles, orders, strict=True)]
    groups, counts = [], []
    asked = levels if not same else levels * min(factorial(len(factors)), 48)
    seen: dict[tuple[int, ...], float] = {}
    for place in largest_products(logs, asked)[0]:
        label = tuple(int(order[place.get(i, 0)]) for i, order in enumerate(orders))
        key = tuple(sorted(label, reverse=True)) if same else label
        if key not in seen and len(seen) < levels:
            seen[key] = 0.0
            groups.append(key)
            arrangements = _arrangements(key) if same else 1
            counts.append(float(arrangements * 2 ** sum(m > 0 for m in key)))
    values = np.array([prod(float(c.eigenvalues[m]) for c, m in zip(circles, g, strict=True)) for g in groups])
    relative = [np.array(c.errors) / np.maximum(c.eigenvalues, 1e-300) for c in circles]
    errors = np.array([sum(r[m] for r, m in zip(relative, g, strict=True)) for g in groups]) * values
    exact = None
    forms = [c.exact for c in circles if c.exact is not None]
    if len(forms) == len(circles):
        exact = tuple(sp.Mul(*(form[m] for form, m in zip(forms, g, strict=True))) for g in groups)
    names = list(dict.fromkeys(c.kernel for c in circles))
    return LevelSpectrum(
        space=f"the torus of {len(factors)} dimension{'s' * (len(factors) > 1)}",
        kernel=" x ".join(names),
        levels=tuple(g[0] if len(g) == 1 else g for g in groups),
        multiplicities=np.array(counts),
        eigenvalues=values,
        errors=errors,
        trace=prod(c.trace for c in circles),
        eigenfunctions="products of cos and sin of m x",
        method=circles[0].method,
        exact=exact,
        decay=circles[0].decay if len(factors) == 1 else None,
        dimension=len(factors) + 1,
        trail=circles[0].trail,
    )


def lattice(values: Any) -> LevelSpectrum:
    """Spectrum of a kernel K(x - x') on a periodic lattice: `values` of K at every displacement, an array of any shape.

    Points are uniform on the lattice, eigenvalues are the Fourier transform over the number of points. The 2 modes of
    m and -m, where they differ, are one level. Raises `BadData` for kernels that are not symmetric.

    >>> lattice(np.array([2.0, 1.0, 0.0, 1.0])).eigenvalues
    array([1. , 0.5, 0. ])
    """
    values = np.atleast_1d(numbers(values, "values", "lattice"))
    if not values.size or not np.isfinite(values).all():
        raise BadData(f"values of shape {values.shape}", where="lattice", remedy="give finite numbers, at least one")
    transform = np.fft.fftn(values) / values.size
    size = np.abs(values).max()
    if np.abs(transform.imag).max() > 1e-10 * size:
        raise BadData("K(x - x') differs from K(x' - x)", where="lattice", remedy="give a symmetric kernel")
    found: dict[tuple[int, ...], list] = {}
    for place, value in np.ndenumerate(transform.real):
        mirrored = tuple((-m) % n for m, n in zip(place, values.shape, strict=True))
        found.setdefault(min(place, mirrored), []).append(value)
    labels = sorted(found, key=lambda label: -found[label][0])
    eigenvalues = np.array([np.mean(found[label]) for label in labels])
    return LevelSpectrum(
        space="a periodic lattice of " + " x ".join(map(str, values.shape)),
        kernel="values",
        levels=tuple(label[0] if len(label) == 1 else label for label in labels),
        multiplicities=np.array([float(len(found[label])) for label in labels]),
        eigenvalues=eigenvalues,
        errors=np.full(len(labels), 8 * _EPS * size),
        trace=float(values[(0,) * values.ndim]),
        eigenfunctions="Fourier modes",
        method="fast Fourier transform",
        trail=Trail().then("eigenvalues of Fourier modes", "discrete Fourier transform"),
    )


def _circle(kernel: Any, frequencies: int) -> LevelSpectrum:
    """The spectrum of one coordinate: the sphere in two dimensions."""
    if isinstance(kernel, sp.Expr) and kernel.has(DISTANCE):
        name = str(kernel)
        exact = _integrals(kernel, frequencies)
        spectrum = sphere(Zonal(name, kernel.subs(DISTANCE, sp.acos(T))), 2, 0 if exact else frequencies)
        if exact is None:
            return spectrum
        values = np.array([float(sp.N(value, 20)) for value in exact])
        return LevelSpectrum(
            **{
                **{name: getattr(spectrum, name) for name in spectrum.__dataclass_fields__},
                "levels": tuple(range(frequencies + 1)),
                "multiplicities": np.array([1.0] + [2.0] * frequencies),
                "eigenvalues": values,
                "errors": 4 * _EPS * np.abs(values),
                "method": "closed forms",
                "exact": exact,
            }
        )
    return sphere(zonal(kernel), 2, frequencies)


def _integrals(kernel: sp.Expr, frequencies: int) -> tuple | None:
    """Closed forms of sums of polynomials times exponentials of the distance, by parts."""
    m = sp.Symbol("m", integer=True, positive=True)
    sums: list[Any] = [sp.S.Zero, sp.S.Zero]
    try:
        for part in sp.Add.make_args(sp.expand(kernel)):
            coefficient, rest = part.as_independent(DISTANCE, as_Add=False)
            power, rate = _polynomial_exponential(rest)
            for i, frequency in enumerate((sp.S.Zero, m)):
                sums[i] += coefficient * _moment(power, rate, frequency)
    except NoClosedForm:
        return None
    mean, general = (sp.simplify(total / sp.pi) for total in sums)
    return (mean, *(general.subs(m, k) for k in range(1, frequencies + 1)))


def _polynomial_exponential(factor: sp.Expr) -> tuple[int, sp.Expr]:
    power, rate = 0, sp.S.Zero
    for part in sp.Mul.make_args(factor):
        if part == DISTANCE or (part.is_Pow and part.base == DISTANCE and part.exp.is_Integer and part.exp > 0):
            power += int(part.as_base_exp()[1])
        elif isinstance(part, sp.exp) and (part.args[0] / DISTANCE).is_number:
            rate += part.args[0] / DISTANCE
        elif part != 1:
            raise NoClosedForm(f"the factor {part}", where="torus")
    return power, rate


def _moment(power: int, rate: sp.Expr, m: sp.Expr) -> sp.Expr:
    """int_0^pi x^power exp(rate x) cos(m x) dx by parts: E_p = (pi^p e^(s pi) - p E_{p-1}) / s with s = rate + i m."""
    if rate == 0 and m == 0:
        return sp.pi ** (power + 1) / (power + 1)
    last, size = sp.exp(rate * sp.pi) * (-1) ** m, rate**2 + m**2
    real, imaginary = last - 1, sp.S.Zero
    for p in range(power + 1):
        if p:
            real, imaginary = sp.pi**p * last - p * real, -p * imaginary
        real, imaginary = (real * rate + imaginary * m) / size, (imaginary * rate - real * m) / size
    return real


def _arrangements(key: tuple[int, ...]) -> int:
    return factorial(len(key)) // prod(factorial(key.count(m)) for m in set(key))
