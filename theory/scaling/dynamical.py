r"""Training in time with finitely many samples and features: one effective ridge at a complex frequency does it all.

N random features A of the eigenfunctions, P samples Psi and gradient flow leave the error v of the coefficients as
v' = -F G v with F = A'A/N and G = Psi'Psi/P. Averaged over both, in the Laplace variable tau of time,

    kappa (1 - S/P)(1 - S/N) = tau,    S = sum lambda/(lambda + kappa),   mean v_k = w_k kappa/(tau (lambda_k + kappa)),

and squared errors need two frequencies. tau is what a ridge over n is in regression: dynamics is the inverse Laplace
transform of the ridge path. `solvers.scaling.dynamics` evaluates it.

>>> print(dynamical().equations[0])
kappa*(1 - over(lambda*multiplicity/(lambda + kappa))/N)*(1 - over(lambda*multiplicity/(lambda + kappa))/P) - tau
"""

from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
import sympy as sp

from ..derivation.assumptions import Closure
from ..errors import BadData, LearningMechanicsError
from ..regression.effective_ridge import count, kappa, lam, noise, power
from ..regression.random_features import random_features
from ..symbols import over, positive
from ..system import FixedPoint
from ..trail import Equations, Trail
from .exact_signs import exact, exact_sign
from .source_capacity import asymptotic, checked

DYNAMICAL = "Bordelon, Atanasov & Pehlevan 2024, arXiv:2402.01092"
ATANASOV = "Atanasov, Zavatone-Veth & Pehlevan 2024, arXiv:2405.00592"

P, N, tau, tau2, kappa2 = positive("P N tau tau_2 kappa_2")
TEST_ERROR, MEAN_ERROR = "test_error_in_time", "mean_error_in_time"  # what the solver gives beside the unknowns


@lru_cache(maxsize=1)
def dynamical() -> FixedPoint:
    """The effective ridges at two frequencies, with mean errors and two-time correlations as observables.

    Parameters: mode arrays `lambda`, `multiplicity` and `power` (squared target coefficients), `noise`, `P` samples,
    `N` features, and frequencies `tau`, `tau_2`. Observables: "unlearned" per mode, the mean v_k tau / w_k;
    "correlation", tau tau_2 times the double Laplace transform of the test error between two times, noise included;
    "training_correlation", the same of training errors; "mean_correlation", of the test error of the mean predictor.

    Reference: Bordelon, Atanasov & Pehlevan 2024 (arXiv:2402.01092).
    """
    site = _single_site()
    v0, v2 = site["v0"], site["v2"]
    trail = Trail().then(
        "averages over A and Psi: every mode feels Gaussian sources and responses of all others",
        Equations(((_V0, v0), (_V2, v2))),
        assumption=gaussian_draws().name,
        reference=DYNAMICAL,
        given=Equations(((_TAU * _V0, _W - _V4), (_V4, _R3 * _V2 + _U4), (_V2, lam * _R1 * _V0 + _U2))),
        check="not provable: measured",
    )
    # a sample (a feature) reacts to itself through all modes: v1 = (u1 + e) R1 and v3 = u3 R3
    first = 1 / (1 - over(count * lam * v0.diff(_U2)) / P)
    third = 1 / (1 - over(count * v2.diff(_U4)) / N)
    trail = trail.then("responses of samples and features", Equations(((_R1, first), (_R3, third))))
    learned = over(count * lam / (lam + kappa))
    gap = max(_residual_of_responses(first, third, seed) for seed in range(2))
    equation = kappa * (1 - learned / P) * (1 - learned / N) - tau
    trail = trail.then(
        "kappa = tau/(R1 R3): R1 = 1 - S/P, R3 = 1 - S/N",
        Equations(((kappa, equation),), "fixed point"),
        given=Equations(((kappa, _TAU / (_R1 * _R3)),)),
        check=f"solves both responses: {gap:.0e}",
        residual=gap,
    )
    unlearned = kappa / (lam + kappa)
    trail = trail.then("mean error of a mode, tau v / w", unlearned, parents=(0, 2), reference=DYNAMICAL)

    correlation = _correlation(1 / P, 1 / N)
    training = (1 - learned / P) * (1 - learned.subs(kappa, kappa2) / P) * correlation
    closed = max(_residual_of_correlations(correlation, seed) for seed in range(2))
    linear = Equations(tuple(_linear_equations(1 / P, 1 / N).items()))
    trail = trail.then(
        "sources between two frequencies: c = tau tau_2 C + noise of test errors, c_3 of what features receive",
        linear,
        parents=(0, 2),
        reference=DYNAMICAL,
    )
    trail = trail.then(
        "correlation of test errors between two frequencies",
        correlation,
        check=f"solves the four equations of the single site, as numbers: {closed:.0e}",
        residual=closed,
    )
    symmetric = max(_residual_of_resolvents(correlation, training, seed) for seed in range(2))
    trail = trail.then(
        "training errors decay by a symmetric matrix: (1 - S/P)(1 - S_2/P) times the same",
        training,
        parents=(1, 5),
        check=f"resolvent identity, of test errors at P = oo too: {symmetric:.0e}",
        residual=symmetric,
    )
    rest = _residual_at_rest(correlation)
    trail = trail.then(
        "t -> oo: equal frequencies, tau -> 0",
        random_features().observables["test_error"],
        parents=(5,),
        check=f"regression on random features: {rest:.0e}",
        reference=ATANASOV,
        residual=rest,
    )
    second = equation.subs({kappa: kappa2, tau: tau2})
    return FixedPoint(
        (kappa, kappa2),
        (equation, second),
        observables={
            "unlearned": unlearned,
            "correlation": correlation,
            "training_correlation": training,
            "mean_correlation": over(power * kappa * kappa2 / ((lam + kappa) * (lam + kappa2))) + noise,
        },
        trail=trail,
    )


