"""Exact solution of S' = F S + S F - S S, S(0) = Q0 Q0', that stays accurate at all times and for all scales of Q0.

    S(t) = e^(F t) Q0 [1 + Q0' D Q0]^-1 Q0' e^(F t),      D = integral of e^(2 F tau) from 0 to t

In the eigenbasis of F row i of Q0 grows by e^(f_i t), so that rows soon differ by more than float64 can hold. What must
not be lost are the small rows, whose turn comes later. Three things keep every row accurate to its own size:

- sizes are kept as logarithms, so nothing overflows, and D needs no inverse of F, so F may be singular;
- hidden units are rotated, row after row, largest (at time t) first: a Householder reduction with pivoting. Row j then
  has only its first j entries, and 1 + Q0' D Q0 = C A C with C diagonal and A well conditioned whatever the sizes are;
- one Cholesky factor of A and one triangular solve, which respects the size of every row, give S = Z'Z.

Cost per time: h pivots on an (h, n) array, h = min(n, width), vectorised over times; n counts inputs and outputs, but
never more than 2 (rank of Sigma_yx + h) of them. The rotation to the eigenbasis and back comes once.
Reference: Fukumizu 1998; Braun et al. 2022; row-wise stability: Cox & Higham 1998.

>>> F, Q0 = np.diag([2.0, 0.0]), np.array([[1e-6], [1e-3]])
>>> solve(F, Q0, np.array([0.0, 10.0, 1e4]))[:, 0, 0].round(6)
array([0.      , 3.999932, 4.      ])
"""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np

from ..theory.derivation.lambda_balanced import room
from ..theory.derivation.noncommutative import words
from ..theory.dynamics.two_layer import effective_rank, riccati_matrices
from ..theory.errors import BadData
from .precision import x64

_BATCH = 16  # times solved at once


def solve(F: np.ndarray, Q0: np.ndarray, times: np.ndarray) -> np.ndarray:
    """S (T, n, n) at `times` (T,), from a symmetric F (n, n) and Q0 (n, h). Errors: `BadData`.

    >>> S = solve(np.zeros((1, 1)), np.ones((1, 1)), np.array([1.0]))  # S' = -S^2 from 1
    >>> round(float(S[0, 0, 0]), 12)
    0.5
    """
    Z = factor(F, Q0, times)
    return np.swapaxes(Z, 1, 2) @ Z


def factor(F: np.ndarray, Q0: np.ndarray, times: np.ndarray) -> np.ndarray:
    """Z (T, min(n, h), n) with S = Z'Z; row-wise accurate in the eigenbasis of F. Arguments as for `solve`.

    >>> factor(np.eye(2), np.ones((2, 3)), np.array([0.0, 1.0])).shape
    (2, 2, 2)
    """
    F, Q0, times = np.asarray(F, float), np.asarray(Q0, float), np.atleast_1d(np.asarray(times, float))
    _accept(F, Q0, times)
    rates, basis = np.linalg.eigh(F)
    rates, basis, rows = _merged(rates, basis, basis.T @ Q0)
    if rows.shape[1] > rows.shape[0]:  # only Q0 Q0' matters, so more hidden units than rows can be rotated away
        rows = np.asarray(np.linalg.qr(rows.T, mode="r")).T
    return _batched(rates, rows, times) @ basis.T


