"""Optimizers as maps on one curvature mode: the gradient is g = h w, and the update becomes a recursion of its state.

Adaptive methods are linearised at the fixed point of their full update, where the second moment has settled and the
bias correction has died out; what is left is a linear map in the preconditioned curvature S = h / P:

    heavy ball:  w+ = w - eta m+,   m+ = beta m + h w.

Conventions are those of optax. Every rule takes L2 regularisation (inside the gradient) and decoupled weight decay.

>>> print(heavy_ball())
Map
  w+ = -eta*(beta*m + h*w) + w
  m+ = beta*m + h*w
"""

import sympy as sp

from ..errors import BadData
from ..symbols import LEARNING_RATE, positive, scalars
from ..system import Map
from ..trail import Equations, Trail
from .stability import UnitInterval, linearise

CURVATURE = sp.Symbol("h", real=True)
SHARPNESS = positive("S")
MOMENTUM = UnitInterval("beta")
SECOND_MOMENT = UnitInterval("beta_2")
EPSILON = positive("epsilon")
BACKGROUND = positive("nu_0")
WEIGHT, MEMORY = scalars("w m")
SQUARES = sp.Symbol("nu", nonnegative=True)

_COHEN = "Cohen et al. 2021, arXiv:2103.00065"
_COHEN_ADAPTIVE = "Cohen et al. 2022, arXiv:2207.14484"


def gradient_descent(l2=0, weight_decay=0) -> Map:
    """w+ = w - eta (h w + l2 w) - eta weight_decay w.

    >>> print(gradient_descent())
    Map
      w+ = -eta*h*w + w
    """
    gradient = _gradient(l2)
    return _map("gradient descent", {WEIGHT: _step(gradient, weight_decay)})


def heavy_ball(momentum=MOMENTUM, l2=0, weight_decay=0) -> Map:
    """Polyak's momentum, as `optax.sgd(momentum)`: m+ = momentum m + g, w+ = w - eta m+.

    Without decoupled decay this is w+ = w - eta g + momentum (w - w_previous).
    """
    memory = momentum * MEMORY + _gradient(l2)
    return _map("heavy ball", {WEIGHT: _step(memory, weight_decay), MEMORY: memory})


def nesterov(momentum=MOMENTUM, l2=0, weight_decay=0) -> Map:
    """Nesterov's momentum, as `optax.sgd(momentum, nesterov=True)`.

        m+ = momentum m + g,   w+ = w - eta (g + momentum m+).

    >>> nesterov().unknowns
    (w, m)
    """
    gradient = _gradient(l2)
    memory = momentum * MEMORY + gradient
    return _map("nesterov", {WEIGHT: _step(gradient + momentum * memory, weight_decay), MEMORY: memory})


def averaged_momentum(momentum=MOMENTUM, l2=0, weight_decay=0) -> Map:
    """Momentum as an exponential average: m+ = momentum m + (1 - momentum) g, w+ = w - eta m+."""
    memory = momentum * MEMORY + (1 - momentum) * _gradient(l2)
    return _map("averaged momentum", {WEIGHT: _step(memory, weight_decay), MEMORY: memory})


def adam_update(momentum=MOMENTUM, second_moment=SECOND_MOMENT, l2=0, weight_decay=0) -> Map:
    """The full Adam update of one weight, autonomous: the powers p = beta^k of the bias correction are unknowns too.

        m+ = beta m + (1 - beta) g,   nu+ = beta_2 nu + (1 - beta_2) (g^2 + nu_0),
        w+ = w - eta (m+ / (1 - p+)) / (sqrt(nu+ / (1 - q+)) + epsilon),   p+ = beta p,   q+ = beta_2 q.

    nu_0 is the mean square of the gradient in all other directions, which keeps the second moment from dying with w.
    Reference: Kingma and Ba 2014, arXiv:1412.6980.
    """
    power, square_power = scalars("p q")
    gradient = _gradient(l2)
    memory = momentum * MEMORY + (1 - momentum) * gradient
    squares = second_moment * SQUARES + (1 - second_moment) * (gradient**2 + BACKGROUND)
    corrected = memory / (1 - momentum * power)
    scale = sp.sqrt(squares / (1 - second_moment * square_power)) + EPSILON
    equations = {
        WEIGHT: _step(corrected / scale, weight_decay),
        MEMORY: memory,
        SQUARES: squares,
        power: momentum * power,
        square_power: second_moment * square_power,
    }
    return _map("adam", equations, "Kingma and Ba 2014, arXiv:1412.6980")


