"""Reductions against brute force: the closed equations must move the new variables as the full system does."""

import numpy as np
import pytest
import sympy as sp
from test_derive import SKIP, deep, instance, numbers

import learning_mechanics as lm
from learning_mechanics.theory.derivation.derive import discretised, network_flow, network_map
from learning_mechanics.theory.derivation.noncommutative import symmetric, words
from learning_mechanics.theory.derivation.reduce import change_variables, project, restrict
from learning_mechanics.theory.errors import AssumptionViolated, NoClosedForm
from learning_mechanics.theory.system import FixedPoint, Flow, Map


def gram(system):
    W1, W2 = system.unknowns
    return project(system, {"P": W1.T * W1, "R": W2 * W1, "T": W2 * W2.T})


@pytest.mark.short
def test_gram_recursion_is_gradient_descent_for_data_that_are_not_white():
    weights, x, y, moments = instance(deep(2), seed=1)
    eta, W1, W2 = 0.01, 0.3 * weights["W1"], 0.3 * weights["W2"]
    closed = gram(network_map(deep(2)))
    assert [type(u).__name__ for u in closed.unknowns] == ["SymmetricMatrix", "MatrixSymbol", "SymmetricMatrix"]
    blocks = {"P": W1.T @ W1, "R": W2 @ W1, "T": W2 @ W2.T}
    S = np.concatenate([W1.T, W2]) @ np.concatenate([W1, W2.T], axis=1)  # the same, as one block matrix
    d = W1.shape[1]
    for _ in range(50):
        arrays = {**blocks, **moments, "eta": eta}
        blocks = {str(u): numbers(e, arrays) for u, e in zip(closed.unknowns, closed.equations, strict=True)}
        error = moments["Sigma_yx"] - W2 @ W1 @ moments["Sigma_xx"]
        E = moments["Sigma_yx"] - S[d:, :d] @ moments["Sigma_xx"]
        G = np.block([[np.zeros((d, d)), E.T], [E, np.zeros((len(E), len(E)))]])
        S = (np.eye(len(G)) + eta * G) @ S @ (np.eye(len(G)) + eta * G)
        W1, W2 = W1 + eta * W2.T @ error, W2 + eta * error @ W1.T
    truth = {"P": W1.T @ W1, "R": W2 @ W1, "T": W2 @ W2.T}
    for name, block in truth.items():
        assert np.abs(blocks[name] - block).max() < 1e-13 * max(1, np.abs(block).max())
    assert np.abs(S - np.block([[blocks["P"], blocks["R"].T], [blocks["R"], blocks["T"]]])).max() < 1e-12
    loss = 0.5 * ((y - x @ W1.T @ W2.T) ** 2).sum() / len(x)
    assert numbers(closed.observables["loss"], {**blocks, **moments}) == pytest.approx(loss, rel=1e-12)


@pytest.mark.instant
def test_gram_flow_reads_well():
    closed = gram(network_flow(deep(2)))
    E = "(-R*Sigma_xx + Sigma_yx)"
    assert str(closed.equations[1]) == f"{E}*P + T*{E}"
    assert str(closed.observables["end_to_end"]) == "R"
    assert "random point" in closed.trail.steps[-1].check
    assert not {"W1", "W2"} & {str(p) for p in closed.parameters}


@pytest.mark.instant
def test_projections_that_do_not_close_name_what_is_left():
    flow = network_flow(deep(2))
    W1, W2 = flow.unknowns
    with pytest.raises(NoClosedForm, match=r"R' holds .*W1.T\*W1, which"):
        project(flow, {"R": W2 * W1})
    three = network_flow(deep(3))
    V1, V2, V3 = three.unknowns
    with pytest.raises(NoClosedForm):  # only two layers close on their Gram matrices
        project(three, {"R": V3 * V2 * V1, "P": V1.T * V1, "T": V3 * V3.T})
    with pytest.raises(NoClosedForm, match="is a sum"):
        project(flow, {"Q": W1.T * W1 + W1.T * W2.T * W2 * W1})


@pytest.mark.short
def test_a_skip_connection_closes_on_its_own_gram_matrices():
    flow = network_flow(SKIP)
    W1, W2, A = flow.unknowns
    closed = project(flow, {"P": W1.T * W1, "R": W2 * W1, "T": W2 * W2.T, "A": A})
    weights, _, _, moments = instance(SKIP, seed=4)
    rates = {str(u): numbers(e, {**weights, **moments}) for u, e in zip(flow.unknowns, flow.equations, strict=True)}
    w1, w2 = weights["W1"], weights["W2"]
    arrays = {"P": w1.T @ w1, "R": w2 @ w1, "T": w2 @ w2.T, "A": weights["A"], **moments}
    truth = rates["W2"] @ w1 + w2 @ rates["W1"]
    found = numbers(dict(zip(map(str, closed.unknowns), closed.equations, strict=True))["R"], arrays)
    assert np.abs(found - truth).max() < 1e-12 * np.abs(truth).max()


