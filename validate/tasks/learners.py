"""What is trained on a task, by name: kernel regression, random neurons, kernel gradient flow, and wide networks.

    "relu-3", "erf-3", "laplace"  kernels;   "neurons-relu"  random features;   "lazy-relu", "rich-relu"  networks

Each name states its kernel, the one from which a forecast is made; of a network it is the tangent kernel at the start.
"""

from collections.abc import Callable
from dataclasses import dataclass, field

from ...theory.errors import UnknownName
from ...theory.regression.kernels import Kernel, laplace, nngp, ntk


@dataclass(frozen=True)
class Learner:
    """A learner and the axes along which it can be measured.

    `kind`  "kernel", "neurons" or "network"
    """

    name: str
    kind: str
    description: str
    axes: tuple[str, ...]
    make: Callable[[], Kernel] = field(repr=False)
    rich: bool = False

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
    )
}
