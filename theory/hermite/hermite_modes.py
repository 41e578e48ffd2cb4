r"""The largest products of covariance eigenvalues, enumerated: modes of a kernel on Gaussian data.

Level l of a kernel has one mode for every multiset of l principal components, with log eigenvalue

    log c_l + log gamma_{i1} + ... + log gamma_{il},      i1 <= ... <= il.

All modes above a threshold are grown level by level, factor by factor, as whole arrays: a prefix is kept if filling it
up with its own last (largest allowed) factor stays above the threshold, so no prefix is grown in vain. The threshold
is lowered until the wanted number is reached. What lies below is counted in bins of log eigenvalue, exactly, by the
recursion of complete symmetric functions l h_l = sum_j p_j h_{l-j} on histograms.

>>> top = top_modes(np.log([0.6, 0.3]), np.log([1.0, 1.0, 1.0]), 4)
>>> np.exp(top.log_eigenvalues).round(12).tolist(), top.labels(4)
([1.0, 0.6, 0.36, 0.3], [(), (0,), (0, 0), (1,)])
"""

from dataclasses import dataclass

import numpy as np

from ..errors import BadData

BIN = 0.02  # of log eigenvalue
DEPTH = 36.0  # log eigenvalues below the largest that are binned
MOST = 20_000_000
DENSE = 150  # occupied bins beyond which a direct convolution is quicker than shifts


@dataclass(frozen=True, eq=False)
class Modes:
    """Modes in falling order of eigenvalue; arrays (modes,).

    `degrees` is the level of each mode and `rows` its place in `factors[degree]`, (modes of the level, degree): the
    principal components that are multiplied, ascending.
    """

    log_eigenvalues: np.ndarray
    degrees: np.ndarray
    rows: np.ndarray
    factors: dict[int, np.ndarray]

    def __len__(self) -> int:
        return len(self.log_eigenvalues)

    def labels(self, count: int) -> list[tuple[int, ...]]:
        """The multisets of principal components of the first modes."""
        pairs = zip(self.degrees[:count], self.rows[:count], strict=True)
        return [tuple(int(i) for i in self.factors[int(degree)][row]) for degree, row in pairs]


def top_modes(log_gamma: np.ndarray, log_levels: np.ndarray, count: int) -> Modes:
    """The `count` largest modes (all of them, if there are fewer); log_gamma (d,) descending, log_levels (order + 1,).

    Errors: `BadData` for a count below 1 or above 2e7, or eigenvalues that do not descend.
    """
    log_gamma, log_levels = np.asarray(log_gamma, float), np.asarray(log_levels, float)
    if not 1 <= count <= MOST:
        raise BadData(f"{count} modes", where="Hermite modes", remedy=f"give a number from 1 to {MOST}")
    if not len(log_gamma) or (np.diff(log_gamma) > 0).any() or not np.isfinite(log_gamma).all():
        raise BadData("eigenvalues do not descend", where="Hermite modes", remedy="sort them and drop zeros")
    used = np.flatnonzero(np.isfinite(log_levels))
    top = max(log_levels[level] + level * log_gamma[0] for level in used)
    least = min(log_levels[level] + level * log_gamma[-1] for level in used)
    step, threshold, reached = 1.0, top, 0
    while True:
        found = {level: _above(log_gamma, threshold - log_levels[level], int(level)) for level in used}
        total = sum(len(logs) for logs, _ in found.values())
        if total >= count or threshold <= least:
            break
        # counts grow about exponentially as the threshold falls: aim a little beyond the goal
        if reached and total > reached:
            rate = max(np.log(total / reached) / step, 0.05)
            step = min(max(1.1 * np.log(1.05 * count / total) / rate, 0.02), 1.5)
        reached = total
        threshold = max(threshold - step, least - 1e-9)
    logs = np.concatenate([found[level][0] + log_levels[level] for level in used])
    degrees = np.concatenate([np.full(len(found[level][0]), level) for level in used])
    rows = np.concatenate([np.arange(len(found[level][0])) for level in used])
    order = np.argsort(-logs, kind="stable")[:count]
    return Modes(logs[order], degrees[order], rows[order], {int(level): found[level][1] for level in used})


def _above(log_gamma: np.ndarray, bound: float, level: int) -> tuple[np.ndarray, np.ndarray]:
    """All products of `level` factors whose logarithm is at least `bound`: logarithms and factors."""
    kind = np.int16 if len(log_gamma) < 2**15 else np.int32
    if level == 0:
        return (np.zeros(1), np.zeros((1, 0), kind)) if bound <= 0 else (np.zeros(0), np.zeros((0, 0), kind))
    falling = -log_gamma
    logs, last, factors = np.zeros(1), np.zeros(1, int), np.zeros((1, 0), kind)
    for grown in range(level):
        # a factor may be appended if itself, repeated to the end, stays above the bound
        needed = (bound - logs) / (level - grown)
        ends = np.searchsorted(falling, -needed + 1e-12, side="right")
        counts = np.maximum(ends - last, 0)
        parents = np.repeat(np.arange(len(logs)), counts)
        offsets = np.arange(len(parents)) - np.repeat(np.cumsum(counts) - counts, counts)
        chosen = last[parents] + offsets
        logs, last = logs[parents] + log_gamma[chosen], chosen
        factors = np.concatenate([factors[parents], chosen[:, None].astype(kind)], axis=1)
    return logs, factors


