"""The three kinds of derived system: `Flow` (du/dt = F), `Map` (u <- F) and `FixedPoint` (0 = F).

All three are one record: unknowns, equations, parameters, named observables, what was eliminated, and the trail.
Unknowns are scalars, mode symbols (one value per mode) or matrix symbols. Functions act on systems and decline by
kind: `conserved`, `closed_form`, `modified_flow`, `marginal_stability`.

>>> from .symbols import scalars
>>> u, s = scalars("u s")
>>> flow = Flow((u,), (u * (s - u**2),), observables={"a": u**2})
>>> print(flow)
Flow
  u' = u*(s - u**2)
  a = u**2
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from types import MappingProxyType
from typing import Any

import sympy as sp

from .errors import BadData
from .trail import Equations, Trail

_EMPTY: Mapping[Any, Any] = MappingProxyType({})


@dataclass(frozen=True)
class System:
    """Fields shared by the three kinds; construct `Flow`, `Map` or `FixedPoint`.

    `unknowns`     symbols or matrix symbols that are solved for
    `equations`    one per unknown: its time derivative (Flow), next value (Map), or a residual (FixedPoint)
    `observables`  name -> expression of unknowns and parameters
    `eliminated`   old unknown -> expression of the present ones: removed, still reachable
    `trail`        how it was derived
    """

    unknowns: tuple[Any, ...]
    equations: tuple[Any, ...]
    observables: Mapping[str, Any] = field(default_factory=dict)
    eliminated: Mapping[Any, Any] = field(default_factory=dict)
    trail: Trail = field(default_factory=Trail, compare=False)

    def __post_init__(self):
        if len(self.unknowns) != len(self.equations):
            found = f"{len(self.unknowns)} unknowns but {len(self.equations)} equations"
            raise BadData(found, where=type(self).__name__, remedy="give one equation per unknown, in the same order")
        object.__setattr__(self, "observables", MappingProxyType(dict(self.observables)))
        object.__setattr__(self, "eliminated", MappingProxyType(dict(self.eliminated)))

    def __hash__(self):
        return hash((type(self).__name__, self.unknowns, self.equations))

    @property
    def parameters(self) -> tuple[Any, ...]:
        """Everything the equations and observables mention besides the unknowns and matrix dimensions, by name."""
        unknown = set(self.unknowns)
        sizes: set = set()
        found: set = set()
        for expression in (*self.unknowns, *self.equations, *self.observables.values()):
            for matrix in expression.atoms(sp.MatrixSymbol):
                sizes |= set().union(*(sp.sympify(size).free_symbols for size in matrix.shape))
            found |= expression.free_symbols
        matrices = {symbol for symbol in found if isinstance(symbol, sp.MatrixSymbol)}
        bare = {symbol for symbol in found - matrices if symbol not in sizes}
        return tuple(sorted((matrices | bare) - unknown, key=str))

    def observe(self, **observables: Any):
        """The same system with more named observables; names of earlier unknowns may be used."""
        rewritten = {name: sp.sympify(expr).subs(self.eliminated) for name, expr in observables.items()}
        return replace(self, observables={**self.observables, **rewritten})

    def assume(self, *assumptions):
        """Apply assumptions in order; each checks itself, records its step and returns a reduced system."""
        system = self
        for assumption in assumptions:
            system = assumption.apply(system)
        return system

    def to_dict(self) -> dict:
        return {
            "kind": type(self).__name__,
            "unknowns": [str(unknown) for unknown in self.unknowns],
            "equations": [str(equation) for equation in self.equations],
            "observables": {name: str(expression) for name, expression in self.observables.items()},
            "eliminated": {str(old): str(new) for old, new in self.eliminated.items()},
            "parameters": [str(parameter) for parameter in self.parameters],
            "latex": sp.latex(self),
            "trail": self.trail.to_dict(),
        }

    def statement(self) -> Equations:
        """The equations as the record that trails keep."""
        kind = {"Map": "map", "FixedPoint": "fixed point"}.get(type(self).__name__, "flow")
        return Equations(tuple(zip(self.unknowns, self.equations, strict=True)), kind)

    def _left(self, unknown) -> str:
        return self.statement().left(unknown)

    def __str__(self) -> str:
        lines = [type(self).__name__]
        lines += [f"  {self._left(u)} = {e}" for u, e in zip(self.unknowns, self.equations, strict=True)]
        lines += [f"  {name} = {expression}" for name, expression in self.observables.items()]
        return "\n".join(lines)

    __repr__ = __str__

    def _latex(self, printer=None, **_) -> str:
        return self.statement().latex()

    def _repr_latex_(self) -> str:
        return f"$\\displaystyle {self._latex()}$"


@dataclass(frozen=True, repr=False, eq=True)
class Flow(System):
    """Ordinary differential equations: d(unknown)/dt = equation, t in units of learning rate times steps."""

    __hash__ = System.__hash__


@dataclass(frozen=True, repr=False, eq=True)
class Map(System):
    """A recursion: next value of the unknown = equation."""

    __hash__ = System.__hash__


@dataclass(frozen=True, repr=False, eq=True)
class FixedPoint(System):
    """Self-consistency: 0 = equation. The unknown is positive and is solved for in log space."""

    __hash__ = System.__hash__


def require_system(given: Any, where: str) -> None:
    """Refuse what is no system, such as a model or a network in its place. Raises `BadData`.

    >>> require_system("a model", "solve")
    Traceback (most recent call last):
    ...
    learning_mechanics.theory.errors.BadData: solve: a str is no system; give model.derive(), network_flow(...) or ...
    """
    if not isinstance(given, Flow | Map | FixedPoint):
        kind = given.__name__ if isinstance(given, type) else f"a {type(given).__name__}"
        remedy = "give model.derive(), network_flow(...) or gradient_flow(...)"
        raise BadData(f"{kind} is no system", where=where, remedy=remedy)
