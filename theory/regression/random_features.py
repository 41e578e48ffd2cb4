r"""Kernel regression with k random features of the kernel: two coupled effective ridges, from one potential.

The kernel is the mean of random ones, (1/k) sum_j g_j(x) g_j(x'), and k of them are drawn. Averaging the log
determinant of their matrix over n samples, then over features, leaves a stationary value over kappa and gamma,

    F = sum multiplicity x log(1 + lambda/gamma) + k log(gamma/kappa) + k kappa/gamma - k
        + n log(n kappa) + ridge/kappa - n.

With z = sum L, q = sum L^2, L = lambda/(lambda + gamma), samples and features limit in the same way,

    n - z = ridge/kappa,    k - z = k kappa/gamma,    hence    (n - z)(k - z) gamma = k ridge.

k -> infinity is kernel regression (`effective_ridge`); n -> infinity is the distance from the span of the features.

>>> system = random_features()
>>> print(system.unknowns[0], [str(unknown) for unknown in system.eliminated])
gamma ['kappa']
"""

from functools import lru_cache
from typing import Any

import numpy as np
import sympy as sp

from ..derivation.assumptions import Closure
from ..errors import LearningMechanicsError
from ..symbols import over, positive
from ..system import FixedPoint
from ..trail import Equations, Trail
from .effective_ridge import BORDELON, HASTIE, count, effective_ridge, kappa, lam, merged, n, noise, power, ridge

MORE = "Simon, Karkada, Ghosh & Belkin 2023, arXiv:2311.14646"
ATANASOV = "Atanasov, Zavatone-Veth & Pehlevan 2024, arXiv:2405.00592"

gamma, k = positive("gamma k")
learnability = lam / (lam + gamma)


@lru_cache(maxsize=1)
def random_features() -> FixedPoint:
    """The effective ridge gamma of regression on k random features, with its errors as observables.

    Parameters are those of `effective_ridge` and the number of features `k`. Observables, squared errors without the
    factor 1/2 and including the noise: "test_error", "training_error", "variance_factor", "unlearned" (sum (1-L)^2 v),
    "out_of_span" (sum (1-L) v, what k features cannot express), "learnability" per mode, "degrees_of_freedom", and
    "ridge_of_features" kappa. The one equation left is 2z = n + k - sqrt((n - k)^2 + 4 k ridge/gamma): a falling and a
    rising function of gamma, so its root is unique.

    Reference: Simon, Karkada, Ghosh & Belkin 2023 (arXiv:2311.14646); Atanasov et al. 2024 (arXiv:2405.00592).
    """
    features = over(count * sp.log(1 + lam / gamma)) + k * sp.log(gamma / kappa) + k * kappa / gamma - k
    potential = features + n * sp.log(n * kappa) + ridge / kappa - n
    trail = Trail().then(
        "mean over features: a sample covariance of k samples has the potential of kernel regression",
        features,
        assumption=gaussian_features().name,
        reference=ATANASOV,
        check="not provable: measured",
    )
    trail = trail.then(
        "mean over samples: E log det(K + ridge) is the stationary value of the potential",
        potential,
        reference=BORDELON,
    )
    by_gamma = merged(-gamma * potential.diff(gamma))
    alone = sp.expand(-kappa * potential.diff(kappa))
    by_kappa = merged(alone + by_gamma)  # k kappa/gamma drops out
    for unknown, row in ((gamma, by_gamma), (kappa, alone)):
        stationary = Equations(((unknown, row),), "fixed point")
        trail = trail.then("stationarity: effective ridge", stationary, parents=(1,), reference=MORE)
    pair = Equations(((gamma, by_gamma), (kappa, by_kappa)), "fixed point")
    trail = trail.then("both, and their sum", pair, parents=(2, 3))

    z, q = over(count * learnability), over(count * learnability**2)
    residual = 2 * z - n - k + sp.sqrt((n - k) ** 2 + 4 * k * ridge / gamma)
    trail = trail.then(
        "kappa eliminated; of two roots z the one below n and k",
        Equations(((gamma, residual),), "fixed point"),
        check="solves both equations, symbolically",
        residual=float(_eliminated(by_gamma, by_kappa, z, residual)),
    )

    s = sp.Symbol("s", nonnegative=True)
    source = sp.log(1 + s * (over(power * gamma / (lam + gamma)) / kappa + noise / kappa))
    form = source.diff(s).subs(s, 0)
    trail = trail.then("source: E y'(K + ridge)^-1 y", form, parents=(0, 1), reference=ATANASOV)
    slopes = _responses(by_gamma, by_kappa)
    training = ridge**2 / n * -(form.diff(kappa) * slopes[kappa] + form.diff(gamma) * slopes[gamma])
    trail = trail.then("derivative by the ridge: training error", training, parents=(4, 6))
    test = training / (ridge * potential.diff(ridge) / n) ** 2

    unlearned, out_of_span = over((1 - learnability) ** 2 * power), over((1 - learnability) * power)
    shared = (n - z) * (k - z) + (n + k - 2 * z) * (z - q)  # the same for n and k exchanged
    regular = n * ((k - z) * unlearned + (z - q) * out_of_span + (k - q) * noise) / shared
    gap = _gap(test, regular)
    trail = trail.then(
        "leave one out: test error",
        regular,
        reference=HASTIE,
        check=f"both forms agree: {gap:.0e}",
        residual=gap,
    )
    limits = _limits(regular)
    trail = trail.then(
        "n -> infinity without ridge: distance from the span of k features; k -> infinity: kernel regression",
        out_of_span + noise,
        check=f"both limits of the test error, largest difference {limits:.0e}",
        residual=limits,
    )
    return FixedPoint(
        (gamma,),
        (residual,),
        observables={
            "test_error": regular,
            "training_error": ((n - z) / n) ** 2 * regular,
            "variance_factor": n * (k - q) / shared,
            "unlearned": unlearned,
            "out_of_span": out_of_span,
            "learnability": learnability,
            "degrees_of_freedom": z,
            "ridge_of_features": gamma * (k - z) / k,
        },
        eliminated={kappa: gamma * (k - z) / k},
        trail=trail,
    )


