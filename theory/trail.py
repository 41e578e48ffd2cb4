"""The derivation trail: every step with its rule, assumption, reference and check, as a directed graph.

A trail is an immutable sequence of steps; a step may rest on several earlier ones, so the whole is a graph (networkx).

>>> trail = Trail().then("gradient", "a' = b (s - a b)").then("restrict", "u' = u (s - u**2)", assumption="balanced")
>>> print(trail)
1. gradient: a' = b (s - a b)
2. restrict [balanced]: u' = u (s - u**2)
>>> list(trail.graph().edges)
[(0, 1)]
"""

from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True)
class Step:
    """One step: the rule applied, what it gave, and why it may be trusted (`check` names the test and its residual)."""

    rule: str
    result: Any
    assumption: str = ""
    reference: str = ""
    check: str = ""
    parents: tuple[int, ...] = ()

    def __str__(self) -> str:
        notes = f" [{self.assumption}]" if self.assumption else ""
        tail = "".join(f"  ({note})" for note in (self.check, self.reference) if note)
        return f"{self.rule}{notes}: {self.result}{tail}"


@dataclass(frozen=True)
class Trail:
    """Steps in the order they were taken."""

    steps: tuple[Step, ...] = field(default=())

    def then(self, rule: str, result: Any, *, parents: tuple[int, ...] | None = None, **notes: str) -> "Trail":
        """The trail with one more step, resting on the previous one unless `parents` says otherwise."""
        if parents is None:
            parents = (len(self.steps) - 1,) if self.steps else ()
        return Trail((*self.steps, Step(rule, result, parents=parents, **notes)))

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
        return [
            {
                "rule": step.rule,
                "result": str(step.result),
                "assumption": step.assumption,
                "reference": step.reference,
                "check": step.check,
                "parents": list(step.parents),
            }
            for step in self.steps
        ]

    def __str__(self) -> str:
        return "\n".join(f"{number}. {step}" for number, step in enumerate(self.steps, 1))
