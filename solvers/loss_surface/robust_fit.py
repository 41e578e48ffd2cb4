"""Many robust fits of one law at once: L = E + A N^-alpha + B D^-beta on logarithms of losses.

The one equation: a step of every fit solves its own 5 x 5 system

    (J^T diag(c h) J + mu diag) step = J^T diag(c) psi(r),     r = log L - log(E + A N^-alpha + B D^-beta),

psi(r) = r cut off at +-delta (Huber), c the number of times a run was drawn, and h = 1 inside the cut, kappa delta/|r|
outside. With kappa = 1 these are reweighted least squares, which never climb but crawl when delta is far below the
noise; with kappa = 0 it is Newton's step, which ends in a few steps once it knows which runs lie inside. One number per
fit goes from the first to the second where steps succeed and back where they fail.

Logarithms of N and D are centred (the raw system has a condition of 1e11), fits that have converged are taken out, and
the 5 x 5 systems are solved by a Cholesky factorisation written out over all fits.

References: Levenberg 1944; Marquardt 1963; Madsen, Nielsen 1990 (finite algorithms for Huber's estimator).
"""

from dataclasses import dataclass

import numpy as np

SIZE = 5  # unknowns: log E, log of the term of N at its centre, the same of D, alpha, beta
LOWEST = -12.0  # logarithm of the smallest term that is told from zero, below the smallest loss
STEEPEST = 12.0  # exponents beyond are no power laws any more: the term is a step
TINY = 1e-12  # a step that lowers the objective by less, relatively, is the last
ROUNDING = 1e-28  # squared residual of a run that fits exactly


@dataclass(frozen=True)
class Centred:
    """Logarithms of N and D about their means, and products of them that every step needs; shapes (runs,)."""

    x: np.ndarray
    y: np.ndarray
    centre: tuple[float, float]
    products: np.ndarray  # (runs, 4): 1, x, y, x y
    squares_x: np.ndarray  # (runs, 3): 1, x, x x
    squares_y: np.ndarray  # (runs, 3): 1, y, y y


def centred(parameters: np.ndarray, tokens: np.ndarray, centre: tuple[float, float] | None = None) -> Centred:
    """What a fit needs of N and D (runs,).

    >>> centred(np.array([1.0, np.e**2]), np.array([1.0, 1.0])).x
    array([-1.,  1.])
    """
    log_n, log_d = np.log(parameters), np.log(tokens)
    centre = centre or (float(log_n.mean()), float(log_d.mean()))
    x, y, one = log_n - centre[0], log_d - centre[1], np.ones(len(log_n))
    return Centred(
        x,
        y,
        centre,
        np.stack([one, x, y, x * y], 1),
        np.stack([one, x, x * x], 1),
        np.stack([one, y, y * y], 1),
    )


def predicted(theta: np.ndarray, design: Centred) -> np.ndarray:
    """Losses (fits, runs) of parameters (fits, 5)."""
    e, a, b, alpha, beta = (theta[:, i, None] for i in range(SIZE))
    return np.exp(e) + np.exp(a - alpha * design.x) + np.exp(b - beta * design.y)


def objective(residual: np.ndarray, counts: np.ndarray, delta: float) -> np.ndarray:
    """Sum of Huber's function over the runs (fits,): r^2/2 inside delta, delta (|r| - delta/2) outside.

    >>> objective(np.array([[1.0, 3.0]]), np.ones((1, 2)), 2.0)
    array([4.5])
    """
    inside = np.clip(residual, -delta, delta)
    return np.einsum("rn,rn->r", counts, inside * (residual - 0.5 * inside))


