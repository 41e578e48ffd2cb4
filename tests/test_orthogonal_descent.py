"""Muon on deep linear networks: the solved recursion, and the claim against a trained network."""

import numpy as np
import pytest

from learning_mechanics.solvers.recursion import iterate
from learning_mechanics.theory.errors import BadData, LearningMechanicsError
from learning_mechanics.theory.models.linear_networks.orthogonal_descent import OrthogonalDescent, repulsion
from learning_mechanics.theory.optimizers import sign_modes
from learning_mechanics.theory.optimizers.sign_modes import linear_growth, orthogonal_mode_map


@pytest.mark.short
@pytest.mark.parametrize("depth", [2, 3, 5])
def test_growth_at_one_rate_by_a_loop(depth):
    """Every mode at the same speed whatever its target, then a cycle of two values about it."""
    target, start, rate = np.array([2.3, 0.4, 0.05]), np.array([0.02, 0.02, 0.1]), 0.013
    values = {"u": start, "s": target, "eta": rate}
    path = iterate(orthogonal_mode_map(depth), values, range(150))["u"]
    u, first = start.copy(), np.full(3, -1)
    for step in range(150):
        assert np.abs(path[step] - u).max() < 1e-12
        first = np.where((first < 0) & (u**depth >= target), step, first)
        u = u + rate * np.sign(target - u**depth)
    system = linear_growth(depth)
    steps = system.observables["learning_steps"]
    names = {str(symbol): symbol for symbol in steps.free_symbols}
    for mode in range(3):
        given = {"s": target[mode], "start": start[mode], "eta": rate}
        assert steps.subs({names[name]: value for name, value in given.items()}) == first[mode]
    assert np.abs(np.diff(path[:5], axis=0) - rate).max() < 1e-12


@pytest.mark.instant
def test_a_wrong_solution_is_caught():
    with pytest.raises(LearningMechanicsError, match="after 1 steps"):
        sign_modes._compare(orthogonal_mode_map(2), sign_modes.START, 2)


@pytest.mark.instant
def test_depth_one_has_no_layers_to_balance():
    with pytest.raises(BadData, match="depth 1"):
        OrthogonalDescent(1)


@pytest.mark.short
@pytest.mark.parametrize("depth", [2, 3, 4])
def test_trained_networks_grow_at_one_rate(depth):
    from learning_mechanics.validate.judging.check import check

    verdict = check(OrthogonalDescent(depth), "linear_growth")
    assert verdict.outcome == "holds" and verdict.rival_outcome == "refuted"


@pytest.mark.short
@pytest.mark.parametrize("depth, share", [(2, 0.05), (3, 0.9), (4, 0.02)])
def test_alternations_magnify_what_is_not_aligned(depth, share):
    """One mode and an input without a target, by polar factors in NumPy: a rounding grows as derived, to 2 %."""
    rate, target = 0.002, 0.3
    weights = [np.diag([target ** (1 / depth) - share * rate, 0.0]) for _ in range(depth)]
    weights[0][0, 1] = 1e-12
    sizes = []
    for _ in range(9):
        sizes.append(abs(weights[0][0, 1]))
        residual = np.diag([target, 0.0]) - np.linalg.multi_dot([*weights[::-1], np.eye(2)])
        moves = []
        for layer in range(depth):
            above, below = np.eye(2), np.eye(2)
            for weight in weights[layer + 1 :]:
                above = weight @ above
            for weight in weights[:layer]:
                below = weight @ below
            left, _, right = np.linalg.svd(above.T @ residual @ below.T)
            moves.append(np.outer(left[:, 0], right[0]))  # the gradient has rank one
        weights = [weight + rate * move for weight, move in zip(weights, moves, strict=True)]
    assert np.allclose(np.array(sizes)[4:9:2] / np.array(sizes)[2:7:2], repulsion(depth, share), rtol=0.02)


@pytest.mark.short
def test_long_alternations_of_a_mode_that_repels_are_outside_the_domain():
    from dataclasses import replace

    from learning_mechanics.validate.judging.check import run_claim

    claim = OrthogonalDescent(2).claims()[0]
    long = replace(claim, setup=replace(claim.setup, steps=100, records=101), seeds=1)
    verdict = run_claim(OrthogonalDescent(2), long).verdict
    assert verdict.outcome == "outside_domain" and verdict.numbers["largest"] > 1e-4
