"""Token correlations: sources that are known exactly, noise, and real text."""

import re
import sysconfig
from functools import cache
from pathlib import Path

import numpy as np
import pytest
import sympy as sp

from learning_mechanics.theory.errors import BadData, UnknownName
from learning_mechanics.theory.measured_spectra.estimate import Estimate
from learning_mechanics.theory.mechanisms import text_statistics, token_correlations
from learning_mechanics.validate.inputs.corpus import topics


def renewal(power, scale, length, seed):
    """Ones at gaps k with P(gap > k) = (1 + k/scale)^-power, zeros between."""
    rng, places, total = np.random.default_rng(seed), [], 0
    while total < length:
        gaps = 1 + np.floor(scale * (rng.random(length // 4) ** (-1 / power) - 1))
        places.append(np.minimum(gaps, 10 * length).astype(int))
        total += places[-1].sum()
    ends = np.cumsum(np.concatenate(places))
    tokens = np.zeros(length, int)
    tokens[ends[ends < length]] = 1
    return tokens


@cache
def exactly(power, scale, lags=400, contexts=12, terms=400_000):
    """Covariance norms and entropies of the renewal source, from its gaps: no sample, no estimator.

    u_n = sum_k f_k u_(n-k) is the chance of a one n after a one; two symbols have C(n) = c [[1, -1], [-1, 1]], norm 2c.
    Given n tokens the age since the last one is known if it is below n; else it is distributed as ages above n are.
    """
    k = np.arange(terms + 1.0)
    above = (1 + k / scale) ** -power
    gaps = above[:-1] - above[1:]
    mean = above.sum() + terms * above[-1] / (power - 1)
    after = np.zeros(lags + 1)
    after[0] = 1.0
    for n in range(1, lags + 1):
        after[n] = gaps[:n] @ after[n - 1 :: -1][:n]
    norms = 2 * np.abs(after / mean - 1 / mean**2)
    age, hazard = above / mean, np.append(gaps / above[:-1], power / terms)

    def entropy(p):
        return -p * np.log(p) - (1 - p) * np.log1p(-p)

    values = []
    for n in range(contexts + 1):
        unknown = 1 - age[:n].sum()
        chance = (1 / mean - (age * hazard)[:n].sum()) / unknown
        values.append((age[:n] * entropy(hazard[:n])).sum() + unknown * entropy(chance))
    return norms, np.array(values)


def local(lags, values):
    return -np.polyfit(np.log(lags), np.log(values), 1)[0]


@pytest.mark.instant
def test_exact_source_has_the_exponents_it_is_built_for():
    """Renewal theory: covariances fall as n^-(power - 1); the unknown age tells n^-power more."""
    norms, values = exactly(1.6, 0.1, lags=3000, contexts=300)
    lags = np.unique(np.geomspace(300, 3000, 9).astype(int))
    assert local(lags, norms[lags]) == pytest.approx(0.6, abs=0.03)
    orders = np.unique(np.geomspace(30, 290, 8).astype(int))
    assert local(orders, values[orders] - values[orders + 1]) == pytest.approx(2.6, abs=0.06)


@pytest.mark.short
@pytest.mark.parametrize("power, scale, seed", [(1.6, 0.3, 1), (1.6, 1.0, 2), (2.0, 1.0, 3)])
def test_measured_on_a_sample_both_exponents_are_within_their_intervals(power, scale, seed):
    """Against the exact local exponents over the range that was used; 400 000 tokens, six intervals of 90 %.

    That all six are met has a chance of one half for honest intervals; here they are wide enough for drift as well.
    """
    norms, values = exactly(power, scale)
    tokens = renewal(power, scale, 400_000, seed)
    found = text_statistics.correlations(tokens, lags=np.unique(np.geomspace(1, 400, 14).astype(int)))
    ratio = found.values / norms[found.lags]
    assert np.abs((ratio - 1) / (found.errors / norms[found.lags])).max() < 4
    beta, _ = found.exponent()
    inside = found.lags[found.lags <= found.range()[1]]
    assert abs(beta.value - local(inside, norms[inside])) < beta.error < 0.3
    known = text_statistics.entropies(tokens, longest=10)
    gamma, _ = known.exponent()
    orders = np.arange(2, known.range()[1] + 1)
    grid = np.linspace(0.1, 3, 2901)[:, None]
    rest = np.log(values[orders - 1] - values[orders]) - np.log((orders - 1.0) ** -grid - orders**-grid)
    exact = grid[rest.var(1).argmin(), 0]
    assert abs(gamma.value - exact) < gamma.error < 0.5
    (row,) = token_correlations.forecast(tokens, (1e4, 1e6), measured=(found, known))
    assert row.applies and row.exponent is not None
    assert row.exponent.value == pytest.approx(gamma.value / (2 * beta.value))
    near, far = row.facts["horizon"]
    assert 0 < near < far <= found.range()[1]


@pytest.mark.instant
def test_noise_alone_has_a_norm_but_not_after_cross_fitting():
    rng = np.random.default_rng(4)
    tokens = rng.choice(30, 20000, p=np.arange(1, 31) ** -1.0 / (np.arange(1, 31) ** -1.0).sum())
    found = text_statistics.correlations(tokens, lags=(1, 2, 3, 5, 8, 13))
    assert np.abs(found.values / found.errors).max() < 4
    share = np.bincount(tokens) / len(tokens)
    pairs = np.bincount(tokens[:-1] * 30 + tokens[1:], minlength=900).reshape(30, 30) / (len(tokens) - 1)
    plain = np.linalg.norm(pairs - np.outer(share, share), 2)
    assert plain > text_statistics.CLEAR * found.errors[0]  # it would have been taken for a correlation
    assert found.noise / np.sqrt(len(tokens)) == pytest.approx(plain, rel=0.5)
    (row,) = token_correlations.forecast(tokens)
    assert not row.applies and row.exponent is None and "no correlation beyond its noise" in row.because


@pytest.mark.instant
def test_entropies_are_corrected_for_undersampling():
    """1000 draws of 200 symbols: the plain entropy is 0.1 low, the corrected one within 0.01."""
    rng = np.random.default_rng(6)
    p = rng.dirichlet(np.ones(200))
    found = [text_statistics._entropy(rng.multinomial(1000, p)) for _ in range(50)]
    exact = -(p * np.log(p)).sum()
    assert np.mean(found) == pytest.approx(exact, abs=0.01)
    counts = rng.multinomial(1000, p, size=50) / 1000
    plain = [-(row[row > 0] * np.log(row[row > 0])).sum() for row in counts]
    assert np.mean(plain) < exact - 0.05


@pytest.mark.short
def test_a_chain_with_short_memory_has_no_exponents():
    """Two symbols that switch with chance 0.05: covariances fall as 0.9^n, entropies not at all after one token."""
    rng = np.random.default_rng(7)
    tokens = np.cumsum(rng.random(200_000) < 0.05) % 2
    (row,) = token_correlations.forecast(tokens)
    assert row.exponent is None and "known to context 1 only" in row.because
    beta = text_statistics.correlations(tokens).exponent()[0]
    assert beta is None or beta.error > 0.4 * beta.value  # an exponential drifts through all slopes
    known = text_statistics.entropies(tokens, longest=5)
    switch = -(0.05 * np.log(0.05) + 0.95 * np.log(0.95))
    assert np.abs(known.values[1:] - switch).max() < 0.01 and known.values[0] == pytest.approx(np.log(2), abs=0.01)


def help_text():
    return " ".join(text for _, text in sorted(topics().items())).lower()


@pytest.mark.short
def test_half_a_megabyte_of_prose_is_refused_with_the_reason():
    characters = np.array(list(re.sub(r"\s+", " ", help_text())[:250_000]))
    (row,) = token_correlations.forecast(characters)
    assert row.applies and row.exponent is None
    assert "gamma unknown" in row.because or "beta unknown" in row.because
    known = text_statistics.entropies(characters)
    assert 2 <= known.range()[1] <= 4 and known.missing[known.range()[1] + 1] >= text_statistics.MISSING
    assert 3.0 < known.values[0] < 3.4 and 2.2 < known.values[1] < 2.7  # nats of letters: Shannon's 4.1 and 3.4 bits


@pytest.mark.long
def test_words_and_source_code_are_refused_too():
    folder = Path(sysconfig.get_paths()["stdlib"])
    source = "\n".join(path.read_text(encoding="utf-8", errors="ignore") for path in sorted(folder.glob("*.py")))
    for tokens in (
        re.findall("[a-z]+", help_text()),
        re.findall(r"[A-Za-z_]\w*|\d+|[^\w\s]", source),
        list(source[:1_000_000]),
    ):
        (row,) = token_correlations.forecast(tokens)
        assert row.exponent is None and "unknown" in row.because, row
        assert row.facts["contexts"][1] < text_statistics.CONTEXTS + 1


@pytest.mark.instant
def test_formula_and_published_pairs():
    system = token_correlations.horizon()
    assert system.observables["exponent"] == token_correlations.GAMMA / (2 * token_correlations.BETA)
    # TinyStories and WikiText-103, printed with three digits
    for beta, gamma, printed in ((0.88, 0.325, 0.185), (0.94, 0.265, 0.141)):
        assert float(token_correlations.asymptotic("samples", beta, gamma)) == pytest.approx(printed, abs=5e-4)
    found = token_correlations.combined(Estimate(0.9, 0.09), Estimate(0.3, 0.03))
    assert found.error == pytest.approx(found.value * 0.1 * np.sqrt(2))
    edge = system.equations[0] + system.unknowns[0]
    values = {"A": 2.0, "c": 3.0, "beta": 0.8, "P": 1e6}
    lag = float(edge.subs({symbol: values[str(symbol)] for symbol in edge.free_symbols}))
    assert 2 * lag**-0.8 == pytest.approx(3 / 1000)
    assert sp.simplify(edge.subs(token_correlations.SAMPLES, 4) / edge.subs(token_correlations.SAMPLES, 1)) != 1
    with pytest.raises(UnknownName):
        token_correlations.asymptotic("steps")


@pytest.mark.instant
def test_refusals_in_one_line():
    for bad, words in (
        (lambda: text_statistics.correlations("abc" * 100), "300 tokens in 20 blocks"),
        (lambda: text_statistics.entropies("abc" * 100), "300 tokens in 20 blocks"),
        (lambda: text_statistics.correlations("ab" * 1000, lags=(0, 1)), "lags 0 to 1"),
        (lambda: text_statistics.correlations("ab" * 1000, lags=(1, 100)), "in blocks of 100 tokens"),
        (lambda: text_statistics.correlations(np.zeros((3, 3))), "shape"),
    ):
        with pytest.raises(BadData, match=words):
            bad()
