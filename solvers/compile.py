"""SymPy expressions become array functions, for JAX (jit, vmap, grad) or NumPy.

`over(expr)` becomes one sum over the last axis, kept as an axis of length 1 so that scalars (T, 1) and mode arrays
(modes,) broadcast together. An expression is walked first, and what has no counterpart is refused by name.

>>> import sympy as sp, numpy as np
>>> from ..theory.symbols import modes, over, positive
>>> lam, kappa = modes("lambda"), positive("kappa")
>>> degrees = compile([over(lam / (lam + kappa))], [lam, kappa], backend="numpy")
>>> degrees(np.array([1.0, 0.5]), np.array([[0.5], [1.0]]))[0].round(3)
array([[1.167],
       [0.833]])
>>> compile([sp.zeta(kappa)], [kappa])
Traceback (most recent call last):
...
learning_mechanics.theory.errors.CannotCompile: zeta has no jax counterpart; evaluate it with mpmath or rewrite it
"""

from collections.abc import Callable, Sequence
from functools import lru_cache
from importlib import import_module
from typing import Any

import sympy as sp
from sympy.core.function import AppliedUndef
from sympy.printing.numpy import JaxPrinter, NumPyPrinter

from ..theory.errors import CannotCompile
from ..theory.symbols import ModeSymbol, over

# Functions that print natively or are mapped below, for both backends.
_KNOWN = set(
    "sin cos tan asin acos atan atan2 sinh cosh tanh asinh acosh atanh exp log sqrt Abs sign Max Min Piecewise floor"
    " ceiling Heaviside erf erfc gamma loggamma beta polygamma over re im conjugate expm1 log1p".split()
)


def compile(expressions: Sequence[Any], arguments: Sequence[Any], backend: str = "jax") -> Callable[..., tuple]:
    """A function of the arguments returning a tuple with the value of every expression.

    `backend` is "jax" (composable with jit, vmap and grad; takes the dtype of its inputs) or "numpy".
    Errors: `CannotCompile` names a function without counterpart, or a symbol that is not among the arguments.
    """
    return _compile(tuple(sp.sympify(e) for e in expressions), tuple(arguments), backend)


@lru_cache(maxsize=512)
def _compile(expressions, arguments, backend):
    sizes = _sizes(arguments)
    for expression in expressions:
        _refuse(expression, (*arguments, *sizes), backend)
    # `over` insists on mode symbols and lambdify renames symbols such as lambda, so both are made neutral first
    scalars = [a for a in (*arguments, *sizes) if isinstance(a, sp.Symbol)]
    plain = {symbol: sp.Symbol(f"argument_{i}", real=True) for i, symbol in enumerate(scalars)}
    functions = _functions(backend)
    neutral = [e.replace(over, sp.Function("over")).xreplace(plain) for e in expressions]
    neutral = [sp.Float(e) if e.is_Integer else e for e in neutral]  # a constant is a number of the arguments' kind
    # cse reorders products, which matrices do not allow
    scalar = not any(e.has(sp.MatrixSymbol) or getattr(e, "is_Matrix", False) for e in expressions)
    function = sp.lambdify(
        [plain.get(a, a).xreplace(plain) for a in (*arguments, *sizes)],
        neutral,
        modules=[functions, backend],
        printer=_printer(functions, backend),
        cse=scalar,
        docstring_limit=0,
    )
    function.__globals__.update(functions)  # with the elementwise functions met while printing
    places = tuple(sizes.values())
    return lambda *values: tuple(function(*values, *(values[which].shape[axis] for which, axis in places)))


def _sizes(arguments):
    """Symbolic dimensions of matrix arguments, each with the (argument, axis) its value is read from."""
    found: dict[sp.Symbol, tuple[int, int]] = {}
    for which, argument in enumerate(arguments):
        for axis, size in enumerate(getattr(argument, "shape", ())):
            if isinstance(size, sp.Symbol) and size not in arguments:
                found.setdefault(size, (which, axis))
    return found


def _printer(functions, backend):
    """The backend's printer, taught traces and elementwise functions of matrices."""

    base: Any = JaxPrinter if backend == "jax" else NumPyPrinter

    class Printer(base):
        def _print_Trace(self, trace):
            return f"trace({self._print(trace.arg)})"

        def _print_Polar(self, polar):
            return f"polar({self._print(polar.arg)})"

        def _print_Identity(self, identity):
            return f"eye({self._print(identity.rows)})"

        def _print_ElementwiseApplyFunction(self, applied):
            name = f"elementwise_{len(functions)}"
            body = applied.function(_z)
            functions[name] = sp.lambdify([_z], body, modules=[_functions(backend), backend])
            return f"{name}({self._print(applied.expr)})"

    known = {name: name for name in functions}
    return Printer({"fully_qualified_modules": False, "inline": True, "user_functions": known})


_z = sp.Symbol("z", real=True)


def _refuse(expression, arguments, backend):
    for part in sp.preorder_traversal(expression):
        name = type(part).__name__
        function = isinstance(part, (sp.Function, sp.Integral, sp.Sum, sp.Derivative))
        if isinstance(part, AppliedUndef) or (function and name not in _KNOWN):
            raise CannotCompile(f"{name} has no {backend} counterpart", remedy="evaluate it with mpmath or rewrite it")
        if isinstance(part, over) and not part.atoms(ModeSymbol):
            raise CannotCompile(f"{part} has no mode symbol to sum over", remedy="multiply by the number of modes")
    for symbol in sorted(expression.free_symbols - set(arguments), key=str):
        raise CannotCompile(
            f"symbol {symbol} is not among the arguments",
            where=str(expression)[:60],
            remedy="bind a value for it; bound: " + ", ".join(sorted(map(str, arguments))),
        )


def _functions(backend):
    xp: Any = import_module("jax.numpy" if backend == "jax" else "numpy")
    special: Any = import_module("jax.scipy.special" if backend == "jax" else "scipy.special")

    def polar(matrix):
        left, singular, right = xp.linalg.svd(matrix, full_matrices=False)
        return (left * (singular > 1e-10 * singular[..., :1])) @ right

    return {
        "polar": polar,
        "over": lambda values: xp.sum(values, axis=-1, keepdims=True),
        "trace": xp.trace,
        "erf": special.erf,
        "erfc": special.erfc,
        "gamma": lambda x: xp.exp(special.gammaln(x)),
        "loggamma": special.gammaln,
        "polygamma": special.polygamma,
        "beta": lambda p, q: xp.exp(special.betaln(p, q)),
        "Heaviside": lambda x, h=0.5: xp.heaviside(x, h),
    }
