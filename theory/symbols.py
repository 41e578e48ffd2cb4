"""Symbols, and sums over the modes of the user's arrays.

The one idea: a *mode symbol* stands for one entry of an array with one value per mode, and `over(expr)` is the sum of
`expr` over all modes. It differentiates like any sum and compiles to a single array reduction, for any number of modes:

    sum_k lambda_k / (lambda_k + kappa)   is   over(lam / (lam + kappa)).

>>> lam, kappa = modes("lambda"), positive("kappa")
>>> degrees = over(lam / (lam + kappa))
>>> degrees.diff(kappa)
-over(lambda/(lambda + kappa)**2)
"""

from collections.abc import Mapping
from typing import Any

import sympy as sp

from .errors import NoClosedForm

TIME = sp.Symbol("t", nonnegative=True)
STEP = sp.Symbol("k", integer=True, nonnegative=True)
LEARNING_RATE = sp.Symbol("eta", positive=True)


def scalars(names: str):
    """Real symbols, one or a tuple: `a, b = scalars("a b")`.

    >>> [symbol.is_real for symbol in scalars("a b")]
    [True, True]
    """
    return sp.symbols(names, real=True)


def positive(names: str):
    """Positive symbols, one or a tuple.

    >>> positive("kappa").is_positive
    True
    """
    return sp.symbols(names, positive=True)


def dimensions(names: str):
    """Positive integer symbols for matrix shapes, one or a tuple.

    >>> dimensions("P").is_integer
    True
    """
    return sp.symbols(names, integer=True, positive=True)


def matrices(**shapes):
    """Matrix symbols by name and shape: `W1, W2 = matrices(W1=("h", "d"), W2=("o", "h"))`.

    >>> W1, W2 = matrices(W1=("h", "d"), W2=("o", "h"))
    >>> (W2 * W1).shape
    (o, d)
    """
    made = tuple(sp.MatrixSymbol(name, *map(_dimension, shape)) for name, shape in shapes.items())
    return made[0] if len(made) == 1 else made


def _dimension(size):
    return dimensions(size) if isinstance(size, str) else sp.sympify(size)


class ModeSymbol(sp.Symbol):
    """One value per mode; only meaningful elementwise or inside `over`."""


def modes(names: str, **assumptions):
    """Mode symbols, positive unless told otherwise: `lam, v = modes("lambda v")`.

    >>> modes("v", positive=None, real=True).is_positive is None
    True
    """
    assumptions = {key: value for key, value in {"positive": True, **assumptions}.items() if value is not None}
    made = tuple(ModeSymbol(name, **assumptions) for name in names.replace(",", " ").split())
    return made[0] if len(made) == 1 else made


def velocity(unknown):
    """What a momentum method remembers of an unknown: a symbol of the same kind, named after it.

    >>> velocity(modes("u")), velocity(matrices(W1=("h", "d"))).shape
    (v_u, (h, d))
    """
    name = f"v_{unknown.name}"
    if isinstance(unknown, sp.MatrixSymbol):
        return sp.MatrixSymbol(name, *unknown.shape)
    return ModeSymbol(name, real=True) if isinstance(unknown, ModeSymbol) else sp.Symbol(name, real=True)


