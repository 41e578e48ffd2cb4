"""Kernel predictions against integrated equations, explicit steps of linear models, scikit-learn and wide networks."""

from functools import lru_cache

import mpmath
import numpy as np
import pytest
from scipy.integrate import solve_ivp

from learning_mechanics.theory.architecture.constructors import activation, dense, serial
from learning_mechanics.theory.errors import BadData, OutsideDomain
from learning_mechanics.theory.infinite_width.gradient_flow import gaussian_process, kernel_training, trained_ensemble
from learning_mechanics.theory.infinite_width.network_kernel import infinite_width
from learning_mechanics.theory.regression.kernels import ntk, rbf

pytestmark = pytest.mark.instant

rng = np.random.default_rng(5)
P, Q, FEATURES = 6, 4, 9
FIRST, LAST = rng.standard_normal((2, P + Q, FEATURES))  # gradients of first and last weights of a linear model
NTK, NNGP = FIRST @ FIRST.T + LAST @ LAST.T, LAST @ LAST.T  # only the last weights start at random
Y = rng.standard_normal((P, 2))


def parts(kernel):
    return kernel[:P, :P], kernel[P:, :P], kernel[P:, P:]


def test_the_mean_against_integration():
    train, cross, _ = parts(NTK)

    def move(_, flat):
        f = flat.reshape(P + Q, 2)
        return (np.concatenate([train, cross]) @ (Y - f[:P]) / P).ravel()

    times = np.array([0.0, 0.01, 0.3, 2.0])
    start = rng.standard_normal((P + Q, 2))
    found = solve_ivp(move, (0, 2.0), start.ravel(), t_eval=times, rtol=1e-12, atol=1e-12, method="DOP853").y
    expected = found.T.reshape(len(times), P + Q, 2)
    training = kernel_training(train, Y, initial=start[:P])
    np.testing.assert_allclose(training.mean(cross, t=times) + start[P:], expected[:, P:], atol=1e-9)
    np.testing.assert_allclose(training.mean(t=times) + start[:P], expected[:, :P], atol=1e-9)


@pytest.mark.parametrize("rate, steps, ridge", [(0.01, 7, 0.0), (0.1, 40, 0.0), (0.05, 25, 0.3)])
def test_mean_and_covariance_against_steps_of_a_linear_model(rate, steps, ridge):
    """Weights (first, last) = (0, normal): every step is a linear map, so the law of the outputs is known exactly."""
    J = np.concatenate([FIRST, LAST], axis=1)
    X, size = J[:P], 2 * FEATURES
    offset, start = np.zeros((size, 2)), np.zeros((size, FEATURES))
    start[FEATURES:] = np.eye(FEATURES)  # weights at the start as a function of the random ones
    current = start.copy()
    for _ in range(steps):
        current = current - rate / P * (X.T @ X @ current + ridge * (current - start))
        offset = offset - rate / P * (X.T @ (X @ offset - Y) + ridge * offset)
    training = kernel_training(parts(NTK)[0], Y, ridge=ridge)
    at = {"t": rate * steps, "learning_rate": rate}
    np.testing.assert_allclose(training.mean(parts(NTK)[1], **at), J[P:] @ offset, rtol=1e-9, atol=1e-11)
    spread = J[P:] @ current
    found = training.covariance(*parts(NNGP), parts(NTK)[1], **at)
    np.testing.assert_allclose(found, spread @ spread.T, rtol=1e-8, atol=1e-10)


def test_large_steps_alternate_and_too_large_ones_are_refused():
    training = kernel_training(np.diag([1.0, 3.0]), np.ones(2))
    rate = 1.9 * 2 / 3
    assert training.critical_learning_rate == pytest.approx(4 / 3)
    expected = 1 - (1 - rate * np.array([1.0, 3.0]) / 2) ** 3
    np.testing.assert_allclose(training.mean(t=3 * rate, learning_rate=rate)[:, 0], expected, rtol=1e-12)
    np.testing.assert_allclose(training.mean(t=np.inf, learning_rate=rate)[:, 0], 1, rtol=1e-12)
    with pytest.raises(OutsideDomain, match="1.33333"):
        training.mean(t=2.0, learning_rate=2.0)
    with pytest.raises(BadData, match="between steps"):
        training.mean(t=1.5 * rate, learning_rate=rate)
    with pytest.raises(BadData, match="time"):
        training.mean(t=-1.0)


