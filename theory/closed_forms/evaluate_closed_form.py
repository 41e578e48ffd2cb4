"""Numbers from closed forms, vectorised over times and modes, in forms that neither overflow nor cancel.

values (C,), times (T,)  ->  (T, C);   a growing exponential never appears where the solution stays finite.
"""

from collections.abc import Callable
from functools import lru_cache
from typing import Any

import mpmath
import numpy as np
import sympy as sp
from scipy.special import expit, exprel

from ..errors import BadData, NoClosedForm, OutsideDomain
from ..symbols import STEP, TIME
from ..system import FixedPoint, Map
from .elementary import elementary
from .implicit import invert, invert_power_time, power_time
from .quadrature import travel


def evaluate(form: Any, times: Any, values: dict[str, Any]) -> np.ndarray:
    """See `ClosedForm.evaluate`."""
    bound = _bind(form, values)
    if isinstance(form.system, FixedPoint):
        with np.errstate(all="ignore"):  # where the expression is no real number the result is nan
            return np.asarray(_number(form.expression, bound), dtype=float)
    if times is None:
        raise OutsideDomain(
            "no times given", where="closed form", remedy="pass times, in units of learning rate x steps"
        )
    times = np.asarray(times, dtype=float)
    if not (np.isfinite(times).all() and (times >= 0).all()):
        raise OutsideDomain(
            "times must be finite and not negative", where="closed form", remedy="measure from the start"
        )
    initial = bound.pop(form.initial)
    parts = {name: _number(part, bound) for name, part in form.parts.items() if name not in _FUNCTIONS}
    shape = np.broadcast_shapes(initial.shape, *(np.shape(part) for part in _leaves(tuple(parts.values()))))
    components = int(np.prod(shape, dtype=int))
    clock = times.reshape(-1, 1)

    def flat(value):
        return np.broadcast_to(np.asarray(value, dtype=float), shape).reshape(components)

    start = flat(initial)
    with np.errstate(over="ignore", under="ignore", divide="ignore", invalid="ignore"):
        if form.method == "partial fractions":
            result = _partial_fractions(form, clock[:, 0], start, parts, bound, flat)
        elif form.method in _METHODS:
            constant = {name for name in ("p", "q") if name in parts and form.parts[name].is_number}
            parts = {name: float(part) if name in constant else flat(part) for name, part in parts.items()}
            result = _of_each_power(form.method, clock, start, parts)
        else:
            running = STEP if isinstance(form.system, Map) else TIME
            columns = {symbol: flat(value) for symbol, value in bound.items()}
            result = _number(form.expression, {**columns, form.initial: start, running: clock})
    result = np.broadcast_to(result, (len(clock), components))
    if np.isnan(result).any():
        raise OutsideDomain(
            f"{int(np.isnan(result).any(axis=0).sum())} of {components} solutions are not real numbers",
            where="closed form",
            remedy="check: " + (", ".join(map(str, form.domain)) or "the parameters"),
        )
    return np.array(result).reshape(times.shape + shape)


def evaluate_mpmath(form: Any, time: Any, values: dict[str, Any], digits: int):
    """See `ClosedForm.evaluate_mpmath`."""
    names = _names(form)
    point = {}
    for name, value in values.items():
        if name in names:
            point[names[name]] = sp.Rational(str(value))
    with mpmath.workdps(digits + 20):
        if form.kind != "implicit":
            running = STEP if isinstance(form.system, Map) else TIME
            if time is not None:
                point[running] = sp.Rational(str(time))
            return mpmath.mpf(sp.N(form.expression.xreplace(point), digits + 10))
        if form.final is None:
            raise NoClosedForm("no known end point", where="closed form", remedy="use evaluate() in float64")
        law = sp.lambdify(form.unknown, form.time_law.xreplace(point), "mpmath")
        start, final = (mpmath.mpf(sp.N(end.xreplace(point), digits + 20)) for end in (form.initial, form.final))
        target, low, high = (
            mpmath.mpf(sp.N(sp.Rational(str(time)), digits + 20)),
            mpmath.mpf(0),
            mpmath.mpf(1),
        )

        def at(z):  # the distance still to go is (final - start) e^-z
            return final - (final - start) * mpmath.exp(-z)

        while mpmath.re(law(at(high))) < target:
            high *= 2
            mpmath.mp.dps = max(mpmath.mp.dps, digits + 20 + int(high / 2))  # final - u must stay resolved
        for _ in range(int(3.4 * (digits + 10)) + int(mpmath.log(high, 2))):
            middle = (low + high) / 2
            low, high = (middle, high) if mpmath.re(law(at(middle))) < target else (low, middle)
        return at((low + high) / 2)


