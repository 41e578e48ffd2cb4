"""Which reductions hold: distances by independent arithmetic, systems that shrink only as far as the data allow."""

import json

import numpy as np
import pytest
import sympy as sp
from command_line import answer, refused

import learning_mechanics as lm
from learning_mechanics.cli import main
from learning_mechanics.solvers.ode import integrate
from learning_mechanics.theory.architecture.network import chain
from learning_mechanics.theory.dataset import Dataset
from learning_mechanics.theory.derivation.network_flow import network_flow
from learning_mechanics.theory.derivation.standard_assumptions import LargeDepth, SmallInitialisation
from learning_mechanics.theory.errors import BadData, NoClosedForm, UnknownName
from learning_mechanics.theory.setup import Initialisation
from learning_mechanics.theory.system import Flow

pytestmark = pytest.mark.short
ALIGNED = Initialisation("aligned_balanced", 0.01)
rng = np.random.default_rng(5)
RAW = Dataset(rng.standard_normal((60, 4)) * [3.0, 1.0, 0.5, 0.2], rng.standard_normal((60, 3)), "raw")
WHITE = RAW.prepare("centre", "whiten")


def held(reduction):
    return {finding.name: finding.holds for finding in reduction.findings}


@pytest.mark.parametrize("depth", [2, 3, 4])
def test_aligned_balanced_weights_on_white_data_leave_one_equation(depth):
    found = lm.reduce(lm.DeepLinear(depth=depth), WHITE, initialisation=ALIGNED, width=6)
    assert found.applied == ("whitened", "aligned", "balanced") and len(found.reduced.unknowns) == 1
    got = found.reduced.equations[0]
    point = {symbol: {"u": 0.4, "s": 1.3}[str(symbol)] for symbol in got.free_symbols}
    assert float(got.subs(point)) == pytest.approx(0.4 ** (depth - 1) * (1.3 - 0.4**depth), rel=1e-12)


@pytest.mark.parametrize(
    ("data", "initialisation", "depth", "applied"),
    [
        (RAW, Initialisation("normal", 0.01), 3, ()),
        (WHITE, Initialisation("normal", 0.01), 3, ("whitened",)),
        (RAW, Initialisation("normal", 0.01), 2, ("Gram blocks",)),
        (WHITE, Initialisation("normal", 0.01), 2, ("whitened", "Gram blocks")),
        (RAW, ALIGNED, 3, ()),  # balanced, but the covariance mixes the modes
        (WHITE, Initialisation("lambda_balanced", 0.05, 0.2), 2, ("whitened", "lambda-balanced")),
    ],
)
def test_only_what_holds_is_applied(data, initialisation, depth, applied):
    width = 3 if initialisation.name == "lambda_balanced" else 6
    assert lm.reduce(lm.DeepLinear(depth=depth), data, initialisation=initialisation, width=width).applied == applied


def test_distances_are_what_they_say():
    """Whiteness, imbalance and smallness computed here from the arrays themselves."""
    W1, W2 = rng.standard_normal((5, 4)), 0.3 * rng.standard_normal((3, 5))
    found = lm.reduce(chain("input", "width", "output"), {"x": RAW.x, "y": RAW.y, "W1": W1, "W2": W2})
    distance = {finding.name: finding.distance for finding in found.findings}
    covariance = RAW.x.T @ RAW.x / 60
    correlation = RAW.y.T @ RAW.x / 60
    assert distance["whitened"] == pytest.approx(np.abs(np.linalg.eigvalsh(covariance) - 1).max(), rel=1e-12)
    largest = [np.linalg.svd(matrix)[1][0] for matrix in (W1, W2, covariance, correlation, W2.T @ W2 - W1 @ W1.T)]
    assert distance["small initialisation"] == pytest.approx(
        largest[0] * largest[1] * largest[2] / largest[3], rel=1e-12
    )
    assert distance["balanced"] == pytest.approx(largest[4] / max(largest[0], largest[1]) ** 2, rel=1e-12)
    assert distance["large depth"] == 0.5


def test_what_a_failing_limit_needs_makes_it_hold():
    """Weights times the factor on the card are just small enough."""
    found = lm.reduce(lm.DeepLinear(depth=3), WHITE, initialisation=Initialisation("normal", 2.0), width=6)
    finding = next(finding for finding in found.findings if finding.name == "small initialisation")
    assert not finding.holds
    factor = float(finding.need.split()[-1])
    smaller = Initialisation("normal", 2.0 * 0.95 * factor)
    assert held(lm.reduce(lm.DeepLinear(depth=3), WHITE, initialisation=smaller, width=6))["small initialisation"]


