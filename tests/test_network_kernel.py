"""Kernels of wide networks against 50-digit recursions, finite networks, formulas and hard inputs."""

from functools import cache

import mpmath as mp
import numpy as np
import pytest
import sympy as sp

from learning_mechanics.theory.architecture.constructors import (
    activation,
    dense,
    layer_norm,
    product,
    residual,
    serial,
    sum_of,
)
from learning_mechanics.theory.errors import BadData, UnknownName
from learning_mechanics.theory.infinite_width import covariances, directions, tiles, walks
from learning_mechanics.theory.infinite_width.network_kernel import infinite_width

ROOT2 = 2**0.5


def deep(function, hidden, w_std=ROOT2, b_std=0.0, **options):
    layers = [part for _ in range(hidden) for part in (dense(w_std, b_std, **options), activation(function))]
    return serial(*layers, dense(w_std, b_std, width=1, **options))


# ---- 50 digits ------------------------------------------------------------------------------------------------------


def relu_dual(a, b, c):
    angle = mp.acos(min(mp.mpf(1), c / mp.sqrt(a * b)))
    value = mp.sqrt(a * b) / (2 * mp.pi) * (mp.sin(angle) + (mp.pi - angle) * mp.cos(angle))
    return value, (mp.pi - angle) / (2 * mp.pi)


def erf_dual(a, b, c):
    p = (1 + 2 * a) * (1 + 2 * b)
    return 2 / mp.pi * mp.asin(2 * c / mp.sqrt(p)), 4 / mp.pi / mp.sqrt(p - 4 * c * c)


def gelu_dual(a, b, c):
    def value(c):
        p = (1 + a) * (1 + b)
        root = mp.sqrt(p - c * c)
        inner = (c * c + a * b * root**2) / (p * root) + c * mp.asin(c / mp.sqrt(p))
        return c / 4 + inner / (2 * mp.pi)

    return value(c), mp.diff(value, c)


DUALS = {"relu": relu_dual, "erf": erf_dual, "gelu": gelu_dual}


def precise(dual, x, y, hidden, w_std, b_std):
    """(nngp, ntk) of two rows by the textbook recursion."""
    with mp.workdps(50):
        weight, bias = mp.mpf(round(w_std**2, 10)), mp.mpf(round(b_std**2, 10))
        x, y = ([mp.mpf(float(entry)) for entry in row] for row in (x, y))
        inner = [mp.fsum(p * q for p, q in zip(u, v, strict=True)) / len(x) for u, v in ((x, x), (y, y), (x, y))]
        a, b, c = (weight * k + bias for k in inner)
        tangent = c
        for _ in range(hidden):
            value, slope = dual(a, b, c)
            a, b, c = (weight * k + bias for k in (dual(a, a, a)[0], dual(b, b, b)[0], value))
            tangent = c + weight * tangent * slope
        return float(c), float(tangent)


CASES = [("relu", ROOT2, 0.0), ("relu", 1.4, 0.3), ("erf", 2.0, 0.0), ("erf", 1.5, 0.2), ("gelu", 1.5, 0.1)]


def worst(function, w_std, b_std, distance, hidden=10):
    """Largest relative error of both kernels over three pairs and their diagonal."""
    rng = np.random.default_rng(1)
    x = rng.standard_normal((3, 10))
    y = x + distance * rng.standard_normal(x.shape)
    kernel = infinite_width(deep(function, hidden, w_std, b_std))
    cross, own = kernel(x, y), kernel.diagonal(x)
    misses = []
    for i in range(len(x)):
        for found, (p, q) in (
            ((cross.nngp[i, i], cross.ntk[i, i]), (x[i], y[i])),
            ((own.nngp[i], own.ntk[i]), (x[i], x[i])),
        ):
            expected = precise(DUALS[function], p, q, hidden, w_std, b_std)
            misses += [abs(number / value - 1) for number, value in zip(found, expected, strict=True)]
    return max(misses)


@pytest.mark.short
@pytest.mark.parametrize("distance", [1e-5, 1e-9, 1.0])
@pytest.mark.parametrize(("function", "w_std", "b_std"), CASES)
def test_ten_hidden_layers_equal_fifty_digits(function, w_std, b_std, distance):
    assert worst(function, w_std, b_std, distance) < 1e-12


