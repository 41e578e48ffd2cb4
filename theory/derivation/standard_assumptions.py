"""Assumptions that linear networks share: white inputs, aligned and balanced weights, many layers.

    Sigma_xx = I,      W_l = R_l diag(u_l) R_{l-1}',      W_{l+1}' W_{l+1} = W_l W_l'

>>> from .derive import network_flow, network_map
>>> from ..architecture.network import chain
>>> from .reduce import change_variables
>>> flow = network_flow(chain("input", "width", "output")).assume(Whitened(), Aligned())
>>> print(flow.equations)
(u2*(s - u1*u2), u1*(s - u1*u2))
>>> mode = flow.assume(Balanced("u1", "u2", into="u"))
>>> print(mode)
Flow
  u' = u*(s - u**2)
  end_to_end = u**2
  loss = target_power/2 + over(u**4)/2 - over(s*u**2)
>>> print(change_variables(mode, {"a": mode.observables["end_to_end"]}).equations[0])
2*a*(-a + s)
>>> three = chain("input", "width", "hidden", "output")
>>> print(network_map(three).assume(Whitened(), Aligned(), Balanced()).equations[0])
u**2*eta*(s - u**3) + u
"""

from typing import Any

import numpy as np
import sympy as sp

from ..errors import UnknownName
from ..symbols import ModeSymbol, velocity
from .assumptions import Invariant, Limit, named_symbol
from .derive import tidy
from .diagonal import diagonalise
from .noncommutative import Words, words
from .reduce import restrict

_SAXE = "Saxe, McClelland & Ganguli 2013, arXiv:1312.6120"
_ARORA = "Arora, Cohen & Hazan 2018, arXiv:1802.06509"


def Balanced(*unknowns: Any, into: Any = "u", radius: float = 1e-6) -> Invariant:
    """Equal strengths: every named unknown equals one new positive unknown; without names, all unknowns do.

    What a momentum method remembers of them is then equal too.

    Distance: the largest imbalance |W_{l+1}' W_{l+1} - W_l W_l'| over the largest |W_l|^2 if weights W1, W2, ... are
    given, else the spread of the named strengths over the largest.

    >>> from .derive import gradient_flow
    >>> a, b, s = sp.symbols("a b s", real=True)
    >>> flow = gradient_flow((s - a * b) ** 2 / 2, on=(a, b))
    >>> print(flow.assume(Balanced(a, b, into="u")).equations)
    (u*(s - u**2),)
    >>> round(Balanced(a, b).distance({"a": 1.0, "b": 0.9}), 12)
    0.1
    """

    def reduce(system):
        remembered = {velocity(unknown) for unknown in system.unknowns}
        old = [named_symbol(system, unknown) for unknown in unknowns]
        old = old or [unknown for unknown in system.unknowns if unknown not in remembered]
        kind = ModeSymbol if any(isinstance(symbol, ModeSymbol) for symbol in old) else sp.Symbol
        new = kind(into, positive=True) if isinstance(into, str) else kind(into.name, **into._assumptions_orig)
        ansatz = dict.fromkeys(old, new)
        ansatz |= {velocity(unknown): velocity(new) for unknown in old if velocity(unknown) in system.unknowns}
        return restrict(system, ansatz, assumption="balanced", reference=f"{_SAXE}; {_ARORA}")

    def measure(values):
        weights = _weights(values)
        if weights:
            return _imbalance(weights)
        named = [np.asarray(values[str(unknown)], float) for unknown in unknowns]
        return float(np.max(np.ptp(np.stack(named), axis=0)) / max(np.max(np.abs(named)), 1e-300))

    return Invariant(
        "balanced",
        "all layers carry equal strength",
        reduce,
        reference=f"{_SAXE}; {_ARORA}",
        radius=radius,
        measure=measure,
    )


def Whitened(radius: float = 1e-6) -> Invariant:
    """White inputs: Sigma_xx = identity on its numerical range.

    Distance: the largest |eigenvalue - 1| of Sigma_xx among those above 1e-10 of the largest.

    >>> round(Whitened().distance({"Sigma_xx": np.diag([1.0, 1.2, 0.0])}), 12)
    0.2
    """

    def reduce(system):
        matrices = {m for equation in system.equations for m in equation.atoms(sp.MatrixSymbol)}
        found = [m for m in matrices if m.name == "Sigma_xx"]
        if not found:
            raise UnknownName.among("Sigma_xx", [m.name for m in matrices], kind="covariance", where="whitened")
        images = {m: sp.Identity(m.shape[0]) for m in found}
        return restrict(system, images, assumption="whitened", reference=_SAXE)

    def measure(values):
        eigenvalues = np.linalg.eigvalsh(np.asarray(values["Sigma_xx"], float))
        return float(np.abs(eigenvalues[eigenvalues > 1e-10 * eigenvalues[-1]] - 1).max())

    return Invariant(
        "whitened",
        "the input covariance is the identity on its range",
        reduce,
        reference=_SAXE,
        radius=radius,
        measure=measure,
    )


def Aligned(radius: float = 1e-6, **names: str) -> Invariant:
    """Every matrix is diagonal in shared singular bases, W_l = R_l diag(u_l) R_{l-1}': modes decouple.

    The outer bases are the singular vectors of Sigma_yx = R_L diag(s) R_0', and a covariance that is not white must be
    diagonal in R_0 (its modes are called lambda). Tangency is verified by words and numerically in random bases.
    `names` renames modes, as in `Aligned(Sigma_yx="c")`. Unknowns become u1, u2, ... (real), data modes are positive.

    Distance: the largest off-diagonal part, relative, of W_1' W_1, W_L W_L' and W_L ... W_1 in the singular bases of
    Sigma_yx, and of the commutators of W_l W_l' with W_{l+1}' W_{l+1}.
    """
    return Invariant(
        "aligned",
        "weights are diagonal in the singular bases of the input-output correlation",
        lambda system: diagonalise(system, names, reference=_SAXE),
        reference=_SAXE,
        radius=radius,
        measure=lambda values: _misalignment(_weights(values), np.asarray(values["Sigma_yx"], float)),
    )


