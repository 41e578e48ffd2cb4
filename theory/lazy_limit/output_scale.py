r"""From lazy to rich: what a factor in front of a network does to its training, and the one number that matters.

    f = alpha h(theta),   theta' = -grad L / alpha^2

Weights of size sigma, targets of size s, N hidden units and alpha enter through one combination, the richness

    gamma_0 = s / (alpha sigma^L sqrt(N)),      alpha = 1 / (gamma_0 sqrt(N))   for sigma = s = 1,

all else being the unit of time (`groups`, `unit_flow`). Two linear layers are solved for every alpha: a mode with
imbalance delta obeys f' = alpha sqrt((alpha delta)^2 + 4 f^2) (s - f), lazy for alpha delta >> s and rich for
alpha delta << s, and its kernel ends at sqrt(1 + (2 s / (alpha delta))^2) times where it began. A wide Gaussian start
is delta = 2 at gamma_0 = 1/alpha.

>>> print(whole_range_flow().equations[0])
alpha*(-f + s)*sqrt(4*f**2 + alpha**2*delta**2)
>>> print(critical_scale(sp.Rational(1, 2)))
4*sqrt(5)*s/(5*delta)
"""

from dataclasses import replace
from functools import cache
from typing import Any

import sympy as sp

from ..derivation.assumptions import Limit
from ..derivation.derive import gradient_flow
from ..dynamics.unbalanced import layer_flow, product_flow
from ..errors import LearningMechanicsError
from ..symbols import entry_derivative, modes, over, positive
from ..system import Flow
from ..trail import Equations, Trail

CHIZAT = "Chizat, Oyallon & Bach 2019, arXiv:1812.07956"
BORDELON = "Bordelon & Pehlevan 2022, arXiv:2205.09653"
SAXE = "Saxe, McClelland & Ganguli 2013, arXiv:1312.6120"
ALPHA, IMBALANCE, GAMMA, WIDTH = positive("alpha delta gamma_0 N")
TIME = positive("tau")  # delta x learning rate x steps


def richness(alpha: Any, width: Any) -> Any:
    """gamma_0 = 1 / (alpha sqrt(N)) of weights and targets of size one (Bordelon & Pehlevan 2022, arXiv:2205.09653).

    >>> richness(sp.Integer(1), 100)
    1/10
    """
    return 1 / (alpha * sp.sqrt(width))


def output_scale(gamma_0: Any, width: Any) -> Any:
    """alpha = 1 / (gamma_0 sqrt(N)), the inverse of `richness`: N^-1/2 at a fixed richness.

    >>> output_scale(sp.Integer(2), 100)
    1/20
    """
    return 1 / (gamma_0 * sp.sqrt(width))


@cache
def groups() -> tuple[Any, Any]:
    """All by which the settings of a homogeneous network of degree L can differ: its laziness and its time.

    In w' = rho alpha (y - alpha h) grad h the units of weights (of size sigma), of targets (of size s) and of the time
    T are free, and h has degree L. The null space of the exponents holds two products without a unit, at
    rho = 1 / alpha^2 alpha sigma^L / s and sigma^(2 L - 2) T: settings that share both train alike.

    >>> groups()
    (alpha*sigma**L/s, T*sigma**(2*L - 2))
    """
    L = sp.Symbol("L", positive=True)
    rho, sigma, size, T = positive("rho sigma s T")
    # exponents of (weight, output, time): alpha = output / weight^L, rho = weight^2 / (output^2 time)
    units = {rho: (2, -2, -1), sigma: (1, 0, 0), size: (0, 1, 0), ALPHA: (-L, 1, 0), T: (0, 0, 1)}
    basis = sp.Matrix(list(units.values())).T.nullspace()
    laziness, clock = (sp.prod(symbol**power for symbol, power in zip(units, vector, strict=True)) for vector in basis)
    return laziness, sp.powsimp(sp.expand_power_base((clock * laziness**2).subs(rho, ALPHA**-2)), force=True)


