"""Speed and digits of the learning curve: 1e5 modes x 100 sample sizes, against a SciPy bisection per sample size.

Run it as `python tests/benchmarks/bench_learning_curve.py`. The bisection brackets kappa in [1e-25, 1e10], as published
codes do, and evaluates the same sums; both are timed in one process after import, best of three. SciPy's tolerance of a
root is absolute (2e-12): where kappa itself is that small the bisection is wrong, not only slow (`small_ridges`).
"""

import time

import mpmath
import numpy as np
from scipy.optimize import bisect

from learning_mechanics.solvers.learning_curve import learning_curve
from learning_mechanics.solvers.regression.random_features import random_features


def spectrum(modes: int = 100_000):
    """lambda_k = k^-1.5 with unit trace, target power k^-1.7 with unit sum."""
    k = np.arange(1.0, modes + 1)
    return k**-1.5 / (k**-1.5).sum(), k**-1.7 / (k**-1.7).sum()


def by_bisection(lam, power, sizes, ridge, noise):
    """Effective ridges and test errors (T,), one SciPy bisection a sample size."""
    ridges, test = [], []
    for n in sizes:
        kappa = bisect(lambda k, n=n: (lam / (lam + k)).sum() + ridge / k - n, 1e-60, 1e10, maxiter=1000)
        learned = lam / (lam + kappa)
        ridges.append(kappa)
        test.append(n / (n - (learned**2).sum()) * (((1 - learned) ** 2 * power).sum() + noise))
    return np.array(ridges), np.array(test)


def by_mpmath(lam, power, n, ridge, noise, start, digits: int = 40):
    """Effective ridge and test error at one size to 30 digits: Newton from `start` on all modes, one by one."""
    with mpmath.workdps(digits):
        lam, power = [mpmath.mpf(float(x)) for x in lam], [mpmath.mpf(float(x)) for x in power]
        kappa, n, ridge, noise = (mpmath.mpf(float(x)) for x in (start, n, ridge, noise))
        for _ in range(8):
            shares = [x / (x + kappa) for x in lam]
            gap = mpmath.fsum(shares) + ridge / kappa - n
            step = gap / (mpmath.fsum(s * (1 - s) for s in shares) + ridge / kappa)
            kappa *= mpmath.exp(step)
            if abs(step) < mpmath.mpf(10) ** -30:
                break
        shares = [x / (x + kappa) for x in lam]
        bias = mpmath.fsum((1 - s) ** 2 * v for s, v in zip(shares, power, strict=True)) + noise
        return float(kappa), float(n / (n - mpmath.fsum(s * s for s in shares)) * bias)


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
    slow = by_bisection(lam, power, sizes[some], 1e-3, 0.1)[1]
    theirs = (time.perf_counter() - start) * count / bisected
    return {
        "seconds": min(ours),
        "seconds_bisection": theirs,
        "ratio": theirs / min(ours),
        "largest_difference": float(np.abs(curve.test[some] / slow - 1).max()),
    }


def digits(modes: int = 100_000, at=(0, 99)) -> float:
    """Largest relative error of kappa and test error of the case above, against 30-digit sums over all modes."""
    lam, power = spectrum(modes)
    sizes = np.geomspace(10, modes / 10, 100)
    curve = learning_curve(lam, power, sizes, ridge=1e-3, noise=0.1)
    worst = 0.0
    for i in at:
        kappa, test = by_mpmath(lam, power, sizes[i], 1e-3, 0.1, curve.kappa[i])
        worst = max(worst, abs(curve.kappa[i] / kappa - 1), abs(curve.test[i] / test - 1))
    return worst


def small_ridges(modes: int = 20_000) -> list[dict[str, float]]:
    """No ridge and steep spectra k^-capacity at n = 1000: kappa down to 1e-30, our errors and the bisection's."""
    k = np.arange(1.0, modes + 1)
    found = []
    for capacity in (3.0, 4.0, 6.0, 10.0):
        lam, power = k**-capacity, k**-2.0
        curve = learning_curve(lam, power, [1000.0])
        kappa, test = by_mpmath(lam, power, 1000, 0, 0, curve.kappa[0])
        bisected, wrong = by_bisection(lam, power, [1000.0], 0.0, 0.0)
        found.append(
            {
                "capacity": capacity,
                "kappa": kappa,
                "ours": max(abs(curve.kappa[0] / kappa - 1), abs(curve.test[0] / test - 1)),
                "bisection_kappa": abs(bisected[0] / kappa - 1),
                "bisection_test": abs(wrong[0] / test - 1),
            }
        )
    return found


def pairs(modes: int = 100_000, count: int = 100) -> float:
    """Seconds of random features for count x count pairs of samples and features."""
    lam, power = spectrum(modes)
    numbers = np.geomspace(10, modes / 10, count)
    start = time.perf_counter()
    random_features(lam, power, numbers, numbers, ridge=1e-3, noise=0.1)
    return time.perf_counter() - start


if __name__ == "__main__":
    found = ratio()
    print(
        f"learning curve, 1e5 modes x 100 sizes: {found['seconds']:.4f} s; SciPy bisection per size "
        f"{found['seconds_bisection']:.2f} s; ratio {found['ratio']:.0f}x (required 40x); "
        f"largest relative difference {found['largest_difference']:.1e}"
    )
    print(f"against 30-digit sums over all modes: {digits():.1e} (required 1e-12)")
    for case in small_ridges():
        print(
            f"capacity {case['capacity']:g}: kappa = {case['kappa']:.2e}, relative error {case['ours']:.1e}; "
            f"SciPy bisection {case['bisection_kappa']:.1e} in kappa, {case['bisection_test']:.1e} in the test error"
        )
    print(f"random features, 1e5 modes x 100 x 100 pairs: {pairs():.3f} s")
