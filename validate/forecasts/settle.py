"""Settle a registered forecast: regressions on the rows it never saw, as many as a budget of seconds allows.

Training sets are drawn anew for every run; the largest sizes are left out where even three runs of them do not fit
into the budget, and the score then speaks of the sizes that were run.
"""

import time
from collections.abc import Callable

import numpy as np

from ...theory.dataset import Dataset
from ...theory.errors import BadData, Underpowered
from ..tasks.measured import Measured
from ..tasks.regressions import measure_samples
from ..tasks.tasks import halves
from .question import LEAST_SIZES, LEAST_SPAN, fingerprint
from .registered import Registered
from .score import Score, score

LEAST_RUNS, MOST_RUNS = 3, 48
SLOW = 2e9  # sizes cubed that a slow core solves in a second
PILOT = 2**20  # a run of its own, not among those that count
SOLVE = 1e-8  # ridge of runs that are asked about without one, relative to kernels of order one


def settle(
    forecast: Registered,
    data: Dataset,
    kernel: Callable,
    budget: float = 60.0,
    seed: int = 0,
    progress: Callable[[float], None] | None = None,
    most: int = MOST_RUNS,
) -> Score:
    """Run what the forecast spoke of and score it; the forecast itself is only read.

    `data` must be those of the question, row by row. `seed` draws the training sets. Errors: `BadData` for other data,
    `Underpowered` if not even the smallest sizes can be run three times within `budget` seconds.
    """
    found = fingerprint(data)
    if found != forecast.question["sha256"]:
        raise BadData(
            f"SHA-256 {found[:12]}, but the forecast was made for {forecast.question['sha256'][:12]}",
            where=data.name,
            remedy="give the data as they were, or register a forecast for these",
        )
    kept = ~halves(data, forecast.question["seed"])
    x, y = data.x[kept], data.y[kept]
    groups = None if data.groups is None else data.groups[kept]
    ridge = forecast.question["ridge"] or SOLVE

    started = time.perf_counter()
    gram = kernel(x)  # all runs share it

    def run(sizes: np.ndarray, trials: int, first: int) -> Measured:
        drawn = hash_seed(forecast.hash, seed, first)
        return measure_samples(lambda _: gram, x, y, sizes, ridge=ridge, trials=trials, seed=drawn, groups=groups)

    sizes = _affordable(np.asarray(forecast.question["sizes"], float), budget, run)
    begun = time.perf_counter()
    values = run(sizes, LEAST_RUNS, 0).values
    each = max((time.perf_counter() - begun) / LEAST_RUNS, 1e-3)
    while len(values) < most and time.perf_counter() - started + each * LEAST_RUNS < budget:
        values = np.concatenate([values, run(sizes, LEAST_RUNS, len(values)).values])
        if progress is not None:
            progress(min(1.0, max(len(values) / most, (time.perf_counter() - started) / budget)))
    seconds = time.perf_counter() - started
    procedure = f"{len(values)} runs of {forecast.question['learner']}, on rows the forecast never saw"
    return score(forecast, Measured("samples", sizes, values, procedure, seconds), seed=seed)


def hash_seed(text: str, *numbers: int) -> int:
    """A seed of its own for every forecast and run, so that no two share training sets.

    >>> hash_seed("00ff" * 16, 1, 2) != hash_seed("00ff" * 16, 1, 3)
    True
    """
    return int(np.random.SeedSequence([int(text[:8], 16), *numbers]).generate_state(1)[0])


def _affordable(sizes: np.ndarray, budget: float, run: Callable) -> np.ndarray:
    """The sizes of which three runs fit into the budget, going by one at the smallest sizes and a slow processor."""
    started = time.perf_counter()
    run(sizes[:LEAST_SIZES], 1, PILOT)
    pilot = time.perf_counter() - started
    needed = LEAST_RUNS * (pilot + sizes**3 / SLOW)
    for count in range(len(sizes), LEAST_SIZES - 1, -1):
        if needed[count - 1] <= budget and sizes[count - 1] >= LEAST_SPAN * sizes[0]:
            return sizes[:count]
    raise Underpowered(
        f"{LEAST_RUNS} runs of {sizes[LEAST_SIZES - 1]:g} samples may take {needed[LEAST_SIZES - 1]:.2g} s, "
        f"and {budget:g} s are given",
        where="settle",
        remedy="raise --budget",
    )
