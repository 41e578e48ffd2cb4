r"""How much of a text is unseen after n tokens of it, from the frequencies in a sample alone, without bias.

A sample of T tokens with counts c_i contains its own experiment: take one token out and n of the others.

    U(n) = sum_i c_i/T  C(T - c_i, n) / C(T - 1, n),     E U(n) = sum_i p_i (1 - p_i)^n     for every n < T.

The plain sum with c_i/T in the place of p_i counts tokens that were never met as known; this one does not. At n = T - 1
it is the share of singletons, the estimate of Good and Turing (Good 1953, Biometrika 40). Beyond T the tail goes on
as a power law. Errors come from leaving out blocks of text: words of one topic come together, so single tokens are not
independent. How far that goes: a window that ends at a tenth of the sample is known to 0.01 or 0.02.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy.special import gammaln

from ..arguments import interval, numbers, whole
from ..errors import BadData, OutsideDomain
from ..measured_spectra.estimate import Estimate

FARTHEST = 4.0  # in units of the sample: beyond, the continuation is a guess
BLOCKS = 20
_POINTS = 12  # of a window, at equal distances in log n
_QUANTILE = 1.645  # of a nominal interval of 90 %


@dataclass(frozen=True, eq=False)
class Frequencies:
    """Counts (blocks, tokens): how often each token occurs in each block of a text.

    >>> counted = frequencies("abacabad" * 50, blocks=4)
    >>> counted.total, counted.vocabulary, counted.counts.shape
    (400, 4, (4, 4))
    """

    counts: np.ndarray

    @property
    def total(self) -> int:
        return int(self.counts.sum())

    @property
    def vocabulary(self) -> int:
        return int((self.counts.sum(0) > 0).sum())

    @property
    def singletons(self) -> int:
        """Tokens that occur once."""
        return int((self.counts.sum(0) == 1).sum())

    def unseen(self, samples: Any) -> np.ndarray:
        """Share of the text that n tokens of it do not contain, at every n of an array. Errors: `BadData`.

        >>> counted = frequencies("abacabad" * 50)
        >>> float(counted.unseen([0])[0]), bool(counted.unseen([399])[0] == counted.singletons / 400)
        (1.0, True)
        """
        return _unseen(self.counts.sum(0), _sizes(samples, "samples"))

    def slope(self, window: tuple[float, float]) -> Estimate:
        """Local exponent of the unseen share over a window of n, and its nominal 90 % half-width.

        The error holds the scatter of this text and of another one of the same length, on which it would be measured;
        beyond the sample also how much the slope still changes. Raises `OutsideDomain` beyond four times the sample,
        and where no token is left unseen.
        """
        low, high = self._checked(window)
        if high > FARTHEST * self.total:
            raise OutsideDomain(
                f"n = {high:.3g} from {self.total} tokens",
                where="unseen share",
                remedy=f"count more text, or stay below {FARTHEST * self.total:.3g}",
            )
        grid = np.geomspace(low, high, _POINTS)
        value = _slope(self.counts.sum(0), grid)
        apart = np.array([_slope(self.counts.sum(0) - block, grid) for block in self.counts])
        scatter = _jackknife(value, apart, "unseen share")
        drift = 0.0
        if high > self.total - 1:
            near = [_slope(self.counts.sum(0), np.geomspace(a, 4 * a, 6)) for a in self.total / np.array([16.5, 4.1])]
            share = np.log(high / self.total) / np.log(high / low)
            drift = abs(near[1] - near[0]) * min(1.0, share) * max(1.0, np.log(high / self.total) / np.log(4))
        return Estimate(float(value), float(np.hypot(_QUANTILE * np.sqrt(2) * scatter, drift)))

    def _checked(self, window: tuple[float, float]) -> tuple[float, float]:
        low, high = interval(window, "window", "frequencies", remedy="give 1 <= low and an octave or more", ratio=2.0)
        if len(self.counts) < 4:
            raise BadData(
                f"{len(self.counts)} blocks", where="frequencies", remedy="four or more are needed to know the error"
            )
        return low, high

    def forgotten(self, kept: Any) -> np.ndarray:
        """Share of the text that is none of the N most frequent tokens, ranked on other blocks than it is counted on.

        Ranked and counted on the same text, rare tokens look as frequent as they happened to be there.
        """
        kept = _sizes(kept, "sizes of a memory")
        halves = self.counts[::2].sum(0), self.counts[1::2].sum(0)
        return np.mean([_beyond(ranked, held, kept) for ranked, held in (halves, halves[::-1])], axis=0)

    def memory_slope(self, window: tuple[float, float]) -> Estimate:
        """Local exponent of the forgotten share in the size N of the memory, over a window of N.

        Raises `OutsideDomain` where the memory holds all tokens.
        """
        grid = np.unique(np.geomspace(*self._checked(window), _POINTS).round())
        whole = log_slope(grid, self.forgotten(grid))
        pairs = len(self.counts) // 2
        rest = [np.delete(self.counts, [2 * pair, 2 * pair + 1], axis=0) for pair in range(pairs)]
        apart = np.array([log_slope(grid, Frequencies(counts).forgotten(grid)) for counts in rest])
        scatter = _jackknife(whole, apart, "forgotten share")
        return Estimate(float(whole), float(_QUANTILE * np.sqrt(2) * scatter))


def frequencies(tokens: Sequence[Any] | Iterable[Any], blocks: int | Sequence[Any] = BLOCKS) -> Frequencies:
    """Count a text, a sequence of words, characters or numbers, by blocks of equal length or by labels (T,).

    Labels (the document of every token, say) keep what belongs together in one block.
    Raises `BadData` for fewer than 100 tokens or fewer than four blocks.

    >>> frequencies(["to", "be", "or", "not"] * 100, blocks=["one", "two", "three", "four"] * 100).counts.shape
    (4, 4)
    """
    listed = listed_tokens(tokens, "frequencies")
    if listed.ndim != 1 or len(listed) < 100:
        raise BadData(f"tokens of shape {listed.shape}", where="frequencies", remedy="give a list of 100 or more")
    names, named = np.unique(listed, return_inverse=True)
    if np.ndim(blocks) == 0 and not isinstance(blocks, str):
        size = whole(blocks, "blocks", "frequencies")
        labels = np.arange(len(listed)) * size // len(listed)
    else:
        named_blocks = listed_tokens(blocks, "labels of blocks")
        if named_blocks.shape != listed.shape:
            raise BadData(
                f"{len(named_blocks)} labels of {len(listed)} tokens", where="frequencies", remedy="give one per token"
            )
        kinds, labels = np.unique(named_blocks, return_inverse=True)
        size = len(kinds)
    if size < 4:
        raise BadData(f"{size} blocks", where="frequencies", remedy="four or more are needed to know the error")
    counts = np.zeros((size, len(names)), dtype=np.int64)
    np.add.at(counts, (labels, named), 1)
    return Frequencies(counts)


def listed_tokens(tokens: Any, where: str) -> np.ndarray:
    """Tokens as an array whose entries can be told apart and ordered. Raises `BadData` for what is missing or mixed.

    >>> listed_tokens("abba", "here")
    array(['a', 'b', 'b', 'a'], dtype='<U1')
    """
    try:
        found = np.asarray(tokens if isinstance(tokens, np.ndarray) else list(tokens))
        known = not (found.dtype.kind == "f" and np.isnan(found).any())
        if found.dtype.kind == "O":
            found = np.array(found, str) if all(isinstance(token, str) for token in found.ravel()) else found
            known = found.dtype.kind == "U"
    except (TypeError, ValueError):  # no sequence, or lists of different lengths
        known = False
    if not known:
        remedy = "give a list of words, characters or numbers, all of one kind"
        raise BadData("tokens that are missing, or not of one kind", where=where, remedy=remedy)
    return found


def _sizes(values: Any, name: str) -> np.ndarray:
    found = np.atleast_1d(numbers(values, name, "frequencies"))
    if found.ndim != 1 or not (np.isfinite(found) & (found >= 0)).all():
        raise BadData(f"{name} {values}", where="frequencies", remedy="give a list of finite numbers from 0")
    return found


def _jackknife(whole: float, apart: np.ndarray, where: str) -> float:
    """Scatter of a slope from those with one part left out. Errors: `OutsideDomain` where a share reached zero."""
    if not np.isfinite([whole, *apart]).all():
        raise OutsideDomain(
            "some tokens of the window are used up", where=where, remedy="count more text, or end the window earlier"
        )
    return float(np.sqrt((len(apart) - 1) / len(apart) * ((apart - apart.mean()) ** 2).sum()))


def _unseen(counts: np.ndarray, samples: np.ndarray) -> np.ndarray:
    """U(n); tokens with equal counts are added up first. Beyond T - 1 a power law from the last two octaves."""
    sizes, often = np.unique(counts[counts > 0], return_counts=True)
    total = float(counts.sum())
    inside = np.minimum(samples, total - 1)
    left = total - sizes[None] - inside[:, None]
    log_missed = gammaln(total - sizes[None] + 1) - gammaln(np.maximum(left, 0) + 1)
    log_missed += (gammaln(total - inside) - gammaln(total))[:, None]
    terms = np.where(left >= 0, often * sizes / total * np.exp(np.minimum(log_missed, 0.0)), 0.0)
    found = terms.sum(1)
    if (samples > total - 1).any():
        near = np.geomspace((total - 1) / 4, total - 1, 6)
        fall = log_slope(near, _unseen(counts, near))
        found = found * (samples / inside) ** -fall
    return found


def _slope(counts: np.ndarray, grid: np.ndarray) -> float:
    return log_slope(grid, _unseen(counts, grid))


def log_slope(grid: np.ndarray, values: np.ndarray) -> float:
    """Positive exponent of values ~ grid^-exponent, infinite where a value is zero."""
    if not (values > 0).all():
        return float("inf")
    return -float(np.polyfit(np.log(grid), np.log(values), 1)[0])


def _beyond(ranked: np.ndarray, held: np.ndarray, kept: np.ndarray) -> np.ndarray:
    order = np.argsort(-ranked, kind="stable")
    covered = np.append(0.0, np.cumsum(held[order])) / held.sum()
    return 1 - covered[np.minimum(kept, len(order)).astype(int)]
