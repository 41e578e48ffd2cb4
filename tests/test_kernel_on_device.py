"""Kernels computed by JAX against the same kernels computed by NumPy."""

import numpy as np
import pytest
import sympy as sp

from learning_mechanics.solvers.regression import kernel_on_device as module
from learning_mechanics.solvers.regression.kernel_on_device import on_device
from learning_mechanics.theory.architecture.constructors import (
    activation,
    convolution,
    dense,
    flatten,
    layer_norm,
    product,
    reshape,
    residual,
    serial,
    sum_of,
)
from learning_mechanics.theory.errors import BadData, UnknownName
from learning_mechanics.theory.infinite_width.network_kernel import infinite_width

relu, erf = activation("relu"), activation("erf")
z = sp.Symbol("z", real=True)
NETWORKS = {
    "relu, five layers": serial(*[dense(2**0.5), relu] * 5, dense(2**0.5)),
    "relu, biases": serial(dense(1.3, 0.4), relu, dense(1.2, 0.3), relu, dense(1.0, 0.2)),
    "leaky, abs": serial(dense(), activation("leaky_relu(0.2)"), dense(1.1, 0.1), activation("abs"), dense()),
    "erf, gelu": serial(dense(1.5, 0.1), erf, dense(1.2), activation("gelu"), dense(1.1, 0.1)),
    "sin of the user": serial(dense(1.5), activation(sp.sin(z) + z / 2), dense()),
    "residual and norm": serial(dense(), residual(relu, dense(0.9, 0.2), scale=0.5), relu, layer_norm(0.1), dense()),
    "norm, sum, product": serial(
        dense(1.2, 0.3),
        layer_norm(),
        sum_of(serial(relu, dense(1.1)), serial(erf, dense(0.8, 0.1))),
        product(dense(0.9, 0.2), serial(dense(), relu)),
        dense(),
    ),
    "sum with means": serial(sum_of(serial(dense(), relu), serial(dense(1.2), activation("abs"))), dense(1.1)),
    "standard": serial(
        dense(1.3, 0.2, parameterization="standard", width=64),
        relu,
        dense(1.1, 0.1, parameterization="standard", width=3),
    ),
}
rng = np.random.default_rng(8)
X = rng.standard_normal((9, 5))
X[1], X[2], X[3] = X[0], X[0] + 1e-5 * X[4], -X[0]  # equal, nearly equal and opposite inputs


def assert_agrees(name, device=None):
    kernel = infinite_width(NETWORKS[name])
    there = on_device(kernel, device)
    exact, crossed = kernel(X), kernel(X[::-1], X)
    found, cross = there(X), there(X[::-1], X)
    for which in ("nngp", "ntk"):
        size = np.abs(getattr(exact, which)).max()
        np.testing.assert_allclose(getattr(found, which), getattr(exact, which), rtol=1e-12, atol=1e-12 * size)
        np.testing.assert_allclose(getattr(cross, which), getattr(crossed, which), rtol=1e-12, atol=1e-12 * size)
        assert getattr(found, which).dtype == np.float64


@pytest.mark.short
@pytest.mark.parametrize("name", NETWORKS)
def test_agreement_with_numpy(name):
    assert_agrees(name)


@pytest.mark.gpu
@pytest.mark.parametrize("name", NETWORKS)
def test_agreement_on_an_accelerator(name):
    import jax

    assert_agrees(name, jax.devices("gpu")[0])


@pytest.mark.short
def test_single_precision_keeps_the_diagonal_and_near_duplicates():
    kernel = infinite_width(NETWORKS["relu, five layers"])
    found, exact = on_device(kernel, dtype="float32")(X), kernel(X)
    assert found.ntk.dtype == np.float32
    np.testing.assert_allclose(found.ntk, exact.ntk, rtol=3e-6, atol=3e-6 * np.abs(exact.ntk).max())
    np.testing.assert_allclose(np.diag(found.ntk), np.diag(exact.ntk), rtol=1e-7)
    np.testing.assert_allclose(found.ntk[0, 1:3], exact.ntk[0, 1:3], rtol=2e-6)


@pytest.mark.short
def test_blocks_change_nothing(monkeypatch):
    kernel = infinite_width(NETWORKS["relu, biases"])
    whole = kernel(X)
    monkeypatch.setattr(module, "WORK", 8 * module.ALIVE * 9 * 4)  # blocks of 4 rows, the last one overlapping
    one = on_device(kernel)(X, get="nngp")
    np.testing.assert_allclose(one.nngp, whole.nngp, rtol=1e-13)
    assert one.ntk is None


@pytest.mark.short
def test_refusals():
    with pytest.raises(BadData, match="reshape"):
        on_device(infinite_width(serial(reshape(4, 1), convolution((2,)), relu, flatten(), dense())))
    kinked = activation(sp.Max(z - sp.Rational(1, 3), 0))
    with pytest.raises(BadData, match="Hermite series"):
        on_device(infinite_width(serial(dense(), kinked, dense())))
    plain = infinite_width(NETWORKS["relu, biases"])
    with pytest.raises(UnknownName, match="float32"):
        on_device(plain, dtype="float23")
    with pytest.raises(BadData, match="columns"):
        on_device(plain)(X, X[:, :3])
    with pytest.raises(BadData, match="nan"):
        on_device(plain)(np.full((2, 5), np.nan))


@pytest.mark.short
def test_zero_rows_and_no_rows():
    kernel = infinite_width(NETWORKS["relu, biases"])
    x = np.concatenate([np.zeros((1, 5)), X[:2]])
    np.testing.assert_allclose(on_device(kernel)(x).ntk, kernel(x).ntk, rtol=1e-12)
    plain = infinite_width(serial(dense(), relu, dense()))
    assert np.isfinite(on_device(plain)(x).ntk).all()
    assert on_device(kernel)(x[:0]).ntk.shape == (0, 0)
