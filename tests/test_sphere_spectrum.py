"""Spectra on the sphere against mpmath's own quadrature, closed forms against sums, and the trace."""

import mpmath
import numpy as np
import pytest
import sympy as sp
from scipy.special import gamma, gammaln

from learning_mechanics.solvers.learning_curve import learning_curve
from learning_mechanics.theory.architecture.constructors import activation, dense, serial
from learning_mechanics.theory.errors import BadData, NoClosedForm
from learning_mechanics.theory.infinite_width.network_kernel import infinite_width
from learning_mechanics.theory.regression.kernels import laplace, nngp, ntk, rbf
from learning_mechanics.theory.spectra.eigen_spectra import T, multiplicity, sphere, sphere_eigenvalue, zonal
from learning_mechanics.theory.spectra.sphere import in_double, with_digits

pytestmark = pytest.mark.short


def relu_networks(m, theta, depth):
    """Covariance and tangent kernel of a bias-free ReLU network, variance 2 weights, by the recursion of angles."""
    covariance = tangent = m.cos(theta)
    for _ in range(depth - 1):
        slope = 1 - theta / m.pi
        covariance = (m.sin(theta) + (m.pi - theta) * m.cos(theta)) / m.pi
        tangent = covariance + tangent * slope
        theta = m.acos(covariance)
    return covariance, tangent


def by_quadrature(kappa, level, dimension, digits=40):
    """mpmath's adaptive quadrature of the kernel times mpmath's Gegenbauer polynomial."""
    m = mpmath.mp.clone()
    m.dps = digits + 30
    half = m.mpf(dimension - 2) / 2

    def polynomial(t):
        return m.legendre(level, t) if dimension == 3 else m.gegenbauer(level, half, t) / m.gegenbauer(level, half, 1)

    weight = lambda theta: m.sin(theta) ** (dimension - 2)  # noqa: E731
    pieces = m.linspace(0, m.pi, 5)
    total = m.quad(lambda theta: kappa(m, theta) * polynomial(m.cos(theta)) * weight(theta), pieces, maxdegree=7)
    return total / m.quad(weight, pieces)


THEORY = {  # published digits and values worked out by hand
    3: (sp.Rational(1, 2), sp.Rational(1, 3), sp.Rational(5, 64), 0, sp.Rational(1, 192)),
    5: (sp.Rational(27, 64), sp.Rational(1, 5), sp.Rational(1, 32), 0, sp.Rational(17, 16384)),
    10: (0.368063, 0.1, 0.00857246, 0, 9.65404e-05),
}


@pytest.mark.parametrize("dimension", THEORY)
def test_relu_tangent_kernel_has_its_known_eigenvalues(dimension):
    spectrum = sphere(ntk(depth=2), dimension, levels=9)
    if dimension < 10:
        assert spectrum.exact[:5] == THEORY[dimension]
    assert np.allclose(spectrum.eigenvalues[:5], np.array(THEORY[dimension], float), rtol=3e-6, atol=0)
    assert spectrum.exact[1] == sp.Rational(1, dimension)
    assert all(value == 0 for value in spectrum.exact[3::2]) and all(value > 0 for value in spectrum.exact[::2])


@pytest.mark.long
@pytest.mark.parametrize(("dimension", "level"), [(20, 60), (10, 60)])
def test_closed_forms_against_forty_digits(dimension, level):
    expected = by_quadrature(lambda m, theta: relu_networks(m, theta, 2)[1], level, dimension)
    found = sphere(ntk(depth=2), dimension, level).eigenvalues[level]
    assert abs(found / float(expected) - 1) < 1e-14
    wrong = sphere(ntk(depth=2), dimension + 1, level).eigenvalues[level]
    assert abs(wrong / float(expected) - 1) > 1e-2


LONG = [pytest.param(*case, marks=pytest.mark.long) for case in ((3, 5, 59), (4, 10, 7), (4, 10, 60), (6, 20, 60))]


