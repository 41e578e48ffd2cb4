"""The passes through a wide network: every sample beside itself first, then blocks of samples beside others.

A `Recursion` is a network with what its rules need to know. `sides` gives variances and means of all nodes and the
kernels of each sample with itself; `blocks` gives a function from rows and columns to kernels, which interpolates one
function of the angle where there is one (`angles`) and applies the rules (`covariances`) otherwise.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache, cached_property
from typing import Any

import numpy as np
import sympy as sp

from ..architecture.independence import LAYERS, Facts, facts
from ..architecture.network import SPATIAL, Network, Node
from ..architecture.shapes import feature_shapes
from ..duals.activation_moments import moments
from ..errors import BadData, LearningMechanicsError
from .angles import ALIVE, angular_degree, of_angles, profile
from .covariances import RULES, Side, State, Walk
from .directions import angle

_MANY = 4096  # entries from which a function of the angle is interpolated
_SAME = 4e-15  # relative differences of <x, x>/d that are rounding
_CHUNK = 1 << 21  # numbers in a state of samples beside themselves


@dataclass(frozen=True)
class Recursion:
    """How covariances pass through a network; `names` below are "nngp", "ntk" or both, in this order.

    `widths` by name, sorted; <x, x'> is divided by `divisor`, by the number of columns if it is 0.
    """

    network: Network
    widths: tuple[tuple[str, int], ...] = ()
    divisor: float = 0.0

    @cached_property
    def facts(self) -> dict[str, Facts]:
        """What the channels of every node depend on."""
        return facts(self.network)

    @cached_property
    def _last_uses(self) -> dict[str, list[str]]:
        """Nodes whose states are not needed after a node."""
        last: dict[str, str] = {}
        for node in self.network.nodes:
            used = [name for name, _ in self.facts[node.name].terms] if node.op == "sum" else []
            last.update({name: node.name for name in (*node.inputs, *used) if name != node.name})
        found: dict[str, list[str]] = {}
        for name, where in last.items():
            found.setdefault(where, []).append(name)
        return found

    @cached_property
    def alive(self) -> int:
        """How many blocks are held at a time: two for every state, and a dozen for the work of one rule."""
        held, most = 0, 0
        for node in self.network.nodes:
            held += 1
            most = max(most, held)
            held -= len(self._last_uses.get(node.name, ()))
        return max(2 * most + 12, ALIVE if self.of_angles else 0)

    @cached_property
    def of_angles(self) -> bool:
        """Whether the kernels are functions of lengths and angles."""
        return of_angles(self.network, self.facts)

    @cached_property
    def degree(self) -> float | None:
        return angular_degree(self.network, self.facts)

    @cached_property
    def grid(self) -> bool:
        return any(node.op in SPATIAL for node in self.network.nodes)

    def _pass(self, walk: Walk) -> State:
        """The state of the output: nodes in order, each forgotten after its last use."""
        with np.errstate(divide="ignore", over="ignore", invalid="ignore" if walk.paired else None):
            return self._in_order(walk, _rules())

    def _in_order(self, walk: Walk, rules: Mapping[str, Callable]) -> State:
        laid_out = all(node.op == "reshape" for node in self.network.nodes if self.network.inputs[0] in node.inputs)
        for node in self.network.nodes:
            if node.op == "input" and self.grid and laid_out:
                continue  # reshape reads the samples themselves
            states: Any = [walk.states.get(name) for name in node.inputs]
            try:
                state = walk.states[node.name] = rules[node.op](node, states, walk)
            except LearningMechanicsError as error:
                if node.name in error.where:
                    raise
                where = ", ".join(filter(None, (node.name, error.where)))
                raise type(error)(error.found, where=where, remedy=error.remedy) from None
            if walk.paired and state.tangent is not None and not np.isfinite(state.tangent).all():
                raise BadData(
                    "the tangent kernel overflows",
                    where=node.name,
                    remedy="lower w_std or the depth, or scale the data",
                )
            for name in self._last_uses.get(node.name, ()):
                walk.states.pop(name, None)
        return walk.states[self.network.outputs[0]]

    def _walk(self, x1: np.ndarray, x2: np.ndarray, names: Sequence[str], **given: Any) -> Walk:
        tangents = "ntk" in names
        means = any(node.op in ("layer_norm", "sum", "product") for node in self.network.nodes)
        fan_in = self.fan_in(x1.shape[1]) if tangents else {}
        return Walk(self.network, self.facts, x1, x2, fan_in, tangents, means, self.divisor, **given)

    def sides(self, x: np.ndarray, names: Sequence[str], start: State | None = None) -> tuple[dict, list[np.ndarray]]:
        """What the samples know of themselves at every node, and the kernels of each sample with itself."""
        step = max(1, _CHUNK // self.entry(x.shape[1]))
        sides, values = [], []
        for first in range(0, len(x), step):
            walk = self._walk(x[first : first + step], x[first : first + step], names, start=start)
            state = self._pass(walk)
            if state.left.variance.ndim > 1:
                raise BadData(
                    f"an output with positions {state.left.variance.shape[1:]}",
                    where=self.network.outputs[0],
                    remedy="end with flatten() or global_average_pool(), and a dense layer",
                )
            sides.append(walk.made)
            values.append(_values(state, names))
        joined = {name: Side.joined([made[name] for made in sides]) for name in sides[0]}
        return joined, [np.concatenate(parts) for parts in zip(*values, strict=True)]

    def error(self, *sides: Mapping[str, Side]) -> float:
        """Largest relative error that an activation states for the variances it meets; 0 for closed forms."""
        worst = 0.0
        for node in self.network.nodes:
            if node.op == "activation" and node.activation != "identity":
                law, name = moments(node.activation), node.inputs[0]
                while name not in sides[0]:  # an identity
                    name = next(other for other in self.network.nodes if other.name == name).inputs[0]
                met = np.concatenate([side[name].variance.ravel() for side in sides])
                worst = max(worst, *(float(law.error_at(float(q))) for q in {met.min(), met.max()}))
        return worst

    def at(self, gap: np.ndarray, rest: np.ndarray, q: float, names: Sequence[str], d: int) -> list[np.ndarray]:
        """Kernels (m,) of inputs with <x, x>/d = q, gap = 1 - cosine and rest = 1 + cosine."""
        entry, one = self.network.inputs[0], Side(np.array([q]))
        fake = np.zeros((1, d))
        sides, _ = self.sides(fake, names, State(one, one, None, paired=True))
        sides[entry] = one
        many = {name: side.rows(np.zeros(len(gap), int)) for name, side in sides.items()}
        (far,) = np.nonzero(gap > 1)
        start = State(one, many[entry], gap[None, :], opposite=(0 * far, far, rest[far]))
        walk = self._walk(fake, np.zeros((len(gap), d)), names, left=sides, right=many, start=start)
        return [value[0] for value in _values(self._pass(walk), names)]

    def fan_in(self, d: int, missing: bool = False) -> dict[str, Any]:
        """Inputs of every layer in the standard parameterization, as numbers, or as names where they may be missing."""
        layers = [node for node in self.network.nodes if node.op in LAYERS and node.parameterization == "standard"]
        if not layers:
            return {}
        sizes = {name: sp.Symbol(name) for name in self.network.widths().values() if isinstance(name, str)}
        sizes.update({**dict(self.widths), **({"input": d} if d else {})})
        features, found = feature_shapes(self.network, sizes), {}
        for node in layers:
            fan_in = features[node.inputs[0]][-1] * math.prod(node.window)
            if isinstance(fan_in, sp.Basic) and fan_in.free_symbols and not missing:
                name = str(min(fan_in.free_symbols, key=str))
                raise BadData(
                    f"the tangent kernel of the standard parameterization grows with the width {name!r}",
                    where=node.name,
                    remedy=f'give infinite_width(net, widths={{{name!r}: 512}}), or dense(parameterization="ntk")',
                )
            found[node.name] = fan_in
        return found

    def entry(self, d: int) -> int:
        """Numbers in a state for one pair of samples: pairs of positions, where they are needed."""
        if not self.grid:
            return 1
        sizes = {name: sp.Symbol(name) for name in self.network.widths().values() if isinstance(name, str)}
        sizes["input"] = d
        from .grid_covariances import numbers_per_pair

        return numbers_per_pair(self.network, self.facts, feature_shapes(self.network, sizes))

    def blocks(self, x1, x2, left, right, names) -> Callable[[slice, slice], Sequence[np.ndarray]]:
        """The function that gives the kernels of one block."""
        entry = self.network.inputs[0]
        if len(x1) * len(x2) >= _MANY and (found := self.one_angle(left, right, names)) is not None:
            series, scales = found

            def interpolated(rows: slice, columns: slice) -> Sequence[np.ndarray]:
                values = series(angle(left[entry].extra[rows], right[entry].extra[columns]))
                if scales is not None:
                    values *= scales[0][rows, None]
                    values *= scales[1][columns]
                return values

            return interpolated

        def walked(rows: slice, columns: slice) -> Sequence[np.ndarray]:
            here = {"left": {name: side.rows(rows) for name, side in left.items()}}
            here["right"] = {name: side.rows(columns) for name, side in right.items()}
            return _values(self._pass(self._walk(x1[rows], x2[columns], names, **here)), names)

        return walked

    def one_angle(self, left, right, names) -> tuple[Any, Any] | None:
        """The series in the angle and the powers of the lengths, where the kernels are of this form."""
        if self.grid or not self.of_angles:
            return None
        if not any(node.op == "activation" and node.activation != "identity" for node in self.network.nodes):
            return None
        sizes = [side[self.network.inputs[0]].variance for side in (left, right)]
        degree = self.degree
        if degree is not None:
            q, scales = 1.0, tuple(size ** (degree / 2) for size in sizes) if degree else None
        else:
            q, scales = float(sizes[0][0]), None
            if q <= 0 or any(np.abs(size / q - 1).max() > _SAME for size in sizes):
                return None
        d = left[self.network.inputs[0]].extra.shape[1]

        def values(theta: np.ndarray) -> np.ndarray:
            return np.stack(self.at(2 * np.sin(theta / 2) ** 2, 2 * np.cos(theta / 2) ** 2, q, names, d))

        series = profile(values, len(names))
        return None if series is None else (series, scales)


def _values(state: State, names: Sequence[str]) -> list[np.ndarray]:
    covariance = state.covariance()
    if "ntk" not in names:
        return [covariance]
    tangent = np.zeros_like(covariance) if state.tangent is None else state.tangent
    return [covariance, tangent] if "nngp" in names else [tangent]


@cache
def _rules() -> dict[str, Callable[[Node, list[State], Walk], State]]:
    from .grid_covariances import RULES as grids

    return {**RULES, **grids}
