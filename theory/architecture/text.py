"""A network written as one line of text, as on a command line: parts in order, separated by commas.

    dense(1.5, 0.1), relu, residual(dense(2**0.5), erf, dense), layer_norm, dense

The parts are the constructors of `constructors`, with their arguments, and activations by their names.

>>> net = parse("dense(1.5, b_std=0.1), leaky_relu(0.2), dense")
>>> [node.op for node in net.nodes], net.nodes[1].w_std, net.nodes[2].activation
(['input', 'dense', 'activation', 'dense'], 1.5, 'leaky_relu(0.2)')
"""

import ast
import operator
from typing import Any

from ..errors import BadData, UnknownName
from . import constructors
from .activations import ACTIVATIONS
from .network import Network

PARTS = (
    "serial",
    "dense",
    "convolution",
    "residual",
    "sum_of",
    "product",
    "layer_norm",
    "reshape",
    "average_pool",
    "global_average_pool",
    "flatten",
    "attention",
)
_ARITHMETIC: dict[type, Any] = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.Div: operator.truediv,
    ast.Pow: operator.pow,
    ast.USub: operator.neg,
}


def parse(text: str) -> Network:
    """The network of a line of text; nothing but parts, numbers and arithmetic is evaluated.

    Errors: `UnknownName` for an unknown part, with the nearest one; `BadData` for anything else that cannot be read.

    >>> parse("dense, rleu")
    Traceback (most recent call last):
    ...
    learning_mechanics.theory.errors.UnknownName: network: unknown part 'rleu'; did you mean 'relu'?
    """
    try:
        tree = ast.parse(f"({text.strip().rstrip(',')},)", mode="eval").body
    except SyntaxError:
        raise _unreadable(text) from None
    if not isinstance(tree, ast.Tuple) or not tree.elts:
        raise _unreadable(text)
    return constructors.serial(*(_part(element, text) for element in tree.elts))


def _part(node: ast.expr, text: str) -> Network:
    call = node if isinstance(node, ast.Call) else None
    named = call.func if call else node
    if not isinstance(named, ast.Name):
        raise _unreadable(text)
    if named.id in ACTIVATIONS:
        given = ",".join(repr(_number(argument, text)) for argument in call.args) if call else ""
        return constructors.activation(f"{named.id}({given})" if given else named.id)
    if named.id not in PARTS:
        raise UnknownName.among(named.id, (*PARTS, *ACTIVATIONS), kind="part", where="network")
    arguments = [_argument(argument, text) for argument in call.args] if call else []
    options = {k.arg or "": _argument(k.value, text) for k in call.keywords} if call else {}
    try:
        return getattr(constructors, named.id)(*arguments, **options)
    except TypeError as error:
        raise BadData(str(error), where=f"network, {named.id}", remedy=f"see its arguments in {text!r}") from None


def _argument(node: ast.expr, text: str) -> Any:
    if isinstance(node, ast.Name | ast.Call):
        return _part(node, text)
    if isinstance(node, ast.Tuple | ast.List):
        return tuple(_argument(element, text) for element in node.elts)
    if isinstance(node, ast.Constant) and isinstance(node.value, str):
        return node.value
    return _number(node, text)


def _number(node: ast.expr, text: str) -> Any:
    if isinstance(node, ast.Constant) and isinstance(node.value, int | float) and not isinstance(node.value, bool):
        return node.value
    if isinstance(node, ast.UnaryOp) and type(node.op) in _ARITHMETIC:
        return _ARITHMETIC[type(node.op)](_number(node.operand, text))
    if isinstance(node, ast.BinOp) and type(node.op) in _ARITHMETIC:
        left, right = _number(node.left, text), _number(node.right, text)
        if isinstance(node.op, ast.Pow) and max(abs(left), abs(right)) > 1e3:
            raise _unreadable(text)
        try:
            return _ARITHMETIC[type(node.op)](left, right)
        except ZeroDivisionError:
            raise BadData("division by zero", where="network", remedy="give finite numbers") from None
    raise _unreadable(text)


def _unreadable(text: str) -> BadData:
    return BadData(f"cannot read {text!r}", where="network", remedy='write parts, as in "dense(1.5, 0.1), relu, dense"')
