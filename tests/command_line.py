"""What a typed command prints: one line if it is refused, one JSON value if it is answered."""

import json

from learning_mechanics.cli import main


def refused(capsys, *arguments):
    """The one line a refused command prints."""
    assert main([str(argument) for argument in arguments]) == 2
    out, err = capsys.readouterr()
    assert out == "" and err.count("\n") == 1 and err.startswith("learning-mechanics: "), (out, err)
    return err


def answer(capsys, *arguments, status=0):
    """What a command prints, parsed: the whole standard output is one JSON value."""
    assert main([*map(str, arguments), "--json"]) == status
    return json.loads(capsys.readouterr().out)
