"""Equations as a readable array function: standalone source for JAX or NumPy that runs without this package.

A sum that stands in several places, such as the error Sigma_yx - F Sigma_xx, is computed once and named.

>>> from ..derivation.network_flow import network_flow
>>> from ..architecture.network import chain
>>> print(jax_code(network_flow(chain("input", "width", "output"))))
def velocity(W1, W2, Sigma_xx, Sigma_yx):
    \"\"\"Time derivatives of W1, W2.
<BLANKLINE>
    W1 (width, input), W2 (output, width), Sigma_xx (input, input), Sigma_yx (output, input)
    \"\"\"
    E = Sigma_yx - W2 @ W1 @ Sigma_xx
    return W2.T @ E, E @ W1.T
<BLANKLINE>
"""

import itertools
from collections import Counter
from typing import Any

import sympy as sp

from ..errors import UnknownName
from ..system import require_system
from .array_printer import ArrayPrinter, helpers, identifier

_ALIASES = {"jax": ("jax.numpy", "jnp"), "numpy": ("numpy", "np")}
_TITLES = {"Flow": "velocity", "Map": "step", "FixedPoint": "residual"}


def jax_code(system: Any, name: str = "", backend: str = "jax") -> str:
    """Source of a function of the unknowns, then the parameters, that returns the right sides (several as a tuple).

    It is called `velocity` (Flow), `step` (Map) or `residual` (FixedPoint) unless a name is given; `backend` is "jax"
    or "numpy". Matrices are arrays of two axes, scales of one; scalars and modes broadcast. Errors: `CannotCompile` for
    a function without counterpart.

    >>> from ..symbols import scalars
    >>> from ..system import Flow
    >>> u, s = scalars("u s")
    >>> print(jax_code(Flow((u,), (u * (s - u**2),)), backend="numpy").splitlines()[-1].strip())
    return u * (s - u**2)
    """
    if backend not in _ALIASES:
        raise UnknownName.among(backend, _ALIASES, kind="backend", where="jax_code")
    require_system(system, "jax_code")
    arguments = (*system.unknowns, *type(system)(system.unknowns, system.equations).parameters)
    shared, equations = _shared(system.equations, {str(argument) for argument in arguments})
    module, alias = _ALIASES[backend]
    printer = ArrayPrinter(alias, _sizes(arguments), keep_axis=True)
    lines = [f"{symbol} = {printer.doprint(part)}" for symbol, part in shared]
    sides = [printer.doprint(equation) for equation in equations]
    short = ", ".join(sides)
    several = "(\n        " + ",\n        ".join(sides) + ",\n    )"
    lines.append(f"return {short if len(short) < 100 or len(sides) == 1 else several}")
    names = ", ".join(printer.doprint(argument) for argument in arguments)
    header = f"def {name or _TITLES[type(system).__name__]}({names}):"
    special = helpers("\n".join(lines), alias).strip("\n")
    used = any(f"{alias}." in line for line in (*lines, special))
    imports = [*([f"import {module} as {alias}"] if used else []), *(f"import {other}" for other in printer.others)]
    blocks = ["\n".join(imports), special]
    body = "\n    ".join([header, *_docstring(system, arguments), *lines]).replace("\n    \n", "\n\n")
    return "\n\n\n".join(block for block in (*blocks, body) if block) + "\n"


def _sizes(arguments) -> dict[Any, str]:
    """Symbolic sizes of matrices, each with the argument it is read from."""
    found: dict[Any, str] = {}
    for argument in arguments:
        for axis, size in enumerate(getattr(argument, "shape", ())):
            found.setdefault(size, f"{identifier(argument)}.shape[{axis}]")
    return found


def _docstring(system, arguments) -> list[str]:
    title = {"Flow": "Time derivatives", "Map": "Next values"}.get(type(system).__name__, "Residuals")
    first = f'"""{title} of {", ".join(map(str, system.unknowns))}.'
    matrices = [argument for argument in arguments if hasattr(argument, "shape")]
    shapes = ", ".join(f"{matrix} {matrix.shape}".replace(", 1)", ",)") for matrix in matrices)
    return [first, "", shapes, '"""'] if shapes else [first + '"""']


def _shared(equations, taken):
    """Sums of matrices that stand in more than one place, innermost first, each with a name of its own."""
    counts = Counter(
        part for equation in equations for part in sp.preorder_traversal(equation) if isinstance(part, sp.MatAdd)
    )
    # a sum whose every place lies inside another shared sum need not be named
    repeated = sorted((part for part, count in counts.items() if count > 1), key=lambda p: (p.count_ops(), str(p)))
    free = (f"E{number}" for number in itertools.count(1))
    named: dict = {}
    for part in repeated:
        label = "E" if len(repeated) == 1 else next(free)
        while label in taken:
            label = next(free)
        named[part] = sp.MatrixSymbol(label, *part.shape)
    pairs = []
    for part, symbol in named.items():
        inner = {other: letter for other, letter in named.items() if other != part and part.has(other)}
        pairs.append((symbol, _replaced(part, inner)))
    return pairs, [_replaced(equation, named) for equation in equations]


def _replaced(expression, named):
    # largest sums first, so that a sum inside another does not break it up
    for part in reversed(list(named)):
        expression = expression.xreplace({part: named[part]})
    return expression
