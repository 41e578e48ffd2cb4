"""Two layers from the graph to the Riccati equation: every step against weights that know nothing of it."""

from dataclasses import replace

import numpy as np
import pytest
import sympy as sp
from scipy.integrate import solve_ivp
from test_riccati import balanced, distance, integrated, target

import learning_mechanics as lm
from learning_mechanics.solvers.compile import compile
from learning_mechanics.solvers.riccati import two_layer
from learning_mechanics.theory.derivation.derive import discretised
from learning_mechanics.theory.derivation.lambda_balanced import LambdaBalanced, room
from learning_mechanics.theory.derivation.network_flow import network_flow
from learning_mechanics.theory.derivation.noncommutative import words
from learning_mechanics.theory.derivation.probe import evaluate
from learning_mechanics.theory.derivation.reduce import project
from learning_mechanics.theory.derivation.standard_assumptions import Whitened
from learning_mechanics.theory.derivation.words_closure import stack_matrices
from learning_mechanics.theory.dynamics.linear_networks import stack
from learning_mechanics.theory.dynamics.two_layer import (
    balanced_flow,
    gram_flow,
    linearised_flow,
    matrix_flow,
    modified_gram_flow,
    riccati_flow,
    riccati_matrices,
    stacked_flow,
)
from learning_mechanics.theory.errors import AssumptionViolated, BadData, NoClosedForm
from learning_mechanics.theory.models.linear_networks.two_layer_linear import TwoLayerLinear
from learning_mechanics.theory.system import Flow


def weights(rng, inputs, width, outputs, scale=0.3):
    return scale * rng.standard_normal((width, inputs)), scale * rng.standard_normal((outputs, width))


def moved(flow, arrays, times):
    """Unknowns of a matrix flow {name: (T, *shape)} by DOP853 on the equations as NumPy code."""
    names = [str(unknown) for unknown in flow.unknowns]
    parameters = Flow(flow.unknowns, flow.equations).parameters
    rates = compile(flow.equations, (*flow.unknowns, *parameters), backend="numpy")
    shapes, ends = [arrays[n].shape for n in names], np.cumsum([arrays[n].size for n in names])

    def split(flat):
        return [part.reshape(shape) for part, shape in zip(np.split(flat, ends[:-1]), shapes, strict=True)]

    def field(_, flat):
        return np.concatenate([r.ravel() for r in rates(*split(flat), *(arrays[str(p)] for p in parameters))])

    start = np.concatenate([arrays[n].ravel() for n in names])
    path = solve_ivp(field, (0, times[-1]), start, "DOP853", t_eval=times, rtol=1e-13, atol=1e-18).y.T
    return {name: np.array(series) for name, series in zip(names, zip(*map(split, path), strict=True), strict=True)}


def numbers(expression, arrays, **given):
    """An expression of matrices at arrays by name; sizes are read off the arrays."""
    values = {sp.Symbol(name, real=True): value for name, value in given.items()}
    for matrix in expression.atoms(sp.MatrixSymbol):
        values[matrix] = arrays[matrix.name]
        for size, number in zip(matrix.shape, arrays[matrix.name].shape, strict=True):
            if isinstance(size, sp.Symbol):
                values[size] = number
    return evaluate(expression, values)


# --- any data --------------------------------------------------------------------------------------------------------


