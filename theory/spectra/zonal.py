r"""Zonal kernels, functions of the angle between two points of a sphere, from whatever the user has.

A formula kappa(t) of the cosine t = cos theta is evaluated node by node, each shared part once, in any arithmetic:
mpmath numbers give certified digits, expansions (`local_expansion`) give singularities. Both work at any depth, where
writing the nested formula out would not:

    K(x, x') = kappa(x.x'),   |x| = |x'| = 1.

>>> kernel = zonal(sp.exp(-(1 - T)))
>>> kernel.name, kernel.at_coincidence
('exp(t - 1)', 1)
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
import sympy as sp

from ..arguments import values_of
from ..errors import BadData, NoClosedForm, UnknownName

T = sp.Symbol("t", real=True)
_LONG = 60  # distinct parts of a formula beyond which it is only evaluated, never rewritten


@dataclass(frozen=True)
class Zonal:
    """A zonal kernel: `formula` in T, or `angles`, a NumPy function of the angle theta whose values have the relative
    error `uncertainty`; `name` for people.

    >>> zonal(lambda theta: np.cos(theta) ** 2, name="square").formula is None
    True
    """

    name: str
    formula: sp.Expr | None = None
    angles: Callable[[np.ndarray], np.ndarray] | None = None
    uncertainty: float = 0.0

    def on_angles(self, theta: np.ndarray) -> np.ndarray:
        """kappa(cos theta) in double precision."""
        if self.angles is not None:
            remedy = "give a vectorised function of the angle in [0, pi]"
            values = np.asarray(values_of(self.angles, theta, self.name, remedy), float)
            if values.shape != theta.shape or not np.isfinite(values).all():
                raise BadData(
                    f"values of shape {values.shape} with {int((~np.isfinite(values)).sum())} that are not finite",
                    where=self.name,
                    remedy=remedy,
                )
            return values
        return np.array([float(value) for value in precise_values(self.formula, theta, 20)])

    @property
    def at_coincidence(self) -> Any:
        """kappa(1), the trace of the kernel operator: exact for a formula."""
        if self.formula is None:
            return float(self.on_angles(np.zeros(1))[0])
        if not self.short:
            from .local_expansion import constant

            return sp.Float(constant(self.formula), 50)
        value = self.formula.subs(T, 1)
        if value.has(sp.nan, sp.zoo, sp.oo):
            value = sp.limit(self.formula, T, 1, "-")
        return value

    @property
    def short(self) -> bool:
        """Whether there is a formula that is short enough to be rewritten."""
        return self.formula is not None and len(parts(self.formula)) <= _LONG

    def vanishing(self) -> tuple[int | None, int | None]:
        """Levels that vanish exactly, by the parity of the formula: even levels > first, odd levels > second.

        Where the odd part of kappa is a polynomial of degree r, odd levels above r vanish (r = -1: all of them). None
        where nothing is known.

        >>> zonal(sp.acos(-T) * T / sp.pi).vanishing(), zonal(sp.exp(T)).vanishing()
        ((None, 1), (None, None))
        """
        if not self.short:
            return None, None
        formula = _as_asin(self.formula)
        mirrored = formula.subs(T, -T)
        return _degree(sp.expand(formula + mirrored)), _degree(sp.expand(formula - mirrored))


def zonal(kernel: Any, which: str = "ntk", name: str = "") -> Zonal:
    """A zonal kernel from a SymPy expression of one symbol, a kernel of the package, or a function of the angle.

    Kernels bring `symbolic()` or `on_angles(theta)`; `which` chooses "ntk" or "nngp" where one object has both. A
    network stands for its kernel at infinite width, on inputs with <x, x>/d = 1. Raises `BadData`.

    >>> from ..regression.kernels import nngp
    >>> zonal(nngp(depth=2)).at_coincidence
    1
    """
    if which not in ("ntk", "nngp"):
        raise UnknownName.among(which, ("ntk", "nngp"), kind="kernel of a network", where="which")
    if isinstance(kernel, Zonal):
        return kernel
    if isinstance(kernel, sp.Expr) and not callable(kernel):
        free = kernel.free_symbols
        if len(free) > 1:
            raise BadData(f"{kernel} has the symbols {sorted(map(str, free))}", where="kernel", remedy="keep one")
        formula = kernel.xreplace(dict.fromkeys(free, T))
        return Zonal(name or str(formula), formula)
    if hasattr(kernel, "engine"):  # one of the two kernels of a network, as a callable on samples
        kernel, which = kernel.engine, kernel.which
    if hasattr(kernel, "nodes"):
        from ..infinite_width.network_kernel import infinite_width

        kernel = infinite_width(kernel)
    label = name or str(getattr(kernel, "name", "")) or f"{which} of a network"
    if hasattr(kernel, "symbolic"):
        try:
            formula = sp.sympify(_chosen(kernel.symbolic(), which))
            others = [part for part in parts(formula) if part.is_Symbol and part != T]
            return Zonal(label, formula.subs(dict.fromkeys(others, T)) if others else formula)
        except NoClosedForm:
            if not hasattr(kernel, "on_angles"):
                raise
    if hasattr(kernel, "on_angles"):
        return Zonal(label, None, lambda theta: _chosen(kernel.on_angles(theta), which), _uncertainty(kernel))
    if callable(kernel):
        known = getattr(kernel, "__name__", "<lambda>")
        return Zonal(name or (known if known != "<lambda>" else "a function of the angle"), None, kernel)
    raise BadData(
        f"a {type(kernel).__name__} is no zonal kernel",
        where="kernel",
        remedy="give an expression of t, a kernel, a network or a function of the angle",
    )


def _uncertainty(kernel: Any) -> float:
    """Relative error of the duals of a network's activations, layer upon layer."""
    network = getattr(kernel, "network", None)
    if network is None:
        return 0.0
    from ..duals.activation_moments import moments

    return sum(moments(node.activation).error for node in network.nodes if node.op == "activation")


