"""Equations of one unknown that are solved by recognising their shape; each matcher returns a `Match` or None.

The one idea: the power mode ODE is one equation in many clothes. Two terms in u, with a = u^q and x = a / S,

    u' = A u^p - B u^(p+q)     is     dx/dtau = x^P (1 - x),   S = A / B,   tau = q B S^P t,   P = 1 + (p - 1) / q,

linear at P = 0, logistic at P = 1, Wright omega (Lambert W) at P = 2, hypergeometric in between. A chain of L linear
layers has P = 2 - 2 / L, in its end-to-end strength a or in its layer strength u = a^(1/L) alike.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import sympy as sp

from ..symbols import LEARNING_RATE, STEP, TIME, over

SAXE = "Saxe, McClelland, Ganguli 2013 (arXiv:1312.6120)"
BARRETT_DHERIN = "Barrett, Dherin 2020 (arXiv:2009.11162)"


@dataclass(frozen=True)
class Match:
    """What a matcher found; nothing in it is trusted before it is substituted back.

    `expression` the unknown at time t (explicit, root) or the time to go from `initial` to the unknown (implicit);
    `time_law` that time, also for explicit forms where known; `final` the stationary point approached;
    `domain` conditions on initial value and parameters; `parts` what the numerical evaluation needs.
    """

    method: str
    kind: str
    expression: Any
    time_law: Any = None
    final: Any = None
    domain: tuple[Any, ...] = ()
    parts: Mapping[str, Any] = field(default_factory=dict)
    reference: str = ""


def initial_symbol(unknown: Any) -> Any:
    """The symbol of the initial value: `a` starts at `a_0`, with the same assumptions.

    >>> initial_symbol(sp.Symbol("a", positive=True)), initial_symbol(sp.Symbol("a", positive=True)).is_positive
    (a_0, True)
    """
    return unknown.func(f"{unknown.name}_0", **unknown.assumptions0)


def terms(equation: Any, unknown: Any) -> dict[Any, Any] | None:
    """{exponent: coefficient} if the equation is a sum of numeric powers of the unknown, else None.

    >>> a, s = sp.symbols("a s", positive=True)
    >>> terms(3 * a ** sp.Rational(4, 3) * (s - a), a) == {sp.Rational(4, 3): 3 * s, sp.Rational(7, 3): -3}
    True
    """
    stand_in = sp.Dummy(positive=True)  # (u^2)^(1/3) is u^(2/3): unknowns of power flows are positive
    expanded = sp.expand(sp.powdenest(sp.sympify(equation).xreplace({unknown: stand_in})))
    found: dict[Any, Any] = {}
    for term in sp.Add.make_args(expanded):
        coefficient, exponent = term.as_coeff_exponent(stand_in)
        if coefficient.has(stand_in) or not (exponent.is_Rational or exponent.is_Float):
            return None
        if exponent.is_Float:
            exponent = sp.nsimplify(exponent)
        found[exponent] = found.get(exponent, sp.S.Zero) + coefficient
    found = {exponent: sp.factor_terms(coefficient) for exponent, coefficient in found.items()}
    return {exponent: found[exponent] for exponent in sorted(found) if found[exponent] != 0}


def symbolic_terms(equation: Any, unknown: Any) -> dict[Any, Any] | None:
    """{exponent: coefficient} of a sum of powers of the unknown whose exponents may hold symbols, else None.

    A term c u^p has p = u c'/c and c = its value at u = 1.

    >>> a, s, L = sp.symbols("a s L", positive=True)
    >>> symbolic_terms(L * a ** (2 - 2 / L) * (s - a), a) == {2 - 2 / L: L * s, 3 - 2 / L: -L}
    True
    """
    stand_in = sp.Dummy(positive=True)
    expanded = sp.expand(sp.powdenest(sp.sympify(equation).xreplace({unknown: stand_in})))
    found: dict[Any, Any] = {}
    for term in sp.Add.make_args(expanded):
        exponent = sp.expand(sp.cancel(sp.powsimp(stand_in * term.diff(stand_in) / term)))
        if exponent.has(stand_in):
            return None
        found[exponent] = found.get(exponent, sp.S.Zero) + term.subs(stand_in, 1)
    return {exponent: sp.factor_terms(value) for exponent, value in found.items() if value != 0}


def linear(equation: Any, u: Any) -> Match | None:
    """u' = A + B u."""
    found = terms(equation, u)
    if found is None or not set(found) <= {0, 1}:
        return None
    A, B, u0 = found.get(sp.S.Zero, sp.S.Zero), found.get(sp.S.One, sp.S.Zero), initial_symbol(u)
    parts = {"A": A, "B": B}
    if B == 0:
        law = (u - u0) / A if A != 0 else None
        return Match("linear", "explicit", u0 + A * TIME, law, None, (), parts)
    final = sp.cancel(-A / B)
    law = sp.log((u - final) / (u0 - final)) / B
    return Match("linear", "explicit", final + (u0 - final) * sp.exp(B * TIME), law, final, (), parts)


