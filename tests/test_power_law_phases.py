"""Phases of one-pass SGD on power-law random features: the published table, numbers of the terms, and boundaries.

The table is that of Paquette, Paquette, Xiao & Pennington 2024, "4+3 Phases of Compute-Optimal Neural Scaling Laws",
arXiv:2405.15074: regions, trade-offs and exponents of P* ~ f^-eta, d* ~ f^xi. It stands in this test only.
"""

import json

import numpy as np
import pytest
import sympy as sp

from learning_mechanics.theory.errors import BadData, OutsideDomain
from learning_mechanics.theory.scaling import power_law_phases as module
from learning_mechanics.theory.scaling.balance import Term, best_split
from learning_mechanics.theory.scaling.power_law_phases import boundary_lines, phase_formulas, power_law_phase
from learning_mechanics.theory.scaling.power_law_terms import ALPHA, BETA, Regime, loss_terms

R = sp.Rational
a, b = ALPHA, BETA
ROOT = 1 - 1 / sp.sqrt(2)
TABLE = {
    "Ia": ("F_pp = F_0", (2 * a + 2 * b - 1) / (2 * a + 1), 1 / (2 * a + 1)),
    "Ib": ("F_pp = F_0", a + b - R(1, 2), R(1, 2)),
    "Ic": (
        "F_pp = F_0",
        a * (2 * a + 2 * b - 1) / (-a * (2 * b - 3) + 2 * b - 1),
        (1 - 2 * (a + b)) / (2 * (a * (2 * b - 3) - 2 * b + 1)),
    ),
    "II": ("F_pp = F_ac", (2 * a + 2 * b - 1) / (2 * (a + b)), b / (a + b)),
    "III": ("K_pp = F_ac", (4 * a - 1) / (4 * a), R(1, 2)),
    "IVa": ("K_pp = F_0", a, R(1, 2)),
    "IVb": (
        "K_pp = F_pp",
        (1 - 2 * a) * (2 * a + 2 * b - 1) / (2 * (-2 * a * b - a + 2 * b)),
        (a - b) / (a + 2 * a * b - 2 * b),
    ),
}


def published(alpha, beta) -> str:
    """The phase by the published regions, in floating point; points on no boundary."""
    if beta < 0.5:
        return "Ia" if alpha > 0.5 else "Ib"
    if alpha > 0.5:
        return "II" if beta < alpha else "III"
    if alpha < 0.25:
        return "Ic"
    return "IVa" if alpha > 1 - 2**-0.5 else "IVb"


@pytest.mark.instant
@pytest.mark.parametrize("name", TABLE)
def test_formulas_are_those_published(name):
    tradeoff, loss, width = TABLE[name]
    found = phase_formulas()[name]
    assert found.tradeoff == tradeoff
    assert sp.simplify(found.loss_exponent - loss) == 0 and sp.simplify(found.width_exponent - width) == 0
    assert found._repr_latex_().startswith("$P^*") and name in str(found)


@pytest.mark.instant
def test_a_wrong_term_gives_other_formulas():
    """Planted: noise that decays as t^-2 instead of t^-(2 - 1/(2 alpha)) changes phase III."""
    terms, _ = loss_terms(Regime(True, True, True))
    wrong = [Term("K_pp", {"width": sp.S.Zero, "steps": sp.Integer(2)}) if t.name == "K_pp" else t for t in terms]
    best = best_split(wrong, at={a: R(3, 5), b: 3})
    assert sp.simplify(best.exponent - TABLE["III"][1]) != 0


