"""Second moments of one-pass SGD against brute force: full matrices, all sample sequences, quadrature, the spectrum."""

from itertools import combinations_with_replacement, product

import numpy as np
import pytest
import sympy as sp
from scipy.integrate import quad

from learning_mechanics.solvers.predict import solve
from learning_mechanics.solvers.recursion import iterate
from learning_mechanics.theory.dataset import Dataset, PowerLaw
from learning_mechanics.theory.dynamics.moments import (
    _lift,
    gaussian_second_moments,
    isserlis,
    noise_gain,
    stationary_excess_risk,
)
from learning_mechanics.theory.dynamics.row_moments import row_second_moments
from learning_mechanics.theory.dynamics.spectral_decay import asymptotic_risk, spectral_decay, time_exponent
from learning_mechanics.theory.errors import AssumptionViolated, BadData, OutsideDomain
from learning_mechanics.theory.models.sgd_least_squares import SgdLeastSquares, full_batch_moments


def numbers(expression, **values):
    """A symbolic expression with sums over modes, in NumPy."""
    plain = expression.replace(lambda e: e.func.__name__ == "over", lambda e: sp.Function("total")(e.args[0]))
    symbols = sorted(plain.free_symbols, key=str)
    return sp.lambdify(symbols, plain, modules=[{"total": np.sum}, "numpy"])(*(values[str(s)] for s in symbols))


@pytest.mark.instant
def test_gaussian_moments_equal_quadrature():
    """All moments up to order 6 of two correlated Gaussians, by Gauss-Hermite quadrature (exact at this order)."""
    nodes, weights = np.polynomial.hermite_e.hermegauss(8)
    covariance = np.array([[2.0, 0.7], [0.7, 0.5]])
    grid = np.stack(np.meshgrid(nodes, nodes, indexing="ij")).reshape(2, -1)
    points = np.linalg.cholesky(covariance) @ grid
    weight = np.outer(weights, weights).ravel() / weights.sum() ** 2
    x = sp.symbols("x0 x1")
    table = {(x[i], x[j]): covariance[i, j] for i in range(2) for j in range(2)}
    for order in range(7):
        for which in combinations_with_replacement(range(2), order):
            expected = (weight * np.prod(points[list(which)], axis=0)).sum() if order else 1.0
            found = isserlis(sp.prod(x[i] for i in which), x, lambda a, b: table[a, b])
            assert float(found) == pytest.approx(expected, abs=1e-12)


def brute_force(eigenvalues, error, eta, batch, noise, steps):
    """E e e' as a full matrix: E x x'C x x' = 2 S C S + tr(C S) S for Gaussian x, by hand."""
    S, C = np.diag(eigenvalues), np.outer(error, error)
    diagonals = [np.diag(C)]
    for _ in range(steps):
        alone = 2 * S @ C @ S + (np.trace(C @ S) + noise) * S
        C = C - eta * (S @ C + C @ S) + eta**2 * (alone / batch + (1 - 1 / batch) * S @ C @ S)
        diagonals.append(np.diag(C))
    return np.array(diagonals)


@pytest.mark.short
@pytest.mark.parametrize("batch", [1, 2, 16])
@pytest.mark.parametrize("noise", [0.0, 0.3])
def test_recursion_equals_the_full_matrix_recursion(batch, noise):
    rng = np.random.default_rng(batch)
    eigenvalues, error = rng.uniform(0.05, 1.0, 7), rng.standard_normal(7)
    values = {"lambda": eigenvalues, "c": error**2, "eta": 0.2, "B": batch, "sigma2": noise}
    found = iterate(gaussian_second_moments(), values, np.arange(61))["c"]
    expected = brute_force(eigenvalues, error, 0.2, batch, noise, 60)
    assert np.abs(found / expected - 1).max() < 1e-12
    planted = iterate(gaussian_second_moments(), {**values, "eta": 0.22}, np.arange(61))["c"]
    assert np.abs(planted / expected - 1).max() > 1e-2


