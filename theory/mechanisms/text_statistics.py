r"""Two decays of a text, each with its error and the range that the text is long enough for.

    C(n) = share of pairs (a, b) n apart - p_a p_b,  its largest singular value against n
    H_n  = entropy of a token given the n before it, from counts of (n + 1)-grams and n-grams

Counted noise is a matrix too and has a largest singular value of its own. Directions are therefore taken from one half
of the text and read off on the other, which has no such bias. Entropies are corrected for undersampling, and used only
as far as nearly all grams were met before (Good-Turing) and half of the text tells the same.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy.special import digamma

from ..errors import BadData
from ..measured_spectra.estimate import Estimate
from .token_frequencies import listed_tokens

GRASSBERGER = "Grassberger 2003, arXiv:physics/0307138"
BLOCKS = 20
VOCABULARY = 200  # most frequent tokens told apart; all others count as one
DECADES = 1.0  # of lags, at least, for an exponent
CONTEXTS = 4  # differences of entropies, at least, for an exponent
MISSING = 0.05  # share of the text in grams that occur once, at most: else entropies are those of the sample
CLEAR = 3.0  # standard errors above zero
_QUANTILE = 1.645  # of a nominal interval of 90 %


@dataclass(frozen=True, eq=False)
class Correlations:
    """Covariance norms at some lags: `blocks` (blocks, lags) each read off on one block, `noise` c in c/sqrt(P).

    >>> found = correlations("ab" * 500 + "ba" * 500, lags=(1, 2))
    >>> found.values.round(2)  # at distance 1 the other letter, at distance 2 the same one
    array([0.5, 0.5])
    """

    lags: np.ndarray
    blocks: np.ndarray
    noise: float
    total: int

    @property
    def values(self) -> np.ndarray:
        return self.blocks.mean(0)

    @property
    def errors(self) -> np.ndarray:
        """Standard errors from the scatter between blocks of text."""
        return self.blocks.std(0, ddof=1) / np.sqrt(len(self.blocks))

    def range(self) -> tuple[int, int]:
        """First and last lag up to which every covariance is clear of its error; (0, 0) if not even the first is."""
        clear = self.values > CLEAR * self.errors
        count = int(np.argmin(clear)) if not clear.all() else len(clear)
        return (int(self.lags[0]), int(self.lags[count - 1])) if count else (0, 0)

    def exponent(self) -> tuple[Estimate | None, str]:
        """beta with a nominal 90 % half-width (scatter of blocks, and drift along the range), and why or why not."""
        low, high = self.range()
        if not high:
            return None, "no correlation beyond its noise at any lag"
        inside = self.lags <= high
        if high < 10**DECADES * low or inside.sum() < 4:
            return None, f"correlations are clear of noise from lag {low} to {high} only: less than a decade"
        apart = [
            _fall(self.lags[inside], np.delete(self.blocks, k, 0).mean(0)[inside]) for k in range(len(self.blocks))
        ]
        scatter = _jackknife(np.array(apart))
        value = _fall(self.lags[inside], self.values[inside])
        middle = inside.sum() // 2
        early = _fall(self.lags[inside][: middle + 1], self.values[inside][: middle + 1])
        late = _fall(self.lags[inside][middle:], self.values[inside][middle:])
        error = float(np.hypot(_QUANTILE * scatter, abs(late - early) / 2))
        if not value > error:
            return None, f"covariances from lag {low} to {high} do not fall ({value:.2f} +- {error:.2f})"
        return Estimate(float(value), error), f"lags {low} to {high}"

    def horizon(self, samples: float) -> float:
        """Lag up to which covariances exceed the noise of P tokens, by interpolation within the measured range."""
        low, high = self.range()
        level = self.noise / np.sqrt(samples)
        inside = self.lags <= high
        below = np.flatnonzero(~(self.values[inside] > level))
        if not high or (len(below) and below[0] == 0):
            return 0.0
        return float(self.lags[inside][below[0] - 1]) if len(below) else float(high)


@dataclass(frozen=True, eq=False)
class Entropies:
    """H_0, H_1, ... in nats, corrected for undersampling.

    `bias` how much less half of the text would tell, `apart` (blocks, orders) values with one block left out, `missing`
    the share of grams with one token more than the context that occur once: what the text has not shown yet.
    """

    values: np.ndarray
    bias: np.ndarray
    apart: np.ndarray
    missing: np.ndarray

    @property
    def errors(self) -> np.ndarray:
        return np.hypot(_jackknife(self.apart), self.bias)

    def range(self) -> tuple[int, int]:
        """Contexts up to which the entropy falls by more than four times its bias and error, and grams are known."""
        gain = self.values[:-1] - self.values[1:]
        error = np.hypot(np.abs(np.diff(self.bias)), _jackknife(np.diff(self.apart, axis=1)))
        clear = (gain > 4 * error) & (self.missing[1:] < MISSING)
        return 0, int(np.argmin(clear)) if not clear.all() else len(clear)

    def unknown(self, context: int) -> bool:
        """Whether it is the length of the text that ends the range after a context."""
        return context + 1 < len(self.missing) and bool(self.missing[context + 1] >= MISSING)

    def exponent(self) -> tuple[Estimate | None, str]:
        """gamma from gains H_(n-1) - H_n ~ (n-1)^-gamma - n^-gamma, n from 2: the floor H_oo drops out."""
        _, last = self.range()
        if last - 1 < CONTEXTS:
            more = f" (one gram in {1 / self.missing[last + 1]:.0f} is new)" if self.unknown(last) else ""
            return None, f"entropies are known to context {last} only, {CONTEXTS + 1} are needed{more}"
        orders = np.arange(2, last + 1)
        weights = 1 / np.maximum(_jackknife(_log_gains(self.apart, orders)), 1e-3) ** 2

        def fitted(values: np.ndarray, orders: np.ndarray, weights: np.ndarray) -> float:
            return _gain_exponent(orders, _log_gains(values, orders), weights)

        value = fitted(self.values, orders, weights)
        scatter = _jackknife(np.array([fitted(row, orders, weights) for row in self.apart]))
        later = fitted(self.values, orders[1:], weights[1:])
        biased = fitted(self.values + self.bias, orders, weights)
        error = float(np.sqrt((_QUANTILE * scatter) ** 2 + (later - value) ** 2 + (biased - value) ** 2))
        return Estimate(value, error), f"contexts 1 to {last}"


def correlations(
    tokens: Sequence[Any], lags: Sequence[int] = (), blocks: int = BLOCKS, vocabulary: int = VOCABULARY
) -> Correlations:
    """Largest singular value of the covariance of tokens at some lags, without bias from counting noise.

    Left and right directions come from even blocks of the text and are applied to odd ones, and the other way round.
    By default 6 lags an octave-and-a-half up to a hundredth of a block. Raises `BadData` for a text without 50 tokens a
    block.
    """
    numbers, size = _numbered(tokens, vocabulary)
    length = len(numbers) // blocks
    if blocks < 4 or length < 50:
        raise BadData(
            f"{len(numbers)} tokens in {blocks} blocks",
            where="correlations",
            remedy="give four blocks or more of 50 tokens or more each",
        )
    chosen = np.unique(np.round(np.geomspace(1, max(10, length / 20), 18)).astype(int)) if not len(lags) else lags
    chosen = np.asarray(chosen, int)
    if chosen.min() < 1 or chosen.max() >= length:
        raise BadData(
            f"lags {chosen.min()} to {chosen.max()} in blocks of {length} tokens",
            where="correlations",
            remedy="give lags from 1 to below the length of a block",
        )
    parts = numbers[: length * blocks].reshape(blocks, length)
    share = np.bincount(numbers, minlength=size) / len(numbers)
    found = np.empty((blocks, len(chosen)))
    noise = 0.0
    for column, lag in enumerate(chosen):
        pairs = [np.bincount(part[:-lag] * size + part[lag:], minlength=size**2) for part in parts]
        covariance = np.stack(pairs).reshape(blocks, size, size) / (length - lag) - np.outer(share, share)
        halves = covariance[::2].mean(0), covariance[1::2].mean(0)
        for start in (0, 1):
            left, _, right = np.linalg.svd(halves[1 - start])
            found[start::2, column] = np.einsum("a,kab,b->k", left[:, 0], covariance[start::2], right[0])
        noise = np.linalg.norm(halves[0] - halves[1], 2) / 2 * np.sqrt(len(numbers))
    return Correlations(chosen, found, float(noise), len(numbers))


def entropies(tokens: Sequence[Any], longest: int = 12, blocks: int = BLOCKS) -> Entropies:
    """Entropies H_0 .. H_longest of a token given the n before it, from counts of n-grams, Grassberger's correction.

    >>> found = entropies(np.random.default_rng(0).integers(0, 2, 20000), longest=3)
    >>> found.values.round(2)
    array([0.69, 0.69, 0.69, 0.69])
    """
    numbers, _ = _numbered(tokens, None)
    length = len(numbers) // blocks
    if blocks < 4 or length < 50:
        raise BadData(
            f"{len(numbers)} tokens in {blocks} blocks",
            where="entropies",
            remedy="give four blocks or more of 50 tokens or more each",
        )
    owner = np.minimum(np.arange(len(numbers)) // length, blocks - 1)
    whole = [0.0]
    halves = [0.0]
    apart = [np.zeros(blocks)]
    missing = []
    names = np.zeros(len(numbers), dtype=np.int64)
    for order in range(longest + 1):
        # the name of the gram that begins at a token: that of the gram before, and the token after it
        shifted = numbers[order:]
        _, names = np.unique(names[: len(shifted)] * (numbers.max() + 1) + shifted, return_inverse=True)
        kinds = names.max() + 1
        place = owner[: len(names)]
        table = _grouped(names, place, kinds, blocks)
        whole.append(_entropy(table.whole))
        halves.append((_entropy(table.of(range(0, blocks, 2))) + _entropy(table.of(range(1, blocks, 2)))) / 2)
        apart.append(np.array([_entropy(table.without(block)) for block in range(blocks)]))
        missing.append(float((table.whole == 1).mean() * kinds / len(names)))
        if missing[-1] > 0.5:
            break  # hardly a gram comes twice: longer ones tell nothing
    values, of_halves = np.diff(whole), np.diff(halves)
    return Entropies(values, of_halves - values, np.diff(np.array(apart), axis=0).T, np.array(missing))


@dataclass(frozen=True, eq=False)
class _Grouped:
    """Counts of grams: of the whole text, and for every block its grams with their counts there."""

    whole: np.ndarray
    blocks: tuple[tuple[np.ndarray, np.ndarray], ...]

    def without(self, block: int) -> np.ndarray:
        names, counts = self.blocks[block]
        rest = self.whole.copy()
        rest[names] -= counts
        return rest

    def of(self, chosen: Iterable[int]) -> np.ndarray:
        counted = np.zeros_like(self.whole)
        for block in chosen:
            names, counts = self.blocks[block]
            counted[names] += counts
        return counted


def _grouped(names: np.ndarray, place: np.ndarray, kinds: int, blocks: int) -> _Grouped:
    whole = np.bincount(names, minlength=kinds)
    return _Grouped(whole, tuple(np.unique(names[place == block], return_counts=True) for block in range(blocks)))


def _entropy(counts: np.ndarray) -> float:
    """Grassberger's estimate in nats: log N - 1/N sum n G(n), G(n) = psi(n) + (-1)^n/2 (psi((n+1)/2) - psi(n/2))."""
    sizes, often = np.unique(counts[counts > 0], return_counts=True)
    total = float((sizes * often).sum())
    sign = np.where(sizes % 2, -0.5, 0.5)
    corrected = digamma(sizes) + sign * (digamma((sizes + 1) / 2) - digamma(sizes / 2))
    return float(np.log(total) - (often * sizes * corrected).sum() / total)


