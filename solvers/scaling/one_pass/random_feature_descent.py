r"""One-pass SGD on random features, exactly: the mean loss for a given draw of the features, after any number of steps.

Inputs x have independent Gaussian modes with eigenvalues lambda_j (v of them), the target has power lambda_j w_j^2 in
mode j, the model sees d features W'x with W_ij ~ N(0, 1/d) and trains their weights from zero on fresh batches. With
the eigenpairs (x_k, v_k) of K = sqrt(D) W W' sqrt(D), D = diag(lambda), the loss is (factor 1/2, label noise included)

    P(s) = 1/2 [sum_k y_k(s) + unresolved + noise],   y_k(0) = (v_k . sqrt(D) w)^2,
    y <- (1 - delta) y + kappa 2 P,   delta = 2 eta x - eta^2 x^2 (1 + 1/B),   kappa = eta^2 x^2 / B:

the target outside the span of the features acts as label noise (`theory.scaling.power_law_features`), and the rest is a
Volterra equation (`volterra`). A `FeatureSpectrum` holds x, y(0) and the unresolved power, of one draw
(`feature_spectrum`) or of none (`deterministic_equivalent`); `descend` turns it into losses, also with momentum and
schedules of the learning rate.
Reference: Paquette, Paquette, Xiao, Pennington 2024, arXiv:2405.15074.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np

from ....theory.arguments import number, whole
from ....theory.errors import BadData
from .feature_spectrum import WEIGHABLE, FeatureSpectrum, drawn_spectrum
from .volterra import along_pieces, checked_steps, resolved, schedule_pieces

WHERE = "random feature descent"


@dataclass(frozen=True, eq=False)
class FeatureDescent:
    """Mean loss of one-pass SGD on random features; arrays are (T,), losses have the factor 1/2 and the label noise.

    `loss`           over fresh samples (and over draws of the features, where there are several)
    `error`          standard error over draws, None for one or none; `draws` (S, T) their own losses, S = 0 for none
    `floor`          1/2 (unresolved + label noise): the best the features can do
    `final`          where the loss ends at this learning rate, floor / (1 - gain); infinite if it does not
    `gain`           noise made by a unit of loss: stable below 1 (the largest of several draws)
    `critical_rate`  the learning rate at which the loss stops falling (the smallest of several draws)
    `diverging`      how many draws do not stay bounded: one is enough to spoil a mean
    """

    steps: np.ndarray
    loss: np.ndarray
    error: np.ndarray | None
    draws: np.ndarray
    floor: float
    final: float
    gain: float
    critical_rate: float
    learning_rate: float
    batch: float
    momentum: float
    noise: float
    width: int
    modes: float
    method: str
    diverging: int = 0

    @property
    def stable(self) -> bool:
        """Whether the loss stays bounded at every step."""
        return self.gain < 1

    @property
    def excess(self) -> np.ndarray:
        """Loss above the floor (T,): what power laws in time are fitted to."""
        return self.loss - self.floor

    @property
    def compute(self) -> np.ndarray:
        """Width x samples seen (T,)."""
        return self.width * self.batch * self.steps

    def diverges_at(self, factor: float = 10.0) -> float | None:
        """The first recorded step with a loss `factor` times the first recorded one; None if there is none."""
        found = np.flatnonzero(self.loss > factor * self.loss[0])
        return float(self.steps[found[0]]) if found.size else None

    def to_dict(self) -> dict:
        plain = ("floor", "final", "gain", "critical_rate", "learning_rate", "batch", "momentum", "noise", "width")
        return {
            "steps": self.steps.tolist(),
            "loss": self.loss.tolist(),
            "error": None if self.error is None else self.error.tolist(),
            "draws": len(self.draws),
            **{name: getattr(self, name) for name in plain},
            "modes": self.modes,
            "method": self.method,
            "stable": self.stable,
            "diverging": self.diverging,
            "convention": "loss with the factor 1/2, label noise included",
        }

    def __str__(self) -> str:
        momentum = f", momentum {self.momentum:g}" if self.momentum else ""
        count = f": {self.diverging} of {len(self.draws)} draws" if len(self.draws) else ""
        ends = f"ends at {self.final:.4e}" if self.stable else "DIVERGES" + count
        lines = [
            f"One-pass SGD on {self.width} random features of {self.modes:.6g} modes: {self.method}",
            f"learning rate {self.learning_rate:.4g} (critical {self.critical_rate:.4g}), "
            f"batch {self.batch:g}{momentum}, noise {self.noise:g}",
            f"gain {self.gain:.3g}, floor {self.floor:.4e}, {ends}; losses have the factor 1/2",
            f"{'step':>12} {'loss':>12} {'above floor':>12}" + ("" if self.error is None else f" {'std error':>12}"),
        ]
        for i in np.unique(np.linspace(0, len(self.steps) - 1, min(8, len(self.steps))).astype(int)):
            error = "" if self.error is None else f" {self.error[i]:>12.2e}"
            lines.append(f"{self.steps[i]:>12.6g} {self.loss[i]:>12.5e} {self.excess[i]:>12.5e}{error}")
        return "\n".join(lines)

    __repr__ = __str__


def random_feature_descent(
    eigenvalues: Any,
    power: Any,
    width: int,
    steps: Any,
    learning_rate: float,
    seeds: int | Iterable[int] = 20,
    batch: float = 1,
    noise: float = 0.0,
    momentum: float = 0.0,
    schedule: Any = None,
) -> FeatureDescent:
    """Mean loss of one-pass SGD over draws of the features, exact for every draw: see the module.

    `eigenvalues`, `power` (v,)  of the inputs, and lambda_j w_j^2 of the target (without 1/2); `width` d
    `steps` (T,)                 any numbers from 0; 1e9 costs what 1 does
    `learning_rate`              absolute; about batch x 2 / trace is critical for small batches
    `seeds`                      draws of the features: how many, or which
    `momentum`                   heavy ball as in optax.sgd(momentum); steps are then whole numbers
    `schedule`                   factor of the learning rate: pieces (steps, factor), or a function of the step

    Errors: `BadData` for shapes, signs, and a width or batch below 1.

    >>> k = np.arange(1.0, 81)
    >>> found = random_feature_descent(k**-1.4, k**-2.0, width=20, steps=[0, 100, 1e6], learning_rate=0.2, seeds=3)
    >>> print(found.stable, (found.loss[1:] < found.loss[:-1]).all(), found.draws.shape)
    True True (3, 3)
    """
    chosen = listed_seeds(seeds)
    found = [
        descend(drawn_spectrum(eigenvalues, power, width, seed), steps, learning_rate, batch, noise, momentum, schedule)
        for seed in chosen
    ]
    return averaged(found)


def listed_seeds(seeds: Any) -> list[int]:
    """How many draws, or which. Errors: `BadData` for none.

    >>> listed_seeds(2), listed_seeds([7])
    ([0, 1], [7])
    """
    if np.ndim(seeds) == 0 and not hasattr(seeds, "__iter__"):
        chosen = list(range(whole(seeds, "seeds", WHERE)))
    else:
        chosen = [whole(seed, "seed", WHERE) for seed in seeds]
    if not chosen:
        raise BadData("no draws", where=WHERE, remedy="give seeds=20, or a list of seeds")
    return chosen


def descend(
    spectrum: FeatureSpectrum,
    steps: Any,
    learning_rate: float,
    batch: float = 1,
    noise: float = 0.0,
    momentum: float = 0.0,
    schedule: Any = None,
) -> FeatureDescent:
    """Losses of one-pass SGD on features with a given spectrum; arguments as in `random_feature_descent`.

    >>> one = FeatureSpectrum(np.ones(1), np.ones(1), np.ones(1), 0.0, 1, 1.0, 1.0)
    >>> descend(one, [0, 1], learning_rate=0.5).loss  # 1/2 (1 - 2 eta + 3 eta^2): E x^4 = 3
    array([0.5  , 0.375])
    """
    steps = checked_steps(steps, WHERE)
    eta = number(learning_rate, "learning_rate", WHERE, above=True)
    batch = number(batch, "batch", WHERE, infinite=True)
    noise, momentum = number(noise, "noise", WHERE), number(momentum, "momentum", WHERE)
    top = float(spectrum.eigenvalues.max())
    for name, value, right, remedy in (
        ("batch", batch, batch >= 1, "give 1 or more samples a step"),
        ("momentum", momentum, momentum < 1, "give a number from 0 and below 1"),
        ("schedule", "and momentum", schedule is None or not momentum, "use one of the two"),
        ("noise", noise, noise < WEIGHABLE, "take it in units nearer to 1"),
        (
            "learning rate x eigenvalue",
            f"{eta * top:.3g}",
            1 / WEIGHABLE < eta * top < WEIGHABLE**0.5,
            "give about batch x 2 / trace, or less",
        ),
    ):
        if not right:
            raise BadData(f"{name} {value}", where=WHERE, remedy=remedy)
    floor = spectrum.unresolved + noise
    if momentum:
        from .heavy_ball import gain_of, losses

        total, gain = losses(spectrum, steps, eta, batch, floor, momentum), gain_of(spectrum, eta, batch, momentum)
        critical = _critical(lambda rate: gain_of(spectrum, rate, batch, momentum), eta)
    else:
        solved = resolved(*_rules(spectrum, eta, batch))
        gain = _gain(spectrum, eta, batch)
        if schedule is None:
            total = solved.total(spectrum.power, floor, steps)
        else:
            pieces = [(length, factor * eta) for length, factor in schedule_pieces(schedule, steps.max())]
            total = along_pieces(lambda rate: _rules(spectrum, rate, batch), pieces, spectrum.power, floor, steps)
        critical = _critical(lambda rate: _gain(spectrum, rate, batch), eta)
    return FeatureDescent(
        steps=steps,
        loss=total / 2,
        error=None,
        draws=np.empty((0, len(steps))),
        floor=floor / 2,
        final=floor / 2 / (1 - gain) if gain < 1 else float("inf"),
        gain=gain,
        critical_rate=critical,
        learning_rate=eta,
        batch=batch,
        momentum=momentum,
        noise=noise,
        width=spectrum.width,
        modes=spectrum.modes,
        method="one draw of the features" if (spectrum.multiplicities == 1).all() else "deterministic equivalent",
        diverging=int(gain >= 1),
    )


def averaged(found: list[FeatureDescent]) -> FeatureDescent:
    """The mean over draws, with its standard error; all were run alike.

    >>> one = FeatureSpectrum(np.ones(1), np.ones(1), np.ones(1), 0.0, 1, 1.0, 1.0)
    >>> print(averaged([descend(one, [0], 0.5)] * 2).error)
    [0.]
    """
    draws, first = np.stack([one.loss for one in found]), found[0]
    several = len(draws) > 1
    plain = ("steps", "learning_rate", "batch", "momentum", "noise", "width", "modes")
    return FeatureDescent(
        loss=draws.mean(0),
        error=draws.std(0, ddof=1) / np.sqrt(len(draws)) if several else None,
        draws=draws,
        floor=float(np.mean([one.floor for one in found])),
        final=float(np.mean([one.final for one in found])),
        gain=max(one.gain for one in found),
        critical_rate=min(one.critical_rate for one in found),
        method=f"exact mean over samples, {len(draws)} draws of the features" if several else first.method,
        diverging=sum(one.diverging for one in found),
        **{name: getattr(first, name) for name in plain},
    )


def _rules(spectrum: FeatureSpectrum, eta: float, batch: float):
    """Rates delta and kernel weights kappa at learning rate eta."""
    x = spectrum.eigenvalues
    rates = 2 * eta * x - (eta * x) ** 2 * (1 + 1 / batch)
    return rates, spectrum.multiplicities * (eta * x) ** 2 / batch


def _gain(spectrum: FeatureSpectrum, eta: float, batch: float) -> float:
    rates, kernel = _rules(spectrum, eta, batch)
    seen = spectrum.eigenvalues > 0  # modes that features do not see at all neither learn nor make noise
    return float((kernel[seen] / rates[seen]).sum()) if rates[seen].min() > 0 else float("inf")


def _critical(gain, start: float) -> float:
    """The learning rate at which the gain reaches 1: bisection in its logarithm."""
    low = high = start
    while gain(low) >= 1:
        low /= 4
    while gain(high) < 1:
        high *= 4
    while high / low > 1 + 1e-12:
        middle = np.sqrt(low * high)
        low, high = (middle, high) if gain(middle) < 1 else (low, middle)
    return float(low)
