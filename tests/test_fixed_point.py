"""Roots in log space against closed roots, extended-precision roots and finite differences."""

import jax
import mpmath
import numpy as np
import pytest

from learning_mechanics.solvers.fixed_point import root, root_jax, solve_log
from learning_mechanics.theory.errors import BadData, DidNotConverge
from learning_mechanics.theory.symbols import modes, over, positive
from learning_mechanics.theory.system import FixedPoint

lam, kappa, n, ridge = modes("lambda"), positive("kappa"), positive("n"), positive("ridge")
RIDGE = FixedPoint((kappa,), (n - over(lam / (lam + kappa)) - ridge / kappa,))


@pytest.mark.instant
def test_equal_eigenvalues_have_a_quadratic_solution():
    """M equal eigenvalues: n = M l/(l + kappa) + ridge/kappa is a quadratic in kappa."""
    sizes, modes_count, value, delta = np.array([1.0, 3.0, 9.0, 30.0, 300.0]), 10, 0.7, 0.2
    b = sizes * value - modes_count * value - delta
    exact = (-b + np.sqrt(b**2 + 4 * sizes * value * delta)) / (2 * sizes)
    found = root(RIDGE, {"lambda": np.full(modes_count, value), "n": sizes, "ridge": delta})["kappa"]
    assert found.shape == (5, 1)
    np.testing.assert_allclose(found[:, 0], exact, rtol=2e-13)


@pytest.mark.instant
@pytest.mark.parametrize("power", [3.0, 10.0])
def test_tiny_effective_ridge_agrees_with_forty_digits(power):
    """kappa near 1e-30: SciPy's absolute tolerances stop far above it."""
    eigenvalues, size = np.arange(1.0, 1201.0) ** -power, 999.0
    found = float(root(RIDGE, {"lambda": eigenvalues, "n": size, "ridge": 0.0})["kappa"][0, 0])
    with mpmath.workdps(40):
        values = [mpmath.mpf(float(v)) for v in eigenvalues]

        def freedom(x):
            return sum(v / (v + mpmath.e**x) for v in values) - mpmath.mpf(size)

        exact = mpmath.e ** mpmath.findroot(freedom, (mpmath.log(found) - 1, mpmath.log(found) + 1), solver="anderson")
        assert abs(found / exact - 1) < 1e-12
    if power == 10.0:
        assert 1e-31 < found < 1e-29


@pytest.mark.instant
def test_many_sizes_and_rising_residuals():
    found = solve_log(lambda u: (np.log(u) - np.linspace(-600, 600, 7), 1 / u), (7,))
    np.testing.assert_allclose(np.log(found), np.linspace(-600, 600, 7), rtol=1e-13, atol=1e-13)
    start = solve_log(lambda u: (1e-40 - u, -np.ones_like(u)), (2,), start=1e-41)
    np.testing.assert_allclose(start, 1e-40, rtol=1e-13)


@pytest.mark.instant
def test_no_root_is_explained():
    with pytest.raises(DidNotConverge, match="number of modes"):
        root(RIDGE, {"lambda": np.ones(3), "n": 5.0, "ridge": 0.0})
    with pytest.raises(BadData, match="n, ridge not bound"):
        root(RIDGE, {"lambda": np.ones(3)})
    with pytest.raises(BadData, match="2 unknowns"):
        root(FixedPoint((kappa, n), (kappa - 1, n - 1)), {})


@pytest.mark.short
def test_implicit_derivatives_equal_central_differences_and_go_through_jit_and_vmap():
    eigenvalues, sizes = np.arange(1.0, 101.0) ** -1.5, np.array([[5.0], [40.0]])

    def total(values, delta):
        return root_jax(RIDGE, {"lambda": values, "n": sizes, "ridge": delta})["kappa"].sum()

    def plain(values, delta):
        return root(RIDGE, {"lambda": values, "n": sizes, "ridge": delta})["kappa"].sum()

    with jax.enable_x64(True):
        value, (by_mode, by_ridge) = jax.jit(jax.value_and_grad(total, (0, 1)))(eigenvalues, 0.01)
        many = jax.jit(jax.vmap(total, (None, 0)))(eigenvalues, np.array([0.01, 0.1]))
    assert float(value) == pytest.approx(plain(eigenvalues, 0.01), rel=1e-13)
    step = 1e-5
    slope = (plain(eigenvalues, 0.01 + step) - plain(eigenvalues, 0.01 - step)) / (2 * step)
    assert float(by_ridge) == pytest.approx(slope, rel=1e-6)
    moved = np.zeros(100)
    moved[3] = step
    slope = (plain(eigenvalues + moved, 0.01) - plain(eigenvalues - moved, 0.01)) / (2 * step)
    assert float(by_mode[3]) == pytest.approx(slope, rel=1e-6)
    np.testing.assert_allclose(many, [plain(eigenvalues, 0.01), plain(eigenvalues, 0.1)], rtol=1e-13)
