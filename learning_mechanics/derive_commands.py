"""Commands on a model's derivation: `derive` writes it out, `reduce` says how far it applies to the user's data."""

from argparse import Namespace
from pathlib import Path

from .console import as_json, keep, show, write_text
from .hyperparameters import model as named_model
from .theory.errors import UnknownName

ENDINGS = {".txt": "text", ".html": "html", ".tex": "latex", ".json": "json", ".py": "python"}


def derive(arguments: Namespace) -> int:
    """Everything a model derives, as text, page, LaTeX, JSON, or a Python module."""
    kind = _format(arguments)
    keep(arguments.output, arguments.force)
    from .theory.document.document import document

    content = document(named_model(arguments))
    if kind == "json" and not arguments.output:
        return as_json(content.to_dict())
    text = written(content, kind)
    if arguments.output:
        write_text(arguments.output, text)
        return as_json({"written": str(arguments.output)}) if arguments.json else 0
    return show(text.rstrip("\n"))


def written(content, kind: str) -> str:
    """A document in one of the formats.

    >>> from .theory.document.document import document
    >>> from .theory.model import find
    >>> written(document(find("edge-of-stability")()), "latex")[:14]
    '\\\\documentclass'
    """
    if kind == "html":
        from .validate.reporting.derivation_page import derivation_page

        return derivation_page(content)
    if kind == "latex":
        from .theory.document.latex_document import latex_document

        return latex_document(content)
    if kind == "python":
        from .theory.document.python_module import python_module

        return python_module(content)
    if kind == "json":
        import json

        from .validate.judging.verdict import plain

        return json.dumps(plain(content.to_dict()), indent=1, allow_nan=False) + "\n"
    return f"{content}\n"


def _format(arguments: Namespace) -> str:
    """The format asked for, else the one that the file's name says."""
    if arguments.format or arguments.output is None:
        return arguments.format or ("json" if arguments.json else "text")
    ending = Path(arguments.output).suffix.lower()
    if ending not in ENDINGS:
        raise UnknownName.among(ending, ENDINGS, kind="ending", where=str(arguments.output))
    return ENDINGS[ending]
