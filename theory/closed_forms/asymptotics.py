"""Times and rates read off an equation: when a mode leaves its plateau, when it is half way, how fast it settles.

escape from u = 0 under u' ~ c u^p:  log(1/u0) / c (p = 1),   u0^(1-p) / (c (p-1)) (p > 1)
approach to a stationary point:      |u - u*| ~ exp(-rate t),   rate = -f'(u*)
"""

from typing import Any

import sympy as sp

from ..errors import NoClosedForm
from ..system import Flow
from .closed_form import ClosedForm, closed_form
from .matchers import initial_symbol, terms


def escape_time(flow: Flow) -> Any:
    """Leading time to leave u = 0 from a small start, as a function of the start.

    >>> a, s = sp.symbols("a s", positive=True)
    >>> escape_time(Flow((a,), (3 * a ** sp.Rational(4, 3) * (s - a),)))
    1/(a_0**(1/3)*s)

    Reference: Saxe, McClelland, Ganguli 2013 (arXiv:1312.6120).
    """
    (unknown,), (equation,) = flow.unknowns, flow.equations
    found = terms(equation, unknown)
    if not found or min(found) < 1:
        raise NoClosedForm(
            f"{unknown} does not start on a plateau at zero", where="escape time", remedy="use half_rise_time"
        )
    p = min(found)
    start, speed = initial_symbol(unknown), found[p]
    return sp.log(1 / start) / speed if p == 1 else start ** (1 - p) / (speed * (p - 1))


def half_rise_time(form: ClosedForm, fraction: Any = sp.S.Half) -> Any:
    """Time at which the unknown reaches `fraction` of its final value, from the time law.

    >>> a, s = sp.symbols("a s", positive=True)
    >>> half_rise_time(closed_form(Flow((a,), (2 * a * (s - a),))))
    log(-1 + s/a_0)/(2*s)
    """
    if form.time_law is None or form.final is None:
        raise NoClosedForm(
            "no time law with a final value", where="half-rise time", remedy="evaluate on a grid of times"
        )
    time = form.time_law.xreplace({form.unknown: sp.nsimplify(fraction) * form.final})
    logs = {log: sp.log(sp.expand(sp.cancel(log.args[0]))) for log in time.atoms(sp.log)}
    return sp.factor_terms(time.xreplace(logs))


def rate(flow: Flow) -> Any:
    """Exponential rate of approach to the stationary point that the closed form tends to: -f'(u*).

    >>> a, s = sp.symbols("a s", positive=True)
    >>> rate(Flow((a,), (3 * a ** sp.Rational(4, 3) * (s - a),)))
    3*s**(4/3)
    """
    form = closed_form(flow)
    if form.final is None:
        raise NoClosedForm(
            "no known stationary point", where="rate", remedy="find the root of the equation numerically"
        )
    slope = sp.sympify(flow.equations[0]).diff(form.unknown).subs(form.unknown, form.final)
    return sp.factor_terms(sp.powsimp(sp.expand(-slope)))
