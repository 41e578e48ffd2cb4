"""Linear attention against routes of its own: sampled moments, automatic derivatives, published formulas."""

from dataclasses import replace
from functools import partial
from itertools import combinations

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.integrate
import sympy as sp

from learning_mechanics.solvers.compile import compile
from learning_mechanics.solvers.fixed_point import root
from learning_mechanics.solvers.ode import integrate
from learning_mechanics.solvers.predict import predict
from learning_mechanics.solvers.recursion import iterate
from learning_mechanics.theory.claims import Law
from learning_mechanics.theory.closed_forms.closed_form import closed_form
from learning_mechanics.theory.dynamics.linear_networks import gram_map
from learning_mechanics.theory.dynamics.products import in_context_moments
from learning_mechanics.theory.dynamics.products.in_context_moments import (
    gaussian_moment,
    moment_rows,
    product_moments,
    second_moment,
)
from learning_mechanics.theory.dynamics.products.linear_attention import (
    head_flow,
    merged,
    next_rank_duration,
    plateau_duration,
    plateau_loss,
    separate,
    separate_flow,
    separate_map,
    sigma_flow,
)
from learning_mechanics.theory.errors import BadData, UnknownName
from learning_mechanics.theory.in_context import InContextRegression
from learning_mechanics.theory.models.products import linear_attention
from learning_mechanics.theory.models.products.linear_attention import LinearAttention
from learning_mechanics.theory.setup import Initialisation
from learning_mechanics.validate.experiments.forward import forward
from learning_mechanics.validate.judging.check import check, draw, run_claim

RNG = np.random.default_rng(8)
SPREAD = (1.5, 0.5, 0.25)


def _sampled(eigenvalues, context, count, seed):
    """beta, query and target of tasks, drawn one by one as the definition has them."""
    rng = np.random.default_rng(seed)
    spread = np.sqrt(eigenvalues)
    found = []
    for _ in range(count):
        w = rng.standard_normal(len(spread))
        shown = rng.standard_normal((context, len(spread))) * spread
        query = rng.standard_normal(len(spread)) * spread
        found.append((np.mean([(x @ w) * x for x in shown], axis=0), query, query @ w))
    return [np.array(column) for column in zip(*found, strict=True)]


@pytest.mark.instant
def test_gaussian_moments_of_one_variable_are_double_factorials():
    q = sp.Symbol("q")
    assert [gaussian_moment((q,), (0,) * order) for order in (1, 2, 3, 4, 6, 8)] == [
        0,
        q,
        0,
        3 * q**2,
        15 * q**3,
        105 * q**4,
    ]


@pytest.mark.short
def test_the_mean_loss_written_out_in_one_dimension_tells_contexts_apart():
    """One dimension: E beta^2 = lambda^2 (1 + 2/N) by hand, so that averaging term by term can be told wrong."""
    lam, m = sp.symbols("lambda m")
    for context in (1, 2, 3):
        found = in_context_moments._mean_loss((lam,), sp.Matrix([[m]]), context)
        by_hand = lam / 2 - lam**2 * m + lam**3 * (1 + sp.Rational(2, context)) * m**2 / 2
        assert sp.expand(found - by_hand) == 0
        assert sp.expand(found - by_hand.subs(m**2, 2 * m**2)) != 0


@pytest.mark.short
def test_moments_of_products_by_sampling():
    """20 000 tasks drawn by hand: every moment within five standard errors (false alarm 1e-4 over 155 numbers)."""
    beta, query, target = _sampled(SPREAD, 6, 20_000, seed=3)
    z = (beta[:, :, None] * query[:, None, :]).reshape(len(beta), -1)
    moments = product_moments(np.array(SPREAD), 6.0)
    for products, stated in (
        (z[:, :, None] * z[:, None, :], moments["Sigma_xx"]),
        (target[:, None] * z, moments["Sigma_yx"][0]),
        (target**2, np.sum(SPREAD)),
        (beta[:, :, None] * beta[:, None, :], np.diag(second_moment(np.array(SPREAD), 6.0))),
    ):
        error = products.std(0) / np.sqrt(len(products))
        assert (np.abs(products.mean(0) - stated) < 5 * error).all()
    # a context one example longer is told apart: the test could have failed
    wrong = second_moment(np.array(SPREAD), 7.0)
    second = beta**2
    assert np.any(np.abs(second.mean(0) - wrong) > 5 * second.std(0) / np.sqrt(len(second)))


