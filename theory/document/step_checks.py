"""Which verification each step of a document admits: read off its kind, its parents and what it puts in.

    scalar -> flow             the gradient of the scalar          flow -> map     one Euler step
    old = f(new) put in        tangency                            map -> flow     the order of the modified flow
    new = g(old) put in        projection                          -> closed form  integration, iteration or a residual

A step whose truth is no matter of numbers (a closure, words) is listed as not verified.
"""

from typing import Any

import sympy as sp

from ..derivation.derive import COPIES
from ..errors import CannotCompile
from ..system import FixedPoint, Flow
from ..trail import Equations, Step
from .array_printer import identifier, source, undefined
from .document import Document, Section

_DYNAMIC = ("flow", "map")


def checks(content: Document, names: list[str]) -> tuple[list[str], list[str]]:
    """Source lines that yield (name, gap) of every verification, and the steps that have none."""
    lines, skipped = [], []
    for number, step in enumerate(content.steps, 1):
        if step.rule.startswith("solve ("):
            continue  # verified with its section
        call = _call(number, step, content.steps)
        title = f"{number}. {step.rule}".replace('"', "'")
        if call:
            lines.append(f'yield "{title}", {call}')
        else:
            skipped.append(title)
    for name, section in zip(names, content.sections, strict=True):
        lines += _section(name, section, content.steps)
    return lines, skipped


def dynamic(step: Step) -> bool:
    """Whether a step's result is a flow, a map or a fixed point that can be evaluated."""
    if not isinstance(step.result, Equations) or step.result.kind not in (*_DYNAMIC, "fixed point"):
        return False
    return runnable(step.result)


def runnable(result: Any) -> bool:
    """Whether mathematics can be written as NumPy source."""
    rows = result.rows if isinstance(result, Equations) else ((None, result),)
    try:
        return not any(undefined(left) for left, _ in rows if left is not None) and all(source(e) for _, e in rows)
    except CannotCompile:
        return False


def _call(number: int, step: Step, steps: tuple[Step, ...]) -> str:
    special = _statement(number, step, steps) or _stability(number, step, steps)
    if special or not dynamic(step):
        return special
    parent = _before(step, steps)
    if parent is None:
        return ""
    before, kind = steps[parent - 1], step.result.kind
    if isinstance(before.result, sp.Basic):
        return _from_scalar(number, step, parent)
    old, new = before.result.kind, {identifier(left) for left, _ in step.result.rows}
    unknowns = {identifier(left) for left, _ in before.result.rows}
    given = {identifier(left): right for left, right in step.given.rows} if step.given else {}
    if old == "flow" and kind == "map" and new == unknowns and set(given) == {"step_size"}:
        return f"euler_gap(step_{parent}, step_{number}, values, {_value(given['step_size'])})"
    if old == "map" and kind == "flow" and new == unknowns and set(given) == {"order"}:
        return f"order_gap(step_{parent}, step_{number}, values, {given['order']})"
    if not given or old != kind:
        return ""
    if "clock" in given:
        return _limit(number, given, parent)
    if step.rule.startswith("chain rule"):
        return f"pullback_gap(step_{parent}, step_{number}, given_{number}, values)"
    if step.rule.startswith("linearise"):
        return f"linear_gap(step_{parent}, step_{number}, given_{number}, values)"
    if new <= set(given) and not set(given) & unknowns:
        defined = _defined(step, steps, before)
        onto = (
            f"lambda v: {{{''.join(f'**step_{n}(v), ' for n in defined)}**given_{number}(v)}}"
            if defined
            else f"given_{number}"
        )
        return f'projection_gap(step_{parent}, step_{number}, {onto}, values, "{kind}")'
    return f'tangency_gap(step_{parent}, step_{number}, given_{number}, values, "{kind}")'


def _defined(step: Step, steps: tuple[Step, ...], before: Step) -> list[int]:
    """Earlier steps that name a quantity of the variables before, such as a conserved one, which this step uses."""
    old = {left for left, _ in before.result.rows}
    used = set().union(*(sp.sympify(right).free_symbols for _, right in step.result.rows))
    ancestors: set[int] = set()
    waiting = list(step.parents)
    while waiting:
        parent = waiting.pop()
        ancestors.add(parent)
        waiting += [n for n in steps[parent - 1].parents if n not in ancestors]
    named = [
        n for n in sorted(ancestors) if isinstance(steps[n - 1].result, Equations) and not steps[n - 1].result.kind
    ]
    return [
        n
        for n in named
        if runnable(steps[n - 1].result)
        and any(left in used and old & sp.sympify(right).free_symbols for left, right in steps[n - 1].result.rows)
    ]


def _statement(number: int, step: Step, steps: tuple[Step, ...]) -> str:
    """A quantity that the flow before keeps constant, or the flow's solution in a time of its own."""
    if not isinstance(step.result, Equations) or step.result.kind or not runnable(step.result):
        return ""
    kinds = ("conserved quantity", "solution in the time")
    parent = _before(step, steps) if step.rule.startswith(kinds) else None
    if parent is None or not isinstance(steps[parent - 1].result, Equations):
        return ""
    if step.rule.startswith("conserved quantity"):
        ((quantity, _),) = step.result.rows
        return f'conserved_gap(lambda v: step_{number}(v)["{identifier(quantity)}"], step_{parent}, values)'
    moved = {left for left, _ in steps[parent - 1].result.rows}
    free = set().union(*(right.free_symbols for _, right in step.result.rows)) - moved
    (clock,) = (symbol for symbol in free if step.rule.split(":")[0].endswith(f" {symbol}"))
    return f'solution_gap(step_{parent}, step_{number}, given_{number}, values, "{identifier(clock)}")'


