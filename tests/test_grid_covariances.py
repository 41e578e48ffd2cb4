"""Kernels of networks on grids against loops over positions, with covariances of all positions of all samples."""

import itertools

import numpy as np
import pytest

from learning_mechanics.theory.architecture.constructors import (
    activation,
    attention,
    average_pool,
    convolution,
    dense,
    flatten,
    global_average_pool,
    layer_norm,
    product,
    reshape,
    residual,
    serial,
    sum_of,
)
from learning_mechanics.theory.errors import BadData
from learning_mechanics.theory.infinite_width.network_kernel import infinite_width

pytestmark = pytest.mark.short

# ---- the reference: one matrix over all pairs (sample, position), covariances instead of gaps -----------------------


def relu_dual(A, B, C):
    root = np.sqrt(A * B)
    cosine = np.clip(C / np.where(root > 0, root, 1), -1, 1)
    theta = np.arccos(cosine)
    return root / (2 * np.pi) * (np.sin(theta) + (np.pi - theta) * cosine), (np.pi - theta) / (2 * np.pi)


def erf_dual(A, B, C):
    norm = (1 + 2 * A) * (1 + 2 * B)
    return 2 / np.pi * np.arcsin(2 * C / np.sqrt(norm)), 4 / np.pi / np.sqrt(norm - 4 * C**2)


DUALS = {"relu": relu_dual, "erf": erf_dual}
FAN_IN = {"convolution2": 6, "dense5": 32}  # of the network "standard": 2 channels x 3, and 16 x 2 positions
MEANS = {"relu": lambda A: np.sqrt(A / (2 * np.pi)), "erf": lambda A: 0 * A}


def cells(node, positions, strides):
    """For every output position, input positions under the window, None for padded zeros."""
    axes, after = [], []
    for size, w, s in zip(positions, node.window, strides, strict=True):
        count = (size - w) // s + 1 if node.padding == "valid" else -(-size // s)
        before = 0 if node.padding == "valid" else max((count - 1) * s + w - size, 0) // 2
        rows = []
        for out in range(count):
            row = [out * s + k - before for k in range(w)]
            if node.padding == "circular":
                row = [at % size for at in row]
            rows.append([at if 0 <= at < size else None for at in row])
        axes.append(rows)
        after.append(count)
    found = []
    for out in np.ndindex(*after):
        under = []
        for cell in itertools.product(*(axis[i] for axis, i in zip(axes, out, strict=True))):
            under.append(None if None in cell else int(np.ravel_multi_index(cell, positions)))
        found.append(under)
    return tuple(after), found


