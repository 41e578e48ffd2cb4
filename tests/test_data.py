"""Built-in data: what the claims rely on, read off independently from scikit-learn's arrays."""

import numpy as np
import pytest

from learning_mechanics.theory.errors import BadData, UnknownName
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


def test_windows_of_prose_and_code_are_counted_pair_by_pair():
    """Brute force on the windows themselves: every count is the number of times two letters stand side by side."""
    from learning_mechanics.validate.inputs import writing

    table = data.load("prose_or_code")
    assert table.x.shape == (2400, 729) and (table.x.sum(1) == writing.WINDOW - 1).all()
    assert (table.y == 1).sum() == (table.y == -1).sum() == 1200
    text = "The  quick-brown fox, " * 20
    (window, *_) = writing.windows(text)
    letters = "".join(writing.SYMBOLS[number] for number in window)
    assert letters.startswith("the quick brown fox the") and len(letters) == writing.WINDOW
    (counts,) = writing.pairs(window[None])
    for pair in ("th", "e ", "qu", "zz"):
        place = writing.SYMBOLS.index(pair[0]) * 27 + writing.SYMBOLS.index(pair[1])
        assert counts[place] == sum(letters[i : i + 2] == pair for i in range(len(letters) - 1))
    # prose and code differ in letters that everyone knows: "the" against "self"
    the, elf = (writing.SYMBOLS.index(a) * 27 + writing.SYMBOLS.index(b) for a, b in ("th", "lf"))
    prose = table.y[:, 0] == 1
    assert table.x[prose, the].mean() > table.x[~prose, the].mean()
    assert table.x[prose, elf].mean() < table.x[~prose, elf].mean()


def test_windows_of_voltage_follow_each_other_in_the_recording():
    from pathlib import Path

    import matplotlib

    table = data.load("membrane")
    voltage = np.fromfile(Path(matplotlib.get_data_path()) / "sample_data" / "membrane.dat", np.float32).astype(float)
    assert table.x.shape[1] == 16 and len(np.unique(table.groups)) == 100
    for row in range(0, len(table), 300):
        stretch = voltage[int(table.groups[row]) * 120 :][:120]
        found = []
        for start in range(0, 104):
            window = stretch[start : start + 17]
            past = window[:16] - window[:16].mean()
            if np.abs(past).max() > 0:
                scale = np.linalg.norm(past)
                same = np.allclose(past / scale, table.x[row])
                found.append(same and np.isclose((window[16] - window[:16].mean()) / scale, table.y[row, 0]))
        assert any(found)


def test_terrain_and_cells_are_standardised():
    terrain, cells = data.load("terrain"), data.load("cells")
    assert terrain.x.shape == (2400, 48) and len(np.unique(terrain.groups)) == 72
    assert np.allclose(terrain.x.mean(1), 0, atol=1e-13) and np.allclose(np.linalg.norm(terrain.x, axis=1), 1)
    guess = terrain.x[:, [23, 24]].mean(1)
    assert np.corrcoef(guess, terrain.y[:, 0])[0, 1] > 0.3
    assert np.allclose(cells.x.mean(0), 0, atol=1e-12) and np.allclose(cells.x.std(0), 1)
    assert (cells.y == 1).sum() == 357 and (cells.y == -1).sum() == 212  # benign and malignant, as published


def test_sample_data_that_are_not_installed_are_named(monkeypatch, tmp_path):
    import matplotlib

    monkeypatch.setattr(matplotlib, "get_data_path", lambda: str(tmp_path))
    with pytest.raises(BadData, match="install Matplotlib from PyPI"):
        data._sample("membrane.dat")
