"""Memorisation of tokens: sums against simulated tables, the Zipf limit against mpmath, slopes of real text."""

import re
import sysconfig
from pathlib import Path

import numpy as np
import pytest
import sympy as sp

from learning_mechanics.solvers.predict import solve
from learning_mechanics.theory.errors import BadData, OutsideDomain, UnknownName
from learning_mechanics.theory.mechanisms import zipf
from learning_mechanics.theory.mechanisms.token_frequencies import Frequencies, frequencies, log_slope
from learning_mechanics.validate.inputs import data


@pytest.mark.instant
@pytest.mark.parametrize("capacity", [1.3, 2.0, 3.0])
def test_leading_term_is_the_sum_over_tokens_to_the_next_order(capacity):
    import mpmath

    samples = 10**6
    weight = 1 / mpmath.zeta(capacity)

    def unseen(i):
        return weight * i**-capacity * (1 - weight * i**-capacity) ** samples

    # Euler-Maclaurin by hand: the sum to 3000 and the integral beyond it from the middle of the next interval
    head = mpmath.fsum(unseen(mpmath.mpf(i)) for i in range(1, 3001))
    total = head + mpmath.quad(unseen, [3000.5, *(10.0**k for k in range(4, 15))])
    total += weight * mpmath.zeta(capacity, 10**14)  # never seen: n p < 1e-11 of it is
    values = {zipf.CAPACITY: sp.nsimplify(capacity), zipf._held: float(weight), zipf.N: samples}
    # the next order: tokens are whole numbers and (1 - p)^n is not exp(-np), both of relative order 1/n
    assert float(zipf.leading_term().subs(values)) == pytest.approx(float(total), rel=1e-5)


@pytest.mark.instant
def test_exponents_in_exact_form():
    a = zipf.CAPACITY
    assert zipf.asymptotic("samples") == (a - 1) / a == zipf.asymptotic("steps") == zipf.gaussian("steps")
    assert zipf.asymptotic("parameters") == a - 1 == zipf.gaussian("samples")
    assert sp.simplify(zipf.asymptotic("compute") - (a - 1) / (a + 1)) == 0
    assert zipf.asymptotic("samples", sp.Rational(3, 2)) == sp.Rational(1, 3)
    with pytest.raises(OutsideDomain):
        zipf.asymptotic("samples", 1)
    with pytest.raises(UnknownName):
        zipf.asymptotic("sample")


@pytest.mark.instant
def test_forgotten_mass_falls_with_the_exponent_of_parameters():
    low, high = (float(zipf.forgotten_mass(kept, sp.Rational(8, 5))) for kept in (10**5, 2 * 10**5))
    assert np.log2(low / high) == pytest.approx(0.6, abs=1e-4)
    brute = (np.arange(11.0, 4e6) ** -1.6).sum() + 4e6**-0.6 / 0.6
    assert float(zipf.forgotten_mass(10, sp.Rational(8, 5)) * sp.zeta(1.6)) == pytest.approx(brute, rel=1e-5)


@pytest.mark.instant
def test_unseen_share_without_bias_equals_drawing_from_the_pool_exactly():
    """Every way of drawing 3 of 7 tokens, counted one by one."""
    from itertools import combinations

    tokens = [0, 0, 0, 1, 1, 2, 3]
    rates = []
    for chosen in combinations(range(7), 3):
        known = {tokens[i] for i in chosen}
        rates.append(np.mean([tokens[i] not in known for i in range(7) if i not in chosen]))
    counted = Frequencies(np.array([[3, 2, 1, 1]]))
    assert counted.unseen([3])[0] == pytest.approx(np.mean(rates), rel=1e-12)
    law = solve(zipf.drawn_from_a_pool(), {"count": np.array([3.0, 2, 1, 1]), "T": 7.0, "r": 4.0})
    assert float(np.squeeze(law["unseen"])) == pytest.approx(np.mean(rates), rel=1e-12)


