"""Diagonal linear networks, beta = w_+^D - w_-^D entry by entry: the integrated residual is the dual variable.

    G = int X'r dt,      beta = B'(G),      Q(beta) = max_G (G beta - B(G))

Every weight moves with the pull g = (X'r)_i on its own coordinate, dw/dG = +- D w^(D-1). So the coefficients are a
function of G, and G stays in the row space of X. A flow that ends with X beta = y has therefore met the optimality
conditions of: minimise sum_i Q(beta_i) subject to X beta = y.

>>> print(response(2))
2*alpha**2*sinh(4*G)
>>> print(potential())
alpha**2/2 + beta*asinh(beta/(2*alpha**2))/4 - sqrt(4*alpha**4 + beta**2)/4

Reference: Woodworth et al. 2020, arXiv:2002.09277.
"""

from dataclasses import replace
from functools import cache

import sympy as sp

from ...architecture.network import Network, Node
from ...closed_forms.closed_form import closed_form
from ...derivation.derive import gradient_flow
from ...derivation.reduce import restrict
from ...errors import BadData, LearningMechanicsError
from ...symbols import TIME, modes, positive
from ...system import FixedPoint, Flow
from ...trail import Equations, Trail

WOODWORTH = "Woodworth et al. 2020, arXiv:2002.09277"
PESME = "Berthier 2022, arXiv:2208.14673; Pesme & Flammarion 2023, arXiv:2304.00488"
_TOLERANCE = 1e-25  # of identities evaluated in 40-digit arithmetic

G, beta = modes("G beta", positive=None, real=True)
alpha = modes("alpha")
_p, _m, _w = positive("w_p w_m w")
_g = sp.Symbol("g", real=True)


def network(depth: int) -> Network:
    """The network: `depth` scales by one vector w_p less `depth` scales by another, w_m, summed over coordinates.

    >>> network(3).shapes({"input": 5})
    {'w_p': (5,), 'w_m': (5,)}
    """
    nodes = [Node("x", "input", width="input")]
    for sign in ("p", "m"):
        before = "x"
        for layer in range(depth):
            nodes.append(Node(f"{sign}{layer}", "scale", (before,), weight=f"w_{sign}"))
            before = nodes[-1].name
        nodes.append(Node(f"sum_{sign}", "total", (before,)))
    return Network((*nodes, Node("output", "sum", ("sum_p", "sum_m"), coefficients=(1.0, -1.0))))


@cache
def coordinate_flow(depth: int) -> Flow:
    """The two weights of one coordinate, pulled by its share g = (X'r)_i of the gradient.

    >>> print(coordinate_flow(3).equations)
    (3*g*w_p**2, -3*g*w_m**2)
    """
    if not float(depth).is_integer() or depth < 2:
        raise BadData(f"depth {depth}", where="diagonal network", remedy="give a whole number from 2")
    flow = gradient_flow(-_g * (_p**depth - _m**depth), on=(_p, _m))
    trail = Trail().then("squared loss", _two_coordinates(depth)[0], reference=WOODWORTH)
    trail = trail.then(
        "pull on one coordinate",
        flow.statement(),
        check="each weight's gradient is its slope of beta times (X'r)_i: residual 0 for two coordinates, two samples",
        residual=float(_two_coordinates(depth)[1] != 0),
    )
    return replace(flow, observables={"beta": _p**depth - _m**depth}, trail=trail)


def _two_coordinates(depth):
    """The loss of two coordinates on two samples, and what is left of its gradient beyond slope x pull."""
    x, y = sp.symbols("x:2:2", real=True), sp.symbols("y:2", real=True)
    p, m = sp.symbols("p:2", positive=True), sp.symbols("m:2", positive=True)
    coefficient = [a**depth - b**depth for a, b in zip(p, m, strict=True)]
    residual = [y[k] - sum(x[2 * k + i] * coefficient[i] for i in range(2)) for k in range(2)]
    loss = sum(r**2 for r in residual) / 2
    left = 0
    for i in range(2):
        pull = sum(x[2 * k + i] * residual[k] for k in range(2))
        for weight in (p[i], m[i]):
            left += sp.expand(sp.diff(loss, weight) + sp.diff(coefficient[i], weight) * pull) ** 2
    return loss, left


@cache
def _solutions(depth: int):
    """w_+ and w_- as functions of G from the common start alpha, and their laws G(w)."""
    found = []
    for sign in (1, -1):
        solution = closed_form(Flow((_w,), (sign * depth * _w ** (depth - 1),)))
        start = {solution.initial: alpha}
        found.append((solution.expression.subs(start).subs(TIME, G), solution.time_law.subs(start)))
    return found


@cache
def response(depth: int):
    """The coefficient that an integrated pull G produces from w_+ = w_- = alpha: beta = w_+^D - w_-^D.

    >>> print(sp.factor(response(3).subs(alpha, 1)))
    -18*G*(3*G**2 + 1)/((3*G - 1)**3*(3*G + 1)**3)
    """
    (plus, _), (minus, _) = _solutions(depth)
    return sp.simplify((plus**depth - minus**depth).rewrite(sp.sinh)) if depth == 2 else plus**depth - minus**depth


