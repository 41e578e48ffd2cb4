"""Self-consistent equations solved in log space, all at once, with implicit derivatives.

The one idea: the unknown of a `FixedPoint` is positive, so the root is sought in x = log u, where it is as easy at
1e-30 as at 1, and every sample size is solved in the same array operation:

    F(e^x, theta) = 0,      d log u / d theta = -(dF/dtheta) / (dF/dx).
"""

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

import numpy as np
import sympy as sp

from ..theory.errors import BadData, DidNotConverge, NoClosedForm
from ..theory.symbols import ModeSymbol
from ..theory.system import FixedPoint
from .compile import compile

REACH = 690.0  # |log u| searched: u from 1e-299 to 1e299
TOLERANCE = 1e-13  # of log u, that is relative to u
BLOCK = 2_000_000  # array elements handled at once


def solve_log(
    residual: Callable[[np.ndarray], tuple[np.ndarray, np.ndarray]], shape: tuple[int, ...], start: Any = 1.0
) -> np.ndarray:
    """The positive roots u of a monotone residual, elementwise: brackets by doubling, then guarded Newton in log u.

    `residual(u)` returns F and dF/du, arrays of `shape`; F may rise or fall with u. Relative error 1e-13, or the
    rounding floor of F. Errors: `DidNotConverge` if F keeps one sign from 1e-299 to 1e299 or is not finite.

    >>> solve_log(lambda u: (u**2 - np.array([2.0, 1e-60]), 2 * u), (2,)) ** 2
    array([2.e+00, 1.e-60])
    """

    def sample(x):
        u = np.exp(x)
        with np.errstate(all="ignore"):  # infinities keep their sign; a slope that is not finite means bisection
            value, slope = residual(u)
            return np.broadcast_to(value, shape), np.broadcast_to(slope, shape) * u

    centre = np.broadcast_to(np.log(start), shape)
    low, high, falling = _bracket(lambda x: sample(x)[0], centre)
    x = (low + high) / 2
    before, moved = np.full(shape, np.inf), np.full(shape, np.inf)
    done = np.zeros(shape, bool)
    for _ in range(300):
        value, slope = sample(x)
        if not np.isfinite(value).all():
            raise DidNotConverge("the residual is not finite inside its bracket", remedy="check the parameters")
        right = (value > 0) == falling  # the root lies at larger x
        low, high = np.where(right, x, low), np.where(right, high, x)
        with np.errstate(divide="ignore", invalid="ignore"):
            newton = x - value / slope
        slow = np.abs(value) > 0.5 * before
        inside = (newton > low) & (newton < high)
        settled = (value == 0) | (np.abs(newton - x) <= TOLERANCE)
        # once steps are tiny and stop shrinking, what is left is rounding in the residual itself
        settled |= (np.abs(newton - x) < 1e-8) & (np.abs(newton - x) >= moved / 2)
        settled |= high - low <= TOLERANCE
        tiny = np.abs(newton - x) < 1e-6
        following = np.where(inside & (~slow | tiny), newton, (low + high) / 2)
        following = np.where(settled, np.where(np.isfinite(newton) & tiny, newton, x), following)
        moved, before = np.abs(newton - x), np.abs(value)
        x = np.where(done, x, following)
        done |= settled
        if done.all():
            return np.exp(x)
    raise DidNotConverge(
        f"{int((~done).sum())} of {done.size} roots still move by {np.max(moved[~done]):.1e} in log",
        remedy="check that the residual is monotone in its unknown",
    )


