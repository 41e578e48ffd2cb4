"""The unresolved rest of a spectrum as a power law, summed to infinity.

lambda_k = eigenvalue (k/start)^-capacity,   v_k ~ k^-target_exponent   for k > start.
"""

from dataclasses import dataclass

import numpy as np

from ..arguments import number, whole
from ..errors import BadData

EXACT = 256  # modes of a tail that are kept one by one before it becomes an integral
WHERE = "power-law tail"


@dataclass(frozen=True)
class PowerLawTail:
    """Modes k > `start` continuing as eigenvalue (k/start)^-capacity, with total target power `power`.

    The power falls as k^-target_exponent. `levels()` turns the infinite tail into a short quadrature: nodes with
    multiplicities, exact to about 1e-5 of the tail's own sums.

    >>> tail = PowerLawTail(start=100, eigenvalue=1e-3, capacity=2.0, power=0.3, target_exponent=1.5)
    >>> lam, count, power = tail.levels()
    >>> float((lam * count).sum()).__round__(6), float(power.sum()).__round__(12)
    (0.099502, 0.3)
    """

    start: int
    eigenvalue: float
    capacity: float
    power: float = 0.0
    target_exponent: float = 2.0

    def __post_init__(self):
        whole(self.start, "start", WHERE, least=1)
        for name in ("eigenvalue", "capacity", "target_exponent"):
            number(getattr(self, name), name, WHERE, above=True)
        number(self.power, "power", WHERE)
        if not (self.capacity > 1 and self.target_exponent > 1):
            raise BadData(
                f"capacity {self.capacity:g}, target exponent {self.target_exponent:g}",
                where=WHERE,
                remedy="both exponents must exceed 1 for finite sums",
            )

    def levels(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Eigenvalues, multiplicities and power (levels,) of the quadrature."""
        near = np.arange(self.start + 1.0, self.start + EXACT + 1)
        first = np.log(self.start + EXACT + 0.5)  # a sum over k > K is the integral from K + 1/2, to second order
        decades = min(16 / min(self.capacity - 1, self.target_exponent - 1), 120.0)
        edges = np.linspace(first, first + decades * np.log(10), int(4 * decades) + 2)
        nodes, weights = np.polynomial.legendre.leggauss(6)
        half = np.diff(edges)[:, None] / 2
        far = (edges[:-1, None] + half * (nodes + 1)).ravel()
        log_k = np.concatenate([np.log(near), far])
        count = np.concatenate([np.ones(EXACT), (half * weights).ravel() * np.exp(far)])
        power = count * np.exp(-self.target_exponent * (log_k - log_k[0]))
        eigenvalues = self.eigenvalue * np.exp(-self.capacity * (log_k - np.log(self.start)))
        return eigenvalues, count, self.power * power / power.sum()
