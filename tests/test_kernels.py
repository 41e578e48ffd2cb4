"""Kernels against quadrature, 40-digit recursions, published spectra and wide finite networks."""

import mpmath
import numpy as np
import pytest
import sympy as sp

from learning_mechanics.theory.architecture.network import chain
from learning_mechanics.theory.duals.dual_activation import A, B, C, dual
from learning_mechanics.theory.errors import BadData, NoClosedForm, UnknownName
from learning_mechanics.theory.infinite_width import tiles
from learning_mechanics.theory.regression import kernels
from learning_mechanics.theory.regression.kernels import laplace, linear, nngp, ntk, parse, rbf
from learning_mechanics.theory.regression.linearised import _layers, tangent_kernel

CASES = [(1.0, 1.0, 0.3), (1.5, 0.5, -0.6), (2.0, 0.7, 1.1), (0.2, 3.0, 0.0)]


def at(expression, case):
    return float(expression.subs(dict(zip((A, B, C), case, strict=True))).evalf(30))


def angular(power, case, function):
    """E f(u) f(v) for f of degree `power`: in polar coordinates the radial part is a gamma function."""
    a, b, c = case
    theta = float(mpmath.acos(mpmath.mpf(c) / mpmath.sqrt(a * b)))
    cuts = sorted(
        [-np.pi, np.pi, -np.pi / 2, np.pi / 2, theta - np.pi / 2, (theta + 1.5 * np.pi) % (2 * np.pi) - np.pi]
    )
    cuts += [theta - 1.5 * np.pi] if theta - 1.5 * np.pi > -np.pi else []
    integral = mpmath.quad(lambda p: function(mpmath.cos(p)) * function(mpmath.cos(p - theta)), sorted(cuts))
    radial = mpmath.gamma(power + 1) * mpmath.mpf(2) ** power / (2 * mpmath.pi)
    return float(radial * integral * mpmath.sqrt(a * b) ** power)


@pytest.mark.short
@pytest.mark.parametrize("case", CASES)
def test_relu_dual_equals_quadrature(case):
    law = dual("relu")
    assert at(law.value, case) == pytest.approx(angular(1, case, lambda z: max(z, 0)), rel=1e-12)
    assert at(law.slope, case) == pytest.approx(angular(0, case, lambda z: z > 0), rel=1e-12)


@pytest.mark.short
@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("name", ["erf", "square", "identity"])
def test_smooth_duals_equal_quadrature(case, name):
    from scipy.special import erf

    functions = {
        "erf": (erf, lambda z: 2 / np.sqrt(np.pi) * np.exp(-(z**2))),
        "square": (np.square, lambda z: 2 * z),
        "identity": (lambda z: z, np.ones_like),
    }
    nodes, weights = np.polynomial.legendre.leggauss(400)
    z, w = 10 * nodes, 10 * weights * np.exp(-50 * nodes**2) / np.sqrt(2 * np.pi)
    a, b, c = case
    u = np.sqrt(a) * z[:, None]
    v = c / np.sqrt(a) * z[:, None] + np.sqrt(b - c * c / a) * z[None, :]
    law = dual(name)
    for expression, function in zip((law.value, law.slope), functions[name], strict=True):
        expected = float(w @ (function(u) * function(v)) @ w)
        assert at(expression, case) == pytest.approx(expected, rel=1e-12, abs=1e-13)


@pytest.mark.instant
def test_slope_is_the_derivative_of_the_value():
    for name in ("relu", "erf", "square", "identity"):
        law = dual(name)
        assert sp.simplify(law.value.diff(C) - law.slope) == 0
    assert dual("relu").homogeneous and not dual("erf").homogeneous and not dual("square").homogeneous


@pytest.mark.instant
def test_activations_without_a_closed_form_have_numbers_but_no_formula():
    """The dual of tanh by 200 x 200 Gauss-Hermite nodes, at a variance where they reach 1e-12."""
    x = np.array([[0.5, 0.1], [-0.3, 0.4]])
    nodes, weights = np.polynomial.hermite_e.hermegauss(200)
    weights = weights / weights.sum()
    a, b, c = x[0] @ x[0], x[1] @ x[1], x[0] @ x[1]
    u = np.sqrt(a) * nodes[:, None]
    v = c / np.sqrt(a) * nodes[:, None] + np.sqrt(b - c * c / a) * nodes[None, :]
    expected = 2 * weights @ (np.tanh(u) * np.tanh(v)) @ weights
    assert nngp(2, "tanh")(x)[0, 1] == pytest.approx(expected, rel=1e-12)
    with pytest.raises(NoClosedForm, match="tanh"):
        ntk(2, "tanh").symbolic()
    with pytest.raises(UnknownName, match="relu"):
        ntk(2, "relo")


