r"""Exact spectra over Gaussian inputs: the Gaussian kernel and the exponential dot product, by Mehler's formula.

For x ~ N(0, v) and exp(-(x - x')^2 / (2 l^2)), with a = 1/(4 v), b = 1/(2 l^2), c = sqrt(a^2 + 2 a b):

    lambda_k = sqrt(2a / (a + b + c)) (b / (a + b + c))^k,    phi_k = He_k(sqrt(4c) x) exp(-(c - a) x^2),

and for exp(x x'/s^2), tau = v/s^2 < 1/2:  lambda_k = sqrt(B/tau) B^k, B = (1 - sqrt(1 - 4 tau^2)) / (2 tau).
Both factorise over independent coordinates: levels are products, with the multiplicity of equal variances.

>>> from ..regression.kernels import rbf
>>> gaussian(rbf(1.0), [1.0], levels=3).exact[0]
sqrt(2)/(2*sqrt(sqrt(5)/4 + 3/4))
"""

from collections import Counter
from collections.abc import Sequence
from math import comb, prod
from typing import Any

import numpy as np
import sympy as sp

from ..arguments import numbers, whole
from ..errors import BadData, NoClosedForm
from ..regression.kernels import Kernel
from ..trail import Trail
from .level_spectrum import LevelSpectrum, largest_products
from .local_expansion import taylor
from .zonal import Numbers, T, evaluate

MEHLER = "Zhu, Williams, Rohwer & Morciniec 1998; Rasmussen & Williams 2006, section 4.3"
_EXACT = 200  # levels up to which exact forms are written
_LABELLED = 6  # blocks of equal variance up to which labels name every one
_DROPPED = 1e-28  # terms of a power series below 1e-30 are taken for rounding
_EPS = np.finfo(float).eps


def gaussian(kernel: Any, variances: float | Sequence[float], levels: int = 100) -> LevelSpectrum:
    """The `levels` largest levels for independent Gaussian coordinates of the given variances.

    `kernel`     `rbf(width)`, or a formula of the dot product T = x.x': exp(T/s^2), and in one dimension any power
                 series with coefficients that are not negative
    `variances`  one per coordinate. Coordinates of equal variance share a label, the sum of their orders

    Raises `BadData` where the kernel has no finite trace, `NoClosedForm` for other kernels in several dimensions.

    >>> spectrum = gaussian(sp.exp(T / 4), [1.0, 1.0, 0.25], levels=4)
    >>> spectrum.levels, spectrum.multiplicities
    (((0, 0), (1, 0), (2, 0), (0, 1)), array([1., 2., 3., 1.]))
    """
    spread, constant = np.atleast_1d(numbers(variances, "variances", "Gaussian measure")), sp.S.One
    levels = whole(levels, "levels", "Gaussian measure", least=1)
    if spread.ndim != 1 or not spread.size or not (spread > 0).all() or not np.isfinite(spread).all():
        raise BadData(f"variances {variances}", where="Gaussian measure", remedy="give positive numbers")
    blocks = sorted(Counter(spread.tolist()).items(), reverse=True)
    if isinstance(kernel, Kernel) and kernel.kind == "rbf":
        write = levels <= _EXACT and len(blocks) <= _LABELLED
        made, name = [_rbf(v, kernel.width, write) for v, _ in blocks], f"rbf, width {kernel.width:g}"
        functions = "He_k(sqrt(4c) x) exp(-(c - a) x^2) of every coordinate"
    elif isinstance(kernel, sp.Expr) and len(kernel.free_symbols) <= 1:
        formula = kernel.xreplace(dict.fromkeys(kernel.free_symbols, T))
        rate = sp.simplify(formula.diff(T) / formula)
        if rate.has(T) or not rate.is_positive:
            if len(spread) > 1:
                raise NoClosedForm(
                    f"{formula} in {len(spread)} dimensions", where="Gaussian measure", remedy="use d = 1"
                )
            return _power_series(formula, float(spread[0]), levels)
        write = levels <= _EXACT and len(blocks) <= _LABELLED
        made, name = [_exponential(v, rate, write) for v, _ in blocks], str(formula)
        functions = "He_k(sqrt(1 - 2 B tau) z) exp(B tau z^2 / 2), z = x / sqrt(v), of every coordinate"
        constant = formula.subs(T, 0)
    else:
        raise NoClosedForm(f"{kernel} over Gaussian inputs", where="Gaussian measure", remedy="use rbf or exp(T/s^2)")
    sizes = [count for _, count in blocks]
    ratios = [float(sp.N(ratio, 20)) for _, ratio, _ in made]
    places, falls = largest_products([np.arange(levels) * np.log(ratio) for ratio in ratios], levels)
    log_top = sum(s * np.log(float(sp.N(first, 20))) for (first, _, _), s in zip(made, sizes, strict=True))
    values = float(constant) * np.exp(log_top + falls)
    counts = [prod(comb(k + sizes[i] - 1, sizes[i] - 1) for i, k in place.items()) for place in places]
    exact = None
    if write:
        exact_top = constant * sp.Mul(*(first**s for (first, _, _), s in zip(made, sizes, strict=True)))
        exact = tuple(exact_top * sp.Mul(*(made[i][1] ** k for i, k in place.items())) for place in places)
    trail = Trail().then("Mehler's formula", sp.Eq(sp.Symbol("lambda_0"), made[0][0]), reference=MEHLER)
    trail = trail.then("ratio of successive eigenvalues", made[0][1], reference=MEHLER)
    return LevelSpectrum(
        space=f"Gaussian inputs in {len(spread)} dimension{'s' * (len(spread) > 1)}",
        kernel=name,
        levels=tuple(_label(place, len(blocks)) for place in places),
        multiplicities=np.array(counts, float),
        eigenvalues=values,
        errors=values * _EPS * (8 + abs(log_top) + 2 * np.abs(falls)),
        trace=float(constant) * prod(float(sp.N(m[2], 20)) ** s for m, s in zip(made, sizes, strict=True)),
        eigenfunctions=functions,
        method="closed forms",
        exact=exact,
        dimension=len(spread),
        facts={"ratios": ratios, "variances": [v for v, _ in blocks]},
        trail=trail,
    )


