r"""Levels of a kernel operator with known eigenfunctions: eigenvalues, multiplicities, exact forms, errors, decay.

    E_x' [K(x, x') phi(x')] = lambda_k phi(x) for the N_k eigenfunctions of level k,   sum_k N_k lambda_k = E K(x, x).

Everything a learning curve needs: `learning_curve(*spectrum.arrays(), ...)`, or `spectrum.to_spectrum(power)`.
"""

import heapq
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np
import sympy as sp

from ..errors import BadData
from ..measured_spectra.power_law_tail import PowerLawTail
from ..measured_spectra.spectrum import Spectrum
from ..trail import Trail


@dataclass(frozen=True, eq=False)
class LevelSpectrum:
    """Eigenvalues (levels,) in double precision with what is known about them.

    `levels`          labels: degrees of harmonics, numbers of coordinates in a parity, frequencies, tuples of orders
    `multiplicities`  whole numbers (levels,), as floats
    `errors`          bounds of the absolute errors (levels,)
    `exact`           SymPy expressions, or None where there is no closed form
    `precise`         the eigenvalues with all digits asked for, as SymPy numbers, if any were
    `trace`           E K(x, x), the sum over all levels
    `decay`           how eigenvalues fall beyond the levels given (`theory.spectra.decay`), or None
    `eigenfunctions`  their name
    """

    space: str
    kernel: str
    levels: tuple
    multiplicities: np.ndarray
    eigenvalues: np.ndarray
    errors: np.ndarray
    trace: float
    eigenfunctions: str
    method: str
    exact: tuple | None = None
    precise: tuple | None = None
    decay: Any = None
    dimension: int = 0
    facts: Mapping[str, Any] = field(default_factory=dict)
    trail: Trail = field(default_factory=Trail)

    def __len__(self) -> int:
        return len(self.eigenvalues)

    @cached_property
    def modes(self) -> float:
        """Number of modes in the levels given."""
        return float(self.multiplicities.sum())

    @cached_property
    def captured(self) -> float:
        """Share of the trace in the levels given."""
        return float(self.multiplicities @ self.eigenvalues / self.trace)

    def arrays(self, power: Any = None) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Eigenvalues, target power and multiplicities of the levels whose eigenvalue or power is not zero."""
        power = self._power(power)
        used = (self.eigenvalues > 0) | (power > 0)
        return np.maximum(self.eigenvalues, 0)[used], power[used], self.multiplicities[used]

    def to_spectrum(self, power: Any = None, noise: float = 0.0, rest: bool = True) -> Spectrum:
        """The levels as a `Spectrum`, fit for `learning_curve`.

        `power` is {level: target power summed over its modes} or an array over levels. With `rest` the trace beyond
        the levels given is kept as one level of tiny modes: a little more ridge, which is what high modes are.
        """
        eigenvalues, power, counts = self.arrays(power)
        left = self.trace * (1 - self.captured)
        if rest and left > 1e-12 * self.trace:
            small = min(eigenvalues[eigenvalues > 0].min(), left) * 1e-6
            eigenvalues, counts = np.append(eigenvalues, small), np.append(counts, left / small)
            power = np.append(power, 0.0)
        return Spectrum(eigenvalues, power, counts, noise=noise, method=f"exact, {self.space}")

    def tail(self, power: float = 0.0, target_exponent: float = 2.0) -> PowerLawTail:
        """Modes beyond the levels given as a power law in their number, with exactly the trace that is left.

        Raises `BadData` where eigenvalues fall faster than any power: there is no such tail.
        """
        capacity = getattr(self.decay, "index_exponent", sp.oo)
        if capacity in (sp.oo, None):
            raise BadData(
                "eigenvalues fall faster than any power", where=f"tail on {self.space}", remedy="leave it out"
            )
        capacity = float(sp.sympify(capacity).subs(sp.Symbol("d", positive=True), self.dimension))
        start = int(self.multiplicities[self.eigenvalues > 0].sum())
        left = self.trace * (1 - self.captured)
        one = PowerLawTail(start, 1.0, capacity, power, target_exponent)
        lam, count, _ = one.levels()
        return PowerLawTail(start, left / float(lam @ count), capacity, power, target_exponent)

    def _power(self, power: Any) -> np.ndarray:
        if power is None:
            return np.zeros(len(self))
        if isinstance(power, Mapping):
            places = {level: place for place, level in enumerate(self.levels)}
            unknown = [level for level in power if level not in places]
            if unknown:
                raise BadData(f"level {unknown[0]}", where=self.space, remedy="compute more levels")
            values = np.zeros(len(self))
            for level, value in power.items():
                values[places[level]] = value
            return values
        values = np.asarray(power, float)
        if values.shape != (len(self),):
            raise BadData(f"power of shape {values.shape}", where=self.space, remedy=f"give {len(self)} numbers")
        return values

    def to_dict(self) -> dict:
        return {
            "space": self.space,
            "kernel": self.kernel,
            "levels": [list(level) if isinstance(level, tuple) else level for level in self.levels],
            "multiplicities": self.multiplicities.tolist(),
            "eigenvalues": self.eigenvalues.tolist(),
            "errors": self.errors.tolist(),
            "exact": None if self.exact is None else [str(value) for value in self.exact],
            "trace": self.trace,
            "captured": self.captured,
            "decay": None if self.decay is None else self.decay.to_dict(),
            "eigenfunctions": self.eigenfunctions,
            "method": self.method,
            "facts": dict(self.facts),
            "trail": self.trail.to_dict(),
        }

    def _decay(self) -> str:
        return "none stated" if self.decay is None else self.decay.at(self.dimension)

    def _shown(self, most: int = 8) -> Sequence[int]:
        return range(min(most, len(self)))

    def __str__(self) -> str:
        lines = [
            f"Spectrum of {self.kernel} on {self.space}",
            f"  eigenfunctions  {self.eigenfunctions}",
            f"  levels          {len(self)} with {self.modes:.6g} modes",
            f"  trace           {self.trace:.6g}, {self.captured:.6%} of it in these levels",
            f"  decay           {self._decay()}",
            f"  method          {self.method}",
            f"{'level':>10} {'modes':>10} {'eigenvalue':>16} {'error':>9}  exact",
        ]
        for i in self._shown():
            exact = "" if self.exact is None else str(self.exact[i])
            lines.append(
                f"{str(self.levels[i]):>10} {self.multiplicities[i]:>10.6g} {self.eigenvalues[i]:>16.10g} "
                f"{self.errors[i]:>9.1e}  {exact if len(exact) <= 40 else '...'}"
            )
        return "\n".join(lines)

    __repr__ = __str__

    def _latex(self, printer=None, **_) -> str:
        rows = [r"k & N_k & \lambda_k \\ \hline"]
        for i in self._shown():
            value = f"{self.eigenvalues[i]:.8g}" if self.exact is None else sp.latex(self.exact[i])
            rows.append(rf"{self.levels[i]} & {self.multiplicities[i]:.6g} & {value} \\")
        return r"\begin{array}{rrl}" + " ".join(rows) + r"\end{array}"

    def _repr_latex_(self) -> str:
        return f"$\\displaystyle {self._latex()}$"


def largest_products(factors: Sequence[np.ndarray], count: int) -> tuple[list[dict[int, int]], np.ndarray]:
    """The `count` largest products of one entry per sequence, largest first: {sequence: place > 0} and logarithms.

    Sequences hold logarithms and do not increase. A heap of candidates with at most three successors each, sequences
    being ordered by their first step: the last place grows, or the next sequence joins, or takes the last one's place.

    >>> largest_products([np.array([0.0, -1.0]), np.array([0.0, -0.4, -3.0])], 3)
    ([{}, {1: 1}, {0: 1}], array([ 0. , -0.4, -1. ]))
    """
    if any((np.diff(factor) > 0).any() for factor in factors):
        raise BadData("a sequence increases", where="largest products", remedy="sort it first")
    total = float(sum(factor[0] for factor in factors))
    falls = [np.append(factor[0] - factor, np.inf) for factor in factors]
    order = sorted(range(len(factors)), key=lambda i: falls[i][1])
    falls = [falls[i] for i in order]
    heap: list[tuple[float, tuple[tuple[int, int], ...]]] = [(0.0, ())]
    found: list[dict[int, int]] = []
    values: list[float] = []
    while heap and len(found) < count:
        fall, places = heapq.heappop(heap)
        found.append({order[i]: place for i, place in places})
        values.append(total - fall)
        last, place = places[-1] if places else (-1, 0)
        following = []
        if places and place + 2 < len(falls[last]):
            following.append((falls[last][place + 1] - falls[last][place], (*places[:-1], (last, place + 1))))
        if last + 1 < len(falls):
            step = falls[last + 1][1]
            following.append((step, (*places, (last + 1, 1))))
            if place == 1:
                following.append((step - falls[last][1], (*places[:-1], (last + 1, 1))))
        for step, candidate in following:
            if np.isfinite(step):
                heapq.heappush(heap, (fall + float(step), candidate))
    return found, np.array(values)
