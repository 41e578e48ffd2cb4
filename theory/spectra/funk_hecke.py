r"""Eigenvalues of zonal kernels on the sphere in closed form, at a whole or symbolic dimension d.

With P_k the Gegenbauer polynomial, P_k(1) = 1, and the weight (1 - t^2)^((d-3)/2), the eigenvalue of level k is

    lambda_k = int kappa P_k weight / int weight
             = Gamma(d/2) / (sqrt(pi) 2^k Gamma(k + (d-1)/2)) int kappa^(k) (1 - t^2)^(k + (d-3)/2) dt   (Rodrigues),

so lambda_k[f; d] = lambda_{k-1}[f'; d+2] / d. It is linear in kappa, multiplication by t is a recurrence in k, and it
is known for powers of t, of 1 - t, of 1 - a t^2, for asin(a t) and exp(a t): enough for the arc-cosine kernels (ReLU,
step, their powers), erf, dot-product exponentials, polynomials and the Gaussian.

>>> d = sp.Symbol("d", positive=True)
>>> eigenvalue(sp.asin(T) * 2 / sp.pi, 1, 3), eigenvalue(T**2, 0, d)
(1/4, 1/d)
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import sympy as sp

from ..errors import BadData, NoClosedForm
from .zonal import T, parts

LONGEST = 60  # distinct parts of a formula beyond which no closed form is looked for


@dataclass(frozen=True)
class Term:
    """coefficient x t^power x base(t), the base named by its kind and parameters."""

    coefficient: sp.Expr
    power: int
    kind: str
    parameters: tuple = ()


@lru_cache(maxsize=64)
def terms(formula: sp.Expr) -> tuple[Term, ...]:
    """The formula as a sum of terms with known eigenvalues. Raises `NoClosedForm`.

    >>> [(term.kind, term.power) for term in terms(sp.sqrt(1 - T**2) + T * sp.acos(T))]
    [('monomial', 1), ('asin', 1), ('even_power', 0)]
    """
    if not isinstance(formula, sp.Expr):
        remedy = "give an expression of T, as kernel.symbolic() is"
        raise BadData(f"a {type(formula).__name__}", where="Funk-Hecke", remedy=remedy)
    if len(parts(formula)) > LONGEST:
        raise NoClosedForm("a formula this long", where="Funk-Hecke", remedy="use numbers")
    formula = formula.replace(sp.acos, lambda argument: sp.pi / 2 - sp.asin(argument))
    for function in (sp.sinh, sp.cosh):
        formula = formula.replace(function, lambda argument, f=function: f(argument).rewrite(sp.exp))
    formula = sp.expand(sp.expand(formula), power_exp=False)
    return tuple(sorted((_term(part) for part in sp.Add.make_args(formula)), key=lambda term: _ORDER.index(term.kind)))


def eigenvalue(formula: sp.Expr, level: Any, dimension: Any) -> sp.Expr:
    """lambda_level on the unit sphere of R^dimension; both may be symbols.

    A symbolic level stands for every level of its parity (`2 * j` or `2 * j + 1`, j an integer symbol) beyond the
    degree of the polynomial part. Raises `NoClosedForm`.

    >>> relu = (sp.sqrt(1 - T**2) + (sp.pi - sp.acos(T)) * T) / sp.pi
    >>> [eigenvalue(relu + T * (1 - sp.acos(T) / sp.pi), k, 3) for k in range(5)]
    [1/2, 1/3, 5/64, 0, 1/192]
    """
    level, dimension = sp.sympify(level), sp.sympify(dimension)
    memory: dict = {}
    total = sp.Add(*(term.coefficient * _times(term, term.power, level, dimension, memory) for term in terms(formula)))
    return sp.expand(total) if total.is_number else _tidy(total)


def _times(term: Term, power: int, level: sp.Expr, d: sp.Expr, memory: dict) -> sp.Expr:
    """Eigenvalue of t^power times a base: t P_k = ((k + d - 2) P_{k+1} + k P_{k-1}) / (2 k + d - 2)."""
    if term.kind == "monomial":
        return _monomial(power, level, d)
    if level.is_negative:
        return sp.S.Zero
    key = (term.kind, term.parameters, power, level)
    if key not in memory:
        if power == 0:
            memory[key] = _BASES[term.kind](level, d, *term.parameters)
        else:
            up, down = (_times(term, power - 1, level + step, d, memory) for step in (1, -1))
            if level == 0:
                memory[key] = up  # and the recurrence would be 0/0 on the circle
            else:
                memory[key] = ((level + d - 2) * up + level * down) / (2 * level + d - 2)
    return memory[key]


def _tidy(total: sp.Expr) -> sp.Expr:
    """Gamma functions with a common argument modulo 1 taken together, and what is rational factored."""
    if not total.has(sp.gamma):
        return sp.factor(total)
    return sp.factor(sp.gammasimp(sp.expand_func(total)))


def _rising(x: sp.Expr, count: sp.Expr) -> sp.Expr:
    """x (x + 1) ... (x + count - 1)."""
    return sp.rf(x, count) if count.is_Integer else sp.gamma(x + count) / sp.gamma(x)


# ---- bases ----------------------------------------------------------------------------------------------------------


def _monomial(m: int, k: sp.Expr, d: sp.Expr) -> sp.Expr:
    """t^m: m!/(2^k (m-k)!) Gamma((m-k+1)/2) Gamma(d/2) / (sqrt(pi) Gamma((m+k+d)/2)), for k <= m of the same parity."""
    if not k.is_Integer or k > m or (m - int(k)) % 2:
        return sp.S.Zero
    i, rest = int(k), (m - int(k)) // 2
    # Gamma(r + 1/2)/sqrt(pi) and Gamma(d/2)/Gamma(i + r + d/2) are finite products
    value = sp.Rational(sp.factorial(m), 2**i * sp.factorial(m - i)) * sp.rf(sp.S.Half, rest)
    return value / sp.expand_func(sp.rf(d / 2, i + rest))


def _odd(k: sp.Expr) -> bool:
    parity = sp.Mod(k, 2)
    if parity not in (0, 1):
        raise NoClosedForm(f"level {k} may be even or odd", where="Funk-Hecke", remedy="give 2*j or 2*j + 1")
    return parity == 1


def _even_power(k: sp.Expr, d: sp.Expr, a: sp.Expr, mu: sp.Expr) -> sp.Expr:
    """(1 - a t^2)^mu at k = 2 i: a^i (-mu)_i (1/2)_i / (d/2)_2i 2F1(i - mu, i + 1/2; 2 i + d/2; a)."""
    if _odd(k):
        return sp.S.Zero
    i = k / 2
    gamma = sp.gamma
    if a == 1:  # Gauss's sum
        value = gamma(d / 2) * gamma((d - 1) / 2 + mu) / (gamma(i + d / 2 + mu) * gamma(i + (d - 1) / 2))
    else:
        value = a**i * gamma(d / 2) / gamma(2 * i + d / 2) * sp.hyper((i - mu, i + sp.S.Half), (2 * i + d / 2,), a)
    return _rising(-mu, i) * _rising(sp.S.Half, i) * value


def _asin(k: sp.Expr, d: sp.Expr, a: sp.Expr) -> sp.Expr:
    """asin(a t): a/d times level k - 1 of (1 - a^2 t^2)^(-1/2) in dimension d + 2."""
    return a / d * _even_power(k - 1, d + 2, a**2, -sp.S.Half) if _odd(k) else sp.S.Zero


def _end_power(k: sp.Expr, d: sp.Expr, end: int, nu: sp.Expr) -> sp.Expr:
    """(1 - t)^nu: 2^nu Gamma(d-1) Gamma(nu + (d-1)/2) / Gamma((d-1)/2) (-nu)_k / Gamma(k + nu + d - 1)."""
    half = (d - 1) / 2
    value = 2**nu * sp.gamma(d - 1) * sp.gamma(nu + half) / sp.gamma(half)
    return (sp.S.One if end > 0 else (-1) ** k) * value * _rising(-nu, k) / sp.gamma(k + nu + d - 1)


def _exponential(k: sp.Expr, d: sp.Expr, a: sp.Expr) -> sp.Expr:
    """exp(a t): Gamma(d/2) (2/a)^(d/2 - 1) I_{k + d/2 - 1}(a)."""
    sign = sp.S.One
    if a.is_negative:
        sign, a = (-1) ** k, -a
    return sign * sp.gamma(d / 2) * (2 / a) ** (d / 2 - 1) * sp.besseli(k + d / 2 - 1, a)


_BASES: dict[str, Callable] = {
    "asin": _asin,
    "even_power": _even_power,
    "end_power": _end_power,
    "exponential": _exponential,
}
_ORDER = ("monomial", *_BASES)


def _term(part: sp.Expr) -> Term:
    coefficient, rest = part.as_independent(T, as_Add=False)
    power, kind, parameters = 0, "monomial", ()
    for factor in sp.Mul.make_args(rest):
        if factor == 1:
            continue
        if factor == T or (factor.is_Pow and factor.base == T and factor.exp.is_Integer and factor.exp > 0):
            power += int(factor.as_base_exp()[1])
            continue
        if kind != "monomial":
            raise NoClosedForm(f"the product {rest}", where="Funk-Hecke", remedy="use numbers")
        kind, scale, parameters = _base(factor)
        coefficient *= scale
    return Term(coefficient, power, kind, parameters)


def _base(factor: sp.Expr) -> tuple[str, sp.Expr, tuple]:
    """Kind, constant factor and parameters of one factor."""
    argument = factor.args[0] if factor.args else factor
    if isinstance(factor, sp.asin) and argument.is_polynomial(T) and sp.degree(argument, T) == 1:
        slope, shift = sp.Poly(argument, T).all_coeffs()
        if shift == 0 and abs(slope) <= 1:
            return "asin", sp.S.One, (slope,)
    if isinstance(factor, sp.exp) and argument.is_polynomial(T) and sp.degree(argument, T) == 1:
        slope, shift = sp.Poly(argument, T).all_coeffs()
        return "exponential", sp.exp(shift), (slope,)
    if factor.is_Pow and factor.base.is_polynomial(T) and factor.exp.is_Rational:
        base, exponent = sp.Poly(factor.base, T), factor.exp
        coefficients = base.all_coeffs()
        if base.degree() == 2 and coefficients[1] == 0:
            ratio = -coefficients[0] / coefficients[2]
            if coefficients[2] > 0 and ratio <= 1 and not (ratio < 0 and exponent.is_Integer and exponent > 0):
                return "even_power", coefficients[2] ** exponent, (ratio, exponent)
        if base.degree() == 1 and abs(coefficients[0]) == coefficients[1]:
            return "end_power", coefficients[1] ** exponent, (-int(sp.sign(coefficients[0])), exponent)
    raise NoClosedForm(f"the factor {factor}", where="Funk-Hecke", remedy="use numbers")
