"""Symmetries of losses that are no polynomials, the laws they bring, and how decay, steps and momentum break these."""

import itertools

import numpy as np
import pytest
import sympy as sp
from scipy.integrate import solve_ivp
from scipy.linalg import expm
from test_derive import deep

import learning_mechanics as lm
from learning_mechanics.theory.architecture.network import Network, Node, chain
from learning_mechanics.theory.conservation import broken
from learning_mechanics.theory.conservation import symmetries as found_by
from learning_mechanics.theory.conservation.broken import decay, linear_law, quadratic_law, scale_law
from learning_mechanics.theory.conservation.lie_algebra import conservation_laws
from learning_mechanics.theory.conservation.symmetries import symmetries
from learning_mechanics.theory.derivation.conserved import conserved
from learning_mechanics.theory.derivation.derive import network_flow
from learning_mechanics.theory.errors import AssumptionViolated, DidNotConverge, NoClosedForm
from learning_mechanics.theory.optimizers.optimizer_maps import DECAY, decayed

W = sp.MatrixSymbol("W", 3, 2)
X = sp.symbols("x1:3")
LOGITS = [sum(W[c, j] * X[j] for j in range(2)) for c in range(3)]
SOFTMAX = sp.log(sum(map(sp.exp, LOGITS))) - LOGITS[0]


def attention(theta):
    """softmax(X Q' K X') X v on three fixed tokens of width two; key width two; v not trained."""
    tokens = np.array([[0.3, -1.1], [0.8, 0.4], [-0.5, 1.7]])
    Q, K = theta[:4].reshape(2, 2), theta[4:].reshape(2, 2)
    scores = tokens @ Q.T @ K @ tokens.T
    weights = np.exp(scores)
    return (weights / weights.sum(1, keepdims=True)) @ tokens @ np.array([1.0, -0.6])


@pytest.mark.short
def test_translation_of_logits():
    found = symmetries(SOFTMAX, on=[W])
    assert [s.kind for s in found.found] == ["translation", "translation"]
    assert set(found.laws) == {sum(W[c, j] for c in range(3)) for j in range(2)}
    assert found.residual < 1e-40 and "50 digits" in found.trail.steps[0].check


@pytest.mark.instant
def test_scale_before_normalisation():
    a = sp.symbols("a1:4")
    norm = sp.sqrt(sum(v**2 for v in a))
    found = symmetries(sp.sin(a[0] / norm) + X[0] * sp.exp(a[1] / norm) * a[2] / norm, on=a)
    assert [(s.kind, s.law) for s in found.found] == [("scale", sum(v**2 for v in a))]


@pytest.mark.short
@pytest.mark.parametrize(
    "bend, kinds",
    [
        (lambda z: sp.Max(z, 0), 1),
        (lambda z: sp.Max(z, z / 10), 1),
        (lambda z: z**2, 1),
        (sp.tanh, 0),
        (sp.erf, 0),
        (lambda z: sp.log(1 + sp.exp(z)), 0),
    ],
)
def test_units_rescale_if_and_only_if_the_activation_is_homogeneous(bend, kinds):
    a, w, b, x = sp.symbols("a w b x", real=True)
    laws = symmetries(a * bend(w * x + b), on=(a, w, b)).laws
    assert len(laws) == kinds
    if kinds:
        order = 2 if bend(a) == a**2 else 1  # a unit homogeneous of degree n: n |a|^2 - |(w, b)|^2
        assert sp.expand(laws[0] - order * a**2 + w**2 + b**2) == 0


@pytest.mark.short
def test_query_and_key_are_balanced_through_a_softmax():
    names = sp.symbols("q1:5 k1:5")
    found = symmetries(attention, on=names)
    # d_k (d_k + 1)/2 symmetric generators and the rotations of the key space
    assert (len(found.found), len(found.laws)) == (4, 3)
    assert [s.kind for s in found.found].count("rotation") == 1
    Q, K = (sp.Matrix(2, 2, names[place : place + 4]) for place in (0, 4))
    balance = Q * Q.T - K * K.T
    for law in found.laws:
        assert any(sp.expand(law - sign * b) == 0 for b in balance for sign in (1, -1))


@pytest.mark.short
def test_finite_transformations_leave_the_loss_alone():
    rng = np.random.default_rng(0)
    theta = rng.standard_normal(8)
    found = symmetries(attention, on=sp.symbols("q1:5 k1:5"))
    for symmetry in found.found:
        moved = expm(0.7 * np.array(symmetry.matrix, dtype=float)) @ theta
        assert np.abs(attention(moved) - attention(theta)).max() < 1e-12
        assert np.abs(moved - theta).max() > 0.1


