"""Cells: one task, one learner, one axis, one window. A forecast is made from half of the rows, a run uses the other.

    forecast(cell, seed) -> exponent +- half-width (90 %)    measure(cell, seed) -> `Measured`, with the same exponent

`seed` names the split; nothing is shared between its halves but the distribution of rows.

>>> cell = Cell("digits_parity", "relu-2", "samples", (30, 300))
>>> found, run = forecast(cell, seed=0), measure(cell, seed=0)
>>> bool(abs(found.value - run.exponent) < 0.15), run.abscissa[[0, -1]].tolist()
(True, [30.0, 300.0])
"""

from collections import defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from ...solvers.scaling.dynamics import dynamics
from ...solvers.scaling.local_slope import half_width
from ...solvers.scaling.scaling_law import ScalingLaw
from ...theory.errors import BadData, Underpowered
from ...theory.measured_spectra.cross_fitting import cross_fit, partner, resampled
from ...theory.measured_spectra.log_slope import log_slope
from ...theory.measured_spectra.spectrum import LOCAL_DECADES
from ...theory.mechanisms import zipf
from ...theory.mechanisms.forecast import AXES
from ...theory.mechanisms.token_frequencies import frequencies
from .learners import learner
from .measured import Measured
from .networks import network_samples, network_steps
from .regressions import measure_features, measure_samples, measure_steps
from .tasks import TASKS, halves, record, task

POINTS = 8
SAMPLES = 360  # training set of a cell whose axis is another
RIDGE = {"samples": 1e-8, "parameters": 1e-3, "steps": 0.0}
RESAMPLES = 24
FIRST, SHARE = 40, 0.24  # smallest training set of a window, and its largest as a share of all rows
WINDOWS = {"parameters": (8.0, 80.0), "steps": (10.0, 500.0)}
UNTIL = 200.0  # time for which a network is trained where the axis is samples
TRAINED_WINDOW = (10.0, 300.0)  # times of trained networks
TRAINED_SAMPLES = 600  # on which they are trained for them: time, not samples, should be what limits them
TRIALS, TRAINED_TRIALS = 12, 2
REPORT_ROWS = 700  # of each half in a report: a decade of ranks, at a fraction of the time