def _of_each_power(name, clock, start, parts):
    """The numbers (T, C) of a method in blocks of times; columns with exponents of their own are grouped by them."""
    varying = [key for key in ("p", "q") if np.ndim(parts.get(key, 0.0))]
    if not varying:
        method, rows = _METHODS[name], max(1, _BLOCK // max(1, len(start)))
        blocks = [clock] if method is _stepped else [clock[k : k + rows] for k in range(0, len(clock), rows)]
        return np.concatenate([method(block, start, **parts) for block in blocks or [clock]])
    result = np.empty((len(clock), len(start)))
    for values in np.unique(np.stack([parts[key] for key in varying]), axis=1).T:
        here = np.all([parts[key] == value for key, value in zip(varying, values, strict=True)], axis=0)
        own = {key: part[here] if np.ndim(part) else part for key, part in parts.items()}
        own |= dict(zip(varying, values.tolist(), strict=True))
        result[:, here] = _of_each_power(name, clock, start[here], own)
    return result


# ---- one function for each method: times (T, 1), starts and parameters (C,) -> (T, C) ----


def _linear(t, start, A, B):
    growing = start + (A + B * start) * t * exprel(np.maximum(B * t, 0))
    at_rest = A + B * start == 0
    return np.where(at_rest, start, np.where(B * t > 0, growing, start * np.exp(B * t) + A * t * exprel(B * t)))


def _riccati(t, start, A, B, C):
    D = np.sqrt(np.asarray(B**2 - 4 * A * C, dtype=complex))
    stable, unstable = (-B - D) / (2 * C), (-B + D) / (2 * C)
    ratio = (start - stable) / (start - unstable) * np.exp(-D * t)
    apart = ((stable - ratio * unstable) / (1 - ratio)).real
    apart = np.where(start == unstable.real, start, apart)
    meeting = start + (A + B * start + C * start**2) * t / (1 - (B / 2 + C * start) * t)  # the limit D -> 0
    escaped = (D.real > 0) & (((start - unstable) * C).real > 0)  # beyond the unstable point: leaves in finite time
    gone = escaped & (ratio.real * (1 - ratio.real) <= 0) & (ratio.real <= 1) & (t > 0)
    return np.where(D == 0, meeting, np.where(gone, np.sign(C) * np.inf, apart))


def _single_power(t, start, p, A):
    grown = start ** (1 - p) + (1 - p) * A * t
    return np.where(grown > 0, np.abs(grown) ** (1 / (1 - p)), np.inf if p > 1 else 0.0)


def _logistic(t, start, p, q, A, B):
    bracket = np.exp(-q * A * t) + B * start**q * (q * t * exprel(-q * A * t))
    gone = np.inf if q > 0 else 0.0
    moving = start * np.where(bracket > 0, np.abs(bracket) ** (-1 / q), gone)
    return np.where((start == 0) & (q > 0), 0.0, moving)


def _linear_in_power(t, start, p, q, A, B):
    return (start**q * np.exp(-q * B * t) + A * q * t * exprel(-q * B * t)) ** (1 / q)


def _power_mode(t, start, p, q, A, B):
    if (A * B < 0).any() or (start < 0).any():
        raise OutsideDomain(
            "a mode has a negative start or a negative target", where="closed form", remedy="flip its sign, or drop it"
        )
    P = 1 + (p - 1) / q
    S, a = A / B, start**q
    moving = (S > 0) & (a > 0)
    if moving.all() and (a < S).all():  # nothing to sort out, and no copies
        return (S * _share(t, a, S, q * B * S**P, P)) ** (1 / q)
    result = np.broadcast_to(start, (len(t), len(start))).copy()
    for below, power, chosen in ((True, P, moving & (a < S)), (False, 1 - P, moving & (a > S))):
        if chosen.any():
            here, end = a[chosen], S[chosen]
            low, high = (here, end) if below else (end, here)
            share = _share(t, low, high, q * B[chosen] * end**P, power)
            result[:, chosen] = (end * share if below else end / share) ** (1 / q)
    aimless = (A == 0) & ((start > 0) | (p < 1))
    result[:, aimless] = _single_power(t, start[aimless], p + q, -B[aimless])
    return result


def _stepped(t, start, p, q, A, B, alpha, gamma):
    """In the logit w of the smaller of a / S and S / a, where the law gains rate (alpha/q log x + gamma log(1 - x))."""
    S, a = A / B, start**q
    if not ((S > 0) & (B > 0) & (a > 0)).all():
        raise OutsideDomain("a start or a target is not positive", where="closed form", remedy="drop that mode")
    P = 1 + (p - 1) / q
    result = np.broadcast_to(start, (len(t), len(start))).copy()
    for below, power in ((True, P), (False, 1 - P)):
        chosen = a < S if below else a > S
        if not chosen.any():
            continue
        here, end, rate = a[chosen], S[chosen], (q * B * S**P)[chosen]
        near, far = rate * gamma[chosen], rate * alpha[chosen] / q
        far = far if below else -(far + near)

        first = np.log(here / (end - here)) if below else np.log(end / (here - end))

        def law(w, c, power=power, near=near, far=far, first=first):
            x, y = expit(w), expit(-w)
            total = power_time(w, power) + far[c] * np.log(x) + near[c] * np.log(y)
            pace = 1 / (x ** (1 - power) + far[c] * y - near[c] * x)
            return np.where(w < first[c], -np.inf, total), pace  # behind the start it may turn back

        every = np.arange(len(here))
        if (law(np.linspace(first, 40.0, 400), every)[1] <= 0).any():
            raise OutsideDomain(
                "the correction in the learning rate is not small: the law turns back in time",
                where="closed form",
                remedy="lower the learning rate, or iterate the map",
            )
        share = expit(invert(law, law(first, every)[0] + rate * t))
        result[:, chosen] = (end * share if below else end / share) ** (1 / q)
    return result


def _share(t, low, high, rate, power):
    """x(t) of dx/dt = rate x^power (1 - x) from x = low / high."""
    return expit(invert_power_time(rate * t, np.log(low / (high - low)), power))


def _two_layer(t, start, alpha, beta, A, B):
    """Numerator and denominator in E = exp(-K t), sums of terms of one sign where start and target agree in sign."""
    flip = np.where(A * B < 0, -1.0, 1.0)
    S, u0, c2 = flip * A / B, flip * start, alpha / beta
    size = np.sqrt((S**2 + c2) * (u0**2 + c2))
    E, fallen = np.exp(-np.sqrt(beta * A**2 + alpha * B**2) * t), -np.expm1(-np.sqrt(beta * A**2 + alpha * B**2) * t)
    mixed = c2 + S * u0
    lead = np.where(mixed < 0, c2 * (S - u0) ** 2 / np.where(mixed < 0, size - mixed, 1.0), mixed + size)
    below = lead + 2 * S * (S - u0) * E + (mixed - size) * E**2
    same = c2 * (S * fallen**2 + 2 * u0 * E) + S * (S * u0 * (1 + E**2) + size * fallen * (1 + E))
    opposite = S * lead - 2 * c2 * (S - u0) * E + S * (mixed - size) * E**2
    above = np.where(u0 >= 0, same, opposite)
    still = (S == 0) & (c2 == 0)
    decaying = start / (1 + np.sqrt(beta) * B * np.abs(start) * t)
    return np.where(still, decaying, np.where(below == 0, 0.0, flip * above / np.where(below == 0, 1.0, below)))


def _recursion(k, start, A, B):
    final = np.where(B == 1, 0.0, A / np.where(B == 1, 1.0, 1 - B))
    moving = np.where(B == 1, start + A * k, final + (start - final) * np.power(B, k))
    return np.where(A + (B - 1) * start == 0, start, moving)


_METHODS: dict[str, Callable[..., Any]] = {
    "linear": _linear,
    "Riccati": _riccati,
    "power law": _single_power,
    "logistic": _logistic,
    "linear in a power": _linear_in_power,
    "Wright omega": _power_mode,
    "hypergeometric": _power_mode,
    "logarithms": _power_mode,
    "finite steps": _stepped,
    "two unbalanced layers": _two_layer,
    "linear recursion": _recursion,
}
_BLOCK = 1 << 15  # numbers handled at once, so that they stay in the processor's cache
_FUNCTIONS, _V = ("rational", "velocity"), sp.Symbol("v")  # parts that are functions of v


def _partial_fractions(form, times, start, parts, bound, flat):
    columns = {symbol: flat(value) for symbol, value in bound.items()}

    def stacked(coefficients):
        return np.stack([flat(coefficient) for coefficient in coefficients])

    def along(name):
        def function(v, c):
            return _number(form.parts[name], {symbol: value[c] for symbol, value in columns.items()} | {_V: v})

        return function

    return travel(
        times,
        start,
        int(form.parts["n"]),
        [stacked(factor) for factor in parts["factors"]],
        [stacked(wall) for wall in parts["walls"]],
        stacked(parts["top"]),
        stacked(parts["slope"]),
        along("rational"),
        along("velocity"),
    )


def _number(expression: Any, bound: dict[Any, Any]) -> Any:
    """The value of an expression, or nested tuples of values."""
    if isinstance(expression, sp.Tuple):
        return tuple(_number(part, bound) for part in expression)
    symbols = tuple(sorted(expression.free_symbols, key=str))
    return _compiled(expression, symbols)(*(bound[symbol] for symbol in symbols))


def _leaves(nested: Any) -> list:
    return [leaf for part in nested for leaf in _leaves(part)] if isinstance(nested, tuple) else [nested]


@lru_cache(maxsize=512)
def _compiled(expression: Any, symbols: tuple) -> Any:
    sums = {"over": lambda summand: np.sum(summand, axis=-1)}
    return sp.lambdify(symbols, elementary(expression), [sums, "scipy", "numpy"])


def _names(form: Any) -> dict[str, Any]:
    """The names under which values may be given."""
    symbols = set(form.system.equations[0].free_symbols) - {form.unknown, TIME, STEP}
    names = {symbol.name: symbol for symbol in symbols}
    if not isinstance(form.system, FixedPoint):
        names |= {form.initial.name: form.initial, form.unknown.name: form.initial}
    return names


def _bind(form: Any, values: dict[str, Any]) -> dict[Any, np.ndarray]:
    names = _names(form)
    if not isinstance(form.system, FixedPoint) and {form.initial.name, form.unknown.name} <= values.keys():
        pair = values[form.initial.name], values[form.unknown.name]
        if not np.array_equal(*pair):  # the law may mean a parameter of its own by this name
            raise BadData(
                f"two initial values, {form.unknown} and {form.initial}",
                where="closed form",
                remedy=f"give one of them; a parameter called {form.initial} needs another name",
            )
    bound = {names[name]: np.asarray(value, dtype=float) for name, value in values.items() if name in names}
    missing = set(names.values()) - set(bound)
    if missing:
        raise OutsideDomain(
            "no value for " + ", ".join(sorted(map(str, missing))), where="closed form", remedy="pass it by name"
        )
    return bound
