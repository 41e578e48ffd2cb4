"""Symbols, and sums over the modes of the user's arrays.

The one idea: a *mode symbol* stands for one entry of an array with one value per mode, and `over(expr)` is the sum of
`expr` over all modes. It differentiates like any sum and compiles to a single array reduction, for any number of modes:

    sum_k lambda_k / (lambda_k + kappa)   is   over(lam / (lam + kappa)).

>>> lam, kappa = modes("lambda"), positive("kappa")
>>> degrees = over(lam / (lam + kappa))
>>> degrees.diff(kappa)
-over(lambda/(lambda + kappa)**2)
"""

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
        outside = [factor for factor in factors if not factor.xreplace(_hidden(factor)).atoms(ModeSymbol)]
        if outside:
            return sp.Mul(*outside) * cls(sp.Mul(*(factor for factor in factors if factor not in outside)))
        return None

    def _eval_derivative(self, symbol):
        if isinstance(symbol, ModeSymbol):
            raise NoClosedForm(
                f"the derivative of {self} by one entry of {symbol} is no expression of modes",
                where="over",
                remedy="differentiate by a scalar",
            )
        derivative = self.args[0].diff(symbol)
        return over(derivative) if derivative.atoms(ModeSymbol) else sp.S.Zero

    def _latex(self, printer, exp=None):
        body = rf"\sum_{{\mathrm{{modes}}}} {printer.parenthesize(self.args[0], 40)}"
        return body if exp is None else rf"\left({body}\right)^{{{exp}}}"


def _hidden(expression) -> dict:
    """Every sum over modes in an expression, to be replaced by a number."""
    return {total: sp.Dummy() for total in expression.atoms(over)}