def adam(momentum=MOMENTUM, second_moment=SECOND_MOMENT, l2=0, weight_decay=0) -> Map:
    """Adam linearised at its settled second moment, in the preconditioned curvature S = h / (sqrt(nu_0) + epsilon).

    The Jacobian of `adam_update` at w = m = p = q = 0, nu = nu_0; nu, p and q decouple and decay on their own.
    """
    return _preconditioned(adam_update(momentum, second_moment, l2, weight_decay))


def rmsprop(second_moment=SECOND_MOMENT, l2=0, weight_decay=0) -> Map:
    """RMSProp (Adam without momentum), linearised at its settled second moment."""
    return _preconditioned(adam_update(0, second_moment, l2, weight_decay))


def linear_optimizer(weights, gradients) -> Map:
    """Any linear method with a memory of n steps: w+ = sum_j weights_j w_-j - eta sum_j gradients_j h w_-j.

    `weights` and `gradients` are sequences of equal length n; a method that stays at a minimum has sum(weights) = 1.

    >>> print(linear_optimizer([1 + MOMENTUM, -MOMENTUM], [1, 0]))
    Map
      w+ = -beta*w_1 - eta*h*w + w*(beta + 1)
      w_1+ = w
    """
    if len(weights) != len(gradients):
        found = f"{len(weights)} weights but {len(gradients)} gradients"
        raise BadData(found, where="linear_optimizer", remedy="give one of each per remembered step")
    past = (WEIGHT, *(sp.Symbol(f"w_{lag}", real=True) for lag in range(1, len(weights))))
    following = sum(
        (a * w - LEARNING_RATE * b * CURVATURE * w for a, b, w in zip(weights, gradients, past, strict=True)), sp.S.Zero
    )
    return _map("linear optimizer", {WEIGHT: following, **dict(zip(past[1:], past[:-1], strict=True))})


def _gradient(l2):
    return (CURVATURE + l2) * WEIGHT


def _step(direction, weight_decay):
    return WEIGHT - LEARNING_RATE * direction - LEARNING_RATE * weight_decay * WEIGHT


def _map(name, equations, reference=_COHEN):
    trail = Trail().then(
        f"{name} on one curvature mode",
        Equations(tuple(equations.items()), "map"),
        assumption="quadratic loss along the mode: g = h w",
        reference=reference,
    )
    return Map(tuple(equations), tuple(equations.values()), trail=trail)


def _preconditioned(update):
    fixed_point = {unknown: 0 for unknown in update.unknowns} | {SQUARES: BACKGROUND}
    linear = linearise(update, at=fixed_point, assumption="the second moment has settled and the bias correction died")
    preconditioner = sp.sqrt(BACKGROUND) + EPSILON
    equations = tuple(
        sp.expand(sp.simplify(equation.subs(CURVATURE, SHARPNESS * preconditioner))) for equation in linear.equations
    )
    trail = linear.trail.then(
        "preconditioned curvature",
        Equations(tuple(zip(linear.unknowns, equations, strict=True)), "map"),
        reference=_COHEN_ADAPTIVE,
        given=Equations(((CURVATURE, SHARPNESS * preconditioner),)),
    )
    return Map(linear.unknowns, equations, trail=trail)
