"""Predictors that have no weights to train, measured by doing: a table of what was seen, nearest neighbours, lines.

They are computed once in NumPy from the instance's rows; a network is not involved, and no derived equation enters.

    table       a token that is among the n training tokens is known, any other is answered by 0
    neighbour   the target of the nearest training point on the torus [0, 1)^d
    lines       on the circle, the chord between the two training points around x
"""

import numpy as np

from ....theory.errors import BadData
from ..measure import observable

TESTS = 20000  # fresh points on which neighbours are tested
GAPS = 250_000  # between points on circles, for lines: few wide ones make most of the error
SHUFFLES = 30  # training sets a seed, of the same half of a text


def _table(instance) -> dict:
    """Mean squared error of a table on the rows of the pool that were not trained on, over some training sets."""
    tokens, labels = instance["x_pool"][:, 0], instance["y_pool"]
    n = int(instance.setup.axes["n"])
    if n >= len(tokens):
        raise BadData(f"{len(tokens)} tokens in the pool but n = {n}", where="table_error", remedy="lower n")
    _, numbers = np.unique(tokens, return_inverse=True)
    rng = np.random.default_rng([instance.seed, n])
    errors = []
    for _ in range(SHUFFLES):
        order = rng.permutation(len(tokens))
        table = np.zeros((numbers.max() + 1, labels.shape[1]))
        table[numbers[order[:n]]] = labels[order[:n]]
        rest = order[n:]
        errors.append(((labels[rest] - table[numbers[rest]]) ** 2).sum(1).mean())
    # the training loop wants rows to compile its loss on, of which not a single step is taken
    return {"table_error": np.array([np.mean(errors)]), "x": tokens[:1, None], "y": labels[:1]}


@observable("table_error", _table)
def table_error(context, parameters):
    """Squared error of a table of the training tokens on unseen rows, summed over outputs, no factor 1/2."""
    return context.arrays["table_error"]


def _tests(instance) -> tuple[np.ndarray, np.ndarray]:
    source = instance.setup.data
    rng = np.random.default_rng([instance.seed, int(instance.setup.axes["n"]), 1])
    return source.rows({name: rng.standard_normal(shape) for name, shape in source.normals(TESTS).items()})


def _neighbour(instance) -> dict:
    from scipy.spatial import cKDTree

    x, y = _tests(instance)
    _, nearest = cKDTree(instance["x"], boxsize=1.0).query(x)
    return {"neighbour_error": np.array([((y - instance["y"][nearest]) ** 2).sum(1).mean()])}


def _lines(instance) -> dict:
    """Mean over fresh circles of n points, with a fresh point tested in every gap and weighted by the gap's length."""
    source, n = instance.setup.data, int(instance.setup.axes["n"])
    rng = np.random.default_rng([instance.seed, n])
    points = np.sort(rng.random((GAPS // n, n)), axis=1)
    places = np.concatenate([points, points[:, :1] + 1], axis=1)
    gaps, share = np.diff(places), rng.random(points.shape)
    known, asked = source.target(places[..., None]), source.target((points + share * gaps)[..., None])
    told = known[:, :-1] + share * np.diff(known)
    return {"line_error": np.array([(gaps * (asked - told) ** 2).sum(1).mean()])}


@observable("neighbour_error", _neighbour)
def neighbour_error(context, parameters):
    """Squared error of the nearest training point's target on the torus, on fresh points, no factor 1/2."""
    return context.arrays["neighbour_error"]


@observable("line_error", _lines)
def line_error(context, parameters):
    """Squared error of straight lines between neighbouring training points on the circle, no factor 1/2."""
    return context.arrays["line_error"]