@pytest.mark.instant
def test_unseen_share_has_no_bias_where_the_plain_sum_has():
    """Mean over 300 samples of 500 tokens from a known law; |z| < 4, false alarm 1 in 16000. The plain sum fails."""
    p = np.arange(1.0, 3001) ** -1.5
    p /= p.sum()
    rng = np.random.default_rng(11)
    n = 400
    truth = (p * (1 - p) ** n).sum()
    counts = rng.multinomial(500, p, size=300)
    found = np.array([Frequencies(row[None]).unseen([n])[0] for row in counts])
    z = (found.mean() - truth) / (found.std(ddof=1) / np.sqrt(300))
    assert abs(z) < 4
    plain = np.mean([((row / 500) * (1 - row / 500) ** n).sum() for row in counts])
    assert plain < 0.75 * truth


@pytest.mark.instant
def test_descent_on_one_hot_inputs_is_the_average_over_all_sequences():
    """Four steps over three tokens: all 81 sequences, weighted."""
    from itertools import product

    p, eta, steps = np.array([0.5, 0.3, 0.2]), 0.7, 4
    brute = 0.0
    for sequence in product(range(3), repeat=steps):
        visits = np.bincount(sequence, minlength=3)
        brute += np.prod(p[list(sequence)]) * (p * (1 - eta) ** (2 * visits)).sum() / 2
    found = solve(zipf.one_hot_descent(), {"p": p, "c": np.ones(3), "eta": eta}, at=[0, steps])
    assert found["excess_risk"].squeeze()[-1] == pytest.approx(brute, rel=1e-12)


def texts():
    folder = Path(sysconfig.get_paths()["stdlib"])
    sources = [path.read_text(encoding="utf-8", errors="ignore") for path in sorted(folder.glob("*.py"))]
    return {
        "help words": data.load("help_words").x[:, 0].astype(int),
        "source tokens": np.concatenate([re.findall(r"[A-Za-z_]\w*|\d+|[^\w\s]", text) for text in sources]),
        "source words": np.concatenate([re.findall("[a-z]+", text.lower()) or [""] for text in sources]),
    }


def measured(tokens, grid, rng, tables=20):
    """Exponent of the error of tables trained on n tokens, on those not trained on: nothing but counting."""
    _, numbers = np.unique(tokens, return_inverse=True)
    errors = np.zeros(len(grid))
    for _ in range(tables):
        shuffled = numbers[rng.permutation(len(numbers))]
        names, first = np.unique(shuffled, return_index=True)
        since = np.empty(numbers.max() + 1, int)
        since[names] = first
        arrival = since[shuffled]
        errors += [(arrival[n:] >= n).mean() for n in grid]
    return -np.polyfit(np.log(grid), np.log(errors / tables), 1)[0]


WINDOWS = ((100, 1000), (300, 3000), (1000, 10000), (1500, 15000))