POINTS = [
    ("Ia", 1, "1/4"), ("Ia", "3/5", "49/100"), ("Ia", 3, "-1"), ("Ia", "51/100", 0),
    ("Ib", "2/5", "1/4"), ("Ib", "1/10", "9/20"), ("Ib", "49/100", "2/5"), ("Ib", ROOT, "3/10"),
    ("Ic", "1/5", 1), ("Ic", "1/100", "51/100"), ("Ic", "6/25", 7), ("Ic", "1/8", sp.sqrt(3)),
    ("II", 1, "3/4"), ("II", "3/5", "11/20"), ("II", 5, "501/1000"), ("II", sp.sqrt(2), sp.sqrt(2) - R(1, 2)),
    ("III", 1, 2), ("III", "51/100", 9), ("III", "3/5", "61/100"), ("III", sp.sqrt(2), sp.sqrt(2) + R(1, 10**9)),
    ("IVa", "2/5", 1), ("IVa", "3/10", "3/5"), ("IVa", "49/100", 4), ("IVa", ROOT + R(1, 10**30), 1),
    ("IVb", "13/50", 1), ("IVb", "29/100", "3/5"), ("IVb", "7/25", 10), ("IVb", ROOT - R(1, 10**30), 1),
]  # fmt: skip


@pytest.mark.short
@pytest.mark.parametrize(("name", "alpha", "beta"), POINTS)
def test_all_phases_at_several_points(name, alpha, beta):
    phase = power_law_phase(alpha, beta)
    tradeoff, loss, width = TABLE[name]
    at = {a: phase.alpha, b: phase.beta}
    assert phase.name == name and phase.tradeoff == tradeoff and not phase.on_boundary
    assert sp.simplify(phase.loss_exponent - loss.subs(at)) == 0
    assert sp.simplify(phase.width_exponent - sp.sympify(width).subs(at)) == 0
    assert phase.loss_exponent.is_positive and phase.width_exponent.is_positive
    assert phase.distance > 0 and phase.width_range[0] == phase.width_range[1]
    largest = min(phase.terms.values(), key=float)
    assert sp.simplify(largest - phase.loss_exponent) == 0
    below = any("not reached" in note for note in phase.notes)
    assert below == (float(phase.alpha) < 0.5)


@pytest.mark.short
def test_random_points_agree_with_the_published_regions():
    rng = np.random.default_rng(5)
    for alpha, beta in zip(rng.uniform(0.02, 1.2, 60), rng.uniform(-0.3, 1.4, 60), strict=True):
        alpha, beta = round(alpha, 3), round(beta, 3)
        if alpha + beta <= 0.5:
            with pytest.raises(OutsideDomain, match="no power law"):
                power_law_phase(alpha, beta)
            continue
        found = module._classified(sp.Rational(str(alpha)), sp.Rational(str(beta)))[0]
        assert found == published(alpha, beta)


# ---- boundaries -----------------------------------------------------------------------------------------------------

BOUNDARIES = [
    (ROOT, 1, "IVa/IVb", (R(1, 2), R(3, 7) + sp.sqrt(2) / 7), ROOT, ()),
    (ROOT, "1/2", "Ib/IVa/IVb", (R(1, 2), R(1, 2)), ROOT, ("F_0",)),
    ("1/2", 1, "III/IVa", (R(1, 2), R(1, 2)), R(1, 2), ("learning rate",)),
    ("1/2", "1/4", "Ia/Ib", (R(1, 2), R(1, 2)), R(1, 4), ("learning rate",)),
    ("1/2", "1/2", "Ia/Ib/II/III/IVa", (R(1, 2), R(1, 2)), R(1, 2), ("learning rate", "F_0")),
    (1, "1/2", "Ia/II", (R(1, 3), R(1, 3)), R(2, 3), ("F_0",)),
    ("7/10", "7/10", "II/III", (R(1, 2), R(1, 2)), R(9, 14), ()),
    (sp.sqrt(2), sp.sqrt(2), "II/III", (R(1, 2), R(1, 2)), 1 - sp.sqrt(2) / 8, ()),
    ("1/4", 1, "Ic/IVb", (R(3, 5), R(3, 5)), R(3, 10), ("K_pp",)),
    ("1/4", "1/2", "Ib/Ic/IVb", (R(1, 2), R(1, 2)), R(1, 4), ("F_0", "K_pp")),
    ("1/8", "1/2", "Ib/Ic", (R(1, 2), R(1, 2)), R(1, 8), ("F_0",)),
    ("2/5", "1/2", "Ib/IVa", (R(1, 2), R(1, 2)), R(2, 5), ("F_0",)),
]