@cache
def unit_flow() -> Flow:
    """Units of a two-layer network on one input, by their weights a, w: width and output scale enter as gamma_0 alone.

    f = alpha / sqrt(N) sum a phi(w) at the learning rate 1 / alpha^2 becomes a' = gamma_0 (y - f) phi(w),
    w' = gamma_0 (y - f) a phi'(w), f = mean of a phi(w) over units / gamma_0.

    >>> print(unit_flow().equations[0])
    gamma_0*(y - over(a*tanh(w))/(N*gamma_0))*tanh(w)
    """
    a, w = modes("a", positive=None, real=True), modes("w", positive=None, real=True)
    y = sp.Symbol("y", real=True)
    outputs = ALPHA / sp.sqrt(WIDTH) * over(a * sp.tanh(w))
    loss = (y - outputs) ** 2 / (2 * ALPHA**2)
    rates = [-entry_derivative(loss, unknown) for unknown in (a, w)]
    f = over(a * sp.tanh(w)) / (WIDTH * GAMMA)
    slopes = (sp.tanh(w), a * sp.tanh(w).diff(w))
    equations = tuple(GAMMA * (y - f) * slope for slope in slopes)
    for found, stated in zip(rates, equations, strict=True):
        residual = sp.simplify((found - stated).subs(ALPHA, output_scale(GAMMA, WIDTH)))
        if residual != 0:
            raise LearningMechanicsError(f"something but gamma_0 is left: {residual}", where="unit flow")
    trail = (
        Trail()
        .then("loss over alpha^2", loss, reference=CHIZAT)
        .then(
            "alpha = 1 / (gamma_0 sqrt(N))",
            Equations(((a, equations[0]), (w, equations[1])), "flow"),
            reference=BORDELON,
            check="difference simplified: residual 0; N is left in the mean over units alone",
            residual=0.0,
        )
    )
    return Flow((a, w), equations, observables={"output": f}, trail=trail)


@cache
def whole_range_flow() -> Flow:
    """A mode of two linear layers behind an output scale: f' = alpha sqrt((alpha delta)^2 + 4 f^2) (s - f).

    Time is that of the weights, learning rate / alpha^2 x steps. `observables`: "kernel", alpha^2 times the sum of both
    squared strengths, the rate at which f would approach s if nothing moved.

    >>> whole_range_flow().observables["kernel"]
    alpha*sqrt(4*f**2 + alpha**2*delta**2)
    """
    product = product_flow()
    (z,), (s, delta) = product.unknowns, (_named(product, "s"), _named(product, "delta"))
    u1, u2 = layer_flow().unknowns
    scaled = gradient_flow((s - ALPHA * u1 * u2) ** 2 / 2, on=(u1, u2)).equations
    for mine, plain in zip(scaled, layer_flow().equations, strict=True):
        if sp.simplify(mine - ALPHA**2 * plain.subs(s, s / ALPHA)) != 0:
            raise LearningMechanicsError("an output scale is no scale of the targets", where="whole range")
    f = modes("f", positive=None, real=True)
    equation = ALPHA**3 * product.equations[0].subs({s: s / ALPHA, z: f / ALPHA})
    rate = ALPHA * sp.sqrt((ALPHA * IMBALANCE) ** 2 + 4 * f**2) * (s - f)
    if sp.simplify(equation.subs(delta, IMBALANCE) - rate) != 0:
        raise LearningMechanicsError("f = alpha z does not give the stated flow", where="whole range")
    trail = product.trail.then(
        "an output scale is a scale of the targets",
        "|y - alpha h|^2 = alpha^2 |y / alpha - h|^2: s -> s / alpha, time x alpha^2",
        reference=CHIZAT,
        check="gradients of both losses compared: residual 0",
        residual=0.0,
    ).then("f = alpha z", Equations(((f, rate),), "flow"), check="substituted: residual 0", residual=0.0)
    kernel = ALPHA * sp.sqrt((ALPHA * IMBALANCE) ** 2 + 4 * f**2)
    return Flow((f,), (rate,), observables={"kernel": kernel}, trail=trail)


@cache
def lazy_flow() -> Flow:
    """Lazy end of `whole_range_flow`: the kernel alpha^2 delta stays, f' = alpha^2 delta (s - f).

    >>> print(lazy_flow().equations[0])
    alpha**2*delta*(-f + s)
    """
    return _limited("large output scale", "alpha goes to infinity", sp.oo, ALPHA**2, CHIZAT)


@cache
def rich_flow() -> Flow:
    """Rich end of `whole_range_flow`: f' = 2 alpha f (s - f), the logistic law of balanced layers, for f > 0.

    A mode that starts at zero is not balanced while it is small: f = (alpha delta / 2) sinh(2 alpha s t) at first, so
    that it joins the logistic law from the effective start alpha delta / 4.

    >>> print(rich_flow().equations[0])
    2*f*alpha*(-f + s)
    """
    flow = _limited("small output scale", "alpha delta goes to zero at fixed s", sp.S.Zero, ALPHA, SAXE)
    (f,) = flow.unknowns
    made = replace(flow, equations=tuple(equation.replace(sp.Abs(f), f) for equation in flow.equations))
    return replace(made, trail=flow.trail.then("f > 0", made.statement()))


def _limited(name, statement, point, clock, reference) -> Flow:
    """The limit of the whole range in its own clock, written back in the time of the weights."""
    flow = replace(whole_range_flow(), observables={})
    squared = positive("alpha_squared")  # alone in the flow, but for the clock: what is left over is of this order
    inside = replace(flow, equations=tuple(e.subs(ALPHA, sp.sqrt(squared)) for e in flow.equations))
    inside = replace(inside, trail=flow.trail.then("alpha^2 as one number", inside.statement()))
    limit = Limit(name, statement, squared, point, clock.subs(ALPHA, sp.sqrt(squared)), reference)
    limited = inside.assume(limit)
    equation = clock * limited.equations[0]
    made = Flow(flow.unknowns, (equation,), trail=limited.trail)
    return replace(made, trail=limited.trail.then("in the time of the weights", made.statement()))