@pytest.mark.instant
def test_recursion_is_the_published_one():
    """arXiv:2405.15074 and its relatives: the coefficient of c, and the shared noise."""
    (c,), (equation,) = gaussian_second_moments().unknowns, gaussian_second_moments().equations
    lam, eta, batch, noise = sp.symbols("L eta B s")
    names = {str(s): s for s in equation.free_symbols}
    (total,) = (part for part in equation.atoms(sp.Function))
    plain = equation.subs(total, sp.Symbol("T")).subs(
        {names["lambda"]: lam, names["eta"]: eta, names["B"]: batch, names["sigma2"]: noise}
    )
    expected = (1 - 2 * eta * lam + eta**2 * lam**2 * (1 + 1 / batch)) * c
    expected += eta**2 * lam / batch * (sp.Symbol("T") + noise)
    assert sp.expand(plain - expected) == 0


@pytest.mark.instant
def test_what_does_not_close_is_refused():
    errors, spectrum = sp.symbols("e0:3"), sp.symbols("l0:3")
    with pytest.raises(AssumptionViolated, match="mixed moments"):
        _lift(errors[0] ** 2 + errors[0] * errors[1], errors, spectrum)
    with pytest.raises(AssumptionViolated, match="enter alike"):
        _lift(errors[1] ** 2 * spectrum[1] + 2 * errors[2] ** 2 * spectrum[2], errors, spectrum)


def matrix_of(eigenvalues, eta, batch):
    own = 1 - 2 * eta * eigenvalues + eta**2 * eigenvalues**2 * (1 + 1 / batch)
    return np.diag(own) + eta**2 / batch * np.outer(eigenvalues, eigenvalues)


@pytest.mark.short
@pytest.mark.parametrize("batch", [1, 3])
def test_noise_gain_is_one_where_the_spectral_radius_is_one(batch):
    eigenvalues = np.array([1.0, 0.6, 0.3, 0.1])
    gain = noise_gain(gaussian_second_moments())
    low, high = 0.01, 2 / (1 + 1 / batch) - 1e-9
    for _ in range(200):
        eta = (low + high) / 2
        radius = np.abs(np.linalg.eigvals(matrix_of(eigenvalues, eta, batch))).max()
        low, high = (eta, high) if radius < 1 else (low, eta)
    assert numbers(gain, **{"lambda": eigenvalues, "eta": low, "B": batch}) == pytest.approx(1, abs=1e-10)


@pytest.mark.short
def test_label_noise_sustains_the_stationary_risk():
    eigenvalues = np.array([1.0, 0.5, 0.2])
    values = {"lambda": eigenvalues, "eta": 0.3, "B": 2.0, "sigma2": 0.7}
    final = iterate(gaussian_second_moments(), {**values, "c": np.ones(3)}, [2000])["c"][0]
    stationary = numbers(stationary_excess_risk(gaussian_second_moments()), **values)
    assert stationary == pytest.approx(final @ eigenvalues / 2, rel=1e-12)


@pytest.mark.instant
def test_full_batch_limit_is_gradient_descent():
    (equation,) = full_batch_moments().equations
    names = {str(s): s for s in equation.free_symbols}
    expected = names["c"] * (1 - names["eta"] * names["lambda"]) ** 2
    assert sp.expand(equation - expected) == 0


def enumerated(x, y, start, eta, batch, steps):
    """Mean excess loss and E D D' over every possible sequence of minibatches, by plain SGD."""
    best = np.linalg.lstsq(x, y, rcond=None)[0]
    risk, second = np.zeros(steps + 1), np.zeros((x.shape[1], x.shape[1]))
    draws = list(product(range(len(x)), repeat=batch))
    floor = ((x @ best - y) ** 2).sum() / (2 * len(x))
    for sequence in product(draws, repeat=steps):
        weights = start.copy()
        for step in range(steps + 1):
            risk[step] += ((x @ weights - y) ** 2).sum() / (2 * len(x)) - floor
            if step < steps:
                rows = list(sequence[step])
                weights = weights - eta * x[rows].T @ (x[rows] @ weights - y[rows]) / batch
        second += (weights - best) @ (weights - best).T
    count = len(draws) ** steps
    return risk / count, second / count


