r"""Covariances of wide layers as formulas: the rules of a walk on expressions of one variance and one covariance.

Both inputs have the variance a at every layer, and what is carried beside the covariance c is a derivative or a kernel
that the same factors multiply:

    dense       c <- w^2 c + b^2,    s <- w^2 s + own            activation    c <- V(a, a, c),    s <- s dV/dC

with own = 0 for s = dc/dc_0, and own = what the weights of the layer add for the tangent kernel.

>>> from ..architecture.constructors import activation, dense, serial
>>> from ..architecture.layer_walk import passed
>>> t = sp.Symbol("t")
>>> rules = Formulas(lambda node: (sp.S(2), sp.S(0)))
>>> passed(serial(dense(), activation("erf"), dense()), Formula(sp.S(1), t, sp.S(1)), rules).state.covariance
4*asin(4*t/5)/pi
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import sympy as sp

from .dual_activation import A, B, C, dual

_READABLE = 24  # operations up to which a variance is simplified, and stays exact if it is a number
_DIGITS = 30


@dataclass(frozen=True)
class Formula:
    """Variance a, covariance c, what is carried beside it (`slope`), and mean of the features of a node."""

    variance: sp.Expr
    covariance: sp.Expr
    slope: sp.Expr
    mean: sp.Expr = sp.S.Zero


@dataclass(frozen=True)
class Formulas:
    """The rules of a walk (`architecture.layer_walk`) on formulas.

    `scales`  w^2 and b^2 of a dense node
    `own`     what a dense node adds to the slope, from its covariances before and after
    `digits`  whether long numbers may be given in digits; behind kinks they must cancel exactly at equal inputs
    """

    scales: Callable[[Any], tuple[Any, Any]]
    own: Callable[[Any, sp.Expr, sp.Expr], Any] = lambda node, before, after: 0
    digits: bool = False

    def dense(self, state: Formula, node) -> Formula:
        weight, noise = self.scales(node)
        covariance = weight * state.covariance + noise
        slope = weight * state.slope + self.own(node, state.covariance, covariance)
        return Formula(self._tidy(weight * state.variance + noise), covariance, slope)

    def activation(self, state: Formula, node) -> Formula:
        law, a = dual(node.activation), state.variance
        equal, apart = {A: a, B: a, C: a}, {A: a, B: a, C: state.covariance}
        return Formula(
            self._tidy(law.value.subs(equal, simultaneous=True)),
            law.value.subs(apart, simultaneous=True),
            state.slope * law.slope.subs(apart, simultaneous=True),
            law.mean.subs(A, a),
        )

    def sum(self, states: list[Formula], coefficients, node) -> Formula:
        factors = [sp.nsimplify(c, rational=True) for c in coefficients]
        mean = sum((factor * state.mean for factor, state in zip(factors, states, strict=True)), sp.S.Zero)
        parts = [(factor**2, self._centred(state)) for factor, state in zip(factors, states, strict=True)]
        return Formula(
            self._tidy(sum(square * part.variance for square, part in parts) + mean**2),
            sum(square * part.covariance for square, part in parts) + mean**2,
            sum(square * part.slope for square, part in parts),
            mean,
        )

    def product(self, states: list[Formula], node) -> Formula:
        values = [state.covariance for state in states]
        terms = [state.slope * sp.Mul(*(v for j, v in enumerate(values) if j != k)) for k, state in enumerate(states)]
        variance, mean = (sp.Mul(*(getattr(state, name) for state in states)) for name in ("variance", "mean"))
        return Formula(self._tidy(variance), sp.Mul(*values), sp.Add(*terms), mean)

    def layer_norm(self, state: Formula, node) -> Formula:
        centred = self._centred(state)
        scale = centred.variance + sp.nsimplify(node.epsilon, rational=True)
        return Formula(self._tidy(centred.variance / scale), centred.covariance / scale, centred.slope / scale)

    def _centred(self, state: Formula) -> Formula:
        """The features less their mean."""
        square = state.mean**2
        return Formula(self._tidy(state.variance - square), state.covariance - square, state.slope)

    def _tidy(self, variance: sp.Expr) -> sp.Expr:
        """Simplified where it is short. SymPy asks nested numbers for their signs at every level, for hours at a depth
        of ten: from here on they are digits."""
        if variance.count_ops() <= _READABLE:
            return sp.simplify(variance)
        return variance.evalf(_DIGITS) if self.digits and not variance.free_symbols else variance
