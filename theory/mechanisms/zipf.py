r"""Memorising tokens: inputs that are one of many symbols teach nothing about each other, so only repetition helps.

A token of probability p_i is still unknown after n samples with probability (1 - p_i)^n. A table of random labels, and
least squares on one-hot inputs, err exactly on what they have not seen:

    E(n) = sum_i p_i (1 - p_i)^n   ~   c^(1/a)/a Gamma(1 - 1/a) n^-(a-1)/a     for Zipf's law p_i = c i^-a.

Gaussian features of the same covariance diag(p) would fall as n^-(a-1), much faster. How to read the sum off measured
frequencies, and forecasts, are in `token_frequencies`.

>>> print(asymptotic("samples"), "|", asymptotic("parameters"), "|", asymptotic("compute"))
(a - 1)/a | a - 1 | (a - 1)/(a + 1)
"""

from functools import cache
from typing import Any

import numpy as np
import sympy as sp

from ..arguments import interval, number
from ..errors import BadData, OutsideDomain, UnknownName
from ..measured_spectra.estimate import Estimate
from ..scaling.exact_signs import exact, exact_sign
from ..symbols import LEARNING_RATE, modes, over, positive
from ..system import FixedPoint, Map
from ..trail import Equations, Trail
from .forecast import AXES, MechanismForecast
from .token_frequencies import Frequencies, frequencies, log_slope

_NAME = "Zipf memorisation"
HUTTER = "Hutter 2021, arXiv:2102.04074"
CAPACITY = positive("a")  # p_i = c i^-a: the eigenvalues of the covariance of one-hot inputs
P, C = modes("p c")
N, E = positive("n E")
_count = modes("count")
_total, _left, _held, _kept = positive("T r c N")


@cache
def unseen_mass() -> FixedPoint:
    """E = sum_i p_i (1 - p_i)^n for any probabilities, with its Zipf limit in the trail.

    Reference: Hutter 2021, arXiv:2102.04074.

    >>> print(unseen_mass().equations[0])
    -E + over(p*(1 - p)**n)
    """
    trail = Trail().then(
        "a token was not among n independent draws", (1 - P) ** N, check="n independent draws, each misses it"
    )
    exact = over(P * (1 - P) ** N)
    trail = trail.then("the next token is one of these: mean error of a table", Equations(((E, exact),)))
    leading = leading_term()
    trail = trail.then(
        "p_i = c i^-a and n -> oo: the sum becomes an integral over u = n c i^-a, a Gamma function",
        Equations(((E, leading),)),
        reference=HUTTER,
        check="the sum over 4e6 tokens and its integral tail, a = 2, n = 1e4",
        residual=_distance(2.0, 1e4),
    )
    trail = trail.then("exponent", asymptotic("samples"))
    return FixedPoint((E,), (exact - E,), observables={"unseen": E}, trail=trail)


@cache
def leading_term() -> Any:
    """E(n) for p_i = c i^-a as n -> oo, by the integral over ranks, prefactor included.

    >>> print(leading_term())
    c**(1/a)*n**(-1 + 1/a)*gamma(1 - 1/a)/a
    """
    u, a = positive("u"), 1 + positive("d")  # a = 1 + d > 1: the integral converges
    rank = (u / (N * _held)) ** (-1 / a)
    density = sp.powsimp(sp.expand_power_base(sp.simplify(u / N * -rank.diff(u)), force=True), force=True)
    power = sp.simplify(u * density.diff(u) / density)
    front = sp.powsimp(sp.simplify(density / u**power), force=True)
    integral = front * sp.gamma(power + 1)  # int u^power e^-u du, convergent because power = -1/a > -1
    return _in_capacity(integral, a)


def _in_capacity(integral: Any, a: Any) -> Any:
    """The same expression in `a` instead of 1 + d, powers of c and n collected."""
    d = next(symbol for symbol in a.free_symbols)
    inside = sp.expand_power_base(sp.simplify(integral.subs(d, CAPACITY - 1)), force=True)
    exponents = {base: sp.simplify(base * inside.diff(base) / inside) for base in (_held, N)}
    rest = sp.simplify(inside.subs({_held: 1, N: 1}))
    assert not {_held, N} & set().union(rest.free_symbols, *(value.free_symbols for value in exponents.values()))
    return rest * sp.Mul(*(base ** sp.expand(value) for base, value in exponents.items()))


def _distance(capacity: float, samples: float, tokens: int = 4_000_000) -> float:
    """Relative distance between sum and leading term at one n; tokens beyond the sum are all unseen, to first order."""
    weight = 1 / float(sp.zeta(capacity))
    rank = np.arange(1.0, tokens + 1)
    p = weight * rank**-capacity
    tail = weight * (tokens + 0.5) ** (1 - capacity) / (capacity - 1)
    summed = (p * np.exp(samples * np.log1p(-p))).sum() + tail
    value = leading_term().subs({CAPACITY: sp.nsimplify(capacity), _held: weight, N: samples})
    return abs(float(value) / summed - 1)


