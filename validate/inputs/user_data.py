"""The user's own arrays from a file: every way it can be unusable is one clear line that says where and what to do.

Formats: `.npz` (arrays x and y, or named), a pair of `.npy`, `.csv` and `.parquet` with named columns. Pickle is never
read. Labels (strings, booleans, integers) are one-hot and centred for the squared loss unless regression is asked for:

    y = onehot(label) - mean,  and `facts` says so.

>>> import tempfile, pathlib
>>> path = pathlib.Path(tempfile.mkdtemp()) / "runs.csv"
>>> _ = path.write_text("height,weight,price\\n1,2,3.5\\n2,1,4.5\\n0,1,1.5\\n")
>>> data = read(path, target="price")
>>> data.x.shape, data.facts["inputs"], data.facts["task"]
((3, 2), ['height', 'weight'], 'regression')
>>> read(path, target="prize")
Traceback (most recent call last):
...
learning_mechanics.theory.errors.UnknownName: runs.csv: unknown column 'prize'; did you mean 'price'?
"""

import difflib
import warnings
from collections.abc import Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from ...theory.dataset import Dataset
from ...theory.errors import BadData, UnknownName, shortened
from .tables import is_number, read_csv, read_parquet

LARGEST, SMALLEST = 1e75, 1e-75  # fourth moments are taken of inputs and targets
LABEL_LIMIT = 100  # integer targets with more distinct values than this are counts or measurements, not labels
PICKLES = (".pkl", ".pickle", ".joblib", ".pt", ".pth")


class DuplicateRows(UserWarning):
    """Some inputs occur more than once."""


def read(
    path: str | Path,
    target: str | Path | None = None,
    inputs: Sequence[str] | None = None,
    regression: bool | None = None,
) -> Dataset:
    """Read inputs x (P, d) and targets y (P, o) from a file.

    `target` names the array or column to predict (default: y, or a column called y or target); for `.npy` it is the
    path of the second file (default: the file beside it with y for x). `inputs` names the input columns (default: all
    others). `regression` keeps integer targets as numbers (True) or makes them labels (False); by default integers
    with at most 100 distinct values are labels. Raises `BadData` and `UnknownName`.
    """
    path = Path(path)
    _refuse(path)
    x, y, facts = READERS[path.suffix.lower()](path, target, inputs)
    x, y = _rows(x, "x", path), _rows(y, "y", path)
    if len(x) == 0:
        raise BadData("no samples", where=path.name, remedy="give at least two rows")
    x = _matrix(x, "x", path)
    if len(x) != len(y):
        raise BadData(
            f"x has {len(x)} rows and y has {len(y)}", where=path.name, remedy="give one row per sample in both"
        )
    _finite(x, facts.get("inputs"), "x", path)
    _varies(x, facts.get("inputs"), "x", path)
    y, coding = _targets(y, facts, regression, path)
    data = Dataset(x, y, path.stem, facts={**facts, **coding})
    count = duplicates(data)
    if count:
        text = f"{path.name}: {count} rows repeat an earlier input, so halves of the data share samples"
        warnings.warn(text, DuplicateRows, stacklevel=2)
    return data.noting(duplicates=count)


def arrays(path: str | Path) -> dict[str, np.ndarray]:
    """All arrays of an `.npz` by name: initial weights, say. Raises `BadData`."""
    path = Path(path)
    _refuse(path)
    if path.suffix.lower() != ".npz":
        raise BadData("several named arrays are needed", where=path.name, remedy="save them with numpy.savez")
    with _archive(path) as archive:
        return {name: _array(archive, name, path) for name in archive.files}


def duplicates(data: Dataset) -> int:
    """Number of rows whose input equals that of an earlier row.

    >>> duplicates(Dataset(np.array([[1.0], [2.0], [1.0]]), np.arange(3.0)))
    1
    """
    return len(data) - len(np.unique(data.x, axis=0))


