"""A GPU's report agrees with a CPU's, and the comparison notices where one does not."""

import copy
import json
from pathlib import Path

import numpy as np
import pytest
from agreement import condensed, disagreements

pytestmark = pytest.mark.instant
REFERENCE = Path(__file__).with_name("reference")


def kept(device):
    path = REFERENCE / device / "numbers.json"
    return json.loads(path.read_text()) if path.exists() else None


def test_the_kept_report_of_a_gpu_agrees_with_that_of_a_cpu():
    gpu, cpu = kept("gpu"), kept("cpu")
    if gpu is None:
        pytest.skip("no report of a GPU is kept in tests/reference/gpu; `agreement.py` says how to keep one")
    assert cpu is not None, "the report of a GPU is kept without that of a CPU"
    assert not any(entry["device"].startswith("cpu") for entry in gpu["claims"].values())
    assert disagreements(gpu, cpu) == []


def a_claim(name, values, **verdict):
    stated = {"theory": "model", "claim": name, "outcome": "holds", "bias": 0.01, "device": "cpu: cpu"}
    stated |= {"dtype": "float64", "budget": {"total": 0.02}, "critical_z": 0.0, **verdict}
    return {"verdict": stated, "measurement": {"values": values.tolist()}}


def a_report(seed=0):
    """One claim of each kind: exact in float64, exact in float32, scattering."""
    rng = np.random.default_rng(seed)
    curve = np.exp(-np.linspace(0, 3, 40)).reshape(1, 1, 40, 1)
    claims = [
        a_claim("exact", np.repeat(curve, 2, axis=0)),
        a_claim("rounded", curve * (1 + 1e-4 * rng.standard_normal(curve.shape)), dtype="float32"),
        a_claim("mean", curve * (1 + 0.1 * rng.standard_normal((50, 1, 40, 1))), critical_z=4.5),
    ]
    return {"environment": {"seed": seed}, "models": [{"claims": claims}]}


def planted(change):
    report = a_report()
    change(*report["models"][0]["claims"])
    return disagreements(condensed(a_report()), condensed(report))


def test_equal_reports_agree_and_other_seeds_do_too():
    assert disagreements(condensed(a_report()), condensed(a_report())) == []
    # 12 points at four standard errors: one false alarm in a thousand such pairs; the seed was chosen beforehand
    other = condensed(a_report(seed=1))
    other["claims"]["model/exact"] = condensed(a_report())["claims"]["model/exact"]
    assert disagreements(condensed(a_report()), other) == []


def scaled(claim, factor):
    values = np.array(claim["measurement"]["values"])
    claim["measurement"]["values"] = (values * factor).tolist()


@pytest.mark.parametrize(
    "change, line",
    [
        (lambda exact, rounded, mean: scaled(exact, 1 + 3e-8), "model/exact: numbers differ by 3.0e-08"),
        (lambda exact, rounded, mean: scaled(exact, np.nan), "model/exact: numbers differ"),
        (lambda exact, rounded, mean: scaled(mean, 1.2), "model/mean: means differ by"),
        (lambda exact, rounded, mean: rounded["verdict"].update(bias=0.05), "judged 0.01 and 0.05"),
        (lambda exact, rounded, mean: mean["verdict"].update(outcome="refuted"), "holds on cpu: cpu, refuted on"),
        (lambda exact, rounded, mean: exact["verdict"].update(dtype="float32"), "another kind of run"),
        (lambda exact, rounded, mean: exact["verdict"].update(claim="new"), "model/exact: judged on one device only"),
        (lambda exact, rounded, mean: exact["measurement"].update(values=[[[[1.0]]]]), "shapes (2, 1, 12, 1)"),
    ],
)
def test_planted_disagreements_are_seen(change, line):
    assert any(line in found for found in planted(change))


def test_differences_below_the_line_are_no_disagreement():
    assert planted(lambda exact, rounded, mean: scaled(exact, 1 + 3e-9)) == []
    assert planted(lambda exact, rounded, mean: rounded["verdict"].update(bias=0.025)) == []
    assert planted(lambda exact, rounded, mean: scaled(mean, 1.01)) == []


def test_condensing_keeps_first_and_last_points():
    report = a_report()
    claims = condensed(copy.deepcopy(report))["claims"]
    whole = np.array(report["models"][0]["claims"][0]["measurement"]["values"])
    found = np.array(claims["model/exact"]["values"])
    assert found.shape == (2, 1, 12, 1) and np.array_equal(found[:, :, [0, -1]], whole[:, :, [0, -1]])
