"""Signal propagation: variances, correlations and gradients through a deep random network, before any training.

With weights of variance sigma_w^2 / fan-in and biases of variance sigma_b^2, features of two inputs with variance q and
correlation c have, a layer later, variance Q(q) and correlation c'; squared gradients grow by chi(q) going back. Where
chi = 1 at the fixed variance lies the edge of chaos. A network of finite width N scatters around the maps as N^(-1/2):
the budgets are five standard deviations of that scatter, derived layer by layer.

>>> print(SignalPropagation().derive().equations[0])
sigma_b**2 + 2*sigma_w**2*asin(2*q/(2*q + 1))/pi
"""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache, partial
from typing import Any

import numpy as np
import sympy as sp

from ...architecture.activations import formula
from ...architecture.constructors import activation, dense, serial
from ...architecture.network import Network
from ...claims import Claim, Equals, Law
from ...duals.activation_moments import moments
from ...model import Theory, parameter
from ...setup import Initialisation, Instance, Setup
from ...signals import signal_propagation as signals
from ...signals.edge_of_chaos import edge_of_chaos
from ...signals.signal_map import CORRELATION, POOLE, SCHOENHOLZ, Q, signal_map, symbols_of
from ...symbols import positive
from ...system import Map, System
from ...trail import Equations

GROWTH = positive("g")
DEVIATIONS = 5.0
THROUGH_LAYERS = "recursion:through_layers"


@dataclass(frozen=True)
class SignalPropagation(Theory):
    """Signals through deep random networks"""

    activation: str = parameter("erf", "activation, with a dual in closed form")
    w_std: float = parameter(2.0, "standard deviation of weights times the root of the fan-in")
    b_std: float = parameter(0.3, "standard deviation of biases")
    depth: int = parameter(8, "hidden layers", least=3)
    width: int = parameter(1024, "neurons of a hidden layer", least=64)

    def derive(self) -> Map:
        """Variance and correlation after one layer."""
        return signal_map(self._block())

    def derivations(self) -> Mapping[str, System]:
        return {"variance and correlation": self.derive(), "gradients": gradient_map(self._block())}

    def claims(self) -> tuple[Claim, ...]:
        return (self._variances(), self._correlations(), self._edge())

    def _block(self) -> Network:
        return serial(activation(self.activation), dense(self.w_std, self.b_std))

    def _setup(self, w_std: float, b_std: float, first: float = 0.0, prepare: tuple[str, ...] = ()) -> Setup:
        layer = dense(w_std, b_std, parameterization="standard")
        start = dense(first or w_std, b_std, parameterization="standard")
        hidden = (activation(self.activation), layer) * (self.depth - 1)
        return Setup(
            network=serial(start, *hidden, activation(self.activation), layer),
            data="digits",
            prepare=(*prepare, "unit_norm", "unit_scale", "parity"),
            sample="subset",
            axes={"width": self.width, "n": 4},
            initialisation=Initialisation("as_stated"),
            steps=0,
            records=1,
        )

    def _variances(self) -> Claim:
        block = self._block()
        return Equals(
            name="variance_by_layer",
            statement="Mean square of the features of every layer, in a random network",
            observable="layer_variances",
            setup=self._setup(self.w_std, self.b_std),
            law=self._law("variance map", partial(signal_map, block), "q"),
            rival=self._law("linear variance map", partial(linear_map, block), "q"),
            rival_home="weights and biases so small that the activation is a line",
            seeds=3,
            relative="point",
            seconds=2,
            reference=POOLE,
            budget={"finite width": DEVIATIONS * scatter(block, self.depth, self.width).variance},
        )

    def _correlations(self) -> Claim:
        block = self._block()
        return Equals(
            name="correlation_by_layer",
            statement="Correlation of the features of two inputs in every layer: it leaves 1 in the chaotic phase",
            observable="layer_correlations",
            setup=self._setup(self.w_std, self.b_std),
            law=self._law("correlation map", partial(signal_map, block), "c"),
            rival=self._law("correlation map linear around 1", partial(nearby_map, block), "c"),
            rival_home="inputs that are nearly the same",
            seeds=3,
            relative="none",
            seconds=2,
            reference=POOLE,
            budget={"finite width": DEVIATIONS * scatter(block, self.depth, self.width).correlation},
        )

    def _edge(self) -> Claim:
        block = self._block()
        point = edge_of_chaos(block, b_std=self.b_std)[0]
        scales = (0.7, 1.0, 2.0)
        # on centred rows of unit scale the first layer then starts at the fixed variance of the edge
        first = (point.variance - point.b_std**2) ** 0.5 if point.variance > 0 else point.w_std
        widest = max(
            scatter(
                serial(activation(self.activation), dense(s * point.w_std, s * point.b_std)), self.depth, self.width
            ).gradient
            for s in scales
        )
        return Equals(
            name="edge_of_chaos",
            statement="Squared gradients shrink below the edge of chaos, keep their size on it, and grow beyond it",
            observable="gradient_growth",
            setup=self._setup(point.w_std, point.b_std, first, ("centre",)),
            law=self._law("chi along the variance map", partial(gradient_map, block), "g", _per_layer),
            rival=self._law("slope of the activation at zero", partial(linear_map, block), "g", _per_layer),
            rival_home="weights and biases so small that the activation is a line",
            axis="scale",
            values=scales,
            seeds=3,
            relative="point",
            seconds=3,
            reference=SCHOENHOLZ,
            budget={"finite width": DEVIATIONS * widest},
        )

    def _law(self, name: str, system: Any, readout: str, collect: Any = None) -> Law:
        reference = SCHOENHOLZ if readout == "g" else POOLE
        return Law(name, system, _start, readout, reference=reference, collect=collect, solver=THROUGH_LAYERS)