def effective_start() -> Any:
    """alpha delta / 4: where the logistic law of the rich end starts for a mode that really starts at zero.

    >>> effective_start()
    alpha*delta/4
    """
    t, s = positive("t s")
    early = ALPHA * IMBALANCE / 2 * sp.sinh(2 * ALPHA * s * t)  # solves f' = alpha s sqrt((alpha delta)^2 + 4 f^2)
    slope = ALPHA * s * sp.sqrt((ALPHA * IMBALANCE) ** 2 + 4 * early**2)
    if sp.simplify((early.diff(t) ** 2 - slope**2).rewrite(sp.exp)) != 0:
        raise LearningMechanicsError("sinh does not solve the early flow", where="effective start")
    return sp.limit(early.rewrite(sp.exp) * sp.exp(-2 * ALPHA * s * t), t, sp.oo)


@cache
def final_movement(start: Any = 0) -> Any:
    """Relative change of a mode's kernel over all of training, from z = `start` (of the network without its scale).

    sqrt(delta^2 + 4 (z_0 + s / alpha)^2) / sqrt(delta^2 + 4 z_0^2) - 1: of order 1/alpha^2 from zero, else 1/alpha.

    >>> print(final_movement())
    sqrt(1 + 4*s**2/(alpha**2*delta**2)) - 1
    """
    s = positive("s")
    before, after = (IMBALANCE**2 + 4 * z**2 for z in (start, start + s / ALPHA))
    return sp.sqrt(sp.expand(after / before)) - 1 if start == 0 else sp.sqrt(after / before) - 1


def leading_movement(start: Any = 0) -> Any:
    """First term of `final_movement` in 1/alpha.

    >>> z = positive("z_0")
    >>> print(leading_movement(), "|", leading_movement(z))
    2*s**2/(alpha**2*delta**2) | 4*s*z_0/(alpha*(delta**2 + 4*z_0**2))
    """
    inverse = positive("epsilon")
    expanded = sp.series(final_movement(start).subs(ALPHA, 1 / inverse), inverse, 0, 3).removeO()
    terms = [sp.simplify(expanded.coeff(inverse, power) / ALPHA**power) for power in (1, 2)]
    return next(term for term in terms if term != 0)


def critical_scale(movement: Any) -> Any:
    """The output scale below which the kernel of a mode that starts at zero moves by more than the share `movement`.

    alpha_c = 2 s / (delta sqrt((1 + m)^2 - 1)); for the wide Gaussian start, delta = 2, richer than
    gamma_0 = sqrt((1 + m)^2 - 1) / s.
    """
    share, s = positive("m s")
    scale = 2 * s / (IMBALANCE * sp.sqrt(sp.expand((1 + share) ** 2 - 1)))
    if sp.simplify(sp.expand((final_movement() + 1) ** 2).subs(ALPHA, scale) - (1 + share) ** 2) != 0:
        raise LearningMechanicsError("the kernel does not move by that share there", where="critical scale")
    return scale.subs(share, sp.sympify(movement))


@cache
def linearisation_error() -> Any:
    """f - f_lin of a mode that starts at zero, to order (s / (alpha delta))^2, in the time tau = alpha^2 delta t.

    g' = -g + 2 f_lin^2 (s - f_lin) / (alpha delta)^2 with f_lin = s (1 - exp(-tau)): the series of the flow, solved.

    >>> print(linearisation_error())
    s**3*(2*tau*exp(2*tau) - 3*exp(2*tau) + 4*exp(tau) - 1)*exp(-3*tau)/(alpha**2*delta**2)
    """
    s, r, inside = positive("s"), positive("r"), positive("epsilon")
    (f,) = whole_range_flow().unknowns
    rate = whole_range_flow().equations[0].subs(_named(whole_range_flow(), "s"), s) / (ALPHA**2 * IMBALANCE)
    lazy = s * (1 - sp.exp(-r))
    # first order of the rate in 1/alpha^2, on the lazy path
    source = sp.diff(sp.simplify(rate.subs(ALPHA, 1 / sp.sqrt(inside))), inside).subs(inside, 0)
    forcing = sp.simplify(source.subs(f, lazy)) / ALPHA**2
    error = sp.exp(-TIME) * sp.integrate(sp.expand(sp.exp(r) * forcing), (r, 0, TIME))
    if sp.simplify(error.diff(TIME) + error - forcing.subs(r, TIME)) != 0:
        raise LearningMechanicsError("the correction does not solve its equation", where="linearisation error")
    return sp.factor(sp.simplify(error))


def _named(flow: Flow, name: str) -> Any:
    (found,) = (symbol for symbol in flow.parameters if symbol.name == name)
    return found
