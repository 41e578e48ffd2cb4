r"""Multitask sparse parity: skills that appear one after another, at times ~ 1/frequency, add up to a smooth power law.

    R_k' = 2 p_k R_k (1 - R_k),      1/2 sum_k p_k (1 - R_k)^2  ~  t^-alpha/(1+alpha)     for p_k ~ k^-(1+alpha).

Every skill is the parity of its own bits, every one a product of two weights (the multilinear model). No single curve
is a power law; their sum is, prefactor included. See `mechanisms.quanta` for the derivation.

>>> print(MultitaskSparseParityModel().derive().equations[0])
2*R*p*(1 - R)
"""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache, lru_cache
from typing import Any

import numpy as np
import sympy as sp

from ...architecture.network import Network, Node
from ...claims import Claim, Equals, Law
from ...dataset import Dataset
from ...derivation.assumptions import Closure
from ...mechanisms import quanta
from ...mechanisms.quanta import NAM, exponential_descent, multilinear_descent, multilinear_flow, unknown_skills
from ...mechanisms.sparse_parity import MultitaskSparseParity
from ...model import Theory, parameter
from ...setup import Initialisation, Instance, Optimizer, Setup
from ...symbols import positive
from ...system import FixedPoint, Flow, System
from ...trail import Equations

START = 0.03  # both weights of every skill; its strength is the square
RATE = 1.0
SKILLS = 200  # of the experiment on the loss curve, whose front reaches about a fifth of them
BEGIN, END = 100, 2000  # steps between which the loss is judged: the first skills are known, the last ones not yet
_ODDS = 1 / START**2 - 1  # x = 1/R(0) - 1
_AMPLITUDE, _EXPONENT, _REST, _TIME, _LOSS = positive("A s r t E")


@dataclass(frozen=True)
class MultitaskSparseParityModel(Theory):
    """Discrete skills of multitask sparse parity"""

    alpha: float = parameter(0.5, "skill number k is asked for with probability ~ k^-(1 + alpha)")

    def derive(self) -> Flow:
        """The strength of every skill, and the loss they add up to."""
        return multilinear_flow()

    def derivations(self) -> Mapping[str, System]:
        return {
            "one skill": multilinear_flow(),
            "gradient descent": multilinear_descent(),
            "many skills": unknown_skills(),
            "loss in time": loss_in_time(),
        }

    def claims(self) -> tuple[Claim, ...]:
        return self._emergence(), self._loss()

    def _emergence(self) -> Claim:
        setup = Setup(
            network=multilinear(),
            data=MultitaskSparseParity(skills=24, bits=12, alpha=self.alpha, view="skills"),
            sample="subset",
            axes={"n": 500},
            optimizer=Optimizer(learning_rate=RATE),
            initialisation=Initialisation("constant", START),
            steps=800,
            records=41,
        )
        return Equals(
            name="emergence",
            statement="Every skill grows along its own sigmoid, at the pace of its frequency among 500 sampled rows",
            observable="linear_coefficients",
            setup=setup,
            law=Law("product of two weights", multilinear_descent, _products, "skill", reference=NAM),
            rival=Law("one weight a skill", exponential_descent, _single, "skill", reference=NAM),
            rival_home="skills linear in their weights, such as a kernel's: same pace, same order, no plateau",
            relative="scale",
            seeds=3,
            seconds=1.0,
            reference=NAM,
            budget={"rounding": 1e-10},
        )

    def _loss(self) -> Claim:
        skills = MultitaskSparseParity(skills=SKILLS, bits=24, alpha=self.alpha, view="skills")
        setup = Setup(
            network=multilinear(),
            data=one_row_a_skill(skills),
            optimizer=Optimizer(learning_rate=RATE),
            initialisation=Initialisation("constant", START),
            steps=END,
            records=40,
            spacing="log",
        )
        return Equals(
            name="loss_curve",
            statement="The loss of all skills together is the power of time that sigmoids at times ~ 1/p add up to",
            observable="loss",
            setup=setup,
            law=Law("sigmoids", loss_in_time, _sigmoids, "loss", (WIDE_FRONT,), reference=NAM),
            rival=Law("exponentials", loss_in_time, _exponentials, "loss", reference=NAM),
            rival_home="skills linear in their weights: same exponent, less by the time that sigmoids wait",
            relative="point",
            seconds=1.5,
            reference=NAM,
            budget=_budget(skills),
            options={"window": (BEGIN, END)},
        )


def multilinear() -> Network:
    """A sum over skills of two weights times the feature: f = sum_k a_k b_k g_k(x).

    >>> multilinear().shapes({"input": 5})
    {'a': (5,), 'b': (5,)}
    """
    return Network(
        (
            Node("x", "input", width="input"),
            Node("first", "scale", ("x",), weight="a"),
            Node("second", "scale", ("first",), weight="b"),
            Node("output", "total", ("second",)),
        )
    )


