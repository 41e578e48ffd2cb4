r"""The kernels of a wide network as formulas: the same recursion on expressions of t, the cosine of two inputs.

Both inputs have <x, x>/d = q, so every layer has one variance a and one covariance c(t):

    c <- w^2 V(a, a, c) + b^2,    a <- w^2 V(a, a, a) + b^2,    Theta <- Theta dV/dC,    V(a, a, 0) = (E phi)^2.

>>> from ..architecture.constructors import activation, dense, serial
>>> nngp, ntk = symbolic_kernels(serial(dense(), activation("erf"), dense()), {}, 1)
>>> nngp
2*asin(2*t/3)/pi
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import sympy as sp

from ..architecture.activations import activation_name
from ..architecture.network import Network, Node
from ..duals.activation_moments import moments
from ..duals.dual_activation import A, B, C, dual
from ..errors import NoClosedForm
from .covariances import variances
from .walks import Recursion

t = sp.Symbol("t", real=True)


@dataclass(frozen=True)
class Formulas:
    """Variance a, covariance c(t), tangent kernel (0 before the first layer) and mean of the features of a node."""

    variance: sp.Expr
    covariance: sp.Expr
    tangent: sp.Expr
    mean: sp.Expr = sp.S.Zero

    def centred(self) -> "Formulas":
        """The features less their mean."""
        square = self.mean**2
        return Formulas(sp.simplify(self.variance - square), self.covariance - square, self.tangent)


def symbolic_kernels(network: Network, widths: Mapping[str, int], q: Any) -> tuple[sp.Expr, sp.Expr]:
    """(nngp, ntk) of inputs with <x, x>/d = q as expressions of t, real, their cosine.

    Errors: `NoClosedForm`, naming the layer, for activations without a closed form, grids, and means of the inputs.
    """
    recursion = Recursion(network, tuple(sorted(widths.items())))
    facts, fan_in = recursion.facts, recursion.fan_in(0)
    if not recursion.of_angles:
        node = next((n for n in network.nodes if n.op not in _RULES), network.nodes[-1])
        raise NoClosedForm(
            "a kernel that is not a function of lengths and angles", where=node.name, remedy="give samples"
        )
    found: dict[str, Formulas] = {}
    for node in network.nodes:
        if node.op == "input":
            made = Formulas(sp.sympify(q), q * t, sp.S.Zero)
        elif node.op == "dense":
            made = _dense(node, found[node.inputs[0]], fan_in.get(node.name))
        elif node.op == "sum":
            made = _sum([(_exact(factor), found[name]) for name, factor in facts[node.name].terms])
        elif node.op == "product":
            made = _product([found[name] for name in node.inputs])
        else:
            made = _RULES[node.op](node, found[node.inputs[0]])
        found[node.name] = made
    last = found[network.outputs[0]]
    return last.covariance, last.tangent


def layer_by_layer(network: Network, widths: Mapping[str, int]) -> str:
    """The recursion of every layer, one line each, with the widths that enter."""
    recursion = Recursion(network, tuple(sorted(widths.items())))
    fan_in = recursion.fan_in(0, missing=True)
    rows = []
    for node in network.nodes:
        law = ""
        if node.op in ("dense", "convolution"):
            weight, bias = variances(node)
            over = " over the window" if node.op == "convolution" else ""
            law = f"K <- {_times(weight)}K{f' + {bias:g}' if node.bias else ''}{over}"
            if node.name in fan_in:
                law += f",  Theta <- {_times(weight)}Theta + {fan_in[node.name]} K{' + 1' if node.bias else ''}"
            else:
                both = "Theta + K" if weight == 1 else f"{weight:g} (Theta + K)"
                law += f",  Theta <- {both}{f' + {bias:g}' if node.bias else ''}"
        elif node.op == "activation":
            error = 0.0 if node.activation == "identity" else moments(node.activation).error
            how = f", certified to {error:.0e}" if error else ""
            law = f"K <- V(K),  Theta <- Theta dV/dC,  phi = {activation_name(node.activation)}{how}"
        elif node.op == "sum":
            parts = zip(node.coefficients or (1.0,) * len(node.inputs), node.inputs, strict=True)
            law = " + ".join(f"{factor:g} {name}" if factor != 1 else name for factor, name in parts)
        else:
            law = _LINES.get(node.op, node.op).format(epsilon=f" + {node.epsilon:g}" if node.epsilon else "")
        rows.append((node.name, law))
    left = max(len(name) for name, _ in rows)
    return "\n".join(f"{name:<{left}}  {law}" for name, law in rows)


_LINES = {
    "input": "K = <x, x'>/d,  Theta = 0",
    "product": "K <- K1 K2,  Theta <- Theta1 K2 + K1 Theta2",
    "layer_norm": "K and Theta over sqrt((A{epsilon}) (B{epsilon})), with A and B the centred variances",
}


def _dense(node: Node, before: Formulas, fan_in: int | None) -> Formulas:
    weight, bias = (_exact(number) for number in variances(node))
    covariance = weight * before.covariance + bias
    if fan_in is None:
        tangent = weight * before.tangent + covariance
    else:
        tangent = weight * before.tangent + fan_in * before.covariance + (1 if node.bias else 0)
    return Formulas(sp.simplify(weight * before.variance + bias), covariance, tangent)


def _activation(node: Node, before: Formulas) -> Formulas:
    if node.activation == "identity":
        return before
    law = dual(node.activation)
    a, c = before.variance, before.covariance
    independent = law.value.subs({A: a, B: a, C: 0}, simultaneous=True)
    mean = sp.sqrt(sp.simplify(independent))
    if a.is_number and moments(node.activation).mean(float(a)) < 0:
        mean = -mean
    return Formulas(
        sp.simplify(law.value.subs({A: a, B: a, C: a}, simultaneous=True)),
        law.value.subs({A: a, B: a, C: c}, simultaneous=True),
        before.tangent * law.slope.subs({A: a, B: a, C: c}, simultaneous=True),
        mean,
    )


def _sum(parts: list[tuple[sp.Expr, Formulas]]) -> Formulas:
    mean = sum((factor * part.mean for factor, part in parts), sp.S.Zero)
    centred = [(factor**2, part.centred()) for factor, part in parts]
    return Formulas(
        sp.simplify(sum(square * part.variance for square, part in centred) + mean**2),
        sum(square * part.covariance for square, part in centred) + mean**2,
        sum(square * part.tangent for square, part in centred),
        mean,
    )


def _product(parts: list[Formulas]) -> Formulas:
    tangent = sp.S.Zero
    for i, part in enumerate(parts):
        tangent += part.tangent * sp.prod(other.covariance for j, other in enumerate(parts) if j != i)
    variance, covariance = (sp.prod(getattr(part, which) for part in parts) for which in ("variance", "covariance"))
    return Formulas(sp.simplify(variance), covariance, tangent, sp.prod(part.mean for part in parts))


def _layer_norm(node: Node, before: Formulas) -> Formulas:
    centred = before.centred()
    scale = centred.variance + _exact(node.epsilon)
    return Formulas(sp.simplify(centred.variance / scale), centred.covariance / scale, centred.tangent / scale)


def _times(factor: float) -> str:
    return "" if factor == 1 else f"{factor:g} "


def _exact(number: float) -> sp.Expr:
    return sp.nsimplify(number, rational=True)


_RULES: dict[str, Any] = {
    **dict.fromkeys(("input", "dense", "sum", "product")),
    "activation": _activation,
    "layer_norm": _layer_norm,
}
