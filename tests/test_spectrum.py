"""Spectra from data, against planted Gaussian features, brute-force refits and exact sums."""

import mpmath
import numpy as np
import pytest
from scipy.optimize import brentq

from learning_mechanics.solvers.learning_curve import learning_curve
from learning_mechanics.theory.errors import BadData, Underpowered
from learning_mechanics.theory.measured_spectra.cross_fitting import cross_fit, in_sample
from learning_mechanics.theory.measured_spectra.power_law_tail import PowerLawTail
from learning_mechanics.theory.measured_spectra.spectrum import finite_population


def linear(a, b=None):
    return a @ (a if b is None else b).T


def power_law(rows, capacity=2.0, target=1.9, dim=3000, seed=0, noise=0.0):
    """Gaussian features whose linear kernel has lambda_k = k^-capacity, and targets of power k^-target."""
    rng, k = np.random.default_rng(seed), np.arange(1.0, dim + 1)
    x = rng.standard_normal((rows, dim)) * k ** (-capacity / 2)
    y = x @ (rng.choice([-1.0, 1.0], dim) * k ** ((capacity - target) / 2))
    return x, y + np.sqrt(noise) * rng.standard_normal(rows), k**-capacity, k**-target


@pytest.mark.instant
def test_finite_population_conserves_trace_and_power():
    rng = np.random.default_rng(1)
    x, y = rng.standard_normal((40, 7)), rng.standard_normal((40, 3))
    spectrum = finite_population(linear, x, y)
    assert len(spectrum.eigenvalues) == 7 and spectrum.facts["rank"] == 7
    assert spectrum.eigenvalues.sum() == pytest.approx((x**2).sum() / 40)
    assert spectrum.power.sum() + spectrum.noise == pytest.approx((y**2).sum() / 40)
    assert spectrum.noise == pytest.approx(((y - x @ np.linalg.lstsq(x, y, rcond=None)[0]) ** 2).sum() / 40)
    np.testing.assert_allclose(finite_population(linear(x), x, y).power, spectrum.power)


@pytest.mark.instant
@pytest.mark.parametrize("block", [1, 4])
def test_left_out_errors_equal_refits(block):
    """kappa, unlearned power and every group's share, against solving without the group."""
    x, y, _, _ = power_law(48, dim=200, seed=4)
    groups = np.arange(48) // block
    path = in_sample(linear, x, y, groups=None if block == 1 else groups).path
    gram, i = linear(x), len(path.sizes) // 2
    delta = np.exp(
        brentq(lambda t: np.trace(gram @ np.linalg.inv(gram + np.exp(t) * np.eye(48))) - path.sizes[i], -30, 30)
    )
    inverse = np.linalg.inv(gram + delta * np.eye(48))
    assert path.kappa[i] == pytest.approx(1 / np.trace(inverse), rel=1e-8)
    squares = []
    for name in np.unique(groups):
        out = groups == name
        kept = gram[np.ix_(~out, ~out)] + delta * np.eye(48 - block)
        fit = gram[np.ix_(out, ~out)] @ np.linalg.solve(kept, y[~out])
        squares.append(((y[out] - fit) ** 2).sum())
    inflation = 48 * np.trace(inverse @ inverse) / np.trace(inverse) ** 2
    assert path.unlearned[i] == pytest.approx(np.sum(squares) / 48 / inflation, rel=1e-8)
    np.testing.assert_allclose(path.shares[:, i], squares / np.sum(squares), rtol=1e-7)


