"""The last matcher: SymPy's own `dsolve`, in a separate process that is stopped after a time limit.

A general solver may run for hours on an equation that merely looks simple, and cannot be interrupted from inside.
"""

import subprocess
import sys
from typing import Any

import sympy as sp

from ..symbols import LEARNING_RATE, TIME, over
from .derivation_cache import read_expression
from .matchers import Match, initial_symbol

SECONDS = 30.0

_PROGRAM = """
import sys
from sympy import *
t, u0 = Symbol("t", nonnegative=True), Symbol("u_0_initial", real=True)
u = Function("u")
f = eval(sys.stdin.read()).subs(Symbol("unknown"), u(t))
solved = dsolve(Eq(u(t).diff(t), f), u(t), ics={u(0): u0})
for one in solved if isinstance(solved, list) else [solved]:
    if one.lhs == u(t) and not one.rhs.has(u, Integral):
        print(srepr(one.rhs))
"""


def _has_symbolic_powers(equation: Any, u: Any) -> bool:
    """Whether the unknown stands to a power that is no number: there `dsolve` never finds an end."""
    return any(power.base.has(u) and not power.exp.is_number for power in equation.atoms(sp.Pow))


def by_dsolve(equation: Any, u: Any) -> Match | None:
    """An explicit solution from `sympy.dsolve`, for example u' = e^(-u) or u' = -2 t u; None after 30 seconds.

    Equations that it cannot solve, with powers u^L of symbolic L or sums over modes, are not handed to it.

    >>> u = sp.Symbol("u", real=True)
    >>> by_dsolve(-2 * TIME * u, u).expression
    u_0*exp(-t**2)
    """
    if equation.has(over, LEARNING_RATE) or not sys.executable or _has_symbolic_powers(equation, u):
        return None
    parameters = sorted(equation.free_symbols - {u, TIME}, key=str)
    stand_ins = {symbol: sp.Symbol(f"parameter_{k}", real=True) for k, symbol in enumerate(parameters)}
    text = sp.srepr(equation.xreplace({**stand_ins, u: sp.Symbol("unknown")}))
    try:
        run = subprocess.run(
            [sys.executable, "-c", _PROGRAM],
            input=text,
            capture_output=True,
            text=True,
            timeout=SECONDS,
            check=True,
        )
    except (subprocess.SubprocessError, OSError):
        return None
    back = {stand_in: symbol for symbol, stand_in in stand_ins.items()}
    back[sp.Symbol("u_0_initial", real=True)] = initial_symbol(u)
    answers = []
    for line in run.stdout.splitlines():
        try:
            answers.append(read_expression(line).xreplace(back))
        except ValueError:
            continue
    if len(answers) != 1:
        return None
    return Match("dsolve", "explicit", answers[0])
