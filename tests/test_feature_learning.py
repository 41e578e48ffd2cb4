"""Exponents of moving features: the derivation against the network itself, and the model's claims."""

from dataclasses import replace

import numpy as np
import pytest
import sympy as sp

from learning_mechanics.theory.errors import BadData, OutsideDomain
from learning_mechanics.theory.models.scaling.feature_learning_scaling import (
    FeatureLearningScaling,
    modes_of_power_laws,
)
from learning_mechanics.theory.scaling.feature_learning import (
    derivation,
    effective_time,
    feature_learning,
    growing_kernel,
    rich_compute,
    time_exponent,
)
from learning_mechanics.theory.scaling.source_capacity import asymptotic, compute_optimal

R = sp.Rational


def spectrum(count, capacity, target):
    """Eigenvalues and target coefficients, lambda w^2 = k^-target."""
    k = np.arange(1.0, count + 1)
    return k**-capacity, k ** ((capacity - target) / 2)


def slope(times, losses, low, high):
    inside = (times >= low) & (times <= high)
    return -np.polyfit(np.log(times[inside]), np.log(losses[inside]), 1)[0]


@pytest.mark.instant
@pytest.mark.parametrize(
    ("capacity", "target", "task", "lazy", "rich", "compute"),
    [
        # s, 2 s/(1 + s), and capacity s chi/(capacity s + chi) of Bordelon, Atanasov & Pehlevan 2024, arXiv:2409.17858
        (2, R(3, 2), "hard", R(1, 4), R(2, 5), R(2, 9)),
        (R(3, 2), R(8, 5), "hard", R(2, 5), R(4, 7), R(12, 41)),
        (2, 3, "easy", 1, 1, R(2, 3)),
        (2, R(7, 2), "easy", R(5, 4), R(5, 4), R(5, 7)),
        (2, 6, "super-easy", R(5, 2), R(5, 2), R(5, 6)),
    ],
)
def test_exponents_in_time_and_compute(capacity, target, task, lazy, rich, compute):
    found = feature_learning(capacity, target)
    assert (found.task, found.lazy, found.rich, found.rich_compute) == (task, lazy, rich, compute)
    assert found.lazy == asymptotic("steps", capacity, target)
    assert (found.rich_compute > found.lazy_compute) == (task == "hard")
    assert found.lazy_compute == compute_optimal(capacity, target).exponent


@pytest.mark.instant
def test_rich_is_never_slower_and_joins_lazy_where_tasks_become_easy():
    for s in (R(1, 10), R(1, 2), R(9, 10), R(1), R(3, 2)):
        chi = time_exponent(2, 1 + 2 * s)
        assert chi == max(s, 2 * s / (1 + s)) and chi <= 2 * s
    assert any("log T" in note for note in feature_learning(2, 3).notes)
    assert rich_compute(2, 4).exponent == compute_optimal(2, 4).exponent
    at_edge = rich_compute(2, R(3) - R(1, 10**6)).exponent
    assert abs(at_edge - rich_compute(2, 3).exponent) < 1e-5


@pytest.mark.instant
def test_the_derivation_starts_from_the_network():
    trail = derivation()
    words = str(trail)
    assert "a' = " in words and "beta' = " in words  # gradient flow of both layers, then of the function
    assert {"2406.06158", "2409.17858"} <= {part.rstrip(")") for part in words.replace("arXiv:", " ").split()}
    s = sp.Symbol("s", positive=True)
    assert trail.steps[-1].result == sp.Max(s, 2 * s / (1 + s))
    assert len(trail.graph().edges) >= len(trail.steps) - 1
    assert "2409.17858" in str(feature_learning(2, 2).to_dict()["trail"])
    assert "hard" in str(feature_learning(2, 2)) and feature_learning(2, 2)._repr_latex_().startswith("$")


@pytest.mark.short
@pytest.mark.parametrize(("capacity", "hardness"), [(2.0, 0.5), (1.5, 0.3), (2.0, 1.5)])
def test_effective_time_of_very_many_modes(capacity, hardness):
    """t = int dT/|beta(T)| by quadrature over 1e6 modes in 4000 bins: late slopes of the loss, rich and lazy."""
    target = 1 + capacity * hardness
    edges = np.unique(np.round(np.geomspace(1, 10**6, 4000)))
    low, high = edges[:-1], edges[1:]
    k = np.sqrt(low * (high - 1).clip(1))  # the geometric middle of the modes low <= k < high
    weight, lam = high - low, k**-capacity
    power, beyond = k**-target, 10 ** (6 * (1 - target)) / (target - 1)  # modes after the last are not learned

    def loss(T):
        return (weight * power * np.exp(-2 * lam * T)).sum() + beyond

    def norm(T):
        return np.sqrt((weight * power / lam * (1 - np.exp(-lam * T)) ** 2).sum())

    last = 0.02 * (10**6) ** capacity  # not all modes are learned
    T = np.geomspace(1e-3, last, 3000)
    rate = np.array([norm(x) for x in T])
    # dt = T/|beta| d log T, by the trapezoidal rule
    pace = T / rate
    t = np.concatenate([[0], np.cumsum((pace[1:] + pace[:-1]) / 2 * np.diff(np.log(T)))])
    losses = np.array([loss(x) for x in T])
    # the first modes shift the norm by a constant beside k*^(1 + capacity - target)
    late = t[-1] * 1e-3, t[-1] * 1e-1
    chi = float(time_exponent(R(str(capacity)), R(str(target))))
    assert abs(slope(t[1:], losses[1:], *late) - chi) < 0.02
    assert abs(slope(T, losses, last * 1e-3, last * 1e-1) - hardness) < 0.02


