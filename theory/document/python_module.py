"""A document as a Python module that runs on its own: NumPy only, this package not needed.

It holds every derived system as functions of plain arrays (right-hand side, observables, conserved quantities, closed
form), the trail as text, and a self-check that verifies each step numerically when the file is run:

    python module.py   ->   PASS  3. gradient flow: 2.0e-13  ...  PASS: 20 of 20 checks

>>> from ..system import Flow
>>> x = sp.Symbol("x", positive=True)
>>> text = python_module(document(Flow((x,), (-x,)), "Decay"))
>>> namespace = {"__name__": "decay"}
>>> exec(text, namespace)
>>> namespace["EquationsOfMotion"].flow(0.0, {"x": 2.0}, {})
{'x': -2.0}
>>> namespace["EquationsOfMotion"].closed_form(1.0, {"x": 2.0}, {})["x"].round(4)
np.float64(0.7358)
"""

import re
import textwrap
from pathlib import Path
from typing import Any

import sympy as sp

from ..closed_forms.closed_form import ClosedForm
from ..errors import CannotCompile
from ..symbols import STEP, TIME
from ..system import FixedPoint, Flow, Map, System
from ..trail import Equations, Step
from .array_printer import helpers, identifier, source, undefined
from .document import Document, Section
from .document import document as document
from .step_checks import checks, runnable
from .values import declared

_SELF_CHECK = Path(__file__).with_name("self_check.py")


def python_module(content: Document) -> str:
    """The source of the module."""
    steps = "\n\n".join(filter(None, (_step(number, step) for number, step in enumerate(content.steps, 1))))
    names = [_class_name(section.title) for section in content.sections]
    sections = "\n\n".join(
        _section(name, number, section)
        for number, (name, section) in enumerate(zip(names, content.sections, strict=True), 1)
    )
    lines, skipped = checks(content, names)
    body = "\n\n".join([steps, sections])
    verification = (
        re.sub(r'^""".*?"""\n', "", _SELF_CHECK.read_text(encoding="utf-8"), flags=re.DOTALL)
        .split("import numpy\n", 1)[1]
        .strip()
    )
    parts = [
        _docstring(content),
        "import sys\n\nimport numpy\n",
        _title("special functions") + helpers(body) if helpers(body) else "",
        _title("steps: the mathematics of each, as functions of all values by name") + steps,
        _title("results") + sections,
        _title("values to try them on: random, of every shape the equations need") + declared(content),
        _title("verification of each step") + verification,
        _title("self-check") + _main(lines, skipped),
    ]
    text = "\n\n\n".join(part.strip("\n") for part in parts if part) + "\n"
    return re.sub(r"\n{3,}(?=    )", "\n\n", re.sub(r"\n{4,}", "\n\n\n", text))


def _docstring(content: Document) -> str:
    settings = ", ".join(f"{name} = {value}" for name, value in content.hyperparameters.items())
    lines = [content.title + (f" ({settings})" if settings else ""), ""]
    lines += [
        "Needs NumPy only. Run as a program it verifies every step it can and exits with 0 if all pass.",
        "With `module.numpy = jax.numpy` its functions can be differentiated and compiled by JAX.",
        "",
        "Steps",
    ]
    for number, step in enumerate(content.steps, 1):
        lines += textwrap.wrap(f"{number}. {step}", 116, initial_indent="  ", subsequent_indent="     ")
    if content.references:
        lines += ["", "References"]
        for entry in content.references:
            lines += textwrap.wrap(entry["text"], 116, initial_indent="  ", subsequent_indent="     ")
    text = "\n".join(lines).replace("\\", "\\\\").replace('"""', "'''")
    return f'"""{text}\n"""\n'


def _title(text: str) -> str:
    return f"# --- {text} " + "-" * max(3, 112 - len(text)) + "\n\n\n"


def _step(number: int, step: Step) -> str:
    """Functions `step_N(values)` and, where something was put in, `given_N(values)`."""
    found = []
    if step.given is not None and not _untouched(step.given):
        found.append(_function(f"given_{number}", f"What step {number} puts in.", step.given))
    if isinstance(step.result, Equations | sp.Basic):
        try:
            found.append(_function(f"step_{number}", f"{number}. {step.rule}", step.result))
        except CannotCompile:
            pass
    return "\n\n".join(found)


def _untouched(given: Equations) -> bool:
    return any(right.has(sp.oo, TIME) or undefined(right) for _, right in given.rows)


def _function(name: str, doc: str, result: Any) -> str:
    right = [e for _, e in result.rows] if isinstance(result, Equations) else [result]
    if isinstance(result, Equations) and any(undefined(left) for left, _ in result.rows):
        body = ", ".join(map(source, right))
    elif isinstance(result, Equations):
        body = _mapping({identifier(left): e for left, e in result.rows})
    else:
        body = source(result)
    lines = [f"def {name}(values):", f'    """{doc}"""', *_unpacked(right, "values"), f"    return {body}"]
    return "\n".join(lines) + "\n"


def _mapping(results: dict[str, Any]) -> str:
    """A dictionary of expressions; several stand on lines of their own."""
    entries = [f'"{name}": {source(expression)}' for name, expression in results.items()]
    if len(entries) == 1:
        return f"{{{entries[0]}}}"
    return "{\n" + "".join(f"        {entry},\n" for entry in entries) + "    }"