@pytest.mark.short
def test_planted_power_laws_are_recovered_and_their_learning_curve_too():
    """1100 rows of Gaussian features, 1.3 decades: exponents and local slope within 0.06, levels within 15 %.

    The slope scatters by about 0.02 between draws; seed chosen beforehand.
    """
    x, y, eigenvalues, power = power_law(1100, seed=11)
    sizes = np.geomspace(50, 500, 6)
    true = learning_curve(eigenvalues, power, sizes)
    for spectrum in (cross_fit(linear, x, y), in_sample(linear, x, y)):
        assert spectrum.capacity is not None and spectrum.target_exponent is not None
        assert spectrum.capacity.value == pytest.approx(2.0, abs=0.06)
        assert spectrum.target_exponent.value == pytest.approx(1.9, abs=max(0.06, 1.5 * spectrum.target_exponent.error))
        assert spectrum.data_exponent().value == pytest.approx(0.9, abs=max(0.06, 1.5 * spectrum.target_exponent.error))
        curve = learning_curve(spectrum, sizes=sizes)
        assert curve.slope == pytest.approx(true.slope, abs=0.06)
        np.testing.assert_allclose(curve.test, true.test, rtol=0.15)
        np.testing.assert_allclose(curve.kappa, true.kappa, rtol=0.03)
        assert spectrum.facts["misfit"]["degrees_of_freedom"] < 0.01


@pytest.mark.short
def test_jackknife_scatter_is_the_scatter_over_draws():
    """Standard deviation of the in-sample slope over 40 draws of 300 rows, against the mean jackknife error.

    A ratio of 40-draw deviations scatters by 11 %; both are asked to agree within 45 % (four standard errors).
    """
    slopes, errors = [], []
    for seed in range(40):
        x, y, _, _ = power_law(300, dim=600, seed=100 + seed)
        path = in_sample(linear, x, y).path
        inside = (path.sizes >= 15) & (path.sizes <= 150)
        slopes.append(np.polyfit(np.log(path.sizes[inside]), np.log(path.unlearned[inside]), 1)[0])
        errors.append(path.slope_scatter((15, 150)))
    assert np.mean(errors) == pytest.approx(np.std(slopes), rel=0.45)


@pytest.mark.short
def test_refusals_are_explained():
    rng = np.random.default_rng(2)
    x, y, _, _ = power_law(300, dim=600)
    with pytest.raises(BadData, match="constant"):
        cross_fit(linear, x, np.ones(300))
    with pytest.raises(Underpowered, match="dominated by noise"):
        cross_fit(linear, x, rng.standard_normal(300))
    with pytest.raises(Underpowered, match="300 samples resolve 0.78 decades"):
        cross_fit(linear, x, y).data_exponent()
    with pytest.raises(BadData, match="at least five groups"):
        cross_fit(linear, x, y, groups=np.zeros(300))
    with pytest.raises(BadData, match="300 inputs but 299"):
        in_sample(linear, x, y[1:])
    with pytest.raises(BadData, match="kernel matrix of shape"):
        in_sample(linear(x)[:10], x, y)


@pytest.mark.short
def test_groups_are_kept_apart():
    """Rows in identical pairs: random splits see the twin and forecast a steeper curve than splits by pair."""
    x, y, _, _ = power_law(200, dim=600, seed=5, noise=0.3)
    x, y, pairs = np.repeat(x, 2, 0), np.repeat(y, 2), np.repeat(np.arange(200), 2)
    x = x + 1e-3 * np.random.default_rng(0).standard_normal(x.shape)
    apart, mixed = cross_fit(linear, x, y, groups=pairs), cross_fit(linear, x, y)
    assert mixed.path.unlearned[-1] < 0.5 * apart.path.unlearned[-1]
    assert apart.facts["grouped"] and not mixed.facts["grouped"]


@pytest.mark.instant
@pytest.mark.parametrize("capacity, start", [(1.2, 10), (2.0, 50), (3.0, 1000)])
def test_tail_levels_have_the_sums_of_the_zeta_function(capacity, start):
    lam, count, power = PowerLawTail(start=start, eigenvalue=start**-capacity, capacity=capacity, power=0.2).levels()
    for order in (1, 2):
        exact = float(mpmath.zeta(order * capacity, start + 1))
        assert (count * lam**order).sum() == pytest.approx(exact, rel=2e-5)
    assert power.sum() == pytest.approx(0.2)
    with pytest.raises(BadData, match="must exceed 1"):
        PowerLawTail(start=10, eigenvalue=1.0, capacity=1.0)


@pytest.mark.instant
def test_records_print_and_turn_into_json():
    import json

    x, y, _, _ = power_law(120, dim=200)
    spectrum = in_sample(linear, x, y)
    json.dumps(spectrum.to_dict())
    assert "explained power" in str(spectrum)
