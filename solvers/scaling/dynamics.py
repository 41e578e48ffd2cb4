r"""Test and training error at any training time, from any number of samples and of random features, from a spectrum.

A linear readout of N random features of a kernel, trained by gradient flow (unit rate, loss with 1/2) or descent on P
samples, errs as v' = -F G v, with F the features' and G the samples' covariance. On average over both,

    test(t) = double inverse Laplace transform of C(tau, tau')/(tau tau'),   kappa (1 - S/P)(1 - S/N) = tau,

(`frequencies`, derived in `theory.scaling.dynamical`). One inverse transform at 2t is enough where either is infinite
and its error is that of a symmetric flow, and none for P = N = infinity: sum v_k exp(-2 lambda_k t).

Reference: Bordelon, Atanasov & Pehlevan 2024 (arXiv:2402.01092).
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property, lru_cache
from typing import Any

import numpy as np

from ...theory.arguments import number, numbers
from ...theory.errors import BadData, OutsideDomain
from ...theory.measured_spectra.log_slope import log_slope
from ...theory.measured_spectra.power_law_tail import PowerLawTail
from ...theory.measured_spectra.spectrum import Spectrum
from ...theory.scaling.dynamical import MEAN_ERROR, TEST_ERROR, dynamical
from ..regression.levels import Levels, levels
from .frequencies import Frequencies, bottlenecks, fastest_rate, frequencies
from .laplace import FEWER, NODES, Contour, decay, descent, talbot

WHERE = "dynamics"
LARGEST = 1e140  # its square is a float
LEVELS = 32  # for each factor e: poles of complex effective ridges are nearer than those of real ones
RESOURCES = ("steps", "samples", "parameters")


@dataclass(frozen=True, eq=False)
class Dynamics:
    """Expected errors at training times; arrays are (T,).

    `test`, `train`  mean squared errors without 1/2, noise included; means over draws of samples and features
    `bias`           test error of the mean predictor over draws: the rest of `test` is variance
    `error`          estimate of the numerical error of `test`, from a second contour
    `kappa`          effective ridge at tau = 1/t
    `learned`        modes learned at that ridge, sum lambda/(lambda + kappa)
    `shares`         (T, 3) how much of a change of log kappa each of `RESOURCES` commands; they sum to 1
    `samples`, `features`  as given, one per time
    """

    times: np.ndarray
    test: np.ndarray
    train: np.ndarray
    bias: np.ndarray
    error: np.ndarray
    kappa: np.ndarray
    learned: np.ndarray
    shares: np.ndarray
    samples: np.ndarray
    features: np.ndarray
    noise: float
    weight_decay: float
    learning_rate: float
    modes: float
    source: Any = field(default=None, repr=False)

    @property
    def bottleneck(self) -> tuple[str, ...]:
        """The resource that limits what is learned at every time: "steps", "samples" or "parameters".

        The one whose increase lowers the effective ridge most; samples bind once half of them are used up, S > P/2.

        >>> print(dynamics(np.arange(1.0, 1e3) ** -1.5, times=[1.0, 1e6], samples=30).bottleneck)
        ('steps', 'samples')
        """
        most = self.shares >= self.shares.max(1, keepdims=True) * (1 - 1e-6)  # of equal ones the first
        return tuple(RESOURCES[i] for i in most.argmax(1))

    def slope(self, window: tuple[float, float] = (0.0, np.inf)) -> float:
        """Least-squares slope of log test error against log t over times within the window. Errors: `BadData`.

        >>> flow = dynamics(np.arange(1.0, 1e4) ** -1.5, np.arange(1.0, 1e4) ** -2.0, times=np.geomspace(10, 1e3, 9))
        >>> print(round(flow.slope(), 2))  # -(target_exponent - 1)/capacity
        -0.67
        """
        low, high = window
        kept = (self.times >= low) & (self.times <= high) & (self.times > 0) & (self.test > 10 * self.error)
        if len(np.unique(self.times[kept])) < 2:
            found = f"{int(kept.sum())} times within {low:g} to {high:g}"
            raise BadData(found, where=f"{WHERE}, slope", remedy="give at least two positive times in the window")
        return log_slope(self.times[kept], self.test[kept])

    def unlearned(self, eigenvalues: Any) -> np.ndarray:
        """Mean share of the coefficient of modes with these eigenvalues that is not learned, (T, modes).

        >>> dynamics([1.0], times=[0.0, np.log(2.0)]).unlearned([1.0, 0.0]).round(12)
        array([[1. , 1. ],
               [0.5, 1. ]])
        """
        return self.source.unlearned(numbers(eigenvalues, "eigenvalues", WHERE).ravel())

    def first_corrections(self) -> dict[str, np.ndarray]:
        """Coefficients (T,) of 1/P and 1/N in the test error of few samples and features, at early times.

        test = test(P = N = infinity) + samples/P + features/N while fewer modes are learned than there are samples and
        features: "samples" and "features", of this spectrum whatever its own numbers are.

        >>> flow = dynamics([1.0], [1.0], times=[1.0])
        >>> wide = dynamics([1.0], [1.0], times=[1.0], features=1e6)
        >>> print((1e6 * (wide.test - flow.test) / flow.first_corrections()["features"]).round(4))
        [1.]
        """
        return self.source.first_corrections()

    def to_dict(self) -> dict:
        arrays = ("times", "test", "train", "bias", "error", "kappa", "learned", "shares", "samples", "features")
        return {name: getattr(self, name).tolist() for name in arrays} | {
            "bottleneck": list(self.bottleneck),
            "noise": self.noise,
            "weight_decay": self.weight_decay,
            "learning_rate": self.learning_rate,
            "modes": self.modes,
            "convention": "mean squared error without 1/2, noise included; t = learning rate x steps on the 1/2-loss",
        }

    def __str__(self) -> str:
        rule = f"descent at rate {self.learning_rate:g}" if self.learning_rate else "gradient flow"
        lines = [
            f"Dynamics: {self.modes:.6g} modes, noise {self.noise:g}, weight decay {self.weight_decay:g}, {rule}",
            f"{'t':>12} {'test':>11} {'train':>11} {'bias':>11} {'learned':>9} {'samples':>9} {'features':>9}  limit",
        ]
        shown = np.unique(np.linspace(0, len(self.times) - 1, min(8, len(self.times))).astype(int))
        lines += [
            f"{self.times[i]:>12.6g} {self.test[i]:>11.4e} {self.train[i]:>11.4e} {self.bias[i]:>11.4e} "
            f"{self.learned[i]:>9.4g} {self.samples[i]:>9.4g} {self.features[i]:>9.4g}  {self.bottleneck[i]}"
            for i in shown
        ]
        return "\n".join([*lines, f"largest numerical error {self.error.max():.0e}"])

    __repr__ = __str__


def dynamics(
    eigenvalues: Any,
    power: Any = None,
    times: Any = (),
    samples: Any = np.inf,
    features: Any = np.inf,
    noise: float = 0.0,
    multiplicities: Any = None,
    tail: PowerLawTail | None = None,
    weight_decay: float = 0.0,
    learning_rate: float = 0.0,
) -> Dynamics:
    """Errors of a spectrum at training times; see the module for the equations.

    `eigenvalues`     (modes,) of the kernel operator, or a `Spectrum`, which brings power, multiplicities and noise
    `power`           (modes,) target power v_k; of a level, summed over its modes
    `times`           (T,) from 0: learning rate times steps, for the loss with 1/2
    `samples`, `features`  numbers, or one for each time; infinite if not given
    `noise`           variance of the labels' noise, in `test` and `train`
    `weight_decay`    of the weights: the flow ends at kernel regression with ridge samples x weight_decay
    `learning_rate`   0 is gradient flow; else descent with this step, and times are whole numbers of steps

    Errors: `BadData` for shapes, signs and times that are no whole steps; `OutsideDomain` where descent diverges.

    >>> flow = dynamics([1.0], [1.0], times=[0.0, 1.0, 1e12])
    >>> print(np.abs(flow.test - np.exp(-2 * flow.times)).max() < 1e-15)
    True
    """
    noise, weight_decay = number(noise, "noise", WHERE), number(weight_decay, "weight_decay", WHERE)
    learning_rate = number(learning_rate, "learning_rate", WHERE)
    if isinstance(eigenvalues, Spectrum):
        spectrum, noise = eigenvalues, noise + eigenvalues.noise
        eigenvalues, power, multiplicities = spectrum.eigenvalues, spectrum.power, spectrum.multiplicities
    times = _times(times, learning_rate)
    samples, features = _numbers(samples, "samples", times), _numbers(features, "features", times)
    p, q = 1 / samples, 1 / features
    if tail is not None and not isinstance(tail, PowerLawTail):
        raise BadData(f"a tail of type {type(tail).__name__}", where=WHERE, remedy="give a PowerLawTail")
    every = levels(eigenvalues, power, multiplicities, tail, WHERE, nodes=0)
    few = levels(eigenvalues, power, multiplicities, tail, WHERE, nodes=LEVELS)
    unit = float(every.eigenvalues.max())  # all rates in units of the largest: no scale of the kernel overflows
    moved, total = unit * times[times > 0], every.total + noise
    if moved.size and not 1 / LARGEST < moved.min() <= moved.max() < LARGEST or not total < LARGEST:
        found = f"eigenvalue x time {moved.min(initial=np.inf):.3g} to {moved.max(initial=0):.3g}, power {total:.3g}"
        raise BadData(found, where=WHERE, remedy="take units nearer to 1: products of these leave the range of floats")
    every, few = (replace(modes, eigenvalues=modes.eigenvalues / unit) for modes in (every, few))
    source = _Source(every, few, unit, unit * times, p, q, noise, weight_decay / unit, unit * learning_rate)
    source.check()
    test, train, error = source.errors()
    kappa, learned, shares = bottlenecks(few, unit * times, p, q, weight_decay / unit)
    return Dynamics(
        times=times,
        test=test,
        train=train,
        bias=source.bias(test),
        error=error,
        kappa=unit * kappa,
        learned=learned,
        shares=shares,
        samples=samples,
        features=features,
        noise=noise,
        weight_decay=weight_decay,
        learning_rate=learning_rate,
        modes=every.modes,
        source=source,
    )


def fixed_point(system: Any, values: Mapping[str, Any], abscissa: np.ndarray) -> dict[str, np.ndarray]:
    """Errors (T, 1) of descent at steps (T,) for laws of `theory.scaling.dynamical` that name this solver.

    "test_error_in_time" is the inverse transform of the correlation at equal times, "mean_error_in_time" that of the
    mean predictor; the effective ridges are those of the real frequencies 1/t. Raises `BadData` for another system.

    >>> values = {"lambda": np.ones(1), "multiplicity": np.ones(1), "power": np.ones(1), "eta": 0.5, "noise": 0.0}
    >>> fixed_point(None, {**values, "P": np.inf, "N": np.inf}, np.array([0, 1]))["test_error_in_time"]
    array([[1.  ],
           [0.25]])
    """
    if system is not None and system != dynamical():
        raise BadData("a system other than dynamical()", where=WHERE, remedy="solve it without naming this solver")
    names = ("lambda", "power", "multiplicity", "eta", "P", "N", "noise")
    arrays = (*(values[name] for name in names), abscissa)
    return _of_bytes(*(np.asarray(array, float).tobytes() for array in arrays))


@lru_cache(maxsize=64)
def _of_bytes(*given: bytes) -> dict[str, np.ndarray]:
    """Seeds of one setting bind the same numbers: they are solved once."""
    lam, power, count, (rate,), (samples,), (features,), (noise,), steps = map(np.frombuffer, given)
    found = dynamics(lam, power, rate * steps, samples, features, noise, count, learning_rate=rate)
    arrays = {"kappa": found.kappa, "kappa_2": found.kappa, TEST_ERROR: found.test, MEAN_ERROR: found.bias}
    return {name: array[:, None] for name, array in arrays.items()}


@dataclass(frozen=True, eq=False)
class _Source:
    """What a curve is computed from: all modes, the few levels that stand for them, and times with their resources.

    Rates and times are in units of the largest eigenvalue, `unit`.
    """

    every: Levels
    few: Levels
    unit: float
    times: np.ndarray
    p: np.ndarray
    q: np.ndarray
    noise: float
    weight_decay: float
    learning_rate: float

    def errors(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Test and training error and the numerical error of the former, (T,)."""
        start = self.every.total + self.noise
        test, train, error = np.full_like(self.times, start), np.full_like(self.times, start), 0 * self.times
        moved = self.times > 0
        free = moved & (self.p == 0) & (self.q == 0)
        test[free] = train[free] = self._free(free)
        wide = moved & (self.p == 0) & (self.q > 0) if not self.weight_decay else np.zeros_like(moved)
        if wide.any():
            found = [self._population(wide, count) for count in (NODES, FEWER)]
            test[wide] = train[wide] = found[0]
            error[wide] = _estimate(found, start)
        rest = moved & ~free & ~wide
        if rest.any():
            pairs = [self._both(rest, count) for count in (NODES, FEWER)]
            test[rest], train[rest] = pairs[0]
            error[rest] = _estimate([pair[0] for pair in pairs], start)
        return np.maximum(test, 0.0), np.maximum(train, 0.0), error  # of zero, rounding may be left

    def bias(self, test: np.ndarray) -> np.ndarray:
        """sum v m^2 and what is never learned, with m the mean share not learned."""
        bias = np.full_like(self.times, self.every.total + self.noise)
        free = (self.times > 0) & (self.p == 0) & (self.q == 0)
        bias[free] = test[free]
        rest = (self.times > 0) & ~free
        if rest.any():
            share = self._mean(rest, self.few.eigenvalues)
            bias[rest] = share**2 @ self.few.power + self.few.lost + self.noise
        return bias

    def _free(self, rows: np.ndarray) -> np.ndarray:
        modes = self.every if self.learning_rate else self.few  # powers of 1 - eta lambda need every mode
        return _squared(modes, self._kept(rows)) + modes.lost + self.noise

    def unlearned(self, eigenvalues: np.ndarray) -> np.ndarray:
        eigenvalues = eigenvalues / self.unit
        share = np.ones((len(self.times), len(eigenvalues)))
        free = (self.p == 0) & (self.q == 0)
        share[free] = self._kept(free)(eigenvalues)
        rest = (self.times > 0) & ~free
        if rest.any():
            share[rest] = self._mean(rest, eigenvalues)
        return share

    def first_corrections(self) -> dict[str, np.ndarray]:
        found = {"samples": np.zeros_like(self.times), "features": np.zeros_like(self.times)}
        none = np.zeros_like(self.times)
        for row in np.flatnonzero(self.times > 0):
            rows = np.array([row])
            contour = self._contour(rows, NODES)
            at = frequencies(self.few, contour.nodes + self.weight_decay, none[rows], none[rows])
            same, other = contour.products()
            features, features_mixed, samples, samples_mixed = at.first_order(self.noise)
            found["features"][row] = contour.twice(features / same, features_mixed / other)[0]
            found["samples"][row] = contour.twice(samples / same, samples_mixed / other)[0]
        return found

    def check(self) -> None:
        """Descent must converge: learning rate times the fastest rate below 2."""
        if not self.learning_rate:
            return
        top = self.learning_rate * self._fastest
        if top >= 2:
            raise OutsideDomain(
                f"learning rate {self.learning_rate / self.unit:g} is {top / 2:.3g} times the largest that converges",
                where=WHERE,
                remedy=f"give a learning rate below {2 * self.learning_rate / self.unit / top:.6g}",
            )

    @cached_property
    def _fastest(self) -> float:
        """The largest rate of all settings."""
        pairs = np.unique(np.stack([self.p, self.q], axis=1), axis=0)
        return max(fastest_rate(self.every, *pair) for pair in pairs) + self.weight_decay

    def _kept(self, rows: np.ndarray):
        """The function of an eigenvalue that remains unlearned with infinite samples and features, (T, modes)."""
        times, held = self.times[rows, None], self.weight_decay

        def share(lam: np.ndarray) -> np.ndarray:
            left = decay(lam + held, times, self.learning_rate)
            return (held + lam * left) / (lam + held) if held else left

        return share

    def _contour(self, rows: np.ndarray, count: int, factor: int = 1) -> Contour:
        times = factor * self.times[rows]
        if not self.learning_rate:
            return talbot(times, count)
        alternating = self.learning_rate * self._fastest > 0.9
        return descent(np.rint(times / self.learning_rate), self.learning_rate, alternating, count)

    def _at(self, contour: Contour, rows: np.ndarray) -> Frequencies:
        return frequencies(self.few, contour.nodes + self.weight_decay, self.p[rows], self.q[rows])

    def _population(self, rows: np.ndarray, count: int) -> np.ndarray:
        contour = self._contour(rows, count, factor=2)
        return contour.once(self._at(contour, rows).single() / contour.nodes) + self.noise

    def _both(self, rows: np.ndarray, count: int) -> tuple[np.ndarray, np.ndarray]:
        contour = self._contour(rows, count)
        test, mixed, train, train_mixed = self._at(contour, rows).double(self.noise)
        same, other = contour.products()
        return contour.twice(test / same, mixed / other), contour.twice(train / same, train_mixed / other)

    def _mean(self, rows: np.ndarray, eigenvalues: np.ndarray) -> np.ndarray:
        contour = self._contour(rows, NODES)
        found = self._at(contour, rows)
        weights = contour.weights / contour.nodes * found.kappa
        share = np.empty((len(contour.nodes), len(eigenvalues)))
        for i in range(len(share)):
            share[i] = (weights[i] @ (1 / (eigenvalues + found.kappa[i][:, None]))).real
        return share


