"""Failures that can be explained: each says what was found, where, and what to try, in one line.

The command line prints the line and exits with status 2; nothing is lost, because nothing was written yet.
"""

import difflib
from collections.abc import Iterable


def shortened(names: Iterable[str], most: int = 12) -> str:
    """Names with commas; of many, the first ones and how many more there are.

    >>> shortened(["a", "b", "c"], most=2)
    'a, b and 1 more'
    """
    names = [str(name) for name in names]
    rest = len(names) - most
    return ", ".join(names[:most]) + (f" and {rest} more" if rest > 0 else "")


class LearningMechanicsError(Exception):
    """Base of every explained failure: `found` (with the number), `where`, `remedy`.

    >>> print(BadData("column 3 holds NaN at row 17", where="x", remedy="drop the row"))
    x: column 3 holds NaN at row 17; drop the row
    """

    def __init__(self, found: str, *, where: str = "", remedy: str = ""):
        self.found, self.where, self.remedy = found, where, remedy
        line = (f"{where}: " if where else "") + found + (f"; {remedy}" if remedy else "")
        super().__init__(" ".join(line.split()))  # one line, whatever a name or a file held


class AssumptionViolated(LearningMechanicsError):
    """An ansatz is not preserved by the dynamics: the residual of the tangency condition is not zero."""


class OutsideDomain(LearningMechanicsError):
    """An assumption's distance exceeds its stated radius, so the prediction does not apply."""


class NoClosedForm(LearningMechanicsError):
    """Every matcher declined; integrate numerically with `lm.solve`."""


class CannotCompile(LearningMechanicsError):
    """The expression holds a function that has no JAX counterpart."""


class DidNotConverge(LearningMechanicsError):
    """A solver stopped before its tolerance was met."""


class Underpowered(LearningMechanicsError):
    """The data cannot tell the claim from its rival at the stated false-alarm rate."""


class BadData(LearningMechanicsError):
    """The user's data cannot be used as given."""


class UnknownName(LearningMechanicsError):
    """A model, field, claim or file kind that does not exist; names the nearest one.

    >>> print(UnknownName.among("deep-liner", ["deep-linear", "edge-of-stability"], kind="model"))
    unknown model 'deep-liner'; did you mean 'deep-linear'?
    """

    @classmethod
    def among(cls, name: str, known: Iterable[str], *, kind: str, where: str = "") -> "UnknownName":
        known = sorted(known)
        near = difflib.get_close_matches(str(name), known, n=1, cutoff=0.4)
        remedy = f"did you mean {near[0]!r}?" if near else "known: " + shortened(known)
        return cls(f"unknown {kind} {name!r}", where=where, remedy=remedy)


class WouldOverwrite(LearningMechanicsError):
    """A file to be written exists already."""