@pytest.mark.instant
def test_the_comparison_would_notice_multiplied_duplicates(monkeypatch):
    """Without subtracting nearly equal rows half of the digits go."""
    monkeypatch.setattr(directions, "NEAR", 0.0)
    assert worst("relu", ROOT2, 0.0, 1e-5) > 1e-12


@pytest.mark.instant
def test_the_formula_for_gelu_is_its_expectation():
    nodes, weights = np.polynomial.hermite_e.hermegauss(120)
    weights = weights / weights.sum()
    a, b, c = 0.9, 0.7, 0.4
    u = np.sqrt(a) * nodes[:, None]
    v = c / np.sqrt(a) * nodes[:, None] + np.sqrt(b - c * c / a) * nodes[None, :]
    gelu = [z * np.vectorize(lambda s: float(mp.ncdf(s)))(z) for z in (u, v)]
    assert float(gelu_dual(a, b, c)[0]) == pytest.approx(weights @ (gelu[0] * gelu[1]) @ weights, rel=1e-12)


@pytest.mark.instant
def test_nearly_opposite_inputs_of_a_kink():
    """The tangent kernel of |theta - pi| = 1e-6, where 1 - cosine = 2 holds no digit of the angle."""
    x = np.array([[1.0, 0.0]])
    for gap in (1e-3, 1e-6, 1e-9):
        y = -np.array([[np.cos(gap), np.sin(gap)]])
        for b_std in (0.0, 0.5):  # the second layer has a bias: no function of the angle alone
            net = serial(dense(), activation("relu"), dense(1.0, b_std), activation("relu"), dense())
            value = infinite_width(net)(x, y).ntk[0, 0]
            with mp.workdps(50):
                a = b = mp.mpf(1) / 2
                p, q = ([mp.mpf(float(e)) for e in row] for row in (x[0], y[0]))
                inner = mp.fsum(s * r for s, r in zip(p, q, strict=True)) / 2
                a, b = mp.fsum(s * s for s in p) / 2, mp.fsum(s * s for s in q) / 2
                first, slope = relu_dual(a, b, inner)
                bias = mp.mpf(b_std) ** 2
                tangent = first + bias + inner * slope
                second, slope = relu_dual(a / 2 + bias, b / 2 + bias, first + bias)
                expected = float(second + tangent * slope)
            assert value == pytest.approx(expected, rel=1e-12, abs=1e-15)


# ---- finite networks ------------------------------------------------------------------------------------------------

GRAPHS = {
    "residual": serial(
        dense(1.2, 0.3), residual(activation("relu"), dense(1.1, 0.2), scale=0.7), activation("erf"), dense()
    ),
    "norm after relu": serial(
        dense(1.3, 0.2), activation("relu"), layer_norm(0.1), dense(1.2), activation("gelu"), dense()
    ),
    "two rectified branches": serial(
        dense(), sum_of(*[serial(dense(w), activation("relu")) for w in (1.0, 1.5)], coefficients=(1.0, -0.6)), dense()
    ),
    "product": serial(
        dense(), product(serial(dense(1.2), activation("relu")), serial(dense(), activation("erf"))), dense()
    ),
    "standard": serial(
        dense(1.2, 0.4, parameterization="standard"),
        activation("relu"),
        dense(1.3, 0.4, parameterization="standard"),
        activation("erf"),
        dense(parameterization="standard"),
    ),
}
WIDTH, SEEDS = 256, 40


X = np.random.default_rng(3).standard_normal((4, 6))


@cache
def sampled(name, outputs=64):
    """nngp and ntk of finite networks (seeds, 2, entries): from all outputs, and from gradients of the first one."""
    import jax

    from learning_mechanics.solvers.precision import double_precision
    from learning_mechanics.theory.architecture.shapes import initial_spreads
    from learning_mechanics.validate.experiments.forward import forward

    net, x = GRAPHS[name], X
    sizes = {"input": x.shape[1], "width": WIDTH, "output": outputs}
    shapes, spreads, rng = net.shapes(sizes), initial_spreads(net, sizes), np.random.default_rng(7)
    apply, rows = forward(net), np.triu_indices(len(x))
    with double_precision():

        @jax.jit
        def both(weights):
            values = apply(weights, x)
            jacobian = jax.jacrev(lambda w: apply(w, x)[:, 0])(weights)
            gram = sum(j.reshape(len(x), -1) @ j.reshape(len(x), -1).T for j in jacobian.values())
            return values @ values.T / outputs, gram

        found = []
        for _ in range(SEEDS):
            weights = {name: spreads[name] * rng.standard_normal(shape) for name, shape in shapes.items()}
            found.append([np.asarray(matrix)[rows] for matrix in both(weights)])
    return np.array(found), rows


