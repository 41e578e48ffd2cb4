"""Every way a user's file can be unusable is one line that says where; every usable one reads as it is."""

import pickle
import random
import warnings
import zipfile

import numpy as np
import pytest

from learning_mechanics.theory.dataset import Dataset
from learning_mechanics.theory.errors import BadData, LearningMechanicsError, UnknownName
from learning_mechanics.validate.inputs import user_data
from learning_mechanics.validate.inputs.training_log import read_log

pytestmark = pytest.mark.instant
X = np.array([[1.0, 2.0], [3.0, 4.0], [5.0, 7.0], [2.0, 9.0], [8.0, 1.0], [0.0, 3.0]])
Y = np.array([0.5, 1.5, 2.0, -1.0, 0.0, 3.5])
TEXT = "a,b,y\n1,2,0.5\n3,4,1.5\n5,7,2.0\n2,9,-1\n8,1,0\n0,3,3.5\n"


def written(path, content):
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return path


def saved(path, **arrays):
    np.savez(path, **arrays)
    return path


def test_all_formats_read_the_same_numbers(tmp_path):
    np.save(tmp_path / "x.npy", X)
    np.save(tmp_path / "y.npy", Y)
    files = [saved(tmp_path / "d.npz", x=X, y=Y), written(tmp_path / "d.csv", TEXT), tmp_path / "x.npy"]
    parquet = pytest.importorskip("pyarrow.parquet")
    import pyarrow

    parquet.write_table(pyarrow.table({"a": X[:, 0], "b": X[:, 1], "y": Y}), tmp_path / "d.parquet")
    for path in [*files, tmp_path / "d.parquet"]:
        data = user_data.read(path)
        assert np.array_equal(data.x, X), path
        assert np.array_equal(data.y[:, 0], Y), path
        assert data.facts["task"] == "regression"


def test_columns_and_arrays_are_chosen_by_name(tmp_path):
    data = user_data.read(written(tmp_path / "d.csv", TEXT), target="a", inputs=["y"], regression=True)
    assert np.array_equal(data.x[:, 0], Y) and np.array_equal(data.y[:, 0], X[:, 0])
    data = user_data.read(saved(tmp_path / "d.npz", features=X, price=Y), target="price", inputs=["features"])
    assert np.array_equal(data.x, X)


def test_images_become_rows_of_pixels(tmp_path):
    data = user_data.read(saved(tmp_path / "d.npz", x=np.arange(24.0).reshape(6, 2, 2), y=Y))
    assert data.x.shape == (6, 4)


@pytest.mark.parametrize("labels", [np.array([0, 1, 2, 0, 1, 2]), np.array(["b", "a", "c"] * 2)])
def test_labels_are_one_hot_and_centred(tmp_path, labels):
    data = user_data.read(saved(tmp_path / "d.npz", x=X, y=labels))
    expected = np.array([[label == other for other in sorted(set(labels))] for label in labels]) - 1 / 3
    assert np.allclose(data.y, expected, atol=1e-16)
    assert "one-hot, centred, squared loss" in data.facts["targets"]
    assert data.prepare("one_hot").y is data.y  # a claim's own coding of labels leaves them alone


def test_regression_keeps_integers_as_numbers(tmp_path):
    data = user_data.read(saved(tmp_path / "d.npz", x=X, y=np.array([0, 1, 2, 0, 1, 2])), regression=True)
    assert data.y[:, 0].tolist() == [0, 1, 2, 0, 1, 2]


def test_duplicates_warn_with_their_count(tmp_path):
    x = X.copy()
    x[[3, 5]] = x[0]
    with pytest.warns(user_data.DuplicateRows, match="2 rows repeat an earlier input"):
        data = user_data.read(saved(tmp_path / "d.npz", x=x, y=Y))
    assert data.facts["duplicates"] == 2
    with pytest.raises(BadData, match=r"rows 0 and 3 have equal inputs but different targets \(2 such rows\)"):
        user_data.require_consistent(data, ridge=0.0)
    user_data.require_consistent(data, ridge=1e-6)


def test_duplicates_that_agree_are_no_conflict():
    user_data.require_consistent(Dataset(np.ones((2, 1)), np.ones(2)), ridge=0.0)


