"""From a law to numbers: scalars along the run against modes, windows without points."""

import numpy as np
import pytest
import sympy as sp

from learning_mechanics.solvers.predict import solve, window_slope
from learning_mechanics.theory.architecture.network import chain
from learning_mechanics.theory.claims import Law, Scales
from learning_mechanics.theory.dataset import Dataset, PowerLaw
from learning_mechanics.theory.errors import BadData, NoClosedForm, UnknownName
from learning_mechanics.theory.setup import Setup
from learning_mechanics.theory.symbols import modes, over, positive
from learning_mechanics.theory.system import Flow, Map

pytestmark = pytest.mark.short
lam, clock, u = modes("lambda"), sp.Symbol("s", nonnegative=True), positive("u")
SETUP = Setup(network=chain(1, 1), steps=4, records=5, data=PowerLaw(dim=3))
RATES = {"five": np.array([0.1, 0.2, 0.3, 0.4, 0.5]), "three": np.array([0.1, 0.2, 0.3])}


def solved(system, bound, readout="seen"):
    instance = SETUP.draw(0, Dataset(np.ones((2, 1)), np.ones(2)))
    return solve(Law("law", lambda: system, lambda _: bound, readout), instance)


@pytest.mark.parametrize("name", RATES)
def test_a_scalar_of_the_run_meets_modes(name):
    """exp(-lambda s) has a value for every step and mode, also where there are as many modes as steps."""
    system = Map((clock,), (clock + 1,), observables={"seen": sp.exp(-lam * clock), "sum": over(sp.exp(-lam * clock))})
    expected = np.exp(-np.arange(5.0)[:, None] * RATES[name])
    assert solved(system, {"s": 0.0, "lambda": RATES[name]}).values == pytest.approx(expected)
    total = solved(system, {"s": 0.0, "lambda": RATES[name]}, "sum").values
    assert total == pytest.approx(expected.sum(1, keepdims=True))


@pytest.mark.parametrize("name", RATES)
def test_what_does_not_move_keeps_its_modes(name):
    system = Flow((u,), (1 - u,), observables={"seen": 2 * lam})
    found = solved(system, {"u": 0.5, "lambda": RATES[name]}).values
    assert np.array_equal(found, np.tile(2 * RATES[name], (5, 1)))


def test_a_flow_of_one_scalar_is_one_component():
    system = Flow((u,), (1 - u,), observables={"seen": u**2})
    found = solved(system, {"u": 0.5}).values
    assert found[:, 0] == pytest.approx((1 - 0.5 * np.exp(-0.1 * np.arange(5.0))) ** 2) and found.shape == (5, 1)


def test_a_window_without_points_is_one_line():
    claim = Scales("slope", "", "o", SETUP, None, None, window=(50.0, 90.0))
    with pytest.raises(BadData, match="0 points lie in the window 50 to 90"):
        window_slope(claim, np.arange(1.0, 6.0)[None], np.ones((1, 1, 5, 1)))


@pytest.mark.parametrize("wrong", [{"dim": 0}, {"dim": 2.5}, {"noise": -1.0}, {"capacity": float("nan")}])
def test_power_laws_that_do_not_exist(wrong):
    with pytest.raises(BadData, match=next(iter(wrong))):
        PowerLaw(**wrong)


def test_a_system_needs_one_equation_per_unknown():
    with pytest.raises(BadData, match="Flow: 1 unknowns but 0 equations; give one equation per unknown"):
        Flow((u,), ())


def test_a_sum_over_modes_is_not_differentiated_by_one_of_them():
    with pytest.raises(NoClosedForm, match="differentiate by a scalar"):
        over(lam**2).diff(lam)


def test_arguments_of_the_wrong_kind_are_one_line():
    import learning_mechanics as lm

    with pytest.raises(BadData, match="is bound to no data; bind them with"):
        lm.exponents(lm.KernelRegression())
    with pytest.raises(UnknownName, match="unknown unknown 'u'"):
        lm.gradient_flow(3, on=u)


