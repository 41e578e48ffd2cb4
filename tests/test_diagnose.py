"""The diagnosis finds what was planted: rank, whiteness, noise, duplicates, Zipf frequencies, Gaussianity.

All draws use seed 0. Bounds on random quantities are at least five standard errors away from the planted value.
"""

import json

import numpy as np
import pytest

from learning_mechanics.theory.dataset import Dataset
from learning_mechanics.validate.inputs.diagnose import diagnose

pytestmark = pytest.mark.instant


def normal(samples, dimension):
    return np.random.default_rng(0).standard_normal((samples, dimension))


def test_planted_rank_and_condition():
    x = normal(200, 8)
    x[:, 6:] = x[:, :2] @ np.array([[1.0, 2.0], [3.0, 4.0]])  # two columns add nothing
    card = diagnose(Dataset(x, x[:, 0]), models=False)
    eigenvalues = np.linalg.eigvalsh(np.cov(x.T, bias=True))[-6:]
    assert card.rank == 6
    assert card.condition == pytest.approx(eigenvalues[-1] / eigenvalues[0], rel=1e-8)


def test_whiteness_is_zero_exactly_on_white_inputs_and_grows_with_stretching():
    white = Dataset(normal(300, 6), normal(300, 1)).prepare("centre", "whiten")
    assert diagnose(white, models=False).whiteness < 1e-12
    stretched = Dataset(white.x * np.array([2.0, 1, 1, 1, 1, 1]), white.y)
    eigenvalues = np.array([4.0, 1, 1, 1, 1, 1])
    assert diagnose(stretched, models=False).whiteness == pytest.approx(eigenvalues.std() / eigenvalues.mean())


def test_gaussian_inputs_look_gaussian_and_signs_do_not():
    gaussian = diagnose(Dataset(normal(4000, 6), normal(4000, 1)), models=False)
    assert gaussian.kurtosis[0] < 5 * gaussian.kurtosis[1]
    assert gaussian.norm_moment == pytest.approx(1.0, abs=0.05)
    signs = diagnose(Dataset(np.sign(normal(4000, 1)), normal(4000, 1)), models=False)
    assert signs.kurtosis[0] == pytest.approx(2.0, abs=0.01)  # excess kurtosis -2
    assert signs.norm_moment == pytest.approx(1 / 3, abs=0.01)  # E x^4 = 1 against 3 (E x^2)^2


@pytest.mark.parametrize("noise", [0.0, 0.25, 1.0])
def test_planted_noise_lies_in_the_bracket(noise):
    rng = np.random.default_rng(0)
    x = rng.uniform(-1, 1, (3000, 2))
    signal = np.sin(2 * x[:, 0]) + x[:, 1]
    y = signal / signal.std() + np.sqrt(noise) * rng.standard_normal(3000)
    low, high = diagnose(Dataset(x, y), models=False).noise_floor
    share = noise / (1 + noise)
    # sd of half squared differences of Gaussian noise: share * sqrt(3 / P), about 0.02
    assert low - 0.1 <= share <= high + 0.1
    assert high - low < 0.1


def test_equal_inputs_with_other_targets_are_counted():
    x = normal(50, 3)
    x[10], x[20] = x[0], x[0]
    y = np.arange(50.0)
    y[10] = y[0]
    card = diagnose(Dataset(x, y), models=False)
    assert (card.duplicates, card.conflicts) == (2, 1)


def test_zipf_frequencies_are_found_on_one_hot_inputs_only():
    rng = np.random.default_rng(0)
    frequency = np.arange(1, 31.0) ** -1.2
    symbols = rng.choice(30, 50_000, p=frequency / frequency.sum())
    data = Dataset(np.eye(30)[symbols], rng.standard_normal(50_000))
    assert diagnose(data, models=False).zipf == pytest.approx(1.2, abs=0.05)
    assert diagnose(Dataset(normal(100, 30), normal(100, 1)), models=False).zipf is None


def test_manifold_and_power_law_of_the_inputs():
    angle = np.random.default_rng(0).uniform(0, 2 * np.pi, 600)
    circle = np.stack([np.cos(angle), np.sin(angle)], 1) @ normal(2, 8)
    card = diagnose(Dataset(circle, angle), models=False)
    assert card.intrinsic is not None and card.intrinsic[0] <= 1 <= card.intrinsic[1] < 2
    assert "resolved up to 2 only" in card.power_law and "intrinsic dimension" in str(card)
    few = diagnose(Dataset(circle[:30], angle[:30]), models=False)
    assert few.intrinsic is None and "no intrinsic dimension: 30 distinct rows" in str(few)
    steep = Dataset(normal(1000, 1000) / np.arange(1, 1001), normal(1000, 1))  # no cut-off near rank 200
    assert diagnose(steep, models=False).power_law.startswith("power law, exponent 2.0")


def test_symbols_are_named():
    data = Dataset(np.eye(6)[np.random.default_rng(0).integers(0, 6, 300)], normal(300, 1))
    card = diagnose(data, models=False)
    assert card.symbols == ("one-hot", 6) and card.zipf is None
    assert "inputs are symbols (one-hot): 6" in str(card)


def test_resolved_modes_stop_where_the_halves_disagree():
    spectrum = np.arange(1, 101.0) ** -1.0
    many = diagnose(Dataset(normal(4000, 100) * np.sqrt(spectrum), normal(4000, 1)), models=False)
    few = diagnose(Dataset(normal(60, 100) * np.sqrt(spectrum), normal(60, 1)), models=False)
    assert many.resolved_modes > 90
    assert few.resolved_modes < 30


@pytest.mark.parametrize("samples", [2, 3, 5])
def test_tiny_data_give_a_card_without_warnings(samples):
    card = diagnose(Dataset(normal(samples, 2), np.arange(float(samples))), models=False)
    assert card.samples == samples and str(card)


def test_constant_inputs_have_rank_zero_and_still_a_card():
    card = diagnose(Dataset(np.ones((10, 2)), np.arange(10.0)), models=False)
    assert card.rank == 0 and str(card)


def test_the_card_is_json():
    card = diagnose(Dataset(normal(40, 2), normal(40, 1)), models=False)
    assert json.loads(json.dumps(card.to_dict(), allow_nan=False))["samples"] == 40