def precise(x, y, depth):
    """ReLU tangent kernel by the textbook recursion in 40 digits."""
    with mpmath.workdps(40):
        x, y = ([mpmath.mpf(float(entry)) for entry in row] for row in (x, y))
        norms = mpmath.sqrt(mpmath.fsum(e * e for e in x) * mpmath.fsum(e * e for e in y))
        cosine = mpmath.fsum(p * q for p, q in zip(x, y, strict=True)) / norms
        tangent = cosine
        for _ in range(depth - 1):
            theta = mpmath.acos(cosine)
            cosine = (mpmath.sin(theta) + (mpmath.pi - theta) * cosine) / mpmath.pi
            tangent = cosine + tangent * (1 - theta / mpmath.pi)
        return float(norms * tangent)


@pytest.mark.short
@pytest.mark.parametrize("depth", [1, 2, 4, 10])
@pytest.mark.parametrize("distance", [1e-5, 1e-9, 1e-2, 1.0])
def test_relu_tangent_kernel_of_near_duplicates(depth, distance):
    rng = np.random.default_rng(1)
    x = rng.standard_normal((12, 10))
    y = x + distance * rng.standard_normal(x.shape)
    found = ntk(depth)(x, np.concatenate([y, -y]))
    for i in range(len(x)):
        assert found[i, i] == pytest.approx(precise(x[i], y[i], depth), rel=1e-12)
        opposite = precise(x[i], -y[i], depth)
        assert found[i, i + len(x)] == pytest.approx(opposite, abs=1e-12 * depth * (x[i] @ x[i]))


@pytest.mark.instant
@pytest.mark.parametrize("depth", [1, 2, 10])
def test_diagonals_are_exact(depth):
    x = np.random.default_rng(2).standard_normal((50, 7))
    square = (x**2).sum(1)
    np.testing.assert_allclose(np.diag(ntk(depth)(x)), depth * square, rtol=1e-14)
    np.testing.assert_allclose(np.diag(nngp(depth)(x)), square, rtol=1e-14)
    for kernel in (ntk(depth), nngp(depth), ntk(depth, "erf"), rbf(0.5), laplace(2.0), linear()):
        np.testing.assert_allclose(kernel.diagonal(x), np.diag(kernel(x, x.copy())), rtol=1e-12)


@pytest.mark.instant
def test_duplicates_scaled_copies_and_zero_rows():
    x = np.array([[1.0, 2.0], [1.0, 2.0], [3.0, 6.0], [0.0, 0.0]])
    matrix = ntk(4)(x)
    np.testing.assert_allclose(matrix[:3, :3], 4 * np.outer([1, 1, 3], [1, 1, 3]) * 5.0, rtol=1e-14)
    assert not matrix[3].any()


@pytest.mark.instant
def test_blocks_change_nothing_and_matrices_are_positive(monkeypatch):
    x = np.random.default_rng(3).standard_normal((60, 5))
    family = (ntk(3), nngp(2), ntk(3, "erf"), nngp(3, "erf"), rbf(2.0), laplace(2.0))
    whole = [kernel(x) for kernel in family]
    monkeypatch.setattr(tiles, "ENTRIES", 500)
    for kernel, matrix in zip(family, whole, strict=True):
        np.testing.assert_allclose(kernel(x), matrix, rtol=1e-13)
        np.testing.assert_allclose(kernel(x, x.copy()), matrix, rtol=1e-12)
        assert (matrix == matrix.T).all()
        assert np.linalg.eigvalsh(matrix)[0] > 0


@pytest.mark.short
@pytest.mark.parametrize("kernel", [ntk(2), ntk(3), nngp(3), ntk(3, "erf"), rbf(0.7), laplace(0.7), linear()], ids=str)
def test_formula_equals_arrays(kernel):
    t = np.array([-0.9, -0.2, 0.4, 0.97])
    points = np.stack([t, np.sqrt(1 - t**2)], axis=1)
    values = kernel(np.array([[1.0, 0.0]]), points)[0]
    formula = kernel.symbolic()
    expected = [float(formula.subs(sp.Symbol("t", real=True), float(c)).evalf(30)) for c in t]
    np.testing.assert_allclose(values, expected, rtol=1e-13)
    assert kernel._repr_latex_().startswith("$")


