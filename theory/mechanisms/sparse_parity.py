"""Multitask sparse parity: a control bit says which skill is asked for, and each skill is the parity of its own bits.

    y = prod_{i in S_k} b_i   where the control names skill k,     P(skill k) = c k^-(1+alpha).

Skills share nothing that a linear map could use: the parity of two fair bits or more is uncorrelated with every bit.

>>> data = MultitaskSparseParity(skills=5, bits=6)
>>> rng = np.random.default_rng(0)
>>> x, y = data.rows({name: rng.standard_normal(shape) for name, shape in data.normals(4).items()})
>>> x.shape, y.shape, bool((np.abs(y) == 1).all())
((4, 11), (4, 1), True)
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from statistics import NormalDist
from typing import Any

import numpy as np

from ..dataset import Dataset
from ..errors import BadData, UnknownName

VIEWS = ("raw", "skills")


@dataclass(frozen=True)
class MultitaskSparseParity:
    """Distribution of multitask sparse parity; targets are -1 and 1.

    `skills`    number K of skills, of frequencies c k^-(1 + alpha)
    `bits`      number of fair bits -1, 1 that all skills share
    `subset`    number of bits in a parity, two or more
    `alpha`     exponent of the frequencies less one
    `view`      "raw": control one-hot (0 or 1) and bits, (n, K + bits); "skills": for every skill the parity of its
                bits where it is asked for, else 0, (n, K), as in the multilinear model
    `tasks`     seed of the subsets, which are all different

    Reference: Michaud, Liu, Girit & Tegmark 2023, arXiv:2303.13506; Nam et al. 2024, arXiv:2404.17563.
    """

    skills: int = 24
    bits: int = 16
    subset: int = 2
    alpha: float = 0.5
    view: str = "raw"
    tasks: int = 0
    name: str = "multitask_sparse_parity"

    def __post_init__(self):
        if self.view not in VIEWS:
            raise UnknownName.among(self.view, VIEWS, kind="view", where=self.name)
        room = math.comb(self.bits, self.subset) if self.bits >= self.subset >= 0 else 0
        for label, found, right, remedy in (
            ("alpha", self.alpha, 0 < self.alpha < math.inf, "give a number above 0"),
            ("subset", self.subset, self.subset >= 2, "give two bits or more: one bit is a linear task"),
            ("skills", self.skills, self.skills >= 1, "give one or more"),
            ("skills", self.skills, self.skills <= room, f"{room} subsets of {self.subset} of {self.bits} bits exist"),
        ):
            if not right:
                raise BadData(f"{label} {found}", where=self.name, remedy=remedy)

    def frequencies(self) -> np.ndarray:
        """Frequencies (K,) of the skills, with sum one."""
        return zipf_frequencies(self.skills, self.alpha)

    def subsets(self) -> np.ndarray:
        """Bits (K, subset) of every skill, no two the same."""
        rng = np.random.default_rng(self.tasks)
        found: dict[tuple[int, ...], None] = {}
        while len(found) < self.skills:
            found[tuple(np.sort(rng.choice(self.bits, self.subset, replace=False)).tolist())] = None
        return np.array(list(found))

    def sizes(self) -> dict[str, int]:
        """Widths of the input and of the output."""
        return {"input": self.skills + (self.bits if self.view == "raw" else 0), "output": 1}

    def statistics(self) -> dict[str, np.ndarray]:
        """Second moments of the inputs, which are diagonal, and the best linear map: nothing of raw bits is linear."""
        share = self.frequencies()
        if self.view == "skills":
            return {"eigenvalues": share, "target": np.ones(self.skills)}
        return {"eigenvalues": np.append(share, np.ones(self.bits)), "target": np.zeros(self.skills + self.bits)}

    def normals(self, n: int) -> dict[str, tuple[int, ...]]:
        """Shapes of the standard normal numbers that n rows are made of."""
        return {"control": (n, 1), "bits": (n, self.bits)}

    def rows(self, normals: Mapping[str, Any]) -> tuple[Any, Any]:
        """Inputs and targets (n, 1) from standard normal numbers, NumPy's or JAX's."""
        below = np.cumsum(self.frequencies())[:-1]
        bounds = np.array([NormalDist().inv_cdf(min(share, 1 - 1e-16)) for share in below])
        asked = (normals["control"] > bounds).sum(-1)[:, None]
        return self._written(1.0 * (asked == np.arange(self.skills)), 2.0 * (normals["bits"] > 0) - 1.0)

    def _written(self, control: Any, bits: Any) -> tuple[Any, Any]:
        """Inputs and targets from the control (n, K) and the bits (n, bits)."""
        features = control * bits[:, self.subsets()].prod(-1)
        if self.view == "skills":
            return features, features.sum(1)[:, None]
        width = self.skills + self.bits
        beside = control @ np.eye(self.skills, width) + bits @ np.eye(self.bits, width, self.skills)
        return beside, features.sum(1)[:, None]

    def expected(self) -> Dataset:
        """One row a skill, both sides times sqrt(K p_k): the mean square over rows is that over the distribution.

        For the view "skills", where every draw of the bits has the same loss; raw bits raise `BadData`.

        >>> data = MultitaskSparseParity(skills=3, bits=4, view="skills").expected()
        >>> np.allclose(data.covariances()[0], np.diag(zipf_frequencies(3, 0.5)))
        True
        """
        if self.view != "skills":
            raise BadData("raw bits have more than one row a skill", where=self.name, remedy='choose view="skills"')
        bits = np.random.default_rng([self.tasks, 1]).choice([-1.0, 1.0], (self.skills, self.bits))
        x, y = self._written(np.eye(self.skills), bits)
        root = np.sqrt(self.skills * self.frequencies())[:, None]
        return Dataset(root * x, root * y, f"{self.name}_expected")


def zipf_frequencies(skills: int, alpha: float) -> np.ndarray:
    """p_k = c k^-(1 + alpha), k = 1 ... K, with sum one.

    >>> zipf_frequencies(3, 1.0).round(3)
    array([0.735, 0.184, 0.082])
    """
    share = np.arange(1.0, skills + 1) ** -(1 + alpha)
    return share / share.sum()
