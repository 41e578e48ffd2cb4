r"""The four terms of the loss of one-pass SGD on power-law random features, derived from sums over modes.

Features j^-alpha z_j, target weights j^-beta, d random combinations of the features are trained for r steps. With the
effective ridge kappa(tau) of the d features at rate tau = 1/(gamma r),

    kappa (1 - S(kappa)/d) = tau,   S = sum_j 1/(1 + kappa j^(2 alpha)),

the mean loss without sampling noise is the inverse Laplace transform of B(kappa(tau))/tau, in which only powers of tau
that are no integers survive, B = sum_j j^-(2 alpha + 2 beta) kappa j^(2 alpha)/(1 + kappa j^(2 alpha)):

    F_pp  bulk of B, kappa = tau           F_ac  head of B with the S/d in kappa
    F_0   B at tau = 0                     K_pp  early gradient noise, decaying as gamma^2 tr K^2 exp(-2 gamma K t)

>>> for term in loss_terms(Regime(True, True, True))[0]: print(term)
K_pp ~ steps^-((4*alpha - 1)/(2*alpha))
F_pp ~ steps^-((2*alpha + 2*beta - 1)/(2*alpha))
F_ac ~ width^-(1) steps^-((2*alpha - 1)/(2*alpha))
F_0 ~ width^-(2*alpha)
"""

from dataclasses import dataclass
from functools import cache
from typing import Any

import sympy as sp

from ..dynamics.spectral_decay import spectral_decay
from ..symbols import positive
from ..trail import Trail
from .balance import Term
from .exact_signs import exact_sign, tidy
from .power_law_sums import BULK, PowerTerm, partial_sum, resolvent_gap, resolvent_sum

ALPHA, BETA = positive("alpha beta")
REFERENCE = "Paquette, Paquette, Xiao, Pennington 2024, arXiv:2405.15074"
POLYAK = "Polyak 1964"
DYNAMICAL = "Bordelon, Atanasov & Pehlevan 2024, arXiv:2402.01092"


@dataclass(frozen=True)
class Regime:
    """Which of three sums over modes converge: their first modes dominate, or their last ones.

    `trace`    sum_j j^(-2 alpha), the trace of the covariance: 2 alpha > 1
    `weights`  sum_j j^(-2 beta), the norm of the target's weights: 2 beta > 1
    `squares`  sum_j j^(-4 alpha), the trace of its square: 4 alpha > 1
    """

    trace: bool
    weights: bool
    squares: bool

    @staticmethod
    def of(alpha: Any, beta: Any) -> "Regime":
        """The regime of a point that lies on none of the three lines.

        >>> Regime.of(1, sp.Rational(1, 4))
        Regime(trace=True, weights=False, squares=True)
        """
        return Regime(*(exact_sign(line.subs({ALPHA: alpha, BETA: beta})) > 0 for line in LINES[:3]))


LINES = (2 * ALPHA - 1, 2 * BETA - 1, 4 * ALPHA - 1, 2 * ALPHA + 2 * BETA - 1)  # the last: finite target power


