r"""Deep linear networks of infinite width in which features move: dynamical mean-field theory in discrete time.

    f = w h_(L-1) / (gamma N),   h_l = W_l h_(l-1) / sqrt(fan-in),   W ~ N(0, 1),   step size eta gamma^2 N

At infinite width a neuron of layer l sees the others only through kernels and responses. It is a linear recursion
driven by two independent Gaussian processes, ubar with covariance Phi_(l-1) and r with covariance G_(l+1):

    hbar = ubar + gamma cbar g,     g = r + gamma e hbar,     cbar and e strictly lower triangular: causal.

hbar(t, c) = sum over samples of (y - f)_c(t) h(t)/P is the one combination of features that trains output c at step t;
g(t, c) is the gradient of f_c by the neuron, in a linear network the same for all samples. Solving the recursion gives
kernels and responses of layer l from those of its neighbours: closed, causal matrix equations. Matrices have a row for
every (step, output), m in all; those of features have one for every (direction of the data, step), n in all.

>>> print(self_consistency(2).equations[1])
HadamardProduct(eta*K*D.T, past_n) - c_1
"""

from functools import cache

import numpy as np
import sympy as sp

from ..derivation.assumptions import Limit
from ..derivation.derive import network_map
from ..derivation.probe import evaluate
from ..dynamics.linear_networks import stack
from ..errors import BadData
from ..regression.linearised import training_residuals
from ..symbols import LEARNING_RATE, dimensions
from ..system import FixedPoint, Map
from ..trail import Equations, Trail

BORDELON = "Bordelon & Pehlevan 2022, arXiv:2205.09653"
RICHNESS = sp.Symbol("gamma", nonnegative=True)
_m, _n = dimensions("m n")


def _square(name: str) -> sp.MatrixSymbol:
    return sp.MatrixSymbol(name, _m, _m)


def _neglected(values) -> float:
    """Outputs at the start over the targets, 1/(gamma sqrt(N)) for unit-size data; or the scatter of a kernel, if more.

    Entries of a kernel are means over N neurons of products of two Gaussians, of relative variance up to 2/N.
    """
    x, y = np.asarray(values["x"]), np.asarray(values["y"])
    kernel, width = (x**2).sum(1).mean() / x.shape[1], len(values["W1"])
    outputs = np.sqrt(kernel / width / (y**2).mean()) / values["gamma"]
    return float(max(outputs, np.sqrt(2 / width)))


def infinitely_wide(radius: float = 0.1) -> Limit:
    """N -> oo at fixed richness gamma: neurons of a layer are independent copies of one, kernels do not fluctuate.

    Its distance is the larger of what it neglects: outputs at the start, of size 1/(gamma sqrt(N)), relative to the
    targets, which matter in lazy networks; and the scatter sqrt(2/N) of kernels, which matters in rich ones.

    >>> values = {"x": np.ones((2, 5)), "y": np.ones((2, 1)), "W1": np.ones((100, 5)), "gamma": 0.5}
    >>> infinitely_wide().distance(values), round(infinitely_wide().distance({**values, "gamma": 20.0}), 3)
    (0.2, 0.141)
    """
    statement = "the width N of all hidden layers goes to infinity at fixed gamma, depth, data and number of steps"
    return Limit("infinite width", statement, sp.Symbol("N"), reference=BORDELON, radius=radius, measure=_neglected)