def LargeDepth(depth: Any, radius: float = 0.1) -> Limit:
    """Infinite depth at fixed depth x time.

    >>> from ..system import Flow
    >>> a, s, L = sp.symbols("a s L", positive=True)
    >>> print(Flow((a,), (L * a ** (2 - 2 / L) * (s - a),)).assume(LargeDepth(L)).equations[0])
    a**2*(-a + s)
    """
    return Limit(
        "large depth",
        "depth goes to infinity at fixed depth x time",
        variable=depth,
        clock=depth,
        reference=_SAXE,
        radius=radius,
    )


SMALLNESS = sp.Symbol("epsilon", positive=True)  # all weights are epsilon times what they were


def SmallInitialisation(radius: float = 0.1) -> Limit:
    """Weights so small that the error is still the target: the terms of lowest degree in the unknowns are kept.

    All unknowns are scaled by epsilon -> 0; the remainder is the next degree. Distance: what the weights could make of
    the target at t = 0, prod_l |W_l| |Sigma_xx| / |Sigma_yx| in operator norms, or the largest a/s of modes.

    >>> from ..system import Flow
    >>> a, s = sp.symbols("a s", positive=True)
    >>> flow = Flow((a,), (3 * a ** sp.Rational(4, 3) * (s - a),))
    >>> early = SmallInitialisation()
    >>> print(flow.assume(early).equations, early.remainder(flow))
    (3*a**(4/3)*s,) (-3*a**(7/3),)
    >>> from .network_flow import network_flow
    >>> from ..architecture.network import chain
    >>> print(network_flow(chain("input", "width", "output")).assume(early).equations[0])
    W2.T*Sigma_yx
    >>> early.distance({"a": np.array([0.01, 0.02]), "s": np.array([2.0, 1.0])})
    0.02
    """

    def measure(values):
        weights = _weights(values)
        if not weights:
            return float(np.max(np.abs(np.asarray(values["a"], float)) / np.asarray(values["s"], float)))
        strength = float(np.prod([np.linalg.norm(weight, 2) for weight in weights]))
        data = np.linalg.norm(np.asarray(values.get("Sigma_xx", np.eye(1)), float), 2)
        return strength * float(data / np.linalg.norm(np.asarray(values["Sigma_yx"], float), 2))

    return Limit(
        "small initialisation",
        "the weights are so small that the error is still the target",
        variable=SMALLNESS,
        point=0,
        reference=f"{_SAXE}; Jacot et al. 2021, arXiv:2106.15933",
        radius=radius,
        measure=measure,
        expand=_lowest_degrees,
    )


def _lowest_degrees(equation, system) -> tuple[Any, Any]:
    """The terms of lowest degree in the unknowns, and those of the next degree present."""
    parts: dict[Any, Any] = {}
    if isinstance(equation, sp.MatrixExpr):
        polynomial = words(equation).expanded()
        for word, value in polynomial.terms.items():
            degree = sum(letter in system.unknowns for letter, _ in word)
            parts.setdefault(degree, {})[word] = value
        shown = [Words(parts[degree], polynomial.shape).matrix() for degree in sorted(parts)[:2]]
        return shown[0], shown[1] if len(shown) > 1 else sp.ZeroMatrix(*polynomial.shape)
    scaled = sp.expand(equation.subs({u: SMALLNESS * u for u in system.unknowns}, simultaneous=True))
    for term in sp.Add.make_args(sp.expand(sp.powdenest(sp.expand_power_base(scaled, force=True), force=True))):
        coefficient, degree = term.as_coeff_exponent(SMALLNESS)
        parts[degree] = parts.get(degree, 0) + coefficient
    shown = [tidy(parts[degree]) for degree in sorted(parts)[:2]]
    return shown[0], shown[1] if len(shown) > 1 else sp.S.Zero


def _weights(values) -> list[np.ndarray]:
    names = [name for name in values if name[:1] == "W" and name[1:].isdigit()]
    return [np.asarray(values[name], float) for name in sorted(names, key=lambda name: int(name[1:]))]


def _imbalance(weights) -> float:
    scale = max(float(np.linalg.norm(w, 2)) ** 2 for w in weights)
    gaps = [float(np.linalg.norm(b.T @ b - a @ a.T, 2)) for a, b in zip(weights, weights[1:], strict=False)]
    return max(gaps, default=0.0) / scale


def _misalignment(weights, correlation) -> float:
    left, singular, right = np.linalg.svd(correlation)
    rank = int((singular > 1e-10 * singular[0]).sum())
    end_to_end = weights[0]
    for weight in weights[1:]:
        end_to_end = weight @ end_to_end
    last, first = left.T @ weights[-1], weights[0] @ right.T
    grams = [
        (last @ last.T)[:rank, :rank],
        (first.T @ first)[:rank, :rank],
        (left.T @ end_to_end @ right.T)[:rank, :rank],
    ]
    parts = [_relative(g - np.diag(np.diag(g)), np.linalg.norm(g)) for g in grams]
    for a, b in zip(weights, weights[1:], strict=False):
        below, above = a @ a.T, b.T @ b
        scale = np.linalg.norm(below) * np.linalg.norm(above)
        parts.append(_relative(below @ above - above @ below, scale))
    return max(parts)


def _relative(part, scale) -> float:
    return float(np.linalg.norm(part)) / max(float(scale), 1e-300)
