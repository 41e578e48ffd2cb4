"""Conservation laws: the known numbers, counted again by where flows can go, and laws that hold along trained flows."""

import itertools
import math
import time

import numpy as np
import pytest
import sympy as sp
from scipy.integrate import solve_ivp
from test_derive import SKIP, TIED

from learning_mechanics.theory.architecture.network import Network, Node, chain
from learning_mechanics.theory.conservation import feature_maps, polynomials
from learning_mechanics.theory.conservation.lie_algebra import conservation_laws
from learning_mechanics.theory.derivation.conserved import conserved_for_any_loss
from learning_mechanics.theory.derivation.derive import gradient_flow, network_flow
from learning_mechanics.theory.errors import NoClosedForm
from learning_mechanics.theory.system import FixedPoint, Flow


def matrix(name, rows, columns):
    return sp.MatrixSymbol(name, rows, columns)


def triangle(n, rank):
    """Independent entries of a symmetric n x n matrix of that rank."""
    return rank * (2 * n + 1 - rank) // 2


def attention(width, key, value, mark=""):
    out, values = matrix("O" + mark, width, value), matrix("V" + mark, value, width)
    return sp.KroneckerProduct(out * values, matrix("Q" + mark, key, width).T * matrix("K" + mark, key, width))


def convolution(*sizes):
    """Coefficients of the product of filters, read as polynomials in one variable: what linear convolutions compute."""
    z = sp.Symbol("z")
    filters = [sp.Poly(sp.symbols(f"f{layer}_:{size}"), z) for layer, size in enumerate(sizes)]
    return math.prod(filters, start=sp.Poly(1, z)).all_coeffs()


def graph(*layers):
    """One node after the other: (operation, weight or gate, width)."""
    nodes = [Node("x", "input", width="d")]
    for kind, name, width in layers:
        op, turned = ("dense", True) if kind == "transposed" else (kind, False)
        named = {"gate": name} if kind == "gate" else {"weight": name}
        last = nodes[-1].name
        nodes.append(Node(f"n{len(nodes)}", op, (last,), width=width or 0, transposed=turned, **named))
    return Network(tuple(nodes))


# name: (what is given, independent laws); Marcotte, Gribonval & Peyre 2023, and hand counts in the comments
KNOWN = {
    "linear 3-2-3": (chain(3, 2, 3), 3),
    "linear 1-3-1": (chain(1, 3, 1), 5),  # rank 2 < 3: one less than the 6 entries
    "linear 2-2-2-2": (chain(2, 2, 2, 2), 6),
    "linear 2-1-2-1": (chain(2, 1, 2, 1), 4),
    "linear 1-3-1-2": (chain(1, 3, 1, 2), 6),  # the layer of 3 is wider than its neighbours together: 5 + 1
    "linear 2-2-2-2-2": (chain(2, 2, 2, 2, 2), 9),
    "relu": (chain(2, 3, 2, activation="relu"), 3),
    "relu with bias": (chain(2, 3, 2, activation="relu", bias=True), 3),
    "relu, two hidden layers": (chain(2, 3, 2, 2, activation="relu", bias=True), 5),
    "attention logits": (matrix("Q", 2, 3).T * matrix("K", 2, 3), 3),
    "rank-one linear attention": (sp.KroneckerProduct(matrix("v", 2, 1), matrix("k", 3, 1) * matrix("q", 3, 1).T), 2),
    "linear attention": (attention(2, 1, 1), 3),
    "linear attention, two heads wide": (attention(3, 2, 2), 7),  # 3 + 3, and |O|^2 - |Q|^2
    "softmax attention": ([matrix("O", 2, 1) * matrix("V", 1, 2), matrix("Q", 1, 2).T * matrix("K", 1, 2)], 2),
    "squares": (chain(3, 4, 1, activation="square"), 4),
    "two heads of linear attention": (attention(2, 1, 1) + attention(2, 1, 1, mark="2"), 6),
    "convolutions": (convolution(3, 2, 2), 2),  # 7 - (3 + 2 + 2 - 2) coefficients of the product of filters
    "skip": (SKIP, 3),
    "tied residual block": (TIED, 3),
    "tied autoencoder": (graph(("dense", "W", "h"), ("transposed", "W", "d")), 0),  # it only turns, and loses none
    "gated": (graph(("dense", "U", "h"), ("gate", "context", ""), ("dense", "V", "o")), 3),
    "diagonal": (graph(("scale", "u", ""), ("scale", "v", ""), ("total", "", "")), 3),
    "diagonal of depth three": (graph(*(("scale", name, "") for name in "uvw")), 6),
    "normalised by fan-in": (chain(2, 3, 2, parameterization="ntk"), 6),
}
SIZES = {"d": 3, "h": 2, "o": 2}


