"""Scaling laws: exact exponents, local slopes with intervals, and forecasts on rows that they never saw."""

import json

import numpy as np
import pytest
import sympy as sp
from scipy.optimize import brentq

import learning_mechanics as lm
from learning_mechanics.solvers.scaling.axis_law import axis_law, judged, propagated
from learning_mechanics.solvers.scaling.dynamics import dynamics
from learning_mechanics.solvers.scaling.local_slope import Conditions, frontier
from learning_mechanics.solvers.scaling.scaling_law import ScalingLaw
from learning_mechanics.theory.errors import BadData, Underpowered, UnknownName
from learning_mechanics.theory.measured_spectra.cross_fitting import cross_fit, in_sample
from learning_mechanics.theory.measured_spectra.estimate import Estimate
from learning_mechanics.theory.regression.kernels import ntk
from learning_mechanics.theory.scaling.source_capacity import CAPACITY, TARGET
from learning_mechanics.validate.tasks.tasks import halves, task


def power_law(capacity, target, modes=10000):
    k = np.arange(1.0, modes + 1)
    return k**-capacity, k**-target


def linear(a, b=None):
    return a @ (a if b is None else b).T


def planted(rows=600, noise=0.0, seed=0):
    """Gaussian rows with eigenvalues k^-2 and a target of power k^-1.9, both by a linear kernel."""
    rng, k = np.random.default_rng(seed), np.arange(1.0, 1001.0)
    x = rng.standard_normal((rows, 1000)) / k
    y = x @ (rng.choice([-1.0, 1.0], 1000) * k**0.05)
    return x, y + np.sqrt(noise) * rng.standard_normal(rows)


# ---- known spectra ---------------------------------------------------------------------------------------------------


@pytest.mark.instant
@pytest.mark.parametrize(
    "capacity, target, expected",
    [
        (1.5, 1.8, (0.8, 0.8, 0.8 / 1.5, 0.8 / 2.5)),
        (1.5, 3.5, (2.5, 1.5, 2.5 / 1.5, 2.5 / 3.5)),
        (1.2, 6.0, (2.4, 1.2)),
    ],
)
def test_limits_are_exact_and_read_off_the_spectrum(capacity, target, expected):
    """By hand: min(a - 1, 2 b), min(a - 1, b), (a - 1)/b, (a - 1)/(1 + max(b, a - 1))."""
    law = ScalingLaw.from_spectrum(*power_law(capacity, target), axes=["samples", "parameters"], steps=(10, 1e4))
    for axis, value in zip((law.samples, law.parameters, law.steps), expected, strict=False):
        assert axis.asymptotic.value == pytest.approx(value, abs=2e-3)
    assert law.samples.expression == sp.Min(TARGET - 1, 2 * CAPACITY)
    assert law.parameters.expression == sp.Min(TARGET - 1, CAPACITY)
    assert law.compute is None and ("tail:" in law.samples.limited_by) == (target - 1 < 2 * capacity)


@pytest.mark.instant
def test_local_slopes_against_roots_found_one_by_one():
    """The effective ridge of every size by bisection, sums written out; the same for features and times."""
    eigenvalues, power = power_law(1.5, 1.8, 400)
    law = ScalingLaw.from_spectrum(
        eigenvalues, power, samples=(10, 60), parameters=(10, 60), steps=(10, 500), noise=0.1, ridge=0.01, axes=[]
    )

    def learned(kappa):
        return eigenvalues / (eigenvalues + kappa)

    def test_error(n):
        kappa = brentq(lambda kappa: learned(kappa).sum() + 0.01 / kappa - n, 1e-8, 10, xtol=1e-14)
        gain = learned(kappa)
        return n * (((1 - gain) ** 2 * power).sum() + 0.1) / (n - (gain**2).sum()) - 0.1

    def floor(count):
        kappa = brentq(lambda kappa: learned(kappa).sum() - count, 1e-8, 10, xtol=1e-14)
        return ((1 - learned(kappa)) * power).sum()

    def at_time(t):
        return (power * np.exp(-2 * eigenvalues * t)).sum()

    for axis, exact in ((law.samples, test_error), (law.parameters, floor), (law.steps, at_time)):
        at = np.geomspace(*axis.window, 8)
        losses = [exact(point) for point in at]
        np.testing.assert_allclose(axis.curve.test, losses, rtol=1e-6)
        assert axis.value == pytest.approx(-np.polyfit(np.log(at), np.log(losses), 1)[0], abs=1e-6)


