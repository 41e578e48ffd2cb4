"""Tasks: what their descriptions promise, checked on the rows themselves, and their halves."""

import re
from collections import Counter
from pathlib import Path

import numpy as np
import pytest

from learning_mechanics.theory.errors import BadData, UnknownName
from learning_mechanics.validate.inputs import corpus
from learning_mechanics.validate.tasks import images, texts
from learning_mechanics.validate.tasks.functions import circle
from learning_mechanics.validate.tasks.tasks import KINDS, NAMES, TASKS, halves, record, task

pytestmark = pytest.mark.short


def nearest(data, seed=0):
    """Share of rows whose nearest row in the other half, by cosine, has the same target."""
    probe = halves(data, seed)
    unit = data.x / np.linalg.norm(data.x, axis=1, keepdims=True)
    found = data.y[~probe][(unit[probe] @ unit[~probe].T).argmax(1)]
    return float(np.isclose(found, data.y[probe]).all(1).mean())


def test_there_are_enough_tasks_of_enough_problems():
    expected = [found for found in TASKS.values() if not found.refused]
    assert len(expected) >= 14 and len({found.problem for found in expected}) >= 10
    assert {found.name for found in TASKS.values() if found.refused} >= {"next_character", "noise"}
    for found in TASKS.values():
        assert found.kind in KINDS and found.description in str(found) and found is record(found.name)
    with pytest.raises(UnknownName, match="did you mean 'letters'"):
        record("leters")


@pytest.mark.parametrize("name", NAMES)
def test_rows_are_fit_for_kernels_and_always_the_same(name):
    data = task(name)
    assert data.x.shape[0] == data.y.shape[0] and np.isfinite(data.x).all() and np.isfinite(data.y).all()
    assert (np.linalg.norm(data.x, axis=1) > 1e-3).all() and data.y.std(0).any()
    assert len(np.unique(data.x, axis=0)) > 0.9 * len(data) or name in ("unseen_words", "next_character", "vowels")
    again = record(name).build()
    assert np.array_equal(data.x, again.x) and np.array_equal(data.y, again.y)
    with pytest.raises(ValueError, match="read-only"):
        data.x[0, 0] = 1.0
    if not record(name).refused:
        assert len(data) >= 1200  # half of them resolve a decade of the spectrum
    if data.groups is not None:
        assert data.groups.shape == (len(data),) and len(np.unique(data.groups)) >= 30


@pytest.mark.parametrize("name", ["digits_parity", "denoising"])
def test_halves_share_no_row_and_no_group(name):
    data = task(name)
    first, second = halves(data, 1), halves(data, 2)
    assert np.array_equal(first, halves(data, 1)) and not np.array_equal(first, second)
    assert 0.4 < first.mean() < 0.6
    if data.groups is not None:
        assert not set(data.groups[first]) & set(data.groups[~first])


def test_noise_that_is_to_be_removed_is_half_of_the_contrast():
    """What is seen less what is asked for is the noise: of a quarter of the clean variance, and independent of it."""
    data = task("denoising")
    seen = data.x.reshape(-1, 7, 7)[:, 2:5, 2:5].reshape(-1, 9)
    difference = seen - data.y  # noise, on the scale of the input
    # x has norm 1 over 49 pixels of variance contrast^2 (1 + 1/4): the noise has variance 1/4 / (5/4) / 49
    assert difference.var() == pytest.approx(0.2 / 49, rel=0.05)
    # dividing by the norm of what is seen correlates them by -2 (1/4)/(5/4)^2/49/sqrt(0.2 x 0.8) = -0.016 where the
    # middle is like the rest; 2541 patches whose 9 pixels are alike have a standard error of 0.02
    assert -0.08 < np.corrcoef(difference.ravel(), data.y.ravel())[0, 1] < 0.05


def test_a_pixel_behind_the_filter_is_green_and_its_neighbours_are_not():
    """The target's red is nearest, over rows, to the red pixels above and below the middle, blue to left and right."""
    data = task("demosaicing")
    grid = data.x.reshape(-1, 7, 7)
    above, beside = (grid[:, 2, 3] + grid[:, 4, 3]) / 2, (grid[:, 3, 2] + grid[:, 3, 4]) / 2
    errors = np.array([[np.mean((guess - data.y[:, c]) ** 2) for guess in (above, beside)] for c in (0, 1)])
    assert errors.argmin(1).tolist() in ([0, 1], [1, 0])
    assert errors.min() < 0.3 * errors.max()


@pytest.mark.parametrize(("name", "least"), [("letters", 0.5), ("textures", 0.5), ("modules", 0.4)])
def test_neighbours_are_often_of_the_same_class(name, least):
    classes = task(name).y.shape[1]
    assert nearest(task(name)) > least > 2 / classes