@pytest.mark.short
@pytest.mark.parametrize("name", KNOWN)
def test_known_numbers(name):
    subject, expected = KNOWN[name]
    found = conservation_laws(subject, sizes=SIZES)
    assert (found.count, found.independent) == (expected, expected)
    assert found.complete and found.closed


@pytest.mark.short
def test_two_layers_have_as_many_as_entries_of_a_symmetric_matrix():
    for rows, width, columns in itertools.product(range(1, 4), range(1, 5), range(1, 4)):
        found = conservation_laws(chain(rows, width, columns))
        assert found.count == triangle(width, min(width, rows + columns)) and found.complete
        # the fields are S = ((0, G'), (G, 0)) acting on the stacked weights: they generate so(rows, columns)
        total = rows + columns
        assert width < 2 or found.dimension == total * (total - 1) // 2


@pytest.mark.short
def test_three_layers_and_their_exceptions():
    for shape in itertools.product(range(1, 4), repeat=4):
        found = conservation_laws(chain(*shape))
        size = sum(a * b for a, b in itertools.pairwise(shape))
        balanced = sum(triangle(h, min(h, a + b)) for a, h, b in zip(shape, shape[1:], shape[2:], strict=False))
        scalar = shape[0] == shape[-1] == 1  # a single field, which conserves all but one coordinate
        assert found.count == (size - 1 if scalar else balanced), shape
        assert found.independent == balanced and found.closed, shape
        assert found.complete == (found.count == balanced)


@pytest.mark.short
def test_a_law_that_is_no_polynomial_is_counted_and_not_claimed():
    found = conservation_laws(chain(1, 2, 2, 1), degree=5)
    assert (found.count, found.independent, found.complete, found.rank) == (7, 6, False, 1)
    assert "1 of higher degree, or no polynomials" in str(found)
    assert not found.generated_by(found.laws)


@pytest.mark.short
def test_twelve_parameters_cost_less_than_a_second():
    started = time.process_time()
    conservation_laws(chain(2, 2, 2, 2))
    assert time.process_time() - started < 1
    started = time.process_time()
    assert conservation_laws(chain(4, 4, 4, 4)).count == 20
    assert time.process_time() - started < 4


def relu_features(W, b, V):
    """One feature for every output, hidden unit, and weight or bias below it."""
    return V.T[:, :, None] * jnp_stack(W, b)[:, None, :]


def jnp_stack(W, b):
    import jax.numpy as jnp

    return jnp.concatenate([W, b[:, None]], axis=1)


# features written a second time, as functions of arrays of these shapes; what the package is given; its further fields
REACHED = {
    "2-2-2-2": (lambda W1, W2, W3: W3 @ W2 @ W1, [(2, 2)] * 3, chain(2, 2, 2, 2), 0),
    "1-3-1-2": (lambda W1, W2, W3: W3 @ W2 @ W1, [(3, 1), (1, 3), (2, 1)], chain(1, 3, 1, 2), 0),
    "relu": (relu_features, [(2, 2), (2,), (2, 2)], chain(2, 2, 2, activation="relu", bias=True), 2),  # output biases
    "attention": (
        lambda out, V, Q, K: (out @ V)[:, :, None, None] * (Q.T @ K),
        [(2, 1), (1, 2), (1, 2), (1, 2)],
        attention(2, 1, 1),
        0,
    ),
}