@pytest.mark.parametrize(("depth", "dimension", "level"), LONG)
def test_deep_networks_against_forty_digits(depth, dimension, level):
    expected = [by_quadrature(lambda m, a, i=i: relu_networks(m, a, depth)[i], level, dimension) for i in (0, 1)]
    for kernel, value in zip((nngp(depth), ntk(depth)), expected, strict=True):
        found = sphere(kernel, dimension, level)
        assert abs(found.eigenvalues[level] / float(value) - 1) < 1e-12
        assert abs(found.eigenvalues[level] - float(value)) <= found.errors[level] + 1e-15 * float(value)


def table(kappa, dimension, levels, digits=45):
    """All levels at once: mpmath's Gauss-Legendre nodes and the recurrence of Gegenbauer polynomials, 45 digits."""
    m = mpmath.mp.clone()
    m.dps = digits + 25
    nodes = mpmath.calculus.quadrature.GaussLegendre(m).calc_nodes(7, m.prec)
    angles = [m.pi / 2 * (1 + x) for x, _ in nodes]
    weights = [w * m.sin(a) ** (dimension - 2) for (_, w), a in zip(nodes, angles, strict=True)]
    weighted = [w * kappa(m, a) for w, a in zip(weights, angles, strict=True)]
    cosines, norm = [m.cos(a) for a in angles], m.fsum(weights)
    last, here, found = [m.zero] * len(nodes), [m.one] * len(nodes), []
    for k in range(levels + 1):
        found.append(float(m.fdot(weighted, here) / norm))
        bottom = m.mpf(max(k + dimension - 2, 1))
        above = [
            ((2 * k + dimension - 2) * t * p - k * q) / bottom for t, p, q in zip(cosines, here, last, strict=True)
        ]
        last, here = here, cosines if k == 0 else above
    return np.array(found)


@pytest.mark.parametrize("dimension", [3, 20, *(pytest.param(d, marks=pytest.mark.long) for d in (5, 10))])
def test_every_level_to_sixty_against_forty_digits(dimension):
    """Relative to each eigenvalue, down to 1e-22 at dimension 20."""
    for depth, bar in ((2, 1e-14), (4, 1e-12)):
        expected = table(lambda m, a, depth=depth: relu_networks(m, a, depth)[1], dimension, 60)
        found = sphere(ntk(depth), dimension, 60).eigenvalues
        there = np.arange(61) % 2 * (depth == 2) * (np.arange(61) > 1) == 0
        assert (np.abs(found[there] / expected[there] - 1) < bar).all()
        assert not found[~there].any() and np.abs(expected[~there]).max(initial=0) < 1e-40


def test_kinks_at_the_right_angle():
    """|t| in three dimensions: lambda_2k from E |t| P_2k by hand, 1/2 and 1/8; levels of odd degree vanish."""
    for kernel in (sp.Abs(T), lambda theta: np.abs(np.cos(theta))):
        spectrum = sphere(kernel, 3, 20)
        assert np.allclose(spectrum.eigenvalues[:3], [0.5, 0, 0.125], atol=2e-15)
        assert spectrum.errors.max() < 2e-15


def test_digits_asked_for_are_right():
    found = sphere(ntk(depth=3), 5, 12, digits=35).precise
    for level in (12,):
        expected = by_quadrature(lambda m, theta: relu_networks(m, theta, 3)[1], level, 5)
        with mpmath.workdps(50):
            assert abs(mpmath.mpf(found[level]._mpf_) / expected - 1) < mpmath.mpf(10) ** -35


