"""Dynamical mean-field theory of deep linear networks, stepped forward in time: no iteration is needed.

At step t, with H = past steps, every kernel and response between t and the past follows from those of the past alone:

    e_l(t, H) = response of g_(l+1)(t) + eta G_(l+1)(t, H)         backward, from the output layer down
    c_l(t, H) = response of h_(l-1)(t) + eta <h_(l-1)(t) hbar_(l-1)(H)>    forward, then f(t) and what is left of y

because gradient descent is causal and linear single-site processes respond to nothing at equal times. The equations are
those of `theory.mean_field.deep_linear` on the whole horizon; their residual, evaluated afterwards, is rounding.

Three reductions keep it small. Backward fields of a linear network do not depend on the sample, so that responses are
(T o, T o) matrices; what trains is one combination hbar of features per step and output; and samples enter through the
r <= min(P, d) directions that the inputs span. For T steps, o outputs and L weight matrices:

    time ~ 2 (L - 1) (r + 4 o) (T o)^3 / o operations,     memory = 8 (12 L + 8 + r (L + 7)) (T o)^2 bytes.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from ...theory.errors import BadData, DidNotConverge
from .arguments import accepted, directions_of, requested

LARGEST = 8e9  # bytes
_WHERE = "mean-field descent"


@dataclass(frozen=True, eq=False)
class MeanFieldDescent:
    """Gradient descent of an infinitely wide deep linear network of L weight matrices, at recorded `steps` (R,).

    `outputs`      (R, P, o) on the training inputs; `test_outputs` (R, Q, o) on the others that were given
    `loss`         (R,) 1/2 mean |y - f|^2
    `gradients`    (L, R, o, o): kernels G of layers 1 to L (the last is 1) at equal times
    `kernels`      (L, R, r, r): kernels Phi of layers 0 (the inputs) to L - 1 at equal times, along `directions` (P, r)
    `overlaps`     (L, R, r, r): the same between every time and the start, <h(t) h(0)>
    `residual`     how well the equations hold on the whole horizon, relative to their largest terms
    """

    steps: np.ndarray
    outputs: np.ndarray
    test_outputs: np.ndarray
    loss: np.ndarray
    gradients: np.ndarray
    kernels: np.ndarray
    overlaps: np.ndarray
    directions: np.ndarray
    targets: np.ndarray
    residual: float

    def features(self, layer: int) -> np.ndarray:
        """Feature kernel Phi (R, P, P) of a layer at equal times: 0 the inputs, L - 1 the last hidden one."""
        return self.directions @ self.kernels[layer] @ self.directions.T

    def tangent_kernel(self, record: int = -1) -> np.ndarray:
        """Sum over layers of G_(l+1) Phi_l (P, P, o, o) at one record: with step size eta, df = eta K (y - f)/P."""
        kernels, gradients = self.kernels[:, record], self.gradients[:, record]
        return np.einsum("pr,lrs,qs,lab->pqab", self.directions, kernels, self.directions, gradients, optimize=True)

    def movement(self) -> np.ndarray:
        """Relative Frobenius change |Phi(t) - Phi(0)| / |Phi(0)| of every layer's kernel (L, R); inputs do not move."""
        change = self.kernels - self.kernels[:, :1]
        return self._norm(change) / self._norm(self.kernels[:, :1])

    def alignment(self) -> np.ndarray:
        """Cosine between Phi and y y' as matrices, (L, R)."""
        along = self.directions.T @ self.targets
        overlap = np.einsum("ro,lkrs,so->lk", along, self.kernels, along)
        return overlap / (self._norm(self.kernels) * np.linalg.norm(self.targets.T @ self.targets))

    def persistence(self) -> np.ndarray:
        """Cosine between features and what they were at the start, all samples together, (L, R)."""
        squares = (self.directions**2).sum(0)
        both, own = (np.einsum("r,lkrr->lk", squares, kernel) for kernel in (self.overlaps, self.kernels))
        return both / np.sqrt(own * own[:, :1])

    def __str__(self) -> str:
        rows = [
            (name, ", ".join(f"{value:.3g}" for value in numbers[1:, -1]))
            for name, numbers in (("kernels moved by", self.movement()), ("aligned with y y'", self.alignment()))
        ]
        return "\n".join(
            (
                f"mean field of a linear network of {len(self.kernels)} weight matrices, {self.steps[-1]} steps",
                f"loss               {self.loss[0]:.4g} to {self.loss[-1]:.4g}",
                *(f"{name:18} {numbers} (layers from the first)" for name, numbers in rows),
                f"residual           {self.residual:.2g}",
            )
        )

    __repr__ = __str__

    def _norm(self, kernels) -> np.ndarray:
        """Frobenius norm of directions x kernel x directions'; the directions are orthogonal."""
        sizes = np.linalg.norm(self.directions, axis=0)
        return np.linalg.norm(kernels * sizes[:, None] * sizes, axis=(2, 3))


