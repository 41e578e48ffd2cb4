"""Spectra from covariances: exact spectra of Gaussian measures are the ground truth, near and far from the domain."""

import heapq
import itertools
import time

import numpy as np
import pytest

from learning_mechanics.solvers.learning_curve import learning_curve
from learning_mechanics.theory.architecture.constructors import activation, dense, serial
from learning_mechanics.theory.errors import BadData, OutsideDomain, Underpowered, UnknownName
from learning_mechanics.theory.hermite.hermite_eigenstructure import (
    Validity,
    covariance_spectrum,
    hermite_spectrum,
    level_logarithms,
    validity,
)
from learning_mechanics.theory.hermite.hermite_modes import complete_symmetric, mode_features, rest_in_bins, top_modes
from learning_mechanics.theory.hermite.level_coefficients import level_coefficients
from learning_mechanics.theory.regression.kernels import laplace, linear, rbf

pytestmark = pytest.mark.instant


def mehler(gamma, width, count):
    """Largest eigenvalues of exp(-|x - x'|^2 / (2 width^2)) for x ~ N(0, diag gamma): products of geometric series."""
    a, b = 1 / (4 * gamma), 1 / (2 * width**2)
    c = np.sqrt(a * a + 2 * a * b)
    whole = a + b + c
    head, ratio = float(np.prod(np.sqrt(2 * a / whole))), b / whole
    found, queue = [], [(-head, (0,) * len(gamma), 0)]
    while len(found) < count:  # each multi-index is reached once: raise components from the last raised one on
        value, powers, first = heapq.heappop(queue)
        found.append(-value)
        for i in range(first, len(gamma)):
            raised = (*powers[:i], powers[i] + 1, *powers[i + 1 :])
            heapq.heappush(queue, (value * ratio[i], raised, i))
    return np.array(found)


def mehler_exponential(t, count):
    """Eigenvalues of exp(x x' / s^2), x ~ N(0, sigma^2), t = sigma^2 / s^2 < 1/2."""
    b = (1 - np.sqrt(1 - 4 * t * t)) / (2 * t)
    return np.sqrt(b / t) * b ** np.arange(count)


def power_law(d, capacity):
    gamma = np.arange(1.0, d + 1) ** -capacity
    return gamma / gamma.sum()


def test_the_ground_truth_by_quadrature():
    """Nystrom with 120 Gauss-Hermite nodes in one dimension."""
    nodes, weights = np.polynomial.hermite_e.hermegauss(120)
    root = np.sqrt(weights / weights.sum())
    x = np.sqrt(0.7) * nodes
    gram = np.exp(-((x[:, None] - x) ** 2) / 2) * np.outer(root, root)
    assert np.allclose(np.linalg.eigvalsh(gram)[::-1][:6], mehler(np.array([0.7]), 1.0, 6), rtol=1e-8)
    x = 0.6 * nodes
    gram = np.exp(np.outer(x, x)) * np.outer(root, root)
    assert np.allclose(np.linalg.eigvalsh(gram)[::-1][:6], mehler_exponential(0.36, 6), rtol=1e-7)


@pytest.mark.parametrize(
    "d, capacity, width",
    [(10, 0.0, 1.0), (10, 0.0, 2.0), (50, 0.0, 1.0), (50, 1.0, 2.0), (200, 1.0, 1.0), (200, 1.0, 2.0), (64, 0.5, 1.0)],
)
def test_good_at_high_effective_dimension(d, capacity, width):
    """Within the domain the ten largest eigenvalues are as near as `mixing` says."""
    gamma = power_law(d, capacity)
    measured = validity(level_coefficients(rbf(width), 1.0), gamma)
    assert measured.holds
    found = covariance_spectrum(rbf(width), gamma, modes=100)[0][:10]
    assert np.abs(np.log(found / mehler(gamma, width, 10))).max() < 2.2 * measured.mixing


def test_poor_at_low_effective_dimension_and_says_so():
    for d, width in ((1, 1.0), (2, 1.0), (2, 0.7)):
        gamma = power_law(d, 0.0)
        measured = validity(level_coefficients(rbf(width), 1.0), gamma)
        assert not measured.holds and measured.distance > 2
        found = covariance_spectrum(rbf(width), gamma, modes=100)[0][:10]
        assert np.abs(np.log(found / mehler(gamma, width, 10))).max() > 0.4
    # the exponential kernel in one dimension: the ratio of successive eigenvalues is 0.425, not 0.36
    exact = mehler_exponential(0.36, 3)
    found = np.exp(level_coefficients(lambda t: np.exp(0.36 * t), 0.36, order=4).log_coefficients) * 0.36 ** np.arange(
        5
    )
    assert abs(found[1] / found[0] - 0.36) < 1e-9 and abs(exact[1] / exact[0] - 0.425) < 5e-4