@pytest.mark.short
def test_the_whole_network_has_that_exponent():
    """Descent on both layers of 5000 modes, without any theory; the kernel's part along beta is in it."""
    capacity, target = 3.0, 2.2
    lam, w = spectrum(5000, capacity, target)
    power = (lam * w**2).sum()
    lam, w = lam / lam.sum(), w * np.sqrt(lam.sum() / power)
    rng = np.random.default_rng(0)
    direction = rng.standard_normal(5000)
    a, layer = 0.3**0.5, 0.3**0.5 * direction / np.linalg.norm(direction)
    rate, kept = 0.04, np.unique(np.round(np.geomspace(5000, 20_000, 30)).astype(int))
    losses = {}
    for step in range(20_001):
        pull = lam * (w - a * layer)
        if step in kept:
            losses[step] = pull @ (w - a * layer) / 2
        a, layer = a + rate * pull @ layer, layer + rate * a * pull
    times = rate * np.array(list(losses))
    measured = slope(times, np.array(list(losses.values())), 200, 800)
    # time of the beginning, of order 3: 3 x mean(1/t) = 3 x 0.0027 of the exponent
    assert abs(measured - 4 / 7) < 0.01
    assert abs(measured - 0.4) > 0.15


@pytest.mark.long
def test_the_growing_kernel_integrated():
    """T' = T^((1-s)/2) solved by the package at late times, for three s: the loss has the slope that was derived."""
    import learning_mechanics as lm

    times = np.geomspace(1, 1e6, 30)
    for s in (0.2, 0.5, 0.9):
        loss = lm.solve(growing_kernel(), {"T": 1e-3, "s": s}, at=np.concatenate([[0.0], times]))["loss"][1:]
        assert abs(slope(times, loss, 1e4, 1e6) - 2 * s / (1 + s)) < 1e-3


@pytest.mark.long
def test_effective_time_is_the_flow_of_the_function_when_the_kernel_is_fixed():
    """Large imbalance: both flows, solved by the package, give the same loss; with none they differ at first."""
    import learning_mechanics as lm
    from learning_mechanics.theory.dynamics.products.single_neuron import function_flow

    lam, w = spectrum(40, 2.0, 2.0)
    times = np.array([0.0, 0.01, 0.1, 1.0])
    shared = {"lambda": lam, "delta": 300.0}
    short = lm.solve(effective_time(), {"T": 0.0, "w": w, **shared}, at=times)["loss"]
    start = {"beta": np.full(40, 1e-9), "b": w, "eta_a": 1.0, "eta_w": 1.0}
    whole = lm.solve(function_flow(), {**start, **shared}, at=times)["loss"]
    # the kernel along beta is (kappa - delta)/2 = |beta|^2/delta = 40/300 beside 300
    assert np.abs(short / whole - 1).max() < 3 * 40 / 300**2 * 10


@pytest.mark.instant
def test_easy_tasks_and_user_data_are_refused_by_the_model():
    with pytest.raises(OutsideDomain, match="easy tasks"):
        FeatureLearningScaling(capacity=1.5, target_exponent=2.6)
    with pytest.raises(OutsideDomain, match="finite power"):
        feature_learning(2, 1)
    with pytest.raises(BadData, match="no exponents are known"):
        from learning_mechanics.theory.models.scaling.feature_learning_scaling import _exponents

        claim = FeatureLearningScaling().claim("rich_exponent")
        data = replace(claim.setup.data, facts={})
        _exponents(replace(claim.setup, data=data).draw(0))


@pytest.mark.instant
def test_the_ripple_of_whole_modes_is_an_upper_estimate():
    """Poisson's first harmonic by its saddle point against sum minus integral, at the first time of the window."""
    from scipy.special import gamma

    model = FeatureLearningScaling(dim=200, capacity=4.0, target_exponent=3.4)
    x = 2 * model._first()[0] * model._effective(20.0)
    stated = model._whole_modes(1.0)["whole modes"] / 3
    k = np.arange(1.0, 200_001.0)
    rho = 2.4 / 4
    ripples = []
    for shift in np.geomspace(1, 3, 40):  # over an octave and a half: the height, not one phase
        total = (k**-3.4 * np.exp(-x * shift * k**-4.0)).sum()
        ripples.append(abs(total / (gamma(rho) / 4 * (x * shift) ** -rho) - 1))
    assert 0.4 * stated < max(ripples[:12]) < 1.3 * stated and max(ripples[-12:]) < stated


@pytest.mark.long
def test_claims_hold_and_planted_errors_of_ten_percent_are_refuted():
    from learning_mechanics.validate.judging.check import run_claim

    model = FeatureLearningScaling(dim=200)
    for claim, plant in zip(model.claims(), ("lambda", "rho", "rho"), strict=True):
        verdict = run_claim(model, claim).verdict
        assert verdict.outcome == "holds" and verdict.rival_outcome == "refuted", verdict

        def planted(instance, bind=claim.law.bind, name=plant):
            values = dict(bind(instance))
            return {**values, name: values[name] * 1.1}

        wrong = replace(claim, law=replace(claim.law, bind=planted))
        assert run_claim(model, wrong).verdict.outcome == "refuted"


@pytest.mark.instant
def test_the_data_are_an_exact_population():
    data = modes_of_power_laws(30, 2.0, 1.8)
    covariance, correlation = data.covariances()
    k = np.arange(1.0, 31.0)
    ratio = np.diag(covariance) / k**-2.0
    assert np.allclose(ratio, ratio[0]) and np.abs(covariance - np.diag(np.diag(covariance))).max() < 1e-15
    power = correlation[0] ** 2 / np.diag(covariance)  # lambda w^2
    assert np.allclose(power / k**-1.8, power[0])
