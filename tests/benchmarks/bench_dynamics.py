"""Speed and digits of errors in time: 1e5 modes x 100 times, and against what one would do without the equivalent.

Run it as `python tests/benchmarks/bench_dynamics.py`. Peers, timed in one process after import, best of three:
  draws     mean over draws of samples and features, each diagonalised (300 modes, P = 60, N = 120): the time to the
            accuracy that the equivalent has, 1 %, from the scatter of the draws
  generic   the same draws, each by SciPy's LSODA on its flow in 300 directions instead of by its eigenvalues
  mpmath    `invertlaplace` of the same transform, time by time (population flow, 20 modes)
"""

import time

import mpmath
import numpy as np
from scipy.integrate import solve_ivp

from learning_mechanics.solvers.regression.levels import levels
from learning_mechanics.solvers.scaling.dynamics import dynamics
from learning_mechanics.solvers.scaling.frequencies import frequencies


def power_law(modes: int):
    k = np.arange(1.0, modes + 1)
    return k**-1.3, k**-2.2


def draw(lam, power, times, samples, features, seed):
    """Test errors (T,) of gradient flow on one draw, by diagonalisation."""
    rng = np.random.default_rng(seed)
    target = np.sqrt(power / lam)
    x = rng.standard_normal((samples, len(lam))) * np.sqrt(lam)
    mixture = rng.standard_normal((features, len(lam))) / np.sqrt(features)
    phi = x @ mixture.T
    speed, basis = np.linalg.eigh(phi @ phi.T / samples)
    projected, errors = basis.T @ (x @ target), []
    for t in times:
        moved = -np.expm1(-speed * t) / speed
        learned = mixture.T @ (phi.T @ (basis @ (moved * projected))) / samples
        errors.append((lam * (target - learned) ** 2).sum())
    return np.array(errors)


def integrated(lam, power, times, samples, features, seed):
    """The same by a general solver of ordinary differential equations."""
    rng = np.random.default_rng(seed)
    target = np.sqrt(power / lam)
    x = rng.standard_normal((samples, len(lam))) * np.sqrt(lam)
    mixture = rng.standard_normal((features, len(lam))) / np.sqrt(features)

    def velocity(_, v):
        return -(mixture.T @ (mixture @ (x.T @ (x @ v)))) / samples

    solution = solve_ivp(velocity, (0, times[-1]), target, method="LSODA", t_eval=times, rtol=1e-6, atol=1e-9)
    return (lam[:, None] * solution.y**2).sum(0)


def best(function, repeats: int = 3) -> float:
    found = []
    for _ in range(repeats):
        start = time.perf_counter()
        function()
        found.append(time.perf_counter() - start)
    return min(found)


def high_precision(lam, power, times, features):
    """Population flow by mpmath: the root is polished at every frequency, from the one found in double precision."""
    weights = [mpmath.mpf(float(v)) for v in power]
    rates = [mpmath.mpf(float(x)) for x in lam]

    def transform(s):
        upper = complex(s) if s.imag >= 0 else complex(s).conjugate()
        start = frequencies(levels(lam), np.array([[upper]]), np.zeros(1), np.array([1 / features])).kappa[0, 0]
        start = start if s.imag >= 0 else start.conjugate()
        kappa = mpmath.findroot(
            lambda k: k * (1 - sum(x / (x + k) for x in rates) / features) - s, mpmath.mpmathify(complex(start))
        )
        return sum(v * kappa / (x + kappa) for v, x in zip(weights, rates, strict=True)) / s

    return np.array([float(mpmath.invertlaplace(transform, 2 * t, method="talbot", degree=20).real) for t in times])


def main() -> None:
    lam, power = power_law(100_000)
    times = np.geomspace(1, 1e8, 100)
    for name, given in (
        ("infinite", {}),
        ("features", {"features": 3000}),
        ("samples and features", {"samples": 1000, "features": 3000}),
    ):
        seconds = best(lambda given=given: dynamics(lam, power, times, **given))
        error = dynamics(lam, power, times, **given).error.max()
        print(f"1e5 modes x 100 times, {name:<22} {seconds:7.3f} s, numerical error {error:.0e}")

    lam, power = power_law(300)
    times = np.geomspace(0.3, 3e3, 20)
    ours = best(lambda: dynamics(lam, power, times, samples=60, features=120))
    single = best(lambda: draw(lam, power, times, 60, 120, 0))
    errors = np.array([draw(lam, power, times, 60, 120, seed) for seed in range(200)])
    found = dynamics(lam, power, times, samples=60, features=120).test
    scatter = (errors.std(0) / errors.mean(0)).max()
    needed = (scatter / 0.01) ** 2
    print(f"equivalent {ours:.4f} s; largest difference from 200 draws {np.abs(errors.mean(0) / found - 1).max():.1%}")
    print(f"draws      {single:.4f} s each, {needed:.0f} of them for 1 %: {needed * single / ours:.0f} times slower")
    generic = best(lambda: integrated(lam, power, times[:14], 60, 120, 0), 1)
    print(f"generic    {generic:.2f} s a draw (14 of the 20 times): {needed * generic / ours:.0f} times slower")

    lam, power = power_law(20)
    times = np.array([0.3, 10.0, 300.0])
    with mpmath.workdps(30):
        start = time.perf_counter()
        exact = high_precision(lam, power, times, 8)
        took = time.perf_counter() - start
    found = dynamics(lam, power, times, features=8)
    print(
        f"mpmath     {took:.2f} s for 3 times; largest relative difference {np.abs(found.test / exact - 1).max():.0e}"
    )
    print(f"           our estimate of it {(found.error / found.test).max():.0e}")


if __name__ == "__main__":
    main()
