"""The largest root of an equation that is a polynomial in its one unknown, for every mode: where a start above ends.

0 = c_n u^n + ... + c_0,   u >= 0: the eigenvalues of the companion matrix, then Newton steps on the real ones.
"""

from collections.abc import Mapping
from typing import Any

import numpy as np
import sympy as sp

from ..theory.errors import BadData, NoClosedForm
from ..theory.system import FixedPoint
from .compile import compile


def largest_root(system: FixedPoint, values: Mapping[str, Any], abscissa: np.ndarray) -> dict[str, np.ndarray]:
    """{unknown: array (T, modes)}: the largest root that is not negative, the same at every point of the abscissa.

    Errors: `NoClosedForm` for an equation that is no polynomial, `BadData` for one without such a root.

    >>> from ..theory.symbols import positive
    >>> u, s, mu = positive("u s mu")
    >>> rest = FixedPoint((u,), (u * (u * (s - u**3) - mu),))  # three layers with weight decay
    >>> largest_root(rest, {"s": np.array([1.0, 0.1]), "mu": 0.1}, np.arange(1))["u"].round(4)
    array([[0.9642, 0.    ]])
    """
    (unknown,), (equation,) = system.unknowns, system.equations
    try:
        polynomial = sp.Poly(equation, unknown)
    except sp.PolynomialError:
        raise NoClosedForm(f"{equation} is no polynomial in {unknown}", where="largest root") from None
    parameters = [symbol for symbol in system.parameters if str(symbol) in values]
    numbers = compile(polynomial.all_coeffs(), parameters, backend="numpy")(
        *(np.asarray(values[str(p)], float) for p in parameters)
    )
    columns = np.stack(np.broadcast_arrays(*numbers), axis=-1)
    roots = np.array([_largest(column) for column in columns.reshape(-1, columns.shape[-1])])
    found = roots.reshape(columns.shape[:-1] or (1,))
    return {str(unknown): np.broadcast_to(found, (len(abscissa), *found.shape))}


def _largest(coefficients: np.ndarray) -> float:
    roots = np.roots(coefficients)
    # a pair of roots that has just turned complex has an imaginary part of the order of the root of the distance
    real = roots[(np.abs(roots.imag) <= 1e-7 * np.abs(roots)) & (roots.real >= 0)].real
    if not len(real):
        raise BadData("no root that is not negative", where="largest root", remedy="check the parameters")
    slope = np.polyder(coefficients)
    root = real.max()
    for _ in range(3):
        rate = np.polyval(slope, root)
        root = root - np.polyval(coefficients, root) / rate if rate != 0 else root
    return float(root)