def _numbered(tokens: Sequence[Any], most: int | None) -> tuple[np.ndarray, int]:
    """Tokens as numbers 0 .. size - 1 by falling frequency; those beyond `most` share the last number."""
    listed = listed_tokens(tokens, "text")
    if listed.ndim != 1 or not len(listed):
        raise BadData(f"tokens of shape {listed.shape}", where="text", remedy="give a list of words or characters")
    _, numbers, counts = np.unique(listed, return_inverse=True, return_counts=True)
    rank = np.empty(len(counts), int)
    rank[np.argsort(-counts, kind="stable")] = np.arange(len(counts))
    numbers = rank[numbers]
    size = len(counts) if most is None else min(len(counts), most)
    return np.minimum(numbers, size - 1), size


def _fall(lags: np.ndarray, values: np.ndarray) -> float:
    """Exponent of values ~ lag^-exponent; values that a block less turns negative are held just above zero."""
    return -float(np.polyfit(np.log(lags), np.log(np.maximum(values, 1e-12)), 1)[0])


def _jackknife(apart: np.ndarray) -> Any:
    count = len(apart)
    return np.sqrt((count - 1) / count * ((apart - apart.mean(0)) ** 2).sum(0))


def _log_gains(values: np.ndarray, orders: np.ndarray) -> np.ndarray:
    gains = values[..., orders - 1] - values[..., orders]
    return np.log(np.maximum(gains, 1e-12))


def _gain_exponent(orders: np.ndarray, log_gains: np.ndarray, weights: np.ndarray) -> float:
    """The gamma for which log gains differ least from log((n-1)^-gamma - n^-gamma) + constant, on a fine grid."""
    grid = np.linspace(0.02, 6.0, 1196)[:, None]
    shape = np.log((orders - 1.0) ** -grid - orders**-grid)
    rest = log_gains - shape
    rest = rest - (rest * weights).sum(1, keepdims=True) / weights.sum()
    misfit = (weights * rest**2).sum(1)
    best = int(np.clip(misfit.argmin(), 1, len(grid) - 2))
    left, middle, right = misfit[best - 1 : best + 2]
    shift = 0.5 * (left - right) / (left - 2 * middle + right) if left + right > 2 * middle else 0.0
    return float(grid[best, 0] + np.clip(shift, -1, 1) * (grid[1, 0] - grid[0, 0]))
