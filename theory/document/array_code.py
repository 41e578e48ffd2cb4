"""Equations as a readable array function: standalone source for JAX or NumPy that runs without this package.

A sum that stands in several places, such as the error Sigma_yx - F Sigma_xx, is computed once and named.

>>> from ..derivation.network_flow import network_flow
>>> from ..network import chain
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
import re
from collections import Counter
from typing import Any

import sympy as sp
from sympy.printing.codeprinter import PrintMethodNotImplementedError
from sympy.printing.numpy import NumPyPrinter
from sympy.printing.precedence import PRECEDENCE

from ..errors import CannotCompile, UnknownName

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
    arguments = (*system.unknowns, *type(system)(system.unknowns, system.equations).parameters)
    shared, equations = _shared(system.equations, {str(argument) for argument in arguments})
    printer = _Printer(backend, arguments)
    lines = [f"{symbol} = {printer.doprint(part)}" for symbol, part in shared]
    sides = [printer.doprint(equation) for equation in equations]
    short = ", ".join(sides)
    several = "(\n        " + ",\n        ".join(sides) + ",\n    )"
    lines.append(f"return {short if len(short) < 100 or len(sides) == 1 else several}")
    names = ", ".join(printer.doprint(argument) for argument in arguments)
    header = f"def {name or _TITLES[type(system).__name__]}({names}):"
    module, alias = _ALIASES[backend]
    used = any(f"{alias}." in line for line in (*lines, *printer.helpers.values()))
    imports = [*([f"import {module} as {alias}"] if used else []), *(f"import {other}" for other in printer.others)]
    blocks = ["\n".join(imports), *printer.helpers.values()]
    body = "\n    ".join([header, *_docstring(system, arguments), *lines]).replace("\n    \n", "\n\n")
    return "\n\n\n".join(block for block in (*blocks, body) if block) + "\n"


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


class _Printer(NumPyPrinter):
    """Matrices as `@`, sizes read from arguments, sums over modes on the last axis."""

    def __init__(self, backend: str, arguments):
        super().__init__({"fully_qualified_modules": True, "allow_unknown_functions": False})
        self.alias = _ALIASES[backend][1]
        self.others: set[str] = set()
        self.helpers: dict[str, str] = {}
        self.sizes: dict = {}
        for argument in arguments:
            for axis, size in enumerate(getattr(argument, "shape", ())):
                self.sizes.setdefault(size, f"{self._print(argument)}.shape[{axis}]")

    def doprint(self, expr, assign_to=None):
        try:
            text = super().doprint(expr)
        except PrintMethodNotImplementedError as error:
            name = str(error).splitlines()[0].rpartition(" ")[2]
            raise CannotCompile(
                f"{name} has no {self.alias} counterpart", where="jax_code", remedy="rewrite it, or use a series"
            ) from None
        # products of scalars get their spaces, powers keep none
        return re.sub(r"(?<=[\w)\]])([*/])(?=[\w(])(?<!\*\*)", r" \1 ", text.replace("**", "\0")).replace("\0", "**")

    def _module_format(self, fqn, register=True):
        module, name = fqn.rsplit(".", 1)
        if module == "numpy":
            return f"{self.alias}.{name}"
        self.others.add(module)
        return fqn

    def _print_Symbol(self, expr):
        return self.sizes[expr] if expr in self.sizes else re.sub(r"\W", "_", super()._print_Symbol(expr))

    def _print_MatrixSymbol(self, expr):
        return re.sub(r"\W", "_", expr.name)

    def _print_MatMul(self, expr):
        coefficient, factors = expr.as_coeff_matrices()
        product = " @ ".join(self.parenthesize(factor, PRECEDENCE["Mul"]) for factor in factors)
        if coefficient == 1:
            return product
        if coefficient.could_extract_minus_sign():
            return f"-{self._print(sp.MatMul(-coefficient, *factors))}"
        return f"{self.parenthesize(coefficient, PRECEDENCE['Mul'])} * {product}"

    def _print_MatAdd(self, expr):
        text = ""
        for place, term in enumerate(sorted(expr.args, key=_is_negative)):
            printed = self._print(term)
            negative = printed.startswith("-")
            text += printed if place == 0 else (f" - {printed[1:]}" if negative else f" + {printed}")
        return text

    def _print_Transpose(self, expr):
        inner = self._print(expr.arg)
        return f"{inner}.T" if isinstance(expr.arg, sp.MatrixSymbol) else f"({inner}).T"

    def _print_Trace(self, expr):
        return f"{self.alias}.trace({self._print(expr.arg)})"

    def _print_Identity(self, expr):
        return f"{self.alias}.eye({self._print(expr.shape[0])})"

    def _print_ZeroMatrix(self, expr):
        return f"{self.alias}.zeros(({self._print(expr.shape[0])}, {self._print(expr.shape[1])}))"

    def _print_OneMatrix(self, expr):
        return f"{self.alias}.ones(({self._print(expr.shape[0])}, {self._print(expr.shape[1])}))"

    def _print_DiagMatrix(self, expr):
        return f"{self.alias}.diag({self._print(expr.args[0])})"

    def _print_DiagonalOf(self, expr):
        return f"{self.alias}.diagonal({self._print(expr.arg)})"

    def _print_ElementwiseApplyFunction(self, expr):
        inner = sp.Symbol("entries")
        return self._print(expr.function(inner)).replace("entries", self._print(expr.expr))

    def _print_over(self, expr):
        return f"{self.alias}.sum({self._print(expr.args[0])}, axis=-1, keepdims=True)"

    def _print_Max(self, expr):
        return self._folded("maximum", expr.args)

    def _print_Min(self, expr):
        return self._folded("minimum", expr.args)

    def _print_Piecewise(self, expr):
        text = f"{self.alias}.nan"
        for value, condition in reversed(expr.args):
            shown = self._print(value)
            text = shown if condition == sp.true else f"{self.alias}.where({self._print(condition)}, {shown}, {text})"
        return text

    def _folded(self, name, arguments):
        # pairwise, so that scalars meet arrays
        first, *others = map(self._print, arguments)
        for other in others:
            first = f"{self.alias}.{name}({first}, {other})"
        return first

    def _print_Polar(self, expr):
        self.helpers["polar"] = _POLAR.format(xp=self.alias)
        return f"polar({self._print(expr.arg)})"


_POLAR = '''def polar(matrix):
    """U V' of a matrix U diag(s) V', on singular values above rounding."""
    left, singular, right = {xp}.linalg.svd(matrix, full_matrices=False)
    return (left * (singular > 1e-10 * singular[0])) @ right'''


def _is_negative(term) -> bool:
    return bool(isinstance(term, sp.MatMul) and term.as_coeff_matrices()[0].could_extract_minus_sign())
