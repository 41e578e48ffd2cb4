r"""The first correction to the lazy limit of any network: second derivatives at the start say how its kernel will move.

Of f = alpha (h(theta) - h(theta_0)), trained at the learning rate eta / alpha^2, the outputs and the tangent kernel are

    f = f_0 + f_1 / alpha + O(1/alpha^2),    Theta = Theta_0 + (O_3 c) / alpha + O(1/alpha^2),    c = eta/P sum of D,

f_0 and D = y - f_0 being the linearised network and its residuals. O_3 = A_{m;nl} + A_{n;ml} with the curvatures
A_{m;nl} = (grad h_n)' (d^2 h_m) (grad h_l), and f_1 obeys a map of its own (`second_order_descent`), exact for steps
of any size. `curvatures` computes A from the weights without automatic differentiation.

For two layers of width N with random signs of the outer weights O_3 is of order 1/N, not 1/sqrt(N): at a fixed output
scale kernels move as 1/(alpha N), until terms of order 1/(alpha^2 N) take over.

>>> print(second_order_descent().equations[0])
(-eta)*K*D + D
"""

from collections.abc import Mapping
from functools import lru_cache
from typing import Any

import numpy as np
import sympy as sp

from ..architecture.activations import activation_name, formula
from ..architecture.network import Network
from ..errors import BadData, LearningMechanicsError
from ..symbols import LEARNING_RATE, dimensions, positive
from ..system import Map
from ..trail import Equations, Trail

HUANG = "Huang & Yau 2019, arXiv:1909.08156"
DYER = "Dyer & Gur-Ari 2019, arXiv:1909.11304"
MOVEMENT_ROWS = 16  # training inputs among which claims follow how far the tangent kernel has moved
SCALE = positive("alpha")


@lru_cache(maxsize=1)
def second_order_descent() -> Map:
    """Gradient descent on a network quadratic in its parameters, to first order in 1 / output scale.

    Unknowns D, c, g (P, 1): residuals of the linearised network, its path in the span of the gradients, and the first
    correction g to the outputs without its quadratic part. Parameters K = Theta_0 / P, y, samples = P, eta and, from
    `bound`, A and B (P, pairs), O (entries, P) and the rows E_n, E_l (pairs, P) of the unit matrix that say which two
    samples make a pair. Observables "outputs", "lazy_outputs" and "movement" =
    |Theta - Theta_0| / |Theta_0|, whose norm is `kernel_norm`.

    Reference: Dyer & Gur-Ari 2019 (arXiv:1909.11304); Huang & Yau 2019 (arXiv:1909.08156).
    """
    P, pairs, entries = dimensions("P pairs entries")
    samples, norm = positive("samples kernel_norm")
    D, c, g, y = (sp.MatrixSymbol(name, P, 1) for name in ("D", "c", "g", "y"))
    K = sp.MatrixSymbol("K", P, P)
    A, B, O3 = sp.MatrixSymbol("A", P, pairs), sp.MatrixSymbol("B", P, pairs), sp.MatrixSymbol("O", entries, P)
    E_n, E_l = sp.MatrixSymbol("E_n", pairs, P), sp.MatrixSymbol("E_l", pairs, P)
    paired = lambda a, b: sp.HadamardProduct(E_n * a, E_l * b)  # noqa: E731
    rate = LEARNING_RATE
    correction = g + A * paired(c, c) / 2
    equations = (
        D - rate * K * D,
        c + rate / samples * D,
        g - rate * K * correction + rate / samples * B * paired(D, c),
    )
    change = O3 * c
    trail = (
        Trail()
        .then("output scale", "f = alpha (h - h_0), theta+ = theta + eta / (alpha P) sum_n (y_n - f_n) grad h_n")
        .then("expand in 1/alpha", "theta = theta_0 + theta_1 / alpha + theta_2 / alpha^2", reference=DYER)
        .then("first order", "theta_1 = sum_n c_n grad h_n: the linearised network", reference=HUANG)
        .then(
            "second order",
            Equations(tuple(zip((D, c, g), equations, strict=True)), "map"),
            check="two polynomial networks expanded in 1/alpha over three steps, in rational numbers: residual 0",
            residual=float(_expansion_residual()),
            reference=DYER,
        )
    )
    return Map(
        (D, c, g),
        equations,
        observables={
            "outputs": y - D + correction / SCALE,
            "lazy_outputs": y - D,
            "movement": sp.sqrt(sp.Trace(change.T * change)) / (SCALE * norm),
        },
        trail=trail,
    )


