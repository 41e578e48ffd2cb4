"""One linear neuron f = a w.x: from rich to lazy by the imbalance of its two layers, solved exactly.

With layer rates eta_a, eta_w the imbalance delta = eta_w a^2 - eta_a |w|^2 is conserved, and the function beta = a w
moves by a kernel that interpolates between fixed (lazy) and moving with beta (rich), whatever the data:

    beta' = [(kappa + delta)/2 I + (kappa - delta)/2 bb'] Sigma_xx (beta* - beta),    b = beta/|beta|,
    kappa = sqrt(delta^2 + 4 eta_a eta_w |beta|^2).

On white data the norm mu = |beta| and the cosine phi with the target close, and have an explicit solution.

>>> print(macroscopic_flow())
Flow
  mu' = sqrt(delta**2 + 4*eta_a*eta_w*mu**2)*(B*phi - mu)
  phi' = -B*(delta + sqrt(delta**2 + 4*eta_a*eta_w*mu**2))*(phi - 1)*(phi + 1)/(2*mu)

Reference: Kunin, Raventos, Domine et al. 2024, arXiv:2406.06158.
"""

from dataclasses import replace
from functools import cache
from typing import Any

import numpy as np
import sympy as sp
from sympy.codegen.cfunctions import expm1

from ...errors import AssumptionViolated, NoClosedForm
from ...symbols import entry_derivative, modes, over, positive, scalars, spread
from ...system import FixedPoint, Flow
from ...trail import Equations, Trail

KUNIN = "Kunin, Raventos, Domine et al. 2024, arXiv:2406.06158"
_eta_a, _eta_w = positive("eta_a eta_w")
_delta = scalars("delta")
_lam = modes("lambda")
_target, _beta, _w = modes("b beta w", positive=None, real=True)
_a = scalars("a")
_mu, _B = positive("mu B")
_phi = scalars("phi")


@cache
def neuron_flow() -> Flow:
    """Gradient flow of a and of the weights w in the eigenbasis of Sigma_xx, one rate for each layer.

    >>> print(neuron_flow().equations[1])
    lambda*a*eta_w*(b - w*a)
    """
    loss: Any = over(_lam * (_target - _a * _w) ** 2) / 2
    pulls = {_a: -_eta_a * loss.diff(_a), _w: -_eta_w * entry_derivative(loss, _w)}
    equations = tuple(sp.factor_terms(pull) for pull in pulls.values())
    residual = _gradient_residual(loss, pulls)
    made = Flow((_a, _w), equations, observables={"loss": loss, "delta": _imbalance()})
    trail = Trail().then("loss in the eigenbasis of the covariance", loss)
    trail = trail.then(
        "gradient flow, one rate for each layer",
        made.statement(),
        check=f"central differences: {residual:.1e}",
        residual=residual,
        reference=KUNIN,
        given=Equations(((_a, _eta_a), (_w, _eta_w))),
    )
    return replace(made, trail=trail)


@cache
def function_flow() -> Flow:
    """The function beta = a w alone: the conserved imbalance removes a."""
    flow = neuron_flow()
    a_rate, w_rate = flow.equations
    change = _along(_imbalance(), flow)
    if change != 0:
        raise AssumptionViolated(f"the imbalance changes at the rate {change}", where="single neuron")
    # beta' = a' w + a w', with w = beta / a and a^2 from delta = eta_w a^2 - eta_a |beta|^2 / a^2
    square, norm = positive("q N")
    moved = (a_rate * _w + _a * w_rate).subs(_w, _beta / _a)
    moved = spread(moved).subs(_a, sp.sqrt(square))
    roots = sp.solve(_eta_w * square - _eta_a * norm / square - _delta, square)
    kappa = sp.sqrt(_delta**2 + 4 * _eta_a * _eta_w * norm)
    a_squared = (_delta + kappa) / (2 * _eta_w)
    (found,) = [root for root in roots if sp.simplify(root - a_squared) == 0]
    pull = _lam * (_target - _beta)
    spreading = sp.simplify(_eta_a / found - _eta_w * (kappa - _delta) / (2 * _eta_w) / norm)
    if spreading != 0:
        raise AssumptionViolated(f"the two forms of the kernel differ by {spreading}", where="single neuron")
    equation = (kappa + _delta) / 2 * pull + (kappa - _delta) / (2 * norm) * _beta * over(_beta * pull)
    direct = sp.expand(moved.subs(square, found)) - sp.expand(spread(equation))
    left = _numeric_zero(direct, norm)
    equation = equation.subs(norm, over(_beta**2))
    kept = {"loss": over(_lam * (_target - _beta) ** 2) / 2, "norm": sp.sqrt(over(_beta**2))}
    made = Flow((_beta,), (equation,), observables=kept)
    trail = flow.trail.then(
        "conserved quantity: the imbalance of the layers",
        Equations(((_delta, _imbalance()),)),
        check="rate of change: 0",
        residual=0.0,
        reference=KUNIN,
    ).then(
        "the function a w, with a eliminated by the imbalance",
        made.statement(),
        check=f"against the product rule at random points: {left:.1e}",
        residual=left,
        reference=KUNIN,
        given=Equations(((_beta, _a * _w),)),
    )
    return replace(made, trail=trail)


