r"""Discrete skills: each is known or not, so the loss is the frequency of those that are not known yet.

Skill k is asked for with probability p_k = c k^-(1+alpha). Whatever decides when a skill is learned moves a front
through the ranks, and every exponent follows from where the front is:

    parameters (N skills fit)         sum_{k>N} p_k  ~  c/alpha N^-alpha
    samples (tau examples a skill)    c^(1/(1+alpha)) Gamma(tau+s)/(alpha Gamma(tau)) D^-s,    s = alpha/(1+alpha)
    steps, R' = 2 p R (1 - R)         c^(1/(1+alpha))/(2(1+alpha)) J (2t)^-s,   J = int v^(s-1) (1 + e^v/x)^-2 dv

with x = 1/R(0) - 1. Exact sums for any frequencies are in `skill_curves`.

>>> print(asymptotic("samples"), "|", asymptotic("parameters"), "|", asymptotic("compute"))
alpha/(alpha + 1) | alpha | alpha/(alpha + 2)
"""

from dataclasses import replace
from functools import cache
from typing import Any

import numpy as np
import sympy as sp

from ..derivation.derive import discretised, gradient_flow
from ..derivation.reduce import change_variables, restrict
from ..errors import BadData, OutsideDomain, UnknownName
from ..measured_spectra.estimate import Estimate
from ..scaling.balance import BestSplit, Term, best_split
from ..symbols import LEARNING_RATE, modes, over, positive
from ..system import FixedPoint, Flow, Map
from ..trail import Equations, Trail
from .forecast import AXES, MechanismForecast
from .skill_curves import POINTS, QUANTILE, checked, left_out, not_yet, scatter_of_slope, skill_curves, unseen
from .sparse_parity import zipf_frequencies
from .token_frequencies import log_slope

_NAME = "discrete skills"
MICHAUD = "Michaud, Liu, Girit & Tegmark 2023, arXiv:2303.13506"
NAM = "Nam et al. 2024, arXiv:2404.17563"
HUTTER = "Hutter 2021, arXiv:2102.04074"
ALPHA, C, KEPT, SAMPLES, THRESHOLD, TIME, ODDS = positive("alpha c N D tau t x")
A, B, U, P, W, R = modes("a b u p w R")
LOSS = positive("E")
_u = positive("v")
SHARP = 2.5  # octaves between 90 % and 10 %: logistic skills take less than 1.8, exponential ones 4.4
_ORDERED = 0.8  # rank correlation of rarity and place


# ---- one skill ------------------------------------------------------------------------------------------------------


@cache
def multilinear_flow() -> Flow:
    """A skill as a product of two weights, a_k b_k, from equal starts: logistic in its own time, R' = 2 p R (1 - R).

    Features of different skills are never non-zero together, so each skill has the loss of its own,
    p (1 - a b)^2 / 2. Reference: Nam et al. 2024, arXiv:2404.17563.

    >>> print(multilinear_flow().equations[0])
    2*R*p*(1 - R)
    """
    flow = gradient_flow(P * (1 - A * B) ** 2 / 2, on=(A, B))
    flow = replace(flow.observe(R=A * B), trail=flow.trail)
    flow = restrict(flow, {A: U, B: U}, assumption="equal starts", reference=NAM)
    flow = change_variables(flow, {"R": U**2}, reference=NAM)
    (unknown,), (equation,) = flow.unknowns, flow.equations
    growth = 2 * P * R * (1 - R)
    assert sp.expand(growth - equation.subs(unknown, R)) == 0
    observables = {"skill": R, "loss": over(P * (1 - R) ** 2) / 2, "emergence": sp.log(ODDS) / (2 * P)}
    trail = flow.trail.then("half learned at", observables["emergence"], check="R = 1/(1 + x exp(-2 p t))")
    return Flow((R,), (growth,), observables=observables, trail=trail)


@cache
def multilinear_descent() -> Map:
    """Gradient descent on the same skills, exactly: u+ = u + eta p u (1 - u^2) with R = u^2.

    >>> print(multilinear_descent().equations[0])
    p*u*eta*(1 - u**2) + u
    """
    moved = restrict(discretised(gradient_flow(P * (1 - A * B) ** 2 / 2, on=(A, B))), {A: U, B: U}, "equal starts", NAM)
    equation = U + LEARNING_RATE * P * U * (1 - U**2)
    assert sp.expand(equation - moved.equations[0]) == 0
    observables = {"skill": U**2, "loss": over(P * (1 - U**2) ** 2) / 2}
    return Map((U,), (equation,), observables=observables, trail=moved.trail)


