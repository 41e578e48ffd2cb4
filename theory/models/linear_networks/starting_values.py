"""How an instance of a linear network fills in its laws: initial strengths, Gram blocks and covariances, by name.

a_k(0) = u_k' W v_k  (aligned start),      a_k(0) = |W1 v_k + W2' u_k|^2 / 4  (what a small random start amounts to)
"""

from functools import partial

import numpy as np

from ...claims import Law
from ...dynamics.linear_networks import critical_rate, sharpness_at_minimum
from ...errors import BadData
from ...setup import Instance
from ...singular_modes import GROUPS, nearly_equal, singular_modes, subspace_means
from ...symbols import positive


def modes_of(instance: Instance):
    """Left vectors, strengths and right vectors of the input-output correlation."""
    return singular_modes(instance["x"], instance["y"])


def gram_values(instance: Instance) -> dict:
    """Gram blocks P, R, T of two layers, the covariances, and the singular bases U and V that read modes off R."""
    W1, W2 = instance["W1"], instance["W2"]
    left, _, right = modes_of(instance)
    Sigma_xx, Sigma_yx = instance.dataset.covariances()
    return {
        "Sigma_xx": Sigma_xx,
        "Sigma_yx": Sigma_yx,
        "P": W1.T @ W1,
        "R": W2 @ W1,
        "T": W2 @ W2.T,
        "U": left,
        "V": right.T,
    }


def effective_start(instance: Instance) -> dict:
    """Strength |W1 v_k + W2' u_k|^2 / 4 of the growing half of each mode's weights: what a small start amounts to."""
    left, singular, right = modes_of(instance)
    growing = (instance["W1"] @ right.T + instance["W2"].T @ left) / 2
    return _started(singular, (growing**2).sum(0), 2)


def leading_start(instance: Instance) -> dict:
    """`effective_start` for the eight leading groups of modes, with the step size h."""
    values = effective_start(instance)
    groups = nearly_equal(values["s"])
    if len(groups) < GROUPS:
        raise BadData(
            f"the input-output correlation has {len(groups)} groups of separate modes, {GROUPS} are needed",
            remedy="use targets of more dimensions",
        )
    count = groups[GROUPS - 1][-1] + 1
    return {**{name: value[:count] for name, value in values.items()}, "h": instance.learning_rate}


def literal_start(instance: Instance) -> dict:
    """The end-to-end strength |u_k' W v_k| at t = 0, as an aligned network would have it, and its share of a layer."""
    left, singular, right = modes_of(instance)
    carried = right.T
    for weight in instance.weights.values():
        carried = weight @ carried
    return _started(singular, np.abs(np.einsum("ok,ok->k", left, carried)), len(instance.weights))


def _started(singular, start, depth) -> dict:
    return {"s": singular, "a": start, "u": start ** (1 / depth)}


def matrix_start(instance: Instance) -> dict:
    """Two weight matrices with their balance D = W2'W2 - W1W1'."""
    Sigma_xx, Sigma_yx = instance.dataset.covariances()
    W1, W2 = instance["W1"], instance["W2"]
    return {"Sigma_xx": Sigma_xx, "Sigma_yx": Sigma_yx, "W1": W1, "W2": W2, "D": W2.T @ W2 - W1 @ W1.T}


def strongest(instance: Instance) -> dict:
    """The largest singular value of the input-output correlation."""
    return {"s": modes_of(instance)[1][0]}


def grouped(instance: Instance, values):
    """Means over groups of nearly equal modes."""
    return subspace_means(values, modes_of(instance)[1][: values.shape[1]], GROUPS)


def below_critical_rate(depth: int) -> dict:
    """Options of a claim that assumes convergence: the learning rate has to stay below 2 / sharpness."""
    build = partial(critical_rate, partial(sharpness_at_minimum, depth))
    return {"critical": Law("2 / sharpness", build, strongest, positive("eta_c"))}