def conflicts(data: Dataset) -> list[tuple[int, int]]:
    """Pairs (earlier row, row) with equal inputs but different targets.

    >>> conflicts(Dataset(np.array([[1.0], [2.0], [1.0]]), np.arange(3.0)))
    [(0, 2)]
    """
    _, first, inverse = np.unique(data.x, axis=0, return_index=True, return_inverse=True)
    earlier = first[inverse.ravel()]
    rows = np.flatnonzero((data.y != data.y[earlier]).any(1))
    return [(int(earlier[row]), int(row)) for row in rows]


def require_consistent(data: Dataset, ridge: float) -> None:
    """Refuse equal inputs with different targets at zero ridge: no function interpolates them. Raises `BadData`.

    >>> require_consistent(Dataset(np.array([[1.0], [1.0]]), np.array([0.0, 1.0])), ridge=0.1)
    """
    found = [] if ridge > 0 else conflicts(data)
    if found:
        raise BadData(
            f"rows {found[0][0]} and {found[0][1]} have equal inputs but different targets ({len(found)} such rows)",
            where=data.name,
            remedy="use a ridge above zero or drop one of each pair",
        )


def require_samples(data: Dataset, needed: int, purpose: str) -> None:
    """Refuse data with fewer samples than `purpose` needs. Raises `BadData`.

    >>> require_samples(Dataset(np.eye(3), np.arange(3.0)), 40, "a learning curve")
    Traceback (most recent call last):
    ...
    learning_mechanics.theory.errors.BadData: data: 3 samples but a learning curve needs 40; give more rows
    """
    if len(data) < needed:
        raise BadData(f"{len(data)} samples but {purpose} needs {needed}", where=data.name, remedy="give more rows")


def _refuse(path: Path) -> None:
    """Everything that can be said about a path before opening it with a reader."""
    suffix = path.suffix.lower()
    if suffix in PICKLES:
        raise BadData(
            f"{suffix} files can run code when opened", where=path.name, remedy="save the arrays with numpy.savez"
        )
    if not path.exists():
        near = difflib.get_close_matches(path.name, [other.name for other in path.parent.glob("*")], n=1)
        raise BadData(
            "no such file", where=str(path), remedy=f"did you mean {near[0]!r}?" if near else "check the path"
        )
    if path.is_dir():
        raise BadData("this is a directory", where=str(path), remedy="name one data file in it")
    if suffix not in READERS:
        raise UnknownName.among(suffix or path.name, READERS, kind="file kind", where=path.name)
    if path.stat().st_size == 0:
        raise BadData("the file is empty", where=path.name, remedy="write it again")
    with path.open("rb") as file:
        head = file.read(8)
    kind = next((kind for mark, kind in MARKS.items() if head.startswith(mark)), "text")
    if kind == "a pickle":
        raise BadData(
            "this is a pickle, which can run code when opened",
            where=path.name,
            remedy="save the arrays with numpy.savez",
        )
    expected = {".npz": "a zip archive", ".npy": "a NumPy array", ".parquet": "Parquet"}.get(suffix, "text")
    if kind != expected or (expected == "text" and b"\0" in head):
        raise BadData(
            f"the name says {suffix} but the content is {kind if kind != expected else 'binary'}",
            where=path.name,
            remedy="rename it to what it is",
        )


def _npz(path: Path, target, inputs) -> tuple[Any, Any, dict]:
    _one_array(inputs, path)
    with _archive(path) as archive:
        names = list(archive.files)
        x_name, y_name = (inputs[0] if inputs else "x"), target or "y"
        for name in (x_name, y_name):
            if name not in names:
                error = UnknownName.among(str(name), names, kind="array", where=path.name)
                if not (inputs or target) and "did you mean" not in str(error):
                    say = f"say which is which: --inputs NAME --target NAME, of {shortened(sorted(names))}"
                    error = UnknownName(f"unknown array {name!r}", where=path.name, remedy=say)
                raise error
        return _array(archive, x_name, path), _array(archive, y_name, path), {"target": str(y_name)}


@contextmanager
def _archive(path: Path):
    with path.open("rb") as file:  # opened here: NumPy leaves the file of a damaged archive open
        try:
            archive = np.load(file, allow_pickle=False)
        except Exception as error:  # NumPy and zipfile raise a dozen kinds; all mean the same here
            raise BadData(f"damaged archive ({error})", where=path.name, remedy="write it again") from None
        with archive:
            yield archive


