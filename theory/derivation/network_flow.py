"""Equations of motion of linear networks, in matrices, read off their graph.

Every channel c of the data (an input, and the gates that a path has passed) reaches the output y through an end-to-end
map F_c, a sum of words in the weights. With the error E_c = Sigma_yc - sum_c' F_c' Sigma_c'c, every place where a
weight stands in a word of F_c, `left W right`, pulls it by `left' E_c right'`:

    W' = sum over channels, outputs and places of  left' E_c right'.

The rates are compared with complex-step derivatives of the loss of the graph itself, on random samples.

>>> from ..architecture.network import chain
>>> print(network_flow(chain("input", "width", "output")))
Flow
  W1' = W2.T*(Sigma_yx - W2*W1*Sigma_xx)
  W2' = (Sigma_yx - W2*W1*Sigma_xx)*W1.T
  end_to_end = W2*W1
  loss = target_power/2 - Trace(W2*W1*Sigma_yx.T) + Trace(W2*W1*Sigma_xx*W1.T*W2.T)/2
"""

from collections.abc import Mapping
from typing import Any

import numpy as np
import sympy as sp

from ..architecture.network import SPATIAL, Network
from ..errors import BadData, LearningMechanicsError, NoClosedForm, UnknownName
from ..symbols import dimensions, positive
from ..system import Flow
from ..trail import Equations, Trail
from .noncommutative import Words, occurrences, symmetric, transpose_word, words
from .probe import evaluate, gradient_residual, random_values

Channel = tuple[str, tuple[str, ...]]  # an input node, and the gates passed on the way, in alphabetical order
SAMPLES = dimensions("P")
LOSSES = ("squared", "any")
_TOLERANCE = 1e-9
_BALDI = "Baldi & Hornik 1989; Saxe, McClelland & Ganguli 2013, arXiv:1312.6120"
_GATED = "Saxe, Sodhani & Lewallen 2022, arXiv:2207.10430"


def network_flow(network: Network, loss: str = "squared") -> Flow:
    """Matrix equations of motion of a linear network under gradient flow: any graph, any data, any widths.

    Weights W (out, in), scales w (width, 1). Data enter through the moments of `moment_definitions`: Sigma_xx = mean
    x x' (input, input), Sigma_yx = mean y x' (output, input), target_power = mean |y|^2; one for each pair of inputs,
    outputs and gates if there are several. Observables: "end_to_end" (output, input) and "loss" = 1/2 mean |y - F x|^2.

    `loss` "any" is a smooth function of the end-to-end maps, known through its derivative G = d loss/d F alone, which
    is a parameter here and moves with F. Errors: `NoClosedForm` naming the node where the network is not linear.
    References: Baldi & Hornik 1989; Saxe et al. 2013, arXiv:1312.6120; with gates, Saxe et al. 2022, arXiv:2207.10430.

    >>> from ..architecture.network import chain
    >>> print(network_flow(chain("input", 4, 4, "output")).equations[1])
    W3.T*(Sigma_yx - W3*W2*W1*Sigma_xx)*W1.T
    >>> print(network_flow(chain("input", "width", "output"), loss="any").equations[0])
    -W2.T*G
    """
    if not isinstance(network, Network):
        raise BadData(f"a {type(network).__name__}", where="network_flow", remedy="give a Network, say chain(5, 3, 2)")
    if loss not in LOSSES:
        raise UnknownName.among(loss, LOSSES, kind="loss", where="network_flow")
    maps = linear_maps(network)
    names = _Names(network, maps)
    letters = _letters(network)
    pulls = {key: _error(names, maps, *key) if loss == "squared" else -names.slope(*key) for key in maps}
    equations = tuple(_velocity(maps, pulls, unknown, letter) for unknown, letter in letters.items())
    sampled, definitions = (_squared if loss == "squared" else _linear)(network, names, maps)
    residual = gradient_residual(-sampled, list(letters), equations, definitions=definitions)
    _accept(residual)

    observables = {names.of("end_to_end", *key): polynomial.matrix() for key, polynomial in maps.items()}
    named = Equations(tuple((sp.MatrixSymbol(name, *F.shape), F) for name, F in observables.items()))
    network_is = named if len(maps) > 1 else next(iter(observables.values()))
    trail = Trail().then("network", network_is, reference=_GATED if network.gates else _BALDI)
    if loss == "squared":
        observables["loss"] = _population(names, maps)
        _accept(_value_residual(observables["loss"], sampled, definitions))
        trail = trail.then("loss", observables["loss"])
    trail = trail.then(
        "gradient flow",
        Flow(tuple(letters), equations).statement(),
        check=f"complex step through the graph on random samples: {residual:.1e}",
        residual=residual,
    )
    return Flow(tuple(letters), equations, observables=observables, trail=trail)


