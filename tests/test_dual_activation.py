"""Dual activations derived symbolically, against quadrature in two dimensions and in 30 digits."""

import itertools
import math

import mpmath
import numpy as np
import pytest
import sympy as sp

from learning_mechanics.theory.architecture.activations import array_formula, formula
from learning_mechanics.theory.duals import dual_activation, gaussian_integrals
from learning_mechanics.theory.duals.dual_activation import COSINE, SINE, THETA, A, B, C, angular, dual
from learning_mechanics.theory.errors import NoClosedForm

z = sp.Symbol("z", real=True)
NAMES = [
    "identity",
    "relu",
    "leaky_relu(0.1)",
    "leaky_relu(-3/2)",
    "abs",
    "sign",
    "step",
    *(f"rectified_power({p})" for p in (0, 1, 2, 3, 6)),
    "square",
    "power(3)",
    "power(6)",
    "polynomial(1,-2,0,1/3)",
    "hermite(3)",
    "hermite(6)",
    "erf",
    "normal_cdf",
    "gelu",
    "sin",
    "cos",
    "exp",
    "gaussian",
]
OWN = [
    sp.sin(2 * z) + z,
    sp.erf(z / 3),
    z * sp.exp(-(z**2)),
    sp.Max(z, 0) + sp.exp(-(z**2)),
    sp.Max(z, 0) * sp.exp(-(z**2)),
    sp.sin(z + 1) ** 2,
    sp.exp(z) * sp.sin(z),
    sp.erf(z) + sp.erf(2 * z) / 2,
    sp.Max(z, 0) + sp.sin(z),
    sp.Piecewise((z**2, z > 0), (-z / 2, True)),
]
UNKNOWN = ["tanh", "sigmoid", "softplus", np.tanh, sp.Lambda(z, sp.Max(z, -1)), sp.Lambda(z, sp.exp(z**2))]
FUNCTIONS = [*NAMES, *(sp.Lambda(z, expression) for expression in OWN)]
JUMPS = ("sign", "step", "rectified_power(0)")
CASES = [(1.0, 1.0, 0.3), (1.5, 0.5, -0.6), (0.01, 2.0, 0.95), (3.0, 0.2, 0.0)]


HYPERBOLIC = {
    "damped_sinh": lambda x, y, cosine: mpmath.exp(x - y) * mpmath.sinh(y * cosine),
    "damped_cosh": lambda x, y, cosine: mpmath.exp(x - y) * mpmath.cosh(y * cosine),
}


def value_at(expression, a, b, rho):
    a, b, rho = (sp.Rational(x) for x in (a, b, rho))
    return float(expression.subs({A: a, B: b, C: sp.sqrt(a * b) * rho}).evalf(30))


def pieces(edges, count=60):
    """Gauss-Legendre nodes and weights on consecutive intervals; edges (..., k) may vary."""
    nodes, weights = np.polynomial.legendre.leggauss(count)
    low, width = edges[..., :-1, None], np.diff(edges, axis=-1)[..., None]
    shape = (*edges.shape[:-1], -1)
    return (low + width * (nodes + 1) / 2).reshape(shape), (width * weights / 2).reshape(shape)


def quadrature(f, g, a, b, rho, reach=12.0):
    """E f(u) g(v) with the plane cut along u = 0 and v = 0: the density times smooth functions on every part."""
    z1, w1 = pieces(np.array([-reach, -4, 0.0, 4, reach]))
    s = math.sqrt(1 - rho**2)
    cut = np.clip(-rho * z1 / s, -reach, reach)
    ends = [np.full_like(cut, -reach), (cut - reach) / 2, cut, (cut + reach) / 2, np.full_like(cut, reach)]
    edges = np.stack(ends, axis=-1)
    z2, w2 = pieces(edges)
    inner = (w2 * g(math.sqrt(b) * (rho * z1[:, None] + s * z2)) * np.exp(-(z2**2) / 2)).sum(1)
    return float((w1 * f(math.sqrt(a) * z1) * np.exp(-(z1**2) / 2)) @ inner / (2 * np.pi))


@pytest.mark.short
@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("activation", FUNCTIONS, ids=str)
def test_closed_forms_equal_quadrature(activation, case):
    law, f = dual(activation), array_formula(activation)
    expected = quadrature(f, f, *case)
    size = math.sqrt(quadrature(f, f, case[0], case[0], 1 - 1e-9) * quadrature(f, f, case[1], case[1], 1 - 1e-9))
    assert abs(value_at(law.value, *case) - expected) < 1e-12 * size


