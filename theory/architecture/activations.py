"""Activations by name, by formula or as a function of arrays: the scalar non-linearity of a layer.

An activation is named in text, "relu" or "leaky_relu(0.1)", given as a `sympy.Lambda` of one real variable, or as a
Python function of arrays. A formula is what symbolic duals and compiled code are made from; a function without one
still works wherever numbers suffice.

>>> formula("leaky_relu(1/4)")(sp.Integer(-8))
-2
>>> formula("hermite(3)")(sp.Symbol("x"))
x**3 - 3*x
"""

import re
from collections.abc import Callable
from functools import lru_cache
from typing import Any

import numpy as np
import sympy as sp
from scipy.special import expit

from ..errors import BadData, UnknownName

z = sp.Symbol("z", real=True)


def _hermite(k):
    """The polynomial He_k with He_k' = k He_{k-1}, orthogonal for a standard normal argument."""
    previous, current = sp.S.One, z
    for degree in range(1, int(k)):
        previous, current = current, sp.expand(z * current - degree * previous)
    return current if k else sp.S.One


_LEAK = sp.Rational(1, 100)
# name -> (smallest, largest number of arguments, formula of z)
_FAMILIES: dict[str, tuple[int, float, Callable]] = {
    "identity": (0, 0, lambda: z),
    "relu": (0, 0, lambda: sp.Max(z, 0)),
    "leaky_relu": (0, 1, lambda slope=_LEAK: slope * z + (1 - slope) * sp.Max(z, 0)),
    "abs": (0, 0, lambda: sp.Abs(z)),
    "sign": (0, 0, lambda: sp.sign(z)),
    "step": (0, 0, lambda: sp.Heaviside(z, 0)),
    "rectified_power": (1, 1, lambda p: sp.Max(z, 0) ** p if p else sp.Heaviside(z, 0)),
    "square": (0, 0, lambda: z**2),
    "power": (1, 1, lambda p: z**p),
    "polynomial": (1, sp.oo, lambda *coefficients: sum(c * z**k for k, c in enumerate(coefficients))),
    "hermite": (1, 1, _hermite),
    "erf": (0, 0, lambda: sp.erf(z)),
    "normal_cdf": (0, 0, lambda: (1 + sp.erf(z / sp.sqrt(2))) / 2),
    "gelu": (0, 0, lambda: z * (1 + sp.erf(z / sp.sqrt(2))) / 2),
    "sin": (0, 0, lambda: sp.sin(z)),
    "cos": (0, 0, lambda: sp.cos(z)),
    "exp": (0, 0, lambda: sp.exp(z)),
    "gaussian": (0, 0, lambda: sp.exp(-(z**2))),
    "tanh": (0, 0, lambda: sp.tanh(z)),
    "sigmoid": (0, 0, lambda: 1 / (1 + sp.exp(-z))),
    "silu": (0, 0, lambda: z / (1 + sp.exp(-z))),
    "softplus": (0, 0, lambda: sp.log(1 + sp.exp(z))),
}
WHOLE = ("rectified_power", "power", "hermite")  # families with an order that is a whole number
ACTIVATIONS = tuple(_FAMILIES)


_STABLE: dict[str, Callable] = {
    "relu": lambda value: np.maximum(value, 0.0),
    "tanh": np.tanh,
    "sigmoid": expit,
    "silu": lambda value: value * expit(value),
    "softplus": lambda value: np.logaddexp(value, 0.0),
}


