"""Exponents of a model bound to data, and what every mechanism that has something to say forecasts for them.

    exponents(KernelRegression(kernel).on(x, y)) -> ScalingLaw

The same loss may fall for several reasons: because a kernel's spectrum does, because inputs are symbols that have to be
seen once, because a manifold has to be resolved. Their forecasts stand side by side, each with the measured number that
says whether it applies.
"""

from collections.abc import Callable, Sequence
from importlib import import_module
from typing import Any

import numpy as np

from ...theory.arguments import numbers
from ...theory.errors import BadData, LearningMechanicsError
from ...theory.mechanisms.forecast import MechanismForecast
from ...theory.model import Bound
from ...theory.raw_data.intrinsic_dimension import intrinsic_dimension
from ...theory.raw_data.one_hot import one_hot
from .axis_law import AxisLaw
from .local_slope import WHERE
from .scaling_law import ScalingLaw

KERNEL = "kernel spectrum"
SIMON = "Simon et al. 2021, arXiv:2110.03922"


def exponents(bound: Bound, sizes: Sequence[float] | None = None, **options: Any) -> ScalingLaw:
    """The scaling law of a kernel model bound to the user's data: `exponents(KernelRegression(kernel).on(x, y))`.

    `sizes`     the window of samples;  `options` those of `ScalingLaw.from_data`

    Errors: `BadData` if the model has no kernel, and those of `ScalingLaw.from_data`.
    """
    if not isinstance(bound, Bound):
        raise BadData(f"{bound} is bound to no data", where="exponents", remedy="bind them with .on(x, y)")
    theory, data = bound.theory, bound.data
    kernel = getattr(theory, "kernel", None)
    if not callable(kernel):
        raise BadData(
            f"{type(theory).__name__} has no kernel",
            where="exponents",
            remedy="bind a kernel model: KernelRegression(kernel=...).on(x, y)",
        )
    given = {"ridge": getattr(theory, "ridge", 0.0), "groups": data.groups, "samples": sizes}
    return ScalingLaw.from_data(kernel, data.x, data.y, **{**given, **options})


def forecast(
    kernel: Callable,
    x: np.ndarray,
    y: np.ndarray,
    sizes: Sequence[float] | None = None,
    **options: Any,
) -> AxisLaw:
    """The axis "samples" of `ScalingLaw.from_data` alone: the exponent of kernel regression over a window of sizes.

    >>> rng = np.random.default_rng(0)
    >>> x = rng.standard_normal((600, 60)) * np.arange(1, 61) ** -0.75
    >>> found = forecast(lambda a, b=None: a @ (a if b is None else b).T, x, x @ np.ones(60), sizes=[10, 15, 20, 30])
    >>> 0.5 < found.value < 2.5
    True
    """
    law = ScalingLaw.from_data(kernel, x, y, samples=sizes, axes=("samples",), mechanisms=False, **options)
    assert law.samples is not None
    if law.samples.value is None:
        raise BadData(law.samples.because, where="exponent")
    return law.samples


class SideBySide(tuple[MechanismForecast, ...]):
    """Rows of a table of forecasts, printed one a line."""

    def __str__(self) -> str:
        return "\n".join(map(str, self))

    __repr__ = __str__

    def to_dict(self) -> dict:
        return {"rows": [row.to_dict() for row in self]}


def side_by_side(kernel: Callable, x: Any, y: Any, corpus: Any = None, **options: Any) -> SideBySide:
    """One row for every mechanism and axis that has something to say about these data, the kernel's spectrum first.

    `corpus` a text or its tokens, if the data are one;  `options` those of `ScalingLaw.from_data`. What a mechanism
    refuses is a row as well, with the reason.
    """
    try:
        law = ScalingLaw.from_data(kernel, x, y, **{**options, "mechanisms": False})
        first, window = kernel_rows(law), law.samples and law.samples.window
    except LearningMechanicsError as reason:
        first, window = (_refused(KERNEL, reason),), None
    return SideBySide(first + other_mechanisms(x, y, window or (50.0, max(len(np.asarray(x)) / 2, 100.0)), corpus))


def kernel_rows(law: ScalingLaw) -> tuple[MechanismForecast, ...]:
    """The axes of a scaling law as rows of the table: the exponent that is to be believed there.

    >>> k = np.arange(1.0, 1001.0)
    >>> print(kernel_rows(ScalingLaw.from_spectrum(k**-1.5, k**-1.8, axes=["steps"]))[0].formula)
    (target_exponent - 1)/capacity
    """
    failed = [entry["name"] for entry in law.assumptions if not entry["holds"]]
    return tuple(
        MechanismForecast(
            mechanism=KERNEL,
            axis=axis.axis,
            exponent=axis.exponent,
            applies=axis.exponent is not None and not failed,
            because=f"not within: {', '.join(failed)}" if failed else axis.because,
            formula=str(axis.expression),
            window=axis.window,
            reference=SIMON,
        )
        for axis in law.axes
    )


def other_mechanisms(x: Any, y: Any, window: tuple[float, float], corpus: Any = None) -> tuple[MechanismForecast, ...]:
    """Rows of the mechanisms besides the kernel's spectrum, over a window of samples.

    Memorising symbols where inputs are one-hot, the resolution of a manifold from its intrinsic dimension, and, for a
    text, how fast its tokens forget each other.
    """
    x, y = numbers(x, "x", WHERE), numbers(y, "y", WHERE)
    rows: list[MechanismForecast] = []
    for ask in (_symbols, _resolution):
        rows += ask(x, y, window)
    if corpus is not None:
        rows += _said("token_correlations", "token correlations", corpus, window)
    return tuple(rows)


def _symbols(x, y, window):
    """Zipf's law, where every row is one of many symbols."""
    found = one_hot(x)
    if found is None:
        return []
    if not found.memorised:
        return [MechanismForecast("Zipf memorisation", "samples", None, False, "rows count several symbols each")]
    return _said("zipf", "Zipf memorisation", found.symbols, window)


def _resolution(x, y, window):
    """The bracket of the intrinsic dimension turned into exponents; of these the one in samples."""
    try:
        found = intrinsic_dimension(x)
    except LearningMechanicsError as reason:
        return [_refused("resolution-limited", reason)]
    rows = _said("resolution", "resolution-limited", (found.low, found.high), window)
    return [row for row in rows if row.axis == "samples"][:1]


def _said(module, name, *arguments):
    """What a mechanism forecasts, or one row with the reason why it does not."""
    try:
        return list(import_module(f"...theory.mechanisms.{module}", __package__).forecast(*arguments))
    except LearningMechanicsError as reason:
        return [_refused(name, reason)]


def _refused(name, reason):
    return MechanismForecast(name, "samples", None, False, str(reason))
