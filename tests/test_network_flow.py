"""Equations of motion of linear graphs against `jax.grad` of the interpreted network, on graphs that are on no list."""

import time

import numpy as np
import pytest
import sympy as sp

from learning_mechanics.theory.architecture.network import Network, Node, chain
from learning_mechanics.theory.derivation import network_flow as derivation
from learning_mechanics.theory.derivation.conserved import rate_of_change
from learning_mechanics.theory.derivation.network_flow import linear_maps, moment_definitions, moments, network_flow
from learning_mechanics.theory.document.array_code import jax_code
from learning_mechanics.theory.errors import BadData, LearningMechanicsError, NoClosedForm, UnknownName

SIZES = {"p": 2, "q": 3, "r": 4}
SAMPLES = 9


def random_network(seed: int) -> Network:
    """A linear graph: chains, skips, ties (also transposed), scales, gates, one or two inputs and outputs."""
    rng = np.random.default_rng(seed)
    names = rng.random() < 0.5
    widths = list(SIZES) if names else list(SIZES.values())
    nodes: list[Node] = []
    width: dict[str, object] = {}
    shapes: dict[str, tuple] = {}

    def add(op, inputs=(), **fields):
        node = Node(f"n{len(nodes)}", op, tuple(inputs), **fields)
        width[node.name] = fields.get("width") or (1 if op == "total" else width[inputs[0]])
        nodes.append(node)

    # of two inputs the first needs a number
    for place in range(several := rng.integers(1, 3)):
        add("input", width=int(rng.integers(2, 4)) if several == 2 and place == 0 else widths[rng.integers(2)])
    for _ in range(rng.integers(3, 8)):
        source = nodes[max(-len(nodes), -int(rng.geometric(0.6)))].name  # mostly the latest
        equal = [name for name in width if width[name] == width[source] and name != source]
        ties = [(w, s) for w, s in shapes.items() if width[source] in s]
        kind = rng.choice(["dense", "dense", "dense", "tie", "sum", "sum", "scale", "gate", "total"])
        if kind == "tie" and ties:
            weight, (out, into) = ties[rng.integers(len(ties))]
            transposed = bool(width[source] == out and (width[source] != into or rng.random() < 0.5))
            how = rng.choice(["standard", "ntk"])
            width_after = into if transposed else out
            add("dense", (source,), weight=weight, width=width_after, transposed=transposed, parameterization=how)
        elif kind == "sum" and equal:
            other = equal[rng.integers(len(equal))]
            add("sum", (source, other), coefficients=tuple(rng.integers(1, 5, 2) / 4) if rng.random() < 0.5 else ())
        elif kind == "scale":
            add("scale", (source,), weight=f"v{len(nodes)}")
        elif kind == "gate":
            add("gate", (source,), gate=f"g{rng.integers(2)}")
        elif kind == "total":
            add("total", (source,))
        else:
            out = widths[rng.integers(2)]
            weight = f"W{len(nodes)}"
            shapes[weight] = (out, width[source])
            add("dense", (source,), weight=weight, width=out, parameterization=rng.choice(["standard", "ntk"]))
    add("dense", (nodes[-1].name,), weight="readout", width=widths[rng.integers(2)])
    last = [node.name for node in nodes if node.op != "input"][-2:]
    outputs = tuple(last) if rng.random() < 0.3 and isinstance(width[last[0]], int) else (last[-1],)
    return Network(tuple(nodes), outputs)


def sized(network, name):
    width = network.widths()[name]
    return SIZES[width] if isinstance(width, str) else width


def draw(network: Network, seed: int = 0):
    """Weights, inputs, targets and gates at random; rows are samples."""
    rng = np.random.default_rng([seed, 7])
    weights = {name: rng.standard_normal(shape) for name, shape in network.shapes(SIZES).items()}
    x = rng.standard_normal((SAMPLES, sum(sized(network, name) for name in network.inputs))) + 0.2
    y = rng.standard_normal((SAMPLES, sum(sized(network, name) for name in network.outputs)))
    return weights, x, y, {name: rng.standard_normal(SAMPLES) for name in network.gates}


def automatic(network, weights, x, y, gates):
    """Loss and its gradient by automatic differentiation of the interpreted graph."""
    import jax
    import jax.numpy as jnp

    from learning_mechanics.validate.experiments.forward import forward

    run = forward(network)

    def loss(parameters):
        return 0.5 * jnp.mean(jnp.sum((y - run(parameters, x, gates)) ** 2, axis=1))

    with jax.enable_x64(True):
        value, gradient = jax.value_and_grad(loss)({name: jnp.asarray(w) for name, w in weights.items()})
        return float(value), {name: np.asarray(g) for name, g in gradient.items()}