def gaussian_features(radius: float = 0.1) -> Closure:
    """Eigenfunction values and features act like independent Gaussians; the distance is that of the kernel itself.

    The label-free part that can be measured without drawing features: see `effective_ridge.gaussian_equivalence`.
    """
    from .effective_ridge import gaussian_equivalence

    whole = gaussian_equivalence(radius)
    return Closure(
        "Gaussian features",
        "eigenfunction values and random features act like independent Gaussians",
        reference=MORE,
        radius=radius,
        measure=whole.measure,
    )


def _eliminated(by_gamma: Any, by_kappa: Any, z: Any, residual: Any) -> Any:
    """What is left of both equations, exactly, at the root z of the residual with kappa = gamma (k - z)/k: zero."""
    free = sp.Symbol("z", positive=True)
    (root,) = sp.solve(residual.subs(z, free), free)
    (inner,) = sp.solve(by_gamma.subs(z, free), kappa)
    product = sp.expand(gamma * (n - free) * (k - free) - k * ridge)
    numerator = sp.numer(sp.together(by_kappa.subs(z, free).subs(kappa, inner)))
    found = sp.Abs(sp.expand(numerator + product)) + sp.Abs(sp.simplify(product.subs(free, root)))
    if found != 0:
        raise LearningMechanicsError(f"{found} is left of the coupled equations", where="random features")
    return found


def _responses(by_gamma: Any, by_kappa: Any) -> dict[Any, Any]:
    """d kappa / d ridge and d gamma / d ridge at fixed n and k, from both equations."""
    rows = [[equation.diff(unknown) for unknown in (kappa, gamma)] for equation in (by_gamma, by_kappa)]
    (a, b), (c, d) = rows
    right = [-equation.diff(ridge) for equation in (by_gamma, by_kappa)]
    determinant = a * d - b * c
    return {
        kappa: (right[0] * d - b * right[1]) / determinant,
        gamma: (a * right[1] - right[0] * c) / determinant,
    }


def _numbers(features: float, u: float = 0.3):
    """A function that evaluates an expression at a solution with five random modes."""
    rng = np.random.default_rng(0)
    eigenvalues, weights, counts = rng.exponential(size=(3, 5))
    values: dict[Any, float] = {gamma: u, n: 9.0, k: features, noise: 0.2}
    learned = float((counts * eigenvalues / (eigenvalues + u)).sum())
    values[kappa] = u * (1 - learned / features)
    values[ridge] = values[kappa] * (values[n] - learned)

    def number(expression: Any) -> float:
        def summed(summand):
            levels = zip(eigenvalues, weights, counts, strict=True)
            return sum(summand.subs({lam: e, power: w, count: c}) for e, w, c in levels)

        return float(expression.replace(over, summed).subs(values))

    return number


def _gap(first: Any, second: Any) -> float:
    """Relative difference of two forms on the solution, at random modes with 7 and with 12 features."""
    gap = max(abs(number(first) / number(second) - 1) for number in map(_numbers, (7.0, 12.0)))
    if gap > 1e-12:
        raise LearningMechanicsError(f"two forms of the test error differ by {gap:.1e}", where="random features")
    return gap


def _limits(regular: Any) -> float:
    """Largest relative difference from kernel regression at k = 1e15, and from the span's distance at n = 1e15."""
    many = _numbers(1e15)
    wide = abs(many(regular) / many(effective_ridge().observables["test_error"].subs(kappa, gamma)) - 1)
    few = _numbers(7.0)
    z = over(count * learnability)
    # features saturated, z = k, and ever more samples
    long = regular.subs(k, z).subs(n, sp.Integer(10) ** 15)
    span = abs(few(long) / few(over((1 - learnability) * power) + noise) - 1)
    if max(wide, span) > 1e-12:
        raise LearningMechanicsError(f"limits differ by {wide:.1e}, {span:.1e}", where="random features")
    return max(wide, span)