def test_a_bare_system_gives_its_unknowns_and_observables_by_name():
    """A flow with a closed form, a flow of matrices, a map and a fixed point, each against its own arithmetic."""
    from learning_mechanics.theory.derivation.network_flow import network_flow
    from learning_mechanics.theory.system import FixedPoint

    a, s = positive("a s")
    flow = Flow((a,), (s - a,), {"gap": s - a, "seen": lam * a})
    found = solve(flow, {"a": 0.5, "s": 2.0}, at=[0.0, 1.0])
    assert set(found) == {"a", "gap"}  # nothing is known of lambda
    np.testing.assert_allclose(found["gap"], 1.5 * np.exp([0.0, -1.0]), rtol=1e-12)

    rng = np.random.default_rng(0)
    W, x = rng.standard_normal((2, 3)), np.diag([2.0, 1.0, 0.5])
    target = rng.standard_normal((2, 3))
    values = {"W1": W, "Sigma_xx": x, "Sigma_yx": target @ x}
    one = solve(network_flow(chain("input", "output")), values, at=[0.0, 0.7])["end_to_end"]
    np.testing.assert_allclose(one[1], target + (W - target) * np.exp(-0.7 * np.diag(x)), rtol=1e-8, atol=1e-10)

    halved = solve(Map((a,), (a / 2,), {"twice": 2 * a}), {"a": 8.0}, at=[0, 3])
    assert halved["a"].tolist() == [8.0, 1.0] and halved["twice"].tolist() == [16.0, 2.0]
    assert solve(FixedPoint((a,), (a**2 - s,)), {"s": 9.0})["a"] == pytest.approx(3.0, rel=1e-12)


@pytest.mark.parametrize(
    ("values", "more", "said"),
    [
        ({"a": 1.0}, {"at": [0]}, "no value of s; give a, s by name|no value of s; give s, a by name"),
        ({"a": 1.0, "s": 1.0}, {}, "nothing says when"),
        ({"a": 1.0, "s": 1.0}, {"at": [0], "solver": "nowhere:nothing"}, "no solver 'nowhere:nothing'"),
    ],
)
def test_what_a_bare_system_lacks_is_one_line(values, more, said):
    a, s = positive("a s")
    with pytest.raises(BadData, match=said):
        solve(Flow((a,), (s - a,)), values, **more)


def test_a_law_goes_with_an_instance_and_a_system_with_values():
    a, s = positive("a s")
    flow = Flow((a,), (s - a,))
    instance = SETUP.draw(0, Dataset(np.ones((2, 1)), np.ones(2)))
    with pytest.raises(BadData, match="a Flow on a Instance; give a law and an instance, or a system and values"):
        solve(flow, instance)
    with pytest.raises(BadData, match="a Law on a dict"):
        solve(Law("law", lambda: flow, lambda _: {}, "a"), {"a": 1.0})


def test_a_model_or_network_in_the_place_of_a_system_is_one_line():
    import learning_mechanics as lm

    for function in (lm.closed_form, lm.conserved, lm.jax_code):
        with pytest.raises(BadData, match="a DeepLinear is no system; give model.derive()"):
            function(lm.DeepLinear())
    with pytest.raises(BadData, match="document: a Network is no system"):
        lm.document(chain("input", "output"))
    with pytest.raises(BadData, match="document: DeepLinear is no system"):
        lm.document(lm.DeepLinear)


@pytest.mark.short
def test_arrays_that_do_not_fit_are_one_line():
    import learning_mechanics as lm

    flow = lm.network_flow(lm.chain("input", "width", "output"))
    values = {"W1": np.ones((3, 4)), "W2": np.ones((2, 5)), "Sigma_xx": np.eye(4), "Sigma_yx": np.ones((2, 4))}
    with pytest.raises(BadData, match="do not fit each other") as caught:
        lm.solve(flow, values, at=[0.0, 1.0])
    assert "\n" not in str(caught.value)
    with pytest.raises(BadData, match="give a Network"):
        lm.network_flow("input")
