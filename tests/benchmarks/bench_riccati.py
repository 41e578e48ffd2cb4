"""Time of the exact two-layer solution against an ODE solver and against training, also where the solution is slower.

    python tests/benchmarks/bench_riccati.py

White inputs, balanced start of scale 1e-3, the target's singular values from 1 to 0.1, up to t = 20, one thread:

    exact     `solvers.riccati.two_layer`, after compilation (which is quoted on its own)
    ODE       SciPy's DOP853 on the weights, rtol 1e-10: comparable in use, less accurate
    training  a bare compiled loop of gradient descent, nothing recorded, at eta x sharpness = 0.1 and 0.01

The gain over training depends on the learning rate, so two are given; the gain over the ODE does not, and it is what is
lost when many times are asked for: an ODE solver passes through them anyway, the solution starts anew at each. As
measured on one shared core: at width 50 the solution takes 9 ms for 2 times and 30 ms for 50, the ODE 80 to 100 ms,
and for 500 times it is the slower of the two (0.36 to 0.56 s against 0.1 to 0.2 s). Descent at 0.1 is as fast as the
solution at 50 times or faster at any width: the solution wins on few or late times, at small rates, and in accuracy.
"""

import time

import numpy as np
from scipy.integrate import solve_ivp

from learning_mechanics.solvers.precision import double_precision
from learning_mechanics.solvers.riccati import two_layer
from learning_mechanics.theory.architecture.network import chain
from learning_mechanics.theory.dataset import Dataset
from learning_mechanics.theory.setup import Initialisation, Optimizer, Setup

END = 20.0
SHARPNESS = 2.0  # 2 s_1


def instance(size: int, product: float, records: int):
    """A square network on white inputs at t = 0; `product` is learning rate x sharpness."""
    rng = np.random.default_rng(0)
    left, right = (np.linalg.qr(rng.standard_normal((size, size)))[0] for _ in range(2))
    x = np.sqrt(size) * np.eye(size)
    y = x @ (left * np.linspace(1, 0.1, size) @ right.T).T
    setup = Setup(
        network=chain("input", "width", "output"),
        axes={"width": size},
        optimizer=Optimizer(learning_rate=product / SHARPNESS),
        initialisation=Initialisation("lambda_balanced", 1e-3),
        time=END,
        records=records,
    )
    return setup.draw(0, Dataset(x, y))


def seconds(function, repeats: int = 3) -> tuple[float, float]:
    """First call, and best of the following."""
    found = []
    for _ in range(1 + repeats):
        start = time.perf_counter()
        function()
        found.append(time.perf_counter() - start)
    return found[0], min(found[1:])


def by_ode(drawn, times):
    """End-to-end maps (T, o, d) from the integrated weights."""
    W1, W2 = drawn["W1"], drawn["W2"]
    target, split = drawn.dataset.covariances()[1], W1.size

    def layers(flat):
        return flat[:split].reshape(W1.shape), flat[split:].reshape(W2.shape)

    def field(_, flat):
        a, b = layers(flat)
        error = target - b @ a
        return np.concatenate([(b.T @ error).ravel(), (error @ a.T).ravel()])

    start = np.concatenate([W1.ravel(), W2.ravel()])
    path = solve_ivp(field, (0, END), start, "DOP853", t_eval=times, rtol=1e-10, atol=1e-14).y.T
    return np.array([b @ a for a, b in map(layers, path)])


def row(size: int, points: int) -> dict[str, float]:
    """Seconds of every route for one size and number of times."""
    times = np.linspace(0, END, points)
    drawn = instance(size, 0.1, points)
    W1, W2, target = drawn["W1"], drawn["W2"], drawn.dataset.covariances()[1]
    first, exact = seconds(lambda: two_layer(W1, W2, target, times).end_to_end)
    found = {"exact": exact, "compilation": first - exact, "ode": seconds(lambda: by_ode(drawn, times), 1)[1]}
    gap = np.abs(two_layer(W1, W2, target, times).end_to_end - by_ode(drawn, times)).max()
    for product in (0.1, 0.01):
        run = instance(size, product, points)
        found[f"training {product}"] = _training_seconds(run)
    return {**found, "gap": float(gap)}


def _training_seconds(drawn) -> float:
    """A bare compiled loop of gradient descent that records nothing: the least that a simulation can take."""
    import jax

    target, rate, steps = drawn.dataset.covariances()[1], drawn.learning_rate, int(drawn.steps[-1])

    def step(_, layers):
        a, b = layers
        error = target - b @ a
        return a + rate * b.T @ error, b + rate * error @ a.T

    with double_precision():
        run = jax.jit(lambda a, b: jax.lax.fori_loop(0, steps, step, (a, b)))
        return seconds(lambda: jax.block_until_ready(run(drawn["W1"], drawn["W2"])))[1]


if __name__ == "__main__":
    print("size points   exact (compile)     ODE     training at eta x sharpness 0.1, 0.01    exact - ODE")
    for size in (5, 20, 50, 100):
        for points in (1, 50, 500):
            r = row(size, max(points, 2))
            print(
                f"{size:4d} {max(points, 2):6d} {r['exact']:7.4f} ({r['compilation']:.2f} s) {r['ode']:9.4f} s"
                f"{r['training 0.1']:12.4f} {r['training 0.01']:10.4f} s {r['gap']:26.1e}"
            )
