"""Random features: the derived fixed point against the published formula, brute force, simulation and neurons."""

from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
import sympy as sp
from scipy.optimize import brentq, minimize_scalar

from learning_mechanics.solvers.compile import compile
from learning_mechanics.solvers.fixed_point import root
from learning_mechanics.solvers.learning_curve import learning_curve
from learning_mechanics.solvers.predict import predict
from learning_mechanics.solvers.regression.random_features import optimal_ridge, random_features
from learning_mechanics.theory.dataset import Dataset, PowerLaw
from learning_mechanics.theory.errors import BadData
from learning_mechanics.theory.measured_spectra.power_law_tail import PowerLawTail
from learning_mechanics.theory.measured_spectra.spectrum import finite_population
from learning_mechanics.theory.models.wide_networks import random_features as model
from learning_mechanics.theory.models.wide_networks.random_features import RandomFeatures
from learning_mechanics.theory.regression.kernels import nngp, ntk
from learning_mechanics.theory.regression.random_features import random_features as derived
from learning_mechanics.theory.setup import Setup
from learning_mechanics.validate.experiments.kernel_solve import kernel_solve
from learning_mechanics.validate.inputs.data import load
from learning_mechanics.validate.judging.judge import judge


def published(lam, power, n, k, ridge, noise, count=None):
    """Simon et al. 2023, equations 7 to 9: nested roots for kappa and gamma, then the omniscient risk as printed."""
    count = np.ones_like(lam) if count is None else count

    def learned(gamma):
        return (count * lam / (lam + gamma)).sum()

    def inner(log_kappa):
        kappa = np.exp(log_kappa)
        return np.exp(brentq(lambda g: learned(np.exp(g)) + k * kappa * np.exp(-g) - k, -80, 60, xtol=1e-14))

    def outer(log_kappa):
        return np.log((learned(inner(log_kappa)) + ridge * np.exp(-log_kappa)) / n)

    kappa = np.exp(brentq(outer, -60, 40, xtol=1e-14))
    gamma = inner(np.log(kappa))
    z, q = learned(gamma), (count * (lam / (lam + gamma)) ** 2).sum()
    bracket = gamma / (lam + gamma) - kappa * lam / (lam + gamma) ** 2 * k / (k - q)
    test = ((bracket * power).sum() + noise) / (1 - (q * (k - 2 * z) + z**2) / (n * (k - q)))
    return kappa, gamma, test, (ridge / (n * kappa)) ** 2 * test


def power_law(modes=120, capacity=1.3, target=1.7):
    k = np.arange(1.0, modes + 1)
    return k**-capacity, k**-target


@pytest.mark.short
@pytest.mark.parametrize("n, k", [(30, 20), (20, 30), (25, 25), (200, 10), (5, 400), (300, 300)])
def test_errors_equal_the_published_formula(n, k):
    lam, power = power_law()
    count = np.where(np.arange(120) % 3 == 0, 2.0, 1.0)
    found = random_features(lam, power, [n], [k], ridge=0.03, noise=0.2, multiplicities=count)
    kappa, gamma, test, train = published(lam, power, n, k, 0.03, 0.2, count)
    assert found.kappa[0, 0] == pytest.approx(kappa, rel=1e-10)
    assert found.gamma[0, 0] == pytest.approx(gamma, rel=1e-10)
    assert found.test[0, 0] == pytest.approx(test, rel=1e-10)
    assert found.train[0, 0] == pytest.approx(train, rel=1e-10)


@pytest.mark.short
def test_the_derived_system_through_the_generic_solver_gives_the_same():
    lam, power = power_law()
    system, sizes = derived(), np.array([4.0, 20.0, 33.0, 250.0])
    for k in (20.0, 33.0):
        values = {"lambda": lam, "power": power, "multiplicity": np.ones(120), "n": sizes[:, None], "k": k}
        values |= {"ridge": 0.01, "noise": 0.1}
        values |= root(system, values)
        ours = random_features(lam, power, sizes, [k], ridge=0.01, noise=0.1)
        np.testing.assert_allclose(values["gamma"][:, 0], ours.gamma[:, 0], rtol=1e-11)
        readings = {
            "test_error": ours.test,
            "training_error": ours.train,
            "ridge_of_features": ours.kappa,
            "degrees_of_freedom": ours.learned,
        }
        for name, expected in readings.items():
            expression = sp.sympify(system.observables[name])
            symbols = sorted(expression.free_symbols, key=str)
            read = compile([expression], symbols, backend="numpy")(*(values[str(s)] for s in symbols))[0]
            np.testing.assert_allclose(np.ravel(read), expected[:, 0], rtol=1e-10)