@cache
def drawn_from_a_pool() -> FixedPoint:
    """The same for n tokens drawn without replacement from a pool of T: how often each occurs there decides.

        E = sum_i c_i C(T - c_i, n)/C(T, n) / r,   r = T - n,

    of the tokens that were left over; exact at every n, and free of any estimate of p.

    >>> sorted(str(symbol) for symbol in drawn_from_a_pool().parameters)
    ['T', 'count', 'r']
    """
    missed = sp.exp(
        sp.loggamma(_total - _count + 1)
        - sp.loggamma(_left - _count + 1)
        - sp.loggamma(_total + 1)
        + sp.loggamma(_left + 1)
    )
    exact = over(_count * missed) / _left
    trail = Trail().then(
        "none of c_i copies is among n of T tokens: C(T - c_i, n)/C(T, n), in r = T - n", missed, reference=HUTTER
    )
    trail = trail.then("all copies are then left over, r tokens in all", Equations(((E, exact),)))
    return FixedPoint((E,), (exact - E,), observables={"unseen": E}, trail=trail)


@cache
def one_hot_descent() -> Map:
    """One-pass SGD on one-hot inputs, one token a step: c_i <- c_i (1 - p_i eta (2 - eta)), c_i = E (w_i - y_i)^2.

    A weight moves only when its token comes, by the factor 1 - eta. Modes do not share noise as Gaussian features do.

    >>> print(one_hot_descent().equations[0])
    c*(-p*eta*(2 - eta) + 1)
    """
    eta = LEARNING_RATE
    step = (1 - P) * C + P * (1 - eta) ** 2 * C
    trail = Trail().then("with probability p the token comes: its error shrinks by 1 - eta", step, reference=HUTTER)
    factor = 1 - P * eta * (2 - eta)
    assert sp.expand(step / C - factor) == 0
    next_value = C * factor
    trail = trail.then("so after k steps", C * factor**N, check="the same factor at every step")
    trail = trail.then(
        "excess risk, and the unseen mass of eta (2 - eta) k samples",
        Equations(((E, over(P * C * factor**N) / 2),)),
        check="eta = 1 is a table: (1 - p)^k",
    )
    return Map((C,), (next_value,), observables={"excess_risk": over(P * C) / 2}, trail=trail)


def forgotten_mass(kept: Any = _kept, capacity: Any = CAPACITY) -> Any:
    """Share of tokens beyond the N most frequent of Zipf's law, sum_{i > N} p_i, exactly: a ratio of zeta functions.

    Errors: `OutsideDomain` for a <= 1, `BadData` for N below 0 and for what is no number.

    >>> print(forgotten_mass())
    zeta(a, N + 1)/zeta(a)
    """
    capacity, kept = _summable(capacity), exact(kept, _NAME)
    if not kept.free_symbols and exact_sign(kept) < 0:
        raise BadData(f"a memory of {kept} tokens", where=_NAME, remedy="give a number from 0")
    return sp.zeta(capacity, kept + 1) / sp.zeta(capacity)


def _summable(capacity: Any) -> Any:
    """A capacity above 1 as an exact number, or symbols."""
    capacity = exact(capacity, _NAME)
    if not capacity.free_symbols and exact_sign(capacity - 1) <= 0:
        raise OutsideDomain(f"p_i ~ i^-({capacity}) cannot be summed", where=_NAME, remedy="the exponent must exceed 1")
    return capacity


@cache
def _best_split() -> Any:
    """Exponent of min(N^-s + n^-r) at N n = compute: both terms fall alike there."""
    x = sp.Symbol("x", real=True)  # N = compute^x, n = compute^(1 - x)
    s, r = asymptotic("parameters"), asymptotic("samples")
    share = sp.solve(sp.Eq(s * x, r * (1 - x)), x)[0]
    return sp.factor(sp.simplify(s * share))


def asymptotic(axis: str, capacity: Any = CAPACITY) -> Any:
    """Exponent of the error of memorising Zipf tokens p_i ~ i^-a, random labels, along one axis, in exact SymPy.

    "samples" (a-1)/a; "steps" of one-pass or gradient descent the same; "parameters" (a memory of the N most frequent
    tokens) a - 1; "compute" (N n, best split). Raises `OutsideDomain` for a <= 1 (no law of infinitely many tokens) and
    `UnknownName` for another axis.

    >>> asymptotic("samples", sp.Rational(3, 2))
    1/3
    """
    if axis not in AXES:
        raise UnknownName.among(axis, AXES, kind="axis", where="Zipf memorisation")
    capacity = _summable(capacity)
    if axis in ("samples", "steps"):
        from_samples = sp.simplify(-N * leading_term().diff(N) / leading_term())
        found = sp.together(sp.expand(from_samples))
    elif axis == "parameters":
        # zeta(a, N + 1) ~ int_N^oo i^-a di
        i = positive("i")
        found = sp.simplify(-_kept * sp.diff(_kept ** (1 - CAPACITY) / (CAPACITY - 1), _kept) * (CAPACITY - 1))
        found = sp.simplify(found / _kept ** (1 - CAPACITY))
        assert sp.simplify(sp.diff(-(i ** (1 - CAPACITY)) / (CAPACITY - 1), i) - i**-CAPACITY) == 0
    else:
        found = _best_split()
    return found.subs(CAPACITY, capacity)


