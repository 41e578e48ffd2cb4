r"""What finite width adds to the limit of infinite width: 1/N in the mean, N^-1/2 in a single network.

Descent on two linear layers with one input, f = a.w / sqrt(N) - h_0, closes on the output and the kernel, at any width
and any learning rate:

    f+ = f + eta D kappa + eta^2 D^2 (f + h_0) / N,    kappa+ = kappa + (4 eta D (f + h_0) + eta^2 D^2 kappa) / N

with D = s - f and kappa = (|a|^2 + |w|^2) / N. Only its start, kappa = 2 + xi N^-1/2 with E xi^2 = 4, and
h_0 = a.w / sqrt(N) are random. Expanded in N^-1/2 and averaged, E f = u + c_1 / N + O(1/N^2); for small steps

    u = s (1 - e^-2t),   c_1 = -2 s t^2 e^-2t + s^3 e^-2t (t - (1 - e^-2t) + (1 - e^-4t) / 4):

a wide network learns later than the limit, since kernels too small by chance delay more than those too large hurry, and
less so for large targets, whose kernel grows. Other networks have their coefficients fitted:
`solvers.regression.finite_width_fit`.

>>> print(one_network_map().equations[0])
eta*kappa*(-f + s) + f + eta**2*(-f + s)**2*(f + h_0)/N
"""

from collections.abc import Mapping
from functools import cache
from typing import Any

import numpy as np
import sympy as sp

from ..errors import LearningMechanicsError
from ..symbols import LEARNING_RATE, TIME, positive, scalars
from ..system import Flow, Map
from ..trail import Equations, Trail

DYER = "Dyer & Gur-Ari 2019, arXiv:1909.11304"
HUANG = "Huang & Yau 2019, arXiv:1909.08156"
WIDTH = positive("N")
START, TARGET, DEVIATION = scalars("h_0 s xi")  # deviation: (kappa_0 - 2) sqrt(N), of variance 4
_U, _V, _C, _K, _R, _B, _KB = scalars("u v c K r b K_b")


@cache
def one_network_map() -> Map:
    """Centred output f and kernel kappa of one network under gradient descent, exactly, for any width and rate.

    Parameters s (target), h_0 (output at the start), N, eta. Checked on a network of three units, word for word.
    """
    f, kappa = scalars("f kappa")
    count, rate = 3, LEARNING_RATE
    a, w = (sp.Matrix(sp.symbols(f"{name}1:{count + 1}", real=True)) for name in "aw")
    output = lambda a, w: (a.T * w)[0] / sp.sqrt(count)  # noqa: E731
    kernel = lambda a, w: ((a.T * a)[0] + (w.T * w)[0]) / count  # noqa: E731
    missing = TARGET - f
    step = rate * missing / sp.sqrt(count)
    moved = (a + step * w, w + step * a)
    equations = (
        f + rate * missing * kappa + rate**2 * missing**2 * (f + START) / WIDTH,
        kappa + (4 * rate * missing * (f + START) + rate**2 * missing**2 * kappa) / WIDTH,
    )
    given = {kappa: kernel(a, w), START: output(a, w) - f, WIDTH: count}
    found = (output(*moved) - output(a, w) + f, kernel(*moved))
    for after, equation in zip(found, equations, strict=True):
        if sp.expand(after - equation.subs(given)) != 0:
            raise LearningMechanicsError("output and kernel do not close", where="one network")
    trail = (
        Trail()
        .then("descent on both layers", "a+ = a + eta D w / sqrt(N),  w+ = w + eta D a / sqrt(N),  D = s - f")
        .then(
            "output and kernel",
            Equations(((f, equations[0]), (kappa, equations[1])), "map"),
            check="a network of three units, expanded: residual 0",
            residual=0.0,
            reference=HUANG,
        )
    )
    return Map((f, kappa), equations, trail=trail)