def test_levels_that_keep_their_trace_are_nearer_than_bare_ones():
    gamma = power_law(64, 1.5)
    exact = mehler(gamma, 1.0, 200)
    errors = {
        kind: np.median(np.abs(np.log(covariance_spectrum(rbf(1.0), gamma, modes=200, levels=kind)[0][:200] / exact)))
        for kind in ("trace", "bare")
    }
    assert errors["trace"] < 0.2 * errors["bare"]
    # in high effective dimension both are the same ansatz
    flat = np.full(500, 1 / 500)
    levels = level_coefficients(rbf(1.0), 1.0, order=3)
    assert np.abs(level_logarithms(levels, flat) - level_logarithms(levels, flat, "bare"))[:4].max() < 0.01


def test_modes_are_those_of_a_heap_and_of_brute_force():
    gamma, logs = power_law(40, 1.2), np.log([1.0, 0.8, 0.9, 0.7, 0.5])
    modes = top_modes(np.log(gamma), logs, 3000)
    every = sorted(
        (
            logs[level] + sum(np.log(gamma[i]) for i in chosen)
            for level in range(5)
            for chosen in itertools.combinations_with_replacement(range(30), level)
        ),
        reverse=True,
    )
    complete = sum(value > logs[1] + np.log(gamma[30]) + 1e-9 for value in every)  # later components begin there
    assert complete > 50
    assert np.abs(modes.log_eigenvalues[:complete] - every[:complete]).max() < 1e-12
    heap = [(-logs[level] - level * np.log(gamma[0]), level, (0,) * level) for level in range(5)]
    heapq.heapify(heap)
    seen, found = set(heap), []
    while len(found) < 3000:
        value, level, chosen = heapq.heappop(heap)
        found.append(-value)
        for place in range(level):
            moved = tuple(sorted((*chosen[:place], chosen[place] + 1, *chosen[place + 1 :])))
            if max(moved, default=0) < 40:
                item = (-logs[level] - sum(np.log(gamma[i]) for i in moved), level, moved)
                if (level, moved) not in seen:
                    seen.add((level, moved))
                    heapq.heappush(heap, item)
    assert np.abs(modes.log_eigenvalues - found).max() < 1e-12
    first = modes.labels(1)[0]
    assert abs(logs[len(first)] + sum(np.log(gamma[i]) for i in first) - modes.log_eigenvalues[0]) < 1e-12


def test_a_million_modes_in_seconds():
    levels = level_coefficients(rbf(1.0), 1.0)
    gamma = power_law(64, 1.2)
    start = time.process_time()
    modes = top_modes(np.log(gamma), level_logarithms(levels, gamma), 1_000_000)
    spent = time.process_time() - start
    assert len(modes) == 1_000_000 and (np.diff(modes.log_eigenvalues) <= 0).all()
    assert spent < 10  # about half a second on an idle core


def test_what_is_not_enumerated_is_counted():
    gamma, logs = np.array([0.5, 0.3, 0.15, 0.05]), np.log([1.0, 0.8, 0.9, 0.7, 0.5])
    every = np.exp(
        [
            logs[level] + sum(np.log(gamma[i]) for i in chosen)
            for level in range(5)
            for chosen in itertools.combinations_with_replacement(range(4), level)
        ]
    )
    modes = top_modes(np.log(gamma), logs, 40)
    values, counts, missing = rest_in_bins(np.log(gamma), logs, modes)
    rest = np.sort(every)[: len(every) - 40]
    assert abs(float((values * counts).sum()) + missing - rest.sum()) < 1e-12
    assert abs(counts.sum() - len(rest)) < 0.05 * len(rest)
    exact = [np.sum([np.prod(c) for c in itertools.combinations_with_replacement(gamma, n)]) for n in range(5)]
    assert np.allclose(complete_symmetric(gamma, 4), exact, rtol=1e-13)


@pytest.mark.parametrize("kernel", [rbf(1.0), laplace(1.0), linear()])
def test_the_trace_is_that_of_the_kernel(kernel):
    values, counts = covariance_spectrum(kernel, power_law(30, 0.7), modes=500)
    assert abs(float(values @ counts) - 1) < 1e-9  # K(x, x) = 1 on the unit sphere for all three


def test_features_are_orthonormal_on_gaussian_data():
    """Sample means of products over 20000 rows: |z| < 5 for 210 entries, a false alarm in 1e-4 of seeds."""
    levels = level_coefficients(rbf(1.0), 1.0)
    gamma = power_law(6, 0.5)
    modes = top_modes(np.log(gamma), level_logarithms(levels, gamma), 20)
    z = np.random.default_rng(11).standard_normal((20_000, 6))
    features = mode_features(modes, 20, z)
    products = features[:, :, None] * features[:, None, :]
    score = (products.mean(0) - np.eye(20)) / np.maximum(products.std(0), 1e-12) * np.sqrt(len(z))
    assert np.abs(score).max() < 5