@pytest.mark.short
@pytest.mark.parametrize("activation", [f for f in FUNCTIONS if f not in JUMPS], ids=str)
def test_slopes_equal_quadrature_of_the_derivative(activation):
    """Price's theorem by an independent route: f' by complex steps on either side of zero, then quadrature."""
    law, (variable,), body = dual(activation), formula(activation).signature, formula(activation).expr
    p = sp.Symbol("p", positive=True)
    sides = (sp.piecewise_fold(body.subs(variable, side)).doit() for side in (p, -p))
    right, left = (sp.lambdify(p, side, ["scipy", "numpy"]) for side in sides)

    def slope(x):
        x = np.asarray(x, float)
        step = np.abs(x) + 1e-30j
        both = [np.imag(np.broadcast_to(side(step), x.shape)) / 1e-30 for side in (right, left)]
        return np.where(x > 0, both[0], -both[1])

    a, b, rho = 1.5, 0.5, -0.6
    size = max(1.0, abs(quadrature(slope, slope, a, a, 0.9)))
    assert abs(value_at(law.slope, a, b, rho) - quadrature(slope, slope, a, b, rho)) < 1e-11 * size


def precise_rule(*edges):
    """Gauss-Legendre nodes and weights, 24 in every interval, in the working precision."""
    nodes = mpmath.calculus.quadrature.GaussLegendre(mpmath.mp).calc_nodes(4, 100)
    for low, high in itertools.pairwise(edges):
        yield from ((low + (high - low) * (x + 1) / 2, w * (high - low) / 2) for x, w in nodes)


@pytest.mark.short
@pytest.mark.parametrize("activation", ["rectified_power(3)"])
def test_closed_forms_in_many_digits(activation):
    f = sp.lambdify(formula(activation).signature, formula(activation).expr, "mpmath")
    a, b, rho = sp.Rational(6, 5), sp.Rational(3, 4), sp.Rational(3, 5)  # the sine is 4/5
    found = dual(activation).value.subs({A: a, B: b, C: sp.sqrt(a * b) * rho}).evalf(30)
    with mpmath.workdps(25):
        root_a, root_b = (mpmath.sqrt(mpmath.mpf(x.p) / x.q) for x in (a, b))
        total = mpmath.mpf(0)
        for x, w in precise_rule(-9, -4, 0, 4, 9):
            cut = -3 * x / 4
            inner = mpmath.fsum(
                v * f(root_b * (3 * x + 4 * y) / 5) * mpmath.exp(-(y**2) / 2)
                for y, v in precise_rule(*sorted((-10, -4, 4, 10, cut)))
            )
            total += w * f(root_a * x) * mpmath.exp(-(x**2) / 2) * inner
        expected = sp.Float(mpmath.nstr(total / (2 * mpmath.pi), 25), 25)
    assert abs(expected - found) < 1e-14 * abs(found)


@pytest.mark.short
@pytest.mark.parametrize("activation", FUNCTIONS, ids=str)
def test_coincident_and_opposite_inputs(activation):
    """E f(x) f(+-y) of one Gaussian variable, in 25 digits, at small and large variances."""
    f = formula(activation)
    body = sp.lambdify(f.signature, f.expr.rewrite(sp.Piecewise), "mpmath")
    value = sp.lambdify((A, B, COSINE, SINE, THETA), angular(dual(activation).value), [HYPERBOLIC, "mpmath"])
    with mpmath.workdps(25):
        rule = [
            (x, w * mpmath.exp(-(x**2) / 2) / mpmath.sqrt(2 * mpmath.pi))
            for x, w in precise_rule(-14, -9, -6, -3, -1, -0.2, 0, 0.2, 1, 3, 6, 9, 14)
        ]
        for a, b, sign in ((2, 2, -1), (1e-4, 1e-4, 1), (0.5, 9, 1)):
            u, v = ([body(s * mpmath.sqrt(q) * x) for x, _ in rule] for q, s in ((a, 1), (b, sign)))
            expected, *sizes = (
                mpmath.fsum(w * p * q for (_, w), p, q in zip(rule, *two, strict=True))
                for two in ((u, v), (u, u), (v, v))
            )
            theta = mpmath.pi if sign < 0 else mpmath.mpf(0)
            found = value(mpmath.mpf(a), mpmath.mpf(b), mpmath.mpf(sign), mpmath.mpf("1e-40"), theta)
            assert abs(found - expected) < 1e-12 * mpmath.sqrt(sizes[0] * sizes[1])


