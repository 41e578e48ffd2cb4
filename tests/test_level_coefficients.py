"""Kernels as power series: against published coefficients, mpmath and the kernels themselves."""

from math import comb, factorial

import mpmath as mp
import numpy as np
import pytest
import sympy as sp

from learning_mechanics.theory.architecture.constructors import (
    activation,
    dense,
    layer_norm,
    product,
    residual,
    serial,
)
from learning_mechanics.theory.errors import BadData, UnknownName
from learning_mechanics.theory.hermite.level_coefficients import level_coefficients
from learning_mechanics.theory.infinite_width.network_kernel import infinite_width
from learning_mechanics.theory.regression.kernels import laplace, linear, nngp, ntk, rbf

pytestmark = pytest.mark.instant
COSINES = np.array([-0.35, -0.1, 0.25, 0.4])


def test_gaussian_and_laplace_kernels_have_their_published_coefficients():
    """Karkada et al. 2025: e^(-q/s^2) s^(-2l), and Bessel polynomials for exp(-|x - x'| / (sqrt 2 sigma))."""
    q, width = 1.7, 1.3
    found = np.exp(level_coefficients(rbf(width), q, order=8).log_coefficients)
    assert np.allclose(found, np.exp(-q / width**2) * width ** (-2.0 * np.arange(9)), rtol=1e-13)
    sigma = width / 2**0.5
    s = sigma / q**0.5

    def bessel(m):
        return sum(comb(m + k, 2 * k) * factorial(2 * k) / factorial(k) * (s / 2) ** k for k in range(m + 1))

    expected = [np.exp(-1 / s)] + [q**-n * np.exp(-1 / s) * bessel(n - 1) / (2 * s) ** n for n in range(1, 9)]
    found = np.exp(level_coefficients(laplace(width), q, order=8).log_coefficients)
    assert np.allclose(found, expected, rtol=1e-12)
    assert level_coefficients(linear(), 3.0, order=4).series.tolist() == [0, 3, 0, 0, 0]


@pytest.mark.parametrize("kernel", [ntk(2), nngp(2), ntk(3), ntk(3, "erf")])
def test_networks_without_bias_by_mpmath(kernel):
    """Taylor coefficients of the closed form at 0, 40 digits; odd levels vanish for one hidden layer of relu."""
    t = sp.Symbol("t", real=True)
    function = sp.lambdify(t, kernel.symbolic(), "mpmath")
    with mp.workdps(40):
        expected = np.array([float(mp.re(c)) for c in mp.taylor(function, 0, 9)])
    found = level_coefficients(kernel, 1.0, order=9)
    assert np.abs(found.series - expected).max() < 1e-12 * expected.max()
    if kernel.depth == 2:
        assert not found.series[3::2].any()


NETWORKS = {
    "biases": serial(dense(1.5, 0.6), activation("relu"), dense(1.2, 0.4), activation("relu"), dense(1.0, 0.2)),
    "residual": serial(
        dense(1.5), activation("relu"), residual(dense(1.1, 0.3), activation("relu"), dense(0.7)), dense()
    ),
    "norm": serial(dense(1.3), activation("relu"), layer_norm(), dense(1.4, 0.2), activation("erf"), dense()),
    "product": serial(dense(), product(dense(1.0, 0.3), serial(dense(1.2), activation("erf"))), dense()),
    "smooth": serial(dense(1.5, 0.5), activation("tanh"), dense(1.1, 0.3)),
}


@pytest.mark.parametrize("which", ["nngp", "ntk"])
@pytest.mark.parametrize("name", list(NETWORKS))
def test_series_are_the_kernel_of_the_network(name, which):
    """Against the recursion on pairs of samples; 0.4^25 is 1e-10."""
    net = NETWORKS[name]
    if name == "residual" and which == "ntk":
        pass  # the tangent kernel of a sum is the sum of tangent kernels: nothing is left out
    found = level_coefficients(net, 30.0, dimension=20, which=which, order=40)
    exact = getattr(infinite_width(net).on_angles(np.arccos(COSINES), q=1.5), which)
    assert np.abs(found(COSINES) / exact - 1).max() < 1e-11
    assert found.error < 1e-11
    at_one = getattr(infinite_width(net).on_angles(np.zeros(1), q=1.5), which)[0]
    assert abs(found.at_coincidence / at_one - 1) < 1e-12
    assert 0 <= found.beyond < 0.1 * at_one


def test_a_planted_error_is_seen():
    """Another bias in the last layer but one moves the series far beyond the tolerance above."""
    net = serial(dense(1.5, 0.6), activation("relu"), dense(1.2, 0.41), activation("relu"), dense(1.0, 0.2))
    found = level_coefficients(net, 30.0, dimension=20, which="ntk", order=40)
    exact = infinite_width(NETWORKS["biases"]).on_angles(np.arccos(COSINES), q=1.5).ntk
    assert np.abs(found(COSINES) / exact - 1).max() > 1e-3


def test_formulas_and_functions_of_the_cosine():
    t = sp.Symbol("t", real=True)
    expected = [2.0**k / factorial(k) for k in range(9)]
    assert np.allclose(level_coefficients(sp.exp(2 * t), 1.0, order=8).series, expected, rtol=1e-14)
    assert np.allclose(level_coefficients(lambda c: np.exp(2 * c), 1.0, order=8).series, expected, rtol=1e-12)

    def real_only(c):
        if np.iscomplexobj(c):
            raise TypeError
        return np.exp(2 * c)

    found = level_coefficients(real_only, 1.0, order=30)
    assert len(found.series) == 7 and np.allclose(found.series, expected[:7], rtol=1e-4)


def test_refusals():
    with pytest.raises(BadData, match="coefficient of t"):
        level_coefficients(lambda c: 1 - c, 1.0)
    with pytest.raises(BadData, match="dimension"):
        level_coefficients(NETWORKS["smooth"], 1.0)
    with pytest.raises(BadData, match="radius"):
        level_coefficients(rbf(1.0), 0.0)
    with pytest.raises(BadData, match="standard parameterization"):
        level_coefficients(serial(dense(parameterization="standard")), 1.0, dimension=2)
    with pytest.raises(UnknownName):
        level_coefficients(NETWORKS["smooth"], 1.0, dimension=2, which="ntkk")
    with pytest.raises(BadData, match="both depend on dense1"):
        level_coefficients(serial(dense(), residual(activation("relu")), dense()), 1.0, dimension=2)


def test_levels_of_any_scales_sum_to_the_diagonal():
    hypothesis = pytest.importorskip("hypothesis")
    floats = pytest.importorskip("hypothesis.strategies").floats

    @hypothesis.settings(max_examples=15, deadline=None, derandomize=True)
    @hypothesis.given(floats(0.1, 5.0), floats(0.0, 3.0), floats(0.01, 100.0))
    def check(w_std, b_std, q):
        net = serial(dense(w_std, b_std), activation("relu"), dense(1.0, 0.1))
        found = level_coefficients(net, q, dimension=1, which="nngp")
        # inputs that a bias leaves a share of 1 - r need order / (1 - r) Hermite coefficients: in the end too many
        constant = b_std**2 / (b_std**2 + w_std**2 * q)
        assert (found.series >= 0).all() and found.error < (1e-9 if constant < 0.95 else 1e-6)
        assert found.series.sum() <= found.at_coincidence * (1 + 1e-12)

    check()