@pytest.mark.instant
@pytest.mark.parametrize(
    ("dimension", "published"),
    [
        (3, (1 / 2, 1 / 3, 0.078125, 0, 0.0052083333)),
        (5, (0.421875, 0.2, 0.03125, 0, 0.00103760)),
        (10, (0.368063, 0.1, 0.00857246, 0, 9.65404e-5)),
    ],
)
def test_spectrum_on_the_sphere(dimension, published):
    """Funk-Hecke for two layers (Bietti & Mairal 2019, arXiv:1905.12173): odd degrees above 1 vanish."""
    from scipy.special import eval_gegenbauer

    nodes, weights = np.polynomial.legendre.leggauss(300)
    theta = np.pi * (nodes + 1) / 2
    values = ntk(2)(np.array([[1.0, 0.0]]), np.stack([np.cos(theta), np.sin(theta)], axis=1))[0]
    measure = weights * np.sin(theta) ** (dimension - 2)
    order = (dimension - 2) / 2
    for degree, expected in enumerate(published):
        harmonic = eval_gegenbauer(degree, order, np.cos(theta)) / eval_gegenbauer(degree, order, 1.0)
        assert measure @ (values * harmonic) / measure.sum() == pytest.approx(expected, rel=3e-6, abs=1e-9)


@pytest.mark.short
def test_tangent_kernel_of_a_network_equals_the_jacobian():
    import jax

    from learning_mechanics.solvers.precision import double_precision
    from learning_mechanics.validate.experiments.forward import forward

    rng = np.random.default_rng(4)
    network = chain(4, 6, 5, 1, activation="tanh", bias=True, parameterization="ntk")
    weights = {name: rng.standard_normal(shape) for name, shape in network.shapes({}).items()}
    x = rng.standard_normal((3, 4))
    with double_precision():
        rows = jax.jit(jax.jacrev(lambda w: forward(network)(w, x)[:, 0]))(weights)
        flat = np.concatenate([np.asarray(row).reshape(3, -1) for row in rows.values()], axis=1)
    np.testing.assert_allclose(tangent_kernel(network, weights, x), flat @ flat.T, rtol=1e-12)
    np.testing.assert_allclose(tangent_kernel(network, weights, x[:2], x), flat[:2] @ flat.T, rtol=1e-12)
    with pytest.raises(BadData, match="2 outputs"):
        tangent_kernel(chain(4, 2), {"W1": np.ones((2, 4))}, x)


@pytest.mark.short
@pytest.mark.parametrize("activation", ["relu", "erf"])
def test_wide_networks_approach_the_kernel(activation):
    """Error against width: slope -0.5 +- 0.1 over 30 seeds; the spread of the slope is 0.03, so 0.1 is three of it."""
    rng = np.random.default_rng(5)
    x = rng.standard_normal((6, 8))
    x /= np.linalg.norm(x, axis=1)[:, None]
    scale = np.sqrt(2.0)
    # weights of standard deviation sqrt(2) and a first layer of unit variance: K_1 = x.x'
    limit = ntk(3, activation)(x)
    widths, errors = [64, 256, 1024], []
    for width in widths:
        network = chain(8, width, width, 1, activation=activation)
        misses = []
        for _ in range(30 if width < 1024 else 10):
            weights = {
                "W1": rng.standard_normal((width, 8)),
                "W2": scale * rng.standard_normal((width, width)) / np.sqrt(width),
                "W3": scale * rng.standard_normal((1, width)) / np.sqrt(width),
            }
            misses.append(scaled_tangent(network, weights, x, scale, width) - limit)
        errors.append(np.sqrt(np.mean(np.square(misses))) / np.sqrt(np.mean(limit**2)))
    assert np.polyfit(np.log(widths), np.log(errors), 1)[0] == pytest.approx(-0.5, abs=0.1)
    assert errors[-1] < 0.1


def scaled_tangent(network, weights, x, scale, width):
    """Gradients by the standard normal variables behind the weights: each layer's part times its variance factor."""
    layers = reversed(_layers(network, weights, x))
    factors = (1.0, scale**2 / width, scale**2 / width)
    return sum(f * (signal @ signal.T) * (h @ h.T) for f, (signal, h, _) in zip(factors, layers, strict=True))


@pytest.mark.instant
def test_names_and_bad_input():
    assert parse("nngp-erf", depth=3) == nngp(3, "erf") and parse("rbf", width=2.0) == rbf(2.0)
    assert {parse(name).name for name in kernels.NAMES} == set(kernels.NAMES)
    assert len({ntk(2), ntk(2), ntk(3)}) == 2
    assert str(ntk(3)) == "ntk-relu, depth 3" and "3" in str(laplace(3.0))
    with pytest.raises(UnknownName, match="ntk-relu"):
        parse("ntk-relv")
    with pytest.raises(BadData, match="depth 0"):
        ntk(0)
    with pytest.raises(BadData, match="width -1"):
        rbf(-1)
    with pytest.raises(BadData, match="shapes"):
        ntk(2)(np.ones((2, 3)), np.ones((2, 4)))