@cache
def exponential_descent() -> Map:
    """Skills linear in their weights that end as fast: R+ = R + 2 eta p (1 - R), the logistic law near R = 1.

    Same order, same times ~ 1/p, same exponents; but no plateau before a skill is learned.

    >>> print(exponential_descent().equations[0])
    R + 2*p*eta*(1 - R)
    """
    flow = multilinear_flow()
    slope = sp.simplify(flow.equations[0].diff(R).subs(R, 1))
    linear = Flow((R,), (-slope * (1 - R),), flow.observables, trail=flow.trail)
    return replace(discretised(linear), trail=flow.trail.then("tangent at R = 1", linear.statement()))


# ---- many skills ----------------------------------------------------------------------------------------------------


@cache
def density(scale: Any) -> Any:
    """p_k dk by the variable v = scale x p_k, of Zipf's law: how much of the tasks has its front at v.

    >>> print(density(SAMPLES))
    c**(1/(alpha + 1))/(D**(alpha/(alpha + 1))*v**(1/(alpha + 1))*(alpha + 1))
    """
    rank = (_u / (scale * C)) ** (-1 / (1 + ALPHA))
    raw = sp.expand_power_base(_u / scale * -rank.diff(_u), force=True)
    s = ALPHA / (1 + ALPHA)
    found = C ** (1 / (1 + ALPHA)) * scale**-s * _u ** (-1 / (1 + ALPHA)) / (1 + ALPHA)
    assert sp.simplify(sp.expand_log(sp.log(raw) - sp.log(found), force=True)) == 0
    return found


@cache
def leading_term(axis: str) -> Any:
    """Loss of infinitely many skills far along "parameters", "samples" or "steps", prefactor included.

    >>> print(leading_term("parameters"))
    c/(N**alpha*alpha)
    >>> print(leading_term("samples"))
    c**(1/(alpha + 1))*gamma(alpha/(alpha + 1) + tau)/(D**(alpha/(alpha + 1))*alpha*gamma(tau))
    """
    s = ALPHA / (1 + ALPHA)
    if axis == "parameters":
        k = positive("k")
        return sp.powsimp(sp.simplify(sp.integrate(C * k ** -(1 + ALPHA), (k, KEPT, sp.oo), conds="none")))
    if axis not in ("samples", "steps"):
        raise UnknownName.among(axis, ("parameters", "samples", "steps"), kind="axis", where=_NAME)
    front = density(SAMPLES if axis == "samples" else 2 * TIME) * _u ** (1 / (1 + ALPHA))
    if axis == "steps":
        return front / 2 * fermi_integral(s)
    # by parts: the Poisson tail P(fewer than tau | v) has the derivative -v^(tau - 1) e^-v / Gamma(tau)
    power = sp.integrate(_u ** (THRESHOLD - 1 + positive("s")) * sp.exp(-_u), (_u, 0, sp.oo))
    whole = power.subs(positive("s"), s) / (s * sp.gamma(THRESHOLD))
    return front * (1 + ALPHA) * s / ALPHA * whole


def fermi_integral(s: Any, odds: Any = ODDS) -> Any:
    """J = int_0^oo v^(s-1) (1 + e^v/x)^-2 dv = Gamma(s) (Li_{s-1}(-x) - Li_s(-x)), ~ (log x)^s / s for small starts.

    n = 1/(1 + e^v/x) has x dn/dx = n - n^2, and int v^(s-1) n dv = -Gamma(s) Li_s(-x).

    >>> round(float(fermi_integral(sp.Rational(1, 2), 1000).evalf().as_real_imag()[0]), 6)
    4.812135
    """
    occupied = -sp.gamma(s) * sp.polylog(s, -odds)
    x = positive("x")
    return occupied - (x * sp.diff(-sp.gamma(s) * sp.polylog(s, -x), x)).subs(x, odds)


@cache
def unknown_skills() -> FixedPoint:
    """E = sum_k p_k (1 - p_k)^D for tau = 1 and any frequencies, with the Zipf limits of all axes in the trail.

    >>> print(unknown_skills().equations[0])
    -E + over(p*(1 - p)**D)
    """
    exact = over(P * (1 - P) ** SAMPLES)
    trail = Trail().then("a skill without an example is not known", Equations(((LOSS, exact),)), reference=MICHAUD)
    trail = trail.then("ranks as an integral: v = D p_k", density(SAMPLES), parents=())
    rule = {
        "samples": "tau examples make a skill: a Gamma function",
        "parameters": "the N most frequent skills fit: the tail of the frequencies",
        "steps": "logistic skills, v = 2 p_k t: a Fermi integral",
    }
    for axis, words in rule.items():
        trail = trail.then(
            words,
            Equations(((LOSS, leading_term(axis)),)),
            parents=(1,),
            reference={"samples": HUTTER, "parameters": MICHAUD, "steps": NAM}[axis],
            check="exact sum over 2e5 skills and the tail beyond, alpha = 1",
            residual=_distance(axis),
        )
    split = compute_split()
    trail = trail.then("parameters x steps: the best split balances both", split.exponent, parents=(3, 4))
    return FixedPoint((LOSS,), (exact - LOSS,), observables={"unknown": LOSS}, trail=trail)


