"""What tuples of neighbouring inputs tell about the class, counted in a sample: no rule of the grammar is looked at.

D = mean over pairs of classes and places of sum_tuples (share(tuple | a) - share(tuple | b))^2
"""

import numpy as np

from ....theory.mechanisms.grammar import leaves, tuples
from ..measure import observable

GRAMMARS = 40  # a seed, each with its own rows


def _counted(instance) -> dict:
    """Mean over fresh grammars, of n rows each; the rows themselves are not trained on."""
    source, n = instance.setup.data, int(instance.setup.axes["n"])
    rng = np.random.default_rng([instance.seed, n])
    found = []
    for _ in range(GRAMMARS):
        x, y = source.rows({name: rng.standard_normal(shape) for name, shape in source.normals(n).items()})
        found.append(_distance(x, y, source))
    # the training loop wants rows to compile its loss on, of which not a single step is taken
    return {"tuple_distance": np.array([np.mean(found)]), "x": x[:1], "y": y[:1]}


def _distance(x: np.ndarray, y: np.ndarray, source) -> float:
    found = tuples(leaves(x, source.features), source.branching, source.features)
    places, labels = found.shape[1], y.argmax(1)
    counts = np.zeros((places, y.shape[1], source.features**source.branching))
    np.add.at(counts, (np.arange(places)[None], labels[:, None], found), 1.0)
    share = counts / counts.sum(-1, keepdims=True)
    apart = share - share.mean(1, keepdims=True)
    # the mean over pairs is twice the variance over classes
    return float(2 * (apart**2).sum((1, 2)).mean() / (y.shape[1] - 1))


@observable("tuple_distance", _counted)
def tuple_distance(context, parameters):
    """Mean squared distance between the frequencies of tuples in two classes, noise of counting included."""
    return context.arrays["tuple_distance"]
