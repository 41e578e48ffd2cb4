"""A setting as a practitioner would state it, and its draw: the one thing theory and experiment share.

`Setup` = network, data, loss, optimizer, initialisation, procedure. `setup.draw(seed)` gives an `Instance`: the arrays
at t = 0. Losses carry a factor 1/2: L = 1/2 mean |y - f|^2, and time is t = eta k.

>>> from .architecture.network import chain
>>> from .dataset import Dataset
>>> setup = Setup(network=chain("input", "width", "output"), axes={"width": 4}, steps=10)
>>> data = Dataset(np.eye(3), np.ones(3))
>>> {name: w.shape for name, w in setup.draw(0, data).weights.items()}
{'W1': (4, 3), 'W2': (1, 4)}
>>> setup.at(width=8, learning_rate=0.5).axes["width"]
8
"""

import hashlib
import math
from collections.abc import Mapping
from dataclasses import dataclass, field, fields, replace
from types import MappingProxyType
from typing import Any

import numpy as np

from .architecture.network import Network
from .architecture.shapes import feature_shapes, initial_spreads
from .dataset import Dataset
from .errors import BadData, UnknownName
from .initialisation import IMBALANCED, INITIALISATIONS

PROCEDURES = ("full_batch", "online", "one_pass", "kernel_solve")
LOSSES = ("mean_squared", "summed_squared", "weighted_squared", "cross_entropy", "skip_gram")
SPACINGS = ("linear", "log")
SAMPLES = ("all", "subset", "train_test", "halves")
UNITS = ("1", "1/trace", "1/kernel", "1/sharpness")


@dataclass(frozen=True)
class Optimizer:
    """An optimizer by its usual name and hyperparameters, with optax conventions.

    names: "gradient_descent", "heavy_ball", "nesterov", "rmsprop", "adam", "sign_descent" (every entry moves by the
    rate) and "muon" (every matrix moves along the polar factor of its gradient). `learning_rate` counts in `unit`:
    "1" (absolute), "1/trace" (inverse trace of the input covariance), "1/kernel" (inverse top eigenvalue of
    options["kernel"] on x / sqrt(d), over the number of samples), "1/sharpness" (inverse of L s^(2 - 2/L), with L
    weight matrices and the largest singular value s of y'x/P: the sharpness of the flattest minimum of a linear
    network on white inputs, so that the edge of stability lies at 2 on any data). `weight_decay` mu adds mu w to the
    gradient, that is mu/2 |w|^2 to the loss; `rates` multiplies the learning rate of single parameter arrays:
    (("W1", 2.0), ...).
    """

    name: str = "gradient_descent"
    learning_rate: float = 0.1
    momentum: float = 0.0
    second_moment: float = 0.999
    epsilon: float = 1e-8
    unit: str = "1"
    weight_decay: float = 0.0
    rates: tuple[tuple[str, float], ...] = ()


@dataclass(frozen=True)
class Initialisation:
    """How weights start: a name in `initialisation.INITIALISATIONS`, its scale, and an imbalance between two layers."""

    name: str = "normal"
    scale: float = 1.0
    imbalance: float = 0.0


