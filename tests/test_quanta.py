"""Discrete skills: exact sums against counting and quadrature, exponents by brute force, forecasts and refusals."""

from itertools import product

import numpy as np
import pytest
import sympy as sp

from learning_mechanics.theory.errors import BadData, OutsideDomain, UnknownName
from learning_mechanics.theory.mechanisms import quanta
from learning_mechanics.theory.mechanisms.skill_curves import left_out, not_yet, scatter_of_slope, skill_curves, unseen
from learning_mechanics.theory.mechanisms.sparse_parity import zipf_frequencies

pytestmark = pytest.mark.instant


def leading(axis, **values):
    named = {str(symbol): symbol for symbol in quanta.leading_term(axis).free_symbols}
    return float(sp.re(quanta.leading_term(axis).subs({named[n]: v for n, v in values.items() if n in named}).evalf()))


def test_exponents_in_exact_form():
    alpha = quanta.ALPHA
    assert quanta.asymptotic("parameters") == alpha
    assert sp.simplify(quanta.asymptotic("samples") - alpha / (1 + alpha)) == 0
    assert quanta.asymptotic("samples") == quanta.asymptotic("steps")
    assert sp.simplify(quanta.asymptotic("compute") - alpha / (2 + alpha)) == 0
    assert quanta.asymptotic("steps", sp.Rational(1, 2)) == sp.Rational(1, 3)
    # by hand: 0.4 and 0.4/1.4
    assert [float(quanta.asymptotic(axis, sp.Rational(2, 5))) for axis in ("parameters", "samples")] == [0.4, 2 / 7]
    with pytest.raises(OutsideDomain, match="cannot be summed"):
        quanta.asymptotic("samples", 0)
    with pytest.raises(UnknownName):
        quanta.asymptotic("time")
    with pytest.raises(UnknownName):
        quanta.leading_term("compute")


@pytest.mark.parametrize("alpha, threshold", [(0.4, 1), (1.0, 2), (1.0, 5), (2.0, 3)])
def test_samples_to_the_next_order_with_a_threshold(alpha, threshold):
    """Sum of binomial probabilities over 1e5 skills, all beyond unlearned; the first order left out is 1/D."""
    from scipy.stats import binom

    samples, count = 4000, 100_000
    k = np.arange(1.0, count + 1)
    weight = 1 / float(sp.zeta(1 + alpha))
    p = weight * k ** -(1 + alpha)
    # beyond: P(fewer than tau) = 1 but for D p to the power tau, of which the first term is integrated by hand
    beyond = weight * (count + 0.5) ** -alpha / alpha
    if threshold == 1:
        beyond -= samples * weight**2 * (count + 0.5) ** -(1 + 2 * alpha) / (1 + 2 * alpha)
    total = (p * binom.cdf(threshold - 1, samples, p)).sum() + beyond
    told = leading("samples", alpha=sp.nsimplify(alpha), c=weight, D=samples, tau=threshold)
    assert told == pytest.approx(total, rel=5e-4 * threshold**2)
    assert abs(1.1 * told / total - 1) > 5e-4 * threshold**2  # a tenth more would be seen
    assert unseen(p, [samples], threshold)[0] == pytest.approx(total - beyond, rel=1e-9)


def test_one_example_is_the_law_of_memorised_tokens():
    """Another derivation of the same number: a = 1 + alpha of `zipf`, in its own symbols."""
    from learning_mechanics.theory.mechanisms import zipf

    told = leading("samples", alpha=sp.Rational(2, 5), c=0.3, D=700, tau=1)
    values = {zipf.CAPACITY: sp.Rational(7, 5), zipf._held: 0.3, zipf.N: 700}
    assert told == pytest.approx(float(zipf.leading_term().subs(values)), rel=1e-12)