def _array(archive, name: str, path: Path) -> np.ndarray:
    try:
        found = archive[name]
    except Exception as error:  # as above: a damaged header alone can raise five kinds
        if "pickle" in str(error).lower():
            raise BadData(
                f"array {name!r} holds Python objects, stored as a pickle",
                where=path.name,
                remedy="convert it to numbers or strings before saving",
            ) from None
        raise BadData(f"array {name!r} is damaged ({error})", where=path.name, remedy="write it again") from None
    if not isinstance(found, np.ndarray):  # a member of the archive that is no array comes as bytes
        raise BadData(f"{name!r} is no array", where=path.name, remedy="save arrays with numpy.savez")
    return found


def _one_array(inputs, path: Path, most: int = 1) -> None:
    if inputs and len(inputs) > most:
        raise BadData(
            f"input names {', '.join(inputs)}, but columns of arrays have no names",
            where=path.name,
            remedy="give one array of shape (samples, inputs)",
        )


def _npy(path: Path, target, inputs) -> tuple[Any, Any, dict]:
    _one_array(inputs, path, 0)
    other = Path(target) if target else path.with_name(path.name.replace("x", "y", 1))
    if not target and (other == path or not other.exists()):
        raise BadData(
            "a single .npy holds inputs only", where=path.name, remedy="name the target's file, say --target y.npy"
        )
    _refuse(other)
    loaded = []
    for file in (path, other):
        try:
            loaded.append(np.load(file, allow_pickle=False))
        except Exception as error:  # as above
            if "pickle" in str(error).lower():
                raise BadData(
                    "it holds Python objects, stored as a pickle", where=file.name, remedy="save numbers or strings"
                ) from None
            raise BadData(f"damaged array ({error})", where=file.name, remedy="write it again") from None
    return loaded[0], loaded[1], {"target": other.name}


def _csv(path: Path, target, inputs) -> tuple[Any, Any, dict]:
    return _from_columns(read_csv(path), target, inputs, path)


def _parquet(path: Path, target, inputs) -> tuple[Any, Any, dict]:
    return _from_columns(read_parquet(path), target, inputs, path)


def _from_columns(columns: dict[str, np.ndarray], target, inputs, path: Path) -> tuple[Any, Any, dict]:
    if target is None:
        target = next((name for name in ("y", "target", "label") if name in columns), None)
        if target is None:
            raise BadData(
                f"no column called y, target or label among {shortened(columns)}",
                where=path.name,
                remedy="name the one to predict, say --target " + list(columns)[-1],
            )
    chosen = list(inputs) if inputs else [name for name in columns if name != target]
    for name in (str(target), *chosen):
        if name not in columns:
            raise UnknownName.among(name, columns, kind="column", where=path.name)
    if not chosen:
        raise BadData("no input column is left beside the target", where=path.name, remedy="add one")
    for name in chosen:
        if columns[name].dtype.kind not in "iufb":
            row = next((i for i, value in enumerate(columns[name]) if not is_number(str(value))), 0)
            raise BadData(
                f"column {name!r} holds {str(columns[name][row])!r} at row {row}",
                where=path.name,
                remedy="encode it as numbers, or leave it out with --inputs",
            )
    x = np.column_stack([columns[name].astype(float) for name in chosen])
    return x, columns[str(target)], {"inputs": chosen, "target": str(target)}


def _rows(array: Any, label: str, path: Path) -> np.ndarray:
    """The array, if it has rows and its rows hold something."""
    array = np.asarray(array)
    if array.ndim < 1:
        raise BadData(f"{label} is a single number", where=path.name, remedy="give one row per sample")
    if len(array) and not array.size:
        raise BadData(f"{label} has no columns: shape {array.shape}", where=path.name, remedy="give at least one")
    return array


def _matrix(x: Any, label: str, path: Path) -> np.ndarray:
    x = np.asarray(x)
    if x.dtype.kind not in "iufb":
        raise BadData(f"{label} holds {x.dtype}, not real numbers", where=path.name, remedy="convert it to float")
    return x.reshape(len(x), -1).astype(float)  # images (P, h, w) become rows of pixels


