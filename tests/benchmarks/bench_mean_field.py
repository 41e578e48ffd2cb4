"""Time of mean-field theory against what it replaces: full-horizon iteration, and training a wide network.

    python tests/benchmarks/bench_mean_field.py

Ten samples in twenty dimensions, linear teacher, 50 steps, one thread; ratios to the network of width 2000 trained
beside it (compiled, one run, drawing its weights included):

    recursion  `solvers.mean_field.deep_linear.descend`, residual on the whole horizon included
    iteration  the same equations by fixed-point iteration to 1e-10, on a horizon that grows by 5 steps at a time: over
               the whole horizon at once it diverges
    sampled    `solvers.mean_field.sampled.sample`, 8 x 2048 neurons, tanh

As measured on a machine shared with other work (ratios to the network of three weight matrices, itself 1.6 to 1.9 s):
recursion 0.013, residual 7e-16; iteration 0.33, in 435 sweeps, to the same outputs within 2e-10; sampled 3.5, that is
slower than one network but not limited to its width. 200 steps take 15 times as long as 50, and 400 steps ten times as
long as 200: the cost is cubic, as stated, once matrices leave the cache.
"""

import time

import numpy as np

from learning_mechanics.solvers.mean_field.arguments import directions_of
from learning_mechanics.solvers.mean_field.deep_linear import descend
from learning_mechanics.solvers.mean_field.sampled import sample
from learning_mechanics.theory.architecture.network import chain
from learning_mechanics.theory.dataset import Dataset
from learning_mechanics.theory.setup import Initialisation, Optimizer, Setup
from learning_mechanics.validate.experiments.train import train

DEPTH, RICHNESS, RATE = 3, 1.0, 0.6


def task():
    rng = np.random.default_rng(1)
    x = rng.standard_normal((10, 20))
    return x, x @ rng.standard_normal((20, 1)) / np.sqrt(20)


def iterated(x, y, steps: int, block: int = 5, tolerance: float = 1e-10) -> tuple[np.ndarray, int]:
    """Outputs and sweeps of fixed-point iteration on a horizon that grows block by block; one output, gamma = 1."""
    z, last = directions_of(x), steps + 1
    targets, shares, rank = z.T @ y[:, 0] / len(y), (z**2).sum(0) / len(y), z.shape[1]
    f_all, c_all = np.zeros((last, rank)), np.zeros((DEPTH, last, rank, last))
    e_all, G_all, sweeps = np.zeros((DEPTH, last, last)), np.ones((DEPTH + 1, last, last)), 0
    for stop in [*range(block, last, block), last]:
        f, c, e, G = f_all[:stop], c_all[:, :stop, :, :stop], e_all[:, :stop, :stop], G_all[:, :stop, :stop]
        past, identity = np.tri(stop, k=-1), np.eye(stop)
        for sweep in range(20 * block):
            left, before, sweeps = targets - shares * f, f.copy(), sweeps + 1
            k, flows_up = np.broadcast_to(left.T, (stop, rank, stop)), 0.0
            bars = [None] + [np.einsum("tr,tra->ta", left, c[m]) for m in range(1, DEPTH)]
            R = [None] + [np.linalg.inv(identity - e[m] @ bars[m]) for m in range(1, DEPTH)]
            for m in range(1, DEPTH):
                below = np.einsum("tr,tra->ta", left, k)
                gu, hr = R[m] @ e[m], bars[m] @ R[m]
                Hu, old = identity + bars[m] @ gu, c[m].copy()
                if m == DEPTH - 1:
                    f[:] = np.einsum("tra,ta->tr", k, gu) + np.einsum("tra,at->tr", old, G[m])
                s = gu @ below @ Hu.T + R[m] @ G[m + 1] @ hr.T
                c[m] = flows_up + RATE * k * past[:, None]
                e[m] = (R[m + 1] @ e[m + 1] if m < DEPTH - 1 else 0.0) + RATE * past * G[m + 1]
                G[m] = gu @ below @ gu.T + R[m] @ G[m + 1] @ R[m].T
                flows_up, k = old @ R[m], k @ Hu.T + old @ s
            if not np.isfinite(f).all():
                raise FloatingPointError(f"iteration diverged on a horizon of {stop} steps")
            if sweep > 2 * DEPTH and np.abs(f - before).max() < tolerance:
                break
    return f_all @ z.T, sweeps


def network(x, y, steps: int):
    setup = Setup(
        network=chain("input", *["width"] * (DEPTH - 1), "output", parameterization="ntk"),
        axes={"width": 2000, "richness": RICHNESS},
        optimizer=Optimizer(learning_rate=RATE),
        initialisation=Initialisation("standard_normal"),
        steps=steps,
        records=steps + 1,
    )
    return train(setup.draw(0, Dataset(x, y)), ["outputs"])["outputs"]


def best(function, repeats: int = 3) -> float:
    function()
    found = []
    for _ in range(repeats):
        start = time.perf_counter()
        function()
        found.append(time.perf_counter() - start)
    return min(found)


def main() -> None:
    x, y = task()
    given = {"depth": DEPTH, "richness": RICHNESS, "learning_rate": RATE}
    named = {
        "network of width 2000": lambda: network(x, y, 50),
        "recursion": lambda: descend(x, y, steps=50, **given),
        "iteration": lambda: iterated(x, y, 50),
        "sampled": lambda: sample(x, y, steps=50, samples=2048, **given),
    }
    seconds = {name: best(function) for name, function in named.items()}
    for name, took in seconds.items():
        print(f"{name:24} {took:9.4f} s   x {took / seconds['network of width 2000']:.3f}")
    found = descend(x, y, steps=50, **given)
    other, sweeps = iterated(x, y, 50)
    print(
        f"residual {found.residual:.1g}; iteration differs by {np.abs(other - found.outputs[:, :, 0]).max():.1g}, ",
        end="",
    )
    print(f"{sweeps} sweeps")
    rms = np.sqrt(((network(x, y, 50) - found.outputs[:, :, 0]) ** 2).mean())
    print(f"network: rms x sqrt(width) = {rms * 2000**0.5:.2f}")
    for steps in (200, 400):
        print(f"recursion of {steps} steps {best(lambda steps=steps: descend(x, y, steps=steps, **given), 1):.3f} s")


if __name__ == "__main__":
    main()
