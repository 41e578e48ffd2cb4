"""Curvature of an aligned linear network along its whole trajectory: exact Hessian, tangent kernel, sharpness.

In the singular bases the Hessian is block diagonal: L x L for one mode, 2L x 2L for a pair of modes i, j (derived in
`perturbations`). At balance, u_l = u and a = u^L,

    one mode:  L a^(2 - 2/L) - (L-1) (s - a) a^(1 - 2/L)   once,     (s - a) a^(1 - 2/L)   L - 1 times,
    kernel:    Theta_ij = sum_l sigma_i^(2(L-l)/L) sigma_j^(2(l-1)/L) = (sigma_i^2 - sigma_j^2) / (x_i - x_j),
               x = sigma^(2/L).

The sharpness is the largest eigenvalue of all blocks; while several modes grow, no mode by itself has it.
"""

from dataclasses import replace
from functools import cache
from itertools import combinations
from typing import Any

import sympy as sp

from ...derivation.derive import network_flow, network_map
from ...derivation.standard_assumptions import Aligned, Whitened
from ...errors import LearningMechanicsError
from ...symbols import positive
from ...system import FixedPoint, Flow, Map
from ...trail import Equations, Trail
from ..linear_networks import mode_map, stack
from .perturbations import hessian, kernel, pair_perturbation, strength_perturbation

_JACOT = "Jacot, Gabriel & Hongler 2018, arXiv:1806.07572"
_FLATTEST = "Mulayoff & Michaeli 2020"
_THETA = positive("Theta")
_PATTERN = 5  # depths up to which the summand of any depth is compared with the graph
_RESPONSE = "response of F_ij to entry (i, j) of each layer, squared and summed"


@cache
def layer_map(depth: int) -> Map:
    """Exact gradient descent of the strengths u_l of every layer, mode by mode, carrying the curvature that it meets.

    Observables: "mode_hessian" (L, L) of one mode, "pair_hessian" (2L, 2L) and "pair_kernel" of two modes i and j,
    whose symbols end in _i and _j.

    >>> system = layer_map(2)
    >>> system.unknowns, system.observables["mode_hessian"].shape, system.observables["pair_hessian"].shape
    ((u1, u2), (2, 2), (4, 4))
    """
    system = network_map(stack(depth)).assume(Whitened(), Aligned())
    alone, pair = strength_perturbation(depth), pair_perturbation(depth)
    blocks = {"mode_hessian": hessian(alone), "pair_hessian": hessian(pair), "pair_kernel": kernel(depth)}
    trail = system.trail
    for step in (alone.trail.steps[-1], pair.trail.steps[-1]):
        trail = trail.then(step.rule, step.result, assumption=step.assumption, check=step.check, residual=step.residual)
    trail = trail.then(_RESPONSE, Equations(((_THETA, blocks["pair_kernel"]),)), reference=_JACOT)
    return replace(system, observables={"end_to_end": system.observables["end_to_end"], **blocks}, trail=trail)


@cache
def kernel_eigenvalue(depth: int) -> FixedPoint:
    """Theta_ij of a balanced network with end-to-end singular values sigma, as a sum and in closed form.

    Singular values of zero keep the empty product, 0^0 = 1.

    >>> system = kernel_eigenvalue(3)
    >>> print(system.equations[0])
    Theta - sigma_i**(4/3) - sigma_i**(2/3)*sigma_j**(2/3) - sigma_j**(4/3)
    >>> print(system.observables["closed_form"])
    (sigma_i**2 - sigma_j**2)/(sigma_i**(2/3) - sigma_j**(2/3))
    """
    sigma_i, sigma_j = positive("sigma_i sigma_j")
    share = sp.Rational(1, depth)
    value = _balanced_expression(kernel(depth)).subs({positive("u_i"): sigma_i**share, positive("u_j"): sigma_j**share})
    gap = sigma_i ** (2 * share) - sigma_j ** (2 * share)
    residual = sp.expand(value * gap - (sigma_i**2 - sigma_j**2))
    if residual != 0:
        raise LearningMechanicsError(f"the sum is not geometric: {residual} is left", where="kernel_eigenvalue")
    closed = (sigma_i**2 - sigma_j**2) / gap
    trail = (
        network_flow(stack(depth))
        .trail.then(_RESPONSE, Equations(((_THETA, kernel(depth)),)), assumption="aligned", reference=_JACOT)
        .then("equal layers", Equations(((_THETA, value),)), assumption="balanced")
        .then(
            "geometric sum",
            Equations(((_THETA, closed),)),
            check=f"times the denominator, expanded: {residual} is left",
        )
    )
    observables = {"closed_form": closed, "diagonal": sp.powsimp(value.subs(sigma_j, sigma_i))}
    return FixedPoint((_THETA,), (_THETA - value,), observables, trail=trail)