@pytest.mark.instant
def test_scalar_projection():
    a, b, s, z, n = lm.scalars("a b s z n")
    flow = lm.gradient_flow((s - a * b) ** 2 / 2, on=(a, b))
    closed = project(flow, {z: a * b, n: a**2 + b**2})
    assert [sp.expand(e) for e in closed.equations] == [sp.expand(n * (s - z)), sp.expand(4 * z * (s - z))]
    assert sp.expand(closed.observables["loss"] - (s - z) ** 2 / 2) == 0
    eta = sp.Symbol("eta", positive=True)
    steps = project(discretised(flow), {z: a * b, n: a**2 + b**2})
    assert sp.expand(steps.equations[0] - (z + eta * n * (s - z) + eta**2 * z * (s - z) ** 2)) == 0
    with pytest.raises(NoClosedForm, match=r"z' = .* still holds a, b"):
        project(flow, {z: a * b})
    with pytest.raises(NoClosedForm, match="not polynomial"):
        project(flow, {z: sp.exp(a)})


@pytest.mark.instant
def test_matrix_ansatz_needs_its_symmetry():
    W1, W2, M = lm.matrices(W1=("r", "n"), W2=("n", "r"), M=("n", "n"))
    S = symmetric("S", "n")

    def loss(target):
        return sp.Trace((target - W2 * W1).T * (target - W2 * W1)) / 2

    tied = restrict(lm.gradient_flow(loss(S), on=(W1, W2)), {W2: W1.T})
    assert tied.unknowns == (W1,)
    expected = words(W1 * S - W1 * W1.T * W1)
    assert (words(tied.equations[0]).expanded() - expected).is_zero
    assert tied.eliminated[W2] == W1.T
    with pytest.raises(AssumptionViolated, match="leaves W2 = W1.T"):
        restrict(lm.gradient_flow(loss(M), on=(W1, W2)), {W2: W1.T})


@pytest.mark.instant
def test_change_of_variables():
    u, s = lm.positive("u s")
    flow = Flow((u,), (u * (s - u**2),), observables={"energy": u**4})
    moved = change_variables(flow, {"y": sp.log(u)})
    (y,) = moved.unknowns
    assert sp.simplify(moved.equations[0] - (s - sp.exp(2 * y))) == 0
    assert sp.simplify(moved.observables["energy"] - sp.exp(4 * y)) == 0
    step = change_variables(Map((u,), (2 * u,)), {"y": u**2})
    assert step.equations[0] == 4 * step.unknowns[0]
    with pytest.raises(NoClosedForm):
        change_variables(flow, {"y": u**3 - 3 * u})  # two positive inverses


@pytest.mark.instant
def test_restriction_keeps_what_it_removes():
    a, b, s, u, v = lm.scalars("a b s u v")
    flow = lm.gradient_flow((s - a * b) ** 2 / 2, on=(a, b))
    turned = restrict(flow, {a: u + v, b: u - v})  # two for two: a change of basis, always tangent
    assert sp.expand(turned.equations[0] - u * (s - u**2 + v**2)) == 0
    assert sp.expand(turned.equations[1] + v * (s - u**2 + v**2)) == 0
    assert dict(turned.eliminated) == {a: u + v, b: u - v}
    assert turned.observe(first=a).observables["first"] == u + v
    steps = restrict(discretised(flow), {a: u + v, b: u - v})
    eta = sp.Symbol("eta", positive=True)
    assert sp.expand(steps.equations[0] - u - eta * u * (s - u**2 + v**2)) == 0


@pytest.mark.instant
def test_fixed_points_are_declined():
    u, s = lm.positive("u s")
    for verb in (restrict, project, change_variables):
        with pytest.raises(NoClosedForm, match="not a fixed point"):
            verb(FixedPoint((u,), (u - s,)), {u: s})


@pytest.mark.instant
def test_a_planted_error_in_a_projection_is_caught(monkeypatch):
    from learning_mechanics.theory.derivation import words_closure

    honest = words_closure._Cover.rewrite
    monkeypatch.setattr(words_closure._Cover, "rewrite", lambda *a: sp.Rational(10**6 + 1, 10**6) * honest(*a))
    with pytest.raises(AssumptionViolated, match="closed equations miss the full ones"):
        gram(network_map(deep(2)))


@pytest.mark.instant
def test_parameters_may_be_fixed():
    a, b, s = lm.scalars("a b s")
    flow = restrict(lm.gradient_flow((s - a * b) ** 2 / 2, on=(a, b)), {s: 1})
    assert flow.parameters == () and sp.expand(flow.equations[0] - b * (1 - a * b)) == 0