@pytest.mark.instant
def test_infinitely_many_features_are_kernel_regression():
    lam, power = power_law(5000)
    tail = PowerLawTail(start=5000, eigenvalue=5000.0**-1.3, capacity=1.3, power=0.01, target_exponent=1.7)
    sizes = np.array([3.0, 40.0, 900.0])
    for ridge in (0.0, 1e-10, 0.2):
        curve = learning_curve(lam, power, sizes, ridge=ridge, noise=0.1, tail=tail)
        found = random_features(lam, power, sizes, [1e12, np.inf], ridge=ridge, noise=0.1, tail=tail)
        np.testing.assert_allclose(found.test[:, 1], curve.test, rtol=1e-12)
        np.testing.assert_allclose(found.train[:, 1], curve.train, rtol=1e-12, atol=1e-300)
        np.testing.assert_allclose(found.test[:, 0], curve.test, rtol=1e-7)


@pytest.mark.instant
def test_white_features_by_hand():
    """M equal modes, no ridge: z = min(n, k), and for n < k < M the error (1 - n/M) V k/(k - n)."""
    found = random_features(np.full(40, 3.0), np.full(40, 0.1), [10.0, 60.0], [30.0], noise=0.0)
    assert found.test[0, 0] == pytest.approx((1 - 10 / 40) * 4.0 * 30 / 20, rel=1e-12)
    assert found.learned[:, 0] == pytest.approx([10, 30])
    # saturated features: what they cannot express, 1 - k/M of the power, acts as noise in n samples of k unknowns
    assert found.test[1, 0] == pytest.approx((1 - 30 / 40) * 4.0 / (1 - 30 / 60), rel=1e-12)


@pytest.mark.instant
def test_samples_and_features_limit_in_the_same_way():
    """With k ridge kept, exchanging n and k leaves gamma and z unchanged."""
    lam, power = power_law()
    one = random_features(lam, power, [12.0], [50.0], ridge=0.4 / 50)
    other = random_features(lam, power, [50.0], [12.0], ridge=0.4 / 12)
    assert one.gamma[0, 0] == pytest.approx(other.gamma[0, 0], rel=1e-13)
    assert one.learned[0, 0] == pytest.approx(other.learned[0, 0], rel=1e-13)


@pytest.mark.short
def test_many_samples_leave_the_distance_from_the_span():
    """Target minus its projection on 15 random features, exactly, 400 draws: within 4.5 standard errors and 1 %."""
    lam, power = power_law(80)
    v, rng, distances = np.sqrt(power), np.random.default_rng(41), []
    for _ in range(400):
        basis, _ = np.linalg.qr(np.sqrt(lam)[:, None] * rng.standard_normal((80, 15)))
        distances.append((v**2).sum() - ((basis.T @ v) ** 2).sum())
    found = random_features(lam, power, [1e9, np.inf], [15.0], ridge=0.0)
    assert found.test[1, 0] == pytest.approx(found.out_of_span[1, 0])
    assert found.test[0, 0] == pytest.approx(found.test[1, 0], rel=1e-6)
    error = np.std(distances) / 20
    assert abs(np.mean(distances) - found.test[1, 0]) < 4.5 * error + 0.01 * found.test[1, 0]


@pytest.mark.instant
def test_the_error_peaks_where_samples_and_features_are_as_many():
    lam, power = power_law(400)
    few = np.arange(20.0, 101.0, 5.0)
    for ridge, factor in ((1e-4, 2.0), (1e-2, 1.0)):
        test = random_features(lam, power, [60.0], few, ridge=ridge, noise=0.2).test[0]
        assert factor == 1.0 or few[test.argmax()] == 60
        assert test.max() > factor * test[-1]
    assert np.isinf(random_features(lam, power, [60.0], [60.0], noise=0.2).test[0, 0])
    tuned = optimal_ridge(lam, power, [60.0], few, noise=0.2).test[0]
    assert (np.diff(tuned) < 0).all()


@pytest.mark.short
def test_at_the_optimal_ridge_more_is_better():
    """Simon et al. 2023, theorem 1, on 30 random spectra; at a fixed ridge the same errors do rise somewhere."""
    rng, rises = np.random.default_rng(5), 0
    numbers = np.array([2.0, 5.0, 11.0, 12.0, 13.0, 40.0, 41.0, 200.0])
    for _ in range(30):
        modes = int(rng.integers(5, 150))
        lam, power = np.exp(rng.normal(0, 2, modes)), rng.exponential(size=modes) ** 2
        noise = float(rng.choice([0.0, 0.1, 3.0]))
        best = optimal_ridge(lam, power, numbers, np.append(numbers, np.inf), noise=noise)
        for axis in (0, 1):
            assert (np.diff(best.test, axis=axis) <= 1e-9 * power.sum()).all()
        if best.ridge[3, 6] > 0:
            again = random_features(lam, power, [12.0], [41.0], ridge=best.ridge[3, 6], noise=noise)
            assert again.test[0, 0] == pytest.approx(best.test[3, 6], rel=1e-6)
        fixed = random_features(lam, power, numbers, numbers, ridge=1e-6, noise=noise).test
        rises += bool((np.diff(fixed, axis=0) > 0).any())
    assert rises >= 20  # the check can fail


