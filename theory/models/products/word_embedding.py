"""Word embeddings: directions of word statistics are learned one after the other, the strongest first.

    a' = G a (mu - a),      mu the eigenvalues of M = (P_ij - P_i P_j) / (1/2 (P_ij + P_i P_j))

The theory is that of a quadratic loss; the claims about order and times train the logistic skip-gram loss itself, on a
real corpus. Where pairs weigh as often as they occur, the theory does not apply, and says so.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np

from ...claims import Claim, Equals, Law
from ...dynamics.products.word_embedding import (
    EQUAL_WEIGHTS,
    KARKADA,
    ONE_HOT,
    early_map,
    learned_strength,
    pair_target,
    strength_flow,
    strength_map,
    target,
    tied,
    untied_map,
)
from ...errors import BadData
from ...model import Theory, parameter
from ...setup import Initialisation, Instance, Optimizer, Setup
from ...singular_modes import MODES, crossed, eigenmodes, rank_correlation
from ...symbols import modes
from ...system import Flow, System

_u = modes("u")
_SQUARED = 4.0  # pair weight G at which G/8 sum (z - M)^2 is the summed squared loss


@dataclass(frozen=True)
class WordEmbedding(Theory):
    """Word embeddings as factorisation of co-occurrence: which directions are learned when."""

    dimension: int = parameter(64, "dimension of the embedding; claims follow half as many directions", least=2 * MODES)

    def derive(self) -> Flow:
        return strength_flow()

    def derivations(self) -> Mapping[str, System]:
        return {
            "what the loss asks of a pair of words": pair_target(),
            "strength of one direction": strength_flow(),
            "one step of gradient descent": strength_map(),
            "what is learned in the end": learned_strength(),
            "first steps, whatever pairs weigh": early_map(),
        }

    def claims(self) -> tuple[Claim, ...]:
        trained = self._skip_gram()
        return (
            self._aligned_recursion(),
            self._negative_directions(),
            self._learned_times(trained),
            self._learned_order(trained),
            self._raw_counts(trained),
            self._raw_growth(trained),
        )

    def _squared(self, **changes) -> Setup:
        """The quadratic loss of M, from an aligned start."""
        setup = Setup(
            network=tied(),
            data="help_topics",
            axes={"dimension": self.dimension},
            optimizer=Optimizer(learning_rate=1.5e-3),
            initialisation=Initialisation("tied_eigenmodes", 1e-2),
            loss="summed_squared",
            steps=120,
            records=31,
        )
        return replace(setup, **changes)

    def _skip_gram(self) -> Setup:
        """The logistic loss of pairs of words, from a small random start."""
        return self._squared(
            optimizer=Optimizer(learning_rate=6e-3),
            initialisation=Initialisation("normal", 1e-2),
            loss="skip_gram",
            records=121,
        )

    def _aligned_recursion(self) -> Claim:
        return Equals(
            "aligned_recursion",
            "From an aligned start every direction of the word statistics follows its own exact recursion.",
            "embedding_strength",
            self._squared(),
            law=Law("direction recursion", strength_map, _start, _u**2, (ONE_HOT,), KARKADA),
            rival=Law("untied recursion", untied_map, _untied_start, _u**2),
            rival_home="separate matrices for words and contexts",
            seeds=2,
            relative="scale",
            budget={"rounding": 1e-10},
            seconds=1,
        )

    def _negative_directions(self) -> Claim:
        return Equals(
            "negative_directions",
            "From small random weights the strongest directions end at their eigenvalues, and negative ones at zero.",
            "embedding_strength",
            self._squared(initialisation=Initialisation("normal", 1e-2), steps=300, records=2),
            law=Law("direction recursion", strength_map, _start, _u**2, (ONE_HOT,), KARKADA),
            rival=Law("untied recursion", untied_map, _untied_start, _u**2),
            rival_home="separate matrices for words and contexts, which learn negative eigenvalues as well",
            relative="scale",
            budget={"convergence": 1e-8},
            options={"summary": "last"},
            seconds=1,
        )

    def _learned_times(self, trained: Setup) -> Claim:
        return Equals(
            "learned_times",
            "Skip-gram training learns each of the twenty leading directions at the step that its eigenvalue and its "
            "random start foretell.",
            "learned_step",
            trained,
            law=Law("direction recursion", strength_map, _start, _u**2, (ONE_HOT, EQUAL_WEIGHTS), KARKADA, _steps),
            rival=Law("raw co-occurrence", strength_map, _counted, _u**2, collect=_steps),
            rival_home="pairs that weigh as often as they occur",
            seeds=2,
            relative="point",
            # declared: the random starts of two directions overlap by dimension^-1/2
            budget={"overlap of random starts": 0.4 * self.dimension**-0.5},
            options={"summary": "last"},
            seconds=2,
        )

    def _learned_order(self, trained: Setup) -> Claim:
        return Equals(
            "learned_order",
            "Skip-gram training learns the twenty leading directions in the order of their eigenvalues: rank "
            "correlation 0.9 or more.",
            "learned_order",
            trained,
            law=Law("direction recursion", strength_map, _start, _u**2, (ONE_HOT, EQUAL_WEIGHTS), KARKADA, _order),
            rival=Law("frequency", strength_map, _frequent, _u**2, collect=_order),
            rival_home="raw counts of words that stand next to themselves only",
            seeds=2,
            relative="none",
            budget={"declared": 0.09},
            options={"summary": "last"},
            seconds=2,
        )

    def _raw_counts(self, trained: Setup) -> Claim:
        return Equals(
            "raw_counts",
            "Where pairs weigh as often as they occur, the theory does not apply.",
            "embedding_strength",
            trained.at(data="help_topics_counts", learning_rate=1.5e-3, records=31),
            law=Law("direction recursion", strength_map, _start, _u**2, (ONE_HOT, EQUAL_WEIGHTS), KARKADA),
            rival=Law("raw co-occurrence", strength_map, _counted, _u**2),
            rival_home="the first steps, as long as directions do not meet",
            relative="scale",
            budget={"declared": 0.05},
            expected="outside_domain",
            seconds=1,
        )

    def _raw_growth(self, trained: Setup) -> Claim:
        small = Initialisation("normal", 1e-6)
        counts = trained.at(data="help_topics_counts", learning_rate=1.5e-3, steps=40, records=21, initialisation=small)
        return Equals(
            "raw_growth",
            "With raw counts the first steps grow the directions of the counts themselves, P_ij - P_i P_j.",
            "count_strength",
            counts,
            law=Law("growth by counts", early_map, _growing, "strength", reference=KARKADA),
            rival=Law("growth by M", early_map, _growing_by_target, "strength"),
            rival_home="pairs that all weigh the same, where the two agree",
            relative="point",
            budget={"products beyond first order": 1e-6},
            seconds=1,
        )


# --- from an instance to the numbers of a law ------------------------------------------------------------------------


def _start(instance: Instance) -> dict:
    """Eigenvalues and sampled strengths |W v_k|^2 of the directions that are followed, at both ends of the spectrum."""
    values, vectors = eigenmodes(_target(instance))
    if len(values) < 2 * MODES:
        raise BadData(f"{len(values)} words", where="word-embedding", remedy=f"give {2 * MODES} or more")
    followed = np.r_[:MODES, -MODES:0]
    start = ((instance["W"] @ vectors[:, followed]) ** 2).sum(0)
    return {"mu": values[followed], "a": start, "u": np.sqrt(start), "G": _weight(instance)}


def _untied_start(instance: Instance) -> dict:
    """The same for singular values, which have no sign."""
    values = _start(instance)
    return {**values, "mu": np.abs(values["mu"])}


def _counted(instance: Instance) -> dict:
    """The leading directions, each at the pace of raw co-occurrence P_ij - P_i P_j; the mean pair weighs 1."""
    shares = instance["shares"]
    single = shares.sum(1)
    excess = len(shares) ** 2 * (shares - np.outer(single, single))
    _, vectors = eigenmodes(_target(instance))
    paces = ((excess @ vectors) * vectors).sum(0)[np.r_[:MODES, -MODES:0]]
    return {**_start(instance), "mu": paces}


def _frequent(instance: Instance) -> dict:
    """The leading directions, each at a pace that counts how often its words occur: the same pace on average."""
    values = _start(instance)
    _, vectors = eigenmodes(_target(instance))
    frequency = (instance["shares"].sum(1) @ vectors**2)[np.r_[:MODES, -MODES:0]]
    return {**values, "mu": values["mu"][:MODES].mean() * frequency / frequency[:MODES].mean()}


def _growing(instance: Instance) -> dict:
    """The leading directions of what pairs pull with at first, positive - negative: eigenvalues and starts."""
    positive, negative = _pairs(instance)
    values, vectors = eigenmodes(positive - negative)
    start = ((instance["W"] @ vectors[:, :MODES]) ** 2).sum(0)
    return {"c": values[:MODES], "u_W": np.sqrt(start)}


def _growing_by_target(instance: Instance) -> dict:
    """The same directions, each at the pace that M gives it."""
    positive, negative = _pairs(instance)
    _, vectors = eigenmodes(positive - negative)
    paces = ((target(positive, negative) @ vectors) * vectors).sum(0)[:MODES]
    return {**_growing(instance), "c": _weight(instance) / 2 * paces}


def _pairs(instance: Instance) -> tuple[np.ndarray, np.ndarray]:
    if "positive" not in instance:
        raise BadData("no weights of pairs", where="word-embedding", remedy='use the data set "help_topics"')
    return instance["positive"], instance["negative"]


def _target(instance: Instance) -> np.ndarray:
    """M as the loss asks for it: the stated targets of a squared loss, or derived from the weights of pairs."""
    return instance["y"] if instance.setup.loss == "summed_squared" else target(*_pairs(instance))


def _weight(instance: Instance) -> float:
    """G, the mean weight of a pair."""
    return _SQUARED if instance.setup.loss == "summed_squared" else float(np.mean(sum(_pairs(instance))))


def _steps(instance: Instance, strengths: np.ndarray) -> np.ndarray:
    """Learned steps of the leading directions, as known at each recorded step: (T, directions)."""
    levels = eigenmodes(_target(instance))[0][:MODES] / 2
    strengths, steps = strengths[:, :MODES], instance.steps
    learned = [np.zeros(MODES)]
    for now in range(1, len(steps)):
        window = strengths[now - 1], strengths[now], steps[now - 1], steps[now]
        learned.append(crossed(learned[-1], *window, levels))
    return np.array(learned)


def _order(instance: Instance, strengths: np.ndarray) -> np.ndarray:
    """Rank correlation of the learned steps with the order of eigenvalues: (T, 1); what is not learned comes last."""
    learned = _steps(instance, strengths)
    return np.array([[rank_correlation(np.where(row > 0, row, np.inf))] for row in learned])
