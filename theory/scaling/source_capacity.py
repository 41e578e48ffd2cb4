"""Source and capacity give every asymptotic exponent: in samples, parameters, steps and compute.

With eigenvalues lambda_k ~ k^-capacity and target power lambda_k w_k^2 ~ k^-target_exponent, the modes up to k* are
learned, k* ~ n, N or t^(1/capacity); the loss is the power beyond them or what is left of the first modes:

    samples      min(target_exponent - 1, 2 capacity)      (residues of learned modes are squared: kappa^2)
    parameters   min(target_exponent - 1, capacity)        (a projection: kappa, once)
    steps        (target_exponent - 1) / capacity          (residues of learned modes are exponentially small)
    compute      (target_exponent - 1) / (1 + max(capacity, target_exponent - 1))

Nothing of this is stored: each is derived from the terms of its sums (`power_law_sums`) and a balance (`balance`).
"""

from functools import cache
from typing import Any

import sympy as sp

from ..errors import BadData, OutsideDomain, UnknownName
from ..measured_spectra.estimate import Estimate
from ..symbols import positive
from ..trail import Trail
from .balance import BestSplit, Term, best_split
from .exact_signs import exact, exact_sign
from .power_law_sums import leading_exponent, resolvent_gap, resolvent_sum

CAPACITY, TARGET = positive("capacity target_exponent")
AXES = ("samples", "parameters", "steps", "compute")
DYNAMICAL = "Bordelon, Atanasov & Pehlevan 2024, arXiv:2402.01092"
CUI = "Cui, Loureiro, Krzakala & Zdeborova 2021, arXiv:2105.15004"
PHASES = "Paquette, Paquette, Xiao, Pennington 2024, arXiv:2405.15074"
SIMON = "Simon, Dickens, Karkada & DeWeese 2021, arXiv:2110.03922"
_RATE = positive("rate")  # exponent of the error without noise, in the place of its minimum


def asymptotic(
    axis: str,
    capacity: Any = CAPACITY,
    target_exponent: Any = TARGET,
    noise: bool = False,
    ridge: str = "optimal",
    sampled: bool = False,
) -> Any:
    """The exponent of the excess loss along one axis, all others infinite: loss ~ axis^-exponent. Exact.

    `samples`     kernel regression: ridgeless without noise; with `noise` the `ridge` is "optimal" for every n, or
                  there is "none" and the noise that is fitted never goes away (exponent 0)
    `parameters`  random features of infinite data. Papers that quote 2 capacity here mean another kind of parameter
    `steps`       gradient flow on the population loss; `sampled`: one-pass SGD at a constant rate, whose own noise
                  decays with 2 - 1/capacity. Label noise does not change flow, and is no part of the excess loss
    `compute`     parameters x steps, split as is best: see `compute_optimal`

    Errors: `UnknownName` for another axis, `OutsideDomain` for target_exponent <= 1 and for capacity <= 1 (in steps of
    gradient flow: capacity <= 0).
    References: Bordelon, Atanasov & Pehlevan 2024 (arXiv:2402.01092), Cui et al. 2021 (arXiv:2105.15004).

    >>> asymptotic("samples"), asymptotic("parameters"), asymptotic("steps")
    (Min(2*capacity, target_exponent - 1), Min(capacity, target_exponent - 1), (target_exponent - 1)/capacity)
    >>> asymptotic("compute"), asymptotic("compute", 2, "3/2")
    ((target_exponent - 1)/(Max(capacity, target_exponent - 1) + 1), 1/6)
    >>> asymptotic("samples", 2, 2, noise=True)
    1/2
    """
    if axis not in AXES:
        raise UnknownName.among(axis, AXES, kind="axis", where="asymptotic")
    if ridge not in ("optimal", "none"):
        raise UnknownName.among(ridge, ("optimal", "none"), kind="ridge", where="asymptotic")
    capacity, target_exponent = checked(capacity, target_exponent, trace=axis != "steps" or sampled)
    formula = _formula(axis, bool(noise), ridge, bool(sampled))
    return formula.subs({CAPACITY: capacity, TARGET: target_exponent}, simultaneous=True)


def derivation(axis: str, noise: bool = False, ridge: str = "optimal", sampled: bool = False) -> Trail:
    """How the exponent of one axis follows, step by step.

    >>> print(derivation("parameters").steps[-1].result)
    Min(capacity, target_exponent - 1)
    """
    asymptotic(axis, noise=noise, ridge=ridge)
    return _derived(axis, noise, ridge, sampled)[1]