@pytest.mark.parametrize(
    "kernel", [ntk(2), nngp(2), ntk(2, "erf"), rbf(0.5), sp.sqrt(1 - T) ** 3, T**4 - T / 3 + 1, sp.cosh(2 * T)], ids=str
)
@pytest.mark.parametrize("dimension", [2, 3, 10])
def test_closed_forms_and_sums_agree(kernel, dimension):
    spectrum = sphere(kernel, dimension, 30)
    assert spectrum.exact is not None
    values, errors, _ = with_digits(zonal(kernel), dimension, 30)
    values = np.array([float(value) for value in values])
    assert (np.abs(values - spectrum.eigenvalues) <= errors + spectrum.errors + 1e-12 * np.abs(values)).all()


@pytest.mark.parametrize("dimension", [2, 3, 5, 10, 20])
@pytest.mark.parametrize("kernel", [ntk(2), laplace(), rbf()], ids=str)
def test_errors_of_double_precision_are_honest(kernel, dimension):
    """The bound holds for every level, also where nothing but rounding is left, and is no idle one."""
    law = {
        "ntk-relu": lambda theta: (
            relu_networks(np, theta, 1)[0] * (1 - theta / np.pi)
            + (np.sin(theta) + (np.pi - theta) * np.cos(theta)) / np.pi
        ),
        "laplace": lambda theta: np.exp(-2 * np.sin(theta / 2)),
        "rbf": lambda theta: np.exp(-2 * np.sin(theta / 2) ** 2),
    }[kernel.name]
    exact = sphere(kernel, dimension, 60).eigenvalues
    values, errors = in_double(zonal(law), dimension, 60)
    assert (np.abs(values - exact) <= errors).all()
    assert errors.max() < 1e-14 * exact[0] * 10


def test_symbolic_dimension_and_level():
    d, j = sp.Symbol("d", positive=True), sp.Symbol("j", integer=True, positive=True)
    formula = zonal(ntk(2)).formula
    even = sphere_eigenvalue(formula, 2 * j, d)
    assert sphere_eigenvalue(formula, 2 * j + 1, d) == 0
    assert sphere_eigenvalue(formula, 1, d) == 1 / d
    for dimension in (3, 5, 10):
        exact = sphere(ntk(2), dimension, 12).exact
        assert all(sp.simplify(even.subs({d: dimension, j: i}) - exact[2 * i]) == 0 for i in range(1, 7))


def test_odd_levels_vanish_exactly_and_return():
    shallow = sphere(ntk(2), 5, 40)
    assert not shallow.eigenvalues[3::2].any() and not shallow.errors[3::2].any()
    assert (sphere(ntk(3), 5, 40).eigenvalues > 0).all()
    biased = serial(dense(1.5, 0.3), activation("relu"), dense(1.5, 0.3))
    assert (sphere(biased, 5, 40).eigenvalues > 0).all()
    plain = serial(dense(), activation("relu"), dense())
    assert not sphere(plain, 5, 40).eigenvalues[3::2].any()
    assert zonal(ntk(3)).vanishing() == (None, None)


@pytest.mark.parametrize(("kernel", "dimension"), [(ntk(2), 3), (nngp(2), 3), (ntk(3), 5), (laplace(), 4)], ids=str)
def test_trace_with_the_tail_from_the_decay(kernel, dimension):
    """sum N lambda = kappa(1): levels to 60, then the asymptotic law by parity to 2e4, then its leading power."""
    spectrum = sphere(kernel, dimension, 60)
    rest = 0.0
    for first in (61, 62):
        k = np.arange(first, 20_000, 2.0)
        counts = (2 * k + dimension - 2) * np.exp(gammaln(k + dimension - 2) - gammaln(k + 1) - gammaln(dimension - 1))
        terms = counts * asymptotic(spectrum.decay, k, dimension, sign=1 - 2 * (first % 2))
        power = 1 + 2 * float(spectrum.decay.smoothness)  # counts x eigenvalues ~ k^-power
        beyond = terms[-1] * (k[-1] + 1 + dimension / 2 - 1) / (power - 1) / 2  # an integral from midway to the next
        rest += terms.sum() + beyond
    assert rest > 1e-7
    missing = spectrum.trace - spectrum.captured * spectrum.trace
    assert abs(rest - missing) < 2e-8 + 1e-3 * (kernel.kind == "nngp") * missing
    assert abs(rest / 2 - missing) > 0.1 * missing


