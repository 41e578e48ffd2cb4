"""Kernels in scikit-learn's estimators: fits, clones, tuning and gradients against direct computations."""

import pickle

import numpy as np
import pytest
from sklearn.base import clone
from sklearn.gaussian_process import GaussianProcessRegressor
from sklearn.gaussian_process.kernels import RBF, WhiteKernel
from sklearn.kernel_ridge import KernelRidge
from sklearn.model_selection import GridSearchCV
from sklearn.svm import SVR

from learning_mechanics.theory.architecture.constructors import activation, dense, serial
from learning_mechanics.theory.errors import BadData, UnknownName
from learning_mechanics.theory.infinite_width.network_kernel import infinite_width
from learning_mechanics.theory.regression.kernels import ntk, rbf
from learning_mechanics.validate.inputs.scikit_learn_kernel import ScikitLearnKernel

pytestmark = pytest.mark.short

rng = np.random.default_rng(2)
X, X_TEST = rng.standard_normal((12, 3)), rng.standard_normal((4, 3))
Y = np.sin(X[:, 0]) + 0.3 * rng.standard_normal(12)


def network(w_std, b_std):
    return serial(dense(w_std, b_std), activation("erf"), dense(w_std, b_std))


@pytest.mark.parametrize("which", ["ntk", "nngp"])
@pytest.mark.parametrize("form", ["network", "infinite width", "built"])
def test_kernel_ridge(which, form):
    own = infinite_width(network(1.3, 0.4))
    given = {
        "network": ScikitLearnKernel(network(1.3, 0.4), which),
        "infinite width": ScikitLearnKernel(own, which),
        "built": ScikitLearnKernel(network, which, w_std=1.3, b_std=0.4),
    }[form]
    found = KernelRidge(kernel=given, alpha=0.1).fit(X, Y).predict(X_TEST)
    gram, cross = (getattr(own(*x), which) for x in ((X,), (X_TEST, X)))
    np.testing.assert_allclose(found, cross @ np.linalg.solve(gram + 0.1 * np.eye(12), Y), rtol=1e-9)
    np.testing.assert_allclose(given.diag(X), np.diag(gram), rtol=1e-12)


def test_any_kernel_of_arrays():
    found = KernelRidge(kernel=ScikitLearnKernel(ntk(depth=3)), alpha=0.1).fit(X, Y).predict(X_TEST)
    gram = ntk(depth=3)(X)
    np.testing.assert_allclose(found, ntk(depth=3)(X_TEST, X) @ np.linalg.solve(gram + 0.1 * np.eye(12), Y), rtol=1e-9)
    linear = ScikitLearnKernel(lambda a, b=None: a @ (a if b is None else b).T)
    np.testing.assert_allclose(linear.diag(X), (X**2).sum(1))
    assert SVR(kernel=linear).fit(X, Y).predict(X_TEST).shape == (4,)


def test_a_gaussian_process_tunes_hyperparameters_as_its_own_kernel_does():
    """The same kernel, ours and scikit-learn's: likelihood, gradient and optimum agree."""
    ours = GaussianProcessRegressor(ScikitLearnKernel(lambda width: rbf(width), width=1.0), alpha=0.1).fit(X, Y)
    theirs = GaussianProcessRegressor(RBF(1.0, (1e-2, 1e2)), alpha=0.1).fit(X, Y)
    found, expected = (model.log_marginal_likelihood(np.log([0.7]), eval_gradient=True) for model in (ours, theirs))
    np.testing.assert_allclose(found[0], expected[0], rtol=1e-12)
    np.testing.assert_allclose(found[1], expected[1], rtol=1e-8)
    np.testing.assert_allclose(ours.kernel_.theta, theirs.kernel_.theta, rtol=1e-4)
    assert abs(ours.kernel_.theta[0]) > 0.01  # it moved
    for one, other in zip(ours.predict(X_TEST, return_cov=True), theirs.predict(X_TEST, return_cov=True), strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-3, atol=1e-5)