@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=pytest.mark.long if name == "relu" else pytest.mark.short) for name in REACHED]
)
def test_flows_reach_as_many_dimensions_as_the_lie_algebra_says(name):
    """Sussmann 1973: following the fields in turn, for times that vary, explores exactly dim Lie dimensions."""
    import jax
    import jax.numpy as jnp

    features, shapes, subject, further = REACHED[name]
    rng = np.random.default_rng(3)
    sizes = [math.prod(shape) for shape in shapes]
    cuts = np.cumsum(sizes)[:-1]

    def phi(theta):
        parts = [p.reshape(s) for p, s in zip(jnp.split(theta, cuts), shapes, strict=True)]
        return features(*parts).ravel()

    with jax.enable_x64(True):
        start = jnp.asarray(rng.standard_normal(sum(sizes)))
        mixtures = rng.standard_normal((3 * len(start), len(phi(start))))
        mixtures = jnp.asarray(mixtures / np.linalg.norm(mixtures, axis=1, keepdims=True))

        def segment(theta, pair):
            duration, mixture = pair[0] / 20, pair[1]
            rate = jax.grad(lambda t: duration * (mixture @ phi(t)))

            def step(_, theta):
                k1 = rate(theta)
                k2 = rate(theta + k1 / 2)
                k3 = rate(theta + k2 / 2)
                return theta + (k1 + 2 * k2 + 2 * k3 + rate(theta + k3)) / 6

            return jax.lax.fori_loop(0, 20, step, theta), None

        def end(durations):
            return jax.lax.scan(segment, start, (durations, mixtures))[0]

        durations = jnp.asarray(0.05 * rng.standard_normal(len(mixtures)))
        reached = np.linalg.svd(np.asarray(jax.jit(jax.jacfwd(end))(durations)), compute_uv=False)
    rank = conservation_laws(subject).rank - further
    assert reached[rank - 1] > 1e-4 * reached[0]
    assert rank == len(reached) or reached[rank] < 1e-8 * reached[0]


TRAINED = {
    "linear": chain(3, 2, 3),
    "deep linear": chain(2, 2, 2, 2),
    "relu": chain(2, 3, 2, activation="relu", bias=True),
    "squares": chain(3, 2, 1, activation="square"),
    "tied": TIED,
}


@pytest.mark.short
@pytest.mark.parametrize("name", TRAINED)
def test_every_law_holds_along_a_trained_flow(name):
    """Gradients by automatic differentiation, a loss that is not the squared one, an integrator of order eight."""
    import jax
    import jax.numpy as jnp

    from learning_mechanics.validate.experiments.forward import forward

    network = TRAINED[name]
    run, rng = forward(network), np.random.default_rng(11)
    shapes = network.shapes(SIZES)
    widths = {n: SIZES.get(w, w) for n, w in network.widths().items()}
    x = 0.5 * rng.standard_normal((7, widths["x"]))
    y = rng.standard_normal((7, widths[network.nodes[-1].name]))
    cuts = np.cumsum([math.prod(shape) for shape in shapes.values()])
    start = 0.6 * rng.standard_normal(cuts[-1])
    if name == "relu":  # every unit stays on its side, so that the field stays smooth; the laws do not need it
        start[cuts[0] : cuts[1]] = (4, 4, -4)

    def unpacked(theta):
        parts = zip(jnp.split(theta, cuts[:-1]), shapes.items(), strict=True)
        return {n: part.reshape(shape) for part, (n, shape) in parts}

    found = conservation_laws(network, sizes=SIZES)
    values = sp.lambdify([found.parameters], found.laws)
    planted = sp.lambdify([found.parameters], sum(p**2 for p in found.parameters))
    with jax.enable_x64(True):
        slope = jax.jit(jax.grad(lambda theta: jnp.mean(jnp.log(jnp.cosh(run(unpacked(theta), x) - y)))))
        path = solve_ivp(lambda _, theta: -np.asarray(slope(theta)), (0, 3), start, "DOP853", rtol=1e-12, atol=1e-12)
    assert path.success and len(path.t) < 400
    before = np.array(values(start))
    drift = max(np.abs(np.array(values(point)) - before).max() for point in path.y.T)
    assert found.complete and drift < 1e-10 * max(1, np.abs(before).max())
    assert abs(planted(path.y[:, -1]) - planted(start)) > 1e-2  # what is not conserved moves


@pytest.mark.instant
def test_a_planted_false_law_is_rejected():
    network = chain("i", "h", "o")
    W1, W2 = network.weights()
    found = conservation_laws(network, sizes={"i": 2, "h": 2, "o": 2})
    sizes = {"i": 2, "h": 2, "o": 2}
    assert found.generated_by(conserved_for_any_loss(network), sizes)
    assert not found.generated_by([W2.T * W2 + W1 * W1.T], sizes)
    assert not found.generated_by([sp.Trace(W2.T * W2) - sp.Trace(W1 * W1.T)], sizes)  # true, but not all
    fields = feature_maps.vector_fields(network, sizes=sizes).fields
    assert any(polynomials.along({(0, 0): 1, (4, 4): 1}, chi) for chi in fields)