def gaussian(axis: str, capacity: Any = CAPACITY) -> Any:
    """What Gaussian features with the same covariance and random labels would give: target exponent = capacity = a.

    Right for the time of gradient descent, wrong for samples.

    >>> gaussian("samples"), gaussian("steps")
    (a - 1, (a - 1)/a)
    """
    if axis not in ("samples", "steps", "parameters"):
        raise UnknownName.among(axis, ("samples", "steps", "parameters"), kind="axis", where="Gaussian features")
    return ((CAPACITY - 1) / (CAPACITY if axis == "steps" else 1)).subs(CAPACITY, _summable(capacity))


def forecast(
    tokens: Any,
    window: tuple[float, float],
    memory: tuple[float, float] | None = None,
    learning_rate: float = 1.0,
) -> tuple[MechanismForecast, ...]:
    """Exponents of memorising a text over a window of samples (and of memory sizes), from its frequencies alone.

    `tokens` a sequence of words, characters or numbers, or `Frequencies`; `memory` a window of N, by default from 10 to
    a tenth of the vocabulary; `learning_rate` of one-pass SGD on one-hot inputs, 1 for a table. It applies where inputs
    are symbols that repeat and are not exhausted in the window; both are counted.

    >>> rng = np.random.default_rng(0)
    >>> rows = forecast(rng.zipf(2.0, 4000), (30, 1000))
    >>> print([row.axis for row in rows], rows[0].applies, rows[0].formula)
    ['samples', 'parameters', 'steps', 'compute'] True (a - 1)/a
    """
    counted = tokens if isinstance(tokens, Frequencies) else frequencies(tokens)
    learning_rate = number(learning_rate, "learning rate", _NAME)
    if not 0 < learning_rate < 2:
        raise BadData(f"learning rate {learning_rate:g}", where=_NAME, remedy="give one between 0 and 2")
    gain = learning_rate * (2 - learning_rate)
    remedy = "give 1 <= low and an octave or more"
    window = interval(window, "window", _NAME, remedy=remedy, ratio=2.0)
    if memory is None:
        memory = 10.0, max(20.0, counted.vocabulary / 10)
    memory = interval(memory, "memory", _NAME, remedy=remedy, ratio=2.0)
    applies, because = _verdict(counted, window[1])
    rows = []
    for axis, span in (("samples", window), ("parameters", memory), ("steps", window)):
        exponent, reason = None, because
        if applies:
            scaled = (max(1.0, gain * span[0]), gain * span[1]) if axis == "steps" else span
            try:
                exponent = counted.memory_slope(span) if axis == "parameters" else counted.slope(scaled)
            except (OutsideDomain, BadData) as error:
                reason = f"{because}; no number: {error.found}"
        rows.append(_row(axis, exponent, applies, reason, span, counted))
    rows.append(_row("compute", _combined(rows[1].exponent, rows[0].exponent), applies, because, None, counted))
    return tuple(rows)


def _verdict(counted: Frequencies, high: float) -> tuple[bool, str]:
    """Whether tokens repeat and are not exhausted, by the share that is new at the end of the text."""
    new = counted.singletons / counted.total
    if counted.vocabulary > 0.9 * counted.total:
        return False, f"{counted.vocabulary} different ones among {counted.total} inputs: they do not repeat"
    if not counted.singletons:
        return False, f"every one of {counted.vocabulary} tokens occurs twice or more: all are seen, no tail is left"
    top = min(high, counted.total - 1.0)
    steep = log_slope(np.array([top / 2, top]), counted.unseen([top / 2, top]))
    if steep >= 1:
        return False, f"local exponent {steep:.2f} at n = {top:.3g}: steeper than any Zipf law, a finite vocabulary"
    return True, f"one symbol in {1 / new:.0f} is new after {counted.total}; {counted.vocabulary} different ones"


def _combined(first: Estimate | None, second: Estimate | None) -> Estimate | None:
    """Exponent of min(N^-s + n^-r) at N n = compute: s r/(s + r)."""
    if first is None or second is None:
        return None
    total = first.value + second.value
    error = np.hypot(first.error * (second.value / total) ** 2, second.error * (first.value / total) ** 2)
    return Estimate(first.value * second.value / total, float(error))


def _row(axis, exponent, applies, because, window, counted) -> MechanismForecast:
    facts: dict[str, Any] = {"tokens": counted.total, "vocabulary": counted.vocabulary}
    if exponent is not None and axis == "samples" and exponent.value < 1:
        # the capacity that has this exponent, and what Gaussian features of that capacity would do
        facts["capacity"] = 1 / (1 - exponent.value)
        facts["Gaussian features"] = exponent.value / (1 - exponent.value)
    return MechanismForecast(
        mechanism=_NAME,
        axis=axis,
        exponent=exponent,
        applies=applies,
        because=because,
        formula=str(asymptotic(axis)),
        window=window,
        loss="unseen mass" if axis != "parameters" else "forgotten mass",
        reference=HUTTER,
        facts=facts,
    )
