"""Derivations kept as text between runs: value = build() the first time, then read from a small JSON file.

An entry is trusted only if its key, the versions of this package, SymPy and Python, and the fingerprint of the code
that made it are all unchanged; anything else (missing, stale, truncated, forged) is silently rebuilt and rewritten
atomically. Expressions are stored as `srepr` text and read back by a reader that can only call SymPy constructors:
nothing in the file is ever executed, and no pickle is involved.

    folder = $LEARNING_MECHANICS_CACHE, else $XDG_CACHE_HOME/learning-mechanics, else ~/.cache/learning-mechanics

>>> x = sp.Symbol("x", positive=True)
>>> read_expression(sp.srepr(sp.sqrt(x) + 1)) == sp.sqrt(x) + 1
True
"""

import hashlib
import json
import os
import platform
import tempfile
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any, TypeVar

import sympy as sp

from ..document.exact_text import read_expression as read_expression

Value = TypeVar("Value")


def folder() -> Path | None:
    """Where entries live; None when $LEARNING_MECHANICS_CACHE is "off"."""
    own = os.environ.get("LEARNING_MECHANICS_CACHE")
    if own == "off":
        return None
    if own:
        return Path(own)
    shared = os.environ.get("XDG_CACHE_HOME")
    return (Path(shared) if shared else Path.home() / ".cache") / "learning-mechanics"


def cached(
    key: str,
    build: Callable[[], Value],
    encode: Callable[[Value], Any],
    decode: Callable[[Any], Value],
    code: str = "",
) -> Value:
    """The value of `key` from its file, or from `build()`, which is then written: `decode(encode(value))` equals value.

    `encode` gives JSON-able plain data; `code` is the fingerprint of the code behind `build` (see `fingerprint`).
    Whatever goes wrong with the file only costs a rebuild; an exception from `build` passes through.

    >>> cached("doctest: six", lambda: 6, encode=str, decode=int)
    6
    """
    home = folder()
    if home is None:
        return build()
    head = {"key": key, "versions": _versions(), "code": code}
    path = home / (hashlib.sha256(key.encode()).hexdigest()[:32] + ".json")
    try:
        entry = json.loads(path.read_text(encoding="utf-8"))
        if {name: entry[name] for name in head} == head and entry["digest"] == _digest(entry["value"]):
            return decode(entry["value"])
    except Exception:  # an unreadable entry of any kind is a missing entry
        pass
    value = build()
    plain = encode(value)
    _write(path, json.dumps({**head, "digest": _digest(plain), "value": plain}, indent=1))
    return value


@cache
def fingerprint(*modules: str) -> str:
    """Digest of the source text of these modules of the theory layer, so that changed code makes its entries stale."""
    here = Path(__file__).parent
    texts = [(here / f"{name}.py").read_bytes() for name in modules]
    return hashlib.sha256(b"\0".join(texts)).hexdigest()[:16]


def _versions() -> dict[str, str]:
    from ... import __version__

    return {"learning_mechanics": __version__, "sympy": sp.__version__, "python": platform.python_version()}


def _digest(plain: Any) -> str:
    return hashlib.sha256(json.dumps(plain, sort_keys=True).encode()).hexdigest()


def _write(path: Path, text: str) -> None:
    """Write aside, then rename: a reader never meets half a file. A folder that cannot be written is no error."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, aside = tempfile.mkstemp(dir=path.parent, suffix=".tmp")
        with os.fdopen(handle, "w", encoding="utf-8") as file:
            file.write(text)
        os.replace(aside, path)
    except OSError:
        pass
