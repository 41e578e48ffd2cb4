"""Optimizers by name, as optax transformations, and the preconditioner an adaptive one is about to use.

w+ = w - eta P^-1 m,   P = sqrt(nu_hat) + epsilon   (Adam, RMSProp; P = 1 for the others)
"""

from typing import Any

from ...theory.errors import UnknownName
from ...theory.setup import Optimizer

NAMES = ("gradient_descent", "heavy_ball", "nesterov", "rmsprop", "adam", "sign_descent", "muon")
ADAPTIVE = ("rmsprop", "adam")


def build(optimizer: Optimizer, learning_rate: float):
    """The optax transformation of a stated optimizer; `learning_rate` is in absolute units.

    `weight_decay` is coupled: it acts on the gradient, before any momentum. Muon takes the exact polar factor of the
    (momentum-averaged) gradient of every matrix. RMSProp corrects the bias of its second moment and adds epsilon
    outside the root, so that it is Adam at zero momentum. Errors: `UnknownName` with the nearest known optimizer.

    >>> import jax.numpy as jnp
    >>> rule = build(Optimizer("heavy_ball", momentum=0.5), 0.1)
    >>> gradient = jnp.ones(1)
    >>> _, state = rule.update(gradient, rule.init(gradient))
    >>> print(rule.update(gradient, state)[0])
    [-0.15]
    """
    import optax

    rule = _rule(optimizer, learning_rate)
    if optimizer.weight_decay:
        rule = optax.chain(optax.add_decayed_weights(optimizer.weight_decay), rule)
    if optimizer.rates:
        factors = dict(optimizer.rates)

        def scaled(updates, parameters=None):
            unknown = set(factors) - set(updates)
            if unknown:
                raise UnknownName.among(unknown.pop(), updates, kind="parameter array", where="Optimizer.rates")
            return {name: factors.get(name, 1.0) * update for name, update in updates.items()}

        rule = optax.chain(rule, optax.stateless(scaled))
    return rule


def polar(gradient):
    """The polar factor U V' of a matrix U diag(s) V', on singular values above rounding: epsilon^(2/3) of the largest.

    >>> import jax.numpy as jnp
    >>> print(polar(jnp.diag(jnp.array([3.0, 0.5]))))
    [[1. 0.]
     [0. 1.]]
    """
    import jax.numpy as jnp

    left, singular, right = jnp.linalg.svd(gradient, full_matrices=False)
    kept = (singular > jnp.finfo(singular.dtype).eps ** (2 / 3) * singular[0]).astype(gradient.dtype)
    return (left * kept) @ right


def _rule(optimizer: Optimizer, learning_rate: float):
    import jax
    import optax

    if optimizer.name == "gradient_descent":
        return optax.sgd(learning_rate)
    if optimizer.name == "heavy_ball":
        return optax.sgd(learning_rate, momentum=optimizer.momentum)
    if optimizer.name == "nesterov":
        return optax.sgd(learning_rate, momentum=optimizer.momentum, nesterov=True)
    if optimizer.name == "rmsprop":
        return optax.rmsprop(
            learning_rate,
            decay=optimizer.second_moment,
            eps=optimizer.epsilon,
            eps_in_sqrt=False,
            bias_correction=True,
        )
    if optimizer.name == "adam":
        return optax.adam(learning_rate, b1=optimizer.momentum, b2=optimizer.second_moment, eps=optimizer.epsilon)
    if optimizer.name == "sign_descent":
        return optax.sign_sgd(learning_rate)
    if optimizer.name == "muon":
        directions = optax.stateless(lambda updates, parameters=None: jax.tree.map(polar, updates))
        memory = optax.trace(optimizer.momentum) if optimizer.momentum else optax.identity()
        return optax.chain(memory, directions, optax.scale(-learning_rate))
    raise UnknownName.among(optimizer.name, NAMES, kind="optimizer")


def preconditioner(optimizer: Optimizer, optimizer_state: Any, gradient: Any) -> Any:
    """The P that divides the step taken at the present parameters, shaped like them; all ones unless adaptive.

        P = sqrt(nu+ / (1 - b2^(k+1))) + epsilon,   nu+ = b2 nu + (1 - b2) gradient^2

    nu and the count k of past steps are read out of the optax state; `gradient` is the one at the present parameters.

    >>> import jax.numpy as jnp
    >>> adam = Optimizer("adam", momentum=0.9, epsilon=0.0)
    >>> gradient = jnp.array([3.0, -4.0])
    >>> bool(jnp.allclose(preconditioner(adam, build(adam, 0.1).init(gradient), gradient), abs(gradient)))
    True
    """
    import jax
    import jax.numpy as jnp
    import optax

    if optimizer.name not in ADAPTIVE:
        return jax.tree.map(jnp.ones_like, gradient)
    squares, count = (optax.tree_utils.tree_get(optimizer_state, name) for name in ("nu", "count"))
    memory = optimizer.second_moment

    def one(square, slope):
        settled = (memory * square + (1 - memory) * slope**2) / (1 - memory ** (count + 1.0))
        return (jnp.sqrt(settled) + optimizer.epsilon).astype(slope.dtype)

    return jax.tree.map(one, squares, gradient)