def _chosen(values: Any, which: str) -> Any:
    """One of the two kernels, from a record with both or from the kernel itself."""
    if isinstance(values, sp.Expr | np.ndarray):
        return values
    return values[which] if isinstance(values, dict) else getattr(values, which)


def _as_asin(formula: sp.Expr) -> sp.Expr:
    return formula.replace(sp.acos, lambda argument: sp.pi / 2 - sp.asin(argument))


def _degree(part: sp.Expr) -> int | None:
    """Degree of a polynomial in T, -1 of zero, None of anything else."""
    if part == 0:
        return -1
    return int(sp.degree(part, T)) if part.is_polynomial(T) else None


# ---- one formula, any arithmetic ------------------------------------------------------------------------------------


def parts(formula: sp.Expr) -> dict[sp.Expr, bool]:
    """All distinct parts of a formula, arguments before what is made of them, and whether each depends on T.

    A formula of many layers is small in distinct parts and huge when written out, so every walk remembers.

    >>> list(parts(sp.sqrt(T) + 1).values())
    [False, True, False, True, True]
    """
    known: dict[sp.Expr, bool] = {}

    def visit(expression: sp.Expr) -> bool:
        if expression not in known:
            inside = [visit(argument) for argument in expression.args]
            known[expression] = expression == T or any(inside)
        return known[expression]

    visit(formula)
    return known


@lru_cache(maxsize=32)
def _program(formula: sp.Expr) -> tuple[tuple[str, Any, tuple[int, ...]], ...]:
    """The formula as instructions (operation, constant or name, places of earlier results)."""
    depends = parts(formula)
    place: dict[sp.Expr, int] = {}
    steps: list[tuple[str, Any, tuple[int, ...]]] = []

    def append(operation: str, constant: Any = None, *arguments: int) -> int:
        steps.append((operation, constant, arguments))
        return len(steps) - 1

    def visit(expression: sp.Expr) -> int:
        if expression not in place:
            place[expression] = compute(expression)
        return place[expression]

    def compute(expression: sp.Expr) -> int:
        if expression == T:
            return append("cosine")
        if not depends[expression]:
            return append("number", expression)
        if expression.is_Add or expression.is_Mul:
            return append("add" if expression.is_Add else "multiply", None, *(visit(a) for a in expression.args))
        if expression.is_Pow:
            base, exponent = expression.args
            if not depends[exponent]:
                return append("power", exponent, visit(base))
            if base == sp.E:
                return append("apply", "exp", visit(exponent))
            log = append("apply", "log", visit(base))
            return append("apply", "exp", append("multiply", None, log, visit(exponent)))
        if len(expression.args) != 1:
            raise NoClosedForm(f"{expression.func} of several arguments", where="zonal kernel", remedy="give numbers")
        return append("apply", expression.func.__name__, visit(expression.args[0]))

    visit(formula)
    return tuple(steps)