def linear_maps(network: Network) -> dict[tuple[str, Channel], Words]:
    """The end-to-end map, a sum of words in the weights, from every channel to every output it reaches.

    >>> from ..architecture.network import Node
    >>> gated = Network((Node("x", "input", width="d"), Node("h", "dense", ("x",), weight="W1", width="h"),
    ...     Node("g", "gate", ("h",), gate="context"), Node("y", "dense", ("g",), weight="W2", width="o")))
    >>> {key: str(polynomial.matrix()) for key, polynomial in linear_maps(gated).items()}
    {('y', ('x', ('context',))): 'W2*W1'}
    """
    letters = {symbol.name: letter for symbol, letter in _letters(network).items()}
    widths = {name: _size(width) for name, width in network.widths().items()}
    paths: dict[str, dict[Channel, Words]] = {}
    for node in network.nodes:
        _refuse(node)
        first = paths[node.inputs[0]] if node.inputs else {}
        if node.op == "input":
            paths[node.name] = {(node.name, ()): Words({(): sp.S.One}, (widths[node.name],) * 2)}
        elif node.op == "dense":
            matrix = letters[node.weight]
            factor, _ = node.factors(matrix.shape[0 if node.transposed else 1])
            paths[node.name] = _applied(Words({((matrix, node.transposed),): factor}, matrix.shape), first)
        elif node.op == "scale":
            paths[node.name] = _applied(words(letters[node.weight]), first)
        elif node.op == "total":
            paths[node.name] = _applied(words(sp.OneMatrix(1, widths[node.inputs[0]])), first)
        elif node.op == "gate":
            paths[node.name] = {(x, tuple(sorted((*gates, node.gate)))): w for (x, gates), w in first.items()}
        elif node.op == "sum":
            total: dict[Channel, Words] = {}
            factors = node.coefficients or (1,) * len(node.inputs)
            for factor, name in zip(factors, node.inputs, strict=True):
                for channel, polynomial in paths[name].items():
                    scaled = polynomial.scaled(sp.nsimplify(factor))
                    total[channel] = total[channel] + scaled if channel in total else scaled
            paths[node.name] = total
        else:  # an activation that is the identity
            paths[node.name] = first
    maps = {(name, channel): w for name in network.outputs for channel, w in paths[name].items() if not w.is_zero}
    if not maps:
        raise NoClosedForm("no output depends on an input", where="linear_maps", remedy="check the coefficients")
    return maps


def linear_map(network: Network) -> Words:
    """The end-to-end map of a network of one input and one output without gates.

    >>> from ..architecture.network import chain
    >>> print(linear_map(chain(5, 3, 2)).matrix())
    W2*W1
    """
    maps = linear_maps(network)
    if len(maps) != 1 or network.gates:
        raise NoClosedForm(
            f"the network has {len(maps)} end-to-end maps and {len(network.gates)} gates",
            where="linear_map",
            remedy="use linear_maps",
        )
    return next(iter(maps.values()))


