"""The exact two-layer solution against weights integrated on their own, against many digits, and at its limits."""

import mpmath
import numpy as np
import pytest
from scipy.integrate import solve_ivp

from learning_mechanics.solvers.riccati import factor, flow, solve, two_layer
from learning_mechanics.theory.dynamics.two_layer import gram_flow, riccati_flow, riccati_matrices
from learning_mechanics.theory.errors import BadData


def orthonormal(rng, rows, columns):
    return np.linalg.qr(rng.standard_normal((rows, columns)))[0]


def target(rng, outputs, inputs, singular):
    rank = len(singular)
    return orthonormal(rng, outputs, rank) * np.asarray(singular, float) @ orthonormal(rng, inputs, rank).T


def root(matrix):
    values, vectors = np.linalg.eigh(matrix)
    return vectors * np.sqrt(np.maximum(values, 0)) @ vectors.T


def balanced(rng, inputs, width, outputs, scale, imbalance=0.0):
    """Unaligned weights with W2'W2 - W1W1' = imbalance: one layer drawn, the other a root times random directions."""
    if imbalance >= 0 and width <= outputs:
        W1 = scale * rng.standard_normal((width, inputs)) / np.sqrt(inputs)
        return W1, orthonormal(rng, outputs, width) @ root(W1 @ W1.T + imbalance * np.eye(width))
    W2 = scale * rng.standard_normal((outputs, width)) / np.sqrt(width)
    return root(W2.T @ W2 - imbalance * np.eye(width)) @ orthonormal(rng, inputs, width).T, W2


def integrated(W1, W2, correlation, times, covariance=None):
    """S = [W1'; W2] [W1, W2'] from the weights themselves, by DOP853 at its tightest; white inputs if None."""
    split = W1.size
    covariance = np.eye(W1.shape[1]) if covariance is None else covariance

    def layers(flat):
        return flat[:split].reshape(W1.shape), flat[split:].reshape(W2.shape)

    def field(_, flat):
        a, b = layers(flat)
        error = correlation - b @ a @ covariance
        return np.concatenate([(b.T @ error).ravel(), (error @ a.T).ravel()])

    start = np.concatenate([W1.ravel(), W2.ravel()])
    path = solve_ivp(field, (0, times[-1]), start, "DOP853", t_eval=times, rtol=1e-13, atol=1e-18).y.T
    stacked = [np.vstack([a.T, b]) for a, b in map(layers, path)]
    return np.array([Q @ Q.T for Q in stacked])


