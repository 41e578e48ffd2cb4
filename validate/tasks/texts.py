"""Tasks on text that every Python has: its help topics and the sources of its library.

    windows of letters -> counts of letter pairs;   letters around a gap -> what stands in it;   words -> one-hot

The texts differ a little between versions of Python, so their numbers do.
"""

import re
import zlib
from collections import Counter

import numpy as np

from ...theory.dataset import Dataset
from ...theory.errors import BadData
from ..inputs.corpus import topics
from ..inputs.writing import SYMBOLS, code, pairs, prose, windows

SEED = 20240229  # any fixed number: the tasks are constants of the package
MODULES = 6
PER_MODULE = 360
AROUND = 4  # letters seen on either side of a gap
CONTEXT = 6  # letters seen before the next one
WORDS = 2400
TOKENS = 3000
VOWELS = "aeiou"


def modules() -> Dataset:
    """Counts of letter pairs in windows of 120 letters x (2160, 729) to which of six modules they are from, y (P, 6).

    >>> modules().x.shape, modules().y.shape
    ((2160, 729), (2160, 6))
    """
    rng = np.random.default_rng([SEED, 1])
    found = sorted((windows(text) for text in code()), key=len, reverse=True)[:MODULES]
    if len(found[-1]) < 2:
        raise BadData("too little source text", where="modules", remedy="install Python in full")
    rows, labels = [], []
    for number, numbers in enumerate(found):
        whole = numbers.ravel()
        starts = rng.permutation(len(whole) - numbers.shape[1] + 1)[:PER_MODULE]
        rows.append(np.lib.stride_tricks.sliding_window_view(whole, numbers.shape[1])[np.sort(starts)])
        labels.append(np.full(len(starts), number))
    counts, label = pairs(np.concatenate(rows)), np.concatenate(labels)
    one_hot = np.eye(MODULES)[label]
    return Dataset(_unit(counts - counts.mean(0)), one_hot - one_hot.mean(0), "modules")


def vowels() -> Dataset:
    """The four letters on either side of a gap, one-hot x (2400, 216), to 1 where a vowel fills it and -1 elsewhere."""
    rng = np.random.default_rng([SEED, 2])
    texts = [windows(text).ravel() for text in prose()]
    numbers, groups = np.concatenate(texts), np.repeat(np.arange(len(texts)), [len(text) for text in texts])
    span = np.lib.stride_tricks.sliding_window_view(numbers, 2 * AROUND + 1)
    same = groups[: len(span)] == groups[2 * AROUND :]
    places = rng.permutation(np.flatnonzero(same & (span[:, AROUND] > 0)))[:WORDS]
    seen = np.delete(span[places], AROUND, axis=1)
    vowel = np.isin(span[places, AROUND], [SYMBOLS.index(letter) for letter in VOWELS])
    return Dataset(_one_hot(seen), np.where(vowel, 1.0, -1.0), "vowels", groups[places])


def spelling() -> Dataset:
    """Letter pairs of a word x (P, 729) to 1 where it is one of the texts, -1 where its letters were shuffled."""
    rng = np.random.default_rng([SEED, 3])
    words = [word for word in _vocabulary() if 5 <= len(word) <= 9]
    words = [words[i] for i in np.sort(rng.permutation(len(words))[:WORDS])]
    rows, labels = [], []
    for number, word in enumerate(words):
        real = number % 2 == 0
        letters = word if real else "".join(rng.permutation(list(word)))
        spaced = np.array([[SYMBOLS.index(letter) for letter in f" {letters} "]])
        rows.append(pairs(spaced)[0])
        labels.append(1.0 if real else -1.0)
    return Dataset(_unit(np.array(rows)), np.array(labels), "spelling")


def next_character() -> Dataset:
    """Six letters one-hot x (2400, 162) to the next one y (2400, 27), one-hot without its mean."""
    rng = np.random.default_rng([SEED, 4])
    numbers = np.concatenate([windows(text).ravel() for text in prose()])
    span = np.lib.stride_tricks.sliding_window_view(numbers, CONTEXT + 1)
    places = rng.permutation(len(span))[:WORDS]
    y = np.eye(len(SYMBOLS))[span[places, -1]]
    return Dataset(_one_hot(span[places, :-1]), y - y.mean(0), "next_character")


def unseen_words() -> Dataset:
    """Words of running text, one-hot x (3000, V), to a random but fixed sign of each: nothing but memory helps.

    The fact `counts` (V,) holds how often each of the V words drawn occurs in the whole text of `tokens` words.
    """
    rng = np.random.default_rng([SEED, 5])
    tokens = [word for text in prose() for word in re.findall("[a-z]+", text.lower())]
    frequency = Counter(tokens)
    drawn = [tokens[i] for i in rng.permutation(len(tokens))[:TOKENS]]
    words = sorted(set(drawn), key=lambda word: (-frequency[word], word))
    place = {word: number for number, word in enumerate(words)}
    x = np.zeros((len(drawn), len(words)))
    x[np.arange(len(drawn)), [place[word] for word in drawn]] = 1
    sign = np.array([1.0 if zlib.crc32(word.encode()) % 2 else -1.0 for word in drawn])
    counts = np.array([frequency[word] for word in words], float)
    return Dataset(x, sign, "unseen_words", facts={"counts": counts, "tokens": len(tokens)})


def _vocabulary():
    """All words of three letters or more in prose and code, in alphabetical order."""
    return sorted({word for text in [*topics().values(), *code()] for word in re.findall("[a-z]{3,}", text.lower())})


def _one_hot(numbers):
    return np.eye(len(SYMBOLS))[numbers].reshape(len(numbers), -1) / np.sqrt(numbers.shape[1])


def _unit(rows):
    return rows / np.linalg.norm(rows, axis=1, keepdims=True)
