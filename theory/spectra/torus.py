r"""Spectra of shift-invariant kernels: Fourier modes on the torus and on periodic lattices.

On the circle K(x, x') = kappa(delta), delta the distance in [0, pi]; on the torus products of one per coordinate:

    lambda_m = (1/pi) int_0^pi kappa(delta) cos(m delta) ddelta,     lambda_(m1..md) = prod_i lambda_{m_i},

with 2 modes, cos and sin, per frequency other than 0. On a lattice the eigenvalues are a discrete Fourier transform.

>>> spectrum = torus(sp.exp(2 * T - 2), levels=3)
>>> spectrum.exact[1], spectrum.multiplicities
(exp(-2)*besseli(1, 2), array([1., 2., 2.]))
"""

from collections.abc import Sequence
from math import factorial, prod
from typing import Any

import numpy as np
import sympy as sp

from ..errors import BadData, NoClosedForm
from ..trail import Trail
from .level_spectrum import LevelSpectrum, largest_products
from .sphere import sphere
from .zonal import T, Zonal, zonal

DISTANCE = sp.Symbol("delta", nonnegative=True)
_EPS = np.finfo(float).eps


def torus(kernel: Any, dimension: int = 1, levels: int = 100, frequencies: int = 60) -> LevelSpectrum:
    """The `levels` largest levels of a product kernel on the torus [0, 2 pi)^dimension with uniform points.

    `kernel`  of one coordinate, or a list with one per coordinate: a SymPy expression of `DISTANCE` or of the cosine
              `T`, or a function of the distance in [0, pi]. Frequencies up to `frequencies` are considered.

    Levels are labelled by their frequencies; for equal kernels by their sorted frequencies, in any order on the
    coordinates. Raises `BadData` for kernels with negative eigenvalues.

    >>> torus(sp.exp(-DISTANCE), levels=2).exact[1]
    (1 + exp(pi))*exp(-pi)/(2*pi)
    """
    factors = list(kernel) if isinstance(kernel, Sequence) else [kernel] * int(dimension)
    if not factors:
        raise BadData("no coordinate", where="torus", remedy="give dimension >= 1")
    same = not isinstance(kernel, Sequence)
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
    if all(c.exact is not None for c in circles):
        exact = tuple(sp.Mul(*(c.exact[m] for c, m in zip(circles, g, strict=True))) for g in groups)
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
    values = np.asarray(values, float)
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
