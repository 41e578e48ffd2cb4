r"""Where signals settle as depth grows: fixed points, phases and depth scales.

    q* = Q(q*),     chi = dC'/dC at c = 1:  below 1 ordered, above 1 chaotic.

Away from chi = 1 the gap 1 - c (or |c - c*|) decays as exp(-l / xi), xi = -1 / ln(slope). At chi = 1 the next term of
the map decides: if x' = x - k x^p near 0, then x ~ ((p - 1) k l)^(-1/(p - 1)). Kinks have p = 3/2, smooth activations
p = 2; k and p are read from the map itself.

>>> from ..architecture.constructors import activation, dense, serial
>>> print(phase(serial(activation("relu"), dense(2**0.5))).correlation)  # 1 - c -> 9 pi^2 / (2 l^2)
44.413 l^-2

References: Poole et al. 2016 (arXiv:1606.05340); Schoenholz et al. 2017 (arXiv:1611.01232).
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from ..architecture.network import Network, require_network
from ..arguments import number
from ..errors import BadData, LearningMechanicsError, NoClosedForm, OutsideDomain
from .signal_propagation import SignalPropagation

SMALLEST, LARGEST = 1.23e-12, 1.23e12  # variances searched
FAR = 1e4  # a variance that stands for infinity where increments are read
POINTS = 97
SAME = 1e-9  # slopes this close to 1 are critical
EXACT = 1e-12


@dataclass(frozen=True)
class Decay:
    """How something behaves in depth l: `kind` "exponential" (exp(-l / scale)), "growth" (exp(l / scale)), "algebraic"
    (amplitude l^-power), "stretched" (exp(amplitude l^power)), "frozen" (a limit that depends on the input) or
    "constant".

    >>> print(Decay("exponential", scale=15.8))
    exp(-l / 15.8)
    """

    kind: str
    scale: float = np.inf
    amplitude: float = np.nan
    power: float = np.nan

    def __str__(self) -> str:
        if self.kind == "algebraic":
            size = "" if np.isnan(self.amplitude) else f"{self.amplitude:.5g} "
            return f"{size}l^{-self.power:.3g}"
        if self.kind == "stretched":
            return f"exp({self.amplitude:.4g} l^{self.power:.3g})"
        if self.kind == "exponential":
            return f"exp(-l / {self.scale:.4g})"
        return f"exp(+l / {self.scale:.4g})" if self.kind == "growth" else self.kind


@dataclass(frozen=True)
class FixedVariance:
    """A variance that a block keeps: q* = Q(q*), with the slope dQ/dq there."""

    value: float
    slope: float

    @property
    def stable(self) -> bool:
        return abs(self.slope) < 1


@dataclass(frozen=True)
class Phase:
    """What repeating a block does to a signal that starts with variance `start`.

    `name`         "ordered", "critical", "chaotic", "vanishing" or "exploding"
    `variance`     q*, 0 or inf; `neutral` says that every variance is kept
    `chi`          growth of squared gradients per block, backwards (at variance 1000 where q* is infinite)
    `fixed_correlation`  c* that two inputs approach (nan where it depends on them); where the variance grows as a power
                   of l it is read at a variance of at most 1e4, so that bounded activations are off by its inverse root
    `variance_decay`, `correlation`, `gradient`   behaviour in depth of |q - q*|, of 1 - c or |c - c*|, of gradients
    """

    name: str
    start: float
    variance: float
    neutral: bool
    chi: float
    variance_slope: float
    fixed_correlation: float
    variance_decay: Decay
    correlation: Decay
    gradient: Decay
    fixed_variances: tuple[FixedVariance, ...]

    def to_dict(self) -> dict:
        decays = {name: vars(getattr(self, name)) for name in ("variance_decay", "correlation", "gradient")}
        points = [{"value": p.value, "slope": p.slope, "stable": p.stable} for p in self.fixed_variances]
        return {**vars(self), **decays, "fixed_variances": points}

    def __str__(self) -> str:
        known = "as it starts" if self.neutral else f"{self.variance:.6g}"
        kept = ", ".join(f"{p.value:.4g} ({'stable' if p.stable else 'unstable'})" for p in self.fixed_variances)
        towards = "depends on the inputs" if np.isnan(self.fixed_correlation) else f"{self.fixed_correlation:.6g}"
        return "\n".join(
            (
                f"Signal propagation: {self.name}",
                f"  variance       q* = {known}, approached as {self.variance_decay}",
                f"  fixed points   {kept or 'none'}",
                f"  correlation    c* = {towards}, approached as {self.correlation}",
                f"  chi            {self.chi:.6f} (squared gradients, per block going back): {self.gradient}",
            )
        )


# ---- the variance ---------------------------------------------------------------------------------------------------


def fixed_variances(block: Network) -> tuple[FixedVariance, ...]:
    """All variances between 0 and 1e12 that a block keeps, ascending; none where every variance is kept.

    >>> from ..architecture.constructors import activation, dense, serial
    >>> [round(point.value, 5) for point in fixed_variances(serial(activation("tanh"), dense(1.5**0.5, 0.05**0.5)))]
    [0.41804]
    """
    signal = SignalPropagation(block)
    grid = np.geomspace(SMALLEST, LARGEST, POINTS)
    excess = _each(signal.variance, grid) / grid - 1
    if np.all(np.abs(excess) < EXACT):
        return ()
    found = []
    if _each(signal.variance, [0.0])[0] == 0:
        found.append(FixedVariance(0.0, float(signal.variance(SMALLEST) / SMALLEST)))
    for i in np.flatnonzero(np.sign(excess[:-1]) * np.sign(excess[1:]) <= 0):
        if abs(excess[i]) < EXACT and abs(excess[i + 1]) < EXACT:
            continue  # rounding around a neutral stretch is no crossing
        q = bracketed_root(
            lambda x: float(signal.variance(np.exp(x))) / np.exp(x) - 1, np.log(grid[i]), np.log(grid[i + 1])
        )
        q = float(np.exp(q))
        found.append(FixedVariance(q, float(signal.variance_slope(q))))
    return tuple(found)


def phase(block: Network, start: float = 1.0) -> Phase:
    """The phase of a repeated block, for inputs whose variance starts at `start`.

    Errors: `NoClosedForm` for blocks that no signal can be followed through; `BadData` for a variance that is not > 0.
    Reference: Schoenholz et al. 2017 (arXiv:1611.01232).

    >>> from ..architecture.constructors import activation, dense, serial
    >>> print(phase(serial(activation("erf"), dense(1.0, 0.3))).name)
    ordered
    """
    require_network(block, "phase")
    start = number(start, "a variance", "phase", above=True)
    signal = SignalPropagation(block)
    points = fixed_variances(block)
    here = float(_each(signal.variance, np.array([start]))[0])
    neutral = not points and abs(here / start - 1) < EXACT
    q = start if neutral else _attractor(points, start, here)
    inside = min(max(q, SMALLEST), LARGEST)
    try:
        chi = float(signal.gradient(FAR / 10 if np.isinf(q) else inside))
    except NoClosedForm:
        chi = np.inf  # gradients do not exist, and nearby inputs part at once
    slope = 1.0 if neutral else _slope_at(signal, q, points, inside)
    variance_decay = Decay("constant") if neutral else _approach(signal, q, slope)
    gradient = Decay("constant") if abs(chi - 1) < SAME else _rate(chi)
    if np.isinf(q) and variance_decay.kind == "algebraic":
        fixed, correlation, gradient = _while_the_variance_grows(signal, variance_decay)
    else:
        after = float(signal.variance(inside))
        fixed, correlation = _correlations(signal, q, inside, chi * inside / after if after else 0.0, variance_decay)
    name = _name(q, chi, slope)
    return Phase(name, start, q, neutral, chi, slope, fixed, variance_decay, correlation, gradient, points)


def _attractor(points, start, here) -> float:
    """The fixed point on the side that the first step goes to; 0 or infinity where there is none."""
    above = [p.value for p in points if p.value > start]
    below = [p.value for p in points if p.value < start]
    if abs(here / start - 1) < EXACT:
        return start
    if here > start:
        return min(above) if above else np.inf
    return max(below) if below else 0.0


def _slope_at(signal, q, points, inside) -> float:
    for point in points:
        if point.value == q:
            return point.slope
    if SMALLEST < q < LARGEST:
        return float(signal.variance_slope(q))
    return float(signal.variance(inside) / inside)


def _approach(signal, q, slope) -> Decay:
    if abs(slope) < 1 - SAME:
        return Decay("exponential", scale=_length(slope))
    if np.isinf(q):
        power, factor = leading_term(lambda x: float(signal.variance(x)) - x, FAR)
        # q' = q + k q^s grows as ((1 - s) k l)^(1 / (1 - s))
        if power < 1 - 1e-3:
            grown = 1 / (1 - power)
            return Decay("algebraic", amplitude=float(((1 - power) * factor) ** grown), power=-grown)
        return Decay("growth", scale=_length(slope))
    if q == 0:
        return _algebraic(lambda x: x - float(signal.variance(x)), 0.01)
    return _algebraic(lambda x: slope * x - (float(signal.variance(q + x)) - q), 0.03 * q)


# ---- the correlation ------------------------------------------------------------------------------------------------


def _correlations(signal, q, inside, ratio, variance_decay) -> tuple[float, Decay]:
    """c* and how it is approached; `ratio` is the slope of the correlation map at c = 1."""
    if q == 0 and variance_decay.kind == "algebraic":
        return _while_the_variance_dies(signal, variance_decay)
    if ratio < 1 - SAME:
        return 1.0, Decay("exponential", scale=_length(ratio))
    if ratio <= 1 + SAME:
        # corrections below rounding: the map is the identity, as for linear activations
        gaps = np.array([1e-3, 1e-2, 1e-1])
        lost = gaps - _each(lambda g: signal.gap(g, inside), gaps)
        if np.all(np.abs(lost) < 1e-13) or np.isinf(q) and np.all(np.abs(lost / gaps) < 1e-5):
            return np.nan, Decay("frozen")
        slope = 1.0 if abs(ratio - 1) < 1e-11 else ratio
        return 1.0, _algebraic(lambda gap: slope * gap - float(signal.gap(gap, inside)), 0.03)
    grid = np.concatenate([np.geomspace(1e-9, 0.1, 60), np.linspace(0.1, 2.0, 60)[1:]])
    excess = np.array([float(signal.gap(gap, inside)) / gap - 1 for gap in grid])
    crossing = np.flatnonzero((excess[:-1] > 0) & (excess[1:] <= 0))
    if not len(crossing):
        return -1.0, Decay("growth", scale=1 / np.log(ratio))
    i = crossing[0]
    gap = bracketed_root(lambda x: float(signal.gap(x, inside)) / x - 1, grid[i], grid[i + 1])
    h = 1e-5 * min(gap, 2 - gap)  # a difference, not chi: it exists for steps too
    slope = float(signal.gap(gap + h, inside) - signal.gap(gap - h, inside)) / (2 * h)
    decay = Decay("exponential", scale=_length(slope)) if abs(slope) < 1 - SAME else Decay("constant")
    return 1 - gap, decay


def _while_the_variance_dies(signal, variance_decay) -> tuple[float, Decay]:
    """q ~ a / l^s while the gap shrinks by the share B q^r per block: the sum converges if r s > 1."""
    at = 0.3

    def share(q):
        return 1 - float(signal.gap(at, q)) / at

    try:
        power, _ = leading_term(share, 1e-3)
    except OutsideDomain:
        return np.nan, Decay("frozen")  # no change at all
    if power * variance_decay.power > 1 + 1e-3:
        return np.nan, Decay("frozen")
    return 1.0, Decay("algebraic")


def _while_the_variance_grows(signal, variance_decay) -> tuple[float, Decay, Decay]:
    """q grows as a power of l by increments K: C grows by K g(c), so c' - c = (g(c) - c) K / q with K / q ~ s / l."""

    far = _furthest(signal)

    def pull(gap):
        after = signal.pair(far, far, gap, want_slope=False)
        return float((after.gap - gap) * far / (after.first - far))  # c - g(c) in terms of gaps

    grid = np.concatenate([np.geomspace(1e-6, 0.1, 40), np.linspace(0.1, 2.0, 40)[1:]])
    values = np.array([pull(gap) for gap in grid])
    crossing = np.flatnonzero((values[:-1] > 0) & (values[1:] <= 0))
    grown = -variance_decay.power
    if len(crossing):
        gap = bracketed_root(pull, grid[crossing[0]], grid[crossing[0] + 1])
        h = 1e-4 * gap
        rate = -(pull(gap + h) - pull(gap - h)) / (2 * h) * grown
        fixed, correlation = 1 - gap, Decay("algebraic", power=float(rate))
    else:
        fixed, correlation = 1.0, Decay("algebraic")
    power, factor = leading_term(lambda q: float(signal.gradient(q)) - 1, 2.0)
    # chi - 1 = k q^p with q = a l^s: its sum is k a^p l^(1 + p s) / (1 + p s)
    raised = 1 + power * grown
    strength = factor * variance_decay.amplitude**power
    if raised > 1e-3:
        return fixed, correlation, Decay("stretched", amplitude=float(strength / raised), power=float(raised))
    return fixed, correlation, Decay("algebraic", power=-float(strength)) if raised > -1e-3 else Decay("constant")