@pytest.mark.short
@pytest.mark.parametrize(("batch", "steps"), [(1, 4), (2, 3), (3, 2)])
def test_row_recursion_equals_the_mean_over_all_sample_sequences(batch, steps):
    rng = np.random.default_rng(5)
    x, y = rng.standard_normal((3, 2)) * [1, 0.5] + 0.4, rng.standard_normal((3, 2))
    x, y, start = np.vstack([x, x[:1]]), np.vstack([y, y[1:2]]), rng.standard_normal((2, 2))
    eta, best = 0.6, np.linalg.lstsq(x, y, rcond=None)[0]
    risk, second = enumerated(x, y, start, eta, batch, steps)
    values = {"X": x, "E": y - x @ best, "H": x.T @ x / len(x), "P": len(x), "eta": eta, "B": batch}
    values |= {"M": (start - best) @ (start - best).T, "m": start - best}
    found = iterate(row_second_moments(), values, np.arange(steps + 1))["M"]
    assert np.abs(found[-1] - second).max() < 1e-12 * np.abs(second).max()
    assert np.trace(values["H"] @ found, axis1=1, axis2=2) / 2 == pytest.approx(risk, rel=1e-12)
    # without the cross term between residuals and mean error the agreement is lost
    planted = iterate(row_second_moments(), {**values, "m": 0 * best}, np.arange(steps + 1))["M"]
    assert np.abs(planted[-1] - second).max() > 1e-3 * np.abs(second).max()


@pytest.mark.short
def test_row_recursion_is_gaussian_for_gaussian_rows():
    """On 2^15 Gaussian rows the exact recursion approaches the Gaussian one: two derivations, one limit."""
    rng = np.random.default_rng(0)
    spread = np.sqrt([1.0, 0.4, 0.1])
    half = rng.standard_normal((2**14, 3))
    half = half @ np.linalg.inv(np.linalg.cholesky(half.T @ half / len(half))).T
    x = np.vstack([half, -half]) * spread
    target, H = np.array([[1.0], [2.0], [-1.0]]), x.T @ x / len(x)
    rows = {"X": x, "E": np.zeros((len(x), 1)), "H": H, "P": len(x), "eta": 0.3, "B": 1}
    rows |= {"M": target @ target.T, "m": -target}
    found = iterate(row_second_moments(), rows, [0, 10, 30])["M"]
    values = {"lambda": spread**2, "c": target[:, 0] ** 2, "eta": 0.3, "B": 1, "sigma2": 0.0}
    expected = iterate(gaussian_second_moments(), values, [0, 10, 30])["c"]
    assert np.trace(H @ found, axis1=1, axis2=2) == pytest.approx(expected @ spread**2, rel=0.02)


@pytest.mark.instant
def test_minimum_norm_solution_may_leave_directions_untouched():
    """Fewer rows than features: the error outside the row space never moves and costs nothing."""
    x, y = np.array([[1.0, 0, 0], [0, 2, 0]]), np.ones((2, 1))
    best, start = np.linalg.lstsq(x, y, rcond=None)[0], np.ones((3, 1))
    values = {"X": x, "E": y - x @ best, "H": x.T @ x / 2, "P": 2, "eta": 0.1, "B": 1}
    values |= {"M": (start - best) @ (start - best).T, "m": start - best}
    found = iterate(row_second_moments(), values, [0, 500])["M"]
    assert found[-1][2, 2] == pytest.approx(1.0) and np.trace(values["H"] @ found[-1]) < 1e-12


@pytest.mark.short
@pytest.mark.parametrize(("capacity", "power"), [(2.0, 3.4), (1.4, 2.6), (1.0, 2.0)])
def test_exponent_of_the_spectrum(capacity, power):
    """2e5 modes and their tail, t from 1e4 to 1e6: local slopes and prefactor are the derived ones to 1e-3."""
    k, times = np.arange(1.0, 2e5 + 1), np.geomspace(1e4, 1e6, 9)

    def risk(t):
        # beyond the last mode the sum is an integral, by the midpoint rule to 1e-10
        tail = quad(lambda u: u ** (power - 2) * np.exp(-2 * t * u**capacity), 0, 1 / (k[-1] + 0.5), epsabs=0)[0]
        return (k**-power * np.exp(-2 * t * k**-capacity)).sum() + tail

    values = np.array([risk(t) for t in times])
    exponent, prefactor = map(float, spectral_decay(power, capacity))
    slopes = np.diff(np.log(values)) / np.diff(np.log(times))
    assert np.abs(slopes + exponent).max() < 1e-3
    assert values * times**exponent == pytest.approx(prefactor, rel=1e-3)


@pytest.mark.instant
@pytest.mark.parametrize(("power", "capacity"), [(1, 1), (0.5, 1.4), (2, 0), (2, -1)])
def test_sums_without_a_power_law_in_time_are_refused(power, capacity):
    with pytest.raises(OutsideDomain, match="the power must exceed 1"):
        spectral_decay(power, capacity)


