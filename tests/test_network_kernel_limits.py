"""Kernels of wide networks at their limits: what is refused, and hard inputs that must give right numbers."""

import numpy as np
import pytest
from test_network_kernel import DUALS, deep, precise

from learning_mechanics.theory.architecture.constructors import (
    activation,
    dense,
    layer_norm,
    product,
    residual,
    serial,
    sum_of,
)
from learning_mechanics.theory.architecture.network import Network, Node, chain
from learning_mechanics.theory.errors import BadData, NoClosedForm, UnknownName
from learning_mechanics.theory.infinite_width.network_kernel import infinite_width

ROOT2 = 2**0.5


REFUSED = {
    "activation1: .*not Gaussian .the inputs": serial(activation("relu"), dense()),
    "activation3: .*not Gaussian .of activation2": serial(dense(), activation("relu"), activation("erf"), dense()),
    "sum3: a sum of dense1 and activation2, which both depend on dense1": serial(dense(), residual(activation("relu"))),
    "product4: a product of activation2 and activation3": serial(
        dense(), product(activation("relu"), activation("erf"))
    ),
    "sum2: a sum that cancels": serial(dense(), sum_of(serial(), serial(), coefficients=(1.0, -1.0))),
    "h1: the tied weights W, used 2 times": Network(
        (Node("x", "input"), Node("h1", "dense", ("x",), weight="W"), Node("h2", "dense", ("h1",), weight="W"))
    ),
    "g: a gate": Network((Node("x", "input"), Node("g", "gate", ("x",), gate="c"))),
    "total": Network((Node("x", "input"), Node("total", "total", ("x",)))),
    "s: a weight for every channel": Network((Node("x", "input"), Node("s", "scale", ("x",), weight="w"))),
    "2 outputs": Network(
        (Node("x", "input"), Node("h", "dense", ("x",), weight="W"), Node("g", "dense", ("x",), weight="V")), ("h", "g")
    ),
}


@pytest.mark.instant
@pytest.mark.parametrize("match", REFUSED)
def test_what_has_no_such_limit_is_refused_by_the_name_of_the_layer(match):
    with pytest.raises(BadData, match=match):
        infinite_width(REFUSED[match])


@pytest.mark.instant
def test_tangent_kernels_that_are_infinite_are_refused_and_covariances_given():
    kernel = infinite_width(serial(dense(), activation("sign"), dense()))
    with pytest.raises(BadData, match="activation2: the tangent kernel of sign is infinite"):
        kernel(np.eye(2))
    np.testing.assert_allclose(kernel(np.eye(2), get="nngp").nngp, np.eye(2), atol=1e-15)


@pytest.mark.instant
@pytest.mark.parametrize(
    ("x1", "x2", "match"),
    [
        ([[1.0, np.nan]], None, "nan in row 0, column 1"),
        ([[1.0]], [[np.inf]], "x2: inf in row 0"),
        ([1.0, 2.0], None, "shape"),
        ([["a", "b"]], None, "not numbers"),
        (np.ones((2, 3)), np.ones((2, 4)), "4 columns"),
        (np.ones((2, 0)), None, "shape"),
        ([[1e200, 1e200]], None, "x: the variance of sample 0 overflows"),
    ],
)
def test_bad_samples_are_refused(x1, x2, match):
    with pytest.raises(BadData, match=match):
        infinite_width(deep("relu", 2))(x1, x2)


@pytest.mark.instant
@pytest.mark.parametrize("b_std", [0.0, 0.2])
@pytest.mark.parametrize("count", [1, 70])
def test_zero_rows_duplicates_and_one_column(b_std, count):
    """Zero rows have K = 0 without biases; equal rows have equal entries to rounding; one column is fine."""
    rng = np.random.default_rng(10)
    for columns in (1, 4):
        x = np.concatenate([np.zeros((1, columns)), rng.standard_normal((count, columns))])
        x = np.concatenate([x, x, -x, 1e-9 * x])
        for function in ("relu", "erf"):
            both = infinite_width(deep(function, 3, b_std=b_std))(x)
            for matrix in (both.nngp, both.ntk):
                assert np.isfinite(matrix).all() and (matrix == matrix.T).all()
                if not b_std:
                    assert not matrix[0].any()
                np.testing.assert_allclose(matrix[1, 1 + count + 1], matrix[1, 1], rtol=1e-14)
                assert np.linalg.eigvalsh(matrix)[0] > -1e-13 * len(x) * matrix.max()


@pytest.mark.instant
@pytest.mark.parametrize("function", ["cos", "normal_cdf", "exp", "gelu", "softplus", "rectified_power(2)"])
@pytest.mark.parametrize("b_std", [0.0, 0.3])
def test_zero_rows_are_the_limit_of_small_rows(function, b_std):
    """Also of activations that are not zero at zero: kernels move by the size of the row, here 1e-7."""
    rng = np.random.default_rng(14)
    x = rng.standard_normal((3, 4))
    kernel = infinite_width(
        serial(dense(1.0, b_std), activation(function), dense(1.0, b_std), activation("erf"), dense())
    )
    zero, small = (
        kernel(np.concatenate([first, x])) for first in (np.zeros((2, 4)), 1e-7 * rng.standard_normal((2, 4)))
    )
    for which in ("nngp", "ntk"):
        np.testing.assert_allclose(getattr(zero, which), getattr(small, which), atol=1e-6)


