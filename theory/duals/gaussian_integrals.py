r"""Gaussian expectations of products of two functions, in closed form, by Price's theorem on sums of simple terms.

For (u, v) Gaussian with variances A, B and covariance C (mean zero), W(f, g) = E f(u) g(v) satisfies

    dW(f, g)/dC  =  W(f', g'),        W(f, g) at C = 0  =  E f(u)  E g(v).

Functions are sums of terms z^p exp(rate z^2 + tilt z), alone or times sign(z) or erf(scale z). Powers times
exponentials pair by completing the square and Stein's recursion; of the rest, derivatives are taken until they do (or
are deltas), and integrated back in C. The integrands are C^n (r^2 - C^2)^(m/2), m odd, and polynomials times asin(C/r):
integration by parts stays in this class.

>>> print(paired(terms(sp.erf(z), z), terms(sp.erf(z), z)))
2*asin(2*C/(sqrt(2*A + 1)*sqrt(2*B + 1)))/pi
"""

from dataclasses import dataclass, replace
from functools import lru_cache

import sympy as sp

from ..errors import NoClosedForm

A, B = sp.symbols("A B", positive=True)
C = sp.Symbol("C", real=True)
z = sp.Symbol("z", real=True)
_LONGEST = 10  # derivatives taken before giving up
_positive = sp.Symbol("p", positive=True)


def _refuse(found: str) -> NoClosedForm:
    return NoClosedForm(found, where="Gaussian integral", remedy="use quadrature: activation_moments.moments")


@dataclass(frozen=True)
class Term:
    """coefficient z^power exp(rate z^2 + tilt z) times 1 ("smooth"), sign(z) ("sign") or erf(scale z) ("erf"); or a
    coefficient times a delta function at zero ("delta")."""

    coefficient: sp.Expr
    power: int = 0
    rate: sp.Expr = sp.S.Zero
    tilt: sp.Expr = sp.S.Zero
    kind: str = "smooth"
    scale: sp.Expr = sp.S.Zero

    @property
    def parity(self) -> int:  # 1 even, -1 odd, 0 neither
        return 0 if self.tilt != 0 else (-1) ** (self.power + (self.kind in ("sign", "erf")))

    @property
    def bare(self) -> "Term":
        return replace(self, coefficient=sp.S.One)

    def times(self, factor) -> "Term":
        return replace(self, coefficient=self.coefficient * factor)


def terms(expression: sp.Expr, variable: sp.Symbol) -> tuple[Term, ...]:
    """The terms of an expression that is smooth on either side of zero.

    Errors: `NoClosedForm` naming the part that is none of them.

    >>> [(t.coefficient, t.power, t.kind) for t in terms(sp.Max(z, 0), z)]
    [(1/2, 1, 'smooth'), (1/2, 1, 'sign')]
    """
    expression = sp.nsimplify(expression, rational=True)
    right = expression.subs(variable, _positive)
    left = expression.subs(variable, -_positive)
    right, left = (sp.piecewise_fold(side) if side.has(sp.Piecewise) else side for side in (right, left))
    right, left = right.subs(_positive, z), left.subs(_positive, -z)
    bent = sp.expand((right - left) / 2)
    kinked = bent != 0 and sp.simplify(bent) != 0
    smooth = _additive((right + left) / 2 if kinked else right, "smooth")
    return _collected(smooth + (_additive(bent, "sign") if kinked else []))


def _additive(expression: sp.Expr, kind: str) -> list[Term]:
    trigonometric = (sp.sin, sp.cos, sp.sinh, sp.cosh)
    expression = expression.rewrite(sp.erfc, sp.erf).replace(
        lambda part: isinstance(part, trigonometric), lambda part: part.rewrite(sp.exp)
    )
    return [_factors(part, kind) for part in sp.Add.make_args(sp.expand(expression)) if part != 0]