@pytest.mark.short
@pytest.mark.parametrize(("alpha", "beta", "name", "widths", "loss", "logarithms"), BOUNDARIES)
def test_boundaries(alpha, beta, name, widths, loss, logarithms):
    """Names that meet, the loss exponent (equal from all sides), the range of widths, and which logarithms appear."""
    phase = power_law_phase(alpha, beta)
    assert phase.name == name and phase.on_boundary and phase.names == tuple(name.split("/"))
    assert phase.distance == 0 and "boundary" in phase.nearest
    assert sp.simplify(phase.loss_exponent - loss) == 0
    assert [sp.simplify(found - stated) for found, stated in zip(phase.width_range, widths, strict=True)] == [0, 0]
    assert "the loss exponent is continuous here" in phase.notes
    jumps = any("jumps" in note for note in phase.notes)
    assert jumps == (widths[0] != widths[1])
    assert len(phase.logarithms) == len(logarithms)
    assert all(text.startswith(start) for text, start in zip(phase.logarithms, logarithms, strict=True))
    # the terms are those at `width_exponent`, the lower end of the range
    assert sp.simplify(min(phase.terms.values(), key=float) - loss) == 0
    floor = min(2 * phase.alpha, 2 * phase.alpha + 2 * phase.beta - 1, key=float)
    assert sp.simplify(phase.terms["F_0"] - floor * phase.width_exponent) == 0
    at = {a: phase.alpha, b: phase.beta}
    for side in phase.names:  # every phase's own formula tends to the same exponent, where it is not 0/0
        value = sp.sympify(TABLE[side][1]).subs(at)
        assert not value.is_finite or sp.simplify(value - loss) == 0


@pytest.mark.instant
def test_lines_that_are_no_boundaries():
    """4 alpha = 1 and alpha = 1 - 1/sqrt(2) mean nothing for 2 beta < 1, nor do alpha = 1 and alpha = beta there."""
    for alpha, beta, name in (("1/4", "2/5", "Ib"), (ROOT, "2/5", "Ib"), (1, "1/4", "Ia"), ("2/5", "2/5", "Ib")):
        phase = power_law_phase(alpha, beta)
        assert phase.name == name and phase.distance > 0 and not phase.logarithms
    assert any(sp.simplify(line.subs(a, ROOT)) == 0 for line in boundary_lines())


@pytest.mark.short
@pytest.mark.parametrize(
    ("alpha", "beta"), [(0.7, 0.55), (0.9, 0.3), (0.45, 0.2), (0.31, 0.8), (0.27, 0.9), (0.2, 0.6), (0.6, 0.9)]
)
def test_the_distance_is_that_of_the_nearest_other_phase(alpha, beta):
    """All of a circle just inside is of the same phase, some of one just outside is not: 360 points each."""
    phase = power_law_phase(alpha, beta)
    distance = float(phase.distance)

    def names(radius):
        angle = np.linspace(0, 2 * np.pi, 360)
        points = zip(alpha + radius * np.cos(angle), beta + radius * np.sin(angle), strict=True)
        return {published(x, y) if x + y > 0.5 and x > 0 else "none" for x, y in points}

    assert names(0.999 * distance) == {phase.name}
    outside = names(1.01 * distance) - {phase.name}
    assert outside and all(name in phase.nearest or name == "none" for name in outside)