def run_code(system, arrays):
    """The printed NumPy function, executed: it shares nothing with the package's own evaluator."""
    scope: dict = {}
    exec(jax_code(system, name="function", backend="numpy"), scope)  # noqa: S102
    code = scope["function"].__code__
    found = scope["function"](*(arrays[name] for name in code.co_varnames[: code.co_argcount]))
    return found if isinstance(found, tuple) else (found,)


def compare(network, seed=0):
    weights, x, y, gates = draw(network, seed)
    value, gradient = automatic(network, weights, x, y, gates)
    flow = network_flow(network)
    arrays = {**weights, **moments(network, x, y, gates)}
    rates = run_code(flow, arrays)
    assert [str(unknown) for unknown in flow.unknowns] == list(network.shapes(SIZES))
    for unknown, rate in zip(flow.unknowns, rates, strict=True):
        truth = -gradient[str(unknown)]
        assert np.shape(rate) == truth.shape
        assert np.abs(rate - truth).max() <= 1e-12 * np.abs(truth).max(), (network, unknown)
    return flow, arrays, value


@pytest.mark.short
@pytest.mark.parametrize("block", range(10))
def test_fifty_random_graphs_equal_automatic_differentiation(block):
    for seed in range(5 * block, 5 * block + 5):
        compare(random_network(seed), seed)


@pytest.mark.instant
def test_six_layers_in_less_than_two_seconds():
    start = time.process_time()
    flow = network_flow(chain("input", *(f"hidden{layer}" for layer in range(1, 6)), "output"))
    assert time.process_time() - start < 2 and len(flow.equations) == 6


@pytest.mark.instant
def test_the_random_graphs_hold_every_kind():
    graphs = [random_network(seed) for seed in range(50)]
    nodes = [node for graph in graphs for node in graph.nodes]
    used = [node.weight for graph in graphs for node in graph.nodes if node.op == "dense"]
    assert {node.op for node in nodes} >= {"input", "dense", "sum", "scale", "gate", "total"}
    assert sum(node.transposed for node in nodes) >= 5 and len(used) > len(set(used))
    assert any(len(graph.inputs) == 2 for graph in graphs) and any(len(graph.outputs) == 2 for graph in graphs)
    assert any(len(linear_maps(graph)) > 3 for graph in graphs)


@pytest.mark.short
def test_chains_of_every_shape_and_depth():
    hypothesis = pytest.importorskip("hypothesis")
    from hypothesis import strategies as st

    @hypothesis.settings(max_examples=12, deadline=None, derandomize=True, database=None)
    @hypothesis.given(st.lists(st.integers(1, 4), min_size=2, max_size=8), st.sampled_from(["standard", "ntk"]))
    def check(widths, parameterization):
        compare(chain(*widths, parameterization=parameterization))

    check()


AUTOENCODER = Network(
    (
        Node("x", "input", width="d"),
        Node("h", "dense", ("x",), weight="W", width="k"),
        Node("y", "dense", ("h",), weight="W", width="d", transposed=True),
    )
)
GATED = Network(
    (
        Node("x", "input", width="r"),
        Node("h", "dense", ("x",), weight="W1", width="q"),
        Node("left", "gate", ("h",), gate="f"),
        Node("right", "gate", ("h",), gate="g"),
        Node("a", "dense", ("left",), weight="W2", width="p"),
        Node("b", "dense", ("right",), weight="W3", width="p"),
        Node("y", "sum", ("a", "b")),
    )
)


@pytest.mark.instant
def test_equations_read_as_on_paper():
    (rate,) = network_flow(AUTOENCODER).equations
    assert str(rate) == "W*((Sigma_yx - W.T*W*Sigma_xx) + (Sigma_yx - W.T*W*Sigma_xx).T)"
    gated = network_flow(GATED)
    assert str(gated.equations[1]) == "(Sigma_yx_f - W2*W1*Sigma_xx_f_f - W3*W1*Sigma_xx_f_g)*W1.T"
    assert r"W_{2}^{T} \left(\Sigma_{yx}" in sp.latex(network_flow(chain("input", "width", "output")))
    assert "arXiv:2207.10430" in gated.trail.references[0]
    check = gated.trail.steps[-1]
    assert check.residual < 1e-12 and "random samples" in check.check


@pytest.mark.short
def test_the_loss_in_moments_is_the_loss_of_the_samples():
    for network in (GATED, random_network(3), random_network(8)):
        weights, x, y, gates = draw(network)
        value, _ = automatic(network, weights, x, y, gates)
        from learning_mechanics.theory.system import FixedPoint

        loss = network_flow(network).observables["loss"]
        system = FixedPoint((sp.Symbol("L"),), (loss,))
        (found,) = run_code(system, {"L": 0.0, **weights, **moments(network, x, y, gates)})
        assert found == pytest.approx(value, rel=1e-12)