def _bracket(value, centre):
    """Doubling steps to both sides of the centre until the residual changes sign; says whether it falls."""
    width = 1.0
    low, high = centre - width, centre + width
    at_low, at_high = value(low), value(high)
    while (open_ := ~(np.sign(at_low) * np.sign(at_high) <= 0)).any():
        if width >= 2 * REACH:
            worst = np.flatnonzero(np.ravel(open_))[0]
            raise DidNotConverge(
                f"the residual keeps its sign: {np.ravel(at_low)[worst]:.3g} at 1e-299, "
                f"{np.ravel(at_high)[worst]:.3g} at 1e299 (entry {worst})",
                where="fixed point",
                remedy="there is no positive root; at zero ridge sample sizes must stay below the number of modes",
            )
        width *= 2
        low = np.where(open_, np.maximum(centre - width, -REACH), low)
        high = np.where(open_, np.minimum(centre + width, REACH), high)
        at_low, at_high = value(low), value(high)
    return low, high, at_low > at_high


def root(system: FixedPoint, values: Mapping[str, Any], start: Any = 1.0) -> dict[str, np.ndarray]:
    """The unknown of a one-unknown `FixedPoint`, for every row of its bound parameters at once.

    `values` binds parameters by name: mode symbols as (modes,), others as scalars or columns (T, 1). Returns the
    unknown as (T, 1), ready for observables. Reference: Bordelon, Canatar, Pehlevan 2020 (2002.02561) for the first
    such equation. Errors: `BadData` if a parameter is not bound; `DidNotConverge` if there is no positive root.

    >>> from ..theory.symbols import modes, over, positive
    >>> lam, kappa, n = modes("lambda"), positive("kappa"), positive("n")
    >>> system = FixedPoint((kappa,), (n - over(lam / (lam + kappa)),))
    >>> root(system, {"lambda": np.ones(4), "n": np.array([[1.0], [2.0]])})["kappa"].round(12)
    array([[3.],
           [1.]])
    """
    unknown, symbols, bound, rows = _bind(system, values)
    equation = system.equations[0]
    function = compile([equation, equation.diff(unknown)], [unknown, *symbols], backend="numpy")
    modes = max((array.shape[-1] for array in bound if array.ndim), default=1)
    step = max(1, BLOCK // modes)
    start = np.broadcast_to(np.asarray(start, float), (rows, 1))
    found = []
    for first in range(0, rows, step):
        block = slice(first, first + step)
        part = [array[block] if array.ndim == 2 and len(array) == rows > 1 else array for array in bound]
        shape = (min(step, rows - first), 1)
        found.append(solve_log(partial(_given, function, part), shape, start[block]))
    return {str(unknown): np.concatenate(found)}


def _given(function, bound, unknown):
    return function(unknown, *bound)


def _bind(system, values, numbers=np):
    if len(system.unknowns) != 1:
        raise BadData(f"{len(system.unknowns)} unknowns", where="fixed point", remedy="eliminate down to one unknown")
    unknown = system.unknowns[0]
    symbols = sorted(system.equations[0].free_symbols - {unknown}, key=str)
    missing = [str(symbol) for symbol in symbols if str(symbol) not in values]
    if missing:
        raise BadData(f"{', '.join(missing)} not bound", where="fixed point", remedy="give their values by name")
    bound, rows = [], 1
    for symbol in symbols:
        array = numbers.asarray(values[str(symbol)], float)
        if not isinstance(symbol, ModeSymbol) and array.ndim == 1:
            array = array[:, None]
        rows = max(rows, array.shape[0]) if array.ndim == 2 else rows
        bound.append(array)
    return unknown, symbols, bound, rows


def root_jax(system: FixedPoint, values: Mapping[str, Any]) -> dict[str, Any]:
    """The same root inside JAX: jit, vmap and grad go through, by implicit differentiation of the converged root.

    Call it in float64 (`solvers.precision.x64`); in float32 the root carries six digits.

    >>> import jax
    >>> from ..theory.symbols import positive
    >>> u, a = positive("u a")
    >>> system = FixedPoint((u,), (u**3 - a,))
    >>> with jax.enable_x64(True):
    ...     print(float(jax.grad(lambda a: root_jax(system, {"a": a})["u"].sum())(8.0)).__round__(9))
    0.083333333
    """
    import jax
    import jax.numpy as jnp
    from jax import lax

    unknown, symbols, bound, rows = _bind(system, values, jnp)
    function = compile(system.equations, [unknown, *symbols], backend="jax")
    dtype = jnp.result_type(float, *bound)
    reach, tolerance = (REACH, TOLERANCE) if dtype == jnp.float64 else (80.0, 1e-6)

    def residual(x):
        return jnp.broadcast_to(function(jnp.exp(x), *bound)[0], x.shape)

    def search(f, x):
        low, high = jnp.full_like(x, -reach), jnp.full_like(x, reach)
        falling = f(low) > f(high)

        def going(state):
            _, _, _, step, count = state
            return (count < 200) & (jnp.max(jnp.abs(step)) > tolerance)

        def advance(state):
            low, high, x, step, count = state
            value, slope = jax.jvp(f, (x,), (jnp.ones_like(x),))
            right = (value > 0) == falling
            low, high = jnp.where(right, x, low), jnp.where(right, high, x)
            newton = x - value / slope
            # halve the bracket unless Newton stays inside and its step shrinks
            good = (newton > low) & (newton < high) & (jnp.abs(newton - x) < 0.5 * jnp.abs(step))
            good |= jnp.abs(newton - x) < 1e3 * tolerance
            following = jnp.where(good, newton, (low + high) / 2)
            return low, high, following, following - x, count + 1

        start = (low, high, x, jnp.full_like(x, 2 * reach), 0)
        return lax.while_loop(going, advance, start)[2]

    x = lax.custom_root(residual, jnp.zeros((rows, 1), dtype), search, lambda g, y: y / g(jnp.ones_like(y)))
    return {str(unknown): jnp.exp(x)}


def largest_root(system: FixedPoint, values: Mapping[str, Any], abscissa: np.ndarray) -> dict[str, np.ndarray]:
    """{unknown: array (T, modes)}: the largest root that is not negative, the same at every point of the abscissa.

    Errors: `NoClosedForm` for an equation that is no polynomial, `BadData` for one without such a root.

    >>> from ..theory.symbols import positive
    >>> u, s, mu = positive("u s mu")
    >>> rest = FixedPoint((u,), (u * (u * (s - u**3) - mu),))  # three layers with weight decay
    >>> largest_root(rest, {"s": np.array([1.0, 0.1]), "mu": 0.1}, np.arange(1))["u"].round(4)
    array([[0.9642, 0.    ]])
    """
    (unknown,), (equation,) = system.unknowns, system.equations
    try:
        polynomial = sp.Poly(equation, unknown)
    except sp.PolynomialError:
        raise NoClosedForm(f"{equation} is no polynomial in {unknown}", where="largest root") from None
    parameters = [symbol for symbol in system.parameters if str(symbol) in values]
    numbers = compile(polynomial.all_coeffs(), parameters, backend="numpy")(
        *(np.asarray(values[str(p)], float) for p in parameters)
    )
    columns = np.stack(np.broadcast_arrays(*numbers), axis=-1)
    roots = np.array([_largest(column) for column in columns.reshape(-1, columns.shape[-1])])
    found = roots.reshape(columns.shape[:-1] or (1,))
    return {str(unknown): np.broadcast_to(found, (len(abscissa), *found.shape))}


def _largest(coefficients: np.ndarray) -> float:
    roots = np.roots(coefficients)
    # a pair of roots that has just turned complex has an imaginary part of the order of the root of the distance
    real = roots[(np.abs(roots.imag) <= 1e-7 * np.abs(roots)) & (roots.real >= 0)].real
    if not len(real):
        raise BadData("no root that is not negative", where="largest root", remedy="check the parameters")
    slope = np.polyder(coefficients)
    root = real.max()
    for _ in range(3):
        rate = np.polyval(slope, root)
        root = root - np.polyval(coefficients, root) / rate if rate != 0 else root
    return float(root)