@dataclass(frozen=True)
class Setup:
    """One experiment, stated. All fields are plain values; `at(...)` moves along named axes.

    `data`      name of a data set, a `Dataset`, or a distribution: `PowerLaw`, or any record with its methods
    `prepare`   preparations applied to it, in order
    `sample`    "all", "subset" (n rows drawn by seed; n is an axis), "train_test" (n rows, and all others as x_test and
                y_test), or "halves" (probe and pool, by group if any)
    `axes`      named sizes: width, n, dim ...
    `loss`      "mean_squared" (1/2 mean over samples of |y - f|^2), "summed_squared" (1/2 sum), "weighted_squared",
                "cross_entropy" or "skip_gram": see `validate.experiments.losses`
    `procedure` "full_batch" (options "batch": rows drawn afresh at every step; "label_noise": the standard deviation of
                noise added to the targets at every step), "online" (a fresh "batch" from the distribution at every
                step, observables on a fixed sample of "test" rows), "one_pass", "kernel_solve"
    `steps`     training steps; or give `time` = learning rate x steps, in the unit of the learning rate
    `records`   number of recorded steps, `spacing` "linear" or "log"
    `sizes`     sample sizes of a `kernel_solve`
    `options`   anything else a procedure documents (ridge, kernel, batch ...)
    `output_scale`  alpha in f = alpha x network, trained at the learning rate over alpha^2: it learns as fast, and its
                weights move as 1/alpha. With options "centred", f = alpha x (network - network at the start).
                axes "richness" gamma, beside a "width" N, states alpha = 1/(gamma sqrt(N)): the mean-field scale
    """

    network: Network | None = None
    data: Any = "digits"
    prepare: tuple[str, ...] = ()
    sample: str = "all"
    axes: Mapping[str, Any] = field(default_factory=dict)
    optimizer: Optimizer = Optimizer()
    initialisation: Initialisation = Initialisation()
    loss: str = "mean_squared"
    procedure: str = "full_batch"
    steps: int = 0
    time: float = 0.0
    records: int = 50
    spacing: str = "linear"
    sizes: tuple[int, ...] = ()
    options: Mapping[str, Any] = field(default_factory=dict)
    output_scale: float = 1.0

    def __post_init__(self):
        plain = self.output_scale == 1 and not self.options.get("centred")
        for kind, name, known in (
            ("procedure", self.procedure, PROCEDURES),
            ("loss", self.loss, LOSSES),
            ("spacing", self.spacing, SPACINGS),
            ("sample", self.sample, SAMPLES),
            ("unit of the learning rate", self.optimizer.unit, UNITS),
        ):
            if name not in known:
                raise UnknownName.among(name, known, kind=kind)
        for name, value, right, remedy in (
            ("learning_rate", self.optimizer.learning_rate, self.optimizer.learning_rate > 0, "give a number above 0"),
            ("steps", self.steps, self.steps >= 0, "give a whole number from 0"),
            ("records", self.records, self.records >= 1, "give a whole number from 1"),
            ("output_scale", self.output_scale, 0 < self.output_scale < math.inf, "give a finite number above 0"),
            ("output_scale", self.output_scale, self._trains or plain, "train a network, full_batch or online"),
        ):
            if not right:
                raise BadData(f"{name} = {value}", where="Setup", remedy=remedy)
        object.__setattr__(self, "axes", MappingProxyType(dict(self.axes)))
        object.__setattr__(self, "options", MappingProxyType(dict(self.options)))

    def __hash__(self):
        return hash((self.network, str(self.data), self.prepare, str(dict(self.axes)), self.optimizer, self.steps))

    @property
    def _trains(self) -> bool:
        """Whether a network is trained by the gradient of its loss."""
        return self.network is not None and self.procedure in ("full_batch", "online")

    def at(self, **moves: Any) -> "Setup":
        """The same setting elsewhere along named axes, or fields of the optimizer, the initialisation or the setup."""
        setup = self
        initial_fields = {f.name for f in fields(Initialisation)} - {"name"}
        optimizer_fields = {f.name for f in fields(Optimizer)} - {"name"}
        setup_fields = {f.name for f in fields(Setup)}
        for name, value in moves.items():
            if name in optimizer_fields:
                setup = replace(setup, optimizer=replace(setup.optimizer, **{name: value}))
            elif name in initial_fields:
                setup = replace(setup, initialisation=replace(setup.initialisation, **{name: value}))
            elif name in setup_fields:
                setup = replace(setup, **{name: value})
            else:
                setup = replace(setup, axes={**setup.axes, name: value})
        return setup

    def total_steps(self, learning_rate: float | None = None) -> int:
        """Training steps: as stated, or the time horizon over the learning rate."""
        return self.steps or round(self.time / (learning_rate or self.optimizer.learning_rate))

    def recorded_steps(self, learning_rate: float | None = None) -> np.ndarray:
        """Steps at which observables are recorded: 0 and the last step included, strictly increasing."""
        last = self.total_steps(learning_rate)
        if self.spacing == "log" and last > 0 and self.records > 2:
            grid = np.concatenate([[0], np.geomspace(1, last, self.records - 1)])
        else:
            grid = np.linspace(0, last, self.records)
        return np.unique(np.round(grid).astype(int))

    def stated_output_scale(self) -> float:
        """alpha: `output_scale`, or 1/(gamma sqrt(N)) where the axes state a richness gamma and a width N.

        >>> Setup(axes={"richness": 0.5, "width": 64}).stated_output_scale()
        0.25
        """
        if "richness" not in self.axes:
            return self.output_scale
        gamma, width = self.axes["richness"], self.axes.get("width", 0)
        if not (0 < gamma < math.inf and width >= 1) or self.output_scale != 1:
            found = f"richness {gamma} at width {width} and output_scale {self.output_scale:g}"
            raise BadData(found, where="Setup", remedy="give a richness above 0, a width, and no output_scale")
        return 1 / (gamma * math.sqrt(width))

    def draw(self, seed: int, data: Dataset | None = None) -> "Instance":
        """Arrays at t = 0. `data` replaces a data set given by name; the same seed gives the same arrays."""
        if seed < 0:
            raise BadData(f"seed {seed}", where="Setup.draw", remedy="give a whole number from 0")
        rng = np.random.default_rng(seed)
        arrays: dict[str, Any] = {}
        facts: dict[str, Any] = {}
        source: Any = data if data is not None else self.data
        if hasattr(source, "statistics"):
            arrays.update(source.statistics())
            trace = float(arrays["eigenvalues"].sum())
            facts["noise"] = getattr(source, "noise", 0.0)
            sizes = source.sizes()
            arrays.update(_fresh_rows(source, self, rng))
        elif isinstance(source, Dataset):
            dataset = source.prepare(*self.prepare)
            facts.update(dataset.facts)
            arrays.update(_sampled(dataset, self, rng))
            facts["rows"] = ("x", "y", *dataset.arrays)
            inputs = arrays["x" if "x" in arrays else "x_pool"]
            trace = float((inputs**2).sum() / len(inputs))
            sizes = {"input": dataset.x.shape[1], "output": dataset.y.shape[1]}
        else:
            raise BadData(
                f"data {source!r} is a name, not arrays", where="Setup.draw", remedy="load it and pass it as `data`"
            )
        if self.network is not None:
            sizes |= {name: value for name, value in self.axes.items() if isinstance(value, int)}
            initialise = INITIALISATIONS.get(self.initialisation.name)
            if initialise is None:
                raise UnknownName.among(self.initialisation.name, INITIALISATIONS, kind="initialisation")
            shapes = self.network.shapes(sizes)
            if isinstance(source, Dataset) and self.loss in LOSSES[:2]:
                _require_outputs(self.network, sizes, source.name)
            start = self.initialisation
            if start.imbalance and start.name not in IMBALANCED:
                raise BadData(
                    f"{start.name} takes no imbalance", where="initialisation", remedy=f"use {', '.join(IMBALANCED)}"
                )
            given: dict[str, Any] = {"imbalance": start.imbalance} if start.name in IMBALANCED else {}
            if start.name == "as_stated":
                given = {"spreads": initial_spreads(self.network, sizes)}
            arrays |= initialise(rng, shapes, start.scale, arrays, **given)
            facts["parameters"] = tuple(shapes)
        rate = self.optimizer.learning_rate
        if self.optimizer.unit != "1":
            scale = trace if self.optimizer.unit == "1/trace" else _SCALES[self.optimizer.unit](self, arrays)
            if not scale > 0:
                raise BadData(
                    f"the scale of the learning rate is {scale:g}",
                    where=getattr(source, "name", "data"),
                    remedy="give inputs that vary, and targets that depend on them",
                )
            rate = rate / scale
        output_scale = self.stated_output_scale()
        if output_scale != 1:
            arrays["output_scale"] = np.asarray(float(output_scale))
            rate = rate / output_scale**2
        return Instance(self, seed, arrays, facts, rate)