@pytest.mark.short
@pytest.mark.parametrize("widths", [(2, 2, 2), (2, 1, 2), (2, 2, 1, 2), (1, 1, 1, 1)])
def test_symmetric_generators_are_the_quadratic_laws_of_the_lie_algebra(widths):
    """Two independent routes: a null space at random points in floating point, and exact polynomials."""
    algebra = conservation_laws(chain(*widths))
    total = sp.eye(widths[0])
    on = []
    for layer, (columns, rows) in enumerate(itertools.pairwise(widths), 1):
        on.append(sp.MatrixSymbol(f"W{layer}", rows, columns))
        total = on[-1].as_explicit() * total
    quadratic = symmetries(list(total), on=on, conserving=True)
    assert quadratic.parameters == algebra.parameters
    monomials = sorted({m for law in algebra.laws for m in law.as_coefficients_dict()}, key=str)

    def table(laws):
        return sp.Matrix([[law.as_coefficients_dict()[m] for m in monomials] for law in laws])

    one, other = table(algebra.laws), table(quadratic.laws)
    assert one.rank() == other.rank() == one.col_join(other).rank() == len(quadratic.laws)


@pytest.mark.short
def test_more_parameters_need_more_points():
    """Sixteen features of 24 parameters: equations at few points would leave generators that are none."""
    names = sp.symbols("t0:24")
    found = symmetries(lambda t: t[:12].reshape(4, 3) @ t[12:].reshape(3, 4), on=names, conserving=True)
    assert len(found.laws) == len(found.found) == 6


@pytest.mark.instant
def test_what_is_no_symmetry_is_not_found():
    a, b = sp.symbols("a b")
    assert symmetries(a * b, on=(a, b)).laws == (a**2 - b**2,)
    assert symmetries(a * b + a**3 / 1000, on=(a, b)).found == ()
    with pytest.raises(DidNotConverge, match="neither zero nor not"):
        symmetries(a * b + a**3 * sp.Rational(1, 2**27), on=(a, b))
    with pytest.raises(NoClosedForm, match="small fractions"):
        p, q = sp.symbols("p q", positive=True)
        symmetries(p ** sp.sqrt(2) * q, on=(p, q))


@pytest.mark.instant
def test_a_planted_generator_is_caught_at_fresh_points(monkeypatch):
    a, b = sp.symbols("a b")
    monkeypatch.setattr(found_by, "_generators", lambda *_: [{0: 1, 3: -2}])  # (a, -2 b) instead of (a, -b)
    with pytest.raises(AssumptionViolated, match="fresh points"):
        symmetries(a * b, on=(a, b))
    with pytest.raises(AssumptionViolated, match="fresh points"):
        symmetries(lambda t: t[0] * t[1], on=(a, b))


@pytest.mark.instant
def test_a_planted_rate_is_caught(monkeypatch):
    a, b, s = lm.scalars("a b s")
    monkeypatch.setattr(broken, "homogeneity", lambda *_: 3)
    with pytest.raises(AssumptionViolated, match="does not decay"):
        decay(lm.gradient_flow((s - a * b) ** 2 / 2, on=(a, b)))
    with pytest.raises(AssumptionViolated, match="does not decay"):
        decay(network_flow(deep(2)))


@pytest.mark.instant
def test_kinds_and_the_record():
    a, b = sp.symbols("a b")
    turn = symmetries(a**2 + b**2, on=(a, b))
    assert [s.kind for s in turn.found] == ["rotation"] and turn.laws == ()
    assert "da = b" in str(turn).replace("-", "") and turn.to_dict()["symmetries"][0]["law"] is None
    moved = symmetries((a + 1) * (b - 2), on=(a, b)).found[0]
    assert moved.kind == "affine" and sp.expand(moved.law - (a**2 + 2 * a - b**2 + 4 * b)) == 0


LOSSES = {
    "softmax": (SOFTMAX, [W]),
    "normalised": (X[0] * sp.tanh(W[0, 0] / sp.sqrt(W[0, 0] ** 2 + W[1, 1] ** 2)), [W[0, 0], W[1, 1]]),
    "softplus pair": (sp.log(1 + sp.exp(-X[0] * W[0, 0] * W[0, 1] * X[1])), [W[0, 0], W[0, 1]]),
}