class Danger:
    """Unpickling this would leave a mark."""

    def __reduce__(self):
        return (exec, ("raise SystemExit('code from a data file was run')",))


def _with_member(path):
    """The archive with a member that is text."""
    with zipfile.ZipFile(path, "a") as archive:
        archive.writestr("z", "hello")
    return path


def _bad_files(folder):
    """name of the case -> (path, what the line must say)."""
    nan, infinite = X.copy(), X.copy()
    nan[4, 1], infinite[2, 0] = np.nan, np.inf
    truncated = saved(folder / "whole.npz", x=X, y=Y).read_bytes()[:-40]
    objects = np.array([1.0, None, "x"] * 2, object)
    (folder / "folder.npz").mkdir()
    np.save(folder / "lone.npy", X)
    deflated = folder / "deflated.npz"
    np.savez_compressed(deflated, x=np.random.default_rng(0).random((50, 2)), y=np.arange(50.0))
    broken = bytearray(deflated.read_bytes())
    broken[120:400] = bytes(280)
    return {
        "nan": (saved(folder / "nan.npz", x=nan, y=Y), "nan at row 4, column 1 of x"),
        "inf": (saved(folder / "inf.npz", x=infinite, y=Y), "inf at row 2, column 0 of x"),
        "nan target": (saved(folder / "ny.npz", x=X, y=np.where(Y > 3, np.nan, Y)), "nan at row 5, column 0 of y"),
        "nan csv": (written(folder / "nan.csv", TEXT.replace("5,7", "5,")), "nan at row 2, column 'b'"),
        "shapes": (saved(folder / "shape.npz", x=X, y=Y[:4]), "x has 6 rows and y has 4"),
        "constant": (saved(folder / "constant.npz", x=X, y=np.ones(6)), "the target is constant (1.0)"),
        "constant label": (saved(folder / "one.npz", x=X, y=np.array(["a"] * 6)), "the target is constant (a)"),
        "no samples": (saved(folder / "none.npz", x=X[:0], y=Y[:0]), "no samples"),
        "no field": (saved(folder / "field.npz", x=X, yy=Y), "unknown array 'y'; did you mean 'yy'?"),
        "ragged": (written(folder / "ragged.csv", "a,y\n1,2\n3\n"), "line 3 has 1 entries, the header 2"),
        "no header": (written(folder / "plain.csv", "1,2\n3,4\n"), "the first line holds no column names"),
        "twice": (written(folder / "twice.csv", "a,a,y\n1,2,3\n"), "column 'a' occurs twice"),
        "no target": (written(folder / "notarget.csv", "a,b\n1,2\n"), "no column called y"),
        "only target": (written(folder / "only.csv", "y\n1\n2\n"), "no input column is left"),
        "text input": (written(folder / "text.csv", TEXT.replace("5,7", "red,7")), "column 'a' holds 'red' at row 2"),
        "latin": (written(folder / "latin.csv", "a,y\n1,\xe9\n".encode("latin-1")), "not readable as text"),
        "binary csv": (written(folder / "zip.csv", truncated), "the name says .csv but the content is a zip archive"),
        "csv as npz": (written(folder / "csv.npz", TEXT), "the name says .npz but the content is text"),
        "csv as npy": (written(folder / "csv.npy", TEXT), "the name says .npy but the content is text"),
        "csv as parquet": (written(folder / "csv.parquet", TEXT), "the name says .parquet but the content is text"),
        "cut parquet": (written(folder / "cut.parquet", b"PAR1" + bytes(40)), "damaged Parquet file"),
        "truncated": (written(folder / "truncated.npz", truncated), "damaged archive"),
        "broken": (written(folder / "broken.npz", bytes(broken)), "damaged"),
        "cut npy": (written(folder / "cut.npy", (folder / "lone.npy").read_bytes()[:-8]), "damaged array"),
        "pkl": (written(folder / "data.pkl", pickle.dumps(Danger())), "can run code when opened"),
        "hidden pickle": (written(folder / "hidden.npy", pickle.dumps(Danger())), "this is a pickle"),
        "object array": (saved(folder / "object.npz", x=X, y=objects), "holds Python objects, stored as a pickle"),
        "missing": (folder / "nam.npz", "no such file; did you mean"),
        "directory": (folder / "folder.npz", "this is a directory"),
        "empty": (written(folder / "empty.csv", ""), "the file is empty"),
        "kind": (written(folder / "data.xlsx", "x"), "unknown file kind '.xlsx'"),
        "complex": (saved(folder / "complex.npz", x=X * 1j, y=Y), "complex128, not real numbers"),
        "classes": (saved(folder / "classes.npz", x=X, y=np.arange(6)), "6 classes in 6 samples"),
        "scalar": (saved(folder / "scalar.npz", x=3.0, y=Y), "x is a single number"),
        "scalar target": (saved(folder / "sy.npz", x=X, y=3.0), "y is a single number"),
        "no columns": (saved(folder / "nocol.npz", x=X[:, :0], y=Y), "x has no columns: shape (6, 0)"),
        "constant input": (saved(folder / "cx.npz", x=np.ones_like(X), y=Y), "every column of x is constant"),
        "huge": (saved(folder / "huge.npz", x=X * 1e200, y=Y), "whose fourth power is no number"),
        "tiny": (saved(folder / "tiny.npz", x=X * 1e-200, y=Y), "whose fourth power is no number"),
        "huge target": (saved(folder / "hy.npz", x=X, y=Y * 1e200), "column 0 of y reach 3.5e+200"),
        "row number": (written(folder / "index.csv", ",a,y\n0,1,2\n1,3,4\n"), "column 1 has no name"),
        "no array": (_with_member(saved(folder / "member.npz", x=X, y=Y)), "'z' is no array"),
    }


