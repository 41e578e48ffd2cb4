"""Word embeddings against routes of their own: automatic derivatives, Eckart and Young, SciPy, planted errors."""

from dataclasses import replace

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.stats

from learning_mechanics.solvers.ode import integrate
from learning_mechanics.solvers.predict import solve
from learning_mechanics.theory.claims import Law
from learning_mechanics.theory.closed_forms.closed_form import closed_form
from learning_mechanics.theory.dataset import Dataset
from learning_mechanics.theory.dynamics.products.word_embedding import (
    EQUAL_WEIGHTS,
    ONE_HOT,
    learned_strength,
    pair_target,
    strength_flow,
    strength_map,
    strength_root_flow,
    target,
    tied,
    untied_map,
)
from learning_mechanics.theory.errors import BadData
from learning_mechanics.theory.models.products import word_embedding
from learning_mechanics.theory.models.products.word_embedding import WordEmbedding
from learning_mechanics.theory.setup import Initialisation, Optimizer, Setup
from learning_mechanics.theory.singular_modes import MODES, crossed, eigenmodes, rank_correlation
from learning_mechanics.validate.experiments.train import train
from learning_mechanics.validate.inputs.data import load
from learning_mechanics.validate.judging.check import check, run_claim

RNG = np.random.default_rng(5)


def _symmetric(values):
    basis = np.linalg.qr(RNG.standard_normal((len(values), len(values))))[0]
    return (basis * values) @ basis.T, basis


@pytest.mark.instant
def test_the_pair_target_is_one_newton_step_of_the_logistic_loss():
    """To second order around z = 0 the minimum is -loss'(0) / loss''(0), and the third derivative vanishes."""
    for p, n in ((0.3, 0.1), (0.02, 0.5), (1.0, 1.0)):
        with jax.enable_x64(True):

            def loss(z, p=p, n=n):
                return -p * jax.nn.log_sigmoid(z) - n * jax.nn.log_sigmoid(-z)

            derivatives, orders = [loss], []
            for _ in range(3):
                derivatives.append(jax.grad(derivatives[-1]))
                orders.append(float(derivatives[-1](0.0)))
        first, second, third = orders
        assert target(np.array([[p]]), np.array([[n]]))[0, 0] == pytest.approx(-first / second, abs=1e-12)
        assert second == pytest.approx((p + n) / 4) and abs(third) < 1e-14


@pytest.mark.short
def test_the_derived_target_is_the_relative_deviation_of_the_corpus():
    words = load("help_topics")
    assert np.abs(target(words.arrays["positive"], words.arrays["negative"]) - words.y).max() < 1e-12


@pytest.mark.short
def test_growth_equals_the_automatic_gradient_of_the_tied_loss():
    G, values = 0.7, np.array([2.0, 1.0, 0.5, -1.0, -0.3, 0.0])
    M, basis = _symmetric(values)
    u = np.array([0.3, 0.8, 0.1, 0.4, 0.2, 0.6])
    with jax.enable_x64(True):
        W = jnp.asarray((basis * u).T)
        moved = -jax.grad(lambda W: G / 8 * jnp.sum((W.T @ W - M) ** 2))(W)
        rates = np.diag(np.asarray(moved) @ basis)
    system = strength_root_flow()
    expected = [
        float(system.equations[0].subs({"u": a, "mu": mu, "G": G}, simultaneous=True).subs(_named(system, a, mu, G)))
        for a, mu in zip(u, values, strict=True)
    ]
    assert np.abs(rates - expected).max() < 1e-12


def _named(system, u, mu, G):
    given = {"u": u, "mu": mu, "G": G}
    return {symbol: given[symbol.name] for symbol in (*system.unknowns, *system.parameters) if symbol.name in given}


