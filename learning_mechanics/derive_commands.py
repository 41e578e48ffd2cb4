"""Commands on a model's derivation: `derive` writes it out, `reduce` says how far it applies to the user's data."""

from argparse import Namespace
from pathlib import Path
from typing import Any

from .console import as_json, keep, show, write_text
from .hyperparameters import model as named_model
from .theory.errors import BadData, UnknownName

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


def reduce(arguments: Namespace) -> int:
    """Which reductions hold for the user's data and weights, by how far the others fail, and what system is left."""
    import numpy as np

    from .data_commands import read
    from .theory.derivation.reduction_report import reduce as examine
    from .theory.setup import Initialisation

    model = named_model(arguments)
    if arguments.width < 1 or not arguments.scale > 0:
        raise BadData(f"width {arguments.width}, scale {arguments.scale}", remedy="give numbers above 0")
    data = read(arguments).prepare(*filter(None, (arguments.prepare or "").split(",")))
    on: Any = data
    if arguments.start:
        from .validate.inputs.user_data import arrays

        weights = {name: np.asarray(array, float) for name, array in arrays(arguments.start).items()}
        for name in {"x", "y"} & set(weights):
            raise BadData(f"{name} is data", where=arguments.start.name, remedy="give initial weights W1, W2, ...")
        on = {"x": data.x, "y": data.y, **weights}
    start = Initialisation(arguments.initialisation, arguments.scale)
    found = examine(model, on, initialisation=start, width=arguments.width, seed=arguments.seed)
    return as_json(found.to_dict()) if arguments.json else show(found)


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
        return content.latex()
    if kind == "python":
        return content.python()
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