def rest_in_bins(log_gamma: np.ndarray, log_levels: np.ndarray, modes: Modes) -> tuple[np.ndarray, np.ndarray, float]:
    """Modes below the enumerated ones: eigenvalues and numbers of modes in bins, and the trace of what is below these.

    Every logarithm is rounded to bins of 0.02; the trace of every level is exact, from the complete symmetric functions
    of the eigenvalues.
    """
    places = np.rint((log_gamma[0] - log_gamma) / BIN).astype(int)
    used = [int(level) for level in np.flatnonzero(np.isfinite(log_levels))]
    tops = {level: log_levels[level] + level * log_gamma[0] for level in used}
    highest = max(tops.values())
    cells = int(DEPTH / BIN)
    sums = [np.zeros(cells)]  # sums[j]: how many gamma^j lie in each bin
    for power in range(1, max(used) + 1):
        inside = places[places * power < cells] * power
        sums.append(np.bincount(inside, minlength=cells).astype(float))
    counts = [np.zeros(cells)]
    counts[0][0] = 1.0
    for level in range(1, max(used) + 1):
        total = np.zeros(cells)
        for power in range(1, level + 1):
            places_used = np.flatnonzero(sums[power])
            if len(places_used) > DENSE:
                total += np.convolve(sums[power], counts[level - power])[:cells]
                continue
            for place in places_used:
                total[place:] += sums[power][place] * counts[level - power][: cells - place]
        counts.append(total / level)
    gamma = np.exp(log_gamma)
    exact = complete_symmetric(gamma / gamma[0], max(used))
    merged, missing = np.zeros(cells), 0.0
    axis = np.exp(-BIN * np.arange(cells))
    enumerated = np.exp(modes.log_eigenvalues)
    for level in used:
        mine = modes.rows[modes.degrees == level]
        taken = places[modes.factors[level][mine].astype(int)].sum(axis=1) if level else np.zeros(len(mine), int)
        rest = counts[level] - np.bincount(taken[taken < cells], minlength=cells)[:cells]
        rest = np.where(rest > 1e-9 * np.maximum(counts[level], 1), np.maximum(rest, 0), 0.0)
        # counts beyond 1e15 are no whole numbers any more, and do not need to be
        scale = np.exp(tops[level] - highest)
        trace = max(exact[level] * scale - enumerated[modes.degrees == level].sum() / np.exp(highest), 0.0)
        binned = float((rest * axis).sum()) * scale
        if binned > trace:
            rest, binned = rest * (trace / binned), trace
        missing += trace - binned
        shift = int(np.rint((highest - tops[level]) / BIN))
        if shift < cells:
            # keep the trace although the level's top falls between bins
            merged[shift:] += rest[: cells - shift] * (scale / axis[shift])
            missing += float((rest[cells - shift :] * axis[cells - shift :]).sum()) * scale if shift else 0.0
        else:
            missing += binned
    kept = merged > 0
    return axis[kept] * np.exp(highest), merged[kept], missing * np.exp(highest)


def complete_symmetric(gamma: np.ndarray, order: int) -> np.ndarray:
    """h_l, l = 0..order: the sum of all products of l of the numbers, with repetition."""
    made = np.zeros(order + 1)
    made[0] = 1.0
    for value in gamma:
        for level in range(1, order + 1):
            made[level] += value * made[level - 1]
    return made


def mode_features(modes: Modes, count: int, z: np.ndarray) -> np.ndarray:
    """Normalised Hermite products of whitened components z (rows, d) for the first modes: (rows, count).

    >>> top = top_modes(np.log([0.6, 0.3]), np.log([1.0, 1.0, 1.0]), 4)
    >>> mode_features(top, 4, np.array([[2.0, 1.0]])).round(6).tolist()  # 1, z, (z^2 - 1) / sqrt 2, z'
    [[1.0, 2.0, 2.12132, 1.0]]
    """
    highest = int(modes.degrees[:count].max(initial=0))
    table = np.ones((highest + 1, *z.shape))
    if highest:
        table[1] = z
    for k in range(1, highest):
        table[k + 1] = (z * table[k] - np.sqrt(k) * table[k - 1]) / np.sqrt(k + 1)
    features = np.ones((len(z), count))
    for column, label in enumerate(modes.labels(count)):
        for component in set(label):
            features[:, column] *= table[label.count(component), :, component]
    return features
