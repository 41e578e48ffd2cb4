r"""Spectrum of a zonal kernel on the unit sphere of R^d: Funk and Hecke's formula.

The eigenfunctions are the spherical harmonics of degree k, N(d, k) of them, with one eigenvalue

    lambda_k = int_0^pi kappa(cos theta) P_k(cos theta) sin(theta)^(d-2) dtheta / int_0^pi sin(theta)^(d-2) dtheta,
    N(d, k) = C(k+d-1, k) - C(k+d-3, k-2),    sum_k N(d, k) lambda_k = kappa(1).

In theta kernels of networks are smooth up to both ends, so Gauss-Legendre nodes converge geometrically; there are two
panels, for kernels with a kink at the right angle. Sums are made with as many digits as the smallest eigenvalue needs.

>>> from ..regression.kernels import ntk
>>> spectrum = sphere(ntk(depth=2), dimension=5, levels=6)
>>> spectrum.exact[:5]
(27/64, 1/5, 1/32, 0, 17/16384)
>>> print(spectrum.decay)
k^-(d), index exponent d/(d - 1)
"""

from functools import lru_cache
from math import ceil, comb, log2
from typing import Any

import numpy as np
import sympy as sp

from ..arguments import whole
from ..errors import NoClosedForm
from ..trail import Trail
from .decay import decay
from .funk_hecke import eigenvalue
from .level_spectrum import LevelSpectrum
from .zonal import Zonal, precise_values, zonal

FUNK_HECKE = "Funk-Hecke; Bach 2017 (arXiv:1412.8690)"
TOLERANCE = 1e-12  # relative error that precise sums are driven to
MOST_NODES = 1600
_PRECISE_NODES = 700  # beyond, weights of double precision must do
_EPS = np.finfo(float).eps


def multiplicity(dimension: int, level: int) -> int:
    """Number of independent spherical harmonics of a degree in R^dimension.

    >>> [multiplicity(3, k) for k in range(4)], [multiplicity(2, k) for k in range(3)]
    ([1, 3, 5, 7], [1, 2, 2])
    """
    lower = comb(level + dimension - 3, level - 2) if level >= 2 else 0
    return comb(level + dimension - 1, level) - lower


def sphere(kernel: Any, dimension: int, levels: int = 60, digits: int = 0, which: str = "ntk") -> LevelSpectrum:
    """Eigenvalues of levels 0 ... `levels` for points uniform on the unit sphere of R^dimension.

    `kernel`  SymPy expression of the cosine, kernel, network, or function of the angle
    `digits`  precise digits wanted of every eigenvalue (`precise`), for a kernel with a formula
    `which`   "ntk" or "nngp" of a network

    In this order: closed forms; sums with certified digits; for functions of the angle sums in double precision, whose
    absolute `errors` are then what limits small eigenvalues. Levels that vanish by parity are exactly 0. Raises
    `BadData`; `NoClosedForm` when digits are asked of a function.

    >>> sphere(lambda theta: np.exp(np.cos(theta) - 1), 3, levels=2).eigenvalues.round(6)
    array([0.432332, 0.135335, 0.026327])
    """
    dimension = whole(dimension, "dimension", "sphere", least=2)
    levels, digits = whole(levels, "levels", "sphere"), whole(digits, "digits", "sphere")
    law = zonal(kernel, which)
    counts = np.array([float(multiplicity(dimension, k)) for k in range(levels + 1)])
    exact = precise = None
    if law.formula is None:
        if digits:
            raise NoClosedForm(f"{law.name} has no formula", where="sphere", remedy="leave digits out")
        values, errors = in_double(law, dimension, levels)
        method = "Gauss-Legendre in the angle, double precision"
    else:
        exact = _closed_forms(law, dimension, levels)
        if exact is not None:
            shown = [sp.N(value, max(digits, 20)) for value in exact]
            values = np.array([float(value) for value in shown])
            errors, method = 4 * _EPS * np.abs(values), "closed forms"
        else:
            shown, errors, nodes = with_digits(law, dimension, levels, digits)
            values = np.array([float(value) for value in shown])
            method = f"Gauss-Legendre in the angle, {nodes} nodes with certified digits"
        precise = tuple(shown) if digits else None
    try:
        fall = decay(law)
    except NoClosedForm:
        fall = None
    trail = Trail().then("zonal kernel", law.formula if law.short else law.name)
    trail = trail.then(
        "eigenvalues of spherical harmonics", f"levels 0 to {levels}", reference=FUNK_HECKE, check=method
    )
    if fall is not None:
        trail = fall.trail.after(trail, on=(0,))
    return LevelSpectrum(
        space=f"the sphere S^{dimension - 1}",
        kernel=law.name,
        levels=tuple(range(levels + 1)),
        multiplicities=counts,
        eigenvalues=values,
        errors=errors,
        trace=float(law.at_coincidence),
        eigenfunctions="spherical harmonics" if dimension > 2 else "cos and sin of k theta",
        method=method,
        exact=exact,
        precise=precise,
        decay=fall,
        dimension=dimension,
        trail=trail,
    )


