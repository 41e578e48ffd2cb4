"""Linear regression by gradient descent from n samples of D isotropic features: overfitting, early stopping, descent.

In the eigenbasis of the sample covariance, with eigenvalues l in units of the population's and gamma = D/n, a share
p = (1 - eta l)^k of the target is left after k steps, and label noise has grown by (1 - p)^2 / l:

    excess risk = 1/2 [ S int rho(l) p^2 dl + sigma2 gamma int rho(l) (1 - p)^2 / l dl ],

rho the Marchenko-Pastur density on (1 -+ sqrt gamma)^2, with its mass at 0 if D > n. S is the power of the target.

>>> print(sample_risk().equations[0])
p*(-l*eta + 1)
>>> edges()
((1 - sqrt(gamma))**2, (sqrt(gamma) + 1)**2)

Reference: Advani & Saxe 2017, arXiv:1710.03667; Marchenko & Pastur 1967.
"""

from functools import cache
from typing import Any

import numpy as np
import sympy as sp

from ..derivation.derive import gradient_descent
from ..errors import BadData
from ..symbols import modes, over, positive, scalars
from ..system import FixedPoint, Map
from ..trail import Trail

ADVANI = "Advani & Saxe 2017, arXiv:1710.03667"
PASTUR = "Marchenko & Pastur 1967"
_gamma, _S, _sigma2, _n = positive("gamma S sigma2 n")
_l, _rho = modes("l rho")
_p = modes("p", positive=None, real=True)
_NULL = 1e-12  # an eigenvalue of zero, by which noise can be divided


@cache
def spectral_equation() -> FixedPoint:
    """Self-consistency of the resolvent trace m = mean over features of 1/(l - z) at z < 0, for n samples.

    Leave one feature out: its entry of the resolvent is 1/(-z + what its samples keep of their variance 1 outside the
    span of the others), and the others take away the share gamma (1 + z m): m = 1/(-z + 1 - gamma (1 + z m)).

    >>> print(spectral_equation().equations[0])
    m - 1/(-gamma*(-m*zeta + 1) + zeta + 1)
    """
    m, zeta = positive("m zeta")  # zeta = -z
    others = 1 - _gamma * (1 - zeta * m)
    equation = m - 1 / (zeta + others)
    trail = Trail().then(
        "leave one feature out", equation, assumption="independent features of equal variance", reference=PASTUR
    )
    return FixedPoint((m,), (equation,), trail=trail)


@cache
def density() -> Any:
    """Density of the sample eigenvalues: the imaginary part of the solution of `spectral_equation` at z = l, over pi.

    >>> print(density())
    sqrt(-l**2 + 2*l*gamma + 2*l - gamma**2 + 2*gamma - 1)/(2*l*pi*gamma)
    """
    system = spectral_equation()
    m, zeta = system.unknowns[0], positive("zeta")
    polynomial = sp.Poly(sp.numer(sp.together(system.equations[0].subs(zeta, -_l))), m)
    leading, discriminant = polynomial.LC(), polynomial.discriminant()
    # complex roots m = (.. +- i sqrt(-discriminant)) / (2 leading)
    return sp.sqrt(sp.expand(-discriminant)) / sp.simplify(2 * sp.pi * sp.Abs(leading))


@cache
def edges() -> tuple[Any, Any]:
    """Smallest and largest eigenvalue in the limit: where the density vanishes."""
    root = positive("r")
    squared = sp.expand((density() * 2 * sp.pi * _gamma * _l) ** 2).subs(_gamma, root**2)
    low, high = sorted((sp.factor(edge) for edge in sp.solve(squared, _l)), key=lambda e: float(e.subs(root, 0.3)))
    tidy = {low: (1 - root) ** 2, high: (1 + root) ** 2}
    assert all(sp.expand(found - written) == 0 for found, written in tidy.items())
    return tuple(written.subs(root, sp.sqrt(_gamma)) for written in tidy.values())


