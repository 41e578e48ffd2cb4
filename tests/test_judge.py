"""The judge must be able to fail what is wrong, and must not fail what is right more often than it says.

Seeds were fixed before any number was looked at. Planted errors of twice the printed resolution must be refuted in at
least 95 % of 40 repeats; a planted error of zero in at most 1 % of whole reports, so 40 repeats of a claim allow none
(false-alarm rate of these tests themselves: below 40 x 0.05 % = 2 % by the Bonferroni share of one claim in twenty).
"""

import json
from types import SimpleNamespace

import numpy as np
import pytest

from learning_mechanics.theory.claims import Converges, Equals, Scales, Threshold
from learning_mechanics.theory.errors import BadData, UnknownName
from learning_mechanics.validate.judging.judge import judge, seeds_needed

pytestmark = pytest.mark.instant


def claim(kind=Equals, **fields):
    defaults = {"name": "c", "statement": "s", "observable": "o", "setup": None, "law": None}
    defaults["rival"] = SimpleNamespace(name="rival law")
    if kind is Threshold:
        defaults["critical"] = None
    if kind is Equals:
        defaults["budget"] = {"declared": 0.02}
    return kind(**{**defaults, **fields})


def predicted(values, **fields):
    values = np.asarray(values, float)
    abscissa = np.broadcast_to(np.arange(1.0, values.shape[2] + 1), values.shape[1:3])
    record = {"values": values, "uncertainty": None, "abscissa": abscissa, "assumptions": (), "hash": "f" * 64}
    return SimpleNamespace(**{**record, "slope": None, "slope_error": None, **fields})


def measured(values, **fields):
    values = np.asarray(values, float)
    record = {"values": values, "abscissa": np.broadcast_to(np.arange(1.0, values.shape[2] + 1), values.shape[1:3])}
    record |= {"seeds": tuple(range(len(values))), "device": "cpu", "dtype": "float64", "precision": "highest"}
    return SimpleNamespace(**{**record, "seconds": 1.0, **fields})


CURVE = (2.0 * np.exp(-0.1 * np.arange(20.0))).reshape(1, 1, 20, 1)


def noisy(rng, scatter=0.05, tail="gaussian", seeds=100, curve=CURVE, correlation=0.7):
    """Replicates around a curve, correlated along it as trajectories are, with unit-variance noise of a given tail."""
    shape = (seeds, *curve.shape[1:])
    draw = {
        "gaussian": lambda size: rng.standard_normal(size),
        "heavy": lambda size: rng.standard_t(5, size) / np.sqrt(5 / 3),
        "skewed": lambda size: (
            (np.exp(0.5 * rng.standard_normal(size)) - np.exp(0.125)) / np.sqrt((np.exp(0.25) - 1) * np.exp(0.25))
        ),
    }[tail]
    common, own = draw((seeds, 1, 1, 1)), draw(shape)
    return curve * (1 + scatter * (correlation * common + np.sqrt(1 - correlation**2) * own))


# --- planted errors ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("tail", ["gaussian", "heavy", "skewed"])
@pytest.mark.parametrize("relative, seeds", [("point", 100), ("final", 100), ("scale", 100), ("point", 10)])
def test_planted_errors_of_twice_the_resolution_are_refuted(tail, relative, seeds):
    rng = np.random.default_rng(20260101)
    judged = claim(stochastic=True, relative=relative, budget={"declared": 0.03 if relative != "final" else 0.2})
    law, rival = predicted(CURVE), predicted(1.5 * CURVE)
    refuted, clean = [], []
    for repeat in range(40):
        verdict = judge(judged, law, rival, measured(noisy(rng, tail=tail, seeds=seeds)))
        clean.append(verdict.outcome == "refuted")
        assert np.isfinite(verdict.resolution)
        sign = 1 if repeat % 2 else -1  # planted in a fresh repeat, not in the same noise
        planted = noisy(rng, tail=tail, seeds=seeds) * (1 + sign * 2 * verdict.resolution)
        refuted.append(judge(judged, law, rival, measured(planted)).outcome == "refuted")
    assert np.mean(refuted) >= 0.95
    assert not any(clean)


