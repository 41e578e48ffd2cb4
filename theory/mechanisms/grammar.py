"""Random hierarchies: every class is written as one of m tuples of s features, every feature again, L levels down.

    class -> (feature, feature) -> ... -> s^L inputs,     m synonyms each, no tuple shared within a level.

Rules are drawn at random and without replacement from the v^s tuples, so that a tuple tells its feature exactly. A
learner that sees inputs and classes only has to find out which tuples are synonyms.

>>> data = RandomHierarchy(features=3, synonyms=2, levels=2)
>>> rng = np.random.default_rng(0)
>>> x, y = data.rows({name: rng.standard_normal(shape) for name, shape in data.normals(5).items()})
>>> x.shape, y.shape, leaves(x, 3).shape
((5, 12), (5, 3), (5, 4))
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from ..arguments import whole
from ..errors import BadData


@dataclass(frozen=True)
class RandomHierarchy:
    """Distribution of the random hierarchy model: one-hot inputs (n, s^L v) and one-hot classes (n, n_c).

    Classes are balanced: row i has class i mod n_c. `rules` is the seed of the grammar; None draws one with the rows.

    Reference: Cagnetta, Petrini, Tomasini, Favero & Wyart 2024, arXiv:2307.02129.
    """

    features: int = 8
    synonyms: int = 4
    branching: int = 2
    levels: int = 2
    classes: int = 0
    rules: int | None = None
    name: str = "random_hierarchy"

    def __post_init__(self):
        for label in ("features", "synonyms", "branching", "levels", "classes"):
            object.__setattr__(self, label, whole(getattr(self, label), label, self.name))
        object.__setattr__(self, "classes", self.classes or self.features)
        tuples = self.features**self.branching
        for label, found, right, remedy in (
            ("features", self.features, self.features >= 2, "give two or more"),
            ("levels", self.levels, self.levels >= 1, "give one or more"),
            ("branching", self.branching, self.branching >= 2, "give two or more"),
            ("synonyms", self.synonyms, self.synonyms >= 1, "give one or more"),
            (
                "synonyms",
                self.synonyms,
                self.synonyms * max(self.features, self.classes) <= tuples,
                f"{tuples} tuples are there for {max(self.features, self.classes)} features or classes",
            ),
        ):
            if not right:
                raise BadData(f"{label} {found}", where=self.name, remedy=remedy)

    @property
    def inputs(self) -> int:
        """Number of leaves s^L."""
        return self.branching**self.levels

    def sizes(self) -> dict[str, int]:
        """Widths of the input and of the output."""
        return {"input": self.inputs * self.features, "output": self.classes}

    def statistics(self) -> dict[str, np.ndarray]:
        """Second moments of leaves that were independent and uniform; no linear target."""
        width = self.inputs * self.features
        return {"eigenvalues": np.full(width, 1 / self.features), "target": np.zeros(width)}

    def normals(self, n: int) -> dict[str, tuple[int, ...]]:
        """Shapes of the standard normal numbers that n rows are made of: a rule per inner node, and the grammar."""
        nodes = (self.inputs - 1) // (self.branching - 1)
        shapes: dict[str, tuple[int, ...]] = {"choices": (n, nodes)}
        if self.rules is None:
            shapes["rules"] = (self.levels, self.features**self.branching)
        return shapes

    def grammar(self, normals: Any = None) -> list[Any]:
        """Rules level by level from the classes down: integers (parents, m, s)."""
        if normals is None:
            shape = (self.levels, self.features**self.branching)
            normals = np.random.default_rng(self.rules).standard_normal(shape)
        powers = self.features ** np.arange(self.branching)
        found = []
        for level in range(self.levels):
            parents = self.features if level else self.classes
            drawn = normals[level].argsort()[: parents * self.synonyms].reshape(parents, self.synonyms)
            found.append(drawn[..., None] // powers % self.features)
        return found

    def rows(self, normals: Mapping[str, Any]) -> tuple[Any, Any]:
        """One-hot inputs and classes from standard normal numbers, NumPy's or JAX's."""
        from statistics import NormalDist

        bounds = np.array([NormalDist().inv_cdf(k / self.synonyms) for k in range(1, self.synonyms)])
        chosen = (normals["choices"][..., None] > bounds).sum(-1)
        nodes = np.arange(len(chosen))[:, None] % self.classes
        labels, used = nodes[:, 0], 0
        for rules in self.grammar(normals.get("rules")):
            taken = chosen[:, used : used + nodes.shape[1]]
            used += nodes.shape[1]
            nodes = rules[nodes, taken].reshape(len(chosen), -1)
        inputs = nodes[..., None] == np.arange(self.features)
        y = labels[:, None] == np.arange(self.classes)
        return 1.0 * inputs.reshape(len(chosen), -1), 1.0 * y


def leaves(x: np.ndarray, features: int) -> np.ndarray:
    """Features 0 .. v - 1 at the leaves (n, s^L) from one-hot inputs (n, s^L v)."""
    return x.reshape(len(x), -1, features).argmax(-1)


def tuples(sequences: np.ndarray, branching: int, features: int) -> np.ndarray:
    """Numbers 0 .. v^s - 1 of the tuples of s neighbouring leaves: (n, s^L) -> (n, s^(L-1)).

    >>> tuples(np.array([[1, 0, 2, 1]]), 2, 3)
    array([[1, 5]])
    """
    powers = features ** np.arange(branching)
    return sequences.reshape(len(sequences), -1, branching) @ powers


def tuple_probabilities(grammar: Sequence[np.ndarray], features: int) -> np.ndarray:
    """P(tuple | class) at every place, exactly, by going down the rules: (s^(L-1), classes, v^s).

    >>> data = RandomHierarchy(features=3, synonyms=2, levels=3, rules=1)
    >>> chance = tuple_probabilities(data.grammar(), 3)
    >>> chance.shape, bool(np.allclose(chance.sum(-1), 1))
    ((4, 3, 9), True)
    """
    classes, synonyms, branching = grammar[0].shape
    chances = [np.eye(classes)]
    for rules in grammar[:-1]:
        down = [(rules[..., place, None] == np.arange(features)).mean(1) for place in range(branching)]
        chances = [chance @ step for chance in chances for step in down]
    last = grammar[-1] @ features ** np.arange(branching)
    written = np.zeros((len(last), features**branching))
    np.add.at(written, (np.arange(len(last))[:, None], last), 1 / synonyms)
    return np.stack([chance @ written for chance in chances])