@pytest.mark.instant
@pytest.mark.parametrize("view", ["products", "pair"])
def test_rows_are_the_tasks_they_say_in_numpy_and_jax(view):
    tasks = InContextRegression(SPREAD, 5, view)
    normals = {name: RNG.standard_normal(shape) for name, shape in tasks.normals(4).items()}
    x, y = tasks.rows(normals)
    spread = np.sqrt(SPREAD)
    for row in range(4):
        w, query = normals["task"][row], normals["query"][row] * spread
        beta = sum((example * spread @ w) * example * spread for example in normals["context"][row]) / 5
        seen = np.outer(beta, query).ravel() if view == "products" else np.r_[beta, query]
        assert np.allclose(x[row], seen, rtol=1e-13) and y[row, 0] == pytest.approx(query @ w)
    assert x.shape[1] == tasks.sizes()["input"]
    with jax.enable_x64(True):
        traced = jax.jit(lambda numbers: tasks.rows(numbers))({k: jnp.asarray(v) for k, v in normals.items()})
        assert np.allclose(traced[0], x, rtol=1e-13) and np.allclose(traced[1], y, rtol=1e-13)


@pytest.mark.instant
def test_rows_with_the_moments_of_the_tasks():
    rows = moment_rows(InContextRegression(SPREAD, 6))
    moments = product_moments(np.array(SPREAD), 6.0)
    found = rows.covariances()
    assert np.allclose(found[0], moments["Sigma_xx"], atol=1e-14) and np.allclose(found[1], moments["Sigma_yx"])
    assert (rows.y**2).mean() == pytest.approx(np.sum(SPREAD))


def _population_loss(eigenvalues, context, rank):
    """1/2 E|y - f|^2 as a function of the heads, from moments by definition: einsum over beta_a x_b beta_c x_d."""
    second, first = jnp.diag(second_moment(np.array(eigenvalues), context)), jnp.diag(jnp.array(eigenvalues))

    def loss(parameters):
        M = sum(
            jnp.einsum("h,ha,hb->ab", parameters["V"][0], parameters[f"K{r}"], parameters[f"Q{r}"])
            for r in ([""] if rank == 1 else range(1, rank + 1))
        )
        f_squared = jnp.einsum("ab,cd,ac,bd->", M, M, second, first)
        return jnp.trace(first) / 2 - jnp.einsum("ab,ac,cb->", M, first, first) + f_squared / 2

    return loss


@pytest.mark.short
@pytest.mark.parametrize("rank", [1, 2])
def test_equations_of_motion_equal_the_automatic_gradient(rank):
    system, dim, heads = separate_flow(rank), len(SPREAD), 5
    shapes = {
        str(u): tuple(heads if str(n) == "heads" else dim if str(n) == "D" else 1 for n in u.shape)
        for u in system.unknowns
    }
    weights = {name: RNG.standard_normal(shape) for name, shape in shapes.items()}
    parameters = {"Lambda": np.diag(SPREAD), "B": np.diag(second_moment(np.array(SPREAD), 10.0))}
    symbols = (*system.unknowns, *system.parameters)
    with jax.enable_x64(True):
        gradient = jax.grad(_population_loss(SPREAD, 10.0, rank))({k: jnp.asarray(v) for k, v in weights.items()})
    moved = compile(system.equations, symbols, backend="numpy")(*({**weights, **parameters}[str(s)] for s in symbols))
    for unknown, rate in zip(system.unknowns, moved, strict=True):
        stated = np.asarray(gradient[str(unknown)])
        assert np.abs(rate + stated).max() < 1e-10 * np.abs(stated).max()
    # and the network of that name computes this function
    beta, query, _ = _sampled(SPREAD, 10, 3, seed=0)
    names = [""] if rank == 1 else ["1", "2"]
    by_hand = sum(((weights[f"K{r}"] @ beta.T) * (weights[f"Q{r}"] @ query.T)).T @ weights["V"][0] for r in names)
    with jax.enable_x64(True):
        out = forward(separate(dim, rank))({k: jnp.asarray(v) for k, v in weights.items()}, np.hstack([beta, query]))
    assert np.allclose(np.asarray(out)[:, 0], by_hand, rtol=1e-12)


