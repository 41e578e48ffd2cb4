"""Times, widths, plateaus and ranks of saddle-to-saddle learning, against integration and arithmetic."""

import numpy as np
import pytest
import sympy as sp
from scipy.integrate import quad

from learning_mechanics.solvers.compile import compile
from learning_mechanics.solvers.recursion import iterate
from learning_mechanics.theory.closed_forms.closed_form import closed_form
from learning_mechanics.theory.dynamics.linear_networks import mode_flow
from learning_mechanics.theory.dynamics.saddles import (
    jump_width,
    plateau_losses,
    plateau_over_jump,
    ranked_mode_map,
    rise_after_waiting,
    rise_time,
    waiting_time,
)
from learning_mechanics.theory.errors import BadData
from learning_mechanics.theory.models.linear_networks.saddle_to_saddle import SaddleToSaddle
from learning_mechanics.theory.symbols import positive
from learning_mechanics.validate.observables.measure import find

pytestmark = pytest.mark.short


def named(expression, **values):
    """An expression at symbols given by name."""
    return float(sp.N(expression.subs({q: values[q.name] for q in expression.free_symbols}), 20))


def travelled(depth, low, high, target):
    """Time from one strength to another: the integral of da / (L a^(2-2/L) (s - a)), in log a."""
    speed = lambda y: depth * np.exp((1 - 2 / depth) * y) * (target - np.exp(y))  # noqa: E731
    return quad(lambda y: 1 / speed(y), np.log(low), np.log(high), epsabs=0, epsrel=1e-12, limit=400)[0]


@pytest.mark.parametrize("depth", [2, 3, 4, 5])
def test_half_rise_and_jump_width(depth):
    for target, share in ((0.7, 1e-2), (1.7, 1e-4)):
        want = travelled(depth, share * target, target / 2, target)
        system = rise_time(depth)
        assert abs(named(positive("T") - system.equations[0], s=target, x_0=share) / want - 1) < 1e-10
        for corrected in (False, True):
            quick = closed_form(rise_time(depth, corrected)).evaluate(s=target, x_0=share, eta=0.0)
            assert abs(quick / want - 1) < 1e-10
        width = travelled(depth, 0.1 * target, 0.9 * target, target)
        assert abs(named(jump_width(depth), s=target) / width - 1) < 1e-10


def test_published_widths_and_offsets():
    """ln 81 / (2 s) at two layers; at s = 1.7 the rise minus the wait is -0.419 and -0.120 at depths 3 and 4."""
    assert abs(named(jump_width(2), s=1.3) - np.log(81) / 2.6) < 1e-14
    for depth, offset in ((3, -0.419), (4, -0.120)):
        assert abs(named(rise_after_waiting(depth), s=1.7) - offset) < 6e-4
    for depth in (2, 3, 5):
        share = 1e-9
        half = named(positive("T") - rise_time(depth).equations[0], s=1.7, x_0=share)
        wait = named(waiting_time(depth), s=1.7, a_0=1.7 * share)
        tolerance = 1e-6 if depth == 2 else 2e-2 * share ** (1 / depth) * 1e2
        assert abs(half - wait - named(rise_after_waiting(depth), s=1.7)) < tolerance


def test_depth_makes_plateaus_long():
    """Plateau over jump: halving log a0 adds at two layers, dividing a0 by a thousand multiplies by ten at three."""
    two, three = plateau_over_jump(2), plateau_over_jump(3)
    assert abs(named(two, a_0=1e-8) / named(two, a_0=1e-4) - 2) < 1e-12
    assert abs(named(three, s=1.0, a_0=1e-9) / named(three, s=1.0, a_0=1e-6) - 10) < 1e-10


def test_plateaus_of_a_run():
    """Midway between half-rise times the loss is the plateau loss, and the rank is that of what has been learned."""
    targets, start = np.array([1.0, 0.5, 0.2]), 1e-12
    form = closed_form(mode_flow(3))
    rises = [named(positive("T") - rise_time(3).equations[0], s=t, x_0=start / t) for t in targets]
    middles = np.array([rises[0] / 2, (rises[0] + rises[1]) / 2, (rises[1] + rises[2]) / 2, 3 * rises[2]])
    strengths = form.evaluate(middles, a=start, s=targets)
    assert np.allclose(((targets - strengths) ** 2).sum(1) / 2, plateau_losses(targets), atol=1e-6)
    ranks = strengths[1:].sum(1) ** 2 / (strengths[1:] ** 2).sum(1)
    learned = np.array([targets[:m].sum() ** 2 / (targets[:m] ** 2).sum() for m in (1, 2, 3)])
    assert np.allclose(ranks, learned, rtol=1e-3)


def test_effective_ranks_by_hand():
    """Equal modes count as many as there are; along the recursion both ranks equal their definitions."""
    system = ranked_mode_map(3)
    (u,) = system.unknowns
    read = compile([system.observables[n] for n in ("participation_ratio", "entropy_rank")], [u], backend="numpy")
    assert np.allclose(np.ravel(read(np.full(5, 0.3))), 5)
    layers = iterate(system, {"u": np.full(3, 0.2), "s": np.array([1.0, 0.6, 0.1]), "eta": 0.1}, np.array([0, 90]))["u"]
    strengths = layers[-1] ** 3
    share = strengths / strengths.sum()
    got = np.ravel(read(layers[-1]))
    assert np.allclose(got, [strengths.sum() ** 2 / (strengths**2).sum(), np.exp(-(share * np.log(share)).sum())])
    assert find("participation_ratio").name == "participation_ratio"


def test_refusals():
    with pytest.raises(BadData, match="from 3"):
        SaddleToSaddle(depth=2)
