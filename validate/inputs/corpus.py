"""A real corpus on every machine: Python's own help topics (`pydoc_data.topics`), counted into pairs of words.

Two words stand together when they are at most `WINDOW` words apart in one topic. Of all pairs counted, P_ij is the
share with words i and j, and P_i the share of word i; chance alone would give P_i P_j. An embedding is to find

    M_ij = (P_ij - P_i P_j) / (1/2 (P_ij + P_i P_j)),     between -2 (never together) and 2.

The text differs a little between versions of Python, so its numbers do.
"""

import re
from collections import Counter
from functools import cache

import numpy as np

from ...theory.dataset import Dataset
from ...theory.errors import BadData

VOCABULARY = 300  # the most frequent words; the rarest of them still occurs some forty times
WINDOW = 8
STRETCH = 500  # words: longer than most passages on one subject, so that stretches are nearly independent


@cache
def pair_shares(vocabulary: int = VOCABULARY, window: int = WINDOW) -> tuple[tuple[str, ...], np.ndarray]:
    """The most frequent words of the help topics, and the symmetric shares P (words, words) of their pairs, of sum 1.

    Raises `BadData` where Python was installed without its help topics, or they have fewer words.

    >>> words, shares = pair_shares(50, 2)
    >>> len(words), shares.shape, round(float(shares.sum()), 12), "the" in words
    (50, (50, 50), 1.0, True)
    """
    texts = [re.findall("[a-z]+", text.lower()) for _, text in sorted(topics().items())]
    counts = Counter(word for text in texts for word in text)
    words = sorted(counts, key=lambda word: (-counts[word], word))[:vocabulary]
    if len(words) < vocabulary:
        raise BadData(f"{len(words)} different words", where="help topics", remedy=f"ask for fewer than {vocabulary}")
    return tuple(words), count_pairs(texts, words, window)


def count_pairs(texts, words, window: int) -> np.ndarray:
    """Shares of ordered pairs of `words` at most `window` apart within one of the `texts` (lists of words).

    >>> count_pairs([["a", "b", "a"]], ["a", "b"], 1)
    array([[0. , 0.5],
           [0.5, 0. ]])
    """
    place = {word: number for number, word in enumerate(words)}
    together = np.zeros((len(words), len(words)))
    for text in texts:
        numbers = np.array([place.get(word, -1) for word in text], int)
        for apart in range(1, window + 1):
            first, second = numbers[:-apart], numbers[apart:]
            known = (first >= 0) & (second >= 0)
            np.add.at(together, (first[known], second[known]), 1)
    together += together.T
    return together / together.sum()


def help_topics(pairs_alike: bool = True) -> Dataset:
    """One-hot words x (V, V), M as targets y (V, V), and the weights of pairs in a skip-gram loss as arrays (V, V).

    `positive` weighs a pair seen together, `negative` one drawn by chance. With `pairs_alike` they add to 1 for every
    pair; otherwise they are the shares P_ij and P_i P_j that sampling pairs of words gives, scaled to add to 1 on
    average. The array `shares` is P_ij itself.

    >>> data = help_topics()
    >>> data.x.shape == data.y.shape == data.arrays["positive"].shape, bool(np.abs(data.y).max() <= 2)
    (True, True)
    """
    words, shares = pair_shares()
    single = shares.sum(1)
    chance = np.outer(single, single)
    total = shares + chance
    weight = 1 / total if pairs_alike else len(words) ** 2 / 2
    return Dataset(
        np.eye(len(words)),
        (shares - chance) / (total / 2),
        "help_topics" if pairs_alike else "help_topics_counts",
        arrays={"positive": weight * shares, "negative": weight * chance, "shares": shares},
        facts={"words": words},
    )


def words_in_order() -> Dataset:
    """Every word of the help topics as a number x (T, 1), in reading order, and a random label -1 or 1 of it as y.

    Numbers are ranks, 0 the most frequent word; stretches of `STRETCH` words are the groups.

    >>> data = words_in_order()
    >>> data.x.shape == data.y.shape, bool(np.all(data.y[data.x == 0] == data.y[data.x == 0][0]))
    (True, True)
    """
    words = [word for _, text in sorted(topics().items()) for word in re.findall("[a-z]+", text.lower())]
    counts = Counter(words)
    rank = {word: place for place, word in enumerate(sorted(counts, key=lambda word: (-counts[word], word)))}
    numbers = np.array([rank[word] for word in words])
    labels = np.random.default_rng(20240229).choice([-1.0, 1.0], len(rank))  # any fixed number: a constant of the data
    return Dataset(numbers[:, None], labels[numbers], "help_words", np.arange(len(numbers)) // STRETCH)


def topics() -> dict[str, str]:
    """Texts of the help of Python by topic."""
    try:
        from pydoc_data.topics import topics
    except ImportError:
        raise BadData(
            "this Python has no help topics",
            where="pydoc_data.topics",
            remedy="install Python's standard library in full",
        ) from None
    return topics