def riccati(equation: Any, u: Any) -> Match | None:
    """u' = A + B u + C u^2 with A != 0: u moves on a circle's worth of Moebius maps between its two fixed points.

    (u - u+) / (u - u-) = (u0 - u+) / (u0 - u-) e^(-D t),   u+- = (-B -+ D) / (2 C),   D = sqrt(B^2 - 4 A C).
    """
    found = terms(equation, u)
    if found is None or not {0, 2} <= set(found) or not set(found) <= {0, 1, 2}:
        return None
    A, B, C = found[sp.S.Zero], found.get(sp.S.One, sp.S.Zero), found[sp.Integer(2)]
    u0, D = initial_symbol(u), sp.sqrt(sp.factor(B**2 - 4 * A * C))
    stable, unstable = (-B - D) / (2 * C), (-B + D) / (2 * C)
    ratio = (u0 - stable) / (u0 - unstable) * sp.exp(-D * TIME)
    law = sp.log((u0 - stable) * (u - unstable) / ((u0 - unstable) * (u - stable))) / D
    domain = (sp.Gt(B**2 - 4 * A * C, 0), sp.Gt((u0 - unstable) * (stable - u0), 0))
    expression = (stable - ratio * unstable) / (1 - ratio)
    return Match("Riccati", "explicit", expression, law, stable, domain, {"A": A, "B": B, "C": C})


def single_power(equation: Any, u: Any) -> Match | None:
    """u' = A u^p, p not 0 or 1: u^(1-p) is linear in time.

    >>> u = sp.Symbol("u", positive=True)
    >>> print(single_power(-(u**3), u).expression)
    1/sqrt(2*t + u_0**(-2))
    """
    found = terms(equation, u)
    if found is None or len(found) != 1:
        return None
    ((p, A),) = found.items()
    u0, q = initial_symbol(u), 1 - p
    grown = u0**q + q * A * TIME
    law = (u**q - u0**q) / (q * A)
    return Match(
        "power law", "explicit", grown ** (1 / q), law, None, (sp.Gt(u0, 0), sp.Gt(grown, 0)), {"p": p, "A": A}
    )


def power_mode(equation: Any, u: Any) -> Match | None:
    """u' = A u^p - B u^(p+q): see the module's first lines; explicit for P = 0, 1, 2, else the implicit law

    t = F(a) - F(a0),   F(a) = a^(1-P) / (q B S (1-P)) 2F1(1, 1-P; 2-P; a/S)       (logarithms when P is an integer).

    Exponents may hold symbols, as the number of layers, if q is known to be positive.

    >>> a, s, L = sp.symbols("a s L", positive=True)
    >>> power_mode(L * a ** (2 - 2 / L) * (s - a), a).domain[-1]
    Ne(2 - 2/L, 1)
    """
    found = terms(equation, u) or symbolic_terms(equation, u)
    if found is None or len(found) != 2:
        return None
    (p, A), (m, minus_B) = found.items()
    if (p - m).is_positive:
        (p, A), (m, minus_B) = (m, minus_B), (p, A)
    q, B, u0 = m - p, -minus_B, initial_symbol(u)
    if not q.is_positive:
        return None
    S, P = sp.factor_terms(sp.cancel(A / B)), sp.expand(sp.cancel(1 + (p - 1) / q))
    anywhere = P == 1 and q == 1  # the logistic law holds for either sign of everything
    if S.is_negative and not anywhere:
        return None
    a, a0 = u**q, u0**q
    rate = sp.powdenest(q * B * S**P)
    parts = {"p": p, "q": q, "A": A, "B": B}
    final = S ** (1 / q)
    domain: tuple[Any, ...] = (sp.Gt(u0, 0), sp.Gt(S, 0), sp.Gt(B, 0), sp.Lt(u0, final))
    odds = sp.log(a * (S - a0) / (a0 * (S - a)))
    if P == 0:
        expression = (S + (a0 - S) * sp.exp(-q * B * TIME)) ** (1 / q)
        law = sp.log((S - a0) / (S - a)) / (q * B)
        return Match("linear in a power", "explicit", expression, law, final, domain, parts)
    if P == 1:
        expression = (S / (1 + (S / a0 - 1) * sp.exp(-rate * TIME))) ** (1 / q)
        limits = () if anywhere else domain
        return Match("logistic", "explicit", expression, odds / rate, final, limits, parts, SAXE)
    if P.is_integer and P >= 2:
        law = odds - sum(((S / a) ** j - (S / a0) ** j) / j for j in range(1, int(P)))
        if P == 2:
            y0 = S / a0 - 1
            expression = (S / (1 + sp.LambertW(y0 * sp.exp(y0 - rate * TIME)))) ** (1 / q)
            return Match("Wright omega", "explicit", expression, law / rate, final, domain, parts, SAXE)
        return Match("logarithms", "implicit", law / rate, law / rate, final, domain, parts)

    def passed(strength):
        series = sp.hyper((1, 1 - P), (2 - P,), strength / S)
        return strength ** (1 - P) / (q * B * S * (1 - P)) * series

    law = passed(a) - passed(a0)
    domain = domain if P.is_number else (*domain, sp.Ne(P, 1))  # two layers have a logarithm
    return Match("hypergeometric", "implicit", law, law, final, domain, parts, SAXE)