@cache
def mean_map() -> Map:
    """Mean output over networks to order 1/N, exact in the learning rate: u + c / N.

    Unknowns: u (infinite width), c and K (means of output and kernel, order 1/N), v, r, b, K_b (what kappa_0 and h_0 of
    a single network do to it). Observables "infinite" = u, "mean" = u + c / N, "scatter" = 2 v / sqrt(N), the standard
    deviation of a network; "chance" = v xi / sqrt(N) + (r (xi^2 - 4) + b h_0) / N, what one network owes to its own
    kernel and output at the start, zero on average, and "own_infinite", "own_mean": the first two with it.
    """
    (f, kappa), equations = one_network_map().unknowns, one_network_map().equations
    root = positive("epsilon")  # N^-1/2
    chance = DEVIATION**2 - 4
    ansatz = {
        f: _U + root * DEVIATION * _V + root**2 * (_C + _R * chance + _B * START),
        kappa: 2 + root * DEVIATION + root**2 * (_K + _KB * START),
    }
    orders = []
    for equation in equations:
        polynomial = sp.Poly(sp.expand(equation.subs(WIDTH, root**-2).subs(ansatz, simultaneous=True)), root)
        orders.append([polynomial.coeff_monomial(root**power) for power in range(3)])
    (zeroth, first, second), (kernel_zeroth, kernel_first, kernel_second) = orders
    output, kernel = (sp.Poly(sp.expand(part), DEVIATION, START) for part in (second, kernel_second))
    monomials = {*output.monoms(), *kernel.monoms()}
    if kernel_zeroth != 2 or sp.expand(kernel_first - DEVIATION) != 0 or not monomials <= {(0, 0), (2, 0), (0, 1)}:
        raise LearningMechanicsError("the expansion is of another form", where="mean output")
    square = output.coeff_monomial(DEVIATION**2)
    equations = (
        zeroth,
        sp.cancel(first / DEVIATION),
        output.coeff_monomial(1) + 4 * square,
        kernel.coeff_monomial(1),
        square,
        output.coeff_monomial(START),
        kernel.coeff_monomial(START),
    )
    unknowns = (_U, _V, _C, _K, _R, _B, _KB)
    equations = tuple(sp.expand(equation) for equation in equations)
    trail = one_network_map().trail.then(
        "expand in N^-1/2 and average",
        Equations(tuple(zip(unknowns, equations, strict=True)), "map"),
        assumption="standard normal weights: kappa_0 = 2 + xi N^-1/2 with E xi^2 = 4; E h_0 = E h_0 xi = 0",
        reference=DYER,
    )
    own = _V * DEVIATION / sp.sqrt(WIDTH) + (_R * chance + _B * START) / WIDTH
    return Map(
        unknowns,
        equations,
        observables={
            "infinite": _U,
            "mean": _U + _C / WIDTH,
            "scatter": 2 * _V / sp.sqrt(WIDTH),
            "chance": own,
            "own_infinite": _U + own,
            "own_mean": _U + own + _C / WIDTH,
        },
        trail=trail,
    )


@cache
def mean_flow() -> Flow:
    """`mean_map` for small steps, in the time t = eta x steps: the kernel's own growth is K = u^2.

    >>> mean_flow().equations
    (2*s - 2*u, s - u - 2*v, -2*c + s*u**2 - u**3 - 4*v)
    """
    rates = {
        unknown: sp.expand((equation - unknown) / LEARNING_RATE).subs(LEARNING_RATE, 0)
        for unknown, equation in zip(mean_map().unknowns, mean_map().equations, strict=True)
    }
    grown = _U**2
    if sp.expand(grown.diff(_U) * rates[_U] - rates[_K]) != 0:
        raise LearningMechanicsError("the kernel does not grow as u^2", where="mean output")
    unknowns = (_U, _V, _C)
    equations = tuple(sp.expand(rates[unknown].subs(_K, grown)) for unknown in unknowns)
    trail = mean_map().trail.then(
        "small steps, K = u^2",
        Equations(tuple(zip(unknowns, equations, strict=True)), "flow"),
        check="K' = 2 u u': residual 0",
        residual=0.0,
    )
    return Flow(unknowns, equations, observables={"infinite": _U, "mean": _U + _C / WIDTH}, trail=trail)


@cache
def first_correction() -> Any:
    """c_1(t) in E f = u + c_1 / N, put back into `mean_flow`.

    >>> first_correction().subs({TIME: 1, TARGET: 1}).evalf(6)
    -0.219141
    """
    late = sp.exp(-2 * TIME)
    u, v = TARGET * (1 - late), TARGET * TIME * late
    c = -2 * TARGET * TIME**2 * late + TARGET**3 * late * (TIME - (1 - late) + (1 - late**2) / 4)
    found = dict(zip(mean_flow().unknowns, (u, v, c), strict=True))
    for solution, equation in zip(found.values(), mean_flow().equations, strict=True):
        if sp.simplify(sp.expand(solution.diff(TIME) - equation.subs(found))) != 0 or solution.subs(TIME, 0) != 0:
            raise LearningMechanicsError("the closed form misses its equation", where="first correction")
    return c


def own_numbers(weights: Mapping[str, np.ndarray]) -> dict[str, float]:
    """kappa, h_0, xi = (kappa - 2) sqrt(N) and N of a network with weights W1 (N, 1) and W2 (1, N).

    >>> own_numbers({"W1": np.ones((4, 1)), "W2": 2 * np.ones((1, 4))})
    {'kappa': 5.0, 'h_0': 4.0, 'xi': 6.0, 'N': 4.0}
    """
    w, a = np.ravel(weights["W1"]), np.ravel(weights["W2"])
    kernel, root = float((a @ a + w @ w) / len(w)), float(np.sqrt(len(w)))
    return {"kappa": kernel, "h_0": float(a @ w) / root, "xi": (kernel - 2) * root, "N": float(len(w))}