def moment_definitions(network: Network) -> dict[Any, Any]:
    """Every moment of the data that the equations of `network_flow` hold, as an expression of P samples as columns.

    >>> from ..architecture.network import chain
    >>> {str(moment): str(mean) for moment, mean in moment_definitions(chain("input", "output")).items()}
    {'Sigma_xx': '1/P*X*X.T', 'Sigma_yx': '1/P*Y*X.T', 'target_power': 'Trace(Y*Y.T)/P'}
    """
    maps = linear_maps(network)
    names = _Names(network, maps)
    pairs = [(one, other) for one in names.channels for other in names.channels]
    found = {names.covariance(*pair): names.samples(*pair) for pair in pairs}
    found = {symbol: mean for symbol, mean in found.items() if isinstance(symbol, sp.MatrixSymbol)}
    found |= {names.correlation(*key): names.target(key[0]) * names.inputs(key[1]).T / SAMPLES for key in maps}
    power = sum((sp.Trace(names.target(name) * names.target(name).T) for name in network.outputs), sp.S.Zero) / SAMPLES
    return {**found, positive("target_power"): power}


def moments(network: Network, x: Any, y: Any, gates: Mapping[str, Any] | None = None) -> dict[str, np.ndarray]:
    """Numbers of every moment by name, from rows: x (P, inputs), y (P, outputs) and gates by name (P,).

    Several inputs (outputs) stand side by side in the columns of x (of y), as `forward` reads them, or are given by the
    names of their nodes. Errors: `BadData` when columns or samples do not fit, `UnknownName` for a gate not given.

    >>> from ..architecture.network import chain
    >>> found = moments(chain(2, 1), [[1.0, 0.0], [0.0, 2.0]], [[1.0], [3.0]])
    >>> found["Sigma_xx"].tolist(), found["Sigma_yx"].tolist(), float(found["target_power"])
    ([[0.5, 0.0], [0.0, 2.0]], [[0.5, 3.0]], 5.0)
    """
    names = _Names(network, linear_maps(network))
    values: dict[Any, Any] = {}
    for rows, nodes, symbol in ((x, network.inputs, names.data), (y, network.outputs, names.target)):
        for name, columns in _columns(network, rows, nodes).items():
            values[symbol(name)] = columns.T
            values |= {size: number for size, number in zip(symbol(name).shape, columns.T.shape, strict=True)}
    for name in network.gates:
        if name not in (gates or {}):
            raise UnknownName.among(name, gates or {}, kind="gate", where="moments")
        values[names.gate(name)] = np.asarray((gates or {})[name], float)[:, None]
    gating = set(map(names.gate, network.gates))
    arrays = {symbol: array for symbol, array in values.items() if isinstance(symbol, sp.MatrixSymbol)}
    counts = {array.shape[0 if symbol in gating else 1] for symbol, array in arrays.items()}
    if len(counts) != 1:
        raise BadData(f"samples {sorted(counts)} differ", where="moments", remedy="give one row per sample everywhere")
    return {str(symbol): evaluate(mean, values) for symbol, mean in moment_definitions(network).items()}