@dataclass(frozen=True, eq=False)
class Instance:
    """Arrays at t = 0, by name: x, y, weights, or eigenvalues and target. Handed to theory and experiment alike."""

    setup: Setup
    seed: int
    arrays: Mapping[str, Any]
    facts: Mapping[str, Any]
    learning_rate: float

    def __getitem__(self, name: str):
        return self.arrays[name]

    def __contains__(self, name: str) -> bool:
        return name in self.arrays

    @property
    def weights(self) -> dict[str, np.ndarray]:
        """Trainable arrays by name."""
        return {name: self.arrays[name] for name in self.facts.get("parameters", ())}

    @property
    def dataset(self) -> Dataset:
        return Dataset(self["x"], self["y"])

    def moments(self) -> dict[str, np.ndarray]:
        """Sigma_xx and Sigma_yx of the training data, if there are any."""
        return dict(zip(("Sigma_xx", "Sigma_yx"), self.dataset.covariances(), strict=True)) if "x" in self else {}

    @property
    def steps(self) -> np.ndarray:
        """Recorded steps."""
        return self.setup.recorded_steps()

    @property
    def fingerprint(self) -> str:
        """SHA-256 over all arrays and the learning rate: what a forecast was made for."""
        digest = hashlib.sha256(repr(self.learning_rate).encode())
        for name in sorted(self.arrays):
            array = np.ascontiguousarray(self.arrays[name])
            digest.update(f"{name}{array.shape}{array.dtype}".encode())
            digest.update(array.tobytes())
        return digest.hexdigest()