def stepped_power_mode(equation: Any, u: Any) -> Match | None:
    """A power mode followed in finite steps: 1 / u' = 1 / (A u^p - B u^(p+q)) + eta d/du [alpha log u + gamma log f].

    t = F(u) - F(u0) + eta [alpha log(u / u0) + gamma log((A - B u^q) / (A - B u0^q))], which increases as long as the
    learning rate is below 2 / sharpness. F is the law of `power_mode`.

    >>> u, s = sp.symbols("u s", positive=True)
    >>> f = u * (s - u**2)
    >>> law = stepped_power_mode(f / (1 + LEARNING_RATE * f.diff(u) / 2), u).time_law
    >>> print(sp.simplify(law.diff(LEARNING_RATE).diff(u) - f.diff(u) / (2 * f)))
    0
    """
    if not equation.has(LEARNING_RATE):
        return None
    plain = sp.sympify(equation).subs(LEARNING_RATE, 0)
    match, found = power_mode(plain, u), terms(plain, u)
    extra = sp.simplify(sp.diff(1 / equation, LEARNING_RATE))
    if match is None or match.time_law is None or extra.has(LEARNING_RATE):
        return None
    p, q, A, B = (match.parts[name] for name in "pqAB")
    shares = terms(sp.cancel(sp.together(sp.powsimp(sp.expand(extra * u * (A - B * u**q))))), u)
    if shares is None or not set(shares) <= {0, q} or found is None:
        return None
    alpha = sp.cancel(shares.get(sp.S.Zero, sp.S.Zero) / A)
    gamma = sp.cancel(-(shares.get(q, sp.S.Zero) + alpha * B) / (q * B))
    u0 = initial_symbol(u)
    steps = alpha * sp.log(u / u0) + gamma * sp.log((A - B * u**q) / (A - B * u0**q))
    law = match.time_law + LEARNING_RATE * steps
    parts = {**match.parts, "alpha": alpha * LEARNING_RATE, "gamma": gamma * LEARNING_RATE}
    domain = (sp.Gt(u0, 0), sp.Gt(A / B, 0), sp.Gt(B, 0), sp.Lt(u0, match.final))
    return Match("finite steps", "implicit", law, law, match.final, domain, parts, BARRETT_DHERIN)