class over(sp.Function):
    """Sum of an expression over all modes: `over(lam * v)`; linear in factors that carry no mode symbol.

    >>> lam, eta = modes("lambda"), positive("eta")
    >>> over(eta * lam)
    eta*over(lambda)
    """

    nargs = 1

    @classmethod
    def eval(cls, summand):
        if not summand.atoms(ModeSymbol):
            return None  # SymPy puts stand-ins in the place of symbols; compilation refuses what is left
        # a sum over modes is a number: it and every other factor without a mode of its own stand before the sum
        factors = sp.Mul.make_args(summand)
        outside = [factor for factor in factors if not _held(factor).atoms(ModeSymbol, sp.Dummy)]
        if outside:
            return sp.Mul(*outside) * cls(sp.Mul(*(factor for factor in factors if factor not in outside)))
        return None

    def _eval_derivative(self, symbol):
        if isinstance(symbol, ModeSymbol):
            raise NoClosedForm(
                f"the derivative of {self} by one entry of {symbol} is no expression of modes",
                where="over",
                remedy="differentiate by a scalar, or use entry_derivative on a number",
            )
        derivative = self.args[0].diff(symbol)
        return over(derivative) if derivative.atoms(ModeSymbol) else sp.S.Zero

    def _latex(self, printer, exp=None):
        body = rf"\sum_{{\mathrm{{modes}}}} {printer.parenthesize(self.args[0], 40)}"
        return body if exp is None else rf"\left({body}\right)^{{{exp}}}"


def entry_derivative(expression: Any, symbol: ModeSymbol) -> Any:
    """Derivative of a function of sums over modes by the entry of one mode: the chain rule through every `over`.

        d/dw_k g(sum_j f(w_j)) = g' f'(w_k),   an expression of mode k that holds sums over all modes.

    Sums may stand inside sums. Raises `NoClosedForm` if the symbol also stands outside of them: then the expression is
    no number, but one for every mode.

    >>> a, w, lam = sp.Symbol("a"), modes("w"), modes("lambda")
    >>> print(entry_derivative(over(lam * a * w**2) ** 2, w))
    4*lambda*w*a**2*over(lambda*w**2)
    """
    outside, sums = _opened(expression)
    if outside.has(symbol):
        raise NoClosedForm(
            f"{symbol} stands outside of the sums of {expression}",
            where="entry_derivative",
            remedy="differentiate what is summed",
        )
    return sp.Add(*(_through(outside, mark, sums) * _entry(total, symbol) for mark, total in sums.items()))


def spread(expression: Any) -> Any:
    """An expression multiplied out, with the sum over modes of a sum of terms written as the sum of their sums.

    Two expressions of sums over modes are equal, for every number of modes, if their difference spreads to zero.

    >>> x, y = modes("x y")
    >>> print(spread(over(x * (x + y))))
    over(x**2) + over(x*y)
    """
    outside, sums = _opened(sp.expand(expression))
    parts = {mark: sp.Add(*map(over, sp.Add.make_args(spread(total.args[0])))) for mark, total in sums.items()}
    return sp.expand(outside.xreplace(parts))


def _entry(total: over, symbol: ModeSymbol) -> Any:
    """Derivative of one sum over modes by one entry: of its summand in place, and of the sums inside the summand."""
    summand, inner = _opened(total.args[0])
    direct = summand.diff(symbol).xreplace(inner)
    return direct + sp.Add(*(over(_through(summand, mark, inner)) * _entry(inner[mark], symbol) for mark in inner))


def _through(outside: Any, mark: sp.Dummy, sums: Mapping[sp.Dummy, over]) -> Any:
    """Derivative by one marked sum, with the sums put back."""
    return outside.diff(mark).xreplace(sums)


def _opened(expression: Any) -> tuple[Any, dict[sp.Dummy, over]]:
    """The expression with marks for its outermost sums over modes, and the sum each mark stands for."""
    sums: dict[sp.Dummy, over] = {}
    marks: dict[over, sp.Dummy] = {}
    tree = sp.preorder_traversal(expression)
    for part in tree:
        if isinstance(part, over):
            tree.skip()
            if part not in marks:
                marks[part] = sp.Dummy()
                sums[marks[part]] = part
    return expression.xreplace(marks), sums


def _held(expression: Any) -> Any:
    """The expression with a number in the place of every sum over modes.

    What holds a `Dummy` is not moved out of a sum: SymPy's simplifications put dummies in the place of mode symbols.
    """
    return expression.xreplace(dict.fromkeys(expression.atoms(over), sp.S.One))