def scores(name):
    """Mean misses of the nngp and the ntk over all entries, in standard errors; and the largest relative miss."""
    found, rows = sampled(name)
    exact = infinite_width(GRAPHS[name], widths={"width": WIDTH})(X)
    z, largest = [], 0.0
    for column, matrix in enumerate((exact.nngp, exact.ntk)):
        scale = np.sqrt(np.outer(np.diag(matrix), np.diag(matrix)))[rows]
        misses = ((found[:, column] - matrix[rows]) / scale).mean(axis=1)
        z.append(abs(misses.mean()) / (misses.std(ddof=1) / np.sqrt(SEEDS)))
        largest = max(largest, (abs(found[:, column].mean(axis=0) - matrix[rows]) / scale).max())
    return z, largest


@pytest.mark.short
@pytest.mark.parametrize("name", GRAPHS)
def test_finite_networks_of_any_graph_scatter_around_the_kernels(name):
    """|z| < 4.5 for the means over entries, for 39 degrees of freedom: false alarms below 1e-3 in all ten."""
    z, largest = scores(name)
    assert max(z) < 4.5 and largest < 0.1, (z, largest)


@pytest.mark.short
@pytest.mark.parametrize("name", ["norm after relu", "two rectified branches"])
def test_finite_networks_would_notice_means_that_are_ignored(name, monkeypatch):
    plain = {"centred": lambda s: (s.left.variance, s.right.variance, s.gap)}
    if name == "norm after relu":
        monkeypatch.setattr(covariances, "centred", plain["centred"])
    else:
        monkeypatch.setattr(walks.Walk, "means", property(lambda self: False, lambda self, value: None), raising=False)
    assert max(scores(name)[0]) > 4.5


# ---- one definition, many routes ------------------------------------------------------------------------------------


@pytest.mark.short
@pytest.mark.parametrize("name", GRAPHS)
def test_symmetric_cross_diagonal_angle_and_formula_agree(name):
    kernel = infinite_width(GRAPHS[name], widths={"width": 64, "input": 6})
    x = np.random.default_rng(5).standard_normal((80, 6))
    x *= np.sqrt(6 * 1.5) / np.linalg.norm(x, axis=1)[:, None]  # <x, x>/d = 1.5: interpolated in the angle
    both, copied, some = kernel(x), kernel(x, x.copy()), kernel(x[:3], x[3:9])
    cosine = np.clip(x[:3] @ x[3:9].T / 9, -1, 1).ravel()
    t = sp.Symbol("t", real=True)
    sphere, formula = kernel.on_sphere(cosine, q=1.5), kernel.symbolic(q=sp.Rational(3, 2))
    angles = kernel.on_angles(np.arccos(cosine), q=1.5)
    for which in ("nngp", "ntk"):
        matrix = getattr(both, which)
        size = matrix.max()
        assert (matrix == matrix.T).all()
        np.testing.assert_allclose(getattr(copied, which), matrix, rtol=0, atol=2e-14 * size)
        np.testing.assert_allclose(getattr(some, which), matrix[:3, 3:9], rtol=0, atol=2e-14 * size)
        np.testing.assert_allclose(np.diag(matrix), getattr(kernel.diagonal(x), which), rtol=1e-15)
        for values in (getattr(sphere, which), getattr(angles, which)):
            np.testing.assert_allclose(values, matrix[:3, 3:9].ravel(), rtol=0, atol=2e-14 * size)
        exact = [float(getattr(formula, which).subs(t, sp.Float(float(c), 40)).evalf(30)) for c in cosine[:4]]
        np.testing.assert_allclose(getattr(sphere, which)[:4], exact, rtol=1e-13)


@pytest.mark.short
def test_formulas_of_eight_layers():
    """Nested variances are digits from some depth on: the formula is written in a moment and keeps float64's digits."""
    kernel = infinite_width(deep("erf", 7))
    formula, numbers = kernel.symbolic(), kernel.on_sphere(0.3)
    for found, number in ((formula.nngp, numbers.nngp), (formula.ntk, numbers.ntk)):
        value = sp.lambdify(sp.Symbol("t", real=True), found, "numpy")(0.3)
        assert abs(value / number[0] - 1) < 1e-12