def fit(
    design: Centred,
    log_loss: np.ndarray,
    counts: np.ndarray,
    start: np.ndarray,
    delta: float = 1e-3,
    steps: int = 100,
    tolerance: float = TINY,
    frozen: tuple[int, ...] = (),
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Parameters (fits, 5), objectives (fits,), and whether each fit has converged (fits,).

    log_loss and counts are (fits, runs) or (runs,); start is (fits, 5) in centred logarithms.
    Unknowns whose places are `frozen` stay where they start.

    >>> n = np.geomspace(1e7, 1e10, 30)
    >>> design = centred(n, n[::-1] * 1e3)
    >>> truth = np.array([[0.5, -1.0, -2.0, 0.4, 0.3]])
    >>> found, value, done = fit(design, np.log(predicted(truth, design)), np.ones(30), truth + 0.05)
    >>> bool(done[0]), bool(np.allclose(found, truth, atol=1e-6))
    (True, True)
    """
    fits = len(start)
    runs = len(design.x)
    log_loss, counts = (np.broadcast_to(array, (fits, runs)) for array in (log_loss, counts))
    start = np.asarray(start, float)
    best, value, done = start.copy(), np.full(fits, np.inf), np.zeros(fits, bool)
    index = np.arange(fits)
    theta, target, count = start.copy(), log_loss, counts
    state = _linearised(theta, design, target, count, delta)
    exact = ROUNDING * counts.sum(1)
    damping, floor = np.ones(fits), target.min(1) + LOWEST
    for _ in range(steps):
        kappa, ridge = np.minimum(damping, 1.0), np.maximum(damping - 1.0, 0.0) * 1e-2
        step, gain = _step(state, count, design, kappa, ridge, delta, frozen)
        length = np.minimum(1.0, 2.0 / np.maximum(np.abs(step).max(1), 1e-300))
        trial = theta + length[:, None] * step
        trial[:, :3] = np.maximum(trial[:, :3], floor[:, None])
        trial[:, 3:] = np.clip(trial[:, 3:], -STEEPEST, STEEPEST)
        for place in frozen:
            trial[:, place] = theta[:, place]
        new = _linearised(trial, design, target, count, delta)
        better = new[0] <= state[0]
        fall = np.where(better, state[0] - new[0], 0.0)
        finished = (np.abs(gain) <= tolerance * state[0]) | (better & (fall <= tolerance * state[0]) & (damping < 0.3))
        finished |= (damping > 1e9) | (state[0] <= exact)
        theta = np.where(better[:, None], trial, theta)
        for old, made in zip(state, new, strict=True):
            old[better] = made[better]
        damping = np.where(better, np.maximum(damping * 0.25, 1e-6), damping * 6.0)
        if finished.any():
            gone = index[finished]
            best[gone], value[gone], done[gone] = theta[finished], state[0][finished], True
            keep = ~finished
            index, theta, damping, floor, exact = (a[keep] for a in (index, theta, damping, floor, exact))
            target, count = target[keep], count[keep]
            state = tuple(array[keep] for array in state)
            if not len(index):
                break
    best[index], value[index] = theta, state[0]
    return best, value, done


def _linearised(theta, design, target, counts, delta):
    """Objective (fits,), shares of the three terms in the loss (fits, runs) each without the first, and residuals."""
    e, a, b, alpha, beta = (theta[:, i, None] for i in range(SIZE))
    of_n = np.exp(a - alpha * design.x)
    of_d = np.exp(b - beta * design.y)
    total = of_n + of_d
    total += np.exp(e)
    residual = target - np.log(total)
    of_n /= total
    of_d /= total
    return objective(residual, counts, delta), of_n, of_d, residual


def _step(state, counts, design, kappa, ridge, delta, frozen):
    """The step (fits, 5) of every fit and the fall of the objective that it promises (fits,)."""
    _, p, q, residual = state
    size = np.abs(residual)
    weight = np.where(size <= delta, 1.0, kappa[:, None] * delta / np.maximum(size, 1e-300))
    weight *= counts
    slope = counts * np.clip(residual, -delta, delta)
    o = 1.0 - p - q
    wp, wq, wo = weight * p, weight * q, weight * o
    pp, qq = (wp * p) @ design.squares_x, (wq * q) @ design.squares_y
    pq = (wp * q) @ design.products
    op, oq = (wo * p) @ design.squares_x[:, :2], (wo * q) @ design.squares_y[:, :2]
    oo = np.einsum("rn,rn->r", wo, o)
    gp, gq = (slope * p) @ design.squares_x[:, :2], (slope * q) @ design.squares_y[:, :2]
    gradient = np.stack([np.einsum("rn,rn->r", slope, o), gp[:, 0], gq[:, 0], -gp[:, 1], -gq[:, 1]], 1)
    matrix = np.empty((len(p), SIZE, SIZE))
    for (i, j), entry in {
        (0, 0): oo,
        (1, 0): op[:, 0],
        (2, 0): oq[:, 0],
        (3, 0): -op[:, 1],
        (4, 0): -oq[:, 1],
        (1, 1): pp[:, 0],
        (2, 1): pq[:, 0],
        (3, 1): -pp[:, 1],
        (4, 1): -pq[:, 2],
        (2, 2): qq[:, 0],
        (3, 2): -pq[:, 1],
        (4, 2): -qq[:, 1],
        (3, 3): pp[:, 2],
        (4, 3): pq[:, 3],
        (4, 4): qq[:, 2],
    }.items():
        matrix[:, i, j] = entry
    for place in frozen:  # no slope: such a direction gets a step of zero
        matrix[:, place], matrix[:, :, place], gradient[:, place] = 0.0, 0.0, 0.0
    step = solve_positive(matrix, gradient, ridge)
    return step, np.einsum("rk,rk->r", gradient, step)


def solve_positive(matrix: np.ndarray, right: np.ndarray, ridge: np.ndarray) -> np.ndarray:
    """Solve (M + ridge diag M) x = right for many small positive matrices; only the lower triangles are read.

    matrix (fits, k, k), right (fits, k), ridge (fits,). Directions without any curvature get a step of zero.

    >>> solve_positive(np.array([[[4.0, 0], [2, 2]]]), np.array([[2.0, 2.0]]), np.zeros(1)).round(9)
    array([[0., 1.]])
    """
    size = matrix.shape[1]
    low = [[np.empty(0)] * size for _ in range(size)]
    scale = np.stack([matrix[:, i, i] for i in range(size)], 1)
    smallest = 1e-13 * scale.max(1) + 1e-300
    for j in range(size):
        pivot = scale[:, j] * (1.0 + ridge) + smallest
        for k in range(j):
            pivot = pivot - low[j][k] ** 2
        root = np.sqrt(np.maximum(pivot, 1e-13 * scale[:, j] + smallest))
        low[j][j] = root
        for i in range(j + 1, size):
            entry = matrix[:, i, j]
            for k in range(j):
                entry = entry - low[i][k] * low[j][k]
            low[i][j] = entry / root
    forward: list[np.ndarray] = []
    for i in range(size):
        entry = right[:, i]
        for k in range(i):
            entry = entry - low[i][k] * forward[k]
        forward.append(entry / low[i][i])
    found = [np.empty(0)] * size
    for i in reversed(range(size)):
        entry = forward[i]
        for k in range(i + 1, size):
            entry = entry - low[k][i] * found[k]
        found[i] = entry / low[i][i]
    return np.stack(found, 1)