def _factors(product: sp.Expr, kind: str) -> Term:
    coefficient, rest = product.as_independent(z, as_Add=False)
    term = Term(coefficient, kind=kind)
    for factor in sp.Mul.make_args(rest):
        base, exponent = factor.as_base_exp()
        if factor == 1:
            continue
        if base == z and exponent.is_Integer and exponent > 0:
            term = replace(term, power=term.power + int(exponent))
        elif isinstance(factor, sp.exp) and factor.exp.is_polynomial(z) and sp.degree(factor.exp, z) <= 2:
            constant, tilt, rate = (factor.exp.expand().coeff(z, k) for k in range(3))
            term = replace(term, rate=term.rate + rate, tilt=term.tilt + tilt).times(sp.exp(constant))
        elif (
            isinstance(factor, sp.erf)
            and kind == "smooth"
            and term.kind == "smooth"
            and not (factor.args[0] / z).has(z)
        ):
            term = replace(term, kind="erf", scale=factor.args[0] / z)
        else:
            raise _refuse(f"{factor} is no power, exponential, sign or error function of a multiple of {z}")
    if not (term.rate.is_nonpositive and term.scale.is_real):
        raise _refuse(f"{product} grows like the exponential of a square")
    return term


def _collected(parts: list[Term]) -> tuple[Term, ...]:
    found: dict[Term, sp.Expr] = {}
    for part in parts:
        found[part.bare] = found.get(part.bare, sp.S.Zero) + part.coefficient
    return tuple(replace(key, coefficient=sp.expand(c)) for key, c in found.items() if sp.expand(c) != 0)


def derivative(function: tuple[Term, ...]) -> tuple[Term, ...]:
    """f', with a delta function for every jump at zero.

    >>> [(t.coefficient, t.kind) for t in derivative(terms(sp.sign(z), z))]
    [(2, 'delta')]
    """
    parts = []
    for t in function:
        if t.kind == "delta":
            raise _refuse("the derivative of a delta function")
        if t.power:
            parts.append(replace(t, power=t.power - 1).times(t.power))
        if t.rate != 0:
            parts.append(replace(t, power=t.power + 1).times(2 * t.rate))
        if t.tilt != 0:
            parts.append(t.times(t.tilt))
        if t.kind == "erf":
            bell = replace(t, kind="smooth", scale=sp.S.Zero, rate=t.rate - t.scale**2)
            parts.append(bell.times(2 * t.scale / sp.sqrt(sp.pi)))
        if t.kind == "sign" and t.power == 0:
            parts.append(Term(2 * t.coefficient, kind="delta"))
    return _collected(parts)


# ---- parts of an integrand that must stay whole ----------------------------------------------------------------------

_WRITTEN: dict[sp.Symbol, sp.Expr] = {}  # what a symbol below stands for
_SQUARES: dict[sp.Symbol, sp.Expr] = {}  # r^2 of its D or S
_variance = sp.Symbol("variance", positive=True)


@lru_cache(maxsize=256)
def _root(square: sp.Expr) -> tuple[sp.Symbol, sp.Symbol]:
    """Symbols for D = sqrt(r^2 - C^2) and S = asin(C / r), by which integrands are sorted."""
    root, angle = sp.Dummy("D", positive=True), sp.Dummy("S", real=True)
    _WRITTEN[root], _WRITTEN[angle] = sp.sqrt(square - C**2), sp.asin(C / sp.sqrt(square))
    _SQUARES[root] = _SQUARES[angle] = square
    return root, angle


@lru_cache(maxsize=1024)
def _shrink(rate: sp.Expr, variance: sp.Expr) -> sp.Expr:
    """1 - 2 rate variance: exp(rate z^2) makes another Gaussian, of the variance divided by this, of mass its root."""
    if rate == 0:
        return sp.S.One
    symbol = sp.Dummy("Q", positive=True)
    _WRITTEN[symbol] = 1 - 2 * rate * variance
    return symbol


def _explicit(expression: sp.Expr) -> sp.Expr:
    while known := {symbol: _WRITTEN[symbol] for symbol in expression.free_symbols & set(_WRITTEN)}:
        expression = expression.subs(known)
    return expression


def mean(function: tuple[Term, ...], variance: sp.Expr = A) -> sp.Expr:
    """E f(u) for u ~ N(0, variance).

    >>> print(mean(terms(sp.Max(z, 0), z)))
    sqrt(2)*sqrt(A)/(2*sqrt(pi))
    """
    return _real(_explicit(sp.Add(*(t.coefficient * _mean(t, variance) for t in function))))


