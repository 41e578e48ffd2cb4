"""One hidden layer after the other of sampled neurons: their activations, their starts, and a step of training.

    h_l = W_l phi(h_(l-1)),   f = w phi(h) / (gamma M),   W + eta gamma/M beta q',   w + eta gamma (y - f)' phi(h)/P

q are features, beta = phi'(h) W'beta the error signals of a layer; W_1 acts on coordinates of the samples.
"""

from collections.abc import Callable, Iterator
from functools import lru_cache
from typing import Any

import numpy as np

from ...theory.architecture.activations import activation_name, formula, stated
from ...theory.arguments import values_of
from ...theory.errors import DidNotConverge
from ..compile import compile


@lru_cache(maxsize=64)
def neuron(activation: Any) -> tuple[Callable, Callable]:
    """The activation and its derivative as functions of NumPy arrays; functions of arrays are differentiated by JAX.

    >>> value, slope = neuron("relu")
    >>> value(np.array([-1.0, 2.0])), slope(np.array([-1.0, 2.0]))
    (array([0., 2.]), array([0., 1.]))
    """
    activation = stated(activation)
    law = formula(activation)
    if law is not None:
        (z,) = law.signature
        made = compile([law.expr, law.expr.diff(z)], [z], backend="numpy")
        return tuple(lambda h, which=which: np.broadcast_to(made(h)[which], h.shape) for which in (0, 1))  # type: ignore
    return _traced(activation)


def _traced(activation):
    import jax

    from ..precision import x64

    both = jax.jit(lambda h: jax.jvp(activation, (h,), (jax.numpy.ones_like(h),)))
    numbers = x64(lambda h: both(jax.numpy.asarray(h)))
    remedy = "use jax.numpy in it, or give a SymPy expression or a name"
    values_of(lambda h: numbers(h)[1], np.zeros((2, 3)), f"activation {activation_name(activation)}", remedy)
    return (lambda h: numbers(h)[0]), (lambda h: numbers(h)[1])


def trained(
    activation: Any,
    first: np.ndarray,
    hidden: list,
    last: np.ndarray,
    richness: float,
    learning_rate: float,
    z: np.ndarray,
    y: np.ndarray,
    centred: bool,
    where: str,
) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """At every step the outputs (rows, o) and the feature kernels (layers, P, P); the first P rows of z train.

    `first` (M, r) and `last` (M, o) are weights, `hidden` matrices in between with `times`, `transposed_times`, `add`.
    """
    value, slope = neuron(activation)
    samples, count = len(y), len(last)
    first, last, start, step = first.copy(), last.copy(), 0.0, 0
    with np.errstate(over="ignore", invalid="ignore"):
        while True:
            fields = [first @ z.T]
            for matrix in hidden:
                fields.append(matrix.times(value(fields[-1])))
            features = [value(h) for h in fields]
            f = features[-1].T @ last / (richness * count)
            if centred:
                start = f if step == 0 else start
                f = f - start
            if not np.isfinite(f).all() or np.abs(f).max() > 1e100:
                remedy = f"lower the learning rate {learning_rate:g}"
                raise DidNotConverge(f"outputs diverge at step {step}", where=where, remedy=remedy)
            yield f, np.stack([q[:, :samples].T @ q[:, :samples] / count for q in features])
            left = (y - f[:samples]) / samples
            signal = slope(fields[-1][:, :samples]) * (last @ left.T)
            last = last + learning_rate * richness * features[-1][:, :samples] @ left
            for layer in range(len(hidden) - 1, -1, -1):
                q = features[layer][:, :samples]
                back = hidden[layer].transposed_times(signal)
                hidden[layer].add(learning_rate * richness / count * signal, q)
                signal = slope(fields[layer][:, :samples]) * back
            first = first + learning_rate * richness * signal @ z[:samples]
            step += 1