def evaluate(formula: sp.Expr, algebra: Any, cosine: Any) -> Any:
    """The formula with T = `cosine`, every shared part evaluated once.

    `algebra` has number(constant expression), add(parts), multiply(parts), power(base, exponent), apply(name, value).
    """
    found: list = []
    for operation, constant, arguments in _program(formula):
        inputs = [found[i] for i in arguments]
        if operation == "cosine":
            found.append(cosine)
        elif operation == "number":
            found.append(algebra.number(constant))
        elif operation in ("add", "multiply"):
            found.append(getattr(algebra, operation)(inputs))
        elif operation == "power":
            found.append(algebra.power(inputs[0], constant))
        else:
            found.append(algebra.apply(constant, inputs[0]))
    return found[-1]


class Numbers:
    """mpmath numbers at the precision of a context."""

    def __init__(self, context: Any):
        self.context = context
        self.edge = context.mpf(10) ** (-context.dps // 2)
        self.known: dict[sp.Expr, Any] = {}

    def number(self, expression: sp.Expr) -> Any:
        if expression not in self.known:
            self.known[expression] = as_number(expression, self.context)
        return self.known[expression]

    def add(self, parts: list) -> Any:
        return self.context.fsum(parts)

    def multiply(self, parts: list) -> Any:
        return self.context.fprod(parts)

    def power(self, base: Any, exponent: sp.Expr) -> Any:
        if exponent.is_Integer:
            return base ** int(exponent)
        if base < 0 and -base < self.edge:  # rounding below zero
            base = self.context.zero
        return self.context.sqrt(base) if exponent == sp.S.Half else base ** self.number(exponent)

    def apply(self, name: str, value: Any) -> Any:
        if name in ("acos", "asin") and 1 < abs(value) < 1 + self.edge:
            value = self.context.sign(value)
        if name == "Abs":
            return abs(value)
        if not hasattr(self.context, name):
            raise NoClosedForm(f"mpmath has no {name}", where="zonal kernel", remedy="give a function of the angle")
        return getattr(self.context, name)(value)


def as_number(constant: Any, context: Any) -> Any:
    """A constant expression as a number of an mpmath context.

    >>> import mpmath
    >>> mpmath.nstr(as_number(sp.sqrt(2), mpmath.mp), 10)
    '1.414213562'
    """
    digits = context.dps + 5
    value = sp.N(constant, digits)
    if not (value.is_Number and value.is_finite):
        raise BadData(f"{constant} is no real number", where="zonal kernel", remedy="give numbers for all symbols")
    return context.make_mpf(sp.Float(value, digits)._mpf_)


def precise_values(formula: sp.Expr, angles: Any, digits: int) -> list:
    """kappa(cos theta) at every angle to about `digits` digits relative to kappa(1), as mpmath numbers.

    >>> [float(value) for value in precise_values(sp.acos(T), [0.0, 1e-8], 30)]
    [0.0, 1e-08]
    """
    import mpmath

    context = mpmath.mp.clone()
    context.dps = 2 * digits  # 1 - cos of a small angle takes half of them
    algebra = Numbers(context)
    values = [evaluate(formula, algebra, context.cos(context.mpf(angle))) for angle in angles]
    if not all(isinstance(value, context.mpf) and context.isfinite(value) for value in values):
        raise BadData(f"{formula} is not real and finite on [-1, 1]", where="zonal kernel", remedy="check the formula")
    return values