def test_half_the_resolution_is_not_always_refuted():
    """The printed number is no exaggeration: a quarter of the planted size passes at least sometimes."""
    rng = np.random.default_rng(20260102)
    judged = claim(stochastic=True, relative="point", budget={"declared": 0.03})
    outcomes = []
    for _ in range(40):
        r = judge(judged, predicted(CURVE), predicted(1.5 * CURVE), measured(noisy(rng))).resolution
        outcomes.append(judge(judged, predicted(CURVE), predicted(1.5 * CURVE), measured(noisy(rng) * (1 + r / 2))))
    assert np.mean([verdict.outcome == "refuted" for verdict in outcomes]) < 0.05


@pytest.mark.parametrize("tail", ["gaussian", "heavy"])
@pytest.mark.parametrize("seeds", [5, 100])
def test_false_alarms_without_any_budget(tail, seeds):
    """With no budget to hide in, 400 true claims of 20 points are refuted at most 400 x 1 % / 20 = 0.2 times.

    Three or more would have probability 0.1 % at that rate.
    """
    rng = np.random.default_rng(20260103)
    judged = claim(stochastic=True, relative="point", budget={"none": 0.0})
    alarms = sum(
        judge(judged, predicted(CURVE), predicted(2 * CURVE), measured(noisy(rng, tail=tail, seeds=seeds))).outcome
        == "refuted"
        for _ in range(400)
    )
    assert alarms <= 2


@pytest.mark.parametrize("relative", ["point", "final", "scale", "none"])
@pytest.mark.parametrize("sign", [1, -1])
def test_deterministic_planted_errors(relative, sign):
    rng = np.random.default_rng(20260104)
    law = predicted(np.concatenate([CURVE, 1.3 * CURVE, 0.8 * CURVE]))
    rival = predicted(1.2 * law.values)
    judged = claim(seeds=3, relative=relative, budget={"solver": 1e-3})
    for _ in range(40):
        data = law.values * (1 + 2e-5 * rng.standard_normal(law.values.shape))
        verdict = judge(judged, law, rival, measured(data))
        assert verdict.outcome == "holds" and verdict.standard_error == 0
        assert verdict.resolution < 1e-2
        planted = data + sign * 2 * verdict.resolution * (1 if relative == "none" else data)
        assert judge(judged, law, rival, measured(planted)).outcome == "refuted"


def test_one_bad_seed_refutes_a_deterministic_claim_but_not_a_mean():
    law, data = predicted(CURVE), np.repeat(CURVE, 60, axis=0)
    data = data * (1 + 0.03 * np.random.default_rng(3).standard_normal(data.shape))
    rival = predicted(1.5 * CURVE)
    assert judge(claim(seeds=60), law, rival, measured(data)).outcome == "refuted"
    mean = claim(seeds=60, stochastic=True, relative="point", budget={"b": 0.05})
    assert judge(mean, law, rival, measured(data)).outcome == "holds"


def test_runs_that_differ_by_rounding_alone_do_not_scatter():
    """Equal seeds have a standard error of 1e-17 by rounding, and a deviation of 1e-13 would be thousands of it."""
    law, rival = predicted(CURVE), predicted(1.5 * CURVE)
    data = np.repeat(CURVE * (1 + 1e-13), 30, axis=0)
    data = data * (1 + 1e-16 * np.random.default_rng(8).standard_normal(data.shape))
    assert len(np.unique(data[:, 0, 3, 0])) > 1
    judged = claim(stochastic=True, relative="point", seeds=30)
    verdict = judge(judged, law, rival, measured(data))
    assert verdict.outcome == "holds" and verdict.z == 0 and verdict.standard_error == 0
    scattered = judge(judged, law, rival, measured(CURVE * (1 + 1e-13 * np.arange(30.0)[:, None, None, None])))
    assert scattered.z > 0  # a thousand roundings are scatter


# --- the rule ---------------------------------------------------------------------------------------------------


def test_a_rival_that_fits_makes_the_claim_underpowered():
    verdict = judge(claim(), predicted(CURVE), predicted(1.001 * CURVE), measured(CURVE))
    assert verdict.outcome == "underpowered" and verdict.rival_outcome == "holds"
    assert "rival" in verdict.notes[0] and not verdict.as_expected
    assert judge(claim(), predicted(CURVE), None, measured(CURVE)).outcome == "underpowered"