@dataclass(frozen=True, eq=False)
class Trajectory:
    """The solution of a two-layer linear network at `times` (T,): blocks of S = Z'Z, and what follows from them.

    Z (T, r, inputs + outputs) is Q(t)' up to a rotation of hidden units; `target` is Sigma_yx.
    """

    times: np.ndarray
    Z: np.ndarray
    target: np.ndarray

    def __str__(self) -> str:
        outputs, inputs = self.target.shape
        loss, rank = self.loss(), self.effective_rank()
        return "\n".join(
            (
                f"two-layer linear network, {inputs} inputs, {outputs} outputs, {len(self.times)} times",
                f"time            {self.times[0]:.4g} to {self.times[-1]:.4g}",
                f"loss above min  {loss[0]:.4g} to {loss[-1]:.4g}",
                f"effective rank  {rank[0]:.4g} to {rank[-1]:.4g}",
            )
        )

    __repr__ = __str__

    @property
    def end_to_end(self) -> np.ndarray:
        """W2 W1 (T, outputs, inputs)."""
        return np.swapaxes(self._outputs, 1, 2) @ self._inputs

    @property
    def input_gram(self) -> np.ndarray:
        """W1'W1 (T, inputs, inputs)."""
        return np.swapaxes(self._inputs, 1, 2) @ self._inputs

    @property
    def output_gram(self) -> np.ndarray:
        """W2 W2' (T, outputs, outputs)."""
        return np.swapaxes(self._outputs, 1, 2) @ self._outputs

    def loss(self, target_power: float | None = None) -> np.ndarray:
        """1/2 E|y - W2 W1 x|^2 (T,); without E|y|^2 as `target_power`, the part above its minimum."""
        excess = ((self.target - self.end_to_end) ** 2).sum((1, 2)) / 2
        return excess if target_power is None else excess + (target_power - (self.target**2).sum()) / 2

    def tangent_kernel(self, x: np.ndarray, x_other: np.ndarray | None = None) -> np.ndarray:
        """Neural tangent kernel (T, P, outputs, P', outputs) on rows x (P, inputs): 1 x W1'W1 x' + W2 W2' x.x'.

        >>> path = two_layer(np.ones((1, 1)), 2 * np.ones((1, 1)), np.ones((1, 1)), [0.0], imbalance=3.0)
        >>> path.tangent_kernel(np.array([[1.0], [3.0]]))[0, :, 0, :, 0].round(9)
        array([[ 5., 15.],
               [15., 45.]])
        """
        other = x if x_other is None else x_other
        first = np.einsum("pi,tij,qj->tpq", x, self.input_gram, other)
        identity = np.eye(len(self.target))
        return np.einsum("tpq,ab->tpaqb", first, identity) + np.einsum("pq,tab->tpaqb", x @ other.T, self.output_gram)

    def effective_rank(self) -> np.ndarray:
        """How many singular values of W2 W1 count (T,): see `theory.dynamics.two_layer.effective_rank`.

        >>> path = two_layer(1e-3 * np.eye(2), 1e-3 * np.eye(2), np.diag([2.0, 1.0]), [0.0, 5.0, 1e4])
        >>> path.effective_rank().round(2)
        array([2.  , 1.06, 1.89])
        """
        return effective_rank(np.linalg.svd(self.end_to_end, compute_uv=False))

    @property
    def _inputs(self):
        return self.Z[:, :, : self.target.shape[1]]

    @property
    def _outputs(self):
        return self.Z[:, :, self.target.shape[1] :]


def two_layer(W1: Any, W2: Any, Sigma_yx: Any, times: Any, imbalance: float = 0.0) -> Trajectory:
    """Gradient flow of W2 W1 on white inputs from W1 (h, d) and W2 (o, h) with W2'W2 - W1W1' = imbalance x identity.

    Weights that are not so balanced are taken as they are: small ones err by their imbalance times the time, relative.
    Errors: `BadData` for shapes that do not fit, and for an imbalance that no weights of this width have.

    >>> path = two_layer(0.1 * np.eye(2), 0.1 * np.eye(2), np.diag([2.0, 1.0]), [0.0, 1.0, 1e4])
    >>> path.end_to_end[:, 1, 1].round(6)
    array([0.01    , 0.069453, 1.      ])
    """
    W1, W2, target = (np.atleast_2d(np.asarray(a, float)) for a in (W1, W2, Sigma_yx))
    if W2.shape[1] != len(W1) or target.shape != (len(W2), W1.shape[1]):
        raise BadData(
            f"W1 {W1.shape}, W2 {W2.shape} and Sigma_yx {target.shape}",
            where="two_layer",
            remedy="give (h, d), (o, h) and (o, d)",
        )
    room(W1.shape[1], len(W1), len(W2), imbalance)
    found = riccati_matrices({"W1": W1, "W2": W2, "Sigma_yx": target}, imbalance)
    times = np.atleast_1d(np.asarray(times, float))
    return Trajectory(times, factor(found["F"], found["Q"], times), target)


def flow(system, values: Mapping[str, Any], times: np.ndarray) -> dict[str, np.ndarray]:
    """Solver of laws whose system is S' = F S + S F - S S: {"S": (T, n, n)} from bound arrays "F" and "Q" (S = Q Q').

    Errors: `BadData` for a system of another form.

    >>> from ..theory.dynamics.two_layer import riccati_flow
    >>> flow(riccati_flow(), {"F": np.zeros((1, 1)), "Q": np.ones((1, 1))}, np.array([1.0]))["S"].round(12)
    array([[[0.5]]])
    """
    if len(system.unknowns) == 1 and hasattr(system.unknowns[0], "shape"):
        (S,), (rate,) = system.unknowns, system.equations
        for F in rate.free_symbols - {S}:
            if hasattr(F, "shape") and F.shape == S.shape and (words(rate) - words(F * S + S * F - S * S)).is_zero:
                return {str(S): solve(values[str(F)], values["Q"], times)}
    raise BadData(
        f"{system.statement()} is not of the form S' = F S + S F - S S",
        where="riccati",
        remedy="integrate it as an ODE",
    )


