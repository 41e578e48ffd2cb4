"""Spectra on the hypercube against eigenvalues of all corners, products of coordinates, and exact sums."""

from itertools import product
from math import comb

import numpy as np
import pytest
import sympy as sp

from learning_mechanics.theory.errors import BadData
from learning_mechanics.theory.regression.kernels import laplace, ntk, rbf
from learning_mechanics.theory.spectra.eigen_spectra import T, hypercube

pytestmark = pytest.mark.short


@pytest.mark.parametrize("kernel", [ntk(2), ntk(4), laplace(), T**5 + T / 3], ids=str)
def test_all_corners_of_eight_dimensions(kernel):
    corners = np.array(list(product((-1.0, 1.0), repeat=8))) / np.sqrt(8)
    cosine = np.clip(corners @ corners.T, -1, 1)
    gram = kernel(corners) if callable(kernel) and not isinstance(kernel, sp.Expr) else sp.lambdify(T, kernel)(cosine)
    spectrum = hypercube(kernel, 8)
    expected = np.sort(np.repeat(spectrum.eigenvalues, spectrum.multiplicities.astype(int)))
    assert np.abs(np.sort(np.linalg.eigvalsh(gram / 256)) - expected).max() < 3e-15
    # and level by level on their own eigenfunctions
    for k in range(9):
        parity = corners[:, :k].prod(1) * np.sqrt(8) ** k
        assert np.abs(gram @ parity / 256 - spectrum.eigenvalues[k] * parity).max() < 3e-15


def test_known_numbers_and_zeros_of_the_tangent_kernel():
    spectrum = hypercube(ntk(2), 8)
    assert np.allclose(spectrum.eigenvalues[:3], [0.382509, 0.125, 0.0175465], rtol=2e-6)
    assert not spectrum.eigenvalues[3::2].any() and spectrum.exact[1] == sp.Rational(1, 8)
    numbers = [float(sp.N(value, 20)) for value in spectrum.exact]
    assert np.allclose(numbers, spectrum.eigenvalues, rtol=1e-13, atol=0)


@pytest.mark.parametrize("dimension", [20, 120])
def test_exponential_kernel_is_a_product(dimension):
    """exp(a x.x'/n) = prod exp(a x_i x_i'/n): lambda_k = cosh(a/n)^(n-k) sinh(a/n)^k, down to 1e-220."""
    rate = sp.Rational(3, 2)
    spectrum = hypercube(sp.exp(rate * T), dimension, digits=25)
    with_n = rate / dimension
    for k in (0, 1, dimension // 2, dimension):
        expected = sp.N(sp.cosh(with_n) ** (dimension - k) * sp.sinh(with_n) ** k, 40)
        assert abs(spectrum.precise[k] / expected - 1) < 1e-25


def test_rational_kernels_are_exact():
    spectrum = hypercube((1 + T) ** 3, 50)
    assert all(value.is_Rational for value in spectrum.exact)
    assert sum(comb(50, k) * value for k, value in enumerate(spectrum.exact)) == 8
    assert spectrum.exact[3] == sp.Rational(6, 50**3) and not any(spectrum.exact[4:])


@pytest.mark.parametrize(("kernel", "dimension"), [(ntk(3), 100), (rbf(), 150)], ids=str)
def test_hundreds_of_dimensions(kernel, dimension):
    spectrum = hypercube(kernel, dimension, digits=20)
    assert all(value > 0 for value in spectrum.precise)
    total = sum(comb(dimension, k) * value for k, value in enumerate(spectrum.precise))
    assert abs(total - float(kernel.diagonal(np.eye(1))[0])) < 1e-13


def test_functions_of_the_angle_state_their_error():
    exact = hypercube(rbf(), 20)
    numbers = hypercube(lambda theta: np.exp(np.cos(theta) - 1), 20)
    assert (np.abs(numbers.eigenvalues - exact.eigenvalues) <= numbers.errors).all() and numbers.errors.max() < 1e-14


def test_refusals():
    with pytest.raises(BadData, match="levels 9 in dimension 8"):
        hypercube(ntk(2), 8, levels=9)
    with pytest.raises(BadData, match="whole number"):
        hypercube(ntk(2), 0)
