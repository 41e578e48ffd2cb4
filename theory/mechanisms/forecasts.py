"""Mechanisms behind power laws, one door: what each forecasts, and whether it applies.

    lm.mechanisms.zipf(words, (300, 3000))    ->   rows for a table, one an axis

Every function returns `MechanismForecast` rows; a mechanism that does not apply says which measured number excludes it.
What kernels forecast for the same data stands beside them in `lm.side_by_side`.

>>> import numpy as np
>>> zipf(np.random.default_rng(0).zipf(2.0, 4000), (30, 1000))[0].formula
'(a - 1)/a'
"""

from .forecast import AXES, MechanismForecast
from .grammar import RandomHierarchy
from .quanta import forecast as quanta
from .random_hierarchy import forecast as random_hierarchy
from .resolution import forecast as resolution
from .token_correlations import forecast as token_correlations
from .token_frequencies import Frequencies, frequencies
from .zipf import forecast as zipf

__all__ = [
    "AXES",
    "Frequencies",
    "MechanismForecast",
    "RandomHierarchy",
    "frequencies",
    "quanta",
    "random_hierarchy",
    "resolution",
    "token_correlations",
    "zipf",
]
