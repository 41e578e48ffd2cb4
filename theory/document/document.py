"""A whole derivation as one record: everything a model derives, each step with what it rests on and how it was checked.

    document(model)   ->   sections (title, system, conserved, closed form)  +  steps, numbered once  +  references

Sections share steps: what the matrices of a deep network obey is derived once and cited by number afterwards. The
record prints as text; `latex`, `python` and `to_dict` write the other forms.

>>> x, y, z, s = sp.symbols("x y z s", real=True)
>>> print(document(gradient_flow((s - x * y * z) ** 2 / 2, on=(x, y, z)), "three weights"))
three weights
=============
<BLANKLINE>
1. equations of motion
----------------------
Flow
  x' = y*z*(s - x*y*z)
  y' = x*z*(s - x*y*z)
  z' = x*y*(s - x*y*z)
  loss = (s - x*y*z)**2/2
conserved
  x**2 - y**2
  x**2 - z**2
trail
  1. loss: (s - x*y*z)**2/2
  2. gradient flow: x' = y*z*(s - x*y*z); y' = x*z*(s - x*y*z); z' = x*y*(s - x*y*z)  (numerical derivative: ...)
"""

from collections.abc import Mapping
from dataclasses import dataclass, fields
from functools import cached_property
from typing import Any

import sympy as sp

from ..closed_forms.closed_form import ClosedForm, closed_form
from ..derivation.conserved import conserved
from ..derivation.derive import gradient_flow as gradient_flow
from ..derivation.standard_assumptions import Aligned, Balanced, LargeDepth, Whitened
from ..errors import LearningMechanicsError
from ..model import Theory
from ..system import Flow, System, require_system
from ..trail import Step, Trail

_KNOWN = (Whitened(), Aligned(), Balanced(), LargeDepth(sp.Symbol("L")))


@dataclass(frozen=True)
class Section:
    """One derived system with all that is known about it; `declined` says why there is no closed form.

    `numbers` are the steps of its trail in the document's numbering, `fresh` those that no earlier section has shown.
    """

    title: str
    system: System
    conserved: tuple[Any, ...]
    solution: ClosedForm | None
    declined: str
    numbers: tuple[int, ...] = ()
    fresh: tuple[int, ...] = ()

    @property
    def trail(self) -> Trail:
        return self.solution.trail if self.solution else self.system.trail


@dataclass(frozen=True)
class Document:
    """A derivation with everything it rests on; printed as text.

    `steps`        every step once; `parents` count from 1 in this numbering
    `assumptions`  name -> statement of what the derivation assumes, where the assumption states itself
    """

    title: str
    model: str
    hyperparameters: Mapping[str, Any]
    sections: tuple[Section, ...]
    steps: tuple[Step, ...]
    assumptions: Mapping[str, str]

    @cached_property
    def references(self) -> tuple[dict[str, str], ...]:
        """Bibliography entries (key, bibtex, text) of everything cited, in order of first use."""
        from ...bibliography import bibtex, described

        parts = [part for step in self.steps for part in step.reference.split(";") if part.strip()]
        texts = {entry["key"]: text for text in described(parts) for entry in bibtex([text.split(": ")[0]])}
        return tuple({**entry, "text": texts.get(entry["key"], entry["cited"])} for entry in bibtex(parts))

    def latex(self) -> str:
        """A LaTeX file that compiles as it stands: see `latex_document`."""
        from .latex_document import latex_document

        return latex_document(self)

    def python(self) -> str:
        """A Python module that runs and verifies itself without this package: see `python_module`."""
        from .python_module import python_module

        return python_module(self)

    def cited(self, step: Step) -> tuple[int, ...]:
        """Numbers (from 1) of the entries that a step cites."""
        from ...bibliography import bibtex

        numbers = {entry["key"]: number for number, entry in enumerate(self.references, 1)}
        return tuple(numbers[entry["key"]] for entry in bibtex(step.reference.split(";")))

    def to_dict(self) -> dict[str, Any]:
        """Everything as plain data; expressions as text, LaTeX, and exact text that `exact_text` restores."""
        return {
            "model": self.model,
            "title": self.title,
            "hyperparameters": {name: _plain(value) for name, value in self.hyperparameters.items()},
            "sections": [
                {
                    "title": section.title,
                    "system": section.system.to_dict(),
                    "conserved": [
                        {"text": str(q), "latex": sp.latex(q), "exact": sp.srepr(q)} for q in section.conserved
                    ],
                    "closed_form": section.solution.to_dict() if section.solution else None,
                    "declined": section.declined,
                    "steps": list(section.numbers),
                }
                for section in self.sections
            ],
            "steps": Trail(self.steps).to_dict(),
            "assumptions": dict(self.assumptions),
            "references": list(self.references),
        }

    def __str__(self) -> str:
        lines = [self.title, "=" * len(self.title)]
        lines += [", ".join(f"{name} = {value}" for name, value in self.hyperparameters.items())] * bool(
            self.hyperparameters
        )
        for number, section in enumerate(self.sections, 1):
            heading = f"{number}. {section.title}"
            lines += ["", heading, "-" * len(heading), *_section(section, self.steps)]
        if self.references:
            lines += ["", "references", *(f"  [{n}] {entry['text']}" for n, entry in enumerate(self.references, 1))]
        return "\n".join(lines)

    __repr__ = __str__