def _gaussian(rows, d, capacity, seed):
    gamma = power_law(d, capacity)
    z = np.random.default_rng(seed).standard_normal((rows, d))
    return z * np.sqrt(gamma), z


def test_target_power_is_found_on_its_modes():
    x, z = _gaussian(4000, 30, 0.7, 3)
    noise = np.random.default_rng(4).standard_normal(4000)
    y = z[:, 0] + 0.5 * z[:, 1] * z[:, 2] + 0.4 * noise
    spectrum = hermite_spectrum(rbf(1.0), x, y, modes=2000)
    held = dict(zip(spectrum.facts["labels"], spectrum.power, strict=False))
    # the power of a group is spread over its modes: sum what lies around the two modes that hold the target
    ranks = {label: rank for rank, label in enumerate(spectrum.facts["labels"])}
    assert (0,) in held and ranks[0,] < 3
    assert abs(spectrum.power[:3].sum() - 1) < 0.1
    assert abs(spectrum.power.sum() - 1.25) < 0.12 and abs(spectrum.noise - 0.16) < 0.08
    assert 0.8 < spectrum.explained <= 1


def test_learning_curves_of_kernel_regression_on_gaussian_rows():
    """Mean test error over 60 training sets within 8 % (the sampling error is about 1.5 %)."""
    x, z = _gaussian(2000, 100, 0.5, 1)
    y = z[:, 0] + 0.7 * z[:, 1] * z[:, 2] + 0.7 * z[:, 4]
    kernel, sizes, ridge = rbf(1.0), (30, 60, 120), 0.1
    predicted = learning_curve(hermite_spectrum(kernel, x, y, modes=3000, order=12), sizes=sizes, ridge=ridge).test
    gram = kernel(x)
    for n, expected in zip(sizes, predicted, strict=True):
        errors = []
        for seed in range(60):
            order = np.random.default_rng([seed, n]).permutation(len(x))
            train, test = order[:n], order[n:]
            fitted = gram[np.ix_(test, train)] @ np.linalg.solve(
                gram[np.ix_(train, train)] + ridge * np.eye(n), y[train]
            )
            errors.append(np.mean((fitted - y[test]) ** 2))
        assert abs(expected / np.mean(errors) - 1) < 0.08
    isotropic = hermite_spectrum(kernel, x, y, modes=3000, order=12, gamma=np.full(100, 0.01))
    assert learning_curve(isotropic, sizes=sizes, ridge=ridge).test[-1] / predicted[-1] > 1.4


def test_spectra_are_accepted_where_others_are():
    x, z = _gaussian(1500, 40, 0.7, 5)
    spectrum = hermite_spectrum(
        serial(dense(), activation("relu"), dense(2**0.5)), x, z[:, 0], modes=1000, which="nngp"
    )
    assert learning_curve(spectrum, sizes=[50.0, 100.0], ridge=0.01).test.shape == (2,)
    assert spectrum.capacity.value > 0 and "Hermite" in str(spectrum)
    try:
        assert spectrum.data_exponent().value > 0
    except Underpowered:
        assert spectrum.decades < 1.5 or spectrum.target_exponent is None
    assert spectrum.to_dict()["facts"]["validity"]["effective_dimension"] > 10


def test_refusals_and_hard_inputs():
    x = np.random.default_rng(0).standard_normal((50, 2))
    assert "NOT TRUSTED" in hermite_spectrum(rbf(1.0), x, modes=10).method
    with pytest.raises(OutsideDomain, match="mixing"):
        hermite_spectrum(rbf(1.0), x, modes=10, strict=True)
    shifted = np.random.default_rng(0).standard_normal((200, 50)) + 1.0
    with pytest.raises(OutsideDomain, match="centre"):
        hermite_spectrum(rbf(10.0), shifted, modes=10, strict=True)
    for bad in (np.ones((3, 2)), np.zeros((1, 2)), np.full((3, 2), np.nan)):
        with pytest.raises(BadData):
            hermite_spectrum(rbf(1.0), bad)
    with pytest.raises(Underpowered, match="at least 8"):
        hermite_spectrum(rbf(1.0), x[:5], x[:5, 0])
    with pytest.raises(BadData, match="one per row"):
        hermite_spectrum(rbf(1.0), x, np.ones(3))
    with pytest.raises(BadData, match="modes"):
        hermite_spectrum(rbf(1.0), x, modes=0)
    with pytest.raises(UnknownName):
        hermite_spectrum(rbf(1.0), x, levels="exact")
    one_column = hermite_spectrum(laplace(1.0), x[:, :1], modes=50)
    assert np.isfinite(one_column.eigenvalues).all() and not one_column.facts["trusted"]
    repeated = np.repeat(x, 2, axis=1)  # rank 2 in four columns
    assert len(hermite_spectrum(linear(), repeated, modes=10).eigenvalues) == 2
    assert "FAILS" in str(Validity(1.0, 0.0, 0.0, 0.0, 3.0, 0.5))
