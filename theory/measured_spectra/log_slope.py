"""The slope of a curve on logarithmic axes: minus the exponent of a power law.

log y = slope log x + const,   by least squares.
"""

import numpy as np


def log_slope(x: np.ndarray, y: np.ndarray) -> float:
    """Least-squares slope of log y (T,) against log x (T,), both above 0.

    >>> round(log_slope(np.array([1.0, 2.0, 4.0]), np.array([4.0, 2.0, 1.0])), 12)
    -1.0
    """
    return float(np.polyfit(np.log(x), np.log(y), 1)[0])