def _mean(t: Term, variance: sp.Expr) -> sp.Expr:
    if t.kind == "delta":
        return 1 / sp.sqrt(2 * sp.pi * variance)
    if t.parity == -1:
        return sp.S.Zero
    shrink = _shrink(t.rate, variance)
    spread = variance / shrink
    if t.kind == "smooth":
        moment = _moments(t.power, 0, spread, sp.S.Zero, sp.S.Zero, spread * t.tilt, sp.S.Zero)
        return moment * sp.exp(t.tilt**2 * spread / 2) / sp.sqrt(shrink)
    if t.tilt != 0:
        raise _refuse(f"the mean of {t.kind}(z) exp({t.tilt} z)")
    if t.kind == "sign":  # E |z|^p for odd p
        half = (t.power - 1) // 2
        return sp.sqrt(2 / sp.pi) * 2**half * sp.factorial(half) * sp.sqrt(spread) ** t.power / sp.sqrt(shrink)
    # Stein: E z^p erf(c z) = s ((p - 1) E z^(p-2) erf(c z) + 2 c / sqrt(pi) E z^(p-1) exp(-c^2 z^2))
    bell = Term(sp.S.One, t.power - 1, -(t.scale**2))
    found = 2 * t.scale / sp.sqrt(sp.pi) * _mean(bell, spread)
    if t.power > 1:
        found += (t.power - 1) * _mean(Term(sp.S.One, t.power - 2, kind="erf", scale=t.scale), spread)
    return spread * found / sp.sqrt(shrink)


def _moments(p: int, q: int, a, b, c, m, n) -> sp.Expr:
    """E x^p y^q for means m, n, variances a, b and covariance c, by Stein's recursion."""
    if p < 0 or q < 0:
        return sp.S.Zero
    if p == 0:
        return sp.S.One if q == 0 else _moments(q, 0, b, a, c, n, m)
    lower = (p - 1) * a * _moments(p - 2, q, a, b, c, m, n) if p > 1 else sp.S.Zero
    mixed = q * c * _moments(p - 1, q - 1, a, b, c, m, n) if q else sp.S.Zero
    return sp.expand(m * _moments(p - 1, q, a, b, c, m, n) + lower + mixed)


def paired(f: tuple[Term, ...], g: tuple[Term, ...]) -> sp.Expr:
    """E f(u) g(v) as an expression of A, B, C.

    Errors: `NoClosedForm` when no derivative ends the ladder or an antiderivative is not found.
    """
    direct, tilted = [], []
    for s in f:
        for t in g:
            bent = [x.rate if x.kind != "smooth" else sp.S.Zero for x in (s, t)]
            if bent == [0, 0]:
                direct.append(s.coefficient * t.coefficient * _pair(s.bare, t.bare, 0))
                continue
            # exp(r u^2 + r' v^2) makes another Gaussian pair: take it into the covariance
            plain = [replace(x, rate=x.rate - r, coefficient=sp.S.One) for x, r in zip((s, t), bent, strict=True)]
            mass = _mass(bent[0], bent[1])
            a, b, c = _reweighted(bent[0], bent[1], mass)
            value = _explicit(_pair(*plain, 0)).subs({A: a, B: b, C: c}, simultaneous=True)
            tilted.append(s.coefficient * t.coefficient * value / sp.sqrt(mass))
    return _real(_tidy(sp.Add(*direct)) + sp.Add(*tilted))


def _mass(r, s) -> sp.Expr:
    """det(1 - 2 Sigma diag(r, s)), the inverse square of E exp(r u^2 + s v^2)."""
    return (1 - 2 * r * A) * (1 - 2 * s * B) - 4 * r * s * C**2


def _reweighted(r, s, mass) -> tuple[sp.Expr, sp.Expr, sp.Expr]:
    """Covariance (a, b, c) of the pair reweighted by exp(r u^2 + s v^2)."""
    return (A * (1 - 2 * s * B) + 2 * s * C**2) / mass, (B * (1 - 2 * r * A) + 2 * r * C**2) / mass, C / mass