def test_the_reduced_system_moves_as_the_whole_one():
    """Gram blocks of integrated weights against integrated Gram blocks, on data that are not white."""
    two = network_flow(chain("input", "width", "output"))
    W1, W2 = 0.5 * rng.standard_normal((5, 4)), 0.5 * rng.standard_normal((3, 5))
    found = lm.reduce(two, {"x": RAW.x, "y": RAW.y, "W1": W1, "W2": W2})
    data = dict(zip(("Sigma_xx", "Sigma_yx"), RAW.covariances(), strict=True))
    times = np.linspace(0, 1.0, 3)
    whole = integrate(two, {**data, "W1": W1, "W2": W2}, times, tolerance=1e-11)
    blocks = {"P": W1.T @ W1, "R": W2 @ W1, "T": W2 @ W2.T}
    closed = integrate(found.reduced, {**data, **blocks}, times, tolerance=1e-11)
    assert np.abs(closed["R"][-1] - whole["W2"][-1] @ whole["W1"][-1]).max() < 1e-8


@pytest.mark.parametrize("depth", [2, 3, 5])
def test_small_initialisation_is_the_leading_order(depth):
    """The error of the leading system, at strength a, is the derived remainder: it falls as a/s, with factor one."""
    early = SmallInitialisation()
    a, s = sp.symbols("a s", positive=True)
    flow = Flow((a,), (depth * a ** (2 - sp.Rational(2, depth)) * (s - a),))
    (leading,), (remainder,) = flow.assume(early).equations, early.remainder(flow)
    for strength in (1e-2, 1e-4):
        point = {a: strength, s: 1.7}
        exact, first, rest = (float(e.subs(point)) for e in (flow.equations[0], leading, remainder))
        assert exact == pytest.approx(first + rest, rel=1e-12)
        assert 1 - exact / first == pytest.approx(early.distance({"a": strength, "s": 1.7}), rel=1e-9)


def test_small_initialisation_of_matrices_counts_their_degree():
    three = network_flow(chain("input", 4, 4, "output"))
    early = SmallInitialisation()
    assert [str(e) for e in three.assume(early).equations] == [
        "W2.T*W3.T*Sigma_yx",
        "W3.T*Sigma_yx*W1.T",
        "Sigma_yx*W1.T*W2.T",
    ]
    assert "Sigma_xx" in str(early.remainder(three)[0]) and "Sigma_yx" not in str(early.remainder(three)[0])


def test_large_depth_is_one_over_the_number_of_layers():
    L = sp.Symbol("L", positive=True)
    assert LargeDepth(L).distance({"L": 20}) == 0.05
    ten = network_flow(chain("input", *["width"] * 9, "output"))
    found = lm.reduce(ten, WHITE, initialisation=Initialisation("normal", 0.01), width=4)
    assert held(found)["large depth"]


def test_the_record_is_a_short_card_and_plain_data():
    found = lm.reduce(lm.DeepLinear(), WHITE, width=6)
    assert repr(found) == str(found) and len(str(found).splitlines()) <= 20
    plain = json.loads(json.dumps(found.to_dict()))
    assert plain["applied"] == list(found.applied) and plain["reduced"]["trail"]


@pytest.mark.parametrize(
    ("what", "on", "error", "found"),
    [
        (lm.EdgeOfStability(), WHITE, NoClosedForm, "no flow of weight matrices"),
        (Flow(sp.symbols("a,"), sp.symbols("b,")), WHITE, NoClosedForm, "no flow of matrices"),
        (lm.DeepLinear(), {"x": WHITE.x}, BadData, "no arrays x and y"),
        (lm.DeepLinear(), {"x": RAW.x, "y": RAW.y, "W1": np.eye(5), "W2": np.eye(3, 5)}, BadData, "4 inputs"),
    ],
)
def test_what_cannot_be_reduced_is_said(what, on, error, found):
    with pytest.raises(error, match=found):
        lm.reduce(what, on)


def test_a_misspelt_initialisation_names_the_nearest():
    with pytest.raises(UnknownName, match="did you mean 'normal'"):
        lm.reduce(lm.DeepLinear(), WHITE, initialisation=Initialisation("nrmal"))


def test_the_command_reads_data_and_weights(capsys, tmp_path):
    np.savez(tmp_path / "data.npz", x=RAW.x, y=RAW.y)
    np.savez(tmp_path / "start.npz", W1=np.eye(4), W2=np.eye(3, 4))
    command = ("reduce", "deep-linear", tmp_path / "data.npz")
    found = answer(capsys, *command, "--start", tmp_path / "start.npz", "--prepare", "centre,whiten")
    distances = {finding["name"]: finding["distance"] for finding in found["findings"]}
    assert found["applied"][0] == "whitened" and distances["lambda-balanced"] > 0
    assert main([str(part) for part in (*command, "--depth", "3", "--width", "8")]) == 0
    assert "smallest exact system" in capsys.readouterr().out
    assert "unknown preparation 'whitn'; did you mean 'whiten'?" in refused(capsys, *command, "--prepare", "whitn")
    assert "give numbers above 0" in refused(capsys, *command, "--width", "0")
    assert "no flow of weight matrices" in refused(capsys, "reduce", "edge-of-stability", tmp_path / "data.npz")


@pytest.mark.instant
def test_what_is_no_data_is_explained():
    from learning_mechanics.theory.errors import BadData

    with pytest.raises(BadData, match="a tuple; give a Dataset"):
        lm.reduce(lm.DeepLinear(), (np.eye(3), np.eye(3)))
