"""What is trained on a task, by name: kernel regression, random neurons, kernel gradient flow, and wide networks.

    "relu-3", "erf-3", "laplace"  kernels;   "neurons-relu"  random features;   "lazy-relu", "rich-relu"  networks

Each name states its kernel, the one from which a forecast is made; of a network it is the tangent kernel at the start.
"""

from collections.abc import Callable
from dataclasses import dataclass, field

from ...theory.errors import UnknownName
from ...theory.regression.kernels import Kernel, laplace, nngp, ntk
from .networks import TrainedNetwork


@dataclass(frozen=True)
class Learner:
    """A learner and the axes along which it can be measured.

    `kind`     "kernel", "neurons" or "network"
    `trained`  the network that is trained, for one
    """

    name: str
    kind: str
    description: str
    axes: tuple[str, ...]
    make: Callable[[], Kernel] = field(repr=False)
    trained: TrainedNetwork | None = None

    @property
    def kernel(self) -> Kernel:
        """The kernel of the forecast."""
        return self.make()


def learner(name: str) -> Learner:
    """A learner by name; raises `UnknownName` with the nearest one.

    >>> learner("relu-3").kernel.name, learner("neurons-relu").axes
    ('ntk-relu', ('parameters',))
    """
    if name not in LEARNERS:
        raise UnknownName.among(name, LEARNERS, kind="learner")
    return LEARNERS[name]


def _network(name: str, description: str, trained: TrainedNetwork, axes: tuple[str, ...]) -> Learner:
    return Learner(name, "network", description, axes, lambda: trained.kernel, trained)


_BOTH = ("samples", "steps")
LEARNERS = {
    found.name: found
    for found in (
        Learner("relu-2", "kernel", "tangent kernel of one hidden relu layer", _BOTH, lambda: ntk(2, "relu")),
        Learner("relu-3", "kernel", "tangent kernel of two hidden relu layers", _BOTH, lambda: ntk(3, "relu")),
        Learner("relu-4", "kernel", "tangent kernel of three hidden relu layers", _BOTH, lambda: ntk(4, "relu")),
        Learner("erf-3", "kernel", "tangent kernel of two hidden erf layers", _BOTH, lambda: ntk(3, "erf")),
        Learner("laplace", "kernel", "Laplace kernel of width 1", _BOTH, lambda: laplace(1.0)),
        Learner("neurons-relu", "neurons", "random relu neurons", ("parameters",), lambda: nngp(2, "relu")),
        Learner("neurons-erf", "neurons", "random erf neurons", ("parameters",), lambda: nngp(2, "erf")),
        _network("lazy-relu", "wide relu network whose features stand still", TrainedNetwork("relu"), _BOTH),
        _network("lazy-erf", "wide erf network whose features stand still", TrainedNetwork("erf"), _BOTH),
        _network("lazy-relu-3", "the same with two hidden layers", TrainedNetwork("relu", 3, width=512), _BOTH),
        _network(
            "rich-relu",
            "wide relu network whose features move",
            TrainedNetwork("relu", width=512, richness=1.0, rate=0.25),
            ("steps",),
        ),
    )
}