def test_letters_are_read_by_their_mean_picture():
    data = task("letters")
    label = data.y.argmax(1)
    assert np.array_equal(np.bincount(label), np.full(len(images.LETTERS), len(images.FONTS) * images.PER_GLYPH))
    means = np.array([data.x[label == k].mean(0).reshape(images.SIDE, images.SIDE) for k in range(len(images.LETTERS))])
    # T is heavy above, H as heavy below as above, A heavy below, wherever on the ground they stand
    above = {letter: mean[:6].sum() / mean[6:].sum() for letter, mean in zip(images.LETTERS, means, strict=True)}
    assert above["T"] > 1.2 * above["H"] > 1.2 * 1.1 * above["A"]


def test_gaps_are_filled_by_vowels_as_often_as_in_the_text():
    text = " ".join(corpus.topics().values()).lower()
    letters = re.sub("[^a-z]", "", text)
    share = sum(map(letters.count, texts.VOWELS)) / len(letters)
    found = (task("vowels").y == 1).mean()
    assert abs(found - share) < 4 * np.sqrt(share * (1 - share) / texts.WORDS)  # 4 standard errors


def test_shuffled_words_keep_their_letters_and_lose_their_order():
    data = task("spelling")
    pairs = data.x.reshape(-1, 27, 27)
    real = data.y[:, 0] == 1
    assert 0.45 < real.mean() < 0.55
    letters = (pairs / pairs.max((1, 2), keepdims=True)).sum(2)[:, 1:].mean(0)  # every letter begins one pair
    assert letters[texts.SYMBOLS.index("e") - 1] > letters[texts.SYMBOLS.index("z") - 1]
    q = texts.SYMBOLS.index("q")
    after_q = [pairs[rows, q, texts.SYMBOLS.index("u")].sum() / pairs[rows, q].sum() for rows in (real, ~real)]
    assert after_q[0] > 0.9 > after_q[1]


def test_words_are_counted_in_the_whole_text():
    data = task("unseen_words")
    assert (data.x.sum(1) == 1).all() and set(np.unique(data.y)) == {-1.0, 1.0}
    tokens = Counter(re.findall("[a-z]+", " ".join(text for _, text in sorted(corpus.topics().items())).lower()))
    counts = data.facts["counts"]
    assert counts[0] == tokens.most_common(1)[0][1] and data.facts["tokens"] == sum(tokens.values())
    drawn = data.x.sum(0)
    for word in range(3):  # the most frequent words are drawn as often as they occur, within 4 standard errors
        expected = len(data) * counts[word] / data.facts["tokens"]
        assert abs(drawn[word] - expected) < 4 * np.sqrt(expected)
    for number in np.flatnonzero(drawn > 1)[:20]:  # one word, one sign
        assert len(np.unique(data.y[data.x[:, number] == 1])) == 1


def test_the_signal_on_a_circle_has_the_power_it_states():
    """Least squares on its first 40 frequencies, from 2400 points: power k^-roughness within 15 % in the exponent."""
    for roughness in (1.8, 3.0):
        data = circle(roughness)
        angle = np.arctan2(data.x[:, 1], data.x[:, 0])
        k = np.arange(1, 41)
        waves = np.column_stack([np.cos(np.outer(angle, k)), np.sin(np.outer(angle, k))])
        weights = np.linalg.lstsq(waves, data.y[:, 0], rcond=None)[0]
        power = weights[:40] ** 2 + weights[40:] ** 2
        assert -np.polyfit(np.log(k), np.log(power), 1)[0] == pytest.approx(roughness, rel=0.15)


def test_teachers_are_functions_of_their_inputs():
    relu, tanh = task("teacher_relu"), task("teacher_tanh")
    assert np.array_equal(relu.x, tanh.x) and not np.array_equal(relu.y, tanh.y)
    variances = relu.x.var(0)
    assert np.polyfit(np.log(np.arange(1, 25)), np.log(variances), 1)[0] == pytest.approx(-1, abs=0.1)


def test_files_that_are_not_installed_are_named(monkeypatch, tmp_path):
    import matplotlib

    monkeypatch.setattr(matplotlib, "get_data_path", lambda: str(tmp_path))
    with pytest.raises(BadData, match="install Matplotlib from PyPI"):
        images.head()
    monkeypatch.setattr(texts, "code", lambda: ["x = 1"] * 9)
    with pytest.raises(BadData, match="install Python in full"):
        texts.modules()
    assert not Path(tmp_path, "sample_data").exists()