def _furthest(signal: SignalPropagation) -> float:
    """The largest variance, up to `FAR`, at which quadrature resolves the activations."""
    for far in (FAR, FAR / 10):
        try:
            signal.gradient(far, 0.5)
            return far
        except BadData:
            continue
    return FAR / 100


def _algebraic(lost: Callable[[float], float], scale: float) -> Decay:
    """Of x' = x - lost(x) with lost ~ k x^p: x ~ ((p - 1) k l)^(-1/(p - 1))."""
    power, factor = leading_term(lost, scale)
    if not (factor > 0 and power > 1):
        return Decay("constant")
    falls = 1 / (power - 1)
    return Decay("algebraic", amplitude=float(((power - 1) * factor) ** -falls), power=float(falls))


def leading_term(function: Callable[[float], float], scale: float) -> tuple[float, float]:
    """(p, k) of k x^p, from a function near `scale` by extrapolation towards 0 (or to infinity, for scale > 1).

    The exponent is taken to be a multiple of 1/2 if it is within 0.02 of one. Errors: `OutsideDomain` where the
    function is rounding.

    >>> leading_term(lambda x: 3 * x**1.5 + x**2, 1e-6)[0]
    1.5
    """
    factor = 4.0 if scale <= 1 else 0.25
    x = scale / factor ** np.arange(5.0)
    values = np.array([quietly(lambda point=point: function(point)) for point in x])
    if not np.isfinite(values).all() or np.any(np.abs(values) < 1e-15 * np.minimum(x, 1.0)):
        raise OutsideDomain("no leading term above rounding", where="expansion of a map")
    local = np.log(np.abs(values[:-1] / values[1:])) / np.log(factor)
    power = float(local[-1])
    near = round(2 * power) / 2
    power = near if abs(power - near) < 0.02 else power
    # corrections are x^(1/2) or x: Richardson in both
    ratio = values / x**power
    for gain in (2.0, 4.0, 8.0):
        ratio = (gain * ratio[1:] - ratio[:-1]) / (gain - 1)
    return power, float(ratio[-1])