@pytest.mark.instant
def test_the_optimal_ridge_is_the_minimum():
    lam, power = power_law()
    best = optimal_ridge(lam, power, [30.0, 80.0], [50.0, np.inf], noise=0.5)
    for i, n in enumerate((30.0, 80.0)):
        for j, k in enumerate((50.0, np.inf)):

            def error(log_ridge, n=n, k=k):
                return random_features(lam, power, [n], [k], ridge=np.exp(log_ridge), noise=0.5).test[0, 0]

            found = minimize_scalar(error, bounds=(-12, 6), method="bounded", options={"xatol": 1e-9})
            assert best.test[i, j] == pytest.approx(found.fun, rel=1e-10)
            assert best.ridge[i, j] == pytest.approx(np.exp(found.x), rel=1e-3)
    with pytest.raises(BadData, match="infinitely many samples"):
        optimal_ridge(lam, power, [np.inf], [3.0])


@pytest.mark.short
def test_equals_regression_on_sampled_features():
    """400 regressions each, test and training error: within 4.5 standard errors and 3 %, about 1/min(n, k).

    12 comparisons: chance of a false alarm below 1e-3.
    """
    data = PowerLaw(dim=150, capacity=1.3, target_exponent=1.6, noise=0.1)
    lam, w = data.spectrum()
    setup = Setup(data=data, procedure="kernel_solve", sizes=(40, 80), options={"ridge": 0.02})
    for k in (40, 80, 300):
        instance = setup.at(features=k).draw(0, data)
        found = random_features(lam, lam * w**2, (40, 80), [k], ridge=0.02, noise=0.1)
        for name, expected in (("test_error", found.test), ("training_error", found.train)):
            measured = kernel_solve(instance, range(900, 1300), name)[:, :, 0]
            error = measured.std(0) / 20
            assert (np.abs(measured.mean(0) - expected[:, 0]) < 4.5 * error + 0.03 * expected[:, 0]).all(), (k, name)


@pytest.mark.short
def test_equals_a_layer_of_random_neurons_on_digits():
    """300 random ReLU neurons, 30 draws: within 10 % on all digits; at n = 300 the infinitely wide layer is not.

    Neurons are not Gaussian features: the theory is low by about 5/k, that is 12 % at 50 neurons.
    """
    data = load("digits").prepare("unit_norm", "parity")
    kernel = nngp(depth=2)
    setup = Setup(data=data, procedure="kernel_solve", sizes=(100, 300), options={"ridge": 0.1, "kernel": kernel})
    measured = kernel_solve(setup.at(features=300).draw(0, data), range(30), "pool_error")[:, :, 0].mean(0)
    spectrum = finite_population(kernel, data.x, data.y)
    found = random_features(spectrum, samples=(100, 300), features=[300, np.inf], ridge=0.1)
    np.testing.assert_allclose(measured, found.test[:, 0], rtol=0.1)
    assert found.test[1, 1] < 0.9 * measured[1]


@pytest.mark.instant
def test_neurons_are_drawn_as_the_kernel_says():
    """Mean of phi phi' over draws is the kernel, read off at a ridge so large that the fit is K y/ridge."""
    rng = np.random.default_rng(3)
    data = Dataset(rng.standard_normal((12, 4)), rng.standard_normal((12, 1)))
    for activation in ("relu", "erf"):
        kernel = nngp(depth=2, activation=activation)
        setup = Setup(data=data, procedure="kernel_solve", sizes=(11,), options={"ridge": 1e4, "kernel": kernel})
        instance = setup.at(features=20000).draw(0, data)
        for seed in (0, 1):
            chosen = np.random.default_rng([seed, 11, 20000]).permutation(12)[:11]
            left = np.setdiff1d(np.arange(12), chosen)
            exact = data.y[left] - kernel(data.x[left], data.x[chosen]) @ data.y[chosen] / 1e4
            found = kernel_solve(instance, [seed], "test_error")[0, 0, 0]
            first_order = float(data.y[left][0, 0] ** 2) - float(exact[0, 0] ** 2)
            assert float(data.y[left][0, 0] ** 2) - found == pytest.approx(first_order, rel=0.1)
    with pytest.raises(BadData, match="nngp"):
        wrong = setup.at(options={"ridge": 1.0, "kernel": ntk(depth=2)}, features=5)
        kernel_solve(wrong.draw(0, data), [0], "test_error")


