"""Training at infinite width with moving features, one door: exact for linear networks, sampled for others, particles.

    deep_linear(x, y, depth=3, richness=1.0, learning_rate=0.2, steps=50)       exact, any depth from 2
    sampled(x, y, activation="tanh", depth=3, richness=1.0, ...)                with statistical errors
    particles(x, y, activation="relu", particles=4096, ...)                     two layers as interacting particles

>>> import numpy as np
>>> deep_linear(np.eye(2), np.array([1.0, -1.0]), depth=2, richness=1.0, learning_rate=0.1, steps=1).outputs.shape
(2, 2, 1)
"""

from .deep_linear import descend as deep_linear
from .particles import descend as particles
from .sampled import sample as sampled

__all__ = ["deep_linear", "particles", "sampled"]
