"""Built-in data: what the claims rely on, read off independently from scikit-learn's arrays."""

import numpy as np
import pytest

from learning_mechanics.theory.errors import UnknownName
from learning_mechanics.validate.inputs import data

pytestmark = pytest.mark.short


def test_digits_are_pixels_over_16_and_their_labels():
    from sklearn.datasets import load_digits

    raw = load_digits()
    digits = data.load("digits")
    assert np.array_equal(digits.x * 16, raw.images.reshape(1797, 64))
    assert np.array_equal(digits.y[:, 0], raw.target)


def test_halves_are_the_upper_and_lower_rows():
    from sklearn.datasets import load_digits

    images = load_digits().images
    halves = data.load("digits_halves")
    assert np.array_equal(halves.x.reshape(-1, 4, 8) * 16, images[:, :4])
    assert np.array_equal(halves.y.reshape(-1, 4, 8) * 16, images[:, 4:])


@pytest.mark.parametrize(("name", "dimension"), [("patches", 80), ("patches_small", 24)])
def test_patches_are_standardised(name, dimension):
    patches = data.load(name)
    assert patches.x.shape == (4000, dimension) and patches.y.shape == (4000, 1)
    assert np.allclose(patches.x.mean(1), 0, atol=1e-14)
    assert np.allclose(np.linalg.norm(patches.x, axis=1), 1, atol=1e-14)
    # the centre is within the range of a natural image's neighbourhood: correlated, not determined
    guess = patches.x[:, [dimension // 2 - 1, dimension // 2]].mean(1)
    assert 0.3 < np.corrcoef(guess, patches.y[:, 0])[0, 1] < 0.999


@pytest.mark.parametrize(("name", "side"), [("patches", 9), ("patches_small", 5)])
def test_every_patch_lies_in_its_block(name, side):
    """Brute force: each patch is found again, up to shift and scale, among the windows of the block it names."""
    from sklearn.datasets import load_sample_image

    patches = data.load(name)
    middle = side * side // 2
    for row in range(0, 4000, 400):
        photograph, block = divmod(int(patches.groups[row]), 70)
        grey = load_sample_image(data.PHOTOGRAPHS[photograph]).mean(-1) / 255
        top, left = (block // 10) * data.BLOCK, (block % 10) * data.BLOCK
        inside = grey[top : top + data.BLOCK, left : left + data.BLOCK]
        windows = np.lib.stride_tricks.sliding_window_view(inside, (side, side)).reshape(-1, side * side)
        neighbours = np.delete(windows, middle, 1)
        centred = neighbours - neighbours.mean(1, keepdims=True)
        norms = np.linalg.norm(centred, axis=1)
        textured = norms > 1e-9
        cosines = centred[textured] @ patches.x[row] / norms[textured]
        assert cosines.max() > 1 - 1e-12


def test_loading_again_gives_the_same_protected_arrays():
    first, second = data.load("patches"), data.load("patches")
    assert first is second
    with pytest.raises(ValueError, match="read-only"):
        first.x[0, 0] = 1.0


def test_an_unknown_name_says_the_nearest():
    with pytest.raises(UnknownName, match="did you mean 'patches'"):
        data.load("patch")
