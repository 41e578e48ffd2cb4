"""Recursions against plain NumPy loops, exact arithmetic and the closed form of linear maps."""

from fractions import Fraction

import numpy as np
import pytest

from learning_mechanics.solvers.compile import compile
from learning_mechanics.solvers.recursion import _settled_shapes, is_linear, iterate, linear_map_power
from learning_mechanics.theory.errors import BadData, DidNotConverge, UnknownName
from learning_mechanics.theory.symbols import matrices, modes, over, positive, scalars
from learning_mechanics.theory.system import Map

STEPS = np.array([0, 1, 2, 5, 17, 100, 1000])


def rank_one(noise=True):
    """c <- a c + r over(s c) + b: a diagonal plus a matrix of rank one."""
    c = modes("c")
    a, r, s, b = modes("a r s b", positive=None, real=True)
    return Map((c,), (a * c + r * over(s * c) + (b if noise else 0),))


@pytest.mark.short
def test_nonlinear_scalar_map_equals_a_python_loop():
    u, r = scalars("u r")
    found = iterate(Map((u,), (r * u * (1 - u),)), {"u": 0.2, "r": 2.9}, STEPS)["u"]
    value, expected = 0.2, {}
    for step in range(STEPS[-1] + 1):
        expected[step] = value
        value = 2.9 * value * (1 - value)
    assert np.allclose(found, [expected[step] for step in STEPS], rtol=1e-12, atol=0)


@pytest.mark.short
def test_coupled_scalars_and_modes_keep_their_shapes():
    c, p, total = modes("c"), modes("p"), scalars("total")
    system = Map((c, total), (p * c, total + over(c)))
    rng = np.random.default_rng(0)
    start, factor = rng.random(5), rng.random(5)
    found = iterate(system, {"c": start, "total": 0.0, "p": factor}, [0, 1, 7])
    assert found["c"].shape == (3, 5) and found["total"].shape == (3, 1)
    assert np.allclose(found["c"][-1], start * factor**7, rtol=1e-14)
    assert np.allclose(found["total"][-1], sum((start * factor**k).sum() for k in range(7)), rtol=1e-14)


@pytest.mark.short
def test_matrix_map_equals_a_numpy_loop():
    A, M = matrices(A=("d", "d"), M=("d", "d"))
    eta = positive("eta")
    rng = np.random.default_rng(1)
    a, m = rng.standard_normal((2, 4, 4)) / 4
    found = iterate(Map((M,), (M - eta * (A * M + M * A.T),)), {"A": a, "M": m, "eta": 0.3}, STEPS[:5])["M"]
    for _ in range(STEPS[4]):
        m = m - 0.3 * (a @ m + m @ a.T)
    assert np.allclose(found[-1], m, rtol=1e-13)


@pytest.mark.short
@pytest.mark.parametrize("seed", range(5))
def test_power_of_a_linear_map_equals_iteration(seed):
    rng = np.random.default_rng(seed)
    size = 30
    r, s = rng.uniform(0.01, 1, (2, size)) / size
    # entries of a below zero give eigenvalues of both signs
    values = {"a": rng.uniform(-0.9, 0.9, size), "r": r, "s": s, "b": rng.random(size), "c": rng.random(size)}
    slow, fast = iterate(rank_one(), values, STEPS)["c"], linear_map_power(rank_one(), values, STEPS)["c"]
    assert np.abs(fast - slow).max() <= 1e-12 * np.abs(slow).max()


@pytest.mark.short
def test_long_horizons_are_exact():
    """A slow mode, its source and a million steps, against exact rational arithmetic of the geometric series."""
    a, steps = 1 - Fraction(1, 2**20), 1_000_000
    c, p, b = modes("c"), modes("p"), scalars("b")
    values = {"c": np.array([1.0, 2.0]), "p": np.array([float(a), 0.5]), "b": 2.0**-10}
    found = iterate(Map((c,), (p * c + b,)), values, [steps])["c"][0]
    # (1 - 2^-20)^steps by its logarithm's exact series, to 30 digits
    exponent = -steps * sum(Fraction(1, n * 2 ** (20 * n)) for n in range(1, 6))
    decay = sum(Fraction(exponent**n) / np.prod([Fraction(i) for i in range(1, n + 1)]) for n in range(1, 40)) + 1
    expected = decay + Fraction(1, 2**10) * (1 - decay) / (1 - a)
    assert abs(found[0] / float(expected) - 1) < 1e-12
    assert found[1] == pytest.approx(2.0**-9, rel=1e-14)