def test_many_small_steps_become_the_flow():
    training = kernel_training(parts(NTK)[0], Y)
    flow, gap = training.mean(t=1.0), []
    for rate in (1e-3, 1e-4):
        gap.append(np.abs(training.mean(t=1.0, learning_rate=rate) - flow).max())
    assert 9 < gap[0] / gap[1] < 11


def test_slow_directions_keep_their_digits():
    values = [1e-14, 1e-9, 1.0]
    # rounding of the largest eigenvalue is 16 eps x 3 samples = 1e-14 of it: a smaller one counts as zero
    values[0] = 3e-14
    found = kernel_training(np.diag(values), np.ones(3)).mean(t=1e-3)[:, 0]
    expected = [float(-mpmath.expm1(-mpmath.mpf(v) * mpmath.mpf(1e-3) / 3)) for v in values]
    np.testing.assert_allclose(found, expected, rtol=1e-14)


def test_directions_of_rounding_never_learn():
    training = kernel_training(np.diag([1e-17, 1.0]), np.ones(2))
    np.testing.assert_array_equal(training.mean()[:, 0], [0, 1])
    assert training.condition == np.inf and training.smallest == 1e-17


def test_only_the_last_layer_trained_to_the_end_is_the_gaussian_process():
    training = kernel_training(parts(NNGP)[0], Y)
    mean, covariance = training.posterior(parts(NNGP)[1], parts(NNGP)[2])
    np.testing.assert_allclose(training.mean(parts(NNGP)[1]), mean, atol=1e-12)
    found = training.covariance(*parts(NNGP), parts(NNGP)[1])
    np.testing.assert_allclose(found, covariance, atol=1e-10 * np.abs(covariance).max())


@pytest.mark.short
@pytest.mark.parametrize("noise", [0.3, 1e-8])
def test_against_scikit_learn(noise):
    from sklearn.gaussian_process import GaussianProcessRegressor
    from sklearn.gaussian_process.kernels import RBF

    x, x_test = rng.standard_normal((12, 3)), rng.standard_normal((5, 3))
    y = rng.standard_normal((12, 2))
    peer = GaussianProcessRegressor(RBF(1.5, length_scale_bounds="fixed"), alpha=noise).fit(x, y)
    mean, covariance = peer.predict(x_test, return_cov=True)
    found = gaussian_process(rbf(1.5), x, y, x_test, noise=noise)
    np.testing.assert_allclose(found.mean, mean, rtol=1e-6, atol=1e-8)
    np.testing.assert_allclose(found.covariance, covariance[..., 0], atol=1e-8)
    assert found.training.log_likelihood().sum() == pytest.approx(peer.log_marginal_likelihood_value_, rel=1e-9)


@pytest.mark.parametrize("ridge", [0.0, 1e-8])
def test_duplicates_with_conflicting_targets_learn_their_mean(ridge):
    x = np.array([[1.0, 0.0], [1.0, 0.0], [0.0, 1.0]])
    training = kernel_training(ntk(depth=3)(x), np.array([1.0, 3.0, 5.0]), ridge=ridge)
    np.testing.assert_allclose(training.mean()[:, 0], [2, 2, 5], rtol=1e-7)
    assert np.isfinite(training.mean(ntk(depth=3)(np.ones((1, 2)), x))).all()


def test_one_sample_and_a_zero_row():
    assert kernel_training(np.array([[4.0]]), np.array([2.0])).mean(np.array([[2.0]])) == pytest.approx(1.0)
    training = kernel_training(np.zeros((1, 1)), np.array([2.0]))
    assert training.mean() == 0 and training.critical_learning_rate == np.inf