def gaussian_draws(radius: float = 0.1) -> Closure:
    """Samples and features act like independent Gaussians, many of them: corrections fall as 1/min(P, N).

    The distance is 2/min(P, N): the equivalent misses single draws by that share of the error.
    """
    return Closure(
        "Gaussian samples and features",
        "eigenfunction values and random features act like independent Gaussians, and there are many of both",
        reference=DYNAMICAL,
        radius=radius,
        measure=lambda arrays: 2 / float(min(np.min(arrays["P"]), np.min(arrays["N"]))),
    )


def first_corrections() -> dict[str, Any]:
    """Coefficients of 1/N and 1/P in the correlation, at early times: kappa = tau (1 + S/N + S/P) to first order.

    S = sum lambda/(lambda + tau). A correction counts once S(1/t) ~ N or P: relative to the loss it is S/N or S/P.
    Expressions of tau, tau_2; "features" and "samples".

    >>> sorted(first_corrections())
    ['features', 'samples']
    """
    correlation = dynamical().observables["correlation"]
    p, q = sp.symbols("p q")
    correlation = _correlation(p, q)
    learned = {k: over(count * lam / (lam + k)) for k in (kappa, kappa2)}
    found = {}
    for name, share, other in (("features", q, p), ("samples", p, q)):
        alone = correlation.subs(other, 0)
        change = alone.diff(share) + sum(alone.diff(k) * k * learned[k] for k in (kappa, kappa2))
        found[name] = change.subs(share, 0).subs({kappa: tau, kappa2: tau2})
    return found


@dataclass(frozen=True)
class Regime:
    """One bottleneck: `learned` modes, the loss falls as (number or time)^-`exponent`, and others do not matter."""

    bottleneck: str
    learned: Any
    exponent: Any

    def __str__(self) -> str:
        return f"{self.bottleneck}: {self.learned} modes learned, loss ~ {self.bottleneck}^-({self.exponent})"


def regimes(capacity: Any, target_exponent: Any) -> tuple[Regime, ...]:
    """The three regimes of lambda_k = k^-capacity: the fewest of their `learned` modes say which one it is.

    With tau = 1/t and S = (pi/b)/sin(pi/b) kappa^(-1/b) - 1/2 at capacity b, kappa (1 - S/P)(1 - S/N) = tau has three
    ends: kappa = tau, S = P and S = N. Exponents are those of `source_capacity.asymptotic`. Errors: `OutsideDomain`.

    >>> [print(regime) for regime in regimes(2, "3/2")]
    steps: pi*sqrt(t)/2 - 1/2 modes learned, loss ~ steps^-(1/4)
    samples: P modes learned, loss ~ samples^-(1/2)
    parameters: N modes learned, loss ~ parameters^-(1/2)
    [None, None, None]
    """
    capacity, target_exponent = checked(capacity, target_exponent, where="regimes")
    time = positive("t")
    by_steps = _prefactor(capacity) * time ** (1 / capacity) - sp.Rational(1, 2)
    learned = {"steps": by_steps, "samples": P, "parameters": N}
    return tuple(Regime(axis, modes, asymptotic(axis, capacity, target_exponent)) for axis, modes in learned.items())


def crossover_time(number: Any, capacity: Any) -> Any:
    """The time at which half of `number` samples or features are used up, for lambda_k = k^-capacity.

    S + 1/2 = (pi/b)/sin(pi/b) kappa^(-1/b) at capacity b, and S = number/2 makes tau = kappa/2: before it steps are the
    bottleneck, after it the number. Grows as number^capacity. Errors: `BadData`, `OutsideDomain` for capacity <= 1.

    >>> crossover_time(positive("N"), 2)
    2*(N + 1)**2/pi**2
    """
    number, (capacity, _) = exact(number, "crossover_time"), checked(capacity, 2, where="crossover_time")
    if not number.free_symbols and exact_sign(number) <= 0:
        raise BadData(f"number {number}", where="crossover_time", remedy="give samples or features above 0")
    return 2 * sp.factor((number + 1) / (2 * _prefactor(capacity))) ** capacity


