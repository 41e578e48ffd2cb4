"""Moments as arrays: no digits lost at coincident inputs, limits, refusals and shapes."""

import mpmath
import numpy as np
import pytest
import sympy as sp

from learning_mechanics.theory.architecture.activations import array_formula, formula
from learning_mechanics.theory.duals.activation_moments import moments
from learning_mechanics.theory.duals.closed_form_moments import ClosedForm
from learning_mechanics.theory.duals.dual_activation import A, B, C, dual
from learning_mechanics.theory.duals.quadrature_duals import Series
from learning_mechanics.theory.errors import BadData

z = sp.Symbol("z", real=True)
KINKED = ["relu", "leaky_relu(0.1)", "leaky_relu(-3/2)", "abs", "rectified_power(2)", "rectified_power(3)"]
SMOOTH = ["identity", "square", "power(5)", "hermite(3)", "erf", "normal_cdf", "gelu", "sin", "cos", "exp", "gaussian"]
OWN = [sp.Lambda(z, sp.Max(z, 0) + sp.exp(-(z**2))), sp.Lambda(z, z * sp.exp(-(z**2))), sp.Lambda(z, sp.erf(z / 3) + z)]
CLOSED = [*KINKED, "rectified_power(6)", "sign", "step", *SMOOTH, *OWN]


def precise_gap(activation, a, b, gap):
    """The dual's formula in 60 digits; the formula itself is tested against quadrature elsewhere."""
    value = sp.lambdify((A, B, C), dual(activation).value, "mpmath")
    with mpmath.workdps(60):
        a, b, gap = mpmath.mpf(a), mpmath.mpf(b), mpmath.mpf(gap)
        inside = 1 - gap if gap else 1 - mpmath.mpf("1e-58")
        one = 1 - mpmath.mpf("1e-58")
        new = 1 - value(a, b, mpmath.sqrt(a * b) * inside) / mpmath.sqrt(value(a, a, a * one) * value(b, b, b * one))
        slope = sp.lambdify((A, B, C), dual(activation).slope, "mpmath")(a, b, mpmath.sqrt(a * b) * inside)
        return float(mpmath.re(new)), float(mpmath.re(slope))


@pytest.mark.short
@pytest.mark.parametrize("activation", CLOSED, ids=str)
def test_gaps_keep_their_digits(activation):
    law = moments(activation)
    for q in (1e-3, 1.0, 30.0) if activation != "exp" else (1e-3, 1.0, 5.0):
        for gap in (1e-16, 1e-10, 3e-6, 1e-4, 2e-3, 0.3, 1.0, 1.9, 2 - 1e-12):
            expected, slope = precise_gap(activation, q, q, gap)
            found, found_slope = law.pair(q, q, gap)
            # near opposite inputs 2 - gap is what matters to even functions, and a float holds it to 2e-16
            assert found == pytest.approx(expected, rel=2e-12, abs=1e-30 if gap < 1 else 1e-15)
            assert found_slope == pytest.approx(slope, rel=2e-12, abs=2e-12 * abs(float(law.slope(q))))


@pytest.mark.instant
def test_kinks_near_opposite_inputs():
    """sqrt(2 - gap) is the angle left: the fifth power of it, and a cancellation of three terms that are 1e-5."""
    law = moments("rectified_power(2)")
    for rest in (2.0**-10, 2.0**-33, 2.0**-40):
        expected, slope = precise_gap("rectified_power(2)", 1.0, 1.0, 2 - rest)
        found, found_slope = law.pair(1.0, 1.0, 2 - rest)
        assert found == pytest.approx(expected, abs=4e-16) and found_slope == pytest.approx(slope, abs=4e-16)


@pytest.mark.instant
@pytest.mark.parametrize("activation", CLOSED, ids=str)
def test_different_variances(activation):
    law = moments(activation)
    for a, b, gap in (
        (1.0, 2.0, 0.0),
        (0.3, 0.31, 1e-10),
        (2.0, 0.1, 0.6),
        (1.0, 1.0 + 1e-3, 1e-8),
        (1.0, 1.00005, 0.0),
    ):
        expected, _ = precise_gap(activation, a, b, gap)
        assert law.pair(a, b, gap)[0] == pytest.approx(expected, rel=1e-7, abs=2e-15)


@pytest.mark.instant
@pytest.mark.parametrize("activation", CLOSED, ids=str)
def test_variances_a_millionth_apart(activation):
    """The same direction, two lengths: a gap of 1e-13, of which the plain formula has three digits."""
    law = moments(activation)
    expected, _ = precise_gap(activation, 1.0, 1.0 + 2.0**-20, 0.0)
    assert law.pair(1.0, 1.0 + 2.0**-20, 0.0)[0] == pytest.approx(expected, rel=1e-5, abs=1e-22)