def descend(
    x: Any,
    y: Any,
    *,
    depth: int = 3,
    richness: float = 1.0,
    learning_rate: float = 0.1,
    steps: int | Sequence[int] | np.ndarray = 100,
    x_test: Any = None,
    largest: float = LARGEST,
) -> MeanFieldDescent:
    """Train an infinitely wide linear network of `depth` >= 2 weight matrices by descent on 1/2 mean |y - f|^2.

        f = h_L / (gamma sqrt(N)) with h_l = W_l h_(l-1) / sqrt(fan-in), W ~ N(0, 1), step learning_rate gamma^2 N

    `x` (P, d), `y` (P,) or (P, o); `richness` is gamma, 0 the lazy limit: gradient descent with a kernel that stays.
    `steps` is the number of steps, all of them recorded, or the recorded ones.
    Errors: `DidNotConverge` when training diverges, with the step; `BadData` for arrays or sizes that cannot be used.

    >>> found = descend(np.eye(2), np.array([1.0, -1.0]), depth=3, richness=0.0, learning_rate=0.5, steps=1)
    >>> found.outputs[1, :, 0]  # one step of kernel descent: learning rate x 3 <x, x>/d x y/P
    array([ 0.375, -0.375])

    Reference: Bordelon & Pehlevan 2022 (arXiv:2205.09653).
    """
    x, y, x_test = accepted(x, y, x_test, _WHERE)
    records = requested(depth, richness, learning_rate, steps, _WHERE)
    directions = directions_of(x)
    strengths = (directions**2).sum(0)
    last, outputs, rank = int(records[-1]) + 1, y.shape[1], len(strengths)
    needed = 8.0 * (last * outputs) ** 2 * (12 * depth + 8 + rank * (depth + 7))
    if needed > largest:
        raise BadData(
            f"{last - 1} steps of {outputs} output{'s' * (outputs > 1)} and {rank} directions: {needed / 1e9:.1f} GB",
            where=_WHERE,
            remedy="take fewer and larger steps, or raise `largest` (bytes)",
        )
    state = _State(int(depth), rank, last, outputs, float(richness) ** 2, float(learning_rate))
    targets, shares = directions.T @ y / len(y), strengths / len(y)
    _run(state, targets, shares)
    residual = _residual(state, targets, shares)
    kernels, overlaps = _kernels(state, records)
    fitted = directions @ state.f[records]
    G = state.G[1:].reshape(-1, last, outputs, last, outputs)
    to_test = x_test @ np.linalg.pinv(x) @ directions
    return MeanFieldDescent(
        steps=records,
        outputs=fitted,
        test_outputs=to_test @ state.f[records],
        loss=((y - fitted) ** 2).sum((1, 2)) / (2 * len(y)),
        gradients=np.stack([G[:, step, :, step] for step in records], axis=1),
        kernels=kernels,
        overlaps=overlaps,
        directions=directions,
        targets=y,
        residual=residual,
    )


def fixed_point(system: Any, values: Mapping[str, Any], steps: np.ndarray) -> dict[str, np.ndarray]:
    """Outputs F (R, rows, o) of `theory.mean_field.deep_linear.self_consistency` at recorded steps, and what follows.

    `values` holds x, y, gamma and eta (the step size over gamma^2 N); with x_test, F are outputs on its rows. Besides
    "F" there are "loss" (R, 1) and "kernel_movement" (R, L - 1).
    """
    depth = sum(str(unknown).startswith("c_") for unknown in system.unknowns) + 1
    found = descend(
        values["x"],
        values["y"],
        depth=depth,
        richness=float(values["gamma"]),
        learning_rate=float(values["eta"]),
        steps=steps,
        x_test=values.get("x_test"),
    )
    if found.residual > 1e-8:
        raise DidNotConverge(
            f"the equations are missed by {found.residual:.1g}", where=_WHERE, remedy="lower the learning rate"
        )
    return {
        "F": found.test_outputs if "x_test" in values else found.outputs,
        "loss": found.loss[:, None],
        "kernel_movement": found.movement()[1:].T,
    }


