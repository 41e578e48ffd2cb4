"""CPU time of 4000 bootstrap fits of a loss surface, against a loop of SciPy's BFGS with numerical gradients.

    python tests/benchmarks/bench_loss_surface.py

    240 runs, Huber's function cut off at 0.001, started at the fit of all runs; the peers are timed on 40 samples

The bar: at least 20 times less than BFGS with numerical gradients, with standard errors within 2 % of those of fits
driven on until no step lowers the objective.
"""

import time

import numpy as np
from scipy.optimize import minimize

from learning_mechanics.solvers.loss_surface.robust_fit import centred, fit
from learning_mechanics.solvers.loss_surface.runs import Runs
from learning_mechanics.solvers.loss_surface.surface_fit import bootstrapped, constants, point

DELTA, SAMPLES, TIMED = 1e-3, 4000, 40


def table() -> Runs:
    """Nine budgets, 240 runs, 0.5 % of noise."""
    rng = np.random.default_rng(0)
    compute = np.repeat(np.geomspace(6e18, 3e21, 9), 27)[:240]
    n = np.sqrt(compute / 120) * 10 ** rng.uniform(-0.7, 0.7, 240)
    d = compute / 6 / n
    return Runs(n, d, (1.8 + 480 * n**-0.35 + 2000 * d**-0.37) * np.exp(0.005 * rng.standard_normal(240)))


def seconds(work) -> tuple[float, object]:
    """CPU time of a function, and what it gave."""
    start = time.process_time()
    found = work()
    return time.process_time() - start, found


def peer(runs: Runs, counts: np.ndarray, start: np.ndarray, gradient: bool):
    """The published way: BFGS on a, b, e, alpha, beta, one sample after the other."""
    log_n, log_d, log_l = (np.log(x) for x in (runs.parameters, runs.tokens, runs.loss))

    def terms(theta):
        a, b, e, alpha, beta = theta
        return np.stack([a - alpha * log_n, b - beta * log_d, np.full(len(log_l), e)])

    def value(theta, weight):
        r = log_l - np.logaddexp.reduce(terms(theta), axis=0)
        inside = np.clip(r, -DELTA, DELTA)
        return float(weight @ (inside * (r - 0.5 * inside)))

    def slope(theta, weight):
        parts = terms(theta)
        total = np.logaddexp.reduce(parts, axis=0)
        p = np.exp(parts - total) * (weight * np.clip(log_l - total, -DELTA, DELTA))
        return -np.array([p[0].sum(), p[1].sum(), p[2].sum(), -p[0] @ log_n, -p[1] @ log_d])

    with np.errstate(all="ignore"):
        return [minimize(value, start, (row,), jac=slope if gradient else None, method="BFGS").x for row in counts]


def main() -> None:
    """Print one line per method."""
    runs = table()
    design, log_loss, counts = centred(runs.parameters, runs.tokens), np.log(runs.loss), runs.counts(SAMPLES, 42)
    theta, *_ = point(design, runs.loss, DELTA)
    times = [seconds(lambda: bootstrapped(runs, design, theta, DELTA, SAMPLES, 42)) for _ in range(3)]
    ours, (drawn, done) = sorted(times, key=lambda item: item[0])[1]
    start = np.repeat(theta[None], SAMPLES, 0)
    slow, _, _ = fit(design, log_loss, counts, start, delta=DELTA, steps=1000, tolerance=0.0)
    errors = constants(drawn, design).std(0) / constants(slow, design).std(0) - 1
    e, a, b, alpha, beta = theta
    plain = np.array([a + alpha * design.centre[0], b + beta * design.centre[1], e, alpha, beta])
    print(f"batched: {ours:.2f} s for {SAMPLES}, {done.mean():.1%} converged; s.e. off by {np.abs(errors).max():.1e}")
    for name, gradient in (("numerical gradients", False), ("exact gradients", True)):
        spent, _ = seconds(lambda gradient=gradient: peer(runs, counts[:TIMED], plain, gradient))
        print(
            f"SciPy BFGS, {name}: {spent * SAMPLES / TIMED:.1f} s, {spent * SAMPLES / TIMED / ours:.0f} times as long"
        )


if __name__ == "__main__":
    main()