@pytest.mark.short
def test_compute_is_spent_as_well_as_by_trying_every_width():
    law = ScalingLaw.from_spectrum(*power_law(1.5, 1.8, 3000), compute=(1e3, 1e5), axes=[])
    budgets, widths = law.compute.curve.sizes[[0, 7]], np.geomspace(3, 600, 150)
    for budget, loss in zip(budgets, law.compute.curve.test[[0, 7]], strict=True):
        eigenvalues, power = power_law(1.5, 1.8, 3000)
        every = dynamics(eigenvalues, power, times=budget / widths, features=widths).test
        assert loss == pytest.approx(every.min(), rel=1e-3)
    assert law.compute.value == pytest.approx(0.8 / 2.5, abs=0.02)


@pytest.mark.instant
def test_a_fixed_ridge_has_limits_of_its_own():
    """kappa = ridge/n: without noise min((a - 1)/b, 2); with it at most 1 - 1/b, the share of noise that is fitted."""
    eigenvalues, power = power_law(1.5, 2.0, 100000)
    quiet = ScalingLaw.from_spectrum(eigenvalues, power, samples=(1e4, 1e5), ridge=1e3, axes=[]).samples
    assert quiet.expression == sp.Min((TARGET - 1) / CAPACITY, 2)
    assert quiet.value == pytest.approx(2 / 3, abs=0.05) and "ridge" in quiet.limited_by
    noisy = ScalingLaw.from_spectrum(eigenvalues, power, samples=(1e4, 1e5), ridge=1e3, noise=1e6, axes=[]).samples
    assert noisy.asymptotic.value == pytest.approx(1 / 3, abs=1e-3)
    assert noisy.value == pytest.approx(1 / 3, abs=0.05)
    jitter = ScalingLaw.from_spectrum(eigenvalues, power, samples=(100, 1000), ridge=1e-8, axes=[]).samples
    assert jitter.expression == sp.Min(TARGET - 1, 2 * CAPACITY)


@pytest.mark.instant
def test_noise_at_the_best_ridge_and_without_one():
    eigenvalues, power = power_law(1.5, 2.0, 20000)
    best = ScalingLaw.from_spectrum(eigenvalues, power, samples=(1e3, 1e4), ridge="optimal", noise=1.0, axes=[]).samples
    assert best.asymptotic.value == pytest.approx(0.5, abs=1e-3) and best.value == pytest.approx(0.5, abs=0.03)
    none = ScalingLaw.from_spectrum(eigenvalues, power, samples=(100, 1000), noise=1.0, axes=[]).samples
    assert none.asymptotic.value == 0.0 and abs(none.value) < 0.1


@pytest.mark.instant
def test_errors_of_capacity_and_target_reach_the_limit():
    """Against Gaussian draws of both; at a tie the error is that of the side that moves more."""
    rng, formula = np.random.default_rng(0), (TARGET - 1) / CAPACITY
    found = propagated(formula, Estimate(1.5, 0.05), Estimate(2.2, 0.1))
    drawn = (rng.normal(2.2, 0.1, 10**5) - 1) / rng.normal(1.5, 0.05, 10**5)
    assert found.value == pytest.approx(0.8, abs=1e-9) and found.error == pytest.approx(drawn.std(), rel=0.05)
    tie = propagated(sp.Min(TARGET - 1, CAPACITY), Estimate(1.5, 0.1), Estimate(2.5, 0.0))
    assert (tie.value, tie.error) == (1.5, 0.1)