@cache
def sample_risk() -> Map:
    """Gradient descent on the sample in its eigenbasis, with the excess risk over the population as observable."""
    e, xi = scalars("e xi")
    # one mode of the sample loss, written for the error e = w - w*; xi is the projection of the label noise
    system = gradient_descent(_l * e**2 / 2 - xi * e, on=e)
    left = sp.expand(system.equations[0])
    # the error is p times the start plus (1 - p) times its fixed point xi / l: both follow from one linear recursion
    factor, push = left.coeff(e, 1), left.coeff(e, 0)
    resting = sp.simplify(push / (1 - factor))
    solution = _p * e + (1 - _p) * resting
    assert sp.expand(factor * solution + push - solution.subs(_p, factor * _p)) == 0
    noise = sp.simplify(resting**2 / xi**2) * _l  # variance of xi: sigma2 l / n for each of D modes
    risk = (_S * over(_rho * _p**2) + _sigma2 * _gamma * over(_rho * (1 - _p) ** 2 * noise)) / 2
    trail = system.trail.then(
        "share p of the start that is left; the noise grows towards its fixed point",
        f"e = p e0 + (1 - p) {resting}",
        check="put into the recursion: residual 0",
        reference=ADVANI,
    ).then("average over noise, target and eigenvalues", f"risk = {risk}", assumption="isotropic features")
    return Map((_p,), (_p * factor,), observables={"excess_risk": risk}, trail=trail)


@cache
def population_risk() -> Map:
    """The rival without sampling: every eigenvalue is 1, noise counts as in classical statistics, sigma2 gamma."""
    system = sample_risk()
    p = scalars("p")
    factor = (system.equations[0] / _p).subs(_l, 1)
    risk = (_S * p**2 + _sigma2 * _gamma * (1 - p) ** 2) / 2
    trail = system.trail.then("infinitely many samples: every eigenvalue is 1", f"risk = {risk}")
    return Map((p,), (p * factor,), observables={"excess_risk": risk}, trail=trail)


@cache
def best_time() -> FixedPoint:
    """The time t = eta k at which gradient flow should stop: d(excess risk)/dt = 0 with p = exp(-l t).

    >>> best_time().unknowns
    (t,)
    """
    t = positive("t")
    left = sp.exp(-_l * t)
    risk = sample_risk().observables["excess_risk"]
    bias, variance = (term for term in sp.Add.make_args(sp.expand(risk)))
    slope = sum(term.subs(_p, left).diff(t) for term in (bias, variance))
    trail = sample_risk().trail.then("small steps: p = exp(-l t)", "d(risk)/dt = 0", reference=ADVANI)
    return FixedPoint((t,), (slope,), trail=trail)


def eigenvalue_modes(ratio: float, count: int = 2000, features: float = np.inf) -> dict[str, np.ndarray]:
    """Eigenvalues l and weights rho of the mean density as modes: Gauss-Chebyshev nodes between the edges.

    With more features than samples the last mode is the null space, l = 0 with weight 1 - 1/gamma. At D `features` the
    mean density of real Gaussian samples has a first correction, of no mass:

        [delta(l - low)/4 + delta(l - high)/4 - 1/(2 pi sqrt((high - l)(l - low)))] / D.

    Reference: Marchenko & Pastur 1967; Dumitriu & Edelman 2006, arXiv:math-ph/0510043.

    >>> found = eigenvalue_modes(0.5)
    >>> [round(float((found["rho"] * found["l"]**k).sum()), 9) for k in (0, 1, 2)]
    [1.0, 1.0, 1.5]
    >>> found = eigenvalue_modes(0.5, features=100)     # E tr S^2 / D = 1 + gamma + gamma/D
    >>> round(float((found["rho"] * found["l"]**2).sum()), 9)
    1.505
    """
    if not ratio > 0:
        raise BadData(f"{ratio:g} features per sample", where="eigenvalue_modes", remedy="give a ratio above 0")
    angles = np.arange(1, count + 1) * np.pi / (count + 1)
    eigenvalues = 1 + ratio + 2 * np.sqrt(ratio) * np.cos(angles)
    weights = 2 / (count + 1) * np.sin(angles) ** 2 / eigenvalues
    if np.isfinite(features):
        ends = np.maximum((1 + np.array([-1, 1]) * np.sqrt(ratio)) ** 2, _NULL)
        share = 1 / (count + 1) / features  # of a node, where the arcsine law is concerned
        eigenvalues = np.append(eigenvalues, ends)
        weights = np.append(weights - share / 2, [0.25 / features - share / 4] * 2)
    if ratio > 1:
        eigenvalues, weights = np.append(eigenvalues, _NULL), np.append(weights, 1 - 1 / ratio)
    return {"l": eigenvalues, "rho": weights}