@pytest.mark.short
def test_strength_is_logistic_and_half_as_fast_when_untied():
    """sigma^2(t) of Karkada et al. 2025, with their G for the pace; separate matrices halve it."""
    mu, start, G = np.array([3.0, 1.0]), np.array([1e-3, 1e-2]), 0.8
    times = np.linspace(0, 20, 41)
    grown = np.exp(G * mu * times[:, None])
    published = mu * start * grown / (mu + start * (grown - 1))
    found = closed_form(strength_flow()).evaluate(times, a=start, mu=mu, G=G)
    assert np.abs(found - published).max() < 1e-12
    flow = integrate(strength_flow(), {"a": start, "mu": mu, "G": G}, times)["a"]
    assert np.abs(flow - published).max() < 1e-9
    (tied_step,), (untied_step,) = strength_map().equations, untied_map().equations
    names = {"u": 0.2, "mu": 1.5, "G": 1.0, "eta": 0.1}
    moves = [float(e.subs({s: names[s.name] for s in e.free_symbols})) - 0.2 for e in (tied_step, untied_step)]
    assert moves[0] == pytest.approx(2 * moves[1], rel=1e-12)


@pytest.mark.short
def test_training_ends_at_the_best_positive_matrix_of_its_rank():
    """Eckart and Young: W'W is M without its negative part, cut at the dimension; the law says so mode by mode."""
    values = np.array([5.0, 3.0, 2.0, 1.0, -2.0, -4.0])
    M, basis = _symmetric(values)
    setup = Setup(
        network=tied(),
        axes={"dimension": 3},
        optimizer=Optimizer(learning_rate=0.01),
        initialisation=Initialisation(scale=0.1),
        loss="summed_squared",
        steps=3000,
        records=2,
    )
    recorded = train(setup.draw(0, Dataset(np.eye(6), M)), ["outputs"])["outputs"][-1].reshape(6, 6)
    best = (basis[:, :3] * values[:3]) @ basis[:, :3].T
    assert np.abs(recorded - best).max() < 1e-10
    (end,) = learned_strength().equations
    (a,) = learned_strength().unknowns
    (mu,) = [symbol for symbol in end.free_symbols if symbol.name == "mu"]
    assert [float((a - end).subs(mu, value)) for value in (5.0, -2.0)] == [5.0, 0.0]


@pytest.mark.short
def test_learned_steps_are_read_off_as_scipy_and_the_law_read_them():
    rng = np.random.default_rng(1)
    for row in (rng.permutation(20).astype(float), rng.integers(0, 4, 20).astype(float)):
        expected = scipy.stats.spearmanr(row, np.arange(20)).statistic
        assert float(rank_correlation(row)) == pytest.approx(expected, abs=1e-12)
    steps, rates = np.arange(0, 60, 3), np.array([0.1, 0.3, 0.01])
    curves = 1e-2 * np.exp(rates * steps[:, None])
    learned = np.zeros(3)
    for now in range(1, len(steps)):
        learned = crossed(learned, curves[now - 1], curves[now], steps[now - 1], steps[now], np.ones(3))
    assert learned == pytest.approx([np.log(100) / 0.1, np.log(100) / 0.3, 0.0], rel=1e-12)


@pytest.mark.short
def test_observed_steps_are_those_of_the_observed_strengths():
    """The stateful observable, inside the compiled loop, against the same run's strengths in NumPy."""
    claim = WordEmbedding().claim("learned_times")
    setup = replace(claim.setup, steps=100, records=26)
    words = load("help_topics")
    few = Dataset(np.eye(60), words.y[:60, :60], arrays={k: v[:60, :60] for k, v in words.arrays.items()})
    instance = setup.at(learning_rate=0.03, dimension=40).draw(0, few)
    found = train(instance, ["learned_step", "embedding_strength", "learned_order"])
    expected = word_embedding._steps(instance, found["embedding_strength"])
    assert 10 < (expected[-1] > 0).sum() < MODES  # some are never reached
    assert np.abs(found["learned_step"] - expected).max() < 1e-9
    order = word_embedding._order(instance, found["embedding_strength"])
    assert np.abs(found["learned_order"] - order).max() < 1e-12