@dataclass(frozen=True)
class Cell:
    """What is forecast and measured: an exponent of a learner on a task, along an axis, over a window of it.

    `axis` "samples" (training rows), "parameters" (neurons, from 360 rows) or "steps" (time t = eta k, likewise; of
    networks from 600 rows). `rows`: of each half, at most so many are used, drawn by the seed; 0 for all of them
    """

    task: str
    learner: str
    axis: str
    window: tuple[float, float]
    rows: int = 0

    def __post_init__(self):
        record(self.task)
        known = learner(self.learner).axes
        if self.axis not in known:
            remedy = f"{self.learner} is measured along {' and '.join(known)}"
            raise BadData(f"axis {self.axis!r}", where=str(self), remedy=remedy)
        low, high = self.window
        if not (0 < low and high >= 1.5 * low):
            raise BadData(f"window {low:g} .. {high:g}", where=str(self), remedy="give ends a factor 1.5 apart or more")

    @property
    def abscissa(self) -> np.ndarray:
        """Where errors are measured, (T,): log-spaced, whole numbers but for times."""
        found = np.geomspace(*self.window, POINTS)
        return found if self.axis == "steps" else np.unique(np.round(found))

    @property
    def seconds(self) -> float:
        """What one forecast and one measurement take on an idle core, roughly."""
        rows = min(len(task(self.task)) // 2, self.rows or 2000)
        training = 30.0 if learner(self.learner).trained else 0.0
        return 0.4 + 1.2e-9 * rows**3 + training

    def __str__(self) -> str:
        low, high = self.window
        return f"{self.task}/{self.learner}/{self.axis} {low:g}..{high:g}"

    def half(self, probe: bool, seed: int) -> tuple[np.ndarray, np.ndarray, np.ndarray | None]:
        """Inputs, targets and groups of the half that forecasts are made from, or of the other one."""
        data = task(self.task)
        mask = halves(data, seed)
        kept = np.flatnonzero(mask if probe else ~mask)
        if self.rows:
            kept = np.sort(np.random.default_rng([seed, 1]).permutation(kept)[: self.rows])
        return data.x[kept], data.y[kept], None if data.groups is None else data.groups[kept]


@dataclass(frozen=True, eq=False)
class CellForecast:
    """The exponent of a cell before any run: `value`, with `error` a nominal 90 % half-width.

    `test` (T,) the forecast errors at the cell's abscissa, the geometric mean of two estimates; levels are not claimed
    """

    cell: Cell
    value: float
    error: float
    test: np.ndarray
    facts: Mapping[str, Any] = field(default_factory=dict)

    def __str__(self) -> str:
        return f"{self.cell}: {self.cell.axis}^-({self.value:.3f} +- {self.error:.3f})"


def cells(budget_seconds: float, axes: tuple[str, ...] = AXES) -> list[Cell]:
    """Cells of regressions whose forecasts and runs fit into a budget of seconds on an idle core; one a problem first.

    Only tasks that have an exponent; always in the same order, so that a smaller budget gives the first of them.
    Trained networks are in `trained_cells`.

    >>> len({record(cell.task).problem for cell in cells(60.0)}) >= 10
    True
    """
    chosen, spent = [], 0.0
    for cell in _in_turn():
        if cell.axis not in axes:
            continue
        spent += cell.seconds
        if spent > budget_seconds:
            break
        chosen.append(cell)
    return chosen


def measure(cell: Cell, seed: int, trials: int | None = None, draws: int | None = None) -> Measured:
    """Run the cell on the measuring half of split `seed`; every run has its own training set, neurons and weights.

    `trials` is the number of runs, by default 12, and 2 for networks; `draws` another seed for what they draw. Errors:
    `BadData` for a window that the half is too small for.
    """
    learned = learner(cell.learner)
    x, y, groups = cell.half(False, seed)
    runs = trials or (TRAINED_TRIALS if learned.trained else TRIALS)
    common: dict[str, Any] = {"trials": runs, "seed": seed if draws is None else draws, "groups": groups}
    if learned.trained is not None and cell.axis == "samples":
        return network_samples(learned.trained, x, y, cell.abscissa, UNTIL, **common)
    if learned.trained is not None:
        return network_steps(learned.trained, x, y, cell.abscissa, TRAINED_SAMPLES, **common)
    if cell.axis == "samples":
        return measure_samples(learned.kernel, x, y, cell.abscissa, RIDGE["samples"], **common)
    if cell.axis == "parameters":
        return measure_features(learned.kernel, x, y, cell.abscissa, SAMPLES, RIDGE["parameters"], **common)
    return measure_steps(learned.kernel, x, y, cell.abscissa, SAMPLES, **common)


def forecast(cell: Cell, seed: int) -> CellForecast:
    """Forecast the cell from the probe half of split `seed`, before any run: see `solvers.scaling.local_slope`.

    Rows that are symbols, one-hot, are forecast by how often they repeat. Networks are forecast by their kernel at the
    start, at the time and number of samples they are trained with. Of a rich one theory says two things, that features
    stand still and that they move as in a linear model: the forecast is the middle of both, and half their distance is
    part of its error.
    Errors: `Underpowered` where the probe allows no exponent: too few rows, or a target dominated by noise.
    """
    learned = learner(cell.learner)
    x, y, groups = cell.half(True, seed)
    if learned.trained is not None and cell.axis == "samples":
        return _of_time(cell, learned.kernel, x, y, groups, seed)
    if cell.axis == "samples" and _symbols(x):
        return _memorised(cell, x.argmax(1), float((y**2).sum(1).mean()))
    along_it: dict[str, Any] = {cell.axis: cell.abscissa}
    law = ScalingLaw.from_data(
        learned.kernel,
        x,
        y,
        ridge=RIDGE[cell.axis],
        training=np.inf if cell.axis == "samples" else TRAINED_SAMPLES if learned.trained else SAMPLES,
        groups=groups,
        seed=seed,
        axes=(cell.axis,),
        mechanisms=False,
        **along_it,
    )
    along = getattr(law, cell.axis)
    if along.value is None:
        raise Underpowered(along.because, where=str(cell), remedy="give another window")
    value, error, facts = along.value, along.error, dict(along.facts)
    if learned.trained is not None and learned.trained.richness:
        facts |= {"lazy": value, "improved": improved(value)}
        spread = (facts["improved"] - value) / 2
        value, error = value + spread, float(np.hypot(error, spread))
    return CellForecast(cell, value, error, np.sqrt(along.curve.test * along.partner.test), facts)


def _symbols(x):
    """Whether every row is one of many symbols: the Gaussian theory of kernels is then wrong, and memory is all."""
    return bool(((x != 0).sum(1) == 1).all())


def _memorised(cell, symbols, power):
    """The share of symbols not seen before, from their frequencies in the probe."""
    counted = frequencies(symbols)
    along = next(row for row in zipf.forecast(counted, cell.window) if row.axis == "samples")
    if along.exponent is None:
        raise Underpowered(along.because, where=str(cell), remedy="give more symbols")
    facts = {"mechanism": along.mechanism, **along.facts}
    test = power * counted.unseen(cell.abscissa)
    return CellForecast(cell, along.exponent.value, along.exponent.error, test, facts)


def _of_time(cell, kernel, x, y, groups, seed):
    """Test errors after a given time from more and more samples, by the kernel's flow."""
    gram = kernel(x)
    cross = cross_fit(gram, x, y, seed=seed, groups=groups)
    spectra = cross, partner(cross)
    if spectra[0].decades < LOCAL_DECADES:
        found = f"{len(x)} rows resolve {spectra[0].decades:.2f} decades of the spectrum, {LOCAL_DECADES:g} is needed"
        raise Underpowered(found, where=str(cell), remedy="give at least 500 rows")
    times = np.full(len(cell.abscissa), UNTIL)

    def curve(spectrum):
        return dynamics(spectrum, times=times, samples=cell.abscissa).test

    curves = [curve(spectrum) for spectrum in spectra]
    slopes = [log_slope(cell.abscissa, errors) for errors in curves]
    path = spectra[1].path
    assert path is not None and path.shares is not None
    units, rng = len(path.shares), np.random.default_rng([seed, 1])
    weights = rng.multinomial(units, np.full(units, 1 / units), RESAMPLES)
    scatter = float(np.std([log_slope(cell.abscissa, curve(resampled(spectra[1], each))) for each in weights], ddof=1))
    value, error = -float(np.mean(slopes)), half_width(slopes[0] - slopes[1], scatter)
    facts = {"cross_fitted": -slopes[0], "in_sample": -slopes[1], "scatter": scatter, "rows": len(x)}
    return CellForecast(cell, value, error, np.sqrt(curves[0] * curves[1]), facts)


def improved(lazy: float) -> float:
    """The exponent in time of features that move, on a hard task whose exponent is `lazy` where they do not.

        2 s / (1 + s) for 0 < s < 1, and s otherwise

    Reference: Bordelon, Atanasov & Pehlevan 2024 (arXiv:2409.17858).

    >>> improved(0.25), improved(1.5)
    (0.4, 1.5)
    """
    return 2 * lazy / (1 + lazy) if 0 < lazy < 1 else lazy


def _in_turn() -> Iterator[Cell]:
    """Every cell: rounds of one learner, axis and window each, over one task a problem first, then over its others."""
    problems = defaultdict(list)
    for known in TASKS.values():
        if not known.refused:
            problems[known.problem].append(known.name)
    rounds = [(name, axis, part) for part in ("all", "late") for name, axis in (("relu-3", "samples"),)]
    rounds[1:1] = [("relu-2", "samples", "all"), ("relu-2", "steps", "all"), ("neurons-relu", "parameters", "all")]
    rounds += [("laplace", "samples", "all"), ("erf-3", "samples", "late"), ("relu-4", "samples", "late")]
    for depth in range(max(map(len, problems.values()))):
        names = [names[depth] for names in problems.values() if len(names) > depth]
        for learned, axis, part in rounds:
            for name in names:
                yield Cell(name, learned, axis, _window(name, axis, part))


def trained_cells(budget_seconds: float) -> list[Cell]:
    """Cells of lazy networks, and of a rich one on the same tasks, that fit into a budget of seconds on an idle core.

    Rich networks had the larger exponent in time on digits (0.45 against 0.28 for classes) on both splits tried; on
    terrain, demosaicing and the relu teacher on one split, on terrain within the error of six runs on another; the same
    on modules, where samples bind; and a smaller one on the circle (0.23 against 0.29), where two layers learn
    frequency by frequency, in stairs.

    >>> print(trained_cells(100.0)[0])
    digits_parity/lazy-relu/steps 10..300
    """
    names = ("digits_parity", "digits_classes", "terrain", "demosaicing", "teacher_relu", "modules", "vowels", "circle")
    steps = [Cell(name, which, "steps", TRAINED_WINDOW) for name in names for which in ("lazy-relu", "rich-relu")]
    samples = [Cell(name, "lazy-relu", "samples", (FIRST, float(SAMPLES))) for name in names]
    others = [Cell(name, which, "steps", TRAINED_WINDOW) for which in ("lazy-erf", "lazy-relu-3") for name in names[:4]]
    order = [*steps[:8], *samples[:4], *others, *steps[8:], *samples[4:]]
    spent = np.cumsum([cell.seconds for cell in order])
    return order[: int(np.searchsorted(spent, budget_seconds, side="right"))]


def report_cells() -> list[Cell]:
    """The cells of a report: one a problem, along every axis, and a lazy and a rich network; two that must be refused.

    >>> len({record(cell.task).problem for cell in report_cells()}) >= 10
    True
    """
    samples = ["digits_classes", "digits_parity", "patches", "denoising", "textures", "letters", "terrain", "modules"]
    samples += ["prose_or_code", "unseen_words", "membrane", "teacher_relu", "sphere", "next_character", "noise"]
    cells = [Cell(name, "relu-3", "samples", (30.0, 270.0), REPORT_ROWS) for name in samples]
    cells += [Cell(name, "relu-2", "steps", WINDOWS["steps"], REPORT_ROWS) for name in ("digits_parity", "terrain")]
    names = ("digits_parity", "terrain")
    cells += [Cell(name, "neurons-relu", "parameters", WINDOWS["parameters"], REPORT_ROWS) for name in names]
    networks = ("lazy-relu", "rich-relu")
    return cells + [Cell("digits_parity", which, "steps", TRAINED_WINDOW) for which in networks]


def usual_window(name: str, learned: str, axis: str) -> tuple[float, float]:
    """The window of a task, a learner and an axis where none is asked for.

    >>> usual_window("digits_parity", "relu-2", "samples"), usual_window("digits_parity", "lazy-relu", "steps")
    ((40.0, 431.0), (10.0, 300.0))
    """
    if learner(learned).trained:
        return TRAINED_WINDOW if axis == "steps" else (float(FIRST), float(SAMPLES))
    return _window(name, axis, "all")


def _window(name, axis, part):
    if axis in WINDOWS:
        return WINDOWS[axis]
    last = float(int(SHARE * len(task(name))))
    return (float(FIRST), last) if part == "all" else (float(round(last / 4)), last)
