"""The symbolic interpreter of a network graph: the value of every node as a matrix expression, samples as columns.

    dense: W h + b 1',   activation: phi(h) entry by entry,   scale: diag(w) h,   gate: h diag(c),   total: 1' h

>>> from .network import chain
>>> print(symbolic_values(chain("input", "width", "output"))["h2"])
W2*W1*X
"""

from typing import Any

import sympy as sp

from ..errors import NoClosedForm
from ..symbols import dimensions
from .activations import activation_name, formula


def symbolic_values(network, samples: str = "P") -> dict[str, Any]:
    """The value of every node on all samples, as a matrix expression (width, samples).

    Errors: `NoClosedForm`, naming the layer, for operations on grids, normalisations, and activations without formula.
    """
    sizes, stated, count = network._symbolic_sizes(), network.widths(), dimensions(samples)
    weights = {weight.name: weight for weight in network.weights()}
    value: dict[str, Any] = {}
    for node in network.nodes:
        first: Any = value[node.inputs[0]] if node.inputs else None
        if node.op == "input":
            width = stated[node.name]
            name = "X" if len(network.inputs) == 1 else f"X_{node.name}"
            made = sp.MatrixSymbol(name, sizes[width] if isinstance(width, str) else width, count)
        elif node.op == "dense":
            matrix = weights[node.weight].T if node.transposed else weights[node.weight]
            factor, shift = node.factors(matrix.shape[1])
            made = matrix * first
            if factor != 1:
                made = made * factor
            if node.bias:
                bias = sp.MatrixSymbol(node.bias, matrix.shape[0], 1) * sp.OneMatrix(1, count)
                made = made + (bias if shift == 1 else sp.nsimplify(shift) * bias)
        elif node.op == "activation":
            law = formula(node.activation)
            if law is None:
                raise NoClosedForm(
                    f"the activation {activation_name(node.activation)} has no formula",
                    where=node.name,
                    remedy="give a SymPy expression of one symbol",
                )
            made = first.applyfunc(law)
        elif node.op == "sum":
            factors = map(sp.nsimplify, node.coefficients or (1,) * len(node.inputs))
            terms = [factor * value[name] for factor, name in zip(factors, node.inputs, strict=True)]
            made = sp.MatAdd(*terms).doit()
        elif node.op == "scale":
            made = sp.DiagMatrix(sp.MatrixSymbol(node.weight, first.shape[0], 1)) * first
        elif node.op == "product":
            made = sp.HadamardProduct(*(value[name] for name in node.inputs))
        elif node.op == "gate":
            made = first * sp.DiagMatrix(sp.MatrixSymbol(node.gate, count, 1))
        elif node.op == "total":
            made = sp.OneMatrix(1, first.shape[0]) * first
        else:
            raise NoClosedForm(
                f"{node.op} has no form as a matrix expression",
                where=node.name,
                remedy="its kernel of infinite width has one: lm.kernels.infinite_width",
            )
        value[node.name] = made
    return value