def reference(network, x):
    """Dictionaries K, Theta over all nodes: arrays (n, P, n, P); exact for channels that are wide."""
    n, K, T, M, grid = len(x), {}, {}, {}, {}
    for node in network.nodes:
        before = node.inputs[0] if node.inputs else None
        k, t, m, positions = K.get(before), T.get(before), M.get(before), grid.get(before)
        if node.op == "input":
            k, m, positions = (x @ x.T / x.shape[1])[:, None, :, None], x.mean(1)[:, None], ()
            t = 0 * k
        elif node.op == "reshape":
            rows = x.reshape(n, -1, node.window[-1])
            k, m = np.einsum("npc,mqc->npmq", rows, rows) / node.window[-1], rows.mean(-1)
            t, positions = 0 * k, node.window[:-1]
        elif node.op in ("dense", "convolution"):
            if node.op == "convolution":
                positions, under = cells(node, positions, node.strides or (1,) * len(node.window))
                old = k, t
                k, t = (np.zeros((n, len(under), n, len(under))) for _ in range(2))
                for (p, left), (q, right) in itertools.product(enumerate(under), repeat=2):
                    for a, b in zip(left, right, strict=True):  # the same weight of the window
                        if a is not None and b is not None:
                            k[:, p, :, q] += old[0][:, a, :, b] / len(left)
                            t[:, p, :, q] += old[1][:, a, :, b] / len(left)
            w, b = node.w_std**2, node.b_std**2 if node.bias else 0.0
            moved = w * k + b
            if node.parameterization == "standard":
                moved = FAN_IN[node.name] * k + bool(node.bias)
            k, t, m = w * k + b, w * t + moved, np.zeros(k.shape[:2])
        elif node.op == "activation":
            A = np.einsum("npnp->np", k)
            k, slope = DUALS[node.activation](A[:, :, None, None], A, k)
            t, m = t * slope, MEANS[node.activation](A)
        elif node.op == "sum":
            c = node.coefficients or (1.0,) * len(node.inputs)
            k = sum(a * a * K[i] for a, i in zip(c, node.inputs, strict=True))
            for (a, i), (b, j) in itertools.permutations(zip(c, node.inputs, strict=True), 2):
                k = k + a * b * M[i][:, :, None, None] * M[j]
            t = sum(a * a * T[i] for a, i in zip(c, node.inputs, strict=True))
            m = sum(a * M[i] for a, i in zip(c, node.inputs, strict=True))
        elif node.op == "product":
            i, j = node.inputs
            k, t, m = K[i] * K[j], K[i] * T[j] + T[i] * K[j], M[i] * M[j]
        elif node.op == "layer_norm":
            k = k - m[:, :, None, None] * m
            norm = np.sqrt(np.einsum("npnp->np", k) + node.epsilon)
            k, t, m = (array / norm[:, :, None, None] / norm for array in (k, t, 0 * k))
            m = np.zeros(norm.shape)
        elif node.op in ("average_pool", "attention"):
            size = k.shape[1]
            if node.op == "attention":
                Z = np.exp(node.w_std**2 * np.einsum("npnq->npq", k))
                Z /= Z.sum(-1, keepdims=True)
            elif not node.window:
                positions, Z = (), np.full((n, 1, size), 1 / size)
            else:
                positions, under = cells(node, positions, node.strides or node.window)
                Z = np.zeros((n, len(under), size))
                for p, left in enumerate(under):
                    for a in left:
                        if a is not None:
                            Z[:, p, a] += 1 / len(left)
            k, t = (np.einsum("npa,namb,mqb->npmq", Z, array, Z) for array in (k, t))
            m = np.einsum("npa,na->np", Z, m)
        elif node.op == "flatten":
            k, t = (np.einsum("npmp->nm", array)[:, None, :, None] / array.shape[1] for array in (k, t))
            m, positions = m.mean(1, keepdims=True), ()
        K[node.name], T[node.name], M[node.name], grid[node.name] = k, t, m, positions
    last = network.outputs[0]
    assert K[last].shape[1] == 1
    return K[last][:, 0, :, 0], T[last][:, 0, :, 0]


relu, erf = activation("relu"), activation("erf")
NETWORKS = {
    "1-D": (serial(reshape(6, 2), convolution((3,), 1.4, 0.3), relu, flatten(), dense(1.2, 0.1)), 12),
    "1-D deep": (
        serial(
            reshape(7, 1),
            convolution((3,), 1.2, 0.3, padding="same"),
            relu,
            convolution((2,), 1.1, strides=(2,), padding="circular"),
            erf,
            flatten(),
            dense(),
        ),
        7,
    ),
    "2-D global": (
        serial(
            reshape(3, 4, 2), convolution((2, 3), 1.3, 0.2, padding="same"), relu, global_average_pool(), dense(1.5)
        ),
        24,
    ),
    "2-D pooled": (
        serial(
            reshape(4, 4, 1),
            convolution(2, 1.0, 0.4, padding="circular"),
            relu,
            average_pool(2),
            convolution(2, 1.3),
            erf,
            flatten(),
            dense(1.0, 0.5),
        ),
        16,
    ),
    "overlapping pools": (
        serial(
            reshape(5, 2),
            dense(1.5, 0.3),
            erf,
            average_pool((3,), (2,), "same"),
            dense(),
            relu,
            average_pool((2,), (1,), "circular"),
            flatten(),
            dense(),
        ),
        10,
    ),
    "attention": (
        serial(reshape(4, 3), dense(1.2, 0.4), attention(1.3), dense(1.1), relu, global_average_pool(), dense()),
        12,
    ),
    "standard": (
        serial(
            reshape(4, 2),
            convolution((3,), 1.2, 0.3, parameterization="standard", width=16),
            relu,
            flatten(),
            dense(0.9, 0.2, parameterization="standard", width=1),
        ),
        8,
    ),
    "attention on inputs and after": (
        serial(reshape(2, 2, 3), attention(0.7), dense(), relu, attention(0.9), flatten(), dense(0.7, 0.2)),
        12,
    ),
    "residual, norm, product": (
        serial(
            reshape(4, 2),
            convolution((2,), 1.2, 0.3, padding="circular"),
            residual(relu, convolution((3,), 0.8, 0.1, padding="same"), scale=0.6),
            relu,
            layer_norm(0.01),
            product(dense(0.9, 0.2), dense(1.1)),
            global_average_pool(),
            dense(),
        ),
        8,
    ),
    "branches, one with pairs": (
        serial(
            reshape(4, 2),
            convolution((2,), 1.2),
            relu,
            sum_of(serial(flatten(), dense(1.0, 0.2)), serial(global_average_pool(), dense(0.7))),
        ),
        8,
    ),
    "means through pooling and attention": (
        serial(
            reshape(4, 2),
            dense(1.2, 0.3),
            relu,
            average_pool((2,), (1,), "same"),
            attention(0.8),
            layer_norm(0.1),
            dense(),
            relu,
            flatten(),
            dense(),
        ),
        8,
    ),
    "a sum of means, pooled": (
        serial(
            reshape(2, 2, 2),
            sum_of(
                serial(convolution(2, 1.2, 0.1, padding="same"), relu), serial(dense(0.9), relu), coefficients=(1, -2)
            ),
            product(dense(1.1, 0.2), serial(dense(), relu)),
            global_average_pool(),
            layer_norm(),
            dense(1.3),
        ),
        8,
    ),
    "transformer block": (
        serial(
            reshape(4, 3),
            dense(1.2, 0.4),
            residual(attention(1.1), dense(0.8, 0.1)),
            layer_norm(),
            residual(dense(1.1), relu, dense(0.7, 0.2), scale=0.5),
            flatten(),
            dense(),
        ),
        12,
    ),
    "one branch with pairs joined by one without": (
        serial(
            reshape(4, 2),
            dense(1.2, 0.3),
            relu,
            sum_of(
                serial(global_average_pool(), dense(0.9)),
                serial(residual(convolution((3,), 1.1, padding="same")), flatten(), dense(0.8)),
                serial(product(convolution((3,), 1.1, padding="same"), dense()), flatten(), dense(0.8)),
            ),
        ),
        8,
    ),
    "layer norm of a flat image": (
        serial(reshape(3, 2), convolution((2,), 1.0, 0.3), relu, flatten(), layer_norm(), dense()),
        6,
    ),
}


