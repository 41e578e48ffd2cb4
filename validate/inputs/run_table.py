"""Finished training runs from a file: model size, data size and loss, under whatever names their columns have.

Columns are found by name, in this order; compute stands in for tokens or for parameters:

    D = C / (6 N),     N = C / (6 D).

>>> import tempfile, pathlib
>>> path = pathlib.Path(tempfile.mkdtemp()) / "runs.csv"
>>> _ = path.write_text("Model Size,Training FLOP,loss\\n1e7,6e16,4.1\\n1e8,6e18,3.2\\n")
>>> table, columns = read_runs(path)
>>> table.tokens.tolist(), columns
([1000000000.0, 10000000000.0], {'parameters': 'Model Size', 'compute': 'Training FLOP', 'loss': 'loss'})
"""

import difflib
import re
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from ...solvers.loss_surface.runs import Runs, runs
from ...theory.errors import BadData, UnknownName, shortened
from .tables import is_number, read_csv, read_parquet

READERS = {".csv": read_csv, ".parquet": read_parquet}
# spelled without spaces, signs and case; the first that a table has is taken
KNOWN = {
    "parameters": (
        "n", "params", "parameters", "numparams", "numparameters", "nparams", "nparameters", "modelparams",
        "modelparameters", "modelsize", "modelsizeparams", "totalparams", "nonembeddingparams",
        "nonembeddingparameters", "paramcount", "parametercount", "size",
    ),
    "tokens": (
        "d", "tokens", "numtokens", "ntokens", "trainingtokens", "traintokens", "tokensseen", "datasize",
        "datasetsize", "totaltokens", "trainedtokens", "tokencount", "data",
    ),
    "compute": (
        "c", "flops", "flop", "compute", "trainingflops", "trainingflop", "trainflops", "totalflops",
        "trainingcompute", "computeflops", "computeflop", "budget",
    ),
    "loss": (
        "loss", "l", "finalloss", "valloss", "validationloss", "evalloss", "testloss", "trainloss", "trainingloss",
        "crossentropy", "nll", "finalvalloss", "ce", "celoss",
    ),
}  # fmt: skip


def read_runs(
    path: str | Path, named: Mapping[str, str | None] | None = None, group: str | None = None
) -> tuple[Runs, dict[str, str]]:
    """The runs in a .csv or .parquet file, and which column each quantity was read from.

    `named` gives columns by quantity ("parameters", "tokens", "compute", "loss") where guesses would be wrong; `group`
    is a column that says which rows belong to one training run. Raises `BadData` and `UnknownName`.
    """
    path = Path(path)
    columns = _columns(path)
    chosen: dict[str, str] = {}
    for quantity, name in (named or {}).items():
        if name is not None:
            if name not in columns:
                raise UnknownName.among(name, columns, kind="column", where=path.name)
            if name in chosen.values():
                first = next(other for other in chosen if chosen[other] == name)
                raise BadData(
                    f"column {name!r} is named for {first} and for {quantity}",
                    where=path.name,
                    remedy="name another one for either",
                )
            chosen[quantity] = name
    for quantity in ("parameters", "tokens", "compute", "loss"):
        if quantity not in chosen:
            found = guess(quantity, [name for name in columns if name not in chosen.values()])
            if found is not None and not (quantity == "compute" and {"parameters", "tokens"} <= chosen.keys()):
                chosen[quantity] = found
    if "loss" not in chosen:
        raise _missing("loss", columns, chosen, path)
    if len({"parameters", "tokens", "compute"} & chosen.keys()) < 2:
        lacking = next(quantity for quantity in ("parameters", "tokens") if quantity not in chosen)
        raise _missing(lacking, columns, chosen, path)
    values = {quantity: _numbers(columns[name], name, path) for quantity, name in chosen.items()}
    if not {"parameters", "tokens"} <= values.keys():
        lacking, other = ("tokens", "parameters") if "tokens" not in values else ("parameters", "tokens")
        for quantity in ("compute", other):
            low = np.flatnonzero(~(values[quantity] > 0))
            if len(low):
                raise BadData(
                    f"column {chosen[quantity]!r} holds {values[quantity][low[0]]:g} at row {low[0]}",
                    where=path.name,
                    remedy="drop that run",
                )
        values[lacking] = values["compute"] / (6 * values[other])
    members = None
    if group is not None:
        if group not in columns:
            raise UnknownName.among(group, columns, kind="column", where=path.name)
        members = columns[group].astype(str)
        chosen["group"] = group
    table = runs(values["parameters"], values["tokens"], values["loss"], members, where=path.name)
    return table, chosen


def guess(quantity: str, names: list[str]) -> str | None:
    """The column that most likely holds a quantity, or None.

    >>> guess("parameters", ["loss", "Model Size"]), guess("tokens", ["loss"])
    ('Model Size', None)
    """
    plain = {re.sub(r"[^a-z0-9]", "", re.sub(r"\(.*?\)|\[.*?\]", "", name.lower())): name for name in reversed(names)}
    return next((plain[known] for known in KNOWN[quantity] if known in plain), None)


def _columns(path: Path) -> dict[str, np.ndarray]:
    suffix = path.suffix.lower()
    if not path.exists():
        near = difflib.get_close_matches(path.name, [other.name for other in path.parent.glob("*")], n=1)
        remedy = f"did you mean {near[0]!r}?" if near else "check the path"
        raise BadData("no such file", where=str(path), remedy=remedy)
    if path.is_dir():
        raise BadData("this is a directory", where=str(path), remedy="name one table of runs in it")
    if suffix not in READERS:
        raise BadData(
            f"{suffix or 'a name without an ending'} is no table of runs", where=path.name, remedy="save it as .csv"
        )
    if path.stat().st_size == 0:
        raise BadData("the file is empty", where=path.name, remedy="write it again")
    columns = READERS[suffix](path)
    if not columns or not len(next(iter(columns.values()))):
        raise BadData("no runs", where=path.name, remedy="give one row for every finished run")
    return columns


def _numbers(column: np.ndarray, name: str, path: Path) -> np.ndarray:
    if column.dtype.kind in "iufb":
        return column.astype(float)
    row = next((i for i, value in enumerate(column) if not is_number(str(value))), 0)
    raise BadData(
        f"column {name!r} holds {str(column[row])!r} at row {row}", where=path.name, remedy="write plain numbers"
    )


def _missing(quantity: str, columns: Mapping[str, np.ndarray], chosen: Mapping[str, str], path: Path) -> BadData:
    among = f"no column of {quantity} is known among {shortened(columns)}"
    left = [name for name in columns if name not in chosen.values()]
    other = "" if quantity == "loss" else ", or of compute"
    remedy = f"name it, say --{quantity} {left[0]!r}" if left else f"add a column of it{other}"
    return BadData(among, where=path.name, remedy=remedy)
