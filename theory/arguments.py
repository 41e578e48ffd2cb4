"""Numbers as users give them: floats out, or one line that says what was found instead.

    number("0.1") -> BadData,   number(np.float32(0.1)) -> 0.1,   whole(2.5) -> BadData,   numbers(frame) -> float64

Strings are refused even where they spell a number, for they come from files that were read wrongly; so are masked
entries and imaginary parts, which a conversion to floats would drop without a word.
"""

from collections.abc import Callable
from typing import Any

import numpy as np

from .errors import BadData, LearningMechanicsError


def number(value: Any, name: str, where: str, *, above: bool = False, infinite: bool = False) -> float:
    """One real number from 0, or `above` it; finite, unless it may be `infinite`. Raises `BadData`.

    >>> number(np.float32(0.5), "ridge", "here")
    0.5
    """
    try:
        found = float("nan") if isinstance(value, str | bytes) or np.ndim(value) else float(value)
    except (TypeError, ValueError, OverflowError):
        found = float("nan")
    if not (found > 0 or (found == 0 and not above)) or (np.isinf(found) and not infinite):
        remedy = f"give a {'' if infinite else 'finite '}number {'above' if above else 'from'} 0"
        raise BadData(f"{name} {_shown(value)}", where=where, remedy=remedy)
    return found


def whole(value: Any, name: str, where: str, *, least: int = 0) -> int:
    """One whole number from `least`, also as a float without a fraction. Raises `BadData`.

    >>> whole(3.0, "levels", "here")
    3
    """
    try:
        found = least - 1 if isinstance(value, str | bytes) or np.ndim(value) or value != int(value) else int(value)
    except (TypeError, ValueError, OverflowError):
        found = least - 1
    if found < least:
        raise BadData(f"{name} {_shown(value)}", where=where, remedy=f"give a whole number from {least}")
    return found


def numbers(value: Any, name: str, where: str, remedy: str = "give an array of numbers") -> np.ndarray:
    """Real numbers as a float64 array of any shape; NaN passes, for callers know what to say of it. Raises `BadData`.

    >>> numbers([[1, 2]], "x", "here")
    array([[1., 2.]])
    """
    masked = isinstance(value, np.ma.MaskedArray) and np.ma.is_masked(value)
    try:
        found = np.asarray(value)
        if found.dtype.kind in "USmMV" or masked:
            raise ValueError
        if found.dtype.kind == "c":
            if found.imag.any():
                raise ValueError
            found = found.real
        return np.asarray(found, float)
    except (TypeError, ValueError):
        kind = "masked" if masked else "complex" if getattr(getattr(value, "dtype", None), "kind", "") == "c" else ""
        entries = f"{kind} entries" if kind else "entries that are not numbers"
        raise BadData(f"{name} has {entries}" if name else entries, where=where, remedy=remedy) from None


def interval(value: Any, name: str, where: str, *, remedy: str, ratio: float = 1.0) -> tuple[float, float]:
    """Two finite numbers 1 <= low < high, `ratio` apart or more. Raises `BadData`.

    >>> interval([10, 100], "window", "here", remedy="give (low, high)")
    (10.0, 100.0)
    """
    found = np.asarray(np.nan) if value is None else numbers(value, name, where, remedy)
    if found.shape != (2,):
        raise BadData(f"{name} {_shown(value)}", where=where, remedy=remedy)
    low, high = map(float, found)
    if not (1 <= low < high < float("inf") and low <= high / ratio):
        raise BadData(f"{name} {low:g} to {high:g}", where=where, remedy=remedy)
    return low, high


def values_of(function: Callable, argument: Any, where: str, remedy: str) -> np.ndarray:
    """What a user's function gives on an array, in the precision it has; its failures become `BadData`.

    >>> values_of(np.cos, np.zeros(2), "kernel", "give a function of arrays")
    array([1., 1.])
    """
    try:
        found = np.asarray(function(argument))
    except LearningMechanicsError:
        raise
    except Exception as error:  # a user's function may fail in any way
        lines = str(error).splitlines()
        reason = f"{type(error).__name__}: {lines[0] if lines else ''}"
        raise BadData(f"the function fails on an array ({reason})", where=where, remedy=remedy) from None
    values = numbers(found, "its value", where, remedy)
    return found if found.dtype.kind == "f" else values


def _shown(value: Any) -> str:
    return repr(value) if isinstance(value, str | bytes) else " ".join(str(value).split())[:80]
