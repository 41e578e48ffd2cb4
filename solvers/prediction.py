"""A prediction: numbers with their uncertainty, assumptions and provenance, hashed before any training.

Values are four-dimensional: (instance, axis value, abscissa point, component). The hash covers the values, the law and
the instances they were made for, so a verdict that carries it cannot be matched with another forecast.
"""

import hashlib
import json
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from ..theory.errors import BadData, WouldOverwrite


@dataclass(frozen=True, eq=False)
class Prediction:
    """What a law says about a claim's observable.

    `values`        (I, A, T, C); I is 1 when the law does not depend on the seed
    `uncertainty`   the law's own error, same shape, or None
    `abscissa`      (A, T): recorded steps, or sample sizes
    `slope`         log-log slope over the claim's window and its error, for `Scales`
    `assumptions`   one mapping each: name, kind, distance, radius, holds
    `fingerprints`  SHA-256 of every instance's arrays
    """

    theory: str
    claim: str
    law: str
    observable: str
    values: np.ndarray
    abscissa: np.ndarray
    abscissa_name: str = "step"
    axis: str = ""
    axis_values: tuple[float, ...] = ()
    uncertainty: np.ndarray | None = None
    slope: float | None = None
    slope_error: float | None = None
    method: str = ""
    equations: str = ""
    assumptions: tuple[Mapping[str, Any], ...] = ()
    references: tuple[str, ...] = ()
    fingerprints: tuple[str, ...] = ()
    facts: Mapping[str, Any] = field(default_factory=dict)

    @property
    def hash(self) -> str:
        """SHA-256 of the canonical JSON of everything above."""
        return hashlib.sha256(json.dumps(self._content(), sort_keys=True).encode()).hexdigest()

    def _content(self) -> dict:
        return {
            "theory": self.theory,
            "claim": self.claim,
            "law": self.law,
            "observable": self.observable,
            "values": _listed(self.values),
            "abscissa": _listed(self.abscissa),
            "abscissa_name": self.abscissa_name,
            "axis": self.axis,
            "axis_values": [float(value) for value in self.axis_values],
            "uncertainty": None if self.uncertainty is None else _listed(self.uncertainty),
            "slope": self.slope,
            "slope_error": self.slope_error,
            "method": self.method,
            "equations": self.equations,
            "assumptions": [
                {key: _plain(value) for key, value in assumption.items()} for assumption in self.assumptions
            ],
            "references": list(self.references),
            "fingerprints": list(self.fingerprints),
            "facts": {key: _plain(value) for key, value in self.facts.items()},
        }

    def to_dict(self) -> dict:
        return {**self._content(), "hash": self.hash}

    @classmethod
    def from_dict(cls, content: Mapping[str, Any]) -> "Prediction":
        """Inverse of `to_dict`; a content that does not match its hash is refused."""
        fields = {key: value for key, value in content.items() if key != "hash"}
        for key in ("values", "abscissa", "uncertainty"):
            if fields[key] is not None:
                fields[key] = np.array(fields[key], float)
        for key in ("axis_values", "assumptions", "references", "fingerprints"):
            fields[key] = tuple(fields[key])
        prediction = cls(**fields)
        if prediction.hash != content["hash"]:
            raise BadData(
                f"hash {content['hash'][:12]} does not match the content ({prediction.hash[:12]})",
                where=f"forecast {prediction.theory}/{prediction.claim}",
                remedy="the forecast was edited: predict again",
            )
        return prediction

    def save(self, path: str | Path, force: bool = False) -> Path:
        """Write as JSON, atomically; an existing file is kept unless `force`."""
        path = Path(path)
        if path.exists() and not force:
            raise WouldOverwrite(f"{path} exists", remedy="choose another name or pass force")
        path.parent.mkdir(parents=True, exist_ok=True)
        partial = path.with_name(path.name + ".part")
        partial.write_text(json.dumps(self.to_dict()))
        os.replace(partial, path)
        return path

    @classmethod
    def load(cls, path: str | Path) -> "Prediction":
        return cls.from_dict(json.loads(Path(path).read_text()))

    def __str__(self) -> str:
        last = self.values[:, :, -1]
        lines = [
            f"{self.theory}: {self.claim} by {self.law}",
            f"  observable    {self.observable}, {self.values.shape[3]} component(s) over"
            f" {self.values.shape[2]} {self.abscissa_name}s",
            f"  last values   {np.array2string(last.reshape(-1)[:6], precision=4)}" + (" ..." if last.size > 6 else ""),
            f"  method        {self.method}",
        ]
        if self.slope is not None:
            lines.insert(3, f"  slope         {self.slope:.4f} +- {self.slope_error:.4f}")
        lines += [
            f"  assumption    {a['name']}: distance {a['distance']:.3g} (radius {a['radius']:.3g})"
            + ("" if a["holds"] else "  VIOLATED")
            for a in self.assumptions
        ]
        return "\n".join([*lines, f"  forecast      {self.hash[:16]}"])

    __repr__ = __str__


def _listed(values: np.ndarray) -> list:
    return np.asarray(values, float).tolist()


def _plain(value: Any) -> Any:
    if isinstance(value, (np.generic,)):
        return value.item()
    if isinstance(value, np.ndarray):
        return value.tolist()
    return value if isinstance(value, (bool, int, float, str, type(None), list, tuple)) else str(value)