@pytest.mark.instant
def test_well_known_duals():
    """Cho & Saul 2009 (arc-cosine kernels) and Williams 1998 (error functions), by hand."""
    root = sp.sqrt(A * B)
    theta = sp.acos(C / root)
    known = {
        "relu": root / (2 * sp.pi) * (sp.sin(theta) + (sp.pi - theta) * sp.cos(theta)),
        "step": (sp.pi - theta) / (2 * sp.pi),
        "sign": 2 / sp.pi * sp.asin(C / root),
        "erf": 2 / sp.pi * sp.asin(2 * C / sp.sqrt((1 + 2 * A) * (1 + 2 * B))),
        "sin": sp.exp(-(A + B) / 2) * sp.sinh(C),
        "cos": sp.exp(-(A + B) / 2) * sp.cosh(C),
        "exp": sp.exp((A + B) / 2 + C),
        "gaussian": 1 / sp.sqrt((1 + 2 * A) * (1 + 2 * B) - 4 * C**2),
        "square": A * B + 2 * C**2,
        "power(3)": 9 * A * B * C + 6 * C**3,
    }
    for name, expected in known.items():
        for place in ((1, 1, sp.Rational(1, 3)), (sp.Rational(3, 2), sp.Rational(1, 2), -sp.Rational(1, 4))):
            here = dict(zip((A, B, C), place, strict=True))
            assert abs((dual(name).value - expected).subs(here).evalf(40)) < 1e-30, name
    assert [dual(name).degree for name in ("relu", "sign", "rectified_power(4)", "erf")] == [1, 0, 4, None]
    assert [dual(name).homogeneous for name in ("leaky_relu", "identity", "square")] == [True, True, False]


@pytest.mark.instant
def test_hermite_polynomials_are_orthogonal_at_unit_variance():
    for k in range(7):
        assert sp.expand(dual(f"hermite({k})").value.subs({A: 1, B: 1}) - math.factorial(k) * C**k) == 0


@pytest.mark.instant
@pytest.mark.parametrize(
    "activation",
    ["tanh", "sigmoid", "softplus", np.tanh, sp.Lambda(z, sp.Max(z, -1)), sp.Lambda(z, sp.exp(z**2))],
    ids=str,
)
def test_what_has_no_closed_form_is_refused_by_name(activation):
    with pytest.raises(NoClosedForm, match="dual activation"):
        dual(activation)


@pytest.mark.instant
def test_a_wrong_antiderivative_is_found(monkeypatch):
    """Planted: integration by parts with a wrong sign."""
    original = gaussian_integrals._by_parts.__wrapped__

    def wrong(n, m, k, square):
        return -original(n, m, k, square) if (n, m) == (0, -1) else original(n, m, k, square)

    gaussian_integrals._pair.cache_clear()
    monkeypatch.setattr(gaussian_integrals, "_by_parts", wrong)
    with pytest.raises(NoClosedForm, match="differentiate back"):
        dual_activation.dual.__wrapped__("rectified_power(4)")
    gaussian_integrals._pair.cache_clear()


@pytest.mark.short
def test_random_polynomials():
    hypothesis = pytest.importorskip("hypothesis")
    whole = hypothesis.strategies.integers(-3, 3)

    @hypothesis.settings(max_examples=12, deadline=None, derandomize=True)
    @hypothesis.given(hypothesis.strategies.lists(whole, min_size=1, max_size=5))
    def equals_moments(coefficients):
        """E u^j v^k by Isserlis' theorem: sums over pairings."""
        here = {A: 2, B: 3, C: -1}
        expected = sum(
            c * d * pairings((0,) * j + (1,) * k, ((2, -1), (-1, 3)))
            for j, c in enumerate(coefficients)
            for k, d in enumerate(coefficients)
        )
        found = dual("polynomial(" + ",".join(map(str, coefficients)) + ")")
        assert found.value.subs(here) == expected
        assert sp.expand(found.value.diff(C) - found.slope) == 0

    equals_moments()


def pairings(indices, covariance):
    if not indices:
        return 1
    first, *rest = indices
    return sum(
        covariance[first][other] * pairings(tuple(rest[:i] + rest[i + 1 :]), covariance) for i, other in enumerate(rest)
    )


@pytest.mark.short
def test_monte_carlo():
    """4e5 antithetic pairs; |z| < 4 for 14 numbers: a false alarm once in 1100 seeds."""
    rng = np.random.default_rng(20240611)
    a, b, rho = 0.8, 1.7, 0.4
    x, y = rng.standard_normal((2, 400_000))
    u, v = np.sqrt(a) * x, np.sqrt(b) * (rho * x + np.sqrt(1 - rho**2) * y)
    for activation in ["relu", "leaky_relu(0.1)", "sign", "erf", "gelu", "sin", "gaussian", *FUNCTIONS[-7:]]:
        f = array_formula(activation)
        # antithetic pairs (u, v), (-u, -v): their mean is one sample
        sample = (f(u) * f(v) + f(-u) * f(-v)) / 2
        score = (sample.mean() - value_at(dual(activation).value, a, b, rho)) / (sample.std() / np.sqrt(len(u)))
        assert abs(score) < 4, activation