@pytest.mark.short
def test_the_loss_exponent_is_continuous_everywhere():
    """Across every line between phases, by points at random on it: both sides within 1e-5 of each other."""
    hypothesis = pytest.importorskip("hypothesis")
    from hypothesis import strategies

    lines = strategies.sampled_from([line for line in boundary_lines() if module._no_power_law() is not line])

    @hypothesis.settings(max_examples=8, deadline=None, derandomize=True)
    @hypothesis.given(lines, strategies.fractions(R(1, 50), R(3, 2), max_denominator=97))
    def continuous(line, along):
        along = sp.Rational(along.numerator, along.denominator)
        constant = line.subs({a: 0, b: 0})
        if not line.has(b):
            point = (-constant / line.coeff(a), along)
        else:
            point = (along, -(constant + line.coeff(a) * along) / line.coeff(b))
        if float(point[0]) <= 0.01 or float(point[0] + point[1]) <= 0.51:
            return
        point = [sp.Rational(str(sp.N(value, 30))) for value in point]
        shift = R(1, 10**7)
        ends = []
        for sign in (1, -1):
            x, y = point[0] + sign * shift, point[1] - sign * shift / 3
            regime = Regime.of(x, y)
            best = best_split(
                [Term(t.name, {k: e.subs({a: x, b: y}) for k, e in t.exponents.items()}) for t in loss_terms(regime)[0]]
            )
            ends.append(float(best.exponent))
        assert abs(ends[0] - ends[1]) < 1e-5

    continuous()


# ---- the terms against sums over modes ------------------------------------------------------------------------------


def kappa_of(eigenvalues, width, rate=0.0):
    """kappa (1 - S/d) = rate, by bisection in log space."""
    low, high = np.log(1e-16), np.log(1e4)
    for _ in range(64):
        middle = (low + high) / 2
        kappa = np.exp(middle)
        value = kappa * (1 - (eigenvalues / (eigenvalues + kappa)).sum() / width) - rate
        low, high = (middle, high) if value < 0 else (low, middle)
    return np.exp(low)


@pytest.mark.short
@pytest.mark.parametrize(("alpha", "beta"), [(1.0, 1.2), (0.8, 0.2), (0.4, 0.9), (0.35, 0.35), (0.2, 0.9), (1.2, 0.7)])
def test_the_floor_and_the_signal_follow_their_sums(alpha, beta):
    """F_0 at widths d and 2 d of 4 d modes (100 d above 2 alpha = 1), F_pp from the exponential sum: local slopes."""
    terms = {t.name: t for t in loss_terms(Regime(alpha > 0.5, beta > 0.5, alpha > 0.25))[0]}
    at = {a: R(str(alpha)), b: R(str(beta))}

    def floor(width):
        j = np.arange(1.0, (4 * width if alpha < 0.5 else 100 * width) + 1)
        eigenvalues, power = j ** (-2 * alpha), j ** (-2 * alpha - 2 * beta)
        kappa = kappa_of(eigenvalues, width)
        return (power * kappa / (eigenvalues + kappa)).sum()

    measured = -np.log2(floor(4000) / floor(2000))
    expected = float(terms["F_0"].exponents["width"].subs(at))
    # corrections: bulk against head, d^-|2 beta - 1|, the next head, d^(-2 alpha), and the modes cut off at 100 d
    assert abs(measured - expected) < 0.05 + 0.5 * 2000 ** -abs(2 * beta - 1) + 2000 ** (-2 * alpha)
    j = np.arange(1.0, 1_000_001)
    rate = 1e4 if alpha > 0.5 else 20.0 if alpha > 0.3 else 10.0  # so that the last mode is not learned
    signal = [(j ** (-2 * alpha - 2 * beta) * np.exp(-2 * t * j ** (-2 * alpha))).sum() for t in (rate, 2 * rate)]
    steps = float(terms["F_pp"].exponents["steps"].subs(at))
    beyond = ((4 * rate) ** (1 / (2 * alpha)) / j[-1]) ** (2 * alpha + 2 * beta - 1)  # power of the modes cut off
    assert abs(-np.log2(signal[1] / signal[0]) - steps) < 0.02 + 2 * steps * beyond


@pytest.mark.instant
@pytest.mark.parametrize(("name", "alpha", "beta"), [p for p in POINTS if p[0] not in ("II", "III")])
def test_terms_that_are_left_out_are_never_the_largest(name, alpha, beta):
    """Mixing d^-1 (gamma r)^-(1 - 1/(2 alpha)) and noise gamma (gamma r)^-(2 - 1/(2 alpha)) at the best width."""
    phase = power_law_phase(alpha, beta)
    x, g = phase.width_exponent, phase.learning_rate
    progress = 1 - x - g * x  # gamma r in powers of f
    one = 1 - 1 / (2 * phase.alpha)
    left_out = {"F_ac": x + one * progress, "K_pp": g * x + (1 + one) * progress}
    if name == "Ia":  # there only the bulk is mixed: F_pp S/d
        left_out["F_ac"] = phase.terms["F_pp"] + x - progress / (2 * phase.alpha)
    for term, exponent in left_out.items():
        if term not in phase.terms:
            assert float(exponent - phase.loss_exponent) > -1e-12, term
    assert set(phase.terms) < {"K_pp", "F_pp", "F_ac", "F_0"}


