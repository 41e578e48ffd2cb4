"""A number with its error: the only form in which an exponent is passed on."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Estimate:
    """A number and its error.

    >>> print(Estimate(1.5, 0.04))
    1.500 +- 0.040
    """

    value: float
    error: float

    def __str__(self) -> str:
        return f"{self.value:.3f} +- {self.error:.3f}"

    def to_dict(self) -> dict:
        return {"value": self.value, "error": self.error}
