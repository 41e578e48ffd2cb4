"""Features that move against features that stay, on one hard task: the loss falls as t^-2s/(1+s) or as t^-s.

    T' = |beta| (rich) or delta (lazy),    loss ~ T^-s,    s = (target_exponent - 1)/capacity < 1.

The network is one linear neuron f = a w.x on modes with exact power laws; the imbalance delta = a^2 - |w|^2 of its
layers decides whether its kernel |beta| (I + bb') grows with the function (delta = 0) or stays (delta large).

>>> print(FeatureLearningScaling().exponents)
(0.4, 0.5714285714285714)
"""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache, lru_cache
from math import exp, gamma, log, pi, sin
from typing import Any

import numpy as np

from ...architecture.network import chain
from ...claims import Claim, Equals, Law, Scales
from ...dataset import Dataset, PowerLaw
from ...dynamics.products.single_neuron import KUNIN, frozen_flow, function_flow, neuron_flow
from ...errors import BadData, OutsideDomain
from ...model import Theory, parameter
from ...optimizers.optimizer_maps import with_optimizer
from ...scaling.feature_learning import REFERENCE, effective_time, growing_kernel, time_exponent
from ...scaling.source_capacity import asymptotic
from ...setup import Initialisation, Instance, Optimizer, Setup
from ...symbols import modes, over, positive
from ...system import Flow, Map, System
from ..sgd_least_squares import power_law

RICH = (20.0, 240.0)  # window of times under a kernel that grows from |beta| = START
START = 0.3
LAZY = 400.0  # imbalance
_target, _beta = modes("b beta", positive=None, real=True)
_LOSS = over(modes("lambda") * (_target - _beta) ** 2) / 2


