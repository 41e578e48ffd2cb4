"""Ask for an exponent before any training, on one half of the data; the other half is kept for the runs.

A question names everything an answer depends on, by value or by hash, so that it can be asked again word by word:
data (SHA-256 of inputs, targets and groups), split, learner, ridge, axis and sizes. The answer is made from the probe
rows alone.
"""

import hashlib
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from ...solvers.scaling.exponents import forecast
from ...solvers.scaling.local_slope import points
from ...theory.arguments import whole
from ...theory.dataset import Dataset
from ...theory.errors import BadData
from ..tasks.tasks import halves

POINTS = 7  # sizes of a window that was not given
LEAST_SIZES, LEAST_SPAN = 3, 2.0  # of a window: number of sizes, largest over smallest
LEAST = 30  # its smallest size, unless that is above a tenth of the rows


def ask(
    data: Dataset,
    kernel: Callable,
    sizes: Sequence[float] | None = None,
    ridge: float = 0.0,
    seed: int = 0,
    source: Mapping[str, Any] | None = None,
) -> tuple[dict[str, Any], dict[str, Any]]:
    """Question and answer: the exponent in samples of regression with this kernel on data like these.

    `sizes` of training sets, two ends for eight between them, by default from 30 to half of the rows kept for the runs;
    `source`: how the data were read and the kernel was named, so that the command line can do so again.
    Errors: those of the forecast (`Underpowered`: too few rows, a target of noise), and `BadData` for sizes beyond what
    the other half can measure.
    """
    seed = whole(seed, "seed", data.name)
    probe = halves(data, seed)
    rows = int((~probe).sum())
    if sizes is None:
        sizes = np.unique(np.round(np.geomspace(min(LEAST, rows / 10), rows / 2, POINTS))).tolist()
    window = np.unique(np.round(points(sizes, "samples"))).tolist()
    if len(window) < LEAST_SIZES or window[-1] < LEAST_SPAN * window[0]:
        raise BadData(
            f"sizes {window}",
            where=data.name,
            remedy=f"ask for {LEAST_SIZES} or more, the last {LEAST_SPAN:g} times the first",
        )
    if max(window) > 0.8 * rows:
        raise BadData(
            f"size {max(window):g}, and {rows} rows are kept for the runs",
            where=data.name,
            remedy=f"ask for sizes up to {int(0.8 * rows)}",
        )
    groups = None if data.groups is None else data.groups[probe]
    found = forecast(kernel, data.x[probe], data.y[probe], window, ridge=ridge, groups=groups, seed=seed)
    question = {
        "data": data.name,
        "sha256": fingerprint(data),
        "rows": len(data),
        "probe_rows": int(probe.sum()),
        "seed": seed,
        "learner": f"kernel regression with {kernel}, ridge {ridge:g}",
        "kernel": str(kernel),
        "ridge": ridge,
        "axis": "samples",
        "sizes": window,
        "source": dict(source or {}),
    }
    answer = {
        "value": found.value,
        "error": found.error,
        "level": 0.9,
        "curves": [curve.test.tolist() for curve in (found.curve, found.partner) if curve is not None],
        "assumptions": [dict(assumption) for assumption in found.assumptions],
    }
    return question, answer


def fingerprint(data: Dataset) -> str:
    """SHA-256 of inputs, targets and groups, in double precision and in this order of rows."""
    digest = hashlib.sha256()
    for array in (data.x, data.y, data.groups):
        if array is not None:
            named = np.unique(array, return_inverse=True)[1] if array.dtype.kind in "OUS" else array
            digest.update(str(named.shape).encode())
            digest.update(np.ascontiguousarray(named, dtype="<f8").tobytes())
    return digest.hexdigest()