@pytest.mark.instant
def test_which_exponent_to_believe():
    near, far = Estimate(0.5, 0.02), Estimate(0.9, 0.02)
    assert judged(0.5, 0.05, None, "too few rows") == ("local", "too few rows")
    assert judged(0.5, 0.05, far, "", 0.1, 0.0)[0] == "local"
    assert judged(0.5, 0.05, near, "", 0.1, 0.0)[0] == "local"  # still drifting
    assert judged(0.5, 0.05, near, "")[0] == "asymptotic"
    assert judged(0.5, 0.05, near, "", known=False)[0] == "local"  # intervals of limits were never tried
    assert judged(0.5, 0.05, far, "", 0.1, 0.7)[0] == "asymptotic"  # beyond what the data resolve
    assert judged(None, None, near, "")[0] == "asymptotic"
    law = ScalingLaw.from_spectrum(*power_law(1.5, 1.8, 1000), samples=(30, 300), axes=[]).samples
    assert law.believe == "local" and "not reached" in law.because and law.exponent.value == law.value


@pytest.mark.short
def test_a_law_is_a_card_a_figure_and_a_dictionary():
    law = ScalingLaw.from_spectrum(*power_law(1.5, 1.8, 2000), samples=(20, 200))
    again = ScalingLaw.from_dict(json.loads(json.dumps(law.to_dict())))
    assert again.to_dict() == json.loads(json.dumps(law.to_dict())) and again.card() == law.card()
    assert again.samples.expression == law.samples.expression
    for part in ("samples", "parameters", "steps", "compute", "20 .. 200", "Min(capacity, target - 1)", "capacity 1.5"):
        assert part in law.card()
    figure = law.plot()
    assert [axes.get_xscale() for axes in figure.axes] == ["log"] * 4
    assert [axes.get_title(loc="left").split(":")[0] for axes in figure.axes] == [
        "samples",
        "parameters",
        "steps",
        "compute",
    ]
    assert len(lm.plot(law.samples).axes) == 1
    assert law.over(samples=(20, 40)).samples.window == (20.0, 40.0)


@pytest.mark.instant
def test_mistakes_are_one_line():
    eigenvalues, power = power_law(1.5, 1.8, 100)
    for change, kind, words in (
        ({"axes": ["sample"]}, UnknownName, "did you mean 'samples'"),
        ({"ridge": "best"}, UnknownName, "unknown ridge 'best'"),
        ({"samples": (10, 12)}, BadData, "a factor 1.5 apart"),
        ({"samples": (0, 12)}, BadData, "sizes above 0"),
        ({"training": 0}, BadData, "training 0; give a number above 0"),
        ({"power": None}, BadData, "no target power"),
        ({"power": -power}, BadData, "power holds"),
        ({"noise": -1.0}, BadData, "noise"),
    ):
        with pytest.raises(kind, match=words):
            ScalingLaw.from_spectrum(**{"spectrum": eigenvalues, "power": power, **change})
    with pytest.raises(UnknownName, match="axis"):
        ScalingLaw.from_spectrum(eigenvalues, power, axes=["samples"]).over(sample=(1, 2))
    edge = ScalingLaw.from_spectrum(*power_law(1.5, 1.8, 1000), compute=(1.0, 2.0), axes=[]).compute
    assert edge.value is None and "best spent" in edge.because and edge.believe == "asymptotic"
    assert len(lm.plot(edge).axes) == 1
    with pytest.raises(BadData, match="no mode that is learned holds power"):
        ScalingLaw.from_spectrum(eigenvalues, 0 * power)
    for wrong in ({}, None):
        with pytest.raises(BadData, match="no record of a scaling law"):
            ScalingLaw.from_dict(wrong)
    short = ScalingLaw.from_spectrum(eigenvalues, power, axes="samples").samples
    for sizes, errors in (([1, 2, 3, np.inf], [4, 3, 2, 1]), ([5, 5, 5, 6], [4, 3, 2, 1]), ("abcd", [4, 3, 2, 1])):
        with pytest.raises(BadData, match="samples: "):
            short.compared(sizes, errors)
    assert short.asymptotic is None and "not resolved" in short.refused  # 100 modes are less than 1.3 decades


@pytest.mark.instant
def test_the_best_split_at_the_edge_of_the_modes_is_refused():
    k = np.arange(1.0, 51.0)
    spectrum = ScalingLaw.from_spectrum(k**-1.5, k**-1.8, axes=["samples"]).spectrum
    with pytest.raises(BadData, match="is best spent on"):
        frontier(spectrum, np.array([1e9]), Conditions())