@pytest.mark.short
def test_maps_without_a_symmetric_form_are_iterated():
    """A rotation has complex eigenvalues: no diagonal scaling makes it symmetric."""
    x, y, cosine, sine = scalars("x y p q")
    rotation = Map((x, y), (cosine * x - sine * y, sine * x + cosine * y))
    values = {"x": 1.0, "y": 0.0, "p": np.cos(0.1), "q": np.sin(0.1)}
    with pytest.raises(BadData, match="not linear and symmetrisable"):
        linear_map_power(rotation, values, [3])
    found = iterate(rotation, values, [20_000])
    assert found["x"][0] == pytest.approx(np.cos(2000.0), abs=1e-9)


@pytest.mark.instant
def test_linearity_is_decided_from_the_equations():
    c, u, s = modes("c"), scalars("u"), scalars("s")
    assert is_linear(rank_one()) and is_linear(Map((c, u), (c + u, u + over(s * c))))
    assert not is_linear(Map((c,), (c * over(c),)))
    assert not is_linear(Map((u,), (u / (1 + u),)))
    M = matrices(M=("d", "d"))
    assert not is_linear(Map((M,), (2 * M,)))


@pytest.mark.short
def test_a_planted_error_is_seen():
    """One part in 1e9 on one coefficient breaks the agreement asked for above."""
    rng = np.random.default_rng(0)
    values = {"a": rng.uniform(0.5, 0.9, 8), "r": rng.random(8) / 99, "s": rng.random(8) / 99, "c": rng.random(8)}
    slow = iterate(rank_one(noise=False), values, STEPS[:6])["c"]
    wrong = linear_map_power(rank_one(noise=False), {**values, "a": values["a"] * (1 + 1e-9)}, STEPS[:6])["c"]
    assert np.abs(wrong - slow).max() > 1e-12 * np.abs(slow).max()


@pytest.mark.short
def test_errors_say_what_to_do():
    u, a = scalars("u a")
    doubling = Map((u,), (a * u,))
    with pytest.raises(UnknownName, match="unknown value 'a'"):
        iterate(doubling, {"u": 1.0}, [1])
    for steps in ([2, 1], [-1], [0.5], [1, 1]):
        with pytest.raises(BadData, match="increasing whole numbers"):
            iterate(doubling, {"u": 1.0, "a": 2.0}, steps)
    with pytest.raises(DidNotConverge, match="not finite at step 2000"):
        iterate(doubling, {"u": 1.0, "a": 2.0}, [10, 2000])


@pytest.mark.short
def test_compiled_numpy_and_jax_steps_agree():
    system = rank_one()
    rng = np.random.default_rng(3)
    arguments = (*system.unknowns, *system.parameters)
    given = [rng.random(6) for _ in arguments]
    expected = compile(system.equations, arguments, backend="numpy")(*given)[0]
    values = dict(zip(map(str, arguments), given, strict=True))
    assert np.allclose(iterate(system, values, [1])["c"][0], expected, rtol=1e-15)


@pytest.mark.short
def test_a_map_is_traced_once_for_equal_shapes():
    """Other values of the same shapes cost no trace, other shapes do, and each run starts from its own values."""
    u, p = modes("u"), modes("p")
    system = Map((u,), (p * u,))
    _settled_shapes.cache_clear()
    for start in (1.0, 2.0):
        found = iterate(system, {"u": start, "p": np.array([2.0, 3.0])}, [0, 2])["u"]
        assert np.array_equal(found, start * np.array([[1.0, 1.0], [4.0, 9.0]]))
    assert _settled_shapes.cache_info()[:2] == (1, 1)
    iterate(system, {"u": 1.0, "p": np.ones(3)}, [1])
    assert _settled_shapes.cache_info().misses == 2
