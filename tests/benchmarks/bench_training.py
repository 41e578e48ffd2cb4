"""Speed of training on a 100-200-200-10 tanh network, 1000 samples, float32, full batch.

    python tests/benchmarks/bench_training.py

Two ratios, in one process after import and compilation, one thread, best of interleaved repeats:

    steps per second of the `lax.scan` loop over those of an eager PyTorch loop (if PyTorch is there)    >= 1.5
    seconds of a step with the sharpness measured after it over those of a plain step                    <= 12

Set OMP_NUM_THREADS=1 and XLA_FLAGS=--xla_cpu_multi_thread_eigen=false for the numbers to be of one thread.
"""

import time
from collections.abc import Callable

import numpy as np

from learning_mechanics.theory.architecture.network import chain
from learning_mechanics.theory.dataset import Dataset
from learning_mechanics.theory.setup import Initialisation, Optimizer, Setup

WIDTHS = (100, 200, 200, 10)
SAMPLES = 1000
RATE = 0.01


def instance():
    """The network and Gaussian data at t = 0."""
    rng = np.random.default_rng(0)
    data = Dataset(rng.standard_normal((SAMPLES, WIDTHS[0])), rng.standard_normal((SAMPLES, WIDTHS[-1])))
    setup = Setup(
        network=chain(*WIDTHS, activation="tanh", bias=True),
        optimizer=Optimizer(learning_rate=RATE),
        initialisation=Initialisation("normal", 1.0),
        steps=1,
    )
    return setup.draw(0, data)


def jax_loops(steps: int) -> tuple[Callable[[], float], Callable[[], float]]:
    """Compiled runs of `steps` steps, plain and with the sharpness after every step; each returns its last number."""
    import jax
    import jax.numpy as jnp

    from learning_mechanics.validate.experiments.forward import forward
    from learning_mechanics.validate.experiments.optimizers import build
    from learning_mechanics.validate.observables.measure import Context, find

    drawn = instance()
    x, y = jnp.asarray(drawn["x"], jnp.float32), jnp.asarray(drawn["y"], jnp.float32)
    network = forward(drawn.setup.network)

    def loss(parameters):
        return 0.5 / SAMPLES * ((y - network(parameters, x)) ** 2).sum()

    optimizer = build(drawn.setup.optimizer, drawn.learning_rate)
    context = Context(network, loss, {"x": x, "y": y}, drawn.setup.optimizer, drawn.learning_rate, drawn.setup.network)
    sharpness = find("sharpness")
    parameters = {name: jnp.asarray(weight, jnp.float32) for name, weight in drawn.weights.items()}
    start = (parameters, optimizer.init(parameters))

    def step(state, _):
        parameters, optimizer_state = state
        updates, optimizer_state = optimizer.update(jax.grad(loss)(parameters), optimizer_state, parameters)
        return (jax.tree.map(jnp.add, parameters, updates), optimizer_state), None

    def watched(state, index):
        training, carry = state
        training, _ = step(training, None)
        carry, value = sharpness.measure(context, carry, *training, index)
        return (training, carry), value[0]

    # the carry is warm before timing: the first, longer measurement is no part of the cost per step
    warm = jax.jit(lambda state, carry: sharpness.measure(context, carry, *state, 0)[0])
    first = warm(start, sharpness.start(context, parameters))
    plain = jax.jit(lambda state: jax.lax.scan(step, state, None, length=steps)[0][0]["b1"][0])
    tracked = jax.jit(lambda state: jax.lax.scan(watched, state, jnp.arange(steps))[1][-1])
    return (lambda: float(plain(start))), (lambda: float(tracked((start, first))))


def torch_loop(steps: int) -> Callable[[], float] | None:
    """The same training as an eager PyTorch loop, on one thread; None without PyTorch."""
    try:
        import torch
    except ImportError:
        return None
    torch.set_num_threads(1)
    drawn = instance()
    layers: list = []
    for fan_in, fan_out in zip(WIDTHS[:-1], WIDTHS[1:], strict=True):
        layers += [torch.nn.Linear(fan_in, fan_out), torch.nn.Tanh()]
    model = torch.nn.Sequential(*layers[:-1])
    x, y = (torch.tensor(drawn[name], dtype=torch.float32) for name in ("x", "y"))

    def run():
        with torch.no_grad():
            for layer, linear in enumerate(model[::2], 1):
                linear.weight.copy_(torch.tensor(drawn[f"W{layer}"]))
                linear.bias.zero_()
        optimizer = torch.optim.SGD(model.parameters(), lr=RATE)
        for _ in range(steps):
            optimizer.zero_grad()
            loss = 0.5 / SAMPLES * ((y - model(x)) ** 2).sum()
            loss.backward()
            optimizer.step()
        return float(model[0].bias[0].detach())

    return run


def ratios(steps: int = 20, repeats: int = 7) -> dict[str, float]:
    """Milliseconds per step of each loop, and the two ratios; also how far the two trainings end apart."""
    plain, tracked = jax_loops(steps)
    loops = {"plain": plain, "with_sharpness": tracked}
    eager = torch_loop(steps)
    if eager is not None:
        loops["torch"] = eager
    ends = {name: loop() for name, loop in loops.items()}  # compiles
    seconds: dict[str, list[float]] = {name: [] for name in loops}
    for _ in range(repeats):
        for name, loop in loops.items():
            began = time.process_time()
            loop()
            seconds[name].append(time.process_time() - began)
    best = {name: float(np.min(times)) / steps for name, times in seconds.items()}
    result = {f"milliseconds_{name}": 1e3 * value for name, value in best.items()}
    result["sharpness_in_plain_steps"] = best["with_sharpness"] / best["plain"]
    if eager is not None:
        result["speed_against_torch"] = best["torch"] / best["plain"]
        result["difference_from_torch"] = abs(ends["torch"] - ends["plain"])
    return result


if __name__ == "__main__":
    for name, value in ratios().items():
        print(f"{name:28s} {value:.4g}")