def test_too_few_seeds_are_underpowered_and_the_needed_number_suffices():
    rng = np.random.default_rng(20260105)
    judged = claim(stochastic=True, relative="point", budget={"b": 0.02})
    law, rival = predicted(CURVE), predicted(1.1 * CURVE)
    few = judge(judged, law, rival, measured(noisy(rng, scatter=0.4, seeds=10)))
    assert few.outcome == "underpowered"
    needed = seeds_needed(law, rival, 0.4, budget=0.02)
    assert needed == 900  # (6 x 0.4 / (0.1 - 0.02))^2
    assert needed / 4 < few.numbers["seeds_needed"] < 4 * needed
    enough = judge(judged, law, rival, measured(noisy(rng, scatter=0.4, seeds=needed)))
    assert enough.rival_outcome == "refuted"


def test_uncertainty_widens_the_budget_where_it_is_stated():
    law = predicted(CURVE, uncertainty=0.1 * CURVE)
    data = measured(1.09 * CURVE)
    assert judge(claim(relative="point"), predicted(CURVE), predicted(2 * CURVE), data).outcome == "refuted"
    verdict = judge(claim(relative="point"), law, predicted(2 * CURVE), data)
    assert verdict.outcome == "holds"
    assert verdict.budget["prediction"] == pytest.approx(0.1) and verdict.budget["total"] == pytest.approx(0.12)


def test_a_rival_is_given_the_room_of_the_law():
    law = predicted(CURVE, uncertainty=0.3 * CURVE)
    verdict = judge(claim(relative="point"), law, predicted(1.2 * CURVE), measured(CURVE))
    assert verdict.rival_outcome == "holds" and verdict.outcome == "underpowered"
    sizes, judged = {"abscissa": SIZES}, claim(Scales, budget={"b": 0.05})
    wide = predicted(powers(-1.2), slope=-1.2, slope_error=0.3, **sizes)
    near = predicted(powers(-1.0), slope=-1.0, slope_error=0.0, **sizes)
    assert judge(judged, wide, near, measured(powers(-1.2), **sizes)).rival_outcome == "holds"


@pytest.mark.parametrize("bad", [np.nan, np.inf])
@pytest.mark.parametrize("stochastic", [False, True])
def test_a_diverged_run_refutes(bad, stochastic):
    data = np.repeat(CURVE, 30, axis=0) * (1 + 0.001 * np.random.default_rng(4).standard_normal((30, 1, 20, 1)))
    data[3, 0, 10, 0] = bad
    verdict = judge(claim(stochastic=stochastic), predicted(CURVE), predicted(2 * CURVE), measured(data))
    assert verdict.outcome == "refuted"
    json.dumps(verdict.to_dict(), allow_nan=False)


def test_outside_the_domain_whatever_the_numbers():
    assumption = {"name": "balanced", "distance": 0.5, "radius": 0.1, "holds": False, "kind": "Invariant"}
    verdict = judge(claim(), predicted(CURVE, assumptions=[assumption]), predicted(2 * CURVE), measured(CURVE))
    assert verdict.outcome == "outside_domain" and "balanced: distance 0.5 exceeds 0.1" in verdict.notes
    assert verdict.bias == 0 and verdict.resolution > 0


def test_a_run_that_never_reached_the_edge_is_outside_the_domain():
    flat = np.ones((1, 1, 30, 1))
    rise = np.minimum(1.0, np.linspace(0.3, 1.6, 30)).reshape(flat.shape)
    options = {"summary": "last_third_mean", "domain": "reaches_prediction"}
    edge = claim(relative="point", options=options)
    rival = predicted(1.9 * flat)
    assert judge(edge, predicted(flat), rival, measured(rise)).outcome == "holds"
    assert judge(edge, predicted(flat), rival, measured(0.6 * rise)).outcome == "outside_domain"
    assert judge(edge, predicted(flat), rival, measured(1.2 * rise)).outcome == "refuted"


def test_windows_leave_out_what_lies_outside():
    data = CURVE.copy()
    data[:, :, 0] *= 2
    rival = predicted(2 * CURVE)
    assert judge(claim(), predicted(CURVE), rival, measured(data)).outcome == "refuted"
    assert judge(claim(options={"window": (2, 20)}), predicted(CURVE), rival, measured(data)).outcome == "holds"
    with pytest.raises(BadData, match="no recorded point"):
        judge(claim(options={"window": (90, 99)}), predicted(CURVE), rival, measured(data))