def test_unseen_counts_every_training_set():
    """All 4^5 training sets of five tasks, one by one; a skill needs two examples."""
    p = np.array([0.4, 0.3, 0.2, 0.1])
    brute = 0.0
    for tasks in product(range(4), repeat=5):
        few = np.bincount(tasks, minlength=4) < 2
        brute += np.prod(p[list(tasks)]) * p[few].sum()
    assert unseen(p, [5], 2)[0] == pytest.approx(brute, rel=1e-12)
    assert np.array_equal(unseen(p, [0.5, 1], 2), [1.0, 1.0])
    from scipy.stats import binom

    for threshold in (5, 20, 21, 60):  # both ways of summing
        exact = (p * binom.cdf(threshold - 1, 100, p)).sum()
        assert unseen(p, [100], threshold)[0] == pytest.approx(exact, rel=1e-10)


def test_parameters_and_steps_against_sums():
    import mpmath

    weight = 1 / float(sp.zeta(1.5))
    beyond = float(mpmath.zeta(1.5, 301)) * weight
    told = leading("parameters", alpha=sp.Rational(1, 2), c=weight, N=300.5)
    assert told == pytest.approx(beyond, rel=1e-6)
    k = np.arange(1.0, 500_001)
    p = weight * k**-1.5
    time, start = 3000.0, 1e-3
    curve = 1 / (1 + (1 / start - 1) * np.exp(-2 * p * time))  # the logistic by hand
    total = (p * (1 - curve) ** 2).sum() / 2
    total += (1 - start) ** 2 * float(mpmath.zeta(1.5, 500_001)) * weight / 2
    told = leading("steps", alpha=sp.Rational(1, 2), c=weight, t=time, x=1 / start - 1)
    assert told == pytest.approx(total, rel=2e-5)
    assert not_yet(p, [time], start)[0] == pytest.approx((p * (1 - curve) ** 2).sum() / 2, rel=1e-12)


@pytest.mark.parametrize("s, odds", [(0.3, 999.0), (0.5, 20.0), (0.9, 1e6)])
def test_fermi_integral_by_quadrature(s, odds):
    import mpmath

    front = float(np.log(odds))  # with v = w^(1/s) the integrand has no singularity at 0
    edges = [0.0, front / 2, front, front + 3, front + 60]
    brute = mpmath.quad(lambda w: (1 + mpmath.exp(w ** (1 / s)) / odds) ** -2 / s, [edge**s for edge in edges])
    assert float(sp.re(quanta.fermi_integral(sp.Float(s), odds).evalf())) == pytest.approx(float(brute), rel=1e-9)


def test_small_starts_are_a_step_at_the_logarithm():
    """(log x)^s / s up to a relative order 1/log x."""
    for power in (6, 12, 24):
        front = np.log(10.0**power)
        found = float(sp.re(quanta.fermi_integral(sp.Float(0.5), 10.0**power).evalf()))
        assert abs(found / (2 * front**0.5) - 1) < 1.2 * 0.5 / front


def test_the_best_split_of_compute_by_brute_force():
    """Least of N^-alpha + t^-s over a grid of splits at six budgets: exponent and place, to the step of the grid."""
    alpha = 0.8
    s, shares = alpha / (1 + alpha), np.linspace(0.01, 0.99, 4001)
    budgets = 10.0 ** np.arange(20, 26)
    losses = budgets[:, None] ** (-alpha * shares) + budgets[:, None] ** (-s * (1 - shares))
    exponent = -np.polyfit(np.log(budgets), np.log(losses.min(1)), 1)[0]
    assert exponent == pytest.approx(float(quanta.asymptotic("compute", sp.Rational(4, 5))), abs=1e-3)
    place = np.polyfit(np.log(budgets), shares[losses.argmin(1)] * np.log(budgets), 1)[0]
    split = quanta.compute_split().split["parameters"].subs(quanta.ALPHA, sp.Rational(4, 5))
    assert place == pytest.approx(float(split), abs=1e-3)


def test_compute_exponent_of_exact_sums():
    """Loss of N trainable skills after time t = C/N, summed over 2e4 skills and minimised over N at five budgets."""
    p, start = zipf_frequencies(20_000, 1.0), 1e-2
    kept = np.unique(np.geomspace(2, 2000, 120).astype(int))
    best = []
    budgets = 10.0 ** np.arange(5, 8.1, 0.75)
    for budget in budgets:
        known = [not_yet(p[:n], [budget / n], start)[0] for n in kept]
        losses = np.array(known) + left_out(p, kept) / 2
        assert 0 < losses.argmin() < len(kept) - 1  # interior minima only
        best.append(losses.min())
    assert -np.polyfit(np.log(budgets), np.log(best), 1)[0] == pytest.approx(1 / 3, abs=0.02)


