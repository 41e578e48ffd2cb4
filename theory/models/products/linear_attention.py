"""Linear attention learning in context: merged key and query drop at once, separate ones eigenvector by eigenvector.

    sigma' = 2 sqrt(D) sigma (1 - c sigma),  c = 1 + (1 + D)/N;     L_m = 1/2 [tr Lambda - sum_{d <= m} lambda_d/c_d],

with c_d = 1 + (1 + tr Lambda/lambda_d)/N. Trained networks see fresh tasks at every step; their loss on a fixed
sample is forecast for that sample, so that only the noise of the batches is left between theory and experiment.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import numpy as np

from ...architecture.network import Network
from ...claims import Claim, Converges, Equals, Law
from ...dynamics.linear_networks import gram_map
from ...dynamics.products.in_context_moments import (
    ZHANG,
    context_moment,
    function_flow,
    moment_rows,
    product_moments,
    second_moment,
)
from ...dynamics.products.linear_attention import (
    head_flow,
    head_parts_flow,
    merged,
    next_rank_duration,
    plateau_duration,
    plateau_loss,
    separate,
    separate_flow,
    separate_map,
    sigma_flow,
)
from ...in_context import InContextRegression
from ...model import Theory, parameter
from ...setup import Initialisation, Instance, Optimizer, Setup
from ...system import Flow, System

_SPREAD = (1.6, 1.2, 0.8, 0.4)  # eigenvalues of the inputs where heads learn one direction after the other
_LONG = 1e12  # a context that is as good as infinite
_BATCH = 1024  # fresh tasks a step


@dataclass(frozen=True)
class LinearAttention(Theory):
    """Linear attention that learns to regress in context, with merged or separate key and query."""

    dim: int = parameter(4, "dimension of the inputs, in the claims about white tasks", least=1)
    context: int = parameter(31, "examples in the context", least=1)
    heads: int = parameter(8, "heads", least=1)

    def derive(self) -> Flow:
        return sigma_flow()

    def derivations(self) -> Mapping[str, System]:
        return {
            "moments of a context": context_moment(),
            "the loss of a linear function": function_flow(),
            "merged key and query, white tasks": sigma_flow(),
            "separate key and query": separate_flow(),
            "one head along one eigenvector": head_parts_flow(),
            "within a drop": head_flow(),
            "how long a plateau lasts": plateau_duration(),
            "how long a head waits for its next rank": next_rank_duration(),
            "losses of the plateaus": plateau_loss(),
        }

    def claims(self) -> tuple[Claim, ...]:
        return (
            self._merged(),
            self._separate(),
            self._saddles(),
            self._rank_two(),
            self._plateaus(),
            self._closed_form(),
        )

    def _white(self) -> InContextRegression:
        return InContextRegression((1.0,) * self.dim, self.context, "products")

    def _spread(self) -> InContextRegression:
        return InContextRegression(_SPREAD, self.context, "pair")

    def _online(self, network: Network, tasks: InContextRegression, rate: float, time: float) -> Setup:
        """Fresh tasks at every step."""
        return Setup(
            network=network,
            data=tasks,
            axes={"heads": self.heads},
            optimizer=Optimizer(learning_rate=rate),
            initialisation=Initialisation("normal", 0.4),
            procedure="online",
            time=time,
            records=31,
            options={"batch": _BATCH, "test": 4096, "dtype": "float32"},
        )

    def _without_noise(self, tasks: InContextRegression, network: Network, **changes: Any) -> Setup:
        """Rows that have exactly the moments of the tasks, from a small start."""
        setup = Setup(
            network=network,
            data=moment_rows(tasks),
            axes={"heads": self.heads},
            optimizer=Optimizer(learning_rate=0.05),
            initialisation=Initialisation("normal", 0.1),
            steps=2400,
            records=101,
        )
        return replace(setup, **changes)

    def _merged(self) -> Claim:
        tasks, rate, time = self._white(), 0.002, 1.6
        return Equals(
            "merged_loss",
            "With merged key and query, fresh tasks in batches of 1024 bring the loss down along the recursion of a "
            "two-layer linear network with the moments of the context.",
            "loss",
            self._online(merged(), tasks, rate, time),
            law=_recursion("two-layer recursion", gram_map, _layers, "R", tasks),
            rival=_recursion("infinite context", gram_map, partial(_layers, context=np.inf), "R", tasks),
            rival_home="contexts much longer than the dimension",
            relative="scale",
            budget={"two standard deviations of the noise of batches": 2 * batch_noise(tasks, rate, time / 2)},
            seconds=4,
        )

    def _separate(self) -> Claim:
        tasks = self._spread()
        return Equals(
            "separate_loss",
            "With separate key and query the loss falls in steps, along the recursion derived for K, Q and the values.",
            "loss",
            self._online(separate(tasks.dim), tasks, rate=0.005, time=6.0),
            law=_recursion("separate heads", separate_map, _heads, "function", tasks),
            rival=_recursion("merged heads", gram_map, _as_merged, "R", tasks),
            rival_home="merged key and query",
            relative="scale",
            budget={"declared for the noise of batches": 0.01},
            seconds=6,
        )

    def _saddles(self) -> Claim:
        tasks = self._spread()
        return Equals(
            "saddle_to_saddle",
            "Without sampling noise, separate heads pass from plateau to plateau along their exact recursion.",
            "loss",
            self._without_noise(tasks, separate(tasks.dim)),
            law=_recursion("separate heads", separate_map, _heads, "function", tasks),
            rival=_recursion("merged heads", gram_map, _as_merged, "R", tasks),
            rival_home="merged key and query",
            seeds=2,
            relative="scale",
            budget={"rounding": 1e-9},
            seconds=2,
        )

    def _rank_two(self) -> Claim:
        tasks = self._spread()
        return Equals(
            "rank_two_saddles",
            "Keys and queries of rank two share one value: a head that has learned one eigenvector soon learns "
            "another, and plateaus last at every other one.",
            "loss",
            self._without_noise(
                tasks, separate(tasks.dim, rank=2), initialisation=Initialisation("normal", 0.02), steps=3200
            ),
            law=_recursion("heads of rank two", partial(separate_map, 2), _heads, "function", tasks),
            rival=_recursion("twice as many of rank one", separate_map, _as_rank_one, "function", tasks),
            rival_home="key and query matrices of rank one",
            seeds=2,
            relative="scale",
            budget={"rounding": 1e-9},
            seconds=2,
        )

    def _plateaus(self) -> Claim:
        tasks = self._spread()
        start = {"initialisation": Initialisation("normal", 0.3), "optimizer": Optimizer(learning_rate=0.1)}
        return Equals(
            "plateau_losses",
            "One, two, three or four heads with separate key and query learn as many of the strongest eigenvectors, "
            "and end at the losses of the plateaus.",
            "loss",
            self._without_noise(tasks, separate(tasks.dim), steps=4000, records=2, **start),
            law=Law("plateau loss", plateau_loss, partial(_learned, tasks), "L", (), ZHANG),
            rival=Law("infinite context", plateau_loss, partial(_learned, tasks, context=_LONG), "L"),
            rival_home="contexts much longer than the dimension",
            axis="heads",
            values=tuple(range(1, tasks.dim + 1)),
            relative="point",
            budget={"convergence": 1e-8},
            options={"summary": "last"},
            seconds=3,
        )

    def _closed_form(self) -> Claim:
        tasks = self._white()
        start = Initialisation("aligned_balanced", 1e-2)
        return Converges(
            "closed_form_order",
            "Without sampling noise gradient descent departs from the logistic closed form of white tasks at first "
            "order in the learning rate.",
            "mode_strength",
            self._without_noise(tasks, merged(), initialisation=start, steps=0, time=3.0, records=31),
            law=Law("logistic closed form", sigma_flow, partial(_sigma, tasks), "strength", (), ZHANG),
            rival=Law("infinite context", sigma_flow, partial(_sigma, tasks, context=_LONG), "strength"),
            rival_home="contexts much longer than the dimension",
            axis="learning_rate",
            values=(0.02, 0.01, 0.005),
            order=1.0,
            tolerance=0.05,
            seconds=2,
        )


def batch_noise(tasks: InContextRegression, rate: float, rise: float, batch: int = _BATCH) -> float:
    """Standard deviation, over the first loss, that batches give to the loss of white tasks where it falls steepest.

    A step multiplies the small sigma by 1 + 2 sqrt(D) rate (1 + xi), and xi has the relative variance of y tr(beta x')
    over the batch, v = (1 + 2/D) (3 + (D + 5)/N) - 1 by pairing Gaussian factors. Over the time of the rise that adds
    up to 2 sqrt(D rate rise v / batch) of log sigma, and no loss (1 - c sigma)^2 changes by more than half of it.

    >>> round(batch_noise(InContextRegression(), rate=0.002, rise=0.8), 4)
    0.005
    """
    D, N = tasks.dim, tasks.context
    variance = (1 + 2 / D) * (3 + (D + 5) / N) - 1
    return float(np.sqrt(D * rate * rise * variance / batch))


# --- from an instance to the numbers of a law ------------------------------------------------------------------------


def _recursion(name: str, system: Callable, bind: Callable, readout: str, tasks: InContextRegression) -> Law:
    """A law for the function that the heads compute, read as its loss on the instance's own sample of tasks."""
    return Law(name, system, partial(bind, tasks), readout, reference=ZHANG, collect=partial(_seen_loss, tasks))


def _layers(tasks: InContextRegression, instance: Instance, context: float | None = None) -> dict[str, Any]:
    """Gram blocks of the two layers at the start, and the moments of the tasks."""
    return _blocks(tasks, instance["W1"], instance["W2"], context or tasks.context)


def _as_merged(tasks: InContextRegression, instance: Instance) -> dict[str, Any]:
    """Every head's key and query multiplied out, as if their product were one trainable matrix."""
    products = (instance["K"][:, :, None] * instance["Q"][:, None, :]).reshape(-1, tasks.dim**2)
    return _blocks(tasks, products, instance["V"], tasks.context)


def _blocks(tasks: InContextRegression, W1: np.ndarray, W2: np.ndarray, context: float) -> dict[str, Any]:
    return {**product_moments(tasks.eigenvalues, context), "P": W1.T @ W1, "R": W2 @ W1, "T": W2 @ W2.T}


def _heads(tasks: InContextRegression, instance: Instance) -> dict[str, Any]:
    second = second_moment(tasks.eigenvalues, tasks.context)
    return {**instance.weights, "Lambda": np.diag(tasks.eigenvalues), "B": np.diag(second)}


def _as_rank_one(tasks: InContextRegression, instance: Instance) -> dict[str, Any]:
    """Every rank as a head with a value of its own."""
    apart = {name: np.vstack([instance[f"{name}{rank}"] for rank in (1, 2)]) for name in "KQ"}
    return {**_heads(tasks, instance), **apart, "V": np.hstack([instance["V"]] * 2)}


def _learned(tasks: InContextRegression, instance: Instance, context: float | None = None) -> dict[str, Any]:
    """Eigenvalues, the strongest of them marked: as many as there are heads."""
    values = np.array(tasks.eigenvalues)
    strongest = np.argsort(np.argsort(-values)) < instance.setup.axes["heads"]
    return {"lambda": values, "learned": strongest.astype(float), "N": float(context or tasks.context), "L": 1.0}


def _sigma(tasks: InContextRegression, instance: Instance, context: float | None = None) -> dict[str, Any]:
    start = instance.setup.initialisation.scale / np.sqrt(tasks.dim)
    return {"sigma": start, "D": float(tasks.dim), "N": float(context or tasks.context)}


def _seen_loss(tasks: InContextRegression, instance: Instance, functions: np.ndarray) -> np.ndarray:
    """Loss on the instance's own sample of tasks, (T, 1), of functions beta' M x given by vec(M), (T, D^2)."""
    x, y = instance["x"], instance["y"]
    z = x if tasks.view == "products" else replace(tasks, view="products").seen(x[:, : tasks.dim], x[:, tasks.dim :])
    correlation, covariance = (y.T @ z / len(z))[0], z.T @ z / len(z)
    curved = ((functions @ covariance) * functions).sum(1)
    return ((y**2).mean() / 2 - functions @ correlation + curved / 2)[:, None]
