"""Any number of modes as a few hundred levels that have the same sums, to rounding.

Everything that learning curves sum over modes is a smooth function of log lambda with its nearest pole a distance pi
from the real axis. Within a factor e in lambda, interpolation at 15 Chebyshev points is therefore off by

    (2 pi + sqrt(4 pi^2 + 1))^-15, about 1e-15,

so that 15 levels with weights of either sign stand for all modes there: 1e9 modes cost no more than 1e3.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np

from ...theory.arguments import numbers
from ...theory.errors import BadData
from ...theory.measured_spectra.power_law_tail import PowerLawTail

NODES = 15  # levels that stand for all modes within a factor e
COMPRESS = 1000  # from this number of modes on
BLOCK = 4096  # modes handled at once: a block stays in cache


@dataclass(frozen=True, eq=False)
class Levels:
    """`eigenvalues`, `multiplicities` and `power` (levels,); weights may be of either sign, only their sums count.

    `lost`   target power in the kernel's null space;  `modes` number of modes, `total` their power and the lost
    """

    eigenvalues: np.ndarray
    multiplicities: np.ndarray
    power: np.ndarray
    lost: float
    modes: float
    total: float

    @property
    def trace(self) -> float:
        return float(self.eigenvalues @ self.multiplicities)


def levels(
    eigenvalues: Any,
    power: Any = None,
    multiplicities: Any = None,
    tail: PowerLawTail | None = None,
    where: str = "",
    nodes: int = NODES,
) -> Levels:
    """Modes as given, checked, compressed beyond a thousand, with the levels of a tail behind them.

    `nodes` for each factor e: 15 serve a real kappa, complex ones need more since poles are nearer; 0 keeps all modes.

    Errors: `BadData` for shapes, signs, numbers that are not finite, and a kernel without a positive eigenvalue.

    >>> many = levels(np.arange(1.0, 1e5) ** -1.5)
    >>> print(len(many.eigenvalues) < 300, many.modes, round(many.trace / (np.arange(1.0, 1e5) ** -1.5).sum(), 14))
    True 99999.0 1.0
    """
    lam = numbers(eigenvalues, "eigenvalues", where).ravel()
    power = np.zeros_like(lam) if power is None else numbers(power, "power", where).ravel()
    count = np.ones_like(lam) if multiplicities is None else numbers(multiplicities, "multiplicities", where).ravel()
    if not len(lam) == len(power) == len(count):
        raise BadData(
            f"{len(lam)} eigenvalues, {len(power)} powers, {len(count)} multiplicities",
            where=where,
            remedy="give one of each per level",
        )
    for name, array in (("eigenvalues", lam), ("power", power), ("multiplicities", count)):
        wrong = ~(np.isfinite(array) & (array >= 0))
        if wrong.any():
            bad = int(np.argmax(wrong))
            raise BadData(f"{name} holds {array[bad]} at mode {bad}", where=where, remedy="give values >= 0")
    used = lam > 0
    if not used.any():
        raise BadData("no eigenvalue is positive", where=where, remedy="check the spectrum")
    lost = float(power[~used].sum())  # power in the kernel's null space is never learned
    if not used.all():
        lam, power, count = lam[used], power[used], count[used]
    modes, total = float(count.sum()), float(power.sum()) + lost
    if nodes and len(lam) > COMPRESS:
        lam, power, count = _compressed(lam, power, count, nodes)
    if tail is not None:
        more = tail.levels()
        lam, count, power = (np.concatenate(pair) for pair in zip((lam, count, power), more, strict=True))
        modes, total = modes + float(more[1].sum()), total + float(more[2].sum())
    return Levels(lam, count, power, lost, modes, total)


def sizes(given: Any, where: str, name: str = "sizes") -> np.ndarray:
    """Numbers of samples or features (T,) as given, all positive. Errors: `BadData`.

    >>> sizes([1, 10], "learning curve")
    array([ 1., 10.])
    """
    found = np.atleast_1d(numbers(given, name, where))
    if found.ndim != 1 or not found.size or not (found > 0).all():
        raise BadData(f"{name} {given}", where=where, remedy=f"give {name} > 0 as a list")
    return found


def lowest(lam: np.ndarray, count: np.ndarray, modes: float, most: float) -> float:
    """A lower bound of the logarithm of kappa with sum L = `most`, below the number of modes."""
    with np.errstate(over="ignore"):
        bounds = [np.log(modes - most) - np.log(np.abs((count / lam).sum()))]
    if 2 * most <= modes:
        order = np.argsort(-lam)
        rank = int(np.searchsorted(np.maximum.accumulate(np.cumsum(count[order])), 2 * most))
        bounds.append(float(np.log(lam[order][min(rank, len(lam) - 1)])) - 1)
    return max(bound for bound in bounds if np.isfinite(bound))


def _compressed(lam, power, count, nodes):
    """The same sums from few levels: Chebyshev nodes in log lambda, cell by cell, with weights of either sign."""
    if (np.diff(lam) > 0).any():
        order = np.argsort(-lam, kind="stable")
        lam, power, count = lam[order], power[order], count[order]
    depth = np.log(lam[0]) - np.log(lam)
    starts = np.flatnonzero(np.diff(np.floor(depth), prepend=-1.0))
    roots = np.cos(np.pi * (np.arange(nodes) + 0.5) / nodes)
    basis = np.cos(np.outer(np.arange(nodes), np.arccos(roots)))  # Chebyshev polynomials at their nodes
    basis[1:] *= 2
    parts = []
    for first, last in zip(starts, np.append(starts[1:], len(lam)), strict=True):
        measures = np.stack([power[first:last], count[first:last]], axis=1)
        if last - first <= nodes:
            parts.append((lam[first:last], measures))
            continue
        cell = np.floor(depth[first])
        moments = np.zeros((nodes, 2))
        for start in range(first, last, BLOCK):
            z = 2 * (depth[start : min(start + BLOCK, last)] - cell) - 1
            polynomials = np.empty((nodes, len(z)))
            polynomials[0], polynomials[1] = 1.0, z
            for degree in range(2, nodes):
                polynomials[degree] = 2 * z * polynomials[degree - 1] - polynomials[degree - 2]
            moments += polynomials @ measures[start - first : start - first + len(z)]
        parts.append((lam[0] * np.exp(-(cell + (roots + 1) / 2)), basis.T @ moments / nodes))
    measures = np.concatenate([part[1] for part in parts])
    return np.concatenate([part[0] for part in parts]), measures[:, 0], measures[:, 1]