@pytest.mark.short
def test_every_head_keeps_its_balance():
    """v_i^2 - |k_i|^2 and v_i^2 - |q_i|^2 along the integrated flow, to 1e-9; planted: their sum is not kept."""
    dim, heads = len(SPREAD), 4
    start = {"V": RNG.standard_normal((1, heads)), "K": RNG.standard_normal((heads, dim))}
    start |= {"Q": RNG.standard_normal((heads, dim)), "Lambda": np.diag(SPREAD)}
    start["B"] = np.diag(second_moment(np.array(SPREAD), 10.0))
    path = integrate(separate_flow(), start, np.linspace(0, 5, 11), tolerance=1e-12)
    values, keys, queries = path["V"][:, 0] ** 2, (path["K"] ** 2).sum(2), (path["Q"] ** 2).sum(2)
    for kept in (values - keys, values - queries):
        assert np.abs(kept - kept[0]).max() < 1e-9
    assert np.ptp(values + keys, axis=0).max() > 0.1


@pytest.mark.short
def test_merged_heads_follow_the_gram_recursion_with_the_moments_of_the_context():
    """Plain gradient descent on the population loss of M = sum_i v_i U_i, written out in NumPy."""
    dim, heads, rate, steps = 3, 5, 0.02, 60
    second, first = np.diag(second_moment(np.array(SPREAD), 9.0)), np.diag(SPREAD)
    U, v = 0.3 * RNG.standard_normal((heads, dim, dim)), 0.3 * RNG.standard_normal(heads)
    tasks = InContextRegression(SPREAD, 9)
    values = {**linear_attention._blocks(tasks, U.reshape(heads, -1), v[None], 9.0), "eta": rate}
    found = iterate(gram_map(), values, [steps])["R"][0].reshape(dim, dim)
    for _ in range(steps):
        M = np.einsum("h,hab->ab", v, U)
        pull = first @ first - second @ M @ first
        U, v = U + rate * v[:, None, None] * pull, v + rate * np.einsum("hab,ab->h", U, pull)
    assert np.abs(found - np.einsum("h,hab->ab", v, U)).max() < 1e-12


@pytest.mark.instant
def test_the_closed_form_is_the_published_one():
    """sigma(t) of Zhang et al. 2025, for D = 4, N = 31; their time is ours: half the gradient of twice the loss."""
    D, N, start = 4.0, 31.0, 1e-2
    times = np.linspace(0, 5, 51)
    grown = np.exp(2 * np.sqrt(D) * times)
    published = grown / ((1 + (1 + D) / N) * (grown - 1) + np.sqrt(D) / start)
    found = closed_form(sigma_flow()).evaluate(times, sigma=start / np.sqrt(D), D=D, N=N)
    assert np.abs(found - published).max() < 1e-12


@pytest.mark.short
def test_losses_of_plateaus_are_the_stationary_losses():
    """Published numbers, halved; and the loss at every subset of learned eigenvectors from the quadratic form."""
    values, N = np.array(SPREAD), 10.0
    published = [2.25, 1.05, 0.727419, 0.602419]
    second = second_moment(values, N)
    for count in range(4):
        for learned in combinations(range(3), count):
            marks = np.isin(np.arange(3), learned).astype(float)
            found = root(plateau_loss(), {"lambda": values, "learned": marks, "N": N, "L": 1.0})["L"]
            M = np.diag(marks * values / second)
            loss = values.sum() / 2 - np.trace(M * values**2) + np.einsum("ab,a,b->", M**2, second, values) / 2
            assert float(np.squeeze(found)) == pytest.approx(loss, rel=1e-10)
            if learned == tuple(range(count)):
                assert loss == pytest.approx(published[count] / 2, abs=1e-6)