def two_layer(equation: Any, u: Any) -> Match | None:
    """u' = sqrt(alpha + beta u^2) (A - B u): a product of two weights whose difference of squares is conserved.

    With S = A/B, c^2 = alpha/beta and k = sqrt(S^2 + c^2), 1 / (S - u) obeys a linear equation of second
    order, whose rate K = sqrt(beta A^2 + alpha B^2) is the rate of approach. Hence

    u = S - (S - u0) / [cosh K t + sqrt(u0^2 + c^2) / k sinh K t - S (S - u0) / k^2 (cosh K t - 1)].
    """
    equation = sp.sympify(equation)
    roots = [power for power in equation.atoms(sp.Pow) if power.exp == sp.S.Half and power.base.has(u)]
    if len(roots) != 1:
        return None
    root = roots[0]
    inside, outside = terms(root.base, u), terms(sp.cancel(equation / root), u)
    if inside is None or outside is None or set(inside) != {0, 2} or not set(outside) <= {0, 1} or 1 not in outside:
        return None
    alpha, beta = inside[sp.S.Zero], inside[sp.Integer(2)]
    A, B, u0 = outside.get(sp.S.Zero, sp.S.Zero), -outside[sp.S.One], initial_symbol(u)
    final, c = sp.cancel(A / B), sp.sqrt(sp.cancel(alpha / beta))
    rate = sp.sqrt(sp.expand(beta * A**2 + alpha * B**2))
    k, rho = sp.sqrt(final**2 + c**2), sp.sqrt(u0**2 + c**2)
    fast, slow = sp.cosh(rate * TIME), sp.sinh(rate * TIME)
    growth = fast + rho / k * slow - final * (final - u0) / k**2 * (fast - 1)

    def lifted(strength):
        return strength + sp.sqrt(strength**2 + c**2)

    plus, minus = lifted(final), final - k
    law = sp.log((lifted(u0) - plus) * (lifted(u) - minus) / ((lifted(u0) - minus) * (lifted(u) - plus))) / rate
    domain = (sp.Gt(alpha, 0), sp.Gt(beta, 0), sp.Gt(B, 0), sp.Lt(u0, final))
    parts = {"alpha": alpha, "beta": beta, "A": A, "B": B}
    return Match("two unbalanced layers", "explicit", final - (final - u0) / growth, law, final, domain, parts, SAXE)


def affine_recursion(equation: Any, u: Any) -> Match | None:
    """u+ = A + B u: u_k = u* + (u_0 - u*) B^k.

    >>> u = sp.Symbol("u")
    >>> affine_recursion(1 + u / 2, u).final
    2
    """
    found = terms(equation, u)
    if found is None or not set(found) <= {0, 1}:
        return None
    A, B, u0 = found.get(sp.S.Zero, sp.S.Zero), found.get(sp.S.One, sp.S.Zero), initial_symbol(u)
    if B == 1:
        return Match("linear recursion", "explicit", u0 + A * STEP, parts={"A": A, "B": B})
    final = sp.cancel(A / (1 - B))
    expression = final + (u0 - final) * B**STEP
    return Match("linear recursion", "explicit", expression, None, final, (sp.Ne(B, 1),), {"A": A, "B": B})


def polynomial_root(equation: Any, u: Any) -> Match | None:
    """0 = equation, rational in the unknown: its one positive root; factors are linear, quadratic or A u^n - B.

    >>> u = sp.Symbol("u", positive=True)
    >>> polynomial_root(u**2 - u - 6, u).expression
    3
    """
    if equation.has(sp.Function):
        return None
    try:
        factors = sp.Poly(sp.numer(sp.together(equation)), u).factor_list()[1]
    except (sp.PolynomialError, sp.CoercionFailed):
        return None
    roots = []
    for factor, _ in factors:
        (degree,), powers = factor.degree_list(), [power for (power,) in factor.monoms()]
        if degree == 0:
            continue
        if degree > 2 and not (len(powers) == 2 and powers[-1] == 0):
            return None
        if degree == 2:
            roots += sp.roots(factor, u)
        else:
            ratio = -factor.nth(0) / factor.LC()
            roots.append(sp.factor_terms(sp.cancel(ratio)) if degree == 1 else ratio ** sp.Rational(1, degree))
    positive = [root for root in roots if _positive(root)]
    if len(positive) != 1:
        return None
    domain = () if positive[0].is_positive else (sp.Gt(positive[0], 0),)
    return Match("polynomial root", "root", positive[0], None, positive[0], domain)


def outright(equation: Any, u: Any) -> Match | None:
    """0 = c u - b with any functions in b and c that do not hold the unknown: u = b / c.

    >>> u, x = sp.symbols("u x", positive=True)
    >>> outright(u * x - sp.log(x), u).expression
    log(x)/x
    """
    if equation.has(over):  # sums over modes have a solver that knows their shapes
        return None
    slope = sp.diff(equation, u)
    if slope == 0 or slope.has(u):
        return None
    return Match("solved for it", "root", sp.factor_terms(-sp.expand(equation).subs(u, 0) / slope))


def _positive(root: Any) -> bool:
    """Whether a root is a positive number for typical values of its symbols (all of them 0.6 to 1.4)."""
    if root.is_positive is not None:
        return bool(root.is_positive)
    symbols = sorted(root.free_symbols, key=str)
    values = {symbol: sp.Rational(6 + (7 * k) % 9, 10) for k, symbol in enumerate(symbols)}
    number = sp.N(root.xreplace(values), 30)
    return bool(number.is_real and number > 0)
