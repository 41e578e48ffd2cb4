"""The compute-optimal frontier of a loss surface, derived with a multiplier and never looked up.

The one equation: at the best split of C = 6 N D both terms fall equally fast along the constraint,

    alpha A N^-alpha = beta B D^-beta,    so   N* = G (C/6)^(beta/(alpha+beta)),   D* = (C/6)^(alpha/(alpha+beta)) / G,

    G = (alpha A / (beta B))^(1/(alpha+beta)),    L* - E ~ C^-(alpha beta/(alpha+beta)).

>>> found = frontier()
>>> print(found.loss_exponent, found.parameters_exponent, found.tokens_exponent)
alpha*beta/(alpha + beta) beta/(alpha + beta) alpha/(alpha + beta)
>>> print(found.trail.steps[2].result)
A*alpha/N**alpha = B*beta/D**beta
"""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
import sympy as sp

from ..errors import AssumptionViolated
from ..symbols import positive
from ..trail import Equations, Trail
from .law import ALPHA, BETA, CONSTANTS, COUPLING, HOFFMANN, NAMES, A, B, C, D, E, N, coupled, loss

MULTIPLIER = positive("mu")
EXCESS = positive("l")  # l = L - E, what the two terms together may add to the floor


@dataclass(frozen=True)
class Frontier:
    """Everything the constraint implies, as expressions of E, A, B, alpha, beta and C (or l = L - E).

    `parameters`, `tokens`   N*(C) and D*(C)
    `loss`                   L*(C)
    `scale`                  G
    `parameters_at`, `tokens_at`, `compute_at`  the cheapest run that reaches L = E + l
    """

    parameters: sp.Expr
    tokens: sp.Expr
    loss: sp.Expr
    scale: sp.Expr
    parameters_exponent: sp.Expr
    tokens_exponent: sp.Expr
    loss_exponent: sp.Expr
    parameters_at: sp.Expr
    tokens_at: sp.Expr
    compute_at: sp.Expr
    trail: Trail

    def values(self, compute: Any, constants: Mapping[str, Any]) -> dict[str, np.ndarray]:
        """N*, D*, D*/N* and L* as numbers; `compute` and the constants broadcast against one another.

        >>> hoffmann = {"E": 1.69, "A": 406.4, "B": 410.7, "alpha": 0.34, "beta": 0.28}
        >>> print(f"{frontier().values(5.76e23, hoffmann)['parameters']:.4g}")
        3.219e+10
        """
        numbers = [np.asarray(constants[name], float) for name in NAMES]
        with np.errstate(all="ignore"):  # exponents next to zero put the best split beyond all numbers: infinite
            made = {
                name: function(np.asarray(compute, float), *numbers)
                for name, function in _compiled().items()
                if not name.endswith("_gradient")
            }
            return made | {"ratio": made["tokens"] / made["parameters"]}

    def error(self, quantity: str, compute: float, constants: Mapping[str, float], covariance: np.ndarray) -> float:
        """Standard error of log N*, log D* or of L* ("parameters", "tokens", "loss") by the delta method.

        `covariance` (5, 5) is that of (E, log A, log B, alpha, beta); the derivatives are exact.

        >>> constants = {"E": 1.7, "A": 400.0, "B": 400.0, "alpha": 0.3, "beta": 0.3}
        >>> frontier().error("loss", 1e20, constants, np.diag([0.01**2, 0, 0, 0, 0]))
        0.01
        """
        gradient = _compiled()[f"{quantity}_gradient"](float(compute), *(float(constants[name]) for name in NAMES))
        slope = np.array([float(entry) for entry in np.ravel(gradient)])
        return float(np.sqrt(slope @ covariance @ slope))


