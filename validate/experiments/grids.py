"""Operations on features laid out on a grid, (samples, positions..., channels), for the JAX interpreter."""

import math


def convolve(node, features, weight):
    """Every position's window times W (out, in, *window), without bias and multiplier: (samples, positions..., out)."""
    import jax

    spatial = "HW"[: len(node.window)]
    numbers = (f"N{spatial}C", f"OI{spatial}", f"N{spatial}C")
    return jax.lax.conv_general_dilated(
        _wrapped(node, features),
        weight,
        window_strides=node.strides or (1,) * len(node.window),
        padding="SAME" if node.padding == "same" else "VALID",
        dimension_numbers=numbers,
    )


def average(node, features):
    """Means over windows, padded zeros counted; over all positions if the window is empty."""
    import jax

    if not node.window:
        return features.mean(axis=tuple(range(1, features.ndim - 1)))
    window = (1, *node.window, 1)
    strides = (1, *(node.strides or node.window), 1)
    padding = "SAME" if node.padding == "same" else "VALID"
    wrapped = _wrapped(node, features)
    total = jax.lax.reduce_window(wrapped, features.dtype.type(0), jax.lax.add, window, strides, padding)
    return total / math.prod(node.window)


def attend(node, features, weight):
    """softmax over positions of q.k / channels, times the features; queries and keys are the same W h."""
    import jax
    import jax.numpy as jnp

    flat = features.reshape(len(features), -1, features.shape[-1])
    factor, _ = node.factors(weight.shape[1])
    keys = factor * flat @ weight.T
    mixing = jax.nn.softmax(jnp.einsum("npc,nqc->npq", keys, keys) / weight.shape[0], axis=-1)
    return jnp.einsum("npq,nqc->npc", mixing, flat).reshape(features.shape)


def _wrapped(node, features):
    """The features continued periodically as far as the windows reach, for circular padding."""
    import jax.numpy as jnp

    if node.padding != "circular":
        return features
    strides = node.strides or ((1,) * len(node.window) if node.op == "convolution" else node.window)
    widths = []
    for size, window, stride in zip(features.shape[1:-1], node.window, strides, strict=True):
        reach = max((-(-size // stride) - 1) * stride + window - size, 0)  # as for "same"
        widths.append((reach // 2, reach - reach // 2))
    return jnp.pad(features, [(0, 0), *widths, (0, 0)], mode="wrap")
