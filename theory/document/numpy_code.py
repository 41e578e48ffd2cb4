"""Mathematics as NumPy source: scalars, modes (arrays whose sums run over the last axis) and matrices.

    sum_k lambda_k c_k   ->   numpy.sum(lambda_*c, axis=-1),       W_2' (S - W_2 W_1)   ->   W2.T @ (S - W2 @ W1)

>>> from ..symbols import matrices, modes, over
>>> lam, c = modes("lambda c")
>>> source(over(lam * c) / 2)
'(1/2)*numpy.sum(c*lambda_, axis=-1)'
>>> W1, W2, S = matrices(W1=("h", "d"), W2=("o", "h"), S=("o", "d"))
>>> source(W2.T * (S - W2 * W1))
'W2.T @ (S - (W2 @ W1))'
"""

import keyword
import re
from typing import Any

import sympy as sp
from sympy.core.function import AppliedUndef
from sympy.printing.codeprinter import PrintMethodNotImplementedError
from sympy.printing.numpy import NumPyPrinter

from ..errors import CannotCompile

HELPERS = {
    "wright_omega": '''def wright_omega(z):
    """The solution w of w + log(w) = z, so that LambertW(y exp(x)) = wright_omega(log(y) + x)."""
    z = numpy.asarray(z, float)
    small = z < -1  # there w = exp(z - w) is iterated in w itself, elsewhere Newton's method in log(w)
    w = numpy.where(small, numpy.exp(numpy.minimum(z, -1)), numpy.maximum(z, 0.5))
    for _ in range(60):
        log_w = numpy.log(numpy.maximum(w, 1e-300))
        w = numpy.where(small, w - (w - numpy.exp(z - w)) / (1 + w), w * numpy.exp((z - w - log_w) / (1 + w)))
    return w
''',
    "hypergeometric": '''def digamma(x):
    """Derivative of log Gamma: raised to where its asymptotic series is exact."""
    shift = 0.0
    while x < 12:
        x, shift = x + 1, shift - 1 / x
    tail = 1 / 12 - (1 / 120 - (1 / 252 - (1 / 240 - 1 / (132 * x**2)) / x**2) / x**2) / x**2
    return shift + float(numpy.log(x)) - 1 / (2 * x) - tail / x**2


def hypergeometric(a, b, c, z):
    """Gauss's 2F1(1, b; 1 + b; z) for 0 <= z < 1, in either order of the first two: in powers of z, or of 1 - z."""
    b = a if b == 1 else b
    if abs(c - 1 - b) > 1e-12:
        raise ValueError("only 2F1(1, b; 1 + b; z) is known here")
    z = numpy.asarray(z, float)
    near, far = numpy.minimum(z, 0.6), numpy.minimum(1 - z, 0.6)
    series, weight = numpy.zeros_like(z), 1.0
    for k in range(90):
        series = series + b / (b + k) * near**k
    turned, gap = numpy.zeros_like(z), digamma(1.0) - digamma(b)
    for k in range(90):
        turned = turned + b * weight * far**k * (gap - numpy.log(far))
        weight, gap = weight * (b + k) / (k + 1), gap + 1 / (k + 1) - 1 / (b + k)
    return numpy.where(z <= 0.6, series, turned)
''',
    "polar": '''def polar(matrix):
    """The matrix with every singular value replaced by one; those that vanish stay zero."""
    left, strengths, right = numpy.linalg.svd(matrix, full_matrices=False)
    return (left * (strengths > 1e-10 * strengths[0])) @ right
''',
    "error_function": """error_function = numpy.vectorize(__import__("math").erf)
""",
    "gamma_function": """gamma_function = numpy.vectorize(__import__("math").gamma)
""",
}


def identifier(symbol: Any) -> str:
    """A Python name for a symbol: `lambda` becomes `lambda_`.

    >>> identifier(sp.Symbol("lambda")), identifier(sp.Symbol("S")), identifier(sp.Symbol("a b"))
    ('lambda_', 'S', 'a_b')
    """
    name = re.sub(r"\W", "_", str(symbol))
    return name + "_" if keyword.iskeyword(name) or name in ("numpy", "values", "input") else name


def source(expression: Any) -> str:
    """NumPy source of an expression in the identifiers of its symbols. Errors: `CannotCompile` names the function."""
    try:
        return _Printer({"fully_qualified_modules": True, "inline": True}).doprint(sp.sympify(expression))
    except PrintMethodNotImplementedError as error:
        found = str(error).split("'")[1] if "'" in str(error) else str(error)
        raise CannotCompile(f"{found} has no NumPy counterpart", remedy="evaluate it with mpmath") from None