@pytest.mark.short
def test_one_head_along_one_eigenvector_is_the_reduced_equation():
    value, N = SPREAD[1], 10.0
    second = second_moment(np.array(SPREAD), N)
    axis = np.eye(3)[1]
    u = 0.4
    system = separate_flow()
    symbols = (*system.unknowns, *system.parameters)
    given = {
        "V": np.array([[u]]),
        "K": u * axis[None],
        "Q": u * axis[None],
        "Lambda": np.diag(SPREAD),
        "B": np.diag(second),
    }
    moved = compile(system.equations, symbols, backend="numpy")(*(given[str(s)] for s in symbols))
    (rate,) = head_flow().equations
    names = {"u": u, "lambda": value, "b": second[1]}
    expected = float(rate.subs({symbol: names[symbol.name] for symbol in rate.free_symbols}))
    for found, along in zip(moved, ([[1.0]], axis[None], axis[None]), strict=True):
        assert np.abs(found - expected * np.asarray(along)).max() < 1e-14
    assert expected == pytest.approx(value**2 * u**2 - value**3 * (1 + (1 + sum(SPREAD) / value) / N) * u**5)


@pytest.mark.short
def test_a_plateau_lasts_as_long_as_quadrature_says():
    """Time from u to half the end, by quadrature, over 1 / (lambda^2 u): tends to 1 linearly in u."""
    value, second = 0.8, 0.9
    end = (value / second) ** (1 / 3)
    (law,), (T,) = plateau_duration().equations, plateau_duration().unknowns
    misses = []
    for u in (1e-2, 1e-3):
        elapsed = scipy.integrate.quad(lambda s: 1 / (value**2 * s**2 - second * value * s**5), u, end / 2)[0]
        stated = float((T - law).subs({s: {"u": u, "lambda": value}[s.name] for s in (T - law).free_symbols}))
        misses.append(abs(elapsed / stated - 1))
    assert misses[0] < 0.05 and misses[1] == pytest.approx(misses[0] / 10, rel=0.05)


@pytest.mark.short
def test_without_noise_heads_pass_from_plateau_to_plateau():
    """Exact to rounding, and the five plateaus are where the published formula puts them."""
    run = run_claim(LinearAttention(), "saddle_to_saddle")
    assert run.verdict.outcome == "holds" and abs(run.verdict.bias) < 1e-12
    values = np.array(linear_attention._SPREAD)
    plateaus = (values.sum() - np.cumsum(np.r_[0, values / (1 + (1 + values.sum() / values) / 31)])) / 2
    losses = run.measurement.values[0, 0, :, 0]
    for level in plateaus:
        near = np.abs(losses / level - 1)
        assert (near < 0.02).sum() >= 2, level


@pytest.mark.short
def test_heads_of_rank_two_wait_at_every_other_plateau():
    """From half the start the second plateau lasts twice as long, the third longer by a logarithm."""
    model = LinearAttention()
    values = np.array(linear_attention._SPREAD)
    plateaus = (values.sum() - np.cumsum(np.r_[0, values / (1 + (1 + values.sum() / values) / 31)])) / 2
    claim, waits = model.claim("rank_two_saddles"), []
    for scale, steps in ((0.02, 3200), (0.01, 5600)):
        setup = replace(
            claim.setup, steps=steps, records=steps // 20 + 1, initialisation=Initialisation("normal", scale)
        )
        path = predict(claim, [[setup.draw(0)]]).values[0, 0, :, 0]
        waits.append([1.0 * (np.abs(path / level - 1) < 0.02).sum() for level in plateaus[1:4]])
    first, second, third = np.array(waits).T
    assert second[0] > 3 * third[0] and first.max() < 0.1 * second.min()
    assert 1.7 < second[1] / second[0] < 2.6 and third[1] / third[0] < 1.5
    run = run_claim(model, replace(claim, seeds=1, setup=replace(claim.setup, steps=400, records=11)))
    assert abs(run.verdict.bias) < 1e-12


@pytest.mark.short
def test_a_head_waits_for_its_next_rank_as_long_as_quadrature_says():
    """u' = v lambda^2 u - b lambda v^2 u^3 from u to half its end, to leading order in log(1/u)."""
    v, value, second = 0.9, 0.8, 0.7
    end = np.sqrt(value / (second * v))
    (law,), (T,) = next_rank_duration().equations, next_rank_duration().unknowns
    names = {"v": v, "lambda": value, "b": second}
    misses = []
    for u in (1e-3, 1e-6):
        elapsed = scipy.integrate.quad(
            lambda s: 1 / (v * value**2 - second * value * v**2 * np.exp(2 * s)), np.log(u), np.log(end / 2)
        )[0]
        stated = float((T - law).subs({s: {**names, "u": u}[s.name] for s in (T - law).free_symbols}))
        misses.append(abs(elapsed / stated - 1))
    assert misses[0] < 0.1 and misses[1] == pytest.approx(misses[0] * np.log(end / 1e-3) / np.log(end / 1e-6), rel=1e-3)