@pytest.mark.parametrize("name", NETWORKS)
def test_against_the_reference(name):
    network, d = NETWORKS[name]
    x = np.random.default_rng(3).standard_normal((5, d))
    nngp, ntk = reference(network, x)
    kernel = infinite_width(network, {"width": 16} if name == "standard" else None)
    symmetric, cross = kernel(x), kernel(x[:2], x)
    np.testing.assert_allclose(symmetric.nngp, nngp, rtol=1e-12, atol=1e-13)
    # arccos of a cosine near one costs the reference half its digits on the diagonal
    away = ~np.eye(5, dtype=bool)
    np.testing.assert_allclose(symmetric.ntk[away], ntk[away], rtol=1e-12, atol=1e-12)
    np.testing.assert_allclose(np.diag(symmetric.ntk), np.diag(ntk), rtol=2e-7)
    np.testing.assert_allclose(cross.nngp, nngp[:2], rtol=1e-12, atol=1e-13)
    np.testing.assert_allclose(cross.ntk, symmetric.ntk[:2], rtol=1e-7)
    only = kernel.diagonal(x)
    np.testing.assert_allclose(only.nngp, np.diag(symmetric.nngp), rtol=1e-13)
    np.testing.assert_allclose(only.ntk, np.diag(symmetric.ntk), rtol=1e-13)


def test_images_nearly_the_same_keep_their_digits():
    """Windows and flattening at distances 1e-5 and 1e-9, against 60 digits: 1e-12, the tangent kernel included."""
    import mpmath

    network = serial(reshape(3, 2), convolution((2,), 1.2), relu, convolution((2,), 1.1), relu, flatten(), dense())
    rng = np.random.default_rng(0)
    x = np.repeat(rng.standard_normal((1, 6)), 3, axis=0)
    x[1] += 1e-5 * rng.standard_normal(6)
    x[2] += 1e-9 * rng.standard_normal(6)
    found, exact = infinite_width(network)(x), np.zeros((2, 3, 3))
    with mpmath.workdps(60):
        points = {(n, p): [mpmath.mpf(v) for v in x[n, 2 * p : 2 * p + 2]] for n in range(3) for p in range(3)}
        K = {(a, b): sum(u * v for u, v in zip(points[a], points[b], strict=True)) / 2 for a in points for b in points}
        T = dict.fromkeys(K, mpmath.mpf(0))
        for w, size in ((mpmath.mpf(1.2) ** 2, 2), (mpmath.mpf(1.1) ** 2, 1)):
            after = [(n, p) for n in range(3) for p in range(size)]
            moved = {}
            for a, b in itertools.product(after, repeat=2):
                under = [((a[0], a[1] + s), (b[0], b[1] + s)) for s in range(2)]
                k = w * sum(K[pair] for pair in under) / 2
                moved[a, b] = (k, k + w * sum(T[pair] for pair in under) / 2)
            for (a, b), (k, t) in moved.items():
                root = mpmath.sqrt(moved[a, a][0] * moved[b, b][0])
                theta = mpmath.acos(min(k / root, mpmath.mpf(1)))
                K[a, b] = root / (2 * mpmath.pi) * (mpmath.sin(theta) + (mpmath.pi - theta) * mpmath.cos(theta))
                T[a, b] = t * (mpmath.pi - theta) / (2 * mpmath.pi)
        for n, m in itertools.product(range(3), repeat=2):
            k = K[(n, 0), (m, 0)]
            exact[:, n, m] = float(k), float(k + T[(n, 0), (m, 0)])
    np.testing.assert_allclose(found.nngp, exact[0], rtol=1e-13)
    np.testing.assert_allclose(found.ntk, exact[1], rtol=1e-12)