def _closed_forms(law: Zonal, dimension: int, levels: int) -> tuple | None:
    try:
        return tuple(eigenvalue(law.formula, k, dimension) for k in range(levels + 1))
    except NoClosedForm:
        return None


# ---- double precision -----------------------------------------------------------------------------------------------


def in_double(law: Zonal, dimension: int, levels: int) -> tuple[np.ndarray, np.ndarray]:
    """Eigenvalues (levels + 1,) and bounds of their absolute errors, from two rules; nodes double until they agree."""
    nodes, before = 2 * ceil((levels + dimension) / 4) + 64, None
    while True:
        values, rounding = _summed(law, dimension, levels, nodes)
        if before is not None:
            truncation = np.abs(values - before)
            if (truncation <= rounding).all() or nodes > MOST_NODES:
                break
        before, nodes = values, 2 * nodes
    errors = truncation + rounding + law.uncertainty * abs(float(law.at_coincidence))
    for parity, above in enumerate(law.vanishing()):
        if above is not None:
            gone = np.arange(parity, levels + 1, 2)
            values[gone[gone > above]] = errors[gone[gone > above]] = 0.0
    return values, errors


def _summed(law, dimension, levels, nodes):
    x, weights = _double_nodes(nodes // 2)
    theta = np.pi / 4 * np.concatenate([1 + x, 3 + x])
    t = np.cos(theta)
    weights = np.tile(weights, 2) * np.sin(theta) ** (dimension - 2)
    weights /= weights.sum()
    weighted = weights * law.on_angles(theta)
    values = np.empty(levels + 1)
    size = np.empty(levels + 1)
    last, polynomial = np.zeros_like(t), np.ones_like(t)
    for k in range(levels + 1):
        values[k], size[k] = weighted @ polynomial, np.abs(weighted) @ np.abs(polynomial)
        if dimension == 2:  # the recurrence would lose k^2 units of the last place near coincident points
            polynomial = np.cos((k + 1) * theta)
            continue
        above = t if k == 0 else ((2 * k + dimension - 2) * t * polynomial - k * last) / (k + dimension - 2)
        last, polynomial = polynomial, above
    # units of the last place: the recurrence grows one a level, kernel and weights have a few
    whole = np.abs(weighted).sum()
    weighing = 4 * nodes if nodes > _PRECISE_NODES else 8 / np.sqrt(nodes)
    return values, _EPS * ((8 + np.arange(levels + 1)) * size + weighing * whole)


@lru_cache(maxsize=32)
def _double_nodes(nodes: int) -> tuple[np.ndarray, np.ndarray]:
    """Nodes and weights to the last place; common routines have weights to 1e-12 only next to the ends."""
    if nodes > _PRECISE_NODES:
        from scipy.special import roots_legendre

        return roots_legendre(nodes)
    x, weights = _precise_nodes(nodes, 120)
    return x.astype(float) / 2.0**120, weights.astype(float) / 2.0**120


# ---- any number of digits -------------------------------------------------------------------------------------------


def with_digits(law: Zonal, dimension: int, levels: int, digits: int = 0) -> tuple[list, np.ndarray, int]:
    """Eigenvalues as SymPy numbers to `digits` digits each (12 at least), absolute error bounds, number of nodes.

    Sums are made in whole numbers of a fixed scale. The scale grows until the smallest eigenvalue has its digits, the
    number of nodes until two rules agree on them; a level that vanishes by parity is left out.
    """
    wanted = max(digits, round(-np.log10(TOLERANCE)))
    scale, nodes, before = wanted + 30, 2 * ceil((levels + dimension) / 4) + 48, None
    kept = np.ones(levels + 1, bool)
    for parity, above in enumerate(law.vanishing()):
        if above is not None:
            gone = np.arange(parity, levels + 1, 2)
            kept[gone[gone > above]] = False
    while True:
        values, bits = _summed_precisely(law, dimension, levels, nodes, scale)
        smallest = min((abs(int(v)) for v, k in zip(values, kept, strict=True) if k), default=1 << bits)
        lost = bits - max(smallest.bit_length(), 1)
        needed = ceil(lost * 0.30103) + wanted + 12
        if needed > scale + 5 and scale < 6 * wanted + 200:
            scale, before = needed + 10, None
            continue
        if before is not None:
            gap = [abs(int(a) - int(b)) for a, b in zip(values, before, strict=True)]
            if all(g * 10**wanted <= abs(int(v)) for g, v, k in zip(gap, values, kept, strict=True) if k):
                break
            if nodes >= MOST_NODES // 2:
                break
        before, nodes = values, 2 * ceil(0.7 * nodes)
    unit = sp.Float(2, wanted + 5) ** -bits
    shown = [sp.Float(int(v), wanted + 5) * unit if k else sp.S.Zero for v, k in zip(values, kept, strict=True)]
    rounding = nodes * (levels + 2) ** 2
    bounds = np.array([float((g + rounding) * unit) if k else 0.0 for g, k in zip(gap, kept, strict=True)])
    return shown, np.maximum(bounds, _EPS * np.array([abs(float(v)) for v in shown])), nodes


def _summed_precisely(law, dimension, levels, nodes, digits):
    """Eigenvalues as whole numbers in units of 2^-bits."""
    import mpmath

    context = mpmath.mp.clone()
    context.dps = digits + 10
    bits = ceil((digits + 5) * log2(10))
    x, weights = _precise_nodes(nodes // 2, bits + 32)
    shift = 1 << (bits + 32)
    theta = [context.pi / 4 * (start + context.mpf(int(node)) / shift) for start in (1, 3) for node in x]
    weights = np.tile(weights, 2)
    kernel = precise_values(law.formula, theta, digits + 5)
    one = 1 << bits
    t = np.array([int(context.nint(context.cos(angle) * one)) for angle in theta], dtype=object)
    half = context.mpf(dimension - 1) / 2
    norm = context.sqrt(context.pi) * context.gamma(half) / context.gamma(half + 0.5)
    weighted = np.array(
        [
            int(
                context.nint(
                    context.mpf(int(w)) * context.sin(a) ** (dimension - 2) * v * context.pi / 4 / norm / 2**32
                )
            )
            for w, a, v in zip(weights, theta, kernel, strict=True)
        ],
        dtype=object,
    )
    last, polynomial = 0 * t, 0 * t + one
    values = []
    for k in range(levels + 1):
        values.append(int((weighted * polynomial).sum()) >> bits)
        above = t if k == 0 else ((2 * k + dimension - 2) * t * polynomial // one - k * last) // (k + dimension - 2)
        last, polynomial = polynomial, above
    return values, bits


@lru_cache(maxsize=16)
def _precise_nodes(nodes: int, bits: int) -> tuple[np.ndarray, np.ndarray]:
    """Gauss-Legendre nodes and weights in units of 2^-bits, by Newton's method from double precision."""
    from scipy.special import roots_legendre

    one = 1 << bits
    x = np.array([int(value * 2.0**53) << (bits - 53) for value in roots_legendre(nodes)[0]], dtype=object)
    steps = ceil(log2(bits / 40)) + 1
    for step in range(steps + 1):
        last, polynomial = 0 * x, 0 * x + one
        for k in range(nodes):
            last, polynomial = polynomial, ((2 * k + 1) * x * polynomial // one - k * last) // (k + 1)
        slope = nodes * (x * polynomial // one - last) * one // (x * x // one - one)
        if step < steps:
            x = x - polynomial * one // slope
    rest = one - x * x // one
    return x, 2 * one * one // (rest * slope // one * slope // one)