@cache
def loss_terms(regime: Regime) -> tuple[tuple[Term, ...], Trail]:
    """The terms of the loss in width and steps, with their derivation; those that are never the largest are left out.

    Reference: Paquette, Paquette, Xiao, Pennington 2024 (arXiv:2405.15074).
    """
    rate, trail = _learning_rate(regime)
    trail = trail.then(
        "heavy ball with a fixed momentum mu: the same terms at another constant rate, no other exponent",
        effective_rate(),
        check="slower root of z^2 - (1 + mu - gamma lambda) z + mu, to first order in lambda",
        reference=POLYAK,
    )
    power = 2 * ALPHA + 2 * BETA
    expansion = resolvent_sum(power, 2 * ALPHA, unlearned=1, heads=1)
    bulk, head = expansion
    gap = resolvent_gap(2.2, 1.4, 1, 1)
    trail = trail.then(
        "not expressed at effective ridge kappa: B = sum_j j^-(2 alpha + 2 beta) x/(1 + x), x = kappa j^(2 alpha)",
        f"B ~ kappa^({bulk.exponent}) from the bulk + kappa^({head.exponent}) from the head",
        check=f"expansion against the sum: {gap:.0e}",
        residual=gap,
        parents=(),
    )
    noticed = len(trail.steps) - 1
    floor = tidy(2 * ALPHA * (head if regime.weights else bulk).exponent)
    trail = trail.then(
        "F_0: at late times S(kappa) = d, kappa ~ d^(-2 alpha), and B there",
        f"F_0 ~ width^-({floor})",
        check="first modes dominate" if regime.weights else "bulk dominates",
        reference=REFERENCE,
        parents=(noticed,),
    )
    direct = _decay(power)
    through = sp.gammasimp(bulk.coefficient / sp.gamma(1 - bulk.exponent))  # inverse Laplace of tau^(rho - 1)
    # spectral_decay counts time twice: exp(-2 t lambda)
    differs = sp.simplify(sp.gammasimp(through / (direct[1] * 2 ** direct[0]))) - 1
    trail = trail.then(
        "F_pp: the bulk of B at kappa = 1/(gamma r)",
        f"F_pp ~ (rate x steps)^-({bulk.exponent})",
        check=f"prefactor agrees with the direct integral over modes: difference {differs}",
        residual=float(abs(differs)) if differs.is_number else None,
        reference=REFERENCE,
        parents=(0, noticed),
    )
    terms = [_in_time("F_pp", bulk.exponent, rate), Term("F_0", {"width": floor, "steps": sp.S.Zero})]
    mixing, trail = _mixing(regime, head, trail, noticed)
    noise, trail = _sampling(regime, rate, trail)
    terms += [term for term in (mixing, noise) if term is not None]
    order = ("K_pp", "F_pp", "F_ac", "F_0")
    return tuple(sorted(terms, key=lambda term: order.index(term.name))), trail


@cache
def effective_rate() -> Any:
    """The rate of heavy ball with momentum mu in slow modes: z = 1 - rate x lambda solves its characteristic equation.

    A constant factor of gamma: momentum that does not change with time or width leaves every exponent as it is.
    Reference: Polyak 1964.

    >>> effective_rate()
    gamma/(1 - mu)
    """
    z, lam, gamma, mu = positive("z lambda gamma mu")
    characteristic = z**2 - (1 + mu - gamma * lam) * z + mu
    slope = -characteristic.diff(lam) / characteristic.diff(z)
    return -slope.subs({z: 1, lam: 0})


def logarithms(alpha: Any, beta: Any) -> tuple[str, ...]:
    """Terms that carry a logarithm at a point: two exponents of the same sum coincide.

    >>> logarithms(sp.Rational(1, 2), 1)
    ('learning rate ~ 1/log(width): the trace of the covariance diverges logarithmically',)
    """
    at = {ALPHA: alpha, BETA: beta}
    found = []
    if _coincide(partial_sum(2 * ALPHA), at):
        found.append("learning rate ~ 1/log(width): the trace of the covariance diverges logarithmically")
    if _coincide(resolvent_sum(2 * ALPHA + 2 * BETA, 2 * ALPHA, unlearned=1, heads=1), at):
        found.append("F_0 and F_pp carry a logarithm: as much target lies in every octave of weights")
    if _coincide(partial_sum(4 * ALPHA), at) and exact_sign(2 * sp.sympify(beta) - 1) >= 0:
        found.append("K_pp carries a logarithm: the trace of the squared covariance diverges logarithmically")
    return tuple(found)


# ---- the terms ------------------------------------------------------------------------------------------------------


