r"""Which phase of compute-optimal scaling a power-law problem is in, with exact exponents and the reason.

One-pass SGD on d random combinations of features j^-alpha z_j with target weights j^-beta costs f = d x steps. At the
best width d* ~ f^xi the loss falls as P* ~ f^-eta; both follow from the terms of the loss (`power_law_terms`) by an
exact balance (`balance`). A phase is a pair of terms that balances, together with the sums that converge:

    eta = max over xi  min over terms  (exponent of the term in f).

>>> phase = power_law_phase(1, "3/4")
>>> phase.name, phase.loss_exponent, phase.width_exponent, phase.tradeoff
('II', 5/7, 3/7, 'F_pp = F_ac')

Heavy ball with a fixed momentum and batches of a fixed size change no exponent: the first multiplies gamma by a
constant (`power_law_terms.effective_rate`), the second its noise.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cache, lru_cache
from typing import Any

import sympy as sp

from ..errors import OutsideDomain
from ..trail import Trail
from .balance import balancing_terms, best_split
from .exact_signs import exact, exact_sign, is_rounded, tidy
from .phase_record import PowerLawPhase
from .power_law_terms import ALPHA, BETA, LINES, Regime, logarithms, loss_terms

# names of the phases in the literature: terms that balance, whether the trace converges, whether the weights do
_NAMES = {
    ("F_pp = F_0", True, False): "Ia",
    ("F_pp = F_0", False, False): "Ib",
    ("F_pp = F_0", False, True): "Ic",
    ("F_pp = F_ac", True, True): "II",
    ("K_pp = F_ac", True, True): "III",
    ("K_pp = F_0", False, True): "IVa",
    ("K_pp = F_pp", False, True): "IVb",
}
# one direction in each of 16 sectors; none lies on a line between phases
_AROUND = tuple((sx * x, sy * y) for x, y in ((7, 2), (3, 2), (2, 3), (2, 7)) for sx in (1, -1) for sy in (1, -1))
_NEAR = 1e-9  # closer than this to a boundary, a float may mean the boundary itself


@dataclass(frozen=True)
class PhaseFormulas:
    """Exponents of a phase as formulas in alpha and beta, and the conditions under which they hold."""

    name: str
    loss_exponent: Any
    width_exponent: Any
    tradeoff: str
    conditions: tuple[Any, ...]
    trail: Trail = field(default=Trail(), repr=False)

    def __str__(self) -> str:
        return f"{self.name}: {self.tradeoff}, loss ~ f^-({self.loss_exponent}), width ~ f^({self.width_exponent})"

    def _repr_latex_(self) -> str:
        return rf"$P^* \sim f^{{-{sp.latex(self.loss_exponent)}}},\ d^* \sim f^{{{sp.latex(self.width_exponent)}}}$"


def power_law_phase(alpha: Any, beta: Any) -> PowerLawPhase:
    """The phase of features j^-alpha with target weights j^-beta under one-pass SGD, and its exact exponents.

    `alpha` > 0, `beta`: numbers, fractions as text or exact SymPy numbers; a float is read as the decimal it prints as.
    In source and capacity: capacity = 2 alpha, target_exponent = 2 alpha + 2 beta (`conventions`).

    Errors: `OutsideDomain` for 2 (alpha + beta) <= 1, where the target has infinite power and the loss no power law,
    and for alpha <= 0; `BadData` for what is no number. Reference: Paquette et al. 2024 (arXiv:2405.15074).

    >>> power_law_phase(1 - 1 / sp.sqrt(2), 1).name
    'IVa/IVb'
    >>> print(power_law_phase(0.7, 0.7).tradeoff)
    F_pp = F_ac; K_pp = F_ac
    """
    inexact = is_rounded(alpha) or is_rounded(beta)
    alpha, beta = exact(alpha, "power_law_phase"), exact(beta, "power_law_phase")
    phase = _phase(alpha, beta)
    if inexact and not phase.on_boundary and phase.distance < _NEAR:
        note = "a boundary lies within rounding of these floats: give exact numbers to be on it"
        return PowerLawPhase(**{**vars(phase), "notes": (*phase.notes, note)})
    return phase


@cache
def phase_formulas() -> Mapping[str, PhaseFormulas]:
    """Exponents of every phase as formulas, each from the balance at one point of it, solved in symbols.

    >>> formulas = phase_formulas()
    >>> formulas["III"].loss_exponent, formulas["IVa"].width_exponent
    ((4*alpha - 1)/(4*alpha), 1/2)
    """
    found: dict[str, PhaseFormulas] = {}
    for alpha in (sp.Rational(1, 8), sp.Rational(27, 100), sp.Rational(2, 5), sp.Rational(3, 4), sp.Rational(3, 2)):
        for beta in (sp.Rational(2, 5), sp.Rational(7, 10), sp.Integer(2)):
            if exact_sign(LINES[3].subs({ALPHA: alpha, BETA: beta})) <= 0:
                continue
            name, regime = _classified(alpha, beta)
            if name not in found:
                terms, trail = loss_terms(regime)
                best = best_split(terms, at={ALPHA: alpha, BETA: beta})
                conditions = tuple(dict.fromkeys((*_signed_lines(regime), *best.conditions)))
                full = best.trail.after(trail, on=(len(trail.steps) - 1,))
                width = best.split["width"]
                found[name] = PhaseFormulas(name, best.exponent, width, best.tradeoff, conditions, full)
    return {name: found[name] for name in _NAMES.values()}


@cache
def boundary_lines() -> tuple[Any, ...]:
    """Linear expressions in alpha and beta that vanish where some condition of some phase does.

    >>> print(*(line for line in boundary_lines() if line.has(sp.sqrt(2))), sep=", ")
    alpha - 1 + sqrt(2)/2, alpha - 1 - sqrt(2)/2
    """
    lines: dict[Any, None] = {}
    for phase in phase_formulas().values():
        for condition in phase.conditions:
            for factor, _ in sp.factor_list(sp.fraction(sp.together(condition))[0], ALPHA, BETA)[1]:
                for line in _linear_factors(factor):
                    lines[line] = None
    return tuple(lines)


# ---- one point ------------------------------------------------------------------------------------------------------


@lru_cache(maxsize=4096)
def _phase(alpha: Any, beta: Any) -> PowerLawPhase:
    _check_domain(alpha, beta)
    sectors = _adjoining(alpha, beta)
    found = {}  # name -> balance at the point itself, with the terms of that side
    for name, regime in sectors.items():
        terms, derivation = loss_terms(regime)
        here = [type(t)(t.name, {a: tidy(e.subs(_at(alpha, beta))) for a, e in t.exponents.items()}) for t in terms]
        found[name] = (best_split(here), derivation, here)
    names = sorted(found, key=list(_NAMES.values()).index)
    first, derivation, here = found[names[0]]
    ranges = [best.ranges["width"] for best, *_ in found.values()]
    low, high = _extreme([r[0] for r in ranges], -1), _extreme([r[1] for r in ranges], 1)
    formulas = phase_formulas()
    distance, nearest = (sp.S.Zero, _meeting(names)) if len(names) > 1 else _nearest(alpha, beta, names[0])
    notes = []
    if len(names) > 1:
        gaps = [tidy(best.exponent - first.exponent) for best, *_ in found.values()]
        same = all(exact_sign(gap) == 0 for gap in gaps)
        notes.append(f"the loss exponent is {'continuous' if same else 'NOT continuous'} here")
        jump = "the width exponent jumps: along f = const the largest term is flat"
        notes.append("the width exponent is continuous here" if low == high else jump)
    if exact_sign(2 * alpha - 1) < 0:
        notes.append(
            "below 2 alpha = 1 asymptotics are not reached at practical widths: the local exponent differs, compute it "
            "from the recursion at that width"
        )
    return PowerLawPhase(
        alpha=alpha,
        beta=beta,
        name="/".join(names),
        loss_exponent=first.exponent,
        width_exponent=low,
        tradeoff="; ".join(dict.fromkeys(formulas[name].tradeoff for name in names)),
        width_range=(low, high),
        terms={term.name: term.at({"width": low, "steps": 1 - low}) for term in here},
        weights=first.weights,
        learning_rate=tidy(sp.Max(0, 1 - 2 * alpha)),
        distance=distance,
        nearest=nearest,
        logarithms=logarithms(alpha, beta),
        corrections=_corrections(alpha, beta),
        notes=tuple(notes),
        trail=first.trail.after(derivation, on=(len(derivation.steps) - 1,)),
    )


def _check_domain(alpha, beta):
    if alpha.free_symbols or beta.free_symbols:
        raise OutsideDomain(
            f"alpha = {alpha}, beta = {beta} hold symbols",
            where="power_law_phase",
            remedy="give numbers, or read the formulas from phase_formulas()",
        )
    if exact_sign(alpha) <= 0:
        raise OutsideDomain(
            f"alpha = {alpha}: eigenvalues j^(-2 alpha) do not fall", where="power_law_phase", remedy="give alpha > 0"
        )
    if exact_sign(2 * (alpha + beta) - 1) <= 0:
        raise OutsideDomain(
            f"no power law: 2 (alpha + beta) = {float(2 * (alpha + beta)):.4g} <= 1, the target's power is infinite",
            where="power_law_phase",
            remedy="give 2 (alpha + beta) > 1",
        )


def _adjoining(alpha, beta) -> dict[str, Regime]:
    """Phases in every sector around a point: one, unless lines between phases go through it."""
    lines = [line.subs(_at(alpha, beta)) for line in boundary_lines()]
    through = [line for line, value in zip(boundary_lines(), lines, strict=True) if exact_sign(tidy(value)) == 0]
    if not through:
        return dict([_classified(alpha, beta)])
    # so small a step crosses no other line: a line a alpha + b beta + c changes by (|a| + |b|) at most along it
    rest = [
        abs(float(value)) / (abs(float(line.coeff(ALPHA))) + abs(float(line.coeff(BETA))))
        for line, value in zip(boundary_lines(), lines, strict=True)
        if line not in through
    ]
    step = sp.Rational(1, 2 ** (7 + max(0, -_exponent_of_two(min([1.0, float(alpha), *rest])))))
    # rational points are faster, and sectors are open: digits far beyond the step change nothing
    near = [sp.Rational(str(sp.N(value, 60))) if not value.is_Rational else value for value in (alpha, beta)]
    found: dict[str, Regime] = {}
    sides = ((through[0].coeff(ALPHA), through[0].coeff(BETA)), (-through[0].coeff(ALPHA), -through[0].coeff(BETA)))
    for x, y in _AROUND if len(through) > 1 else sides:
        point = near[0] + step * x / 7, near[1] + step * y / 7
        if exact_sign(2 * sum(point) - 1) > 0:
            name, regime = _classified(*point)
            found.setdefault(name, regime)
    return found


def _classified(alpha, beta) -> tuple[str, Regime]:
    """The name of the phase of a point on no line, and the sums that converge there."""
    regime = Regime.of(alpha, beta)
    at = _at(alpha, beta)
    terms = [type(t)(t.name, {a: tidy(e.subs(at)) for a, e in t.exponents.items()}) for t in loss_terms(regime)[0]]
    return _name(balancing_terms(terms), regime), regime


def _corrections(alpha, beta) -> Any:
    """The slowest of the relative corrections to the powers: gaps between bulk and head, as powers of the width."""
    gaps = [sp.Abs(2 * alpha - 1), sp.Abs(2 * beta - 1)]
    if exact_sign(2 * beta - 1) >= 0:
        gaps.append(sp.Abs(4 * alpha - 1))
    return tidy(_extreme([tidy(gap) for gap in gaps], -1))


def _nearest(alpha, beta, name) -> tuple[Any, str]:
    """The nearest line beyond which the phase is another one, its distance, and that phase."""
    candidates = []
    for line in boundary_lines():
        a, b = line.coeff(ALPHA), line.coeff(BETA)
        distance = tidy(sp.Abs(tidy(line.subs(_at(alpha, beta)))) / sp.sqrt(a**2 + b**2))
        candidates.append((distance, line))
    candidates.sort(key=lambda pair: float(pair[0]))
    for distance, line in candidates:
        a, b = line.coeff(ALPHA), line.coeff(BETA)
        shift = tidy(line.subs(_at(alpha, beta)) / (a**2 + b**2))
        foot = [tidy(alpha - shift * a), tidy(beta - shift * b)]
        if exact_sign(foot[0]) <= 0:
            continue
        if line == _no_power_law():
            return distance, f"no power law beyond {_equation(line)}"
        meeting = _adjoining(*foot)
        if name in meeting and len(meeting) > 1:
            others = " and ".join(other for other in _NAMES.values() if other in meeting and other != name)
            return distance, f"{others} beyond {_equation(line)}"
    return sp.oo, "none"


# ---- small parts ----------------------------------------------------------------------------------------------------


def _name(balance: tuple[str, ...], regime: Regime) -> str:
    return _NAMES[" = ".join(balance), regime.trace, regime.weights]


def _at(alpha, beta):
    return {ALPHA: alpha, BETA: beta}


def _signed_lines(regime: Regime):
    signs = (regime.trace, regime.weights, regime.squares, True)
    return tuple(line if sign else -line for line, sign in zip(LINES, signs, strict=True))


def _linear_factors(factor):
    """The factor itself if it is linear, or its real linear factors if it holds one of the two symbols only."""
    poly = sp.Poly(factor, ALPHA, BETA)
    if poly.total_degree() == 1:
        return [poly.primitive()[1].as_expr()]
    if len(factor.free_symbols) == 1:
        (symbol,) = factor.free_symbols
        return [symbol - root for root in sp.roots(factor, symbol) if root.is_real]
    return []


def _no_power_law():
    return next(line for line in boundary_lines() if tidy(line - LINES[3]) == 0)


def _equation(line) -> str:
    a, b = line.coeff(ALPHA), line.coeff(BETA)
    constant = tidy(line.subs({ALPHA: 0, BETA: 0}))
    return f"{a * ALPHA + b * BETA} = {-constant}" if constant else f"{a * ALPHA} = {-b * BETA}"


def _meeting(names) -> str:
    return f"on the boundary of {', '.join(names[:-1])} and {names[-1]}"


def _extreme(numbers, sign):
    best = numbers[0]
    for number in numbers[1:]:
        if sign * exact_sign(tidy(number - best)) > 0:
            best = number
    return best


def _exponent_of_two(number: float) -> int:
    from math import frexp

    return frexp(number)[1]