@pytest.mark.short
def test_both_gram_matrices_give_the_same_fit():
    from learning_mechanics.validate.experiments.kernel_solve import _dual

    rng = np.random.default_rng(9)
    for n, k in ((6, 15), (15, 6)):
        features, y = rng.standard_normal((3, n, k)), rng.standard_normal((3, n, 2))
        direct = np.linalg.solve(features @ features.swapaxes(1, 2) + 0.3 * np.eye(n), y)
        np.testing.assert_allclose(_dual(features, y, 0.3), direct, rtol=1e-10)


@pytest.mark.short
def test_the_claim_holds_and_a_planted_error_is_refuted():
    """Planted: twice the features in the law. Fewer seeds, at one number of features."""
    claim = RandomFeatures().claim("gaussian_features")
    claim = replace(claim, seeds=250, values=(120,), budget={"order 1/n": 0.08})
    instance = claim.settings()[0].draw(0, claim.setup.data)
    prediction, rival = predict(claim, [[instance]]), predict(claim, [[instance]], rival=True)
    values = kernel_solve(instance, range(5000, 5250), claim.observable)[:, None]
    measured = SimpleNamespace(values=values, abscissa=prediction.abscissa, seeds=range(250))
    assert judge(claim, prediction, rival, measured).outcome == "holds"

    def planted(instance):
        return {**model._of_features(instance), "k": 240.0}

    wrong = replace(claim, law=replace(claim.law, bind=planted))
    assert judge(claim, predict(wrong, [[instance]]), rival, measured).outcome == "refuted"


@pytest.mark.instant
@pytest.mark.parametrize(
    "change, message",
    [
        ({"features": [5.0], "samples": [7.0]}, r"min\(n, k\) = 5 reaches the 5 modes"),
        ({"features": [0.0]}, "features"),
        ({"features": [np.inf], "samples": [np.inf]}, "both infinite"),
        ({"power": np.ones(4)}, "5 eigenvalues, 4 powers"),
        ({"ridge": -1.0}, "ridge -1.0"),
    ],
)
def test_bad_input_is_explained(change, message):
    given = {"eigenvalues": np.ones(5), "power": np.ones(5), "samples": [2.0], "features": [3.0]} | change
    with pytest.raises(BadData, match=message):
        random_features(**given)


@pytest.mark.instant
def test_hard_numbers_are_right_or_infinite_never_nan():
    lam, power = power_law(400, capacity=10.0)
    found = random_features(lam, power, [1.0, 50.0, 1e9], [1.0, 50.0, 399.0, 1e9], ridge=1e-40, noise=0.1)
    assert not np.isnan(found.test).any() and (found.test > 0).all() and (found.train >= 0).all()
    assert found.gamma.min() < 1e-25 and "k = 1" in str(found) and found.to_dict()["modes"] == 400
    best = optimal_ridge(lam, power, [1.0, 50.0, 1e9], [1.0, 50.0, 1e9, np.inf], noise=0.0)
    assert np.isfinite(best.test).all() and "optimal" in str(best)


@pytest.mark.short
def test_the_potential_is_the_mean_log_determinant():
    """Both potentials at their stationary points against 300 sampled log determinants, up to a term of order 1.

    It is half a logarithm of the variance factor, here 0.6; a constant n log n, left out, would be 196.
    """
    from learning_mechanics.theory.regression.effective_ridge import effective_ridge

    lam, rng, n, k, ridge = power_law(90)[0], np.random.default_rng(17), 50, 70, 0.05
    wide, few = [], []
    for _ in range(300):
        x = rng.standard_normal((n, 90)) * np.sqrt(lam)
        features = x @ rng.standard_normal((90, k)) / np.sqrt(k)
        wide.append(np.linalg.slogdet(x @ x.T + ridge * np.eye(n))[1])
        few.append(np.linalg.slogdet(features @ features.T + ridge * np.eye(n))[1])
    found = random_features(lam, None, [n], [np.inf, k], ridge=ridge)
    cases = (
        (effective_ridge().trail.steps[0].result, found.gamma[0, 0], found.gamma[0, 0], wide),
        (derived().trail.steps[1].result, found.kappa[0, 1], found.gamma[0, 1], few),
    )
    for potential, kappa, gamma, sampled in cases:
        symbols = sorted(potential.free_symbols, key=str)
        values = {"kappa": kappa, "gamma": gamma, "lambda": lam, "multiplicity": np.ones(90), "n": n, "k": k}
        values["ridge"] = ridge
        value = compile([potential], symbols, backend="numpy")(*(values[str(s)] for s in symbols))[0]
        assert float(np.ravel(value)[0]) == pytest.approx(np.mean(sampled), abs=1.0)
