"""A table of finished training runs: model size, data size and final loss, checked once and for all.

compute = 6 N D  where none was measured;   D = compute / (6 N)  where tokens are not stored.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from ...theory.arguments import numbers, whole
from ...theory.errors import BadData

WHERE = "loss surface"
SMALLEST, LARGEST = 1e-75, 1e75  # squares and products of columns are taken
FEWEST = 7  # five unknowns and something left to judge them by


@dataclass(frozen=True, eq=False)
class Runs:
    """Finished runs; arrays are (runs,). `groups` marks points that belong to one run and are not independent."""

    parameters: np.ndarray
    tokens: np.ndarray
    loss: np.ndarray
    groups: np.ndarray | None = None

    def __len__(self) -> int:
        return len(self.loss)

    @property
    def compute(self) -> np.ndarray:
        """6 N D flops, (runs,)."""
        return 6.0 * self.parameters * self.tokens

    def only(self, keep: np.ndarray) -> "Runs":
        """The runs at these places, or where a mask is true."""
        groups = None if self.groups is None else self.groups[keep]
        return Runs(self.parameters[keep], self.tokens[keep], self.loss[keep], groups)

    def highest(self, count: int) -> np.ndarray:
        """Places of the `count` runs of highest loss, highest first."""
        return np.argsort(-self.loss, kind="stable")[:count]

    def samples(self, repeats: int, seed: int, size: int) -> Iterator[np.ndarray]:
        """How often each run is drawn in every bootstrap sample, in parts of `size` samples: (size, runs).

        Whole groups are drawn where there are any. The generator is the one of the published refit (Besiroglu et al.
        2024, seed 42), so that on its runs every sample is the same as there: other seeds change standard errors of A
        and B by 2 to 10 %.
        """
        member = np.arange(len(self)) if self.groups is None else np.unique(self.groups, return_inverse=True)[1]
        blocks = int(member.max()) + 1
        generator = np.random.RandomState(seed)
        for low in range(0, repeats, size):
            count = min(size, repeats - low)
            drawn = generator.randint(0, blocks, size=(count, blocks)) + blocks * np.arange(count)[:, None]
            often = np.bincount(drawn.ravel(), minlength=count * blocks).reshape(count, blocks)
            yield often[:, member].astype(float)

    def counts(self, repeats: int, seed: int) -> np.ndarray:
        """All of them at once, (repeats, runs)."""
        return next(self.samples(repeats, seed, repeats))

    def to_dict(self) -> dict[str, Any]:
        made = {"parameters": self.parameters.tolist(), "tokens": self.tokens.tolist(), "loss": self.loss.tolist()}
        return made | ({} if self.groups is None else {"groups": self.groups.tolist()})


def runs(
    parameters: Any, tokens: Any, loss: Any, groups: Sequence | np.ndarray | None = None, where: str = WHERE
) -> Runs:
    """Checked columns of equal length. Raises `BadData`.

    >>> runs([1e7, 1e8], [1e9, 1e9], [3.0, -0.1])
    Traceback (most recent call last):
    ...
    learning_mechanics.theory.errors.BadData: loss surface: loss -0.1 at row 1 is not above zero, so it is no \