@pytest.mark.instant
@pytest.mark.parametrize("activation", [*CLOSED, "tanh", "softplus"], ids=str)
def test_coincident_inputs_have_no_gap(activation):
    law, q = moments(activation), np.array([1e-6, 0.3, 1.0, 7.0])
    found, slope = law.pair(q, q, np.zeros(4))
    assert (found == 0).all()
    if law.tangent:
        np.testing.assert_allclose(slope, law.slope(q), rtol=1e-12)
    else:
        assert np.isinf(law.slope(1.0)) and activation in ("sign", "step")


@pytest.mark.instant
@pytest.mark.parametrize("activation", [*CLOSED, "tanh"], ids=str)
def test_zero_inputs_and_shapes(activation):
    law, f = moments(activation), array_formula(activation)
    at_zero = float(f(np.zeros(1))[0])
    np.testing.assert_allclose(law.second(np.zeros((2, 1))), np.full((2, 1), at_zero**2), atol=1e-300)
    np.testing.assert_allclose(law.mean(0.0), at_zero, atol=1e-30)
    a, b = np.array([[0.0], [1.0], [0.5]]), np.array([[0.0, 2.0, 0.25, 1.0]])
    gap = np.linspace(0, 2, 12).reshape(3, 4)
    found, slope = law.pair(a, b, gap)
    assert found.shape == slope.shape == (3, 4) and np.isfinite(found).all() and law.pair(a, b, gap, False)[1] is None
    assert ((found >= -1e-15) & (found <= 2 + 1e-15)).all()
    if law.tangent:
        assert np.isfinite(slope).all()
    for i in range(3):
        for j in range(4):
            one = law.pair(a[i, 0], b[0, j], gap[i, j])
            np.testing.assert_allclose([found[i, j], slope[i, j]], one, rtol=1e-12, atol=1e-15)
    transposed = law.pair(b.T, a.T, gap.T)
    np.testing.assert_allclose(found, transposed[0].T, rtol=1e-12, atol=1e-15)


@pytest.mark.instant
def test_moments_of_one_variable():
    """E relu^2 = q/2, E relu = sqrt(q / 2 pi); E erf'^2 = 4/pi (1 + 4 q)^(-1/2); E sin'^2 = (1 + e^(-2q))/2."""
    q = np.array([0.2, 1.0, 3.0])
    relu, erf, sine, square = (moments(name) for name in ("relu", "erf", "sin", "square"))
    np.testing.assert_allclose(relu.second(q), q / 2, rtol=1e-15)
    np.testing.assert_allclose(relu.mean(q), np.sqrt(q / (2 * np.pi)), rtol=1e-15)
    assert np.isinf(relu.curvature(q)).all() and (relu.slope(q) == 0.5).all()
    np.testing.assert_allclose(erf.slope(q), 4 / np.pi / np.sqrt(1 + 4 * q), rtol=1e-14)
    np.testing.assert_allclose(sine.slope(q), (1 + np.exp(-2 * q)) / 2, rtol=1e-14)
    np.testing.assert_allclose(sine.curvature(q), (1 - np.exp(-2 * q)) / 2, rtol=1e-14)
    np.testing.assert_allclose(square.curvature(q), 4.0)
    assert moments("rectified_power(2)").curvature(q) == pytest.approx(2.0)