def test_gradient_of_two_weights_by_automatic_differentiation():
    """Factor 2 of R' = 2 p R (1 - R) from jax.grad of the loss over rows, no formula."""
    import jax

    share = np.array([0.6, 0.3, 0.1])

    def loss(a, b):
        rows = np.sqrt(share)[:, None] * np.diag([1.0, -1.0, 1.0])  # one row a skill, of either parity
        return ((rows @ (1 - a * b)) ** 2).sum() / 2

    start = np.sqrt(np.array([0.2, 0.5, 0.9], np.float32))
    slope_a, slope_b = jax.jit(jax.grad(loss, argnums=(0, 1)))(start, start)
    rate = -np.asarray(slope_a * start + slope_b * start)
    flow = quanta.multilinear_flow()
    told = [
        float(flow.equations[0].subs({quanta.R: r, quanta.P: p})) for r, p in zip((0.2, 0.5, 0.9), share, strict=True)
    ]
    assert np.allclose(rate, told, rtol=1e-6)


def test_scatter_of_slopes_is_that_of_growing_training_sets():
    """400 sets, each growing through the window: the standard deviation within 15 % (four standard errors, 1 in 10^4);
    counts of skills are taken as independent, and are nearly so."""
    p, grid = zipf_frequencies(400, 0.7), np.array([50.0, 100, 200, 400, 800])
    rng = np.random.default_rng(4)
    slopes = []
    for _ in range(400):
        tasks = rng.choice(400, 800, p=p)
        first = np.full(400, 10**9)
        names, places = np.unique(tasks, return_index=True)
        first[names] = places
        losses = [(p * (first >= n)).sum() for n in grid]
        slopes.append(-np.polyfit(np.log(grid), np.log(losses), 1)[0])
    assert np.std(slopes, ddof=1) == pytest.approx(scatter_of_slope(p, grid, 1), rel=0.15)


def test_local_slopes_move_towards_the_limit():
    p = zipf_frequencies(10**5, 1.0)
    rows = quanta.forecast(p, (1e3, 1e5), threshold=4, memory=(100, 1000))
    assert [row.axis for row in rows] == ["samples", "parameters", "steps", "compute"]
    assert rows[0].exponent.value == pytest.approx(0.5, abs=0.005)
    assert rows[1].exponent.value == pytest.approx(1.0, abs=0.01)
    assert rows[2].exponent.value == pytest.approx(0.5, abs=0.005)
    assert rows[3].exponent.value == pytest.approx(1 / 3, abs=0.005)
    # few skills are used up: the local slope is steeper than the limit, and said so
    assert quanta.forecast(zipf_frequencies(30, 1.0), (100, 1000))[0].exponent.value > 0.9


TIMES = np.geomspace(1, 3000, 300)
SHARES = zipf_frequencies(12, 0.5)


def logistic(pace):
    return (1 - 1 / (1 + 999 * np.exp(-2 * np.outer(pace, TIMES)))) ** 2


def test_measured_skills_decide():
    sharp = quanta.forecast(SHARES, (10, 1000), losses=logistic(SHARES), at=TIMES)
    assert all(row.applies for row in sharp) and sharp[0].exponent is not None
    assert sharp[0].facts["octaves"] == pytest.approx(0.94, abs=0.02)  # log2 of (log 999 + .77)/(log 999 - 2.9)
    early = np.geomspace(1e-4, 3000, 600)  # exponentials move at once: record from before
    slow = quanta.forecast(SHARES, (10, 1000), losses=np.exp(-4 * np.outer(SHARES, early)), at=early)
    assert not slow[0].applies and slow[0].exponent is None and slow[3].exponent is None
    assert slow[0].facts["octaves"] == pytest.approx(np.log2(np.log(0.1) / np.log(0.9)), abs=0.1)
    assert "gradually" in slow[0].because and "4.4 octaves" in slow[0].because
    shuffled = quanta.forecast(SHARES, (10, 1000), losses=logistic(SHARES[::-1].copy()), at=TIMES)
    assert not shuffled[0].applies and "rank correlation -1.00" in shuffled[0].because
    unknown = quanta.forecast(SHARES, (10, 1000))
    assert not unknown[0].applies and "cannot be known" in unknown[0].because and unknown[0].exponent is not None
    assert sharp[0].to_dict()["facts"]["threshold"] == 1