def test_gradients_of_a_network_kernel_where_they_are_known():
    """One linear layer: K = w^2 <x, x'>/d + b^2, so dK/dlog w = 2 w^2 <x, x'>/d and dK/dlog b = 2 b^2."""
    kernel = ScikitLearnKernel(lambda w_std, b_std: serial(dense(w_std, b_std)), "nngp", w_std=1.5, b_std=0.5)
    matrix, gradient = kernel(X, eval_gradient=True)
    assert [h.name for h in kernel.hyperparameters] == ["b_std", "w_std"]
    np.testing.assert_allclose(gradient[..., 0], 0.5, rtol=1e-8)
    np.testing.assert_allclose(gradient[..., 1], 2 * (matrix - 0.25), atol=1e-8)
    with pytest.raises(ValueError, match="Y is None"):
        kernel(X, X_TEST, eval_gradient=True)


def test_clones_sums_and_limits():
    kernel = ScikitLearnKernel(network, limits={"w_std": (0.5, 3.0)}, w_std=1.5, b_std=0.0)
    twin = clone(kernel)
    assert twin is not kernel and twin.get_params() == kernel.get_params() and twin == kernel
    np.testing.assert_allclose(kernel.theta, np.log([1.5]))
    np.testing.assert_allclose(kernel.bounds, np.log([[0.5, 3.0]]))
    changed = kernel.clone_with_theta(np.log([2.0]))
    assert changed.get_params()["w_std"] == pytest.approx(2.0) and kernel.get_params()["w_std"] == 1.5
    assert repr(kernel) == "ScikitLearnKernel(network, b_std=0, w_std=1.5)"
    both = kernel + WhiteKernel(0.3)
    np.testing.assert_allclose(both(X), kernel(X) + 0.3 * np.eye(12), rtol=1e-14)
    fitted = GaussianProcessRegressor(both, random_state=0).fit(X, Y).kernel_
    assert 0.5 <= fitted.k1.get_params()["w_std"] <= 3.0
    with pytest.raises(BadData, match="b_std = 0.0.*fix"):
        _ = ScikitLearnKernel(network, w_std=1.5, b_std=0.0).theta
    with pytest.raises(UnknownName, match="w_std"):
        kernel.set_params(w_sdt=1.0)
    with pytest.raises(BadData, match="int"):
        ScikitLearnKernel(3)(X)
    with pytest.raises(UnknownName, match="ntk"):
        ScikitLearnKernel(network(1.0, 0.0), "ntkk")(X)


@pytest.mark.parametrize("source", [network(1.3, 0.4), infinite_width(network(1.3, 0.4)), network])
def test_other_processes_get_the_same_kernel(source):
    given = {"w_std": 1.3, "b_std": 0.4} if source is network else {}
    kernel = ScikitLearnKernel(source, **given)
    expected = kernel(X)
    np.testing.assert_array_equal(pickle.loads(pickle.dumps(kernel))(X), expected)


def test_grid_search():
    own = ScikitLearnKernel(network, w_std=1.0, b_std=0.1)
    search = GridSearchCV(
        KernelRidge(kernel=own),
        {"kernel__w_std": [0.5, 2.0], "alpha": [0.1, 1.0]},
        cv=3,
        scoring="neg_mean_squared_error",
    ).fit(X, Y)
    scores = []
    for w_std, alpha in ((p["kernel__w_std"], p["alpha"]) for p in search.cv_results_["params"]):
        gram, folds = infinite_width(network(w_std, 0.1))(X).ntk, []
        for test in np.array_split(np.arange(12), 3):
            train = np.setdiff1d(np.arange(12), test)
            weights = np.linalg.solve(gram[np.ix_(train, train)] + alpha * np.eye(8), Y[train])
            folds.append(-np.mean((Y[test] - gram[np.ix_(test, train)] @ weights) ** 2))
        scores.append(np.mean(folds))
    np.testing.assert_allclose(search.cv_results_["mean_test_score"], scores, rtol=1e-9)
    assert own.get_params()["w_std"] == 1.0
