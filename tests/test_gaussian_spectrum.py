"""Spectra over Gaussian inputs against Gauss-Hermite discretisations of the operator."""

import numpy as np
import pytest
import sympy as sp

from learning_mechanics.theory.errors import BadData, NoClosedForm
from learning_mechanics.theory.regression.kernels import laplace, rbf
from learning_mechanics.theory.spectra.eigen_spectra import T, gaussian, largest_products

pytestmark = pytest.mark.short


def discretised(function, variance, nodes=120):
    """Eigenvalues of sqrt(w_i) K(x_i, x_j) sqrt(w_j), largest first: the Nystrom method on Gauss-Hermite nodes."""
    x, w = np.polynomial.hermite_e.hermegauss(nodes)
    x, root = x * np.sqrt(variance), np.sqrt(w / w.sum())
    return np.linalg.eigvalsh(root[:, None] * function(x[:, None], x[None, :]) * root[None, :])[::-1]


@pytest.mark.parametrize(("width", "variance"), [(1.0, 1.0), (0.6, 0.5), (3.0, 2.0)])
def test_gaussian_kernel_in_one_dimension(width, variance):
    spectrum = gaussian(rbf(width), variance, levels=12)
    expected = discretised(lambda x, y: np.exp(-((x - y) ** 2) / (2 * width**2)), variance)
    assert np.abs(spectrum.eigenvalues - expected[:12]).max() < 1e-13
    assert np.allclose([float(sp.N(value, 20)) for value in spectrum.exact], spectrum.eigenvalues, rtol=1e-14)


@pytest.mark.parametrize("rate", [0.1, 0.3, 0.4])
def test_exponential_kernel_and_its_power_series(rate):
    spectrum = gaussian(sp.exp(sp.nsimplify(rate) * T), 1.0, levels=10)
    expected = discretised(lambda x, y: np.exp(rate * x * y), 1.0)
    assert np.abs(spectrum.eigenvalues - expected[:10]).max() < 1e-14
    whole = gaussian(sp.exp(sp.nsimplify(rate) * T), 1.0, levels=400)
    assert abs(whole.captured - 1) < 1e-12
    # a power series that is not quite an exponential: no closed form, the same numbers in the limit
    nearly = gaussian(sp.exp(sp.nsimplify(rate) * T) + sp.Rational(1, 10**13), 1.0, levels=6)
    assert "power series" in nearly.method
    assert np.abs(nearly.eigenvalues[:5] / spectrum.eigenvalues[:5] - 1).max() < 1e-9


def test_other_power_series_in_one_dimension():
    kernel = sp.cosh(T / 4) + T**3 / 10
    spectrum = gaussian(kernel, 0.8, levels=8)
    expected = discretised(lambda x, y: np.cosh(x * y / 4) + (x * y) ** 3 / 10, 0.8)
    assert np.abs(spectrum.eigenvalues - expected[:8]).max() < 1e-13
    assert spectrum.captured <= 1 + 1e-12


def test_products_over_coordinates():
    """Two variances, one of them twice: all products of one-dimensional spectra, brute force."""
    variances, width = [1.0, 0.4, 1.0], 1.3
    lines = [discretised(lambda x, y: np.exp(-((x - y) ** 2) / (2 * width**2)), v)[:25] for v in variances]
    every = np.sort(np.einsum("i,j,k->ijk", *lines).ravel())[::-1]
    spectrum = gaussian(rbf(width), variances, levels=30)
    modes = np.repeat(spectrum.eigenvalues, spectrum.multiplicities.astype(int))
    assert np.abs(modes / every[: len(modes)] - 1).max() < 1e-10
    assert spectrum.levels[1] == (1, 0) and spectrum.multiplicities[1] == 2
    assert spectrum.captured < 1


def test_many_coordinates():
    variances = np.arange(1.0, 785.0) ** -1.2
    spectrum = gaussian(rbf(3.0), variances, levels=3000)
    assert (np.diff(spectrum.eigenvalues) <= 0).all() and 0.9 < spectrum.captured < 1
    assert len(set(spectrum.levels)) == 3000


def test_largest_products_against_sorting():
    rng = np.random.default_rng(3)
    factors = [-np.sort(rng.exponential(size=size)).cumsum() for size in (4, 1, 6, 3, 5)]
    places, values = largest_products(factors, 200)
    sums = sum(np.meshgrid(*factors, indexing="ij"))
    assert np.allclose(values, np.sort(sums.ravel())[::-1][:200], atol=1e-12)
    assert len({tuple(sorted(place.items())) for place in places}) == 200
    found = [sum(f[place.get(i, 0)] for i, f in enumerate(factors)) for place in places]
    assert np.allclose(found, values)
    everything, _ = largest_products(factors, 10**6)
    assert len(everything) == sums.size


def test_refusals():
    with pytest.raises(BadData, match="finite trace"):
        gaussian(sp.exp(T), 1.0)
    with pytest.raises(BadData, match="negative coefficient"):
        gaussian(sp.cos(T / 4), 1.0, levels=4)
    with pytest.raises(NoClosedForm, match="rbf or exp"):
        gaussian(laplace(), 1.0)
    with pytest.raises(BadData, match="positive numbers"):
        gaussian(rbf(), [1.0, -1.0])