@cache
def single_neuron() -> Map:
    """One neuron: its response matrices and the kernels it makes, by solving its own linear recursion.

    Unknowns hbar and g (m, realisations); observables are the responses "gu", "Gr", "Hu", "hr" in
    g = gamma gu ubar + Gr r, hbar = Hu ubar + gamma hr r, and the kernels "G" = <g g'>, "Phi" = <hbar hbar'> and
    "s" = <g hbar'>/gamma from <ubar ubar'> = Phi_below, <r r'> = G_above, <ubar r'> = 0.

    >>> print(single_neuron().observables["gu"])
    ((-gamma**2)*e*cbar + I)**(-1)*e
    """
    draws = dimensions("draws")
    cbar, e, below, above = map(_square, ("cbar", "e", "Phi_below", "G_above"))
    hbar, g, ubar, r = (sp.MatrixSymbol(name, _m, draws) for name in ("hbar", "g", "ubar", "r"))
    recursion = ((hbar, ubar + RICHNESS * cbar * g), (g, r + RICHNESS * e * hbar))
    Gr = (sp.Identity(_m) - RICHNESS**2 * e * cbar).inv()
    found = {"Gr": Gr, **_kernels(Gr, cbar, e, below, above)}
    Hu, hr, gu = (found[name] for name in ("Hu", "hr", "gu"))
    solved = ((hbar, Hu * ubar + RICHNESS * hr * r), (g, RICHNESS * gu * ubar + Gr * r))
    kernels = tuple((sp.MatrixSymbol(name, _m, _m), found[name]) for name in ("G", "Phi", "s"))
    trail = (
        _unrolled(3)
        .then(
            "neurons of a layer as independent copies; what flows back from others as a response",
            Equations(recursion, "map"),
            assumption="infinite width",
            reference=BORDELON,
            check="causal: cbar and e are strictly lower triangular in the step",
        )
        .then(
            "solve the linear recursion",
            Equations(solved),
            check="put back at random causal matrices",
            residual=_put_back(recursion, dict(solved)),
        )
        .then(
            "covariances, with <ubar ubar'> = Phi_below, <r r'> = G_above, <ubar r'> = 0",
            Equations(kernels),
            check="bilinear in the two independent processes",
        )
    )
    return Map((hbar, g), tuple(right for _, right in recursion), observables=found, trail=trail)


def _kernels(Gr, cbar, e, below, above) -> dict[str, sp.MatrixExpr]:
    """The other responses of a neuron with response Gr, and its kernels between kernels `below` and `above`."""
    square = RICHNESS**2
    gu, hr = Gr * e, cbar * Gr
    Hu = sp.Identity(_m) + square * cbar * gu
    return {
        "gu": gu,
        "Hu": Hu,
        "hr": hr,
        "G": square * gu * below * gu.T + Gr * above * Gr.T,
        "Phi": Hu * below * Hu.T + square * hr * above * hr.T,
        "s": gu * below * Hu.T + Gr * above * hr.T,
    }