@pytest.mark.short
@pytest.mark.parametrize("width", [1, 4, 30])
def test_gram_closure_equals_the_matrix_flow_on_data_that_are_not_white(width):
    rng = np.random.default_rng([8, width])
    W1, W2 = weights(rng, 6, width, 5)
    draw = rng.standard_normal((6, 9))
    Sigma_xx, Sigma_yx = draw @ np.diag(np.arange(1, 10) ** -1.0) @ draw.T / 3, 0.4 * rng.standard_normal((5, 6))
    times = np.linspace(0, 4, 9)
    arrays = {"Sigma_xx": Sigma_xx, "Sigma_yx": Sigma_yx, "P": W1.T @ W1, "R": W2 @ W1, "T": W2 @ W2.T}
    closed = moved(gram_flow(), arrays, times)
    truth = integrated(W1, W2, Sigma_yx, times, Sigma_xx)
    found = np.concatenate(
        [
            np.concatenate([closed["P"], np.swapaxes(closed["R"], 1, 2)], axis=2),
            np.concatenate([closed["R"], closed["T"]], axis=2),
        ],
        axis=1,
    )
    assert distance(found, truth) < 1e-10
    assert distance(integrated(W1, W2, Sigma_yx, times, np.eye(6))[1:], truth[1:]) > 0.1  # whiteness would be seen


@pytest.mark.instant
def test_gram_closure_is_one_block_equation():
    """S' = G S + S G with G = [[0, E'], [E, 0]], written out by hand."""
    rng = np.random.default_rng(9)
    W1, W2 = weights(rng, 4, 3, 2, 1.0)
    arrays = {"Sigma_xx": np.diag([1.0, 2.0, 3.0, 4.0]), "Sigma_yx": rng.standard_normal((2, 4))}
    arrays |= {"P": W1.T @ W1, "R": W2 @ W1, "T": W2 @ W2.T}
    error = arrays["Sigma_yx"] - W2 @ W1 @ arrays["Sigma_xx"]
    S = np.vstack([W1.T, W2]) @ np.hstack([W1, W2.T])
    G = np.block([[np.zeros((4, 4)), error.T], [error, np.zeros((2, 2))]])
    P, R, T = (numbers(equation, arrays) for equation in gram_flow().equations)
    assert np.abs(np.block([[P, R.T], [R, T]]) - (G @ S + S @ G)).max() < 1e-13


@pytest.mark.short
def test_modified_gram_flow_is_descent_to_second_order_on_data_that_are_not_white():
    """Halving the learning rate divides its distance from descent by four; that of the plain flow by two."""
    rng = np.random.default_rng(16)
    W1, W2 = weights(rng, 4, 5, 3)
    arrays = {"Sigma_xx": np.diag([2.0, 1.0, 0.5, 0.2]), "Sigma_yx": rng.standard_normal((3, 4))}
    arrays |= {"P": W1.T @ W1, "R": W2 @ W1, "T": W2 @ W2.T}
    errors = {gram_flow: [], modified_gram_flow: []}
    for eta in (0.02, 0.01):
        first, second = W1, W2
        for _ in range(round(2 / eta)):
            error = arrays["Sigma_yx"] - second @ first @ arrays["Sigma_xx"]
            first, second = first + eta * second.T @ error, second + eta * error @ first.T
        for flow, found in errors.items():
            end = moved(flow(), {**arrays, "eta": eta}, np.array([0.0, 2.0]))["R"][-1]
            found.append(np.abs(end - second @ first).max())
    assert errors[gram_flow][0] / errors[gram_flow][1] == pytest.approx(2, rel=0.05)
    assert errors[modified_gram_flow][0] / errors[modified_gram_flow][1] == pytest.approx(4, rel=0.05)


# --- lambda-balanced weights on white inputs -------------------------------------------------------------------------


