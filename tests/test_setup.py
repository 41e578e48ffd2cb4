"""Settings, draws and data: reproducible, movable along axes, and clear about what is wrong."""

import numpy as np
import pytest

from learning_mechanics.theory.architecture.network import Network, Node, chain
from learning_mechanics.theory.dataset import Dataset, PowerLaw
from learning_mechanics.theory.errors import BadData, UnknownName
from learning_mechanics.theory.setup import Initialisation, Optimizer, Setup
from learning_mechanics.theory.singular_modes import singular_modes

RNG = np.random.default_rng(0)
DATA = Dataset(RNG.standard_normal((40, 6)) @ np.diag([3, 2, 1, 1, 0.1, 0]), RNG.standard_normal((40, 3)))
SETUP = Setup(network=chain("input", "width", "output"), axes={"width": 8}, steps=10, records=3)


@pytest.mark.instant
def test_same_seed_same_arrays():
    first, second, other = (SETUP.draw(seed, DATA) for seed in (0, 0, 1))
    assert first.fingerprint == second.fingerprint != other.fingerprint
    assert SETUP.at(learning_rate=0.2).draw(0, DATA).fingerprint != first.fingerprint


@pytest.mark.instant
def test_whitening_on_the_numerical_range():
    white = DATA.prepare("drop_constant", "centre", "whiten")
    assert white.facts["rank"] == 5
    assert np.abs(white.covariances()[0] - np.eye(5)).max() < 1e-12


@pytest.mark.instant
def test_second_moments_are_kept():
    few = DATA.prepare("second_moments")
    assert len(few) == 9
    for a, b in zip(few.covariances(), DATA.covariances(), strict=True):
        assert np.abs(a - b).max() < 1e-13


@pytest.mark.instant
@pytest.mark.parametrize("depth", [2, 3, 4])
def test_aligned_balanced_start(depth):
    setup = Setup(
        network=chain("input", *[8] * (depth - 1), "output"), initialisation=Initialisation("aligned_balanced", 0.01)
    )
    instance = setup.draw(0, DATA)
    layers = [instance[f"W{layer}"] for layer in range(1, depth + 1)]
    for below, above in zip(layers[:-1], layers[1:], strict=True):
        assert np.abs(above.T @ above - below @ below.T).max() < 1e-13
    left, singular, right = singular_modes(instance["x"], instance["y"])
    product = np.linalg.multi_dot(layers[::-1])
    assert np.abs(product - 0.01 * left @ right).max() < 1e-13


@pytest.mark.instant
def test_antisymmetric_start_is_zero_and_needs_an_even_width():
    network = chain("input", "width", "output", activation="relu", parameterization="ntk")
    setup = Setup(network=network, axes={"width": 8}, initialisation=Initialisation("antisymmetric"))
    instance = setup.draw(0, DATA)
    assert np.abs(np.maximum(DATA.x @ instance["W1"].T, 0) @ instance["W2"].T).max() < 1e-12
    with pytest.raises(BadData, match="width 7 is odd"):
        setup.at(width=7).draw(0, DATA)


