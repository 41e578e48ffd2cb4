"""From what was typed to a model: hyperparameters are options, each read as the kind of its default."""

from argparse import Namespace
from dataclasses import fields
from typing import Any

from .theory.errors import BadData, UnknownName


def model(arguments: Namespace):
    """The model with the hyperparameters that were typed, each read as the kind of its default."""
    from .theory.model import find

    chosen = find(arguments.model)
    given = {}
    known = {field.name: field for field in fields(chosen)}
    for name, text in arguments.hyperparameters.items():
        if name not in known:
            options = (option.replace("_", "-") for option in known)
            raise UnknownName.among(name.replace("_", "-"), options, kind="hyperparameter", where=chosen.model_name())
        given[name] = parsed(text, known[name].default, name)
    return chosen(**given)


def parsed(text: str, default: Any, name: str) -> Any:
    """Text as the kind of value that `default` is; whole numbers may also be "inf"."""
    if isinstance(default, bool):
        if text.lower() not in ("true", "false"):
            raise BadData(f"{text!r} is neither true nor false", where=name, remedy="write true or false")
        return text.lower() == "true"
    if isinstance(default, str):
        return text
    if type(default).__name__ == "Kernel":
        from .theory.regression.kernels import parse

        return parse(text, depth=default.depth)
    if isinstance(default, tuple):
        kind = default[0] if default else 1.0
        return tuple(parsed(part, kind, name) for part in text.split(","))
    try:
        return int(text) if isinstance(default, int) and text not in ("inf", "infinity") else float(text)
    except ValueError:
        kind = "whole number" if isinstance(default, int) else "number"
        raise BadData(f"{text!r} is no {kind}", where=name, remedy=f"the default is {default}") from None