def _unpacked(expressions: list, *mappings: str) -> list[str]:
    """Lines that bind every symbol, and the sizes of matrices, to local names."""
    lines, symbols = [], symbols_of(expressions)
    for symbol in symbols:
        if isinstance(symbol, sp.MatrixSymbol) or symbol not in sizes_of(expressions):
            lines.append(f"    {identifier(symbol)} = {_lookup(symbol, mappings)}")
    text = " ".join(source(expression) for expression in expressions)
    for size, (matrix, axis) in sizes_of(expressions).items():
        if re.search(rf"\b{re.escape(identifier(size))}\b", text):
            lines.append(f"    {identifier(size)} = {identifier(matrix)}.shape[{axis}]")
    return lines


def _lookup(symbol: Any, mappings: tuple[str, ...]) -> str:
    if len(mappings) == 1:
        return f'{mappings[0]}["{identifier(symbol)}"]'
    return f'{{**{", **".join(mappings)}}}["{identifier(symbol)}"]'


def symbols_of(expressions: list) -> list[Any]:
    """Symbols and matrices of expressions, in order of name; a column of a diagonal matrix is its modes."""
    found: set = set()
    for expression in map(sp.sympify, expressions):
        found |= {s for s in expression.free_symbols if isinstance(s, sp.Symbol)} | expression.atoms(sp.MatrixSymbol)
    found -= {size for size in sizes_of(expressions)}
    return sorted(found, key=str)


def sizes_of(expressions: list) -> dict[Any, tuple[Any, int]]:
    """Symbolic sizes of matrices, each with a (matrix, axis) it can be read from."""
    found: dict = {}
    for expression in map(sp.sympify, expressions):
        for matrix in sorted(expression.atoms(sp.MatrixSymbol), key=str):
            for axis, size in enumerate(matrix.shape):
                if isinstance(size, sp.Symbol):
                    found.setdefault(size, (matrix, axis))
    return found


def _class_name(title: str) -> str:
    name = "".join(word[:1].upper() + word[1:] for word in re.findall(r"\w+", title))
    return name if name[:1].isalpha() else "Section" + name


def _section(name: str, number: int, section: Section) -> str:
    system = section.system
    verb = {Flow: "flow", Map: "step", FixedPoint: "residual"}[type(system)]
    said = {"flow": "Time derivatives", "step": "Next values", "residual": "What vanishes at the solution"}[verb]
    parts = [
        f"class {name}:",
        f'    """{number}. {section.title}"""\n',
        f"    unknowns = {_names(system.unknowns)}",
        f"    parameters = {_names(system.parameters)}\n",
        _method(
            verb,
            f"{said}: {_shown(system)}",
            dict(zip(map(identifier, system.unknowns), system.equations, strict=True)),
        ),
    ]
    if system.observables:
        parts.append(_method("observables", "What can be measured.", dict(system.observables)))
    if section.conserved:
        kept = {f"invariant_{n}": quantity for n, quantity in enumerate(section.conserved, 1)}
        parts.append(_method("conserved", "What the flow keeps constant.", kept))
    if section.solution and runnable(section.solution.expression):
        parts.append(_closed_form(section.solution))
    return "\n".join(parts) + "\n"


def _names(symbols: tuple) -> str:
    return "(" + ", ".join(f'"{identifier(symbol)}"' for symbol in symbols) + ("," if len(symbols) == 1 else "") + ")"


def _shown(system: System) -> str:
    text = str(system.statement())
    return text if len(text) < 90 else "the equations of this section"


def _method(name: str, doc: str, results: dict[str, Any]) -> str:
    arguments = "t, state, parameters" if name == "flow" else "state, parameters"
    lines = ["@staticmethod", f"def {name}({arguments}):", f'    """{doc}"""']
    lines += ["    values = {**state, **parameters}", *_unpacked(list(results.values()), "values")]
    if name == "flow" and any(sp.sympify(e).has(TIME) for e in results.values()):
        lines = [line for line in lines if not line.startswith("    t = ")]
    lines.append(f"    return {_mapping(results)}\n")
    return textwrap.indent("\n".join(lines), "    ")


def _closed_form(form: ClosedForm) -> str:
    unknown = identifier(form.unknown)
    initial = {form.initial: sp.Symbol(f"start_{unknown}")}
    expression = sp.sympify(form.expression).xreplace(initial)
    running = STEP if isinstance(form.system, Map) else TIME
    if form.kind == "root":
        head, doc, bound = "root(parameters)", f"The solution: {unknown} = {form.expression}", []
        result = f'{{"{unknown}": {source(expression)}}}'
    elif form.kind == "implicit":
        head, doc = "time(state, start, parameters)", f"The time from the start to the state: {form.expression}"
        bound = [f'start_{unknown}, {unknown} = start["{unknown}"], state["{unknown}"]']
        result = source(expression)
    else:
        head, doc = (
            f"closed_form({running}, start, parameters)",
            f"The state at {running}: {unknown} = {form.expression}",
        )
        bound, result = [f'start_{unknown} = start["{unknown}"]'], f'{{"{unknown}": {source(expression)}}}'
    known = {running, form.unknown, *initial.values()}
    bound += [f'{identifier(s)} = parameters["{identifier(s)}"]' for s in symbols_of([expression]) if s not in known]
    lines = [
        "@staticmethod",
        f"def {head}:",
        f'    """{doc}"""',
        *(f"    {line}" for line in bound),
        f"    return {result}\n",
    ]
    return textwrap.indent("\n".join(lines), "    ")


def _main(lines: list[str], skipped: list[str]) -> str:
    note = [f"# not verified here: {text}" for text in skipped]
    body = textwrap.indent("\n".join([*note, *(lines or ["return", "yield"])]), "    ")
    return (
        f'def checks():\n    """Name and gap of every verification."""\n    values = example()\n{body}\n\n\n'
        'if __name__ == "__main__":\n    sys.exit(verify(checks()))'
    )
