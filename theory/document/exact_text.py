"""Mathematics as text that rebuilds it exactly, and nothing else: no evaluation, no pickle.

Expressions are written by SymPy's `srepr` and read by a reader that can only call SymPy constructors and the package's
own symbol classes. What a trail writes (`Trail.to_dict`) comes back as the same trail.

>>> x = sp.Symbol("x", positive=True)
>>> read_expression(sp.srepr(sp.sqrt(x) + 1)) == sp.sqrt(x) + 1
True
>>> trail = Trail().then("loss", x**2 / 2).then("flow", Equations(((x, -x),), "flow"), residual=1e-16)
>>> read_trail(trail.to_dict()) == trail
True
"""

import ast
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import sympy as sp
from sympy.codegen.cfunctions import expm1, log1p
from sympy.core.symbol import Str
from sympy.matrices.expressions.applyfunc import ElementwiseApplyFunction

from ..trail import Equations, Step, Trail

_NAMED = (sp.Symbol, sp.Float, Str)  # all others would evaluate text
_SINGLETONS = ("E", "I", "pi", "oo", "zoo", "nan", "true", "false", "EulerGamma")


def read_expression(text: str) -> Any:
    """The SymPy expression of an `srepr` text; calls SymPy classes only, and raises ValueError at anything else.

    >>> read_expression("__import__('os').getcwd()")
    Traceback (most recent call last):
    ...
    ValueError: not an expression: __import__('os').getcwd()
    """
    found = _read(ast.parse(text, mode="eval").body)
    if not isinstance(found, sp.Basic):  # numbers, names and lists are read as arguments only
        raise ValueError(f"not an expression: {text}")
    return found


def read_result(plain: Mapping[str, Any] | None) -> Any:
    """What `trail.exact` wrote: an expression, `Equations`, words, or None."""
    if plain is None:
        return None
    if "rows" in plain:
        rows = tuple((read_expression(left), read_expression(right)) for left, right in plain["rows"])
        return Equations(rows, plain["kind"])
    return read_expression(plain["expression"]) if "expression" in plain else plain["words"]


def read_trail(plain: Sequence[Mapping[str, Any]]) -> Trail:
    """The trail that `Trail.to_dict` wrote."""
    same = ("rule", "assumption", "reference", "check", "residual")
    steps = (
        Step(
            result=read_result(step["exact"]),
            given=read_result(step["given"]),
            parents=tuple(step["parents"]),
            **{name: step[name] for name in same},
        )
        for step in plain
    )
    return Trail(tuple(steps))


def _read(node: ast.AST) -> Any:
    if isinstance(node, ast.Constant) and isinstance(node.value, int | str | float | None):
        return node.value
    if isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.USub):
        return -_read(node.operand)
    if isinstance(node, ast.Name) and node.id in _SINGLETONS:
        return getattr(sp, node.id)
    if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id == "S":
        return getattr(sp.S, node.attr)
    if isinstance(node, ast.List | ast.Tuple):  # rows of a matrix
        return [_read(element) for element in node.elts]
    if isinstance(node, ast.Call):
        return _called(node)
    raise ValueError(f"not an expression: {ast.unparse(node)}")


def _called(node: ast.Call) -> Any:
    if isinstance(node.func, ast.Call) and ast.unparse(node.func.func) == "Function":  # an unnamed one, such as p(z)
        (name,) = node.func.args
        if isinstance(name, ast.Constant) and isinstance(name.value, str) and name.value.isidentifier():
            return sp.Function(name.value)(*map(_read, node.args))
    constructor = _constructor(node.func.id) if isinstance(node.func, ast.Name) else None
    text = any(isinstance(part, ast.Constant) and isinstance(part.value, str) for part in node.args)
    if constructor is None or (text and not issubclass(constructor, _NAMED)):
        raise ValueError(f"not an expression: {ast.unparse(node)}")
    options = {str(option.arg): _read(option.value) for option in node.keywords}
    if constructor is sp.RootSum:  # as stored: summing over explicit roots would change its form
        options["auto"] = False
    arguments = [_read(argument) for argument in node.args]
    # a symbol's own constructor may fix assumptions that the text states
    if issubclass(constructor, sp.Symbol) and constructor is not sp.Dummy:
        return sp.Symbol.__new__(constructor, *arguments, **options)
    return constructor(*arguments, **options)


def _constructor(name: str) -> Any:
    elsewhere = {
        "Str": Str,
        "TupleArg": sp.Tuple,
        "ElementwiseApplyFunction": ElementwiseApplyFunction,
        "expm1": expm1,
        "log1p": log1p,
    }
    found = elsewhere.get(name) or getattr(sp, name, None)
    if isinstance(found, type) and issubclass(found, sp.Basic):
        return found
    package = __name__.rpartition(".document.")[0]
    own = (cls for cls in _below(sp.Basic) if cls.__name__ == name and str(cls.__module__).startswith(package))
    return next(own, None)


def _below(cls: type) -> Iterator[type]:
    below: type
    for below in type.__subclasses__(cls):
        yield below
        yield from _below(below)