def _prefactor(capacity: Any) -> Any:
    """sum_k 1/(1 + kappa k^b) = (pi/b)/sin(pi/b) kappa^(-1/b) - 1/2 + ...: an integral, and half a mode."""
    return (sp.pi / capacity) / sp.sin(sp.pi / capacity)


def correction_exponent(capacity: Any, target_exponent: Any) -> Any:
    """How the first correction of finite width grows or falls: loss - loss(N = oo) ~ t^exponent / N, at early times.

    Its transform is S(tau) sum v lambda/(lambda + tau)^2: S ~ tau^(-1/b), and the sum comes from modes near tau, or,
    for easy targets, from the first modes. Errors: `OutsideDomain` for capacity <= 1 or target_exponent <= 1.

    >>> b, a = positive("b a")
    >>> correction_exponent(2, "3/2"), correction_exponent(2, 4)
    (1/4, -1/2)
    """
    capacity, target_exponent = checked(capacity, target_exponent, where="correction_exponent")
    return (1 - sp.Min(target_exponent - 1, capacity)) / capacity


# The single site. u2, u4: Gaussian sources; R1, R3: responses; w: target coefficient.
_TAU = tau
_W, _U2, _U4, _R1, _R3 = sp.symbols("w u_2 u_4 R_1 R_3")
_V0, _V2, _V4 = sp.symbols("v_0 v_2 v_4")


@lru_cache(maxsize=1)
def _single_site() -> dict[str, Any]:
    equations = (_TAU * _V0 - (_W - _V4), _V4 - (_R3 * _V2 + _U4), _V2 - (lam * _R1 * _V0 + _U2))
    (solution,) = sp.solve(equations, (_V0, _V2, _V4), dict=True)
    return {"v0": sp.simplify(solution[_V0]), "v2": sp.simplify(solution[_V2])}


_C, _C3 = sp.symbols("c c_3")


def _linear_equations(of_samples: Any, of_features: Any) -> dict[Any, Any]:
    """Right sides of c = tau tau_2 C0 + noise and of c_3 = C3, what features receive, with 1/P and 1/N as given.

    C0 = sum lambda <v v'> and C3 = R3 R3' <v2 v2'> with sources <u2 u2'> = lambda R1 R1' (C0 + noise)/P and
    <u4 u4'> = C3/N, and R1 R3 = tau/kappa.
    """
    poles = (lam + kappa) * (lam + kappa2)
    both = over(count * lam**2 / poles)
    shared = over(count * lam / poles)  # sum L M_2 = kappa_2 x this, sum L_2 M = kappa x this
    missed = over(power * kappa * kappa2 / poles) + noise
    return {
        _C: missed + of_samples * both * _C + of_features * kappa * kappa2 * shared * _C3,
        _C3: over(power * lam / poles) + of_features * both * _C3 + of_samples * shared * _C,
    }


def _correlation(of_samples: Any, of_features: Any) -> Any:
    """tau tau_2 C0 + noise: the linear equations solved."""
    p, q, v, s, e, d = sp.symbols("p q V Q E D")
    rows = _linear_equations(p, q)
    missed, crossed = (rows[unknown].subs({_C: 0, _C3: 0}) for unknown in (_C, _C3))
    numbers = {v: missed, s: rows[_C].coeff(_C).coeff(p), e: rows[_C3].coeff(_C).coeff(p), d: crossed}
    letters = {expression: letter for letter, expression in numbers.items()}
    formal = [row.subs(letters) - unknown for unknown, row in rows.items()]
    (solution,) = sp.solve(formal, (_C, _C3), dict=True)
    numerator, denominator = sp.fraction(sp.together(solution[_C]))
    at_infinity = denominator.subs({p: 0, q: 0})  # a number: the sign that SymPy chose
    numerator = sp.collect(sp.expand(numerator / at_infinity), v)
    samples, mixed = 1 - p * s, sp.expand(denominator / at_infinity - (1 - p * s) * (1 - q * s))
    numbers |= {p: of_samples, q: of_features}
    return numerator.subs(numbers) / (samples * (1 - q * s) + mixed).subs(numbers)