@pytest.mark.short
@pytest.mark.parametrize("name", LOSSES)
@pytest.mark.parametrize("mu", (0, 0.3))
def test_laws_hold_along_the_flow_and_decay_as_they_should(name, mu):
    """Gradients by automatic differentiation of the loss with decay, an integrator of order eight."""
    import jax
    import jax.numpy as jnp

    loss, on = LOSSES[name]
    found = symmetries(loss, on=on)
    number = sp.lambdify([found.parameters, X], loss, "jax")
    start = np.random.default_rng(5).standard_normal(len(found.parameters))
    with jax.enable_x64(True):
        slope = jax.jit(jax.grad(lambda t: number(t, (0.7, -1.2)) + mu / 2 * jnp.sum(t**2)))
        path = solve_ivp(lambda _, t: -np.asarray(slope(t)), (0, 3), start, "DOP853", rtol=1e-13, atol=1e-13)
    values = sp.lambdify([found.parameters], found.laws)
    rates = decay(found, weight_decay=mu)
    factors = np.array([float(rates.at(law, 3)) for law in found.laws])
    before, after = (np.array(values(path.y[:, k])) for k in (0, -1))
    assert len(before) and np.abs(after - factors * before).max() < 1e-10
    assert (factors == 1).all() == (mu == 0)


@pytest.mark.short
def test_decay_of_matrix_laws_is_derived_and_seen():
    mu = 0.4
    flow = network_flow(deep(3))
    found = decay(flow, weight_decay=sp.Rational(2, 5))
    assert found.rates == {law: sp.Rational(4, 5) for law in conserved(flow)}
    assert "exp(-4*t/5)" in str(found) and found.to_dict()["flow"]["kind"] == "Flow"
    rng = np.random.default_rng(2)
    shapes = [(3, 4), (2, 3), (2, 2)]
    x, y = rng.standard_normal((4, 9)), rng.standard_normal((2, 9))
    cuts = np.cumsum([r * c for r, c in shapes])[:-1]

    def unpack(theta):
        return [part.reshape(shape) for part, shape in zip(np.split(theta, cuts), shapes, strict=True)]

    def field(_, theta):
        A, B, C = unpack(theta)
        E = (y - C @ B @ A @ x) @ x.T / 9
        pulls = (B.T @ C.T @ E, C.T @ E @ A.T, E @ A.T @ B.T)
        return np.concatenate([(p - mu * w).ravel() for p, w in zip(pulls, (A, B, C), strict=True)])

    start = rng.standard_normal(sum(r * c for r, c in shapes))
    end = solve_ivp(field, (0, 2), start, "DOP853", rtol=1e-13, atol=1e-13).y[:, -1]
    for place in (0, 1):
        one, other = unpack(start), unpack(end)
        law = [
            weights[place + 1].T @ weights[place + 1] - weights[place] @ weights[place].T for weights in (one, other)
        ]
        assert np.abs(law[1] - np.exp(-2 * mu * 2) * law[0]).max() < 1e-11
    tied = Network(
        (
            Node("x", "input", width="d"),
            Node("h", "dense", ("x",), weight="W", width="d"),
            Node("g", "dense", ("h",), weight="W", width="d"),
            Node("y", "dense", ("g",), weight="V", width="o"),
        )
    )
    (trace,) = decay(network_flow(tied)).rates.items()
    assert trace[0].has(sp.Trace) and trace[1] == 2 * DECAY


@pytest.mark.instant
def test_decay_declines_and_follows_the_degree():
    a, b, c, s = lm.scalars("a b c s")
    mu = DECAY
    assert decay(lm.gradient_flow((s - a - 2 * b) ** 2 / 2, on=(a, b))).rates == {2 * a - b: mu}
    with pytest.raises(NoClosedForm, match="degrees"):
        decay(symmetries((a + 1) * (b - 2), on=(a, b)))
    with pytest.raises(NoClosedForm, match="no laws"):
        decay(3)
    flow = decayed(lm.gradient_flow((s - a * b) ** 2 / 2, on=(a, b)))
    assert conserved(flow) == ()  # what decays is not conserved
    assert decay(conservation_laws(a * b * c)).rates == {a**2 - b**2: 2 * mu, a**2 - c**2: 2 * mu}