@cache
def frozen_flow() -> Flow:
    """The lazy rival: the kernel stays what it is at the start, K = f I + g b0 b0' (f, g and unit vector b0 given).

    >>> print(frozen_flow().equations[0])
    b_0*g*over(b_0*lambda*(b - beta)) + lambda*f*(b - beta)
    """
    start = modes("b_0", positive=None, real=True)
    f, g = scalars("f g")
    pull = _lam * (_target - _beta)
    made = Flow((_beta,), (f * pull + g * start * over(start * pull),))
    trail = Trail().then("kernel of the start", "f I + g b0 b0'", assumption="the kernel does not move")
    return replace(made, trail=trail.then("flow of the function under that kernel", made.statement()))


@cache
def macroscopic_flow() -> Flow:
    """White data: the norm mu of the function and its cosine phi with a target of norm B close on each other."""
    flow = function_flow()
    white = replace(flow, equations=(flow.equations[0].subs(_lam, 1),))
    (rate,) = white.equations
    overlaps = {over(_beta**2): _mu**2, over(_beta * _target): _mu * _B * _phi, over(_target**2): _B**2}

    def close(expression):
        closed = sp.expand(spread(expression).subs(overlaps))
        if closed.atoms(over):
            raise NoClosedForm(f"{closed} holds other sums than norms and overlap", where="single neuron")
        return closed

    growth = sp.factor(sp.simplify(close(over(_beta * rate)) / _mu))
    turning = close(over(_target * rate)) / (_mu * _B) - _phi * growth / _mu
    turning = sp.factor(sp.simplify(turning))
    made = Flow((_mu, _phi), (growth, turning))
    norm, size = sp.sqrt(over(_beta**2)), sp.sqrt(over(_target**2))
    trail = flow.trail.then(
        "white inputs",
        white.statement(),
        assumption="whitened",
        check="parameters do not move",
        given=Equations(((_lam, sp.S.One),)),
    ).then(
        "project onto the norm of the function and its cosine with the target",
        made.statement(),
        check="no other sum over modes is left",
        reference=KUNIN,
        given=Equations(((_mu, norm), (_phi, over(_beta * _target) / (norm * size)), (_B, size))),
    )
    return replace(made, trail=trail)


