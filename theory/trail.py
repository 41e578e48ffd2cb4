"""The derivation trail: every step with its rule, assumption, reference and check, as a directed graph.

A trail is an immutable sequence of steps; a step may rest on several earlier ones, so the whole is a graph (networkx).
What a step gave is mathematics wherever it is mathematics: an expression, or `Equations`; words only where it is words.

>>> a, b, s, u = sp.symbols("a b s u")
>>> flow = Equations(((a, b * (s - a * b)), (b, a * (s - a * b))), "flow")
>>> balanced = Equations(((a, u), (b, u)))
>>> trail = Trail().then("gradient", flow, residual=1e-16).then(
...     "restrict", Equations(((u, u * (s - u**2)),), "flow"), assumption="balanced", given=balanced)
>>> print(trail)
1. gradient: a' = b*(-a*b + s); b' = a*(-a*b + s)
2. restrict [balanced]: u' = u*(s - u**2)
>>> list(trail.graph().edges)
[(0, 1)]
"""

from dataclasses import dataclass, field, replace
from typing import Any

import sympy as sp

from .document.notation import latex, marked

_PLAIN_MARKS = {"flow": "'", "map": "+"}


@dataclass(frozen=True)
class Equations:
    """Equations (left, right), in order. `kind` says what the left side is: of a "flow" its time derivative, of a "map"
    its next value, of a "fixed point" zero (the symbol is what is solved for), and of "" the symbol itself.

    >>> u, s = sp.symbols("u s")
    >>> law = Equations(((u, u * (s - u)),), "flow")
    >>> print(law, "|", law.latex())
    u' = u*(s - u) | \\dot{u} = u\\,\\left(s - u\\right)
    """

    rows: tuple[tuple[Any, Any], ...]
    kind: str = ""

    def left(self, symbol: Any) -> str:
        """The left side of one row as plain text."""
        return "0" if self.kind == "fixed point" else f"{symbol}{_PLAIN_MARKS.get(self.kind, '')}"

    def __str__(self) -> str:
        return "; ".join(f"{self.left(symbol)} = {right}" for symbol, right in self.rows)

    def lines(self) -> tuple[tuple[str, str], ...]:
        """LaTeX of both sides of every row."""
        return tuple((marked(symbol, self.kind), latex(right)) for symbol, right in self.rows)

    def latex(self) -> str:
        """One equation, or several aligned at their equal signs."""
        lines = self.lines()
        if len(lines) == 1:
            return " = ".join(lines[0])
        return r"\begin{aligned}" + r" \\ ".join(" &= ".join(line) for line in lines) + r"\end{aligned}"

    def _latex(self, printer=None, **_) -> str:
        return self.latex()


@dataclass(frozen=True)
class Step:
    """One step: the rule applied, what it gave, and why it may be trusted.

    `result`    an expression, `Equations`, or words
    `check`     names the test that was passed; `residual` is its number, where it has one
    `given`     what was put in, as `Equations`: old = f(new) of an ansatz or a change of variables, new = g(old) of a
                projection. With it anyone can verify the step without knowing how it was made
    """

    rule: str
    result: Any
    assumption: str = ""
    reference: str = ""
    check: str = ""
    parents: tuple[int, ...] = ()
    residual: float | None = None
    given: Equations | None = None

    def latex(self) -> str:
        """The result as LaTeX; empty for words."""
        if isinstance(self.result, Equations):
            return self.result.latex()
        return latex(self.result) if isinstance(self.result, sp.Basic) else ""

    def to_dict(self) -> dict:
        return {
            "rule": self.rule,
            "result": str(self.result),
            "latex": self.latex(),
            "assumption": self.assumption,
            "reference": self.reference,
            "check": self.check,
            "residual": self.residual,
            "parents": list(self.parents),
            "exact": exact(self.result),
            "given": exact(self.given),
        }

    def __str__(self) -> str:
        notes = f" [{self.assumption}]" if self.assumption else ""
        tail = "".join(f"  ({note})" for note in (self.check, self.reference) if note)
        return f"{self.rule}{notes}: {self.result}{tail}"


@dataclass(frozen=True)
class Trail:
    """Steps in the order they were taken."""

    steps: tuple[Step, ...] = field(default=())

    def then(self, rule: str, result: Any, *, parents: tuple[int, ...] | None = None, **notes: Any) -> "Trail":
        """The trail with one more step, resting on the previous one unless `parents` says otherwise."""
        if parents is None:
            parents = (len(self.steps) - 1,) if self.steps else ()
        return Trail((*self.steps, Step(rule, result, parents=parents, **notes)))

    def after(self, before: "Trail", on: tuple[int, ...] = ()) -> "Trail":
        """These steps after those of another trail; a step that rested on nothing rests on its steps `on`.

        >>> both = Trail().then("second", "b").after(Trail().then("first", "a"), on=(0,))
        >>> [(step.rule, step.parents) for step in both.steps]
        [('first', ()), ('second', (0,))]
        """
        shift = len(before.steps)
        moved = (replace(s, parents=tuple(p + shift for p in s.parents) or on) for s in self.steps)
        return Trail((*before.steps, *moved))

    def graph(self):
        """The trail as a `networkx.DiGraph`; nodes are step numbers carrying the step."""
        import networkx as nx

        graph = nx.DiGraph()
        for number, step in enumerate(self.steps):
            graph.add_node(number, step=step)
            graph.add_edges_from((parent, number) for parent in step.parents)
        return graph

    @property
    def references(self) -> tuple[str, ...]:
        """References used, each once, in order of first use."""
        return tuple(dict.fromkeys(step.reference for step in self.steps if step.reference))

    @property
    def assumptions(self) -> tuple[str, ...]:
        """Assumptions used, each once, in order of first use."""
        return tuple(dict.fromkeys(step.assumption for step in self.steps if step.assumption))

    def to_dict(self) -> list[dict]:
        """Steps as plain data, with text and LaTeX to read and exact text that `document.exact_text` restores."""
        return [step.to_dict() for step in self.steps]

    def __str__(self) -> str:
        return "\n".join(f"{number}. {step}" for number, step in enumerate(self.steps, 1))


def exact(value: Any) -> Any:
    """Plain data from which a step's result can be rebuilt: constructor text of mathematics, words as they are.

    >>> exact(Equations(((sp.Symbol("a"), sp.Integer(1)),)))
    {'kind': '', 'rows': [["Symbol('a')", 'Integer(1)']]}
    """
    if isinstance(value, Equations):
        return {
            "kind": value.kind,
            "rows": [[exact(symbol)["expression"], exact(e)["expression"]] for symbol, e in value.rows],
        }
    if isinstance(value, sp.Basic):
        return {"expression": sp.srepr(value, order="none")}  # terms as stored: sums of matrices keep their order
    return None if value is None else {"words": str(value)}
