r"""Kernel regression on average over training sets: everything follows from one potential by differentiation.

Under Gaussian equivalence (eigenfunction values act like independent Gaussian features) the mean log determinant of
K + ridge I over n samples is the stationary value over kappa of

    F(kappa) = sum multiplicity x log(1 + lambda/kappa) + n log(n kappa) + ridge/kappa - n.

kappa is the effective ridge: modes with lambda >> kappa are learned, those with lambda << kappa are not. Sources in F
give quadratic forms of the targets, derivatives by the ridge give squared residuals, and leave-one-out turns training
errors into test errors.

>>> print(effective_ridge().equations[0])
-n + over(lambda*multiplicity/(lambda + kappa)) + ridge/kappa
"""

from functools import lru_cache
from typing import Any

import numpy as np
import sympy as sp

from ..derivation.assumptions import Closure
from ..errors import LearningMechanicsError
from ..symbols import modes, over, positive
from ..system import FixedPoint
from ..trail import Equations, Trail

BORDELON = "Bordelon, Canatar & Pehlevan 2020, arXiv:2002.02561"
SIMON = "Simon, Dickens, Karkada & DeWeese 2021, arXiv:2110.03922"
HASTIE = "Hastie, Montanari, Rosset & Tibshirani 2022, arXiv:1903.08560"

kappa, ridge, n, noise = positive("kappa ridge n noise")
lam, power, count = modes("lambda power multiplicity")
learnability = lam / (lam + kappa)


@lru_cache(maxsize=1)
def effective_ridge() -> FixedPoint:
    """The effective ridge kappa of kernel regression, with its errors as observables.

    Parameters: mode arrays `lambda` (eigenvalues of the kernel in the data distribution), `multiplicity` and `power`
    (squared target coefficients, summed over equal eigenvalues), `noise` (label variance), `ridge` (of K + ridge I),
    `n`. Observables, squared errors without the
    factor 1/2 and including the noise: "test_error", "training_error", "bias" (test error of the mean predictor),
    "variance_factor" (test_error / bias), "learnability" per mode, "degrees_of_freedom", "trace" = tr (K + ridge)^-1.

    Reference: Bordelon, Canatar & Pehlevan 2020 (arXiv:2002.02561); Simon et al. 2021 (arXiv:2110.03922).
    """
    trail = Trail()
    potential = over(count * sp.log(1 + lam / kappa)) + n * sp.log(n * kappa) + ridge / kappa - n
    trail = trail.then(
        "E log det(K + ridge) is the stationary value of the potential",
        potential,
        assumption=gaussian_equivalence().name,
        reference=BORDELON,
        check="not provable: measured",
    )
    residual = merged(-kappa * potential.diff(kappa))
    effective = Equations(((kappa, residual),), "fixed point")
    trail = trail.then("stationarity: effective ridge", effective, reference=SIMON)
    response = merged(residual.diff(ridge)) / merged(-residual.diff(kappa))  # d kappa / d ridge at fixed n
    trace = potential.diff(ridge)  # d/d ridge of log det; kappa is stationary

    # A source s y y' adds s v v' to the eigenvalues and s x noise to a feature of its own: by the determinant lemma
    s = sp.Symbol("s", nonnegative=True)
    source = sp.log(1 + s * (over(power / (lam + kappa)) + noise / kappa))
    form = source.diff(s).subs(s, 0)
    trail = trail.then("source: E y'(K + ridge)^-1 y", form, parents=(0,))
    # d/d ridge of y'Gy is -|Gy|^2, and residuals are ridge x Gy
    training = ridge**2 * merged(-form.diff(kappa)) * response / n
    trail = trail.then("derivative by the ridge: training error", training, parents=(1, 2))
    # leave one out, exactly: y_i - f_without_i(x_i) = (Gy)_i / G_ii, and G_ii concentrates at tr G / n
    test = training / (ridge * trace / n) ** 2
    bias = merged(-(kappa**2) * form.diff(kappa))
    # on the solution ridge = kappa (n - sum learnability): no ridge is left in the factor, so ridge -> 0 is regular
    factor = merged(sp.simplify(test / bias).subs(ridge, kappa * (n - over(count * learnability))))
    factor = n / merged(sp.simplify(n / factor))
    gap = _gap(test, factor * bias)
    trail = trail.then(
        "leave one out: test error",
        factor * bias,
        reference=HASTIE,
        check=f"both forms agree: {gap:.0e}",
        residual=gap,
    )
    return FixedPoint(
        (kappa,),
        (residual,),
        observables={
            "test_error": factor * bias,
            "training_error": (ridge / (n * kappa)) ** 2 * factor * bias,
            "bias": bias,
            "variance_factor": factor,
            "learnability": learnability,
            "degrees_of_freedom": over(count * learnability),
            "trace": trace,
        },
        trail=trail,
    )


def gaussian_equivalence(radius: float = 0.1) -> Closure:
    """Eigenfunction values act like independent Gaussians; the distance is the label-free part of that statement.

    It compares 1/kappa with the measured tr (K + ridge I)^-1 of a subset of n samples: relative difference of the two.
    Needs "subset_gram" (n, n), "lambda", "multiplicity" and "ridge". Features drawn as Gaussians have distance 0.
    """
    return Closure(
        "Gaussian equivalence",
        "eigenfunction values act like independent Gaussian features",
        reference=BORDELON,
        radius=radius,
        measure=_label_free,
    )


def _label_free(arrays: Any) -> float:
    if "subset_gram" not in arrays:
        return 0.0
    gram, eigenvalues, counts, delta = (
        np.asarray(arrays[name], float) for name in ("subset_gram", "lambda", "multiplicity", "ridge")
    )
    trace = float((1 / (np.linalg.eigvalsh(gram) + delta)).sum())
    # at the measured kappa = 1/trace the self-consistency must return the number of samples
    return abs(float((counts * eigenvalues / (eigenvalues + 1 / trace)).sum() + delta * trace) / len(gram) - 1)


def merged(expression: Any) -> Any:
    """Sums over modes collected into one, with scalar factors inside: 1/a over(x) + over(y) -> over(x/a + y).

    >>> merged(kappa * over(lam / kappa) - over(lam))
    0
    """
    expression = sp.expand(sp.sympify(expression).doit(), deep=False)
    inside, rest = sp.S.Zero, sp.S.Zero
    for term in sp.Add.make_args(expression):
        sums = [factor for factor in sp.Mul.make_args(term) if isinstance(factor, over)]
        if len(sums) == 1:
            inside += term / sums[0] * sums[0].args[0]
        else:
            rest += term
    inside, rest = sp.factor(sp.together(inside)), sp.simplify(rest)
    return rest if inside == 0 else rest + over(inside)


def _gap(first: Any, second: Any) -> float:
    """Relative difference of two forms on the solution of the fixed point, at random modes."""
    rng = np.random.default_rng(0)
    eigenvalues, weights, counts = rng.exponential(size=(3, 5))
    u = 0.3
    values = {kappa: u, n: 9.0, noise: 0.2}
    values[ridge] = u * (values[n] - float((counts * eigenvalues / (eigenvalues + u)).sum()))

    def number(expression):
        def summed(summand):
            levels = zip(eigenvalues, weights, counts, strict=True)
            return sum(summand.subs({lam: e, power: w, count: c}) for e, w, c in levels)

        return float(expression.replace(over, summed).subs(values))

    gap = abs(number(first) / number(second) - 1)
    if gap > 1e-12:
        raise LearningMechanicsError(f"two forms of the test error differ by {gap:.1e}", where="effective ridge")
    return gap
