"""Small perturbations of an aligned linear network: its gradient flow linearised, entry by entry, from the graph.

    W_l = R_l (diag(u_l) + d_l) R_{l-1}',      d' = -H d,      H the Hessian of the loss

Reflecting one mode in every layer changes nothing, so perturbations of different pairs {i, j} of modes never meet. What
is left are the L strengths of one mode, and the 2L entries (i, j) and (j, i) of all layers. All coefficients are
polynomials in the strengths. An index beyond the width of a layer has strength zero there and no entry, so rectangular
and wide networks need no other formula, and neither do unbalanced ones.
"""

from collections.abc import Mapping
from dataclasses import replace
from functools import cache
from itertools import combinations, product
from typing import Any

import numpy as np
import sympy as sp

from ...architecture.network import chain
from ...derivation.derive import network_flow
from ...derivation.probe import evaluate
from ...derivation.standard_assumptions import Whitened
from ...errors import LearningMechanicsError
from ...symbols import positive, scalars
from ...system import Flow
from ...trail import Trail
from ..linear_networks import stack

_TOLERANCE = 1e-10
_ALONE, _PAIR = [("", 0, 0)], [("_ij", 0, 1), ("_ji", 1, 0)]
Entry = tuple[int, int, int]  # layer, row, column


def strength_perturbation(depth: int) -> Flow:
    """Linearised gradient flow of the strengths d_l of one mode, at any aligned weights, balanced or not.

    >>> print(strength_perturbation(2).equations[0])
    -d1*u2**2 + d2*(s - 2*u1*u2)
    """
    return _linearised(depth)[0]


def pair_perturbation(depth: int) -> Flow:
    """Linearised gradient flow of the entries (i, j) and (j, i) of every layer: two modes that turn into each other.

    >>> for equation in pair_perturbation(2).equations[:2]:
    ...     print(equation)
    -d1_ij*u2_i**2 - d2_ij*u1_j*u2_i + d2_ji*(s_j - u1_j*u2_j)
    -d1_ij*u1_j*u2_i + d1_ji*(s_i - u1_i*u2_i) - d2_ij*u1_j**2
    """
    return _linearised(depth)[1]


def hessian(flow: Flow) -> sp.ImmutableMatrix:
    """The Hessian block whose linearised gradient flow this is: minus its Jacobian.

    >>> hessian(strength_perturbation(2))
    Matrix([
    [       u2**2, -s + 2*u1*u2],
    [-s + 2*u1*u2,        u1**2]])
    """
    return sp.ImmutableMatrix(-sp.Matrix(flow.equations).jacobian(sp.Matrix(flow.unknowns)))


@cache
def kernel(depth: int) -> sp.Expr:
    """Eigenvalue of the tangent kernel in the output direction (i, j): squared responses of F_ij to entries (i, j).

    >>> print(kernel(3))
    u1_j**2*u2_j**2 + u1_j**2*u3_i**2 + u2_i**2*u3_i**2
    """
    flow, epsilon, total = _two_modes(depth), sp.Symbol("epsilon"), sp.S.Zero
    for weight in flow.unknowns:
        moved = {**_aligned(flow), weight: _aligned(flow)[weight] + epsilon * _unit(0, 1)}
        response = sp.Matrix(flow.observables["end_to_end"].subs(moved).doit()).diff(epsilon)
        total += response[0, 1] ** 2
        if response != response[0, 1] * _unit(0, 1):
            raise LearningMechanicsError(f"{weight} moves other output directions", where="kernel")
    return total


@cache
def _two_modes(depth: int) -> Flow:
    return network_flow(chain(*[2] * (depth + 1))).assume(Whitened())


def _aligned(flow: Flow) -> dict[Any, Any]:
    """Diagonal weights u1_i, u1_j, ... and targets s_i, s_j for a network of two modes."""
    (correlation,) = (m for m in flow.parameters if getattr(m, "name", "") == "Sigma_yx")
    named = [(correlation, "s"), *((weight, f"u{layer}") for layer, weight in enumerate(flow.unknowns, 1))]
    return {matrix: sp.diag(*positive(f"{name}_i {name}_j")) for matrix, name in named}


def _unit(row: int, column: int):
    return sp.Matrix(2, 2, lambda p, q: int((p, q) == (row, column)))


@cache
def _linearised(depth: int) -> tuple[Flow, Flow]:
    """The perturbations of one mode and of a pair of modes, with a trail that says how both were checked."""
    slopes = _slopes(depth)
    for (to, at), slope in slopes.items():
        if sp.expand(slope - slopes[at, to]) != 0:
            raise LearningMechanicsError("the Hessian is not symmetric", where="perturbations")
        # reflections (1, -1) of the two modes tell the entries (i, j), (j, i) from the diagonal; i and j are apart too
        if slope != 0 and set(to[1:]) != set(at[1:]):
            raise LearningMechanicsError(f"entries {to} and {at} do not decouple", where="perturbations")
    alone, pair = (_flow(slopes, places, depth) for places in (_ALONE, _PAIR))
    residual = _residual(depth, hessian(alone), hessian(pair))
    if not residual < _TOLERANCE:
        raise LearningMechanicsError(f"the blocks miss the loss by {residual:.1e}", where="perturbations")
    trail = network_flow(stack(depth)).assume(Whitened()).trail
    return _noted(alone, trail, "entries (i, i)", residual), _noted(pair, trail, "entries (i, j) and (j, i)", residual)