def compute_optimal(capacity: Any, target_exponent: Any, sampled: bool = False) -> BestSplit:
    """The best split of compute = parameters x steps, with the terms that balance and the proof.

    Hard targets (target_exponent - 1 < capacity): the power beyond N modes against the power not learned by time t.
    Easy ones: the mixing of learned modes by N random features, N^-1 t^-(1 - 1/capacity), comes before the floor.

    >>> print(compute_optimal(2, 2))
    loss ~ budget^-(1/3), parameters ~ budget^(1/3), steps ~ budget^(2/3): time = floor
    >>> print(compute_optimal("3/2", 5))
    loss ~ budget^-(4/5), parameters ~ budget^(7/10), steps ~ budget^(3/10): time = mixing
    """
    capacity, target_exponent = checked(capacity, target_exponent, where="compute_optimal", symbols=False)
    images = {CAPACITY: capacity, TARGET: target_exponent}
    easy = exact_sign(target_exponent - 1 - capacity) >= 0
    terms = [Term(t.name, {a: e.subs(images) for a, e in t.exponents.items()}) for t in _compute_terms(easy, sampled)]
    return best_split(terms)


def limited_by(axis: str, capacity: Any, target_exponent: Any, noise: bool = False, sampled: bool = False) -> str:
    """Which term wins along an axis, in words, and whether that is certain: numbers, or `Estimate`s with errors.

    >>> limited_by("samples", Estimate(1.2, 0.1), Estimate(1.8, 0.1))
    "the target's tail: target_exponent - 1 = 0.800 is below 2 capacity = 2.400"
    >>> print(limited_by("parameters", Estimate(1.2, 0.1), Estimate(2.1, 0.1)).partition(": ")[2])
    target_exponent - 1 = 1.100 is below capacity = 1.200 (gap 0.100 +- 0.141: within error of a tie)
    """
    if axis not in AXES:
        raise UnknownName.among(axis, AXES, kind="axis", where="limited_by")
    (b, db), (a, da) = (_value_and_error(v) for v in (capacity, target_exponent))
    b, a = map(float, checked(b, a, axis != "steps" or sampled, where="limited_by", symbols=False))
    first, second = "the target's tail", "the first modes, never quite learned"
    multiple = 2 if axis == "samples" else 1
    if axis == "steps":
        if not sampled:
            return f"{first}: learned modes leave nothing behind, (target_exponent - 1) / capacity = {(a - 1) / b:.3f}"
        second = "the noise of sampled gradients"
        text, gap, error = _tie("target_exponent", a, da, "2 capacity", 2 * b, 2 * db)
        return f"{first if gap <= 0 else second}: {text}"
    if axis == "compute":
        text, gap, _ = _tie("target_exponent", a, da, "2 capacity", 2 * b, 2 * db)
        if sampled and gap > 0:
            return f"mixing by finitely many features against the noise of sampled gradients: {text}"
        first, second = "parameters: a hard target's tail against time", "mixing by finitely many features against time"
    label = "capacity" if multiple == 1 else f"{multiple} capacity"
    text, gap, error = _tie("target_exponent - 1", a - 1, da, label, multiple * b, multiple * db)
    noisy = ", then slowed to rate/(1 + rate) by label noise" if noise and axis == "samples" else ""
    return f"{first if gap <= 0 else second}: {text}{noisy}"


# ---- the derivations ------------------------------------------------------------------------------------------------


def _formula(axis, noise, ridge, sampled):
    return _derived(axis, noise, ridge, sampled)[0]


@cache
def _derived(axis: str, noise: bool, ridge: str, sampled: bool) -> tuple[Any, Trail]:
    if axis == "steps":
        return _steps(sampled)
    if axis == "compute":
        return _compute(sampled)
    return _samples(noise, ridge) if axis == "samples" else _parameters()


def _resolution(name: str) -> tuple[Any, Trail]:
    """kappa ~ size^-power from sum_k lambda_k / (lambda_k + kappa) = size: the bulk of the sum grows without bound."""
    learned = resolvent_sum(0, CAPACITY)
    per_size = sp.simplify(
        -1 / leading_exponent(learned[:1])
    )  # kappa^-(1/b) = size; the head, zeta(0) = -1/2, is constant
    trail = Trail().then(
        f"as many modes are learned as there are {name}",
        f"sum_k 1/(1 + kappa k^capacity) = {name}",
        reference=SIMON,
    )
    trail = trail.then(
        f"kappa falls with the {name}",
        f"kappa ~ {name}^-({per_size})",
        check=f"expansion against the sum: {resolvent_gap(0, 1.5):.0e}",
        residual=resolvent_gap(0, 1.5),
    )
    return per_size, trail