@pytest.mark.instant
def test_moments_are_means_over_samples():
    rng = np.random.default_rng(1)
    x, y, f, g = rng.standard_normal((6, 4)), rng.standard_normal((6, 2)), rng.random(6), rng.random(6)
    found = moments(GATED, x, y, {"f": f, "g": g})
    by_hand = np.mean([f[i] * g[i] * np.outer(x[i], x[i]) for i in range(6)], axis=0)
    assert np.allclose(found["Sigma_xx_f_g"], by_hand, rtol=1e-14)
    assert np.allclose(found["Sigma_yx_g"], np.mean([g[i] * np.outer(y[i], x[i]) for i in range(6)], axis=0))
    assert set(found) == {str(symbol) for symbol in moment_definitions(GATED)}
    assert set(map(str, network_flow(GATED).parameters)) == set(found)


@pytest.mark.instant
def test_gated_modes_race():
    """Aligned pathways obey the reduction of Saxe, Sodhani & Lewallen 2022: a shared layer and one for each gate."""
    from learning_mechanics.theory.derivation.standard_assumptions import Aligned

    flow = network_flow(GATED).assume(Aligned())
    u1, u2, u3 = flow.unknowns
    symbol = {str(parameter): parameter for parameter in flow.parameters}
    shared = symbol["s_f"] - u1 * (symbol["lambda_f_f"] * u2 + symbol["lambda_f_g"] * u3)
    assert sp.expand(flow.equations[1] - u1 * shared) == 0


@pytest.mark.instant
def test_any_smooth_loss_through_its_derivative_alone():
    flow = network_flow(chain("input", "width", "output"), loss="any")
    W1, W2 = flow.unknowns
    assert [str(rate) for rate in flow.equations] == ["-W2.T*G", "-G*W1.T"]
    assert rate_of_change(flow, W2.T * W2 - W1 * W1.T) == sp.ZeroMatrix(*W1.shape[:1] * 2)
    assert rate_of_change(flow, W2.T * W2 + W1 * W1.T) != sp.ZeroMatrix(*W1.shape[:1] * 2)
    gated = network_flow(GATED, loss="any")
    assert [str(rate) for rate in gated.equations] == ["-W2.T*G_f - W3.T*G_g", "-G_f*W1.T", "-G_g*W1.T"]


@pytest.mark.short
def test_any_smooth_loss_against_automatic_differentiation():
    import jax
    import jax.numpy as jnp

    flow = network_flow(AUTOENCODER, loss="any")
    rng = np.random.default_rng(3)
    weight = rng.standard_normal((2, 4))
    with jax.enable_x64(True):
        outer = lambda F: jnp.sum(jnp.sin(F)) + jnp.sum(F**4)  # noqa: E731
        truth = -np.asarray(jax.grad(lambda w: outer(w.T @ w))(jnp.asarray(weight)))
        slope = np.asarray(jax.grad(outer)(jnp.asarray(weight.T @ weight)))
    (rate,) = run_code(flow, {"W": weight, "G": slope})
    assert np.abs(rate - truth).max() < 1e-12 * np.abs(truth).max()


@pytest.mark.instant
def test_a_weight_that_reaches_no_output_does_not_move():
    network = Network(
        (
            Node("x", "input", width="d"),
            Node("idle", "dense", ("x",), weight="A", width="h"),
            Node("y", "dense", ("x",), weight="B", width="o"),
        )
    )
    flow = network_flow(network)
    assert flow.equations[0] == sp.ZeroMatrix(*flow.unknowns[0].shape)


@pytest.mark.instant
@pytest.mark.parametrize(
    "planted",
    [
        lambda rate: sp.Rational(1001, 1000) * rate,
        lambda rate: rate.xreplace({m: m.T for m in rate.atoms(sp.MatrixSymbol) if m.name == "Sigma_yx"}),
    ],
    ids=["factor", "transposed"],
)
def test_planted_errors_are_caught(monkeypatch, planted):
    honest = derivation._velocity
    monkeypatch.setattr(derivation, "_velocity", lambda *a: planted(honest(*a)))
    with pytest.raises(LearningMechanicsError, match="differs from the numerical one"):
        network_flow(AUTOENCODER if "T" in str(planted) else chain(3, 3))


@pytest.mark.instant
def test_a_planted_error_in_a_moment_is_caught(monkeypatch):
    honest = derivation._Names.samples
    monkeypatch.setattr(derivation._Names, "samples", lambda self, a, b: 2 * honest(self, a, b))
    with pytest.raises(LearningMechanicsError, match="differs from the numerical one"):
        network_flow(GATED)