@cache
def dual_potential(depth: int):
    """B(G) = int_0^G beta dG: the squared norm of the weights, (w_+^2 + w_-^2) / 2D, less its start; at every depth.

    >>> print(dual_potential(2))
    alpha**2*cosh(4*G)/2 - alpha**2/2
    """
    (plus, _), (minus, _) = _solutions(depth)
    norm = (plus**2 + minus**2) / (2 * depth)
    found = (sp.simplify(norm.rewrite(sp.cosh)) if depth == 2 else norm) - alpha**2 / depth
    verified(sp.diff(found, G) - response(depth), f"dual potential of depth {depth}")
    return found


@cache
def mirror_map():
    """G(beta) = Q'(beta) at depth two: the response inverted.

    >>> print(mirror_map())
    asinh(beta/(2*alpha**2))/4
    """
    return _inverse(response(2))


def _inverse(answer):
    """G as a function of beta, from beta = size sinh(pace G)."""
    size, pace = sp.Wild("size", exclude=[G]), sp.Wild("pace", exclude=[G])
    found = answer.match(size * sp.sinh(pace * G))
    inverse = sp.asinh(beta / found[size]) / found[pace]
    verified(answer.subs(G, inverse) - beta, "mirror map")
    return inverse


@cache
def potential():
    """Q(beta) at depth two: alpha^2/4 q(beta/alpha^2) with q(z) = 2 - sqrt(4 + z^2) + z asinh(z/2)."""
    found = sp.expand(sp.simplify(beta * mirror_map() - dual_potential(2).subs(G, mirror_map())))
    verified(sp.diff(found, beta) - mirror_map(), "potential")
    return found


@cache
def conserved_quantity(depth: int):
    """What both weights of a coordinate keep: G is eliminated from their two laws G(w).

    >>> print(conserved_quantity(2), "|", conserved_quantity(3))
    w_m*w_p | 1/w_p + 1/w_m
    """
    (_, plus), (_, minus) = _solutions(depth)
    gap = sp.expand_log(sp.expand(plus.subs(_w, _p) - minus.subs(_w, _m)), force=True)
    kept = sp.Add(*(term for term in sp.Add.make_args(gap) if term.has(_p, _m)))
    scale = max((abs(c) for c in kept.as_coefficients_dict().values()), default=1)
    found = -kept / scale if depth > 2 else sp.exp(sp.logcombine(kept / scale, force=True))
    flow = coordinate_flow(depth)
    drift = sum(sp.diff(found, u) * e for u, e in zip(flow.unknowns, flow.equations, strict=True))
    if sp.simplify(drift) != 0:
        raise LearningMechanicsError(f"{found} drifts at {drift}", where="conserved quantity")
    return found


@cache
def activation_price(depth: int):
    """The G at which a coefficient of order one appears, as alpha -> 0; the same whatever its size, so Q -> |beta| G.

    >>> print(activation_price(2), "|", activation_price(3))
    log(1/alpha)/2 | 1/(3*alpha)
    """
    law, small = _solutions(depth)[0][1], sp.Dummy("alpha", positive=True)
    clock = sp.log(1 / small) if depth == 2 else small ** (2 - depth)
    share = sp.limit(law.subs(alpha, small) / clock, small, 0, "+")
    return (share * clock).subs(small, alpha)


@cache
def limits() -> tuple:
    """The potential at depth two for large and for small starts: alpha^2 Q -> l2 and Q / log(1/alpha^2) -> l1.

    >>> limits()
    (beta**2/16, beta/4)
    """
    small, size = sp.Dummy("alpha", positive=True), sp.Dummy("beta", positive=True)
    plain = potential().subs({alpha: small, beta: size})
    large = sp.limit(plain * small**2, small, sp.oo)
    # asinh of a growing argument is its logarithm; SymPy's limit needs to be told
    logarithms = plain.rewrite(sp.log)
    return large.subs(size, beta), sp.limit(logarithms / sp.log(1 / small**2), small, 0, "+").subs(size, beta)