@dataclass(frozen=True)
class FeatureLearningScaling(Theory):
    """Feature learning on a hard task: how fast the loss falls with moving and with fixed features."""

    dim: int = parameter(300, "number of modes", least=10)
    capacity: float = parameter(3.0, "eigenvalues fall as k^-capacity")
    target_exponent: float = parameter(2.2, "target power lambda_k w_k^2 falls as k^-target_exponent")

    def __post_init__(self):
        super().__post_init__()
        lazy, rich = self.exponents
        if not lazy < 1:
            raise OutsideDomain(
                f"(target_exponent - 1)/capacity = {lazy:.3g}: on easy tasks both regimes fall alike",
                where="feature-learning-scaling",
                remedy="give target_exponent < 1 + capacity",
            )

    @property
    def exponents(self) -> tuple[float, float]:
        """(lazy, rich) exponents of the loss in time."""
        b, a = self.capacity, self.target_exponent
        return float(asymptotic("steps", b, a)), float(time_exponent(b, a))

    def derive(self) -> Flow:
        """The effective time of all modes, for any imbalance."""
        return effective_time()

    def derivations(self) -> dict[str, System]:
        return {
            "the function of a two-layer linear network": function_flow(),
            "effective time": effective_time(),
            "exponent of a hard task": growing_kernel(),
            "gradient descent in the modes": neuron_descent(),
        }

    def claims(self) -> tuple[Claim, ...]:
        lazy, rich = self.exponents
        line = positive("front") * power_law().observables["excess_risk"]
        growing = self._setup(START, 0.0, rate=0.04, time=RICH[1])
        # the same modes are learned in the lazy window: T = delta t
        first, last = (self._effective(t) / LAZY for t in RICH)
        fixed = self._setup(0.1, LAZY, rate=0.002, time=last)
        return (
            Equals(
                name="curve",
                statement="Every step of the loss under a kernel that moves follows the recursion of the modes",
                observable="loss",
                setup=growing,
                law=Law("descent of both layers", neuron_descent, _neuron, "loss", reference=KUNIN),
                rival=Law("kernel of the start", frozen_flow, _frozen, _LOSS, reference=KUNIN),
                rival_home="a readout so large that the kernel does not move",
                relative="point",
                seconds=1.5,
                reference=KUNIN,
                budget={"rounding": 1e-9},
            ),
            Scales(
                name="rich_exponent",
                statement="With features that move the loss of a hard task falls as t^-2s/(1+s)",
                observable="loss",
                setup=growing,
                law=Law("growing kernel", power_law, _rich, line, reference=REFERENCE),
                rival=Law("fixed kernel", power_law, _lazy, line, reference=REFERENCE),
                rival_home="a readout so large that the kernel does not move",
                window=(RICH[0] / 0.04, np.inf),
                seconds=1.0,
                reference=REFERENCE,
                budget={**self._unlearned(rich), **self._beginning(rich), **self._whole_modes(log(RICH[1] / RICH[0]))},
            ),
            Scales(
                name="lazy_exponent",
                statement="With features that stay the loss of the same task falls as t^-s over the same modes",
                observable="loss",
                setup=fixed,
                law=Law("fixed kernel", power_law, _lazy, line, reference=REFERENCE),
                rival=Law("growing kernel", power_law, _rich, line, reference=REFERENCE),
                rival_home="a small balanced start",
                window=(first / 0.002, np.inf),
                seconds=1.0,
                reference=REFERENCE,
                budget={
                    **self._unlearned(lazy),
                    **self._nearly_fixed(lazy, 0.002),
                    **self._whole_modes(log(last / first)),
                },
            ),
        )

    def _setup(self, start: float, imbalance: float, *, rate: float, time: float) -> Setup:
        return Setup(
            network=chain("input", 1, 1),
            data=modes_of_power_laws(self.dim, self.capacity, self.target_exponent),
            optimizer=Optimizer(learning_rate=rate),
            initialisation=Initialisation("lambda_balanced", start, imbalance),
            time=time,
            records=40,
            spacing="log",
        )

    def _first(self) -> tuple[float, float]:
        """Eigenvalue and target coefficient of the first mode."""
        eigenvalues, target = PowerLaw(self.dim, self.capacity, self.target_exponent).spectrum()
        return float(eigenvalues[0]), float(target[0])

    def _growth(self) -> float:
        """h in |beta|^2 = w_1^2 k*^h / h."""
        return 1 + self.capacity - self.target_exponent

    def _effective(self, time: float) -> float:
        """T at a time: T' = w_1 sqrt(1/h) (2 lambda_1 T)^(h / 2 capacity), from T = 0."""
        (lam, w), h = self._first(), self._growth()
        power = h / 2 / self.capacity
        return ((1 - power) * w * h**-0.5 * (2 * lam) ** power * time) ** (1 / (1 - power))

    def _learned(self, time: float) -> float:
        """Modes learned under a growing kernel, k* = (2 lambda_1 T)^(1/capacity)."""
        return (2 * self._first()[0] * self._effective(time)) ** (1 / self.capacity)

    def _size(self, time: float) -> float:
        """|beta| = w_1 sqrt(k*^h / h)."""
        return self._first()[1] * (self._learned(time) ** self._growth() / self._growth()) ** 0.5

    def _unlearned(self, exponent: float) -> dict[str, float]:
        """The loss lacks the power of modes beyond the last: its share at the end, times the exponent."""
        share = (self._learned(RICH[1]) / self.dim) ** (self.target_exponent - 1)
        return {"modes beyond the last": exponent * share}

    def _beginning(self, exponent: float) -> dict[str, float]:
        """The law counts time from T = 0; turning the start to the target takes two rise times of the first mode.

        (t + t0)^-exponent has, over a window, the mean slope exponent (1 - t0 mean(1/t)), mean(1/t) over log t.
        """
        (lam, w), (low, high) = self._first(), RICH
        return {"time of the beginning": exponent * 2 / (lam * w) * (1 / low - 1 / high) / log(high / low)}

    def _whole_modes(self, window: float) -> dict[str, float]:
        """The sum over modes is not its integral: Poisson's first harmonic, by its saddle point, at the window's start.

        int k^-a exp(-x k^-b + 2 pi i k) dk, x = 2 lambda_1 T, has it at (b x/2 pi)^(1/(b+1)) exp(i pi/(2 b + 2)).
        A ripple of relative height A moves a slope over a window of length L in log t by at most 3 A/L.
        """
        b, a = self.capacity, self.target_exponent
        x, rho = 2 * self._first()[0] * self._effective(RICH[0]), (a - 1) / b
        at = (b * x / (2 * pi)) ** (1 / (b + 1))
        height = 2 * (at / (b + 1)) ** 0.5 * at**-a * exp(-2 * pi * (1 + 1 / b) * at * sin(pi / (2 * b + 2)))
        return {"whole modes": 3 * height * b * x**rho / gamma(rho) / window}

    def _nearly_fixed(self, exponent: float, rate: float) -> dict[str, float]:
        """Growth by |beta|^2/delta^2; as (1 - x)^2 < exp(-2 x), a step s of T acts on the next mode as T + s/4."""
        first, last = (self._effective(t) for t in RICH)
        shift = rate * LAZY / 4 * (1 / first - 1 / last) / log(last / first)
        return {"kernel still moves": self._size(RICH[1]) ** 2 / LAZY**2, "finite steps": exponent * shift}


