"""`Theory`: the one class a newcomer writes, and the discovery of all of them.

A solvable model is one file in `theory/models/` with one frozen dataclass deriving from `Theory`: hyperparameters as
fields, `derive()` giving the reduced system with its trail, and `claims()` with their laws and rivals. Derivation,
LaTeX, numerics, command line, plots and validation come for free.

>>> [name for name in names() if name == "deep-linear"]
['deep-linear']
>>> find("deep-liner")
Traceback (most recent call last):
...
learning_mechanics.theory.errors.UnknownName: unknown model 'deep-liner'; did you mean 'deep-linear'?
"""

import math
import pkgutil
import re
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from functools import cache
from importlib import import_module
from types import MappingProxyType
from typing import Any

from .claims import Claim
from .dataset import Dataset
from .errors import BadData, UnknownName
from .system import System


def parameter(default: Any, doc: str, least: int | None = None, infinite: bool = False) -> Any:
    """A hyperparameter of a model: a dataclass field with a default and one line of documentation.

    With `least` it is a whole number from there on, or `infinite` if that is allowed; other numbers must be finite.
    """
    return field(default=default, metadata={"doc": doc, "least": least, "infinite": infinite})


@dataclass(frozen=True)
class Theory:
    """Base of all models. Hyperparameters only: frozen, hashable, constructs without arguments."""

    def __post_init__(self):
        for given in fields(self):
            value, least = getattr(self, given.name), given.metadata.get("least")
            if not isinstance(value, int | float) or (value == math.inf and given.metadata.get("infinite")):
                continue
            if not math.isfinite(value) or (least is not None and (value != int(value) or value < least)):
                remedy = "give a number" if least is None else f"give a whole number from {least}"
                remedy += ", or inf" if given.metadata.get("infinite") else ""
                raise BadData(f"{given.name} {value}", where=self.model_name(), remedy=remedy)

    @classmethod
    def model_name(cls) -> str:
        """The name on the command line: `DeepLinear` is `deep-linear`."""
        return re.sub(r"(?<!^)(?=[A-Z])", "-", cls.__name__).lower()

    @classmethod
    def title(cls) -> str:
        return (cls.__doc__ or "").strip().splitlines()[0].rstrip(".")

    def derive(self) -> System:
        """The reduced system, with the whole derivation in its trail."""
        raise NotImplementedError(f"{type(self).__name__} has no derive(): return a Flow, Map or FixedPoint")

    def derivations(self) -> Mapping[str, System]:
        """Everything the model derives, by title, in reading order: what `learning-mechanics derive` writes out."""
        return {"equations of motion": self.derive()}

    def claims(self) -> tuple[Claim, ...]:
        """Everything the model lets itself be refuted by."""
        raise NotImplementedError(f"{type(self).__name__} has no claims(): return a tuple of claims, each with a rival")

    def claim(self, name: str) -> Claim:
        found = {claim.name: claim for claim in self.claims()}
        if name not in found:
            raise UnknownName.among(name, found, kind="claim", where=self.model_name())
        return found[name]

    def on(self, x, y, name: str = "data") -> "Bound":
        """Bind the user's arrays: claims are then predicted and tested on them."""
        return Bound(self, Dataset(x, y, name))


@dataclass(frozen=True, eq=False)
class Bound:
    """A model and the user's data."""

    theory: Theory
    data: Dataset


@cache
def classes() -> Mapping[str, type[Theory]]:
    """Every model class by class name, from the files in `theory/models/`.

    >>> classes()["DeepLinear"]().depth
    2
    """
    package = import_module(f"{__package__}.models")
    found = {}
    for module in pkgutil.walk_packages(package.__path__, package.__name__ + "."):
        for value in vars(import_module(module.name)).values():
            if isinstance(value, type) and issubclass(value, Theory) and value.__module__ == module.name:
                found[value.__name__] = value
    return MappingProxyType(found)


def models() -> tuple[type[Theory], ...]:
    """All model classes, in order of their names."""
    return tuple(sorted(classes().values(), key=lambda cls: cls.model_name()))


def names() -> list[str]:
    """All model names."""
    return [cls.model_name() for cls in models()]


def find(name: str) -> type[Theory]:
    """The model of that name; an unknown name raises with the nearest one."""
    known = {cls.model_name(): cls for cls in models()}
    if name not in known:
        raise UnknownName.among(name, known, kind="model")
    return known[name]