def _from_scalar(number: int, step: Step, parent: int) -> str:
    if step.result.kind == "flow" and step.rule.startswith("gradient flow"):
        given = dict(step.given.rows) if step.given else {}
        if set(given) == {unknown for unknown, _ in step.result.rows}:  # a learning rate for each
            return f"gradient_gap(step_{parent}, step_{number}, values, given_{number}(values))"
        copies = given.get(COPIES, 1)
        own = f", copies={_value(copies)}" if copies != 1 else ""
        return f"gradient_gap(step_{parent}, step_{number}, values{own})"
    if step.result.kind == "map" and step.rule == "any number of modes" and step.given:
        return (
            f'modes_gap(step_{parent}, step_{number}, given_{number}, values, "{identifier(step.result.rows[0][0])}")'
        )
    if step.result.kind == "fixed point" and step.rule.startswith("stationarity"):
        ((unknown, _),) = step.result.rows
        return f'stationary_gap(step_{parent}, step_{number}, values, "{identifier(unknown)}")'
    return ""


def _stability(number: int, step: Step, steps: tuple[Step, ...]) -> str:
    """A linear map's polynomial, and the parameter at which its roots reach the unit circle or stop being positive."""
    if step.rule.startswith("linearise") and step.given and step.result.kind == "":
        return f"rate_gap(step_{_before(step, steps)}, step_{number}, given_{number}, values)"
    kinds = {
        "characteristic polynomial": "polynomial",
        "first crossing": "crossing",
        "oscillation starts": "oscillation",
    }
    kind = kinds.get(step.rule.split(":")[0])
    parent = _before(step, steps) if kind else None
    if parent is None or not isinstance(steps[parent - 1].result, Equations):
        return ""
    second = f"step_{number}" if kind == "polynomial" else f"given_{number}"
    return f"{kind}_gap(step_{parent}, {second}, values)"


def _limit(number: int, given: dict[str, Any], parent: int) -> str:
    clock = sp.sympify(given["clock"])
    ((name, point),) = ((name, value) for name, value in given.items() if name != "clock")
    (variable,) = [s for s in clock.free_symbols if identifier(s) == name] or [sp.Symbol(name)]
    extreme = 1e8 if point == sp.oo else float(point) + 1e-8
    scale = float(clock.subs(variable, extreme)) if clock.free_symbols <= {variable} else 0.0
    if not scale:
        return ""
    return f'limit_gap(step_{parent}, step_{number}, values, "{name}", {extreme:.1e}, {scale:.1e})'


def _before(step: Step, steps: tuple[Step, ...]) -> int | None:
    """The nearest earlier step with mathematics that moves, or a scalar to differentiate."""
    for parent in reversed(step.parents):
        earlier = steps[parent - 1]
        scalar = isinstance(earlier.result, sp.Basic) and not getattr(earlier.result, "is_Matrix", False)
        if dynamic(earlier) or (scalar and runnable(earlier.result)):
            return parent
        found = _before(earlier, steps)
        if found:
            return found
    return None


def _value(expression: Any) -> str:
    """Source in which every symbol is looked up."""
    expression = sp.sympify(expression)
    looked_up = {s: sp.Symbol(f'values["{identifier(s)}"]') for s in expression.free_symbols}
    return sp.pycode(expression.xreplace(looked_up))


def _section(name: str, section: Section, steps: tuple[Step, ...]) -> list[str]:
    system, form = section.system, section.solution
    verb = {Flow: "flow", FixedPoint: "residual"}.get(type(system), "step")
    clock = "0.0, " if verb == "flow" else ""
    title = section.title.replace('"', "'")
    lines = [f"rule = lambda v: {name}.{verb}({clock}v, {{}})"]
    last = [n for n in section.numbers if dynamic(steps[n - 1])]
    own = [identifier(unknown) for unknown in system.unknowns]
    if last:
        stated = {identifier(left) for left, _ in steps[last[-1] - 1].result.rows}
        if stated & set(own) and steps[last[-1] - 1].result.kind == system.statement().kind:
            shared = [n for n in own if n in stated]
            pick = f"{{n: rule(values)[n] for n in {shared}}}"
            lines.append(f'yield "{title}: equations of step {last[-1]}", relative(step_{last[-1]}(values), {pick})')
    if section.conserved:
        for place, _ in enumerate(section.conserved, 1):
            kept = f'lambda v: {name}.conserved(v, {{}})["invariant_{place}"]'
            lines.append(f'yield "{title}: invariant {place}", conserved_gap({kept}, rule, values)')
    if form is None or not runnable(form.expression):
        return lines if len(lines) > 1 else []
    (unknown,) = own
    if form.kind == "root":
        lines.append(f'yield "{title}: root", root_gap(rule, {name}.root(values), values)')
    elif form.kind == "implicit":
        lines.append(f'yield "{title}: time law", time_gap({name}.time, rule, values, "{unknown}")')
    else:
        path = "flow" if verb == "flow" else "map"
        lines.append(f'yield "{title}: closed form", path_gap({name}.closed_form, rule, values, "{unknown}", "{path}")')
    return lines