def test_mistakes_are_named():
    with pytest.raises(UnknownName, match="did you mean 'final'"):
        judge(claim(relative="finale"), predicted(CURVE), predicted(CURVE), measured(CURVE))
    with pytest.raises(UnknownName, match="last_third_mean"):
        judge(claim(options={"summary": "last_third"}), predicted(CURVE), predicted(CURVE), measured(CURVE))
    with pytest.raises(BadData, match="same points"):
        judge(claim(), predicted(CURVE), predicted(CURVE), measured(CURVE[:, :, 1:]))


# --- orders -----------------------------------------------------------------------------------------------------

RATES = (0.2, 0.1, 0.05, 0.025)


def approach(order, second=0.0, seeds=1, axis=RATES):
    v = np.asarray(axis).reshape(1, -1, 1, 1)
    law = np.broadcast_to(CURVE, (1, len(axis), 20, 1))
    return law, np.repeat(law * (1 + 0.3 * v**order * (1 + second * v)), seeds, axis=0)


def converges(**fields):
    return claim(Converges, **{"axis": "learning_rate", "values": RATES, "order": 1.0, "relative": "scale", **fields})


def test_orders():
    law, data = approach(1.0, second=0.5)
    rival = predicted(1.3 * law)
    verdict = judge(converges(), predicted(law), rival, measured(data))
    assert verdict.outcome == "holds" and verdict.rival_outcome == "refuted"
    assert verdict.slope == pytest.approx(1.0, abs=0.02) and len(verdict.numbers["slopes"]) == 3
    assert judge(converges(order=2.0), predicted(law), rival, measured(data)).outcome == "refuted"
    for planted in (1 + 2 * verdict.resolution, 1 - 2 * verdict.resolution):
        assert judge(converges(), predicted(law), rival, measured(approach(planted, 0.5)[1])).outcome == "refuted"
    law, data = approach(2.0, second=0.5)
    assert judge(converges(order=2.0, tolerance=0.1), predicted(law), rival, measured(data)).outcome == "holds"


def test_an_order_against_the_axis_with_noise_over_seeds():
    rng = np.random.default_rng(20260106)
    widths = (64.0, 128.0, 256.0, 512.0)
    law = np.ones((1, 4, 1, 1))
    data = 1 + 0.5 * np.array(widths).reshape(1, 4, 1, 1) ** -0.5 * np.abs(
        1 + 0.05 * rng.standard_normal((40, 4, 1, 1))
    )
    wide = converges(axis="width", values=widths, order=-0.5, stochastic=True, relative="none", tolerance=0.1)
    verdict = judge(wide, predicted(law), predicted(1.2 * law), measured(data))
    assert verdict.outcome == "holds" and verdict.standard_error > 0
    flat = 1 + 0.05 * np.abs(1 + 0.05 * rng.standard_normal((40, 4, 1, 1)))
    assert judge(wide, predicted(law), predicted(1.2 * law), measured(flat)).outcome == "refuted"
    few = measured(data[:3])
    assert judge(wide, predicted(law), predicted(1.2 * law), few).outcome == "underpowered"


def test_slopes_still_moving_towards_the_order_decide_nothing():
    law = np.ones((1, 4, 1, 1))
    error = np.array([1.0, 0.95, 0.85, 0.6]).reshape(law.shape)  # slopes .07, .16, .50: towards 1, not there yet
    assert judge(converges(), predicted(law), predicted(3 * law), measured(law + error)).outcome == "underpowered"
    assert judge(converges(), predicted(law), predicted(3 * law), measured(law)).outcome == "underpowered"


def test_errors_that_grow_towards_the_limit_refute_though_their_slopes_still_move():
    law = np.ones((1, 4, 1, 1))
    error = np.array([0.0062, 0.0132, 0.0167, 0.02]).reshape(law.shape)  # slopes -1.1, -.34, -.26: a law off by 2 %
    assert judge(converges(), predicted(law), predicted(3 * law), measured(law + error)).outcome == "refuted"