@cache
def kernel_of_any_depth() -> FixedPoint:
    """Theta_ij for a symbolic number of layers L: layer l responds with u_i^(L-l) u_j^(l-1), and the sum telescopes.

    With x = sigma_i^(2/L), y = sigma_j^(2/L), g(l) = x^(L-l+1) y^(l-1): (x - y) times the summand is g(l) - g(l + 1).

    >>> print(kernel_of_any_depth().equations[0])
    Theta - (sigma_i**2 - sigma_j**2)/(sigma_i**(2/L) - sigma_j**(2/L))
    """
    x, y, sigma_i, sigma_j = positive("x y sigma_i sigma_j")
    L, layer = sp.symbols("L l", integer=True, positive=True)
    summand, g = x ** (L - layer) * y ** (layer - 1), x ** (L - layer + 1) * y ** (layer - 1)
    for depth in range(1, _PATTERN + 1):  # the summand is what the graph gives
        found = _balanced_expression(kernel(depth)).subs({positive("u_i"): sp.sqrt(x), positive("u_j"): sp.sqrt(y)})
        wanted = sum(summand.subs({L: depth, layer: number}) for number in range(1, depth + 1))
        if sp.expand(found - wanted) != 0:
            raise LearningMechanicsError(f"{depth} layers respond differently", where="kernel_of_any_depth")
    residual = sp.simplify((x - y) * summand - g + g.subs(layer, layer + 1))
    if residual != 0:
        raise LearningMechanicsError(f"the sum does not telescope: {residual} is left", where="kernel_of_any_depth")
    closed = sp.simplify(g.subs(layer, 1) - g.subs(layer, L + 1)) / (x - y)
    value = sp.powdenest(closed.subs({x: sigma_i ** (2 / L), y: sigma_j ** (2 / L)}), force=True)
    trail = (
        Trail()
        .then(
            f"{_RESPONSE}, balanced, x = sigma_i^(2/L), y = sigma_j^(2/L)",
            Equations(((_THETA, sp.Sum(summand, (layer, 1, L))),)),
            assumption="balanced",
            check=f"equal to the graph's for 1 to {_PATTERN} layers",
            reference=_JACOT,
        )
        .then("telescoping sum", Equations(((_THETA, value),)), check="(x - y) summand = g(l) - g(l + 1): equal")
    )
    return FixedPoint((_THETA,), (_THETA - value,), trail=trail)


@cache
def one_mode_curvature(depth: int) -> FixedPoint:
    """Hessian eigenvalues of one balanced mode: "along" its growth once, "across" it L - 1 times; S is the larger.

    >>> for name, value in one_mode_curvature(3).observables.items():
    ...     print(name, "=", value)
    along = a**(1/3)*(5*a - 2*s)
    across = a**(1/3)*(-a + s)
    """
    flow = strength_perturbation(depth)
    u, a, S = positive("u a S")
    block = _balanced(flow)
    values = {}
    # layers are interchangeable at balance: with (1, -1, 0, ..) all its permutations are eigenvectors
    for name, vector in {"along": [1] * depth, "across": [1, -1] + [0] * (depth - 2)}.items():
        if len(vector) == depth:
            value = sp.factor((block @ sp.Matrix(vector))[0])
            if sp.expand(block @ sp.Matrix(vector) - value * sp.Matrix(vector)) != sp.zeros(depth, 1):
                raise LearningMechanicsError(f"{vector} is no eigenvector", where="one_mode_curvature")
            values[name] = sp.powsimp(value.subs(u, a ** sp.Rational(1, depth)))
    trail = flow.trail.then(
        "eigenvectors (1, .., 1) and (1, -1, 0, ..)",
        Equations(tuple((positive(name), value) for name, value in values.items())),
        assumption="balanced",
        check="H v - lambda v, expanded: 0",
    )
    return FixedPoint((S,), (S - sp.Max(*values.values()),), values, trail=trail)