CASES = (
    "nan|inf|nan target|nan csv|shapes|constant|constant label|no samples|no field|ragged|no header|twice|no target"
    "|only target|text input|latin|binary csv|csv as npz|csv as npy|csv as parquet|cut parquet|truncated|broken"
    "|cut npy|pkl|hidden pickle|object array|missing|directory|empty|kind|complex|classes|scalar|scalar target"
    "|no columns|constant input|huge|tiny|huge target|row number|no array"
).split("|")


@pytest.fixture(scope="module")
def bad_files(tmp_path_factory):
    return _bad_files(tmp_path_factory.mktemp("bad"))


def test_no_case_is_forgotten(bad_files):
    assert set(CASES) == set(bad_files)


@pytest.mark.parametrize("case", CASES)
def test_bad_input_is_one_clear_line(bad_files, case):
    if case == "cut parquet":
        pytest.importorskip("pyarrow")
    path, expected = bad_files[case]
    other = path.parent / "lone.npy" if case in ("cut npy", "csv as npy") else None
    with pytest.raises(LearningMechanicsError) as caught:
        user_data.read(path, target=other or ("z" if case == "no array" else None))
    assert expected in str(caught.value)
    assert path.name in str(caught.value) or case == "kind"
    assert "\n" not in str(caught.value)
    assert caught.value.remedy


@pytest.mark.parametrize("case", CASES)
def test_the_command_line_says_it_in_one_line_with_status_2(bad_files, case, capsys):
    from learning_mechanics.cli import main

    if case == "cut parquet":
        pytest.importorskip("pyarrow")
    path, expected = bad_files[case]
    extra = ["--target", str(path.parent / "lone.npy")] if case in ("cut npy", "csv as npy") else []
    extra = ["--target", "z"] if case == "no array" else extra
    before = sorted(path.parent.iterdir())
    assert main(["diagnose", str(path), *extra]) == 2
    out, err = capsys.readouterr()
    assert out == "" and err.count("\n") == 1 and err.startswith("learning-mechanics: ") and expected in err
    assert sorted(path.parent.iterdir()) == before


def test_a_missing_parquet_reader_says_what_to_install(tmp_path, monkeypatch):
    import sys

    path = written(tmp_path / "d.parquet", b"PAR1" + bytes(20))
    for name in [name for name in sys.modules if name.split(".")[0] == "pyarrow"]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    with pytest.raises(BadData, match=r"pip install 'learning-mechanics\[parquet\]'"):
        user_data.read(path)


