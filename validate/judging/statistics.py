"""The few statistics the judge needs: critical values, slopes and their errors over seeds.

The one equation: with m comparisons in a whole report and a false-alarm rate q, every one is made at z such that

    P(|t_{R-1}| > z) = q / m        (Student's t for R seeds; Bonferroni over comparisons).
"""

import numpy as np
from scipy.special import stdtrit

FALSE_ALARM_RATE = 0.01


def critical_value(comparisons: int, seeds: int, rate: float = FALSE_ALARM_RATE) -> float:
    """Standard errors by which one of `comparisons` may stray before the whole report's false-alarm rate is spent.

    Infinite for fewer than two seeds: one run says nothing about its scatter.

    >>> round(critical_value(1, 10**6), 3), round(critical_value(1000, 200), 2), critical_value(1, 1)
    (2.576, 4.53, inf)
    """
    if seeds < 2:
        return float("inf")
    return float(-stdtrit(seeds - 1, rate / (2 * comparisons)))


def mean_and_error(values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Mean over the first axis and its standard error, std / sqrt(R); the error of a single value is infinite.

    >>> mean, error = mean_and_error(np.array([[1.0], [3.0]]))
    >>> mean.item(), error.item()
    (2.0, 1.0)
    """
    values = np.asarray(values, float)
    seeds = len(values)
    if seeds < 2:
        return values.mean(0), np.full(values.shape[1:], np.inf)
    return values.mean(0), values.std(0, ddof=1) / np.sqrt(seeds)


def kurtosis(values: np.ndarray) -> np.ndarray:
    """Fourth central moment over the squared second, over the first axis: 3 for a Gaussian; 3 where nothing varies.

    >>> kurtosis(np.array([[1.0, 5.0], [-1.0, 5.0]]))
    array([1., 3.])
    """
    centred = values - values.mean(0)
    second = (centred**2).mean(0)
    return np.where(second > 0, (centred**4).mean(0) / np.where(second > 0, second, 1.0) ** 2, 3.0)


def log_slope(x: np.ndarray, y: np.ndarray, axis: int = -1) -> np.ndarray:
    """Least-squares slope of log y against log x (x of the same shape, or broadcast) along `axis`.

    >>> x = np.geomspace(1, 100, 5)
    >>> round(float(log_slope(x, 3 * x**-1.5)), 12)
    -1.5
    """
    log_x, log_y = np.log(np.broadcast_to(x, np.shape(y))), np.log(y)
    log_x = log_x - log_x.mean(axis, keepdims=True)
    return (log_x * log_y).sum(axis) / (log_x**2).sum(axis)


def local_slopes(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Slopes of log y between successive values of x, along the last axis.

    >>> local_slopes(np.array([1.0, 2.0, 4.0]), np.array([1.0, 2.0, 8.0]))
    array([1., 2.])
    """
    return np.diff(np.log(y), axis=-1) / np.diff(np.log(x))


def jackknife(statistic, values: np.ndarray) -> np.ndarray:
    """Standard error of `statistic(values)` by leaving out one entry of the first axis at a time.

    Efron & Stein 1981. For the mean it is std / sqrt(R) exactly:

    >>> sample = np.array([1.0, 2.0, 4.0])
    >>> bool(np.isclose(jackknife(np.mean, sample), sample.std(ddof=1) / np.sqrt(3)))
    True
    """
    count = len(values)
    if count < 2:
        return np.full(np.shape(statistic(values)), np.inf)
    left_out = np.array([statistic(np.delete(values, index, axis=0)) for index in range(count)])
    return np.sqrt((count - 1) / count * ((left_out - left_out.mean(0)) ** 2).sum(0))
