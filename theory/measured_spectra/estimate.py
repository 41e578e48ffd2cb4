"""A number with its error: the only form in which an exponent is passed on.

error^2 = systematic^2 + statistical^2
"""

from dataclasses import dataclass
from statistics import NormalDist

NINETY_PERCENT = 1.645  # standard errors in the half-width of a Gaussian 90 % interval


@dataclass(frozen=True)
class Estimate:
    """A number and its standard error, with the two parts of the error where they are known.

    `systematic`   from the choices made: the window, the size of the sample
    `statistical`  from the draw of rows or groups of rows

    >>> print(Estimate(1.5, 0.05, systematic=0.03, statistical=0.04))
    1.500 +- 0.050 (0.030 from the window, 0.040 from the draw of rows)
    """

    value: float
    error: float
    systematic: float | None = None
    statistical: float | None = None

    def interval(self, level: float = 0.9) -> tuple[float, float]:
        """The central interval of a Gaussian with this error.

        >>> low, high = Estimate(1.0, 0.1).interval()
        >>> round(low, 4), round(high, 4)
        (0.8355, 1.1645)
        """
        reach = NormalDist().inv_cdf((1 + level) / 2) * self.error
        return self.value - reach, self.value + reach

    def scaled(self, factor: float, shift: float = 0.0) -> "Estimate":
        """The estimate of factor * value + shift.

        >>> print(Estimate(1.5, 0.04).scaled(2, -1))
        2.000 +- 0.080
        """
        parts = [part if part is None else abs(factor) * part for part in (self.systematic, self.statistical)]
        return Estimate(factor * self.value + shift, abs(factor) * self.error, *parts)

    def __str__(self) -> str:
        text = f"{self.value:.3f} +- {self.error:.3f}"
        if self.systematic is None or self.statistical is None:
            return text
        return f"{text} ({self.systematic:.3f} from the window, {self.statistical:.3f} from the draw of rows)"

    def to_dict(self) -> dict:
        parts = {"systematic": self.systematic, "statistical": self.statistical}
        return {"value": self.value, "error": self.error} | {k: v for k, v in parts.items() if v is not None}
