"""Which reductions hold for the user's data and initialisation, by how far the others fail, and what system is left.

    distance <= radius   ->   the assumption is applied and the equations get smaller, exactly

Assumptions that the dynamics preserves reduce the matrix flow one after the other; limits are only measured, and the
leading system each of them would give is kept beside the exact one.

>>> from .network_flow import network_flow
>>> from ..dataset import Dataset
>>> from ..architecture.network import chain
>>> rng = np.random.default_rng(0)
>>> data = Dataset(rng.standard_normal((50, 4)), rng.standard_normal((50, 3))).prepare("centre", "whiten")
>>> two = network_flow(chain("input", "width", "output"))
>>> found = reduce(two, data, initialisation=Initialisation("aligned_balanced", 0.01), width=5)
>>> found.applied, found.reduced.equations
(('whitened', 'aligned', 'balanced'), (u*(s - u**2),))
>>> reduce(two, data, initialisation=Initialisation("normal", 0.01), width=5).applied
('whitened', 'Gram blocks')
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Any

import numpy as np
import sympy as sp

from ..architecture.network import Network
from ..dataset import Dataset
from ..errors import BadData, LearningMechanicsError, NoClosedForm, UnknownName
from ..initialisation import IMBALANCED, INITIALISATIONS
from ..model import Theory
from ..setup import Initialisation, Instance
from ..system import Flow, System
from .lambda_balanced import LambdaBalanced
from .network_flow import network_flow
from .reduce import project
from .standard_assumptions import Aligned, Balanced, LargeDepth, SmallInitialisation, Whitened

DEPTH = sp.Symbol("L", positive=True)
SMALL = Initialisation("normal", 0.01)
_GRAM_BLOCKS = "Gram blocks"
_GRAM = "Fukumizu 1998; Tarmoun et al. 2021"


@dataclass(frozen=True)
class Finding:
    """One assumption on the user's arrays; `need` says what would make it hold, where it does not."""

    name: str
    statement: str
    kind: str
    distance: float
    radius: float
    reference: str
    need: str = ""

    @property
    def holds(self) -> bool:
        return self.distance <= self.radius