@lru_cache(maxsize=1)
def frontier() -> Frontier:
    """Minimise L(N, D) at C = 6 N D by Lagrange's multiplier; every step is in the trail."""
    lagrangian = loss() + MULTIPLIER * (sp.log(N) + sp.log(D) - sp.log(C / 6))
    by_n, by_d = (sp.expand(sp.powsimp(x * sp.diff(lagrangian, x))) for x in (N, D))
    trail = Trail().then(
        "Lagrangian of L at C = 6 N D, in logarithms", lagrangian, assumption="6 flops a parameter and token"
    )
    trail = trail.then("stationary in log N and log D", Equations(((by_n, sp.S.Zero), (by_d, sp.S.Zero))))
    left, right = (sp.solve(equation, MULTIPLIER)[0] for equation in (by_n, by_d))
    trail = trail.then(
        "both give the multiplier", Equations(((left, right),)), check="terms fall equally fast", reference=HOFFMANN
    )
    # with log N = n the condition is linear in n: log(alpha A) - alpha n = log(beta B) - beta (log(C/6) - n)
    n = sp.Symbol("n", real=True)
    balance = sp.log(ALPHA) + sp.log(A) - ALPHA * n - sp.log(BETA) - sp.log(B) + BETA * (sp.log(C / 6) - n)
    (best,) = sp.solve(balance, n)
    scale = (ALPHA * A / (BETA * B)) ** (1 / (ALPHA + BETA))
    share = BETA / (ALPHA + BETA)
    parameters = scale * (C / 6) ** share
    tokens = (C / 6) ** (ALPHA / (ALPHA + BETA)) / scale
    rest = sp.simplify(sp.expand_log(sp.log(parameters), force=True) - sp.expand(best))
    rest = sp.simplify(sp.expand_log(rest, force=True))
    trail = trail.then(
        "solve for log N, which enters linearly",
        Equations(((N, parameters), (D, tokens))),
        check="difference of logarithms vanishes",
        residual=float(rest != 0),
    )
    found = loss().subs({N: parameters, D: tokens}, simultaneous=True)
    exponents = [sp.simplify(sp.diff(sp.expand_log(sp.log(x), force=True), C) * C) for x in (parameters, tokens)]
    at_best = sp.simplify(sp.expand_log(sp.log((A * N**-ALPHA).subs(N, parameters)), force=True).diff(C) * -C)
    trail = trail.then(
        "both terms fall with the same power of C",
        Equations(((sp.Symbol("L - E"), sp.Symbol("const") * C**-at_best),)),
        check="alpha times the exponent of N* equals beta times that of D*",
        residual=float(sp.simplify(ALPHA * exponents[0] - BETA * exponents[1]) != 0),
    )
    # at the optimum the terms are shared as beta : alpha, so each is known from l = L - E alone
    of_n, of_d = EXCESS * BETA / (ALPHA + BETA), EXCESS * ALPHA / (ALPHA + BETA)
    parameters_at, tokens_at = (A / of_n) ** (1 / ALPHA), (B / of_d) ** (1 / BETA)
    trail = trail.then(
        "the cheapest run for L = E + l: the terms share l as beta to alpha",
        Equations(((N, parameters_at), (D, tokens_at))),
        check="alpha A N^-alpha = beta B D^-beta holds identically",
        residual=float(sp.simplify(ALPHA * of_n - BETA * of_d) != 0),
        parents=(2,),
    )
    return Frontier(
        parameters, tokens, found, scale, exponents[0], exponents[1], at_best,
        parameters_at, tokens_at, 6 * parameters_at * tokens_at, trail,
    )  # fmt: skip


def coupled_exponent() -> sp.Expr:
    """Exponent of L - E in compute for the coupled law: the coupling g drops out, by homogeneity.

    In logarithms the bracket depends on C only through a common factor: with N ~ C^u and D ~ C^(1-u) both members fall
    alike when alpha u = beta (1 - u). Kaplan's joint form thus gives 0.0422, not the 0.050 of its separate fit.

    >>> print(coupled_exponent())
    alpha*beta/(alpha + beta)
    >>> f"{float(coupled_exponent().subs({ALPHA: 0.076, BETA: 0.095})):.4f}"
    '0.0422'
    """
    share, c = sp.Symbol("u"), positive("c")
    (split,) = sp.solve(ALPHA * share - BETA * (1 - share), share)
    along = coupled().subs({E: 0, N: c**split, D: c ** (1 - split)}, simultaneous=True)
    slope = sp.simplify(-c * sp.diff(along, c) / along)
    at = {A: 2, B: 3, ALPHA: sp.Rational(1, 3), BETA: sp.Rational(1, 4)}
    free = [slope.subs(at | {COUPLING: g, c: value}).evalf() for g in (sp.Rational(1, 5), 2) for value in (7, 1000)]
    if max(free) - min(free) > 1e-12:  # the slope must depend neither on g nor on the compute
        raise AssumptionViolated("the slope along the frontier depends on the coupling", where="coupled law")
    return sp.simplify(slope.subs({COUPLING: 1, c: 1}))


@lru_cache(maxsize=1)
def _compiled() -> dict[str, Any]:
    found = frontier()
    arguments = (C, *CONSTANTS)
    log_a, log_b = sp.symbols("log_A log_B", real=True)
    steps = (E, log_a, log_b, ALPHA, BETA)
    made = {name: sp.lambdify(arguments, getattr(found, name), "numpy") for name in ("parameters", "tokens", "loss")}
    for name, expression in (
        ("parameters", sp.log(found.parameters)),
        ("tokens", sp.log(found.tokens)),
        ("loss", found.loss),
    ):
        inner = expression.subs({A: sp.exp(log_a), B: sp.exp(log_b)})
        gradient = [sp.diff(inner, step).subs({log_a: sp.log(A), log_b: sp.log(B)}) for step in steps]
        made[f"{name}_gradient"] = sp.lambdify(arguments, gradient, "numpy")
    return made