@pytest.mark.short
@pytest.mark.parametrize("name", ["plateau_losses", "closed_form_order"])
def test_claims_without_noise(name):
    assert check(LinearAttention(), name).outcome == "holds"


@pytest.mark.short
def test_fresh_tasks_follow_the_recursion_and_a_wrong_context_is_refuted():
    """A short run in batches of 1024 stays within 1 % of the first loss; contexts of 6 taken for 31 do not."""
    claim = LinearAttention().claim("merged_loss")
    claim = replace(claim, setup=claim.setup.at(learning_rate=0.01, time=1.5, records=11))
    assert run_claim(LinearAttention(), claim).verdict.outcome == "holds"
    wrong = replace(claim.law, name="wrong", bind=partial(claim.law.bind.func, *claim.law.bind.args, context=6.0))
    assert isinstance(wrong, Law)
    assert run_claim(LinearAttention(), replace(claim, law=wrong)).verdict.outcome == "refuted"


@pytest.mark.long
@pytest.mark.parametrize("name", ["merged_loss", "separate_loss"])
def test_fresh_tasks_at_batch_1024_stay_within_one_percent(name):
    """The loss curve within 1 % of the first loss; over the seeds tried the scatter is a fifth of that."""
    verdict = check(LinearAttention(), name, seed=20)
    assert verdict.outcome == "holds" and abs(verdict.bias) < 0.01


@pytest.mark.short
def test_forecasts_use_the_sample_they_are_judged_on_and_nothing_trained():
    """The forecast of the first record is the network's own loss on the test sample, before any step."""
    claim = LinearAttention().claim("separate_loss")
    (instance,) = draw(replace(claim, seeds=1), None, 4)[0]
    dim = len(linear_attention._SPREAD)
    x, y, w = instance["x"], instance["y"], instance.weights
    out = ((x[:, :dim] @ w["K"].T) * (x[:, dim:] @ w["Q"].T)) @ w["V"].T
    M = (w["K"].T * w["V"]) @ w["Q"]
    tasks = claim.setup.data
    found = linear_attention._seen_loss(tasks, instance, M.reshape(1, -1))[0, 0]
    assert found == pytest.approx(0.5 * np.mean((y - out) ** 2), rel=1e-10)


@pytest.mark.instant
def test_settings_that_cannot_be_are_explained():
    for wrong in ({"eigenvalues": ()}, {"eigenvalues": (1.0, -1.0)}, {"context": 0}, {"context": 2.5}):
        with pytest.raises(BadData):
            InContextRegression(**wrong)
    with pytest.raises(UnknownName, match="products"):
        InContextRegression(view="product")
    with pytest.raises(BadData, match="heads 0"):
        LinearAttention(heads=0)
    with pytest.raises(BadData, match="stated distribution"):
        check(LinearAttention().on(np.eye(3), np.ones(3)), "merged_loss")
    assert merged().depth == 2 and len(separate_map(1).unknowns) == 3


@pytest.mark.short
@pytest.mark.parametrize("dim, context", [(4, 31), (2, 5)])
def test_the_relative_variance_of_a_pull_is_that_of_sampled_tasks(dim, context):
    """Var(y tr(beta x')) / mean^2 over 200 000 tasks: heavy-tailed, good to a few per cent; 10 % allowed."""
    tasks = InContextRegression((1.0,) * dim, context)
    rng = np.random.default_rng(11)
    x, y = tasks.rows({name: rng.standard_normal(shape) for name, shape in tasks.normals(200_000).items()})
    pull = y[:, 0] * x.reshape(-1, dim, dim).trace(axis1=1, axis2=2)
    assert np.isclose(pull.mean(), dim, rtol=0.03)
    derived = linear_attention.batch_noise(tasks, rate=1.0, rise=1.0, batch=1) ** 2 / dim
    assert np.isclose(pull.var() / dim**2, derived, rtol=0.1)
