r"""Inputs that are symbols: one row, one token. They share nothing, so no kernel generalises and counting decides.

Symbol i of probability p_i ~ i^-a (Zipf) is learned when it has been seen, not when its eigenvalue exceeds a ridge; the
Gaussian formula for learning curves does not hold. The exponent a is the slope of counts over ranks. Where counts are
small, sorting them bends the curve: with symbols of expected count mu as dense as mu^(-1 - 1/a), the number of symbols
that occur c times or more is

    rank(c) ~ Gamma(c - 1/a) / Gamma(c)    and not    c^(-1/a),

so log rank is fitted against that, self-consistently. Mind the inverse: fits of power laws to samples of a distribution
find 1/a, the exponent of the tail probability of c; and their likelihood fails where the vocabulary is finite.

Planted exponents of 0.8 to 2 are found within 0.01 on average from 20 000 draws and 0.03 from 1000, the 90 % interval
holding 95 % of them.

References: Clauset, Shalizi, Newman 2009 (arXiv:0706.1062) for the two exponents; Hutter 2021 (arXiv:2102.04074) for
the learning law of such data.
"""

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from scipy.special import gammaln

from ..arguments import numbers
from ..errors import BadData
from ..measured_spectra.estimate import Estimate

FEWEST_SYMBOLS = 20  # for an exponent
REPEATED = 0.9  # distinct rows, as a share of all, from which on nothing repeats
ALIKE = 1e-9  # 1 - cosine of rows that are the same
SPREAD = 0.1  # of cosines between different symbols around their mean
SPARSE = 0.05  # share of non-zero entries in vectors of counts
LEAST = (10, 4)  # count from which on a slope is fitted: the first that enough symbols reach
WINDOWS = ((1, 1), (0.5, 1), (2, 1), (1, 4))  # smallest count in units of that, and first rank
WHERE = "one-hot"
REDRAWN = 20  # times the counts are drawn again, for the statistical error


@dataclass(frozen=True, eq=False)
class OneHot:
    """Rows that are symbols, and how often each occurs.

    `kind`      "one-hot" (one non-zero a row), "disjoint" (rows repeat or share no non-zero), "repeated" (few distinct
                rows, alike different from one another), "blocks" (so in the kernel), "counts" (of many symbols a row)
    `symbols`   (P,) number of each row's symbol, 0 the most frequent; of "counts", the most frequent one in the row
    `counts`    (V,) occurrences, in falling order
    `memorised` rows say nothing about rows of other symbols: the law of counting holds, not the Gaussian one
    """

    kind: str
    symbols: np.ndarray
    counts: np.ndarray

    @property
    def memorised(self) -> bool:
        return self.kind != "counts"

    @property
    def frequencies(self) -> np.ndarray:
        """Shares (V,) of the symbols, in falling order."""
        return self.counts / self.counts.sum()

    @cached_property
    def exponent(self) -> Estimate | None:
        """Zipf's a in p_i ~ i^-a; None for fewer than 20 symbols that occur four times."""
        return zipf_exponent(self.counts)

    def to_dict(self) -> dict:
        return {
            "kind": self.kind,
            "memorised": self.memorised,
            "counts": self.counts.tolist(),
            "exponent": self.exponent and self.exponent.to_dict(),
        }

    def __str__(self) -> str:
        once = int((self.counts == 1).sum())
        law = (
            f"p ~ rank^-a, a = {self.exponent}"
            if self.exponent
            else f"fewer than {FEWEST_SYMBOLS} symbols: no exponent"
        )
        use = "counting decides what is learned, not eigenvalues" if self.memorised else "rows share symbols"
        return (
            f"Symbols ({self.kind}): {len(self.counts)} in {len(self.symbols)} rows, {once} of them once\n"
            f"  {law}\n  {use}"
        )

    __repr__ = __str__


def one_hot(x: np.ndarray) -> OneHot | None:
    """The symbols of inputs x (P, d), or None if the rows are not symbols.

    Errors: `BadData` unless x is a matrix of finite numbers.

    >>> found = one_hot(np.eye(4)[[0, 1, 0, 2, 0, 3]])
    >>> found.kind, found.counts, found.symbols
    ('one-hot', array([3, 1, 1, 1]), array([0, 1, 0, 2, 0, 3]))
    >>> one_hot(np.random.default_rng(0).standard_normal((50, 5))) is None
    True
    """
    x = numbers(x, "x", WHERE)
    if x.ndim != 2 or not np.isfinite(x).all():
        raise BadData(f"inputs of shape {x.shape}", where=WHERE, remedy="give a matrix (rows, features) of numbers")
    if len(x) < 2 or x.shape[1] < 2:
        return None
    filled = x != 0
    per_row = filled.sum(1)
    if (per_row == 1).all():
        column = filled.argmax(1)
        value = x[np.arange(len(x)), column]
        low, high = np.full((2, x.shape[1]), np.nan)
        for bound, pick in ((low, np.fmin), (high, np.fmax)):
            pick.at(bound, column, value)
        if np.nanmax(high - low) <= ALIKE * np.abs(value).max():  # one value a symbol
            return _found("one-hot", column)
    names, places = _distinct(x)
    if len(names) <= REPEATED * len(x) and len(names) > 2:
        rows = x[names]
        if (filled[names].sum(0) <= 1).all():
            return _found("disjoint", places)
        if _unrelated(rows):
            return _found("repeated", places)
    if filled.mean() <= SPARSE and per_row.max() > 1 and (x >= 0).all():
        scale = np.where(per_row > 0, np.where(filled, x, np.inf).min(1), 1.0)
        whole = x / scale[:, None]
        if np.abs(whole - np.round(whole)).max() < 1e-6:
            total = np.round(whole).sum(0).astype(int)
            order = np.argsort(-total, kind="stable")
            rank = np.empty(len(order), int)
            rank[order] = np.arange(len(order))
            first = np.where(filled, rank, len(rank)).min(1)
            return OneHot("counts", first, total[order][total[order] > 0])
    return None


