"""The verdict on one claim: what was found, how sure, what could have been seen, and what became of the rival.

The one rule: `holds` iff |bias| + z se <= budget and the rival is refuted; `refuted` iff |bias| - z se > budget.
"""

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields
from typing import Any


@dataclass(frozen=True)
class Verdict:
    """One judged claim. All entries are plain values; `print` gives a six-line card.

    `bias`, `standard_error` at the decisive point, in the claim's units (a fraction, or an absolute exponent)
    `z`, `critical_z`        largest |bias|/se, and where the line was drawn beforehand
    `budget`                 the allowed error by named parts, with their "total"
    `resolution`             planted errors of twice this are refuted in at least 95 % of repeats
    `slope`, `order`         measured and predicted, where the claim is about a power
    `rival_*`                the best law without the claimed ingredient, judged by the same rule
    `forecast_hash`          of the prediction as written before training
    `seconds`                wall time of the experiment; `theory_seconds` that of the forecast, derivation included
    `numbers`                anything else that was computed on the way: medians, local slopes, seeds needed

    >>> print(Verdict(theory="deep-linear", claim="loss", outcome="holds", bias=1e-13, budget={"total": 1e-10}))
    HOLDS  deep-linear / loss
      bias        +1e-13 against a budget of 1e-10
      resolution  not known
      rival       none
      run         0 seeds, unknown device
      forecast    not written
    """

    theory: str
    claim: str
    statement: str = ""
    outcome: str = "underpowered"
    expected: str = "holds"
    bias: float = math.nan
    standard_error: float = 0.0
    z: float = 0.0
    critical_z: float = 0.0
    comparisons: int = 1
    budget: Mapping[str, float] = field(default_factory=dict)
    resolution: float = math.nan
    unit: str = ""
    slope: float | None = None
    order: float | None = None
    rival: str = ""
    rival_outcome: str = ""
    rival_bias: float = math.nan
    rival_home: str = ""
    forecast_hash: str = ""
    rival_hash: str = ""
    device: str = ""
    dtype: str = ""
    precision: str = ""
    seeds: tuple[int, ...] = ()
    seconds: float = 0.0
    theory_seconds: float = 0.0
    notes: tuple[str, ...] = ()
    numbers: Mapping[str, Any] = field(default_factory=dict)

    @property
    def as_expected(self) -> bool:
        """Whether the outcome is the one the claim announced."""
        return self.outcome == self.expected

    @property
    def name(self) -> str:
        return f"{self.theory} / {self.claim}" if self.theory else self.claim

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON values; numbers that are not finite become "inf", "-inf" or "nan"."""
        return plain({**asdict(self), "as_expected": self.as_expected})

    @classmethod
    def from_dict(cls, record: Mapping[str, Any]) -> "Verdict":
        """The verdict that `to_dict` wrote.

        >>> verdict = Verdict("deep-linear", "loss", resolution=math.inf, seeds=(0, 1))
        >>> again = Verdict.from_dict(verdict.to_dict())
        >>> again.resolution, again.seeds, again.outcome
        (inf, (0, 1), 'underpowered')
        """
        known = {f.name: f.type for f in fields(cls)}
        values = {name: value for name, value in record.items() if name in known}
        for name, value in values.items():
            if known[name] is float:
                values[name] = float(value)
            elif isinstance(value, list):
                values[name] = tuple(value)
        return cls(**values)

    def __str__(self) -> str:
        title = f"{self.outcome.upper().replace('_', ' ')}  {self.name}"
        if not self.as_expected:
            title += f"   (expected: {self.expected.replace('_', ' ')})"
        rows = {
            "bias": self._bias(),
            "resolution": f"{number(self.resolution)}{self._unit()}: twice this, planted, is refuted"
            if math.isfinite(self.resolution)
            else "not known",
            "rival": self._rival(),
            "run": self._run(),
            "forecast": f"{self.forecast_hash[:16]} written before training" if self.forecast_hash else "not written",
        }
        lines = [title] + [f"  {name:<11} {text}" for name, text in rows.items()]
        return "\n".join(lines + [f"  {'note':<11} {note}" for note in self.notes])

    __repr__ = __str__

    def _unit(self) -> str:
        return f" {self.unit}" if self.unit else ""

    def _bias(self) -> str:
        text = f"{number(self.bias, sign=True)}"
        if self.slope is not None and self.order is not None:
            text = f"{self.slope:.4g} measured, {self.order:.4g} predicted: {text}"
        if self.standard_error:
            text += f" +- {number(self.standard_error)} (z {self.z:.1f}, limit {self.critical_z:.1f})"
        parts = {name: part for name, part in self.budget.items() if name != "total"}
        text += f" against a budget of {number(self.budget.get('total', math.nan))}{self._unit()}"
        return text + (f" ({', '.join(f'{n} {number(p)}' for n, p in parts.items())})" if len(parts) > 1 else "")

    def _rival(self) -> str:
        if not self.rival:
            return "none"
        return f"{self.rival}: {self.rival_outcome.replace('_', ' ')}, misses by {number(abs(self.rival_bias))}"

    def _run(self) -> str:
        where = " ".join(filter(None, (self.device, self.dtype))) or "unknown device"
        where += f", matmul {self.precision}" if self.precision else ""
        return f"{len(self.seeds)} seed{'' if len(self.seeds) == 1 else 's'}, {where}" + (
            f", {self.seconds:.1f} s; theory {self.theory_seconds:.1f} s" if self.seconds else ""
        )


def number(value: float, sign: bool = False) -> str:
    """Two significant digits, the way a card prints them.

    >>> number(0.01234, sign=True), number(1e-13)
    ('+0.012', '1e-13')
    """
    return f"{value:{'+' if sign else ''}.2g}"


def plain(value: Any) -> Any:
    """Nested mappings, sequences, arrays and scalars as strict JSON values.

    >>> plain({"a": (1, math.inf), 2: {3.5}})
    {'a': [1, 'inf'], '2': [3.5]}
    """
    if isinstance(value, Mapping):
        return {str(key): plain(entry) for key, entry in value.items()}
    if isinstance(value, list | tuple | set | frozenset):
        return [plain(entry) for entry in value]
    if hasattr(value, "tolist"):  # NumPy and JAX arrays and scalars
        return plain(value.tolist())
    if isinstance(value, float) and not math.isfinite(value):
        return str(value)
    return value if isinstance(value, str | int | float | bool | type(None)) else str(value)