def _distance(axis: str, count: int = 200_000) -> float:
    """Relative distance of the exact sum and the leading term for alpha = 1; skills beyond the sum are unknown."""
    ranks = zipf_frequencies(count, 1.0)
    weight = 6 / np.pi**2
    share = weight * np.arange(1.0, count + 1) ** -2
    beyond = weight / (count + 0.5)
    assert np.allclose(share[0] / share[1], ranks[0] / ranks[1])
    place = {"parameters": 1000.0, "samples": 1e5, "steps": 1e5}[axis]
    found = {
        "parameters": lambda: left_out(share, [place])[0] + beyond,
        "samples": lambda: unseen(share, [place], 3)[0] + beyond,
        "steps": lambda: not_yet(share, [place], 1e-3)[0] + beyond / 2,
    }[axis]()
    values = {ALPHA: 1, C: weight, KEPT: place + 0.5, SAMPLES: place, TIME: place, THRESHOLD: 3, ODDS: 999}
    return abs(float(sp.re(leading_term(axis).subs(values).evalf())) / float(found) - 1)


@cache
def compute_split() -> BestSplit:
    """Parameters and steps that make the loss of N t = compute smallest: both terms fall alike there.

    >>> print(compute_split())
    loss ~ budget^-(alpha/(alpha + 2)), parameters ~ budget^(1/(alpha + 2)), steps ~ budget^((alpha + 1)/(alpha + 2)): \
skills left out = skills not learned yet
    """
    terms = (
        Term("skills left out", {"parameters": _exponent("parameters")}),
        Term("skills not learned yet", {"steps": _exponent("steps")}),
    )
    return best_split(terms, at={ALPHA: 1})


@cache
def _exponent(axis: str) -> Any:
    variable = {"parameters": KEPT, "samples": SAMPLES, "steps": TIME}[axis]
    term = leading_term(axis)
    return sp.factor(sp.simplify(-variable * term.diff(variable) / term))


def asymptotic(axis: str, alpha: Any = ALPHA) -> Any:
    """Exponent of the loss of skills p_k ~ k^-(1 + alpha) along one axis, in exact SymPy.

    "samples" and "steps" alpha/(1 + alpha), whatever the threshold and the start; "parameters" alpha; "compute"
    (parameters x steps, best split) alpha/(2 + alpha). Raises `OutsideDomain` for alpha <= 0 and `UnknownName`.

    >>> asymptotic("compute", sp.Rational(1, 2))
    1/5
    """
    if axis not in AXES:
        raise UnknownName.among(axis, AXES, kind="axis", where=_NAME)
    alpha = sp.sympify(alpha)
    if alpha.is_nonpositive:
        raise OutsideDomain(f"p_k ~ k^-{1 + alpha} cannot be summed", where=_NAME, remedy="alpha must exceed 0")
    found = compute_split().exponent if axis == "compute" else _exponent(axis)
    return found.subs(ALPHA, alpha)


# ---- forecast -------------------------------------------------------------------------------------------------------