@pytest.mark.long
def test_slopes_of_real_text_from_frequencies_alone():
    """One half of the stretches of 500 tokens forecasts the other: three texts, four windows, two splits.

    Within 0.02 where the window ends at a tenth of the half; halves of a short text differ by more further out, and
    there the interval has to say so.
    """
    misses, inside, far = [], [], []
    for tokens in texts().values():
        for seed in (0, 1):
            rng = np.random.default_rng(seed)
            stretch = np.arange(len(tokens)) // 500
            probe = np.isin(stretch, rng.permutation(stretch[-1] + 1)[: (stretch[-1] + 1) // 2])
            counted = frequencies(tokens[probe])
            for window in WINDOWS:
                told = counted.slope(window)
                found = measured(tokens[~probe], np.unique(np.geomspace(*window, 8).astype(int)), rng)
                (misses if 10 * window[1] <= probe.sum() else far).append(told.value - found)
                inside.append(abs(told.value - found) <= told.error)
    assert len(misses) == 20 and np.abs(misses).max() < 0.02 and np.median(np.abs(misses)) < 0.01, misses
    assert len(far) == 4 and np.abs(far).max() < 0.04
    assert np.mean(inside) > 0.8


@pytest.mark.short
def test_help_words_within_002_and_the_gaussian_formula_is_not():
    words = texts()["help words"]
    stretch = np.arange(len(words)) // 500
    rng = np.random.default_rng(5)
    probe = np.isin(stretch, rng.permutation(stretch[-1] + 1)[: (stretch[-1] + 1) // 2])
    for window in ((100, 1000), (300, 3000)):
        row = zipf.forecast(words[probe], window)[0]
        found = measured(words[~probe], np.unique(np.geomspace(*window, 8).astype(int)), rng, tables=10)
        assert row.applies and abs(row.exponent.value - found) < 0.02
        assert row.facts["Gaussian features"] - found > 0.15


@pytest.mark.instant
def test_beyond_the_sample_the_tail_is_a_power_law_with_a_larger_error():
    """Known law, a = 1.5: exponent 1/3 from 2000 tokens, twice as far as they reach."""
    rng = np.random.default_rng(3)
    p = np.arange(1.0, 200001) ** -1.5
    tokens = rng.choice(len(p), 2000, p=p / p.sum())
    counted = frequencies(tokens)
    n = np.geomspace(1000, 4000, 8)
    p = p / p.sum()
    truth = -np.polyfit(np.log(n), np.log([(p * (1 - p) ** k).sum() for k in n]), 1)[0]
    near, far = counted.slope((250, 1000)), counted.slope((1000, 4000))
    assert abs(far.value - truth) < far.error and far.error > near.error
    with pytest.raises(OutsideDomain, match="n = 1e\\+04 from 2000 tokens"):
        counted.slope((1000, 10000))


@pytest.mark.instant
def test_intervals_of_a_known_law_cover():
    """90 % intervals of 60 samples hold the slope of the law: at least 50 by any honest count (binomial, 3 in 10^2),
    and not all with room to spare, for they allow for a second text."""
    rng = np.random.default_rng(8)
    p = np.arange(1.0, 20001) ** -1.3
    p /= p.sum()
    n = np.geomspace(100, 1000, 12)
    truth = -np.polyfit(np.log(n), np.log([(p * (1 - p) ** k).sum() for k in n]), 1)[0]
    counts = [rng.multinomial(200, p, size=20) for _ in range(60)]
    found = [Frequencies(count).slope((100, 1000)) for count in counts]
    second = [log_slope(n, Frequencies(rng.multinomial(200, p, size=20)).unseen(n)) for _ in range(60)]
    assert 50 <= sum(abs(told.value - truth) <= told.error for told in found)
    pairs = sum(abs(told.value - other) <= told.error for told, other in zip(found, second, strict=True))
    assert 47 <= pairs


@pytest.mark.instant
def test_what_does_not_repeat_or_is_used_up_is_refused_with_the_number():
    rows = zipf.forecast(np.random.default_rng(0).standard_normal(500), (10, 100))
    assert not any(row.applies for row in rows) and all(row.exponent is None for row in rows)
    assert "500 different ones among 500" in rows[0].because
    letters = zipf.forecast(np.random.default_rng(0).integers(0, 5, 4000), (10, 1000))
    assert not letters[0].applies and "every one of 5 tokens" in letters[0].because
    for bad in (dict(window=(10, 15)), dict(window=(0, 100)), dict(window=(10, 100), learning_rate=2.5)):
        with pytest.raises(BadData):
            zipf.forecast(["a", "b"] * 100, **bad)
    with pytest.raises(BadData, match="1 blocks"):
        Frequencies(np.array([[3, 2, 1, 1]])).slope((1, 4))
    with pytest.raises(BadData, match="window 5 to 6"):
        frequencies(["a", "b"] * 100).memory_slope((5, 6))
    with pytest.raises(BadData, match="give a list of 100"):
        frequencies([1, 2, 3])
    with pytest.raises(BadData, match="four or more"):
        frequencies([1, 2] * 100, blocks=2)
    with pytest.raises(BadData, match="3 labels of 200"):
        frequencies([1, 2] * 100, blocks=[1, 2, 3])


@pytest.mark.instant
def test_rows_of_a_forecast_fit_together():
    rng = np.random.default_rng(2)
    p = np.arange(1.0, 1e5) ** -1.6
    tokens = rng.choice(len(p), 40000, p=p / p.sum())
    samples, parameters, steps, compute = zipf.forecast(tokens, (300, 10000), learning_rate=1.0)
    assert samples.exponent.value == steps.exponent.value  # a table is descent at rate 1
    assert samples.exponent.value == pytest.approx(0.375, abs=0.03)
    assert parameters.exponent.value == pytest.approx(0.6, abs=0.1)  # still above: the law has 10^5 tokens only
    s, r = parameters.exponent.value, samples.exponent.value
    assert compute.exponent.value == pytest.approx(s * r / (s + r))
    assert [row.to_dict()["axis"] for row in (samples, parameters, steps, compute)][3] == "compute"