class _Draw:
    """Random modes and frequencies with their solution, for checks: numbers instead of symbols."""

    def __init__(self, seed: int, samples: float = 9.0, features: float = 7.0):
        rng = np.random.default_rng(seed)
        self.lam, self.power, self.count = rng.exponential(size=(3, 5))
        self.values: dict[Any, Any] = {P: samples, N: features, noise: 0.2}
        for k, t, u in ((kappa, tau, 0.3 + 0.2 * seed), (kappa2, tau2, 1.1)):
            learned = float((self.count * self.lam / (self.lam + u)).sum())
            self.values |= {k: u, t: u * (1 - learned / samples) * (1 - learned / features)}

    def __call__(self, expression: Any, **more: float) -> float:
        """An expression as a number; R1, R3 by keyword."""
        values = self.values | {sp.Symbol(name): value for name, value in more.items()}

        def summed(summand):
            function = sp.lambdify([lam, power, count], summand.subs(values))
            return sp.Float(float((function(self.lam, self.power, self.count) * np.ones(5)).sum()), 17)

        return float(sp.sympify(expression).replace(over, summed).subs(values))


def _residual_of_responses(first: Any, third: Any, seed: int) -> float:
    draw = _Draw(seed)
    learned = draw(over(count * lam / (lam + kappa)))
    r1, r3 = 1 - learned / draw.values[P], 1 - learned / draw.values[N]
    found = [abs(draw(expression, R_1=r1, R_3=r3) / right - 1) for expression, right in ((first, r1), (third, r3))]
    return _small(max(found), "responses")


def _residual_of_correlations(correlation: Any, seed: int) -> float:
    """The four equations of the sources, as numbers from the single site, against the closed form."""
    draw = _Draw(seed)
    site = _single_site()
    sides = []
    for k, t in ((kappa, tau), (kappa2, tau2)):
        learned = draw(over(count * lam / (lam + k)))
        values = {_R1: 1 - learned / draw.values[P], _R3: 1 - learned / draw.values[N], _TAU: draw.values[t]}
        gains = [[site[name].diff(source).subs(values) for source in (_W, _U2, _U4)] for name in ("v0", "v2")]
        sides.append(([[np.broadcast_to(sp.lambdify(lam, g)(draw.lam), 5) for g in row] for row in gains], values))
    (left, here), (right, there) = sides
    spread = draw.count * draw.lam / draw.values[P]  # <u2 u2'> = lambda C1/P for every mode of a level
    narrow = draw.count / draw.values[N]  # <u4 u4'> = C3/N
    target = draw.power / draw.lam
    r1, r3 = (float(here[s] * there[s]) for s in (_R1, _R3))
    source = draw.values[noise] / float(here[_TAU] * there[_TAU])
    # unknowns C0, C1, C2, C3
    matrix, constant = np.zeros((4, 4)), np.zeros(4)
    for row, (index, weight) in enumerate(((0, draw.lam), (1, np.ones(5)))):
        w, u2, u4 = (left[index][i] * right[index][i] for i in range(3))
        place = 0 if row == 0 else 2
        constant[place] = (weight * w * target).sum()
        matrix[place, 1], matrix[place, 3] = (weight * u2 * spread).sum(), (weight * u4 * narrow).sum()
    matrix[1, 0], constant[1], matrix[3, 2] = r1, r1 * source, r3
    solved = np.linalg.solve(np.eye(4) - matrix, constant)
    return _small(abs((solved[0] + source) * float(here[_TAU] * there[_TAU]) / draw(correlation) - 1), "correlations")


def _residual_of_resolvents(correlation: Any, training: Any, seed: int) -> float:
    """A function exp(-K t)^2 = exp(-2 K t) of a symmetric K: C(tau, tau_2) = [G(tau) - G(tau_2)]/(tau_2 - tau)."""
    found = []
    for draw, twice, once in (
        (
            _Draw(seed),
            training,
            lambda k: (over(power * k / (lam + k)) + noise) * (1 - over(count * lam / (lam + k)) / P),
        ),
        (_Draw(seed, samples=1e16), correlation - noise, lambda k: over(power * k / (lam + k))),
    ):
        t, t2 = draw.values[tau], draw.values[tau2]
        right = (draw(once(kappa)) / t - draw(once(kappa2)) / t2) / (t2 - t)
        found.append(abs(draw(twice) / (t * t2) / right - 1))
    return _small(max(found), "resolvents")


def _residual_at_rest(correlation: Any) -> float:
    draw = _Draw(0)
    n, k, gamma = positive("n k gamma")
    same = correlation.subs(kappa2, kappa)
    other = random_features().observables["test_error"].subs({n: P, k: N, gamma: kappa})
    return _small(abs(draw(same) / draw(other) - 1), "the end of training")


def _small(gap: float, what: str) -> float:
    if not gap < 1e-11:
        raise LearningMechanicsError(f"two forms of {what} differ by {gap:.1e}", where="dynamical")
    return gap