def asymptotic(law, k, d, sign):
    """The singular terms one by one, in logarithms of Gamma functions (float64)."""
    total = np.zeros_like(k)
    for factor, terms in ((1, law.plus), (sign, law.minus)):
        for nu, c in terms.items():
            nu, c = float(nu), float(c)
            scale = 2**nu * gamma(d - 1) * gamma(nu + (d - 1) / 2) / gamma((d - 1) / 2) / gamma(-nu)
            total += factor * c * scale * np.exp(gammaln(k - nu) - gammaln(k + nu + d - 1))
    return total


def test_network_objects_and_functions_of_the_angle():
    network = serial(dense(), activation("relu"), dense(2**0.5), activation("relu"), dense(2**0.5))
    by_formula = sphere(network, 6, 20)
    assert "certified" in by_formula.method
    assert np.allclose(by_formula.eigenvalues, sphere(ntk(3), 6, 20).eigenvalues, rtol=1e-13)
    engine = infinite_width(network)
    by_angles = sphere(lambda theta: engine.on_angles(theta).nngp, 6, 20)
    expected = sphere(nngp(3), 6, 20).eigenvalues
    assert (np.abs(by_angles.eigenvalues - expected) <= by_angles.errors).all()
    smooth = sphere(serial(dense(), activation("tanh"), dense()), 6, 60)
    assert "double" in smooth.method and smooth.eigenvalues[0] < 1e-15 < smooth.eigenvalues[1]
    assert abs(smooth.captured - 1) < 1e-12


def test_multiplicities_count_polynomials():
    """Harmonics up to degree k and k - 1 together are all polynomials of degree k on the sphere."""
    for d in (2, 3, 7):
        for k in range(8):
            polynomials = sp.binomial(k + d - 1, d - 1)  # homogeneous of degree k
            assert sum(multiplicity(d, i) for i in range(k % 2, k + 1, 2)) == polynomials


def test_learning_curves_take_the_spectrum():
    spectrum = sphere(ntk(2), 5, 60)
    sizes = [5, 20, 100, 1000]
    with_rest = learning_curve(spectrum.to_spectrum({2: 1.0}), sizes=sizes, ridge=1e-3)
    eigenvalues, power, counts = spectrum.arrays({2: 1.0})
    with_tail = learning_curve(eigenvalues, power, multiplicities=counts, tail=spectrum.tail(), sizes=sizes, ridge=1e-3)
    assert np.allclose(with_rest.test, with_tail.test, rtol=1e-4)
    lam, count, _ = spectrum.tail().levels()
    assert abs(lam @ count + spectrum.captured * spectrum.trace - spectrum.trace) < 1e-12


def test_refusals_and_cards():
    with pytest.raises(BadData, match="dimension 1"):
        sphere(ntk(2), 1)
    with pytest.raises(BadData, match="symbols"):
        zonal(sp.Symbol("a") * T)
    with pytest.raises(NoClosedForm, match="no formula"):
        sphere(np.cos, 3, digits=30)
    with pytest.raises(BadData, match="compute more levels"):
        sphere(ntk(2), 3, 4).to_spectrum({7: 1.0})
    with pytest.raises(BadData, match="faster than any power"):
        sphere(rbf(), 3, 10).tail()
    card = str(sphere(ntk(2), 5, 8))
    assert "17/16384" in card and "spherical harmonics" in card and "k^-(d)" in card
    assert r"\frac{17}{16384}" in sphere(ntk(2), 5, 8)._repr_latex_()
    assert sphere(ntk(2), 5, 3).to_dict()["exact"] == ["27/64", "1/5", "1/32", "0"]