@lru_cache(maxsize=256)
def formula(activation: Any) -> sp.Lambda | None:
    """The activation as a function of one real variable z, or None for a function of arrays.

    Errors: `UnknownName` for another name; `BadData` for arguments a family does not take.

    >>> formula("softplus")
    Lambda(z, log(exp(z) + 1))
    """
    if isinstance(activation, sp.Lambda):
        if len(activation.signature) != 1:
            raise BadData(
                f"a formula of {len(activation.signature)} variables", where="activation", remedy="give it one variable"
            )
        return activation
    if not isinstance(activation, str):
        if not callable(activation):
            raise BadData(f"{activation!r}", where="activation", remedy="give a name, a formula or a function")
        return None
    name, _, rest = activation.partition("(")
    if name not in _FAMILIES:
        raise UnknownName.among(name, ACTIVATIONS, kind="activation")
    least, most, build = _FAMILIES[name]
    try:
        arguments = [sp.nsimplify(sp.Rational(a.strip())) for a in rest.rstrip(")").split(",") if a.strip()]
    except (TypeError, ValueError):
        raise BadData(f"arguments ({rest}", where=f"activation {name}", remedy="give numbers") from None
    if not least <= len(arguments) <= most:
        raise BadData(
            f"{len(arguments)} arguments",
            where=f"activation {name}",
            remedy=f"give {_counted(least, most)}, as in {_example(name)}",
        )
    if name in WHOLE and not (arguments[0].is_integer and arguments[0] >= 0):
        raise BadData(f"order {arguments[0]}", where=f"activation {name}", remedy="give a whole number from 0")
    return sp.Lambda(z, build(*arguments))


def array_formula(activation: Any) -> Callable:
    """The activation as a function of NumPy arrays, with stable forms of those that would overflow.

    >>> float(array_formula("softplus")(1000.0)), array_formula("relu")(np.array([-1.0, 2.0]))
    (1000.0, array([0., 2.]))
    """
    law = formula(activation)
    if law is None:
        return activation
    if isinstance(activation, str) and activation in _STABLE:
        return _STABLE[activation]
    # Max of an array and a number has no broadcasting array form: cases have
    expression = law.expr.replace(sp.Max, lambda *a: sp.Max(*a).rewrite(sp.Piecewise))
    expression = expression.replace(sp.Min, lambda *a: sp.Min(*a).rewrite(sp.Piecewise))
    function = sp.lambdify(law.signature, expression, ["scipy", "numpy"])

    def shaped(value):
        value = np.asarray(value, float)
        return np.broadcast_to(np.asarray(function(value), float), value.shape)

    return shaped


def activation_name(activation: Any) -> str:
    """How an activation is called in messages and figures: its name, its formula, or the name of the function.

    >>> activation_name(sp.Lambda(z, z**3)), activation_name(max)
    ('z**3', 'max')
    """
    if isinstance(activation, sp.Lambda):
        return str(activation.expr)
    return activation if isinstance(activation, str) else getattr(activation, "__name__", repr(activation))


def stated(activation: Any) -> Any:
    """What a network keeps: names and formulas are checked, an expression of one symbol becomes a formula.

    >>> x = sp.Symbol("x", real=True)
    >>> stated(x * sp.tanh(x))
    Lambda(x, x*tanh(x))
    """
    if isinstance(activation, sp.FunctionClass):  # sp.tanh and its like
        activation = sp.Lambda(z, activation(z))
    if isinstance(activation, sp.Expr) and not isinstance(activation, sp.Lambda):
        symbols = sorted(activation.free_symbols, key=str)
        if len(symbols) != 1:
            raise BadData(f"the expression {activation}", where="activation", remedy="use exactly one symbol")
        if activation.has(sp.I):
            raise BadData(f"the expression {activation}", where="activation", remedy="use real numbers only")
        activation = sp.Lambda(symbols[0], activation)
    if isinstance(activation, str):
        activation = re.sub(r"\s+", "", activation)
    formula(activation)
    return activation


def _counted(least, most) -> str:
    if most == 0:
        return "none"
    return str(least) if least == most else f"{least} or {most}" if most < sp.oo else f"{least} or more"


def _example(name) -> str:
    return {"polynomial": "polynomial(0,1,1/2)", "leaky_relu": "leaky_relu(0.1)"}.get(
        name, f"{name}(2)" if name in WHOLE else name
    )
