"""Mathematics as source for arrays, NumPy or JAX: scalars, modes (arrays whose sums run over the last axis), matrices.

    sum_k lambda_k c_k   ->   numpy.sum(lambda_ * c, axis=-1),       W_2' (S - W_2 W_1)   ->   W2.T @ (S - W2 @ W1)

>>> from ..symbols import matrices, modes, over
>>> lam, c = modes("lambda c")
>>> source(over(lam * c) / 2)
'(1 / 2) * numpy.sum(c * lambda_, axis=-1)'
>>> W1, W2, S = matrices(W1=("h", "d"), W2=("o", "h"), S=("o", "d"))
>>> source(W2.T * (S - W2 * W1))
'W2.T @ (S - W2 @ W1)'
"""

import keyword
import re
from collections.abc import Mapping
from typing import Any

import sympy as sp
from sympy.core.function import AppliedUndef
from sympy.printing.codeprinter import PrintMethodNotImplementedError
from sympy.printing.numpy import NumPyPrinter
from sympy.printing.precedence import PRECEDENCE

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
    """NumPy source of an expression in the identifiers of its symbols. Errors: `CannotCompile` names the function.

    >>> source(sp.Max(sp.Symbol("a b"), 0))
    'numpy.maximum(0, a_b)'
    """
    return ArrayPrinter("numpy").doprint(sp.sympify(expression))


def helpers(text: str, alias: str = "numpy") -> str:
    """Definitions of the special functions that a source uses."""
    used = (code for name, code in HELPERS.items() if name + "(" in text)
    return "\n\n".join(used).replace("numpy.", f"{alias}.")


def undefined(expression: Any) -> bool:
    """Whether an expression holds a function without a definition, such as p(z)."""
    return bool(sp.sympify(expression).atoms(AppliedUndef))


