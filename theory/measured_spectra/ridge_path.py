"""More ridge on all rows plays fewer rows without ridge: the whole learning curve from one eigendecomposition.

Kernel regression of m rows at ridge delta, with G = (K + delta)^-1 and held-out error E, reveals the effective ridge,
its degrees of freedom and the target's power that is still unlearned there:

    kappa = 1 / tr G,    n(kappa) = tr K G,    sum v (kappa / (lam + kappa))^2 = E (tr G)^2 / (m tr G^2).

References: Simon et al. 2021 (arXiv:2110.03922) for the identities; Patil, Du 2023 (arXiv:2305.18496) for the
equivalence of subsampling and ridge.
"""

from dataclasses import dataclass

import numpy as np

from ..errors import BadData

FULL = 0.95  # share of the rank that a path reaches
INDEFINITE = 0.01  # of the largest eigenvalue, by which the smallest may be negative through rounding


@dataclass(frozen=True, eq=False)
class RidgePath:
    """Effective ridge `kappa` (P,) and unlearned target power `unlearned` (P,) at `sizes` (P,) degrees of freedom.

    `total` is the target's power. `shares` and `pulls` (groups, P) are what independent groups of rows do, per unit of
    their weight, to log `unlearned` (their parts in the error) and to log `kappa`. `halved` (P,): kappa on random
    halves of the rows, NaN where a half does not reach that far.

    >>> RidgePath(np.array([1.0, 2.0]), np.array([1.0, 0.5]), np.array([0.6, 0.3]), total=1.2).explained
    0.75
    """

    sizes: np.ndarray
    kappa: np.ndarray
    unlearned: np.ndarray
    total: float
    shares: np.ndarray | None = None
    pulls: np.ndarray | None = None
    halved: np.ndarray | None = None

    def slope_scatter(self, window: tuple[float, float]) -> float:
        """Standard error of a log-log slope over `window` from the draw of groups (jackknife)."""
        inside = (self.sizes >= window[0]) & (self.sizes <= window[1])
        if self.shares is None or inside.sum() < 2:
            raise BadData(f"no left-out errors in {window}", where="ridge path", remedy="widen the window")
        x = np.log(self.sizes[inside])
        weights = (x - x.mean()) / ((x - x.mean()) ** 2).sum()
        influence = len(self.shares) * self.shares[:, inside] @ weights  # d slope per unit weight of a group
        return float(influence.std(ddof=1) / np.sqrt(len(influence)))

    @property
    def explained(self) -> float:
        """Largest share of the target's power that some ridge explains on the rows it is judged on."""
        return 1 - float(self.unlearned.min()) / self.total if self.total > 0 else 0.0


def trace_path(gram, y, sizes, cross=None, held_out=None, groups=None):
    """The `RidgePath` at `sizes` degrees of freedom, with each left-out group's share of the error and pull on kappa.

    `gram` (m, m), `y` (m, o). Errors are those on `held_out` (h, o) rows with kernel `cross` (h, m), or, if `groups`
    (m,) is given, of each group under the fit to all others: residuals (G_gg)^-1 (G y)_g, no fit is repeated.

    >>> gram, y = np.diag([2.0, 2.0]), np.array([[1.0], [1.0]])
    >>> path = trace_path(gram, y, np.array([1.0]), groups=np.arange(2))
    >>> path.kappa.round(6), path.unlearned.round(6), path.shares.ravel()
    (array([2.]), array([1.]), array([0.5, 0.5]))
    """
    rows = len(gram)
    values, vectors = np.linalg.eigh(gram)
    values = np.maximum(values, rows * np.finfo(float).eps * values[-1])
    coefficients = vectors.T @ y
    features = None if cross is None else cross @ vectors
    names = np.zeros(0, int) if groups is None else np.unique(groups, return_inverse=True)[1]
    members = [np.flatnonzero(names == name) for name in range(names.max(initial=-1) + 1)]
    single = len(members) == rows
    kappa, unlearned = np.empty(len(sizes)), np.empty(len(sizes))
    shares, pulls = np.empty((2, len(members), len(sizes)))
    leverage = vectors**2 if members else None
    for i, delta in enumerate(_ridges(values, sizes)):
        g = 1 / (values + delta)
        kappa[i] = 1 / g.sum()
        inflation = rows * (g**2).sum() * kappa[i] ** 2  # test error / unlearned power
        fitted = g[:, None] * coefficients
        if features is not None:
            error = ((held_out - features @ fitted) ** 2).sum(1).mean()
        else:
            if single:
                shares[:, i] = ((vectors @ fitted / (leverage @ g)[:, None]) ** 2).sum(1)
            else:
                shares[:, i] = [_left_out(vectors[m], g, fitted) for m in members]
            # a weight on row i moves eigenvalue s_k by s_k u_ki^2, and delta so that the degrees of freedom stay
            moved = values * g**2
            pulls[:, i] = np.bincount(names, leverage @ (moved / moved.sum()) - 1 / (rows - sizes[i]))
            error = shares[:, i].sum() / rows
            shares[:, i] /= error * rows
        unlearned[i] = error / inflation
    judged = y if held_out is None else held_out
    found = (shares, pulls) if members else (None, None)
    return RidgePath(sizes, kappa, unlearned, float((judged**2).sum(1).mean()), *found)


