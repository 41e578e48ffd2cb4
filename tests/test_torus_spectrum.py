"""Spectra of shift-invariant kernels against circulant matrices and integrals."""

import numpy as np
import pytest
import sympy as sp
from scipy.integrate import quad

from learning_mechanics.theory.errors import BadData
from learning_mechanics.theory.spectra.eigen_spectra import DISTANCE, T, lattice, torus

pytestmark = pytest.mark.short


@pytest.mark.parametrize(
    ("kernel", "function"),
    [
        (sp.exp(-2 * DISTANCE), lambda x: np.exp(-2 * x)),
        ((sp.pi - DISTANCE) ** 2, lambda x: (np.pi - x) ** 2),
        (sp.exp(T), lambda x: np.exp(np.cos(x))),
        (lambda x: np.exp(-x), lambda x: np.exp(-x)),
    ],
    ids=["laplace", "quadratic", "von_mises", "function"],
)
def test_frequencies_against_integrals(kernel, function):
    spectrum = torus(kernel, levels=12)
    for level, value, error in zip(spectrum.levels, spectrum.eigenvalues, spectrum.errors, strict=True):
        expected = quad(function, 0, np.pi, weight="cos", wvar=level, epsabs=1e-14)[0] / np.pi
        assert abs(value - expected) < 1e-13 + error
    assert spectrum.multiplicities.tolist() == [1.0 if level == 0 else 2.0 for level in spectrum.levels]


def test_decay_of_the_laplace_kernel():
    spectrum = torus(sp.exp(-DISTANCE), levels=60)
    assert spectrum.decay.exponent.subs(sp.Symbol("d", positive=True), 2) == 2
    even = float(spectrum.decay.constant(odd=False).subs(sp.Symbol("d", positive=True), 2))
    assert abs(even - (1 - np.exp(-np.pi)) / np.pi) < 1e-12  # (1/pi)(1 - e^-pi)/(1 + m^2)
    assert abs(spectrum.eigenvalues[spectrum.levels.index(50)] * 50**2 / even - 1) < 1e-3


def test_products_against_a_fine_grid():
    """Two dimensions: eigenvalues of the kernel matrix of a periodic grid, up to aliasing."""
    n = 24
    delta = np.minimum(np.arange(n), n - np.arange(n)) * 2 * np.pi / n
    factor = np.exp(4 * np.cos(delta) - 4)
    grid = lattice(np.multiply.outer(factor, factor))
    spectrum = torus(sp.exp(4 * T - 4), 2, levels=15)
    modes = np.repeat(spectrum.eigenvalues, spectrum.multiplicities.astype(int))
    on_grid = np.repeat(grid.eigenvalues, grid.multiplicities.astype(int))
    assert np.allclose(modes[:40], np.sort(on_grid)[::-1][:40], rtol=1e-9)
    different = torus([sp.exp(4 * T - 4), sp.exp(T - 1)], levels=20)
    assert different.multiplicities[different.levels.index((1, 1))] == 4
    assert spectrum.multiplicities[spectrum.levels.index((2, 1))] == 8


def test_lattice_against_a_matrix():
    rng = np.random.default_rng(7)
    values = rng.standard_normal(9)
    values = values + values[(-np.arange(9)) % 9]
    matrix = values[(np.arange(9)[:, None] - np.arange(9)) % 9]
    spectrum = lattice(values)
    found = np.sort(np.repeat(spectrum.eigenvalues, spectrum.multiplicities.astype(int)))
    assert np.allclose(found, np.linalg.eigvalsh(matrix / 9), atol=1e-14)
    with pytest.raises(BadData, match="differs"):
        lattice(rng.standard_normal(9))


def test_refuses_what_is_no_kernel():
    with pytest.raises(BadData, match="positive definite"):
        torus(sp.cos(1) - T)