def _fresh_rows(source, setup: Setup, rng: np.random.Generator) -> dict[str, np.ndarray]:
    """Rows of a distribution: a training set of n for "subset", the test sample of "online", nothing otherwise."""
    if setup.sample == "subset":
        n = _count(setup)
    elif setup.procedure == "online":
        n = int(setup.options.get("test", 4096))
    else:
        return {}
    x, y = source.rows({name: rng.standard_normal(shape) for name, shape in source.normals(n).items()})
    return {"x": x, "y": y}


def _require_outputs(network: Network, sizes: Mapping[str, int], name: str) -> None:
    """Refuse targets of another dimension than the outputs; arrays would be broadcast silently. Raises `BadData`."""
    shapes = feature_shapes(network, sizes)
    outputs = sum(math.prod(shapes[output]) for output in network.outputs)
    if outputs != sizes["output"]:
        columns = "one column" if outputs == 1 else f"{outputs} columns"
        raise BadData(
            f"{sizes['output']} targets for {outputs} output{'s' * (outputs != 1)} of the network",
            where=name,
            remedy=f"give {columns}",
        )


def _count(setup: Setup) -> int:
    if "n" not in setup.axes:
        raise BadData(f"sample {setup.sample!r} needs a number", where="Setup", remedy="give axes={'n': ...}")
    return int(setup.axes["n"])


def _sampled(data: Dataset, setup: Setup, rng: np.random.Generator) -> dict[str, np.ndarray]:
    if setup.sample == "all":
        return {"x": data.x, "y": data.y, **data.arrays}
    if setup.sample in ("subset", "train_test"):
        n = _count(setup)
        if n > len(data) - (setup.sample == "train_test"):
            raise BadData(f"{len(data)} samples but n = {n} asked for", where=data.name, remedy="lower n")
        rows = rng.choice(len(data), n, replace=False)
        train = {"x": data.x[rows], "y": data.y[rows], **{name: array[rows] for name, array in data.arrays.items()}}
        if setup.sample == "subset":
            return train
        others = np.delete(np.arange(len(data)), rows)
        return {**train, "x_test": data.x[others], "y_test": data.y[others]}
    if data.groups is None:
        probe = np.zeros(len(data), bool)
        probe[rng.permutation(len(data))[: len(data) // 2]] = True
    else:
        names = np.unique(data.groups)
        probe = np.isin(data.groups, rng.permutation(names)[: len(names) // 2])
    halves = {
        "x_probe": data.x[probe],
        "y_probe": data.y[probe],
        "x_pool": data.x[~probe],
        "y_pool": data.y[~probe],
    }
    return halves if data.groups is None else {**halves, "groups_probe": data.groups[probe]}


def _top_eigenvalue(setup: Setup, arrays: Mapping[str, Any]) -> float:
    """Largest eigenvalue of K(X, X)/P, with inputs over sqrt(d) as in the first layer of a network with fan-in scaling.

    Kernels of `infinite_width` divide by d themselves and say so.
    """
    if "kernel" not in setup.options:
        raise BadData("no kernel to scale the learning rate by", where="Setup", remedy='give options["kernel"]')
    x = arrays["x"]
    kernel = setup.options["kernel"]
    inputs = x if getattr(kernel, "divides_by_dimension", False) else x / np.sqrt(x.shape[1])
    return float(np.linalg.eigvalsh(kernel(inputs))[-1] / len(x))


def _flattest_sharpness(setup: Setup, arrays: Mapping[str, Any]) -> float:
    """L s^(2 - 2/L): top Hessian eigenvalue at the flattest minimum of a linear network on white inputs."""
    if setup.network is None or "x" not in arrays:
        raise BadData(
            "no network and samples to scale the learning rate by", where="Setup", remedy='choose the unit "1"'
        )
    depth, x = setup.network.depth, arrays["x"]
    strongest = float(np.linalg.norm(arrays["y"].T @ x, 2)) / len(x)
    return depth * strongest ** (2 - 2 / depth)


_SCALES = {"1/kernel": _top_eigenvalue, "1/sharpness": _flattest_sharpness}