@lru_cache(maxsize=8)
def modes_of_power_laws(dim: int, capacity: float, target_exponent: float) -> Dataset:
    """Rows whose covariance is exactly diag(k^-capacity) and whose targets are exactly linear: a population.

    >>> data = modes_of_power_laws(50, 3.0, 2.2)
    >>> np.allclose(data.covariances()[0], np.diag(PowerLaw(50, 3.0, 2.2).spectrum()[0]))
    True
    """
    eigenvalues, target = PowerLaw(dim, capacity, target_exponent).spectrum()
    rows = np.sqrt(dim * eigenvalues)
    facts = {"capacity": capacity, "target_exponent": target_exponent}
    return Dataset(np.diag(rows), rows * target, f"modes_{capacity:g}_{target_exponent:g}", facts=facts)


@cache
def neuron_descent() -> Map:
    """Gradient descent on both layers in the eigenbasis of the covariance: w <- w + eta lambda a (b - a w), and a.

    >>> print(neuron_descent().unknowns)
    (a, w)
    """
    return with_optimizer(neuron_flow())


def _exponents(instance: Instance) -> tuple[float, float]:
    facts = instance.facts
    if "capacity" not in facts:
        raise BadData(
            "no exponents are known for a data set",
            where="feature-learning-scaling",
            remedy="leave the data to the model, or estimate its exponents with exponents()",
        )
    given = float(facts["capacity"]), float(facts["target_exponent"])
    return float(asymptotic("steps", *given)), float(time_exponent(*given))


def _lazy(instance: Instance) -> Mapping[str, Any]:
    """loss = A (2 lambda_1 T)^-rho with T = a^2 t under the kernel of the start."""
    exponent, _ = _exponents(instance)
    height, lam, _ = _first_mode(instance)
    rate = instance.learning_rate * float(instance["W2"][0, 0]) ** 2
    return {"s": 0.0, "rho": exponent, "front": height * (2 * lam * rate) ** -exponent}


def _rich(instance: Instance) -> Mapping[str, Any]:
    """The same with T' = |beta| = w_1 sqrt(k*^h/h), k* = (2 lambda_1 T)^(1/capacity), from T = 0."""
    still, exponent = _exponents(instance)
    height, lam, w = _first_mode(instance)
    capacity, growth = float(instance.facts["capacity"]), 1 - still
    power = growth / 2  # T' = w_1 (capacity growth)^-1/2 (2 lambda_1 T)^power
    rate = (1 - power) * w * (capacity * growth) ** -0.5 * (2 * lam) ** power * instance.learning_rate
    return {"s": 0.0, "rho": exponent, "front": height * (2 * lam) ** -still * rate**-exponent}


def _first_mode(instance: Instance) -> tuple[float, float, float]:
    """A = lambda_1 w_1^2 Gamma(rho)/(2 capacity), then lambda_1 and w_1.

    sum_k lambda_k w_k^2 exp(-x k^-capacity)/2 = A x^-rho once many modes are learned: the sum as an integral.
    """
    still, capacity = _exponents(instance)[0], float(instance.facts["capacity"])
    row = float(instance["x"][0, 0])
    lam, w = row**2 / len(instance["x"]), float(instance["y"][0, 0]) / row
    return lam * w**2 * gamma(still) / (2 * capacity), lam, w


def _neuron(instance: Instance) -> Mapping[str, Any]:
    """Both layers and the target in the eigenbasis of the covariance, which for these data is the standard one."""
    _exponents(instance)
    rows = np.diagonal(instance["x"])
    return {
        "a": float(instance["W2"][0, 0]),
        "w": instance["W1"][0],
        "lambda": rows**2 / len(rows),
        "b": instance["y"][:, 0] / rows,
        "eta_a": 1.0,
        "eta_w": 1.0,
    }


def _frozen(instance: Instance) -> Mapping[str, Any]:
    """The kernel of the start, a^2 I + w w'."""
    values = _neuron(instance)
    a, w = values["a"], values["w"]
    norm = float((w**2).sum())
    return {
        "beta": a * w,
        "b_0": w / norm**0.5,
        "f": a**2,
        "g": norm,
        "lambda": values["lambda"],
        "b": values["b"],
    }
