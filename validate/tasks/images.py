"""Tasks on images that ship with scikit-learn and Matplotlib: photographs, a scan of a head, and printed letters.

Images are cut into square blocks, the groups of a task, and every patch lies inside one block:

    input = (pixels seen - m) / r,   target = (pixels asked for - m) / r,   m, r the mean and norm of what is seen.

Patches that are nearly flat show noise of the sensor only and are left out.
"""

import gzip
from functools import cache
from pathlib import Path

import numpy as np

from ...theory.dataset import Dataset
from ...theory.errors import BadData
from ..inputs.data import FLAT, PHOTOGRAPHS

SEED = 20240229  # any fixed number: the tasks are constants of the package
BLOCK = 61
PER_BLOCK = 30
TRIED = 16  # times as many places are tried in every block: most of a sky is flat
PER_PICTURE = 500
LETTERS = "ABCDEFGHKMNRST"
FONTS = (
    *(f"DejaVu{kind}" for kind in ("Sans", "Sans-Bold", "Sans-Oblique", "SansMono", "Serif", "Serif-Bold")),
    *("DejaVuSerif-Italic", "STIXGeneral", "STIXGeneralBol", "STIXGeneralItalic", "cmr10", "cmss10", "cmtt10", "cmb10"),
)
PER_GLYPH = 11
SIDE = 14  # of the picture of a letter, in pixels


def denoising() -> Dataset:
    """Noisy 7 x 7 patches x (P, 49), with noise of half their contrast, to the clean 3 x 3 in the middle y (P, 9).

    >>> denoising().x.shape, denoising().y.shape
    ((2541, 49), (2541, 9))
    """
    rng = np.random.default_rng([SEED, 1])
    clean, groups = _cut(_greys(), 7, rng)
    noisy = clean + rng.standard_normal(clean.shape) * clean.std(1, keepdims=True) / 2
    middle = np.arange(49).reshape(7, 7)[2:5, 2:5].ravel()
    return _standardised(noisy, clean[:, middle], "denoising", groups)


def demosaicing() -> Dataset:
    """Patches of 7 x 7 pixels behind a colour filter, one colour a pixel, to red and blue of the green middle one."""
    images = [_photograph(name) / 255 for name in PHOTOGRAPHS]
    colours, groups = _cut(images, 7, np.random.default_rng([SEED, 3]))
    colours = colours.reshape(-1, 7, 7, 3)
    row, column = np.indices((7, 7))
    # green in the middle and wherever row + column is even; red in odd columns of even distance, blue in the others
    channel = np.where((row + column) % 2 == 0, 1, np.where(row % 2 == 1, 0, 2))
    seen = np.take_along_axis(colours, channel[None, :, :, None], 3).reshape(-1, 49)
    return _standardised(seen, colours[:, 3, 3, [0, 2]], "demosaicing", groups)


def textures() -> Dataset:
    """Log power spectra of 16 x 16 patches, x (P, 144), to the picture they are from, one of five, y (P, 5) one-hot."""
    rng = np.random.default_rng([SEED, 4])
    pictures = [*_greys(), _portrait().mean(-1) / 255, _head(), _elevation()]
    blocks = (BLOCK, BLOCK, 50, 32, 43)
    parts = [_cut([picture], 16, rng, block) for picture, block in zip(pictures, blocks, strict=True)]
    rows, groups, labels, first = [], [], [], 0
    for number, (found, blocks_of) in enumerate(parts):
        chosen = np.sort(rng.permutation(len(found))[:PER_PICTURE])
        rows.append(found[chosen])
        groups.append(blocks_of[chosen] + first)
        first += int(blocks_of.max()) + 1
        labels.append(np.full(len(chosen), number))
    patches, label = np.concatenate(rows).reshape(-1, 16, 16), np.concatenate(labels)
    window = np.outer(np.hanning(16), np.hanning(16))
    patches = (patches - patches.mean((1, 2), keepdims=True)) / patches.std((1, 2), keepdims=True)
    x = np.log(np.abs(np.fft.rfft2(patches * window)).reshape(len(patches), -1) ** 2 + 1e-3)
    x = (x - x.mean(0)) / x.std(0)
    one_hot = np.eye(len(pictures))[label]
    x /= np.linalg.norm(x, axis=1, keepdims=True)
    return Dataset(x, one_hot - one_hot.mean(0), "textures", np.concatenate(groups))