def digits(F, Q0, times, count):
    """The textbook formula in `count` decimal digits."""
    with mpmath.workdps(count):
        values, basis = mpmath.eigsy(mpmath.matrix(F.tolist()))
        rows, found = basis.T * mpmath.matrix(Q0.tolist()), []
        for time in times:
            t = mpmath.mpf(float(time))
            flat = mpmath.mpf(10) ** (-count // 2)
            D = [mpmath.expm1(2 * f * t) / (2 * f) if abs(f) > flat else t for f in values]
            M = rows.T * mpmath.diag(D) * rows + mpmath.eye(rows.cols)
            X = basis * mpmath.diag([mpmath.exp(f * t) for f in values]) * rows
            found.append(np.array((X * mpmath.inverse(M) * X.T).tolist(), float))
        return np.array(found)


def distance(found, truth):
    return (np.linalg.norm(found - truth, axis=(1, 2)) / np.linalg.norm(truth, axis=(1, 2))).max()


def strengths(S, correlation, count):
    left, _, right = np.linalg.svd(correlation)
    inputs = correlation.shape[1]
    return np.einsum("ok,tod,kd->tk", left[:, :count], S[:, inputs:, :inputs], right[:count])


@pytest.mark.short
@pytest.mark.parametrize(
    ("sizes", "scale", "imbalance", "rank"),
    [
        ((5, 5, 5), 0.01, 0.0, 5),
        ((20, 10, 15), 0.5, 1.0, 15),
        ((15, 12, 30), 0.01, 0.0, 4),
        ((30, 12, 7), 0.3, -2.0, 7),
        ((50, 50, 50), 1.5, 0.0, 50),
        ((50, 50, 50), 0.01, 0.0, 13),
        ((50, 30, 40), 0.01, 10.0, 40),
        ((40, 50, 50), 0.5, 0.3, 20),
    ],
)
def test_equals_integrated_weights(sizes, scale, imbalance, rank):
    rng = np.random.default_rng([1, *sizes])
    inputs, width, outputs = sizes
    correlation = target(rng, outputs, inputs, np.linspace(1.5, 0.1, rank))
    W1, W2 = balanced(rng, inputs, width, outputs, scale, imbalance)
    assert np.abs(W2.T @ W2 - W1 @ W1.T - imbalance * np.eye(width)).max() < 1e-12
    times = np.linspace(0, 12, 25)
    path = two_layer(W1, W2, correlation, times, imbalance)
    truth = integrated(W1, W2, correlation, times)
    S = np.swapaxes(path.Z, 1, 2) @ path.Z
    assert distance(S, truth) < 1e-11
    assert distance(path.end_to_end[1:], truth[1:, inputs:, :inputs]) < 1e-10
    assert distance(path.input_gram, truth[:, :inputs, :inputs]) < 1e-11
    assert distance(path.output_gram, truth[:, inputs:, inputs:]) < 1e-11
    excess = 0.5 * ((truth[:, inputs:, :inputs] - correlation) ** 2).sum((1, 2))
    assert np.allclose(path.loss(), excess, rtol=1e-9, atol=1e-20)


@pytest.mark.short
@pytest.mark.parametrize("dense", [False, True])
@pytest.mark.parametrize(
    ("singular", "scale", "times", "count"),
    [
        ([3.0, 2.0, 1.0], 1e-6, [0.0, 1e-3, 5.0, 10.0, 12.0, 15.0, 20.0, 30.0], 250),
        ([9.0, 1.0, 0.1], 1e-8, [0.5, 1.0, 2.0, 10.0, 100.0, 160.0, 190.0, 250.0], 2100),
        ([0.3, 0.2999, 1e-2, 0.0], 1e-10, [1.0, 70.0, 80.0, 500.0, 2300.0, 3000.0], 900),
    ],
)
def test_every_mode_is_right_to_its_own_size_from_tiny_weights(singular, scale, times, count, dense):
    """Very unequal modes, each compared with many digits relative to itself, also long before and during its rise."""
    rng = np.random.default_rng(5)
    size = len(singular)
    correlation = np.diag(singular) if not dense else target(rng, size, size + 1, singular)
    outputs, inputs = correlation.shape
    W1, W2 = scale * rng.standard_normal((7, inputs)), scale * rng.standard_normal((outputs, 7))
    arrays = riccati_matrices({"W1": W1, "W2": W2, "Sigma_yx": correlation})
    found, truth = solve(arrays["F"], arrays["Q"], times), digits(arrays["F"], arrays["Q"], times, count)
    assert distance(found, truth) < 1e-13
    some = int(np.count_nonzero(singular))
    found, truth = strengths(found, correlation, some), strengths(truth, correlation, some)
    seen = np.abs(truth) > 1e-14 * np.abs(truth).max(1, keepdims=True)  # what a float64 matrix can hold of a mode
    blur = 1e-15 * np.abs(truth).max(1, keepdims=True)
    assert seen[-1].all() and (np.abs(found - truth) < 1e-11 * np.abs(truth) + blur)[seen].all()


@pytest.mark.instant
def test_the_comparison_with_many_digits_notices_an_unsorted_factorisation():
    """A QR factorisation that takes rows as they come is right at both ends and wrong between: a check can fail."""
    rng = np.random.default_rng(5)
    W1, W2 = 1e-6 * rng.standard_normal((7, 4)), 1e-6 * rng.standard_normal((3, 7))
    correlation, times = target(rng, 3, 4, [3.0, 2.0, 1.0]), np.array([1.0, 15.0, 18.0, 30.0])
    arrays = riccati_matrices({"W1": W1, "W2": W2, "Sigma_yx": correlation})
    rates, basis = np.linalg.eigh(arrays["F"] + 1e-300)
    rows, plain = basis.T @ arrays["Q"], []
    for time in times:
        D = np.where(np.abs(rates) < 1e-12, time, np.expm1(2 * rates * time) / (2 * rates))
        upper = np.linalg.qr(np.vstack([np.eye(7), np.sqrt(D)[:, None] * rows]), mode="r")
        Z = np.linalg.solve(upper.T, rows.T * np.exp(rates * time)) @ basis.T
        plain.append(Z.T @ Z)
    truth = digits(arrays["F"], arrays["Q"], times, 250)
    wrong = [distance(np.array([S]), T[None]) for S, T in zip(plain, truth, strict=True)]
    assert wrong[0] < 1e-12 and max(wrong) > 1e-3
    assert distance(solve(arrays["F"], arrays["Q"], times), truth) < 1e-13


@pytest.mark.instant
def test_a_plateau_may_be_the_start():
    """The weaker mode is learned already, the stronger one at 1e-7: the order of sizes changes with time."""
    F = np.diag([3.0, 2.0, 0.5, -1.0])
    Q0 = np.array([[1e-7, 2e-7, 0.0], [2.0, 0.3, 0.1], [1e-3, 0.0, 1e-9], [0.2, 0.1, 0.0]])
    times = np.array([0.0, 2.0, 4.0, 5.0, 6.0, 8.0, 15.0, 40.0])
    found, truth = solve(F, Q0, times), digits(F, Q0, times, 300)
    assert np.abs(found - truth).max() < 1e-13
    diagonal = np.einsum("tii->ti", found) / np.einsum("tii->ti", truth)
    assert np.abs(diagonal - 1).max() < 1e-11


@pytest.mark.instant
@pytest.mark.parametrize("imbalance", [0.0, 0.7])
def test_finite_and_at_the_minimum_after_long_times(imbalance):
    rng = np.random.default_rng(2)
    correlation = target(rng, 30, 20, [3.0, 2.9, 1.0, 0.05])  # singular
    W1, W2 = balanced(rng, 20, 12, 30, 1e-3, imbalance)
    path = two_layer(W1, W2, correlation, [1e4, 1e8], imbalance)
    assert np.isfinite(path.Z).all()
    left, _, right = np.linalg.svd(correlation)
    error = left.T @ (path.end_to_end[0] - correlation) @ right.T
    assert np.abs(error[:4, :4]).max() < 1e-12
    # where the target vanishes a balanced start decays as 1/(2t) at most, an imbalanced one exponentially
    assert np.abs(error).max() < (1e-12 if imbalance else 1 / 2e4)
    assert path.loss()[0] == pytest.approx((error**2).sum() / 2, abs=1e-20)


@pytest.mark.instant
def test_rotated_away_from_its_target_a_balanced_square_network_never_learns_the_last_mode():
    """W2 = K W1' with det(K) on the wrong side: W1 (V + K'U) is singular, exactly one mode stays at its saddle."""
    rng = np.random.default_rng(3)
    W1, rotation = 0.1 * rng.standard_normal((3, 3)), orthonormal(rng, 3, 3)
    correlation = np.diag([3.0, 2.0, 1.0])
    for side in (1, -1):
        turned = rotation * np.sign(np.linalg.det(rotation)) * side
        learned = np.linalg.svd(two_layer(W1, turned @ W1.T, correlation, [14.0]).end_to_end[0], compute_uv=False)
        assert learned == pytest.approx([3.0, 2.0, 1.0 if side > 0 else 0.0], abs=1e-6)


@pytest.mark.short
@pytest.mark.parametrize("imbalance", [0.0, 0.2])
def test_many_inputs_of_one_rate_are_a_few(imbalance):
    """Directions that the target does not use share a rate: 240 rows become a handful, and nothing else changes."""
    rng = np.random.default_rng(15)
    correlation, times = target(rng, 20, 220, [1.0, 1.0, 0.3]), np.linspace(0, 12, 7)
    W1, W2 = balanced(rng, 220, 6, 20, 0.02, imbalance)
    path = two_layer(W1, W2, correlation, times, imbalance)
    truth = integrated(W1, W2, correlation, times)
    assert distance(np.swapaxes(path.Z, 1, 2) @ path.Z, truth) < 1e-11


@pytest.mark.instant
def test_starting_again_from_a_later_point_continues_the_solution():
    rng = np.random.default_rng(4)
    F = rng.standard_normal((9, 9))
    F, Q0 = F + F.T, 1e-3 * rng.standard_normal((9, 4))
    times = np.array([0.5, 1.0, 2.0])
    Z = factor(F, Q0, times)
    for first, S in zip(Z, solve(F, Q0, times + 0.7), strict=True):
        assert np.allclose(solve(F, first.T, [0.7])[0], S, rtol=0, atol=1e-12 * np.abs(S).max())


@pytest.mark.instant
def test_edges():
    rng = np.random.default_rng(6)
    F = rng.standard_normal((4, 4))
    F = F + F.T
    Q0 = rng.standard_normal((4, 11))  # more hidden units than rows
    assert np.allclose(solve(F, Q0, [0.0])[0], Q0 @ Q0.T, rtol=0, atol=1e-13)
    assert not solve(F, 0 * Q0, [0.0, 1.0, 1e4]).any()
    Q0[:, 1:] = 0  # most hidden units are silent
    assert distance(solve(F, Q0, [0.5]), digits(F, Q0, [0.5], 50)) < 1e-13
    assert np.allclose(solve(np.zeros((2, 2)), np.eye(2), [3.0])[0], np.eye(2) / 4)
    assert np.abs(solve(-np.eye(2), 1e-200 * np.eye(2), [1e4])).max() == 0.0
    assert solve(F, Q0, np.linspace(0, 1, 200)).shape == (200, 4, 4)


@pytest.mark.instant
@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((np.eye(2), np.ones((3, 1)), [1.0]), "give \\(n, n\\) and \\(n, h\\)"),
        ((np.array([[0.0, 1.0], [0.0, 0.0]]), np.ones((2, 1)), [1.0]), "not symmetric"),
        ((np.eye(2), np.ones((2, 1)), [-1.0]), "times from 0"),
        ((np.eye(2), np.ones((2, 1)), []), "times from 0"),
        ((np.eye(2), np.full((2, 1), np.nan), [1.0]), "Q0 is not finite"),
    ],
)
def test_refusals(arguments, message):
    with pytest.raises(BadData, match=message):
        solve(*arguments)


