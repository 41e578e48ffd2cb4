r"""Exponents of trained networks, in samples and in training time, from lazy to rich.

    f = r alpha (h(theta) - h(theta_0)),   full-batch descent at rate eta / alpha^2,   t = eta k,   r^2 = mean |y|^2

so that for large alpha f follows the flow of the tangent kernel at the start, whatever alpha (lazy), while for
alpha = 1/(richness sqrt(width)) the features move by the order of one (rich). Both have the same kernel at the start
and the same unit of time: what differs between their exponents is what learning features does.

Reference: Chizat, Oyallon & Bach 2019 (arXiv:1812.07956); Bordelon, Atanasov & Pehlevan 2024 (arXiv:2409.17858).
"""

import math
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from ...theory.architecture.constructors import activation, dense, serial
from ...theory.architecture.network import Network
from ...theory.arguments import number, numbers, whole
from ...theory.dataset import Dataset
from ...theory.errors import BadData
from ...theory.regression.kernels import Kernel, ntk
from ...theory.setup import Initialisation, Instance, Optimizer, Setup
from ..experiments.train import train_all
from .measured import Measured
from .regressions import _counts, _draws, _rows

LAZY = 10.0  # output scale: at widths of hundreds the kernel then moves by a percent or less
WEIGHT_VARIANCE = 2.0
MOST_TEST = 600  # rows that a run is judged on
RECORDS = 60


@dataclass(frozen=True)
class TrainedNetwork:
    """A plain network without biases, and how it is trained.

    `richness`  0 is lazy; otherwise alpha = 1 / (richness sqrt(width))
    `rate`      learning rate times the mean of K(x, x): below 2 the lazy network is stable on any data

    >>> TrainedNetwork("relu", depth=2).kernel.name
    'ntk-relu'
    """

    activation: str
    depth: int = 2
    width: int = 1024
    richness: float = 0.0
    rate: float = 0.5

    @property
    def kernel(self) -> Kernel:
        """The tangent kernel at infinite width, of inputs as the tasks give them."""
        return ntk(self.depth, self.activation, WEIGHT_VARIANCE)

    @property
    def network(self) -> Network:
        """Its layers in NTK parameterisation; inputs are multiplied by sqrt(d), which the first layer divides by."""
        parts = [dense(width="width")]
        for layer in range(2, self.depth + 1):
            last = layer == self.depth
            parts += [
                activation(self.activation),
                dense(math.sqrt(WEIGHT_VARIANCE), width="output" if last else "width"),
            ]
        return serial(*parts)

    @property
    def output_scale(self) -> float:
        """alpha."""
        return 1 / (self.richness * math.sqrt(self.width)) if self.richness else LAZY

    def learning_rate(self, x: np.ndarray) -> float:
        """eta, in units in which t is the time of the kernel's flow."""
        return self.rate / float(self.kernel.diagonal(x).mean())

    def __str__(self) -> str:
        regime = f"rich (richness {self.richness:g})" if self.richness else "lazy"
        return f"{regime} {self.activation} network, {self.depth} layers of weights, width {self.width}"


def network_samples(
    trained: TrainedNetwork,
    x: np.ndarray,
    y: np.ndarray,
    sizes: Sequence[float] | np.ndarray,
    until: float,
    trials: int = 3,
    seed: int = 0,
    groups: np.ndarray | None = None,
) -> Measured:
    """Test errors after training for a time `until` on n = `sizes` rows; arguments as in `measure_samples`.

    The time is the same for every n, and forecasts are for that time: nothing is trained to convergence. Every run
    has its own initial weights and nested training sets. Errors: `BadData` for shapes and sizes, and where training
    diverges.
    """
    start, where = time.perf_counter(), "network_samples"
    x, y, power = _scaled(x, y, where)
    counts, until = _counts(sizes, where), number(until, "until", where, above=True)
    draws = list(_draws(len(x), groups, counts[-1], whole(trials, "trials", where, least=1), seed, where))
    rate = trained.learning_rate(x)
    steps = max(1, round(until / rate))
    columns = []
    for n in counts:
        instances = [
            _instance(trained, x, y, fit[:n], test, rate, steps, [seed, i]) for i, (fit, test) in enumerate(draws)
        ]
        columns.append(power * _errors(instances)[:, -1])
    facts = {"time": rate * steps, "learning_rate": rate, "steps": steps}
    words = f"{trained}, descent until t = {rate * steps:g}, on nested random training sets"
    return Measured("samples", counts.astype(float), np.array(columns).T, words, time.perf_counter() - start, facts)


def network_steps(
    trained: TrainedNetwork,
    x: np.ndarray,
    y: np.ndarray,
    times: Sequence[float] | np.ndarray,
    samples: int,
    trials: int = 3,
    seed: int = 0,
    groups: np.ndarray | None = None,
) -> Measured:
    """Test errors at `times` t = eta k of training on `samples` rows; arguments as in `measure_steps`.

    Errors at times between recorded steps are interpolated in log-log.
    """
    start, where = time.perf_counter(), "network_steps"
    x, y, power = _scaled(x, y, where)
    at, samples = np.sort(numbers(times, "times", where).ravel()), whole(samples, "samples", where, least=1)
    rate = trained.learning_rate(x)
    if len(at) < 2 or at[0] < rate:
        raise BadData(f"times {at}", where=where, remedy=f"give at least two from the first step, {rate:.3g}, on")
    draws = _draws(len(x), groups, samples, whole(trials, "trials", where, least=1), seed, where)
    steps = math.ceil(at[-1] / rate)
    instances = [_instance(trained, x, y, fit, test, rate, steps, [seed, i]) for i, (fit, test) in enumerate(draws)]
    errors, recorded = power * _errors(instances)[:, 1:], rate * instances[0].steps[1:]
    values = [np.exp(np.interp(np.log(at), np.log(recorded), np.log(run))) for run in errors]
    facts = {"samples": samples, "learning_rate": rate, "steps": steps}
    words = f"{trained}, full-batch descent from {samples} samples"
    return Measured("steps", at, np.array(values), words, time.perf_counter() - start, facts)


def _scaled(x, y, where):
    """Rows, targets of mean square 1, and their mean square: what counts as rich depends on the size of targets."""
    x, y = _rows(x, y, where)
    power = float((y**2).mean())
    if not power > 0:
        raise BadData("targets that are all 0", where=where, remedy="give a target that varies")
    return x, y / math.sqrt(power), power


def _instance(trained, x, y, fit, test, rate, steps, seed) -> Instance:
    """The setting of one run at t = 0, with its test rows."""
    scale = np.sqrt(x.shape[1])
    setup = Setup(
        network=trained.network,
        data="task",
        axes={"width": trained.width},
        optimizer=Optimizer(learning_rate=rate),
        initialisation=Initialisation("as_stated"),
        steps=steps,
        records=RECORDS,
        spacing="log",
        output_scale=trained.output_scale,
        options={"centred": True},
    )
    drawn = int(np.random.SeedSequence(seed).generate_state(1)[0])
    instance = setup.draw(drawn, Dataset(x[fit] * scale, y[fit], "task"))
    test = np.random.default_rng(seed).permutation(test)[:MOST_TEST]
    return replace(instance, arrays={**instance.arrays, "x_test": x[test] * scale, "y_test": y[test]})


def _errors(instances) -> np.ndarray:
    """Test errors (runs, records)."""
    return train_all(instances, ["test_error"], dtype="float32")["test_error"][:, :, 0]
