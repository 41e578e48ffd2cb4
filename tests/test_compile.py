"""Compilation: values against mpmath, jit and grad, refusals by name, sums over many modes."""

import jax
import jax.numpy as jnp
import mpmath
import numpy as np
import pytest
import sympy as sp

from learning_mechanics.solvers.compile import compile
from learning_mechanics.theory.architecture.network import chain
from learning_mechanics.theory.errors import CannotCompile
from learning_mechanics.theory.symbols import matrices, modes, over, positive
from learning_mechanics.validate.experiments.forward import forward

x = positive("x")
SPECIAL = {
    "erf": (sp.erf(x), mpmath.erf),
    "erfc": (sp.erfc(x), mpmath.erfc),
    "gamma": (sp.gamma(x), mpmath.gamma),
    "loggamma": (sp.loggamma(x), mpmath.loggamma),
    "beta": (sp.beta(x, 2), lambda z: mpmath.beta(z, 2)),
    "digamma": (sp.polygamma(0, x), lambda z: mpmath.polygamma(0, z)),
}


@pytest.mark.short
@pytest.mark.parametrize("name", SPECIAL)
def test_special_functions_under_jit(name):
    expression, reference = SPECIAL[name]
    with jax.enable_x64(True):
        value = jax.jit(compile([expression], [x]))(jnp.asarray(0.7))[0]
        slope = jax.grad(lambda z: compile([expression], [x])(z)[0])(0.7)
    assert abs(float(value) - float(reference(mpmath.mpf("0.7")))) < 1e-13
    assert np.isfinite(slope)


@pytest.mark.instant
def test_over_is_one_reduction_however_many_modes():
    lam, kappa = modes("lambda"), positive("kappa")
    degrees = compile([over(lam / (lam + kappa))], [lam, kappa], backend="numpy")
    values = 1.0 / np.arange(1.0, 100_001.0) ** 1.5
    found = degrees(values, np.array([[1e-3], [1e-2]]))[0]
    assert found.shape == (2, 1)
    assert np.allclose(found[:, 0], [(values / (values + k)).sum() for k in (1e-3, 1e-2)], rtol=1e-13)


@pytest.mark.instant
@pytest.mark.parametrize(
    "expression, named", [(sp.zeta(x), "zeta"), (sp.Function("mystery")(x), "mystery"), (sp.besselj(0, x), "besselj")]
)
def test_what_cannot_be_compiled_is_refused_by_name(expression, named):
    with pytest.raises(CannotCompile, match=named):
        compile([expression], [x])


@pytest.mark.instant
def test_a_sum_over_nothing_is_refused():
    with pytest.raises(CannotCompile, match="no mode symbol to sum over"):
        compile([over(x)], [x])


@pytest.mark.instant
def test_a_constant_is_no_integer():
    """The clock t' = 1 of an explicit solution has derivatives like any other equation."""
    (rate,) = compile([sp.Integer(1)], [(x := sp.Symbol("x"))])(0.5)
    assert isinstance(rate, float) and rate == 1
    assert jax.grad(lambda value: compile([sp.Integer(1)], [x])(value)[0])(0.5) == 0


@pytest.mark.instant
def test_a_missing_value_is_named():
    with pytest.raises(CannotCompile, match="symbol y is not among the arguments"):
        compile([x + positive("y")], [x])


@pytest.mark.instant
def test_matrices_with_symbolic_dimensions():
    W1, W2 = matrices(W1=("h", "d"), W2=("o", "h"))
    rng = np.random.default_rng(0)
    a, b = rng.standard_normal((3, 4)), rng.standard_normal((2, 3))
    product, trace = compile([W2 * W1, sp.Trace(W1 * W1.T)], [W1, W2], backend="numpy")(a, b)
    assert np.allclose(product, b @ a) and np.isclose(trace, (a * a).sum())


@pytest.mark.short
@pytest.mark.parametrize("activation", ["identity", "relu", "tanh", "erf", "square"])
@pytest.mark.parametrize("parameterization", ["standard", "ntk"])
def test_symbolic_and_jax_forward_agree(activation, parameterization):
    network = chain("input", 5, "output", activation=activation, bias=True, parameterization=parameterization)
    rng = np.random.default_rng(1)
    shapes = network.shapes({"input": 3, "output": 2})
    parameters = {name: rng.standard_normal(shape) for name, shape in shapes.items()}
    rows = rng.standard_normal((4, 3))
    symbolic = network.symbolic()
    arguments = sorted(symbolic.atoms(sp.MatrixSymbol), key=str)
    given = [rows.T if str(m) == "X" else parameters[str(m)] for m in arguments]
    given = [value[:, None] if value.ndim == 1 else value for value in given]
    outputs = compile([symbolic], arguments, backend="numpy")(*given)[0]
    with jax.enable_x64(True):
        assert np.abs(np.asarray(forward(network)(parameters, jnp.asarray(rows))) - outputs.T).max() < 1e-13