@cache
def loss_in_time() -> FixedPoint:
    """E(t) = A t^-s - r: the power law of infinitely many skills, less those beyond the K that there are.

    Skills beyond K would all be unknown, with the loss r = 1/2 sum_{k > K} p_k.

    >>> print(loss_in_time().equations[0])
    A/t**s - E - r
    """
    right = _AMPLITUDE * _TIME**-_EXPONENT - _REST
    trail = unknown_skills().trail
    trail = trail.then("exponent in time", Equations(((_EXPONENT, quanta.asymptotic("steps")),)), parents=(4,))
    trail = trail.then(
        "ranks beyond K belong to the integral, not to the data", Equations(((_LOSS, right),)), reference=NAM
    )
    return FixedPoint((_LOSS,), (right - _LOSS,), observables={"loss": _LOSS}, trail=trail)


@lru_cache(maxsize=4)
def one_row_a_skill(skills: MultitaskSparseParity) -> Dataset:
    """The population as K rows: see `MultitaskSparseParity.expected`."""
    return skills.expected()


def _shares(instance: Instance) -> np.ndarray:
    """How often every skill is asked for: mean squares of its feature."""
    return (np.asarray(instance["x"]) ** 2).mean(0)


def _products(instance: Instance) -> dict[str, Any]:
    return {"p": _shares(instance), "u": instance["a"]}


def _single(instance: Instance) -> dict[str, Any]:
    return {"p": _shares(instance), "R": instance["a"] * instance["b"]}


def _sigmoids(instance: Instance) -> dict[str, Any]:
    odds = 1 / float(instance["a"][0] * instance["b"][0]) - 1
    return _stated(instance, lambda s: sp.re(quanta.fermi_integral(s, sp.Float(odds)).evalf()))


def _exponentials(instance: Instance) -> dict[str, Any]:
    """The same with 1 - R = (1 - R(0)) exp(-v): J = (1 - R(0))^2 Gamma(s) 2^-s."""
    start = float(instance["a"][0] * instance["b"][0])
    return _stated(instance, lambda s: (1 - start) ** 2 * sp.gamma(s) * 2**-s)


def _stated(instance: Instance, integral) -> dict[str, Any]:
    """Numbers of `loss_in_time`: the weight c and alpha are read off the two most frequent skills."""
    share = _shares(instance)
    alpha = float(np.log2(share[0] / share[1]) - 1)
    s, weight, beyond = alpha / (1 + alpha), float(share[0]), len(share) + 0.5
    amplitude = weight ** (1 / (1 + alpha)) / (2 * (1 + alpha)) * 2**-s * float(integral(s))
    time = np.maximum(instance.learning_rate * instance.steps, 1.0)  # the first record is before any step
    return {"A": amplitude, "s": s, "r": weight / (2 * alpha) * beyond**-alpha, "t": time[:, None]}


def _front(weight: float, alpha: float, time: float) -> tuple[float, float]:
    """Rank of the skill that is being learned at a time, 2 p t = log x, and over how many ranks learning spreads."""
    rank = (2 * weight * time / np.log(_ODDS)) ** (1 / (1 + alpha))
    return float(rank), float(rank / ((1 + alpha) * np.log(_ODDS)))


def _narrow(values: Mapping[str, Any]) -> float:
    """One over the width of the front, in ranks, where the loss is first judged."""
    alpha = values["s"] / (1 - values["s"])
    return 1 / _front(float((np.asarray(values["x"])[:, 0] ** 2).mean()), alpha, BEGIN)[1]


# one skill after the other: the loss falls in steps
WIDE_FRONT = Closure("wide front", "more than a tenth of a rank is being learned", None, NAM, 10.0, _narrow)


def _budget(skills: MultitaskSparseParity) -> dict[str, float]:
    """What the loss curve leaves out, relative to the loss, where each part is largest.

    The front stands at p = log(x)/2t, at the rank k(t); the loss is p k/(2 alpha) less that of ranks beyond K.
    """
    alpha, weight, count = skills.alpha, float(skills.frequencies()[0]), skills.skills + 0.5
    s = alpha / (1 + alpha)

    def more_at(time: float) -> float:
        """A t^-s over the loss."""
        return float(1 / (1 - (_front(weight, alpha, time)[0] / count) ** alpha))

    (front, width), more, end = _front(weight, alpha, BEGIN), more_at(BEGIN), more_at(END)
    last = weight * count ** -(1 + alpha)  # p where the skills end
    # Poisson summation: of the front (1 + e^z)^-2, z = (k - front)/width, the Fourier component of one wave per rank
    wave = np.hypot(1, 2 * np.pi * width) * 2 * np.pi**2 * width / np.sinh(2 * np.pi**2 * width)
    return {
        # a step multiplies by 1 + eta p, not by exp(eta p): the front is late by the share eta p/2 of the time
        "steps, not a flow": float(s * RATE * np.log(_ODDS) / (4 * BEGIN) * more),
        "whole ranks": float(wave / np.pi * alpha / front * more),
        # skills beyond K are counted as unknown, (1 - R)^2 = 1, though R would have grown a little
        "skills beyond K": float(2 * START**2 * np.exp(2 * last * END) * (end - 1)),
    }