@pytest.mark.instant
def test_other_systems_are_refused():
    with pytest.raises(BadData, match="not of the form"):
        flow(gram_flow(), {}, np.ones(1))
    with pytest.raises(BadData, match=r"give \(h, d\), \(o, h\) and \(o, d\)"):
        two_layer(np.ones((2, 3)), np.ones((4, 2)), np.ones((3, 4)), [1.0])
    with pytest.raises(BadData, match="needs a width of at most 3 outputs"):
        two_layer(np.ones((4, 5)), np.ones((3, 4)), np.ones((3, 5)), [1.0], imbalance=0.5)
    arrays = riccati_matrices({"W1": np.eye(2), "W2": np.eye(2), "Sigma_yx": np.eye(2)})
    assert flow(riccati_flow(), arrays, np.zeros(1))["S"][0] == pytest.approx(arrays["S"], abs=1e-14)


@pytest.mark.short
def test_tangent_kernel_equals_the_jacobian():
    import jax
    import jax.numpy as jnp

    from learning_mechanics.solvers.precision import double_precision

    rng = np.random.default_rng(7)
    W1, W2 = balanced(rng, 4, 2, 3, 0.5)
    x, z = rng.standard_normal((5, 4)), rng.standard_normal((2, 4))
    found = two_layer(W1, W2, rng.standard_normal((3, 4)), [0.0]).tangent_kernel(x, z)[0]
    with double_precision():
        rows = [jax.jacobian(lambda w, r=r: jnp.asarray(r) @ w[0].T @ w[1].T)((W1, W2)) for r in (x, z)]
        truth = sum(np.einsum("pakl,qbkl->paqb", a, b) for a, b in zip(*rows, strict=True))
    assert np.abs(found - truth).max() < 1e-12
