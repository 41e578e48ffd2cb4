"""Observables of networks on data they are not trained on, for the lazy regime: test error and test outputs.

test_error = mean over x_test of |y - f(x)|^2 (no factor 1/2). The setting must draw a test set: sample="train_test".
"""

from .measure import observable


@observable("test_error")
def test_error(context, parameters):
    """Mean squared error on the test inputs, summed over outputs, without the factor 1/2."""
    residual = context.arrays["y_test"] - context.forward(parameters, context.arrays["x_test"])
    return (residual**2).sum()[None] / len(residual)


@observable("test_outputs")
def test_outputs(context, parameters):
    """All outputs on the test inputs, flattened."""
    return context.forward(parameters, context.arrays["x_test"]).reshape(-1)


@observable("excess_risk")
def excess_risk(context, parameters):
    """Population risk above its minimum, 1/2 sum_j lambda_j (w_j - w*_j)^2, of a linear map on a known distribution."""
    import jax.numpy as jnp

    eigenvalues, target = context.arrays["eigenvalues"], context.arrays["target"]
    found = context.forward(parameters, jnp.eye(len(target), dtype=target.dtype))[:, 0]
    return (eigenvalues * (found - target) ** 2).sum()[None] / 2