def helpers(text: str) -> str:
    """Definitions of the special functions that a source uses."""
    return "\n\n".join(code for name, code in HELPERS.items() if name + "(" in text)


class _Printer(NumPyPrinter):
    """NumPy's printer, for arrays of modes and for matrices multiplied with @."""

    def _print_Symbol(self, symbol):
        return identifier(symbol)

    def _print_MatrixSymbol(self, symbol):
        return identifier(symbol)

    def _print_over(self, summed):
        return f"numpy.sum({self._print(summed.args[0])}, axis=-1)"

    def _print_MatMul(self, product):
        numbers = [factor for factor in product.args if not getattr(factor, "is_Matrix", False)]
        matrices = [self._held(factor) for factor in product.args if getattr(factor, "is_Matrix", False)]
        text = " @ ".join(matrices)
        if not numbers:
            return text
        return f"({self._print(sp.Mul(*numbers))})*({text})"

    def _print_MatAdd(self, total):
        signed = [
            (isinstance(t, sp.MatMul) and bool(t.args[0].is_number) and bool(t.args[0] < 0), t) for t in total.args
        ]
        signed.sort(key=lambda pair: pair[0])  # what is subtracted comes last
        text = "".join((" - " if minus else " + ") + self._held(-t if minus else t) for minus, t in signed)
        return text[3:] if text.startswith(" + ") else "-" + text[3:]

    def _print_Transpose(self, transposed):
        return f"{self._held(transposed.arg)}.T"

    def _print_Tuple(self, values):
        return f"numpy.array([{', '.join(map(self._print, values))}])"

    def _print_Trace(self, trace):
        return f"numpy.trace({self._print(trace.arg)})"

    def _print_Identity(self, identity):
        return f"numpy.eye({self._print(identity.shape[0])})"

    def _print_ZeroMatrix(self, zero):
        return f"numpy.zeros(({self._print(zero.shape[0])}, {self._print(zero.shape[1])}))"

    def _print_OneMatrix(self, ones):
        return f"numpy.ones(({self._print(ones.shape[0])}, {self._print(ones.shape[1])}))"

    def _print_DiagMatrix(self, diagonal):
        return f"numpy.diag(numpy.ravel({self._print(diagonal.args[0])}))"

    def _print_Polar(self, factor):
        return f"polar({self._print(factor.args[0])})"

    def _print_HadamardProduct(self, product):
        return "*".join(self._held(factor) for factor in product.args)

    def _print_ElementwiseApplyFunction(self, applied):
        stand_in = sp.Symbol("entries", real=True)
        body = self._print(applied.function(stand_in))
        return f"(lambda entries: {body})({self._print(applied.expr)})"

    def _print_LambertW(self, function):
        outside, exponent = sp.S.One, sp.S.Zero
        for factor in sp.Mul.make_args(function.args[0]):
            if isinstance(factor, sp.exp):
                exponent += factor.args[0]
            else:
                outside *= factor
        return f"wright_omega(numpy.log({self._print(outside)}) + {self._print(exponent)})"

    def _print_hyper(self, function):
        (a, b), (c,) = function.ap, function.bq
        return f"hypergeometric({', '.join(map(self._print, (a, b, c, function.argument)))})"

    def _print_Max(self, function):
        return self._folded("numpy.maximum", function.args)

    def _print_Min(self, function):
        return self._folded("numpy.minimum", function.args)

    def _print_Piecewise(self, function):
        text = "numpy.nan"
        for value, condition in reversed(function.args):
            text = (
                self._print(value)
                if condition == sp.true
                else (f"numpy.where({self._print(condition)}, {self._print(value)}, {text})")
            )
        return text

    def _print_erf(self, function):
        return f"error_function({self._print(function.args[0])})"

    def _print_gamma(self, function):
        return f"gamma_function({self._print(function.args[0])})"

    def _print_Function(self, function):
        raise CannotCompile(f"{type(function).__name__} has no NumPy counterpart", remedy="evaluate it with mpmath")

    _print_not_supported = _print_Function

    def _folded(self, name, arguments):
        text = self._print(arguments[0])
        for argument in arguments[1:]:
            text = f"{name}({text}, {self._print(argument)})"
        return text

    def _held(self, factor):
        text = self._print(factor)
        plain = isinstance(factor, sp.MatrixSymbol | sp.Transpose | sp.Identity | sp.DiagMatrix | sp.Inverse)
        return text if plain else f"({text})"


def undefined(expression: Any) -> bool:
    """Whether an expression holds a function without a definition, such as p(z)."""
    return bool(sp.sympify(expression).atoms(AppliedUndef))
