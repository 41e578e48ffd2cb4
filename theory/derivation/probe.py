"""Random points at which every derivation checks itself: matrix expressions in NumPy, derivatives by complex steps.

    d/dh f(x + h v) at 0  =  Im f(x + i h v) / h,   exact to rounding, since nothing is subtracted.

>>> from ..symbols import matrices
>>> W = matrices(W=("h", "d"))
>>> loss = sp.Trace(W * W.T) / 2
>>> gradient_residual(loss, (W,), (W,)) < 1e-14, gradient_residual(loss, (W,), (2 * W,)) > 1e-3
(True, True)
"""

import math
from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Any

import numpy as np
import sympy as sp
from sympy.matrices.expressions.applyfunc import ElementwiseApplyFunction

from ..errors import UnknownName
from .noncommutative import Polar, SymmetricMatrix

_STEP = 1e-30
_NONE: Mapping[Any, Any] = MappingProxyType({})
_KINKED = (sp.Max, sp.Min, sp.Abs, sp.sign, sp.Heaviside, sp.Piecewise, sp.re, sp.im, sp.conjugate)


def evaluate(expression: Any, values: Mapping[Any, Any]) -> Any:
    """The number or array of an expression; `values` maps symbols (sizes too) and matrix symbols to numbers and arrays.

    Transposes never conjugate, so that complex steps pass through. What occurs twice is computed once.
    """
    known: dict = {}

    def number(part):
        if part not in known:
            known[part] = values[part] if part in values else _number(part, number, values)
        return known[part]

    return number(expression)


def _number(expression, number, values) -> Any:
    """One operation on the numbers of its arguments."""
    if isinstance(expression, sp.Transpose):
        return number(expression.arg).T
    if isinstance(expression, sp.Trace):
        return np.trace(number(expression.arg))
    if isinstance(expression, sp.Determinant):
        return np.linalg.det(number(expression.arg))
    if isinstance(expression, sp.Inverse):
        return np.linalg.inv(number(expression.arg))
    if isinstance(expression, sp.MatPow):
        return np.linalg.matrix_power(number(expression.base), int(expression.exp))
    if isinstance(expression, sp.Identity | sp.ZeroMatrix | sp.OneMatrix):
        rows, columns = _sizes(expression.shape, values)
        kinds = {sp.Identity: np.eye(rows), sp.ZeroMatrix: np.zeros((rows, columns))}
        return kinds.get(type(expression), np.ones((rows, columns)))
    if isinstance(expression, sp.DiagMatrix):
        return np.diagflat(number(expression.args[0]))
    if isinstance(expression, sp.DiagonalOf):
        return np.diagonal(number(expression.arg))[:, None]
    if isinstance(expression, Polar):
        return polar_factor(number(expression.arg))
    if isinstance(expression, ElementwiseApplyFunction):
        argument = sp.Dummy()
        function = sp.lambdify(argument, expression.function(argument), ["scipy", "numpy"])
        return function(number(expression.expr))
    if isinstance(expression, sp.MatMul):
        return _product(expression, number)
    if isinstance(expression, sp.HadamardProduct):
        return np.prod([number(factor) for factor in expression.args], axis=0)
    if isinstance(expression, sp.MatAdd | sp.Add):
        return sum(number(term) for term in expression.args)
    if isinstance(expression, sp.Mul):
        return math.prod(number(factor) for factor in expression.args)
    if isinstance(expression, sp.Pow):
        return number(expression.base) ** number(expression.exp)
    if expression.is_number:
        return complex(expression) if expression.is_real is False else float(expression)
    if isinstance(expression, sp.Symbol | sp.MatrixSymbol):
        raise UnknownName.among(str(expression), map(str, values), kind="value", where="evaluate")
    arguments = [sp.Dummy() for _ in expression.args]
    function = sp.lambdify(arguments, expression.func(*arguments), [{"over": np.sum}, "scipy", "numpy"])
    return function(*(number(argument) for argument in expression.args))


def _product(expression, number) -> Any:
    total: Any = 1.0
    for factor in expression.args:
        if isinstance(factor, sp.DiagMatrix) and np.ndim(total) == 2:
            total = total * np.ravel(number(factor.args[0]))  # samples are gated without a matrix of their square
            continue
        value = number(factor)
        total = total * value if np.ndim(total) == 0 or np.ndim(value) == 0 else total @ value
    return total


def polar_factor(matrix: np.ndarray) -> np.ndarray:
    """The polar factor on singular values above rounding (1e-10 of the largest): directions of none do not move."""
    left, singular, right = np.linalg.svd(matrix, full_matrices=False)
    return (left * (singular > 1e-10 * singular[0])) @ right


def random_values(expressions: Sequence[Any], seed: int = 0) -> dict:
    """A random point: distinct small sizes, positive numbers near 1, Gaussian matrices (symmetric ones positive)."""
    rng = np.random.default_rng(seed)
    matrices = sorted(set().union(*(e.atoms(sp.MatrixSymbol) for e in expressions)), key=str)
    sizes = sorted({s for m in matrices for size in m.shape for s in sp.sympify(size).free_symbols}, key=str)
    values: dict = {size: 2 + place for place, size in enumerate(sizes)}
    for matrix in matrices:
        shape = _sizes(matrix.shape, values)
        draw = rng.standard_normal(shape)
        values[matrix] = draw @ draw.T / shape[0] if isinstance(matrix, SymmetricMatrix) else draw
    free = set().union(*(e.free_symbols for e in expressions)) - set(values)
    for symbol in sorted(free, key=str):
        values[symbol] = 0.5 + rng.random()
    return values


def directional(expression: Any, values: Mapping[Any, Any], direction: Mapping[Any, Any]) -> Any:
    """Derivative of an expression along a direction: by a complex step, or central differences where it has kinks."""
    if expression.atoms(*_KINKED) or expression.atoms(sp.Determinant):
        step = 1e-6
        ahead, behind = ({k: v + sign * step * direction.get(k, 0.0) for k, v in values.items()} for sign in (1, -1))
        return (evaluate(expression, ahead) - evaluate(expression, behind)) / (2 * step)
    moved = {k: v + 1j * _STEP * direction[k] if k in direction else v for k, v in values.items()}
    return np.imag(evaluate(expression, moved)) / _STEP


def gradient_residual(
    loss: Any,
    unknowns: Sequence[Any],
    gradients: Sequence[Any],
    seeds: Sequence[int] = (0, 1),
    definitions: Mapping[Any, Any] = _NONE,
) -> float:
    """Largest relative difference between stated gradients and the numerical directional derivative of a loss.

    `definitions`, if given, are all symbols of the gradients that the loss does not hold, as expressions of its own.
    """
    worst = 0.0
    for seed in seeds:
        values = random_values([loss, *unknowns, *(definitions.values() or gradients)], seed)
        values |= {symbol: evaluate(expression, values) for symbol, expression in definitions.items()}
        rng = np.random.default_rng([seed, 1])
        for unknown, gradient in zip(unknowns, gradients, strict=True):
            direction = rng.standard_normal(np.shape(values[unknown]))
            stated = np.sum(evaluate(gradient, values) * direction)
            actual = directional(loss, values, {unknown: direction})
            scale = max(abs(actual), np.sqrt(np.sum(np.abs(evaluate(gradient, values)) ** 2)), 1e-300)
            worst = max(worst, float(abs(stated - actual) / scale))
    return worst


def _sizes(shape, values) -> tuple[int, ...]:
    sizes = [sp.sympify(size) for size in shape]
    return tuple(int(size.subs({s: values[s] for s in size.free_symbols})) for size in sizes)