@pytest.mark.short
def test_mixing_and_noise_follow_their_sums():
    """F_ac: what a finite width adds to B(kappa(tau)), in width and time; K_pp: tr K^2 exp(-2 t K)."""
    alpha, beta = 1.0, 1.2
    at = {a: R(1), b: R(6, 5)}
    terms = {t.name: t for t in loss_terms(Regime(True, True, True))[0]}
    j = np.arange(1.0, 300_001)
    eigenvalues, power = j ** (-2 * alpha), j ** (-2 * alpha - 2 * beta)

    def added(width, tau):
        kappa = kappa_of(eigenvalues, width, tau)
        return (power * kappa / (eigenvalues + kappa)).sum() - (power * tau / (eigenvalues + tau)).sum()

    mixing = terms["F_ac"].exponents
    in_width = -np.log2(added(80_000, 1e-6) / added(40_000, 1e-6))
    in_time = -np.log2(added(80_000, 1e-6) / added(80_000, 2e-6))
    assert abs(in_width - float(mixing["width"])) < 0.03
    assert abs(in_time - float(mixing["steps"].subs(at))) < 0.03
    noise = [(eigenvalues**2 * np.exp(-2 * t * eigenvalues)).sum() for t in (1e4, 2e4)]
    assert abs(-np.log2(noise[1] / noise[0]) - float(terms["K_pp"].exponents["steps"].subs(at))) < 1e-3


# ---- input and output -----------------------------------------------------------------------------------------------


@pytest.mark.instant
@pytest.mark.parametrize(
    ("alpha", "beta", "error", "words"),
    [
        (0.25, 0.25, OutsideDomain, "no power law"),
        ("1/5", "1/5", OutsideDomain, "no power law"),
        (0, 1, OutsideDomain, "do not fall"),
        (a, 1, OutsideDomain, "phase_formulas()"),
        (float("inf"), 1, BadData, "finite"),
        ("one", 1, BadData, "finite"),
        (np.array([1.0, 2.0]), 1, BadData, "one number at a time"),
    ],
)
def test_errors_are_one_line(alpha, beta, error, words):
    with pytest.raises(error) as caught:
        power_law_phase(alpha, beta)
    assert words in str(caught.value) and "\n" not in str(caught.value)


@pytest.mark.instant
def test_floats_near_a_boundary_say_so():
    """1 - 1/sqrt(2) as a float lies 2e-17 from the boundary, on one side of it: classified there, with a note."""
    phase = power_law_phase(1 - 1 / np.sqrt(2), 1.0)
    assert phase.name in ("IVa", "IVb") and 0 < phase.distance < 1e-15
    assert any("rounding of these floats" in note for note in phase.notes)
    assert power_law_phase(0.7, 0.7).name == "II/III"


@pytest.mark.instant
def test_the_record_says_everything():
    phase = power_law_phase(R(13, 50), 1)
    text = str(phase)
    for words in ("phase IVb", "K_pp = F_pp", "Ic beyond 4*alpha = 1", "distance 0.01", "not reached"):
        assert words in text
    stated = json.loads(json.dumps(phase.to_dict()))
    assert stated["name"] == "IVb" and sp.Rational(stated["loss_exponent"]) == phase.loss_exponent
    assert len(stated["trail"]) > 8 and "2405.15074" in str(stated["trail"])
    assert phase._repr_latex_().count("$") == 2 and repr(phase) == text
    assert phase.steps_exponent == 1 - phase.width_exponent
    assert "whatever the split" in str(phase.trail.steps[-1])