@cache
def interpolator(depth: int) -> FixedPoint:
    """Where the flow ends: beta = B'(G) with G in the row space of X, that is the minimiser of Q under X beta = y.

    >>> print(interpolator(2))
    FixedPoint
      0 = -2*alpha**2*sinh(4*G) + beta
      w_p = alpha*exp(2*G)
      w_m = alpha*exp(-2*G)
      dual_potential = alpha**2*cosh(4*G)/2 - alpha**2/2
    """
    flow, answer, dual = coordinate_flow(depth), response(depth), dual_potential(depth)
    (plus, _), (minus, _) = _solutions(depth)
    weights = Equations(((sp.Function("w_p")(G), plus), (sp.Function("w_m")(G), minus)))
    trail = flow.trail.then("integrated pull as clock: G' = g", weights, check="substituted back")
    trail = trail.then(
        "conserved: the two laws G(w), with G eliminated",
        conserved_quantity(depth),
        check="rate of change simplifies to 0",
    )
    trail = trail.then("coefficient", Equations(((beta, answer),)), reference=WOODWORTH)
    trail = trail.then(
        "dual potential: the squared norm of the weights over 2D",
        Equations(((sp.Function("B")(G), dual),)),
        check="its derivative is the coefficient, 40 digits",
        residual=verified(sp.diff(dual, G) - answer, "dual potential"),
    )
    if depth == 2:
        trail = trail.then(
            "potential: Q = G beta - B",
            Equations(((sp.Function("Q")(beta), potential()),)),
            check="its derivative is G, 40 digits",
            residual=verified(sp.diff(potential(), beta) - mirror_map(), "potential"),
        )
    trail = trail.then(
        "G = X' nu: optimality of min sum Q(beta) subject to X beta = y", "nu is the integrated residual"
    )
    observables = {"w_p": plus, "w_m": minus, "dual_potential": dual}
    return FixedPoint((beta,), (beta - answer,), observables=observables, trail=trail)


@cache
def product_flow() -> Flow:
    """Two different factors, beta = u v: their sum and difference halved are w_+ and w_-, in a clock of half the pace.

    >>> print(product_flow().equations, product_flow().observables["beta"])
    (-g*w_m, g*w_p) (-w_m + w_p)*(w_m + w_p)
    """
    u, v = sp.symbols("u v", real=True)
    flow = gradient_flow(-_g * u * v, on=(u, v))
    moved = restrict(flow.observe(beta=u * v), {u: _p + _m, v: _p - _m}, assumption="", reference=WOODWORTH)
    start = sp.sqrt(alpha)  # u and v begin with u^2 - v^2 = alpha > 0 and u v = 0: the conserved imbalance
    weights = [closed_form(Flow((_w,), (sign * _w,))) for sign in (1, -1)]
    grown = [s.expression.subs({s.initial: start / 2, TIME: G}) for s in weights]
    answer = sp.simplify((grown[0] ** 2 - grown[1] ** 2).rewrite(sp.sinh))
    trail = moved.trail.then("from u v = 0, with the imbalance alpha = u^2 - v^2", Equations(((beta, answer),)))
    trail = trail.then(
        "mirror map", Equations(((G, _inverse(answer)),)), check="put back, 40 digits", reference=WOODWORTH
    )
    return replace(moved, trail=trail)


@cache
def euclidean_interpolator() -> FixedPoint:
    """The limit of a large start: least l2 norm, G proportional to beta."""
    plain = interpolator(2)
    trail = plain.trail.then("limit alpha -> oo, alpha^2 Q", limits()[0])
    return FixedPoint((beta,), (beta - G,), observables={"dual_potential": G**2 / 2}, trail=trail)


@cache
def sparsest_interpolator() -> FixedPoint:
    """The limit of a vanishing start: least l1 norm; a coefficient other than zero has |G| = 1, its sign that of G."""
    plain = interpolator(2)
    trail = plain.trail.then("limit alpha -> 0, Q / log(1/alpha^2)", limits()[1])
    return FixedPoint((beta,), (sp.Abs(beta) - G * beta,), trail=trail)


@cache
def successive_jumps(depth: int) -> FixedPoint:
    """Times t of the jumps of a vanishing start: a coordinate appears when its integrated pull has paid the price.

    >>> print(successive_jumps(2).equations[0])
    t*Abs(g) - log(1/alpha)/2
    """
    flow, time = coordinate_flow(depth), modes("t")
    equation = time * sp.Abs(_g) - activation_price(depth)
    trail = flow.trail.then(
        "a coefficient of order one appears at this G, whatever its size",
        Equations(((G, activation_price(depth)),)),
        reference=PESME,
        check="limit alpha -> 0 of the law G(w)",
    )
    trail = trail.then("between jumps the pull is constant", Equations(((time, equation),), "fixed point"))
    return FixedPoint((time,), (equation,), trail=trail)


def verified(expression, name: str) -> float:
    """Largest value of an identity at six points, in 40-digit arithmetic; raises if it is not zero.

    >>> verified(sp.cosh(G) ** 2 - sp.sinh(G) ** 2 - 1, "hyperbola") < 1e-25
    True
    """
    worst = 0.0
    for k in range(6):
        point = {alpha: sp.Rational(3 + k, 5), G: sp.Rational((-1) ** k * (k + 1), 400), beta: sp.Rational(k - 2, 3)}
        worst = max(worst, abs(float(sp.N(expression.subs(point), 40))))
    if not worst < _TOLERANCE:
        raise LearningMechanicsError(f"an identity is off by {worst:.1e}", where=name)
    return worst