def nearly_flow(system: Any, values: Mapping[str, Any], steps: np.ndarray) -> dict[str, np.ndarray]:
    """As `fixed_point`, at the same times with ten steps in the place of one: close to gradient flow."""
    return fixed_point(system, {**values, "eta": float(values["eta"]) / 10}, 10 * np.asarray(steps))


class _State:
    """Kernels and responses on the horizon; every step fills one block of `o` rows and columns.

    Of hidden layer l: e, Gr, gu (what g is made of), cbar, Hu, hr (what hbar is made of), the kernels G = <g g'>,
    Phi = <hbar hbar'> and s = <g hbar'> / gamma, and the rows c of every direction. Powers of gamma are taken out:

        g = Gr r + gamma gu ubar,    hbar = Hu ubar + gamma hr r.
    """

    def __init__(self, depth, rank, last, outputs, square, rate):
        size = last * outputs
        self.depth, self.rank, self.last, self.outputs = depth, rank, last, outputs
        self.square, self.rate = square, rate
        self.e, self.Gr, self.gu, self.Hu, self.hr, self.s, self.Phi = (np.zeros((depth, size, size)) for _ in range(7))
        self.G = np.zeros((depth + 1, size, size))
        self.G[depth] = np.kron(np.ones((last, last)), np.eye(outputs))
        self.c = np.zeros((depth, last, rank, size))
        self.left = np.zeros((last, rank, outputs))  # what is left of the targets, over P, along the directions
        self.first = np.zeros((rank, size))  # k of layer 0, the same at every time
        self.k = np.zeros((depth, rank, size))  # of the present step
        self.f = np.zeros((last, rank, outputs))


def _run(state: _State, targets: np.ndarray, shares: np.ndarray) -> None:
    """Step through the horizon; `targets` (r, o) and `shares` (r,) are z'y/P and the eigenvalues of z'z/P."""
    with np.errstate(over="ignore", invalid="ignore"):
        for step in range(state.last):
            past, now = slice(0, step * state.outputs), slice(step * state.outputs, (step + 1) * state.outputs)
            _backward(state, past, now)
            _forward(state, step, past, now)
            state.left[step] = targets - shares[:, None] * state.f[step]
            if not np.isfinite(state.left[step]).all() or np.abs(state.left[step]).max() > 1e100:
                raise DidNotConverge(
                    f"outputs diverge at step {step}",
                    where=_WHERE,
                    remedy=f"lower the learning rate {state.rate:g}",
                )
            _contract(state, step, past, now)


def _backward(state: _State, past: slice, now: slice) -> None:
    """Rows `now` of g = r + gamma e hbar from the last layer down: what trained between past and now flows back."""
    upto, square = slice(0, now.stop), state.square
    for layer in range(state.depth - 1, 0, -1):
        above = state.G[layer + 1]
        e = state.rate * above[now, past]
        if layer < state.depth - 1:
            e = e + state.gu[layer + 1][now, past]
        state.e[layer][now, past] = e
        state.gu[layer][now, past] = e @ state.Hu[layer][past, past]
        state.Gr[layer][now, past] = square * e @ state.hr[layer][past, past]
        state.Gr[layer][now, now] = np.eye(state.outputs)
        s = state.s[layer]
        s[now, past] = above[now, past] @ state.hr[layer][past, past].T + e @ state.Phi[layer][past, past]
        row = above[now, upto] @ state.Gr[layer][upto, upto].T + square * e @ s[upto, past].T
        state.G[layer][now, upto], state.G[layer][upto, now] = row, row.T


def _forward(state: _State, step: int, past: slice, now: slice) -> None:
    """Rows of every direction `now`: c, and k towards the past, from the first layer up; then the outputs."""
    k, a = state.first[:, past], 0.0
    for layer in range(1, state.depth):
        c = a + state.rate * k
        state.c[layer, step, :, past] = c
        if layer == state.depth - 1:
            state.f[step] = k @ state.gu[layer][now, past].T + c @ state.G[layer][past, now]
        a = c @ state.Gr[layer][past, past]
        k = k @ state.Hu[layer][past, past].T + state.square * c @ state.s[layer][past, past]
        state.k[layer][:, past] = k


