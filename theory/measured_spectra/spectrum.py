"""The spectrum of a kernel operator with the target's power in it: a record, and the exact one of a finite population.

    int k(x, x') phi_k(x') p(x') dx' = lambda_k phi_k,     v_k = (E y phi_k)^2,

with lambda_k ~ k^-capacity and v_k ~ k^-target_exponent where they are power laws. Estimation from a sample of rows is
in `cross_fitting`.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np

from ..arguments import numbers, values_of
from ..errors import BadData, Underpowered
from .estimate import Estimate
from .ridge_path import RidgePath, nonnegative

if TYPE_CHECKING:
    from .power_law_test import PowerLawTest
    from .tail_bracket import TailBracket

FIRST_RANK = 10  # ranks below are not asymptotic
LAST_SHARE = 5  # ranks above samples / LAST_SHARE are not resolved
ASYMPTOTIC_DECADES = 1.3
LOCAL_DECADES = 1.0
SYMMETRIC = 1e-4  # of the largest entry, by which rounding may make K and its transpose differ
SMALLEST, LARGEST = 1e-100, 1e100  # squares of entries are taken
WHERE = "spectrum"


@dataclass(frozen=True, eq=False)
class Spectrum:
    """Levels of a kernel operator, eigenvalues lambda_k of E[k(x, x') f(x')], with multiplicities and target power.

    `eigenvalues`, `multiplicities`, `power` (levels,): power is summed over the modes of a level and over outputs
    `noise`           target power that no mode holds
    `samples`         rows it was estimated from; `resolved`: the largest sample size it speaks for
    `capacity`        lambda_k ~ k^-capacity;  `target_exponent`: power of mode k ~ k^-target_exponent (None: refused)
    `decades`         of ranks the exponents are read from: [10, samples / 5], or fewer if the rank is smaller
    `path`            the ridge path the levels are fitted to; `left_out`: that of all rows, each judged by all others
    `facts`           systematic and statistical parts, splits, misfit of the levels, rows left out
    """

    eigenvalues: np.ndarray
    power: np.ndarray
    multiplicities: np.ndarray
    noise: float = 0.0
    method: str = ""
    samples: int = 0
    resolved: float = 0.0
    capacity: Estimate | None = None
    target_exponent: Estimate | None = None
    explained: float = 1.0
    path: RidgePath | None = None
    left_out: RidgePath | None = None
    facts: Mapping[str, Any] = field(default_factory=dict)

    @property
    def decades(self) -> float:
        last = min(self.samples / LAST_SHARE, self.resolved or np.inf)
        return float(np.log10(max(last / FIRST_RANK, 1.0)))

    @cached_property
    def power_law(self) -> "PowerLawTest | None":
        """The test whether the eigenvalues fall as a power law; None without rows enough (see `power_law_test`)."""
        from .power_law_test import power_law_test

        return self._or_none(power_law_test)

    @cached_property
    def bracket(self) -> "TailBracket | None":
        """The target exponent with the unresolved power all tail and all noise; None as above (see `tail_bracket`)."""
        from .tail_bracket import tail_bracket

        return self._or_none(tail_bracket)

    def _or_none(self, question):
        try:
            return None if self.left_out is None else question(self)
        except BadData:
            return None

    def data_exponent(self) -> Estimate:
        """Asymptotic exponent of the test error in n, min(target_exponent - 1, 2 capacity), noise-free and ridgeless.

        Errors: `Underpowered` with fewer than 1.3 decades of resolved ranks, or when most power is unresolved.
        """
        if self.decades < ASYMPTOTIC_DECADES:
            raise Underpowered(
                f"{self.samples} samples resolve {self.decades:.2f} decades of the spectrum, 1.3 are needed",
                where="asymptotic exponent",
                remedy=f"give {round(50 * 10**ASYMPTOTIC_DECADES)} samples, or use the local slope",
            )
        if self.explained < 0.5 or self.capacity is None or self.target_exponent is None:
            raise Underpowered(
                f"only {self.explained:.0%} of the target's power is explained on held-out rows",
                where="asymptotic exponent",
                remedy="the rest may be noise or a slow tail; use the local slope, or give more samples",
            )
        source = self.target_exponent.scaled(1, -1)
        saturated = self.capacity.scaled(2)
        return min(source, saturated, key=lambda estimate: estimate.value)

    def slope_scatter(self, sizes: Sequence[float] | np.ndarray) -> float:
        """Jackknife error of the curve's slope over `sizes`, or over what of them is resolved (a factor 3 at least).

        From one draw of rows, or groups of rows, to the next. Errors: `BadData` where no row was left out in turn.
        """
        path = self.path if self.path is None or self.path.shares is not None else self.left_out
        if path is None:
            return 0.0
        last = min(sizes[-1], self.resolved)
        return path.slope_scatter((min(sizes[0], last / 3), last))

    def to_dict(self) -> dict:
        return {
            "method": self.method,
            "samples": self.samples,
            "resolved": self.resolved,
            "decades": self.decades,
            "explained": self.explained,
            "noise": self.noise,
            "capacity": self.capacity and self.capacity.to_dict(),
            "target_exponent": self.target_exponent and self.target_exponent.to_dict(),
            "power_law": self.power_law and self.power_law.to_dict(),
            "bracket": self.bracket and self.bracket.to_dict(),
            "eigenvalues": self.eigenvalues.tolist(),
            "multiplicities": self.multiplicities.tolist(),
            "power": self.power.tolist(),
            "facts": dict(self.facts),
        }

    def __str__(self) -> str:
        lines = [
            f"Spectrum ({self.method}, {self.samples} samples, {self.decades:.2f} decades of ranks)",
            f"  capacity         {self.capacity or 'not estimated'}",
            f"  target exponent  {self.target_exponent or 'not estimated'}",
            f"  explained power  {self.explained:.1%}",
            f"  speaks for n <=  {self.resolved:.0f}",
        ]
        if self.power_law is not None:
            lines.insert(2, f"    {self.power_law.verdict}; drift {self.power_law.drift} over the window")
        if self.bracket is not None:
            at = next(i for i, line in enumerate(lines) if "target exponent" in line)
            high, joint = self.bracket.all_noise, self.bracket.joint
            lines.insert(
                at + 1,
                f"    {self.bracket.all_tail.value:.3f} if the rest is tail, "
                f"{f'{high.value:.3f}' if high else 'no bound'} if it is noise ({self.bracket.most_noise:.1%})"
                + (f"; with both {joint}" if joint else ""),
            )
        if self.decades < ASYMPTOTIC_DECADES:
            lines.append(f"  asymptotics      none: {ASYMPTOTIC_DECADES} decades are needed; local slopes only")
        return "\n".join(lines)

    __repr__ = __str__


def finite_population(kernel: Callable | np.ndarray, x: np.ndarray, y: np.ndarray) -> Spectrum:
    """The exact spectrum when the given rows are the whole population: eigenvalues of K/N, power (u.y)^2/N.

    `kernel` is a callable or the Gram matrix (N, N). Predicts regression on n << N rows tested on all N; trust it for
    n <= N/4 and a ridge of at least 0.1, because test rows are then still mostly unseen. Errors: `BadData` for shapes,
    numbers that are not finite, and a matrix that is not symmetric or has no positive eigenvalue.

    >>> spectrum = finite_population(np.diag([4.0, 2.0]), np.eye(2), np.array([1.0, 3.0]))
    >>> spectrum.eigenvalues, spectrum.power
    (array([2., 1.]), array([0.5, 4.5]))
    """
    y = columns(x, y)
    gram = gram_matrix(kernel, x)
    values, vectors = np.linalg.eigh(gram / len(gram))
    nonnegative(values)
    power = ((vectors.T @ y) ** 2).sum(1) / len(gram)
    keep = values > len(gram) * np.finfo(float).eps * max(values[-1], 0.0)
    if not keep.any():
        raise BadData("no eigenvalue is positive", where=WHERE, remedy="check the inputs and the kernel")
    order = np.flatnonzero(keep)[::-1]
    return Spectrum(
        values[order],
        power[order],
        np.ones(len(order)),
        noise=float(power[~keep].sum()),
        method="finite population",
        samples=len(gram),
        resolved=len(gram) / 4,
        facts={"rank": len(order)},
    )


def columns(x, y) -> np.ndarray:
    """Targets (P,) or (P, o) as columns (P, o); raises `BadData` unless there is one finite number or row per input."""
    y = numbers(y, "y", WHERE)
    y = y[:, None] if y.ndim == 1 else y
    if y.ndim != 2 or not y.size:
        raise BadData(f"targets of shape {y.shape}", where=WHERE, remedy="give y as (rows,) or (rows, outputs)")
    if len(x) != len(y):
        raise BadData(f"{len(x)} inputs but {len(y)} targets", where=WHERE, remedy="give one target per row")
    return _within(y, "y")


def gram_matrix(kernel, x) -> np.ndarray:
    """The kernel of all pairs of rows, given as a callable or as the matrix itself.

    Errors: `BadData` for another shape, numbers that are not finite, and a matrix that is not symmetric.
    """
    remedy = "give a function of rows, or its matrix (rows, rows)"
    given = values_of(kernel, np.asarray(x), WHERE, remedy) if callable(kernel) else kernel
    gram = numbers(given, "the kernel matrix", WHERE)
    if gram.shape != (len(x), len(x)):
        raise BadData(f"kernel matrix of shape {gram.shape} for {len(x)} rows", where=WHERE, remedy=remedy)
    apart = float(np.abs(_within(gram, "the kernel matrix") - gram.T).max())
    if apart > SYMMETRIC * float(np.abs(gram).max()):
        raise BadData(f"the kernel matrix is not symmetric (by {apart:.3g})", where=WHERE, remedy="check the kernel")
    return gram


def _within(array, name):
    """The same array, if its numbers are finite and their squares are too."""
    largest = float(np.abs(array).max())
    if not np.isfinite(array).all():
        raise BadData(f"{name} has entries that are not finite", where=WHERE, remedy="leave those rows out")
    if largest and not SMALLEST < largest < LARGEST:
        raise BadData(f"{name} is as large as {largest:.3g}", where=WHERE, remedy="change its unit")
    return array
