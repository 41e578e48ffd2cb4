r"""The kernels of a wide network as formulas: the same recursion on expressions of t, the cosine of two inputs.

Both inputs have <x, x>/d = q, so every layer has one variance a and one covariance c(t):

    c <- w^2 V(a, a, c) + b^2,    a <- w^2 V(a, a, a) + b^2,    Theta <- Theta dV/dC,    V(a, a, 0) = (E phi)^2.

>>> from ..architecture.constructors import activation, dense, serial
>>> nngp, ntk = symbolic_kernels(serial(dense(), activation("erf"), dense()), {}, 1)
>>> nngp
2*asin(2*t/3)/pi
"""

import math
from collections.abc import Mapping
from typing import Any

import sympy as sp

from ..architecture.activations import activation_name
from ..architecture.layer_walk import passed
from ..architecture.network import Network, Node
from ..duals.activation_moments import moments
from ..duals.formulas import Formula, Formulas
from ..errors import NoClosedForm
from .covariances import variances
from .walks import Recursion

t = sp.Symbol("t", real=True)


def symbolic_kernels(network: Network, widths: Mapping[str, int], q: Any) -> tuple[sp.Expr, sp.Expr]:
    """(nngp, ntk) of inputs with <x, x>/d = q as expressions of t, real, their cosine.

    At a number q, variances too long to be read are given in 30 digits, where all activations are smooth.
    Errors: `NoClosedForm`, naming the layer, for activations without a closed form, grids, and means of the inputs.
    """
    recursion = Recursion(network, tuple(sorted(widths.items())))
    fan_in = recursion.fan_in(0)
    if not recursion.of_angles:
        node = next((n for n in network.nodes if n.op not in _LINES and n.op not in _PLAIN), network.nodes[-1])
        raise NoClosedForm(
            "a kernel that is not a function of lengths and angles", where=node.name, remedy="give samples"
        )

    def own(node: Node, before: sp.Expr, after: sp.Expr) -> sp.Expr:
        return after if node.name not in fan_in else fan_in[node.name] * before + (1 if node.bias else 0)

    def scales(node: Node) -> tuple[sp.Expr, ...]:
        return tuple(sp.nsimplify(number, rational=True) for number in variances(node))

    met = [moments(n.activation) for n in network.nodes if n.op == "activation" and n.activation != "identity"]
    smooth = all(math.isfinite(float(law.curvature(1.0))) for law in met)
    rules = Formulas(scales, own, digits=smooth)
    last = passed(network, Formula(sp.sympify(q), q * t, sp.S.Zero), rules).state
    return last.covariance, last.slope


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


_PLAIN = ("dense", "activation", "sum")
_LINES = {
    "input": "K = <x, x'>/d,  Theta = 0",
    "product": "K <- K1 K2,  Theta <- Theta1 K2 + K1 Theta2",
    "layer_norm": "K and Theta over sqrt((A{epsilon}) (B{epsilon})), with A and B the centred variances",
}


def _times(factor: float) -> str:
    return "" if factor == 1 else f"{factor:g} "