class _Names:
    """What the data and their moments are called: Sigma_xx and Sigma_yx, with more names only if there are more."""

    def __init__(self, network: Network, maps: Mapping[tuple[str, Channel], Words]):
        self.network = network
        self.channels = list(dict.fromkeys(channel for _, channel in maps))
        self.widths = {name: _size(width) for name, width in network.widths().items()}
        self.single = len(network.inputs) == 1
        self.alone = len(network.outputs) == 1

    def data(self, name: str):
        """The samples of an input as columns, named as in `Network.symbolic`."""
        return sp.MatrixSymbol("X" if self.single else f"X_{name}", self.widths[name], SAMPLES)

    def target(self, name: str):
        return sp.MatrixSymbol("Y" if self.alone else f"Y_{name}", self.widths[name], SAMPLES)

    def gate(self, name: str):
        return sp.MatrixSymbol(name, SAMPLES, 1)

    def inputs(self, channel: Channel):
        """The samples of a channel: its input times its gates."""
        return sp.MatMul(self.data(channel[0]), *(sp.DiagMatrix(self.gate(name)) for name in channel[1]))

    def samples(self, one: Channel, other: Channel):
        return self.inputs(one) * self.inputs(other).T / SAMPLES

    def covariance(self, one: Channel, other: Channel):
        """mean of x_a x_b' times all gates of both channels: it depends on these gates, not on who brought which."""
        a, b = one[0], other[0]
        if self.network.inputs.index(a) > self.network.inputs.index(b):
            return self.covariance(other, one).T
        name = "_".join(("Sigma", "xx" if self.single else f"{a}_{b}", *sorted((*one[1], *other[1]))))
        return symmetric(name, self.widths[a]) if a == b else sp.MatrixSymbol(name, self.widths[a], self.widths[b])

    def correlation(self, output: str, channel: Channel):
        """mean of y x' times the gates of the channel."""
        mark = "y" if self.alone and "y" not in self.network.inputs else output
        pair = "yx" if self.single and self.alone else f"{mark}_{'x' if self.single else channel[0]}"
        return sp.MatrixSymbol("_".join(("Sigma", pair, *channel[1])), *self._shape(output, channel))

    def slope(self, output: str, channel: Channel):
        """G, the derivative of the loss by the map from this channel to this output."""
        return sp.MatrixSymbol(self.of("G", output, channel), *self._shape(output, channel))

    def of(self, kind: str, output: str, channel: Channel) -> str:
        """The name of something that every map has: with the output and the input where there are several."""
        where = [*([] if self.alone else [output]), *([] if self.single else [channel[0]]), *channel[1]]
        return "_".join((kind, *where))

    def _shape(self, output, channel):
        return self.widths[output], self.widths[channel[0]]


def _size(width):
    return dimensions(width) if isinstance(width, str) else sp.Integer(width)


def _letters(network: Network) -> dict[Any, Any]:
    """Unknowns in order of first use, each with the matrix that stands for it in words: a scale w is diag(w)."""
    shapes = network.shapes({w: _size(w) for w in network.widths().values() if isinstance(w, str)})
    unknowns = {name: sp.MatrixSymbol(name, *(*shape, 1)[:2]) for name, shape in shapes.items()}
    return {symbol: symbol if len(shapes[name]) == 2 else sp.DiagMatrix(symbol) for name, symbol in unknowns.items()}


def _refuse(node) -> None:
    reason = f"applies {node.activation}" if node.activation not in ("", "identity") else ""
    reason = reason or (f"adds the bias {node.bias}" if node.bias else "")
    reason = reason or ("multiplies features" if node.op == "product" else "")
    if node.op in (*SPATIAL, "layer_norm"):
        reason = f"is a {node.op}, which is no matrix on the features"
        reason = "normalises features" if node.op == "layer_norm" else reason
    if reason:
        raise NoClosedForm(
            f"node {node.name!r} {reason}, so the network is not linear in its input",
            where="network_flow",
            remedy="drop it, or train the network numerically",
        )


def _applied(matrix: Words, paths: Mapping[Channel, Words]) -> dict[Channel, Words]:
    return {channel: matrix * polynomial for channel, polynomial in paths.items()}


def _error(names: _Names, maps, output: str, channel: Channel):
    """E = Sigma_yc - sum over the channels c' of this output of F_c' Sigma_c'c."""
    explained = (
        words(maps[key].matrix() * names.covariance(key[1], channel)).scaled(-1).matrix()
        for key in maps
        if key[0] == output
    )
    return sp.MatAdd(names.correlation(output, channel), *explained)