def _label(place: dict[int, int], blocks: int) -> Any:
    """Orders block by block; of many blocks only (block, order) of those above zero."""
    if blocks > _LABELLED:
        return tuple(sorted(place.items()))
    orders = tuple(place.get(i, 0) for i in range(blocks))
    return orders[0] if blocks == 1 else orders


def _rbf(variance: float, width: float, exact: bool) -> tuple[Any, Any, Any]:
    """First eigenvalue, ratio and trace for one coordinate."""
    a, b = 1 / (4 * _number(variance, exact)), 1 / (2 * _number(width, exact) ** 2)
    total = a + b + sp.sqrt(a**2 + 2 * a * b)
    return sp.sqrt(2 * a / total), b / total, sp.S.One


def _exponential(variance: float, rate: sp.Expr, exact: bool) -> tuple[Any, Any, Any]:
    tau = _number(variance, exact) * rate
    if not tau < sp.S.Half:
        raise BadData(
            f"exp({rate} x.x') has no finite trace at variance {variance:g}",
            where="Gaussian measure",
            remedy="variance times rate must be below 1/2",
        )
    ratio = 2 * tau / (1 + sp.sqrt(1 - 4 * tau**2))  # the same B without cancellation
    return sp.sqrt(ratio / tau), ratio, 1 / sp.sqrt(1 - 2 * tau)


def _number(value: float, exact: bool) -> sp.Expr:
    return sp.nsimplify(value, rational=True) if exact else sp.Float(value, 25)


def _power_series(formula: sp.Expr, variance: float, levels: int) -> LevelSpectrum:
    """kappa(x x') = sum c_m (x x')^m in one dimension: eigenvalues of the matrix sqrt(c_m c_l) E x^(m + l).

    The matrix is that of the operator in the features sqrt(c_m) x^m; orders are added until no eigenvalue moves.
    """
    import mpmath

    context = mpmath.mp.clone()
    context.dps = 40
    orders, before = max(2 * levels, 24), None
    while True:
        radius = max(1.0, orders * variance / 2)  # moments of high order grow like this
        coefficients = [c / context.mpf(radius) ** m for m, c in enumerate(taylor(formula, orders, radius))]
        if min(coefficients) < 0:
            raise BadData(f"{formula} has a negative coefficient", where="Gaussian measure", remedy="give a kernel")
        found = _hermite_eigenvalues(coefficients, variance, orders, context)[:levels]
        if before is not None and all(abs(a - b) <= abs(a) * 1e-12 for a, b in zip(found, before, strict=True)):
            break
        if orders > 8 * levels + 100:
            raise BadData(
                f"the power series of {formula} does not settle at variance {variance:g}",
                where="Gaussian measure",
                remedy="lower the variance, or ask for fewer levels",
            )
        before, orders = found, orders + max(orders // 4, 8)
    values = np.array([float(v) for v in found])
    errors = np.array([float(abs(a - b)) for a, b in zip(found, before, strict=True)]) + _EPS * values + _DROPPED
    scale = context.sqrt(2 * context.pi)
    density = lambda z: context.exp(-z * z / 2) / scale  # noqa: E731
    trace = 2 * context.quad(
        lambda z: evaluate(formula, Numbers(context), variance * z * z) * density(z), [0, 1, 2, 4, 8, context.inf]
    )
    return LevelSpectrum(
        space="Gaussian inputs in 1 dimension",
        kernel=str(formula),
        levels=tuple(range(len(values))),
        multiplicities=np.ones(len(values)),
        eigenvalues=values,
        errors=errors,
        trace=float(trace),
        eigenfunctions="even and odd power series",
        method=f"power series to order {orders}, 40 digits",
        dimension=1,
        trail=Trail()
        .then("power series", formula)
        .then("eigenvalues in its features sqrt(c_m) x^m", f"{orders} orders"),
    )


def _hermite_eigenvalues(coefficients: list, variance: float, orders: int, context: Any) -> list:
    """All eigenvalues, largest first, of the even and the odd block."""
    values = []
    for parity in (0, 1):
        powers = [m for m in range(parity, orders, 2) if coefficients[m] != 0]
        matrix = context.matrix(len(powers), len(powers))
        scale = [context.sqrt(coefficients[m]) for m in powers]
        for i, m in enumerate(powers):
            for j, q in enumerate(powers):
                moment = context.mpf(int(sp.factorial2(m + q - 1))) * context.mpf(variance) ** ((m + q) // 2)
                matrix[i, j] = scale[i] * scale[j] * moment
        values += list(context.eigsy(matrix, eigvals_only=True)) if powers else []
    return sorted(values, reverse=True)