def test_time_exponent_and_scatter_are_read_off():
    """Places ~ p^-0.8 with a known scatter are found again."""
    wobble = np.exp(0.1 * np.where(np.arange(12) % 2, 1.0, -1.0))
    found = skill_curves(SHARES, logistic(0.2 * SHARES**0.8 * wobble), TIMES)
    assert found.exponent == pytest.approx(0.8, abs=0.05) and found.scatter == pytest.approx(0.1, abs=0.02)
    assert found.learned == 12 and 0 < found.between < 0.5
    curves = logistic(0.2 * SHARES**0.8 * wobble)
    steps = quanta.forecast(SHARES, (5, 50), losses=curves, at=TIMES)[2].exponent
    plain = quanta.forecast(SHARES, (5, 50))[2].exponent
    missed = plain.value * (1 / found.exponent - 1)  # the front moves as t^(1/g)
    assert steps.value == plain.value and steps.error**2 == pytest.approx(plain.error**2 + missed**2)


def test_noise_around_a_level_does_not_make_a_skill_gradual():
    """Up to 4 % of noise on every record, which passes 90 and 10 % many times; and a network that starts off zero."""
    rng = np.random.default_rng(1)
    noisy = np.abs(logistic(SHARES) + 0.02 * rng.standard_normal((12, len(TIMES))))
    noisy[:, 0] = 1.0
    assert skill_curves(SHARES, noisy, TIMES).width == pytest.approx(0.94, abs=0.15)
    late = logistic(SHARES) + 0.5 * (TIMES < 3)  # the random output of the start goes first
    assert skill_curves(SHARES, late, TIMES, unknown=1.0).width == pytest.approx(0.94, abs=0.02)
    with pytest.raises(BadData, match="give `unknown`"):
        skill_curves(SHARES, logistic(SHARES), TIMES, unknown=0.0)


@pytest.mark.parametrize(
    "change, words",
    [
        (dict(frequencies=[0.5, -0.1]), "all above 0"),
        (dict(frequencies=[1.0]), "two or more"),
        (dict(window=(10, 15)), "an octave"),
        (dict(memory=(0, 5)), "memory 0 to 5"),
        (dict(threshold=0), "threshold 0"),
        (dict(threshold=1.5), "threshold 1.5"),
        (dict(start=0.5), "start 0.5"),
        (dict(losses=np.ones((3, 5))), "losses (3, 5) of 12"),
        (dict(losses=np.ones((12, 5))), "0 of 12 skills are learned"),
        (dict(losses=np.zeros((12, 5))), "not above zero"),
        (dict(losses=np.full((12, 5), np.nan)), "finite"),
        (dict(losses=np.ones((12, 3)), at=[1, 1, 2]), "growing places"),
        (dict(losses=3.0), "losses ()"),
    ],
)
def test_refusals_say_what_to_do(change, words):
    given = {"frequencies": SHARES, "window": (10, 1000), **change}
    with pytest.raises(BadData) as error:
        quanta.forecast(given.pop("frequencies"), given.pop("window"), **given)
    assert words in str(error.value) and "\n" not in str(error.value)


def test_a_window_in_which_everything_is_known_gives_no_number():
    rows = quanta.forecast([0.5, 0.3, 0.2], (1e4, 1e5), memory=(5, 50))
    assert rows[0].exponent is None and "all 3 skills are known" in rows[0].because
    assert rows[1].exponent is None and rows[3].exponent is None


def test_sums_of_left_out_skills_keep_their_digits():
    p = zipf_frequencies(10**6, 2.0)
    assert left_out(p, [10**6 - 1])[0] == pytest.approx(p[-1], rel=1e-12)
    assert left_out(p, [10**6])[0] == 0.0