@pytest.mark.instant
@pytest.mark.parametrize("b_std", [0.0, 0.3])
def test_blocks_threads_and_memory_maps_change_nothing(b_std, tmp_path, monkeypatch):
    x = np.random.default_rng(6).standard_normal((150, 5))
    net = deep("relu", 3, b_std=b_std)
    one, two = (infinite_width(net, threads=threads)(x) for threads in (1, 4))
    maps = {name: np.lib.format.open_memmap(tmp_path / name, "w+", float, (150, 150)) for name in ("nngp", "ntk")}
    written = infinite_width(net)(x, out=maps)
    monkeypatch.setattr(tiles, "ENTRIES", 300)
    small = infinite_width(net)(x)
    for which in ("nngp", "ntk"):
        matrix = getattr(one, which)
        assert (matrix == getattr(two, which)).all() and (matrix == getattr(written, which)).all()
        assert getattr(written, which) is maps[which]
        np.testing.assert_allclose(getattr(small, which), matrix, rtol=0, atol=1e-14 * matrix.max())
    assert infinite_width(net)(x, get="ntk").nngp is None
    np.testing.assert_array_equal(infinite_width(net)(x, get="nngp").nngp.shape, (150, 150))


@pytest.mark.instant
def test_x_plus_x_is_two_x_and_identities_change_nothing():
    x = np.random.default_rng(7).standard_normal((5, 3))
    twice = infinite_width(serial(dense(), residual(activation("identity")), activation("erf"), dense()))(x)
    once = infinite_width(serial(dense(2.0), activation("erf"), dense()))(x)
    np.testing.assert_allclose(twice.nngp, once.nngp, rtol=1e-14)
    np.testing.assert_allclose(twice.ntk, once.ntk, rtol=1e-14)
    # independent branches of equal layers: variances add, and W1 + W2 is one layer of twice the variance
    summed = infinite_width(serial(sum_of(dense(), dense()), activation("erf"), dense()))(x)
    joined = infinite_width(serial(dense(ROOT2), activation("erf"), dense()))(x)
    np.testing.assert_allclose(summed.ntk, joined.ntk, rtol=1e-14)


@pytest.mark.instant
def test_the_standard_parameterization_counts_its_inputs():
    """One hidden layer of 30 units on 3 inputs, b_std = 0.5: Theta = n E h h' + 1 + w^2 slope (d K + 1)."""
    x = np.random.default_rng(8).standard_normal((4, 3))
    net = deep("erf", 1, 1.5, 0.5, parameterization="standard")
    found = infinite_width(net, widths={"width": 30})(x)
    K = x @ x.T / 3
    first = 2.25 * K + 0.25
    root = np.sqrt(np.outer(1 + 2 * np.diag(first), 1 + 2 * np.diag(first)))
    hidden = 2 / np.pi * np.arcsin(2 * first / root)
    slope = 4 / np.pi / np.sqrt(root**2 - 4 * first**2)
    np.testing.assert_allclose(found.nngp, 2.25 * hidden + 0.25, rtol=1e-13)
    np.testing.assert_allclose(found.ntk, 30 * hidden + 1 + 2.25 * slope * (3 * K + 1), rtol=1e-13)
    text = str(infinite_width(net, widths={"width": 30}))
    assert "30 K + 1" in text and "input K + 1" in text
    with pytest.raises(BadData, match="dense3: .*grows with the width 'width'.*widths={'width': 512}"):
        infinite_width(net)(x)
    assert infinite_width(net)(x, get="nngp").ntk is None


@pytest.mark.instant
def test_one_kernel_as_a_callable():
    net = deep("relu", 2)
    kernel = infinite_width(net).as_kernel("ntk")
    x = np.random.default_rng(9).standard_normal((6, 4))
    np.testing.assert_array_equal(kernel(x), infinite_width(net)(x).ntk)
    np.testing.assert_allclose(kernel.diagonal(x), 3 * 2 * np.square(x).sum(1) / 4, rtol=1e-14)
    assert kernel == infinite_width(deep("relu", 2)).as_kernel() and len({kernel, infinite_width(net).as_kernel()}) == 1
    assert kernel != infinite_width(net).as_kernel("nngp") and str(kernel) == "ntk of dense, relu, dense, relu, dense"
    assert kernel.symbolic().subs(sp.Symbol("t", real=True), 1) == 6
    with pytest.raises(UnknownName, match="ntk"):
        infinite_width(net).as_kernel("ntkk")