@dataclass(frozen=True, eq=False)
class Reduction:
    """What holds, what was applied, and the smallest exact system; `print` gives a card.

    `full`      the matrix flow before any reduction
    `reduced`   after all that hold were applied, with every step in its trail
    `leading`   name of a limit that holds -> what it makes of the reduced system
    """

    name: str
    findings: tuple[Finding, ...]
    full: System
    reduced: System
    applied: tuple[str, ...]
    leading: Mapping[str, System]

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON values, with every system and its trail."""
        return {
            "name": self.name,
            "findings": [{**vars(finding), "holds": finding.holds} for finding in self.findings],
            "applied": list(self.applied),
            "full": self.full.to_dict(),
            "reduced": self.reduced.to_dict(),
            "leading": {name: system.to_dict() for name, system in self.leading.items()},
        }

    def __str__(self) -> str:
        lines = [f"{self.name}: which reductions hold", f"  {'assumption':<22}{'distance':>10}{'radius':>9}"]
        for finding in self.findings:
            verdict = "holds" if finding.holds else "fails" + (f": {finding.need}" if finding.need else "")
            lines.append(f"  {finding.name:<22}{finding.distance:>10.2g}{finding.radius:>9.2g}  {verdict}")
        how = f"after {', '.join(self.applied)}" if self.applied else "nothing can be taken away"
        lines += [f"smallest exact system, {how}", *(f"  {line}" for line in _equations(self.reduced))]
        if _GRAM_BLOCKS in self.applied:
            lines.append("  of P = W1.T*W1, R = W2*W1, T = W2*W2.T")
        for name, system in self.leading.items():
            lines += [f"leading terms by {name}", *(f"  {line}" for line in _equations(system))]
        return "\n".join(lines)

    __repr__ = __str__


def reduce(
    what: Theory | Network | Flow,
    on: Dataset | Instance | Mapping[str, Any],
    *,
    initialisation: Initialisation = SMALL,
    width: int = 64,
    seed: int = 0,
) -> Reduction:
    """Try every known assumption of linear networks on the user's data and weights, and apply those that hold.

    what   a model whose derivation starts at a matrix flow, a linear `Network`, or that flow (unknowns W1, W2, ...)
    on     a `Dataset`, whose weights are then drawn by `initialisation` at that hidden `width`; an `Instance`; or
           arrays by name: x (P, d), y (P, o), W1 (h, d), ...

    Errors: `BadData` where arrays do not fit the network, `NoClosedForm` for what has no matrix flow.
    Reference: Saxe, McClelland & Ganguli 2013, arXiv:1312.6120; Arora, Cohen & Hazan 2018, arXiv:1802.06509.
    """
    if not isinstance(on, Dataset | Instance | Mapping):
        raise BadData(
            f"a {type(on).__name__}", where="reduce", remedy="give a Dataset, or arrays by name: x, y, W1, ..."
        )
    flow, title = _matrix_flow(what)
    arrays = _arrays(flow, on, initialisation, width, seed)
    findings = tuple(_measured(flow, arrays, initialisation))
    holding = {finding.name for finding in findings if finding.holds}
    system, applied = flow, []
    for assumption in _exact_order(flow, holding):
        try:
            system = system.assume(assumption)
        except LearningMechanicsError:
            continue  # it does not reduce what is left, for instance matrices where modes are meant
        applied.append(assumption.name)
    if len(flow.unknowns) == 2 and isinstance(system.unknowns[0], sp.MatrixSymbol) and "lambda-balanced" not in applied:
        system = _gram_blocks(system)
        applied.append(_GRAM_BLOCKS)
    leading = {}
    for limit in (SmallInitialisation(),):
        if limit.name in holding:
            leading[limit.name] = system.assume(limit)
    return Reduction(
        f"{title} on {getattr(on, 'name', 'given arrays')}", findings, flow, system, tuple(applied), leading
    )


def _matrix_flow(what) -> tuple[Flow, str]:
    if isinstance(what, Network):
        return network_flow(what), "linear network"
    if isinstance(what, Theory):
        for system in what.derivations().values():
            if isinstance(system, Flow) and _is_matrix_flow(system):
                return system, what.model_name()
        raise NoClosedForm(
            "its derivation holds no flow of weight matrices",
            where=what.model_name(),
            remedy="name a model of linear networks, such as deep-linear",
        )
    if not _is_matrix_flow(what):
        raise NoClosedForm("this is no flow of matrices W1, W2, ...", where="reduce", remedy="give network_flow(...)")
    return what, f"{len(what.unknowns)} layers"


def _is_matrix_flow(system) -> bool:
    named = (f"W{layer}" for layer, _ in enumerate(getattr(system, "unknowns", ()), 1))
    return isinstance(system, Flow) and all(
        isinstance(u, sp.MatrixSymbol) and u.name == name for u, name in zip(system.unknowns, named, strict=True)
    )


def _arrays(flow, on, initialisation, width, seed) -> dict[str, Any]:
    if isinstance(on, Dataset):
        arrays: dict[str, Any] = {"x": on.x, "y": on.y}
    else:
        arrays = dict(on.arrays if isinstance(on, Instance) else on)
    if "x" not in arrays or "y" not in arrays:
        raise BadData("no arrays x and y", where="reduce", remedy="give inputs (P, d) and targets (P, o)")
    data = Dataset(arrays["x"], arrays["y"], getattr(on, "name", "data"))
    arrays["Sigma_xx"], arrays["Sigma_yx"] = data.covariances()
    sizes = {"input": data.x.shape[1], "output": data.y.shape[1]}
    shapes = {W.name: tuple(_size(size, sizes, width) for size in W.shape) for W in flow.unknowns}
    if not isinstance(on, Dataset | Instance):
        for name in on:
            if name not in ("x", "y", *shapes):
                raise UnknownName.among(name, ("x", "y", *shapes), kind="array", where="reduce")
    missing = [name for name in shapes if name not in arrays]
    if missing and len(missing) < len(shapes):
        raise BadData(f"no array {missing[0]}", where="reduce", remedy=f"give all of {', '.join(shapes)}, or none")
    if missing:
        if initialisation.name not in INITIALISATIONS:
            raise UnknownName.among(initialisation.name, INITIALISATIONS, kind="initialisation")
        rng = np.random.default_rng(seed)
        more = {"imbalance": initialisation.imbalance} if initialisation.name in IMBALANCED else {}
        draw = INITIALISATIONS[initialisation.name]
        drawn = draw(rng, shapes, initialisation.scale, {"x": data.x, "y": data.y}, **more)
        arrays = {**drawn, **arrays}
    for name in shapes:
        if np.ndim(arrays[name]) != 2:
            raise BadData(
                f"{name} has shape {np.shape(arrays[name])}", where="reduce", remedy="give a matrix (out, in)"
            )
    for first, second in pairwise(shapes):
        if len(arrays[first]) != np.shape(arrays[second])[1]:
            raise BadData(
                f"{first} has {len(arrays[first])} rows and {second} {np.shape(arrays[second])[1]} columns",
                where="reduce",
                remedy=f"give matrices (out, in): {second} acts on what {first} puts out",
            )
    ends = {list(shapes)[0]: (1, "input"), list(shapes)[-1]: (0, "output")}
    for name, (axis, side) in ends.items():
        found = np.shape(arrays[name])[axis]
        if found != sizes[side]:
            raise BadData(f"{name} has {found} where the data have {sizes[side]} {side}s", where="reduce")
    return arrays


def _size(size, known, width) -> int:
    return int(size) if sp.sympify(size).is_number else known.get(str(size), width)


def _measured(flow, arrays, initialisation):
    depth = len(flow.unknowns)
    tried: list[tuple[Any, str]] = [
        (Whitened(), 'prepare the data with "whiten"'),
        (Aligned(), 'start from "aligned_balanced"'),
        (Balanced(), 'start from "aligned_balanced"'),
    ]
    if depth == 2:
        tried.append((LambdaBalanced(), 'start from "lambda_balanced"'))
    tried += [(SmallInitialisation(), ""), (LargeDepth(DEPTH), "")]
    for assumption, need in tried:
        distance = float(assumption.distance({**arrays, str(DEPTH): float(depth)}))
        found = Finding(
            assumption.name,
            assumption.statement,
            assumption.kind,
            distance,
            assumption.radius,
            assumption.reference,
            need,
        )
        if found.holds:
            found = replace(found, need="")
        elif assumption.name == "small initialisation":
            factor = (assumption.radius / distance) ** (1 / depth)
            found = replace(found, need=f"multiply the weights by {factor:.2g}")
        elif assumption.name == "large depth":
            found = replace(found, need=f"use {int(np.ceil(1 / assumption.radius))} layers or more")
        yield found


def _exact_order(flow, holding):
    """Assumptions in the order in which each needs those before it; alignment of data that are not white needs more."""
    if "whitened" in holding:
        yield Whitened()
        if "aligned" in holding:
            yield Aligned()
            if "balanced" in holding:
                yield Balanced()
        elif "lambda-balanced" in holding:
            yield LambdaBalanced()


def _gram_blocks(system):
    """Two layers on any data close on P = W1'W1, R = W2 W1 and T = W2 W2', whatever the width."""
    W1, W2 = system.unknowns
    d, o = W1.shape[1], W2.shape[0]
    P, R, T = sp.MatrixSymbol("P", d, d), sp.MatrixSymbol("R", o, d), sp.MatrixSymbol("T", o, o)
    return project(system, {P: W1.T * W1, R: W2 * W1, T: W2 * W2.T}, reference=_GRAM)


def _equations(system) -> list[str]:
    return str(system.statement()).split("; ")
