"""The exact balance of terms against dense numerical minimisation, on terms that are on no list."""

import numpy as np
import pytest
import sympy as sp

from learning_mechanics.theory.errors import BadData, OutsideDomain
from learning_mechanics.theory.scaling.balance import Term, best_split, loss_exponent
from learning_mechanics.theory.scaling.exact_signs import exact, exact_sign, tidy

R = sp.Rational


def random_terms(rng, axes, count):
    """Terms with random exponents between -1/4 and 2 in twelfths; the first falls along every axis."""
    draw = rng.integers(-3, 25, (count, len(axes)))
    draw[0] = np.abs(draw[0]) + 1
    return tuple(
        Term(f"t{i}", {a: R(int(e), 12) for a, e in zip(axes, row, strict=True)}) for i, row in enumerate(draw)
    )


def dense(terms, costs, points):
    """max over splits min over terms, by brute force: splits (points, axes) with sum cost x split = 1."""
    axes = list(costs)
    table = np.array([[float(term.exponents.get(axis, 0)) for axis in axes] for term in terms])
    splits = points / (points @ np.array([float(costs[axis]) for axis in axes]))[:, None]
    return (splits @ table.T).min(1).max()


@pytest.mark.instant
def test_random_terms_of_width_and_steps():
    """25 random sets of 2 to 6 terms, with random costs of the axes."""
    rng = np.random.default_rng(7)
    grid = np.linspace(0, 1, 50_001)
    points = np.stack([grid, 1 - grid], axis=1)
    for _ in range(25):
        terms = random_terms(rng, ("width", "steps"), int(rng.integers(2, 7)))
        costs = {"width": R(int(rng.integers(1, 7)), 2), "steps": R(int(rng.integers(1, 7)), 2)}
        best = best_split(terms, costs)
        assert abs(float(best.exponent) - dense(terms, costs, points)) < 2e-4
        assert best.exponent == loss_exponent(terms, best.split)
        assert sum(costs[axis] * best.split[axis] for axis in costs) == 1


@pytest.mark.instant
def test_random_terms_of_three_axes():
    rng = np.random.default_rng(8)
    grid = np.stack(np.meshgrid(*3 * [np.linspace(0, 1, 41)]), axis=-1).reshape(-1, 3)[1:]
    costs = {"width": 1, "steps": 1, "batch": R(1, 2)}
    for _ in range(6):
        terms = random_terms(rng, tuple(costs), 4)
        best = best_split(terms, costs)
        brute = dense(terms, costs, grid)
        assert -1e-12 < float(best.exponent) - brute < 0.09
        assert best.exponent == loss_exponent(terms, best.split)


@pytest.mark.instant
def test_the_proof_holds_for_every_split():
    """The weighted mean of the balancing terms falls as budget^-exponent, or slower, whatever the split."""
    rng = np.random.default_rng(9)
    for _ in range(20):
        terms = random_terms(rng, ("width", "steps"), 4)
        best = best_split(terms)
        assert sum(best.weights.values()) == 1 and all(w > 0 for w in best.weights.values())
        named = {term.name: term for term in terms}
        for x in (R(0), R(1, 7), R(1, 2), R(6, 7), R(1)):
            split = {"width": x, "steps": 1 - x}
            mean = sum(w * named[name].at(split) for name, w in best.weights.items())
            assert mean <= best.exponent
            assert loss_exponent(terms, split) <= best.exponent


@pytest.mark.instant
def test_conditions_on_terms():
    """A term that counts only for steps >= width^2: below that line it does not limit."""
    always = Term("floor", {"width": 1}), Term("time", {"steps": R(1, 2)})
    late = Term("late", {"steps": R(1, 10)}, only_if=({"steps": 1, "width": -2},))
    free = best_split(always)
    assert free.split["width"] == R(1, 3) and free.exponent == R(1, 3)
    # steps = width^2 is at width 1/3, steps 2/3: the condition just holds there, and a smaller width is worse
    held = best_split((*always, late))
    grid = np.linspace(1 / 3 + 1e-9, 1, 100_001)
    brute = np.minimum(grid, (1 - grid) / 2).max()
    assert abs(float(held.exponent) - brute) < 1e-4
    early = Term("early", {"steps": R(1, 10)}, only_if=({"steps": -1, "width": 1},))  # counts for steps <= width
    assert best_split((*always, early)).exponent == R(1, 3)
    planted = best_split((*always, Term("early", {"steps": R(1, 10)})))
    assert planted.exponent == R(1, 10) * planted.split["steps"] and planted.exponent < R(1, 3)


@pytest.mark.instant
def test_a_flat_optimum_gives_a_range():
    flat = Term("flat", {"width": R(1, 4), "steps": R(1, 4)})
    best = best_split((flat, Term("w", {"width": 1}), Term("s", {"steps": 1})))
    assert best.exponent == R(1, 4) and best.tradeoff == "flat"
    assert best.ranges["width"] == (R(1, 4), R(3, 4)) and not best.unique
    assert "[1/4, 3/4]" in str(best)