def one_hot_kernel(gram: np.ndarray) -> OneHot | None:
    """The same from a kernel matrix (P, P): equal rows, and one likeness of all rows that differ.

    >>> found = one_hot_kernel(np.exp(-1.0 * (np.subtract.outer([0, 9, 0, 99, 0], [0, 9, 0, 99, 0]) != 0)))
    >>> found.kind, found.counts
    ('blocks', array([3, 1, 1]))
    """
    gram = numbers(gram, "the kernel matrix", WHERE)
    diagonal = np.diag(gram) if gram.ndim == 2 and gram.shape[0] == gram.shape[1] > 0 else np.zeros(1)
    if not (np.isfinite(gram).all() and (diagonal > 0).all()):
        raise BadData(
            f"kernel matrix of shape {gram.shape}", where=WHERE, remedy="give (P, P) with a positive diagonal"
        )
    cosine = gram / np.sqrt(np.outer(diagonal, diagonal))
    same = cosine >= 1 - 1e3 * ALIKE
    first = same.argmax(1)  # the first row that is the same
    names, places = np.unique(first, return_inverse=True)
    if not 2 < len(names) <= REPEATED * len(gram):
        return None
    between = cosine[np.ix_(names, names)][~np.eye(len(names), dtype=bool)]
    return _found("blocks", places) if between.std() <= SPREAD and between.max() < 0.99 else None


def zipf_exponent(counts: np.ndarray) -> Estimate | None:
    """Zipf's a from the occurrences (V,) of all symbols; None for fewer than 20 that occur four times.

    Every rank weighs 1/rank. Statistical error: of counts drawn again; systematic: half the range over windows.
    Errors: `BadData` for numbers that are no counts.

    >>> p = np.arange(1, 100_001.0) ** -1.5
    >>> found = zipf_exponent(np.random.default_rng(0).multinomial(20_000, p / p.sum()))
    >>> abs(found.value - 1.5) < 2 * found.error < 0.2
    True
    """
    counts = numbers(counts, "counts", WHERE)
    if counts.ndim != 1 or not np.isfinite(counts).all() or (counts < 0).any():
        raise BadData(f"counts of shape {counts.shape}", where=WHERE, remedy="give occurrences from 0, one a symbol")
    counts = -np.sort(-counts)
    least = next((c for c in LEAST if (counts >= c).sum() >= FEWEST_SYMBOLS), None)
    if least is None:
        return None
    slopes = [_rank_slope(counts, least * factor, first) for factor, first in WINDOWS]
    slopes = [slope for slope in slopes if slope is not None]
    rng = np.random.default_rng(0)
    drawn = [_rank_slope(-np.sort(-rng.poisson(counts).astype(float)), least, 1) for _ in range(REDRAWN)]
    statistical = float(np.std([slope for slope in drawn if slope is not None], ddof=1))
    systematic = float(np.ptp(slopes) / 2)
    return Estimate(float(slopes[0]), float(np.hypot(systematic, statistical)), systematic, statistical)


def _rank_slope(counts, least, first):
    """Exponent a of sorted counts from rank `first` on as far as they reach `least`; None for fewer than 8 ranks."""
    last = int((counts >= least).sum())
    if last - first < 8:
        return None
    rank = np.arange(first, last + 1.0)
    c = counts[first - 1 : last]
    weight = 1 / rank
    x = np.log(rank) - np.average(np.log(rank), weights=weight)
    a = 1.0
    for _ in range(20):
        s = min(1 / a, least - 0.5)
        before, a = a, -float((weight * x) @ (gammaln(c) - gammaln(c - s)) / s / ((weight * x) @ x))
        if abs(a - before) < 1e-6 or a <= 0:
            break
    return a


def _found(kind, places):
    names, symbols, counts = np.unique(places, return_inverse=True, return_counts=True)
    order = np.argsort(-counts, kind="stable")
    place = np.empty(len(names), int)
    place[order] = np.arange(len(names))
    return OneHot(kind, place[symbols], counts[order])


def _distinct(x):
    """First rows and numbers (P,) of the distinct rows, compared byte by byte (with -0 as 0)."""
    raw = np.ascontiguousarray(x + 0.0).view(np.dtype((np.void, x.dtype.itemsize * x.shape[1]))).ravel()
    _, first, numbers = np.unique(raw, return_index=True, return_inverse=True)
    return first, numbers.ravel()


def _unrelated(rows):
    """Whether the cosines of different rows (at most 1000 of them) are all about the same."""
    rows = rows[np.linspace(0, len(rows) - 1, min(len(rows), 1000)).astype(int)]
    norms = np.linalg.norm(rows, axis=1)
    rows = rows[norms > 0] / norms[norms > 0, None]
    between = (rows @ rows.T)[~np.eye(len(rows), dtype=bool)]
    return len(between) > 0 and between.std() <= SPREAD and between.max() < 0.99
