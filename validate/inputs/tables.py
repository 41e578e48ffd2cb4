"""Tables with named columns: `.csv` with a header line and `.parquet`, as a mapping from column name to array.

>>> import tempfile, pathlib
>>> path = pathlib.Path(tempfile.mkdtemp()) / "table.csv"
>>> _ = path.write_text("step,loss,note\\n0,1.5,a\\n10,,b\\n")
>>> {name: column.tolist() for name, column in read_csv(path).items()}
{'step': [0, 10], 'loss': [1.5, nan], 'note': ['a', 'b']}
"""

import csv
from decimal import Decimal
from pathlib import Path

import numpy as np

from ...theory.errors import BadData


def read_csv(path: Path) -> dict[str, np.ndarray]:
    """Columns of a `.csv` by name: numbers where every entry is one, strings otherwise. Raises `BadData`."""
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:
            rows = [row for row in csv.reader(file) if row]
    except (UnicodeDecodeError, csv.Error) as error:
        raise BadData(f"not readable as text ({error})", where=path.name, remedy="save it as UTF-8") from None
    header = [name.strip() for name in rows[0]] if rows else []
    if not header or all(is_number(name) for name in header):
        raise BadData(
            "the first line holds no column names", where=path.name, remedy="add a header line, say x1,x2,target"
        )
    if "" in header:
        raise BadData(
            f"column {header.index('') + 1} has no name (a row number that was saved along?)",
            where=path.name,
            remedy="name it, or leave it out when saving",
        )
    repeated = sorted({name for name in header if header.count(name) > 1})
    if repeated:
        raise BadData(f"column {repeated[0]!r} occurs twice", where=path.name, remedy="give each column its own name")
    for line, row in enumerate(rows[1:], 2):
        if len(row) != len(header):
            raise BadData(
                f"line {line} has {len(row)} entries, the header {len(header)}",
                where=path.name,
                remedy="separate by commas and quote entries that hold one",
            )
    return {name: _column([row[i].strip() for row in rows[1:]]) for i, name in enumerate(header)}


def read_parquet(path: Path) -> dict[str, np.ndarray]:
    """Columns of a `.parquet` by name; missing entries are NaN, or empty strings. Needs pyarrow. Raises `BadData`."""
    try:
        import pyarrow.parquet as parquet
    except ImportError:
        raise BadData(
            "reading .parquet needs pyarrow, which is not installed",
            where=path.name,
            remedy="pip install 'learning-mechanics[parquet]' or save as .csv",
        ) from None
    try:
        content = parquet.read_table(path)
        listed = [
            (name, column.to_pylist()) for name, column in zip(content.column_names, content.columns, strict=True)
        ]
    except Exception as error:  # pyarrow raises its own family; all mean the same here
        raise BadData(
            f"damaged Parquet file ({str(error).splitlines()[0]})", where=path.name, remedy="write it again"
        ) from None
    columns: dict[str, np.ndarray] = {}
    for name, values in listed:
        if name in columns:
            raise BadData(f"column {name!r} occurs twice", where=path.name, remedy="give each column its own name")
        if any(isinstance(value, (list, dict, bytes)) for value in values):
            raise BadData(f"column {name!r} holds nested values", where=path.name, remedy="give one number per entry")
        missing = "" if any(isinstance(value, str) for value in values) else np.nan
        filled = [
            missing if value is None else float(value) if isinstance(value, Decimal) else value for value in values
        ]
        columns[name] = np.array(filled)
    return columns


def is_number(entry: str) -> bool:
    """Whether an entry reads as a number (NaN and infinity do).

    >>> is_number("1e-3"), is_number("x1")
    (True, False)
    """
    try:
        float(entry)
    except ValueError:
        return False
    return True


def _column(entries: list[str]) -> np.ndarray:
    """Integers if all are, else numbers, else strings; an empty entry among numbers is NaN."""
    filled = [entry or "nan" for entry in entries]
    for kind in (int, float):
        try:
            found = np.array([kind(entry) for entry in (entries if kind is int else filled)])
        except (ValueError, OverflowError):
            continue
        if found.dtype.kind in "if":  # whole numbers beyond 64 bits become objects: read them as floating point
            return found
    return np.array(entries)