def _samples(noise: bool, ridge: str) -> tuple[Any, Trail]:
    per_size, trail = _resolution("samples")
    residue = resolvent_sum(TARGET, CAPACITY, unlearned=2, order=2, heads=1)
    rate = _times(per_size, leading_exponent(residue))
    gap = resolvent_gap(2.5, 1.5, 2, 2)
    trail = trail.then(
        "bias: squared residues of all modes, sum_k k^-target (kappa/(lambda_k + kappa))^2",
        rate,
        check=f"expansion against the sum: {gap:.0e}",
        residual=gap,
        reference=SIMON,
    )
    # variance: E_0 = n / (n - sum (lambda/(lambda + kappa))^2), and that sum has the same bulk exponent as n itself
    squared, plain = resolvent_sum(0, CAPACITY, order=2)[0], resolvent_sum(0, CAPACITY)[0]
    factor = sp.simplify(1 / (1 - sp.gammasimp(squared.coefficient / plain.coefficient)))
    trail = trail.then("ridgeless variance factor: a constant", factor, reference=SIMON)
    if not noise:
        return rate, trail
    if ridge == "none":
        zero = sp.S.Zero
        return zero, trail.then("fitted noise stays: (capacity - 1) x noise for every n", zero, reference=SIMON)
    bias = Term("bias", {"1/kappa": _RATE / CAPACITY})
    variance = Term("noise", {"samples": sp.S.One, "1/kappa": squared.exponent})
    best = best_split((bias, variance), {"samples": 1, "1/kappa": 0}, at={_RATE: 1, CAPACITY: 2})
    trail = trail.then(
        "noise: a share sum_k (lambda_k/(lambda_k + kappa))^2 / n of it is fitted",
        "kappa^-(1/capacity) / samples",
        reference=CUI,
    )
    return _balanced(best, rate, trail, "the ridge that is best for every n")


def _balanced(best: BestSplit, rate: Any, trail: Trail, rule: str) -> tuple[Any, Trail]:
    found = best.exponent.subs(_RATE, rate)
    trail = trail.then(rule, f"{best.tradeoff}, 1/kappa ~ samples^({best.split['1/kappa']}), rate = {rate}")
    return found, trail.then("exponent", found, reference=CUI)


def _parameters() -> tuple[Any, Trail]:
    per_size, trail = _resolution("parameters")
    floor = resolvent_sum(TARGET, CAPACITY, unlearned=1, order=1, heads=1)
    gap = resolvent_gap(2.2, 1.5, 1, 1)
    return (rate := _times(per_size, leading_exponent(floor))), trail.then(
        "what N random features cannot express, sum_k k^-target kappa/(lambda_k + kappa)",
        rate,
        check=f"expansion against the sum: {gap:.0e}",
        residual=gap,
        reference=PHASES,
    )


def _steps(sampled: bool) -> tuple[Any, Trail]:
    from ..dynamics.spectral_decay import spectral_decay

    signal = spectral_decay(TARGET, CAPACITY)[0]
    trail = Trail().then("sum_k k^-target exp(-2 t lambda_k): no head, exponentials", signal, reference=DYNAMICAL)
    if not sampled:
        return signal, trail
    noise = sp.expand(spectral_decay(2 * CAPACITY, CAPACITY)[0])
    trail = trail.then("noise put in early decays as sum_k lambda_k^2 exp(-2 t lambda_k)", noise, reference=PHASES)
    slower = (sp.Min(TARGET, 2 * CAPACITY) - 1) / CAPACITY
    assert all(sp.simplify(slower.subs(TARGET, at) - e.subs(TARGET, at)) == 0 for at, e in _sides(signal, noise))
    return slower, trail.then("the slower of the two", slower, parents=(0, 1))


def _sides(signal, noise):
    """A target exponent on either side of 2 capacity, with the term that is slower there."""
    return ((2 * CAPACITY / (1 + CAPACITY), signal), (3 * CAPACITY, noise))