@pytest.mark.instant
def test_empty_sets_give_empty_matrices():
    kernel = infinite_width(deep("relu", 2))
    none, some = np.empty((0, 3)), np.ones((2, 3))
    assert kernel(none).ntk.shape == (0, 0) and kernel(none, some).nngp.shape == (0, 2)
    assert kernel(some, none).ntk.shape == (2, 0) and kernel.diagonal(none).ntk.shape == (0,)


@pytest.mark.short
@pytest.mark.parametrize("function", ["relu", "erf", "tanh"])
def test_large_weights_and_thirty_layers(function):
    """W_std = 10: finite, symmetric, not indefinite; chaotic maps of inputs 1e-7 apart against 50 digits."""
    x = np.random.default_rng(11).standard_normal((15, 6))
    x = np.concatenate([x, x[:3], x[:3] + 1e-7])
    both = infinite_width(deep(function, 30, 10.0, 0.1))(x)
    for matrix in (both.nngp, both.ntk):
        assert np.isfinite(matrix).all() and (matrix == matrix.T).all()
        scale = np.sqrt(np.outer(np.diag(matrix), np.diag(matrix)))
        assert np.linalg.eigvalsh(matrix / scale)[0] > -1e-12
    if function in DUALS:
        expected = precise(DUALS[function], x[0], x[18], 30, 10.0, 0.1)
        np.testing.assert_allclose((both.nngp[0, 18], both.ntk[0, 18]), expected, rtol=1e-11)
        expected = precise(DUALS[function], x[0], x[1], 30, 10.0, 0.1)
        np.testing.assert_allclose((both.nngp[0, 1], both.ntk[0, 1]), expected, rtol=1e-11)


@pytest.mark.instant
def test_what_overflows_is_refused_by_layer():
    kernel = infinite_width(serial(dense(30.0), activation("exp"), dense(), activation("exp"), dense()))
    with pytest.raises(BadData, match="activation2, activation exp: its moments overflow"):
        kernel(np.array([[0.1, 0.1], [3.0, 4.0]]))


@pytest.mark.instant
def test_a_norm_of_nothing_is_refused_unless_eps_is_given():
    x = np.array([[1.0, 2.0], [0.0, 0.0]])
    with pytest.raises(BadData, match="layer_norm2: the features of sample 1 have no variance"):
        infinite_width(serial(dense(), layer_norm(), activation("relu"), dense()))(x)
    both = infinite_width(serial(dense(), layer_norm(1e-6), activation("relu"), dense()))(x)
    assert np.isfinite(both.ntk).all() and not both.nngp[1].any()


@pytest.mark.instant
def test_angles_and_formulas_are_refused_where_there_are_none():
    mean = infinite_width(serial(layer_norm(), dense(), activation("relu"), dense()))
    for call in (mean.on_angles, mean.on_sphere):
        with pytest.raises(BadData, match="lengths and angles"):
            call([0.5])
    with pytest.raises(NoClosedForm, match="lengths and angles"):
        mean.symbolic()
    with pytest.raises(BadData, match="in .0, pi"):
        infinite_width(deep("relu", 1)).on_angles([4.0])
    with pytest.raises(BadData, match="in .-1, 1"):
        infinite_width(deep("relu", 1)).on_sphere([1.5])
    with pytest.raises(BadData, match="give a network"):
        infinite_width("relu")
    with pytest.raises(UnknownName, match="nngp"):
        infinite_width(deep("relu", 1))(np.eye(2), get="nngb")


@pytest.mark.instant
def test_a_norm_of_the_inputs_subtracts_their_mean():
    """Also where the mean is a million standard deviations: dyadic numbers, so that the mean itself is exact."""
    x = np.random.default_rng(12).integers(-512, 512, (4, 8)) / 256
    plain = serial(dense(), activation("relu"), dense())
    for shift in (3.0, 2.0**20):
        centred = x - x.mean(axis=1, keepdims=True)
        centred /= np.sqrt(np.square(centred).mean(axis=1, keepdims=True))
        found, expected = infinite_width(serial(layer_norm(), plain))(x + shift), infinite_width(plain)(centred)
        np.testing.assert_allclose(found.ntk, expected.ntk, rtol=1e-13)
        np.testing.assert_allclose(
            infinite_width(serial(layer_norm(0.5), plain))(x + shift, x + shift, get="nngp").nngp[0, 1],
            infinite_width(plain)(centred).nngp[0, 1] / np.sqrt(np.prod([1 + 0.5 / row.var() for row in x[:2]])),
            rtol=1e-13,
        )


@pytest.mark.instant
def test_the_plain_stack_of_chain_is_the_same_network():
    x = np.random.default_rng(13).standard_normal((4, 3))
    stack = chain("input", "width", 1, activation="erf", bias=True, parameterization="ntk")
    layers = serial(dense(1.0, 1.0), activation("erf"), dense(1.0, 1.0, width=1))
    np.testing.assert_array_equal(infinite_width(stack)(x).ntk, infinite_width(layers)(x).ntk)
