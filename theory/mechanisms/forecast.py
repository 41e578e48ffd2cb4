"""What one mechanism says about one exponent, and whether it applies: the row of a table in which all are compared.

    loss(axis) - floor ~ axis^-exponent  over `window`.

A mechanism that does not apply is still listed, with the measured number that excludes it.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from ..errors import UnknownName
from ..measured_spectra.estimate import Estimate

AXES = ("samples", "parameters", "steps", "compute")


@dataclass(frozen=True)
class MechanismForecast:
    """One forecast exponent of one mechanism.

    `mechanism`  its name, as in a table: "Zipf memorisation"
    `axis`       "samples", "parameters", "steps" or "compute"
    `exponent`   its value and nominal 90 % half-width, None where it is refused
    `applies`    whether the data are of its kind; `because` says which measured number decided
    `formula`    the exponent in symbols, as text: "(a - 1)/a"
    `window`     range of the axis it speaks for
    `loss`       what falls: "squared error", "unseen mass", "cross-entropy above its floor"

    >>> print(MechanismForecast("Zipf memorisation", "samples", Estimate(0.33, 0.01), True, "one-hot inputs"))
    Zipf memorisation: samples^-(0.330 +- 0.010), applies: one-hot inputs
    """

    mechanism: str
    axis: str
    exponent: Estimate | None
    applies: bool
    because: str
    formula: str = ""
    window: tuple[float, float] | None = None
    loss: str = "squared error"
    reference: str = ""
    facts: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self):
        if self.axis not in AXES:
            raise UnknownName.among(self.axis, AXES, kind="axis", where=self.mechanism)

    def __str__(self) -> str:
        value = f"{self.axis}^-({self.exponent})" if self.exponent else f"no exponent in {self.axis}"
        return f"{self.mechanism}: {value}, {'applies' if self.applies else 'does not apply'}: {self.because}"

    __repr__ = __str__

    def to_dict(self) -> dict:
        return {
            "mechanism": self.mechanism,
            "axis": self.axis,
            "exponent": self.exponent and self.exponent.to_dict(),
            "applies": self.applies,
            "because": self.because,
            "formula": self.formula,
            "window": self.window and list(self.window),
            "loss": self.loss,
            "reference": self.reference,
            "facts": dict(self.facts),
        }