def _contract(state: _State, step: int, past: slice, now: slice) -> None:
    """Rows and columns `now` of hbar = ubar + gamma cbar g, now that it is known what is left of the targets."""
    left, upto, square = state.left[step], slice(0, now.stop), state.square
    state.first[:, now] = left
    row = left.T @ state.first[:, upto]
    state.Phi[0][now, upto], state.Phi[0][upto, now] = row, row.T
    for layer in range(1, state.depth):
        cbar = left.T @ state.c[layer, step, :, past]
        Hu, below, s, Phi = state.Hu[layer], state.Phi[layer - 1], state.s[layer], state.Phi[layer]
        Hu[now, past], Hu[now, now] = square * cbar @ state.gu[layer][past, past], np.eye(state.outputs)
        state.hr[layer][now, past] = cbar @ state.Gr[layer][past, past]
        s[upto, now] = state.gu[layer][upto, past] @ below[past, now] + state.G[layer][upto, past] @ cbar.T
        row = left.T @ state.k[layer][:, past]
        Phi[now, past], Phi[past, now] = row, row.T
        Phi[now, now] = below[now, upto] @ Hu[now, upto].T + square * cbar @ s[past, now]


def _residual(state: _State, targets: np.ndarray, shares: np.ndarray) -> float:
    """The largest miss of any equation on the whole horizon, relative to its largest term; inverses, no recursion."""
    last, outputs, square = state.last, state.outputs, state.square
    size, identity = last * outputs, np.eye(last * outputs)
    time = np.repeat(np.arange(last), outputs)
    past, now = time[:, None] > time, np.arange(last)
    gathered = lambda rows: np.einsum("tro,tra->toa", state.left, rows).reshape(size, size)  # noqa: E731
    contracted = [gathered(rows) for rows in state.c]  # that of layer 0 is zero, and so is its e
    full = [np.linalg.inv(identity - square * e @ cbar) for e, cbar in zip(state.e, contracted, strict=True)]
    misses = []
    k, flows_up = np.broadcast_to(state.first, (last, *state.first.shape)), np.zeros(1)
    for layer in range(1, state.depth):
        e, Gr, cbar, above = state.e[layer], full[layer], contracted[layer], state.G[layer + 1]
        gu, hr, below = Gr @ e, cbar @ Gr, gathered(k)
        Hu = identity + square * cbar @ gu
        flows_back = full[layer + 1] @ state.e[layer + 1] if layer < state.depth - 1 else 0.0
        rows = flows_up + state.rate * k * past[::outputs][:, None]
        G = square * gu @ below @ gu.T + Gr @ above @ Gr.T
        misses += [
            _miss(state.c[layer], rows),
            _miss(e, flows_back + state.rate * past * above),
            _miss(state.G[layer], G),
        ]
        if layer == state.depth - 1:
            outputs_found = k @ gu.T + state.c[layer] @ G
            f = outputs_found.reshape(last, state.rank, last, outputs)[now, :, now]
            misses += [_miss(state.f, f), _miss(state.left, targets - shares[:, None] * f)]
        flows_up = state.c[layer] @ Gr
        k = k @ Hu.T + square * state.c[layer] @ (gu @ below @ Hu.T + Gr @ above @ hr.T)
    return max(misses)


def _miss(left, right) -> float:
    size = float(np.abs(left).max(initial=0.0))
    return float(np.abs(left - right).max(initial=0.0)) / (size or 1.0)


def _kernels(state: _State, records: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """<h(t) h(t)'> and <h(t) h(0)'> along the directions, (L, R, r, r), at the recorded steps."""
    square, rank = state.square, state.rank
    k = np.broadcast_to(state.first, (len(records), *state.first.shape))
    k0 = state.first
    here = [np.broadcast_to(np.eye(rank), (len(records), rank, rank))]
    from_start = [here[0]]
    for layer in range(1, state.depth):
        c, gu, G = state.c[layer][records], state.gu[layer], state.G[layer]
        crossed = square * c @ gu @ np.swapaxes(k, 1, 2)
        here.append(here[-1] + crossed + np.swapaxes(crossed, 1, 2) + square * c @ G @ np.swapaxes(c, 1, 2))
        from_start.append(from_start[-1] + square * c @ gu @ k0.T)
        k = k @ state.Hu[layer].T + square * c @ state.s[layer]
        k0 = k0 @ state.Hu[layer].T
    return np.stack(here), np.stack(from_start)
