"""Two-layer mean-field training by particles: N neurons at the points of a scrambled Sobol sequence.

    error of N random particles ~ N^-1/2,    of Sobol points between that and 1/N: nearer to it in few directions

Neurons of a two-layer network interact through its outputs alone, so that no response functions are needed: N particles
are a network of width N, and N -> oo is the mean field. Pairs of particles with opposite last weights make the outputs
start at zero exactly, as they do at infinite width. Independent scramblings give the error.

Reference: Mei, Montanari & Nguyen 2018 (arXiv:1804.06561); Rotskoff & Vanden-Eijnden 2018 (arXiv:1805.00915).
"""

from collections.abc import Sequence
from typing import Any

import numpy as np

from ...theory.arguments import whole
from ...theory.errors import BadData
from ...theory.mean_field.starts import normal_start, sobol_start
from .arguments import accepted, directions_of, requested
from .neurons import trained
from .sampled import SampledDescent, averaged, recorded

_WHERE = "mean-field particles"


def descend(
    x: Any,
    y: Any,
    *,
    activation: Any = "tanh",
    richness: float = 1.0,
    learning_rate: float = 0.1,
    steps: int | Sequence[int] = 100,
    particles: int = 4096,
    batches: int = 8,
    x_test: Any = None,
    seed: int = 0,
    start: str = "sobol",
) -> SampledDescent:
    """Gradient descent of an infinitely wide two-layer network, by `batches` independent sets of particles.

        f = w phi(a x / sqrt(d)) / (gamma N) with standard normal a and w; step size learning_rate gamma^2 N

    `particles` is a power of 2 for a `start` of "sobol"; "normal" draws them as a network does, and subtracts the
    outputs at the start.
    Errors: `DidNotConverge` when training diverges; `BadData` for arrays or numbers that cannot be used.

    >>> found = descend(np.eye(2), np.array([1.0, -1.0]), learning_rate=0.5, steps=20, particles=1024)
    >>> bool(found.outputs_error.max() < 1e-3), bool(np.abs(found.outputs[0]).max() < 1e-12)
    (True, True)
    """
    x, y, x_test = accepted(x, y, x_test, _WHERE)
    records = requested(2, richness, learning_rate, steps, _WHERE, least=1e-12)
    if start not in ("sobol", "normal"):
        raise BadData(f"start {start!r}", where=_WHERE, remedy='choose "sobol" or "normal"')
    particles, batches = whole(particles, "particles", _WHERE, least=2), whole(batches, "batches", _WHERE, least=2)
    seed = whole(seed, "seed", _WHERE)
    z = directions_of(np.concatenate([x, x_test]))
    draw = sobol_start if start == "sobol" else normal_start
    runs = []
    for rng in np.random.default_rng(seed).spawn(int(batches)):
        first, last = draw(rng, int(particles), z.shape[1], y.shape[1])
        path = trained(activation, first, [], last, richness, learning_rate, z, y, start == "normal", _WHERE)
        runs.append(recorded(path, records, y))
    return averaged(runs, records, int(particles), 0)