@pytest.mark.parametrize("end", ["flat", "pooled", "attention"])
def test_hard_inputs(end):
    """Black images, black pixels, duplicates, one sample, one position: finite numbers, equal where they must be."""
    layers = {
        "flat": (flatten(),),
        "pooled": (average_pool((2,), (1,)), dense(), relu, global_average_pool()),
        "attention": (attention(), dense(), relu, flatten()),
    }[end]
    for bias in (0.0, 0.3):
        network = serial(reshape(4, 1), convolution((2,), 1.2, bias, padding="same"), relu, *layers, dense())
        kernel = infinite_width(network)
        x = np.random.default_rng(0).standard_normal((4, 4))
        x[0], x[1, 2], x[3] = 0, 0, x[2]
        found = kernel(x)
        assert np.isfinite(found.nngp).all() and np.isfinite(found.ntk).all()
        np.testing.assert_allclose(found.ntk[2], found.ntk[3], rtol=1e-12)
        np.testing.assert_allclose(kernel(x[2:3], x[3:]).ntk[0, 0], found.ntk[2, 2], rtol=1e-12)
        if not bias:
            assert not found.ntk[0].any()
    single = infinite_width(serial(reshape(1, 3), convolution((1,)), relu, global_average_pool(), dense()))
    plain = infinite_width(serial(dense(), relu, dense()))
    x = np.random.default_rng(1).standard_normal((3, 3))
    np.testing.assert_allclose(single(x).ntk, plain(x).ntk, rtol=1e-13)


def test_what_is_refused_by_the_name_of_the_layer():
    x = np.ones((2, 4))
    grid = (reshape(4, 1), convolution((2,)), relu)
    cases = {
        "reshape2: hidden features": serial(dense(width=4), reshape(4, 1), dense(), flatten(), dense()),
        "attention1: attention without positions": serial(attention(), dense()),
        "sum6: a sum of flattened": serial(*grid, flatten(), residual(dense(width=3))),
        "positions": serial(*grid, dense()),
        "not Gaussian": serial(*grid, flatten(), relu, dense()),
    }
    for message, network in cases.items():
        with pytest.raises(BadData, match=message):
            infinite_width(network)(x)


def test_the_bytes_are_said_before_pairs_of_pixels_are_computed():
    pooled = serial(reshape(16, 16, 1), convolution(3), relu, global_average_pool(), dense())
    flat = serial(reshape(16, 16, 1), convolution(3), relu, flatten(), dense())
    with pytest.raises(BadData, match="[0-9.]+ [kMG]B"):
        infinite_width(pooled, memory=10**6)(np.ones((30, 256)))
    per_pair = []
    for network in (pooled, flat):
        plan = infinite_width(network).plan(30, d=256)
        per_pair.append(plan.work_bytes / (plan.block[0] * plan.block[1]))
    assert 200 < per_pair[0] / per_pair[1] < 300  # pairs of 14 x 14 positions, or of 16 x 16, instead of positions


def test_another_divisor_is_another_unit_of_the_inputs():
    from dataclasses import replace

    kernel, x = infinite_width(NETWORKS["2-D pooled"][0]), np.random.default_rng(2).standard_normal((4, 16))
    scaled = replace(kernel, divisor=1.0)(x / 4)
    np.testing.assert_allclose(scaled.ntk, kernel(x).ntk, rtol=1e-13)