def _left_out(vectors, g, fitted):
    """Squared residuals of one group under the fit to all others."""
    return (np.linalg.solve((vectors * g) @ vectors.T, vectors @ fitted) ** 2).sum()


def effective_ridges(values, sizes):
    """Effective ridge kappa (P,) at `sizes` degrees of freedom from all eigenvalues (m,) of a kernel matrix of m rows.

    NaN where the rank is too small for the size. From eigenvalues lambda_k of the operator, give m lambda_k.

    >>> effective_ridges(np.array([2.0, 2.0]), np.array([1.0])).round(6)
    array([2.])
    """
    values = np.maximum(values, 0.0)
    rank = int((values > 1e3 * len(values) * np.finfo(float).eps * values.max()).sum())
    kappa = _ridges(np.sort(values), sizes) / (len(values) - sizes)
    return np.where(sizes <= FULL * min(rank, len(values)) * (1 + 1e-12), kappa, np.nan)


def _ridges(values, sizes):
    """Ridges leaving given degrees of freedom sum s/(s + delta), by bisection in log delta."""
    low = np.full(len(sizes), np.log(values[-1]) - 80.0)
    high = np.full(len(sizes), np.log(values.sum()) + 5.0)
    for _ in range(60):
        middle = (low + high) / 2
        freedom = np.array([(values / (values + np.exp(m))).sum() for m in middle])
        low, high = np.where(freedom > sizes, middle, low), np.where(freedom > sizes, high, middle)
    return np.exp((low + high) / 2)


def nonnegative(values):
    """Ascending eigenvalues of a kernel matrix as they are; `BadData` if one is negative beyond rounding.

    >>> nonnegative(np.array([-1e-12, 1.0]))
    array([-1.e-12,  1.e+00])
    """
    if values[0] < -INDEFINITE * max(values[-1], 0.0):
        found = f"the kernel matrix has a negative eigenvalue, {values[0]:.3g} (largest {values[-1]:.3g})"
        raise BadData(found, where="spectrum", remedy="give a positive semi-definite kernel")
    return values


def path_sizes(rows, gram):
    """Degrees of freedom of a path: 1 to 95 % of the rank, 12 a decade. Errors: `BadData` for a rank below 2 or an
    indefinite matrix.

    >>> path_sizes(4, np.eye(4)).round(2)
    array([1.  , 1.31, 1.71, 2.23, 2.91, 3.8 ])
    """
    values = np.linalg.eigvalsh(gram)
    rank = int((values > 1e3 * rows * np.finfo(float).eps * max(values[-1], 0.0)).sum())
    nonnegative(values)
    if rank < 2:
        raise BadData(f"the kernel matrix has rank {rank}", where="spectrum", remedy="check the inputs and the kernel")
    last = FULL * min(rank, rows)
    return np.geomspace(1.0, last, max(6, int(12 * np.log10(last))))