@pytest.mark.instant
def test_halves_keep_groups_apart():
    grouped = Dataset(DATA.x, np.arange(40.0), groups=np.repeat(np.arange(8), 5))
    drawn = Setup(sample="halves").draw(3, grouped)
    probe, pool = (set((drawn[name][:, 0] // 5).astype(int)) for name in ("y_probe", "y_pool"))
    assert not probe & pool and probe | pool == set(range(8))


@pytest.mark.instant
def test_recorded_steps():
    assert SETUP.recorded_steps().tolist() == [0, 5, 10]
    log = Setup(steps=1000, records=8, spacing="log").recorded_steps()
    assert log[0] == 0 and log[-1] == 1000 and (np.diff(log) > 0).all()
    assert Setup(time=5.0, optimizer=Optimizer(learning_rate=0.1)).total_steps() == 50


@pytest.mark.instant
def test_power_law_is_normalised():
    eigenvalues, target = PowerLaw(dim=50, capacity=1.5, target_exponent=2.0).spectrum()
    assert np.isclose(eigenvalues.sum(), 1) and np.isclose((eigenvalues * target**2).sum(), 1)
    assert np.allclose(np.diff(np.log(eigenvalues)) / np.diff(np.log(np.arange(1, 51))), -1.5)


@pytest.mark.instant
@pytest.mark.parametrize(
    "build, message",
    [
        (lambda: Dataset(np.zeros((3, 2)), np.zeros(4)), "one row per sample"),
        (lambda: Dataset(np.array([[0.0, np.nan]]), np.zeros(1)), "nan at row 0, column 1"),
        (lambda: DATA.prepare("whitten"), "did you mean 'whiten'"),
        (lambda: Setup(procedure="full-batch"), "did you mean 'full_batch'"),
        (lambda: Setup(sample="subset", axes={"n": 41}).draw(0, DATA), "40 samples but n = 41"),
        (lambda: Setup(network=chain(6, 3), initialisation=Initialisation("norml")).draw(0, DATA), "mean 'normal'"),
        (lambda: Network((Node("h", "dense", ("x",)),)), "unknown node 'x'"),
        (lambda: chain(2, 3, 1, activation="rellu"), "did you mean 'relu'"),
        (lambda: Setup().draw(0), "is a name, not arrays"),
        (lambda: Dataset(np.zeros((2, 2)), np.zeros(2)).prepare("unit_norm"), "zero norm"),
    ],
)
def test_errors_say_what_was_found(build, message):
    with pytest.raises((BadData, UnknownName), match=message):
        build()


@pytest.mark.instant
@pytest.mark.parametrize("rows", [4, 9, 200])
def test_second_moments_are_kept_also_by_few_rows(rows):
    """Fewer rows than columns of (x, y) too: Sigma_xx and Sigma_yx of the short form are those of the data."""
    rng = np.random.default_rng(rows)
    data = Dataset(rng.standard_normal((rows, 6)), rng.standard_normal((rows, 3)))
    short = data.prepare("second_moments")
    for mine, theirs in zip(short.covariances(), data.covariances(), strict=True):
        assert np.abs(mine - theirs).max() < 1e-13


@pytest.mark.instant
def test_numbers_are_not_taken_for_labels():
    """Whole targets are labels; real ones are a regression, with one column and no parity."""
    x = np.arange(8.0).reshape(4, 2)
    labels, numbers = Dataset(x, np.array([0.0, 1.0, 2.0, 1.0])), Dataset(x, np.array([0.1, 0.7, -2.3, 0.4]))
    assert labels.prepare("one_hot").y.shape == (4, 3) and set(labels.prepare("parity").y.ravel()) == {-1.0, 1.0}
    for preparation in ("one_hot", "parity"):
        assert np.array_equal(numbers.prepare(preparation).y, numbers.y)


@pytest.mark.instant
@pytest.mark.parametrize(
    "mistake, line",
    [
        (lambda: Setup(spacing="lgo"), "unknown spacing 'lgo'; did you mean 'log'?"),
        (lambda: Setup(sample="subsett"), "did you mean 'subset'?"),
        (lambda: Setup(optimizer=Optimizer(unit="trace")), "unknown unit of the learning rate 'trace'"),
        (lambda: Setup(steps=-1), "steps = -1; give a whole number from 0"),
        (lambda: Setup(records=0), "records = 0; give a whole number from 1"),
        (lambda: Setup().at(learning_rate=0), "learning_rate = 0; give a number above 0"),
        (lambda: Setup().at(learning_rate=float("nan")), "learning_rate = nan"),
        (lambda: Setup().draw(-1, DATA), "seed -1"),
        (lambda: Setup(sample="subset").draw(0, DATA), "needs a number; give axes={'n': ...}"),
        (lambda: Setup(network=chain("input", "width", "output")).draw(0, DATA), "unknown width 'width'"),
        (lambda: Setup(optimizer=Optimizer(unit="1/trace")).draw(0, Dataset(np.zeros((3, 2)), np.ones(3))), "is 0"),
        (lambda: Dataset(np.eye(2), np.array(["cat", "dog"])), "not numbers"),
        (lambda: chain(), "no width is given"),
    ],
)
def test_settings_that_cannot_be_are_one_line(mistake, line):
    with pytest.raises((BadData, UnknownName)) as caught:
        mistake()
    assert line in str(caught.value) and "\n" not in str(caught.value)


@pytest.mark.instant
def test_no_steps_have_one_record_however_spaced():
    assert [Setup(spacing=spacing).recorded_steps().tolist() for spacing in ("linear", "log")] == [[0], [0]]


@pytest.mark.instant
@pytest.mark.parametrize("imbalance, width", [(0.7, 3), (-0.7, 5), (0.0, 6), (2.0, 1)])
def test_lambda_balanced_layers_differ_by_the_imbalance(imbalance, width):
    setup = Setup(
        network=chain("input", "width", "output"),
        axes={"width": width},
        initialisation=Initialisation("lambda_balanced", 0.2),
        steps=1,
    )
    drawn = setup.at(imbalance=imbalance).draw(0, Dataset(np.eye(5), np.ones((5, 3))))
    W1, W2 = drawn["W1"], drawn["W2"]
    assert np.allclose(W2.T @ W2 - W1 @ W1.T, imbalance * np.eye(width), atol=1e-14)
    strengths = np.linalg.svd(W2 @ W1, compute_uv=False)
    assert np.allclose(strengths[: min(width, 3)], 0.2)


@pytest.mark.instant
def test_an_imbalance_that_cannot_be_is_refused():
    setup = Setup(network=chain("input", 4, "output"), initialisation=Initialisation("lambda_balanced", 0.2, 1.0))
    with pytest.raises(BadData, match="width 4 and output 3"):
        setup.draw(0, Dataset(np.eye(5), np.ones((5, 3))))
    with pytest.raises(BadData, match="takes no imbalance"):
        Setup(network=chain("input", "output"), initialisation=Initialisation(imbalance=1.0)).draw(
            0, Dataset(np.eye(5), np.ones((5, 3)))
        )


@pytest.mark.instant
def test_two_records_are_the_first_and_the_last_step():
    for spacing in ("linear", "log"):
        setup = Setup(network=chain("input", "output"), steps=600, records=2, spacing=spacing)
        assert setup.recorded_steps().tolist() == [0, 600]


@pytest.mark.instant
@pytest.mark.parametrize("depth", [1, 2, 3])
def test_rates_over_the_sharpness_mean_the_same_on_any_scale_of_targets(depth):
    """Linear networks on white inputs: the Hessian of a balanced minimum, by finite differences of the loss."""
    x = np.sqrt(2) * np.eye(2)
    for scale in (1.0, 7.0):
        data = Dataset(x, scale * x @ np.diag([3.0, 1.0]))
        network = chain("input", *["width"] * (depth - 1), "output")
        setup = Setup(
            network=network,
            axes={"width": 2},
            optimizer=Optimizer(learning_rate=2.0, unit="1/sharpness"),
            initialisation=Initialisation("balanced_minimum", 0.0),
        )
        instance = setup.draw(0, data)
        shapes = [w.shape for w in instance.weights.values()]
        start = np.concatenate([w.ravel() for w in instance.weights.values()])

        def loss(flat, data=data, shapes=shapes):
            out, used = data.x.T, 0
            for shape in shapes:
                out, used = flat[used : used + shape[0] * shape[1]].reshape(shape) @ out, used + shape[0] * shape[1]
            return ((data.y.T - out) ** 2).sum() / 2 / len(data)

        step, identity = 1e-3, np.eye(len(start))
        hessian = np.array(
            [
                [
                    sum(p * q * loss(start + step * (p * a + q * b)) for p in (1, -1) for q in (1, -1)) / (4 * step**2)
                    for a in identity
                ]
                for b in identity
            ]
        )
        assert instance.learning_rate * np.linalg.eigvalsh(hessian)[-1] == pytest.approx(2.0, rel=1e-4)


@pytest.mark.instant
def test_targets_must_fit_the_outputs():
    data = Dataset(np.eye(3), np.eye(3), "mine")
    with pytest.raises(BadData, match="mine: 3 targets for 1 output of the network; give one column"):
        Setup(network=chain("input", 2, 1)).draw(0, data)
    with pytest.raises(BadData, match="no network and samples"):
        Setup(optimizer=Optimizer(unit="1/sharpness")).draw(0, data)


@pytest.mark.instant
def test_time_counts_in_the_unit_of_the_learning_rate():
    """The number of steps does not depend on the scale of the targets; the rate itself does."""
    setup = Setup(network=chain("input", "output"), time=6.0, optimizer=Optimizer(learning_rate=0.1, unit="1/trace"))
    small, large = (setup.draw(0, Dataset(scale * np.eye(3), np.eye(3))) for scale in (1.0, 10.0))
    assert small.steps[-1] == large.steps[-1] == 60
    assert small.learning_rate == pytest.approx(100 * large.learning_rate, rel=1e-12)


@pytest.mark.instant
def test_hyperparameters_are_checked_in_one_place():
    from learning_mechanics.theory.model import models

    for model in models():
        for name, field in model.__dataclass_fields__.items():
            if not isinstance(field.default, int | float):
                continue
            least = field.metadata["least"]
            with pytest.raises(BadData, match=name):
                model(**{name: float("nan") if least is None else least - 1})