def _squared(modes: Levels, share) -> np.ndarray:
    """sum v m^2 over all modes, a block of modes at a time."""
    step, total = 1 << 14, np.zeros(1)
    for first in range(0, len(modes.eigenvalues), step):
        block = slice(first, first + step)
        total = total + share(modes.eigenvalues[block]) ** 2 @ modes.power[block]
    return total


def _estimate(found: list[np.ndarray], start: float) -> np.ndarray:
    return np.abs(found[0] - found[1]) + 1e-14 * start


def _times(times: Any, learning_rate: float) -> np.ndarray:
    found = np.atleast_1d(numbers(times, "times", WHERE))
    if found.ndim != 1 or not found.size or not (np.isfinite(found) & (found >= 0)).all():
        raise BadData(f"times {times}", where=WHERE, remedy="give finite times >= 0 as a list")
    if learning_rate:
        steps = found / learning_rate
        off = np.abs(steps - np.rint(steps))
        if (off > 1e-6 * np.maximum(steps, 1)).any():
            said = f"time {found[off.argmax()]:g} is {steps[off.argmax()]:g} steps of {learning_rate:g}"
            raise BadData(said, where=WHERE, remedy="give times that are whole multiples of the learning rate")
    return found


def _numbers(value: Any, name: str, times: np.ndarray) -> np.ndarray:
    found = numbers(value, name, WHERE)
    if found.ndim > 1 or (found.ndim == 1 and found.shape != times.shape) or not (found > 0).all():
        raise BadData(f"{name} {value}", where=WHERE, remedy=f"give {name} > 0, one number or one for each time")
    return np.broadcast_to(found, times.shape)
