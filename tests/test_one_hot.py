"""Symbols in raw inputs and kernels, and Zipf's exponent, against planted frequencies."""

import numpy as np
import pytest

from learning_mechanics.theory.errors import BadData
from learning_mechanics.theory.raw_data.one_hot import one_hot, one_hot_kernel, zipf_exponent
from learning_mechanics.theory.regression.kernels import ntk

RNG = np.random.default_rng(5)


def tokens(exponent, rows, vocabulary=100_000, seed=0):
    p = np.arange(1.0, vocabulary + 1) ** -exponent
    return np.random.default_rng(seed).choice(vocabulary, rows, p=p / p.sum())


@pytest.mark.instant
def test_kinds_of_symbols():
    drawn = tokens(1.3, 400, 60)
    counts = -np.sort(-np.bincount(drawn)[np.bincount(drawn) > 0])
    plain = one_hot(3.0 * np.eye(60)[drawn])
    assert plain.kind == "one-hot" and plain.memorised
    np.testing.assert_array_equal(plain.counts, counts)
    assert (np.bincount(plain.symbols) == counts).all() and plain.frequencies.sum() == pytest.approx(1)
    first = np.flatnonzero(plain.symbols == 0)
    assert len(set(drawn[first])) == 1 and len(first) == counts[0]  # number 0 is the most frequent symbol
    pairs = one_hot(np.repeat(np.eye(60), 2, axis=1)[drawn] * np.array([1.0, -2.0] * 60))
    assert pairs.kind == "disjoint" and (pairs.counts == counts).all()
    embedded = one_hot(RNG.standard_normal((60, 400))[drawn])
    assert embedded.kind == "repeated" and (embedded.counts == counts).all()
    bags = np.zeros((100, 500))
    for row in bags:
        np.add.at(row, tokens(1.0, 12, 500, int(RNG.integers(10**6))), 1)
    found = one_hot(bags / np.linalg.norm(bags, axis=1, keepdims=True) * 0 + bags)
    assert found.kind == "counts" and not found.memorised and found.counts.sum() == 1200
    assert "rows share symbols" in str(found)


@pytest.mark.instant
def test_what_is_not_made_of_symbols():
    grid = np.stack(np.meshgrid(np.arange(5.0), np.arange(5.0)), -1).reshape(-1, 2)
    for x in (
        RNG.standard_normal((200, 10)),
        RNG.integers(0, 17, (200, 64)).astype(float),  # pixels
        grid[RNG.integers(0, 25, 200)],  # rows repeat but lie on one line, in one plane
        np.eye(50)[RNG.permutation(50)] * RNG.uniform(1, 2, (50, 1)) + 0.01,
        np.eye(6)[RNG.integers(0, 6, 200)] * RNG.standard_normal((200, 1)),  # one non-zero of any size
        np.ones((100, 3)),
        np.zeros((1, 3)),
    ):
        assert one_hot(x) is None
    with pytest.raises(BadData, match="finite|matrix"):
        one_hot(np.array([[np.nan, 1.0]]))


@pytest.mark.instant
def test_blocks_of_a_kernel():
    drawn = tokens(1.3, 200, 30)
    gram = ntk(depth=3, activation="relu")(np.eye(30)[drawn])
    found = one_hot_kernel(gram)
    plain = one_hot(np.eye(30)[drawn])
    assert found.kind == "blocks" and (found.counts == plain.counts).all()
    np.testing.assert_array_equal(np.bincount(found.symbols), np.bincount(plain.symbols))
    x = RNG.standard_normal((200, 3))
    assert one_hot_kernel(x @ x.T) is None
    assert one_hot_kernel(np.eye(20)) is None  # nothing repeats
    with pytest.raises(BadData, match="positive diagonal"):
        one_hot_kernel(np.zeros((3, 3)))


@pytest.mark.short
@pytest.mark.parametrize("exponent, vocabulary", [(1.1, 100_000), (1.5, 2000), (2.0, 50)])
def test_planted_zipf_exponents(exponent, vocabulary):
    """Ten samples of 20 000: the mean miss below 0.02; the 90 % interval holds the truth in seven at least.

    At a coverage of 90 % fewer than seven of ten have chance 1.3 %.
    """
    p = np.arange(1.0, vocabulary + 1) ** -exponent
    found = [zipf_exponent(np.random.default_rng(700 + seed).multinomial(20_000, p / p.sum())) for seed in range(10)]
    assert abs(np.mean([f.value for f in found]) - exponent) < 0.02
    inside = [f.interval()[0] <= exponent <= f.interval()[1] for f in found]
    assert np.sum(inside) >= 7


@pytest.mark.instant
def test_the_inverse_is_not_the_exponent():
    """The likelihood of counts as samples of a distribution (Clauset 2009) finds the tail 1/a, not a."""
    p = np.arange(1.0, 100_001.0) ** -1.6
    counts = np.random.default_rng(3).multinomial(50_000, p / p.sum())
    large = counts[counts >= 20]
    tail = len(large) / np.log(large / 19.5).sum()
    assert tail == pytest.approx(1 / 1.6, abs=0.15)
    assert zipf_exponent(counts).value == pytest.approx(1.6, abs=0.03)
    assert abs(zipf_exponent(counts).value - 1.3) > 5 * zipf_exponent(counts).error  # a planted error is seen


@pytest.mark.instant
def test_few_symbols_have_no_exponent():
    import json

    found = one_hot(np.eye(6)[RNG.integers(0, 6, 200)])
    assert found.exponent is None and "no exponent" in str(found)
    json.dumps(found.to_dict())
    assert zipf_exponent(np.ones(1000)) is None
    many = one_hot(np.eye(3000)[tokens(1.1, 3000, 3000)])
    assert "p ~ rank^-a, a = 1." in str(many) and many.to_dict()["exponent"]["value"] == many.exponent.value


@pytest.mark.instant
def test_what_holds_no_symbols_is_refused_in_a_line():
    for ask, wrong in (
        (one_hot, [["a", "b"]] * 9),
        (one_hot, np.full((9, 2), 1j)),
        (one_hot_kernel, np.zeros((0, 0))),
        (one_hot_kernel, "abc"),
        (zipf_exponent, "abc"),
        (zipf_exponent, np.ones((5, 5))),
        (zipf_exponent, [np.inf] * 30),
        (zipf_exponent, [-1] * 30),
    ):
        with pytest.raises(BadData, match="one-hot: .*; give"):
            ask(wrong)
