"""Commands on the user's data: `diagnose` and `predict`."""

import warnings
from argparse import Namespace
from typing import Any

from .console import as_json, keep, show, warn, write


def read(arguments: Namespace):
    """The user's file, or built-in data by name (labels one-hot and centred); warnings become lines."""
    from .validate import data, user_data

    name = str(arguments.file)
    if name in data.names() and not arguments.file.exists():
        labelled = name == "digits" and not arguments.regression
        built_in = data.load(name)
        if labelled:
            built_in = built_in.prepare("one_hot", "centre_targets").noting(targets="10 classes one-hot, centred")
        return built_in
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always", user_data.DuplicateRows)
        found = user_data.read(arguments.file, arguments.target, arguments.inputs, arguments.regression)
    for entry in caught:
        warn(str(entry.message))
    return found


def diagnose(arguments: Namespace) -> int:
    """The diagnosis card of the user's data."""
    from .validate.diagnose import diagnose as examine

    card = examine(read(arguments))
    return as_json(card.to_dict()) if arguments.json else show(card)


def predict(arguments: Namespace) -> int:
    """Learning curve and exponent of a kernel on the user's data."""
    raise NotImplementedError


__all__ = ["Any", "diagnose", "keep", "predict", "read", "write"]