def _noted(flow: Flow, trail: Trail, which: str, residual: float) -> Flow:
    rule = f"linearise about aligned weights, {which} of every layer"
    check = f"second-order term of the loss of a random rectangular network: {residual:.1e}"
    return replace(flow, trail=trail.then(rule, flow.statement(), assumption="aligned", check=check, residual=residual))


def _slopes(depth: int) -> Mapping[tuple[Entry, Entry], Any]:
    """{(entry that moves, entry that is perturbed): coefficient} for two modes."""
    flow, epsilon = _two_modes(depth), sp.Symbol("epsilon")
    aligned, slopes = _aligned(flow), {}
    for layer, row, column in product(range(depth), range(2), range(2)):
        weight = flow.unknowns[layer]
        moved = {**aligned, weight: aligned[weight] + epsilon * _unit(row, column)}
        for other, equation in enumerate(flow.equations):
            velocity = sp.Matrix(equation.subs(moved).doit()).diff(epsilon).subs(epsilon, 0)
            for p, q in product(range(2), range(2)):
                slopes[(other, p, q), (layer, row, column)] = sp.factor(velocity[p, q])
    return slopes


def _flow(slopes, places, depth) -> Flow:
    """The flow of the entries at the given (suffix, row, column) of every layer."""
    entries = [(layer, row, column) for _, row, column in places for layer in range(depth)]
    unknowns = [scalars(f"d{layer + 1}{suffix}") for suffix, _, _ in places for layer in range(depth)]
    plain = {positive(f"{name}_i"): positive(name) for name in ("s", *(f"u{n}" for n in range(1, depth + 1)))}
    images = plain if places is _ALONE else {}
    equations = []
    for to in entries:
        terms = [(_short(slopes[to, at].subs(images)), unknown) for at, unknown in zip(entries, unknowns, strict=True)]
        equations.append(sp.Add(*(coefficient * unknown for coefficient, unknown in terms)))
    return Flow(tuple(unknowns), tuple(equations))


def _short(coefficient):
    return min((coefficient, sp.expand(coefficient)), key=sp.count_ops)


def _residual(depth: int, alone, pair) -> float:
    """How far blocks are from the second-order term of the loss of a random, rectangular, unbalanced aligned network.

    Along a random line the loss is a polynomial of degree 2L: its values at roots of unity give that term.
    """
    rng = np.random.default_rng(depth)
    widths = [3 + (2 * layer) % 3 for layer in range(depth + 1)]  # 3, 5, 4, 3, ...: three modes, and indices beyond
    size, flow = max(widths), network_flow(chain(*widths))
    u, s = np.zeros((depth, size)), np.zeros(size)
    u[:, :3], s[:3] = rng.uniform(0.5, 1.5, (depth, 3)), rng.uniform(0.5, 1.5, 3)
    d = np.zeros((depth, size, size))
    for layer, (columns, rows) in enumerate(zip(widths[:-1], widths[1:], strict=True)):
        d[layer, :rows, :columns] = rng.standard_normal((rows, columns))

    values: dict[Any, Any] = {symbol: 1.0 for symbol in flow.parameters}
    data = {"Sigma_xx": np.eye(widths[0]), "Sigma_yx": np.diag(s)[: widths[-1], : widths[0]]}
    values |= {symbol: data[symbol.name] for symbol in flow.parameters if hasattr(symbol, "shape")}
    points, losses = np.exp(2j * np.pi * np.arange(4 * depth) / (4 * depth)), []
    for point in points:
        for weight, diagonal, direction in zip(flow.unknowns, u, d, strict=True):
            rows, columns = weight.shape
            values[weight] = (np.diag(diagonal) + point * direction)[:rows, :columns]
        losses.append(evaluate(flow.observables["loss"], values))
    wanted = np.mean(np.array(losses) / points**2).real

    layers = [f"u{layer}" for layer in range(1, depth + 1)]
    one = sp.lambdify([*positive(",".join([*layers, "s"]))], alone)
    two = sp.lambdify([positive(f"{name}_{k}") for k in "ij" for name in (*layers, "s")], pair)
    found = 0.0
    for i in range(size):
        found += d[:, i, i] @ np.asarray(one(*u[:, i], s[i])) @ d[:, i, i] / 2
    for i, j in combinations(range(size), 2):
        both = np.concatenate([d[:, i, j], d[:, j, i]])
        found += both @ np.asarray(two(*u[:, i], s[i], *u[:, j], s[j])) @ both / 2
    return float(abs(found - wanted) / abs(wanted))
