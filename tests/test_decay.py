"""Decay of eigenvalues: exponents and constants against local slopes of certified eigenvalues, at any depth."""

import mpmath
import numpy as np
import pytest
import sympy as sp

from learning_mechanics.theory.architecture.constructors import activation, dense, serial
from learning_mechanics.theory.errors import NoClosedForm
from learning_mechanics.theory.regression.kernels import laplace, nngp, ntk, rbf
from learning_mechanics.theory.spectra.eigen_spectra import DIMENSION, T, decay, singular_constant, sphere, zonal
from learning_mechanics.theory.spectra.funk_hecke import eigenvalue
from learning_mechanics.theory.spectra.local_expansion import at_end
from learning_mechanics.theory.spectra.zonal import Numbers, evaluate

pytestmark = pytest.mark.short

STEP = (sp.pi - sp.acos(T)) / sp.pi
BIASED = serial(dense(1.5, 0.3), activation("relu"), dense(1.5, 0.3))
MATERN = (1 + sp.sqrt(2 - 2 * T)) * sp.exp(-sp.sqrt(2 - 2 * T))
CASES = [  # kernel, exponent in d, parities that are singular
    (ntk(2), DIMENSION, (0,)),
    (nngp(2), DIMENSION + 2, (0,)),
    (STEP, DIMENSION, (1,)),
    (ntk(3), DIMENSION, (0, 1)),
    (nngp(4), DIMENSION + 2, (0, 1)),
    (BIASED, DIMENSION, (0, 1)),
    (laplace(2.0), DIMENSION, (0, 1)),
    (MATERN, DIMENSION + 2, (0, 1)),
]


@pytest.mark.parametrize("dimension", [3, pytest.param(5, marks=pytest.mark.long), 8])
@pytest.mark.parametrize(("kernel", "exponent", "parities"), CASES, ids=lambda value: str(value)[:20].split("\n")[0])
def test_exponent_equals_the_local_slope(kernel, exponent, parities, dimension):
    """Between levels near 14 d and 20 d in the variable k + (d - 2)/2, whose corrections are of order (d/k)^2."""
    law = decay(kernel)
    assert sp.expand(law.exponent - exponent) == 0
    assert sp.simplify(law.index_exponent - exponent / (DIMENSION - 1)) == 0
    values = sphere(kernel, dimension, 20 * dimension + 1).eigenvalues
    for parity in (0, 1):
        found = law.of_parity(bool(parity))
        assert (found is not None) == (parity in parities)
        if found is None:
            assert not values[4 + (parity - 4) % 2 :: 2].any() and law.constant(bool(parity)) == 0
            continue
        first, last = 14 * dimension + parity, 20 * dimension + parity
        first, last = first + (first - parity) % 2, last + (last - parity) % 2
        x = np.array([first, last]) + (dimension - 2) / 2
        slope = np.diff(np.log(values[[first, last]]))[0] / np.diff(np.log(x))[0]
        assert abs(slope + float(exponent.subs(DIMENSION, dimension))) < 0.01
        constant = float(law.constant(bool(parity)).subs(DIMENSION, dimension))
        assert abs(values[last] * x[1] ** -slope / constant - 1) < 0.05
        assert abs(float(law.eigenvalue(last, dimension)) / values[last] - 1) < 1e-4  # two singular terms


def test_constant_of_a_known_series():
    """sqrt(1 - t) in Legendre polynomials: coefficients -2 sqrt(2)/((2k - 1)(2k + 3)) = (2k + 1) lambda_k."""
    for k in (1, 4, 9):
        known = -2 * sp.sqrt(2) / ((2 * k - 1) * (2 * k + 1) * (2 * k + 3))
        assert sp.simplify(eigenvalue(sp.sqrt(1 - T), k, 3) - known) == 0
    assert singular_constant(sp.S.Half, 1, 3) == -sp.sqrt(2) / 4


def test_a_single_fractional_power():
    law = decay((1 - T) ** sp.Rational(3, 4))
    assert law.plus == {sp.Rational(3, 4): 1} and law.exponent == DIMENSION + sp.S.Half
    values = sphere((1 - T) ** sp.Rational(3, 4), 4, 60).eigenvalues
    assert abs(float(law.eigenvalue(60, 4)) / values[60] - 1) < 1e-12


def test_coincident_points_of_a_deep_network():
    """The slope of kappa in theta at 0 is -L(L - 1)/(2 pi): each of L - 1 layers adds its place to it."""
    for depth in (2, 3, 7):
        law = decay(ntk(depth))
        assert sp.simplify(law.plus[sp.S.Half] + sp.sqrt(2) / sp.pi * depth * (depth - 1) / 2) == 0
        assert law.exponent == DIMENSION
    assert decay(nngp(9)).exponent == DIMENSION + 2


def test_expansions_agree_with_the_formula():
    context = mpmath.mp.clone()
    context.dps = 30
    for kernel, end in ((ntk(4), 1), (ntk(4), -1), (MATERN, 1), (ntk(3, "erf"), 1)):
        formula = zonal(kernel).formula
        expansion = at_end(formula, end, 6)
        for w in (sp.Rational(1, 10**4), sp.Rational(1, 2000)):
            near = sum(float(c) * float(w) ** float(p) for p, c in expansion.terms.items())
            exact = float(evaluate(formula, Numbers(context), context.mpf(end) * (1 - context.mpf(w.p) / w.q)))
            assert abs(near / exact - 1) < 1e-12


def test_smooth_kernels_fall_geometrically_or_faster():
    shallow = decay(ntk(2, "erf"))
    assert shallow.kind == "geometric" and shallow.exponent == sp.oo
    assert abs(shallow.rate - (3 + np.sqrt(5)) / 2) < 1e-12  # asin(2t/3): singular at t = 3/2
    for kernel in (ntk(2, "erf"), nngp(3, "erf")):
        values = sphere(kernel, 5, 81).eigenvalues
        far, near = (np.log(values[k] / values[k + 20]) / 20 for k in (61, 31))
        # the power of k in front changes the local rate by its exponent over k
        assert abs(far + (far - near) * 0.5 - np.log(decay(kernel).rate)) < 0.05
    assert decay(rbf()).kind == decay(sp.cosh(T)).kind == "faster than geometric"
    assert decay(T**3 + 1).kind == "finite"


def test_refusals():
    with pytest.raises(NoClosedForm, match="logarithm"):
        decay(sp.log(1 - T) * (1 - T))
    with pytest.raises(NoClosedForm, match="no formula"):
        decay(np.cos)


def test_the_record_of_a_decay():
    law = decay(ntk(2))
    assert law.to_dict()["exponent"] == "d" and "k^{-d}" in law._repr_latex_()
    rules = [step.rule for step in law.trail.steps]
    assert rules[0] == "kernel" and "eigenvalues of singular terms" in rules
    assert "2009.14397" in str(law.trail)