@pytest.mark.short
def test_directions_follow_their_exact_recursion():
    verdict = check(WordEmbedding(dimension=40), "aligned_recursion")
    assert verdict.outcome == "holds" and abs(verdict.bias) < 1e-12


@pytest.mark.short
def test_skip_gram_learns_directions_when_foretold_and_a_wrong_pace_is_refuted():
    """The twenty leading directions of the corpus: steps within 5 %, and their order with rank correlation 0.9."""
    model = WordEmbedding()
    claim = replace(model.claim("learned_times"), seeds=1)
    run = run_claim(model, claim)
    assert run.verdict.outcome == "holds"
    measured = run.measurement.values[0, 0, -1]
    assert scipy.stats.spearmanr(measured, run.prediction.values[0, 0, -1]).statistic > 0.98
    assert scipy.stats.spearmanr(measured, np.arange(MODES)).statistic > 0.9

    def slower(instance):
        return {**word_embedding._start(instance), "G": 0.9}

    planted = Law("slower", strength_map, slower, claim.law.readout, (), "", word_embedding._steps)
    assert run_claim(model, replace(claim, law=planted)).verdict.outcome == "refuted"


@pytest.mark.short
def test_raw_counts_are_outside_the_theory():
    assert check(WordEmbedding(dimension=40), "raw_counts").outcome == "outside_domain"
    counts, alike = load("help_topics_counts"), load("help_topics")
    assert EQUAL_WEIGHTS.distance(counts.arrays) > 100 and EQUAL_WEIGHTS.distance(alike.arrays) < 1e-12


@pytest.mark.short
def test_raw_counts_grow_their_own_directions_first():
    """The law against the whole matrix, W (1 + eta C)^k, and the claim against training."""
    model = WordEmbedding(dimension=40)
    claim = model.claim("raw_growth")
    counts = load("help_topics_counts")
    instance = claim.setup.draw(1, counts)
    pull = counts.arrays["positive"] - counts.arrays["negative"]
    grown = np.linalg.matrix_power(np.eye(len(pull)) + instance.learning_rate * pull, 40) @ instance["W"].T
    expected = ((np.linalg.eigh(pull)[1][:, ::-1][:, :MODES].T @ grown) ** 2).sum(1)
    assert solve(claim.law, instance).values[-1] == pytest.approx(expected, rel=1e-9)
    verdict = check(model, "raw_growth")
    assert verdict.outcome == "holds" and verdict.rival_outcome == "refuted"


@pytest.mark.instant
def test_data_that_are_no_words_are_refused():
    rng = np.random.default_rng(0)
    with pytest.raises(BadData, match="not symmetric"):
        check(WordEmbedding().on(np.eye(50), rng.standard_normal((50, 50))), "negative_directions")
    with pytest.raises(BadData, match="4 words"):
        check(WordEmbedding().on(np.eye(4), np.eye(4)), "negative_directions")
    symmetric = _symmetric(np.arange(50.0))[0]
    with pytest.raises(BadData, match="no weights of pairs"):
        check(WordEmbedding().on(np.eye(50), symmetric), "learned_times")
    words = {"x": np.eye(50), "y": symmetric}
    assert ONE_HOT.distance(words) < 1e-12 < ONE_HOT.distance({**words, "x": 2 * np.eye(50)})
    assert ONE_HOT.distance({"x": np.ones((3, 2)), "y": np.ones((3, 1))}) == np.inf
    with pytest.raises(BadData, match="dimension 39"):
        WordEmbedding(dimension=39)
    assert eigenmodes(np.eye(2))[0].tolist() == [1.0, 1.0]


@pytest.mark.instant
def test_the_trail_tells_the_approximation_from_what_is_exact():
    steps = strength_flow().trail.steps
    assumed = [step.assumption for step in steps if step.assumption]
    assert assumed[0] == "small products" and "equal weights" in assumed
    weighed = next(step for step in steps if step.rule.startswith("weigh"))
    parents = [steps[parent].rule for parent in weighed.parents]
    assert parents[0] == "to second order in z" and len(parents) == 2
    assert "z**4" in pair_target().trail.steps[1].check
