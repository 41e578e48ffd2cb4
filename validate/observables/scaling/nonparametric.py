"""Predictors that have no weights to train, measured by doing: a table of what was seen, nearest neighbours, lines.

They are computed once in NumPy from the instance's rows; a network is not involved, and no derived equation enters.

    table       a token that is among the n training tokens is known, any other is answered by 0
    neighbour   the target of the nearest training point on the torus [0, 1)^d
    lines       on the circle, the chord between the two training points around x
"""

import numpy as np

from ....theory.errors import BadData
from ..measure import observable

SHUFFLES = 10  # training sets a seed, of the same half of a text


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
