"""Verdicts on record, the statistics under the judge, and the plan made before training."""

import json

import numpy as np
import pytest
from test_judge import CURVE, claim, measured, noisy, powers, predicted

from learning_mechanics.theory.claims import Claim, Equals, Scales
from learning_mechanics.theory.model import models
from learning_mechanics.validate.judging.judge import CLAIMS_IN_A_REPORT, judge
from learning_mechanics.validate.judging.plan import plan, shortfall
from learning_mechanics.validate.judging.statistics import critical_value, jackknife, kurtosis, local_slopes, log_slope
from learning_mechanics.validate.judging.verdict import Verdict

pytestmark = pytest.mark.instant


# --- records and statistics -------------------------------------------------------------------------------------


def test_a_verdict_survives_the_disk_and_prints_six_lines():
    judged = claim(stochastic=True, relative="point", budget={"a": 0.01, "b": 0.02})
    data = measured(noisy(np.random.default_rng(5), scatter=0.02))
    verdict = judge(judged, predicted(CURVE), predicted(1.5 * CURVE), data, theory="sgd")
    again = Verdict.from_dict(json.loads(json.dumps(verdict.to_dict(), allow_nan=False)))
    assert again.to_dict() == verdict.to_dict() and str(again) == str(verdict)
    lines = str(verdict).splitlines()
    assert len(lines) == 6 and max(map(len, lines)) < 120
    assert lines[0] == "HOLDS  sgd / c" and "rival law: refuted" in lines[3] and "ffffffffffffffff" in lines[5]


def test_every_kind_of_claim_is_judged():
    from learning_mechanics.validate.judging.judge import _KINDS

    assert {*_KINDS, Equals} == set(Claim.__subclasses__())


def test_critical_values_against_simulation():
    """Largest |t| over 50 independent points and 10 seeds exceeds the line in at most 1 % of reports.

    4000 reports: 40 expected, more than 65 has probability below 0.01 %.
    """
    rng = np.random.default_rng(20260108)
    values = rng.standard_normal((10, 4000, 50))
    t = np.abs(values.mean(0)) / (values.std(0, ddof=1) / np.sqrt(10))
    alarms = int((t.max(1) > critical_value(50, 10)).sum())
    assert 15 <= alarms <= 65


def test_statistics_by_hand():
    assert kurtosis(np.random.default_rng(6).standard_normal((200_000, 1))).item() == pytest.approx(3, abs=0.1)
    x = np.array([1.0, 2.0, 4.0, 8.0])
    assert local_slopes(x, x**2) == pytest.approx([2, 2, 2])
    assert log_slope(x, np.stack([x, x**-1.0])) == pytest.approx([1, -1])
    values = np.random.default_rng(7).standard_normal((12, 3))
    assert jackknife(lambda v: v.mean(0), values) == pytest.approx(values.std(0, ddof=1) / np.sqrt(12))


# --- before training ------------------------------------------------------------------------------------------------


def test_the_plan_made_before_training():
    judged = claim(stochastic=True, relative="point", seeds=400, budget={"b": 0.02}, options={"scatter": 0.4})
    law, rival = predicted(CURVE), predicted(1.1 * CURVE)
    planned = plan(judged, law, rival)
    assert planned == {"scatter": 0.4, "seeds": 400, "seeds_needed": 900}  # (6 x 0.4 / (0.1 - 0.02))^2
    assert "900 seeds were needed" in shortfall(planned)[0]
    assert shortfall(plan(claim(**{**vars(judged), "seeds": 900}), law, rival)) == ()
    assert plan(judged, law, predicted(1.01 * CURVE))["seeds_needed"] is None
    # the clearest point in the window counts
    late = CURVE * np.where(np.arange(20) < 10, 1.1, 1.5).reshape(1, 1, 20, 1)
    assert plan(judged, law, predicted(late))["seeds_needed"] == 25
    early = claim(**{**vars(judged), "options": {"scatter": 0.4, "window": (1, 10)}})
    assert plan(early, law, predicted(late))["seeds_needed"] == 900
    assert plan(claim(stochastic=True), law, rival) == {} and plan(claim(options={"scatter": 1.0}), law, rival) == {}


def test_the_plan_of_an_exponent():
    judged = claim(Scales, stochastic=True, seeds=12, budget={"b": 0.05}, options={"scatter": 0.1})
    law, rival = (predicted(powers(s), slope=s, slope_error=0.05) for s in (-1.2, -1.0))
    assert plan(judged, law, rival)["seeds_needed"] == 36  # (6 x 0.1 / (0.2 - 0.1))^2


def test_the_share_of_false_alarms_covers_all_claims_there_are():
    """Every claim takes one part in `CLAIMS_IN_A_REPORT` of the report's 1 %; more claims would exceed it."""
    stochastic = [c.name for model in models() for c in model().claims() if c.stochastic]
    assert 0 < len(stochastic) <= CLAIMS_IN_A_REPORT