def test_an_unknown_column_says_the_nearest(tmp_path):
    path = written(tmp_path / "d.csv", "height,weight,price\n1,2,3.5\n2,1,4.5\n")
    with pytest.raises(UnknownName, match="unknown column 'prize'; did you mean 'price'"):
        user_data.read(path, target="prize")
    with pytest.raises(UnknownName, match="unknown column 'hieght'; did you mean 'height'"):
        user_data.read(path, target="price", inputs=["hieght"])


def test_too_few_samples_say_how_many_are_needed():
    with pytest.raises(BadData, match="6 samples but a curve needs 40"):
        user_data.require_samples(Dataset(X, Y), 40, "a curve")


def test_spreadsheet_marks_and_blank_lines_do_not_disturb(tmp_path):
    data = user_data.read(written(tmp_path / "d.csv", "\ufeff" + TEXT.replace("\n", "\r\n") + "\r\n"))
    assert np.array_equal(data.x, X)


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("log.csv", "step,loss,m[0],m[1]\n0,1,.1,.2\n5,.5,.3,.4\n"),
        ("log.json", '[{"step": 0, "loss": 1, "m": [0.1, 0.2]}, {"step": 5, "loss": 0.5, "m": [0.3, 0.4]}]'),
        ("log.jsonl", '{"step": 0, "loss": 1, "m": [0.1, 0.2]}\n{"step": 5, "loss": 0.5, "m": [0.3, 0.4]}\n'),
        ("columns.json", '{"step": [0, 5], "loss": [1, 0.5], "m": [[0.1, 0.2], [0.3, 0.4]]}'),
    ],
)
def test_logs_of_every_kind_read_the_same(tmp_path, name, content):
    log = read_log(written(tmp_path / name, content))
    assert log.observables == ("loss", "m")
    assert log.values("m", (0, 5)).tolist() == [[[[0.1, 0.2], [0.3, 0.4]]]]


def test_runs_are_told_apart_by_seed_and_axis(tmp_path):
    rows = [
        f"{step},{seed},{width},{step + 10 * seed + width}"
        for seed in (0, 1)
        for width in (100, 200)
        for step in (0, 5)
    ]
    log = read_log(written(tmp_path / "log.csv", "step,seed,width,loss\n" + "\n".join(rows)))
    values = log.values("loss", (0, 5), "width", (100.0, 200.0))
    assert values[..., 0].tolist() == [[[100, 105], [200, 205]], [[110, 115], [210, 215]]]


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        ("stp,loss\n0,1\n", "no column 'step' among stp, loss"),
        ("step,loss\n0,1\n5,nan\n", "nan at row 1, column 'loss'"),
        ("step,loss\n0,1\n5,high\n", "column 'loss' holds text"),
        ("step,loss\n0,1\n0,2\n", "step 0 occurs twice in one run"),
        ("step,seed,loss\n0,0,1\n5,0,1\n0,1,1\n", "no step 5 in run 1"),
    ],
)
def test_bad_logs_are_one_clear_line(tmp_path, content, expected):
    with pytest.raises(BadData) as caught:
        read_log(written(tmp_path / "log.csv", content)).values("loss", (0, 5))
    assert expected in str(caught.value) and "log.csv" in str(caught.value)


TOKENS = b'nan|inf|1e999||,|\n|"|\0|\xff|red|1_0|99999999999999999999999|;|y|\r|1,2,3\n|1e300'.split(b"|")


def damaged(content, rng):
    """The content with one to eight random edits: bytes changed, inserted, deleted, repeated, or cut off."""
    content = bytearray(content)
    for _ in range(rng.choice([1, 1, 1, 2, 3, 8])):
        start, end = sorted(rng.randrange(len(content) + 1) for _ in range(2))
        edit = rng.randrange(6)
        if edit == 0 and start < len(content):
            content[start] = rng.randrange(256)
        elif edit == 1:
            content[start:start] = rng.choice(TOKENS)
        elif edit == 2:
            del content[start : start + rng.choice([1, 2, 5, 20])]
        elif edit == 3:
            del content[start:]
        elif edit == 4:
            content[start:start] = content[start:end]
        else:
            content[start : start + 3] = rng.choice(TOKENS)
        content = content or bytearray(b"x")
    return bytes(content)