@pytest.mark.instant
def test_refusals_say_what_to_do():
    square = Network(
        (
            Node("x", "input", width="d"),
            Node("a", "dense", ("x",), weight="A", width="h"),
            Node("b", "dense", ("x",), weight="B", width="h"),
            Node("y", "product", ("a", "b")),
        )
    )
    with pytest.raises(NoClosedForm, match="node 'y' multiplies features"):
        network_flow(square)
    with pytest.raises(UnknownName, match="unknown loss 'logistic'"):
        network_flow(GATED, loss="logistic")
    with pytest.raises(UnknownName, match="unknown gate 'g'; did you mean"):
        moments(GATED, np.ones((3, 4)), np.ones((3, 2)), {"f": np.ones(3), "gg": np.ones(3)})
    with pytest.raises(BadData, match="samples"):
        moments(GATED, np.ones((3, 4)), np.ones((3, 2)), {"f": np.ones(3), "g": np.ones(4)})
    with pytest.raises(BadData, match="has 3 columns, not 4"):
        moments(chain(4, 2), np.ones((5, 3)), np.ones((5, 2)))
    with pytest.raises(NoClosedForm, match="2 end-to-end maps and 2 gates"):
        derivation.linear_map(GATED)


@pytest.mark.short
@pytest.mark.parametrize("network", [GATED, AUTOENCODER, chain("p", "q", "r"), random_network(5)])
def test_printed_jax_code_equals_printed_numpy_code(network):
    import jax

    flow = network_flow(network)
    sizes = {**SIZES, "d": 4, "k": 2}
    rng = np.random.default_rng(0)
    arrays = {name: rng.standard_normal(shape) for name, shape in network.shapes(sizes).items()}
    for symbol in flow.parameters:
        shape = [int(size.subs({s: sizes[str(s)] for s in size.free_symbols})) for size in getattr(symbol, "shape", ())]
        arrays[str(symbol)] = rng.standard_normal(shape)
    scope: dict = {}
    exec(jax_code(flow, name="function"), scope)  # noqa: S102
    code = scope["function"].__code__
    with jax.enable_x64(True):
        found = scope["function"](*(arrays[name] for name in code.co_varnames[: code.co_argcount]))
    found = found if isinstance(found, tuple) else (found,)
    for one, other in zip(found, run_code(flow, arrays), strict=True):
        assert np.abs(np.asarray(one) - other).max() <= 1e-12 * np.abs(other).max()


@pytest.mark.instant
def test_printed_code_of_scalars_and_modes():
    from learning_mechanics.theory.errors import CannotCompile
    from learning_mechanics.theory.symbols import modes, over, scalars
    from learning_mechanics.theory.system import Flow

    u, s, lam = *scalars("u s"), modes("lambda")
    rate = sp.Max(u, s, 0) + sp.Heaviside(u) + sp.Piecewise((u, u > 1), (s, True)) + over(lam / (lam + 1)) - sp.pi * u
    arrays = {"u": np.array([0.5, 2.0]), "s": 0.7, "lambda_": np.array([1.0, 3.0])}
    (found,) = run_code(Flow((u,), (rate,)), arrays)
    by_hand = [0.7 + 1 + 0.7 + 1.25 - np.pi * 0.5, 2 + 1 + 2 + 1.25 - np.pi * 2]
    assert np.allclose(found, by_hand, rtol=1e-14)
    with pytest.raises(CannotCompile, match="zeta has no jnp counterpart"):
        jax_code(Flow((u,), (sp.zeta(u),)))
    with pytest.raises(UnknownName, match="unknown backend 'torch'"):
        jax_code(Flow((u,), (u,)), backend="torch")


@pytest.mark.instant
def test_equations_of_every_operation_read_as_mathematics():
    from learning_mechanics.theory.optimizers.optimizer_maps import with_optimizer

    nodes = (
        Node("x", "input", width="d"),
        Node("h", "scale", ("x",), weight="w"),
        Node("y", "total", ("h",)),
    )
    text = network_flow(Network(nodes))._latex()
    assert text.startswith(r"\dot{w} = \operatorname{diag}\left(\mathbf{1} \left(\Sigma_{yx} - \mathbf{1}^{T}")
    flow = network_flow(chain("d", "o"))
    assert r"\operatorname{sign}{\left(\Sigma_{yx} - W_{1} \Sigma_{xx} \right)}" in (
        with_optimizer(flow, "sign_descent")._latex()
    )
    assert r"v_{W_{1}}^{+} &= \beta v_{W_{1}}" in with_optimizer(flow, "heavy_ball")._latex()
