"""Speed of one-pass SGD on random features: any number of steps at once, without a draw, and against plain iteration.

Run it as `python tests/benchmarks/bench_power_law_features.py`. The peer iterates the same recursion of second moments
in NumPy, two vector operations a step, as published notebooks do; its time is measured on fewer steps and scaled. All
is timed in one process after import, best of three. A draw needs the eigenvalues of d features; its losses at 197 steps
up to 1e7 come from one secular equation, beside which `eigh` of diagonal plus rank one is timed.
"""

import time

import numpy as np

from learning_mechanics.solvers.scaling.one_pass.deterministic_equivalent import equivalent_descent
from learning_mechanics.solvers.scaling.one_pass.feature_spectrum import drawn_spectrum
from learning_mechanics.solvers.scaling.one_pass.random_feature_descent import descend
from learning_mechanics.solvers.scaling.one_pass.volterra import resolved
from learning_mechanics.solvers.scaling.power_law_features import power_law_features

STEPS = np.unique(np.round(np.geomspace(1, 1e7, 220)))


def best(call, repeats: int = 3) -> float:
    """Seconds of the fastest of a few calls."""
    times = []
    for _ in range(repeats):
        start = time.perf_counter()
        call()
        times.append(time.perf_counter() - start)
    return min(times)


def iterated(spectrum, rate: float, steps: int) -> float:
    """The loss after `steps` steps of the recursion, one by one."""
    x, y, floor = spectrum.eigenvalues, spectrum.power.copy(), spectrum.unresolved
    kept, kernel = 1 - 2 * rate * x + 2 * (rate * x) ** 2, (rate * x) ** 2
    for _ in range(steps):
        y = kept * y + kernel * (y.sum() + floor)
    return (y.sum() + floor) / 2


def case(width: int, alpha: float = 0.9, beta: float = 0.6, few: int = 20_000) -> dict[str, float]:
    """Seconds of every route at one width, and the largest difference from plain iteration after `few` steps."""
    problem = power_law_features(alpha, beta)
    lam, power = problem.spectrum(width)
    rate = problem.rate(width)
    spectrum = drawn_spectrum(lam, power, width)
    root = rate * spectrum.eigenvalues
    rates = 2 * root - 2 * root**2
    naive = best(lambda: iterated(spectrum, rate, few), 1) * STEPS[-1] / few
    return {
        "draw": best(lambda: drawn_spectrum(lam, power, width)),
        "losses": best(lambda: descend(spectrum, STEPS, rate)),
        "poles": best(lambda: resolved(rates, root**2)),
        "eigh": best(lambda: np.linalg.eigh(np.diag(rates) - np.outer(root, root))),
        "equivalent": best(lambda: equivalent_descent(lam, power, width, STEPS, rate)),
        "iterated": naive,
        "difference": abs(descend(spectrum, [few], rate).loss[0] / iterated(spectrum, rate, few) - 1),
    }


if __name__ == "__main__":
    for width in (200, 560, 1120):
        found = case(width)
        exact = found["draw"] + found["losses"]
        print(
            f"d = {width}: a draw {found['draw']:.3f} s + losses at {len(STEPS)} steps to 1e7 {found['losses']:.3f} s; "
            f"iterated {found['iterated']:.0f} s: ratio {found['iterated'] / exact:.0f}x; poles {found['poles']:.3f} s "
            f"against eigh {found['eigh']:.3f} s; equivalent {found['equivalent']:.3f} s, as much as "
            f"{found['equivalent'] / exact:.2f} draws; difference from iteration {found['difference']:.1e}"
        )
