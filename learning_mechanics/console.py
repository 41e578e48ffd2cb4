"""Talking to the terminal and to files: results on the standard output, everything else on the standard error."""

import json
import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from .theory.errors import BadData, WouldOverwrite


def as_json(content: Any) -> int:
    """Print strict JSON: numbers that are not finite become strings."""
    from .validate.judging.verdict import plain

    print(json.dumps(plain(content), indent=2, allow_nan=False))
    return 0


def show(card: Any) -> int:
    """Print a card."""
    print(card)
    return 0


def warn(text: str) -> None:
    """One line on the standard error; the command goes on."""
    print("warning: " + " ".join(text.split()), file=sys.stderr)


def keep(path: Path | None, force: bool) -> None:
    """Refuse to write over a file, before the work that would be lost is done. Raises `WouldOverwrite`."""
    if path is None:
        return
    if path.is_dir():
        raise WouldOverwrite(f"{path} is a directory", remedy="name a file in it")
    if path.exists() and not force:
        raise WouldOverwrite(f"{path} exists", remedy="choose another name or add --force")
    writable(path.parent)


def writable(folder: Path) -> None:
    """Refuse a folder that cannot be made or written into, before the work is done. Raises `BadData`."""
    nearest = folder.absolute()
    while not nearest.exists():
        nearest = nearest.parent
    if not nearest.is_dir():
        raise BadData("this is a file, not a folder", where=str(nearest), remedy="choose another place")
    if not os.access(nearest, os.W_OK | os.X_OK):
        raise BadData("no permission to write here", where=str(nearest), remedy="choose another place")


def write(path: Path, content: Any) -> None:
    """Write JSON so that an interruption leaves either the old file or the new one."""
    from .validate.judging.verdict import plain

    write_text(path, json.dumps(plain(content), allow_nan=False))


def write_text(path: Path, text: str) -> None:
    """Write text so that an interruption leaves either the old file or the new one."""
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(path.name + ".part")
    partial.write_text(text, encoding="utf-8")
    os.replace(partial, path)


@contextmanager
def bar(name: str) -> Iterator[Callable[[float], None] | None]:
    """A progress bar on the standard error while a claim runs; none if nobody looks at it."""
    if not sys.stderr.isatty():
        yield None
        return
    from rich.console import Console
    from rich.progress import Progress

    with Progress(console=Console(stderr=True), transient=True) as progress:
        task = progress.add_task(name, total=1.0)
        yield lambda fraction: progress.update(task, completed=fraction)
