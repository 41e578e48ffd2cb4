"""Power laws in time from power laws in the spectrum, by one integral.

    sum_k k^-p exp(-2 t k^-b)  ~  Gamma((p-1)/b) / b  (2 t)^(-(p-1)/b)       (p > 1, t -> oo)

The sum over modes becomes an integral over u = k^-b. A target power k^-a decays with p = a; what SGD noise put in at
earlier times decays like its kernel sum lambda^2 exp(-2 lambda t), p = 2 b; the slower of the two wins.
"""

from functools import cache
from typing import Any

import sympy as sp

from ..errors import OutsideDomain
from ..symbols import TIME, positive

_b, _rho, _u = positive("b rho u")


@cache
def _derived() -> tuple[Any, Any]:
    """Exponent and prefactor in p and b, with rho = (p - 1)/b > 0."""
    p = 1 + _rho * _b
    k = _u ** (-1 / _b)
    # dk = -(dk/du) du turns k in (0, oo) around; the integrand keeps its sign
    density = sp.powsimp(sp.expand_power_exp(k**-p * -k.diff(_u)), force=True)
    power = sp.simplify(_u * density.diff(_u) / density)  # density = u^power / b
    front = sp.simplify(density / _u**power)
    t = positive("t")
    integral = sp.integrate(_u ** (_rho - 1) * sp.exp(-2 * t * _u), (_u, 0, sp.oo), conds="none")
    assert sp.simplify(power - (_rho - 1)) == 0
    decay = sp.simplify(front * integral)
    exponent = sp.simplify(-t * decay.diff(t) / decay)
    return exponent, sp.simplify(decay * t**exponent)


def spectral_decay(power: Any, capacity: Any) -> tuple[Any, Any]:
    """Exponent and prefactor of sum_k k^-power exp(-2 t k^-capacity) ~ prefactor t^-exponent; power > 1, capacity > 0.

    >>> a, b = sp.symbols("a b", positive=True)
    >>> spectral_decay(a, b)[0]
    (a - 1)/b
    """
    power, capacity = sp.sympify(power), sp.sympify(capacity)
    if (power - 1).is_nonpositive or capacity.is_nonpositive:
        raise OutsideDomain(
            f"power {power}, capacity {capacity}: the sum over modes diverges or does not decay",
            where="spectral decay",
            remedy="the power must exceed 1 and the capacity 0",
        )
    exponent, prefactor = _derived()
    images = {_rho: (power - 1) / capacity, _b: capacity}
    return sp.simplify(exponent.subs(images)), sp.simplify(prefactor.subs(images, simultaneous=True))


def time_exponent(capacity: Any, target_exponent: Any) -> Any:
    """Asymptotic exponent of the risk of one-pass SGD in time, the slower of signal and noise: a, b > 1.

    Reference: Paquette, Paquette, Xiao, Pennington 2024, arXiv:2405.15074 (without the finite-width terms).

    >>> time_exponent(sp.Rational(7, 5), sp.Rational(13, 5))
    8/7
    """
    signal = spectral_decay(target_exponent, capacity)[0]
    noise = spectral_decay(2 * capacity, capacity)[0]
    return sp.Min(signal, noise)


def asymptotic_risk(capacity: Any, target_exponent: Any) -> Any:
    """1/2 sum_k k^-a exp(-2 t k^-b) at late times, unit prefactors: the excess risk of gradient flow.

    >>> asymptotic_risk(1, 2)
    1/(4*t)
    """
    exponent, prefactor = spectral_decay(target_exponent, capacity)
    return prefactor * TIME**-exponent / 2
