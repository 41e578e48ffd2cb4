"""Resolution and variance: distances against quadrature and search trees, errors against quadrature and fits."""

import numpy as np
import pytest
import sympy as sp

from learning_mechanics.solvers.predict import solve
from learning_mechanics.theory.errors import BadData, UnknownName
from learning_mechanics.theory.mechanisms import resolution


@pytest.mark.instant
@pytest.mark.parametrize("dimension", [1, 2, 3, 5])
@pytest.mark.parametrize("power", [1, 2, 4])
def test_distance_to_the_next_point_against_quadrature(dimension, power):
    """E r^q = int q r^(q-1) P(r > R) dR, by mpmath, up to where the ball meets itself."""
    import mpmath

    volume = mpmath.pi ** (mpmath.mpf(dimension) / 2) / mpmath.gamma(mpmath.mpf(dimension) / 2 + 1)
    n = 4000
    edge = min(mpmath.mpf(1) / 2, volume ** (-mpmath.mpf(1) / dimension))
    beyond = lambda r: power * r ** (power - 1) * (1 - volume * r**dimension) ** n  # noqa: E731
    exact = mpmath.quad(beyond, [0, edge / 16, edge / 8, edge / 4, edge / 2, edge])
    found = float(resolution.neighbour_distance(power, dimension, n))
    assert found == pytest.approx(float(exact), rel=1e-9)


@pytest.mark.short
@pytest.mark.parametrize("dimension, n", [(2, 200), (4, 2000)])
def test_nearest_neighbours_on_the_torus_by_search(dimension, n):
    """Mean over 60 sets of points; |z| < 4, false alarm 1 in 16000; a tenth off would be seen."""
    from scipy.spatial import cKDTree

    rng = np.random.default_rng(dimension)
    target = lambda x: np.sqrt(2 / dimension) * np.cos(2 * np.pi * x).sum(1)  # noqa: E731
    errors = []
    for _ in range(60):
        train, test = rng.random((n, dimension)), rng.random((3000, dimension))
        _, nearest = cKDTree(train, boxsize=1.0).query(test)
        errors.append(((target(test) - target(train[nearest])) ** 2).mean())
    told = solve(resolution.nearest_neighbours(), {"n": float(n), "d": float(dimension)})["E"]
    error = np.std(errors, ddof=1) / np.sqrt(60)
    assert abs(np.mean(errors) - told) < 4 * error and error < 0.025 * told


@pytest.mark.instant
def test_series_of_a_wave_is_the_mean_over_directions():
    """Three dimensions: the mean of 1 - cos(2 pi r u), u uniform on [-1, 1], integrated by hand."""
    for r in (0.02, 0.1, 0.2):
        exact = 2 * (1 - np.sin(2 * np.pi * r) / (2 * np.pi * r))
        found = resolution._wave_series().subs({resolution.DIMENSION: 3, resolution.DISTANCE: r})
        assert float(found) == pytest.approx(exact, rel=1e-5)


@pytest.mark.instant
def test_lines_between_points_by_adding_gap_after_gap():
    """Gaps of 300 points, each integrated numerically, many circles; |z| < 4. Even gaps are off by 120."""
    rng = np.random.default_rng(5)
    n, circles = 300, 1500
    gaps = rng.exponential(size=(circles, n))
    gaps /= gaps.sum(1, keepdims=True)  # the gaps of n uniform points
    nodes, weights = np.polynomial.legendre.leggauss(12)
    s, weights = (nodes + 1) / 2, weights / 2
    wave = lambda place: np.exp(2j * np.pi * place)  # noqa: E731
    h = gaps[..., None]
    missed = np.abs(wave(s * h) - (1 - s) - s * wave(h)) ** 2
    errors = (gaps * (missed @ weights)).sum(1)
    told = solve(resolution.lines_between_points(), {"n": float(n)})["E"]
    z = (errors.mean() - told) / (errors.std(ddof=1) / np.sqrt(circles))
    assert abs(z) < 4
    even = (2 * np.pi) ** 4 / 120 / n**4
    assert told == pytest.approx(120 * even, rel=0.1)


@pytest.mark.instant
def test_determined_fit_against_least_squares():
    """Excess error |w - w*|^2 of 4000 fits; |z| < 4."""
    rng = np.random.default_rng(6)
    n, features = 30, 8
    x, noise = rng.standard_normal((4000, n, features)), 0.5 * rng.standard_normal((4000, n, 1))
    moved = np.linalg.solve(x.transpose(0, 2, 1) @ x, x.transpose(0, 2, 1) @ noise)
    errors = (moved**2).sum((1, 2))
    told = solve(resolution.determined_fit(), {"n": 30.0, "N": 8.0, "sigma2": 0.25})
    assert abs(errors.mean() - told["E"]) < 4 * errors.std() / np.sqrt(4000)
    assert told["exponent"] == pytest.approx(30 / 21)