@cache
def self_consistency(depth: int) -> FixedPoint:
    """All layers together: 0 = equations of outputs F, data D and, of every hidden layer, c, e, R, k and G.

    R is the response of g to r (Gr of `single_neuron`). Given are K (n, n), the kernel <x, x>/d between directions (1
    or 0 for principal ones, whatever the steps); Y (n, m) and share (n, n), so that the part of the targets left at
    (direction, step) is Y - share F, over the number of samples; masks "now" (n, m) of equal steps, "past_n" (n, m) and
    "past_m" (m, m) of earlier columns; the kernel of the last layer, "same" (m, m), 1 for equal outputs; eta and gamma.

    >>> [str(unknown) for unknown in self_consistency(3).unknowns]
    ['D', 'c_1', 'e_1', 'R_1', 'k_1', 'G_1', 'c_2', 'e_2', 'R_2', 'k_2', 'G_2', 'F']
    """
    if depth != int(depth) or depth < 2:
        raise BadData(f"depth {depth}", where="mean-field theory", remedy="give a whole number from 2")
    eta, square, hidden = LEARNING_RATE, RICHNESS**2, range(1, depth)
    rows = lambda name: sp.MatrixSymbol(name, _n, _m)  # noqa: E731
    D, F, Y, now, past_n = sp.MatrixSymbol("D", _m, _n), *map(rows, ("F", "Y", "now", "past_n"))
    K, share = (sp.MatrixSymbol(name, _n, _n) for name in ("K", "share"))
    past_m, same = _square("past_m"), _square("same")
    c, k = ({layer: rows(f"{name}_{layer}") for layer in hidden} for name in "ck")
    e, R, G = ({layer: _square(f"{name}_{layer}") for layer in hidden} for name in "eRG")
    k[0], G[depth] = K * D.T, same
    answers = {layer: _kernels(R[layer], D * c[layer], e[layer], D * k[layer - 1], G[layer + 1]) for layer in hidden}
    unknowns: list = [D]
    equations: list = [sp.hadamard_product(now, Y - share * F).T - D]
    for layer in hidden:
        flows_up = c[layer - 1] * R[layer - 1] if layer > 1 else sp.ZeroMatrix(_n, _m)
        flows_back = answers[layer + 1]["gu"] if layer < depth - 1 else sp.ZeroMatrix(_m, _m)
        here = answers[layer]
        unknowns += [c[layer], e[layer], R[layer], k[layer], G[layer]]
        equations += [
            flows_up + sp.hadamard_product(past_n, eta * k[layer - 1]) - c[layer],
            flows_back + sp.hadamard_product(past_m, eta * G[layer + 1]) - e[layer],
            sp.Identity(_m) + square * e[layer] * D * c[layer] * R[layer] - R[layer],
            k[layer - 1] * here["Hu"].T + square * c[layer] * here["s"] - k[layer],
            here["G"] - G[layer],
        ]
    last = depth - 1
    unknowns.append(F)
    equations.append(k[last - 1] * answers[last]["gu"].T + c[last] * G[last] - F)
    trail = single_neuron().trail.then(
        "close the layers: c = response of those below + eta <h hbar'>, e = response of those above + eta <g g'>",
        Equations(tuple(zip(unknowns, equations, strict=True)), "fixed point"),
        reference=BORDELON,
        check="every equation is causal: its past determines it",
    )
    return FixedPoint(tuple(unknowns), tuple(equations), observables={"outputs": F}, trail=trail)


@cache
def lazy_limit() -> Map:
    """gamma -> 0: responses drop out, kernels stay, and outputs follow gradient descent with the tangent kernel.

    At gamma = 0 a neuron is hbar = ubar, g = r; so Phi = <x, x>/d and G = 1 in every layer, whose sum over layers of
    G Phi is the tangent kernel: K = L <x, x>/(d P).
    """
    map_ = training_residuals()
    neuron = single_neuron()
    kept = tuple(
        (sp.MatrixSymbol(name, _m, _m), neuron.observables[name].subs(RICHNESS, 0).doit()) for name in ("G", "Phi")
    )
    trail = map_.trail.after(
        neuron.trail.then("gamma = 0", Equations(kept), assumption="lazy limit", reference=BORDELON), on=(0,)
    )
    return Map(map_.unknowns, map_.equations, observables=map_.observables, trail=trail)


def _unrolled(depth: int) -> Trail:
    """Gradient descent of the network, and its weights as their start plus what every step has added."""
    steps = "W_l(t) = W_l(0) + eta gamma / sqrt(fan-in) x sum over s < t and outputs c of g_l(s, c) hbar_(l-1)(s, c)'"
    return network_map(stack(depth)).trail.then("unroll over the steps", steps, reference=BORDELON)


def _put_back(recursion, solution) -> float:
    """Largest entry of left - right of the recursion at its solution, at random strictly lower triangular matrices."""
    rng, size, draws = np.random.default_rng(0), 5, 3
    values: dict = {_m: size, dimensions("draws"): draws, RICHNESS: 0.7}
    given = {symbol for _, right in recursion for symbol in right.atoms(sp.MatrixSymbol)} - set(solution)
    for symbol in sorted(given, key=str):
        drawn = rng.standard_normal((size, size if symbol.shape == (_m, _m) else draws))
        values[symbol] = np.tril(drawn, -1) if symbol.shape == (_m, _m) else drawn
    values |= {symbol: evaluate(made, values) for symbol, made in solution.items()}
    return max(float(np.abs(values[symbol] - evaluate(right, values)).max()) for symbol, right in recursion)