@lru_cache(maxsize=4096)
def _pair(s: Term, t: Term, depth: int) -> sp.Expr:
    """E s(u) t(v) as a sum of integrable parts in C, D, S."""
    if s.parity * t.parity == -1:
        return sp.S.Zero
    if s.kind == t.kind == "smooth":
        return _smooth_pair(s, t)
    if s.kind == t.kind == "delta":
        return 1 / (2 * sp.pi * _root(A * B)[0])
    if s.kind == "delta":
        return _at_zero(t, A, B)
    if t.kind == "delta":
        return _at_zero(s, B, A)
    if depth == _LONGEST:
        raise _refuse(f"no derivative up to order {_LONGEST} pairs in closed form")
    parts = [(x, y) for x in derivative((s,)) for y in derivative((t,))]
    slope = sp.Add(*(x.coefficient * y.coefficient * _pair(x.bare, y.bare, depth + 1) for x, y in parts))
    return sp.expand(_mean(s, A) * _mean(t, B) + _integrated(slope))


def _smooth_pair(s: Term, t: Term) -> sp.Expr:
    if s.rate != 0 and t.rate != 0:
        square = _shrink(s.rate, A) * _shrink(t.rate, B) / (4 * s.rate * t.rate)
        mass = 4 * s.rate * t.rate * (root := _root(square)[0]) ** 2
        norm = 2 * sp.sqrt(s.rate * t.rate) * root
    else:
        mass = _shrink(s.rate, A) * _shrink(t.rate, B)
        norm = sp.sqrt(mass)
    a, b, c = _reweighted(s.rate, t.rate, mass)
    m, n = a * s.tilt + c * t.tilt, c * s.tilt + b * t.tilt
    moment = _moments(s.power, t.power, a, b, c, m, n)
    exponent = sp.expand((a * s.tilt**2 + 2 * c * s.tilt * t.tilt + b * t.tilt**2) / 2)
    return sp.expand(moment / norm) * sp.exp(exponent)


def _at_zero(t: Term, here: sp.Symbol, there: sp.Symbol) -> sp.Expr:
    """E delta(u) t(v): the density of u at 0 times the mean of t where v ~ N(0, B - C^2/A)."""
    root = _root(A * B)[0]
    value = _mean(t, _variance) / sp.sqrt(2 * sp.pi * here)
    for rate in {t.rate, -(t.scale**2)} - {sp.S.Zero}:
        # 1 - 2 rate (B - C^2/A) is a multiple of r^2 - C^2, for another r
        other = _root(here * _shrink(rate, there) / (-2 * rate))[0]
        value = value.subs(_shrink(rate, _variance), -2 * rate * other**2 / here)
    return sp.expand(value.subs(_variance, root**2 / here))


# ---- integration in C ------------------------------------------------------------------------------------------------


def _pieces(expression: sp.Expr) -> list[sp.Expr]:
    """The terms of a sum in C, D, S, without even powers of D."""
    parts = (_without_even_roots(part) for part in sp.Add.make_args(sp.expand(expression)))
    return [piece for whole in parts for piece in sp.Add.make_args(sp.expand(whole))]


def _integrated(integrand: sp.Expr) -> sp.Expr:
    """The integral from 0 to C of a sum of terms in C, D, S."""
    return sp.Add(*(_integrated_part(piece) for piece in _pieces(integrand)))


def _integrated_part(part: sp.Expr) -> sp.Expr:
    squares = {_SQUARES[symbol] for symbol in part.free_symbols & set(_SQUARES)}
    if not squares:
        return _elementary(part)
    if len(squares) > 1:
        raise _refuse("a product of two different roots")
    (square,) = squares
    root, angle = _root(square)
    n, m, k = (_power(part, symbol) for symbol in (C, root, angle))
    weight = part / (C**n * root**m * angle**k)
    if weight.has(C, root, angle) or k not in (0, 1) or (k == 1 and m != 0) or n < 0:
        raise _refuse(f"the antiderivative of {_explicit(part)}")
    primitive = _by_parts(n, m, k, square)
    start = primitive.subs({C: 0, root: sp.sqrt(square), angle: 0}, simultaneous=True)
    return weight * (primitive - start)