@pytest.mark.instant
@pytest.mark.parametrize(("sizes", "imbalance"), [((5, 2, 3), 0.7), ((4, 4, 3), -1.3), ((4, 5, 5), 0.0)])
def test_every_derived_equation_moves_balanced_weights_as_the_network_does(sizes, imbalance):
    rng = np.random.default_rng([10, *sizes])
    inputs, width, outputs = sizes
    W1, W2 = balanced(rng, inputs, width, outputs, 0.8, imbalance)
    correlation = rng.standard_normal((outputs, inputs))
    error = correlation - W2 @ W1
    rates = W2.T @ error, error @ W1.T
    arrays = {"W1": W1, "W2": W2, "Sigma_yx": correlation}
    for equation, rate in zip(balanced_flow().equations, rates, strict=True):
        assert np.abs(numbers(equation, arrays, **{"lambda": imbalance}) - rate).max() < 1e-13
    arrays |= riccati_matrices(arrays, imbalance)
    Q, moved = np.vstack([W1.T, W2]), np.vstack([rates[0].T, rates[1]])
    assert np.abs(numbers(stacked_flow().equations[0], arrays) - moved).max() < 1e-13
    assert np.abs(numbers(riccati_flow().equations[0], arrays) - moved @ Q.T - Q @ moved.T).max() < 1e-12
    observables = riccati_flow().observables
    assert np.abs(numbers(observables["end_to_end"], arrays) - W2 @ W1).max() < 1e-14
    assert np.abs(numbers(observables["input_gram"], arrays) - W1.T @ W1).max() < 1e-14
    assert np.abs(numbers(observables["output_gram"], arrays) - W2 @ W2.T).max() < 1e-14
    # with the wrong imbalance the same equation misses
    wrong = {**arrays, **riccati_matrices(arrays, imbalance + 0.1)}
    assert np.abs(numbers(riccati_flow().equations[0], wrong) - moved @ Q.T - Q @ moved.T).max() > 1e-2


@pytest.mark.instant
def test_balance_is_for_the_flow_of_equal_rates_only():
    flow = matrix_flow()
    with pytest.raises(AssumptionViolated, match="only the flow preserves it"):
        discretised(flow).assume(Whitened(), LambdaBalanced())
    W1, W2 = flow.unknowns
    uneven = Flow(flow.unknowns, (words(flow.equations[0]).scaled(2).matrix(), flow.equations[1]))
    with pytest.raises(AssumptionViolated, match="the flow moves W2'W2 - W1W1'"):
        uneven.assume(LambdaBalanced())
    with pytest.raises(NoClosedForm, match="W1, W2, W3 are not two layers"):
        network_flow(stack(3)).assume(LambdaBalanced())
    assert flow.assume(LambdaBalanced()).unknowns == (W1, W2)  # holds on data that are not white, too


@pytest.mark.instant
def test_balanced_weights_are_the_case_of_no_imbalance():
    flow = matrix_flow().assume(Whitened(), LambdaBalanced(0))
    W1, W2 = flow.unknowns
    stacked, blocks = stack_matrices(flow, (W1.T, W2))
    (F,) = [block for symbol, block in blocks.items() if symbol.name == "F"]
    assert [F.blocks[0, 0].is_ZeroMatrix, F.blocks[1, 1].is_ZeroMatrix, str(F.blocks[1, 0])] == [True, True, "Sigma_yx"]
    assert str(stacked.equations[0]) == str(stacked_flow().equations[0])
    closed = project(flow, {"P": W1.T * W1, "R": W2 * W1, "T": W2 * W2.T})
    assert str(closed.equations[0]) == "-P*P - R.T*R + R.T*Sigma_yx + Sigma_yx.T*R"


@pytest.mark.instant
def test_what_is_not_one_law_is_not_stacked():
    A, B, C, M = lm.matrices(A=("d", "h"), B=("o", "h"), C=("h", "h"), M=("o", "d"))
    cubes = (-A * A.T * A - A * B.T * B, -B * A.T * A - B * B.T * B)
    turned, blocks = stack_matrices(Flow((A, B), (cubes[0] - M.T * B, cubes[1] + M * A)), (A, B))
    Q, F = blocks
    assert F.T != F and (words(turned.equations[0]) - words(F * Q - Q * Q.T * Q)).is_zero
    with pytest.raises(NoClosedForm, match="the cubes come"):
        stack_matrices(Flow((A, B), (cubes[0], M * A)), (A, B))
    with pytest.raises(NoClosedForm, match=r"A\*C is neither linear nor a cube"):
        stack_matrices(Flow((A, B), (cubes[0] + A * C, cubes[1])), (A, B))
    flow = matrix_flow().assume(LambdaBalanced())
    with pytest.raises(NoClosedForm):  # inputs that are not white
        stack_matrices(flow, (flow.unknowns[0].T, flow.unknowns[1]))