cross-entropy and the law is not identifiable; give cross-entropies in nats
    """
    given = {"parameters": parameters, "tokens": tokens, "loss": loss}
    columns = {name: numbers(column, name, where) for name, column in given.items()}
    for name, column in columns.items():
        if column.ndim != 1:
            raise BadData(
                f"{name} has shape {column.shape}", where=where, remedy="give one number for every run, shape (runs,)"
            )
        if len(column) != len(columns["loss"]):
            raise BadData(
                f"{len(column)} {name} but {len(columns['loss'])} losses", where=where, remedy="give one of each a run"
            )
        bad = np.flatnonzero(~np.isfinite(column))
        if len(bad):
            raise BadData(f"{name} holds {column[bad[0]]:g} at row {bad[0]}", where=where, remedy="drop that run")
        low = np.flatnonzero(column <= 0)
        if len(low) and name == "loss":
            raise BadData(
                f"loss {column[low[0]]:g} at row {low[0]} is not above zero, so it is no cross-entropy and the law is "
                "not identifiable",
                where=where,
                remedy="give cross-entropies in nats",
            )
        if len(low):
            raise BadData(
                f"{name} {column[low[0]]:g} at row {low[0]} is not above zero", where=where, remedy="drop that run"
            )
        far = np.flatnonzero((column < SMALLEST) | (column > LARGEST))
        if len(far):
            raise BadData(
                f"{name} {column[far[0]]:g} at row {far[0]} is beyond {SMALLEST:g} to {LARGEST:g}",
                where=where,
                remedy="check its units",
            )
    if groups is None:
        return Runs(**columns)
    named = np.asarray(groups)
    if named.shape != columns["loss"].shape:
        found = f"{named.size} groups but {len(columns['loss'])} losses"
        raise BadData(found, where=where, remedy="give one for every run")
    if named.dtype == object and any(name is None for name in named):
        raise BadData("a run without a group", where=where, remedy="name the group of every run")
    return Runs(**columns, groups=named)


def sizes(parameters: Any, tokens: Any, where: str = WHERE) -> tuple[np.ndarray, np.ndarray]:
    """Sizes to ask a law about, as pairs (T,), (T,): one number stands for all. Raises `BadData`.

    >>> sizes([1e7, 1e8], 1e9)
    (array([1.e+07, 1.e+08]), array([1.e+09, 1.e+09]))
    """
    n, d = (np.atleast_1d(numbers(given, "sizes", where)) for given in (parameters, tokens))
    if not all((np.isfinite(each) & (each > 0)).all() for each in (n, d)):
        raise BadData("a size that is not above zero", where=where, remedy="give finite parameters and tokens above 0")
    try:
        n, d = np.broadcast_arrays(n, d)
    except ValueError:
        found = f"{n.size} sizes of models and {d.size} of data"
        raise BadData(found, where=where, remedy="give one of each, or as many") from None
    return n.ravel(), d.ravel()


def checked_seed(given: Any, where: str = WHERE) -> int:
    """A seed that generators of bootstrap samples take. Raises `BadData`.

    >>> checked_seed(7)
    7
    """
    found = whole(given, "seed", where)
    if found >= 2**32:
        raise BadData(f"seed {found}", where=where, remedy="give one below 2**32")
    return found


def enough(table: Runs, where: str = WHERE) -> Runs:
    """The same runs, if five unknowns can be fitted to them. Raises `BadData`.

    >>> enough(runs([1e7, 1e8], [1e9, 1e9], [3.0, 2.8]))
    Traceback (most recent call last):
    ...
    learning_mechanics.theory.errors.BadData: loss surface: 2 runs for 5 unknowns, so the law is not identifiable; \
give at least 7 runs
    """
    different = len(np.unique(np.stack([table.parameters, table.tokens], 1), axis=0))
    for count, kind in ((len(table), "runs"), (different, "different settings")):
        if count < FEWEST:
            raise BadData(
                f"{count} {kind} for 5 unknowns, so the law is not identifiable",
                where=where,
                remedy=f"give at least {FEWEST} {kind}",
            )
    if np.ptp(table.loss) == 0:
        raise BadData(
            f"every loss is {table.loss[0]:g}, so the law is not identifiable", where=where, remedy="check that column"
        )
    if table.groups is not None and len(np.unique(table.groups)) < FEWEST:
        raise BadData(
            f"{len(np.unique(table.groups))} independent runs for 5 unknowns, so the law is not identifiable",
            where=where,
            remedy=f"give points of at least {FEWEST} runs",
        )
    return table


def dropped(table: Runs, drop: Any, where: str = WHERE) -> Runs:
    """Without the `drop` runs of highest loss. Raises `BadData`.

    >>> table = runs(np.geomspace(1e7, 1e9, 9), np.geomspace(1e9, 1e10, 9), np.linspace(4, 3, 9))
    >>> len(dropped(table, 2))
    7
    """
    count = whole(drop, "drop", where)
    if len(table) - count < FEWEST:
        raise BadData(
            f"dropping {count} of {len(table)} runs leaves {max(len(table) - count, 0)}",
            where=where,
            remedy=f"keep at least {FEWEST}",
        )
    keep = np.ones(len(table), bool)
    keep[table.highest(count)] = False
    return table.only(keep)