@pytest.mark.short
@pytest.mark.parametrize("kind", ["csv", "npz", "compressed", "npy", "parquet"])
def test_damaged_files_read_as_numbers_or_are_explained(tmp_path, kind):
    """600 random edits of a good file: finite arrays, or one line with a remedy; never another exception."""
    import zlib

    if kind == "parquet":
        parquet, arrow = pytest.importorskip("pyarrow.parquet"), pytest.importorskip("pyarrow")
        parquet.write_table(arrow.table({"a": X[:, 0], "b": X[:, 1], "y": Y}), tmp_path / "good.parquet")
    np.save(tmp_path / "y.npy", Y)
    np.save(tmp_path / "good.npy", X)
    np.savez(tmp_path / "good.npz", x=X, y=Y)
    np.savez_compressed(tmp_path / "good.compressed", x=X, y=np.array(list("abcabc")))
    written(tmp_path / "good.csv", TEXT)
    source = tmp_path / ("good.compressed.npz" if kind == "compressed" else f"good.{kind}")
    content, path = source.read_bytes(), tmp_path / f"damaged{source.suffix}"
    rng = random.Random(zlib.crc32(kind.encode()))
    refusals = 0
    for _ in range(600):
        path.write_bytes(damaged(content, rng))
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", user_data.DuplicateRows)
            try:
                data = user_data.read(path, target=tmp_path / "y.npy" if kind == "npy" else None)
            except LearningMechanicsError as error:
                assert "\n" not in str(error) and error.remedy
                refusals += 1
            else:
                assert data.x.size and np.isfinite(data.x).all() and np.isfinite(data.y).all()
    assert refusals > 60


def test_whole_numbers_beyond_64_bits_read_as_floating_point(tmp_path):
    data = user_data.read(written(tmp_path / "d.csv", TEXT.replace("5,7", "1" + 22 * "0" + ",7")))
    assert data.x[2, 0] == 1e22


def test_names_of_columns_mean_nothing_for_arrays(tmp_path):
    np.save(tmp_path / "x.npy", X)
    np.save(tmp_path / "y.npy", Y)
    with pytest.raises(BadData, match="columns of arrays have no names"):
        user_data.read(tmp_path / "x.npy", inputs=["a"])
    with pytest.raises(BadData, match="columns of arrays have no names"):
        user_data.read(saved(tmp_path / "d.npz", x=X, y=Y), inputs=["x", "y"])


def test_parquet_names_that_are_no_text_are_damage(tmp_path):
    parquet, arrow = pytest.importorskip("pyarrow.parquet"), pytest.importorskip("pyarrow")
    parquet.write_table(arrow.table({"\u00e9": X[:, 0], "y": Y}), tmp_path / "d.parquet")
    content = (tmp_path / "d.parquet").read_bytes().replace("\u00e9".encode(), b"\xc3(")
    with pytest.raises(BadData, match="damaged Parquet file"):
        user_data.read(written(tmp_path / "e.parquet", content))


def test_decimals_in_parquet_are_numbers(tmp_path):
    parquet, arrow = pytest.importorskip("pyarrow.parquet"), pytest.importorskip("pyarrow")
    from decimal import Decimal

    prices = [Decimal("1.25"), Decimal("2.50"), None, Decimal("0.75")]
    parquet.write_table(arrow.table({"a": [1.0, 2.0, 3.0, 5.0], "y": prices}), tmp_path / "d.parquet")
    with pytest.raises(BadData, match="nan at row 2, column 'y'"):
        user_data.read(tmp_path / "d.parquet")
    parquet.write_table(
        arrow.table({"a": [1.0, 2.0, 5.0], "y": [prices[0], prices[1], prices[3]]}), tmp_path / "e.parquet"
    )
    assert user_data.read(tmp_path / "e.parquet").y[:, 0].tolist() == [1.25, 2.5, 0.75]


def test_reading_good_data_is_silent(tmp_path):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        user_data.read(written(tmp_path / "d.csv", TEXT))