def _velocity(maps, pulls, unknown, letter):
    """The sum over places `left W right` of left' pull right'; of a diagonal matrix only the diagonal moves."""
    found = []
    for key, polynomial in maps.items():
        pull = _one_letter(pulls[key]) if isinstance(pulls[key], sp.MatAdd) else words(pulls[key])
        for word, value in polynomial.terms.items():
            for left, transposed, right in occurrences(word, letter):
                for middle, sign in pull.terms.items():
                    moved = transpose_word(left) + middle + transpose_word(right)
                    found.append((transpose_word(moved) if transposed else moved, value * sign))
    rate = Words.of(found, letter.shape).matrix()
    return rate if unknown == letter else sp.DiagonalOf(rate)


def _one_letter(matrix) -> Words:
    return Words({((matrix, False),): sp.S.One}, matrix.shape)


def _population(names: _Names, maps):
    """1/2 mean |y - F x|^2 in moments: squares of single maps, and products of two that share an output."""
    loss = positive("target_power") / 2
    ordered = list(maps)
    for place, (output, channel) in enumerate(ordered):
        F = maps[output, channel].matrix()
        loss += sp.Trace(F * names.covariance(channel, channel) * F.T) / 2
        loss -= sp.Trace(F * names.correlation(output, channel).T)
        for other in (other for name, other in ordered[:place] if name == output):
            loss += sp.Trace(F * names.covariance(channel, other) * maps[output, other].matrix().T)
    return loss


def _squared(network: Network, names: _Names, maps):
    """The squared loss of the graph on samples, and the moments that stand for these samples."""
    values = network.symbolic_values(str(SAMPLES))
    errors = [names.target(name) - values[name] for name in network.outputs]
    loss = sum((sp.Trace(error * error.T) for error in errors), sp.S.Zero) / (2 * SAMPLES)
    return loss, moment_definitions(network)


def _linear(network: Network, names: _Names, maps):
    """A loss whose derivatives by the maps are arbitrary: the mean of <Y, f>, with G = mean of Y x'."""
    values = network.symbolic_values(str(SAMPLES))
    loss = sum((sp.Trace(names.target(name).T * values[name]) for name in network.outputs), sp.S.Zero) / SAMPLES
    return loss, {names.slope(*key): names.target(key[0]) * names.inputs(key[1]).T / SAMPLES for key in maps}


def _accept(residual: float) -> None:
    if not residual < _TOLERANCE:
        raise LearningMechanicsError(
            f"the derived gradient differs from the numerical one by {residual:.1e}",
            where="network_flow",
            remedy="please report the network",
        )


def _value_residual(loss, sampled, definitions) -> float:
    values = random_values([sampled, *definitions.values()], seed=2)
    values |= {symbol: evaluate(mean, values) for symbol, mean in definitions.items()}
    truth = evaluate(sampled, values)
    return float(abs(evaluate(loss, values) - truth) / abs(truth))


def _columns(network: Network, rows: Any, nodes: tuple[str, ...]) -> dict[str, np.ndarray]:
    """Rows split into the columns of every node; only the last may have a width that is no number."""
    if isinstance(rows, Mapping):
        return {name: np.asarray(rows[name], float) for name in nodes}
    stated = network.widths()
    widths = [stated[name] for name in nodes]
    if any(isinstance(width, str) for width in widths[:-1]):
        raise BadData(
            f"the widths {', '.join(map(str, widths))} are not all numbers",
            where="moments",
            remedy="give a mapping from nodes to rows",
        )
    rows = np.asarray(rows, float)
    parts = np.split(rows, np.cumsum([int(width) for width in widths[:-1]]), axis=1)
    for name, width, part in zip(nodes, widths, parts, strict=True):
        if not isinstance(width, str) and part.shape[1] != width:
            raise BadData(
                f"{name} has {part.shape[1]} columns, not {width}", where="moments", remedy="check the widths"
            )
    return dict(zip(nodes, parts, strict=True))
