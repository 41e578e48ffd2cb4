"""The model of kernel spectra on the sphere: its law, what it binds, and that its claims can fail."""

from dataclasses import replace

import numpy as np
import pytest
import sympy as sp

from learning_mechanics.theory.models.wide_networks import kernel_spectrum
from learning_mechanics.theory.models.wide_networks.kernel_spectrum import KernelSpectrum, level_eigenvalue
from learning_mechanics.theory.regression.kernels import laplace, nngp, ntk
from learning_mechanics.theory.spectra.eigen_spectra import sphere
from learning_mechanics.validate.judging.check import check

pytestmark = pytest.mark.short


def claim(name):
    return next(c for c in KernelSpectrum().claims() if c.name == name)


def test_trail_holds_the_closed_form_of_even_levels():
    trail = KernelSpectrum().derive().trail
    even = next(step for step in trail.steps if step.rule == "even levels 2j")
    assert even.residual < 1e-16
    d, j = sp.Symbol("d", positive=True), sp.Symbol("j", integer=True, positive=True)
    value = even.result.rows[0][1].subs({d: 3, j: 2})
    assert sp.simplify(value - sp.Rational(1, 192)) == 0
    assert next(step for step in trail.steps if step.rule.startswith("odd levels")).result == 0
    assert [step.rule for step in level_eigenvalue(laplace()).trail.steps][-1] == "eigenvalues of singular terms"


def test_target_has_the_stated_power():
    """Against quadrature over the sphere of five dimensions: a large sample of points, four standard deviations."""
    data = kernel_spectrum._harmonic_targets(5, 40_000)
    squares = data.y[:, 0] ** 2
    assert abs(squares.mean() - 1) < 4 * squares.std() / 200
    # projections on one harmonic of an empty level vanish
    cubic = (7 * data.x[:, 0] ** 3 - 3 * data.x[:, 0]) / 4  # P_3 in five dimensions
    assert abs((data.y[:, 0] * cubic).mean()) < 4 * (data.y[:, 0] * cubic).std() / 200


def test_eigenvalues_of_a_kernel_matrix_follow_levels():
    verdict = check(KernelSpectrum(), "eigenvalues")
    assert verdict.outcome == "holds"
    instance = claim("eigenvalues").setup.draw(0)
    bound = KernelSpectrum()._of_sphere(instance)
    assert len(bound["lambda"]) == 1 + 3 + 5 + 9  # level 3 is empty
    exact = sphere(ntk(2), 3, 4).exact
    assert np.allclose(bound["lambda"][[0, 1, 4, 9]], [float(exact[k]) for k in (0, 1, 2, 4)])
    other = KernelSpectrum()._of_other(instance)
    assert np.allclose(other["lambda"][:4], sphere(nngp(2), 3, 4).eigenvalues[[0, 1, 1, 1]])


@pytest.mark.long
def test_learning_curve_needs_the_multiplicities():
    assert check(KernelSpectrum(), "learning_curve").outcome == "holds"


def test_a_wrong_spectrum_is_refuted(monkeypatch):
    """Planted: eigenvalues of one dimension more."""
    monkeypatch.setattr(kernel_spectrum, "_bound", lambda kernel, instance: wrong(kernel, instance))

    def wrong(kernel, instance):
        spectrum = sphere(kernel, 4, 4)
        found = np.repeat(spectrum.eigenvalues, sphere(kernel, 3, 4).multiplicities.astype(int))
        found = np.sort(found)[::-1][: instance.setup.options["eigenvalues"]]
        return {"lambda": found, "overlap": found, "weight": np.ones_like(found)}

    assert check(KernelSpectrum(), "eigenvalues").outcome == "refuted"


def test_other_kernels():
    for kernel in (nngp(3), laplace()):
        claims = replace(KernelSpectrum(), kernel=kernel).claims()
        assert [c.name for c in claims] == ["eigenvalues", "learning_curve"]