def head() -> Dataset:
    """Neighbours x (P, 24) to the middle of 5 x 5 patches of a magnetic resonance image, a slice of a head."""
    patches, groups = _cut([_head()], 5, np.random.default_rng([SEED, 5]), 16, 18)
    return _standardised(np.delete(patches, 12, axis=1), patches[:, [12]], "head", groups)


@cache
def letters() -> Dataset:
    """Pictures of capital letters in fonts of Matplotlib, turned and shifted at random, x (P, 196); y (P, 14) one-hot.

    >>> letters().x.shape, letters().y.shape
    ((2156, 196), (2156, 14))
    """
    from matplotlib.ft2font import FT2Font

    rng, folder = np.random.default_rng([SEED, 6]), _matplotlib("fonts", "ttf")
    rows, labels = [], []
    for font in FONTS:
        face = FT2Font(str(folder / f"{font}.ttf"))
        for label, letter in enumerate(LETTERS):
            for _ in range(PER_GLYPH):
                face.set_size(float(rng.uniform(9, 12)), 72)
                face.set_text(letter, float(rng.uniform(-15, 15)))
                face.draw_glyphs_to_bitmap(antialiased=True)
                picture = np.asarray(face.get_image(), float) / 255
                rows.append(_placed(picture, rng))
                labels.append(label)
    order = rng.permutation(len(rows))
    x = np.array(rows)[order]
    one_hot = np.eye(len(LETTERS))[np.array(labels)[order]]
    return Dataset(x / np.linalg.norm(x, axis=1, keepdims=True), one_hot - one_hot.mean(0), "letters")


def _placed(picture, rng):
    """A picture somewhere on a SIDE x SIDE ground, cut where it is larger."""
    ground = np.zeros((3 * SIDE, 3 * SIDE))
    high, wide = picture.shape
    top, left = ((3 * SIDE - length) // 2 + int(rng.integers(-1, 2)) for length in (high, wide))
    ground[top : top + high, left : left + wide] = picture
    return ground[SIDE : 2 * SIDE, SIDE : 2 * SIDE].ravel()


def _cut(images, side, rng, block=BLOCK, per_block=PER_BLOCK):
    """Patches (P, side * side * channels) of images and the block (P,) that each lies in."""
    rows, groups, count = [], [], 0
    for image in images:
        for top in range(0, image.shape[0] - block + 1, block):
            for left in range(0, image.shape[1] - block + 1, block):
                part = image[top : top + block, left : left + block]
                corners = rng.permutation((block - side + 1) ** 2)[: TRIED * per_block]
                places = zip(*np.divmod(corners, block - side + 1), strict=True)
                found = np.array([part[a : a + side, b : b + side].ravel() for a, b in places])
                textured = found[found.std(1) >= FLAT][:per_block]
                rows.append(textured)
                groups.append(np.full(len(textured), count))
                count += 1
    return np.concatenate(rows), np.concatenate(groups)


def _standardised(seen, asked, name, groups):
    mean = seen.mean(1, keepdims=True)
    norm = np.linalg.norm(seen - mean, axis=1, keepdims=True)
    return Dataset((seen - mean) / norm, (asked - mean) / norm, name, groups)


def _photograph(name):
    from sklearn.datasets import load_sample_image

    return load_sample_image(name).astype(float)


def _greys():
    return [_photograph(name).mean(-1) / 255 for name in PHOTOGRAPHS]


def _portrait():
    from PIL import Image

    with Image.open(_matplotlib("sample_data", "grace_hopper.jpg")) as image:
        return np.asarray(image, float)


def _head():
    with gzip.open(_matplotlib("sample_data", "s1045.ima.gz")) as file:
        grey = np.frombuffer(file.read(), np.uint16).reshape(256, 256)
    return grey / grey.max()


def _elevation():
    metres = np.load(_matplotlib("sample_data", "jacksboro_fault_dem.npz"))["elevation"].astype(float)
    return (metres - metres.min()) / np.ptp(metres)


def _matplotlib(*parts: str) -> Path:
    """A file or folder that Matplotlib brings along."""
    import matplotlib

    path = Path(matplotlib.get_data_path(), *parts)
    if not path.exists():
        raise BadData(f"no {path}", where="tasks", remedy="install Matplotlib from PyPI, with its sample data")
    return path