@pytest.mark.instant
def test_closed_form_of_two_power_laws():
    """N^-alpha against D^-beta with C = 6 N D: N ~ C^(beta/(alpha + beta)) (Hoffmann et al. 2022, arXiv:2203.15556)."""
    alpha, beta = sp.symbols("alpha beta", positive=True)
    terms = Term("N", {"N": alpha}), Term("D", {"D": beta})
    best = best_split(terms, at={alpha: R(1, 3), beta: R(1, 4)})
    assert sp.simplify(best.split["N"] - beta / (alpha + beta)) == 0
    assert sp.simplify(best.exponent - alpha * beta / (alpha + beta)) == 0


@pytest.mark.instant
def test_formulas_hold_exactly_where_their_conditions_do():
    """Three symbolic terms: inside the conditions the formula is the optimum at any numbers, outside it is not."""
    p, q = sp.symbols("p q", positive=True)
    terms = Term("a", {"width": p}), Term("b", {"steps": q}), Term("c", {"width": R(1, 2), "steps": R(1, 2)})
    found = best_split(terms, at={p: R(1, 3), q: R(1, 2)})
    rng = np.random.default_rng(3)
    seen = set()
    for _ in range(25):
        at = {p: R(int(rng.integers(1, 30)), 12), q: R(int(rng.integers(1, 30)), 12)}
        numbers = [Term(t.name, {a: sp.sympify(e).subs(at) for a, e in t.exponents.items()}) for t in terms]
        holds = all(condition.subs(at) >= 0 for condition in found.conditions)
        same = best_split(numbers).exponent == found.exponent.subs(at)
        assert same == holds
        seen.add(holds)
    assert seen == {True, False}


@pytest.mark.instant
def test_irrational_exponents_are_compared_exactly():
    root = sp.sqrt(2)
    best = best_split((Term("a", {"width": root}), Term("b", {"steps": 1 / (1 + root)})))
    # 1/(1 + sqrt 2) = sqrt 2 - 1: both forms of the same number
    assert tidy(best.exponent - root * (root - 1) / (2 * root - 1)) == 0
    near = R(14142135623730950488016887242096980785696718753769480731766797, 10**61)
    assert exact_sign(root - near) == 1 and exact_sign(near - root) == -1
    assert exact_sign(sp.sqrt(5 + 2 * sp.sqrt(6)) - sp.sqrt(2) - sp.sqrt(3)) == 0


@pytest.mark.instant
@pytest.mark.parametrize(
    ("call", "error", "words"),
    [
        (lambda: best_split(()), BadData, "no terms"),
        (lambda: best_split((Term("a", {}),)), BadData, "no axes"),
        (lambda: best_split((Term("a", {"n": 1}), Term("a", {"t": 1}))), BadData, "share a name"),
        (lambda: best_split((Term("a", {"n": 1}),), {"t": 1}), BadData, "no cost of"),
        (lambda: best_split((Term("a", {"n": 1}),), {"n": -1}), BadData, "negative"),
        (lambda: best_split((Term("a", {"n": 0.5}),)), BadData, "float"),
        (lambda: best_split((Term("a", {"n": sp.Symbol("p")}),)), BadData, "no value of p"),
        (lambda: best_split((Term("a", {"t": 1}),), {"n": 1, "t": 0}), BadData, "negative, or all are zero"),
        (lambda: best_split((Term("a", {"n": 1, "t": 1}),), {"n": 1, "t": 0}), OutsideDomain, "for ever"),
        (lambda: exact("__import__('os')"), BadData, "finite real number"),
        (lambda: exact(True), BadData, "no number"),
        (lambda: exact(np.ones(2)), BadData, "shape (2,)"),
    ],
)
def test_errors_are_one_line(call, error, words):
    with pytest.raises(error) as caught:
        call()
    assert words in str(caught.value) and "\n" not in str(caught.value)


@pytest.mark.instant
def test_exponents_beyond_floating_point():
    """t^-u against n^-v balance at n ~ budget^(u/(u + v)), whatever the size of u and v."""
    u, v = R(10) ** 400, R(1, 10**300)
    best = best_split((Term("n", {"n": v}), Term("t", {"t": u})))
    assert best.split["n"] == u / (u + v) and best.exponent == u * v / (u + v)


@pytest.mark.instant
def test_numbers_of_every_kind_are_exact():
    assert exact(np.float64(0.1)) == R(1, 10) and exact(np.int64(3)) == 3 and exact("1e-3") == R(1, 1000)
    assert exact("1 - 1/sqrt(2)") == 1 - 1 / sp.sqrt(2) and exact(1e300) == R(10) ** 300