@pytest.mark.instant
def test_hermite_coefficients():
    """ReLU: 1/sqrt(2 pi), 1/2, then (-1)^((k-2)/2) (k-3)!! / sqrt(2 pi k!); powers and exponentials by hand."""
    from math import factorial

    found = moments("relu").hermite(1.0, 40)
    assert found[:2] == pytest.approx([1 / np.sqrt(2 * np.pi), 0.5], rel=1e-14)
    for k in range(2, 41):
        double = np.prod(np.arange(k - 3, 0, -2.0)) if k > 3 else 1.0
        expected = 0.0 if k % 2 else (-1) ** ((k - 2) // 2) * double / np.sqrt(2 * np.pi * float(factorial(k)))
        assert found[k] == pytest.approx(expected, abs=1e-14)
    q = 0.7
    expected = [np.exp(q / 2) * q ** (k / 2) / np.sqrt(factorial(k)) for k in range(12)]
    np.testing.assert_allclose(moments("exp").hermite(q, 11), expected, atol=1e-15)
    np.testing.assert_allclose(moments("hermite(4)").hermite(1.0, 6), [0, 0, 0, 0, np.sqrt(24.0), 0, 0], atol=1e-13)
    assert len(moments("square").hermite(1.0, 5000)) == 5001


@pytest.mark.instant
def test_mehler_sum_equals_the_closed_form():
    for activation in ("erf", "gelu", "sin", "gaussian"):
        law = moments(activation)
        left, right = law.hermite(0.4, 200), law.hermite(0.9, 200)
        rho = -0.7
        expected = 1 - law.pair(0.4, 0.9, 1 - rho, False)[0]
        total = (left * right) @ rho ** np.arange(201) / np.sqrt(law.second(0.4) * law.second(0.9))
        assert total == pytest.approx(float(expected), abs=1e-13)


@pytest.mark.instant
def test_formulas_that_cancel_at_small_variances():
    """sin(u) - u is nearly -u^3/6: the terms of its dual cancel to 1e-12 of them at q = 1e-4, to nothing below."""
    law = moments(sp.Lambda(z, sp.sin(z) - z))
    for q in (1e-2, 1e-4, 1e-8):
        with mpmath.workdps(40):
            rest = lambda x, q=q: (mpmath.sin(u := mpmath.sqrt(q) * x) - u) ** 2 * mpmath.npdf(x)  # noqa: E731
            expected = float(mpmath.quad(rest, [-12, -6, -2, 0, 2, 6, 12]))
        assert float(law.second(q)) == pytest.approx(expected, rel=1e-6)
    # odd and nearly cubic: 1 - (9 rho + 6 rho^3) / 15
    assert float(law.pair(1e-6, 1e-6, 0.5)[0]) == pytest.approx(1 - (4.5 + 0.75) / 15, rel=1e-6)
    assert law.error_at(1e-6) > 0 and law.error == 0


@pytest.mark.instant
def test_steep_error_functions():
    """erf at variance 2e6 is nearly a sign: its slope falls within an angle of 1e-3."""
    law, q = moments("erf"), 2e6
    for gap in (1e-12, 1e-8, 1e-6, 1e-3):
        expected, slope = precise_gap("erf", q, q, gap)
        assert law.pair(q, q, gap) == (pytest.approx(expected, rel=1e-11, abs=1e-15), pytest.approx(slope, rel=1e-12))


@pytest.mark.instant
def test_overflow_is_refused_by_name():
    for activation in ("exp", "rectified_power(6)", "power(6)"):
        law, huge = moments(activation), 1e60
        for call in (law.second, lambda q, law=law: law.pair(q, q, 0.1), lambda q, law=law: law.pair(1.0, q, 0.1)):
            with pytest.raises(BadData, match="overflow"):
                call(huge)
            with pytest.raises(BadData, match=activation.partition("(")[0]):
                call(np.array([[1.0], [huge]]))
    for activation in ("relu", "erf", "sin", "gelu", "normal_cdf", "sign"):
        found, slope = moments(activation).pair(1e60, 1e60, np.array([0.0, 0.5, 2.0]))
        assert np.isfinite(found).all() and (np.isfinite(slope).all() or activation == "sign")


@pytest.mark.instant
def test_planted_errors_are_seen():
    """A slope off by 1e-9 does not pass for the closed form; a value is replaced by the series it disagrees with."""
    from dataclasses import replace

    law = dual("erf")
    series = Series(array_formula("erf"))
    exact, steep = precise_gap("erf", 1.0, 1.0, 0.3)
    off = 1 + C / 10**9
    found, slope = ClosedForm(replace(law, slope=law.slope * off), series).pair(1.0, 1.0, 0.3)
    assert abs(found - exact) < 1e-14 and abs(slope - steep) > 1e-11
    wrong = ClosedForm(replace(law, value=law.value * off), series)
    assert wrong.reliable_from > 1 and ClosedForm(law, series).reliable_from == 0
    assert abs(wrong.pair(1.0, 1.0, 0.3)[0] - exact) < 1e-14


@pytest.mark.short
def test_deep_relu_recursion_of_near_duplicates():
    """Ten layers from a gap of 1e-10, against 60 digits."""
    law, gap = moments("relu"), 1e-10
    with mpmath.workdps(60):
        exact = mpmath.mpf(gap)
        for _ in range(10):
            theta = mpmath.acos(1 - exact)
            exact = 1 - (mpmath.sin(theta) + (mpmath.pi - theta) * mpmath.cos(theta)) / mpmath.pi
            gap = float(law.pair(1.0, 1.0, gap, False)[0])
            assert gap == pytest.approx(float(exact), rel=1e-14)


@pytest.mark.instant
def test_formulas_are_equal_to_names():
    for name in ("relu", "erf", "gelu", "sin"):
        own = moments(sp.Lambda(z, formula(name)(z)))
        assert float(own.pair(0.5, 0.7, 0.2)[0]) == float(moments(name).pair(0.5, 0.7, 0.2)[0])
        assert own.homogeneous == moments(name).homogeneous
