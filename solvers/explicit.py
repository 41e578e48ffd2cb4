"""An unknown that its equation gives outright: u = f(parameters), evaluated for every mode, without any search."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import sympy as sp

from ..theory.errors import NoClosedForm
from ..theory.system import FixedPoint
from .compile import compile


def explicit(system: FixedPoint, values: Mapping[str, Any], abscissa: np.ndarray) -> dict[str, np.ndarray]:
    """{unknown: array (T, modes)} of an equation linear in its unknown, the same at every point of the abscissa.

    Where the expression is no real number the result is nan. Errors: `NoClosedForm` for other equations.

    >>> from ..theory.symbols import positive
    >>> T, s, a = positive("T s a_0")
    >>> explicit(FixedPoint((T,), (T - sp.log(s / a - 1) / (2 * s),)), {"s": np.ones(2), "a_0": 0.1}, np.arange(1))["T"]
    array([[1.09861229, 1.09861229]])
    """
    (unknown,), (equation,) = system.unknowns, system.equations
    slope = sp.diff(equation, unknown)
    if slope == 0 or slope.has(unknown):
        raise NoClosedForm(f"{equation} is not linear in {unknown}", where="explicit", remedy="solve it for its root")
    expression = sp.expand(unknown - equation / slope)
    symbols = sorted(expression.free_symbols, key=str)
    with np.errstate(invalid="ignore", divide="ignore"):
        (found,) = compile([expression], symbols, backend="numpy")(
            *(np.asarray(values[str(s)], float) for s in symbols)
        )
    found = np.atleast_1d(found)
    return {str(unknown): np.broadcast_to(found, (len(abscissa), *found.shape))}
