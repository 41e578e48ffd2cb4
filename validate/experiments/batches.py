"""What a training step sees when it does not see the whole, unchanged data: fresh rows, or fresh noise on the labels.

    online: B new rows of the distribution       batch: B rows of the data       label_noise: y + sigma xi at every step

Every draw depends on the seed of the instance and the number of the step alone, so runs can be cut into pieces.
"""

from collections.abc import Callable, Sequence

from ...theory.errors import BadData
from ...theory.setup import Setup


def fresh(setup: Setup, rows: Sequence[str] = ("x", "y")) -> Callable | None:
    """The function (key, data by name) -> data of one step, or None if every step sees the data as they are.

    `rows` names the arrays that have one row per sample.

    >>> fresh(Setup(network=None, steps=1)) is None
    True
    """
    import jax

    batch, noise = int(setup.options.get("batch", 0)), float(setup.options.get("label_noise", 0.0))
    if setup.procedure == "online":
        if not hasattr(setup.data, "rows"):
            raise BadData(
                "fresh samples need a distribution", where="online", remedy="give one as `data`, or train full_batch"
            )
        size = batch or 1

        def draw(key, data):
            keys = jax.random.split(key, 8)
            shapes = setup.data.normals(size)
            numbers = {
                name: jax.random.normal(keys[place], shape, data["x"].dtype)
                for place, (name, shape) in enumerate(shapes.items())
            }
            x, y = setup.data.rows(numbers)
            return {**data, "x": x, "y": y}

        return draw
    if not batch and not noise:
        return None

    def choose(key, data):
        places, labels = jax.random.split(key)
        if batch:
            count = len(data["x"])
            chosen = jax.random.randint(places, (batch,), 0, count)
            data = {name: value[chosen] if name in rows else value for name, value in data.items()}
        if noise:
            data = {**data, "y": data["y"] + noise * jax.random.normal(labels, data["y"].shape, data["y"].dtype)}
        return data

    return choose