def _accept(F, Q0, times) -> None:
    if F.ndim != 2 or F.shape[0] != F.shape[1] or Q0.ndim != 2 or len(Q0) != len(F):
        raise BadData(f"F {F.shape} and Q0 {Q0.shape}", where="riccati", remedy="give (n, n) and (n, h)")
    for name, array in (("F", F), ("Q0", Q0), ("times", times)):
        if not np.isfinite(array).all():
            raise BadData(f"{name} is not finite", where="riccati", remedy="give finite numbers")
    if np.abs(F - F.T).max(initial=0.0) > 1e-12 * np.abs(F).max(initial=0.0):
        raise BadData("F is not symmetric", where="riccati", remedy="give a symmetric matrix")
    if times.ndim != 1 or not times.size or (times < 0).any():
        raise BadData(f"times {times}", where="riccati", remedy="give a list of times from 0")


def _merged(rates, basis, rows):
    """Rows that grow at one rate, rotated among themselves until at most `width` of them are not zero, and only those.

    Inputs and outputs that the target does not use all share the rate -lambda/2 or lambda/2.
    """
    apart = np.diff(rates) > 1e-13 * np.abs(rates).max(initial=0.0)
    merged = []
    for part in np.split(np.arange(len(rates)), np.flatnonzero(apart) + 1):
        directions, block = basis[:, part], rows[part]
        if len(part) > rows.shape[1]:
            turn, block = np.linalg.qr(block)
            directions = directions @ turn
        merged.append((np.full(len(block), rates[part].mean()), directions, block))
    rates, directions, blocks = zip(*merged, strict=True)
    return np.concatenate(rates), np.concatenate(directions, axis=1), np.concatenate(blocks)


@x64
def _batched(rates, rows, times):
    """Equal batches of times, the last one filled up, so that one compiled program serves any number of them."""
    run, (rates, rows) = _compiled(), (np.ascontiguousarray(rates), np.ascontiguousarray(rows))
    filled = np.resize(times, -(-len(times) // _BATCH) * _BATCH).reshape(-1, _BATCH)
    return np.concatenate([np.asarray(run(rates, rows, batch)) for batch in filled])[: len(times)]


@lru_cache(maxsize=1)
def _compiled():
    import jax

    return jax.jit(jax.vmap(_at, in_axes=(None, None, 0)))


def _at(rates, rows, time):
    """Z (h, n) at one time, in the eigenbasis of F: rates (n,), rows (n, h)."""
    import jax
    import jax.numpy as jnp

    # D = e^(2 growth t + 2 rest): what grows is kept apart, so that large exponents cancel before they are multiplied
    growth, rest = jnp.maximum(rates, 0), _log_root_bounded(jnp.abs(rates), time)
    places = jnp.arange(rows.shape[1])

    def reduce(step, state):
        """Rotate units from `step` on so that the largest row left has no entry after `step`."""
        turned, pivots = state
        left = jnp.where(places[:, None] >= step, turned, 0)
        lengths = jnp.sqrt((left**2).sum(0))
        pivot = jnp.argmax(growth * time + rest + jnp.log(lengths))
        mirror = left[:, pivot] + jnp.where(left[step, pivot] < 0, -1, 1) * lengths[pivot] * (places == step)
        norm = mirror @ mirror
        turned = turned - 2 * jnp.outer(mirror, mirror @ turned) / jnp.where(norm > 0, norm, 1)
        turned = turned.at[:, pivot].set(jnp.where(places > step, 0, turned[:, pivot]))
        return turned, pivots.at[step].set(pivot)

    turned, pivots = jax.lax.fori_loop(0, len(places), reduce, (rows.T, jnp.zeros_like(places)))
    logs, signs = jnp.log(jnp.abs(turned)), jnp.sign(turned)
    # log C = base + speed t: the size of the pivot once it exceeds one
    base, speed = rest[pivots] + logs[places, pivots], growth[pivots]
    grown = base + speed * time > 0
    base, speed = jnp.where(grown, base, 0)[:, None], jnp.where(grown, speed, 0)[:, None]
    accumulated = signs * jnp.exp(logs - base + rest + (growth - speed) * time)  # C^-1 Q0' D^(1/2)
    present = signs * jnp.exp(logs - base + (rates - speed) * time)  # C^-1 Q0' e^(F t)
    A = accumulated @ accumulated.T + jnp.diag(jnp.exp(-2 * (base + speed * time)[:, 0]))
    return jax.scipy.linalg.solve_triangular(jnp.linalg.cholesky(A), present, lower=True)


def _log_root_bounded(speed, time):
    """1/2 log of the integral of e^(-2 |f| tau) from 0 to t, also for f = 0."""
    import jax.numpy as jnp

    flat = speed * time < 1e-300
    safe = jnp.where(flat, 1.0, speed)
    return jnp.log(jnp.where(flat, time, -jnp.expm1(-2 * safe * time) / (2 * safe))) / 2
