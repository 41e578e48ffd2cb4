"""Two-layer networks of infinite width that learn features, for any activation: a gas of interacting particles.

    f(x) = (1/gamma) integral of w phi(a.x/sqrt(d)) d rho(a, w),   every neuron down the potential d loss / d rho

A network of width N at the output scale 1/(gamma sqrt(N)) is N particles drawn from rho, and its outputs depart from
those of the whole distribution by about 1/sqrt(N). The forecast uses many particles at the points of a Sobol sequence.

>>> [str(unknown) for unknown in MeanFieldParticles().derive().unknowns]
['A', 'w']
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import lru_cache, partial
from typing import Any

import numpy as np
import sympy as sp

from ...architecture.activations import formula
from ...architecture.network import chain
from ...claims import Claim, Converges, Equals, Law
from ...errors import BadData
from ...mean_field.deep_linear import infinitely_wide
from ...mean_field.particles import MEI, particle_flow, particle_map
from ...mean_field.starts import sobol_start
from ...model import Theory, parameter
from ...regression.kernels import ntk
from ...regression.linearised import LEE, training_residuals
from ...setup import Initialisation, Instance, Optimizer, Setup
from ...system import Map, System

_PARTICLES = 16384
_WIDE = 16384
_SIGMAS = 4.0  # of the fluctuations of one network that budgets allow
_RATE = 0.3  # learning rate in units of the inverse largest rate of the tangent kernel at the start


@dataclass(frozen=True)
class MeanFieldParticles(Theory):
    """Two-layer networks of infinite width that learn features, as interacting particles"""

    activation: str = parameter("tanh", "activation with a formula, by its name")
    richness: float = parameter(2.0, "gamma > 0: how far features move; 0 would be the lazy limit")

    def derive(self) -> Map:
        return particle_map(self.activation)

    def derivations(self) -> Mapping[str, System]:
        return {
            "gradient flow of the distribution of neurons": particle_flow(self.activation),
            "gradient descent of particles": self.derive(),
        }

    def claims(self) -> tuple[Claim, ...]:
        if self.richness <= 0:
            raise BadData(f"richness {self.richness}", where=self.model_name(), remedy="give a number above 0")
        # where neurons switch off, rich training amplifies what a finite network scatters beyond the budget
        kinked = replace(self, activation="relu", richness=self.richness / 2)
        return (self._outputs("outputs"), kinked._outputs("outputs_relu"), self._width(), self._narrow())

    def _outputs(self, name: str) -> Claim:
        return Equals(
            name,
            f"At every step the outputs of a wide two-layer {self.activation} network are those of the mean field of "
            "its neurons.",
            "outputs",
            self._setup(),
            law=self._law(),
            rival=_lazy(),
            rival_home="gamma -> 0",
            relative="none",
            # independent of each other: outputs change sign with the last layer, and particles are drawn apart
            budget={
                "outputs, kernel and particles at the start": float(
                    np.linalg.norm(
                        [
                            _SIGMAS * self._spread()[0] / (self.richness * _WIDE**0.5),
                            self._kernel_at_start(_WIDE),
                            self._kernel_at_start(_PARTICLES),
                        ]
                    )
                )
            },
            seconds=2,
        )

    def _width(self) -> Claim:
        return Converges(
            "width",
            "Outputs of a two-layer network approach those of the mean field as width^(-1/2).",
            "outputs",
            self._setup(richness=1.0, steps=12, records=7),
            law=replace(self._law(), assumptions=()),
            rival=_lazy(),
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
            "At width 16 the mean field is refused: the outputs it neglects at the start are no longer small.",
            "outputs",
            self._setup(width=16, richness=1.0, steps=10, records=6),
            law=self._law(),
            rival=_lazy(),
            rival_home="gamma -> 0",
            relative="none",
            budget={"declared": 0.1},
            expected="outside_domain",
            seconds=1,
        )

    def _law(self) -> Law:
        assumptions = (infinitely_wide(),)
        return Law("mean-field particles", partial(particle_map, self.activation), _bound, "f", assumptions, MEI)

    def _setup(self, **moves: Any) -> Setup:
        network = chain("input", "width", "output", activation=self.activation, parameterization="ntk")
        setup = Setup(
            network=network,
            data="digits",
            prepare=("drop_constant", "centre", "unit_norm", "unit_scale", "parity", "unit_targets"),
            sample="subset",
            axes={"n": 8, "width": _WIDE, "richness": self.richness},
            optimizer=Optimizer(learning_rate=_RATE, unit="1/kernel"),
            initialisation=Initialisation("standard_normal"),
            steps=40,
            records=21,
            options={"kernel": ntk(2, self.activation, weight_variance=1.0)},
        )
        return setup.at(**moves)

    def _spread(self) -> tuple[float, float]:
        """Root of E phi^2 for inputs of size one, and the relative variance of one neuron's part of the kernels."""
        law = formula(self.activation)
        assert law is not None
        points, weights = np.polynomial.hermite_e.hermegauss(80)
        weights = weights / weights.sum()
        (z,) = law.signature
        modules = [{"Heaviside": lambda h, at=0.5: np.heaviside(h, at)}, "scipy", "numpy"]
        value, slope = (
            np.broadcast_to(sp.lambdify(z, expression, modules)(points), points.shape)
            for expression in (law.expr, law.expr.diff(z))
        )
        moments = [(weights * power).sum() for power in (value**2, value**4, slope**2, 3 * slope**4)]
        return float(moments[0] ** 0.5), float(max(moments[1] / moments[0] ** 2, moments[3] / moments[2] ** 2) - 1)

    def _kernel_at_start(self, width: int) -> float:
        """A share d of a rate s moves the outputs by d s |d (1 - s)^k / ds|."""
        rates, steps = np.linspace(0, _RATE, 200)[:, None], np.arange(1, 100)
        moved = (rates * steps * abs(1 - rates) ** (steps - 1)).max()
        return float(_SIGMAS * (self._spread()[1] / width) ** 0.5 * moved)


def _rate(instance: Instance) -> float:
    """The learning rate without the scale of the outputs."""
    return instance.learning_rate * float(instance["output_scale"]) ** 2


@lru_cache(maxsize=4)
def _particles(inputs: int, outputs: int) -> tuple[np.ndarray, np.ndarray]:
    return sobol_start(np.random.default_rng(0), _PARTICLES, inputs, outputs)


def _bound(instance: Instance) -> dict[str, Any]:
    """Particles that know the data and nothing of the network's own weights."""
    x, y = instance["x"], instance["y"]
    left, singular, _ = np.linalg.svd(x / np.sqrt(x.shape[1]), full_matrices=False)
    first, last = _particles(left.shape[1], y.shape[1])
    return {
        "A": first,
        "w": last,
        "z": left * singular,
        "y": y,
        "samples": len(x),
        "particles": float(_PARTICLES),
        "gamma": float(instance.setup.axes["richness"]),
        "eta": _rate(instance),
    }


def _lazy() -> Law:
    y = sp.MatrixSymbol("y", *training_residuals().unknowns[0].shape)
    fitted = y - training_residuals().unknowns[0]
    return Law("frozen kernel", training_residuals, _frozen, fitted, reference=LEE)


def _frozen(instance: Instance) -> dict[str, Any]:
    """Kernel descent of the outputs with the tangent kernel of infinite width."""
    x, y = instance["x"], instance["y"]
    kernel = instance.setup.options["kernel"](x / np.sqrt(x.shape[1]))
    return {"K": kernel / len(x), "R": y, "y": y, "samples": len(x), "eta": _rate(instance)}