@pytest.mark.short
@pytest.mark.parametrize("momentum, nesterov", [(0, False), (0.9, False), (0.9, True)])
@pytest.mark.parametrize("mu", (0, 0.1))
def test_recursions_of_laws_are_those_of_optax(momentum, nesterov, mu):
    """Forty steps of the optimizer itself on a normalised loss (quadratic law) and on logits (linear law)."""
    import jax
    import jax.numpy as jnp
    import optax

    eta = 0.05
    losses = {  # with the symmetric A of a quadratic law, or the b of a linear one
        "normalised": (lambda t: jnp.sin(3 * t[0] / jnp.linalg.norm(t)) + t[1] * t[2] / jnp.sum(t**2), np.eye(3)),
        "product": (lambda t: (t[0] * t[1] + t[2] - 1) ** 2, np.diag([1.0, -1.0, 0.0])),
        "logits": (lambda t: jax.nn.logsumexp(t) - t[1], np.ones(3)),
    }
    with jax.enable_x64(True):
        for loss, A in losses.values():
            optimizer = optax.chain(
                optax.trace(momentum, nesterov=nesterov) if momentum else optax.identity(),
                optax.add_decayed_weights(mu),
                optax.scale(-eta),
            )
            theta = jnp.array([0.4, -0.9, 0.7])
            state, slope, v = optimizer.init(theta), jax.jit(jax.grad(loss)), np.zeros(3)
            quadratic = A.ndim == 2
            made = (quadratic_law if quadratic else linear_law)(momentum, mu, nesterov)
            sources = [sp.Symbol(name, real=True) for name in ("g_g", "g_v", "v_v")]
            step = sp.lambdify([*sources, broken.LEARNING_RATE, *made.unknowns], made.equations)

            def measure(t, A=A):
                return float(t @ A @ t if A.ndim == 2 else A @ t)

            law = [measure(theta), *([0.0] * (len(made.unknowns) - 1))]
            for _ in range(40):
                g = np.asarray(slope(theta))
                law = step(*((g @ A @ g, g @ A @ v, v @ A @ v) if quadratic else (0, 0, 0)), eta, *law)
                v = momentum * v + g
                update, state = optimizer.update(slope(theta), state, theta)
                theta = optax.apply_updates(theta, update)
                assert abs(law[0] - measure(theta)) < 1e-12


@pytest.mark.instant
@pytest.mark.parametrize("eta, mu", [(0.1, 0.05), (0.5, 0.3)])
def test_norm_before_normalisation_settles_where_it_should(eta, mu):
    """The loss c atan2 turns at the constant rate |g|^2 = c^2 / |theta|^2: no statistics, so every digit counts."""
    c, theta = 0.8, np.array([0.7, -0.2])
    law = scale_law(mu)
    G, Q = sp.symbols("G Q", positive=True)
    values = {G: c**2, broken.LEARNING_RATE: eta}
    step = sp.lambdify(Q, law.equations[0].subs(values))
    for _ in range(3000):
        g = c * np.array([-theta[1], theta[0]]) / (theta @ theta)
        before, predicted = theta, step(theta @ theta)
        theta = (1 - eta * mu) * theta - eta * g
        assert abs(theta @ theta - predicted) < 1e-12 * predicted
    settled = float(law.observables["equilibrium"].subs(values))
    assert theta @ theta == pytest.approx(settled, rel=1e-12)
    cross = before[0] * theta[1] - before[1] * theta[0]
    turned = float(law.observables["angle"].subs(values).subs(Q, settled))
    assert abs(cross) / (before @ theta) == pytest.approx(turned, rel=1e-12)
    assert turned == pytest.approx(np.sqrt(eta * mu * (2 - eta * mu)) / (1 - eta * mu), rel=1e-12)


hypothesis = pytest.importorskip("hypothesis")
st = hypothesis.strategies


@pytest.mark.short
@hypothesis.settings(max_examples=15, deadline=None, derandomize=True)
@hypothesis.given(st.lists(st.sampled_from((-3, -2, -1, 1, 2, 3)), min_size=2, max_size=4))
def test_monomials_rescale_orthogonally_to_their_powers(powers):
    """A function of prod t_i^m_i is invariant under t_i -> exp(d_i s) t_i if and only if m.d = 0."""
    t = sp.symbols(f"t0:{len(powers)}", positive=True)
    monomial = sp.Mul(*(x**m for x, m in zip(t, powers, strict=True)))
    found = symmetries(sp.sin(monomial), on=t)
    assert len(found.laws) == len(found.found) == len(powers) - 1
    for symmetry in found.found:
        assert symmetry.matrix.is_diagonal() and symmetry.shift.is_zero_matrix
        assert sum(m * d for m, d in zip(powers, symmetry.matrix.diagonal(), strict=True)) == 0