def _power(part: sp.Expr, symbol: sp.Symbol) -> int:
    factors = (factor.as_base_exp() for factor in sp.Mul.make_args(part))
    return sum(int(exponent) for base, exponent in factors if base == symbol)


def _without_even_roots(part: sp.Expr) -> sp.Expr:
    """Even powers of roots, and squares of roots inside exponents, as polynomials in C."""
    for root in part.free_symbols & set(_SQUARES):
        if root.name == "D":
            power, polynomial = _power(part, root), _SQUARES[root] - C**2
            even = power - power % 2 if power > 0 else 0
            part = part / root**even * polynomial ** (even // 2)
            part = part.replace(sp.exp, lambda x, r=root, p=polynomial: sp.exp(sp.expand(sp.expand(x).subs(r**2, p))))
    return part


@lru_cache(maxsize=4096)
def _by_parts(n: int, m: int, k: int, square: sp.Expr) -> sp.Expr:
    """An antiderivative of C^n D^m S^k, D = sqrt(r^2 - C^2), S = asin(C / r), m odd unless k = 1 or m = 0."""
    root, angle = _root(square)
    if k:
        return (C ** (n + 1) * angle - _by_parts(n + 1, -1, 0, square)) / (n + 1)
    if m == 0:
        return C ** (n + 1) / (n + 1)
    if m % 2 == 0:
        raise _refuse("an even power of a root in a denominator")
    if n:
        lower = (n - 1) * _by_parts(n - 2, m + 2, 0, square) if n > 1 else sp.S.Zero
        return (lower - C ** (n - 1) * root ** (m + 2)) / (m + 2)
    if m == -1:
        return angle
    if m > 0:
        return (C * root**m + m * square * _by_parts(0, m - 2, 0, square)) / (m + 1)
    return ((m + 3) * _by_parts(0, m + 2, 0, square) - C * root ** (m + 2)) / ((m + 2) * square)


def _elementary(part: sp.Expr) -> sp.Expr:
    primitive = sp.integrate(sp.expand(part), C)
    if primitive.has(sp.Integral, sp.Piecewise):
        raise _refuse(f"the antiderivative of {part}")
    return primitive - primitive.subs(C, 0)


def _tidy(expression: sp.Expr) -> sp.Expr:
    """Sorted by roots and arcsines, each coefficient one fraction in lowest terms; then written out.

    Powers -1, 1, 3... of one root become one fraction: apart, they cancel each other at small variances.
    """
    parts: dict[tuple, sp.Expr] = {}
    for piece in _pieces(expression):
        key = tuple(sorted(((x, _power(piece, x)) for x in piece.free_symbols & set(_SQUARES)), key=str))
        parts[key] = parts.get(key, sp.S.Zero) + piece / sp.Mul(*(x**power for x, power in key))
    for key in sorted((key for key in parts if len(key) == 1), key=str):
        ((symbol, power),) = key
        lowest = min(k[0][1] for k in parts if len(k) == 1 and k[0][0] == symbol)
        if symbol.name == "D" and lowest < power and lowest == -1:
            parts[((symbol, lowest),)] += parts.pop(key) * (_SQUARES[symbol] - C**2) ** ((power - lowest) // 2)
    plain = sp.Add.make_args(sp.expand(parts.pop((), sp.S.Zero)))
    growing = [part for part in plain if part.has(sp.exp)]
    rest = _explicit(sp.Add(*(part for part in plain if not part.has(sp.exp))))
    total = [sp.expand(_explicit(sp.Add(*growing))), rest if rest.is_polynomial(A, B, C) else sp.factor(rest)]
    for key, part in parts.items():
        total.append(_explicit(sp.Mul(*(x**power for x, power in key))) * sp.factor(_explicit(part)))
    return sp.Add(*total)


def _real(expression: sp.Expr) -> sp.Expr:
    if not expression.has(sp.I):
        return expression
    expression = sp.expand(expression, complex=True)
    if expression.has(sp.I, sp.re, sp.im):
        raise _refuse("an expression that is not seen to be real")
    return expression
