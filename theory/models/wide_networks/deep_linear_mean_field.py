"""Deep linear networks of infinite width that learn features: dynamical mean-field theory, step by step in time.

    f = W_L ... W_1 x / (gamma N^((L-1)/2 + 1/2) d^(1/2)),   step size eta gamma^2 N

With the richness gamma fixed as the width N grows, kernels move by an amount that does not shrink, and outputs of a
network of width N depart from the theory by about 1/sqrt(N). gamma -> 0 is gradient descent with a kernel that stays.

>>> print(DeepLinearMeanField(depth=2).derive().equations[-1])
-F + K*D.T*e_1.T*R_1.T + c_1*G_1
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import numpy as np
import sympy as sp

from ...architecture.network import chain
from ...claims import Claim, Converges, Equals, Law
from ...errors import BadData
from ...mean_field.deep_linear import BORDELON, infinitely_wide, lazy_limit, self_consistency, single_neuron
from ...model import Theory, parameter
from ...regression.kernels import linear
from ...setup import Initialisation, Instance, Optimizer, Setup
from ...system import FixedPoint, System

_LAZY = "Jacot, Gabriel & Hongler 2018, arXiv:1806.07572"
_WIDE = 2048
_VERY_WIDE = 16384  # cheap in two layers
_RATE, _FAST = 0.3, 1.3  # learning rates in units of the inverse largest rate at the start, whose edge is 2
_SIGMAS = 4.0  # of the fluctuations of one network that budgets allow


@dataclass(frozen=True)
class DeepLinearMeanField(Theory):
    """Deep linear networks of infinite width that learn features"""

    depth: int = parameter(3, "number of weight matrices", least=2)
    richness: float = parameter(2.0, "gamma > 0: how far features move; 0 would be the lazy limit")

    def derive(self) -> FixedPoint:
        return self_consistency(self.depth)

    def derivations(self) -> Mapping[str, System]:
        return {
            "one neuron among infinitely many": single_neuron(),
            "all layers, self-consistent": self.derive(),
            "lazy limit": lazy_limit(),
        }

    def claims(self) -> tuple[Claim, ...]:
        if self.richness <= 0:
            raise BadData(f"richness {self.richness}", where=self.model_name(), remedy="give a number above 0")
        return (
            self._outputs(),
            self._features(),
            self._large_steps(),
            self._width(),
            self._narrow(),
        )

    def _law(self, readout: Any = "F", **changes: Any) -> Law:
        law = Law(
            "mean-field theory",
            partial(self_consistency, self.depth),
            bound,
            readout,
            assumptions=(infinitely_wide(),),
            reference=BORDELON,
            solver="mean_field.deep_linear:fixed_point",
        )
        return replace(law, **changes)

    def _lazy(self) -> Law:
        return Law("frozen kernel", lazy_limit, partial(_frozen, self.depth), _fitted(), reference=_LAZY)

    def _setup(self, rate: float = _RATE, **moves: Any) -> Setup:
        setup = Setup(
            network=chain("input", *["width"] * (self.depth - 1), "output", parameterization="ntk"),
            data="digits",
            prepare=("drop_constant", "centre", "unit_norm", "unit_scale", "parity", "unit_targets"),
            sample="subset",
            axes={"n": 8, "width": _WIDE, "richness": self.richness},
            optimizer=Optimizer(learning_rate=rate / self.depth, unit="1/kernel"),
            initialisation=Initialisation("standard_normal"),
            steps=40,
            records=21,
            options={"kernel": linear()},
        )
        return setup.at(**moves)

    def _outputs(self) -> Claim:
        return Equals(
            "outputs",
            "At every step the outputs of a wide deep linear network are those of mean-field theory, while its feature "
            "kernels move by more than they were.",
            "outputs",
            self._setup(),
            law=self._law(),
            rival=self._lazy(),
            rival_home="gamma -> 0",
            relative="none",
            # both are of independent weights
            budget={
                "outputs and kernels at the start": float(
                    np.hypot(_SIGMAS / (self.richness * _WIDE**0.5), _kernels_at_start(self.depth, _WIDE, _RATE))
                )
            },
            seconds=2,
        )

    def _features(self) -> Claim:
        return Equals(
            "features",
            "How far the feature kernel of every hidden layer moves, |Phi(t) - Phi(0)| / |Phi(0)|, is that of "
            "mean-field theory: of order one, however wide the network.",
            "feature_movement",
            self._setup(),
            law=self._law(sp.Symbol("kernel_movement")),
            rival=self._law(
                sp.Symbol("kernel_movement"), name="frozen features", bind=_without_richness, assumptions=()
            ),
            rival_home="gamma -> 0",
            relative="scale",
            budget={"kernels of the hidden layers": _SIGMAS * (2 * (self.depth - 1) / _WIDE) ** 0.5},
            seconds=2,
        )

    def _large_steps(self) -> Claim:
        shallow, centred = DeepLinearMeanField(depth=2, richness=0.5), {"kernel": linear(), "centred": True}
        return Equals(
            "large_steps",
            "Mean-field theory holds at finite steps: close to the edge of stability, outputs follow its recursion and "
            "not its flow.",
            "outputs",
            replace(shallow._setup(_FAST, width=_VERY_WIDE, steps=8, records=9), options=centred),
            law=shallow._law(),
            rival=shallow._law(name="mean-field gradient flow", solver="mean_field.deep_linear:nearly_flow"),
            rival_home="small learning rates",
            relative="none",
            budget={"kernels at the start": _kernels_at_start(2, _VERY_WIDE, _FAST)},
            seconds=1,
        )

    def _width(self) -> Claim:
        return Converges(
            "width",
            "Outputs of a network approach mean-field theory as width^(-1/2).",
            "outputs",
            self._setup(richness=1.0, steps=12, records=7),
            law=self._law(assumptions=()),
            rival=self._lazy(),
            rival_home="gamma -> 0",
            axis="width",
            values=(32, 128, 512),
            seeds=32,
            stochastic=True,
            relative="none",
            order=-0.5,
            tolerance=0.08,
            seconds=3,
        )

    def _narrow(self) -> Claim:
        return Equals(
            "narrow",
            "At width 16 the theory of infinite width is refused: the outputs it neglects are no longer small.",
            "outputs",
            self._setup(width=16, steps=10, records=6),
            law=self._law(),
            rival=self._lazy(),
            rival_home="gamma -> 0",
            relative="none",
            budget={"declared": 0.1},
            expected="outside_domain",
            seconds=1,
        )


# --- from an instance to the numbers of a law ------------------------------------------------------------------------


def bound(instance: Instance) -> dict[str, Any]:
    """Data, richness, and the learning rate without the scale of the outputs."""
    return {
        "x": instance["x"],
        "y": instance["y"],
        "gamma": float(instance.setup.axes["richness"]),
        "eta": instance.learning_rate * float(instance["output_scale"]) ** 2,
    }


def _kernels_at_start(depth: int, width: int, rate: float) -> float:
    """L kernels of relative variance 2/N each: a share d of a rate s moves the outputs by d s |d (1 - s)^k / ds|."""
    rates, steps = np.linspace(0, rate, 200)[:, None], np.arange(1, 100)
    return float(_SIGMAS * (2 * depth / width) ** 0.5 * (rates * steps * abs(1 - rates) ** (steps - 1)).max())


def _without_richness(instance: Instance) -> dict[str, Any]:
    return {**bound(instance), "gamma": 0.0}


def _frozen(depth: int, instance: Instance) -> dict[str, Any]:
    """Kernel descent of the outputs with the kernel of infinite width, L <x, x>/d."""
    x, y = instance["x"], instance["y"]
    kernel = depth * x @ x.T / x.shape[1]
    return {"K": kernel / len(x), "R": y, "y": y, "samples": len(x), "eta": bound(instance)["eta"]}


def _fitted() -> Any:
    """Outputs on the training inputs, y - R."""
    R = lazy_limit().unknowns[0]
    return sp.MatrixSymbol("y", *R.shape) - R
