"""Training losses by name: functions of a network's outputs f (P, o) and the data, compiled with the gradient loop.

mean_squared       1/2 mean over samples of |y - f|^2
summed_squared     1/2 sum over samples of |y - f|^2
weighted_squared   1/2 sum over all entries of weight (y - f)^2, data array "weight" (P, o)
cross_entropy      mean over samples of -sum_j y_j log softmax(f)_j
skip_gram          -sum over all entries of positive log sigma(f) + negative log sigma(-f), data arrays (P, o)
"""

from collections.abc import Callable


def find(name: str) -> Callable:
    """The loss of that name: (outputs (P, o), data by name) -> scalar; names are `theory.setup.LOSSES`.

    >>> import jax.numpy as jnp
    >>> float(find("mean_squared")(jnp.zeros((4, 2)), {"y": jnp.ones((4, 2))}))
    1.0
    """
    import jax
    import jax.numpy as jnp

    def mean_squared(outputs, data):
        return 0.5 / len(data["y"]) * ((data["y"] - outputs) ** 2).sum()

    def summed_squared(outputs, data):
        return 0.5 * ((data["y"] - outputs) ** 2).sum()

    def weighted_squared(outputs, data):
        return 0.5 * (data["weight"] * (data["y"] - outputs) ** 2).sum()

    def cross_entropy(outputs, data):
        return -(data["y"] * jax.nn.log_softmax(outputs)).sum() / len(data["y"])

    def skip_gram(outputs, data):
        together = data["positive"] * jax.nn.log_sigmoid(outputs)
        return -jnp.sum(together + data["negative"] * jax.nn.log_sigmoid(-outputs))

    return {
        "mean_squared": mean_squared,
        "summed_squared": summed_squared,
        "weighted_squared": weighted_squared,
        "cross_entropy": cross_entropy,
        "skip_gram": skip_gram,
    }[name]
