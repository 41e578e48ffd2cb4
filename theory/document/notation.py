r"""How mathematics is printed as LaTeX, everywhere: in documents, in notebooks, in the report.

Names of several letters are upright, what is subtracted comes last, and a dot sits on its letter:

    \dot{W}_{1} = W_{2}^{T} \left(\Sigma_{yx} - W_{2} W_{1}\right)

>>> s, a = sp.symbols("s a")
>>> latex(s - a), latex(sp.Symbol("ridge") - a)
('s - a', '\\mathrm{ridge} - a')
>>> marked(sp.Symbol("W1"), "flow"), marked(sp.Symbol("a"), "map")
('\\dot{W}_{1}', 'a^{+}')
"""

import re
from typing import Any

import sympy as sp
from sympy.printing.latex import LatexPrinter

GREEK = tuple(
    "alpha beta gamma delta epsilon zeta eta theta kappa lambda mu nu xi rho sigma tau phi chi psi omega".split()
)
_WORDS = re.compile(r"[A-Za-z]{3,}(_[A-Za-z]{2,})*")


class _Printer(LatexPrinter):
    """As SymPy's, but what is subtracted comes last: s - a, not -a + s."""

    def _as_ordered_terms(self, expr, order=None):
        terms = super()._as_ordered_terms(expr, order=order)
        return sorted(terms, key=lambda term: bool(term.could_extract_minus_sign()))

    def _print_hyper(self, function, exp=None):
        upper, lower = (", ".join(map(self._print, part)) for part in (function.ap, function.bq))
        name = rf"{{}}_{{{len(function.ap)}}}F_{{{len(function.bq)}}}" + (f"^{{{exp}}}" if exp else "")
        return rf"{name}\left({upper};\, {lower};\, {self._print(function.argument)}\right)"

    def _print_DiagMatrix(self, diagonal):
        return rf"\operatorname{{diag}}\left({self._print(diagonal.args[0])}\right)"

    _print_DiagonalOf = _print_DiagMatrix

    def _print_MatrixSymbol(self, symbol):
        # the velocity of an unknown carries its name as an index
        if symbol.name.startswith("v_"):
            return f"v_{{{self._print(sp.Symbol(symbol.name[2:]))}}}"
        return super()._print_MatrixSymbol(symbol)

    def _print_OneMatrix(self, ones):
        return r"\mathbf{1}" + ("^{T}" if ones.shape[0] == 1 else "")

    def _print_Transpose(self, transposed):
        if isinstance(transposed.arg, sp.OneMatrix):
            return self._print(sp.OneMatrix(*transposed.shape))
        return super()._print_Transpose(transposed)

    def _print_ElementwiseApplyFunction(self, applied):
        inner = sp.Symbol("entries")
        return self._print(applied.function(inner)).replace(self._print(inner), self._print(applied.expr))


def latex(expression: Any) -> str:
    """LaTeX of an expression, with names of several letters upright and what is subtracted last."""
    expression = sp.sympify(expression)
    symbols = [symbol for symbol in expression.free_symbols if isinstance(symbol, sp.Symbol)]
    words = (symbol for symbol in symbols if _WORDS.fullmatch(symbol.name))
    names = {symbol: word(symbol.name) for symbol in words if symbol.name.split("_")[0] not in GREEK}
    names |= {symbol: r"\sigma^{2}" for symbol in symbols if symbol.name == "sigma2"}
    names |= {symbol: symbol.name[:-1] + "^{+}" for symbol in symbols if symbol.name.endswith("+")}
    printer = _Printer({"symbol_names": names, "mul_symbol": r"\,", "fold_frac_powers": True})
    return printer.doprint(expression).replace(r"\frac", r"\dfrac").replace("+ -", "- ")


def marked(unknown: Any, kind: str) -> str:
    """The left side of an equation: the time derivative for a "flow", the next value for a "map", else the unknown.

    A fixed point equation has no left side but 0.
    """
    if kind == "fixed point":
        return "0"
    name = latex(unknown)
    if kind == "flow":
        return dotted(name)
    return (f"{{{name}}}" if "^" in name else name) + "^{+}" if kind == "map" else name


def dotted(name: str) -> str:
    r"""The time derivative of a name, with the dot on its letter and not on its index.

    >>> dotted("W_{1}")
    '\\dot{W}_{1}'
    """
    stem, low, index = name.partition("_")
    return rf"\dot{{{stem}}}{low}{index}"


def word(name: str) -> str:
    r"""A name of whole words, upright.

    >>> word("target_power")
    '\\mathrm{target\\ power}'
    """
    return r"\mathrm{" + name.replace("_", r"\ ") + "}"