def _learning_rate(regime: Regime) -> tuple[Any, Trail]:
    """g in gamma ~ d^-g: sampling noise must not grow, gamma tr K / 2 < 1, with as many modes as features, v ~ d."""
    bulk, _ = partial_sum(2 * ALPHA)
    rate = sp.S.Zero if regime.trace else tidy(-bulk.exponent)
    why = "first modes dominate" if regime.trace else "last modes dominate, v ~ width of them"
    return rate, Trail().then(
        "stable learning rate: gamma tr K / 2 < 1, tr K = sum_{j <= v} j^(-2 alpha)",
        f"gamma ~ width^-({rate})",
        check=why,
        reference=REFERENCE,
    )


def _in_time(name: str, exponent: Any, rate: Any, width: Any = sp.S.Zero, rates: int = 0) -> Term:
    """d^-width gamma^rates (gamma r)^-exponent as powers of width and steps, gamma ~ d^-rate."""
    return Term(name, {"width": tidy(width + rate * (rates - exponent)), "steps": tidy(exponent)})


def _mixing(regime: Regime, head: PowerTerm, trail: Trail, noticed: int) -> tuple[Term | None, Trail]:
    """F_ac: the head of B is an integer power of kappa, but kappa = tau + tau S(tau)/d is none of tau."""
    learned = resolvent_sum(0, 2 * ALPHA, heads=1)[0]
    exponent = tidy(head.exponent + learned.exponent)
    gap = resolvent_gap(0, 1.4)
    trail = trail.then(
        "effective ridge of d features: kappa = tau + tau S(tau)/d + ...",
        f"S ~ tau^({learned.exponent})",
        check=f"expansion against the sum: {gap:.0e}",
        residual=gap,
        reference=DYNAMICAL,
        parents=(noticed,),
    )
    if regime.trace and regime.weights:
        result = f"F_ac ~ width^-(1) steps^-({exponent})"
        rule = "F_ac: the head of B, kappa sum_j j^(-2 beta), with the second part of kappa"
        return _in_time("F_ac", exponent, sp.S.Zero, width=sp.S.One), trail.then(rule, result, reference=REFERENCE)
    if regime.trace:
        why = "sum_j j^(-2 beta) diverges: only the bulk of B is corrected, by the factor S/d < 1"
        return None, trail.then("F_ac is below F_pp", why, reference=REFERENCE)
    why = "its power of 1/tau grows with time, and reaches d^(-2 alpha) <= F_0 when S = d"
    return None, trail.then("F_ac is below F_0", why, reference=REFERENCE)


def _sampling(regime: Regime, rate: Any, trail: Trail) -> tuple[Term | None, Trail]:
    """K_pp: P = F + K * P passes on the early mass of F, int F = sum_j j^(-2 beta) / (2 gamma), with kernel K."""
    exponent = tidy(_decay(4 * ALPHA)[0])
    kernel = f"K ~ gamma^2 (gamma r)^-({exponent})"
    trail = trail.then(
        "gradient noise: P = F + K * P, K = gamma^2 tr K^2 exp(-2 gamma K t)", kernel, reference=REFERENCE, parents=(0,)
    )
    if not regime.weights:
        why = "int F grows as r F: K * F ~ (r K) F, and r K <= int K < 1"
        return None, trail.then("K_pp is below F_pp", why, reference=REFERENCE)
    if not regime.squares:
        why = "tr K^2 is dominated by the last modes: gamma tr K^2 = d^(-2 alpha) = F_0 at most"
        return None, trail.then("K_pp is below F_0", why, reference=REFERENCE)
    term = _in_time("K_pp", exponent, rate, rates=1)
    return term, trail.then("K_pp: K times int F = sum_j j^(-2 beta)/(2 gamma)", str(term), reference=REFERENCE)


@cache
def _decay(power: Any) -> tuple[Any, Any]:
    """Exponent and prefactor of sum_j j^-power exp(-2 t j^(-2 alpha))."""
    return spectral_decay(power, 2 * ALPHA)


def _coincide(terms: tuple[PowerTerm, ...], at: Any) -> bool:
    bulk = next(term for term in terms if term.origin == BULK)
    heads = [term for term in terms if term.origin != BULK]
    return any(exact_sign(tidy((bulk.exponent - head.exponent).subs(at))) == 0 for head in heads)