@pytest.mark.instant
def test_distance_is_the_imbalance_left_over_against_the_fastest_rate():
    rng = np.random.default_rng(11)
    W1, W2 = balanced(rng, 6, 3, 5, 0.4, 0.5)
    arrays = {"W1": W1, "W2": W2, "Sigma_yx": target(rng, 5, 6, [2.0, 1.0]), "lambda": 0.5}
    assert LambdaBalanced().distance(arrays) < 1e-15
    assert LambdaBalanced(0).distance(arrays) == pytest.approx(0.25)
    spoilt = {**arrays, "W2": W2 * np.sqrt(1.01)}
    gap = 0.01 * np.linalg.norm(W2, 2) ** 2 / np.hypot(2, 0.25)
    assert LambdaBalanced().distance(spoilt) == pytest.approx(gap)
    without = {name: array for name, array in arrays.items() if name != "lambda"}
    assert LambdaBalanced().distance(without) < 1e-15  # the mean imbalance is taken
    for sizes in ((5, 4, 3, 1.0), (3, 4, 5, -1.0)):
        with pytest.raises(BadData, match="needs a width of at most 3"):
            room(*sizes)
    wide = {"W1": np.zeros((4, 5)), "W2": np.eye(3, 4), "Sigma_yx": np.eye(3, 5)}  # the closest there is, still far
    assert LambdaBalanced(1.0).distance(wide) == pytest.approx(1 / np.hypot(1, 0.5))


# --- the solution ----------------------------------------------------------------------------------------------------


@pytest.mark.instant
def test_one_mode_is_the_closed_form_of_two_unbalanced_scalars():
    """a b = (delta / 2) sinh(theta), y = e^theta: (y - y+)/(y - y-) decays at the rate (4 s^2 + delta^2)^(1/2)."""
    a, b, s = 0.3, 1.1, 2.0
    delta, times = b**2 - a**2, np.linspace(0, 5, 11)
    root, y = np.sqrt(4 * s**2 + delta**2), np.exp(np.arcsinh(2 * a * b / delta))
    plus, minus = (2 * s + root) / delta, (2 * s - root) / delta
    ratio = (y - plus) / (y - minus) * np.exp(-root * times)
    theta = np.log((plus - ratio * minus) / (1 - ratio))
    path = two_layer([[a]], [[b]], [[s]], times, imbalance=delta)
    assert np.abs(path.end_to_end[:, 0, 0] - delta / 2 * np.sinh(theta)).max() < 1e-13


@pytest.mark.instant
def test_linearised_flow_integrates_to_the_solution():
    rng = np.random.default_rng(12)
    W1, W2 = balanced(rng, 4, 2, 3, 0.3, 0.6)
    correlation, times = rng.standard_normal((3, 4)), np.linspace(0, 2, 5)
    arrays = riccati_matrices({"W1": W1, "W2": W2, "Sigma_yx": correlation}, 0.6)
    linear = moved(linearised_flow(), {"F": arrays["F"], "X": arrays["Q"], "M": np.eye(2)}, times)
    S = linear["X"] @ np.linalg.inv(linear["M"]) @ np.swapaxes(linear["X"], 1, 2)
    path = two_layer(W1, W2, correlation, times, 0.6)
    assert distance(np.swapaxes(path.Z, 1, 2) @ path.Z, S) < 1e-11