# ---- rows ------------------------------------------------------------------------------------------------------------


@pytest.mark.short
def test_the_parts_of_an_interval_add_up():
    x, y = planted()
    law = ScalingLaw.from_data(linear, x, y, splits=3, axes=["samples"], mechanisms=False)
    found, facts = law.samples, law.samples.facts
    assert found.asymptotic is None and "1.08 decades" in found.refused and found.believe == "local"
    scatter = 1.645 * np.sqrt(2) * max(facts["scatter"], 0.3 * facts["draws"])
    against, its_error = facts["contradiction"], facts["contradiction_error"]
    share = 0.75 * max(0.0, 1 - (2.5 * its_error / against) ** 2)
    spread = np.hypot(0.03, 0.35 * np.log(facts["inflation"]) ** 2)
    parts = [facts["gap"] / 2, spread, scatter, 0.1 * facts["beyond"]]
    parts += [min(share, 1 - share) * against, 1.645 * share * its_error]
    assert found.error == pytest.approx(np.linalg.norm(parts), rel=1e-12)
    assert found.value == pytest.approx(-(found.curve.slope + found.partner.slope) / 2 - share * against)
    assert found.window == (30, 300)
    for part in ("parts of the rows", "level agreement", "holds", "refused", "if noise"):
        assert part in law.card()
    assert json.loads(json.dumps(law.to_dict()))["samples"]["value"] == found.value
    beyond = law.over(samples=[100, 1000, 3000])
    failed = [entry["name"] for entry in beyond.assumptions if not entry["holds"]]
    assert "resolved range" in failed and "FAILS" in str(beyond) and beyond.samples.error > 0.05
    with pytest.raises(BadData, match="rows of this law are gone"):
        ScalingLaw.from_dict(law.to_dict()).over(samples=(50, 100))


@pytest.mark.short
def test_a_forecast_for_another_target_is_refuted_by_its_own_rows():
    """Spectra of a smooth target are held against rows of a rough one: the forecast moves, and is less sure."""
    from learning_mechanics.solvers.regression.part_regressions import Rows

    x, smooth = planted()
    rough = x @ np.sign(np.sin(np.arange(1.0, 1001.0) ** 2)) * 1.0
    rough = rough + 0.3 * np.sign(x[:, 0] * x[:, 1])
    gram = linear(x)
    spectra = cross_fit(gram, x, smooth), in_sample(gram, x, smooth)
    arguments = ("samples", spectra, (30, 300), spectra[0].capacity, spectra[0].target_exponent)
    right = axis_law(*arguments, rows=Rows(gram, smooth[:, None]))
    wrong = axis_law(*arguments, rows=Rows(gram, rough[:, None]))
    assert right.value == pytest.approx(right.facts["theory"], abs=0.05)
    assert wrong.value < wrong.facts["theory"] - 0.2 and wrong.error > right.error


@pytest.mark.short
def test_what_is_noise_is_refused():
    rng = np.random.default_rng(1)
    x, _ = planted(300)
    with pytest.raises(Underpowered, match="0.78 decades"):
        ScalingLaw.from_data(linear, x, x[:, 0])
    x, _ = planted(600)
    with pytest.raises(Underpowered, match="dominated by noise"):
        ScalingLaw.from_data(linear, x, rng.standard_normal(600))
    with pytest.raises(BadData, match="constant"):
        ScalingLaw.from_data(linear, x, np.zeros(600))
    with pytest.raises(BadData, match="name the group of every row"):
        ScalingLaw.from_data(linear, x, x[:, 0], groups=np.arange(3))
    with pytest.raises(BadData, match="finite rows"):
        ScalingLaw.from_data(linear, np.vstack([x, np.nan * x[:1]]), np.ones(601))
    data = task("next_character")
    probe = np.flatnonzero(halves(data, 100))[:900]
    with pytest.raises(Underpowered, match="dominated by noise"):
        ScalingLaw.from_data(ntk(4), data.x[probe], data.y[probe], ridge=1e-8, splits=2)
