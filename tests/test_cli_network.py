"""Networks on the command line: what is printed is what the library computes, and mistakes are one line."""

import numpy as np
import pytest
import sympy as sp
from command_line import answer, refused

from learning_mechanics.cli import main

pytestmark = pytest.mark.short
RELU = "dense(2**0.5), relu, dense"


def test_recursion_formula_and_spectrum_of_a_network(capsys):
    found = answer(capsys, "network", RELU, "--dimension", 5, "--levels", 4)
    assert found["recursion"][1].split() == "dense1 K <- 2 K, Theta <- 2 (Theta + K)".split()
    t = sp.Symbol("t", real=True)
    theta = 0.7  # the arc-cosine kernels of degree 1 and 0 (Cho & Saul 2009)
    first = (np.sin(theta) + (np.pi - theta) * np.cos(theta)) / np.pi
    tangent = first + 2 * np.cos(theta) * (np.pi - theta) / (2 * np.pi)
    for name, value in (("nngp", first), ("ntk", tangent)):
        assert abs(float(sp.sympify(found["formulas"][name], {"t": t}).subs(t, np.cos(theta))) - value) < 1e-12
    # Bietti & Mairal 2019: level 1 of the ReLU tangent kernel is 1/d, odd levels from 3 on vanish
    assert np.allclose(found["spectrum"]["eigenvalues"][1], 0.2) and found["spectrum"]["eigenvalues"][3] == 0


def test_a_block_that_repeats_has_a_phase(capsys):
    found = answer(capsys, "network", "dense(1.2, 0.3), tanh", "--repeated")["phase"]
    z, weights = np.polynomial.hermite_e.hermegauss(200)
    q = found["variance"]
    assert found["name"] == "ordered"
    mapped = weights @ np.tanh(np.sqrt(1.44 * q + 0.09) * z) ** 2 / weights.sum()
    assert abs(mapped - q) < 1e-9


def test_a_forecast_with_a_network_of_ones_own(capsys, tmp_path):
    rng = np.random.default_rng(0)
    x = rng.standard_normal((600, 6)) * np.arange(1, 7) ** -0.5
    np.savez(tmp_path / "data.npz", x=x, y=x[:, 0] + np.abs(x[:, 1]))
    arguments = ("predict", tmp_path / "data.npz", "--regression", "--sizes", "30,60,120")
    own = answer(capsys, *arguments, "--network", RELU, "--kernel", "ntk")
    named = answer(capsys, *arguments, "--kernel", "ntk-relu", "--depth", 2)
    assert own["kernel"] == "ntk of dense, relu, dense"
    # the same kernel up to the factor d, which the errors of a ridgeless fit do not depend on
    assert np.allclose(own["samples"]["curve"]["test"], named["samples"]["curve"]["test"], rtol=1e-6)


def test_mistakes_are_one_line(capsys):
    assert "unknown part 'rleu'; did you mean 'relu'?" in refused(capsys, "network", "dense, rleu")
    assert "cannot read" in refused(capsys, "network", "dense(")
    assert "activation1: an activation on features that are not Gaussian" in refused(capsys, "network", "relu, dense")
    assert "give ntk or nngp" in refused(capsys, "predict", "digits", "--network", RELU, "--kernel", "laplace")
    assert "dimension" in refused(capsys, "network", RELU, "--dimension", 1)


def test_the_card_is_for_reading(capsys):
    assert main(["network", "dense, gelu, dense, gelu, dense"]) == 0
    out = capsys.readouterr().out
    assert "phi = gelu" in out and "1 K" not in out and max(map(len, out.splitlines())) < 320