def test_what_is_no_kernel_is_refused():
    y = np.ones(2)
    with pytest.raises(BadData, match="from -1 to 3"):
        kernel_training(np.array([[1.0, 2.0], [2.0, 1.0]]), y)
    assert kernel_training(np.array([[1.0, 2.0], [2.0, 1.0]]), y, ridge=2.0).smallest == pytest.approx(-1)
    with pytest.raises(BadData, match="mirror"):
        kernel_training(np.array([[1.0, 0.5], [0.4, 1.0]]), y)
    with pytest.raises(BadData, match="finite"):
        kernel_training(np.array([[1.0, np.nan], [np.nan, 1.0]]), y)
    with pytest.raises(BadData, match="shape"):
        kernel_training(np.eye(3), y)
    with pytest.raises(BadData, match="cross"):
        kernel_training(np.eye(2), y).mean(np.eye(3))
    with pytest.raises(BadData, match="singular"):
        kernel_training(np.ones((2, 2)), y).log_likelihood()
    with pytest.raises(BadData, match="ridge"):
        kernel_training(np.eye(2), y, ridge=-1.0)


@lru_cache(maxsize=1)
def ensemble_of_wide_networks(width=1000, networks=300, steps=60, rate=1.0, seed=7):
    """Data and outputs (networks, Q) of one-hidden-layer erf networks after descent, gradients written by hand."""
    from scipy.special import erf

    generator = np.random.default_rng(11)
    x, x_test, y = generator.standard_normal((4, 3)), generator.standard_normal((3, 3)), np.array([1.0, -1.0, 2.0, 0.5])
    inputs, tests = x / np.sqrt(3), x_test / np.sqrt(3)
    generator, found = np.random.default_rng(seed), []
    for _ in range(networks):
        W, a = generator.standard_normal((width, x.shape[1])), generator.standard_normal(width)
        for _ in range(steps):
            h = inputs @ W.T
            error = (y - erf(h) @ a / np.sqrt(width)) / len(x)
            slope = 2 / np.sqrt(np.pi) * np.exp(-(h**2))
            a, W = (
                a + rate * error @ erf(h) / np.sqrt(width),
                W + rate * (error[:, None] * slope * a).T @ inputs / np.sqrt(width),
            )
        found.append(erf(tests @ W.T) @ a / np.sqrt(width))
    return x, y, x_test, np.array(found)


@pytest.mark.short
@pytest.mark.parametrize("wrong", [False, True])
def test_against_trained_wide_networks(wrong):
    """|z| < 4 for 3 means and 3 variances: false-alarm rate 4e-4. With the covariance at the start it must fail."""
    kernel = infinite_width(serial(dense(), activation("erf"), dense()))
    x, y, x_test, outputs = ensemble_of_wide_networks()
    found = trained_ensemble(kernel, x, y, x_test, t=60.0, learning_rate=1.0)
    variance = np.diag(kernel(x_test).nngp if wrong else found.covariance)
    z_mean = (outputs.mean(0) - found.mean[:, 0]) / np.sqrt(variance / len(outputs))
    z_variance = (outputs.var(0, ddof=1) / variance - 1) / np.sqrt(2 / len(outputs))
    if wrong:
        assert np.abs(z_variance).max() > 4
    else:
        assert np.abs(z_mean).max() < 4 and np.abs(z_variance).max() < 4


def test_one_decomposition_serves_all_times():
    training = kernel_training(parts(NTK)[0], Y)
    times = np.geomspace(0.1, 10, 5)
    together = training.covariance(*parts(NNGP), parts(NTK)[1], t=times)
    for t, one in zip(times, together, strict=True):
        np.testing.assert_allclose(training.covariance(*parts(NNGP), parts(NTK)[1], t=t), one, rtol=1e-12)
    assert training.mean(parts(NTK)[1], t=times).shape == (5, Q, 2)