@pytest.mark.instant
def test_exponents_by_hand():
    a, b = sp.symbols("a b", positive=True)
    assert sp.simplify(spectral_decay(a, b)[0] - (a - 1) / b) == 0
    # arXiv:2405.15074: F_pp ~ Gamma(beta/alpha - 1/(2 alpha) + 1) / (2 alpha), a = 2 alpha + 2 beta, b = 2 alpha
    alpha, beta = sp.Rational(7, 10), sp.Rational(6, 10)
    exponent, prefactor = spectral_decay(2 * alpha + 2 * beta, 2 * alpha)
    shape = beta / alpha - 1 / (2 * alpha) + 1
    assert exponent == shape
    assert float(prefactor) == pytest.approx(float(sp.gamma(shape) / (2 * alpha) * 2**-shape), rel=1e-12)
    # beyond a = 2 b the noise decays more slowly than the signal, as t^-(2 - 1/b)
    assert time_exponent(sp.Rational(3, 2), 10) == sp.Rational(4, 3)
    t = sp.Symbol("t", nonnegative=True)
    assert asymptotic_risk(1, 2).subs(t, 1) == sp.Rational(1, 4)


@pytest.mark.short
def test_laws_read_the_initial_state():
    theory = SgdLeastSquares(dim=10)
    claim = theory.claim("risk_gaussian")
    instance = claim.setup.draw(0)
    solution = solve(claim.law, instance)
    assert solution.values.shape == (len(instance.steps), 1)
    assert solution.values[0, 0] == pytest.approx(0.5)  # sum lambda w^2 = 1, weights start at zero
    assert solution.values[-1, 0] < solution.values[0, 0]
    assert float(claim.law.assumptions[0].distance(claim.law.bind(instance))) < 1


@pytest.mark.short
def test_steps_beyond_stability_are_out_of_the_domain():
    claim = SgdLeastSquares(dim=10).claim("risk_gaussian")
    for rate in (1.5, 5.0):
        assert claim.law.assumptions[0].distance(claim.law.bind(claim.setup.at(learning_rate=rate).draw(0))) > 1


@pytest.mark.short
def test_rows_are_bounded_only_where_their_second_moments_shrink():
    """What is called bounded has a spectral radius below 1 (of the full d^2 x d^2 operator)."""
    claim, rng = SgdLeastSquares().claim("risk_digits"), np.random.default_rng(0)
    bounded, growing = 0, 0
    for seed in range(20):
        x = rng.standard_normal((30, 3)) * rng.exponential(1.0, (30, 1))
        rate = rng.uniform(0.1, 1.5)
        setup = claim.setup.at(learning_rate=rate, prepare=())
        values = claim.law.bind(setup.draw(seed, Dataset(x, x[:, :1])))
        H, eye = values["H"], np.eye(3)
        fourth = np.einsum("pi,pj,pk,pl->ijkl", x, x, x, x).reshape(9, 9) / len(x)
        step = np.eye(9) - values["eta"] * (np.kron(H, eye) + np.kron(eye, H)) + values["eta"] ** 2 * fourth
        radius = np.abs(np.linalg.eigvalsh(step)).max()
        growing += radius > 1
        if claim.law.assumptions[0].distance(values) < 1:
            bounded += 1
            assert radius < 1
    assert bounded > 2 and growing > 2


@pytest.mark.instant
def test_data_cannot_be_bound_to_the_gaussian_claim():
    claim = SgdLeastSquares().claim("risk_gaussian")
    instance = claim.setup.draw(0, Dataset(np.eye(3), np.arange(3.0)))
    with pytest.raises(BadData, match="Gaussian features"):
        claim.law.bind(instance)
    with pytest.raises(BadData, match="no exponents"):
        scaling = SgdLeastSquares().claim("time_exponent")
        scaling.rival.bind(scaling.setup.at(data="digits").draw(0, Dataset(np.eye(3), np.arange(3.0))))


@pytest.mark.instant
def test_power_law_features_are_what_the_claims_say():
    eigenvalues, target = PowerLaw(50, 1.4, 2.6).spectrum()
    k = np.arange(1, 51)
    assert np.ptp(np.log(eigenvalues) + 1.4 * np.log(k)) < 1e-12
    assert np.ptp(np.log(eigenvalues * target**2) + 2.6 * np.log(k)) < 1e-12