def _varies(array: np.ndarray, columns: Sequence[str] | None, label: str, path: Path) -> None:
    """Refuse arrays that carry nothing, or whose fourth powers leave the range of double precision."""
    spread = np.ptp(array, axis=0) / 2
    if not spread.any():
        raise BadData(f"every column of {label} is constant", where=path.name, remedy="there is nothing to learn from")
    largest = np.abs(array).max(0)
    column = int(np.argmax(largest))
    if not SMALLEST < spread.max() or not largest[column] < LARGEST:
        place = f"column {columns[column]!r}" if columns else f"column {column} of {label}"
        raise BadData(
            f"entries of {place} reach {largest[column]:.3g}, whose fourth power is no number",
            where=path.name,
            remedy="choose other units",
        )


def _finite(array: np.ndarray, columns: Sequence[str] | None, label: str, path: Path) -> None:
    bad = np.argwhere(~np.isfinite(array))
    if len(bad):
        row, column = map(int, bad[0])
        place = f"column {columns[column]!r}" if columns else f"column {column} of {label}"
        raise BadData(
            f"{array[row, column]} at row {row}, {place}" + (f" (and {len(bad) - 1} more)" if len(bad) > 1 else ""),
            where=path.name,
            remedy="drop or fill those entries",
        )


def _targets(y: np.ndarray, facts: dict, regression: bool | None, path: Path) -> tuple[np.ndarray, dict]:
    """Numbers as they are, labels one-hot and centred."""
    name = [facts["target"]] if "inputs" in facts else None
    flat = y.reshape(-1) if y.size == len(y) else None
    if y.dtype.kind not in "iufbUS":
        raise BadData(f"y holds {y.dtype}", where=path.name, remedy="give numbers or strings")
    if y.dtype.kind in "US":
        if regression:
            raise BadData("the target holds strings", where=path.name, remedy="leave out --regression")
        if flat is None:
            raise BadData(f"string targets have shape {y.shape}", where=path.name, remedy="give one label per sample")
        empty = np.flatnonzero(flat == flat.dtype.type())
        if len(empty):
            raise BadData(f"no label at row {int(empty[0])}", where=path.name, remedy="drop or fill those entries")
    else:
        _finite(_matrix(y, "y", path), name, "y", path)
    if flat is not None and len(np.unique(flat)) == 1:
        raise BadData(f"the target is constant ({flat[0]})", where=path.name, remedy="there is nothing to learn")
    if flat is None and (_matrix(y, "y", path).std(0) == 0).all():
        raise BadData("every target column is constant", where=path.name, remedy="there is nothing to learn")
    whole = y.dtype.kind in "ib" and flat is not None and len(np.unique(flat)) <= LABEL_LIMIT
    labels = y.dtype.kind in "US" or (whole if regression is None else not regression)
    if not labels:
        _varies(_matrix(y, "y", path), name, "y", path)
        return _matrix(y, "y", path), {"task": "regression", "targets": "as given"}
    if flat is None:
        raise BadData(f"labels have shape {y.shape}", where=path.name, remedy="give one label per sample")
    classes = np.unique(flat)
    if len(classes) > len(flat) / 2:
        raise BadData(
            f"{len(classes)} classes in {len(flat)} samples", where=path.name, remedy="use --regression for numbers"
        )
    coded = (flat[:, None] == classes).astype(float)
    return coded - coded.mean(0), {
        "task": "classification",
        "targets": f"{len(classes)} classes one-hot, centred, squared loss",
        "classes": classes.tolist(),
    }


READERS = {".npz": _npz, ".npy": _npy, ".csv": _csv, ".parquet": _parquet}
MARKS = {
    b"PK": "a zip archive",
    b"\x93NUMPY": "a NumPy array",
    b"PAR1": "Parquet",
    b"\x80\x02": "a pickle",
    b"\x80\x03": "a pickle",
    b"\x80\x04": "a pickle",
    b"\x80\x05": "a pickle",
    b"\x89PNG": "a PNG image",
    b"\x1f\x8b": "gzip",
    b"\x89HDF": "HDF5",
}
