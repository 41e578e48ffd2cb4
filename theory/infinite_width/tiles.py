"""Large symmetric or rectangular matrices, computed block by block on threads, with the bytes said before the work.

    bytes = outputs + threads x (arrays alive in a block) x block

A symmetric matrix takes the blocks on and above the diagonal, and mirrors them. Blocks have the same size whatever
the number of threads, so results are bitwise the same; NumPy releases the interpreter inside every operation.

>>> print(plan(2000, None, outputs=2, threads=2))
2 matrices 2000 x 2000 in 28 blocks of 313 x 313: 61 MB of results, 15 MB of work on 2 threads
"""

import os
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from functools import cache

import numpy as np

from ..errors import BadData

# of a block: large enough that threads seldom wait for the interpreter, small enough for the cache they share
ENTRIES = 3 << 15
SHARE = 0.5  # of the physical memory is the limit unless another is stated


@dataclass(frozen=True)
class Plan:
    """How a matrix is cut into blocks, and what that takes: print it before the work."""

    rows: int
    columns: int
    symmetric: bool
    outputs: int
    block: tuple[int, int]
    threads: int
    result_bytes: int
    work_bytes: int
    limit: int

    @property
    def bytes(self) -> int:
        """Results and work together, without the inputs."""
        return self.result_bytes + self.work_bytes

    def blocks(self) -> Iterator[tuple[slice, slice]]:
        """Rows and columns of every block; of a symmetric matrix those on and above the diagonal."""
        height, width = self.block
        for i in range(0, self.rows, height):
            for j in range(i if self.symmetric else 0, self.columns, width):
                yield slice(i, min(i + height, self.rows)), slice(j, min(j + width, self.columns))

    def check(self) -> None:
        """Errors: `BadData` where the plan takes more than its limit."""
        if self.bytes > self.limit:
            raise BadData(
                f"{self}, more than the limit of {_size(self.limit)}",
                where="kernel matrix",
                remedy="take fewer samples or one kernel, write into out= (memory maps), or raise memory=",
            )

    def __str__(self) -> str:
        height, width = self.block
        name = "matrix" if self.outputs == 1 else "matrices"
        return (
            f"{self.outputs} {name} {self.rows} x {self.columns} in {sum(1 for _ in self.blocks())} blocks of "
            f"{height} x {width}: {_size(self.result_bytes)} of results, {_size(self.work_bytes)} of work "
            f"on {self.threads} threads"
        )


def plan(
    rows: int,
    columns: int | None,
    *,
    outputs: int = 1,
    entry: int = 1,
    alive: int = 10,
    threads: int = 1,
    limit: int | None = None,
    given: bool = False,
) -> Plan:
    """Blocks for a matrix (rows, columns), or a symmetric one if `columns` is None.

    `entry`  numbers kept for every entry of the matrix (pairs of positions), `alive` arrays of a block at a time
    `given`  whether the memory of the results is the caller's; `limit` in bytes, half of the physical memory if None
    """
    symmetric, columns = columns is None, rows if columns is None else columns
    side = max(1, int(np.sqrt(ENTRIES / entry)))
    block = (side, side) if symmetric else (min(side, max(1, rows)), side)
    work = threads * alive * block[0] * block[1] * entry * 8
    results = 0 if given else outputs * rows * columns * 8
    return Plan(rows, columns, symmetric, outputs, block, threads, results, work, _limit(limit))


def fill(plan: Plan, compute: Callable[[slice, slice], Sequence[np.ndarray]], results: Sequence[np.ndarray]) -> None:
    """Write compute(rows, columns) of every block into the results, one array each."""

    def one(block: tuple[slice, slice]) -> None:
        rows, columns = block
        for made, result in zip(compute(rows, columns), results, strict=True):
            if plan.symmetric and rows == columns:
                made = np.triu(made)
                made += np.triu(made, 1).T
            result[rows, columns] = made
            if plan.symmetric and rows != columns:
                result[columns, rows] = made.T

    blocks = list(plan.blocks())
    with nullcontext() if len(blocks) < 2 else _one_thread_a_product():
        if plan.threads == 1 or len(blocks) < 2:
            for block in blocks:
                one(block)
            return
        with ThreadPoolExecutor(plan.threads) as pool:
            for _ in pool.map(one, blocks):
                pass


@cache
def _controller():
    """The linear algebra libraries that are loaded; None if they cannot be asked."""
    try:
        from threadpoolctl import ThreadpoolController
    except ImportError:
        return None
    return ThreadpoolController()


def _one_thread_a_product() -> AbstractContextManager:
    """Matrix products inside of blocks start no threads of their own, which would wait for one another."""
    controller = _controller()
    return nullcontext() if controller is None else controller.limit(limits=1, user_api="blas")


def processors() -> int:
    """Processors this process may run on."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _limit(limit: int | None) -> int:
    if limit is not None:
        return int(limit)
    try:
        return int(SHARE * os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"))
    except (AttributeError, ValueError, OSError):
        return 1 << 33


def _size(count: int) -> str:
    for unit, scale in (("TB", 1 << 40), ("GB", 1 << 30), ("MB", 1 << 20)):
        if count >= scale:
            return f"{count / scale:.0f} {unit}" if count >= 10 * scale else f"{count / scale:.1f} {unit}"
    return f"{-(-count // 1024)} kB"