@cache
def explicit_neuron() -> Flow:
    """The solution on white data, as observables "mu" and "phi" of a clock tau that starts at 0.

    Scaled weights w = sqrt(eta_w) x, a = sqrt(eta_a) y, with x split along (x_1) and across (x_2) the target, obey
    q' = F q - c^2/2 |q|^2 q, c^2 = eta_a eta_w: a linear flow Y' = F Y divided by sqrt(1 + c^2 int |Y|^2). Everything
    is divided by exp(omega t), omega = sqrt(delta^2/4 + c^2 B^2), so that late times are safe; delta = 0 is a limit.
    """
    clock = sp.Symbol("tau", nonnegative=True)
    c, t, omega = positive("c t omega")
    x1, x2, y = scalars("x_1 x_2 y")
    F = sp.Matrix([[-_delta / 2, c * _B], [c * _B, _delta / 2]])
    start = sp.Matrix([x1, y])
    fading = sp.exp(-2 * omega * t)
    # exp(F t) = cosh(omega t) + F sinh(omega t)/omega, since F^2 = omega^2
    linear = (1 + fading) / 2 * start + (1 - fading) / (2 * omega) * F * start
    along, readout = linear
    half = sp.Abs(_delta) / 2
    across = x2 * sp.exp(-(omega + _delta / 2) * t)
    lost = sp.exp(-(2 * omega + _delta / 2 - half) * t) * -expm1(-2 * half * t) / (2 * half)
    grown = start.dot(start) * (1 - fading**2) / (4 * omega) + start.dot(F * start) * ((1 - fading) / (2 * omega)) ** 2
    norm = fading + c**2 * (grown + x2**2 * lost)
    values = {omega: sp.sqrt(_delta**2 / 4 + c**2 * _B**2)}
    scaled = [(part / sp.sqrt(norm)).subs(values) for part in (along, across, readout)]
    residual = _solution_residual(scaled, (x1, x2, y), c, t)
    # beta = c y x: the roots of the norm cancel in the cosine
    length = sp.sqrt(along**2 + across**2)
    stated = {"mu": c * sp.Abs(readout) * length / norm, "phi": sp.sign(readout) * along / length}
    stated = {name: expression.subs(t, clock) for name, expression in stated.items()}
    observables = {name: expression.subs(values) for name, expression in stated.items()}
    imbalance = c**2 * (y**2 - x1**2 - x2**2)
    trail = macroscopic_flow().trail.then(
        f"solution in the time {clock}: scaled weights are a linear flow over the root of its integrated norm",
        Equations(((_mu, stated["mu"]), (_phi, stated["phi"]))),
        check=f"substituted back at 20 random points: {residual:.1e}",
        residual=residual,
        reference=KUNIN,
        given=Equations(((_eta_a, c**2 / _eta_w), (_delta, imbalance), (omega, values[omega].subs(_delta, imbalance)))),
    )
    return Flow((clock,), (sp.S.One,), observables=observables, trail=trail)


@cache
def kernel_distance() -> FixedPoint:
    """How far the kernel of the function turns from the start (mu, phi) to the solution (B, 1), in d dimensions.

    K = (kappa + delta)/2 I + (kappa - delta)/2 bb'; the distance is 1 - <K0, K1>/(|K0| |K1|), 0 for lazy training.
    """
    d, S = positive("d S")

    def kernel(norm):
        kappa = sp.sqrt(_delta**2 + 4 * _eta_a * _eta_w * norm**2)
        return (kappa + _delta) / 2, (kappa - _delta) / 2

    def product(first, second, cosine):
        # tr (f I + g uu') (f' I + g' vv') = d f f' + f g' + g f' + g g' (u.v)^2
        (f, g), (f1, g1) = first, second
        return d * f * f1 + f * g1 + g * f1 + g * g1 * cosine**2

    start, end = kernel(_mu), kernel(_B)
    turned = product(start, end, _phi) / sp.sqrt(product(start, start, 1) * product(end, end, 1))
    trail = function_flow().trail.then(
        "kernel at the start against the kernel at the target", Equations(((S, 1 - turned),)), reference=KUNIN
    )
    return FixedPoint((S,), (S - (1 - turned),), trail=trail)


def _imbalance():
    return _eta_w * _a**2 - _eta_a * over(_w**2)


def _along(quantity, flow):
    """Rate of change of a function of a and of sums over the modes of w, spread out."""
    a_rate, w_rate = flow.equations
    return spread(quantity.diff(_a) * a_rate + over(entry_derivative(quantity, _w) * w_rate))


def _numeric(symbols, expression):
    """The expression as a NumPy function; sums over modes run over the last axis."""
    # lambdify renames `lambda`, which would take it out of a sum that insists on mode symbols
    plain = {symbol: sp.Dummy() for symbol in symbols}
    neutral = expression.replace(over, sp.Function("over")).xreplace(plain)
    return sp.lambdify(list(plain.values()), neutral, [{"over": lambda values: np.sum(values, axis=-1)}, "numpy"])