def document(derived: Theory | System, title: str = "") -> Document:
    """The document of a model: everything in its `derivations()`; or of one system.

    >>> from ..system import Flow
    >>> x = sp.Symbol("x", positive=True)
    >>> document(Flow((x,), (-x,)), "decay").sections[0].solution.expression
    x_0*exp(-t)
    """
    if isinstance(derived, Theory):
        settings = {field.name: getattr(derived, field.name) for field in fields(derived)}
        name, systems, heading = derived.model_name(), derived.derivations(), title or derived.title()
        assumed = [a for claim in derived.claims() for law in (claim.law, claim.rival) for a in law.assumptions]
    else:
        require_system(derived, "document")
        settings, name, systems, heading, assumed = (
            {},
            "",
            {"equations of motion": derived},
            title or "A derivation",
            [],
        )
    steps: list[Step] = []
    keys: dict[tuple, int] = {}
    sections = tuple(s for title, system in systems.items() for s in _derived(title, system, steps, keys))
    stated = {a.name: a.statement for a in (*_KNOWN, *assumed)}
    used = dict.fromkeys(step.assumption for step in steps if step.assumption)
    return Document(heading, name, settings, sections, tuple(steps), {a: stated.get(a, "") for a in used})


def _derived(title: str, system: System, steps: list[Step], keys: dict[tuple, int]) -> list[Section]:
    """The section of a system; coupled unknowns that are solved through their product have one for it as well."""
    solution, declined = None, ""
    try:
        solution = closed_form(system)
    except LearningMechanicsError as error:
        declined = f"{error.found}; {error.remedy}"
    product = getattr(solution, "product", None)
    if product is not None:
        solution, declined = None, f"solved through {product.unknown}, below"
    numbers: list[int] = []
    fresh: list[int] = []
    for step in (solution.trail if solution else system.trail).steps:
        parents = tuple(numbers[parent] for parent in step.parents)
        key = (step.rule, str(step.result), step.assumption, str(step.given), parents)
        if key not in keys:
            steps.append(Step(**{**vars(step), "parents": parents}))
            keys[key] = len(steps)
            fresh.append(len(steps))
        numbers.append(keys[key])
    section = Section(title, system, _conserved(system), solution, declined, tuple(numbers), tuple(fresh))
    return [section, *(_derived(f"{title}: their product", product.system, steps, keys) if product is not None else [])]


def _conserved(system: System) -> tuple[Any, ...]:
    """What a flow of several unknowns conserves; where the search does not apply there is nothing to show."""
    if not isinstance(system, Flow) or len(system.unknowns) < 2:
        return ()
    try:
        return tuple(conserved(system))
    except LearningMechanicsError:
        return ()


def _section(section: Section, steps: tuple[Step, ...]) -> list[str]:
    lines = str(section.system).split("\n")
    if section.conserved:
        lines += ["conserved", *(f"  {quantity}" for quantity in section.conserved)]
    if section.solution:
        lines += str(section.solution).split("\ntrail")[0].split("\n")
    elif len(section.system.unknowns) == 1 or section.declined.startswith("solved"):
        lines.append(("" if section.declined.startswith("solved") else "no closed form: ") + section.declined)
    lines.append("trail")
    earlier = [number for number in section.numbers if number not in section.fresh]
    lines += [f"  from {spans(earlier)}"] * bool(earlier)
    return lines + [f"  {number}. {steps[number - 1]}" for number in section.fresh]


def spans(numbers: list[int]) -> str:
    """Step numbers as runs.

    >>> spans([1, 2, 3, 5])
    'steps 1 to 3, 5'
    """
    runs: list[list[int]] = []
    for number in numbers:
        if runs and number == runs[-1][-1] + 1:
            runs[-1].append(number)
        else:
            runs.append([number])
    said = (f"{run[0]} to {run[-1]}" if len(run) > 2 else ", ".join(map(str, run)) for run in runs)
    return ("step " if len(numbers) == 1 else "steps ") + ", ".join(said)


def _plain(value: Any) -> Any:
    return value if isinstance(value, str | int | float | bool | type(None)) else str(value)
