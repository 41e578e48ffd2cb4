"""Words of Python's help topics: counted again by hand, on any version of Python."""

import sys

import numpy as np
import pytest

from learning_mechanics.theory.errors import BadData
from learning_mechanics.validate.inputs import corpus, data

pytestmark = pytest.mark.short


def test_pairs_are_counted_as_two_loops_count_them():
    rng = np.random.default_rng(0)
    words = list("abcde")
    texts = [[words[k] for k in rng.integers(0, 5, size)] for size in (0, 1, 7, 30)]
    kept, window = list("abc"), 3
    counted = np.zeros((3, 3))
    for text in texts:
        for i, one in enumerate(text):
            for j, other in enumerate(text):
                if i != j and abs(i - j) <= window and one in kept and other in kept:
                    counted[kept.index(one), kept.index(other)] += 1
    assert np.allclose(corpus.count_pairs(texts, kept, window), counted / counted.sum(), rtol=1e-14)


def test_words_are_the_most_frequent_of_the_help_topics():
    from pydoc_data.topics import topics

    letters = "".join(chr(c) if chr(c).isascii() and chr(c).isalpha() else " " for c in range(128))
    counts: dict[str, int] = {}
    for text in topics.values():
        for word in "".join(c if ord(c) < 128 else " " for c in text).translate(letters).lower().split():
            counts[word] = counts.get(word, 0) + 1
    words, shares = corpus.pair_shares(40, 3)
    assert list(words) == [w for _, w in sorted((-n, w) for w, n in counts.items())][:40]
    assert np.array_equal(shares, shares.T) and abs(shares.sum() - 1) < 1e-12 and (shares >= 0).all()


def test_targets_compare_pairs_with_chance():
    words = data.load("help_topics")
    shares = words.arrays["shares"]
    single = shares.sum(0)
    i, j = 3, 17
    expected = 2 * (shares[i, j] - single[i] * single[j]) / (shares[i, j] + single[i] * single[j])
    assert words.y[i, j] == pytest.approx(expected, rel=1e-12)
    assert np.array_equal(words.x, np.eye(corpus.VOCABULARY)) and np.abs(words.y).max() <= 2


def test_weights_of_pairs():
    alike, counts = data.load("help_topics").arrays, data.load("help_topics_counts").arrays
    assert np.allclose(alike["positive"] + alike["negative"], 1, rtol=1e-14)
    assert (counts["positive"] + counts["negative"]).mean() == pytest.approx(1)
    # both weigh a pair seen together against one by chance in the same proportion
    cross = alike["positive"] * counts["negative"] - alike["negative"] * counts["positive"]
    assert np.abs(cross).max() < 1e-12 * np.abs(counts["positive"]).max()
    assert not any(array.flags.writeable for array in (*alike.values(), *counts.values()))


def test_a_python_without_help_topics_is_explained(monkeypatch):
    monkeypatch.setitem(sys.modules, "pydoc_data.topics", None)
    with pytest.raises(BadData, match="no help topics"):
        corpus.pair_shares.__wrapped__()


def test_a_vocabulary_beyond_the_corpus_is_refused():
    with pytest.raises(BadData, match="different words"):
        corpus.pair_shares(10**6)