# ---- small parts ----------------------------------------------------------------------------------------------------


def _name(q, chi, slope) -> str:
    if np.isinf(q):
        return "exploding"
    if q == 0 and slope < 1 - SAME:
        return "vanishing"
    if abs(chi - 1) < SAME:
        return "critical"
    return "ordered" if chi < 1 else "chaotic"


def _rate(factor: float) -> Decay:
    return Decay("exponential" if factor < 1 else "growth", scale=_length(factor))


def _length(factor: float) -> float:
    return float("inf") if factor == 1 else float(1 / abs(np.log(abs(factor)))) if factor else 0.0


def _each(function, points) -> np.ndarray:
    """Values at every point; infinite where the numbers overflow."""
    found = []
    for point in points:
        try:
            value = quietly(lambda point=point: float(function(point)))
        except LearningMechanicsError:
            value = np.inf
        found.append(value if np.isfinite(value) else np.inf)
    return np.array(found)


def quietly(function):
    """The value of a function, without warnings about overflow: callers look for undefined numbers themselves."""
    with np.errstate(over="ignore", invalid="ignore", divide="ignore"):
        return function()


def bracketed_root(function: Callable[[float], Any], low: float, high: float) -> float:
    """A root of a function between two points where it has opposite signs, to relative rounding error."""
    from scipy.optimize import brentq

    return float(brentq(function, low, high, xtol=1e-15, rtol=1e-14, maxiter=200))