@pytest.mark.long
def test_piecewise_linear_in_two_dimensions_has_exponent_4_over_d():
    """Delaunay triangles of random points, tiled over the torus: slope 2 within 0.15."""
    from scipy.interpolate import LinearNDInterpolator

    target = lambda x: np.cos(2 * np.pi * x).sum(1)  # noqa: E731
    rng = np.random.default_rng(9)
    sizes, errors = (100, 400, 1600), []
    for n in sizes:
        found = []
        for _ in range(12):
            train, test = rng.random((n, 2)), rng.random((3000, 2))
            tiles = np.concatenate([train + np.array([i, j]) for i in (-1, 0, 1) for j in (-1, 0, 1)])
            kept = ((tiles > -0.5) & (tiles < 1.5)).all(1)
            told = LinearNDInterpolator(tiles[kept], target(tiles[kept]))(test)
            found.append(((target(test) - told) ** 2).mean())
        errors.append(np.mean(found))
    slope = -np.polyfit(np.log(sizes), np.log(errors), 1)[0]
    assert slope == pytest.approx(float(resolution.asymptotic("samples", 2, 2)), abs=0.15)


@pytest.mark.instant
def test_laplace_kernel_on_a_circle_has_the_stated_capacity_and_saturates():
    """Eigenvalues by FFT fall as k^-2; regression on a grid misses a smooth wave as n^-4, twice the capacity."""
    told = resolution.kernel_exponents(sp.Rational(1, 2), 1)
    kernel = lambda gap: np.cosh(0.5 - np.abs((gap + 0.5) % 1 - 0.5))  # noqa: E731  (periodic Laplace, length 1)
    grid = np.arange(4096) / 4096
    eigenvalues = np.abs(np.fft.rfft(kernel(grid))) / 4096
    assert -np.polyfit(np.log(np.arange(20, 200)), np.log(eigenvalues[20:200]), 1)[0] == pytest.approx(2, abs=0.02)
    errors = []
    for n in (40, 160):
        train = np.arange(n) / n
        weights = np.linalg.solve(kernel(train[:, None] - train), np.cos(2 * np.pi * train))
        errors.append(((kernel(grid[:, None] - train) @ weights - np.cos(2 * np.pi * grid)) ** 2).mean())
    assert np.log(errors[0] / errors[1]) / np.log(4) == pytest.approx(float(told["smooth"]), abs=0.05)
    assert told["typical"] == resolution.asymptotic("samples", sp.Rational(1, 2), 1)


@pytest.mark.instant
def test_which_limit_a_window_is_in_and_the_number_that_decides():
    samples, parameters, variance, width = resolution.forecast((4, 5), (1000, 10000))
    assert samples.applies and parameters.applies and not variance.applies and not width.applies
    assert samples.exponent.value - samples.exponent.error == pytest.approx(2 / 5)
    assert samples.exponent.value + samples.exponent.error == pytest.approx(4 / 4)
    assert "5.6 points a direction" in samples.because
    coarse = resolution.forecast(40.0, (1000, 10000))[0]
    assert not coarse.applies and coarse.exponent is None and "too few" in coarse.because
    samples, _, variance, _ = resolution.forecast(3.0, (1000, 4000), degrees_of_freedom=100)
    assert variance.applies and not samples.applies and "10.0 times" in variance.because
    assert variance.exponent.value == pytest.approx((1000 / 899 + 4000 / 3899) / 2)
    width = resolution.forecast(3.0, (1000, 4000), degrees_of_freedom=1e5)[3]
    assert width.applies and width.exponent.value == 1
    for bad in (
        dict(dimension=0, window=(10, 100)),
        dict(dimension=(3, 2), window=(10, 100)),
        dict(dimension=2, window=(100, 10)),
        dict(dimension=2, window=(10, 100), degrees_of_freedom=0),
    ):
        with pytest.raises(BadData):
            resolution.forecast(**bad)
    with pytest.raises(UnknownName, match="nearest neighbours"):
        resolution.forecast(2, (10, 100), "nearest neighbour")
    with pytest.raises(UnknownName):
        resolution.asymptotic("steps")
