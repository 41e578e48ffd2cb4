"""Inverse Laplace transforms against known pairs, high-precision inversion, powers, and planted errors."""

import mpmath
import numpy as np
import pytest

from learning_mechanics.solvers.scaling.laplace import FEWER, Contour, decay, descent, inverse, talbot

TIMES = np.array([1e-9, 1e-3, 0.5, 1.0, 7.0, 40.0, 1e12])
PAIRS = {
    "exponential": (lambda s: 1 / (s + 1), lambda t: np.exp(-t)),
    "root": (lambda s: 1 / np.sqrt(s), lambda t: 1 / np.sqrt(np.pi * t)),
    "constant": (lambda s: 1 / s, np.ones_like),
    "power": (lambda s: s**-1.7, lambda t: t**0.7 / float(mpmath.gamma(1.7))),
    "heat": (lambda s: np.exp(-np.sqrt(s)), lambda t: np.exp(-1 / (4 * t)) / (2 * np.sqrt(np.pi) * t**1.5)),
}


@pytest.mark.instant
@pytest.mark.parametrize("name", PAIRS)
def test_known_pairs_at_many_times_at_once(name):
    transform, function = PAIRS[name]
    value, error = inverse(transform, TIMES)
    scale = np.maximum(np.abs(function(TIMES)), np.minimum(1.0, 1 / TIMES))  # of a function that vanishes faster
    assert np.abs(value - function(TIMES)).max() <= (2e-12 * scale).max()
    assert (np.abs(value - function(TIMES)) <= error + 1e-13 * scale).all()


@pytest.mark.instant
def test_against_inversion_in_high_precision():
    """A cut with a branch point in its middle, as effective ridges have: sqrt(s (s + 1)) - s."""
    value, _ = inverse(lambda s: np.sqrt(s) * np.sqrt(s + 1) - s - 0.5, np.array([0.3, 2.0, 25.0]))
    with mpmath.workdps(30):
        exact = [
            float(mpmath.invertlaplace(lambda s: mpmath.sqrt(s) * mpmath.sqrt(s + 1) - s - 0.5, t, method="talbot"))
            for t in (0.3, 2.0, 25.0)
        ]
    assert np.abs(value / exact - 1).max() < 1e-11


@pytest.mark.instant
def test_nodes_gain_their_factor():
    """3.89 for a node and for its conjugate (Weideman 2006), on average over seven of them."""
    gaps = [
        np.abs(c.once(1 / np.sqrt(c.nodes)) * np.sqrt(np.pi) - 1)[0] for c in (talbot(np.ones(1), n) for n in (4, 11))
    ]
    assert 3.2 < (gaps[0] / gaps[1]) ** (1 / 14) < 4.6


@pytest.mark.instant
@pytest.mark.parametrize("contour", [talbot(TIMES[1:6]), talbot(TIMES[1:6], FEWER)])
def test_two_frequencies_at_equal_times(contour):
    """exp(-a t) exp(-b t), and a function of the sum of both times: [G(s) - G(s')]/(s' - s) with g(2t)."""
    left, right = contour.nodes[:, :, None], contour.nodes[:, None, :]
    t = TIMES[1:6]
    found = contour.twice(1 / ((left + 0.3) * (right + 2)), 1 / ((left + 0.3) * (right.conj() + 2)))
    assert np.abs(found - np.exp(-2.3 * t)).max() < 1e-10

    def both(first, second):
        return 1 / (np.sqrt(first) * np.sqrt(second) * (np.sqrt(first) + np.sqrt(second)))  # G(s) = 1/sqrt(s)

    found = contour.twice(both(left, right), both(left, right.conj()))
    assert np.abs(found * np.sqrt(2 * np.pi * t) - 1).max() < 1e-9


@pytest.mark.instant
@pytest.mark.parametrize("steps", [1, 2, 3, 15, 16, 17, 60, 1001, 10**7])
@pytest.mark.parametrize("alternating", [False, True])
def test_descent_is_a_power(steps, alternating):
    """(1 - eta x)^k once, and for two modes at once; modes beyond 1/eta need the second lobe."""
    rate = 0.7
    x = np.array([0.0, 1e-6, 0.1, 1.2, *([1.9, 2.8] if alternating else [])])
    contour = descent(np.array([steps]), rate, alternating)
    exact = (1 - rate * x) ** steps
    found = np.array([contour.once(1 / (contour.nodes + one))[0] for one in x])
    assert np.abs(found - exact).max() < 3e-11
    left, right = contour.nodes[:, :, None], contour.nodes[:, None, :]
    pair = contour.twice(1 / ((left + x[2]) * (right + x[-1])), 1 / ((left + x[2]) * (right.conj() + x[-1])))
    assert abs(pair[0] - exact[2] * exact[-1]) < 1e-9
    assert np.abs(decay(x, np.array([[steps * rate]]), rate) - exact).max() < 1e-9


@pytest.mark.instant
def test_planted_errors_are_seen():
    """A time off by 1e-6, a lost conjugate and the missing lobe of alternating modes are all far above rounding."""
    late = talbot(TIMES[2:6] * (1 + 1e-6))
    assert np.abs(late.once(1 / (late.nodes + 1)) - np.exp(-TIMES[2:6])).max() > 1e-8
    whole = talbot(np.ones(1))
    lost = Contour(whole.nodes[:, 1:], whole.weights[:, 1:])
    assert abs(lost.once(1 / (lost.nodes + 1))[0] - np.exp(-1)) > 1e-3
    single = descent(np.array([30]), 1.0)
    assert abs(single.once(1 / (single.nodes + 1.95))[0] - 0.95**30) > 1e-3