# --- exponents --------------------------------------------------------------------------------------------------

SIZES = np.geomspace(10, 1000, 9).reshape(1, -1)


def powers(slope, seeds=1, scatter=0.0, rng=None):
    curve = (SIZES[0] ** slope).reshape(1, 1, -1, 1)
    noise = rng.standard_normal((seeds, 1, 9, 1)) if scatter else 0.0
    return np.repeat(curve, seeds, axis=0) * (1 + scatter * noise)


def test_exponents_and_their_planted_errors():
    rng = np.random.default_rng(20260107)
    judged = claim(Scales, budget={"estimator": 0.05}, stochastic=True, seeds=12, window=(20.0, 1000.0))
    law = predicted(powers(-1.2), abscissa=SIZES, slope=-1.2, slope_error=0.03)
    rival = predicted(powers(-0.7), abscissa=SIZES, slope=-0.7, slope_error=0.03)
    refuted = []
    for repeat in range(40):
        verdict = judge(judged, law, rival, measured(powers(-1.2, 12, 0.05, rng), abscissa=SIZES))
        assert verdict.outcome == "holds" and verdict.resolution <= 0.1
        planted = powers(-1.2 + (-1) ** repeat * 2 * verdict.resolution, 12, 0.05, rng)
        refuted.append(judge(judged, law, rival, measured(planted, abscissa=SIZES)).outcome == "refuted")
    assert np.mean(refuted) >= 0.95
    assert verdict.slope == pytest.approx(-1.2, abs=0.02) and verdict.order == -1.2
    assert verdict.bias == pytest.approx(verdict.slope - verdict.order, abs=1e-12)
    assert verdict.numbers["three_smallest"] == pytest.approx(-1.2, abs=0.2)
    assert verdict.numbers["slope_of_one_seed"]["mean"] == pytest.approx(-1.2, abs=0.05)


def test_a_verdict_keeps_no_number_per_seed():
    rng = np.random.default_rng(20260111)
    judged = claim(Scales, budget={"estimator": 0.05}, stochastic=True, seeds=400, window=(20.0, 1000.0))
    law, rival = (predicted(powers(s), abscissa=SIZES, slope=s, slope_error=0.0) for s in (-1.2, -0.7))
    verdict = judge(judged, law, rival, measured(powers(-1.2, 400, 0.05, rng), abscissa=SIZES))
    assert len(json.dumps(verdict.to_dict()["numbers"])) < 2000


def test_an_exponent_without_a_stated_slope_is_fitted_to_the_forecast():
    judged = claim(Scales, budget={"estimator": 0.05})
    law, rival = predicted(powers(-1.2), abscissa=SIZES), predicted(powers(-0.7), abscissa=SIZES)
    verdict = judge(judged, law, rival, measured(3 * powers(-1.21), abscissa=SIZES))
    assert verdict.outcome == "holds" and verdict.bias == pytest.approx(-0.01)
    with pytest.raises(BadData, match="three or more"):
        judge(claim(Scales, window=(900.0, 1000.0)), law, rival, measured(powers(-1.2), abscissa=SIZES))


# --- thresholds -------------------------------------------------------------------------------------------------


def test_thresholds():
    multiples = (0.99, 1.01)
    growth = np.array([0.98, 1.02]).reshape(1, 2, 1, 1)
    judged = claim(Threshold, axis="multiple", values=multiples, budget={"linear": 1e-3}, relative="none")
    rival = predicted(np.array([0.98, 0.985]).reshape(growth.shape))
    assert judge(judged, predicted(growth), rival, measured(growth + 5e-4)).outcome == "holds"
    wrong_side = growth.copy()
    wrong_side[0, 1] = 0.9999
    verdict = judge(judged, predicted(growth), rival, measured(wrong_side))
    assert verdict.outcome == "refuted" and "wrong side" in verdict.notes[0]
    # right side, wrong factor
    assert judge(judged, predicted(growth), rival, measured(growth + 0.005)).outcome == "refuted"
    # a law that puts the threshold elsewhere is refuted even within a wide budget
    wide = claim(Threshold, axis="multiple", values=multiples, budget={"linear": 0.5}, relative="none")
    assert judge(wide, predicted(growth), rival, measured(growth)).rival_outcome == "refuted"