def _expansion_residual() -> sp.Rational:
    """Largest difference between the map and descent itself, expanded in 1/alpha, on two cubic polynomials."""
    rng = np.random.default_rng(7)
    inverse, theta = sp.Symbol("epsilon"), sp.symbols("theta1:4")
    draw = lambda *shape: sp.Matrix(rng.integers(-3, 4, shape).tolist())  # noqa: E731
    networks = []
    for _ in range(2):
        linear, square, cubic = draw(1, 3), draw(3, 3), draw(1, 3)
        vector = sp.Matrix(theta)
        networks.append((linear * vector)[0] + (vector.T * square * vector)[0] + (cubic * vector)[0] ** 3)
    targets, rate, origin = draw(2, 1), sp.Rational(1, 5), dict.fromkeys(theta, 0)
    slopes = [[sp.diff(h, t) for t in theta] for h in networks]
    gradients = [sp.Matrix([slope.subs(origin) for slope in row]) for row in slopes]
    hessians = [sp.hessian(h, theta).subs(origin) for h in networks]
    a = [[[(u.T * H * v)[0] for v in gradients] for u in gradients] for H in hessians]
    K = sp.Matrix(2, 2, lambda m, n: (gradients[m].T * gradients[n])[0] / 2)
    A = sp.Matrix(2, 4, lambda m, nl: a[m][nl // 2][nl % 2])
    B = sp.Matrix(2, 4, lambda m, nl: a[nl // 2][m][nl % 2])
    tensor = sp.kronecker_product
    D, c, g = targets, sp.zeros(2, 1), sp.zeros(2, 1)
    weights, largest = [sp.S.Zero] * 3, sp.S.Zero
    for _ in range(3):
        f1 = g + A * tensor(c, c) / 2
        D, c, g = D - rate * K * D, c + rate / 2 * D, g - rate * K * f1 + rate / 2 * B * tensor(D, c)
        here = dict(zip(theta, weights, strict=True))
        outputs = [sp.expand(h.subs(here) / inverse) for h in networks]
        errors = [rate / 2 * inverse * (y - f) for y, f in zip(targets, outputs, strict=True)]
        steps = [sum(e * row[j].subs(here) for e, row in zip(errors, slopes, strict=True)) for j in range(3)]
        weights = [_cut(sp.expand(w + step), inverse, 2) for w, step in zip(weights, steps, strict=True)]
        f1 = g + A * tensor(c, c) / 2
        for m, h in enumerate(networks):
            found = sp.expand(h.subs(dict(zip(theta, weights, strict=True))) / inverse)
            miss = (found.coeff(inverse, 0) - (targets[m] - D[m]), found.coeff(inverse, 1) - f1[m])
            largest = max(largest, *map(abs, miss))
    if largest:
        raise LearningMechanicsError(f"the expansion in 1/alpha misses by {largest}", where="second order descent")
    return largest


def _cut(polynomial, symbol, order):
    return sum(polynomial.coeff(symbol, power) * symbol**power for power in range(order + 1))


def bound(network: Network, weights: Mapping[str, np.ndarray], x: np.ndarray, y: np.ndarray) -> dict[str, Any]:
    """What `second_order_descent` needs at the given weights, inputs x (P, d) and targets y (P, 1)."""
    A, kernel = curvatures(network, weights, x)
    P, rows = len(x), slice(MOVEMENT_ROWS)
    moving = A[rows, rows] + np.swapaxes(A[rows, rows], 0, 1)
    zero = np.zeros((P, 1))
    return {
        "K": kernel / P,
        "A": A.reshape(P, -1),
        "B": np.swapaxes(A, 0, 1).reshape(P, -1),
        "O": moving.reshape(-1, P),
        "E_n": np.repeat(np.eye(P), P, axis=0),
        "E_l": np.tile(np.eye(P), (P, 1)),
        "kernel_norm": float(np.linalg.norm(kernel[rows, rows])),
        "D": y,
        "c": zero,
        "g": zero,
        "y": y,
        "samples": P,
    }


def movement_constant(network: Network, weights: Mapping[str, np.ndarray], x: np.ndarray, y: np.ndarray) -> float:
    """m_1 in |Theta - Theta_0| / |Theta_0| = m_1 / alpha + O(1/alpha^2) after training to y (P, 1) without error.

    m_1 = |O_3 Theta_0^-1 y| / |Theta_0|: the path c in the span of the gradients ends at Theta_0^-1 y. Errors: those
    of `curvatures`; `BadData` for a kernel without inverse, where training does not reach y.

    >>> from ..architecture.network import chain
    >>> movement_constant(chain(1, 1, 1), {"W1": np.array([[2.0]]), "W2": np.array([[3.0]])}, np.eye(1), np.eye(1))
    0.14201183431952663
    """
    values = bound(network, weights, x, y)
    kernel = values["K"] * values["samples"]
    if np.linalg.cond(kernel) * np.finfo(float).eps > 1e-3:
        raise BadData("the tangent kernel has no inverse", where="movement_constant", remedy="drop repeated inputs")
    return float(np.linalg.norm(values["O"] @ np.linalg.solve(kernel, y)) / values["kernel_norm"])


def lazy_from(
    network: Network, weights: Mapping[str, np.ndarray], x: np.ndarray, y: np.ndarray, movement: float = 0.01
) -> float:
    """The output scale from which on the kernel moves by no more than the share `movement`, to leading order.

    alpha_c = m_1 / movement, with the constant of `movement_constant`; good to a relative error of order `movement`.

    >>> from ..architecture.network import chain
    >>> lazy_from(chain(1, 1, 1), {"W1": np.array([[2.0]]), "W2": np.array([[3.0]])}, np.eye(1), np.eye(1))
    14.201183431952662
    """
    return movement_constant(network, weights, x, y) / movement


def curvatures(network: Network, weights: Mapping[str, np.ndarray], x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """A[m, n, l] = grad h(x_n)' d^2 h(x_m) grad h(x_l), (P, P, P), and the tangent kernel (P, P), of one output.

    Second directional derivatives along the gradients: a dense layer with input h and error signal b has the gradient
    b h', so no vector as long as the parameters is ever built. Errors: `BadData` for several outputs, tied weights, an
    operation other than dense, activation and sum, and activations with a kink.

    >>> from ..architecture.network import chain
    >>> A, kernel = curvatures(chain(1, 1, 1), {"W1": np.array([[2.0]]), "W2": np.array([[3.0]])}, np.ones((1, 1)))
    >>> A, kernel  # h = w2 w1, gradient (3, 2), Hessian ((0, 1), (1, 0))
    (array([[[12.]]]), array([[13.]]))
    """
    x = np.asarray(x, float)
    layers = _Layers(network, weights, x)
    first = layers.first()
    kernel = first[network.nodes[-1].name][..., 0].T
    A = np.stack([layers.second(first, n)[..., 0].T for n in range(len(x))], axis=1)
    return A, kernel


class _Layers:
    """Values, slopes and error signals of a network on all inputs at once."""

    def __init__(self, network, weights, x):
        self.nodes, self.weights = network.nodes, weights
        self.value: dict[str, Any] = {}
        self.slope: dict[str, Any] = {}
        self.bend: dict[str, Any] = {}
        self.factor: dict[str, tuple[float, float]] = {}
        dense = [node.weight for node in network.nodes if node.op == "dense"]
        if len(set(dense)) < len(dense):
            raise BadData("weights are tied", where="curvatures", remedy="use jax.hessian")
        for node in network.nodes:
            inputs = [self.value[name] for name in node.inputs]
            if node.op == "input":
                self.value[node.name] = x
            elif node.op == "dense":
                factor, shift = self.factor[node.name] = node.factors(inputs[0].shape[1])
                self.value[node.name] = factor * inputs[0] @ weights[node.weight].T
                if node.bias:
                    self.value[node.name] = self.value[node.name] + shift * weights[node.bias]
            elif node.op == "activation":
                made = (function(inputs[0]) * np.ones_like(inputs[0]) for function in _derivatives(node.activation))
                self.value[node.name], self.slope[node.name], self.bend[node.name] = made
            elif node.op == "sum":
                self.value[node.name] = self._sum(node, inputs)
            else:
                raise BadData(f"the operation {node.op}", where=f"curvatures, {node.name}", remedy="use jax.hessian")
        last = network.nodes[-1].name
        if self.value[last].shape[1] != 1:
            raise BadData(f"{self.value[last].shape[1]} outputs", where="curvatures", remedy="use a network with one")
        self.signal = {last: np.ones_like(self.value[last])}
        for node in reversed(network.nodes):
            signal = self.signal.get(node.name)
            if signal is None or node.op == "input":
                continue
            if node.op == "dense":
                signal = self.factor[node.name][0] * signal @ weights[node.weight]
            elif node.op == "activation":
                signal = signal * self.slope[node.name]
            for share, name in zip(node.coefficients or (1.0,) * len(node.inputs), node.inputs, strict=True):
                self.signal[name] = self.signal.get(name, 0.0) + share * signal

    @staticmethod
    def _sum(node, terms):
        shares = node.coefficients or (1.0,) * len(terms)
        return sum(share * term for share, term in zip(shares, terms, strict=True))

    def first(self):
        """Derivatives of every node along the gradient of every sample: [direction, sample, unit]."""
        found = {}
        for node in self.nodes:
            if node.op == "input":
                found[node.name] = np.zeros((len(self.value[node.name]), *self.value[node.name].shape))
            elif node.op == "dense":
                factor, shift = self.factor[node.name]
                below, signal = self.value[node.inputs[0]], self.signal[node.name]
                overlap = factor**2 * below @ below.T + (shift**2 if node.bias else 0.0)
                through = factor * found[node.inputs[0]] @ self.weights[node.weight].T
                found[node.name] = through + overlap[:, :, None] * signal[:, None, :]
            elif node.op == "activation":
                found[node.name] = self.slope[node.name] * found[node.inputs[0]]
            else:
                found[node.name] = self._sum(node, [found[name] for name in node.inputs])
        return found

    def second(self, first, n):
        """Mixed second derivatives along the gradient of sample n and all others: [direction, sample, output]."""
        found = {}
        for node in self.nodes:
            if node.op == "input":
                found[node.name] = np.zeros_like(first[node.name])
            elif node.op == "dense":
                factor, _ = self.factor[node.name]
                below, moved = self.value[node.inputs[0]], first[node.inputs[0]]
                signal = self.signal[node.name]
                through = factor * found[node.inputs[0]] @ self.weights[node.weight].T
                here = factor**2 * (moved @ below[n])[:, :, None] * signal[n]
                there = factor**2 * (below @ moved[n].T)[:, :, None] * signal[:, None, :]
                found[node.name] = through + here + there
            elif node.op == "activation":
                moved, through = first[node.inputs[0]], self.slope[node.name] * found[node.inputs[0]]
                found[node.name] = through + self.bend[node.name] * moved * moved[n]
            else:
                found[node.name] = self._sum(node, [found[name] for name in node.inputs])
        return found[self.nodes[-1].name]


@lru_cache(maxsize=32)
def _derivatives(activation: Any):
    """The activation with its first two derivatives, as functions of arrays."""
    z = sp.Symbol("z", real=True)
    law = formula(activation)
    bend = law(z).diff(z, 2) if law is not None else None
    if law is None or bend is None or bend.has(sp.DiracDelta, sp.Derivative, sp.Subs):
        raise BadData(
            f"{activation_name(activation)} has no second derivative",
            where="curvatures",
            remedy="use a smooth activation, say erf, tanh or gelu",
        )
    return tuple(sp.lambdify(z, expression, ["scipy", "numpy"]) for expression in (law(z), law(z).diff(z), bend))