def _gradient_residual(loss, pulls) -> float:
    """The derived gradient against central differences of the loss on random arrays of five modes, relative."""
    rng = np.random.default_rng(0)
    modes_of = {s: rng.uniform(0.5, 1.5, 5) for s in (_lam, _target, _w)}
    scalars_of = {_a: 0.7, _eta_a: 1.0, _eta_w: 1.0}

    def number(expression, arrays, a):
        return _numeric((_lam, _target, _w, _a, _eta_a, _eta_w), expression)(*arrays.values(), a, 1.0, 1.0)

    step, worst = 1e-5, 0.0
    derived = number(pulls[_w], modes_of, scalars_of[_a])
    for k in range(5):
        shift = np.eye(5)[k] * step
        up, down = ({**modes_of, _w: modes_of[_w] + sign * shift} for sign in (1, -1))
        slope = (number(loss, up, scalars_of[_a]) - number(loss, down, scalars_of[_a])) / (2 * step)
        worst = max(worst, abs(slope + derived[k]))
    slope = (number(loss, modes_of, 0.7 + step) - number(loss, modes_of, 0.7 - step)) / (2 * step)
    worst = max(worst, abs(slope + number(pulls[_a], modes_of, 0.7)))
    if not worst < 1e-8:
        raise AssumptionViolated(f"the gradient differs from central differences by {worst:.1e}", where="single neuron")
    return worst


def _numeric_zero(expression, norm) -> float:
    """Largest value of an expression in sums over modes at random arrays; N stands for over(beta^2)."""
    rng, worst = np.random.default_rng(1), 0.0
    function = _numeric((_lam, _target, _beta, _delta, _eta_a, _eta_w, norm), expression)
    for _ in range(5):
        lam, target, beta = rng.uniform(0.5, 1.5, (3, 6))
        worst = max(worst, float(np.abs(function(lam, target, beta, *rng.uniform(0.5, 1.5, 3), beta @ beta)).max()))
    if not worst < 1e-12:
        raise AssumptionViolated(f"two forms of the equation differ by {worst:.1e}", where="single neuron")
    return worst


def _solution_residual(scaled, start, c, time) -> float:
    """|q' - F q + c^2/2 |q|^2 q| of the explicit solution at random points, in 30-digit arithmetic."""
    import mpmath

    rng, worst = np.random.default_rng(2), 0.0
    x1, x2, y = start
    F = sp.Matrix([[-_delta / 2, 0, c * _B], [0, -_delta / 2, 0], [c * _B, 0, _delta / 2]])
    q = sp.Matrix(scaled)
    arguments = (time, x1, x2, y, _delta, c, _B)
    value = sp.lambdify(arguments, list(q), "mpmath")
    rate = sp.lambdify(arguments, list(F * q - c**2 / 2 * q.dot(q) * q), "mpmath")
    with mpmath.workdps(30):
        for _ in range(20):
            x1_, x2_, c_, b_ = map(mpmath.mpf, rng.uniform(0.2, 1.5, 4))
            delta = mpmath.mpf(rng.uniform(-1, 1))
            # the imbalance of the scaled weights is delta / c^2
            y_ = mpmath.sqrt(x1_**2 + x2_**2 + max(delta, -(x1_**2) * c_**2) / c_**2)
            delta = c_**2 * (y_**2 - x1_**2 - x2_**2)
            point = mpmath.mpf(rng.uniform(0.1, 3))

            def moved(s, rest=(x1_, x2_, y_, delta, c_, b_)):
                return value(s, *rest)

            expected = rate(point, x1_, x2_, y_, delta, c_, b_)
            for part in range(3):
                slope = mpmath.diff(lambda s, part=part: moved(s)[part], point)
                worst = max(worst, float(abs(slope - expected[part])))
    if not worst < 1e-12:
        raise AssumptionViolated(f"the explicit solution misses its equation by {worst:.1e}", where="single neuron")
    return worst