@cache
def one_mode_map(depth: int) -> Map:
    """The balanced mode recursion with observable "sharpness": the curvature of every mode by itself.

    >>> print(one_mode_map(3).observables["sharpness"])
    Max(u*(-2*s + 5*u**3), u*(s - u**3))
    """
    system, curvature = mode_map(depth), one_mode_curvature(depth)
    own = {str(symbol): symbol for symbol in (*system.unknowns, *system.parameters)}
    images = {positive("a"): own["u"] ** depth, positive("s"): own["s"]}
    value = sp.Max(*(sp.powsimp(eigenvalue.subs(images)) for eigenvalue in curvature.observables.values()))
    trail = system.trail.then(
        "curvature of one mode", Equations(((positive("S"), value),)), check="H v - lambda v, expanded: 0"
    )
    return replace(system, observables={**system.observables, "sharpness": value}, trail=trail)


@cache
def balanced_pair(depth: int) -> tuple[sp.ImmutableMatrix, sp.ImmutableMatrix]:
    """The two L x L halves of a balanced pair block: even and odd under reversing layers, d_l,ij <-> d_(L+1-l),ji.

    They hold all 2L eigenvalues where both entries exist in every layer, that is for indices below all widths.

    >>> balanced_pair(2)[1].subs(positive("u_j"), 0)   # mode j has not yet been learned
    Matrix([
    [s_j + u_i**2,            0],
    [           0, s_i - u_i**2]])
    """
    block = _balanced(pair_perturbation(depth))
    swap = sp.Matrix(2 * depth, 2 * depth, lambda p, q: int(p + q == 2 * depth - 1))
    if sp.expand(swap @ block @ swap - block) != sp.zeros(2 * depth):
        raise LearningMechanicsError("reversing the layers is no symmetry", where="balanced_pair")
    own, mixed = block[:depth, :depth], (block @ swap)[:depth, :depth]
    even, odd = (sp.ImmutableMatrix(sp.expand(own + sign * mixed)) for sign in (1, -1))
    return even, odd


@cache
def two_layer_pair() -> tuple[Any, ...]:
    """All four Hessian eigenvalues of a balanced pair of modes of two layers, in the strengths a_i, a_j.

    With a_j = 0 they are a_i + s_j, s_i - a_i, a_i - s_j, a_i - s_i.

    >>> print(two_layer_pair()[0])
    s_i/2 + s_j/2 + sqrt(4*a_i*a_j + (2*a_i - 2*a_j - s_i + s_j)**2)/2
    """
    strengths = {positive(f"u_{k}"): sp.sqrt(positive(f"a_{k}")) for k in "ij"}
    found = []
    for half in reversed(balanced_pair(2)):
        (p, q), (_, r) = half.subs(strengths).tolist()
        root = sp.sqrt(sp.factor(p - r) ** 2 + 4 * q**2)
        found += [sp.simplify((p + r + sign * root) / 2) for sign in (1, -1)]
    return tuple(found)


@cache
def chain_sharpness(depth: int) -> FixedPoint:
    """Largest Hessian eigenvalue at any minimum of the scalar chain s = w_1 .. w_L: sum_l (s / w_l)^2.

    By the inequality of means it is least at balance, where it is L s^(2 - 2/L).

    >>> print(chain_sharpness(2).equations[0])
    S - s**2/w2**2 - s**2/w1**2
    """
    flow, S, s = strength_perturbation(depth), positive("S"), positive("s")
    weights = [positive(f"w{layer}") for layer in range(1, depth + 1)]
    block = hessian(flow).subs({positive(f"u{layer}"): weight for layer, weight in enumerate(weights, 1)})
    block = block.subs(s, sp.prod(weights))
    minors = [block.extract(rows, columns).det() for rows, columns in _pairs_of_pairs(depth)]
    value = sp.Add(*((s / weight) ** 2 for weight in weights))
    residuals = [*minors, block.trace() - value.subs(s, sp.prod(weights))]
    if any(sp.expand(residual) != 0 for residual in residuals):
        raise LearningMechanicsError("the Hessian at a minimum is not of rank one", where="chain_sharpness")
    trail = flow.trail.then(
        "at a minimum the block has rank one and its trace as eigenvalue",
        Equations(((S, value),)),
        check="2 x 2 minors, expanded: 0",
        reference=_FLATTEST,
    )
    return FixedPoint((S,), (S - value,), trail=trail)


def _pairs_of_pairs(depth):
    pairs = [list(pair) for pair in combinations(range(depth), 2)]
    return [(rows, columns) for rows in pairs for columns in pairs]


def _balanced(flow: Flow):
    """The Hessian block with equal layers: strengths u of one mode, or u_i and u_j of two."""
    return _balanced_expression(hessian(flow))


def _balanced_expression(expression):
    strengths = [symbol for symbol in expression.free_symbols if str(symbol)[0] == "u"]
    return expression.subs({symbol: positive("_".join(["u", *str(symbol).split("_")[1:]])) for symbol in strengths})