@lru_cache(maxsize=8)
def gradient_map(block: Network) -> Map:
    """Variance q forwards and the product g of chi, by which squared gradients grow on the way back."""
    system = signal_map(block)
    rows = ((Q, system.equations[0]), (GROWTH, GROWTH * system.observables["chi"]))
    trail = system.trail.then("squared gradients grow by chi", Equations(rows, "map"), reference=SCHOENHOLZ)
    return Map((Q, GROWTH), tuple(e for _, e in rows), trail=trail)


@lru_cache(maxsize=8)
def linear_map(block: Network) -> Map:
    """The same with the activation replaced by its tangent at zero."""
    (act,) = (node for node in block.nodes if node.op == "activation")
    law, z = formula(act.activation), sp.Symbol("z", real=True)
    assert law is not None
    ((w, b),) = symbols_of(block).values()
    chi = w**2 * sp.simplify(law(z).diff(z).subs(z, 0)) ** 2
    rows = ((Q, chi * Q + b**2), (GROWTH, GROWTH * chi))
    trail = signal_map(block).trail.then("tangent of the activation at zero", Equations(rows, "map"))
    return Map((Q, GROWTH), tuple(e for _, e in rows), trail=trail)


@lru_cache(maxsize=8)
def nearby_map(block: Network) -> Map:
    """The correlation map linearised around 1: 1 - c grows by chi q / Q(q) in every layer."""
    system = signal_map(block)
    variance = system.equations[0]
    rows = ((Q, variance), (CORRELATION, 1 - system.observables["chi"] * Q / variance * (1 - CORRELATION)))
    trail = system.trail.then("expanded to first order at c = 1", Equations(rows, "map"), reference=SCHOENHOLZ)
    return Map((Q, CORRELATION), tuple(e for _, e in rows), trail=trail)


def _start(instance: Instance) -> dict[str, Any]:
    """Variance and correlations of the first layer's features, from the data."""
    network = instance.setup.network
    assert network is not None
    layers = [node for node in network.nodes if node.op == "dense"]
    scale = instance.setup.initialisation.scale
    w, b = scale * layers[1].w_std, scale * layers[1].b_std
    kernel = (scale * layers[0].w_std) ** 2 * instance["x"] @ instance["x"].T / instance["x"].shape[1] + b**2
    sizes = np.sqrt(np.diag(kernel))
    rows, columns = np.triu_indices(len(kernel), 1)
    return {
        "q": float((sizes**2).mean()),
        "c": (kernel / np.outer(sizes, sizes))[rows, columns],
        "g": 1.0,
        "sigma_w": w,
        "sigma_b": b,
        "layers": len(layers) - 1,
    }


def _per_layer(instance: Instance, values: np.ndarray) -> np.ndarray:
    """Mean growth per layer, from the product over all hidden layers."""
    return values[:, -1:] ** (1 / (values.shape[1] - 1))


@dataclass(frozen=True)
class Scatter:
    """Largest standard deviations over the layers of one network: of q over q, of c, of the growth per layer."""

    variance: float
    correlation: float
    gradient: float


@lru_cache(maxsize=16)
def scatter(block: Network, depth: int, width: int) -> Scatter:
    """What a finite width adds: every layer averages over `width` neurons and passes on the fluctuations it was given.

    d q' = Q'(q) d q + N(0, w^4 Var phi^2 / width);  a mean over neurons adds 2 q^2 / width, a correlation at most
    1 / width; log gradients gain (3 E phi'^4 / (E phi'^2)^2 - 1) / width per layer, as W' g is Gaussian, and what every
    fluctuation of q does to chi at later layers: both deviations are added, as they may be correlated. Started from
    q = w^2 + b^2 and from c = 0, where correlations move most.
    """
    signal = signals.SignalPropagation(block)
    (act,) = (node for node in block.nodes if node.op == "activation")
    (layer,) = (node for node in block.nodes if node.op == "dense")
    law, z = formula(act.activation), sp.Symbol("z", real=True)
    assert law is not None
    once, twice = moments(act.activation), moments(sp.Lambda(z, law(z) ** 2))
    steep = [moments(sp.Lambda(z, law(z).diff(z) ** k)) for k in (1, 2)]
    w2, q, gap = layer.w_std**2, layer.w_std**2 + layer.b_std**2, 1.0
    of_q, of_c, of_g, worst = 0.0, 0.0, 0.0, np.zeros(2)
    layers = []
    for _ in range(depth - 1):
        worst = np.maximum(worst, [np.sqrt(of_q + 2 * q * q / width) / q, np.sqrt(of_c + 1 / width)])
        after, fourth = float(signal.variance(q)), float(twice.second(q))
        slope = float(signal.variance_slope(q))
        bent = np.log(float(signal.gradient(1.1 * q) / signal.gradient(q))) / np.log(1.1)
        of_c = float(signal.correlation_slope(q, gap)) ** 2 * of_c + w2**2 * fourth / after**2 / width
        of_g += (3 * float(steep[1].second(q)) / float(steep[0].second(q)) ** 2 - 1) / width
        spread = w2**2 * (fourth - float(once.second(q)) ** 2) / width
        layers.append((bent, slope * q / after, spread / after**2))
        of_q = slope**2 * of_q + spread
        gap, q = float(signal.gap(gap, q)), after
    # what a change of q at one layer does to chi at that layer and all later ones
    moved, through = 0.0, 0.0
    for bent, passed, fresh in reversed(layers):
        moved += through**2 * fresh
        through = bent + passed * through
    growth = (np.sqrt(of_g) + np.sqrt(moved)) / (depth - 1)
    return Scatter(float(worst[0]), float(worst[1]), float(growth))