def forecast(
    frequencies: Any,
    window: tuple[float, float],
    threshold: int = 1,
    losses: Any = None,
    at: Any = None,
    unknown: float | None = None,
    memory: tuple[float, float] | None = None,
    start: float = 1e-3,
) -> tuple[MechanismForecast, ...]:
    """Exponents over a window of samples and of time t = eta x steps (and of N in `memory`), from skill frequencies.

    `losses` (K, T) at places `at` of training decide whether it applies (`unknown`: the loss of a skill not known at
    all, see `skill_curves`): skills must be learned within 2.5 octaves each, in the order of their frequencies.
    Without them that cannot be known, and the exponents are conditional.
    Frequencies are taken as exact; errors hold the draw of one growing training set ("samples") and a start ten times
    larger or smaller and, of measured skills, places that do not go as 1/p ("steps").

    >>> rows = forecast(zipf_frequencies(10_000, 1.0), (100, 10_000))
    >>> print(rows[0].applies, rows[0].because)
    False without losses per skill it cannot be known whether skills are learned one at a time
    >>> print(rows[0].exponent, "|", rows[3].formula)
    0.501 +- 0.074 | alpha/(alpha + 2)
    """
    share = checked(frequencies)
    spans = _windows(share, window, memory, threshold, start)
    applies, because, facts = _verdict(frequencies, losses, at, unknown)
    refused = losses is not None and not applies
    rows = []
    for axis in ("samples", "parameters", "steps"):
        exponent, reason = (None, because) if refused else _local(share, axis, spans[axis], threshold, start, because)
        if axis == "steps" and exponent is not None and "time exponent" in facts:
            # places ~ p^-g move the front as t^(1/g): what the multilinear model, g = 1, misses
            beyond = abs(exponent.value / facts["time exponent"] - exponent.value)
            exponent = Estimate(exponent.value, float(np.hypot(exponent.error, beyond)))
        rows.append(_row(axis, exponent, applies, reason, spans[axis], {**facts, "threshold": threshold}))
    pair = rows[1].exponent, rows[2].exponent
    rows.append(_row("compute", _combined(*pair), applies, because, None, facts))
    return tuple(rows)


def _windows(share, window, memory, threshold, start) -> dict[str, tuple[float, float]]:
    if not (1 <= threshold < np.inf and threshold == int(threshold)):
        raise BadData(f"threshold {threshold}", where=_NAME, remedy="give a whole number of examples from 1")
    if not 0 < start <= 0.05:
        raise BadData(f"start {start:g}", where=_NAME, remedy="give one above 0, up to 0.05")
    top = max(4.0, len(share) / 10)
    memory = (max(1.0, top / 10), top) if memory is None else memory
    for name, (low, high) in (("window", window), ("memory", memory)):
        if not 1 <= low <= high / 2 < np.inf:
            raise BadData(f"{name} {low:g} to {high:g}", where=_NAME, remedy="give 1 <= low and an octave or more")
    return {"samples": window, "parameters": memory, "steps": window}


def _local(share, axis, span, threshold, start, because) -> tuple[Estimate | None, str]:
    """Local slope of the exact sum over a window, or the reason why there is none."""
    low, high = span
    grid = np.geomspace(low, high, POINTS)
    error = 0.0
    if axis == "samples":
        value = log_slope(grid, unseen(share, grid, threshold))
        error = QUANTILE * scatter_of_slope(share, grid, threshold) if np.isfinite(value) else np.nan
    elif axis == "parameters":
        grid = np.unique(grid.round())
        value = log_slope(grid, left_out(share, grid))
    else:
        value, *others = (log_slope(grid, not_yet(share, grid, s)) for s in (start, min(0.05, 10 * start), start / 10))
        error = max(abs(other - value) for other in others)
    if not np.isfinite([value, error]).all():
        return None, f"{because}; no number: all {len(share)} skills are known in the window"
    return Estimate(float(value), float(error)), because


def _verdict(frequencies, losses, at, unknown) -> tuple[bool, str, dict[str, Any]]:
    if losses is None:
        return False, "without losses per skill it cannot be known whether skills are learned one at a time", {}
    found = skill_curves(frequencies, losses, at, unknown)
    facts = {"octaves": found.width, "between": found.between, "order": found.order, "time exponent": found.exponent}
    shown = f"a skill is learned in {found.width:.1f} octaves ({found.learned} of {found.skills} skills)"
    if found.width > SHARP:
        return False, f"{shown}: gradually, not at once (limit {SHARP:g})", facts
    if found.order < _ORDERED:
        return False, f"{shown}, but not in the order of frequencies: rank correlation {found.order:.2f}", facts
    return True, f"{shown}, at places ~ p^-{found.exponent:.2f}, rank correlation {found.order:.2f}", facts


def _combined(first: Estimate | None, second: Estimate | None) -> Estimate | None:
    """Exponent of min(N^-s + t^-r) at N t = compute: s r/(s + r)."""
    if first is None or second is None or first.value + second.value <= 0:
        return None
    total = first.value + second.value
    error = np.hypot(first.error * (second.value / total) ** 2, second.error * (first.value / total) ** 2)
    return Estimate(first.value * second.value / total, float(error))


def _row(axis, exponent, applies, because, window, facts) -> MechanismForecast:
    return MechanismForecast(
        mechanism=_NAME,
        axis=axis,
        exponent=exponent,
        applies=applies,
        because=because,
        formula=str(asymptotic(axis)),
        window=window,
        loss="squared error" if axis in ("steps", "compute") else "share of unknown skills",
        reference=NAM if axis in ("steps", "compute") else MICHAUD,
        facts=facts,
    )
