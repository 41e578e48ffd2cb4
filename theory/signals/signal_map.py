r"""The maps of signal propagation as formulas: variance q and correlation c after one block, with the derivation.

A walk on covariances (A, B, C) = (q, q, q c), with the dual activation V of every non-linearity and its derivative by
C (`duals.formulas`), gives a `Map` of q and c. Its expansion at c = 1 decides how correlations converge where the slope
is 1: with c = cos(theta), 1 - c' = (theta^2 / 2) slope - r theta^p ...

>>> from ..architecture.constructors import activation, dense, serial
>>> print(signal_map(serial(activation("erf"), dense(1.5, 0.1))).equations[0])
sigma_b**2 + 2*sigma_w**2*asin(2*q/(2*q + 1))/pi
"""

from functools import lru_cache
from typing import Any

import numpy as np
import sympy as sp

from ..architecture.layer_walk import passed
from ..architecture.network import Network
from ..duals.dual_activation import A, C
from ..duals.formulas import Formula, Formulas
from ..errors import BadData, NoClosedForm
from ..symbols import positive, scalars
from ..system import Map
from ..trail import Equations, Trail
from .signal_propagation import SignalPropagation

POOLE = "Poole et al. 2016, arXiv:1606.05340"
SCHOENHOLZ = "Schoenholz et al. 2017, arXiv:1611.01232"
Q, CORRELATION = positive("q"), scalars("c")
THETA = sp.Symbol("theta", positive=True)
_TEST = (sp.Rational(7, 10), sp.Rational(3, 5))  # a variance and a correlation at which formulas meet numbers


_SPOKEN = {
    "dense": "independent weights",
    "activation": "dual activation",
    "sum": "independent sum",
    "product": "independent product",
    "layer_norm": "centred and divided by the standard deviation",
}


def symbols_of(block: Network) -> dict[str, tuple[sp.Symbol, sp.Symbol]]:
    """Symbols of every weight's two standard deviations: sigma_w, sigma_b, numbered where there are several layers."""
    names = list(dict.fromkeys(node.weight for node in block.nodes if node.op == "dense"))
    numbers = [""] if len(names) == 1 else [str(k) for k in range(1, len(names) + 1)]
    return {name: positive(f"sigma_w{k} sigma_b{k}") for name, k in zip(names, numbers, strict=True)}


def scales_of(block: Network) -> dict[str, float]:
    """The numbers that a block states for those symbols, by name.

    >>> from ..architecture.constructors import activation, dense, serial
    >>> scales_of(serial(activation("erf"), dense(1.5, 0.1)))
    {'sigma_w': 1.5, 'sigma_b': 0.1}
    """
    found: dict[str, float] = {}
    for node in block.nodes:
        if node.op == "dense":
            w, b = symbols_of(block)[node.weight]
            found |= {str(w): node.w_std, str(b): node.b_std if node.bias else 0.0}
    return found


@lru_cache(maxsize=32)
def signal_map(block: Network) -> Map:
    """Variance q and correlation c after one block, as a `Map` with its trail.

    Observables: "slope" = dC'/dC at correlation c, "chi" the same at c = 1 (growth of squared gradients), "gap" 1 - c.
    Errors: `NoClosedForm` for activations without a closed form; `SignalPropagation` gives their numbers.
    Reference: Poole et al. 2016 (arXiv:1606.05340).
    """
    symbols = symbols_of(block)

    def scales(node):
        w, b = symbols[node.weight]
        return w**2, b**2 if node.bias and node.b_std else sp.S.Zero

    start, rules = Formula(Q, Q * CORRELATION, sp.S.One), Formulas(scales)
    end = passed(block, start, rules, gaussian=True)
    if not end.gaussian or end.state.mean != 0:
        end = passed(block, start, rules)
    trail = Trail().then("two inputs of equal variance", Equations(((C, Q * CORRELATION),)), reference=POOLE)
    for node in block.nodes:
        if node.op in _SPOKEN:
            state = end.states[node.name]
            trail = trail.then(
                f"{node.name}: {_SPOKEN[node.op]}", Equations(((A, state.variance), (C, state.covariance)))
            )
    variance = sp.simplify(end.state.variance)
    correlation = end.state.covariance / variance
    chi = sp.simplify(end.state.slope.subs(CORRELATION, 1))
    rows = ((Q, variance), (CORRELATION, correlation))
    residual = _residual(block, symbols, variance, correlation, end.state.slope)
    trail = trail.then(
        "one block",
        Equations(rows, "map"),
        check="agrees with the numbers of the walk on pairs at a test point",
        residual=residual,
        reference=SCHOENHOLZ,
    )
    observables = {"chi": chi, "slope": end.state.slope, "gap": 1 - CORRELATION}
    return Map((Q, CORRELATION), (variance, correlation), observables=observables, trail=trail)


def _residual(block, symbols, *expressions) -> float:
    """Largest relative difference of the formulas from the walk on numbers, at one point."""
    q, c = _TEST
    stated = scales_of(block)
    here: dict[Any, Any] = {Q: q, CORRELATION: c}
    here |= {symbol: sp.Float(stated[str(symbol)], 30) for pair in symbols.values() for symbol in pair}
    formulas = np.array([float(sp.N(e.subs(here), 20)) for e in expressions])
    end = SignalPropagation(block).pair(float(q), float(q), 1 - float(c))
    numbers = np.array([end.first, 1 - end.gap, end.slope], float)
    worst = float(np.max(np.abs(formulas - numbers) / np.maximum(np.abs(numbers), 1e-300)))
    if not worst < 1e-9:
        raise NoClosedForm(
            f"formulas and numbers differ by {worst:.1e}", where="signal map", remedy="use SignalPropagation"
        )
    return worst


@lru_cache(maxsize=32)
def expansion(block: Network, order: int = 4) -> sp.Expr:
    """1 - c' as a polynomial of the angle theta between inputs of variance q, up to theta^order.

    theta^2 / 2 is 1 - c to leading order; its coefficient is the slope of the correlation map, and the first further
    term, of odd order for kinks, is what rules where that slope is 1.

    >>> from ..architecture.constructors import activation, dense, serial
    >>> print(expansion(serial(activation("relu"), dense(2**0.5)), 3))
    -theta**3/(3*pi) + theta**2/2
    """
    if order < 2:
        raise BadData(f"order {order}", where="expansion", remedy="give 2 or more")
    turned = 1 - signal_map(block).equations[1].subs(CORRELATION, sp.cos(THETA))
    straight = {sp.asin(sp.cos(THETA)): sp.pi / 2 - THETA, sp.sqrt(1 - sp.cos(THETA) ** 2): sp.sin(THETA)}
    # without an angle of its own, asin(cos theta) would be expanded on the branch where it is not differentiable
    expression = sp.expand(turned).subs(straight).subs(straight)
    found = sp.series(expression, THETA, 0, order + 1).removeO()
    return sum(sp.simplify(found.coeff(THETA, k)) * THETA**k for k in range(order + 1))