@pytest.mark.short
def test_small_weights_need_no_balance():
    """What is left of the imbalance enters as |D| t: halving the weights divides the error by four."""
    rng = np.random.default_rng(13)
    W1, W2 = weights(rng, 8, 20, 6, 1.0)
    correlation, times = target(rng, 6, 8, [1.0, 0.9, 0.5]), np.linspace(0, 16, 33)
    errors = []
    for scale in (4e-3, 2e-3):
        first, second = scale * W1, scale * W2
        truth = integrated(first, second, correlation, times)[:, 8:, :8]
        found = two_layer(first, second, correlation, times).end_to_end
        errors.append(np.abs(found - truth).max())
        D = np.linalg.norm(second.T @ second - first @ first.T, 2)
        assert errors[-1] < D * times[-1]
    assert errors[0] / errors[1] == pytest.approx(4, rel=0.2)


@pytest.mark.instant
def test_the_trail_says_why_every_step_may_be_trusted():
    trail = linearised_flow().trail
    assert [step.assumption for step in trail.steps if step.assumption] == ["whitened", "lambda-balanced"]
    assert all(step.check for step in trail.steps[2:])
    assert {step.residual for step in trail.steps if "word by word" in step.check} == {0.0}
    cited = " ".join(trail.references)
    for name in ("Fukumizu 1998", "Braun, Domine", "arXiv:2409.14623", "Reid 1972"):
        assert name in cited


# --- the model -------------------------------------------------------------------------------------------------------


@pytest.mark.instant
def test_model_shows_the_whole_way():
    titles = list(TwoLayerLinear().derivations())
    assert titles[0] == "the two weight matrices" and titles[-1] == "its solution"
    assert TwoLayerLinear().derive() is riccati_flow()
    with pytest.raises(BadData, match="imbalance nan"):
        TwoLayerLinear(imbalance=float("nan"))


@pytest.mark.short
def test_observables_of_the_model_are_what_the_solution_says_at_the_start_and_after():
    from learning_mechanics.solvers.predict import solve
    from learning_mechanics.validate.experiments.train import train
    from learning_mechanics.validate.inputs.data import load

    claims = TwoLayerLinear(imbalance=-0.4)
    kernel, rise = claims.claim("tangent_kernel"), claims.claim("half_rise")
    instance = kernel.setup.at(time=0.1).draw(3, load(kernel.setup.data))
    law, measured = solve(kernel.law, instance).values, train(instance, ["tangent_kernel"])["tangent_kernel"]
    assert np.abs(law[0] - measured[0]).max() < 1e-12 * np.abs(law).max()
    quick = rise.setup.at(width=12, scale=0.05, learning_rate=0.05, time=30.0)
    instance = quick.draw(3, load(quick.data))
    strengths = train(instance, ["mode_strength", "half_rise"])
    found = rise.law.collect(instance, strengths["mode_strength"])
    assert np.abs(found - strengths["half_rise"]).max() < 1e-9 and (found[-1] > 0).all() and not found[0].any()


@pytest.mark.short
@pytest.mark.parametrize("scale", [0.1, 30.0])
def test_claims_hold_on_data_of_any_scale(scale):
    """Rates and times count in units of the edge of stability: the claim is the same whatever the targets' units.

    Well separated modes hardly mix, so the rival may fit as well and the verdict be underpowered, never refuted.
    """
    rng = np.random.default_rng(0)
    x = rng.standard_normal((300, 7)) @ np.diag([3, 2, 1, 1, 1, 0.5, 0.3])
    y = scale * (x @ rng.standard_normal((7, 4)) + 0.3 * rng.standard_normal((300, 4)))
    start = 1e-2 * scale**0.5  # products of weights are as large as the targets
    claim = lm.TwoLayerLinear().claim("half_rise")
    claim = replace(claim, setup=claim.setup.at(scale=start), seeds=1)
    verdict = lm.check(lm.TwoLayerLinear().on(x, y), claim)
    assert abs(verdict.bias) < 5e-3 and verdict.outcome in ("holds", "underpowered"), verdict