@pytest.mark.short
@pytest.mark.parametrize("seed", range(3))
def test_laws_of_higher_degree_are_found(seed):
    """u' = B grad H conserves a random quartic H, whose square is of degree 8 and whose fields are cubic."""
    rng = np.random.default_rng(seed)
    u = sp.symbols("x y")
    monomials = [m for m in sp.itermonomials(u, 4) if m != 1]
    H = sum(int(c) * m for c, m in zip(rng.integers(1, 5, len(monomials)), monomials, strict=True))
    found = conservation_laws(Flow(u, (H.diff(u[1]), -H.diff(u[0]))), degree=4)
    assert found.complete and found.count == 1
    assert sp.expand(found.laws[0] * sp.Poly(H, *u).coeffs()[0] / sp.Poly(found.laws[0], *u).coeffs()[0] - H) == 0


@pytest.mark.instant
def test_products_of_laws_are_not_listed_again():
    a, b, c = sp.symbols("a b c")
    # a single field conserves a^2 - b^2 and a^2 - c^2, found at degree 2 though 4 is allowed
    assert conservation_laws(a * b * c, degree=4).laws == (a**2 - b**2, a**2 - c**2)
    # a field that stands still: every coordinate is a law, their products are none
    assert conservation_laws([a**2 + b**2], on=(a, b, c), degree=3).laws[0] == c


@pytest.mark.instant
def test_what_is_no_parameter_is_data():
    a, w, b, x = sp.symbols("a w b x")
    found = conservation_laws(a * (w * x + b), on=(a, w, b))
    assert found.laws == (a**2 - b**2 - w**2,)
    assert conservation_laws([a * w, a * b], on=(a, w, b)).laws == found.laws
    s = sp.Symbol("s")
    flow = gradient_flow((s - a * b) ** 2 / 2, on=(a, b))
    assert conservation_laws(flow).laws == (a**2 - b**2,)


@pytest.mark.instant
def test_a_matrix_flow_of_one_loss_has_the_laws_of_all_losses():
    network, sizes = chain("i", "h", "o"), {"i": 2, "h": 2, "o": 1}
    one = conservation_laws(network_flow(network), sizes={**sizes, "input": 2})
    assert one.laws == conservation_laws(network, sizes=sizes).laws


@pytest.mark.instant
@pytest.mark.parametrize("name", ("skip", "gated", "diagonal", "tied residual block"))
def test_the_flow_of_any_loss_and_the_features_agree(name):
    """Through the matrix equations of motion with a free derivative G, and forward through the graph in entries."""
    network, expected = KNOWN[name]
    flow = network_flow(network, loss="any")
    found = conservation_laws(flow, sizes=SIZES)
    assert found.complete and found.count == expected
    assert set(map(str, found.laws)) == set(map(str, conservation_laws(network, sizes=SIZES).laws))


@pytest.mark.instant
def test_factors_of_fan_in():
    plain, scaled = (conservation_laws(chain(2, 3, 2, parameterization=p)) for p in ("standard", "ntk"))
    assert plain.laws == scaled.laws
    nodes = (
        Node("x", "input", width=2),
        Node("h", "dense", ("x",), weight="U", width=3),
        Node("g", "dense", ("h",), weight="V", width=2, parameterization="ntk"),
        Node("s", "dense", ("x",), weight="W", width=2),
        Node("y", "sum", ("g", "s")),
    )
    with pytest.raises(NoClosedForm, match="fan-in"):
        conservation_laws(Network(nodes))


@pytest.mark.instant
def test_declines():
    a, b = sp.symbols("a b")
    with pytest.raises(NoClosedForm, match="no polynomial"):
        conservation_laws(sp.exp(a) * b)
    with pytest.raises(NoClosedForm, match="tanh"):
        conservation_laws(chain(2, 2, 1, activation="tanh"))
    with pytest.raises(NoClosedForm, match="flow"):
        conservation_laws(FixedPoint((a,), (a - 1,)))
    with pytest.raises(NoClosedForm, match="number"):
        conservation_laws(matrix("W", *sp.symbols("m n", integer=True)))


@pytest.mark.instant
def test_the_record_says_what_it_knows():
    found = conservation_laws(chain(2, 2, 2))
    content = found.to_dict()
    assert content["count"] == 3 and content["complete"] and content["dimension"] == 6
    assert content["generations"] == 1 and len(content["laws"]) == 3
    assert found.trail.references == ("Marcotte, Gribonval & Peyre 2023, arXiv:2307.00144",)
    unfinished = conservation_laws(chain(2, 2, 2), generations=0)
    assert not unfinished.closed and not unfinished.complete and "not closed" in str(unfinished)
    assert "at most 4" in str(unfinished)
