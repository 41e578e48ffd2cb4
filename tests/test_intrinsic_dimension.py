"""The bracket of the intrinsic dimension, on manifolds of known dimension and data that have none."""

import numpy as np
import pytest

from learning_mechanics.theory.errors import BadData
from learning_mechanics.theory.raw_data.intrinsic_dimension import _ratios, intrinsic_dimension


def sphere(dimension, rows, ambient, seed=0):
    rng = np.random.default_rng(seed)
    x = rng.standard_normal((rows, dimension + 1))
    turned = np.linalg.qr(rng.standard_normal((ambient, dimension + 1)))[0].T
    return x / np.linalg.norm(x, axis=1, keepdims=True) @ turned


def torus(rows, seed=0):
    a, b = np.random.default_rng(seed).uniform(0, 2 * np.pi, (2, rows))
    return np.stack([(2 + 0.7 * np.cos(a)) * np.cos(b), (2 + 0.7 * np.cos(a)) * np.sin(b), 0.7 * np.sin(a)], axis=1)


@pytest.mark.short
@pytest.mark.parametrize(
    "name, x, dimension, width",
    [
        ("circle", sphere(1, 800, 6), 1, 0.4),
        ("sphere", sphere(2, 800, 10), 2, 0.6),
        ("torus", torus(800), 2, 0.8),
        ("five-sphere", sphere(5, 1200, 20), 5, 1.8),
        ("Gaussian", np.random.default_rng(1).standard_normal((800, 3)), 3, 1.0),
        ("cube", np.random.default_rng(2).uniform(size=(1200, 5)), 5, 1.8),
    ],
)
def test_manifolds_of_known_dimension(name, x, dimension, width):
    found = intrinsic_dimension(x)
    assert found.low <= dimension <= found.high
    assert found.high - found.low < width
    assert not found.low <= 1.6 * dimension <= found.high  # a wrong dimension lies outside


@pytest.mark.short
def test_scales_tell_noise_from_the_manifold():
    """A circle thickened by noise in ten dimensions: many dimensions at small scales, one at large ones.

    Published behaviour of ratios over scales: Denti, Doimo, Laio, Mira 2022, figure 4.
    """
    x = sphere(1, 1500, 10) + 0.003 * np.random.default_rng(1).standard_normal((1500, 10))
    found = intrinsic_dimension(x)
    ratios = [ratio.value for _, _, ratio, _ in found.scales]
    assert ratios[0] > 4 and ratios == sorted(ratios, reverse=True) and ratios[-1] == pytest.approx(1, abs=0.1)
    assert found.low <= 1.05 and found.high > 5


@pytest.mark.short
def test_many_dimensions_leave_the_upper_end_open():
    """Published behaviour: in a cube of 20 dimensions every count of neighbours is too low (Facco 2017, figure 3)."""
    found = intrinsic_dimension(np.random.default_rng(3).uniform(size=(1000, 20)))
    assert found.open_above and found.centre < 17 and found.high >= 18
    assert "or more" in str(found)


@pytest.mark.instant
def test_error_of_ratios_is_their_scatter():
    """In one dimension with k = 1, over 200 draws of independent ratios: deviations agree within 25 %."""
    values, errors = [], []
    for seed in range(200):
        rng = np.random.default_rng(seed)
        inner, outer = np.ones(300), rng.uniform(size=300) ** (-2 / 3)  # squared: (r_1 / r_2)^3 is uniform
        found = _ratios(inner, outer, 1, rng.permutation(300) % 10)
        values.append(found.value)
        errors.append(found.error)
    assert np.mean(values) == pytest.approx(3, abs=0.05)
    assert np.mean(errors) == pytest.approx(np.std(values), rel=0.25)


@pytest.mark.instant
def test_duplicates_outliers_and_scale_do_not_matter():
    x = sphere(2, 600, 5, seed=4)
    found = intrinsic_dimension(x)
    repeated = intrinsic_dimension(np.concatenate([x, x[:200], x[:100]]))
    assert repeated.duplicates == 300 and repeated.rows == 600
    assert repeated.low <= 2 <= repeated.high
    far = x.copy()
    far[:6] *= np.array([10, 30, 100, 300, 1000, 3000])[:, None]
    spoiled = intrinsic_dimension(far)
    assert spoiled.low <= 2 <= spoiled.high and spoiled.high - spoiled.low < 1
    scaled = intrinsic_dimension(1e6 * x + 1e3)
    assert scaled.centre == pytest.approx(found.centre, rel=1e-6) and scaled.ambient == found.ambient == 3


@pytest.mark.instant
def test_what_has_no_dimension_is_refused_in_a_line():
    import json

    rng = np.random.default_rng(0)
    with pytest.raises(BadData, match="40 distinct rows; give at least 100"):
        intrinsic_dimension(rng.standard_normal((40, 3)))
    with pytest.raises(BadData, match="3 distinct rows among 500"):
        intrinsic_dimension(np.eye(3)[rng.integers(0, 3, 500)])
    with pytest.raises(BadData, match="lattice"):
        intrinsic_dimension(np.eye(200))
    with pytest.raises(BadData, match="finite"):
        intrinsic_dimension(np.full((200, 2), np.inf))
    for wrong, words in (
        (np.zeros((0, 3)), "inputs of shape"),
        ([["a"]] * 200, "not numbers"),
        ([[1], [1, 2]], "x has"),
    ):
        with pytest.raises(BadData, match=words):
            intrinsic_dimension(wrong)
    with pytest.raises(BadData, match="seed -1"):
        intrinsic_dimension(rng.standard_normal((150, 2)), seed=-1)
    x = rng.standard_normal((150, 2))
    for unit in (2.0**600, 2.0**-600):  # squares of entries leave double precision
        far = intrinsic_dimension(unit * x)
        assert far.low == intrinsic_dimension(x).low and far.scales[0][1] == unit * intrinsic_dimension(x).scales[0][1]
    assert intrinsic_dimension(np.arange(300.0)[:, None] * np.ones(3)).ambient == 1  # equal distances on a line
    found = intrinsic_dimension(rng.standard_normal((150, 2)))
    json.dumps(found.to_dict())
    assert len(found.scales) == 3 and "150 rows in 2 dimensions" in str(found)
