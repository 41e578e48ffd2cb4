"""Speed of enumerating the largest products of covariance eigenvalues, against a heap of multi-indices in Python.

Run it as `python tests/benchmarks/bench_hermite_modes.py`. Figures are CPU seconds of one process; the heap pushes the
successors of every monomial it pops, as published code for this ansatz does, and stops at the same number of modes.
"""

import heapq
import time

import numpy as np

from learning_mechanics.theory.hermite.hermite_eigenstructure import level_logarithms
from learning_mechanics.theory.hermite.hermite_modes import rest_in_bins, top_modes
from learning_mechanics.theory.hermite.level_coefficients import level_coefficients
from learning_mechanics.theory.regression.kernels import laplace, ntk, rbf

MODES, HEAP_MODES, DIMENSION, CAPACITY = 1_000_000, 100_000, 64, 1.2


def by_heap(log_gamma: np.ndarray, log_levels: np.ndarray, count: int) -> np.ndarray:
    """The `count` largest logarithms, one by one: each monomial has one parent, so none is met twice."""
    gamma = log_gamma.tolist()
    heap = [(-value - level * gamma[0], (0,) * level) for level, value in enumerate(log_levels) if np.isfinite(value)]
    heapq.heapify(heap)
    found = []
    while heap and len(found) < count:
        value, chosen = heapq.heappop(heap)
        found.append(-value)
        # the parent of a multiset has its first factor above 0 one lower: so its children raise that one, or the last 0
        first = next((place for place, factor in enumerate(chosen) if factor), len(chosen))
        for place in (first - 1, first):
            if not 0 <= place < len(chosen):
                continue
            raised = chosen[place] + 1
            if raised < len(gamma) and (place == len(chosen) - 1 or raised <= chosen[place + 1]):
                moved = (*chosen[:place], raised, *chosen[place + 1 :])
                heapq.heappush(heap, (value + gamma[raised - 1] - gamma[raised], moved))
    return np.array(found)


def measure() -> list[dict]:
    gamma = np.arange(1.0, DIMENSION + 1) ** -CAPACITY
    gamma /= gamma.sum()
    records = []
    for name, kernel in (("gaussian", rbf(1.0)), ("laplace", laplace(1.0)), ("ntk, 3 layers", ntk(3))):
        logs = level_logarithms(level_coefficients(kernel, 1.0), gamma)
        began = time.process_time()
        modes = top_modes(np.log(gamma), logs, MODES)
        enumerated = time.process_time() - began
        began = time.process_time()
        rest_in_bins(np.log(gamma), logs, modes)
        binned = time.process_time() - began
        began = time.process_time()
        heap = by_heap(np.log(gamma), logs, HEAP_MODES)
        popped = (time.process_time() - began) * MODES / HEAP_MODES
        gap = float(np.abs(heap - modes.log_eigenvalues[:HEAP_MODES]).max())
        records.append({"name": name, "enumerated": enumerated, "binned": binned, "heap": popped, "gap": gap})
    return records


if __name__ == "__main__":
    print(f"{MODES} modes of {DIMENSION} components; the heap's time is that of {HEAP_MODES}, in proportion")
    print(f"{'kernel':<16}{'enumerated':>12}{'rest in bins':>14}{'heap':>10}{'ratio':>8}{'gap':>10}")
    for r in measure():
        ratio = r["heap"] / r["enumerated"]
        times = f"{r['enumerated']:>12.2f}{r['binned']:>14.2f}{r['heap']:>10.1f}"
        print(f"{r['name']:<16}{times}{ratio:>8.1f}{r['gap']:>10.1e}")