def _compute_terms(easy: bool, sampled: bool) -> tuple[Term, ...]:
    """Terms of the loss in parameters and steps, on the easy or the hard side of target_exponent - 1 = capacity.

    The resolvent of N features at rate 1/t obeys kappa (1 - S(kappa)/N) = 1/t, so kappa = 1/t + S(1/t)/(N t): where the
    head kappa sum_k w_k^2 exists it turns the second part, no integer power of 1/t, into a term of its own.
    """
    floor = _times(CAPACITY, resolvent_sum(TARGET, CAPACITY, 1, 1, heads=1)[int(easy)].exponent)
    terms = [Term("time", {"parameters": sp.S.Zero, "steps": _steps(False)[0]}), Term("floor", {"parameters": floor})]
    if easy:
        learned = resolvent_sum(0, CAPACITY)[0].exponent
        terms.append(Term("mixing", {"parameters": sp.S.One, "steps": 1 + learned}))
    if easy and sampled:
        terms.append(Term("sampling noise", {"steps": 2 + resolvent_sum(0, CAPACITY)[0].exponent}))
    return tuple(terms)


def _compute(sampled: bool) -> tuple[Any, Trail]:
    slower = sp.Min(TARGET, 2 * CAPACITY) if sampled else TARGET
    formula = (slower - 1) / (1 + sp.Max(CAPACITY, slower - 1))
    cases = [("hard", False, {CAPACITY: 2, TARGET: 2}, TARGET, CAPACITY)]
    cases += [("easy", True, {CAPACITY: 2, TARGET: sp.Rational(7, 2)}, TARGET, TARGET - 1)]
    if sampled:
        cases += [("beyond 2 capacity", True, {CAPACITY: 2, TARGET: 5}, 2 * CAPACITY, 2 * CAPACITY - 1)]
    trail = Trail()
    for name, easy, at, power, larger in cases:
        best = best_split(_compute_terms(easy, sampled), at=at)
        assert sp.simplify(best.exponent - (power - 1) / (1 + larger)) == 0
        where = " and ".join(f"{c} >= 0" for c in best.conditions)
        result = f"{best.tradeoff}: exponent {best.exponent}, parameters ~ compute^({best.split['parameters']})"
        trail = trail.then(f"{name}: best split", result, check=f"holds for {where}", reference=PHASES, parents=())
    return formula, trail.then("all sides in one formula", formula, parents=tuple(range(len(cases))))


# ---- small parts ----------------------------------------------------------------------------------------------------


def _times(factor, exponent):
    """factor x Min(...) with the factor inside."""
    parts = exponent.args if isinstance(exponent, sp.Min) else (exponent,)
    return sp.Min(*(sp.simplify(factor * part) for part in parts))


def checked(
    capacity: Any, target_exponent: Any, trace: bool = True, where: str = "asymptotic", symbols: bool = True
) -> tuple[Any, Any]:
    """Both exponents as exact numbers or `symbols`: target power that is finite, and a `trace` that is.

    Errors: `OutsideDomain` for a target exponent up to 1, a capacity up to 1 (up to 0 where no trace is needed),
    `BadData` for what is no number, and for symbols where only numbers do.

    >>> checked("3/2", 2.5)
    (3/2, 5/2)
    """
    capacity, target_exponent = (exact(_value_and_error(v)[0], where) for v in (capacity, target_exponent))
    if not symbols and (capacity.free_symbols or target_exponent.free_symbols):
        raise BadData(
            f"capacity {capacity}, target_exponent {target_exponent} hold symbols",
            where=where,
            remedy="give numbers; formulas are those of asymptotic(axis)",
        )
    if not target_exponent.free_symbols and exact_sign(target_exponent - 1) <= 0:
        raise OutsideDomain(
            f"target_exponent {float(target_exponent):.4g} <= 1: the sum over infinitely many modes diverges",
            where=where,
            remedy="the target must have finite power",
        )
    least = 1 if trace else 0
    if not capacity.free_symbols and exact_sign(capacity - least) <= 0:
        raise OutsideDomain(
            f"capacity {float(capacity):.4g} <= {least}: eigenvalues do not sum up, or do not fall",
            where=where,
            remedy="below capacity 1 use power_law_phase, where the learning rate shrinks with the width",
        )
    return capacity, target_exponent


def _value_and_error(value):
    return (value.value, value.error) if isinstance(value, Estimate) else (value, 0.0)


def _tie(first, a, da, second, b, db):
    a, b = float(a), float(b)
    gap, error = a - b, float((da**2 + db**2) ** 0.5)
    relation = "equals" if gap == 0 else "is below" if gap < 0 else "is above"
    text = f"{first} = {a:.3f} {relation} {second} = {b:.3f}"
    if gap == 0 or abs(gap) <= error:
        text += f" (gap {abs(gap):.3f} +- {error:.3f}: within error of a tie)"
    return text, gap, error
