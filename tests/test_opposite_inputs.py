"""Nearly opposite inputs: what is left of the angle passes through even and odd layers without losing digits."""

import mpmath as mp
import numpy as np
import pytest

from learning_mechanics.theory.architecture.constructors import activation, dense, serial, sum_of
from learning_mechanics.theory.infinite_width import directions
from learning_mechanics.theory.infinite_width.network_kernel import infinite_width


@pytest.mark.instant
@pytest.mark.parametrize("second", ["relu", "abs"])
@pytest.mark.parametrize("first", ["cos", "erf"])
def test_even_and_odd_layers_hand_on_nearly_opposite_inputs(first, second):
    """A kink after an even or odd layer sees the angle that is left, against the formulas in 60 digits.

    The bar is 1e-12: lengths that differ by 1e-3 leave the gap an absolute 1e-16, the angle of 1e-3 one of 1e-13.
    """
    rng = np.random.default_rng(20)
    x = rng.normal(size=(2, 5))
    net = serial(dense(), activation(first), dense(1.3), activation(second), dense())
    for apart in (0.0, 1e-7, 1e-5, 1e-3):
        y = -x[:1] + apart * x[1:]
        found = infinite_width(net)(x[:1], y)
        with mp.workdps(60):
            p, q = ([mp.mpf(float(e)) for e in row] for row in (x[0], y[0]))
            a, b, c = (mp.fsum(s * r for s, r in zip(u, v, strict=True)) / 5 for u, v in ((p, p), (q, q), (p, q)))
            if first == "cos":
                values = [mp.exp(-(s + t) / 2) * mp.cosh(r) for s, t, r in ((a, a, a), (b, b, b), (a, b, c))]
                slope = mp.exp(-(a + b) / 2) * mp.sinh(c)
            else:
                roots = [mp.sqrt((1 + 2 * s) * (1 + 2 * t)) for s, t in ((a, a), (b, b), (a, b))]
                values = [2 / mp.pi * mp.asin(2 * r / root) for r, root in zip((a, b, c), roots, strict=True)]
                slope = 4 / mp.pi / mp.sqrt(roots[2] ** 2 - 4 * c * c)
            w = mp.mpf("1.69")
            size, inner = w * mp.sqrt(values[0] * values[1]), w * values[2]
            tangent = inner + w * c * slope
            theta = mp.acos(max(min(inner / size, mp.mpf(1)), mp.mpf(-1)))
            rectified = size * (mp.sin(theta) + (mp.pi - theta) * mp.cos(theta)) / (2 * mp.pi)
            steep = (mp.pi - theta) / (2 * mp.pi)
            if second == "abs":
                rectified, steep = 4 * rectified - inner, 4 * steep - 1
            scale = float(size)
            assert found.nngp[0, 0] == pytest.approx(float(rectified), abs=2e-15 * scale)
            assert found.ntk[0, 0] == pytest.approx(float(rectified + tangent * steep), abs=1e-12 * scale)


@pytest.mark.instant
def test_parity_of_formulas():
    """Functions without a formula count as neither even nor odd."""
    even, odd = ("abs", "cos", "gaussian", "square", "hermite(4)"), ("erf", "sin", "tanh", "identity", "hermite(3)")
    for names, sign in ((even, 1), (odd, -1), (("relu", "gelu", "exp", "normal_cdf", "polynomial(0,1,1)"), 0)):
        assert all(directions.parity(name) == sign for name in names)
    assert directions.parity(np.abs) == 0


@pytest.mark.instant
def test_the_comparison_would_notice_cosines(monkeypatch):
    """Without parities 2 - gap is what a float of the gap holds, and an angle of 1e-7 is off by 1e-10 and more."""
    x = np.array([[1.0, 0.0]])
    y = -np.array([[np.cos(1e-7), np.sin(1e-7)]])
    net = serial(dense(), activation("erf"), dense(), activation("abs"), dense(), activation("relu"), dense())
    right = infinite_width(net)(x, y).ntk[0, 0]
    monkeypatch.setattr(directions, "parity", lambda activation: 0)
    assert abs(infinite_width(net)(x, y).ntk[0, 0] - right) > 1e-10


@pytest.mark.instant
def test_means_of_opposite_sign():
    """relu - gaussian has a mean below 0 for short inputs and above 0 for long ones: E relu + E gaussian by hand."""
    x = np.array([[0.3, 0.1], [4.0, 2.0]])
    branches = [serial(dense(), activation(name)) for name in ("relu", "gaussian")]
    found = infinite_width(serial(dense(), sum_of(*branches, coefficients=(1.0, -1.0)), dense()))(x).nngp[0, 1]
    a, b, c = x[0] @ x[0] / 2, x[1] @ x[1] / 2, x[0] @ x[1] / 2
    theta = np.arccos(c / np.sqrt(a * b))
    rectified = np.sqrt(a * b) * (np.sin(theta) + (np.pi - theta) * np.cos(theta)) / (2 * np.pi)
    bell = 1 / np.sqrt((1 + 2 * a) * (1 + 2 * b) - 4 * c * c)
    means = [(np.sqrt(v / (2 * np.pi)), 1 / np.sqrt(1 + 2 * v)) for v in (a, b)]
    assert (means[0][0] - means[0][1]) * (means[1][0] - means[1][1]) < 0
    crossed = means[0][0] * means[1][1] + means[0][1] * means[1][0]
    assert found == pytest.approx(rectified + bell - crossed, rel=1e-12)
