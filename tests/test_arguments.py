"""Arguments of public functions: whatever a user gives, a number comes out or one line that says what was found."""

import numpy as np
import pytest
import sympy as sp

import learning_mechanics as lm
from learning_mechanics.theory.arguments import number, numbers, values_of, whole
from learning_mechanics.theory.errors import BadData, UnknownName

pytestmark = pytest.mark.instant
NET = lm.architecture.serial(lm.architecture.dense(), lm.architecture.activation("relu"), lm.architecture.dense())
X, Y = np.eye(3), np.array([1.0, -1.0, 0.5])
KERNEL = lm.kernels.infinite_width(NET)


@pytest.mark.parametrize("value", ["1", b"1", None, [1.0], np.nan, -1, np.inf, 1j, object()])
def test_what_is_no_number_is_refused(value):
    with pytest.raises(BadData, match="here: ridge"):
        number(value, "ridge", "here")
    with pytest.raises(BadData, match="here: steps"):
        whole(value, "steps", "here")


@pytest.mark.parametrize("value", [2, 2.0, np.float32(2), np.array(2), sp.Integer(2), True + 1])
def test_numbers_of_any_kind_are_taken(value):
    assert number(value, "ridge", "here") == 2.0
    assert whole(value, "steps", "here") == 2


def test_arrays_lose_nothing_silently():
    assert numbers([[1, 2]], "x", "here").dtype == np.float64
    assert numbers(np.array([1 + 0j]), "x", "here") == [1.0]
    for wrong in (["1"], [[1], [1, 2]], np.array([1j]), np.ma.masked_array([1.0, 2.0], [True, False]), "a"):
        with pytest.raises(BadData, match="x has"):
            numbers(wrong, "x", "here")


def test_functions_of_users_fail_in_one_line():
    with pytest.raises(BadData, match="ZeroDivisionError"):
        values_of(lambda x: 1 / 0, X, "here", "give a function")


@pytest.mark.parametrize(
    ("call", "error"),
    [
        (lambda: KERNEL(X, get=()), BadData),
        (lambda: KERNEL(X, get=3), UnknownName),
        (lambda: KERNEL.on_sphere("a"), BadData),
        (lambda: KERNEL.on_angles([0.0], q="a"), BadData),
        (lambda: lm.kernels.infinite_width(NET, {"widht": 5}), UnknownName),
        (lambda: lm.kernels.infinite_width(NET, {"width": 0}), BadData),
        (lambda: lm.kernels.infinite_width(NET, 100), BadData),
        (lambda: lm.kernels.infinite_width(NET, memory="1GB"), BadData),
        (lambda: lm.architecture.dense("64"), BadData),
        (lambda: lm.architecture.dense(width=2.5), BadData),
        (lambda: lm.architecture.dense(parameterization=None), UnknownName),
        (lambda: lm.architecture.residual(scale=np.nan), BadData),
        (lambda: lm.architecture.sum_of(NET, coefficients=1.0), BadData),
        (lambda: lm.architecture.activation(sp.I * sp.Symbol("z")), BadData),
        (lambda: lm.phase("erf"), BadData),
        (lambda: lm.edge_of_chaos(NET, b_std="a"), BadData),
        (lambda: lm.spectra.sphere(NET, 3, which="ntkk"), UnknownName),
        (lambda: lm.spectra.lattice([1.0, np.nan]), BadData),
        (lambda: lm.spectra.torus(lambda r: 1 / 0), BadData),
        (lambda: lm.spectra.gaussian(lm.kernels.rbf(), []), BadData),
        (lambda: lm.hermite_spectrum(NET, X * 1e100), BadData),
        (lambda: lm.cross_validation(X, Y * np.nan), BadData),
        (lambda: lm.cross_validation(np.triu(np.ones((3, 3))), Y), BadData),
        (lambda: lm.trained_ensemble(lm.kernels.ntk(2), X, Y, X), BadData),
        (lambda: lm.trained_ensemble(NET, X, Y, X, t="a"), BadData),
        (lambda: lm.gaussian_process("rbf", X, Y, X), BadData),
        (lambda: lm.gaussian_process(NET, X, Y, X, noise="a"), BadData),
        (lambda: lm.kernel_training(X, []), BadData),
        (lambda: lm.kernel_training(X, Y, initial=[1.0]), BadData),
        (lambda: lm.random_features(np.ones(4), samples=[1.0], features=[2.0], ridge="a"), BadData),
        (lambda: lm.mean_field.deep_linear(X, Y, steps="a"), BadData),
        (lambda: lm.on_device(None), BadData),
        (lambda: lm.empirical_kernel(NET, {}, X), BadData),
        (lambda: lm.ScikitLearnKernel(NET, "ntkk")(X), UnknownName),
        (lambda: lm.ScikitLearnKernel(lm.kernels.rbf, widht=1.0)(X), BadData),
    ],
)
def test_misuse_is_explained_in_one_line(call, error):
    with pytest.raises(error) as caught:
        call()
    assert "\n" not in str(caught.value)


def test_a_network_is_a_kernel_everywhere():
    found = lm.gaussian_process(NET, X, Y, X)
    assert np.array_equal(found.mean, lm.gaussian_process(KERNEL.as_kernel("nngp"), X, Y, X).mean)
    assert np.array_equal(lm.trained_ensemble(NET, X, Y, X).mean, lm.trained_ensemble(KERNEL, X, Y, X).mean)


def test_functions_of_jax_are_computed_in_double_precision():
    import jax.numpy as jnp

    a = lm.architecture
    found, known = (
        lm.kernels.infinite_width(a.serial(a.dense(), a.activation(phi), a.dense()))(X) for phi in (jnp.tanh, np.tanh)
    )
    np.testing.assert_allclose(found.ntk, known.ntk, rtol=1e-13)
