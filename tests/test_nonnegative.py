"""Nonnegative least squares against SciPy's and against its optimality conditions."""

import numpy as np
import pytest
from scipy.optimize import nnls

from learning_mechanics.theory.measured_spectra.nonnegative import nonnegative_least_squares


@pytest.mark.instant
@pytest.mark.parametrize("seed", range(8))
def test_equals_scipy_and_meets_the_optimality_conditions(seed):
    rng = np.random.default_rng(seed)
    matrix, target = rng.standard_normal((30, 12)) + 0.3, rng.standard_normal(30)
    found = nonnegative_least_squares(matrix, target)
    np.testing.assert_allclose(found, nnls(matrix, target)[0], atol=1e-10)
    gradient = matrix.T @ (matrix @ found - target)
    assert (found >= 0).all() and (gradient > -1e-9).all()
    np.testing.assert_allclose(gradient[found > 0], 0, atol=1e-9)


@pytest.mark.instant
def test_ill_conditioned_sums_of_relaxations_are_fitted():
    """Columns x/(x + k) of a spectrum problem: nearly dependent, yet the planted curve is met to 1e-6."""
    kappa, levels = np.geomspace(1e-6, 1, 60), np.geomspace(1e-8, 10, 120)
    counts = np.where(np.arange(120) % 10 == 0, levels**-0.6, 0.0)
    curve = (levels / (levels + kappa[:, None])) @ counts
    found = nonnegative_least_squares(levels / (levels + kappa[:, None]) / curve[:, None], np.ones(60))
    assert (found >= 0).all()
    np.testing.assert_allclose((levels / (levels + kappa[:, None])) @ found / curve, 1.0, atol=1e-6)