class ArrayPrinter(NumPyPrinter):
    """SymPy's printer for NumPy, taught matrices as `@`, sums over modes, and special functions by `HELPERS`.

    `alias`      the name of the module: "numpy", "np" or "jnp"
    `sizes`      symbolic size -> source it can be read from; other sizes are names
    `keep_axis`  whether a sum over modes keeps an axis of length one, to broadcast against columns of scalars, and a
                 diagonal is an array of one axis
    """

    def __init__(self, alias: str, sizes: Mapping[Any, str] | None = None, keep_axis: bool = False) -> None:
        super().__init__({"fully_qualified_modules": True, "inline": True, "allow_unknown_functions": False})
        self.alias, self.sizes, self.keep_axis = alias, dict(sizes or {}), keep_axis
        self.others: set[str] = set()  # further modules to import

    def doprint(self, expr, assign_to=None):
        try:
            text = super().doprint(expr, assign_to)
        except PrintMethodNotImplementedError as error:
            name = str(error).splitlines()[0].rpartition(": ")[2].rstrip("'>").rpartition(".")[2]
            raise CannotCompile(
                f"{name} has no {self.alias} counterpart", remedy="rewrite it, or evaluate it with mpmath"
            ) from None
        # products get their spaces, powers keep none
        return re.sub(r"(?<=[\w)\]])([*/])(?=[\w(])", r" \1 ", text.replace("**", "\0")).replace("\0", "**")

    def _module_format(self, fqn, register=True):
        module, _, name = fqn.rpartition(".")
        if module == "numpy":
            return f"{self.alias}.{name}"
        self.others |= {module} - {""}  # built-in functions such as abs need no import
        return fqn

    def _print_Symbol(self, symbol):
        return self.sizes.get(symbol) or identifier(symbol)

    def _print_MatrixSymbol(self, symbol):
        return identifier(symbol)

    def _print_Tuple(self, values):
        return f"{self.alias}.array([{', '.join(map(self._print, values))}])"

    def _print_over(self, summed):
        kept = ", keepdims=True" if self.keep_axis else ""
        return f"{self.alias}.sum({self._print(summed.args[0])}, axis=-1{kept})"

    def _print_MatMul(self, product):
        coefficient, factors = product.as_coeff_matrices()
        text = " @ ".join(self.parenthesize(factor, PRECEDENCE["Mul"]) for factor in factors)
        if coefficient == 1:
            return text
        if coefficient.could_extract_minus_sign():
            return f"-{self._print(sp.MatMul(-coefficient, *factors))}"
        return f"{self.parenthesize(coefficient, PRECEDENCE['Mul'])} * {text}"

    def _print_MatAdd(self, total):
        text = ""
        for place, term in enumerate(sorted(total.args, key=_is_negative)):  # what is subtracted comes last
            printed = self._print(term)
            negative = printed.startswith("-")
            text += printed if place == 0 else (f" - {printed[1:]}" if negative else f" + {printed}")
        return text

    def _print_HadamardProduct(self, product):
        return "*".join(self.parenthesize(factor, PRECEDENCE["Pow"]) for factor in product.args)

    def _print_Transpose(self, transposed):
        inner = self._print(transposed.arg)
        return f"{inner}.T" if isinstance(transposed.arg, sp.MatrixSymbol) else f"({inner}).T"

    def _print_Trace(self, trace):
        return f"{self.alias}.trace({self._print(trace.arg)})"

    def _print_Identity(self, identity):
        return f"{self.alias}.eye({self._print(identity.shape[0])})"

    def _print_ZeroMatrix(self, zero):
        return f"{self.alias}.zeros(({', '.join(map(self._print, zero.shape))}))"

    def _print_OneMatrix(self, ones):
        return f"{self.alias}.ones(({', '.join(map(self._print, ones.shape))}))"

    def _print_DiagMatrix(self, diagonal):
        entries = self._print(diagonal.args[0])
        # a column may come as an array of one axis or of two
        flat = self.keep_axis and isinstance(diagonal.args[0], sp.MatrixSymbol)
        return f"{self.alias}.diag({entries})" if flat else f"{self.alias}.diag({self.alias}.ravel({entries}))"

    def _print_DiagonalOf(self, diagonal):
        return f"{self.alias}.diagonal({self._print(diagonal.arg)})" + ("" if self.keep_axis else "[:, None]")

    def _print_ElementwiseApplyFunction(self, applied):
        body = self._print(applied.function(sp.Symbol("entries", real=True)))
        inner = self._print(applied.expr)
        called = re.fullmatch(r"[\w.]+\(entries\)", body)  # the parentheses of a call hold it together
        held = inner if called or isinstance(applied.expr, sp.MatrixSymbol) else f"({inner})"
        return re.sub(r"\bentries\b", lambda _: held, body)

    def _print_Polar(self, factor):
        return f"polar({self._print(factor.arg)})"

    def _print_Max(self, function):
        return self._folded("maximum", function.args)

    def _print_Min(self, function):
        return self._folded("minimum", function.args)

    def _print_Piecewise(self, function):
        text = f"{self.alias}.nan"
        for value, condition in reversed(function.args):
            shown = self._print(value)
            text = shown if condition == sp.true else f"{self.alias}.where({self._print(condition)}, {shown}, {text})"
        return text

    def _folded(self, name, arguments):
        # pairwise, so that scalars meet arrays
        text, *others = map(self._print, arguments)
        for other in others:
            text = f"{self.alias}.{name}({text}, {other})"
        return text

    def _print_LambertW(self, function):
        outside, exponent = sp.S.One, sp.S.Zero
        for factor in sp.Mul.make_args(function.args[0]):
            if isinstance(factor, sp.exp):
                exponent += factor.args[0]
            else:
                outside *= factor
        return f"wright_omega({self.alias}.log({self._print(outside)}) + {self._print(exponent)})"

    def _print_hyper(self, function):
        (a, b), (c,) = function.ap, function.bq
        return f"hypergeometric({', '.join(map(self._print, (a, b, c, function.argument)))})"

    def _print_erf(self, function):
        return self._special("erf", "error_function", function)

    def _print_gamma(self, function):
        return self._special("gamma", "gamma_function", function)

    def _special(self, name, helper, function):
        if self.alias == "jnp":
            helper = self._module_format(f"jax.scipy.special.{name}")
        return f"{helper}({self._print(function.args[0])})"


def _is_negative(term) -> bool:
    return bool(isinstance(term, sp.MatMul) and term.as_coeff_matrices()[0].could_extract_minus_sign())
